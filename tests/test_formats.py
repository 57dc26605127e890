"""What is not right is refused: one line that names the file, nothing run, nothing printed, the model as before."""

import io
import json
import os
import pickle
import re
import shutil
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from weight_files import (
    ENDINGS,
    SMALL,
    Snapshot,
    as_google,
    as_huggingface,
    as_torchvision,
    assert_same,
    check_message,
    filled,
    random_state,
    refuse,
    write,
)

from course_lib.vit import VIT_CONFIGS, VisionTransformer, ViTConfig
from course_lib.weights import formats
from course_lib.weights import load as pretrained
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


# What is no weights file at all

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


# Damage


def cuts(size, count=44):
    """Lengths to cut a file to: spread over it, and each of the last bytes."""
    return sorted({*np.linspace(1, size - 1, count).astype(int).tolist(), *range(max(1, size - 30), size), 2, 4, 8, 9})


@pytest.mark.parametrize("kind", ENDINGS)
def test_cut_short(kind, files, model, tmp_path, capsys):
    data = files[kind].read_bytes()
    path = tmp_path / files[kind].name
    for size in cuts(len(data)):
        path.write_bytes(data[:size])
        refuse(model, path, capsys)


@pytest.mark.parametrize("kind", ENDINGS)
def test_grown_or_doubled(kind, files, model, state, tmp_path, capsys):
    """Bytes too many: refused, or of no effect."""
    data = files[kind].read_bytes()
    path = tmp_path / files[kind].name
    for extra in (b"\0", b"x" * 100, data):
        path.write_bytes(data + extra)
        refuse_or_equal(model, path, state, capsys)


def refuse_or_equal(model, path, state, capsys):
    """Whether it was refused. If it was not, what was loaded is what was written."""
    before = Snapshot(model)
    try:
        load_pretrained(model, path)
    except ValueError as error:
        check_message(str(error), path)
        assert capsys.readouterr().out == ""
        before.assert_unchanged(model)
        return True
    assert_same(model.state_dict(), state)
    capsys.readouterr()
    model.load_state_dict(random_state(model, seed=8))
    return False


def flipped(data, place, bit):
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


@pytest.mark.parametrize("kind", ["zip", "npz", "npz-packed"])
def test_flipped_bits_where_there_are_checksums(kind, files, model, state, tmp_path, capsys):
    data = files[kind].read_bytes()
    path = tmp_path / files[kind].name
    with zipfile.ZipFile(files[kind]) as archive:
        start = archive.start_dir
    generator = np.random.default_rng(0)
    places = [*generator.integers(0, start, 250).tolist(), *range(start, len(data), 7), *range(60)]
    refused = 0
    for place in places:
        path.write_bytes(flipped(data, place, int(generator.integers(8))))
        refused += refuse_or_equal(model, path, state, capsys)
    assert refused > (0.3 if kind == "zip" else 0.6) * len(places)  # torch pads its files with unchecked bytes


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
            for place in np.linspace(begin, begin + member.compress_size - 1, 12).astype(int).tolist():
                path.write_bytes(flipped(data, place, place % 8))
                if kind == "npz-packed":  # some bits of a packed stream say nothing
                    refuse_or_equal(model, path, state, capsys)
                else:
                    refuse(model, path, capsys)


@pytest.mark.parametrize("kind", ["legacy", "safetensors", "huggingface"])
def test_flipped_bits_without_checksums_raise_nothing_else(kind, files, tmp_path, capsys):
    """No checksum shows them, but whatever they break is named as every fault is: never another kind of error."""
    data = files[kind].read_bytes()
    path = tmp_path / files[kind].name
    generator = np.random.default_rng(1)
    header = 8 + int.from_bytes(data[:8], "little") if kind != "legacy" else 3000
    places = [*generator.integers(0, header, 300).tolist(), *generator.integers(0, len(data), 40).tolist()]
    refused = 0
    for place in places:
        path.write_bytes(flipped(data, place, int(generator.integers(8))))
        model = filled(SMALL.model(), seed=8)
        before = Snapshot(model)
        try:
            load_pretrained(model, path)
        except ValueError as error:
            refused += 1
            check_message(str(error), path)
            before.assert_unchanged(model)
    assert refused > 100


def test_flipped_bits_in_the_header_of_our_own_files(model, tmp_path, capsys):
    save_weights(model, tmp_path / "ours.safetensors")
    data = (tmp_path / "ours.safetensors").read_bytes()
    path = tmp_path / "flipped.safetensors"
    start, end = data.index(b"course_lib"), data.index(b"}}", data.index(b"course_lib"))
    refused = 0
    for place in range(start, end + 2, 2):
        path.write_bytes(flipped(data, place, (1, 5)[place % 4 // 2]))
        other = filled(SMALL.model(), seed=9)
        before = Snapshot(other)
        try:
            load_pretrained(other, path)
        except ValueError as error:
            refused += 1
            check_message(str(error), path)
            before.assert_unchanged(other)
    assert refused > 30


@pytest.mark.parametrize("way", ["registry", "short hash", "record"])
@pytest.mark.parametrize("kind", ["legacy", "safetensors", "npz"])
def test_flipped_bits_where_the_hash_is_known(way, kind, files, model, tmp_path, capsys, monkeypatch):
    """Any bit of any format, once a digest is known: of the registry, in the name, or of the first download."""
    import hashlib

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
        ending = ENDINGS[kind]
        for padding in range(100):  # until the short hash has a letter, which is what tells it from a date
            changed = data + b"\0" * padding if kind == "legacy" else data
            digest = hashlib.sha256(changed).hexdigest()
            if re.search("[a-f]", digest[:8]):
                break
        data, path = changed, tmp_path / f"vit-{digest[:8]}{ending}"
    else:
        (tmp_path / f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")
    path.write_bytes(data)
    load_pretrained(filled(SMALL.model()), path)
    for place in np.linspace(0, len(data) - 1, 40).astype(int).tolist():
        path.write_bytes(flipped(data, place, place % 8))
        refuse(model, path, capsys, "SHA-256")
    path.write_bytes(data[:-1])
    refuse(model, path, capsys, "SHA-256")


# Code


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


# Another model

OTHER_MODELS = {
    "width": ({"embed_dim": 18, "mlp_ratio": 20 / 18}, r"width 18.*width 12"),
    "depth": ({"depth": 3}, r"depth 3.*depth 2"),
    "patch": ({"patch_size": 2}, r"patch 2.*patch 4"),
    "channels": ({"in_chans": 1}, r"1 channels?.*3 channels"),
    "hidden": ({"mlp_ratio": 2.0}, r"24.*20"),
    "qkv_bias": ({"qkv_bias": False}, r"missing.*blocks\.0\.attn\.qkv\.bias.*qkv_bias"),
    "no class token": ({"global_pool": "avg"}, r"no class token.*global_pool='avg'"),
    "no positions": ({"pos_embed": "none"}, r"missing.*pos_embed"),
    "sincos": ({"pos_embed": "sincos2d"}, r"missing.*pos_embed"),
    "relative": ({"pos_embed": "relative"}, r"missing.*pos_embed.*left over.*relative_position_bias_table"),
    "representation": ({"representation_size": 5}, r"representation_size=5"),
    "classes": ({"num_classes": 8}, r"8 classes.*7"),
}


@pytest.mark.parametrize("own", [True, False], ids=["ours", "plain"])
@pytest.mark.parametrize("case", OTHER_MODELS)
def test_another_architecture(case, own, model, tmp_path, capsys):
    options, match = OTHER_MODELS[case]
    path = tmp_path / "other.safetensors"
    other = filled(SMALL.model(**options))
    if own:
        save_weights(other, path)
    else:
        write("safetensors", other.state_dict(), path)
    refuse(model, path, capsys, match)


@pytest.mark.parametrize("case", OTHER_MODELS)
def test_the_other_way_round(case, state, tmp_path, capsys):
    """The same pairs with file and model exchanged."""
    options, _ = OTHER_MODELS[case]
    write("safetensors", state, tmp_path / "vit.safetensors")
    refuse(filled(SMALL.model(**options), seed=8), tmp_path / "vit.safetensors", capsys)


@pytest.mark.parametrize("form", ["timm", "torchvision", "huggingface", "google"])
def test_the_sizes_of_the_paper_are_named(form, tmp_path, capsys):
    """The wording that readers see. The real models, but no real memory: nothing in them is ever read."""
    with torch.device("meta"):
        small = VisionTransformer(VIT_CONFIGS["vit_small_patch16_224"])
    state = {name: torch.zeros(1).expand(value.shape) for name, value in small.state_dict().items()}
    names = {
        "timm": lambda: state,
        "torchvision": lambda: as_torchvision(state, published=True),
        "huggingface": lambda: as_huggingface(state, old=True),
        "google": lambda: {name: torch.from_numpy(value) for name, value in as_google(state, 6, "params/").items()},
    }
    torch.save(names[form](), tmp_path / "vit.pth")
    with torch.device("meta"):
        model = VisionTransformer(ViTConfig())
    with pytest.raises(ValueError) as caught:
        load_pretrained(model, tmp_path / "vit.pth")
    check_message(str(caught.value), tmp_path / "vit.pth")
    assert "this is ViT-S/16, width 384; the model is ViT-B/16, width 768" in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_another_kind_of_network(library, model, tmp_path, capsys):
    if library == "timm":
        import timm

        other = timm.create_model("resnet10t")
    else:
        import torchvision

        other = torchvision.models.squeezenet1_1()
    torch.save(other.state_dict(), tmp_path / "other.pth")
    line = refuse(model, tmp_path / "other.pth", capsys, r"0 of \d+ names.*another model")
    assert next(iter(other.state_dict())) in line


@pytest.mark.parametrize("kind", ["swin_t", "distilled", "convmixer"])
def test_relatives_of_the_vision_transformer(kind, model, tmp_path, capsys):
    """They share names with it, and are not it."""
    if kind == "swin_t":
        from timm.models.swin_transformer import SwinTransformer

        other = SwinTransformer(img_size=32, patch_size=4, window_size=4, embed_dim=12, depths=(1, 1), num_heads=(3, 3))
    elif kind == "distilled":
        from timm.models.deit import VisionTransformerDistilled

        other = VisionTransformerDistilled(
            img_size=8, patch_size=4, embed_dim=12, depth=2, num_heads=3, mlp_ratio=20 / 12, num_classes=7
        )
    else:
        from timm.models.vision_transformer import VisionTransformer as Theirs

        other = Theirs(  # layer scale, registers and no final norm: a descendant
            img_size=8,
            patch_size=4,
            embed_dim=12,
            depth=2,
            num_heads=3,
            mlp_ratio=20 / 12,
            num_classes=7,
            init_values=1,
        )
    torch.save(other.state_dict(), tmp_path / "other.pth")
    refuse(model, tmp_path / "other.pth", capsys)


FORMS = {
    "timm": lambda state: dict(state),
    "torchvision": as_torchvision,
    "huggingface": lambda state: as_huggingface(state, old=True),
    "huggingface 5": as_huggingface,
    "google": lambda state: as_google(state, SMALL.heads),
}


def save_form(form, content, folder):
    path = folder / ("vit.npz" if form == "google" else "vit.pth")
    if form == "google":
        np.savez(path, **{name: np.asarray(value) for name, value in content.items()})
    else:
        torch.save({name: torch.as_tensor(value) for name, value in content.items()}, path)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_one_tensor_missing(form, state, model, tmp_path, capsys):
    """Each in turn, q, k and v included."""
    whole = FORMS[form](state)
    for name in whole:
        path = save_form(form, {n: x for n, x in whole.items() if n != name}, tmp_path)
        refuse(model, path, capsys)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("extra", ["fc.weight", "blocks.0.ls1.gamma", "head_dist.bias", "x" * 5000, "two\nlines", ""])
def test_one_tensor_left_over(form, extra, state, model, tmp_path, capsys):
    path = save_form(form, FORMS[form](state) | {extra: torch.ones(3)}, tmp_path)
    refuse(model, path, capsys, "left over" if extra.isprintable() and len(extra) < 200 else "of the name")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", ["scalar", "flat", "longer", "more axes", "empty", "turned"])
def test_one_tensor_of_another_shape(form, change, state, model, tmp_path, capsys):
    """Each in turn: a number, one axis only, a row more, an axis more, nothing, the axes exchanged."""
    changes = {
        "scalar": lambda x: x.flatten()[0].clone(),
        "flat": lambda x: x.flatten(),
        "longer": lambda x: torch.cat([x, x[:1]]),
        "more axes": lambda x: x[None, None, None],
        "empty": lambda x: x[:0],
        "turned": lambda x: x.permute(*reversed(range(x.ndim))).contiguous(),
    }
    whole = {name: torch.as_tensor(value) for name, value in FORMS[form](state).items()}
    tried = 0
    for name, value in whole.items():
        changed = changes[change](value)
        if changed.shape == value.shape:
            continue
        tried += 1
        refuse(model, save_form(form, whole | {name: changed}, tmp_path), capsys)
    assert tried


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_numbers_that_are_none(form, value, state, model, tmp_path, capsys):
    """One NaN makes every answer NaN: such a file is damaged."""
    whole = {name: torch.as_tensor(x).clone() for name, x in FORMS[form](state).items()}
    last = list(whole)[-1]
    whole[last].view(-1)[0] = value
    refuse(model, save_form(form, whole, tmp_path), capsys)


@pytest.mark.parametrize("kind", ["sparse", "complex", "quantised", "meta", "bool"])
@pytest.mark.parametrize("name", ["norm.bias", "blocks.1.mlp.fc2.weight"])
def test_tensors_of_other_kinds(kind, name, state, model, tmp_path, capsys):
    """Whatever cannot be copied into a parameter is found before the first is changed."""
    import warnings

    value = state[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sparse and quantised tensors having no future
        changed = {
            "sparse": lambda: value.to_sparse(),
            "complex": lambda: value.to(torch.complex64),
            "quantised": lambda: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
            "meta": lambda: value.to("meta"),
            "bool": lambda: value > 0,
        }[kind]()
        torch.save(state | {name: changed}, tmp_path / "vit.pth")
        refuse(model, tmp_path / "vit.pth", capsys)


def test_both_old_and_new_names(state, model, tmp_path, capsys):
    """Two tensors for one parameter: which would count?"""
    torch.save(as_huggingface(state) | as_huggingface(state, old=True), tmp_path / "vit.bin")
    refuse(model, tmp_path / "vit.bin", capsys)


def test_another_number_of_heads_where_it_is_known(tmp_path, capsys):
    folder = tmp_path / "hub"
    folder.mkdir()
    state = random_state(SMALL.model())
    write("huggingface", state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "vit", "num_attention_heads": 3}))
    refuse(SMALL.model(num_heads=4), folder / "model.safetensors", capsys, r"3 heads.*has 4.*num_heads=3")


def test_another_activation_where_it_is_known(tmp_path, capsys):
    """config.json says which GELU: the other one differs by up to 7e-4 in the answer, and nothing would show it."""
    write("huggingface", random_state(SMALL.model()), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit", "hidden_act": "gelu_pytorch_tanh"}))
    refuse(SMALL.model(), tmp_path / "model.safetensors", capsys, "gelu_pytorch_tanh")


def test_torchscript_is_refused_without_bad_advice(state, model, tmp_path, capsys):
    """torch's own message advises weights_only=False."""
    torch.save(as_torchvision(state), tmp_path / "scripted.pth")
    with zipfile.ZipFile(tmp_path / "scripted.pth", "a") as archive:
        archive.writestr("scripted/constants.pkl", pickle.dumps((), protocol=2))
    refuse(model, tmp_path / "scripted.pth", capsys)


def test_a_checkpoint_with_its_arguments(state, model, tmp_path, capsys):
    """What timm's and torchvision's trainers write: a Namespace. It is refused, and the line is true and helps."""
    import argparse

    torch.save({"model": state, "args": argparse.Namespace(lr=0.1)}, tmp_path / "checkpoint.pth")
    refuse(model, tmp_path / "checkpoint.pth", capsys, r"argparse\.Namespace")


@pytest.mark.parametrize("wanted", [5, 0])
def test_a_refused_file_leaves_the_head_too(wanted, state, model, tmp_path, capsys):
    """With a new head asked for, the fault is found before the old one is gone."""
    for name in ("norm.weight", "blocks.1.attn.qkv.bias"):
        torch.save({n: x for n, x in state.items() if n != name}, tmp_path / "vit.pth")
        refuse(model, tmp_path / "vit.pth", capsys, "missing", num_classes=wanted)


def test_no_message_anywhere_advises_to_run_code():
    for module in (formats, pretrained):
        text = Path(module.__file__).read_text(encoding="utf-8")
        assert "weights_only=False" not in text
        assert "allow_pickle=True" not in text
