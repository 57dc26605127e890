"""The exercises of chapter 11, filters and position embeddings."""

import numpy as np  # noqa: F401 (for the edits)
import torch
import torch.nn.functional as F

from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import Exercise, normal
from course_lib.checks.staged import StagedExercise, as_number


def _filter_probes(generator):
    """Filters whose components are far apart in size, so that rounding does not mix them, and a large mean filter."""
    draw, probes = normal(generator), []
    for D, C, P, n in (
        (17, 3, 2, 5),
        (12, 3, 2, 7),  # as many filters as numbers in each
        (40, 2, 3, 9),
        (11, 2, 2, 8),  # all components
        (9, 1, 2, 1),
        (7, 5, 1, 4),
        (6, 2, 1, 1),
        (17, 3, 2, 5),  # the shape of the first
        (25, 2, 2, 4),
    ):
        numbers = C * P * P
        rank = min(D - 1, numbers)
        left = torch.linalg.qr(torch.cat([torch.ones(D, 1, dtype=torch.float64), draw(D, rank)], 1)).Q[:, 1:]
        right = torch.linalg.qr(draw(numbers, rank)).Q  # (C·P·P, rank)
        sizes = torch.linspace(1, 1 / rank, rank, dtype=torch.float64).sqrt()
        filters = left * sizes @ right.T + 2 * draw(numbers) / numbers**0.5
        probes.append({"weight": filters.unflatten(1, (C, P, P)), "n": n})
    probes[-1]["weight"] = probes[-1]["weight"].float()
    return probes


def _filters_by_svd(weight, n):
    filters = weight.flatten(1)
    filters = filters - filters.mean(dim=0)
    svd = torch.linalg.svd(filters, full_matrices=False)
    components = svd.Vh[:n]
    largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
    components = components * largest.sign()
    return components.unflatten(1, weight.shape[1:])


def _filters_by_eigh(weight, n):
    filters = weight.flatten(1)
    vectors = torch.linalg.eigh(torch.cov(filters.T)).eigenvectors
    components = vectors.T.flip(0)[:n]
    largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
    components = components * largest.sign()
    return components.reshape(n, *weight.shape[1:])


PATCH_FILTERS = Exercise(
    name="patch_filters",
    chapter="11",
    signature="patch_filters(weight, n)",
    task="flatten the filters, subtract their mean filter, take the first n right singular vectors, turn each so that its largest number by size is positive, and give them the shape of filters: (D, C, P, P), n -> (n, C, P, P).",
    probes=_filter_probes,
    oracle=lambda weight, n: _filters_by_eigh(weight.double(), n).to(weight.dtype),
    mistakes=edits_of(
        _filters_by_svd,
        """
        some components are the negatives of what was asked for, as if their signs had not been touched: look for the largest number by size, abs() first (the largest without it is nearly always positive), and turn the component if that number is negative.
            components * largest.sign() ⇒ components
          or
            svd.Vh[:n] ⇒ torch.from_numpy(np.linalg.svd(filters.numpy(), full_matrices=False)[2][:n])
            components * largest.sign() ⇒ components
          or
            components.abs().argmax ⇒ components.argmax
        one sign for all components: each has a largest number of its own, dim=1, and a sign of its own.
            largest.sign() ⇒ components.flatten()[components.abs().argmax()].sign()
        each component is the negative of the right one: its largest number by size is positive.
            components * largest.sign() ⇒ components * -largest.sign()
        you turn each so that its sum is positive: a sum can be nearly 0, and then rounding decides; the largest number by size it is.
            largest.sign() ⇒ components.sum(dim=1, keepdim=True).sign()
        you turn each so that its first number is positive: that one can be nearly 0; the largest by size it is.
            largest.sign() ⇒ components[:, :1].sign()
        you look for the largest number at each pixel, over the components: dim=1, one for each component.
            largest.sign() ⇒ components.gather(0, components.abs().argmax(dim=0, keepdim=True)).sign()
        you turn each row of pixels for itself: the component as a whole has one largest number, so look for it before unflatten, or in flatten(1).
            svd.Vh[:n] ⇒ svd.Vh[:n].unflatten(1, weight.shape[1:])
            gather(1, components.abs().argmax(dim=1, ⇒ gather(-1, components.abs().argmax(dim=-1,
            return components.unflatten(1, weight.shape[1:]) ⇒ return components
        you multiply by the largest number itself, and the length is no longer 1: by its sign, .sign().
            .sign() ⇒
        abs() makes every number positive, and the picture another one: multiply the whole component by the sign of its largest number.
            components * largest.sign() ⇒ components.abs()
        the signs do not line up with the components: one for each of them, (n, 1) beside (n, C·P·P), which `gather` gives with keepdim=True.
            largest.sign() ⇒ largest[:, 0].sign()
          or
            largest.sign() ⇒ components[:, components.abs().argmax(dim=1)].sign()
          or
            components * largest.sign() ⇒ components.unflatten(1, weight.shape[1:]) * largest[:, 0].sign()
            return components.unflatten(1, weight.shape[1:]) ⇒ return components
          or
            components * largest.sign() ⇒ components.unflatten(1, weight.shape[1:]) * largest.sign()
            return components.unflatten(1, weight.shape[1:]) ⇒ return components
        the mean filter is still in, and becomes the first component: subtract the mean over the D filters first.
            filters - filters.mean(dim=0) ⇒ filters
          or
            filters - filters.mean(dim=0) ⇒ filters
            components * largest.sign() ⇒ components
        you subtract from each filter its own mean, dim=1: subtract the mean filter, which is the mean over dim=0.
            mean(dim=0) ⇒ mean(dim=1, keepdim=True)
          or
            mean(dim=0) ⇒ mean(dim=1, keepdim=True)
            components * largest.sign() ⇒ components
          or
            mean(dim=0) ⇒ mean(dim=1)
        you subtract one number, the mean of everything: subtract the mean filter, dim=0, a number for each pixel.
            mean(dim=0) ⇒ mean()
        you subtract one number for each channel: subtract the mean filter, dim=0, a number for each pixel.
            weight.flatten(1) ⇒ (weight - weight.mean(dim=(0, 2, 3), keepdim=True)).flatten(1)
            filters - filters.mean(dim=0) ⇒ filters
        you also divide by the deviation of each pixel: that makes all pixels equally loud; subtract the mean and leave it at that.
            filters - filters.mean(dim=0) ⇒ (filters - filters.mean(dim=0)) / filters.std(dim=0)
        you make all filters equally long before: a long filter counts for more; subtract the mean and leave it at that.
            filters - filters.mean(dim=0) ⇒ F.normalize(filters - filters.mean(dim=0), dim=1)
        each filter must be flat: without flatten(1) the SVD takes every channel of every filter for a matrix of its own.
            ⇒ return torch.linalg.svd(weight - weight.mean(dim=0), full_matrices=False).Vh[:n]
          or
            svd(filters, ⇒ svd(filters.reshape(weight.shape),
            svd.Vh ⇒ svd.Vh.flatten(1)
        you take rows of V, which are columns of Vh: the components are the rows of Vh, and the columns of V or of what torch.linalg.eigh returns.
            svd.Vh[:n] ⇒ svd.Vh[:, :n].T
          or
            svd.Vh[:n] ⇒ svd.Vh[:, :n].T
            components * largest.sign() ⇒ components
          or
            svd.Vh[:n] ⇒ svd.Vh[:, :n]
          or
            svd.Vh[:n] ⇒ svd.Vh[:, :n]
            components.unflatten(1, ⇒ components.reshape(n, *
        yours come from the side of the filters, D by D (U, or eigenvectors of torch.cov(filters)): the components are the rows of Vh, or eigenvectors of torch.cov(filters.T).
            svd.Vh[:n] ⇒ svd.U[:, :n].T
          or
            svd.Vh[:n] ⇒ svd.U[:, :n].T
            components.unflatten(1, ⇒ components.reshape(n, *
          or
            svd.Vh[:n] ⇒ svd.U[:, :n].T
            components.unflatten(1, ⇒ components.reshape(-1, *
          or
            svd.Vh[:n] ⇒ svd.U[:n]
          or
            svd.Vh[:n] ⇒ svd.U[:, :n].T
            components * largest.sign() ⇒ components
          or
            svd.Vh[:n] ⇒ svd.U[:, :n].T
            components * largest.sign() ⇒ components
            components.unflatten(1, ⇒ components.reshape(n, *
          or
            svd.Vh[:n] ⇒ svd.U[:, :n].T
            components * largest.sign() ⇒ components
            components.unflatten(1, ⇒ components.reshape(-1, *
        the components come with the smallest first: torch.linalg.eigh sorts upwards; the largest variance first.
            svd.Vh[:n] ⇒ svd.Vh.flip(0)[:n]
        these are the last n: torch.linalg.svd puts the largest variance first, so Vh[:n].
            svd.Vh[:n] ⇒ svd.Vh[-n:]
        the first component is left out: rows are counted from 0, so Vh[:n], and the mean filter is none of them once it is subtracted.
            svd.Vh[:n] ⇒ svd.Vh[1 : n + 1]
        you subtract a mean from the components: it is subtracted from the filters, before the SVD.
            filters - filters.mean(dim=0) ⇒ filters
            svd.Vh[:n] ⇒ svd.Vh[:n] - svd.Vh[:n].mean(dim=0)
        you leave out the first component in the place of the mean filter, which is in the others too: subtract it, and take Vh[:n].
            filters - filters.mean(dim=0) ⇒ filters
            svd.Vh[:n] ⇒ svd.Vh[1 : n + 1]
        the right components in reverse order: the largest variance first.
            svd.Vh[:n] ⇒ svd.Vh[:n].flip(0)
        torch.pca_lowrank with q=n only comes near the components, by chance: use torch.linalg.svd, which is exact.
            svd.Vh[:n] ⇒ torch.pca_lowrank(weight.flatten(1), q=n)[2].T
        the components are multiplied by their singular values or deviations: each has length 1.
            svd.Vh[:n] ⇒ svd.S[:n, None] * svd.Vh[:n]
          or
            svd.Vh[:n] ⇒ svd.S[:n, None] * svd.Vh[:n] / (len(weight) - 1) ** 0.5
        you divide each by its largest number: that is for display; here each has length 1.
            components * largest.sign() ⇒ components / largest
        you stretch each from 0 to 1: that is for display; here each has length 1, with signs.
            components * largest.sign() ⇒ components * largest.sign()
            | components = components - components.amin(dim=1, keepdim=True)
            | components = components / components.amax(dim=1, keepdim=True)
        the channels come last in your reshape: a filter is flattened as (C, P, P), so unflatten(1, weight.shape[1:]).
            components.unflatten(1, weight.shape[1:]) ⇒ components.unflatten(1, (*weight.shape[2:], weight.shape[1])).permute(0, 3, 1, 2)
          or
            weight.shape[1:] ⇒ (*weight.shape[2:], weight.shape[1])
        rows and columns of each picture are swapped: leave out the transpose.
            weight.shape[1:]) ⇒ weight.shape[1:]).mT
        you count on 3 channels: C is weight.shape[1].
            components.unflatten(1, weight.shape[1:]) ⇒ components.reshape(n, 3, *weight.shape[2:])
          or
            components.unflatten(1, weight.shape[1:]) ⇒ components.reshape(-1, 3, *weight.shape[2:])
        the components are flat: back to (n, C, P, P).
            components.unflatten(1, weight.shape[1:]) ⇒ components
        these are all components: the first n.
            svd.Vh[:n] ⇒ svd.Vh
        these are the first n filters: filters have no order, components do.
            ⇒ return weight[:n].clone()
        these are the n longest filters: a component is a direction that many filters share, from the SVD of all of them.
            ⇒ lengths = (weight - weight.mean(dim=0)).flatten(1).norm(dim=1)
            | return weight[lengths.argsort(descending=True)[:n]]
          or
            svd.Vh[:n] ⇒ F.normalize(filters[filters.norm(dim=1).argsort(descending=True)[:n]], dim=1)
        `weight` is the tensor of the filters, (D, C, P, P), and no model: take it as it is.
            weight.flatten(1) ⇒ weight.patch_embed.proj.weight.flatten(1)
        """,
    )
    + edits_of(
        _filters_by_eigh,  # its vectors come with other signs
        """
        some components are the negatives of what was asked for, as if their signs had not been touched: look for the largest number by size, abs() first (the largest without it is nearly always positive), and turn the component if that number is negative.
            components * largest.sign() ⇒ components
          or
            components * largest.sign() ⇒ components
            torch.cov(filters.T) ⇒ (filters - filters.mean(0)).T @ (filters - filters.mean(0))
          or
            components.abs().argmax ⇒ components.argmax
        one sign for all components: each has a largest number of its own, dim=1, and a sign of its own.
            largest.sign() ⇒ components.flatten()[components.abs().argmax()].sign()
          or
            largest.sign() ⇒ components.flatten()[components.abs().argmax()].sign()
            torch.cov(filters.T) ⇒ (filters - filters.mean(0)).T @ (filters - filters.mean(0))
        you take rows of V, which are columns of Vh: the components are the rows of Vh, and the columns of V or of what torch.linalg.eigh returns.
            vectors.T.flip(0)[:n] ⇒ vectors.flip(1)[:n]
          or
            vectors.T.flip(0)[:n] ⇒ vectors.flip(0)[:n]
          or
            vectors.T.flip(0)[:n] ⇒ vectors[:n]
        yours come from the side of the filters, D by D (U, or eigenvectors of torch.cov(filters)): the components are the rows of Vh, or eigenvectors of torch.cov(filters.T).
            filters.T ⇒ filters
        the components come with the smallest first: torch.linalg.eigh sorts upwards; the largest variance first.
            vectors.T.flip(0)[:n] ⇒ vectors.T[:n]
        the right components in reverse order: the largest variance first.
            vectors.T.flip(0)[:n] ⇒ vectors.T[-n:]
        the mean filter is still in, and becomes the first component: subtract the mean over the D filters first.
            torch.cov(filters.T) ⇒ filters.T @ filters
        """,
    ),
)


def _table_probes(generator):
    """A class token, none, and registers besides; grids of all kinds: high, wide, square, a row, a column, one patch."""
    draw, probes = normal(generator), []
    for grid, prefix, D in (
        ((3, 4), 1, 6),
        ((5, 2), 0, 7),
        ((2, 6), 5, 4),
        ((2, 3), 1, 6),  # as many patches as numbers in each vector
        ((1, 5), 1, 3),
        ((4, 1), 2, 7),
        ((1, 1), 1, 2),
        ((3, 2), 1, 1),
        ((3, 4), 1, 6),  # the shape of the first
        ((4, 4), 1, 9),
    ):
        table = draw(1, prefix + grid[0] * grid[1], D) + 0.7 * draw(D)
        lengths = 0.5 + 2 * torch.rand(table.shape[1], 1, generator=generator, dtype=torch.float64)
        probes.append({"pos_embed": table * lengths, "grid_size": grid})
    probes[-1]["pos_embed"] = probes[-1]["pos_embed"].float()
    return probes


def _similarity(pos_embed, grid_size):
    gh, gw = grid_size
    table = pos_embed[0, pos_embed.shape[1] - gh * gw :]
    units = table / table.norm(dim=1, keepdim=True)
    cosines = units @ units.T
    return cosines.reshape(gh, gw, gh, gw)


def _similarity_of_pairs(pos_embed, grid_size):
    gh, gw = grid_size
    table = pos_embed[0, -gh * gw :]
    cosines = F.cosine_similarity(table[:, None], table, dim=-1)
    return cosines.view(gh, gw, gh, gw)


POS_EMBED_SIMILARITY = Exercise(
    name="pos_embed_similarity",
    chapter="11",
    signature="pos_embed_similarity(pos_embed, grid_size)",
    task="drop the rows in front that belong to no patch, take the cosine of each patch's vector with every patch's, and lay the result out as [row, column, row, column]: (1, prefix + gh·gw, D) -> (gh, gw, gh, gw).",
    probes=_table_probes,
    oracle=_similarity_of_pairs,
    mistakes=edits_of(
        _similarity,
        """
        these are dot products, in which a long vector is like everything: divide by both lengths.
            units @ units.T ⇒ table @ table.T
        you divide by one of the two lengths only: a cosine needs both, and is 1 on the diagonal.
            units @ units.T ⇒ units @ table.T
          or
            units @ units.T ⇒ table @ units.T
        you divide by one of the two lengths twice: each pair has two of its own, table.norm(dim=1)[:, None] for the rows and table.norm(dim=1) for the columns.
            units @ units.T ⇒ table @ table.T / table.norm(dim=1).square()
          or
            units @ units.T ⇒ table @ table.T / table.norm(dim=1)[:, None].square()
        you add the two lengths: divide by their product.
            units @ units.T ⇒ table @ table.T / (table.norm(dim=1)[:, None] + table.norm(dim=1))
        you divide each vector by the root of its length: by the length itself, the root of the sum of squares.
            keepdim=True) ⇒ keepdim=True).sqrt()
        you divide by the root of the mean square: the length is the root of the sum of squares.
            .norm(dim=1, keepdim=True) ⇒ .square().mean(dim=1, keepdim=True).sqrt()
        you divide by the squared length: the length is its root.
            .norm(dim=1, keepdim=True) ⇒ .square().sum(dim=1, keepdim=True)
        you divide by the square root of D, as in attention: by the lengths of the two vectors.
            units @ units.T ⇒ table @ table.T / table.shape[1] ** 0.5
        you divide by the largest dot product of all: each pair has its own two lengths.
            units @ units.T ⇒ table @ table.T / (table @ table.T).max()
        you divide by one number, the length of the whole table: each vector has its own length, dim=-1.
            .norm(dim=1, keepdim=True) ⇒ .norm()
        you divide by the sum of the absolute values: the length is the root of the sum of squares.
            .norm(dim=1, keepdim=True) ⇒ .abs().sum(dim=1, keepdim=True)
        you normalise over the positions: each vector is to have length 1, so over D, dim=-1.
            dim=1 ⇒ dim=0
          or
            table = pos_embed[0, pos_embed.shape[1] - gh * gw :] ⇒ units = F.normalize(pos_embed)[0, pos_embed.shape[1] - gh * gw :]
            units = table / table.norm(dim=1, keepdim=True) ⇒
        the lengths have lost a dimension and do not line up with the vectors: with keepdim=True they are (gh·gw, 1).
            , keepdim=True ⇒
        you subtract the mean position first: a good idea, and further on in the chapter; here the plain cosine, as in the paper.
            units = table ⇒ table = table - table.mean(dim=0)
            | units = table
          or
            units = table / table.norm(dim=1, keepdim=True) ⇒ units = F.normalize(table - table.mean(dim=0), dim=1)
          or
            units = table ⇒ table = table - pos_embed[0].mean(dim=0)
            | units = table
        you subtract from each vector its own mean, which makes it a correlation: here the plain cosine.
            units = table ⇒ table = table - table.mean(dim=1, keepdim=True)
            | units = table
          or
            units = table / table.norm(dim=1, keepdim=True) ⇒ units = F.normalize(table - table.mean(dim=1, keepdim=True), dim=1)
        these are distances: the cosine is 1 for a patch with itself.
            units @ units.T ⇒ torch.cdist(table, table)
          or
            units @ units.T ⇒ -torch.cdist(table, table)
          or
            units @ units.T ⇒ torch.cdist(units, units)
        these are squared distances: the cosine is 1 for a patch with itself.
            units @ units.T ⇒ (table[:, None] - table).square().sum(dim=-1)
          or
            units @ units.T ⇒ (units[:, None] - units).square().sum(dim=-1)
        that is 1 minus the cosine: how alike, and not how different.
            units @ units.T ⇒ 1 - units @ units.T
        these are angles: the cosine itself, without acos.
            units @ units.T ⇒ (units @ units.T).clamp(-1, 1).acos()
        a softmax makes each tile sum to 1, as attention does: here the cosine itself.
            units @ units.T ⇒ (table @ table.T).softmax(dim=-1)
          or
            units @ units.T ⇒ (units @ units.T).softmax(dim=-1)
        negative cosines have become 0: they say that two positions point away from each other.
            units @ units.T ⇒ (units @ units.T).clamp(min=0)
        abs() makes opposite positions look alike: keep the sign.
            units @ units.T ⇒ (units @ units.T).abs()
        the squares of the cosines make opposite positions look alike: the cosines themselves.
            units @ units.T ⇒ (units @ units.T).square()
        a place is missing in its own tile: its cosine with itself is 1, and stays in.
            units @ units.T ⇒ (units @ units.T).fill_diagonal_(0)
        each position with each position, (gh·gw, D) times (D, gh·gw): multiply with @, and by the transpose, table @ table.T.
            units @ units.T ⇒ units.T @ units
          or
            units @ units.T ⇒ units * units
          or
            units @ units.T ⇒ units @ units
        F.cosine_similarity sums over dim=1 unless you say which, and that is no longer D: dim=-1.
            units @ units.T ⇒ F.cosine_similarity(units[:, None], units)
        you drop one row: how many belong to no patch is what is left over, N - gh·gw; it may be 0, or more with registers.
            pos_embed.shape[1] - gh * gw : ⇒ 1:
          or
            pos_embed.shape[1] - gh * gw : ⇒ pos_embed.shape[1] > gh * gw :
        you drop rows at the end: the class token comes first, so every patch has got its neighbour's vector; drop the rows in front.
            pos_embed.shape[1] - gh * gw : ⇒ : gh * gw
        you drop rows at the end, and always one: the class token comes first; drop the N - gh·gw rows in front.
            pos_embed.shape[1] - gh * gw : ⇒ :-1
        you take gh·gw rows from the second on: how many belong to no patch is what is left over, N - gh·gw; it may be 0, or more with registers.
            pos_embed.shape[1] - gh * gw : ⇒ 1 : gh * gw + 1
        the class token is still in, and it has no place on the grid: take the last gh·gw rows, of pos_embed[0] and not of pos_embed.
            pos_embed.shape[1] - gh * gw : ⇒ :
          or
            pos_embed.shape[1] - gh * gw : ⇒ :
            units @ units.T ⇒ torch.einsum("rcd,ijd->rcij", units.reshape(gh, gw, -1), units.reshape(gh, gw, -1))
        the leading 1 is still there: take pos_embed[0] first, and then the rows.
            pos_embed[0, pos_embed.shape[1] - gh * gw :] ⇒ pos_embed[:, pos_embed.shape[1] - gh * gw :]
            dim=1 ⇒ dim=-1
            units.T ⇒ units.permute(2, 1, 0)
          or
            pos_embed[0, pos_embed.shape[1] - gh * gw :] ⇒ pos_embed[-gh * gw :]
            dim=1 ⇒ dim=-1
            units.T ⇒ units.permute(2, 1, 0)
          or
            (gh, gw, gh, gw) ⇒ (1, gh, gw, gh, gw)
        you return a matrix, (gh·gw, gh·gw): make rows and columns of both of its dimensions.
            cosines.reshape(gh, gw, gh, gw) ⇒ cosines
        only one of the two dimensions is laid out in rows and columns, and the other is still flat: unflatten both.
            (gh, gw, gh, gw) ⇒ (gh, gw, gh * gw)
          or
            (gh, gw, gh, gw) ⇒ (gh * gw, gh, gw)
        rows and columns of the grid are swapped: the patches are counted row by row, so reshape to (gh, gw, gh, gw).
            (gh, gw, gh, gw) ⇒ (gw, gh, gw, gh)
          or
            (gh, gw, gh, gw) ⇒ (gh, gw, gh, gw).permute(1, 0, 3, 2)
          or
            (gh, gw, gh, gw) ⇒ (gw, gh, gw, gh).permute(1, 0, 3, 2)
        rows and columns are swapped inside each tile: [row, column, row, column].
            (gh, gw, gh, gw) ⇒ (gh, gw, gw, gh)
          or
            (gh, gw, gh, gw) ⇒ (gh, gw, gw, gh).transpose(2, 3)
          or
            (gh, gw, gh, gw) ⇒ (gh, gw, gh, gw).transpose(2, 3)
        the dimensions are in another order, [row, row, column, column]: the first two say whose tile it is.
            (gh, gw, gh, gw) ⇒ (gh, gw, gh, gw).transpose(1, 2)
          or
            (gh, gw, gh, gw) ⇒ (gh, gh, gw, gw)
        you put the tiles together to one picture: that is for drawing; here (gh, gw, gh, gw).
            (gh, gw, gh, gw) ⇒ (gh, gw, gh, gw).transpose(1, 2).reshape(gh * gh, gw * gw)
        the grid need not be square, nor is there always one row in front: grid_size is (gh, gw).
            gh, gw = grid_size ⇒ gh = gw = int((pos_embed.shape[1] - 1) ** 0.5)
          or
            gh, gw = grid_size ⇒ gh = gw = int(pos_embed.shape[1] ** 0.5)
        that is the tile of the first patch alone: each patch has one.
            cosines.reshape(gh, gw, gh, gw) ⇒ cosines[0].reshape(gh, gw)
        squeeze() takes away every dimension of size 1, also a grid's side: take pos_embed[0], and let the result have four dimensions.
            (gh, gw, gh, gw) ⇒ (gh, gw, gh, gw).squeeze()
          or
            pos_embed[0, pos_embed.shape[1] - gh * gw :] ⇒ pos_embed.squeeze()[-gh * gw :]
            dim=1 ⇒ dim=-1
            units.T ⇒ units.movedim(0, -1)
        """,
    )
    + edits_of(
        _similarity_of_pairs,  # its errors have other words
        """
        you compare each patch with itself only: F.cosine_similarity goes through both tables together, so give it (gh·gw, 1, D) and (gh·gw, D).
            table[:, None] ⇒ table
          or
            table[:, None] ⇒ table
            (gh, gw, gh, gw) ⇒ (gh, gw)
        F.cosine_similarity sums over dim=1 unless you say which, and that is no longer D: dim=-1.
            , dim=-1 ⇒
        you drop one row: how many belong to no patch is what is left over, N - gh·gw; it may be 0, or more with registers.
            -gh * gw : ⇒ 1:
          or
            -gh * gw : ⇒ 1:
            cosines.view(gh, gw, gh, gw) ⇒ cosines.unflatten(1, grid_size).unflatten(0, grid_size)
          or
            -gh * gw :] ⇒ 1:].reshape(gh, gw, -1).flatten(0, 1)
        you drop rows at the end, and always one: the class token comes first; drop the N - gh·gw rows in front.
            -gh * gw : ⇒ :-1
            cosines.view(gh, gw, gh, gw) ⇒ cosines.unflatten(1, grid_size).unflatten(0, grid_size)
          or
            -gh * gw :] ⇒ :-1].reshape(gh, gw, -1).flatten(0, 1)
        the class token is still in, and it has no place on the grid: take the last gh·gw rows, of pos_embed[0] and not of pos_embed.
            -gh * gw : ⇒ :
          or
            -gh * gw : ⇒ :
            cosines.view(gh, gw, gh, gw) ⇒ cosines.unflatten(1, grid_size).unflatten(0, grid_size)
          or
            -gh * gw :] ⇒ :].reshape(gh, gw, -1).flatten(0, 1)
        """,
    ),
)


def _share_probes(generator):
    """Rows, columns and a rest, each of its own size, around a mean that is far from 0."""
    draw, probes = normal(generator), []
    for gh, gw, D in (
        (3, 5, 4),
        (6, 2, 7),
        (4, 4, 9),
        (5, 3, 1),
        (1, 4, 2),
        (4, 1, 3),
        (3, 5, 4),  # the shape of the first
        (2, 7, 3),
    ):
        sizes = 0.3 + torch.rand(4, D, generator=generator, dtype=torch.float64)
        table = draw(gh, 1, D) * sizes[0] + draw(1, gw, D) * sizes[1] + 0.8 * draw(gh, gw, D) * sizes[2]
        probes.append({"table": table + 3 * sizes[3]})
    probes[-1]["table"] = probes[-1]["table"].float()
    sides = draw(3, 1, 4) + draw(1, 2, 4)  # nothing but rows and columns: the share is 1
    rest = draw(4, 3, 2)
    rest = rest - rest.mean(dim=0)
    rest = rest - rest.mean(dim=1, keepdim=True)  # neither rows nor columns: the share is 0
    return [*probes, {"table": 0.02 * sides}, {"table": rest}]


def _share(table):
    mean = table.mean(dim=(0, 1))
    rows = table.mean(dim=1, keepdim=True)
    columns = table.mean(dim=0, keepdim=True)
    fit = rows + columns - mean
    left = (table - fit).square().sum()
    whole = (table - mean).square().sum()
    return 1 - left / whole


def _share_of_variances(table):
    rows = table.mean(dim=1).var(dim=0, correction=0)
    columns = table.mean(dim=0).var(dim=0, correction=0)
    whole = table.var(dim=(0, 1), correction=0)
    return (rows + columns).sum() / whole.sum()


def _share_as_tensor(answer):
    """A float is as good as a tensor with one number, and so is a number that was calculated in float64."""

    def staged(table):
        value = answer(table)
        if isinstance(value, torch.Tensor):
            return value.to(table.dtype) if value.dtype == torch.float64 else value
        return value if value is None else as_number(value, "the share").to(table.dtype)

    return staged


ROW_COLUMN_SHARE = StagedExercise(
    name="row_column_share",
    chapter="11",
    signature="row_column_share(table)",
    task="fit each vector by the mean of its row plus the mean of its column minus the mean of all, and return 1 - (sum of the squares that are left) / (sum of the squared deviations from the mean of all), over everything: (gh, gw, D) -> one number.",
    probes=_share_probes,
    oracle=_share_of_variances,
    stage=_share_as_tensor,
    mistakes=edits_of(
        _share,
        """
        the mean of all is in row + column twice, and in (row - mean) + (column - mean) not at all: row + column - mean has it once.
            rows + columns - mean ⇒ rows + columns
          or
            columns - mean ⇒ columns + mean
        the means have lost a dimension each and do not fit each other: with keepdim=True they are (gh, 1, D) and (1, gw, D).
            dim=1, keepdim=True ⇒ dim=1
            dim=0, keepdim=True ⇒ dim=0
          or
            dim=1, keepdim=True ⇒ dim=1
            dim=0, keepdim=True ⇒ dim=0
            rows + columns ⇒ columns + rows
        the mean of the rows has lost a dimension and does not fit the grid any more: with keepdim=True it is (gh, 1, D).
            dim=1, keepdim=True ⇒ dim=1
          or
            dim=1, keepdim=True ⇒ dim=1
            rows + columns ⇒ columns + rows
        the rows' means lie along the columns, and the columns' along the rows: (gh, 1, D) and (1, gw, D), as keepdim=True gives.
            rows + columns ⇒ rows.transpose(0, 1) + columns.transpose(0, 1)
          or
            rows + columns ⇒ columns.transpose(0, 1) + rows.transpose(0, 1)
            table - fit ⇒ fit - table
        that is the share of the rows alone: add the columns to the fit.
            rows + columns - mean ⇒ rows
        that is the share of the columns alone: add the rows to the fit.
            rows + columns - mean ⇒ columns
        one of the two means is in the fit twice, and the other not at all: a row's mean is over dim=1, a column's over dim=0.
            + columns ⇒ + rows
          or
            rows + ⇒ columns +
        half of a row's mean and half of a column's: a sum, row + column - mean.
            rows + columns - mean ⇒ (rows + columns) / 2
        these are medians: the mean of each row and the mean of each column.
            table.mean(dim=1, keepdim=True) ⇒ table.median(dim=1, keepdim=True).values
            table.mean(dim=0, keepdim=True) ⇒ table.median(dim=0, keepdim=True).values
        what is left is a mean of squares, and below it stands a sum: take the same of both.
            fit).square().sum() ⇒ fit).square().mean()
        that is the share that is left: 1 minus it.
            1 - left / whole ⇒ left / whole
        your fraction is upside down: what is left stands above, the whole below.
            left / whole ⇒ whole / left
        you divide by the squares of the table itself, in which its mean counts: by the squared deviations from the mean of all.
            whole = (table - mean) ⇒ whole = table
        you compare lengths: squares, without the root, since only squares add up.
            left / whole ⇒ (left / whole) ** 0.5
          or
            fit).square().sum() ⇒ fit).norm(dim=-1).sum()
            (table - mean).square().sum() ⇒ (table - mean).norm(dim=-1).sum()
        you compare absolute deviations: squares.
            fit).square() ⇒ fit).abs()
            (table - mean).square() ⇒ (table - mean).abs()
        the mean of all is one number in yours: it is a vector, the mean over rows and columns, dim=(0, 1).
            dim=(0, 1) ⇒
        the mean of all is one number in your fit: it is a vector, the mean over rows and columns, dim=(0, 1).
            columns - mean ⇒ columns - table.mean()
        the mean of all is one number below your fraction: it is a vector, the mean over rows and columns, dim=(0, 1).
            (table - mean) ⇒ (table - table.mean())
        you average the shares of the D dimensions: in a dimension that hardly varies, a share says little; sum the squares over everything, and divide once.
            fit).square().sum() ⇒ fit).square().sum(dim=(0, 1))
            whole = (table - mean).square().sum() ⇒ whole = (table - mean).square().sum(dim=(0, 1))
            1 - left / whole ⇒ (1 - left / whole).mean()
        you average the shares of the vectors: sum the squares over everything, and divide once.
            fit).square().sum() ⇒ fit).square().sum(dim=-1)
            whole = (table - mean).square().sum() ⇒ whole = (table - mean).square().sum(dim=-1)
            1 - left / whole ⇒ (1 - left / whole).mean()
        you divide number by number and average: sum the squares over everything, and divide once.
            fit).square().sum() ⇒ fit).square()
            whole = (table - mean).square().sum() ⇒ whole = (table - mean).square()
            1 - left / whole ⇒ (1 - left / whole).mean()
        one share for each dimension: sum the squares over the dimensions too.
            fit).square().sum() ⇒ fit).square().sum(dim=(0, 1))
            whole = (table - mean).square().sum() ⇒ whole = (table - mean).square().sum(dim=(0, 1))
        one share for each place: sum the squares over the grid too.
            fit).square().sum() ⇒ fit).square().sum(dim=-1)
            whole = (table - mean).square().sum() ⇒ whole = (table - mean).square().sum(dim=-1)
        what is left is a sum of squares: divide it by the sum of squared deviations from the mean of all.
            1 - left / whole ⇒ 1 - left
          or
            1 - left / whole ⇒ left
        the 1 stands outside of the fraction: 1 - left / whole, and not (1 - left) / whole.
            1 - left / whole ⇒ (1 - left) / whole
        that is the sum of squares that the fit explains: divide it by the sum of all.
            1 - left / whole ⇒ whole - left
        the mean of all is still in your fit when you square it: take it off the fit as well as off the table.
            1 - left / whole ⇒ fit.square().sum() / whole
        you return the fit: how much of the table does it explain?
            1 - left / whole ⇒ fit
        a product of row and column: here they are added.
            rows + columns - mean ⇒ rows * columns / mean
        in per cent: a share between 0 and 1.
            1 - left / whole ⇒ 100 * (1 - left / whole)
        """,
    )
    + edits_of(
        _share_of_variances,
        """
        var divides by n - 1 unless you say otherwise, and n is not the same for rows, columns and table: correction=0 in all three.
            dim=1).var(dim=0, correction=0) ⇒ dim=1).var(dim=0)
            mean(dim=0).var(dim=0, correction=0) ⇒ mean(dim=0).var(dim=0)
            dim=(0, 1), correction=0 ⇒ dim=(0, 1)
        your variances run over the D dimensions, too: over the places alone, dim=0 and dim=(0, 1), and then the sum.
            dim=1).var(dim=0, correction=0) ⇒ dim=1).var(correction=0)
            mean(dim=0).var(dim=0, correction=0) ⇒ mean(dim=0).var(correction=0)
            dim=(0, 1), correction=0 ⇒ correction=0
        you add standard deviations: variances, since only squares add up.
            dim=1).var ⇒ dim=1).std
            mean(dim=0).var ⇒ mean(dim=0).std
            table.var ⇒ table.std
        """,
    ),
)


EXERCISES = (PATCH_FILTERS, POS_EMBED_SIMILARITY, ROW_COLUMN_SHARE)
