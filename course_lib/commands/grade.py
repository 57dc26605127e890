"""`course grade`: judge what a class has handed in, and write a table of marks."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from course_lib.commands.check import add_options, limits_from


def add_grade(commands: Any) -> None:
    grade = commands.add_parser(
        "grade",
        help="judge the notebooks of a class",
        description="Judges each notebook in a folder, and in the learners' folders in it, as `course check` does. Writes a "
        "row for each, a page for each learner, and a page for you. What was marked before is kept. Exit status: 0 all "
        "were judged, 1 it could not begin, 2 some could not be run, 3 a check itself failed.",
    )
    grade.add_argument("folder", type=Path, help="with notebooks, or with a folder for each learner")
    grade.add_argument("--out", type=Path, required=True, metavar="marks.csv", help="the table; pages go beside it")
    grade.add_argument(
        "--regrade", action="store_true", help="mark again what a changed check has marked; say what differs"
    )
    grade.add_argument("--workers", type=int, metavar="N", help="notebooks at the same time (default: one a processor)")
    grade.add_argument(
        "--fill", type=Path, metavar="EXPORT.csv", help="put the grades into what Moodle or Canvas exported"
    )
    grade.add_argument("--column", help="the assignment's column in Canvas's export")
    grade.add_argument("--json", action="store_true", help="print the statistics for programs")
    add_options(grade)
    grade.set_defaults(run=_grade)


def _grade(options: argparse.Namespace) -> int:
    limits, workers = limits_from(options), options.workers or os.cpu_count() or 1
    if workers < 1:
        raise ValueError(f"--workers {workers} must be at least 1.")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    from course_lib.files.atomic import write_atomically
    from course_lib.grading.classroom import as_statistics, grade
    from course_lib.grading.marks import fill_in

    result = grade(
        options.folder,
        options.out,
        workers=workers,
        limits=limits,
        chapter=options.chapter,
        regrade=options.regrade,
        feedback=options.feedback,
        progress=_tell,
    )
    if options.json:
        print(json.dumps(as_statistics(result), indent=1))
    else:
        print(_in_words(result, options.out))
    if options.fill:
        text, filled = fill_in(options.fill, result.rows, options.column)
        file = options.out.with_suffix(".filled.csv")
        write_atomically(file, text.encode("utf-8-sig"))
        print(f"{file}: {filled} grades put in", file=sys.stderr)
    outcomes = {row["outcome"] for row in result.rows}
    return 3 if "the check failed" in outcomes else 2 if "could not be run" in outcomes else 0


def _tell(done: int, of: int, row: dict[str, str]) -> None:
    print(
        f"{done}/{of} {row['file']}: {row['passed']} of {row['of']} {row['reason']}".rstrip(),
        file=sys.stderr,
        flush=True,
    )


def _in_words(result: Any, out: Path) -> str:
    lines = [
        f"{len(result.rows)} submissions, {result.marked} of them marked now: {out}, {out.with_suffix('') / 'index.html'}"
    ]
    for one in result.hard:
        lines.append(f"  {one.exercise}: {one.passed} of {one.judged} passed, {one.not_attempted} not attempted")
        lines += [f"    {count} x {hint}" for hint, count in one.mistakes]
    if result.differences:
        lines += ["Marked otherwise than before:", *(f"  {line}" for line in result.differences)]
    if result.outdated:
        lines.append(
            f"{result.outdated} rows were marked by checks that have changed since: --regrade marks them again."
        )
    return "\n".join(lines)
