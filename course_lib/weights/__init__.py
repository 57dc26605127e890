"""Published weights: found by name or by path, proven, renamed, loaded, saved. Chapter 06."""

from course_lib.weights.load import load_pretrained, save_weights
from course_lib.weights.preprocessing import Preprocessing
from course_lib.weights.registry import DEFAULTS, REGISTRY, WeightsEntry, default_weights, find_entry

__all__ = [
    "DEFAULTS",
    "REGISTRY",
    "Preprocessing",
    "WeightsEntry",
    "default_weights",
    "find_entry",
    "load_pretrained",
    "save_weights",
]
