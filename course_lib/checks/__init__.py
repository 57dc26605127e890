"""Checks for the exercises: one line that says at once whether an answer is right, and if not, why.

    from course_lib.checks import check_softmax      # one for each exercise: check_<name>
    check_softmax(my_softmax)

One module a chapter holds the records, `catalogue` knows them by name, `pieces` keeps what has passed for later
chapters, `progress` says what that is. A chapter's module is imported when it is first asked for, so that a notebook
depends on its own chapter's records only.
"""

from course_lib.checks.catalogue import NAMES, find
from course_lib.checks.own_pieces import stand_ins
from course_lib.checks.pieces import download_pieces, forget, keep, my_pieces, upload_pieces
from course_lib.checks.progress import progress

__all__ = ["NAMES", "download_pieces", "find", "forget", "my_pieces", "progress", "stand_ins", "upload_pieces"]


def _check(name):
    """The check of one exercise: it prints its line, and what passed is kept."""
    exercise = find(name)

    def check(candidate):
        if exercise.check(candidate).status == "passed":
            keep(exercise, candidate)

    return check


def __getattr__(name):
    if name == "EXERCISES":
        return {name: find(name) for name in NAMES}
    if name.startswith("check_") and name.removeprefix("check_") in NAMES:
        return _check(name.removeprefix("check_"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
