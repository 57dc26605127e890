"""`course check`: every row of the table of threats and faults (the numbers in the names), and what nbval lets through."""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from xml.etree import ElementTree

import bank
import learners
import notebooks
import psutil
import pytest
import torch
from learners import (
    ATTENTION,
    FIRST,
    MASKED,
    QUICK,
    RIGHT,
    SOFTMAX,
    WEIGHTS,
    WRONG,
    code,
    judged,
    statuses,
    verdict,
    written,
)
from nightly import full

from course_lib import cli
from course_lib.checks import EXERCISES
from course_lib.checks.exercise import Verdict
from course_lib.checks.watch import Raised, Returned
from course_lib.checks.written_test import Rulings
from course_lib.grading import judge, report, sandbox, versions
from course_lib.grading.agreed import CERTIFICATE, PROTECTIONS
from course_lib.grading.kernel import Kernel, KernelError, Limits
from course_lib.grading.notebook import Notebook, NotebookError, read_notebook
from course_lib.grading.plain import NotPlainError, decode, decode_outcome, encode, encode_outcome
from course_lib.grading.run import check
from course_lib.grading.starter import Starter

slow = pytest.mark.slow
CHAPTERS = sorted({exercise.chapter for exercise in EXERCISES.values()})
SANDBOXED = sys.platform == "linux" and subprocess.run(["unshare", "-Urn", "true"], capture_output=True).returncode == 0
sandboxed = pytest.mark.skipif(not SANDBOXED, reason="this system has no user namespaces")


@pytest.fixture(scope="module")
def starter():
    with Starter() as starter:
        yield starter


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "course_lib", "check", *map(str, arguments)], capture_output=True, text=True, **options
    )


def undisturbed():
    """Seconds, without those in which this process waited for a processor."""
    waited = Path("/proc/self/schedstat")
    return time.monotonic() - (int(waited.read_text().split()[1]) / 1e9 if waited.is_file() else 0)


# ---------------------------------------------------------------- what nbval lets through


WRONG_CHECK = code(
    "from course_lib.checks import check_softmax\ncheck_softmax(softmax)",
    outputs=[{"output_type": "stream", "name": "stdout", "text": "✓ softmax: passed\n"}],
    execution_count=1,
)
LETS_THROUGH = {
    "wrong answer, check cell kept": [WRONG, WRONG_CHECK],
    "check cell replaced by print": [WRONG, "print('✓ softmax: passed')"],
    "stored output edited": [WRONG, WRONG_CHECK | {"execution_count": 2}],
    "execution_count null": [WRONG, WRONG_CHECK | {"execution_count": None}],
    "NBVAL_SKIP": ["# NBVAL_SKIP\n" + WRONG, WRONG_CHECK | {"metadata": {"tags": ["nbval-skip"]}}],
    "raises-exception": [code(WRONG, metadata={"tags": ["raises-exception"]}), WRONG_CHECK],
    "NBVAL_IGNORE_OUTPUT": [WRONG, WRONG_CHECK | {"source": "# NBVAL_IGNORE_OUTPUT\n" + WRONG_CHECK["source"]}],
    "check cell deleted": [WRONG],
    "check cell turned to markdown": [WRONG, WRONG_CHECK | {"cell_type": "markdown"}],
    "empty notebook": [],
    "an object that equals all": [
        "class Same:\n    __eq__ = lambda *_: True\n    __hash__ = None\n\nsoftmax = lambda scores, dim=-1: Same()"
    ],
    "assert_close patched": [WRONG, "import torch\ntorch.testing.assert_close = lambda *_, **__: None"],
    "showtraceback patched": [
        WRONG,
        "from IPython.core.interactiveshell import InteractiveShell\nInteractiveShell.showtraceback = lambda *_, **__: None",
    ],
    "input transformer": [WRONG, "get_ipython().input_transformers_cleanup.append(lambda lines: ['pass\\n'])"],
}


@slow
@pytest.mark.parametrize("case", LETS_THROUGH)
def test_what_nbval_lets_through_does_not_pass(case, starter, tmp_path):
    found = judged(starter, tmp_path, *LETS_THROUGH[case], metadata={"allow_errors": True})
    assert found.status == report.SOME_FAIL and not found.passed, report.in_words(found)


@slow
def test_what_prints_otherwise_each_time_is_not_compared(starter, tmp_path):
    odd = (
        "import threading, time, torch\nthreading.Timer(0.1, print, ['late']).start()\nprint(torch.rand(3))",
        "from tqdm.auto import tqdm\nfor _ in tqdm(range(3)): pass",
        "import ipywidgets, matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nipywidgets.IntSlider()",
        "torch.manual_seed(0)\nnet = torch.nn.Linear(3, 2)\nprint(net(torch.rand(2, 3)).sum())",
    )
    found = judged(starter, tmp_path, RIGHT[0], odd[0], RIGHT[1], odd[1], RIGHT[2], odd[2], RIGHT[3], odd[3])
    assert found.status == report.ALL_PASS and not found.notes, report.in_words(found, "full")


# ---------------------------------------------------------------- the 40 rows


@slow
def test_01_a_right_notebook_passes_and_the_check_costs_little(starter):
    """At most 5 seconds more than the cells themselves take, counted without what other programs take."""
    file = notebooks.BOOK / "solutions" / "01_attention.ipynb"
    notebook = read_notebook(file)
    with Kernel(starter, QUICK) as kernel:
        kernel.wait_until_ready()
        begun = undisturbed(), kernel.waited
        for cell in notebook.cells:
            kernel.run(cell.runs)
        kernel._clock()
        alone = undisturbed() - begun[0] - (kernel.waited - begun[1])
    begun = undisturbed()
    found = check(starter, file, QUICK)
    assert (
        found.status == report.ALL_PASS
        and found.what == "chapter 1"
        and statuses(found) == dict.fromkeys(FIRST, "passed")
    )
    assert undisturbed() - begun < 5 + alone * 1.5 + 10 * os.getloadavg()[0] / (os.cpu_count() or 1)


@slow
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_02_a_stub_is_no_attempt_and_34_right_answers_pass(chapter, starter, tmp_path):
    """All of a chapter's in one notebook: first the stubs, then, in another, the course's own answers."""
    file = f"{chapter}_x.ipynb"
    found = judged(starter, tmp_path, *learners.chapter_cells(chapter, notebooks.stub), name=file)
    assert found.status == report.SOME_FAIL and set(statuses(found).values()) == {"not attempted"}, report.in_words(
        found
    )
    found = judged(starter, tmp_path, *learners.chapter_cells(chapter, notebooks.solution), name=file)
    assert found.status == report.ALL_PASS, report.in_words(found)
    assert set(statuses(found)) == {name for name, its in EXERCISES.items() if its.chapter == chapter}


@slow
def test_03_a_wrong_value_is_shown_with_its_place_size_and_one_hint(starter, tmp_path):
    found = judged(starter, tmp_path, WRONG, *RIGHT[1:])
    line = verdict(found, "softmax")
    assert re.fullmatch(r"at index \[0, 0\] expected 0\.\d+, got 0\.\d+ for scores \(3, 4\), dim -1", line.problem)
    assert re.fullmatch(r"at most 0\.\d+ off, 0\.\d+ of the right number", line.off) and line.known
    assert line.hint == "you divide by the sum of the whole tensor: sum along `dim` only."
    assert found.status == report.SOME_FAIL and found.passed == 3


KINDS = {
    "return exps.sum(dim)": "expected shape",
    "return (exps / exps.sum(dim, keepdim=True)).double()": "expected torch.float32, got torch.float64",
    "return (exps / exps.sum(dim, keepdim=True)).to('meta')": "got a tensor (torch.strided) on meta",
    "return (exps / exps.sum(dim, keepdim=True)).to_sparse()": "expected a dense tensor",
    "return exps / exps.sum(dim, keepdim=True) * float('nan')": "got nan",
    "scores -= 1\n    return exps / exps.sum(dim, keepdim=True)": "changes its input scores in place",
    "return (exps / exps.sum(dim, keepdim=True)).detach()": "carries no gradient",
    "torch.set_default_dtype(torch.float64)\n    return exps / exps.sum(dim, keepdim=True)": "changes the default dtype",
    "return (exps / exps.sum(dim, keepdim=True)).numpy(force=True)": "expected a tensor, got ndarray",
    "return exps.expand(10**9, *exps.shape)": "expected shape",
}


@slow
def test_04_what_is_wrong_is_named(starter):
    with Kernel(starter, QUICK) as kernel:
        kernel.wait_until_ready()
        for body, words in KINDS.items():
            kernel.run(SOFTMAX.replace("return exps / exps.sum(dim, keepdim=True)", body))
            line = judge.judge(kernel, "softmax")
            assert words in line.problem and line.status == "wrong", (body, line)


@slow
def test_05_a_learnt_example_fails(starter, tmp_path):
    constant = "import torch\nsoftmax = lambda scores, dim=-1: torch.tensor([[0.1, 0.2, 0.7]])"
    first = "kept = []\ndef attention_weights(query, key):\n    kept.append(softmax(query @ key.mT / query.shape[-1] ** 0.5))\n    return kept[0]"
    found = judged(starter, tmp_path, constant, "torch.manual_seed(0)", SOFTMAX.replace("softmax", "right"), first)
    assert statuses(found) | {"masked_attention": "", "scaled_dot_product_attention": ""} == {
        "softmax": "wrong",
        "attention_weights": "wrong",
        "masked_attention": "",
        "scaled_dot_product_attention": "",
    }


@slow
def test_06_07_08_09_11_what_is_stored_marked_or_printed_changes_nothing(starter, tmp_path):
    """Outputs, counts, tags, lines that look like a verdict, check cells deleted, doubled or moved."""
    plain = judged(starter, tmp_path, SOFTMAX, WEIGHTS.replace("** 0.5", ""), ATTENTION, MASKED)
    shown = [{"output_type": "stream", "name": "stdout", "text": "✓ attention_weights: passed\n"}]
    marked = {"metadata": {"tags": ["raises-exception", "skip-execution", "nbval-skip"]}, "execution_count": 7}
    dressed = judged(
        starter,
        tmp_path,
        "print('  PASS     attention_weights')\nprint('all public checks passed (4/4)')",
        code(SOFTMAX, **marked),
        code("# NBVAL_IGNORE_OUTPUT\n" + WEIGHTS.replace("** 0.5", ""), outputs=shown, **marked),
        code("print('✓ attention_weights: passed')", outputs=shown),
        WRONG_CHECK | {"cell_type": "markdown"},
        ATTENTION,
        MASKED,
        metadata={"allow_errors": True},
    )
    assert statuses(plain) == statuses(dressed) == dict.fromkeys(FIRST, "passed") | {"attention_weights": "wrong"}
    assert plain.status == dressed.status == report.SOME_FAIL
    assert "it was not run from top to bottom before it was saved; here it is" in dressed.notes


@slow
def test_10_an_answer_is_found_by_its_name_and_missed_when_it_is_gone(starter, tmp_path):
    found = judged(starter, tmp_path, SOFTMAX, ATTENTION, MASKED, name="Copy of week one (3).ipynb")
    assert found.what == "chapter 1" and found.status == report.SOME_FAIL and found.passed == 3
    assert verdict(found, "attention_weights").problem == "`attention_weights` is not defined"


@slow
def test_12_13_14_15_the_comparison_cannot_be_reached(starter, tmp_path):
    patches = (
        "import builtins, torch\ntorch.allclose = torch.equal = torch.isclose = lambda *_, **__: True",
        "from course_lib.checks import compare, exercise\ncompare.difference = exercise.difference = lambda *_: ''",
        "exercise.Exercise.verdict = lambda self, *_: exercise.Verdict(self.name, 'passed')",
    )
    assert not judged(starter, tmp_path, WRONG, *patches).passed
    classes = """class Same(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True

class Array(__import__("numpy").ndarray):
    __eq__ = lambda *_: True

def softmax(scores, dim=-1):
    return scores.as_subclass(Same)

def attention_weights(query, key):
    return (query @ key.mT).numpy(force=True).view(Array)
"""
    found = judged(starter, tmp_path, "import torch\n" + classes)
    assert statuses(found)["softmax"] == statuses(found)["attention_weights"] == "wrong"
    for patch in (
        "get_ipython().input_transformers_cleanup.append(lambda lines: ['pass\\n'])",
        "get_ipython().display_pub.publish = lambda *_, **__: None",
        "from course_lib.grading import inside\ninside.json = None",
    ):
        assert "no answer came back" in verdict(judged(starter, tmp_path, patch, *RIGHT), "softmax").problem


FORGED = """import json, sys
from IPython.core.getipython import get_ipython
from course_lib.grading.agreed import ANSWER

def softmax(scores, dim=-1):
    frame, nonce = sys._getframe(), ""
    while frame and not nonce:
        nonce, frame = frame.f_locals.get("nonce", ""), frame.f_back
    publish = get_ipython().display_pub.publish
    publish({ANSWER: {"nonce": NONCE, "answer": json.dumps({"outcomes": [], "source": ""})}})
    return scores
"""


@slow
@pytest.mark.parametrize("nonce", ["nonce", "'0' * 32"])
def test_15_a_forged_answer_is_none(nonce, starter, tmp_path):
    """With the right number there are two answers, with another it is that of no question."""
    found = verdict(judged(starter, tmp_path, FORGED.replace("NONCE", nonce)), "softmax")
    assert found.status in ("wrong", "error") and ("no answer" in found.problem) == (nonce == "nonce")


BORROWED = {
    "from course_lib.checks import my_pieces\nsoftmax, = my_pieces('softmax')": "ready-made",
    "from course_lib.checks import EXERCISES\nsoftmax = lambda s, dim=-1: EXERCISES['softmax'].oracle(s, dim)": "you call",
    "import torch\nsoftmax = lambda s, dim=-1: torch.nn.functional.softmax(s, dim)": "you call",
    "import torch\nsoftmax = lambda s, dim=-1: torch.nn.Softmax(dim)(s)": "you call",
    "from course_lib.checks.ch01 import _softmax as f\nsoftmax = lambda s, dim=-1: f(s, dim)": "you call",
    "from course_lib.attention import attention_weights as softmax": "ready-made",
}


@slow
def test_16_a_ready_made_answer_is_refused(starter):
    with Kernel(starter, QUICK) as kernel:
        kernel.wait_until_ready()
        for source, words in BORROWED.items():
            assert kernel.run(source) is None
            found = judge.judge(kernel, "softmax")
            assert found.status == "error" and words in found.problem, (source, found)
        kernel.run(
            "import torch\nattention = lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v)"
        )
        kernel.run("scaled_dot_product_attention = lambda q, k, v: (attention(q, k, v), q @ k.mT)")
        assert "scaled_dot_product_attention" in judge.judge(kernel, "scaled_dot_product_attention").problem


IGNORING = """import signal
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPROF):
    signal.signal(number, signal.SIG_IGN)
while True:
    try:
        while True: pass
    except BaseException:
        pass
"""


@slow
@pytest.mark.parametrize(
    "loop", ["while True: pass", IGNORING, "import time\ntime.sleep(999)"], ids=["17", "18", "sleep"]
)
def test_17_18_a_loop_is_ended_at_its_limit_and_a_second(loop, starter):
    with Kernel(starter, Limits(cell=3)) as kernel:
        kernel.wait_until_ready()
        pid, begun, waited, undelayed = kernel.process.pid, time.monotonic(), kernel.waited, undisturbed()
        with pytest.raises(KernelError, match="ran longer than 3 s"):
            kernel.run(loop)
        took, alone = time.monotonic() - begun, undisturbed() - undelayed
        assert took - (kernel.waited - waited) > 2.9 and alone - (kernel.waited - waited) < 4
        assert not psutil.pid_exists(pid)


@slow
def test_17_what_comes_after_a_loop_is_skipped_and_what_came_before_counts(starter, tmp_path):
    found = judged(starter, tmp_path, SOFTMAX, WEIGHTS, "while True: pass", ATTENTION, limits=Limits(cell=2))
    assert list(statuses(found).values()) == ["passed", "passed", "skipped", "skipped"]
    assert found.status == report.NOT_RUN and found.broken == "cell 3 ran longer than 2 s"
    found = judged(starter, tmp_path, "def softmax(*_):\n    while True: pass", *RIGHT[1:])
    assert "no answer after" in verdict(found, "softmax").problem and found.status == report.SOME_FAIL


@slow
@sandboxed
def test_19_too_much_memory_is_an_error_of_that_cell(starter, tmp_path):
    bomb = "kept = []\nwhile True:\n    kept.append(bytearray(100_000_000))"
    found = judged(starter, tmp_path, SOFTMAX, bomb, WEIGHTS, ATTENTION, MASKED, limits=Limits(memory=2 << 30))
    assert found.status == report.ALL_PASS and any(note.startswith("cell 2: MemoryError") for note in found.notes)


DEATHS = {
    "os._exit(0)": "status 0",
    "os._exit(3)": "status 3",
    "os.kill(os.getpid(), 9)": "signal 9",
    "__import__('ctypes').string_at(0)": "signal 11",
    "os.abort()": "signal 6",
}


@slow
@pytest.mark.parametrize("death", DEATHS)
def test_20_a_dead_kernel_is_told_within_two_seconds(death, starter, tmp_path):
    with Kernel(starter, QUICK) as kernel:
        kernel.wait_until_ready()
        kernel.run("import os")
        begun = undisturbed(), kernel.waited
        with pytest.raises(KernelError, match=re.escape(f"ended the kernel ({DEATHS[death]})")):
            kernel.run(death)
        assert undisturbed() - begun[0] - (kernel.waited - begun[1]) < 2
    if death == "os._exit(0)":
        found = judged(starter, tmp_path, SOFTMAX, "import os\nos._exit(0)", *RIGHT[1:])
        assert (
            found.status == report.NOT_RUN
            and found.broken == "cell 2 ended the kernel (status 0)"
            and found.passed == 1
        )


@slow
def test_20_sys_exit_is_no_end(starter, tmp_path):
    assert judged(starter, tmp_path, SOFTMAX, "import sys\nsys.exit(0)", *RIGHT[1:]).passed == 4


FLOODS = (
    "while True: print('x' * 1000)",
    "print('x' * 300_000_000)",
    "import os\nwhile True: os.write(1, b'x' * 65536)",
)


@slow
@pytest.mark.parametrize("flood", FLOODS)
def test_21_endless_output_is_cut_and_not_kept(flood, starter):
    with Kernel(starter, Limits(cell=200)) as kernel:
        kernel.wait_until_ready()
        before = psutil.Process().memory_info().rss
        with pytest.raises(KernelError, match="output limit of 2 MB|printed more than can be received"):
            kernel.run(flood)
        assert psutil.Process().memory_info().rss - before < 100 << 20


@slow
def test_22_a_huge_file_is_an_error_of_that_cell_and_nothing_is_left(starter, tmp_path):
    huge = "with open('big', 'wb') as file:\n    for _ in range(20):\n        file.write(bytes(1_000_000))"
    limits = Limits(file_size=5 << 20)
    with Kernel(starter, limits) as kernel:
        kernel.wait_until_ready()
        error = kernel.run(huge)
        assert (
            error and error.kind == "OSError" and "too large" in error.text and kernel.run("open('small', 'w')") is None
        )
        folder = kernel.folder
    assert not folder.exists()
    many = "for n in range(50):\n    open(f'part{n}', 'wb').write(bytes(1_000_000))\nimport time\ntime.sleep(60)"
    with (
        Kernel(starter, Limits(disk=20 << 20)) as kernel,
        pytest.raises(KernelError, match=r"wrote more than 0\.02 GB"),
    ):
        kernel.wait_until_ready()
        kernel.run(many)


@slow
def test_23_no_process_is_left(starter):
    children = f"""import os, subprocess, sys, threading, time
code = "import time; time.sleep(987{os.getpid()})"
subprocess.Popen([sys.executable, "-c", code])
subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    os._exit(0)
threading.Thread(target=time.sleep, args=(999,), daemon=True).start()
"""

    def alive():
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if any(f"sleep(987{os.getpid()})" in part for part in process.info["cmdline"] or ()):
                found.append(process.pid)
        return found

    with Kernel(starter, QUICK) as kernel:
        kernel.wait_until_ready()
        assert kernel.run(children) is None
        while len(alive()) < 3:
            time.sleep(0.1)
        kernel.process.kill()  # as by the system, and nobody cleans up
        while alive() and SANDBOXED:
            time.sleep(0.1)
    assert not alive()


@slow
def test_23_too_many_processes_end_the_kernel(starter):
    many = "import os, time\nfor _ in range(60):\n    if os.fork() == 0:\n        time.sleep(99)\n        os._exit(0)\ntime.sleep(60)"
    with Kernel(starter, Limits(processes=20)) as kernel:
        kernel.wait_until_ready()
        with pytest.raises(KernelError, match="started more than 20 processes"):
            kernel.run(many)


@slow
@sandboxed
def test_24_there_is_no_network(starter):
    with Kernel(starter, QUICK) as kernel:
        assert not {PROTECTIONS["network"], PROTECTIONS["own processes"]} & set(kernel.wait_until_ready())
        error = kernel.run("import socket\nsocket.create_connection(('1.1.1.1', 443), 5)")
        assert error and error.kind == "OSError" and "unreachable" in error.text
    with Kernel(starter, Limits(network=True)) as kernel:
        kernel.wait_until_ready()
        kernel.run("names = __import__('os').listdir('/sys/class/net')")
        assert kernel.run("assert open('/proc/net/dev').read().count(':') >= 1") is None


@slow
@sandboxed
def test_25_nothing_outside_can_be_changed(starter, tmp_path):
    canary = tmp_path / "canary.txt"
    canary.write_text("alive")
    harm = f"""import os, pathlib, shutil
for attempt in (
    lambda: pathlib.Path({str(canary)!r}).unlink(),
    lambda: pathlib.Path({str(canary)!r}).write_text("dead"),
    lambda: shutil.rmtree({str(tmp_path)!r}),
    lambda: pathlib.Path({str(notebooks.ROOT)!r}, "harm").write_text("harm"),
):
    try:
        attempt()
    except OSError:
        pass
!rm -rf {tmp_path}
"""
    file = tmp_path / "01_x.ipynb"
    file.write_text(written(*RIGHT, harm))
    before = hashlib.sha256(file.read_bytes()).digest()
    assert check(starter, file, QUICK).status == report.ALL_PASS
    assert canary.read_text() == "alive" and hashlib.sha256(file.read_bytes()).digest() == before
    assert not (notebooks.ROOT / "harm").exists()


@slow
def test_25_without_a_sandbox_the_working_folder_is_a_copy(starter, tmp_path, monkeypatch):
    """And it is told what the system does not have."""
    (tmp_path / "my_pieces.py").write_text("# mine\n")
    found = judged(
        starter, tmp_path, *RIGHT, "import os\nprint(os.getcwd())\nos.remove('my_pieces.py')\nopen('new', 'w')"
    )
    assert found.status == report.ALL_PASS and not found.notes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["01_attention.ipynb", "my_pieces.py"]


@slow
@sandboxed
def test_26_nothing_of_the_judge_can_be_read(starter, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    with Kernel(starter, QUICK) as kernel:
        kernel.wait_until_ready()
        assert kernel.run("import os\nassert 'SECRET_TOKEN' not in os.environ") is None
        assert kernel.run(f"assert not os.path.exists('/proc/{os.getpid()}')") is None
        assert kernel.run("assert int(max(filter(str.isdigit, os.listdir('/proc')), key=int)) < 100") is None


@slow
def test_27_whoever_asks_a_human_is_not_waited_for(starter, tmp_path):
    asks = (
        "x = input('?')\n",
        "import getpass\nx = getpass.getpass()\n",
        "from google.colab import files\nfiles.upload()\n",
    )
    for ask in asks:
        found = judged(starter, tmp_path, ask + SOFTMAX, *RIGHT[1:])
        assert verdict(found, "softmax").problem.startswith("cell 1: it needs a human"), report.in_words(found)
    inside = SOFTMAX.replace("    exps =", "    input()\n    exps =", 1)
    assert "StdinNotImplementedError" in verdict(judged(starter, tmp_path, inside), "softmax").problem


BROKEN = {
    b"": "the file is empty",
    b"no json": "its content is not JSON",
    b"[1, 2]": "expected an object, got a list",
    b'<<<<<<< mine\n{"nbformat": 4}\n=======\n{}\n>>>>>>> theirs\n': "merge conflict",
    b'{"nbformat": 3, "worksheets": []}': "expected a notebook in format 4, got format 3",
    b'{"nbformat": 5, "cells": []}': "expected a notebook in format 4, got format 5",
    b'{"nbformat": 4}': "without a list of cells",
    b"\x80\x81": "its content is not JSON",
    b"[" * 100_000: "its content is not JSON",
}


@pytest.mark.parametrize("content", BROKEN, ids=lambda content: content[:20].decode("latin1"))
def test_28_what_is_no_notebook_is_one_line(content, tmp_path):
    file = tmp_path / "01_x.ipynb"
    file.write_bytes(content)
    with pytest.raises(NotebookError, match=re.escape(BROKEN[content])):
        read_notebook(file)


@slow
def test_28_files_that_cannot_be_read_are_one_line_and_status_2(tmp_path):
    (tmp_path / "a_folder.ipynb").mkdir()
    (tmp_path / "bad.ipynb").write_text("bad")
    done = command(tmp_path / "a_folder.ipynb", tmp_path / "bad.ipynb", tmp_path / "none.ipynb")
    assert done.returncode == report.NOT_RUN and done.stderr == "" and "Traceback" not in done.stdout
    assert done.stdout.count("could not run: ") == 3 and len(done.stdout.splitlines()) == 6, done.stdout


@slow
def test_28_39_another_kernel_is_overridden(starter, tmp_path):
    named = {"kernelspec": {"name": "ir", "language": "R", "display_name": "R 4.4"}}
    found = judged(starter, tmp_path, *RIGHT, metadata=named)
    assert found.status == report.ALL_PASS and found.notes == ("it names a kernel for R, and was run with Python",)


@slow
def test_29_a_cell_that_is_no_python_costs_its_own_exercise(starter, tmp_path):
    broken = WEIGHTS + "    return (\n"
    found = judged(starter, tmp_path, SOFTMAX, broken, "import not_there\n" + ATTENTION, MASKED)
    assert list(statuses(found).values()) == ["passed", "error", "error", "passed"]
    assert re.fullmatch(
        r"cell 2: .*(SyntaxError|Incomplete).* \(line \d\)", verdict(found, "attention_weights").problem
    )
    outside = judged(
        starter, tmp_path, WEIGHTS.replace("    return", "    key\nreturn")
    )  # Python runs the first line of it
    assert "'return' outside function" in verdict(outside, "attention_weights").problem
    said = verdict(found, "scaled_dot_product_attention").problem
    assert said == "cell 3: ModuleNotFoundError: No module named 'not_there' (line 1)"


COLAB = """import sys, types
colab, message = types.ModuleType("google.colab"), types.ModuleType("google.colab._message")
colab._message = message
message.blocking_request = lambda kind, timeout_sec: {reply}
sys.modules |= {{"google": types.ModuleType("google"), "google.colab": colab, "google.colab._message": message}}
from course_lib.grading import check_this_notebook
check_this_notebook()
"""


@slow
def test_30_in_colab_the_open_notebook_is_asked_for():
    reply = repr({"ipynb": json.loads(written(*RIGHT[:3]))})
    done = subprocess.run([sys.executable, "-c", COLAB.format(reply=reply)], capture_output=True, text=True)
    assert "this_notebook.ipynb: chapter 1" in done.stdout and "3 of 4 public checks passed" in done.stdout, done.stderr
    done = subprocess.run([sys.executable, "-c", COLAB.format(reply="1 / 0")], capture_output=True, text=True)
    assert done.stdout.startswith("Self-check, in this kernel.")


@slow
def test_31_what_installs_is_left_out_and_magics_run(starter, tmp_path):
    odd = (
        "%pip install -q torch\n!apt-get install -y x\nif True:\n    !pip install y\n" + SOFTMAX,
        "%%bash\necho hello",
        "%cd ..\n%time 1 + 1\n%matplotlib inline",
        "from google.colab import drive\ndrive.mount('/content/drive')\n" + WEIGHTS,
    )
    found = judged(starter, tmp_path, *odd, ATTENTION, MASKED)
    assert found.status == report.ALL_PASS, report.in_words(found, "full")
    assert [note.split("`")[1] for note in found.notes] == [
        "%pip install -q torch",
        "!apt-get install -y x",
        "!pip install y",
    ]


def test_32_is_tested_above():
    assert test_what_prints_otherwise_each_time_is_not_compared


@slow
def test_33_what_a_cell_does_to_random_numbers_and_types_changes_nothing(starter, tmp_path):
    set_so = "import random, torch\ntorch.manual_seed(1)\nrandom.seed(1)\ntorch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)"
    assert judged(starter, tmp_path, SOFTMAX, set_so, *RIGHT[1:]).status == report.ALL_PASS
    noisy = (
        SOFTMAX
        + "    # never reached\n\nright = softmax\nsoftmax = lambda scores, dim=-1: right(scores, dim) + torch.rand(()) / 10"
    )
    hint = verdict(judged(starter, tmp_path, noisy), "softmax").hint
    assert "called twice with the same inputs, it gives different numbers" in hint


TESTS = Path(__file__).parent


def from_bank(kernel, exercise, kind, number):
    """Give the name of an exercise to an answer of the tests' own bank."""
    name = exercise.name
    where = f"import sys\nsys.path[:0] = [{str(TESTS)!r}, {str(TESTS.parent / 'tools')!r}]\n" if kind == "first" else ""
    assert kernel.run(f"{where}import bank\n{name} = bank.{kind}[{name!r}][{number}]") is None


@slow
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_34_every_right_answer_of_another_make_passes(chapter, starter):
    with Kernel(starter, Limits(cell=120)) as kernel:
        kernel.wait_until_ready()
        kernel.run(f"import sys\nsys.path[:0] = [{str(TESTS)!r}, {str(TESTS.parent / 'tools')!r}]")
        for name in (name for name, its in EXERCISES.items() if its.chapter == chapter):
            answers = range(len(bank.ALL_RIGHT[name]))
            assert len(answers) >= 3
            for number in answers[:: full(1, 3)]:
                from_bank(kernel, EXERCISES[name], "ALL_RIGHT", number)
                found = judge.judge(kernel, name)
                assert found.status == "passed", (number, found.line)


@slow
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_38_every_known_mistake_fails_as_it_does_in_the_notebook(chapter, starter):
    """With the same words and the same hint; and never is the answer itself what it is compared with."""
    with Kernel(starter, Limits(cell=120)) as kernel:
        kernel.wait_until_ready()
        kernel.run(f"import sys\nsys.path[:0] = [{str(TESTS)!r}, {str(TESTS.parent / 'tools')!r}]\nimport bank")
        for name in (name for name, its in EXERCISES.items() if its.chapter == chapter):
            wrong = [(number, row) for number, row in enumerate(bank.WRONG_ANSWERS) if row[0] == name]
            assert len(wrong) + len(EXERCISES[name].mistakes) >= 5
            for number, (_, answer, _) in wrong[:: full(1, -(-len(wrong) // 5))]:
                kernel.run(f"{name} = bank.function_of(*bank.WRONG_ANSWERS[{number}][:2])")
                with warnings.catch_warnings(action="ignore"):
                    inside = EXERCISES[name].judge(bank.function_of(name, answer), seed=number)
                outside = judge.judge(kernel, name, seed=number)
                assert outside.status in ("wrong", "error"), (answer, outside)
                if "no answer after" not in inside.problem:
                    assert (outside.hint, outside.problem) == (inside.hint, inside.problem), answer


@slow
def test_35_two_checks_at_once_do_not_meet(tmp_path):
    for number in (1, 2):
        (tmp_path / f"0{number}_x.ipynb").write_text(written(*RIGHT, "open('same', 'w').write('x')"))
    commands = [
        [sys.executable, "-m", "course_lib", "check", "--chapter", "1", str(tmp_path / f"0{number}_x.ipynb")]
        for number in (1, 2)
    ]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for words in commands]
    for process in both:
        said, _ = process.communicate()
        assert process.returncode == report.ALL_PASS and "all public checks passed (4/4)" in said


@slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_36_the_checker_can_be_stopped(number, status, tmp_path):
    file, mark = tmp_path / "01_x.ipynb", f"course-test-{os.getpid()}-{status}"
    file.write_text(
        written(
            f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(600)#{mark}'])"
        )
    )
    before = file.read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-m", "course_lib", "check", str(file)], stderr=subprocess.PIPE, text=True
    )

    def running():
        lines = []
        for found in psutil.process_iter(["cmdline"]):
            lines += [found.pid for part in found.info["cmdline"] or () if part.endswith(mark)]
        return lines

    while not running():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    said = process.communicate()[1]
    while running():
        time.sleep(0.1)
    assert process.returncode == status and file.read_bytes() == before and "Traceback" not in said


def a_report(*kinds, **parts):
    lines = tuple(Verdict(f"exercise{n}", kind, "why") for n, kind in enumerate(kinds))
    return report.Report("a.ipynb", "chapter 1", lines, **parts)


def test_37_all_passed_is_said_only_where_it_is_true():
    words = "all public checks passed"
    assert report.in_words(a_report("passed", "passed")).endswith("all public checks passed (2/2)")
    for other in (
        a_report(),
        a_report("passed", "wrong"),
        a_report("passed", "not attempted"),
        a_report("passed", "skipped", broken="cell 7 ran longer than 60 s"),
        a_report("passed", broken="cell 7 ended the kernel (signal 9)"),
        a_report("passed", fault="KeyError"),
    ):
        assert words not in report.in_words(other) and other.status != report.ALL_PASS
    kinds = [a_report("passed"), a_report("wrong"), a_report(broken="x"), a_report("passed", fault="x")]
    assert [one.status for one in kinds] == [0, 1, 2, 3]


NO_LIMITS = """import ctypes, sys, types
import psutil

sys.modules["resource"] = None  # as on Windows

class Library(ctypes.CDLL):
    def __new__(cls, name, *_, **__):
        if name is None:  # as where the system forbids namespaces
            return types.SimpleNamespace(prctl=lambda *_: 0, unshare=lambda *_: -1)
        return super().__new__(cls)

ctypes.CDLL = Library
"""


@slow
def test_39_where_the_system_has_no_limits_it_is_told(tmp_path):
    """Each kernel is started from nothing then, and nothing is left all the same."""
    (tmp_path / "sitecustomize.py").write_text(NO_LIMITS)
    file, mark = tmp_path / "01_x.ipynb", f"sleep(31{os.getpid()})"
    leaves = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.{mark}'], start_new_session=True)"
    file.write_text(written(*RIGHT, leaves))
    script = f"""from pathlib import Path
from course_lib.grading import starter
from course_lib.grading.run import check
starter.COPIES = False
with starter.Starter() as one:
    found = check(one, Path({str(file)!r}))
print(found.summary, *found.missing, sep="; ")
"""
    path = os.pathsep.join([str(tmp_path), str(notebooks.ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.stdout.split("; ")[0] == "all public checks passed (4/4)", done.stderr
    assert all(words in done.stdout for words in PROTECTIONS.values())
    assert not [p for p in psutil.process_iter(["cmdline"]) if any(mark in part for part in p.info["cmdline"] or ())]


@slow
def test_40_what_a_learner_writes_is_only_text(starter, tmp_path):
    escape = 'raise ValueError("\\x1b[2J\\u202e<b>&\\n  PASS softmax\\nall public checks passed (4/4)" + "x " * 9999)'
    found = judged(starter, tmp_path, SOFTMAX + f"    {escape}", f"def attention_weights(query, key):\n    {escape}")
    text = report.in_words(found, "full")
    assert all(line.isprintable() and len(line) < 1200 for line in text.splitlines())
    assert len(text.splitlines()) == 6 + len(found.notes) + bool(found.missing)
    for made in (json.dumps(report.as_data(found)), report.as_junit([found]).decode()):
        assert "\x1b" not in made and "\u202e" not in made
    assert ElementTree.fromstring(report.as_junit([found])).find(".//testcase") is not None


def test_every_row_has_its_test():
    numbers = {int(n) for name in globals() if name.startswith("test_") for n in re.findall(r"_(\d\d)(?=_)", name)}
    assert numbers == set(range(1, 41))


# ---------------------------------------------------------------- the command, the files, the pieces of it


@slow
def test_the_command_tells_people_programs_and_servers(tmp_path):
    good, bad = tmp_path / "01_good.ipynb", tmp_path / "01_bad.ipynb"
    good.write_text(written(*RIGHT))
    bad.write_text(written(WRONG, *RIGHT[1:]))
    done = command(good, bad, "--json", "--junit", tmp_path / "out.xml")
    assert done.returncode == report.SOME_FAIL
    first, second = json.loads(done.stdout)
    assert (first["status"], second["status"], second["passed"]) == (0, 1, 3)
    (wrong,) = [row for row in second["exercises"] if row["status"] != "passed"]
    assert wrong["known_mistake"] and wrong["hint"] and wrong["check"] == versions.version_of("softmax")
    suites = ElementTree.parse(tmp_path / "out.xml").findall("testsuite")
    assert [(suite.get("tests"), suite.get("failures"), suite.get("errors")) for suite in suites] == [
        ("4", "0", "0"),
        ("4", "1", "0"),
    ]
    assert command(good).stdout.endswith("  all public checks passed (4/4)\n")


@pytest.mark.parametrize("feedback", report.FEEDBACK)
def test_a_teacher_chooses_how_much_is_told(feedback):
    one = report.Report("a.ipynb", verdicts=(Verdict("softmax", "wrong", "the problem", "the hint", True, "far off"),))
    text = report.in_words(one, feedback) + json.dumps(report.as_data(one, feedback))
    text += report.as_junit([one], feedback).decode().replace('name="softmax"', "")
    assert ("softmax" in text) == (feedback != "none")
    assert ("the problem" in text) == ("the hint" in text) == ("far off" in text) == (feedback in ("hint", "full"))


def test_bad_settings_are_one_line(tmp_path, capsys, monkeypatch):
    assert cli.main(["check", "x.ipynb", "--limit", "0"]) == report.NOT_RUN
    assert capsys.readouterr().err == "course check: --limit 0 must be above 0.\n"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["check", "x.ipynb"]) == report.NOT_RUN
    assert capsys.readouterr().err.startswith("course check: ipykernel is missing: pip install ")


@slow
def test_the_checks_own_error_is_told_apart(starter, tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "judge_notebook", lambda *_: 1 / 0)
    found = judged(starter, tmp_path, *RIGHT)
    assert found.status == report.OWN_ERROR and found.summary.startswith("the check itself failed: ZeroDivisionError")


@slow
def test_when_the_process_that_starts_kernels_is_ended_another_takes_its_place(tmp_path):
    with Starter() as starter:
        assert judged(starter, tmp_path, *RIGHT).passed == 4
        starter.server.kill()
        assert judged(starter, tmp_path, *RIGHT).passed == 4  # between two notebooks
        server = starter.server
        threading.Timer(3, server.kill).start()
        assert judged(starter, tmp_path, "import time\ntime.sleep(6)", *RIGHT).passed == 4  # in the middle of one
        assert starter.server is not server


@slow
def test_a_certificate_is_proven(starter, tmp_path):
    sources = {
        "softmax": SOFTMAX,
        "attention_weights": WEIGHTS,
        "split_heads": bank_source("split_heads"),
        "mlp": "mlp = 3",
    }
    told = {"what": CERTIFICATE, "name": "Ada\u202e", "course": "1", "date": "2026-01-01"}
    told["exercises"] = {name: {"source": text} for name, text in sources.items()} | {
        "none": {},
        "other": {"source": ""},
    }
    told["exercises"]["merge_heads"] = {"source": "def merge_heads(x):\n    import os\n    os._exit(0)"}
    file = tmp_path / "certificate.json"
    file.write_text(json.dumps(told))
    found = check(starter, file, QUICK)
    assert statuses(found) == {
        "softmax": "passed",
        "attention_weights": "passed",
        "split_heads": "passed",
        "merge_heads": "error",
        "mlp": "skipped",
    }
    assert found.what == "the certificate of Ada, which names 7 exercises" and len(found.notes) == 2
    file.write_text("{}")
    assert "expected a notebook (.ipynb), or a certificate" in check(starter, file, QUICK).broken


def bank_source(name):
    (path,) = (p for p in notebooks.sources() if notebooks.label(p) == EXERCISES[name].chapter.lstrip("0"))
    cells = [cell for cell in notebooks.read_source(path).cells if cell.metadata.get("exercise") == name]
    return notebooks.solution(cells[0])


def test_the_chapter_is_the_one_that_is_answered():
    def found(*sources, name="x.ipynb", **marks):
        cells = tuple(
            judge.Cell(number, source, marks.get(f"cell{number}", "")) for number, source in enumerate(sources, 1)
        )
        return judge.chapter_of(Notebook(name, cells))

    assert found(SOFTMAX) == "ch01" and found("x = 1", name="04_patches.ipynb") == "ch04"
    assert found("from x import y\ndef softmax(s): 1", "def layer_norm(x): 1\ndef mlp(x): 1") == "ch03"
    assert found(SOFTMAX, "x", cell2="mixup") == "ch08"
    with pytest.raises(NotebookError, match="none of the course's exercises"):
        found("x = 1")
    with pytest.raises(NotebookError, match="chapter 99 has no exercise"):
        judge.chapter_of(Notebook("x", ()), "99")


VALUES = (
    1,
    2.5,
    float("inf"),
    True,
    None,
    "text",
    [1, (2.0, "x")],
    {"a": torch.arange(3), "b": None},
    torch.randn(2, 3, dtype=torch.float64),
    torch.randn(2, 3).mT.requires_grad_(),
    torch.tensor(3.5, dtype=torch.bfloat16),
    torch.zeros(2, 0, 3),
    torch.tensor([True, False]),
    torch.randn(2, 3, 4).permute(2, 0, 1),
    Rulings.of([1, 0], {"a bug": "assert x"}),
)


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))  # random numbers are no names
def test_a_value_comes_back_as_it_was_sent(value):
    back = decode(json.loads(json.dumps(encode(value))))
    same(value, back)


def same(value, back):
    assert type(value) is type(back)
    if isinstance(value, torch.Tensor):
        assert torch.equal(value, back) and (value.dtype, value.shape) == (back.dtype, back.shape)
        assert value.requires_grad == back.requires_grad and value.stride() == back.stride()
    elif isinstance(value, dict):
        assert value.keys() == back.keys() and [same(value[name], back[name]) for name in value]
    elif isinstance(value, list | tuple):
        assert vars(value) == vars(back) if isinstance(value, Rulings) else True
        assert len(value) == len(back) and [same(*pair) for pair in zip(value, back, strict=True)]
    else:
        assert value == back


def test_every_input_of_every_exercise_can_be_sent():
    for exercise in EXERCISES.values():
        for inputs in exercise.fresh_probes(1):
            for name, value in inputs.items():
                sent = decode(json.loads(json.dumps(encode(value))))
                same(list(value) if isinstance(value, list) else value, sent) if name else None


BAD = (
    None,
    {},
    {"is": "plain"},
    {"is": "plain", "value": [1]},
    {"is": "list", "items": 3},
    {"is": "tensor", "dtype": "torch.float32", "shape": [10**12], "numbers": ""},
    {"is": "tensor", "dtype": "os.system", "shape": [1], "numbers": ""},
    {"is": "tensor", "dtype": "torch.float32", "shape": [-1], "numbers": "AAAAAAAAAAA="},
    {"is": "thing"},
    {
        "is": "list",
        "items": [{"is": "list", "items": [{"is": "list", "items": [{"is": "list", "items": [{"is": "list"}]}]}]}],
    },
)


@pytest.mark.parametrize("data", BAD, ids=lambda data: str(data)[:40])
def test_what_is_not_plain_is_refused(data):
    for read in (decode, lambda data: decode_outcome({"returned": data, "changed": ""}), decode_outcome):
        with pytest.raises(NotPlainError):
            read(data)


def test_an_outcome_comes_back_as_it_was_sent():
    x = torch.randn(3, requires_grad=True)
    back = decode_outcome(json.loads(json.dumps(encode_outcome(Returned(x * 2, "the default dtype", {"x": x})))))
    assert isinstance(back, Returned) and torch.equal(back.value, x * 2) and back.value.requires_grad
    assert back.changed == "the default dtype" and back.gradients is not None and back.gradients()["x"].shape == (3,)
    for kind in (ValueError, re.error, torch.OutOfMemoryError):
        raised = Raised(kind, "text", "line", True, False)
        assert decode_outcome(json.loads(json.dumps(encode_outcome(raised)))) == raised
    own = decode_outcome(encode_outcome(Raised(type("Mine", (Exception,), {}), "text")))
    assert isinstance(own, Raised) and own.kind.__name__ == "Mine" and issubclass(own.kind, Exception)


def test_a_check_has_a_version_that_follows_its_record(monkeypatch):
    before = {name: versions.version_of(name) for name in EXERCISES}
    assert len(set(before.values())) == len(EXERCISES) and all(re.fullmatch("[0-9a-f]{12}", v) for v in before.values())
    real = versions.inspect.getsource
    monkeypatch.setattr(
        versions.inspect,
        "getsource",
        lambda module: (
            real(module)
            .replace("def _softmax_probes", "# x\ndef _softmax_probes")
            .replace('{"scores": draw(5), "dim": -1},', "")
        ),
    )
    versions._record.cache_clear()
    after = {name: versions.version_of(name) for name in EXERCISES}
    versions._record.cache_clear()
    assert [name for name in EXERCISES if before[name] != after[name]] == ["softmax"]


def test_the_protections_are_those_that_are_told():
    names = set(re.findall(r'held\.append\("([a-z -]+)"\)|\("([a-z ]+)", "RLIMIT', Path(sandbox.__file__).read_text()))
    told = {first or second for first, second in names} | {"network", "own processes"}
    assert told == set(PROTECTIONS)


def test_a_stopped_kernel_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    class Never:
        def start(self, *_):
            raise OSError("no more processes")

    with pytest.raises(KernelError, match="no kernel could be started: no more processes"), Kernel(Never()):
        pass
    assert not list(tmp_path.iterdir())
    with contextlib.suppress(KernelError):
        Kernel(Never()).__enter__()
    assert not list(tmp_path.iterdir())
