"""The settings of a training run. Chapter 07."""

from dataclasses import dataclass, field

from course_lib.data.augment import Augment
from course_lib.validate import check_choice, check_count, check_rate, is_number


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Args:
        epochs: passes over the training images.
        batch_size: images for one step of the optimiser, over all processes and parts together.
        lr: learning rate after warm-up.
        warmup_epochs: over these the learning rate rises from 0; afterwards it falls along a cosine to 0.
        weight_decay: of AdamW, on the weights that are products only (see `param_groups`).
        betas: of AdamW.
        label_smoothing: the share of each target that is spread evenly over all classes.
        clip_grad: gradients longer than this, all of them as one vector, are shortened to it; 0 for never.
        ema: keep a running average of the weights, with this much of the old at each step; 0 for none.
        accumulate: parts that each batch is cut into, when it does not fit into memory at once.
        augment: what happens to the images, an `Augment`.
        precision: "float32", "bfloat16", "float16", "float64", or "auto" for the fastest good one that the device has.
        compile: whether to compile the model first: worth its half minute in long runs.
        device: "cpu", "cuda", "mps", or "auto" for the best there is.
        seed: of everything that is random.

    Raises:
        ValueError: a value that no run can have.

    Source: Loshchilov & Hutter 2019; Touvron et al. 2021, table 9. Chapter 07.
    """

    epochs: int = 20
    batch_size: int = 128
    lr: float = 1e-3
    warmup_epochs: float = 1.0
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    label_smoothing: float = 0.0
    clip_grad: float = 1.0
    ema: float = 0.0
    accumulate: int = 1
    augment: Augment = field(default_factory=Augment)
    precision: str = "auto"
    compile: bool = False
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in {"epochs": 1, "batch_size": 1, "accumulate": 1, "seed": 0}.items():
            check_count(name, getattr(self, name), least)
        for name in ("lr", "warmup_epochs", "weight_decay", "clip_grad", "label_smoothing", "ema"):
            value = getattr(self, name)
            if not is_number(value) or value < 0:
                raise ValueError(f"{name} {value!r} must be a number, at least 0.")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}.")
        if not 0 < self.lr <= 1:
            raise ValueError(f"lr {self.lr!r} must be above 0 and at most 1; 1e-3 is usual for AdamW.")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs!r} must be below epochs {self.epochs}.")
        for name in ("label_smoothing", "ema"):
            check_rate(name, getattr(self, name))
        pair = isinstance(self.betas, (tuple, list)) and len(self.betas) == 2
        if not pair or not all(is_number(beta) and 0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas {self.betas!r} must be two numbers, at least 0 and below 1.")
        check_choice("precision", self.precision, ("auto", "float32", "bfloat16", "float16", "float64"))
        for name, kind in {"augment": Augment, "compile": bool, "device": str}.items():
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} {getattr(self, name)!r} must be of type {kind.__name__}.")
