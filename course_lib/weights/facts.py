"""What must be known of weights beside their tensors: epsilon, heads, activation, grid, how they want their images.

It stands in the registry, in JSON files beside the weights (Hugging Face, timm's folders on the hub), or inside the
file (`save_weights`). Chapter 06.
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from course_lib.vit import VIT_CONFIGS, ViTConfig
from course_lib.weights.convert import State
from course_lib.weights.preprocessing import Preprocessing
from course_lib.weights.registry import WeightsEntry

# Arguments of timm's models that are fields of ours under the same name.
SAME_IN_TIMM = (
    *("img_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "qkv_bias", "qk_norm", "global_pool"),
    *("class_token", "reg_tokens", "no_embed_class", "init_values"),
)

# Activations of an MLP, as Hugging Face calls them.
ACTIVATIONS_OF = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "silu": "swiglu", "swish": "swiglu"}


@dataclass
class WeightFacts:
    """None: not known.

    Args:
        norm_eps: what each norm adds to the variance.
        num_heads: H.
        grid_size: (gh, gw) of the position embeddings.
        activation: of the MLP, in our words where we have one.
        antialias: whether its library antialiases positions as it resamples them.
        offset: what it adds to the new grid then; known where `antialias` is.
        preprocessing: a `Preprocessing`.
    """

    norm_eps: float | None = None
    num_heads: int | None = None
    grid_size: tuple[int, int] | None = None
    activation: str | None = None
    antialias: bool | None = None
    offset: float = 0.0
    preprocessing: Preprocessing | None = None


def library_facts(library: str, state: State) -> WeightFacts:
    """What holds for all weights of a kind, where nothing beside them says otherwise: the values in that library's code.

    Files with timm's names come from everywhere, also from a model of ours, so nothing is taken for granted there.
    """
    if library == "timm":
        return WeightFacts()
    later = "blocks.0.ls1.gamma" in state  # DINOv2 and DINOv3
    if library == "meta":
        registers = "reg_token" in state
        return WeightFacts(
            1e-6 if "pos_embed" in state else 1e-5, antialias=registers, offset=0.1 if later and not registers else 0.0
        )
    if library == "huggingface":
        eps = 1e-12 if not later else 1e-6 if "pos_embed" in state else 1e-5
        return WeightFacts(eps, activation=None if later else "gelu", antialias=not later or "reg_token" in state)
    if library == "huggingface/clip":
        clip = "norm_pre.weight" in state  # or else SigLIP
        return WeightFacts(1e-5 if clip else 1e-6, activation="quick_gelu" if clip else "gelu_tanh", antialias=False)
    if library == "openai":
        return WeightFacts(1e-5)  # OpenAI's own want quick_gelu, OpenCLIP's mostly gelu: the names are the same
    return WeightFacts(1e-6, activation="gelu", antialias=True)


def gather_facts(
    path: Path, library: str, state: State, entry: WeightsEntry | None, num_heads: int | None
) -> WeightFacts:
    """Everything that is known of the file at `path`.

    Args:
        path: the weights file.
        library: whose names it uses, as `convert.to_timm_names` says.
        state: its tensors under timm's names.
        entry: its `WeightsEntry`, or None.
        num_heads: what its layout shows, or None.

    Raises:
        ValueError: what stands beside the weights, or what `save_weights` wrote into them, cannot be understood.
    """
    facts = library_facts(library, state)
    facts.num_heads = num_heads
    if library.startswith("huggingface"):
        _read_hub_files(path.parent, facts)
    elif library == "timm" and not _read_own_metadata(path, facts):
        _read_timm_config(path.parent, facts)
    if entry:
        facts.num_heads = facts.num_heads or VIT_CONFIGS[entry.architecture].num_heads
        facts.norm_eps = entry.norm_eps or facts.norm_eps
        facts.preprocessing = entry.preprocessing or facts.preprocessing
    return facts


def _read_hub_files(folder: Path, facts: WeightFacts) -> None:
    """config.json and preprocessor_config.json, as far as they are there."""
    config = _read_json(folder / "config.json")
    try:
        config = config.get("vision_config") or config  # of a model with a text tower
        if config.get("layer_norm_eps"):
            facts.norm_eps = float(config["layer_norm_eps"])
        if "num_attention_heads" in config:
            facts.num_heads = int(config["num_attention_heads"])
        if config.get("hidden_act") and not config.get("use_swiglu_ffn") and not config.get("use_gated_mlp"):
            facts.activation = ACTIVATIONS_OF.get(config["hidden_act"], config["hidden_act"])
        if isinstance(config.get("image_size"), list):
            facts.grid_size = tuple(side // config["patch_size"] for side in config["image_size"])
        facts.preprocessing = _hub_preprocessing(_read_json(folder / "preprocessor_config.json"))
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"config.json or preprocessor_config.json beside it says what no ViT has ({error}): put the right ones there, or none."
        ) from error


def _read_timm_config(folder: Path, facts: WeightFacts) -> None:
    """config.json of a folder that timm has put on the hub, if it is there."""
    config = _read_json(folder / "config.json")
    if "architecture" not in config:
        return
    try:
        images = config.get("pretrained_cfg") or config  # older files have it all on one level
        if ours := VIT_CONFIGS.get(config["architecture"]):
            changed = config.get("model_args") or {}
            facts.norm_eps, facts.num_heads = ours.norm_eps, int(changed.get("num_heads", ours.num_heads))
            # One of timm's files with CLIP's tower serves two of its names, with gelu and with quick_gelu.
            facts.activation = changed.get(
                "act_layer", None if ours.norm_pre and ours.activation == "gelu" else ours.activation
            )
            facts.antialias = True
        facts.preprocessing = _timm_preprocessing(images)
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"config.json beside it says what no ViT has ({error}): put the right one there, or none."
        ) from error


def timm_model(folder: Path) -> tuple[ViTConfig, tuple[str, ...]] | None:
    """What config.json of a folder that timm has written says of the model.

    Returns:
        (its config, the name of each output; () where they have none), or None if there is no such file, or the
        architecture is none of `VIT_CONFIGS`.

    Raises:
        ValueError: it cannot be understood.
    """
    config = _read_json(folder / "config.json")
    ours = VIT_CONFIGS.get(str(config.get("architecture")))
    if ours is None:
        return None
    try:
        channels, *sides = (config.get("pretrained_cfg") or config)["input_size"]
        changes = {"in_chans": channels, "img_size": sides, "num_classes": config["num_classes"]}
        changes |= {name: value for name, value in (config.get("model_args") or {}).items() if name in SAME_IN_TIMM}
        names = tuple(config.get("label_names") or ())
        model = replace(ours, **{name: frozen(value) for name, value in changes.items()})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"config.json in {folder} says what no ViT has ({error}): put the right one there.") from error
    return model, names if len(names) == model.num_classes else ()


def _timm_preprocessing(images: dict[str, Any]) -> Preprocessing | None:
    """A `Preprocessing`, or None if the file says something that ours cannot do, or does not say enough."""
    mean, std, size = images.get("mean"), images.get("std"), images.get("input_size")
    interpolation, mode = images.get("interpolation"), images.get("crop_mode") or "center"
    if not (mean and std and size) or interpolation not in ("bilinear", "bicubic") or mode not in ("center", "squash"):
        return None
    height, width = (math.floor(side / (images.get("crop_pct") or 1)) for side in size[1:])
    if mode == "center" and height != width:
        return None  # timm fits one side there, and which depends on the picture
    resize = height if mode == "center" else (height, width)
    return Preprocessing(tuple(mean), tuple(std), tuple(size[1:]), resize, interpolation)


def _hub_preprocessing(images: dict[str, Any]) -> Preprocessing | None:
    """A `Preprocessing`, or None if the file says something that ours cannot do, or does not say enough."""
    interpolation = {2: "bilinear", 3: "bicubic"}.get(images.get("resample", 2))  # PIL's numbers
    kind = str(images.get("image_processor_type") or images.get("feature_extractor_type"))
    size = images.get("size")
    resize = size if isinstance(size, int) and "CLIP" in kind else _hub_size(size)  # there a number is the shorter side
    crop = _hub_size(images.get("crop_size")) if images.get("do_center_crop") else resize
    mean, std = images.get("image_mean"), images.get("image_std")
    usual = all(images.get(step, True) for step in ("do_resize", "do_rescale", "do_normalize"))
    if not (mean and std and interpolation and resize and isinstance(crop, tuple) and usual):
        return None
    return Preprocessing(tuple(mean), tuple(std), crop, resize, interpolation)


def _hub_size(size: Any) -> tuple[int, int] | int | None:
    """(height, width), one number for the shorter side, or None."""
    if isinstance(size, int):
        return size, size
    if isinstance(size, dict) and {"height", "width"} <= size.keys():
        return size["height"], size["width"]
    return size.get("shortest_edge") if isinstance(size, dict) else None


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def frozen(value: Any) -> Any:
    """What JSON gives back as a list was a tuple."""
    return tuple(value) if isinstance(value, list) else value


def as_preprocessing(images: dict[str, Any] | None) -> Preprocessing | None:
    """A `Preprocessing` from what was written of it; None where nothing was."""
    return Preprocessing(**{name: frozen(value) for name, value in images.items()}) if images else None


def read_about(path: Path) -> dict[str, Any]:
    """What the course has written of a model into its weights file; {} if it has not.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("course_lib", "{}"))
    except SafetensorError:
        return {}  # a .pth
    except ValueError:
        about = None
    if not isinstance(about, dict):
        raise ValueError(f"{path} is damaged (what it says of itself cannot be read): use another copy.")
    return about


def _read_own_metadata(path: Path, facts: WeightFacts) -> bool:
    """Whether the course wrote the file, and then what it says of itself."""
    about = read_about(path)
    try:
        if config := about.get("config"):
            size = config["img_size"] if isinstance(config["img_size"], list) else [config["img_size"]] * 2
            facts.grid_size = tuple(side // config["patch_size"] for side in size)
            facts.norm_eps, facts.num_heads = float(config["norm_eps"]), config["num_heads"]
            facts.activation, facts.antialias = config.get("activation", "gelu"), config.get("pos_antialias", True)
            facts.offset = float(config.get("pos_offset", 0.0))
        facts.preprocessing = as_preprocessing(about.get("preprocessing"))
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{path} is damaged (what it says of itself cannot be read): use another copy.") from error
    return bool(about)
