"""A recipe with some settings changed, as they are given at the command line: epochs=5, augment.crop=2. Chapter 07.

Read from the top: `override`, which names there are, what a text means. All settings are changed at once: what fits
together is judged when everything is said, and the order does not matter.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from course_lib.recipes.recipe import Recipe

Config = TypeVar("Config", bound=Any)
Path = tuple[str, ...]  # of a setting, from the recipe: ("train", "augment", "crop")

WORDS = ("name", "what", "cost", "expect", "source")  # fields of a recipe that tell of it
GROUPS = ("model", "train", "augment")


def override(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe with some settings changed, each as "name=value": epochs=5, augment.crop=2, model.depth=3.

    Raises:
        ValueError: no such setting, or a value that it cannot have, alone or beside the others.
    """
    known, changes = setting_paths(recipe), {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"{setting!r} must be name=value, such as epochs=5.")
        path = known.get(name.removeprefix("train.")) or _unknown(name, known)
        value = _parsed(text, recipe, path, name)
        if repr(changes.setdefault(path, value)) != repr(value):
            raise ValueError(f"{name} is given twice, as {changes[path]!r} and as {value!r}: leave one out.")
    return _changed(recipe, changes)


def setting_paths(recipe: Recipe) -> dict[str, Path]:
    """{name at the command line: path from the recipe} of all settings, in the order of the classes."""
    own: list[Path] = [(item.name,) for item in fields(recipe) if item.name not in (*WORDS, *GROUPS)]
    train: list[Path] = [("train", item.name) for item in fields(recipe.train) if item.name not in GROUPS]
    model: list[Path] = [("model", item.name) for item in fields(recipe.model)]
    augment: list[Path] = [("train", "augment", item.name) for item in fields(recipe.train.augment)]
    return {".".join(path).removeprefix("train."): path for path in (*own, *train, *model, *augment)}


def _unknown(name: str, known: Mapping[str, Path]) -> Path:
    if name.removeprefix("train.") in GROUPS:
        inner = [other for other in known if other.startswith(f"{name}.")] or ["epochs"]
        raise ValueError(f"{name!r} is not a single setting: give the name of one of its values, such as {inner[0]}.")
    ends = {other.rpartition(".")[2]: other for other in reversed([*known])} | {other: other for other in known}
    near = [
        ends[end]
        for end in difflib.get_close_matches(name, ends, 3)
        or difflib.get_close_matches(name.rpartition(".")[2], ends, 3)
    ]
    groups = {"of the recipe": 1, "of training": 2}
    listed = {
        where: [other for other, path in known.items() if "." not in other and len(path) == length]
        for where, length in groups.items()
    }
    listed |= {
        f"of {group}": [other for other in known if other.startswith(f"{group}.")] for group in ("model", "augment")
    }
    raise ValueError(
        f"no setting {name!r}"
        + (f"; near are {', '.join(dict.fromkeys(near))}" if near else "")
        + ". There are, "
        + "; ".join(f"{where}: {', '.join(names)}" for where, names in listed.items())
        + "."
    )


def _changed(config: Config, changes: Mapping[Path, Any]) -> Config:
    """The config with all changes, each at its path, made at once."""
    here = {path[0]: value for path, value in changes.items() if len(path) == 1}
    for name in {path[0] for path in changes if len(path) > 1}:
        inner = {path[1:]: value for path, value in changes.items() if path[0] == name}
        here[name] = _changed(getattr(config, name), inner)
    return replace(config, **here)


WANTED = {int: "a whole number", float: "a number", bool: "True or False", str: "a word", tuple: "numbers, such as 8,8"}


def _parsed(text: str, recipe: Recipe, path: Path, name: str) -> Any:
    """The value that `text` means for the setting at `path`, by the type that stands there."""
    config = recipe
    for part in path[:-1]:
        config = getattr(config, part)
    hint = get_type_hints(type(config))[path[-1]]
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if NoneType in kinds and text in ("None", "none", "null"):
        return None
    kinds = [kind for kind in kinds if kind is not NoneType]
    for kind in kinds:
        value = _read(text, kind)
        if value is not None:
            return value
    wanted = " or ".join(WANTED[get_origin(kind) or kind] for kind in kinds)
    raise ValueError(f"{name}={text}: {text!r} must be {wanted}{', or None' if NoneType in get_args(hint) else ''}.")


def _read(text: str, kind: Any) -> Any:
    """What `text` says as a value of that kind; None if it says nothing."""
    if kind is str:
        return text or None
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower())
    if get_origin(kind) is tuple:
        numbers = [_read(part.strip(), get_args(kind)[0]) for part in text.strip("()[]").split(",")]
        return None if None in numbers else tuple(numbers)
    try:
        return kind(text)
    except ValueError:
        return None
