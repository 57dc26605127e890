"""Fit the weights of a file to a model: channels, head and positions where that is possible, advice where it is not.

Everything here works on tensors under timm's names and leaves the model alone. Legend: D embedding dimension, P patch
size, (gh, gw) patch grid. Chapter 06.
"""

import math
import re
from dataclasses import replace
from typing import Any

import torch

from course_lib.pos_embed import resample_pos_embed
from course_lib.vit import VIT_CONFIGS, VisionTransformer, ViTConfig
from course_lib.weights.convert import State
from course_lib.weights.facts import WeightFacts

HEAD = ("head.", "head_dist.", "pre_logits.")

# The number of axes of the tensors that are looked at before all are compared with the model's.
AXES = {
    "patch_embed.proj.weight": 4,
    "blocks.0.mlp.fc1.weight": 2,
    "blocks.0.mlp.fc2.weight": 2,
    "cls_token": 3,
    "dist_token": 3,
    "reg_token": 3,
    "pos_embed": 3,
    "head.weight": 2,
    "head_dist.weight": 2,
    "pre_logits.fc.weight": 2,
}

SIZE_NAMES = {(192, 12): "ViT-Ti", (384, 12): "ViT-S", (768, 12): "ViT-B", (1024, 24): "ViT-L", (1280, 32): "ViT-H"}

SIZES = ("embed_dim", "depth", "patch_size", "in_chans", "hidden")


def fit_state(
    state: State, model: VisionTransformer, facts: WeightFacts, num_classes: int | None, notes: list[str]
) -> tuple[State, int | None]:
    """The tensors of a file as the model needs them.

    Args:
        state: {timm's name: tensor}.
        model: a `VisionTransformer`; nothing in it changes.
        facts: what else is known of the file; what no longer holds is taken out.
        num_classes: the number of classes wanted; None: those of the file must be the model's.
        notes: gets a line for each thing that was changed.

    Returns:
        (state, classes): how many the model's new head must get; None: it keeps its own head.

    Raises:
        ValueError: they do not fit, and what to do.

    Source: Dosovitskiy et al. 2021, section 3.2, for the new head and the resampled positions. Chapter 06.
    """
    for name, axes in AXES.items():
        if name in state and state[name].ndim != axes:
            raise ValueError(
                f"{name} has shape {tuple(state[name].shape)} and should have {axes} axes: use another file."
            )
    if "blocks.0.mlp.fc1.weight" not in state:
        raise ValueError("there is no block 0 with an MLP in it: use a file with a whole Vision Transformer.")
    state = _fit_channels(state, model, facts, notes)
    _check_architecture(state, model, facts)
    state, classes = _fit_head(state, model, num_classes, notes)
    state = _fit_positions(state, model, facts, notes)
    _check_names(state, model, classes)
    return state, classes


def _fit_channels(state: State, model: VisionTransformer, facts: WeightFacts, notes: list[str]) -> State:
    """Filters for colour, (D, 3, P, P), as filters for another number of channels: the answer to grey stays the same."""
    name, wanted = "patch_embed.proj.weight", model.config.in_chans
    filters = state[name]
    if filters.shape[1] != 3 or wanted == 3 or not filters.is_floating_point():
        return state
    facts.preprocessing = None  # it has a mean for each of the three
    if wanted == 1:
        notes.append("its filters for 3 channels are summed to 1: it sees grey as three equal colours.")
        return state | {name: filters.float().sum(dim=1, keepdim=True).to(filters.dtype)}
    repeated = filters.float().repeat(1, math.ceil(wanted / 3), 1, 1)[:, :wanted] * (3 / wanted)
    notes.append(f"its filters for 3 channels are repeated for {wanted}, and weigh 3/{wanted} as much.")
    return state | {name: repeated.to(filters.dtype)}


def _fields_of(config: ViTConfig) -> dict[str, Any]:
    """What of a config shows in the names and shapes of its weights."""
    names = (
        *("embed_dim", "depth", "patch_size", "in_chans", "qkv_bias", "dist_token", "reg_tokens", "norm_layer"),
        *("norm_pre", "fc_norm", "qk_norm"),
    )
    return {name: getattr(config, name) for name in names} | {
        "hidden": int(config.embed_dim * config.mlp_ratio),
        "class_token": config.has_class_token,
        "init_values": config.init_values is not None,
        "gated": config.activation == "swiglu",
        "map": config.global_pool == "map",
    }


def _fields_in(state: State) -> dict[str, Any]:
    """The same, read off the weights."""
    depth = len({match[1] for name in state if (match := re.match(r"blocks\.(\d+)\.", name))})
    patches, up = state["patch_embed.proj.weight"].shape, state["blocks.0.mlp.fc1.weight"].shape[0]
    down = state.get("blocks.0.mlp.fc2.weight")
    hidden = down.shape[1] if down is not None and 2 * down.shape[1] == up else up
    return {
        "embed_dim": patches[0],
        "depth": depth,
        "patch_size": patches[2],
        "in_chans": patches[1],
        "qkv_bias": "blocks.0.attn.qkv.bias" in state,
        "dist_token": "dist_token" in state,
        "reg_tokens": state["reg_token"].shape[1] if "reg_token" in state else 0,
        "norm_layer": "layernorm"
        if "blocks.0.norm1.bias" in state or "blocks.0.norm1.weight" not in state
        else "rmsnorm",
        "norm_pre": "norm_pre.weight" in state,
        "fc_norm": "fc_norm.weight" in state,
        "qk_norm": "blocks.0.attn.q_norm.weight" in state,
        "hidden": hidden,
        "class_token": "cls_token" in state,
        "init_values": "blocks.0.ls1.gamma" in state,
        "gated": hidden != up,
        "map": "attn_pool.latent" in state,
    }


def _describe(fields: dict[str, Any], precisely: bool) -> str:
    name = SIZE_NAMES.get((fields["embed_dim"], fields["depth"]))
    what = (
        f"{name}/{fields['patch_size']}, width {fields['embed_dim']}"
        if name
        else f"a ViT with patch {fields['patch_size']}, width {fields['embed_dim']}, depth {fields['depth']}"
    )
    return what + (f", {fields['in_chans']} channels, hidden {fields['hidden']}" if precisely else "")


def _advice(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """The fields of `ViTConfig` to change, as they are written in a call; "" if the file shows none."""
    changes = {
        name: theirs[name] for name in theirs if theirs[name] != ours[name] and name not in (*SIZES, "gated", "map")
    }
    if "init_values" in changes:
        changes["init_values"] = 1e-5 if theirs["init_values"] else None
    if theirs["gated"] != ours["gated"]:
        changes["activation"] = "swiglu" if theirs["gated"] else "gelu"
    has_token = changes.pop("class_token", None)
    if has_token is not None or any(theirs[name] != ours[name] for name in ("map", "fc_norm")):
        pool = "map" if theirs["map"] else "token" if theirs["class_token"] and not theirs["fc_norm"] else "avg"
        changes["global_pool"] = pool
        if theirs["class_token"] != (pool == "token"):
            changes["class_token"] = theirs["class_token"]
    return ", ".join(f"{name}={value!r}" for name, value in changes.items())


def _check_architecture(state: State, model: VisionTransformer, facts: WeightFacts) -> None:
    theirs, ours = _fields_in(state), _fields_of(model.config)
    if any(theirs[name] != ours[name] for name in SIZES):
        precisely = _describe(theirs, False) == _describe(ours, False)
        like = next(
            (f": create_model({name!r})" for name, config in VIT_CONFIGS.items() if _fields_of(config) == theirs), ""
        )
        raise ValueError(
            f"this is {_describe(theirs, precisely)}; the model is {_describe(ours, precisely)}: build the model that fits{like}, "
            "or use another file."
        )
    if facts.num_heads not in (None, model.config.num_heads):
        raise ValueError(
            f"these weights are for {facts.num_heads} heads; the model has {model.config.num_heads}: "
            f"build it with num_heads={facts.num_heads}."
        )
    _check_activation(facts.activation, model.config.activation, theirs["gated"])
    if theirs["class_token"] != ours["class_token"]:
        with_token = theirs["class_token"]
        raise ValueError(
            f"these weights have {'a' if with_token else 'no'} class token, the model has {'none' if with_token else 'one'}: "
            f"build it with {_advice(theirs, ours)}."
        )


def _check_activation(theirs: str | None, ours: str, gated: bool) -> None:
    if gated or theirs in (None, ours) or ours == "swiglu":
        return  # a gate shows in the shapes
    try:
        replace(ViTConfig(), activation=theirs)
    except ValueError:
        raise ValueError(
            f"these weights want the activation {theirs!r}, which no model has here: use another file."
        ) from None
    raise ValueError(
        f"these weights want the activation {theirs!r}; the model has {ours!r}: build it with activation={theirs!r}."
    )


def _fit_head(
    state: State, model: VisionTransformer, num_classes: int | None, notes: list[str]
) -> tuple[State, int | None]:
    """The state with or without the file's head, and how many classes the model's new head gets (None: it keeps its own)."""
    ours, wanted = model.config.num_classes, num_classes
    theirs = state["head.weight"].shape[0] if "head.weight" in state else 0
    hidden = "pre_logits.fc.weight" in state  # the representation layer
    same_hidden = hidden == (model.config.representation_size is not None)
    strange = _strange_head(state, model)
    if wanted is None and strange and ours:
        raise ValueError(f"{strange}: pass num_classes={ours} for a new head, which leaves the file's out.")
    if wanted is None and theirs != ours:
        raise ValueError(
            f"the file's head has {theirs} classes, the model's {ours}: "
            f"pass num_classes={ours} for a new head, or build the model with num_classes={theirs}."
        )
    if wanted is None and not same_hidden:
        width = state["pre_logits.fc.weight"].shape[0] if hidden else None
        raise ValueError(
            f"representation layer before the head: {'one' if hidden else 'none'} in the file, {'none' if hidden else 'one'} in "
            f"the model. Build the model with representation_size={width}, or pass num_classes={theirs or ours} for a head without."
        )
    if wanted in (None, theirs) and theirs == ours and same_hidden and not strange:
        return state, None
    if wanted == theirs and not hidden and not strange:
        return state, wanted  # the model was built for another number of classes
    dropped = [f"head ({theirs} classes)"] * bool(theirs) + ["representation layer"] * hidden
    dropped = dropped or ["head"] * bool(strange)
    left = f"the file's {' and '.join(dropped)} left out" if dropped else "the file has no head"
    notes.append(f"{left}; {f'the new head for {wanted} classes is untrained' if wanted else 'the model has no head'}.")
    return {name: value for name, value in state.items() if not name.startswith(HEAD)}, wanted


def _strange_head(state: State, model: VisionTransformer) -> str:
    """In what the file's head is of another make than any of ours; "" if it is not, or if there is none."""
    layers = [name for name in state if name.startswith("head.") and name not in ("head.weight", "head.bias")]
    if layers:
        return f"the file's head is no single linear layer ({', '.join(layers[:3])})"
    head, hidden = state.get("head.weight"), state.get("pre_logits.fc.weight")
    width = len(hidden) if hidden is not None else model.config.embed_dim
    if head is not None and head.shape[1] != width and head.shape[1] == 2 * model.config.embed_dim:
        return f"the file's head reads {head.shape[1]} numbers, the class token and the mean of the patches, the model's {width}"
    if head is not None and "dist_token" in state and "head_dist.weight" not in state:
        return "the file's head reads the class token alone, the model's the distillation token too"
    return ""


def _fit_positions(state: State, model: VisionTransformer, facts: WeightFacts, notes: list[str]) -> State:
    """The state with position embeddings for the model's tokens and grid."""
    positions = state.get("pos_embed")
    if positions is None or model.config.pos_embed != "learn":
        return state  # _check_names says what is missing or left over
    new = model.patch_embed.grid_size
    tokens = {name: state[name].shape[1] for name in ("cls_token", "dist_token", "reg_token") if name in state}
    prefix = _count_prefix(positions.shape[1], sum(tokens.values()), facts.grid_size, new)
    count = positions.shape[1] - prefix
    side = math.isqrt(max(count, 0))
    square = side * side == count
    old = facts.grid_size or (new if count == new[0] * new[1] or not square else (side, side))
    if old[0] * old[1] != count:
        raise ValueError(
            f"its {count} patch positions are no square grid, so they cannot be resampled to {new[0]} x {new[1]}: "
            "build the model with the image size of the file."
        )
    if old != new:
        ours = model.config.pos_antialias, model.config.pos_offset
        antialias, offset = ours if facts.antialias is None else (facts.antialias, facts.offset)
        how = "bicubic" + ", without antialiasing" * (not antialias) + f", as if to {offset:g} more" * bool(offset)
        notes.append(f"position embeddings resampled from {old[0]} x {old[1]} to {new[0]} x {new[1]} patches ({how}).")
        positions = resample_pos_embed(positions, new, prefix, old_grid_size=old, antialias=antialias, offset=offset)
    elif square and facts.grid_size is None and new != (side, side):
        notes.append(f"its {count} patch positions are taken for {new[0]} x {new[1]}: its grid is not in the file.")
    return _fit_prefix(state | {"pos_embed": positions}, tokens, prefix, model.config.no_embed_class, notes)


def _count_prefix(count: int, tokens: int, known: tuple[int, int] | None, new: tuple[int, int]) -> int:
    """How many of `count` positions belong to tokens in front: all of these, one for a class token alone, or none."""
    choices = [number for number in dict.fromkeys((tokens, 0, min(tokens, 1))) if number < count]
    for grid in (known, new):
        for prefix in choices:
            if grid and count - prefix == grid[0] * grid[1]:
                return prefix
    squares = [prefix for prefix in choices if math.isqrt(count - prefix) ** 2 == count - prefix]
    return (squares or [tokens])[0]


def _fit_prefix(state: State, tokens: dict[str, int], prefix: int, no_embed_class: bool, notes: list[str]) -> State:
    """Positions for all tokens in front, or for none, as the model has them: the answers are the same either way."""
    total, positions = sum(tokens.values()), state["pos_embed"]
    in_front, patches = positions[:, :prefix], positions[:, prefix:]
    if no_embed_class and prefix:
        front = torch.cat([state[name] for name in tokens], dim=1)  # (1, prefix tokens, D)
        front = torch.cat([front[:, :prefix] + in_front, front[:, prefix:]], dim=1)
        notes.append(f"positions of tokens in front ({prefix}) are added to the tokens themselves.")
        return (
            state | dict(zip(tokens, front.split(list(tokens.values()), dim=1), strict=True)) | {"pos_embed": patches}
        )
    if not no_embed_class and prefix < total:
        notes.append(f"tokens in front that have no position ({total - prefix}) get 0 for it.")
        none = patches.new_zeros(1, total - prefix, patches.shape[2])
        return state | {"pos_embed": torch.cat([in_front, none, patches], dim=1)}
    return state


def _check_names(state: State, model: VisionTransformer, classes: int | None) -> None:
    """Raise unless names and shapes are those of the model, but for the head if it gets a new one."""
    wanted = {name: value.shape for name, value in model.state_dict().items()}
    if classes is not None:
        head = {name: shape for name, shape in _head_shapes(model, classes).items() if name in state}
        wanted = {name: shape for name, shape in wanted.items() if not name.startswith(HEAD)} | head
    advice = _advice(_fields_in(state), _fields_of(model.config))
    missing = [name for name in wanted if name not in state]
    left_over = [name for name in state if name not in wanted]
    if missing or left_over:
        parts = [
            f"{len(names)} {what} ({', '.join(name[:50] for name in names[:2])}{', ...' if len(names) > 2 else ''})"
            for what, names in (("missing", missing), ("left over", left_over))
            if names
        ]
        advice = advice or _position_advice(missing, left_over)
        build = f"build the model with {advice}, or " if advice else ""
        raise ValueError(f"{' and '.join(parts)}: {build}use another file.")
    other = [name for name in wanted if state[name].shape != wanted[name]]
    if other:
        name = other[0]
        raise ValueError(
            f"{len(other)} tensors have another shape than in the model, first {name}: "
            f"{tuple(state[name].shape)} in the file, {tuple(wanted[name])} in the model: "
            + (f"build the model with {advice}, or use another file." if advice else "use another file.")
        )


def _position_advice(missing: list[str], left_over: list[str]) -> str:
    if any(name.endswith("relative_position_bias_table") for name in left_over):
        return "pos_embed='relative'"
    if "pos_embed" in left_over:
        return "pos_embed='learn'"
    return "pos_embed='none' ('sincos2d', 'rope' if it was: the file does not say)" if "pos_embed" in missing else ""


def _head_shapes(model: VisionTransformer, classes: int) -> dict[str, tuple[int, ...]]:
    shapes = {"weight": (classes, model.config.embed_dim), "bias": (classes,)}
    return {f"{head}.{kind}": shape for head in ("head", "head_dist") for kind, shape in shapes.items()}
