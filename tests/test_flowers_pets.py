"""Flowers-102 and Pets from files laid out as torchvision does, of all kinds; and what happens without them. Chapter 09."""

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torchvision.datasets import Flowers102, OxfordIIITPet

from course_lib.data.flowers_pets import flowers102, pets
from course_lib.data.sources import load_data

MODES = ("RGB", "L", "CMYK", "P")


def picture(number, mode="RGB"):
    """Grey, the same all over: what must come out is known."""
    return Image.new("RGB", (40 + number % 3, 30), (number, number, number)).convert(mode)


@pytest.fixture
def flowers(tmp_path, monkeypatch):
    """Twelve images: 1 to 4 are the test, 5 to 8 validation, 9 to 12 training."""
    base = tmp_path / "flowers-102"
    (base / "jpg").mkdir(parents=True)
    for number in range(1, 13):
        picture(10 * number, MODES[number % 3]).save(base / "jpg" / f"image_{number:05d}.jpg", quality=95)
    scipy.io.savemat(base / "imagelabels.mat", {"labels": np.arange(12) % 102 + 1})
    parts = {"tstid": np.arange(1, 5), "valid": np.arange(5, 9), "trnid": np.arange(9, 13)}
    scipy.io.savemat(base / "setid.mat", parts)
    monkeypatch.setattr(Flowers102, "_check_integrity", lambda self: True)  # the digests are those of the real files
    return tmp_path


@pytest.fixture
def animals(tmp_path):
    """Two breeds with ten training images each, two for the test."""
    base = tmp_path / "oxford-iiit-pet"
    (base / "images").mkdir(parents=True)
    (base / "annotations").mkdir()
    for part, count in (("trainval", 10), ("test", 1)):
        lines = []
        for label, breed in enumerate(("Abyssinian", "basset_hound")):
            for number in range(count):
                name = f"{breed}_{part}{number}"
                picture(100 * label + number, MODES[number % 4]).convert("RGB").save(base / "images" / f"{name}.jpg")
                lines.append(f"{name} {label + 1} {label + 1} 1\n")
        (base / "annotations" / f"{part}.txt").write_text("".join(lines))
    return tmp_path


@pytest.mark.parametrize(("split", "first"), [("train", 9), ("val", 5), ("test", 1)])
def test_flowers(flowers, split, first):
    data = flowers102(split, size=16, folder=flowers)
    assert (
        data.name == f"flowers102/{split}" and data.images.shape == (4, 3, 16, 16) and data.images.dtype == torch.uint8
    )
    assert data.labels.tolist() == list(range(first - 1, first + 3))
    wanted = torch.tensor([10.0 * (first + i) for i in range(4)])
    assert (data.images.float().mean(dim=(1, 2, 3)) - wanted).abs().max() <= 3  # JPEG, and grey by way of CMYK
    assert len(data.classes) == 102 and data.classes[0] == "pink primrose" and data.mean == (0.485, 0.456, 0.406)


def test_pets(animals):
    train, val, test = (pets(split, size=12, folder=animals) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (18, 2, 2)
    assert train.classes == ("Abyssinian", "Basset Hound")
    assert train.labels.tolist() == [0] * 9 + [1] * 9 and val.labels.tolist() == test.labels.tolist() == [0, 1]
    assert (val.images.float().mean(dim=(1, 2, 3)) - torch.tensor([9.0, 109.0])).abs().max() <= 2


def test_what_was_read_is_kept(animals, monkeypatch):
    first = load_data("pets", "train", size=12, folder=animals)
    monkeypatch.setattr(OxfordIIITPet, "__getitem__", None)  # not asked again
    again = load_data("pets", "train", size=12, folder=animals)
    assert torch.equal(again.images, first.images) and torch.equal(again.labels, first.labels)
    assert (animals / "folders" / "oxford-iiit-pet-trainval-12.safetensors").is_file()


def test_another_size_is_read_anew(animals):
    assert pets("val", size=12, folder=animals).images.shape == (2, 3, 12, 12)
    assert pets("val", size=20, folder=animals).images.shape == (2, 3, 20, 20)


def test_a_damaged_image_is_named(animals):
    (animals / "oxford-iiit-pet" / "images" / "Abyssinian_trainval3.jpg").write_bytes(b"\xff\xd8 cut")
    with pytest.raises(ValueError, match="image 3 of oxford-iiit-pet cannot be read .UnidentifiedImageError"):
        pets("train", size=12, folder=animals)
    assert not (animals / "folders").exists()


@pytest.mark.parametrize(("read", "name"), [(flowers102, "flowers-102"), (pets, "oxford-iiit-pet")])
def test_without_a_network_it_says_what_to_do(read, name, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(ValueError) as caught:
        read("train", folder=tmp_path)
    message = str(caught.value)
    assert f"{name} cannot be had (no route to host)" in message and str(tmp_path / name) in message
    assert "data=folder:PATH" in message and "\n" not in message


@pytest.mark.parametrize("read", [flowers102, pets])
def test_a_split_that_there_is_not(read, tmp_path):
    with pytest.raises(ValueError, match="split 'trainval' must be one of train, val, test"):
        read("trainval", folder=tmp_path)
