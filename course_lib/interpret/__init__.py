"""Look inside a model: filters, positions, attention maps, what tokens say, and whether the maps explain. Chapters 11 to 13."""

from course_lib.interpret.lens import answers_by_depth, logit_lens
from course_lib.interpret.maps import (
    attention_maps,
    attention_rollout,
    cls_attention,
    gradient_rollout,
    mean_attention_distance,
    patch_attention,
    patch_filters,
    pos_embed_similarity,
    record_attention,
)

__all__ = [
    "answers_by_depth",
    "attention_maps",
    "attention_rollout",
    "cls_attention",
    "gradient_rollout",
    "logit_lens",
    "mean_attention_distance",
    "patch_attention",
    "patch_filters",
    "pos_embed_similarity",
    "record_attention",
]
