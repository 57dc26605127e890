"""Checks for the exercises: one line that says at once whether an answer is right, and if not, why.

One module a chapter holds the records; `EXERCISES` is all of them by name.
"""

from course_lib.checks import ch01, ch02, ch03
from course_lib.checks.exercise import Exercise, Mistake, Verdict

EXERCISES = {exercise.name: exercise for chapter in (ch01, ch02, ch03) for exercise in chapter.EXERCISES}

check_softmax = EXERCISES["softmax"].check
check_attention_weights = EXERCISES["attention_weights"].check
check_scaled_dot_product_attention = EXERCISES["scaled_dot_product_attention"].check
check_masked_attention = EXERCISES["masked_attention"].check
check_split_heads = EXERCISES["split_heads"].check
check_merge_heads = EXERCISES["merge_heads"].check
check_multi_head_self_attention = EXERCISES["multi_head_self_attention"].check
check_layer_norm = EXERCISES["layer_norm"].check
check_mlp = EXERCISES["mlp"].check
check_encoder_block = EXERCISES["encoder_block"].check

__all__ = ["EXERCISES", "Exercise", "Mistake", "Verdict", *(f"check_{name}" for name in EXERCISES)]
