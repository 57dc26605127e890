"""Everything that is done to the course, by name: `make NAME`, or where there is no make, python tools/task.py NAME.

Needs Python 3.11 or newer and nothing else: the environment that a task works in is made first. What is not the name
of a task is taken for a program of that environment, as in python tools/task.py course doctor.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = "Scripts" if os.name == "nt" else "bin"
PROGRAMS = ROOT / ".venv" / BIN
PORT = os.environ.get("PORT", "8000")
SITE = "jupyter-book build . -W -n --keep-going -q"
TESTS = "python -m pytest -n 2 --dist worksteal"
LOCK = "uv pip compile --universal --python-version 3.11 --no-header --no-annotate --quiet --upgrade"
WORKFLOWS = " ".join(sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(".github/workflows/*.yml")))

# {file in requirements/: (folder of the environment, Python that makes it, what is in it)}
ENVIRONMENTS = {
    "book": (".venv", sys.executable, "what building the site needs"),
    "dev": (".venv", sys.executable, "PyTorch, JupyterLab and the test tools (several minutes on a slow line)"),
    "colab": (".venv-colab", os.environ.get("PYTHON313", "python3.13"), "Google Colab's versions"),
    "lowest": (".venv-lowest", os.environ.get("PYTHON311", "python3.11"), "the lowest versions allowed"),
}


def twin(name):
    """Run the chapters in another environment, first untouched, then solved."""
    command = f"python tools/twin.py {ENVIRONMENTS[name][0]}/{BIN}/python"
    return [command, f"{command} --solved"]


# {name: (what it does, the environments it needs, its commands)}
TASKS = {
    "book": ("build the site into _build/html (installs no torch)", ["book"], [SITE]),
    "serve": (
        f"build it and show it at http://localhost:{PORT}",
        ["book"],
        [SITE, f"python -m http.server {PORT} --bind 127.0.0.1 --directory _build/html"],
    ),
    "check": ("run the quick tests: a minute", ["dev"], [f"{TESTS} -m 'not slow'"]),
    "test": ("run all tests", ["dev"], [TESTS]),
    "full": ("run all tests, with the full numbers", ["dev"], [f"{TESTS} --nightly"]),
    "nightly": (
        "do full, colab and lowest: hours",
        ["dev", "colab", "lowest"],
        [f"{TESTS} --nightly", *twin("colab"), *twin("lowest")],
    ),
    "colab": ("run the chapters with Google Colab's versions (Python 3.13, 5.5 GB)", ["dev", "colab"], twin("colab")),
    "lowest": ("run the chapters with the lowest versions (Python 3.11, 5.5 GB)", ["dev", "lowest"], twin("lowest")),
    "lab": ("open JupyterLab on the chapters", ["dev"], ["jupyter lab --notebook-dir book"]),
    "notebooks": (
        "bring the notebooks up to date with their sources",
        ["dev"],
        ["python tools/notebooks.py build"],
    ),
    "lint": (
        "check style, spelling, types and workflows",
        ["dev"],
        [
            "ruff check .",
            "ruff format --check .",
            "codespell",
            f"check-jsonschema --builtin-schema vendor.github-workflows {WORKFLOWS}",
            "basedpyright",
        ],
    ),
    "lock": (
        "choose new versions within the bounds of pyproject.toml",
        ["dev"],
        [
            f"{LOCK} pyproject.toml --extra onnx --group dev --output-file requirements/dev.txt",
            f"{LOCK} --group book --constraints requirements/dev.txt --output-file requirements/book.txt",
            f"{LOCK} pyproject.toml --group notebooks --group test --resolution lowest-direct"
            " --output-file requirements/lowest.txt",
        ],
    ),
    "clean": ("remove the environments and the built site", [], []),
}


def prepare(name):
    """Make an environment, or bring it up to date; pip is asked only when the list of packages has changed."""
    folder, python, content = ENVIRONMENTS[name]
    marker, lock = ROOT / folder / name, ROOT / "requirements" / f"{name}.txt"
    made_from = [lock, ROOT / "pyproject.toml"] if name == "dev" else [lock]
    if marker.is_file() and marker.stat().st_mtime >= max(file.stat().st_mtime for file in made_from):
        return
    if not (ROOT / folder / "pip").is_file():
        subprocess.run([python, "-m", "venv", ROOT / folder], check=True)
        (ROOT / folder / "pip").touch()
    print(f"Installing {content} ...", flush=True)
    pip = [ROOT / folder / BIN / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", lock], check=True)
    if name == "dev":
        subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", ROOT], check=True)
    marker.touch()


def execute(command, *more):
    """Run a program of .venv as if that were activated; returns its exit status."""
    name, *arguments = shlex.split(command)
    environment = os.environ | {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}
    program = shutil.which(name, path=PROGRAMS) or str(PROGRAMS / name)
    return subprocess.run([program, *arguments, *more], cwd=ROOT, env=environment).returncode


def clean():
    """Remove what was installed and built."""
    for folder in ("_build", *(folder for folder, _, _ in ENVIRONMENTS.values())):
        shutil.rmtree(ROOT / folder, ignore_errors=True)


def do(name, *more):
    """Do a task, what is added going to its last command; returns the status of the first that failed, or 0."""
    _, needs, commands = TASKS.get(name, ("", [], [name]))
    for need in needs:
        prepare(need)
    for command in commands:
        if status := execute(command, *(more if command is commands[-1] else ())):
            return status
    return 0


def main(arguments):
    if sys.version_info < (3, 11):  # noqa: UP036, an older one gets as far as this line
        return f"Python {sys.version.split()[0]} is too old, 3.11 or newer is needed: make PYTHON=python3.12 ..."
    name, *more = arguments or ["help"]
    if name == "help":
        print("\n".join(f"make {task:<10} {about}" for task, (about, _, _) in TASKS.items()))
        return 0
    if name == "clean":
        return clean()
    if name not in TASKS and not shutil.which(name, path=PROGRAMS):
        return f"no task {name!r}; there are {', '.join(TASKS)}"
    try:
        return do(name, *more)
    except subprocess.CalledProcessError as error:
        return f"could not install: {shlex.join(map(str, error.cmd))}"
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
