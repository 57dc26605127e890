"""The exercises of chapter 11, filters and position embeddings."""

import torch
import torch.nn.functional as F

from course_lib.checks.exercise import Exercise, Mistake
from course_lib.checks.staged import StagedExercise, as_number


def _normal(generator):
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


def _mistakes(*pairs):
    return tuple(Mistake(hint, function) for hint, function in pairs)


# --- patch_filters -----------------------------------------------------------------------------------


def _filter_probes(generator):
    """Filters whose components are far apart in size, so that rounding does not mix them, and a large mean filter."""
    normal, probes = _normal(generator), []
    for D, C, P, n, dtype in (
        (17, 3, 2, 5, torch.float64),
        (12, 3, 2, 7, torch.float64),  # as many filters as numbers in each
        (40, 2, 3, 9, torch.float64),
        (19, 1, 4, 6, torch.float64),
        (37, 2, 4, 4, torch.float32),
    ):
        numbers = C * P * P
        rank = min(D - 1, numbers)
        left = torch.linalg.qr(torch.cat([torch.ones(D, 1, dtype=torch.float64), normal(D, rank)], 1)).Q[:, 1:]
        right = torch.linalg.qr(normal(numbers, rank)).Q  # (C·P·P, rank)
        sizes = 0.75 ** torch.arange(rank)
        filters = left * sizes @ right.T + 2 * normal(numbers) / numbers**0.5
        probes.append({"weight": filters.unflatten(1, (C, P, P)).to(dtype), "n": n})
    return probes


def _without_mean(flat):
    return flat - flat.mean(dim=0)


def _vectors_by_svd(flat):
    """All components as rows, the largest first, with the signs that the SVD happens to give."""
    return torch.linalg.svd(flat, full_matrices=False).Vh


def _vectors_by_eigh(flat):
    return torch.linalg.eigh(flat.T @ flat).eigenvectors.T.flip(0)


def _vectors_by_eigh_of_cov(flat):
    return torch.linalg.eigh(torch.cov(flat.T)).eigenvectors.T.flip(0)


def _largest_positive(components):
    size = components.abs()
    return components * components.gather(1, size.argmax(dim=1, keepdim=True)).sign()


def _filters_by(vectors=_vectors_by_svd, *, prepare=_without_mean, sign=_largest_positive, shape=None, take=None):
    """The right answer, but for the steps that are named."""

    def filters(weight, n):
        components = vectors(prepare(weight.flatten(1)))
        components = sign(components[:n] if take is None else take(components, n))
        return components.unflatten(1, weight.shape[1:]) if shape is None else shape(components, weight)

    return filters


def _oracle_filters(weight, n):
    filters = weight.flatten(1).double()
    filters = filters - filters.mean(dim=0)
    vectors = torch.linalg.eigh(filters.T @ filters).eigenvectors.flip(1)[:, :n].T
    rows = [row * (1.0 if row[row.abs().argmax()] > 0 else -1.0) for row in vectors]
    return torch.stack(rows).reshape(n, *weight.shape[1:]).to(weight.dtype)


def _filters_from_the_left(shape):
    def filters(weight, n):
        left = torch.linalg.svd(_without_mean(weight.flatten(1)), full_matrices=False).U
        return shape(_largest_positive(left[:, :n].T), weight.shape[1:])

    return filters


_SHAPED = (  # three ways that fail with other words
    lambda components, shape: components.reshape(-1, *shape),
    lambda components, shape: components.reshape(len(components), *shape),
    lambda components, shape: components.unflatten(1, shape),
)


def _filters_times_sizes(weight, n):
    _, sizes, components = torch.linalg.svd(_without_mean(weight.flatten(1)), full_matrices=False)
    return (sizes[:n, None] * _largest_positive(components[:n])).unflatten(1, weight.shape[1:])


def _filters_to_one(weight, n):
    components = _largest_positive(_vectors_by_svd(_without_mean(weight.flatten(1)))[:n])
    return (components / components.amax(dim=1, keepdim=True)).unflatten(1, weight.shape[1:])


def _filters_for_display(weight, n):
    components = _largest_positive(_vectors_by_svd(_without_mean(weight.flatten(1)))[:n])
    low, high = components.amin(dim=1, keepdim=True), components.amax(dim=1, keepdim=True)
    return ((components - low) / (high - low)).unflatten(1, weight.shape[1:])


def _longest_filters(weight, n):
    flat = _without_mean(weight.flatten(1))
    return weight[flat.norm(dim=1).argsort(descending=True)[:n]]


def _channels_last(components, weight):
    _, C, P, _ = weight.shape
    return components.reshape(-1, P, P, C).permute(0, 3, 1, 2)


def _one_sign_for_all(components):
    """By the largest number of them all."""
    numbers = components.flatten()
    return components * numbers[numbers.abs().argmax()].sign()


_RAW = {"sign": lambda components: components}

PATCH_FILTERS = Exercise(
    name="patch_filters",
    chapter="11",
    signature="patch_filters(weight, n)",
    task="flatten the filters, subtract their mean filter, take the first n right singular vectors, turn each so that its largest number by size is positive, and give them the shape of filters: (D, C, P, P), n -> (n, C, P, P).",
    probes=_filter_probes,
    oracle=_oracle_filters,
    mistakes=_mistakes(
        *(
            (
                "some components are the negatives of what was asked for, as if their signs had not been touched: look for the largest number by size, abs() first (the largest without it is positive anyway), and turn the component if that number is negative.",
                _filters_by(vectors, **_RAW),
            )
            for vectors in (_vectors_by_svd, _vectors_by_eigh, _vectors_by_eigh_of_cov)
        ),
        *(
            (
                "one sign for all components: each has a largest number of its own, dim=1, and a sign of its own.",
                _filters_by(vectors, sign=_one_sign_for_all),
            )
            for vectors in (_vectors_by_svd, _vectors_by_eigh, _vectors_by_eigh_of_cov)
        ),
        (
            "each component is the negative of the right one: its largest number by size is positive.",
            _filters_by(sign=lambda c: -_largest_positive(c)),
        ),
        (
            "you turn each so that its sum is positive: a sum can be nearly 0, and then rounding decides; the largest number by size it is.",
            _filters_by(sign=lambda c: c * c.sum(dim=1, keepdim=True).sign()),
        ),
        (
            "you turn each so that its first number is positive: that one can be nearly 0; the largest by size it is.",
            _filters_by(sign=lambda c: c * c[:, :1].sign()),
        ),
        (
            "abs() makes every number positive, and the picture another one: multiply the whole component by the sign of its largest number.",
            _filters_by(sign=torch.abs),
        ),
        *(
            (
                "the mean filter is still in, and becomes the first component: subtract the mean over the D filters first.",
                _filters_by(prepare=lambda flat: flat, **kind),
            )
            for kind in ({}, _RAW)
        ),
        *(
            (
                "you subtract from each filter its own mean, dim=1: subtract the mean filter, which is the mean over dim=0.",
                _filters_by(prepare=lambda flat: flat - flat.mean(dim=1, keepdim=True), **kind),
            )
            for kind in ({}, _RAW)
        ),
        (
            "you subtract one number, the mean of everything: subtract the mean filter, dim=0, a number for each pixel.",
            _filters_by(prepare=lambda flat: flat - flat.mean()),
        ),
        (
            "you also divide by the deviation of each pixel: that makes all pixels equally loud; subtract the mean and leave it at that.",
            _filters_by(prepare=lambda flat: _without_mean(flat) / flat.std(dim=0)),
        ),
        (
            "you make all filters equally long before: a long filter counts for more; subtract the mean and leave it at that.",
            _filters_by(prepare=lambda flat: F.normalize(_without_mean(flat), dim=1)),
        ),
        *(
            (
                "you take columns of Vh: torch.linalg.svd returns V already transposed, so that the components are its rows, Vh[:n].",
                _filters_by(sign=sign, take=lambda vectors, n: vectors[:, :n].T),
            )
            for sign in (_largest_positive, lambda c: c)
        ),
        *(
            (
                "these are left singular vectors, which say how much of a component is in each filter: the components are the rows of Vh.",
                _filters_from_the_left(shape),
            )
            for shape in _SHAPED
        ),
        (
            "the components come with the smallest first: torch.linalg.eigh sorts upwards; the largest variance first.",
            _filters_by(take=lambda vectors, n: vectors.flip(0)[:n]),
        ),
        (
            "the right components in reverse order: the largest variance first.",
            _filters_by(take=lambda vectors, n: vectors[:n].flip(0)),
        ),
        (
            "the components are multiplied by their singular values: each has length 1.",
            _filters_times_sizes,
        ),
        (
            "you divide each by its largest number: that is for display; here each has length 1.",
            _filters_to_one,
        ),
        (
            "you stretch each from 0 to 1: that is for display; here each has length 1, with signs.",
            _filters_for_display,
        ),
        (
            "the channels come last in your reshape: a filter is flattened as (C, P, P), so unflatten(1, weight.shape[1:]).",
            _filters_by(shape=_channels_last),
        ),
        (
            "rows and columns of each picture are swapped: leave out the transpose.",
            _filters_by(shape=lambda components, weight: components.unflatten(1, weight.shape[1:]).mT),
        ),
        (
            "the components are flat: back to (n, C, P, P).",
            _filters_by(shape=lambda components, weight: components),
        ),
        (
            "these are all components: the first n.",
            _filters_by(take=lambda vectors, n: vectors),
        ),
        (
            "these are the first n filters: filters have no order, components do.",
            lambda weight, n: weight[:n].clone(),
        ),
        (
            "these are the n longest filters: a component is a direction that many filters share, from the SVD of all of them.",
            _longest_filters,
        ),
    ),
)


# --- pos_embed_similarity ----------------------------------------------------------------------------


def _table_probes(generator):
    """A class token, none, and registers besides; grids higher than wide and wider than high, and a square one."""
    normal, probes = _normal(generator), []
    for grid, prefix, D, dtype in (
        ((3, 4), 1, 6, torch.float64),
        ((5, 2), 0, 7, torch.float64),
        ((2, 6), 5, 4, torch.float64),
        ((4, 4), 1, 9, torch.float32),
    ):
        table = normal(1, prefix + grid[0] * grid[1], D) + 0.7 * normal(D)
        table = table * (0.5 + 2 * torch.rand(table.shape[1], 1, generator=generator, dtype=torch.float64))
        probes.append({"pos_embed": table.to(dtype), "grid_size": grid})
    return probes


def _patches(pos_embed, grid):
    return pos_embed[0, pos_embed.shape[1] - grid[0] * grid[1] :]


def _oracle_similarity(pos_embed, grid_size):
    gh, gw = grid_size
    table = _patches(pos_embed, grid_size).double()
    lengths = torch.einsum("ik,ik->i", table, table).sqrt()
    cosines = torch.einsum("ik,jk->ij", table, table) / torch.outer(lengths, lengths)
    return cosines.reshape(gh, gw, gh, gw).to(pos_embed.dtype)


def _cosines(table):
    table = F.normalize(table, dim=1)
    return table @ table.T


def _similarity_by(alike=_cosines, *, patches=_patches, lay=lambda matrix, gh, gw: matrix.reshape(gh, gw, gh, gw)):
    """The right answer, but for the steps that are named."""

    def similarity(pos_embed, grid_size):
        return lay(alike(patches(pos_embed, grid_size)), *grid_size)

    return similarity


def _dots(table):
    return table @ table.T


POS_EMBED_SIMILARITY = Exercise(
    name="pos_embed_similarity",
    chapter="11",
    signature="pos_embed_similarity(pos_embed, grid_size)",
    task="drop the rows in front that belong to no patch, take the cosine of each patch's vector with each other's, and lay the result out as [row, column, row, column]: (1, prefix + gh·gw, D) -> (gh, gw, gh, gw).",
    probes=_table_probes,
    oracle=_oracle_similarity,
    mistakes=_mistakes(
        (
            "these are dot products, in which a long vector is like everything: divide by both lengths.",
            _similarity_by(_dots),
        ),
        *(
            (
                "you divide by one of the two lengths only: a cosine needs both, and is 1 on the diagonal.",
                _similarity_by(alike),
            )
            for alike in (lambda t: t @ F.normalize(t, dim=1).T, lambda t: F.normalize(t, dim=1) @ t.T)
        ),
        (
            "you divide by the squared length: the length is its root.",
            _similarity_by(lambda t: _dots(t) / torch.outer(t.square().sum(1), t.square().sum(1))),
        ),
        (
            "you divide by the square root of D, as in attention: by the lengths of the two vectors.",
            _similarity_by(lambda t: _dots(t) / t.shape[1] ** 0.5),
        ),
        (
            "you divide by the largest dot product of all: each pair has its own two lengths.",
            _similarity_by(lambda t: _dots(t) / _dots(t).max()),
        ),
        (
            "you normalise over the positions, dim=0: each vector is to have length 1, so over D.",
            _similarity_by(lambda t: _dots(F.normalize(t, dim=0))),
        ),
        (
            "you subtract the mean position first: a good idea, and further on in the chapter; here the plain cosine, as in the paper.",
            _similarity_by(lambda t: _cosines(t - t.mean(dim=0))),
        ),
        (
            "you subtract from each vector its own mean, which makes it a correlation: here the plain cosine.",
            _similarity_by(lambda t: _cosines(t - t.mean(dim=1, keepdim=True))),
        ),
        (
            "these are distances: the cosine is 1 for a patch with itself.",
            _similarity_by(lambda t: torch.cdist(t, t)),
        ),
        (
            "that is 1 minus the cosine: how alike, and not how different.",
            _similarity_by(lambda t: 1 - _cosines(t)),
        ),
        (
            "a softmax makes each tile sum to 1, as attention does: here the cosine itself.",
            _similarity_by(lambda t: _dots(t).softmax(dim=-1)),
        ),
        (
            "negative cosines have become 0: they say that two positions point away from each other.",
            _similarity_by(lambda t: _cosines(t).clamp(min=0)),
        ),
        (
            "abs() makes opposite positions look alike: keep the sign.",
            _similarity_by(lambda t: _cosines(t).abs()),
        ),
        (
            "you drop rows at the end: the class token comes first, so every patch has got its neighbour's vector; drop the rows in front.",
            _similarity_by(patches=lambda pos_embed, grid: pos_embed[0, : grid[0] * grid[1]]),
        ),
        (
            "you drop rows at the end, and always one: the class token comes first; drop the N - gh·gw rows in front.",
            _similarity_by(patches=lambda pos_embed, grid: pos_embed[0, :-1]),
        ),
        *(
            (
                "you always drop one row: how many belong to no patch is what is left over, N - gh·gw; it may be 0, or more with registers.",
                _similarity_by(patches=lambda pos_embed, grid: pos_embed[0, 1:], lay=lay),
            )
            for lay in (lambda m, gh, gw: m.reshape(gh, gw, gh, gw), lambda m, gh, gw: m.view(gh, gw, gh, gw))
        ),
        *(
            (
                "the class token is still in, and it has no place on the grid: drop the N - gh·gw rows in front.",
                _similarity_by(patches=lambda pos_embed, grid: pos_embed[0], lay=lay),
            )
            for lay in (lambda m, gh, gw: m.reshape(gh, gw, gh, gw), lambda m, gh, gw: m.view(gh, gw, gh, gw))
        ),
        (
            "you return a matrix, (gh·gw, gh·gw): make rows and columns of both of its dimensions.",
            _similarity_by(lay=lambda m, gh, gw: m),
        ),
        (
            "only the tiles are laid out, and each is still flat: unflatten both dimensions.",
            _similarity_by(lay=lambda m, gh, gw: m.reshape(gh, gw, gh * gw)),
        ),
        (
            "rows and columns of the grid are swapped: (gh, gw), and patches are counted row by row.",
            _similarity_by(lay=lambda m, gh, gw: m.reshape(gw, gh, gw, gh)),
        ),
        (
            "the dimensions are in another order, [row, row, column, column]: the first two say whose tile it is.",
            _similarity_by(lay=lambda m, gh, gw: m.reshape(gh, gw, gh, gw).transpose(1, 2)),
        ),
        (
            "you put the tiles together to one picture: that is for drawing; here (gh, gw, gh, gw).",
            _similarity_by(lay=lambda m, gh, gw: m.reshape(gh, gw, gh, gw).transpose(1, 2).reshape(gh * gh, gw * gw)),
        ),
        (
            "the leading 1 is still there: pos_embed[0] takes it off.",
            _similarity_by(lay=lambda m, gh, gw: m.reshape(1, gh, gw, gh, gw)),
        ),
    ),
)


# --- row_column_share --------------------------------------------------------------------------------


def _share_probes(generator):
    """Rows, columns and a rest, each of its own size, around a mean that is far from 0."""
    normal, probes = _normal(generator), []
    for gh, gw, D, dtype in (
        (3, 5, 4, torch.float64),
        (6, 2, 7, torch.float64),
        (4, 4, 9, torch.float64),
        (2, 7, 3, torch.float32),
    ):
        sizes = 0.3 + torch.rand(4, D, generator=generator, dtype=torch.float64)
        table = normal(gh, 1, D) * sizes[0] + normal(1, gw, D) * sizes[1] + 0.8 * normal(gh, gw, D) * sizes[2]
        probes.append({"table": (table + 3 * sizes[3]).to(dtype)})
    return probes


def _oracle_share(table):
    """By least squares with a column for each row and each column of the grid."""
    gh, gw, D = table.shape
    rows = torch.eye(gh, dtype=torch.float64).repeat_interleave(gw, dim=0)
    columns = torch.eye(gw, dtype=torch.float64).repeat(gh, 1)
    design = torch.cat([rows, columns[:, 1:]], dim=1)  # (gh·gw, gh + gw - 1)
    values = table.double().reshape(gh * gw, D)
    rest = values - design @ torch.linalg.lstsq(design, values).solution
    return (1 - rest.square().sum() / (values - values.mean(dim=0)).square().sum()).to(table.dtype)


def _means(table):
    """The mean over all patches, over each row, over each column; all can be added to the table."""
    return table.mean(dim=(0, 1)), table.mean(dim=1, keepdim=True), table.mean(dim=0, keepdim=True)


def _share_of(fit, score=lambda table, fit, mean: 1 - (table - fit).square().sum() / (table - mean).square().sum()):
    """`fit(mean, rows, columns)`, and how much of the table it explains."""

    def share(table):
        mean, rows, columns = _means(table)
        return score(table, fit(mean, rows, columns), mean)

    return share


def _additive(mean, rows, columns):
    return rows + columns - mean


def _share_with_one_mean(table):
    mean, rows, columns = table.mean(), *_means(table)[1:]
    return 1 - (table - (rows + columns - mean)).square().sum() / (table - mean).square().sum()


def _share_over_dimensions(table):
    mean, rows, columns = _means(table)
    rest = (table - _additive(mean, rows, columns)).square().sum(dim=(0, 1))
    return (1 - rest / (table - mean).square().sum(dim=(0, 1))).mean()


def _share_without_keepdim(columns_keep, columns_first):
    """A dimension of the means is gone, so that they cannot be added; the error names the sizes in their order."""

    def share(table):
        means = table.mean(dim=1), table.mean(dim=0, keepdim=columns_keep)
        first, second = reversed(means) if columns_first else means
        return first + second - table.mean(dim=(0, 1))

    return share


def _share_as_tensor(answer):
    """A float is as good as a tensor with one number."""

    def staged(table):
        value = answer(table)
        if value is None or isinstance(value, torch.Tensor):
            return value
        return as_number(value, "the share").to(table.dtype)

    return staged


ROW_COLUMN_SHARE = StagedExercise(
    name="row_column_share",
    chapter="11",
    signature="row_column_share(table)",
    task="fit each vector by the mean of its row plus the mean of its column minus the mean of all, and return 1 - (sum of the squares that are left) / (sum of the squared deviations from the mean of all), over everything: (gh, gw, D) -> one number.",
    probes=_share_probes,
    oracle=_oracle_share,
    stage=_share_as_tensor,
    mistakes=_mistakes(
        (
            "the mean of all is in row + column twice, and in (row - mean) + (column - mean) not at all: row + column - mean has it once.",
            _share_of(lambda mean, rows, columns: rows + columns),
        ),
        *(
            (
                "the means have lost a dimension each and do not fit each other: with keepdim=True they are (gh, 1, D) and (1, gw, D).",
                _share_without_keepdim(False, columns_first),
            )
            for columns_first in (False, True)
        ),
        *(
            (
                "the mean of the rows has lost a dimension and does not fit the grid any more: with keepdim=True it is (gh, 1, D).",
                _share_without_keepdim(True, columns_first),
            )
            for columns_first in (False, True)
        ),
        (
            "that is the share of the rows alone: add the columns to the fit.",
            _share_of(lambda mean, rows, columns: rows),
        ),
        (
            "that is the share of the columns alone: add the rows to the fit.",
            _share_of(lambda mean, rows, columns: columns),
        ),
        (
            "half of a row's mean and half of a column's: a sum, row + column - mean.",
            _share_of(lambda mean, rows, columns: (rows + columns) / 2),
        ),
        (
            "that is the share that is left: 1 minus it.",
            _share_of(_additive, lambda table, fit, mean: (table - fit).square().sum() / (table - mean).square().sum()),
        ),
        (
            "you divide by the squares of the table itself, in which its mean counts: by the squared deviations from the mean of all.",
            _share_of(_additive, lambda table, fit, mean: 1 - (table - fit).square().sum() / table.square().sum()),
        ),
        (
            "you compare lengths: squares, without the root, since only squares add up.",
            _share_of(_additive, lambda table, fit, mean: 1 - (table - fit).norm() / (table - mean).norm()),
        ),
        (
            "you compare absolute deviations: squares.",
            _share_of(_additive, lambda table, fit, mean: 1 - (table - fit).abs().sum() / (table - mean).abs().sum()),
        ),
        (
            "the mean of all is one number in yours: it is a vector, the mean over rows and columns, dim=(0, 1).",
            _share_with_one_mean,
        ),
        (
            "the mean of all is one number in your fit: it is a vector, the mean over rows and columns, dim=(0, 1).",
            _share_of(lambda mean, rows, columns: rows + columns - mean.mean()),
        ),
        (
            "you average the shares of the D dimensions: in a dimension that hardly varies, a share says little; sum the squares over everything, and divide once.",
            _share_over_dimensions,
        ),
        (
            "you average the shares of the vectors: sum the squares over everything, and divide once.",
            _share_of(
                _additive,
                lambda table, fit, mean: (
                    1 - (table - fit).square().sum(dim=-1) / (table - mean).square().sum(dim=-1)
                ).mean(),
            ),
        ),
        (
            "one share for each dimension: sum the squares over the dimensions too.",
            _share_of(
                _additive,
                lambda table, fit, mean: (
                    1 - (table - fit).square().sum(dim=(0, 1)) / (table - mean).square().sum(dim=(0, 1))
                ),
            ),
        ),
        (
            "that is the sum of squares that the fit explains: divide it by the sum of all.",
            _share_of(_additive, lambda table, fit, mean: (fit - mean).square().sum()),
        ),
        (
            "you return the fit: how much of the table does it explain?",
            _share_of(_additive, lambda table, fit, mean: fit),
        ),
        (
            "a product of row and column: here they are added.",
            _share_of(lambda mean, rows, columns: rows * columns / mean),
        ),
        (
            "in per cent: a share between 0 and 1.",
            lambda table: 100 * _share_of(_additive)(table),
        ),
    ),
)


EXERCISES = (PATCH_FILTERS, POS_EMBED_SIMILARITY, ROW_COLUMN_SHARE)
