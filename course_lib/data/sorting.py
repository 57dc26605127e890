"""Pictures whose names begin with their class, into a folder for each class. Chapter 09.

Nothing is touched that is there: a new folder is made of links or copies. Read from the top: a plan, what of it is not
done yet, what is said of it, and doing it.
"""

import filecmp
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from course_lib.data.layout import find_piles
from course_lib.data.listing import Folder, enumerate_some, list_folder
from course_lib.data.names import group_by_name, names_a_split, say_classes
from course_lib.data.pictures import shown

EXAMPLES = 3


@dataclass(frozen=True)
class Plan:
    """What would be done.

    Args:
        folder: whose pictures are sorted.
        into: where the classes' folders will be.
        places: {class's folder, relative to `into`: the pictures for it}.
        left: what is left alone, in words.
    """

    folder: Path
    into: Path
    places: dict[str, list[Path]]
    left: tuple[str, ...]

    def pairs(self) -> list[tuple[Path, Path]]:
        """[(picture, where it goes)]."""
        return [(path, self.into / place / path.name) for place, paths in self.places.items() for path in paths]


def make_plan(folder: str | Path, into: str | Path | None = None) -> Plan:
    """What would be done with a folder of pictures.

    Raises:
        ValueError: no such folder; nothing in it is to be sorted; the names do not say classes; or the new folder
            lies in the old one, or the other way round.
    """
    top = list_folder(folder)
    into = Path(os.path.expanduser(into or f"{top.path.resolve()}-sorted"))
    inner, outer = into.resolve(), top.path.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise ValueError(f"{shown(into)} must lie outside of {shown(top.path)}: give another folder with --into.")
    piles = find_piles(top)
    places: dict[str, list[Path]] = {}
    classes: list[str] = []
    for split, pile in piles.items():
        groups = group_by_name(pile.pictures)
        if not classes:  # what the first pile's names say; those of a test without labels may say anything
            _check_groups(pile, groups)
            classes = list(groups)
        # A class called train would be taken for a split, unless it lies in one.
        part = split or ("train" if any(map(names_a_split, classes)) else "")
        found = {name.casefold(): paths for name, paths in groups.items()}
        for name in classes:
            if name.casefold() in found:
                places["/".join(filter(None, (part, name)))] = found[name.casefold()]
    return Plan(top.path, into, places, tuple(_left_alone(top, piles, places)))


def _left_alone(top: Folder, piles: dict[str, Folder], places: dict[str, list[Path]]) -> list[str]:
    """What of a folder's pictures has no place, in words."""
    taken = {path for paths in places.values() for path in paths}
    loose = {path for pile in piles.values() for path in pile.pictures}
    unnamed = [path.name for pile in piles.values() for path in pile.pictures if path not in taken]
    others = Counter(path.parent for path in top.all_pictures() if path not in loose)
    words = (
        [f"{len(unnamed):,} whose names say none of the classes ({enumerate_some(unnamed, EXAMPLES)})"]
        if unnamed
        else []
    )
    if others:
        found = enumerate_some(f"{count:,} in {path.relative_to(top.path)}" for path, count in others.items())
        words.append(f"pictures in other folders ({found})")
    return words


def _check_groups(pile: Folder, groups: dict[str, list[Path]]) -> None:
    """Raise a `ValueError` unless names say at least two classes, of two pictures or more on average."""
    if not say_classes(groups, pile.pictures):
        found = f"begin with {enumerate_some(groups)}" if groups else "are numbers"
        raise ValueError(
            f"the names of the {len(pile.pictures):,} pictures in {shown(pile.path)} do not say their classes: they {found}. Make a folder for "
            "each class, and move the pictures there."
        )


def find_todo(plan: Plan) -> list[tuple[Path, Path]]:
    """What of a plan is not done yet: [(picture, where it goes)].

    Raises:
        ValueError: the new folder holds anything else than what the plan puts there.
    """
    pairs = plan.pairs()
    if not os.path.lexists(plan.into):
        return pairs
    if not plan.into.is_dir():
        raise ValueError(f"{shown(plan.into)} is a file: give another folder with --into.")
    targets = {new for _, new in pairs}
    strange = [path for path in list_folder(plan.into).all_pictures() if path not in targets]
    strange += [new for old, new in pairs if os.path.lexists(new) and not _same(old, new)]
    if strange:
        raise ValueError(
            f"{shown(plan.into)} is there already and holds other files: {enumerate_some(strange, 3)}. Give another folder "
            "with --into."
        )
    return [(old, new) for old, new in pairs if not new.exists()]


def as_text(plan: Plan, todo: list[tuple[Path, Path]]) -> str:
    """What would be done, and how much space it takes."""
    count = sum(map(len, plan.places.values()))
    width = max(len(shown(place)) for place in plan.places)
    lines = [f"{shown(plan.folder)}: {count:,} pictures, by how their names begin, into {shown(plan.into)}:"]
    for place, paths in plan.places.items():
        examples = enumerate_some((path.name for path in paths[:EXAMPLES]), EXAMPLES)
        lines.append(f"  {shown(place):{width}} {len(paths):9,}   {examples}")
    lines += [f"Left alone: {'; '.join(plan.left)}."] if plan.left else []
    if len(todo) < count:
        lines.append(f"{count - len(todo):,} of them are there already.")
    if todo:
        size = sum(old.stat().st_size for old, _ in todo) / 1e6
        links = "As hard links, which take no space (where the drive has none, as copies"
        copies = "As copies, since it is on another drive ("
        start = f"{links}: " if _on_one_drive(plan) else copies
        lines.append(f"{start}{size:,.1f} MB). {shown(plan.folder)} stays as it is.")
        if _on_one_drive(plan):
            lines.append(
                "A linked picture is one file with two names: who edits it in one place edits it in the other."
            )
    return "\n".join(lines)


def carry_out(todo: list[tuple[Path, Path]]) -> tuple[int, int]:
    """Put every picture where it goes; (how many were linked, how many copied). What is there is never replaced.

    Raises:
        ValueError: it cannot be done, or there is no space. What was done stays, and the next call goes on.
    """
    linked = copied = 0
    for number, (old, new) in enumerate(tqdm(todo, "sorting", leave=False, delay=5)):
        try:
            new.parent.mkdir(parents=True, exist_ok=True)
            if _link(old, new):
                linked += 1
                continue
            if not copied:
                _check_space(todo[number:])
            _copy(old, new)
            copied += 1
        except OSError as error:
            raise ValueError(
                f"{new} cannot be written ({error.strerror or error}): see to space and permissions, and give the same "
                "command again; it goes on from here."
            ) from error
    return linked, copied


def _link(old: Path, new: Path) -> bool:
    """Whether a hard link could be made."""
    try:
        os.link(old.resolve(), new)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def _copy(old: Path, new: Path) -> None:
    """Copy a file so that it is there whole or not at all."""
    part = new.with_name(f".{new.name}.part")
    try:
        shutil.copy2(old, part)
        os.rename(part, new)
    finally:
        part.unlink(missing_ok=True)


def _check_space(todo: list[tuple[Path, Path]]) -> None:
    needed = sum(old.stat().st_size for old, _ in todo)
    free = shutil.disk_usage(todo[0][1].parent).free
    if needed > free:
        raise ValueError(
            f"no space: the copies need {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free in {todo[0][1].parent}. "
            "Give a folder on another drive with --into."
        )


def _on_one_drive(plan: Plan) -> bool:
    """Whether hard links can be hoped for."""
    there = plan.into.absolute()
    while not there.exists():
        there = there.parent
    return there.stat().st_dev == plan.folder.stat().st_dev


def _same(old: Path, new: Path) -> bool:
    return new.is_file() and (os.path.samefile(old, new) or filecmp.cmp(old, new, shallow=False))
