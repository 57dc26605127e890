"""Answers to the exercises of chapter 09, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import collections
import copy
import fnmatch
import math
import re

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score
from torch import nn

# --- replace_head --------------------------------------------------------------------------------


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


def head_in_evaluation_mode_meanwhile(model, num_classes):
    mode = model.training
    model.eval()
    weight = model.head.weight
    model.head = nn.Linear(weight.shape[1], num_classes, device=weight.device, dtype=weight.dtype)
    model.head.load_state_dict({name: torch.zeros_like(value) for name, value in model.head.state_dict().items()})
    return model.train(mode)


def zero_head(d_in, d_out, like):
    head = nn.Linear(d_in, d_out).to(like.weight)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def head_of_old_outputs_with_small_weights(model, num_classes):
    model.head = zero_head(model.head.in_features, num_classes, model.head)
    nn.init.normal_(model.head.weight, std=0.02)
    return model


def head_returned(model, num_classes):
    model.head = zero_head(model.head.in_features, num_classes, model.head)
    return model.head


def head_not_returned(model, num_classes):
    model.head = zero_head(model.head.in_features, num_classes, model.head)


def head_of_a_copy(model, num_classes):
    model = copy.deepcopy(model)
    model.head = zero_head(model.head.in_features, num_classes, model.head)
    return model


def head_in_another_model(model, num_classes):
    body = list(model.children())[:-1]
    return nn.Sequential(*body, zero_head(model.head.in_features, num_classes, model.head))


def head_behind_the_head(model, num_classes):
    model.head = nn.Sequential(model.head, zero_head(model.head.out_features, num_classes, model.head))
    return model


def head_emptied(model, num_classes):
    model.head.weight.data.fill_(0)
    model.head.bias.data.fill_(0)
    return model


def head_of_old_rows(model, num_classes):
    new = nn.Linear(model.head.in_features, num_classes)
    new.weight = nn.Parameter(model.head.weight[:num_classes].detach().clone())
    new.bias = nn.Parameter(model.head.bias[:num_classes].detach().clone())
    model.head = new
    return model


# --- macro_f1 ------------------------------------------------------------------------------------


def f1_by_whole_tensors(labels, answers, num_classes):
    scores = []
    for k in range(num_classes):
        tp = ((labels == k) & (answers == k)).sum()
        fp = ((labels != k) & (answers == k)).sum()
        fn = ((labels == k) & (answers != k)).sum()
        if tp + fp + fn > 0:
            scores.append(2 * tp / (2 * tp + fp + fn))  # in single precision
    return torch.stack(scores).mean().item()


def f1_by_numpy(labels, answers, num_classes):
    counts = np.zeros((num_classes, num_classes), dtype=np.float32)
    np.add.at(counts, (labels.numpy(), answers.numpy()), 1)
    either = counts.sum(0) + counts.sum(1)
    return float((2 * counts.diagonal()[either > 0] / either[either > 0]).mean())


def f1_by_precision_and_recall(labels, answers, num_classes):
    total, classes = 0.0, set(labels.tolist()) | set(answers.tolist())
    for k in classes:
        right = sum(a == b == k for a, b in zip(labels.tolist(), answers.tolist(), strict=True))
        if right:
            precision, recall = right / answers.tolist().count(k), right / labels.tolist().count(k)
            total += 2 / (1 / precision + 1 / recall)
    return total / len(classes)


def f1_by_sklearn(labels, answers, num_classes):
    return f1_score(labels, answers, average="macro")


def table(labels, answers, num_classes):
    """TP, FP and FN of each class."""
    rows = []
    for k in range(num_classes):
        is_k, said_k = labels == k, answers == k
        rows.append(((is_k & said_k).sum(), (~is_k & said_k).sum(), (is_k & ~said_k).sum()))
    return torch.tensor(rows).double().T


def f1_of_nan(labels, answers, num_classes):
    tp, fp, fn = table(labels, answers, num_classes)
    return (2 * tp / (2 * tp + fp + fn)).mean().item()


def f1_of_nan_precision(labels, answers, num_classes):
    tp, fp, fn = table(labels, answers, num_classes)
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    return (2 * precision * recall / (precision + recall)).mean().item()


def f1_without_nan_precision(labels, answers, num_classes):
    tp, fp, fn = table(labels, answers, num_classes)
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    return (2 * precision * recall / (precision + recall)).nanmean().item()


def f1_by_division(labels, answers, num_classes):
    scores = []
    for k in range(num_classes):
        tp = sum(a == b == k for a, b in zip(labels.tolist(), answers.tolist(), strict=True))
        precision = tp / answers.tolist().count(k)
        recall = tp / labels.tolist().count(k)
        scores.append(2 * precision * recall / (precision + recall))
    return sum(scores) / num_classes


def f1_as_a_tensor(labels, answers, num_classes):
    counts = table(labels, answers, num_classes)
    tp, fp, fn = counts[:, counts.sum(0) > 0]
    return (2 * tp / (2 * tp + fp + fn)).mean()


def f1_of_each(labels, answers, num_classes):
    tp, fp, fn = table(labels, answers, num_classes)
    return (2 * tp / (2 * tp + fp + fn)).tolist()


# --- freeze_except -------------------------------------------------------------------------------


def freeze_first_and_thaw_by_name(model, patterns):
    model.requires_grad_(False)
    names = [name for name, _ in model.named_parameters() if any(fnmatch.fnmatch(name, p) for p in patterns)]
    for name in names:
        model.get_parameter(name).requires_grad = True
    return names


def freeze_by_regular_expressions(model, patterns):
    whole = re.compile("|".join(re.escape(pattern).replace(r"\*", ".*") for pattern in patterns))
    for name, parameter in model.named_parameters():
        parameter.requires_grad = whole.fullmatch(name) is not None
    return tuple(name for name, parameter in model.named_parameters() if parameter.requires_grad)


def freeze_module_by_module(model, patterns):
    fitting = {}
    for path, module in model.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            name = f"{path}.{own}" if path else own
            fitting[name] = any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
            parameter.requires_grad_(fitting[name])
    return [name for name in fitting if fitting[name]]


def freeze_pattern_by_pattern(model, patterns):
    model.requires_grad_(False)
    trained = []
    for pattern in patterns:
        for name, parameter in model.named_parameters():
            if fnmatch.fnmatch(name, pattern) and not parameter.requires_grad:
                parameter.requires_grad = True
                trained.append(name)
    return trained


def freeze_by_equality(model, patterns):
    trained = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name in patterns
        if parameter.requires_grad:
            trained.append(name)
    return trained


def freeze_by_re(model, patterns):
    fitting = [name for name, _ in model.named_parameters() if any(re.match(p, name) for p in patterns)]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in fitting)
    return fitting


def freeze_a_copy(model, patterns):
    return freeze_first_and_thaw_by_name(copy.deepcopy(model), patterns)


def freeze_the_state_dict(model, patterns):
    trained = []
    for name, tensor in model.state_dict().items():
        tensor.requires_grad = any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        if tensor.requires_grad:
            trained.append(name)
    return trained


def freeze_named_twice(model, patterns):
    for name, parameter in model.named_parameters(remove_duplicate=False):
        parameter.requires_grad = any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
    return [name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter.requires_grad]


# --- lora_linear ---------------------------------------------------------------------------------


def lora_by_matrices(x, weight, bias, down, up, scale):
    y = x @ weight.T + scale * (x @ down.T) @ up.T
    return y if bias is None else y + bias


def lora_by_einsum(x, weight, bias, down, up, scale):
    detour = torch.einsum("...i,ri,or->...o", x, down, scale * up)
    return F.linear(x, weight.detach(), bias) + detour


def lora_of_one_matrix(x, weight, bias, down, up, scale):
    flat = x.reshape(-1, x.shape[-1])
    y = flat @ (weight + scale * up @ down).T
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], len(weight))


def lora_without_gradients(x, weight, bias, down, up, scale):
    with torch.no_grad():
        return F.linear(x, weight, bias) + scale * F.linear(F.linear(x, down), up)


def lora_untransposed(x, weight, bias, down, up, scale):
    y = x @ weight + scale * x @ down @ up
    return y if bias is None else y + bias


def lora_that_asks_the_bias(x, weight, bias, down, up, scale):
    y = x @ weight.T + scale * x @ down.T @ up.T
    return y + bias if bias else y


def lora_that_needs_a_bias(x, weight, bias, down, up, scale):
    return bias + x @ weight.T + scale * x @ down.T @ up.T


def lora_from_the_left(x, weight, bias, down, up, scale):
    y = (weight @ x.T + scale * up @ (down @ x.T)).T
    return y if bias is None else y + bias


def lora_of_rows(x, weight, bias, down, up, scale):
    return lora_by_matrices(x.flatten(0, -2), weight, bias, down, up, scale)


def lora_into_the_weight(x, weight, bias, down, up, scale):
    weight.add_(scale * up @ down)
    return F.linear(x, weight, bias)


# --- layerwise_lr --------------------------------------------------------------------------------


def rates_as_timm_counts(names, depth, decay):
    layers = depth + 1
    scales = [decay ** (layers - i) for i in range(layers + 1)]

    def layer(name):
        if name.startswith("blocks."):
            return int(name.split(".")[1]) + 1
        return layers if name.startswith("head.") else depth if name.startswith("norm.") else 0

    return {name: scales[layer(name)] for name in names}


def rates_by_matching(names, depth, decay):
    rates = collections.OrderedDict()
    for name in names:
        block = re.match(r"blocks\.(\d+)\.", name)
        if block:
            rates[name] = math.pow(decay, depth - int(block[1]))
        else:
            rates[name] = {"head": 1, "norm": decay}.get(name.split(".")[0], decay ** (depth + 1))
    return rates


def rates_block_by_block(names, depth, decay):
    lowest = torch.tensor(decay) ** (depth + 1)  # in single precision
    rates = dict.fromkeys(names, lowest.item())
    for i in range(depth):
        for name in names:
            if name.startswith(f"blocks.{i}."):
                rates[name] = decay ** (depth - i)
    for name in names:
        if name.startswith("norm."):
            rates[name] = decay
        if name.startswith("head."):
            rates[name] = 1.0
    return rates


def rates_of_a_short_list(names, depth, decay):
    scales = [decay ** (depth + 1 - i) for i in range(depth + 1)]
    layer = {"norm": depth, "head": depth + 1} | {f"blocks.{i}": i + 1 for i in range(depth)}
    return {n: scales[layer.get(re.match(r"blocks\.\d+|\w+", n)[0], 0)] for n in names}


def rates_of_a_short_dict(names, depth, decay):
    powers = {}
    for below in range(depth + 1):
        powers[below] = decay**below
    rates = {}
    for name in names:
        first, *rest = name.split(".")
        other = {"head": 0, "norm": 1}.get(first, depth + 1)
        rates[name] = powers[depth - int(rest[0]) if first == "blocks" else other]
    return rates


def rates_by_beginnings(names, depth, decay):
    powers = {f"blocks.{i}": depth - i for i in range(depth)} | {"head": 0, "norm": 1}
    return {n: decay ** next((k for start, k in powers.items() if n.startswith(start)), depth + 1) for n in names}


def rates_of_twelve(names, depth, decay):
    powers = {f"blocks.{i}.": depth - i for i in range(12)} | {"head.": 0, "norm.": 1}
    return {n: decay ** next((k for start, k in powers.items() if n.startswith(start)), depth + 1) for n in names}


def rates_as_numbers_everywhere(names, depth, decay):
    return {name: decay ** (depth - int(name.split(".")[1])) for name in names}


def rates_as_tensors(names, depth, decay):
    rates = rates_as_timm_counts(names, depth, decay)
    return {name: torch.tensor(rate) for name, rate in rates.items()}


RIGHT = {
    "replace_head": (head_by_its_parameters, head_by_setattr, head_in_evaluation_mode_meanwhile),
    "macro_f1": (f1_by_whole_tensors, f1_by_numpy, f1_by_precision_and_recall, f1_by_sklearn),
    "freeze_except": (freeze_first_and_thaw_by_name, freeze_by_regular_expressions, freeze_module_by_module),
    "lora_linear": (lora_by_matrices, lora_by_einsum, lora_of_one_matrix),
    "layerwise_lr": (rates_as_timm_counts, rates_by_matching, rates_block_by_block),
}

SLIPS = {
    "replace_head": """
        rows of the old head
            nn.init.zeros_(model.head.weight) ⇒ model.head.weight = nn.Parameter(old.weight[:num_classes].detach().clone())
            nn.init.zeros_(model.head.bias) ⇒ model.head.bias = nn.Parameter(old.bias[:num_classes].detach().clone())
        the number of inputs is written
            old.in_features ⇒ 768
        the number of classes is written
            nn.Linear(old.in_features, num_classes) ⇒ nn.Linear(old.in_features, 10)
        not a layer
            nn.init.zeros_(model.head.weight) ⇒ nn.init.zeros_(model.head)
        must be an nn.Parameter
            nn.init.zeros_(model.head.weight) ⇒ model.head.weight = torch.zeros(num_classes, old.in_features)
        in float32 on the CPU
            nn.init.zeros_(model.head.weight) ⇒ model.head.weight.data = torch.zeros(num_classes, old.in_features)
            nn.init.zeros_(model.head.bias) ⇒ model.head.bias.data = torch.zeros(num_classes)
        while its gradients are recorded
            nn.init.zeros_(model.head.bias) ⇒ model.head.bias.zero_()
        still the old one
            model.head = nn.Linear(old.in_features, num_classes).to(old.weight)
            | nn.init.zeros_(model.head.weight)
            | nn.init.zeros_(model.head.bias) ⇒ old = nn.Linear(old.in_features, num_classes).to(old.weight)
            | nn.init.zeros_(old.weight)
            | nn.init.zeros_(old.bias)
        """,
    "macro_f1": """
        as one fraction for all classes is
            scores = [] ⇒ above = below = 0
            scores.append(2 * (true & said).sum().item() / both) ⇒ above += 2 * (true & said).sum().item()
            | below += both
            sum(scores) / len(scores) ⇒ above / below
        is 0 for a class that occurs nowhere
            if both: ⇒ if k >= 0:
        `and` wants one truth
            (true & said) ⇒ (true and said)
        FN is missing
            both = (true.sum() + said.sum()).item() ⇒ both = (said.sum() + (true & said).sum()).item()
        FP is missing
            both = (true.sum() + said.sum()).item() ⇒ both = (true.sum() + (true & said).sum()).item()
        below the line as well
            / both ⇒ / (true | said).sum().item()
        a division comes before a sum
            / both ⇒ / 2 * (true & said).sum().item() + (true != said).sum().item()
        inside the loop
            scores.append(2 * (true & said).sum().item() / both) ⇒ return 2 * (true & said).sum().item() / both
        """,
    "freeze_except": """
        is more than a beginning
            fnmatchcase(name, pattern) for ⇒ name.startswith(pattern.replace("*", "")) for
        startswith compares the star
            any(fnmatchcase(name, pattern) for pattern in patterns) ⇒ name.startswith(tuple(patterns))
        endswith compares the star
            any(fnmatchcase(name, pattern) for pattern in patterns) ⇒ name.endswith(tuple(patterns))
        after the first star
            fnmatchcase(name, pattern) for ⇒ name[: len(pattern.split("*")[0])] == pattern.split("*")[0] for
        between two stars
            fnmatchcase(name, pattern) for ⇒ name.startswith(pattern[: pattern.find("*")]) and name.endswith(pattern[pattern.rfind("*") + 1 :]) if "*" in pattern else name.startswith(pattern) and name.endswith(pattern) for
        takes one pattern
            any(fnmatchcase(name, pattern) for pattern in patterns) ⇒ fnmatchcase(name, patterns)
        you return the parameters
            append(name) ⇒ append(parameter)
        you return pairs
            append(name) ⇒ append((len(trained), name))
        only the last counts
            ⇒ model.requires_grad_(True)
            | for pattern in patterns:
            |     trained = [name for name, _ in model.named_parameters() if fnmatchcase(name, pattern)]
            | for name, parameter in model.named_parameters():
            |     parameter.requires_grad_(name in trained)
            | return trained
        and the names are those of all
            ⇒ trained = []
            | for name, parameter in model.named_parameters():
            |     for pattern in patterns:
            |         if fnmatchcase(name, pattern):
            |             parameter.requires_grad = True
            |             if name not in trained:
            |                 trained.append(name)
            |         else:
            |             parameter.requires_grad = False
            | return trained
        everything is frozen in the end
            return trained ⇒ for parameter in model.parameters():
            |     parameter.requires_grad = False
            | return trained
        what was frozen before stays frozen
            ⇒ trained = []
            | for name, parameter in model.named_parameters():
            |     parameter.requires_grad &= any(fnmatchcase(name, pattern) for pattern in patterns)
            |     if parameter.requires_grad:
            |         trained.append(name)
            | return trained
        you stop at the first
            return trained ⇒
            trained.append(name) ⇒ trained += [name]
            | return trained
        is content with a piece
            fnmatchcase(name, pattern) for ⇒ __import__("re").search(pattern.replace("*", ".*"), name) for
        you return how many
            return trained ⇒ return len(trained)
        the names are missing
            return trained ⇒ return None
        you return the model
            return trained ⇒ return model
        a set has no order
            trained = [] ⇒ trained = set()
            append ⇒ add
        """,
    "lora_linear": """
        leave + bias away
            up) ⇒ up) + bias
        through down first
            F.linear(F.linear(x, down), up) ⇒ x @ up.T @ down.T
        down first, and both transposed
            F.linear(F.linear(x, down), up) ⇒ (x @ up) @ down
        transpose it too
            F.linear(F.linear(x, down), up) ⇒ F.linear(x, down) @ up
        as the weight
            scale * F.linear(F.linear(x, down), up) ⇒ scale * x @ down @ up
        the product is up @ down
            F.linear(x, weight, bias) + scale * F.linear(F.linear(x, down), up) ⇒ F.linear(x, weight + scale * (down @ up), bias)
        what the layer puts out
            F.linear(x, down) ⇒ F.linear(F.linear(x, weight, bias), down)
        stands for one: three dots
            F.linear(x, weight, bias) + ⇒ torch.einsum("bni,oi->bno", x, weight) + (0 if bias is None else bias) +
        take none of them apart
            ⇒ B, N, D = x.shape
            | x = x.reshape(B * N, D)
            | return (F.linear(x, weight, bias) + scale * x @ down.T @ up.T).reshape(B, N, -1)
        """,
    "layerwise_lr": """
        where a power is needed
            decay**below ⇒ (decay * below or 1.0)
        the list is your caller's
            ⇒ rates = {}
            | while names:
            |     parts = (name := names.pop()).split(".")
            |     rates[name] = decay ** (depth - int(parts[1]) if parts[0] == "blocks" else {"head": 0, "norm": 1}.get(parts[0], depth + 1))
            | return rates
        where a power is needed: decay ** layers, not decay /
            decay**below ⇒ decay / below if below else 1.0
        it is decay itself
            decay**below ⇒ (1 - decay) ** below
        the head decays too
            "head": 0 ⇒ "head": 1
        the head is taken for
            "head": 0,  ⇒
        head and norm are taken for
            {"head": 0, "norm": 1} ⇒ {}
        one layer too low
            {"head": 0, "norm": 1} ⇒ {"head": 1, "norm": 2}
        a piece of text
            int(parts[1]) ⇒ parts[1]
        has the dot in it
            int(parts[1]) ⇒ int(name.removeprefix("blocks.")[:2])
        """,
}

WRONG = {
    "replace_head": {
        head_of_old_outputs_with_small_weights: "and the weights are not",
        head_returned: "you return the new head",
        head_not_returned: "`return model` is missing",
        head_of_a_copy: "you change a copy",
        head_in_another_model: "you put an nn.Sequential together",
        head_behind_the_head: "model.head is an nn.Sequential",
        head_emptied: "the old number of classes: a new",
    },
    "macro_f1": {
        f1_of_nan: "leave such a class out",
        f1_of_nan_precision: "needs neither precision nor recall",
        f1_without_nan_precision: "leave out classes with nothing right",
        f1_by_division: "has no precision",
        f1_as_a_tensor: "you return a tensor",
        f1_of_each: "one number for each class",
    },
    "freeze_except": {
        freeze_pattern_by_pattern: "the order is that of the patterns: go",
        freeze_by_equality: "compared as a letter",
        freeze_a_copy: "nothing has been switched",
        freeze_the_state_dict: "state_dict() gives other tensors",
        freeze_named_twice: "the second undoes the first",
        freeze_by_re: "no regular expressions",
    },
    "lora_linear": {
        lora_without_gradients: "are trained, and no gradient",
        lora_untransposed: "(outputs, inputs)",
        lora_that_asks_the_bias: "`if bias` asks",
        lora_that_needs_a_bias: "may be None",
        lora_from_the_left: "multiply from the right",
        lora_of_rows: "the leading dimensions",
        lora_into_the_weight: "the frozen weight has been changed",
    },
    "layerwise_lr": {
        rates_of_a_short_list: "your list of factors",
        rates_of_a_short_dict: "end one layer too early",
        rates_by_beginnings: "taken for blocks.1",
        rates_of_twelve: "twelve blocks",
        rates_as_numbers_everywhere: "only blocks have a number",
        rates_as_tensors: "a factor is a float",
    },
}

EQUIVALENT = {
    "replace_head": """
        A linear layer does the same in either mode.
            head_in_evaluation_mode_meanwhile: model.eval() ⇒ model
            head_in_evaluation_mode_meanwhile: model.eval() ⇒ pass
        Of the old weight only the width, the type and the device are read.
            head_by_its_parameters: weight = model.head.weight ⇒ weight = model.head.weight.detach()
            head_in_evaluation_mode_meanwhile: weight = model.head.weight ⇒ weight = model.head.weight.detach()
        """,
    "macro_f1": """
        F1 stays what it is when labels and answers change places, and so does a harmonic mean.
            macro_f1: true, said = (labels == k, answers == k) ⇒ said, true = (labels == k, answers == k)
            macro_f1: true, said = (labels == k, answers == k) ⇒ true, said = (answers == k, labels == k)
            f1_by_numpy: np.add.at(counts, (labels.numpy(), answers.numpy()), 1) ⇒ np.add.at(counts, (answers.numpy(), labels.numpy()), 1)
            f1_by_precision_and_recall: precision, recall = (right / answers.tolist().count(k), right / labels.tolist().count(k)) ⇒ precision, recall = (right / labels.tolist().count(k), right / answers.tolist().count(k))
            f1_by_precision_and_recall: precision, recall = (right / answers.tolist().count(k), right / labels.tolist().count(k)) ⇒ recall, precision = (right / answers.tolist().count(k), right / labels.tolist().count(k))
            f1_by_precision_and_recall: right = sum((a == b == k for a, b in zip(labels.tolist(), answers.tolist()))) ⇒ right = sum((a == b == k for a, b in zip(answers.tolist(), labels.tolist())))
            f1_by_precision_and_recall: right = sum((a == b == k for a, b in zip(labels.tolist(), answers.tolist()))) ⇒ right = sum((a == b == k for b, a in zip(labels.tolist(), answers.tolist())))
            f1_by_sklearn: return f1_score(labels, answers, average='macro') ⇒ return f1_score(answers, labels, average='macro')
        So it does when everything is counted twice.
            f1_by_numpy: np.add.at(counts, (labels.numpy(), answers.numpy()), 1) ⇒ np.add.at(counts, (labels.numpy(), answers.numpy()), 2)
        numpy takes tensors as indices, its zeros are of double precision, and its float is one, too.
            f1_by_numpy: return float((2 * counts.diagonal()[either > 0] / either[either > 0]).mean()) ⇒ return (2 * counts.diagonal()[either > 0] / either[either > 0]).mean()
            f1_by_numpy: np.add.at(counts, (labels.numpy(), answers.numpy()), 1) ⇒ np.add.at(counts, (labels, answers.numpy()), 1)
            f1_by_numpy: np.add.at(counts, (labels.numpy(), answers.numpy()), 1) ⇒ np.add.at(counts, (labels.numpy(), answers), 1)
            f1_by_numpy: counts = np.zeros((num_classes, num_classes), dtype=np.float32) ⇒ counts = np.zeros((num_classes, num_classes))
        One number has no dimension that squeeze or mT could change.
            f1_by_whole_tensors: fn = ((labels == k) & (answers != k)).sum() ⇒ fn = ((labels == k) & (answers != k)).sum().mT
            f1_by_whole_tensors: fn = ((labels == k) & (answers != k)).sum() ⇒ fn = ((labels == k) & (answers != k)).sum().squeeze()
            f1_by_whole_tensors: fp = ((labels != k) & (answers == k)).sum() ⇒ fp = ((labels != k) & (answers == k)).sum().mT
            f1_by_whole_tensors: fp = ((labels != k) & (answers == k)).sum() ⇒ fp = ((labels != k) & (answers == k)).sum().squeeze()
            f1_by_whole_tensors: tp = ((labels == k) & (answers == k)).sum() ⇒ tp = ((labels == k) & (answers == k)).sum().mT
            f1_by_whole_tensors: tp = ((labels == k) & (answers == k)).sum() ⇒ tp = ((labels == k) & (answers == k)).sum().squeeze()
        A square of zeros is the same on its side, and there are two classes or more.
            f1_by_numpy: counts = np.zeros((num_classes, num_classes), dtype=np.float32) ⇒ counts = np.zeros((num_classes, num_classes), dtype=np.float32).mT
            f1_by_numpy: counts = np.zeros((num_classes, num_classes), dtype=np.float32) ⇒ counts = np.zeros((num_classes, num_classes), dtype=np.float32).squeeze()
            f1_by_numpy: either = counts.sum(0) + counts.sum(1) ⇒ either = (counts.sum(0) + counts.sum(1)).squeeze()
        """,
    "freeze_except": """
        Each parameter comes again with each module that it is in, always under its whole name.
            freeze_module_by_module: for own, parameter in module.named_parameters(recurse=False): ⇒ for own, parameter in module.named_parameters():
            freeze_module_by_module: for own, parameter in module.named_parameters(recurse=False): ⇒ for own, parameter in module.named_parameters(recurse=True):
        """,
    "lora_linear": """
        The weight is frozen.
            lora_by_einsum: return F.linear(x, weight.detach(), bias) + detour ⇒ return F.linear(x, weight, bias) + detour
        A product takes any number of dimensions.
            lora_of_one_matrix: flat = x.reshape(-1, x.shape[-1]) ⇒ flat = x
        What follows gives the result its shape.
            lora_of_one_matrix: y = flat @ (weight + scale * up @ down).T ⇒ y = (flat @ (weight + scale * up @ down).T).squeeze()
        """,
    "layerwise_lr": """
        The last of the list is never read.
            rates_as_timm_counts: scales = [decay ** (layers - i) for i in range(layers + 1)] ⇒ scales = [decay ** (layers - i) for i in range(layers + 2)]
        One number has no dimension that squeeze or mT could change.
            rates_block_by_block: lowest = torch.tensor(decay) ** (depth + 1) ⇒ lowest = (torch.tensor(decay) ** (depth + 1)).mT
            rates_block_by_block: lowest = torch.tensor(decay) ** (depth + 1) ⇒ lowest = (torch.tensor(decay) ** (depth + 1)).squeeze()
        """,
}
