"""Folders of class folders: the right images in the right split, read once, and every fault is named."""

import io
import os
import shutil
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import fails, picture
from PIL import Image

from course_lib.data import kept, pictures
from course_lib.data.downloads import cifar10
from course_lib.data.folders import CIFAR10_CLASSES, cifar10_jpeg, image_folder, say
from course_lib.data.image_set import SPLITS
from course_lib.data.listing import list_folder
from course_lib.data.names import class_of_name, group_by_name
from course_lib.data.sources import load_data
from course_lib.files.places import CHECKOUT

REAL = CHECKOUT / "data" / "cache"
pytestmark = pytest.mark.usefixtures("own_folder", "says_all_again")


@pytest.fixture
def says_all_again():
    """What was said in another test is said again."""
    say.cache_clear()


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
    made = make_folder(root, ("",), classes=("plane", "car"), count=30)
    train, val, test = (image_folder(root, split) for split in SPLITS)
    assert [len(found) for found in (train, val, test)] == [48, 6, 6]
    names = {name: [root / name / f"{number:03}.png" for number in range(30)] for name in ("car", "plane")}
    for found, rows in ((train, slice(0, 24)), (val, slice(24, 27)), (test, slice(27, 30))):
        assert torch.equal(found.images, pixels_of(made, *names["car"][rows], *names["plane"][rows]))
        assert found.classes == ("car", "plane")


@pytest.mark.parametrize(
    ("damage", "split", "match"),
    [
        (lambda root: shutil.rmtree(root / "test" / "ant"), "test", "test must have the classes.*lacks 'ant'"),
        (lambda root: (root / "test" / "cow").mkdir(), "test", "test must have the classes.*has 'cow' besides"),
        (lambda root: [(root / part / "cow").mkdir() for part in ("train", "test")], "train", "cow has no images"),
        (lambda root: shutil.rmtree(root), "train", "is not a folder"),
        (
            lambda root: [shutil.rmtree(root / part) for part in ("train", "test")],
            "val",
            "holds no folders with pictures",
        ),
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
    assert [path.suffix for path in (own_folder / "folders").iterdir()] == [".lock"]  # nothing half-loaded is kept
    for _ in range(2):  # from the files, then from what was kept
        say.cache_clear()
        found = image_folder(tmp_path / "pets", "train", size, skip=True)
        assert found.labels.tolist() == [0] * 18 + [1] * 18
        assert "pets/train: skipped 1 of 37 files that cannot be read" in (said := capsys.readouterr().out)
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


def test_what_a_killed_process_left_is_no_obstacle(tmp_path, own_folder):
    make_folder(tmp_path / "pets", count=10)
    expected = image_folder(tmp_path / "pets", "train").images.clone()
    (whole,) = kept_files(own_folder)
    part = whole.with_name(whole.name.rpartition("-")[0] + ".part")
    part.write_bytes(whole.read_bytes()[:1500])
    whole.unlink()
    assert torch.equal(image_folder(tmp_path / "pets", "train").images, expected)
    assert kept_files(own_folder) == [whole] and not part.exists()


def test_two_at_once_read_it_once(tmp_path, own_folder, monkeypatch):
    make_folder(tmp_path / "pets", count=30)
    decoded, true_read = [], kept.read_image
    monkeypatch.setattr(kept, "read_image", lambda *file: decoded.append(file) or true_read(*file))
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda split: image_folder(tmp_path / "pets", split), ("train", "train", "val")))
    assert [len(data) for data in found] == [54, 54, 6] and len(decoded) == 60
    assert torch.equal(found[0].images, found[1].images) and len(kept_files(own_folder)) == 1


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
    expected = image_folder(tmp_path / "pets", "train").images.clone()  # the file is about to be cut under it
    (file,) = kept_files(own_folder)
    whole = file.read_bytes()
    for content in (b"", whole[:-9], whole[:-900] + bytes([whole[-900] ^ 1]) + whole[-899:], b"x" * len(whole)):
        file.write_bytes(content)
        assert torch.equal(image_folder(tmp_path / "pets", "train").images, expected)
        assert len(file.read_bytes()) == len(whole) and kept_files(own_folder) == [file]


def no_room(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("skip", [False, True])
def test_what_cannot_be_kept_is_read_each_time(tmp_path, own_folder, monkeypatch, skip):
    make_folder(tmp_path / "pets", count=10)
    if skip:
        (tmp_path / "pets" / "train" / "ant" / "004.png").write_bytes(b"")
    expected = image_folder(tmp_path / "pets", "train", skip=skip)
    shutil.rmtree(own_folder)
    with monkeypatch.context() as patched:
        patched.setattr(kept, "_write", no_room)
        found = image_folder(tmp_path / "pets", "train", skip=skip)
        assert [path.suffix for path in (own_folder / "folders").iterdir()] == [".lock"]
    shutil.rmtree(own_folder)
    own_folder.write_text("no folder can be made here")
    for again in (found, image_folder(tmp_path / "pets", "train", skip=skip)):
        assert torch.equal(again.images, expected.images) and torch.equal(again.labels, expected.labels)
        assert again.paths == expected.paths and again.fingerprint == expected.fingerprint


def test_what_was_read_is_no_longer_there(tmp_path, own_folder):
    """Images that somebody holds outlast the file that they were kept in, and changing them changes nobody else's."""
    made = make_folder(tmp_path / "pets", count=10)
    first = image_folder(tmp_path / "pets", "test")
    first.images[0] = 7
    second = image_folder(tmp_path / "pets", "test")
    shutil.rmtree(own_folder)
    names = [tmp_path / "pets" / "test" / name / f"{number:03}.png" for name in ("ant", "bee") for number in range(10)]
    assert torch.equal(second.images, pixels_of(made, *names))
    assert torch.equal(first.images[1:], second.images[1:]) and (first.images[0] == 7).all()


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


# --- Folders as people have them


def put(path, number=0):
    """One picture, of the kind that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    picture(number).save(file, Image.registered_extensions().get(path.suffix.lower(), "JPEG"))
    path.write_bytes(file.getvalue())
    return path


def put_classes(root, classes=("ant", "bee"), count=10, inner=""):
    for number in range(count):
        for label, name in enumerate(classes):
            put(root / name / inner / f"{number:02}.png", 100 * number + label)


def lengths(root):
    return [len(image_folder(root, split)) for split in SPLITS]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Training", "VALID", "Testing"),
        ("TRAIN", "validation", "Test"),
        ("train_set", "dev", "test set"),
    ],
)
def test_the_names_of_splits(tmp_path, train, val, test):
    for name, count in ((train, 5), (val, 3), (test, 2)):
        put_classes(tmp_path / "pets" / name, count=count)
    assert lengths(tmp_path / "pets") == [10, 6, 4]
    shutil.rmtree(tmp_path / "pets" / val)
    assert lengths(tmp_path / "pets") == [8, 2, 4]


def test_train_and_val_only(tmp_path, capsys):
    put_classes(tmp_path / "pets" / "train", count=20)
    put_classes(tmp_path / "pets" / "valid", count=3)
    assert lengths(tmp_path / "pets") == [36, 4, 6]
    said = "no test/: valid/ is the test split, and the last tenth of each class of train/ the validation split"
    assert capsys.readouterr().out.count(said) == 1  # for all three splits
    assert {path.parts[-3] for path in image_folder(tmp_path / "pets", "test").paths} == {"valid"}


def test_train_only(tmp_path, capsys):
    put_classes(tmp_path / "pets" / "train", count=20)
    assert lengths(tmp_path / "pets") == [32, 4, 4]
    assert "no other split than train/" in capsys.readouterr().out
    assert lengths(tmp_path / "pets" / "train") == [32, 4, 4]


def test_test_only(tmp_path):
    put_classes(tmp_path / "pets" / "test")
    assert len(image_folder(tmp_path / "pets", "test")) == 20
    fails(
        image_folder,
        tmp_path / "pets",
        "train",
        match="has test/ only, so there is no split 'train': add a folder train",
    )
    put_classes(tmp_path / "pets" / "train")
    assert len(image_folder(tmp_path / "pets", "train")) == 18


@pytest.mark.parametrize("place", ["archive", "archive/cats and dogs"])
@pytest.mark.parametrize(
    "parts",
    [("train", "test"), ("train/train", "test/test"), ("training_set/training_set", "test_set/test_set"), ("",)],
)
def test_all_of_it_lies_deeper(tmp_path, capsys, place, parts):
    for part in parts:
        put_classes(tmp_path / place / part)
        expected = lengths(tmp_path / place)
    (tmp_path / "archive" / "__MACOSX" / "train").mkdir(parents=True)
    if place != "archive" or "" not in parts:
        (tmp_path / "archive" / "labels").mkdir()
        (tmp_path / "archive" / "labels" / "all.csv").write_text("annotations are no pictures")
    capsys.readouterr()
    say.cache_clear()
    assert lengths(tmp_path / "archive") == expected
    out = capsys.readouterr().out
    assert out.count("gone into cats and dogs, which has the folders") == (place != "archive")
    assert (f"gone into {parts[0]}, {parts[-1]}." in out) == ("/" in parts[0])


def test_the_wrapper_does_not_change_the_fingerprint(tmp_path):
    put_classes(tmp_path / "a" / "pets" / "train")
    shutil.copytree(tmp_path / "a" / "pets", tmp_path / "b")
    prints = {image_folder(tmp_path / name, "val").fingerprint for name in ("a", "a/pets", "b")}
    assert len(prints) == 1


def test_pictures_one_level_deeper(tmp_path, capsys):
    put_classes(tmp_path / "pets", count=10)
    put_classes(tmp_path / "pets", classes=("bee",), count=12, inner="indoors")
    put_classes(tmp_path / "pets", classes=("cow",), count=10, inner="outdoors/2024")
    found = image_folder(tmp_path / "pets", "train")
    assert found.classes == ("ant", "bee", "cow") and found.labels.bincount().tolist() == [8, 18, 8]
    assert "read with their class: 12 in bee/indoors, 10 in cow/outdoors" in capsys.readouterr().out


def test_what_is_left_out_is_counted(tmp_path, capsys):
    root = tmp_path / "pets"
    put_classes(root)
    for number in range(16):
        (root / "ant" / f"IMG_{number}.HEIC").write_bytes(b"ftypheic")
    for name in (
        "bee/notes.txt",
        "bee/Thumbs.db",
        "ant/.DS_Store",
        "ant/._00.png",
        "bee/list.CSV",
        "ant/nameless",
        ".cache/x.png",
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    put(root / "bee" / ".hidden.png")
    put(root / "loose.jpg")
    (root / "ant" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "ant" / "self.png").symlink_to(root / "ant" / "self.png")
    (root / "bee" / "back").symlink_to(root)
    assert lengths(root) == [16, 2, 2]
    out = capsys.readouterr().out
    for said in (
        "pets: left out: 16 .heic (pip install pillow-heif reads them), 2 broken links,",
        "1 .txt",
        "1 .csv",
        "1 without an ending",
        "1 hidden pictures",
        "1 links that lead back",
        "1 pictures beside the classes' folders",
    ):
        assert said in out
    assert out.count("\n") == 1 and ".db" not in out and "ds_store" not in out


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_links_are_followed(tmp_path):
    put_classes(tmp_path / "real", count=10)
    put(tmp_path / "elsewhere.png", 77)
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "ant").symlink_to(tmp_path / "real" / "ant")
    (tmp_path / "pets" / "bee").mkdir()
    (tmp_path / "pets" / "bee" / "linked.png").symlink_to(tmp_path / "elsewhere.png")
    put(tmp_path / "pets" / "bee" / "1.png")
    put(tmp_path / "pets" / "bee" / "2.png")
    assert image_folder(tmp_path / "pets", "test").paths[-1].name == "linked.png"
    assert lengths(tmp_path / "pets") == [9, 2, 2]


KINDS = ("a.jfif", "b.JPE", "c.avif", "d.JpEg", "e.PNG", "f.TIFF", "g.webp", "h.Gif", "i.bmp", "j.ppm")


def test_kinds_of_pictures(tmp_path):
    for kind in KINDS:
        put(tmp_path / "pets" / "ant" / kind)
        put(tmp_path / "pets" / "bee" / kind)
    names = {path.name for split in SPLITS for path in image_folder(tmp_path / "pets", split).paths}
    assert names == set(KINDS) - (set() if ".avif" in pictures.picture_endings() else {"c.avif"})


@pytest.fixture
def forgets_kinds():
    """Which kinds can be read is asked anew, now and afterwards."""
    known = dict(Image.registered_extensions())
    pictures.picture_endings.cache_clear()
    yield
    Image.EXTENSION.clear()
    Image.EXTENSION.update(known)
    pictures.picture_endings.cache_clear()


@pytest.mark.usefixtures("forgets_kinds")
def test_pictures_of_telephones(tmp_path, monkeypatch):
    """With a stand-in for pillow-heif, which makes Pillow read files of that ending."""
    put_classes(tmp_path / "pets")
    put(tmp_path / "pets" / "ant" / "IMG_1.HEIC")
    (tmp_path / "one.heif").write_bytes(b"no kind that Pillow knows")
    fails(pictures.read_image, tmp_path / "one.heif", match="pip install pillow-heif reads this kind")
    assert lengths(tmp_path / "pets") == [16, 2, 2]
    opener = types.SimpleNamespace(register_heif_opener=lambda: Image.register_extension("JPEG", ".heic"))
    monkeypatch.setitem(sys.modules, "pillow_heif", opener)
    pictures.picture_endings.cache_clear()
    assert lengths(tmp_path / "pets") == [17, 2, 2]
    assert image_folder(tmp_path / "pets", "test").paths[0].name == "IMG_1.HEIC"


@pytest.mark.usefixtures("forgets_kinds")
def test_an_older_pillow_reads_no_avif(tmp_path, capsys):
    put_classes(tmp_path / "pets")
    (tmp_path / "pets" / "ant" / "new.avif").write_bytes(b"ftypavif")
    Image.EXTENSION.pop(".avif", None)
    assert lengths(tmp_path / "pets") == [16, 2, 2]
    assert "1 .avif (pip install --upgrade pillow reads them)" in capsys.readouterr().out


# --- Folders that are refused: doing what the line says works


def kaggle(root, count=10):
    """Dogs versus Cats as unpacked."""
    for number in range(count):
        for label, name in enumerate(("cat", "dog")):
            put(root / "train" / f"{name}.{number}.jpg", 2 * number + label)
        put(root / "test1" / f"{number + 1}.jpg", 1000 + number)


def move(paths, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.rename(folder / path.name)


def share_out(root):
    """Half of a pile to each class, as its owner may know."""
    files = sorted(path for path in root.iterdir() if path.is_file())
    move(files[::2], root / "ant")
    move(files[1::2], root / "bee")


def turn_round(root):
    for name in ("ant", "bee"):
        for part in ("train", "test"):
            move([root / name / part], root / part)
            (root / part / part).rename(root / part / name)
        (root / name).rmdir()


REFUSED = {
    "kaggle's dogs and cats": (kaggle, "train holds 20 pictures and no folders.*run `course sort .*pets`.*cat, dog", lambda root: share_out(root / "train")),
    "a pile without names": (
        lambda root: [put(root / "train" / f"{number}.png", number) for number in range(20)],
        "holds 20 pictures and no folders for their classes: make one in it for each class, and move",
        lambda root: share_out(root / "train"),
    ),
    "a pile of one class": (
        lambda root: [put(root / f"img_{number}.png", number) for number in range(20)],
        "pets holds 20 pictures and no folders for their classes: make one in it",
        share_out,
    ),
    "a class called train": (
        lambda root: [put_classes(root, ("train", "car"))],
        "train holds 10 pictures.*or, if it is a class as car beside it, give it another name",
        lambda root: (root / "train").rename(root / "railway"),
    ),
    "a class called test1": (
        lambda root: put_classes(root, ("ant", "test1", "bee")),
        "test1 would be classes, but their names are of splits: rename.*move them elsewhere if they have no labels",
        lambda root: shutil.rmtree(root / "test1"),
    ),
    "classes beside test": (
        lambda root: (put_classes(root), put_classes(root / "test")),
        "holds test/ and beside it ant, bee: .* put their folders into .*pets/train",
        lambda root: move([root / "ant", root / "bee"], root / "train"),
    ),
    "other words for splits": (
        lambda root: (put_classes(root / "seg_train" / "seg_train"), put_classes(root / "seg_test" / "seg_test")),
        "seg_test, seg_train would be classes, but their names are of splits: rename them train and test",
        lambda root: [(root / f"seg_{part}").rename(root / part) for part in ("train", "test")],
    ),
    "splits inside the classes": (
        lambda root: [put_classes(root, inner=part) for part in ("train", "test")],
        "ant holds test, train: turn the two levels round, so that there is test/ant",
        turn_round,
    ),
    "two names of a split": (
        lambda root: [put_classes(root / part) for part in ("train", "val", "Valid", "test")],
        "holds Valid and val, both names of the val split: rename or move one",
        lambda root: (root / "Valid").rename(root / "more"),
    ),
    "a class is missing in test": (
        lambda root: (put_classes(root / "train"), put_classes(root / "test", ("ant",))),
        "test must have the classes of the training images, but lacks 'bee': rename, add or",
        lambda root: (root / "test").rename(root.parent / "elsewhere"),
    ),
    "an empty class": (
        lambda root: (put_classes(root), (root / "cow").mkdir()),
        "cow has no images: add some, or move the folder elsewhere",
        lambda root: (root / "cow").rename(root.parent / "cow"),
    ),
    "a class of kinds that are not read": (
        lambda root: (put_classes(root), (root / "cow").mkdir(), (root / "cow" / "1.HEIC").write_bytes(b"heic")),
        r"cow has no images, only 1 .heic \(pip install pillow-heif reads them\): add some",
        lambda root: [put(root / "cow" / f"{number}.jpg") for number in range(3)],
    ),
    "a test without labels": (
        lambda root: (put_classes(root / "train"), [put(root / "test" / f"{number}.jpg") for number in range(5)]),
        "test holds 5 pictures and no folders for their classes, so nothing can be measured on it: move it elsewhere",
        lambda root: (root / "test").rename(root.parent / "unlabelled"),
    ),
    "an empty test": (
        lambda root: (put_classes(root / "train"), (root / "test").mkdir()),
        "test holds no folders with pictures: it needs .*, or move it elsewhere, and a tenth of each class is held back",
        lambda root: (root / "test").rename(root.parent / "elsewhere"),
    ),
    "nothing unpacked": (
        lambda root: (root.mkdir(), (root / "train.zip").write_bytes(b"PK")),
        "holds no pictures, only 1 .zip: unpack the .zip first",
        put_classes,
    ),
    "nothing": (lambda root: root.mkdir(), "holds no folders with pictures: it needs one for each class", put_classes),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_and_how_it_is_mended(tmp_path, case):
    make, match, mend = REFUSED[case]
    root = tmp_path / "pets"
    make(root)
    for split in SPLITS:
        assert str(root) in fails(image_folder, root, split, match=match)
    mend(root)
    assert all(lengths(root))


def test_beside_the_splits(tmp_path, capsys):
    put_classes(tmp_path / "pets" / "train")
    put_classes(tmp_path / "pets" / "raw")
    put(tmp_path / "pets" / "test1" / "1.jpg")
    put(tmp_path / "pets" / "cover.jpg")
    (tmp_path / "pets" / "notes").mkdir()
    assert lengths(tmp_path / "pets") == [16, 2, 2]
    assert "left out beside train/: pictures, 20 in raw, 1 in test1, 1 in pets itself." in capsys.readouterr().out


def test_classes_that_only_sound_like_splits(tmp_path):
    names = ("crash_test", "dev_kit", "freight-train", "test_tube")
    put_classes(tmp_path / "things", names)
    assert image_folder(tmp_path / "things", "train").classes == names
    put_classes(tmp_path / "more" / "train", ("car", "train"))  # within a split, it is a class
    assert image_folder(tmp_path / "more", "train").classes == ("car", "train")


def test_the_same_once_more_inside(tmp_path, capsys):
    put_classes(tmp_path / "plants")
    put_classes(tmp_path / "plants" / "plants")
    assert image_folder(tmp_path / "plants", "train").classes == ("ant", "bee")
    assert "20 in plants, a copy of the folders beside it" in capsys.readouterr().out


def test_all_unreadable_files_at_once(tmp_path, capsys):
    put_classes(tmp_path / "pets", count=20)
    bad = [tmp_path / "pets" / "ant" / f"{number:02}.png" for number in (1, 3, 5, 7, 9)]
    for path in bad:
        path.write_bytes(b"")
    message = fails(
        image_folder, tmp_path / "pets", "train", match="5 of 40 files: .*; and 2 more. Replace or delete them."
    )
    assert all(str(path) in message for path in bad[:3]) and "skip=True" in message
    found = load_data(f"folder:{tmp_path / 'pets'}", "train", size=4, skip=True)
    assert len(found) == 27 and not set(bad) & set(found.paths)
    assert "pets/train: skipped 5 of 32 files that cannot be read" in capsys.readouterr().out
    for path in bad:
        path.unlink()
    assert len(image_folder(tmp_path / "pets", "train")) == 13 + 16


def test_sizes_and_other_settings(tmp_path):
    put_classes(tmp_path / "pets")
    for size in (0, -1, 2.5, "x"):
        fails(image_folder, tmp_path / "pets", "train", size, match="size .* must be a whole number, at least 1")
    fails(load_data, f"folder:{tmp_path / 'pets'}", "train", n=3, match="takes no n=3; it takes size, skip, mean, std")
    fails(load_data, "digits", "train", skip=True, match="'digits' takes no skip=True; it takes")
    assert len(load_data("digits", "val", size=None, skip=False)) == 300
    for name in ("folder:", "folder"):
        fails(load_data, name, "train", match="must be one of .* folder:PATH")
    for odd in ("folder:~nobody-of-that-name/x", "folder:a\0b", "folder:" + 300 * "x"):
        fails(load_data, odd, "train", match="is not a folder")


# --- Which file is which image


def test_paths_and_fingerprint(tmp_path):
    root = tmp_path / "pets"
    made = make_folder(root, count=20)
    made |= {root / "train" / "ant" / "bad.png": None}
    (root / "train" / "ant" / "bad.png").write_bytes(b"")
    for split in SPLITS:
        found = image_folder(root, split, skip=True)
        assert len(found.paths) == len(found) and len(found.fingerprint) == 16
        assert all(np.array_equal(image, made[path]) for image, path in zip(found.images, found.paths, strict=True))
        assert all(
            path.parent.name == found.classes[label] for path, label in zip(found.paths, found.labels, strict=True)
        )


def test_the_fingerprint_is_of_names_and_sizes(tmp_path):
    root = tmp_path / "pets"
    put_classes(root, count=20)
    first, other = (image_folder(root, split).fingerprint for split in ("train", "val"))
    assert first != other
    for path in root.rglob("*.png"):
        os.utime(path, (1, 1))
    shutil.copytree(root, tmp_path / "elsewhere")
    assert image_folder(root, "train").fingerprint == image_folder(tmp_path / "elsewhere", "train").fingerprint == first
    assert image_folder(root, "train", 4).fingerprint == first
    path = root / "bee" / "03.png"
    for change in (lambda: path.write_bytes(path.read_bytes() + b"x"), lambda: path.rename(root / "bee" / "031.png")):
        change()
        new = image_folder(root, "train").fingerprint
        assert new != first
        first = new
    (root / "bee").rename(root / "wasp")
    assert image_folder(root, "train").fingerprint != first


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat.0.jpg", "cat"), ("cat_001.jpg", "cat"), ("cat-1.jpg", "cat"), ("cat (1).jpg", "cat"), ("cat1.jpg", "cat"),
        ("american_bulldog_12.jpg", "american_bulldog"), ("great dane 7.png", "great dane"), ("cat_black.jpg", "cat"),
        ("cat-black.jpg", "cat"), ("cat.jpg", "cat"), ("1.jpg", ""), ("001_cat.jpg", ""), ("(1).jpg", ""), ("_-1.jpg", ""),
        ("Kätzchen_2.jpg", "Kätzchen"), ("猫_2.jpg", "猫"), ("cat_.12.jpg", "cat"),
    ],
)  # fmt: skip
def test_the_class_in_a_name(name, expected):
    assert class_of_name(Path(name).stem) == expected


def test_capitals_make_no_class_of_their_own():
    paths = [Path(name) for name in ("Cat.1.jpg", "cat.2.jpg", "cat.3.jpg", "dog.1.jpg", "7.jpg")]
    assert group_by_name(paths) == {"cat": paths[:3], "dog": [paths[3]]}


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
def test_names_that_are_no_text(tmp_path, capsys):
    root = tmp_path / "pets"
    put_classes(root)
    for name in (b"\xff\xfe.png", b"new\nline.png", b"note\xff.\xfe\n"):
        with open(os.path.join(os.fsencode(root), b"ant", name), "wb") as file:
            picture(3).save(file, "PNG") if not name.startswith(b"note") else None
    with open(os.path.join(os.fsencode(root), b"ant", b"bad\xff.png"), "wb"):
        pass
    fails(image_folder, root, "train", match="cannot be read")
    assert len(image_folder(root, "train", skip=True)) == 18
    said = capsys.readouterr().out
    assert "skipped 1 of 19" in said and said.count("\n") == 2 and "1 .\\udcfe\\n" in said


def test_a_folder_that_cannot_be_opened(tmp_path, capsys, monkeypatch):
    put_classes(tmp_path / "pets")
    closed, scan = tmp_path / "pets" / "ant" / "closed", os.scandir
    put(closed / "1.png")

    def refuse(path):
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert lengths(tmp_path / "pets") == [16, 2, 2]
    assert "1 folders that cannot be opened" in capsys.readouterr().out


def test_listing_counts_everything(tmp_path):
    put_classes(tmp_path / "pets", inner="deep")
    (tmp_path / "pets" / "ant" / "deep" / "x.txt").write_text("")
    found = list_folder(tmp_path / "pets")
    assert len(found.all_pictures()) == 20 and found.all_left_out() == {".txt": 1}


# --- Memory

PEAK = """
import resource, sys
import torch
from course_lib.data.folders import image_folder
from course_lib.data.image_set import SPLITS
import safetensors.torch, tqdm.auto, PIL.Image
image_folder(sys.argv[1], "train")  # what is imported on the way is no part of the images
def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
sets = [image_folder(sys.argv[2], split) for split in SPLITS]
assert sum(int(data.images.max()) for data in sets) and sum(len(data) for data in sets) == int(sys.argv[3])
print((peak() - before) / sum(data.images.nbytes for data in sets))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is counted in other units elsewhere")
@pytest.mark.parametrize("parts", [("",), ("train", "test")], ids=["flat", "train and test"])
def test_memory_holds_the_images_once(tmp_path, own_folder, parts):
    """Every pixel is looked at; the first time, from the kept file, and where nothing can be kept."""
    put_classes(tmp_path / "small")
    block = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    count = 1400
    for number in range(count):
        path = tmp_path / "big" / parts[number % len(parts)] / f"class {number % 7}" / f"{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(block, number, 0)).save(path)
    for time in ("first", "again", "not kept"):
        if time == "not kept":
            shutil.rmtree(own_folder)
            own_folder.write_text("no folder can be made here")
        command = [sys.executable, "-c", PEAK, tmp_path / "small", tmp_path / "big", str(count)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        assert float(ran.stdout.splitlines()[-1]) < 1.3, time
