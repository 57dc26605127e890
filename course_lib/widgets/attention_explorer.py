"""Where a patch looks: attention maps over an image, by layer and head, and rollout (chapters 12 and 13)."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from course_lib.validate import as_pair
from course_lib.widgets.explorer import (
    Numbers,
    as_array,
    as_images,
    brief_percent,
    check_index,
    percent,
    picture,
    place,
    whole_percent,
)
from course_lib.widgets.tensor_explorer import TensorExplorer, to_levels

if TYPE_CHECKING:
    from torch import Tensor

MODES = ("head", "mean", "rollout", "lens")


class AttentionExplorer(TensorExplorer):
    """Images with their attention maps: choose a patch, a layer and a head, and see where the patch looks.

    Shapes: ``images`` (n, C, h, w) or one (C, h, w), uint8 or between 0 and 1, as they were before normalisation;
    ``maps`` (n, L, H, N, N) or (L, H, N, N), as :func:`course_lib.interpret.attention_maps` gives them;
    ``grid_size`` (gh, gw), rows and columns of patches. The N - gh * gw tokens before the patches are the class token
    and, if there are more, registers. ``labels``: n short texts. ``files``, ``brief``: see :class:`TensorExplorer`. ``twin``:
    maps of the same shape by a model with random weights; a switch shows them in place of the others. ``one_scale``:
    colours mean the same in all maps, 0.04 % to 40 %, ten times as much in each third; otherwise the darkest is each
    map's own largest number. ``lens`` and, with a twin, ``twin_lens``: (n, L, gh, gw) numbers between 0 and 1, what each
    patch says after each layer, such as a class's probability by :func:`course_lib.interpret.logit_lens`.

    Traits, which follow what the reader does: ``image``, ``layer``, ``head`` and ``query`` (a token), counted from 0 as
    in the tensors (what is shown counts from 1); ``mode``: "head", "mean" (over the heads), "rollout" (through the
    layers up to ``layer``) or "lens"; ``strength`` of the colours, 0 to 1; ``random``, whether the twin is shown.
    ``weights`` holds the numbers of the map shown: of all tokens, or with "lens" of the patches.

    The page shows one head's numbers with PyTorch's digits; means differ by at most 1e-5 and rollouts by about 3e-5.
    With ``brief`` files the means are written beside the heads, in two bytes, and are as exact; those of the twin are
    made of its bytes. What patches say travels in a byte, to 0.2 %.

    Raises ValueError when shapes do not fit (both are named), when rows of ``maps`` do not sum to 1, and when a trait is
    assigned a value outside its range.
    """

    module = "attention_explorer"
    state_names = (
        "aspect", "brief", "extra", "files", "grid", "head", "heads", "image", "images", "labels", "layer", "layers",
        "lens", "mode", "one_scale", "packed", "query", "random", "strength", "tokens", "twin",
    )  # fmt: skip

    image = traitlets.Int(help="which image is shown").tag(sync=True)
    layer = traitlets.Int(help="the layer, or the last one of the rollout").tag(sync=True)
    head = traitlets.Int().tag(sync=True)
    query = traitlets.Int(help="the token that looks").tag(sync=True)
    mode = traitlets.Enum(MODES, "head").tag(sync=True)
    strength = traitlets.Float(help="0: the image alone, 1: the colours alone").tag(sync=True)
    random = traitlets.Bool(help="whether the twin is shown").tag(sync=True)
    twin = traitlets.Bool(help="whether there is one", read_only=True).tag(sync=True)
    one_scale = traitlets.Bool(help="of colours, for all maps", read_only=True).tag(sync=True)
    lens = traitlets.List(help="base64, 255 for 1: of each image, then of its twin", read_only=True).tag(sync=True)
    images = traitlets.List(help="data URLs", read_only=True).tag(sync=True)
    labels = traitlets.List(read_only=True).tag(sync=True)
    grid = traitlets.List(help="rows and columns of patches", read_only=True).tag(sync=True)
    aspect = traitlets.Float(help="width / height", read_only=True).tag(sync=True)
    layers = traitlets.Int(read_only=True).tag(sync=True)
    heads = traitlets.Int(read_only=True).tag(sync=True)
    tokens = traitlets.Int(read_only=True).tag(sync=True)
    extra = traitlets.List(help="names of the tokens before the patches", read_only=True).tag(sync=True)

    def __init__(
        self, images: Numbers, maps: Numbers, grid_size: int | Sequence[int], *, labels: Sequence[object] | None = None,
        twin: Numbers | None = None, lens: Numbers | None = None, twin_lens: Numbers | None = None,
        one_scale: bool = False, files: str | None = None, brief: bool = False,
        image: int = 0, layer: int | None = None, head: int = 0, query: int | None = None, mode: str = "head",
        strength: float = 0.7, **kwargs: Any,
    ) -> None:  # fmt: skip
        images, grid = as_images(images), as_pair("grid_size", grid_size)
        maps = self._as_maps("maps", maps, len(images), grid)
        twins = maps[:0] if twin is None else self._as_maps("twin", twin, len(images), grid)
        if twin is not None and twins.shape != maps.shape:
            raise ValueError(f"twin {twins.shape} must have the shape of maps {maps.shape}.")
        labels = [f"{i}" for i in range(1, len(images) + 1)] if labels is None else [str(label) for label in labels]
        if len(labels) != len(images):
            raise ValueError(f"{len(images)} images have {len(labels)} labels: give one for each.")
        layers, heads, tokens = maps.shape[1:4]
        shape = (len(images), layers, *grid)
        said = [
            self._as_lens(name, part, shape)
            for name, part in (("lens", lens), ("twin_lens", twin_lens))
            if part is not None
        ]
        if said and len(said) != 1 + (twin is not None):
            raise ValueError("lens and twin_lens belong together where there is a twin: give both, or neither.")
        extra = tokens - grid[0] * grid[1]
        names = ["class token"] + [f"register {i}" for i in range(1, extra)]
        fixed = {
            "images": [picture(each) for each in images],
            "labels": labels,
            "grid": list(grid),
            "aspect": images.shape[3] / images.shape[2],
            "layers": layers,
            "heads": heads,
            "tokens": tokens,
            "extra": names[:extra],
            "twin": twin is not None,
            "one_scale": one_scale,
            "lens": [base64.b64encode(each.tobytes()).decode() for part in said for each in part],
        }
        for name, value in fixed.items():
            self.set_trait(name, value)
        self._maps, self._twins, self._said = maps, twins, said
        self._store(np.concatenate([maps, twins]).reshape(-1, heads, tokens, tokens), files, brief=brief)
        middle = grid[0] // 2 * grid[1] + grid[1] // 2
        query = (0 if extra else middle) if query is None else query
        layer = layers - 1 if layer is None else layer
        super().__init__(image=image, layer=layer, head=head, query=query, mode=mode, strength=strength, **kwargs)

    @staticmethod
    def _as_maps(name: str, maps: Numbers, count: int, grid: tuple[int, int]) -> np.ndarray:
        maps = as_array(name, maps)
        maps = maps[None] if maps.ndim == 4 else maps
        if maps.ndim != 5 or maps.shape[3] != maps.shape[4] or not maps.size:
            raise ValueError(f"{name} must be (n, L, H, N, N) or (L, H, N, N), got {maps.shape}.")
        if len(maps) != count:
            raise ValueError(f"{count} images need {name} (n, L, H, N, N) with n = {count}, got {maps.shape}.")
        if maps.shape[3] < grid[0] * grid[1]:
            raise ValueError(
                f"{name} {maps.shape} are of {maps.shape[3]} tokens, fewer than the patches of grid_size {grid}."
            )
        sums = maps.sum(axis=-1)
        worst = sums.flat[abs(sums - 1).argmax()]
        if maps.min() < 0 or abs(worst - 1) > 0.03:
            raise ValueError(
                f"every row of {name} must be shares that sum to 1; the smallest number is {maps.min():.3g}, a row sums to "
                f"{worst:.3g}: give the weights after the softmax."
            )
        return maps

    @staticmethod
    def _as_lens(name: str, numbers: Numbers, shape: tuple[int, ...]) -> np.ndarray:
        """(n, L, gh * gw) uint8: 255 times what each patch says."""
        numbers = as_array(name, numbers)
        if numbers.shape != shape or numbers.min() < 0 or numbers.max() > 1:
            raise ValueError(
                f"{name} must be {shape}, between 0 and 1, got {numbers.shape}, {numbers.min():.3g} to {numbers.max():.3g}: "
                "one number a patch, after each layer."
            )
        return (255 * numbers).round().astype(np.uint8).reshape(*shape[:2], -1)

    @traitlets.validate("mode")
    def _check_mode(self, proposal):
        if proposal.value == "lens" and not self.lens:
            raise ValueError("mode 'lens' has nothing to show: give lens=, what each patch says after each layer.")
        return proposal.value

    @traitlets.validate("image", "layer", "head", "query")
    def _check_index(self, proposal):
        counts = {"image": len(self.images), "layer": self.layers, "head": self.heads, "query": self.tokens}
        return check_index(proposal.trait.name, proposal.value, counts[proposal.trait.name])

    @traitlets.validate("strength")
    def _check_strength(self, proposal):
        if not 0 <= proposal.value <= 1:
            raise ValueError(f"strength must lie between 0 and 1, got {proposal.value}.")
        return proposal.value

    @traitlets.validate("random")
    def _check_random(self, proposal):
        if proposal.value and not self.twin:
            raise ValueError("random has nothing to show: give the maps of a twin.")
        return proposal.value

    @property
    def _shown(self) -> np.ndarray:
        """(L, H, N, N) of the image that is shown."""
        return (self._twins if self.random else self._maps)[self.image]

    def write_files(self, folder: str | Path) -> list[Path]:
        """As :meth:`TensorExplorer.write_files`; of brief files, the means over the heads as well."""
        paths = super().write_files(folder)
        if not self.brief:
            return paths
        means = (to_levels(part.astype(np.float64).mean(axis=0)) for image in self._maps for part in image)
        return paths + self._write(folder, "mean.", means)

    @property
    def weights(self) -> Tensor:
        """(N,) tensor in float64: how the chosen token's weight is shared out in the map shown; "lens": (gh * gw,)."""
        import torch

        from course_lib.interpret.maps import attention_rollout

        if self.mode == "lens":
            return torch.from_numpy(self._said[self.random][self.image, self.layer]).double() / 255
        maps = torch.from_numpy(self._shown).double()  # (L, H, N, N)
        if self.mode == "head":
            return maps[self.layer, self.head, self.query]
        if self.mode == "mean":
            return maps[self.layer, :, self.query].mean(dim=0)
        return attention_rollout(maps[None, : self.layer + 1])[0, self.query]

    def _place(self, token: int) -> str:
        before = len(self.extra)
        return f"the {self.extra[token]}" if token < before else place(token - before, self.grid[1])

    def _target(self, weights) -> str:
        """What gets most, and how much."""
        top = int(weights.argmax())
        text = brief_percent if self.brief and (self.random or self.mode == "head") else percent
        return f"{'itself' if top == self.query else self._place(top)}: {text(float(weights[top]))}"

    def describe(self) -> str:
        """The present state in one or two sentences."""
        depth = self.layer + 1
        which = f"Image “{self.labels[self.image]}”. " if len(self.images) > 1 else ""
        which += "Random weights. " if self.random else ""
        if self.mode == "lens":
            said, patch = self.weights.tolist(), self.query - len(self.extra)
            chosen = f" {self._place(self.query).capitalize()}: {whole_percent(said[patch])}." if patch >= 0 else ""
            return (
                f"{which}Logit lens after layer {depth}: the patches say {whole_percent(min(said))} to "
                f"{whole_percent(max(said))}.{chosen}"
            )
        asker = self._place(self.query) if self.query < len(self.extra) else f"patch {self._place(self.query)},"
        start = {
            "head": f"Layer {depth}, head {self.head + 1}: {asker} looks most at",
            "mean": f"Layer {depth}, mean of {self.heads} heads: {asker} looks most at",
            "rollout": f"Rollout through {'layer 1' if depth == 1 else f'layers 1 to {depth}'}: {asker} draws most on",
        }[self.mode]
        even = percent(1 / self.tokens)
        return f"{which}{start} {self._target(self.weights)}. Spread evenly, it would be {even}."

    def text_alternative(self) -> str:
        rows = "\n".join(
            f"<tr><td>{head + 1}</td><td>{self._target(self._shown[self.layer, head, self.query])}</td></tr>"
            for head in range(self.heads)
        )
        lens = " The logit lens shows what each patch says after each layer." if self.lens else ""
        return (
            "<p><strong>Attention explorer.</strong> A patch of an image is chosen, and colours over the image show how the\n"
            f"patch shares out its attention: in each of {self.layers} layers and {self.heads} heads, as the mean of the heads, or\n"
            f"rolled out through the layers.{lens}{'' if self.brief else ' In a notebook, run this cell to try it.'}</p>\n"
            f"<p>{html.escape(self.describe())}</p>\n"
            f"<table>\n<thead><tr><th>head of layer {self.layer + 1}</th><th>looks most at</th></tr></thead>\n"
            f"<tbody>\n{rows}\n</tbody>\n</table>"
        )

    def __repr__(self) -> str:
        return (
            f"AttentionExplorer({len(self.images)} images, {self.layers} layers, {self.heads} heads, {self.tokens} tokens, "
            f"grid {self.grid[0]} × {self.grid[1]})"
        )
