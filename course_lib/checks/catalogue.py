"""The exercises by chapter and by name. A chapter's records are imported when one of them is first asked for."""

from importlib import import_module

from course_lib.checks.exercise import Exercise

CHAPTERS = {
    "ch01": ("softmax", "attention_weights", "scaled_dot_product_attention", "masked_attention"),
    "ch02": ("split_heads", "merge_heads", "multi_head_self_attention"),
    "ch03": ("layer_norm", "mlp", "encoder_block"),
    "ch04": ("patchify", "unpatchify", "linear_to_conv", "patch_embedding"),
    "ch05": ("prepend_class_token", "sincos_pos_embed_2d", "resample_pos_embed"),
    "ch06": ("vit_forward", "count_parameters", "convert_torchvision_state_dict", "my_vit"),
    "ch07": ("train_step", "warmup_cosine_lr", "param_groups", "evaluate"),
    "ch08": ("random_crop_flip", "soft_cross_entropy", "mixup", "ema_update", "newton_schulz", "paired_gain"),
    "ch09": ("replace_head", "macro_f1", "freeze_except", "lora_linear", "layerwise_lr"),
    "ch10": ("paired_difference",),
    "ch11": ("patch_filters", "pos_embed_similarity", "row_column_share"),
    "ch12": ("record_attention", "attention_rollout", "mean_attention_distance"),
    "ch13": ("pointing_game", "deletion_curve", "randomise_from_top"),
    "bugs": (
        "test_attention",
        "test_patchify",
        "test_block",
        "test_train_step",
        "test_random_flip",
        "test_evaluate",
    ),
}

NAMES = tuple(name for names in CHAPTERS.values() for name in names)


def chapter_key(chapter: int | str) -> str:
    """The key in `CHAPTERS` of a chapter by its number, or "B" for the bug gallery: 8 -> "ch08".

    Raises:
        ValueError: that chapter has no exercise.
    """
    key = "bugs" if chapter == "B" else f"ch{chapter!s:0>2}"
    if key not in CHAPTERS:
        known = ", ".join(str(int(key[2:])) for key in CHAPTERS if key != "bugs")
        raise ValueError(f"chapter {chapter} has no exercise with a check; those that have are {known} and B.")
    return key


def chapter_words(key: str) -> str:
    """What a chapter is called, by its key: "ch08" -> "chapter 8"."""
    return "the bug gallery" if key == "bugs" else f"chapter {int(key[2:])}"


def find(name: str) -> Exercise:
    """The record of the exercise of that name; only its own chapter's module is imported.

    Raises:
        ValueError: there is no exercise of that name.
    """
    for chapter, names in CHAPTERS.items():
        if name in names:
            return _records(chapter)[name]
    raise ValueError(f"no exercise {name!r}; there are {', '.join(NAMES)}.")


def _records(chapter):
    return {exercise.name: exercise for exercise in import_module(f"course_lib.checks.{chapter}").EXERCISES}
