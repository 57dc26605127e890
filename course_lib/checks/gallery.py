"""Right implementations of different make, and such with a bug that no shape betrays: what the tests of the bug gallery
are tried on.

Most of the bugs were met in published code, and the gallery says where. All are written anew.
"""

import random
from copy import deepcopy

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from course_lib.vit import EncoderBlock

# ---- Attention: query (..., Nq, d), key (..., Nk, d), value (..., Nk, dv) -> (..., Nq, dv)


def attend(query, key, value):
    return (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1) @ value


def attend_with_einsum(query, key, value):
    scores = torch.einsum("...qd,...kd->...qk", query * query.shape[-1] ** -0.5, key)
    return torch.einsum("...qk,...kv->...qv", scores.softmax(dim=-1), value)


def attend_query_by_query(query, key, value):
    rows = [attend_key_by_key(query[..., i : i + 1, :], key, value) for i in range(query.shape[-2])]
    return torch.cat(rows, dim=-2)


def attend_key_by_key(query, key, value):
    top = query.new_full((*query.shape[:-1], 1), float("-inf"))
    total, sums = torch.zeros_like(top), query.new_zeros(*query.shape[:-1], value.shape[-1])
    for k, v in zip(key.unbind(dim=-2), value.unbind(dim=-2), strict=True):
        score = (query * k.unsqueeze(-2)).sum(dim=-1, keepdim=True) / query.shape[-1] ** 0.5
        new = torch.maximum(top, score)
        shrink, weight = (top - new).exp(), (score - new).exp()
        top, total, sums = new, total * shrink + weight, sums * shrink + weight * v.unsqueeze(-2)
    return sums / total


def attend_in_double(query, key, value):
    return attend(query.double(), key.double(), value.double()).to(query.dtype)


def attend_with_other_names(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


RIGHT_ATTENTION = {
    "of chapter 1": attend,
    "written with einsum": attend_with_einsum,
    "that takes query by query": attend_query_by_query,
    "that takes key by key": attend_key_by_key,
    "that computes in float64 inside": attend_in_double,
    "with parameters named q, k, v": attend_with_other_names,
}


def attend_over_queries(query, key, value):
    return (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-2) @ value


def attend_unscaled(query, key, value):
    return (query @ key.mT).softmax(dim=-1) @ value


def attend_scaled_by_d(query, key, value):
    return (query @ key.mT / query.shape[-1]).softmax(dim=-1) @ value


def attend_scaled_by_keys(query, key, value):
    return (query @ key.mT / key.shape[-2] ** 0.5).softmax(dim=-1) @ value


def attend_scaled_late(query, key, value):
    return (query @ key.mT).softmax(dim=-1) / query.shape[-1] ** 0.5 @ value


WRONG_ATTENTION = {
    "the softmax runs over the queries": attend_over_queries,
    "the scores are not divided": attend_unscaled,
    "the scores are divided by d": attend_scaled_by_d,
    "the scores are divided by the root of the number of keys": attend_scaled_by_keys,
    "√d divides the weights, after the softmax": attend_scaled_late,
}

# ---- Patches: images (B, C, gh·P, gw·P), P -> (B, gh·gw, C·P·P)


def cut(images, patch_size):
    B, C, height, width = images.shape
    grid = images.reshape(B, C, height // patch_size, patch_size, width // patch_size, patch_size)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * patch_size**2)


def cut_with_einops(images, patch_size):
    return rearrange(images, "B C (gh P) (gw Q) -> B (gh gw) (C P Q)", P=patch_size, Q=patch_size)


def cut_with_loops(images, patch_size):
    _, _, height, width = images.shape
    patches = [
        images[:, :, top : top + patch_size, left : left + patch_size].flatten(1)
        for top in range(0, height, patch_size)
        for left in range(0, width, patch_size)
    ]
    return torch.stack(patches, dim=1)


def cut_with_unfold(images, patch_size):
    pixels = F.unfold(images.double(), patch_size, stride=patch_size)  # it takes no whole numbers
    return pixels.transpose(1, 2).to(images.dtype)


def cut_with_other_names(x, p):
    windows = x.unfold(2, p, p).unfold(3, p, p)  # (B, C, gh, gw, P, P)
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


RIGHT_PATCHES = {
    "of chapter 4": cut,
    "written with einops": cut_with_einops,
    "written with loops": cut_with_loops,
    "written with unfold": cut_with_unfold,
    "with parameters named x, p": cut_with_other_names,
}


def cut_by_reshape(images, patch_size):
    B, C = images.shape[:2]
    return images.reshape(B, -1, C * patch_size**2)


def cut_channels_mixed(images, patch_size):
    windows = images.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)
    return windows.reshape(len(images), -1, images.shape[1] * patch_size**2)


def cut_down_the_columns(images, patch_size):
    return rearrange(images, "B C (gh P) (gw Q) -> B (gw gh) (C P Q)", P=patch_size, Q=patch_size)


def cut_and_transposed(images, patch_size):
    return rearrange(images, "B C (gh P) (gw Q) -> B (gh gw) (C Q P)", P=patch_size, Q=patch_size)


def cut_channels_last(images, patch_size):
    return rearrange(images, "B C (gh P) (gw Q) -> B (gh gw) (P Q C)", P=patch_size, Q=patch_size)


WRONG_PATCHES = {
    "the image is only reshaped": cut_by_reshape,
    "a patch holds pieces of one channel from many places": cut_channels_mixed,
    "the patches run down the columns": cut_down_the_columns,
    "each patch is transposed": cut_and_transposed,
    "the channels of a patch come last": cut_channels_last,
}

# ---- An encoder block: (B, N, 12) -> (B, N, 12), with norm1, attn.proj, norm2 and mlp.fc2 inside

WIDTH = 12


def settled(block):
    """The block with weights as after some training: gains that are not 1 and biases that are not 0."""
    draw = torch.Generator().manual_seed(1)
    for weight in block.parameters():
        weight.data += 0.3 * torch.randn(weight.shape, generator=draw)
    return block.eval()


class ExplicitBlock(EncoderBlock):
    """Pre-norm, half by half and with other names for what stands between."""

    def forward(self, x):
        seen = self.attn(self.norm1(x))
        middle = seen + x
        thought = self.mlp(self.norm2(middle))
        return thought + middle


class AddsToNormalised(EncoderBlock):
    """The attention is added to the tokens after the norm."""

    def forward(self, x):
        x = self.norm1(x)
        x = x + self.attn(x)
        return x + self.mlp(self.norm2(x))


class AddsToNormalisedLater(EncoderBlock):
    """The MLP is added to the tokens after the norm."""

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        x = self.norm2(x)
        return x + self.mlp(x)


class NormsAfterwards(EncoderBlock):
    """Post-norm, as in 2017."""

    def forward(self, x):
        x = self.norm1(x + self.attn(x))
        return self.norm2(x + self.mlp(x))


class LosesItsInput(EncoderBlock):
    """The first addition is missing."""

    def forward(self, x):
        x = self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class NormOfAll(nn.LayerNorm):
    """A norm over all tokens of an image together."""

    def forward(self, input):
        one = F.layer_norm(input, input.shape[-2:], eps=self.eps)
        return one * self.weight + self.bias


def block_with_norms_of_all():
    block = EncoderBlock(WIDTH, 3)
    block.norm1, block.norm2 = NormOfAll(WIDTH), NormOfAll(WIDTH)
    return block


RIGHT_BLOCKS = {
    "of chapter 3": settled(EncoderBlock(WIDTH, 3)),
    "written out line by line": settled(ExplicitBlock(WIDTH, 3)),
    "with LayerScale": settled(EncoderBlock(WIDTH, 2, init_values=0.1)),
    "with another activation": settled(EncoderBlock(WIDTH, 4, activation="relu2", mlp_ratio=2.0)),
    "without a bias in qkv": settled(EncoderBlock(WIDTH, 1, qkv_bias=False)),
}
WRONG_BLOCKS = {
    "the attention is added to the normalised tokens": settled(AddsToNormalised(WIDTH, 3)),
    "the MLP is added to the normalised tokens": settled(AddsToNormalisedLater(WIDTH, 3)),
    "the norms stand after the additions": settled(NormsAfterwards(WIDTH, 3)),
    "the first addition is missing": settled(LosesItsInput(WIDTH, 3)),
    "the norms run over all tokens together": settled(block_with_norms_of_all()),
}

# ---- One step of training: model, optimizer, images, labels -> the loss before the step


def step(model, optimizer, images, labels):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def step_that_clears_at_the_end(model, optimizer, images, labels):
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    return loss.item()


def step_by_hand(model, optimizer, images, labels):
    logits = model(images)
    loss = logits.logsumexp(dim=1).mean() - logits.gather(1, labels[:, None]).mean()
    weights = list(model.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = gradient
    optimizer.step()
    return loss.item()


def step_by_closure(model, optimizer, images, labels):
    def closure():
        optimizer.zero_grad()
        loss = F.nll_loss(model(images).log_softmax(dim=-1), labels)
        loss.backward()
        return loss

    return optimizer.step(closure).item()


def step_in_two_halves(net, opt, x, y):
    opt.zero_grad()
    losses = [F.cross_entropy(net(part), wanted, reduction="sum") for part, wanted in zip(x.chunk(2), y.chunk(2))]  # noqa: B905 (both in as many)
    for loss in losses:
        (loss / len(y)).backward()
    opt.step()
    return sum(loss.item() for loss in losses) / len(y)


RIGHT_STEPS = {
    "of chapter 7": step,
    "that clears the gradients at its end": step_that_clears_at_the_end,
    "that puts the gradients in by hand": step_by_hand,
    "that hands a closure to the optimiser": step_by_closure,
    "that goes in two halves": step_in_two_halves,
}


def step_that_never_clears(model, optimizer, images, labels):
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def step_on_probabilities(model, optimizer, images, labels):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images).softmax(dim=-1), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def step_a_call_late(model, optimizer, images, labels):
    optimizer.step()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    return loss.item()


def step_on_the_sum(model, optimizer, images, labels):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels, reduction="sum")
    loss.backward()
    optimizer.step()
    return loss.item() / len(labels)


def step_without_the_last_example(model, optimizer, images, labels):
    return step(model, optimizer, images[: len(images) // 2 * 2], labels[: len(labels) // 2 * 2])


def step_that_looks_afterwards(model, optimizer, images, labels):
    step(model, optimizer, images, labels)
    with torch.no_grad():
        return F.cross_entropy(model(images), labels).item()


WRONG_STEPS = {
    "the gradients are never cleared": step_that_never_clears,
    "the cross-entropy gets probabilities": step_on_probabilities,
    "the step comes one call late": step_a_call_late,
    "the gradient is that of a sum, not of a mean": step_on_the_sum,
    "an odd last example is left out": step_without_the_last_example,
    "the loss is that from after the step": step_that_looks_afterwards,
}

# ---- Random mirroring: images (B, C, height, width) -> the same shape, each image mirrored or not


def mirror(images):
    coins = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(coins[:, None, None, None], images.flip(-1), images)


def mirror_in_a_loop(images):
    return torch.stack([image.flip(-1) if random.random() < 0.5 else image for image in images])


def mirror_rows(images):
    mirrored = images.clone()
    rows = torch.bernoulli(torch.full((len(images),), 0.5)).bool()
    mirrored[rows] = mirrored[rows].flip(dims=(3,))
    return mirrored


def mirror_with_numpy(x):
    coins = np.random.randint(2, size=len(x))
    columns = torch.arange(x.shape[-1])
    return torch.stack([image[..., columns if coin else columns.flip(0)] for image, coin in zip(x, coins, strict=True)])


RIGHT_MIRRORS = {
    "of chapter 8": mirror,
    "with a loop and Python's random": mirror_in_a_loop,
    "that picks rows": mirror_rows,
    "that draws with NumPy": mirror_with_numpy,
}


def mirror_all_or_none(images):
    return images.flip(-1) if torch.rand(()) < 0.5 else images


def mirror_upside_down(images):
    coins = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(coins[:, None, None, None], images.flip(-2), images)


def mirror_the_same_always(images):
    coins = torch.rand(len(images), generator=torch.Generator().manual_seed(0)) < 0.5
    return torch.where(coins[:, None, None, None], images.flip(-1), images)


def mirror_few(images):
    coins = torch.rand(len(images), device=images.device) < 0.1
    return torch.where(coins[:, None, None, None], images.flip(-1), images)


def mirror_in_place(images):
    coins = torch.rand(len(images), device=images.device) < 0.5
    images[coins] = images[coins].flip(-1)
    return images


WRONG_MIRRORS = {
    "one coin is thrown for the whole batch": mirror_all_or_none,
    "the images are turned upside down": mirror_upside_down,
    "the coins are the same at each call": mirror_the_same_always,
    "one image in ten is mirrored": mirror_few,
    "the images that it was given are changed": mirror_in_place,
}

# ---- Accuracy: model, batches of (images, labels) -> the share of all images that are right


def accuracy(model, batches):
    model.eval()
    hits = count = 0
    with torch.no_grad():
        for images, labels in batches:
            hits += (model(images).argmax(dim=1) == labels).sum().item()
            count += len(labels)
    return hits / count


@torch.inference_mode()
def accuracy_of_all_at_once(model, batches):
    model.train(False)
    pairs = [(model(images), labels) for images, labels in batches]
    logits, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return (logits.argmax(dim=-1) == labels).double().mean().item()


def accuracy_by_weights(model, batches):
    was = model.training
    model.eval()
    shares, sizes = [], []
    for images, labels in batches:
        shares.append((model(images).max(dim=1).indices == labels).float().mean())
        sizes.append(len(labels))
    model.train(was)
    return (torch.stack(shares) @ torch.tensor(sizes).float() / sum(sizes)).item()


def accuracy_by_sixteens(net, loader):
    still, right = deepcopy(net).eval(), []
    for images, labels in loader:
        for few, answers in zip(images.split(16), labels.split(16), strict=True):
            right += (still(few).argmax(dim=1) == answers).tolist()
    return sum(right) / len(right)


RIGHT_ACCURACIES = {
    "of chapter 7": accuracy,
    "that joins all batches first": accuracy_of_all_at_once,
    "that weighs the batches": accuracy_by_weights,
    "that takes sixteen at a time": accuracy_by_sixteens,
}


def accuracy_of_batches(model, batches):
    model.eval()
    with torch.no_grad():
        shares = [(model(images).argmax(dim=1) == labels).double().mean().item() for images, labels in batches]
    return sum(shares) / len(shares)


def accuracy_in_its_mode(model, batches):
    hits = count = 0
    with torch.no_grad():
        for images, labels in batches:
            hits += (model(images).argmax(dim=1) == labels).sum().item()
            count += len(labels)
    return hits / count


def accuracy_of_half_precision(model, batches):
    model.eval()
    hits, count = torch.zeros((), dtype=torch.bfloat16), 0
    with torch.no_grad():
        for images, labels in batches:
            hits += (model(images).argmax(dim=1) == labels).sum().to(torch.bfloat16)
            count += len(labels)
    return hits.item() / count


def accuracy_in_two_walks(model, batches):
    model.eval()
    with torch.no_grad():
        answers = torch.cat([model(images).argmax(dim=1) for images, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    return (answers == labels).double().mean().item()


def accuracy_of_full_batches(model, batches):
    model.eval()
    hits, sizes = 0, []
    with torch.no_grad():
        for images, labels in batches:
            hits += (model(images).argmax(dim=1) == labels).sum().item()
            sizes.append(len(labels))
    return hits / (len(sizes) * sizes[0])


WRONG_ACCURACIES = {
    "the mean is taken over batches": accuracy_of_batches,
    "nothing switches to evaluation mode": accuracy_in_its_mode,
    "the hits are added up in bfloat16": accuracy_of_half_precision,
    "answers and labels come from two walks through the batches": accuracy_in_two_walks,
    "the last batch counts as a full one": accuracy_of_full_batches,
}
