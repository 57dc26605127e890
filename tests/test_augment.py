"""The changes to a training batch: each against torchvision or a loop over images, and what is drawn against its odds."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from data_files import HEIGHT, NO_CHANGE, WIDTH, assert_odds, pictures, probe
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as theirs

from course_lib.data.augment import Augment, affine, box_mask, cutmix, mixup, random_boxes, random_crop_flip
from course_lib.data.image_set import ImageSet
from course_lib.data.rand_augment import rand_augment


def image_set(images, labels=None):
    """A data set whose normalisation leaves float images as they are."""
    count, channels = images.shape[:2]
    labels = torch.arange(count) if labels is None else labels
    classes = tuple(map(str, range(count)))
    return ImageSet("made up", images, labels, classes, mean=(0.0,) * channels, std=(1.0,) * channels)


def augmented(images, seed=0, **settings):
    """(images, targets): one batch of all the images, image i with label i."""
    torch.manual_seed(seed)
    return Augment(**settings)(image_set(images), torch.arange(len(images)), len(images))


def assert_uniform(values, low, high):
    """Inside the range, close to both ends, and mean and variance within four standard deviations."""
    unit = (values.double() - low) / (high - low)
    assert -1e-4 <= unit.min() < 0.02 and 0.98 < unit.max() <= 1 + 1e-4
    assert abs(unit.mean() - 1 / 2) <= 4 * math.sqrt(1 / 12 / len(unit))
    assert abs(((unit - 1 / 2) ** 2).mean() - 1 / 12) <= 4 * math.sqrt(1 / 180 / len(unit))


# Crops and flips


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_crop_and_flip_equal_a_loop(padding, dtype):
    images = pictures(64).to(dtype)
    before = images.clone()
    generator = torch.Generator().manual_seed(1)
    shifts = torch.randint(2 * padding + 1, (64, 2), generator=generator)
    shifts[0], shifts[1] = 0, 2 * padding
    flips = torch.rand(64, generator=generator) < 0.5
    result = random_crop_flip(images, shifts, flips, padding)
    assert result.dtype == dtype and torch.equal(images, before)
    for image, (top, left), flip, cut in zip(images, shifts.tolist(), flips, result, strict=True):
        padded = torch.zeros(3, HEIGHT + 2 * padding, WIDTH + 2 * padding, dtype=dtype)
        padded[:, padding : padding + HEIGHT, padding : padding + WIDTH] = image
        window = padded[:, top : top + HEIGHT, left : left + WIDTH]
        assert torch.equal(cut, window.flip(2) if flip else window)


def test_every_crop_and_flip_is_equally_likely():
    image = torch.rand(1, 1, 6, 7, generator=torch.Generator().manual_seed(0)) + 0.1
    outcomes = {(y, x, flip): (y, x, flip) for y in range(5) for x in range(5) for flip in (False, True)}
    shifts = torch.tensor([[y, x] for y, x, _ in outcomes])
    flips = torch.tensor([flip for *_, flip in outcomes])
    candidates = random_crop_flip(image.expand(50, -1, -1, -1), shifts, flips, 2)
    results, _ = augmented(image.expand(2000, -1, -1, -1), crop=2, flip=True)
    same = (results[:, None] == candidates).all(dim=(2, 3, 4))  # (2000, 50)
    assert (same.sum(dim=1) == 1).all()
    for outcome in same.T:
        assert_odds(outcome, 1 / 50)
    assert_odds(same[:, flips].any(dim=1), 0.5)


def test_a_crop_alone_never_flips_and_a_flip_alone_never_shifts():
    images = torch.rand(2000, 1, 6, 7, generator=torch.Generator().manual_seed(0))
    flipped, _ = augmented(images, flip=True)
    mirrored = (flipped == images.flip(3)).all(dim=(1, 2, 3))
    assert torch.equal(flipped[~mirrored], images[~mirrored])
    assert_odds(mirrored, 0.5)
    cropped, _ = augmented(images, crop=1)
    candidates = [F.pad(images, (1, 1, 1, 1))[:, :, y : y + 6, x : x + 7] for y in range(3) for x in range(3)]
    assert torch.stack([(cropped == c).all(dim=(1, 2, 3)) for c in candidates]).any(dim=0).all()


# Maps of the plane


def plane_map(first, second, batch=1):
    return torch.tensor([[first, second]]).expand(batch, -1, -1)


def test_the_map_that_moves_nothing():
    images = pictures(8) / 255
    assert (affine(images, plane_map([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], 8), 0.5) - images).abs().max() <= 1e-5


@pytest.mark.parametrize("right, down", [(3, 0), (0, 2), (-5, 4), (1, -7)])
def test_whole_pixels_move_exactly_and_fill_comes_in(right, down):
    images = pictures(8) / 255
    fill = torch.tensor([0.2, 0.5, -1.0])[:, None, None]
    matrices = plane_map([1.0, 0.0, -2 * right / WIDTH], [0.0, 1.0, -2 * down / HEIGHT], 8)
    expected = fill.expand(8, 3, HEIGHT, WIDTH).clone()
    for y in range(max(down, 0), HEIGHT + min(down, 0)):
        for x in range(max(right, 0), WIDTH + min(right, 0)):
            expected[:, :, y, x] = images[:, :, y - down, x - right]
    assert (affine(images, matrices, fill) - expected).abs().max() <= 1e-5


def test_a_quarter_turn_is_exact():
    images = pictures(8, height=24, width=24) / 255
    turned = affine(images, plane_map([0.0, -1.0, 0.0], [1.0, 0.0, 0.0], 8), 0.0)
    assert (turned - images.rot90(1, (2, 3))).abs().max() <= 1e-5


@pytest.mark.parametrize("amount", [-0.31, 0.07, 0.4])
@pytest.mark.parametrize(
    "matrix, change",
    [
        (
            lambda t: ([math.cos(t), -math.sin(t), 0], [math.sin(t), math.cos(t), 0]),
            lambda t: {"angle": -math.degrees(t)},
        ),
        (lambda t: ([1 + t, 0, 0], [0, 1 + t, 0]), lambda t: {"scale": 1 / (1 + t)}),
        (lambda t: ([1, t, 0], [0, 1, 0]), lambda t: {"shear": [math.degrees(math.atan(t)), 0.0]}),
        (lambda t: ([1, 0, 2 * t], [0, 1, 0]), lambda t: {"translate": [-t * 24, 0.0]}),
        (lambda t: ([1, 0, 0], [0, 1, 2 * t]), lambda t: {"translate": [0.0, -t * 24]}),
    ],
    ids=["angle", "scale", "shear", "translate x", "translate y"],
)
def test_affine_equals_torchvision(matrix, change, amount):
    images = pictures(8, height=24, width=24) / 255
    matrices = torch.tensor([matrix(amount)], dtype=torch.float32).expand(8, -1, -1)
    fill = torch.tensor([0.2, 0.5, -1.0])[:, None, None]
    # Theirs with fill 0: with another, torchvision weights the outermost pixels twice.
    expected = (
        theirs.affine(images - fill, **NO_CHANGE | change(amount), interpolation=v2.InterpolationMode.BILINEAR) + fill
    )
    assert (affine(images, matrices, fill) - expected).abs().max() <= 2e-4


def test_each_image_moves_by_its_own_map():
    images, generator = pictures(8) / 255, torch.Generator().manual_seed(0)
    matrices = torch.eye(2, 3) + 0.3 * torch.rand(8, 2, 3, generator=generator)
    together = affine(images, matrices, 0.0)
    for image, matrix, result in zip(images, matrices, together, strict=True):
        assert (affine(image[None], matrix[None], 0.0)[0] - result).abs().max() <= 1e-5


def drawn_maps(count=3000, **settings):
    """The maps that were drawn, read off images that show where each pixel came from: (count, 2, 3).

    In pixels, and on an image that is not square: only there is a turn that is done from -1 to 1 seen to slant.
    The shifts are in half images.
    """
    height, width, row, column = 21, 31, 10, 15
    x, y = torch.arange(width) - column, torch.arange(height) - row  # pixels from the middle
    image = torch.stack([x.expand(height, width), y[:, None].expand(height, width)]).float()
    images = image.expand(count, -1, -1, -1)
    result, _ = augmented(images, **settings)
    across = (result[:, :, row, column + 1] - result[:, :, row, column - 1]) / 2
    down = (result[:, :, row + 1, column] - result[:, :, row - 1, column]) / 2
    shift = result[:, :, row, column] / torch.tensor([width / 2, height / 2])
    return torch.stack([across, down, shift], dim=2)


def test_turns_are_drawn_evenly():
    matrices = drawn_maps(rotate=30.0)
    angles = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0])
    assert_uniform(angles.rad2deg(), -30, 30)
    expected = torch.stack([angles.cos(), -angles.sin(), 0 * angles, angles.sin(), angles.cos(), 0 * angles], dim=1)
    assert (matrices.flatten(1) - expected).abs().max() <= 1e-4


def test_sizes_are_drawn_evenly():
    matrices = drawn_maps(scale=0.2)
    assert_uniform(matrices[:, 0, 0], 0.8, 1.2)
    expected = matrices[:, :1, :1] * torch.eye(2, 3)
    assert (matrices - expected).abs().max() <= 1e-4


def test_shears_are_drawn_evenly():
    matrices = drawn_maps(shear=0.3)
    assert_uniform(matrices[:, 0, 1], -0.3, 0.3)
    matrices[:, 0, 1] = 0
    assert (matrices - torch.eye(2, 3)).abs().max() <= 1e-4


def test_shifts_are_drawn_evenly_and_apart():
    matrices = drawn_maps(translate=0.1)
    for shifts in matrices[:, :, 2].T:
        assert_uniform(shifts / 2, -0.1, 0.1)
    assert (matrices[:, :, :2] - torch.eye(2)).abs().max() <= 1e-4
    assert abs(torch.corrcoef(matrices[:, :, 2].T)[0, 1]) <= 4 / math.sqrt(3000)


def test_a_turn_and_a_size_go_together():
    # A turned and enlarged image is still not slanted: both columns of its map are as long, and at right angles.
    first, second = drawn_maps(rotate=30.0, scale=0.2)[:, :, :2].unbind(2)
    assert (second - torch.stack([-first[:, 1], first[:, 0]], dim=1)).abs().max() <= 1e-4
    assert_uniform(first.norm(dim=1), 0.8, 1.2)
    assert_uniform(torch.atan2(first[:, 1], first[:, 0]).rad2deg(), -30, 30)


def test_black_comes_in_whatever_the_normalisation():
    images = torch.full((50, 3, 8, 8), 255, dtype=torch.uint8)
    data = ImageSet("white", images, torch.zeros(50, dtype=torch.long), ("white",), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    torch.manual_seed(0)
    result, _ = Augment(translate=0.9)(data, torch.arange(50), 1)
    black = torch.tensor([-0.5 / 0.2, -0.4 / 0.3, -0.3 / 0.4])
    assert ((result.amin(dim=(0, 2, 3)) - black).abs() <= 1e-5).all()


# Boxes


def test_boxes_equal_a_loop():
    torch.manual_seed(0)
    heights, widths = torch.rand(300) * 2 * HEIGHT, torch.rand(300) * WIDTH
    torch.manual_seed(1)
    boxes = random_boxes(heights, widths, HEIGHT, WIDTH)
    torch.manual_seed(1)
    middles_y, middles_x = torch.rand(300) * HEIGHT, torch.rand(300) * WIDTH
    assert boxes.shape == (300, 4) and boxes.dtype == torch.int64
    for box, high, wide, y, x in zip(boxes.tolist(), heights, widths, middles_y, middles_x, strict=True):
        top, bottom = max(0, round(float(y - high / 2))), min(HEIGHT, round(float(y + high / 2)))
        left, right = max(0, round(float(x - wide / 2))), min(WIDTH, round(float(x + wide / 2)))
        assert box == [top, left, bottom, right]


def test_box_mask_equals_a_loop():
    boxes = torch.tensor([[0, 0, HEIGHT, WIDTH], [3, 5, 4, 6], [2, 1, 2, 9], [0, 20, 7, 28]])
    masks = box_mask(boxes, HEIGHT, WIDTH)
    assert masks.shape == (4, 1, HEIGHT, WIDTH)
    for (top, left, bottom, right), mask in zip(boxes.tolist(), masks[:, 0], strict=True):
        expected = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
        expected[top:bottom, left:right] = True
        assert torch.equal(mask, expected)


def test_erasing():
    side, count = 32, 3000
    images = torch.full((count, 1, side, side), 0.5)
    result, _ = augmented(images, erase=0.25)
    changed = (result != 0.5)[:, 0]
    erased = changed.any(dim=(1, 2))
    assert_odds(erased, 0.25)
    # What changed is a whole rectangle, full of noise of its own.
    rows, columns = changed.any(dim=2), changed.any(dim=1)  # (count, side) each
    assert torch.equal(changed, rows[:, :, None] & columns[:, None, :])
    assert ((rows.int().diff(dim=1) == 1).sum(dim=1) + rows[:, 0] <= 1).all()
    noise = result[:, 0][changed]
    assert len(noise.unique()) > 0.9 * len(noise)
    assert abs(noise.mean()) <= 4 / math.sqrt(len(noise)) and abs(noise.std() - 1) <= 4 / math.sqrt(2 * len(noise))
    # The sizes, of those that no edge has cut, to the rounding of half a pixel at each end.
    inside = erased & ~(rows[:, 0] | rows[:, -1] | columns[:, 0] | columns[:, -1])
    high, wide = rows[inside].sum(dim=1), columns[inside].sum(dim=1)
    assert inside.sum() > 100
    assert ((high - 1) * (wide - 1) <= side**2 / 3).all() and ((high + 1) * (wide + 1) >= 0.02 * side**2).all()
    assert ((high + 1) / (wide - 1) >= 0.3).all() and ((wide + 1) / (high - 1) >= 0.3).all()
    area, ratio = high * wide / side**2, high / wide
    assert area.min() < 0.04 and area.max() > 0.25 and ratio.min() < 0.4 and ratio.max() > 2.5
    assert abs(ratio.log().mean()) <= 4 * math.log(1 / 0.3) / math.sqrt(3 * len(ratio))


# MixUp and CutMix


def test_mixup_equals_torchvision():
    images, labels = pictures(8) / 255, torch.arange(8)
    torch.manual_seed(0)
    mixed, targets = v2.MixUp(alpha=1.0, num_classes=8)(images, labels)
    weight = targets[0, 0]  # how much of itself the first one kept
    assert 0.1 < weight < 0.9
    result = mixup(images, F.one_hot(labels).float(), labels.roll(1), weight.expand(8))
    assert (result[0] - mixed).abs().max() <= 1e-6 and (result[1] - targets).abs().max() <= 1e-6


def test_cutmix_equals_torchvision():
    images = torch.arange(8.0)[:, None, None, None].expand(8, 3, HEIGHT, WIDTH).contiguous()
    labels = torch.arange(8)
    torch.manual_seed(3)
    mixed, targets = v2.CutMix(alpha=1.0, num_classes=8)(images, labels)
    places = (mixed != images)[0, 0].nonzero()
    top, left, bottom, right = *places.amin(dim=0).tolist(), *(places.amax(dim=0) + 1).tolist()
    assert 0.1 < targets[0, 0] < 0.9 and bottom - top != right - left
    boxes = torch.tensor([[top, left, bottom, right]]).expand(8, -1)
    result = cutmix(images, F.one_hot(labels).float(), labels.roll(1), boxes)
    assert torch.equal(result[0], mixed) and (result[1] - targets).abs().max() <= 1e-6


def random_mix():
    images, generator = pictures(16) / 255, torch.Generator().manual_seed(0)
    targets = torch.rand(16, 5, generator=generator).softmax(dim=1)
    return images, targets, torch.randperm(16, generator=generator)


def test_mixup_equals_a_loop():
    images, targets, partners = random_mix()
    weight = torch.linspace(0, 1, 16)
    mixed, mixed_targets = mixup(images, targets, partners, weight)
    for row, (partner, share) in enumerate(zip(partners.tolist(), weight.tolist(), strict=True)):
        expected = share * images[row] + (1 - share) * images[partner]
        expected_target = share * targets[row] + (1 - share) * targets[partner]
        assert (mixed[row] - expected).abs().max() <= 1e-6
        assert (mixed_targets[row] - expected_target).abs().max() <= 1e-6
    assert torch.equal(mixed[-1], images[-1]) and torch.equal(mixed[0], images[partners[0]])


def test_cutmix_equals_a_loop():
    images, targets, partners = random_mix()
    torch.manual_seed(0)
    boxes = random_boxes(torch.rand(16) * HEIGHT, torch.rand(16) * WIDTH, HEIGHT, WIDTH)
    mixed, mixed_targets = cutmix(images, targets, partners, boxes)
    for row, (partner, box) in enumerate(zip(partners.tolist(), boxes.tolist(), strict=True)):
        top, left, bottom, right = box
        expected = images[row].clone()
        expected[:, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
        share = (bottom - top) * (right - left) / (HEIGHT * WIDTH)
        expected_target = (1 - share) * targets[row] + share * targets[partner]
        assert torch.equal(mixed[row], expected)
        assert (mixed_targets[row] - expected_target).abs().max() <= 1e-6


def mixed_batches(batches, size=8, **settings):
    """(images, targets) of many batches in which image i is i everywhere, so that each pixel tells where it is from."""
    images = torch.arange(float(size))[:, None, None, None].expand(size, 1, 16, 24)
    data, rows, augment = image_set(images), torch.arange(size), Augment(**settings)
    torch.manual_seed(0)
    results = [augment(data, rows, size) for _ in range(batches)]
    return torch.stack([r[0] for r in results]), torch.stack([r[1] for r in results])  # (batches, size, ...) each


@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_images_and_targets_are_mixed_alike(method):
    images, targets = mixed_batches(300, **{method: 0.8})
    assert (targets.sum(dim=2) - 1).abs().max() <= 1e-5
    assert (targets.sum(dim=1) - 1).abs().amax(dim=1).median() > 0.01  # images of one batch differ in their weight
    # The average pixel is the average of the targets: a mixture of i and j, in the same shares.
    values = torch.arange(8.0)
    assert (images.mean(dim=(2, 3, 4)) - targets @ values).abs().max() <= 1e-4
    flat = images[:, :, 0].flatten(2)
    if method == "cutmix":
        assert torch.equal(flat, flat.round())
    else:
        assert torch.equal(flat.amin(dim=2), flat.amax(dim=2))
    # Every image lends itself to one partner at most, and that partner may be any.
    lent = (targets > 0) & ~torch.eye(8, dtype=torch.bool)
    assert (lent.sum(dim=1) <= 1).all() and (lent.sum(dim=2) <= 1).all()
    assert (lent.double().mean(dim=0)[~torch.eye(8, dtype=torch.bool)] > 0.05).all()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_mixup_weights_follow_beta(alpha):
    _, targets = mixed_batches(400, mixup=alpha)
    kept = targets.diagonal(dim1=1, dim2=2).double().flatten()
    squares = (kept - 0.5) ** 2
    # One image in eight is its own partner and keeps all of itself.
    mean, square = 7 / 8 * 0.5 + 1 / 8, 7 / 8 / (8 * alpha + 4) + 1 / 8 / 4
    assert abs(kept.mean() - mean) <= 4 * kept.std() / math.sqrt(len(kept))
    assert abs(squares.mean() - square) <= 4 * squares.std() / math.sqrt(len(kept))


def test_cutmix_cuts_the_share_that_was_drawn():
    _, targets = mixed_batches(400, cutmix=1.0)
    lost = 1 - targets.diagonal(dim1=1, dim2=2).double().flatten()
    # A share that is drawn evenly has the side s = √share. With its centre anywhere, the edges of the image leave
    # s(1 - s/4) of it on average: the mean of s²(1 - s/4)² is 1/2 - 1/5 + 1/48. One image in eight is its own partner.
    mean = 7 / 8 * (1 / 2 - 1 / 5 + 1 / 48)
    assert abs(lost.mean() - mean) <= 4 * lost.std() / math.sqrt(len(lost))


def test_both_take_turns():
    images, targets = mixed_batches(400, mixup=1.0, cutmix=1.0)
    whole = (images == images.round()).all(dim=(1, 2, 3, 4))
    assert_odds(whole, 0.5)
    assert (images.mean(dim=(2, 3, 4)) - targets @ torch.arange(8.0)).abs().max() <= 1e-4


def test_a_share_of_the_batches_is_mixed():
    images, targets = mixed_batches(400, mixup=1.0, mix_share=0.3)
    mixed = (targets != torch.eye(8)).any(dim=(1, 2))
    assert_odds(mixed, 0.3)
    assert torch.equal(images[~mixed].mean(dim=(2, 3, 4)), torch.arange(8.0).expand((~mixed).sum(), -1))


# All together


EVERYTHING = {
    "crop": 2,
    "flip": True,
    "rotate": 10.0,
    "scale": 0.1,
    "shear": 0.1,
    "translate": 0.1,
    "rand_augment": 2,
    "erase": 0.5,
    "mixup": 0.8,
    "cutmix": 1.0,
}


def test_nothing_waits_for_the_device():
    # Tensors on "meta" have no values: reading one, or joining one with a tensor of the CPU, is an error.
    images = torch.zeros(4, 3, HEIGHT, WIDTH, dtype=torch.uint8, device="meta")
    result = rand_augment(images, 2, 9)
    assert result.device.type == "meta" and result.dtype == torch.uint8 and result.shape == images.shape
    shifts, flips = torch.zeros(4, 2, dtype=torch.long, device="meta"), torch.zeros(4, dtype=torch.bool, device="meta")
    assert random_crop_flip(images, shifts, flips, 2).shape == images.shape
    halves = torch.rand(4, device="meta")
    boxes = random_boxes(halves, halves, HEIGHT, WIDTH)
    targets = torch.zeros(4, 5, device="meta")
    for mixed, _ in (
        cutmix(images, targets, shifts[:, 0], boxes),
        mixup(images.float(), targets, shifts[:, 0], halves),
    ):
        assert mixed.device.type == "meta" and mixed.shape == images.shape
    assert affine(images.float(), torch.zeros(4, 2, 3, device="meta"), 0.0).shape == images.shape


@pytest.mark.parametrize("mixing", [{"mixup": 0.8}, {"cutmix": 1.0}])
def test_a_whole_batch_never_waits_for_the_device(mixing):
    """On any device, also where a Beta cannot be drawn (Apple's): what is drawn on the CPU is sent there."""
    on_cpu = image_set(pictures(4))
    data = SimpleNamespace(
        images=on_cpu.images.to("meta"), labels=on_cpu.labels.to("meta"), normalised=on_cpu.normalised
    )
    settings = {name: value for name, value in EVERYTHING.items() if name not in ("mixup", "cutmix")} | mixing
    images, targets = Augment(**settings)(data, torch.arange(4, device="meta"), 5)
    assert images.device.type == targets.device.type == "meta" and targets.shape == (4, 5)
    assert images.shape == on_cpu.images.shape and images.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_no_batch_makes_a_gpu_wait():
    data, rows = image_set(pictures(8)).to("cuda"), torch.arange(8, device="cuda")
    augment = Augment(**EVERYTHING)
    augment(data, rows, 8)  # what happens only once is done
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(8):
            augment(data, rows, 8)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"crop": -1}, "crop -1 must be a whole number"),
        ({"crop": 1.0}, "crop 1.0 must be a whole number"),
        ({"rand_augment": -2}, "rand_augment -2 must be a whole number"),
        ({"rand_augment": 0.5}, "rand_augment 0.5 must be a whole number"),
        ({"magnitude": 9.5}, "magnitude 9.5 must be a whole number"),
        ({"magnitude": 31}, "magnitude 31 must be between 0 and 30"),
        ({"rotate": 181}, "rotate 181 must be between 0 and 180"),
        ({"rotate": -1.0}, "rotate -1.0 must be between"),
        ({"scale": 1.0}, "scale 1.0 must be between 0 and 0.99"),
        ({"shear": 2.1}, "shear 2.1 must be between 0 and 2"),
        ({"translate": 1.1}, "translate 1.1 must be between 0 and 1"),
        ({"erase": 1.01}, "erase 1.01 must be between 0 and 1"),
        ({"mixup": -0.1}, "mixup -0.1 must be between"),
        ({"mixup": math.inf}, "mixup inf must be between 0 and 1000"),
        ({"cutmix": float("nan")}, "cutmix nan must be between"),
        ({"mix_share": 2}, "mix_share 2 must be between 0 and 1"),
    ],
    ids=str,
)
def test_augment_says_what_is_wrong(settings, words):
    with pytest.raises(ValueError, match=words):
        Augment(**settings)


def test_the_defaults_change_nothing():
    data = ImageSet("made up", pictures(6), torch.tensor([1, 0, 2, 2, 0, 1]), ("a", "b", "c"), (0.5,) * 3, (0.2,) * 3)
    rows = torch.tensor([4, 0, 5])
    images, targets = Augment()(data, rows, 3)
    assert torch.equal(images, data.normalised(data.images[rows]))
    assert (images - (data.images[rows] / 255 - 0.5) / 0.2).abs().max() <= 2e-6  # a few roundings of numbers up to 2.5
    assert torch.equal(targets, torch.eye(3)[[0, 1, 1]])


@pytest.mark.parametrize("name", EVERYTHING)
def test_each_setting_is_reproducible_and_differs_between_images(name):
    settings = {name: EVERYTHING[name]}
    images = probe(400)
    before = images.clone()
    result, targets = augmented(images, seed=7, **settings)
    again, targets_again = augmented(images, seed=7, **settings)
    assert torch.equal(result, again) and torch.equal(targets, targets_again) and torch.equal(images, before)
    assert result.dtype == torch.float32 and result.shape == images.shape and targets.shape == (400, 400)
    assert (targets.sum(dim=1) - 1).abs().max() <= 1e-5
    other, other_targets = augmented(images, seed=8, **settings)
    if name in ("mixup", "cutmix"):  # of equal images, only the targets can show it
        assert not torch.equal(targets, other_targets) and len(targets.amax(dim=1).unique()) > 40
    else:
        assert not torch.equal(result, other)
        distinct = {"flip": 2, "crop": 25, "rand_augment": 150}.get(name, 150)
        assert len(result.flatten(1).unique(dim=0)) >= distinct


def test_all_at_once():
    images = pictures(16)
    before = images.clone()
    result, targets = augmented(images, **EVERYTHING)
    again, targets_again = augmented(images, **EVERYTHING)
    assert result.shape == images.shape and result.isfinite().all() and torch.equal(images, before)
    assert torch.equal(result, again) and torch.equal(targets, targets_again)
    assert (targets.sum(dim=1) - 1).abs().max() <= 1e-5


def test_rand_augment_comes_before_the_normalisation():
    images = pictures(16)
    data = ImageSet("made up", images, torch.arange(16), tuple("abcdefghijklmnop"), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    torch.manual_seed(0)
    result, _ = Augment(rand_augment=3, magnitude=14)(data, torch.arange(16), 16)
    torch.manual_seed(0)
    assert torch.equal(result, data.normalised(rand_augment(images, 3, 14)))


def test_float_images_go_through_all_but_rand_augment():
    images = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    settings = {name: value for name, value in EVERYTHING.items() if name != "rand_augment"}
    result, targets = augmented(images, **settings)
    assert result.shape == images.shape and result.dtype == torch.float32 and result.isfinite().all()
    assert (targets.sum(dim=1) - 1).abs().max() <= 1e-5
    with pytest.raises(ValueError, match="RandAugment needs torch.uint8"):
        augmented(images, rand_augment=1)
