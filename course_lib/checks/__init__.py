"""Checks for the exercises: one line that says at once whether an answer is right, and if not, why.

One module a chapter holds the records; `EXERCISES` is all of them by name.
"""

from course_lib.checks import ch01
from course_lib.checks.exercise import Exercise, Mistake, Verdict

EXERCISES = {exercise.name: exercise for chapter in (ch01,) for exercise in chapter.EXERCISES}

check_softmax = EXERCISES["softmax"].check
check_attention_weights = EXERCISES["attention_weights"].check
check_scaled_dot_product_attention = EXERCISES["scaled_dot_product_attention"].check
check_masked_attention = EXERCISES["masked_attention"].check

__all__ = ["EXERCISES", "Exercise", "Mistake", "Verdict", *(f"check_{name}" for name in EXERCISES)]
