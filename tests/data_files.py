"""What the tests of the data sets share: a data folder of their own, small pictures, refusals in one line."""

import numpy as np
import pytest
from PIL import Image


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
