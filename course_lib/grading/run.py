"""Checking one file: a learner's notebook, or the certificate that a learner got for the answers in it."""

import time
import traceback
from dataclasses import replace
from pathlib import Path

from course_lib.grading.agreed import CERTIFICATE
from course_lib.grading.kernel import Kernel, KernelError, Limits
from course_lib.grading.notebook import NotebookError, read_json, read_notebook
from course_lib.grading.report import Report
from course_lib.grading.starter import Starter
from course_lib.words import one_line

PIECES = "my_pieces.py"  # the only file that goes with a notebook


def check(starter: Starter, file: Path, limits: Limits | None = None, chapter: str | None = None) -> Report:
    """Judge what is in a file. It raises nothing but interrupts: whatever happens is in the report."""
    begun = time.monotonic()
    report = _attempt(starter, file, limits or Limits(), chapter)
    if starter.has_ended():  # no notebook can do that where there are namespaces: it is tried once more
        report = _attempt(starter, file, limits or Limits(), chapter)
        if starter.has_ended():
            report = Report(file.name, fault="the process that starts kernels was ended from outside, twice")
    return replace(report, seconds=round(time.monotonic() - begun, 1))


def _attempt(starter: Starter, file: Path, limits: Limits, chapter: str | None) -> Report:
    try:
        return _check(starter, file, limits, chapter)
    except (NotebookError, KernelError) as error:
        return Report(file.name, broken=str(error))
    except Exception as error:  # the check's own fault, which must not be laid at the learner's door
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}, line {place.lineno}"
        return Report(file.name, fault=f"{type(error).__name__}: {one_line(str(error))} ({where})")


def _check(starter: Starter, file: Path, limits: Limits, chapter: str | None) -> Report:
    if file.suffix == ".json":
        return _check_certificate(starter, file, limits)
    notebook = read_notebook(file)
    pieces = file.parent / PIECES
    with Kernel(starter, limits, {PIECES: pieces.read_bytes()} if pieces.is_file() else {}) as kernel:
        from course_lib.checks.catalogue import chapter_words  # PyTorch is loaded while the kernel starts
        from course_lib.grading import judge

        its = judge.chapter_of(notebook, chapter)
        exercises = judge.CHAPTERS[its]
        missing = kernel.wait_until_ready()
        verdicts, broken, notes = judge.judge_notebook(kernel, notebook, exercises)
    return Report(
        file.name,
        chapter_words(its),
        tuple(verdicts),
        broken,
        (*notebook.notes, *notes),
        tuple(missing),
        judge.versions(exercises),
        {v.exercise: notebook.digest_of(v.exercise) for v in verdicts if v.status in ("passed", "wrong")},
    )


def _check_certificate(starter: Starter, file: Path, limits: Limits) -> Report:
    told = read_json(file)
    if told.get("what") != CERTIFICATE or not isinstance(told.get("exercises"), dict):
        raise NotebookError("expected a notebook (.ipynb), or a certificate of this course (.json).")
    with Kernel(starter, limits) as kernel:
        from course_lib.grading import judge

        answers = {name: answer["source"] for name, answer in told["exercises"].items() if _is_answer(answer)}
        sources = {name: source for name, source in answers.items() if name in judge.NAMES}
        unknown = [one_line(str(name), 40) for name in told["exercises"] if name not in sources]
        missing = kernel.wait_until_ready()
        verdicts, broken, notes = judge.judge_pieces(kernel, sources)
    notes += [f"{name} is no answer to an exercise of the course, and does not count" for name in unknown]
    what = f"the certificate of {one_line(str(told.get('name') or 'nobody'), 80)}, which names {len(told['exercises'])} exercises"
    versions = judge.versions(tuple(sources))
    return Report(file.name, what, tuple(verdicts), broken, tuple(notes), tuple(missing), versions)


def _is_answer(answer: object) -> bool:
    return isinstance(answer, dict) and isinstance(answer.get("source"), str)
