"""`course sort`: it shows what it would do, does only that, replaces nothing, and what it makes can be trained on."""

import errno
import io
import os
import shutil

import pytest
from data_files import fails, picture

from course_lib import cli
from course_lib.data import sorting
from course_lib.data.folders import image_folder
from course_lib.data.image_set import SPLITS
from course_lib.data.sorting import make_plan

pytestmark = pytest.mark.usefixtures("own_folder")


def put(root, *names):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(path, "PNG")


def kaggle(root, count=10):
    """Dogs versus Cats as unpacked."""
    put(root, *(f"train/{name}.{number}.jpg" for number in range(count) for name in ("cat", "dog")))
    put(root, *(f"test1/{number}.jpg" for number in range(1, count)))


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def run(capsys, *arguments):
    status = cli.main(["sort", *map(str, arguments)])
    found = capsys.readouterr()
    assert "Traceback" not in found.err
    return status, found.out, found.err


def test_kaggles_dogs_and_cats(tmp_path, capsys):
    root, new = tmp_path / "dogs", tmp_path / "dogs-sorted"
    kaggle(root)
    before = contents(root)
    assert "course sort" in fails(image_folder, root, "train", match="no folders for their classes")
    status, out, _ = run(capsys, root, "--yes")
    assert status == 0 and contents(root) == before
    assert f"{root}: 20 pictures, by how their names begin, into {new}:" in out
    assert "train/cat        10   cat.0.jpg, cat.1.jpg, cat.2.jpg" in out and "train/dog        10   dog.0.jpg" in out
    assert "Left alone: pictures in other folders (9 in test1)" in out
    assert "As hard links" in out and "Done (20 linked)" in out
    assert [len(image_folder(new, split)) for split in SPLITS] == [16, 2, 2]
    assert image_folder(new, "train").classes == ("cat", "dog")
    assert contents(new) == {
        name.replace("train/", f"train/{name[6:9]}/"): content for name, content in before.items() if "train" in name
    }
    assert (new / "train" / "cat" / "cat.3.jpg").samefile(root / "train" / "cat.3.jpg")


def test_nothing_is_done_unasked(tmp_path, capsys, monkeypatch):
    kaggle(tmp_path / "dogs")
    for answer in ("", "no\n", "ja\n", "\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        status, out, _ = run(capsys, tmp_path / "dogs")
        assert status == 0 and "Nothing was done" in out and not (tmp_path / "dogs-sorted").exists()
    monkeypatch.setattr("sys.stdin", io.StringIO(" Yes\n"))
    status, out, _ = run(capsys, tmp_path / "dogs")
    assert status == 0 and "Done (20 linked)" in out


def test_all_kinds_of_names_in_one_folder(tmp_path, capsys):
    names = ["cat_001.png", "cat-2.png", "cat (3).png", "Cat4.png", "dog.1.png", "dog.2.png", "dog 3.png", "7.png"]
    put(tmp_path / "pile", *names)
    (tmp_path / "pile" / "notes.txt").write_text("cat")
    status, out, _ = run(capsys, tmp_path / "pile", "--into", tmp_path / "new", "--yes")
    assert status == 0 and "1 whose names say none of the classes (7.png)" in out
    expected = {f"{'cat' if name[0] in 'cC' else 'dog'}/{name}" for name in names[:-1]}
    assert set(contents(tmp_path / "new")) == expected
    assert [len(image_folder(tmp_path / "new", split)) for split in SPLITS] == [3, 2, 2]


def test_names_with_spaces_and_underscores_make_whole_names(tmp_path, capsys):
    """As in Oxford's pets, with their images beside their annotations."""
    put(
        tmp_path / "pets",
        *(f"images/{breed}_{n}.jpg" for breed in ("american_bulldog", "american_pit_bull") for n in range(3)),
    )
    (tmp_path / "pets" / "annotations").mkdir()
    (tmp_path / "pets" / "annotations" / "list.txt").write_text("")
    assert run(capsys, tmp_path / "pets", "--yes")[0] == 0
    assert image_folder(tmp_path / "pets-sorted", "train").classes == ("american_bulldog", "american_pit_bull")


def test_splits_stay_splits(tmp_path, capsys):
    put(tmp_path / "dogs", *(f"a/train/{name}.{n}.png" for n in range(10) for name in ("cat", "dog")))
    put(tmp_path / "dogs", *(f"a/Test/{name}.{n}.png" for n in range(4) for name in ("Cat", "dog", "IMG")))
    status, out, _ = run(capsys, tmp_path / "dogs", "--yes")
    assert status == 0 and "test/cat" in out and "4 whose names say none of the classes (IMG.0.png" in out
    assert [len(image_folder(tmp_path / "dogs-sorted", split)) for split in SPLITS] == [18, 2, 8]


def test_a_class_called_train(tmp_path, capsys):
    put(tmp_path / "things", *(f"{name}.{n}.png" for n in range(10) for name in ("train", "car")))
    assert run(capsys, tmp_path / "things", "--yes")[0] == 0
    assert image_folder(tmp_path / "things-sorted", "train").classes == ("car", "train")


def no_links(*_, **__):
    raise OSError(errno.EPERM, "Operation not permitted")


def test_a_drive_without_hard_links(tmp_path, capsys, monkeypatch):
    kaggle(tmp_path / "dogs")
    monkeypatch.setattr(os, "link", no_links)
    status, out, _ = run(capsys, tmp_path / "dogs", "--yes")
    assert status == 0 and "Done (20 copied)" in out
    copy = tmp_path / "dogs-sorted" / "train" / "cat" / "cat.3.jpg"
    assert not copy.samefile(tmp_path / "dogs" / "train" / "cat.3.jpg")
    assert copy.read_bytes() == (tmp_path / "dogs" / "train" / "cat.3.jpg").read_bytes()


def test_no_space_for_copies(tmp_path, capsys, monkeypatch):
    kaggle(tmp_path / "dogs")
    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    status, _, err = run(capsys, tmp_path / "dogs", "--yes")
    assert status == 1 and "no space: the copies need 0 MB, 0 MB are free" in err and err.count("\n") == 1


def test_a_stop_in_the_middle_and_the_same_again(tmp_path, capsys, monkeypatch):
    kaggle(tmp_path / "dogs")
    real, calls = shutil.copy2, []

    def full(old, new):
        calls.append(new)
        if len(calls) == 8:
            new.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(old, new)

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", no_links)
        patched.setattr(shutil, "copy2", full)
        status, _, err = run(capsys, tmp_path / "dogs", "--yes")
    assert status == 1 and "No space left on device" in err and err.count("\n") == 1
    assert len(contents(tmp_path / "dogs-sorted")) == 7
    status, out, _ = run(capsys, tmp_path / "dogs", "--yes")
    assert status == 0 and "7 of them are there already" in out and "Done (13 linked)" in out
    status, out, _ = run(capsys, tmp_path / "dogs")  # nothing is left to ask about
    assert status == 0 and "20 of them are there already" in out and out.splitlines()[-1].startswith("Done. ")


def test_what_is_there_is_never_replaced(tmp_path, capsys):
    kaggle(tmp_path / "dogs")
    other = tmp_path / "dogs-sorted" / "train" / "cat" / "cat.3.jpg"
    for path, content in ((other, b"another picture"), (tmp_path / "dogs-sorted" / "mine.png", b"mine")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        status, _, err = run(capsys, tmp_path / "dogs", "--yes")
        assert status == 1 and str(path) in err and "holds other files" in err and "--into" in err
        assert contents(tmp_path / "dogs-sorted") == {path.relative_to(tmp_path / "dogs-sorted").as_posix(): content}
        path.unlink()
    shutil.rmtree(tmp_path / "dogs-sorted")
    (tmp_path / "dogs-sorted").write_text("a file")
    status, _, err = run(capsys, tmp_path / "dogs", "--yes")
    assert status == 1 and "is a file: give another folder with --into" in err
    assert run(capsys, tmp_path / "dogs", "--yes", "--into", tmp_path / "elsewhere")[0] == 0


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda root: put(root, *(f"{n}.png" for n in range(9))),
            "9 pictures in .* do not say their classes: they are numbers",
        ),
        (
            lambda root: put(root, *(f"IMG_{n}.png" for n in range(9))),
            "do not say their classes: they begin with IMG. Make a",
        ),
        (lambda root: put(root, *(f"{name}.png" for name in "abcdefgh")), "begin with a, b, c, d, e, and 3 more"),
        (lambda root: put(root, "cat/1.png", "dog/1.png"), "holds no pictures that lie without.*they lie in cat, dog"),
        (lambda root: root.mkdir(), "holds no pictures that lie without folders for their classes: there are none"),
        (lambda root: None, "is not a folder"),
    ],
)
def test_what_cannot_be_sorted(tmp_path, make, match):
    make(tmp_path / "pile")
    fails(make_plan, tmp_path / "pile", match=match)


def test_the_new_folder_lies_outside(tmp_path):
    kaggle(tmp_path / "dogs")
    for into in (tmp_path / "dogs", tmp_path / "dogs" / "new", tmp_path, tmp_path / "x" / ".." / "dogs"):
        fails(make_plan, tmp_path / "dogs", into, match="must lie outside of")


@pytest.mark.skipif(os.name != "posix", reason="links, and names that other systems do not have")
def test_links_and_names_that_are_no_text(tmp_path, capsys):
    put(tmp_path, "real.png")
    put(tmp_path / "pile", "cat.1.png", "dog.1.png", "dog.2.png")
    (tmp_path / "pile" / "cat.2.png").symlink_to("../real.png")
    shutil.copy(tmp_path / "real.png", os.path.join(os.fsencode(tmp_path), b"pile/cat.\xff.png"))
    assert run(capsys, tmp_path / "pile", "--yes")[0] == 0
    linked = tmp_path / "pile-sorted" / "cat" / "cat.2.png"
    assert not linked.is_symlink() and linked.samefile(tmp_path / "real.png")
    assert len(os.listdir(tmp_path / "pile-sorted" / "cat")) == 3


def test_it_says_what_copies_to_another_drive_take(tmp_path, monkeypatch):
    kaggle(tmp_path / "dogs")
    plan = make_plan(tmp_path / "dogs")
    assert "As hard links" in sorting.as_text(plan, sorting.find_todo(plan))
    monkeypatch.setattr(sorting, "_on_one_drive", lambda _: False)
    assert "As copies, since it is on another drive (0.0 MB)" in sorting.as_text(plan, sorting.find_todo(plan))
