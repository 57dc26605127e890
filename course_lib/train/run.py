"""A training run under way, and what of it must be kept to go on later. Chapter 07."""

import copy
import json
import math
from dataclasses import asdict

import torch

from course_lib.train import distributed
from course_lib.train.checkpoint import CheckpointError
from course_lib.train.device import count_parameters, get_device, get_precision
from course_lib.train.optim import param_groups, split_by_rate


class Run:
    """A training run under way: the model, what goes with it, and where it stands.

    Args:
        model: a classifier; it moves to the run's device.
        data: the training images, an `ImageSet`; they move there too.
        config: a `TrainConfig`.
        rates: factors for the learning rates of parameters by name (see `split_by_rate`); None for 1 throughout.

    Raises:
        ValueError: the batch is larger than the data, or cannot be shared out evenly among the processes.
    """

    def __init__(self, model, data, config, rates=None):
        if len(data) < config.batch_size:
            raise ValueError(
                f"{len(data)} training images are fewer than batch_size {config.batch_size}: make it smaller."
            )
        self.config = config
        self.device = distributed.start(get_device(config.device))
        if config.batch_size % distributed.world_size():
            raise ValueError(
                f"batch_size {config.batch_size} must be a multiple of the {distributed.world_size()} processes."
            )
        self.dtype = get_precision(config.precision, self.device)
        self.data = data.to(self.device)
        self.weights_dtype = torch.float64 if self.dtype == torch.float64 else torch.float32
        self.model = model.to(self.device, self.weights_dtype)
        self.parallel = distributed.wrap(self.model)  # from here on all processes have the weights of the main one
        self.average = copy.deepcopy(self.model) if config.ema else self.model
        if config.compile:
            self.model.compile()
        self.rates = rates or {}
        groups = split_by_rate(param_groups(self.model, config.weight_decay), self.model, self.rates)
        self.optimizer = torch.optim.AdamW(groups, config.lr, config.betas, fused=True)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.steps_per_epoch = len(data) // config.batch_size
        self.accumulate = config.accumulate
        self.epoch = 0  # finished ones
        self.step = 0  # batches so far
        self.skipped = 0  # of these, not applied because float16 overflowed
        self.overflows = 0  # in a row, up to now
        self.loss_sum = 0.0  # over the steps of this epoch
        self.last_loss = math.nan  # of the step before
        self.history = []  # a dict for each epoch
        self.seconds = 0.0
        self.cpu_seconds = 0.0  # of the processor's time: what the run costs even if others share the machine

    def autocast(self):
        """Inside `with`, products are computed in the run's precision."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype in (torch.float16, torch.bfloat16))

    def state(self):
        """Everything that another process needs to go on: tensors, numbers and text."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.config.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": {name: getattr(self, name) for name in PROGRESS},
            "steps_per_epoch": self.steps_per_epoch,
            "about": self.about(),
            "place": self.place(),
        }

    def about(self):
        """What makes it this run and no other: settings, data and model, in words and numbers."""
        config = {name: value for name, value in asdict(self.config).items() if name not in SAME_MEANING}
        data = {"name": self.data.name, "images": self.data.images.shape, "classes": len(self.data.classes)}
        model = {name: value.shape for name, value in self.model.state_dict().items()}
        trained = {"parameters": count_parameters(self.model), "rates": self.rates}
        return json.loads(json.dumps({"config": config, "data": data, "model": model, "trained": trained}))

    def place(self):
        """What it runs on: elsewhere it is the same training, but not to the last bit."""
        return {
            "device": self.device.type,
            "precision": str(self.dtype),
            "processes": distributed.world_size(),
            "accumulate": self.config.accumulate,
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
        }

    def restore(self, state, allow_change=False):
        """Go on from `state`, unless it comes from a run with other settings.

        Raises:
            CheckpointError: it does; or, in any case, from a run with another model, or with other parts of it trained.
        """
        old, new = state["about"], self.about()
        other_model = any(old[name] != new[name] for name in ("model", "trained"))
        if old != new and (not allow_change or other_model):
            allow = "" if other_model else ", or --allow-change (allow_change=True)"
            raise CheckpointError(
                f"the checkpoint is of another run: {differences(old, new)}. Use the old settings, or another "
                f"folder with --out{allow}."
            )
        if distributed.is_main() and old != new:
            print(f"Going on with other settings: {differences(old, new)}.", flush=True)
        if distributed.is_main() and state["place"] != self.place():
            print(
                f"Going on, but not the same to the last bit: {differences(state['place'], self.place())}.", flush=True
            )
        self.model.load_state_dict(state["model"])
        if self.config.ema:
            self.average.load_state_dict(state["average"] or state["model"])
        for group, mine in zip(state["optimizer"]["param_groups"], self.optimizer.param_groups, strict=True):
            group.update(weight_decay=mine["weight_decay"], betas=mine["betas"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        for name in PROGRESS:
            setattr(self, name, state["progress"][name])
        stretch = self.steps_per_epoch / state["steps_per_epoch"]  # 1, unless allow_change lets the batches differ
        for name in ("step", "skipped"):
            setattr(self, name, round(getattr(self, name) * stretch))
        self.loss_sum *= stretch


PROGRESS = ("epoch", "step", "skipped", "overflows", "loss_sum", "last_loss", "history", "seconds", "cpu_seconds")
SAME_MEANING = ("accumulate", "compile", "device")  # of these settings, any may be changed half way


def differences(old, new):
    """What differs between two nested dicts, in words: "config.lr: 0.1 -> 0.2; ..."."""

    def lines(old, new, path):
        if isinstance(old, dict) and isinstance(new, dict):
            return [line for name in old | new for line in lines(old.get(name), new.get(name), f"{path}.{name}")]
        return [] if old == new else [f"{path.lstrip('.')}: {old} -> {new}"]

    found = lines(old, new, "")
    return "; ".join(found[:8]) + (f"; and {len(found) - 8} more" if len(found) > 8 else "")
