"""A training run under way, and what of it must be kept to go on later. Chapter 07."""

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.data.image_set import ImageSet
from course_lib.train import distributed
from course_lib.train.balance import balanced_order, class_weights
from course_lib.train.checkpoint import CheckpointError
from course_lib.train.config import TrainConfig
from course_lib.train.device import count_parameters, get_device, get_precision
from course_lib.train.muon import MuonAdamW, muon_groups
from course_lib.train.optim import SCHEDULES, param_groups, split_by_rate
from course_lib.vit import VisionTransformer


@dataclass
class Progress:
    """Where a run stands. The loop counts; `Watch` adds the history and the time; a checkpoint holds it all."""

    epoch: int = 0  # finished ones
    step: int = 0  # batches so far
    skipped: int = 0  # of these, not applied because float16 overflowed
    overflows: int = 0  # in a row, up to now
    loss_sum: float = 0.0  # over the steps of this epoch
    right: float = 0.0  # images of this epoch that were classified right, as they were trained on
    last_loss: float = math.nan  # of the step before
    history: list[dict] = field(default_factory=list)  # a dict for each epoch
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of the processor's time: what the run costs even if others share the machine
    changes: list[str] = field(default_factory=list)  # of settings half way, on request

    @property
    def best_epoch(self) -> int:
        """The epoch with the highest accuracy on validation, the earliest of equals; 0 before the first."""
        return max(self.history, key=lambda row: row["val_accuracy"])["epoch"] if self.history else 0


class Run:
    """A training run under way: the model and what goes with it, made from the settings, and its `progress`.

    Beside the numbers in the model, its average, optimiser and scaler, three things change on the way: `progress`,
    `best`, the weights after the best epoch on validation, and `accumulate`, where the memory is too small for the parts
    of a batch.

    Args:
        model: a classifier; it moves to the run's device.
        data: the training images, an `ImageSet`; they move there too.
        config: a `TrainConfig`.
        rates: factors for the learning rates of parameters by name (see `split_by_rate`); None for 1 throughout.

    Raises:
        ValueError: the batch is larger than the data, or cannot be shared out evenly among the processes.
    """

    def __init__(
        self, model: nn.Module, data: ImageSet, config: TrainConfig, rates: Mapping[str, float] | None = None
    ) -> None:
        if len(data) < config.batch_size:
            raise ValueError(
                f"{len(data)} training images are fewer than batch_size {config.batch_size}: make it smaller."
            )
        self.config, self.rates = config, rates or {}
        self.device = distributed.start(get_device(config.device))
        if config.batch_size % distributed.world_size():
            raise ValueError(
                f"batch_size {config.batch_size} must be a multiple of the {distributed.world_size()} processes."
            )
        self.precision = get_precision(config.precision, self.device)
        self.weights_dtype = torch.float64 if self.precision == torch.float64 else torch.float32
        self.data = data.to(self.device)
        self.model = model.to(self.device, self.weights_dtype)
        self.parallel = distributed.wrap(self.model)  # from here on all processes have the weights of the main one
        self.average = copy.deepcopy(self.model) if config.ema else self.model
        if config.patch_drop:
            check_patch_drop(self.model)
        if config.compile:
            self.model.compile()
        groups = param_groups(self.model, config.weight_decay)
        if config.muon_lr:
            groups = muon_groups(groups, self.model, config.muon_lr / config.lr)
        groups = split_by_rate(groups, self.model, self.rates)
        self.optimizer = MuonAdamW(groups, config.lr, config.betas, fused=True)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == torch.float16)
        self.accumulate = config.accumulate
        self.class_weights = None
        if config.class_weights:
            self.class_weights = class_weights(self.data.labels, len(data.classes)).to(self.device, self.weights_dtype)
        self.progress = Progress()
        self.best: dict[str, Tensor] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the data; what is left over waits for another epoch's order."""
        return len(self.data) // self.config.batch_size

    @property
    def total_steps(self) -> int:
        """Of the whole run, if nothing ends it early."""
        return self.config.epochs * self.steps_per_epoch

    @property
    def stopped_early(self) -> bool:
        """Whether validation has not got better for as long as the settings have patience."""
        waited = self.progress.epoch - self.progress.best_epoch
        return 0 < self.config.patience <= waited

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to train."""
        return self.progress.epoch >= self.config.epochs or self.stopped_early

    def leave_out_patches(self) -> None:
        """Tell the model which share of each image's patches the next step leaves out."""
        if self.config.patch_drop:
            model: Any = self.model
            early = self.progress.step < self.config.patch_drop_until * self.total_steps
            model.patch_drop.rate = self.config.patch_drop if early else 0.0

    def order(self) -> Tensor:
        """The rows of the images in the order of the next epoch: (n,). Draws from PyTorch's random numbers."""
        rows = balanced_order(self.data.labels.cpu()) if self.config.balanced else torch.randperm(len(self.data))
        return rows.to(self.device)

    def keep_best(self) -> None:
        """Keep the weights that were judged last, if no epoch before was as good."""
        if self.progress.best_epoch == self.progress.epoch:
            self.best = {name: value.to("cpu", copy=True) for name, value in self.average.state_dict().items()}

    def autocast(self) -> torch.autocast:
        """Inside `with`, products are computed in the run's precision."""
        reduced = self.precision in (torch.float16, torch.bfloat16)
        return torch.autocast(self.device.type, self.precision, enabled=reduced)

    def state(self) -> dict:
        """Everything that another process needs to go on: tensors, numbers and text."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.config.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best": self.best,
            "progress": asdict(self.progress),
            "steps_per_epoch": self.steps_per_epoch,
            "about": self.about(),
            "place": self.place(),
        }

    def about(self) -> dict:
        """What makes it this run and no other: settings, data and model, in words and numbers."""
        config = {name: value for name, value in self.config.settings().items() if name not in SAME_MEANING}
        data = {"name": self.data.name, "images": self.data.images.shape, "classes": len(self.data.classes)}
        if self.data.fingerprint:
            data["fingerprint"] = self.data.fingerprint
        model = {name: value.shape for name, value in self.model.state_dict().items()}
        trained = {"parameters": count_parameters(self.model), "rates": self.rates}
        return json.loads(json.dumps({"config": config, "data": data, "model": model, "trained": trained}))

    def place(self) -> dict:
        """What it runs on: elsewhere it is the same training, but not to the last bit."""
        return {
            "device": self.device.type,
            "precision": str(self.precision),
            "processes": distributed.world_size(),
            "accumulate": self.config.accumulate,
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
        }

    def restore(self, state: dict, allow_change: bool = False) -> None:
        """Go on from `state`, unless it comes from a run with other settings.

        Raises:
            CheckpointError: it does; or, in any case, from a run with another model, or with other parts of it trained.
        """
        self._check_same(state, allow_change)
        self.model.load_state_dict(state["model"])
        if self.config.ema:
            self.average.load_state_dict(state["average"] or state["model"])
        for group, mine in zip(state["optimizer"]["param_groups"], self.optimizer.param_groups, strict=True):
            group.update(weight_decay=mine["weight_decay"], betas=mine["betas"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.best = state.get("best")
        self.progress = Progress(**state["progress"])
        if changes := differences(*self._abouts(state)):
            self.progress.changes.append(f"after epoch {self.progress.epoch}: {changes}")
        stretch = self.steps_per_epoch / state["steps_per_epoch"]  # 1, unless allow_change lets the batches differ
        self.progress.step = round(self.progress.step * stretch)
        self.progress.skipped = round(self.progress.skipped * stretch)
        self.progress.loss_sum *= stretch
        self.progress.right *= stretch * self.config.batch_size / state["about"]["config"]["batch_size"]

    def _abouts(self, state: dict) -> tuple[dict, dict]:
        """What makes the run, as in `state` and here. What only one of them knows of the files is no difference."""
        old, new = copy.deepcopy(state["about"]), self.about()
        if not ("fingerprint" in old["data"] and "fingerprint" in new["data"]):
            for about in (old, new):
                about["data"].pop("fingerprint", None)
        return old, new

    def _check_same(self, state: dict, allow_change: bool) -> None:
        old, new = self._abouts(state)
        if old["data"].get("fingerprint") != new["data"].get("fingerprint") and not allow_change:
            raise CheckpointError(images_changed(self.data.name))
        other_model = any(old[name] != new[name] for name in ("model", "trained"))
        if old != new and (not allow_change or other_model):
            allow = "" if other_model else ", or --allow-change (allow_change=True)"
            raise CheckpointError(
                f"the checkpoint is of another run: {differences(old, new)}. Use the old settings, or another "
                f"folder with --out{allow}."
            )
        if not distributed.is_main():
            return
        if old != new:
            print(f"Going on with other settings: {differences(old, new)}.", flush=True)
        there, here = state["place"], self.place()
        if there != here:
            print(f"Going on, but not the same to the last bit: {differences(there, here)}.", flush=True)


def check_patch_drop(model: nn.Module) -> None:
    """Raise a `ValueError` unless the model can do without some of its patches."""
    if not isinstance(model, VisionTransformer):
        raise ValueError(f"a {type(model).__name__} cannot leave out patches: set patch_drop=0.")
    if (kind := model.config.pos_embed) in ("relative", "rope"):
        raise ValueError(f"positions of kind {kind!r} need every patch: set patch_drop=0 or model.pos_embed=sincos2d.")


def images_changed(name: str) -> str:
    """Why a run cannot go on with other images under the same name, and what to do."""
    return (
        f"the images in {name} have changed since this run began: --again trains anew (again=True in Python), "
        "--allow-change goes on with those that are there now."
    )


def prolonged(state: dict, epochs: int) -> dict:
    """The state of a run that was planned for fewer epochs, as that of one of `epochs`; and a line says how it goes on.

    The learning rate joins the schedule of the longer run at the step where the run stands. Where it had fallen, it
    rises again, and falls to 0 once more: what comes out is not the run that was planned for so many from the start.

    Source: Loshchilov & Hutter 2017, section 3, for rates that rise again. Chapter 07.
    """
    state = copy.deepcopy(state)
    config, progress = state["about"]["config"], state["progress"]
    progress["changes"].append(f"after epoch {progress['epoch']}: config.epochs: {config['epochs']} -> {epochs}")
    config["epochs"] = epochs
    step, steps = progress["step"] - progress["skipped"], state["steps_per_epoch"]
    schedule = SCHEDULES[config.get("schedule", "cosine")]
    rate = schedule(step, epochs * steps, round(config["warmup_epochs"] * steps), config["lr"])
    print(
        f"After {progress['epoch']} epochs the learning rate goes on as in a run of {epochs}, from {rate:.2g}.",
        flush=True,
    )
    return state


SAME_MEANING = ("accumulate", "compile", "device")  # of these settings, any may be changed half way


def differences(old: dict, new: dict) -> str:
    """What differs between two nested dicts, in words: "config.lr: 0.1 -> 0.2; ..."."""

    def lines(old, new, path):
        if isinstance(old, dict) and isinstance(new, dict):
            return [line for name in old | new for line in lines(old.get(name), new.get(name), f"{path}.{name}")]
        return [] if old == new else [f"{path.lstrip('.')}: {old} -> {new}"]

    found = lines(old, new, "")
    return "; ".join(found[:8]) + (f"; and {len(found) - 8} more" if len(found) > 8 else "")
