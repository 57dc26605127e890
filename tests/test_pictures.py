"""One reader of pictures: every kind becomes the same RGB, from a file and in a model's own preprocessing."""

import numpy as np
import pytest
from data_files import fails
from PIL import Image

from course_lib.data.pictures import read_image, to_rgb
from course_lib.weights.preprocessing import Preprocessing


def test_the_middle_square_is_kept(tmp_path):
    from torchvision.transforms.functional import center_crop, resize

    stripes = np.zeros((20, 60, 3), np.uint8)
    stripes[:, :20, 0], stripes[:, 20:40, 1], stripes[:, 40:, 2] = 255, 255, 255
    Image.fromarray(stripes).save(tmp_path / "wide.png")
    Image.fromarray(stripes.transpose(1, 0, 2).copy()).save(tmp_path / "tall.png")
    for name in ("wide", "tall"):
        found = read_image(tmp_path / f"{name}.png", 10)
        image = Image.open(tmp_path / f"{name}.png")
        assert np.array_equal(found.transpose(1, 2, 0), center_crop(resize(image, 10), [10]))
        assert found[1].min() > 200 and found[[0, 2]].max() < 50


def test_resizing_is_antialiased_even_from_a_large_jpeg(tmp_path):
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.jpg", quality=95)
    found = read_image(tmp_path / "board.jpg", 16).astype(int)
    assert abs(found - 127).max() < 6
    smooth = (np.indices((256, 256)).sum(0) // 2).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "smooth.jpg", quality=95)
    Image.fromarray(smooth).save(tmp_path / "smooth.png")
    blocks = np.kron(np.random.default_rng(0).integers(0, 256, (32, 32)), np.ones((8, 8))).astype(np.uint8)
    Image.fromarray(blocks).save(tmp_path / "blocks.jpg", quality=95)
    Image.fromarray(blocks).save(tmp_path / "blocks.png")
    for name, size in (("smooth", 16), ("blocks", 64)):  # decoded no smaller than it is needed
        pair = [read_image(tmp_path / f"{name}.{kind}", size).astype(int) for kind in ("jpg", "png")]
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
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_every_kind_of_image_becomes_the_same_rgb(tmp_path, mode, kind, close, orientation):
    """As a file of a folder, and as a picture that a model's own preprocessing is given."""
    image, expected = of_mode(mode)
    path, exif = tmp_path / f"image.{kind}", Image.Exif()
    if orientation > 1:
        if kind not in ("png", "jpg", "webp"):
            return  # no place for what the camera says; and uncompressed TIFF that is turned is misread by Pillow itself
        exif[0x0112] = orientation
        expected = np.rot90(expected, {3: 2, 6: -1}[orientation])
    image.save(path, exif=exif, **({"quality": 100} if kind in ("jpg", "webp") else {}))
    found = read_image(path)
    assert found.shape == (3, *expected.shape[:2]) and found.dtype == np.uint8
    assert abs(found.transpose(1, 2, 0).astype(int) - expected).max() <= close

    with Image.open(path) as picture:
        before = np.asarray(picture)
        prepared = Preprocessing((0.0,) * 3, (1.0,) * 3, expected.shape[:2], None, "bilinear").transform()(picture)
        assert np.array_equal((255 * prepared).round(), found)
        assert np.array_equal(np.asarray(picture), before)  # the reader's own picture stays as it is
        grey = Preprocessing((0.0,), (1.0,), expected.shape[:2], None, "bilinear").transform()(picture)
        assert np.array_equal((255 * grey[0]).round(), to_rgb(picture).convert("L"))


def test_floating_point_pixels_are_refused(tmp_path):
    picture = Image.fromarray(GREY.astype(np.float32))
    picture.save(tmp_path / "image.tif")
    fails(read_image, tmp_path / "image.tif", match="image.tif.*floating-point")
    fails(Preprocessing((0.0,), (1.0,), (5, 8), None, "bilinear").transform(), picture, match="floating-point")


def test_an_error_is_one_line_whatever_the_file_is_called(tmp_path):
    (tmp_path / "two\nlines.png").write_bytes(b"broken")
    for name in ("two\nlines.png", "not\nthere.png"):
        fails(read_image, tmp_path / name, match=r"\\n")
