"""Answers to the exercises of the page *Practise here*, as readers write them into it: texts, for another Python runs them.

RIGHT: implementations other than the page's own. WRONG: beside the records' known mistakes, mistakes that are written in
another way, each with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too.
"""

RIGHT = {
    "softmax": (
        """
import math

def softmax(scores):
    weights = []
    for s in scores:
        total = 0
        for other in scores:
            total += math.exp(min(other - s, 700))
        weights.append(1 / total)
    return weights
""",
        """
from math import exp

def softmax(scores):
    top = sorted(scores)[-1]
    weights = list(map(lambda s: exp(s - top), scores))
    return tuple(w / sum(weights) for w in weights)
""",
    ),
    "attention_row": (
        """
import math

def softmax(scores):
    m = max(scores)
    e = [math.exp(s - m) for s in scores]
    return [x / sum(e) for x in e]

def dot(a, b):
    return sum(x * y for x, y in zip(a, b))

def attention_row(query, keys, values):
    weights = softmax([dot(query, key) / math.sqrt(len(key)) for key in keys])
    return [dot(weights, column) for column in zip(*values)]
""",
    ),
    "online_softmax": (
        """
import math

def online_softmax(maximum, total, block):
    for score in block:
        if score > maximum:
            total = total * math.exp(maximum - score) + 1
            maximum = score
        else:
            total += math.exp(score - maximum)
    return [maximum, total]
""",
    ),
    "patch_index": (
        """
def patch_index(channel, row, column, width, patch_size):
    across = width // patch_size
    (down, y), (right, x) = divmod(row, patch_size), divmod(column, patch_size)
    return across * down + right, (channel * patch_size + y) * patch_size + x
""",
    ),
    "count_parameters": (
        """
def linear(inputs, outputs):
    return inputs * outputs + outputs

def count_parameters(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    total = linear(in_chans * patch_size * patch_size, dim) + dim + ((img_size // patch_size) ** 2 + 1) * dim
    for _ in range(depth):
        total += 4 * dim + linear(dim, 3 * dim) + linear(dim, dim) + linear(dim, mlp_dim) + linear(mlp_dim, dim)
    return total + 2 * dim + linear(dim, num_classes)
""",
    ),
    "encoder_macs": (
        """
def encoder_macs(tokens, dim, depth, mlp_dim):
    weights = 4 * dim * dim + 2 * dim * mlp_dim
    return depth * tokens * (weights + 2 * tokens * dim)
""",
    ),
    "warmup_cosine_lr": (
        """
from math import cos, pi

def warmup_cosine_lr(step, total_steps, warmup_steps, peak):
    if step >= warmup_steps:
        return peak * cos(pi / 2 * (step - warmup_steps) / (total_steps - warmup_steps)) ** 2
    return peak / warmup_steps + step * peak / warmup_steps
""",
    ),
    "macro_f1": (
        """
def macro_f1(labels, answers, num_classes):
    seen = set(labels) | set(answers)
    total = 0
    for k in seen:
        tp = fp = fn = 0
        for label, answer in zip(labels, answers):
            tp += label == k and answer == k
            fp += label != k and answer == k
            fn += label == k and answer != k
        total += 2 * tp / (2 * tp + fp + fn)
    return total / len(seen)
""",
    ),
}

WRONG = {
    "softmax": {
        """
from math import exp

def softmax(scores):
    total = 0
    for s in scores:
        total += exp(s)
    return [exp(s) / total for s in scores]
""": "overflows for scores near 900",
        """
def softmax(scores):
    return [s / sum(scores) for s in scores]
""": "take the exponential first",
    },
    "attention_row": {
        """
from math import exp

def attention_row(query, keys, values):
    scores = [sum(a * b for a, b in zip(query, key)) for key in keys]
    e = [exp(s - max(scores)) for s in scores]
    w = [x / sum(e) for x in e]
    return [sum(a * v[i] for a, v in zip(w, values)) for i in range(len(values[0]))]
""": "the scale is missing",
    },
    "online_softmax": {
        """
from math import exp

def online_softmax(maximum, total, block):
    new = max([maximum] + block)
    for score in block:
        total += exp(score - new)
    return new, total
""": "the old total was summed with the old maximum",
    },
    "patch_index": {
        """
def patch_index(channel, row, column, width, patch_size):
    p = patch_size
    return row // p * (width // p) + column // p, channel * p * p + column % p * p + row % p
""": "you go down the columns",
    },
    "count_parameters": {
        """
def count_parameters(img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim):
    n = (img_size // patch_size) ** 2
    block = 4 * dim + 4 * dim * dim + 4 * dim + 2 * dim * mlp_dim + mlp_dim + dim
    return in_chans * patch_size**2 * dim + dim + dim + (n + 1) * dim + depth * block + dim * num_classes + num_classes
""": "the last norm is missing",
    },
    "encoder_macs": {
        """
def encoder_macs(tokens, dim, depth, mlp_dim):
    return depth * tokens * (4 * dim * dim + 2 * dim * mlp_dim)
""": "the part that grows with the square of the tokens is missing",
    },
    "warmup_cosine_lr": {
        """
from math import cos, pi

def warmup_cosine_lr(step, total_steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * step / warmup_steps
    return peak / 2 * (1 + cos(pi * (step - warmup_steps) / (total_steps - warmup_steps)))
""": "step 0 gets a rate of 0",
    },
    "macro_f1": {
        """
def macro_f1(labels, answers, num_classes):
    right = [a == b for a, b in zip(labels, answers)]
    return sum(right) / len(right)
""": "that is the accuracy",
    },
}

EQUIVALENT = {
    "softmax": {
        "total += math.exp(min(other - s, 700)) ⇒ total += math.exp(min(other - s, 701))": "1 / e^700 is 0 to rounding",
        "total += math.exp(min(other - s, 700)) ⇒ total += math.exp(min(other - s, 699))": "1 / e^699 is 0 to rounding",
    },
    "attention_row": {
        "weights = softmax([dot(query, key) / math.sqrt(len(key)) for key in keys]) ⇒ weights = softmax([dot(key, query) / math.sqrt(len(key)) for key in keys])": "a dot product has no order",
        "return [dot(weights, column) for column in zip(*values)] ⇒ return [dot(column, weights) for column in zip(*values)]": "a dot product has no order",
    },
    "online_softmax": {"if score > maximum: ⇒ if score >= maximum:": "of two that are equal either may be the maximum"},
}
