"""Answers to the exercises of chapter 09, as readers write them.

RIGHT: implementations other than the chapter's own. WRONG: plausible mistakes, each with words of the
hint that it must get. They are written as a reader would, not as the records imitate them.
"""

import copy
import fnmatch
import re

import torch
import torch.nn.functional as F
from torch import nn

# --- replace_head ------------------------------------------------------------------------------------


def head_by_init(model, num_classes):
    weight = model.head.weight
    model.head = nn.Linear(model.head.in_features, num_classes, device=weight.device, dtype=weight.dtype)
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    return model


def head_by_its_parameters(model, num_classes):
    weight = model.head.weight
    model.head.weight = nn.Parameter(weight.new_zeros(num_classes, weight.shape[1]))
    model.head.bias = nn.Parameter(weight.new_zeros(num_classes))
    model.head.out_features = num_classes
    return model


@torch.no_grad()
def head_by_setattr(model, num_classes):
    new = nn.Linear(model.head.weight.size(1), num_classes).to(model.head.weight)
    for parameter in new.parameters():
        parameter.mul_(0)
    setattr(model, "head", new)  # noqa: B010
    return model


def head_as_it_comes(model, num_classes):
    model.head = nn.Linear(model.head.in_features, num_classes).to(model.head.weight)
    return model


def head_with_random_biases(model, num_classes):
    model.head = nn.Linear(model.head.in_features, num_classes).to(model.head.weight)
    nn.init.constant_(model.head.weight, 0)
    return model


def head_with_small_weights(model, num_classes):
    model.head = nn.Linear(model.head.in_features, num_classes).to(model.head.weight)
    nn.init.normal_(model.head.weight, std=0.02)
    nn.init.zeros_(model.head.bias)
    return model


def head_without_bias(model, num_classes):
    model.head = nn.Linear(model.head.in_features, num_classes, bias=False).to(model.head.weight)
    nn.init.zeros_(model.head.weight)
    return model


def zero_head(d_in, d_out, like):
    head = nn.Linear(d_in, d_out).to(like.weight)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def head_of_the_old_outputs(model, num_classes):
    model.head = zero_head(model.head.out_features, num_classes, model.head)
    return model


def head_back_to_front(model, num_classes):
    model.head = zero_head(num_classes, model.head.in_features, model.head)
    return model


def head_set_to_zero(model, num_classes):
    model.head.weight.data.fill_(0)
    model.head.bias.data.fill_(0)
    return model


def head_in_float32(model, num_classes):
    model.head = nn.Linear(model.head.in_features, num_classes)
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    return model


def head_of_old_rows(model, num_classes):
    new = nn.Linear(model.head.in_features, num_classes)
    new.weight = nn.Parameter(model.head.weight[:num_classes].detach().clone())
    new.bias = nn.Parameter(model.head.bias[:num_classes].detach().clone())
    model.head = new
    return model


def head_returned(model, num_classes):
    model.head = zero_head(model.head.in_features, num_classes, model.head)
    return model.head


def head_not_returned(model, num_classes):
    model.head = zero_head(model.head.in_features, num_classes, model.head)


def head_of_a_copy(model, num_classes):
    return head_by_init(copy.deepcopy(model), num_classes)


def head_behind_the_head(model, num_classes):
    return nn.Sequential(model, zero_head(model.head.out_features, num_classes, model.head))


def head_and_everything_zero(model, num_classes):
    model.head = nn.Linear(model.head.in_features, num_classes).to(model.head.weight)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model


def head_with_the_rest_frozen(model, num_classes):
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.head = zero_head(model.head.in_features, num_classes, model.head)
    return model


def head_frozen(model, num_classes):
    model = head_by_init(model, num_classes)
    model.head.weight.requires_grad = False
    model.head.bias.requires_grad = False
    return model


def head_with_everything_frozen(model, num_classes):
    head_by_init(model, num_classes)
    for parameter in model.parameters():
        parameter.requires_grad = False
    return model


def head_called_fc(model, num_classes):
    model.fc = zero_head(model.head.in_features, num_classes, model.head)
    return model


# --- macro_f1 ----------------------------------------------------------------------------------------


def f1_by_masks(labels, answers, num_classes):
    scores = []
    for k in range(num_classes):
        tp = ((labels == k) & (answers == k)).sum().item()
        fp = ((labels != k) & (answers == k)).sum().item()
        fn = ((labels == k) & (answers != k)).sum().item()
        if tp + fp + fn:
            scores.append(2 * tp / (2 * tp + fp + fn))
    return sum(scores) / len(scores)


def f1_by_a_matrix(labels, answers, num_classes):
    counts = torch.zeros(num_classes, num_classes, dtype=torch.float64)
    counts.index_put_((labels, answers), torch.ones(len(labels), dtype=torch.float64), accumulate=True)
    there = counts.sum(0) + counts.sum(1) > 0
    return float((2 * counts.diagonal() / (counts.sum(0) + counts.sum(1)))[there].mean())


def f1_by_precision_and_recall(labels, answers, num_classes):
    total, classes = 0.0, set(labels.tolist()) | set(answers.tolist())
    for k in classes:
        right = sum(a == b == k for a, b in zip(labels.tolist(), answers.tolist(), strict=True))
        if right:
            precision, recall = right / answers.tolist().count(k), right / labels.tolist().count(k)
            total += 2 / (1 / precision + 1 / recall)
    return total / len(classes)


def f1_by_sklearn(labels, answers, num_classes):
    from sklearn.metrics import f1_score

    return f1_score(labels, answers, average="macro")


def table(labels, answers, num_classes):
    """TP, FP and FN of each class."""
    rows = []
    for k in range(num_classes):
        is_k, said_k = labels == k, answers == k
        rows.append(((is_k & said_k).sum(), (~is_k & said_k).sum(), (is_k & ~said_k).sum()))
    return torch.tensor(rows).double().T


def mean_by(score, keep=lambda tp, fp, fn: tp + fp + fn > 0):
    def f1(labels, answers, num_classes):
        counts = table(labels, answers, num_classes)
        return float(score(*counts)[keep(*counts)].mean())

    return f1


def plain(tp, fp, fn):
    return 2 * tp / (2 * tp + fp + fn)


def f1_as_accuracy(labels, answers, num_classes):
    return float((labels == answers).float().mean())


def f1_weighted(labels, answers, num_classes):
    tp, fp, fn = table(labels, answers, num_classes)
    return float(sum(plain(*x) * (x[0] + x[2]) for x in zip(tp, fp, fn, strict=True) if sum(x)) / len(labels))


def f1_of_the_means(labels, answers, num_classes):
    tp, fp, fn = table(labels, answers, num_classes)
    there = tp + fp + fn > 0
    precision = (tp / (tp + fp)).nan_to_num(0)[there].mean()
    recall = (tp / (tp + fn)).nan_to_num(0)[there].mean()
    return float(2 * precision * recall / (precision + recall))


f1_as_recall = mean_by(lambda tp, fp, fn: tp / (tp + fn), lambda tp, fp, fn: tp + fn > 0)
f1_as_precision = mean_by(lambda tp, fp, fn: tp / (tp + fp), lambda tp, fp, fn: tp + fp > 0)
f1_with_zeros = mean_by(lambda *c: plain(*c).nan_to_num(0), lambda tp, fp, fn: tp >= 0)
f1_with_ones = mean_by(lambda *c: plain(*c).nan_to_num(1), lambda tp, fp, fn: tp >= 0)
f1_of_nan = mean_by(plain, lambda tp, fp, fn: tp >= 0)
f1_of_labels = mean_by(plain, lambda tp, fp, fn: tp + fn > 0)
f1_of_answers = mean_by(plain, lambda tp, fp, fn: tp + fp > 0)
f1_of_what_is_right = mean_by(plain, lambda tp, fp, fn: tp > 0)
f1_as_a_plain_mean = mean_by(lambda tp, fp, fn: ((tp / (tp + fp)).nan_to_num(0) + (tp / (tp + fn)).nan_to_num(0)) / 2)
f1_as_a_root = mean_by(lambda tp, fp, fn: ((tp / (tp + fp)).nan_to_num(0) * (tp / (tp + fn)).nan_to_num(0)) ** 0.5)
f1_as_jaccard = mean_by(lambda tp, fp, fn: tp / (tp + fp + fn))
f1_halved = mean_by(lambda tp, fp, fn: tp / (2 * tp + fp + fn))
f1_in_per_cent = mean_by(lambda *c: 100 * plain(*c))


def f1_by_division(labels, answers, num_classes):
    scores = []
    for k in range(num_classes):
        tp = sum(a == b == k for a, b in zip(labels.tolist(), answers.tolist(), strict=True))
        precision = tp / answers.tolist().count(k)
        recall = tp / labels.tolist().count(k)
        scores.append(2 * precision * recall / (precision + recall))
    return sum(scores) / num_classes


def f1_of_class_one(labels, answers, num_classes):
    tp, fp, fn = table(labels, answers, num_classes)
    return plain(tp[1], fp[1], fn[1]).item()


def f1_as_a_tensor(labels, answers, num_classes):
    counts = table(labels, answers, num_classes)
    return plain(*counts)[counts.sum(0) > 0].mean()


def f1_of_each(labels, answers, num_classes):
    return plain(*table(labels, answers, num_classes)).tolist()


# --- freeze_except -----------------------------------------------------------------------------------


def freeze_in_a_loop(model, patterns):
    trained = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad = any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        if parameter.requires_grad:
            trained.append(name)
    return trained


def freeze_by_regular_expressions(model, patterns):
    whole = re.compile("|".join(re.escape(pattern).replace(r"\*", ".*") for pattern in patterns))
    model.requires_grad_(False)
    named = dict(model.named_parameters())
    chosen = [name for name in named if whole.fullmatch(name)]
    for name in chosen:
        named[name].requires_grad_()
    return tuple(chosen)


def freeze_by_filter(model, patterns):
    names = [name for name, _ in model.named_parameters()]
    fitting = set().union(*(fnmatch.filter(names, pattern) for pattern in patterns))
    for name in names:
        model.get_parameter(name).requires_grad_(name in fitting)
    return [name for name in names if name in fitting]


def freeze_never_thawing(model, patterns):
    trained = []
    for name, parameter in model.named_parameters():
        if any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            trained.append(name)
        else:
            parameter.requires_grad = False
    return trained


def freeze_nothing(model, patterns):
    trained = []
    for name, parameter in model.named_parameters():
        if any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            parameter.requires_grad = True
            trained.append(name)
    return trained


def freeze_what_fits(model, patterns):
    trained = []
    for name, parameter in model.named_parameters():
        fits = any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        parameter.requires_grad = not fits
        if fits:
            trained.append(name)
    return trained


def freeze_what_fits_and_return_the_rest(model, patterns):
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def freezing_by(fits):
    def freeze(model, patterns):
        trained = []
        for name, parameter in model.named_parameters():
            parameter.requires_grad = bool(fits(name, patterns))
            if parameter.requires_grad:
                trained.append(name)
        return trained

    return freeze


freeze_by_in = freezing_by(lambda name, patterns: any(p in name for p in patterns))
freeze_by_beginnings = freezing_by(lambda name, patterns: any(name.startswith(p.removesuffix("*")) for p in patterns))
freeze_by_what_is_between_stars = freezing_by(lambda name, patterns: any(p.replace("*", "") in name for p in patterns))
freeze_by_the_first = freezing_by(lambda name, patterns: fnmatch.fnmatch(name, patterns[0]))
freeze_by_all = freezing_by(lambda name, patterns: all(fnmatch.fnmatch(name, p) for p in patterns))
freeze_with_names_as_patterns = freezing_by(lambda name, patterns: any(fnmatch.fnmatch(p, name) for p in patterns))
freeze_by_re = freezing_by(lambda name, patterns: any(re.match(p, name) for p in patterns))


def freeze_by_the_last(model, patterns):
    for pattern in patterns:
        trained = []
        for name, parameter in model.named_parameters():
            parameter.requires_grad = fnmatch.fnmatch(name, pattern)
            if parameter.requires_grad:
                trained.append(name)
    return trained


def freeze_pattern_by_pattern(model, patterns):
    trained = []
    for pattern in patterns:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = fnmatch.fnmatch(name, pattern)
            if parameter.requires_grad:
                trained.append(name)
    return trained


def freeze_adding_names(model, patterns):
    model.requires_grad_(False)
    trained = []
    for pattern in patterns:
        for name, parameter in model.named_parameters():
            if fnmatch.fnmatch(name, pattern):
                parameter.requires_grad = True
                trained.append(name)
    return trained


def then(answer):
    """Freeze as asked, and return `answer(model)`."""

    def freeze(model, patterns):
        freeze_in_a_loop(model, patterns)
        return answer(model)

    return freeze


freeze_returning_the_frozen = then(lambda model: [n for n, p in model.named_parameters() if not p.requires_grad])
freeze_returning_all = then(lambda model: list(dict(model.named_parameters())))
freeze_returning_parameters = then(lambda model: [p for p in model.parameters() if p.requires_grad])
freeze_returning_a_number = then(lambda model: len([p for p in model.parameters() if p.requires_grad]))
freeze_returning_nothing = then(lambda model: None)
freeze_returning_the_model = then(lambda model: model)


def freeze_the_state_dict(model, patterns):
    trained = []
    for name, tensor in model.state_dict().items():
        tensor.requires_grad = any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        if tensor.requires_grad:
            trained.append(name)
    return trained


# --- lora_linear -------------------------------------------------------------------------------------


def lora_by_matrices(x, weight, bias, down, up, scale):
    y = x @ weight.T + scale * (x @ down.T) @ up.T
    return y if bias is None else y + bias


def lora_by_einsum(x, weight, bias, down, up, scale):
    detour = torch.einsum("...i,ri,or->...o", x, down, scale * up)
    return F.linear(x, weight, bias) + detour


def lora_with(combine):
    """`combine(layer with bias, detour, bias or 0, scale, rank)`."""

    def lora(x, weight, bias, down, up, scale):
        layer, detour = F.linear(x, weight, bias), F.linear(F.linear(x, down), up)
        return combine(layer, detour, torch.zeros(()) if bias is None else bias, scale, down.shape[0])

    return lora


lora_unscaled = lora_with(lambda layer, detour, b, s, r: layer + detour)
lora_all_scaled = lora_with(lambda layer, detour, b, s, r: (layer + detour) * s)
lora_scaling_the_layer = lora_with(lambda layer, detour, b, s, r: layer * s + detour)
lora_scaled_twice = lora_with(lambda layer, detour, b, s, r: layer + s * (s * detour))
lora_by_rank = lora_with(lambda layer, detour, b, s, r: layer + (s / r) * detour)
lora_divided = lora_with(lambda layer, detour, b, s, r: layer + detour / s)
lora_without_bias = lora_with(lambda layer, detour, b, s, r: layer - b + s * detour)
lora_with_two_biases = lora_with(lambda layer, detour, b, s, r: layer + s * detour + b)
lora_with_a_bias_on_both = lora_with(lambda layer, detour, b, s, r: layer + s * (detour + b))
lora_with_a_scaled_bias = lora_with(lambda layer, detour, b, s, r: layer - b + s * (detour + b))
lora_detour_only = lora_with(lambda layer, detour, b, s, r: s * detour)
lora_subtracted = lora_with(lambda layer, detour, b, s, r: layer - s * detour)
lora_multiplied = lora_with(lambda layer, detour, b, s, r: layer * (s * detour))


def lora_without_the_detour(x, weight, bias, down, up, scale):
    return F.linear(x, weight, bias)


def lora_with_relu(x, weight, bias, down, up, scale):
    return F.linear(x, weight, bias) + scale * F.linear(torch.relu(F.linear(x, down)), up)


def lora_that_needs_a_bias(x, weight, bias, down, up, scale):
    return x @ weight.T + bias + scale * x @ down.T @ up.T


def lora_untransposed(x, weight, bias, down, up, scale):
    y = x @ weight + scale * x @ down @ up
    return y if bias is None else y + bias


def lora_up_first(x, weight, bias, down, up, scale):
    return F.linear(x, weight, bias) + scale * (x @ up.T) @ down.T


def lora_with_a_plain_detour(x, weight, bias, down, up, scale):
    return F.linear(x, weight, bias) + scale * ((x @ down) @ up)


def lora_up_first_untransposed(x, weight, bias, down, up, scale):
    return F.linear(x, weight, bias) + scale * ((x @ up) @ down)


def lora_with_up_untransposed(x, weight, bias, down, up, scale):
    return F.linear(x, weight, bias) + scale * (F.linear(x, down) @ up)


def lora_adding_the_bias_again(x, weight, bias, down, up, scale):
    return F.linear(x, weight, bias) + scale * F.linear(F.linear(x, down), up) + bias


def lora_with_the_product_turned(x, weight, bias, down, up, scale):
    return F.linear(x, weight + scale * (down @ up), bias)


def lora_after_the_layer(x, weight, bias, down, up, scale):
    y = F.linear(x, weight, bias)
    return y + scale * F.linear(F.linear(y, down), up)


def lora_into_the_weight(x, weight, bias, down, up, scale):
    weight.add_(scale * up @ down)
    return F.linear(x, weight, bias)


# --- layerwise_lr ------------------------------------------------------------------------------------


def rates_by_parts(names, depth, decay):
    rates = {}
    for name in names:
        parts = name.split(".")
        if parts[0] == "head":
            below = 0
        elif parts[0] == "norm":
            below = 1
        elif parts[0] == "blocks":
            below = depth - int(parts[1])
        else:
            below = depth + 1
        rates[name] = decay**below
    return rates


def rates_by_a_ladder(names, depth, decay):
    factors = [1.0]
    for _ in range(depth + 1):
        factors.append(factors[-1] * decay)
    prefixes = {"head.": 0, "norm.": 1} | {f"blocks.{i}.": depth - i for i in range(depth)}
    return {n: factors[next((k for p, k in prefixes.items() if n.startswith(p)), depth + 1)] for n in names}


def rates_by_matching(names, depth, decay):
    def exponent(name):
        found = re.match(r"blocks\.(\d+)\.", name)
        if found:
            return depth - int(found[1])
        return 0 if name.startswith("head") else 1 if name.startswith("norm.") else depth + 1

    return dict(zip(names, (decay ** exponent(name) for name in names), strict=True))


def rates_by(**changes):
    """rates_by_parts, with other exponents for some parts: `part=function of (name, depth)`, or `every=`."""

    def rates(names, depth, decay):
        result = rates_by_parts(names, depth, decay)
        for name in names:
            part = name.split(".")[0]
            if part in changes:
                result[name] = decay ** changes[part](name, depth)
        return result

    return rates


def rates_upside_down(names, depth, decay):
    rates = {}
    for name in names:
        if name.startswith("blocks."):
            rates[name] = decay ** (int(name.split(".")[1]) + 1)
        elif name.startswith("norm."):
            rates[name] = decay**depth
        else:
            rates[name] = decay ** (depth + 1) if name.startswith("head.") else 1.0
    return rates


def rates_one_too_low(names, depth, decay):
    return {name: rate * decay for name, rate in rates_by_parts(names, depth, decay).items()}


def rates_with_the_last_block_at_one(names, depth, decay):
    return {name: min(rate / decay, 1.0) for name, rate in rates_by_parts(names, depth, decay).items()}


rates_with_the_stem_in_the_first_block = rates_by(
    cls_token=lambda n, d: d, pos_embed=lambda n, d: d, patch_embed=lambda n, d: d
)
rates_with_a_free_stem = rates_by(cls_token=lambda n, d: 0, pos_embed=lambda n, d: 0, patch_embed=lambda n, d: 0)
rates_with_free_positions = rates_by(cls_token=lambda n, d: 0, pos_embed=lambda n, d: 0)
rates_with_a_low_norm = rates_by(norm=lambda n, d: d + 1)
rates_with_the_norm_at_the_head = rates_by(norm=lambda n, d: 0)
rates_of_one_digit = rates_by(blocks=lambda n, d: d - int(n[len("blocks.")]))
rates_with_any_norm = rates_by(blocks=lambda n, d: 1 if "norm" in n else d - int(n.split(".")[1]))


rates_with_blocks_upside_down = rates_by(blocks=lambda n, d: int(n.split(".")[1]) + 1)
rates_with_blocks_counted_up = rates_by(blocks=lambda n, d: int(n.split(".")[1]))
rates_with_a_high_patch_embed = rates_by(patch_embed=lambda n, d: d)
rates_with_high_positions = rates_by(cls_token=lambda n, d: d, pos_embed=lambda n, d: d)


def rates_with_the_norm_alone_right(names, depth, decay):
    rates = rates_by_parts(names, depth, decay)
    return {n: rate if n.startswith(("head.", "norm.")) else rate / decay for n, rate in rates.items()}


def exponents(names, depth):
    """The right exponents, as whole numbers."""
    doubled = rates_by_parts(names, depth, 2.0)
    return {name: round(torch.tensor(value).log2().item()) for name, value in doubled.items()}


def rates_by_products(names, depth, decay):
    return {name: decay * below for name, below in exponents(names, depth).items()}


def rates_on_a_line(names, depth, decay):
    return {name: 1.0 - below * (1.0 - decay) for name, below in exponents(names, depth).items()}


def rates_of_the_complement(names, depth, decay):
    return rates_by_parts(names, depth, 1 - decay)


def rates_of_blocks(names, depth, decay):
    return {name: decay ** (depth - int(name.split(".")[1])) for name in names if "blocks" in name}


def rates_without_the_head(names, depth, decay):
    return {name: rate for name, rate in rates_by_parts(names, depth, decay).items() if rate != 1}


def rates_with_free_biases(names, depth, decay):
    return {n: 1.0 if "bias" in n else rate for n, rate in rates_by_parts(names, depth, decay).items()}


def rates_of_half_blocks(names, depth, decay):
    rates = {}
    for name in names:
        part = name.split(".")[0]
        if part == "blocks":
            below = 2 * (depth - int(name.split(".")[1])) - ("mlp" in name)
        else:
            below = {"head": 0, "norm": 1}.get(part, 2 * depth + 1)
        rates[name] = decay**below
    return rates


def rates_growing(names, depth, decay):
    return {name: 1 / rate for name, rate in rates_by_parts(names, depth, decay).items()}


def rates_as_exponents(names, depth, decay):
    return exponents(names, depth)


def rates_as_a_list(names, depth, decay):
    return list(rates_by_parts(names, depth, decay).values())


RIGHT = {
    "replace_head": (head_by_init, head_by_its_parameters, head_by_setattr),
    "macro_f1": (f1_by_masks, f1_by_a_matrix, f1_by_precision_and_recall, f1_by_sklearn),
    "freeze_except": (freeze_in_a_loop, freeze_by_regular_expressions, freeze_by_filter),
    "lora_linear": (lora_by_matrices, lora_by_einsum),
    "layerwise_lr": (rates_by_parts, rates_by_a_ladder, rates_by_matching),
}
WRONG = {
    "replace_head": {
        head_as_it_comes: "fill both with 0",
        head_with_random_biases: "the biases still random",
        head_with_small_weights: "the weights still random",
        head_without_bias: "has no bias",
        head_of_the_old_outputs: "takes old.in_features",
        head_back_to_front: "inputs and outputs are swapped",
        head_set_to_zero: "the old number of classes",
        head_in_float32: "in float32 whatever",
        head_of_old_rows: "rows of the old head",
        head_returned: "you return the new head",
        head_not_returned: "`return model` is missing",
        head_of_a_copy: "you change a copy",
        head_behind_the_head: "behind the old one",
        head_and_everything_zero: "everything is 0 now",
        head_with_the_rest_frozen: "you freeze the rest",
        head_frozen: "the new head is frozen",
        head_with_everything_frozen: "nothing could learn",
        head_called_fc: "as fc",
    },
    "macro_f1": {
        f1_as_accuracy: "that is the accuracy",
        f1_weighted: "by its images",
        f1_of_the_means: "precision and recall first",
        f1_as_recall: "the mean recall",
        f1_as_precision: "the mean precision",
        f1_with_zeros: "nowhere count as 0",
        f1_with_ones: "nowhere count as 1",
        f1_of_labels: "answered, and never occurs: it counts",
        f1_of_answers: "occurs, and is never answered: it counts",
        f1_of_what_is_right: "leave out classes with nothing right",
        f1_of_nan: "0 / 0 gives nan",
        f1_by_division: "precision divides by 0",
        f1_as_a_plain_mean: "the plain mean of precision",
        f1_as_a_root: "the square root",
        f1_as_jaccard: "Jaccard",
        f1_halved: "the 2 above is missing",
        f1_of_class_one: "class 1 alone",
        f1_in_per_cent: "per cent",
        f1_as_a_tensor: "you return a tensor",
        f1_of_each: "one number for each class",
    },
    "freeze_except": {
        freeze_never_thawing: "stays frozen",
        freeze_nothing: "nothing is frozen",
        freeze_what_fits: "the other way round: what fits is trained",
        freeze_what_fits_and_return_the_rest: "what fits is frozen",
        freeze_by_in: "looks for the star itself",
        freeze_by_beginnings: "a star at the beginning",
        freeze_by_what_is_between_stars: "in the middle of a name",
        freeze_by_the_last: "only the last counts",
        freeze_pattern_by_pattern: "some names stand twice",
        freeze_by_the_first: "only the first pattern",
        freeze_by_all: "one is enough",
        freeze_with_names_as_patterns: "are swapped",
        freeze_by_re: "no regular expressions",
        freeze_returning_the_frozen: "you return what is frozen",
        freeze_returning_all: "you return all names",
        freeze_returning_parameters: "you return the parameters",
        freeze_returning_a_number: "you return how many",
        freeze_returning_nothing: "the names are missing",
        freeze_returning_the_model: "you return the model",
        freeze_adding_names: "fits two patterns",
        freeze_the_state_dict: "nothing has been switched",
    },
    "lora_linear": {
        lora_unscaled: "scale is missing",
        lora_all_scaled: "multiplies everything",
        lora_scaling_the_layer: "multiplies the frozen layer",
        lora_scaled_twice: "scale counts twice",
        lora_by_rank: "divide by the rank",
        lora_divided: "you divide by scale",
        lora_without_bias: "the bias is missing",
        lora_with_two_biases: "added twice",
        lora_with_a_scaled_bias: "multiplied by scale",
        lora_with_a_bias_on_both: "nothing adds it in the detour",
        lora_adding_the_bias_again: "leave + bias away",
        lora_detour_only: "the detour alone",
        lora_without_the_detour: "the detour is missing",
        lora_subtracted: "you subtract",
        lora_multiplied: "you multiply layer and detour",
        lora_with_relu: "an adapter",
        lora_that_needs_a_bias: "may be None",
        lora_untransposed: "(outputs, inputs)",
        lora_up_first: "through down first",
        lora_up_first_untransposed: "down first, and both transposed",
        lora_with_up_untransposed: "transpose it too",
        lora_with_a_plain_detour: "as the weight",
        lora_with_the_product_turned: "the product is up @ down",
        lora_after_the_layer: "what the layer puts out",
        lora_into_the_weight: "the frozen weight has been changed",
    },
    "layerwise_lr": {
        rates_upside_down: "upside down",
        rates_one_too_low: "one decay too many",
        rates_with_the_last_block_at_one: "the last block has 1",
        rates_with_the_stem_in_the_first_block: "the factor of blocks.0",
        rates_with_a_free_stem: "before the blocks has 1",
        rates_with_free_positions: "patch_embed is right",
        rates_with_a_low_norm: "taken for something before",
        rates_with_the_norm_at_the_head: "the last norm with the head",
        rates_with_the_norm_alone_right: "one layer too high",
        rates_with_blocks_upside_down: "the blocks are upside down",
        rates_with_blocks_counted_up: "block i has decay^i",
        rates_with_a_high_patch_embed: "patch_embed has the factor of blocks.0",
        rates_with_high_positions: "cls_token and pos_embed have the factor of blocks.0",
        rates_of_one_digit: "one digit",
        rates_with_any_norm: "blocks.0.norm1 too",
        rates_by_products: "where a power is needed",
        rates_on_a_line: "a straight line",
        rates_of_the_complement: "(1 - decay)",
        rates_of_blocks: "only the blocks",
        rates_without_the_head: "the head is left out",
        rates_with_free_biases: "biases have a factor of 1",
        rates_of_half_blocks: "as two layers",
        rates_growing: "the lowest learns fastest",
        rates_as_exponents: "the number of the layer",
        rates_as_a_list: "without their names",
    },
}
