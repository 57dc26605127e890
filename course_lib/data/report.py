"""What was found out about a folder of images, on one screen, and some of its pictures on a sheet. Chapter 09."""

import io
import os
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from course_lib.data.listing import count_kinds, enumerate_some
from course_lib.data.pictures import read_image, shown
from course_lib.files.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 15  # of a table
HELD_BACK = (
    [],
    ["Held back: the last tenth of each class for validation."],
    ["Held back: the last tenth of each class for the test, the one before it for validation."],
)
SHEET_ROWS, SHEET_COLUMNS = 30, 6
CELL, GAP, LEFT = 128, 12, 36  # pixels: a picture's place, what is between two, and the column of the classes' names
SEEN = 224  # pixels: the side at which most models see photographs


def as_text(facts: dict[str, Any]) -> str:
    """What was found out, on one screen."""
    classes = f" in {len(facts['classes'])} classes" if facts["classes"] else ""
    lines = [f"{shown(facts['folder'])}: {facts['pictures']:,} pictures{classes}, {facts['bytes'] / 1e6:,.1f} MB"]
    if facts["refused"]:
        lines.append(f"Not ready to be trained on: {facts['refused']}")
    lines += [f"Note: {note}" for note in facts["notes"]]
    lines += HELD_BACK[facts["tenths_held_back"]]
    lines += _class_lines(facts["classes"]) if facts["classes"] else _folder_lines(facts["folders"])
    for part in (_balance_line, _size_line, _colour_line, _left_out_line, _unreadable_lines, _duplicate_lines):
        lines += part(facts)
    return "\n".join(lines)


def _class_lines(classes: dict[str, dict[str, int]]) -> list[str]:
    splits = list(next(iter(classes.values())))
    names = list(classes)[:ROWS]
    width = max(len(shown(name)) for name in [*names, "together"])
    rows = [(name, [classes[name][split] for split in splits]) for name in names]
    rows.append(("together", [sum(counts[split] for counts in classes.values()) for split in splits]))
    lines = [f"  {'':{width}}" + "".join(f"{split:>9}" for split in splits)]
    lines += [f"  {shown(name):{width}}" + "".join(f"{count:9,}" for count in counts) for name, counts in rows]
    if len(classes) > ROWS:
        lines.insert(-1, f"  and {len(classes) - ROWS} more classes (--json has all)")
    return lines


def _folder_lines(folders: dict[str, int]) -> list[str]:
    lines = [f"  {count:9,} in {shown(name)}" for name, count in list(folders.items())[:ROWS]]
    return lines + ([f"  and in {len(folders) - ROWS} more folders (--json has all)"] if len(folders) > ROWS else [])


def _balance_line(facts: dict[str, Any]) -> list[str]:
    balance = facts["balance"]
    if not balance:
        return []
    (most, largest), (least, smallest) = balance["largest"], balance["smallest"]
    equal = f"all classes have {largest:,} to train on"
    unequal = f"{shown(most)} {largest:,}, {shown(least)} {smallest:,} to train on: {balance['ratio']:.1f} to 1"
    return [
        f"Balance: {equal if largest == smallest else unequal}. A model that always says {shown(most)} is right in "
        f"{100 * balance['always_the_largest']:.1f} % of the test."
    ]


def _size_line(facts: dict[str, Any]) -> list[str]:
    sizes = facts["sizes"]
    if not sizes:
        return []
    width, height = sizes["commonest"]
    if sizes["different"] == 1:
        square = "" if sizes["not_square"] == 0 else "; with a size, the middle square is what the model sees"
        return [f"Sizes: all {width} x {height}{square}."]
    (small, low), (large, high) = sizes["smallest"], sizes["largest"]
    return [
        f"Sizes: {sizes['different']}, from {small} x {low} to {large} x {high}; most often {width} x {height} "
        f"({sizes['commonest_count']:,}). {sizes['not_square']:,} are not square: the model sees the middle square. "
        "Training needs a size, such as size=224."
    ]


def _colour_line(facts: dict[str, Any]) -> list[str]:
    said = ", ".join(f"{name} {count:,}" for name, count in facts["colours"].items())
    return [f"Colours: {said}."] if said else []


def _left_out_line(facts: dict[str, Any]) -> list[str]:
    return [f"Left out: {count_kinds(Counter(facts['left_out']))}."] if facts["left_out"] else []


def _unreadable_lines(facts: dict[str, Any]) -> list[str]:
    files = [each["file"] for each in facts["unreadable"]]
    return (
        [
            f"Unreadable: {len(files):,} files: {enumerate_some(files, 8)}. Replace or delete them, or leave them out "
            "with skip=True."
        ]
        if files
        else []
    )


def _duplicate_lines(facts: dict[str, Any]) -> list[str]:
    groups = facts["duplicates"]
    if not groups:
        return ["Duplicates: none has the same pixels as another."]
    across = [group for group in groups if len(group["splits"]) > 1]
    labels = [group for group in groups if len(group["classes"]) > 1]
    worst = sorted(groups, key=lambda group: (group not in across, group not in labels))
    lines = [
        f"Duplicates (the same pixels): {sum(len(group['files']) for group in groups):,} files, sets of them: "
        f"{len(groups):,}; across splits: {len(across):,}; across classes: {len(labels):,}."
    ]
    lines += ["  " + " = ".join(shown(file) for file in group["files"][:4]) for group in worst[:3]]
    return lines + ([f"  and {len(groups) - 3:,} more (--json has all)"] if len(groups) > 3 else [])


def check_sheet(sheet: Path, folder: Path) -> None:
    """Raise a `ValueError` if the sheet is not to be written there; before everything is read."""
    if sheet.suffix.lower() != ".png":
        raise ValueError(f"the sheet {sheet} must be a .png file.")
    if sheet.resolve().is_relative_to(Path(os.path.expanduser(folder)).resolve()):
        raise ValueError(f"the sheet {sheet} would lie among the pictures of {folder}: give it a place outside.")


def draw_sheet(groups: dict[str, list[Path]], sheet: Path, as_they_are: bool = False) -> None:
    """Draw some pictures of each class with their names, as the model sees them, into a PNG file.

    Args:
        groups: the pictures that can be read, by class.
        sheet: the file.
        as_they_are: whether the model sees them whole, and not the middle square.

    Raises:
        ValueError: there are none, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    if not groups:
        raise ValueError("there are no pictures for a sheet.")
    rows = list(groups.items())[:SHEET_ROWS]
    width, height = LEFT + SHEET_COLUMNS * (CELL + GAP), len(rows) * (CELL + 2 * GAP)
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white")
    for row, (name, paths) in enumerate(rows):
        bottom = height - (row + 1) * (CELL + 2 * GAP)
        _write(figure, LEFT // 2, bottom + CELL // 2, name, rotation=90, fontsize=10)
        count = min(len(paths), SHEET_COLUMNS)
        for column in range(count):
            path, left = paths[column * len(paths) // count], LEFT + column * (CELL + GAP)
            figure.figimage(_read_cell(path, None if as_they_are else SEEN), left, bottom, origin="upper")
            _write(figure, left + CELL // 2, bottom + CELL + GAP, path.name, fontsize=7)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font lacks
        figure.savefig(content, format="png")
    try:
        write_atomically(sheet, content.getvalue())
    except OSError as error:
        raise ValueError(f"cannot write {sheet} ({error.strerror or error}): choose another place.") from error


def _read_cell(path: Path, size: int | None) -> np.ndarray:
    """A picture as it is read, made as large as there is room for: (h, w, 3) -> (CELL, at most CELL, 3), or the like."""
    from PIL import Image

    image = Image.fromarray(read_image(path, size).transpose(1, 2, 0))  # (3, h, w) -> (h, w, 3)
    scale = CELL / max(image.size)
    width, height = (max(1, round(scale * side)) for side in image.size)
    return np.asarray(
        image.resize((width, height), Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST)
    )


def _write(figure: "Figure", x: float, y: float, name: str, **look: Any) -> None:
    """Write a name, from its middle, at a place in pixels."""
    from matplotlib.transforms import IdentityTransform

    text = _short(shown(name))
    figure.text(x, y, text, transform=IdentityTransform(), ha="center", va="center", parse_math=False, **look)


def _short(name: str, length: int = 20) -> str:
    return name if len(name) <= length else f"{name[: length - 9]}…{name[-8:]}"
