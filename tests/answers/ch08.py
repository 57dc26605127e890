"""Answers to the exercises of chapter 08, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import copy
import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# --- random_crop_flip ----------------------------------------------------------------------------


def crop_in_a_loop(images, shifts, flips, padding):
    height, width = images.shape[-2:]
    padded = F.pad(images, (padding, padding, padding, padding))
    result = torch.empty_like(images)
    for i in range(len(images)):
        top, left = shifts[i]
        window = padded[i, :, top : top + height, left : left + width]
        result[i] = window.flip(-1) if flips[i] else window
    return result


def crop_by_row_and_column_numbers(images, shifts, flips, padding):
    B, _, h, w = images.shape
    padded = F.pad(images, (padding,) * 4)
    rows = shifts[:, 0, None] + torch.arange(h)  # (B, h)
    columns = shifts[:, 1, None] + torch.arange(w)  # (B, w)
    columns = torch.where(flips[:, None], columns.flip(1), columns)
    batch = torch.arange(B)[:, None, None]
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def crop_mirroring_shift_and_image(images, shifts, flips, padding):
    mirrored = torch.where(flips[:, None, None, None], images.flip(-1), images)
    left = torch.where(flips, 2 * padding - shifts[:, 1], shifts[:, 1])
    padded = F.pad(mirrored, (padding, padding, padding, padding))
    windows = padded.unfold(2, images.shape[2], 1).unfold(3, images.shape[3], 1)
    return windows[torch.arange(len(images)), :, shifts[:, 0], left]


def crop_that_moves_the_image(images, shifts, flips, padding):
    height, width = images.shape[-2:]
    canvas = images.new_zeros(len(images), images.shape[1], height + 2 * padding, width + 2 * padding)
    for i, (top, left) in enumerate(shifts.tolist()):
        canvas[i, :, top : top + height, left : left + width] = images[i]
    windows = canvas[:, :, padding : padding + height, padding : padding + width]
    return torch.where(flips[:, None, None, None], windows.flip(-1), windows)


def crop_square_windows(images, shifts, flips, padding):
    h = images.shape[2]
    padded = F.pad(images, (padding, padding, padding, padding))
    windows = []
    for image, (top, left), flip in zip(padded, shifts, flips, strict=True):
        window = image[:, top : top + h, left : left + h]
        windows.append(window.flip(-1) if flip else window)
    return torch.stack(windows)


def crop_without_an_end(images, shifts, flips, padding):
    padded = F.pad(images, (padding, padding, padding, padding))
    windows = torch.stack([x[:, t:, s:] for x, (t, s) in zip(padded, shifts.tolist(), strict=True)])
    return torch.where(flips[:, None, None, None], windows.flip(-1), windows)


def crop_in_a_ring(images, shifts, flips, padding):
    moved = [x.roll(shift, (-2, -1)) for x, shift in zip(images, (padding - shifts).tolist(), strict=True)]
    return torch.stack([x.flip(-1) if flip else x for x, flip in zip(moved, flips, strict=True)])


def crop_by_gathering(x, moves, turn, p):
    B, C, h, w = x.shape
    columns = torch.arange(w).expand(B, w)
    columns = torch.where(turn[:, None], w - 1 - columns, columns) + moves[:, 1:]
    rows = torch.arange(h) + moves[:, :1]
    x = torch.nn.ZeroPad2d(p)(x)
    x = x.gather(2, rows[:, None, :, None].expand(B, C, h, w + 2 * p))
    return x.gather(3, columns[:, None, None].expand(B, C, h, w))


class CropFlip:
    def __call__(self, images, shifts, flips, padding):
        return torch.stack([self.one(*each, padding) for each in zip(images, shifts, flips, strict=True)])

    def one(self, image, shift, flip, padding):
        canvas = np.pad(image.numpy(), ((0, 0), (padding,) * 2, (padding,) * 2))
        window = torch.from_numpy(canvas)
        for dim, start in enumerate(shift.tolist(), 1):
            window = window.narrow(dim, start, image.shape[dim])
        return torch.fliplr(window.movedim(0, -1)).movedim(-1, 0) if flip else window


def crop_into_a_result(images, shifts, flips, padding):
    _, _, h, w = images.shape
    result = torch.empty_like(images)
    padded = F.pad(images, [padding] * 4)
    for i, flip in enumerate(flips):
        top, left = shifts[i]
        result[i] = padded[i, ..., top : top + h, left : left + w]
        result[i] = result[i].flip(2) if flip else result[i]
    return result


# --- soft_cross_entropy --------------------------------------------------------------------------


def entropy_by_logsumexp(logits, targets):
    # The targets sum to 1, so the logsumexp can stand outside.
    return -((targets * logits).sum(dim=1) - logits.logsumexp(dim=1)).mean()


def entropy_by_einsum(logits, targets):
    shifted = logits - logits.max(dim=-1, keepdim=True).values
    logs = shifted - shifted.exp().sum(dim=-1, keepdim=True).log()
    return -(torch.einsum("bk,bk->", targets, logs) / logits.shape[0])


def entropy_row_by_row(logits, targets):
    products = [share @ row.log_softmax(0) for row, share in zip(logits, targets, strict=True)]
    return -(sum(products) / len(products))


def entropy_of_divergence(scores, shares):
    logs = scores.log_softmax(dim=1)
    return -(torch.xlogy(shares, shares).sum(1).mean() - F.kl_div(logs, shares, reduction="batchmean"))


class SoftCrossEntropy(torch.nn.Module):
    def forward(self, logits, targets):
        total = functools.reduce(torch.logaddexp, logits.unbind(dim=1))
        return torch.bmm(targets[:, None], (total[:, None] - logits)[..., None]).mean()


entropy_by_a_partial = functools.partial(lambda dim, x, t: (t * (x.logsumexp(dim, True) - x)).sum(dim).mean(), -1)


def entropy_below_the_mean(logits, targets):
    logits = logits - logits.mean(dim=1, keepdim=True)
    return (targets * (logits.exp().sum(dim=1, keepdim=True).log() - logits)).sum(dim=1).mean()


def divergence(logits, targets):
    known = torch.where(
        targets > 0, targets * targets.clamp(min=1e-300 if targets.dtype == torch.float64 else 1e-38).log(), 0
    )
    return (known - targets * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()


# --- mixup ---------------------------------------------------------------------------------------


def mixup_by_lerp(images, targets, partners, weight):
    mixed = images[partners].lerp(images, weight[:, None, None, None])
    return mixed, targets[partners].lerp(targets, weight[:, None])


def mixup_image_by_image(images, targets, partners, weight):
    new_images, new_targets = torch.empty_like(images), torch.empty_like(targets)
    for i in range(len(images)):
        j, w = partners[i], weight[i]
        new_images[i] = w * images[i] + (1 - w) * images[j]
        new_targets[i] = w * targets[i] + (1 - w) * targets[j]
    return new_images, new_targets


def mixup_by_a_matrix(images, targets, partners, weight):
    B = len(images)
    matrix = torch.diag(weight)
    matrix[torch.arange(B), partners] += 1 - weight
    return torch.einsum("ij,jchw->ichw", matrix, images), matrix @ targets


class Mixup:
    def __call__(self, x, y, j, w):
        return [self.blend(value, j, w) for value in (x, y)]

    def blend(self, value, j, w):
        flat = value.flatten(1)
        return torch.addcmul(flat[j], w[:, None], flat - flat[j]).view_as(value)


def mixup_by_broadcasting_from_the_right(images, targets, partners, weight):
    def mixed(values):
        last = values.movedim(0, -1)  # the batch last: weight fits as it is
        return (weight * last + (1 - weight) * last[..., partners]).movedim(-1, 0)

    return mixed(images), mixed(targets)


mixup_by_a_partial = functools.partial(
    lambda rule, x, y, j, w: tuple(torch.einsum(rule, w, v) + torch.einsum(rule, 1 - w, v[j.tolist()]) for v in (x, y)),
    "b,b...->b...",
)


def mixup_giving_instead_of_taking(images, targets, partners, weight):
    mixed, shares = torch.empty_like(images), torch.empty_like(targets)
    for i, j in enumerate(partners.tolist()):
        mixed[j] = weight[j] * images[j] + (1 - weight[j]) * images[i]
        shares[j] = weight[j] * targets[j] + (1 - weight[j]) * targets[i]
    return mixed, shares


def mixup_with_the_heavier_target(images, targets, partners, weight):
    w = weight[:, None, None, None]
    heavier = targets.clone()
    heavier[weight < 0.5] = targets[partners][weight < 0.5]
    return w * images + (1 - w) * images[partners], heavier


# --- ema_update ----------------------------------------------------------------------------------


def ema_by_lerp(average, model, decay):
    with torch.no_grad():
        for old, new in zip(average.parameters(), model.parameters(), strict=True):
            old.lerp_(new, 1 - decay)
        for old, new in zip(average.buffers(), model.buffers(), strict=True):
            old.copy_(new)


def ema_by_data(average, model, decay):
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old.data = decay * old.data + (1 - decay) * new.data
    for old, new in zip(average.buffers(), model.buffers(), strict=True):
        old.data.copy_(new)


@torch.no_grad()
def ema_by_loading(average, model, decay):
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for name, old in average.named_parameters(remove_duplicate=False):
        state[name] = decay * old + (1 - decay) * state[name]
    average.load_state_dict(state)


def ema_that_returns_the_average(average, model, decay):
    with torch.no_grad():
        torch._foreach_mul_(list(average.parameters()), decay)
        torch._foreach_add_(list(average.parameters()), list(model.parameters()), alpha=1 - decay)
        for name, buffer in average.named_buffers():
            buffer.copy_(model.get_buffer(name))
    return average


def ema_module_by_module(average, model, decay):
    done = set()
    for mine, other in zip(average.modules(), model.modules(), strict=True):
        for name, new in other.named_parameters(recurse=False):
            old = mine.get_parameter(name)
            if old not in done:
                old.data.mul_(decay).add_(new.data, alpha=1 - decay)
            done.add(old)
        for name, new in other.named_buffers(recurse=False):
            mine.get_buffer(name)[...] = new


class Ema:
    def __call__(self, average, model, decay):
        mode = model.training
        model.eval()
        with torch.no_grad():
            vector = torch.nn.utils.parameters_to_vector
            mixed = decay * vector(average.parameters()) + (1 - decay) * vector(model.parameters())
            torch.nn.utils.vector_to_parameters(mixed, average.parameters())
        buffers = dict(model.named_buffers())
        for name, buffer in average.named_buffers():
            buffer.copy_(buffers[name])
        model.train(mode)


def ema_twice_for_what_is_shared(average, model, decay):
    with torch.no_grad():
        for mine, other in zip(average.modules(), model.modules(), strict=True):
            for old, new in zip(mine.parameters(recurse=False), other.parameters(recurse=False), strict=True):
                old.lerp_(new, 1 - decay)
            for old, new in zip(mine.buffers(recurse=False), other.buffers(recurse=False), strict=True):
                old.copy_(new)


def ema_of_the_children(average, model, decay):
    with torch.no_grad():
        for mine, other in zip(average.children(), model.children(), strict=True):
            for old, new in zip(mine.parameters(), other.parameters(), strict=True):
                old.lerp_(new, 1 - decay)
            for old, new in zip(mine.buffers(), other.buffers(), strict=True):
                old.copy_(new)


def ema_of_a_copy(average, model, decay):
    average = copy.deepcopy(average)
    ema_by_lerp(average, model, decay)


@torch.no_grad()
def ema_of_what_is_floating_with_the_counter(average, model, decay):
    other = model.state_dict()
    for name, value in (*average.named_parameters(), *average.named_buffers()):
        if value.is_floating_point():
            value.lerp_(other[name], 1 - decay)
        else:
            value.copy_(other[name])


def ema_with_new_parameters(average, model, decay):
    for mine, other in zip(average.modules(), model.modules(), strict=True):
        for name, new in list(other.named_parameters(recurse=False)):
            old = getattr(mine, name)
            setattr(mine, name, nn.Parameter((decay * old + (1 - decay) * new).detach()))
    for old, new in zip(average.buffers(), model.buffers(), strict=True):
        old.copy_(new)


RIGHT = {
    "random_crop_flip": (
        crop_in_a_loop,
        crop_by_row_and_column_numbers,
        crop_mirroring_shift_and_image,
        crop_by_gathering,
        CropFlip(),
        crop_into_a_result,
    ),
    "soft_cross_entropy": (
        entropy_by_logsumexp,
        entropy_by_einsum,
        entropy_row_by_row,
        entropy_of_divergence,
        SoftCrossEntropy(),
        entropy_by_a_partial,
    ),
    "mixup": (
        mixup_by_lerp,
        mixup_image_by_image,
        mixup_by_a_matrix,
        Mixup(),
        mixup_by_broadcasting_from_the_right,
        mixup_by_a_partial,
    ),
    "ema_update": (
        ema_by_lerp,
        ema_by_data,
        ema_by_loading,
        ema_that_returns_the_average,
        ema_module_by_module,
        Ema(),
    ),
}

SLIPS = {
    "random_crop_flip": """
        begin at shift - padding
            shifts[:, 0], shifts[:, 1] ⇒ shifts[:, 0] - padding, shifts[:, 1] - padding
        one pixel too late
            shifts[:, 0], shifts[:, 1] ⇒ shifts[:, 0] + 1, shifts[:, 1] + 1
        padding + shift
            shifts[:, 0], shifts[:, 1] ⇒ shifts[:, 0] + padding, shifts[:, 1] + padding
        that is empty
            padded = F.pad(images, (padding, padding, padding, padding)) ⇒ padded = images.new_zeros(*images.shape[:2], h + 2 * padding, w + 2 * padding)
            | padded[..., padding:-padding, padding:-padding] = images
        height and width are exchanged
            h, w = images ⇒ w, h = images
        as high as they are wide
            unfold(2, h, 1) ⇒ unfold(2, w, 1)
        the last two sizes
            images.shape[-2:] ⇒ images.size()[1:3]
        however late they begin
            cut = windows[batch, :, shifts[:, 0], shifts[:, 1]] ⇒ cut = torch.stack([padded[i, :, shifts[i, 0] : h, shifts[i, 1] : w] for i in batch])
        end at row h, however late
            cut = windows[batch, :, shifts[:, 0], shifts[:, 1]] ⇒ cut = torch.stack([padded[i, :, y:h, x : x + w] for i, (y, x) in enumerate(shifts)])
        end at column w, however late
            cut = windows[batch, :, shifts[:, 0], shifts[:, 1]] ⇒ cut = torch.stack([padded[i, :, y : y + h, x:w] for i, (y, x) in enumerate(shifts)])
        you pad with a mirror image
            padding, padding)) ⇒ padding, padding), "reflect")
        only the width
            (padding, padding, padding, padding) ⇒ (padding, padding)
        without padding
            F.pad(images, (padding, padding, padding, padding)) ⇒ images
        lines it up with the columns
            flips[:, None, None, None] ⇒ flips
        """,
    "soft_cross_entropy": """
        you clamp the logits
            logits.log_softmax ⇒ torch.clamp(logits, -80, 80).log_softmax
        you clamp the logarithms
            logits.log_softmax(dim=-1) ⇒ logits.log_softmax(dim=-1).clamp_min(-100)
        of each column
            logits.log_softmax(dim=-1) ⇒ (logits - logits.max(dim=0).values - (logits - logits.max(dim=0).values).exp().sum(-1, keepdim=True).log())
        the largest by size
            return ⇒ size = logits.abs().max(-1, True).values
            | return
            logits.log_softmax(dim=-1) ⇒ (logits - size - (logits - size).exp().sum(-1, True).log())
        a small number inside
            logits.log_softmax(dim=-1) ⇒ torch.log(torch.softmax(logits, -1) + torch.finfo(logits.dtype).tiny)
        """,
    "mixup": """
        own and partner have the same weight
            (1 - w) * images[partners] ⇒ images[partners] * w
            (1 - w) * targets[partners] ⇒ targets[partners] * w
        the partner's weight is taken too
            (1 - w) * images[partners] ⇒ (w * images)[partners]
            (1 - w) * targets[partners] ⇒ (w * targets)[partners]
        scaled before their partners are read
            mixed = w * images + (1 - w) * images[partners] ⇒ mixed = images.mul_(w).add_((1 - w) * images[partners])
        that it has mixed already
            return mixed, ⇒ mixed = images.clone()
            | for i in range(len(images)):
            |     mixed[i] = torch.lerp(mixed[partners[i]], mixed[i], weight[i])
            | return mixed,
        lines it up with the columns
            weight[:, None, None, None] ⇒ weight
        targets are (B, classes)
            weight[:, None]
            | return ⇒ weight
            | return
        """,
    "ema_update": """
        the wrong way round
            old.mul_(decay).add_(new, alpha=1 - decay) ⇒ old.lerp_(new, decay)
        the average moves, the model stays
            for old, new in zip(average.parameters(), model.parameters()):
            |     old ⇒ mean = average.state_dict()
            | for name, old in model.state_dict().items():
            |     new = mean[name]
            |     old
            for old, new in zip(average.buffers(), model.buffers()):
            |     old.copy_(new) ⇒ pass
        you average the running statistics and leave
            for old, new in zip(average.parameters(), model.parameters()):
            |     old ⇒ now = model.state_dict()
            | for name, old in average.state_dict().items():
            |     if not old.is_floating_point():
            |         continue
            |     new = now[name]
            |     old
            for old, new in zip(average.buffers(), model.buffers()):
            |     old.copy_(new) ⇒ pass
        a state dict holds buffers too
            average.parameters(), model.parameters() ⇒ average.state_dict().values(), model.state_dict().values()
        gradients are recorded
            with torch.no_grad(): ⇒ if True:
        """,
}

WRONG = {
    "random_crop_flip": {
        crop_that_moves_the_image: "the windows go the other way",
        crop_square_windows: "need not be square",
        crop_without_an_end: "no end",
        crop_in_a_ring: "a ring",
    },
    "soft_cross_entropy": {divergence: "Kullback-Leibler", entropy_below_the_mean: "the mean of each row"},
    "mixup": {
        mixup_giving_instead_of_taking: "you give each image to its partner",
        mixup_with_the_heavier_target: "the heavier target",
    },
    "ema_update": {
        ema_of_what_is_floating_with_the_counter: "copy only the counter",
        ema_with_new_parameters: "you put new parameters",
        ema_twice_for_what_is_shared: "averaged once",
        ema_of_the_children: "children() leaves out",
        ema_of_a_copy: "stay as they were",
    },
}

EQUIVALENT = {
    "random_crop_flip": """
        What one image has is handed out to all; with one image or channel the ellipsis stands for what is left.
            crop_by_gathering: columns = torch.arange(w).expand(B, w) ⇒ columns = torch.arange(w)
            crop_by_gathering: columns = torch.arange(w).expand(B, w) ⇒ columns = torch.arange(w).expand(B, w).squeeze()
            crop_mirroring_shift_and_image: left = torch.where(flips, 2 * padding - shifts[:, 1], shifts[:, 1]) ⇒ left = torch.where(flips, 2 * padding - shifts[:, 1], shifts[:, 1]).squeeze()
        There are always four axes.
            random_crop_flip: h, w = images.shape[-2:] ⇒ h, w = images.shape[2:]
            crop_in_a_loop: height, width = images.shape[-2:] ⇒ height, width = images.shape[2:]
        The new axis comes last in either writing: the number takes its axis away.
            crop_by_row_and_column_numbers: rows = shifts[:, 0, None] + torch.arange(h) ⇒ rows = shifts[:, None, 0] + torch.arange(h)
            crop_by_row_and_column_numbers: columns = shifts[:, 1, None] + torch.arange(w) ⇒ columns = shifts[:, None, 1] + torch.arange(w)
        The images of a check are on the CPU.
            random_crop_flip: batch = torch.arange(len(images), device=images.device) ⇒ batch = torch.arange(len(images))
        """,
    "soft_cross_entropy": """
        There are always two axes.
            soft_cross_entropy: return -(targets * logits.log_softmax(dim=-1)).sum(dim=-1).mean() ⇒ return -(targets * logits.log_softmax(dim=-1)).sum(dim=1).mean()
            soft_cross_entropy: return -(targets * logits.log_softmax(dim=-1)).sum(dim=-1).mean() ⇒ return -(targets * logits.log_softmax(dim=1)).sum(dim=-1).mean()
            entropy_by_einsum: logs = shifted - shifted.exp().sum(dim=-1, keepdim=True).log() ⇒ logs = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
            entropy_by_einsum: shifted = logits - logits.max(dim=-1, keepdim=True).values ⇒ shifted = logits - logits.max(dim=1, keepdim=True).values
        A product has no order.
            entropy_row_by_row: products = [share @ row.log_softmax(0) for row, share in zip(logits, targets)] ⇒ products = [row.log_softmax(0) @ share for row, share in zip(logits, targets)]
            entropy_by_einsum: return -(torch.einsum('bk,bk->', targets, logs) / logits.shape[0]) ⇒ return -(torch.einsum('bk,bk->', logs, targets) / logits.shape[0])
        """,
    "mixup": """
        A diagonal matrix is its own transpose, and a single number is written into a row of one.
            mixup_by_a_matrix: matrix = torch.diag(weight) ⇒ matrix = torch.diag(weight).mT
            mixup_image_by_image: new_targets[i] = w * targets[i] + (1 - w) * targets[j] ⇒ new_targets[i] = (w * targets[i] + (1 - w) * targets[j]).squeeze()
        """,
    "ema_update": """
        Where no gradient is recorded there is none to cut off, and a buffer of one number is that number.
            ema_by_data: old.data = decay * old.data + (1 - decay) * new.data ⇒ old.data = (decay * old.data + (1 - decay) * new.data).detach()
            ema_by_loading: state[name] = decay * old + (1 - decay) * state[name] ⇒ state[name] = (decay * old + (1 - decay) * state[name]).detach()
            ema_module_by_module: mine.get_buffer(name)[...] = new ⇒ mine.get_buffer(name)[...] = new.detach()
            ema_module_by_module: mine.get_buffer(name)[...] = new ⇒ mine.get_buffer(name)[...] = new.squeeze()
        What is done already is left out, and a buffer may be copied twice.
            ema_module_by_module: for name, new in other.named_buffers(recurse=False): ⇒ for name, new in other.named_buffers():
            ema_module_by_module: for name, new in other.named_buffers(recurse=False): ⇒ for name, new in other.named_buffers(recurse=True):
            ema_module_by_module: for name, new in other.named_parameters(recurse=False): ⇒ for name, new in other.named_parameters():
            ema_module_by_module: for name, new in other.named_parameters(recurse=False): ⇒ for name, new in other.named_parameters(recurse=True):
        The numbers are not changed where they lie, so they need not be copied.
            ema_by_loading: state = {name: value.clone() for name, value in model.state_dict().items()} ⇒ state = {name: value for name, value in model.state_dict().items()}
        """,
}
