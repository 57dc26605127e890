"""What is no weights file, or a damaged one, or wants to run code: one line that names it, nothing run, nothing changed."""

import argparse
import fractions
import hashlib
import io
import os
import pickle
import re
import shutil
import struct
import sys
import textwrap
import zipfile
from collections import OrderedDict, defaultdict
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nightly import full
from safetensors.torch import save
from weight_files import (
    ENDINGS,
    SMALL,
    Snapshot,
    as_google,
    as_torchvision,
    assert_same,
    check_message,
    filled,
    random_state,
    refuse,
    write,
)

from course_lib.vit import VIT_CONFIGS
from course_lib.weights import formats, load
from course_lib.weights.formats import read_weights, recognise
from course_lib.weights.load import load_pretrained, save_weights
from course_lib.weights.registry import REGISTRY, WeightsEntry


@pytest.fixture
def model():
    return filled(SMALL.model(), seed=8)


@pytest.fixture(scope="module")
def state():
    return random_state(SMALL.model())


@pytest.fixture(scope="module")
def files(state, tmp_path_factory):
    """A good file of each kind: {kind: path}."""
    folder = tmp_path_factory.mktemp("good")
    return {kind: write(kind, state, folder / f"{kind}{ending}") for kind, ending in ENDINGS.items()}


def test_the_good_files_are_good(files, state):
    for path in files.values():
        assert_same(load_pretrained(filled(SMALL.model(), seed=8), path).state_dict(), state)


@pytest.mark.parametrize("size", [0x80, 0x180, 0x4B50, 0x3C20, 0x7B20, 0x5B20])
def test_a_safetensors_file_is_known_whatever_the_length_of_its_header(size, tmp_path):
    """The length comes first in the file, and may look like the beginning of a pickle, a zip, HTML or JSON."""
    shortest = int.from_bytes(save({"x": torch.ones(3)}, metadata={"pad": ""})[:8], "little")
    data = save({"x": torch.ones(3)}, metadata={"pad": "p" * (size - shortest)})
    assert int.from_bytes(data[:8], "little") == size
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    assert recognise(path) == "safetensors"
    assert_same(read_weights(path), {"x": torch.ones(3)})


NO_WEIGHTS = {
    "doctype": (b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>", "HTML"),
    "lower case": (b"<!doctype html><html>", "HTML"),
    "html": (b"<html>\r\n<body>Sign in to the network</body></html>", "HTML"),
    "blank lines first": (b"\r\n\r\n   \t<HTML><body></body>", "HTML"),
    "byte order mark": (b"\xef\xbb\xbf<!DOCTYPE html>\n<html></html>", "HTML"),
    "comment": (b"<!-- proxy error --><html></html>", "HTML"),
    "xml": (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "HTML|XML"),
    "bare tag": (b"<head><title>x</title></head>", "HTML"),
    "lfs pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1cea07\nsize 346293852\n",
        r"Git LFS.*git lfs pull",
    ),
    "json error": (b'{"error": "Repository not found"}', "JSON"),
    "json index": (b'{"metadata": {"total_size": 1}, "weight_map": {}}', "JSON"),
    "json list": (b"[1, 2]", "JSON"),
    "empty": (b"", "empty"),
    "one byte": (b"\x00", ""),
    "one byte of a zip": (b"P", ""),
    "one byte of a pickle": (b"\x80", ""),
    "two bytes of a zip": (b"PK", ""),
    "spaces": (b" " * 600, ""),
    "zeros": (b"\0" * 4000, ""),
    "text": (b"Access denied\n", ""),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(100), ""),
    "one npy": (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}", ""),
    "old pickle": (pickle.dumps({"x": 1}, protocol=0), ""),
    "only a number": (pickle.dumps(3, protocol=2), ""),
    "empty zip": (b"PK\x05\x06" + bytes(18), ""),
    "half a header": (struct.pack("<Q", 1000) + b'{"x":', "cut short|damaged"),
    "huge header": (struct.pack("<Q", 2**63) + b'{"x":1}', "cut short|damaged"),
    "empty header": (struct.pack("<Q", 2) + b"{}", "no tensors"),
}


@pytest.mark.parametrize("ending", [".pth", ".safetensors", ".npz", ".bin"])
@pytest.mark.parametrize("case", NO_WEIGHTS)
def test_no_weights_file(case, ending, model, tmp_path, capsys):
    data, match = NO_WEIGHTS[case]
    path = tmp_path / f"weights{ending}"
    path.write_bytes(data)
    refuse(model, path, capsys, match)


@pytest.mark.parametrize("start", [b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04", struct.pack("<Q", 40) + b"{"])
def test_random_bytes(start, model, tmp_path, capsys):
    for seed in range(20):
        path = tmp_path / "noise.bin"
        path.write_bytes(start + np.random.default_rng(seed).bytes(900))
        refuse(model, path, capsys)


def test_zip_archives_of_something_else(model, tmp_path, capsys):
    path = tmp_path / "thing.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    refuse(model, path, capsys, "word/document.xml")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"garbage")
    refuse(model, path, capsys)


@pytest.mark.parametrize(
    "content",
    [3, [torch.ones(2)], {}, {"epoch": 3}, {"state_dict": {}}, {0: torch.ones(2)}, {("a", 1): torch.ones(2)}, None],
    ids=str,
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_torch_files_without_a_model(content, zipped, model, tmp_path, capsys):
    torch.save(content, tmp_path / "thing.pth", _use_new_zipfile_serialization=zipped)
    refuse(model, tmp_path / "thing.pth", capsys)


def cuts(size):
    """Lengths to cut a file to: spread over it, and close to both ends."""
    last = range(size - full(30, 3), size)
    return sorted({*np.linspace(1, size - 1, full(44, 12)).astype(int).tolist(), *last, 2, 4, 8, 9})


@pytest.mark.parametrize("kind", ENDINGS)
def test_cut_short(kind, files, model, tmp_path, capsys):
    data = files[kind].read_bytes()
    path = tmp_path / files[kind].name
    for size in cuts(len(data)):
        path.write_bytes(data[:size])
        refuse(model, path, capsys)


@pytest.mark.parametrize("kind", ENDINGS)
def test_grown_or_doubled(kind, files, state, tmp_path, capsys):
    """Bytes too many: refused, or of no effect."""
    data = files[kind].read_bytes()
    path = tmp_path / files[kind].name
    for extra in (b"\0", b"x" * 100, data):
        path.write_bytes(data + extra)
        refused(path, capsys, state)


def refused(path, capsys, expected=None):
    """Whether it was refused, as every fault is. If it was not, what was loaded is what is `expected`."""
    model = filled(SMALL.model(), seed=8)
    before = Snapshot(model)
    try:
        load_pretrained(model, path)
    except ValueError as error:
        check_message(str(error), path)
        assert capsys.readouterr().out == ""
        before.assert_unchanged(model)
        return True
    capsys.readouterr()
    if expected:
        assert_same(model.state_dict(), expected)
    return False


def share_refused(data, places, path, capsys, expected=None):
    """The share of flipped bits, one at each place, with which the file is refused."""
    bits = np.random.default_rng(0).integers(8, size=len(places)).tolist()
    found = []
    for place, bit in zip(places, bits, strict=True):
        path.write_bytes(flipped(data, place, bit))
        found.append(refused(path, capsys, expected))
    return sum(found) / len(found)


def flipped(data, place, bit):
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def drawn(high, count):
    return np.random.default_rng(1).integers(high, size=count).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zip", "npz", "npz-packed"])
def test_flipped_bits_where_there_are_checksums(kind, files, state, tmp_path, capsys):
    data = files[kind].read_bytes()
    with zipfile.ZipFile(files[kind]) as archive:
        start = archive.start_dir
    places = [*drawn(start, full(250, 50)), *range(start, len(data), full(7, 131)), *range(0, 60, full(1, 5))]
    share = share_refused(data, places, tmp_path / files[kind].name, capsys, state)
    assert share > (0.3 if kind == "zip" else 0.6)  # torch pads its files with unchecked bytes


@pytest.mark.slow
def test_every_bit_of_the_data_counts(files, model, state, tmp_path, capsys):
    """In the numbers themselves no flip gets through: the zip's own checksum shows it."""
    for kind in ("zip", "npz", "npz-packed"):
        data = files[kind].read_bytes()
        path = tmp_path / files[kind].name
        with zipfile.ZipFile(files[kind]) as archive:
            members = sorted(archive.infolist(), key=lambda member: -member.file_size)[:4]
        for member in members:
            name, extra = struct.unpack("<HH", data[member.header_offset + 26 : member.header_offset + 30])
            begin = member.header_offset + 30 + name + extra
            places = np.linspace(begin, begin + member.compress_size - 1, full(12, 4)).astype(int).tolist()
            share = share_refused(data, places, path, capsys, state)
            assert share == 1 or kind == "npz-packed"  # some bits of a packed stream say nothing


@pytest.mark.slow
def test_every_bit_of_the_table_of_contents_counts(files, state, tmp_path, capsys):
    """Of one tensor's line in it: each bit is refused or of no effect. One makes a folder of the tensor."""
    data = files["zip"].read_bytes()
    line = data.rindex(b"PK\x01\x02", 0, data.rindex(b"zip/data/3"))
    places = [place for place in range(line, line + 57, full(1, 9)) for _ in range(8)] + [line + 38] * 8
    for bit, place in enumerate(places):
        (tmp_path / "vit.pth").write_bytes(flipped(data, place, bit % 8))
        refused(tmp_path / "vit.pth", capsys, state)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["legacy", "safetensors", "huggingface"])
def test_flipped_bits_without_checksums_raise_nothing_else(kind, files, tmp_path, capsys):
    """No checksum shows them, but whatever they break is named as every fault is: never another kind of error."""
    data = files[kind].read_bytes()
    header = 8 + int.from_bytes(data[:8], "little") if kind != "legacy" else 3000
    places = [*drawn(header, full(300, 60)), *drawn(len(data), full(40, 10))]
    assert share_refused(data, places, tmp_path / files[kind].name, capsys) > 0.3


def test_flipped_bits_in_the_header_of_our_own_files(model, tmp_path, capsys):
    save_weights(model, tmp_path / "ours.safetensors")
    data = (tmp_path / "ours.safetensors").read_bytes()
    start = data.index(b"course_lib")
    places = range(start, data.index(b'}"},', start) + 4, full(1, 11))
    assert share_refused(data, places, tmp_path / "flipped.safetensors", capsys) > 0.1


@pytest.mark.parametrize("way", ["registry", "short hash", "record"])
@pytest.mark.parametrize("kind", ["legacy", "safetensors", "npz"])
def test_flipped_bits_where_the_hash_is_known(way, kind, files, model, tmp_path, capsys, monkeypatch):
    """Any bit of any format, once a digest is known: of the registry, in the name, or of the first download."""
    data = files[kind].read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    path = tmp_path / f"vit{ENDINGS[kind]}"
    if way == "registry":
        entry = WeightsEntry("x", "vit_test", None, path.name, None, digest, None, None, 7, None, None, None)
        monkeypatch.setitem(VIT_CONFIGS, "vit_test", SMALL.config())
        monkeypatch.setitem(REGISTRY, "x", entry)
    elif way == "short hash":
        if kind == "npz":
            return  # no such names are in use
        for padding in range(100):  # until the short hash has a letter, which is what tells it from a date
            changed = data + b"\0" * padding if kind == "legacy" else data
            digest = hashlib.sha256(changed).hexdigest()
            if re.search("[a-f]", digest[:8]):
                break
        data, path = changed, tmp_path / f"vit-{digest[:8]}{ENDINGS[kind]}"
    else:
        (tmp_path / f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")
    path.write_bytes(data)
    load_pretrained(filled(SMALL.model()), path)
    for place in np.linspace(0, len(data) - 1, full(40, 8)).astype(int).tolist():
        path.write_bytes(flipped(data, place, place % 8))
        refuse(model, path, capsys, "SHA-256")
    path.write_bytes(data[:-1])
    refuse(model, path, capsys, "SHA-256")


def evil(folder):
    """Objects whose unpickling runs code, if anything lets it: each would leave a file in `folder`."""

    def reduced(function, *arguments):
        class Evil:
            def __reduce__(self):
                return function, arguments

        return Evil()

    marker = folder / "it_ran"
    hub = folder / "hub"
    hub.mkdir(exist_ok=True)
    (hub / "hubconf.py").write_text(f"def go():\n    open({str(marker)!r}, 'w').close()\n")
    code = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": reduced(os.system, f"touch {marker}"),
        "eval": reduced(eval, code),
        "exec": reduced(exec, code),
        "torch.hub": reduced(torch.hub._load_local, str(hub), "go"),
        "shutil": reduced(shutil.copy, str(hub / "hubconf.py"), str(marker)),
        "symlink": reduced(os.symlink, str(hub), str(marker)),
    }


WRAPPINGS = {
    "bare": lambda x, state: x,
    "in lists": lambda x, state: [[[x]]],
    "beside the weights": lambda x, state: OrderedDict(**state, epoch=x),
    "as a weight": lambda x, state: {**state, "head.bias": x},
    "in a checkpoint": lambda x, state: {"state_dict": state, "args": {"lr": [x]}},
}


@pytest.fixture
def watch(tmp_path):
    """At the end: no code of any file was run."""
    yield tmp_path / "it_ran"
    assert not (tmp_path / "it_ran").exists()


def test_the_evil_files_would_do_harm(tmp_path):
    """Otherwise the tests below would prove nothing."""
    marker = tmp_path / "it_ran"
    for name, thing in evil(tmp_path).items():
        pickle.loads(pickle.dumps(thing))
        assert marker.exists(), name
        marker.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle"])
def test_code_is_never_run(form, wrapping, model, state, tmp_path, capsys, watch):
    for name, thing in evil(tmp_path).items():
        content = WRAPPINGS[wrapping](thing, state)
        for protocol in (2, 3, 4, 5):
            path = tmp_path / f"evil{protocol}.{'bin' if protocol == 3 else 'pth'}"
            if form == "bare pickle":
                path.write_bytes(pickle.dumps(content, protocol=protocol))
            else:
                torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=form == "zip")
            line = refuse(model, path, capsys)
            assert "refused" in line
            assert not watch.exists(), (name, protocol)


def test_the_refused_call_is_named(model, tmp_path, capsys, watch):
    torch.save({"head.bias": evil(tmp_path)["os.system"]}, tmp_path / "evil.pth")
    line = refuse(model, tmp_path / "evil.pth", capsys, r"(posix|os|nt)\.system")
    assert "nothing was run" in line
    assert "safetensors" in line


@pytest.mark.parametrize("prefix", [b"PK\x03\x04", b"\x80\x02}", b""])
def test_polyglots(prefix, state, model, tmp_path, capsys, watch):
    """A pickle with a good zip behind it: whoever reads it as which."""
    torch.save(as_torchvision(state), tmp_path / "good.pth")
    bad = prefix + pickle.dumps(evil(tmp_path)["os.system"], protocol=2)
    path = tmp_path / "both.pth"
    path.write_bytes(bad + (tmp_path / "good.pth").read_bytes())
    refuse(model, path, capsys)


@pytest.mark.parametrize("name", ["extra", "head/bias", "embedding/kernel"])
def test_object_arrays(name, state, model, tmp_path, capsys, watch):
    arrays = as_google(state, SMALL.heads)
    arrays[name] = np.array([evil(tmp_path)["os.system"]], dtype=object)
    np.savez(tmp_path / "evil.npz", **arrays)
    assert "objects" in refuse(model, tmp_path / "evil.npz", capsys)


@pytest.mark.parametrize("member", ["head/bias.npy", "../../evil.npy", "/tmp/evil.npy", "evil\\..\\x.npy", "evil.pkl"])
def test_foreign_members_of_an_npz(member, state, model, tmp_path, capsys, watch):
    """Members that are no arrays, under names that lead elsewhere: nothing is unpacked to disk."""
    path = tmp_path / "vit.npz"
    np.savez(path, **{k: v for k, v in as_google(state, SMALL.heads).items() if k != "head/bias"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, pickle.dumps(evil(tmp_path)["os.system"]))
    files = {*tmp_path.rglob("*"), *tmp_path.parent.glob("evil*")}
    refuse(model, path, capsys)
    assert {*tmp_path.rglob("*"), *tmp_path.parent.glob("evil*")} == files


@pytest.mark.parametrize("dtype", ["U5", "S5", "complex64", "M8[s]", "V8", "longdouble"])
def test_arrays_of_no_numbers(dtype, state, model, tmp_path, capsys):
    arrays = as_google(state, SMALL.heads)
    arrays["head/bias"] = np.zeros(SMALL.classes, dtype=dtype)
    np.savez(tmp_path / "vit.npz", **arrays)
    refuse(model, tmp_path / "vit.npz", capsys)


@pytest.mark.parametrize("kind", ["npz", "zip"])
def test_zip_bombs(kind, model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(formats, "ALWAYS_ALLOWED", 2**20)
    path = tmp_path / f"bomb{ENDINGS[kind]}"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl" if kind == "zip" else "head/bias.npy", bytes(30 * 2**20))
    assert path.stat().st_size < 2**20
    assert "unpack" in refuse(model, path, capsys)


def test_a_bomb_of_real_size_is_refused_before_it_is_unpacked(model, tmp_path, capsys):
    """The sizes in the table of contents say 3 GiB: nothing needs to be read to refuse it."""
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("head/bias.npy", bytes(1000))
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02") + 24
    data[place : place + 4] = struct.pack("<I", 3 * 2**30)
    path.write_bytes(data)
    assert "unpack" in refuse(model, path, capsys)


def test_an_array_that_claims_more_than_it_holds(state, model, tmp_path, capsys):
    """The shape in an array's own header decides how much memory is taken for it."""
    path = tmp_path / "vit.npz"
    np.savez(path, **{k: v for k, v in as_google(state, SMALL.heads).items() if k != "head/bias"})
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**13,)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("head/bias.npy", header.getvalue() + bytes(28))
    refuse(model, path, capsys)


def test_torchscript_is_refused_without_bad_advice(state, model, tmp_path, capsys):
    """torch's own message advises weights_only=False."""
    torch.save(as_torchvision(state), tmp_path / "scripted.pth")
    with zipfile.ZipFile(tmp_path / "scripted.pth", "a") as archive:
        archive.writestr("scripted/constants.pkl", pickle.dumps((), protocol=2))
    refuse(model, tmp_path / "scripted.pth", capsys)


def test_a_checkpoint_with_its_arguments(state, model, tmp_path, capsys):
    """What the trainers of timm, torchvision and Meta write: a Namespace, which only holds values. Other classes are refused."""
    torch.save({"model": state, "args": argparse.Namespace(lr=0.1)}, tmp_path / "checkpoint.pth")
    assert_same(load_pretrained(filled(SMALL.model(), seed=8), tmp_path / "checkpoint.pth").state_dict(), state)
    torch.save({"model": state, "args": fractions.Fraction(1, 3)}, tmp_path / "checkpoint.pth")
    line = refuse(model, tmp_path / "checkpoint.pth", capsys, r"fractions\.Fraction")
    assert "If you wrote it, save model.state_dict() alone" in line


# A library that trains and keeps its settings in classes of its own. To import it, and to make or fill an object,
# leaves a file: whoever reads its checkpoint must do none of this.
TRAINER = """
    import pathlib
    def ran(): pathlib.Path(MARKER).touch()
    ran()
    class Plain:  # as OmegaConf's nodes and transformers' configurations
        def __init__(self): self.lr, self.parent = 0.1, self
        def __setstate__(self, state): ran()
    class Settings(dict):  # as Lightning's AttributeDict, yacs and EasyDict
        def __init__(self, **items): super().__init__(**items); self.frozen = True
        def __setitem__(self, name, value): ran()
        def __setstate__(self, state): ran()
    class Made:
        def __new__(cls, *arguments): ran(); return super().__new__(cls)
        def __getnewargs__(self): return 3, "x"
        def __hash__(self): ran(); return 3
    class Slots:
        __slots__ = ("lr",)
    class Several(list): pass
    def build(*arguments): ran()
    class Built:
        def __reduce__(self): return build, (3,)
"""


@pytest.fixture
def trainer(tmp_path, monkeypatch, watch):
    """The library above, and a function that writes a checkpoint and then forgets that the library was ever there."""
    folder, marker = tmp_path / "library", tmp_path / "it_ran"
    folder.mkdir()
    (folder / "trainer_of_somebody.py").write_text(textwrap.dedent(TRAINER).replace("MARKER", repr(str(marker))))
    monkeypatch.syspath_prepend(str(folder))
    import trainer_of_somebody as library

    def save(content):
        torch.save(content, tmp_path / "checkpoint.pth")
        sys.modules.pop("trainer_of_somebody", None)
        marker.unlink(missing_ok=True)
        return tmp_path / "checkpoint.pth"

    yield library, save
    sys.modules.pop("trainer_of_somebody", None)


def test_the_library_would_run(trainer, tmp_path):
    """Otherwise the tests below would prove nothing."""
    library, _ = trainer
    for thing in (library.Plain(), library.Settings(lr=0.1), library.Made(), library.Built()):
        data = pickle.dumps(thing)
        marker = tmp_path / "it_ran"
        marker.unlink(missing_ok=True)
        pickle.loads(data)
        assert marker.exists(), thing
        marker.unlink()


BESIDE = {
    "an object": lambda library: library.Plain(),
    "a configuration of transformers": lambda library: transformers_config(),
    "an optimiser": lambda library: torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))]),
    "a dictionary": lambda library: library.Settings(lr=0.1, nested=library.Settings(depth=2)),
    "an object that is made with arguments": lambda library: [library.Made()],
    "a class": lambda library: {library.Plain: library.Settings},
    "a function": lambda library: library.build,
    "SimpleNamespace": lambda library: SimpleNamespace(lr=0.1, more=library.Plain()),
    "defaultdict": lambda library: defaultdict(list, lr=[0.1]),
    "a path": lambda library: {Path("runs/1"): Path("data")},
    "what Python counts with": lambda library: [
        frozenset([3]),
        range(3),
        slice(3),
        {3},
        2**70,
        1j,
        b"x",
        torch.float16,
    ],
    "a date": lambda library: datetime(2024, 5, 6, 7, 8),
    "numbers": lambda library: {"acc": np.float64(0.5), "step": np.int32(3), "dtype": np.dtype("float32")},
    "an array": lambda library: np.random.default_rng(0).random((2, 3)),
    "all": lambda library: [make(library) for name, make in BESIDE.items() if name != "all"],
}


def transformers_config():
    from transformers import ViTConfig

    return ViTConfig()


@pytest.mark.parametrize("kind", BESIDE)
def test_what_stands_beside_the_weights_is_left_out_unread(kind, trainer, state, model, tmp_path, capsys):
    library, save = trainer
    path = save({"hyper_parameters": BESIDE[kind](library), "state_dict": state, "epoch": 3})
    assert_same(load_pretrained(filled(SMALL.model(), seed=8), path).state_dict(), state)
    assert "trainer_of_somebody" not in sys.modules


def test_weights_within_a_dictionary_of_an_unknown_kind(trainer, state, tmp_path, capsys):
    library, save = trainer
    path = save({"model": library.Settings(**state)})
    assert_same(load_pretrained(filled(SMALL.model(), seed=8), path).state_dict(), state)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda library, state: library.Plain(),
            r"holds objects \('trainer_of_somebody.Plain'\) and no weights beside",
        ),
        (lambda library, state: {"model": library.Plain()}, "and no weights beside them"),
        (lambda library, state: {"w": np.ones(3)}, "holds objects ..numpy.*and no weights beside them"),
        (lambda library, state: {"model": state, "args": library.Built()}, "run code .trainer_of_somebody.build."),
        (lambda library, state: {"model": state, "args": library.Several([3])}, "cannot be left out"),
        (lambda library, state: {"model": state, "args": slots(library)}, "cannot be left out"),
        (lambda library, state: state | {"head.bias": library.Plain()}, "1 missing .head.bias"),
        (lambda library, state: state | {"head.bias": np.ones(7, np.float32)}, "1 missing .head.bias"),
    ],
)
def test_objects_in_the_place_of_weights(make, said, trainer, state, model, tmp_path, capsys):
    library, save = trainer
    refuse(model, save(make(library, state)), capsys, said)
    assert "trainer_of_somebody" not in sys.modules


@pytest.mark.parametrize("name", ["a\rb", "x" * 400, "b\0"])
def test_names_that_no_class_has(name, state, model, tmp_path, capsys, monkeypatch):
    """What a file can say of its classes is anything."""
    kind = type("C", (), {"__module__": name})
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(C=kind))
    torch.save({"model": kind()}, tmp_path / "checkpoint.pth")
    refuse(model, tmp_path / "checkpoint.pth", capsys)
    torch.save({"model": state, "args": kind()}, tmp_path / "checkpoint.pth")
    assert refused(tmp_path / "checkpoint.pth", capsys, state) == ("\0" in name)


def slots(library):
    thing = library.Slots()
    thing.lr = 0.1
    return thing


def gadgets(folder):
    """Calls through what may be read: each would leave a file in `folder`, if anything lets it."""

    def reduced(function, *arguments):
        class Evil:
            def __reduce__(self):
                return function, arguments

        return Evil()

    code = f"open({str(folder / 'it_ran')!r}, 'w').close()"
    inner = io.BytesIO()
    torch.save(reduced(exec, code), inner)
    return {
        "torch.load within": reduced(torch.storage._load_from_bytes, inner.getvalue()),
        "a tensor's own kind": reduced(torch._tensor._rebuild_from_type_v2, exec, torch.Tensor, (code,), {}),
        "a parameter of a call": reduced(torch._utils._rebuild_parameter, reduced(exec, code), True, OrderedDict()),
        "a number of a call": reduced(np.dtype, reduced(eval, code)),
        "a path of a call": reduced(type(Path()), reduced(exec, code)),
        "a dictionary of a call": reduced(defaultdict, reduced(exec, code)),
    }


@pytest.mark.parametrize("place", ["beside", "within a namespace", "as a weight"])
def test_gadgets_are_refused(place, state, model, tmp_path, capsys, watch):
    for name, thing in gadgets(tmp_path).items():
        path = tmp_path / "evil.pth"
        args = SimpleNamespace(lr=thing) if place == "within a namespace" else thing
        torch.save(state | {"head.bias": thing} if place == "as a weight" else {"model": state, "args": args}, path)
        assert "refused" in refuse(model, path, capsys), name
        assert not watch.exists(), name


def test_a_namespace_with_code_in_it(state, model, tmp_path, capsys, watch):
    for thing in evil(tmp_path).values():
        torch.save({"model": state, "args": argparse.Namespace(lr=thing)}, tmp_path / "checkpoint.pth")
        refuse(model, tmp_path / "checkpoint.pth", capsys, "refused, nothing was run")


def test_no_message_anywhere_advises_to_run_code():
    for module in (formats, load):
        text = Path(module.__file__).read_text(encoding="utf-8")
        assert "weights_only=False" not in text
        assert "allow_pickle=True" not in text
