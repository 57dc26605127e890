"""Checking the notebook that is open, from inside it: in Colab there is no file, and its content has to be asked for."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from IPython.core.getipython import get_ipython

from course_lib.checks.catalogue import NAMES, find
from course_lib.files.atomic import write_atomically

WAIT = 30  # seconds for Colab to hand over the notebook


def check_this_notebook() -> None:
    """Judge the notebook in which this is called, as `course check` does with a file.

    Outside of Colab, and where Colab does not hand over the notebook, the functions in this kernel are judged as the
    check cells do it. That is said: it is a self-check.
    """
    content = _from_colab()
    if content is None:
        print("Self-check, in this kernel. (`course check NOTEBOOK` judges a file, in a kernel of its own.)")
        shell = get_ipython()
        names = {} if shell is None else shell.user_ns
        for name in (name for name in NAMES if callable(names.get(name))):
            print(find(name).judge(names[name]).line)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "this_notebook.ipynb")
        write_atomically(file, content)
        command = [sys.executable, "-m", "course_lib", "check", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    print(done.stdout + done.stderr, end="")


def _from_colab() -> bytes | None:
    """The open notebook as JSON; None where there is no Colab, or it does not answer."""
    if "google.colab" not in sys.modules:
        return None
    try:
        from google.colab import _message  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

        return json.dumps(_message.blocking_request("get_ipynb", timeout_sec=WAIT)["ipynb"]).encode()
    except Exception:  # it is no public part of Colab, and may change in any way
        return None
