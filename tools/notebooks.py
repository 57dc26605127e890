"""Turn chapter sources into notebooks: one source, a solved notebook and a learner's notebook.

    python tools/notebooks.py build [NAME ...]    write what is out of date, executing only what changed
    python tools/notebooks.py check               say what is out of date, execute nothing

`book/NN_slug.py` (jupytext percent format) is the only file of a chapter that is edited. A chapter without a number
has a letter, the first of its name, and its exercises are B.1, B.2, ... Cells are told apart by tags:

    setup       the imports; the lines that install the package where it is missing are put before them
    exercise    holds a function with `# BEGIN SOLUTION` ... `# END SOLUTION`; the learner gets a stub
    check       calls the exercise's check
    help        staged help in Markdown, after the check; the learner's copy gets the answer, folded
    hide-output the output is folded until asked for: the reader predicts first
    hide-input  the code is folded: it only draws (setup cells get this by themselves)

Both are folded on the site, in Jupyter and in Colab. After a prediction ("> **Predict.") whatever tells its answer is
folded without being asked: the outputs up to the next prose, and that prose up to its first heading.
The last cell of every chapter is made here: it says what has passed, and its output is not kept.

A line `#| alt: ...` at the top of a cell describes its picture. It becomes cell metadata. In prose a mention
of another chapter or of an exercise becomes a link, and the title gets the chapter's number.

The solved notebook remembers what its outputs were made from: a digest of its code, and one of every
file of the repository that the execution imported or read. So a change in `course_lib` or `data` is
noticed without executing anything.
"""

import argparse
import base64
import copy
import hashlib
import io
import itertools
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
import yaml
from nbclient import NotebookClient
from PIL import Image, ImageChops, ImageStat
from traitlets.config import Config

from course_lib.files.atomic import write_atomically

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"

SOLUTION = re.compile(r"^(?P<indent> *)# BEGIN SOLUTION\n(?P<code>.*?)^ *# END SOLUTION\n?", re.M | re.S)
PROGRESS = """\
from course_lib.checks import progress

progress({})  # what has passed in this chapter and in the course, from my_pieces.py
"""
JUDGED = """\
To have the whole notebook judged as a teacher would, in a kernel of its own: save it, and run `course check {}.ipynb` in a \
terminal. In Colab, run `from course_lib.grading import check_this_notebook; check_this_notebook()` in a cell.\
"""
STUB = "...  # your code here"
UNJUDGED = "○ {}: not judged yet. Run this cell; the line begins with ✓ when your answer is right.\n"
PREDICTION = "> **Predict."
HEADING = re.compile(r"^(?=#+ |> \*\*Predict\.)", re.M)  # where prose stops to be about what came out
ALT = re.compile(r"\A#\| alt: (?P<text>.*)\n")

NUMBER = r"(?:\d+(?:\.\d+)?|[A-Z]\.\d+)"
# What a mention is looked for outside of: code, headings, formulas, links, tags; and the mention, one or a list.
MENTION = re.compile(
    r"```.*?^```|^#.*?$|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\[[^\]]*\]\([^)]*\)|<summary>.*?</summary>|"
    rf"\b(?P<mention>(?i:chapter|exercise)(?:s\s{NUMBER}(?:(?:,|,? and| to)\s{NUMBER})*|\s{NUMBER}))",
    re.M | re.S,
)
ONE = re.compile(rf"(?:(?:chapter|exercise)s?\s)?(?P<number>{NUMBER})", re.I)
EXERCISE = re.compile(rf"^# ### (?P<title>Exercise (?P<number>{NUMBER}) .*)$", re.M)

# Without this the kernel warns on the terminal that its (local) connection is not encrypted.
KERNEL = Config({"KernelManager": {"transport_encryption": "auto"}})

SETUP = """\
#@title Setup: run this cell first
import importlib.util
import sys

if importlib.util.find_spec("course_lib") is None:  # Colab, or any Python without the course
    %pip install -q "course-lib @ git+{url}@{branch}"
if "google.colab" in sys.modules:
    from google.colab import output

    output.enable_custom_widget_manager()

"""

# Run in the kernel before the first and after the last cell: note every file that the chapter opens.
WATCH = """
import sys
_opened = set()
sys.addaudithook(lambda event, args: _opened.add(args[0]) if event == "open" and isinstance(args[0], str) else None)
"""
REPORT = """
import json, os, sys
_files = _opened | {{getattr(m, "__file__", None) or "" for m in list(sys.modules.values())}}
print(json.dumps(sorted(f for f in map(os.path.realpath, _files) if f.startswith({folders!r}))))
"""


def sources():
    return sorted(BOOK.glob("*.py"))


def label(path):
    """What the exercises of a chapter are numbered with: its number, or a letter: 1, 12, B."""
    number = path.name[:2]
    return str(int(number)) if number.isdecimal() else path.name[0].upper()


def targets():
    """{number of a chapter or exercise: where a link to it leads}, such as 9.2: 09_slug.ipynb#exercise-92--macro_f1."""
    found = {}
    for path in sources():
        page = f"{path.stem}.ipynb"
        found[label(path)] = page
        for match in EXERCISE.finditer(path.read_text(encoding="utf-8")):
            anchor = re.sub(r"[^\w -]", "", match["title"].lower()).replace(" ", "-")  # as MyST and GitHub make it
            found[match["number"]] = f"{page}#{anchor}"
    return found


def link_mentions(text, known, own=None):
    """`text` (Markdown) with every mention of a chapter or an exercise as a link; that of chapter `own` stays plain.

    Args:
        text: Markdown; code, headings, formulas and what is a link already stay as they are.
        known: the targets.
        own: the number of the chapter that the text stands in.

    Raises:
        ValueError: there is no such chapter or exercise.
    """

    def link(match):
        words, number = match[0], match["number"]
        if number == str(own):
            return words
        if number not in known:
            kind = "exercise" if "." in number else "chapter"
            raise ValueError(f"there is no {kind} {number}: {text[:60]!r}.")
        return f"[{words}]({known[number]})"

    return MENTION.sub(lambda match: ONE.sub(link, match[0]) if match["mention"] else match[0], text)


def read_source(path):
    """The chapter as a notebook: cells tagged, named, alt texts and setup in place, solutions still marked."""
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "colab": {"toc_visible": True},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    number, known = label(path), targets()
    repository = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    exercise, used = None, set()
    notebook.cells += [nbformat.v4.new_markdown_cell(JUDGED.format(path.stem)), _progress(number)]
    for cell in notebook.cells:
        tags = list(cell.metadata.get("tags", []))
        if "setup" in tags:
            tags.append("hide-input")
        cell.metadata = nbformat.NotebookNode(tags=tags) if tags else nbformat.NotebookNode()
        if "setup" in tags:
            cell.source = SETUP.format(**repository) + cell.source
        if alt := ALT.match(cell.source):
            cell.source = cell.source[alt.end() :]
            cell.metadata["mystnb"] = {"image": {"alt": alt["text"]}}
        if "exercise" in tags:
            found = re.search(r"^def (\w+)", cell.source, re.M)
            if not found or not SOLUTION.search(cell.source):
                raise ValueError(
                    f"{path.name}: an exercise cell has no function, or no BEGIN/END SOLUTION: {cell.source[:60]!r}"
                )
            exercise = found[1]
        if {"exercise", "check", "help"} & set(tags):
            cell.metadata["exercise"] = exercise
        cell.id = _cell_id(cell, used)
        if cell.cell_type == "markdown":
            cell.source = link_mentions(cell.source, known, number)
    fold_answers(notebook.cells)
    for cell in notebook.cells:
        fold(cell)
    if number.isdecimal():
        notebook.cells[0].source = notebook.cells[0].source.replace("# ", f"# {number}. ", 1)
    return notebook


def _progress(chapter):
    """The last cell: how far the reader is. What it prints is the reader's own, so it is neither kept nor compared."""
    tags = ["progress", "nbval-ignore-output", "remove-cell"]  # the site has another (assets/js/progress.js)
    return nbformat.v4.new_code_cell(
        PROGRESS.format(chapter if chapter.isdecimal() else json.dumps(chapter)).rstrip(), metadata={"tags": tags}
    )


def fold_answers(cells):
    """Fold what answers a prediction: the outputs after it, and the beginning of the prose after them."""
    for index, asked in enumerate(cells):
        shown = list(itertools.takewhile(lambda cell: cell.cell_type == "code", cells[index + 1 :]))
        tags = [set(cell.metadata.get("tags", [])) for cell in shown]
        if PREDICTION not in asked.source or not shown or {"exercise", "check"} & set().union(*tags):
            continue
        for cell in shown:
            cell.metadata["tags"] = list(dict.fromkeys([*cell.metadata.get("tags", []), "hide-output"]))
        prose = cells[index + 1 + len(shown)]
        told = HEADING.split(prose.source, maxsplit=1)[0].rstrip()
        if told:
            fold = f'<details class="course-answer">\n<summary>What came out</summary>\n\n{told}\n\n</details>'
            prose.source = fold + prose.source[len(told) :]


def fold(cell):
    """Tell Jupyter and Colab too what the tags tell the site."""
    tags, jupyter = cell.metadata.get("tags", []), {}
    if "hide-output" in tags:
        jupyter["outputs_hidden"] = cell.metadata["collapsed"] = True  # until it is run
    if "hide-input" in tags:
        jupyter["source_hidden"], cell.metadata["cellView"] = True, "form"
    if jupyter:
        cell.metadata["jupyter"] = jupyter


def _cell_id(cell, used):
    """A name that depends on the cell alone, so that stored outputs find their cell again."""
    kind = next((tag for tag in ("exercise", "check", "help") if tag in cell.metadata.get("tags", [])), None)
    name = f"{kind}-{cell.metadata['exercise']}" if kind else hashlib.sha256(cell.source.encode()).hexdigest()[:8]
    unique, n = name, 1
    while unique in used:
        n += 1
        unique = f"{name}-{n}"
    used.add(unique)
    return unique


def solution(cell):
    """The exercise cell with its markers gone and the answer in place."""
    return SOLUTION.sub(lambda match: match["code"], cell.source).rstrip("\n")


def stub(cell):
    return SOLUTION.sub(lambda match: f"{match['indent']}{STUB}\n", cell.source).rstrip("\n")


def solved(source):
    notebook = copy.deepcopy(source)
    for cell in notebook.cells:
        if "exercise" in cell.metadata.get("tags", []):
            cell.source = solution(cell)
    return notebook


def learner(source, executed):
    """Stubs, a folded answer in the help under each, and the outputs of every cell but the checks, which wait."""
    notebook = _with_outputs(source, executed)
    answer = None
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "exercise" in tags:
            answer = solution(cell)
            cell.source, cell.outputs = stub(cell), []
        elif "check" in tags:
            line = UNJUDGED.format(cell.metadata["exercise"])
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=line)]
        elif "help" in tags:
            cell.source += f"\n\n<details>\n<summary>Answer</summary>\n\n```python\n{answer}\n```\n\n</details>"
    notebook.metadata["course"] = {"written": _written(notebook)}
    return notebook


def _written(notebook):
    """A digest of what stands in the cells, whatever came out of them. (JupyterLab adds an empty one at the end.)"""
    return _digest(json.dumps([cell.source for cell in notebook.cells if cell.source]).encode())


def _with_outputs(source, executed):
    """A copy of `source` in which each code cell has the outputs of its namesake in `executed`."""
    stored = {cell.id: cell for cell in executed.cells}
    notebook = copy.deepcopy(source)
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    for count, cell in enumerate(code, 1):
        cell.outputs = stored[cell.id].outputs
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    return notebook


def execute(path, notebook):
    """Run `notebook`. Returns it with clean outputs, and the repository's files that it used."""
    folders = tuple(f"{(ROOT / name).resolve()}{os.sep}" for name in ("course_lib", "data"))
    codes = WATCH, REPORT.format(folders=folders)
    watch, report = (nbformat.v4.new_code_cell(code) for code in codes)
    notebook.cells = [watch, *notebook.cells, report]
    options = {"timeout": 300, "record_timing": False, "coalesce_streams": True}
    with tempfile.TemporaryDirectory() as folder:  # an empty one: the checks keep the answers in the working folder
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, resources=resources, config=KERNEL, **options)
        client.execute(env=os.environ | {"COURSE_LIB_OFFLINE": "1"})  # the same outputs with a network and without
    notebook.cells = notebook.cells[1:-1]
    for cell in notebook.cells:
        if "progress" in cell.metadata.get("tags", []):
            cell.outputs = []
        for output in cell.get("outputs", []):
            _clean(path, cell, output)
    return notebook, _used(json.loads(report.outputs[0].text))


def _clean(path, cell, output):
    if output.output_type == "stream" and output.name == "stderr":
        raise ValueError(f"{path.name}: a cell writes to stderr: {output.text[:200]!r}\n{cell.source}")
    data = output.get("data", {})
    data.pop("application/vnd.jupyter.widget-view+json", None)  # its id is random; text/html stands in for it
    if "image/png" in data:
        data["image/png"] = _smaller(data["image/png"])


def _smaller(png):
    """The same picture (base64 in and out) in a palette: of 64 colours where nobody can tell, else of 256."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    few, many = (picture.quantize(colours, dither=Image.Dither.NONE, kmeans=1) for colours in (64, 256))
    off = ImageStat.Stat(ImageChops.difference(picture, few.convert("RGB"))).mean  # of 255, red, green and blue
    packed = io.BytesIO()
    (few if max(off) < 0.5 else many).save(packed, "PNG", optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


def _used(files):
    """{path in the repository: digest} of the library and data files that a chapter opened."""
    found = {Path(name).relative_to(ROOT.resolve()).as_posix(): Path(name) for name in files}
    return {
        name: _digest(file.read_bytes())
        for name, file in sorted(found.items())
        if file.is_file() and file.suffix != ".pyc" and not name.startswith("data/cache/")
    }


def _digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def code_digest(notebook):
    code = [(cell.id, cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    return _digest(json.dumps(code).encode())


def outputs_stale(notebook, stored):
    """Why the stored outputs cannot be kept, or None."""
    if stored is None:
        return "not executed yet"
    made_from = stored.metadata.get("course", {})
    if made_from.get("code") != code_digest(notebook):
        return "its code changed"
    for name, digest in made_from.get("inputs", {}).items():
        file = ROOT / name
        if not file.is_file() or _digest(file.read_bytes()) != digest:
            return f"{name} changed"
    return None


def products(path):
    return BOOK / "solutions" / f"{path.stem}.ipynb", BOOK / f"{path.stem}.ipynb"


def render(source, executed):
    """The text of both notebooks: the solved one, then the learner's."""
    both = _with_outputs(solved(source), executed), learner(source, executed)
    both[0].metadata["course"] = executed.metadata["course"]
    return [nbformat.writes(notebook) + "\n" for notebook in both]


def stored_notebook(path):
    """The solved notebook as it was written last, or None if there is none that can be read."""
    try:
        return nbformat.read(products(path)[0], as_version=4)
    except (FileNotFoundError, ValueError, nbformat.ValidationError):
        return None


def stale(path):
    """Why the chapter's notebooks are out of date, or None. Executes nothing."""
    source, stored = read_source(path), stored_notebook(path)
    if reason := outputs_stale(solved(source), stored):
        return reason
    for product, text in zip(products(path), render(source, stored), strict=True):
        if not product.is_file() or product.read_text(encoding="utf-8") != text:
            return f"{product.relative_to(ROOT)} is not what the source gives"
    return None


def build(path, force=False):
    """Bring both notebooks up to date, executing the chapter only if its stored outputs cannot be kept."""
    source, stored = read_source(path), stored_notebook(path)
    notebook = solved(source)
    reason = "asked for" if force else outputs_stale(notebook, stored)
    if reason:
        print(f"{path.name}: executing ({reason})", flush=True)
        digest = code_digest(notebook)
        stored, inputs = execute(path, notebook)
        stored.metadata["course"] = {"code": digest, "inputs": inputs}
    for product, text in zip(products(path), render(source, stored), strict=True):
        if not product.is_file() or product.read_text(encoding="utf-8") != text:
            set_answers_aside(product)
            write_atomically(product, text.encode())
            print(f"{path.name}: wrote {product.relative_to(ROOT)}")


def set_answers_aside(product):
    """Keep a copy of a learner's notebook in which somebody has written something, and every earlier copy."""
    if product.parent != BOOK or not product.is_file():
        return
    try:
        notebook = nbformat.read(product, as_version=4)
        if notebook.metadata.get("course", {}).get("written") == _written(notebook):
            return
    except (ValueError, nbformat.ValidationError):
        pass  # what cannot be read may hold answers, too
    copy, number = product.with_suffix(".yours.ipynb"), 1
    while copy.exists():
        number += 1
        copy = product.with_suffix(f".yours-{number}.ipynb")
    write_atomically(copy, product.read_bytes())
    print(f"{product.name}: your answers are kept in {copy.relative_to(ROOT)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="write what is out of date")
    building.add_argument("names", nargs="*", help="chapters, such as 01_attention; all of them by default")
    building.add_argument("--force", action="store_true", help="execute even where nothing changed")
    commands.add_parser("check", help="say what is out of date")
    arguments = parser.parse_args()
    if arguments.command == "check":
        found = {path.name: reason for path in sources() if (reason := stale(path))}
        for name, reason in found.items():
            print(f"{name}: out of date, {reason}: run `make notebooks`")
        return 1 if found else 0
    known = {path.stem: path for path in sources()}
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        parser.error(f"no chapter {unknown[0]}; there are {', '.join(known)}")
    for name in arguments.names or known:
        build(known[name], arguments.force)
    return 0


if __name__ == "__main__":
    sys.exit(main())
