"""Look inside a model: filters, positions, attention maps, and whether the maps explain. Chapters 11 to 13."""

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
    "attention_maps",
    "attention_rollout",
    "cls_attention",
    "gradient_rollout",
    "mean_attention_distance",
    "patch_attention",
    "patch_filters",
    "pos_embed_similarity",
    "record_attention",
]
