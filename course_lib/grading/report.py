"""What came of checking a notebook: for people, as JSON, as JUnit's XML, and as an exit status."""

from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from course_lib.checks.exercise import Verdict
from course_lib.words import one_line

ALL_PASS, SOME_FAIL, NOT_RUN, OWN_ERROR = 0, 1, 2, 3  # exit statuses
FEEDBACK = ("none", "verdict", "hint", "full")
WORDS = {"passed": "PASS", "not attempted": "FAIL", "wrong": "FAIL", "error": "ERROR", "skipped": "SKIPPED"}


@dataclass(frozen=True)
class Report:
    """What came of one file. `broken` says why it could not be run to its end, `fault` what went wrong in the check."""

    file: str
    what: str = ""  # "chapter 3", "the certificate of Ada"
    verdicts: tuple[Verdict, ...] = ()
    broken: str = ""
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()  # protections that this system does not have
    versions: dict[str, str] = field(default_factory=dict)  # of the checks
    answers: dict[str, str] = field(default_factory=dict)  # {exercise: digest of its answer's text, without layout}
    seconds: float = 0.0
    fault: str = ""

    @property
    def passed(self) -> int:
        return sum(verdict.status == "passed" for verdict in self.verdicts)

    @property
    def status(self) -> int:
        """The exit status."""
        if self.fault:
            return OWN_ERROR
        if self.broken:
            return NOT_RUN
        return ALL_PASS if self.verdicts and self.passed == len(self.verdicts) else SOME_FAIL

    @property
    def summary(self) -> str:
        of = len(self.verdicts)
        if self.fault:
            return f"the check itself failed: {one_line(self.fault)}"
        if self.status == ALL_PASS:
            return f"all public checks passed ({of}/{of})"
        counts = f"{self.passed} of {of} public checks passed" if of else ""
        return "; ".join(filter(None, (counts, f"could not run: {self.broken}" if self.broken else "")))


def in_words(report: Report, feedback: str = "hint") -> str:
    """The report for a terminal: a line for each exercise, with as much as `feedback` allows."""
    head = one_line(report.file) + (f": {report.what}" if report.what else "")
    lines = [head]
    if feedback != "none":
        lines += [f"  {WORDS[verdict.status]:<8} {_line(verdict, feedback)}" for verdict in report.verdicts]
    if feedback == "full":
        lines += [f"  note: {one_line(note, 400)}" for note in report.notes]
    if report.missing and feedback != "none":
        lines.append(f"  not on this system: {'; '.join(report.missing)}")
    return "\n".join([*lines, f"  {report.summary}"])


def _line(verdict: Verdict, feedback: str) -> str:
    if feedback == "verdict" or verdict.status == "passed":
        return verdict.exercise
    words = {"not attempted": "not attempted, "}.get(verdict.status, "")
    line = f"{verdict.exercise}: {words}{verdict.problem}"
    line += f" ({verdict.off})" if verdict.off else ""
    return one_line(line + (f". Hint: {verdict.hint}" if verdict.hint else ""), 10_000)


def as_data(report: Report, feedback: str = "hint") -> dict[str, Any]:
    """The report for programs."""
    told: dict[str, Any] = {"file": report.file, "what": report.what, "status": report.status}
    told |= {"summary": report.summary, "passed": report.passed, "of": len(report.verdicts), "seconds": report.seconds}
    told |= {"broken": report.broken, "fault": report.fault, "missing": list(report.missing)}
    if feedback == "none":
        return told
    told["exercises"] = [_verdict_data(report, verdict, feedback) for verdict in report.verdicts]
    return told | {"notes": list(report.notes)}


def _verdict_data(report: Report, verdict: Verdict, feedback: str) -> dict[str, Any]:
    told = {"exercise": verdict.exercise, "status": verdict.status, "check": report.versions.get(verdict.exercise, "")}
    if feedback == "verdict":
        return told
    return told | {
        "problem": verdict.problem,
        "largest_difference": verdict.off,
        "hint": verdict.hint,
        "known_mistake": verdict.known,
    }


def as_junit(reports: list[Report], feedback: str = "hint") -> bytes:
    """The reports as JUnit's XML: a suite for each file, a case for each exercise."""
    root = ElementTree.Element("testsuites")
    for report in reports:
        verdicts = report.verdicts or (Verdict("notebook", "error", report.summary),)
        kinds = [verdict.status for verdict in verdicts]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=one_line(report.file),
            tests=str(len(verdicts)),
            failures=str(kinds.count("wrong") + kinds.count("not attempted")),
            errors=str(kinds.count("error")),
            skipped=str(kinds.count("skipped")),
            time=f"{report.seconds:.1f}",
        )
        for verdict in verdicts:
            case = ElementTree.SubElement(suite, "testcase", name=verdict.exercise, classname=one_line(report.file))
            kind = {"passed": "", "error": "error", "skipped": "skipped"}.get(verdict.status, "failure")
            if kind:
                said = WORDS[verdict.status] if feedback in ("none", "verdict") else _line(verdict, feedback)
                ElementTree.SubElement(case, kind, message=one_line(said, 10_000))
        if report.broken or report.fault:
            ElementTree.SubElement(suite, "system-err").text = one_line(report.summary, 1000)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
