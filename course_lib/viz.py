"""The course's figures: one style, one colour for each role, functions that draw on an Axes and return it."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
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


def set_style():
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
            "axes.prop_cycle": plt.cycler(color=[KEY, QUERY, VALUE, OUTPUT, MUTED]),
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


def heatmap(matrix, ax=None, *, rows=None, columns=None, title="", annotate=False, cmap=WEIGHTS, limits=(0.0, 1.0)):
    """Draw a matrix as coloured cells, row 0 on top: for weights, row = query, column = key.

    Args:
        matrix: (rows, columns), tensor or array.
        ax: where to draw; a new figure if None.
        rows, columns: labels of the rows and columns.
        title: above the map.
        annotate: write each value into its cell.
        cmap, limits: colours, and the values at both ends of them.

    Returns:
        the Axes.
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


def draw_matrix(ax, x, rows, columns, color, name="", *, y=0.0, caption="", dark=()):
    """Draw a matrix to scale as a grid of unit cells, for diagrams of shapes.

    Args:
        ax: where to draw; its aspect should be equal.
        x, y: left edge and vertical middle of the grid.
        rows, columns: its size in cells.
        color: of all cells.
        name, caption: above and below the grid.
        dark: the rows that stand out.

    Returns:
        the Axes.
    """
    for i in range(rows):
        for j in range(columns):
            style = {"facecolor": color, "edgecolor": PAPER, "alpha": 0.9 if i in dark else 0.45}
            ax.add_patch(plt.Rectangle((x + j, y + rows / 2 - 1 - i), 1, 1, **style))
    ax.text(x + columns / 2, y + rows / 2 + 0.4, name, ha="center", fontsize=13)
    ax.text(x + columns / 2, y - rows / 2 - 1.1, caption, ha="center", color=MUTED)
    return ax


def _readable_on(cmap, value, limits):
    """Black or white, whichever stands out from the colour of a cell (WCAG contrast of at least 4.5)."""
    red, green, blue, _ = cmap((value - limits[0]) / (limits[1] - limits[0]))
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    return "black" if luminance > 0.18 else "white"
