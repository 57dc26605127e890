"""Draw a digit, and a Vision Transformer reads it while you draw: its answer, and where every head looks."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import traitlets

from course_lib.files.places import CHECKPOINTS
from course_lib.records import load_record
from course_lib.widgets.explorer import SCRIPTS, Explorer

if TYPE_CHECKING:
    from torch import Tensor

    from course_lib.vit import VisionTransformer, ViTConfig

SIDE = 28
MODEL = "vit_mnist_patch4_28"
POSITIONS = ("learn", "sincos1d", "sincos2d", "none")
WORKER = ("vit.js", "draw_digit_worker.js")  # the module's other half: the model, and what feeds it


def _examples() -> list[dict[str, str]]:
    """The recorded test images, each as its label and 784 bytes in base 64."""
    return [
        {"label": entry["label"], "image": base64.b64encode(bytes.fromhex("".join(entry["image"]))).decode()}
        for entry in load_record("mnist_test_examples")["examples"]
    ]


def _check(config: ViTConfig) -> None:
    """Raise a `ValueError` unless a model of this config can read what is drawn."""
    size = config.img_size if isinstance(config.img_size, tuple) else (config.img_size, config.img_size)
    if (config.in_chans, *size, config.num_classes) != (1, SIDE, SIDE, 10):
        raise ValueError(
            f"a drawing is {(1, SIDE, SIDE)} and one of 10 digits; this model takes {(config.in_chans, *size)} "
            f"and tells {config.num_classes} classes apart: train one on MNIST."
        )
    if config.pos_embed not in POSITIONS:
        raise ValueError(f"pos_embed {config.pos_embed!r} cannot run in the page: {', '.join(POSITIONS)} can.")
    if config.representation_size:
        raise ValueError(
            f"representation_size {config.representation_size} cannot run in the page: reset_classifier(10) removes it."
        )


class DrawDigit(Explorer):
    """A field to draw in; beside it what the model reads, its patches, and the attention of every layer and head.

        widget = DrawDigit()                    # the course's model for MNIST
        widget = DrawDigit(my_model)            # your own VisionTransformer: 28 x 28 pixels, one channel, 10 classes

    Args:
        model: a `VisionTransformer`, or the name in `VIT_CONFIGS` of one whose weights come with the course.

    The model runs where the drawing is, in JavaScript (``js/vit.js``), with the same numbers. Your own model has the
    weights that it has when the widget is shown, and the pixels are normalised as ``model.preprocessing`` says; where
    that is None, as for the course's model. On the static page only the course's models are live.

    ``image`` is the drawing as the model gets it, and ``probabilities`` is what it answered.

    Raises ValueError when the model is not one for such images, or has parts that ``js/vit.js`` has not.
    """

    module = "draw_digit"
    state_names = ("examples", "mean", "std", "weights")

    examples = traitlets.List(help="[{label, image}], 784 bytes in base 64", read_only=True).tag(sync=True)
    mean = traitlets.List(help="(1,)", read_only=True).tag(sync=True)
    std = traitlets.List(help="(1,)", read_only=True).tag(sync=True)
    weights = traitlets.Unicode(help="the file beside the module on the page", read_only=True).tag(sync=True)
    pixels = traitlets.Unicode(help="784 bytes in base 64; empty before the first drawing").tag(sync=True)
    probabilities = traitlets.List(help="(10,)").tag(sync=True)

    def __init__(self, model: VisionTransformer | str = MODEL, **kwargs: Any) -> None:
        from course_lib.vit import VIT_CONFIGS, VisionTransformer
        from course_lib.weights.registry import default_weights, find_entry

        if not isinstance(model, str | VisionTransformer):
            raise ValueError(
                f"model is a {type(model).__name__}, and must be a VisionTransformer of this course, or a name."
            )
        name = model if isinstance(model, str) else None
        entry = find_entry(default_weights(name or MODEL))
        _check(VIT_CONFIGS[model] if isinstance(model, str) else model.config)
        preprocessing: Any = getattr(model, "preprocessing", None) or entry.preprocessing
        self._model = model
        self._about = f"{name}, {entry.top1:.2f} % right on MNIST's test images" if name else "your own"
        self.set_trait("examples", _examples())
        self.set_trait("mean", list(preprocessing.mean))
        self.set_trait("std", list(preprocessing.std))
        self.set_trait("weights", f"{entry.file}?{(entry.sha256 or '')[:8]}" if name else "")
        super().__init__(**kwargs)
        self.on_msg(self._send_model)

    def _send_model(self, _, content, __):
        """The page asks once, when it shows the widget."""
        if content.get("wanted") == "model":
            sources = {name: (SCRIPTS / name).read_text(encoding="utf-8") for name in WORKER}
            self.send({"sources": sources}, buffers=[_file_of(self._model)])

    @property
    def image(self) -> Tensor:
        """(1, 28, 28) uint8 tensor: the last drawing, scaled and centred as MNIST's are; zeros before there is one."""
        import torch

        pixels = bytearray(base64.b64decode(self.pixels)) or bytearray(SIDE * SIDE)
        return torch.frombuffer(pixels, dtype=torch.uint8).reshape(1, SIDE, SIDE)

    def describe(self) -> str:
        """What the model read last, in a sentence."""
        if not self.probabilities:
            return "Nothing is drawn yet."
        first, second = sorted(range(10), key=lambda i: -self.probabilities[i])[:2]
        return (
            f"The model reads {first} ({100 * self.probabilities[first]:.0f} %), "
            f"then {second} ({100 * self.probabilities[second]:.0f} %)."
        )

    def text_alternative(self) -> str:
        return (
            "<p><strong>Draw a digit.</strong> A field to draw in. A Vision Transformer\n"
            f"({self._about}) reads the digit while it is drawn. Beside the field: the probability of each of the ten\n"
            "digits, what the model would have answered after each of its blocks, the drawing as the model gets it,\n"
            f"{SIDE} × {SIDE} pixels cut into patches, and for every layer and head a small map of where it looks.\n"
            "Ten test images of MNIST stand below the field for those who cannot draw. It needs JavaScript, or, in a\n"
            "notebook, this cell to be run.</p>\n"
            f"<p>{self.describe()}</p>"
        )

    def static_html(self) -> str:
        if self.weights:
            return super().static_html()
        return f'<div class="course-widget">\n{self.text_alternative()}\n</div>'  # the page has no such weights

    def __repr__(self) -> str:
        return f"DrawDigit({self._about}): {self.describe()}"


def _file_of(model: VisionTransformer | str) -> bytes:
    """The weights as a safetensors file, its config inside: the course's as they lie there, a model's in float32."""
    if isinstance(model, str):
        from course_lib.weights.registry import default_weights, find_entry

        file = find_entry(default_weights(model)).file
        return next(path for path in (folder / file for folder in CHECKPOINTS) if path.is_file()).read_bytes()
    from safetensors.torch import save

    state = {name: value.detach().cpu().float().contiguous() for name, value in model.state_dict().items()}
    return save(state, {"course_lib": json.dumps({"config": model.config.settings()})})
