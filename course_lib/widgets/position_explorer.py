"""How similar the embeddings of two positions are: one tile for each position (chapters 05 and 11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import traitlets

from course_lib.widgets.explorer import Numbers, as_array, check_index, place, signed
from course_lib.widgets.tensor_explorer import TensorExplorer

if TYPE_CHECKING:
    from torch import Tensor


class PositionExplorer(TensorExplorer):
    """Similarity tiles: choose a position, and see how similar its embedding is to that of every other.

    Shapes: ``similarity`` (gh, gw, gh, gw), cosines, as :func:`course_lib.interpret.pos_embed_similarity` gives them.
    ``files``: see :class:`TensorExplorer`.

    Traits, which follow what the reader does: ``position``, [row, column] counted from 0 as in the tensor (what is
    shown counts from 1), and ``stretch``: False colours -1 to 1 (below 0 vermilion, above 0 blue), True the numbers that
    occur; by default True if none is negative. ``tile`` holds the numbers shown: the page shows them with PyTorch's digits.

    Raises ValueError for another shape, for numbers outside -1 to 1, and for a position outside the grid.
    """

    module = "position_explorer"
    state_names = ("files", "grid", "packed", "position", "stretch")

    position = traitlets.List(traitlets.Int(), help="[row, column]").tag(sync=True)
    stretch = traitlets.Bool(help="colours over the numbers that occur").tag(sync=True)
    grid = traitlets.List(help="rows and columns of patches", read_only=True).tag(sync=True)

    def __init__(
        self, similarity: Numbers, *, position: Sequence[int] | None = None, stretch: bool | None = None,
        files: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        similarity = as_array("similarity", similarity)
        shape = similarity.shape
        if len(shape) != 4 or shape[:2] != shape[2:] or not similarity.size:
            raise ValueError(f"similarity must be (gh, gw, gh, gw), got {shape}.")
        if abs(similarity).max() > 1.001:
            raise ValueError(
                f"similarity must lie between -1 and 1, got {similarity.min():.3g} to {similarity.max():.3g}."
            )
        self._similarity = similarity
        self.set_trait("grid", list(shape[:2]))
        self._store((similarity.astype("float64").reshape(1, -1) + 1) / 2, files)
        position = [shape[0] // 2, shape[1] // 2] if position is None else list(position)
        stretch = bool(similarity.min() >= 0) if stretch is None else stretch
        super().__init__(position=position, stretch=stretch, **kwargs)

    @traitlets.validate("position")
    def _check_position(self, proposal):
        if len(proposal.value) != 2:
            raise ValueError(f"position must be [row, column], got {proposal.value}.")
        names = ("the row of position", "the column of position")
        return [check_index(*each) for each in zip(names, proposal.value, self.grid, strict=True)]

    @property
    def tile(self) -> Tensor:
        """(gh, gw) tensor: the chosen position's similarity to every position."""
        import torch

        return torch.from_numpy(self._similarity[tuple(self.position)]).double()

    def describe(self) -> str:
        """The present state in two sentences."""
        row, column = self.position
        columns = self.grid[1]
        index, tile = row * columns + column, self.tile
        numbers = tile.flatten()
        others = numbers.clone()
        others[index] = -2.0
        most, least = int(others.argmax()), int(numbers.argmin())
        means = [
            self._mean_without(line, at) for line, at in ((tile[row], column), (tile[:, column], row), (numbers, index))
        ]
        return (
            f"Position {place(index, columns)}: most similar to {place(most, columns)} ({signed(float(numbers[most]))}), "
            f"least to {place(least, columns)} ({signed(float(numbers[least]))}). Mean with the rest of its row {means[0]}, "
            f"of its column {means[1]}, with all others {means[2]}."
        )

    @staticmethod
    def _mean_without(line: Tensor, at: int) -> str:
        return signed(float(line.sum() - line[at]) / (len(line) - 1)) if len(line) > 1 else "–"

    def text_alternative(self) -> str:
        rows, columns = self.grid
        names = "".join(f"<th>{column + 1}</th>" for column in range(columns))
        lines = "\n".join(
            f"<tr><th>{row + 1}</th>{''.join(f'<td>{signed(float(x))}</td>' for x in numbers)}</tr>"
            for row, numbers in enumerate(self.tile)
        )
        return (
            f"<p><strong>Position explorer.</strong> A position of the {rows} × {columns} grid is chosen, and a tile shows the\n"
            "cosine of its embedding with that of every position. In a notebook, run this cell to try it.</p>\n"
            f"<p>{self.describe()}</p>\n"
            f"<table>\n<thead><tr><th></th>{names}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>"
        )

    def __repr__(self) -> str:
        return f"PositionExplorer(grid {self.grid[0]} × {self.grid[1]}, position {self.position})"
