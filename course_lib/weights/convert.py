"""Bring weights under one set of names, timm's, whichever library wrote them.

A file may hold more than the model: a wrapper's prefix, a decoder, a text tower, a teacher beside a student. The model
is found by one tensor that each has (`names.MARKERS`), and what is left out is said. Chapter 06.
"""

import re

import torch

from course_lib.weights.names import (
    HEADS_BESIDE,
    INNER_WRAPPERS,
    MARKERS,
    META,
    PREFERRED,
    RULES,
    TRAINING_PARTS,
    Rules,
)

State = dict[str, torch.Tensor]

CLIP = ("openai", "huggingface/clip")

# JAX multiplies from the other side and keeps the heads apart. (which tensors, their number of axes, what to do)
FROM_JAX = (
    (r"patch_embed\.proj\.weight", 4, lambda x: x.permute(3, 2, 0, 1)),  # (P, P, C, D) -> (D, C, P, P)
    (r"(?:attn|attn_pool)\.(?:query|key|value)\.weight", 3, lambda x: x.flatten(1).T),  # (D, H, d) -> (D, D)
    (r"(?:attn|attn_pool)\.(?:query|key|value)\.bias", 2, torch.flatten),  # (H, d) -> (D,)
    (r"(?:attn|attn_pool)\.proj\.weight", 3, lambda x: x.flatten(0, 1).T),  # (H, d, D) -> (D, D)
    (r"(?:mlp\.fc1|mlp\.fc2|pre_logits\.fc|^head)\.weight", 2, torch.t),  # (in, out) -> (out, in)
)

# One tensor in timm's names, several in others', to be laid on top of each other.
JOINED = (
    (r"(.*\.attn\.)(?:query|key|value)(\.weight|\.bias)", "qkv", ("query", "key", "value")),
    (r"(.*\.mlp\.)(?:gate|up)(\.weight|\.bias)", "fc1", ("gate", "up")),
    (r"(attn_pool\.)(?:key|value)(\.weight|\.bias)", "kv", ("key", "value")),
)


def to_timm_names(weights: State, part: str | None = None, notes: list[str] | None = None) -> tuple[str, State]:
    """Rename, reshape and fuse until every tensor stands under timm's name, in timm's shape.

    Args:
        weights: {name: tensor} as `course_lib.weights.formats.read_weights` gives it.
        part: which of several models in it, by a part of the names, such as "student"; None: see `names.PREFERRED`.
        notes: gets a line for each thing that was chosen, left out or filled in; None where nobody reads them.

    Returns:
        (library, {timm's name: tensor}); library is one of `names.OWNERS`: "timm", "torchvision", "huggingface", ...

    Raises:
        ValueError: no name is one that a Vision Transformer has, there are several and none is preferred, or a part of
            q, k and v is missing.

    Source: the libraries' own code, release by release. Chapter 06.
    """
    notes = [] if notes is None else notes
    weights = {re.sub(INNER_WRAPPERS, "", name): tensor for name, tensor in weights.items()}
    library, prefix = _find_model(weights, part, notes)
    weights = _take_model(weights, library, prefix, notes)
    rules, owner = RULES[library], library
    if library == "timm" and any(re.match(META, name) for name in weights):
        owner = "meta"
    weights = _rename(_unstack(_without_training_parts(weights, notes)), rules)
    if library == "google":
        weights = {name: _from_jax(name, x) for name, x in weights.items()}
    weights = _join_parts(_ungated(weights), notes)
    return owner, _as_vision_transformer(weights, library, notes) if library in CLIP else weights


def _find_model(weights: State, part: str | None, notes: list[str]) -> tuple[str, str]:
    """(which library's names, what stands before them) of the model that is wanted."""
    found = [
        (library, name.removesuffix(marker))
        for library, markers in MARKERS.items()
        for marker in markers
        for name in weights
        if name == marker or name.endswith((f".{marker}", f"/{marker}"))
    ]
    if not found:
        names = ", ".join(list(weights)[:3])
        raise ValueError(
            f"0 of {len(weights)} names are those of a Vision Transformer (the first are {names}): these weights belong to another model."
        )
    wanted = [part] if part else PREFERRED
    ranked = {each: _rank(each[1], wanted) for each in found}
    best = [each for each in found if ranked[each] == min(ranked.values())]
    prefixes = [prefix.rstrip("./") for _, prefix in found]
    others = ", ".join(repr(prefix) for prefix in prefixes)
    if part and ranked[best[0]] == len(wanted):
        raise ValueError(
            f"there is no part {part!r} in it; of models it holds {others}: leave `part` out, or name one."
        )
    if len(best) > 1:
        example = re.split(r"[./]", max(prefixes, key=len))[0]
        raise ValueError(f"it holds {len(best)} models ({others}): choose one, as in part={example!r}.")
    if len(found) > 1 and not part:
        notes.append(f"of its models ({others}) {best[0][1].rstrip('./')!r} is taken: `part` takes another.")
    return best[0]


def _rank(prefix: str, wanted: list[str] | tuple[str, ...]) -> int:
    """The place in `wanted` of the first word that the prefix has; as many as there are if it has none."""
    words = re.split(r"[./]", prefix)
    return next((place for place, word in enumerate(wanted) if word in words), len(wanted))


def _take_model(weights: State, library: str, prefix: str, notes: list[str]) -> State:
    """The tensors below the prefix, and a head that stands beside it."""
    parent = prefix[: prefix[:-1].rfind(".") + 1] if prefix.endswith(".") else prefix
    taken, left = {}, []
    for name, tensor in weights.items():
        if name.startswith(prefix):
            taken[name.removeprefix(prefix)] = tensor
        elif library.startswith("huggingface") and re.match(re.escape(parent) + HEADS_BESIDE, name):
            taken[name.removeprefix(parent)] = tensor
        else:
            left.append(name)
    if left:
        notes.append(f"left out, since it is no part of the model: {_summary(left)}.")
    return taken


def _without_training_parts(weights: State, notes: list[str]) -> State:
    left = [name for name in weights if re.match(TRAINING_PARTS, name)]
    if left:
        notes.append(f"left out, since only its training needs it: {_summary(left)}.")
    masks = {name.removesuffix("_mask") for name in left if name.endswith("bias_mask")}
    kept = {name: tensor for name, tensor in weights.items() if name not in left}
    return kept | {name: _without_key_bias(kept[name]) for name in masks & kept.keys()}


def _without_key_bias(bias: torch.Tensor) -> torch.Tensor:
    """(3D,), q | k | v: DINOv3 masks that of the keys, which may hold anything."""
    q, k, v = bias.chunk(3)
    return torch.cat([q, torch.zeros_like(k), v])


def _summary(names: list[str]) -> str:
    """How many tensors, and what their names begin with."""
    begins = list(dict.fromkeys(re.split(r"[./]", name)[0][:40] for name in names))
    some = ", ".join(begins[:4]) + (", ..." if len(begins) > 4 else "")
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} ({some})"


def _rename(weights: State, rules: Rules) -> State:
    renamed = {}
    for name, tensor in weights.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        if name in renamed:
            raise ValueError(f"two of its tensors are {name} in timm's names: use a file with one set of names.")
        renamed[name] = tensor
    return _with_plain_head(renamed)


def _with_plain_head(weights: State) -> State:
    """A head that is one linear layer inside another module, such as `head.1.weight` after a dropout, is that layer."""
    layers = {name.rpartition(".")[0] for name in weights if re.fullmatch(r"head\.(?:\w+\.)?(?:weight|bias)", name)}
    if len(layers) != 1:
        return weights
    start = f"{layers.pop()}."
    return {re.sub(f"^{re.escape(start)}(?=weight$|bias$)", "head.", name): x for name, x in weights.items()}


def _unstack(weights: State) -> State:
    """big_vision may keep all blocks as one, the first axis counting them."""
    start, apart = "Transformer/encoderblock/", {}
    for name, tensor in weights.items():
        if not name.startswith(start):
            apart[name] = tensor
        elif tensor.ndim:
            rest = name.removeprefix(start)
            apart |= {f"Transformer/encoderblock_{index}/{rest}": each for index, each in enumerate(tensor)}
    return apart


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
        match = re.search(
            r"Transformer/encoderblock(?:_\d+)?/MultiHeadDotProductAttention_[01]/(query|key|value|out)/(kernel|bias)$",
            name,
        )
        if match and match[1] == "out" and match[2] == "kernel":
            heads.add(tuple(x.shape[-3:-1]))  # (H, d, D)
        elif match and match[1] != "out":
            heads.add(tuple(x.shape[-2:]))  # (D, H, d) or (H, d)
    if len(heads) > 1:
        raise ValueError(
            f"its attention has (heads, width) of {' and '.join(map(str, sorted(heads)))} at once: use another file."
        )
    return heads.pop()[0] if heads else None


def _ungated(weights: State) -> State:
    """DINOv3 calls the first layer of a plain MLP `up`, as if there were a gate."""
    gated = any(".mlp.gate." in name for name in weights)
    return weights if gated else {name.replace(".mlp.up.", ".mlp.fc1."): tensor for name, tensor in weights.items()}


def _join_parts(weights: State, notes: list[str]) -> State:
    """Lay query, key and value on top of each other, as timm does: three (D, D) -> (3D, D); gate and up likewise."""
    weights = _with_key_bias(weights, notes)
    joined = {}
    for name, tensor in weights.items():
        matches = [(re.fullmatch(pattern, name), whole, parts) for pattern, whole, parts in JOINED]
        for match, whole, parts in matches:
            if match:
                joined[f"{match[1]}{whole}{match[2]}"] = _join(weights, [match[1] + each + match[2] for each in parts])
                break
        else:
            joined[name] = tensor
    return _split_pool(joined)


def _with_key_bias(weights: State, notes: list[str]) -> State:
    """Where queries and values have a bias and no keys have one (DINOv3, EVA), that of the keys is 0."""
    queries = [name for name in weights if name.endswith(".attn.query.bias")]
    if not queries or any(name.endswith((".attn.key.bias", ".attn.qkv.bias")) for name in weights):
        return weights
    notes.append("its keys have no bias: 0 stands in its place.")
    return weights | {name.replace(".query.", ".key."): torch.zeros_like(weights[name]) for name in queries}


def _split_pool(weights: State) -> State:
    """In attention pooling the query comes from elsewhere, and timm keeps its layer apart: (3D, D) -> (D, D), (2D, D)."""
    split = {re.sub(r"^attn_pool\.query\.", "attn_pool.q.", name): x for name, x in weights.items()}
    for kind in ("weight", "bias"):
        if (fused := split.pop(f"attn_pool.qkv.{kind}", None)) is not None:
            width = fused.shape[0] // 3 if fused.ndim else 0
            split[f"attn_pool.q.{kind}"], split[f"attn_pool.kv.{kind}"] = fused[:width], fused[width:]
    return split


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


def _as_vision_transformer(weights: State, library: str, notes: list[str]) -> State:
    """CLIP's class token (D,) and positions (N, D) get a batch axis; its projection is the head, with a bias of 0."""
    axes = {"cls_token": 1, "pos_embed": 2}
    weights = {
        name: x.view(*[1] * (3 - x.ndim), *x.shape) if axes.get(name) == x.ndim else x for name, x in weights.items()
    }
    head = weights.get("head.weight")
    if head is None or head.ndim != 2 or "head.bias" in weights:
        return weights
    head = head.T if library == "openai" else head  # OpenAI's lies the other way round
    notes.append(f"its projection to {len(head)} numbers is the head, which has no bias: 0 stands in its place.")
    return weights | {"head.weight": head, "head.bias": head.new_zeros(len(head))}
