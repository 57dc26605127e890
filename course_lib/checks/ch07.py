"""The exercises of chapter 07, training from scratch."""

import math
from functools import cache, partial, wraps

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.checks.exercise import Mistake
from course_lib.checks.staged import StagedExercise, as_number
from course_lib.vit import VisionTransformer, ViTConfig

# --- warmup_cosine_lr --------------------------------------------------------------------------------


def _rate_as_tensor(answer):
    def staged(step, total_steps, warmup_steps, peak):
        rate = answer(step, total_steps, warmup_steps, peak)
        return None if rate is None else as_number(rate, "the learning rate")

    return staged


# Total steps and warm-up steps, and the steps that are asked for: at both ends, and on both sides of the peak.
_SCHEDULES = ((12, 4, (0, 1, 3, 4, 5, 8, 11)), (9, 0, (0, 4, 8)), (20, 5, (2, 5, 19)))


def _rate_probes(generator):
    probes = []
    for total, warmup, steps in _SCHEDULES:
        peak = round(0.2 + 0.8 * torch.rand((), generator=generator, dtype=torch.float64).item(), 4)
        probes += [{"step": step, "total_steps": total, "warmup_steps": warmup, "peak": peak} for step in steps]
    return probes


def _half_cosine(share):
    return 0.5 * (1 + math.cos(math.pi * share))


def _rate(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * _half_cosine((step - warmup_steps) / (total_steps - warmup_steps))


def _rising_as(rise):
    """The right answer but for the warm-up: `rise(step, warmup)` is the share of the peak."""

    def rate(step, total, warmup, peak):
        return peak * rise(step, warmup) if step < warmup else _rate(step, total, warmup, peak)

    return rate


def _falling_as(fall):
    """The right answer but for what follows the warm-up: `fall(step, total, warmup)` is the share of the peak."""

    def rate(step, total, warmup, peak):
        return _rate(step, total, warmup, peak) if step < warmup else peak * fall(step, total, warmup)

    return rate


def _falling_along(curve):
    """The right answer but for the shape of the fall: `curve(progress)`, progress from 0 to 1."""
    return _falling_as(lambda step, total, warmup: curve((step - warmup) / (total - warmup)))


def _rate_one_step_late(step, total, warmup, peak):
    return peak * (step + 1) / warmup if step <= warmup else _rate(step, total, warmup, peak)


def _rate_dividing_by_warmup(step, total, warmup, peak):
    return peak * min(1, (step + 1) / warmup) * _half_cosine(max(0, step - warmup) / (total - warmup))


def _rate_dividing_the_peak_by_warmup(step, total, warmup, peak):
    slope = peak / warmup
    return slope * (step + 1) if step < warmup else _rate(step, total, warmup, peak)


def _rate_multiplied(step, total, warmup, peak):
    return peak * min(1, (step + 1) / max(warmup, 1)) * _half_cosine(step / total)


WARMUP_COSINE_LR = StagedExercise(
    name="warmup_cosine_lr",
    chapter="07",
    signature="warmup_cosine_lr(step, total_steps, warmup_steps, peak)",
    task="rise on a straight line during the first warmup_steps steps, from peak / warmup_steps at step 0 to the peak at the last of them, and then fall along half a cosine that would reach 0 at step total_steps: numbers -> a float.",
    probes=_rate_probes,
    oracle=_rate,
    stage=_rate_as_tensor,
    mistakes=(
        Mistake(
            "with warmup_steps = 0 you divide by 0: divide by it only while step < warmup_steps.",
            _rate_dividing_by_warmup,
        ),
        Mistake(
            "with no warm-up, peak / warmup_steps divides by 0: compute it only while step < warmup_steps.",
            _rate_dividing_the_peak_by_warmup,
        ),
        Mistake(
            "peak is missing: you return the share of it, so multiply by peak.",
            lambda step, total, warmup, peak: _rate(step, total, warmup, 1.0),
        ),
        Mistake(
            "the warm-up rises to 1, not to the peak: multiply by peak there too.",
            lambda step, total, warmup, peak: _rate(step, total, warmup, 1.0 if step < warmup else peak),
        ),
        Mistake(
            "after the warm-up the rate falls from 1, not from the peak: multiply by peak there too.",
            lambda step, total, warmup, peak: _rate(step, total, warmup, peak if step < warmup else 1.0),
        ),
        Mistake(
            "step 0 gets a rate of 0, and learns nothing: steps are counted from 0, so take step + 1.",
            _rising_as(lambda step, warmup: step / warmup),
        ),
        Mistake(
            "the warm-up ends below the peak: divide step + 1 by warmup_steps, not by one more.",
            _rising_as(lambda step, warmup: (step + 1) / (warmup + 1)),
        ),
        Mistake(
            "the warm-up has one step too many and goes above the peak: it is over when step == warmup_steps, so compare with <.",
            _rate_one_step_late,
        ),
        Mistake(
            "there is no warm-up: while step < warmup_steps the rate rises on a straight line.",
            lambda step, total, warmup, peak: peak * _half_cosine(max(0, step - warmup) / (total - warmup)),
        ),
        Mistake(
            "there is no warm-up, and the cosine runs over all steps: the first warmup_steps rise, the rest fall.",
            lambda step, total, warmup, peak: peak * _half_cosine(step / total),
        ),
        Mistake(
            "the warm-up rises along a cosine: here it is a straight line.",
            _rising_as(lambda step, warmup: 1 - _half_cosine((step + 1) / warmup)),
        ),
        Mistake(
            "a whole-number division, //, is 0 during nearly all of the warm-up: divide with /.",
            _rising_as(lambda step, warmup: (step + 1) // warmup),
        ),
        Mistake(
            "the cosine runs over all steps, so it has begun to fall before the warm-up is over: after it, count step - warmup_steps out of total_steps - warmup_steps.",
            _falling_as(lambda step, total, warmup: _half_cosine(step / total)),
        ),
        Mistake(
            "warm-up and cosine are multiplied, and the peak is never reached: first the one, then the other.",
            _rate_multiplied,
        ),
        Mistake(
            "the cosine is stretched over total_steps and does not come down to 0: after the warm-up there are only total_steps - warmup_steps.",
            _falling_as(lambda step, total, warmup: _half_cosine((step - warmup) / total)),
        ),
        Mistake(
            "the fall starts from step, not from step - warmup_steps: at the end of the warm-up its progress must be 0.",
            _falling_as(lambda step, total, warmup: _half_cosine(step / (total - warmup))),
        ),
        Mistake(
            "the rate is 0 at the last step, which learns nothing: it would be 0 one step later, so divide by total_steps - warmup_steps, without - 1.",
            _falling_as(lambda step, total, warmup: _half_cosine((step - warmup) / (total - warmup - 1))),
        ),
        Mistake(
            "the fall is one step ahead: at step == warmup_steps the rate is still the peak.",
            _falling_as(lambda step, total, warmup: _half_cosine((step + 1 - warmup) / (total - warmup))),
        ),
        Mistake(
            "math.cos wants radians: half a turn is math.pi, not 180.",
            _falling_along(lambda progress: 0.5 * (1 + math.cos(180 * progress))),
        ),
        Mistake(
            "pi is missing: half a cosine runs from cos(0) to cos(pi).",
            _falling_along(lambda progress: 0.5 * (1 + math.cos(progress))),
        ),
        Mistake(
            "the cosine runs through a whole turn and comes back up: half of it ends at math.pi, not at 2 * math.pi.",
            _falling_along(lambda progress: 0.5 * (1 + math.cos(2 * math.pi * progress))),
        ),
        Mistake(
            "the rate becomes negative: a cosine runs from 1 to -1, so add 1 and halve it.",
            _falling_along(lambda progress: math.cos(math.pi * progress)),
        ),
        Mistake(
            "after the warm-up the rate is twice as high: 1 + cos runs from 2 to 0, so halve it.",
            _falling_along(lambda progress: 1 + math.cos(math.pi * progress)),
        ),
        Mistake(
            "a quarter of a cosine is steep at the end; here it is half of one, which comes in flat: (1 + cos(pi * progress)) / 2.",
            _falling_along(lambda progress: math.cos(math.pi / 2 * progress)),
        ),
        Mistake(
            "after the warm-up the rate rises from 0: it is 1 + cos, not 1 - cos.",
            _falling_along(lambda progress: 0.5 * (1 - math.cos(math.pi * progress))),
        ),
        Mistake(
            "the fall is a straight line: here it is half a cosine.", _falling_along(lambda progress: 1 - progress)
        ),
        Mistake(
            "after the warm-up the rate stays where it is: it falls along half a cosine.",
            _falling_along(lambda progress: 1.0),
        ),
        Mistake(
            "you return a tensor: a learning rate is a plain number, so use math.cos and math.pi.",
            lambda *inputs: torch.tensor(_rate(*inputs)),
        ),
    ),
)


# --- param_groups ------------------------------------------------------------------------------------


_VITS = {"a ViT with learned positions": "learn", "a ViT with relative positions": "relative"}
_KINDS = (*_VITS, "an nn.Sequential")


@cache
def _model(kind):
    """A small model of that kind. Its weights do not matter, so they take no memory."""
    with torch.device("meta"):
        if kind in _VITS:
            config = ViTConfig(
                8, 4, in_chans=1, num_classes=3, embed_dim=8, depth=1, num_heads=2, pos_embed=_VITS[kind]
            )
            return VisionTransformer(config)
        layers = (nn.ReLU(), nn.Flatten(), nn.Linear(96, 5), nn.LayerNorm(5), nn.Linear(5, 4, bias=False))
        return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), *layers)


@cache
def _names(kind):
    """{id of each parameter: its name}."""
    return {id(parameter): name for name, parameter in _model(kind).named_parameters()}


def _group_probes(generator):
    rates = 0.02 + 0.3 * torch.rand(len(_KINDS), generator=generator, dtype=torch.float64)
    return [{"model": kind, "weight_decay": round(rate, 4)} for kind, rate in zip(_KINDS, rates.tolist(), strict=True)]


def _decay_by_name(answer):
    """{name of each parameter: the weight decay that its group says}."""

    def staged(model, weight_decay):
        if isinstance(model, nn.Module):
            return answer(model, weight_decay)
        names, decays = _names(model), {}
        try:
            groups = answer(_model(model), weight_decay)
            frozen = [names[id(parameter)] for parameter in _model(model).parameters() if not parameter.requires_grad]
        finally:
            _model(model).requires_grad_()
        if groups is None or isinstance(groups, dict):
            return groups
        if frozen:
            raise ValueError(f"requires_grad of {frozen[0]} is False now")
        for group in groups:
            for member in group["params"]:
                if id(member) not in names:
                    raise ValueError(f"expected the model's own parameters in params, got {type(member).__name__}")
                if names[id(member)] in decays:
                    raise ValueError(f"{names[id(member)]} is there twice")
                decays[names[id(member)]] = as_number(group["weight_decay"], "weight_decay")
        return decays

    return staged


_ALONE = ("cls_token", "pos_embed", "bias_table")


def _decays(name, parameter):
    return parameter.ndim > 1 and not name.endswith(_ALONE)


def _groups_by(decays, keep=lambda name, parameter: True):
    """Two groups by `decays(name, parameter)`, of those parameters that `keep` keeps."""

    def groups(model, weight_decay):
        named = [(name, parameter) for name, parameter in model.named_parameters() if keep(name, parameter)]
        return [
            {"params": [p for n, p in named if decays(n, p)], "weight_decay": weight_decay},
            {"params": [p for n, p in named if not decays(n, p)], "weight_decay": 0.0},
        ]

    return groups


_groups = _groups_by(_decays)


def _with_all_in_one_more(model, weight_decay):
    return [{"params": list(model.parameters()), "weight_decay": weight_decay}, _groups(model, weight_decay)[1]]


def _with_other_decays(change):
    """The right groups, but their decay is `change(weight_decay)`."""

    def groups(model, weight_decay):
        found = _groups(model, weight_decay)
        return [{**group, "weight_decay": decay} for group, decay in zip(found, change(weight_decay), strict=True)]

    return groups


def _with_other_members(members):
    """The right groups, but `members(model, parameters)` stand in place of the parameters."""

    def groups(model, weight_decay):
        return [{**group, "params": members(model, group["params"])} for group in _groups(model, weight_decay)]

    return groups


def _names_of(model, parameters):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for parameter in parameters]


def _without_a_second_decay(model, weight_decay):
    decay, rest = _groups(model, weight_decay)
    return [decay, {"params": rest["params"]}]


def _frozen(model, weight_decay):
    groups = _groups(model, weight_decay)
    for parameter in groups[1]["params"]:
        parameter.requires_grad_(False)
    return groups


def _as_two_lists(model, weight_decay):
    return [group["params"] for group in _groups(model, weight_decay)]


PARAM_GROUPS = StagedExercise(
    name="param_groups",
    chapter="07",
    signature="param_groups(model, weight_decay)",
    task='put every parameter of the model into one of two groups: the weights of linear layers and convolutions decay, while biases, norms, cls_token, pos_embed and tables of position biases do not: a model -> [{"params": [...], "weight_decay": weight_decay}, {"params": [...], "weight_decay": 0.0}].',
    probes=_group_probes,
    oracle=_decay_by_name(_groups),
    stage=_decay_by_name,
    mistakes=(
        Mistake(
            "you go by the number of dimensions alone: cls_token, pos_embed and the tables of position biases have more than one, and must be found by their names.",
            _groups_by(lambda name, parameter: parameter.ndim > 1),
        ),
        Mistake(
            "the class token decays: it is no weight of a layer, so its name has to be asked for.",
            _groups_by(lambda name, parameter: parameter.ndim > 1 and not name.endswith(_ALONE[1:])),
        ),
        Mistake(
            "the positions decay: pos_embed is no weight of a layer, so its name has to be asked for.",
            _groups_by(lambda name, parameter: parameter.ndim > 1 and not name.endswith((_ALONE[0], _ALONE[2]))),
        ),
        Mistake(
            "the tables of relative position biases decay: their names end in bias_table.",
            _groups_by(lambda name, parameter: parameter.ndim > 1 and not name.endswith(_ALONE[:2])),
        ),
        Mistake(
            "the biases decay: nothing of one dimension does.",
            _groups_by(lambda name, parameter: _decays(name, parameter) or name.endswith(".bias")),
        ),
        Mistake(
            "the scales of the norms decay: leaving out the biases is not enough. Nothing of one dimension decays.",
            _groups_by(lambda name, parameter: not name.endswith((*_ALONE, ".bias"))),
        ),
        Mistake(
            "you find the norms by their name: in an nn.Sequential they are called 1.weight. Nothing of one dimension decays.",
            _groups_by(lambda name, parameter: "norm" not in name and not name.endswith((*_ALONE, ".bias"))),
        ),
        Mistake(
            "only the norms are left out: biases, cls_token, pos_embed and tables of position biases do not decay either.",
            _groups_by(lambda name, parameter: "norm" not in name),
        ),
        Mistake(
            "only biases and norms are left out, and those by their names: cls_token and pos_embed do not decay either, and in an nn.Sequential a norm is called 1.weight.",
            _groups_by(lambda name, parameter: "norm" not in name and "bias" not in name),
        ),
        Mistake(
            "only the biases are left out: norms, cls_token, pos_embed and tables of position biases do not decay either.",
            _groups_by(lambda name, parameter: not name.endswith("bias")),
        ),
        Mistake(
            '"embed" is a part of patch_embed.proj.weight too, and that is a weight like any other: ask for the whole name, pos_embed.',
            _groups_by(lambda name, parameter: _decays(name, parameter) and "embed" not in name),
        ),
        Mistake(
            "the head does not decay: it is a linear layer like the others.",
            _groups_by(lambda name, parameter: _decays(name, parameter) and not name.startswith("head.")),
        ),
        Mistake(
            "convolutions do not decay in your groups: the patch embedding is one, and its weight decays as a linear layer's does.",
            _groups_by(lambda name, parameter: _decays(name, parameter) and parameter.ndim == 2),
        ),
        Mistake("everything decays: the second group must not be empty.", _groups_by(lambda name, parameter: True)),
        Mistake(
            "the two groups are swapped: weights of layers decay, the rest does not.",
            _groups_by(lambda name, parameter: not _decays(name, parameter)),
        ),
        Mistake(
            "what does not decay is in no group, and would never be trained: it needs a group of its own, with weight_decay 0.",
            lambda model, weight_decay: _groups(model, weight_decay)[:1],
        ),
        Mistake(
            "the head is in no group, and would never be trained: go through model.named_parameters().",
            _groups_by(_decays, keep=lambda name, parameter: not name.startswith("head.")),
        ),
        Mistake(
            "cls_token and pos_embed are in no group, and would never be trained: they belong to those that do not decay.",
            _groups_by(_decays, keep=lambda name, parameter: "." in name),
        ),
        Mistake(
            "some parameters are in both groups: each belongs to one only, which is what if and else are for.",
            _with_all_in_one_more,
        ),
        Mistake(
            "you switch gradients off, so these parameters would never be trained: not decaying is a matter of weight_decay 0, and of nothing else.",
            _frozen,
        ),
        Mistake(
            "the optimiser wants the parameters themselves, not their names.",
            _with_other_members(_names_of),
        ),
        Mistake(
            "named_parameters() gives pairs: put the parameter into the list, without its name.",
            _with_other_members(
                lambda model, parameters: list(zip(_names_of(model, parameters), parameters, strict=True))
            ),
        ),
        Mistake(
            "state_dict() gives tensors without gradients, which no optimiser can train: take model.named_parameters().",
            _with_other_members(
                lambda model, parameters: [model.state_dict()[name] for name in _names_of(model, parameters)]
            ),
        ),
        Mistake(
            "the second group does not say its weight_decay, so AdamW would take its own default, 0.01: write 0.0.",
            _without_a_second_decay,
        ),
        Mistake(
            "the decay is a fixed number: take the argument weight_decay.",
            _with_other_decays(lambda weight_decay: (0.05, 0.0)),
        ),
        Mistake(
            "nothing decays: the first group gets weight_decay, the second 0.0.",
            _with_other_decays(lambda weight_decay: (0.0, 0.0)),
        ),
        Mistake(
            'you return lists of parameters: each group is a dictionary with "params" and "weight_decay".',
            _as_two_lists,
        ),
    ),
)


# --- evaluate ----------------------------------------------------------------------------------------


def _normal(generator):
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


class _Net(nn.Module):
    """A small classifier made of `_net_weights`. It notes whether gradients were recorded as it ran.

    In training mode every other hidden feature is dropped, the same ones each time: so the numbers can be compared.
    """

    def __init__(self, weights):
        super().__init__()
        for name, value in weights.items():
            self.register_parameter(name, nn.Parameter(value.detach().clone()))
        self.recorded = False

    def forward(self, images):
        own = dict(self.named_parameters())
        hidden = F.gelu(F.linear(images.flatten(1), own["fc1_weight"], own["fc1_bias"]))
        if self.training:
            hidden = hidden * (2 * (torch.arange(hidden.shape[1]) % 2))
        logits = F.linear(hidden, own["fc2_weight"], own["fc2_bias"])
        self.recorded |= logits.requires_grad
        return logits


def _net_weights(normal, pixels, hidden, classes):
    return {
        "fc1_weight": normal(hidden, pixels) / pixels**0.5,
        "fc1_bias": 0.3 * normal(hidden),
        "fc2_weight": 2 * normal(classes, hidden) / hidden**0.5,
        "fc2_bias": 0.3 * normal(classes),
    }


# Channels, height, width, hidden width, classes, and the sizes of the batches.
_SETS = ((1, 3, 4, 9, 5, (6, 6, 2)), (3, 2, 2, 7, 3, (4, 2)), (1, 4, 2, 6, 7, (3, 9, 3, 2)))


def _evaluate_probes(generator):
    normal, probes = _normal(generator), []
    for C, h, w, hidden, classes, sizes in _SETS:
        labels = torch.randint(classes, (sum(sizes),), generator=generator)
        images = normal(len(labels), C, h, w)
        weights = _net_weights(normal, C * h * w, hidden, classes)
        with torch.no_grad():
            answers = _Net(weights).eval()(images).argmax(dim=1)
        # Whatever the numbers, some are right and some are wrong, and so in the last batch.
        labels[0], labels[-2], labels[-1] = answers[0], answers[-2], (answers[-1] + 1) % classes
        probes.append({"weights": weights, "images": images, "labels": labels, "batch_sizes": sizes})
    return probes


def _loss_and_accuracy(answer):
    def staged(*inputs, **named):
        inputs = (*inputs, *named.values())
        if isinstance(inputs[0], nn.Module):
            return answer(*inputs)
        weights, images, labels, sizes = inputs
        model = _Net(weights)
        batches = zip(images.split(sizes), labels.split(sizes), strict=True)
        result = answer(model, batches)
        if result is None or isinstance(result, dict):
            return result
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise TypeError(f"expected two floats, the loss and the accuracy, got {type(result).__name__}")
        if model.recorded:
            raise ValueError("gradients were recorded while the model ran")
        return {name: as_number(value, f"the {name}") for name, value in zip(("loss", "accuracy"), result, strict=True)}

    return staged


def _evaluate(model, batches):
    """All images at once."""
    model.eval()
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    with torch.no_grad():
        logits = model(images)
    return F.cross_entropy(logits, labels).item(), (logits.argmax(dim=1) == labels).double().mean().item()


def _by_batches(
    model, batches, *, combine, loss=F.cross_entropy, hits=lambda logits, labels: (logits.argmax(1) == labels).sum()
):
    """Evaluate batch by batch; `combine` makes the answer of a list of (mean loss, hits, images)."""
    model.eval()
    with torch.no_grad():
        seen = [
            (loss(logits, labels).item(), hits(logits, labels).item(), len(labels))
            for logits, labels in ((model(images), labels) for images, labels in batches)
        ]
    return combine(seen)


def _combined(combine, **options):
    return partial(_by_batches, combine=combine, **options)


def _mean(values):
    values = list(values)
    return sum(values) / len(values)


def _exact_loss(seen):
    return sum(loss * n for loss, _, n in seen) / sum(n for _, _, n in seen)


def _exact_accuracy(seen):
    return sum(hits for _, hits, _ in seen) / sum(n for _, _, n in seen)


def _exact(seen):
    return _exact_loss(seen), _exact_accuracy(seen)


def _in_training_mode(model, batches):
    model.train()
    with torch.no_grad():
        seen = []
        for images, labels in batches:
            logits = model(images)
            hits = (logits.argmax(1) == labels).sum().item()
            seen.append((F.cross_entropy(logits, labels).item(), hits, len(labels)))
    return _exact(seen)


def _with_gradients(model, batches):
    model.eval()
    for images, _ in batches:
        model(images)
    return 0.0, 0.0


def _with_len(model, batches):
    return 0.0, 0.0 / len(batches)


EVALUATE = StagedExercise(
    name="evaluate",
    chapter="07",
    signature="evaluate(model, batches)",
    task="run the model over all batches, in evaluation mode and without gradients, and return the mean cross-entropy over all images and the share of images whose largest logit is the right one: a model and pairs (images (B, C, h, w), labels (B,)) -> (loss, accuracy), two floats.",
    probes=_evaluate_probes,
    oracle=_loss_and_accuracy(_evaluate),
    stage=_loss_and_accuracy,
    mistakes=(
        Mistake(
            "you average over the batches, and the last one is smaller: add up over images, and divide by their number once, at the end.",
            _combined(lambda seen: (_mean(loss for loss, _, _ in seen), _mean(hits / n for _, hits, n in seen))),
        ),
        Mistake(
            "the accuracy is exact, but the loss is a mean over batches: F.cross_entropy gives a batch's mean, so multiply it by the number of its images, or take reduction='sum'.",
            _combined(lambda seen: (_mean(loss for loss, _, _ in seen), _exact_accuracy(seen))),
        ),
        Mistake(
            "the loss is exact, but the accuracy is a mean over batches: count the right answers, and divide by the number of images at the end.",
            _combined(lambda seen: (_exact_loss(seen), _mean(hits / n for _, hits, n in seen))),
        ),
        Mistake(
            "you add up the batches' mean losses and divide by the number of images: a mean must be multiplied by its batch's size first.",
            _combined(
                lambda seen: (sum(loss for loss, _, _ in seen) / sum(n for _, _, n in seen), _exact_accuracy(seen))
            ),
        ),
        Mistake(
            "you add up over images, but divide by the number of batches.",
            _combined(
                lambda seen: (
                    sum(loss * n for loss, _, n in seen) / len(seen),
                    sum(hits for _, hits, _ in seen) / len(seen),
                )
            ),
        ),
        Mistake(
            "you multiply by the size of the first batch: the last one is smaller, so take len(labels) each time.",
            _combined(
                lambda seen: (
                    sum(loss for loss, _, _ in seen) * seen[0][2] / (len(seen) * seen[0][2]),
                    sum(hits for _, hits, _ in seen) / (len(seen) * seen[0][2]),
                )
            ),
        ),
        Mistake(
            "the model is in training mode, and dropout makes its answers random: call model.eval() first.",
            _in_training_mode,
        ),
        Mistake(
            "gradients are recorded all the way, which costs memory for nothing: wrap the loop in `with torch.no_grad():`.",
            _with_gradients,
        ),
        Mistake(
            "the last batch is left out, because it is smaller: its images count as the others do.",
            _combined(lambda seen: _exact([s for s in seen if s[2] == seen[0][2]])),
        ),
        Mistake(
            "only the first batch counts: is your `return` inside the loop?",
            _combined(lambda seen: _exact(seen[:1])),
        ),
        Mistake(
            "only the last batch counts: add up with +=, instead of replacing.",
            _combined(lambda seen: _exact(seen[-1:])),
        ),
        Mistake(
            "batches may come from a generator, which has no length: count the images as they come.",
            _with_len,
        ),
        Mistake(
            "argmax runs over the images: the classes are the last dimension, dim=-1.",
            _combined(_exact, hits=lambda logits, labels: (logits.argmax(0) == labels).sum()),
        ),
        Mistake(
            "F.cross_entropy takes logits, and applies the softmax itself: you apply it before, too.",
            _combined(_exact, loss=lambda logits, labels: F.cross_entropy(logits.softmax(1), labels)),
        ),
        Mistake(
            "the accuracy is in per cent: return the share, between 0 and 1.",
            _combined(lambda seen: (_exact_loss(seen), 100 * _exact_accuracy(seen))),
        ),
        Mistake(
            "you return the number of right answers: divide by the number of images.",
            _combined(lambda seen: (_exact_loss(seen), sum(hits for _, hits, _ in seen))),
        ),
        Mistake(
            "you return the sum of the losses: divide by the number of images.",
            _combined(lambda seen: (_exact_loss(seen) * sum(n for _, _, n in seen), _exact_accuracy(seen))),
        ),
        Mistake(
            "you return the share of wrong answers: count where they are equal.",
            _combined(lambda seen: (_exact_loss(seen), 1 - _exact_accuracy(seen))),
        ),
        Mistake(
            "the two are swapped: first the loss, then the accuracy.",
            _combined(lambda seen: _exact(seen)[::-1]),
        ),
        Mistake(
            "you return tensors: .item() makes a plain number of each.",
            _combined(lambda seen: (torch.tensor(_exact_loss(seen)), _exact_accuracy(seen))),
        ),
        Mistake(
            "you return one number: the task asks for two, `return loss, accuracy`.",
            _combined(_exact_loss),
        ),
    ),
)


# --- train_step --------------------------------------------------------------------------------------


# Channels, height, width, hidden width, classes, images, longest gradient: far below the gradient's length, or above.
_STEPS = ((1, 3, 4, 9, 5, 6, 0.05, "SGD"), (3, 2, 2, 7, 3, 5, 50.0, "SGD"), (2, 3, 3, 8, 4, 7, 0.3, "AdamW"))


def _step_probes(generator):
    """A model that was looked at before (it is in evaluation mode), with gradients left from another step."""
    normal, probes = _normal(generator), []
    for C, h, w, hidden, classes, batch, max_norm, optimizer in _STEPS:
        weights = _net_weights(normal, C * h * w, hidden, classes)
        probe = {"weights": weights, "old_gradients": {name: 0.5 * normal(*p.shape) for name, p in weights.items()}}
        probe |= {"optimizer": optimizer, "images": normal(batch, C, h, w)}
        probes.append(probe | {"labels": torch.randint(classes, (batch,), generator=generator), "max_norm": max_norm})
    return probes


def _loss_and_weights(answer):
    @wraps(answer)
    def staged(*inputs, **named):
        inputs = (*inputs, *named.values())
        if isinstance(inputs[0], nn.Module):
            return answer(*inputs)
        weights, old_gradients, optimizer, images, labels, max_norm = inputs
        model = _Net(weights).eval()
        for parameter, gradient in zip(model.parameters(), old_gradients.values(), strict=True):
            parameter.grad = gradient.clone()
        # Small steps: PyTorch's clipping adds 1e-6 to the length, a reader's own need not.
        kinds = {"SGD": partial(torch.optim.SGD, lr=0.01), "AdamW": partial(torch.optim.AdamW, lr=0.003, eps=0.1)}
        loss = answer(model, kinds[optimizer](model.parameters()), images, labels, max_norm)
        if loss is None or isinstance(loss, dict):
            return loss
        after = zip(weights, model.parameters(), strict=True)
        return {"loss": as_number(loss, "the loss")} | {name: parameter.detach() for name, parameter in after}

    return staged


def _step(
    model,
    optimizer,
    images,
    labels,
    max_norm,
    *,
    zero=True,
    mode=True,
    loss_of=F.cross_entropy,
    clip=nn.utils.clip_grad_norm_,
    result=lambda loss, images: loss.item(),
):
    """The right answer, with parts to exchange."""
    model.train(mode)
    if zero:
        optimizer.zero_grad()
    loss = loss_of(model(images), labels)
    loss.backward()
    clip(model.parameters(), max_norm)
    optimizer.step()
    return result(loss, images)


def _stepping(**parts):
    return partial(_step, **parts)


def _without_moving(model, optimizer, images, labels, max_norm):
    model.train()
    return F.cross_entropy(model(images), labels).item()


def _stepping_first(model, optimizer, images, labels, max_norm):
    model.train()
    loss = F.cross_entropy(model(images), labels)
    optimizer.step()
    loss.backward()
    return loss.item()


def _adding_after_clipping(model, optimizer, images, labels, max_norm):
    model.train()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def _stepping_twice(model, optimizer, images, labels, max_norm):
    loss = _step(model, optimizer, images, labels, max_norm)
    optimizer.step()
    return loss


def _with_a_step_by_hand(model, optimizer, images, labels, max_norm):
    loss = _step(model, torch.optim.SGD(model.parameters(), 0.0), images, labels, max_norm)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= optimizer.param_groups[0]["lr"] * parameter.grad
    return loss


def _clip_each(parameters, max_norm):
    for parameter in parameters:
        nn.utils.clip_grad_norm_(parameter, max_norm)


def _to_length(parameters, max_norm):
    gradients = [parameter.grad for parameter in parameters]
    length = torch.stack([gradient.norm() for gradient in gradients]).norm()
    for gradient in gradients:
        gradient *= max_norm / length


def _loss_afterwards(model, optimizer, images, labels, max_norm):
    _step(model, optimizer, images, labels, max_norm)
    with torch.no_grad():
        return F.cross_entropy(model(images), labels).item()


def _returning_the_norm(model, optimizer, images, labels, max_norm):
    norms = []
    _step(model, optimizer, images, labels, max_norm, clip=lambda *a: norms.append(nn.utils.clip_grad_norm_(*a)))
    return norms[0].item()


TRAIN_STEP = StagedExercise(
    name="train_step",
    chapter="07",
    signature="train_step(model, optimizer, images, labels, max_norm)",
    task="switch to training mode, forget the old gradients, compute the mean cross-entropy and its gradients, shorten these to max_norm if they are longer (all of them as one vector), and let the optimiser take one step; return the loss before the step as a float. The weights of the model are compared afterwards.",
    probes=_step_probes,
    oracle=_loss_and_weights(_step),
    stage=_loss_and_weights,
    mistakes=(
        Mistake(
            "the old gradients are still in: backward() adds to what is there, so call optimizer.zero_grad() before it.",
            _stepping(zero=False),
        ),
        Mistake(
            "the weights have not moved: after backward() the gradients must still be there when optimizer.step() is called.",
            _without_moving,
        ),
        Mistake(
            "optimizer.step() comes before backward(), and goes along the old gradients: first zero_grad, then backward, then step.",
            _stepping_first,
        ),
        Mistake(
            "you clip the old gradients, and backward() adds the new ones to them: zero_grad first, and clip after backward().",
            _adding_after_clipping,
        ),
        Mistake(
            "the gradients go into the step unclipped: clip_grad_norm_ belongs after backward(), where they are made, and before step(), where they are used.",
            _stepping(clip=lambda parameters, max_norm: None),
        ),
        Mistake(
            "you clip each number of the gradient for itself: clip_grad_norm_ shortens them all together and keeps the direction, clip_grad_value_ does not.",
            _stepping(clip=nn.utils.clip_grad_value_),
        ),
        Mistake(
            "you clip each parameter's gradient for itself: all gradients together are one vector, and its length counts.",
            _stepping(clip=_clip_each),
        ),
        Mistake(
            "you measure the gradient by its largest number: its length is the root of the sum of squares, norm_type 2.",
            _stepping(clip=partial(nn.utils.clip_grad_norm_, norm_type=math.inf)),
        ),
        Mistake(
            "you measure the gradient by the sum of absolute values: its length is the root of the sum of squares, norm_type 2.",
            _stepping(clip=partial(nn.utils.clip_grad_norm_, norm_type=1.0)),
        ),
        Mistake(
            "every gradient gets the length max_norm: one that is shorter stays as it is.",
            _stepping(clip=_to_length),
        ),
        Mistake(
            "you clip to a fixed length of 1: take max_norm.",
            _stepping(clip=lambda parameters, max_norm: nn.utils.clip_grad_norm_(parameters, 1.0)),
        ),
        Mistake(
            "the model is still in evaluation mode, so dropout does nothing: call model.train() first.",
            _stepping(mode=False),
        ),
        Mistake(
            "you return the loss as a tensor, and with it the whole graph stays in memory: return loss.item().",
            _stepping(result=lambda loss, images: loss),
        ),
        Mistake(
            "you return the loss after the step: return that of the forward pass from which the gradients came.",
            _loss_afterwards,
        ),
        Mistake(
            "you return the sum over the images: the mean is asked for.",
            _stepping(result=lambda loss, images: loss.item() * len(images)),
        ),
        Mistake(
            "you return the length of the gradient, which is what clip_grad_norm_ returns: return the loss.",
            _returning_the_norm,
        ),
        Mistake(
            "the loss is a sum over the images, so its gradient grows with the batch: take the mean, which is F.cross_entropy's default.",
            _stepping(loss_of=partial(F.cross_entropy, reduction="sum")),
        ),
        Mistake(
            "F.cross_entropy takes logits, and applies the softmax itself: you apply it before, too.",
            _stepping(loss_of=lambda logits, labels: F.cross_entropy(logits.softmax(dim=1), labels)),
        ),
        Mistake(
            "the loss is not cross-entropy: F.cross_entropy(logits, labels) takes the class numbers as they are.",
            _stepping(loss_of=lambda logits, labels: F.mse_loss(logits, F.one_hot(labels, logits.shape[1]).to(logits))),
        ),
        Mistake("optimizer.step() is called twice: once is enough.", _stepping_twice),
        Mistake(
            "you subtract the gradient yourself: optimizer.step() does more than that, as AdamW shows.",
            _with_a_step_by_hand,
        ),
    ),
)

EXERCISES = (TRAIN_STEP, WARMUP_COSINE_LR, PARAM_GROUPS, EVALUATE)
