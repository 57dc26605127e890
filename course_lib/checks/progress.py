"""How far you are: which exercises have passed, read from what the checks have kept. At the end of each chapter."""

from course_lib.checks.catalogue import CHAPTERS, NAMES, chapter_key, chapter_words
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
    key = chapter_key(chapter)
    names, done, words = CHAPTERS[key], passed(), chapter_words(key)
    left = [name for name in names if name not in done]
    what = f"To come: {', '.join(left)}." if left else "All of them."
    print(f"{words[0].upper()}{words[1:]}: {len(names) - len(left)} of {len(names)} passed. {what}")
    print(f"The course: {len(done)} of {len(NAMES)} passed.")
