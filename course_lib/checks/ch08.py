"""The exercises of chapter 08, small data and inductive bias."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.checks.exercise import Exercise, Mistake
from course_lib.checks.staged import StagedExercise


def _normal(generator):
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


# --- random_crop_flip --------------------------------------------------------------------------------


def _crop_probes(generator):
    """Images of all kinds of sizes. The first three shifts and flips are chosen so that every mistake shows."""
    probes = []
    for (B, C, h, w), p in (((5, 3, 6, 7), 2), ((4, 1, 8, 5), 1), ((6, 2, 9, 9), 3), ((3, 4, 5, 6), 0)):
        shifts = torch.randint(2 * p + 1, (B, 2), generator=generator)
        shifts[:3] = torch.tensor([[0, 2 * p], [2 * p, p], [p, 0]])
        flips = torch.rand(B, generator=generator) < 0.5
        flips[:3] = torch.tensor([True, False, True])
        probes.append(
            {"images": _normal(generator)(B, C, h, w), "shifts": shifts, "flips": flips, "padding": p},
        )
    probes[2]["images"] = probes[2]["images"].float()
    return probes


def _crop(images, shifts, padding, *, begin=lambda top, left, p: (top, left), pad=F.pad):
    """Each image's window out of the padded image, one after the other."""
    height, width = images.shape[-2:]
    padded = pad(images, (padding, padding, padding, padding))
    windows = []
    for image, shift in zip(padded, shifts.tolist(), strict=True):
        top, left = begin(*shift, padding)
        windows.append(image[:, top : top + height, left : left + width])
    return torch.stack(windows)


def _flip(images, flips, dims=-1):
    chosen = flips.view(-1, *[1] * (images.ndim - 1))
    return torch.where(chosen, images.flip(dims), images)


def _crop_flip(images, shifts, flips, padding):
    return _flip(_crop(images, shifts, padding), flips)


def _crop_from(begin):
    """The right answer, but for where the windows begin: `begin(top, left, padding)`."""
    return lambda images, shifts, flips, padding: _flip(_crop(images, shifts, padding, begin=begin), flips)


def _crop_padded_by(pad):
    """The right answer, but for how it pads: `pad(images, sides)`."""
    return lambda images, shifts, flips, padding: _flip(_crop(images, shifts, padding, pad=pad), flips)


def _flipped_by(flip):
    """The right crop, then `flip(images, flips)`."""
    return lambda images, shifts, flips, padding: flip(_crop(images, shifts, padding), flips)


def _crop_the_same_for_all(images, shifts, flips, padding):
    return _crop_flip(images, shifts[:1].expand_as(shifts), flips, padding)


def _crop_rolled(images, shifts, flips, padding):
    moved = [
        image.roll((padding - top, padding - left), (-2, -1))
        for image, (top, left) in zip(images, shifts.tolist(), strict=True)
    ]
    return _flip(torch.stack(moved), flips)


def _crop_without_padding(images, shifts, flips, padding):
    height, width = images.shape[-2] - 2 * padding, images.shape[-1] - 2 * padding
    windows = [
        image[:, top : top + height, left : left + width]
        for image, (top, left) in zip(images, shifts.tolist(), strict=True)
    ]
    return _flip(torch.stack(windows), flips)


def _crop_to_the_end(images, shifts, flips, padding):
    padded = F.pad(images, (padding, padding, padding, padding))
    return _flip(torch.stack([i[:, t:, s:] for i, (t, s) in zip(padded, shifts.tolist(), strict=True)]), flips)


def _crop_square(images, shifts, flips, padding):
    height = images.shape[-2]
    padded = F.pad(images, (padding, padding, padding, padding))
    windows = [
        image[:, top : top + height, left : left + height]
        for image, (top, left) in zip(padded, shifts.tolist(), strict=True)
    ]
    return _flip(torch.stack(windows), flips)


def _padded_only(images, shifts, flips, padding):
    return _flip(F.pad(images, (padding, padding, padding, padding)), flips)


def _flipped_in_the_input(images, shifts, flips, padding):
    images[flips] = images[flips].flip(-1)
    return _crop(images, shifts, padding)


def _flip_with_flat_choice(images, flips):
    return torch.where(flips, images.flip(-1), images)


RANDOM_CROP_FLIP = Exercise(
    name="random_crop_flip",
    chapter="08",
    signature="random_crop_flip(images, shifts, flips, padding)",
    task="pad each image with `padding` zeros on every side, cut out the window of the old size that begins at its own row shifts[i, 0] and column shifts[i, 1], and mirror it left to right where flips[i] is True: (B, C, h, w) -> (B, C, h, w).",
    probes=_crop_probes,
    oracle=_crop_flip,
    mistakes=(
        Mistake(
            "all images get the shift of the first: each has its own, shifts[i].",
            _crop_the_same_for_all,
        ),
        Mistake(
            "rows and columns are swapped: shifts[:, 0] counts from the top, shifts[:, 1] from the left.",
            _crop_from(lambda top, left, p: (left, top)),
        ),
        Mistake(
            "the windows go the other way: a window that begins further down shows what is further down, it begins at row `shift`, not at 2·padding - shift.",
            _crop_from(lambda top, left, p: (2 * p - top, 2 * p - left)),
        ),
        Mistake(
            "only the rows are shifted: the window begins at column shifts[i, 1].",
            _crop_from(lambda top, left, p: (top, p)),
        ),
        Mistake(
            "only the columns are shifted: the window begins at row shifts[i, 0].",
            _crop_from(lambda top, left, p: (p, left)),
        ),
        Mistake(
            "nothing is shifted: cut the window out of the padded image, from row shifts[i, 0] and column shifts[i, 1].",
            lambda images, shifts, flips, padding: _flip(images, flips),
        ),
        Mistake(
            "the windows begin one pixel too late: the first row is number 0, so a shift of 0 begins at row 0 of the padded image.",
            _crop_from(lambda top, left, p: (top + 1, left + 1)),
        ),
        Mistake(
            "the windows begin at padding + shift: a shift of 0 begins at the very edge of the padded image, and `padding` is the middle.",
            _crop_from(lambda top, left, p: (top + p, left + p)),
        ),
        Mistake(
            "you mirror upside down: left to right is the last dimension, flip(-1).",
            _flipped_by(lambda images, flips: _flip(images, flips, -2)),
        ),
        Mistake(
            "you turn by 180 degrees: flip the last dimension only.",
            _flipped_by(lambda images, flips: _flip(images, flips, (-2, -1))),
        ),
        Mistake(
            "you turn the colours round, not the columns: flip(-1), since dimension 1 is the channels.",
            _flipped_by(lambda images, flips: _flip(images, flips, 1)),
        ),
        Mistake(
            "flip(0) turns the batch round, so images change places with others: flip(-1) mirrors each.",
            _flipped_by(lambda images, flips: _flip(images, flips, 0)),
        ),
        Mistake(
            "all images are mirrored: only those with flips[i].",
            _flipped_by(lambda images, flips: images.flip(-1)),
        ),
        Mistake(
            "no image is mirrored: those with flips[i] are.",
            _flipped_by(lambda images, flips: images),
        ),
        Mistake(
            "the wrong half is mirrored: torch.where(condition, a, b) takes a where the condition is True.",
            _flipped_by(lambda images, flips: _flip(images, ~flips)),
        ),
        Mistake(
            "you mirror first and cut afterwards, so a shift to the left becomes one to the right: cut first.",
            lambda images, shifts, flips, padding: _crop(_flip(images, flips), shifts, padding),
        ),
        Mistake(
            "you pad with the pixels at the edge: pad with zeros, which is F.pad's own way.",
            _crop_padded_by(lambda images, sides: F.pad(images, sides, mode="replicate")),
        ),
        Mistake(
            "you pad with a mirror image: pad with zeros, which is F.pad's own way.",
            _crop_padded_by(lambda images, sides: F.pad(images, sides, mode="reflect")),
        ),
        Mistake(
            "you pad with ones: black is 0 here.",
            _crop_padded_by(lambda images, sides: F.pad(images, sides, value=1.0)),
        ),
        Mistake(
            "what leaves on one side comes in on the other: torch.roll is a ring; pad with zeros and cut.",
            _crop_rolled,
        ),
        Mistake(
            "you pad at the bottom and on the right only: `padding` pixels on each of the four sides.",
            _crop_padded_by(lambda images, sides: F.pad(images, (0, 2 * sides[1], 0, 2 * sides[3]))),
        ),
        Mistake(
            "only the width is padded: F.pad takes the sides from the last dimension backwards, left, right, top, bottom.",
            _crop_padded_by(lambda images, sides: F.pad(images, sides[:2])),
        ),
        Mistake(
            "you cut without padding, and the images become smaller: pad first.",
            _crop_without_padding,
        ),
        Mistake(
            "you return the padded images: cut a window of the old size out of each.",
            _padded_only,
        ),
        Mistake(
            "your windows have no end: rows from shift to shift + h, columns likewise.",
            _crop_to_the_end,
        ),
        Mistake(
            "the windows are as wide as they are high: columns from shift to shift + w, images need not be square.",
            _crop_square,
        ),
        Mistake(
            "you mirror the images of your caller: torch.where makes new ones. And cut first.",
            _flipped_in_the_input,
        ),
        Mistake(
            "flips is (B,), and PyTorch lines it up with the columns: flips[:, None, None, None] is one for each image.",
            _flipped_by(_flip_with_flat_choice),
        ),
    ),
)


# --- soft_cross_entropy ------------------------------------------------------------------------------


def _entropy_probes(generator):
    normal = _normal(generator)

    def shares(B, K):
        return normal(B, K).softmax(dim=-1)

    probes = []
    for B, K in ((4, 3), (2, 7), (1, 5)):
        targets = shares(B, K)
        targets[0] = F.one_hot(torch.randint(K, (), generator=generator), K)  # a target as it comes, with zeros
        probes.append({"logits": 2 * normal(B, K), "targets": targets})
    far_away = torch.tensor([[900.0], [-900.0], [0.0]], dtype=torch.float64)  # exp overflows
    probes.append({"logits": normal(3, 6) + far_away, "targets": shares(3, 6)})
    far_apart = torch.tensor([-800.0, 0.0, -500.0, -1.0], dtype=torch.float64)  # softmax gives an exact 0
    targets = shares(3, 4)
    targets[1] = F.one_hot(torch.tensor(1), 4)
    probes.append({"logits": normal(3, 4) + far_apart, "targets": targets})
    probes.append({"logits": normal(5, 8).float().requires_grad_(), "targets": shares(5, 8).float()})
    return probes


def _soft_cross_entropy(logits, targets):
    logs = logits - torch.logsumexp(logits, dim=-1, keepdim=True)
    return -torch.einsum("bk,bk->b", targets, logs).sum() / len(logits)


def _entropy_with(logs):
    """The right mean with other logarithms of the probabilities: `logs(logits)`."""
    return lambda logits, targets: -(targets * logs(logits)).sum(dim=-1).mean()


def _entropy_of(reduce):
    """The right products (B, classes), put together by `reduce`."""
    return lambda logits, targets: reduce(-targets * logits.log_softmax(dim=-1))


def _logs_below_the_largest(logits):
    lower = logits - logits.max()
    return lower - lower.exp().sum(dim=-1, keepdim=True).log()


def _shares_below_the_largest(logits):
    powers = (logits - logits.max()).exp()
    return (powers / powers.sum(dim=-1, keepdim=True)).log()


_TINY = (1e-7, 1e-8, 1e-9, 1e-10, 1e-12)  # what people add so that a logarithm stays finite


def _best_classes(logits, targets):
    return -logits.log_softmax(dim=-1).gather(1, targets.argmax(dim=-1, keepdim=True)).mean()


SOFT_CROSS_ENTROPY = Exercise(
    name="soft_cross_entropy",
    chapter="08",
    signature="soft_cross_entropy(logits, targets)",
    task="take the logarithm of each row's softmax, multiply by the targets, sum over the classes with a minus, and average over the batch: (B, classes), (B, classes) -> one number.",
    probes=_entropy_probes,
    oracle=_soft_cross_entropy,
    forbidden=("torch.nn.functional.cross_entropy",),
    mistakes=(
        Mistake(
            "log(softmax) breaks down: a probability that underflows to 0 has the logarithm -inf, and 0 · -inf is NaN; log_softmax never leaves the logarithms.",
            _entropy_with(lambda logits: logits.softmax(dim=-1).log()),
        ),
        Mistake(
            "exp overflows for logits near 900: use log_softmax or logsumexp, which subtract the largest first.",
            _entropy_with(lambda logits: logits - logits.exp().sum(dim=-1, keepdim=True).log()),
        ),
        *(
            Mistake(
                "the largest logit of the whole batch is subtracted, and the other rows underflow: each row has its own largest, as in log_softmax.",
                _entropy_with(logs),
            )
            for logs in (_logs_below_the_largest, _shares_below_the_largest)
        ),
        Mistake(
            "nan_to_num hides what log(softmax) has lost, and the answer is a wrong one: log_softmax never leaves the logarithms.",
            lambda logits, targets: -(targets * logits.softmax(dim=-1).log()).nan_to_num(neginf=0.0).sum(dim=-1).mean(),
        ),
        *(
            Mistake(
                "a small number inside the logarithm, added or as a clamp, hides the infinity and changes the answer: log_softmax needs none.",
                _entropy_with(lambda logits, tiny=tiny: (logits.softmax(dim=-1) + tiny).log()),
            )
            for tiny in _TINY
        ),
        Mistake(
            "softmax twice: log_softmax does it already, so give it the logits.",
            _entropy_with(lambda logits: logits.softmax(dim=-1).log_softmax(dim=-1)),
        ),
        Mistake(
            "the logarithm is missing: -(targets · log p), not -(targets · p).",
            _entropy_with(lambda logits: logits.softmax(dim=-1)),
        ),
        Mistake(
            "the softmax is missing: logits are not logarithms of probabilities until log_softmax has been there.",
            _entropy_with(lambda logits: logits),
        ),
        Mistake(
            "a sigmoid looks at each class alone: the classes share one probability, so log_softmax.",
            _entropy_with(F.logsigmoid),
        ),
        Mistake(
            "the softmax runs over the batch: over the classes, dim=-1.",
            _entropy_with(lambda logits: logits.log_softmax(dim=0)),
        ),
        Mistake(
            "logarithms to the base 2: cross-entropy counts with the natural ones.",
            _entropy_with(lambda logits: logits.log_softmax(dim=-1) / torch.log(logits.new_tensor(2.0))),
        ),
        Mistake(
            "you take the mean over the classes as well: sum over them, then average over the batch.",
            _entropy_of(lambda products: products.mean()),
        ),
        Mistake(
            "you sum over the batch: average over it, or a larger batch means larger steps.",
            _entropy_of(lambda products: products.sum()),
        ),
        Mistake(
            "one number for each image: average them.",
            _entropy_of(lambda products: products.sum(dim=-1)),
        ),
        Mistake(
            "you average over the classes and sum over the batch: the other way round.",
            _entropy_of(lambda products: products.mean(dim=-1).sum()),
        ),
        Mistake(
            "the minus is missing: logarithms of probabilities are negative, the loss is not.",
            _entropy_of(lambda products: -products.sum(dim=-1).mean()),
        ),
        Mistake(
            "you take each target's largest class only: all classes count, each by its share.",
            _best_classes,
        ),
        Mistake(
            "you subtract the entropy of the targets: that is the Kullback-Leibler divergence; here it stays in.",
            lambda logits, targets: F.kl_div(logits.log_softmax(dim=-1), targets, reduction="batchmean"),
        ),
        Mistake(
            "logits and targets are swapped: the softmax is for the logits.",
            lambda logits, targets: -(logits * targets.log_softmax(dim=-1)).sum(dim=-1).mean(),
        ),
        Mistake(
            "this is a squared error: cross-entropy is -(targets · log p).",
            lambda logits, targets: ((logits.softmax(dim=-1) - targets) ** 2).sum(dim=-1).mean(),
        ),
    ),
)


# --- mixup -------------------------------------------------------------------------------------------


def _mixup_probes(generator):
    """Partners in one long circle, so that none is its partner's partner."""
    probes = []
    for B, C, h, w, K in ((3, 2, 5, 4, 6), (5, 3, 4, 6, 4), (4, 1, 3, 7, 9), (6, 2, 4, 3, 5)):
        order = torch.randperm(B, generator=generator)
        partners = torch.empty_like(order)
        partners[order] = order.roll(1)
        targets = F.one_hot(torch.randint(K, (B,), generator=generator), K).double()
        if B == 4:
            targets = 0.9 * targets + 0.1 / K  # smoothed already
        weight = 0.1 + 0.8 * torch.rand(B, generator=generator, dtype=torch.float64)
        weight[:2] = torch.tensor([0.3, 0.9]) + 0.05 * weight[:2]  # one below a half, one above
        targets[0] = targets[partners[0]].roll(1)  # never of its partner's class
        probes.append(
            {"images": _normal(generator)(B, C, h, w), "targets": targets, "partners": partners, "weight": weight}
        )
    for name in ("images", "targets", "weight"):
        probes[3][name] = probes[3][name].float()
    return probes


def _blend(values, others, weight):
    weight = weight.view(-1, *[1] * (values.ndim - 1))
    return weight * values + (1 - weight) * others


def _mixup(images, targets, partners, weight):
    return _blend(images, images[partners], weight), _blend(targets, targets[partners], weight)


def _mixup_with(blend):
    """Images and targets both by `blend(values, partners, weight)`."""
    return lambda images, targets, partners, weight: (
        blend(images, partners, weight),
        blend(targets, partners, weight),
    )


def _mixup_with_weights(change):
    """The right answer to other weights."""
    return lambda images, targets, partners, weight: _mixup(images, targets, partners, change(weight))


def _mixup_with_targets(mix):
    """The right images, with targets by `mix(targets, partners, weight)`."""
    return lambda images, targets, partners, weight: (
        _blend(images, images[partners], weight),
        mix(targets, partners, weight),
    )


def _inverse(partners):
    return partners.argsort()


def _one_after_the_other(values, partners, weight):
    values = values.clone()
    for i, partner in enumerate(partners.tolist()):
        values[i] = weight[i] * values[i] + (1 - weight[i]) * values[partner]
    return values


def _one_after_the_other_in_place(values, partners, weight):
    values.copy_(_one_after_the_other(values, partners, weight))
    return values


def _scaled_in_place(values, partners, weight):
    shape = (-1, *[1] * (values.ndim - 1))
    values *= weight.view(shape)
    values += (1 - weight).view(shape) * values[partners]
    return values


def _mixup_in_place(images, targets, partners, weight):
    mixed = _mixup(images, targets, partners, weight)
    images.copy_(mixed[0])
    targets.copy_(mixed[1])
    return images, targets


def _mixup_with_flat_weights(images, targets, partners, weight):
    return (
        weight * images + (1 - weight) * images[partners],
        weight[:, None] * targets + (1 - weight[:, None]) * targets[partners],
    )


MIXUP = Exercise(
    name="mixup",
    chapter="08",
    signature="mixup(images, targets, partners, weight)",
    task="return the mixed images and the mixed targets, both weight[i] times their own row i plus 1 - weight[i] times row partners[i]: (B, C, h, w), (B, classes).",
    probes=_mixup_probes,
    oracle=_mixup,
    parts=("images", "targets"),
    mistakes=(
        Mistake(
            "the weights are the wrong way round: weight[i] is the image's own share, 1 - weight[i] its partner's.",
            _mixup_with_weights(lambda weight: 1 - weight),
        ),
        Mistake(
            "the targets are not mixed: an image that is 70 % cat has a target that is 70 % cat.",
            _mixup_with_targets(lambda targets, partners, weight: targets),
        ),
        Mistake(
            "the images are not mixed: blend the pixels as you blend the targets.",
            lambda images, targets, partners, weight: (images, _blend(targets, targets[partners], weight)),
        ),
        Mistake(
            "images and targets have opposite weights: both weight for the own row, 1 - weight for the partner's.",
            _mixup_with_targets(lambda targets, partners, weight: _blend(targets, targets[partners], 1 - weight)),
        ),
        Mistake(
            "the targets are all the partner's: mix them as you mix the images.",
            _mixup_with_targets(lambda targets, partners, weight: targets[partners]),
        ),
        Mistake(
            "you keep only the heavier target: the share of each class stays in, weight and 1 - weight.",
            _mixup_with_targets(
                lambda targets, partners, weight: torch.where(weight[:, None] > 0.5, targets, targets[partners])
            ),
        ),
        Mistake(
            "the targets become class numbers: shares go in and shares come out, (B, classes).",
            _mixup_with_targets(
                lambda targets, partners, weight: _blend(targets, targets[partners], weight).argmax(dim=-1)
            ),
        ),
        Mistake(
            "one weight for all images, the first: each has its own.",
            _mixup_with_weights(lambda weight: weight[:1].expand_as(weight)),
        ),
        Mistake(
            "one weight for all images, the mean: each has its own.",
            _mixup_with_weights(lambda weight: weight.mean().expand_as(weight)),
        ),
        Mistake(
            "you mix half and half: weight[i] says how much.",
            _mixup_with_weights(lambda weight: torch.full_like(weight, 0.5)),
        ),
        Mistake(
            "you use the larger of weight and 1 - weight: take it as it is given.",
            _mixup_with_weights(lambda weight: torch.maximum(weight, 1 - weight)),
        ),
        Mistake(
            "weight · own + partner: the partner gets the rest, 1 - weight, or everything becomes too bright.",
            _mixup_with(lambda values, partners, weight: _blend(values, 0.0, weight) + values[partners]),
        ),
        Mistake(
            "you give each image to its partner: row i is mixed with row partners[i], so values[partners], not the other direction.",
            _mixup_with(lambda values, partners, weight: _blend(values, values[_inverse(partners)], weight)),
        ),
        Mistake(
            "you mix with the batch turned round: the partner of row i is row partners[i].",
            _mixup_with(lambda values, partners, weight: _blend(values, values.flip(0), weight)),
        ),
        Mistake(
            "you mix with the neighbouring row: the partner of row i is row partners[i].",
            _mixup_with(lambda values, partners, weight: _blend(values, values.roll(1, 0), weight)),
        ),
        Mistake(
            "the images are mixed with one partner and the targets with another: partners for both.",
            _mixup_with_targets(lambda targets, partners, weight: _blend(targets, targets[_inverse(partners)], weight)),
        ),
        Mistake(
            "the partner's weight is taken too, weight[partners]: row i has weight[i] and 1 - weight[i].",
            lambda images, targets, partners, weight: _mixup(images, targets, partners, weight[partners]),
        ),
        Mistake(
            "your loop mixes with rows that it has mixed already: read from the old images, write into new ones.",
            _mixup_with(_one_after_the_other),
        ),
        *(
            Mistake(
                "your loop writes into your caller's tensors, so you read rows that you have already mixed: write into new ones.",
                gives,
            )
            for gives in (
                _mixup_with(_one_after_the_other_in_place),
                lambda images, targets, partners, weight: (
                    _one_after_the_other_in_place(images, partners, weight),
                    _blend(targets, targets[partners], weight),
                ),
            )
        ),
        Mistake(
            "the rows are scaled before their partners are read, and your caller's tensors change: compute new ones.",
            _mixup_with(_scaled_in_place),
        ),
        Mistake(
            "the numbers are right, but your caller's images change: return new ones.",
            _mixup_in_place,
        ),
        Mistake(
            "weight is (B,), and PyTorch lines it up with the columns: weight[:, None, None, None] is one for each image.",
            _mixup_with_flat_weights,
        ),
        Mistake(
            "you return the images only: the targets are the other half.",
            lambda images, targets, partners, weight: _mixup(images, targets, partners, weight)[0],
        ),
    ),
)


# --- ema_update --------------------------------------------------------------------------------------


class _Unseen(nn.Module):
    """A model that nobody has looked at. At the first look it becomes a plain one; an empty stub never looks."""

    def __getattribute__(self, name):
        object.__setattr__(self, "__class__", nn.Module)
        return getattr(self, name)


_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def _net(state):
    """A model with this state dict, as after a backward pass. It need not run, so its parts are plain modules."""
    net, parts = nn.Module(), {}
    for name, value in state.items():
        part, own = name.split(".")
        if part not in parts:
            parts[part] = nn.Module()
            net.add_module(part, parts[part])
        if own in _BUFFERS:
            parts[part].register_buffer(own, value.clone())
        else:
            parameter = nn.Parameter(value.detach().clone(), requires_grad=value.requires_grad)
            parameter.grad = value.detach().cos()
            parts[part].register_parameter(own, parameter)
    return net


def _tensors_of(net):
    return net.state_dict(keep_vars=True)


def _watched(function):
    """`function(average, model, decay)`, which changes a model, as a function of state dicts that returns tensors.

    What counts are the tensors that were in both models before the call: others may hold on to them. An answer that
    leaves them all alone is judged by what it returns.
    """

    def watched(average, model, decay):
        if isinstance(average, nn.Module):
            return function(average, model, decay)
        nets = {"average": _net(average), "model": _net(model)}
        tensors = {who: _tensors_of(net) for who, net in nets.items()}
        for net in nets.values():
            net.__class__ = _Unseen
        returned = function(*nets.values(), decay)
        looked_at = any(type(net) is not _Unseen for net in nets.values())

        after = {}
        for who, net in nets.items():
            now = _tensors_of(net)
            for name, tensor in tensors[who].items():
                after[f"{who}.{name}"] = tensor.detach().to(model["0.weight"].dtype)
                if now[name] is not tensor:
                    after[f"{who}.{name}, another tensor"] = now[name].detach()
                if tensor.grad_fn is not None:
                    after[f"{who}.{name}, with a graph"] = tensor.detach()
        memory = {tensor.data_ptr() for tensor in _tensors_of(nets["model"]).values()}
        for name, tensor in _tensors_of(nets["average"]).items():
            if tensor.data_ptr() in memory:  # the next step of training would change the average too
                after[f"average.{name}, the model's own memory"] = tensor.detach()
        before = {"average": average, "model": model}
        same = [torch.equal(t, before[who][name]) for who, found in tensors.items() for name, t in found.items()]
        if not all(same) or len(after) > len(same) or returned is nets["average"]:
            return after
        if returned is None:
            return after if looked_at else None
        return returned.state_dict() if isinstance(returned, nn.Module) else returned

    return watched


def _state(normal, d_in, hidden, batch_norm, steps):
    """The state dict of a linear layer and a norm."""
    values = {"0.weight": normal(hidden, d_in), "0.bias": normal(hidden), "1.weight": normal(hidden)}
    values["1.bias"] = normal(hidden)
    if batch_norm:
        values |= {"1.running_mean": normal(hidden), "1.running_var": 1 + normal(hidden) ** 2}
        values["1.num_batches_tracked"] = torch.tensor(steps)
    return values


def _ema_probes(generator):
    """Without buffers, with them, and with them in an average that is kept without gradients, in single precision."""
    normal, probes = _normal(generator), []
    for d_in, hidden, batch_norm, decay in ((4, 6, False, 0.9), (3, 5, True, 0.75), (6, 3, True, 0.6)):
        probe = {"average": _state(normal, d_in, hidden, batch_norm, 12)}
        probe |= {"model": _state(normal, d_in, hidden, batch_norm, 37), "decay": decay}
        probes.append(probe)
    for who in ("average", "model"):
        state = probes[2][who]
        probes[2][who] = {name: v.float() if v.dtype.is_floating_point else v for name, v in state.items()}
    for state in (
        probes[0]["average"],
        probes[0]["model"],
        probes[1]["average"],
        probes[1]["model"],
        probes[2]["model"],
    ):
        for name, value in state.items():
            if name.partition(".")[2] not in _BUFFERS:
                value.requires_grad_()
    return probes


@torch.no_grad()
def _ema(average, model, decay):
    """The right answer, by state dicts."""
    old, new = average.state_dict(), model.state_dict()
    parameters = {name for name, _ in average.named_parameters()}
    for name, value in old.items():
        value.copy_(decay * value + (1 - decay) * new[name] if name in parameters else new[name])


def _ema_with(update, buffers=lambda old, new, decay: old.copy_(new)):
    """`update(old, new, decay)` for each pair of parameters, `buffers(...)` for each pair of buffers, no gradients."""

    @torch.no_grad()
    def ema(average, model, decay):
        for old, new in zip(average.parameters(), model.parameters(), strict=True):
            update(old, new, decay)
        for old, new in zip(average.buffers(), model.buffers(), strict=True):
            buffers(old, new, decay)

    return ema


def _towards(old, new, decay):
    old.mul_(decay).add_(new, alpha=1 - decay)


def _nothing(old, new, decay):
    pass


def _shared(old, new, decay):
    old.data = new.data


def _ema_with_the_models_buffers(average, model, decay):
    _ema_with(_towards, _nothing)(average, model, decay)
    for part, other in zip(average.modules(), model.modules(), strict=True):
        for name, buffer in other.named_buffers(recurse=False):
            setattr(part, name, buffer)


def _averaged(old, new, decay):
    old.copy_(decay * old + (1 - decay) * new)  # whole numbers lose what comes after the point


def _floats_averaged_counter_copied(old, new, decay):
    _averaged(old, new, decay if old.dtype.is_floating_point else 0.0)


def _floats_averaged_counter_left(old, new, decay):
    _averaged(old, new, decay if old.dtype.is_floating_point else 1.0)


@torch.no_grad()
def _ema_of_everything(average, model, decay):
    for old, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        old.mul_(decay).add_(new, alpha=1 - decay)


def _ema_with_gradients(average, model, decay):
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old.mul_(decay).add_(new, alpha=1 - decay)
    for old, new in zip(average.buffers(), model.buffers(), strict=True):
        old.copy_(new)


@torch.no_grad()
def _ema_of_what_is_trained(average, model, decay):
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        if old.requires_grad:
            _towards(old, new, decay)
    for old, new in zip(average.buffers(), model.buffers(), strict=True):
        old.copy_(new)


def _ema_replacing(average, model, decay):
    for name, part in average.named_modules():
        other = model.get_submodule(name)
        for own, value in list(part.named_parameters(recurse=False)):
            mixed = decay * value.detach() + (1 - decay) * getattr(other, own).detach()
            setattr(part, own, nn.Parameter(mixed))
    for old, new in zip(average.buffers(), model.buffers(), strict=True):
        old.copy_(new)


@torch.no_grad()
def _ema_forgotten(average, model, decay):
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old = decay * old + (1 - decay) * new


def _ema_returned(average, model, decay):
    found = zip(average.state_dict().items(), model.state_dict().values(), strict=True)
    return {name: decay * old + (1 - decay) * new for (name, old), new in found}


def _ema_in_a_copy(average, model, decay):
    average = copy.deepcopy(average)
    _ema(average, model, decay)
    return average


def _ema_and_back(average, model, decay):
    _ema(average, model, decay)
    model.load_state_dict(average.state_dict())


@torch.no_grad()
def _ema_by_names(average, model, decay):
    for name, old in average.state_dict().items():
        if name.endswith("weight"):
            _towards(old, model.state_dict()[name], decay)
    for old, new in zip(average.buffers(), model.buffers(), strict=True):
        old.copy_(new)


EMA_UPDATE = StagedExercise(
    name="ema_update",
    chapter="08",
    signature="ema_update(average, model, decay)",
    task="replace, in place, each parameter of `average` by decay times itself plus 1 - decay times the model's, and copy the model's buffers into those of `average`; `model` stays as it is.",
    probes=_ema_probes,
    oracle=_watched(_ema),
    stage=_watched,
    mistakes=tuple(
        Mistake(hint, function)
        for hint, function in (
            (
                "decay is the wrong way round: it is the share of the old average that stays, 1 - decay that of the model.",
                _ema_with(lambda old, new, decay: _towards(old, new, 1 - decay)),
            ),
            (
                "you copy the model: that is no average; decay · old + (1 - decay) · new.",
                _ema_with(lambda old, new, decay: old.copy_(new)),
            ),
            (
                "half of each: decay says how much of the old stays.",
                _ema_with(lambda old, new, decay: _towards(old, new, 0.5)),
            ),
            (
                "the old average keeps its full weight, old + (1 - decay) · new, and grows with every step: multiply it by decay first.",
                _ema_with(lambda old, new, decay: old.add_(new, alpha=1 - decay)),
            ),
            (
                "old - (1 - decay) · new leads away from the model: add.",
                _ema_with(lambda old, new, decay: old.mul_(decay).sub_(new, alpha=1 - decay)),
            ),
            (
                "you update the model: the average moves, the model stays.",
                lambda average, model, decay: _ema_with(_towards)(model, average, decay),
            ),
            (
                "the model is given the average afterwards: leave it alone, it goes on training.",
                _ema_and_back,
            ),
            (
                "the buffers are forgotten: copy the batch norms' running statistics from the model.",
                _ema_with(_towards, _nothing),
            ),
            *(
                (
                    "the average's buffers are now the model's own memory, and change whenever the model does: copy the numbers, old.copy_(new).",
                    function,
                )
                for function in (_ema_with(_towards, _shared), _ema_with_the_models_buffers)
            ),
            (
                "you average the buffers too, and the counter num_batches_tracked is cut to a whole number: copy them, running statistics are averages already.",
                _ema_with(_towards, _averaged),
            ),
            (
                "you average the running statistics and leave the counter: copy all buffers, they need no averaging.",
                _ema_with(_towards, _floats_averaged_counter_left),
            ),
            (
                "you average the running statistics and copy only the counter: copy all buffers.",
                _ema_with(_towards, _floats_averaged_counter_copied),
            ),
            (
                "a state dict holds buffers too, and num_batches_tracked is a whole number that cannot be averaged: average parameters(), copy buffers().",
                _ema_of_everything,
            ),
            (
                "gradients are recorded: put torch.no_grad() around the update, or each step's graph hangs on to the one before.",
                _ema_with_gradients,
            ),
            (
                "only parameters that are trained are averaged: an average is not trained itself, so take all.",
                _ema_of_what_is_trained,
            ),
            (
                "you put new parameters into the average: whoever holds the old ones never sees them; change them in place, with lerp_, mul_ or copy_.",
                _ema_replacing,
            ),
            (
                "`old = ...` only gives a new tensor the name old, and the average stays as it was: change it in place, with lerp_, mul_ or copy_.",
                _ema_forgotten,
            ),
            (
                "you return the averages and leave `average` as it was: change it in place, nothing is returned.",
                _ema_returned,
            ),
            (
                "you change a copy: change the very `average` that you are given.",
                _ema_in_a_copy,
            ),
            (
                "you average the gradients: the weights themselves, not their .grad.",
                _ema_with(lambda old, new, decay: old.mul_(decay).add_(new.grad, alpha=1 - decay)),
            ),
            (
                "biases are left out: all parameters are averaged.",
                _ema_by_names,
            ),
            (
                "vectors are left out, biases and norms: all parameters are averaged, whatever decays in the optimiser.",
                _ema_with(lambda old, new, decay: _towards(old, new, decay if old.ndim > 1 else 1.0)),
            ),
        )
    ),
)


EXERCISES = (RANDOM_CROP_FLIP, SOFT_CROSS_ENTROPY, MIXUP, EMA_UPDATE)
