"""The exercises of chapter 05, class token and positions."""

import torch
import torch.nn.functional as F
from einops import rearrange

from course_lib.checks.exercise import Exercise, Mistake


class Trained(Exercise):
    """An exercise whose answer must also hand gradients back to every number of its inputs, as the oracle does."""

    def _problem(self, inputs, outcome):
        problem, advice = super()._problem(inputs, outcome)
        if problem:
            return problem, advice
        wanted, given = _gradients(self.oracle(**inputs)), _gradients(outcome.value)
        if given.keys() - wanted.keys():
            return (
                "the numbers are right, but you train a new tensor",
                "a new nn.Parameter is a copy that nobody else sees: use the tensor that you are given as it is.",
            )
        for shape, gradient in wanted.items():
            if shape not in given or not torch.allclose(given[shape], gradient):
                name = next(name for name, value in inputs.items() if getattr(value, "shape", None) == shape)
                return (
                    f"the numbers are right, but not all of {name} gets its gradient",
                    "part of it would never train: no .detach(), no .data, no torch.no_grad().",
                )
        return "", ""


def _gradients(result):
    """What a weighted sum of `result` sends back to each tensor that it is made from, by shape: the shapes differ."""
    nodes, leaves = [result.grad_fn], {}
    while nodes:
        node = nodes.pop()
        if hasattr(node, "variable"):
            leaves[node.variable.shape] = node.variable
        nodes += [earlier for earlier, _ in getattr(node, "next_functions", ()) if earlier is not None]
    weights = torch.linspace(1, 2, result.numel(), dtype=result.dtype).view(result.shape)
    return dict(zip(leaves, torch.autograd.grad(result, list(leaves.values()), weights), strict=True)) if leaves else {}


def _prepend_probes(generator):
    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def probe(B, N, D):
        return {"tokens": normal(B, N, D), "cls_token": normal(1, 1, D)}

    single = probe(4, 3, 7)
    return [
        probe(3, 5, 8),
        probe(2, 6, 4),
        probe(5, 2, 6),
        {name: value.float().requires_grad_() for name, value in single.items()},
    ]


def _prepend(tokens, cls_token):
    """Two sums of padded tensors: zeros before the tokens, zeros after the class token."""
    return F.pad(tokens, (0, 0, 1, 0)) + F.pad(cls_token, (0, 0, 0, tokens.shape[1]))


def _overwrite(tokens, cls_token, copy=True):
    tokens = tokens.clone() if copy else tokens
    tokens[:, 0] = cls_token[:, 0]
    return tokens


PREPEND_CLASS_TOKEN = Trained(
    name="prepend_class_token",
    chapter="05",
    signature="prepend_class_token(tokens, cls_token)",
    task="put the one class token (1, 1, D) before the tokens (B, N, D) of every image: (B, N+1, D).",
    probes=_prepend_probes,
    oracle=_prepend,
    mistakes=(
        Mistake(
            "the class token still has batch size 1, and torch.cat does not broadcast: expand it to (B, 1, D) first.",
            lambda tokens, cls_token: torch.cat([cls_token, tokens], dim=1),
        ),
        Mistake(
            "the class token still has batch size 1, and torch.cat does not broadcast: expand it to (B, 1, D), and put it first in the list.",
            lambda tokens, cls_token: torch.cat([tokens, cls_token], dim=1),
        ),
        Mistake(
            "you concatenate along the batch: the tokens are counted by dimension 1, torch.cat(..., dim=1).",
            lambda tokens, cls_token: torch.cat([cls_token, tokens], dim=0),
        ),
        Mistake(
            "you concatenate the expanded class token along the batch: the tokens are counted by dimension 1, torch.cat(..., dim=1).",
            lambda tokens, cls_token: torch.cat([cls_token.expand(len(tokens), -1, -1), tokens], dim=0),
        ),
        Mistake(
            "you concatenate along the features: dim=-1 widens the tokens, dim=1 adds one.",
            lambda tokens, cls_token: torch.cat([cls_token.expand(len(tokens), -1, -1), tokens], dim=-1),
        ),
        Mistake(
            "the class token stands at the end: put it first, the head will read place 0.",
            lambda tokens, cls_token: torch.cat([tokens, cls_token.expand(len(tokens), -1, -1)], dim=1),
        ),
        Mistake(
            "you add the class token to every token: it is a token of its own, put in front with torch.cat.",
            lambda tokens, cls_token: tokens + cls_token,
        ),
        Mistake(
            "each token gets the class token glued to its features, so D doubles: expand it to (B, 1, D), and concatenate along dim=1.",
            lambda tokens, cls_token: torch.cat([cls_token.expand_as(tokens), tokens], dim=-1),
        ),
        Mistake(
            "you put N class tokens in front: one is enough, expand to (B, 1, D) and not to (B, N, D).",
            lambda tokens, cls_token: torch.cat([cls_token.expand_as(tokens), tokens], dim=1),
        ),
        Mistake(
            "you overwrite the first patch, and in the caller's tensor at that: the class token comes in addition, so the result has N+1 tokens.",
            lambda tokens, cls_token: _overwrite(tokens, cls_token, copy=False),
        ),
        Mistake(
            "the class token takes the place of the first patch: it comes in addition, so the result has N+1 tokens.",
            _overwrite,
        ),
        Mistake(
            "only the first image gets the class token, the others get zeros: expand it over the batch.",
            lambda tokens, cls_token: torch.cat([F.pad(cls_token, (0, 0, 0, 0, 0, len(tokens) - 1)), tokens], dim=1),
        ),
        Mistake(
            "that is the mean of the tokens, which is the other way to get one answer: here the learned `cls_token` goes in front.",
            lambda tokens, cls_token: torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1),
        ),
        Mistake(
            "you put zeros in front: use the `cls_token` that you are given, it is what is learned.",
            lambda tokens, cls_token: F.pad(tokens, (0, 0, 1, 0)),
        ),
        Mistake(
            "you put ones in front: use the `cls_token` that you are given, it is what is learned.",
            lambda tokens, cls_token: F.pad(tokens, (0, 0, 1, 0), value=1.0),
        ),
        Mistake(
            "you repeat the tokens too: the batch size stays B, only the class token is handed out B times.",
            lambda tokens, cls_token: _prepend(tokens.repeat(len(tokens), 1, 1), cls_token),
        ),
        Mistake(
            "torch.empty and torch.zeros make float32 whatever the tokens are: add dtype=tokens.dtype, or use torch.cat.",
            lambda tokens, cls_token: _prepend(tokens, cls_token).float(),
        ),
        *(
            Mistake(
                "a batch size is written into your code: batches differ, so take it from tokens.shape[0].",
                lambda tokens, cls_token, size=size: torch.cat([cls_token.expand(size, -1, -1), tokens], dim=1),
            )
            for size in (2, 3, 4, 5, 8, 16, 32)
        ),
    ),
)


def _sincos_probes(generator):
    """Grids of any size that are never square, and temperatures other than the default."""

    def number(low, high):
        return int(torch.randint(low, high + 1, (), generator=generator))

    def probe(embed_dim, *, wide, temperature=True):
        short = number(2, 4)
        long = short + number(1, 4)
        grid = (short, long) if wide else (long, short)
        warm = {"temperature": float(number(60, 5000))} if temperature else {}
        return {"grid_size": grid, "embed_dim": embed_dim, **warm}

    return [
        probe(8, wide=True, temperature=False),
        probe(12, wide=False),
        probe(20, wide=True),
        probe(32, wide=False, temperature=False),
    ]


def _axes(grid_size, first=0):
    """Row and column of each patch in reading order, from the index alone: (gh·gw,) each, float64."""
    gh, gw = grid_size
    n = torch.arange(gh * gw)
    return (n // gw + first).double(), (n % gw + first).double()


def _speeds(embed_dim, temperature, steps=None):
    k = torch.arange(embed_dim // 4, dtype=torch.float64)
    return torch.exp(-k / (steps or embed_dim // 4) * torch.tensor(temperature, dtype=torch.float64).log())


def _angles(axis, speeds):
    return torch.outer(axis, speeds)


def _sincos(grid_size, embed_dim, temperature=10_000.0, *, steps=None, first=0, layout="sc sc", speeds=None, axes=None):
    """The table by a complex exponential, with a knob for each mistake."""
    rows, columns = axes or _axes(grid_size, first)
    speeds = _speeds(embed_dim, temperature, steps) if speeds is None else speeds
    row, column = (torch.polar(torch.ones(()).double(), _angles(axis, speeds)) for axis in (rows, columns))
    parts = {
        "sc sc": (column.imag, column.real, row.imag, row.real),
        "rows first": (row.imag, row.real, column.imag, column.real),
        "cs cs": (column.real, column.imag, row.real, row.imag),
        "ss cc": (column.imag, row.imag, column.real, row.real),
        "sum": (column.imag + row.imag, column.real + row.real),
        "columns only": (column.imag, column.real, column.imag, column.real),
    }
    if layout == "in turn":
        turns = [torch.stack([z.imag, z.real], dim=-1).flatten(1) for z in (column, row)]
        return torch.cat(turns, dim=1).float()
    return torch.cat(parts[layout], dim=1).float()


def _sincos_with(**knobs):
    return lambda grid_size, embed_dim, temperature=10_000.0: _sincos(grid_size, embed_dim, temperature, **knobs)


def _in_column_order(grid_size, embed_dim, temperature=10_000.0):
    table = _sincos(grid_size, embed_dim, temperature)
    return rearrange(table, "(gh gw) D -> (gw gh) D", gh=grid_size[0])


def _grid_swapped(grid_size, embed_dim, temperature=10_000.0):
    return _sincos(grid_size[::-1], embed_dim, temperature)


def _one_dimensional(grid_size, embed_dim, temperature=10_000.0):
    half = embed_dim // 2
    speeds = temperature ** -(torch.arange(half, dtype=torch.float64) / half)
    angles = torch.outer(torch.arange(grid_size[0] * grid_size[1]).double(), speeds)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def _growing(dtype):
    """In the reader's own precision: angles this large have few digits left in float32."""

    def table(grid_size, embed_dim, temperature=10_000.0):
        quarter = embed_dim // 4
        speeds = temperature ** (torch.arange(quarter, dtype=dtype) / quarter)
        rows, columns = (axis.to(dtype)[:, None] * speeds for axis in _axes(grid_size))
        return torch.cat([columns.sin(), columns.cos(), rows.sin(), rows.cos()], dim=1).float()

    return table


def _scaled(grid_size, embed_dim, temperature=10_000.0):
    rows, columns = _axes(grid_size)
    return _sincos(grid_size, embed_dim, temperature, axes=(rows / grid_size[0], columns / grid_size[1]))


def _column_counts_on(grid_size, embed_dim, temperature=10_000.0):
    rows, _ = _axes(grid_size)
    return _sincos(grid_size, embed_dim, temperature, axes=(rows, torch.arange(len(rows)).double()))


SINCOS_POS_EMBED_2D = Exercise(
    name="sincos_pos_embed_2d",
    chapter="05",
    signature="sincos_pos_embed_2d(grid_size, embed_dim, temperature=10_000.0)",
    task="lay sin(column), cos(column), sin(row), cos(row) side by side, D/4 numbers each with speeds 1/temperature^(k/(D/4)): (gh·gw, D), float32.",
    probes=_sincos_probes,
    oracle=_sincos,
    mistakes=(
        Mistake(
            "the row comes before the column: begin with sine and cosine of the column.",
            _sincos_with(layout="rows first"),
        ),
        Mistake(
            "the patches are in column order, going down first: reading order goes along a row, so the column changes fastest.",
            _in_column_order,
        ),
        Mistake(
            "rows and columns of the grid are swapped: grid_size is (gh, gw), rows first.",
            _grid_swapped,
        ),
        Mistake(
            "sine and cosine alternate, as in Vaswani et al.: here all D/4 sines come first, then all cosines.",
            _sincos_with(layout="in turn"),
        ),
        Mistake(
            "the cosines come before the sines: put the sines first.",
            _sincos_with(layout="cs cs"),
        ),
        Mistake(
            "both sines come first, then both cosines: keep the halves apart, sine and cosine of the column, then those of the row.",
            _sincos_with(layout="ss cc"),
        ),
        Mistake(
            "you divide k by D/2: each axis has D/4 speeds, so the exponent is k/(D/4).",
            lambda grid_size, embed_dim, temperature=10_000.0: _sincos(
                grid_size, embed_dim, temperature, steps=embed_dim // 2
            ),
        ),
        Mistake(
            "you divide k by D: each axis has D/4 speeds, so the exponent is k/(D/4).",
            lambda grid_size, embed_dim, temperature=10_000.0: _sincos(
                grid_size, embed_dim, temperature, steps=embed_dim
            ),
        ),
        Mistake(
            "your exponents run up to 1, as linspace(0, 1, D/4) does: divide k by D/4, so that they stop one step short of it.",
            lambda grid_size, embed_dim, temperature=10_000.0: _sincos(
                grid_size, embed_dim, temperature, steps=embed_dim // 4 - 1
            ),
        ),
        Mistake(
            "you write 10 000 into the formula: use the `temperature` that the caller gives.",
            lambda grid_size, embed_dim, temperature=10_000.0: _sincos(grid_size, embed_dim),
        ),
        Mistake(
            "your speeds grow: temperature has a negative exponent, the first speed is 1 and the others are smaller.",
            _growing(torch.float64),
        ),
        Mistake(
            "your speeds grow: temperature has a negative exponent, the first speed is 1 and the others are smaller.",
            _growing(torch.float32),
        ),
        Mistake(
            "that is the 1-D embedding of the patch's number: row and column each get half of the vector.",
            _one_dimensional,
        ),
        Mistake(
            "your column goes on counting in the second row: it starts again at 0 in each row, as n % gw does.",
            _column_counts_on,
        ),
        Mistake(
            "rows and columns count from 1: count from 0.",
            _sincos_with(first=1),
        ),
        Mistake(
            "you divide the places by the size of the grid: count in whole patches, 0, 1, 2 and so on.",
            _scaled,
        ),
        Mistake(
            "you add the parts for row and column: lay them side by side with torch.cat.",
            _sincos_with(layout="sum"),
        ),
        Mistake(
            "both halves say the column: the second half is for the row.",
            _sincos_with(layout="columns only"),
        ),
        Mistake(
            "the grid is still two-dimensional: flatten it to (gh·gw, D).",
            lambda grid_size, embed_dim, temperature=10_000.0: _sincos(grid_size, embed_dim, temperature).unflatten(
                0, grid_size
            ),
        ),
        Mistake(
            "the table lies on its side: patches are rows, (gh·gw, D).",
            lambda grid_size, embed_dim, temperature=10_000.0: _sincos(grid_size, embed_dim, temperature).T,
        ),
        Mistake(
            "there is a batch dimension too many: return (gh·gw, D).",
            lambda grid_size, embed_dim, temperature=10_000.0: _sincos(grid_size, embed_dim, temperature)[None],
        ),
        Mistake(
            "the numbers are right and the type is float64: end with .float().",
            lambda grid_size, embed_dim, temperature=10_000.0: _sincos(grid_size, embed_dim, temperature).double(),
        ),
    ),
)


def _resample_probes(generator):
    """Growing, shrinking, both at once, as many patches in another shape; zero, one and two prefix tokens."""

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def probe(side, D, new, **prefix):
        count = prefix.get("num_prefix_tokens", 1)
        return {"pos_embed": normal(1, count + side * side, D), "new_grid_size": new, **prefix}

    single = probe(3, 7, (5, 4))
    return [
        probe(4, 6, (7, 5)),
        probe(7, 5, (3, 4)),
        probe(5, 8, (4, 9), num_prefix_tokens=2),
        probe(6, 3, (8, 5), num_prefix_tokens=0),
        probe(4, 9, (2, 8)),
        {**single, "pos_embed": single["pos_embed"].float().requires_grad_()},
    ]


def _cubic(x, a=-0.5):
    """Keys' cubic, the weight of a value at distance x."""
    x = x.abs()
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _filter(old, new):
    """How much each of `old` places counts for each of `new` ones: (new, old), rows sum to 1."""
    step = old / new
    centres = (torch.arange(new, dtype=torch.float64) + 0.5) * step - 0.5
    distance = torch.arange(old, dtype=torch.float64) - centres[:, None]
    weights = _cubic(distance / max(step, 1.0))  # wider where the grid shrinks
    return weights / weights.sum(dim=1, keepdim=True)


def _resample(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, patches = pos_embed[:, :num_prefix_tokens], pos_embed[:, num_prefix_tokens:]
    side = round(patches.shape[1] ** 0.5)
    down, right = (_filter(side, new).to(pos_embed.dtype) for new in new_grid_size)
    patches = torch.einsum("ih,jw,bhwd->bijd", down, right, patches.unflatten(1, (side, side)))
    return torch.cat([prefix, patches.flatten(1, 2)], dim=1)


def _resize(picture, size):
    return F.interpolate(picture, size=size, mode="bicubic", antialias=True)


def _resample_with(
    resize=_resize, to_picture="1 (gh gw) D -> 1 D gh gw", back="1 D gh gw -> 1 (gh gw) D", join="prefix patches"
):
    """Resampling with a knob for each step."""

    def resample(pos_embed, new_grid_size, num_prefix_tokens=1):
        prefix, patches = pos_embed[:, :num_prefix_tokens], pos_embed[:, num_prefix_tokens:]
        side = round(patches.shape[1] ** 0.5)
        picture = to_picture(patches, side) if callable(to_picture) else rearrange(patches, to_picture, gh=side)
        picture = resize(picture, tuple(new_grid_size))
        patches = back(picture) if callable(back) else rearrange(picture, back)
        parts = {"prefix": prefix, "patches": patches}
        return torch.cat([parts[name] for name in join.split()], dim=1)

    return resample


def _interpolate(**options):
    return lambda picture, size: F.interpolate(picture, size=size, **options)


def _without_permute(patches, side):
    return patches.reshape(1, patches.shape[-1], side, side)


def _back_without_permute(picture):
    return picture.reshape(1, -1, picture.shape[1])


def _as_a_line(pos_embed, new_grid_size, num_prefix_tokens=1):
    length = num_prefix_tokens + new_grid_size[0] * new_grid_size[1]
    return F.interpolate(pos_embed.mT, size=length, mode="linear").mT


def _patches_as_a_line(pos_embed, new_grid_size, num_prefix_tokens=1):
    patches = pos_embed[:, num_prefix_tokens:].mT
    patches = F.interpolate(patches, size=new_grid_size[0] * new_grid_size[1], mode="linear").mT
    return torch.cat([pos_embed[:, :num_prefix_tokens], patches], dim=1)


def _prefix_still_in(last):
    def resample(pos_embed, new_grid_size, num_prefix_tokens=1):
        side = int(pos_embed.shape[1] ** 0.5)
        return pos_embed.reshape(1, side, side, last or pos_embed.shape[-1])

    return resample


def _prefix_still_in_on_channels(pos_embed, new_grid_size, num_prefix_tokens=1):
    side = int(pos_embed.shape[1] ** 0.5)
    return pos_embed.transpose(1, 2).reshape(1, pos_embed.shape[-1], side, side)


def _prefix_of_one(shape):
    def resample(pos_embed, new_grid_size, num_prefix_tokens=1):
        patches = pos_embed[:, 1:]
        _lay_on_a_grid(patches, round(patches.shape[1] ** 0.5), shape)  # raises where the prefix is not 1
        return _resample_with()(pos_embed, new_grid_size, 1)

    return resample


def _side_is_a_float(shape):
    def resample(pos_embed, new_grid_size, num_prefix_tokens=1):
        patches = pos_embed[:, num_prefix_tokens:]
        return _lay_on_a_grid(patches, patches.shape[1] ** 0.5, shape)

    return resample


def _lay_on_a_grid(patches, side, shape):
    """A reshape in one of the ways of writing it, such as "1 g g D"; `-1` and `D` differ in the error they raise."""
    D = patches.shape[-1]
    sizes = [{"1": 1, "g": side, "D": D, "-1": -1}[name] for name in shape.split()[-4:]]
    if shape.startswith("view"):
        return patches.view(*sizes)
    if shape.startswith("unflatten"):
        return patches.unflatten(1, (side, side))
    return patches.reshape(*sizes)


_SHAPES = ("1 g g D", "1 g g -1", "1 D g g", "1 -1 g g")


def _one_row_of_the_prefix(pos_embed, new_grid_size, num_prefix_tokens=1):
    patches = _resample_with(join="patches")(pos_embed, new_grid_size, num_prefix_tokens)
    return torch.cat([pos_embed[:, :1], patches], dim=1)


def _unless_as_many(pos_embed, new_grid_size, num_prefix_tokens=1):
    if new_grid_size[0] * new_grid_size[1] == pos_embed.shape[1] - num_prefix_tokens:
        return pos_embed
    return _resample(pos_embed, new_grid_size, num_prefix_tokens)


RESAMPLE_POS_EMBED = Trained(
    name="resample_pos_embed",
    chapter="05",
    signature="resample_pos_embed(pos_embed, new_grid_size, num_prefix_tokens=1)",
    task="split off the prefix, resize the patches' embeddings as a picture of D channels (bicubic, antialias=True), and put the prefix back in front: (1, prefix + gh·gw, D).",
    probes=_resample_probes,
    oracle=_resample,
    mistakes=(
        Mistake(
            "the prefix is still in, so the rows are no square: split off the first `num_prefix_tokens` rows.",
            _prefix_still_in(None),
        ),
        Mistake(
            "the prefix is still in, so the rows are no square: split off the first `num_prefix_tokens` rows.",
            _prefix_still_in(-1),
        ),
        Mistake(
            "the prefix is still in, so the rows are no square: split off the first `num_prefix_tokens` rows.",
            _prefix_still_in_on_channels,
        ),
        *(
            Mistake(
                "you always take off one row: take off as many as `num_prefix_tokens` says.",
                _prefix_of_one(shape),
            )
            for shape in _SHAPES
        ),
        *(
            Mistake(
                "the side of the grid is a float, since n ** 0.5 always is: round it to a whole number, round(n ** 0.5).",
                _side_is_a_float(shape),
            )
            for shape in (*_SHAPES, "view 1 g g D", "view 1 D g g", "unflatten 1 g g D")
        ),
        Mistake(
            "you keep one row of the prefix: put back all `num_prefix_tokens` of them.",
            _one_row_of_the_prefix,
        ),
        Mistake(
            "as many patches are not the same grid: 4 × 4 and 2 × 8 have 16 each, so compare the sides.",
            _unless_as_many,
        ),
        Mistake(
            "you stretch the table as a line, class token and all: the patches lie on a grid, and the prefix is not among them.",
            _as_a_line,
        ),
        Mistake(
            "you stretch the patches as a line: lay them on their square grid and resize it as a picture.",
            _patches_as_a_line,
        ),
        Mistake(
            "reshape alone mixes channels with places, and again on the way back: first (1, g, g, D), then permute(0, 3, 1, 2); back with flatten(2).transpose(1, 2).",
            _resample_with(to_picture=_without_permute, back=_back_without_permute),
        ),
        Mistake(
            "reshape(1, D, g, g) mixes channels with places: reshape to (1, g, g, D), then permute(0, 3, 1, 2).",
            _resample_with(to_picture=_without_permute),
        ),
        Mistake(
            "on the way back, reshape mixes channels with places: flatten(2) to (1, D, gh·gw), then transpose(1, 2).",
            _resample_with(back=_back_without_permute),
        ),
        Mistake(
            "the prefix is missing: put it back in front with torch.cat.",
            _resample_with(join="patches"),
        ),
        Mistake(
            "the prefix stands at the end: it belongs in front.",
            _resample_with(join="patches prefix"),
        ),
        Mistake(
            "rows and columns are swapped: new_grid_size is (gh, gw), as `size=` wants it, and the picture is (1, D, rows, columns), by permute(0, 3, 1, 2).",
            _resample_with(resize=lambda picture, size: _resize(picture, size[::-1])),
        ),
        Mistake(
            "the picture lies on its side: (1, g, g, D) becomes (1, D, g, g) by permute(0, 3, 1, 2), rows before columns.",
            _resample_with(to_picture="1 (gh gw) D -> 1 D gw gh"),
        ),
        Mistake(
            "the patches come back in column order: go back with flatten(2).transpose(1, 2), rows before columns.",
            _resample_with(back="1 D gh gw -> 1 (gw gh) D"),
        ),
        Mistake(
            "you use one side of the new grid for both: give `size=` the pair (gh, gw).",
            _resample_with(resize=lambda picture, size: _resize(picture, size[0])),
        ),
        Mistake(
            "you resize without antialiasing, as Hugging Face does: antialias=True is asked for, and it changes the filter where the grid grows, too.",
            _resample_with(resize=_interpolate(mode="bicubic")),
        ),
        Mistake(
            "that is torchvision's way, with the corners aligned: leave align_corners out, and set antialias=True.",
            _resample_with(resize=_interpolate(mode="bicubic", align_corners=True)),
        ),
        Mistake(
            'that is bilinear: mode="bicubic" is asked for.',
            _resample_with(resize=_interpolate(mode="bilinear", antialias=True)),
        ),
        Mistake(
            'that is bilinear without antialiasing: mode="bicubic", antialias=True is asked for.',
            _resample_with(resize=_interpolate(mode="bilinear")),
        ),
        Mistake(
            'that is Google\'s way, bilinear with the corners aligned: mode="bicubic", antialias=True is asked for.',
            _resample_with(resize=_interpolate(mode="bilinear", align_corners=True)),
        ),
        Mistake(
            'you copy the nearest patch, which is what F.interpolate does if no mode is given: mode="bicubic", antialias=True.',
            _resample_with(resize=_interpolate(mode="nearest")),
        ),
    ),
)

EXERCISES = (PREPEND_CLASS_TOKEN, SINCOS_POS_EMBED_2D, RESAMPLE_POS_EMBED)
