"""Answers to the exercises of chapter 06, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import functools
import math
import re
from collections import OrderedDict

import numpy as np
import torch
import torch.nn.functional as F

# --- the pieces that a reader has from earlier chapters, in a few lines ------------------------------


def patches_of(images, params):
    w, b = params["patch_embed.proj.weight"], params["patch_embed.proj.bias"]
    return F.conv2d(images, w, b, stride=w.shape[-1]).flatten(2).transpose(1, 2)


def block_of(x, p, num_heads):
    B, N, D = x.shape
    h = F.layer_norm(x, (D,), p["norm1.weight"], p["norm1.bias"], 1e-6)
    qkv = h @ p["attn.qkv.weight"].T + p["attn.qkv.bias"]
    q, k, v = qkv.reshape(B, N, 3, num_heads, -1).permute(2, 0, 3, 1, 4)
    h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, N, D)
    x = x + h @ p["attn.proj.weight"].T + p["attn.proj.bias"]
    h = F.layer_norm(x, (D,), p["norm2.weight"], p["norm2.bias"], 1e-6)
    h = F.gelu(h @ p["mlp.fc1.weight"].T + p["mlp.fc1.bias"])
    return x + h @ p["mlp.fc2.weight"].T + p["mlp.fc2.bias"]


def params_of_block(params, i):
    start = f"blocks.{i}."
    return {name[len(start) :]: p for name, p in params.items() if name.startswith(start)}


def number_of_blocks(params):
    return 1 + max(int(name.split(".")[1]) for name in params if name.startswith("blocks."))


def start_of(images, params):
    x = patches_of(images, params)
    x = torch.cat([params["cls_token"].expand(x.shape[0], 1, -1), x], dim=1)
    return x + params["pos_embed"]


def middle_of(x, params, num_heads):
    for i in range(number_of_blocks(params)):
        x = block_of(x, params_of_block(params, i), num_heads)
    return x


def end_norm(x, params):
    return F.layer_norm(x, x.shape[-1:], params["norm.weight"], params["norm.bias"], 1e-6)


# --- vit_forward -------------------------------------------------------------------------------------


def vit_by_functional_call(images, params, num_heads):
    from course_lib.vit import VisionTransformer, ViTConfig

    D, C, _, P = params["patch_embed.proj.weight"].shape
    sizes = {"img_size": images.shape[2:], "patch_size": P, "in_chans": C, "embed_dim": D, "num_heads": num_heads}
    model = VisionTransformer(ViTConfig(depth=number_of_blocks(params), **sizes))
    return torch.func.functional_call(model, params, (images,))


def vit_that_norms_the_class_token_alone(images, params, num_heads):
    x = middle_of(start_of(images, params), params, num_heads)
    cls = end_norm(x[:, 0], params)  # the norm works token by token: the same
    return torch.einsum("bd,cd->bc", cls, params["head.weight"]) + params["head.bias"]


def vit_that_counts_up_to_the_last_block(images, params, num_heads):
    class_token = params["cls_token"] + params["pos_embed"][:, :1]
    patches = patches_of(images, params) + params["pos_embed"][:, 1:]
    x = torch.cat([class_token.repeat(len(images), 1, 1), patches], dim=1)
    for i in range(len(params)):
        if f"blocks.{i}.norm1.weight" in params:
            x = block_of(x, params_of_block(params, i), num_heads)
    return F.linear(end_norm(x, params), params["head.weight"], params["head.bias"])[:, 0]


class VitByGroups:
    """All blocks are taken apart in one pass, whatever the order of the names."""

    def __call__(self, images, params, num_heads):
        w, b = params["patch_embed.proj.weight"], params["patch_embed.proj.bias"]
        x = prepend_class_token(patch_embedding(images, w, b), params["cls_token"])  # noqa: F821 - the check's
        x += params["pos_embed"]
        for _, block in sorted(self.blocks(params).items()):
            x = encoder_block(x=x, params=block, num_heads=num_heads)  # noqa: F821
        x = layer_norm(x[:, 0], params["norm.weight"], params["norm.bias"])  # noqa: F821
        return x @ params["head.weight"].mT + params["head.bias"]

    def blocks(self, params):
        found = {}
        for name, value in params.items():
            match name.split(".", 2):
                case ["blocks", number, rest]:
                    found.setdefault(int(number), {})[rest] = value
        return found


class VitAsModule(torch.nn.Module):
    def forward(self, images, params, heads):
        depth = sum(name.endswith("norm1.bias") for name in params)
        blocks = (params_of_block(params, i) for i in range(depth))
        x = functools.reduce(lambda x, block: block_of(x, block, heads), blocks, start_of(images, params))
        return F.linear(end_norm(x, params), params["head.weight"], params["head.bias"]).select(1, 0)


def image_by_image(forward, images, params, num_heads):
    return torch.cat([forward(image.unsqueeze(0), params, num_heads) for image in images])


vit_image_by_image = functools.partial(image_by_image, vit_that_norms_the_class_token_alone)


def vit_in_alphabetical_order(images, params, num_heads):
    x = start_of(images, params)
    names = sorted({".".join(name.split(".")[:2]) for name in params if name.startswith("blocks.")})
    for block in names:
        x = block_of(
            x, {n.removeprefix(block + "."): p for n, p in params.items() if n.startswith(block + ".")}, num_heads
        )
    x = end_norm(x, params)
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]


def vit_without_the_dot(images, params, num_heads):
    x = start_of(images, params)
    for i in range(number_of_blocks(params)):
        p = {name.split(".", maxsplit=2)[-1]: value for name, value in params.items() if name.startswith(f"blocks.{i}")}
        x = block_of(x, p, num_heads)
    x = end_norm(x, params)
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]


def vit_in_the_order_of_the_dictionary(images, params, num_heads):
    x = start_of(images, params)
    blocks = {}
    for name, value in params.items():
        if name.startswith("blocks."):
            _, i, rest = name.split(".", 2)
            blocks.setdefault(i, {})[rest] = value
    for block in blocks.values():
        x = block_of(x, block, num_heads)
    return F.linear(end_norm(x, params)[:, 0], params["head.weight"], params["head.bias"])


# --- count_parameters --------------------------------------------------------------------------------


def count_in_one_line(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N, D, M = (img_size // patch_size) ** 2, dim, mlp_dim
    return (
        (in_chans * patch_size**2 + 1 + 1 + N + 1) * D
        + depth * (4 * D * D + 2 * D * M + 9 * D + M)
        + 2 * D
        + (D + 1) * num_classes
    )


def count_by_layers(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    def linear(d_in, d_out):
        return d_in * d_out + d_out

    norm = 2 * dim
    side = img_size // patch_size
    block = norm + linear(dim, 3 * dim) + linear(dim, dim) + norm + linear(dim, mlp_dim) + linear(mlp_dim, dim)
    stem = linear(in_chans * patch_size * patch_size, dim) + dim + (side * side + 1) * dim
    return stem + sum(block for _ in range(depth)) + norm + linear(dim, num_classes)


def count_with_numpy(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    block = [(dim, 3 * dim), (dim, dim), (dim, mlp_dim), (mlp_dim, dim)]
    inputs, outputs = np.array([(in_chans * patch_size**2, dim), *depth * block, (dim, num_classes)]).T
    vectors = [1, (img_size // patch_size) ** 2 + 1, 4 * depth, 2]  # class token, positions, norms
    return np.sum((inputs + 1) * outputs) + dim * np.sum(vectors)


class Count:
    """A list of shapes, as a state dict would have them."""

    def __call__(self, image, P, C, classes, D, depth, hidden):
        block = [(D,), (D,), (3 * D, D), (3 * D,), (D, D), (D,), (D,), (D,), (hidden, D), (hidden,), (D, hidden), (D,)]
        ends = [(1, 1, D), (1, 1 + (image // P) ** 2, D), (D, C, P, P), (D,), (D,), (D,), (classes, D), (classes,)]
        return sum(map(math.prod, ends + depth * block))


def count_step_by_step(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    tokens = img_size * img_size // (patch_size * patch_size) + 1
    block = [(1, dim), (dim, 3 * dim), (dim, dim), (1, dim), (dim, mlp_dim), (mlp_dim, dim)]
    layers = [(patch_size * patch_size * in_chans, dim), *depth * block, (1, dim), (dim, num_classes)]
    return dim + tokens * dim + sum(rows * columns + columns for rows, columns in layers)


count_by_doubling = functools.partial(
    lambda two, size, P, C, K, D, L, M: (
        D * (C * P**2 + 5 + (size // P) ** two) + L * (4 * D**2 + two * D * M + 9 * D + M) + (D + 1) * K
    ),
    2,
)


# --- convert_torchvision_state_dict ------------------------------------------------------------------


def timm_name(name):
    """One of torchvision's names as timm has it."""
    pieces = name.split(".")
    if pieces[0] in ("conv_proj", "class_token"):
        return name.replace("conv_proj", "patch_embed.proj").replace("class_token", "cls_token")
    if pieces[0] == "heads":
        return f"head.{pieces[-1]}"
    if pieces[1] == "pos_embedding":
        return "pos_embed"
    if pieces[1] == "ln":
        return f"norm.{pieces[-1]}"
    number, rest = pieces[2].split("_")[-1], ".".join(pieces[3:])
    rest = re.sub(r"^ln_(\d)", r"norm\1", rest)
    rest = rest.replace("self_attention.in_proj_", "attn.qkv.").replace("self_attention.out_proj", "attn.proj")
    rest = rest.replace("mlp.linear_", "mlp.fc").replace("mlp.0", "mlp.fc1").replace("mlp.3", "mlp.fc2")
    return f"blocks.{number}.{rest}"


def convert_piece_by_piece(state):
    return {timm_name(name): value for name, value in state.items()}


def convert_by_asking_for_each_name(state):
    """From timm's side: write down every name that is wanted and fetch it."""
    new = {
        "cls_token": state["class_token"],
        "pos_embed": state["encoder.pos_embedding"],
        "patch_embed.proj.weight": state["conv_proj.weight"],
        "patch_embed.proj.bias": state["conv_proj.bias"],
    }
    for i in range(sum(name.endswith("ln_1.weight") for name in state)):
        theirs, ours = f"encoder.layers.encoder_layer_{i}.", f"blocks.{i}."
        first, second = (
            ("mlp.linear_1", "mlp.linear_2") if f"{theirs}mlp.linear_1.bias" in state else ("mlp.0", "mlp.3")
        )
        for kind in ("weight", "bias"):
            new[f"{ours}norm1.{kind}"] = state[f"{theirs}ln_1.{kind}"]
            new[f"{ours}norm2.{kind}"] = state[f"{theirs}ln_2.{kind}"]
            new[f"{ours}attn.qkv.{kind}"] = state[f"{theirs}self_attention.in_proj_{kind}"]
            new[f"{ours}attn.proj.{kind}"] = state[f"{theirs}self_attention.out_proj.{kind}"]
            new[f"{ours}mlp.fc1.{kind}"] = state[f"{theirs}{first}.{kind}"]
            new[f"{ours}mlp.fc2.{kind}"] = state[f"{theirs}{second}.{kind}"]
    for kind in ("weight", "bias"):
        new[f"norm.{kind}"] = state[f"encoder.ln.{kind}"]
        new[f"head.{kind}"] = state[f"heads.head.{kind}"]
    return new


class Convert:
    def __init__(self):
        self.rules = {
            r"^conv_proj": "patch_embed.proj",
            r"^class_token$": "cls_token",
            r"^encoder\.pos_embedding$": "pos_embed",
            r"^encoder\.ln": "norm",
            r"^heads\.head": "head",
            r"^encoder\.layers\.encoder_layer_(\d+)": r"blocks.\1",
            r"ln_([12])": r"norm\1",
            r"self_attention\.in_proj_": "attn.qkv.",
            r"self_attention\.out_proj": "attn.proj",
            r"mlp\.(linear_1|0)": "mlp.fc1",
            r"mlp\.(linear_2|3)": "mlp.fc2",
        }

    def __call__(self, state):
        return {
            functools.reduce(lambda n, rule: re.sub(*rule, n), self.rules.items(), name): x for name, x in state.items()
        }


def convert_from_the_back(weights):
    left, new = dict(weights), OrderedDict()
    for _ in range(len(weights)):
        name, value = left.popitem()
        new[timm_name(name)] = value
    return new


def convert_by_patterns(state):
    def renamed(name):
        match name.split("."):
            case ["class_token"]:
                return "cls_token"
            case ["encoder", "pos_embedding"]:
                return "pos_embed"
            case ["conv_proj", kind]:
                return f"patch_embed.proj.{kind}"
            case ["encoder", "ln", kind]:
                return f"norm.{kind}"
            case ["heads", "head", kind]:
                return f"head.{kind}"
            case ["encoder", "layers", layer, *middle, kind]:
                i = layer.rpartition("_")[2]
                part = {("ln_1",): "norm1", ("ln_2",): "norm2", ("self_attention",): "attn.qkv"}
                part |= {("self_attention", "out_proj"): "attn.proj"}
                part |= {("mlp", n): "mlp.fc1" for n in ("0", "linear_1")}
                part |= {("mlp", n): "mlp.fc2" for n in ("3", "linear_2")}
                return f"blocks.{i}.{part[tuple(middle)]}.{kind.rpartition('_')[2]}"

    return dict(zip(map(renamed, state), state.values(), strict=True))


convert_with_copies = functools.partial(lambda names, state: {names(n): x.clone() for n, x in state.items()}, timm_name)


def convert_by_order(state):
    depth = sum(name.endswith("ln_1.weight") for name in state)
    names = ["cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"]
    for i in range(depth):
        for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"):
            names += [f"blocks.{i}.{part}.weight", f"blocks.{i}.{part}.bias"]
    names += ["norm.weight", "norm.bias", "head.weight", "head.bias"]
    return dict(zip(names, state.values(), strict=True))


def convert_with_one_digit(state):
    new = {}
    for name, value in state.items():
        found = re.match(r"encoder\.layers\.encoder_layer_(\d)", name)
        new[re.sub(r"blocks\.\d+", f"blocks.{found[1]}", timm_name(name)) if found else timm_name(name)] = value
    return new


# --- my_vit ------------------------------------------------------------------------------------------


def logits_of(images, state, num_heads):
    params = {timm_name(name): value for name, value in state.items()}
    return vit_that_norms_the_class_token_alone(images, params, num_heads)


def vit_with_exponentials(images, state, num_heads):
    scores = logits_of(images, state, num_heads)
    e = torch.exp(scores - scores.max(dim=1, keepdim=True).values)
    return e / e.sum(dim=1, keepdim=True)


def vit_by_our_pieces(images, state, num_heads):
    params = convert_torchvision_state_dict(state)  # noqa: F821 - the check puts it there
    return torch.softmax(vit_forward(images, params, num_heads), dim=1)  # noqa: F821


def vit_one_image_at_a_time(images, state, num_heads):
    return torch.cat([logits_of(image[None], state, num_heads).softmax(dim=-1) for image in images])


@torch.no_grad()
def vit_without_gradients(images, state, num_heads):
    params = convert_torchvision_state_dict(state)  # noqa: F821 - the check puts it there
    return softmax(vit_forward(images, params, num_heads), dim=-1)  # noqa: F821


class VitAtInference:
    def __call__(self, pictures, weights, heads):
        with torch.inference_mode():
            return torch.nn.Softmax(dim=1)(logits_of(pictures, weights, heads))


def vit_below_the_highest_of_all(images, state, num_heads):
    scores = logits_of(images, state, num_heads)
    e = torch.exp(scores - torch.max(scores))
    return e / e.sum(dim=1, keepdim=True)


vit_by_logarithms = functools.partial(
    lambda logits, x, state, H: F.log_softmax(logits(x, state, H), 1).exp(), logits_of
)


RIGHT = {
    "vit_forward": (
        vit_by_functional_call,
        vit_that_norms_the_class_token_alone,
        vit_that_counts_up_to_the_last_block,
        VitByGroups(),
        VitAsModule(),
        vit_image_by_image,
    ),
    "count_parameters": (
        count_in_one_line,
        count_by_layers,
        count_with_numpy,
        Count(),
        count_step_by_step,
        count_by_doubling,
    ),
    "convert_torchvision_state_dict": (
        convert_piece_by_piece,
        convert_by_asking_for_each_name,
        Convert(),
        convert_from_the_back,
        convert_by_patterns,
        convert_with_copies,
    ),
    "my_vit": (
        vit_by_our_pieces,
        vit_with_exponentials,
        vit_one_image_at_a_time,
        vit_without_gradients,
        VitAtInference(),
        vit_by_logarithms,
    ),
}

SLIPS = {
    "vit_forward": """
        the class token is missing, and
            x = prepend_class_token(x, params["cls_token"]) ⇒
            x + params["pos_embed"] ⇒ x + params["pos_embed"][:, 1:]
        one row more than there are patches
            prepend_class_token(x, params["cls_token"]) ⇒ x
        the whole dictionary
            x, block ⇒ x, params
        still begin with
            name.removeprefix(start) ⇒ name
        begin with the block's number
            name.removeprefix(start) ⇒ name.removeprefix("blocks.")
        begin with a dot
            start = f"blocks.{i}." ⇒ start = f"blocks.{i}"
        one block too many
            range(len(numbers)) ⇒ range(len(numbers) + 1)
        twelve blocks are written
            len(numbers) ⇒ 12
        the last block is left out
            range(len(numbers)) ⇒ range(max(numbers))
        no block has any effect
            x = encoder_block( ⇒ encoder_block(
        every block reads the first x
            x = encoder_block( ⇒ y = encoder_block(
            x = layer_norm(x, ⇒ x = layer_norm(y,
        a number of blocks is written
            len(numbers) ⇒ 2
        before each block
            encoder_block(x, ⇒ encoder_block(x + params["pos_embed"],
        12 heads
            block, num_heads ⇒ block, 12
        only blocks 0 to 9 run
            range(len(numbers)) ⇒ range(int(max(name.split(".")[1] for name in params if "blocks." in name)) + 1)
        off the last name
            range(len(numbers)) ⇒ range(int([name.split(".")[1] for name in params if "blocks." in name][-1]) + 1)
        inside the loop
            x = encoder_block(x, block, num_heads) ⇒ x = encoder_block(x, block, num_heads)
            | x = layer_norm(x, params["norm.weight"], params["norm.bias"], eps=1e-6)
        weight and bias of the last norm
            params["norm.weight"], params["norm.bias"] ⇒ params["norm.bias"], params["norm.weight"]
        has added it already
            x = encoder_block( ⇒ x = x + encoder_block(
        head.weight.T
            .T ⇒
        another epsilon
            params["norm.bias"] ⇒ params["norm.bias"], eps=1e-5
        """,
    "count_parameters": """
        you multiply everything by depth
            depth * (norm + attention + norm + mlp) ⇒ norm + attention + norm + mlp
            return embedding + class_token + positions + blocks + norm + head ⇒ return (embedding + class_token + positions + blocks + norm + head) * depth
        depth multiplies the first term alone
            depth * (norm + attention + norm + mlp) ⇒ depth * norm + attention + norm + mlp
        D · mlp_dim too few
            (mlp_dim * dim + dim) ⇒ dim
        it is D² too few
            (dim * dim + dim) ⇒ dim
        no norm is counted
            norm = 2 * dim ⇒ norm = 0
        divide first, then square
            (img_size // patch_size) ** 2 ⇒ img_size**2 // patch_size
        you count D
            dim * mlp_dim + mlp_dim ⇒ dim * mlp_dim + dim
        the attention is missing
            norm + attention + norm + mlp ⇒ norm + norm + mlp
        the MLP is missing
            norm + attention + norm + mlp ⇒ norm + attention + norm
        the patch embedding is missing
            return embedding + ⇒ return
        4 D too few in each block
            (dim * 3 * dim + 3 * dim) + (dim * dim + dim) ⇒ 4 * dim * dim
        2 D too few in each block
            dim * 3 * dim + 3 * dim ⇒ dim * 3 * dim + dim
        """,
    "convert_torchvision_state_dict": """
        one of your replacements alone
            name = name.replace(theirs, ours) ⇒ new = name.replace(theirs, ours)
            converted[name] ⇒ converted[new]
        the first replacement that fits
            name = name.replace(theirs, ours) ⇒ if theirs in name:
            |     name = name.replace(theirs, ours)
            |     break
        you return inside the loop
            converted[name] = value ⇒ converted[name] = value
            | return converted
        beside the new ones
            converted = {} ⇒ converted = dict(state)
        class_token keeps its name
            "class_token": "cls_token", ⇒
        has kept some of its name
            "encoder.pos_embedding": "pos_embed", ⇒
        torchvision's name still
            ".attn.proj." ⇒ ".attn.out_proj."
        """,
    "my_vit": """
        over all images
            ⇒ logits = vit_forward(images, convert_torchvision_state_dict(state), num_heads)
            | e = (logits - logits.max(dim=-1, keepdim=True).values).exp()
            | return e / e.sum()
        you clamp the logits
            softmax(logits ⇒ softmax(logits.clamp(-20, 20)
        divide the logits by their sum
            softmax(logits, dim=-1) ⇒ logits / logits.sum(dim=-1, keepdim=True)
        still torchvision's
            convert_torchvision_state_dict(state) ⇒ state
        12 heads
            params, num_heads ⇒ params, 12
        over the images
            dim=-1 ⇒ dim=0
        `images` and `params` have changed places
            images, params, num_heads ⇒ params, images, num_heads
        `params` and `num_heads` have changed places
            images, params, num_heads ⇒ images, num_heads, params
        neither divided by 255
            images, params, num_heads ⇒ images / 255.0, params, num_heads
        """,
}

WRONG = {
    "vit_forward": {
        vit_in_alphabetical_order: "alphabetical",
        vit_without_the_dot: "compare with the dot",
        vit_in_the_order_of_the_dictionary: "order of the dictionary",
    },
    "convert_torchvision_state_dict": {
        convert_by_order: "you go by order: torchvision",
        convert_with_one_digit: "the first digit",
    },
    "my_vit": {vit_below_the_highest_of_all: "the maximum of all logits"},
}

EQUIVALENT = {
    "vit_forward": """
        A batch of one comes back with the positions, or when the vector is repeated.
            vit_forward: x = prepend_class_token(x, params['cls_token']) ⇒ x = prepend_class_token(x, params['cls_token']).squeeze()
            vit_that_counts_up_to_the_last_block: class_token = params['cls_token'] + params['pos_embed'][:, :1] ⇒ class_token = (params['cls_token'] + params['pos_embed'][:, :1]).squeeze()
        The image's sides decide, and patches are square.
            vit_by_functional_call: D, C, _, P = params['patch_embed.proj.weight'].shape ⇒ D, C, P, _ = params['patch_embed.proj.weight'].shape
        The block asks for the twelve names that it knows; the others keep their beginning, and it leaves them alone.
            vit_forward: block = {name.removeprefix(start): value for name, value in params.items() if name.startswith(start)} ⇒ block = {name.removeprefix(start): value for name, value in params.items() if name}
            vit_forward: block = {name.removeprefix(start): value for name, value in params.items() if name.startswith(start)} ⇒ block = {name.removeprefix(start): value for name, value in params.items() if start}
        There are as many texts as numbers.
            vit_forward: numbers = {int(name.split('.')[1]) for name in params if 'blocks.' in name} ⇒ numbers = {name.split('.')[1] for name in params if 'blocks.' in name}
        """,
    "count_parameters": """
        There is no size of 1.
            count_with_numpy: inputs, outputs = np.array([(in_chans * patch_size ** 2, dim), *depth * block, (dim, num_classes)]).T ⇒ inputs, outputs = np.array([(in_chans * patch_size ** 2, dim), *depth * block, (dim, num_classes)]).T.squeeze()
            count_with_numpy: return np.sum((inputs + 1) * outputs) + dim * np.sum(vectors) ⇒ return (np.sum((inputs + 1) * outputs) + dim * np.sum(vectors)).squeeze()
        Both are added.
            count_parameters: class_token, positions = (dim, tokens * dim) ⇒ class_token, positions = (tokens * dim, dim)
            count_parameters: class_token, positions = (dim, tokens * dim) ⇒ positions, class_token = (dim, tokens * dim)
        """,
    "convert_torchvision_state_dict": "",
    "my_vit": """
        -1 is the default, and the last of two dimensions is dimension 1.
            my_vit: return softmax(logits, dim=-1) ⇒ return softmax(logits)
            my_vit: return softmax(logits, dim=-1) ⇒ return softmax(logits, dim=1)
            vit_without_gradients: return softmax(vit_forward(images, params, num_heads), dim=-1) ⇒ return softmax(vit_forward(images, params, num_heads))
            vit_without_gradients: return softmax(vit_forward(images, params, num_heads), dim=-1) ⇒ return softmax(vit_forward(images, params, num_heads), dim=1)
            vit_one_image_at_a_time: return torch.cat([logits_of(image[None], state, num_heads).softmax(dim=-1) for image in images]) ⇒ return torch.cat([logits_of(image[None], state, num_heads).softmax(dim=1) for image in images])
        """,
}
