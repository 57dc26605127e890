"""Train a classifier: fast, repeatable, and safe against crashes. Chapter 07."""

from course_lib.train.balance import balanced_order, class_weights
from course_lib.train.config import TrainConfig
from course_lib.train.device import count_parameters, describe, get_device, set_seed
from course_lib.train.loop import TrainingError, evaluate, evaluate_set, fit, train_mode, train_one_epoch, train_step
from course_lib.train.optim import ema_decay, ema_update, param_groups, soft_cross_entropy, warmup_cosine_lr

__all__ = [
    "TrainConfig",
    "TrainingError",
    "balanced_order",
    "class_weights",
    "count_parameters",
    "describe",
    "ema_decay",
    "ema_update",
    "evaluate",
    "evaluate_set",
    "fit",
    "get_device",
    "param_groups",
    "set_seed",
    "soft_cross_entropy",
    "train_mode",
    "train_one_epoch",
    "train_step",
    "warmup_cosine_lr",
]
