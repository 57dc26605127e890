"""The exercises of chapter 06, ViT-B/16 with real weights."""

import re

import torch
import torch.nn.functional as F
from einops import rearrange

from course_lib.checks.ch03 import ENCODER_BLOCK
from course_lib.checks.exercise import Exercise, Mistake
from course_lib.weights.convert import to_timm_names


def _normal(generator):
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


def _weights(generator, C, P, grid, D, hidden, depth, classes, size=1.0):
    """All parameters of a ViT under timm's names, none of them 0 or 1, the answers of moderate size.

    `size` is that of the tokens: at 0.01 the epsilon of the norms counts.
    """
    normal = _normal(generator)

    def linear(name, d_in, d_out, size=1.0):
        return {
            f"{name}.weight": size * normal(d_out, d_in) / d_in**0.5,
            f"{name}.bias": size * 0.5 * normal(d_out),
        }

    def norm(name):
        return {f"{name}.weight": 1 + 0.3 * normal(D), f"{name}.bias": 0.3 * normal(D)}

    params = {
        "cls_token": size * normal(1, 1, D),
        "pos_embed": size * normal(1, 1 + grid[0] * grid[1], D),
        "patch_embed.proj.weight": size * normal(D, C, P, P) / (C * P * P) ** 0.5,
        "patch_embed.proj.bias": size * 0.5 * normal(D),
    }
    for i in range(depth):
        block = {
            **norm("norm1"),
            **linear("attn.qkv", D, 3 * D),
            **linear("attn.proj", D, D, size),
            **norm("norm2"),
            **linear("mlp.fc1", D, hidden),
            **linear("mlp.fc2", hidden, D, size),
        }
        params |= {f"blocks.{i}.{name}": value for name, value in block.items()}
    return params | norm("norm") | linear("head", D, classes)


# Channels, patch size, grid, width, hidden width, depth, classes; then batch and heads. Twelve blocks, because
# blocks.10 comes before blocks.2 in the alphabet; never as many classes as features.
_SHAPES = (
    ({"C": 3, "P": 2, "grid": (2, 3), "D": 8, "hidden": 20, "depth": 2, "classes": 5}, 2, 4),
    ({"C": 1, "P": 3, "grid": (3, 2), "D": 6, "hidden": 15, "depth": 12, "classes": 4}, 3, 2),
    ({"C": 2, "P": 4, "grid": (2, 2), "D": 9, "hidden": 12, "depth": 3, "classes": 7, "size": 0.01}, 2, 3),
    ({"C": 4, "P": 2, "grid": (1, 4), "D": 10, "hidden": 16, "depth": 1, "classes": 3}, 1, 5),
)


def _shuffled(params, generator):
    names = list(params)
    return {names[i]: params[names[i]] for i in torch.randperm(len(names), generator=generator).tolist()}


def _single(values):
    return {name: value.float().requires_grad_() for name, value in values.items()}


def _vit_probes(generator):
    probes = []
    for sizes, batch, num_heads in (*_SHAPES, _SHAPES[0]):
        (gh, gw), P = sizes["grid"], sizes["P"]
        images = _normal(generator)(batch, sizes["C"], gh * P, gw * P)
        params = _weights(generator, **sizes)
        if sizes["depth"] == 12:  # the order of a dictionary says nothing
            params = _shuffled(params, generator)
        probes.append({"images": images, "params": params, "num_heads": num_heads})
    probes[-1] |= {"images": probes[-1]["images"].float(), "params": _single(probes[-1]["params"])}
    return probes


def _layer_norm(x, weight, bias, eps=1e-6):
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _patch_embedding(images, weight, bias):
    return rearrange(F.conv2d(images, weight, bias, stride=weight.shape[-1]), "B D gh gw -> B (gh gw) D")


def _prepend_class_token(tokens, cls_token):
    return torch.cat([cls_token.expand(len(tokens), -1, -1), tokens], dim=1)


def _embed(images, params):
    return _patch_embedding(images, params["patch_embed.proj.weight"], params["patch_embed.proj.bias"])


def _tokens(images, params):
    return _prepend_class_token(_embed(images, params), params["cls_token"]) + params["pos_embed"]


def _depth(params):
    return len({name.split(".")[1] for name in params if name.startswith("blocks.")})


def _block_params(params, i):
    prefix = f"blocks.{i}."
    return {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}


def _block_params_without_dot(params, i):
    return {name.split(".", 2)[2]: value for name, value in params.items() if name.startswith(f"blocks.{i}")}


def _encoder_block(x, params, num_heads):
    """The right block, which says what it got in place of its parameters: so that the hints can tell them apart."""
    if "norm1.weight" not in params:
        names = sorted(map(str, params))
        raise KeyError(f"norm1.weight: encoder_block got {f'names like {names[-1]}' if names else 'no names at all'}")
    if x.shape[-1] % num_heads:
        raise ValueError(f"{x.shape[-1]} features cannot be shared out among {num_heads} heads")
    return ENCODER_BLOCK.oracle(x, params, num_heads)


def _run_blocks(x, params, num_heads, order=None, of=_block_params):
    for i in range(_depth(params)) if order is None else order:
        x = _encoder_block(x, of(params, i), num_heads)
    return x


def _block_params_cut_by(cut):
    """The parameters of block i under the names that `cut(name)` leaves."""
    return lambda params, i: {cut(name): v for name, v in params.items() if name.startswith(f"blocks.{i}.")}


def _last_norm(x, params, eps=1e-6):
    return _layer_norm(x, params["norm.weight"], params["norm.bias"], eps)


def _answer(x, params):
    return F.linear(x, params["head.weight"], params["head.bias"])


def _vit(images, params, num_heads):
    tokens = _run_blocks(_tokens(images, params), params, num_heads)
    return _answer(_last_norm(tokens, params)[:, 0], params)


def _with_tokens(tokens):
    """The right model after other first tokens (B, N, D), made by `tokens(patches, params)`."""

    def vit(images, params, num_heads):
        x = tokens(_embed(images, params), params)
        return _answer(_last_norm(_run_blocks(x, params, num_heads), params)[:, 0], params)

    return vit


def _with_blocks(blocks):
    """The right model with `blocks(x, params, num_heads)` in the middle."""

    def vit(images, params, num_heads):
        return _answer(_last_norm(blocks(_tokens(images, params), params, num_heads), params)[:, 0], params)

    return vit


def _with_end(end):
    """The right model up to the last block, then `end(x, params)`."""
    return lambda images, params, num_heads: end(_run_blocks(_tokens(images, params), params, num_heads), params)


def _patches_with_places(patches, params):
    return _prepend_class_token(patches + params["pos_embed"][:, 1:], params["cls_token"])


def _patches_with_shifted_places(patches, params):
    return _prepend_class_token(patches + params["pos_embed"][:, :-1], params["cls_token"])


def _class_token_last(patches, params):
    return torch.cat([patches, params["cls_token"].expand(len(patches), -1, -1)], dim=1) + params["pos_embed"]


def _class_token_last_and_read(images, params, num_heads):
    x = _run_blocks(_class_token_last(_embed(images, params), params), params, num_heads)
    return _answer(_last_norm(x, params)[:, -1], params)


def _alphabetic(params):
    return sorted(range(_depth(params)), key=str)


def _as_they_come(params):
    return [int(i) for i in dict.fromkeys(name.split(".")[1] for name in params if name.startswith("blocks."))]


VIT_FORWARD = Exercise(
    name="vit_forward",
    chapter="06",
    signature="vit_forward(images, params, num_heads)",
    task="embed the patches, put the class token first, add the positions, run all blocks in order, normalise, and give the class token to the head: (B, C, H, W) -> logits (B, classes).",
    probes=_vit_probes,
    oracle=_vit,
    uses={
        "patch_embedding": _patch_embedding,
        "prepend_class_token": _prepend_class_token,
        "encoder_block": _encoder_block,
        "layer_norm": _layer_norm,
    },
    mistakes=(
        Mistake(
            "the last norm is missing: after the blocks comes layer_norm with norm.weight and norm.bias, and then the head.",
            _with_end(lambda x, params: _answer(x[:, 0], params)),
        ),
        Mistake(
            "the last norm has another epsilon: 1e-6, here as in the blocks.",
            _with_end(lambda x, params: _answer(_last_norm(x, params, 1e-5)[:, 0], params)),
        ),
        Mistake(
            "the norm stands before the blocks: in ViT it comes after the last one.",
            lambda images, params, num_heads: _answer(
                _run_blocks(_last_norm(_tokens(images, params), params), params, num_heads)[:, 0], params
            ),
        ),
        Mistake(
            "the positions are missing: add pos_embed once the class token is in front.",
            _with_tokens(lambda patches, params: _prepend_class_token(patches, params["cls_token"])),
        ),
        Mistake(
            "the class token gets no position: put it in front first, then add pos_embed to all tokens.",
            _with_tokens(_patches_with_places),
        ),
        Mistake(
            "you add the positions before the class token is in front, and each patch gets its neighbour's: prepend first, then add all of pos_embed.",
            _with_tokens(_patches_with_shifted_places),
        ),
        Mistake(
            "pos_embed has one row more than there are patches, the class token's: prepend the class token first, then add.",
            _with_tokens(
                lambda patches, params: _prepend_class_token(patches + params["pos_embed"], params["cls_token"])
            ),
        ),
        Mistake(
            "pos_embed has a row for the class token too, but there is no class token in front of your patches: prepend it first.",
            _with_tokens(lambda patches, params: patches + params["pos_embed"]),
        ),
        Mistake(
            "the class token stands last: it is token 0, in front of the patches, and its position is row 0 of pos_embed.",
            _class_token_last_and_read,
        ),
        Mistake(
            "the class token stands last and you read token 0, a patch: put it in front.",
            _with_tokens(_class_token_last),
        ),
        Mistake(
            "you average all tokens: this model answers from the class token alone, x[:, 0].",
            _with_end(lambda x, params: _answer(_last_norm(x, params).mean(1), params)),
        ),
        Mistake(
            "you average the patches: this model answers from the class token alone, x[:, 0].",
            _with_end(lambda x, params: _answer(_last_norm(x, params)[:, 1:].mean(1), params)),
        ),
        Mistake(
            "token 1 is the first patch: the class token is token 0.",
            _with_end(lambda x, params: _answer(_last_norm(x, params)[:, 1], params)),
        ),
        Mistake(
            "you read the last token, a patch: the class token is token 0.",
            _with_end(lambda x, params: _answer(_last_norm(x, params)[:, -1], params)),
        ),
        Mistake(
            "every token gets an answer: take the class token, x[:, 0], before the head.",
            _with_end(lambda x, params: _answer(_last_norm(x, params), params)),
        ),
        Mistake(
            "the blocks run in alphabetical order, 0, 1, 10, 11, 2: count with range(depth), or sort by int.",
            _with_blocks(lambda x, params, num_heads: _run_blocks(x, params, num_heads, _alphabetic(params))),
        ),
        Mistake(
            "the blocks run in the order of the dictionary, which says nothing: count with range(depth).",
            _with_blocks(lambda x, params, num_heads: _run_blocks(x, params, num_heads, _as_they_come(params))),
        ),
        Mistake(
            "the blocks run from the last to the first: block 0 comes first.",
            _with_blocks(
                lambda x, params, num_heads: _run_blocks(x, params, num_heads, range(_depth(params) - 1, -1, -1))
            ),
        ),
        Mistake(
            "encoder_block gets the whole dictionary: give it one block's parameters, under names without `blocks.0.`.",
            _with_blocks(lambda x, params, num_heads: _run_blocks(x, params, num_heads, of=lambda params, i: params)),
        ),
        Mistake(
            "the names still begin with `blocks.0.`: cut that off, since encoder_block asks for norm1.weight.",
            _with_blocks(
                lambda x, params, num_heads: _run_blocks(x, params, num_heads, of=_block_params_cut_by(lambda n: n))
            ),
        ),
        Mistake(
            "the names begin with a dot, .norm1.weight: the last dot of `blocks.0.` must be cut off, too.",
            _with_blocks(
                lambda x, params, num_heads: _run_blocks(
                    x, params, num_heads, of=_block_params_cut_by(lambda n: "." + n.split(".", 2)[2])
                )
            ),
        ),
        Mistake(
            '`blocks.1` is also the beginning of `blocks.10`: compare with the dot, f"blocks.{i}.".',
            _with_blocks(lambda x, params, num_heads: _run_blocks(x, params, num_heads, of=_block_params_without_dot)),
        ),
        Mistake(
            "the last block is left out: range(depth) ends one before depth, so depth is the highest number plus 1.",
            _with_blocks(lambda x, params, num_heads: _run_blocks(x, params, num_heads, range(_depth(params) - 1))),
        ),
        Mistake(
            "block 0 is left out: the numbers start at 0.",
            _with_blocks(lambda x, params, num_heads: _run_blocks(x, params, num_heads, range(1, _depth(params)))),
        ),
        Mistake(
            "every block runs with the parameters of blocks.0: take those of block i.",
            _with_blocks(lambda x, params, num_heads: _run_blocks(x, params, num_heads, [0] * _depth(params))),
        ),
        Mistake(
            "only one block runs: loop over all of them.",
            _with_blocks(lambda x, params, num_heads: _run_blocks(x, params, num_heads, [0])),
        ),
        Mistake(
            "twelve blocks are written into the code: find the depth from the names.",
            _with_blocks(lambda x, params, num_heads: _run_blocks(x, params, num_heads, range(12))),
        ),
        Mistake(
            "all heads are one: pass `num_heads` on to the blocks.",
            _with_blocks(lambda x, params, num_heads: _run_blocks(x, params, 1)),
        ),
        Mistake(
            "you attend with 12 heads, as ViT-B has: pass `num_heads` on.",
            _with_blocks(lambda x, params, num_heads: _run_blocks(x, params, 12)),
        ),
        Mistake(
            "x[0] is the first image, with all its tokens: the class token of every image is x[:, 0].",
            _with_end(lambda x, params: _answer(_last_norm(x, params)[0], params)),
        ),
        Mistake(
            "squeeze() takes away the batch when it holds one image: index x[:, 0], and leave the shape as it is.",
            _with_end(lambda x, params: _answer(_last_norm(x, params)[:, 0], params).squeeze()),
        ),
        Mistake(
            "the head's bias is missing: add head.bias.",
            _with_end(lambda x, params: F.linear(_last_norm(x, params)[:, 0], params["head.weight"])),
        ),
        Mistake(
            "head.weight is (classes, D), as in nn.Linear: multiply by head.weight.T.",
            _with_end(lambda x, params: _last_norm(x, params)[:, 0] @ params["head.weight"] + params["head.bias"]),
        ),
        Mistake(
            "you return probabilities: the answer asked for is the logits, before any softmax.",
            lambda images, params, num_heads: _vit(images, params, num_heads).softmax(-1),
        ),
    ),
)


def _count_probes(generator):
    def between(low, high):
        return int(torch.randint(low, high + 1, (), generator=generator))

    probes = []
    for patch_size in (2, 3, 5, 7):
        dim = 4 * between(3, 40)
        probes.append(
            {
                "img_size": patch_size * between(2, 9),
                "patch_size": patch_size,
                "in_chans": between(2, 5),
                "num_classes": between(5, 99),
                "dim": dim,
                "depth": between(2, 30),
                "mlp_dim": 2 * dim + between(1, 50),  # never 4·D
            }
        )
    return probes


_SIZES = ("img_size", "patch_size", "in_chans", "num_classes", "dim", "depth", "mlp_dim")


def _shapes_of(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    """{name: shape} of every parameter: what the sizes say, without a formula."""
    tokens = 1 + len(range(0, img_size, patch_size)) ** 2
    shapes = {
        "patch_embed.weight": (dim, in_chans, patch_size, patch_size),
        "patch_embed.bias": (dim,),
        "cls_token": (1, 1, dim),
        "pos_embed": (1, tokens, dim),
    }
    for i in range(depth):
        shapes |= {f"blocks.{i}.{norm}.{part}": (dim,) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
        for name, d_in, d_out in (
            ("attn.qkv", dim, 3 * dim),
            ("attn.proj", dim, dim),
            ("mlp.fc1", dim, mlp_dim),
            ("mlp.fc2", mlp_dim, dim),
        ):
            shapes |= {f"blocks.{i}.{name}.weight": (d_out, d_in), f"blocks.{i}.{name}.bias": (d_out,)}
    return shapes | {
        "norm.weight": (dim,),
        "norm.bias": (dim,),
        "head.weight": (num_classes, dim),
        "head.bias": (num_classes,),
    }


def _count(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim, *, leave_out=lambda name: False):
    shapes = _shapes_of(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim)
    return sum(torch.Size(shape).numel() for name, shape in shapes.items() if not leave_out(name))


def _wrong(count):
    """A mistaken count from a function of the sizes by name; sizes come in by position."""
    return lambda *sizes: count(dict(zip(_SIZES, sizes, strict=True)))


def _without(*parts):
    """The count without the parameters whose name holds one of `parts`."""
    return lambda *sizes: _count(*sizes, leave_out=lambda name: any(part in name for part in parts))


def _side(s):
    return s["img_size"] // s["patch_size"]


COUNT_PARAMETERS = Exercise(
    name="count_parameters",
    chapter="06",
    signature="count_parameters(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim)",
    task="add up the parameters of a ViT with class token, learned positions and biases everywhere, as a whole number.",
    probes=_count_probes,
    oracle=_count,
    forbidden=("torch.nn.Module.parameters",),
    mistakes=(
        Mistake(
            "it is D too few: the class token, its position, the bias of the patch embedding or half of the last norm is missing.",
            _without("cls_token"),
        ),
        Mistake(
            "it is 2 D too few: the last norm is missing, or else two of these: class token, its position, bias of the patch embedding.",
            _wrong(lambda s: _count(**s) - 2 * s["dim"]),
        ),
        Mistake(
            "the positions are missing: (N + 1) D, learned like everything else.",
            _without("pos_embed"),
        ),
        Mistake(
            "a patch has in_chans channels: its weight is in_chans · P · P · D.",
            _wrong(lambda s: _count(**s) - (s["in_chans"] - 1) * s["patch_size"] ** 2 * s["dim"]),
        ),
        Mistake(
            "it is 3 D too few in each block: the biases of q, k and v, or other three vectors of that length.",
            _without("attn.qkv.bias"),
        ),
        Mistake(
            "the attention's output projection is missing: D² + D in each block.",
            _without("attn.proj"),
        ),
        Mistake(
            "it is D too few in each block: the bias of the attention's output projection, that of the MLP's second layer, or one vector of a norm.",
            _without("attn.proj.bias"),
        ),
        Mistake(
            "the MLP's biases are missing: mlp_dim + D in each block.",
            _without("mlp.fc1.bias", "mlp.fc2.bias"),
        ),
        Mistake(
            "it is 2 D too few in each block: one of the two norms, half of both, or the biases of the output projection and of the MLP's second layer.",
            _without("norm1"),
        ),
        Mistake(
            "the norms in the blocks are missing: two of them, 2 D each, in each block.",
            _without("norm1", "norm2"),
        ),
        Mistake(
            "a norm has a scale and a shift, 2 D: you count one of them.",
            _without("norm1.bias", "norm2.bias", "norm.bias"),
        ),
        Mistake(
            "the head has a bias: num_classes more.",
            _without("head.bias"),
        ),
        Mistake(
            "the head is missing: D · num_classes + num_classes.",
            _without("head."),
        ),
        Mistake(
            "no linear layer has its bias: add one number for each output.",
            _without("embed.bias", "qkv.bias", "proj.bias", "fc1.bias", "fc2.bias", "head.bias"),
        ),
        Mistake(
            "the bias of the MLP's first layer is missing: mlp_dim in each block.",
            _without("mlp.fc1.bias"),
        ),
        Mistake(
            "it is D too many: the class token or its position is counted twice.",
            _wrong(lambda s: _count(**s) + s["dim"]),
        ),
        Mistake(
            "it is 2 D too many: the last norm is counted twice.",
            _wrong(lambda s: _count(**s) + 2 * s["dim"]),
        ),
        Mistake(
            "it is D too many in each block: a bias is counted twice, or is longer than its layer's output.",
            _wrong(lambda s: _count(**s) + s["dim"] * s["depth"]),
        ),
        Mistake(
            "it is 2 D too many in each block: a block has two norms, and the last norm stands after all blocks.",
            _wrong(lambda s: _count(**s) + 2 * s["dim"] * s["depth"]),
        ),
        Mistake(
            "you count a norm in each block that is there once: the last norm stands after all blocks.",
            _wrong(lambda s: _count(**s) + 2 * s["dim"] * (s["depth"] - 1)),
        ),
        Mistake(
            "you count one block too many: there are `depth` of them.",
            _wrong(lambda s: _count(**s | {"depth": s["depth"] + 1})),
        ),
        Mistake(
            "the MLP's second layer ends in D numbers, so its bias has D: you count mlp_dim.",
            _wrong(lambda s: _count(**s) + (s["mlp_dim"] - s["dim"]) * s["depth"]),
        ),
        Mistake(
            "you count one block: there are `depth` of them.",
            _wrong(lambda s: _count(**s | {"depth": 1})),
        ),
        Mistake(
            "the MLP's hidden width is `mlp_dim`, which need not be 4 D.",
            _wrong(lambda s: _count(**s | {"mlp_dim": 4 * s["dim"]})),
        ),
        Mistake(
            "there are (img_size // patch_size)² patches: square the number along one side.",
            _wrong(lambda s: _count(**s) - s["dim"] * (_side(s) ** 2 - _side(s))),
        ),
        Mistake(
            "the division `/` gives a float: count with //.",
            _wrong(lambda s: float(_count(**s))),
        ),
    ),
)


_PUBLISHED, _IN_MEMORY = ("linear_1", "linear_2"), ("0", "3")


def _torchvision_probes(generator):
    """Random weights under torchvision's names, with the MLP named as in published files and as in memory."""
    probes = []
    for (sizes, _, _), mlp in zip(_SHAPES, (_PUBLISHED, _IN_MEMORY, _PUBLISHED, _IN_MEMORY), strict=True):
        probes.append({"state": _as_torchvision(_weights(generator, **sizes), mlp)})
    return [*probes, {"state": _single(_as_torchvision(_weights(generator, **_SHAPES[2][0]), _PUBLISHED))}]


def _as_torchvision(params, mlp):
    """The same weights under torchvision's names, in torchvision's order (class token, patches, positions, ...)."""
    theirs = {
        "class_token": params["cls_token"],
        "conv_proj.weight": params["patch_embed.proj.weight"],
        "conv_proj.bias": params["patch_embed.proj.bias"],
        "encoder.pos_embedding": params["pos_embed"],
    }
    for i in range(_depth(params)):
        for name, value in _block_params(params, i).items():
            part, kind = name.rsplit(".", 1)
            new = {
                "norm1": f"ln_1.{kind}",
                "attn.qkv": f"self_attention.in_proj_{kind}",
                "attn.proj": f"self_attention.out_proj.{kind}",
                "norm2": f"ln_2.{kind}",
                "mlp.fc1": f"mlp.{mlp[0]}.{kind}",
                "mlp.fc2": f"mlp.{mlp[1]}.{kind}",
            }
            theirs[f"encoder.layers.encoder_layer_{i}.{new[part]}"] = value
    for kind in ("weight", "bias"):
        theirs[f"encoder.ln.{kind}"] = params[f"norm.{kind}"]
    return theirs | {f"heads.head.{kind}": params[f"head.{kind}"] for kind in ("weight", "bias")}


def _convert(state):
    return to_timm_names(state)[1]


def _renamed(rename):
    """The right dict, less what `rename(name)` maps to None, the other names changed as it says."""
    return lambda state: {rename(name): value for name, value in _convert(state).items() if rename(name) is not None}


def _changed(part, change):
    """The right dict, with `change` applied to the tensors whose name holds `part`."""
    return lambda state: {name: change(x) if part in name else x for name, x in _convert(state).items()}


def _swap(one, other):
    def rename(name):
        return name.replace(one, "*").replace(other, one).replace("*", other)

    return _renamed(rename)


def _block_number(change):
    """`change` applied to the number of each block."""

    def rename(name):
        parts = name.split(".")
        return ".".join([parts[0], str(change(int(parts[1]))), *parts[2:]]) if parts[0] == "blocks" else name

    return _renamed(rename)


def _mlp_left(spelling):
    """The names of the MLP changed only where the state spells them otherwise than in `spelling`."""

    def convert(state):
        names = {"fc1": spelling[0], "fc2": spelling[1]}
        if not any(f"mlp.{spelling[0]}." in name for name in state):
            return _convert(state)
        return {
            re.sub(r"fc[12]", lambda found: names[found[0]], name): value for name, value in _convert(state).items()
        }

    return convert


def _by_order(state):
    """Our names in the order of our model, the values as they come."""
    names = ["cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"]
    rest = [name for name in _convert(state) if name not in names]
    return dict(zip([*names, *rest], state.values(), strict=True))


def _split_qkv(state):
    split = {}
    for name, value in _convert(state).items():
        if "attn.qkv" in name:
            split |= {name.replace("qkv", part): third for part, third in zip("qkv", value.chunk(3), strict=True)}
        else:
            split[name] = value
    return split


CONVERT_TORCHVISION_STATE_DICT = Exercise(
    name="convert_torchvision_state_dict",
    chapter="06",
    signature="convert_torchvision_state_dict(state)",
    task="return a dict with the same tensors, each under timm's name, none missing and none left over.",
    probes=_torchvision_probes,
    oracle=_convert,
    mistakes=(
        Mistake("the names are still torchvision's: write the new name for each.", lambda state: dict(state)),
        Mistake(
            "you go by order: torchvision has the patch embedding before the positions and timm after them, so go by name.",
            _by_order,
        ),
        Mistake("norm1 and norm2 are swapped: ln_1 stands before the attention, like norm1.", _swap("norm1", "norm2")),
        Mistake("fc1 and fc2 are swapped: linear_1 (or 0) is the first layer, fc1.", _swap("fc1", "fc2")),
        Mistake("qkv and proj are swapped: in_proj makes q, k and v, out_proj comes at the end.", _swap("qkv", "proj")),
        Mistake(
            "you transpose in_proj_weight: torchvision keeps it as (3D, D), like timm; only Google's files need a transpose.",
            _changed("qkv.weight", lambda x: x.T),
        ),
        Mistake(
            "you transpose out_proj.weight: it is (out, in) in both libraries.",
            _changed("attn.proj.weight", lambda x: x.T),
        ),
        Mistake(
            "you transpose every matrix: torchvision and timm both keep (out, in); only Google's files need that.",
            lambda state: {name: x.T if x.ndim == 2 else x for name, x in _convert(state).items()},
        ),
        Mistake(
            "you drop the first dimension of the positions: pos_embed is (1, N + 1, D).",
            _changed("pos_embed", lambda x: x[0]),
        ),
        Mistake(
            "you split in_proj into q, k and v: timm has them in one, attn.qkv, in the same order.",
            _split_qkv,
        ),
        Mistake("the blocks are numbered from 1: both libraries start at 0.", _block_number(lambda i: i + 1)),
        Mistake(
            "of a block's number you keep one digit: blocks.10 and blocks.11 need two.",
            _block_number(lambda i: int(str(i)[-1])),
        ),
        Mistake(
            "of a block's number you keep the first digit: blocks.10 and blocks.11 need two.",
            _block_number(lambda i: int(str(i)[0])),
        ),
        Mistake(
            "the last norm is missing: encoder.ln becomes norm.",
            _renamed(lambda name: None if name.startswith("norm.") else name),
        ),
        Mistake(
            "encoder.ln keeps its name: it is the last norm, and becomes norm.",
            _renamed(lambda name: f"encoder.ln.{name[5:]}" if name.startswith("norm.") else name),
        ),
        Mistake(
            "the last norm is still called encoder.norm: it is norm alone.",
            _renamed(lambda name: f"encoder.{name}" if name.startswith("norm.") else name),
        ),
        Mistake(
            "the head is missing: heads.head becomes head.",
            _renamed(lambda name: None if name.startswith("head.") else name),
        ),
        Mistake(
            "heads.head became head.head: it is head alone.",
            _renamed(lambda name: f"head.{name}" if name.startswith("head.") else name),
        ),
        Mistake(
            "heads.head keeps its name: it becomes head.", _renamed(lambda n: f"heads.{n}" if n[:5] == "head." else n)
        ),
        Mistake(
            "mlp.0 and mlp.3 are left as they are, which is how a model in memory names linear_1 and linear_2: rename both spellings.",
            _mlp_left(_IN_MEMORY),
        ),
        Mistake(
            "mlp.linear_1 and mlp.linear_2 are left as they are, which is how the published files name mlp.0 and mlp.3: rename both spellings.",
            _mlp_left(_PUBLISHED),
        ),
        Mistake(
            "a dot is missing in attn.qkvweight: torchvision's underscore in `in_proj_` becomes a dot, `qkv.`.",
            _renamed(lambda name: name.replace("qkv.", "qkv")),
        ),
        Mistake(
            "in attn.qkv_weight the underscore of in_proj_weight is left: timm has a dot there, attn.qkv.weight.",
            _renamed(lambda name: name.replace("qkv.", "qkv_")),
        ),
        Mistake(
            "the patch embedding is called patch_embed.proj: conv_proj keeps its name in yours.",
            _renamed(lambda name: name.replace("patch_embed.proj", "conv_proj")),
        ),
        Mistake(
            "you return pairs: return a dict.",
            lambda state: list(_convert(state).items()),
        ),
        Mistake(
            "the result carries no gradient: hand on the tensors themselves, without .detach() or .data.",
            lambda state: {name: x.detach() for name, x in _convert(state).items()},
        ),
    ),
)


def _my_vit_probes(generator):
    probes = []
    for sizes, batch, num_heads in (*_SHAPES[:3], _SHAPES[0]):
        (gh, gw), P = sizes["grid"], sizes["P"]
        images = _normal(generator)(batch, sizes["C"], gh * P, gw * P)
        mlp = _PUBLISHED if len(probes) % 2 else _IN_MEMORY
        state = _as_torchvision(_weights(generator, **sizes), mlp)
        probes.append({"images": images, "state": state, "num_heads": num_heads})
    probes[-1] |= {"images": probes[-1]["images"].float(), "state": _single(probes[-1]["state"])}
    return probes


def _my_vit(images, state, num_heads):
    return F.softmax(_vit(images, _convert(state), num_heads), dim=-1)


def _of_logits(answer):
    return lambda images, state, num_heads: answer(_vit(images, _convert(state), num_heads))


MY_VIT = Exercise(
    name="my_vit",
    chapter="06",
    signature="my_vit(images, state, num_heads)",
    task="take weights under torchvision's names and give the probabilities of the classes, each row with sum 1: (B, C, H, W) -> (B, classes).",
    probes=_my_vit_probes,
    oracle=_my_vit,
    uses={
        "convert_torchvision_state_dict": _convert,
        "vit_forward": _vit,
        "softmax": lambda scores, dim=-1: scores.softmax(dim),
    },
    mistakes=(
        Mistake("these are the logits: probabilities are their softmax.", _of_logits(lambda z: z)),
        Mistake(
            "you take the softmax over the images: each image has its own probabilities, dim=-1.",
            _of_logits(lambda z: z.softmax(0)),
        ),
        Mistake(
            "you take the softmax over everything: along the classes, dim=-1.",
            _of_logits(lambda z: z.flatten().softmax(0).reshape(z.shape)),
        ),
        Mistake("you take the softmax twice: once is enough.", _of_logits(lambda z: z.softmax(-1).softmax(-1))),
        Mistake(
            "those are the logarithms of the probabilities: softmax, not log_softmax.",
            _of_logits(lambda z: z.log_softmax(-1)),
        ),
        Mistake("a sigmoid judges each class alone: the classes share 1, so it is softmax.", _of_logits(torch.sigmoid)),
        Mistake("you return the best class: return all the probabilities.", _of_logits(lambda z: z.argmax(-1))),
        Mistake(
            "you return the highest probability: return those of all classes.",
            _of_logits(lambda z: z.softmax(-1).amax(-1)),
        ),
        Mistake(
            "you return the first image's probabilities: return a row for each image.",
            _of_logits(lambda z: z.softmax(-1)[0]),
        ),
        Mistake(
            "the names are still torchvision's: convert the state before vit_forward.",
            lambda images, state, num_heads: _vit(images, state, num_heads).softmax(-1),
        ),
        Mistake(
            "you attend with 12 heads, as ViT-B has: pass `num_heads` on.",
            lambda images, state, num_heads: _my_vit(images, state, 12),
        ),
        Mistake(
            "you attend with a single head: pass `num_heads` on.",
            lambda images, state, num_heads: _my_vit(images, state, 1),
        ),
    ),
)

EXERCISES = (VIT_FORWARD, COUNT_PARAMETERS, CONVERT_TORCHVISION_STATE_DICT, MY_VIT)
