"""The course's figures: one style, one colour for each role, functions that draw on the Axes `ax` and return it.

Where `ax` is None they draw in a new figure. What is drawn may be a tensor, an array or a list.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.patches import Rectangle
from matplotlib_inline.backend_inline import set_matplotlib_formats

# Okabe and Ito's colours, told apart with every common kind of colour blindness. The roles are the
# same in figures, widgets and pages.
QUERY = "#D55E00"
KEY = "#0072B2"
VALUE = "#009E73"
OUTPUT = "#CC79A7"
INK = "#1f2430"
MUTED = "#5b6472"
PAPER = "#fdfcf9"
LINE = "#d9d5cc"

# 0 is the paper, 1 is dark: lightness falls evenly, so the map survives a grey printer.
WEIGHTS = LinearSegmentedColormap.from_list("weights", [PAPER, "#9ecae8", KEY, "#0b2a4a"])
# Below 0 vermilion, above 0 blue, 0 is the paper.
SIGNED = LinearSegmentedColormap.from_list("signed", [QUERY, "#f0b78f", PAPER, "#93c3e2", KEY])


def set_style() -> None:
    """Use the course's style for all figures from here on. Every setup cell calls it."""
    set_matplotlib_formats("retina")
    plt.rcParams.update(
        {
            "figure.facecolor": PAPER,
            "figure.figsize": (7, 3),
            "figure.dpi": 88,
            "figure.constrained_layout.use": True,
            "savefig.facecolor": PAPER,
            "savefig.pad_inches": 0.2,
            "axes.facecolor": PAPER,
            "axes.edgecolor": MUTED,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "axes.titlesize": 12,
            "axes.titlelocation": "left",
            "axes.labelsize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=[KEY, QUERY, VALUE, OUTPUT, MUTED]),
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "text.color": INK,
            "font.size": 11,
            "legend.frameon": False,
            "lines.linewidth": 2,
            "lines.markersize": 6,
            "grid.color": LINE,
        }
    )


def heatmap(
    matrix: Any,
    ax: Axes | None = None,
    *,
    rows: Iterable[Any] | None = None,
    columns: Iterable[Any] | None = None,
    title: str = "",
    annotate: bool = False,
    cmap: Colormap = WEIGHTS,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Axes:
    """Draw a matrix as coloured cells, row 0 on top: for weights, row = query, column = key.

    Args:
        matrix: (rows, columns), tensor or array.
        rows, columns: labels of the rows and columns.
        title: above the map.
        annotate: write each value into its cell.
        cmap, limits: colours, and the values at both ends of them.
    """
    matrix = np.asarray(matrix)
    ax = ax or plt.subplots()[1]
    ax.imshow(matrix, cmap=cmap, vmin=limits[0], vmax=limits[1], interpolation="nearest")
    for axis, labels, count in ((ax.yaxis, rows, matrix.shape[0]), (ax.xaxis, columns, matrix.shape[1])):
        if labels is None:
            axis.set_ticks([])
        else:
            axis.set_ticks(range(count), labels)
    ax.tick_params(length=0)
    ax.spines[:].set(visible=True, color=LINE)
    ax.set_title(title)
    if annotate:
        for (row, column), value in np.ndenumerate(matrix):
            ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=_readable_on(cmap, value, limits))
    return ax


def draw_matrix(
    ax: Axes,
    x: float,
    rows: int,
    columns: int,
    color: str,
    name: str = "",
    *,
    y: float = 0.0,
    caption: str = "",
    dark: Sequence[int] = (),
) -> Axes:
    """Draw a matrix to scale as a grid of unit cells, for diagrams of shapes.

    Args:
        ax: where to draw; its aspect should be equal.
        x, y: left edge and vertical middle of the grid.
        rows, columns: its size in cells.
        color: of all cells.
        name, caption: above and below the grid.
        dark: the rows that stand out.
    """
    for i in range(rows):
        for j in range(columns):
            corner, alpha = (x + j, y + rows / 2 - 1 - i), 0.9 if i in dark else 0.45
            ax.add_patch(Rectangle(corner, 1, 1, facecolor=color, edgecolor=PAPER, alpha=alpha))
    ax.text(x + columns / 2, y + rows / 2 + 0.4, name, ha="center", fontsize=13)
    ax.text(x + columns / 2, y - rows / 2 - 1.1, caption, ha="center", color=MUTED)
    return ax


def learning_curves(
    runs: Sequence[Mapping[str, Any]],
    value: str = "val_accuracy",
    ax: Axes | None = None,
    *,
    label: str = "",
    color: str = KEY,
    style: str = "-",
    across: str = "epoch",
) -> Axes:
    """Draw one value of several runs: a line for their mean, and a band from the lowest run to the highest.

    Call it once for each recipe, with the same `ax`.

    Args:
        runs: the "runs" of a record; each has a "curve", a list with a dict for each epoch.
        value: the name in these dicts of what is drawn: "train_loss", "val_loss", "val_accuracy", "lr".
        label: of the line, for the legend.
        color, style: of the line.
        across: the name of what is drawn along the horizontal axis: "epoch", or "seconds" (the mean over the runs).

    Raises:
        ValueError: there are no runs, or they have not all the same number of epochs.

    Source: chapter 07.
    """
    lengths = [len(run["curve"]) for run in runs]
    if len(set(lengths)) != 1:
        raise ValueError(f"runs with {lengths} epochs must be at least one, and all of the same length.")
    ax = ax or plt.subplots()[1]
    values, places = (np.array([[row[name] for row in run["curve"]] for run in runs]) for name in (value, across))
    place = places.mean(axis=0)
    ax.fill_between(place, values.min(axis=0), values.max(axis=0), color=color, alpha=0.2, linewidth=0)
    ax.plot(place, values.mean(axis=0), style, color=color, label=label)
    ax.set(xlabel=across, ylabel=value.replace("_", " "))
    return ax


def confusion_matrix(
    counts: Any, ax: Axes | None = None, *, classes: Sequence[str] | None = None, title: str = ""
) -> Axes:
    """Draw which classes are taken for which: row = the true class, column = the answer.

    The mistakes are coloured, the most frequent one darkest. The diagonal, what is right, is written and left blank:
    it would outshine everything else. Cells with 0 are empty.

    Args:
        counts: (K, K) whole numbers, tensor or array.
        classes: K names; the numbers from 0 if None.
        title: above the matrix.

    Raises:
        ValueError: `counts` is not square, or there are not as many names.

    Source: chapter 07.
    """
    counts = np.asarray(counts)
    names = range(len(counts)) if classes is None else classes
    if counts.shape != (len(names), len(names)):
        raise ValueError(f"counts {counts.shape} must be square, with {len(names)} classes.")
    right = np.eye(len(counts), dtype=bool)
    mistakes = np.where(right, 0, counts)
    limits = (0, max(mistakes.max(), 1))
    ax = heatmap(mistakes, ax, rows=names, columns=names, title=title, limits=limits)
    ax.set(xlabel="answer", ylabel="true class")
    for (row, column), count in np.ndenumerate(counts):
        color = MUTED if row == column else _readable_on(WEIGHTS, count, limits)
        if count or row == column:
            ax.text(column, row, f"{count}", ha="center", va="center", color=color, fontsize=9)
    return ax


def reliability(bins: Any, ax: Axes | None = None, *, label: str = "", color: str = KEY, style: str = "o-") -> Axes:
    """Draw how often a classifier is right against how sure it says that it is. On the diagonal it is calibrated.

    Call it once for each classifier, with the same `ax`. The area around a point is the share of images in its bin.

    Args:
        bins: (confidence, accuracy, share) of each bin, all from 0 to 1, as `metrics.score` returns them.
        label: of the line, for the legend.
        color, style: of the line; the first letter of `style` is the shape of the points.

    Raises:
        ValueError: `bins` is not a list of such triples.

    Source: Guo et al. 2017, figure 1; chapter 10.
    """
    bins = np.asarray(bins, dtype=float)
    if bins.ndim != 2 or bins.shape[1] != 3 or not len(bins):
        raise ValueError(f"bins {bins.shape} must be (n, 3): confidence, accuracy and share of each bin.")
    ax = ax or plt.subplots(figsize=(3.6, 3.4))[1]
    confidence, accuracy, share = bins.T
    ax.axline((0, 0), slope=1, color=MUTED, linestyle="--", linewidth=1)
    ax.plot(confidence, accuracy, style, color=color, linewidth=1.2, markersize=4, label=label)
    ax.scatter(confidence, accuracy, 500 * share, color=color, marker=style[0], alpha=0.3, linewidth=0)
    ax.set(xlabel="how sure it is", ylabel="how often it is right", xlim=(0, 1.03), ylim=(0, 1.03))
    return ax


def image_grid(
    images: Any,
    ax: Axes | None = None,
    *,
    columns: int = 8,
    titles: Sequence[str] = (),
    colors: Sequence[str] = (),
    title: str = "",
) -> Axes:
    """Draw images side by side, row by row, each with a title above it if there are any.

    Args:
        images: (n, C, h, w), grey (C = 1, drawn dark on light) or in colour (C = 3); uint8, or between 0 and 1.
        ax: where to draw; a new figure if None, as wide as a page.
        columns: how many images stand in a row.
        titles: n short texts.
        colors: n colours of the titles.
        title: above everything.

    Raises:
        ValueError: other images, or not one title and colour for each.

    Source: chapter 07.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images {images.shape} must be (n, C, h, w) with C = 1 or 3.")
    count, _, height, width = images.shape
    titles = titles or [""] * count
    colors = colors or [INK] * count
    if not len(titles) == len(colors) == count:
        raise ValueError(f"{count} images have {len(titles)} titles and {len(colors)} colours: one of each is needed.")
    if images.dtype == np.uint8:
        images = images / 255
    if images.shape[1] == 1:
        images = 1 - np.repeat(images, 3, axis=1)
    columns, gap = min(columns, count), 0.08  # all lengths are in widths of an image
    tall, head = height / width, (0.32 if any(titles) else 0.0)
    across, down = 1 + gap, tall + gap + head
    bottom = (-(-count // columns) - 1) * down + tall
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 7 / columns * (bottom + head + gap) / across))
    for index, (image, text, color) in enumerate(zip(images, titles, colors, strict=True)):
        x, y = index % columns * across, index // columns * down
        ax.imshow(image.transpose(1, 2, 0).clip(0, 1), extent=(x, x + 1, y + tall, y), interpolation="nearest")
        ax.text(x + 0.5, y - 0.05, text, color=color, ha="center", va="bottom", fontsize=9)
    ax.set(xlim=(-0.02, columns * across), ylim=(bottom + 0.02, -head - 0.02), aspect="equal")
    ax.set_title(title)
    ax.axis("off")
    return ax


def staircase(
    values: Iterable[float], labels: Sequence[str], ax: Axes | None = None, *, half_widths: Iterable[float] = ()
) -> Axes:
    """Draw values as steps, the first at the bottom: each bar grey up to the value before it, and coloured from there.

    What is gained is blue, what is lost vermilion and hatched. The values stand beside the bars.

    Args:
        values: n numbers.
        labels: n texts.
        half_widths: n numbers, how far the interval about each value reaches; 0 for none.

    Raises:
        ValueError: not one label and half width for each value.

    Source: chapter 08.
    """
    steps = [float(value) for value in values]
    halves = list(half_widths) or [0.0 for _ in steps]
    if not len(labels) == len(halves) == len(steps):
        raise ValueError(f"{len(steps)} values have {len(labels)} labels and {len(halves)} half widths: one of each.")
    ax = ax or plt.subplots(figsize=(7, 0.4 * len(steps) + 0.6))[1]
    before = steps[0]
    for y, (value, half) in enumerate(zip(steps, halves, strict=True)):
        ax.barh(y, min(before, value), height=0.7, color=LINE)
        lost = value < before
        style: dict[str, Any] = {"color": "none", "edgecolor": QUERY, "hatch": "///"} if lost else {"color": KEY}
        ax.barh(y, abs(value - before), left=min(before, value), height=0.7, **style)
        if half:
            ax.errorbar(value, y, xerr=half, color=INK, capsize=3, linewidth=1.2)
        ax.text(max(value + half, before), y, f"  {value:.1f}", va="center")
        before = value
    ax.set_yticks(range(len(steps)), labels)
    ax.tick_params(axis="y", length=0)
    return ax


def _readable_on(cmap: Colormap, value: float, limits: tuple[float, float]) -> str:
    """Black or white, whichever stands out from the colour of a cell (WCAG contrast of at least 4.5)."""
    red, green, blue, _ = cmap((value - limits[0]) / (limits[1] - limits[0]))
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    return "black" if luminance > 0.18 else "white"
