"""Fill the page "The library" (book/api.md) from the docstrings of course_lib, which is read but never imported.

A Sphinx extension. A line `<!-- course_lib: attention vit -->` of the page becomes what these modules say of
themselves; of a package, first the names that it hands on, then the rest of its modules. Needs no PyTorch.
"""

import html
import re
import textwrap
from collections import Counter
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parent.parent
PLACE = re.compile(r"^<!-- course_lib: (.*) -->$", re.M)
SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Shapes|Source|Traits)\b([^:\n]*):\s(.*)", re.S)
ITEM = re.compile(r"(\*{0,2}[\w.]+(?:, \*{0,2}\w+)*): (.*)")
PARAMETER = re.compile(r"(?:[^,()\[\]]|\([^()]*\)|\[(?:[^\[\]]|\[[^\[\]]*\])*\])+")
CHAPTERS = re.compile(r"\b[Cc]hapters? \d\d(?:(?:,| to| and) \d\d)*")
CODE_OR_SIGN = re.compile(r"(`[^`]+`)|([*<$])")


def rooms(module):
    """The module, and if it is a package every module in it."""
    yield module
    for _, part in sorted(module.members.items()):
        if not part.is_alias and part.is_module:
            yield from rooms(part)


def documented(parent):
    """What says what it is: the public functions and classes of a module, the methods and properties of a class."""
    for member in parent.members.values():
        from_elsewhere = member.is_alias and not member.target_path.startswith(f"{parent.path}.")
        if from_elsewhere or member.name.startswith("_") or not member.has_docstring:
            continue
        if member.is_function or member.is_class or "property" in member.labels:
            yield member


def call(thing):
    """How it is called; each parameter on a line of its own where one line is too short for all."""
    if not (thing.is_function or thing.is_class):
        return thing.name
    thing = thing.final_target if thing.is_alias else thing  # an alias forgets what is returned
    line = thing.signature() or thing.name
    if len(line) <= 74:
        return line
    parameters = PARAMETER.findall(thing.signature(return_type=False)[len(thing.name) + 1 : -1])
    ending = line[len(thing.signature(return_type=False)) :]
    return "\n".join([f"{thing.name}(", *(f"    {parameter.strip()}," for parameter in parameters), f"){ending}"])


def _html(text):
    return re.sub("`+([^`]+)`+", r"<code>\1</code>", html.escape(" ".join(text.split()), quote=False))


class Page:
    """The text of one page: what is linked with what, and how a docstring is set."""

    def __init__(self, library, names, chapters, source):
        self.chapters, self.source = chapters, source  # {"01": "01_attention"}, address of the repository's files
        self.wings, shown = {name: [] for name in names}, {}
        for wing, found in self.wings.items():
            for room in rooms(library[wing]):
                entries = [entry for entry in documented(room) if entry.canonical_path not in shown]
                shown |= {entry.canonical_path: entry for entry in entries}
                found += [(room, entries)] if entries else []
        count = Counter(entry.name for entry in shown.values())
        self.links = {entry.name: entry.path for entry in shown.values() if count[entry.name] == 1}
        self.links |= {path: entry.path for home, entry in shown.items() for path in (home, entry.path)}

    def wing(self, name):
        """A heading for each module, and an entry for each name."""
        parts = []
        for room, entries in self.wings[name]:
            parts += [f"### `{room.path}`", *self.blocks(room, room.docstring.value if room.docstring else "")]
            parts += [self.entry(entry) for entry in entries]
        return "\n\n".join(parts)

    def entry(self, thing):
        """One name, folded to its first sentence: how it is called, the rest of its docstring, and where it stands."""
        summary, _, rest = thing.docstring.value.strip().partition("\n\n")
        file = thing.relative_package_filepath
        return "\n\n".join(
            [
                f'<details class="course-api" id="{thing.path}">',
                f"<summary><code>{thing.name}</code> {_html(summary)}</summary>",
                f"```python\n{call(thing)}\n```",
                *self.blocks(thing, rest),
                *(self.entry(method) for method in documented(thing) if thing.is_class),
                f"[{file.name}, line {thing.lineno}]({self.source}/{file.as_posix()}#L{thing.lineno})",
                "</details>",
            ]
        )

    def blocks(self, thing, text):
        """A docstring as Markdown: its sections become lists of definitions; what it indents stays code."""
        own = {parameter.name for parameter in getattr(thing, "parameters", ())}  # an argument is no link
        for block in filter(None, text.split("\n\n")):
            section = SECTION.fullmatch(block.strip("\n"))
            if not section:
                yield block if block.startswith("    ") else self._words(block, own)
                continue
            title, more, body = section.groups()
            lines = [" ".join(item.split()) for item in re.split(r"\n(?=\S)", textwrap.dedent(body.lstrip("\n")))]
            lines = [f"- `{item[1]}`: {item[2]}" if (item := ITEM.fullmatch(line)) else line for line in lines]
            body = self._words("\n".join(lines), own)
            yield f"<dl>\n<dt>{_html(title + more)}</dt>\n<dd>\n\n{body}\n\n</dd>\n</dl>"

    def _words(self, text, own):
        """Markdown's signs as themselves; links to chapters, and to other names of the page."""

        def name(match):
            path = None if match[1] in own else self.links.get(match[1])
            return f'<a href="#{path}"><code>{match[1]}</code></a>' if path else match[0]

        def chapter(match):
            page = self.chapters.get(match[1])
            return f"[{match[0]}]({page}.ipynb)" if page else match[0]

        text = CODE_OR_SIGN.sub(lambda match: match[1] or f"\\{match[2]}", text.replace("``", "`"))
        text = CHAPTERS.sub(lambda match: re.sub(r"(?:[Cc]hapters? )?(\d\d)", chapter, match[0]), text)
        return re.sub(r"`([\w.]+)`", name, text)


def read_page(text, source):
    """The `Page` that goes with a text and its placeholders; `source` is the address of the repository's files."""
    names = [name for match in PLACE.finditer(text) for name in match[1].split()]
    chapters = {path.name[:2]: path.stem for path in (ROOT / "book").glob("[0-9][0-9]_*.py")}
    library = griffe.load("course_lib", search_paths=[ROOT], allow_inspection=False)
    return Page(library, names, chapters, source)


def fill(text, source):
    """The text with every placeholder replaced."""
    page = read_page(text, source)
    return PLACE.sub(lambda match: "\n\n".join(page.wing(name) for name in match[1].split()), text)


def _read(app, docname, source):
    if PLACE.search(source[0]):
        options = app.config.html_theme_options
        source[0] = fill(source[0], f"{options['repository_url']}/blob/{options['repository_branch']}")
        for path in (Path(__file__), *(ROOT / "course_lib").rglob("*.py")):
            app.env.note_dependency(str(path))


def setup(app):
    app.connect("source-read", _read)
    return {"parallel_read_safe": True}
