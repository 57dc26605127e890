"""Pages for people: one for each learner, one for the teacher. Each is one file that asks for nothing else."""

from collections.abc import Sequence
from html import escape
from typing import Any

from course_lib.grading.report import WORDS
from course_lib.grading.statistics import Hardness

STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid color-mix(in srgb, currentColor 30%, transparent); padding: .4rem .6rem; text-align: left; vertical-align: top; }
td, li { overflow-wrap: anywhere; }
.PASS::before { content: "✓ "; } .FAIL::before { content: "✗ "; } .ERROR::before { content: "! "; } .SKIPPED::before { content: "– "; }
.hint { margin: .3rem 0 0; }
@media (max-width: 40rem) {
  thead { position: absolute; clip-path: inset(50%); }
  tr, td { display: block; } td { border: 0; padding: .1rem 0; } tr { border-bottom: 1px solid; padding: .5rem 0; }
}
"""


def learner_page(row: dict[str, str], told: dict[str, Any]) -> str:
    """What a learner gets back: a line for each exercise, what is wrong with it and the hint."""
    lines = [
        f'<tr><td><code>{escape(line["exercise"])}</code></td><td class="{WORDS[line["status"]]}">'
        f"{escape(line['status'])}</td><td>{_said(line)}</td></tr>"
        for line in told.get("exercises", ())
    ]
    reason = f"<p><strong>{escape(row['reason'])}</strong></p>" if row["reason"] else ""
    head = "<tr><th>exercise</th><th>verdict</th><th>what was seen</th></tr>"
    table = f"<table><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>" if lines else ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in told.get("notes", ()))
    noted = f"<h2>Noticed while it ran</h2><ul>{notes}</ul>" if notes else ""
    body = f"<p>{escape(row['file'])}: {escape(told['summary'])}.</p>{reason}{table}{noted}"
    return _page(f"Feedback for {row['learner']}", body)


def _said(line: dict[str, Any]) -> str:
    said = escape(line.get("problem", ""))
    if line.get("largest_difference"):
        said += f" ({escape(line['largest_difference'])})"
    if line.get("hint"):
        said += f'<p class="hint">Hint: {escape(line["hint"])}</p>'
    return said


def class_page(rows: Sequence[dict[str, str]], hard: Sequence[Hardness], alike: Sequence[Sequence[str]]) -> str:
    """What a teacher looks at: exercises by how they went, every submission, and what is alike in them."""
    exercises = "".join(
        f"<tr><td><code>{escape(one.exercise)}</code></td><td>{one.passed} of {one.judged} passed</td><td>{one.not_attempted} "
        f"not attempted, {one.wrong} wrong, {one.errors} errors, {one.skipped} skipped</td><td>{_mistakes(one)}</td></tr>"
        for one in hard
    )
    head = "<tr><th>exercise</th><th>passed</th><th>the others</th><th>known mistakes</th></tr>"
    body = f"<h2>Exercises</h2><table><thead>{head}</thead><tbody>{exercises}</tbody></table>"
    learners = "".join(
        f'<tr><td><a href="{escape(row["page"])}">{escape(row["learner"])}</a></td><td>{escape(row["file"])}</td>'
        f"<td>{row['passed']} of {row['of']}</td><td>{escape(row['outcome'])}</td><td>{escape(row['reason'])}</td></tr>"
        for row in rows
    )
    head = "<tr><th>learner</th><th>file</th><th>passed</th><th>outcome</th><th>reason</th></tr>"
    body += f"<h2>Submissions</h2><table><thead>{head}</thead><tbody>{learners}</tbody></table>"
    groups = "".join(f"<li>{escape(', '.join(group))}</li>" for group in alike)
    body += (
        "<h2>Alike</h2><p>The same answers but for comments and layout. Short answers often are; what it means is yours "
        f"to judge.</p><ul>{groups or '<li>none</li>'}</ul>"
    )
    return _page(f"{len(rows)} submissions", body)


def _mistakes(one: Hardness) -> str:
    return "".join(f"<p>{count} × {escape(hint)}</p>" for hint, count in one.mistakes)


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n<meta name="viewport" '
        f'content="width=device-width, initial-scale=1">\n<style>{STYLE}</style></head>\n<body><main><h1>{escape(title)}</h1>\n'
        f"{body}</main></body></html>\n"
    )
