"""Answers to the exercises of chapter 11, as readers write them.

RIGHT: implementations other than the chapter's own. WRONG: plausible mistakes, each with words of the
hint that it must get. They are written as a reader would, not as the records imitate them.
"""

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange

# --- patch_filters -----------------------------------------------------------------------------------


def filters_by_eigenvectors(weight, n):
    flat = weight.reshape(weight.shape[0], -1)
    _, vectors = torch.linalg.eigh(torch.cov(flat.double().T))  # the smallest first
    components = vectors.flip(1)[:, :n].T.to(weight.dtype)
    largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
    return torch.where(largest < 0, -components, components).reshape(n, *weight.shape[1:])


def filters_by_numpy(weight, n):
    flat = weight.double().numpy().reshape(len(weight), -1)
    components = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][:n]
    for row in components:
        if row[np.abs(row).argmax()] < 0:
            row *= -1
    return torch.from_numpy(components.reshape(n, *weight.shape[1:])).to(weight.dtype)


def filters_by_sklearn(weight, n):
    from sklearn.decomposition import PCA

    components = PCA(n, svd_solver="full").fit(weight.double().flatten(1).numpy()).components_
    signs = np.sign([row[np.abs(row).argmax()] for row in components])
    return torch.from_numpy(components * signs[:, None]).to(weight.dtype).view(n, *weight.shape[1:])


def filters_one_by_one(weight, n):
    flat = weight.flatten(1) - weight.flatten(1).mean(dim=0, keepdim=True)
    result = []
    for direction in torch.linalg.svd(flat, full_matrices=False)[2][:n]:
        if direction.max() < -direction.min():
            direction = -direction
        result.append(direction.view(weight.shape[1:]))
    return torch.stack(result)


def decompose(flat):
    return torch.linalg.svd(flat, full_matrices=False).Vh


def turn(components):
    rows = torch.arange(len(components))
    return components * components[rows, components.abs().argmax(dim=1)].sign()[:, None]


def filters_as_they_come(weight, n):
    flat = weight.flatten(1)
    flat = flat - flat.mean(dim=0)
    return decompose(flat)[:n].view(n, *weight.shape[1:])


def filters_with_one_sign(weight, n):
    components = decompose(weight.flatten(1) - weight.flatten(1).mean(dim=0))[:n]
    largest = components.flatten()[components.abs().argmax()]
    return (components if largest > 0 else -components).view(n, *weight.shape[1:])


def filters_negative(weight, n):
    return -filters_one_by_one(weight, n)


def filters_by_sum(weight, n):
    components = decompose(weight.flatten(1) - weight.flatten(1).mean(dim=0))[:n]
    return (components * torch.sign(components.sum(1, keepdim=True))).view(n, *weight.shape[1:])


def filters_by_first(weight, n):
    components = decompose(weight.flatten(1) - weight.flatten(1).mean(dim=0))[:n]
    return (components * torch.sign(components[:, 0])[:, None]).view(n, *weight.shape[1:])


def filters_all_positive(weight, n):
    return filters_as_they_come(weight, n).abs()


def filters_uncentred(weight, n):
    return turn(decompose(weight.flatten(1))[:n]).view(n, *weight.shape[1:])


def filters_centred_each(weight, n):
    flat = weight.flatten(1)
    flat = flat - flat.mean(dim=1, keepdim=True)
    return turn(decompose(flat)[:n]).view(n, *weight.shape[1:])


def filters_centred_by_a_number(weight, n):
    return turn(decompose((weight - weight.mean()).flatten(1))[:n]).view(n, *weight.shape[1:])


def filters_standardised(weight, n):
    flat = weight.flatten(1)
    flat = (flat - flat.mean(dim=0)) / flat.std(dim=0)
    return turn(decompose(flat)[:n]).view(n, *weight.shape[1:])


def filters_of_one_length(weight, n):
    flat = weight.flatten(1)
    flat = flat - flat.mean(dim=0)
    flat = flat / flat.norm(dim=1, keepdim=True)
    return turn(decompose(flat)[:n]).view(n, *weight.shape[1:])


def filters_from_columns(weight, n):
    vectors = decompose(weight.flatten(1) - weight.flatten(1).mean(dim=0))
    return turn(vectors[:, :n].T).reshape(n, *weight.shape[1:])


def filters_from_u(weight, n):
    left, _, _ = torch.linalg.svd(weight.flatten(1) - weight.flatten(1).mean(dim=0), full_matrices=False)
    return turn(left.T[:n]).reshape(n, *weight.shape[1:])


def filters_upwards(weight, n):
    flat = weight.flatten(1) - weight.flatten(1).mean(dim=0)
    vectors = decompose(flat)
    return turn(vectors[-n:].flip(0)).view(n, *weight.shape[1:])


def filters_backwards(weight, n):
    return filters_one_by_one(weight, n).flip(0)


def filters_scaled(weight, n):
    flat = weight.flatten(1)
    _, sizes, vectors = torch.linalg.svd(flat - flat.mean(dim=0), full_matrices=False)
    return (turn(vectors[:n]) * sizes[:n, None]).view(n, *weight.shape[1:])


def filters_to_one(weight, n):
    components = filters_one_by_one(weight, n)
    return components / components.amax(dim=(1, 2, 3), keepdim=True)


def filters_for_imshow(weight, n):
    components = filters_one_by_one(weight, n)
    components = components - components.amin(dim=(1, 2, 3), keepdim=True)
    return components / components.amax(dim=(1, 2, 3), keepdim=True)


def filters_channels_last(weight, n):
    _, C, P, _ = weight.shape
    flat = filters_one_by_one(weight, n).flatten(1)
    return rearrange(flat, "n (h w C) -> n C h w", h=P, w=P, C=C)


def filters_on_their_side(weight, n):
    return filters_one_by_one(weight, n).transpose(2, 3)


def filters_flat(weight, n):
    return filters_one_by_one(weight, n).flatten(1)


def filters_all(weight, n):
    flat = weight.flatten(1)
    return turn(decompose(flat - flat.mean(dim=0))).unflatten(1, weight.shape[1:])


def filters_without_components(weight, n):
    return weight[:n]


def filters_of_great_length(weight, n):
    centred = weight - weight.mean(dim=0)
    return weight[centred.flatten(1).norm(dim=1).topk(n).indices]


# --- pos_embed_similarity ----------------------------------------------------------------------------


def similarity_by_pairs(pos_embed, grid_size):
    gh, gw = grid_size
    table = pos_embed[0][-gh * gw :].reshape(gh, gw, -1)
    result = pos_embed.new_zeros(gh, gw, gh, gw)
    for r in range(gh):
        for c in range(gw):
            result[r, c] = F.cosine_similarity(table[r, c], table, dim=-1)
    return result


def similarity_by_einsum(pos_embed, grid_size):
    table = pos_embed[0, pos_embed.shape[1] - grid_size[0] * grid_size[1] :].unflatten(0, grid_size)
    table = table / table.square().sum(dim=-1, keepdim=True).sqrt()
    return torch.einsum("rcd,ijd->rcij", table, table)


def similarity_by_broadcasting(pos_embed, grid_size):
    gh, gw = grid_size
    table = pos_embed.squeeze(0)[pos_embed.size(1) - gh * gw :]
    matrix = F.cosine_similarity(table[:, None], table[None], dim=2)
    return rearrange(matrix, "(a b) (c d) -> a b c d", a=gh, c=gh)


def rows_of_patches(pos_embed, grid_size):
    return pos_embed[0, -grid_size[0] * grid_size[1] :]


def laid_out(matrix, grid_size):
    return matrix.reshape(*grid_size, *grid_size)


def cosine_matrix(table):
    return F.cosine_similarity(table[:, None], table, dim=-1)


def similarity_of_dots(pos_embed, grid_size):
    table = rows_of_patches(pos_embed, grid_size)
    return laid_out(table @ table.T, grid_size)


def similarity_half_normalised(pos_embed, grid_size):
    table = rows_of_patches(pos_embed, grid_size)
    return laid_out((table / table.norm(dim=1, keepdim=True)) @ table.T, grid_size)


def similarity_by_squares(pos_embed, grid_size):
    table = rows_of_patches(pos_embed, grid_size)
    squares = (table**2).sum(dim=1)
    return laid_out(table @ table.T / squares[:, None] / squares, grid_size)


def similarity_as_scores(pos_embed, grid_size):
    return similarity_of_dots(pos_embed, grid_size) / pos_embed.shape[-1] ** 0.5


def similarity_over_the_maximum(pos_embed, grid_size):
    dots = similarity_of_dots(pos_embed, grid_size)
    return dots / dots.max()


def similarity_over_positions(pos_embed, grid_size):
    table = F.normalize(rows_of_patches(pos_embed, grid_size), dim=0)
    return laid_out(table @ table.T, grid_size)


def similarity_centred(pos_embed, grid_size):
    table = rows_of_patches(pos_embed, grid_size)
    return laid_out(cosine_matrix(table - table.mean(dim=0)), grid_size)


def similarity_as_correlation(pos_embed, grid_size):
    return laid_out(torch.corrcoef(rows_of_patches(pos_embed, grid_size)), grid_size)


def similarity_as_distance(pos_embed, grid_size):
    table = rows_of_patches(pos_embed, grid_size)
    return laid_out((table[:, None] - table).norm(dim=-1), grid_size)


def similarity_as_difference(pos_embed, grid_size):
    return 1 - similarity_by_pairs(pos_embed, grid_size)


def similarity_as_softmax(pos_embed, grid_size):
    table = rows_of_patches(pos_embed, grid_size)
    return laid_out(F.softmax(table @ table.T, dim=1), grid_size)


def similarity_without_negatives(pos_embed, grid_size):
    return F.relu(similarity_by_pairs(pos_embed, grid_size))


def similarity_without_signs(pos_embed, grid_size):
    return similarity_by_pairs(pos_embed, grid_size).abs()


def similarity_without_the_last(pos_embed, grid_size):
    gh, gw = grid_size
    return laid_out(cosine_matrix(pos_embed[0][: gh * gw]), grid_size)


def similarity_without_the_last_row(pos_embed, grid_size):
    return laid_out(cosine_matrix(pos_embed[0, :-1]), grid_size)


def similarity_with_one_token(pos_embed, grid_size):
    table = pos_embed[0, 1:]
    return cosine_matrix(table).reshape(*grid_size, *grid_size)


def similarity_with_the_class_token(pos_embed, grid_size):
    return cosine_matrix(pos_embed[0]).reshape(*grid_size, *grid_size)


def similarity_as_a_matrix(pos_embed, grid_size):
    return cosine_matrix(rows_of_patches(pos_embed, grid_size))


def similarity_half_laid_out(pos_embed, grid_size):
    return cosine_matrix(rows_of_patches(pos_embed, grid_size)).unflatten(0, grid_size)


def similarity_on_its_side(pos_embed, grid_size):
    gh, gw = grid_size
    return cosine_matrix(rows_of_patches(pos_embed, grid_size)).reshape(gw, gh, gw, gh)


def similarity_by_rows(pos_embed, grid_size):
    matrix = cosine_matrix(rows_of_patches(pos_embed, grid_size))
    return rearrange(matrix, "(r c) (i j) -> r i c j", r=grid_size[0], i=grid_size[0])


def similarity_as_one_picture(pos_embed, grid_size):
    matrix = cosine_matrix(rows_of_patches(pos_embed, grid_size))
    return rearrange(matrix, "(r c) (i j) -> (r i) (c j)", r=grid_size[0], i=grid_size[0])


def similarity_with_a_batch(pos_embed, grid_size):
    return similarity_by_pairs(pos_embed, grid_size).unsqueeze(0)


# --- row_column_share --------------------------------------------------------------------------------


def share_by_variances(table):
    whole = table.var(dim=(0, 1), unbiased=False).sum()
    rows = table.mean(dim=1).var(dim=0, unbiased=False).sum()
    columns = table.mean(dim=0).var(dim=0, unbiased=False).sum()
    return (rows + columns) / whole


def share_by_least_squares(table):
    gh, gw, D = table.shape
    rows = F.one_hot(torch.arange(gh).repeat_interleave(gw), gh)
    columns = F.one_hot(torch.arange(gw).repeat(gh), gw)
    design = torch.cat([rows, columns], dim=1).double()
    flat = table.reshape(-1, D).double()
    fit = design @ torch.linalg.pinv(design) @ flat
    return (1 - ((flat - fit) ** 2).sum() / ((flat - flat.mean(0)) ** 2).sum()).to(table.dtype)


def share_as_a_float(table):
    table = table.double()
    rows, columns = (table.mean(dim=dim).std(dim=0, correction=0).square().sum() for dim in (1, 0))
    return ((rows + columns) / table.flatten(0, 1).std(dim=0, correction=0).square().sum()).item()


def share_by_taking_off(table):
    centred = table - table.mean(dim=1, keepdim=True).mean(dim=0, keepdim=True)
    rest = centred - centred.mean(dim=0, keepdim=True)
    rest = rest - rest.mean(dim=1, keepdim=True)
    return 1 - (rest**2).sum() / (centred**2).sum()


def explained(table, fit):
    return 1 - ((table - fit) ** 2).sum() / ((table - table.mean(dim=(0, 1))) ** 2).sum()


def fitted(table):
    return table.mean(1, keepdim=True) + table.mean(0, keepdim=True) - table.mean((0, 1), keepdim=True)


def share_with_the_mean_twice(table):
    return explained(table, table.mean(dim=1)[:, None] + table.mean(dim=0)[None])


def share_without_keepdim(table):
    mean, rows, columns = table.mean((0, 1)), table.mean(1), table.mean(0)
    fit = rows + columns - mean
    return 1 - ((table - fit) ** 2).sum() / ((table - mean) ** 2).sum()


def share_with_one_keepdim(table):
    fit = table.mean(dim=0, keepdim=True) + table.mean(dim=1)
    return explained(table, fit - table.mean(dim=(0, 1)))


def share_of_rows(table):
    return explained(table, table.mean(dim=1, keepdim=True).expand_as(table))


def share_of_columns(table):
    return explained(table, table.mean(dim=0, keepdim=True))


def share_by_halves(table):
    return explained(table, (table.mean(dim=1, keepdim=True) + table.mean(dim=0)) / 2)


def share_left(table):
    return 1 - explained(table, fitted(table))


def share_of_raw_squares(table):
    return 1 - (table - fitted(table)).pow(2).sum() / table.pow(2).sum()


def share_of_lengths(table):
    return 1 - torch.norm(table - fitted(table)) / torch.norm(table - table.mean(dim=(0, 1)))


def share_of_absolutes(table):
    return 1 - (table - fitted(table)).abs().mean() / (table - table.mean(dim=(0, 1))).abs().mean()


def share_with_a_scalar_mean(table):
    mean = table.mean()
    fit = table.mean(1, keepdim=True) + table.mean(0, keepdim=True) - mean
    return 1 - ((table - fit) ** 2).sum() / ((table - mean) ** 2).sum()


def share_with_a_scalar_mean_in_the_fit(table):
    fit = table.mean(1, keepdim=True) + table.mean(0, keepdim=True) - table.mean()
    return explained(table, fit)


def share_of_each_dimension(table):
    rest = ((table - fitted(table)) ** 2).sum(dim=(0, 1))
    return 1 - rest / ((table - table.mean(dim=(0, 1))) ** 2).sum(dim=(0, 1))


def share_averaged_over_dimensions(table):
    return share_of_each_dimension(table).mean()


def share_averaged_over_places(table):
    rest = ((table - fitted(table)) ** 2).sum(-1)
    return (1 - rest / ((table - table.mean((0, 1))) ** 2).sum(-1)).mean()


def share_as_a_sum(table):
    return ((fitted(table) - table.mean((0, 1))) ** 2).sum()


def share_as_the_fit(table):
    return fitted(table)


def share_of_products(table):
    return explained(table, table.mean(1, keepdim=True) * table.mean(0, keepdim=True) / table.mean((0, 1)))


def share_in_per_cent(table):
    return 100 * share_by_taking_off(table)


RIGHT = {
    "patch_filters": [filters_by_eigenvectors, filters_by_numpy, filters_by_sklearn, filters_one_by_one],
    "pos_embed_similarity": [similarity_by_pairs, similarity_by_einsum, similarity_by_broadcasting],
    "row_column_share": [share_by_variances, share_by_least_squares, share_as_a_float, share_by_taking_off],
}

WRONG = {
    "patch_filters": {
        filters_uncentred: "the mean filter is still in",
        filters_as_they_come: "abs() first",
        filters_with_one_sign: "one sign for all",
        filters_negative: "negative of the right one",
        filters_by_sum: "its sum is positive",
        filters_by_first: "its first number",
        filters_all_positive: "abs() makes every number positive",
        filters_centred_each: "its own mean",
        filters_centred_by_a_number: "one number, the mean of everything",
        filters_standardised: "deviation of each pixel",
        filters_of_one_length: "equally long before",
        filters_from_columns: "columns of Vh",
        filters_from_u: "left singular vectors",
        filters_upwards: "the smallest first",
        filters_backwards: "in reverse order",
        filters_scaled: "multiplied by their singular values",
        filters_to_one: "by its largest number",
        filters_for_imshow: "from 0 to 1",
        filters_channels_last: "channels come last",
        filters_on_their_side: "swapped",
        filters_flat: "flat",
        filters_all: "all components",
        filters_without_components: "the first n filters",
        filters_of_great_length: "longest filters",
    },
    "pos_embed_similarity": {
        similarity_without_the_last: "drop rows at the end",
        similarity_without_the_last_row: "at the end, and always one",
        similarity_of_dots: "these are dot products",
        similarity_half_normalised: "one of the two lengths",
        similarity_by_squares: "the squared length",
        similarity_as_scores: "the square root of D",
        similarity_over_the_maximum: "largest dot product",
        similarity_over_positions: "over the positions",
        similarity_centred: "subtract the mean position",
        similarity_as_correlation: "a correlation",
        similarity_as_distance: "these are distances",
        similarity_as_difference: "1 minus the cosine",
        similarity_as_softmax: "a softmax",
        similarity_without_negatives: "have become 0",
        similarity_without_signs: "keep the sign",
        similarity_with_one_token: "always drop one row",
        similarity_with_the_class_token: "the class token is still in",
        similarity_as_a_matrix: "you return a matrix",
        similarity_half_laid_out: "each is still flat",
        similarity_on_its_side: "are swapped",
        similarity_by_rows: "in another order",
        similarity_as_one_picture: "to one picture",
        similarity_with_a_batch: "the leading 1",
    },
    "row_column_share": {
        share_with_the_mean_twice: "in row + column twice",
        share_without_keepdim: "a dimension each",
        share_with_one_keepdim: "the rows has lost a dimension",
        share_of_rows: "the rows alone",
        share_of_columns: "the columns alone",
        share_by_halves: "half of a row's mean",
        share_left: "the share that is left",
        share_of_raw_squares: "squares of the table itself",
        share_of_lengths: "you compare lengths",
        share_of_absolutes: "absolute deviations",
        share_with_a_scalar_mean: "one number in yours",
        share_with_a_scalar_mean_in_the_fit: "one number in your fit",
        share_averaged_over_dimensions: "average the shares of the D dimensions",
        share_averaged_over_places: "average the shares of the vectors",
        share_of_each_dimension: "one share for each dimension",
        share_as_a_sum: "sum of squares that the fit explains",
        share_as_the_fit: "you return the fit",
        share_of_products: "a product of row and column",
        share_in_per_cent: "in per cent",
    },
}
