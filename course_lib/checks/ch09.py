"""The exercises of chapter 09, fine-tuning."""

import copy
import re
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.checks.exercise import Exercise, Mistake
from course_lib.checks.staged import StagedExercise, as_number


def _normal(generator):
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


def _mistakes(*pairs):
    return tuple(Mistake(hint, function) for hint, function in pairs)


# --- replace_head ------------------------------------------------------------------------------------


class _Classifier(nn.Module):
    """A body and a linear head with these weights. It need not run."""

    def __init__(self, state):
        super().__init__()
        self.body, self.head = (_linear(state[f"{part}.weight"], state[f"{part}.bias"]) for part in ("body", "head"))


def _linear(weight, bias):
    linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    linear.weight.data.copy_(weight)
    linear.bias.data.copy_(bias)
    return linear


def _head_probes(generator):
    """Fewer classes than before, and more; in single and in double precision."""
    normal, probes = _normal(generator), []
    for d_in, width, old, new, dtype in ((3, 6, 9, 4, torch.float32), (5, 7, 10, 2, torch.float64), (4, 8, 3, 11, torch.float64)):  # fmt: skip
        state = {"body.weight": normal(width, d_in), "body.bias": normal(width)}
        state |= {"head.weight": normal(old, width), "head.bias": normal(old)}
        probes.append({"model": {name: value.to(dtype) for name, value in state.items()}, "num_classes": new})
    return probes


def _head_watched(answer):
    """`answer(model, num_classes)`, which changes a model, as a function of a state dict that returns the new one.

    Random numbers differ each time, so that weights which are not 0 are named and not compared.
    """

    def watched(model, num_classes):
        if isinstance(model, nn.Module):
            return answer(model, num_classes)
        net = _Classifier(model)
        old, parts = net.head, set(dict(net.named_children()))
        returned = answer(net, num_classes)
        if isinstance(returned, dict):
            return returned
        same = net.head is old and all(torch.equal(value, model[name]) for name, value in net.state_dict().items())
        if returned is None and same and set(dict(net.named_children())) == parts:
            return None
        after = {name: parameter.detach() for name, parameter in net.named_parameters()}
        random = [
            n for n in ("head.weight", "head.bias") if n in after and after[n].any() and not _known(after, n, model)
        ]
        if random:
            raise ValueError(f"{' and '.join(random)} must be 0")
        frozen = [name for name, parameter in net.named_parameters() if not parameter.requires_grad]
        if frozen:
            raise ValueError(f"{' and '.join(frozen)} must go on being trained, and requires_grad is False")
        if returned is not net:
            what = "nothing" if returned is None else type(returned).__name__.lstrip("_")
            raise ValueError(
                f"expected the model itself to be returned, got {what}{', another one' * (type(returned) is _Classifier)}"
            )
        return after

    return watched


def _known(after, name, before):
    """Whether these are old weights, so that their numbers can be compared."""
    rows = min(len(after[name]), len(before[name]))
    return after[name].shape[1:] == before[name].shape[1:] and torch.equal(after[name][:rows], before[name][:rows])


def _new_head(model, num_classes):
    model.head = nn.Linear(model.head.in_features, num_classes).to(model.head.weight)
    model.head.requires_grad_()
    for parameter in model.head.parameters():
        parameter.data.zero_()
    return model


def _head_with(make, returns=lambda model: model):
    """The right answer, but for the head, which is `make(old, num_classes)`."""

    def replace(model, num_classes):
        model.head = make(model.head, num_classes)
        return returns(model)

    return replace


def _zeros(d_in, d_out, like, bias=True):
    linear = nn.Linear(d_in, d_out, bias=bias, dtype=like.weight.dtype)
    for parameter in linear.parameters():
        nn.init.zeros_(parameter)
    return linear


def _zero_only(*names):
    def make(old, num_classes):
        head = nn.Linear(old.in_features, num_classes, dtype=old.weight.dtype)
        for name in names:
            nn.init.zeros_(getattr(head, name))
        return head

    return make


def _head_of_its_rows(old, num_classes):
    return _linear(old.weight.detach()[:num_classes], old.bias.detach()[:num_classes])


def _then(change):
    """The right answer, and afterwards `change(model)`."""

    def replace(model, num_classes):
        change(_new_head(model, num_classes))
        return model

    return replace


def _zero_all(model):
    for parameter in model.parameters():
        nn.init.zeros_(parameter)


def _head_emptied(model, num_classes):
    for parameter in model.head.parameters():
        nn.init.zeros_(parameter)
    return model


def _head_called_fc(model, num_classes):
    model.fc = _zeros(model.head.in_features, num_classes, model.head)
    return model


REPLACE_HEAD = StagedExercise(
    name="replace_head",
    chapter="09",
    signature="replace_head(model, num_classes)",
    task="put a new nn.Linear from the old head's inputs to num_classes, its weight and bias 0, of the old head's dtype and device, in place of model.head, and return the model.",
    probes=_head_probes,
    oracle=_head_watched(_new_head),
    stage=_head_watched,
    mistakes=_mistakes(
        (
            "nn.Linear begins with random weights and biases, and gives answers before it has learned any: fill both with 0.",
            _head_with(_zero_only()),
        ),
        (
            "the weights are 0, and the biases still random: then the same class is always the favourite.",
            _head_with(_zero_only("weight")),
        ),
        (
            "the biases are 0, and the weights still random: fill them with 0 too.",
            _head_with(_zero_only("bias")),
        ),
        (
            "the new head has no bias: leave bias=False away.",
            _head_with(lambda old, k: _zeros(old.in_features, k, old, bias=False)),
        ),
        (
            "the new head is given what the old one put out: it stands in its place, so it takes old.in_features.",
            _head_with(lambda old, k: _zeros(old.out_features, k, old)),
        ),
        (
            "inputs and outputs are swapped: nn.Linear(in_features, out_features).",
            _head_with(lambda old, k: _zeros(k, old.in_features, old)),
        ),
        (
            "you set the old head to 0, and it has the old number of classes: a new nn.Linear with num_classes outputs.",
            _head_emptied,
        ),
        (
            "the new head is in float32 whatever the model is in: .to(old.weight) takes over dtype and device.",
            _head_with(lambda old, k: _zeros(old.in_features, k, nn.Linear(1, 1, dtype=torch.float32))),
        ),
        (
            "you keep rows of the old head: they stand for the old classes; the new ones begin at 0.",
            _head_with(_head_of_its_rows),
        ),
        (
            "you return the new head: return the model that it is in.",
            _head_with(lambda old, k: _zeros(old.in_features, k, old), lambda model: model.head),
        ),
        (
            "the head is right, and `return model` is missing.",
            _head_with(lambda old, k: _zeros(old.in_features, k, old), lambda model: None),
        ),
        (
            "you change a copy: the model that you are given gets the new head.",
            lambda model, k: _new_head(copy.deepcopy(model), k),
        ),
        (
            "you put a second head behind the old one: the features must reach the new head, so it takes the old one's place.",
            lambda model, k: nn.Sequential(model, _zeros(model.head.out_features, k, model.head)),
        ),
        (
            "everything is 0 now, and what the model had learned is gone: the parameters of the head only.",
            _then(_zero_all),
        ),
        (
            "you freeze the rest as well: that is another decision, and another function.",
            _then(lambda model: model.body.requires_grad_(False)),
        ),
        (
            "the new head is frozen, and it is the one part that must be trained.",
            _then(lambda model: model.head.requires_grad_(False)),
        ),
        (
            "everything is frozen, and nothing could learn: leave requires_grad as it is, True in a new nn.Linear.",
            _then(lambda model: model.requires_grad_(False)),
        ),
        (
            "you put the new head beside the old one, as fc: nobody asks it, so assign to model.head.",
            _head_called_fc,
        ),
    ),
)


# --- macro_f1 ----------------------------------------------------------------------------------------


def _f1_probes(generator):
    """Unbalanced answers: class 1 is half of all, 2 is never answered, 0 (and 3) never occurs, and the last is nowhere."""
    probes = []
    for n, classes, strangers in ((21, 6, (0,)), (34, 6, (0, 3)), (29, 8, (0, 3))):
        usual = torch.tensor([k for k in range(1, classes - 1) if k not in strangers])  # 1, 2, ...
        labels = usual[torch.randint(len(usual), (n,), generator=generator)]
        labels[: n // 2], labels[-1] = 1, 2
        answers = torch.where(torch.rand(n, generator=generator) < 0.7, labels, labels.roll(1))
        answers[answers == 2] = 1
        answers[: 2 * len(strangers)] = torch.tensor(strangers).repeat(2)
        answers[-3], labels[-3] = classes - 2, classes - 2
        order = torch.randperm(n, generator=generator)
        probes.append({"labels": labels[order], "answers": answers[order], "num_classes": classes})
    return probes


def _score_as_tensor(answer):
    def staged(labels, answers, num_classes):
        value = answer(labels, answers, num_classes)
        return None if value is None else as_number(value, "macro-F1")

    return staged


def _counted(labels, answers, num_classes):
    """True positives, answers and labels of each class, as lists of floats."""
    right = labels[labels == answers].bincount(minlength=num_classes)
    return tuple(
        x.double() for x in (right, answers.bincount(minlength=num_classes), labels.bincount(minlength=num_classes))
    )


def _scored(score, among=lambda right, said, true: said + true > 0):
    """The mean of `score(right, said, true)` over the classes that are `among` those that count."""

    def f1(labels, answers, num_classes):
        counts = _counted(labels, answers, num_classes)
        return score(*counts)[among(*counts)].mean().item()

    return f1


def _f1(right, said, true):
    return 2 * right / (said + true)


def _share(part, whole):
    """part / whole, and 0 for 0 / 0."""
    return torch.where(whole > 0, part / whole, 0.0)


def _f1_by_f1_of_means(labels, answers, num_classes):
    right, said, true = _counted(labels, answers, num_classes)
    there = said + true > 0
    precision, recall = _share(right, said)[there].mean(), _share(right, true)[there].mean()
    return (2 * precision * recall / (precision + recall)).item()


def _f1_by_division(number):
    """Class by class, with plain numbers of this kind: dividing by 0 is an error then, and its words differ."""

    def f1(labels, answers, num_classes):
        scores = []
        for counts in zip(*(x.tolist() for x in _counted(labels, answers, num_classes)), strict=True):
            right, said, true = map(number, counts)
            precision, recall = right / said, right / true
            scores.append(2 * precision * recall / (precision + recall))
        return sum(scores) / len(scores)

    return f1


def _f1_weighted(labels, answers, num_classes):
    right, said, true = _counted(labels, answers, num_classes)
    return ((_share(2 * right, said + true) * true).sum() / true.sum()).item()


MACRO_F1 = StagedExercise(
    name="macro_f1",
    chapter="09",
    signature="macro_f1(labels, answers, num_classes)",
    task="compute F1 = 2 TP / (2 TP + FP + FN) for each class that is among the labels or the answers, and return the plain mean of these as a float: (n,), (n,), a number -> a float.",
    probes=_f1_probes,
    oracle=_scored(_f1),
    stage=_score_as_tensor,
    mistakes=_mistakes(
        (
            "that is the accuracy: compute F1 for each class on its own, and average afterwards.",
            lambda labels, answers, k: (labels == answers).double().mean().item(),
        ),
        (
            "you weight each class by its images: the plain mean, in which a small class counts as much as a large one.",
            _f1_weighted,
        ),
        (
            "you average precision and recall first: F1 for each class, then the mean.",
            _f1_by_f1_of_means,
        ),
        (
            "that is the mean recall: a class also loses by answers that should have been another, its false positives.",
            _scored(lambda right, said, true: _share(right, true), lambda right, said, true: true > 0),
        ),
        (
            "that is the mean precision: a class also loses by images that were missed, its false negatives.",
            _scored(lambda right, said, true: _share(right, said), lambda right, said, true: said > 0),
        ),
        (
            "classes that occur nowhere count as 0: leave them out, they say nothing about the answers.",
            _scored(lambda right, said, true: _share(2 * right, said + true), lambda right, said, true: said >= 0),
        ),
        (
            "classes that occur nowhere count as 1: leave them out.",
            _scored(
                lambda right, said, true: torch.where(said + true > 0, _f1(right, said, true), 1.0),
                lambda right, said, true: said >= 0,
            ),
        ),
        (
            "you leave out a class that is answered, and never occurs: it counts, with an F1 of 0.",
            _scored(_f1, lambda right, said, true: true > 0),
        ),
        (
            "you leave out a class that occurs, and is never answered: it counts, with an F1 of 0.",
            _scored(_f1, lambda right, said, true: said > 0),
        ),
        (
            "you leave out classes with nothing right, and they are the ones to be ashamed of: they count, with an F1 of 0, if they occur at all.",
            _scored(_f1, lambda right, said, true: right > 0),
        ),
        (
            "0 / 0 gives nan: 2 TP / (2 TP + FP + FN) is that only for a class that occurs nowhere, so leave such a class out.",
            _scored(_f1, lambda right, said, true: said >= 0),
        ),
        *(
            (
                "precision divides by 0 where a class is never answered: 2 TP / (2 TP + FP + FN) needs no precision.",
                _f1_by_division(number),
            )
            for number in (int, float)
        ),
        (
            "the plain mean of precision and recall: F1 is their harmonic mean.",
            _scored(lambda right, said, true: (_share(right, said) + _share(right, true)) / 2),
        ),
        (
            "the square root of precision times recall: F1 is their harmonic mean.",
            _scored(lambda right, said, true: (_share(right, said) * _share(right, true)).sqrt()),
        ),
        (
            "TP / (TP + FP + FN) is the Jaccard index: TP counts twice, above and below.",
            _scored(lambda right, said, true: right / (said + true - right)),
        ),
        (
            "the 2 above is missing, and a perfect class would get a half: 2 TP / (2 TP + FP + FN).",
            _scored(lambda right, said, true: right / (said + true)),
        ),
        (
            "that is F1 of class 1 alone: the mean over all classes.",
            _scored(_f1, lambda right, said, true: torch.arange(len(said)) == 1),
        ),
        (
            "you return per cent: a number between 0 and 1.",
            _scored(lambda right, said, true: 100 * _f1(right, said, true)),
        ),
        (
            "you return a tensor: .item() makes a float of it.",
            lambda *inputs: torch.tensor(_scored(_f1)(*inputs)),
        ),
        (
            "you return one number for each class: their mean.",
            lambda labels, answers, k: _f1(*_counted(labels, answers, k)).tolist(),
        ),
    ),
)


# --- freeze_except -----------------------------------------------------------------------------------


def _tree(state):
    """A module whose parameters are called as in `state`, and have these values."""
    net = nn.Module()
    for name, value in state.items():
        *path, own = name.split(".")
        part = net
        for step in path:
            if not hasattr(part, step):
                part.add_module(step, nn.Module())
            part = part.get_submodule(step)
        part.register_parameter(own, nn.Parameter(value.detach().clone(), requires_grad=value.requires_grad))
    return net


def _freeze_probes(generator):
    """All trained, all frozen, and every second one; with names that look like others in part, and one block by chance."""
    normal, probes = _normal(generator), []
    for blocks, before, patterns in (
        ((0, 1), lambda i: True, ("head.*", "blocks.1.*")),
        ((0, 1, 10), lambda i: False, ("*.attn.*", "head.*", "*.qkv.*")),
        ((1, 10), lambda i: i % 2 == 0, ("pos_embed", "blocks.1.*", "*.bias")),
    ):
        names = ["cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"]
        for block in (*blocks, 20 + torch.randint(70, (), generator=generator).item()):
            names += [f"blocks.{block}.{own}" for own in ("attn.qkv.weight", "attn.qkv.bias", "mlp.fc1.weight")]  # fmt: skip
        names += ["dist.head.weight", "aux.pos_embed", "head.weight", "head.bias"]
        state = {name: normal(2).requires_grad_(before(i)) for i, name in enumerate(names)}
        probes.append({"model": state, "patterns": patterns})
    return probes


def _freeze_watched(answer):
    """`answer(model, patterns)` as a function of a state dict: which parameters are trained, and what is returned."""

    def watched(model, patterns):
        if isinstance(model, nn.Module):
            return answer(model, patterns)
        net = _tree(model)
        returned = answer(net, patterns)
        if isinstance(returned, dict):
            return returned
        after = {
            f"{name}, requires_grad (1 is True, 0 False)": torch.tensor(float(p.requires_grad))
            for name, p in net.named_parameters()
        }
        before = [int(value.requires_grad) for value in model.values()]
        if returned is None and [value.item() for value in after.values()] == before:
            return None
        if not isinstance(returned, list | tuple) or not all(isinstance(name, str) for name in returned):
            raise TypeError(f"expected a list of names to be returned, got {_kind(returned)}")
        return after | {f"number {i} of the names, {name}": torch.tensor(float(i)) for i, name in enumerate(returned)}

    return watched


def _kind(value):
    inner = f" of {type(value[0]).__name__}" if isinstance(value, list | tuple) and value else ""
    return f"{type(value).__name__}{inner}"


def _any_fits(name, patterns):
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _freezing(fits, returns=lambda named: [name for name, trained in named if trained], switch=None):
    """Train what `fits(name, patterns)`; return `returns` of [(name, whether it is trained)]."""

    def freeze(model, patterns):
        named = [(name, bool(fits(name, patterns))) for name, _ in model.named_parameters()]
        for (_, trained), parameter in zip(named, model.parameters(), strict=True):
            if switch is None or switch == trained:
                parameter.requires_grad_(trained)
        return returns(named)

    return freeze


def _nothing_switched(model, patterns):
    return [name for name, _ in model.named_parameters() if _any_fits(name, patterns)]


def _last_pattern_wins(model, patterns):
    _freezing(lambda name, patterns: fnmatchcase(name, patterns[-1]))(model, patterns)
    return [name for pattern in patterns for name, _ in model.named_parameters() if fnmatchcase(name, pattern)]


def _names_twice(model, patterns):
    _freezing(_any_fits)(model, patterns)
    return [name for pattern in patterns for name, _ in model.named_parameters() if fnmatchcase(name, pattern)]


FREEZE_EXCEPT = StagedExercise(
    name="freeze_except",
    chapter="09",
    signature="freeze_except(model, patterns)",
    task="set requires_grad of each parameter: True if its name fits at least one of the patterns, in which * stands for anything, and False if not; return the names of those that fit, in the model's order.",
    probes=_freeze_probes,
    oracle=_freeze_watched(_freezing(_any_fits)),
    stage=_freeze_watched,
    mistakes=_mistakes(
        (
            "what was frozen before stays frozen: set requires_grad to True where a pattern fits, not only to False where none does.",
            _freezing(_any_fits, switch=False),
        ),
        (
            "nothing is frozen: requires_grad must become False where no pattern fits.",
            _freezing(_any_fits, switch=True),
        ),
        (
            "the other way round: what fits is trained, and the rest is frozen.",
            _freezing(
                lambda name, patterns: not _any_fits(name, patterns), lambda named: [n for n, t in named if not t]
            ),
        ),
        (
            "what fits is frozen, and the rest is trained and returned: the other way round.",
            _freezing(lambda name, patterns: not _any_fits(name, patterns)),
        ),
        (
            "`pattern in name` looks for the star itself: fnmatch.fnmatchcase(name, pattern) knows what it stands for.",
            _freezing(lambda name, patterns: any(pattern in name for pattern in patterns)),
        ),
        (
            "a star at the beginning stands for anything too, so *.attn.* is more than a beginning of names: fnmatch.fnmatchcase.",
            _freezing(lambda name, patterns: name.startswith(tuple(p.rstrip("*") for p in patterns))),
        ),
        (
            "without its stars a pattern may fit in the middle of a name, and head. is also in dist.head.weight: the whole name must fit.",
            _freezing(lambda name, patterns: any(pattern.strip("*") in name for pattern in patterns)),
        ),
        (
            "each pattern undoes the one before, so that only the last counts: a parameter is trained if any of them fits.",
            _freezing(lambda name, patterns: fnmatchcase(name, patterns[-1])),
        ),
        (
            "each pattern undoes the one before, and some names stand twice: go through the parameters, and ask any(...) for each.",
            _last_pattern_wins,
        ),
        (
            "only the first pattern counts: go through all of them.",
            _freezing(lambda name, patterns: fnmatchcase(name, patterns[0])),
        ),
        (
            "you ask that all patterns fit: one is enough.",
            _freezing(lambda name, patterns: all(fnmatchcase(name, pattern) for pattern in patterns)),
        ),
        (
            "name and pattern are swapped: fnmatchcase(name, pattern).",
            _freezing(lambda name, patterns: any(fnmatchcase(pattern, name) for pattern in patterns)),
        ),
        (
            "these are no regular expressions, in which a star repeats what stands before it: fnmatch.fnmatchcase(name, pattern).",
            _freezing(lambda name, patterns: any(re.match(pattern, name) for pattern in patterns)),
        ),
        (
            "you return what is frozen: the names of those that are trained.",
            _freezing(_any_fits, lambda named: [name for name, trained in named if not trained]),
        ),
        (
            "you return all names: only those that are trained.",
            _freezing(_any_fits, lambda named: [name for name, _ in named]),
        ),
        (
            "you return the parameters: their names.",
            lambda model, patterns: (
                _freezing(_any_fits)(model, patterns),
                [p for n, p in model.named_parameters() if _any_fits(n, patterns)],
            )[1],
        ),
        (
            "you return how many: their names, in a list.",
            _freezing(_any_fits, lambda named: sum(trained for _, trained in named)),
        ),
        (
            "the names are missing: return a list of those that fit.",
            _freezing(_any_fits, lambda named: None),
        ),
        (
            "you return the model: the names of what is trained, so that one can see what the patterns caught.",
            lambda model, patterns: (_freezing(_any_fits)(model, patterns), model)[1],
        ),
        (
            "a name that fits two patterns stands twice, and the order is that of the patterns: go through the parameters, and ask any(...) for each.",
            _names_twice,
        ),
        (
            "the names are right, and nothing has been switched: set requires_grad of the parameters themselves; a state dict, or a copy of the model, holds other tensors, and any other attribute does nothing.",
            _nothing_switched,
        ),
    ),
)


# --- lora_linear -------------------------------------------------------------------------------------


def _lora_probes(generator):
    normal, probes = _normal(generator), []
    for lead, d_in, d_out, rank, bias in (((4,), 6, 9, 2, True), ((2, 5), 8, 7, 3, True), ((3, 2, 4), 5, 10, 4, False)):
        probe = {"x": normal(*lead, d_in), "weight": normal(d_out, d_in), "bias": normal(d_out) if bias else None}
        probe |= {"down": normal(rank, d_in).requires_grad_(), "up": normal(d_out, rank).requires_grad_()}
        share = torch.rand((), generator=generator, dtype=torch.float64).item()
        probes.append(probe | {"scale": round(1.5 + share, 3)})
    return probes


def _lora(x, weight, bias, down, up, scale):
    """The right answer, merged."""
    return F.linear(x, weight + scale * up @ down, bias)


def _detour(x, down, up):
    return torch.einsum("...i,ri,or->...o", x, down, up)


def _lora_by(combine):
    """`combine(base, detour, bias or 0, scale, rank)`, base without its bias."""

    def lora(x, weight, bias, down, up, scale):
        offset = 0.0 if bias is None else bias
        return combine(F.linear(x, weight), _detour(x, down, up), offset, scale, len(down))

    return lora


def _lora_in_place(x, weight, bias, down, up, scale):
    weight += scale * up @ down
    return F.linear(x, weight, bias)


LORA_LINEAR = Exercise(
    name="lora_linear",
    chapter="09",
    signature="lora_linear(x, weight, bias, down, up, scale)",
    task="compute x Wᵀ + b + scale · x downᵀ upᵀ: x (..., d_in), weight (d_out, d_in), bias (d_out,) or None, down (rank, d_in), up (d_out, rank) -> (..., d_out).",
    probes=_lora_probes,
    oracle=_lora,
    mistakes=_mistakes(
        (
            "scale is missing: the detour counts scale times.",
            _lora_by(lambda base, detour, b, scale, rank: base + b + detour),
        ),
        (
            "scale multiplies everything: only the detour.",
            _lora_by(lambda base, detour, b, scale, rank: scale * (base + b + detour)),
        ),
        (
            "scale multiplies the frozen layer: it belongs to the detour.",
            _lora_by(lambda base, detour, b, scale, rank: scale * (base + b) + detour),
        ),
        (
            "scale counts twice: once, for the detour as a whole.",
            _lora_by(lambda base, detour, b, scale, rank: base + b + scale**2 * detour),
        ),
        (
            "you divide by the rank: scale is alpha / rank already.",
            _lora_by(lambda base, detour, b, scale, rank: base + b + scale / rank * detour),
        ),
        (
            "you divide by scale: multiply.",
            _lora_by(lambda base, detour, b, scale, rank: base + b + detour / scale),
        ),
        (
            "the bias is missing: where there is one, it is added once.",
            _lora_by(lambda base, detour, b, scale, rank: base + scale * detour),
        ),
        (
            "the bias is added twice: the detour has none.",
            _lora_by(lambda base, detour, b, scale, rank: base + 2 * b + scale * detour),
        ),
        (
            "the bias is multiplied by scale: the detour has none of its own.",
            _lora_by(lambda base, detour, b, scale, rank: base + scale * (detour + b)),
        ),
        (
            "the bias counts once: the layer has added it, and nothing adds it in the detour.",
            _lora_by(lambda base, detour, b, scale, rank: base + b + scale * (detour + b)),
        ),
        (
            "F.linear(x, weight, bias) has added the bias: it counts once, so leave + bias away, which fails anyhow where there is none.",
            lambda x, weight, bias, down, up, scale: F.linear(x, weight, bias) + scale * _detour(x, down, up) + bias,
        ),
        (
            "you return the detour alone: it stands beside the frozen layer, and both are added.",
            _lora_by(lambda base, detour, b, scale, rank: scale * detour),
        ),
        (
            "the detour is missing: add scale · x downᵀ upᵀ.",
            _lora_by(lambda base, detour, b, scale, rank: base + b),
        ),
        (
            "you subtract the detour: add it.",
            _lora_by(lambda base, detour, b, scale, rank: base + b - scale * detour),
        ),
        (
            "you multiply layer and detour: add them.",
            _lora_by(lambda base, detour, b, scale, rank: (base + b) * scale * detour),
        ),
        (
            "a ReLU between down and up makes it an adapter, which cannot be merged into the weight: nothing stands between them.",
            lambda x, weight, bias, down, up, scale: (
                F.linear(x, weight, bias) + scale * F.linear(F.linear(x, down).relu(), up)
            ),
        ),
        (
            "bias may be None: F.linear(x, weight, bias) takes that.",
            lambda x, weight, bias, down, up, scale: x @ weight.mT + bias + scale * (x @ down.mT @ up.mT),
        ),
        (
            "the weights are (outputs, inputs), so x is multiplied by their transpose: x @ weight.T, or F.linear.",
            lambda x, weight, bias, down, up, scale: x @ weight + bias + scale * (x @ down @ up),
        ),
        (
            "x goes through down first, and up second: x @ down.T @ up.T.",
            lambda x, weight, bias, down, up, scale: F.linear(x, weight, bias) + scale * (x @ up.mT @ down.mT),
        ),
        (
            "down first, and both transposed: down is (rank, d_in) and up (d_out, rank), so x @ down.T @ up.T.",
            lambda x, weight, bias, down, up, scale: F.linear(x, weight, bias) + scale * (x @ up @ down),
        ),
        (
            "up is (d_out, rank), the weight of a layer like down: transpose it too, x @ down.T @ up.T.",
            lambda x, weight, bias, down, up, scale: F.linear(x, weight, bias) + scale * (x @ down.mT @ up),
        ),
        (
            "down and up are (rank, d_in) and (d_out, rank): transpose them, as the weight, x @ down.T @ up.T.",
            lambda x, weight, bias, down, up, scale: F.linear(x, weight, bias) + scale * (x @ down @ up),
        ),
        (
            "the product is up @ down, (d_out, d_in): down @ up does not fit.",
            lambda x, weight, bias, down, up, scale: F.linear(x, weight + scale * down @ up, bias),
        ),
        (
            "the detour is given what the layer puts out: it stands beside the layer, and takes x.",
            lambda x, weight, bias, down, up, scale: (
                (y := F.linear(x, weight, bias)) + scale * F.linear(F.linear(y, down), up)
            ),
        ),
        (
            "the numbers are right, but the frozen weight has been changed: weight + ..., without the = sign.",
            _lora_in_place,
        ),
    ),
)


# --- layerwise_lr ------------------------------------------------------------------------------------


class _Names(list):
    """A list that is shown by its first three: a message about it must leave room for the hint."""

    def __str__(self):
        return f"[{', '.join(self[:3])}, and {len(self) - 3} more]"


def _rates_probes(generator):
    probes = []
    for depth, first in ((3, ["cls_token", "pos_embed"]), (2, ["pos_embed"]), (12, ["cls_token", "pos_embed"])):
        names = [*first, "patch_embed.proj.weight", "patch_embed.proj.bias"]
        for block in range(depth):
            names += [f"blocks.{block}.{own}" for own in ("norm1.weight", "attn.qkv.bias", "mlp.fc1.weight")]
        names += ["norm.weight", "norm.bias", "head.weight", "head.bias"]
        decay = 0.55 + 0.35 * torch.rand((), generator=generator, dtype=torch.float64).item()
        probes.append({"names": _Names(names), "depth": depth, "decay": round(decay, 4)})
    return probes


def _rates_as_tensors(answer):
    def staged(names, depth, decay):
        rates = answer(names, depth, decay)
        if not isinstance(rates, dict):
            return rates
        return {name: as_number(rate, f"the factor of {name}") for name, rate in rates.items()}

    return staged


def _layer(name, depth):
    """0 for what comes before the blocks, 1 to depth for the blocks, depth for the last norm, depth + 1 for the head."""
    part, _, rest = name.partition(".")
    if part == "blocks":
        return int(rest.partition(".")[0]) + 1
    return {"norm": depth, "head": depth + 1}.get(part, 0)


def _rates_by(layer=_layer, factor=lambda decay, below: decay**below, keep=lambda name: True):
    """`factor(decay, layers below the head)` for each name that is kept, with `layer(name, depth)`."""

    def rates(names, depth, decay):
        return {name: float(factor(decay, depth + 1 - layer(name, depth))) for name in names if keep(name)}

    return rates


def _layer_but(**other):
    """The right layer, but for these parts: `part=function of depth`."""

    def layer(name, depth):
        part = name.partition(".")[0]
        return other[part](depth) if part in other else _layer(name, depth)

    return layer


def _layer_with_blocks(place):
    """The right layer, but for the blocks: `place(block, depth)`."""

    def layer(name, depth):
        return place(int(name.split(".")[1]), depth) if name.startswith("blocks.") else _layer(name, depth)

    return layer


def _layer_by_one_digit(name, depth):
    return int(name[7]) + 1 if name.startswith("blocks.") else _layer(name, depth)


def _layer_by_the_word_norm(name, depth):
    return depth if "norm" in name else _layer(name, depth)


def _halves(name, depth):
    below = depth + 1 - _layer(name, depth)
    return 2 * below - ("mlp" in name or not name.startswith("blocks."))


LAYERWISE_LR = StagedExercise(
    name="layerwise_lr",
    chapter="09",
    signature="layerwise_lr(names, depth, decay)",
    task="give each name its factor: 1 for head.*, decay for the last block and for norm.*, decay² for the block before, and so on down to decay^depth for blocks.0, and decay^(depth + 1) for everything that comes before the blocks: a list of names, a number, a number -> {name: factor}.",
    probes=_rates_probes,
    oracle=_rates_by(),
    stage=_rates_as_tensors,
    mistakes=_mistakes(
        (
            "upside down: the head gets 1, and what is nearest to the image the smallest factor.",
            lambda names, depth, decay: {name: decay ** _layer(name, depth) for name in names},
        ),
        (
            "everything has one decay too many: the head's factor is 1.",
            _rates_by(factor=lambda decay, below: decay ** (below + 1)),
        ),
        (
            "the last block has 1, as the head: it is one layer below, so its factor is decay.",
            _rates_by(factor=lambda decay, below: decay ** max(below - 1, 0)),
        ),
        (
            "head and norm are right, and everything below is one layer too high: the last block is one below the head.",
            _rates_by(lambda name, depth: _layer(name, depth) + (name.partition(".")[0] not in ("norm", "head"))),
        ),
        (
            "the blocks are upside down: block 0 is nearest to the image, and depth - i layers below the head.",
            _rates_by(_layer_with_blocks(lambda block, depth: depth - block)),
        ),
        (
            "block i has decay^i: count from the head down, depth - i.",
            _rates_by(_layer_with_blocks(lambda block, depth: depth + 1 - block)),
        ),
        (
            "what comes before the blocks has the factor of blocks.0: it is one more layer below.",
            _rates_by(lambda name, depth: max(_layer(name, depth), 1)),
        ),
        (
            "what comes before the blocks has 1: it is the lowest layer, decay^(depth + 1).",
            _rates_by(_layer_but(cls_token=lambda d: d + 1, pos_embed=lambda d: d + 1, patch_embed=lambda d: d + 1)),
        ),
        (
            "patch_embed is right, but cls_token and pos_embed have another factor: they come before the blocks too.",
            _rates_by(_layer_but(cls_token=lambda d: d + 1, pos_embed=lambda d: d + 1)),
        ),
        (
            "patch_embed has the factor of blocks.0: it comes before the blocks, one more layer below, as cls_token and pos_embed.",
            _rates_by(_layer_but(patch_embed=lambda d: 1)),
        ),
        (
            "cls_token and pos_embed have the factor of blocks.0: they come before the blocks, one more layer below, as patch_embed.",
            _rates_by(_layer_but(cls_token=lambda d: 1, pos_embed=lambda d: 1)),
        ),
        (
            "the last norm is taken for something before the blocks: it comes after them, and goes with the last.",
            _rates_by(_layer_but(norm=lambda d: 0)),
        ),
        (
            "you put the last norm with the head: it goes with the last block, so its factor is decay.",
            _rates_by(_layer_but(norm=lambda d: d + 1)),
        ),
        (
            'you read one digit, and blocks.10 is taken for blocks.1: name.split(".")[1] is the whole number.',
            _rates_by(_layer_by_one_digit),
        ),
        (
            '"norm" is in blocks.0.norm1 too: look at the first part of the name, name.split(".")[0].',
            _rates_by(_layer_by_the_word_norm),
        ),
        (
            "you multiply where a power is needed: decay ** layers, not decay · layers.",
            _rates_by(factor=lambda decay, below: decay * below),
        ),
        (
            "the factors fall on a straight line: each layer has decay times the factor of the one above.",
            _rates_by(factor=lambda decay, below: 1 - (1 - decay) * below),
        ),
        (
            "(1 - decay) is taken away too much: decay is the factor from one layer to the next.",
            _rates_by(factor=lambda decay, below: (1 - decay) ** below),
        ),
        (
            "only the blocks are there: each name gets a factor.",
            _rates_by(keep=lambda name: name.startswith("blocks.")),
        ),
        (
            "the head is left out: its factor is 1.",
            _rates_by(keep=lambda name: not name.startswith("head.")),
        ),
        (
            "biases have a factor of 1: they go with the weights of their layer. (What they are spared is weight decay.)",
            lambda names, depth, decay: (
                _rates_by()(names, depth, decay) | {n: 1.0 for n in names if n.endswith("bias")}
            ),
        ),
        (
            "attention and MLP count as two layers: a whole block is one.",
            lambda names, depth, decay: {name: decay ** max(_halves(name, depth), 0) for name in names},
        ),
        (
            "each layer has 1 / decay times the one above, and the lowest learns fastest: multiply by decay.",
            _rates_by(factor=lambda decay, below: decay**-below),
        ),
        (
            "you return the number of the layer: decay to that power.",
            _rates_by(factor=lambda decay, below: below),
        ),
        (
            "you return factors without their names: a dict.",
            lambda names, depth, decay: list(_rates_by()(names, depth, decay).values()),
        ),
    ),
)


EXERCISES = (REPLACE_HEAD, MACRO_F1, FREEZE_EXCEPT, LORA_LINEAR, LAYERWISE_LR)
