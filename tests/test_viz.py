"""The figures' helpers."""

import itertools

import matplotlib
import numpy as np
import pytest
import torch

from course_lib import viz

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context():
        viz.set_style()
        yield


def luminance(color):
    """Relative luminance of WCAG 2."""
    channels = np.array(matplotlib.colors.to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_heatmap_shows_the_matrix_row_zero_on_top():
    matrix = torch.tensor([[0.0, 0.25, 0.5], [1.0, 0.75, 0.125]])
    ax = viz.heatmap(matrix, rows=["a", "b"], columns=[1, 2, 3], title="weights", annotate=True)
    (image,) = ax.images
    assert np.array_equal(image.get_array(), matrix.numpy()) and image.get_clim() == (0.0, 1.0)
    assert image.origin == "upper" and ax.get_title(loc="left") == "weights"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3"]
    assert [text.get_text() for text in ax.texts] == ["0.00", "0.25", "0.50", "1.00", "0.75", "0.12"]


def test_heatmap_draws_where_it_is_told():
    _figure, axes = matplotlib.pyplot.subplots(1, 2)
    assert viz.heatmap(torch.zeros(2, 2), axes[1]) is axes[1] and not axes[0].images
    assert len(axes[1].get_xticks()) == 0


@pytest.mark.parametrize("value", np.linspace(0, 1, 21))
@pytest.mark.parametrize("cmap", [viz.WEIGHTS, viz.SIGNED], ids=lambda cmap: cmap.name)
def test_numbers_in_cells_can_be_read(cmap, value):
    assert contrast(viz._readable_on(cmap, value, (0.0, 1.0)), cmap(value)) >= 4.5


def test_weights_darken_evenly():
    steps = [luminance(viz.WEIGHTS(x)) for x in np.linspace(0, 1, 33)]
    assert all(a > b for a, b in itertools.pairwise(steps))


def test_text_and_lines_stand_out_from_the_paper():
    assert contrast(viz.INK, viz.PAPER) > 7 and contrast(viz.MUTED, viz.PAPER) > 4.5
    assert all(contrast(color, viz.PAPER) >= 2.5 for color in (viz.QUERY, viz.KEY, viz.VALUE, viz.OUTPUT))


def test_draw_matrix_draws_every_cell_to_scale():
    ax = viz.draw_matrix(matplotlib.pyplot.subplots()[1], 2, 3, 4, viz.KEY, "K", y=1, caption="(3, 4)", dark=[0])
    corners = {cell.get_xy() for cell in ax.patches}
    assert corners == {(2 + j, 1 + 3 / 2 - 1 - i) for i in range(3) for j in range(4)}
    dark = {cell.get_xy()[1] for cell in ax.patches if cell.get_alpha() > 0.5}
    assert dark == {1.5} and {text.get_text() for text in ax.texts} == {"K", "(3, 4)"}
