"""Answers to the exercises of chapter 07, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# --- warmup_cosine_lr --------------------------------------------------------------------------------


def rate_with_numpy(step, total_steps, warmup_steps, peak):
    if step >= warmup_steps:
        angle = np.pi * (step - warmup_steps) / (total_steps - warmup_steps)
        return peak * np.cos(angle / 2) ** 2  # half of 1 + cos
    return np.interp(step + 1, [0, warmup_steps], [0, peak])


def rate_from_a_list(step, total_steps, warmup_steps, peak):
    rising = [peak * (i + 1) / warmup_steps for i in range(warmup_steps)]
    left = total_steps - warmup_steps
    falling = [peak / 2 + peak / 2 * math.cos(i / left * math.pi) for i in range(left)]
    return (rising + falling)[step]


def rate_in_single_precision(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return torch.linspace(peak / warmup_steps, peak, warmup_steps)[step].item()
    angle = torch.tensor(math.pi * (step - warmup_steps) / (total_steps - warmup_steps))
    return (peak * 0.5 * (1 + torch.cos(angle))).item()


def rate_that_divides_by_0(step, total_steps, warmup_steps, peak):
    rise = (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (rise if step < warmup_steps else (1 + math.cos(math.pi * progress)) / 2)


def rate_from_0_to_the_peak(step, total_steps, warmup_steps, peak):
    rates = np.linspace(0, peak, warmup_steps)
    return float(rates[step]) if step < warmup_steps else rate_from_a_list(step, total_steps, warmup_steps, peak)


def rate_above_the_peak(step, total_steps, warmup_steps, peak):
    if step > warmup_steps:
        return rate_from_a_list(step, total_steps, warmup_steps, peak)
    return peak * (step + 1) / warmup_steps


def rate_0_at_the_last_step(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (1 + math.cos((step - warmup_steps) / (total_steps - 1 - warmup_steps) * math.pi)) / 2


def rate_with_a_least(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    least = 0.01 * peak
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return least + (peak - least) * (1 + math.cos(math.pi * progress)) / 2


# --- param_groups ------------------------------------------------------------------------------------


def groups_by_the_layers(model, weight_decay):
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    ids = {id(layer.weight) for layer in layers}
    decay = [p for p in model.parameters() if id(p) in ids]
    rest = [p for p in model.parameters() if id(p) not in ids]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def groups_of_each_layer(model, weight_decay):
    decay = [m.weight for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    ids = {id(p) for p in decay}
    rest = [p for p in model.parameters() if id(p) not in ids]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def groups_as_timm(model, weight_decay):
    decay, no_decay = [], []
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        if p.ndim <= 1 or name.split(".")[-1] in {"cls_token", "pos_embed"} or "relative_position_bias_table" in name:
            no_decay.append(p)
        else:
            decay.append(p)
    return ({"params": no_decay, "weight_decay": 0.0}, {"params": decay, "weight_decay": weight_decay})


def two_groups(model, weight_decay, decays):
    decay, rest = [], []
    for name, p in model.named_parameters():
        (decay if decays(name, p) else rest).append(p)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def groups_with_decaying_biases(model, weight_decay):
    norms = (nn.LayerNorm, nn.BatchNorm2d, nn.GroupNorm)
    kept = {id(m.weight) for m in model.modules() if isinstance(m, norms)}
    special = ("cls_token", "pos_embed", "bias_table")
    return two_groups(model, weight_decay, lambda name, p: id(p) not in kept and not name.endswith(special))


def groups_with_decaying_batch_norms(model, weight_decay):
    kept = {id(p) for m in model.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
    special = ("bias", "cls_token", "pos_embed", "bias_table")
    return two_groups(model, weight_decay, lambda name, p: id(p) not in kept and not name.endswith(special))


def groups_of_linear_layers(model, weight_decay):
    weights = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    return two_groups(model, weight_decay, lambda name, p: id(p) in weights)


def groups_by_looking_into_a_list(model, weight_decay):
    decay = [p for n, p in model.named_parameters() if p.ndim > 1 and not n.endswith(("cls_token", "pos_embed"))]
    rest = []
    for p in model.parameters():
        if p not in decay:
            rest.append(p)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def groups_of_children(model, weight_decay):
    named = [pair for child in model.children() for pair in child.named_parameters()]
    special = ("cls_token", "pos_embed", "bias_table")
    decay = [p for name, p in named if p.ndim > 1 and not name.endswith(special)]
    rest = [p for name, p in named if p.ndim < 2 or name.endswith(special)]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def groups_by_exact_names(model, weight_decay):
    special = ("cls_token", "pos_embed")
    return two_groups(
        model, weight_decay, lambda n, p: p.ndim > 1 and n not in special and not n.endswith("bias_table")
    )


def groups_by_words(model, weight_decay):
    return two_groups(
        model, weight_decay, lambda n, p: p.ndim > 1 and not any(word in n for word in ("cls", "pos", "bias"))
    )


def groups_of_three_kinds(model, weight_decay):
    kinds = {"weights": [], "small": [], "special": []}
    for n, p in model.named_parameters():
        special = n.endswith(("cls_token", "pos_embed", "bias_table"))
        kinds["small" if p.ndim < 2 else "special" if special else "weights"].append(p)
    return [{"params": ps, "weight_decay": weight_decay * (kind == "weights")} for kind, ps in kinds.items()]


def groups_of_clones(model, weight_decay):
    groups = groups_by_the_layers(model, weight_decay)
    return [group | {"params": [p.clone() for p in group["params"]]} for group in groups]


def groups_in_an_optimiser(model, weight_decay):
    return torch.optim.SGD(groups_by_the_layers(model, weight_decay), lr=0.1)


def groups_by_kind(model, weight_decay):
    decay, rest = groups_by_the_layers(model, weight_decay)
    return {"decay": decay["params"], "no_decay": rest["params"]}


def groups_of_all_modules(model, weight_decay):
    decay, rest = [], []

    def collect(module):
        for name, p in module.named_parameters(recurse=False):
            (rest if p.ndim < 2 or name.endswith(("cls_token", "pos_embed", "bias_table")) else decay).append(p)
        for child in module._modules.values():
            collect(child)

    collect(model)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


# --- evaluate ----------------------------------------------------------------------------------------


def evaluate_keeping_a_running_mean(model, batches):
    model.eval()
    loss = accuracy = count = 0
    with torch.no_grad():
        for images, labels in batches:
            logits, n = model(images), len(labels)
            count += n
            loss += (F.cross_entropy(logits, labels).item() - loss) * n / count
            accuracy += ((logits.argmax(1) == labels).double().mean().item() - accuracy) * n / count
    return loss, accuracy


def evaluate_with_all_logits(model, batches):
    was_training = model.training
    model.eval()
    logits, labels = [], []
    for x, y in batches:
        with torch.no_grad():
            logits.append(model(x))
        labels.append(y)
    model.train(was_training)
    logits, labels = torch.cat(logits), torch.cat(labels)
    return F.cross_entropy(logits, labels).item(), (logits.argmax(dim=1) == labels).float().mean().item()


@torch.inference_mode()
def evaluate_in_tensors(model, batches):
    model.eval()
    loss = hits = count = torch.zeros(1)
    for images, labels in batches:
        logs = model(images).log_softmax(-1)
        loss = loss - logs[torch.arange(len(labels)), labels].sum()
        hits = hits + (logs.topk(1).indices[:, 0] == labels).sum()
        count = count + labels.numel()
    return [float(loss / count), float(hits / count)]


def tallied(model, batches):
    """For each batch: mean loss, right answers, images."""
    model.eval()
    with torch.no_grad():
        for images, labels in batches:
            logits = model(images)
            yield F.cross_entropy(logits, labels).item(), (logits.argmax(-1) == labels).sum().item(), len(labels)


def evaluate_without_the_rest(model, batches):
    seen = list(tallied(model, batches))
    seen = [s for s in seen if s[2] == seen[0][2]]
    count = sum(n for _, _, n in seen)
    return sum(loss * n for loss, _, n in seen) / count, sum(hits for _, hits, _ in seen) / count


def evaluate_replacing(model, batches):
    for loss, hits, count in tallied(model, batches):  # noqa: B007
        pass
    return loss, hits / count


def evaluate_in_two_loops(model, batches):
    loss = count = hits = 0
    for mean, _, n in tallied(model, batches):
        loss, count = loss + mean * n, count + n
    for _, right, _ in tallied(model, batches):
        hits += right
    return loss / count, hits / count


def evaluate_without_dropout(model, batches):
    for part in model.modules():
        part.train(not isinstance(part, nn.Dropout))
    with torch.no_grad():
        logits, labels = map(torch.cat, zip(*((model(images), labels) for images, labels in batches), strict=True))
    return F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()


def evaluate_freezing_for_a_while(model, batches):
    for p in model.parameters():
        p.requires_grad = False
    loss, accuracy = evaluate_with_all_logits(model, batches)
    for p in model.parameters():
        p.requires_grad = True
    return loss, accuracy


def evaluate_in_double_precision(model, batches):
    model.to(torch.float64)
    return evaluate_with_all_logits(model, ((images.double(), labels) for images, labels in batches))


def evaluate_summing_twice(model, batches):
    loss = hits = n = 0
    for mean, right, count in tallied(model, batches):
        loss, hits, n = loss + mean * count * count, hits + right, n + count
    return loss / n, hits / n


def evaluate_detaching(model, batches):
    model.eval()
    loss, hits, count = 0.0, 0, 0
    for images, labels in batches:
        logits = model(images).detach()
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        hits += (logits.argmax(-1) == labels).sum().item()
        count += len(labels)
    return loss / count, hits / count


# --- train_step --------------------------------------------------------------------------------------


def step_with_log_softmax(model, optimizer, images, labels, max_norm):
    model.train()
    model.zero_grad()
    loss = F.nll_loss(model(images).log_softmax(dim=-1), labels)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=max_norm)
    optimizer.step()
    return loss.tolist()


def step_with_autograd(model, optimizer, images, labels, max_norm):
    model.train(True)
    parameters = list(model.parameters())
    loss = nn.CrossEntropyLoss()(model(images), labels)
    gradients = torch.autograd.grad(loss, parameters)
    length = math.sqrt(sum((g**2).sum() for g in gradients))
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g * min(1.0, max_norm / length)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def step_with_clipping_by_hand(model, optimizer, images, labels, max_norm):
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    length = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    if length > max_norm:
        for p in model.parameters():
            p.grad.mul_(max_norm / length)
    optimizer.step()
    return loss.item()


def step_with_a_closure(model, optimizer, images, labels, max_norm):
    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], max_norm)
        return loss

    model.train()
    return optimizer.step(closure).item()


def step_that_forgets_at_the_wrong_moment(model, optimizer, images, labels, max_norm):
    model.train()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def step_before_backward(model, optimizer, images, labels, max_norm):
    model.train()
    loss = F.cross_entropy(model(images), labels)
    optimizer.step()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    return loss.item()


def step_of_one_length(model, optimizer, images, labels, max_norm):
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    length = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    for p in model.parameters():
        p.grad = p.grad / length * max_norm
    optimizer.step()
    return loss.item()


def step_that_switches_only_the_outermost(model, optimizer, images, labels, max_norm):
    model.training = True
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return loss.item()


RIGHT = {
    "warmup_cosine_lr": (rate_with_numpy, rate_from_a_list, rate_in_single_precision),
    "param_groups": (groups_by_the_layers, groups_as_timm),
    "evaluate": (evaluate_keeping_a_running_mean, evaluate_with_all_logits, evaluate_in_tensors),
    "train_step": (step_with_log_softmax, step_with_autograd, step_with_clipping_by_hand, step_with_a_closure),
}

SLIPS = {
    "warmup_cosine_lr": """
        during nearly all of the warm-up
            (step + 1) / warmup_steps ⇒ (step + 1) // warmup_steps
        in nearly all of the warm-up and in all of the fall
            return peak * (step + 1) / warmup_steps ⇒ return (step + 1) // warmup_steps * peak
            (step - warmup_steps) / (total ⇒ (step - warmup_steps) // (total
        with / and not //
            (step - warmup_steps) / (total ⇒ (step - warmup_steps) // (total
        a sine is 0 at both ends
            math.cos(math.pi * progress) ⇒ math.sin(progress * math.pi)
        use math.cos and math.pi
            math.cos(math.pi * progress) ⇒ torch.tensor(math.pi * progress).cos()
        without parentheses the division
            (step - warmup_steps) / (total_steps - warmup_steps) ⇒ step - warmup_steps / total_steps - warmup_steps
        only the 1 is divided
            (step + 1) / warmup_steps ⇒ step + 1 / warmup_steps
        nothing is returned where step == warmup_steps
            progress = ⇒ if not step > warmup_steps:
            |     return
            | progress =
        the fall is one step ahead
            if step < warmup_steps ⇒ if step < warmup_steps - 1
            (step - warmup_steps) / (total_steps - warmup_steps) ⇒ (step - warmup_steps + 1) / (total_steps - warmup_steps + 1)
        the cosine runs during the warm-up
            return peak * (step + 1) / warmup_steps ⇒ rate = peak * (step + 1) / warmup_steps
        """,
    "param_groups": """
        and no biases
            special or parameter.ndim < 2 ⇒ special or "norm" in name
        "embed" is a part of
            special or parameter.ndim < 2 ⇒ any(part in name for part in ("norm", "bias", "cls", "embed"))
        is all that you find by name
            special = name.endswith(("cls_token", "pos_embed", "bias_table")) ⇒ special = ("cls_token" or "pos_embed" or "bias_table") in name
        not into [...]
            special = name.endswith(("cls_token", "pos_embed", "bias_table")) ⇒ endings = ["cls_token", "pos_embed", "bias_table"]
            | special = name.endswith(endings)
        what has one does not
            < 2 ⇒ <= 2
        cls_token, pos_embed and the tables of position biases are in no group
            (rest if special or parameter.ndim < 2 else decay).append(parameter) ⇒ if parameter.ndim < 2:
            |     rest.append(parameter)
            | elif not special:
            |     decay.append(parameter)
        """,
    "evaluate": """
        no length
            loss / count ⇒ loss / len(batches)
        by the size of one batch
            count += len(labels) ⇒ count += 1
            loss / count, right / count ⇒ loss / (count * len(labels)), right / (count * len(labels))
        you count channels
            len(labels) ⇒ len(images[0])
        you clear gradients
            model.eval() ⇒ model.eval()
            | for parameter in model.parameters():
            |     parameter.grad = None
        argmax runs over the images
            dim=-1 ⇒ dim=0
        the labels after them
            F.cross_entropy(logits, labels ⇒ F.cross_entropy(labels, logits
        the largest logit itself
            argmax(dim=-1) ⇒ max(dim=1)
        squeeze() takes away the batch
            model(images) ⇒ model(images).squeeze()
        columns up to the largest label
            labels, reduction ⇒ F.one_hot(labels).double(), reduction
        in training mode
            model.eval() ⇒ model.training = False
        a pair of brackets is missing
            torch.no_grad() ⇒ torch.no_grad
        the size of the last batch
            count += len(labels) ⇒ count = len(labels)
        // leaves whole numbers
            right / count ⇒ int(right / count)
        you return a dictionary
            return loss / count, right / count ⇒ return dict(loss=loss / count, accuracy=right / count)
        """,
    "train_step": """
        the loss is a sum over the images
            loss = F.cross_entropy(model(images), labels) ⇒ loss = F.cross_entropy(model(images), labels, reduction="none").sum()
            loss.item() ⇒ loss.item() / len(labels)
        has done it already
            loss.backward() ⇒ loss = loss / len(labels)
            | loss.backward()
        one for each image
            loss = F.cross_entropy(model(images), labels) ⇒ loss = -model(images).log_softmax(-1)[torch.arange(len(labels)), labels]
        squeeze() takes away the batch
            loss = F.cross_entropy(model(images), labels) ⇒ logits = torch.squeeze(model(images))
            | loss = F.cross_entropy(logits, labels)
        columns up to the largest label
            labels) ⇒ F.one_hot(labels).double())
        the labels after them
            F.cross_entropy(model(images), labels) ⇒ nn.CrossEntropyLoss()(labels, model(images))
        backward() is called twice
            loss.backward() ⇒ for _ in range(2):
            |     loss.backward()
        and not the model
            clip_grad_norm_(model.parameters(), max_norm) ⇒ clip_grad_norm_(model, max_norm=max_norm)
        loss.item is the function itself
            return loss.item() ⇒ number = loss.item
            | return number
        a number has no backward()
            loss.backward() ⇒ loss.item().backward()
        you add the lengths
            nn.utils.clip_grad_norm_(model.parameters(), max_norm) ⇒ total = sum(p.grad.norm() for p in model.parameters())
            | if total > max_norm:
            |     for p in model.parameters():
            |         p.grad.mul_(max_norm / total)
        the length is its root
            nn.utils.clip_grad_norm_(model.parameters(), max_norm) ⇒ total = sum((p.grad**2).sum() for p in model.parameters())
            | if total > max_norm:
            |     for p in model.parameters():
            |         p.grad.mul_(max_norm / total)
        the longest gradient
            nn.utils.clip_grad_norm_(model.parameters(), max_norm) ⇒ total = max(p.grad.norm() for p in model.parameters())
            | if total > max_norm:
            |     for p in model.parameters():
            |         p.grad.mul_(max_norm / total)
        """,
}

WRONG = {
    "warmup_cosine_lr": {
        rate_that_divides_by_0: "you divide by 0",
        rate_from_0_to_the_peak: "step 0 gets a rate of 0",
        rate_above_the_peak: "goes above the peak",
        rate_0_at_the_last_step: "0 at the last step",
        rate_with_a_least: "above a floor",
    },
    "param_groups": {
        groups_with_decaying_biases: "the biases decay",
        groups_with_decaying_batch_norms: "other norms than nn.LayerNorm",
        groups_of_linear_layers: "convolutions do not decay",
        groups_of_each_layer: "that two layers share",
        groups_by_looking_into_a_list: "`parameter in list`",
        groups_of_children: "cls_token and pos_embed are in no group",
        groups_of_all_modules: "uses in two places",
        groups_by_exact_names: "part of a larger model",
        groups_by_words: "pos_proj.weight",
        groups_of_three_kinds: "more than two groups",
        groups_of_clones: "these are copies",
        groups_in_an_optimiser: "you return an optimiser",
        groups_by_kind: "one dictionary of two lists",
    },
    "evaluate": {
        evaluate_without_the_rest: "the last batch is left out",
        evaluate_replacing: "only the last batch",
        evaluate_in_two_loops: "batches twice",
        evaluate_detaching: "gradients are recorded",
        evaluate_without_dropout: "dropout is off, and the other parts",
        evaluate_freezing_for_a_while: "you freeze all weights, and in the end",
        evaluate_in_double_precision: "the dtype of the model",
        evaluate_summing_twice: "has added up over the images already",
    },
    "train_step": {
        step_that_forgets_at_the_wrong_moment: "have not moved",
        step_before_backward: "comes before backward()",
        step_of_one_length: "every gradient gets the length",
        step_that_switches_only_the_outermost: "still in evaluation mode",
    },
}

EQUIVALENT = {
    "warmup_cosine_lr": """
        A cosine is the same on both sides of 0.
            warmup_cosine_lr: progress = (step - warmup_steps) / (total_steps - warmup_steps) ⇒ progress = (warmup_steps - step) / (total_steps - warmup_steps)
            warmup_cosine_lr: progress = (step - warmup_steps) / (total_steps - warmup_steps) ⇒ progress = (step - warmup_steps) / (warmup_steps - total_steps)
            rate_with_numpy: angle = np.pi * (step - warmup_steps) / (total_steps - warmup_steps) ⇒ angle = np.pi * (step - warmup_steps) / (warmup_steps - total_steps)
            rate_with_numpy: angle = np.pi * (step - warmup_steps) / (total_steps - warmup_steps) ⇒ angle = np.pi * (warmup_steps - step) / (total_steps - warmup_steps)
            rate_in_single_precision: angle = torch.tensor(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)) ⇒ angle = torch.tensor(math.pi * (step - warmup_steps) / (warmup_steps - total_steps))
            rate_in_single_precision: angle = torch.tensor(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)) ⇒ angle = torch.tensor(math.pi * (warmup_steps - step) / (total_steps - warmup_steps))
        The line, held at its end, has the peak as the cosine has it at its beginning.
            rate_with_numpy: if step >= warmup_steps: ⇒ if step > warmup_steps:
        One number has no dimension that squeeze or mT could change.
            rate_in_single_precision: angle = torch.tensor(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)) ⇒ angle = torch.tensor(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)).mT
            rate_in_single_precision: angle = torch.tensor(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)) ⇒ angle = torch.tensor(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)).squeeze()
            rate_with_numpy: return np.interp(step + 1, [0, warmup_steps], [0, peak]) ⇒ return np.interp(step + 1, [0, warmup_steps], [0, peak]).squeeze()
            rate_with_numpy: return peak * np.cos(angle / 2) ** 2 ⇒ return (peak * np.cos(angle / 2) ** 2).squeeze()
        """,
    "param_groups": """
        Two empty lists, two kinds of layers, two groups: their order says nothing.
            param_groups: decay, rest = ([], []) ⇒ rest, decay = ([], [])
            groups_by_the_layers: layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))] ⇒ layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
            groups_as_timm: decay, no_decay = ([], []) ⇒ no_decay, decay = ([], [])
            groups_as_timm: return ({'params': no_decay, 'weight_decay': 0.0}, {'params': decay, 'weight_decay': weight_decay}) ⇒ return ({'params': decay, 'weight_decay': weight_decay}, {'params': no_decay, 'weight_decay': 0.0})
        What is frozen may be in a group or in none.
            groups_as_timm: if not p.requires_grad: ⇒ pass
        """,
    "evaluate": """
        A 0 is a 0, and an empty list an empty list.
            evaluate: loss, right, count = (0.0, 0, 0) ⇒ right, loss, count = (0.0, 0, 0)
            evaluate: loss, right, count = (0.0, 0, 0) ⇒ loss, count, right = (0.0, 0, 0)
            evaluate_with_all_logits: logits, labels = ([], []) ⇒ labels, logits = ([], [])
        There are always two axes.
            evaluate: right += (logits.argmax(dim=-1) == labels).sum().item() ⇒ right += (logits.argmax(dim=1) == labels).sum().item()
            evaluate_in_tensors: logs = model(images).log_softmax(-1) ⇒ logs = model(images).log_softmax(1)
        In which mode the model is left is up to the reader.
            evaluate_with_all_logits: model.train(was_training) ⇒ pass
            evaluate_with_all_logits: model.train(was_training) ⇒ model
            evaluate_with_all_logits: model.train(was_training) ⇒ was_training
        One number is added up as well with a dimension as without.
            evaluate_in_tensors: count = count + labels.numel() ⇒ count = (count + labels.numel()).squeeze()
            evaluate_in_tensors: hits = hits + (logs.topk(1).indices[:, 0] == labels).sum() ⇒ hits = (hits + (logs.topk(1).indices[:, 0] == labels).sum()).squeeze()
            evaluate_in_tensors: loss = hits = count = torch.zeros(1) ⇒ loss = hits = count = torch.zeros(1).squeeze()
            evaluate_in_tensors: loss = loss - logs[torch.arange(len(labels)), labels].sum() ⇒ loss = (loss - logs[torch.arange(len(labels)), labels].sum()).squeeze()
        """,
    "train_step": """
        There are always two axes.
            step_with_log_softmax: loss = F.nll_loss(model(images).log_softmax(dim=-1), labels) ⇒ loss = F.nll_loss(model(images).log_softmax(dim=1), labels)
        After the step the gradients have done their work.
            step_with_autograd: optimizer.zero_grad() ⇒ pass
            step_with_autograd: optimizer.zero_grad() ⇒ optimizer
        At max_norm itself the factor is 1.
            step_with_clipping_by_hand: if length > max_norm: ⇒ if length >= max_norm:
        A loss is one number: it has no dimension that squeeze or mT could change.
            step_with_a_closure: loss = F.cross_entropy(model(images), labels) ⇒ loss = F.cross_entropy(model(images), labels).mT
            step_with_a_closure: loss = F.cross_entropy(model(images), labels) ⇒ loss = F.cross_entropy(model(images), labels).squeeze()
            step_with_a_closure: return loss ⇒ return loss.mT
            step_with_a_closure: return loss ⇒ return loss.squeeze()
            step_with_autograd: loss = nn.CrossEntropyLoss()(model(images), labels) ⇒ loss = nn.CrossEntropyLoss()(model(images), labels).mT
            step_with_autograd: loss = nn.CrossEntropyLoss()(model(images), labels) ⇒ loss = nn.CrossEntropyLoss()(model(images), labels).squeeze()
            step_with_clipping_by_hand: length = torch.cat([p.grad.flatten() for p in model.parameters()]).norm() ⇒ length = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().mT
            step_with_clipping_by_hand: length = torch.cat([p.grad.flatten() for p in model.parameters()]).norm() ⇒ length = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().squeeze()
            step_with_clipping_by_hand: loss = F.cross_entropy(model(images), labels) ⇒ loss = F.cross_entropy(model(images), labels).mT
            step_with_clipping_by_hand: loss = F.cross_entropy(model(images), labels) ⇒ loss = F.cross_entropy(model(images), labels).squeeze()
            step_with_log_softmax: loss = F.nll_loss(model(images).log_softmax(dim=-1), labels) ⇒ loss = F.nll_loss(model(images).log_softmax(dim=-1), labels).mT
            step_with_log_softmax: loss = F.nll_loss(model(images).log_softmax(dim=-1), labels) ⇒ loss = F.nll_loss(model(images).log_softmax(dim=-1), labels).squeeze()
            train_step: loss = F.cross_entropy(model(images), labels) ⇒ loss = F.cross_entropy(model(images), labels).mT
            train_step: loss = F.cross_entropy(model(images), labels) ⇒ loss = F.cross_entropy(model(images), labels).squeeze()
        """,
}
