"""Folders of class folders: the right images in the right split, read once, and every fault is named."""

import io
import os
import shutil

import numpy as np
import pytest
import torch
from data_files import fails, picture
from PIL import Image

from course_lib.data import kept
from course_lib.data.downloads import cifar10
from course_lib.data.folders import CIFAR10_CLASSES, cifar10_jpeg, image_folder
from course_lib.data.image_set import SPLITS
from course_lib.data.sources import load_data
from course_lib.files.places import CHECKOUT

REAL = CHECKOUT / "data" / "cache"
pytestmark = pytest.mark.usefixtures("own_folder")


def make_folder(root, parts=("train", "test"), classes=("bee", "ant"), count=12, **size):
    """{path: pixels} of PNG files in folders of classes."""
    made = {}
    for part in parts:
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                path = root / part / name / f"{number:03}.png"
                image = picture(len(made), **size)
                image.save(path)
                made[path] = np.asarray(image).transpose(2, 0, 1)
    return made


def pixels_of(made, *paths):
    return torch.from_numpy(np.stack([made[path] for path in paths]))


def test_a_folder_with_train_and_test(tmp_path):
    root = tmp_path / "pets"
    made = make_folder(root, count=20)
    (root / "train" / "ant" / "notes.txt").write_text("not an image")
    (root / "train" / "ant" / ".hidden.png").write_text("not an image")
    (root / "train" / ".cache").mkdir()
    train, val, test = (image_folder(root, split) for split in SPLITS)
    assert (train.name, train.classes, train.mean) == ("pets/train", ("ant", "bee"), (0.485, 0.456, 0.406))
    assert train.labels.tolist() == [0] * 18 + [1] * 18 and test.labels.tolist() == [0] * 20 + [1] * 20
    names = [root / "train" / name / f"{number:03}.png" for name in ("ant", "bee") for number in range(20)]
    assert torch.equal(train.images, pixels_of(made, *names[:18], *names[20:38]))
    assert torch.equal(val.images, pixels_of(made, *names[18:20], *names[38:]))
    assert val.images.dtype == torch.uint8 and val.images.shape == (4, 3, 5, 6)
    assert torch.equal(load_data(f"folder:{root}", "test").images, test.images)


def test_a_folder_with_val_too(tmp_path):
    root = tmp_path / "pets"
    made = make_folder(root, ("train", "val", "test"), count=2)
    for part in SPLITS:
        found = image_folder(root, part)
        names = [root / part / name / f"{number:03}.png" for name in ("ant", "bee") for number in range(2)]
        assert torch.equal(found.images, pixels_of(made, *names))


def test_a_flat_folder_is_divided(tmp_path):
    root = tmp_path / "pets"
    made = make_folder(root, ("",), classes=("train", "car"), count=30)  # a class called train is no part
    train, val, test = (image_folder(root, split) for split in SPLITS)
    assert [len(found) for found in (train, val, test)] == [48, 6, 6]
    names = {name: [root / name / f"{number:03}.png" for number in range(30)] for name in ("car", "train")}
    for found, rows in ((train, slice(0, 24)), (val, slice(24, 27)), (test, slice(27, 30))):
        assert torch.equal(found.images, pixels_of(made, *names["car"][rows], *names["train"][rows]))
        assert found.classes == ("car", "train")


@pytest.mark.parametrize(
    ("damage", "split", "match"),
    [
        (lambda root: shutil.rmtree(root / "test" / "ant"), "test", "test must have the classes.*lacks 'ant'"),
        (lambda root: (root / "test" / "cow").mkdir(), "test", "test must have the classes.*has 'cow' besides"),
        (lambda root: (root / "train" / "cow").mkdir(), "train", "cow has no images"),
        (lambda root: shutil.rmtree(root / "test"), "test", "test is not a folder"),
        (lambda root: shutil.rmtree(root), "train", "is not a folder"),
        (lambda root: [shutil.rmtree(root / part) for part in ("train", "test")], "val", "holds no folders"),
        (lambda root: [file.unlink() for file in (root / "train/bee").glob("*[1-9].png")], "train", "bee has too few"),
    ],
)
def test_a_folder_that_is_not_right_is_named(tmp_path, damage, split, match):
    root = tmp_path / "pets"
    make_folder(root, count=3)
    damage(root)
    assert str(root) in fails(image_folder, root, split, match=match)


BROKEN = {
    "empty.png": b"",
    "text.jpg": b"this is no image",
    "half.png": None,
    "half.jpg": None,
}


def break_one(root, name):
    path = root / "train" / "bee" / f"001-{name}"
    if BROKEN[name] is None:
        file = io.BytesIO()
        picture(99, 40, 40).save(file, {"png": "PNG", "jpg": "JPEG"}[name[-3:]])
        path.write_bytes(file.getvalue()[: len(file.getvalue()) // 2])
    else:
        path.write_bytes(BROKEN[name])
    return path


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("size", [None, 4])
def test_a_file_that_cannot_be_read(tmp_path, own_folder, capsys, name, size):
    make_folder(tmp_path / "pets", count=20)
    path = break_one(tmp_path / "pets", name)
    message = fails(image_folder, tmp_path / "pets", "train", size, match="cannot be read as an image")
    assert str(path) in message and "skip=True" in message
    assert not own_folder.exists()  # nothing half-loaded is kept
    for _ in range(2):  # from the files, then from what was kept
        found = image_folder(tmp_path / "pets", "train", size, skip=True)
        assert found.labels.tolist() == [0] * 18 + [1] * 18
        assert f"Skipped 1 of 41 files in {tmp_path / 'pets' / 'train'}" in (said := capsys.readouterr().out)
        assert str(path) in said
    assert fails(image_folder, tmp_path / "pets", "train", size, match=name)


def test_the_first_file_broken_or_all(tmp_path):
    root = tmp_path / "pets"
    make_folder(root, count=4)
    for number in range(4):
        (root / "train" / "ant" / f"{number:03}.png").write_bytes(b"")
    fails(image_folder, root, "train", match="ant/000.png")
    fails(image_folder, root, "train", skip=True, match="ant has too few")
    for number in range(4):
        (root / "train" / "bee" / f"{number:03}.png").write_bytes(b"")
    fails(image_folder, root, "train", skip=True, match="none of the 8 files")


def test_sizes_that_differ(tmp_path):
    root = tmp_path / "pets"
    make_folder(root, count=4)
    odd_one = root / "train" / "bee" / "002.png"
    picture(5, 9, 7).save(odd_one)
    message = fails(image_folder, root, "train", match="9 x 7 pixels.*6 x 5.*size=224")
    assert str(odd_one) in message
    fails(image_folder, root, "train", skip=True, match="9 x 7")  # a readable file is not left out
    assert image_folder(root, "train", 4).images.shape == (6, 3, 4, 4)


def kept_files(folder):
    return sorted((folder / "folders").glob("*.safetensors"))


def test_the_second_time_nothing_is_decoded(tmp_path, own_folder, monkeypatch):
    make_folder(tmp_path / "pets", count=10)
    first = image_folder(tmp_path / "pets", "train")

    def never(*_):
        raise AssertionError("decoded again")

    with monkeypatch.context() as patched:
        patched.setattr(kept, "read_image", never)
        again = image_folder(tmp_path / "pets", "train")
        val = image_folder(tmp_path / "pets", "val")
        with pytest.raises(AssertionError):
            image_folder(tmp_path / "pets", "train", 4)  # another size is another matter
    assert torch.equal(first.images, again.images) and torch.equal(first.labels, again.labels) and len(val) == 2
    assert len(kept_files(own_folder)) == 1


@pytest.mark.parametrize("change", ["replaced", "touched", "added", "removed", "renamed"])
def test_a_change_in_the_folder_is_seen(tmp_path, own_folder, change):
    root = tmp_path / "pets"
    make_folder(root, count=10)
    image_folder(root, "train")
    path, new = root / "train" / "ant" / "004.png", picture(77)
    if change == "replaced":
        new.save(path)
    elif change == "touched":  # as many bytes: only the time of the change tells
        before = path.stat()
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
    elif change == "added":
        new.save(path.with_name("0045.png"))
    elif change == "removed":
        path.unlink()
    else:
        path.rename(path.with_name("999.png"))
    decoded = []
    true_read = kept.read_image
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kept, "read_image", lambda *file: decoded.append(file) or true_read(*file))
        found = image_folder(root, "train")
    assert decoded
    names = sorted((root / "train" / "ant").iterdir())
    assert np.array_equal(found.images[4], true_read(names[4]))
    assert len(kept_files(own_folder)) == 1


def test_a_damaged_kept_file_is_made_again(tmp_path, own_folder):
    make_folder(tmp_path / "pets", count=10)
    expected = image_folder(tmp_path / "pets", "train").images
    (file,) = kept_files(own_folder)
    whole = file.read_bytes()
    for content in (b"", whole[:-9], whole[:-900] + bytes([whole[-900] ^ 1]) + whole[-899:], b"x" * len(whole)):
        file.write_bytes(content)
        assert torch.equal(image_folder(tmp_path / "pets", "train").images, expected)
        assert len(file.read_bytes()) == len(whole) and kept_files(own_folder) == [file]


def test_what_cannot_be_kept_is_read_each_time(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space")

    make_folder(tmp_path / "pets", count=10)
    monkeypatch.setattr(kept, "write_atomically", full)
    assert len(image_folder(tmp_path / "pets", "train")) == 18


def test_the_jpeg_copy(own_folder):
    make_folder(own_folder, classes=CIFAR10_CLASSES, count=10, width=32, height=32)
    train, val, test = (cifar10_jpeg(split) for split in SPLITS)
    assert [len(found) for found in (train, val, test)] == [90, 10, 100]
    assert (train.name, val.name) == ("cifar10_jpeg/train", "cifar10_jpeg/val")
    assert train.mean == (0.4914, 0.4822, 0.4465) and train.std == (0.247, 0.2435, 0.2616)
    assert torch.equal(load_data("cifar10_jpeg", "val").images, val.images)
    assert torch.equal(cifar10_jpeg("val", own_folder).images, val.images)


def test_cifar10_never_falls_back_to_the_copy(own_folder):
    make_folder(own_folder, classes=CIFAR10_CLASSES, count=10, width=32, height=32)
    fails(cifar10, "train", match="cifar-10-python.tar.gz is not here yet")


def test_the_jpeg_copy_is_not_there(own_folder):
    message = fails(cifar10_jpeg, "train", match="does not hold the ten classes of CIFAR-10")
    assert str(own_folder / "train" / "airplane") in message and "digits and toy_shapes" in message
    make_folder(own_folder)
    fails(cifar10_jpeg, "train", match="does not hold the ten classes of CIFAR-10")


@pytest.mark.skipif(not (REAL / "test" / "truck").is_dir(), reason="the JPEG copy of CIFAR-10 is not here")
def test_the_real_jpeg_copy(tmp_path):
    """A part of it: the whole would take long the first time."""
    for name in CIFAR10_CLASSES:
        for part in ("train", "test"):
            (tmp_path / part / name).mkdir(parents=True)
            for file in sorted((REAL / part / name).iterdir())[:20]:
                shutil.copy(file, tmp_path / part / name)
    found = cifar10_jpeg("train", tmp_path)
    assert found.images.shape == (180, 3, 32, 32)
    file = tmp_path / "train" / "cat" / sorted(os.listdir(tmp_path / "train" / "cat"))[4]
    expected = np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(found.images[18 * 3 + 4], expected)
