"""Bring weights under one set of names, timm's, whichever library wrote them.

Four ways of naming the same tensors are known: timm's own, torchvision's, Hugging Face's (the files
on the hub and the names in memory since transformers 5) and Google's (JAX). Chapter 06.
"""

import re

import torch

State = dict[str, torch.Tensor]

# What training scripts and wrappers put before every name.
WRAPPERS = ("module.", "_orig_mod.", "model.")

# A tensor that only this library's files have.
MARKERS = {
    "timm": "patch_embed.proj.weight",
    "torchvision": "conv_proj.weight",
    "huggingface": "embeddings.patch_embeddings.projection.weight",
    "google": "embedding/kernel",
}

TORCHVISION = (
    (r"conv_proj\.", "patch_embed.proj."),
    (r"class_token", "cls_token"),
    (r"encoder\.pos_embedding", "pos_embed"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"ln_1\.", "norm1."),
    (r"ln_2\.", "norm2."),
    (r"self_attention\.in_proj_", "attn.qkv."),
    (r"self_attention\.out_proj\.", "attn.proj."),
    (r"mlp\.(linear_1|0)\.", "mlp.fc1."),  # linear_1 in the published files, 0 in memory
    (r"mlp\.(linear_2|3)\.", "mlp.fc2."),
    (r"encoder\.ln\.", "norm."),
    (r"^heads\.(?:head\.|\d+\.)?(?=weight$|bias$)", "head."),  # also where `model.heads` was replaced
    (r"heads\.pre_logits\.", "pre_logits.fc."),
)

HUGGINGFACE = (
    (r"^vit\.", ""),
    (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"^(?:encoder\.layer|layers)\.(\d+)\.", r"blocks.\1."),
    (r"attention\.attention\.(query|key|value)\.", r"attn.\1."),
    (r"attention\.q_proj\.", "attn.query."),
    (r"attention\.k_proj\.", "attn.key."),
    (r"attention\.v_proj\.", "attn.value."),
    (r"attention\.(?:output\.dense|o_proj)\.", "attn.proj."),
    (r"layernorm_before\.", "norm1."),
    (r"layernorm_after\.", "norm2."),
    (r"intermediate\.dense\.", "mlp.fc1."),
    (r"(?<=\d\.)output\.dense\.", "mlp.fc2."),
    (r"^layernorm\.", "norm."),
    (r"^pooler\.dense\.", "pre_logits.fc."),
    (r"^classifier\.", "head."),
)

GOOGLE = (
    (r"^(?:opt/target/|params/)", ""),
    (r"^embedding/", "patch_embed.proj/"),
    (r"^cls$", "cls_token"),
    (r"^Transformer/posembed_input/pos_embedding", "pos_embed"),
    (r"^Transformer/encoderblock_(\d+)/", r"blocks.\1."),
    (r"LayerNorm_0/", "norm1/"),
    (r"LayerNorm_2/", "norm2/"),
    (r"MultiHeadDotProductAttention_1/(query|key|value)/", r"attn.\1/"),
    (r"MultiHeadDotProductAttention_1/out/", "attn.proj/"),
    (r"MlpBlock_3/Dense_0/", "mlp.fc1/"),
    (r"MlpBlock_3/Dense_1/", "mlp.fc2/"),
    (r"^Transformer/encoder_norm/", "norm/"),
    (r"^pre_logits/", "pre_logits.fc/"),
    (r"/(?:kernel|scale)$", ".weight"),
    (r"/bias$", ".bias"),
)

# JAX multiplies from the other side and keeps the heads apart. (which tensors, their number of axes, what to do)
FROM_JAX = (
    (r"patch_embed\.proj\.weight", 4, lambda x: x.permute(3, 2, 0, 1)),  # (P, P, C, D) -> (D, C, P, P)
    (r"attn\.(?:query|key|value)\.weight", 3, lambda x: x.flatten(1).T),  # (D, H, d) -> (D, D)
    (r"attn\.(?:query|key|value)\.bias", 2, torch.flatten),  # (H, d) -> (D,)
    (r"attn\.proj\.weight", 3, lambda x: x.flatten(0, 1).T),  # (H, d, D) -> (D, D)
    (r"(?:mlp\.fc1|mlp\.fc2|pre_logits\.fc|^head)\.weight", 2, torch.t),  # (in, out) -> (out, in)
)


def to_timm_names(weights: State) -> tuple[str, State]:
    """Rename, reshape and fuse until every tensor stands under timm's name, in timm's shape.

    Args:
        weights: {name: tensor} as `course_lib.weights.formats.read_weights` gives it.

    Returns:
        (library, {timm's name: tensor}); library is "timm", "torchvision", "huggingface" or "google".

    Raises:
        ValueError: no name is one that a Vision Transformer has, or a part of q, k and v is missing.
    """
    weights = _unwrap(weights)
    library = _library(weights)
    if library == "torchvision":
        weights = _rename(weights, TORCHVISION)
    elif library == "huggingface":
        weights = _fuse_qkv(_rename(weights, HUGGINGFACE))
    elif library == "google":
        weights = _fuse_qkv({name: _from_jax(name, x) for name, x in _rename(weights, GOOGLE).items()})
    return library, weights


def _unwrap(weights: State) -> State:
    for prefix in WRAPPERS * len(WRAPPERS):  # they can be nested: module._orig_mod.
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights


def _library(weights: State) -> str:
    for library, marker in MARKERS.items():
        if any(name == marker or name.endswith(("." + marker, "/" + marker)) for name in weights):
            return library
    names = ", ".join(list(weights)[:3])
    raise ValueError(
        f"0 of {len(weights)} names are those of a Vision Transformer (the first are {names}): these weights belong to another model."
    )


def _rename(weights: State, rules: tuple[tuple[str, str], ...]) -> State:
    renamed = {}
    for name, tensor in weights.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        if name in renamed:
            raise ValueError(f"two of its tensors are {name} in timm's names: use a file with one set of names.")
        renamed[name] = tensor
    return renamed


def _from_jax(name: str, x: torch.Tensor) -> torch.Tensor:
    for pattern, axes, change in FROM_JAX:
        if re.search(pattern + "$", name):
            if x.ndim != axes:
                raise ValueError(f"{name} has shape {tuple(x.shape)} and should have {axes} axes: use another file.")
            return change(x)
    return x


def num_heads(weights: State) -> int | None:
    """How many heads the weights are for, where their layout shows it (Google's does), else None.

    Args:
        weights: {name: tensor} as `course_lib.weights.formats.read_weights` gives it.

    Raises:
        ValueError: the parts of the attention do not agree with each other.
    """
    heads = set()
    for name, x in weights.items():
        if match := re.search(r"MultiHeadDotProductAttention_1/(query|key|value|out)/(kernel|bias)$", name):
            if match[1] == "out" and match[2] == "kernel":
                heads.add(tuple(x.shape[:2]))  # (H, d, D)
            elif match[1] != "out":
                heads.add(tuple(x.shape[-2:]))  # (D, H, d) or (H, d)
    if len(heads) > 1:
        raise ValueError(
            f"its attention has (heads, width) of {' and '.join(map(str, sorted(heads)))} at once: use another file."
        )
    return heads.pop()[0] if heads else None


def _fuse_qkv(weights: State) -> State:
    """Lay query, key and value on top of each other, as timm does: three (D, D) -> (3D, D)."""
    fused = {}
    for name, tensor in weights.items():
        part = re.fullmatch(r"(blocks\.\d+\.attn\.)(?:query|key|value)(\.weight|\.bias)", name)
        if part:
            names = [part[1] + which + part[2] for which in ("query", "key", "value")]
            fused[f"{part[1]}qkv{part[2]}"] = _join(weights, names)
        else:
            fused[name] = tensor
    return fused


def _join(weights: State, names: list[str]) -> torch.Tensor:
    missing = [name for name in names if name not in weights]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing, of {', '.join(names)}: the file is not complete.")
    shapes = [tuple(weights[name].shape) for name in names]
    if len(set(shapes)) > 1 or not shapes[0]:
        raise ValueError(
            f"{', '.join(names)} have shapes {', '.join(map(str, shapes))}, which do not fit: use another file."
        )
    return torch.cat([weights[name] for name in names])
