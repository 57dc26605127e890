"""All recipes by name: `course train NAME` runs one, `course runs` lists them. Chapters 07 to 10."""

from course_lib.recipes.finetuning import FINE_TUNING
from course_lib.recipes.recipe import Recipe
from course_lib.recipes.scratch import FROM_SCRATCH

RECIPES = {recipe.name: recipe for recipe in (*FROM_SCRATCH, *FINE_TUNING)}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(RECIPES)}.")
    return RECIPES[name]
