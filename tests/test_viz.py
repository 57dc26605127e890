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


RUNS = [
    {"curve": [{"epoch": 1, "seconds": 2.0, "val_loss": 3.0}, {"epoch": 2, "seconds": 4.0, "val_loss": 1.0}]},
    {"curve": [{"epoch": 1, "seconds": 4.0, "val_loss": 5.0}, {"epoch": 2, "seconds": 8.0, "val_loss": 2.0}]},
]


def test_learning_curves_draw_the_mean_and_the_range():
    ax = viz.learning_curves(RUNS, "val_loss", label="two runs", color=viz.QUERY)
    (line,), (band,) = ax.lines, ax.collections
    assert line.get_xydata().tolist() == [[1, 4], [2, 1.5]] and line.get_label() == "two runs"
    assert {tuple(point) for point in band.get_paths()[0].vertices} == {(1, 3), (1, 5), (2, 1), (2, 2)}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "val loss")
    assert viz.learning_curves(RUNS[1:], "val_loss", ax, across="seconds") is ax
    assert ax.lines[1].get_xydata().tolist() == [[4, 5], [8, 2]]


@pytest.mark.parametrize("runs", [[], [*RUNS, {"curve": RUNS[0]["curve"][:1]}]])
def test_learning_curves_of_different_lengths_are_refused(runs):
    with pytest.raises(ValueError, match="all of the same length"):
        viz.learning_curves(runs, "val_loss")


def test_confusion_matrix_colours_the_mistakes_only():
    counts = torch.tensor([[90, 0, 3], [7, 80, 0], [0, 1, 0]])
    ax = viz.confusion_matrix(counts, classes=["cat", "dog", "owl"], title="who is who")
    (image,) = ax.images
    assert image.get_array().tolist() == [[0, 0, 3], [7, 0, 0], [0, 1, 0]] and image.get_clim() == (0, 7)
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {(0, 0): "90", (2, 0): "3", (0, 1): "7", (1, 1): "80", (1, 2): "1", (2, 2): "0"}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "dog", "owl"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")) == ("answer", "true class", "who is who")


def test_confusion_matrix_without_a_mistake():
    assert viz.confusion_matrix(torch.diag(torch.tensor([4, 5]))).images[0].get_clim() == (0, 1)
    with pytest.raises(ValueError, match=r"counts \(2, 3\) must be square"):
        viz.confusion_matrix(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="with 3 classes"):
        viz.confusion_matrix(torch.zeros(2, 2, dtype=torch.int64), classes="abc")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_image_grid_shows_every_image_in_its_place(channels, dtype):
    images = torch.randint(256, (5, channels, 4, 6), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    given = images if dtype == torch.uint8 else images.float() / 255
    ax = viz.image_grid(given, columns=3, titles=list("abcde"), colors=[viz.KEY] * 4 + [viz.QUERY], title="five")
    assert len(ax.images) == 5 and ax.get_title(loc="left") == "five"
    for shown, image in zip(ax.images, images, strict=True):
        wanted = image.permute(1, 2, 0).expand(4, 6, 3) / 255
        assert np.allclose(shown.get_array(), 1 - wanted if channels == 1 else wanted, atol=1e-6)
    edges = np.array([shown.get_extent() for shown in ax.images])  # left, right, bottom, top; the rows go down
    assert np.allclose(edges[:, 1] - edges[:, 0], 1) and np.allclose(edges[:, 2] - edges[:, 3], 4 / 6)
    assert (np.diff(edges[:3, 0]) > 1).all() and np.allclose(edges[:2, :2], edges[3:, :2])
    assert (edges[3:, 3] > edges[:3, 2].max()).all()
    assert [text.get_text() for text in ax.texts] == list("abcde")
    assert [text.get_color() for text in ax.texts] == [viz.KEY] * 4 + [viz.QUERY]
    assert all(text.get_position()[1] < top for text, top in zip(ax.texts, edges[:, 3], strict=True))


def test_image_grid_draws_where_it_is_told():
    ax = matplotlib.pyplot.subplots()[1]
    assert viz.image_grid(torch.zeros(2, 1, 3, 3), ax) is ax and len(ax.images) == 2


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((2, 4, 4), {}, r"images \(2, 4, 4\) must be"),
        ((2, 2, 4, 4), {}, "C = 1 or 3"),
        ((2, 1, 4, 4), {"titles": ["a"]}, "2 images have 1 titles"),
        ((2, 1, 4, 4), {"colors": ["red"] * 3}, "and 3 colours"),
    ],
)
def test_image_grid_refuses_other_images(shape, options, words):
    with pytest.raises(ValueError, match=words):
        viz.image_grid(torch.zeros(shape), **options)


def test_staircase_colours_what_each_step_adds_and_marks_what_it_loses():
    ax = viz.staircase([50, 62.5, 60], ["start", "more", "less"], half_widths=[0, 2, 1])
    spans = [(bar.get_x(), bar.get_x() + bar.get_width(), bar.get_y() + 0.35) for bar in ax.patches]
    assert spans == [(0, 50, 0), (50, 50, 0), (0, 50, 1), (50, 62.5, 1), (0, 60, 2), (60, 62.5, 2)]
    assert [bar.get_hatch() for bar in ax.patches[1::2]] == [None, None, "///"]
    colors = [matplotlib.colors.to_hex(bar.get_facecolor()) for bar in ax.patches[:4]]
    assert colors == [viz.LINE, viz.KEY.lower(), viz.LINE, viz.KEY.lower()]
    reach = [line.get_xdata().tolist() for line in ax.lines if len(line.get_xdata()) == 1]
    assert sorted(x for (x,) in reach if x not in (62.5, 60)) == [59, 60.5, 61, 64.5]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["start", "more", "less"]
    texts = {text.get_text().strip(): text.get_position() for text in ax.texts}
    assert texts == {"50.0": (50, 0), "62.5": (64.5, 1), "60.0": (62.5, 2)}  # clear of bar and interval


def test_staircase_wants_one_label_for_each_value():
    ax = matplotlib.pyplot.subplots()[1]
    assert viz.staircase(torch.tensor([1.0, 2.0]), ["a", "b"], ax) is ax and not ax.lines
    with pytest.raises(ValueError, match="2 values have 1 labels and 2 half widths"):
        viz.staircase([1, 2], ["a"])
    with pytest.raises(ValueError, match="2 values have 2 labels and 3 half widths"):
        viz.staircase([1, 2], ["a", "b"], half_widths=[0, 0, 0])


def test_reliability_draws_points_as_large_as_their_share_against_the_diagonal():
    bins = [[0.2, 0.25, 0.1], [0.5, 0.75, 0.3], [0.9, 0.8, 0.6]]
    ax = viz.reliability(bins, label="mine", color=viz.QUERY, style="s--")
    assert viz.reliability(torch.tensor(bins), ax) is ax
    diagonal, line = ax.lines[:2]
    assert diagonal.get_slope() == 1 and diagonal.get_xy1() == (0, 0)
    assert line.get_xdata().tolist() == [0.2, 0.5, 0.9] and line.get_ydata().tolist() == [0.25, 0.75, 0.8]
    points = ax.collections[0]
    np.testing.assert_allclose(points.get_offsets(), [[0.2, 0.25], [0.5, 0.75], [0.9, 0.8]])
    sizes = points.get_sizes()
    np.testing.assert_allclose(sizes / sizes[0], [1, 3, 6])
    assert matplotlib.colors.to_hex(points.get_facecolor()[0]) == viz.QUERY.lower()
    assert line.get_label() == "mine" and min(ax.get_xlim()[1], ax.get_ylim()[1]) >= 1
    for wrong in ([], [0.2, 0.3, 0.5], [[0.2, 0.3]]):
        with pytest.raises(ValueError, match="confidence, accuracy and share of each bin"):
            viz.reliability(wrong)
