"""The notebook builder: deterministic, and never content with outputs that the sources no longer give."""

import copy
import json

import nbformat
import notebooks
import pytest
from nbclient.exceptions import CellExecutionError

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


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small course of one chapter, with a library and a record of its own."""
    files = {
        "_config.yml": "repository:\n  url: https://example.org/course\n  branch: trunk\n",
        "book/01_small.py": CHAPTER,
        "course_lib/__init__.py": "",
        "course_lib/outer.py": OUTER,
        "course_lib/inner.py": "factor = 2\n",
        "course_lib/unused.py": "",
        "data/results/run.json": '{"accuracy": 0.5}',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "BOOK", tmp_path / "book")
    monkeypatch.setattr(notebooks, "execute", execute_once)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


execute, executed = notebooks.execute, {}


def execute_once(path, notebook):
    """The same code on the same files gives the same, so only the first test waits for a kernel."""
    files = [file for folder in ("course_lib", "data") for file in sorted((notebooks.ROOT / folder).rglob("*.*"))]
    key = notebooks.code_digest(notebook), *(file.read_bytes() for file in files if file.suffix != ".pyc")
    if key not in executed:
        executed[key] = execute(path, notebook)
    return copy.deepcopy(executed[key])


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

    assert "course-lib @ git+https://example.org/course@trunk" in learner.cells[1].source
    assert [output.text for output in learner.cells[2].outputs] == ["6 0.5\n"]
    assert learner.cells[3].metadata.mystnb.image.alt == "A line that rises."
    assert "alt" not in learner.cells[3].source

    assert cells["exercise-triple"].source.endswith('"""Three times x."""\n    ...  # your code here')
    assert cells["exercise-triple"].outputs == []
    assert cells["check-triple"].outputs[0].text == "passed\n"
    assert cells["help-triple"].source.startswith("A hint.\n\n<details>\n<summary>Answer</summary>")
    assert "    return 3 * x\n```" in cells["help-triple"].source
    assert "return 3 * x" in next(cell for cell in solved.cells if cell.id == "exercise-triple").source
    assert all("SOLUTION" not in text for text in texts(path))


def test_two_executions_give_the_same_bytes(path, capsys, monkeypatch):
    monkeypatch.setattr(notebooks, "execute", execute)
    notebooks.build(path)
    first = texts(path)
    capsys.readouterr()
    notebooks.build(path, force=True)
    assert capsys.readouterr().out == "01_small.py: executing (asked for)\n"
    assert texts(path) == first


def test_nothing_changed_nothing_executed(path, monkeypatch, capsys):
    notebooks.build(path)
    capsys.readouterr()
    forbid_execution(monkeypatch)
    notebooks.build(path)
    assert capsys.readouterr().out == ""


def test_new_prose_needs_no_execution(path, monkeypatch):
    notebooks.build(path)
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
def test_a_change_underneath_is_noticed(project, path, monkeypatch, name, old, new, reason):
    notebooks.build(path)
    edit(project / name, old, new)
    assert notebooks.stale(path) == reason
    forbid_execution(monkeypatch)
    with pytest.raises(AssertionError, match="executed"):
        notebooks.build(path)


def test_a_missing_input_is_noticed(project, path):
    notebooks.build(path)
    (project / "course_lib/inner.py").unlink()
    assert notebooks.stale(path) == "course_lib/inner.py changed"


def test_an_unused_module_may_change(project, path):
    notebooks.build(path)
    (project / "course_lib/unused.py").write_text("x = 1\n")
    assert notebooks.stale(path) is None


@pytest.mark.parametrize("which", [0, 1])
def test_an_edit_by_hand_is_noticed_and_undone(path, which):
    notebooks.build(path)
    before = texts(path)
    edit(notebooks.products(path)[which], "# A chapter", "# My chapter")
    assert "is not what the source gives" in notebooks.stale(path)
    notebooks.build(path)
    assert texts(path) == before


def test_answers_are_kept(path, capsys):
    notebooks.build(path)
    mine = notebooks.products(path)[1]
    edit(mine, "...  # your code here", "return x + x + x")
    answered = mine.read_text()
    notebooks.build(path)
    assert "your answers are kept in book/01_small.yours.ipynb" in capsys.readouterr().out
    assert mine.with_suffix(".yours.ipynb").read_text() == answered and "your code here" in mine.read_text()


def test_a_broken_notebook_is_built_again(path):
    notebooks.build(path)
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
def test_a_failure_leaves_the_old_notebooks(path, old, new, error, words):
    notebooks.build(path)
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


def test_the_inputs_are_recorded(path):
    notebooks.build(path)
    solved = json.loads(texts(path)[0])
    assert list(solved["metadata"]["course"]["inputs"]) == [
        "course_lib/__init__.py",
        "course_lib/inner.py",
        "course_lib/outer.py",
        "data/results/run.json",
    ]
