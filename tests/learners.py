"""Notebooks as learners hand them in, for the tests of `course check` and `course grade`: right, wrong, odd, hostile."""

import itertools
import json

import bank
import notebooks

from course_lib.checks import EXERCISES
from course_lib.grading.kernel import Limits
from course_lib.grading.run import check

QUICK = Limits(cell=20, total=120)

SOFTMAX = """import torch

def softmax(scores, dim=-1):
    exps = torch.exp(scores - scores.amax(dim, keepdim=True))
    return exps / exps.sum(dim, keepdim=True)
"""
WEIGHTS = """def attention_weights(query, key):
    return softmax(query @ key.mT / query.shape[-1] ** 0.5)
"""
ATTENTION = """def scaled_dot_product_attention(query, key, value):
    weights = attention_weights(query, key)
    return weights @ value, weights
"""
MASKED = """def masked_attention(query, key, value, mask):
    scores = (query @ key.mT / query.shape[-1] ** 0.5).masked_fill(~mask, -1e30)
    weights = softmax(scores) * mask
    return weights @ value, weights
"""
RIGHT = (SOFTMAX, WEIGHTS, ATTENTION, MASKED)
WRONG = SOFTMAX.replace("exps.sum(dim, keepdim=True)", "exps.sum()")
FIRST = ("softmax", "attention_weights", "scaled_dot_product_attention", "masked_attention")


def code(source, **parts):
    return {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": source} | parts


def written(*cells, **parts):
    """The text of a notebook with these cells: texts of code, or whole cells."""
    cells = [cell if isinstance(cell, dict) else code(cell) for cell in cells]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells} | parts)


def judged(starter, folder, *cells, name="01_attention.ipynb", limits=QUICK, chapter=None, **parts):
    """The report on a notebook with these cells."""
    file = folder / name
    file.write_text(written(*cells, **parts))
    return check(starter, file, limits, chapter)


def statuses(report):
    """{exercise: status}"""
    return {verdict.exercise: verdict.status for verdict in report.verdicts}


def verdict(report, exercise):
    (found,) = [verdict for verdict in report.verdicts if verdict.exercise == exercise]
    return found


def chapter_cells(chapter, text):
    """The setup and exercise cells of a chapter, with `text(cell)` as the code of each exercise."""
    (path,) = (path for path in notebooks.sources() if notebooks.label(path) == chapter.lstrip("0"))
    cells = []
    for cell in notebooks.read_source(path).cells:
        tags = cell.metadata.get("tags", [])
        if "exercise" in tags:
            cells.append(code(text(cell), metadata=dict(cell.metadata)))
        elif "setup" in tags:
            cells.append(code(cell.source))
    return cells


# ---------------------------------------------------------------- a class

HOSTILE = {
    "loop": "while True: pass",
    "sleep": "import time\ntime.sleep(9999)",
    "deaf loop": "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
    "exit": "import os\nos._exit(0)",
    "kill": "import os\nos.kill(os.getpid(), 9)",
    "crash": "import ctypes\nctypes.string_at(0)",
    "flood": "while True: print('x' * 1000)",
    "one large print": "print('x' * 100_000_000)",
    "no transformers": "get_ipython().input_transformers_cleanup.append(lambda lines: ['pass\\n'])",
    "no display": "get_ipython().display_pub.publish = lambda *_, **__: None",
    "forks": "import os, time\nfor _ in range(200):\n    if os.fork() == 0:\n        time.sleep(99)\n        os._exit(0)\ntime.sleep(99)",
}
HARMLESS = {  # odd, and right: each is honest, or fails to do harm
    "writes outside": "import pathlib\npathlib.Path('/', 'harm').write_text('harm')",
    "memory": "kept = []\nwhile True: kept.append(bytearray(100_000_000))",
    "large file": "file = open('big', 'wb')\nwhile True: file.write(bytes(10_000_000))",
    "network": "import socket\nsocket.create_connection(('1.1.1.1', 443), 5)",
    "children": "import subprocess\nsubprocess.Popen(['sleep', '9999'], start_new_session=True)",
    "asks": "input('who are you?')",
    "installs": "%pip install torch",
    "prints verdicts": "print('all public checks passed (4/4)')",
    "seeds": "import torch\ntorch.manual_seed(0)\ntorch.set_grad_enabled(False)\ntorch.set_default_dtype(torch.float64)",
    "threads": "import threading, time\nthreading.Thread(target=time.sleep, args=(999,), daemon=True).start()",
    "exits": "import sys\nsys.exit(1)",
}
BROKEN = {
    "empty": b"",
    "no json": b"# my answers\n",
    "conflict": b"<<<<<<< mine\n{}\n=======\n{}\n>>>>>>> theirs\n",
    "old": b'{"nbformat": 3, "worksheets": []}',
    "no cells": b'{"nbformat": 4}',
    "half": written(*RIGHT).encode()[:-200],
}


def slips(chapter):
    """(exercise, the chapter's solved cells with one known mistake in them) of a chapter."""
    solved = chapter_cells(chapter, notebooks.solution)
    for name, answer, _ in bank.WRONG_ANSWERS:
        if EXERCISES[name].chapter != chapter or callable(answer):
            continue
        for number, cell in enumerate(solved):
            if cell["metadata"].get("exercise") == name and all(
                old and cell["source"].count(old) == 1 and "\n" not in old + new for old, new in answer
            ):
                text = cell["source"]
                for old, new in answer:
                    text = text.replace(old, new)
                yield name, [*solved[:number], cell | {"source": text}, *solved[number + 1 :]]


def hand_in(folder, count):
    """Write `count` submissions, and return {file: (what it is, what must come of it)}."""
    chapters = sorted({exercise.chapter for exercise in EXERCISES.values()})
    kinds = itertools.cycle(
        ["right", "wrong", "wrong", "harmless", "hostile", "wrong", "right", "broken", "stub", "wrong"]
    )
    wrong = itertools.chain.from_iterable(
        itertools.zip_longest(*(map(lambda slip, c=c: (c, *slip), slips(c)) for c in chapters))
    )
    wrong = filter(None, wrong)
    turns = {name: itertools.cycle(bank.items()) for name, bank in TURNS.items()}
    chapter, expected = itertools.cycle(chapters), {}
    for number, kind in zip(range(count), kinds, strict=False):
        outcome, its = "all passed", next(chapter)
        if kind == "broken":
            (what, content), outcome = next(turns[kind]), "could not be run"
        elif kind == "wrong" and (slip := next(wrong, None)):
            its, what, cells = slip
            content, outcome = written(*cells).encode(), what
        elif kind in ("hostile", "harmless"):
            what, cell = next(turns[kind])
            its, content = "01", written(RIGHT[0], cell, *RIGHT[1:]).encode()
            outcome = "all passed" if kind == "harmless" else "not all passed"
        else:
            make = notebooks.stub if kind == "stub" else notebooks.solution
            what, content = kind, written(*chapter_cells(its, make)).encode()
            outcome = "none passed" if kind == "stub" else outcome
        file = (
            folder / f"learner{number:03}" / f"{its}_work.ipynb" if number % 3 else folder / f"{its}_l{number:03}.ipynb"
        )
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        expected[file.relative_to(folder).as_posix()] = f"{kind}: {what}", outcome
    return expected


TURNS = {"hostile": HOSTILE, "harmless": HARMLESS, "broken": BROKEN}
