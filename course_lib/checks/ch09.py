"""The exercises of chapter 09, fine-tuning."""

import copy
import re  # noqa: F401 (for the edits)
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import Exercise, normal, single
from course_lib.checks.staged import StagedExercise, as_number
from course_lib.vit import VisionTransformer, ViTConfig

IS_SO = "(1 is True, 0 False)"


class TiedClassifier(nn.Module):
    """A classifier whose head has a weight in common with another part."""

    def __init__(self, classes, width):
        super().__init__()
        self.table = nn.Embedding(classes, width)
        self.body = nn.Sequential(nn.BatchNorm1d(width))
        self.head = nn.Linear(width, classes)
        self.head.weight = self.table.weight

    def forward(self, numbers):
        return self.head(self.body(self.table(numbers)))


def _classifier(kind, classes, width, bias=True):
    if kind is TiedClassifier:
        net = TiedClassifier(classes, width)
    else:
        config = ViTConfig(4, 2, in_chans=1, num_classes=classes, embed_dim=width, depth=2, num_heads=1, mlp_ratio=1)
        net = VisionTransformer(config)
    if not bias:
        net.head.register_parameter("bias", None)
    return net


def _classifier_of(state):
    """The model with this state dict, as much of it frozen; in evaluation mode if its head is."""
    kind = TiedClassifier if "table.weight" in state else VisionTransformer
    classes, width = state["head.weight"].shape
    net = _classifier(kind, classes, width, "head.bias" in state).to(state["head.weight"].dtype)
    net.load_state_dict(state)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(state[name].requires_grad)
    return net.train(bool(net.head.weight.requires_grad))


def _head_probes(generator):
    """Fewer classes than before, more, and as many; with and without a bias; trained, frozen, and half of each."""
    draw, probes = normal(generator), []
    for kind, old, width, bias, new, dtype, trained in (
        (VisionTransformer, 9, 6, True, 4, torch.float32, lambda i: True),
        (TiedClassifier, 3, 8, True, 11, torch.float64, lambda i: True),
        (TiedClassifier, 5, 7, False, 2, torch.float64, lambda i: i % 2 == 1),
        (VisionTransformer, 10, 4, True, 1, torch.float64, lambda i: i % 2 == 0),
        (TiedClassifier, 4, 1, True, 4, torch.float32, lambda i: True),
        (VisionTransformer, 9, 6, True, 4, torch.float64, lambda i: False),
    ):
        with torch.device("meta"):  # shapes without numbers
            net = _classifier(kind, old, width, bias)
        state = {name: draw(*buffer.shape).to(dtype) for name, buffer in net.named_buffers()}
        for i, (name, parameter) in enumerate(net.named_parameters(remove_duplicate=False)):
            state[name] = draw(*parameter.shape).to(dtype).requires_grad_(trained(i))
        probes.append({"model": state, "num_classes": new})
    return probes


def _head_watched(answer):
    """`answer(model, num_classes)`, which changes a model, as a function of a state dict that returns the new one.

    Random numbers differ each time, so that weights which are not 0 are named and not compared.
    """

    def watched(model, num_classes):
        if isinstance(model, nn.Module):
            return answer(model, num_classes)
        net = _classifier_of(model)
        elsewhere = copy.deepcopy(net).to("meta")  # the model on another device
        head, before = net.head, {name: value.clone() for name, value in net.state_dict().items()}
        returned = answer(net, num_classes)
        if isinstance(returned, dict):
            return returned
        after = {n: v.detach() if v.is_floating_point() else v.double() for n, v in net.state_dict().items()}
        if returned is None and net.head is head and all(torch.equal(after[n], v) for n, v in before.items()):
            return None
        if returned is not net:
            what = "nothing" if returned is None else type(returned).__name__
            another = ", another one" * (type(returned) is type(net))
            raise ValueError(f"expected the model itself to be returned, got {what}{another}")
        if not isinstance(net.head, nn.Linear):
            raise TypeError(f"expected model.head to be an nn.Linear, got {type(net.head).__name__}")

        for name in {"head.weight", "head.bias"} & set(after):
            value = after[name]
            if not (name in before and torch.equal(value, before[name][: len(value)])):  # rows of the old one
                after[name] = torch.zeros_like(value)
                after[f"{name}, all 0 {IS_SO}"] = int(not value.any())
        after |= {f"head.{what}": getattr(net.head, what) for what in ("in_features", "out_features")}
        for name, parameter in net.named_parameters():
            after[f"{name}, requires_grad {IS_SO}"] = int(parameter.requires_grad)
        answer(elsewhere, num_classes)
        for name, parameter in elsewhere.head.named_parameters():
            after[f"head.{name}, on the old head's device {IS_SO}"] = int(parameter.is_meta)
        return after | {"parts in training mode": sum(m.training for m in net.modules() if m is not net.head)}

    return watched


def _new_head(model, num_classes):
    old = model.head
    head = nn.Linear(old.in_features, num_classes).to(old.weight)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    model.head = head
    return model


REPLACE_HEAD = StagedExercise(
    name="replace_head",
    chapter="09",
    signature="replace_head(model, num_classes)",
    task="put a new nn.Linear from the old head's inputs to num_classes, its weight and bias 0, of the old head's dtype and device, in place of model.head, and return the model.",
    probes=_head_probes,
    oracle=_head_watched(_new_head),
    stage=_head_watched,
    mistakes=edits_of(
        _new_head,
        """
        nn.Linear begins with random weights and biases, and gives answers before it has learned any: fill both with 0.
            nn.init.zeros_(head.weight) ⇒
            nn.init.zeros_(head.bias) ⇒
        the weights are 0, and the biases are not: then the same class is always the favourite.
            nn.init.zeros_(head.bias) ⇒
        the biases are 0, and the weights are not: fill them with 0 too.
            nn.init.zeros_(head.weight) ⇒
        the new head has no bias: leave bias=False away.
            num_classes).to ⇒ num_classes, bias=False).to
            nn.init.zeros_(head.bias) ⇒
        the new head has a bias only where the old one had: it always has one.
            num_classes).to ⇒ num_classes, bias=old.bias is not None).to
            nn.init.zeros_(head.bias) ⇒ [nn.init.zeros_(parameter) for parameter in head.parameters()]
        the new head is given what the old one put out: it stands in its place, so it takes old.in_features.
            old.in_features ⇒ old.out_features
        inputs and outputs are swapped: nn.Linear(in_features, out_features).
            old.in_features, num_classes ⇒ num_classes, old.in_features
        you set the old head to 0, and it has the old number of classes: a new nn.Linear with num_classes outputs.
            ⇒ for parameter in model.head.parameters():
            |     nn.init.zeros_(parameter)
            | return model
          or
            ⇒ nn.init.zeros_(model.head.weight)
            | nn.init.zeros_(model.head.bias)
            | return model
          or
            ⇒ model.head.weight.data.fill_(0)
            | model.head.bias.data.fill_(0)
            | return model
        the old number of classes: num_classes says how many outputs the new head has.
            num_classes).to ⇒ old.out_features).to
        the weight has a new shape, and the layer still says out_features as before: put in a new nn.Linear.
            ⇒ weight = model.head.weight
            | model.head.weight = nn.Parameter(weight.new_zeros(num_classes, weight.shape[1]))
            | model.head.bias = nn.Parameter(weight.new_zeros(num_classes))
            | return model
        the dtype is right, and the new head is on the CPU wherever the old one is: .to(old.weight) takes over both.
            .to(old.weight) ⇒ .to(old.weight.dtype)
        the device is right, and the new head is in float32 whatever the old one is in: .to(old.weight) takes over both.
            .to(old.weight) ⇒ .to(old.weight.device)
        the new head is in float32 and on the CPU, whatever the model is: .to(old.weight) takes over dtype and device.
            .to(old.weight) ⇒
        the old head may have no bias, and then .to(None) does nothing: .to(old.weight).
            .to(old.weight) ⇒ .to(old.bias)
        the whole model is in float32 now, and only the head was to be new: let the head follow the model, .to(old.weight).
            return model ⇒ return model.float()
          or
            .to(old.weight) ⇒
            return model ⇒ return model.float()
        there is one class too many: num_classes outputs.
            num_classes).to ⇒ num_classes + 1).to
        the new head is in float64 whatever the old one is in: .to(old.weight) takes over dtype and device.
            .to(old.weight) ⇒ .double()
        the head is made as it should be, and then filled with other tensors, in float32 on the CPU: nn.init.zeros_ keeps dtype and device.
            nn.init.zeros_(head.weight) ⇒ head.weight.data = torch.zeros(num_classes, old.in_features)
            nn.init.zeros_(head.bias) ⇒ head.bias.data = torch.zeros(num_classes)
        you keep rows of the old head: they stand for the old classes; the new ones begin at 0.
            nn.init.zeros_(head.weight) ⇒ head.weight = nn.Parameter(old.weight.detach()[:num_classes].clone())
            nn.init.zeros_(head.bias) ⇒ if old.bias is not None:
            |     head.bias = nn.Parameter(old.bias.detach()[:num_classes].clone())
          or
            nn.init.zeros_(head.weight) ⇒ head.weight = nn.Parameter(old.weight[:num_classes].detach().clone())
            nn.init.zeros_(head.bias) ⇒ head.bias = nn.Parameter(old.bias[:num_classes].detach().clone())
        you return the new head: return the model that it is in.
            return model ⇒ return head
        `return model` is missing.
            return model ⇒
        you change a copy: the model that you are given gets the new head.
            ⇒ return _new_head(copy.deepcopy(model), num_classes)
        you put an nn.Sequential together: the model that you are given gets a new `head`, and is returned.
            model.head = head ⇒ head = nn.Linear(old.out_features, num_classes).to(old.weight)
            return model ⇒ return nn.Sequential(model, head)
        model.head is an nn.Sequential: the new nn.Linear alone takes the place of the old one.
            = head ⇒ = nn.Sequential(old, head)
        other parts are 0 now too, and what they had learned is gone: the parameters of the head only.
            return model ⇒ for parameter in model.parameters():
            |     nn.init.zeros_(parameter)
            | return model
          or
            return model ⇒ for parameter in model.parameters():
            |     if parameter.ndim < 3:
            |         nn.init.zeros_(parameter)
            | return model
          or
            return model ⇒ for parameter in model.parameters():
            |     if parameter.ndim < 3 and parameter.requires_grad:
            |         nn.init.zeros_(parameter)
            | return model
        you freeze the rest as well: that is another decision, and another function.
            old = model.head ⇒ old = model.requires_grad_(False).head
        the new head is frozen, and it is the one part that must be trained.
            = head ⇒ = head.requires_grad_(False)
          or
            nn.init.zeros_(head.weight) ⇒ nn.init.zeros_(head.weight.requires_grad_(False))
        the new head is frozen where the old one was: it is new, and must be trained.
            = head ⇒ = head.requires_grad_(old.weight.requires_grad)
        everything is frozen, and nothing could learn: leave requires_grad as it is, True in a new nn.Linear.
            return model ⇒ return model.requires_grad_(False)
        what was frozen is trained now: leave requires_grad of the other parts as it is.
            return model ⇒ return model.requires_grad_()
        the model is in another mode than before: leave eval() and train() to your caller.
            return model ⇒ return model.eval()
          or
            return model ⇒ return model.train()
        model.head is still the old one: put the new layer in its place, model.head = head.
            model.head = head ⇒
        you put the new head beside the old one, as fc: nobody asks it, so assign to model.head.
            model.head = head ⇒ model.fc = head
        nn.init.zeros_ takes a tensor, not a layer: once the weight, once the bias.
            nn.init.zeros_(head.weight) ⇒ nn.init.zeros_(head)
        a parameter cannot be changed in place while its gradients are recorded: nn.init.zeros_ knows that, or put fill_ and zero_ into `with torch.no_grad():`.
            nn.init.zeros_(head.weight) ⇒ head.weight.fill_(0)
        a layer's weight must be an nn.Parameter: fill the one that is there, with nn.init.zeros_.
            nn.init.zeros_(head.weight) ⇒ head.weight = torch.zeros(num_classes, old.in_features)
          or
            nn.init.zeros_(head.weight) ⇒ head.weight = torch.zeros_like(head.weight)
        """
        + "".join(
            f"""
        the number of inputs is written into your code: the old head knows it, old.in_features.
            old.in_features ⇒ {width}
          or
            nn.Linear(old.in_features, num_classes).to(old.weight) ⇒ nn.Linear({width}, num_classes)
        """
            for width in (64, 128, 192, 256, 384, 512, 768, 1024)
        )
        + "".join(
            f"""
        the number of classes is written into your code: take num_classes.
            num_classes).to ⇒ {classes}).to
        """
            for classes in (2, 5, 10, 100, 1000)
        ),
    ),
)


def _f1_probes(generator):
    """Unbalanced answers: class 1 is half of all, 2 is never answered, some are only answered, and some are nowhere."""
    probes = []
    for n, classes, strangers, absent in (
        (21, 6, (0,), (5,)),
        (34, 6, (0, 3), (5,)),
        (29, 8, (0, 3), (7,)),
        (21, 6, (5,), (3,)),  # the shape of the first
        (26, 5, (3,), ()),
    ):
        usual = torch.tensor([k for k in range(classes) if k not in (*strangers, *absent)])
        labels = usual[torch.randint(len(usual), (n,), generator=generator)]
        labels[: n // 2], labels[-1] = 1, 2
        answers = torch.where(torch.rand(n, generator=generator) < 0.7, labels, labels.roll(1))
        answers[answers == 2] = 1
        answers[: 2 * len(strangers)] = torch.tensor(strangers).repeat(2)
        labels[-4:-2] = answers[-4:-2] = usual[[0, -1]]
        order = torch.randperm(n, generator=generator)
        probes.append({"labels": labels[order], "answers": answers[order], "num_classes": classes})
    perfect = torch.tensor([1, torch.randint(2, 90, (), generator=generator).item()])
    return [*probes, {"labels": perfect, "answers": perfect, "num_classes": 97}]


def _score_as_tensor(answer):
    """In single precision, since a whole tensor divided by another is."""

    def staged(labels, answers, num_classes):
        value = answer(labels, answers, num_classes)
        return None if value is None else as_number(value, "macro-F1").float()

    return staged


def _macro_f1(labels, answers, num_classes):
    scores = []
    for k in range(num_classes):
        true, said = labels == k, answers == k
        tp, fp, fn = (true & said).sum().item(), (said & ~true).sum().item(), (true & ~said).sum().item()
        if tp + fp + fn == 0:
            continue
        f1 = 2 * tp / (2 * tp + fp + fn)
        scores.append(f1)
    return sum(scores) / len(scores)


MACRO_F1 = StagedExercise(
    name="macro_f1",
    chapter="09",
    signature="macro_f1(labels, answers, num_classes)",
    task="compute F1 = 2 TP / (2 TP + FP + FN) for each class that is among the labels or the answers, and return the plain mean of these as a float: (n,), (n,), a number -> a float.",
    probes=_f1_probes,
    oracle=_macro_f1,
    stage=_score_as_tensor,
    mistakes=edits_of(
        _macro_f1,
        """
        that is the accuracy, as one fraction for all classes is: compute F1 for each class on its own, and average afterwards.
            ⇒ return (labels == answers).double().mean().item()
        you weight each class by its images: the plain mean, in which a small class counts as much as a large one.
            scores.append(f1) ⇒ scores.append(f1 * (tp + fn))
            len(scores) ⇒ len(labels)
        you average precision and recall first: F1 for each class, then the mean.
            f1 = 2 * tp / (2 * tp + fp + fn) ⇒ f1 = torch.tensor([tp / max(tp + fp, 1), tp / max(tp + fn, 1)])
            return sum(scores) / len(scores) ⇒ precision, recall = (sum(scores) / len(scores)).tolist()
            | return 2 * precision * recall / (precision + recall)
        that is the mean recall: a class also loses by answers that should have been another, its false positives.
            if tp + fp + fn == 0: ⇒ if tp + fn == 0:
            2 * tp / (2 * tp + fp + fn) ⇒ tp / (tp + fn)
          or
            2 * tp / (2 * tp + fp + fn) ⇒ tp / max(tp + fn, 1)
          or
            2 * tp / (2 * tp + fp + fn) ⇒ tp / max(tp + fn, 1)
            len(scores) ⇒ num_classes
        that is the mean precision: a class also loses by images that were missed, its false negatives.
            if tp + fp + fn == 0: ⇒ if tp + fp == 0:
            2 * tp / (2 * tp + fp + fn) ⇒ tp / (tp + fp)
          or
            2 * tp / (2 * tp + fp + fn) ⇒ tp / max(tp + fp, 1)
          or
            2 * tp / (2 * tp + fp + fn) ⇒ tp / max(tp + fp, 1)
            len(scores) ⇒ num_classes
        FN is missing below the line: 2 TP + FP + FN.
            / (2 * tp + fp + fn) ⇒ / max(2 * tp + fp, 1)
          or
            tp + fp + fn == 0 ⇒ tp + fp == 0
            / (2 * tp + fp + fn) ⇒ / (2 * tp + fp)
        FP is missing below the line: 2 TP + FP + FN.
            / (2 * tp + fp + fn) ⇒ / max(2 * tp + fn, 1)
          or
            tp + fp + fn == 0 ⇒ tp + fn == 0
            / (2 * tp + fp + fn) ⇒ / (2 * tp + fn)
        TP counts twice below the line as well: 2 TP + FP + FN.
            / (2 * tp + fp + fn) ⇒ / (tp + fp + fn)
        a division comes before a sum: put 2 TP + FP + FN into parentheses.
            / (2 * tp + fp + fn) ⇒ / 2 * tp + fp + fn
        you return F1 of the first class: is your `return` inside the loop?
            scores.append(f1) ⇒ return f1
        classes that occur nowhere count as 0: leave them out, they say nothing about the answers.
            len(scores) ⇒ num_classes
        classes that occur nowhere count as 1: leave them out.
            continue ⇒ scores.append(1.0)
            | continue
        you leave out a class that is answered, and never occurs: it counts, with an F1 of 0.
            if tp + fp + fn == 0: ⇒ if tp + fn == 0:
        you leave out a class that occurs, and is never answered: it counts, with an F1 of 0.
            if tp + fp + fn == 0: ⇒ if tp + fp == 0:
        you leave out classes with nothing right, and they are the ones to be ashamed of: they count, with an F1 of 0, if they occur at all.
            if tp + fp + fn == 0: ⇒ if tp == 0:
        class 0 is left out: classes are counted from 0.
            range(num_classes) ⇒ range(1, num_classes)
        the last class is left out: range(num_classes) ends with num_classes - 1.
            range(num_classes) ⇒ range(num_classes - 1)
        you stop at the largest label, and a class above it that is only answered is missed: range(num_classes).
            range(num_classes) ⇒ range(labels.max() + 1)
        0 / 0 gives nan: 2 TP / (2 TP + FP + FN) is that only for a class that occurs nowhere, so leave such a class out.
            continue ⇒ scores.append(float("nan"))
            | continue
        0 / 0 gives nan for a class that is never answered, or never right: 2 TP / (2 TP + FP + FN) needs neither precision nor recall.
            continue ⇒ return float("nan")
            f1 = ⇒ if tp == 0:
            |     return float("nan")
            | f1 =
          or
            f1 = ⇒ if tp == 0:
            |     return float("nan")
            | f1 =
        a class that is never answered has no precision, and one that never occurs no recall, and you divide by 0: 2 TP / (2 TP + FP + FN) needs neither.
            if tp + fp + fn == 0:
            |     continue ⇒ precision, recall = tp / (tp + fp), tp / (tp + fn)
            2 * tp / (2 * tp + fp + fn) ⇒ 2 * precision * recall / (precision + recall)
          or
            if tp + fp + fn == 0:
            |     continue ⇒ precision, recall = tp / max(tp + fp, 1), tp / (tp + fn)
            2 * tp / (2 * tp + fp + fn) ⇒ 2 * precision * recall / (precision + recall)
          or
            if tp + fp + fn == 0:
            |     continue ⇒ precision, recall = float(tp) / (tp + fp), float(tp) / (tp + fn)
            2 * tp / (2 * tp + fp + fn) ⇒ 2 * precision * recall / (precision + recall)
        2 TP + FP + FN is 0 for a class that occurs nowhere: leave such a class out.
            if tp + fp + fn == 0:
            |     continue ⇒
          or
            if tp + fp + fn == 0:
            |     continue ⇒ tp = float(tp)
        the plain mean of precision and recall: F1 is their harmonic mean.
            2 * tp / (2 * tp + fp + fn) ⇒ (tp / max(tp + fp, 1) + tp / max(tp + fn, 1)) / 2
        the square root of precision times recall: F1 is their harmonic mean.
            2 * tp / (2 * tp + fp + fn) ⇒ (tp / max(tp + fp, 1) * tp / max(tp + fn, 1)) ** 0.5
        TP / (TP + FP + FN) is the Jaccard index: TP counts twice, above and below.
            2 * tp / (2 * tp + fp + fn) ⇒ tp / (tp + fp + fn)
        the 2 above is missing, and a perfect class would get a half: 2 TP / (2 TP + FP + FN).
            2 * tp / ⇒ tp /
        == also counts the images that are neither: & is true where both hold.
            (true & said) ⇒ (true == said)
          or
            2 * tp / (2 ⇒ 2 * (true == said).sum().item() / (2
        // leaves whole numbers, 0 or 1: divide with /.
            / (2 ⇒ // (2
        that is F1 of class 1 alone: the mean over all classes.
            range(num_classes) ⇒ [1]
        you return per cent: a number between 0 and 1.
            sum(scores) ⇒ 100 * sum(scores)
        `and` wants one truth of a whole tensor: & compares element by element.
            (true & said).sum() ⇒ (true and said).sum()
        you return a tensor: .item() makes a float of it.
            return sum(scores) / len(scores) ⇒ return torch.tensor(sum(scores) / len(scores))
        you return one number for each class: their mean.
            return sum(scores) / len(scores) ⇒ return scores
        """,
    ),
)


def _tree(state):
    """A module whose parameters and buffers are called as in `state`, and have these values; `again` is its head."""
    net = nn.Module()
    for name, value in state.items():
        *path, own = name.split(".")
        part = net
        for step in path:
            if step not in dict(part.named_children()):
                part.add_module(step, nn.Module())
            part = part.get_submodule(step)
        if "running" in own or not value.is_floating_point():
            part.register_buffer(own, value.detach().clone())
        else:
            part.register_parameter(own, nn.Parameter(value.detach().clone(), value.requires_grad))
    if "head.weight" in state:
        net.add_module("again", net.get_submodule("head"))
    return net


def _freeze_probes(generator):
    """Names that look like others in part; a block by chance, so that no two models are alike."""
    draw, probes = normal(generator), []
    for blocks, before, patterns in (
        ((0, 1), lambda i: True, ("head.*", "blocks.1.*")),
        ((0, 1, 10), lambda i: False, ["*.attn.*", "head.*", "*.qkv.*"]),
        ((1, 10), lambda i: i % 2 == 0, ("pos_embed", "blocks.1.*", "*.bias")),
        ((1, 10), lambda i: i % 2 == 0, ["*norm.*", "head*.weight", "blocks.*.fc1.*"]),
        ((), lambda i: True, ("fc.*",)),
        ((), lambda i: i % 3 == 0, ["*", "*.weight"]),
    ):
        names = ["cls_token", "pos_embed", "pos_embed_2d", "patch_embed.proj.weight", "patch_embed.proj.bias"]
        for block in (*blocks, 20 + torch.randint(70, (), generator=generator).item()):
            names += [f"blocks.{block}.{own}" for own in ("attn.qkv.weight", "attn.qkv.bias", "mlp.fc1.weight", "mlp.fc1.bias_table")]  # fmt: skip
        names += ["norm.weight", "norm.running_mean", "dist.head.weight", "dist.norm.bias", "aux.pos_embed"]
        names += ["head.weight", "head.bias"]
        state = {name: draw(2).requires_grad_(before(i) and "running" not in name) for i, name in enumerate(names)}
        probes.append({"model": state | {"norm.num_batches_tracked": torch.tensor(3)}, "patterns": patterns})
    flat = {"weight": draw(3, 1), "scale": draw(1).requires_grad_(), "bias": draw(), "unused": draw(0).requires_grad_()}
    return [*probes, {"model": flat, "patterns": ["bias", "weight"]}]


def _freeze_watched(answer):
    """`answer(model, patterns)` as a function of a state dict: which parameters are trained, and what is returned."""

    def watched(model, patterns):
        if isinstance(model, nn.Module):
            return answer(model, patterns)
        net = _tree(model)
        returned = answer(net, patterns)
        if isinstance(returned, dict) and "names in your list" in returned:
            return returned
        parameters = dict(net.named_parameters())
        if returned is None and all(model[name].requires_grad == p.requires_grad for name, p in parameters.items()):
            return None
        if not isinstance(returned, list | tuple) or not all(isinstance(name, str) for name in returned):
            inner = f" of {type(returned[0]).__name__}" if isinstance(returned, list | tuple) else ""
            raise TypeError(f"expected a list of names to be returned, got {type(returned).__name__}{inner}")
        after = {f"{name}, its place in your list": i for i, name in enumerate(returned)}
        after["names in your list"] = len(returned)
        after |= {f"{name}, requires_grad {IS_SO}": int(p.requires_grad) for name, p in parameters.items()}
        return after | {name: p.detach() for name, p in parameters.items()}

    return watched


def _freeze(model, patterns):
    trained = []
    for name, parameter in model.named_parameters():
        fits = any(fnmatchcase(name, pattern) for pattern in patterns)
        parameter.requires_grad_(fits)
        if fits:
            trained.append(name)
    return trained


FREEZE_EXCEPT = StagedExercise(
    name="freeze_except",
    chapter="09",
    signature="freeze_except(model, patterns)",
    task="set requires_grad of each parameter: True if its name fits at least one of the patterns, in which * stands for anything, and False if not; return the names of those that fit, in the model's order.",
    probes=_freeze_probes,
    oracle=_freeze_watched(_freeze),
    stage=_freeze_watched,
    mistakes=edits_of(
        _freeze,
        """
        what was frozen before stays frozen: set requires_grad to True where a pattern fits, not only to False where none does.
            parameter.requires_grad_(fits) ⇒ parameter.requires_grad_(fits and parameter.requires_grad)
          or
            fits = any ⇒ fits = parameter.requires_grad and any
        nothing is frozen: requires_grad must become False where no pattern fits.
            parameter.requires_grad_(fits) ⇒ parameter.requires_grad_(fits or parameter.requires_grad)
        nothing is frozen: requires_grad_() without an argument switches gradients on, so requires_grad_(False) where no pattern fits.
            parameter.requires_grad_(fits) ⇒ parameter.requires_grad_()
        everything is frozen in the end: freeze all parameters before you choose, not after it.
            return trained ⇒ model.requires_grad_(False)
            | return trained
        the other way round: what fits is trained, and the rest is frozen.
            requires_grad_(fits) ⇒ requires_grad_(not fits)
        what fits is frozen, and the rest is trained and returned: the other way round.
            fits = any ⇒ fits = not any
        `pattern in name` looks for the star itself: fnmatch.fnmatchcase(name, pattern) knows what it stands for.
            fnmatchcase(name, pattern) for ⇒ pattern in name for
        a star at the beginning stands for anything too, so *.attn.* is more than a beginning of names: fnmatch.fnmatchcase.
            fnmatchcase(name, pattern) for ⇒ name.startswith(pattern.rstrip("*")) for
          or
            fnmatchcase(name, pattern) for ⇒ name.startswith(pattern.rstrip(".*")) for
          or
            fnmatchcase(name, pattern) for ⇒ name.startswith(pattern.strip("*")) for
          or
            fnmatchcase(name, pattern) for ⇒ name.startswith(pattern.strip(".*")) for
          or
            fnmatchcase(name, pattern) for ⇒ name.startswith(pattern.replace("*", "")) for
          or
            fnmatchcase(name, pattern) for ⇒ name.startswith(pattern[:-1]) for
          or
            fnmatchcase(name, pattern) for ⇒ name.startswith(pattern[:-2]) for
        startswith compares the star as a letter, and without a star takes pos_embed_2d for pos_embed: fnmatch.fnmatchcase.
            fnmatchcase(name, pattern) for ⇒ name.startswith(pattern) for
          or
            any(fnmatchcase(name, pattern) for pattern in patterns) ⇒ name.startswith(patterns)
        endswith compares the star as a letter, and without a star takes aux.pos_embed for pos_embed: fnmatch.fnmatchcase.
            fnmatchcase(name, pattern) for ⇒ name.endswith(pattern) for
          or
            any(fnmatchcase(name, pattern) for pattern in patterns) ⇒ name.endswith(patterns)
        a star at the end stands for anything too, so head.* is more than an end of names: fnmatch.fnmatchcase.
            fnmatchcase(name, pattern) for ⇒ name.endswith(pattern.lstrip("*")) for
          or
            fnmatchcase(name, pattern) for ⇒ name.endswith(pattern.lstrip("*.")) for
          or
            fnmatchcase(name, pattern) for ⇒ name.endswith(pattern.strip("*")) for
          or
            fnmatchcase(name, pattern) for ⇒ name.endswith(pattern.replace("*", "")) for
        what comes before the last star counts too: the whole name must fit, fnmatch.fnmatchcase.
            fnmatchcase(name, pattern) for ⇒ name.endswith(pattern.split("*")[-1]) for
        what comes after the first star counts too: the whole name must fit, fnmatch.fnmatchcase.
            fnmatchcase(name, pattern) for ⇒ name.startswith(pattern.split("*")[0]) for
          or
            fnmatchcase(name, pattern) for ⇒ name.startswith(pattern.partition("*")[0].rstrip(".")) for
        what stands between two stars counts too, and not only the beginning and the end: fnmatch.fnmatchcase.
            fnmatchcase(name, pattern) for ⇒ name.startswith(pattern.split("*")[0]) and name.endswith(pattern.split("*")[-1]) for
        without its stars a pattern may fit in the middle of a name, and head. is also in dist.head.weight: the whole name must fit.
            fnmatchcase(name, pattern) for ⇒ pattern.strip("*") in name for
          or
            fnmatchcase(name, pattern) for ⇒ pattern.replace("*", "") in name for
          or
            fnmatchcase(name, pattern) for ⇒ pattern.strip(".*") in name for
        each pattern undoes the one before, so that only the last counts: a parameter is trained if any of them fits.
            for pattern in patterns ⇒ for pattern in patterns[-1:]
        each pattern undoes the one before, and the names are those of all: go through the parameters, and ask any(...) for each.
            ⇒ trained = []
            | for pattern in patterns:
            |     for name, parameter in model.named_parameters():
            |         parameter.requires_grad_(fnmatchcase(name, pattern))
            |         if parameter.requires_grad:
            |             trained.append(name)
            | return trained
          or
            ⇒ trained = []
            | for name, parameter in model.named_parameters():
            |     for pattern in patterns:
            |         parameter.requires_grad_(fnmatchcase(name, pattern))
            |         if parameter.requires_grad:
            |             trained.append(name)
            | return trained
          or
            parameter.requires_grad_(fits) ⇒ parameter.requires_grad_(fnmatchcase(name, patterns[-1]))
        only the first pattern counts: go through all of them.
            for pattern in patterns ⇒ for pattern in patterns[:1]
        you ask that all patterns fit: one is enough.
            any( ⇒ all(
        the star is compared as a letter: fnmatchcase(name, pattern), the name first and then one pattern.
            fnmatchcase(name, pattern) for ⇒ fnmatchcase(pattern, name) for
        fnmatchcase takes one pattern: go through the patterns, any(... for pattern in patterns).
            any(fnmatchcase(name, pattern) for pattern in patterns) ⇒ fnmatchcase(name, patterns)
          or
            any(fnmatchcase(name, pattern) for pattern in patterns) ⇒ fnmatchcase(name, "|".join(patterns))
        these are no regular expressions, in which a star repeats what stands before it: fnmatch.fnmatchcase(name, pattern).
            fnmatchcase(name, pattern) for ⇒ re.match(pattern, name) for
        in a regular expression a dot stands for any letter, and blocks.1.* fits blocks.10 too: re.escape, or fnmatch.fnmatchcase.
            fnmatchcase(name, pattern) for ⇒ re.fullmatch(pattern.replace("*", ".*"), name) for
          or
            fnmatchcase(name, pattern) for ⇒ re.match(pattern.replace("*", ".*"), name) for
        re.search is content with a piece of a name, and head.* is in dist.head.weight too: the whole name must fit, fnmatch.fnmatchcase.
            fnmatchcase(name, pattern) for ⇒ re.search(pattern.replace("*", ".*"), name) for
          or
            fnmatchcase(name, pattern) for ⇒ re.search(re.escape(pattern).replace(re.escape("*"), ".*"), name) for
        the beginning of a name is enough for re.match: re.fullmatch, or fnmatch.fnmatchcase, since the whole name must fit.
            fnmatchcase(name, pattern) for ⇒ re.match(re.escape(pattern).replace(re.escape("*"), ".*"), name) for
        a star stands for dots as well, so *.attn.* fits blocks.0.attn.qkv.weight: fnmatch.fnmatchcase.
            fnmatchcase(name, pattern) for ⇒ re.fullmatch(re.escape(pattern).replace(re.escape("*"), "[^.]*"), name) for
        a star stands for nothing, too, so *norm.* fits norm.weight: fnmatch.fnmatchcase.
            fnmatchcase(name, pattern) for ⇒ re.fullmatch(re.escape(pattern).replace(re.escape("*"), ".+"), name) for
        you go through the parts of the model, and miss the parameters that are its own, such as cls_token: named_parameters() gives all.
            in model.named_parameters(): ⇒ in [(f"{part}.{name}", p) for part, child in model.named_children() if part != "again" for name, p in child.named_parameters()]:
        you stop at the first parameter that fits: break or `return` ends the loop over all of them.
            trained.append(name) ⇒ trained.append(name)
            | break
          or
            trained = [] ⇒ trained = []
            | model.requires_grad_(False)
            trained.append(name) ⇒ trained.append(name)
            | break
          or
            return trained ⇒
            trained.append(name) ⇒ trained.append(name)
            | return trained
        you compare the names of modules: parameters have names of their own, named_parameters().
            for name, parameter in model.named_parameters(): ⇒ for name, parameter in model.named_modules():
          or
            ⇒ model.requires_grad_(False)
            | trained = []
            | for name, part in model.named_modules():
            |     if any(fnmatchcase(name, pattern) for pattern in patterns):
            |         part.requires_grad_()
            |         trained += [own for own, _ in part.named_parameters(name)]
            | return list(dict.fromkeys(trained))
          or
            ⇒ model.requires_grad_(False)
            | trained = []
            | for name, part in model.named_modules():
            |     if any(fnmatchcase(name, pattern) for pattern in patterns):
            |         part.requires_grad_()
            |         trained += [own for own, _ in part.named_parameters(name)]
            | return trained
          or
            ⇒ model.requires_grad_(False)
            | trained = []
            | for name, part in model.named_modules():
            |     if any(fnmatchcase(name, pattern) for pattern in patterns):
            |         part.requires_grad_()
            |         trained.append(name)
            | return trained
        you return what is frozen: the names of those that are trained.
            if fits ⇒ if not fits
        you return all names: only those that are trained.
            if fits: ⇒ if name:
        you return the parameters: their names.
            append(name) ⇒ append(parameter)
        you return pairs: their names alone.
            append(name) ⇒ append((name, parameter))
        the head is always trained: it has to fit a pattern, as everything else.
            fits = any ⇒ fits = name.startswith("head") or any
          or
            fits = any ⇒ fits = "head" in name or any
        you return how many: their names, in a list.
            return trained ⇒ return len(trained)
        the names are missing: return a list of those that fit.
            return trained ⇒
        you return the model: the names of what is trained, so that one can see what the patterns caught.
            return trained ⇒ return model
        a set has no order: a list of names, in the order of the model.
            return trained ⇒ return set(trained)
        your names are sorted: a list in the order of the model.
            return trained ⇒ return sorted(trained)
        the order is that of the patterns: go through the parameters, and ask any(...) for each.
            return trained ⇒ return list(dict.fromkeys(name for p in patterns for name in trained if fnmatchcase(name, p)))
        a name that fits two patterns stands twice, and the order is that of the patterns: go through the parameters, and ask any(...) for each.
            return trained ⇒ return [name for p in patterns for name in trained if fnmatchcase(name, p)]
        a name that fits two patterns stands twice: any(...) for each name, not one entry for each pattern.
            return trained ⇒ return [name for name in trained for p in patterns if fnmatchcase(name, p)]
        the values have changed: freezing is requires_grad alone.
            if fits: ⇒ if not fits:
            |     nn.init.zeros_(parameter)
            | else:
        a parameter that is used in two places has two names with remove_duplicate=False, and the second undoes the first: named_parameters() gives each once.
            model.named_parameters() ⇒ model.named_parameters(remove_duplicate=False)
          or
            model.named_parameters() ⇒ model.named_parameters(remove_duplicate=False)
            return trained ⇒ return [name for name, p in model.named_parameters(remove_duplicate=False) if p.requires_grad]
        the names are right, and nothing has been switched: set requires_grad of the parameters of the model that you are given; a copy has others, and any other attribute does nothing.
            parameter.requires_grad_(fits) ⇒
        state_dict() gives other tensors with the same numbers, and buffers too: set requires_grad of what named_parameters() gives.
            named_parameters() ⇒ state_dict().items()
            parameter.requires_grad_(fits) ⇒
          or
            named_parameters() ⇒ state_dict().items()
          or
            named_parameters() ⇒ state_dict().items()
            parameter.requires_grad_(fits) ⇒ parameter.requires_grad = fits
        """,
    ),
)


def _lora_probes(generator):
    """Of one input and of many, square and not; with numbers of all kinds for the scale, and gradients here and there."""
    draw, probes = normal(generator), []
    for lead, d_in, d_out, rank, bias in (
        ((4,), 6, 9, 2, True),
        ((2, 5), 8, 7, 3, True),
        ((3, 2, 4), 5, 10, 4, False),
        ((), 4, 3, 2, True),
        ((1, 5), 1, 1, 1, True),
        ((2, 1), 3, 3, 3, True),
        ((4,), 6, 9, 2, True),  # the shape of the first
    ):
        probe = {"x": draw(*lead, d_in), "weight": draw(d_out, d_in), "bias": draw(d_out) if bias else None}
        probe |= {"down": draw(rank, d_in), "up": draw(d_out, rank)}
        share = torch.rand((), generator=generator, dtype=torch.float64).item()
        probes.append(probe | {"scale": round(1.5 + share, 3)})
    for probe, names in zip(probes, (("down", "up"), ("down",), ("up",), ("x",)), strict=False):
        for name in names:
            probe[name].requires_grad_()
    probes[3]["scale"] = 2
    weight, bias = probes[-1]["weight"].float(), probes[-1]["bias"].float()  # frozen, as in training
    probes[-1] = {**single(probes[-1]), "weight": weight, "bias": bias}  # pyright: ignore[reportGeneralTypeIssues] (a dict gives a dict)
    return probes


def _lora(x, weight, bias, down, up, scale):
    layer = F.linear(x, weight, bias)
    detour = F.linear(F.linear(x, down), up)
    return layer + scale * detour


LORA_LINEAR = Exercise(
    name="lora_linear",
    chapter="09",
    signature="lora_linear(x, weight, bias, down, up, scale)",
    task="compute x Wᵀ + b + scale · x downᵀ upᵀ: x (..., d_in), weight (d_out, d_in), bias (d_out,) or None, down (rank, d_in), up (d_out, rank) -> (..., d_out).",
    probes=_lora_probes,
    oracle=lambda x, weight, bias, down, up, scale: F.linear(x, weight + scale * up @ down, bias),
    mistakes=edits_of(
        _lora,
        """
        scale is missing: the detour counts scale times.
            scale * detour ⇒ detour
        scale multiplies everything: only the detour.
            layer + scale * detour ⇒ scale * (layer + detour)
        scale multiplies the frozen layer: it belongs to the detour.
            layer + scale * detour ⇒ scale * layer + detour
          or
            F.linear(x, weight, bias) ⇒ F.linear(scale * x, weight, bias)
            layer + scale * detour ⇒ layer + detour
        scale counts twice: once, for the detour as a whole.
            scale * detour ⇒ scale**2 * detour
        you divide by the rank: scale is alpha / rank already.
            scale * detour ⇒ scale / len(down) * detour
        you divide by the number of outputs: scale is alpha / rank already.
            scale * detour ⇒ scale / len(up) * detour
        scale need not be a whole number: without int() or round().
            scale * detour ⇒ int(scale) * detour
          or
            scale * detour ⇒ round(scale) * detour
        you divide by the root of the rank: scale is alpha / rank already.
            scale * detour ⇒ scale / len(down) ** 0.5 * detour
        you divide by scale: multiply.
            scale * detour ⇒ detour / scale
        the bias is missing: where there is one, it is added once.
            weight, bias) ⇒ weight)
        the bias is added twice: the detour has none.
            scale * detour ⇒ scale * detour + (0 if bias is None else bias)
        the bias is multiplied by scale: the detour has none of its own.
            weight, bias) ⇒ weight)
            down), up) ⇒ down), up, bias)
        the bias counts once: the layer has added it, and nothing adds it in the detour.
            down), up) ⇒ down), up, bias)
        F.linear(x, weight, bias) has added the bias: it counts once, so leave + bias away, which fails anyhow where there is none.
            scale * detour ⇒ scale * detour + bias
        you return the detour alone: it stands beside the frozen layer, and both are added.
            layer + scale * detour ⇒ scale * detour
          or
            layer + scale * detour ⇒ scale * detour + (0 if bias is None else bias)
          or
            F.linear(F.linear(x, down), up) ⇒ F.linear(F.linear(x, down), up, bias)
            layer + scale * detour ⇒ scale * detour
        the detour is missing: add scale · x downᵀ upᵀ.
            layer + scale * detour ⇒ layer
        you subtract the detour: add it.
            layer + ⇒ layer -
        you multiply layer and detour: add them.
            layer + scale * detour ⇒ layer * scale * detour
        a ReLU or a GELU between down and up makes it an adapter, which cannot be merged into the weight: nothing stands between them.
            F.linear(x, down) ⇒ F.linear(x, down).relu()
          or
            F.linear(x, down) ⇒ F.gelu(F.linear(x, down))
        bias may be None: F.linear(x, weight, bias) takes that.
            F.linear(x, weight, bias) ⇒ x @ weight.mT + bias
          or
            F.linear(x, weight, bias) ⇒ bias + x @ weight.mT
        `if bias` asks the whole tensor for one truth: if bias is not None, or F.linear, which takes None.
            F.linear(x, weight, bias) ⇒ F.linear(x, weight, bias if bias else None)
        the weights are (outputs, inputs), so x is multiplied by their transpose: x @ weight.T, or F.linear.
            F.linear(x, weight, bias) ⇒ x @ weight + (0 if bias is None else bias)
          or
            F.linear(x, weight, bias) ⇒ x @ weight + (0 if bias is None else bias)
            F.linear(F.linear(x, down), up) ⇒ x @ down @ up
          or
            F.linear(x, weight, bias) ⇒ x @ weight
            F.linear(F.linear(x, down), up) ⇒ x @ down @ up
        x goes through down first, and up second: x @ down.T @ up.T.
            F.linear(x, down), up ⇒ F.linear(x, up), down
        down first, and both transposed: down is (rank, d_in) and up (d_out, rank), so x @ down.T @ up.T.
            F.linear(F.linear(x, down), up) ⇒ x @ up @ down
        up is (d_out, rank), the weight of a layer like down: transpose it too, x @ down.T @ up.T.
            F.linear(F.linear(x, down), up) ⇒ x @ down.mT @ up
        down and up are (rank, d_in) and (d_out, rank): transpose them, as the weight, x @ down.T @ up.T.
            F.linear(F.linear(x, down), up) ⇒ x @ down @ up
        the product is up @ down, (d_out, d_in): down @ up does not fit.
            F.linear(x, weight, bias) ⇒ F.linear(x, weight + scale * down @ up, bias)
            layer + scale * detour ⇒ layer
        x may have any number of dimensions: multiply from the right, x @ weight.T, or F.linear.
            F.linear(x, weight, bias) ⇒ F.linear(x, weight, bias) + 0 * (weight @ x.mT).mT
          or
            layer = ⇒ if x.ndim > 2:
            |     weight @ x.permute(*range(x.ndim)[::-1])
            | layer =
        x may have any number of dimensions before the last: take none of them apart, F.linear works on the last.
            layer = ⇒ B, N, D = x.shape
            | layer =
          or
            layer = ⇒ N, D = x.shape
            | layer =
        x may have any number of dimensions, and each letter of your einsum stands for one: three dots, as in "...i,oi->...o", stand for all before the last.
            F.linear(x, weight, bias) ⇒ F.linear(x, weight, bias) + 0 * torch.einsum("bni,oi->bno", x, weight)
        the detour is given what the layer puts out: it stands beside the layer, and takes x.
            F.linear(x, down) ⇒ F.linear(layer, down)
        sides of 1 are gone: leave .squeeze() away, the result is (..., d_out).
            layer + scale * detour ⇒ (layer + scale * detour).squeeze()
        the leading dimensions are one now: F.linear takes x as it is, (..., d_in).
            layer + scale * detour ⇒ (layer + scale * detour).reshape(-1, len(weight))
          or
            layer = ⇒ x = x.flatten(0, -2)
            | layer =
        the numbers are right, but the frozen weight has been changed: weight + ..., without the = sign.
            ⇒ weight += scale * up.detach() @ down.detach()
            | return F.linear(x, weight, bias)
          or
            ⇒ weight += scale * up @ down
            | return F.linear(x, weight, bias)
        up and down are trained, and no gradient reaches at least one of them: no .detach() and no torch.no_grad() in the detour.
            layer = ⇒ down, up = down.detach(), up.detach()
            | layer =
          or
            layer = ⇒ down = down.detach()
            | layer =
          or
            layer = ⇒ up = up.detach()
            | layer =
          or
            return layer + scale * detour ⇒ return (layer + scale * detour).detach()
        no gradient reaches x: leave .detach() away.
            layer = ⇒ x = x.detach()
            | layer =
        """,
    ),
)


class _Names(list):
    """A list that is shown by its first three: a message about it must leave room for the hint."""

    def __str__(self):
        return f"[{', '.join(self[:3])}, and {len(self) - 3} more]"


def _rates_probes(generator):
    """Shallow and deep, with one decay and another; the first without a class token, and its positions computed."""
    probes = []
    for depth, first in (
        (3, []),
        (2, ["pos_embed"]),
        (13, ["cls_token", "pos_embed"]),
        (1, ["cls_token", "pos_embed"]),
        (24, ["cls_token", "pos_embed"]),
        (3, []),  # the depth of the first
    ):
        names = [*first, "patch_embed.proj.weight", "patch_embed.proj.bias"]
        for block in range(depth):
            names += [f"blocks.{block}.{own}" for own in ("norm1.weight", "attn.qkv.bias", "mlp.fc1.weight")]
        names += ["norm.weight", "norm.bias", "head.weight", "head.bias"]
        if depth == 24:  # the order says nothing
            names = [names[i] for i in torch.randperm(len(names), generator=generator)]
        decay = 0.67 + 0.07 * torch.rand((), generator=generator, dtype=torch.float64).item()
        probes.append({"names": _Names(names), "depth": depth, "decay": round(decay, 4)})
    return probes


def _rates_as_tensors(answer):
    def staged(names, depth, decay):
        given = list(names)
        rates = answer(names, depth, decay)
        if list(names) != given:
            raise ValueError("the list of names is not what it was")
        if not isinstance(rates, dict):
            return rates
        return {name: as_number(rate, f"the factor of {name}").float() for name, rate in rates.items()}

    return staged


def _rates(names, depth, decay):
    rates = {}
    for name in names:
        parts = name.split(".")
        below = depth + 1
        if parts[0] == "blocks":
            below = depth - int(parts[1])
        elif parts[0] == "norm":
            below = 1
        elif parts[0] == "head":
            below = 0
        rates[name] = decay**below
    return rates


LAYERWISE_LR = StagedExercise(
    name="layerwise_lr",
    chapter="09",
    signature="layerwise_lr(names, depth, decay)",
    task="give each name its factor: 1 for head.*, decay for the last block and for norm.*, decay² for the block before, and so on down to decay^depth for blocks.0, and decay^(depth + 1) for everything that comes before the blocks: a list of names, a number, a number -> {name: factor}.",
    probes=_rates_probes,
    oracle=_rates,
    stage=_rates_as_tensors,
    mistakes=edits_of(
        _rates,
        """
        upside down: the head gets 1, and what is nearest to the image the smallest factor.
            decay**below ⇒ decay ** (depth + 1 - below)
        everything has one decay too many: the head's factor is 1.
            decay**below ⇒ decay ** (below + 1)
        the last block has 1, as the head: it is one layer below, so its factor is decay.
            decay**below ⇒ decay ** max(below - 1, 0)
        head and norm are right, and everything below is one layer too high: the last block is one below the head.
            below = depth + 1 ⇒ below = depth
            depth - int(parts[1]) ⇒ depth - 1 - int(parts[1])
        the blocks are one layer too high, and the last has 1, as the head: block i is depth - i below it.
            depth - int(parts[1]) ⇒ depth - 1 - int(parts[1])
        the last norm has decay, and everything below one layer more: it goes with the last block, which has decay, too.
            below = depth + 1 ⇒ below = depth + 2
            depth - int(parts[1]) ⇒ depth + 1 - int(parts[1])
        the blocks are upside down: block 0 is nearest to the image, and depth - i layers below the head.
            depth - int(parts[1]) ⇒ int(parts[1]) + 1
        blocks are upside down, and what comes before them has 1: the head has 1, and the factor shrinks towards the image.
            below = depth + 1 ⇒ below = 0
            depth - int(parts[1]) ⇒ int(parts[1]) + 1
        block i has decay^i: count from the head down, depth - i.
            depth - int(parts[1]) ⇒ int(parts[1])
        what comes before the blocks has the factor of blocks.0: it is one more layer below.
            below = depth + 1 ⇒ below = depth
        what comes before the blocks is two layers below blocks.0: it is one.
            below = depth + 1 ⇒ below = depth + 2
        what comes before the blocks has 1: it is the lowest layer, decay^(depth + 1).
            below = depth + 1 ⇒ below = 0
        patch_embed is right, but cls_token and pos_embed have another factor: they come before the blocks too.
            below = depth + 1 ⇒ below = depth + 1 if "." in name else 0
        patch_embed has the factor of blocks.0: it comes before the blocks, one more layer below, as cls_token and pos_embed.
            below = depth + 1 ⇒ below = depth if "." in name else depth + 1
        cls_token and pos_embed have the factor of blocks.0: they come before the blocks, one more layer below, as patch_embed.
            below = depth + 1 ⇒ below = depth + 1 if "." in name else depth
        the last norm is taken for something before the blocks: it comes after them, and goes with the last.
            below = 1 ⇒ pass
        the head is taken for something before the blocks: it is the very last layer, and its factor is 1.
            below = 0 ⇒ pass
        head and norm are taken for something before the blocks: they come after them, with 1 and decay.
            below = 0 ⇒ pass
            below = 1 ⇒ pass
        the head decays too: its factor is 1, decay to the power of 0.
            below = 0 ⇒ below = 1
        head and norm are one layer too low: the head has 1, and the norm decay, as the last block.
            below = 1 ⇒ below = 2
            below = 0 ⇒ below = 1
        you put the last norm with the head: it goes with the last block, so its factor is decay.
            below = 1 ⇒ below = 0
        blocks.10 is taken for blocks.1: compare the whole number, name.split(".")[1].
            int(parts[1]) ⇒ int(name[7])
        blocks.10 is taken for blocks.0: compare the whole number, name.split(".")[1].
            int(parts[1]) ⇒ int(parts[1][-1])
        name[7:9] has the dot in it where the number has one digit: the number of a block is name.split(".")[1].
            int(parts[1]) ⇒ int(name[7:9])
        sorted as text 10 comes before 2: the number of a block is int(name.split(".")[1]).
            int(parts[1]) ⇒ sorted({n.split(".")[1] for n in names if n.startswith("blocks.")}).index(parts[1])
        twelve blocks are written into the code: depth says how many there are.
            below = depth + 1 ⇒ below = 13
            depth - int(parts[1]) ⇒ 12 - int(parts[1])
          or
            below = depth + 1 ⇒ below = 13
          or
            depth - int(parts[1]) ⇒ 12 - int(parts[1])
          or
            if parts[0] == "blocks": ⇒ if parts[0] == "blocks" and int(parts[1]) < 12:
          or
            depth - int(parts[1]) ⇒ min(depth - int(parts[1]), 12)
        your list of factors is one too short: from the head, 0, to what comes before the blocks, depth + 1, there are depth + 2 layers.
            decay**below ⇒ [decay**i for i in range(depth + 1)][below]
        your factors end one layer too early: from the head, 0, to what comes before the blocks, depth + 1, there are depth + 2 layers.
            decay**below ⇒ {i: decay**i for i in range(depth + 1)}[below]
        the last block is left out of your loop: range(depth) ends with depth - 1.
            if parts[0] == "blocks": ⇒ if parts[0] == "blocks" and int(parts[1]) < depth - 1:
        block 0 is left out of your loop: blocks are counted from 0.
            if parts[0] == "blocks": ⇒ if parts[0] == "blocks" and int(parts[1]) > 0:
        "norm" is in blocks.0.norm1 too: look at the first part of the name, name.split(".")[0].
            rates[name] = decay**below ⇒ rates[name] = decay if "norm" in name else decay**below
        the number is a piece of text: int(...) makes a number of it.
            int(parts[1]) ⇒ parts[1]
        only blocks have a number in their names: look at the first part before you read the second as one.
            below = depth + 1 ⇒ below = depth - int(parts[1])
        you multiply where a power is needed: decay ** layers, not decay · layers.
            decay**below ⇒ decay * below
          or
            decay**below ⇒ decay * below if below else 1.0
          or
            decay**below ⇒ decay * (below + 1)
        you divide where a power is needed: decay ** layers, not decay / layers.
            decay**below ⇒ decay / below if below else 1.0
          or
            decay**below ⇒ decay / (below + 1)
        the factors fall on a straight line: each layer has decay times the factor of the one above.
            decay**below ⇒ 1 - (1 - decay) * below
          or
            decay**below ⇒ 1 - decay * below
        you take 1 - decay for the factor from one layer to the next: it is decay itself, decay ** layers.
            decay**below ⇒ (1 - decay) ** below
        decay is written into the code: take what is given.
            decay**below ⇒ 0.75**below
        only the blocks are there: each name gets a factor.
            rates[name] = ⇒ if parts[0] == "blocks": rates[name] =
        the head is left out: its factor is 1.
            rates[name] = ⇒ if parts[0] != "head": rates[name] =
        what comes before the blocks is left out: its factor is decay^(depth + 1).
            rates[name] = ⇒ if below <= depth: rates[name] =
        one factor for each layer: each parameter gets one, under its whole name.
            rates[name] = ⇒ rates[".".join(parts[:2]) if parts[0] == "blocks" else parts[0]] =
          or
            rates[name] = ⇒ rates[".".join(parts[:2])] =
        each parameter counts as a layer: all those of a block have one factor.
            return rates ⇒ return {name: decay**i for i, name in enumerate(reversed(names))}
        biases have a factor of 1: they go with the weights of their layer. (What they are spared is weight decay.)
            rates[name] = decay**below ⇒ rates[name] = 1.0 if parts[-1] == "bias" else decay**below
        attention and MLP count as two layers: a whole block is one.
            decay**below ⇒ decay ** max(2 * below - ("mlp" in name or parts[0] != "blocks"), 0)
        each layer has 1 / decay times the one above, and the lowest learns fastest: multiply by decay.
            decay**below ⇒ decay**-below
        you return the number of the layer: decay to that power.
            decay**below ⇒ below
        a factor is a float: .item() makes one of a tensor.
            decay**below ⇒ torch.tensor(decay) ** below
        the list is your caller's, and you change it: sorted(names), or a copy, is a list of your own.
            rates = {} ⇒ names.sort()
            | rates = {}
          or
            rates = {} ⇒ names.reverse()
            | rates = {}
        cls_token and pos_embed are left out: each name gets a factor.
            rates[name] = ⇒ if "." in name: rates[name] =
        head.bias is a part of the head too: look at the first part of the name, name.split(".")[0].
            elif parts[0] == "head": ⇒ elif name == "head.weight":
        what comes before the blocks stands still, with a factor of 0: it is one more layer below, decay^(depth + 1).
            rates[name] = decay**below ⇒ rates[name] = decay**below if below <= depth else 0.0
        you return factors without their names: a dict.
            return rates ⇒ return list(rates.values())
        """,
    ),
)


EXERCISES = (REPLACE_HEAD, MACRO_F1, FREEZE_EXCEPT, LORA_LINEAR, LAYERWISE_LR)
