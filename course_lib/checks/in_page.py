"""Exercises that are written and judged in the page *Practise here*: plain numbers and lists, no tensor.

Three of that page are chapters' own (`warmup_cosine_lr`, `count_parameters`, and `macro_f1` on lists). These five are
made for it. Where a chapter has the exercise on tensors, the probes and the right numbers are that record's.
"""

import math

import torch

from course_lib.checks import ch01
from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import Exercise
from course_lib.checks.staged import StagedExercise
from course_lib.patch_embed import patchify


def _as_tensor(answer):
    """What an answer returns, a list of numbers, as a tensor."""

    def staged(*inputs):
        value = answer(*inputs)
        return None if value is None else _tensor(value)

    return staged


def _as_two(answer):
    """What an answer returns, two numbers, as tensors."""

    def staged(*inputs):
        value = answer(*inputs)
        return tuple(map(_tensor, value)) if isinstance(value, tuple | list) else value

    return staged


def _tensor(value):
    try:
        return torch.tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"expected numbers, got {type(value).__name__}") from error


def _rounded(tensor):
    """The numbers of a tensor as lists, with few digits: they are shown to the reader."""
    return [round(x, 3) for x in tensor.tolist()] if tensor.dim() == 1 else [_rounded(row) for row in tensor]


def _first(tensor, dims):
    """The first entry of each leading dimension: a tensor of `dims` dimensions."""
    return tensor if tensor.dim() == dims else _first(tensor[0], dims)


# --- softmax ------------------------------------------------------------------------------------------

_FAR = torch.tensor([450.5, 460.25, -300.0])  # exp overflows without the smallest score, not without their mean


def _lists_of_scores(generator):
    """The slices along `dim` of the lists and matrices among chapter 1's probes, one score alone, and three far apart."""
    probes = [(probe["scores"], probe.get("dim", -1)) for probe in ch01.SOFTMAX.probes(generator)]
    slices = [
        one
        for scores, dim in probes
        if scores.dim() <= 2
        for one in scores.movedim(dim, -1).reshape(-1, scores.shape[dim])
    ]
    return [{"scores": _rounded(each.detach().double())} for each in [*slices, slices[0][:1], _FAR]]


def _softmax(scores):
    largest = max(scores)
    exps = [math.exp(s - largest) for s in scores]
    total = sum(exps)
    return [e / total for e in exps]


SOFTMAX = StagedExercise(
    name="softmax",
    chapter="01",
    signature="softmax(scores)",
    task="exponentiate each score, then divide by the sum, so that the weights are positive and sum to 1: a list of numbers -> a list of as many.",
    probes=_lists_of_scores,
    oracle=lambda scores: ch01.SOFTMAX.oracle(torch.tensor(scores, dtype=torch.float64)).tolist(),
    stage=_as_tensor,
    mistakes=edits_of(
        _softmax,
        """
        math.exp overflows for scores near 900: subtract the largest score from each first, the result does not change.
            s - largest ⇒ s
        the exponentials are right, but they do not sum to 1 yet: divide each by their sum.
            e / total ⇒ e
        you divide the scores themselves by their sum, which can be negative: take the exponential first.
            math.exp(s - largest) ⇒ s
          or
            math.exp(s - largest) ⇒ s - largest
        you subtract the mean, and a score far above it still overflows: subtract the largest.
            = max(scores) ⇒ = sum(scores) / len(scores)
        you subtract the smallest score, and math.exp overflows where scores are far apart: subtract the largest.
            = max(scores) ⇒ = min(scores)
        you subtract the largest absolute value, and scores near -900 underflow to 0/0: subtract the largest score itself.
            = max(scores) ⇒ = max(abs(s) for s in scores)
        you subtract the scores from the largest, so the largest gets the smallest weight: it is the score minus the largest.
            s - largest ⇒ largest - s
        you divide by the largest score, which changes the result: subtract it.
            s - largest ⇒ s / largest
        the base of your powers is not e: math.exp has the right one.
            math.exp(s - largest) ⇒ 2 ** (s - largest)
          or
            math.exp(s - largest) ⇒ 10 ** (s - largest)
        you divide by the number of scores: divide by the sum of the exponentials.
            sum(exps) ⇒ len(exps)
        you divide by the mean of the exponentials: divide by their sum.
            sum(exps) ⇒ sum(exps) / len(exps)
        you divide by the root of the sum of squares: divide by the sum, so that the weights sum to 1.
            sum(exps) ⇒ sum(e * e for e in exps) ** 0.5
        the largest is subtracted on one side of the division alone: divide exponentials by the sum of the very same ones.
            sum(exps) ⇒ sum(math.exp(s) for s in scores)
        that is the logarithm of the softmax: return the weights themselves.
            e / total ⇒ math.log(e / total)
          or
            ⇒ largest = max(scores)
            | total = math.log(sum(math.exp(s - largest) for s in scores))
            | return [s - largest - total for s in scores]
        that is a sigmoid of each score alone: in a softmax all scores share a sum of 1.
            ⇒ return [1 / (1 + math.exp(-s)) for s in scores]
        your `return` stands inside the loop, and one weight comes out: gather all of them in a list.
            ⇒ return [_softmax(scores)[0]]
        """,
    ),
)


# --- attention_row ------------------------------------------------------------------------------------


def _rows_of_attention(generator):
    """One query of each of chapter 1's probes with its keys and values, and four of the one with large scores."""
    probes, found = ch01.SCALED_DOT_PRODUCT_ATTENTION.probes(generator), []
    for number, probe in enumerate(probes):
        queries = _first(probe["query"], 2)
        keys, values = (_rounded(_first(probe[name], 2)) for name in ("key", "value"))
        for query in queries if number == ch01.LARGE else queries[:1]:
            found.append({"query": _rounded(query), "keys": keys, "values": values})
    return found


def _one_row(query, keys, values):
    q, k, v = (torch.tensor(x, dtype=torch.float64) for x in ([query], keys, values))
    return ch01.SCALED_DOT_PRODUCT_ATTENTION.oracle(q, k, v)[0][0].tolist()


def _attention_row(query, keys, values):
    root = len(query) ** 0.5
    scores = []
    for key in keys:
        dot = sum(query[i] * key[i] for i in range(len(query)))
        scores.append(dot / root)
    largest = max(scores)
    exps = [math.exp(s - largest) for s in scores]
    total = sum(exps)
    weights = [e / total for e in exps]
    output = []
    for column in range(len(values[0])):
        parts = [weights[j] * values[j][column] for j in range(len(values))]
        output.append(sum(parts))
    return output


ATTENTION_ROW = StagedExercise(
    name="attention_row",
    chapter="01",
    signature="attention_row(query, keys, values)",
    task="take the dot product of the query with each key, divide by √d, take the softmax, and return the average of the values with these weights: a list of d numbers, a list of keys (d numbers each), a list of as many values -> a list as long as a value.",
    probes=_rows_of_attention,
    oracle=_one_row,
    stage=_as_tensor,
    mistakes=edits_of(
        _attention_row,
        """
        the scale is missing: divide the scores by √d before the softmax.
            len(query) ** 0.5 ⇒ 1
        you divide by d: the standard deviation of a dot product is √d, not d.
            len(query) ** 0.5 ⇒ len(query)
        you multiply by √d where you should divide.
            / root ⇒ * root
        `** 1/2` is the first power, halved, since a power comes before a division: the root is ** 0.5.
            ** 0.5 ⇒ ** 1/2
        you divide by the root of the number of keys: d is the length of the query.
            len(query) ** 0.5 ⇒ len(keys) ** 0.5
        you divide by the root of the length of a value: d is the length of the query.
            len(query) ** 0.5 ⇒ len(values[0]) ** 0.5
        you divide after the softmax, so the weights no longer sum to 1: the division by √d belongs before it.
            dot / root ⇒ dot
            e / total ⇒ e / total / root
        math.exp overflows for large scores: use the softmax that subtracts the largest score first.
            s - largest ⇒ s
        the softmax is missing: the scores themselves are no weights.
            e / total ⇒ s
            for e in exps] ⇒ for s in scores]
        the weights do not sum to 1: divide the exponentials by their sum.
            e / total ⇒ e
        these are the weights, not yet the output: average the values with them.
            return output ⇒ return weights
        these are the scores, not yet weights: take the softmax, then the average of the values.
            return output ⇒ return scores
        you average the keys: the weights are for the values.
            len(values[0]) ⇒ len(keys[0])
            values[j][column] ⇒ keys[j][column]
        every value counts alike: weigh each by its own weight.
            weights[j] * values ⇒ 1 / len(values) * values
        you add the values up without their weights.
            weights[j] * ⇒
        you return the value with the largest weight: a softmax mixes all of them.
            return output ⇒ return values[weights.index(max(weights))]
        you divide by the number of keys once more: the weights sum to 1 already.
            output.append(sum( ⇒ output.append(1 / len(keys) * sum(
        you compare by distance: attention takes the dot product of query and key.
            query[i] * key[i] ⇒ -((query[i] - key[i]) ** 2)
        """,
    ),
)


# --- patch_index --------------------------------------------------------------------------------------


def _pixels(generator):
    """Pixels at random; the grid, the patch and the channel all differ, and one patch is the whole image."""
    probes = []
    for channels, grid, patch_size in ((3, (2, 5), 4), (1, (4, 3), 2), (2, (3, 3), 5), (4, (1, 1), 3), (3, (14, 14), 16), (2, (3, 7), 1)):  # fmt: skip
        height, width = grid[0] * patch_size, grid[1] * patch_size
        for _ in range(3):
            place = torch.rand(3, generator=generator, dtype=torch.float64) * torch.tensor([channels, height, width])
            channel, row, column = place.long().tolist()
            pixel = {"channel": channel, "row": row, "column": column}
            probes.append({**pixel, "width": width, "patch_size": patch_size})
    return probes


def _by_cutting(channel, row, column, width, patch_size):
    """Mark the pixel in an image of zeros, cut that into patches, and look for the mark."""
    image = torch.zeros(1, channel + 1, (row // patch_size + 1) * patch_size, width)
    image[0, channel, row, column] = 1
    ((_, patch, place),) = patchify(image, patch_size).nonzero().tolist()
    return patch, place


def _patch_index(channel, row, column, width, patch_size):
    patch = (row // patch_size) * (width // patch_size) + column // patch_size
    y, x = row % patch_size, column % patch_size
    place = channel * patch_size**2 + y * patch_size + x
    return patch, place


PATCH_INDEX = Exercise(
    name="patch_index",
    chapter="04",
    signature="patch_index(channel, row, column, width, patch_size)",
    task="say in which patch a pixel is, patches counted in reading order, and at which place of it, the patch laid flat as channel, row, column: five whole numbers -> two.",
    probes=_pixels,
    oracle=_by_cutting,
    parts=("patch", "place"),
    mistakes=edits_of(
        _patch_index,
        """
        a row of patches has width // patch_size of them: you count pixels.
            (width // patch_size) ⇒ width
        you count patches down the columns: in reading order they go along a row first.
            ⇒ return (column // patch_size) * (width // patch_size) + row // patch_size, _patch_index(channel, row, column, width, patch_size)[1]
        you multiply the row of patches by the patch size: a row has width // patch_size patches.
            (width // patch_size) ⇒ patch_size
        the row is that of the pixel: divide it by the patch size, without remainder, for the row of the patch.
            (row // patch_size) ⇒ row
        the column is that of the pixel: divide it by the patch size, without remainder, for the column of the patch.
            + column // patch_size ⇒ + column
        these are not whole numbers: // divides without remainder.
            (row // patch_size) * (width // patch_size) + column // patch_size ⇒ (row / patch_size) * (width / patch_size) + column / patch_size
        patches and places are counted from 0.
            return patch, place ⇒ return patch + 1, place + 1
          or
            return patch, place ⇒ return patch + 1, place
          or
            return patch, place ⇒ return patch, place + 1
        the place is that of the pixel in the image: within the patch it is row % patch_size and column % patch_size.
            row % patch_size, column % patch_size ⇒ row, column
        you lay row, column, channel flat: here all of channel 0 comes first.
            channel * patch_size**2 + y * patch_size + x ⇒ (y * patch_size + x) * 3 + channel
        within a channel you go down the columns: row by row.
            y * patch_size + x ⇒ x * patch_size + y
        the channel is missing: channel c begins at c times the pixels of a patch.
            channel * patch_size**2 + ⇒
        a channel of a patch has patch_size² pixels, not patch_size.
            channel * patch_size**2 ⇒ channel * patch_size
        the two stand in the wrong order: first the patch, then the place.
            return patch, place ⇒ return place, patch
        """,
    ),
)


# --- online_softmax -----------------------------------------------------------------------------------


def _blocks(generator):
    """Blocks of several sizes after what was seen, above and below it, the first of all, and one score."""
    probes = []
    for size, far in ((4, 0), (3, 3), (5, -3), (2, 60), (1, 1), (6, -60), (4, 900), (3, -900)):
        block = torch.randn(size, generator=generator, dtype=torch.float64) + far
        seen = torch.randn(7, generator=generator, dtype=torch.float64)
        largest = round(seen.max().item(), 3)
        total = round((seen - largest).exp().sum().item(), 3)
        probes.append({"maximum": largest, "total": total, "block": _rounded(block)})
    return [*probes, {"maximum": -math.inf, "total": 0.0, "block": probes[0]["block"]}]


def _by_logsumexp(maximum, total, block):
    """All at once: what was seen is as one score of maximum + log(total)."""
    before = torch.tensor([maximum, *block], dtype=torch.float64)
    largest = before.max().item()
    logs = torch.tensor([maximum + math.log(total) if total else -math.inf, *block], dtype=torch.float64)
    return largest, (logs - largest).exp().sum().item()


def _online_softmax(maximum, total, block):
    largest = max(maximum, max(block))
    rescaled = total * math.exp(maximum - largest)
    added = sum(math.exp(score - largest) for score in block)
    return largest, rescaled + added


ONLINE_SOFTMAX = StagedExercise(
    name="online_softmax",
    chapter="01",
    signature="online_softmax(maximum, total, block)",
    task="return the largest of all scores so far, and the sum of exp(score - largest) over all of them, without seeing the earlier ones again: two numbers and a list -> two numbers.",
    probes=_blocks,
    oracle=_by_logsumexp,
    stage=_as_two,
    parts=("maximum", "total"),
    mistakes=edits_of(
        _online_softmax,
        """
        the old total was summed with the old maximum: multiply it by exp(maximum - largest).
            total * math.exp(maximum - largest) ⇒ total
        you multiply the old total by exp(largest - maximum): the other way round, a larger maximum makes it smaller.
            maximum - largest ⇒ largest - maximum
        the maximum is that of the block alone: the larger one of it and the old maximum.
            max(maximum, max(block)) ⇒ max(block)
        the old maximum stays even where the block has a larger score: take the larger one.
            max(maximum, max(block)) ⇒ maximum
        the block's scores lose the old maximum: subtract the new one, the same for all.
            score - largest ⇒ score - maximum
        the block's scores lose the block's own maximum: subtract the largest of all.
            score - largest ⇒ score - max(block)
        nothing is subtracted from the block's scores, and math.exp overflows: subtract the largest of all.
            score - largest ⇒ score
        the old total is lost: add it, rescaled.
            rescaled + added ⇒ added
        the block is not added.
            rescaled + added ⇒ rescaled
        you rescale the block along with the old total: its exponentials have the new maximum already.
            rescaled + added ⇒ rescaled + added * math.exp(maximum - largest)
        you return the old maximum with the new total.
            return largest, ⇒ return maximum,
        the two stand in the wrong order: first the maximum, then the total.
            return largest, rescaled + added ⇒ return rescaled + added, largest
        that is the logarithm of the sum: return the sum itself.
            return largest, rescaled + added ⇒ return largest, largest + math.log(rescaled + added)
          or
            return largest, rescaled + added ⇒ return largest, math.log(rescaled + added)
        """,
    ),
)


# --- encoder_macs -------------------------------------------------------------------------------------


def _sizes(generator):
    def between(low, high):
        return int(torch.randint(low, high + 1, (), generator=generator))

    usual = [(between(5, 60), 4 * between(2, 20), between(2, 12), between(20, 90)) for _ in range(4)]
    sizes = [*usual, (197, 768, 12, 3072), (1, 1, 1, 1)]
    return [dict(zip(("tokens", "dim", "depth", "mlp_dim"), each, strict=True)) for each in sizes]


def _by_products(tokens, dim, depth, mlp_dim):
    """Matrix product by matrix product: rows, inner size, columns."""
    projections = [(tokens, dim, dim)] * 4
    attention = [(tokens, dim, tokens), (tokens, tokens, dim)]
    mlp = [(tokens, dim, mlp_dim), (tokens, mlp_dim, dim)]
    return sum(math.prod(product) for product in [*projections, *attention, *mlp] * depth)


def _encoder_macs(tokens, dim, depth, mlp_dim):
    projections = 4 * tokens * dim**2
    attention = 2 * tokens**2 * dim
    mlp = 2 * tokens * dim * mlp_dim
    block = projections + attention + mlp
    return depth * block


ENCODER_MACS = Exercise(
    name="encoder_macs",
    chapter="06",
    signature="encoder_macs(tokens, dim, depth, mlp_dim)",
    task="count the multiplications in the matrix products of all blocks, for one image: four projections, scores, the weighted sum of values, and the MLP's two layers, as a whole number.",
    probes=_sizes,
    oracle=_by_products,
    mistakes=edits_of(
        _encoder_macs,
        """
        the part that grows with the square of the tokens is missing: scores and the weighted sum of values, tokens² · dim each.
            + attention + mlp ⇒ + mlp
        attention has two products of tokens² · dim: the scores, and the weighted sum of the values.
            2 * tokens**2 ⇒ tokens**2
        there are four projections of dim² for each token: q, k, v and the output.
            4 * tokens ⇒ 3 * tokens
          or
            4 * tokens ⇒ tokens
        the MLP has two layers, dim · mlp_dim each.
            2 * tokens * dim * mlp_dim ⇒ tokens * dim * mlp_dim
        the MLP is missing: two layers, dim · mlp_dim each, for every token.
            + attention + mlp ⇒ + attention
        the projections are missing: four of dim² for each token.
            projections + attention ⇒ attention
        those are the parameters: every weight is used once for each token.
            4 * tokens * dim**2 ⇒ 4 * dim**2
            2 * tokens * dim * mlp_dim ⇒ 2 * dim * mlp_dim
        that is one block: there are `depth` of them.
            depth * block ⇒ block
        you count a multiplication and an addition as two: here they are one.
            depth * block ⇒ 2 * depth * block
        the square is that of the tokens: each token is compared with each token, over dim numbers.
            tokens**2 * dim ⇒ tokens * dim**2
        the MLP's hidden width is not always 4 · dim: use mlp_dim.
            dim * mlp_dim ⇒ dim * 4 * dim
        depth multiplies the first term alone: put brackets around all that a block has.
            depth * block ⇒ depth * projections + attention + mlp
        """,
    ),
)

EXERCISES = (SOFTMAX, ATTENTION_ROW, ONLINE_SOFTMAX, PATCH_INDEX, ENCODER_MACS)
