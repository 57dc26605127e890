"""Answers to the exercises of chapter 11, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import numpy as np
import torch
import torch.nn.functional as F

# --- patch_filters -----------------------------------------------------------------------------------


def filters_by_eigenvectors(weight, n):
    flat = weight.reshape(weight.shape[0], -1)
    flat = flat - flat.mean(dim=0)
    vectors = torch.linalg.eigh(flat.T @ flat)[1]  # columns, the smallest variance first
    components = vectors[:, -n:].flip(1).T
    turn = components.amax(dim=1) < -components.amin(dim=1)
    return torch.where(turn[:, None], -components, components).reshape(n, *weight.shape[1:])


def filters_by_numpy(weight, n):
    flat = weight.flatten(1).numpy()
    components = np.linalg.svd(flat - flat.mean(0))[2][:n]
    for row in components:
        if row[np.abs(row).argmax()] < 0:
            row *= -1
    return torch.from_numpy(components.reshape(n, *weight.shape[1:]))


def filters_from_the_side_of_the_filters(weight, n):
    flat = weight.flatten(1)
    flat = flat - flat.mean(dim=0)
    left = torch.linalg.eigh(flat @ flat.T).eigenvectors[:, -n:].flip(1)
    result = []
    for direction in left.T @ flat:
        direction = direction / direction.norm()
        if direction[direction.abs().argmax()] < 0:
            direction = -direction
        result.append(direction.view(weight.shape[1:]))
    return torch.stack(result)


def filters_by_covariance(weight, n):
    vectors = torch.linalg.eigh(torch.cov(weight.flatten(1).T)).eigenvectors.flip(1)[:, :n]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return (vectors * largest.sign()).T.reshape(n, *weight.shape[1:])


def filters_of_a_model(model, n):
    return filters_by_numpy(model.patch_embed.proj.weight.detach(), n)


def filters_each_a_matrix(weight, n):
    centred = weight - weight.mean(dim=0)
    pictures = torch.linalg.svd(centred, full_matrices=False)[2][:n]
    flat = pictures.flatten(1)
    turn = torch.tensor([row[row.abs().argmax()] < 0 for row in flat])
    return torch.where(turn[:, None, None, None], -pictures, pictures)


def filters_from_eigenvectors_lying_down(weight, n):
    vectors = torch.linalg.eigh(torch.cov(weight.flatten(1).T))[1].flip(1)
    signs = vectors[:n].gather(1, vectors[:n].abs().argmax(1, keepdim=True)).sign()
    return (vectors[:n] * signs).view(n, *weight.shape[1:])


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
    gh, gw = grid_size
    table = pos_embed[:, pos_embed.shape[1] - gh * gw :].reshape(gh, gw, -1)
    table = table / table.square().sum(dim=-1, keepdim=True).sqrt()
    return torch.einsum("rcd,ijd->rcij", table, table)


def similarity_from_the_corner(pos_embed, grid_size):
    with torch.no_grad():
        dots = pos_embed[0] @ pos_embed[0].T
        lengths = dots.diagonal().sqrt()
        n = grid_size[0] * grid_size[1]
        return (dots / torch.outer(lengths, lengths))[-n:, -n:].reshape(*grid_size, *grid_size)


def similarity_of_a_grid_without_its_first_row(pos_embed, grid_size):
    gh, gw = grid_size
    table = F.normalize(pos_embed[0, 1:], dim=-1).reshape(gh, gw, -1)
    return torch.einsum("rcd,ijd->rcij", table, table)


def similarity_of_a_grid_of_all_rows(pos_embed, grid_size):
    gh, gw = grid_size
    table = F.normalize(pos_embed[0], dim=-1).reshape(gh, gw, -1)
    return torch.einsum("rcd,ijd->rcij", table, table)


def similarity_of_a_grid_without_its_last_row(pos_embed, grid_size):
    gh, gw = grid_size
    table = F.normalize(pos_embed[0, :-1], dim=-1).reshape(gh, gw, -1)
    return torch.einsum("rcd,ijd->rcij", table, table)


# --- row_column_share --------------------------------------------------------------------------------


def share_by_least_squares(table):
    gh, gw, D = table.shape
    rows = F.one_hot(torch.arange(gh).repeat_interleave(gw), gh)
    columns = F.one_hot(torch.arange(gw).repeat(gh), gw)
    design = torch.cat([rows, columns], dim=1).double()
    flat = table.reshape(-1, D).double()
    fit = design @ torch.linalg.pinv(design) @ flat
    return 1 - ((flat - fit) ** 2).sum() / ((flat - flat.mean(0)) ** 2).sum()


def share_as_a_float(table):
    rows, columns = (table.mean(dim=dim).std(dim=0, correction=0).square().sum() for dim in (1, 0))
    return ((rows + columns) / table.flatten(0, 1).std(dim=0, correction=0).square().sum()).item()


def share_by_numpy(table):
    table = table.numpy()
    centred = table - table.mean((0, 1))
    rest = centred - centred.mean(0)
    rest = rest - rest.mean(1, keepdims=True)
    return 1 - (rest**2).sum() / (centred**2).sum()


def share_without_keepdim(table):
    mean, rows, columns = table.mean((0, 1)), table.mean(1), table.mean(0)
    fit = -mean + columns + rows
    return 1 - ((table - fit) ** 2).sum() / ((table - mean) ** 2).sum()


def share_with_one_keepdim(table):
    fit = table.mean(dim=0, keepdim=True) + table.mean(dim=1)
    fit = fit - table.mean(dim=(0, 1))
    return 1 - ((table - fit) ** 2).sum() / ((table - table.mean(dim=(0, 1))) ** 2).sum()


def share_with_the_sides_exchanged(table):
    fit = table.mean(dim=1)[None] + table.mean(dim=0)[:, None] - table.mean(dim=(0, 1))
    return 1 - ((table - fit) ** 2).sum() / ((table - table.mean(dim=(0, 1))) ** 2).sum()


def share_of_sample_variances(table):
    rows, columns = table.mean(dim=1).var(dim=0), table.mean(dim=0).var(dim=0)
    return (rows.sum() + columns.sum()) / table.flatten(0, 1).var(dim=0).sum()


RIGHT = {
    "patch_filters": (
        filters_by_covariance,
        filters_by_eigenvectors,
        filters_by_numpy,
        filters_from_the_side_of_the_filters,
    ),
    "pos_embed_similarity": (similarity_by_pairs, similarity_by_einsum, similarity_from_the_corner),
    "row_column_share": (share_by_least_squares, share_as_a_float, share_by_numpy),
}

SLIPS = {
    "patch_filters": """
        its own mean
            filters.mean(dim=0) ⇒ filters.mean(1)
        the signs do not line up
            .gather(1, largest).sign() ⇒ [torch.arange(n), largest[:, 0]].sign()
        from the side of the filters
            .Vh[:n] ⇒ .U.T[:n]
        rows are counted from 0
            .Vh[:n] ⇒ .Vh[1:][:n]
        in the place of the mean filter
            filters - filters.mean(dim=0) ⇒ filters
            .Vh[:n] ⇒ .Vh[1 : n + 1]
        you count on 3 channels
            components.unflatten(1, weight.shape[1:]) ⇒ components.view(n, 3, *weight.shape[2:])
        """,
    "pos_embed_similarity": """
        have lost a dimension
            F.normalize(table, dim=-1) ⇒ table / table.norm(dim=-1)
        the squared length
            F.normalize(table, dim=-1) ⇒ table / (table**2).sum(-1, keepdim=True)
        one of the two lengths twice
            table = F.normalize(table, dim=-1) ⇒ lengths = (table**2).sum(-1, keepdim=True)
            cosines = table @ table.T ⇒ cosines = table @ table.T / lengths
        you add the two lengths
            table = F.normalize(table, dim=-1) ⇒ lengths = table.norm(dim=-1, keepdim=True)
            cosines = table @ table.T ⇒ cosines = table @ table.T / (lengths + lengths.T)
        the root of its length
            F.normalize(table, dim=-1) ⇒ table / table.norm(dim=-1, keepdim=True) ** 0.5
        the root of the mean square
            F.normalize(table, dim=-1) ⇒ F.rms_norm(table, table.shape[-1:], eps=0.0)
        each position with each position
            table @ table.T ⇒ table.T @ table
        from the second on
            -gh * gw : ⇒ 1 : 1 + gh * gw
        the leading 1
            pos_embed[0, -gh * gw :] ⇒ pos_embed[:, -gh * gw :]
            table @ table.T ⇒ table @ table.permute(2, 1, 0)
        squeeze() takes away
            pos_embed[0, -gh * gw :] ⇒ pos_embed.squeeze()[-gh * gw :]
            table @ table.T ⇒ table @ table.movedim(0, -1)
        with itself only
            table @ table.T ⇒ (table * table).sum(dim=-1)
        sums over dim=1
            table @ table.T ⇒ F.cosine_similarity(table[:, None], table[None])
        """,
}

WRONG = {
    "patch_filters": {
        filters_of_a_model: "and no model",
        filters_each_a_matrix: "each filter must be flat",
        filters_from_eigenvectors_lying_down: "you take rows of V",
    },
    "pos_embed_similarity": {
        similarity_of_a_grid_without_its_first_row: "you drop one row",
        similarity_of_a_grid_of_all_rows: "the class token is still in",
        similarity_of_a_grid_without_its_last_row: "and always one",
    },
    "row_column_share": {
        share_without_keepdim: "a dimension each",
        share_with_one_keepdim: "the rows has lost a dimension",
        share_with_the_sides_exchanged: "lie along the columns",
        share_of_sample_variances: "correction=0",
    },
}

EQUIVALENT = {
    "patch_filters": """
        Of filters turned round the components are the same, up to the sign that is fixed afterwards.
            patch_filters: filters = filters - filters.mean(dim=0) ⇒ filters = filters.mean(dim=0) - filters
            filters_by_eigenvectors: flat = flat - flat.mean(dim=0) ⇒ flat = flat.mean(dim=0) - flat
            filters_by_numpy: components = np.linalg.svd(flat - flat.mean(0))[2][:n] ⇒ components = np.linalg.svd(flat.mean(0) - flat)[2][:n]
            filters_from_the_side_of_the_filters: flat = flat - flat.mean(dim=0) ⇒ flat = flat.mean(dim=0) - flat
        The full matrices hold the same first rows.
            patch_filters: components = torch.linalg.svd(filters, full_matrices=False).Vh[:n] ⇒ components = torch.linalg.svd(filters).Vh[:n]
            patch_filters: components = torch.linalg.svd(filters, full_matrices=False).Vh[:n] ⇒ components = torch.linalg.svd(filters, full_matrices=True).Vh[:n]
        A filter has at least two numbers, and there are at least two filters: no axis has size 1, unless n is 1.
            patch_filters: filters = weight.flatten(1) ⇒ filters = weight.flatten(1).squeeze()
            patch_filters: filters = filters - filters.mean(dim=0) ⇒ filters = (filters - filters.mean(dim=0)).squeeze()
            filters_by_eigenvectors: flat = weight.reshape(weight.shape[0], -1) ⇒ flat = weight.reshape(weight.shape[0], -1).squeeze()
            filters_by_eigenvectors: flat = flat - flat.mean(dim=0) ⇒ flat = (flat - flat.mean(dim=0)).squeeze()
            filters_by_numpy: flat = weight.flatten(1).numpy() ⇒ flat = weight.flatten(1).numpy().squeeze()
            filters_from_the_side_of_the_filters: flat = weight.flatten(1) ⇒ flat = weight.flatten(1).squeeze()
            filters_from_the_side_of_the_filters: flat = flat - flat.mean(dim=0) ⇒ flat = (flat - flat.mean(dim=0)).squeeze()
            filters_from_the_side_of_the_filters: direction = direction / direction.norm() ⇒ direction = (direction / direction.norm()).squeeze()
            filters_by_covariance: largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)) ⇒ largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).squeeze()
        Dividing by 1 or -1 is multiplying by it.
            filters_by_covariance: return (vectors * largest.sign()).T.reshape(n, *weight.shape[1:]) ⇒ return (vectors / largest.sign()).T.reshape(n, *weight.shape[1:])
            patch_filters: components = components * components.gather(1, largest).sign() ⇒ components = components / components.gather(1, largest).sign()
        The largest number by size is never 0, and no two of them are equally large.
            filters_by_eigenvectors: turn = components.amax(dim=1) < -components.amin(dim=1) ⇒ turn = components.amax(dim=1) <= -components.amin(dim=1)
            filters_by_numpy: if row[np.abs(row).argmax()] < 0: ⇒ if row[np.abs(row).argmax()] <= 0:
            filters_from_the_side_of_the_filters: if direction[direction.abs().argmax()] < 0: ⇒ if direction[direction.abs().argmax()] <= 0:
        """,
    "pos_embed_similarity": """
        There are two axes, and F.normalize takes dim=1 unless told otherwise.
            pos_embed_similarity: table = F.normalize(table, dim=-1) ⇒ table = F.normalize(table)
            pos_embed_similarity: table = F.normalize(table, dim=-1) ⇒ table = F.normalize(table, dim=1)
        A cosine is the same both ways.
            similarity_by_pairs: result[r, c] = F.cosine_similarity(table[r, c], table, dim=-1) ⇒ result[r, c] = F.cosine_similarity(table, table[r, c], dim=-1)
        No gradients are asked for.
            similarity_from_the_corner: with torch.no_grad(): ⇒ if True:
        The table of the cosines is the same on its side.
            pos_embed_similarity: cosines = table @ table.T ⇒ cosines = (table @ table.T).mT
            similarity_from_the_corner: dots = pos_embed[0] @ pos_embed[0].T ⇒ dots = (pos_embed[0] @ pos_embed[0].T).mT
        A grid of one patch has one number, with dimensions or without.
            pos_embed_similarity: cosines = table @ table.T ⇒ cosines = (table @ table.T).squeeze()
            similarity_from_the_corner: dots = pos_embed[0] @ pos_embed[0].T ⇒ dots = (pos_embed[0] @ pos_embed[0].T).squeeze()
            similarity_from_the_corner: lengths = dots.diagonal().sqrt() ⇒ lengths = dots.diagonal().sqrt().squeeze()
        """,
    "row_column_share": """
        The means of the columns are broadcast from the right.
            row_column_share: columns = table.mean(dim=0, keepdim=True) ⇒ columns = table.mean(dim=0)
            row_column_share: columns = table.mean(dim=0, keepdim=True) ⇒ columns = table.mean(dim=0, keepdim=False)
        A square has no sign.
            row_column_share: left = (table - fit).square().sum() ⇒ left = (fit - table).square().sum()
            row_column_share: return 1 - left / (table - mean).square().sum() ⇒ return 1 - left / (mean - table).square().sum()
            share_by_least_squares: return 1 - ((flat - fit) ** 2).sum() / ((flat - flat.mean(0)) ** 2).sum() ⇒ return 1 - ((fit - flat) ** 2).sum() / ((flat - flat.mean(0)) ** 2).sum()
            share_by_least_squares: return 1 - ((flat - fit) ** 2).sum() / ((flat - flat.mean(0)) ** 2).sum() ⇒ return 1 - ((flat - fit) ** 2).sum() / ((flat.mean(0) - flat) ** 2).sum()
            share_by_numpy: centred = table - table.mean((0, 1)) ⇒ centred = table.mean((0, 1)) - table
            share_by_numpy: rest = centred - centred.mean(0) ⇒ rest = centred.mean(0) - centred
            share_by_numpy: rest = rest - rest.mean(1, keepdims=True) ⇒ rest = rest.mean(1, keepdims=True) - rest
        A tensor is as good as an array.
            share_by_numpy: table = table.numpy() ⇒ pass
            share_by_numpy: table = table.numpy() ⇒ table = table
        A sum has no order.
            share_as_a_float: rows, columns = (table.mean(dim=dim).std(dim=0, correction=0).square().sum() for dim in (1, 0)) ⇒ columns, rows = (table.mean(dim=dim).std(dim=0, correction=0).square().sum() for dim in (1, 0))
        A tensor with one number is as good as a float.
            share_as_a_float: return ((rows + columns) / table.flatten(0, 1).std(dim=0, correction=0).square().sum()).item() ⇒ return (rows + columns) / table.flatten(0, 1).std(dim=0, correction=0).square().sum()
        One number has no dimension that squeeze or mT could change.
            row_column_share: left = (table - fit).square().sum() ⇒ left = (table - fit).square().sum().mT
            row_column_share: left = (table - fit).square().sum() ⇒ left = (table - fit).square().sum().squeeze()
            row_column_share: return 1 - left / (table - mean).square().sum() ⇒ return (1 - left / (table - mean).square().sum()).mT
            row_column_share: return 1 - left / (table - mean).square().sum() ⇒ return (1 - left / (table - mean).square().sum()).squeeze()
            share_by_least_squares: return 1 - ((flat - fit) ** 2).sum() / ((flat - flat.mean(0)) ** 2).sum() ⇒ return (1 - ((flat - fit) ** 2).sum() / ((flat - flat.mean(0)) ** 2).sum()).mT
            share_by_least_squares: return 1 - ((flat - fit) ** 2).sum() / ((flat - flat.mean(0)) ** 2).sum() ⇒ return (1 - ((flat - fit) ** 2).sum() / ((flat - flat.mean(0)) ** 2).sum()).squeeze()
            share_by_numpy: return 1 - (rest ** 2).sum() / (centred ** 2).sum() ⇒ return (1 - (rest ** 2).sum() / (centred ** 2).sum()).squeeze()
        Of a table of width 1 the mean is one number either way.
            row_column_share: mean = table.mean(dim=(0, 1)) ⇒ mean = table.mean(dim=(0, 1)).squeeze()
            share_by_least_squares: design = torch.cat([rows, columns], dim=1).double() ⇒ design = torch.cat([rows, columns], dim=1).double().squeeze()
            share_by_least_squares: flat = table.reshape(-1, D).double() ⇒ flat = table.reshape(-1, D).double().squeeze()
            share_by_numpy: rest = rest - rest.mean(1, keepdims=True) ⇒ rest = (rest - rest.mean(1, keepdims=True)).mT
            share_by_numpy: rest = rest - rest.mean(1, keepdims=True) ⇒ rest = (rest - rest.mean(1, keepdims=True)).squeeze()
        """,
}
