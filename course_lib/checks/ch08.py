"""The exercises of chapter 08, small data and inductive bias."""

import copy  # noqa: F401 (for the edits)
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.checks.compare import is_dense
from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import Exercise, normal
from course_lib.checks.staged import StagedExercise, as_number


def _crop_probes(generator):
    """Images of all kinds of sizes. The first three shifts and flips are chosen so that every mistake shows."""
    probes = []
    for (B, C, h, w), p in (
        ((5, 3, 6, 7), 2),
        ((4, 1, 8, 5), 1),
        ((6, 2, 9, 9), 3),
        ((3, 4, 5, 6), 0),
        ((2, 2, 1, 4), 1),
        ((1, 3, 4, 1), 1),
        ((1, 2, 5, 3), 1),
        ((5, 3, 6, 7), 2),  # the shape of the first
    ):
        shifts = torch.randint(2 * p + 1, (B, 2), generator=generator)
        shifts[:3] = torch.tensor([[0, 2 * p], [2 * p, p], [p, 0]])[:B] if B > 1 else torch.tensor([[p, 0]])
        flips = torch.rand(B, generator=generator) < 0.5
        flips[:3] = torch.tensor([True, False, True])[:B]
        probes.append({"images": normal(generator)(B, C, h, w), "shifts": shifts, "flips": flips, "padding": p})
    probes[2]["images"] = probes[2]["images"].float()
    return probes


def _crop_flip(images, shifts, flips, padding):
    h, w = images.shape[-2:]
    p = padding
    padded = F.pad(images, (p, p, p, p))
    windows = []
    for image, (top, left) in zip(padded, shifts.tolist(), strict=True):
        windows.append(image[:, top : top + h, left : left + w])
    cut = torch.stack(windows)
    return torch.where(flips[:, None, None, None], cut.flip(-1), cut)


def _crop_at_once(images, shifts, flips, padding):
    h, w = images.shape[-2:]
    padded = F.pad(images, [padding] * 4)
    windows = padded.unfold(2, h, 1).unfold(3, w, 1)
    cut = windows[torch.arange(len(images)), :, shifts[:, 0], shifts[:, 1]]
    return torch.where(flips[:, None, None, None], cut.flip(-1), cut)


RANDOM_CROP_FLIP = Exercise(
    name="random_crop_flip",
    chapter="08",
    signature="random_crop_flip(images, shifts, flips, padding)",
    task="pad each image with `padding` zeros on every side, cut out the window of the old size that begins at its own row shifts[i, 0] and column shifts[i, 1], and mirror it left to right where flips[i] is True: (B, C, h, w) -> (B, C, h, w).",
    probes=_crop_probes,
    oracle=_crop_flip,
    mistakes=edits_of(
        _crop_flip,
        """
        all images get the shift of the first: each has its own, shifts[i].
            shifts.tolist() ⇒ shifts[:1].expand_as(shifts).tolist()
        rows and columns are swapped: shifts[:, 0] counts from the top, shifts[:, 1] from the left.
            (top, left) ⇒ (left, top)
        the windows go the other way: a window that begins further down shows what is further down, it begins at row `shift`, not at 2·padding - shift.
            shifts.tolist() ⇒ (2 * p - shifts).tolist()
        only the rows are shifted: the window begins at column shifts[i, 1].
            left : left + w ⇒ p : p + w
        only the columns are shifted: the window begins at row shifts[i, 0].
            top : top + h ⇒ p : p + h
        nothing is shifted: cut the window out of the padded image, from row shifts[i, 0] and column shifts[i, 1].
            torch.stack(windows) ⇒ images
          or
            torch.stack(windows) ⇒ padded[:, :, p:-p, p:-p]
        with padding 0, p:-p is 0:-0, and that is empty: give the end by its own number, p + h and p + w.
            image[:, top : top + h, left : left + w] ⇒ image.roll((p - top, p - left), (1, 2))[:, p:-p, p:-p]
          or
            padded = F.pad(images, (p, p, p, p)) ⇒ padded = images.new_zeros(*images.shape[:2], h + 2 * p, w + 2 * p)
            | padded[:, :, p:-p, p:-p] = images
          or
            for image, (top, left) in zip(padded, ⇒ for image, (top, left) in zip(images,
            windows.append(image[:, top : top + h, left : left + w]) ⇒ canvas = padded.new_zeros(padded.shape[1:])
            | canvas[:, p:-p, p:-p] = image
            | windows.append(canvas[:, top : top + h, left : left + w])
        height and width are exchanged: images.shape[-2:] is (h, w), in this order, and images need not be square.
            h, w = images ⇒ w, h = images
        images are (B, C, h, w): height and width are the last two sizes, images.shape[-2:].
            shape[-2:] ⇒ shape[1:3]
        your windows end at row h and column w, however late they begin: rows from shift to shift + h, columns likewise.
            top : top + h, left : left + w ⇒ top:h, left:w
        your windows end at row h, however late they begin: rows from shift to shift + h.
            top : top + h ⇒ top:h
        your windows end at column w, however late they begin: columns from shift to shift + w.
            left : left + w ⇒ left:w
        your windows are one row and one column too small: the end of a slice is not in it, so rows from shift to shift + h.
            top : top + h, left : left + w ⇒ top : top + h - 1, left : left + w - 1
        the windows begin one pixel too late: the first row is number 0, so a shift of 0 begins at row 0 of the padded image.
            shifts.tolist() ⇒ (shifts + 1).tolist()
        the windows begin at padding + shift: a shift of 0 begins at the very edge of the padded image, and `padding` is the middle.
            shifts.tolist() ⇒ (shifts + p).tolist()
        the windows begin at shift - padding: a shift of 0 begins at the very edge of the padded image.
            shifts.tolist() ⇒ (shifts - p).tolist()
        you mirror upside down: left to right is the last dimension, flip(-1).
            flip(-1) ⇒ flip(-2)
        you turn by 180 degrees: flip the last dimension only.
            flip(-1) ⇒ flip(-2, -1)
        you turn the colours round, not the columns: flip(-1), since dimension 1 is the channels.
            flip(-1) ⇒ flip(1)
        flip(0) turns the batch round, so images change places with others: flip(-1) mirrors each.
            flip(-1) ⇒ flip(0)
        all images are mirrored: only those with flips[i].
            torch.where(flips[:, None, None, None], cut.flip(-1), cut) ⇒ cut.flip(-1)
        no image is mirrored: those with flips[i] are.
            torch.where(flips[:, None, None, None], cut.flip(-1), cut) ⇒ cut
        the wrong half is mirrored: torch.where(condition, a, b) takes a where the condition is True.
            cut.flip(-1), cut ⇒ cut, cut.flip(-1)
        you mirror first and cut afterwards, so a shift to the left becomes one to the right: cut first.
            F.pad(images ⇒ F.pad(torch.where(flips[:, None, None, None], images.flip(-1), images)
            return torch.where(flips[:, None, None, None], cut.flip(-1), cut) ⇒ return cut
        you pad with the pixels at the edge: pad with zeros, which is F.pad's own way.
            p, p) ⇒ p, p), mode="replicate"
        you pad with a mirror image: pad with zeros, which is F.pad's own way.
            p, p) ⇒ p, p), mode="reflect"
        you pad with ones: black is 0 here.
            p, p) ⇒ p, p), value=1.0
        you pad with the mean of the images: pad with zeros, which is F.pad's own way.
            p, p) ⇒ p, p), value=images.mean().item()
        what leaves on one side comes in on the other: torch.roll is a ring; pad with zeros and cut.
            p, p) ⇒ p, p), mode="circular"
        you pad at the bottom and on the right only: `padding` pixels on each of the four sides.
            p, p, p, p ⇒ 0, 2 * p, 0, 2 * p
        only the width is padded: F.pad takes the sides from the last dimension backwards, left, right, top, bottom.
            p, p, p, p ⇒ p, p
        you cut without padding, and the images become smaller: pad first.
            images.shape[-2:] ⇒ images.shape[-2] - 2 * padding, images.shape[-1] - 2 * padding
            F.pad(images, (p, p, p, p)) ⇒ images
          or
            F.pad(images, (p, p, p, p)) ⇒ images
        you return the padded images: cut a window of the old size out of each.
            torch.stack(windows) ⇒ padded
          or
            image[:, top : top + h, left : left + w] ⇒ image.roll((-top, -left), (1, 2))
        your windows have no end: rows from shift to shift + h, columns likewise.
            top : top + h, left : left + w ⇒ top:, left:
        the windows are as wide as they are high: columns from shift to shift + w, images need not be square.
            left + w ⇒ left + h
        the windows are as high as they are wide: rows from shift to shift + h, images need not be square.
            top + h ⇒ top + w
        you mirror the images of your caller: torch.where makes new ones. And cut first.
            p = padding ⇒ p = padding
            | images[flips] = images[flips].flip(-1)
            return torch.where(flips[:, None, None, None], cut.flip(-1), cut) ⇒ return cut
        flips is (B,), and PyTorch lines it up with the columns: flips[:, None, None, None] is one for each image.
            flips[:, None, None, None] ⇒ flips
        """,
    )
    + edits_of(
        _crop_at_once,  # its errors have other words
        """
        the windows begin one pixel too late: the first row is number 0, so a shift of 0 begins at row 0 of the padded image.
            shifts[:, 0], shifts[:, 1] ⇒ shifts[:, 0] + 1, shifts[:, 1] + 1
        the windows begin at padding + shift: a shift of 0 begins at the very edge of the padded image, and `padding` is the middle.
            shifts[:, 0], shifts[:, 1] ⇒ shifts[:, 0] + padding, shifts[:, 1] + padding
        the windows begin at shift - padding: a shift of 0 begins at the very edge of the padded image.
            shifts[:, 0], shifts[:, 1] ⇒ shifts[:, 0] - padding, shifts[:, 1] - padding
        only the width is padded: F.pad takes the sides from the last dimension backwards, left, right, top, bottom.
            * 4 ⇒ * 2
        you cut without padding, and the images become smaller: pad first.
            F.pad(images, [padding] * 4) ⇒ images
        the windows are as wide as they are high: columns from shift to shift + w, images need not be square.
            3, w ⇒ 3, h
        height and width are exchanged: images.shape[-2:] is (h, w), in this order, and images need not be square.
            h, w = images ⇒ w, h = images
        the windows are as high as they are wide: rows from shift to shift + h, images need not be square.
            2, h ⇒ 2, w
        images are (B, C, h, w): height and width are the last two sizes, images.shape[-2:].
            shape[-2:] ⇒ shape[1:3]
        """,
    ),
)


def _entropy_probes(generator):
    draw = normal(generator)

    def shares(B, K):
        return draw(B, K).softmax(dim=-1)

    probes = []
    for B, K in ((4, 3), (2, 7), (1, 5), (3, 1), (4, 3)):
        targets = shares(B, K)
        targets[0] = F.one_hot(torch.randint(K, (), generator=generator), K)  # a target as it comes, with zeros
        probes.append({"logits": 2 * draw(B, K), "targets": targets})
    far_away = torch.tensor([[900.0], [-900.0], [0.0]], dtype=torch.float64)  # exp overflows
    probes.append({"logits": draw(3, 6) + far_away, "targets": shares(3, 6)})
    probes.append({"logits": draw(2, 6) + 900, "targets": shares(2, 6)})  # of no row does exp underflow
    far_apart = torch.tensor([-800.0, 0.0, -500.0, -1.0], dtype=torch.float64)  # softmax gives an exact 0
    targets = shares(3, 4)
    targets[1] = F.one_hot(torch.tensor(1), 4)
    probes.append({"logits": draw(3, 4) + far_apart, "targets": targets})
    farthest = torch.tensor([900.0, -900.0, 0.0], dtype=torch.float64)
    probes.append({"logits": draw(2, 3) + farthest, "targets": shares(2, 3)})
    for apart in ([0.0, 0.0, 0.0, 0.0], [0.0, 200.0, 0.0, -1.0]):  # 200 is far in float32
        logits = (draw(5, 4) + torch.tensor(apart)).float().requires_grad_()
        probes.append({"logits": logits, "targets": shares(5, 4).float()})
    return probes


def _soft_cross_entropy(logits, targets):
    logs = torch.log_softmax(logits, dim=-1)
    products = -targets * logs
    return products.sum(dim=-1).mean()


SOFT_CROSS_ENTROPY = Exercise(
    name="soft_cross_entropy",
    chapter="08",
    signature="soft_cross_entropy(logits, targets)",
    task="take the logarithm of each row's softmax, multiply by the targets, sum over the classes with a minus, and average over the batch: (B, classes), (B, classes) -> one number.",
    probes=_entropy_probes,
    oracle=lambda logits, targets: F.cross_entropy(logits, targets),
    forbidden=("cross_entropy", "cross_entropy_loss"),
    mistakes=edits_of(
        _soft_cross_entropy,
        """
        log(softmax) breaks down: a probability that underflows to 0 has the logarithm -inf, and 0 · -inf is NaN; log_softmax never leaves the logarithms.
            torch.log_softmax(logits, dim=-1) ⇒ logits.softmax(dim=-1).log()
          or
            torch.log_softmax(logits, dim=-1) ⇒ logits.softmax(dim=-1).log()
            -targets * logs ⇒ torch.where(targets > 0, -targets * logs, 0)
        exp overflows for logits near 900: use log_softmax or logsumexp, which subtract the largest first.
            torch.log_softmax(logits, dim=-1) ⇒ logits - logits.exp().sum(dim=-1, keepdim=True).log()
          or
            torch.log_softmax(logits, dim=-1) ⇒ (logits.exp() / logits.exp().sum(dim=-1, keepdim=True)).log()
        the mean of each row is subtracted, and exp overflows where one logit is far above it: subtract the largest, as log_softmax does.
            logs = torch.log_softmax(logits, dim=-1) ⇒ lower = logits - logits.mean(dim=-1, keepdim=True)
            | logs = lower - lower.exp().sum(dim=-1, keepdim=True).log()
        the largest logit of the whole batch is subtracted, and the other rows underflow: each row has its own largest, as in log_softmax.
            logs = torch.log_softmax(logits, dim=-1) ⇒ lower = logits - logits.max()
            | logs = lower - lower.exp().sum(dim=-1, keepdim=True).log()
          or
            logs = torch.log_softmax(logits, dim=-1) ⇒ powers = (logits - logits.max()).exp()
            | logs = (powers / powers.sum(dim=-1, keepdim=True)).log()
        you subtract the largest of each column: each row has its own largest, dim=-1 with keepdim=True.
            logs = torch.log_softmax(logits, dim=-1) ⇒ lower = logits - logits.amax(dim=0)
            | logs = lower - lower.exp().sum(dim=-1, keepdim=True).log()
        you subtract the largest by size, and where that is a negative number everything underflows: the largest, without abs().
            logs = torch.log_softmax(logits, dim=-1) ⇒ lower = logits - logits.abs().amax(dim=-1, keepdim=True)
            | logs = lower - lower.exp().sum(dim=-1, keepdim=True).log()
        nan_to_num hides what log(softmax) has lost, and the answer is a wrong one: log_softmax never leaves the logarithms.
            torch.log_softmax(logits, dim=-1) ⇒ logits.softmax(dim=-1).log()
            -targets * logs ⇒ (-targets * logs).nan_to_num(posinf=0.0)
        softmax twice: log_softmax does it already, so give it the logits.
            (logits, dim ⇒ (logits.softmax(dim=-1), dim
        the logarithm is missing: -(targets · log p), not -(targets · p).
            log_softmax ⇒ softmax
        the softmax is missing: logits are not logarithms of probabilities until log_softmax has been there.
            torch.log_softmax(logits, dim=-1) ⇒ logits
        a sigmoid looks at each class alone: the classes share one probability, so log_softmax.
            torch.log_softmax(logits, dim=-1) ⇒ F.logsigmoid(logits)
        the softmax runs over the batch: over the classes, dim=-1.
            logits, dim=-1 ⇒ logits, dim=0
        logarithms to the base 2: cross-entropy counts with the natural ones.
            logits, dim=-1) ⇒ logits, dim=-1) / 0.6931471805599453
        you take the mean over the classes as well: sum over them, then average over the batch.
            .sum(dim=-1).mean() ⇒ .mean()
          or
            products.sum(dim=-1).mean() ⇒ products[targets > 0].mean()
        you sum over the batch: average over it, or a larger batch means larger steps.
            .mean() ⇒ .sum()
        one number for each image: average them.
            .mean() ⇒
        you average over the classes and sum over the batch: the other way round.
            .sum(dim=-1).mean() ⇒ .mean(dim=-1).sum()
        the minus is missing: logarithms of probabilities are negative, the loss is not.
            -targets ⇒ targets
        you take each target's largest class only: all classes count, each by its share.
            products.sum(dim=-1).mean() ⇒ F.nll_loss(logs, targets.argmax(dim=-1))
        you subtract the entropy of the targets: that is the Kullback-Leibler divergence; here it stays in.
            products.sum(dim=-1).mean() ⇒ F.kl_div(logs, targets, reduction="batchmean")
        logits and targets are swapped: the softmax is for the logits.
            ⇒ return _soft_cross_entropy(targets, logits)
        the targets are probabilities already, and a softmax makes others of them: it is for the logits alone.
            -targets ⇒ -targets.softmax(dim=-1)
        binary cross-entropy looks at each class alone: the classes share one probability, so log_softmax.
            products.sum(dim=-1).mean() ⇒ F.binary_cross_entropy_with_logits(logits, targets)
          or
            products.sum(dim=-1).mean() ⇒ F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(dim=-1).mean()
        the two have changed places: the logarithm is that of the model's probabilities, and the targets are what it is multiplied by.
            -targets * logs ⇒ -logs.exp() * targets.log()
        this is a squared error: cross-entropy is -(targets · log p).
            products.sum ⇒ ((logs.exp() - targets) ** 2).sum
        """
        + "".join(  # what people take so that a logarithm stays finite
            f"""
        a small number inside the logarithm, added or as a clamp, hides the infinity and changes the answer: log_softmax needs none.
            torch.log_softmax(logits, dim=-1) ⇒ (logits.softmax(dim=-1) + {tiny}).log()
          or
            torch.log_softmax(logits, dim=-1) ⇒ logits.softmax(dim=-1).clamp({tiny}).log()
        the two have changed places: the logarithm is that of the model's probabilities, and the targets are what it is multiplied by.
            -targets * logs ⇒ -logs.exp() * (targets + {tiny}).log()
          or
            -targets * logs ⇒ -logs.exp() * targets.clamp({tiny}).log()
        """
            for tiny in (
                *(1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-16, 1e-20, 1e-30, 1e-38),
                *("torch.finfo(logits.dtype).eps", "torch.finfo(logits.dtype).tiny"),
            )
        )
        + "".join(  # and so that exp does
            f"""
        you clamp the logits, and beyond the limit all of them are alike: subtract the largest of each row, as log_softmax does.
            (logits, dim ⇒ (logits.clamp(-{limit}, {limit}), dim
          or
            (logits, dim ⇒ (logits.clamp(max={limit}), dim
          or
            (logits, dim ⇒ (logits.clamp(min=-{limit}), dim
          or
            torch.log_softmax(logits, dim=-1) ⇒ logits - logits.clamp(-{limit}, {limit}).exp().sum(dim=-1, keepdim=True).log()
          or
            torch.log_softmax(logits, dim=-1) ⇒ logits - logits.clamp(max={limit}).exp().sum(dim=-1, keepdim=True).log()
        you clamp the logarithms, and a badly wrong answer costs no more than the limit: leave them as log_softmax gives them.
            torch.log_softmax(logits, dim=-1) ⇒ torch.log_softmax(logits, dim=-1).clamp(min=-{limit})
        """
            for limit in (10, 20, 30, 50, 60, 80, 88, 100, 500, 700)
        ),
    ),
)


def _mixup_probes(generator):
    """Partners in one long circle, so that from three on none is its partner's partner; but in the last, one is its own."""
    probes = []
    for B, C, h, w, K in (
        (3, 2, 5, 4, 6),
        (5, 3, 4, 6, 4),
        (4, 1, 3, 7, 9),
        (6, 2, 4, 3, 5),
        (1, 2, 3, 1, 2),
        (2, 3, 1, 5, 1),
        (3, 2, 5, 4, 6),  # the shape of the first
    ):
        order = torch.randperm(B, generator=generator)
        partners = torch.empty_like(order)
        partners[order] = order.roll(1)
        targets = F.one_hot(torch.randint(K, (B,), generator=generator), K).double()
        if B == 4:
            targets = 0.9 * targets + 0.1 / K  # smoothed already
        weight = 0.1 + 0.8 * torch.rand(B, generator=generator, dtype=torch.float64)
        weight[:2] = (torch.tensor([0.3, 0.9]) + 0.05 * weight[:2])[:B]  # one below a half, one above
        if B == 5:
            weight[2:4] = torch.tensor([0.0, 1.0])  # nothing of its own, nothing of its partner's
        targets[0] = targets[partners[0]].roll(1)  # never of its partner's class
        images = normal(generator)(B, C, h, w)
        probes.append({"images": images, "targets": targets, "partners": partners, "weight": weight})
    for name in ("images", "targets", "weight"):
        probes[3][name] = probes[3][name].float()
    probes[-1]["partners"] = torch.tensor([2, 1, 0])  # one is its own partner
    return probes


def _mixup(images, targets, partners, weight):
    w = weight[:, None, None, None]
    mixed = w * images + (1 - w) * images[partners]
    w = weight[:, None]
    shares = w * targets + (1 - w) * targets[partners]
    return mixed, shares


MIXUP = Exercise(
    name="mixup",
    chapter="08",
    signature="mixup(images, targets, partners, weight)",
    task="return the mixed images and the mixed targets, both weight[i] times their own row i plus 1 - weight[i] times row partners[i]: (B, C, h, w), (B, classes).",
    probes=_mixup_probes,
    oracle=_mixup,
    parts=("images", "targets"),
    mistakes=edits_of(
        _mixup,
        """
        the weights are the wrong way round: weight[i] is the image's own share, 1 - weight[i] its partner's.
            ⇒ return _mixup(images, targets, partners, 1 - weight)
        the targets are not mixed: an image that is 70 % cat has a target that is 70 % cat.
            mixed, shares ⇒ mixed, targets
        the images are not mixed: blend the pixels as you blend the targets.
            mixed, shares ⇒ images, shares
        images and targets have opposite weights: both weight for the own row, 1 - weight for the partner's.
            w = weight[:, None] ⇒ w = 1 - weight[:, None]
        the targets are all the partner's: mix them as you mix the images.
            mixed, shares ⇒ mixed, targets[partners]
        you keep only the heavier target: the share of each class stays in, weight and 1 - weight.
            mixed, shares ⇒ mixed, torch.where(w > 0.5, targets, targets[partners])
        the targets become class numbers: shares go in and shares come out, (B, classes).
            mixed, shares ⇒ mixed, shares.argmax(dim=-1)
        one weight for all images, the first: each has its own.
            ⇒ return _mixup(images, targets, partners, weight[:1].expand_as(weight))
        one weight for all images, the mean: each has its own.
            ⇒ return _mixup(images, targets, partners, weight.mean().expand_as(weight))
        you mix half and half: weight[i] says how much.
            ⇒ return _mixup(images, targets, partners, torch.full_like(weight, 0.5))
        you use the larger of weight and 1 - weight: take it as it is given.
            ⇒ return _mixup(images, targets, partners, torch.maximum(weight, 1 - weight))
        weight · own + partner: the partner gets the rest, 1 - weight, or everything becomes too bright.
            (1 - w) * images ⇒ images
            (1 - w) * targets ⇒ targets
        own and partner have the same weight: the partner gets the rest, 1 - weight.
            (1 - w) * images ⇒ w * images
            (1 - w) * targets ⇒ w * targets
          or
            (1 - w) * images ⇒ w * images
        you give each image to its partner: row i is mixed with row partners[i], so values[partners], not the other direction.
            ⇒ return _mixup(images, targets, partners.argsort(), weight)
        you mix with the batch turned round: the partner of row i is row partners[i].
            ⇒ return _mixup(images, targets, torch.arange(len(images)).flip(0), weight)
        all rows are mixed with one and the same row: the partner of row i is row partners[i].
            images[partners] ⇒ images[partners[:1]]
            targets[partners] ⇒ targets[partners[:1]]
          or
            images[partners] ⇒ images[partners[:1]]
          or
            targets[partners] ⇒ targets[partners[:1]]
        you mix with the neighbouring row: the partner of row i is row partners[i].
            ⇒ return _mixup(images, targets, torch.arange(len(images)).roll(1), weight)
          or
            ⇒ return _mixup(images, targets, torch.arange(len(images)).roll(-1), weight)
        the images are mixed with one partner and the targets with another: partners for both.
            targets[partners] ⇒ targets[partners.argsort()]
          or
            images[partners] ⇒ images[partners.argsort()]
        the partner's weight is taken too, weight[partners]: row i has weight[i] and 1 - weight[i].
            ⇒ return _mixup(images, targets, partners, weight[partners])
          or
            (1 - w) * images ⇒ w[partners] * images
            (1 - w) * targets ⇒ w[partners] * targets
          or
            (1 - w) * images ⇒ w[partners] * images
          or
            (1 - w) * images ⇒ (1 - w[partners]) * images
            (1 - w) * targets ⇒ (1 - w[partners]) * targets
          or
            (1 - w) * images ⇒ (1 - w[partners]) * images
          or
            w = weight[:, None, None, None] ⇒ w = weight[partners][:, None, None, None]
          or
            w = weight[:, None]
            | shares ⇒ w = weight[partners][:, None]
            | shares
        you mix with the numbers of the rows: images[partners] and targets[partners] are the rows themselves.
            images[partners] ⇒ partners[:, None, None, None]
            targets[partners] ⇒ partners[:, None]
          or
            images[partners] ⇒ partners[:, None, None, None]
          or
            targets[partners] ⇒ partners[:, None]
        own and partner come in with their full weight: weight · own + (1 - weight) · partner.
            mixed, shares ⇒ images + images[partners], targets + targets[partners]
          or
            mixed, shares ⇒ images + images[partners], shares
          or
            mixed, shares ⇒ mixed, targets + targets[partners]
        your loop mixes with rows that it has mixed already: read from the old images, write into new ones.
            ⇒ images, targets = images.clone(), targets.clone()
            | for i, (j, w) in enumerate(zip(partners, weight, strict=True)):
            |     images[i] = w * images[i] + (1 - w) * images[j]
            |     targets[i] = w * targets[i] + (1 - w) * targets[j]
            | return images, targets
          or
            return mixed ⇒ mixed = images.clone()
            | for i, (j, w) in enumerate(zip(partners, weight, strict=True)):
            |     mixed[i] = w * mixed[i] + (1 - w) * mixed[j]
            | return mixed
        your loop writes into your caller's tensors, so you read rows that you have already mixed: write into new ones.
            ⇒ for i, (j, w) in enumerate(zip(partners, weight, strict=True)):
            |     images[i] = w * images[i] + (1 - w) * images[j]
            |     targets[i] = w * targets[i] + (1 - w) * targets[j]
            | return images, targets
          or
            return mixed ⇒ for i, (j, w) in enumerate(zip(partners, weight, strict=True)):
            |     images[i] = w * images[i] + (1 - w) * images[j]
            | return images
        the rows are scaled before their partners are read, and your caller's tensors change: compute new ones.
            mixed = w * images + ⇒ mixed = images.mul_(w)
            | mixed +=
            shares = w * targets + ⇒ shares = targets.mul_(w)
            | shares +=
          or
            mixed = w * images + ⇒ mixed = images.mul_(w)
            | mixed +=
        the numbers are right, but your caller's images change: return new ones.
            mixed, shares ⇒ images.copy_(mixed), targets.copy_(shares)
        weight is (B,), and PyTorch lines it up with the columns: weight[:, None, None, None] is one for each image.
            weight[:, None, None, None] ⇒ weight
        weight is (B,), and targets are (B, classes): weight[:, None] is one for each row.
            w = weight[:, None]
            | shares ⇒ w = weight
            | shares
        you return lists: torch.stack(...) makes one tensor of each.
            mixed, shares ⇒ list(mixed), list(shares)
        you return a dictionary: the two tensors are asked for, `return images, targets`.
            mixed, shares ⇒ {"images": mixed, "targets": shares}
        you return the targets first: the images come first.
            mixed, shares ⇒ shares, mixed
        you return the images only: the targets are the other half.
            , shares ⇒
        """,
    ),
)


class _Unseen(nn.Sequential):
    """A model that nobody has looked at. At the first look it becomes a plain one; an empty stub never looks."""

    def __getattribute__(self, name):
        object.__setattr__(self, "__class__", nn.Sequential)
        return getattr(self, name)


def _net(state):
    """A model with this state dict, as after a backward pass.

    It has a parameter and buffers of its own, a linear layer, and a norm further in; perhaps a second layer with the
    weight of the first.
    """
    (hidden, d_in), dtype = state["0.weight"].shape, state["scale"].dtype
    norm = nn.BatchNorm1d if "1.0.running_mean" in state else nn.LayerNorm
    net = nn.Sequential(nn.Linear(d_in, hidden, dtype=dtype), nn.Sequential(norm(hidden, dtype=dtype)))
    net.scale = nn.Parameter(torch.ones((), dtype=dtype))
    for name in ("shift", "steps"):
        if name in state:
            net.register_buffer(name, torch.zeros_like(state[name]))
    if "2.weight" in state:
        net.append(nn.Linear(d_in, hidden, dtype=dtype))
        net[2].weight = net[0].weight
    net.load_state_dict(state)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(state[name].requires_grad)
        parameter.grad = parameter.detach().cos()
    return net


def _watched(function):
    """`function(average, model, decay)`, which changes a model, as a function of state dicts that returns tensors.

    What counts are the tensors that were in both models before the call: others may hold on to them. An answer that
    leaves them all alone is judged by what it returns.
    """

    def watched(average, model, decay):
        if isinstance(average, nn.Module):
            return function(average, model, decay)
        nets = {"average": _net(average), "model": _net(model)}
        mode = nets["model"].training
        tensors = {who: net.state_dict(keep_vars=True) for who, net in nets.items()}
        for net in nets.values():
            net.__class__ = _Unseen
        returned = function(*nets.values(), decay)
        looked_at = any(type(net) is not _Unseen for net in nets.values())

        now = {who: net.state_dict(keep_vars=True) for who, net in nets.items()}
        memory = {tensor.data_ptr() for tensor in now["model"].values()}
        after, changed = {}, False
        for who, before in (("average", average), ("model", model)):
            for name, tensor in tensors[who].items():
                after[f"{who}.{name}"] = tensor.detach().to(model["scale"].dtype)
                strange = {
                    "another tensor": now[who][name] is not tensor,
                    "with a graph": tensor.grad_fn is not None,
                    # the next step of training would change the average too
                    "the model's own memory": who == "average" and now[who][name].data_ptr() in memory,
                    "another requires_grad": who == "model" and tensor.requires_grad != before[name].requires_grad,
                    "another mode": who == "model" and nets[who].training != mode,
                }
                after |= {f"{who}.{name}, {what}": now[who][name].detach() for what, is_so in strange.items() if is_so}
                changed = changed or any(strange.values()) or not torch.equal(tensor, before[name])
        if changed or returned is nets["average"]:
            return after
        if returned is None:
            return after if looked_at else None
        return returned.state_dict() if isinstance(returned, nn.Module) else returned

    return watched


def _state(draw, d_in, hidden, batch_norm, steps, trained=True, shared=False):
    shapes = {
        "scale": (),
        "0.weight": (hidden, d_in),
        "0.bias": (hidden,),
        "1.0.weight": (hidden,),
        "1.0.bias": (hidden,),
    }
    values = {name: draw(*shape).requires_grad_(trained) for name, shape in shapes.items()}
    if batch_norm:
        values |= {"1.0.running_mean": draw(hidden), "1.0.running_var": 1 + draw(hidden) ** 2}
        values["1.0.num_batches_tracked"] = torch.tensor(steps)
        values |= {"shift": draw(hidden), "steps": torch.tensor([steps, 2 * steps])}
    if shared:
        values |= {"2.weight": values["0.weight"], "2.bias": draw(hidden).requires_grad_(trained)}
    return values


def _ema_probes(generator):
    """Without buffers, with them, with a shared weight, and in an average that is kept without gradients, in float32."""
    draw, probes = normal(generator), []
    for sizes, decay in (((4, 6, False), 0.9), ((3, 5, True), 0.75), ((1, 1, True), 0.0)):
        probes.append({"average": _state(draw, *sizes, 12), "model": _state(draw, *sizes, 37), "decay": decay})
    probes[1]["model"]["0.weight"].requires_grad_(False)  # a frozen layer
    average, model = (_state(draw, 2, 4, False, 0, shared=True) for _ in range(2))
    probes.append({"average": average, "model": model, "decay": 0.8})

    def draw_single(*shape):
        return draw(*shape).float()

    average, model = _state(draw_single, 6, 3, True, 12, trained=False), _state(draw_single, 6, 3, True, 37)
    return [*probes, {"average": average, "model": model, "decay": 0.6}]


def _ema(average, model, decay):
    with torch.no_grad():
        for old, new in zip(average.parameters(), model.parameters(), strict=True):
            old.copy_(decay * old + (1 - decay) * new)
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
    mistakes=edits_of(
        _ema,
        """
        decay is the wrong way round: it is the share of the old average that stays, 1 - decay that of the model.
            ⇒ _ema(average, model, 1 - decay)
          or
            ⇒ other = model.state_dict()
            | for name, old in average.state_dict().items():
            |     old.copy_((1 - decay) * old + decay * other[name])
          or
            ⇒ other = model.state_dict()
            | for name, old in average.state_dict().items():
            |     if old.is_floating_point():
            |         old.copy_((1 - decay) * old + decay * other[name])
          or
            ⇒ other = model.state_dict()
            | for name, old in average.state_dict().items():
            |     old.copy_((1 - decay) * old + decay * other[name] if old.is_floating_point() else other[name])
          or
            ⇒ other = model.state_dict()
            | average.load_state_dict({name: (1 - decay) * old + decay * other[name] for name, old in average.state_dict().items()})
        you copy the model: that is no average; decay · old + (1 - decay) · new.
            decay * old + (1 - decay) * new ⇒ new
        half of each: decay says how much of the old stays.
            ⇒ _ema(average, model, 0.5)
        the old average keeps its full weight, old + (1 - decay) · new, and grows with every step: multiply it by decay first.
            decay * old ⇒ old
        the model comes in with its full weight, decay · old + new, and everything grows: multiply it by 1 - decay.
            (1 - decay) * new ⇒ new
        the model comes in with the share decay: what stays of the old average is decay, and the model gets the rest, 1 - decay.
            (1 - decay) * new ⇒ decay * new
        the average is only multiplied by decay, and nothing of the model comes in: add makes a new tensor, and add_, with an underscore, changes the old one.
            old.copy_(decay * old + (1 - decay) * new) ⇒ old.mul_(decay).add(new, alpha=1 - decay)
        old - (1 - decay) · new leads away from the model: add.
            + (1 - decay) ⇒ - (1 - decay)
        you update the model: the average moves, the model stays.
            ⇒ _ema(model, average, decay)
          or
            old.copy_(decay * old ⇒ new.copy_(decay * old
          or
            average.parameters(), model.parameters() ⇒ model.parameters(), average.parameters()
          or
            ⇒ other = average.state_dict()
            | for name, new in model.state_dict().items():
            |     new.copy_(decay * new + (1 - decay) * other[name])
          or
            ⇒ other = average.state_dict()
            | for name, new in model.state_dict().items():
            |     new.mul_(decay).add_(other[name], alpha=1 - decay)
          or
            ⇒ other = average.state_dict()
            | for name, new in model.state_dict().items():
            |     if new.is_floating_point():
            |         new.copy_(decay * new + (1 - decay) * other[name])
          or
            ⇒ other = average.state_dict()
            | for name, new in model.state_dict().items():
            |     new.copy_(decay * new + (1 - decay) * other[name] if new.is_floating_point() else other[name])
          or
            ⇒ other = average.state_dict()
            | for name, new in model.state_dict().items():
            |     new.copy_(decay * other[name] + (1 - decay) * new if new.is_floating_point() else new)
          or
            ⇒ names, other = dict(model.named_parameters()), average.state_dict()
            | for name, new in model.state_dict().items():
            |     new.copy_(decay * new + (1 - decay) * other[name] if name in names else other[name])
          or
            ⇒ other = model.state_dict()
            | model.load_state_dict({name: decay * old + (1 - decay) * other[name] for name, old in average.state_dict().items()})
        the model's share is added before the old is multiplied, and decay shrinks both: multiply by decay first.
            decay * old + (1 - decay) * new ⇒ decay * (old + (1 - decay) * new)
        the average's parameters are now the model's own memory, and change whenever the model does: mix the numbers, in place.
            old.copy_(decay * old + (1 - decay) * new) ⇒ old.data = new.data
        children() leaves out what the model holds itself, and parameters() and buffers() alone go as deep as they must: use these.
            average.parameters(), model.parameters() ⇒ (p for c in average for p in c.parameters()), (p for c in model for p in c.parameters())
            average.buffers(), model.buffers() ⇒ (b for c in average for b in c.buffers()), (b for c in model for b in c.buffers())
          or
            average.parameters(), model.parameters() ⇒ (p for c in average for p in c.parameters()), (p for c in model for p in c.parameters())
          or
            average.buffers(), model.buffers() ⇒ (b for c in average for b in c.buffers()), (b for c in model for b in c.buffers())
          or
            average.parameters(), model.parameters() ⇒ (p for c in average for p in c.parameters(False)), (p for c in model for p in c.parameters(False))
            average.buffers(), model.buffers() ⇒ (b for c in average for b in c.buffers(False)), (b for c in model for b in c.buffers(False))
          or
            average.parameters(), model.parameters() ⇒ (p for c in average for p in c.parameters(False)), (p for c in model for p in c.parameters(False))
        a parameter that two layers share is averaged once: parameters() gives it once, modules() and a state dict come to it twice.
            average.parameters(), model.parameters() ⇒ (p for m in average.modules() for p in m.parameters(False)), (p for m in model.modules() for p in m.parameters(False))
          or
            ⇒ state = {name: value.clone() for name, value in model.state_dict().items()}
            | for name, old in average.named_parameters():
            |     state[name] = decay * old.detach() + (1 - decay) * state[name]
            | average.load_state_dict(state)
        the model is given the average afterwards: leave it alone, it goes on training.
            ⇒ _ema(average, model, decay)
            | model.load_state_dict(average.state_dict())
        the buffers are forgotten: copy the batch norms' running statistics from the model.
            old.copy_(new) ⇒ pass
        the buffers are copied the wrong way, into the model: from the model into the average.
            old.copy_(new) ⇒ new.copy_(old)
        you freeze the model, and it goes on training: torch.no_grad() is enough.
            with torch.no_grad(): ⇒ model.requires_grad_(False)
            | with torch.no_grad():
        you switch the model to evaluation mode, and it goes on training: leave its mode as it is.
            with torch.no_grad(): ⇒ model.eval()
            | with torch.no_grad():
        with recurse=False the parts of the model are left out: leave it away.
            average.parameters(), model.parameters() ⇒ average.parameters(False), model.parameters(False)
          or
            average.buffers(), model.buffers() ⇒ average.buffers(False), model.buffers(False)
          or
            average.parameters(), model.parameters() ⇒ average.parameters(False), model.parameters(False)
            average.buffers(), model.buffers() ⇒ average.buffers(False), model.buffers(False)
        the average's buffers are now the model's own memory, and change whenever the model does: copy the numbers, old.copy_(new).
            old.copy_(new) ⇒ old.data = new.data
          or
            for old, new in zip(average.buffers(), model.buffers(), strict=True):
            |     old.copy_(new) ⇒ for part, other in zip(average.modules(), model.modules(), strict=True):
            |     part._buffers.update(other._buffers)
        you average the buffers too, and the counter num_batches_tracked is cut to a whole number: copy them, running statistics are averages already.
            old.copy_(new) ⇒ old.copy_(decay * old + (1 - decay) * new)
          or
            ⇒ other = model.state_dict()
            | for name, old in average.state_dict().items():
            |     old.copy_(decay * old + (1 - decay) * other[name])
        the whole numbers among the buffers stay as they were: copy all buffers, of any type.
            old.copy_(new) ⇒ if old.is_floating_point(): old.copy_(new)
        you average the running statistics and leave the counter: copy all buffers, they need no averaging.
            old.copy_(new) ⇒ if old.is_floating_point():
            |     old.copy_(decay * old + (1 - decay) * new)
          or
            ⇒ other = model.state_dict()
            | for name, old in average.state_dict().items():
            |     if old.is_floating_point():
            |         old.copy_(decay * old + (1 - decay) * other[name])
        you average the running statistics and copy only the counter: copy all buffers.
            old.copy_(new) ⇒ old.copy_(decay * old + (1 - decay) * new if old.is_floating_point() else new)
          or
            ⇒ other = model.state_dict()
            | for name, old in average.state_dict().items():
            |     old.copy_(decay * old + (1 - decay) * other[name] if old.is_floating_point() else other[name])
        a state dict holds buffers too, and num_batches_tracked is a whole number that cannot be averaged: average parameters(), copy buffers().
            old.copy_(new) ⇒ old.mul_(decay).add_(new, alpha=1 - decay)
          or
            average.parameters(), model.parameters() ⇒ average.state_dict().values(), model.state_dict().values()
            old.copy_(decay * old + (1 - decay) * new) ⇒ old.mul_(decay).add_(new, alpha=1 - decay)
        gradients are recorded: put torch.no_grad() around the update, or each step's graph hangs on to the one before.
            no_grad ⇒ enable_grad
        only parameters that are trained are averaged: an average is not trained itself, so take all.
            old.copy_(decay ⇒ if old.requires_grad: old.copy_(decay
        only parameters that the model trains are averaged: take all, also those of frozen layers.
            old.copy_(decay ⇒ if new.requires_grad: old.copy_(decay
        you put new parameters into the average: whoever holds the old ones never sees them; change them in place, with lerp_, mul_ or copy_.
            for old, new in zip(average.parameters(), model.parameters(), strict=True):
            |     old.copy_(decay * old + (1 - decay) * new) ⇒ for part, other in zip(average.modules(), model.modules(), strict=True):
            |     for name, new in other.named_parameters(recurse=False):
            |         setattr(part, name, nn.Parameter(decay * getattr(part, name) + (1 - decay) * new))
          or
            for old, new in zip(average.parameters(), model.parameters(), strict=True):
            |     old.copy_(decay * old + (1 - decay) * new) ⇒ for name, old in list(average.named_parameters()):
            |     path, _, own = name.rpartition(".")
            |     setattr(average.get_submodule(path), own, nn.Parameter(decay * old + (1 - decay) * model.get_parameter(name)))
        the average's parameters stay as they were: `old = ...`, mul and lerp make new tensors, deepcopy a new model; change the old ones in place, with copy_, mul_ or lerp_.
            old.copy_(decay * old + (1 - decay) * new) ⇒ old = decay * old + (1 - decay) * new
            old.copy_(new) ⇒ old = new
          or
            old.copy_(decay * old + (1 - decay) * new) ⇒ old = decay * old + (1 - decay) * new
        you return the averages and leave `average` as it was: change it in place, nothing is returned.
            ⇒ old, new = average.state_dict(), model.state_dict()
            | return {name: decay * old[name] + (1 - decay) * new[name] for name in old}
        you change a copy: change the very `average` that you are given.
            ⇒ average = copy.deepcopy(average)
            | _ema(average, model, decay)
            | return average
        you average the gradients: the weights themselves, not their .grad.
            (1 - decay) * new ⇒ (1 - decay) * new.grad
        biases are left out: all parameters are averaged.
            zip(average.parameters(), model.parameters(), strict=True) ⇒ ((old, model.get_parameter(name)) for name, old in average.named_parameters() if "bias" not in name)
          or
            zip(average.parameters(), model.parameters(), strict=True) ⇒ ((old, model.get_parameter(name)) for name, old in average.named_parameters() if name.endswith("weight"))
        vectors are left out, biases and norms: all parameters are averaged, whatever decays in the optimiser.
            old.copy_(decay ⇒ if old.ndim > 1: old.copy_(decay
        """
        + "".join(
            f"""
        {fixed} is written into your code: use `decay`.
            ⇒ _ema(average, model, {fixed})
        """
            for fixed in (0.9, 0.95, 0.99, 0.995, 0.996, 0.998, 0.999, 0.9995, 0.9999)
        ),
    ),
)

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of s, s³ and s⁵
OF_LENGTH = 1e-4  # so near must a result be; a computation in float32 is a hundred times nearer


def _matrix_probes(generator):
    """Wide, tall and square, shorter than 1 and longer, one step and several. The singular values reach from one to a
    twentieth; a matrix is as long as is said here, so that no verdict depends on the seed."""
    draw, probes = normal(generator), []
    for rows, columns, steps, length in (
        (4, 6, 1, 3.0),
        (6, 4, 5, 0.5),
        (5, 5, 2, 2.0),
        (1, 7, 3, 0.1),
        (5, 1, 2, 4.0),
        (4, 6, 3, 0.2),  # the shape of the first
        (3, 8, 1, 0.6),  # in float32: one step, for what grows loses its digits there
        (7, 3, 7, 0.1),
        (1, 1, 2, 0.7),  # above 1 in the end
    ):
        k = min(rows, columns)
        u, v = (torch.linalg.qr(draw(n, k)).Q for n in (rows, columns))
        values = torch.logspace(0, -1.3, k, dtype=torch.float64)
        probes.append({"matrix": u * (length * values / values.norm()) @ v.mT, "steps": steps})
    probes[6]["matrix"] = probes[6]["matrix"].float()
    probes[8]["matrix"] *= 1 + torch.rand(
        (), generator=generator, dtype=torch.float64
    )  # it has nothing else that varies
    return probes


def _by_singular_values(matrix, steps):
    a, b, c = COEFFICIENTS
    u, s, v = np.linalg.svd(matrix.detach().double().cpu().numpy(), full_matrices=False)
    s = s / np.sqrt((s**2).sum())
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return torch.from_numpy(u * s @ v).to(matrix)


def _to_rounding(answer):
    """With the right result in the place of one that is as near to it as float32 allows, or bfloat16 where every number
    is one of bfloat16's; and nan throughout where something has grown beyond all numbers."""

    def staged(matrix, steps):
        right = _by_singular_values(matrix, steps).double()
        value = answer(matrix, steps)
        if not isinstance(value, torch.Tensor) or not is_dense(value) or not value.is_floating_point():
            return value
        if value.shape != right.shape or value.device != right.device:
            return value
        given = value.detach().as_subclass(torch.Tensor).double()
        if not given.isfinite().all():
            return torch.full_like(right, torch.nan, dtype=value.dtype)
        apart = (given - right).norm() / right.norm()
        for coarse, share in ((torch.bfloat16, 0.2), (torch.float16, 0.05)):
            if apart < share and torch.equal(given.to(coarse).double(), given):
                return right.to(coarse).to(value.dtype)
        return right.to(value.dtype) if apart <= OF_LENGTH else value

    return staged


def _polynomials(matrix, steps):
    a, b, c = COEFFICIENTS
    x = matrix / matrix.norm()
    for _ in range(steps):
        square = x @ x.mT
        both = b * square + c * square @ square
        x = a * x + both @ x
    return x


def _polynomials_turned(matrix, steps):
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / x.norm()
    for _ in range(steps):
        square = x @ x.mT
        both = b * square + c * square @ square
        x = a * x + both @ x
    return x.mT if tall else x


def _polynomials_right(matrix, steps):
    a, b, c = COEFFICIENTS
    x = matrix / matrix.norm()
    for _ in range(steps):
        square = x.mT @ x
        both = b * square + c * square @ square
        x = a * x + x @ both
    return x


def _of_every_side(text):
    """The mistakes that `text` lists, with X Xᵀ on the left, with a tall matrix turned first, and with XᵀX on the right."""
    right = text.replace("both @ x", "x @ both").replace("square @ x)", "x @ square)").replace("x @ x.mT", "x.mT @ x")
    return edits_of(_polynomials, text) + edits_of(_polynomials_turned, text) + edits_of(_polynomials_right, right)


NEWTON_SCHULZ = StagedExercise(
    name="newton_schulz",
    chapter="08",
    signature="newton_schulz(matrix, steps)",
    task="divide the matrix by the root of the sum of its squares, and apply `steps` times X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X: (rows, columns) -> (rows, columns).",
    probes=_matrix_probes,
    oracle=_by_singular_values,
    stage=_to_rounding,
    forbidden=(
        "svd",
        "linalg_svd",
        "svdvals",
        "linalg_svdvals",
        "eigh",
        "linalg_eigh",
        "eig",
        "linalg_eig",
        "qr",
        "linalg_qr",
        "pinv",
        "linalg_pinv",
        "pinverse",
        "polar",
    ),
    mistakes=edits_of(
        _polynomials,
        """
        the length is forgotten: a singular value above 1.27 grows with every step, and without end. Divide by matrix.norm() first.
            matrix / matrix.norm() ⇒ matrix
        you divide by the largest singular value, the spectral norm, which torch.linalg.norm gives with ord 2: what is asked for is the root of the sum of all squares, matrix.norm().
            matrix.norm() ⇒ torch.linalg.matrix_norm(matrix, 2)
        you divide by the sum of the singular values, the nuclear norm: what is asked for is the root of the sum of all squares, matrix.norm().
            matrix.norm() ⇒ torch.linalg.matrix_norm(matrix, "nuc")
        each row is divided by its own length, and that makes another matrix, with other singular vectors: one length for the whole of it, matrix.norm().
            matrix.norm() ⇒ matrix.norm(dim=-1, keepdim=True)
          or
            matrix.norm() ⇒ matrix.norm(dim=-1)
        each column is divided by its own length, and that makes another matrix, with other singular vectors: one length for the whole of it, matrix.norm().
            matrix.norm() ⇒ matrix.norm(dim=0)
        the root is missing: the length is the root of the sum of the squares.
            matrix.norm() ⇒ matrix.square().sum()
        you divide by the largest number: the length is the root of the sum of all squares, matrix.norm().
            matrix.norm() ⇒ matrix.abs().max()
          or
            matrix.norm() ⇒ matrix.max()
        you divide by the sum of the numbers: the length is the root of the sum of their squares, matrix.norm().
            matrix.norm() ⇒ matrix.abs().sum()
          or
            matrix.norm() ⇒ matrix.sum()
        you divide by a mean of the numbers: the length is the root of the sum of their squares, matrix.norm().
            matrix.norm() ⇒ matrix.square().mean().sqrt()
          or
            matrix.norm() ⇒ matrix.square().mean()
          or
            matrix.norm() ⇒ matrix.abs().mean()
          or
            matrix.norm() ⇒ matrix.std()
          or
            matrix.norm() ⇒ matrix.std(correction=0)
        this norm is the largest sum of a row or a column: the length is the root of the sum of all squares, matrix.norm() without more.
            matrix.norm() ⇒ torch.linalg.matrix_norm(matrix, 1)
          or
            matrix.norm() ⇒ torch.linalg.matrix_norm(matrix, torch.inf)
        only matrices that are longer than 1 are divided by their length: all are.
            matrix.norm() ⇒ matrix.norm().clamp(min=1)
        you divide by the number of rows, of columns or of entries: by the matrix's own length, matrix.norm().
            matrix.norm() ⇒ matrix.shape[0]
          or
            matrix.norm() ⇒ matrix.shape[1]
          or
            matrix.norm() ⇒ matrix.numel()
          or
            matrix.norm() ⇒ matrix.numel() ** 0.5
          or
            matrix.norm() ⇒ max(matrix.shape) ** 0.5
          or
            matrix.norm() ⇒ min(matrix.shape) ** 0.5
        you put the lengths of the rows, or of the columns, together: the length is the root of the sum of all squares, matrix.norm() without a dim.
            matrix.norm() ⇒ matrix.norm(dim=1).max()
          or
            matrix.norm() ⇒ matrix.norm(dim=1).sum()
          or
            matrix.norm() ⇒ matrix.norm(dim=1).mean()
          or
            matrix.norm() ⇒ matrix.norm(dim=0).max()
          or
            matrix.norm() ⇒ matrix.norm(dim=0).sum()
          or
            matrix.norm() ⇒ matrix.norm(dim=0).mean()
        there is one root too many: matrix.norm() is the root of the sum of the squares already.
            matrix.norm() ⇒ matrix.norm().sqrt()
        the mean is subtracted first, and that makes another matrix: only divide by the length.
            matrix / matrix.norm() ⇒ (matrix - matrix.mean()) / (matrix - matrix.mean()).norm()
          or
            matrix / matrix.norm() ⇒ (matrix - matrix.mean()) / matrix.norm()
          or
            matrix / matrix.norm() ⇒ (matrix - matrix.mean()) / matrix.std()
        that is the length of X Xᵀ, or its root: of the matrix itself, matrix.norm().
            matrix.norm() ⇒ (matrix @ matrix.mT).norm()
          or
            matrix.norm() ⇒ (matrix @ matrix.mT).norm().sqrt()
        you multiply by the length: divide.
            matrix / matrix.norm() ⇒ matrix * matrix.norm()
        you divide X Xᵀ by its trace, and X itself stays as long as it was: divide X by its length, once, before the first step.
            matrix / matrix.norm() ⇒ matrix
            x @ x.mT ⇒ x @ x.mT / x.square().sum()
        that is an iteration for (XᵀX)^(-1/2), and X itself stays as long as it was: here X goes through the polynomial, after it has been divided by its length.
            ⇒ y = matrix.mT @ matrix
            | y = y / y.trace()
            | z = torch.eye(len(y), dtype=y.dtype)
            | for _ in range(steps):
            |     new = 1.5 * z - 0.5 * z @ y @ z
            |     y, z = y @ new, new
            | return matrix @ z
          or
            ⇒ y = matrix.mT @ matrix
            | one = torch.eye(len(y), dtype=y.dtype)
            | y, z = y / y.trace(), one
            | for _ in range(steps):
            |     turn = 1.5 * one - 0.5 * z @ y
            |     y, z = y @ turn, turn @ z
            | return matrix @ z
          or
            ⇒ y = matrix @ matrix.mT
            | one = torch.eye(len(y), dtype=y.dtype)
            | y, z = y / y.trace(), one
            | for _ in range(steps):
            |     turn = 1.5 * one - 0.5 * z @ y
            |     y, z = y @ turn, turn @ z
            | return z @ matrix
        you divide by the length in every step: once, before the first. The polynomial has to lift the small singular values step by step.
            for _ in range(steps): ⇒ for _ in range(steps):
            |     x = x / x.norm()
        the result is divided by its length once more: leave it, its singular values shall be near 1, each by itself.
            return x ⇒ return x / x.norm()
          or
            return x ⇒ return x / x.norm() * min(x.shape) ** 0.5
        you divide by the length after every step too: once, before the first.
            both @ x ⇒ both @ x
            | x = x / x.norm()
        you divide by the length when the steps are done: before the first.
            matrix / matrix.norm() ⇒ matrix
            return x ⇒ return x / x.norm()
          or
            matrix / matrix.norm() ⇒ matrix
            return x ⇒ return x / matrix.norm()
        the result has the length of the matrix still in it: X itself is divided by it, before the first step, and nothing is multiplied in again.
            return x ⇒ return x * matrix.norm()
        X ** 2 and X * X are the squares of the single numbers: X Xᵀ is a product of matrices, X @ X.mT, and so are the others.
            x @ x.mT ⇒ x * x
            c * square @ square ⇒ c * square * square
            both @ x ⇒ both * x
          or
            x @ x.mT ⇒ x * x
          or
            x @ x.mT ⇒ x * x
            c * square @ square ⇒ c * square * square
        X @ X is no X Xᵀ, and works only where a matrix is square: X @ X.mT.
            x @ x.mT ⇒ x @ x
        XᵀX stands on the left of X: there only X Xᵀ fits, and XᵀX stands on the right, X @ (X.mT @ X). (Of a square matrix both have the right shape, and one is wrong.)
            x @ x.mT ⇒ x.mT @ x
          or
            x @ x.mT ⇒ x.mT @ x if len(x) > len(x.mT) else x @ x.mT
          or
            x @ x.mT ⇒ x.mT @ x if len(x) < len(x.mT) else x @ x.mT
        X Xᵀ stands on the right of X: it belongs on the left, and on the right XᵀX. (Of a square matrix both have the right shape, and one is wrong.)
            both @ x ⇒ x @ both
        a stands alone: a X is added, not the number a.
            a * x ⇒ a
        a X is missing: without it every singular value is at most cubed, and small ones vanish.
            a * x + both @ x ⇒ both @ x
        X is added without its a: a X.
            a * x ⇒ x
        b goes with X Xᵀ alone, not with its square: b (X Xᵀ) + c (X Xᵀ)².
            b * square + c * square @ square ⇒ (b * square + c * square) @ square
          or
            b * square + c * square @ square ⇒ (b + c) * square @ square
        c is squared too: c (X Xᵀ)², not (c X Xᵀ)².
            c * square @ square ⇒ (c * square) @ (c * square)
        that is (X Xᵀ)³, one factor too many: with c goes (X Xᵀ)², two of them.
            c * square @ square ⇒ c * square @ square @ square
        c goes with (X Xᵀ)², and you have X Xᵀ once.
            c * square @ square ⇒ c * square
        the term with c is missing: c (X Xᵀ)² X.
            + c * square @ square ⇒
        the term with b is missing: b (X Xᵀ) X.
            b * square + ⇒
        b is negative, and is to be added: you have turned its sign.
            b * square ⇒ -b * square
        c is positive, and is to be added: you have turned its sign.
            + c ⇒ - c
        both are added, with the signs that they have: you subtract.
            + both ⇒ - both
        b and c have changed places: b goes with X Xᵀ, c with its square.
            a, b, c ⇒ a, c, b
        the coefficients stand in reverse order: a goes with X, b with X Xᵀ X, c with (X Xᵀ)² X.
            a, b, c ⇒ c, b, a
        these are the coefficients of the cubic step, 1.5 and -0.5: slower, and not the ones that are asked for. Take 3.4445, -4.7750 and 2.0315.
            = COEFFICIENTS ⇒ = 1.5, -0.5, 0.0
        these are the coefficients that end at 1 exactly, and take longer: take 3.4445, -4.7750 and 2.0315.
            = COEFFICIENTS ⇒ = 2.0, -1.5, 0.5
          or
            = COEFFICIENTS ⇒ = 15 / 8, -10 / 8, 3 / 8
        one step too few: range(steps) has `steps` turns.
            range(steps) ⇒ range(steps - 1)
        one step too many: range(steps) has `steps` turns.
            range(steps) ⇒ range(steps + 1)
        twice as many steps as are asked for: a loop in a loop, or two steps in each turn.
            range(steps) ⇒ range(2 * steps)
        one step, whatever `steps` says: a `return` stands inside the loop, or each turn begins with the same matrix again.
            range(steps) ⇒ range(1)
        no step at all: the matrix is divided by its length, and the polynomial never applied.
            range(steps) ⇒ range(0)
        X Xᵀ is computed once, before the loop: X changes with every step, and X Xᵀ with it.
            for _ in range(steps):
            |     square = x @ x.mT ⇒ square = x @ x.mT
            | for _ in range(steps):
        X Xᵀ is that of the matrix as it came in: take it of X, which is divided by its length and changes with every step.
            x @ x.mT ⇒ matrix @ matrix.mT
        a X is that of the first step: X changes with every step, and the next begins with the new one.
            for ⇒ first = x
            | for
            a * x ⇒ a * first
        the polynomial's X is that of the first step: X changes with every step, and the next begins with the new one.
            for ⇒ first = x
            | for
            both @ x ⇒ both @ first
        a X is that of the matrix as it came in, not divided by its length: take the X that changes with every step.
            a * x ⇒ a * matrix
        both products are with the matrix as it came in: take the X that is divided by its length and changes with every step.
            both @ x ⇒ both @ matrix
        the numbers are right, but your caller's matrix changes: /=, div_, mul_ and the like write into it; compute a new one, x = matrix / length.
            x = matrix / matrix.norm() ⇒ matrix /= matrix.norm()
            | x = matrix
          or
            return x ⇒ return matrix.copy_(x)
        the result is transposed: (rows, columns) go in, (rows, columns) come out.
            return x ⇒ return x.mT
        every row of the result is divided by its length, or every column: leave it, what is near 1 are its singular values.
            return x ⇒ return x / x.norm(dim=1, keepdim=True)
          or
            return x ⇒ return x / x.norm(dim=0)
        the result is rounded: leave it as it comes.
            return x ⇒ return x.round(decimals=2)
          or
            return x ⇒ return x.round(decimals=3)
        the result is cut at -1 and 1: a singular value may end above 1, and a number too.
            return x ⇒ return x.clamp(-1, 1)
        the result is a list: a tensor is asked for.
            return x ⇒ return x.tolist()
        range(steps) counts to a number, which by itself is nothing to go through.
            in range(steps) ⇒ in steps
        the sign is turned.
            return x ⇒ return -x
        X is overwritten before all three terms have been computed: the old X stays in all of them, so give the sum another name until the end.
            x = a * x + both @ x ⇒ x = a * x
            | x = x + both @ x
          or
            x = a * x + both @ x ⇒ x = a * x
            | x = x + b * square @ x
            | x = x + c * square @ square @ x
          or
            x = a * x + both @ x ⇒ x = a * x + b * square @ x
            | x = x + c * square @ square @ x
          or
            x = a * x + both @ x ⇒ x = a * x + b * square @ x
            | x = x + c * x @ x.T @ x @ x.T @ x
          or
            square = x @ x.mT ⇒ square = a**2 * x @ x.mT
            x = a * x + both @ x ⇒ x = a * x
            | x = x + both @ x
        you return X Xᵀ: X itself is asked for.
            return x ⇒ return x @ x.mT
        the factor for the shape is the optimiser's: here the singular values are to be near 1.
            return x ⇒ return x * max(1, len(x) / len(x.mT)) ** 0.5
          or
            return x ⇒ return x * 0.2 * max(x.shape) ** 0.5
          or
            return x ⇒ return x * (len(x) / len(x.mT)) ** 0.5
          or
            return x ⇒ return x * max(x.shape) ** 0.5
          or
            return x ⇒ return x * x.shape[0] ** 0.5
          or
            return x ⇒ return x * x.shape[1] ** 0.5
        that is U Vᵀ itself, with all singular values 1: the polynomial comes near it and never there. Its own numbers are asked for.
            ⇒ u, _, v = np.linalg.svd(matrix.numpy(), full_matrices=False)
            | return torch.from_numpy(u @ v)
        bfloat16 keeps two or three digits: compute in the type of the matrix.
            return x ⇒ return x.bfloat16()
          or
            return x ⇒ return x.bfloat16().to(matrix.dtype)
        float16 keeps three digits: compute in the type of the matrix.
            return x ⇒ return x.half()
          or
            return x ⇒ return x.half().to(matrix.dtype)
        you return float32, whatever came in: the result has the type of the matrix, so no .float(), and dtype=matrix.dtype where you make a tensor.
            return x ⇒ return x.float()
        you return float64, whatever came in: the result has the type of the matrix, so leave .double() out.
            return x ⇒ return x.double()
        """
        + "".join(
            f"""
        what you add to the length is too much for a short matrix: 1e-7 at most.
            matrix.norm() ⇒ (matrix.norm() + {tiny})
        """
            for tiny in (1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5)
        )
        + "".join(
            f"""
        {fixed} steps are written into your code: `steps` says how many.
            range(steps) ⇒ range({fixed})
        """
            for fixed in (3, 4, 5, 6, 7, 10)
        )
        + "".join(
            f"""
        you divide by a little more than the length: by the length itself.
            matrix.norm() ⇒ ({more} * matrix.norm())
        """
            for more in (1.01, 1.02, 1.05, 1.1)
        ),
    )
    + _of_every_side(
        """
        (X Xᵀ)² is a product of matrices: ** 2 and * square single numbers, @ is the product.
            c * square @ square ⇒ c * square * square
        (X Xᵀ)² X are products of matrices, and you square the single numbers of X Xᵀ X: square @ square @ x.
            + c * square @ square ⇒
            a * x + both @ x ⇒ a * x + both @ x + c * (square @ x) ** 2
        the last product is one of matrices too: @ in place of *.
            both @ x ⇒ both * x
        a + ... adds a to every number of the matrix: a X, or a times torch.eye(rows), is meant.
            both = ⇒ both = a +
            a * x + both @ x ⇒ both @ x
        the term with c has lost its X: c (X Xᵀ)² X.
            both = b * square + c * square @ square ⇒ both = b * square
            both @ x ⇒ both @ x + c * square @ square
        the term with b has lost its X: b (X Xᵀ) X.
            both = b * square + c * square @ square ⇒ both = c * square @ square
            both @ x ⇒ both @ x + b * square
        X itself is multiplied by nothing but numbers: the powers of X Xᵀ are multiplied by X, both @ X.
            both @ x ⇒ both
        """
    )
    + edits_of(
        _polynomials_turned,
        """
        each row is divided by its own length, and that makes another matrix, with other singular vectors: one length for the whole of it, matrix.norm().
            x / x.norm() ⇒ x / x.norm(dim=-1, keepdim=True)
        each column is divided by its own length, and that makes another matrix, with other singular vectors: one length for the whole of it, matrix.norm().
            x / x.norm() ⇒ x / x.norm(dim=0)
        a tall matrix is turned on its side once, on the way in or on the way out: turn it on both, or on neither. (Ask before the turn whether it is tall: afterwards it is not.)
            return x.mT if tall else x ⇒ return x
        a wide matrix is turned on its side once, on the way in or on the way out: turn it on both, or on neither.
            return x.mT if tall else x ⇒ return x if matrix.shape[0] >= matrix.shape[1] else x.mT
            x = matrix.mT if tall else matrix ⇒ x = matrix
        a matrix that you have not turned is turned on the way out.
            return x.mT if tall else x ⇒ return x.mT
        reshape reads the same numbers on in rows of another length: .mT turns a matrix over.
            return x.mT if tall else x ⇒ return x.reshape(matrix.shape)
          or
            matrix.mT if tall ⇒ matrix.reshape(matrix.shape[::-1]) if tall
          or
            matrix.mT if tall ⇒ matrix.reshape(matrix.shape[::-1]) if tall
            x.mT if tall ⇒ x.reshape(matrix.shape) if tall
        """,
    ),
)


def _seeds_probes(generator):
    """What two to ten seeds reached: a good seed is good with and without. Gains above 0 and below, per cent and shares,
    and t of other confidences than 95 % too."""
    draw, probes = normal(generator), []
    for n, t, unit, gain in (
        (3, 4.303, 100, 0.012),
        (5, 2.776, 1, -0.021),
        (2, 12.706, 100, 0.008),
        (10, 2.262, 100, 0.002),
        (4, 5.841, 1, 0.015),  # 99 %
        (3, 9.925, 100, -0.006),  # the shape of the first
        (6, 2.015, 100, 0.03),  # 90 %
    ):
        before, apart = 0.7 + 0.02 * draw(n), gain + 0.006 * draw(n)
        if n == 10:  # one seed better and one worse, whatever the others do
            apart[:2] = (0.003 + apart[:2].abs()) * torch.tensor([1.0, -1.0])
        probes.append({"before": unit * before, "after": unit * (before + apart), "t": t})
    for name in ("before", "after"):
        probes[6][name] = probes[6][name].float()
    return probes


def _gain(before, after, t):
    apart = after.double() - before.double()
    n = len(apart)
    mean = apart.mean().item()
    deviation = apart.std().item()
    half = t * deviation / n**0.5
    return mean, half


def _by_sums(before, after, t):
    pairs = list(zip(before.tolist(), after.tolist(), strict=True))
    n = len(pairs)
    gain = math.fsum(y - x for x, y in pairs) / n
    squares = math.fsum((y - x - gain) ** 2 for x, y in pairs)
    return gain, t * math.sqrt(squares / (n - 1) / n)


def _to_single_precision(answer):
    """With the right numbers in the place of those that are as near to them as float32 allows."""

    def staged(before, after, t):
        right, largest = _by_sums(before, after, t), max(before.abs().max().item(), after.abs().max().item())
        value = answer(before, after, t)
        if value is None:
            return None
        if not isinstance(value, tuple | list) or len(value) != 2:
            shape = f" {tuple(value.shape)}" if isinstance(value, torch.Tensor | np.ndarray) else ""
            got = len(value) if isinstance(value, tuple | list) else type(value).__name__ + shape
            raise TypeError(f"expected two numbers, gain and half, got {got}")
        numbers = [as_number(x, name) for name, x in zip(("gain", "half"), value, strict=True)]
        near = [abs(x - y) <= 1e-6 * largest for x, y in zip(numbers, right, strict=True)]
        return tuple(
            torch.tensor(y, dtype=torch.float64) if ok else x for ok, x, y in zip(near, numbers, right, strict=True)
        )

    return staged


PAIRED_GAIN = StagedExercise(
    name="paired_gain",
    chapter="08",
    signature="paired_gain(before, after, t)",
    task="return the mean of the n differences after - before, and t times their standard deviation (which divides by n - 1) over √n: (n,), (n,), a number -> two floats.",
    parts=("gain", "half"),
    probes=_seeds_probes,
    oracle=_by_sums,
    stage=_to_single_precision,
    mistakes=edits_of(
        _gain,
        """
        the sign of the gain is the wrong way round: it is above 0 where `after` is the larger, after - before.
            return mean, ⇒ return -mean,
        the gain has lost its sign: where `after` is the smaller it is below 0, without abs.
            return mean, ⇒ return abs(mean),
        the differences have lost their signs: a seed that has become worse counts against the gain, without abs.
            after.double() - before.double() ⇒ (after.double() - before.double()).abs()
          or
            return mean, ⇒ return apart.abs().mean().item(),
        that is the scatter of the differences' sizes: keep their signs, without abs.
            apart.std() ⇒ apart.abs().std()
        the gain is a share of `before`: the mean of the differences is asked for, in their own unit.
            return mean, ⇒ return mean / before.double().mean().item(),
          or
            return mean, ⇒ return (apart / before.double()).mean().item(),
          or
            return mean, ⇒ return 100 * mean / before.double().mean().item(),
          or
            return mean, ⇒ return 100 * (apart / before.double()).mean().item(),
          or
            return mean, ⇒ return after.double().mean().item() / before.double().mean().item(),
        gain and half are shares of `before`: the differences are asked for, in their own unit.
            = after.double() - before.double() ⇒ = (after.double() - before.double()) / before.double()
          or
            = after.double() - before.double() ⇒ = 100 * (after.double() - before.double()) / before.double()
          or
            = after.double() - before.double() ⇒ = after.double() / before.double()
          or
            return mean, half ⇒ return mean / before.double().mean().item(), half / before.double().mean().item()
        the gain is a share of `after`: the mean of the differences is asked for, in their own unit.
            return mean, ⇒ return mean / after.double().mean().item(),
          or
            return mean, ⇒ return (apart / after.double()).mean().item(),
        gain and half are shares of `after`: the differences are asked for, in their own unit.
            = after.double() - before.double() ⇒ = (after.double() - before.double()) / after.double()
          or
            = after.double() - before.double() ⇒ = 100 * (after.double() - before.double()) / after.double()
        you subtract logarithms, which makes a ratio: the numbers themselves.
            = after.double() - before.double() ⇒ = after.double().log() - before.double().log()
        the differences are squared, and lose their signs and their unit: leave them as they are.
            = after.double() - before.double() ⇒ = (after.double() - before.double()) ** 2
        a seed that has become worse counts as 0: it counts against the gain, without clamp or relu.
            = after.double() - before.double() ⇒ = (after.double() - before.double()).clamp(min=0)
        that is the share of the seeds that have become better: the mean of the differences is asked for.
            return mean, ⇒ return (apart > 0).double().mean().item(),
        the unit of `before` and `after` stays: no factor of 100.
            = after.double() - before.double() ⇒ = 100 * (after.double() - before.double())
          or
            return mean, ⇒ return 100 * mean,
          or
            = after.double() - before.double() ⇒ = (after.double() - before.double()) / 100
        you add: a difference is after - before.
            after.double() - before.double() ⇒ after.double() + before.double()
        that is the sum of the differences: their mean is asked for.
            return mean, ⇒ return apart.sum().item(),
        that is the median of the differences: their mean is asked for, which the interval belongs to.
            return mean, ⇒ return apart.median().item(),
          or
            return mean, ⇒ return apart.quantile(0.5).item(),
          or
            return mean, ⇒ return after.double().median().item() - before.double().median().item(),
          or
            return mean, ⇒ return (after.double().quantile(0.5) - before.double().quantile(0.5)).item(),
        you compare the best seeds: a best of n says how lucky one was. The mean of the differences is asked for.
            return mean, ⇒ return after.double().max().item() - before.double().max().item(),
          or
            return mean, ⇒ return apart.max().item(),
        you take the gain of one seed: the mean of all n differences is asked for.
            return mean, ⇒ return apart[0].item(),
          or
            return mean, ⇒ return apart[-1].item(),
        the gain is divided by n once more, or by n - 1: it is the mean of the differences.
            return mean, ⇒ return mean / n,
          or
            return mean, ⇒ return apart.sum().item() / (n - 1),
        the gain is one of the ends of the interval: the mean of the differences is asked for.
            return mean, ⇒ return mean - half,
          or
            return mean, ⇒ return mean + half,
        half is one of the ends of the interval: what stands after ± is asked for.
            return mean, half ⇒ return mean, mean + half
          or
            return mean, half ⇒ return mean, mean - half
        half is a pair: one number is asked for, what stands after ±.
            return mean, half ⇒ return mean, (mean - half, mean + half)
        half is below 0: it is what stands after ±.
            return mean, half ⇒ return mean, -half
        the gain is set to 0 where it is below it, or where its interval holds 0: it stays as it is, and the interval says how sure it is.
            return mean, ⇒ return mean if abs(mean) > half else 0.0,
          or
            return mean, ⇒ return mean if mean > half else 0.0,
          or
            return mean, ⇒ return max(mean, 0.0),
        the gain is divided by a deviation, as for the size of an effect: in the unit of `before` and `after` it stays.
            return mean, ⇒ return mean / deviation,
          or
            return mean, ⇒ return mean / before.double().std().item(),
        you return the t statistic, the gain over its standard error: the gain is asked for, and half of its interval.
            return mean, ⇒ return mean / (deviation / n**0.5),
          or
            return mean, half ⇒ return mean / (deviation / n**0.5), t
        the gain is cut to a whole number: leave int and round out.
            return mean, ⇒ return int(mean),
          or
            return mean, ⇒ return round(mean),
        you return the two ends of the interval: gain and half are asked for, what stands before ± and after it.
            return mean, half ⇒ return mean - half, mean + half
        gain and half have changed places.
            return mean, half ⇒ return half, mean
        you return the mean of `after`: the gain is the mean of after - before.
            return mean, ⇒ return after.double().mean().item(),
        that is the interval of two groups of different seeds, and what the seed does counts as noise twice. Take the deviation of the differences, seed by seed.
            half = ⇒ deviation = (before.double().var() + after.double().var()).item() ** 0.5
            | half =
          or
            half = ⇒ deviation = (before.double().var(correction=0) + after.double().var(correction=0)).item() ** 0.5
            | half =
          or
            half = ⇒ deviation = ((before.double().var() + after.double().var()) / 2).item() ** 0.5
            | half =
          or
            half = ⇒ deviation = ((before.double().var(correction=0) + after.double().var(correction=0)) / 2).item() ** 0.5
            | half =
          or
            half = ⇒ from scipy import stats
            | between = stats.ttest_ind(after.double(), before.double()).confidence_interval()
            | return mean, (between.high - between.low) / 2
            | half =
          or
            half = ⇒ from scipy import stats
            | between = stats.ttest_ind(after.double(), before.double(), equal_var=False).confidence_interval()
            | return mean, (between.high - between.low) / 2
            | half =
        you add up the deviations of `before` and of `after`: take that of the differences, seed by seed.
            half = ⇒ deviation = (before.double().std() + after.double().std()).item()
            | half =
          or
            half = ⇒ deviation = (before.double().std(correction=0) + after.double().std(correction=0)).item()
            | half =
        you subtract the deviations of `before` and of `after`: take that of the differences, seed by seed.
            half = ⇒ deviation = (after.double().std() - before.double().std()).item()
            | half =
          or
            half = ⇒ deviation = (after.double().std() - before.double().std()).abs().item()
            | half =
        you subtract the variances of `before` and of `after`: take the deviation of the differences, seed by seed.
            half = ⇒ deviation = (after.double().var() - before.double().var()).abs().item() ** 0.5
            | half =
        you take the larger of two deviations, that of `before` and that of `after`: take that of the differences, seed by seed.
            half = ⇒ deviation = max(before.double().std().item(), after.double().std().item())
            | half =
        that is the deviation of one number, of the mean: take it of the n differences.
            half = ⇒ deviation = apart.mean().std().item()
            | half =
        you take the mean of two deviations, that of `before` and that of `after`: take that of the differences, seed by seed.
            half = ⇒ deviation = (before.double().std() + after.double().std()).item() / 2
            | half =
        that is the scatter of `after` alone: take the deviation of the differences, seed by seed.
            half = ⇒ deviation = after.double().std().item()
            | half =
          or
            half = ⇒ deviation = after.double().std(correction=0).item()
            | half =
        that is the scatter of `before` alone: take the deviation of the differences, seed by seed.
            half = ⇒ deviation = before.double().std().item()
            | half =
          or
            half = ⇒ deviation = before.double().std(correction=0).item()
            | half =
        that is the scatter of all 2n results about one mean: take the deviation of the n differences.
            half = ⇒ deviation = torch.cat([before, after]).double().std().item()
            | half =
          or
            half = ⇒ deviation = torch.cat([before, after]).double().std().item() / 2**0.5
            | half =
          or
            half = ⇒ deviation = torch.cat([before, after]).double().std(correction=0).item()
            | half =
        you sort before you subtract, and the pairs are lost: seed i without stands beside seed i with.
            apart = after.double() - before.double() ⇒ apart = after.double().sort().values - before.double().sort().values
        every seed is compared with every other: n differences are asked for, seed by seed.
            = after.double() - before.double() ⇒ = after.double()[:, None] - before.double()
            n = len(apart) ⇒ n = len(before)
          or
            = after.double() - before.double() ⇒ = (after.double()[:, None] - before.double()).flatten()
        the deviation divides by n, as numpy's std and statistics.pstdev do: by n - 1, for the mean is taken from the same few numbers. torch's std does so, and statistics.stdev.
            apart.std() ⇒ apart.std(correction=0)
        the deviation divides by n - 1 twice: once in std, and once more.
            apart.std() ⇒ apart.std() * (n / (n - 1)) ** 0.5
          or
            n**0.5 ⇒ (n - 1) ** 0.5
        that is how far one seed scatters: a mean of n scatters less, divide by √n.
            / n**0.5 ⇒
          or
            / n**0.5 ⇒
            apart.std() ⇒ apart.std(correction=0)
        you divide by n: the mean of n numbers scatters by their deviation / √n.
            / n**0.5 ⇒ / n
          or
            / n**0.5 ⇒ / n
            apart.std() ⇒ apart.std(correction=0)
        you divide by n - 1: the mean of n numbers scatters by their deviation / √n.
            / n**0.5 ⇒ / (n - 1)
        you multiply by √n: divide, for the mean of more seeds scatters less.
            / n**0.5 ⇒ * n**0.5
        you divide by √(2n): there are n differences.
            / n**0.5 ⇒ / (2 * n) ** 0.5
        the deviation is multiplied by √2, as for two groups: these are n differences, √n is enough.
            / n**0.5 ⇒ * (2 / n) ** 0.5
        that is the variance: take its root, the standard deviation.
            apart.std() ⇒ apart.var()
          or
            apart.std() ⇒ apart.var()
            n**0.5 ⇒ n
        t is missing, and that is one standard error: t of them make half of the interval.
            t * deviation ⇒ deviation
        the factor is one for many seeds, 1.96 at 95 %: few say little about their own scatter, take t.
            t * deviation ⇒ 1.645 * deviation
          or
            t * deviation ⇒ 2.576 * deviation
          or
            t * deviation ⇒ 1.96 * deviation
          or
            t * deviation ⇒ 1.959963984540054 * deviation
          or
            t * deviation ⇒ 1.96 * deviation
            apart.std() ⇒ apart.std(correction=0)
        the factor is 2, a rule of thumb for many seeds: take t.
            t * deviation ⇒ 2 * deviation
        that is the whole interval, from one end to the other: half of it is asked for, what stands after ±.
            t * deviation ⇒ 2 * t * deviation
        t is halved: it stands for one side already.
            t * deviation ⇒ t / 2 * deviation
        t is multiplied in twice.
            t * deviation ⇒ t * t * deviation
        you divide by t: multiply.
            t * deviation ⇒ deviation / t
        one root covers too much: t times the deviation, which std has taken a root for, and only n is under another.
            t * deviation / n**0.5 ⇒ (t * deviation / n) ** 0.5
          or
            t * deviation / n**0.5 ⇒ t * (deviation / n) ** 0.5
          or
            t * deviation / n**0.5 ⇒ (t * deviation**2 / n) ** 0.5
          or
            t * deviation / n**0.5 ⇒ (t * deviation) ** 0.5 / n**0.5
        that scatters about 0: the deviation is about the mean of the differences, so subtract it first, as std does.
            apart.std() ⇒ apart.square().mean().sqrt()
          or
            apart.std() ⇒ (apart.square().sum() / (n - 1)).sqrt()
        you take the mean distance from the mean: the standard deviation is the root of the mean square.
            apart.std() ⇒ (apart - mean).abs().mean()
        you take the range, largest less smallest, for the deviation: std is the root of the mean square.
            apart.std() ⇒ (apart.max() - apart.min())
        that is the deviation alone: t times it, over √n.
            t * deviation / n**0.5 ⇒ deviation
        the root of n is n ** 0.5, and no n²; n ** 1 / 2 and n * 0.5 are half of n.
            / n**0.5 ⇒ / n * 0.5
          or
            / n**0.5 ⇒ / (n * 0.5)
          or
            / n**0.5 ⇒ / n**2
        you take half of the range, largest less smallest: t · s / √n is asked for.
            t * deviation / n**0.5 ⇒ (apart.max() - apart.min()).item() / 2
        what you return as half is the gain over its standard error, or its inverse: t · s / √n is asked for.
            t * deviation / n**0.5 ⇒ mean / (deviation / n**0.5)
          or
            t * deviation / n**0.5 ⇒ mean / (t * deviation / n**0.5)
        both numbers are as they come: nothing is rounded.
            return mean, half ⇒ return round(mean, 1), round(half, 1)
          or
            return mean, half ⇒ return round(mean, 2), round(half, 2)
          or
            return mean, half ⇒ return round(mean, 3), round(half, 3)
          or
            return mean, half ⇒ return mean, round(half, 1)
          or
            return mean, half ⇒ return mean, round(half, 2)
        plain numbers are asked for: .item() makes one of a tensor.
            return mean, half ⇒ return torch.tensor(mean), torch.tensor(half)
          or
            return mean, half ⇒ return mean, torch.tensor(half)
        plain numbers are asked for: .item() makes one of an array.
            return mean, half ⇒ return np.array(mean), np.array(half)
          or
            return mean, half ⇒ return mean, np.array(half)
        two plain numbers are asked for, and that is one tensor of two: `return gain, half`.
            return mean, half ⇒ return torch.tensor([mean, half])
        two plain numbers are asked for, and that is one array of numpy's: `return gain, half`.
            return mean, half ⇒ return np.array([mean, half])
        plain numbers are asked for, and these are texts: `return gain, half`, without f"..." and str.
            return mean, half ⇒ return f"{mean:.2f} ± {half:.2f}"
          or
            return mean, half ⇒ return str(mean), str(half)
          or
            return mean, half ⇒ return mean, str(half)
        plain numbers are asked for, and there are lists of one: take the brackets away.
            return mean, half ⇒ return [mean], [half]
          or
            return mean, half ⇒ return mean, [half]
        two plain numbers are asked for, and that is a dictionary: `return gain, half`.
            return mean, half ⇒ return {"gain": mean, "half": half}
        you return one number: two are asked for, `return gain, half`.
            return mean, half ⇒ return mean
          or
            return mean, half ⇒ return torch.tensor(mean)
          or
            return mean, half ⇒ return np.array(mean)
        there is a comma or a pair of brackets too many: `return gain, half`.
            return mean, half ⇒ return ((mean, half),)
        you return more than the two that are asked for: `return gain, half`.
            return mean, half ⇒ return mean, half, n
        the numbers are right, but your caller's `after` changes: -= and sub_ write into it, take after - before.
            apart = after.double() - before.double() ⇒ after -= before
            | apart = after.double()
        the numbers are right, but your caller's `before` changes: compute a new tensor, after - before.
            apart = after.double() - before.double() ⇒ before -= after
            | apart = -before.double()
        .shape is a list of sizes, also where it has one: len(before) is n.
            n = len(apart) ⇒ n = apart.shape
          or
            n = len(apart) ⇒ n = apart.shape
            n**0.5 ⇒ math.sqrt(n)
          or
            n = len(apart) ⇒ n = apart.shape
            / n**0.5 ⇒ / n
        lists do not subtract: tensors do, after - before, before you make lists of them.
            = after.double() - before.double() ⇒ = after.tolist() - before.tolist()
        t is the factor itself, a number: multiply by it.
            t * deviation ⇒ t(n) * deviation
          or
            t * deviation ⇒ t[n] * deviation
        the parameter t is not used: it is for the confidence and the number of seeds of this call, whatever a table or scipy has for 95 %.
            n = len(apart) ⇒ n = len(apart)
            | t = {2: 12.706, 3: 4.303, 5: 2.776, 10: 2.262}[n]
          or
            n = len(apart) ⇒ from scipy import stats
            | n = len(apart)
            | t = stats.t.ppf(0.975, n - 1)
          or
            n = len(apart) ⇒ n = len(apart)
            | t = {2: 12.706, 3: 4.303, 5: 2.776, 10: 2.262}.get(n, 1.96)
          or
            n = len(apart) ⇒ n = len(apart)
            | t = {2: 12.706, 3: 4.303, 5: 2.776, 10: 2.262}.get(n, t)
          or
            n = len(apart) ⇒ from scipy import stats
            | n = len(apart)
            | t = stats.t.ppf(0.95, n - 1)
          or
            n = len(apart) ⇒ from scipy import stats
            | n = len(apart)
            | t = stats.t.ppf(0.975, n)
        3 is written into your code: n is the number of seeds of this call, len(before).
            n = len(apart) ⇒ n = 3
        statistics wants plain numbers: give it a list, (after - before).tolist().
            ⇒ import statistics
            | return statistics.mean(after - before), 0.0
        numpy's mean and std do not know what to do with a tensor: (after - before).mean(), or .numpy() first.
            ⇒ return np.mean(after - before), 0.0
          or
            ⇒ return (after - before).mean(), np.std(after - before)
          or
            ⇒ return (after - before).mean(), np.std(after - before, ddof=1)
        4.303 is written into your code, which is for three seeds: take t.
            t * deviation ⇒ 4.303 * deviation
        """,
    ),
)


EXERCISES = (RANDOM_CROP_FLIP, SOFT_CROSS_ENTROPY, MIXUP, EMA_UPDATE, NEWTON_SCHULZ, PAIRED_GAIN)
