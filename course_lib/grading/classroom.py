"""A class at once: what was handed in is judged in parallel, and a row is written for each, whatever comes of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_lib.checks.catalogue import NAMES
from course_lib.files.atomic import write_atomically
from course_lib.grading.crew import judge_all
from course_lib.grading.kernel import Limits
from course_lib.grading.marks import read_marks, row_of, write_marks
from course_lib.grading.pages import class_page, learner_page
from course_lib.grading.report import Report, as_data
from course_lib.grading.statistics import Hardness, alike, hardness
from course_lib.grading.submissions import Submission, find_submissions
from course_lib.grading.versions import version_of


@dataclass
class Class:
    """What came of grading: all rows, what changed in those that were there before, and what the class found hard."""

    rows: list[dict[str, str]]
    marked: int = 0  # now; the others were marked before
    outdated: int = 0  # marked before, by checks that have changed since
    differences: list[str] = field(default_factory=list)
    hard: list[Hardness] = field(default_factory=list)
    alike: list[tuple[str, ...]] = field(default_factory=list)


def grade(
    folder: Path,
    out: Path,
    *,
    workers: int,
    limits: Limits,
    chapter: str | None = None,
    regrade: bool = False,
    feedback: str = "hint",
    progress: Callable[[int, int, dict[str, str]], None] = lambda *_: None,
) -> Class:
    """Judge all submissions in `folder` that are not judged yet, and write the table `out` and the pages beside it.

    What was marked before is kept where the file is the same; with `regrade`, only where its checks are the same too
    and it could be run. The table is written after each submission: what is stopped goes on from there.

    Raises:
        ValueError: there are no submissions, or `out` is some other table.
    """
    handed_in = {submission.path: submission for submission in find_submissions(folder)}
    pages = out.with_suffix("")
    pages.mkdir(parents=True, exist_ok=True)
    before = {row["file"]: row for row in read_marks(out)}
    known = {path: _kept(submission, before, pages) for path, submission in handed_in.items()}
    rows = {path: row for path, row in known.items() if row and not (regrade and _has_changed(row))}
    result = Class([], outdated=sum(_is_outdated(row) for row in rows.values()))
    left = [path for path in handed_in if path not in rows]

    def note(path: Path, report: Report) -> None:
        submission = handed_in[path]
        rows[path] = row_of(submission, report)
        told = as_data(report, "full") | {"answers": report.answers, "file": rows[path]["file"]}
        write_atomically(pages / f"{submission.key}.json", json.dumps(told, indent=1).encode())
        told = as_data(report, feedback)
        write_atomically(pages / f"{submission.key}.html", learner_page(rows[path], told).encode())
        result.differences += _differences(known[path], rows[path])
        result.marked += 1
        write_marks(out, rows.values())
        progress(len(rows), len(handed_in), rows[path])

    for path in (path for path in left if handed_in[path].problem):
        note(path, Report(handed_in[path].name, broken=handed_in[path].problem))
    for path, report in judge_all([path for path in left if not handed_in[path].problem], workers, limits, chapter):
        note(path, report)
    write_marks(out, rows.values())
    told = [json.loads((pages / f"{handed_in[path].key}.json").read_bytes()) for path in sorted(rows)]
    result.rows = sorted(rows.values(), key=lambda row: row["file"])
    result.hard = sorted(hardness(told), key=lambda one: NAMES.index(one.exercise))
    result.alike = alike(told)
    write_atomically(pages / "index.html", class_page(result.rows, result.hard, result.alike).encode())
    return result


def _kept(submission: Submission, before: dict[str, dict[str, str]], pages: Path) -> dict[str, str] | None:
    """The row of a submission from before, if it is of the same content, and all that was told is still there."""
    row = next((row for row in before.values() if row["page"] == f"{submission.key}.html"), None)
    there = all((pages / f"{submission.key}.{kind}").is_file() for kind in ("json", "html"))
    if not row or not there or row["sha256"] != submission.digest() or row["outcome"] == "the check failed":
        return None
    return row


def _has_changed(row: dict[str, str]) -> bool:
    return _is_outdated(row) or row["outcome"] == "could not be run"


def _is_outdated(row: dict[str, str]) -> bool:
    """Whether a check by which it was marked has changed since."""
    checks = (check.split(":") for check in row["checks"].split())
    return any(name not in NAMES or version_of(name) != version for name, version in checks)


def _differences(old: dict[str, str] | None, new: dict[str, str]) -> list[str]:
    if old is None:
        return []
    names = [name for name in (*NAMES, "outcome") if old.get(name, "") != new.get(name, "")]
    return [
        f"{new['file']}: {name} {old.get(name) or 'not judged'} -> {new.get(name) or 'not judged'}" for name in names
    ]


def as_statistics(result: Class) -> dict[str, Any]:
    """The figures for programs."""
    exercises = [vars(one) | {"mistakes": [list(pair) for pair in one.mistakes]} for one in result.hard]
    return {"submissions": len(result.rows), "exercises": exercises, "alike": [list(group) for group in result.alike]}
