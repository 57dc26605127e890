"""What the tests of the data share: a data folder of their own, pictures that were drawn, refusals in one line, odds."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

HEIGHT, WIDTH = 20, 28  # not square, so that no axis can stand in for the other
NO_CHANGE = {"angle": 0.0, "translate": [0.0, 0.0], "scale": 1.0, "shear": [0.0, 0.0]}  # torchvision's affine


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """The test sees neither the real data folder nor the network."""
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


def picture(seed, width=6, height=5):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def pictures(batch, channels=3, height=HEIGHT, width=WIDTH, seed=0):
    """Smooth, noisy, dark and bright ones in turn, and at the end one of two levels and one of a single level."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, channels, 4, 4, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    noise = torch.rand(batch, channels, height, width, generator=generator)
    images = torch.where(torch.arange(batch)[:, None, None, None] % 2 == 0, smooth, noise)
    images[::4] *= 0.5
    images[1::4] = images[1::4] * 0.5 + 0.5
    images[-2] = 0.1 + 0.7 * (noise[-2] < 0.5)
    images[-1] = 0.3
    return (images * 255).to(torch.uint8)


def assert_odds(happened, odds):
    """What happened (n,), of chance `odds` each time, came out within four standard deviations."""
    assert abs(happened.double().mean() - odds) <= 4 * math.sqrt(odds * (1 - odds) / len(happened))


def probe(count):
    """Copies of one small image, of which no two operations make the same."""
    noise = torch.rand(1, 3, 18, 18, generator=torch.Generator().manual_seed(0))
    image = (20 + 220 * noise).to(torch.uint8)  # neither black nor white, or autocontrast would leave it alone
    return image.expand(count, -1, -1, -1).contiguous()
