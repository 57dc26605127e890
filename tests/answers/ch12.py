"""Answers to the exercises of chapter 12, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import copy
import functools
import math
from contextlib import ExitStack, suppress

import numpy as np
import torch
import torch.nn.functional as F

from course_lib.attention import MultiHeadSelfAttention

# --- record_attention --------------------------------------------------------------------------------


def attention_layers(model):
    return [part for part in model.modules() if isinstance(part, MultiHeadSelfAttention)]


def weights(layer, x):
    B, N, D = x.shape
    q, k, _ = layer.qkv(x).view(B, N, 3, layer.num_heads, D // layer.num_heads).permute(2, 0, 3, 1, 4)
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


def heard(maps):
    if not maps:
        raise ValueError("heard nothing")
    return maps


def record_by_asking(model, images):
    answers = {}
    with ExitStack() as stack:
        for number, block in enumerate(model.blocks):
            stack.callback(setattr, block.attn, "recorder", block.attn.recorder)
            block.attn.recorder = functools.partial(answers.__setitem__, number)
        model(images)
    if len(answers) == 0:
        raise ValueError("silence")
    return list(answers.values())


def record_by_replacing_the_kernel(model, images):
    maps, kernel = [], F.scaled_dot_product_attention

    def slow(query, key, value, **options):
        weights = torch.softmax(query @ key.transpose(-2, -1) / math.sqrt(query.size(-1)), dim=-1)
        maps.append(weights)
        return weights @ value

    F.scaled_dot_product_attention = slow
    try:
        model(images)
    finally:
        F.scaled_dot_product_attention = kernel
    if len(maps) == 0:
        raise ValueError("no map")
    return maps


def record_with_a_stack(model, images):
    inputs = {}
    with ExitStack() as stack, torch.no_grad():
        for block in model.blocks:
            handle = block.attn.qkv.register_forward_hook(lambda part, args, out: inputs.__setitem__(part, out))
            stack.callback(handle.remove)
        model(images)
    if not inputs:
        raise ValueError("heard nothing")
    maps = []
    for block in model.blocks:
        q, k, _ = inputs[block.attn.qkv].chunk(3, dim=-1)  # (B, N, D)
        q, k = (x.unflatten(-1, (block.attn.num_heads, -1)).transpose(1, 2) for x in (q, k))
        maps.append(torch.einsum("bhid,bhjd->bhij", q, k).div(q.shape[-1] ** 0.5).softmax(-1))
    return maps


def record_in_evaluation_mode(model, images):
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            return record_by_asking(model, images)
    finally:
        for part, mode in modes:
            part.training = mode


def record_with_other_methods(model, images):
    layers = [block.attn for block in model.blocks]
    maps = []

    def listening(layer, old):
        def forward(x):
            maps.append(weights(layer, x))
            return old(x)

        return forward

    methods = [layer.forward for layer in layers]
    try:
        for layer, old in zip(layers, methods, strict=True):
            layer.forward = listening(layer, old)
        model(images)
    finally:
        for layer, old in zip(layers, methods, strict=True):
            layer.forward = old
    if not maps:
        raise ValueError("heard nothing")
    return maps


def record_everywhere(model, images):
    maps, layers = [], attention_layers(model)

    def hook(part, args):
        if part in layers:
            maps.append(weights(part, args[0]))

    handle = torch.nn.modules.module.register_module_forward_pre_hook(hook)
    try:
        model(images)
    except Exception:
        handle.remove()
        raise
    handle.remove()
    if not maps:
        raise ValueError("heard nothing")
    return maps


def record_with_a_copy(model, images):
    return record_by_asking(copy.deepcopy(model), images)


def record_everywhere_for_good(model, images):
    maps = []

    def hook(part, args):
        if isinstance(part, MultiHeadSelfAttention):
            maps.append(weights(part, args[0]))

    torch.nn.modules.module.register_module_forward_pre_hook(hook)
    model(images)
    return heard(maps)


def record_everywhere_until_it_breaks(model, images):
    maps, layers = [], attention_layers(model)
    handle = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda part, args: maps.append(weights(part, args[0])) if part in layers else None
    )
    model(images)
    handle.remove()
    return heard(maps)


def record_block_by_block(model, images):
    x, maps = model.embed(images), []
    for block in model.blocks:
        maps.append(weights(block.attn, block.norm1(x)))
        x = block(x)
    return heard(maps)


def record_with_a_kernel_for_good(model, images):
    maps = []

    def slow(query, key, value, **options):
        maps.append((query @ key.mT / query.shape[-1] ** 0.5).softmax(-1))
        return maps[-1] @ value

    F.scaled_dot_product_attention = slow
    model(images)
    return heard(maps)


def record_with_a_kernel_until_it_breaks(model, images):
    kernel = F.scaled_dot_product_attention
    maps = []
    with suppress(ValueError):
        maps = record_with_a_kernel_for_good(model, images)
    F.scaled_dot_product_attention = kernel
    return heard(maps)


def record_and_go_on_asking(model, images):
    maps = []
    for block in model.blocks:
        block.attn.recorder = lambda weights: maps.append(weights)
    model(images)
    return heard(maps)


def record_asking_alone(model, images):
    maps = []
    layers = [part for part in model.modules() if hasattr(part, "recorder")]
    for layer in layers:
        layer.recorder = maps.append
    try:
        model(images)
    finally:
        for layer in layers:
            layer.recorder = None
    return heard(maps)


def record_asking_until_it_breaks(model, images):
    maps = []
    for block in model.blocks:
        block.attn.recorder = maps.append
    model(images)
    for block in model.blocks:
        block.attn.recorder = None
    return heard(maps)


# --- attention_rollout -------------------------------------------------------------------------------


def rollout_from_above(maps):
    """Beginning with the last layer: the product is the same, however it is bracketed."""
    result = None
    for layer in reversed(range(maps.shape[1])):
        fused = maps[:, layer].sum(1) / maps.shape[2] + torch.eye(maps.shape[-1]).to(maps)
        fused = fused / fused.sum(-1).unsqueeze(-1)
        result = fused if result is None else torch.bmm(result, fused)
    return result


def rollout_image_by_image(maps):
    results = []
    identity = torch.eye(maps.shape[-1], dtype=maps.dtype)
    for image in maps:
        result = identity
        for layer in image:
            a = layer.mean(0)
            a = torch.stack([(row + unit) / (row.sum() + 1) for row, unit in zip(a, identity, strict=True)])
            result = a @ result
        results.append(result)
    return torch.stack(results)


def rollout_in_numpy(maps):
    layers = maps.detach().numpy().mean(axis=2)
    layers = layers + np.eye(layers.shape[-1], dtype=layers.dtype)
    layers /= layers.sum(axis=-1, keepdims=True)
    result = layers[:, 0]
    for i in range(1, layers.shape[1]):
        result = layers[:, i] @ result
    return torch.from_numpy(result)


def rollout_number_by_number(maps):
    layers = maps.mean(2) + torch.eye(maps.shape[-1]).to(maps)
    return (layers / layers.sum(-1, keepdim=True)).prod(1)


# --- mean_attention_distance -------------------------------------------------------------------------


def distance_by_cdist(maps, grid_size, patch_size):
    y, x = torch.meshgrid(torch.arange(grid_size[0]), torch.arange(grid_size[1]), indexing="ij")
    middles = torch.stack([y, x], dim=-1).reshape(-1, 2).double() * patch_size
    pixels = torch.cdist(middles, middles, compute_mode="donot_use_mm_for_euclid_dist").to(maps.dtype)
    a = maps[:, :, :, 1:, 1:]
    a = a / (1 - maps[:, :, :, 1:, :1])
    return torch.einsum("blhij,ij->lh", a, pixels) / (a.shape[0] * a.shape[3])


def distance_by_hypot(maps, grid_size, patch_size):
    gh, gw = grid_size
    result = torch.zeros(maps.shape[1:3], dtype=maps.dtype)
    for i in range(gh * gw):
        pixels = [patch_size * math.hypot(i // gw - j // gw, i % gw - j % gw) for j in range(gh * gw)]
        row = maps[:, :, :, i + 1, 1:]
        result += (row * torch.tensor(pixels, dtype=maps.dtype)).sum(-1).div(row.sum(-1)).mean(0)
    return result / (gh * gw)


def distance_in_numpy(maps, grid_size, patch_size):
    a = maps.numpy()[..., 1:, 1:]
    rows, columns = np.divmod(np.arange(a.shape[-1]), grid_size[1])
    pixels = patch_size * np.abs((rows + 1j * columns)[:, None] - (rows + 1j * columns))
    far = np.sum(a * pixels, axis=-1) / np.sum(a, axis=-1)
    return torch.tensor(far.mean(axis=(0, 3)), dtype=maps.dtype)


def distance_with_the_class_token(maps, grid_size, patch_size):
    n = torch.arange(maps.shape[-1])
    y, x = n // grid_size[1], n % grid_size[1]
    pixels = patch_size * ((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2).to(maps.dtype).sqrt()
    return (maps * pixels).sum(-1).mean((0, -1))


RIGHT = {
    "record_attention": (
        record_by_asking,
        record_by_replacing_the_kernel,
        record_with_a_stack,
        record_in_evaluation_mode,
        record_with_other_methods,
        record_everywhere,
    ),
    "attention_rollout": (rollout_from_above, rollout_image_by_image, rollout_in_numpy),
    "mean_attention_distance": (distance_by_cdist, distance_by_hypot, distance_in_numpy),
}

SLIPS = {
    "record_attention": """
        keep what register_... returns
            handle.remove() ⇒ handle
        put it into `finally`
            finally: ⇒ except AssertionError:
            |     maps = []
            | else:
        by their handles
            for handle in handles: ⇒ for part in model.modules():
            |     part._forward_pre_hooks.clear()
            | for handle in handles:
        without except, and no return
            for handle in handles:
            |     handle.remove() ⇒ for handle in handles:
            |     handle.remove()
            | if maps:
            |     return maps
        silence must not look like an answer
            raise ValueError("no attention layer was heard") ⇒ return ValueError("no attention layer was heard")
        another kind of error
            raise ValueError( ⇒ raise IndexError(
        may be there and never run
            if not maps: ⇒ if len(layers) == 0:
        your except makes another error
            finally: ⇒ except Exception:
            |     raise ValueError("it did not work")
            | finally:
        takes the place of the model's own
            for handle in handles:
            |     handle.remove() ⇒ for handle in handles:
            |     handle.remove()
            | if len(maps) == 0:
            |     raise ValueError("silence")
        remember model.training and
            model(images) ⇒ model.eval()(images)
        past the line that sets its mode back
            maps = [] ⇒ maps, mode = [], model.training
            | model.eval()
            if not maps: ⇒ model.train(mode)
            | if not maps:
        set back that
            return maps ⇒ model.train()
            | return maps
        sets all parts to one mode
            maps = [] ⇒ maps, was = [], model.training
            | model.eval()
            handle.remove() ⇒ handle.remove()
            | model.train(was)
        the model does not run: call
            model(images) ⇒ model
        you listen to the last block alone
            [layer.register_forward_pre_hook(hook) for layer in layers] ⇒ [model.blocks[len(model.blocks) - 1].attn.register_forward_pre_hook(hook)]
        for the whole program
            try: ⇒ torch.autograd.grad_mode.set_grad_enabled(False)
            | try:
        requires_grad_(False)
            try: ⇒ for parameter in model.parameters():
            |     parameter.requires_grad = False
            | try:
        use variables of your own
            return maps ⇒ model.maps = maps
            | return maps
        what you have set on its layers stays
            maps = [] ⇒ maps = model.maps = []
            if not maps: ⇒ del model.maps
            | if not maps:
        which are among model.modules()
            layer.register_forward_pre_hook(hook) for layer in layers ⇒ block.attn.attn_drop.register_forward_hook(lambda part, args, output: maps.append(output)) for block in model.blocks
        return nothing
            maps.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)) ⇒ maps.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1))
            | return maps[-1]
        args is a tuple
            layer.qkv(args[0]) ⇒ layer.qkv(args)
        need not be there
            layer.qkv(args[0]) ⇒ (args[0] @ layer.qkv.weight.mT + layer.qkv.bias)
        the bias of qkv is left out
            layer.qkv(args[0]) ⇒ F.linear(args[0], layer.qkv.weight)
        run the model twice
            return maps ⇒ model(images)
            | return maps
        once for each image
            maps = [] ⇒ if len(images) > 1:
            |     each = [record_attention(model, image) for image in images.split(1)]
            |     return [torch.cat(layer) for layer in zip(*each)]
            | maps = []
        what the layer puts out
            maps.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)) ⇒ pass
            layer.register_forward_pre_hook(hook) ⇒ layer.register_forward_hook(lambda layer, args, output: maps.append(output))
        multiply by the values
            q, k, _ = ⇒ q, k, v =
            softmax(dim=-1) ⇒ softmax(dim=-1) @ v
        after the dropout
            maps.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)) ⇒ maps.append(F.dropout((q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1), layer.attn_drop.p, layer.training))
        those are scores
            .softmax(dim=-1) ⇒
        columns sum to 1
            softmax(dim=-1) ⇒ softmax(dim=2)
        share one softmax
            softmax(dim=-1) ⇒ softmax(1)
        whole map sums to 1
            softmax(dim=-1) ⇒ flatten(2).softmax(dim=-1).unflatten(-1, (N, N))
        exp overflows
            maps.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)) ⇒ e = torch.exp(q @ k.mT / q.shape[-1] ** 0.5)
            | maps.append(e / e.sum(dim=-1, keepdim=True))
        scores are not divided
            / q.shape[-1] ** 0.5 ⇒
        divided by sqrt(D)
            q.shape[-1] ** 0.5 ⇒ args[0].shape[-1] ** 0.5
        divided by sqrt(H)
            q.shape[-1] ** 0.5 ⇒ q.shape[1] ** 0.5
        divided by d
            q.shape[-1] ** 0.5 ⇒ q.shape[-1]
        queries and keys are exchanged
            q, k, _ ⇒ k, q, _
        turn the finished maps round
            softmax(dim=-1) ⇒ softmax(dim=-1).transpose(2, 3)
        queries with the values
            q, k, _ ⇒ q, _, k
        queries with themselves
            k.mT ⇒ q.mT
        keys with the values
            q, k, _ ⇒ _, q, k
        a reshape moves nothing
            reshape(B, N, 3, layer.num_heads, -1) ⇒ reshape(B, 3, N, layer.num_heads, -1)
            2, 0, 3, 1, 4 ⇒ 1, 0, 3, 2, 4
        have not changed places
            reshape(B, N, 3, layer.num_heads, -1) ⇒ unflatten(2, (3, layer.num_heads, -1))
            q, k, _ = qkv.permute(2, 0, 3, 1, 4) ⇒ q, k, _ = qkv.unbind(2)
        lie on their sides
            2, 0, 3, 1, 4 ⇒ 2, 0, 3, 4, 1
        one largest score for many rows
            maps.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)) ⇒ scores = q @ k.mT / q.shape[-1] ** 0.5
            | powers = torch.exp(scores - torch.max(scores))
            | maps.append(powers / powers.sum(-1, True))
        the last layer is missing
            for layer in layers] ⇒ for layer in list(layers)[: len(layers) - 1]]
        the first layer is missing
            return maps ⇒ maps.pop(0)
            | return maps
        before q, k and v
            N, 3, layer.num_heads, -1 ⇒ N, layer.num_heads, 3, -1
            2, 0, 3, 1, 4 ⇒ 3, 0, 2, 1, 4
        mixes tokens and heads
            reshape(B, N, 3, layer.num_heads, -1) ⇒ chunk(3, dim=-1)
            q, k, _ = qkv.permute(2, 0, 3, 1, 4) ⇒ q, k = (x.reshape(B, layer.num_heads, N, -1) for x in qkv[:2])
        every H-th number
            3, layer.num_heads, -1 ⇒ 3, -1, layer.num_heads
            2, 0, 3, 1, 4 ⇒ 2, 0, 4, 1, 3
        before its first norm
            [layer.register_forward_pre_hook(hook) for layer in layers] ⇒ [block.register_forward_pre_hook(lambda block, args: hook(block.attn, args)) for block in model.blocks]
        the heads are averaged
            return maps ⇒ return [weights.mean(1) for weights in maps]
        squeeze takes away
            return maps ⇒ return [weights.squeeze() for weights in maps]
        the class token is cut off
            return maps ⇒ return [weights[:, :, 1:, 1:] for weights in maps]
        only the last layer's map
            maps.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)) ⇒ maps[:] = [(q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)]
        return the last map
            return maps ⇒ return maps.pop()
        the first block only
            for layer in layers] ⇒ for layer in layers[:1]]
        written into your code
            for layer in layers] ⇒ for layer in layers[:12]]
        last layer first
            maps.append( ⇒ maps.insert(0,
        the first image only
            return maps ⇒ return [weights[0] for weights in maps]
        one tensor of all layers
            return maps ⇒ return torch.stack(maps)
        """,
    "attention_rollout": """
        over the images
            maps.unbind(1) ⇒ list(maps)
        how many images there are
            maps.unbind(1) ⇒ (maps[:, i] for i in range(maps.shape[0]))
        not for each head
            + identity ⇒ + torch.eye(maps.size(2), dtype=maps.dtype)
        without keepdim
            , keepdim=True ⇒
        and nothing that works in place
            mixed = layer.mean(dim=1) + identity ⇒ mixed = layer.add_(identity).mean(dim=1)
        these maps are float64
            , dtype=maps.dtype ⇒
        does not multiply with float64 maps
            , dtype=maps.dtype ⇒
            identity.expand(len(maps), -1, -1) ⇒ identity
        to the finished product
            mixed = layer.mean(dim=1) + identity ⇒ mixed = layer.mean(dim=1)
            return result ⇒ return result + identity
        the identity is divided
            + identity ⇒ + identity / len(identity)
        """,
    "mean_attention_distance": """
        the square root comes too late
            .sum(dim=-1).sqrt() ⇒ .sum(dim=-1)
            far.mean(dim=(0, 3)) ⇒ far.mean(dim=(0, 3)).sqrt()
        square root is missing
            patch_size * steps.square().sum(dim=-1).sqrt() ⇒ (patch_size * steps).square().sum(dim=-1)
        a distance of 0 to everything
            weights = maps[..., 1:, 1:] ⇒ weights = maps
            pixels = patch_size ⇒ pixels = maps.new_zeros(gh * gw + 1, gh * gw + 1)
            | pixels[1:, 1:] = patch_size
        has no place for it
            maps[..., 1:, 1:] ⇒ maps[..., 1:, :]
        still in as a query
            maps[..., 1:, 1:] ⇒ maps[:, :, :, :, 1:]
        and nothing that works in place
            weights = maps[..., 1:, 1:] ⇒ maps[..., 0] = 0
            | weights = maps[..., 1:, 1:]
        need not be square
            gh, gw = grid_size ⇒ gh = gw = int(maps[0, 0, 0, 0, 1:].numel() ** 0.5)
        you take the rest by gh
            places = torch.cartesian_prod(torch.arange(gh), torch.arange(gw)) ⇒ n = torch.arange(gh * gw)
            | places = torch.stack([n // gw, n % gh], dim=1)
        over the layers, and
            far.mean(dim=(0, 3)) ⇒ far.mean(3).mean(1)
        over the heads, and
            far.mean(dim=(0, 3)) ⇒ far.mean(3).mean(2)
        one number for everything
            far.mean(dim=(0, 3)) ⇒ far.mean()
        """,
}

WRONG = {
    "record_attention": {
        record_everywhere_for_good: "hears all models",
        record_everywhere_until_it_breaks: "and the global hook stays",
        record_block_by_block: "does not run",
        record_with_a_kernel_for_good: "for everybody",
        record_with_a_kernel_until_it_breaks: "what you have replaced in the library is your own still: set",
        record_and_go_on_asking: "never set back",
        record_asking_alone: "somebody else may be recording",
        record_with_a_copy: "you run a copy",
        record_asking_until_it_breaks: "layer.recorder stays set",
    },
    "attention_rollout": {rollout_number_by_number: "number by number"},
    "mean_attention_distance": {distance_with_the_class_token: "as if it were the first patch"},
}

EQUIVALENT = {
    "record_attention": """
        There are always four axes.
            record_by_replacing_the_kernel: weights = torch.softmax(query @ key.transpose(-2, -1) / math.sqrt(query.size(-1)), dim=-1) ⇒ weights = torch.softmax(query @ key.transpose(2, -1) / math.sqrt(query.size(-1)), dim=-1)
        The maps are those before the dropout in either mode, and with gradients or without.
            record_in_evaluation_mode: model.eval() ⇒ pass
            record_in_evaluation_mode: model.eval() ⇒ model
            record_in_evaluation_mode: with torch.no_grad(): ⇒ if True:
        A batch of one image comes back with the residual connection.
            record_with_other_methods: return old(x) ⇒ return old(x).squeeze()
        """,
    "attention_rollout": """
        Maps are square.
            attention_rollout: identity = torch.eye(maps.shape[-1], dtype=maps.dtype) ⇒ identity = torch.eye(maps.shape[-2], dtype=maps.dtype)
            rollout_from_above: fused = maps[:, layer].sum(1) / maps.shape[2] + torch.eye(maps.shape[-1]).to(maps) ⇒ fused = maps[:, layer].sum(1) / maps.shape[2] + torch.eye(maps.shape[-2]).to(maps)
            rollout_image_by_image: identity = torch.eye(maps.shape[-1], dtype=maps.dtype) ⇒ identity = torch.eye(maps.shape[-2], dtype=maps.dtype)
            rollout_in_numpy: layers = layers + np.eye(layers.shape[-1], dtype=layers.dtype) ⇒ layers = layers + np.eye(layers.shape[-2], dtype=layers.dtype)
        The identity is its own transpose.
            attention_rollout: identity = torch.eye(maps.shape[-1], dtype=maps.dtype) ⇒ identity = torch.eye(maps.shape[-1], dtype=maps.dtype).mT
            attention_rollout: result = identity.expand(len(maps), -1, -1) ⇒ result = identity.expand(len(maps), -1, -1).mT
            rollout_image_by_image: identity = torch.eye(maps.shape[-1], dtype=maps.dtype) ⇒ identity = torch.eye(maps.shape[-1], dtype=maps.dtype).mT
            rollout_image_by_image: result = identity ⇒ result = identity.mT
        One identity serves for all images.
            attention_rollout: result = identity.expand(len(maps), -1, -1) ⇒ result = identity
        0 and 1 are exact in float32, and in a sum with float64 become float64.
            rollout_from_above: fused = maps[:, layer].sum(1) / maps.shape[2] + torch.eye(maps.shape[-1]).to(maps) ⇒ fused = maps[:, layer].sum(1) / maps.shape[2] + torch.eye(maps.shape[-1])
        These maps ask for no gradients.
            rollout_in_numpy: layers = maps.detach().numpy().mean(axis=2) ⇒ layers = maps.numpy().mean(axis=2)
        """,
    "mean_attention_distance": """
        It is as far from there to here.
            mean_attention_distance: steps = (places[:, None] - places).to(maps.dtype) ⇒ steps = (places - places[:, None]).to(maps.dtype)
            distance_by_hypot: pixels = [patch_size * math.hypot(i // gw - j // gw, i % gw - j % gw) for j in range(gh * gw)] ⇒ pixels = [patch_size * math.hypot(j // gw - i // gw, i % gw - j % gw) for j in range(gh * gw)]
            distance_by_hypot: pixels = [patch_size * math.hypot(i // gw - j // gw, i % gw - j % gw) for j in range(gh * gw)] ⇒ pixels = [patch_size * math.hypot(i // gw - j // gw, j % gw - i % gw) for j in range(gh * gw)]
            distance_in_numpy: pixels = patch_size * np.abs((rows + 1j * columns)[:, None] - (rows + 1j * columns)) ⇒ pixels = patch_size * np.abs(rows + 1j * columns - (rows + 1j * columns)[:, None])
            distance_by_cdist: pixels = torch.cdist(middles, middles, compute_mode='donot_use_mm_for_euclid_dist').to(maps.dtype) ⇒ pixels = torch.cdist(middles, middles, compute_mode='donot_use_mm_for_euclid_dist').to(maps.dtype).mT
            distance_in_numpy: pixels = patch_size * np.abs((rows + 1j * columns)[:, None] - (rows + 1j * columns)) ⇒ pixels = (patch_size * np.abs((rows + 1j * columns)[:, None] - (rows + 1j * columns))).mT
            mean_attention_distance: pixels = patch_size * steps.square().sum(dim=-1).sqrt() ⇒ pixels = (patch_size * steps.square().sum(dim=-1).sqrt()).mT
        One patch alone is 0 pixels away from itself, in whatever shape.
            distance_in_numpy: pixels = patch_size * np.abs((rows + 1j * columns)[:, None] - (rows + 1j * columns)) ⇒ pixels = (patch_size * np.abs((rows + 1j * columns)[:, None] - (rows + 1j * columns))).squeeze()
            mean_attention_distance: pixels = patch_size * steps.square().sum(dim=-1).sqrt() ⇒ pixels = (patch_size * steps.square().sum(dim=-1).sqrt()).squeeze()
            mean_attention_distance: places = torch.cartesian_prod(torch.arange(gh), torch.arange(gw)) ⇒ places = torch.cartesian_prod(torch.arange(gh), torch.arange(gw)).squeeze()
            mean_attention_distance: steps = (places[:, None] - places).to(maps.dtype) ⇒ steps = (places[:, None] - places).to(maps.dtype).squeeze()
        Distances in float32 are exact enough.
            mean_attention_distance: steps = (places[:, None] - places).to(maps.dtype) ⇒ steps = places[:, None] - places
            distance_by_hypot: result += (row * torch.tensor(pixels, dtype=maps.dtype)).sum(-1).div(row.sum(-1)).mean(0) ⇒ result += (row * torch.tensor(pixels)).sum(-1).div(row.sum(-1)).mean(0)
        In the end all pairs of patches are added up.
            distance_by_cdist: a = a / (1 - maps[:, :, :, 1:, :1]) ⇒ a = (a / (1 - maps[:, :, :, 1:, :1])).mT
            mean_attention_distance: weights = weights / weights.sum(dim=-1, keepdim=True) ⇒ weights = (weights / weights.sum(dim=-1, keepdim=True)).mT
            mean_attention_distance: far = (weights * pixels).sum(dim=-1) ⇒ far = (weights * pixels).sum(dim=-2)
        Rows and columns count alike.
            distance_by_cdist: y, x = torch.meshgrid(torch.arange(grid_size[0]), torch.arange(grid_size[1]), indexing='ij') ⇒ x, y = torch.meshgrid(torch.arange(grid_size[0]), torch.arange(grid_size[1]), indexing='ij')
            distance_by_hypot: pixels = [patch_size * math.hypot(i // gw - j // gw, i % gw - j % gw) for j in range(gh * gw)] ⇒ pixels = [patch_size * math.hypot(i % gw - j % gw, i // gw - j // gw) for j in range(gh * gw)]
            distance_in_numpy: rows, columns = np.divmod(np.arange(a.shape[-1]), grid_size[1]) ⇒ columns, rows = np.divmod(np.arange(a.shape[-1]), grid_size[1])
        So few patches are compared without a product of matrices.
            distance_by_cdist: pixels = torch.cdist(middles, middles, compute_mode='donot_use_mm_for_euclid_dist').to(maps.dtype) ⇒ pixels = torch.cdist(middles, middles).to(maps.dtype)
        Maps are square.
            distance_by_cdist: return torch.einsum('blhij,ij->lh', a, pixels) / (a.shape[0] * a.shape[3]) ⇒ return torch.einsum('blhij,ij->lh', a, pixels) / (a.shape[0] * a.shape[4])
            distance_in_numpy: rows, columns = np.divmod(np.arange(a.shape[-1]), grid_size[1]) ⇒ rows, columns = np.divmod(np.arange(a.shape[-2]), grid_size[1])
        "ij" is what meshgrid does, with a warning that it will change.
            distance_by_cdist: y, x = torch.meshgrid(torch.arange(grid_size[0]), torch.arange(grid_size[1]), indexing='ij') ⇒ y, x = torch.meshgrid(torch.arange(grid_size[0]), torch.arange(grid_size[1]))
        """,
}
