"""Which picture of a folder is of which class and which split; or why that cannot be said, and what to do. Chapter 09.

Read from the top: `find_layout`, then what it goes through.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from course_lib.data.image_set import SPLITS, tenths_from_the_end
from course_lib.data.listing import Folder, count_kinds, enumerate_some, quoted
from course_lib.data.names import alike_but_for_split, group_by_name, names_a_split, say_classes, split_named
from course_lib.data.pictures import READERS, shown

PACKED = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


@dataclass(frozen=True)
class Share:
    """The part of a folder that is a split.

    Args:
        part: the folder that holds the classes' folders.
        cut: how many tenths at the end of each class are splits of their own.
        number: which one this is: 0 is the last tenth of each class, ..., `cut` all that is left.
    """

    part: Folder
    cut: int = 0
    number: int = 0

    def sorted_files(self) -> tuple[list[Path], torch.Tensor, torch.Tensor]:
        """(paths, labels (n,), numbers (n,)) of the whole part, so that each of its splits is one piece."""
        files = [
            (path, label) for label, inner in enumerate(self.part.folders.values()) for path in inner.all_pictures()
        ]
        labels = torch.tensor([label for _, label in files])
        numbers = tenths_from_the_end(labels).clamp(max=self.cut)
        order = numbers.argsort(descending=True, stable=True)
        return [files[row][0] for row in order.tolist()], labels[order], numbers[order]

    def rows(self, numbers: torch.Tensor) -> slice:
        """Which of the sorted files are this share, from their numbers (n,)."""
        return slice(int((numbers > self.number).sum()), int((numbers >= self.number).sum()))


@dataclass(frozen=True)
class Layout:
    """How a folder is read.

    Args:
        root: the folder that holds the parts or the classes.
        classes: in the order of their names.
        shares: the `Share` of each split that there is.
        notes: what a person may not expect, a line each.
    """

    root: Path
    classes: tuple[str, ...]
    shares: dict[str, Share]
    notes: tuple[str, ...] = ()

    def share(self, split: str) -> Share:
        """The part of the folder that is a split.

        Raises:
            ValueError: there is none.
        """
        if split not in self.shares:
            have = " and ".join(f"{share.part.path.name}/" for share in self.shares.values())
            raise ValueError(
                f"{shown(self.root)} has {have} only, so there is no split {split!r}: add a folder {split} with the "
                "classes' folders in it."
            )
        return self.shares[split]

    def check_all_there(self, split: str, labels: torch.Tensor) -> None:
        """Raise a `ValueError` unless every class is among the labels of a split."""
        found = set(labels.tolist())
        for label, name in enumerate(self.classes):
            if label not in found:
                folder = self.share(split).part.path / name
                raise ValueError(
                    f"{shown(folder)} has too few images for a share of them to be {split!r}: add some (with three there is one for each split)."
                )


def find_layout(top: Folder) -> Layout:
    """Which part of a folder is which split.

    Raises:
        ValueError: that cannot be said, or a class lacks pictures. The line says what to do.
    """
    root = _go_in(top)
    parts = find_parts(root)
    notes = []
    if root is not top:
        lost = len(top.all_pictures()) - len(root.all_pictures())
        besides = f" ({lost:,} pictures beside it are left out)" if lost else ""
        notes.append(f"gone into {shown(root.path.relative_to(top.path))}, which has the folders{besides}.")
    if parts:
        deeper = [shown(part.path.relative_to(root.path)) for part in parts.values() if part.path.parent != root.path]
        notes += [f"gone into {enumerate_some(deeper)}."] if deeper else []
        notes += _beside(root, parts)
        if "train" not in parts:
            _check_only_splits(root, parts)
    else:
        _check_no_splits(root)
        parts = {"": root}
    parts = {split: _without_copies(part) for split, part in parts.items()}
    for part in parts.values():
        _check_folders(part, top, root, parts)
    classes = tuple(next(iter(parts.values())).folders)
    for part in parts.values():
        _check_classes(part, classes)
        _check_contents(part)
    shares, note = _divide(parts)
    return Layout(root.path, classes, shares, (*notes, *note))


def find_parts(root: Folder) -> dict[str, Folder]:
    """The folders of the splits, by split; none if the folder has none.

    Raises:
        ValueError: two are of one split.
    """
    parts: dict[str, Folder] = {}
    for name, inner in root.folders.items():
        if split := split_named(name):
            if split in parts:
                raise ValueError(
                    f"{shown(root.path)} holds {parts[split].path.name} and {name}, both names of the {split} split: "
                    "rename or move one."
                )
            part = _go_in(inner, split)
            lost = Counter({f"pictures beside {part.path.name}": len(inner.all_pictures()) - len(part.all_pictures())})
            parts[split] = replace(part, left_out=part.left_out + lost)
    return {split: parts[split] for split in SPLITS if split in parts}


def find_piles(top: Folder) -> dict[str, Folder]:
    """The folders whose pictures lie without folders for their classes, by split; "" for all of it.

    Raises:
        ValueError: there are none.
    """
    root = _go_in(top)
    parts = find_parts(root)
    piles = {split: part for split, part in parts.items() if part.pictures and not part.folders}
    if not parts and root.pictures:
        piles = {"": root}
    elif not parts:
        inner = [found for found in root.folders.values() if not _is_notes(found)]
        if len(inner) == 1 and inner[0].pictures and not inner[0].folders:  # images/ beside annotations/
            piles = {"": inner[0]}
    if not piles:
        has = f"they lie in {enumerate_some(root.folders)}" if top.all_pictures() else "there are none"
        raise ValueError(f"{shown(top.path)} holds no pictures that lie without folders for their classes: {has}.")
    return piles


def say_left_out(part: Folder) -> str:
    """What a person may think is read of a part, and is not; empty if there is nothing."""
    left_out = part.all_left_out() + Counter({"pictures beside the classes' folders": len(part.pictures)})
    return f"left out: {count_kinds(left_out)}." if left_out else ""


def say_deeper(part: Folder) -> str:
    """What is read of a part although it lies in folders within the classes' folders; empty if there is nothing."""
    below = [sub for inner in part.folders.values() for sub in inner.folders.values()]
    found = [(sub.path.relative_to(part.path).as_posix(), len(sub.all_pictures())) for sub in below]
    words = enumerate_some(f"{count:,} in {place}" for place, count in found if count)
    return f"read with their class: {words}." if words else ""


def _go_in(folder: Folder, split: str | None = None) -> Folder:
    """The folder, or that one in it which holds everything: archive/pets/train -> archive/pets; train/train -> train/train.

    Args:
        folder: to look into.
        split: which one it is, if it is one.
    """
    while not find_split_names(folder) or split:
        inner = [found for found in folder.folders.values() if not _is_notes(found)]
        if len(inner) != 1:
            break
        (inner,) = inner
        same = split is not None and split_named(inner.path.name) == split
        whole = not inner.pictures and inner.folders
        if not (same or whole or (split is None and find_split_names(inner))):
            break
        folder = inner
    return folder


def find_split_names(folder: Folder) -> list[str]:
    """The names of the folders in it that are those of splits."""
    return [name for name in folder.folders if split_named(name)]


def _is_notes(folder: Folder) -> bool:
    """Whether it holds files, but nothing that could be a picture: annotations."""
    left_out = folder.all_left_out()
    return bool(left_out) and not folder.all_pictures() and not READERS.keys() & left_out.keys()


def _beside(root: Folder, parts: dict[str, Folder]) -> list[str]:
    """What lies beside the folders of the splits and is not read, as a note."""
    others = {name: len(inner.all_pictures()) for name, inner in root.folders.items() if not split_named(name)}
    said = [f"{count:,} in {name}" for name, count in others.items() if count]
    said += [f"{len(root.pictures):,} in {root.path.name} itself"] if root.pictures else []
    names = ", ".join(f"{part.path.name}/" for part in parts.values())
    return [f"left out beside {names}: pictures, {enumerate_some(said)}."] if said else []


def _check_only_splits(root: Folder, parts: dict[str, Folder]) -> None:
    """Raise a `ValueError` if there are classes beside val/ or test/, and no train/."""
    others = [name for name, inner in root.folders.items() if not split_named(name) and inner.all_pictures()]
    if others:
        splits = enumerate_some(f"{name}/" for name in find_split_names(root))
        raise ValueError(
            f"{shown(root.path)} holds {splits} and beside it {enumerate_some(others)}: if those are the classes to be "
            f"trained on, put their folders into {shown(root.path / 'train')}; and if {splits} is a class, rename it."
        )


def _check_no_splits(root: Folder) -> None:
    """Raise a `ValueError` if the names of some folders that would be classes speak of splits."""
    names = [name for name in root.folders if names_a_split(name)] or alike_but_for_split(root.folders)
    if names:
        raise ValueError(
            f"{shown(root.path)}: {enumerate_some(names)} would be classes, but their names are of splits: rename them "
            "train and test if they are, move them elsewhere if they have no labels, or give the class another name."
        )


def _without_copies(part: Folder) -> Folder:
    """A part without the folder that holds folders of the same names as those beside it: the same once more."""
    names = part.folders.keys()
    copies = [
        name
        for name, inner in part.folders.items()
        if len(inner.folders) > 1 and not inner.pictures and inner.folders.keys() <= names
    ]
    if not copies:
        return part
    left_out = Counter(part.left_out)
    for name in copies:
        left_out[f"in {name}, a copy of the folders beside it"] = len(part.folders[name].all_pictures())
    rest = {name: inner for name, inner in part.folders.items() if name not in copies}
    return replace(part, folders=rest, left_out=left_out)


def _check_folders(part: Folder, top: Folder, root: Folder, parts: dict[str, Folder]) -> None:
    """Raise a `ValueError` unless a part holds folders, and pictures in them.

    Args:
        part: the folder of a split, or the one that holds the classes.
        top: the folder that was asked for.
        root: the folder in it that holds the parts.
        parts: all parts, by split.
    """
    if not part.folders and part.pictures:
        raise ValueError(_refuse_pile(part, top, root, parts))
    if not any(inner.all_pictures() for inner in part.folders.values()):
        besides = part is not parts.get("train", part)
        other = ", or move it elsewhere, and a tenth of each class is held back instead" if besides else ""
        raise ValueError(f"{_refuse_empty(part)}{other}.")


def _check_contents(part: Folder) -> None:
    """Raise a `ValueError` unless every class's folder holds pictures, and none holds splits."""
    for name, inner in part.folders.items():
        if not inner.all_pictures():
            has = count_kinds(inner.all_left_out())
            raise ValueError(
                f"{shown(inner.path)} has no images{f', only {has}' if has else ''}: add some, or move the folder "
                "elsewhere."
            )
        if splits := [sub for sub in find_split_names(inner) if inner.folders[sub].all_pictures()]:
            raise ValueError(
                f"{shown(inner.path)} holds {enumerate_some(splits)}: turn the two levels round, so that there is "
                f"{splits[0]}/{shown(name)}; or rename them if they are no splits."
            )


def _refuse_pile(part: Folder, top: Folder, root: Folder, parts: dict[str, Folder]) -> str:
    """What to do about pictures without folders for their classes."""
    holds = f"{shown(part.path)} holds {len(part.pictures):,} pictures and no folders for their classes"
    groups = group_by_name(part.pictures)
    train = parts.get("train", part)
    if not train.folders and say_classes(groups, part.pictures):
        return (
            f"{holds}: run `course sort {quoted(top.path)}`, which puts them into such by how their names begin "
            f"({enumerate_some(groups)})."
        )
    if train.folders:
        return (
            f"{holds}, so nothing can be measured on it: move it elsewhere, and the last tenth of each class "
            "is held back instead; or sort its pictures into the classes' folders."
        )
    beside = [name for name, inner in root.folders.items() if inner.pictures and not names_a_split(name)]
    other = f"; or, if it is a class as {enumerate_some(beside)} beside it, give it another name" if beside else ""
    return f"{holds}: make one in it for each class, and move the pictures there{other}."


def _refuse_empty(part: Folder) -> str:
    """What to do about a folder without any pictures, but for the full stop."""
    left_out = part.all_left_out()
    has = f", only {count_kinds(left_out)}" if left_out else ""
    if packed := [kind for kind in left_out if kind in PACKED]:
        return f"{shown(part.path)} holds no pictures{has}: unpack the {' and '.join(packed)} first"
    return f"{shown(part.path)} holds no folders with pictures{has}: it needs one for each class, with its images"


def _check_classes(part: Folder, classes: tuple[str, ...]) -> None:
    """Raise a `ValueError` unless the folders in a part are those of the classes."""
    missing, unknown = sorted(set(classes) - part.folders.keys()), sorted(part.folders.keys() - set(classes))
    if missing or unknown:
        names = [f"lacks {name!r}" for name in missing] + [f"has {name!r} besides" for name in unknown]
        raise ValueError(
            f"{shown(part.path)} must have the classes of the training images, but {enumerate_some(names)}: rename, add "
            f"or remove folders there, or move it elsewhere, and a tenth of each class is held back instead."
        )


def _divide(parts: dict[str, Folder]) -> tuple[dict[str, Share], list[str]]:
    """(the share of each split, a note if that is not what everybody expects)."""
    if "" in parts or parts.keys() == {"train"}:
        (part,) = parts.values()
        shares = {"train": Share(part, 2, 2), "val": Share(part, 2, 1), "test": Share(part, 2, 0)}
        note = f"no other split than {part.path.name}/: the last two tenths of each class are validation and test."
        return shares, [] if "" in parts else [note]
    whole = {split: Share(part) for split, part in parts.items()}
    if "train" not in parts or len(parts) == 3:
        return whole, []
    train = parts["train"]
    shares = {"train": Share(train, 1, 1), "val": Share(train, 1, 0)}
    if "test" in parts:
        return shares | {"test": whole["test"]}, []
    val = parts["val"].path.name
    note = f"no test/: {val}/ is the test split, and the last tenth of each class of {train.path.name}/ the validation split."
    return shares | {"test": whole["val"]}, [note]
