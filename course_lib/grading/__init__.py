"""Judging notebooks from outside: the learner's code in one process, the verdict in another. For `course check`."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "check_this_notebook":  # with PyTorch, which the process that watches a kernel does without
        from course_lib.grading.here import check_this_notebook

        return check_this_notebook
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
