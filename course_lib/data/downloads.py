"""The files of the downloaded data sets: where they lie, where they come from, and the proof that they are right.

They lie as torchvision lays them, so what it has downloaded is found here, and the other way round. The content of
each file is known by its digest, and nothing is read from a file before the digest is right. Chapter 07.
"""

import contextlib
import gzip
import hashlib
import io
import math
import os
import pickle
import tarfile
import zlib
from dataclasses import dataclass

import numpy as np
import torch

from course_lib.files.atomic import write_atomically
from course_lib.files.fetch import fetch
from course_lib.files.places import data_folder

FILE_LIMIT = 200_000_000  # bytes: the largest file here, of CIFAR-100, has 155 million
ARCHIVE_LIMIT = 1_000_000_000


@dataclass(frozen=True)
class Archive:
    """A file to download, and what is in it.

    Args:
        path: where it belongs in the data folder.
        size, sha256: of the archive, as it was first published.
        urls: where it can be had; each is tried in turn.
        members: {path in the data folder: SHA-256 or MD5} of the files in it.
    """

    path: str
    size: int
    sha256: str
    urls: tuple[str, ...]
    members: dict[str, str]


def _mnist(name, size, packed, unpacked):
    mirrors = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")
    urls = tuple(f"{mirror}/{name}.gz" for mirror in mirrors)
    return Archive(f"MNIST/raw/{name}.gz", size, packed, urls, {f"MNIST/raw/{name}": unpacked})


MNIST = {
    "train": (
        _mnist(
            "train-images-idx3-ubyte",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        _mnist(
            "train-labels-idx1-ubyte",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
    ),
    "test": (
        _mnist(
            "t10k-images-idx3-ubyte",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        _mnist(
            "t10k-labels-idx1-ubyte",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
}


@dataclass(frozen=True)
class Cifar:
    """An `Archive`, and which of its files hold what.

    Args:
        archive: with all files.
        train, test: the files with the images.
        meta: the file with the names of the classes.
        labels, names: the keys of the labels and of the names in them.
    """

    archive: Archive
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    labels: str
    names: str


def _cifar(name, size, sha256, members):
    mirrors = ("https://www.cs.toronto.edu/~kriz", "https://dataset.bj.bcebos.com/cifar")
    return Archive(name, size, sha256, tuple(f"{mirror}/{name}" for mirror in mirrors), members)


CIFAR10 = Cifar(
    _cifar(
        "cifar-10-python.tar.gz",
        170_498_071,
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        {
            "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
            "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
            "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
            "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        },
    ),
    train=tuple(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6)),
    test=("cifar-10-batches-py/test_batch",),
    meta="cifar-10-batches-py/batches.meta",
    labels="labels",
    names="label_names",
)
CIFAR100 = Cifar(
    _cifar(
        "cifar-100-python.tar.gz",
        169_001_437,
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        {
            "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
            "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
        },
    ),
    train=("cifar-100-python/train",),
    test=("cifar-100-python/test",),
    meta="cifar-100-python/meta",
    labels="fine_labels",
    names="fine_label_names",
)


def read_mnist(part, folder):
    """(images (n, 28, 28) uint8, labels (n,) int64) of MNIST's "train" or "test" files.

    Raises:
        ValueError: a file cannot be had, or is damaged; it is named.
    """
    images, labels = (parse_idx(*read_files(archive, archive.members, folder)) for archive in MNIST[part])
    return images, labels.long()


def read_cifar(cifar, part, folder):
    """(images (n, 3, 32, 32) uint8, labels (n,) int64, classes) of the "train" or "test" files of a `Cifar`.

    Raises:
        ValueError: a file cannot be had, or is damaged; it is named.
    """
    wanted = (*(cifar.train if part == "train" else cifar.test), cifar.meta)
    *batches, meta = map(unpickle, read_files(cifar.archive, wanted, folder))
    images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)  # (n, 3072) -> (n, 3, 32, 32)
    labels = [label for batch in batches for label in batch[cifar.labels]]
    return torch.from_numpy(images), torch.tensor(labels), tuple(meta[cifar.names])


def read_files(archive, members, folder):
    """The content of some of the files of an `Archive`, as bytes, each proven by its digest.

    What is missing is unpacked from the archive, and the archive downloaded if that is missing too.

    Raises:
        ValueError: a file cannot be had, or is damaged; it is named.
    """
    folder = data_folder(folder)
    if all((folder / member).is_file() for member in members):
        contents = {member: (folder / member).read_bytes() for member in members}
        for member, data in contents.items():
            check_digest(folder / member, data, archive.members[member])
    else:
        contents = unpack(archive, folder)
    return [contents[member] for member in members]


def check_digest(path, data, expected):
    """Raise a `ValueError` unless `data` (bytes) has the `expected` SHA-256 or MD5."""
    kind = "md5" if len(expected) == 32 else "sha256"
    found = hashlib.new(kind, data, usedforsecurity=False).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path} ({len(data):,} bytes) has {kind.upper()} {found[:16]}…, not {expected[:16]}…: it is damaged, "
            "cut short, or another file. Please delete it and try again."
        )


def unpack(archive, folder):
    """{member: content} of an `Archive`; the files are written into the folder as well, if that can be.

    Raises:
        ValueError: the archive cannot be had, or does not hold what it should.
    """
    path = folder / archive.path
    if not path.is_file():
        fetch_from_any(archive, path)
    wanted = archive.members
    try:
        contents = read_tar(path, wanted) if path.name.endswith(".tar.gz") else read_gzip(path, wanted)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise ValueError(f"{path} cannot be unpacked ({error}): please delete it and try again.") from error
    for member, expected in wanted.items():
        if member not in contents:
            raise ValueError(f"{path} does not hold {member}: it is another archive. Please delete it and try again.")
        check_digest(f"{member}, in {path}", contents[member], expected)
    with contextlib.suppress(OSError):  # a folder that cannot be written in: then it is unpacked each time
        for member, data in contents.items():
            write_atomically(folder / member, data)
    return contents


def fetch_from_any(archive, path):
    """Download an `Archive` from the first address that has it.

    Raises:
        ValueError: none has; the message says why, and how to do it by hand.
    """
    reasons = []
    for url in archive.urls:
        try:
            return fetch(url, path, size=archive.size, sha256=archive.sha256)
        except ValueError as error:
            host = url.split("/")[2]
            reasons.append(f"{host}: {' '.join(str(error.__cause__ or error).split())[:160]}")
        if os.environ.get("COURSE_LIB_OFFLINE"):
            reasons = ["COURSE_LIB_OFFLINE is set"]
            break
    raise ValueError(
        f"{path.name} is not in {path.parent} and could not be downloaded ({'; '.join(reasons)}): fetch "
        f"{' or '.join(archive.urls)} in a browser and save it as {path}. The sets digits and toy_shapes need no files."
    )


def read_gzip(path, members):
    """{member: content} of a .gz file, which holds one."""
    (member,) = members
    with gzip.open(path) as file:
        data = file.read(FILE_LIMIT + 1)
    if len(data) > FILE_LIMIT:
        raise OSError(f"more than {FILE_LIMIT:,} bytes are in it")
    return {member: data}


def read_tar(path, members):
    """{member: content} of those in a .tar.gz.

    Only plain files with a wanted name are read, and nothing is written: no name, link or device in the archive can
    reach anything outside it.
    """
    contents = {}
    with tarfile.open(path, "r:gz") as tar:
        for entry in tar:
            if entry.size > FILE_LIMIT or entry.offset_data > ARCHIVE_LIMIT:
                raise OSError(f"{entry.name!r} in it is too large")
            if entry.name in members and entry.isreg():
                contents[entry.name] = tar.extractfile(entry).read()
    return contents


def parse_idx(data):
    """The tensor in an idx file of bytes: two zeros, the type 8, how many dimensions, each of them, the numbers.

    Raises:
        ValueError: the header is another, or does not fit the length.

    Source: LeCun, Cortes & Burges 1998, "the IDX file format".
    """
    dimensions = data[3] if data[:3] == b"\0\0\x08" and len(data) > 3 else 0
    shape = np.frombuffer(data[4:], ">u4", dimensions).tolist() if 4 + 4 * dimensions <= len(data) else []
    if not shape or len(data) != 4 + 4 * dimensions + math.prod(shape):
        raise ValueError(f"not an idx file of bytes: it begins with {data[:16].hex(' ')} and has {len(data):,} bytes.")
    return torch.tensor(np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions)).reshape(shape)


def unpickle(data):
    """What a pickle holds, if it holds only numbers, text, lists, dicts and arrays.

    Raises:
        ValueError: it wants to do anything else.
    """
    return _ArraysOnly(io.BytesIO(data), encoding="latin1").load()


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) == ("numpy", "dtype"):
            return _dtype
        if (module, name) in ARRAY_PARTS:
            return super().find_class(module, name)
        raise ValueError(f"a pickle asks for {module}.{name}, which no data set needs: refused.")


ARRAY_PARTS = (
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
)


def _dtype(name, *_):
    """The old files give two more arguments as 0 and 1; NumPy 2.4 and later warn unless they are False and True."""
    return np.dtype(name)
