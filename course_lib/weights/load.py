"""Load published weights into our Vision Transformer: every parameter by name, or nothing at all.

    model = create_model("vit_base_patch16_224")
    load_pretrained(model, "torchvision/vit_b_16.imagenet1k_v1")       # by name: fetched once, verified
    load_pretrained(model, "weights/jx_vit_base_p16_224-80ecf9dd.pth")   # or a file

Chapter 06. Reading a file is in `formats`, renaming in `convert`, the list of names in `registry`.
"""

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from course_lib.files.atomic import write_atomically
from course_lib.files.fetch import fetch, verify
from course_lib.files.places import CHECKPOINTS, WEIGHTS, run_weights, weights_folder
from course_lib.pos_embed import resample_pos_embed
from course_lib.vit import VisionTransformer
from course_lib.weights.convert import State, num_heads, to_timm_names
from course_lib.weights.facts import WeightFacts, gather_facts
from course_lib.weights.formats import read_weights
from course_lib.weights.preprocessing import UnknownPreprocessing
from course_lib.weights.registry import REGISTRY, WeightsEntry, find_entry

NAMES_OF = {"timm": "timm's", "torchvision": "torchvision's", "google": "Google's", "huggingface": "Hugging Face's"}

HEAD = ("head.", "pre_logits.")

# The number of axes of the tensors that are looked at before all are compared with the model's.
AXES = {
    "patch_embed.proj.weight": 4,
    "blocks.0.mlp.fc1.weight": 2,
    "pos_embed": 3,
    "head.weight": 2,
    "pre_logits.fc.weight": 2,
}

SIZE_NAMES = {(192, 12): "ViT-Ti", (384, 12): "ViT-S", (768, 12): "ViT-B", (1024, 24): "ViT-L", (1280, 32): "ViT-H"}


def load_pretrained(
    model: VisionTransformer, weights: str | Path, *, num_classes: int | None = None
) -> VisionTransformer:
    """Load weights into `model`, strictly: every tensor of the file finds its parameter, and none is left without.

    The model gets what belongs to the weights too: LayerNorm's epsilon, and `model.preprocessing` (mean, std,
    input size, interpolation, crop; where nobody knows them, it counts as false, and its `transform` says so). Position embeddings of another grid are resampled.
    What was done is printed, a line each. If anything does not fit, nothing is changed.

    Args:
        model: a `VisionTransformer`.
        weights: a name in `REGISTRY`, or the path of a file: torchvision `.pth`, timm `.pth` or `.safetensors`,
            Hugging Face `.safetensors` or `.bin` (config.json and preprocessor_config.json beside it are
            heeded), Google `.npz`, or a file of `save_weights`.
        num_classes: the number of classes wanted. If the file's head has another, or a representation layer that
            the model has not, the model gets a new, untrained head (which an optimiser made before does not
            know), and the file's is left out. None: the file's head must fit the model's.

    Returns:
        `model`.

    Raises:
        ValueError: one line that says what does not fit, and what to do.

    Source: Dosovitskiy et al. 2021, section 3.2, for the new head and the resampled positions. Chapter 06.
    """
    _check_plain(model, "load")
    path, entry = _locate(weights)
    notes = []
    try:
        library, state, facts = _read(path, entry)
        _check_architecture(state, model, facts)
        state, classes = _fit_head(state, model, num_classes, notes)
        state = _fit_positions(state, model, facts, notes)
        _check_names(state, model, classes)
        _check_numbers(state)
        eps = facts.norm_eps or model.config.norm_eps
        replace(model.config, norm_eps=eps)  # raises for an epsilon that no model can have
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from error

    if classes is not None:
        model.reset_classifier(classes)
    model.load_state_dict(model.state_dict() | state)
    if facts.norm_eps is None:
        notes.append(f"LayerNorm's epsilon does not stand in the file: the model's own, {eps:g}, stays.")
    _set_eps(model, eps, notes)
    if facts.preprocessing:
        model.preprocessing = facts.preprocessing.at(model.patch_embed.img_size)
    else:
        model.preprocessing = UnknownPreprocessing()
        notes.append("how these weights want their images is not known: see where you got them from.")
    print(f"{path.name}: {len(state)} tensors under {NAMES_OF[library]} names, all in place.", *notes, sep="\n  ")
    return model


def save_weights(model: VisionTransformer, path: str | Path) -> None:
    """Write the model's weights as `.safetensors`, with its config and preprocessing; complete or not at all.

    Args:
        model: a `VisionTransformer`.
        path: where to; an older file there is replaced only when the new one is complete.

    Raises:
        ValueError: the model is wrapped, or its weights are no plain floating-point numbers (any more).

    Source: chapter 06.
    """
    _check_plain(model, "save")
    images = model.preprocessing.facts() if model.preprocessing else None
    write_weights(model.state_dict(), path, {"config": asdict(model.config), "preprocessing": images})


def write_weights(state: State, path: str | Path, about: dict[str, Any]) -> None:
    """Write tensors as `.safetensors`, and what there is to say about them; complete or not at all.

    Raises:
        ValueError: they are no plain numbers (any more).
    """
    from safetensors.torch import save

    counters = "num_batches_tracked"  # of batch norm, whole numbers
    plain = {name: _is_plain(value) or name.endswith(counters) for name, value in state.items()}
    if strange := next((name for name in plain if not plain[name]), None):
        raise ValueError(
            f"{strange} is no plain tensor of floating-point numbers (quantised, or without memory): save the model as it "
            "was before, or its state_dict() with torch.save."
        )
    state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    write_atomically(path, save(state, metadata={"course_lib": json.dumps(about)}))


def _check_plain(model: nn.Module, verb: str) -> None:
    if not isinstance(model, VisionTransformer):
        raise ValueError(
            f"the model is a {type(model).__name__}, not a VisionTransformer: {verb} the weights of the one that was "
            "compiled or wrapped."
        )


def _read(path: Path, entry: WeightsEntry | None) -> tuple[str, State, WeightFacts]:
    """(which library's names the file uses, {timm's name: tensor}, what else is known of it)."""
    weights = read_weights(path)
    library, state = to_timm_names(weights)
    return library, state, gather_facts(path, library, entry, num_heads(weights))


def _locate(weights: str | Path) -> tuple[Path, WeightsEntry | None]:
    """(path, entry or None) for a path or a name; a named file is fetched if it is not here yet."""
    path = Path(weights).expanduser()
    if path.is_dir():
        found = run_weights(path)
        if found is None:
            raise ValueError(f"{path} is a folder without a {WEIGHTS}: give the weights file in it.")
        path = found
    if path.is_file():
        entry = next((entry for entry in REGISTRY.values() if entry.file == path.name), None)
        if path.stat().st_size > 0:  # an empty file is named as such later
            verify(path, sha256=entry and entry.digest)
        return path, entry
    if str(weights) not in REGISTRY and path.suffix in (".pth", ".pt", ".bin", ".safetensors", ".npz"):
        near = [entry.file for entry in REGISTRY.values()]
        raise ValueError(
            f"there is no file {path}" + (": it is published, ask for it by its name." if path.name in near else ".")
        )
    entry = find_entry(str(weights))
    if entry.url is None:
        path = next((folder / entry.file for folder in CHECKPOINTS if (folder / entry.file).is_file()), None)
        if path is None:
            raise ValueError(f"{entry.file} should be in {CHECKPOINTS[0]} and is not: install the course again.")
        verify(path, sha256=entry.digest)
        return path, entry
    return fetch(entry.url, weights_folder() / entry.file, sha256=entry.digest), entry


@dataclass(frozen=True)
class _Architecture:
    """What can be read off the shapes of the weights."""

    width: int
    depth: int
    patch: int
    channels: int
    hidden: int

    @classmethod
    def of(cls, state: State) -> Self:
        for name, axes in AXES.items():
            if name in state and state[name].ndim != axes:
                raise ValueError(
                    f"{name} has shape {tuple(state[name].shape)} and should have {axes} axes: use another file."
                )
        if "blocks.0.mlp.fc1.weight" not in state:
            raise ValueError("there is no block 0 with an MLP in it: use a file with a whole Vision Transformer.")
        depth = len({match[1] for name in state if (match := re.match(r"blocks\.(\d+)\.", name))})
        patch, hidden = state["patch_embed.proj.weight"].shape, state["blocks.0.mlp.fc1.weight"].shape
        return cls(width=patch[0], depth=depth, patch=patch[2], channels=patch[1], hidden=hidden[0])

    def __str__(self) -> str:
        name = SIZE_NAMES.get((self.width, self.depth))
        return (
            f"{name}/{self.patch}, width {self.width}"
            if name
            else f"a ViT with patch {self.patch}, width {self.width}, depth {self.depth}"
        )


def _check_architecture(state: State, model: VisionTransformer, facts: WeightFacts) -> None:
    theirs, ours = _Architecture.of(state), _Architecture.of(model.state_dict())
    if theirs != ours:
        what, own = str(theirs), str(ours)
        if what == own:
            what += f", {theirs.channels} channels, hidden {theirs.hidden}"
            own += f", {ours.channels} channels, hidden {ours.hidden}"
        raise ValueError(f"this is {what}; the model is {own}: build the model that fits, or use another file.")
    if facts.num_heads not in (None, model.config.num_heads):
        raise ValueError(
            f"these weights are for {facts.num_heads} heads; the model has {model.config.num_heads}: "
            f"build it with num_heads={facts.num_heads}."
        )
    if facts.activation != "gelu":
        raise ValueError(
            f"these weights want the activation {facts.activation!r}; the model has the exact GELU: use another file."
        )
    if ("cls_token" in state) != (model.cls_token is not None):
        with_token = "cls_token" in state
        raise ValueError(
            f"these weights have {'a' if with_token else 'no'} class token, the model has {'none' if with_token else 'one'}: "
            f"build it with global_pool={'token' if with_token else 'avg'!r}."
        )


def _fit_head(
    state: State, model: VisionTransformer, num_classes: int | None, notes: list[str]
) -> tuple[State, int | None]:
    """The state with or without the file's head, and how many classes the model's new head gets (None: it keeps its own)."""
    ours, wanted = model.config.num_classes, num_classes
    theirs = state["head.weight"].shape[0] if "head.weight" in state else 0
    hidden = "pre_logits.fc.weight" in state  # the representation layer
    same_hidden = hidden == (model.config.representation_size is not None)
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
    if wanted in (None, theirs) and theirs == ours and same_hidden:
        return state, None
    if wanted == theirs and not hidden:
        return state, wanted  # the model was built for another number of classes
    dropped = [f"head ({theirs} classes)"] * bool(theirs) + ["representation layer"] * hidden
    left = f"the file's {' and '.join(dropped)} left out" if dropped else "the file has no head"
    notes.append(f"{left}; {f'the new head for {wanted} classes is untrained' if wanted else 'the model has no head'}.")
    return {name: value for name, value in state.items() if not name.startswith(HEAD)}, wanted


def _fit_positions(state: State, model: VisionTransformer, facts: WeightFacts, notes: list[str]) -> State:
    """The state with position embeddings for the model's grid."""
    positions = state.get("pos_embed")
    if positions is None or model.config.pos_embed != "learn":
        return state  # _check_names says what is missing or left over
    prefix, new = model.num_prefix_tokens, model.patch_embed.grid_size
    count = positions.shape[1] - prefix
    side = round(max(count, 0) ** 0.5)
    square = side * side == count
    old = facts.grid_size or (new if count == new[0] * new[1] or not square else (side, side))
    if old == new and count == new[0] * new[1]:
        if square and facts.grid_size is None and new != (side, side):
            notes.append(f"its {count} patch positions are taken for {new[0]} x {new[1]}: its grid is not in the file.")
        return state
    if not square or old != (side, side):
        raise ValueError(
            f"its {count} patch positions are no square grid, so they cannot be resampled to {new[0]} x {new[1]}: "
            "build the model with the image size of the file."
        )
    notes.append(f"position embeddings resampled from {side} x {side} to {new[0]} x {new[1]} patches (bicubic).")
    return state | {"pos_embed": resample_pos_embed(positions, new, prefix)}


def _check_names(state: State, model: VisionTransformer, classes: int | None) -> None:
    """Raise unless names and shapes are those of the model, but for the head if it gets a new one."""
    wanted = {name: value.shape for name, value in model.state_dict().items()}
    if classes is not None:
        head = {name: shape for name, shape in _head_shapes(model, classes).items() if name in state}
        wanted = {name: shape for name, shape in wanted.items() if not name.startswith(HEAD)} | head
    missing = [name for name in wanted if name not in state]
    left_over = [name for name in state if name not in wanted]
    if missing or left_over:
        parts = [
            f"{len(names)} {what} ({', '.join(name[:60] for name in names[:3])}{', ...' if len(names) > 3 else ''})"
            for what, names in (("missing", missing), ("left over", left_over))
            if names
        ]
        raise ValueError(
            f"{' and '.join(parts)}: build the model with the same parts (see pos_embed, qkv_bias and "
            "representation_size in ViTConfig), or use another file."
        )
    other = [name for name in wanted if state[name].shape != wanted[name]]
    if other:
        name = other[0]
        raise ValueError(
            f"{len(other)} tensors have another shape than in the model, first {name}: "
            f"{tuple(state[name].shape)} in the file, {tuple(wanted[name])} in the model."
        )


def _head_shapes(model: VisionTransformer, classes: int) -> dict[str, tuple[int, ...]]:
    return {"head.weight": (classes, model.config.embed_dim), "head.bias": (classes,)}


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and not value.is_meta
        and value.is_floating_point()
    )


def _check_numbers(state: State) -> None:
    """Raise unless all tensors are plain, finite floating-point numbers: anything else fails halfway through, or later."""
    for name, tensor in state.items():
        if not _is_plain(tensor):
            raise ValueError(
                f"{name} is {tensor.dtype} ({tensor.layout}), not plain floating-point numbers: use another file."
            )
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity: the file is damaged, or its training went wrong.")


def _set_eps(model: VisionTransformer, eps: float, notes: list[str]) -> None:
    if model.config.norm_eps != eps:
        notes.append(
            f"LayerNorm epsilon set from {model.config.norm_eps:g} to {eps:g}, as these weights were trained with."
        )
    model.config = replace(model.config, norm_eps=eps)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps
