"""The exercises of chapter 07, training from scratch."""

import functools
import math
from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import normal
from course_lib.checks.staged import StagedExercise, as_number
from course_lib.vit import VisionTransformer, ViTConfig

# --- warmup_cosine_lr --------------------------------------------------------------------------------


def _in_peaks(answer):
    """The rate, and its share of the peak, which shows what happens to small ones."""

    def staged(step, total_steps, warmup_steps, peak):
        rate = answer(step, total_steps, warmup_steps, peak)
        if rate is None and step == 0 and warmup_steps > 1:  # the first probe: nothing is written yet
            return None
        if rate is None:
            raise TypeError("expected a number, got None")
        rate = as_number(rate, "the learning rate")
        return {"rate": rate.float(), "rate / peak": (rate / peak).float()}  # single precision is enough

    return staged


# Total steps, warm-up steps, the size of the peak, and the steps that are asked for: at both ends, around the peak.
_SCHEDULES = (
    (12, 4, 1, (0, 1, 3, 4, 5, 8, 11)),
    (9, 0, 1, (0, 4, 8)),
    (20, 5, 10, (2, 4, 5, 19)),
    (7, 1, 1, (0, 1, 6)),
    (3, 2, 1, (1, 2)),
    (1, 0, 1, (0,)),
    (4000, 250, 3e-4, (100, 249, 250, 251, 3999)),
    (12, 4, 1, (1, 8)),  # the numbers of the first, with another peak
)


def _rate_probes(generator):
    probes = []
    for total, warmup, size, steps in _SCHEDULES:
        peak = size * round(0.2 + 0.8 * torch.rand((), generator=generator, dtype=torch.float64).item(), 4)
        probes += [{"step": step, "total_steps": total, "warmup_steps": warmup, "peak": peak} for step in steps]
    return probes


def _rate(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    share = 0.5 * (1 + math.cos(math.pi * progress))
    return peak * share


# Where the fall may stop: at a rate or a share of the peak, on a cosine that ends there or is lifted by as much.
_LOW = [*(f"{low}" for low in (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3))]
_LOW += [f"{share} * peak" for share in (0.001, 0.01, 0.02, 0.05, 0.1, 0.2)]
_FLOORS = [f"max({{}}, {low})" for low in _LOW]
_FLOORS += [f"{low} + (1 - {low} / peak) * {{}}" for low in _LOW]
_FLOORS += [f"{{}} + {low}" for low in _LOW]

WARMUP_COSINE_LR = StagedExercise(
    name="warmup_cosine_lr",
    chapter="07",
    signature="warmup_cosine_lr(step, total_steps, warmup_steps, peak)",
    task="rise on a straight line during the first warmup_steps steps, from peak / warmup_steps at step 0 to the peak at the last of them, and then fall along half a cosine that would reach 0 at step total_steps: numbers -> a float.",
    probes=_rate_probes,
    oracle=_rate,
    stage=_in_peaks,
    mistakes=edits_of(
        _rate,
        """
        with warmup_steps = 0 you divide by 0: divide by it only while step < warmup_steps.
            if step < warmup_steps: ⇒ slope = peak / warmup_steps
            | if step < warmup_steps:
          or
            if step < warmup_steps: ⇒ rise = (step + 1) / warmup_steps
            | if step < warmup_steps:
          or
            if step < warmup_steps: ⇒ rise = peak * (step + 1) / warmup_steps
            | if step < warmup_steps:
        without parentheses the division comes first, and a - b / c - d is a - (b / c) - d: (step - warmup_steps) / (total_steps - warmup_steps).
            (step - warmup_steps) / (total_steps - warmup_steps) ⇒ step - warmup_steps / total_steps - warmup_steps
          or
            (step - warmup_steps) / (total_steps - warmup_steps) ⇒ step - warmup_steps / (total_steps - warmup_steps)
        only the 1 is divided, not the step: put step + 1 into parentheses.
            (step + 1) / warmup_steps ⇒ step + 1 / warmup_steps
          or
            (step + 1) / warmup_steps ⇒ (step + 1 / warmup_steps)
        the cosine runs during the warm-up too: while step < warmup_steps return the straight line, and the cosine only after that.
            if step < warmup_steps: ⇒ if False:
        peak is missing: you return the share of it, so multiply by peak.
            ⇒ return _rate(step, total_steps, warmup_steps, 1.0)
        the warm-up rises to 1, not to the peak: multiply by peak there too.
            peak * (step ⇒ (step
        after the warm-up the rate falls from 1, not from the peak: multiply by peak there too.
            peak * share ⇒ share
        step 0 gets a rate of 0, and learns nothing: steps are counted from 0, so take step + 1.
            (step + 1) ⇒ step
          or
            (step + 1) / warmup_steps ⇒ step / max(warmup_steps - 1, 1)
          or
            (step + 1) / warmup_steps ⇒ step / (warmup_steps - 1)
        the warm-up ends below the peak: divide step + 1 by warmup_steps, not by one more.
            / warmup_steps ⇒ / (warmup_steps + 1)
        the warm-up has one step too many and goes above the peak: it is over when step == warmup_steps, so compare with <.
            step < warmup ⇒ step <= warmup
          or
            step < warmup ⇒ step <= warmup
            peak * (step + 1) / warmup_steps ⇒ peak * ((step + 1) / warmup_steps)
          or
            if step < warmup_steps ⇒ if warmup_steps and step <= warmup_steps
        nothing is returned where step == warmup_steps, for your conditions say < and >: there the fall begins, so else, or >=.
            progress = ⇒ if step == warmup_steps:
            |     return None
            | progress =
        the warm-up is over one step too early: its last step is warmup_steps - 1, and has the peak.
            step < warmup ⇒ step + 1 < warmup
        there is no warm-up: while step < warmup_steps the rate rises on a straight line.
            peak * (step + 1) / warmup_steps ⇒ peak
        there is no warm-up, and the cosine runs over all steps: the first warmup_steps rise, the rest fall.
            ⇒ return _rate(step, total_steps, 0, peak)
        the warm-up rises along a cosine: here it is a straight line.
            (step + 1) / warmup_steps ⇒ (0.5 - 0.5 * math.cos(math.pi * (step + 1) / warmup_steps))
        a whole-number division, //, is 0 during nearly all of the warm-up: divide with /.
            peak * (step + 1) / warmup_steps ⇒ peak * ((step + 1) // warmup_steps)
          or
            peak * (step + 1) / warmup_steps ⇒ peak * (step + 1) // warmup_steps
        a whole-number division, //, is 0 in nearly all of the warm-up and in all of the fall: divide with /.
            peak * (step + 1) / warmup_steps ⇒ peak * ((step + 1) // warmup_steps)
            (step - warmup_steps) / (total ⇒ (step - warmup_steps) // (total
          or
            peak * (step + 1) / warmup_steps ⇒ peak * (step + 1) // warmup_steps
            (step - warmup_steps) / (total ⇒ (step - warmup_steps) // (total
        the cosine runs over all steps, so it has begun to fall before the warm-up is over: after it, count step - warmup_steps out of total_steps - warmup_steps.
            (step - warmup_steps) / (total_steps - warmup_steps) ⇒ step / total_steps
        warm-up and cosine are multiplied, and the peak is never reached: first the one, then the other.
            ⇒ return min(1, (step + 1) / max(warmup_steps, 1)) * _rate(step, total_steps, 0, peak)
        the cosine is stretched over total_steps and does not come down to 0: after the warm-up there are only total_steps - warmup_steps.
            (total_steps - warmup_steps) ⇒ total_steps
        you divide by total_steps and subtract warmup_steps afterwards: put total_steps - warmup_steps into parentheses.
            (total_steps - warmup_steps) ⇒ total_steps - warmup_steps
        the fall starts from step, not from step - warmup_steps: at the end of the warm-up its progress must be 0.
            (step - warmup_steps) ⇒ step
        the rate is 0 at the last step, which learns nothing: it would be 0 one step later, so divide by total_steps - warmup_steps, without - 1.
            (total_steps - warmup_steps) ⇒ (total_steps - warmup_steps - 1)
          or
            (total_steps - warmup_steps) ⇒ max(total_steps - warmup_steps - 1, 1)
        the fall comes down too late: its progress would be 1 at step total_steps, so divide by total_steps - warmup_steps, without + 1.
            (total_steps - warmup_steps) ⇒ (total_steps - warmup_steps + 1)
        the fall is one step ahead: at step == warmup_steps the rate is still the peak.
            (step - warmup_steps) ⇒ (step - warmup_steps + 1)
          or
            (step - warmup_steps) / (total_steps - warmup_steps) ⇒ (step - warmup_steps + 1) / (total_steps - warmup_steps + 1)
        the fall is one step behind: at step == warmup_steps its progress is 0 already.
            (step - warmup_steps) ⇒ (step - warmup_steps - 1)
        math.cos wants radians: half a turn is math.pi, not 180.
            math.pi ⇒ 180
        pi is missing: half a cosine runs from cos(0) to cos(pi).
            math.pi * ⇒
        the cosine runs through a whole turn and comes back up: half of it ends at math.pi, not at 2 * math.pi.
            math.pi ⇒ math.tau
        the rate becomes negative: a cosine runs from 1 to -1, so add 1 and halve it.
            0.5 * (1 + math.cos(math.pi * progress)) ⇒ math.cos(math.pi * progress)
        after the warm-up the rate is twice as high: 1 + cos runs from 2 to 0, so halve it.
            0.5 * ⇒
        only the 1 is halved, not the cosine: put 1 + cos into parentheses.
            (1 + math.cos(math.pi * progress)) ⇒ 1 + math.cos(math.pi * progress)
        a quarter of a cosine is steep at the end; here it is half of one, which comes in flat: (1 + cos(pi * progress)) / 2.
            0.5 * (1 + math.cos(math.pi * progress)) ⇒ math.cos(math.pi / 2 * progress)
        after the warm-up the rate rises from 0: it is 1 + cos, not 1 - cos.
            1 + math ⇒ 1 - math
        the fall is a straight line: here it is half a cosine.
            0.5 * (1 + math.cos(math.pi * progress)) ⇒ 1 - progress
        after the warm-up the rate stays where it is: it falls along half a cosine, whose progress is a fraction, with / and not //.
            peak * share ⇒ peak
        a sine is 0 at both ends: the fall goes along a cosine, from cos(0) to cos(pi).
            math.cos ⇒ math.sin
        you return a tensor: a learning rate is a plain number, so use math.cos and math.pi, or end with .item().
            ⇒ return torch.tensor(_rate(step, total_steps, warmup_steps, peak))
          or
            peak * share ⇒ torch.tensor(peak * share)
        """
        + "".join(
            f"""
        you keep the rate above a floor: nothing holds it up here, so let it come down towards 0 with the cosine.
            peak * share ⇒ {floor.format("peak * share")}
          or
            peak * share ⇒ {floor.format("peak * share")}
            return peak * (step + 1) / warmup_steps ⇒ return {floor.format("peak * (step + 1) / warmup_steps")}
        """
            for floor in _FLOORS
        ),
    ),
)


# --- param_groups ------------------------------------------------------------------------------------


def _vit(**settings):
    config: dict[str, Any] = {"in_chans": 1, "num_classes": 3, "embed_dim": 8, "depth": 1, "num_heads": 2} | settings
    return VisionTransformer(ViTConfig(8, 4, **config))


def _plain():
    """With two layers that share one weight."""
    layers = (nn.ReLU(), nn.Flatten(), nn.Linear(96, 5), nn.LayerNorm(5), nn.Linear(5, 5, bias=False), nn.Linear(5, 5))
    layers[-1].weight = layers[-2].weight
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), *layers)


def _partly_frozen():
    """Sequences within sequences: the first is frozen, one layer stands in two places, the last has one output."""
    shared = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    stem = nn.Sequential(nn.Conv2d(1, 4, 1), nn.GroupNorm(2, 4)).requires_grad_(False)
    return nn.Sequential(stem, nn.Flatten(), nn.Sequential(shared, nn.GELU(), shared), nn.Linear(4, 1))


def _vit_within():
    """A ViT as a part of a larger model, with a layer whose name begins as that of the positions."""
    parts: dict[str, nn.Module] = {"vit": _vit(pos_embed="learn"), "pos_proj": nn.Linear(3, 2)}
    return nn.Sequential(OrderedDict(parts))


_MODELS = {
    "a ViT with learned positions": lambda: _vit(pos_embed="learn"),
    "a ViT with relative positions": lambda: _vit(pos_embed="relative", depth=2),
    "a ViT without class token": lambda: _vit(pos_embed="sincos2d", global_pool="avg", qkv_bias=False),
    "an nn.Sequential": _plain,
    "a partly frozen nn.Sequential": _partly_frozen,
    "an nn.Sequential of a ViT and a linear layer": _vit_within,
}


def _group_probes(generator):
    kinds = (*_MODELS, next(iter(_MODELS)))  # the first once more, with another decay
    rates = 0.02 + 0.3 * torch.rand(len(kinds), generator=generator, dtype=torch.float64)
    return [{"model": kind, "weight_decay": round(rate, 4)} for kind, rate in zip(kinds, rates.tolist(), strict=True)]


class _Decays(dict):
    """What came of a scene, by name. A reader's own dict is none."""


def _decay_by_name(answer):
    """{name of each parameter that is trained: the weight decay that its group says}."""

    def staged(model, weight_decay):
        if isinstance(model, nn.Module):
            return answer(model, weight_decay)
        model = _MODELS[model]()
        parameters = dict(model.named_parameters())
        names = {id(parameter): name for name, parameter in parameters.items()}
        trained = {name: parameter.requires_grad for name, parameter in parameters.items()}
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        groups = answer(model, weight_decay)
        if groups is None or isinstance(groups, _Decays):
            return groups
        if isinstance(groups, dict):
            one = "one dictionary" if "params" in groups else "a dictionary without params"
            raise TypeError(f"expected a list of two dictionaries, got {one}")
        if isinstance(groups, torch.optim.Optimizer):
            raise TypeError("expected a list of two dictionaries, got an optimiser")
        groups = list(groups)
        if len(groups) > 2:
            raise ValueError("expected two groups, got more")
        for name, parameter in parameters.items():
            if parameter.requires_grad != trained[name]:
                raise ValueError(f"requires_grad of {name} is {parameter.requires_grad} now")
            if not torch.equal(parameter, before[name]):
                raise ValueError("the weights of the model have changed")
        decays = {}
        for group in groups:
            for member in group["params"]:
                if id(member) not in names:
                    copied = isinstance(member, nn.Parameter) or getattr(member, "requires_grad", False)
                    got = "a copy" if copied else type(member).__name__
                    raise ValueError(f"expected the model's own parameters in params, got {got}")
                if names[id(member)] in decays:
                    raise ValueError(f"{names[id(member)]} is there twice")
                decays[names[id(member)]] = as_number(group["weight_decay"], "weight_decay")
        return _Decays((name, decay) for name, decay in decays.items() if trained[name])

    return staged


def _groups(model, weight_decay):
    decay, rest = [], []
    for name, parameter in model.named_parameters():
        special = name.endswith(("cls_token", "pos_embed", "bias_table"))
        decays = parameter.ndim > 1 and not special
        (decay if decays else rest).append(parameter)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


PARAM_GROUPS = StagedExercise(
    name="param_groups",
    chapter="07",
    signature="param_groups(model, weight_decay)",
    task='put every parameter of the model that is trained into one of two groups, once: the weights of linear layers and convolutions decay, while biases, norms, cls_token, pos_embed and tables of position biases do not: a model -> [{"params": [...], "weight_decay": weight_decay}, {"params": [...], "weight_decay": 0.0}].',
    probes=_group_probes,
    oracle=_decay_by_name(_groups),
    stage=_decay_by_name,
    mistakes=edits_of(
        _groups,
        """
        you go by the number of dimensions alone: cls_token, pos_embed and the tables of position biases have more than one, and must be found by their names.
            and not special ⇒
        the class token decays: it is no weight of a layer, so its name has to be asked for.
            "cls_token", ⇒
        the positions decay: pos_embed is no weight of a layer, so its name has to be asked for.
            "pos_embed", ⇒
        the tables of relative position biases decay: their names end in bias_table.
            , "bias_table" ⇒
          or
            name.endswith(("cls_token", "pos_embed", "bias_table")) ⇒ name in ("cls_token", "pos_embed")
        the biases decay: nothing of one dimension does.
            parameter.ndim > 1 ⇒ (parameter.ndim > 1 or name.endswith(".bias"))
        the scales of the norms decay: leaving out the biases is not enough. Nothing of one dimension decays.
            parameter.ndim > 1 ⇒ not name.endswith(".bias")
        you find the norms by their name: in an nn.Sequential they are called 1.weight. Nothing of one dimension decays.
            parameter.ndim > 1 ⇒ "norm" not in name and not name.endswith(".bias")
        you leave out norms by their names, and no biases: nothing of one dimension decays, and in an nn.Sequential a norm is called 1.weight.
            parameter.ndim > 1 ⇒ "norm" not in name
        other norms than nn.LayerNorm decay: a model may have nn.BatchNorm2d or nn.GroupNorm, and nothing of one dimension decays.
            ⇒ norms = {id(m.weight) for m in model.modules() if isinstance(m, nn.LayerNorm)}
            | decay, rest = [], []
            | for name, p in model.named_parameters():
            |     (rest if id(p) in norms or name.endswith(("bias", "cls_token", "pos_embed", "bias_table")) else decay).append(p)
            | return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
        only the norms are left out: biases, cls_token, pos_embed and tables of position biases do not decay either.
            parameter.ndim > 1 and not special ⇒ "norm" not in name
        only biases and norms are left out, and those by their names: cls_token and pos_embed do not decay either, and in an nn.Sequential a norm is called 1.weight.
            parameter.ndim > 1 and not special ⇒ "norm" not in name and "bias" not in name
        only the biases are left out: norms, cls_token, pos_embed and tables of position biases do not decay either.
            parameter.ndim > 1 and not special ⇒ not name.endswith("bias")
        you know cls_token and pos_embed by the 1 in their shape: a layer with one output has it, too, so go by the names.
            and not special ⇒ and len(parameter) > 1 and not name.endswith("bias_table")
          or
            and not special ⇒ and 1 not in parameter.shape and not name.endswith("bias_table")
        "embed" is a part of patch_embed.proj.weight too, and that is a weight like any other: ask for the whole name, pos_embed.
            and not special ⇒ and not special and "embed" not in name
          or
            parameter.ndim > 1 and not special ⇒ not any(word in name for word in ("norm", "bias", "token", "embed"))
        a ViT may be a part of a larger model, and its class token is called vit.cls_token then: ask how the name ends, name.endswith(...).
            name.endswith(("cls_token", "pos_embed", "bias_table")) ⇒ (name in ("cls_token", "pos_embed") or name.endswith("bias_table"))
          or
            ndim > 1 ⇒ ndim > 1 and "bias" not in name
            name.endswith(("cls_token", "pos_embed", "bias_table")) ⇒ name in ("cls_token", "pos_embed")
          or
            name.endswith( ⇒ name.startswith(
            , "bias_table")) ⇒ )) or name.endswith("bias_table")
        "pos" is a part of pos_proj.weight too, and that is a weight like any other: ask how the name ends, name.endswith(...).
            and not special ⇒ and not special and "pos" not in name
        the class token is all that you find by name: "cls_token" or "pos_embed" is "cls_token", so ask for each of the names.
            ("cls_token", "pos_embed", "bias_table") ⇒ "cls_token" or "pos_embed"
        endswith takes one ending or a tuple of them: put them into (...), not into [...].
            ("cls_token", "pos_embed", "bias_table") ⇒ ["cls_token", "pos_embed", "bias_table"]
        the head does not decay: it is a linear layer like the others.
            and not special ⇒ and not special and not name.startswith("head.")
        convolutions do not decay in your groups: the patch embedding is one, and its weight decays as a linear layer's does.
            ndim > 1 ⇒ ndim == 2
          or
            ⇒ decay, rest = [], []
            | for part in model.modules():
            |     for name, p in part.named_parameters(recurse=False):
            |         (decay if isinstance(part, nn.Linear) and name == "weight" else rest).append(p)
            | return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
        the weights of linear layers have two dimensions, and they decay: what has one does not.
            ndim > 1 ⇒ ndim > 2
        everything decays: biases, norms, cls_token, pos_embed and tables of position biases belong into the second group, with 0.0.
            parameter.ndim > 1 and not special ⇒ True
        the two groups are swapped: weights of layers decay, the rest does not.
            (decay if decays else rest) ⇒ (rest if decays else decay)
        what does not decay is in no group, and would never be trained: it needs a group of its own, with weight_decay 0.
            , {"params": rest, "weight_decay": 0.0} ⇒
        the head is in no group, and would never be trained: go through model.named_parameters().
            decays = ⇒ if name.startswith("head."):
            |     continue
            | decays =
        cls_token and pos_embed are in no group, and would never be trained: they belong to those that do not decay, and only model.named_parameters() gives them, not the layers.
            decays = ⇒ if "." not in name:
            |     continue
            | decays =
          or
            in model.named_parameters() ⇒ in [pair for child in model.children() for pair in child.named_parameters()]
          or
            ⇒ decay, rest = [], []
            | for part in model.modules():
            |     if isinstance(part, (nn.Linear, nn.Conv2d)):
            |         decay.append(part.weight)
            |         if part.bias is not None:
            |             rest.append(part.bias)
            |     elif isinstance(part, nn.LayerNorm):
            |         rest.extend([part.weight, part.bias])
            | return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
          or
            ⇒ decay, rest = [], []
            | for part in model.modules():
            |     if isinstance(part, (nn.Linear, nn.Conv2d)):
            |         decay.append(part.weight)
            |         if part.bias is not None:
            |             rest.append(part.bias)
            |     elif isinstance(part, (nn.LayerNorm, nn.BatchNorm2d, nn.GroupNorm)):
            |         rest.extend([part.weight, part.bias])
            | return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
        cls_token, pos_embed and the tables of position biases are in no group, and would never be trained: they belong to those that do not decay.
            decays = ⇒ if special:
            |     continue
            | decays =
        only what is called weight is in a group: biases, class token and positions would never be trained, and belong to those that do not decay.
            decays = ⇒ if not name.endswith("weight"):
            |     continue
            | decays =
        some parameters are in both groups: each belongs to one only, which is what if and else are for.
            "params": decay ⇒ "params": list(model.parameters())
          or
            "params": rest ⇒ "params": list(model.parameters())
          or
            decays = parameter.ndim > 1 and not special ⇒ decays = parameter.ndim > 1
            | if special:
            |     rest.append(parameter)
        `parameter in list` compares all their numbers: sort by if and else in one loop, or look for names.
            ⇒ decay, _ = _groups(model, weight_decay)
            | rest = [parameter for parameter in model.parameters() if parameter not in decay["params"]]
            | return [decay, {"params": rest, "weight_decay": 0.0}]
        a layer that the model uses in two places is in your groups twice: model.named_parameters() gives each parameter once.
            named_parameters() ⇒ named_parameters(remove_duplicate=False)
        a weight that two layers share is in your groups twice, once for each: model.named_parameters() gives it once.
            in model.named_parameters() ⇒ in [pair for part in model.modules() for pair in part.named_parameters(recurse=False)]
        you switch gradients off, so these parameters would never be trained: not decaying is a matter of weight_decay 0, and of nothing else.
            decays = ⇒ parameter.requires_grad_(parameter.requires_grad and parameter.ndim > 1 and not special)
            | decays =
        you switch gradients on: what is frozen stays frozen, and groups are only lists of parameters.
            decays = ⇒ parameter.requires_grad_()
            | decays =
        you change the weights themselves: that is for the optimiser to do at each step, and groups are only lists of parameters.
            decays = ⇒ parameter.data.mul_(1 - weight_decay)
            | decays =
        the optimiser wants the parameters themselves, not their names.
            append(parameter) ⇒ append(name)
        named_parameters() gives pairs: put the parameter into the list, without its name.
            append(parameter) ⇒ append((name, parameter))
        these are tensors without gradients, as state_dict(), .data and .detach() give them, and no optimiser can train them: take model.named_parameters() as they are.
            named_parameters() ⇒ state_dict().items()
        these are copies, and to train them would leave the model as it is: put the parameters themselves into the lists.
            append(parameter) ⇒ append(parameter.clone())
          or
            append(parameter) ⇒ append(nn.Parameter(parameter.detach().clone()))
        there are more than two groups: whatever does not decay, of any kind, belongs into the one with weight_decay 0.
            , "weight_decay": 0.0}] ⇒ , "weight_decay": 0.0}, {"params": [], "weight_decay": 0.0}]
        you return one dictionary of two lists: a list of two dictionaries, each with "params" and "weight_decay".
            ⇒ decay, rest = _groups(model, weight_decay)
            | return {"decay": decay["params"], "rest": rest["params"]}
        you return an optimiser: it is made of your list later, and the list of two dictionaries is what is asked for.
            ⇒ return torch.optim.AdamW(_groups(model, weight_decay))
        a group has no "weight_decay", so AdamW would take its own default, 0.01: write it in both, 0.0 in the second.
            , "weight_decay": 0.0 ⇒
        the decay is a fixed number: take the argument weight_decay.
            "weight_decay": weight_decay ⇒ "weight_decay": 0.05
          or
            "weight_decay": weight_decay ⇒ "weight_decay": 0.1
          or
            "weight_decay": weight_decay ⇒ "weight_decay": 0.01
        nothing decays: the first group gets weight_decay, the second 0.0.
            "weight_decay": weight_decay ⇒ "weight_decay": 0.0
        you return one group: put both dictionaries into a list.
            ⇒ return _groups(model, weight_decay)[0]
        you return lists of parameters: each group is a dictionary with "params" and "weight_decay".
            ⇒ return [group["params"] for group in _groups(model, weight_decay)]
        """,
    ),
)


# --- the model of evaluate and train_step ------------------------------------------------------------


class _HalfDropout(nn.Dropout):
    """In training it drops every other feature, the same ones each time: so the numbers can be compared."""

    def forward(self, x):
        return x * (2 * (torch.arange(1, x.shape[-1] + 1) % 2)) if self.training else x


class _Net(nn.Module):
    """A small classifier with these weights. It notes whether gradients were recorded as it ran."""

    def __init__(self, weights):
        super().__init__()
        (hidden, pixels), classes = weights["fc1.weight"].shape, len(weights["head.1.bias"])
        self.norm = nn.BatchNorm1d(hidden) if "norm.weight" in weights else nn.Identity()
        self.shift = nn.Parameter(torch.empty(1, pixels))  # of no layer, as a class token is
        self.fc1 = nn.Linear(pixels, hidden)
        self.head = nn.Sequential(_HalfDropout(), nn.Linear(hidden, classes))
        self.to(weights["shift"].dtype).load_state_dict(weights)
        self.recorded = False

    def forward(self, images):
        logits = self.head(F.gelu(self.norm(self.fc1(images.flatten(1) + self.shift))))
        self.recorded |= logits.requires_grad
        return logits


def _weights(draw, pixels, hidden, classes, loud=1.0, norm=False):
    """For a `_Net`. Where they are loud, the probabilities of some classes underflow."""
    values = {
        "fc1.weight": draw(hidden, pixels) / pixels**0.5,
        "fc1.bias": 0.3 * draw(hidden),
        "head.1.weight": 3 * loud * draw(classes, hidden) / hidden**0.5,
        "head.1.bias": 0.3 * loud * draw(classes),
        "shift": 0.3 * draw(1, pixels),
    }
    if norm:
        values |= {f"norm.{name}": draw(hidden) for name in ("weight", "bias", "running_mean")}
        values |= {"norm.running_var": 1 + draw(hidden) ** 2, "norm.num_batches_tracked": torch.tensor(3)}
    return values


def _single(tensors):
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


# --- evaluate ----------------------------------------------------------------------------------------

# Channels, height, width, hidden width, classes, the sizes of the batches, how loud, and whether in training mode. A
# model with four classes has a batch norm, and its first layer is frozen.
_SETS = (
    (1, 3, 4, 9, 5, (6, 6, 2), 1, True),
    (3, 2, 2, 7, 3, (4, 2), 1, False),
    (1, 4, 2, 6, 7, (3, 9, 3, 2), 1, True),
    (2, 3, 1, 1, 2, (1, 4, 1), 1, True),
    (2, 1, 3, 4, 1, (1, 1), 1, True),
    (1, 3, 4, 9, 5, (6, 6, 2), 500, True),  # the shapes of the first
    (2, 2, 2, 5, 4, (3, 5, 2), 1, True),
)


def _evaluate_probes(generator):
    draw, probes = normal(generator), []
    for C, h, w, hidden, classes, sizes, loud, training in _SETS:
        labels = torch.randint(classes, (sum(sizes),), generator=generator)
        images = draw(len(labels), C, h, w)
        weights = _weights(draw, C * h * w, hidden, classes, loud, norm=classes == 4)
        if classes == 1:  # the largest logit is 0, like the label, for the first image and not for the second
            weights["fc1.bias"].zero_()
            weights["head.1.bias"].zero_()
            images[0] = -weights["shift"].view(C, h, w)
        if classes == 7:  # two that are always close
            weights["head.1.weight"][1] = weights["head.1.weight"][0]
            weights["head.1.bias"][0] = 4
            weights["head.1.bias"][1] = 4.001
        with torch.no_grad():
            answers = _Net(weights).eval()(images).argmax(dim=1)
        # Whatever the numbers, some are right and some are wrong, and so in the last batch.
        labels[0] = answers[0]
        labels[-2:] = answers[-2:]
        labels[-1] = (answers[-1] + 1) % classes
        if classes == 7:
            labels[1:4] = 0
        probe = {"weights": weights, "images": images, "labels": labels, "batch_sizes": sizes}
        probes.append(probe | {"training": training})
    for probe in probes[3:]:
        probe["weights"], probe["images"] = _single(probe["weights"]), probe["images"].float()
    return probes


class _Outcome(dict):
    """What came of a scene, by name. A reader's own dict is none."""


def _loss_and_accuracy(answer):
    def staged(*inputs, **named):
        inputs = (*inputs, *named.values())
        if isinstance(inputs[0], nn.Module):
            return answer(*inputs)
        weights, images, labels, sizes, training = inputs
        model = _Net(weights).train(training)
        model.fc1.requires_grad_("norm.weight" not in weights)
        for name, parameter in model.named_parameters():
            parameter.grad = weights[name].cos()  # of a step of training that is not over
        trained = [parameter.requires_grad for parameter in model.parameters()]
        result = answer(model, zip(images.split(sizes), labels.split(sizes), strict=True))
        if result is None or isinstance(result, _Outcome):
            return result
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise TypeError(f"expected two floats, the loss and the accuracy, got {type(result).__name__}")
        if model.recorded:
            raise ValueError("gradients were recorded while the model ran")
        for before, parameter in zip(trained, model.parameters(), strict=True):
            if before and not parameter.requires_grad:
                raise ValueError("the parameters of the model do not require gradients any more")
            if not before and parameter.requires_grad:
                raise ValueError("a parameter that was frozen requires gradients now")
        if any(value.dtype != weights[name].dtype for name, value in model.state_dict().items()):
            raise ValueError("the model is in another dtype now")
        for name, value in model.state_dict().items():
            if not torch.equal(value, weights[name]):
                what = "running statistics" if "running" in name or "tracked" in name else "weights"
                raise ValueError(f"the {what} of the model have changed")
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        if any(value is None or not torch.equal(value, weights[name].cos()) for name, value in gradients.items()):
            raise ValueError("the gradients of the model are not what they were")
        pairs = zip(("loss", "accuracy"), result, strict=True)
        return _Outcome(
            (name, as_number(value, f"the {name}").float()) for name, value in pairs
        )  # models are in single precision

    return staged


def _evaluate(model, batches):
    loss, hits, sizes = 0.0, 0, []
    model.eval()
    with torch.no_grad():
        for images, labels in batches:
            logits = model(images)
            right = logits.argmax(dim=-1) == labels
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            hits += right.sum().item()
            sizes.append(len(labels))
    count = sum(sizes)
    return loss / count, hits / count


EVALUATE = StagedExercise(
    name="evaluate",
    chapter="07",
    signature="evaluate(model, batches)",
    task="run the model over all batches, in evaluation mode and without gradients, and return the mean cross-entropy over all images and the share of images whose largest logit is the right one: a model and pairs (images (B, C, h, w), labels (B,)) -> (loss, accuracy), two floats.",
    probes=_evaluate_probes,
    oracle=_loss_and_accuracy(_evaluate),
    stage=_loss_and_accuracy,
    mistakes=edits_of(
        _evaluate,
        """
        you average over the batches, and the last one is smaller: add up over images, and divide by their number once, at the end.
            , reduction="sum" ⇒
            right.sum() ⇒ right.double().mean()
            sum(sizes) ⇒ len(sizes)
        the accuracy is exact, but the loss is a mean over batches: F.cross_entropy gives a batch's mean, so multiply it by the number of its images, or take reduction='sum'.
            , reduction="sum" ⇒
            loss / count ⇒ loss / len(sizes)
        the loss is exact, but the accuracy is a mean over batches: count the right answers, and divide by the number of images at the end.
            right.sum() ⇒ right.double().mean()
            hits / count ⇒ hits / len(sizes)
        you add up the batches' means and divide by the number of images: a mean must be multiplied by its batch's size first.
            , reduction="sum" ⇒
          or
            right.sum() ⇒ right.double().mean()
          or
            , reduction="sum" ⇒
            right.sum() ⇒ right.double().mean()
        reduction="sum" has added up over the images already: only a batch's mean is multiplied by the number of its images.
            reduction="sum").item() ⇒ reduction="sum").item() * len(labels)
        you add up over images, but divide by the number of batches.
            sum(sizes) ⇒ len(sizes)
          or
            right.sum() ⇒ right.double().mean()
            sum(sizes) ⇒ len(sizes)
        you multiply by the size of one batch: the others may have another, so add up len(labels).
            , reduction="sum" ⇒
            loss / count, hits / count ⇒ loss / len(sizes), hits / (sizes[0] * len(sizes))
          or
            , reduction="sum" ⇒
            loss / count, hits / count ⇒ loss / len(sizes), hits / (sizes[-1] * len(sizes))
          or
            , reduction="sum" ⇒
            loss / count, hits / count ⇒ loss / len(sizes), hits / (max(sizes) * len(sizes))
          or
            sum(sizes) ⇒ sizes[0] * len(sizes)
          or
            sum(sizes) ⇒ sizes[-1] * len(sizes)
          or
            sum(sizes) ⇒ max(sizes) * len(sizes)
        you divide by the size of the last batch: add the sizes of all up, count += len(labels).
            sum(sizes) ⇒ sizes[-1]
        // leaves whole numbers, and a share lies between 0 and 1: divide with /.
            hits / count ⇒ hits // count
          or
            loss / count, hits / count ⇒ loss // count, hits // count
        you count channels, rows or pixels: the images of a batch are len(labels), or images.shape[0].
            len(labels) ⇒ images.shape[1]
          or
            len(labels) ⇒ images[0].numel()
          or
            len(labels) ⇒ images.numel()
        dropout is on, because the model is in training mode: call model.eval() first.
            model.eval() ⇒ model.train()
          or
            model.eval() ⇒
        dropout is off, and the other parts are still in training mode, where a batch norm changes its running statistics: model.eval() switches all of them.
            model.eval() ⇒ model.train()
            | for part in model.modules():
            |     if isinstance(part, nn.Dropout):
            |         part.eval()
        gradients are recorded all the way, which costs memory for nothing: wrap the loop in `with torch.no_grad():`.
            with torch.no_grad(): ⇒ if True:
        you freeze the weights, and the next training step trains nothing: torch.no_grad() leaves the model as it is.
            model.eval() ⇒ model.eval().requires_grad_(False)
        you freeze all weights, and in the end let all of them be trained, also those that were frozen: torch.no_grad() leaves the model as it is.
            model.eval() ⇒ model.eval().requires_grad_(False)
            count = ⇒ model.requires_grad_()
            | count =
        you change the dtype of the model, and it is not yours: leave it as it comes.
            model.eval() ⇒ model.eval().double()
            model(images) ⇒ model(images.double())
          or
            model.eval() ⇒ model.eval().float()
            model(images) ⇒ model(images.float())
        you clear gradients, and they are somebody else's, who is in the middle of a step: leave zero_grad() out, nothing is trained here.
            model.eval() ⇒ model.eval()
            | model.zero_grad()
        the last batch is left out, because it is smaller: its images count as the others do.
            logits = ⇒ if sizes and len(labels) != sizes[0]:
            |     continue
            | logits =
          or
            logits = ⇒ if sizes and len(labels) < sizes[0]:
            |     continue
            | logits =
        the last batch is left out: go through all of them.
            in batches ⇒ in list(batches)[:-1]
        only the first batch counts: is your `return` inside the loop?
            sizes.append(len(labels)) ⇒ sizes.append(len(labels))
            | break
        only the last batch counts: add up with +=, inside the loop, instead of replacing.
            loss += ⇒ loss =
            hits += ⇒ hits =
            sum(sizes) ⇒ sizes[-1]
          or
            loss += ⇒ loss =
            hits += ⇒ hits =
          or
            loss += ⇒ loss =
          or
            hits += ⇒ hits =
        batches may come from a generator, which has no length: count the images as they come.
            sum(sizes) ⇒ len(batches)
        you go through the batches twice, and the second time there is nothing left: compute everything in one loop.
            count = ⇒ hits = sum((model(images).argmax(dim=-1) == labels).sum().item() for images, labels in batches)
            | count =
          or
            count = ⇒ loss = sum(F.cross_entropy(model(images), labels).item() for images, labels in batches)
            | count =
          or
            with torch ⇒ count = sum(len(labels) for _, labels in batches)
            | with torch
            count = sum(sizes) ⇒
          or
            count = sum(sizes) ⇒ count = sum(len(labels) for _, labels in batches)
        argmax runs over the images: the classes are the last dimension, dim=-1.
            dim=-1 ⇒ dim=0
          or
            logits.argmax(dim=-1) == labels ⇒ torch.tensor([a == b for a, b in zip(logits.argmax(dim=0), labels)])
        you ask for a probability above a half: the largest logit is enough, also where its probability is smaller.
            logits.argmax(dim=-1) == labels ⇒ logits.softmax(dim=-1)[range(len(labels)), labels] > 0.5
          or
            logits.argmax(dim=-1) == labels ⇒ logits.softmax(dim=-1)[range(len(labels)), labels] > 0.5
            F.cross_entropy(logits ⇒ F.nll_loss(logits.softmax(dim=-1).log()
        argmax() without dim=-1 finds one number for the whole batch: each image has its own answer.
            argmax(dim=-1) ⇒ argmax()
        you compare the largest logit itself with the label: argmax says which class it belongs to.
            argmax ⇒ amax
          or
            argmax ⇒ max
        (B, 1) == (B,) compares every answer with every label: leave keepdim out.
            dim=-1 ⇒ dim=-1, keepdim=True
        squeeze() takes away the batch when it holds one image: leave the shape of the logits as it is.
            model(images) ⇒ model(images).squeeze()
        F.cross_entropy takes logits, and applies the softmax itself: you apply it before, too.
            F.cross_entropy(logits ⇒ F.cross_entropy(logits.softmax(dim=-1)
        F.one_hot(labels) has columns up to the largest label of this batch only: F.cross_entropy takes the class numbers as they are.
            logits, labels ⇒ logits, F.one_hot(labels).to(logits)
        F.cross_entropy takes the logits first, and the labels after them.
            logits, labels ⇒ labels, logits
        F.nll_loss wants the logarithms of probabilities, and does not make them: F.cross_entropy takes logits.
            cross_entropy ⇒ nll_loss
        a probability that underflows to 0 has the logarithm -inf: give the logits to F.cross_entropy, or use log_softmax.
            F.cross_entropy(logits ⇒ F.nll_loss(logits.softmax(dim=-1).log()
        the accuracy is in per cent: return the share, between 0 and 1.
            hits / count ⇒ 100 * hits / count
        you return the number of right answers: divide by the number of images.
            hits / count ⇒ hits
        you return the sum of the losses: divide by the number of images.
            loss / count ⇒ loss
        you return two sums: divide both by the number of images.
            loss / count, hits / count ⇒ loss, hits
        you return the share of wrong answers: count where they are equal.
            == labels ⇒ != labels
        the two are swapped: first the loss, then the accuracy.
            loss / count, hits / count ⇒ hits / count, loss / count
        you return tensors: .item() makes a plain number of each.
            loss / count ⇒ torch.tensor(loss / count)
          or
            hits / count ⇒ torch.tensor(hits / count)
        you return a dictionary: the task asks for two floats, `return loss, accuracy`.
            return loss / count, hits / count ⇒ return {"loss": loss / count, "accuracy": hits / count}
        you return one number: the task asks for two, `return loss, accuracy`.
            , hits / count ⇒
        """,
    ),
)


# --- train_step --------------------------------------------------------------------------------------

# Channels, height, width, hidden width, classes, images, longest gradient (far below the gradient's length, or above),
# optimiser, how loud, and whether it comes in training mode.
_STEPS = (
    (1, 3, 4, 9, 5, 6, 0.05, "SGD", 1, False),
    (3, 2, 2, 7, 3, 5, 50.0, "SGD", 1, False),
    (2, 3, 3, 8, 4, 7, 0.3, "AdamW", 1, False),
    (1, 3, 4, 9, 5, 6, 0.2, "SGD of two groups", 1, True),  # the shapes of the first
    (2, 1, 3, 6, 4, 1, 0.1, "AdamW", 1, False),
    (1, 4, 1, 1, 2, 3, 0.02, "SGD of two groups", 1, False),
    (1, 2, 4, 6, 5, 8, 1e4, "SGD", 200, False),
)


def _step_probes(generator):
    """Mostly a model that was looked at before (it is in evaluation mode), with gradients left from another step."""
    draw, probes = normal(generator), []
    for C, h, w, hidden, classes, batch, max_norm, optimizer, loud, training in _STEPS:
        weights = _weights(draw, C * h * w, hidden, classes, loud)
        probe = {"weights": weights, "from_before": {name: 0.5 * draw(*p.shape) for name, p in weights.items()}}
        probe |= {"optimizer": optimizer, "training": training, "images": draw(batch, C, h, w)}
        present = classes - (optimizer == "AdamW")  # the last class does not always come
        probes.append(probe | {"labels": torch.randint(present, (batch,), generator=generator), "max_norm": max_norm})
    loud = probes[-1]
    loud |= {name: _single(loud[name]) for name in ("weights", "from_before")} | {"images": loud["images"].float()}
    return probes


def _optimizer(kind, model):
    """Its steps are long enough for every mistake to be seen."""
    weights = list(model.parameters())
    if kind == "SGD":
        return torch.optim.SGD(weights, lr=1.0)
    groups = [{"params": weights[::-2]}, {"params": weights[-2::-2], "weight_decay": 0.0, "lr": 0.8}]
    if kind == "AdamW":
        optimizer = torch.optim.AdamW(groups, lr=0.5, eps=0.1, weight_decay=0.2)
        optimizer.step()  # with the old gradients, which it remembers
        return optimizer
    return torch.optim.SGD(groups, lr=1.0, weight_decay=0.1)


def _loss_and_weights(answer):
    @functools.wraps(answer)  # the course's stand-in is called as the exercise says
    def staged(*inputs, **named):
        inputs = (*inputs, *named.values())
        if isinstance(inputs[0], nn.Module):
            return answer(*inputs)
        weights, old_gradients, optimizer, training, images, labels, max_norm = inputs
        model = _Net(weights).train(training)
        for name, gradient in old_gradients.items():
            model.get_parameter(name).grad = gradient.clone()
        loss = answer(model, _optimizer(optimizer, model), images, labels, max_norm)
        if loss is None or isinstance(loss, dict):
            return loss
        after = {name: model.get_parameter(name).detach() for name in weights}
        return {"loss": as_number(loss, "the loss").to(images.dtype)} | after

    return staged


def _step(model, optimizer, images, labels, max_norm):
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    weights = list(model.parameters())
    nn.utils.clip_grad_norm_(weights, max_norm)
    optimizer.step()
    return loss.item()


TRAIN_STEP = StagedExercise(
    name="train_step",
    chapter="07",
    signature="train_step(model, optimizer, images, labels, max_norm)",
    task="switch to training mode, forget the old gradients, compute the mean cross-entropy and its gradients, shorten these to max_norm if they are longer (all of them as one vector), and let the optimiser take one step; return the loss before the step as a float. The weights of the model are compared afterwards.",
    probes=_step_probes,
    oracle=_loss_and_weights(_step),
    stage=_loss_and_weights,
    mistakes=edits_of(
        _step,
        """
        the old gradients are still in: backward() adds to what is there, so call optimizer.zero_grad() before it.
            optimizer.zero_grad() ⇒
        the weights have not moved: optimizer.step() must run while the new gradients are there, so after backward(), with no zero_grad() between them, and with no .detach() before.
            optimizer.step() ⇒
        optimizer.step() comes before backward(), and goes along the old gradients: first zero_grad, then backward, then step.
            optimizer.zero_grad() ⇒
            optimizer.step() ⇒
            loss.backward() ⇒ optimizer.step()
            | loss.backward()
        you clip the old gradients, and backward() adds the new ones to them: zero_grad first, and clip after backward().
            optimizer.zero_grad() ⇒ nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            nn.utils.clip_grad_norm_(weights, max_norm) ⇒
        the gradients go into the step unclipped: clip_grad_norm_ belongs after backward(), where they are made, and before step(), where they are used.
            nn.utils.clip_grad_norm_(weights, max_norm) ⇒
        you clip each number of the gradient for itself: clip_grad_norm_ shortens them all together and keeps the direction, clip_grad_value_ does not.
            clip_grad_norm_ ⇒ clip_grad_value_
        you clip each parameter's gradient for itself: all gradients together are one vector, and its length counts.
            nn.utils.clip_grad_norm_(weights ⇒ for weight in weights:
            |     nn.utils.clip_grad_norm_(weight
        you clip each group of the optimiser for itself: all gradients together are one vector, so give model.parameters().
            nn.utils.clip_grad_norm_(weights ⇒ for group in optimizer.param_groups:
            |     nn.utils.clip_grad_norm_(group["params"]
        you clip the optimiser's first group, and it may have several: all gradients together are one vector, so give model.parameters().
            clip_grad_norm_(weights ⇒ clip_grad_norm_(optimizer.param_groups[0]["params"]
        you measure the gradient by its largest number: its length is the root of the sum of squares, norm_type 2.
            (weights, max_norm ⇒ (weights, max_norm, math.inf
        you measure the gradient by the sum of absolute values: its length is the root of the sum of squares, norm_type 2.
            (weights, max_norm ⇒ (weights, max_norm, 1.0
        you add the lengths of the gradients up: the length of all together is the root of the sum of their squares.
            nn.utils.clip_grad_norm_(weights, max_norm) ⇒ length = sum(weight.grad.norm() for weight in weights)
            | for weight in weights:
            |     weight.grad *= min(1, max_norm / length)
        you compare the sum of squares with max_norm: the length is its root.
            nn.utils.clip_grad_norm_(weights, max_norm) ⇒ length = sum(weight.grad.square().sum() for weight in weights)
            | for weight in weights:
            |     weight.grad *= min(1, max_norm / length)
        you take the length of the longest gradient: all together are one vector, and its length is the root of the sum of squares.
            nn.utils.clip_grad_norm_(weights, max_norm) ⇒ length = max(weight.grad.norm() for weight in weights)
            | for weight in weights:
            |     weight.grad *= min(1, max_norm / length)
        every gradient gets the length max_norm: one that is shorter stays as it is.
            nn.utils.clip_grad_norm_(weights, max_norm) ⇒ length = nn.utils.clip_grad_norm_(weights, math.inf)
            | for weight in weights:
            |     weight.grad *= max_norm / length
        you clip to a fixed length of 1: take max_norm.
            (weights, max_norm ⇒ (weights, 1.0
        the model is still in evaluation mode, so dropout does nothing: call model.train() first.
            model.train() ⇒
          or
            model.train() ⇒ model.eval()
        you return the loss as a tensor, which drags its graph along: return loss.item(), a plain number.
            loss.item() ⇒ loss
        .item() makes a plain number of the loss, and a number has no backward(): only return it that way.
            , labels) ⇒ , labels).item()
        loss.item is the function itself: with brackets, loss.item(), it gives the number.
            loss.item() ⇒ loss.item
        you return the loss after the step: return that of the forward pass from which the gradients came.
            loss.item() ⇒ F.cross_entropy(model(images), labels).item()
        you return the sum over the images: the mean is asked for.
            loss.item() ⇒ loss.item() * len(images)
        you return the length of the gradient, which is what clip_grad_norm_ returns: return the loss.
            nn.utils.clip_grad_norm_( ⇒ loss = nn.utils.clip_grad_norm_(
        the loss is a sum over the images, so its gradient grows with the batch: take the mean, which is F.cross_entropy's default.
            , labels) ⇒ , labels, reduction="sum")
          or
            , labels) ⇒ , labels, reduction="sum")
            loss.item() ⇒ loss.item() / len(images)
        you divide by the number of images, and F.cross_entropy has done it already: its default is the mean.
            , labels) ⇒ , labels) / len(images)
        backward() wants one number, and reduction="none" gives one for each image: take the mean, which is F.cross_entropy's default.
            , labels) ⇒ , labels, reduction="none")
        F.cross_entropy takes logits, and applies the softmax itself: you apply it before, too.
            model(images) ⇒ model(images).softmax(dim=-1)
        F.nll_loss wants the logarithms of probabilities, and does not make them: F.cross_entropy takes logits.
            cross_entropy ⇒ nll_loss
        a probability that underflows to 0 has the logarithm -inf: give the logits to F.cross_entropy, or use log_softmax.
            F.cross_entropy(model(images) ⇒ F.nll_loss(model(images).softmax(dim=-1).log()
        the loss is not cross-entropy: F.cross_entropy(logits, labels) takes the class numbers as they are.
            loss = F.cross_entropy(model(images), labels) ⇒ logits = model(images)
            | loss = F.mse_loss(logits, F.one_hot(labels, logits.shape[1]).to(logits))
          or
            loss = F.cross_entropy(model(images), labels) ⇒ logits = model(images)
            | loss = F.mse_loss(logits.softmax(dim=-1), F.one_hot(labels, logits.shape[1]).to(logits))
          or
            loss = F.cross_entropy(model(images), labels) ⇒ logits = model(images)
            | loss = F.binary_cross_entropy_with_logits(logits, F.one_hot(labels, logits.shape[1]).to(logits))
        F.one_hot(labels) has columns up to the largest label of this batch only: F.cross_entropy takes the class numbers as they are.
            , labels) ⇒ , F.one_hot(labels).to(images))
        squeeze() takes away the batch when it holds one image: leave the shape of the logits as it is.
            model(images) ⇒ model(images).squeeze()
        F.cross_entropy takes the logits first, and the labels after them.
            model(images), labels ⇒ labels, model(images)
        backward() is called twice, and the second time adds the gradients once more: once is enough.
            loss.backward() ⇒ loss.backward(retain_graph=True)
            | loss.backward()
          or
            loss.backward() ⇒ loss.backward()
            | loss.backward()
        clip_grad_norm_ wants the parameters, and not the model: model.parameters().
            clip_grad_norm_(weights ⇒ clip_grad_norm_(model
        optimizer.step() is called twice: once is enough.
            optimizer.step() ⇒ optimizer.step()
            | optimizer.step()
        you make a new optimiser, which remembers none of the steps before: take the one that you are given.
            optimizer.step() ⇒ type(optimizer)(optimizer.param_groups).step()
          or
            optimizer.step() ⇒ torch.optim.AdamW(weights).step()
          or
            optimizer.step() ⇒ torch.optim.AdamW(weights, lr=optimizer.param_groups[0]["lr"]).step()
          or
            optimizer.step() ⇒ torch.optim.Adam(weights, lr=optimizer.param_groups[0]["lr"]).step()
        you subtract the gradient yourself: optimizer.step() does more than that, as AdamW shows.
            optimizer.step() ⇒ with torch.no_grad():
            |     for weight in weights:
            |         weight -= optimizer.param_groups[0]["lr"] * weight.grad
          or
            optimizer.step() ⇒ with torch.no_grad():
            |     for group in optimizer.param_groups:
            |         for weight in group["params"]:
            |             weight -= group["lr"] * weight.grad
        """,
    ),
)

EXERCISES = (TRAIN_STEP, WARMUP_COSINE_LR, PARAM_GROUPS, EVALUATE)
