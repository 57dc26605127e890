"""Run the chapters with another Python as a learner does: from the installed package, alone in an empty folder.

    python tools/twin.py PYTHON [NAME ...]             the learner's notebooks, untouched, "run all"
    python tools/twin.py PYTHON --solved [NAME ...]    the notebooks with the answers

PYTHON is the interpreter of an environment that has what course_lib needs, but neither the repository nor the
network. course_lib is built as a wheel and laid beside it, so the environment stays as it is. A stand-in for
`google.colab` makes the chapters take the way that they take in Colab. Says which cells raise, and which print
something else than what is stored; exits 1 if any does.
"""

import argparse
import copy
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from notebooks import KERNEL, ROOT, products, sources

COLAB = """\
import importlib.machinery, importlib.util, sys, types

_colab = sys.modules["google.colab"] = importlib.util.module_from_spec(importlib.machinery.ModuleSpec("google.colab", None))
_colab.output = types.SimpleNamespace(enable_custom_widget_manager=lambda: None)
del _colab, importlib, sys, types
"""
LINES = 12  # of a difference that are shown


def install(python, folder):
    """Put course_lib as a wheel into `folder`. Returns the environment variables with which `python` finds it there.

    Raises:
        ValueError: the environment lacks what the wheel asks for.
    """
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    variables = os.environ | {"PYTHONPATH": str(folder / "site"), "COURSE_LIB_OFFLINE": "1"}
    for name in ("COURSE_LIB_CACHE", "COURSE_LIB_DATA"):  # what was downloaded on this machine is not there for others
        variables[name] = str(folder / "cache")
    check = subprocess.run([*pip, "check"], env=variables, capture_output=True, text=True)
    if check.returncode:
        raise ValueError(f"{python} does not have what course_lib needs: {check.stdout.strip()}; install it first")
    return variables


def run(notebook, python, variables):
    """A copy of `notebook`, all its cells executed by `python` in an empty folder, those after an error too."""
    ran = copy.deepcopy(notebook)
    ran.cells.insert(0, nbformat.v4.new_code_cell(COLAB))
    for cell in ran.cells:
        if cell.cell_type == "code":
            cell.outputs = []

    # With frozen modules the debugger, which nobody uses here, writes a warning to the terminal.
    command = [python, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]

    class Kernel(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=command)  # pyright: ignore[reportAssignmentType] (a property there)

    options = {"timeout": 600, "allow_errors": True, "coalesce_streams": True}
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(ran, resources=resources, kernel_manager_class=Kernel, config=KERNEL, **options)
        client.execute(env=variables)
    del ran.cells[0]
    return ran


def printed(cell):
    """What a code cell printed, on either stream, and the text of its results and pictures."""
    texts = (output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)
    return "\n".join(text.removesuffix("\n") for text in texts)


def raised(cell):
    """The error that a code cell ended in and the cell's line that led to it, or None."""
    for output in cell.outputs:
        if output.output_type == "error":
            traceback = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(output.traceback))
            lines = re.findall(r"^-+> (.*)", traceback, re.M)  # IPython's arrows; the first one points into the cell
            return "\n".join([f"{output.ename}: {output.evalue}", *lines[:1]])


def differences(stored, ran, untouched):
    """[what is not as it should be] of a notebook that ran. A check of an untouched exercise has to say that it is."""
    found = []
    for before, after in zip(stored.cells, ran.cells, strict=True):
        if before.cell_type != "code":
            continue
        tags = before.metadata.get("tags", [])
        first = next((line for line in after.source.splitlines() if line.strip()), "")
        if error := raised(after):
            found.append(f"{after.id} raises ({first})\n{error}")
        elif untouched and "check" in tags:
            if "not attempted" not in printed(after):
                found.append(f"{after.id} judges an exercise that nobody attempted ({first})\n{printed(after)}")
        elif printed(before) != printed(after) and "nbval-ignore-output" not in tags:
            old, new = printed(before).splitlines(), printed(after).splitlines()
            diff = difflib.unified_diff(old, new, n=0, lineterm="")
            lines = [line for line in diff if not re.match(r"---|\+\+\+|@@", line)]
            more = [f"... and {len(lines) - LINES} lines more"] if len(lines) > LINES else []
            found.append("\n".join([f"{after.id} prints something else ({first})", *lines[:LINES], *more]))
    return found


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", help="the interpreter of the other environment")
    parser.add_argument("names", nargs="*", help="chapters, such as 01_attention; all of them by default")
    parser.add_argument("--solved", action="store_true", help="run the notebooks with the answers")
    options = parser.parse_intermixed_args(arguments)  # names may follow --solved
    if (python := shutil.which(options.python)) is None:
        parser.error(f"no Python interpreter {options.python}")
    python = os.path.abspath(python)  # the kernels start in another folder
    chapters = {path.stem: products(path)[0 if options.solved else 1] for path in sources()}
    if unknown := set(options.names) - set(chapters):
        parser.error(f"no chapter {min(unknown)}; there are {', '.join(chapters)}")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        variables = install(python, Path(folder))
        for name in options.names or chapters:
            stored, start = nbformat.read(chapters[name], as_version=4), time.monotonic()
            found = differences(stored, run(stored, python, variables), not options.solved)
            print(f"{name}: {f'{len(found)} cells differ' if found else 'passed'} ({time.monotonic() - start:.0f} s)")
            for text in found:
                print("   ", text.replace("\n", "\n        "), flush=True)
            failed += bool(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
