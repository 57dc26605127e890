"""RandAugment for a whole batch: each operation against torchvision's, and what is drawn against its odds."""

import math

import pytest
import torch
import torch.nn.functional as F
from data_files import HEIGHT, NO_CHANGE, WIDTH, assert_odds, pictures, probe
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as theirs

import course_lib.data.rand_augment as ours
from course_lib.data.rand_augment import OPERATIONS, apply_operations, maps, rand_augment, strengths, warp

THEIRS = {
    "identity": lambda image, _: image,
    "shear_x": lambda image, m: theirs.affine(
        image, **NO_CHANGE | {"shear": [math.degrees(math.atan(m)), 0.0], "center": [0.0, 0.0]}
    ),
    "shear_y": lambda image, m: theirs.affine(
        image, **NO_CHANGE | {"shear": [0.0, math.degrees(math.atan(m))], "center": [0.0, 0.0]}
    ),
    "translate_x": lambda image, m: theirs.affine(image, **NO_CHANGE | {"translate": [int(m), 0]}),
    "translate_y": lambda image, m: theirs.affine(image, **NO_CHANGE | {"translate": [0, int(m)]}),
    "rotate": theirs.rotate,
    "brightness": lambda image, m: theirs.adjust_brightness(image, 1 + m),
    "colour": lambda image, m: theirs.adjust_saturation(image, 1 + m),
    "contrast": lambda image, m: theirs.adjust_contrast(image, 1 + m),
    "sharpness": lambda image, m: theirs.adjust_sharpness(image, 1 + m),
    "posterize": lambda image, m: theirs.posterize(image, int(m)),
    "solarize": theirs.solarize,
    "autocontrast": lambda image, _: theirs.autocontrast(image),
    "equalize": lambda image, _: theirs.equalize(image),
}


GEOMETRIC = OPERATIONS[1:6]


BLENDS = OPERATIONS[6:10]


grey_and_colour = pytest.mark.parametrize("channels", [1, 3])


def one_by_one(name, images, amounts):
    """torchvision's operation on each image alone, with that image's strength."""
    return torch.stack([THEIRS[name](image, m) for image, m in zip(images, amounts.tolist(), strict=True)])


def in_levels(pixels):
    """Whole levels as uint8."""
    assert torch.equal(pixels, pixels.round()) and pixels.min() >= 0 and pixels.max() <= 255
    return pixels.to(torch.uint8)


@grey_and_colour
@pytest.mark.parametrize("name", GEOMETRIC)
def test_geometric_operations_equal_torchvision(name, channels):
    images, generator = pictures(48, channels), torch.Generator().manual_seed(0)
    largest = {"shear_x": 0.4, "shear_y": 0.4, "translate_x": 20, "translate_y": 15, "rotate": 60}[name]
    amounts = (2 * torch.rand(48, generator=generator) - 1) * largest
    if name.startswith("translate"):
        amounts = amounts.round()
    moves = {each: amounts if each == name else 0 * amounts for each in GEOMETRIC}
    result = in_levels(warp(images.float(), maps(**moves, height=HEIGHT, width=WIDTH)))
    expected = one_by_one(name, images, amounts)
    # Where a map leads to the middle between two pixels, to its rounding, either is the nearest.
    x, y = torch.arange(WIDTH) - (WIDTH - 1) / 2, torch.arange(HEIGHT)[:, None] - (HEIGHT - 1) / 2
    here = torch.stack([x.expand(HEIGHT, -1), y.expand(-1, WIDTH), torch.ones(HEIGHT, WIDTH)]).double()
    exact = maps(**{each: move.double() for each, move in moves.items()}, height=HEIGHT, width=WIDTH)
    places = torch.einsum("bij, jyx -> biyx", exact, here)  # whole numbers lie between two pixels: the sides are even
    tie = ((places - places.round()).abs() < 1e-4).any(dim=1, keepdim=True)
    assert tie.double().mean() < 0.005
    assert torch.equal(result.where(~tie, 0), expected.where(~tie, 0))


def other_image(name, images):
    """What the operation leads away from, in float64."""
    if name == "brightness":
        return torch.zeros(images.shape, dtype=torch.float64)
    if name == "sharpness":
        kernel = torch.tensor([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]], dtype=torch.float64) / 13
        blurred = images.double()
        inner = F.conv2d(blurred.flatten(0, 1)[:, None], kernel[None, None]).round()
        blurred[..., 1:-1, 1:-1] = inner.view(*images.shape[:2], HEIGHT - 2, WIDTH - 2)
        return blurred
    grey = images if images.shape[1] == 1 else theirs.rgb_to_grayscale(images)
    grey = grey.double()
    return grey.mean(dim=(1, 2, 3), keepdim=True) if name == "contrast" else grey


@grey_and_colour
@pytest.mark.parametrize("name", BLENDS)
def test_blends_equal_torchvision(name, channels):
    images, generator = pictures(48, channels), torch.Generator().manual_seed(0)
    amounts = 2 * torch.rand(48, generator=generator) - 1
    result = in_levels(getattr(ours, name)(images.float(), amounts))
    expected = one_by_one(name, images, amounts)
    # Levels are cut off, not rounded: where the exact value is a whole number, one level is up to the last digit.
    exact = images + amounts[:, None, None, None].double() * (images - other_image(name, images))
    exact = exact.clamp(0, 255)
    tie = (exact - exact.round()).abs() < 1e-4
    assert torch.equal(result.where(~tie, 0), expected.where(~tie, 0))
    assert torch.equal(result.where(~tie, 0), exact.floor().to(torch.uint8).where(~tie, 0))
    assert (result - exact)[tie].abs().max() <= 1 + 1e-4 and (expected - exact)[tie].abs().max() <= 1 + 1e-4
    inner = tie & (exact > 0) & (exact < 255) & (images != other_image(name, images))
    assert inner.double().mean() < 0.005


@pytest.mark.parametrize("name", BLENDS)
def test_a_blend_of_strength_zero_changes_nothing(name):
    images = pictures(16).float()
    assert torch.equal(getattr(ours, name)(images, torch.zeros(16)), images)


@grey_and_colour
def test_posterize_and_solarize_equal_torchvision(channels):
    images = pictures(48, channels)
    bits = torch.arange(48) % 9
    assert torch.equal(in_levels(ours.posterize(images.float(), bits)), one_by_one("posterize", images, bits))
    levels = torch.linspace(0, 255, 48)
    levels[::2] = levels[::2].round()
    assert torch.equal(in_levels(ours.solarize(images.float(), levels)), one_by_one("solarize", images, levels))


@grey_and_colour
@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (64, 64), (15, 17), (16, 16), (3, 1)], ids=str)
def test_autocontrast_and_equalize_equal_torchvision(name, size, channels):
    images = pictures(24, channels, *size)
    result = in_levels(getattr(ours, name)(images.float()))
    assert torch.equal(result, one_by_one(name, images, torch.zeros(24)))
    assert torch.equal(result[-1], images[-1])


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (5, 2)], ids=str)
def test_too_small_to_blur(size):
    images = pictures(8, 3, *size).float()
    assert torch.equal(ours.sharpness(images, torch.linspace(-0.9, 0.9, 8)), images)


NAMES = dict(zip(OPERATIONS, v2.RandAugment._AUGMENTATION_SPACE, strict=True))


SIGNED = {name for name in OPERATIONS if v2.RandAugment._AUGMENTATION_SPACE[NAMES[name]][1]}


def test_the_operations_are_torchvisions():
    assert {ours: their for ours, their in NAMES.items() if ours.replace("_", "") != their.lower()} == {
        "colour": "Color"
    }
    assert set(GEOMETRIC) | set(BLENDS) == SIGNED


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (HEIGHT, WIDTH), (224, 224)], ids=str)
def test_the_strengths_are_torchvisions(size):
    for magnitude in range(31):
        table = strengths(magnitude, *size)
        for name, their in NAMES.items():
            levels = v2.RandAugment._AUGMENTATION_SPACE[their][0](31, *size)
            if levels is None:
                assert name not in table
                continue
            level = float(levels[magnitude])
            level = int(level) if name.startswith("translate") else 255.0 * level if name == "solarize" else level
            assert table[name] == level, name


@grey_and_colour
@pytest.mark.parametrize("magnitude", [9, 27])
def test_each_image_gets_its_own_operation(magnitude, channels):
    images, count = pictures(28, channels), len(OPERATIONS)
    drawn = torch.arange(28) % count
    signs = torch.where(torch.arange(28) < count, 1.0, -1.0)
    before = images.clone()
    result = in_levels(apply_operations(images.float(), drawn, signs, magnitude))
    assert torch.equal(images, before)
    table = strengths(magnitude, HEIGHT, WIDTH)
    for image, changed, number, sign in zip(images, result, drawn.tolist(), signs.tolist(), strict=True):
        name = OPERATIONS[number]
        amount = table.get(name, 0) * (sign if name in SIGNED else 1)
        difference = (changed.int() - THEIRS[name](image, amount).int()).abs()
        # The blends may fall on whole numbers, see above. No other operation has anything to round here.
        assert difference.max() <= (1 if name in BLENDS else 0), (name, sign)
        assert difference.double().mean() < 0.05, (name, sign)


def every_outcome(images):
    """(n, C, h, w) -> (28 n, C, h, w): through each operation, in both directions."""
    drawn, signs = torch.arange(14).repeat(2), torch.tensor([1.0, -1.0]).repeat_interleave(14)
    count = len(images)
    pixels = images.float().repeat(28, 1, 1, 1)
    return apply_operations(pixels, drawn.repeat_interleave(count), signs.repeat_interleave(count), 9).to(torch.uint8)


@pytest.mark.slow
def test_every_operation_and_direction_is_equally_likely():
    images = probe(4000)
    torch.manual_seed(0)
    result = rand_augment(images, 1, 9)
    outcomes = every_outcome(images[:1])
    same = (result.flatten(1)[:, None] == outcomes.flatten(1)).all(dim=2)  # (4000, 28)
    for number, name in enumerate(OPERATIONS):
        up, down = same[:, number], same[:, number + 14]
        if name in SIGNED:
            assert not (up & down).any()
            assert_odds(up, 1 / 28)
            assert_odds(down, 1 / 28)
        else:
            assert torch.equal(up, down)
            assert_odds(up, 1 / 14)
    distinct = same[:, :14].sum(dim=1) + same[:, 14:][:, [name in SIGNED for name in OPERATIONS]].sum(dim=1)
    assert (distinct == 1).all()


def test_two_operations_are_drawn_apart():
    images = probe(1500)
    torch.manual_seed(0)
    result = rand_augment(images, 2, 9)
    possible = {bytes(outcome.flatten().tolist()) for outcome in every_outcome(every_outcome(images[:1]))}
    seen = {bytes(outcome.flatten().tolist()) for outcome in result}
    # 23 different first ones (9 with two directions, 5 without) times 23; some pairs meet in the same image.
    assert seen <= possible and len(possible) > 350 and len(seen) > 0.75 * len(possible)


@grey_and_colour
def test_rand_augment_keeps_what_it_must(channels):
    images = pictures(32, channels)
    before = images.clone()
    torch.manual_seed(5)
    result = rand_augment(images, 3, 15)
    assert result.dtype == torch.uint8 and result.shape == images.shape and torch.equal(images, before)
    torch.manual_seed(5)
    assert torch.equal(rand_augment(images, 3, 15), result)
    assert not torch.equal(rand_augment(images, 3, 15), result)
    assert torch.equal(rand_augment(images, 0, 15), images)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"images": torch.rand(2, 3, 8, 8)}, "images are torch.float32, RandAugment needs torch.uint8"),
        ({"images": torch.zeros(3, 8, 8, dtype=torch.uint8)}, r"images \(3, 8, 8\) must be \(B, C, h, w\)"),
        ({"images": torch.zeros(2, 4, 8, 8, dtype=torch.uint8)}, r"images \(2, 4, 8, 8\) must be .* C = 1 or 3"),
        ({"number": -1}, "number -1 must be a whole number"),
        ({"number": 1.5}, "number 1.5 must be a whole number"),
        ({"magnitude": 31}, "magnitude 31 must be a whole number between 0 and 30"),
        ({"magnitude": -1}, "magnitude -1 must be a whole number between 0 and 30"),
        ({"magnitude": 9.5}, "magnitude 9.5 must be a whole number between 0 and 30"),
    ],
    ids=range(8),
)
def test_rand_augment_says_what_is_wrong(change, words):
    arguments = {"images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "number": 2, "magnitude": 9}
    with pytest.raises(ValueError, match=words):
        rand_augment(**arguments | change)
