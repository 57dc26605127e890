"""The exercises of chapter 05, class token and positions."""

import torch
import torch.nn.functional as F

from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import Exercise, normal, single


def _prepend_probes(generator):
    """Also one image, one patch and one number a token."""
    draw = normal(generator)
    sizes = ((3, 5, 8), (2, 6, 4), (1, 4, 3), (5, 1, 6), (2, 3, 1), (2, 6, 4), (4, 3, 7))
    probes = [{"tokens": draw(B, N, D), "cls_token": draw(1, 1, D)} for B, N, D in sizes]
    return [*probes[:-1], single(probes[-1])]


def _prepend(tokens, cls_token):
    first = cls_token.expand(len(tokens), -1, -1)
    return torch.cat([first, tokens], dim=1)


PREPEND_CLASS_TOKEN = Exercise(
    name="prepend_class_token",
    chapter="05",
    signature="prepend_class_token(tokens, cls_token)",
    task="put the one class token (1, 1, D) before the tokens (B, N, D) of every image: (B, N+1, D).",
    probes=_prepend_probes,
    oracle=_prepend,
    mistakes=edits_of(
        _prepend,
        """
        the class token still has batch size 1, and torch.cat does not broadcast: expand it to (B, 1, D) first.
            .expand(len(tokens), -1, -1) ⇒
        torch.cat gets the tokens first and behind them a class token of batch size 1: expand that to (B, 1, D) and put it first, or see whether your `def` has its two names in the order (tokens, cls_token).
            .expand(len(tokens), -1, -1) ⇒
            [first, tokens] ⇒ [tokens, first]
        you concatenate along the batch: the tokens are counted by dimension 1, torch.cat(..., dim=1).
            dim=1 ⇒ dim=0
          or
            dim=1 ⇒ dim=0
            .expand(len(tokens), -1, -1) ⇒
          or
            dim=1 ⇒ dim=0
            [first, tokens] ⇒ [tokens, first]
          or
            dim=1 ⇒ dim=0
            .expand(len(tokens), -1, -1) ⇒ .expand_as(tokens)
          or
            dim=1 ⇒ dim=0
            .expand(len(tokens), -1, -1) ⇒ .expand(-1, tokens.shape[1], -1)
        torch.stack makes a new dimension: torch.cat puts the class token beside the tokens, in dimension 1.
            cat([first, ⇒ stack([first,
          or
            cat([first, ⇒ stack([first,
            .expand(len(tokens), -1, -1) ⇒
          or
            cat([first, ⇒ stack([first,
            .expand(len(tokens), -1, -1) ⇒ .expand_as(tokens)
          or
            cat([first, ⇒ stack([first,
            dim=1 ⇒ dim=2
            .expand(len(tokens), -1, -1) ⇒ .expand_as(tokens)
          or
            cat([first, ⇒ stack([first,
            dim=1 ⇒ dim=0
            .expand(len(tokens), -1, -1) ⇒ .expand_as(tokens)
        torch.cat takes one list: put both tensors into brackets.
            [first, tokens] ⇒ first, tokens
        you concatenate along the features: dim=-1 widens the tokens, dim=1 adds one.
            dim=1 ⇒ dim=-1
        the class token stands at the end: put it first, the head will read place 0.
            [first, tokens] ⇒ [tokens, first]
        the class token stands behind a patch: put it in front of all of them, the head will read place 0.
            [first, tokens] ⇒ [tokens[:, :1], first, tokens[:, 1:]]
          or
            [first, tokens] ⇒ [tokens[:, :-1], first, tokens[:, -1:]]
        the two parameters of your function have changed places: it is called as prepend_class_token(tokens, cls_token).
            ⇒ return _prepend(cls_token, tokens)
          or
            ⇒ return torch.cat([tokens.expand(len(cls_token), 1, -1), cls_token], dim=1)
          or
            ⇒ return torch.cat([tokens.expand(len(cls_token), 1, cls_token.shape[2]), cls_token], dim=1)
        the last patch is lost: the class token comes in addition, so the result has N+1 tokens.
            [first, tokens] ⇒ [first, tokens[:, :-1]]
        the class token is added to the patches as well: put it in front of them and leave them as they are.
            [first, tokens] ⇒ [first, tokens + cls_token]
        your class token has lost a dimension, as by an index or squeeze, and torch.cat joins tensors of as many: expand cls_token itself to (B, 1, D).
            cls_token.expand(len(tokens), -1, -1) ⇒ cls_token[0]
          or
            cls_token.expand(len(tokens), -1, -1) ⇒ cls_token[0, 0]
        you add the class token to every token: it is a token of its own, put in front with torch.cat.
            ⇒ return tokens + cls_token
        each token gets the class token glued to its features, so D doubles: expand it to (B, 1, D), and concatenate along dim=1.
            .expand(len(tokens), -1, -1) ⇒ .expand_as(tokens)
            dim=1 ⇒ dim=-1
        you put N class tokens in front: one is enough, expand to (B, 1, D) and not to (B, N, D).
            .expand(len(tokens), -1, -1) ⇒ .expand_as(tokens)
        you overwrite the first patch, and in the caller's tensor at that: the class token comes in addition, so the result has N+1 tokens.
            ⇒ tokens[:, 0] = cls_token[:, 0]
            | return tokens
        the class token takes the place of the first patch: it comes in addition, so the result has N+1 tokens.
            [first, tokens] ⇒ [first, tokens[:, 1:]]
        only the first image gets the class token, the others get zeros: expand it over the batch.
            cls_token.expand(len(tokens), -1, -1) ⇒ F.pad(cls_token, (0, 0, 0, 0, 0, len(tokens) - 1))
        that is the mean of the tokens, which is the other way to get one answer: here the learned `cls_token` goes in front.
            [first, ⇒ [tokens.mean(1, keepdim=True),
        you put zeros in front: use the `cls_token` that you are given, it is what is learned.
            [first, ⇒ [torch.zeros_like(first),
        you put ones in front: use the `cls_token` that you are given, it is what is learned.
            [first, ⇒ [torch.ones_like(first),
        you expand to N class tokens in place of B: the first size of the expanded token is tokens.shape[0].
            len(tokens), -1 ⇒ tokens.shape[1], -1
        you repeat the tokens too: the batch size stays B, only the class token is handed out B times.
            ⇒ return _prepend(tokens.repeat(len(tokens), 1, 1), cls_token)
        """,
    )
    + tuple(
        mistake
        for size in (2, 3, 4, 5, 8, 16, 32)
        for mistake in edits_of(
            _prepend,
            f"""
            a batch size is written into your code: batches differ, so take it from tokens.shape[0].
                len(tokens) ⇒ {size}
            """,
        )
    ),
)


def _sincos_probes(generator):
    """Wide grids and tall ones, of any size, one of more than 60 places; a single row with one speed; the same square
    with two temperatures; one that is a whole number.
    """

    def number(low, high):
        return int(torch.randint(low, high + 1, (), generator=generator))

    def wide():
        short = number(2, 4)
        return short, short + number(1, 4)

    def warm():
        return {"temperature": float(number(60, 5000))}

    return [
        {"grid_size": wide(), "embed_dim": 8},
        {"grid_size": wide()[::-1], "embed_dim": 12, **warm()},
        {"grid_size": wide(), "embed_dim": 20, **warm()},
        {"grid_size": wide()[::-1], "embed_dim": 32},
        {"grid_size": (1, number(2, 9)), "embed_dim": 4, **warm()},
        {"grid_size": (1, 1), "embed_dim": 8, **warm()},
        {"grid_size": (3, 3), "embed_dim": 8, **warm()},
        {"grid_size": (3, 3), "embed_dim": 8, **warm()},
        {"grid_size": (7, number(9, 12)), "embed_dim": 12, "temperature": number(60, 5000)},
    ]


def _sincos(grid_size, embed_dim, temperature=10_000.0):
    gh, gw = grid_size
    n = torch.arange(gh * gw, dtype=torch.float64)
    row = n // gw
    column = n % gw
    k = torch.arange(embed_dim // 4, dtype=torch.float64)
    speeds = temperature ** -(k / (embed_dim // 4))
    c, r = column[:, None] * speeds, row[:, None] * speeds
    return torch.cat([c.sin(), c.cos(), r.sin(), r.cos()], dim=1).float()


SINCOS_POS_EMBED_2D = Exercise(
    name="sincos_pos_embed_2d",
    chapter="05",
    signature="sincos_pos_embed_2d(grid_size, embed_dim, temperature=10_000.0)",
    task="lay sin(column), cos(column), sin(row), cos(row) side by side, D/4 numbers each with speeds 1/temperature^(k/(D/4)): (gh·gw, D), float32.",
    probes=_sincos_probes,
    oracle=_sincos,
    mistakes=edits_of(
        _sincos,
        """
        the row comes before the column: begin with sine and cosine of the column.
            c, r = ⇒ r, c =
        the patches are in column order, going down first: reading order goes along a row, so the column changes fastest.
            row = n // gw ⇒ row = n % gh
            column = n % gw ⇒ column = n // gh
        rows and columns of the grid are swapped: it is (gh, gw), a row has gw patches, and patch n stands in row n // gw and column n % gw.
            gh, gw = ⇒ gw, gh =
        the number of a patch is row * gw + column, since a row has gw patches: its row is n // gw and its column n % gw.
            n // gw ⇒ n // gh
          or
            n % gw ⇒ n % gh
          or
            torch.cat([c.sin(), c.cos(), r.sin(), r.cos()], dim=1).float() ⇒ torch.zeros(gh * gw, embed_dim)
            return ⇒ table =
            table = ⇒ whole = torch.cat([c.sin(), c.cos(), r.sin(), r.cos()], dim=1).float()
            | table =
            embed_dim) ⇒ embed_dim)
            | for i in range(gh * gw):
            |     table[i // gw * gh + i % gw] = whole[i]
            | return table
        both halves go through the patches in the same order: the column changes fastest, the row slowest.
            row = n // gw ⇒ row = n % gh
          or
            column = n % gw ⇒ column = n // gh
        your angles have a factor of π: they are the place times the speed.
            c, r = column[:, None] * speeds, row[:, None] * speeds ⇒ c, r = torch.pi * column[:, None] * speeds, torch.pi * row[:, None] * speeds
          or
            c, r = column[:, None] * speeds, row[:, None] * speeds ⇒ c, r = 2 * torch.pi * column[:, None] * speeds, 2 * torch.pi * row[:, None] * speeds
        sine and cosine alternate, as in Vaswani et al.: here all D/4 sines come first, then all cosines.
            [c.sin(), c.cos(), r.sin(), r.cos()] ⇒ [torch.stack([x.sin(), x.cos()], dim=-1).flatten(1) for x in (c, r)]
        your four parts take turns, number by number: lay them side by side with torch.cat, D/4 numbers of each.
            torch.cat([c.sin(), c.cos(), r.sin(), r.cos()], dim=1) ⇒ torch.stack([c.sin(), c.cos(), r.sin(), r.cos()], dim=-1).flatten(1)
        the cosines come before the sines: put the sines first.
            c.sin(), c.cos(), r.sin(), r.cos() ⇒ c.cos(), c.sin(), r.cos(), r.sin()
        both sines come first, then both cosines: keep the halves apart, sine and cosine of the column, then those of the row.
            c.cos(), r.sin() ⇒ r.sin(), c.cos()
        your table is twice as wide as D: each of its four parts has D/4 numbers, so k runs from 0 to D/4 - 1.
            torch.arange(embed_dim // 4 ⇒ torch.arange(embed_dim // 2
            (embed_dim // 4)) ⇒ (embed_dim // 2))
          or
            torch.arange(embed_dim // 4 ⇒ torch.arange(embed_dim // 2
        you divide k by D/2: each axis has D/4 speeds, so the exponent is k/(D/4).
            (embed_dim // 4)) ⇒ (embed_dim // 2))
        you divide k by D: each axis has D/4 speeds, so the exponent is k/(D/4).
            (embed_dim // 4)) ⇒ embed_dim)
        your exponents are twice as large as they should be, 2k/(D/4): each axis has D/4 speeds, and the exponent is k/(D/4).
            -(k / ⇒ -(2 * k /
        your k runs from 1 to D/4: it begins at 0, so that the first speed is 1.
            -(k / ⇒ -((k + 1) /
        your exponents run up to 1, as linspace(0, 1, D/4) does: divide k by D/4, so that they stop one step short of it.
            k / (embed_dim // 4) ⇒ torch.linspace(0, 1, embed_dim // 4, dtype=torch.float64)
        you write 10 000 into the formula: use the `temperature` that the caller gives.
            temperature ** ⇒ 10_000.0 **
        your speeds grow: temperature has a negative exponent, the first speed is 1 and the others are smaller.
            ** - ⇒ **
          or
            ** - ⇒ **
            gh * gw, dtype=torch.float64 ⇒ gh * gw
            embed_dim // 4, dtype=torch.float64 ⇒ embed_dim // 4
        that is the 1-D embedding of the patch's number: row and column each get half of the vector.
            n % gw ⇒ n
            embed_dim // 4, dtype ⇒ embed_dim // 2, dtype
            (embed_dim // 4)) ⇒ (embed_dim // 2))
            , r.sin(), r.cos() ⇒
        your column goes on counting in the second row: it starts again at 0 in each row, as n % gw does.
            n % gw ⇒ n
        rows and columns count from 1: count from 0.
            n // gw ⇒ n // gw + 1
            n % gw ⇒ n % gw + 1
        you divide the places by the size of the grid: count in whole patches, 0, 1, 2 and so on.
            n // gw ⇒ n // gw / gh
            n % gw ⇒ n % gw / gw
        your default for `temperature` is another: it is 10_000.
            temperature=10_000.0 ⇒ temperature=1_000.0
          or
            temperature=10_000.0 ⇒ temperature=100.0
          or
            temperature=10_000.0 ⇒ temperature=100_000.0
        `//` makes 0 of each k/(D/4), so all speeds are 1: divide with `/`.
            (k / (embed_dim // 4)) ⇒ (k // (embed_dim // 4))
        you count the places from the middle of the grid: count from 0, in the upper left corner.
            n // gw ⇒ n // gw - (gh - 1) / 2
            n % gw ⇒ n % gw - (gw - 1) / 2
          or
            n // gw ⇒ n // gw - gh / 2
            n % gw ⇒ n % gw - gw / 2
          or
            n // gw ⇒ n // gw - gh // 2
            n % gw ⇒ n % gw - gw // 2
        you count to the middle of each patch, 0.5, 1.5 and so on: count in whole numbers from 0.
            n // gw ⇒ n // gw + 0.5
            n % gw ⇒ n % gw + 0.5
        your angles go through degrees, by a factor of π/180 or 180/π: they are the place times the speed.
            c, r = column[:, None] * speeds, row[:, None] * speeds ⇒ c, r = torch.deg2rad(column[:, None] * speeds), torch.deg2rad(row[:, None] * speeds)
          or
            c, r = column[:, None] * speeds, row[:, None] * speeds ⇒ c, r = torch.rad2deg(column[:, None] * speeds), torch.rad2deg(row[:, None] * speeds)
        the table begins with a row for the class token: it has the gh·gw patches alone.
            torch.cat([c.sin(), c.cos(), r.sin(), r.cos()], dim=1) ⇒ F.pad(torch.cat([c.sin(), c.cos(), r.sin(), r.cos()], dim=1), (0, 0, 1, 0))
        you add the parts for row and column: lay them side by side with torch.cat.
            [c.sin(), c.cos(), r.sin(), r.cos()] ⇒ [c.sin() + r.sin(), c.cos() + r.cos()]
        both halves say the column: the second half is for the row.
            row = n // gw ⇒ row = n % gw
        the grid is still two-dimensional: flatten it to (gh·gw, D).
            .float() ⇒ .float().unflatten(0, grid_size)
        the table lies on its side: patches are rows, (gh·gw, D).
            .float() ⇒ .float().T
        there is a batch dimension too many: return (gh·gw, D).
            .float() ⇒ .float()[None]
        the numbers are right and the type is float64: end with .float().
            .float() ⇒
        """,
    ),
)


def _resample_probes(generator):
    """Growing, shrinking, both at once, as many patches in another shape, one side or both kept; sizes of 1.

    No grid of one column: there F.interpolate itself is wrong where the picture is contiguous (PyTorch 2.11 to 2.15).
    """
    draw = normal(generator)

    def probe(side, D, new, **prefix):
        count = prefix.get("num_prefix_tokens", 1)
        return {"pos_embed": draw(1, count + side * side, D), "new_grid_size": new, **prefix}

    return [
        probe(4, 6, (7, 5)),
        probe(7, 5, (3, 4)),
        probe(5, 8, (4, 9), num_prefix_tokens=2),
        probe(6, 3, (8, 5), num_prefix_tokens=0),
        probe(4, 9, (2, 8)),
        probe(5, 4, (5, 8)),
        probe(5, 3, (7, 5)),
        probe(11, 2, (15, 11)),  # 11 * (15 / 11) is a little less than 15
        probe(3, 2, (3, 3), num_prefix_tokens=2),
        probe(1, 5, (2, 3), num_prefix_tokens=3),  # with its prefix, as many rows as a grid of 2 × 2
        probe(4, 1, (1, 6)),
        probe(4, 6, (7, 5)),
        single(probe(3, 7, (5, 4))),
    ]


def _resample(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix = pos_embed[:, :num_prefix_tokens]
    patches = pos_embed[:, num_prefix_tokens:]
    side = round(patches.shape[1] ** 0.5)
    D = pos_embed.shape[2]
    picture = patches.reshape(1, side, side, D).permute(0, 3, 1, 2)
    picture = F.interpolate(picture, size=tuple(new_grid_size), mode="bicubic", antialias=True)
    patches = picture.flatten(2).mT
    return torch.cat([prefix, patches], dim=1)


# Ways to lay the patches on a grid: each says in words of its own that they do not fit.
_LAID = ("reshape(1, side, side, D)", "reshape(1, side, side, -1)", "reshape(1, D, side, side)")
_LAID += (
    "reshape(1, -1, side, side)",
    "view(1, side, side, D)",
    "view(1, D, side, side)",
    "unflatten(1, (side, side))",
)

RESAMPLE_POS_EMBED = Exercise(
    name="resample_pos_embed",
    chapter="05",
    signature="resample_pos_embed(pos_embed, new_grid_size, num_prefix_tokens=1)",
    task="split off the prefix, resize the patches' embeddings as a picture of D channels (bicubic, antialias=True), and put the prefix back in front: (1, prefix + gh·gw, D).",
    probes=_resample_probes,
    oracle=_resample,
    mistakes=tuple(
        mistake
        for laid in _LAID
        for mistake in edits_of(
            _resample,
            f"""
            the prefix is still in, so the rows are no square: split off the first `num_prefix_tokens` rows.
                pos_embed[:, num_prefix_tokens:] ⇒ pos_embed
                reshape(1, side, side, D) ⇒ {laid}
              or
                pos_embed[:, num_prefix_tokens:] ⇒ pos_embed
                [prefix, patches] ⇒ [patches]
                reshape(1, side, side, D) ⇒ {laid}
            your default for `num_prefix_tokens` is 0: it is 1, for the class token.
                num_prefix_tokens=1 ⇒ num_prefix_tokens=0
                reshape(1, side, side, D) ⇒ {laid}
            a grid of 14 × 14 is written into your code: its side is the root of the number of patches.
                round(patches.shape[1] ** 0.5) ⇒ 14
                reshape(1, side, side, D) ⇒ {laid}
            you always take off one row: take off as many as `num_prefix_tokens` says.
                pos_embed[:, :num_prefix_tokens] ⇒ pos_embed[:, :1]
                pos_embed[:, num_prefix_tokens:] ⇒ pos_embed[:, 1:]
                reshape(1, side, side, D) ⇒ {laid}
              or
                pos_embed[:, :num_prefix_tokens] ⇒ pos_embed[:, :1]
                pos_embed[:, num_prefix_tokens:] ⇒ pos_embed[:, 1:]
                reshape(1, side, side, D) ⇒ {laid}
                round ⇒ int
            the prefix is still in where you lay the rows on their grid: lay out pos_embed[:, num_prefix_tokens:] alone.
                patches.reshape(1, side, side, D) ⇒ pos_embed.{laid}
            you count the prefix among the patches: the side of the grid is the root of patches.shape[1], without the prefix.
                patches.shape[1] ** 0.5 ⇒ pos_embed.shape[1] ** 0.5
                reshape(1, side, side, D) ⇒ {laid}
            `** 1/2` is the first power, halved, since a power comes before a division: the root is ** 0.5.
                ** 0.5 ⇒ ** 1 / 2
                reshape(1, side, side, D) ⇒ {laid}
            the side of the grid is a float, since n ** 0.5 always is: round it to a whole number, round(n ** 0.5).
                round ⇒
                reshape(1, side, side, D) ⇒ {laid}
            """,
        )
    )
    + edits_of(
        _resample,
        """
        the prefix is still in where you lay the rows on their grid: lay out pos_embed[:, num_prefix_tokens:] alone.
            patches.reshape(1, side, side, D).permute(0, 3, 1, 2) ⇒ pos_embed.mT.reshape(1, -1, side, side)
          or
            patches.reshape(1, side, side, D).permute(0, 3, 1, 2) ⇒ pos_embed.mT.reshape(1, D, side, side)
          or
            patches.reshape(1, side, side, D).permute(0, 3, 1, 2) ⇒ pos_embed.mT.unflatten(2, (side, side))
        you leave rows out at the end: the prefix stands in front, the patches are pos_embed[:, num_prefix_tokens:].
            pos_embed[:, num_prefix_tokens:] ⇒ pos_embed[:, : pos_embed.shape[1] - num_prefix_tokens]
          or
            pos_embed[:, num_prefix_tokens:] ⇒ pos_embed[:, :-num_prefix_tokens]
        the patches still lie on their grid: before torch.cat, go back to (1, gh·gw, D) with flatten(2).transpose(1, 2).
            picture.flatten(2).mT ⇒ picture
          or
            picture.flatten(2).mT ⇒ picture.movedim(1, -1)
        the patches lie on their side, (1, D, gh·gw): after flatten(2) comes transpose(1, 2), so that they are rows as the prefix is.
            picture.flatten(2).mT ⇒ picture.flatten(2)
        you concatenate along dimension 0: the rows are counted by dimension 1.
            dim=1 ⇒ dim=0
        you return the picture: lay it flat again, to (1, gh·gw, D), and put the prefix in front.
            torch.cat([prefix, patches], dim=1) ⇒ picture
          or
            torch.cat([prefix, patches], dim=1) ⇒ picture.movedim(1, -1)
        there are zeros in the place of the prefix: put back the very rows that you have split off.
            [prefix, ⇒ [torch.zeros_like(prefix),
        you split the prefix off the end: it stands in front, the patches are pos_embed[:, num_prefix_tokens:].
            pos_embed[:, num_prefix_tokens:] ⇒ pos_embed[:, : pos_embed.shape[1] - num_prefix_tokens]
            pos_embed[:, :num_prefix_tokens] ⇒ pos_embed[:, pos_embed.shape[1] - num_prefix_tokens :]
        you keep one row of the prefix: put back all `num_prefix_tokens` of them.
            pos_embed[:, :num_prefix_tokens] ⇒ pos_embed[:, :1]
        as many patches are not the same grid: 4 × 4 and 2 × 8 have 16 each, so compare the sides.
            D = ⇒ if new_grid_size[0] * new_grid_size[1] == patches.shape[1]:
            |     return pos_embed
            | D =
        you leave the table as it is where one side is kept: the other side may be new, so compare both.
            D = ⇒ if new_grid_size[0] == side:
            |     return pos_embed
            | D =
          or
            D = ⇒ if new_grid_size[1] == side:
            |     return pos_embed
            | D =
          or
            D = ⇒ if side in new_grid_size:
            |     return pos_embed
            | D =
        with scale_factor the new size is rounded down, and 11 · (15/11) becomes 14: give `size=`.
            size=tuple(new_grid_size) ⇒ scale_factor=(new_grid_size[0] / side, new_grid_size[1] / side)
        you stretch the table as a line, class token and all: the patches lie on a grid, and the prefix is not among them.
            ⇒ length = num_prefix_tokens + new_grid_size[0] * new_grid_size[1]
            | return F.interpolate(pos_embed.mT, size=length, mode="linear").mT
        you stretch the patches as a line: lay them on their square grid and resize it as a picture.
            patches.reshape(1, side, side, D).permute(0, 3, 1, 2) ⇒ patches.mT
            tuple(new_grid_size), mode="bicubic", antialias=True ⇒ new_grid_size[0] * new_grid_size[1], mode="linear"
        reshape alone mixes channels with places, and again on the way back: first (1, g, g, D), then permute(0, 3, 1, 2); back with flatten(2).transpose(1, 2).
            reshape(1, side, side, D).permute(0, 3, 1, 2) ⇒ reshape(1, D, side, side)
            picture.flatten(2).mT ⇒ picture.reshape(1, -1, D)
        reshape(1, D, g, g) mixes channels with places: reshape to (1, g, g, D), then permute(0, 3, 1, 2).
            reshape(1, side, side, D).permute(0, 3, 1, 2) ⇒ reshape(1, D, side, side)
        on the way back, reshape mixes channels with places: flatten(2) to (1, D, gh·gw), then transpose(1, 2).
            picture.flatten(2).mT ⇒ picture.reshape(1, -1, D)
        the prefix is missing: put it back in front with torch.cat.
            prefix, patches] ⇒ patches]
        the prefix stands at the end: it belongs in front.
            prefix, patches] ⇒ patches, prefix]
        rows and columns are swapped: new_grid_size is (gh, gw), as `size=` wants it, and the picture is (1, D, rows, columns), by permute(0, 3, 1, 2).
            tuple(new_grid_size) ⇒ new_grid_size[::-1]
        the picture lies on its side: (1, g, g, D) becomes (1, D, g, g) by permute(0, 3, 1, 2), rows before columns.
            (0, 3, 1, 2) ⇒ (0, 3, 2, 1)
        the patches come back in column order: go back with flatten(2).transpose(1, 2), rows before columns.
            picture.flatten(2).mT ⇒ picture.mT.flatten(2).mT
        you stretch both sides alike, as one side of the new grid says: give `size=` the pair (gh, gw).
            tuple(new_grid_size) ⇒ new_grid_size[0]
          or
            tuple(new_grid_size) ⇒ new_grid_size[1]
          or
            size=tuple(new_grid_size) ⇒ scale_factor=new_grid_size[0] / side
          or
            size=tuple(new_grid_size) ⇒ scale_factor=new_grid_size[1] / side
        you resize without antialiasing, as Hugging Face does: antialias=True is asked for, and it changes the filter where the grid grows, too.
            , antialias=True ⇒
        the corners are aligned: leave align_corners out.
            antialias=True ⇒ antialias=True, align_corners=True
        that is torchvision's way, with the corners aligned: leave align_corners out, and set antialias=True.
            antialias=True ⇒ align_corners=True
        that is bilinear: mode="bicubic" is asked for.
            bicubic ⇒ bilinear
        that is bilinear without antialiasing: mode="bicubic", antialias=True is asked for.
            "bicubic", antialias=True ⇒ "bilinear"
        that is Google's way, bilinear with the corners aligned: mode="bicubic", antialias=True is asked for.
            "bicubic", antialias=True ⇒ "bilinear", align_corners=True
        you copy the nearest patch, which is what F.interpolate does if no mode is given: mode="bicubic", antialias=True.
            "bicubic", antialias=True ⇒ "nearest"
        """,
    ),
)

EXERCISES = (PREPEND_CLASS_TOKEN, SINCOS_POS_EMBED_2D, RESAMPLE_POS_EMBED)
