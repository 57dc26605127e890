"""Answers to the exercises of chapter 07, as readers write them.

RIGHT: implementations other than the chapter's own. WRONG: plausible mistakes, each with words of the
hint that it must get. They are written as a reader would, not as the records imitate them.
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


def rate_of_pytorchs_schedulers(step, total_steps, warmup_steps, peak):
    import warnings

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=peak)
    schedulers = torch.optim.lr_scheduler
    falling = schedulers.CosineAnnealingLR(optimizer, total_steps - warmup_steps)
    if warmup_steps:
        rising = schedulers.LinearLR(optimizer, 1 / warmup_steps, total_iters=warmup_steps - 1)
        falling = schedulers.SequentialLR(optimizer, [rising, falling], [warmup_steps])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is no optimizer.step() in between
        for _ in range(step):
            falling.step()
    return optimizer.param_groups[0]["lr"]


def rate_from_0(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * step / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * progress)) / 2


def rate_below_the_peak(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * progress)) / 2


def rate_above_the_peak(step, total_steps, warmup_steps, peak):
    if step <= warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * progress)) / 2


def rate_at_the_peak_at_first(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * progress)) / 2


def rate_without_warmup(step, total_steps, warmup_steps, peak):
    return peak * (1 + math.cos(math.pi * step / total_steps)) / 2


def rate_rising_as_a_cosine(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (1 - math.cos(math.pi * (step + 1) / warmup_steps)) / 2
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * progress)) / 2


def rate_with_whole_numbers(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return (step + 1) // warmup_steps * peak
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * progress)) / 2


def rate_with_the_cosine_over_all_steps(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (1 + math.cos(math.pi * step / total_steps)) / 2


def rate_as_a_product(step, total_steps, warmup_steps, peak):
    rise = 1 if step >= warmup_steps else (step + 1) / warmup_steps
    return peak * rise * (1 + math.cos(math.pi * step / total_steps)) / 2


def rate_that_does_not_come_down(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (1 + math.cos(math.pi * (step - warmup_steps) / total_steps)) / 2


def rate_with_the_wrong_start(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (1 + math.cos(math.pi * step / (total_steps - warmup_steps))) / 2


def rate_0_at_the_last_step(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - 1 - warmup_steps)
    return peak * (1 + math.cos(math.pi * progress)) / 2


def rate_one_step_ahead(step, total_steps, warmup_steps, peak):
    step = step + 1
    if step <= warmup_steps:
        return peak * step / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * progress)) / 2


def rate_in_degrees(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(180 * progress)) / 2


def rate_without_pi(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(progress)) / 2


def rate_through_a_whole_turn(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(math.tau * progress)) / 2


def rate_below_0(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps))


def rate_twice_as_high(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)))


def rate_as_a_quarter(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * math.cos(0.5 * math.pi * (step - warmup_steps) / (total_steps - warmup_steps))


def rate_that_rises_twice(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (1 - math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps))) / 2


def rate_in_straight_lines(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (total_steps - step) / (total_steps - warmup_steps)


def rate_that_stays(step, total_steps, warmup_steps, peak):
    return peak * (step + 1) / warmup_steps if step < warmup_steps else peak


def rate_that_divides_by_0(step, total_steps, warmup_steps, peak):
    rise = (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (rise if step < warmup_steps else (1 + math.cos(math.pi * progress)) / 2)


def rate_with_a_slope_that_divides_by_0(step, total_steps, warmup_steps, peak):
    slope = peak / warmup_steps
    if step < warmup_steps:
        return slope * (step + 1)
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * progress)) / 2


def rate_without_the_peak(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return (1 + math.cos(math.pi * progress)) / 2


def rate_rising_to_1(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * progress)) / 2


def rate_falling_from_1(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return (1 + math.cos(math.pi * progress)) / 2


def rate_as_a_tensor(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return torch.tensor(peak * (step + 1) / warmup_steps)
    progress = torch.tensor((step - warmup_steps) / (total_steps - warmup_steps))
    return peak * (1 + torch.cos(torch.pi * progress)) / 2


# --- param_groups ------------------------------------------------------------------------------------


def groups_by_the_layers(model, weight_decay):
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    decay = [layer.weight for layer in layers]
    ids = {id(p) for p in decay}
    rest = [p for p in model.parameters() if id(p) not in ids]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def groups_as_timm(model, weight_decay):
    decay, no_decay = [], []
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        if p.ndim <= 1 or name in {"cls_token", "pos_embed"} or "relative_position_bias_table" in name:
            no_decay.append(p)
        else:
            decay.append(p)
    return ({"params": no_decay, "weight_decay": 0.0}, {"params": decay, "weight_decay": weight_decay})


def groups_one_for_each(model, weight_decay):
    layers = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))}
    return [{"params": [p], "weight_decay": weight_decay * (n in layers)} for n, p in model.named_parameters()]


def two_groups(model, weight_decay, decays):
    decay, rest = [], []
    for name, p in model.named_parameters():
        (decay if decays(name, p) else rest).append(p)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def special(name):
    return name.endswith(("cls_token", "pos_embed", "bias_table"))


def groups_by_dimensions(model, weight_decay):
    decay = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def groups_with_a_decaying_class_token(model, weight_decay):
    return two_groups(model, weight_decay, lambda n, p: p.ndim > 1 and "pos_embed" not in n and "table" not in n)


def groups_with_decaying_positions(model, weight_decay):
    return two_groups(model, weight_decay, lambda n, p: p.ndim > 1 and "cls_token" not in n and "table" not in n)


def groups_with_decaying_tables(model, weight_decay):
    return two_groups(model, weight_decay, lambda n, p: p.ndim > 1 and n not in ("cls_token", "pos_embed"))


def groups_with_decaying_biases(model, weight_decay):
    norms = (nn.LayerNorm, nn.BatchNorm2d)
    scales = {id(m.weight) for m in model.modules() if isinstance(m, norms)}
    return two_groups(model, weight_decay, lambda n, p: id(p) not in scales and not special(n))


def groups_with_decaying_norms(model, weight_decay):
    return two_groups(model, weight_decay, lambda n, p: not special(n) and not n.endswith("bias"))


def groups_that_know_norms_by_name(model, weight_decay):
    skip = ("bias", "norm", "cls_token", "pos_embed")
    return two_groups(model, weight_decay, lambda n, p: not any(word in n for word in skip))


def groups_without_norms_only(model, weight_decay):
    return two_groups(model, weight_decay, lambda n, p: "norm" not in n)


def groups_without_bias_and_norm(model, weight_decay):
    return two_groups(model, weight_decay, lambda n, p: not ("bias" in n or "norm" in n))


def groups_without_biases_only(model, weight_decay):
    return two_groups(model, weight_decay, lambda n, p: not n.endswith("bias"))


def groups_without_anything_called_embed(model, weight_decay):
    return two_groups(model, weight_decay, lambda n, p: p.ndim > 1 and not special(n) and "embed" not in n)


def groups_without_the_head(model, weight_decay):
    return two_groups(model, weight_decay, lambda n, p: p.ndim > 1 and not special(n) and "head" not in n)


def groups_of_linear_layers(model, weight_decay):
    weights = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    return two_groups(model, weight_decay, lambda n, p: id(p) in weights)


def groups_where_all_decays(model, weight_decay):
    return [{"params": list(model.parameters()), "weight_decay": weight_decay}]


def groups_the_wrong_way_round(model, weight_decay):
    return two_groups(model, weight_decay, lambda n, p: p.ndim < 2 or special(n))


def groups_without_the_rest(model, weight_decay):
    decay = [p for n, p in model.named_parameters() if p.ndim > 1 and not special(n)]
    return [{"params": decay, "weight_decay": weight_decay}]


def groups_that_forget_the_head(model, weight_decay):
    decay, rest = [], []
    for name, p in model.named_parameters():
        if name.startswith("head"):
            continue
        (decay if p.ndim > 1 and not special(name) else rest).append(p)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def groups_that_forget_the_tokens(model, weight_decay):
    decay = [p for n, p in model.named_parameters() if p.ndim > 1 and not special(n)]
    rest = [p for n, p in model.named_parameters() if p.ndim == 1 or "table" in n]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def groups_with_everything_first(model, weight_decay):
    rest = [p for n, p in model.named_parameters() if p.ndim == 1 or special(n)]
    return [
        {"params": list(model.parameters()), "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]


def groups_that_freeze(model, weight_decay):
    decay, rest = [], []
    for name, p in model.named_parameters():
        if p.ndim > 1 and not special(name):
            decay.append(p)
        else:
            p.requires_grad = False
            rest.append(p)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def groups_of_names(model, weight_decay):
    decay = [n for n, p in model.named_parameters() if p.ndim > 1 and not special(n)]
    rest = [n for n, p in model.named_parameters() if p.ndim == 1 or special(n)]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def groups_of_pairs(model, weight_decay):
    decay = [(n, p) for n, p in model.named_parameters() if p.ndim > 1 and not special(n)]
    rest = [(n, p) for n, p in model.named_parameters() if p.ndim == 1 or special(n)]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def groups_of_the_state_dict(model, weight_decay):
    decay, rest = [], []
    for name, p in model.state_dict().items():
        (decay if p.ndim > 1 and not special(name) else rest).append(p)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def groups_without_a_second_decay(model, weight_decay):
    decay, rest = two_groups(model, weight_decay, lambda n, p: p.ndim > 1 and not special(n))
    del rest["weight_decay"]
    return [decay, rest]


def groups_with_a_fixed_decay(model, weight_decay):
    return two_groups(model, 0.05, lambda n, p: p.ndim > 1 and not special(n))


def groups_without_any_decay(model, weight_decay):
    return two_groups(model, 0.0, lambda n, p: p.ndim > 1 and not special(n))


def groups_as_two_lists(model, weight_decay):
    decay, rest = two_groups(model, weight_decay, lambda n, p: p.ndim > 1 and not special(n))
    return decay["params"], rest["params"]


# --- evaluate ----------------------------------------------------------------------------------------


@torch.inference_mode()
def evaluate_with_sums(model, batches):
    model.eval()
    total, hits, count = 0.0, 0, 0
    for images, labels in batches:
        logits = model(images)
        total += F.cross_entropy(logits, labels, reduction="sum").item()
        hits += (logits.argmax(dim=-1) == labels).sum().item()
        count += labels.numel()
    return total / count, hits / count


def evaluate_with_all_logits(model, batches):
    was_training = model.training
    model.train(False)
    logits, labels = [], []
    for x, y in batches:
        with torch.no_grad():
            logits.append(model(x))
        labels.append(y)
    logits, labels = torch.cat(logits), torch.cat(labels)
    model.train(was_training)
    chosen = logits.log_softmax(1)[torch.arange(len(labels)), labels]
    return [-float(chosen.mean()), float((logits.max(1).indices == labels).double().mean())]


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


@torch.no_grad()
def evaluate_averaging_batches(model, batches):
    model.eval()
    losses, accuracies = [], []
    for images, labels in batches:
        logits = model(images)
        losses.append(F.cross_entropy(logits, labels).item())
        accuracies.append((logits.argmax(-1) == labels).double().mean().item())
    return sum(losses) / len(losses), sum(accuracies) / len(accuracies)


def tallied(model, batches):
    """For each batch: mean loss, right answers, images."""
    model.eval()
    with torch.no_grad():
        for images, labels in batches:
            logits = model(images)
            yield F.cross_entropy(logits, labels).item(), (logits.argmax(-1) == labels).sum().item(), len(labels)


def evaluate_averaging_losses(model, batches):
    losses, hits, counts = zip(*tallied(model, batches), strict=True)
    return float(np.mean(losses)), sum(hits) / sum(counts)


def evaluate_averaging_accuracies(model, batches):
    losses, hits, counts = map(np.array, zip(*tallied(model, batches), strict=True))
    return float((losses * counts).sum() / counts.sum()), float((hits / counts).mean())


def evaluate_adding_means(model, batches):
    losses, hits, counts = zip(*tallied(model, batches), strict=True)
    return sum(losses) / sum(counts), sum(hits) / sum(counts)


def evaluate_by_the_number_of_batches(model, batches):
    losses, hits, counts = map(np.array, zip(*tallied(model, batches), strict=True))
    return float((losses * counts).sum() / len(counts)), float(hits.sum() / len(counts))


def evaluate_as_if_all_batches_were_alike(model, batches):
    losses, hits, counts = zip(*tallied(model, batches), strict=True)
    return sum(losses) / len(counts), sum(hits) / (counts[0] * len(counts))


@torch.no_grad()
def evaluate_in_training_mode(model, batches):
    model.train()
    loss, hits, count = 0.0, 0, 0
    for images, labels in batches:
        logits = model(images)
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        hits += (logits.argmax(-1) == labels).sum().item()
        count += len(labels)
    return loss / count, hits / count


def evaluate_with_gradients(model, batches):
    model.eval()
    loss, hits, count = 0.0, 0, 0
    for images, labels in batches:
        logits = model(images)
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        hits += (logits.argmax(-1) == labels).sum().item()
        count += len(labels)
    return loss / count, hits / count


def evaluate_without_the_rest(model, batches):
    seen = list(tallied(model, batches))
    seen = [s for s in seen if s[2] == seen[0][2]]
    count = sum(n for _, _, n in seen)
    return sum(loss * n for loss, _, n in seen) / count, sum(hits for _, hits, _ in seen) / count


def evaluate_returning_at_once(model, batches):
    for loss, hits, count in tallied(model, batches):
        return loss, hits / count


def evaluate_replacing(model, batches):
    for loss, hits, count in tallied(model, batches):  # noqa: B007
        pass
    return loss, hits / count


def evaluate_with_len(model, batches):
    total = 0.0
    for loss, _, _ in tallied(model, batches):
        total += loss
    return total / len(batches), 0.0


@torch.no_grad()
def evaluate_over_the_wrong_axis(model, batches):
    model.eval()
    loss, hits, count = 0.0, 0, 0
    for images, labels in batches:
        logits = model(images)
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        hits += (logits.argmax(dim=0) == labels).sum().item()
        count += len(labels)
    return loss / count, hits / count


@torch.no_grad()
def evaluate_with_two_softmaxes(model, batches):
    model.eval()
    loss, hits, count = 0.0, 0, 0
    for images, labels in batches:
        probabilities = torch.softmax(model(images), dim=-1)
        loss += F.cross_entropy(probabilities, labels, reduction="sum").item()
        hits += (probabilities.argmax(-1) == labels).sum().item()
        count += len(labels)
    return loss / count, hits / count


def evaluate_in_per_cent(model, batches):
    loss, accuracy = evaluate_with_sums(model, batches)
    return loss, accuracy * 100


def evaluate_counting(model, batches):
    losses, hits, counts = zip(*tallied(model, batches), strict=True)
    return sum(a * n for a, n in zip(losses, counts, strict=True)) / sum(counts), sum(hits)


def evaluate_summing(model, batches):
    losses, hits, counts = zip(*tallied(model, batches), strict=True)
    return sum(a * n for a, n in zip(losses, counts, strict=True)), sum(hits) / sum(counts)


def evaluate_the_mistakes(model, batches):
    loss, accuracy = evaluate_with_sums(model, batches)
    return loss, 1 - accuracy


def evaluate_the_other_way_round(model, batches):
    loss, accuracy = evaluate_with_sums(model, batches)
    return accuracy, loss


@torch.no_grad()
def evaluate_to_tensors(model, batches):
    model.eval()
    loss, hits, count = 0.0, 0, 0
    for images, labels in batches:
        logits = model(images)
        loss += F.cross_entropy(logits, labels, reduction="sum")
        hits += (logits.argmax(-1) == labels).sum()
        count += len(labels)
    return loss / count, hits / count


def evaluate_the_loss(model, batches):
    return evaluate_with_sums(model, batches)[0]


# --- train_step --------------------------------------------------------------------------------------


def step_with_log_softmax(model, optimizer, images, labels, max_norm):
    model.train()
    model.zero_grad()
    loss = F.nll_loss(model(images).log_softmax(dim=-1), labels)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=max_norm)
    optimizer.step()
    return float(loss.detach())


def step_with_autograd(model, optimizer, images, labels, max_norm):
    model.train(True)
    parameters = list(model.parameters())
    loss = nn.CrossEntropyLoss()(model(images), labels)
    gradients = torch.autograd.grad(loss, parameters)
    length = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g * min(1.0, max_norm / (length + 1e-6))
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def step_with_clipping_by_hand(model, optimizer, images, labels, max_norm):
    model.train()
    optimizer.zero_grad(set_to_none=False)
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    length = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    if length > max_norm:
        for p in model.parameters():
            p.grad.mul_(max_norm / length)
    optimizer.step()
    return loss.item()


def step_onto_old_gradients(model, optimizer, images, labels, max_norm):
    model.train()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return loss.item()


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


def step_that_clips_what_is_old(model, optimizer, images, labels, max_norm):
    model.train()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def step_clipped_afterwards(model, optimizer, images, labels, max_norm):
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    return loss.item()


def step_with(model, optimizer, images, labels, clip):
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    clip(list(model.parameters()))
    optimizer.step()
    return loss.item()


def step_with_clipped_numbers(model, optimizer, images, labels, max_norm):
    def clip(parameters):
        for p in parameters:
            p.grad.clamp_(-max_norm, max_norm)

    return step_with(model, optimizer, images, labels, clip)


def step_clipped_layer_by_layer(model, optimizer, images, labels, max_norm):
    def clip(parameters):
        for p in parameters:
            nn.utils.clip_grad_norm_([p], max_norm)

    return step_with(model, optimizer, images, labels, clip)


def step_clipped_by_the_largest(model, optimizer, images, labels, max_norm):
    def clip(parameters):
        nn.utils.clip_grad_norm_(parameters, max_norm, norm_type=float("inf"))

    return step_with(model, optimizer, images, labels, clip)


def step_clipped_by_absolute_values(model, optimizer, images, labels, max_norm):
    def clip(parameters):
        nn.utils.clip_grad_norm_(parameters, max_norm, 1)

    return step_with(model, optimizer, images, labels, clip)


def step_of_one_length(model, optimizer, images, labels, max_norm):
    def clip(parameters):
        length = torch.cat([p.grad.flatten() for p in parameters]).norm()
        for p in parameters:
            p.grad = p.grad / length * max_norm

    return step_with(model, optimizer, images, labels, clip)


def step_clipped_to_1(model, optimizer, images, labels, max_norm):
    return step_with(model, optimizer, images, labels, lambda p: nn.utils.clip_grad_norm_(p, 1.0))


def step_in_evaluation_mode(model, optimizer, images, labels, max_norm):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return loss.item()


def step_returning_a_tensor(model, optimizer, images, labels, max_norm):
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return loss


def step_returning_what_comes_after(model, optimizer, images, labels, max_norm):
    step_with(model, optimizer, images, labels, lambda p: nn.utils.clip_grad_norm_(p, max_norm))
    with torch.no_grad():
        return F.cross_entropy(model(images), labels).item()


def step_returning_the_sum(model, optimizer, images, labels, max_norm):
    loss = step_with(model, optimizer, images, labels, lambda p: nn.utils.clip_grad_norm_(p, max_norm))
    return loss * labels.shape[0]


def step_returning_the_length(model, optimizer, images, labels, max_norm):
    model.train()
    optimizer.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return norm.item()


def step_with_another_loss(model, optimizer, images, labels, max_norm, loss_of):
    model.train()
    optimizer.zero_grad()
    loss = loss_of(model(images), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return loss.item()


def step_with_a_sum(model, optimizer, images, labels, max_norm):
    return step_with_another_loss(model, optimizer, images, labels, max_norm, nn.CrossEntropyLoss(reduction="sum"))


def step_with_two_softmaxes(model, optimizer, images, labels, max_norm):
    def loss_of(logits, labels):
        return F.cross_entropy(F.softmax(logits, -1), labels)

    return step_with_another_loss(model, optimizer, images, labels, max_norm, loss_of)


def step_with_squares(model, optimizer, images, labels, max_norm):
    def loss_of(logits, labels):
        return ((logits - F.one_hot(labels, logits.shape[-1])) ** 2).mean()

    return step_with_another_loss(model, optimizer, images, labels, max_norm, loss_of)


def step_taken_twice(model, optimizer, images, labels, max_norm):
    loss = step_with(model, optimizer, images, labels, lambda p: nn.utils.clip_grad_norm_(p, max_norm))
    optimizer.step()
    return loss


def step_by_hand(model, optimizer, images, labels, max_norm):
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    for p in model.parameters():
        p.data -= optimizer.param_groups[0]["lr"] * p.grad
    return loss.item()


RIGHT = {
    "warmup_cosine_lr": (rate_with_numpy, rate_from_a_list, rate_of_pytorchs_schedulers),
    "param_groups": (groups_by_the_layers, groups_as_timm, groups_one_for_each),
    "evaluate": (evaluate_keeping_a_running_mean, evaluate_with_sums, evaluate_with_all_logits),
    "train_step": (step_with_log_softmax, step_with_autograd, step_with_clipping_by_hand),
}

WRONG = {
    "warmup_cosine_lr": {
        rate_from_0: "step 0 gets a rate of 0",
        rate_below_the_peak: "ends below the peak",
        rate_above_the_peak: "goes above the peak",
        rate_at_the_peak_at_first: "there is no warm-up: while",
        rate_without_warmup: "there is no warm-up, and",
        rate_rising_as_a_cosine: "rises along a cosine",
        rate_with_whole_numbers: "whole-number division",
        rate_with_the_cosine_over_all_steps: "begun to fall before",
        rate_as_a_product: "are multiplied",
        rate_that_does_not_come_down: "stretched over total_steps",
        rate_with_the_wrong_start: "starts from step, not",
        rate_0_at_the_last_step: "0 at the last step",
        rate_one_step_ahead: "one step ahead",
        rate_in_degrees: "radians",
        rate_without_pi: "pi is missing",
        rate_through_a_whole_turn: "whole turn",
        rate_below_0: "becomes negative",
        rate_twice_as_high: "twice as high",
        rate_as_a_quarter: "a quarter of a cosine",
        rate_that_rises_twice: "1 - cos",
        rate_in_straight_lines: "the fall is a straight line",
        rate_that_stays: "stays where it is",
        rate_that_divides_by_0: "divide by 0",
        rate_with_a_slope_that_divides_by_0: "peak / warmup_steps divides by 0",
        rate_without_the_peak: "peak is missing: you",
        rate_rising_to_1: "the warm-up rises to 1",
        rate_falling_from_1: "falls from 1",
        rate_as_a_tensor: "you return a tensor",
    },
    "param_groups": {
        groups_by_dimensions: "dimensions alone",
        groups_with_a_decaying_class_token: "the class token decays",
        groups_with_decaying_positions: "the positions decay",
        groups_with_decaying_tables: "tables of relative position biases decay",
        groups_with_decaying_biases: "the biases decay",
        groups_with_decaying_norms: "scales of the norms decay",
        groups_that_know_norms_by_name: "norms by their name",
        groups_without_norms_only: "only the norms are left out",
        groups_without_bias_and_norm: "only biases and norms are left out",
        groups_without_biases_only: "only the biases are left out",
        groups_without_anything_called_embed: "a part of patch_embed.proj.weight",
        groups_without_the_head: "the head does not decay",
        groups_of_linear_layers: "convolutions do not decay",
        groups_where_all_decays: "everything decays",
        groups_the_wrong_way_round: "swapped",
        groups_without_the_rest: "what does not decay is in no group",
        groups_that_forget_the_head: "the head is in no group",
        groups_that_forget_the_tokens: "cls_token and pos_embed are in no group",
        groups_with_everything_first: "in both groups",
        groups_that_freeze: "switch gradients off",
        groups_of_names: "not their names",
        groups_of_pairs: "gives pairs",
        groups_of_the_state_dict: "tensors without gradients",
        groups_without_a_second_decay: "its own default",
        groups_with_a_fixed_decay: "a fixed number",
        groups_without_any_decay: "nothing decays",
        groups_as_two_lists: "lists of parameters",
    },
    "evaluate": {
        evaluate_averaging_batches: "you average over the batches",
        evaluate_averaging_losses: "the loss is a mean over batches",
        evaluate_averaging_accuracies: "the accuracy is a mean over batches",
        evaluate_adding_means: "batches' mean losses",
        evaluate_by_the_number_of_batches: "divide by the number of batches",
        evaluate_as_if_all_batches_were_alike: "size of the first batch",
        evaluate_in_training_mode: "training mode",
        evaluate_with_gradients: "gradients are recorded",
        evaluate_without_the_rest: "the last batch is left out",
        evaluate_returning_at_once: "only the first batch",
        evaluate_replacing: "only the last batch",
        evaluate_with_len: "no length",
        evaluate_over_the_wrong_axis: "runs over the images",
        evaluate_with_two_softmaxes: "applies the softmax itself",
        evaluate_in_per_cent: "per cent",
        evaluate_counting: "number of right answers",
        evaluate_summing: "sum of the losses",
        evaluate_the_mistakes: "share of wrong answers",
        evaluate_the_other_way_round: "swapped",
        evaluate_to_tensors: "you return tensors",
        evaluate_the_loss: "one number",
    },
    "train_step": {
        step_onto_old_gradients: "old gradients are still in",
        step_that_forgets_at_the_wrong_moment: "have not moved",
        step_before_backward: "comes before backward()",
        step_that_clips_what_is_old: "you clip the old gradients",
        step_clipped_afterwards: "unclipped",
        step_with_clipped_numbers: "each number of the gradient",
        step_clipped_layer_by_layer: "each parameter's gradient",
        step_clipped_by_the_largest: "by its largest number",
        step_clipped_by_absolute_values: "by the sum of absolute values",
        step_of_one_length: "every gradient gets the length",
        step_clipped_to_1: "a fixed length of 1",
        step_in_evaluation_mode: "still in evaluation mode",
        step_returning_a_tensor: "the loss as a tensor",
        step_returning_what_comes_after: "the loss after the step",
        step_returning_the_sum: "the sum over the images: the mean",
        step_returning_the_length: "the length of the gradient",
        step_with_a_sum: "grows with the batch",
        step_with_two_softmaxes: "applies the softmax itself",
        step_with_squares: "not cross-entropy",
        step_taken_twice: "called twice",
        step_by_hand: "subtract the gradient yourself",
    },
}
