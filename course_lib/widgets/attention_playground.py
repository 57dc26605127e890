"""One query among keys in the plane: drag it, and see weights and output move (chapter 01)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import traitlets

from course_lib.widgets.base import CourseWidget
from course_lib.widgets.explorer import Numbers

if TYPE_CHECKING:
    from torch import Tensor

# Chosen so that something happens: k1 and k2 point almost the same way (their values do not), k3 the opposite way,
# k4 is long, k5 is short. The starting query points closest to k2, and k4 wins by its length. Values stand elsewhere
# than their keys.
KEYS = [[1.35, 0.35], [1.2, 0.75], [-1.2, -0.6], [-0.4, 2.3], [0.35, -0.45]]
VALUES = [[-1.9, 0.5], [0.9, -1.9], [1.9, 0.9], [-1.2, -1.6], [-0.2, 1.9]]
QUERY = [0.8, 1.1]
MAX_KEYS = 9
MAX_SCALE = 5.0


def _shape(data) -> tuple[int, ...]:
    """Shape of nested lists, by their first entries; an array has its own."""
    return (len(data), *(_shape(data[0]) if len(data) else ())) if isinstance(data, list) else ()


def _plain(data) -> Any:
    """Nested lists from lists, tuples, arrays or tensors."""
    data = data.tolist() if hasattr(data, "tolist") else data
    return [_plain(item) for item in data] if isinstance(data, (list, tuple)) else data


def _vectors(name: str, data) -> list[list[float]]:
    rows = _plain(data)
    shape = _shape(rows)
    if len(shape) == 2 and any(_shape(row) != shape[1:] for row in rows):
        raise ValueError(f"{name} must have shape (n, 2), got rows of different lengths")
    if len(shape) != 2 or shape[1] != 2:
        raise ValueError(f"{name} must have shape (n, 2), vectors in the plane, got {shape}")
    if not 1 <= shape[0] <= MAX_KEYS:
        raise ValueError(f"{name} must hold 1 to {MAX_KEYS} vectors, got shape {shape}")
    return [_vector(name, row) for row in rows]


def _vector(name: str, data) -> list[float]:
    row = _plain(data)
    if _shape(row) != (2,) or any(_shape(x) for x in row):
        raise ValueError(f"{name} must have shape (2,), got {_shape(row)}")
    row = [float(x) for x in row]
    if not all(map(math.isfinite, row)):
        raise ValueError(f"{name} must be finite, got {row}")
    return row


def _number(x: float, digits: int) -> str:
    """A number with a true minus sign and no negative zero."""
    text = f"{abs(x):.{digits}f}"
    return "−" + text if x < 0 and float(text) else text


def _point(p) -> str:
    return f"({_number(p[0], 2)}, {_number(p[1], 2)})"


class AttentionPlayground(CourseWidget):
    """A query that can be dragged among keys; ``softmax(scale * q·k)`` weighs the values.

    Shapes: ``keys`` (n, 2), ``values`` (n, 2), ``query`` (2,), ``mask`` (n,) with True = may attend, 1 <= n <= 9.
    ``scale`` lies between 0 (plain average) and 5; by default it is 1/sqrt(d) = 0.707.

    Traits: ``key``, ``value``, ``query``, ``scale``, ``mask``, as plain lists and numbers.
    ``query``, ``scale`` and ``mask`` follow what the reader does; ``weights`` and ``output`` are computed from them
    by :func:`course_lib.attention.scaled_dot_product_attention`. With nothing allowed both are zero.

    Raises ValueError when shapes do not fit (both are named), for a scale outside 0 to 5, and for a query that is
    assigned outside the plane shown.
    """

    module = "attention_playground"
    state_names = ("key", "limit", "mask", "query", "scale", "start", "value")

    # ``keys`` is a name that ipywidgets keeps for itself, hence the singular, as in the library's signatures.
    key = traitlets.List(help="(n, 2)").tag(sync=True)
    value = traitlets.List(help="(n, 2)").tag(sync=True)
    query = traitlets.List(help="(2,)").tag(sync=True)
    scale = traitlets.Float(help="0 to 5").tag(sync=True)
    mask = traitlets.List(help="(n,) True = may attend").tag(sync=True)
    limit = traitlets.Float(help="the plane of the keys shows -limit to limit", read_only=True).tag(sync=True)
    start = traitlets.Dict(help="what Reset goes back to", read_only=True).tag(sync=True)

    def __init__(
        self, keys: Numbers = None, values: Numbers = None, query: Numbers = None, *, scale: float | None = None,
        mask: Numbers = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        if keys is None and values is None:
            keys, values = KEYS, VALUES
        if keys is None or values is None:
            raise ValueError("give both keys (n, 2) and values (n, 2), or neither")
        keys, values = _vectors("keys", keys), _vectors("values", values)
        if len(keys) != len(values):
            raise ValueError(f"every key needs one value: keys have shape {_shape(keys)}, values {_shape(values)}")
        query = _vector("query", QUERY if query is None else query)
        scale = 1 / math.sqrt(2) if scale is None else scale
        mask = self._as_mask([True] * len(keys) if mask is None else mask, keys)
        scale = self._as_scale(scale)
        reach = max(abs(x) for vector in (*keys, query) for x in vector)
        self.set_trait("limit", max(1.0, math.ceil((reach + 0.15) * 2) / 2))
        self.set_trait("start", {"mask": mask, "query": query, "scale": scale})
        super().__init__(key=keys, value=values, query=query, scale=scale, mask=mask, **kwargs)

    @staticmethod
    def _as_mask(mask, keys) -> list[bool]:
        mask = _plain(mask)
        if _shape(mask) != (len(keys),):
            raise ValueError(
                f"mask must have shape ({len(keys)},) to fit keys of shape {_shape(keys)}, got {_shape(mask)}"
            )
        return [bool(x) for x in mask]

    @staticmethod
    def _as_scale(scale) -> float:
        if not 0 <= scale <= MAX_SCALE:
            raise ValueError(f"scale must lie between 0 and {MAX_SCALE:g}, got {scale}")
        return float(scale)

    @traitlets.validate("key", "value")
    def _check_vectors(self, proposal):
        name = proposal.trait.name
        vectors, present = _vectors(name, proposal.value), getattr(self, name)
        if present and len(vectors) != len(present):
            raise ValueError(f"{name} must keep shape {_shape(present)}, got {_shape(vectors)}")
        return vectors

    @traitlets.validate("query")
    def _check_query(self, proposal):
        query = _vector("query", proposal.value)
        if max(map(abs, query)) > self.limit:
            raise ValueError(f"query {_point(query)} lies outside the plane shown, −{self.limit:g} to {self.limit:g}")
        return query

    @traitlets.validate("scale")
    def _check_scale(self, proposal):
        return self._as_scale(proposal.value)

    @traitlets.validate("mask")
    def _check_mask(self, proposal):
        return self._as_mask(proposal.value, self.key)

    def _attend(self) -> tuple[Tensor, Tensor]:
        """(output (2,), weights (n,)) as float64 tensors."""
        import torch

        from course_lib.attention import scaled_dot_product_attention

        query, key, value = (torch.tensor(x, dtype=torch.float64) for x in ([self.query], self.key, self.value))
        query = query * (self.scale * math.sqrt(query.shape[-1]))  # the function divides by sqrt(d) itself
        output, weights = scaled_dot_product_attention(query, key, value, torch.tensor([self.mask]))
        return output[0], weights[0]

    @property
    def weights(self) -> Tensor:
        """(n,) tensor: ``softmax(scale * q·k)`` over the keys that may be attended to."""
        return self._attend()[1]

    @property
    def output(self) -> Tensor:
        """(2,) tensor: the weighted average of the values."""
        return self._attend()[0]

    def describe(self) -> str:
        """The present state in one or two sentences."""
        output, weights = (x.tolist() for x in self._attend())
        start = f"Query {_point(self.query)}, scale {_number(self.scale, 3)}. "
        if not any(self.mask):
            return (
                f"{start}No key may be attended to: every weight is 0 and the output is the zero vector (0.00, 0.00)."
            )
        each = ", ".join(
            f"k{i} {_number(w, 3)}{'' if ok else ' (masked)'}"
            for i, (w, ok) in enumerate(zip(weights, self.mask, strict=True), 1)
        )
        shared = math.exp(-sum(w * math.log(w) for w in weights if w > 0))
        return f"{start}Weights: {each}, as if {_number(shared, 1)} keys shared the weight. Output {_point(output)}."

    def text_alternative(self) -> str:
        weights = self.weights.tolist()
        rows = "\n".join(
            f"<tr><td>k{i}</td><td>{_point(key)}</td><td>{_number(sum(map(float.__mul__, self.query, key)), 2)}</td>"
            f"<td>{'yes' if ok else 'no'}</td><td>{_number(weight, 3)}</td><td>v{i} {_point(value)}</td></tr>"
            for i, (key, value, weight, ok) in enumerate(zip(self.key, self.value, weights, self.mask, strict=True), 1)
        )
        return (
            "<p><strong>Attention playground.</strong> A query is dragged among keys in the plane. Every key gets a weight,\n"
            "softmax(scale · q·k), and the output is the average of the values with these weights, so it never leaves the\n"
            "region that the values span. The scale can be changed and keys can be masked. In a notebook, run this cell to\n"
            "try it.</p>\n"
            f"<p>{self.describe()}</p>\n"
            "<table>\n<thead><tr><th>key</th><th>at</th><th>q·k</th><th>may attend</th><th>weight</th><th>value</th></tr></thead>\n"
            f"<tbody>\n{rows}\n</tbody>\n</table>"
        )

    def __repr__(self) -> str:
        return (
            f"AttentionPlayground(query={_point(self.query)}, scale={_number(self.scale, 3)}, "
            f"{sum(self.mask)} of {len(self.key)} keys allowed)"
        )
