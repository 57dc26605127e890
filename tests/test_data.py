"""Data sets: the right images in the right split, and whatever is wrong with a file, the file is named."""

import gzip
import hashlib
import io
import os
import pickle
import shutil
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.data import downloads as data_files
from course_lib.data import folders as image_folder
from course_lib.data import sources as data
from course_lib.data import toy_shapes
from course_lib.data.downloads import Archive, parse_idx, unpickle
from course_lib.data.folders import cifar10_jpeg
from course_lib.data.image_set import SPLITS, ImageSet, tenths_from_the_end
from course_lib.data.sources import DATA_SETS, cifar10, cifar100, digits, load_data, mnist
from course_lib.files import places
from course_lib.files.places import data_folder

REAL = places.CHECKOUT / "data" / "cache"
RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """No test sees the real data folder, or the network."""
    monkeypatch.setenv("COURSE_LIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COURSE_LIB_OFFLINE", "1")
    return tmp_path / "data"


def fails(function, *arguments, match, **options):
    """The call raises a `ValueError` of one line; returns it."""
    with pytest.raises(ValueError, match=match) as caught:
        function(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- the interface


def test_the_old_way_to_unpack_still_works():
    images, labels = digits("test")
    assert images.shape == (297, 1, 8, 8) and labels.shape == (297,)


def test_digits_follow_one_another():
    sets = [digits(split) for split in SPLITS]
    assert [len(found) for found in sets] == [1200, 300, 297]
    assert [found.name for found in sets] == ["digits/train", "digits/val", "digits/test"]
    from sklearn.datasets import load_digits

    whole = torch.cat([found.images for found in sets])[:, 0] * 16
    assert torch.equal(whole, torch.tensor(load_digits().images, dtype=torch.float32))
    assert sets[0].classes == tuple("0123456789") and sets[0].images.max() == 1
    inputs, _ = next(sets[0].batches(10))
    assert torch.equal(inputs, sets[0].images[:10] * 2 - 1)


def test_batches_cover_everything_in_order():
    found = digits("val")
    inputs, labels = zip(*found.batches(128), strict=True)
    assert [len(part) for part in inputs] == [128, 128, 44]
    assert torch.equal(torch.cat(labels), found.labels)
    assert torch.equal(torch.cat(inputs), found.normalised(found.images))


def test_integers_are_normalised_from_0_to_255():
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 2, 1, 1).expand(1, 2, 3, 5)
    found = ImageSet("two", pixels, torch.tensor([0]), ("a",), (0.5, 0.25), (0.5, 0.75))
    assert found.normalised(pixels)[0, :, 0, 0].tolist() == [-1.0, 1.0]
    assert found.resized(4).images.shape == (1, 2, 4, 4) and found.resized(4).images.dtype == torch.uint8


@pytest.mark.parametrize(
    ("images", "labels", "match"),
    [
        ((3, 1, 4, 5), [0, 1, 2], "label 2 of image 2 is not among 0 to 1"),
        ((3, 1, 4, 5), [0, -1, 1], "label -1 of image 1"),
        ((3, 1, 4, 5), [0, 1], "with n = 2 labels"),
        ((3, 4, 5), [0, 1, 1], r"must be \(n, C, h, w\)"),
        ((0, 1, 4, 5), [], "has no images"),
    ],
)
def test_an_image_set_is_checked(images, labels, match):
    labels = torch.tensor(labels, dtype=torch.int64)
    fails(ImageSet, "x/train", torch.zeros(images), labels, ("a", "b"), (0.5,), (0.5,), match=f"x/train.*{match}")


def test_names():
    assert torch.equal(load_data("digits", "val").images, digits("val").images)
    assert len(load_data("toy_shapes", "test", n=16, size=16)) == 16
    message = fails(load_data, "minst", "train", match="'minst' must be one of")
    assert all(name in message for name in DATA_SETS) and "folder:" in message
    for name in DATA_SETS:
        fails(load_data, name, "valid", match="'valid' must be one of train, val, test")
    fails(load_data, "folder:/nowhere", "valid", match="'valid' must be one of train, val, test")
    fails(load_data, "folder:/nowhere", "train", match="/nowhere is not a folder")


def test_some_of_the_classes():
    data = digits("val")
    some = load_data("digits:7,2", "val")
    assert some.classes == ("7", "2") and some.name == data.name
    rows = (data.labels == 7) | (data.labels == 2)
    assert torch.equal(some.images, data.images[rows])
    assert torch.equal(some.labels, (data.labels[rows] == 2).long())
    fails(data.only, ["1", "x"], match="classes 1, x must be different ones of 0, 1")
    fails(data.only, ["1", "1"], match="classes 1, 1 must be different")
    fails(load_data, "digits:1,", "val", match="must be different ones of")


def test_small_images_become_larger_when_they_are_normalised():
    data = replace(digits("val").take(slice(0, 6)), input_size=20)
    larger = data.normalised(data.images)
    plain = replace(data, input_size=None).normalised(data.images)
    assert larger.shape == (6, 1, 20, 20)
    expected = torch.nn.functional.interpolate(plain, size=(20, 20), mode="bilinear", antialias=True)
    assert torch.equal(larger, expected)
    assert torch.equal(replace(data, input_size=8).normalised(data.images), plain)


def test_everything_is_documented():
    for name in data.__all__:
        thing = getattr(data, name)
        assert not callable(thing) or "Chapter" in thing.__doc__ or "chapter" in thing.__doc__, name
        assert not callable(thing) or "Raises:" in thing.__doc__ or name == "photographs", name


def test_the_last_tenth_of_each_class():
    labels = torch.tensor([1] * 25 + [0] * 3 + [1] * 5 + [2] + [0] * 7)
    tenths = tenths_from_the_end(labels)
    assert tenths[labels == 0].tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert tenths[labels == 1].tolist() == [place // 3 for place in range(29, -1, -1)]
    assert tenths[labels == 2].tolist() == [0]


# --- where files lie


def test_the_data_folder(own_folder, tmp_path, monkeypatch):
    assert data_folder() == own_folder
    assert data_folder("~/x") == Path.home() / "x"
    monkeypatch.delenv("COURSE_LIB_DATA")
    assert data_folder() == REAL
    monkeypatch.setattr(places, "CHECKOUT", tmp_path)  # not a checkout
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_folder() == tmp_path / "cache" / "course_lib"


def test_the_tables_are_torchvisions():
    from torchvision import datasets

    ours = {archive.path.rpartition("/")[2] for part in data_files.MNIST.values() for archive in part}
    assert ours == {name for name, _ in datasets.MNIST.resources}
    for cifar, theirs in ((data_files.CIFAR10, datasets.CIFAR10), (data_files.CIFAR100, datasets.CIFAR100)):
        files = [*theirs.train_list, *theirs.test_list, (theirs.meta["filename"], theirs.meta["md5"])]
        assert cifar.archive.members == {f"{theirs.base_folder}/{name}": md5 for name, md5 in files}
        assert [name.rpartition("/")[2] for name in (*cifar.train, *cifar.test)] == [
            name for name, _ in theirs.train_list + theirs.test_list
        ]
        assert (cifar.archive.path, cifar.archive.urls[0]) == (theirs.filename, theirs.url)
        assert cifar.names == theirs.meta["key"]
    archives = [*data_files.MNIST["train"], *data_files.MNIST["test"]]
    for archive in [*archives, data_files.CIFAR10.archive, data_files.CIFAR100.archive]:
        assert len(archive.urls) > 1 and all(url.startswith("https://") for url in archive.urls)


# --- MNIST


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def digest(content, kind="sha256"):
    return hashlib.new(kind, content).hexdigest()


@pytest.fixture
def tiny_mnist(monkeypatch):
    """{path: content} of an MNIST of 2 x 3 pixels, 5,007 and 11 images; the tables know it."""
    files, table = {}, {}
    for part, name, count in (("train", "train", 5007), ("test", "t10k", 11)):
        images = RANDOM.integers(0, 256, (count, 2, 3), np.uint8)
        labels = RANDOM.integers(0, 10, count).astype(np.uint8)
        table[part] = ()
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            path, content = f"MNIST/raw/{name}-{kind}-ubyte", idx(array)
            packed = gzip.compress(content)
            files |= {path: content, f"{path}.gz": packed}
            urls = (f"https://one.invalid/{name}-{kind}.gz", f"https://two.invalid/{name}-{kind}.gz")
            table[part] += (Archive(f"{path}.gz", len(packed), digest(packed), urls, {path: digest(content)}),)
    monkeypatch.setattr(data_files, "MNIST", table)
    return files


def lay(folder, files, only=""):
    for path, content in files.items():
        if path.endswith(only):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


@pytest.mark.parametrize("only", ["ubyte", "gz", ""])
def test_mnist_from_either_kind_of_file(tiny_mnist, own_folder, only):
    lay(own_folder, tiny_mnist, only)
    sets = {split: mnist(split) for split in SPLITS}
    assert [len(sets[split]) for split in SPLITS] == [7, 5000, 11]
    whole = torch.cat([sets["train"].images, sets["val"].images])
    content = tiny_mnist["MNIST/raw/train-images-idx3-ubyte"]
    assert whole.dtype == torch.uint8 and whole.shape == (5007, 1, 2, 3)
    assert whole.numpy().tobytes() == content[16:]
    labels = torch.cat([sets["train"].labels, sets["val"].labels])
    assert labels.dtype == torch.int64
    assert labels.tolist() == list(tiny_mnist["MNIST/raw/train-labels-idx1-ubyte"][8:])
    assert {path for path in tiny_mnist if path.endswith("ubyte")} <= {  # unpacked, for torchvision and the next time
        file.relative_to(own_folder).as_posix() for file in own_folder.rglob("*")
    }


def test_torchvision_reads_what_we_unpacked(tiny_mnist, own_folder):
    from torchvision.datasets import MNIST

    lay(own_folder, tiny_mnist, "gz")
    ours = mnist("test")
    mnist("train")
    theirs = MNIST(own_folder, train=False)
    assert torch.equal(ours.images[:, 0], theirs.data) and torch.equal(ours.labels, theirs.targets)


def test_only_what_is_asked_for_is_needed(tiny_mnist, own_folder):
    lay(own_folder, {path: content for path, content in tiny_mnist.items() if "t10k" in path})
    assert len(mnist("test")) == 11
    fails(mnist, "val", match="train-images-idx3-ubyte.gz is not in")


def test_an_archive_packed_again_counts_by_its_content(tiny_mnist, own_folder):
    again = {
        path: gzip.compress(gzip.decompress(content), 1) for path, content in tiny_mnist.items() if path[-2:] == "gz"
    }
    assert any(again[path] != tiny_mnist[path] for path in again)
    lay(own_folder, again)
    assert len(mnist("val")) == 5000


def test_a_write_that_fails_costs_nothing(tiny_mnist, own_folder, monkeypatch):
    def full(*_):
        raise OSError("no space")

    lay(own_folder, tiny_mnist, "gz")
    monkeypatch.setattr(data_files, "write_atomically", full)
    assert len(mnist("test")) == 11


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: content[:12] + bytes([content[12] ^ 1]) + content[13:],
        lambda content: b"<html>not found</html>",
    ],
    ids=["cut", "empty", "flipped bit", "page"],
)
@pytest.mark.parametrize("ending", ["images-idx3-ubyte", "labels-idx1-ubyte", "images-idx3-ubyte.gz"])
def test_a_damaged_file_is_named(tiny_mnist, own_folder, damage, ending):
    path = f"MNIST/raw/t10k-{ending}"
    only = ".gz" if ending.endswith("gz") else "ubyte"
    lay(own_folder, tiny_mnist | {path: damage(tiny_mnist[path])}, only)
    message = fails(mnist, "test", match="delete it and try again")
    assert str(own_folder / path) in message
    assert only == "ubyte" or not list(own_folder.rglob("*ubyte"))  # nothing was unpacked


def test_a_file_that_unpacks_without_end(tiny_mnist, own_folder, monkeypatch):
    lay(own_folder, tiny_mnist, "gz")
    monkeypatch.setattr(data_files, "FILE_LIMIT", 60)
    fails(mnist, "test", match="t10k-images-idx3-ubyte.gz cannot be unpacked.*more than 60 bytes")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"\0\0\x08\x00",
        b"\0\0\x08\xff",
        b"\0\0\x0d\x01\0\0\0\1\0",
        idx(np.zeros((3, 4), np.uint8))[:-1],
        idx(np.zeros((3, 4), np.uint8)) + b"\0",
        b"\0\0\x08\x02" + b"\xff" * 8 + b"\0" * 12,
    ],
)
def test_what_is_no_idx_file(content):
    fails(parse_idx, content, match="not an idx file of bytes")


# --- downloads


class Web:
    """Stands in for `fetch`: what lies at which address."""

    def __init__(self, pages):
        self.pages, self.asked = pages, []

    def __call__(self, url, path, *, size, sha256):
        self.asked.append(url)
        content = self.pages.get(url)
        if content is None:
            raise ValueError(f"could not download {url}: fetch it") from ConnectionError("nobody\nis there")
        assert (len(content), digest(content)) == (size, sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


def test_the_next_mirror_is_tried(tiny_mnist, own_folder, monkeypatch):
    monkeypatch.delenv("COURSE_LIB_OFFLINE")
    raw = "MNIST/raw/t10k-"
    pages = {"https://two.invalid/t10k-images-idx3.gz": tiny_mnist[f"{raw}images-idx3-ubyte.gz"]}
    pages |= {"https://one.invalid/t10k-labels-idx1.gz": tiny_mnist[f"{raw}labels-idx1-ubyte.gz"]}
    web = Web(pages)
    monkeypatch.setattr(data_files, "fetch", web)
    assert len(mnist("test")) == 11
    images = ["https://one.invalid/t10k-images-idx3.gz", "https://two.invalid/t10k-images-idx3.gz"]
    assert web.asked == [*images, "https://one.invalid/t10k-labels-idx1.gz"]
    mnist("test")
    assert len(web.asked) == 3
    (own_folder / f"{raw}images-idx3-ubyte").unlink()  # the archive is still there
    mnist("test")
    assert len(web.asked) == 3


def test_no_mirror_has_it(tiny_mnist, own_folder, monkeypatch):
    monkeypatch.delenv("COURSE_LIB_OFFLINE")
    monkeypatch.setattr(data_files, "fetch", Web({}))
    message = fails(mnist, "test", match="could not be downloaded")
    assert "one.invalid: nobody is there; two.invalid: nobody is there" in message
    assert f"save it as {own_folder / 'MNIST/raw/t10k-images-idx3-ubyte.gz'}" in message
    assert "https://one.invalid/t10k-images-idx3.gz or https://two.invalid" in message
    assert "digits and toy_shapes need no files" in message


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("mnist", data_files.MNIST["train"][0]),
        ("cifar10", data_files.CIFAR10.archive),
        ("cifar100", data_files.CIFAR100.archive),
    ],
    ids=["mnist", "cifar10", "cifar100"],
)
def test_without_a_network_one_line_says_what_to_do(own_folder, name, archive):
    message = fails(load_data, name, "train", match="COURSE_LIB_OFFLINE is set")
    assert str(own_folder / archive.path) in message and archive.urls[0] in message
    assert "digits and toy_shapes" in message
    assert not (own_folder / archive.path).exists()


# --- CIFAR


def old_pickle(pixels, labels):
    """A dict with an array as Python 2 and its NumPy wrote it: byte strings, `numpy.core`, numbers for booleans."""

    def text(value):
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value):
        return b"J" + struct.pack("<i", value)

    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
    dtype = (
        b"cnumpy\ndtype\n("
        + text(b"u1")
        + b"K\x00K\x01tR(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    shape = b"(" + b"".join(map(number, pixels.shape)) + b"t"
    array += b"(K\x01" + shape + dtype + b"I00\n" + text(pixels.tobytes()) + b"tb"
    numbers = b"](" + b"".join(map(number, labels)) + b"e"
    return b"\x80\x02}(" + text(b"labels") + numbers + text(b"data") + array + b"u."


def test_an_old_pickle_is_read():
    pixels = RANDOM.integers(0, 256, (4, 3072), np.uint8)
    found = unpickle(old_pickle(pixels, [3, 1, 2, 0]))
    assert found["labels"] == [3, 1, 2, 0]
    assert found["data"].dtype == np.uint8 and np.array_equal(found["data"], pixels)
    new = unpickle(pickle.dumps({"data": pixels, "labels": [1]}, protocol=2))
    assert np.array_equal(new["data"], pixels)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_runs_nothing(tmp_path):
    trap = tmp_path / "trap"
    fails(unpickle, pickle.dumps({"data": Malicious(str(trap))}), match="mkdir, which no data set needs: refused")
    assert not trap.exists()


@pytest.fixture
def tiny_cifar(monkeypatch):
    """(pixels, labels, {path: content}) of a CIFAR-10 with 40 images for each of 3 classes; the table knows it."""
    pixels = RANDOM.integers(0, 256, (120, 3072), np.uint8)
    labels = RANDOM.permutation(np.arange(120) % 3).tolist()
    files = {
        name: old_pickle(pixels[24 * number : 24 * number + 24], labels[24 * number : 24 * number + 24])
        for number, name in enumerate(data_files.CIFAR10.train)
    }
    files[data_files.CIFAR10.test[0]] = old_pickle(pixels[:9], labels[:9])
    files[data_files.CIFAR10.meta] = pickle.dumps({"label_names": ["ant", "bee", "cow"]}, protocol=2)
    members = {name: digest(content, "md5") for name, content in files.items()}
    archive = replace(data_files.CIFAR10.archive, members=members)
    monkeypatch.setattr(data, "CIFAR10", replace(data_files.CIFAR10, archive=archive))
    return pixels.reshape(-1, 3, 32, 32), np.array(labels), files


def pack(path, files, also=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for entry in also:
            tar.addfile(*entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("packed", [True, False])
def test_cifar(tiny_cifar, own_folder, packed):
    pixels, labels, files = tiny_cifar
    if packed:
        pack(own_folder / "cifar-10-python.tar.gz", files)
    else:
        lay(own_folder, files)
    train, val, test = (cifar10(split) for split in SPLITS)
    assert val.labels.bincount().tolist() == [4, 4, 4] and len(train) == 108
    assert train.classes == ("ant", "bee", "cow") and train.name == "cifar10/train"
    last = np.zeros(120, bool)
    for label in range(3):
        last[np.nonzero(labels == label)[0][-4:]] = True
    assert np.array_equal(val.images, pixels[last]) and np.array_equal(val.labels, labels[last])
    assert np.array_equal(train.images, pixels[~last]) and np.array_equal(train.labels, labels[~last])
    assert np.array_equal(test.images, pixels[:9]) and test.images.dtype == torch.uint8
    assert {name: (own_folder / name).read_bytes() for name in files} == files


def test_a_damaged_cifar_file_is_named(tiny_cifar, own_folder):
    _, _, files = tiny_cifar
    name = data_files.CIFAR10.train[2]
    damaged = files | {name: files[name][:-9] + b"x" + files[name][-8:]}
    lay(own_folder, damaged)
    assert str(own_folder / name) in fails(cifar10, "train", match="has MD5")
    shutil.rmtree(own_folder)
    pack(own_folder / "cifar-10-python.tar.gz", damaged)
    assert f"{name}, in {own_folder}" in fails(cifar10, "train", match="has MD5")
    assert not (own_folder / "cifar-10-batches-py").exists()


def test_a_cifar_archive_cut_short(tiny_cifar, own_folder):
    _, _, files = tiny_cifar
    path = own_folder / "cifar-10-python.tar.gz"
    pack(path, files)
    path.write_bytes(path.read_bytes()[:-1000])
    fails(cifar10, "train", match="cifar-10-python.tar.gz (cannot be unpacked|does not hold).*delete it")
    pack(path, {name: content for name, content in files.items() if "test" not in name})
    fails(cifar10, "train", match="does not hold cifar-10-batches-py/test_batch")
    path.write_bytes(b"<html>")
    fails(cifar10, "train", match="cannot be unpacked")
    assert [file.name for file in own_folder.iterdir()] == ["cifar-10-python.tar.gz"]


def odd(name, kind, target="", size=0):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size = kind, target, size
    return entry, io.BytesIO(b"x" * size)


def test_nothing_in_an_archive_gets_out_of_the_folder(tiny_cifar, own_folder, tmp_path):
    _, _, files = tiny_cifar
    (tmp_path / "secret").write_bytes(b"secret")
    also = [
        odd("../outside", tarfile.REGTYPE, size=3),
        odd(str(tmp_path / "absolute"), tarfile.REGTYPE, size=3),
        odd("cifar-10-batches-py/extra", tarfile.REGTYPE, size=3),
        odd("cifar-10-batches-py", tarfile.SYMTYPE, str(tmp_path)),
        odd("cifar-10-batches-py/pipe", tarfile.FIFOTYPE),
        odd("cifar-10-batches-py/device", tarfile.CHRTYPE),
    ]
    pack(own_folder / "cifar-10-python.tar.gz", files, also)
    assert len(cifar10("test")) == 9
    found = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if not file.is_dir()}
    assert found == {"secret", "data/cifar-10-python.tar.gz"} | {f"data/{name}" for name in files}
    assert not any(file.is_symlink() for file in tmp_path.rglob("*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_is_not_followed(tiny_cifar, own_folder, kind):
    _, _, files = tiny_cifar
    name = data_files.CIFAR10.test[0]
    rest = {path: content for path, content in files.items() if path != name} | {"elsewhere": files[name]}
    pack(own_folder / "cifar-10-python.tar.gz", rest, [odd(name, kind, "elsewhere")])
    fails(cifar10, "test", match=f"does not hold {name}")


@pytest.mark.parametrize("limit", ["FILE_LIMIT", "ARCHIVE_LIMIT"])
def test_an_archive_too_large(tiny_cifar, own_folder, monkeypatch, limit):
    pack(own_folder / "cifar-10-python.tar.gz", tiny_cifar[2])
    monkeypatch.setattr(data_files, limit, 1000)
    fails(cifar10, "test", match="cannot be unpacked.*is too large")


def test_cifar100_has_fine_labels(own_folder, monkeypatch):
    pixels = RANDOM.integers(0, 256, (20, 3072), np.uint8)
    batch = {"data": pixels, "fine_labels": [4, 7] * 10, "coarse_labels": [0] * 20}
    meta = {"fine_label_names": [f"kind {number}" for number in range(100)], "coarse_label_names": ["x"]}
    contents = {"train": batch, "test": batch, "meta": meta}
    files = {f"cifar-100-python/{name}": pickle.dumps(content, protocol=2) for name, content in contents.items()}
    members = {name: digest(content, "md5") for name, content in files.items()}
    archive = replace(data_files.CIFAR100.archive, members=members)
    monkeypatch.setattr(data, "CIFAR100", replace(data_files.CIFAR100, archive=archive))
    lay(own_folder, files)
    found = cifar100("val")
    assert found.labels.tolist() == [4, 7] and len(found.classes) == 100 and found.name == "cifar100/val"
    assert np.array_equal(found.images.reshape(2, -1), pixels[-2:])


# --- folders of images


def picture(seed, width=6, height=5):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


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
    train, val, test = (image_folder.image_folder(root, split) for split in SPLITS)
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
        found = image_folder.image_folder(root, part)
        names = [root / part / name / f"{number:03}.png" for name in ("ant", "bee") for number in range(2)]
        assert torch.equal(found.images, pixels_of(made, *names))


def test_a_flat_folder_is_divided(tmp_path):
    root = tmp_path / "pets"
    made = make_folder(root, ("",), classes=("train", "car"), count=30)  # a class called train is no part
    train, val, test = (image_folder.image_folder(root, split) for split in SPLITS)
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
    assert str(root) in fails(image_folder.image_folder, root, split, match=match)


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
    message = fails(image_folder.image_folder, tmp_path / "pets", "train", size, match="cannot be read as an image")
    assert str(path) in message and "skip=True" in message
    assert not own_folder.exists()  # nothing half-loaded is kept
    for _ in range(2):  # from the files, then from what was kept
        found = image_folder.image_folder(tmp_path / "pets", "train", size, skip=True)
        assert found.labels.tolist() == [0] * 18 + [1] * 18
        assert f"Skipped 1 of 41 files in {tmp_path / 'pets' / 'train'}" in (said := capsys.readouterr().out)
        assert str(path) in said
    assert fails(image_folder.image_folder, tmp_path / "pets", "train", size, match=name)


def test_the_first_file_broken_or_all(tmp_path):
    root = tmp_path / "pets"
    make_folder(root, count=4)
    for number in range(4):
        (root / "train" / "ant" / f"{number:03}.png").write_bytes(b"")
    fails(image_folder.image_folder, root, "train", match="ant/000.png")
    fails(image_folder.image_folder, root, "train", skip=True, match="ant has too few")
    for number in range(4):
        (root / "train" / "bee" / f"{number:03}.png").write_bytes(b"")
    fails(image_folder.image_folder, root, "train", skip=True, match="none of the 8 files")


def test_sizes_that_differ(tmp_path):
    root = tmp_path / "pets"
    make_folder(root, count=4)
    odd_one = root / "train" / "bee" / "002.png"
    picture(5, 9, 7).save(odd_one)
    message = fails(image_folder.image_folder, root, "train", match="9 x 7 pixels.*6 x 5.*size=224")
    assert str(odd_one) in message
    fails(image_folder.image_folder, root, "train", skip=True, match="9 x 7")  # a readable file is not left out
    assert image_folder.image_folder(root, "train", 4).images.shape == (6, 3, 4, 4)


def test_the_middle_square_is_kept(tmp_path):
    from torchvision.transforms.functional import center_crop, resize

    stripes = np.zeros((20, 60, 3), np.uint8)
    stripes[:, :20, 0], stripes[:, 20:40, 1], stripes[:, 40:, 2] = 255, 255, 255
    Image.fromarray(stripes).save(tmp_path / "wide.png")
    Image.fromarray(stripes.transpose(1, 0, 2).copy()).save(tmp_path / "tall.png")
    for name in ("wide", "tall"):
        found = image_folder.read_image(tmp_path / f"{name}.png", 10)
        image = Image.open(tmp_path / f"{name}.png")
        assert np.array_equal(found.transpose(1, 2, 0), center_crop(resize(image, 10), [10]))
        assert found[1].min() > 200 and found[[0, 2]].max() < 50


def test_resizing_is_antialiased_even_from_a_large_jpeg(tmp_path):
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.jpg", quality=95)
    found = image_folder.read_image(tmp_path / "board.jpg", 16).astype(int)
    assert abs(found - 127).max() < 6
    smooth = (np.indices((256, 256)).sum(0) // 2).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "smooth.jpg", quality=95)
    Image.fromarray(smooth).save(tmp_path / "smooth.png")
    pair = [image_folder.read_image(tmp_path / f"smooth.{kind}", 16).astype(int) for kind in ("jpg", "png")]
    assert abs(pair[0] - pair[1]).max() <= 2


GREY = np.arange(40, dtype=np.uint8).reshape(5, 8) * 6


def of_mode(mode):
    """(an image of the mode, what it is in RGB (5, 8, 3))."""
    grey = Image.fromarray(GREY)
    as_rgb = np.repeat(GREY[..., None], 3, axis=2)
    if mode == "16 bit":
        return Image.fromarray(GREY.astype(np.uint16) * 256 + 77), as_rgb
    if mode == "1":
        return grey.convert("1", dither=Image.Dither.NONE), np.where(as_rgb > 127, 255, 0)
    if mode == "RGBA":
        alpha = np.where(np.arange(8) < 4, 0, 255) * np.ones((5, 1))
        image = Image.fromarray(np.concatenate([as_rgb, alpha[..., None]], axis=2).astype(np.uint8))
        return image, np.where(alpha[..., None] == 0, 255, as_rgb)
    if mode == "LA":
        return Image.merge("LA", [grey, Image.new("L", grey.size, 0)]), np.full_like(as_rgb, 255)
    if mode == "P":
        image = grey.convert("P")
        image.putpalette([value for number in range(256) for value in (255 - number, 7, number)])
        return image, np.stack([255 - GREY, np.full_like(GREY, 7), GREY], axis=2)
    if mode == "CMYK":
        return Image.merge("CMYK", [Image.fromarray(255 - GREY)] * 3 + [Image.new("L", grey.size, 0)]), as_rgb
    return grey.convert(mode), as_rgb


@pytest.mark.parametrize(
    ("mode", "kind", "close"),
    [
        ("L", "png", 0),
        ("L", "jpg", 3),
        ("1", "png", 0),
        ("P", "png", 0),
        ("P", "gif", 0),
        ("RGB", "bmp", 0),
        ("RGB", "webp", 12),
        ("RGBA", "png", 0),
        ("LA", "png", 0),
        ("16 bit", "png", 0),
        ("16 bit", "tif", 0),
        ("CMYK", "jpg", 5),
        ("CMYK", "tif", 0),
    ],
)
def test_every_kind_of_image_becomes_rgb(tmp_path, mode, kind, close):
    image, expected = of_mode(mode)
    path = tmp_path / f"image.{kind}"
    image.save(path, **({"quality": 100} if kind in ("jpg", "webp") else {}))
    found = image_folder.read_image(path)
    assert found.shape == (3, 5, 8) and found.dtype == np.uint8
    assert abs(found.transpose(1, 2, 0).astype(int) - expected).max() <= close


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "image.tif")
    fails(image_folder.read_image, tmp_path / "image.tif", match="image.tif.*floating-point")


def test_a_photograph_is_turned_as_the_camera_says(tmp_path):
    image, exif = picture(3), Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    image.save(tmp_path / "turned.png", exif=exif)
    expected = np.asarray(image.transpose(Image.Transpose.ROTATE_270)).transpose(2, 0, 1)
    assert np.array_equal(image_folder.read_image(tmp_path / "turned.png"), expected)


def kept_files(folder):
    return sorted((folder / "folders").glob("*.safetensors"))


def test_the_second_time_nothing_is_decoded(tmp_path, own_folder, monkeypatch):
    make_folder(tmp_path / "pets", count=10)
    first = image_folder.image_folder(tmp_path / "pets", "train")

    def never(*_):
        raise AssertionError("decoded again")

    with monkeypatch.context() as patched:
        patched.setattr(image_folder, "read_image", never)
        again = image_folder.image_folder(tmp_path / "pets", "train")
        val = image_folder.image_folder(tmp_path / "pets", "val")
        with pytest.raises(AssertionError):
            image_folder.image_folder(tmp_path / "pets", "train", 4)  # another size is another matter
    assert torch.equal(first.images, again.images) and torch.equal(first.labels, again.labels) and len(val) == 2
    assert len(kept_files(own_folder)) == 1


@pytest.mark.parametrize("change", ["replaced", "touched", "added", "removed", "renamed"])
def test_a_change_in_the_folder_is_seen(tmp_path, own_folder, change):
    root = tmp_path / "pets"
    make_folder(root, count=10)
    image_folder.image_folder(root, "train")
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
    true_read = image_folder.read_image
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(image_folder, "read_image", lambda *file: decoded.append(file) or true_read(*file))
        found = image_folder.image_folder(root, "train")
    assert decoded
    names = sorted((root / "train" / "ant").iterdir())
    assert np.array_equal(found.images[4], true_read(names[4]))
    assert len(kept_files(own_folder)) == 1


def test_a_damaged_kept_file_is_made_again(tmp_path, own_folder):
    make_folder(tmp_path / "pets", count=10)
    expected = image_folder.image_folder(tmp_path / "pets", "train").images
    (kept,) = kept_files(own_folder)
    whole = kept.read_bytes()
    for content in (b"", whole[:-9], whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:], b"x" * len(whole)):
        kept.write_bytes(content)
        assert torch.equal(image_folder.image_folder(tmp_path / "pets", "train").images, expected)
        assert len(kept.read_bytes()) == len(whole) and kept_files(own_folder) == [kept]


def test_what_cannot_be_kept_is_read_each_time(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space")

    make_folder(tmp_path / "pets", count=10)
    monkeypatch.setattr(image_folder, "write_atomically", full)
    assert len(image_folder.image_folder(tmp_path / "pets", "train")) == 18


# --- CIFAR-10 (JPEG copy)


def test_the_jpeg_copy(own_folder):
    make_folder(own_folder, classes=image_folder.CIFAR10_CLASSES, count=10, width=32, height=32)
    train, val, test = (cifar10_jpeg(split) for split in SPLITS)
    assert [len(found) for found in (train, val, test)] == [90, 10, 100]
    assert (train.name, val.name) == ("cifar10_jpeg/train", "cifar10_jpeg/val")
    assert train.mean == (0.4914, 0.4822, 0.4465) and train.std == (0.247, 0.2435, 0.2616)
    assert torch.equal(load_data("cifar10_jpeg", "val").images, val.images)
    assert torch.equal(cifar10_jpeg("val", own_folder).images, val.images)


def test_cifar10_never_falls_back_to_the_copy(own_folder):
    make_folder(own_folder, classes=image_folder.CIFAR10_CLASSES, count=10, width=32, height=32)
    fails(cifar10, "train", match="cifar-10-python.tar.gz is not in")


def test_the_jpeg_copy_is_not_there(own_folder):
    message = fails(cifar10_jpeg, "train", match="does not hold the ten classes of CIFAR-10")
    assert str(own_folder / "train" / "airplane") in message and "digits and toy_shapes" in message
    make_folder(own_folder)
    fails(cifar10_jpeg, "train", match="does not hold the ten classes of CIFAR-10")


# --- shapes


def test_shapes_are_the_same_everywhere():
    found = data.toy_shapes("train", 24)
    digests = [digest(tensor.numpy().tobytes())[:16] for tensor in (found.images, found.masks.byte(), found.boxes)]
    assert digests == ["7adb6571bb6d681c", "98d2537242271008", "2762db99f355f867"]


def test_shapes_do_not_depend_on_how_many():
    assert torch.equal(data.toy_shapes("val", 500).images, data.toy_shapes("val", 1000).images[:500])


def test_classes_take_turns_and_the_default_sizes():
    train = data.toy_shapes("train")
    assert train.images.shape == (8000, 3, 32, 32) and train.images.dtype == torch.uint8
    assert train.labels.bincount().tolist() == [1000] * 8 and len(train.classes) == 8
    inputs = train.normalised(train.images[:2000])
    assert torch.allclose(inputs.mean((0, 2, 3)), torch.zeros(3), atol=0.02)
    assert torch.allclose(inputs.std((0, 2, 3)), torch.ones(3), atol=0.02)


def test_no_image_is_in_two_splits_or_seeds():
    sets = [data.toy_shapes(split, 300, 16) for split in SPLITS] + [data.toy_shapes("train", 300, 16, seed=1)]
    images = {image.numpy().tobytes() for found in sets for image in found.images}
    assert len(images) == 1200


@pytest.mark.parametrize("size", [16, 21, 32, 48])
def test_the_box_bounds_the_mask_and_is_inside(size):
    found = data.toy_shapes("val", 200, size)
    assert found.boxes.shape == (200, 4) and found.boxes.dtype == torch.int64
    for mask, box in zip(found.masks, found.boxes.tolist(), strict=True):
        rows, columns = mask.nonzero().unbind(1)
        assert box == [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    assert (sides >= size // 4).all() and (sides <= 2 * (11 * size // 32)).all()


def test_the_mask_is_where_the_colour_of_the_object_is():
    """Inside one colour, with noise of 8 either way; outside nearly never that colour in all three channels."""
    found = data.toy_shapes("test", 400)
    pixels = found.images.int()
    for image, mask in zip(pixels, found.masks, strict=True):
        inside = image[:, mask]  # (3, pixels)
        low, high = inside.amin(1), inside.amax(1)
        assert (high - low <= 16).all()
        outside = image[:, ~mask]
        alike = ((outside >= low[:, None]) & (outside <= high[:, None])).all(0)
        assert alike.float().mean() < 0.1


def drawn(name, radius=6):
    label, centre = torch.tensor([toy_shapes.CLASSES.index(name)]), torch.tensor(8, dtype=torch.int32).reshape(1, 1, 1)
    radius = torch.tensor(radius, dtype=torch.int32).reshape(1, 1, 1)
    return toy_shapes.draw_shapes(label, centre, centre, radius, 16)[0]


def test_each_shape_is_what_its_name_says():
    area = {name: drawn(name).sum().item() for name in toy_shapes.CLASSES}
    assert area["square"] == 144 and area["frame"] == 144 - 36
    assert area["circle"] == pytest.approx(3.1416 * 36, rel=0.05) and area["ring"] == pytest.approx(
        area["circle"] * 0.75, rel=0.05
    )
    assert area["diamond"] == pytest.approx(72, rel=0.2) and area["triangle"] == pytest.approx(72, rel=0.1)
    middle = {name: drawn(name)[8, 8].item() for name in toy_shapes.CLASSES}
    assert [name for name, filled in middle.items() if not filled] == ["ring", "frame"]
    for name in toy_shapes.CLASSES:
        mask = drawn(name)
        assert torch.equal(mask, mask.flip(1))  # left is right
        assert torch.equal(mask, mask.flip(0)) == (name != "triangle")
        assert torch.equal(mask, mask.T) == (name != "triangle")
        assert not mask[:2].any() and not mask[14:].any()
    assert drawn("plus")[8, 3] and not drawn("plus")[3, 3] and drawn("cross")[3, 3] and not drawn("cross")[8, 3]
    assert drawn("triangle")[13].sum() > drawn("triangle")[3].sum()  # it stands on its base
    assert len({drawn(name).numpy().tobytes() for name in toy_shapes.CLASSES}) == 8


def test_masks_stay_with_their_images():
    found = data.toy_shapes("val", 40, 24)
    rows = torch.tensor([7, 3, 31])
    some = found.take(rows)
    assert isinstance(some, toy_shapes.ShapeSet)
    for name in ("images", "labels", "masks", "boxes"):
        assert torch.equal(getattr(some, name), getattr(found, name)[rows])
    assert torch.equal(found.take(slice(5, 9)).boxes, found.boxes[5:9])
    moved = found.to("cpu")
    assert torch.equal(moved.masks, found.masks) and moved.name == "toy_shapes/val"
    images, labels = found
    assert torch.equal(images, found.images) and torch.equal(labels, found.labels)
    larger = found.resized(48)
    assert larger.images.shape == (40, 3, 48, 48) and larger.masks.shape == (40, 48, 48)
    assert torch.equal(larger.boxes, found.boxes * 2)
    assert larger.resized(48).images is larger.images


def test_no_box_around_nothing():
    masks = torch.zeros(2, 4, 6, dtype=torch.bool)
    masks[1, 1:3, 5] = True
    assert toy_shapes.mask_boxes(masks).tolist() == [[0, 0, 0, 0], [1, 5, 3, 6]]


@pytest.mark.parametrize(
    ("options", "match"),
    [({"n": 0}, "n 0"), ({"n": 2.0}, "n 2.0"), ({"size": 15}, "size 15"), ({"size": 20.0}, "size 20.0")],
)
def test_shapes_that_cannot_be(options, match):
    fails(data.toy_shapes, "train", match=match, **options)


def test_masks_must_fit():
    found = data.toy_shapes("train", 3, 16)
    fails(replace, found, masks=found.masks[:2], match=r"masks \(2, 16, 16\) must be \(3, 16, 16\)")
    fails(replace, found, masks=found.masks.byte(), match="and boolean")


# --- the real files, where they are


@pytest.mark.skipif(not (REAL / "MNIST").is_dir(), reason="MNIST is not here")
def test_the_real_mnist():
    train, val = mnist("train", REAL), mnist("val", REAL)
    test = mnist("test", REAL)
    assert [len(found) for found in (train, val, test)] == [55_000, 5_000, 10_000]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    inputs = train.normalised(train.images[:20_000])
    assert abs(inputs.mean()) < 0.01 and abs(inputs.std() - 1) < 0.01
    assert len(val) == 5000 and val.images.shape[1:] == (1, 28, 28)


@pytest.mark.skipif(not (REAL / "test" / "truck").is_dir(), reason="the JPEG copy of CIFAR-10 is not here")
def test_the_real_jpeg_copy(tmp_path):
    """A part of it: the whole would take long the first time."""
    for name in image_folder.CIFAR10_CLASSES:
        for part in ("train", "test"):
            (tmp_path / part / name).mkdir(parents=True)
            for file in sorted((REAL / part / name).iterdir())[:20]:
                shutil.copy(file, tmp_path / part / name)
    found = cifar10_jpeg("train", tmp_path)
    assert found.images.shape == (180, 3, 32, 32)
    file = tmp_path / "train" / "cat" / sorted(os.listdir(tmp_path / "train" / "cat"))[4]
    expected = np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(found.images[18 * 3 + 4], expected)
