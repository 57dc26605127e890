"""The downloaded sets, from files laid out as torchvision lays them; damaged, packed, half unpacked, or not there."""

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest
import scipy.io
import torch
from data_files import fails
from PIL import Image
from torchvision import datasets

from course_lib.data import downloads
from course_lib.data.downloads import ARCHIVES, cifar10, cifar100, flowers102, mnist, pets
from course_lib.data.image_set import SPLITS
from course_lib.data.sources import load_data
from course_lib.files.places import CHECKOUT

REAL = CHECKOUT / "data" / "cache"
RANDOM = np.random.default_rng(0)
pytestmark = pytest.mark.usefixtures("own_folder")


def test_the_tables_are_torchvisions():
    assert {f"{name}.gz" for name in downloads.MNIST} == {name for name, _ in datasets.MNIST.resources}
    for name in ("CIFAR10", "CIFAR100"):
        theirs, (_, (first, second), archives) = getattr(datasets, name), ARCHIVES[name]
        assert archives == {theirs.filename: theirs.tgz_md5}
        assert theirs.url == f"{first}/{theirs.filename}" and second.startswith("https://")
    _, (address,), archives = ARCHIVES["Flowers102"]
    assert archives == dict(datasets.Flowers102._file_dict.values())
    assert f"{address}/" == datasets.Flowers102._download_url_prefix
    _, (address,), archives = ARCHIVES["OxfordIIITPet"]
    ours = [(f"{address}/{name}", md5) for name, md5 in archives.items()]
    assert ours == list(datasets.OxfordIIITPet._RESOURCES)


def lay(folder, files, only=""):
    for path, content in files.items():
        if path.endswith(only):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100", "flowers102", "pets"])
def test_without_a_network_one_line_says_what_to_do(own_folder, name):
    message = fails(load_data, name, "train", match="COURSE_LIB_OFFLINE is set: fetch https://")
    assert f"save it as {own_folder}" in message and "digits and toy_shapes need no files" in message
    assert not own_folder.exists()


# --- MNIST


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def small_mnist(monkeypatch):
    """{path: content} of an MNIST of 5,007 and 11 images; the table knows it."""
    files, table = {}, {}
    for part, count in (("train", 5007), ("t10k", 11)):
        images = RANDOM.integers(0, 256, (count, 28, 28), np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", images[:, 0, 0] % 10)):
            name, content = f"{part}-{kind}-ubyte", idx(array)
            files |= {f"MNIST/raw/{name}": content, f"MNIST/raw/{name}.gz": gzip.compress(content, 1)}
            table[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(downloads, "MNIST", table)
    return files


@pytest.mark.parametrize("only", ["ubyte", "gz", ""])
def test_mnist_from_either_kind_of_file(small_mnist, own_folder, only):
    lay(own_folder, small_mnist, only)
    sets = {split: mnist(split) for split in SPLITS}
    assert [len(sets[split]) for split in SPLITS] == [7, 5000, 11]
    whole = torch.cat([sets["train"].images, sets["val"].images])
    assert whole.dtype == torch.uint8 and whole.shape == (5007, 1, 28, 28)
    assert whole.numpy().tobytes() == small_mnist["MNIST/raw/train-images-idx3-ubyte"][16:]
    labels = torch.cat([sets["train"].labels, sets["val"].labels])
    assert labels.dtype == torch.int64
    assert labels.tolist() == list(small_mnist["MNIST/raw/train-labels-idx1-ubyte"][8:])


def test_only_what_is_asked_for_is_needed(small_mnist, own_folder):
    lay(own_folder, {path: content for path, content in small_mnist.items() if "t10k" in path})
    assert len(mnist("test")) == 11
    fails(mnist, "val", match="train-images-idx3-ubyte.gz is not here yet")


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
def test_a_damaged_file_is_named(small_mnist, own_folder, damage, ending):
    path = f"MNIST/raw/t10k-{ending}"
    lay(own_folder, small_mnist | {path: damage(small_mnist[path])}, ".gz" if ending.endswith("gz") else "ubyte")
    assert str(own_folder / path) in fails(mnist, "test", match="delete it and try again")


def test_what_is_missing_is_fetched_from_either_mirror(small_mnist, own_folder, monkeypatch):
    def fetch(urls, path, *, md5):
        assert len(urls) == 2 and all(url.endswith(path.name) and url.startswith("https://") for url in urls)
        lay(own_folder, small_mnist, path.name)

    monkeypatch.setattr(downloads, "fetch", fetch)
    assert len(mnist("test")) == 11


# --- CIFAR


def old_pickle(**content):
    """A dict with an array as Python 2 and its NumPy wrote it: byte strings, `numpy.core`, numbers for booleans."""

    def text(value):
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value):
        return b"J" + struct.pack("<i", value)

    data = b""
    for name, value in content.items():
        data += text(name.encode())
        if isinstance(value, np.ndarray):
            array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
            dtype = b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR(K\x03" + text(b"|")
            dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
            shape = b"(" + b"".join(map(number, value.shape)) + b"t"
            data += array + b"(K\x01" + shape + dtype + b"I00\n" + text(value.tobytes()) + b"tb"
        else:
            parts = (number(part) if isinstance(part, int) else text(part.encode()) for part in value)
            data += b"](" + b"".join(parts) + b"e"
    return b"\x80\x02}(" + data + b"u."


def know(monkeypatch, dataset, files):
    """torchvision's tables hold the digests of `files`, {name: content}."""
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    for table in ("train_list", "test_list"):
        monkeypatch.setattr(dataset, table, [[name, md5[name]] for name, _ in getattr(dataset, table)])
    monkeypatch.setitem(dataset.meta, "md5", md5[dataset.meta["filename"]])
    return {f"{dataset.base_folder}/{name}": content for name, content in files.items()}


@pytest.fixture
def small_cifar(monkeypatch):
    """(pixels, labels, {path: content}) of a CIFAR-10 with 40 images for each of 3 classes."""
    pixels = RANDOM.integers(0, 256, (120, 3072), np.uint8)
    labels = RANDOM.permutation(np.arange(120) % 3).tolist()
    files = {
        f"data_batch_{number + 1}": old_pickle(
            data=pixels[24 * number : 24 * number + 24], labels=labels[24 * number : 24 * number + 24]
        )
        for number in range(5)
    }
    files["test_batch"] = old_pickle(data=pixels[:9], labels=labels[:9])
    files["batches.meta"] = old_pickle(label_names=["ant", "bee", "cow"])
    return pixels.reshape(-1, 3, 32, 32), np.array(labels), know(monkeypatch, datasets.CIFAR10, files)


def pack(path, files, monkeypatch, name):
    """An archive that the table knows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for member, content in files.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    monkeypatch.setitem(ARCHIVES[name][2], path.name, hashlib.md5(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("packed", [True, False])
def test_cifar(small_cifar, own_folder, packed, monkeypatch):
    pixels, labels, files = small_cifar
    if packed:
        pack(own_folder / "cifar-10-python.tar.gz", files, monkeypatch, "CIFAR10")
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
    assert np.array_equal(test.images, pixels[:9]) and test.images.dtype == torch.uint8 and test.images.is_contiguous()
    assert {name: (own_folder / name).read_bytes() for name in files} == files


def test_a_damaged_or_missing_cifar_file_is_unpacked_again(small_cifar, own_folder, monkeypatch):
    pixels, _, files = small_cifar
    pack(own_folder / "cifar-10-python.tar.gz", files, monkeypatch, "CIFAR10")
    for damage in (b"x", None):
        batch = own_folder / "cifar-10-batches-py" / "data_batch_3"
        cifar10("train")
        batch.write_bytes(damage) if damage else batch.unlink()
        assert np.array_equal(cifar10("test").images, pixels[:9])
    (own_folder / "cifar-10-python.tar.gz").unlink()
    batch.write_bytes(b"x")
    fails(cifar10, "train", match="cifar-10-python.tar.gz is not here yet")


def test_a_wrong_archive_is_named(small_cifar, own_folder, monkeypatch):
    _, _, files = small_cifar
    path = own_folder / "cifar-10-python.tar.gz"
    pack(path, files, monkeypatch, "CIFAR10")
    for content in (path.read_bytes()[:-1000], b"<html>", b""):
        path.write_bytes(content)
        assert str(path) in fails(cifar10, "train", match="has MD5.*delete it and try again")
    assert [file.name for file in own_folder.iterdir()] == [path.name]


def test_what_cannot_be_unpacked_leaves_nothing(small_cifar, own_folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    pack(own_folder / "cifar-10-python.tar.gz", small_cifar[2], monkeypatch, "CIFAR10")
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        fails(cifar10, "test", match="CIFAR10 cannot be unpacked.*No space left")
    assert {file.name for file in own_folder.iterdir()} - {"CIFAR10.lock"} == {"cifar-10-python.tar.gz"}
    assert len(cifar10("test")) == 9


def test_cifar100_has_fine_labels(own_folder, monkeypatch):
    pixels = RANDOM.integers(0, 256, (20, 3072), np.uint8)
    batch = pickle.dumps({"data": pixels, "fine_labels": [4, 7] * 10, "coarse_labels": [0] * 20}, protocol=2)
    names = {"fine_label_names": [f"kind {number}" for number in range(100)], "coarse_label_names": ["x"]}
    files = {"train": batch, "test": batch, "meta": pickle.dumps(names, protocol=2)}
    lay(own_folder, know(monkeypatch, datasets.CIFAR100, files))
    found = cifar100("val")
    assert found.labels.tolist() == [4, 7] and len(found.classes) == 100 and found.name == "cifar100/val"
    assert np.array_equal(found.images.reshape(2, -1), pixels[-2:])


# --- Flowers and Pets

MODES = ("RGB", "L", "CMYK", "P")


def plain(number, mode="RGB"):
    """Grey, the same all over: what must come out is known. JPEG in any mode that it has."""
    image = Image.new("RGB", (40 + number % 3, 30), (number, number, number)).convert(mode)
    content = io.BytesIO()
    (image.convert("RGB") if mode == "P" else image).save(content, "JPEG", quality=95)
    return content.getvalue()


@pytest.fixture
def flowers(own_folder, monkeypatch):
    """Twelve images, {path: content}: 1 to 4 are the test, 5 to 8 validation, 9 to 12 training."""
    files = {f"jpg/image_{number:05d}.jpg": plain(10 * number, MODES[number % 3]) for number in range(1, 13)}
    tables = {
        "imagelabels.mat": {"labels": np.arange(12) % 102 + 1},
        "setid.mat": {"tstid": np.arange(1, 5), "valid": np.arange(5, 9), "trnid": np.arange(9, 13)},
    }
    (own_folder / "flowers-102").mkdir(parents=True)
    for name, content in tables.items():
        path = own_folder / "flowers-102" / name
        scipy.io.savemat(path, content)
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        monkeypatch.setitem(ARCHIVES["Flowers102"][2], name, md5)
        key = {"imagelabels.mat": "label", "setid.mat": "setid"}[name]
        monkeypatch.setitem(datasets.Flowers102._file_dict, key, (name, md5))
    return files


@pytest.fixture
def animals(own_folder):
    """Two breeds with ten training images each, two for the test; unpacked."""
    base, files = own_folder / "oxford-iiit-pet", {}
    for part, count in (("trainval", 10), ("test", 1)):
        lines = []
        for label, breed in enumerate(("Abyssinian", "basset_hound")):
            for number in range(count):
                name = f"{breed}_{part}{number}"
                files[f"images/{name}.jpg"] = plain(100 * label + number, MODES[number % 4])
                lines.append(f"{name} {label + 1} {label + 1} 1\n")
        files[f"annotations/{part}.txt"] = "".join(lines).encode()
    lay(base, files)
    return base


@pytest.mark.parametrize("packed", [True, False])
def test_flowers(flowers, own_folder, packed, monkeypatch):
    if packed:
        pack(own_folder / "flowers-102" / "102flowers.tgz", flowers, monkeypatch, "Flowers102")
    else:
        lay(own_folder / "flowers-102", flowers)
    for split, first in (("train", 9), ("val", 5), ("test", 1)):
        data = flowers102(split, size=16)
        assert data.name == f"flowers102/{split}" and data.images.shape == (4, 3, 16, 16)
        assert data.labels.tolist() == list(range(first - 1, first + 3)) and data.images.dtype == torch.uint8
        assert [path.name for path in data.paths] == [f"image_{number:05}.jpg" for number in range(first, first + 4)]
        wanted = torch.tensor([10.0 * (first + i) for i in range(4)])
        assert (data.images.float().mean(dim=(1, 2, 3)) - wanted).abs().max() <= 3  # JPEG, and grey by way of CMYK
        assert len(data.classes) == 102 and data.classes[0] == "pink primrose" and data.mean == (0.485, 0.456, 0.406)


def test_pets(animals):
    train, val, test = (pets(split, size=12) for split in SPLITS)
    assert (len(train), len(val), len(test)) == (18, 2, 2)
    assert [path.stem for path in val.paths] == ["Abyssinian_trainval9", "basset_hound_trainval9"]
    assert train.classes == ("Abyssinian", "Basset Hound")
    assert train.labels.tolist() == [0] * 9 + [1] * 9 and val.labels.tolist() == test.labels.tolist() == [0, 1]
    assert (val.images.float().mean(dim=(1, 2, 3)) - torch.tensor([9.0, 109.0])).abs().max() <= 2
    assert pets("val", size=20).images.shape == (2, 3, 20, 20)


def test_what_was_read_is_kept(animals, monkeypatch):
    first = load_data("pets", "train", size=12)
    with monkeypatch.context() as patched:
        patched.setattr("course_lib.data.kept.read_image", None)  # not asked again
        again = load_data("pets", "train", size=12)
    assert torch.equal(again.images, first.images) and torch.equal(again.labels, first.labels)
    (animals / "images" / "Abyssinian_trainval3.jpg").write_bytes(plain(200))
    assert not torch.equal(pets("train", size=12).images, first.images)


def test_what_is_damaged_or_half_unpacked_is_named(animals, own_folder):
    path = animals / "images" / "Abyssinian_trainval3.jpg"
    path.write_bytes(b"\xff\xd8 cut")
    assert "skip" not in fails(pets, "train", size=12, match=f"{path} .* cannot be read as an image .Unidentified")
    path.unlink()
    fails(pets, "train", size=12, match=f"{path} is not there: delete the folder {animals / 'images'} and try again")
    assert not list((own_folder / "folders").glob("*.safetensors"))
    (animals / "annotations" / "trainval.txt").unlink()
    fails(pets, "train", size=12, match="images.tar.gz is not here yet")


@pytest.mark.parametrize("read", [mnist, cifar10, cifar100, flowers102, pets])
def test_a_split_that_there_is_not(read):
    fails(read, "trainval", match="split 'trainval' must be one of train, val, test")


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "MNIST").is_dir(), reason="MNIST is not here")
def test_the_real_mnist():
    train, val, test = (mnist(split, REAL) for split in SPLITS)
    assert [len(found) for found in (train, val, test)] == [55_000, 5_000, 10_000]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    inputs = train.normalised(train.images[:20_000])
    assert abs(inputs.mean()) < 0.01 and abs(inputs.std() - 1) < 0.01
