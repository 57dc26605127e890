"""The settings of a training run. Chapter 07."""

from dataclasses import asdict, dataclass, field
from typing import Any

from course_lib.data.augment import Augment
from course_lib.validate import check_choice, check_count, check_rate, is_number

LATER = {  # settings that the first records do not have, and what these had
    "patience": 0,
    "class_weights": False,
    "balanced": False,
    "schedule": "cosine",
    "muon_lr": 0.0,
    "patch_drop": 0.0,
    "patch_drop_until": 0.85,
}


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Args:
        epochs: passes over the training images.
        batch_size: images for one step of the optimiser, over all processes and parts together.
        lr: learning rate after warm-up.
        warmup_epochs: over these the learning rate rises from 0; afterwards it falls to 0.
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
        patience: stop after so many epochs in a row that are no better on validation than the best before; 0 for never.
        class_weights: whether each class counts alike in the loss, however few images it has (see `class_weights`).
        balanced: whether each class comes equally often in an epoch, however few images it has (see `balanced_order`).
        schedule: along what it falls: "cosine" or "linear".
        muon_lr: learning rate of Muon for the matrices in a ViT's blocks, with the same schedule; 0 for AdamW there too.
        patch_drop: the share of each image's patches that a ViT is not shown, drawn anew at each step.
        patch_drop_until: up to this share of the run; then it is shown all of them.

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
    patience: int = 0
    class_weights: bool = False
    balanced: bool = False
    schedule: str = "cosine"
    muon_lr: float = 0.0
    patch_drop: float = 0.0
    patch_drop_until: float = 0.85

    def __post_init__(self) -> None:
        for name, least in {"epochs": 1, "batch_size": 1, "accumulate": 1, "seed": 0, "patience": 0}.items():
            check_count(name, getattr(self, name), least)
        amounts = ("lr", "warmup_epochs", "weight_decay", "clip_grad", "label_smoothing", "ema")
        for name in (*amounts, "muon_lr", "patch_drop", "patch_drop_until"):
            value = getattr(self, name)
            if not is_number(value) or value < 0:
                raise ValueError(f"{name} {value!r} must be a number, at least 0.")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}.")
        if not 0 < self.lr <= 1:
            raise ValueError(f"lr {self.lr!r} must be above 0 and at most 1; 1e-3 is usual for AdamW.")
        for name in ("muon_lr", "patch_drop_until"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} {getattr(self, name)!r} must be at most 1.")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs {self.warmup_epochs!r} must be below epochs {self.epochs}: set warmup_epochs=0, or more epochs."
            )
        for name in ("label_smoothing", "ema", "patch_drop"):
            check_rate(name, getattr(self, name))
        pair = isinstance(self.betas, (tuple, list)) and len(self.betas) == 2
        if not pair or not all(is_number(beta) and 0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas {self.betas!r} must be two numbers, at least 0 and below 1.")
        check_choice("schedule", self.schedule, ("cosine", "linear"))
        check_choice("precision", self.precision, ("auto", "float32", "bfloat16", "float16", "float64"))
        kinds = {"augment": Augment, "compile": bool, "device": str, "class_weights": bool, "balanced": bool}
        for name, kind in kinds.items():
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} {getattr(self, name)!r} must be of type {kind.__name__}.")
        if self.class_weights and self.balanced:
            raise ValueError("class_weights and balanced both even out the classes, twice is too much: choose one.")

    def settings(self) -> dict[str, Any]:
        """All settings in a dict. What came later is there only if it changes something: so older records stay true."""
        return {name: value for name, value in asdict(self).items() if LATER.get(name) != value or name not in LATER}
