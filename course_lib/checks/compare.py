"""Two results side by side: whether they are the same, and what differs first."""

import operator

import torch

from course_lib.checks.watch import Raised, Returned, described
from course_lib.words import one_line

# By how much an answer may differ from the oracle: the rounding of float32, also where a number like
# torch.tensor(0.5) has entered a computation in float64.
TOLERANCE = 1e-5


def difference(wanted, given) -> str:
    """What differs first between a right result and another, in a few words; "" if they are the same to rounding."""
    if isinstance(wanted, dict):
        return _difference_of_dicts(wanted, given)
    if isinstance(wanted, int):
        return _difference_of_ints(wanted, given)
    if not isinstance(given, torch.Tensor):
        return f"expected a tensor, got {described(given)}"
    if not given.is_nested and given.shape != wanted.shape:
        return f"expected shape {tuple(wanted.shape)}, got {tuple(given.shape)}"
    if given.device != wanted.device or not is_dense(given):
        kind = "nested" if given.is_nested else given.layout
        return f"expected a dense tensor on {wanted.device}, got a tensor ({kind}) on {given.device}"
    if given.dtype != wanted.dtype:
        return f"expected {wanted.dtype}, got {given.dtype}"
    right = near(wanted, given)
    if right.all():
        return ""
    index = tuple(int(i) for i in (~right).nonzero()[0])
    name = f"at index {list(index)} " if index else ""
    return f"{name}expected {{}}, got {{}}".format(*_told_apart(wanted[index].item(), given[index].item()))


def alike(a, b, words_count: bool = True) -> bool:
    """Whether two outcomes are the same: the same numbers in the same shapes, or an error of the same kind and words."""
    if isinstance(a, Raised) or isinstance(b, Raised):
        return type(a) is type(b) and a.kind is b.kind and (a.text == b.text or not words_count)
    if a.changed != b.changed:
        return False
    a, b = as_tuple(a.value), as_tuple(b.value)
    return len(a) == len(b) and all(_same_numbers(x, y) for x, y in zip(a, b, strict=True))


def gradient_problem(right, outcome, parts) -> tuple[str, str]:
    """How the gradients of an outcome differ from the right ones, and what to do; ("", "") if they do not.

    What is compared is the gradient of a random weighting of all results, with respect to each input that asks for
    one. It is not asked where the right one is nan, as behind the root of 0.
    """
    if not any(wanted.requires_grad for wanted in _of(right)):
        return "", ""
    for part, w, g in zip(parts, as_tuple(right.value), as_tuple(outcome.value), strict=True):
        if any(x.requires_grad and not y.requires_grad for x, y in zip(tensors([w]), tensors([g]), strict=True)):
            return f"{'the result' if len(parts) == 1 else part} carries no gradient", CUT
    try:
        wanted, given = gradients(right), gradients(outcome)
    except RuntimeError as error:  # a step back fails where something was changed in place
        return (
            f"the gradient cannot be computed: {one_line(str(error))}",
            "compute new tensors, and change none in place.",
        )
    for name, gradient in wanted.items():
        scale = gradient.abs().nan_to_num().amax() if gradient.numel() else 0
        far = ~torch.isclose(given[name], gradient, rtol=1e-3, atol=1e-4 * (1 + float(scale))) & gradient.isfinite()
        if far.any():
            if given[name][far].isnan().any():
                return f"the numbers are right, their gradient with respect to {name} is nan", NAN
            if scale and not given[name].any():
                return f"no gradient reaches {name}", CUT
            index = tuple(far.nonzero()[0].tolist())
            expected, got = _told_apart(gradient[index].item(), given[name][index].item())
            return (
                f"the numbers are right, their gradient with respect to {name} is not: at index {list(index)} expected {expected}, got {got}",
                CUT,
            )
    return "", ""


CUT = "it is cut off on the way: compute with the tensors that you are given; .detach(), .data, .item(), .tolist(), numpy, no_grad, nn.Parameter(...) and layers of your own cut it."
NAN = "a step back is 0/0 or inf - inf: choose with torch.where before such a step, not after it."


def _of(outcome):
    return tensors(as_tuple(outcome.value))


def gradients(outcome: Returned) -> dict:
    """{name of an input: the gradient that reaches it}, of those that ask for one.

    Raises:
        RuntimeError: a step back fails.
    """
    if outcome.gradients is not None:
        return outcome.gradients()
    asking = {
        name + inner: tensor
        for name, value in outcome.inputs.items()
        for inner, tensor in (
            {f"[{key!r}]": item for key, item in value.items()} if isinstance(value, dict) else {"": value}
        ).items()
        if isinstance(tensor, torch.Tensor) and tensor.requires_grad
    }
    results = [result for result in _of(outcome) if result.requires_grad]
    if not asking or not results:
        return {}
    draw = torch.Generator().manual_seed(0)
    weights = [torch.randn(result.shape, generator=draw).to(result.dtype) for result in results]
    found = torch.autograd.grad(results, list(asking.values()), weights, retain_graph=True, allow_unused=True)
    return {
        name: torch.zeros_like(tensor) if gradient is None else gradient
        for (name, tensor), gradient in zip(asking.items(), found, strict=True)
    }


def largest_error(right, outcome) -> str:
    """How far a result is off in the numbers, absolutely and relative to the right ones; "" where it is not in these."""
    absolute = relative = 0.0
    wanted, given = _of(right), _of(outcome)
    if len(wanted) != len(given) or any(
        not is_dense(b) or a.shape != b.shape for a, b in zip(wanted, given, strict=True)
    ):
        return ""
    for a, b in zip(wanted, given, strict=True):
        if b.device.type == "meta" or a.is_complex() or b.is_complex() or not a.numel():
            return ""
        a, b = a.detach().double(), b.detach().as_subclass(torch.Tensor).double()
        far = (a - b).abs().where(~near(a, b), 0)
        absolute = max(absolute, far.nan_to_num(nan=torch.inf).max().item())
        relative = max(relative, (far / a.abs()).where(far > 0, 0).nan_to_num(nan=torch.inf).max().item())
    return f"at most {absolute:.3g} off, {relative:.3g} of the right number" if absolute else ""


def is_dense(tensor) -> bool:
    """Whether a tensor has numbers that can be compared one by one: it is not sparse, nested, quantised."""
    return tensor.layout == torch.strided and not tensor.is_nested and not tensor.is_quantized


def as_tuple(value) -> tuple:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def tensors(values) -> list:
    """The tensors in a tuple of results, those of a dict by name."""
    inner = (x for v in values for x in ([v[name] for name in sorted(v)] if isinstance(v, dict) else [v]))
    return [x for x in inner if isinstance(x, torch.Tensor)]


def near(wanted, given):
    """True where two tensors agree, whatever operators a class of the reader's has; nan agrees with nan."""
    wanted, given = (tensor.detach().as_subclass(torch.Tensor) for tensor in (wanted, given))
    return torch.isclose(given, wanted, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def _told_apart(*numbers):
    """Two numbers with as few digits as show that they differ."""
    pairs = ([f"{number:.{digits}g}" for number in numbers] for digits in (6, 9, 12, 17))
    return next((pair for pair in pairs if pair[0] != pair[1]), [str(number) for number in numbers])


def _difference_of_ints(wanted, given):
    try:
        whole = operator.index(given)  # also a whole number of numpy's, or in a tensor
    except TypeError:
        whole = None
    if whole is None or isinstance(given, bool):
        return f"expected a whole number (int), got {described(given)}"
    return "" if whole == wanted else f"expected {wanted}, got {whole}"


def _difference_of_dicts(wanted, given):
    if not isinstance(given, dict):
        return f"expected a dict, got {described(given)}"
    sides = (("missing", wanted.keys() - given.keys()), ("left over", given.keys() - wanted.keys()))
    strange = [
        f"{len(names)} {'name' if len(names) == 1 else 'names'} {what}, {'' if len(names) == 1 else 'among them '}"
        f"{min(map(str, names))[:80]}"
        for what, names in sides
        if names
    ]
    if strange:
        return "; ".join(strange)
    differences = {name: difference(value, given[name]) for name, value in wanted.items()}
    return next((f"{name}: {words}" for name, words in differences.items() if words), "")


def _same_numbers(a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same_numbers(a[name], b[name]) for name in a)
    if isinstance(a, int | float) and isinstance(b, int | float):
        return type(a) is type(b) and a == b
    if not (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)):
        return type(a).__name__ == type(b).__name__  # what another process has described has no other likeness
    if not (is_dense(a) and is_dense(b)):
        return False
    kinds = [(x.shape, x.dtype, x.device, x.requires_grad) for x in (a, b)]
    return kinds[0] == kinds[1] and a.device.type != "meta" and bool(near(a, b).all())
