"""The notebook builder: deterministic, and never content with outputs that the sources no longer give."""

import itertools
import json
import re
import shutil

import nbformat
import notebooks
import pytest
from nbclient.exceptions import CellExecutionError

pytestmark = pytest.mark.slow

CHAPTER = '''\
# %% [markdown]
# # A chapter

# %% tags=["setup"]
import json
import matplotlib.pyplot as plt
from course_lib.outer import RUN, double

# %%
print(double(3), json.load(open(RUN))["accuracy"])

# %%
#| alt: A line that rises.
plt.plot([1, 2])
plt.show()

# %% tags=["exercise"]
def triple(x):
    """Three times x."""
    # BEGIN SOLUTION
    return 3 * x
    # END SOLUTION


# %% tags=["check"]
print("passed" if triple(2) == 6 else "not attempted")

# %% [markdown] tags=["help"]
# A hint.
'''


OUTER = """\
from pathlib import Path

from course_lib.inner import factor

RUN = Path(__file__).parent.parent / "data/results/run.json"

def double(x):
    return factor * x
"""


FILES = {
    "_config.yml": "repository:\n  url: https://example.org/course\n  branch: trunk\n",
    "book/01_small.py": CHAPTER,
    "course_lib/__init__.py": "",
    "course_lib/outer.py": OUTER,
    "course_lib/inner.py": "factor = 2\n",
    "course_lib/checks.py": "def progress(chapter):\n    print('all of', chapter)\n",
    "course_lib/unused.py": "",
    "data/results/run.json": '{"accuracy": 0.5}',
}


def found_project(folder, monkeypatch):
    """A small course of one chapter, with a library and a record of its own."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(notebooks, "ROOT", folder)
    monkeypatch.setattr(notebooks, "BOOK", folder / "book")
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.fixture
def project(tmp_path, monkeypatch):
    found_project(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture(scope="module")
def built_once(tmp_path_factory):
    """The project with its notebooks. It is executed here, and in other folders only copied."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as monkeypatch:
        found_project(folder, monkeypatch)
        notebooks.build(folder / "book/01_small.py")
    return folder


@pytest.fixture
def built(project, built_once):
    shutil.copytree(built_once, project, dirs_exist_ok=True)


@pytest.fixture
def path(project):
    return project / "book/01_small.py"


def texts(path):
    return [product.read_text() for product in notebooks.products(path)]


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def forbid_execution(monkeypatch):
    def executed(*_):
        raise AssertionError("executed")

    monkeypatch.setattr(notebooks, "execute", executed)


def test_what_is_built(path):
    assert notebooks.stale(path) == "not executed yet"
    notebooks.build(path)
    assert notebooks.stale(path) is None
    solved, learner = (nbformat.reads(text, as_version=4) for text in texts(path))
    for notebook in (solved, learner):
        nbformat.validate(notebook)
    assert [cell.id for cell in solved.cells] == [cell.id for cell in learner.cells]
    cells = {cell.id: cell for cell in learner.cells}

    assert learner.cells[0].source == "# 1. A chapter"
    assert "course-lib @ git+https://example.org/course@trunk" in learner.cells[1].source
    assert [output.text for output in learner.cells[2].outputs] == ["6 0.5\n"]
    assert learner.cells[3].metadata.mystnb.image.alt == "A line that rises."
    assert "alt" not in learner.cells[3].source

    assert cells["exercise-triple"].source.endswith('"""Three times x."""\n    ...  # your code here')
    assert cells["exercise-triple"].outputs == []
    assert cells["check-triple"].outputs[0].text.startswith("○ triple: not judged yet")
    assert cells["help-triple"].source.startswith("A hint.\n\n<details>\n<summary>Answer</summary>")
    assert "    return 3 * x\n```" in cells["help-triple"].source
    assert "return 3 * x" in next(cell for cell in solved.cells if cell.id == "exercise-triple").source
    assert all("SOLUTION" not in text for text in texts(path))
    for notebook in (solved, learner):  # how far the reader is, nobody else can say
        assert notebook.cells[-1].source.startswith("from course_lib.checks import progress\n\nprogress(1)")
        assert notebook.cells[-1].outputs == [] and "nbval-ignore-output" in notebook.cells[-1].metadata.tags


@pytest.mark.usefixtures("built")
def test_two_executions_give_the_same_bytes(path, capsys):
    first = texts(path)
    notebooks.build(path, force=True)
    assert capsys.readouterr().out == "01_small.py: executing (asked for)\n"
    assert texts(path) == first


@pytest.mark.usefixtures("built")
def test_nothing_changed_nothing_executed(path, monkeypatch, capsys):
    forbid_execution(monkeypatch)
    notebooks.build(path)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("built")
def test_new_prose_needs_no_execution(path, monkeypatch):
    edit(path, "# A hint.", "# A better hint.")
    assert "is not what the source gives" in notebooks.stale(path)
    forbid_execution(monkeypatch)
    notebooks.build(path)
    assert notebooks.stale(path) is None and all("A better hint." in text for text in texts(path))


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("book/01_small.py", "double(3)", "double(4)", "its code changed"),
        ("book/01_small.py", "3 * x", "x * 3", "its code changed"),
        ("_config.yml", "trunk", "main", "its code changed"),
        ("course_lib/outer.py", "factor * x", "x * factor", "course_lib/outer.py changed"),
        ("course_lib/inner.py", "2", "4", "course_lib/inner.py changed"),
        ("data/results/run.json", "0.5", "0.6", "data/results/run.json changed"),
    ],
)
@pytest.mark.usefixtures("built")
def test_a_change_underneath_is_noticed(project, path, monkeypatch, name, old, new, reason):
    edit(project / name, old, new)
    assert notebooks.stale(path) == reason
    forbid_execution(monkeypatch)
    with pytest.raises(AssertionError, match="executed"):
        notebooks.build(path)


@pytest.mark.usefixtures("built")
def test_a_missing_input_is_noticed(project, path):
    (project / "course_lib/inner.py").unlink()
    assert notebooks.stale(path) == "course_lib/inner.py changed"


@pytest.mark.usefixtures("built")
def test_an_unused_module_may_change(project, path):
    (project / "course_lib/unused.py").write_text("x = 1\n")
    assert notebooks.stale(path) is None


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.usefixtures("built")
def test_an_edit_by_hand_is_noticed_and_undone(path, which):
    before = texts(path)
    edit(notebooks.products(path)[which], "A chapter", "My chapter")
    assert "is not what the source gives" in notebooks.stale(path)
    notebooks.build(path)
    assert texts(path) == before


def test_the_title_carries_the_chapters_number(path):
    assert notebooks.read_source(path).cells[0].source == "# 1. A chapter"


def test_a_chapter_without_a_number_has_a_letter(path, chapters):
    other = path.with_name("bug_gallery.py")
    assert [notebooks.label(source) for source in notebooks.sources()] == ["1", "9", "10", "B"]
    assert notebooks.read_source(other).cells[0].source.startswith("# A chapter")


@pytest.fixture
def chapters(project):
    """Chapters 1, 9 and 10 and one without a number, with an exercise in each of the last three."""
    for name, exercise in (
        ("09_tuning", "### Exercise 9.2 · `macro_f1`"),
        ("10_twin", "### Exercise 10.1 · Past 91 %"),
        ("bug_gallery", "### Exercise B.2 · `test_it`"),
    ):
        text = f"# %% [markdown]\n# # A chapter\n#\n# {exercise}\n"
        (project / f"book/{name}.py").write_text(text)


@pytest.mark.parametrize(
    ("text", "linked"),
    [
        ("as in chapter 9.", "as in [chapter 9](09_tuning.ipynb)."),
        ("Chapter 10's twin", "[Chapter 10](10_twin.ipynb)'s twin"),
        ("Chapters 9 and 10", "[Chapters 9](09_tuning.ipynb) and [10](10_twin.ipynb)"),
        (
            "chapters 1, 9 to 10, and 9",
            "chapters 1, [9](09_tuning.ipynb) to [10](10_twin.ipynb), and [9](09_tuning.ipynb)",
        ),
        ("in chapter 9, 10 images", "in [chapter 9](09_tuning.ipynb), 10 images"),
        ("in chapter\n9", "in [chapter\n9](09_tuning.ipynb)"),
        ("from **chapter 9** on", "from **[chapter 9](09_tuning.ipynb)** on"),
        ("exercise 9.2", "[exercise 9.2](09_tuning.ipynb#exercise-92--macro_f1)"),
        ("Exercise 10.1", "[Exercise 10.1](10_twin.ipynb#exercise-101--past-91-)"),
        ("Exercise B.2, not b.2", "[Exercise B.2](bug_gallery.ipynb#exercise-b2--test_it), not b.2"),
        (
            "exercises 9.2 and B.2",
            "[exercises 9.2](09_tuning.ipynb#exercise-92--macro_f1) and [B.2](bug_gallery.ipynb#exercise-b2--test_it)",
        ),
        ("exercise by exercise, chapter B", "exercise by exercise, chapter B"),
        ("this is chapter 1, then chapters 1 to 9", "this is chapter 1, then chapters 1 to [9](09_tuning.ipynb)"),
        ("the chapters, an exercise, section 9.2", "the chapters, an exercise, section 9.2"),
        ("## After chapter 9", "## After chapter 9"),
        ("`chapter 9` and $chapter 9$", "`chapter 9` and $chapter 9$"),
        ("$$\nchapter 9\n$$", "$$\nchapter 9\n$$"),
        ("```\nchapter 9\n```", "```\nchapter 9\n```"),
        ("[see chapter 9](elsewhere.md)", "[see chapter 9](elsewhere.md)"),
        ("<summary>chapter 9</summary>", "<summary>chapter 9</summary>"),
    ],
)
def test_a_mention_becomes_a_link(chapters, text, linked):
    assert notebooks.link_mentions(text, notebooks.targets(), own=1) == linked
    assert notebooks.link_mentions(linked, notebooks.targets(), own=1) == linked


@pytest.mark.parametrize("mention", ["chapter 2", "Chapters 9 and 11", "exercise 9.3", "exercise B.3"])
def test_a_mention_of_what_is_not_there_is_refused(chapters, mention):
    with pytest.raises(ValueError, match=f"there is no (chapter|exercise) {mention.split()[-1]}: '{mention} is it"):
        notebooks.link_mentions(f"{mention} is it", notebooks.targets())


def test_mentions_in_prose_are_links_and_those_in_code_are_not(path, chapters):
    edit(path, "# A hint.", "# A hint of chapter 9.")
    edit(path, "return 3 * x", "return 3 * x  # see chapter 9")
    notebook = notebooks.read_source(path)
    cells = {cell.id: cell.source for cell in notebook.cells}
    assert cells["help-triple"] == "A hint of [chapter 9](09_tuning.ipynb)."
    assert "# see chapter 9\n" in cells["exercise-triple"]


ANSWER = ("...  # your code here", "return x + x + x")


def kept(path):
    return {file.name: file.read_text() for file in path.parent.glob("*.yours*")}


@pytest.mark.usefixtures("built")
def test_answers_are_kept(path, capsys):
    mine = notebooks.products(path)[1]
    edit(mine, *ANSWER)
    answered = mine.read_text()
    notebooks.build(path)
    assert "your answers are kept in book/01_small.yours.ipynb" in capsys.readouterr().out
    assert kept(path) == {"01_small.yours.ipynb": answered} and "your code here" in mine.read_text()


@pytest.mark.usefixtures("built")
def test_a_later_set_of_answers_leaves_the_earlier_ones(path, capsys):
    mine, sets = notebooks.products(path)[1], []
    for answer in ("return x + x + x", "return 2 * x + x", "return x * 3"):
        edit(mine, ANSWER[0], answer)
        sets.append(mine.read_text())
        notebooks.build(path)
    names = ("01_small.yours.ipynb", "01_small.yours-2.ipynb", "01_small.yours-3.ipynb")
    assert kept(path) == dict(zip(names, sets, strict=True))
    assert "your answers are kept in book/01_small.yours-3.ipynb" in capsys.readouterr().out


def add_cell(notebook, source):
    notebook.cells.append(nbformat.v4.new_code_cell(source))


def write_above_the_stub(notebook, _):
    (cell,) = [cell for cell in notebook.cells if cell.id == "exercise-triple"]
    cell.source = cell.source.replace("    ...", "    y = x\n    ...")


def take_notes(notebook, _):
    notebook.cells[0].source += "\n\nMy notes."


@pytest.mark.parametrize("change", [add_cell, write_above_the_stub, take_notes], ids=lambda change: change.__name__)
@pytest.mark.usefixtures("built")
def test_whatever_a_reader_wrote_is_kept(path, change):
    mine = notebooks.products(path)[1]
    notebook = nbformat.read(mine, as_version=4)
    change(notebook, "print(triple(2))")
    nbformat.write(notebook, mine)
    written = mine.read_text()
    edit(path, "# A hint.", "# A better hint.")
    notebooks.build(path)
    assert kept(path) == {"01_small.yours.ipynb": written}


@pytest.mark.usefixtures("built")
def test_what_cannot_be_read_is_kept(path):
    mine = notebooks.products(path)[1]
    mine.write_text("<<<<<<< HEAD\n" + mine.read_text())
    broken = mine.read_text()
    notebooks.build(path)
    assert kept(path) == {"01_small.yours.ipynb": broken}


@pytest.mark.usefixtures("built")
def test_running_a_notebook_is_no_work_to_keep(path):
    mine = notebooks.products(path)[1]
    notebook = nbformat.read(mine, as_version=4)
    add_cell(notebook, "")  # JupyterLab adds it after the last one
    notebook.metadata["language_info"]["version"] = "3.13.0"
    notebook.cells[2].outputs, notebook.cells[2].execution_count = [], 7
    nbformat.write(notebook, mine)
    notebooks.build(path)
    assert kept(path) == {}


@pytest.mark.usefixtures("built")
def test_a_broken_notebook_is_built_again(path):
    before = texts(path)
    for text in ("<<<<<<< HEAD", "", "{}"):
        notebooks.products(path)[0].write_text(text)
        assert notebooks.stale(path) == "not executed yet"
    notebooks.build(path)
    assert texts(path) == before


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        ("print(double(3)", "print(double(1 / 0)", CellExecutionError, "ZeroDivisionError"),
        ("import json\n", "import json, sys\nsys.stderr.write('hm')\n", ValueError, "writes to stderr"),
        ("    # BEGIN SOLUTION\n", "", ValueError, "no BEGIN/END SOLUTION"),
    ],
)
@pytest.mark.usefixtures("built")
def test_a_failure_leaves_the_old_notebooks(path, old, new, error, words):
    before = texts(path)
    edit(path, old, new)
    with pytest.raises(error, match=words):
        notebooks.build(path)
    assert texts(path) == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["01_small.ipynb", "01_small.py", "solutions"]


def test_the_command_line(project, path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["notebooks.py", "check"])
    assert notebooks.main() == 1
    assert capsys.readouterr().out == "01_small.py: out of date, not executed yet: run `make notebooks`\n"
    monkeypatch.setattr("sys.argv", ["notebooks.py", "build", "01_small"])
    assert notebooks.main() == 0
    monkeypatch.setattr("sys.argv", ["notebooks.py", "check"])
    assert notebooks.main() == 0
    monkeypatch.setattr("sys.argv", ["notebooks.py", "build", "07_missing"])
    with pytest.raises(SystemExit):
        notebooks.main()
    assert "no chapter 07_missing; there are 01_small" in capsys.readouterr().err


@pytest.mark.usefixtures("built")
def test_the_inputs_are_recorded(path):
    solved = json.loads(texts(path)[0])
    assert list(solved["metadata"]["course"]["inputs"]) == [
        "course_lib/__init__.py",
        "course_lib/checks.py",
        "course_lib/inner.py",
        "course_lib/outer.py",
        "data/results/run.json",
    ]


def test_what_answers_a_prediction_is_folded_everywhere():
    asked, told = "# Ask\n\n> **Predict.** How many?", "Two.\n\nAnd why."
    cells = [
        nbformat.v4.new_markdown_cell(asked),
        nbformat.v4.new_code_cell("print(2)", metadata={"tags": ["hide-output"]}),
        nbformat.v4.new_code_cell("draw()", metadata={"tags": ["hide-input"]}),
        nbformat.v4.new_markdown_cell(f"{told}\n\n## Next\n\nMore."),
        nbformat.v4.new_code_cell("print(3)"),
        nbformat.v4.new_markdown_cell("As it was."),
        nbformat.v4.new_markdown_cell("> **Predict.** With a pencil?"),
        nbformat.v4.new_markdown_cell("Open."),
    ]
    notebooks.fold_answers(cells)
    for cell in cells:
        notebooks.fold(cell)
    fold = (
        f'<details class="course-answer">\n<summary>What came out</summary>\n\n{told}\n\n</details>\n\n## Next\n\nMore.'
    )
    assert [cell.source for cell in cells] == [
        asked, "print(2)", "draw()", fold, "print(3)", "As it was.", "> **Predict.** With a pencil?", "Open.",
    ]  # fmt: skip
    shown, drawn, plain = (cells[i].metadata for i in (1, 2, 4))
    assert shown["jupyter"] == {"outputs_hidden": True} and shown["collapsed"]
    assert drawn["tags"] == ["hide-input", "hide-output"] and drawn["cellView"] == "form"
    assert drawn["jupyter"] == {"outputs_hidden": True, "source_hidden": True}
    assert not plain


def test_no_chapter_shows_what_answers_a_prediction():
    asked = 0
    for path in notebooks.sources():
        cells = notebooks.read_source(path).cells
        for index, cell in enumerate(cells):
            if notebooks.PREDICTION not in cell.source:
                continue
            shown = list(itertools.takewhile(lambda c: c.cell_type == "code", cells[index + 1 :]))
            tags = [set(code.metadata.get("tags", [])) for code in shown]
            if not shown or {"exercise", "check"} & set().union(*tags):
                continue  # a pencil, or the exercise that follows
            asked += 1
            prose = cells[index + 1 + len(shown)].source
            assert prose.startswith(("<details", "#", notebooks.PREDICTION)), (path.name, prose[:60])
            for code in shown:
                assert {"hide-output", "exercise", "check"} & set(code.metadata.get("tags", [])), (
                    path.name,
                    code.source,
                )
                in_view = set() if "hide-input" in code.metadata["tags"] else re.findall(r"(?m)^assert.*", code.source)
                assert not in_view, (path.name, in_view)
    assert asked > 120
