"""The exercises of chapter 12, attention maps, rollout and attention distance."""

import re
from functools import reduce

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.attention import MultiHeadSelfAttention
from course_lib.checks.exercise import Exercise, Mistake
from course_lib.checks.staged import StagedExercise
from course_lib.vit import VisionTransformer, ViTConfig


def _mistakes(*pairs):
    return tuple(Mistake(hint, function) for hint, function in pairs)


# --- record_attention --------------------------------------------------------------------------------


class _Broken(Exception):
    """What a model raises that breaks in the middle of its forward pass."""


class _Breaks(nn.Module):
    def forward(self, x):
        raise _Broken("the head of this model breaks")


def _record_probes(generator):
    """Three models of different sizes, one that breaks after its last block, and one without an attention layer."""
    probes = []
    for model, batch, height, width in (
        ("of 2 blocks of 3 heads", 2, 4, 6),
        ("of 3 blocks of 2 heads", 4, 6, 4),
        ("of 1 block of 4 heads, in training mode", 3, 4, 4),
        ("of 2 blocks of 2 heads, whose head breaks", 2, 4, 4),
        ("of 0 blocks", 2, 6, 4),
    ):
        images = torch.randn(batch, 1, height, width, generator=generator, dtype=torch.float64)
        probes.append({"model": model, "images": images})
    return probes


def _net(words, images):
    """The model that these words describe, for such images; its weights are the same each time."""
    blocks, heads = (int((re.findall(rf"(\d+) {what}", words) or ["1"])[0]) for what in ("block", "heads"))
    torch.manual_seed(blocks + heads)
    config = ViTConfig(
        img_size=tuple(images.shape[-2:]),
        patch_size=2,
        in_chans=1,
        num_classes=5,
        embed_dim=12,
        depth=max(blocks, 1),
        num_heads=heads,
        mlp_ratio=2.0,
        weight_init="xavier",
    )
    net = VisionTransformer(config).double().train("training" in words)
    if blocks == 0:
        net.blocks = nn.Sequential()
    if "breaks" in words:
        net.head = _Breaks()
    for name, parameter in net.blocks.named_parameters():  # as after training: no bias is 0, attention differs by place
        if name.endswith(("norm1.bias", "qkv.bias")):
            nn.init.normal_(parameter)
        elif name.endswith("qkv.weight"):
            parameter.data.mul_(2)
    return net


def _traces(net):
    """What a recording may leave behind in a model, or outside: {in words: something that can be compared}."""
    parts = list(net.modules())
    hooks = sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in parts)
    changed = [{name: id(value) for name, value in vars(part).items() if name != "training"} for part in parts]
    versions = [parameter._version for parameter in net.parameters()]
    return {"hooks": hooks, "modes": [part.training for part in parts], "attributes": changed, "versions": versions}


_nets = {}  # those that were left as they had been: making one takes longer than running it


def _recorded(answer):
    """`answer(model, images)` as a function of a model in words, which returns the maps under the names of their layers."""

    def recorded(model, images):
        if isinstance(model, nn.Module):
            return answer(model, images)
        key, fused = (model, images.shape), F.scaled_dot_product_attention
        net = _nets.pop(key, None) or _net(model, images)
        before = _traces(net)
        try:
            returned = answer(net, images)
        except Exception as error:
            returned = error
        after, patched = _traces(net), F.scaled_dot_product_attention is not fused
        F.scaled_dot_product_attention = fused
        if after == before:
            _nets[key] = net
        if returned is None or isinstance(returned, dict):
            return returned
        if isinstance(returned, NotImplementedError):
            raise returned
        return _judged(returned, before, after, patched, model)

    return recorded


def _judged(returned, before, after, patched, model):
    """The maps by name; an error says what was left behind, or what became of an error."""
    if after["hooks"] != before["hooks"]:
        raise ValueError(f"{after['hooks'] - before['hooks']} hooks are left behind in the model")
    if patched or after["attributes"] != before["attributes"]:
        raise ValueError("something is left behind that you put in the place of something else")
    if after["modes"] != before["modes"]:
        raise ValueError("the model was in training mode, and now it is not")
    if "breaks" in model and isinstance(returned, _Broken):
        return {"the error": torch.ones(1)}
    if "breaks" in model and not isinstance(returned, Exception):
        raise ValueError("the model's own error is swallowed")
    if "0 blocks" in model and isinstance(returned, ValueError):
        return {"the error": torch.ones(1)}
    if "0 blocks" in model and not isinstance(returned, Exception):
        raise ValueError("a model without attention layers gave no ValueError")
    if isinstance(returned, Exception):
        raise returned
    if not isinstance(returned, list | tuple):
        shape = f" {tuple(returned.shape)}" if isinstance(returned, torch.Tensor) else ""
        raise TypeError(f"expected a list of maps, got a {type(returned).__name__}{shape}")
    return {
        f"map {i}": weights.detach() if isinstance(weights, torch.Tensor) else weights
        for i, weights in enumerate(returned)
    }


def _attention_of(layer, x, split="three", scale=None, softmax=torch.softmax, dim=-1):
    """(B, H, N, N) from the input of a layer."""
    q, k = _heads(layer, x, split)[:2]
    scores = q @ k.mT / (q.shape[-1] ** 0.5 if scale is None else scale)
    return softmax(scores, dim)


def _heads(layer, x, split="three", bias=True):
    """q, k, v, each (B, H, N, d)."""
    (B, N, D), H = x.shape, layer.num_heads
    qkv = F.linear(x, layer.qkv.weight, layer.qkv.bias if bias else None)
    if split == "heads first":
        return qkv.reshape(B, N, H, 3, D // H).permute(3, 0, 2, 1, 4)
    if split == "no transpose":
        return qkv.reshape(B, N, 3, D).movedim(2, 0).reshape(3, B, H, N, D // H)
    if split == "d outside":
        return qkv.reshape(B, N, 3, D // H, H).permute(2, 0, 4, 1, 3)
    return qkv.reshape(B, N, 3, H, D // H).permute(2, 0, 3, 1, 4)


def _layers(model):
    return [part for part in model.modules() if isinstance(part, MultiHeadSelfAttention)]


def _record_with(
    compute=_attention_of, layers=_layers, put=list.append, result=lambda maps: maps, hook="input", remove="always"
):
    """The right answer, but for one thing."""

    def record(model, images):
        maps = []
        found = layers(model)
        if not found:
            raise ValueError("no attention layer")
        handles = []
        for layer in found:
            if hook == "input":
                handles.append(layer.register_forward_pre_hook(lambda layer, args: put(maps, compute(layer, args[0]))))
            else:
                handles.append(layer.register_forward_hook(lambda layer, args, output: put(maps, output)))
        try:
            model(images)
        except Exception:
            if remove == "after success":
                raise
            if remove == "and swallow":
                for handle in handles:
                    handle.remove()
                return result(maps)
            for handle in handles if remove != "never" else ():
                handle.remove()
            raise
        for handle in handles if remove != "never" else ():
            handle.remove()
        return result(maps)

    return record


_record = _record_with()


def _record_silently(model, images):
    maps = _record(model, images) if _layers(model) else []
    return maps


def _record_in_evaluation(model, images):
    model.eval()
    return _record(model, images)


def _record_by_blocks(model, images):
    """With a block's input in place of its attention's: the norm is left out."""

    def block_of(model):
        return list(model.blocks)

    return _record_with(lambda block, x: _attention_of(block.attn, x), block_of)(model, images)


def _record_and_leave(model, images):
    if not _layers(model):
        raise ValueError("no attention layer")
    maps = []
    for layer in _layers(model):
        layer.recorder = maps.append
    model(images)
    return maps


def _record_until_it_breaks(model, images):
    if not _layers(model):
        raise ValueError("no attention layer")
    maps = []
    for layer in _layers(model):
        layer.recorder = maps.append
    model(images)
    for layer in _layers(model):
        layer.recorder = None
    return maps


def _swapped(layer, x):
    q, k = _heads(layer, x)[:2]
    return (k @ q.mT / q.shape[-1] ** 0.5).softmax(-1)


def _with_values(layer, x):
    q, _, v = _heads(layer, x)
    return (q @ v.mT / q.shape[-1] ** 0.5).softmax(-1)


def _without_bias(layer, x):
    q, k = _heads(layer, x, bias=False)[:2]
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


def _mixed(layer, x):
    q, k, v = _heads(layer, x)
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


RECORD_ATTENTION = StagedExercise(
    name="record_attention",
    chapter="12",
    signature="record_attention(model, images)",
    task="run the model once and return the list of its layers' attention weights, each (B, H, N, N) with rows that sum to 1; leave the model as it was, also if it raises an error, and raise a ValueError if no layer was heard.",
    probes=_record_probes,
    oracle=_recorded(_record),
    stage=_recorded,
    mistakes=_mistakes(
        (
            "the hooks are left in the model, and go on recording: keep what register_... returns, and call .remove() on each in the end.",
            _record_with(remove="never"),
        ),
        (
            "an error of the model goes past your .remove(): put it into `finally`, which is passed on the way out in any case.",
            _record_with(remove="after success"),
        ),
        (
            "you catch the model's error, and nobody hears of it: try ... finally without except.",
            _record_with(remove="and swallow"),
        ),
        (
            "nothing was heard, and you return an empty list: raise a ValueError then, silence must not look like an answer.",
            _record_silently,
        ),
        (
            "layer.recorder is set and never set back to None: the layer goes on recording, and goes on taking the slower path.",
            _record_and_leave,
        ),
        (
            "an error of the model goes past your clean-up, and layer.recorder stays set: put `layer.recorder = None` into `finally`.",
            _record_until_it_breaks,
        ),
        (
            "that is what the layer puts out, (B, N, D): the weights are not in it any more; compute them from the input, args[0] of a forward pre-hook.",
            _record_with(hook="output"),
        ),
        (
            "you go on to multiply by the values: the map is the softmax itself.",
            _record_with(_mixed),
        ),
        (
            "those are scores: the softmax over the keys is missing.",
            _record_with(lambda layer, x: _attention_of(layer, x, softmax=lambda scores, dim: scores)),
        ),
        (
            "columns sum to 1: the softmax runs over the keys, the last dimension.",
            _record_with(lambda layer, x: _attention_of(layer, x, dim=-2)),
        ),
        (
            "each head's whole map sums to 1: each row must, softmax over the last dimension alone.",
            _record_with(
                lambda layer, x: _attention_of(layer, x, softmax=lambda s, dim: s.flatten(-2).softmax(-1).view_as(s))
            ),
        ),
        (
            "the scores are not divided: sqrt(d), with d the width of one head.",
            _record_with(lambda layer, x: _attention_of(layer, x, scale=1.0)),
        ),
        (
            "the scores are divided by sqrt(D): d is the width of one head, D / H.",
            _record_with(lambda layer, x: _attention_of(layer, x, scale=x.shape[-1] ** 0.5)),
        ),
        (
            "the scores are divided by d: by its square root.",
            _record_with(lambda layer, x: _attention_of(layer, x, scale=x.shape[-1] / layer.num_heads)),
        ),
        (
            "queries and keys are exchanged: rows are queries, q @ k.mT.",
            _record_with(_swapped),
        ),
        (
            "you compare the queries with the values: q, k, v stand in this order.",
            _record_with(_with_values),
        ),
        (
            "the bias of qkv is left out: call the layer, layer.qkv(x).",
            _record_with(_without_bias),
        ),
        (
            "you split into heads before q, k and v: the last dimension is (3, H, d) in this order.",
            _record_with(lambda layer, x: _attention_of(layer, x, "heads first")),
        ),
        (
            "a reshape to (B, H, N, d) mixes tokens and heads: (B, N, H, d) first, then swap the two.",
            _record_with(lambda layer, x: _attention_of(layer, x, "no transpose")),
        ),
        (
            "each head is given every H-th number: the last dimension is (3, H, d), the head before its width.",
            _record_with(lambda layer, x: _attention_of(layer, x, "d outside")),
        ),
        (
            "you listen to the block, before its first norm: the input of block.attn is normalised.",
            _record_by_blocks,
        ),
        (
            "the heads are averaged: keep them apart, (B, H, N, N).",
            _record_with(lambda layer, x: _attention_of(layer, x).mean(dim=1)),
        ),
        (
            "only the last layer's map is left: append each to a list.",
            _record_with(result=lambda maps: maps[-1:]),
        ),
        (
            "you return the last map, and not a list of all.",
            _record_with(result=lambda maps: maps[-1]),
        ),
        (
            "you record the first block only: every layer of the model.",
            _record_with(layers=lambda model: _layers(model)[:1]),
        ),
        (
            "the maps come last layer first: in the order in which the layers run.",
            _record_with(result=lambda maps: maps[::-1]),
        ),
        (
            "you keep the first image only: the whole batch.",
            _record_with(result=lambda maps: [weights[:1] for weights in maps]),
        ),
        (
            "one tensor of all layers: a list of L tensors is asked for, attention_maps stacks them later.",
            _record_with(result=lambda maps: torch.stack(maps, dim=1)),
        ),
        (
            "model.eval() changes the model for whoever trains it: remember model.training and set it back, or leave it alone.",
            _record_in_evaluation,
        ),
    ),
)


# --- attention_rollout -------------------------------------------------------------------------------


def _rollout_probes(generator):
    """Maps as they come, then some without their small weights, whose rows do not sum to 1; one image, and as many as tokens."""
    probes = []
    for batch, depth, heads, tokens, dropped, dtype in (
        (2, 3, 4, 5, 0.0, torch.float64),
        (1, 2, 3, 6, 0.4, torch.float64),
        (4, 3, 2, 4, 0.4, torch.float64),
        (3, 4, 2, 7, 0.3, torch.float32),
    ):
        scores = 2 * torch.randn(batch, depth, heads, tokens, tokens, generator=generator, dtype=torch.float64)
        maps = scores.softmax(-1)
        small = maps < maps.flatten(-2).quantile(dropped, dim=-1)[..., None, None]
        probes.append({"maps": maps.masked_fill(small, 0.0).to(dtype)})
    return probes


def _rollout_of_columns(maps):
    """The right answer, one column at a time: what comes of one input token, layer by layer."""
    batch, depth, _, tokens, _ = maps.shape
    result = maps.new_zeros(batch, tokens, tokens)
    for image in range(batch):
        for source in range(tokens):
            share = torch.zeros(tokens, dtype=maps.dtype)
            share[source] = 1
            for layer in range(depth):
                mean = sum(maps[image, layer]) / maps.shape[2]
                share = (mean @ share + share) / (mean.sum(dim=-1) + 1)
            result[image, :, source] = share
    return result


def _mean(layer):
    return layer.mean(dim=1)


def _with_identity(fused):
    return fused + torch.eye(fused.shape[-1], dtype=fused.dtype)


def _normalised(mixed):
    return mixed / mixed.sum(dim=-1, keepdim=True)


def _rollout_with(
    fuse=_mean, mix=lambda fused: _normalised(_with_identity(fused)), step=lambda mixed, result: mixed @ result
):
    """The right answer, but for one thing."""

    def rollout(maps):
        first, *later = (mix(fuse(layer)) for layer in maps.unbind(1))
        return reduce(lambda result, mixed: step(mixed, result), later, first)

    return rollout


def _without_keepdim(mixed):
    return mixed / mixed.sum(dim=-1)


def _identity_for_the_first_only(maps):
    layers = [_mean(layer) for layer in maps.unbind(1)]
    result = _normalised(_with_identity(layers[0]))
    for fused in layers[1:]:
        result = fused @ result
    return result


def _first_without_identity(maps):
    layers = [_mean(layer) for layer in maps.unbind(1)]
    result = layers[0]
    for fused in layers[1:]:
        result = _normalised(_with_identity(fused)) @ result
    return result


def _rollout_in_place(maps):
    for layer in range(maps.shape[1]):
        maps[:, layer] += torch.eye(maps.shape[-1], dtype=maps.dtype)
    return _rollout_with(mix=_normalised)(maps)


def _rollout_from_zero(maps):
    result = maps.new_zeros(maps.shape[0], *maps.shape[-2:])
    for layer in maps.unbind(1):
        result = _normalised(_with_identity(_mean(layer))) @ result
    return result


def _rollout_from_float32(of_each_image):
    """The product begins with an identity in float32, one for each image or one for all."""

    def rollout(maps):
        identity = torch.eye(maps.shape[-1])
        result = identity.expand(len(maps), -1, -1) if of_each_image else identity
        for layer in maps.unbind(1):
            result = _normalised(_with_identity(_mean(layer))) @ result
        return result

    return rollout


def _rollout_of_heads(maps):
    """Each head rolled out for itself, the mean in the end."""
    heads = [_rollout_with(fuse=lambda layer, h=h: layer[:, h])(maps) for h in range(maps.shape[2])]
    return torch.stack(heads).mean(dim=0)


ATTENTION_ROLLOUT = Exercise(
    name="attention_rollout",
    chapter="12",
    signature="attention_rollout(maps)",
    task="take the mean over the heads, add the identity, divide each row by its sum, and multiply the layers, the last one leftmost: (B, L, H, N, N) -> (B, N, N).",
    probes=_rollout_probes,
    oracle=_rollout_of_columns,
    mistakes=_mistakes(
        (
            "the residual connection is missing: add the identity to each layer's map.",
            _rollout_with(mix=lambda fused: fused),
        ),
        (
            "the identity is missing, only the rows are divided by their sums: the residual connection brings each token's own share.",
            _rollout_with(mix=_normalised),
        ),
        (
            "the rows are not divided by their sums: with the identity they sum to about 2, after L layers to 2^L.",
            _rollout_with(mix=_with_identity),
        ),
        (
            "you divide first and add the identity afterwards: the other way round, or the rows still sum to 2.",
            _rollout_with(mix=lambda fused: _with_identity(_normalised(fused))),
        ),
        (
            "the rows are divided by their sums before the identity comes in: a row that sums to less than 1 counts less against it; add the identity first, then divide.",
            _rollout_with(mix=lambda fused: _with_identity(_normalised(fused)) / 2),
        ),
        (
            "the heads' rows are divided by their sums before the mean: add the identity to the mean first, then divide once.",
            lambda maps: _rollout_with()(_normalised(maps)),
        ),
        (
            "you divide by 2, which fits only rows that sum to 1: where small weights have been set to 0 they do not; divide each row by its sum.",
            _rollout_with(mix=lambda fused: _with_identity(fused) / 2),
        ),
        (
            "without keepdim=True the sums (B, N) lie along the columns: sum(dim=-1, keepdim=True) is (B, N, 1).",
            _rollout_with(mix=lambda fused: _without_keepdim(_with_identity(fused))),
        ),
        (
            "you divide each column by its sum: the rows, dim=-1, with keepdim=True.",
            _rollout_with(mix=lambda fused: _with_identity(fused) / _with_identity(fused).sum(dim=-2, keepdim=True)),
        ),
        (
            "that is a softmax: the weights are weights already, divide by their sum.",
            _rollout_with(mix=lambda fused: _with_identity(fused).softmax(-1)),
        ),
        (
            "the product is in the wrong order: a later layer mixes what the earlier ones made, so it stands on the left, mixed @ result.",
            _rollout_with(step=lambda mixed, result: result @ mixed),
        ),
        (
            "you multiply number by number: a matrix product, @.",
            _rollout_with(step=lambda mixed, result: mixed * result),
        ),
        (
            "you add the layers: each works on what the one before has made, so multiply, with @.",
            _rollout_with(step=lambda mixed, result: mixed + result),
        ),
        (
            "you transpose the maps: row i says where token i looks, as it is.",
            _rollout_with(step=lambda mixed, result: mixed.mT @ result),
        ),
        (
            "you take the maximum over the heads: the mean here.",
            _rollout_with(lambda layer: layer.amax(dim=1)),
        ),
        (
            "you take the minimum over the heads: the mean here.",
            _rollout_with(lambda layer: layer.amin(dim=1)),
        ),
        (
            "you add up the heads: with H heads the residual connection is H times too weak; the mean.",
            _rollout_with(lambda layer: layer.sum(dim=1)),
        ),
        (
            "you take one head: the mean over all.",
            _rollout_with(lambda layer: layer[:, 0]),
        ),
        (
            "you roll out each head for itself: the heads of a layer are mixed before the next layer looks, so the mean comes first.",
            _rollout_of_heads,
        ),
        (
            "you take the mean over the layers and keep the heads: maps is (B, L, H, N, N).",
            lambda maps: _rollout_with()(maps.transpose(1, 2)),
        ),
        (
            "a matrix of ones lets everybody look everywhere: the identity, torch.eye.",
            _rollout_with(mix=lambda fused: _normalised(fused + 1)),
        ),
        (
            "half an identity: x + attention(x) counts both alike, so 1.",
            _rollout_with(mix=lambda fused: _normalised(fused + 0.5 * torch.eye(fused.shape[-1], dtype=fused.dtype))),
        ),
        (
            "only the first layer gets its identity: every layer has a residual connection.",
            _identity_for_the_first_only,
        ),
        (
            "the first layer gets no identity: begin with the identity as result, and treat all layers alike.",
            _first_without_identity,
        ),
        (
            "the product begins with zeros, and stays there: begin with the identity.",
            _rollout_from_zero,
        ),
        (
            "only the last layer is left: multiply each with the result so far.",
            _rollout_with(step=lambda mixed, result: mixed),
        ),
        (
            "you add the identity once, to the finished product: to each layer's map.",
            lambda maps: _normalised(_with_identity(_rollout_with(mix=lambda fused: fused)(maps))),
        ),
        (
            "rows are divided once, in the end: in each layer, or the layers get unequal weight.",
            lambda maps: _normalised(_rollout_with(mix=_with_identity)(maps)),
        ),
        (
            "you average over the images: each has its own result.",
            lambda maps: _rollout_with()(maps).mean(dim=0, keepdim=True).expand(len(maps), -1, -1),
        ),
        (
            "you work on the first image only: the batch dimension stays.",
            lambda maps: _rollout_with()(maps)[0],
        ),
        (
            "that is the class token's row: all rows, (B, N, N).",
            lambda maps: _rollout_with()(maps)[:, 0],
        ),
        (
            "torch.eye(N) is float32, these maps are float64: torch.eye(N, dtype=maps.dtype).",
            _rollout_from_float32(of_each_image=True),
        ),
        (
            "torch.eye(N) is float32, and so does not multiply with float64 maps: torch.eye(N, dtype=maps.dtype).",
            _rollout_from_float32(of_each_image=False),
        ),
        (
            "the numbers are right, but in float32: stay with the dtype of maps, no .float().",
            lambda maps: _rollout_of_columns(maps).float(),
        ),
        (
            "the numbers are right, but your caller's maps change: += works in place, write a + b.",
            _rollout_in_place,
        ),
    ),
)


# --- mean_attention_distance -------------------------------------------------------------------------


def _distance_probes(generator):
    """Grids that are not square, mostly; the class token gets a different share from each query."""
    probes = []
    for batch, depth, heads, grid, patch_size, dtype in (
        (2, 3, 4, (2, 3), 4, torch.float64),
        (3, 2, 5, (4, 2), 7, torch.float64),
        (1, 4, 2, (3, 3), 16, torch.float64),
        (4, 1, 3, (2, 5), 5, torch.float32),
    ):
        tokens = 1 + grid[0] * grid[1]
        scores = 2 * torch.randn(batch, depth, heads, tokens, tokens, generator=generator, dtype=torch.float64)
        probes.append({"maps": scores.softmax(-1).to(dtype), "grid_size": grid, "patch_size": patch_size})
    return probes


def _places(grid_size):
    """Row and column of each patch, (gh·gw,) each."""
    gh, gw = grid_size
    return torch.arange(gh * gw) // gw, torch.arange(gh * gw) % gw


def _euclidean(rows, columns):
    return (rows.double() ** 2 + columns.double() ** 2).sqrt()


def _distance_by_loops(maps, grid_size, patch_size):
    """The right answer: a sum over pairs of patches, one after the other."""
    rows, columns = _places(grid_size)
    weights = maps[..., 1:, 1:]
    total = weights.sum(dim=-1)  # (B, L, H, n)
    far = torch.zeros_like(total)
    for key in range(len(rows)):
        distance = patch_size * _euclidean(rows - rows[key], columns - columns[key])
        far = far + weights[..., key] * distance.to(maps)
    return (far / total).mean(dim=(0, 3))


def _distance_with(
    cut=lambda maps: maps[..., 1:, 1:],
    normalise=_normalised,
    measure=_euclidean,
    places=_places,
    unit=lambda patch_size: patch_size,
    result=lambda far: far.mean(dim=(0, 3)),
):
    """The right answer, but for one thing."""

    def distance(maps, grid_size, patch_size):
        rows, columns = places(grid_size)
        pairs = measure(rows[:, None] - rows, columns[:, None] - columns).to(maps)
        weights = normalise(cut(maps))
        return unit(patch_size) * result((weights * pairs).sum(dim=-1))

    return distance


def _with_class_token(grid_size):
    """The class token at the place of the first patch, and every patch where it is."""
    rows, columns = _places(grid_size)
    return torch.cat([rows[:1], rows]), torch.cat([columns[:1], columns])


def _as_if_first(grid_size):
    """Every token a patch in reading order, the class token the first of them."""
    gh, gw = grid_size
    tokens = torch.arange(gh * gw + 1)
    return tokens // gw, tokens % gw


def _weighted_over_queries(maps, grid_size, patch_size):
    rows, columns = _places(grid_size)
    pairs = patch_size * _euclidean(rows[:, None] - rows, columns[:, None] - columns).to(maps)
    weights = maps[..., 1:, 1:]
    return (weights * pairs).sum(dim=(0, 3, 4)) / weights.sum(dim=(0, 3, 4))


def _from_the_class_token(maps, grid_size, patch_size):
    rows, columns = _places(grid_size)
    middle = (grid_size[0] - 1) / 2, (grid_size[1] - 1) / 2
    far = patch_size * _euclidean(rows - middle[0], columns - middle[1]).to(maps)
    return (_normalised(maps[..., :1, 1:]) * far).sum(dim=-1).mean(dim=(0, 3))


def _to_the_farthest(maps, grid_size, patch_size):
    rows, columns = _places(grid_size)
    pairs = patch_size * _euclidean(rows[:, None] - rows, columns[:, None] - columns).to(maps)
    return pairs[maps[..., 1:, 1:].argmax(dim=-1), torch.arange(len(rows)).expand(*maps.shape[:3], -1)].mean(dim=(0, 3))


MEAN_ATTENTION_DISTANCE = Exercise(
    name="mean_attention_distance",
    chapter="12",
    signature="mean_attention_distance(maps, grid_size, patch_size)",
    task="leave out the class token, divide each row by its sum, weight the distances in pixels between the middles of the patches, and take the mean over queries and images: (B, L, H, N, N) -> (L, H).",
    probes=_distance_probes,
    oracle=_distance_by_loops,
    mistakes=_mistakes(
        (
            "those are patches, not pixels: times patch_size.",
            _distance_with(unit=lambda patch_size: 1),
        ),
        (
            "without the class token the rows sum to less than 1: cut it off first, then divide each row by its sum.",
            _distance_with(normalise=lambda weights: weights),
        ),
        (
            "the class token is still in, as if it were the first patch, and every patch stands one place too late: cut it off, maps[..., 1:, 1:].",
            _distance_with(cut=lambda maps: maps, places=_as_if_first),
        ),
        (
            "the class token is still in, at the place of the first patch: it has no place; cut it off, as a query and as a key.",
            _distance_with(cut=lambda maps: maps, places=_with_class_token),
        ),
        (
            "you cut off the last patch: the class token is token 0, maps[..., 1:, 1:].",
            _distance_with(cut=lambda maps: maps[..., :-1, :-1]),
        ),
        (
            "you measure from the class token: it has no place; from each patch.",
            _from_the_class_token,
        ),
        (
            "that is the way along rows and columns: the straight line, the square root of both squares.",
            _distance_with(measure=lambda rows, columns: rows.abs() + columns.abs()),
        ),
        (
            "the square root is missing.",
            _distance_with(measure=lambda rows, columns: rows**2 + columns**2),
        ),
        (
            "that is the longer of the two sides: the straight line, the square root of both squares.",
            _distance_with(measure=lambda rows, columns: torch.maximum(rows.abs(), columns.abs())),
        ),
        (
            "you count places in reading order: the patch below is one row away, not gw places; row n // gw, column n % gw.",
            _distance_with(
                places=lambda grid: (torch.zeros(grid[0] * grid[1]), torch.arange(grid[0] * grid[1])),
            ),
        ),
        (
            "rows and columns of the grid are exchanged: grid_size is (gh, gw), patch n is in row n // gw and column n % gw.",
            _distance_with(places=lambda grid: _places((grid[1], grid[0]))),
        ),
        (
            "a row has gw patches: patch n is in row n // gw, you divide by gh.",
            _distance_with(
                places=lambda grid: (
                    torch.arange(grid[0] * grid[1]) // grid[0],
                    torch.arange(grid[0] * grid[1]) % grid[1],
                )
            ),
        ),
        (
            "you divide each column by its sum: each row is one query's, dim=-1.",
            _distance_with(normalise=lambda weights: weights / weights.sum(dim=-2, keepdim=True)),
        ),
        (
            "a query that looks at the class token mostly counts less than others: divide each row by its own sum, then take the mean.",
            _weighted_over_queries,
        ),
        (
            "that is the distance to the patch with the largest weight: weight all distances.",
            _to_the_farthest,
        ),
        (
            "the heads are averaged: one number for each, (L, H).",
            _distance_with(result=lambda far: far.mean(dim=(0, 2, 3))),
        ),
        (
            "each image has its own numbers: the mean over images too, (L, H).",
            _distance_with(result=lambda far: far.mean(dim=3)),
        ),
        (
            "each query has its own numbers: the mean over queries too, (L, H).",
            _distance_with(result=lambda far: far.mean(dim=0)),
        ),
        (
            "the first image only: the mean over all.",
            _distance_with(result=lambda far: far[0].mean(dim=-1)),
        ),
        (
            "you take the mean over the keys: the weights of a row sum to 1 already, so sum over the keys, and take the mean over queries and images.",
            _distance_with(result=lambda far: (far / far.shape[-1]).mean(dim=(0, 3))),
        ),
        (
            "the numbers are right, but in float32: stay with the dtype of maps, no .float().",
            lambda *inputs: _distance_by_loops(*inputs).float(),
        ),
        (
            "the sum over the queries: the mean.",
            _distance_with(result=lambda far: far.mean(dim=0).sum(dim=-1)),
        ),
        (
            "the sum over the images: the mean.",
            _distance_with(result=lambda far: far.sum(dim=0).mean(dim=-1)),
        ),
        (
            "the median over the queries: the mean.",
            _distance_with(result=lambda far: far.median(dim=-1).values.mean(dim=0)),
        ),
        (
            "half of patch_size: the middles of neighbouring patches are patch_size apart.",
            _distance_with(unit=lambda patch_size: patch_size / 2),
        ),
    ),
)


EXERCISES = (RECORD_ATTENTION, ATTENTION_ROLLOUT, MEAN_ATTENTION_DISTANCE)
