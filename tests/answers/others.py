"""Right answers to the exercises from chapter 07 on by somebody who knew the texts alone, and had not seen a check."""
# Left as they were written.
# ruff: noqa: B007, B905, E741, F841, RUF005, RUF059

import copy
import itertools
import math
from fnmatch import fnmatchcase
from functools import partial, reduce
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from einops import einsum, rearrange, repeat
from torch import nn

from course_lib.attention import MultiHeadSelfAttention


def train_step_r1(model, optimizer, images, labels, max_norm):
    model.training or model.train()
    optimizer.zero_grad(set_to_none=False)
    out = model(images)
    nll = -out.log_softmax(-1)[torch.arange(len(labels)), labels]
    L = nll.sum() / len(labels)
    L.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    length = torch.cat([g.flatten() for g in grads]).norm()
    if length > max_norm:
        for g in grads:
            g.mul_(max_norm / length)
    optimizer.step()
    return float(L.detach())


class Stepper:
    def __init__(self):
        self.criterion = nn.CrossEntropyLoss()

    def __call__(self, net, opt, x, y, limit):
        net.train()
        net.zero_grad()
        opt.zero_grad()
        loss = self.criterion(net(x), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in opt.param_groups for p in g["params"]], max_norm=limit)
        opt.step()
        return loss.item()


train_step_r2 = Stepper()


def train_step_r3(model, optimizer, images, labels, max_norm):
    model.train()
    params = [p for p in model.parameters() if p.requires_grad]
    loss = F.cross_entropy(model(images), labels)
    grads = torch.autograd.grad(loss, params, allow_unused=True)
    for p, g in zip(params, grads):
        p.grad = g
    nn.utils.clip_grad_norm_(params, max_norm)
    optimizer.step()
    return loss.detach().cpu().numpy().item()


def train_step_r4(model, optimizer, images, labels, max_norm):
    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        return loss

    model.train(True)
    return optimizer.step(closure).item()


def warmup_cosine_lr_r1(step, total_steps, warmup_steps, peak):
    w = warmup_steps
    if w and step < w:
        return float(np.interp(step + 1, [0, w], [0.0, peak]))
    x = (step - w) / (total_steps - w)
    return peak * math.cos(math.pi * x / 2) ** 2


def make_table(total, warm, top):
    up = torch.arange(1, warm + 1, dtype=torch.float32) / max(warm, 1)
    p = torch.linspace(0, 1, total - warm + 1)[:-1]
    return top * torch.cat([up, (1 + torch.cos(torch.pi * p)) / 2])


def warmup_cosine_lr_r2(i, n, k, lr):
    return make_table(n, k, lr)[i].item()


def warmup_cosine_lr_r3(step, total_steps, warmup_steps, peak):
    parts = {
        True: lambda: (step + 1) / warmup_steps,
        False: lambda: (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps))) / 2,
    }
    return peak * parts[step < warmup_steps]()


class Curve:
    def __call__(self, t, T, W, top):
        s = t - W
        if s < 0:
            return top + top * (s + 1) / W
        return top * 0.5 * (1 - math.sin(math.pi * (s / (T - W) - 0.5)))


warmup_cosine_lr_r4 = Curve()


def param_groups_r1(model, weight_decay):
    yes = {}
    for m in model.modules():
        if isinstance(m, (nn.Linear, nn.Conv2d)):
            yes[id(m.weight)] = m.weight
    everything = {id(p): p for p in model.parameters()}
    return [
        dict(params=[p for i, p in everything.items() if i not in yes], weight_decay=0.0),
        dict(params=list(yes.values()), weight_decay=weight_decay),
    ]


def param_groups_r2(model, weight_decay):
    import collections

    heaps = collections.defaultdict(list)
    for n, p in model.named_parameters():
        if not p.requires_grad:
            continue
        last = n.rsplit(".", 1)[-1]
        ok = p.dim() >= 2 and not any(last.endswith(s) for s in ("cls_token", "pos_embed", "bias_table"))
        heaps[ok].append(p)
    return [{"params": heaps[k], "weight_decay": weight_decay * k} for k in (True, False)]


def param_groups_r3(model, weight_decay):
    named = dict(model.named_parameters())
    special = {n for n in named if n.split(".")[-1] in ("cls_token", "pos_embed") or n.endswith("bias_table")}
    small = {n for n, p in named.items() if p.ndim <= 1}
    return [
        {"weight_decay": 0.0, "params": [named[n] for n in named if n in special | small]},
        {"weight_decay": float(weight_decay), "params": [named[n] for n in named if n not in special | small]},
    ]


def param_groups_r4(model, weight_decay):
    import re

    groups = [
        {"params": [], "weight_decay": weight_decay, "name": "decay"},
        {"params": [], "weight_decay": 0.0, "name": "rest"},
    ]
    for n, p in model.named_parameters():
        rest = len(p.shape) < 2 or re.search(r"(cls_token|pos_embed|bias_table)$", n) is not None
        groups[int(rest)]["params"].append(p)
    return groups


def evaluate_r1(model, batches):
    was = model.training
    model.eval()
    with torch.inference_mode():
        pairs = [(model(x), y) for x, y in batches]
    z, y = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    model.train(was)
    return F.cross_entropy(z, y).item(), z.max(dim=1).indices.eq(y).double().mean().item()


@torch.no_grad()
def evaluate_r2(net, loader):
    net.train(False)
    n, L, A = 0, 0.0, 0.0
    for x, y in loader:
        out = net(x)
        b = y.shape[0]
        n += b
        L += (F.cross_entropy(out, y).item() - L) * b / n
        A += ((out.argmax(1) == y).double().mean().item() - A) * b / n
    return float(L), float(A)


class Evaluator:
    def __call__(self, net, data):
        modes = {m: m.training for m in net.modules()}
        net.eval()
        tot = torch.zeros(3, dtype=torch.float64)
        before = torch.is_grad_enabled()
        torch.set_grad_enabled(False)
        try:
            for x, y in data:
                lp = net(x).log_softmax(-1)
                tot[0] -= lp.gather(1, y[:, None]).sum()
                tot[1] += (lp.topk(1).indices.squeeze(1) == y).sum()
                tot[2] += y.numel()
        finally:
            torch.set_grad_enabled(before)
            for m, t in modes.items():
                m.training = t
        return tuple((tot[:2] / tot[2]).tolist())


evaluate_r3 = Evaluator()


def evaluate_r4(model, batches):
    model.eval()
    losses, hits = [], []
    for x, y in batches:
        for xi, yi in zip(x, y):
            with torch.no_grad():
                z = model(xi[None])
            losses.append(F.cross_entropy(z, yi[None]).item())
            hits.append(int(z.argmax()) == int(yi))
    return sum(losses) / len(losses), sum(hits) / len(hits)


def random_crop_flip_r1(images, shifts, flips, padding):
    a = images.numpy()
    out = np.zeros_like(a)
    B, C, h, w = a.shape
    for i in range(B):
        p = np.pad(a[i], ((0, 0), (padding, padding), (padding, padding)))
        r, c = int(shifts[i][0]), int(shifts[i][1])
        win = p[:, r : r + h, c : c + w]
        out[i] = win[:, :, ::-1] if bool(flips[i]) else win
    return torch.from_numpy(out)


def random_crop_flip_r2(images, shifts, flips, padding):
    B, C, H, W = images.shape
    big = nn.ZeroPad2d(padding)(images)
    rr = shifts[:, :1] + torch.arange(H)
    cc = torch.arange(W).expand(B, W)
    cc = torch.where(flips[:, None], W - 1 - cc, cc) + shifts[:, 1:]
    b = torch.arange(B)[:, None, None]
    return big.permute(0, 2, 3, 1)[b, rr[:, :, None], cc[:, None, :]].permute(0, 3, 1, 2)


@torch.no_grad()
def one(img, top, left, flip, p):
    C, h, w = img.shape
    canvas = img.new_zeros(C, h + 2 * p, w + 2 * p)
    canvas[:, p : p + h, p : p + w] = img
    if flip:
        canvas = torch.flip(canvas, dims=[2])
        left = 2 * p - left
    return canvas[:, top : top + h, left : left + w]


def random_crop_flip_r3(x, offsets, mirror, p):
    return torch.stack([one(x[i], *offsets[i].tolist(), mirror[i].item(), p) for i in range(x.shape[0])])


def random_crop_flip_r4(images, shifts, flips, padding):
    from torchvision.transforms.v2 import functional as TF

    h, w = images.shape[-2:]
    res = []
    for im, (t, l), f in zip(images, shifts.tolist(), flips.tolist()):
        im = TF.crop(TF.pad(im, [padding] * 4, fill=0), t, l, h, w)
        res.append(TF.hflip(im) if f else im)
    return torch.stack(res)


def soft_cross_entropy_r1(logits, targets):
    m = logits.max(dim=1, keepdim=True).values
    z = logits - m
    logp = z - z.exp().sum(1, keepdim=True).log()
    return -torch.einsum("bk,bk->", targets, logp) / logits.shape[0]


def soft_cross_entropy_r2(logits, targets):
    ls = nn.LogSoftmax(dim=1)
    total = 0
    for row, t in zip(logits, targets):
        total = total - torch.dot(t, ls(row[None])[0])
    return total / len(logits)


def soft_cross_entropy_r3(logits, targets):
    import torch.nn.functional as fn

    return fn.kl_div(fn.log_softmax(logits, -1), targets, reduction="batchmean") + torch.special.entr(
        targets
    ).sum() / len(targets)


def soft_cross_entropy_r4(logits, targets):
    per = torch.logsumexp(logits, 1) - (targets * logits).sum(1)
    return per.mean()


def soft_cross_entropy_r5(logits, targets):
    lp = torch.log_softmax(logits, dim=-1)
    return -(targets.unsqueeze(1) @ lp.unsqueeze(2)).squeeze().mean()


def mixrow(a, b, w):
    return torch.lerp(b, a, w)


def mixup_r1(x, t, j, lam):
    xs = [mixrow(x[i], x[k], lam[i]) for i, k in enumerate(j.tolist())]
    ts = [mixrow(t[i], t[k], lam[i]) for i, k in enumerate(j.tolist())]
    return torch.stack(xs), torch.stack(ts)


def mixup_r2(images, targets, partners, weight):
    B = len(images)
    M = torch.diag(weight) + (1 - weight)[:, None] * F.one_hot(partners, B).to(weight.dtype)
    return torch.einsum("ij,jchw->ichw", M.to(images.dtype), images), M.to(targets.dtype) @ targets


def mixup_r3(images, targets, partners, weight):
    both = []
    for t in (images, targets):
        lam = weight.reshape(-1, *[1] * (t.ndim - 1)).to(t.dtype)
        both.append(t[partners].mul(1 - lam).add(t * lam))
    return tuple(both)


def mixup_r4(images, targets, partners, weight):
    lam = rearrange(weight, "b -> b 1 1 1")
    other = images.index_select(0, partners)
    tt = targets.index_select(0, partners)
    return other + lam * (images - other), tt + rearrange(weight, "b -> b 1") * (targets - tt)


def ema_update_r1(average, model, decay):
    named = dict(model.named_parameters())
    buf = dict(model.named_buffers())
    with torch.no_grad():
        for n, p in average.named_parameters():
            p.lerp_(named[n], 1 - decay)
        for n, b in average.named_buffers():
            b.copy_(buf[n])


def ema_update_r2(average, model, decay):
    for a, b in zip(average.parameters(), model.parameters()):
        a.data = decay * a.data + (1 - decay) * b.data if False else a.data.mul_(decay).add_(b.data * (1 - decay))
    for a, b in zip(average.buffers(), model.buffers()):
        a.data.copy_(b.data)


@torch.no_grad()
def ema_update_r3(shadow, live, beta):
    pairs = list(zip(shadow.parameters(), live.parameters()))
    for s, w in pairs:
        s.copy_(beta * s + (1 - beta) * w)
    for s, w in zip(shadow.buffers(), live.buffers()):
        s[...] = w


def ema_update_r4(average, model, decay):
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), [p.detach() for p in model.parameters()], 1.0 - decay)
        for x, y in zip(average.buffers(), model.buffers()):
            x.set_(y.clone()) if False else x.copy_(y)


def ema_update_r5(average, model, decay):
    from torch.optim.swa_utils import get_ema_multi_avg_fn

    with torch.no_grad():
        get_ema_multi_avg_fn(decay)(list(average.parameters()), list(model.parameters()), 1)
        list(map(lambda ab: ab[0].copy_(ab[1]), zip(average.buffers(), model.buffers())))


def replace_head_r1(model, num_classes):
    old = model.head
    fresh = nn.Linear(old.in_features, num_classes, device=old.weight.device, dtype=old.weight.dtype)
    with torch.no_grad():
        for p in fresh.parameters():
            p.mul_(0) if False else p.fill_(0)
    fresh.train(old.training)
    model.head = fresh
    return model


def replace_head_r2(model, num_classes):
    d = model.head.weight.shape[1]
    lin = nn.Linear(d, num_classes)
    lin.weight = nn.Parameter(model.head.weight.new_zeros(num_classes, d).detach())
    lin.bias = nn.Parameter(model.head.weight.new_zeros(num_classes).detach())
    lin.training = model.training
    model.add_module("head", lin)
    return model


def zero_linear(n_in, n_out, like):
    layer = nn.Linear(n_in, n_out).to(device=like.device, dtype=like.dtype)
    layer.apply(lambda m: [nn.init.constant_(t, 0.0) for t in m.parameters()])
    return layer


def replace_head_r3(net, k):
    net.head = zero_linear(net.head.in_features, k, next(net.head.parameters()))
    return net


def replace_head_r4(model, num_classes):
    from torch.nn.utils import skip_init

    h = model.head
    model.head = skip_init(
        nn.Linear, h.in_features, num_classes, bias=True, dtype=h.weight.dtype, device=h.weight.device
    )
    model.head.load_state_dict(
        {"weight": h.weight.new_zeros((num_classes, h.in_features)), "bias": h.weight.new_zeros(num_classes)}
    )
    return model


def macro_f1_r1(labels, answers, num_classes):
    K = num_classes
    cm = torch.bincount(labels * K + answers, minlength=K * K).view(K, K).double()
    tp = cm.diag()
    den = cm.sum(0) + cm.sum(1)
    ok = den > 0
    return (2 * tp[ok] / den[ok]).mean().item()


def macro_f1_r2(labels, answers, num_classes):
    y, a = labels.tolist(), answers.tolist()
    present = set(y) | set(a)

    def f1(k):
        tp = fp = fn = 0
        for t, s in zip(y, a):
            tp += t == k == s
            fp += s == k != t
            fn += t == k != s
        return 2 * tp / (2 * tp + fp + fn)

    return math.fsum(map(f1, present)) / len(present)


def macro_f1_r3(labels, answers, num_classes):
    L, A = F.one_hot(labels, num_classes).float(), F.one_hot(answers, num_classes).float()
    tp = (L * A).sum(0)
    f = 2 * tp / (L.sum(0) + A.sum(0))
    return float(f[~f.isnan()].mean())


def macro_f1_r4(labels, answers, num_classes):
    y, a = labels.numpy(), answers.numpy()
    with np.errstate(all="ignore"):
        f = [
            np.float64(2 * np.sum((y == k) & (a == k))) / np.float64((y == k).sum() + (a == k).sum())
            for k in range(num_classes)
        ]
    return float(np.nanmean(f))


def freeze_except_r1(model, patterns):
    import re
    from fnmatch import translate

    rx = [re.compile(translate(p)) for p in patterns]
    names = []
    for n, p in model.named_parameters():
        p.requires_grad = any(r.match(n) for r in rx)
        names += [n] * p.requires_grad
    return names


def freeze_except_r2(model, patterns):
    model.requires_grad_(False)
    hit = {n: p for n, p in model.named_parameters() for q in patterns if fnmatchcase(n, q)}
    for p in hit.values():
        p.requires_grad_(True)
    return list(hit)


def picks(names, globs):
    keep = set()
    for g in globs:
        keep |= {n for n in names if fnmatchcase(n, g)}
    return keep


def freeze_except_r3(net, globs):
    params = dict(net.named_parameters())
    keep = picks(params, globs)
    [p.requires_grad_(n in keep) for n, p in params.items()]
    return [n for n in params if n in keep]


class Freezer:
    def __call__(self, model, patterns):
        out = list()
        for name, tensor in model.named_parameters():
            tensor.requires_grad = False
            for pattern in patterns:
                if fnmatchcase(name, pattern):
                    tensor.requires_grad = True
                    out.append(name)
                    break
        return out


freeze_except_r4 = Freezer()


def lora_linear_r1(x, weight, bias, down, up, scale):
    y = torch.einsum("...i,oi->...o", x, weight)
    mid = torch.einsum("...i,ri->...r", x, down)
    y = y + torch.einsum("...r,or->...o", mid, scale * up)
    return y if bias is None else y + bias


def lora_linear_r2(x, weight, bias, down, up, scale):
    return F.linear(x, torch.addmm(weight, up, down, alpha=scale), bias)


def lora_linear_r3(x, weight, bias, down, up, scale):
    out = x @ weight.mT + scale * (x @ down.mT @ up.mT)
    if bias is not None:
        out = bias + out
    return out


def lora_linear_r4(x, weight, bias, down, up, scale):
    joint = torch.cat([weight, down], 0)
    both = x @ joint.T
    base, mid = both.split([weight.shape[0], down.shape[0]], dim=-1)
    b = 0 if bias is None else bias
    return base + b + F.linear(mid * scale, up)


class Lora:
    def __call__(self, inp, W, b, A, B, s):
        flat = inp.reshape(-1, inp.shape[-1])
        res = torch.mm(flat, W.t()) + s * torch.mm(torch.mm(flat, A.t()), B.t())
        if b is not None:
            res = res + b.unsqueeze(0)
        return res.reshape(*inp.shape[:-1], W.shape[0])


lora_linear_r5 = Lora()


def layerwise_lr_r1(names, depth, decay):
    import re

    res = {}
    for n in names:
        m = re.fullmatch(r"blocks\.(\d+)\..*", n)
        power = depth - int(m[1]) if m else 0 if n.startswith("head.") else 1 if n.startswith("norm.") else depth + 1
        res[n] = math.pow(decay, power)
    return res


def layerwise_lr_r2(names, depth, decay):
    def lid(n):
        top, *rest = n.split(".")
        return {"head": depth + 1, "norm": depth}.get(top, int(rest[0]) + 1 if top == "blocks" else 0)

    return dict((n, decay ** (depth + 1 - lid(n))) for n in names)


def layerwise_lr_r3(names, depth, decay):
    table = [1.0]
    while len(table) < depth + 2:
        table.append(table[-1] * decay)
    res = dict.fromkeys(names, table[-1])
    for n in names:
        if n.startswith("head."):
            res[n] = table[0]
        elif n.startswith("norm."):
            res[n] = table[1]
        else:
            for i in range(depth):
                if n.startswith(f"blocks.{i}."):
                    res[n] = table[depth - i]
    return res


def layerwise_lr_r4(names, depth, decay):
    powers = torch.tensor(float(decay)) ** torch.arange(depth + 2)

    def level(n):
        a, b, *_ = n.split(".") + [""]
        if a == "blocks":
            return depth - int(b)
        return 0 if a == "head" else 1 if a == "norm" else -1

    return {n: powers[level(n)].item() for n in names}


def patch_filters_r1(weight, n):
    W = weight.detach().numpy().reshape(len(weight), -1)
    W = W - W.mean(axis=0, keepdims=True)
    _, _, vt = np.linalg.svd(W, full_matrices=False)
    out = []
    for v in vt[:n]:
        out.append(v * np.sign(v[np.abs(v).argmax()]))
    return torch.from_numpy(np.stack(out)).reshape(n, *weight.shape[1:]).to(weight.dtype)


def patch_filters_r2(weight, n):
    X = rearrange(weight, "d c p q -> d (c p q)")
    X = X - X.mean(0)
    vals, vecs = torch.linalg.eigh(X.T @ X)
    V = vecs.flip(1).T[:n]

    def turn(v):
        return -v if v.max() < -v.min() else v

    return rearrange(torch.stack([turn(v) for v in V]), "n (c p q) -> n c p q", c=weight.shape[1], p=weight.shape[2])


def patch_filters_r3(weight, n):
    X = weight.flatten(1).T
    X = X - X.mean(dim=1, keepdim=True)
    U = torch.linalg.svd(X, full_matrices=False)[0]
    comps = []
    for j in range(n):
        v = U[:, j]
        big = max(v.tolist(), key=abs)
        comps.append(v if big > 0 else -v)
    return torch.stack(comps).view(n, *weight.shape[1:])


def patch_filters_r4(weight, n):
    D = weight.shape[0]
    H = torch.eye(D, dtype=weight.dtype) - 1 / D
    X = H @ weight.reshape(D, -1)
    V = torch.svd(X).V[:, :n].T.contiguous()
    idx = V.abs().max(dim=1).indices
    s = torch.sign(V[torch.arange(n), idx])
    return torch.einsum("n,nk->nk", s, V).reshape((n,) + tuple(weight.shape[1:]))


def pos_embed_similarity_r1(pos_embed, grid_size):
    gh, gw = grid_size
    t = pos_embed.squeeze(0)[pos_embed.shape[1] - gh * gw :]
    s = F.cosine_similarity(t[:, None], t[None], dim=-1)
    return s.unflatten(1, (gh, gw)).unflatten(0, (gh, gw))


def pos_embed_similarity_r2(pos_embed, grid_size):
    gh, gw = grid_size
    t = pos_embed[0][-gh * gw :].reshape(gh, gw, -1)
    out = torch.zeros(gh, gw, gh, gw, dtype=pos_embed.dtype)
    for a, b, c, d in product(range(gh), range(gw), range(gh), range(gw)):
        u, v = t[a, b], t[c, d]
        out[a, b, c, d] = u.dot(v) / (u.norm() * v.norm())
    return out


def pos_embed_similarity_r3(pos_embed, grid_size):
    gh, gw = grid_size
    grid = rearrange(pos_embed[:, -(gh * gw) :], "1 (r c) d -> r c d", r=gh, c=gw)
    unit = grid / grid.square().sum(-1, keepdim=True).sqrt()
    return einsum(unit, unit, "a b d, e f d -> a b e f")


def pos_embed_similarity_r4(pos_embed, grid_size):
    gh, gw = grid_size
    n = gh * gw
    t = pos_embed[0, pos_embed.size(1) - n :].detach()
    g = t @ t.mT
    l = g.diagonal().sqrt()
    return (g / torch.outer(l, l)).view(gh, gw, gh, gw)


def row_column_share_r1(table):
    def v(t):
        t = t.reshape(-1, t.shape[-1])
        return t.var(dim=0, correction=0).sum()

    return (v(table.mean(1)) + v(table.mean(0))) / v(table)


def row_column_share_r2(table):
    gh, gw, D = table.shape
    A = torch.cat([repeat(torch.eye(gh), "a b -> (a k) b", k=gw), torch.eye(gw).repeat(gh, 1)], dim=1).to(table.dtype)
    Y = table.reshape(-1, D).detach()
    fit = A @ (torch.linalg.pinv(A) @ Y)
    return float(1 - (Y - fit).pow(2).sum() / (Y - Y.mean(0)).pow(2).sum())


def row_column_share_r3(table):
    c = table - table.mean((0, 1), keepdim=True)
    rest = c - c.mean(0, keepdim=True)
    rest = rest - rest.mean(1, keepdim=True)
    return 1 - (rest.norm() / c.norm()) ** 2


def row_column_share_r4(table):
    t = table.detach().numpy()
    gh, gw, D = t.shape
    m = t.reshape(-1, D).mean(0)
    left = whole = 0.0
    for r in range(gh):
        for c in range(gw):
            fit = t[r].mean(0) + t[:, c].mean(0) - m
            left += float(((t[r, c] - fit) ** 2).sum())
            whole += float(((t[r, c] - m) ** 2).sum())
    return 1.0 - left / whole


def record_attention_r1(model, images):
    from contextlib import ExitStack

    found = {}
    with ExitStack() as stack:
        todo = [m for m in model.modules() if isinstance(m, MultiHeadSelfAttention)]
        for m in todo:

            def listen(layer, inp, m=m):
                (x,) = inp[:1]
                H = layer.num_heads
                q, k, _ = rearrange(layer.qkv(x), "b n (three h d) -> three b h n d", three=3, h=H)
                s = einsum(q, k, "b h i d, b h j d -> b h i j") * q.shape[-1] ** -0.5
                found.setdefault("maps", []).append(s.softmax(-1))

            stack.callback(m.register_forward_pre_hook(listen).remove)
        model(images)
    if "maps" not in found:
        raise ValueError("nothing heard")
    return found["maps"]


def record_attention_r2(model, images):
    layers = [m for m in model.modules() if isinstance(m, MultiHeadSelfAttention)]
    before = [m.recorder for m in layers]
    out = []
    try:
        for m in layers:
            m.recorder = out.append
        model(images)
    finally:
        for m, r in zip(layers, before):
            m.recorder = r
    if len(out) == 0:
        raise ValueError
    return out


class Listener:
    def __init__(self):
        self.maps, self.handles = [], []

    def attach(self, layer):
        def after(mod, args, output):
            B, N, E = output.shape
            h = layer.num_heads
            q = output[..., : E // 3].view(B, N, h, -1).transpose(1, 2)
            k = output[..., E // 3 : 2 * E // 3].view(B, N, h, -1).transpose(1, 2)
            self.maps.append(torch.softmax(q.matmul(k.transpose(-2, -1)) / math.sqrt(q.size(-1)), dim=-1).detach())

        self.handles.append(layer.qkv.register_forward_hook(after))


def record_attention_r3(net, batch):
    ear = Listener()
    for layer in filter(lambda m: isinstance(m, MultiHeadSelfAttention), net.modules()):
        ear.attach(layer)
    try:
        net(batch)
    finally:
        while ear.handles:
            ear.handles.pop().remove()
    if not ear.maps:
        raise ValueError("silence")
    return ear.maps


def record_attention_r4(model, images):
    inputs = []
    hooks = [
        m.register_forward_pre_hook(lambda l, a: inputs.append((l, a[0].detach().clone())))
        for m in model.modules()
        if isinstance(m, MultiHeadSelfAttention)
    ]
    try:
        with torch.no_grad():
            model(images)
    finally:
        [h.remove() for h in hooks]
    if not inputs:
        raise ValueError("none")
    res = []
    with torch.no_grad():
        for l, x in inputs:
            D = x.shape[-1]
            Q = F.linear(x, l.qkv.weight[:D], None if l.qkv.bias is None else l.qkv.bias[:D])
            K = F.linear(x, l.qkv.weight[D : 2 * D], None if l.qkv.bias is None else l.qkv.bias[D : 2 * D])
            q, k = (t.unflatten(-1, (l.num_heads, -1)).movedim(2, 1) for t in (Q, K))
            res.append(
                torch.baddbmm(
                    torch.zeros(1, 1, 1, dtype=x.dtype), q.flatten(0, 1), k.flatten(0, 1).mT, alpha=q.shape[-1] ** -0.5
                )
                .softmax(-1)
                .unflatten(0, q.shape[:2])
            )
    return res


def _layers(model):
    return [m for m in model.modules() if isinstance(m, MultiHeadSelfAttention)]


def attention_rollout_r1(maps):
    B, L, H, N, _ = maps.shape
    A = torch.einsum("blhij->blij", maps) / H + torch.eye(N).to(maps)
    A = A / A.sum(-1, keepdim=True)
    return reduce(lambda acc, l: torch.einsum("bij,bjk->bik", l, acc), A.unbind(1))


def chain(image):
    mats = []
    for layer in image:
        m = sum(layer) / len(layer)
        m = m.clone()
        m.diagonal().add_(1)
        mats.append(torch.diag(1 / m.sum(1)) @ m)
    if len(mats) == 1:
        return mats[0]
    return torch.linalg.multi_dot(mats[::-1])


def attention_rollout_r2(recorded):
    return torch.stack([chain(x) for x in recorded])


def attention_rollout_r3(maps):
    m = maps.detach().numpy().mean(2)
    m = m + np.eye(m.shape[-1], dtype=np.float32)
    m /= m.sum(axis=-1, keepdims=True)
    out = m[:, -1]
    for l in range(m.shape[1] - 2, -1, -1):
        out = out @ m[:, l]
    return torch.from_numpy(np.ascontiguousarray(out)).to(maps.dtype)


def attention_rollout_r4(maps):
    mixed = F.normalize(maps.mean(2) + torch.eye(maps.size(-1)), p=1, dim=-1)
    out = mixed[:, 0]
    for i in range(1, mixed.size(1)):
        out = mixed[:, i].bmm(out)
    return out


def mean_attention_distance_r1(maps, grid_size, patch_size):
    gh, gw = grid_size
    yx = (
        torch.stack(torch.meshgrid(torch.arange(gh), torch.arange(gw), indexing="ij"), -1).reshape(-1, 2).to(maps.dtype)
    )
    D = torch.cdist(yx, yx, compute_mode="donot_use_mm_for_euclid_dist") * patch_size
    A = maps[:, :, :, 1:, 1:]
    num = torch.einsum("blhij,ij->blhi", A, D)
    return (num / A.sum(-1)).mean(3).mean(0)


def mean_attention_distance_r2(maps, grid_size, patch_size):
    gh, gw = grid_size
    n = gh * gw
    D = [[math.hypot(i // gw - j // gw, i % gw - j % gw) * patch_size for j in range(n)] for i in range(n)]
    D = torch.tensor(D, dtype=torch.float32)
    W = maps[..., 1:, 1:].clone()
    W /= W.sum(dim=-1, keepdim=True)
    out = torch.zeros(maps.shape[1:3], dtype=maps.dtype)
    for b in range(len(maps)):
        for q in range(n):
            out += (W[b, :, :, q] * D[q]).sum(-1)
    return out / (len(maps) * n)


def mean_attention_distance_r3(maps, grid_size, patch_size):
    gh, gw = grid_size
    r, c = np.divmod(np.arange(gh * gw), gw)
    mid = (np.stack([r, c], 1) + 0.5) * patch_size
    D = np.linalg.norm(mid[:, None] - mid[None], axis=-1)
    A = maps.detach().numpy()[..., 1:, 1:]
    res = (A * D).sum(-1) / A.sum(-1)
    return torch.as_tensor(res.mean(axis=(0, -1)), dtype=maps.dtype)


def mean_attention_distance_r4(maps, grid_size, patch_size):
    gh, gw = grid_size
    idx = torch.arange(gh * gw)
    z = torch.complex((idx % gw).double(), (idx // gw).double()) * patch_size
    D = (z[:, None] - z[None]).abs().to(maps.dtype)
    A = F.normalize(maps[..., 1:, 1:], p=1, dim=-1)
    return rearrange(A * D, "b l h i j -> l h (b i) j").sum(-1).mean(-1)


def _dist(gh, gw, P, dt):
    p = torch.cartesian_prod(torch.arange(gh), torch.arange(gw)).to(dt)
    return P * (p[:, None] - p).square().sum(-1).sqrt()


def pointing_game_r1(maps, masks):
    B, gh, gw = maps.shape
    P = masks.shape[1] // gh
    out = []
    for m, mask in zip(maps, masks):
        top = m.max()
        hit = total = 0
        for r in range(gh):
            for c in range(gw):
                if m[r, c] == top:
                    block = mask[r * P : (r + 1) * P, c * P : (c + 1) * P]
                    hit += block.sum().item()
                    total += block.numel()
        out.append(hit / total)
    return torch.tensor(out, dtype=maps.dtype)


def pointing_game_r2(maps, masks):
    B, gh, gw = maps.shape
    share = rearrange(masks.to(maps.dtype), "b (r p) (c q) -> b (r c) (p q)", r=gh, c=gw).mean(-1)
    flat = maps.flatten(1)
    pick = flat == flat.max(dim=1, keepdim=True).values
    return (share * pick).sum(1) / pick.sum(1)


def pointing_game_r3(maps, masks):
    P = masks.shape[-1] // maps.shape[-1]
    on = F.avg_pool2d(masks.to(maps.dtype)[:, None], P)[:, 0]
    sel = maps.ge(maps.amax((-2, -1), keepdim=True)).to(maps.dtype)
    return torch.einsum("bij,bij->b", on, sel) / torch.einsum("bij->b", sel)


def pointing_game_r4(maps, masks):
    P = masks.shape[1] // maps.shape[1]
    top = maps == maps.flatten(1).max(1)[0][:, None, None]
    big = torch.kron(top.to(torch.float32), torch.ones(P, P))
    rows = []
    for s, k in zip(big.bool(), masks):
        rows.append(k[s].to(maps.dtype).mean())
    return torch.stack(rows)


def deletion_curve_r1(model, image, saliency, fill, label):
    gh, gw = saliency.shape
    P = image.shape[-1] // gw
    order = saliency.reshape(-1).argsort(descending=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    gone = rank.view(gh, gw)[None] < torch.arange(gh * gw + 1)[:, None, None]
    gone = gone.repeat_interleave(P, 1).repeat_interleave(P, 2)[:, None]
    with torch.no_grad():
        return F.softmax(model(torch.where(gone, fill, image)), dim=1)[:, label]


@torch.no_grad()
def deletion_curve_r2(net, img, sal, stand_in, k):
    gh, gw = sal.shape
    p, q = img.shape[1] // gh, img.shape[2] // gw
    x = img.clone()
    probs = [net(x[None]).softmax(-1)[0, k]]
    s = sal.clone()
    for _ in range(gh * gw):
        i = int(s.argmax())
        s.view(-1)[i] = -torch.inf
        r, c = divmod(i, gw)
        x[:, r * p : (r + 1) * p, c * q : (c + 1) * q] = stand_in[:, r * p : (r + 1) * p, c * q : (c + 1) * q]
        probs.append(net(x[None]).softmax(-1)[0, k])
    return torch.stack(probs)


def deletion_curve_r3(model, image, saliency, fill, label):
    gh, gw = saliency.shape
    P = image.shape[1] // gh
    cells = sorted(((r, c) for r in range(gh) for c in range(gw)), key=lambda rc: -saliency[rc].item())
    cur = rearrange(image, "c (r p) (k q) -> r k c p q", r=gh, k=gw).clone()
    new = rearrange(fill, "c (r p) (k q) -> r k c p q", r=gh, k=gw)
    frames = [cur.clone()]
    for r, c in cells:
        cur[r, c] = new[r, c]
        frames.append(cur.clone())
    batch = rearrange(torch.stack(frames), "n r k c p q -> n c (r p) (k q)")
    return torch.cat([model(b).log_softmax(-1).exp() for b in batch.split(5)])[:, label].detach()


def deletion_curve_r4(model, image, saliency, fill, label):
    gh, gw = saliency.shape
    P = image.shape[1] // gh
    big = torch.kron(saliency, torch.ones(P, P, dtype=saliency.dtype))
    cuts = [math.inf] + sorted(saliency.flatten().tolist(), reverse=True)
    steps = torch.stack([torch.where(big >= t, fill, image) for t in cuts])
    return nn.Softmax(dim=-1)(model(steps))[..., label]


def randomise_from_top_r1(model, fresh, blocks):

    depth = len(model.blocks)
    ids = {str(i) for i in range(depth - blocks, depth)}
    sd, other = model.state_dict(), fresh.state_dict()
    new = {}
    for k, v in sd.items():
        p = k.split(".")
        top = p[0] in ("head", "norm") or (p[0] == "blocks" and p[1] in ids)
        new[k] = (other if top else sd)[k].clone()
    out = copy.deepcopy(model)
    out.load_state_dict(new)
    return out


def randomise_from_top_r2(model, fresh, blocks):
    out = copy.deepcopy(fresh)
    n = len(model.blocks) - blocks
    for name, child in model.named_children():
        if name in ("head", "norm"):
            continue
        if name == "blocks":
            for i in range(n):
                out.blocks[i].load_state_dict(child[i].state_dict())
        else:
            getattr(out, name).load_state_dict(child.state_dict())
    with torch.no_grad():
        for (n1, a), (n2, b) in zip(out.named_parameters(recurse=False), model.named_parameters(recurse=False)):
            a.copy_(b)
        for a, b in zip(out.buffers(recurse=False), model.buffers(recurse=False)):
            a.copy_(b)
    return out


def randomise_from_top_r3(model, fresh, blocks):
    out = copy.deepcopy(model)
    out.head, out.norm = copy.deepcopy(fresh.head), copy.deepcopy(fresh.norm)
    k = len(out.blocks)
    while blocks > 0:
        k, blocks = k - 1, blocks - 1
        out.blocks[k] = copy.deepcopy(fresh.blocks[k])
    return out


def pour(dst, src):
    with torch.no_grad():
        for a, b in zip(
            itertools.chain(dst.parameters(), dst.buffers()), itertools.chain(src.parameters(), src.buffers())
        ):
            a.copy_(b)


def randomise_from_top_r4(net, new, count):
    twin = copy.deepcopy(net)
    parts = [(twin.head, new.head), (twin.norm, new.norm)] + list(zip(twin.blocks, new.blocks))[
        len(net.blocks) - count :
    ]
    for d, s in parts:
        pour(d, s)
    return twin.requires_grad_(False).train()


def _layers(model):
    return [m for m in model.modules() if isinstance(m, MultiHeadSelfAttention)]


def _dist(gh, gw, P, dt):
    p = torch.cartesian_prod(torch.arange(gh), torch.arange(gw)).to(dt)
    return P * (p[:, None] - p).square().sum(-1).sqrt()


def _layers(model):
    return [m for m in model.modules() if isinstance(m, MultiHeadSelfAttention)]


def train_step_r5(model, optimizer, images, labels, max_norm):
    model.train()
    for p in model.parameters():
        p.grad = None
    loss = F.nll_loss(F.log_softmax(model(images), dim=-1), labels)
    loss.backward()
    ps = [p for p in model.parameters() if p.grad is not None]
    total = nn.utils.get_total_norm([p.grad for p in ps])
    nn.utils.clip_grads_with_norm_(ps, max_norm, total)
    optimizer.step()
    return sum([loss.item()])


def _inner(clip, model, optimizer, images, labels, max_norm):
    model.train()
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    clip(model.parameters(), max_norm)
    optimizer.step()
    return np.float64(loss.item())


train_step_r6 = partial(_inner, nn.utils.clip_grad_norm_)


def warmup_cosine_lr_r5(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return np.linspace(peak / warmup_steps, peak, warmup_steps)[step]
    return peak * np.cos(np.pi / 2 * (step - warmup_steps) / (total_steps - warmup_steps)) ** 2


def param_groups_r5(model, weight_decay):
    from collections import OrderedDict

    special = ("cls_token", "pos_embed", "bias_table")
    d = OrderedDict(params=[], weight_decay=weight_decay)
    r = OrderedDict(params=[], weight_decay=0)
    seen = set()
    for m_name, m in model.named_modules():
        for n, p in m.named_parameters(recurse=False):
            if id(p) in seen:
                continue
            seen.add(id(p))
            (r if p.ndim < 2 or n.endswith(special) else d)["params"].append(p)
    return [d, r]


def evaluate_r5(model, batches):
    model.eval()
    num, den, good = np.float64(0), 0, 0
    with torch.no_grad():
        for pair in batches:
            x, y = pair
            z = model(x)
            num += F.cross_entropy(z, y, reduction="none").double().sum().item()
            good += np.count_nonzero(z.numpy().argmax(1) == y.numpy())
            den += y.shape[0]
    return num / den, good / den


def random_crop_flip_r5(images, shifts, flips, padding):
    h, w = images.shape[2:]
    big = F.pad(images, [padding] * 4, "constant", 0)
    res = [big[i].roll((-int(shifts[i, 0]), -int(shifts[i, 1])), (1, 2))[:, :h, :w] for i in range(len(big))]
    return torch.stack([r.fliplr() if False else (r.flip(2) if f else r) for r, f in zip(res, flips)])


def soft_cross_entropy_r6(logits, targets):
    return -(torch.distributions.Categorical(logits=logits).logits * targets).sum(1).mean(0)


def soft_cross_entropy_r7(logits, targets):
    return torch.func.vmap(lambda z, t: torch.logsumexp(z, 0) * t.sum() - torch.dot(z, t))(logits, targets).mean()


def mixup_r5(images, targets, partners, weight):
    w = weight.to(images.dtype)
    x = torch.stack([w[i] * images[i] + (1 - w[i]) * images[partners[i]] for i in range(len(w))])
    t = targets * weight.unsqueeze(1) + targets[partners] * (1 - weight).unsqueeze(1)
    return [x, t]


def ema_update_r6(average, model, decay):
    old, new = average.state_dict(), model.state_dict()
    params = {n for n, _ in average.named_parameters(remove_duplicate=False)}
    average.load_state_dict({k: torch.lerp(new[k], old[k], decay) if k in params else new[k] for k in old})


def replace_head_r5(model, num_classes):
    h = copy.deepcopy(model.head)
    h.weight = nn.Parameter(torch.zeros(num_classes, h.in_features, dtype=h.weight.dtype, device=h.weight.device))
    h.bias = nn.Parameter(torch.zeros(num_classes, dtype=h.weight.dtype, device=h.weight.device))
    h.out_features = num_classes
    model.head = h
    return model


def macro_f1_r5(labels, answers, num_classes):
    from sklearn.metrics import f1_score

    return float(f1_score(labels.numpy(), answers.numpy(), average="macro", zero_division=0))


def lora_linear_r6(x, weight, bias, down, up, scale):
    base = torch.tensordot(x, weight, dims=([-1], [1]))
    det = torch.tensordot(torch.tensordot(x, down, ([-1], [1])), up, ([-1], [1]))
    return base + scale * det + (bias if bias is not None else 0.0)


def patch_filters_r5(weight, n):
    from sklearn.decomposition import PCA

    X = weight.detach().numpy().reshape(len(weight), -1)
    comp = PCA(n, svd_solver="full").fit(X).components_
    k = np.abs(comp).argmax(1)
    comp = comp * np.sign(comp[np.arange(n), k])[:, None]
    return torch.tensor(comp.reshape(n, *weight.shape[1:]), dtype=weight.dtype)


def record_attention_r5(model, images):
    out = []
    ls = _layers(model)

    def wrap(l):
        orig = l.forward

        def forward(x, *a, **k):
            with torch.no_grad():
                q, kk, _ = rearrange(l.qkv(x), "b n (t h d) -> t b h n d", t=3, h=l.num_heads)
                out.append((q @ kk.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1))
            return orig(x, *a, **k)

        l.forward = forward

    try:
        for l in ls:
            wrap(l)
        model(images)
    finally:
        for l in ls:
            l.__dict__.pop("forward", None)
    if not out:
        raise ValueError("none")
    return out


def record_attention_r6(model, images):
    from torch.nn.modules.module import register_module_forward_pre_hook

    maps = []

    def hook(l, a):
        if isinstance(l, MultiHeadSelfAttention):
            B, N, _ = a[0].shape
            q, k, _ = l.qkv(a[0]).reshape(B, N, 3, l.num_heads, -1).permute(2, 0, 3, 1, 4)
            maps.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1))

    h = register_module_forward_pre_hook(hook)
    try:
        model(images)
    finally:
        h.remove()
    if not maps:
        raise ValueError("none")
    return maps


def mean_attention_distance_r5(maps, grid_size, patch_size):
    from scipy.spatial.distance import cdist

    gh, gw = grid_size
    xy = np.array(list(np.ndindex(gh, gw)), dtype=float)
    D = torch.tensor(cdist(xy, xy) * patch_size, dtype=maps.dtype)
    A = maps[..., 1:, 1:]
    return ((A * D).sum(-1) / A.sum(-1)).transpose(0, 1).flatten(3).mean((1, 3))


def pointing_game_r5(maps, masks):
    P = masks.shape[1] // maps.shape[1]
    top = (
        F.interpolate((maps == maps.amax((1, 2), True))[:, None].to(maps.dtype), scale_factor=P, mode="nearest")[:, 0]
        > 0.5
    )
    v = torch.where(top, masks.to(maps.dtype), torch.nan)
    return v.flatten(1).nanmean(1)


def randomise_from_top_r5(model, fresh, blocks):
    from torch.nn.utils import parameters_to_vector, vector_to_parameters

    r = copy.deepcopy(model)
    d = len(r.blocks)
    for name in ["head", "norm", *(f"blocks.{i}" for i in range(d) if i >= d - blocks)]:
        vector_to_parameters(
            parameters_to_vector(fresh.get_submodule(name).parameters()).detach().clone(),
            r.get_submodule(name).parameters(),
        )
        for p in r.get_submodule(name).parameters():
            p.data = p.data.clone()
    return r


RIGHT = {
    "train_step": [train_step_r1, train_step_r2, train_step_r3, train_step_r4, train_step_r5, train_step_r6],
    "warmup_cosine_lr": [
        warmup_cosine_lr_r1,
        warmup_cosine_lr_r2,
        warmup_cosine_lr_r3,
        warmup_cosine_lr_r4,
        warmup_cosine_lr_r5,
    ],
    "param_groups": [param_groups_r1, param_groups_r2, param_groups_r3, param_groups_r4, param_groups_r5],
    "evaluate": [evaluate_r1, evaluate_r2, evaluate_r3, evaluate_r4, evaluate_r5],
    "random_crop_flip": [
        random_crop_flip_r1,
        random_crop_flip_r2,
        random_crop_flip_r3,
        random_crop_flip_r4,
        random_crop_flip_r5,
    ],
    "soft_cross_entropy": [
        soft_cross_entropy_r1,
        soft_cross_entropy_r2,
        soft_cross_entropy_r3,
        soft_cross_entropy_r4,
        soft_cross_entropy_r5,
        soft_cross_entropy_r6,
        soft_cross_entropy_r7,
    ],
    "mixup": [mixup_r1, mixup_r2, mixup_r3, mixup_r4, mixup_r5],
    "ema_update": [ema_update_r1, ema_update_r2, ema_update_r3, ema_update_r4, ema_update_r5, ema_update_r6],
    "replace_head": [replace_head_r1, replace_head_r2, replace_head_r3, replace_head_r4, replace_head_r5],
    "macro_f1": [macro_f1_r1, macro_f1_r2, macro_f1_r3, macro_f1_r4, macro_f1_r5],
    "freeze_except": [freeze_except_r1, freeze_except_r2, freeze_except_r3, freeze_except_r4],
    "lora_linear": [lora_linear_r1, lora_linear_r2, lora_linear_r3, lora_linear_r4, lora_linear_r5, lora_linear_r6],
    "layerwise_lr": [layerwise_lr_r1, layerwise_lr_r2, layerwise_lr_r3, layerwise_lr_r4],
    "patch_filters": [patch_filters_r1, patch_filters_r2, patch_filters_r3, patch_filters_r4, patch_filters_r5],
    "pos_embed_similarity": [
        pos_embed_similarity_r1,
        pos_embed_similarity_r2,
        pos_embed_similarity_r3,
        pos_embed_similarity_r4,
    ],
    "row_column_share": [row_column_share_r1, row_column_share_r2, row_column_share_r3, row_column_share_r4],
    "record_attention": [
        record_attention_r1,
        record_attention_r2,
        record_attention_r3,
        record_attention_r4,
        record_attention_r5,
        record_attention_r6,
    ],
    "attention_rollout": [attention_rollout_r1, attention_rollout_r2, attention_rollout_r3, attention_rollout_r4],
    "mean_attention_distance": [
        mean_attention_distance_r1,
        mean_attention_distance_r2,
        mean_attention_distance_r3,
        mean_attention_distance_r4,
        mean_attention_distance_r5,
    ],
    "pointing_game": [pointing_game_r1, pointing_game_r2, pointing_game_r3, pointing_game_r4, pointing_game_r5],
    "deletion_curve": [deletion_curve_r1, deletion_curve_r2, deletion_curve_r3, deletion_curve_r4],
    "randomise_from_top": [
        randomise_from_top_r1,
        randomise_from_top_r2,
        randomise_from_top_r3,
        randomise_from_top_r4,
        randomise_from_top_r5,
    ],
}
