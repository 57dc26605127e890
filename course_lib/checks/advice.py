"""What fits every exercise: what an error or the look of a wrong result says, where no known mistake is recognised."""

import ast
import re
import textwrap
from collections.abc import Collection
from itertools import combinations

import torch
import torch.nn.functional as F

from course_lib.checks.compare import TOLERANCE, difference, is_dense, near
from course_lib.words import one_line

# Words of an error: its entry on the page "Errors" (book/errors.yml), and what to do.
ERRORS = {
    r"Can't call numpy\(\) on Tensor|can't convert .* to numpy|'numpy\.ndarray' object": (
        "numpy",
        "numpy leaves PyTorch: its functions have the same names in torch.",
    ),
    r"leaf Variable that requires grad|modified by an inplace operation|a view of a leaf": (
        "in-place",
        "compute a new tensor instead of changing one in place; where a weight is to be changed, do it in `with torch.no_grad():`.",
    ),
    r"'NoneType'|NoneType": (
        "none",
        "something here is None: a function that you call has no `return`, or an attribute is None here.",
    ),
    r"expected scalar type|same dtype|must have the same dtype|dtype .* expected|expected .* dtype|Index put requires": (
        "dtype",
        "two types meet: give a tensor that you make the type of the input, dtype=x.dtype or x.new_zeros(...), and convert nothing on the way.",
    ),
    r"same device|on device|device type": (
        "device",
        "two devices meet: give a tensor that you make the device of the input, device=x.device.",
    ),
    r"Boolean value of Tensor": (
        "ambiguous",
        "a tensor has many truths: use ~, & and | in the place of not, and, or, and torch.where in the place of if.",
    ),
    r"must be Tensor, not (int|float)": (
        "plain-number",
        "this function takes tensors only: math has one for plain numbers, and ** 0.5 is a root too.",
    ),
    r"(but got|must be .*ints?, not) float|'float' object cannot be interpreted as an integer": (
        "float-size",
        "a size is a whole number: divide with //.",
    ),
    r"^KeyError": ("key-error", "print the names that are there."),
    r"view size is not compatible": (
        "view",
        "view joins only what lies side by side in memory: use reshape, which copies where it must.",
    ),
    r"operator\.invert|\(~\) is only implemented|bool tensor is not supported|masked_fill.*bool|where expected condition": (
        "mask-bool",
        "a mask is of type bool: turn it round with ~mask, and make one by comparing, as in x > 0.",
    ),
    r"is invalid for input of size|cannot reshape": (
        "reshape",
        "a reshape keeps all numbers: the sizes that you ask for must multiply to as many as there are.",
    ),
    r"shapes cannot be multiplied|Expected size for first two dimensions": (
        "matmul",
        "in a @ b, the last size of a meets the last but one of b: print both shapes.",
    ),
    r"Sizes of tensors must match except in dimension": (
        "cat",
        "torch.cat joins tensors whose sizes agree in every dimension but `dim`: print their shapes.",
    ),
    r"Tensors must have same number of dimensions": (
        "cat-dims",
        "torch.cat joins tensors of as many dimensions: print their shapes; an index takes a dimension away, and i : i + 1 keeps it.",
    ),
    r"stack expects each tensor to be equal size": (
        "stack",
        "torch.stack takes tensors of one and the same shape: print their shapes.",
    ),
    r"The size of tensor a|must match the size|cannot be broadcast": (
        "size-mismatch",
        "print the shapes of the tensors in this line: they are lined up from the right. If a sum, mean or amax has taken a dimension away, keepdim=True keeps it.",
    ),
    r"name '.*' is not defined": ("name", "run the cell that defines it, or the imports at the top."),
    r"positional arguments? but|missing \d+ required positional": (
        "arguments",
        "a function is called with other arguments than its `def` lists.",
    ),
    r"context manager protocol|^AttributeError: __enter__": (
        "with",
        "a pair of brackets is missing: with torch.no_grad():, for `with` wants an object and not a class.",
    ),
    r"does not require grad": (
        "no-gradient",
        "the gradient is lost on the way: no .detach(), .item(), numpy or no_grad before it.",
    ),
}


# What returns something new and changes nothing. A module is changed by its `float()`, a set by its `add()`.
NEW = {name for name in (*dir(torch.Tensor), *dir(F)) if not name.endswith("_")} | {"replace", "rearrange", "reduce"}
NEW -= {"to", "float", "double", "half", "bfloat16", "cpu", "cuda", "type", "add", "sort", "backward", "retain_grad"}
NEW -= {"register_hook", "register_post_accumulate_grad_hook", "apply"}


def dropped(source: str, pure: Collection[str]) -> str:
    """A hint for an answer with a line whose result goes nowhere, such as x.transpose(1, 2) alone; "" if it has none.

    Args:
        source: the answer's text; where it is no whole statement, nothing is found.
        pure: names of functions of the reader's that return something new.
    """
    try:
        tree = ast.parse(textwrap.dedent(source))
    except SyntaxError:
        return ""
    lines = (node.value for node in ast.walk(tree) if isinstance(node, ast.Expr))
    lost = next((line for line in lines if _makes_something_new(line, pure)), None)
    if lost is None:
        return ""
    what = "`assert` it, or give it a name" if _compares(lost) else "give it a name"
    return f"the result of your line `{one_line(ast.unparse(lost), 80)}` is not kept: {what}."


def _compares(line: ast.expr) -> bool:
    name = line.func.attr if isinstance(line, ast.Call) and isinstance(line.func, ast.Attribute) else ""
    return isinstance(line, ast.Compare) or name in ("allclose", "equal", "isclose", "all", "any")


def _makes_something_new(line: ast.expr, pure: Collection[str]) -> bool:
    if isinstance(line, ast.Attribute):
        return line.attr in ("T", "mT")
    if not isinstance(line, ast.Call):
        return isinstance(line, ast.BinOp | ast.UnaryOp | ast.Compare)
    if isinstance(line.func, ast.Name):
        return line.func.id in (*pure, "rearrange", "reduce", "repeat")
    writes = any(keyword.arg in ("out", "inplace") for keyword in line.keywords)
    return isinstance(line.func, ast.Attribute) and line.func.attr in NEW and not writes


def on_error(raised) -> str:
    """A hint for an answer that raised, from the words of the error; "" if they are none of the usual ones.

    It ends in the name of an entry on the page "Errors", which says more.
    """
    text = f"{raised.kind.__name__}: {raised.text}"
    found = next((entry for words, entry in ERRORS.items() if re.search(words, text)), None)
    return "{1} (Errors: {0})".format(*found) if found else ""


def seen(wanted, given, inputs) -> str:
    """What can be said about a wrong result by looking at it, as a hint; "" if nothing.

    Args:
        wanted, given: the right result and the other, both of any type.
        inputs: {name: value}, from which they were computed.
    """
    if isinstance(wanted, dict):
        if not isinstance(given, dict) or wanted.keys() != given.keys():
            return ""
        name = next(name for name in wanted if difference(wanted[name], given[name]))
        return seen(wanted[name], given[name], inputs)
    if not isinstance(wanted, torch.Tensor):
        return ""
    if not isinstance(given, torch.Tensor):
        return _seen_type(given)
    if not is_dense(given) or given.device != wanted.device:
        return ""
    if given.shape != wanted.shape:
        return _seen_shape(wanted.shape, given.shape, inputs)
    if given.dtype != wanted.dtype:
        return "the type has changed on the way: convert nothing, and give a tensor that you make the type of the input, dtype=x.dtype or x.new_zeros(...)."
    return _seen_numbers(wanted.detach(), given.detach().as_subclass(torch.Tensor), inputs)


def _seen_type(given):
    name = type(given).__name__
    if name == "ndarray":
        return "that is numpy's: stay with PyTorch, its functions have the same names."
    if isinstance(given, (tuple, list)) and len(given) == 1:
        return "it stands in a tuple or list of one: there is a comma or a pair of brackets too many."
    if isinstance(given, torch.nn.Module):
        return "that is a layer: its result, or its weight, is asked for."
    if name in ("function", "method", "builtin_function_or_method", "partial"):
        return "that is a function, not its result: call it."
    if name in ("generator", "map", "filter", "zip"):
        return "that has computed nothing yet: gather its items, with torch.stack or torch.cat."
    if name == "coroutine":
        return "leave `async` out: the check calls your function and does not wait."
    if isinstance(given, int | float):
        return "that is one plain number: stay with tensors, without .item(), float() or sum() of Python."
    return ""


def _seen_shape(wanted, given, inputs):
    if [n for n in wanted if n != 1] == [n for n in given if n != 1]:
        if len(given) < len(wanted):
            return "a dimension of size 1 is missing: keep it with keepdim=True or i : i + 1, bring it back with unsqueeze, and squeeze() without a dim takes every one."
        return "a dimension of size 1 is left over: index it or use squeeze(dim)."
    if sorted(wanted) == sorted(given):
        return "the sizes are right and their order is not: transpose or permute, or look at what was taken apart or joined in another order."
    if torch.Size(wanted).numel() == torch.Size(given).numel():
        return "there are as many numbers as there should be, in other dimensions: which may be joined or split, and in which order must they stand before?"
    if len(wanted) == len(given):
        differing = [d for d in range(len(wanted)) if wanted[d] != given[d]]
        if len(differing) == 1 and abs(wanted[differing[0]] - given[differing[0]]) == 1:
            (d,) = differing
            if any(given[d] in value.shape for value in inputs.values() if isinstance(value, torch.Tensor)):
                return ""  # it may be another dimension
            return f"dimension {d} has one entry too {'many' if given[d] > wanted[d] else 'few'}."
    return ""


def _seen_numbers(wanted, given, inputs):
    bad = ~near(wanted, given)
    for name, value in inputs.items():
        if (
            isinstance(value, torch.Tensor)
            and value.shape == given.shape
            and value.dtype == given.dtype
            and torch.equal(value, given)
        ):
            return f"these are the numbers of `{name}`, as they came in."
    first = given[bad][0] if bad.any() else given.new_zeros(())  # the one that the line speaks of
    if first.isnan():
        return "some numbers are nan, “not a number”: 0/0, inf - inf or the root of a negative number."
    if not wanted.dtype.is_floating_point or wanted.numel() < 4:
        return ""
    if first.isinf():
        return "some numbers are infinite: a division by 0, or an exp of more than the type can hold."
    return _seen_factor(wanted, given, inputs) or _seen_order(wanted, given) or _seen_place(wanted, bad)


def _seen_factor(wanted, given, inputs):
    if (given == 0).all():
        return "all numbers are 0."
    if near(-wanted, given).all():
        return "every number has the wrong sign."
    if (wanted.abs() > 0.1).sum() >= 4:  # of fewer, and of small ones, a factor says little
        for factor in _usual_factors((*wanted.shape, *_sizes_of(inputs))):
            if near(wanted * factor, given).all():
                return f"every number is {factor:.4g} times what it should be."
    shift = (given - wanted).mean()
    if abs(shift) > 100 * TOLERANCE and near(wanted + shift, given).all():
        return f"every number is too {'large' if shift > 0 else 'small'} by {abs(shift):.4g}."
    return ""


def _sizes_of(inputs):
    """The whole numbers among the inputs, and the sizes of the tensors."""
    for value in inputs.values():
        if isinstance(value, torch.Tensor):
            yield from value.shape
        elif isinstance(value, int) and not isinstance(value, bool):
            yield value


def _usual_factors(sizes):
    """Numbers that a reader can have multiplied or divided by: sizes and their roots, and simple fractions."""
    of_sizes = {n**power for n in (*sizes, 255) if n > 1 for power in (1, -1, 0.5, -0.5)}
    return of_sizes | {a / b for a in range(1, 5) for b in range(1, 5) if a != b}


def _seen_order(wanted, given):
    for d in range(wanted.dim()):
        if wanted.shape[d] > 1 and near(wanted, given.flip(d)).all():
            return f"the right numbers stand in reverse order along dimension {d}."
    for i, j in combinations(range(wanted.dim()), 2):
        if wanted.shape[i] == wanted.shape[j] > 1 and near(wanted, given.transpose(i, j)).all():
            return f"dimensions {i} and {j} have changed places: transpose."
    if near(wanted.flatten().sort().values, given.flatten().sort().values).all():
        return "these are the right numbers, in other places: look at the order in which they are put together or laid out."
    return ""


def _seen_place(wanted, bad):
    for d in range(wanted.dim()):
        places = bad.movedim(d, 0).reshape(wanted.shape[d], -1).any(1).nonzero().flatten().tolist()
        if len(places) == 1 and wanted.shape[d] > 2:
            return f"in this example everything is right but index {places[0]} of dimension {d}."
    return ""
