"""Fill the page "Errors" (book/errors.md) from its entries (book/errors.yml), and hand their patterns to the page's box.

A Sphinx extension. The line `<!-- errors -->` of the page becomes a list of all entries and one JSON block, in which
assets/js/errors.js looks. Needs no PyTorch.
"""

import json
from pathlib import Path

import yaml

BOOK = Path(__file__).resolve().parent.parent / "book"
ENTRIES = BOOK / "errors.yml"
PLACE = "<!-- errors -->"


def sections():
    """The sections of errors.yml: a list of dictionaries with a title, a lead where there is one, and the entries."""
    return yaml.safe_load(ENTRIES.read_text(encoding="utf-8"))


def _entry(entry, chapters):
    fence = "``" if "`" in entry["says"] else "`"
    met = [f"[chapter {number}]({chapters[number]}.ipynb)" for number in entry["chapters"]]
    yield f"({entry['anchor']})="
    yield f"### {fence}{entry['says']}{fence}"
    yield f"**Why.** {entry['why']}"
    yield f"**What to do.** {entry['cure']}"
    if code := entry.get("code"):
        yield f"```python\n{code.rstrip()}\n```"
    yield f"*{entry['anchor']}* · met in {', '.join(met)}"


def fill(text):
    """The text of the page with its placeholder replaced."""
    chapters = {int(path.name[:2]): path.stem for path in BOOK.glob("[0-9][0-9]_*.py")}
    parts, found = [], []
    for section in sections():
        parts += [f"## {section['title']}", section.get("lead", "")]
        for entry in section["entries"]:
            parts += _entry(entry, chapters)
            found.append({"anchor": entry["anchor"], "pattern": entry["pattern"]})
    data = json.dumps(found).replace("<", "\\u003c")
    parts.append(f'<script type="application/json" id="course-errors">{data}</script>')
    return text.replace(PLACE, "\n\n".join(filter(None, parts)))


def _read(app, docname, source):
    if PLACE in source[0]:
        source[0] = fill(source[0])
        for path in (Path(__file__), ENTRIES):
            app.env.note_dependency(str(path))


def setup(app):
    app.connect("source-read", _read)
    return {"parallel_read_safe": True}
