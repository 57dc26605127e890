"""The exercises of chapter 06, ViT-B/16 with real weights."""

import math
import re

import torch
import torch.nn.functional as F
from einops import rearrange

from course_lib.checks.ch03 import ENCODER_BLOCK
from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import Exercise, normal, single
from course_lib.weights.convert import to_timm_names

# Channels, patch size, grid, width, hidden width, depth, classes; then batch, heads and the size of the tokens: at
# 0.01 the epsilon of the norms counts. Thirteen blocks, because blocks.10 comes before blocks.2 in the alphabet, and
# 12 is a number that readers know; never as many classes as features.
_MODELS = (
    ((3, 2, (2, 3), 8, 20, 2, 5), 2, 4, 1.0),
    ((1, 3, (3, 2), 6, 15, 13, 4), 3, 2, 1.0),
    ((2, 4, (2, 2), 9, 12, 3, 7), 2, 3, 0.01),
    ((4, 2, (1, 4), 10, 16, 1, 3), 1, 5, 1.0),
    ((1, 1, (1, 1), 3, 1, 2, 1), 2, 1, 1.0),
    ((3, 2, (2, 3), 8, 20, 2, 5), 2, 4, 1.0),
)


def _shapes(C, P, grid, D, hidden, depth, classes):
    """{timm's name: shape} of every parameter, in torchvision's order."""
    shapes = {
        "cls_token": (1, 1, D),
        "patch_embed.proj.weight": (D, C, P, P),
        "patch_embed.proj.bias": (D,),
        "pos_embed": (1, 1 + grid[0] * grid[1], D),
    }
    layers = {"norm1": (D,), "attn.qkv": (3 * D, D), "attn.proj": (D, D), "norm2": (D,)}
    layers |= {"mlp.fc1": (hidden, D), "mlp.fc2": (D, hidden)}
    layers = {f"blocks.{i}.{name}": shape for i in range(depth) for name, shape in layers.items()}
    for name, shape in {**layers, "norm": (D,), "head": (classes, D)}.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


def _models(generator):
    """(images, params, heads) for each of `_MODELS`: no parameter is 0 or 1, and the answers are of moderate size."""
    draw = normal(generator)

    def parameter(name, shape, size):
        x = draw(*shape)
        if "norm" in name:
            return 0.3 * x + name.endswith("weight")
        if "pos" not in name and "cls" not in name:
            x = x / math.prod(shape[1:]) ** 0.5 if name.endswith("weight") else x / 2
        return x if re.search("qkv|fc1|head", name) else size * x

    for sizes, batch, num_heads, size in _MODELS:
        C, P, (gh, gw), *_, depth, _ = sizes
        shapes = _shapes(*sizes)
        names = list(shapes)
        if depth > 10:  # the order of a dictionary says nothing
            names = [names[i] for i in torch.randperm(len(names), generator=generator)]
            names.sort(key="blocks.0.norm1.bias".__eq__)  # not even what comes last
        params = {name: parameter(name, shapes[name], size) for name in names}
        yield draw(batch, C, gh * P, gw * P), params, num_heads


def _vit_probes(generator):
    probes = [{"images": x, "params": params, "num_heads": H} for x, params, H in _models(generator)]
    return [*probes[:-1], single(probes[-1])]


def _patch_embedding(images, weight, bias):
    return rearrange(F.conv2d(images, weight, bias, stride=weight.shape[-1]), "B D gh gw -> B (gh gw) D")


def _layer_norm(x, weight, bias, eps=1e-6):
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _encoder_block(x, params, num_heads):
    """The right block, which says what it got in place of its parameters: so that the hints can tell them apart."""
    if "norm1.weight" not in params:
        names = sorted(map(str, params))
        raise KeyError(f"norm1.weight: encoder_block got {f'names like {names[-1]}' if names else 'no names at all'}")
    if x.shape[-1] % num_heads:
        raise ValueError(f"{x.shape[-1]} features cannot be shared out among {num_heads} heads")
    return ENCODER_BLOCK.oracle(x, params, num_heads)


def _vit(images, params, num_heads):
    x = _patch_embedding(images, params["patch_embed.proj.weight"], params["patch_embed.proj.bias"])
    cls = params["cls_token"].expand(len(x), -1, -1)
    x = torch.cat([cls, x], dim=1)
    x = x + params["pos_embed"]
    numbers = dict.fromkeys(int(name.split(".")[1]) for name in params if name.startswith("blocks."))
    for i in sorted(numbers):
        block = {name.split(".", 2)[2]: p for name, p in params.items() if name.startswith(f"blocks.{i}.")}
        x = _encoder_block(x, block, num_heads)
    x = _layer_norm(x, params["norm.weight"], params["norm.bias"], 1e-6)
    logits = x[:, 0] @ params["head.weight"].T + params["head.bias"]
    return logits


VIT_FORWARD = Exercise(
    name="vit_forward",
    chapter="06",
    signature="vit_forward(images, params, num_heads)",
    task="embed the patches, put the class token first, add the positions, run all blocks in order, normalise, and give the class token to the head: (B, C, H, W) -> logits (B, classes).",
    probes=_vit_probes,
    oracle=_vit,
    uses={
        "patch_embedding": _patch_embedding,
        "prepend_class_token": lambda tokens, cls_token: torch.cat([cls_token.expand(len(tokens), -1, -1), tokens], 1),
        "encoder_block": _encoder_block,
        "layer_norm": _layer_norm,
    },
    mistakes=edits_of(
        _vit,
        """
        the last norm is missing: after the blocks comes layer_norm with norm.weight and norm.bias, and then the head.
            x = _layer_norm(x, params["norm.weight"], params["norm.bias"], 1e-6) ⇒
        the last norm has another epsilon: 1e-6, here as in the blocks.
            1e-6 ⇒ 1e-5
        the norm stands before the blocks: in ViT it comes after the last one.
            x = _layer_norm(x, params["norm.weight"], params["norm.bias"], 1e-6) ⇒
            x + params["pos_embed"] ⇒ _layer_norm(x + params["pos_embed"], params["norm.weight"], params["norm.bias"])
        the last norm stands inside the loop: it comes once, after the last block.
            x = _encoder_block(x, block, num_heads) ⇒ x = _encoder_block(x, block, num_heads)
            | x = _layer_norm(x, params["norm.weight"], params["norm.bias"], 1e-6)
          or
            x = _layer_norm(x, params["norm.weight"], params["norm.bias"], 1e-6) ⇒
            x = _encoder_block(x, block, num_heads) ⇒ x = _encoder_block(x, block, num_heads)
            | x = _layer_norm(x, params["norm.weight"], params["norm.bias"], 1e-6)
          or
            x = _encoder_block(x, block, num_heads) ⇒ x = _layer_norm(x, params["norm.weight"], params["norm.bias"], 1e-6)
            | x = _encoder_block(x, block, num_heads)
          or
            x = _layer_norm(x, params["norm.weight"], params["norm.bias"], 1e-6) ⇒
            x = _encoder_block(x, block, num_heads) ⇒ x = _layer_norm(x, params["norm.weight"], params["norm.bias"], 1e-6)
            | x = _encoder_block(x, block, num_heads)
        weight and bias of the last norm have changed places: it is layer_norm(x, weight, bias).
            params["norm.weight"], params["norm.bias"] ⇒ params["norm.bias"], params["norm.weight"]
        you add x to what a block returns: the block has added it already.
            x = _encoder ⇒ x = x + _encoder
        the positions are missing: add pos_embed once the class token is in front.
            + params["pos_embed"] ⇒
        the class token gets no position: put it in front first, then add pos_embed to all tokens.
            + params["pos_embed"] ⇒
            [cls, x] ⇒ [cls, x + params["pos_embed"][:, 1:]]
        you add the positions before the class token is in front, and each patch gets its neighbour's: prepend first, then add all of pos_embed.
            + params["pos_embed"] ⇒
            [cls, x] ⇒ [cls, x + params["pos_embed"][:, :-1]]
        pos_embed has one row more than there are patches, the class token's: put the class token in front of the patches first, then add.
            + params["pos_embed"] ⇒
            [cls, x] ⇒ [cls, x + params["pos_embed"]]
          or
            torch.cat([cls, x], dim=1) ⇒ x
        the class token is missing, and you read the first patch in its place: put cls_token in front, then add all of pos_embed.
            torch.cat([cls, x], dim=1) ⇒ x
            + params["pos_embed"] ⇒ + params["pos_embed"][:, 1:]
        you average the tokens before the last norm: this model normalises, then answers from the class token alone, x[:, 0].
            x = _layer_norm(x, ⇒ x = _layer_norm(x.mean(1),
            x[:, 0] @ ⇒ x @
          or
            x = _layer_norm(x, ⇒ x = _layer_norm(x[:, 1:].mean(1),
            x[:, 0] @ ⇒ x @
        the class token stands last: it is token 0, in front of the patches, and its position is row 0 of pos_embed.
            [cls, x] ⇒ [x, cls]
            x[:, 0] ⇒ x[:, -1]
        the class token stands last and you read token 0, a patch: put it in front.
            [cls, x] ⇒ [x, cls]
        you average all tokens: this model answers from the class token alone, x[:, 0].
            x[:, 0] ⇒ x.mean(1)
        you average the patches: this model answers from the class token alone, x[:, 0].
            x[:, 0] ⇒ x[:, 1:].mean(1)
        token 1 is the first patch: the class token is token 0.
            x[:, 0] ⇒ x[:, 1]
        you read the last token, a patch: the class token is token 0.
            x[:, 0] ⇒ x[:, -1]
        every token gets an answer: take the class token, x[:, 0], before the head.
            x[:, 0] ⇒ x
        the blocks run in alphabetical order, 0, 1, 10, 11, 2: count with range(depth), or sort by int.
            sorted(numbers) ⇒ sorted(numbers, key=str)
        the blocks run in the order of the dictionary, which says nothing: count with range(depth).
            sorted(numbers) ⇒ numbers
        the blocks run from the last to the first: block 0 comes first.
            sorted(numbers) ⇒ sorted(numbers)[::-1]
        encoder_block gets the whole dictionary: give it one block's parameters, under names without `blocks.0.`.
            x, block, num_heads ⇒ x, params, num_heads
        the names still begin with `blocks.0.`: cut that off, since encoder_block asks for norm1.weight.
            name.split(".", 2)[2] ⇒ name
        the names still begin with the block's number, 0.norm1.weight: cut off all of `blocks.0.`.
            name.split(".", 2)[2] ⇒ name.split(".", 1)[1]
        the names begin with a dot, .norm1.weight: the last dot of `blocks.0.` must be cut off, too.
            name.split(".", 2)[2] ⇒ "." + name.split(".", 2)[2]
        `blocks.1` is also the beginning of `blocks.10`: compare with the dot, f"blocks.{i}.".
            {i}. ⇒ {i}
        the last block is left out: range(depth) ends one before depth, so depth is the highest number plus 1.
            sorted(numbers) ⇒ sorted(numbers)[:-1]
        block 0 is left out: the numbers start at 0.
            sorted(numbers) ⇒ sorted(numbers)[1:]
        you ask for one block too many: the numbers start at 0 and end at depth - 1, range(depth).
            sorted(numbers) ⇒ range(len(numbers) + 1)
        every block runs with the parameters of blocks.0: take those of block i.
            sorted(numbers) ⇒ [0] * len(numbers)
        no block has any effect: encoder_block changes no x but returns a new one, x = encoder_block(x, ...).
            x = _encoder_block(x, block, num_heads) ⇒ _encoder_block(x, block, num_heads)
        every block reads the first x, and of all their results the last alone is left: go on with what a block returns, x = encoder_block(x, ...).
            sorted(numbers) ⇒ sorted(numbers)[-1:]
        the positions are added before each block: add them once, before the first.
            x = _encoder_block(x, ⇒ x = _encoder_block(x + params["pos_embed"],
            x = x + params["pos_embed"] ⇒
          or
            x = _encoder_block(x, ⇒ x = _encoder_block(x + params["pos_embed"],
        only one block runs: loop over all of them.
            sorted(numbers) ⇒ [0]
        only blocks 0 to 9 run: make whole numbers with int before you take the highest, as text "9" comes after "12", and one character is one digit.
            sorted(numbers) ⇒ range(int(max(map(str, numbers))) + 1)
        you read the depth off the last name, and the order of a dictionary says nothing: take the highest number.
            sorted(numbers) ⇒ range(int([name for name in params if name.startswith("blocks.")][-1].split(".")[1]) + 1)
        twelve blocks are written into the code: find the depth from the names.
            sorted(numbers) ⇒ range(12)
        all heads are one: pass `num_heads` on to the blocks.
            block, num_heads ⇒ block, 1
        you attend with 12 heads, as ViT-B has: pass `num_heads` on.
            block, num_heads ⇒ block, 12
        x[0] is the first image, with all its tokens: the class token of every image is x[:, 0].
            x[:, 0] ⇒ x[0]
        the head is missing: multiply the class token by head.weight transposed and add head.bias.
            x[:, 0] @ params["head.weight"].T + params["head.bias"] ⇒ x[:, 0]
        the head's bias is missing: add head.bias.
            + params["head.bias"] ⇒
        head.weight is (classes, D), as in nn.Linear: `@` takes head.weight.T, and F.linear takes it without .T.
            .T ⇒
        you return probabilities: the answer asked for is the logits, before any softmax.
            return logits ⇒ return logits.softmax(-1)
        """,
    )
    + tuple(
        mistake
        for depth in (2, 3, 4, 5, 6, 8, 11)
        for mistake in edits_of(
            _vit,
            f"""
            a number of blocks is written into the code: find the depth from the names.
                sorted(numbers) ⇒ range({depth})
            """,
        )
    ),
)


def _count_probes(generator):
    """Sizes at random; in the last, all that can be is 1. The hidden width is never 4 D."""

    def between(low, high):
        return int(torch.randint(low, high + 1, (), generator=generator))

    def probe(patch_size, side, in_chans, num_classes, depth):
        dim = 4 * between(3, 40)
        sizes = {"img_size": patch_size * side, "patch_size": patch_size, "in_chans": in_chans}
        return {**sizes, "num_classes": num_classes, "dim": dim, "depth": depth, "mlp_dim": 2 * dim + between(1, 50)}

    usual = [probe(P, between(2, 9), between(2, 5), between(5, 99), between(2, 30)) for P in (2, 3, 5, 7)]
    return [*usual, probe(1, 1, 1, 1, 1)]


def _count_shapes(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    side = len(range(0, img_size, patch_size))
    shapes = _shapes(in_chans, patch_size, (side, side), dim, mlp_dim, depth, num_classes)
    return sum(map(math.prod, shapes.values()))


def _count(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    tokens = 1 + (img_size // patch_size) ** 2
    patches = in_chans * patch_size**2 * dim + dim
    norms = 2 * dim + 2 * dim
    qkv = 3 * dim * dim + 3 * dim
    proj = dim * dim + dim
    fc1 = dim * mlp_dim + mlp_dim
    fc2 = mlp_dim * dim + dim
    blocks = depth * (norms + qkv + proj + fc1 + fc2)
    last = 2 * dim
    head = dim * num_classes + num_classes
    return patches + dim + tokens * dim + blocks + last + head


COUNT_PARAMETERS = Exercise(
    name="count_parameters",
    chapter="06",
    signature="count_parameters(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim)",
    task="add up the parameters of a ViT with class token, learned positions and biases everywhere, as a whole number.",
    probes=_count_probes,
    oracle=_count_shapes,
    forbidden=("Module.parameters", "Module.named_parameters"),
    mistakes=edits_of(
        _count,
        """
        it is D too few: the class token, its position, the bias of the patch embedding or half of the last norm is missing.
            + dim + tokens ⇒ + tokens
        it is 2 D too few: the last norm is missing, or else two of these: class token, its position, bias of the patch embedding.
            + last ⇒
        the positions are missing: (N + 1) D, learned like everything else.
            + tokens * dim ⇒
        you multiply everything by depth: embedding, positions, last norm and head are there once.
            blocks = depth * ( ⇒ blocks = (
            return patches + dim + tokens * dim + blocks + last + head ⇒ return depth * (patches + dim + tokens * dim + blocks + last + head)
          or
            return patches + dim + tokens * dim + blocks + last + head ⇒ return depth * (patches + dim + tokens * dim + blocks + last + head)
        depth multiplies the first term alone: put brackets around all that a block has.
            depth * (norms + qkv + proj + fc1 + fc2) ⇒ depth * norms + qkv + proj + fc1 + fc2
          or
            depth * (norms + qkv + proj + fc1 + fc2) ⇒ depth * 2 * dim + 2 * dim + qkv + proj + fc1 + fc2
          or
            depth * (norms + qkv + proj + fc1 + fc2) ⇒ norms + depth * (qkv + proj) + fc1 + fc2
          or
            depth * (norms + qkv + proj + fc1 + fc2) ⇒ norms + depth * qkv + proj + fc1 + fc2
        the MLP's second layer is missing: mlp_dim · D + D in each block.
            + fc2 ⇒
        the MLP's first layer is missing: D · mlp_dim + mlp_dim in each block.
            + fc1 ⇒
        the head's bias has a number for each class: you count D of them.
            dim * num_classes + num_classes ⇒ dim * num_classes + dim
        the attention is missing: 4 D² + 4 D in each block.
            + qkv + proj ⇒
        it is D · mlp_dim too few in each block: the MLP has two matrices, and you count one.
            mlp_dim * dim + dim ⇒ dim
        it is D² too few in each block: there are four matrices of that size, those of q, k and v and that of the output projection.
            proj = dim * dim + dim ⇒ proj = dim
        no norm is counted: there are two in each block and the last one, of 2 D each.
            norms + ⇒
            + last ⇒
        the MLP's first layer ends in mlp_dim numbers, so its bias has mlp_dim: you count D.
            dim * mlp_dim + mlp_dim ⇒ dim * mlp_dim + dim
        the MLP is missing: two layers in each block, of D · mlp_dim + mlp_dim and of mlp_dim · D + D.
            + fc1 + fc2 ⇒
        the patch embedding is missing: in_chans · P · P · D + D.
            return patches + ⇒ return
        a patch has in_chans channels: its weight is in_chans · P · P · D.
            in_chans * ⇒
        you count on 3 channels: they are `in_chans`.
            in_chans * ⇒ 3 *
        a patch has P · P pixels of each channel: square patch_size.
            patch_size**2 ⇒ patch_size
        q, k and v are three layers: 3 D² + 3 D.
            3 * dim * dim + 3 * dim ⇒ dim * dim + dim
        the weights of q, k and v are three: 3 D².
            3 * dim * dim ⇒ dim * dim
        it is 3 D too few in each block: the biases of q, k and v, or other three vectors of that length.
            + 3 * dim ⇒
        the attention's output projection is missing: D² + D in each block.
            + proj ⇒
        it is D too few in each block: the bias of the attention's output projection, that of the MLP's second layer, one of q, k and v, or one vector of a norm.
            proj = dim * dim + dim ⇒ proj = dim * dim
        the MLP's biases are missing: mlp_dim + D in each block.
            dim * mlp_dim + mlp_dim ⇒ dim * mlp_dim
            mlp_dim * dim + dim ⇒ mlp_dim * dim
        it is 2 D too few in each block: one of the two norms, half of both, two of the three biases of q, k and v, or other two vectors of that length.
            2 * dim + 2 * dim ⇒ 2 * dim
        it is 4 D too few in each block: the two norms, 2 D each, or the attention's four biases, 3 D of q, k and v and D of the output projection.
            norms + ⇒
        a norm has a scale and a shift, 2 D: you count one of them.
            2 * dim + 2 * dim ⇒ dim + dim
            last = 2 * dim ⇒ last = dim
        the head has a bias: num_classes more.
            dim * num_classes + num_classes ⇒ dim * num_classes
        the head is missing: D · num_classes + num_classes.
            + head ⇒
        no linear layer has its bias: add one number for each output.
            patch_size**2 * dim + dim ⇒ patch_size**2 * dim
            + 3 * dim ⇒
            proj = dim * dim + dim ⇒ proj = dim * dim
            dim * mlp_dim + mlp_dim ⇒ dim * mlp_dim
            mlp_dim * dim + dim ⇒ mlp_dim * dim
            dim * num_classes + num_classes ⇒ dim * num_classes
        the bias of the MLP's first layer is missing: mlp_dim in each block.
            dim * mlp_dim + mlp_dim ⇒ dim * mlp_dim
        it is D too many: the class token, its position or another vector of that length is counted twice.
            1 + (img ⇒ 2 + (img
        it is 2 D too many: the last norm, or other two vectors of length D, are counted twice.
            + last ⇒ + 2 * last
        it is D too many in each block: a bias is counted twice, or is longer than its layer's output.
            mlp_dim * dim + dim ⇒ mlp_dim * dim + 2 * dim
        it is 2 D too many in each block: a block has two norms, and the last norm stands after all blocks.
            2 * dim + 2 * dim ⇒ 6 * dim
        you count a norm in each block that is there once: the last norm stands after all blocks.
            2 * dim + 2 * dim ⇒ 6 * dim
            + last ⇒
        you count one block too many: there are `depth` of them.
            depth * ( ⇒ (depth + 1) * (
        you count one block too few: there are `depth` of them.
            depth * ( ⇒ (depth - 1) * (
        twelve blocks are written into the code: there are `depth` of them.
            depth * ( ⇒ 12 * (
        the MLP's second layer ends in D numbers, so its bias has D: you count mlp_dim.
            mlp_dim * dim + dim ⇒ mlp_dim * dim + mlp_dim
        you count one block: there are `depth` of them.
            depth * ⇒
        the MLP's hidden width is `mlp_dim`, which need not be 4 D.
            tokens = ⇒ mlp_dim = 4 * dim; tokens =
        there are (img_size // patch_size)² patches: divide first, then square the number along one side.
            (img_size // patch_size) ** 2 ⇒ img_size // patch_size
          or
            (img_size // patch_size) ** 2 ⇒ img_size**2 // patch_size
        the division `/` gives a float: count with //.
            img_size // ⇒ img_size /
        """,
    ),
)

_PUBLISHED, _IN_MEMORY = ("linear_1", "linear_2"), ("0", "3")


def _as_torchvision(params, mlp):
    """The same weights, in the same order, under torchvision's names; `mlp` says how it names the MLP's layers."""
    theirs = {"cls_token": "class_token", "pos_embed": "encoder.pos_embedding", "patch_embed.proj": "conv_proj"}
    theirs |= {"norm1": "ln_1", "norm2": "ln_2", "norm.": "encoder.ln.", "head": "heads.head"}
    theirs |= {"attn.qkv.": "self_attention.in_proj_", "attn.proj": "self_attention.out_proj"}
    theirs |= {"blocks.": "encoder.layers.encoder_layer_", "fc1": mlp[0], "fc2": mlp[1]}
    return {re.sub("|".join(theirs), lambda ours: theirs[ours[0]], name): p for name, p in params.items()}


def _my_vit_probes(generator):
    """The MLP is named by turns as in published files and as in memory. For probabilities nobody needs gradients.

    In one the logits of an image are so far apart that exp overflows, several near 900 and one near -900; in one the
    images lie far apart.
    """
    probes = [
        {"images": x, "state": _as_torchvision(params, (_PUBLISHED, _IN_MEMORY)[i % 2]), "num_heads": H}
        for i, (x, params, H) in enumerate(_models(generator))
    ]
    probes[0]["state"]["heads.head.weight"][:, 0] += 1e8
    last_bias = probes[3]["state"]["heads.head.bias"]
    last_bias += torch.linspace(800, 900, len(last_bias))
    last_bias[0] -= 1700
    probes[-1]["images"] = probes[-1]["images"].float()
    probes[-1]["state"] = {name: p.float() for name, p in probes[-1]["state"].items()}
    return probes


def _torchvision_probes(generator):
    probes = [{"state": probe["state"]} for probe in _my_vit_probes(generator)]
    return [*probes[:-1], single(probes[-1])]


def _by_order(names, state):
    """The tensors as they come, under the names of a model as deep, once these are ordered by `names(its names)`."""
    depth = sum(name.endswith("in_proj_bias") for name in state)
    return dict(zip(names(list(_shapes(1, 1, (1, 1), 1, 1, depth, 1))), state.values(), strict=True))


def _convert(state):
    new = {}
    for name, value in state.items():
        name = name.replace("conv_proj", "patch_embed.proj")
        name = name.replace("class_token", "cls_token").replace("encoder.pos_embedding", "pos_embed")
        name = name.replace("encoder.layers.encoder_layer_", "blocks.")
        name = name.replace("ln_1", "norm1").replace("ln_2", "norm2")
        name = name.replace("self_attention.in_proj_", "attn.qkv.")
        name = name.replace("self_attention.out_proj", "attn.proj")
        name = re.sub("mlp.linear_1|mlp.0", "mlp.fc1", name)
        name = re.sub("mlp.linear_2|mlp.3", "mlp.fc2", name)
        name = name.replace("encoder.ln", "norm").replace("heads.head", "head")
        new[name] = value
    return new


# What may come last in a table of replacements.
_PAIRS = (
    '"heads.head", "head"',
    '"heads", "head"',
    '"encoder.ln", "norm"',
    '"mlp.3", "mlp.fc2"',
    '"mlp.0", "mlp.fc1"',
    '"mlp.linear_2", "mlp.fc2"',
    '"mlp.linear_1", "mlp.fc1"',
    '"self_attention.out_proj", "attn.proj"',
    '"self_attention.in_proj_", "attn.qkv."',
    '"ln_2", "norm2"',
    '"encoder.layers.encoder_layer_", "blocks."',
    '"encoder.pos_embedding", "pos_embed"',
    '"class_token", "cls_token"',
    '"conv_proj", "patch_embed.proj"',
)

CONVERT_TORCHVISION_STATE_DICT = Exercise(
    name="convert_torchvision_state_dict",
    chapter="06",
    signature="convert_torchvision_state_dict(state)",
    task="return a dict with the same tensors, each under timm's name, none missing and none left over.",
    probes=_torchvision_probes,
    oracle=lambda state: to_timm_names(state)[1],
    mistakes=edits_of(
        _convert,
        r"""
        the names are still torchvision's: write the new name for each.
            ⇒ return dict(state)
        you go by order: torchvision has the patch embedding before the positions and timm after them, so go by name.
            ⇒ return _by_order(lambda names: [names[0], names[3], *names[1:3], *names[4:]], state)
        you go by order, and a dictionary's order says nothing: go by name.
            ⇒ return _by_order(list, state)
        norm1 and norm2 are swapped: ln_1 stands before the attention, like norm1.
            "ln_1", "norm1" ⇒ "ln_1", "norm2"
            "ln_2", "norm2" ⇒ "ln_2", "norm1"
        fc1 and fc2 are swapped: linear_1 (or 0) is the first layer, fc1.
            mlp.0", "mlp.fc1" ⇒ mlp.0", "mlp.fc2"
            mlp.3", "mlp.fc2" ⇒ mlp.3", "mlp.fc1"
        qkv and proj are swapped: in_proj makes q, k and v, out_proj comes at the end.
            attn.qkv. ⇒ attn.proj.
            out_proj", "attn.proj ⇒ out_proj", "attn.qkv
        you transpose in_proj_weight: torchvision keeps it as (3D, D), like timm; only Google's files need a transpose.
            = value ⇒ = value.T if name.endswith("qkv.weight") else value
        you transpose out_proj.weight: it is (out, in) in both libraries.
            = value ⇒ = value.T if name.endswith("attn.proj.weight") else value
        you transpose every matrix: torchvision and timm both keep (out, in); only Google's files need that.
            = value ⇒ = value.T if value.ndim == 2 else value
        you drop the first dimension of the positions: pos_embed is (1, N + 1, D).
            = value ⇒ = value[0] if name == "pos_embed" else value
        you split in_proj into q, k and v: timm has them in one, attn.qkv, in the same order.
            new[name] = value ⇒ parts = zip("qkv", value.chunk(3)) if "qkv" in name else [("qkv", value)]
            | new |= {name.replace("qkv", part): x for part, x in parts}
        the blocks are numbered from 1: both libraries start at 0.
            new[name] ⇒ new[re.sub(r"(?<=blocks.)\d+", lambda i: str(int(i[0]) + 1), name)]
        of a block's number you keep one digit: blocks.10 and blocks.11 need two.
            new[name] ⇒ new[re.sub(r"blocks.\d+(\d)", r"blocks.\1", name)]
        of a block's number you keep the first digit: blocks.10 and blocks.11 need two.
            new[name] ⇒ new[re.sub(r"blocks.(\d)\d+", r"blocks.\1", name)]
        the last norm is missing: encoder.ln becomes norm.
            return new ⇒ return {name: value for name, value in new.items() if name[:5] != "norm."}
        encoder.ln keeps its name: it is the last norm, and becomes norm.
            .replace("encoder.ln", "norm") ⇒
        the last norm is still called encoder.norm: it is norm alone.
            "encoder.ln", "norm" ⇒ "encoder.ln", "encoder.norm"
        the head is missing: heads.head becomes head.
            return new ⇒ return {name: value for name, value in new.items() if name[:4] != "head"}
        heads.head became head.head: it is head alone.
            "heads.head", "head" ⇒ "heads", "head"
        heads.head keeps its name: it becomes head.
            .replace("heads.head", "head") ⇒
        mlp.0 and mlp.3 are left as they are, which is how a model in memory names linear_1 and linear_2: rename both spellings.
            1|mlp.0 ⇒ 1
            2|mlp.3 ⇒ 2
        mlp.linear_1 and mlp.linear_2 are left as they are, which is how the published files name mlp.0 and mlp.3: rename both spellings.
            mlp.linear_1| ⇒
            mlp.linear_2| ⇒
        a dot is missing in attn.qkvweight: torchvision's underscore in `in_proj_` becomes a dot, `qkv.`.
            attn.qkv. ⇒ attn.qkv
        in attn.qkv_weight the underscore of in_proj_weight is left: timm has a dot there, attn.qkv.weight.
            attn.qkv. ⇒ attn.qkv_
        attn.out_proj is torchvision's name still: timm calls it attn.proj.
            "self_attention.out_proj", "attn.proj" ⇒ "self_attention.out_proj", "attn.out_proj"
        the patch embedding is called patch_embed.proj: conv_proj keeps its name in yours.
            name = name.replace("conv_proj", "patch_embed.proj") ⇒
        you return pairs: return a dict.
            return new ⇒ return list(new.items())
        you rename in the caller's own dictionary: build a new one.
            ⇒ for name, value in _convert(state).items():
            |     state[name] = value
            | for name in list(state)[: len(state) // 2]:
            |     del state[name]
            | return state
        the old names are still there beside the new ones: write the new ones into an empty dictionary.
            return new ⇒ return state | new
          or
            ⇒ for name, value in _convert(state).items():
            |     state[name] = value
            | return state
        you return inside the loop, after the first name: `return` stands below it, as far left as `for`.
            return new ⇒ return dict(list(new.items())[:1])
        each name gets the first replacement that fits and no other, as `break` or elif makes it: a block's name needs two, one for its beginning and one for its layer.
            ⇒ inner = re.compile(r"encoder.layers.encoder_layer_(\d+)")
            | return {inner.sub(r"blocks.\1", old) if inner.match(old) else new: x for (new, x), old in zip(_convert(state).items(), state)}
          or
            return new ⇒ return {name.replace("blocks.", "encoder.layers.encoder_layer_"): value for name, value in new.items()}
        class_token keeps its name: it becomes cls_token.
            .replace("class_token", "cls_token") ⇒
        the positions are called pos_embed alone: encoder.pos_embedding has kept some of its name in yours.
            .replace("encoder.pos_embedding", "pos_embed") ⇒
          or
            "encoder.pos_embedding", "pos_embed" ⇒ "pos_embedding", "pos_embed"
        """,
    )
    + tuple(
        mistake
        for pair in _PAIRS
        for mistake in edits_of(
            _convert,
            f"""
            one of your replacements alone has an effect: each must go on with the name that the one before has made, name = name.replace(old, new).
                ⇒ return {{name.replace({pair}): value for name, value in state.items()}}
            """,
        )
    ),
)


def _my_vit(images, state, num_heads):
    params = to_timm_names(state)[1]
    logits = _vit(images, params, num_heads)
    return torch.softmax(logits, dim=-1)


MY_VIT = Exercise(
    name="my_vit",
    chapter="06",
    signature="my_vit(images, state, num_heads)",
    task="take weights under torchvision's names and give the probabilities of the classes, each row with sum 1: (B, C, H, W) -> (B, classes).",
    probes=_my_vit_probes,
    oracle=_my_vit,
    uses={
        "convert_torchvision_state_dict": CONVERT_TORCHVISION_STATE_DICT.oracle,
        "vit_forward": _vit,
        "softmax": lambda scores, dim=-1: scores.softmax(dim),
    },
    mistakes=edits_of(
        _my_vit,
        """
        these are the logits: probabilities are their softmax.
            torch.softmax(logits, dim=-1) ⇒ logits
        you take the softmax over the images: each image has its own probabilities, dim=-1.
            dim=-1 ⇒ dim=0
        you take the softmax over everything: along the classes, dim=-1.
            torch.softmax(logits, dim=-1) ⇒ logits.flatten().softmax(0).reshape(logits.shape)
        you take the softmax twice: once is enough.
            dim=-1) ⇒ dim=-1).softmax(-1)
        those are the logarithms of the probabilities: softmax, not log_softmax.
            torch.softmax ⇒ torch.log_softmax
        a sigmoid judges each class alone: the classes share 1, so it is softmax.
            torch.softmax(logits, dim=-1) ⇒ torch.sigmoid(logits)
        you return the best class: return all the probabilities.
            dim=-1) ⇒ dim=-1).argmax(-1)
        you return the highest probability: return those of all classes.
            dim=-1) ⇒ dim=-1).amax(-1)
        you return the first image's probabilities: return a row for each image.
            dim=-1) ⇒ dim=-1)[0]
        you subtract the maximum of all logits, and a row far below it underflows to 0/0: subtract each row's own maximum, or call your softmax.
            torch.softmax(logits, dim=-1) ⇒ (logits - logits.max()).exp() / (logits - logits.max()).exp().sum(-1, keepdim=True)
        exp overflows for large logits: subtract the maximum first, or call your softmax.
            torch.softmax(logits, dim=-1) ⇒ logits.exp() / logits.exp().sum(-1, keepdim=True)
        you divide by the sum over all images: each image has a sum of its own, along the classes, dim=-1.
            torch.softmax(logits, dim=-1) ⇒ (logits - logits.amax(-1, keepdim=True)).exp() / (logits - logits.amax(-1, keepdim=True)).exp().sum()
        you clamp the logits, which makes different ones the same: give them to your softmax as they are, it subtracts the maximum.
            torch.softmax(logits ⇒ torch.softmax(logits.clamp(-50, 50)
          or
            torch.softmax(logits ⇒ torch.softmax(logits.clamp(max=50)
          or
            torch.softmax(logits ⇒ torch.softmax(logits.clamp(-10, 10)
          or
            torch.softmax(logits ⇒ torch.softmax(logits.clamp(-100, 100)
          or
            torch.softmax(logits ⇒ torch.softmax(logits.clamp(max=80)
          or
            torch.softmax(logits ⇒ torch.softmax(logits.clamp(-80, 80)
          or
            torch.softmax(logits ⇒ torch.softmax(logits.clamp(max=700)
        you divide the logits by their sum: exponentiate first, as softmax does, for they may be negative.
            torch.softmax(logits, dim=-1) ⇒ logits / logits.sum(-1, keepdim=True)
          or
            torch.softmax(logits, dim=-1) ⇒ logits.clamp(min=0) / logits.clamp(min=0).sum(-1, keepdim=True)
        the names are still torchvision's: convert the state before vit_forward.
            to_timm_names(state)[1] ⇒ state
        you attend with 12 heads, as ViT-B has: pass `num_heads` on.
            params, num_heads ⇒ params, 12
        you attend with a single head: pass `num_heads` on.
            params, num_heads ⇒ params, 1
        `images` and `params` have changed places: it is vit_forward(images, params, num_heads).
            _vit(images, params ⇒ _vit(params, images
        `params` and `num_heads` have changed places: it is vit_forward(images, params, num_heads).
            params, num_heads ⇒ num_heads, params
        the images have been prepared already: give them to vit_forward as they come, neither divided by 255 nor normalised.
            logits = _vit(images, ⇒ logits = _vit(images / 255,
          or
            logits = _vit(images, ⇒ logits = _vit(images * 255,
          or
            logits = _vit(images, ⇒ logits = _vit(2 * images - 1,
          or
            logits = _vit(images, ⇒ logits = _vit(images / 127.5 - 1,
          or
            logits = _vit(images, ⇒ logits = _vit((images - images.mean()) / images.std(),
          or
            logits = _vit(images, ⇒ logits = _vit((images - images.mean((1, 2, 3), True)) / images.std((1, 2, 3), keepdim=True),
          or
            logits = _vit(images, ⇒ logits = _vit((images - images.mean((2, 3), True)) / images.std((2, 3), keepdim=True),
          or
            logits = _vit(images, ⇒ logits = _vit((images - images.mean((0, 2, 3), True)) / images.std((0, 2, 3), keepdim=True),
        """,
    ),
)

EXERCISES = (VIT_FORWARD, COUNT_PARAMETERS, CONVERT_TORCHVISION_STATE_DICT, MY_VIT)
