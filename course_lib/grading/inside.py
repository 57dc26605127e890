"""What runs inside the learner's kernel: it calls an answer with the inputs that it is sent, and says what came of it.

It knows nothing of what is right. The inputs are made, and everything is compared, in the process that asks.
"""

import json
from typing import Any

import torch
from IPython.core.getipython import get_ipython

from course_lib.checks import catalogue
from course_lib.checks.exercise import Exercise, Here
from course_lib.checks.pieces import load_piece
from course_lib.checks.watch import Raised, TooSlowError, definition, described
from course_lib.grading.agreed import ANSWER
from course_lib.grading.plain import decode, encode_outcome

LONGEST = 8_000_000  # characters; what an exercise gives has at most some 100,000


def reply(nonce: str, question: str) -> None:
    """Answer a question (JSON), once, under the name that it was given."""
    shell = get_ipython()
    assert shell is not None  # only a kernel calls this
    told = json.dumps(answer(json.loads(question), shell.user_ns))
    if len(told) > LONGEST:
        told = json.dumps({"none": "what it returns is far larger than it should be"})
    shell.display_pub.publish({ANSWER: {"nonce": nonce, "answer": told}})


def answer(question: dict, names: dict) -> dict:
    """What came of calling the answer to an exercise with each of the inputs, up to one that takes too long.

    Args:
        question: {"exercise", "inputs": [{name: plain value}], "judged": whether ready-made answers are refused, "right":
            whether right earlier pieces stand in for the learner's, "draw": a seed for what it draws}.
        names: the notebook's.

    Returns:
        {"outcomes": [...], "source": the answer's text}, or {"none": why there is nothing to be called}.
    """
    exercise = catalogue.find(question["exercise"])
    if exercise.name not in names:
        return {"none": f"`{exercise.name}` is not defined"}
    candidate = names[exercise.name]
    if not callable(candidate):
        return {"none": f"expected a function, got {described(candidate)}"}
    if whose := _borrowed(candidate):
        return {"none": f"`{exercise.name}` is {whose}, that is the ready-made answer; here you write your own"}
    here, outcomes = Here(exercise.staged(candidate)), []
    forbidden = (*exercise.forbidden, exercise.name, *_ready_made(exercise)) if question["judged"] else ()
    with _as_at_the_start(), here.with_right(exercise.on_stage.uses if question["right"] else {}):
        for inputs in question["inputs"]:
            given = {name: decode(value) for name, value in inputs.items()}
            outcome = here.run(given, forbidden, question["draw"])
            outcomes.append(encode_outcome(outcome))
            if isinstance(outcome, Raised) and outcome.kind is TooSlowError:
                break
    return {"outcomes": outcomes, "source": Here(candidate).source()[:100_000]}


class _as_at_the_start:
    """The switches of PyTorch's as they are at first, whatever a cell has set, and back again."""

    def __enter__(self):
        self.before = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.set_grad_enabled(True)

    def __exit__(self, *_):
        dtype, device, grad = self.before
        torch.set_default_dtype(dtype)
        torch.set_default_device(None if device.type == "cpu" else device)
        torch.set_grad_enabled(grad)


def _borrowed(candidate: Any) -> str:
    """The course's function that a candidate is, if it is none of the learner's."""
    written = definition(candidate)
    module = (getattr(written, "__globals__", None) or {}).get("__name__") or ""
    return f"{module}.{written.__qualname__}" if written and module.startswith("course_lib.") else ""


def _ready_made(exercise: Exercise) -> list[str]:
    """The functions beside an exercise's record, which may be right answers; but not those it may build on."""
    module = definition(exercise.oracle).__globals__  # pyright: ignore[reportOptionalMemberAccess]
    place = module.get("__name__", "")
    if not place.startswith("course_lib.checks."):
        place, module = "", {}
    allowed = {getattr(definition(right), "__code__", None) for right in exercise.uses.values()}
    found = {f"{place}.{name}" for name, value in module.items() if _is_own(value, place, allowed)}
    lambdas = {code for code in allowed if code and code.co_name == "<lambda>"}
    return sorted(found | (set() if lambdas or not place else {f"{place}.<lambda>"}))


def _is_own(value: Any, place: str, allowed: set) -> bool:
    code = getattr(value, "__code__", None)
    return code is not None and getattr(value, "__module__", "") == place and code not in allowed


def take_piece(name: str, sources: dict[str, str]) -> None:
    """Put a piece, which stands as a text beside others, into the notebook under its name."""
    shell = get_ipython()
    assert shell is not None
    shell.user_ns[name] = load_piece(name, sources)
