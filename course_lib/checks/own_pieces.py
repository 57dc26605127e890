"""The reader's own earlier pieces inside an answer, and right ones in the place of those that are not right yet."""

import inspect
from contextlib import contextmanager

from course_lib.checks.watch import definition


@contextmanager
def stand_ins(answer, uses):
    """While this lasts, what the answer and its helpers call by the names in `uses` is right.

    For an answer that is not right with the reader's own pieces: it tells whether these are the reason.

    Args:
        answer: of any kind: a function, a partial, an object that can be called.
        uses: {name: right function}.
    """
    names = getattr(definition(answer), "__globals__", {})
    own = {name: names[name] for name in uses if name in names}
    names.update({name: _in_place_of(own[name], right) if name in own else right for name, right in uses.items()})
    try:
        yield
    finally:
        for name in uses:
            names.pop(name, None)
        names.update(own)


def _in_place_of(own, right):
    """`right`, to be called as `own` is: the reader's parameters keep their names."""

    def stand_in(*args, **kwargs):
        inputs, names = _by_position(own, args, kwargs), inspect.signature(right).parameters
        if inputs is None or len(inputs) > len(names):
            return own(*args, **kwargs)  # it can more than was asked for, and is called so
        return right(**{name: value for name, value in zip(names, inputs, strict=False) if value is not _LEFT_OUT})

    return stand_in


_LEFT_OUT = object()


def _by_position(function, args, kwargs):
    """The arguments of a call in the order of the function's parameters; None if it cannot be called so."""
    try:
        signature = inspect.signature(function)
        given = signature.bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return None
    inputs = [given.get(name, _LEFT_OUT) for name in signature.parameters]
    while inputs and inputs[-1] is _LEFT_OUT:
        inputs.pop()
    return inputs
