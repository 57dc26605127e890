"""The table of marks: a row for each submission, whatever came of it, written whole after each."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from course_lib.files.atomic import write_atomically
from course_lib.grading.report import Report
from course_lib.grading.submissions import Submission
from course_lib.words import one_line

COLUMNS = ("learner", "id", "file", "chapter", "passed", "of", "grade", "outcome", "reason", "page", "sha256", "checks")
OUTCOMES = ("all passed", "some passed", "none passed", "could not be run", "the check failed")


def row_of(submission: Submission, report: Report) -> dict[str, str]:
    """The row of a submission: its columns, and one for each exercise."""
    of = len(report.verdicts)
    row = {
        "learner": safe(submission.learner),
        "id": submission.identity,
        "file": safe(submission.name),
        "chapter": report.what.removeprefix("chapter "),
        "passed": str(report.passed),
        "of": str(of),
        "grade": f"{100 * report.passed / of:.2f}" if of else "0.00",
        "outcome": outcome_of(report),
        "reason": safe("" if report.status <= 1 else report.fault or report.broken),
        "page": f"{submission.key}.html",
        "sha256": submission.digest(),
        "checks": " ".join(f"{name}:{version}" for name, version in report.versions.items()),
    }
    return row | {verdict.exercise: verdict.status for verdict in report.verdicts}


def outcome_of(report: Report) -> str:
    if report.fault:
        return "the check failed"
    if report.broken:
        return "could not be run"
    if report.passed == len(report.verdicts) > 0:
        return "all passed"
    return "some passed" if report.passed else "none passed"


def safe(text: str) -> str:
    """A text that a spreadsheet takes as a text and never as a formula, in one line."""
    text = one_line(text.encode(errors="replace").decode(), 300)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def write_marks(file: Path, rows: Iterable[dict[str, str]]) -> None:
    """Write the table, whole or not at all; a spreadsheet reads it as UTF-8."""
    from course_lib.checks.catalogue import NAMES

    rows = sorted(rows, key=lambda row: row["file"])
    used = [name for name in NAMES if any(name in row for row in rows)]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *used], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(file, text.getvalue().encode("utf-8-sig"))


def read_marks(file: Path) -> list[dict[str, str]]:
    """The rows of a table that was written here before; none if there is none yet.

    Raises:
        ValueError: it is some other table.
    """
    if not file.exists():
        return []
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    if rows and not set(COLUMNS) <= rows[0].keys():
        raise ValueError(f"{file} is a table of something else: give another file with --out.")
    return [{name: value for name, value in row.items() if value or name in COLUMNS} for row in rows]


def fill_in(exported: Path, rows: list[dict[str, str]], column: str | None) -> tuple[str, int]:
    """The text of a file that Moodle or Canvas exported, with our grades in it, and how many were filled in.

    Moodle's grading worksheet has a row "Participant 123" for each learner, and its own maximum. Canvas's gradebook has
    a number for each learner, a column for each assignment, whose name is to be given, and a row of possible points.

    Raises:
        ValueError: it is neither, or there is no such column.
    """
    with exported.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        table, names = list(reader), list(reader.fieldnames or ())
    best: dict[str, float] = {}
    for row in rows:
        if row["id"]:
            best[row["id"]] = max(best.get(row["id"], 0), float(row["grade"]))
    if {"Identifier", "Grade"} <= set(names):
        filled = _fill_moodle(table, best)
    elif {"Student", "ID"} <= set(names):
        filled = _fill_canvas(table, best, names, column)
    else:
        raise ValueError(
            f"{exported} is neither Moodle's grading worksheet nor Canvas's gradebook: export one of these."
        )
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue(), filled


def _fill_moodle(table: list[dict[str, str]], best: dict[str, float]) -> int:
    filled = 0
    for row in table:
        if (grade := best.get(row["Identifier"].rpartition(" ")[2])) is not None:
            most = row.get("Maximum Grade") or row.get("Maximum grade") or "100"
            row["Grade"] = f"{grade / 100 * float(most.replace(',', '.')):.2f}"
            filled += 1
    return filled


def _fill_canvas(table: list[dict[str, str]], best: dict[str, float], names: list[str], column: str | None) -> int:
    if column not in names:
        raise ValueError(f"--column {column!r} is none of Canvas's: give one of {', '.join(names[5:20])}.")
    points = next((row for row in table if row["Student"].strip() == "Points Possible"), {})
    most = float(points.get(column) or 100)
    filled = 0
    for row in table:
        if (grade := best.get(row["ID"].strip())) is not None:
            row[column] = f"{grade / 100 * most:.2f}"
            filled += 1
    return filled
