"""What names of folders and files say: which split, which class. Chapter 09."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

# What people call the folders of the three splits, in any case and with "_set" behind it or not.
WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
_WORD = f"({'|'.join(WORDS)})"
_SPLIT = re.compile(rf"{_WORD}[-_ ]?(?:set)?", re.IGNORECASE)
_NUMBERED = re.compile(rf"{_WORD}[-_ ]?(?:set)?[-_ ]?\d*", re.IGNORECASE)
_WITHIN = re.compile(rf"(?:^|.*[-_ .]){_WORD}(?:$|[-_ .\d].*)", re.IGNORECASE)


def split_named(name: str) -> str | None:
    """The split whose folder has that name, if any: "Valid" -> "val"."""
    found = _SPLIT.fullmatch(name)
    return WORDS[found[1].lower()] if found else None


def names_a_split(name: str) -> bool:
    """Whether a class of that name would be taken for a split, or for the unlabelled part of one: "train", "test1"."""
    return bool(_NUMBERED.fullmatch(name))


def alike_but_for_split(names: Iterable[str]) -> list[str]:
    """Names that are the same but for the split in them: seg_train and seg_test, but not test_tube and dev_kit."""
    rests: dict[str, list[str]] = {}
    for name in names:
        if found := _WITHIN.fullmatch(name):
            rests.setdefault(name[: found.start(1)] + name[found.end(1) :], []).append(name)
    return next((alike for alike in rests.values() if len(alike) > 1), [])


def class_of_name(stem: str) -> str:
    """The class that a file's name begins with: what is before the first dot, or else before the first digit; or else
    before the first underscore, hyphen, bracket or space. Empty if there is none.

    "cat.0" -> "cat"; "cat (1)" -> "cat"; "american_bulldog_12" -> "american_bulldog"; "cat-black" -> "cat"; "1" -> "".
    """
    head, dot, _ = stem.partition(".")
    if not dot:
        head = re.split(r"\d", stem, maxsplit=1)[0]
        head = head if head != stem else re.split(r"[-_( ]", stem, maxsplit=1)[0]
    head = head.strip("-_( ")
    return head if re.search(r"[^\W\d_]", head) else ""


def group_by_name(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Pictures by the class that their names begin with, in order; those that say none are not there.

    Classes that differ in capitals only are one, called as most of its files are.
    """
    groups: dict[str, list[tuple[str, Path]]] = {}
    for path in paths:
        if name := class_of_name(path.stem):
            groups.setdefault(name.casefold(), []).append((name, path))
    named = {Counter(name for name, _ in group).most_common(1)[0][0]: group for group in groups.values()}
    return {name: [path for _, path in named[name]] for name in sorted(named)}


def say_classes(groups: dict[str, list[Path]], paths: Sequence[Path]) -> bool:
    """Whether the names of pictures speak of classes: two or more, and on average two pictures or more of each."""
    return 1 < len(groups) <= len(paths) // 2
