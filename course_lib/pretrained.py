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

from torch import nn

from course_lib.convert import to_timm_names
from course_lib.download import cache_folder, fetch, verify
from course_lib.files import write_atomically
from course_lib.formats import read_weights
from course_lib.pos_embed import resample_pos_embed
from course_lib.registry import DEFAULTS, FOLDERS, REGISTRY, Preprocessing, WeightsEntry, default_weights, find_entry
from course_lib.vit import VIT_CONFIGS

__all__ = [
    "DEFAULTS", "REGISTRY", "Preprocessing", "WeightsEntry",
    "default_weights", "find_entry", "load_pretrained", "read_timm_state", "save_weights",
]  # fmt: skip

# What LayerNorm adds to the variance, where nothing beside the file says otherwise.
DEFAULT_EPS = {"timm": 1e-6, "torchvision": 1e-6, "google": 1e-6, "huggingface": 1e-12}

NAMES_OF = {"timm": "timm's", "torchvision": "torchvision's", "google": "Google's", "huggingface": "Hugging Face's"}

SIZE_NAMES = {(192, 12): "ViT-Ti", (384, 12): "ViT-S", (768, 12): "ViT-B", (1024, 24): "ViT-L", (1280, 32): "ViT-H"}


def load_pretrained(model, weights, *, num_classes=None):
    """Load weights into `model`, strictly: every tensor of the file finds its parameter, and none is left without.

    The model gets what belongs to the weights too: LayerNorm's epsilon, and `model.preprocessing` (mean, std,
    input size, interpolation, crop; None where it is not known). Position embeddings of another grid are resampled.
    What was done is printed, a line each. If anything does not fit, nothing is changed.

    Args:
        model: a `VisionTransformer`.
        weights: a name in `REGISTRY`, or the path of a file: torchvision `.pth`, timm `.pth` or `.safetensors`,
            Hugging Face `.safetensors` or `.bin` (config.json and preprocessor_config.json beside it are
            heeded), Google `.npz`, or a file of `save_weights`.
        num_classes: the number of classes wanted. If the file's head has another, the model gets a new,
            untrained head, and the file's is left out. None: the file's head must fit the model's.

    Returns:
        `model`.

    Raises:
        ValueError: one line that says what does not fit, and what to do.

    Source: Dosovitskiy et al. 2021, section 3.2, for the new head and the resampled positions. Chapter 06.
    """
    path, entry = _locate(weights)
    library, state = read_timm_state(path)
    facts = _facts(path, library, entry)
    _check_architecture(path, state, model, facts)
    notes = []
    state, classes = _fit_head(path, state, model, num_classes, notes)
    state = _fit_positions(path, state, model, facts, notes)
    _check_names(path, state, model, headless=classes is not None)

    if classes is not None:
        model.reset_classifier(classes)
        state |= {name: value for name, value in model.state_dict().items() if name.startswith("head.")}
    model.load_state_dict(state)
    _set_eps(model, facts.norm_eps, notes)
    model.preprocessing = facts.preprocessing and facts.preprocessing.at(model.patch_embed.img_size)
    if model.preprocessing is None:
        notes.append("how these weights want their images is not known: see where you got them from.")
    print(f"{path.name}: {len(state)} tensors under {NAMES_OF[library]} names, all in place.", *notes, sep="\n  ")
    return model


def read_timm_state(path):
    """Read a weights file: (which library's names it uses, {timm's name: tensor}).

    Raises:
        ValueError: it is no weights file of a Vision Transformer, or damaged.
    """
    weights = read_weights(path)
    try:
        return to_timm_names(weights)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save_weights(model, path):
    """Write the model's weights as `.safetensors`, with its config and preprocessing; complete or not at all.

    Args:
        model: a `VisionTransformer`.
        path: where to; an older file there is replaced only when the new one is complete.

    Source: chapter 06.
    """
    from safetensors.torch import save

    about = {"config": asdict(model.config), "preprocessing": model.preprocessing and asdict(model.preprocessing)}
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_atomically(path, save(state, metadata={"course_lib": json.dumps(about)}))


def _locate(weights):
    """(path, entry or None) for a path or a name; a named file is fetched if it is not here yet."""
    path = Path(weights)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the weights file in it, such as {path / 'model.safetensors'}.")
    if path.is_file():
        entry = next((entry for entry in REGISTRY.values() if entry.file == path.name), None)
        if path.stat().st_size > 0:  # an empty file is named as such later
            verify(path, size=entry and entry.size, sha256=entry and entry.digest)
        return path, entry
    entry = find_entry(str(weights))
    if entry.url is None:
        path = next((folder / entry.file for folder in FOLDERS if (folder / entry.file).is_file()), None)
        if path is None:
            raise ValueError(f"{entry.file} should be in {FOLDERS[0]} and is not: install the course again.")
        verify(path, size=entry.size, sha256=entry.digest)
        return path, entry
    return fetch(entry.url, cache_folder() / entry.file, size=entry.size, sha256=entry.digest), entry


@dataclass
class _Facts:
    """What is known about a file beside its tensors."""

    norm_eps: float
    num_heads: int | None = None
    grid_size: tuple[int, int] | None = None
    preprocessing: Preprocessing | None = None


def _facts(path, library, entry):
    facts = _Facts(DEFAULT_EPS[library])
    if library == "huggingface":
        _read_hub_files(path.parent, facts)
    elif library == "timm":
        _read_own_metadata(path, facts)
    if entry:
        facts.num_heads = VIT_CONFIGS[entry.architecture].num_heads
        facts.norm_eps = entry.norm_eps or facts.norm_eps
        facts.preprocessing = entry.preprocessing or facts.preprocessing
    return facts


def _read_hub_files(folder, facts):
    """Hugging Face keeps a model's facts in JSON files beside the weights."""
    config = _read_json(folder / "config.json")
    if config.get("model_type") == "vit":
        facts.norm_eps = config.get("layer_norm_eps", facts.norm_eps)
        facts.num_heads = config.get("num_attention_heads")
    images = _read_json(folder / "preprocessor_config.json")
    if {"image_mean", "image_std", "size"} <= images.keys():
        size = images["size"]
        size = (size, size) if isinstance(size, int) else (size["height"], size["width"])
        interpolation = {2: "bilinear", 3: "bicubic"}.get(images.get("resample", 2), "bilinear")
        facts.preprocessing = Preprocessing(
            tuple(images["image_mean"]), tuple(images["image_std"]), size, size, interpolation
        )


def _read_json(file):
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_own_metadata(path, facts):
    """What `save_weights` wrote into the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("course_lib", "{}"))
    except SafetensorError:
        return  # a .pth
    if config := about.get("config"):
        size = config["img_size"] if isinstance(config["img_size"], list) else [config["img_size"]] * 2
        facts.grid_size = tuple(side // config["patch_size"] for side in size)
        facts.norm_eps, facts.num_heads = config["norm_eps"], config["num_heads"]
    if images := about.get("preprocessing"):
        lists = {name: tuple(value) if isinstance(value, list) else value for name, value in images.items()}
        facts.preprocessing = Preprocessing(**lists)


@dataclass(frozen=True)
class _Architecture:
    """What can be read off the shapes of the weights."""

    width: int
    depth: int
    patch: int
    channels: int
    hidden: int

    @classmethod
    def of(cls, state):
        depth = len({match[1] for name in state if (match := re.match(r"blocks\.(\d+)\.", name))})
        patch, hidden = state["patch_embed.proj.weight"], state.get("blocks.0.mlp.fc1.weight")
        if patch.ndim != 4 or hidden is None:
            raise ValueError("its patch embedding or its first block is not that of a Vision Transformer")
        return cls(patch.shape[0], depth, patch.shape[2], patch.shape[1], hidden.shape[0])

    def __str__(self):
        name = SIZE_NAMES.get((self.width, self.depth))
        return (
            f"{name}/{self.patch}, width {self.width}"
            if name
            else f"a ViT with patch {self.patch}, width {self.width}, depth {self.depth}"
        )


def _check_architecture(path, state, model, facts):
    try:
        theirs = _Architecture.of(state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}: use another file.") from error
    ours = _Architecture.of(model.state_dict())
    if theirs != ours:
        what, own = str(theirs), str(ours)
        if what == own:
            what += f", {theirs.channels} channels, hidden {theirs.hidden}"
            own += f", {ours.channels} channels, hidden {ours.hidden}"
        raise ValueError(f"{path}: this is {what}; the model is {own}: build the model that fits, or use another file.")
    if facts.num_heads not in (None, model.config.num_heads):
        raise ValueError(
            f"{path}: these weights are for {facts.num_heads} heads; the model has {model.config.num_heads}: build it with num_heads={facts.num_heads}."
        )
    if ("cls_token" in state) != (model.cls_token is not None):
        with_token = "cls_token" in state
        raise ValueError(
            f"{path}: these weights have {'a' if with_token else 'no'} class token, the model has {'none' if with_token else 'one'}: "
            f"build it with global_pool={'token' if with_token else 'avg'!r}."
        )


def _fit_head(path, state, model, num_classes, notes):
    """The state with or without the file's head, and for how many classes a new one is due (None: the file's stays)."""
    theirs = state["head.weight"].shape[0] if "head.weight" in state else 0
    representation = "pre_logits.fc.weight" in state
    if num_classes is None or num_classes == theirs == model.config.num_classes:
        if theirs != model.config.num_classes:
            raise ValueError(
                f"{path}: the file's head has {theirs} classes, the model's {model.config.num_classes}: "
                f"pass num_classes={model.config.num_classes} for a new head, or build the model with num_classes={theirs}."
            )
        if representation != bool(model.config.representation_size):
            width = state["pre_logits.fc.weight"].shape[0] if representation else None
            raise ValueError(
                f"{path}: representation layer before the head: {'one' if representation else 'none'} in the file, "
                f"{'none' if representation else 'one'} in the model. Build the model with representation_size={width}, "
                "or pass num_classes for a new head without one."
            )
        return state, None
    kept = {name: value for name, value in state.items() if not name.startswith(("head.", "pre_logits."))}
    dropped = (
        f"the file's head ({theirs} classes{', and its representation layer' if representation else ''}) was left out"
    )
    notes.append(
        f"{dropped}; the new head for {num_classes} classes is untrained."
        if num_classes
        else f"{dropped}; the model has none."
    )
    return kept, num_classes


def _fit_positions(path, state, model, facts, notes):
    positions = state.get("pos_embed")
    if positions is None or model.config.pos_embed != "learn":
        return state  # _check_names says what is missing or left over
    prefix, new = model.num_prefix_tokens, model.patch_embed.grid_size
    count = positions.shape[1] - prefix
    side = round(max(count, 0) ** 0.5)
    old = facts.grid_size or (side, side)
    if old == new and count == new[0] * new[1]:
        return state
    if side * side != count or old != (side, side):
        raise ValueError(
            f"{path}: its {count} patch positions are no square grid, so they cannot be resampled to {new[0]} x {new[1]}: "
            "build the model with the image size of the file."
        )
    notes.append(f"position embeddings resampled from {side} x {side} to {new[0]} x {new[1]} patches (bicubic).")
    return state | {"pos_embed": resample_pos_embed(positions, new, prefix)}


def _check_names(path, state, model, headless):
    """Raise unless names and shapes are those of the model (less its head, if a new one is due)."""
    wanted = {
        name: value.shape
        for name, value in model.state_dict().items()
        if not (headless and name.startswith(("head.", "pre_logits.")))
    }
    missing = [name for name in wanted if name not in state]
    left_over = [name for name in state if name not in wanted]
    if missing or left_over:
        parts = [
            f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for what, names in (("missing", missing), ("left over", left_over))
            if names
        ]
        raise ValueError(
            f"{path}: {' and '.join(parts)}: build the model with the same parts (see pos_embed, qkv_bias and representation_size in ViTConfig), or use another file."
        )
    other = [name for name in wanted if state[name].shape != wanted[name]]
    if other:
        name = other[0]
        raise ValueError(
            f"{path}: {len(other)} tensors have another shape than in the model, first {name}: "
            f"{tuple(state[name].shape)} in the file, {tuple(wanted[name])} in the model."
        )


def _set_eps(model, eps, notes):
    if model.config.norm_eps != eps:
        notes.append(
            f"LayerNorm epsilon set from {model.config.norm_eps:g} to {eps:g}, as these weights were trained with."
        )
    model.config = replace(model.config, norm_eps=eps)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps
