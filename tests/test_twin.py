"""The run of the chapters in another environment: what it must notice, shown on a notebook of a few cells."""

import os
import subprocess
import sys

import nbformat
import pytest
import twin

pytestmark = pytest.mark.slow  # each starts a kernel or pip

COLAB = """\
from importlib.util import find_spec
from google.colab import output
output.enable_custom_widget_manager()
print(find_spec("google.colab").name)  # other libraries ask
"""
CELLS = {
    "prints": ("print('six', 3 + 3)", "six 6\n"),
    "empty-folder": ("import os; print(os.listdir())", "[]\n"),
    "varies": ("import time; print(time.time())", "1.0"),
    "colab": (COLAB, "google.colab\n"),
    "check-softmax": ("print('○ softmax: not attempted')", "✓ softmax: passed\n"),
}
TAGS = {"check-softmax": ["check"], "varies": ["nbval-ignore-output"]}


def notebook(**changed):
    """The cells above as they are stored, with the code of some changed."""
    made = nbformat.v4.new_notebook()
    for name, (code, text) in CELLS.items():
        cell = nbformat.v4.new_code_cell(changed.get(name, code), id=name)
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
        cell.metadata.tags = TAGS.get(name, [])
        made.cells.append(cell)
    return made


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Run `main` on one chapter; returns the exit status and the lines that were printed."""
    stored = tmp_path / "chapter.ipynb"
    monkeypatch.setattr(twin, "sources", lambda: [stored])
    monkeypatch.setattr(twin, "products", lambda path: (path, path))
    monkeypatch.setattr(twin, "install", lambda python, folder: dict(os.environ))

    def run(book, *options):
        nbformat.write(book, stored)
        status = twin.main([sys.executable, *options])
        return status, capsys.readouterr().out.splitlines()

    return run


def test_all_right(check, monkeypatch):
    monkeypatch.setattr(sys, "executable", os.path.relpath(sys.executable))  # as `make colab` names it
    status, (line,) = check(notebook())
    assert status == 0 and line.startswith("chapter: passed (")


def test_an_error_is_reported(check):
    status, lines = check(notebook(prints="six = 5\nassert six == 6, 'no six'"))
    assert status == 1 and lines[0].startswith("chapter: 1 cells differ")
    assert lines[1].strip() == "prints raises (six = 5)"
    assert [line.strip() for line in lines[2:]] == ["AssertionError: no six", "2 assert six == 6, 'no six'"]


@pytest.mark.parametrize(
    ("code", "more"),
    [("print('six', 7)", []), ("import sys; print('six 6'); print('a warning', file=sys.stderr)", ["+a warning"])],
)
def test_another_output_is_reported(check, code, more):
    status, lines = check(notebook(prints=code))
    assert status == 1 and lines[0].startswith("chapter: 1 cells differ")
    assert [line.strip() for line in lines[2:]] == (more or ["-six 6", "+six 7"])


def test_only_a_solved_notebook_has_passed_its_checks(check):
    right = notebook(**{"check-softmax": "print('✓ softmax: passed')"})
    assert check(right, "--solved", "chapter")[0] == 0
    assert check(notebook(), "--solved")[0] == 1
    status, lines = check(right)
    assert status == 1 and lines[1].startswith("    check-softmax judges an exercise that nobody attempted")


def test_an_unknown_chapter_or_python_is_refused(check, capsys, monkeypatch):
    with pytest.raises(SystemExit):
        check(notebook(), "00_nothing")
    assert "no chapter 00_nothing; there are chapter" in capsys.readouterr().err
    monkeypatch.setattr(sys, "executable", ".venv-nothing/bin/python")
    with pytest.raises(SystemExit):
        check(notebook())
    assert "no Python interpreter .venv-nothing/bin/python" in capsys.readouterr().err


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Make a package of one empty module which asks for `needs`, in the place of course_lib."""

    def make(needs):
        (tmp_path / "tiny_package").mkdir()
        (tmp_path / "tiny_package/__init__.py").touch()
        build = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        project = f'[project]\nname = "tiny-package"\nversion = "1"\ndependencies = ["{needs}"]\n'
        (tmp_path / "pyproject.toml").write_text(build + project)
        (tmp_path / "folder").mkdir()
        monkeypatch.setattr(twin, "ROOT", tmp_path)
        return tmp_path / "folder"

    return make


def test_the_other_python_finds_the_installed_package(package):
    folder = package(needs="torch>=2")
    variables = twin.install(sys.executable, folder)
    code = [sys.executable, "-c", "import tiny_package; print(tiny_package.__file__)"]
    found = subprocess.run(code, env=variables, cwd=folder, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(folder / "site/tiny_package/__init__.py")


def test_an_environment_that_lacks_something_is_refused(package):
    with pytest.raises(ValueError, match="does not have what course_lib needs: .*torch>=99.*; install it first"):
        twin.install(sys.executable, package(needs="torch>=99"))
