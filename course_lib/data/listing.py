"""What lies in a folder: its pictures, the folders in it, and what is left out, counted by kind. Chapter 09."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.data.pictures import READERS, picture_endings, shown

NO_FILES = ("thumbs.db", "desktop.ini", "icon\r")  # what Windows and macOS put beside pictures
NO_FOLDERS = ("__MACOSX", "@eaDir")  # copies and thumbnails, which packers and network drives add


@dataclass(frozen=True)
class Folder:
    """One folder and all that is below it.

    Args:
        path: where it is.
        pictures: the files in it that are read as pictures, in the order of their names.
        folders: those in it by name, in the order of the names; hidden ones are not among them.
        left_out: how many files in it are not read, by kind: ".txt", "broken links".
    """

    path: Path
    pictures: tuple[Path, ...] = ()
    folders: dict[str, "Folder"] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def all_pictures(self) -> list[Path]:
        """Its own pictures, then those of the folders in it."""
        return [*self.pictures, *(path for inner in self.folders.values() for path in inner.all_pictures())]

    def all_left_out(self) -> Counter[str]:
        """What is left out in it and below."""
        return sum((inner.all_left_out() for inner in self.folders.values()), Counter(self.left_out))


def list_folder(path: str | Path) -> Folder:
    """All that lies in a folder. Links are followed, but not back to a folder that they lie in.

    Raises:
        ValueError: there is no such folder.
    """
    path = Path(os.path.expanduser(path))
    if not os.path.isdir(path):  # unlike Path's, it says so of names that no file can have, too
        raise ValueError(f"{shown(path)} is not a folder: give one that holds a folder of images for each class.")
    return _list(path, frozenset())


def quoted(path: Path) -> str:
    """A path as it is typed at a command line."""
    return f'"{shown(path)}"' if re.search(r"[^\w./\\:~+-]", str(path)) else str(path)


def count_kinds(left_out: Counter[str]) -> str:
    """What is left out, in words: "16 .heic (pip install pillow-heif reads them), 10 .txt"."""
    words = []
    for kind, count in left_out.most_common():
        reader = f" ({READERS[kind]} reads them)" if kind in READERS else ""
        words.append(f"{count:,} {shown(kind)}{reader}")
    return ", ".join(words)


def enumerate_some(names: Iterable[object], most: int = 5) -> str:
    """The first names, and how many more there are: "a, b, and 3 more"."""
    names = [shown(str(name)) for name in names]
    rest = [f"and {len(names) - most:,} more"] if len(names) > most else []
    return ", ".join(names[:most] + rest)


def _list(path: Path, above: frozenset[tuple[int, int]]) -> Folder:
    pictures: list[Path] = []
    folders: dict[str, Folder] = {}
    left_out: Counter[str] = Counter()
    try:
        facts = path.stat()
        with os.scandir(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return Folder(path, left_out=Counter({"folders that cannot be opened": 1}))
    here = (facts.st_dev, facts.st_ino)
    if here in above:
        return Folder(path, left_out=Counter({"links that lead back": 1}))
    for entry in found:
        kind = _kind(entry)
        if kind == "folder":
            if not entry.name.startswith(".") and entry.name not in NO_FOLDERS:
                folders[entry.name] = _list(path / entry.name, above | {here})
        elif kind == "picture":
            pictures.append(path / entry.name)
        elif kind:
            left_out[kind] += 1
    return Folder(path, tuple(pictures), folders, left_out)


def _kind(entry: os.DirEntry[str]) -> str:
    """ "folder", "picture", or as what it is left out; empty if nobody would miss it."""
    ending = os.path.splitext(entry.name)[1].lower()
    hidden = entry.name.startswith(".")
    try:
        if entry.is_dir():
            return "folder"
        if not entry.is_file():
            return "broken links" if entry.is_symlink() else ""
    except OSError:  # a link to itself
        return "broken links"
    if hidden:  # macOS keeps what it knows of a picture.jpg in ._picture.jpg
        return "hidden pictures" if ending in picture_endings() and not entry.name.startswith("._") else ""
    if ending in picture_endings():
        return "picture"
    return "" if entry.name.lower() in NO_FILES else ending or "without an ending"
