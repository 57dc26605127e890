"""Load published weights into our Vision Transformer: every parameter by name, or nothing at all.

    model = create_model("vit_base_patch16_224")
    load_pretrained(model, "torchvision/vit_b_16.imagenet1k_v1")       # by name: fetched once, verified
    load_pretrained(model, "weights/jx_vit_base_p16_224-80ecf9dd.pth")   # or a file

Chapter 06. Reading a file is in `formats`, renaming in `convert`, fitting it to the model in `fit`, the list of names in
`registry`.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from course_lib.files.atomic import write_atomically
from course_lib.files.fetch import fetch, verify
from course_lib.files.places import CHECKPOINTS, WEIGHTS, run_weights, weights_folder
from course_lib.vit import VisionTransformer
from course_lib.weights.convert import State, num_heads, to_timm_names
from course_lib.weights.facts import WeightFacts, gather_facts
from course_lib.weights.fit import fit_state
from course_lib.weights.formats import read_sets
from course_lib.weights.names import OWNERS
from course_lib.weights.preprocessing import UnknownPreprocessing
from course_lib.weights.registry import REGISTRY, WeightsEntry, find_entry


def load_pretrained(
    model: VisionTransformer, weights: str | Path, *, num_classes: int | None = None, part: str | None = None
) -> VisionTransformer:
    """Load weights into `model`, strictly: every tensor of the file's model finds its parameter, and none is left without.

    The model gets what belongs to the weights too: LayerNorm's epsilon, how positions are resampled, and
    `model.preprocessing` (mean, std, input size, interpolation, crop; where nobody knows them, it counts as false, and its
    `transform` says so). Position embeddings of another grid are resampled, filters for colour are fitted to other channels.
    What was done is printed, a line each, also what else is in the file and was left out. If anything does not fit,
    nothing is changed.

    Args:
        model: a `VisionTransformer`.
        weights: a name in `REGISTRY`, or the path of a file: torchvision `.pth`, timm `.pth` or `.safetensors`, Hugging
            Face `.safetensors` or `.bin`, each with the JSON files beside it (config.json, preprocessor_config.json),
            Google's and big_vision's `.npz`, checkpoints of Meta's code (DeiT, DINO, MAE, DINOv2, DINOv3), the vision
            towers of CLIP and SigLIP, or a file of `save_weights`; wrapped and training checkpoints of all these.
        num_classes: the number of classes wanted. If the file's head has another, or a representation layer that
            the model has not, the model gets a new, untrained head (which an optimiser made before does not
            know), and the file's is left out. None: the file's head must fit the model's.
        part: of several sets of weights in the file, which: "student", say. None: the averaged one or the teacher.

    Returns:
        `model`.

    Raises:
        ValueError: one line that says what does not fit, and what to do.

    Source: Dosovitskiy et al. 2021, section 3.2, for the new head and the resampled positions. Chapter 06.
    """
    _check_plain(model, "load")
    path, entry = _locate(weights)
    notes: list[str] = []
    try:
        library, state, facts = _read(path, entry, part, notes)
        state, classes = fit_state(state, model, facts, num_classes, notes)
        _check_numbers(state)
        eps = facts.norm_eps or model.config.norm_eps
        changes: dict[str, Any] = {"norm_eps": eps}
        if facts.antialias is not None:
            changes |= {"pos_antialias": facts.antialias, "pos_offset": facts.offset}
        replace(model.config, **changes)  # raises for what no model can have
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from error

    if classes is not None:
        model.reset_classifier(classes)
    model.load_state_dict(model.state_dict() | state)
    if facts.norm_eps is None:
        notes.append(f"LayerNorm's epsilon does not stand in the file: the model's own, {eps:g}, stays.")
    _set_eps(model, eps, notes)
    model.config = replace(model.config, **changes)
    if facts.activation is None and "norm_pre.weight" in state:  # CLIP's tower, of which there are two kinds
        notes.append(
            f"the MLP's activation does not stand in the file: the model's own, {model.config.activation}, stays."
        )
    if facts.preprocessing:
        model.preprocessing = facts.preprocessing.at(model.patch_embed.img_size)
    else:
        model.preprocessing = UnknownPreprocessing()
        notes.append("how these weights want their images is not known: see where you got them from.")
    print(f"{path.name}: {len(state)} tensors under {OWNERS[library]} names, all in place.", *notes, sep="\n  ")
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
    write_weights(model.state_dict(), path, {"config": model.config.settings(), "preprocessing": images})


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
    if isinstance(model, VisionTransformer):
        return
    kind = type(model)
    if kind.__name__ == VisionTransformer.__name__:
        raise ValueError(
            f"the model is a {kind.__name__} of {kind.__module__.partition('.')[0]}, not of course_lib: build it with "
            f"create_model of course_lib.models, or {verb} its weights as its own library does."
        )
    raise ValueError(
        f"the model is a {kind.__name__}, not a VisionTransformer: {verb} the weights of the one that was "
        "compiled or wrapped."
    )


def _read(path: Path, entry: WeightsEntry | None, part: str | None, notes: list[str]) -> tuple[str, State, WeightFacts]:
    """(which library's names the file uses, {timm's name: tensor}, what else is known of it)."""
    sets = read_sets(path)
    chosen = part if part in sets else next(iter(sets))
    if len(sets) > 1 and part != chosen:
        notes.append(f"of its sets of weights ({', '.join(sets)}) {chosen!r} is taken: `part` takes another.")
    weights = sets[chosen]
    library, state = to_timm_names(weights, part if part != chosen else None, notes)
    return library, state, gather_facts(path, library, state, entry, num_heads(weights))


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
    for module in model.modules():
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            module.eps = eps
