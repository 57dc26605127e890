"""Inputs and outcomes as plain data, to be sent between two processes: JSON with the bytes of numbers, never a pickle.

What comes back from a learner's process is only data. Whatever is odd in it is an error, and nothing of it is executed.
"""

import base64
import math
import operator
import sys
from typing import Any

import torch

from course_lib.checks.compare import gradients, is_dense
from course_lib.checks.watch import Raised, Returned, described
from course_lib.checks.written_test import Rulings
from course_lib.words import one_line

DEPTH, ITEMS, NUMBERS, TEXT = 4, 10_000, 20_000, 4_000  # above what any exercise gives; of a larger one the shape goes
DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}
PLAIN = (type(None), bool, int, float, str)


class NotPlainError(ValueError):
    """What came from the other process is not what was agreed on."""


def encode(value: Any, depth: int = 0) -> dict[str, Any]:
    """A value as plain data: tensors with their numbers, what is no data by its type and how it begins."""
    if isinstance(value, torch.Tensor):
        return _encode_tensor(value)
    if type(value) in PLAIN and not (isinstance(value, int) and abs(value) >= 1 << 63):
        return {"is": "plain", "value": value[:TEXT] if isinstance(value, str) else value}
    if isinstance(value, tuple | list | dict) and depth < DEPTH and len(value) <= ITEMS:
        if isinstance(value, dict):
            pairs = [[_key(key), encode(item, depth + 1)] for key, item in value.items()]
            return {"is": "dict", "items": pairs}
        kind = "tuple" if isinstance(value, tuple) else "list"
        told = {"is": kind, "items": [encode(item, depth + 1) for item in value]}
        return told | {"is": "rulings", "lines": value.lines} if isinstance(value, Rulings) else told
    thing: dict[str, Any] = {"is": "thing", "type": type(value).__name__, "text": _beginning(value)}
    thing["module"] = isinstance(value, torch.nn.Module)
    try:
        return thing | {"index": int(operator.index(value))}  # pyright: ignore[reportArgumentType] (tried)
    except Exception:  # whatever the reader's class does
        return thing


def _key(key: Any) -> Any:
    return key if type(key) in PLAIN else described(key)


def _beginning(value: Any) -> str:
    try:
        return one_line(str(value), 40)
    except Exception:  # the reader's class may fail at being printed
        return ""


def _encode_tensor(value: torch.Tensor) -> dict:
    """Read past whatever a class of the reader's makes of torch's functions."""
    with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
        told: dict[str, Any] = {
            "is": "tensor",
            "dtype": str(value.dtype),
            "device": str(value.device),
            "layout": str(value.layout),
        }
        told |= {"grad": value.requires_grad, "nested": value.is_nested, "quantized": value.is_quantized}
        told["shape"] = [] if value.is_nested else list(value.shape)
        if not is_dense(value) or value.device.type != "cpu" or value.is_complex() or value.numel() > NUMBERS:
            return told
        numbers = value.detach().as_subclass(torch.Tensor).resolve_neg()
        if not numbers.is_contiguous():
            told["strides"] = list(numbers.stride())
        wide = torch.float64 if numbers.is_floating_point() else torch.int64
        data = numbers.to(wide).contiguous().numpy().tobytes()
    return told | {"numbers": base64.b64encode(data).decode()}


def decode(data: Any, depth: int = 0) -> Any:
    """The value that `encode` was given; for what is no data something that looks as it did.

    Raises:
        NotPlainError: it was not made by `encode`.
    """
    try:
        kind = data["is"]
        if kind == "plain" and type(data["value"]) in PLAIN:
            return data["value"]
        if kind == "tensor":
            return _decode_tensor(data)
        if kind == "thing":
            return _thing(str(data["type"]), str(data["text"]), bool(data["module"]), data.get("index"))
        if kind == "rulings":
            lines = {str(name): one_line(str(line)) for name, line in data["lines"].items()}
            return Rulings.of([int(item["value"]) for item in data["items"]], lines)
        if kind in ("tuple", "list", "dict") and depth < DEPTH and len(data["items"]) <= ITEMS:
            if kind == "dict":
                return {key: decode(item, depth + 1) for key, item in data["items"]}
            items = [decode(item, depth + 1) for item in data["items"]]
            return tuple(items) if kind == "tuple" else items
    except NotPlainError:
        raise
    except Exception as error:  # anything may have come
        raise NotPlainError(f"{type(error).__name__}: {error}") from None
    raise NotPlainError(f"unknown: {kind!r}")


def _decode_tensor(data: dict) -> torch.Tensor:
    dtype, shape = DTYPES[data["dtype"]], [int(size) for size in data["shape"]]
    if "numbers" not in data:
        return _hollow(data, dtype, shape)
    count = math.prod(shape)
    content = base64.b64decode(data["numbers"], validate=True)
    if count > NUMBERS or min(shape, default=0) < 0 or len(content) != 8 * count:
        raise NotPlainError(f"{len(content)} bytes for shape {shape}")
    wide = torch.float64 if dtype.is_floating_point else torch.int64
    value = torch.frombuffer(bytearray(content), dtype=wide) if count else torch.empty(0, dtype=wide)
    value = value.reshape(shape).to(dtype)
    if strides := data.get("strides"):
        value = _laid_out(value, [int(step) for step in strides])
    return value.requires_grad_(bool(data["grad"]) and dtype.is_floating_point)


def _laid_out(value: torch.Tensor, strides: list[int]) -> torch.Tensor:
    """The same numbers in the order in memory that the strides say, where that is a permutation of dimensions."""
    order = sorted(range(value.dim()), key=lambda d: -strides[d])
    return value.permute(order).contiguous().permute([order.index(d) for d in range(value.dim())])


def _hollow(data: dict, dtype: torch.dtype, shape: list[int]) -> torch.Tensor:
    """A tensor of that kind with no numbers in it, to be named in a message."""
    if data["nested"]:
        return torch.nested.nested_tensor([torch.zeros(1)])
    if data["quantized"]:
        return torch.quantize_per_tensor(torch.zeros(1), 1.0, 0, torch.quint8)
    if "sparse" in data["layout"]:
        return torch.empty(shape, dtype=dtype, layout=torch.sparse_coo)
    if dtype.is_complex and math.prod(shape) <= NUMBERS and data["device"] == "cpu":
        return torch.zeros(shape, dtype=dtype)
    return torch.empty(shape, dtype=dtype, device="meta")  # takes no memory, however large it says that it is


def _thing(name: str, text: str, module: bool, index: Any) -> Any:
    """An object of a class of that name that prints as the other did, and counts where the other did."""
    known: dict[str, Any] = {"__str__": lambda self: text, "__repr__": lambda self: text}
    if isinstance(index, int):
        known["__index__"] = lambda self: index
    return type(name or "object", (torch.nn.Module,) if module else (), known)()


def encode_outcome(outcome: Returned | Raised) -> dict:
    """What came of a call, as plain data, with the gradients that reach the inputs."""
    if isinstance(outcome, Raised):
        kind = outcome.kind
        return {
            "raised": [kind.__module__, kind.__name__],
            "text": outcome.text,
            "line": outcome.line,
            "by_stub": outcome.by_stub,
            "by_check": outcome.by_check,
        }
    told = {"returned": encode(outcome.value), "changed": outcome.changed}
    try:
        found = gradients(outcome)
    except Exception as error:  # a step back may fail in any way
        return told | {"no_gradients": one_line(str(error))}
    return told | {"gradients": {name: _encode_tensor(gradient) for name, gradient in found.items()}}


def decode_outcome(data: Any) -> Returned | Raised:
    """The outcome that `encode_outcome` was given.

    Raises:
        NotPlainError: it was not made by `encode_outcome`.
    """
    try:
        if "raised" in data:
            text, line = (one_line(str(data[name])) for name in ("text", "line"))
            kind = _error_kind(*map(str, data["raised"]))
            return Raised(kind, text, line, data["by_stub"] is True, data["by_check"] is True)
        reached = {str(name): decode(gradient) for name, gradient in data.get("gradients", {}).items()}
        if not all(isinstance(gradient, torch.Tensor) for gradient in reached.values()):
            raise NotPlainError("a gradient is no tensor")
        changed = one_line(str(data["changed"]))
        return Returned(decode(data["returned"]), changed, {}, lambda: _told(reached, data.get("no_gradients")))
    except NotPlainError:
        raise
    except Exception as error:  # anything may have come
        raise NotPlainError(f"{type(error).__name__}: {error}") from None


def _told(reached: dict, failed: Any) -> dict:
    if failed is not None:
        raise RuntimeError(one_line(str(failed)))
    return reached


def _error_kind(module: str, name: str) -> type:
    """The class of that error, if it is Python's, PyTorch's or the course's; else one of the same name."""
    of = {"torch", "einops", "numpy", "course_lib"} | sys.stdlib_module_names
    known = sys.modules.get(module) if module.partition(".")[0] in of else None
    kind = getattr(known, name, None)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return kind
    return type(name or "Exception", (Exception,), {})
