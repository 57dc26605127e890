"""Answers to the exercises of chapter 08, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import copy
import functools
import math
import statistics

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

# --- random_crop_flip ----------------------------------------------------------------------------


def crop_in_a_loop(images, shifts, flips, padding):
    height, width = images.shape[-2:]
    padded = F.pad(images, (padding, padding, padding, padding))
    result = torch.empty_like(images)
    for i in range(len(images)):
        top, left = shifts[i]
        window = padded[i, :, top : top + height, left : left + width]
        result[i] = window.flip(-1) if flips[i] else window
    return result


def crop_by_row_and_column_numbers(images, shifts, flips, padding):
    B, _, h, w = images.shape
    padded = F.pad(images, (padding,) * 4)
    rows = shifts[:, 0, None] + torch.arange(h)  # (B, h)
    columns = shifts[:, 1, None] + torch.arange(w)  # (B, w)
    columns = torch.where(flips[:, None], columns.flip(1), columns)
    batch = torch.arange(B)[:, None, None]
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def crop_mirroring_shift_and_image(images, shifts, flips, padding):
    mirrored = torch.where(flips[:, None, None, None], images.flip(-1), images)
    left = torch.where(flips, 2 * padding - shifts[:, 1], shifts[:, 1])
    padded = F.pad(mirrored, (padding, padding, padding, padding))
    windows = padded.unfold(2, images.shape[2], 1).unfold(3, images.shape[3], 1)
    return windows[torch.arange(len(images)), :, shifts[:, 0], left]


def crop_that_moves_the_image(images, shifts, flips, padding):
    height, width = images.shape[-2:]
    canvas = images.new_zeros(len(images), images.shape[1], height + 2 * padding, width + 2 * padding)
    for i, (top, left) in enumerate(shifts.tolist()):
        canvas[i, :, top : top + height, left : left + width] = images[i]
    windows = canvas[:, :, padding : padding + height, padding : padding + width]
    return torch.where(flips[:, None, None, None], windows.flip(-1), windows)


def crop_square_windows(images, shifts, flips, padding):
    h = images.shape[2]
    padded = F.pad(images, (padding, padding, padding, padding))
    windows = []
    for image, (top, left), flip in zip(padded, shifts, flips, strict=True):
        window = image[:, top : top + h, left : left + h]
        windows.append(window.flip(-1) if flip else window)
    return torch.stack(windows)


def crop_without_an_end(images, shifts, flips, padding):
    padded = F.pad(images, (padding, padding, padding, padding))
    windows = torch.stack([x[:, t:, s:] for x, (t, s) in zip(padded, shifts.tolist(), strict=True)])
    return torch.where(flips[:, None, None, None], windows.flip(-1), windows)


def crop_in_a_ring(images, shifts, flips, padding):
    moved = [x.roll(shift, (-2, -1)) for x, shift in zip(images, (padding - shifts).tolist(), strict=True)]
    return torch.stack([x.flip(-1) if flip else x for x, flip in zip(moved, flips, strict=True)])


def crop_by_gathering(x, moves, turn, p):
    B, C, h, w = x.shape
    columns = torch.arange(w).expand(B, w)
    columns = torch.where(turn[:, None], w - 1 - columns, columns) + moves[:, 1:]
    rows = torch.arange(h) + moves[:, :1]
    x = torch.nn.ZeroPad2d(p)(x)
    x = x.gather(2, rows[:, None, :, None].expand(B, C, h, w + 2 * p))
    return x.gather(3, columns[:, None, None].expand(B, C, h, w))


class CropFlip:
    def __call__(self, images, shifts, flips, padding):
        return torch.stack([self.one(*each, padding) for each in zip(images, shifts, flips, strict=True)])

    def one(self, image, shift, flip, padding):
        canvas = np.pad(image.numpy(), ((0, 0), (padding,) * 2, (padding,) * 2))
        window = torch.from_numpy(canvas)
        for dim, start in enumerate(shift.tolist(), 1):
            window = window.narrow(dim, start, image.shape[dim])
        return torch.fliplr(window.movedim(0, -1)).movedim(-1, 0) if flip else window


def crop_into_a_result(images, shifts, flips, padding):
    _, _, h, w = images.shape
    result = torch.empty_like(images)
    padded = F.pad(images, [padding] * 4)
    for i, flip in enumerate(flips):
        top, left = shifts[i]
        result[i] = padded[i, ..., top : top + h, left : left + w]
        result[i] = result[i].flip(2) if flip else result[i]
    return result


# --- soft_cross_entropy --------------------------------------------------------------------------


def entropy_by_logsumexp(logits, targets):
    # The targets sum to 1, so the logsumexp can stand outside.
    return -((targets * logits).sum(dim=1) - logits.logsumexp(dim=1)).mean()


def entropy_by_einsum(logits, targets):
    shifted = logits - logits.max(dim=-1, keepdim=True).values
    logs = shifted - shifted.exp().sum(dim=-1, keepdim=True).log()
    return -(torch.einsum("bk,bk->", targets, logs) / logits.shape[0])


def entropy_row_by_row(logits, targets):
    products = [share @ row.log_softmax(0) for row, share in zip(logits, targets, strict=True)]
    return -(sum(products) / len(products))


def entropy_of_divergence(scores, shares):
    logs = scores.log_softmax(dim=1)
    return -(torch.xlogy(shares, shares).sum(1).mean() - F.kl_div(logs, shares, reduction="batchmean"))


class SoftCrossEntropy(torch.nn.Module):
    def forward(self, logits, targets):
        total = functools.reduce(torch.logaddexp, logits.unbind(dim=1))
        return torch.bmm(targets[:, None], (total[:, None] - logits)[..., None]).mean()


entropy_by_a_partial = functools.partial(lambda dim, x, t: (t * (x.logsumexp(dim, True) - x)).sum(dim).mean(), -1)


def entropy_below_the_mean(logits, targets):
    logits = logits - logits.mean(dim=1, keepdim=True)
    return (targets * (logits.exp().sum(dim=1, keepdim=True).log() - logits)).sum(dim=1).mean()


def divergence(logits, targets):
    known = torch.where(
        targets > 0, targets * targets.clamp(min=1e-300 if targets.dtype == torch.float64 else 1e-38).log(), 0
    )
    return (known - targets * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()


# --- mixup ---------------------------------------------------------------------------------------


def mixup_by_lerp(images, targets, partners, weight):
    mixed = images[partners].lerp(images, weight[:, None, None, None])
    return mixed, targets[partners].lerp(targets, weight[:, None])


def mixup_image_by_image(images, targets, partners, weight):
    new_images, new_targets = torch.empty_like(images), torch.empty_like(targets)
    for i in range(len(images)):
        j, w = partners[i], weight[i]
        new_images[i] = w * images[i] + (1 - w) * images[j]
        new_targets[i] = w * targets[i] + (1 - w) * targets[j]
    return new_images, new_targets


def mixup_by_a_matrix(images, targets, partners, weight):
    B = len(images)
    matrix = torch.diag(weight)
    matrix[torch.arange(B), partners] += 1 - weight
    return torch.einsum("ij,jchw->ichw", matrix, images), matrix @ targets


class Mixup:
    def __call__(self, x, y, j, w):
        return [self.blend(value, j, w) for value in (x, y)]

    def blend(self, value, j, w):
        flat = value.flatten(1)
        return torch.addcmul(flat[j], w[:, None], flat - flat[j]).view_as(value)


def mixup_by_broadcasting_from_the_right(images, targets, partners, weight):
    def mixed(values):
        last = values.movedim(0, -1)  # the batch last: weight fits as it is
        return (weight * last + (1 - weight) * last[..., partners]).movedim(-1, 0)

    return mixed(images), mixed(targets)


mixup_by_a_partial = functools.partial(
    lambda rule, x, y, j, w: tuple(torch.einsum(rule, w, v) + torch.einsum(rule, 1 - w, v[j.tolist()]) for v in (x, y)),
    "b,b...->b...",
)


def mixup_giving_instead_of_taking(images, targets, partners, weight):
    mixed, shares = torch.empty_like(images), torch.empty_like(targets)
    for i, j in enumerate(partners.tolist()):
        mixed[j] = weight[j] * images[j] + (1 - weight[j]) * images[i]
        shares[j] = weight[j] * targets[j] + (1 - weight[j]) * targets[i]
    return mixed, shares


def mixup_with_the_heavier_target(images, targets, partners, weight):
    w = weight[:, None, None, None]
    heavier = targets.clone()
    heavier[weight < 0.5] = targets[partners][weight < 0.5]
    return w * images + (1 - w) * images[partners], heavier


# --- ema_update ----------------------------------------------------------------------------------


def ema_by_lerp(average, model, decay):
    with torch.no_grad():
        for old, new in zip(average.parameters(), model.parameters(), strict=True):
            old.lerp_(new, 1 - decay)
        for old, new in zip(average.buffers(), model.buffers(), strict=True):
            old.copy_(new)


def ema_by_data(average, model, decay):
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old.data = decay * old.data + (1 - decay) * new.data
    for old, new in zip(average.buffers(), model.buffers(), strict=True):
        old.data.copy_(new)


@torch.no_grad()
def ema_by_loading(average, model, decay):
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for name, old in average.named_parameters(remove_duplicate=False):
        state[name] = decay * old + (1 - decay) * state[name]
    average.load_state_dict(state)


def ema_that_returns_the_average(average, model, decay):
    with torch.no_grad():
        torch._foreach_mul_(list(average.parameters()), decay)
        torch._foreach_add_(list(average.parameters()), list(model.parameters()), alpha=1 - decay)
        for name, buffer in average.named_buffers():
            buffer.copy_(model.get_buffer(name))
    return average


def ema_module_by_module(average, model, decay):
    done = set()
    for mine, other in zip(average.modules(), model.modules(), strict=True):
        for name, new in other.named_parameters(recurse=False):
            old = mine.get_parameter(name)
            if old not in done:
                old.data.mul_(decay).add_(new.data, alpha=1 - decay)
            done.add(old)
        for name, new in other.named_buffers(recurse=False):
            mine.get_buffer(name)[...] = new


class Ema:
    def __call__(self, average, model, decay):
        mode = model.training
        model.eval()
        with torch.no_grad():
            vector = torch.nn.utils.parameters_to_vector
            mixed = decay * vector(average.parameters()) + (1 - decay) * vector(model.parameters())
            torch.nn.utils.vector_to_parameters(mixed, average.parameters())
        buffers = dict(model.named_buffers())
        for name, buffer in average.named_buffers():
            buffer.copy_(buffers[name])
        model.train(mode)


def ema_twice_for_what_is_shared(average, model, decay):
    with torch.no_grad():
        for mine, other in zip(average.modules(), model.modules(), strict=True):
            for old, new in zip(mine.parameters(recurse=False), other.parameters(recurse=False), strict=True):
                old.lerp_(new, 1 - decay)
            for old, new in zip(mine.buffers(recurse=False), other.buffers(recurse=False), strict=True):
                old.copy_(new)


def ema_of_the_children(average, model, decay):
    with torch.no_grad():
        for mine, other in zip(average.children(), model.children(), strict=True):
            for old, new in zip(mine.parameters(), other.parameters(), strict=True):
                old.lerp_(new, 1 - decay)
            for old, new in zip(mine.buffers(), other.buffers(), strict=True):
                old.copy_(new)


def ema_of_a_copy(average, model, decay):
    average = copy.deepcopy(average)
    ema_by_lerp(average, model, decay)


@torch.no_grad()
def ema_of_what_is_floating_with_the_counter(average, model, decay):
    other = model.state_dict()
    for name, value in (*average.named_parameters(), *average.named_buffers()):
        if value.is_floating_point():
            value.lerp_(other[name], 1 - decay)
        else:
            value.copy_(other[name])


def ema_with_new_parameters(average, model, decay):
    for mine, other in zip(average.modules(), model.modules(), strict=True):
        for name, new in list(other.named_parameters(recurse=False)):
            old = getattr(mine, name)
            setattr(mine, name, nn.Parameter((decay * old + (1 - decay) * new).detach()))
    for old, new in zip(average.buffers(), model.buffers(), strict=True):
        old.copy_(new)


# --- newton_schulz -------------------------------------------------------------------------------


def orthogonal_from_the_left(G, steps):
    a, b, c = (3.4445, -4.7750, 2.0315)
    X = G / (G.norm() + 1e-7)
    if G.size(0) > G.size(1):
        X = X.T
    for _ in range(steps):
        A = X @ X.T
        B = b * A + c * A @ A
        X = a * X + B @ X
    if G.size(0) > G.size(1):
        X = X.T
    return X


def orthogonal_from_the_right(matrix, steps):
    x = matrix / torch.linalg.norm(matrix)
    one = torch.eye(matrix.shape[1], dtype=matrix.dtype)
    for _ in range(steps):
        gram = x.mT @ x  # (columns, columns)
        x = x @ (3.4445 * one - 4.7750 * gram + 2.0315 * torch.linalg.matrix_power(gram, 2))
    return x


def orthogonal_by_numpy(matrix, steps):
    x = matrix.numpy() / np.sqrt(np.sum(matrix.numpy() ** 2))
    for _ in range(steps):
        cubed = x @ x.T @ x
        x = 3.4445 * x - 4.7750 * cubed + 2.0315 * (x @ (x.T @ cubed))
    return torch.from_numpy(x)


def orthogonal_by_einsum(matrix, steps):
    x = matrix / torch.einsum("ij,ij->", matrix, matrix).sqrt()
    while steps:
        third = torch.einsum("ij,kj,kl->il", x, x, x)
        fifth = torch.einsum("ij,kj,kl->il", x, x, third)
        x = 3.4445 * x - 4.775 * third + 2.0315 * fifth
        steps -= 1
    return x


def orthogonal_by_rows(matrix, steps):
    """With lists alone."""
    rows = matrix.tolist()
    length = math.sqrt(sum(x * x for row in rows for x in row))
    rows = [[x / length for x in row] for row in rows]

    def times(left, right):
        return [
            [sum(x * y for x, y in zip(row, column, strict=True)) for column in zip(*right, strict=True)]
            for row in left
        ]

    for _ in range(steps):
        square = times(rows, list(zip(*rows, strict=True)))
        one, two = times(square, rows), times(square, times(square, rows))
        rows = [
            [3.4445 * x - 4.7750 * y + 2.0315 * z for x, y, z in zip(*each, strict=True)]
            for each in zip(rows, one, two, strict=True)
        ]
    return torch.tensor(rows, dtype=matrix.dtype)


class Orthogonal(nn.Module):
    """The coefficients in float32, Horner's order, all sizes of matrix alike."""

    def __init__(self):
        super().__init__()
        self.register_buffer("coefficients", torch.tensor([3.4445, -4.7750, 2.0315]))

    def once(self, x, _):
        a, b, c = self.coefficients
        inner = torch.mm(x, x.t().mm(c * x)) + b * x
        return a * x + x.mm(x.t()).mm(inner)

    def forward(self, m, n):
        return functools.reduce(self.once, range(n), F.normalize(m.flatten(), dim=0).view_as(m))


def orthogonal_in_single_precision(matrix, steps):
    x = matrix.float()
    x = x.div(x.pow(2).sum().sqrt().clamp(min=1e-7))
    with torch.no_grad():
        for _ in range(steps):
            gram = x.matmul(x.transpose(0, 1))
            x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.to(matrix.dtype)


orthogonal_by_a_partial = functools.partial(orthogonal_from_the_right)


# Wrong


def orthogonal_by_single_numbers(matrix, steps):
    x = matrix / matrix.norm()
    for _ in range(steps):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    return x


def orthogonal_with_the_other_square(matrix, steps):
    x = matrix / matrix.norm()
    for _ in range(steps):
        gram = x.T @ x
        x = 3.4445 * x - 4.7750 * gram @ x + 2.0315 * gram @ gram @ x
    return x


def orthogonal_with_the_square_on_the_right(matrix, steps):
    x = matrix / matrix.norm()
    for _ in range(steps):
        x = 3.4445 * x + x @ (-4.7750 * (x @ x.T) + 2.0315 * (x @ x.T) @ (x @ x.T))
    return x


def orthogonal_with_a_last_star(matrix, steps):
    x = matrix / matrix.norm()
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square).mul(x)
    return x


def orthogonal_without_an_x(matrix, steps):
    x = matrix / matrix.norm()
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + square @ x * -4.7750 + square.matmul(square) * 2.0315
    return x


def orthogonal_without_the_other_x(matrix, steps):
    x = matrix / matrix.norm()
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + square.matmul(square) @ x * 2.0315 + square * -4.7750
    return x


def orthogonal_without_any_x(matrix, steps):
    x = matrix / matrix.norm()
    for _ in range(steps):
        square = x.matmul(x.T)
        x = 3.4445 * x - (4.7750 * square - 2.0315 * square.matmul(square))
    return x


def orthogonal_again_and_again(matrix, steps):
    """It calls itself, and divides by the length each time."""
    if steps == 0:
        return matrix
    x = matrix / matrix.norm()
    square = x @ x.mT
    x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
    return orthogonal_again_and_again(x, steps - 1)


def orthogonal_that_stops(matrix, steps):
    x = matrix / matrix.norm()
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
        return x


def orthogonal_by_an_inverse_root(matrix, steps):
    square = matrix @ matrix.mT
    square = square / torch.trace(square)
    root = one = torch.eye(len(square), dtype=matrix.dtype)
    for _ in range(steps):
        turn = (3 * one - root @ square) / 2
        square, root = square @ turn, turn @ root
    return root @ matrix


def orthogonal_in_bfloat16(matrix, steps):
    x = matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


def orthogonal_in_place(matrix, steps):
    matrix.div_(torch.linalg.matrix_norm(matrix))
    for _ in range(steps):
        square = matrix @ matrix.mT
        matrix = 3.4445 * matrix + (-4.7750 * square + 2.0315 * square @ square) @ matrix
    return matrix


def orthogonal_without_range(matrix, steps):
    x = matrix / matrix.norm()
    for step in steps:
        x = 3.4445 * x + (-4.7750 * x @ x.mT + 2.0315 * x @ x.mT @ x @ x.mT) @ x * (step >= 0)
    return x


def orthogonal_row_by_row(matrix, steps):
    x = F.normalize(matrix)
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
    return x


# --- paired_gain ---------------------------------------------------------------------------------


def gain_by_numpy(before, after, t):
    apart = after.numpy() - before.numpy()
    return apart.mean(), t * apart.std(ddof=1) / np.sqrt(len(apart))


def gain_by_statistics(before, after, t):
    apart = [y - x for x, y in zip(before.tolist(), after.tolist(), strict=True)]
    return statistics.mean(apart), t * statistics.stdev(apart) / math.sqrt(len(apart))


def gain_by_squares(x, y, factor):
    d, n = (y - x).tolist(), x.numel()
    mean = sum(d) / n
    total = 0.0
    for each in d:
        total += (each - mean) ** 2
    return [mean, factor * (total / (n * (n - 1))) ** 0.5]


def gain_by_covariance(before, after, t):
    both = torch.cov(torch.stack([before, after]))  # (2, 2)
    variance = both[0, 0] + both[1, 1] - 2 * both[0, 1]
    return float(after.mean() - before.mean()), float(t * torch.sqrt(variance / before.shape[0]))


def gain_in_single_precision(before, after, t):
    apart = torch.sub(after.float(), before.float())
    half = torch.tensor(t) * apart.std(unbiased=False) / torch.tensor(len(apart) - 1.0).sqrt()
    return apart.mean().item(), half.item()


class Gain:
    def __call__(self, before, after, t):
        apart = after - before
        variance, mean = torch.var_mean(apart)
        return mean.item(), t * (variance.item() / apart.nelement()) ** 0.5


def gain_by_scipy(before, after, t):
    return (after - before).mean().item(), t * stats.sem(after - before)


gain_by_a_partial = functools.partial(gain_by_squares)


# Wrong


def gain_of_two_groups(before, after, t):
    n = len(before)
    error = math.sqrt(before.double().var().item() / n + after.double().var().item() / n)
    return after.double().mean().item() - before.double().mean().item(), t * error


def gain_by_numpy_as_it_is(before, after, t):
    apart = np.subtract(after.numpy(), before.numpy())
    return float(np.mean(apart)), float(t * np.std(apart) / np.sqrt(apart.size))


def gain_as_tensors(before, after, t):
    apart = after - before
    return apart.mean(), t * apart.std() / len(apart) ** 0.5


def gain_as_one_tensor_of_two(before, after, t):
    apart = after.double() - before.double()
    return torch.stack([apart.mean(), t * apart.std() / len(apart) ** 0.5])


def gain_from_shape(before, after, t):
    apart = after.double() - before.double()
    n = before.shape
    return apart.mean().item(), t * apart.std().item() / n**0.5


def gain_from_a_table(before, after, t):
    table = {2: 12.706, 3: 4.303, 5: 2.776, 10: 2.262}
    apart = after.double() - before.double()
    return apart.mean().item(), table[len(apart)] * apart.std().item() / math.sqrt(len(apart))


def gain_in_place(before, after, t):
    after.sub_(before)
    return after.mean().item(), t * after.std().item() / len(after) ** 0.5


def gain_of_sorted_seeds(before, after, t):
    apart = np.sort(after.double().numpy()) - np.sort(before.double().numpy())
    return apart.mean(), t * apart.std(ddof=1) / len(apart) ** 0.5


def gain_in_per_cent_of_before(before, after, t):
    apart = 100 * (after.double() / before.double() - 1)
    return apart.mean().item(), t * apart.std().item() / len(apart) ** 0.5


def gain_by_statistics_of_a_tensor(before, after, t):
    apart = after - before
    return statistics.mean(apart), t * statistics.stdev(apart) / len(apart) ** 0.5


def gain_by_numpy_of_a_tensor(before, after, t):
    apart = after - before
    half = t * np.std(apart, ddof=1) / np.sqrt(len(apart))
    return np.mean(apart), half


def gain_as_arrays(before, after, t):
    apart = after - before
    return apart.mean().numpy(), t * apart.std().numpy() / len(apart) ** 0.5


def gain_as_an_array(before, after, t):
    apart = after.double() - before.double()
    return np.asarray([apart.mean(), t * apart.std() / len(apart) ** 0.5])


def gain_as_a_dictionary(before, after, t):
    apart = after - before
    return {"gain": apart.mean().item(), "half": t * apart.std().item() / len(apart) ** 0.5}


def gain_and_a_verdict(before, after, t):
    apart = after - before
    gain, half = apart.mean().item(), t * apart.std().item() / len(apart) ** 0.5
    return gain, half, gain > half


def gain_in_lists(before, after, t):
    apart = after - before
    return [apart.mean().item()], [t * apart.std().item() / len(apart) ** 0.5]


def gain_alone(before, after, t):
    return (after.double() - before.double()).mean().item()


def gain_in_brackets(before, after, t):
    apart = after - before
    return [(apart.mean().item(), t * apart.std().item() / len(apart) ** 0.5)]


def gain_with_a_pair(before, after, t):
    apart = after - before
    half = t * apart.std().item() / len(apart) ** 0.5
    return apart.mean().item(), (-half, half)


def gain_of_lists(before, after, t):
    apart = after.tolist() - before.tolist()
    return sum(apart) / len(apart), t * statistics.stdev(apart) / len(apart) ** 0.5


def gain_of_one_number(before, after, t):
    gain = (after - before).mean()
    return gain.item(), (t * gain.std() / len(before) ** 0.5).item()


def gain_with_t_of_n(before, after, t):
    apart = after - before
    n = len(apart)
    return apart.mean().item(), t(n) * apart.std().item() / math.sqrt(n)


def gain_and_its_ends(before, after, t):
    apart = after.double() - before.double()
    mean, half = apart.mean().item(), t * apart.std().item() / len(apart) ** 0.5
    return mean - half, mean + half


RIGHT = {
    "random_crop_flip": (
        crop_in_a_loop,
        crop_by_row_and_column_numbers,
        crop_mirroring_shift_and_image,
        crop_by_gathering,
        CropFlip(),
        crop_into_a_result,
    ),
    "soft_cross_entropy": (
        entropy_by_logsumexp,
        entropy_by_einsum,
        entropy_row_by_row,
        entropy_of_divergence,
        SoftCrossEntropy(),
        entropy_by_a_partial,
    ),
    "mixup": (
        mixup_by_lerp,
        mixup_image_by_image,
        mixup_by_a_matrix,
        Mixup(),
        mixup_by_broadcasting_from_the_right,
        mixup_by_a_partial,
    ),
    "ema_update": (
        ema_by_lerp,
        ema_by_data,
        ema_by_loading,
        ema_that_returns_the_average,
        ema_module_by_module,
        Ema(),
    ),
    "newton_schulz": (
        orthogonal_from_the_left,
        orthogonal_from_the_right,
        orthogonal_by_numpy,
        orthogonal_by_einsum,
        orthogonal_by_rows,
        Orthogonal(),
        orthogonal_in_single_precision,
        orthogonal_by_a_partial,
    ),
    "paired_gain": (
        gain_by_numpy,
        gain_by_statistics,
        gain_by_squares,
        gain_by_covariance,
        gain_in_single_precision,
        Gain(),
        gain_by_scipy,
        gain_by_a_partial,
    ),
}

SLIPS = {
    "random_crop_flip": """
        begin at shift - padding
            shifts[:, 0], shifts[:, 1] ⇒ shifts[:, 0] - padding, shifts[:, 1] - padding
        one pixel too late
            shifts[:, 0], shifts[:, 1] ⇒ shifts[:, 0] + 1, shifts[:, 1] + 1
        padding + shift
            shifts[:, 0], shifts[:, 1] ⇒ shifts[:, 0] + padding, shifts[:, 1] + padding
        that is empty
            padded = F.pad(images, (padding, padding, padding, padding)) ⇒ padded = images.new_zeros(*images.shape[:2], h + 2 * padding, w + 2 * padding)
            | padded[..., padding:-padding, padding:-padding] = images
        height and width are exchanged
            h, w = images ⇒ w, h = images
        as high as they are wide
            unfold(2, h, 1) ⇒ unfold(2, w, 1)
        the last two sizes
            images.shape[-2:] ⇒ images.size()[1:3]
        however late they begin
            cut = windows[batch, :, shifts[:, 0], shifts[:, 1]] ⇒ cut = torch.stack([padded[i, :, shifts[i, 0] : h, shifts[i, 1] : w] for i in batch])
        end at row h, however late
            cut = windows[batch, :, shifts[:, 0], shifts[:, 1]] ⇒ cut = torch.stack([padded[i, :, y:h, x : x + w] for i, (y, x) in enumerate(shifts)])
        end at column w, however late
            cut = windows[batch, :, shifts[:, 0], shifts[:, 1]] ⇒ cut = torch.stack([padded[i, :, y : y + h, x:w] for i, (y, x) in enumerate(shifts)])
        you pad with a mirror image
            padding, padding)) ⇒ padding, padding), "reflect")
        only the width
            (padding, padding, padding, padding) ⇒ (padding, padding)
        without padding
            F.pad(images, (padding, padding, padding, padding)) ⇒ images
        lines it up with the columns
            flips[:, None, None, None] ⇒ flips
        """,
    "soft_cross_entropy": """
        you clamp the logits
            logits.log_softmax ⇒ torch.clamp(logits, -80, 80).log_softmax
        you clamp the logarithms
            logits.log_softmax(dim=-1) ⇒ logits.log_softmax(dim=-1).clamp_min(-100)
        of each column
            logits.log_softmax(dim=-1) ⇒ (logits - logits.max(dim=0).values - (logits - logits.max(dim=0).values).exp().sum(-1, keepdim=True).log())
        the largest by size
            return ⇒ size = logits.abs().max(-1, True).values
            | return
            logits.log_softmax(dim=-1) ⇒ (logits - size - (logits - size).exp().sum(-1, True).log())
        a small number inside
            logits.log_softmax(dim=-1) ⇒ torch.log(torch.softmax(logits, -1) + torch.finfo(logits.dtype).tiny)
        """,
    "mixup": """
        own and partner have the same weight
            (1 - w) * images[partners] ⇒ images[partners] * w
            (1 - w) * targets[partners] ⇒ targets[partners] * w
        the partner's weight is taken too
            (1 - w) * images[partners] ⇒ (w * images)[partners]
            (1 - w) * targets[partners] ⇒ (w * targets)[partners]
        scaled before their partners are read
            mixed = w * images + (1 - w) * images[partners] ⇒ mixed = images.mul_(w).add_((1 - w) * images[partners])
        that it has mixed already
            return mixed, ⇒ mixed = images.clone()
            | for i in range(len(images)):
            |     mixed[i] = torch.lerp(mixed[partners[i]], mixed[i], weight[i])
            | return mixed,
        lines it up with the columns
            weight[:, None, None, None] ⇒ weight
        targets are (B, classes)
            weight[:, None]
            | return ⇒ weight
            | return
        """,
    "ema_update": """
        the wrong way round
            old.mul_(decay).add_(new, alpha=1 - decay) ⇒ old.lerp_(new, decay)
        the average moves, the model stays
            for old, new in zip(average.parameters(), model.parameters()):
            |     old ⇒ mean = average.state_dict()
            | for name, old in model.state_dict().items():
            |     new = mean[name]
            |     old
            for old, new in zip(average.buffers(), model.buffers()):
            |     old.copy_(new) ⇒ pass
        you average the running statistics and leave
            for old, new in zip(average.parameters(), model.parameters()):
            |     old ⇒ now = model.state_dict()
            | for name, old in average.state_dict().items():
            |     if not old.is_floating_point():
            |         continue
            |     new = now[name]
            |     old
            for old, new in zip(average.buffers(), model.buffers()):
            |     old.copy_(new) ⇒ pass
        a state dict holds buffers too
            average.parameters(), model.parameters() ⇒ average.state_dict().values(), model.state_dict().values()
        gradients are recorded
            with torch.no_grad(): ⇒ if True:
        """,
    "newton_schulz": """
        the length is forgotten
            x = x / x.norm() ⇒ pass
        the largest singular value
            x.norm() ⇒ torch.linalg.norm(x, ord=2)
        each column is divided
            x = x / x.norm() ⇒ x = matrix / matrix.norm(dim=0, keepdim=True)
            | x = x.mT if tall else x
        the root is missing
            x.norm() ⇒ (x**2).sum()
        a mean of the numbers
            x.norm() ⇒ (x**2).mean() ** 0.5
        only matrices that are longer than 1
            x.norm() ⇒ max(x.norm(), 1)
        by the length when the steps are done
            x = x / x.norm() ⇒ pass
            return x.mT if tall else x ⇒ return x.mT / x.norm() if tall else x / x.norm()
        the length of the matrix still in it
            return x.mT if tall else x ⇒ return matrix.norm() * (x.mT if tall else x)
        ** 2 and * square single numbers
            square @ square ⇒ square**2
        works only where a matrix is square
            x @ x.mT ⇒ x @ x
        adds a to every number
            a * x + (b * square + c * square @ square) @ x ⇒ (a + b * square + c * square @ square) @ x
        small ones vanish
            a * x + ⇒
        b goes with X Xᵀ alone
            (b * square + c * square @ square) @ x ⇒ (b * square + c * square) @ square @ x
        c goes with (X Xᵀ)², and you have X Xᵀ once
            c * square @ square ⇒ c * square
        the term with c is missing
            + c * square @ square ⇒
        the term with b is missing
            b * square + ⇒
        b and c have changed places
            a, b, c ⇒ a, c, b
        the cubic step, 1.5 and -0.5
            3.4445, -4.7750, 2.0315 ⇒ 1.5, -0.5, 0
        the coefficients that end at 1 exactly
            3.4445, -4.7750, 2.0315 ⇒ 2, -1.5, 0.5
        you have turned its sign
            -4.7750 ⇒ 4.7750
        one step too few
            range(steps) ⇒ range(1, steps)
        one step too many
            range(steps) ⇒ range(steps + 1)
        5 steps are written
            range(steps) ⇒ range(5)
        computed once, before the loop
            for _ in range(steps):
            |     square = x @ x.mT  # (rows, rows) ⇒ square = x @ x.mT
            | for _ in range(steps):
        as it came in: take it of X
            square = x @ x.mT ⇒ square = matrix.mT @ matrix if tall else matrix @ matrix.mT
        turn it on both, or on neither
            return x.mT if tall else x ⇒ return x
        that you have not turned is turned
            return x.mT if tall else x ⇒ return x.mT
        reads the same numbers on
            return x.mT if tall else x ⇒ return x.reshape(matrix.shape)
        the factor for the shape
            return x.mT if tall else x ⇒ x = x.mT if tall else x
            | return x * max(1, x.size(0) / x.size(1)) ** 0.5
        you return float32
            matrix.mT if tall else matrix ⇒ matrix.mT.float() if tall else matrix.float()
        too much for a short matrix
            x.norm() ⇒ (x.norm() + 1e-3)
        """,
    "paired_gain": """
        the sign of the gain is the wrong way round
            after.double() - before.double() ⇒ before.double() - after.double()
        a seed that has become worse counts
            = after.double() - before.double() ⇒ = torch.abs(after.double() - before.double())
        the gain has lost its sign
            apart.mean().item() ⇒ abs(apart.mean().item())
        the sum of the differences
            apart.mean() ⇒ apart.sum()
        the median of the differences
            apart.mean() ⇒ apart.median()
        compare the best seeds
            apart.mean().item() ⇒ (after.double().max() - before.double().max()).item()
        have changed places
            return apart.mean().item(), half ⇒ return half, apart.mean().item()
        how far one seed scatters
            / len(apart) ** 0.5 ⇒
        you divide by n: the mean
            / len(apart) ** 0.5 ⇒ / len(apart)
        you divide by n - 1: the mean
            / len(apart) ** 0.5 ⇒ / (len(apart) - 1)
        divides by n - 1 twice
            / len(apart) ** 0.5 ⇒ / (len(apart) - 1) ** 0.5
        that is the variance
            apart.std() ⇒ apart.var()
        one standard error
            t * ⇒
        the factor is one for many seeds
            t * ⇒ 1.96 *
        a rule of thumb
            t * ⇒ 2 *
        the whole interval
            t * ⇒ 2 * t *
        that scatters about 0
            apart.std() ⇒ (apart**2).mean().sqrt()
        nothing is rounded
            return apart.mean().item(), half ⇒ return round(apart.mean().item(), 2), round(half, 2)
        and these are texts
            return apart.mean().item(), half ⇒ return f"{apart.mean().item()} ± {half}"
        no factor of 100
            = after.double() - before.double() ⇒ = 100 * (after.double() - before.double())
        """,
}

WRONG = {
    "random_crop_flip": {
        crop_that_moves_the_image: "the windows go the other way",
        crop_square_windows: "need not be square",
        crop_without_an_end: "no end",
        crop_in_a_ring: "a ring",
    },
    "soft_cross_entropy": {divergence: "Kullback-Leibler", entropy_below_the_mean: "the mean of each row"},
    "mixup": {
        mixup_giving_instead_of_taking: "you give each image to its partner",
        mixup_with_the_heavier_target: "the heavier target",
    },
    "ema_update": {
        ema_of_what_is_floating_with_the_counter: "copy only the counter",
        ema_with_new_parameters: "you put new parameters",
        ema_twice_for_what_is_shared: "averaged once",
        ema_of_the_children: "children() leaves out",
        ema_of_a_copy: "stay as they were",
    },
    "newton_schulz": {
        orthogonal_by_single_numbers: "are the squares of the single numbers",
        orthogonal_with_the_other_square: "XᵀX stands on the left of X",
        orthogonal_with_the_square_on_the_right: "X Xᵀ stands on the right of X",
        orthogonal_with_a_last_star: "the last product is one of matrices too",
        orthogonal_without_an_x: "the term with c has lost its X",
        orthogonal_without_the_other_x: "the term with b has lost its X",
        orthogonal_without_any_x: "X itself is multiplied by nothing but numbers",
        orthogonal_again_and_again: "you divide by the length in every step",
        orthogonal_that_stops: "one step, whatever `steps` says",
        orthogonal_by_an_inverse_root: "an iteration for (XᵀX)^(-1/2)",
        orthogonal_in_bfloat16: "bfloat16 keeps two or three digits",
        orthogonal_in_place: "your caller's matrix changes",
        orthogonal_without_range: "counts to a number",
        orthogonal_row_by_row: "each row is divided by its own length",
    },
    "paired_gain": {
        gain_of_two_groups: "two groups of different seeds",
        gain_by_numpy_as_it_is: "as numpy's std and statistics.pstdev do",
        gain_as_tensors: "plain numbers are asked for: .item()",
        gain_as_one_tensor_of_two: "that is one tensor of two",
        gain_from_shape: ".shape is a list of sizes",
        gain_from_a_table: "the parameter t is not used",
        gain_in_place: "your caller's `after` changes",
        gain_of_sorted_seeds: "you sort before you subtract",
        gain_in_per_cent_of_before: "gain and half are shares of `before`",
        gain_by_statistics_of_a_tensor: "statistics wants plain numbers",
        gain_by_numpy_of_a_tensor: "numpy's mean and std do not know",
        gain_as_arrays: ".item() makes one of an array",
        gain_as_an_array: "one array of numpy's",
        gain_as_a_dictionary: "that is a dictionary",
        gain_and_a_verdict: "more than the two that are asked for",
        gain_in_lists: "there are lists of one",
        gain_alone: "you return one number",
        gain_in_brackets: "there is a comma or a pair of brackets",
        gain_with_a_pair: "half is a pair",
        gain_of_lists: "lists do not subtract",
        gain_of_one_number: "the deviation of one number",
        gain_with_t_of_n: "t is the factor itself",
        gain_and_its_ends: "the two ends of the interval",
    },
}

EQUIVALENT = {
    "random_crop_flip": """
        What one image has is handed out to all; with one image or channel the ellipsis stands for what is left.
            crop_by_gathering: columns = torch.arange(w).expand(B, w) ⇒ columns = torch.arange(w)
            crop_by_gathering: columns = torch.arange(w).expand(B, w) ⇒ columns = torch.arange(w).expand(B, w).squeeze()
            crop_mirroring_shift_and_image: left = torch.where(flips, 2 * padding - shifts[:, 1], shifts[:, 1]) ⇒ left = torch.where(flips, 2 * padding - shifts[:, 1], shifts[:, 1]).squeeze()
        There are always four axes.
            random_crop_flip: h, w = images.shape[-2:] ⇒ h, w = images.shape[2:]
            crop_in_a_loop: height, width = images.shape[-2:] ⇒ height, width = images.shape[2:]
        The new axis comes last in either writing: the number takes its axis away.
            crop_by_row_and_column_numbers: rows = shifts[:, 0, None] + torch.arange(h) ⇒ rows = shifts[:, None, 0] + torch.arange(h)
            crop_by_row_and_column_numbers: columns = shifts[:, 1, None] + torch.arange(w) ⇒ columns = shifts[:, None, 1] + torch.arange(w)
        The images of a check are on the CPU.
            random_crop_flip: batch = torch.arange(len(images), device=images.device) ⇒ batch = torch.arange(len(images))
        """,
    "soft_cross_entropy": """
        There are always two axes.
            soft_cross_entropy: return -(targets * logits.log_softmax(dim=-1)).sum(dim=-1).mean() ⇒ return -(targets * logits.log_softmax(dim=-1)).sum(dim=1).mean()
            soft_cross_entropy: return -(targets * logits.log_softmax(dim=-1)).sum(dim=-1).mean() ⇒ return -(targets * logits.log_softmax(dim=1)).sum(dim=-1).mean()
            entropy_by_einsum: logs = shifted - shifted.exp().sum(dim=-1, keepdim=True).log() ⇒ logs = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
            entropy_by_einsum: shifted = logits - logits.max(dim=-1, keepdim=True).values ⇒ shifted = logits - logits.max(dim=1, keepdim=True).values
        A product has no order.
            entropy_row_by_row: products = [share @ row.log_softmax(0) for row, share in zip(logits, targets)] ⇒ products = [row.log_softmax(0) @ share for row, share in zip(logits, targets)]
            entropy_by_einsum: return -(torch.einsum('bk,bk->', targets, logs) / logits.shape[0]) ⇒ return -(torch.einsum('bk,bk->', logs, targets) / logits.shape[0])
        """,
    "mixup": """
        A diagonal matrix is its own transpose, and a single number is written into a row of one.
            mixup_by_a_matrix: matrix = torch.diag(weight) ⇒ matrix = torch.diag(weight).mT
            mixup_image_by_image: new_targets[i] = w * targets[i] + (1 - w) * targets[j] ⇒ new_targets[i] = (w * targets[i] + (1 - w) * targets[j]).squeeze()
        """,
    "ema_update": """
        Where no gradient is recorded there is none to cut off, and a buffer of one number is that number.
            ema_by_data: old.data = decay * old.data + (1 - decay) * new.data ⇒ old.data = (decay * old.data + (1 - decay) * new.data).detach()
            ema_by_loading: state[name] = decay * old + (1 - decay) * state[name] ⇒ state[name] = (decay * old + (1 - decay) * state[name]).detach()
            ema_module_by_module: mine.get_buffer(name)[...] = new ⇒ mine.get_buffer(name)[...] = new.detach()
            ema_module_by_module: mine.get_buffer(name)[...] = new ⇒ mine.get_buffer(name)[...] = new.squeeze()
        What is done already is left out, and a buffer may be copied twice.
            ema_module_by_module: for name, new in other.named_buffers(recurse=False): ⇒ for name, new in other.named_buffers():
            ema_module_by_module: for name, new in other.named_buffers(recurse=False): ⇒ for name, new in other.named_buffers(recurse=True):
            ema_module_by_module: for name, new in other.named_parameters(recurse=False): ⇒ for name, new in other.named_parameters():
            ema_module_by_module: for name, new in other.named_parameters(recurse=False): ⇒ for name, new in other.named_parameters(recurse=True):
        The numbers are not changed where they lie, so they need not be copied.
            ema_by_loading: state = {name: value.clone() for name, value in model.state_dict().items()} ⇒ state = {name: value for name, value in model.state_dict().items()}
        """,
    "newton_schulz": """
        Either side may be multiplied, so a matrix may be turned or not.
            newton_schulz: tall = matrix.shape[0] > matrix.shape[1] ⇒ tall = matrix.shape[0] >= matrix.shape[1]
            newton_schulz: tall = matrix.shape[0] > matrix.shape[1] ⇒ tall = matrix.shape[1] > matrix.shape[1]
            newton_schulz: tall = matrix.shape[0] > matrix.shape[1] ⇒ tall = matrix.shape[0] > matrix.shape[0]
        X Xᵀ is its own transpose, and so are its powers; a number may stand before or after what it multiplies.
            newton_schulz: square = x @ x.mT ⇒ square = (x @ x.mT).mT
            newton_schulz: x = a * x + (b * square + c * square @ square) @ x ⇒ x = a * x + (b * square + square @ (c * square)) @ x
            orthogonal_from_the_left: A = X @ X.T ⇒ A = (X @ X.T).mT
            orthogonal_from_the_left: B = b * A + c * A @ A ⇒ B = (b * A + c * A @ A).mT
            orthogonal_from_the_left: B = b * A + c * A @ A ⇒ B = b * A + A @ (c * A)
            orthogonal_from_the_right: one = torch.eye(matrix.shape[1], dtype=matrix.dtype) ⇒ one = torch.eye(matrix.shape[1], dtype=matrix.dtype).mT
            orthogonal_from_the_right: gram = x.mT @ x ⇒ gram = (x.mT @ x).mT
            orthogonal_in_single_precision: gram = x.matmul(x.transpose(0, 1)) ⇒ gram = x.matmul(x.transpose(0, 1)).mT
        No matrix here is so short that the small number beside its length, up to 1e-7 by the prompt, would count; nor twice as much.
            orthogonal_from_the_left: X = G / (G.norm() + 1e-07) ⇒ X = G / G.norm()
            orthogonal_from_the_left: X = G / (G.norm() + 1e-07) ⇒ X = G / (G.norm() - 1e-07)
            orthogonal_from_the_left: X = G / (G.norm() + 1e-07) ⇒ X = G / (G.norm() + 2e-07)
            orthogonal_in_single_precision: x = x.div(x.pow(2).sum().sqrt().clamp(min=1e-07)) ⇒ x = x.div(x.pow(2).sum().sqrt())
            orthogonal_in_single_precision: x = x.div(x.pow(2).sum().sqrt().clamp(min=1e-07)) ⇒ x = x.div(x.pow(2).sum().sqrt().clamp(min=2e-07))
        The matrix of one 1 is the number 1, and one in float32 is that of float64.
            orthogonal_from_the_right: one = torch.eye(matrix.shape[1], dtype=matrix.dtype) ⇒ one = torch.eye(matrix.shape[1], dtype=matrix.dtype).squeeze()
            orthogonal_from_the_right: one = torch.eye(matrix.shape[1], dtype=matrix.dtype) ⇒ one = torch.eye(matrix.shape[1])
        X (Xᵀ X Xᵀ) X is the same product of five.
            orthogonal_by_einsum: fifth = torch.einsum('ij,kj,kl->il', x, x, third) ⇒ fifth = torch.einsum('ij,kj,kl->il', x, third, x)
        A tensor is a list of its rows, and a product of numbers has no order.
            orthogonal_by_rows: rows = matrix.tolist() ⇒ rows = matrix
            orthogonal_by_rows: return [[sum((x * y for x, y in zip(row, column))) for column in zip(*right)] for row in left] ⇒ return [[sum((x * y for y, x in zip(row, column))) for column in zip(*right)] for row in left]
            orthogonal_by_rows: return [[sum((x * y for x, y in zip(row, column))) for column in zip(*right)] for row in left] ⇒ return [[sum((x * y for x, y in zip(column, row))) for column in zip(*right)] for row in left]
        It need not compute in float32, and nothing asks for a gradient.
            orthogonal_in_single_precision: x = matrix.float() ⇒ x = matrix
            orthogonal_in_single_precision: with torch.no_grad(): ⇒ if True:
        """,
    "paired_gain": """
        A list of several numbers, and one number, have no side that squeeze or mT could change, and a covariance is its own transpose.
            paired_gain: apart = after.double() - before.double() ⇒ apart = (after.double() - before.double()).squeeze()
            gain_by_numpy: apart = after.numpy() - before.numpy() ⇒ apart = (after.numpy() - before.numpy()).squeeze()
            gain_by_covariance: both = torch.cov(torch.stack([before, after])) ⇒ both = torch.cov(torch.stack([before, after])).squeeze()
            gain_by_covariance: both = torch.cov(torch.stack([before, after])) ⇒ both = torch.cov(torch.stack([before, after])).mT
            gain_by_covariance: variance = both[0, 0] + both[1, 1] - 2 * both[0, 1] ⇒ variance = (both[0, 0] + both[1, 1] - 2 * both[0, 1]).squeeze()
            gain_by_covariance: variance = both[0, 0] + both[1, 1] - 2 * both[0, 1] ⇒ variance = (both[0, 0] + both[1, 1] - 2 * both[0, 1]).mT
            gain_in_single_precision: apart = torch.sub(after.float(), before.float()) ⇒ apart = torch.sub(after.float(), before.float()).squeeze()
            gain_in_single_precision: half = torch.tensor(t) * apart.std(unbiased=False) / torch.tensor(len(apart) - 1.0).sqrt() ⇒ half = (torch.tensor(t) * apart.std(unbiased=False) / torch.tensor(len(apart) - 1.0).sqrt()).squeeze()
            gain_in_single_precision: half = torch.tensor(t) * apart.std(unbiased=False) / torch.tensor(len(apart) - 1.0).sqrt() ⇒ half = (torch.tensor(t) * apart.std(unbiased=False) / torch.tensor(len(apart) - 1.0).sqrt()).mT
        Either precision will do, and so will both.
            paired_gain: apart = after.double() - before.double() ⇒ apart = after - before.double()
            paired_gain: apart = after.double() - before.double() ⇒ apart = after.double() - before
            gain_in_single_precision: apart = torch.sub(after.float(), before.float()) ⇒ apart = torch.sub(after, before.float())
            gain_in_single_precision: apart = torch.sub(after.float(), before.float()) ⇒ apart = torch.sub(after.float(), before)
            gain_in_single_precision: half = torch.tensor(t) * apart.std(unbiased=False) / torch.tensor(len(apart) - 1.0).sqrt() ⇒ half = t * apart.std(unbiased=False) / torch.tensor(len(apart) - 1.0).sqrt()
        A square has no sign, and a deviation none either.
            gain_by_squares: total += (each - mean) ** 2 ⇒ total += (mean - each) ** 2
            gain_by_scipy: return ((after - before).mean().item(), t * stats.sem(after - before)) ⇒ return ((after - before).mean().item(), t * stats.sem(before - after))
        """,
}
