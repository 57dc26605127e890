"""Calling an answer and watching what it does: nothing that it does gets out, and its outcome fits into one line."""

import copy
import inspect
import signal
import sys
import threading
import types
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from dis import opmap
from functools import cache
from pathlib import Path
from typing import Any

import einops
import torch
from torch.nn.modules import module as hooks_of_all
from torch.overrides import TorchFunctionMode, resolve_name

from course_lib.words import one_line

LIMIT = 10  # seconds that one call may compute; where an answer is right it takes a small part of one


@dataclass(frozen=True)
class Returned:
    value: object
    changed: str  # what the call changed outside of itself, or ""
    inputs: dict  # the copies that it was given: gradients are asked for with respect to these
    gradients: Callable[[], dict] | None = None  # gives them, where the call was in another process


@dataclass(frozen=True)
class Raised:
    kind: type
    text: str
    line: str = ""  # the reader's line in which it came up
    by_stub: bool = False  # a `raise` in the answer itself, of its NotImplementedError
    by_check: bool = False  # the check itself found something, and `text` says what


class ShortcutError(Exception):
    """The answer called a ready-made solution instead of writing it out."""


class TooSlowError(BaseException):
    """The answer took too long. No `except Exception` of the reader's catches it."""


def run(function, inputs, forbidden=()):
    """Call `function` on copies of the inputs and say what came of it; nothing outside is disturbed.

    An interrupt goes through, when all is restored.

    Args:
        function: called by position, since the reader may name the parameters otherwise.
        inputs: {name: tensor, dict of tensors, list (it may be used up), or anything that cannot be changed}.
        forbidden: ends of the names of functions that it may not call, such as "softmax" or "LayerNorm.forward".

    Returns:
        `Returned` or `Raised`.
    """
    copies, found = {name: _copy(value) for name, value in inputs.items()}, []
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(torch.enable_grad())
        before = _world()
        stack.callback(_restore, before)
        try:
            with _time_limit(LIMIT), _calls_seen(forbidden, found) if forbidden else nullcontext():
                value = function(*copies.values())
        except (Exception, SystemExit, GeneratorExit, TooSlowError) as error:  # the reader's code may raise anything
            _forget_einops_recipes()
            outcome = raised(error, function)
        else:
            for part in value if isinstance(value, (tuple, list)) else (value,):
                if inspect.iscoroutine(part):
                    part.close()  # or Python warns, later and elsewhere, that nobody waited for it
            outcome = Returned(value, _changed(before, _world()) or _changed_inputs(inputs, copies), copies)
    return Raised(ShortcutError, found[0]) if found else outcome


def described(value) -> str:
    """The type of a value and how it begins, whatever its `__repr__` does."""
    try:
        return f"{type(value).__name__} {one_line(str(value), 40)!r}"
    except Exception:  # the reader's class may fail at being printed
        return type(value).__name__


def definition(function: Any) -> types.FunctionType | None:
    """The Python function that an answer is, or that it is made of: behind partials, decorators, methods, classes.

    None where there is none, as for a function that is built in.
    """
    while True:
        if hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif isinstance(function, types.FunctionType):
            return function
        elif hasattr(function, "func"):  # functools.partial
            function = function.func
        elif hasattr(function, "__func__"):  # a method
            function = function.__func__
        elif isinstance(function, torch.nn.Module):
            function = type(function).forward
        elif inspect.isfunction(type(function).__call__):
            function = type(function).__call__
        else:
            return None


def raised(error: BaseException, function: Any) -> Raised:
    """What came up in a call of `function`, where in the reader's own code, and whether it is a stub's."""
    try:
        text = one_line(str(error)) or "no message"
    except Exception:  # an error of the reader's own may fail at being printed
        text = "no message"
    if isinstance(error, TooSlowError):
        text = f"no answer after {LIMIT} seconds of computing"
    own = getattr(definition(function), "__code__", None)
    frames = [frame for frame in _frames(error) if frame.tb_frame.f_code.co_filename != __file__]
    mine = [f for f in frames if own and f.tb_frame.f_code.co_filename == own.co_filename]
    context = inspect.getframeinfo(mine[-1]).code_context if mine else None
    line = one_line(context[0], 120) if context else ""
    if not frames:  # it could not even be called
        return Raised(type(error), text)
    last = frames[-1].tb_frame.f_code  # PyTorch raises NotImplementedError too, but no `raise` stands there
    raises = last.co_code[frames[-1].tb_lasti] == opmap["RAISE_VARARGS"]
    stub = type(error) is NotImplementedError and raises and (own is None or last is own)
    return Raised(type(error), text, line, stub, raises and Path(last.co_filename).parent == Path(__file__).parent)


def _frames(error):
    traceback = error.__traceback__
    while traceback:
        yield traceback
        traceback = traceback.tb_next


@contextmanager
def _time_limit(seconds):
    """Stop what computes longer, however busy the machine is. Outside of the main thread and on Windows there is no
    such clock: there, interrupt by hand."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number, frame):
        raise TooSlowError

    handler = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)


@contextmanager
def _calls_seen(forbidden, found):
    """Put into `found` which forbidden functions are called, by whatever name: PyTorch's, and those of this course."""

    @cache  # the same few names come thousands of times
    def is_forbidden(name):
        return any(name == end or name.endswith(f".{end}") for end in forbidden)

    def note(name):
        if is_forbidden(name):
            found.append(name)

    class Operators(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            note(_name_of(function))
            return function(*args, **(kwargs or {}))

    def watch(frame, event, _):
        if event == "call" and (name := frame.f_globals.get("__name__") or "").startswith(("torch.nn.", "course_lib.")):
            caller = frame.f_back.f_globals.get("__name__") or ""
            # A scene's own functions are called by PyTorch, as hooks and modules.
            own = ("course_lib.checks.", "torch.") if name.startswith("course_lib.checks.") else "course_lib.checks."
            if not caller.startswith(own):
                note(f"{name}.{frame.f_code.co_qualname}")

    before = sys.getprofile()
    with Operators():
        sys.setprofile(watch)
        try:
            yield
        finally:
            sys.setprofile(before)


@cache
def _name_of(function):
    """The name of an operator of PyTorch's, without the underscore of those that are not for everybody."""
    schema = getattr(function, "_schema", None)  # of torch.ops.aten.softmax.int and its like
    name = schema.name.replace("::", ".") if schema else resolve_name(function) or function.__name__
    path, dot, last = name.rpartition(".")
    return path + dot + last.lstrip("_")


def _world():
    """What a function can change outside of itself, and others would notice: {its name: how it is}."""
    return {
        "whether gradients are recorded (torch.set_grad_enabled)": torch.is_grad_enabled(),
        "the default dtype": torch.get_default_dtype(),
        "the default device": torch.get_default_device(),
        "the hooks of all modules": {name: dict(hooks) for name, hooks in _global_hooks().items()},
    }


def _global_hooks():
    known = vars(hooks_of_all)
    return {name: value for name, value in known.items() if name.startswith("_global_") and isinstance(value, dict)}


def _changed(before, after):
    return next((name for name in before if before[name] != after[name]), "")


def _restore(world):
    grad, dtype, device, hooks = world.values()
    torch.set_grad_enabled(grad)
    torch.set_default_dtype(dtype)
    if torch.get_default_device() != device:
        torch.set_default_device(None if device.type == "cpu" else device)
    for name, value in _global_hooks().items():
        if value != hooks[name]:
            value.clear()
            value.update(hooks[name])


def _changed_inputs(inputs, copies):
    for name, value in inputs.items():
        if not _same(value, copies[name]):
            return f"its input {name} in place"
        if _wants_gradient(value) != _wants_gradient(copies[name]):
            return f"`requires_grad` of its input {name}"
    return ""


def _wants_gradient(value):
    if isinstance(value, dict):
        return {name: _wants_gradient(item) for name, item in value.items()}
    return isinstance(value, torch.Tensor) and value.requires_grad


def _copy(value):
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    return copy.copy(value) if isinstance(value, list) else value


def _same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else isinstance(a, list) or a == b


def _forget_einops_recipes():
    """einops remembers a failed call with H=3.0 as one with H=3, and would fail for all that come after."""
    recipes = getattr(einops.einops, "_reconstruct_from_shape", None)
    if recipes is not None:
        recipes.cache_clear()
