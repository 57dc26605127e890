"""Training runs with a name: what goes in, what is to be expected, what is recorded. Chapters 07 to 10."""

from course_lib.recipes.finetuning import FineTuning
from course_lib.recipes.recipe import Recipe
from course_lib.recipes.runner import RECIPES, find_recipe, run_recipe
from course_lib.recipes.settings import override

__all__ = [
    "RECIPES",
    "FineTuning",
    "Recipe",
    "find_recipe",
    "override",
    "run_recipe",
]
