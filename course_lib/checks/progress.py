"""How far you are: which exercises have passed, read from what the checks have kept. At the end of each chapter."""

from course_lib.checks.catalogue import CHAPTERS, NAMES
from course_lib.checks.pieces import kept_pieces


def passed() -> tuple[str, ...]:
    """The exercises whose answers are kept in `my_pieces.py`, in the order of the course."""
    kept = kept_pieces()
    return tuple(name for name in NAMES if name in kept)


def progress(chapter: int | str) -> None:
    """Print which exercises of a chapter have passed, and how many of the whole course.

    Args:
        chapter: its number, or "B" for the bug gallery.

    Raises:
        ValueError: that chapter has no exercise.
    """
    names = CHAPTERS.get("bugs" if chapter == "B" else f"ch{chapter:02}")
    if names is None:
        known = ", ".join(str(int(key[2:])) for key in CHAPTERS if key != "bugs")
        raise ValueError(f"chapter {chapter} has no exercise with a check; those that have are {known} and B.")
    done = passed()
    left = [name for name in names if name not in done]
    what = f"To come: {', '.join(left)}." if left else "All of them."
    print(
        f"{'The bug gallery' if chapter == 'B' else f'Chapter {chapter}'}: {len(names) - len(left)} of {len(names)} passed. {what}"
    )
    print(f"The course: {len(done)} of {len(NAMES)} passed.")
