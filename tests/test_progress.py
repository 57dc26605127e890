"""How far a reader is: what has passed, forgotten on request, and the certificate."""

import json
from datetime import date

import pytest

from course_lib import __version__, cli
from course_lib.checks import NAMES, find, forget, pieces, progress
from course_lib.checks.catalogue import CHAPTERS

SOFTMAX = """\
import torch

def softmax(scores, dim=-1):
    e = torch.exp(scores - scores.amax(dim, keepdim=True))  # é
    return e / e.sum(dim, keepdim=True)
"""
MERGE = "def merge_heads(x):\n    return x\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def kept(folder):
    pieces._write({"softmax": SOFTMAX, "merge_heads": MERGE, "to_come": "later = 1\n"})
    return folder / "my_pieces.py"


def test_nothing_has_passed(folder, capsys):
    progress(1)
    assert capsys.readouterr().out == (
        "Chapter 1: 0 of 4 passed. To come: softmax, attention_weights, scaled_dot_product_attention, masked_attention.\n"
        f"The course: 0 of {len(NAMES)} passed.\n"
    )
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("kept")
def test_what_has_passed_is_what_is_kept(capsys):
    for number, first in (
        (1, "Chapter 1: 1 of 4 passed. To come: attention_weights,"),
        (2, "Chapter 2: 1 of 3 passed."),
    ):
        progress(number)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(first) and lines[1:] == [f"The course: 2 of {len(NAMES)} passed."]


def test_all_of_a_chapter(folder, capsys):
    pieces._write({name: "a = 1\n" for name in CHAPTERS["ch03"]})
    progress(3)
    assert capsys.readouterr().out.startswith("Chapter 3: 3 of 3 passed. All of them.\n")


def test_a_chapter_that_is_none():
    with pytest.raises(ValueError, match="chapter 99 has no exercise with a check; those that have are 1, 2, "):
        progress(99)


def test_one_is_forgotten(kept, capsys):
    forget("softmax")
    assert list(pieces.kept_pieces()) == ["merge_heads", "to_come"]
    assert capsys.readouterr().out == "Forgotten: softmax.\n"
    with pytest.raises(ValueError, match="nothing is kept of 'softmax'; there are merge_heads, to_come"):
        forget("merge_heads", "softmax")
    assert list(pieces.kept_pieces()) == ["merge_heads", "to_come"]


def test_one_is_forgotten_wherever_it_is_kept(kept, tmp_path, monkeypatch):
    """In Colab: in the working folder, from before the Drive was mounted, and on the Drive."""
    drive = tmp_path / "drive"
    drive.mkdir()
    monkeypatch.setattr(pieces, "DRIVE", drive)
    pieces._write({"softmax": SOFTMAX, "mlp": "a = 1\n"})
    forget("softmax")
    assert list(pieces.kept_pieces()) == ["merge_heads", "to_come", "mlp"]
    assert list(pieces._blocks(kept.read_bytes())) == ["merge_heads", "to_come"]


def test_all_are_forgotten_and_none_is_lost(kept, capsys):
    for place in ("my_pieces.old.py", "my_pieces.old-2.py"):
        before = kept.read_bytes()
        forget()
        out = capsys.readouterr().out
        assert out.startswith(f"my_pieces.py is called {place} now.\nForgotten: softmax, merge_heads, to_come.\n")
        assert not kept.exists() and kept.with_name(place).read_bytes() == before
        assert pieces.kept_pieces() == {}
        kept.write_bytes(before)


def test_nothing_to_forget(folder, capsys):
    forget()
    assert capsys.readouterr().out == "Forgotten: nothing, since nothing was kept.\n"
    with pytest.raises(ValueError, match="nothing is kept of 'softmax'; there are no pieces"):
        forget("softmax")


@pytest.mark.usefixtures("kept")
def test_the_certificate(folder, capsys):
    """What passed, with what it needs, in the course's order; what is no exercise of this course stays out."""
    assert cli.main(["certificate", "--name", " Ada Løve ", "--out", "ada.json"]) == 0
    assert capsys.readouterr().out == (
        f"ada.json: 2 of {len(NAMES)} exercises, for Ada Løve.\n"
        "Whoever gets it judges them again with: course check ada.json\n"
    )
    content = json.loads((folder / "ada.json").read_text(encoding="utf-8"))
    date.fromisoformat(content["date"])
    assert content == {
        "what": "certificate of the course on the Vision Transformer",
        "name": "Ada Løve",
        "course": __version__,
        "date": content["date"],
        "exercises": {"softmax": {"source": SOFTMAX}, "merge_heads": {"source": MERGE}},
    }
    assert sorted(path.name for path in folder.iterdir()) == ["ada.json", "my_pieces.py"]


def test_its_answers_stand_alone(kept, folder, capsys):
    """An answer that calls another one finds it among those of the certificate."""
    weights = "def attention_weights(query, key):\n    return softmax(query @ key.mT / query.shape[-1] ** 0.5)\n"
    pieces._write({"softmax": SOFTMAX, "attention_weights": weights})
    cli.main(["certificate", "--name", "Ada"])
    content = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    sources = {name: answer["source"] for name, answer in content["exercises"].items()}
    for name in sources:
        assert find(name).judge(pieces._load(name, sources[name], sources)).status == "passed"


@pytest.mark.slow
@pytest.mark.usefixtures("kept")
def test_the_checker_judges_it_again(capsys):
    """A piece in the file is a claim: `merge_heads` there gives back what it gets."""
    cli.main(["certificate", "--name", "Ada"])
    assert cli.main(["check", "certificate.json"]) == 1
    said = capsys.readouterr().out
    assert "PASS     softmax" in said and "FAIL     merge_heads" in said


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--name", "Ada"], "course certificate: no passed exercise in "),
        (["--name", "  "], "course certificate: the name is empty"),
    ],
)
def test_no_certificate_and_why(folder, capsys, arguments, line):
    assert cli.main(["certificate", *arguments]) == 1
    assert capsys.readouterr().err.startswith(line)
    assert list(folder.iterdir()) == []


def test_a_certificate_that_cannot_be_written_leaves_the_old_one(kept, capsys, monkeypatch):
    file = kept.with_name("certificate.json")
    file.write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    assert cli.main(["certificate", "--name", "Ada"]) == 1
    assert file.read_text() == "old" and "disk full" in capsys.readouterr().err
