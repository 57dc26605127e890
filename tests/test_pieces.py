"""The reader's pieces: kept by the checks, found again by later chapters, never lost and never a trap."""

import inspect
import os
import sys
import types

import pytest
import torch
from jupyter_client.manager import KernelManager
from notebooks import KERNEL

from course_lib.checks import EXERCISES, pieces

SETUP = """
import torch
import torch.nn.functional as F
from torch import nn
from einops import rearrange
from course_lib.checks import *
from course_lib.checks import check_softmax, check_attention_weights, check_split_heads, check_merge_heads
from course_lib.checks.pieces import my_pieces
"""
SOFTMAX = """
SHIFT = "amax"

def largest(x, dim):
    return getattr(x, SHIFT)(dim, keepdim=True)

def softmax(scores, dim=-1):
    e = torch.exp(scores - largest(scores, dim))
    return e / e.sum(dim, keepdim=True)

check_softmax(softmax)
"""
WEIGHTS = """
def attention_weights(query, key):
    return softmax(query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5, -1)

check_attention_weights(attention_weights)
"""


@pytest.fixture(scope="module")
def kernel():
    manager = KernelManager(config=KERNEL)
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=600)
    yield client
    client.stop_channels()
    manager.shutdown_kernel()


@pytest.fixture
def run(kernel):
    """Run code cells in a new notebook in `folder` and return what each printed; the kernel has forgotten the last one."""

    def run(folder, *cells):
        printed = []

        def hear(message):
            if message["msg_type"] == "stream":
                printed[-1] += message["content"]["text"]

        for cell in (f"%reset -sf\n%cd -q {folder}\n", SETUP, *cells):
            printed.append("")
            reply = kernel.execute_interactive(cell, output_hook=hear, timeout=600)
            assert reply["content"]["status"] == "ok", reply["content"]
        return printed[2:]

    return run


@pytest.mark.slow
def test_from_one_notebook_to_another(run, tmp_path):
    """A helper, a constant and another exercise that the answer uses travel with it."""
    printed = run(tmp_path, SOFTMAX, WEIGHTS, "def merge_heads(x):\n    ...\n\ncheck_merge_heads(merge_heads)")
    assert printed[:2] == ["✓ softmax: passed\n", "✓ attention_weights: passed\n"]
    assert printed[2].startswith("○ merge_heads")
    kept = pieces._blocks((tmp_path / "my_pieces.py").read_bytes())
    assert list(kept) == ["softmax", "attention_weights"]  # passing the second did not lose the first
    (printed,) = run(
        tmp_path,
        'weights, merge = my_pieces("attention_weights", "merge_heads")\n'
        "print(weights(torch.zeros(2, 3), torch.zeros(4, 3)))\n"
        "print(merge(torch.zeros(2, 3, 5, 4)).shape)",
    )
    assert printed.splitlines()[:2] == [
        "attention_weights                yours",
        "merge_heads                      the course's (exercise of chapter 2)",
    ]
    assert "0.2500" in printed and "[2, 5, 12]" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["my_pieces.py"]


UNUSUAL = """
import torch as tt
from torch import Tensor, exp
from typing import Optional

LAST, LOWEST, NOTHING, SIZES = -1, float("-inf"), None, (1, 2)
smallest = lambda a, b: min(a, b)

class Shift:
    def by(self, x, dim):
        return x - x.amax(dim, keepdim=True)

def softmax(scores: Tensor, dim: Optional[int] = LAST) -> tt.Tensor:
    assert LOWEST < smallest(0, 1) and NOTHING is None and SIZES == (1, 2)
    e = exp(Shift().by(scores, dim))
    return e / tt.sum(e, dim, keepdim=True)

check_softmax(softmax)
"""
DECORATED = """
from course_lib.checks import check_evaluate

@torch.no_grad()
def evaluate(model, batches):
    model.eval()
    images, labels = (tt.cat(parts) for parts in zip(*batches))
    logits = model(images)
    return F.cross_entropy(logits, labels).item(), (logits.argmax(-1) == labels).double().mean().item()

check_evaluate(evaluate)
"""


@pytest.mark.slow
def test_annotations_defaults_classes_aliases_and_decorators_travel(run, tmp_path):
    assert run(tmp_path, UNUSUAL, DECORATED) == ["✓ softmax: passed\n", "✓ evaluate: passed\n"]
    (printed,) = run(tmp_path, 'softmax, evaluate = my_pieces("softmax", "evaluate")\nprint(softmax(torch.zeros(2)))')
    assert printed.count("yours") == 2 and "0.5000" in printed


@pytest.mark.slow
def test_variables_of_the_notebook_stay_behind(run, tmp_path):
    """Parameters and local names are not looked up outside, whatever is there under the same name."""
    clutter = "scores, e, dim = {'a': torch.ones(2)}, [torch.ones(1)], torch.zeros(3)\n"
    assert run(tmp_path, clutter + SOFTMAX) == ["✓ softmax: passed\n"]
    text = (tmp_path / "my_pieces.py").read_text()
    assert "scores =" not in text and "dim =" not in text and "SHIFT = 'amax'" in text


@pytest.mark.slow
def test_what_cannot_stand_alone_is_not_kept(run, tmp_path):
    code = (
        "ones = torch.ones(1)\n\ndef split_heads(x, num_heads):\n"
        "    return rearrange(x * ones.to(x.dtype), 'b n (h d) -> b h n d', h=num_heads)\n\ncheck_split_heads(split_heads)"
    )
    (printed,) = run(tmp_path, code)
    first, second = printed.splitlines()
    assert first == "✓ split_heads: passed"
    assert "was not kept" in second and "name 'ones' is not defined" in second
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["partial", "Softmax"])
def test_what_is_no_function_is_right_and_not_kept(run, tmp_path, kind):
    code = SOFTMAX.replace("check_softmax(softmax)", "") + (
        "from functools import partial\n\nclass Softmax:\n    def __call__(self, scores, dim=-1):\n"
        f"        return softmax(scores, dim)\n\ncheck_softmax({'partial(softmax)' if kind == 'partial' else 'Softmax()'})"
    )
    (printed,) = run(tmp_path, code)
    assert printed.startswith("✓ softmax: passed\n")
    assert f"a {kind} cannot be written into a file, a function made with `def` can." in printed


@pytest.mark.slow
def test_a_stub_of_an_earlier_exercise_does_not_travel(run, tmp_path):
    """`attention_weights` calls `softmax`; the reader's is an empty stub, so the course's is used."""
    stub = "def softmax(scores, dim=-1):\n    ...\n"
    run(tmp_path, stub, WEIGHTS)
    assert [name for name, _ in pieces.BLOCK.findall((tmp_path / "my_pieces.py").read_text())] == ["attention_weights"]
    (printed,) = run(
        tmp_path, '(weights,) = my_pieces("attention_weights")\nprint(weights(torch.zeros(2, 3), torch.zeros(4, 3)))'
    )
    assert "yours" in printed and "0.2500" in printed


@pytest.mark.slow
def test_a_function_of_another_name(run, tmp_path):
    printed = run(
        tmp_path, SOFTMAX.replace("def softmax", "def mine").replace("check_softmax(softmax)", "check_softmax(mine)")
    )
    assert printed == ["✓ softmax: passed\n"]
    (printed,) = run(tmp_path, '(softmax,) = my_pieces("softmax")\nprint(softmax(torch.zeros(2)))')
    assert "yours" in printed and "0.5000" in printed


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(**sources):
        pieces._write(sources)
        return tmp_path / "my_pieces.py"

    return write


def test_a_broken_piece_gives_way_to_the_course(kept, capsys):
    kept(softmax="def softmax(scores, dim=-1:\n    return scores\n", merge_heads="raise RuntimeError('no')\n")
    functions = pieces.my_pieces("softmax", "merge_heads")
    assert functions == (EXERCISES["softmax"].oracle, EXERCISES["merge_heads"].oracle)
    lines = capsys.readouterr().out.splitlines()
    assert "yours does not load: SyntaxError" in lines[0] and "yours does not load: RuntimeError: no" in lines[1]


def test_helpers_of_the_same_name_do_not_meet(kept, capsys):
    kept(
        softmax="def scale(x):\n    return 2 * x\n\ndef softmax(scores, dim=-1):\n    return scale(scores)\n",
        merge_heads="def scale(x):\n    return 3 * x\n\ndef merge_heads(x):\n    return scale(x)\n",
    )
    first, second = pieces.my_pieces("softmax", "merge_heads")
    assert (first(1), second(1)) == (2, 3)


def test_the_file_reads_from_top_to_bottom(kept):
    file = kept(merge_heads="b = 2\n", softmax="a = 1\n")
    text = file.read_text()
    assert text.index("piece: softmax") < text.index("piece: merge_heads")
    space = {}
    exec(text, space)
    assert (space["a"], space["b"]) == (1, 2)
    assert pieces.kept_pieces() == {"softmax": "a = 1\n\n\n", "merge_heads": "b = 2\n"}


def test_passing_again_replaces_the_block(kept):
    kept(softmax="a = 1\n", merge_heads="b = 2\n")
    kept(**(pieces.kept_pieces() | {"softmax": "a = 3\n"}))
    assert [source.strip() for source in pieces.kept_pieces().values()] == ["a = 3", "b = 2"]


def test_pieces_that_call_each_other(kept, capsys):
    kept(
        softmax="def softmax(x):\n    return merge_heads(x)\n",
        merge_heads="def merge_heads(x):\n    return softmax(x)\n",
    )
    pieces.my_pieces("softmax", "merge_heads")
    assert capsys.readouterr().out.count("yours") == 2


def test_files_from_elsewhere(kept):
    """Windows line ends, a byte that is no UTF-8, and a block of a course to come: nothing is lost."""
    file = kept(softmax="a = 1\n")
    text = file.read_bytes().replace(b"\n", b"\r\n") + b"# %% piece: to_come\r\nb = '\xff'\r\n"
    file.write_bytes(text)
    assert list(pieces.kept_pieces()) == ["softmax", "to_come"]
    kept(**(pieces.kept_pieces() | {"merge_heads": "c = 3\n"}))
    assert list(pieces.kept_pieces()) == ["softmax", "merge_heads", "to_come"]


def test_a_write_that_fails_loses_nothing(kept, monkeypatch):
    file = kept(softmax="a = 1\n")
    before = file.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        pieces._write({"softmax": "a = 2\n"})
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_unknown_exercises_are_named():
    with pytest.raises(ValueError, match="no exercise 'sofmax'; there are softmax, "):
        pieces.my_pieces("sofmax")


def test_nothing_is_kept_outside_a_notebook(kept, tmp_path):
    EXERCISES["merge_heads"].check(EXERCISES["merge_heads"].oracle)
    assert list(tmp_path.iterdir()) == []


def test_colab_without_drive(kept, monkeypatch, tmp_path):
    """Downloaded today, uploaded tomorrow: what was written in between wins."""
    file = kept(softmax="a = 1\n", merge_heads="b = 2\n")
    sent = []
    files = types.SimpleNamespace(download=sent.append, upload=lambda: {"my_pieces.py": file.read_bytes()})
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(files=files))
    pieces.download_pieces()
    assert sent == [str(tmp_path / "my_pieces.py")]
    old = file.read_bytes()
    kept(softmax="a = 3\n")
    files.upload = lambda: {"my_pieces.py": old}
    pieces.upload_pieces()
    assert [source.strip() for source in pieces.kept_pieces().values()] == ["a = 3", "b = 2"]


def test_in_colab_the_mounted_drive_is_used(tmp_path, monkeypatch):
    drive = tmp_path / "drive"
    drive.mkdir()
    monkeypatch.setattr(pieces, "DRIVE", drive)
    assert pieces.pieces_file() == drive / "my_pieces.py"


def test_what_was_kept_before_the_drive_was_mounted_counts(kept, tmp_path, monkeypatch):
    kept(softmax="a = 1\n", merge_heads="b = 2\n")
    drive = tmp_path / "drive"
    drive.mkdir()
    monkeypatch.setattr(pieces, "DRIVE", drive)
    kept(softmax="a = 3\n")
    assert [source.strip() for source in pieces.kept_pieces().values()] == ["a = 3", "b = 2"]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_course_stands_in_with_the_same_signature(name):
    """The oracle can be called as the exercise says, with the same arguments left out."""
    exercise = EXERCISES[name]
    asked = inspect.signature(eval(f"lambda {exercise.signature.partition('(')[2].rstrip(')')}: 0", {"torch": torch}))
    given = inspect.signature(exercise.oracle)
    defaults = [[p.default for p in signature.parameters.values()] for signature in (asked, given)]
    assert defaults[1][: len(defaults[0])] == defaults[0]
    assert inspect.Parameter.empty not in defaults[1][len(defaults[0]) :]
