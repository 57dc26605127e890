"""The notebooks: fresh, complete, reproducible, and honest about right and wrong answers.

A chapter's cells do not depend on its exercises, which is read off the source. So one state of a notebook speaks for
the others: the solved one, or where a chapter asks for the reader's own pieces back, the untouched one. Every night
each runs in all its states, and those that compute for more than a quarter of a minute run at night only.
"""

import inspect
import os
import re
import subprocess
import symtable

import nbformat
import notebooks
import pytest
import yaml
from bank import ANSWERS
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from myst_parser.mdit_to_docutils.base import default_slugify

CHAPTERS = notebooks.sources()
PAGES = [*(notebooks.products(path)[1] for path in CHAPTERS), *sorted(notebooks.BOOK.glob("*.md"))]
ASK_BACK = ("06_vit", "07_training", "03_encoder", "10_comparison", "11_filters")  # the chapters that call my_pieces
UNTOUCHED_BY_DAY = ASK_BACK[:2]
AT_NIGHT = ("03_encoder", "09_finetuning", "12_attention_maps", "13_explain", *UNTOUCHED_BY_DAY)
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def learner(path):
    return nbformat.read(notebooks.products(path)[1], as_version=4)


def solved(path):
    return nbformat.read(notebooks.products(path)[0], as_version=4)


def cells(notebook, tag=None):
    return [cell for cell in notebook.cells if tag is None or tag in cell.metadata.get("tags", [])]


@pytest.fixture
def failing_cells(pytester, monkeypatch):
    """Run nbval on a notebook, in a pytest within this one; returns the names of the cells that fail, all others pass."""
    monkeypatch.setenv("COURSE_LIB_OFFLINE", "1")
    # nbval opens the null device for the kernel's errors and never closes it
    monkeypatch.setattr("nbval.kernel.open", lambda *_: subprocess.DEVNULL, raising=False)

    def run(notebook):
        nbformat.write(notebook, pytester.path / "notebook.ipynb")
        options = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=600", "-c", os.devnull]
        reports = pytester.inline_run("-q", "-p", "no:cacheprovider", *options, "notebook.ipynb").getreports()
        ran = [report for report in reports if getattr(report, "when", "") == "call"]
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert all(report.passed for report in reports if report not in ran) and len(ran) == len(code)
        assert not any(report.skipped for report in ran)
        return [cell.id for cell, report in zip(code, ran, strict=True) if report.failed]

    return run


def test_there_are_chapters():
    labels = [notebooks.label(path) for path in CHAPTERS]
    numbers = [label for label in labels if label.isdecimal()]
    assert numbers == [str(i) for i in range(1, len(numbers) + 1)] and len(labels) == len(set(labels))
    assert all(label in {"B"} for label in labels[len(numbers) :])


@every_chapter
def test_up_to_date(path):
    assert notebooks.stale(path) is None


@every_chapter
def test_outputs_are_there(path):
    for notebook, line in ((solved(path), "✓ {}: passed\n"), (learner(path), notebooks.UNJUDGED)):
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        printing = [cell for cell in code if re.search(r"^(print|check_\w+)\(|plt\.show\(\)", cell.source, re.M)]
        assert len(printing) > 10 and all(cell.outputs for cell in printing)
        assert all(output.output_type != "error" for cell in code for output in cell.outputs)
        for check in cells(notebook, "check"):
            assert [output.text for output in check.outputs] == [line.format(check.metadata.exercise)]


@every_chapter
def test_pictures_are_described(path):
    for cell in learner(path).cells:
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            assert len(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")) > 40, cell.source[:80]


@every_chapter
def test_size(path):
    assert all(product.stat().st_size <= 400 * 1024 for product in notebooks.products(path))


@every_chapter
def test_the_learner_gets_stubs_and_folded_answers(path):
    notebook, solutions = learner(path), {cell.id: cell.source for cell in cells(solved(path), "exercise")}
    exercises, checks, helps = (cells(notebook, tag) for tag in ("exercise", "check", "help"))
    fewest = 1 if path.stem == "10_comparison" else 3  # its other exercise is a long run, whose proof is the record
    assert fewest <= len(exercises) == len(checks) == len(helps) <= 6
    for exercise, check, help_ in zip(exercises, checks, helps, strict=True):
        assert exercise.metadata.exercise == check.metadata.exercise == help_.metadata.exercise
        assert exercise.source.endswith("...  # your code here") and exercise.source != solutions[exercise.id]
        assert f"<summary>Answer</summary>\n\n```python\n{solutions[exercise.id]}\n```" in help_.source
        assert help_.source.count("<summary>Hint</summary>") == 1 and help_.source.count("<details>") >= 3
        assert notebook.cells.index(check) == notebook.cells.index(exercise) + 1
        assert notebook.cells.index(help_) == notebook.cells.index(check) + 1


@every_chapter
def test_colab_can_show_it(path):
    """Colab knows Markdown, mathematics and <details>, but no MyST directive or role."""
    for cell in learner(path).cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"^(:::|```\{)|\{(ref|numref|cite|doc|eq|term)[:\w]*\}`", cell.source, re.M), (
                cell.source
            )


def inlines(page):
    """The lines of prose of a page as Markdown sees them: (tokens, whether they are a heading)."""
    texts = [page.read_text(encoding="utf-8")]
    if page.suffix == ".ipynb":
        texts = [cell.source for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "markdown"]
    markdown = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)
    for tokens in map(markdown.parse, texts):
        for before, token in zip([None, *tokens], tokens, strict=False):
            if token.type == "inline":
                yield token.children, before.type == "heading_open"


def outside_links(tokens):
    """What stands in no link, no code and no formula."""
    words, depth = "", 0
    for token in tokens:
        depth += token.nesting if token.type in ("link_open", "link_close") else 0
        words += token.content if token.type == "text" and not depth else " "
    return words


def anchors(page):
    """What a link into the page may end in, as MyST names it."""
    headings = (tokens for tokens, heading in inlines(page) if heading)
    return {default_slugify("".join(t.content for t in h if t.type in ("text", "code_inline"))) for h in headings}


@every_page
def test_a_mention_of_a_chapter_or_an_exercise_is_a_link(page):
    own = notebooks.label(page) if page.suffix == ".ipynb" else None
    for tokens, heading in inlines(page):
        words = outside_links(tokens)
        mentions = re.findall(r"\b(?i:chapter|exercise)s?\s+(\d+(?:\.\d+)?|[A-Z]\.\d)", "" if heading else words)
        assert set(mentions) <= {own}, words
        assert not re.search(r"\b(chapter|exercise)s?\s+0", "".join(t.content for t in tokens), re.I), "no leading zero"


@every_page
def test_links_lead_to_what_is_there(page):
    found = [token.attrs["href"] for tokens, _ in inlines(page) for token in tokens if token.type == "link_open"]
    for href in (href for href in found if "://" not in href):
        file, _, anchor = href.partition("#")
        target = notebooks.BOOK / file
        assert target.is_file() and (not anchor or anchor in anchors(target)), href


@every_chapter
def test_the_title_has_the_number(path):
    label = notebooks.label(path)
    for notebook in (solved(path), learner(path)):
        assert notebook.cells[0].source.startswith(f"# {label}. ") == label.isdecimal()


@every_chapter
def test_the_setup_cell_knows_the_repository(path):
    repository = yaml.safe_load((notebooks.ROOT / "_config.yml").read_text())["repository"]
    (setup,) = cells(learner(path), "setup")
    assert f'"course-lib @ git+{repository["url"]}@{repository["branch"]}"' in setup.source
    assert repository["url"] not in path.read_text()


def global_names(code):
    """The global names of a cell: those that it binds, those that it reads, and of these those read in functions."""
    top = symtable.symtable(re.sub(r"^( *)%.*", r"\1pass", code, flags=re.M), "cell", "exec")
    bound = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    read = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    inner, in_functions = top.get_children(), set()
    for table in inner:
        names = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
        read |= names
        if not table.get_name().endswith(("comp", "genexpr")):  # these run at once
            in_functions |= names
        inner += table.get_children()
    return bound, read, in_functions


def leaning_cells(notebook):
    """{name of a cell: names} of the cells, checks aside, that use what an exercise before them has bound.

    An exercise itself counts if it binds a name that a function of an earlier cell uses: calling that would use it.
    """
    found, answers, used_later = {}, set(), set()
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type != "code" or "check" in tags:
            continue
        bound, read, in_functions = global_names(cell.source)
        if "exercise" in tags:
            leaning = bound & used_later
            answers |= bound
        else:
            leaning = read & answers - bound
            answers -= bound
            used_later |= in_functions
        if leaning:
            found[cell.id] = leaning
    return found


@every_chapter
def test_no_cell_leans_on_an_exercise(path):
    """So the reader who is stuck can go on, and what runs in one state of a notebook runs in each."""
    assert leaning_cells(notebooks.solved(notebooks.read_source(path))) == {}
    assert ("my_pieces(" in path.read_text()) == (path.stem in ASK_BACK)


@pytest.mark.parametrize(
    ("cells", "leaning"),
    [
        (["softmax(3)"], {"0": {"softmax"}}),
        (["def use(x): return softmax(x)"], {"0": {"softmax"}}),
        (["from course_lib.attention import softmax\nsoftmax(3)", "softmax(3)"], {}),
        (["text = 'softmax(3)'", "x.softmax(-1)"], {}),
    ],
)
def test_a_leaning_cell_is_found(cells, leaning):
    exercise = nbformat.v4.new_code_cell(
        "def softmax(x):\n    return x", id="exercise", metadata={"tags": ["exercise"]}
    )
    before = [nbformat.v4.new_code_cell("import torch\nuse = lambda x: softmax(x)", id="before")]
    after = [nbformat.v4.new_code_cell(cell, id=str(i)) for i, cell in enumerate(cells)]
    assert leaning_cells(nbformat.v4.new_notebook(cells=[exercise, *after])) == leaning
    assert leaning_cells(nbformat.v4.new_notebook(cells=[*before, exercise])) == {"exercise": {"softmax"}}


def nightly_if(condition):
    marks = {True: pytest.mark.nightly, False: ()}
    return pytest.mark.parametrize("path", [pytest.param(p, marks=marks[condition(p)], id=p.stem) for p in CHAPTERS])


@nightly_if(lambda path: path.stem in AT_NIGHT)
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_solved_reproduces(path, failing_cells):
    assert failing_cells(solved(path)) == []


@nightly_if(lambda path: path.stem not in UNTOUCHED_BY_DAY)
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_untouched_runs_to_the_end(path, failing_cells):
    notebook = learner(path)
    assert failing_cells(notebook) == [cell.id for cell in cells(notebook, "check")]


@every_chapter
def test_completed_is_solved(path):
    """With the answers filled in, the learner's notebook is the solved one, cell for cell: what runs there runs here.

    Only the checks wait there for the reader: what is stored under a stub can be taken for no result.
    """
    notebook, solution = learner(path), solved(path)
    answers = {cell.id: cell.source for cell in cells(solution, "exercise")}
    for cell in cells(notebook, "exercise"):
        cell.source = answers[cell.id]
    for mine, theirs in zip(notebook.cells, solution.cells, strict=True):
        assert (mine.id, mine.cell_type) == (theirs.id, theirs.cell_type)
        if mine.cell_type == "code":
            assert mine.source == theirs.source
            assert mine.outputs == theirs.outputs or "check" in mine.metadata.tags


@every_chapter
@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_exactly_the_wrong_exercises_fail(path, failing_cells):
    """The first exercise and every other one after it get a wrong answer, the rest another right one."""
    notebook, wrong = solved(path), []
    bank = next(bank for bank in ANSWERS if cells(notebook, "exercise")[0].metadata.exercise in bank.RIGHT)
    for index, cell in enumerate(cells(notebook, "exercise")):
        name = cell.metadata.exercise
        answer = bank.RIGHT[name][0]
        if index % 2 == 0:
            answer = next(iter(bank.WRONG[name]))
            wrong.append(f"check-{name}")
        source = inspect.getsource(answer)
        imports = "\n".join(line for line in inspect.getsource(bank).splitlines() if re.match("(import|from) ", line))
        cell.source = f"{imports}\n\n{source}\n\n{name} = {answer.__name__}"
    assert failing_cells(notebook) == wrong
