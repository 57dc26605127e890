"""Answers to the exercises of chapter 08, as readers write them.

RIGHT: implementations other than the chapter's own. WRONG: plausible mistakes, each with words of the
hint that it must get. They are written as a reader would, not as the records imitate them.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

# --- random_crop_flip --------------------------------------------------------------------------------


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


def crop_the_batch_at_once(images, shifts, flips, padding):
    height, width = images.shape[-2:]
    top, left = shifts[0]
    padded = F.pad(images, (padding, padding, padding, padding))
    windows = padded[:, :, top : top + height, left : left + width]
    return torch.where(flips[:, None, None, None], windows.flip(-1), windows)


def crop_with_x_before_y(images, shifts, flips, padding):
    height, width = images.shape[-2:]
    padded = F.pad(images, (padding, padding, padding, padding))
    result = images.clone()
    for i, (left, top) in enumerate(shifts):
        result[i] = padded[i, :, top : top + height, left : left + width]
    result[flips] = result[flips].flip(-1)
    return result


def crop_that_moves_the_image(images, shifts, flips, padding):
    height, width = images.shape[-2:]
    canvas = images.new_zeros(len(images), images.shape[1], height + 2 * padding, width + 2 * padding)
    for i, (top, left) in enumerate(shifts.tolist()):
        canvas[i, :, top : top + height, left : left + width] = images[i]
    windows = canvas[:, :, padding : padding + height, padding : padding + width]
    return torch.where(flips[:, None, None, None], windows.flip(-1), windows)


def crop_rows_only(images, shifts, flips, padding):
    height = images.shape[-2]
    padded = F.pad(images, (0, 0, padding, padding))
    windows = torch.stack([x[:, s : s + height] for x, s in zip(padded, shifts[:, 0].tolist(), strict=True)])
    return torch.where(flips[:, None, None, None], windows.flip(-1), windows)


def crop_columns_only(images, shifts, flips, padding):
    width = images.shape[-1]
    padded = F.pad(images, (padding, padding))
    windows = torch.stack([x[..., s : s + width] for x, s in zip(padded, shifts[:, 1].tolist(), strict=True)])
    return torch.where(flips[:, None, None, None], windows.flip(-1), windows)


def crop_nothing(images, shifts, flips, padding):
    return torch.where(flips[:, None, None, None], images.flip(-1), images)


def crop_counting_from_one(images, shifts, flips, padding):
    height, width = images.shape[-2:]
    padded = F.pad(images, (padding, padding, padding, padding))
    windows = [
        x[:, t + 1 : t + 1 + height, s + 1 : s + 1 + width] for x, (t, s) in zip(padded, shifts.tolist(), strict=True)
    ]
    windows = torch.stack(windows)
    return torch.where(flips[:, None, None, None], windows.flip(-1), windows)


def crop_from_the_middle(images, shifts, flips, padding):
    height, width = images.shape[-2:]
    padded = F.pad(images, (padding, padding, padding, padding))
    windows = []
    for image, (top, left) in zip(padded, (shifts + padding).tolist(), strict=True):
        windows.append(image[:, top : top + height, left : left + width])
    windows = torch.stack(windows)
    return torch.where(flips[:, None, None, None], windows.flip(-1), windows)


def crop_flipped_by(flip):
    """The loop's windows, then `flip(windows, flips)`."""

    def crop(images, shifts, flips, padding):
        return flip(crop_in_a_loop(images, shifts, torch.zeros_like(flips), padding), flips)

    return crop


def chosen(flips):
    return flips[:, None, None, None]


crop_upside_down = crop_flipped_by(lambda x, flips: torch.where(chosen(flips), x.flip(2), x))
crop_turned = crop_flipped_by(lambda x, flips: torch.where(chosen(flips), x.rot90(2, (2, 3)), x))
crop_with_colours_flipped = crop_flipped_by(lambda x, flips: torch.where(chosen(flips), x.flip(1), x))
crop_with_the_batch_flipped = crop_flipped_by(lambda x, flips: torch.where(chosen(flips), x.flip(0), x))
crop_flipping_all = crop_flipped_by(lambda x, flips: x.flip(-1) if flips.any() else x)
crop_flipping_none = crop_flipped_by(lambda x, flips: x)
crop_flipping_the_others = crop_flipped_by(lambda x, flips: torch.where(chosen(flips), x, x.flip(-1)))
crop_with_flat_flips = crop_flipped_by(lambda x, flips: torch.where(flips, x.flip(-1), x))


def crop_after_flipping(images, shifts, flips, padding):
    images = images.clone()
    images[flips] = images[flips].flip(-1)
    return crop_in_a_loop(images, shifts, torch.zeros_like(flips), padding)


def crop_padded_by(pad):
    """Windows out of `pad(images, padding)`."""

    def crop(images, shifts, flips, padding):
        height, width = images.shape[-2:]
        padded = pad(images, padding)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        windows = windows[torch.arange(len(images)), :, shifts[:, 0], shifts[:, 1]]
        return torch.where(flips[:, None, None, None], windows.flip(-1), windows)

    return crop


crop_with_edges = crop_padded_by(lambda x, p: F.pad(x, (p, p, p, p), mode="replicate"))
crop_with_reflection = crop_padded_by(lambda x, p: F.pad(x, (p, p, p, p), "reflect"))
crop_with_white = crop_padded_by(lambda x, p: F.pad(x, (p, p, p, p), value=1))
crop_in_a_ring = crop_padded_by(lambda x, p: F.pad(x, (p, p, p, p), "circular"))


def crop_padded_on_two_sides(images, shifts, flips, padding):
    B, C, height, width = images.shape
    padded = torch.zeros(B, C, height + 2 * padding, width + 2 * padding, dtype=images.dtype)
    padded[:, :, :height, :width] = images
    windows = [x[:, t : t + height, s : s + width] for x, (t, s) in zip(padded, shifts.tolist(), strict=True)]
    windows = torch.stack(windows)
    return torch.where(flips[:, None, None, None], windows.flip(-1), windows)


def crop_with_the_width_padded(images, shifts, flips, padding):
    height, width = images.shape[-2:]
    padded = F.pad(images, (padding, padding))
    windows = torch.stack(
        [x[:, t : t + height, s : s + width] for x, (t, s) in zip(padded, shifts.tolist(), strict=True)]
    )
    return torch.where(flips[:, None, None, None], windows.flip(-1), windows)


def crop_square_windows(images, shifts, flips, padding):
    h = images.shape[2]
    padded = F.pad(images, (padding, padding, padding, padding))
    windows = []
    for image, (top, left), flip in zip(padded, shifts, flips, strict=True):
        window = image[:, top : top + h, left : left + h]
        windows.append(window.flip(-1) if flip else window)
    return torch.stack(windows)


def crop_without_padding(images, shifts, flips, padding):
    height, width = images.shape[-2:]
    height, width = height - 2 * padding, width - 2 * padding
    windows = torch.stack(
        [x[:, t : t + height, s : s + width] for x, (t, s) in zip(images, shifts.tolist(), strict=True)]
    )
    windows[flips] = windows[flips].flip(-1)
    return windows


def crop_that_only_pads(images, shifts, flips, padding):
    padded = F.pad(images, (padding, padding, padding, padding))
    padded[flips] = padded[flips].flip(-1)
    return padded


def crop_without_an_end(images, shifts, flips, padding):
    padded = F.pad(images, (padding, padding, padding, padding))
    windows = torch.stack([x[:, t:, s:] for x, (t, s) in zip(padded, shifts.tolist(), strict=True)])
    return torch.where(flips[:, None, None, None], windows.flip(-1), windows)


def crop_flipping_in_place(images, shifts, flips, padding):
    for i in range(len(images)):
        if flips[i]:
            images[i] = images[i].flip(-1)
    height, width = images.shape[-2:]
    padded = F.pad(images, (padding, padding, padding, padding))
    return torch.stack([x[:, t : t + height, s : s + width] for x, (t, s) in zip(padded, shifts.tolist(), strict=True)])


# --- soft_cross_entropy ------------------------------------------------------------------------------


def entropy_by_logsumexp(logits, targets):
    # The targets sum to 1, so the logsumexp can stand outside.
    return (logits.logsumexp(dim=1) - (targets * logits).sum(dim=1)).mean()


def entropy_by_einsum(logits, targets):
    shifted = logits - logits.max(dim=-1, keepdim=True).values
    logs = shifted - shifted.exp().sum(dim=-1, keepdim=True).log()
    return -torch.einsum("bk,bk->", targets, logs) / logits.shape[0]


def entropy_of_the_softmax(logits, targets):
    return -(targets * torch.log(torch.softmax(logits, dim=1))).sum(dim=1).mean()


def entropy_that_overflows(logits, targets):
    logs = logits - torch.log(torch.exp(logits).sum(dim=1, keepdim=True))
    return -(targets * logs).sum(dim=1).mean()


def entropy_below_the_largest_of_all(logits, targets):
    powers = torch.exp(logits - logits.max())
    probabilities = powers / powers.sum(dim=1, keepdim=True)
    return -(targets * torch.log(probabilities)).sum(dim=1).mean()


def entropy_with_nan_to_num(logits, targets):
    products = targets * F.softmax(logits, dim=1).log()
    return -torch.nan_to_num(products, nan=0.0, neginf=0.0).sum(dim=1).mean()


def entropy_with_an_epsilon(logits, targets):
    probabilities = F.softmax(logits, dim=-1)
    return -(targets * torch.log(probabilities + 1e-8)).sum(dim=-1).mean()


def entropy_with_two_softmaxes(logits, targets):
    probabilities = torch.softmax(logits, dim=-1)
    return -(targets * torch.log_softmax(probabilities, dim=-1)).sum(dim=-1).mean()


def entropy_without_a_logarithm(logits, targets):
    return -(targets * logits.softmax(dim=1)).sum(dim=1).mean()


def entropy_without_a_softmax(logits, targets):
    return -(targets * logits).sum(dim=1).mean()


def entropy_by_sigmoid(logits, targets):
    return -(targets * nn.LogSigmoid()(logits)).sum(dim=1).mean()


def entropy_over_the_batch(logits, targets):
    return -(targets * F.log_softmax(logits, dim=0)).sum(dim=-1).mean()


def entropy_in_bits(logits, targets):
    return -(targets * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean() / 0.6931471805599453


def entropy_averaged_over_all(logits, targets):
    return torch.mean(-targets * F.log_softmax(logits, dim=-1))


def entropy_summed(logits, targets):
    return -(targets * F.log_softmax(logits, dim=-1)).sum()


def entropy_of_each_image(logits, targets):
    return -(targets * F.log_softmax(logits, dim=-1)).sum(dim=-1)


def entropy_averaged_then_summed(logits, targets):
    return (-(targets * F.log_softmax(logits, dim=-1)).mean(dim=1)).sum()


def entropy_without_the_minus(logits, targets):
    return (targets * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()


def entropy_of_the_largest_share(logits, targets):
    return F.nll_loss(F.log_softmax(logits, dim=-1), targets.argmax(dim=-1))


def divergence(logits, targets):
    known = torch.where(
        targets > 0, targets * targets.clamp(min=1e-300 if targets.dtype == torch.float64 else 1e-38).log(), 0
    )
    return (known - targets * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()


def entropy_swapped(logits, targets):
    return -(logits * F.log_softmax(targets, dim=-1)).sum(dim=-1).mean()


def squared_error(logits, targets):
    return (logits.softmax(dim=-1) - targets).pow(2).sum() / len(logits)


# --- mixup -------------------------------------------------------------------------------------------


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


def mixup_the_wrong_way_round(images, targets, partners, weight):
    w = weight[:, None, None, None]
    images = (1 - w) * images + w * images[partners]
    targets = (1 - weight[:, None]) * targets + weight[:, None] * targets[partners]
    return images, targets


def mixup_of_images_only(images, targets, partners, weight):
    w = weight[:, None, None, None]
    return w * images + (1 - w) * images[partners], targets


def mixup_of_targets_only(images, targets, partners, weight):
    w = weight[:, None]
    return images, w * targets + (1 - w) * targets[partners]


def mixup_with_opposite_weights(images, targets, partners, weight):
    w, v = weight[:, None, None, None], weight[:, None]
    return w * images + (1 - w) * images[partners], v * targets[partners] + (1 - v) * targets


def mixup_with_the_partners_targets(images, targets, partners, weight):
    w = weight[:, None, None, None]
    return w * images + (1 - w) * images[partners], targets[partners]


def mixup_with_the_heavier_target(images, targets, partners, weight):
    w = weight[:, None, None, None]
    heavier = targets.clone()
    heavier[weight < 0.5] = targets[partners][weight < 0.5]
    return w * images + (1 - w) * images[partners], heavier


def mixup_with_class_numbers(images, targets, partners, weight):
    w, v = weight[:, None, None, None], weight[:, None]
    mixed = v * targets + (1 - v) * targets[partners]
    return w * images + (1 - w) * images[partners], mixed.argmax(dim=1)


def mixup_with_the_first_weight(images, targets, partners, weight):
    w = weight[0]
    return w * images + (1 - w) * images[partners], w * targets + (1 - w) * targets[partners]


def mixup_with_the_mean_weight(images, targets, partners, weight):
    w = weight.mean()
    return torch.lerp(images[partners], images, w), torch.lerp(targets[partners], targets, w)


def mixup_half_and_half(images, targets, partners, weight):
    return (images + images[partners]) / 2, (targets + targets[partners]) / 2


def mixup_with_the_larger_weight(images, targets, partners, weight):
    return mixup_by_lerp(images, targets, partners, torch.where(weight < 0.5, 1 - weight, weight))


def mixup_too_bright(images, targets, partners, weight):
    w = weight[:, None, None, None]
    return w * images + images[partners], weight[:, None] * targets + targets[partners]


def mixup_giving_instead_of_taking(images, targets, partners, weight):
    mixed, shares = torch.empty_like(images), torch.empty_like(targets)
    for i, j in enumerate(partners.tolist()):
        mixed[j] = weight[j] * images[j] + (1 - weight[j]) * images[i]
        shares[j] = weight[j] * targets[j] + (1 - weight[j]) * targets[i]
    return mixed, shares


def mixup_with_the_batch_reversed(images, targets, partners, weight):
    return mixup_by_lerp(images, targets, torch.arange(len(images)).flip(0), weight)


def mixup_with_the_neighbour(images, targets, partners, weight):
    w, v = weight[:, None, None, None], weight[:, None]
    return w * images + (1 - w) * images.roll(1, dims=0), v * targets + (1 - v) * targets.roll(1, dims=0)


def mixup_with_targets_of_others(images, targets, partners, weight):
    w, v = weight[:, None, None, None], weight[:, None]
    back = torch.argsort(partners)
    return w * images + (1 - w) * images[partners], v * targets + (1 - v) * targets[back]


def mixup_with_the_partners_weight(images, targets, partners, weight):
    return mixup_by_lerp(images, targets, partners, weight[partners])


def mixup_in_a_careless_loop(images, targets, partners, weight):
    images, targets = images.clone(), targets.clone()
    for i in range(len(images)):
        j, w = partners[i], weight[i]
        images[i] = w * images[i] + (1 - w) * images[j]
        targets[i] = w * targets[i] + (1 - w) * targets[j]
    return images, targets


def mixup_in_a_careless_loop_in_place(images, targets, partners, weight):
    for i in range(len(images)):
        j, w = partners[i], weight[i]
        images[i] = w * images[i] + (1 - w) * images[j]
        targets[i] = w * targets[i] + (1 - w) * targets[j]
    return images, targets


def mixup_scaled_too_early(images, targets, partners, weight):
    w, v = weight[:, None, None, None], weight[:, None]
    images *= w
    images += (1 - w) * images[partners]
    targets *= v
    targets += (1 - v) * targets[partners]
    return images, targets


def mixup_in_place(images, targets, partners, weight):
    w, v = weight[:, None, None, None], weight[:, None]
    others, other_targets = images[partners], targets[partners]
    images *= w
    images += (1 - w) * others
    targets *= v
    targets += (1 - v) * other_targets
    return images, targets


def mixup_with_flat_weights(images, targets, partners, weight):
    images = weight * images + (1 - weight) * images[partners]
    targets = weight[:, None] * targets + (1 - weight[:, None]) * targets[partners]
    return images, targets


def mixup_returning_images(images, targets, partners, weight):
    w = weight[:, None, None, None]
    return w * images + (1 - w) * images[partners]


# --- ema_update --------------------------------------------------------------------------------------


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
    for name, old in average.named_parameters():
        state[name] = decay * old + (1 - decay) * state[name]
    average.load_state_dict(state)


def ema_that_returns_the_average(average, model, decay):
    with torch.no_grad():
        torch._foreach_mul_(list(average.parameters()), decay)
        torch._foreach_add_(list(average.parameters()), list(model.parameters()), alpha=1 - decay)
        for name, buffer in average.named_buffers():
            buffer.copy_(model.get_buffer(name))
    return average


def ema_the_wrong_way_round(average, model, decay):
    with torch.no_grad():
        for old, new in zip(average.parameters(), model.parameters(), strict=True):
            old.lerp_(new, decay)
        for old, new in zip(average.buffers(), model.buffers(), strict=True):
            old.copy_(new)


def copies(average, model, decay):
    average.load_state_dict(model.state_dict())


@torch.no_grad()
def buffers_copied(average, model):
    for old, new in zip(average.buffers(), model.buffers(), strict=True):
        old.copy_(new)


@torch.no_grad()
def ema_half_and_half(average, model, decay):
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old.add_(new).div_(2)
    buffers_copied(average, model)


def ema_that_grows(average, model, decay):
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old.data += (1 - decay) * new.data
    buffers_copied(average, model)


def ema_that_leads_away(average, model, decay):
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old.data.copy_(decay * old.data - (1 - decay) * new.data)
    buffers_copied(average, model)


def ema_of_the_model(average, model, decay):
    ema_by_lerp(model, average, decay)


def ema_given_to_the_model(average, model, decay):
    ema_by_lerp(average, model, decay)
    model.load_state_dict(average.state_dict())


def ema_without_buffers(average, model, decay):
    with torch.no_grad():
        for old, new in zip(average.parameters(), model.parameters(), strict=True):
            old.lerp_(new, 1 - decay)


def ema_sharing_buffers(average, model, decay):
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old.data.lerp_(new.data, 1 - decay)
    for old, new in zip(average.buffers(), model.buffers(), strict=True):
        old.data = new.data


@torch.no_grad()
def ema_of_the_state_dict_by_copying(average, model, decay):
    other = model.state_dict()
    for name, value in average.state_dict().items():
        value.copy_(decay * value + (1 - decay) * other[name])


@torch.no_grad()
def ema_of_what_is_floating(average, model, decay):
    other = model.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.mul_(decay).add_(other[name], alpha=1 - decay)


@torch.no_grad()
def ema_of_what_is_floating_with_the_counter(average, model, decay):
    other = model.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(other[name], 1 - decay)
        else:
            value.copy_(other[name])


@torch.no_grad()
def ema_of_the_whole_state_dict(average, model, decay):
    other = model.state_dict()
    for name, value in average.state_dict().items():
        value.mul_(decay).add_(other[name], alpha=1 - decay)


def ema_with_gradients(average, model, decay):
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old.mul_(decay).add_((1 - decay) * new)
    for old, new in zip(average.buffers(), model.buffers(), strict=True):
        old.copy_(new)


def ema_of_what_requires_gradients(average, model, decay):
    with torch.no_grad():
        for old, new in zip(average.parameters(), model.parameters(), strict=True):
            if not old.requires_grad:
                continue
            old.lerp_(new, 1 - decay)
    buffers_copied(average, model)


def ema_with_new_parameters(average, model, decay):
    for mine, other in zip(average.modules(), model.modules(), strict=True):
        for name, new in list(other.named_parameters(recurse=False)):
            old = getattr(mine, name)
            setattr(mine, name, nn.Parameter((decay * old + (1 - decay) * new).detach()))
    buffers_copied(average, model)


def ema_of_names(average, model, decay):
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old = decay * old + (1 - decay) * new


def ema_returned(average, model, decay):
    other, result = model.state_dict(), {}
    for name, value in average.state_dict().items():
        result[name] = decay * value + (1 - decay) * other[name]
    return result


def ema_of_a_copy(average, model, decay):
    result = copy.deepcopy(average)
    ema_by_lerp(result, model, decay)
    return result


def ema_of_gradients(average, model, decay):
    with torch.no_grad():
        for old, new in zip(average.parameters(), model.parameters(), strict=True):
            old.lerp_(new.grad, 1 - decay)
    buffers_copied(average, model)


@torch.no_grad()
def ema_of_weights_without_biases(average, model, decay):
    other = dict(model.named_parameters())
    for name, old in average.named_parameters():
        if "bias" not in name:
            old.lerp_(other[name], 1 - decay)
    buffers_copied(average, model)


@torch.no_grad()
def ema_of_matrices(average, model, decay):
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        if old.dim() >= 2:
            old.lerp_(new, 1 - decay)
    buffers_copied(average, model)


RIGHT = {
    "random_crop_flip": (crop_in_a_loop, crop_by_row_and_column_numbers, crop_mirroring_shift_and_image),
    "soft_cross_entropy": (entropy_by_logsumexp, entropy_by_einsum),
    "mixup": (mixup_by_lerp, mixup_image_by_image, mixup_by_a_matrix),
    "ema_update": (ema_by_lerp, ema_by_data, ema_by_loading, ema_that_returns_the_average),
}
WRONG = {
    "random_crop_flip": {
        crop_the_batch_at_once: "all images get the shift of the first",
        crop_with_x_before_y: "rows and columns are swapped",
        crop_that_moves_the_image: "the windows go the other way",
        crop_rows_only: "only the rows",
        crop_columns_only: "only the columns",
        crop_nothing: "nothing is shifted",
        crop_counting_from_one: "one pixel too late",
        crop_from_the_middle: "at padding + shift",
        crop_upside_down: "upside down",
        crop_turned: "180 degrees",
        crop_with_colours_flipped: "turn the colours round",
        crop_with_the_batch_flipped: "turns the batch round",
        crop_flipping_all: "all images are mirrored",
        crop_flipping_none: "no image is mirrored",
        crop_flipping_the_others: "the wrong half",
        crop_with_flat_flips: "lines it up with the columns",
        crop_after_flipping: "you mirror first",
        crop_with_edges: "the pixels at the edge",
        crop_with_reflection: "a mirror image",
        crop_with_white: "pad with ones",
        crop_in_a_ring: "a ring",
        crop_padded_on_two_sides: "at the bottom and on the right only",
        crop_with_the_width_padded: "only the width",
        crop_without_padding: "without padding",
        crop_square_windows: "need not be square",
        crop_that_only_pads: "you return the padded images",
        crop_without_an_end: "no end",
        crop_flipping_in_place: "the images of your caller",
    },
    "soft_cross_entropy": {
        entropy_of_the_softmax: "0 · -inf is NaN",
        entropy_that_overflows: "exp overflows",
        entropy_below_the_largest_of_all: "each row has its own largest",
        entropy_with_nan_to_num: "nan_to_num hides",
        entropy_with_an_epsilon: "a small number inside",
        entropy_with_two_softmaxes: "softmax twice",
        entropy_without_a_logarithm: "the logarithm is missing",
        entropy_without_a_softmax: "the softmax is missing",
        entropy_by_sigmoid: "a sigmoid",
        entropy_over_the_batch: "over the batch: over the classes",
        entropy_in_bits: "base 2",
        entropy_averaged_over_all: "the mean over the classes as well",
        entropy_summed: "you sum over the batch: average",
        entropy_of_each_image: "one number for each image",
        entropy_averaged_then_summed: "the other way round",
        entropy_without_the_minus: "the minus is missing",
        entropy_of_the_largest_share: "largest class only",
        divergence: "Kullback-Leibler",
        entropy_swapped: "are swapped",
        squared_error: "squared error",
    },
    "mixup": {
        mixup_the_wrong_way_round: "the weights are the wrong way round",
        mixup_of_images_only: "the targets are not mixed",
        mixup_of_targets_only: "the images are not mixed",
        mixup_with_opposite_weights: "opposite weights",
        mixup_with_the_partners_targets: "all the partner's",
        mixup_with_the_heavier_target: "the heavier target",
        mixup_with_class_numbers: "class numbers",
        mixup_with_the_first_weight: "the first: each",
        mixup_with_the_mean_weight: "the mean: each",
        mixup_half_and_half: "half and half",
        mixup_with_the_larger_weight: "the larger of",
        mixup_too_bright: "too bright",
        mixup_giving_instead_of_taking: "you give each image to its partner",
        mixup_with_the_batch_reversed: "the batch turned round",
        mixup_with_the_neighbour: "neighbouring row",
        mixup_with_targets_of_others: "the targets with another",
        mixup_with_the_partners_weight: "weight[partners]",
        mixup_in_a_careless_loop: "mixed already",
        mixup_in_a_careless_loop_in_place: "rows that you have already mixed",
        mixup_scaled_too_early: "scaled before",
        mixup_in_place: "the numbers are right",
        mixup_with_flat_weights: "lines it up with the columns",
        mixup_returning_images: "the images only",
    },
    "ema_update": {
        ema_the_wrong_way_round: "decay is the wrong way round",
        copies: "you copy the model",
        ema_half_and_half: "half of each",
        ema_that_grows: "grows with every step",
        ema_that_leads_away: "away from the model",
        ema_of_the_model: "you update the model",
        ema_given_to_the_model: "is given the average",
        ema_without_buffers: "the buffers are forgotten",
        ema_sharing_buffers: "the model's own memory",
        ema_of_the_state_dict_by_copying: "cut to a whole number",
        ema_of_what_is_floating: "leave the counter",
        ema_of_what_is_floating_with_the_counter: "copy only the counter",
        ema_of_the_whole_state_dict: "a state dict holds buffers too",
        ema_with_gradients: "gradients are recorded",
        ema_of_what_requires_gradients: "only parameters that are trained",
        ema_with_new_parameters: "you put new parameters",
        ema_of_names: "the name old",
        ema_returned: "you return the averages",
        ema_of_a_copy: "you change a copy",
        ema_of_gradients: "you average the gradients",
        ema_of_weights_without_biases: "biases are left out: all",
        ema_of_matrices: "vectors are left out",
    },
}
