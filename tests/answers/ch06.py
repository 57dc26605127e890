"""Answers to the exercises of chapter 06, as readers write them.

RIGHT: implementations other than the chapter's own. WRONG: plausible mistakes, each with words of the
hint that it must get. They are written as a reader would, not as the records imitate them.
"""

import re

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

    D, C, P, _ = params["patch_embed.proj.weight"].shape
    hidden = params["blocks.0.mlp.fc1.weight"].shape[0]
    config = ViTConfig(
        img_size=tuple(images.shape[-2:]),
        patch_size=P,
        in_chans=C,
        num_classes=len(params["head.bias"]),
        embed_dim=D,
        depth=number_of_blocks(params),
        num_heads=num_heads,
        mlp_ratio=(hidden + 0.5) / D,  # int() rounds down
    )
    with torch.device("meta"):
        model = VisionTransformer(config)
    return torch.func.functional_call(model, params, (images,))


def vit_that_norms_the_class_token_alone(images, params, num_heads):
    x = middle_of(start_of(images, params), params, num_heads)
    cls = end_norm(x[:, 0], params)  # the norm works token by token: the same
    return torch.einsum("bd,cd->bc", cls, params["head.weight"]) + params["head.bias"]


def vit_that_counts_up_while_there_are_blocks(images, params, num_heads):
    class_token = params["cls_token"] + params["pos_embed"][:, :1]
    patches = patches_of(images, params) + params["pos_embed"][:, 1:]
    x = torch.cat([class_token.repeat(len(images), 1, 1), patches], dim=1)
    i = 0
    while f"blocks.{i}.norm1.weight" in params:
        x = block_of(x, params_of_block(params, i), num_heads)
        i += 1
    return F.linear(end_norm(x, params), params["head.weight"], params["head.bias"])[:, 0]


def vit_without_the_last_norm(images, params, num_heads):
    x = patch_embedding(images, params["patch_embed.proj.weight"], params["patch_embed.proj.bias"])  # noqa: F821
    x = prepend_class_token(x, params["cls_token"]) + params["pos_embed"]  # noqa: F821
    depth = 1 + max(int(name.split(".")[1]) for name in params if name.startswith("blocks."))
    for i in range(depth):
        start = f"blocks.{i}."
        block = {name.removeprefix(start): p for name, p in params.items() if name.startswith(start)}
        x = encoder_block(x, block, num_heads)  # noqa: F821
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]


def vit_with_pytorchs_eps_at_the_end(images, params, num_heads):
    x = middle_of(start_of(images, params), params, num_heads)
    x = F.layer_norm(x, x.shape[-1:], params["norm.weight"], params["norm.bias"])
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]


def vit_with_the_norm_in_front(images, params, num_heads):
    x = end_norm(start_of(images, params), params)
    x = middle_of(x, params, num_heads)
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]


def vit_without_positions(images, params, num_heads):
    x = patches_of(images, params)
    x = torch.cat([params["cls_token"].expand(x.shape[0], 1, -1), x], dim=1)
    x = end_norm(middle_of(x, params, num_heads), params)
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]


def vit_with_positions_for_patches_only(images, params, num_heads):
    x = patches_of(images, params) + params["pos_embed"][:, 1:]
    x = torch.cat([params["cls_token"].expand(x.shape[0], 1, -1), x], dim=1)
    x = end_norm(middle_of(x, params, num_heads), params)
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]


def vit_with_the_first_positions_for_the_patches(images, params, num_heads):
    x = patches_of(images, params)
    x = x + params["pos_embed"][:, : x.shape[1]]
    x = torch.cat([params["cls_token"].expand(x.shape[0], 1, -1), x], dim=1)
    x = end_norm(middle_of(x, params, num_heads), params)
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]


def vit_that_adds_all_positions_to_the_patches(images, params, num_heads):
    x = patches_of(images, params) + params["pos_embed"]
    x = torch.cat([params["cls_token"].expand(x.shape[0], 1, -1), x], dim=1)
    x = end_norm(middle_of(x, params, num_heads), params)
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]


def vit_with_the_class_token_last(images, params, num_heads):
    x = patches_of(images, params)
    x = torch.cat([x, params["cls_token"].expand(x.shape[0], 1, -1)], dim=1) + params["pos_embed"]
    x = end_norm(middle_of(x, params, num_heads), params)
    return x[:, -1] @ params["head.weight"].T + params["head.bias"]


def vit_with_the_class_token_last_reading_the_first(images, params, num_heads):
    x = patches_of(images, params)
    x = torch.cat([x, params["cls_token"].expand(x.shape[0], 1, -1)], dim=1) + params["pos_embed"]
    x = end_norm(middle_of(x, params, num_heads), params)
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]


def vit_with_mean_pooling(images, params, num_heads):
    x = end_norm(middle_of(start_of(images, params), params, num_heads), params)
    return x.mean(dim=1) @ params["head.weight"].T + params["head.bias"]


def vit_with_mean_pooling_of_the_patches(images, params, num_heads):
    x = end_norm(middle_of(start_of(images, params), params, num_heads), params)
    return x[:, 1:].mean(dim=1) @ params["head.weight"].T + params["head.bias"]


def vit_that_reads_the_first_patch(images, params, num_heads):
    x = end_norm(middle_of(start_of(images, params), params, num_heads), params)
    return x[:, 1] @ params["head.weight"].T + params["head.bias"]


def vit_that_reads_every_token(images, params, num_heads):
    x = end_norm(middle_of(start_of(images, params), params, num_heads), params)
    return x @ params["head.weight"].T + params["head.bias"]


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


def vit_with_one_block_too_few(images, params, num_heads):
    x = start_of(images, params)
    for i in range(max(int(name.split(".")[1]) for name in params if name.startswith("blocks."))):
        x = block_of(x, params_of_block(params, i), num_heads)
    x = end_norm(x, params)
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]


def vit_that_starts_at_block_1(images, params, num_heads):
    x = start_of(images, params)
    for i in range(1, number_of_blocks(params)):
        x = block_of(x, params_of_block(params, i), num_heads)
    x = end_norm(x, params)
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]


def vit_with_one_block_for_all(images, params, num_heads):
    x = start_of(images, params)
    block = params_of_block(params, 0)
    for _ in range(number_of_blocks(params)):
        x = block_of(x, block, num_heads)
    x = end_norm(x, params)
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]


def vit_with_one_head(images, params, num_heads):
    x = start_of(images, params)
    for i in range(number_of_blocks(params)):
        x = block_of(x, params_of_block(params, i), 1)
    x = end_norm(x, params)
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]


def vit_with_12_heads(images, params, num_heads):
    x = start_of(images, params)
    for i in range(number_of_blocks(params)):
        x = encoder_block(x, params_of_block(params, i), 12)  # noqa: F821
    return F.linear(end_norm(x, params)[:, 0], params["head.weight"], params["head.bias"])


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


def vit_from_the_last_block_to_the_first(images, params, num_heads):
    x = start_of(images, params)
    for i in reversed(range(number_of_blocks(params))):
        x = block_of(x, params_of_block(params, i), num_heads)
    return F.linear(end_norm(x, params)[:, 0], params["head.weight"], params["head.bias"])


def vit_that_hands_on_all_parameters(images, params, num_heads):
    x = start_of(images, params)
    for _ in range(number_of_blocks(params)):
        x = encoder_block(x, params, num_heads)  # noqa: F821
    return F.linear(end_norm(x, params)[:, 0], params["head.weight"], params["head.bias"])


def vit_with_uncut_names(images, params, num_heads):
    x = start_of(images, params)
    for i in range(number_of_blocks(params)):
        block = {name: p for name, p in params.items() if name.startswith(f"blocks.{i}.")}
        x = encoder_block(x, block, num_heads)  # noqa: F821
    return F.linear(end_norm(x, params)[:, 0], params["head.weight"], params["head.bias"])


def vit_that_leaves_a_dot(images, params, num_heads):
    x = start_of(images, params)
    for i in range(number_of_blocks(params)):
        start = f"blocks.{i}"
        block = {n.removeprefix(start): p for n, p in params.items() if n.startswith(start + ".")}
        x = encoder_block(x, block, num_heads)  # noqa: F821
    return F.linear(end_norm(x, params)[:, 0], params["head.weight"], params["head.bias"])


def vit_with_twelve_blocks(images, params, num_heads):
    x = start_of(images, params)
    for i in range(12):
        x = encoder_block(x, params_of_block(params, i), num_heads)  # noqa: F821
    return F.linear(end_norm(x, params)[:, 0], params["head.weight"], params["head.bias"])


def vit_of_the_first_image(images, params, num_heads):
    x = end_norm(middle_of(start_of(images, params), params, num_heads), params)
    return x[0] @ params["head.weight"].T + params["head.bias"]


def vit_that_squeezes(images, params, num_heads):
    x = end_norm(middle_of(start_of(images, params), params, num_heads), params)
    return (x[:, :1] @ params["head.weight"].T + params["head.bias"]).squeeze()


def vit_without_the_heads_bias(images, params, num_heads):
    x = end_norm(middle_of(start_of(images, params), params, num_heads), params)
    return x[:, 0] @ params["head.weight"].T


def vit_without_the_transpose(images, params, num_heads):
    x = end_norm(middle_of(start_of(images, params), params, num_heads), params)
    return x[:, 0] @ params["head.weight"] + params["head.bias"]


def vit_with_softmax(images, params, num_heads):
    x = end_norm(middle_of(start_of(images, params), params, num_heads), params)
    return torch.softmax(x[:, 0] @ params["head.weight"].T + params["head.bias"], dim=-1)


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


def count_without_the_class_token(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + (N + 1) * dim
    block = 4 * dim * dim + 2 * dim * mlp_dim + 9 * dim + mlp_dim
    return stem + depth * block + 2 * dim + dim * num_classes + num_classes


def count_without_class_token_and_its_position(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + N * dim
    block = 4 * dim * dim + 2 * dim * mlp_dim + 9 * dim + mlp_dim
    return stem + depth * block + 2 * dim + dim * num_classes + num_classes


def count_without_positions(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    stem = in_chans * patch_size**2 * dim + dim + dim
    block = 4 * dim * dim + 2 * dim * mlp_dim + 9 * dim + mlp_dim
    return stem + depth * block + 2 * dim + dim * num_classes + num_classes


def count_for_grey_patches(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = patch_size**2 * dim + dim + dim + (N + 1) * dim
    block = 4 * dim * dim + 2 * dim * mlp_dim + 9 * dim + mlp_dim
    return stem + depth * block + 2 * dim + dim * num_classes + num_classes


def count_without_qkv_bias(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 1) * dim
    block = 3 * dim * dim + dim * dim + dim + 2 * dim * mlp_dim + mlp_dim + dim + 4 * dim
    return stem + depth * block + 2 * dim + dim * num_classes + num_classes


def count_without_proj(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 1) * dim
    block = 3 * dim * dim + 3 * dim + 2 * dim * mlp_dim + mlp_dim + dim + 4 * dim
    return stem + depth * block + 2 * dim + dim * num_classes + num_classes


def count_without_mlp_biases(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 1) * dim
    block = 4 * dim * dim + 4 * dim + 2 * dim * mlp_dim + 4 * dim
    return stem + depth * block + 2 * dim + dim * num_classes + num_classes


def count_without_the_second_bias_of_the_mlp(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 1) * dim
    block = 4 * dim * dim + 4 * dim + 2 * dim * mlp_dim + mlp_dim + 4 * dim
    return stem + depth * block + 2 * dim + dim * num_classes + num_classes


def count_without_the_first_bias_of_the_mlp(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 1) * dim
    block = 4 * dim * dim + 4 * dim + 2 * dim * mlp_dim + dim + 4 * dim
    return stem + depth * block + 2 * dim + dim * num_classes + num_classes


def count_with_a_token_too_many(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 2) * dim
    block = 4 * dim * dim + 2 * dim * mlp_dim + 9 * dim + mlp_dim
    return stem + depth * block + 2 * dim + dim * num_classes + num_classes


def count_with_three_norms_a_block(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 1) * dim
    block = 4 * dim * dim + 2 * dim * mlp_dim + 11 * dim + mlp_dim
    return stem + depth * block + dim * num_classes + num_classes


def count_with_a_block_too_many(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    return count_in_one_line(img_size, patch_size, in_chans, num_classes, dim, depth + 1, mlp_dim)


def count_with_two_wide_biases(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 1) * dim
    block = 4 * dim * dim + 4 * dim + 2 * (dim * mlp_dim + mlp_dim) + 4 * dim
    return stem + depth * block + 2 * dim + dim * num_classes + num_classes


def count_with_one_norm_a_block(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 1) * dim
    block = 4 * dim * dim + 4 * dim + 2 * dim * mlp_dim + mlp_dim + dim + 2 * dim
    return stem + depth * block + 2 * dim + dim * num_classes + num_classes


def count_with_norms_of_one_vector(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 1) * dim
    block = 4 * dim * dim + 4 * dim + 2 * dim * mlp_dim + mlp_dim + dim + 2 * dim
    return stem + depth * block + dim + dim * num_classes + num_classes


def count_without_biases(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + (N + 1) * dim
    block = 4 * dim * dim + 2 * dim * mlp_dim + 4 * dim
    return stem + depth * block + 2 * dim + dim * num_classes


def count_without_head_bias(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 1) * dim
    block = 4 * dim * dim + 2 * dim * mlp_dim + 9 * dim + mlp_dim
    return stem + depth * block + 2 * dim + dim * num_classes


def count_of_one_block(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 1) * dim
    block = 4 * dim * dim + 2 * dim * mlp_dim + 9 * dim + mlp_dim
    return stem + block + 2 * dim + dim * num_classes + num_classes


def count_with_four_times_the_width(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size // patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 1) * dim
    return stem + depth * (12 * dim * dim + 13 * dim) + 2 * dim + dim * num_classes + num_classes


def count_with_one_side(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = img_size // patch_size
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 1) * dim
    block = 4 * dim * dim + 2 * dim * mlp_dim + 9 * dim + mlp_dim
    return stem + depth * block + 2 * dim + dim * num_classes + num_classes


def count_as_a_float(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    N = (img_size / patch_size) ** 2
    stem = in_chans * patch_size**2 * dim + dim + dim + (N + 1) * dim
    block = 4 * dim * dim + 2 * dim * mlp_dim + 9 * dim + mlp_dim
    return stem + depth * block + 2 * dim + dim * num_classes + num_classes


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
    i = 0
    while f"encoder.layers.encoder_layer_{i}.ln_1.weight" in state:
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
        i += 1
    for kind in ("weight", "bias"):
        new[f"norm.{kind}"] = state[f"encoder.ln.{kind}"]
        new[f"head.{kind}"] = state[f"heads.head.{kind}"]
    return new


def convert_nothing(state):
    return {name: value for name, value in state.items()}


def convert_by_order(state):
    depth = sum(name.endswith("ln_1.weight") for name in state)
    names = ["cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"]
    for i in range(depth):
        for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"):
            names += [f"blocks.{i}.{part}.weight", f"blocks.{i}.{part}.bias"]
    names += ["norm.weight", "norm.bias", "head.weight", "head.bias"]
    return dict(zip(names, state.values(), strict=True))


def convert_with_norms_swapped(state):
    swap = {"norm1": "norm2", "norm2": "norm1"}
    return {re.sub("norm[12]", lambda m: swap[m[0]], timm_name(name)): value for name, value in state.items()}


def convert_with_in_proj_transposed(state):
    return {timm_name(name): value.T if name.endswith("in_proj_weight") else value for name, value in state.items()}


def convert_with_all_matrices_transposed(state):
    return {timm_name(name): value.t() if value.dim() == 2 else value for name, value in state.items()}


def convert_with_flat_positions(state):
    new = {timm_name(name): value for name, value in state.items()}
    new["pos_embed"] = new["pos_embed"].squeeze(0)
    return new


def convert_with_split_qkv(state):
    new = {}
    for name, value in state.items():
        name = timm_name(name)
        if ".qkv." in name:
            q, k, v = value.chunk(3)
            new[name.replace("qkv", "q")] = q
            new[name.replace("qkv", "k")] = k
            new[name.replace("qkv", "v")] = v
        else:
            new[name] = value
    return new


def convert_counting_from_1(state):
    return {
        re.sub(r"blocks\.(\d+)", lambda m: f"blocks.{int(m[1]) + 1}", timm_name(name)): value
        for name, value in state.items()
    }


def convert_with_one_digit(state):
    new = {}
    for name, value in state.items():
        found = re.match(r"encoder\.layers\.encoder_layer_(\d)", name)
        new[re.sub(r"blocks\.\d+", f"blocks.{found[1]}", timm_name(name)) if found else timm_name(name)] = value
    return new


def convert_without_the_last_norm(state):
    return {timm_name(name): value for name, value in state.items() if not name.startswith("encoder.ln")}


def convert_with_encoder_ln_left(state):
    return {name if name.startswith("encoder.ln") else timm_name(name): value for name, value in state.items()}


def convert_with_encoder_norm(state):
    return {
        name.replace("ln", "norm") if name.startswith("encoder.ln") else timm_name(name): value
        for name, value in state.items()
    }


def convert_without_the_head(state):
    return {timm_name(name): value for name, value in state.items() if "heads" not in name}


def convert_with_half_a_head(state):
    return {name.replace("heads", "head") if "heads" in name else timm_name(name): v for name, v in state.items()}


def convert_published_files_only(state):
    new = {}
    for name, value in state.items():
        found = re.search(r"encoder_layer_(\d+)\.(mlp\.[03]\.\w+)", name)
        new[f"blocks.{found[1]}.{found[2]}" if found else timm_name(name)] = value
    return new


def convert_models_in_memory_only(state):
    new = {}
    for name, value in state.items():
        found = re.search(r"encoder_layer_(\d+)\.(mlp\.linear_[12]\.\w+)", name)
        new[f"blocks.{found[1]}.{found[2]}" if found else timm_name(name)] = value
    return new


def convert_without_a_dot(state):
    return {
        timm_name(name.replace("in_proj_", "IN_PROJ")).replace("self_attention.IN_PROJ", "attn.qkv"): value
        for name, value in state.items()
    }


def convert_with_an_underscore(state):
    return {timm_name(name).replace("qkv.", "qkv_"): value for name, value in state.items()}


def convert_with_the_mlp_swapped(state):
    new = {}
    for name, value in state.items():
        name = name.replace("mlp.linear_1", "mlp.fc2").replace("mlp.linear_2", "mlp.fc1")
        new[timm_name(name.replace("mlp.0", "mlp.fc2").replace("mlp.3", "mlp.fc1"))] = value
    return new


def convert_to_pairs(state):
    return [(timm_name(name), value) for name, value in state.items()]


def convert_detached(state):
    return {timm_name(name): value.data for name, value in state.items()}


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


def vit_logits(images, state, num_heads):
    return logits_of(images, state, num_heads)


def vit_softmax_over_the_images(images, state, num_heads):
    return torch.softmax(logits_of(images, state, num_heads), dim=0)


def vit_softmax_twice(images, state, num_heads):
    return logits_of(images, state, num_heads).softmax(-1).softmax(-1)


def vit_log_softmax(images, state, num_heads):
    return F.log_softmax(logits_of(images, state, num_heads), dim=-1)


def vit_sigmoid(images, state, num_heads):
    return torch.sigmoid(logits_of(images, state, num_heads))


def vit_best_class(images, state, num_heads):
    return logits_of(images, state, num_heads).softmax(-1).argmax(dim=-1)


def vit_best_probability(images, state, num_heads):
    return logits_of(images, state, num_heads).softmax(-1).max(dim=-1).values


def vit_first_image(images, state, num_heads):
    return logits_of(images[:1], state, num_heads)[0].softmax(-1)


def vit_unconverted(images, state, num_heads):
    return torch.softmax(vit_forward(images, state, num_heads), dim=-1)  # noqa: F821


def vit_single_head(images, state, num_heads):
    return logits_of(images, state, 1).softmax(-1)


RIGHT = {
    "vit_forward": (
        vit_by_functional_call,
        vit_that_norms_the_class_token_alone,
        vit_that_counts_up_while_there_are_blocks,
    ),
    "count_parameters": (count_in_one_line, count_by_layers),
    "convert_torchvision_state_dict": (convert_piece_by_piece, convert_by_asking_for_each_name),
    "my_vit": (vit_by_our_pieces, vit_with_exponentials, vit_one_image_at_a_time),
}

WRONG = {
    "vit_forward": {
        vit_without_the_last_norm: "the last norm is missing",
        vit_with_pytorchs_eps_at_the_end: "another epsilon",
        vit_with_the_norm_in_front: "before the blocks",
        vit_without_positions: "the positions are missing",
        vit_with_positions_for_patches_only: "gets no position",
        vit_with_the_first_positions_for_the_patches: "its neighbour's",
        vit_that_adds_all_positions_to_the_patches: "one row more",
        vit_with_the_class_token_last: "row 0 of pos_embed",
        vit_with_the_class_token_last_reading_the_first: "you read token 0, a patch",
        vit_with_mean_pooling: "average all tokens",
        vit_with_mean_pooling_of_the_patches: "average the patches",
        vit_that_reads_the_first_patch: "token 1 is the first patch",
        vit_that_reads_every_token: "every token gets an answer",
        vit_in_alphabetical_order: "alphabetical",
        vit_without_the_dot: "compare with the dot",
        vit_with_one_block_too_few: "the last block is left out",
        vit_that_starts_at_block_1: "block 0 is left out",
        vit_with_one_block_for_all: "every block runs",
        vit_with_one_head: "all heads are one",
        vit_with_12_heads: "12 heads",
        vit_in_the_order_of_the_dictionary: "order of the dictionary",
        vit_from_the_last_block_to_the_first: "from the last to the first",
        vit_that_hands_on_all_parameters: "the whole dictionary",
        vit_with_uncut_names: "still begin with",
        vit_that_leaves_a_dot: "begin with a dot",
        vit_with_twelve_blocks: "twelve blocks are written",
        vit_of_the_first_image: "x[0] is the first image",
        vit_that_squeezes: "squeeze()",
        vit_without_the_heads_bias: "head's bias is missing",
        vit_without_the_transpose: "head.weight.T",
        vit_with_softmax: "you return probabilities",
    },
    "count_parameters": {
        count_without_the_class_token: "D too few",
        count_without_class_token_and_its_position: "2 D too few",
        count_without_positions: "the positions are missing",
        count_for_grey_patches: "in_chans channels",
        count_without_qkv_bias: "q, k and v",
        count_without_the_second_bias_of_the_mlp: "the MLP's second layer, or one vector",
        count_without_the_first_bias_of_the_mlp: "the MLP's first layer",
        count_with_a_token_too_many: "it is D too many:",
        count_with_three_norms_a_block: "is there once",
        count_with_a_block_too_many: "one block too many",
        count_with_two_wide_biases: "you count mlp_dim",
        count_without_proj: "output projection is missing: D²",
        count_without_mlp_biases: "the MLP's biases",
        count_with_one_norm_a_block: "one of the two norms",
        count_with_norms_of_one_vector: "a scale and a shift",
        count_without_biases: "no linear layer",
        count_without_head_bias: "the head has a bias",
        count_of_one_block: "you count one block",
        count_with_four_times_the_width: "need not be 4 D",
        count_with_one_side: "square the number",
        count_as_a_float: "gives a float",
    },
    "convert_torchvision_state_dict": {
        convert_nothing: "still torchvision's",
        convert_by_order: "you go by order",
        convert_with_norms_swapped: "norm1 and norm2 are swapped",
        convert_with_in_proj_transposed: "transpose in_proj_weight",
        convert_with_all_matrices_transposed: "transpose every matrix",
        convert_with_flat_positions: "first dimension of the positions",
        convert_with_split_qkv: "split in_proj",
        convert_counting_from_1: "numbered from 1",
        convert_with_one_digit: "the first digit",
        convert_without_the_last_norm: "the last norm is missing",
        convert_with_encoder_ln_left: "encoder.ln keeps its name",
        convert_with_encoder_norm: "encoder.norm",
        convert_without_the_head: "the head is missing",
        convert_with_half_a_head: "head.head",
        convert_published_files_only: "mlp.0 and mlp.3 are left",
        convert_models_in_memory_only: "mlp.linear_1 and mlp.linear_2 are left",
        convert_without_a_dot: "attn.qkvweight",
        convert_with_an_underscore: "attn.qkv_weight",
        convert_with_the_mlp_swapped: "fc1 and fc2 are swapped",
        convert_to_pairs: "you return pairs",
        convert_detached: "no gradient",
    },
    "my_vit": {
        vit_logits: "these are the logits",
        vit_softmax_over_the_images: "over the images",
        vit_softmax_twice: "softmax twice",
        vit_log_softmax: "logarithms",
        vit_sigmoid: "a sigmoid",
        vit_best_class: "the best class",
        vit_best_probability: "the highest probability",
        vit_first_image: "the first image's",
        vit_unconverted: "still torchvision's",
        vit_single_head: "a single head",
    },
}
