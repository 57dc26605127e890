"""How answers are judged, whatever the exercise: with the reader's own pieces, by value, in one line, without traces."""

import contextlib
import functools
import signal
import threading
import time
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.checks import EXERCISES, watch
from course_lib.checks.exercise import Exercise, Mistake, normal, single

SOFTMAX, WEIGHTS = EXERCISES["softmax"], EXERCISES["attention_weights"]
ATTENTION, MASKED = EXERCISES["scaled_dot_product_attention"], EXERCISES["masked_attention"]


def notebook(code, **given):
    """The names of a notebook in which `code` was run."""
    names = {"torch": torch, "F": F, "nn": nn, "functools": functools, **given}
    exec(code, names)
    return types.SimpleNamespace(**names)


OWN = """
def softmax(s, axis=-1):
    e = torch.exp(s - s.amax(axis, keepdim=True))
    return e / e.sum(axis, keepdim=True)
"""
STUB = """
def softmax(scores, dim=-1):
    ...
"""
UNFINISHED = """
def softmax(scores, dim=-1):
    raise NotImplementedError("later")
"""
WRONG = """
def softmax(s, axis=-1):
    return torch.exp(s) / torch.exp(s).sum()
"""
CALLS = {
    "by the reader's own name": """
def attention_weights(q, k):
    return softmax(q @ k.mT / q.shape[-1] ** 0.5, axis=-1)
""",
    "from a helper": """
def to_weights(scores):
    return softmax(scores, -1)

def attention_weights(q, k):
    return to_weights(q @ k.mT / q.shape[-1] ** 0.5)
""",
    "decorated": """
def logged(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args)
    return inner

@logged
def attention_weights(q, k):
    return softmax(q @ k.mT / q.shape[-1] ** 0.5)
""",
    "a class": """
class Weights:
    def __call__(self, q, k):
        return softmax(q @ k.mT / q.shape[-1] ** 0.5)

attention_weights = Weights()
""",
    "a module": """
class Weights(nn.Module):
    def forward(self, q, k):
        return softmax(q @ k.mT / q.shape[-1] ** 0.5)

attention_weights = Weights()
""",
    "a partial": """
def weights(scale, q, k):
    return softmax(q @ k.mT / q.shape[-1] ** scale)

attention_weights = functools.partial(weights, 0.5)
""",
    "a lambda": """
attention_weights = lambda q, k: softmax(q @ k.mT / q.shape[-1] ** 0.5)
""",
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "piece", [OWN, STUB, UNFINISHED, WRONG, ""], ids=["own", "stub", "unfinished", "wrong", "none"]
)
def test_an_answer_may_build_on_earlier_ones(piece, call):
    """On the reader's own where it is right, on a right one where it is not, wherever it is called from."""
    if call == "by the reader's own name" and piece not in (OWN, WRONG):
        pytest.skip("there is no piece with such a name")
    names = notebook(piece + CALLS[call])
    before = getattr(names, "softmax", None)
    verdict = WEIGHTS.judge(names.attention_weights)
    assert verdict.status == "passed", verdict.line
    assert getattr(names, "softmax", None) is before


def test_a_piece_that_can_do_more_is_used_as_it_is():
    names = notebook("""
def attention_weights(query, key, mask=None):
    scores = query @ key.mT / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1) if mask is None else scores.softmax(-1) * mask

def masked_attention(query, key, value, mask):
    weights = attention_weights(query, key, mask)
    return weights @ value, weights
""")
    assert MASKED.judge(names.masked_attention).status == "passed"


BLOCK = """
def encoder_block(x, params, num_heads):
    def normed(x, name):
        return layer_norm(x, params[f"{name}.weight"], params[f"{name}.bias"])

    x = x + self_attention(normed(x, "norm1"), params, num_heads)
    mlp_params = [params[f"mlp.{name}"] for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")]
    return x + mlp(normed(x, "norm2"), *mlp_params)
"""
SPOILED = {
    "another default": "return F.layer_norm(x, x.shape[-1:], weight, bias, 1e-5)",
    "in place": "x -= x.mean(-1, keepdim=True)\n    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)",
    "without gradients": "with torch.no_grad():\n        return F.layer_norm(x, x.shape[-1:], weight, bias, eps)",
    "float32": "return F.layer_norm(x.float(), x.shape[-1:], weight.float(), bias.float(), eps)",
}


@pytest.mark.parametrize("body", SPOILED.values(), ids=SPOILED)
def test_a_fault_of_an_earlier_piece_is_not_laid_at_this_one(body):
    names = notebook(
        f"def layer_norm(x, weight, bias, eps=1e-6):\n    {body}\n\n" + BLOCK,
        mlp=EXERCISES["mlp"].oracle,
        self_attention=EXERCISES["encoder_block"].uses["self_attention"],
    )
    for seed in range(5):
        verdict = EXERCISES["encoder_block"].judge(names.encoder_block, seed)
        assert verdict.status == "passed", verdict.line


def test_a_wrong_answer_stays_wrong_with_right_pieces():
    names = notebook(STUB + "def attention_weights(q, k):\n    return softmax(q @ k.mT)")
    assert "divide the scores by √d before" in WEIGHTS.judge(names.attention_weights).hint


FLOAT32 = {
    "attention_weights": [
        lambda q, k: (q @ k.mT / torch.sqrt(torch.tensor(q.shape[-1], dtype=torch.float32))).softmax(-1),
        lambda q, k: (q @ k.mT * torch.tensor(q.shape[-1]).float().rsqrt().item()).softmax(-1),
        lambda q, k: (q @ k.mT / np.float32(np.sqrt(np.float32(q.shape[-1])))).softmax(-1),
    ],
    "layer_norm": [
        lambda x, weight, bias, eps=1e-6: (
            (x - x.mean(-1, keepdim=True))
            / torch.sqrt(x.var(-1, correction=0, keepdim=True) + torch.tensor(eps))
            * weight
            + bias
        ),
    ],
}


@pytest.mark.parametrize(("name", "answer"), [(name, answer) for name, all in FLOAT32.items() for answer in all])
def test_a_float32_number_inside_is_right_at_every_seed(name, answer):
    assert {EXERCISES[name].judge(answer, seed).status for seed in range(20)} == {"passed"}


def with_gradients_cut(kind):
    def answer(query, key, value):
        scores = query @ key.mT / query.shape[-1] ** 0.5
        if kind == "numpy":
            numbers = torch.from_numpy(scores.detach().numpy()).softmax(-1).requires_grad_()
            return numbers @ value, numbers
        if kind == "key":
            scores = query @ key.detach().mT / query.shape[-1] ** 0.5
        weights = scores.softmax(-1)
        if kind == "no_grad":
            with torch.no_grad():
                output = weights @ value
            return output.requires_grad_(query.requires_grad), weights
        return (weights.detach() if kind == "weights" else weights) @ value, weights

    return answer


@pytest.mark.parametrize("kind", ["numpy", "key", "no_grad", "weights"])
def test_a_gradient_that_is_cut_off_is_seen(kind):
    assert ATTENTION.judge(with_gradients_cut("nowhere")).status == "passed"
    for seed in range(5):
        verdict = ATTENTION.judge(with_gradients_cut(kind), seed)
        assert verdict.status == "wrong" and "gradient" in verdict.problem and ".detach()" in verdict.hint


def leaves(trace):
    def answer(scores, dim=-1):
        result = (scores - scores.amax(dim, keepdim=True)).exp()
        result = result / result.sum(dim, keepdim=True)
        trace(scores)
        return result

    return answer


TRACES = {
    "whether gradients are recorded": lambda scores: torch.set_grad_enabled(False),
    "the default dtype": lambda scores: torch.set_default_dtype(torch.float64),
    "the default device": lambda scores: torch.set_default_device("meta"),
    "the hooks of all modules": lambda scores: nn.modules.module.register_module_forward_hook(print),
    "`requires_grad` of its input scores": lambda scores: scores.requires_grad_(not scores.requires_grad),
    "its input scores in place": lambda scores: scores.data.add_(1),
}


@pytest.mark.parametrize("what", TRACES)
def test_what_an_answer_leaves_behind_is_named_and_undone(what):
    before = watch._world()
    verdict = SOFTMAX.judge(leaves(TRACES[what]))
    assert f"your function changes {what}" in verdict.problem, verdict.line
    assert watch._world() == before


def masked_with_numbers(query, key, value, mask):
    weights = (query @ key.mT).masked_fill(1 - mask, float("-inf")).softmax(-1)
    return weights @ value, weights


def raises_deeper(scores, dim=-1):
    def helper():
        raise NotImplementedError("a part of mine")

    return helper()


@pytest.mark.parametrize(("exercise", "answer"), [(MASKED, masked_with_numbers), (SOFTMAX, raises_deeper)])
def test_only_a_stubs_own_error_is_no_attempt(exercise, answer):
    assert exercise.judge(answer).status == "error"


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no words")


class Strange:
    def __repr__(self):
        raise RuntimeError("no words")


def raising(error):
    def answer(scores, dim=-1):
        raise error

    return answer


async def waits(scores, dim=-1):
    return scores


def yields(scores, dim=-1):
    yield scores


ODD = {
    "sparse": lambda scores, dim: scores.to_sparse(),
    "meta": lambda scores, dim: scores.to("meta"),
    "nested": lambda scores, dim: torch.nested.nested_tensor([scores, scores]),
    "complex": lambda scores, dim: scores.to(torch.complex128),
    "bool": lambda scores, dim: scores > 0,
    "empty": lambda scores, dim: scores[:0],
    "a class": lambda scores, dim: Strange(),
    "itself": lambda scores, dim: SOFTMAX,
    "a dict": lambda scores, dim: {"weights": scores},
    "text": lambda scores, dim: "three\nlines\x1b[31m of\u2028text",
    "unprintable": raising(Unprintable()),
    "exit": raising(SystemExit(3)),
    "generator exit": raising(GeneratorExit()),
    "no words": raising(ValueError()),
    "many words": raising(ValueError("word " * 200)),
    "control": raising(ValueError("a\x00b\x1b[31mc\rd\u2029e")),
    "group": raising(ExceptionGroup("several", [ValueError("a"), TypeError("b")])),
    "recursion": lambda scores, dim: ODD["recursion"](scores, dim),
    "coroutine": waits,
    "generator": yields,
    "a layer": lambda scores, dim: nn.Softmax(dim),
    "a type": lambda scores, dim: torch.Tensor,
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("exercise", [SOFTMAX, ATTENTION], ids=lambda exercise: exercise.name)
def test_every_outcome_is_one_line(exercise, kind, recwarn):
    answer = ODD[kind]
    judged = answer if exercise is SOFTMAX else lambda query, key, value: (answer(query, -1), answer(key, -1))
    line = exercise.judge(judged).line
    assert line.startswith(f"✗ {exercise.name}: ") and line.isprintable() and len(line) < 1000
    assert not [warning for warning in recwarn if "never awaited" in str(warning.message)]


def test_a_long_text_is_cut_after_a_word():
    problem = SOFTMAX.judge(raising(ValueError("word " * 200))).problem
    assert "word word …" in problem and "wor …" not in problem


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarm clock on Windows")
def test_what_hangs_is_stopped(monkeypatch):
    monkeypatch.setattr(watch, "LIMIT", 0.2)

    def hangs(scores, dim=-1):
        while True:
            with contextlib.suppress(Exception):
                sum(range(1000))

    handler, before = signal.getsignal(signal.SIGPROF), time.process_time()
    verdict = SOFTMAX.judge(hangs)
    assert "no answer after 0.2 seconds" in verdict.line and verdict.status == "error"
    assert time.process_time() - before < 5 and signal.getsignal(signal.SIGPROF) is handler


def test_an_interrupt_goes_through_and_leaves_everything_as_it_was():
    names = notebook(
        WRONG + "def attention_weights(q, k):\n    torch.set_grad_enabled(False)\n    wait()", wait=lambda: None
    )
    before, wrong = watch._world(), names.softmax

    def interrupt():
        raise KeyboardInterrupt

    names.attention_weights.__globals__["wait"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        WEIGHTS.judge(names.attention_weights)
    assert watch._world() == before and names.attention_weights.__globals__["softmax"] is wrong


def test_in_another_thread_there_is_no_clock_and_a_verdict():
    lines = []
    thread = threading.Thread(target=lambda: lines.append(SOFTMAX.judge(raising(ValueError("no"))).line))
    thread.start()
    thread.join()
    assert "ValueError: no" in lines[0]


def double(x, step=1.0):
    return 2 * x


def toy(*mistakes, probes=None):
    """A small exercise: double x."""
    return Exercise(
        "double",
        "00",
        "double(x)",
        "double x.",
        probes or (lambda generator: [{"x": normal(generator)(3, n)} for n in (4, 5)]),
        double,
        tuple(Mistake(hint, gives) for hint, gives in mistakes),
    )


def test_a_hint_has_to_be_true_on_every_probe():
    wide = lambda x: x if x.shape[1] == 4 else 2 * x  # noqa: E731
    assert toy(("you forget.", lambda x: x)).judge(lambda x: 1 * x).hint == "you forget."
    assert toy(("you forget.", lambda x: x)).judge(wide).hint == "these are the numbers of `x`, as they came in."


def test_of_two_hints_that_fit_none_is_given():
    both = toy(("you forget.", lambda x: x), ("you add nothing.", lambda x: x + 0))
    assert both.judge(lambda x: 1 * x).hint not in ("you forget.", "you add nothing.")
    same = toy(("you forget.", lambda x: x), ("you forget.", lambda x: x + 0))
    assert same.judge(lambda x: 1 * x).hint == "you forget."


def test_the_words_of_an_error_count_where_nothing_else_was_seen():
    def fails(x):
        raise ValueError("three")

    def fails_otherwise(x):
        raise ValueError("four")

    assert toy(("you raise.", fails)).judge(fails).hint == "you raise."
    assert toy(("you raise.", fails)).judge(fails_otherwise).hint == "the task is to double x."

    def half(raising):
        return lambda x: x if x.shape[1] == 4 else raising(x)

    assert toy(("you raise.", half(fails))).judge(half(fails_otherwise)).hint == "you raise."


SEEN = {
    "all numbers are 0": lambda x: 0 * x,
    "1.5 times what it should be": lambda x: 3 * x,
    "the wrong sign": lambda x: -2 * x,
    "too large by 1": lambda x: 2 * x + 1,
    "reverse order along dimension 1": lambda x: 2 * x.flip(1),
    "index 2 of dimension 1": lambda x: torch.cat([2 * x[:, :2], x[:, 2:3], 2 * x[:, 3:]], 1),
    "in other places": lambda x: 2 * x.roll((1, 1), (0, 1)),
    "nan": lambda x: 2 * x / (x > 0) * (x > 0),
    "infinite": lambda x: 2 * x / (x > 0),
    "the numbers of `x`": lambda x: x,
    "the type has changed on the way": lambda x: 2 * x.float(),
    "that is numpy's": lambda x: 2 * x.numpy(),
    "a comma or a pair of brackets too many": lambda x: (2 * x,),
    "that is a layer": lambda x: nn.Identity(),
    "that is a function": lambda x: torch.exp,
    "has computed nothing yet": lambda x: map(double, x),
    "one plain number": lambda x: 2 * x.sum().item(),
    "a dimension of size 1 is left over": lambda x: 2 * x[None],
    "their order is not": lambda x: 2 * x.mT,
    "as many numbers as there should be": lambda x: 2 * x.flatten(),
    "the sizes that you ask for": lambda x: x.reshape(5, 7),
    "the last but one of b": lambda x: x @ x,
    "one entry too few": lambda x: 2 * x[1:],
    "stay with PyTorch": lambda x: np.add(x.numpy(), x.numpy()),
    "has no `return`": lambda x: x + None,
    "two types meet": lambda x: x @ torch.ones(x.shape[1], x.shape[1]),
    "print the shapes": lambda x: x + torch.ones(7, dtype=x.dtype),
    "run the cell that defines it": lambda x: undefined(x),  # noqa: F821
    "use ~, & and |": lambda x: 2 * x if x > 0 else x,
    "this function takes tensors only": lambda x: x * torch.sqrt(4),
    "divide with //": lambda x: x.reshape(x.numel() / 1),
    "a mask is of type bool": lambda x: x * -(x > 0),
    "print the names": lambda x: {"a": x}["b"],
    "with other arguments than its `def` lists": lambda x: double(x, 1, 2),
}


@pytest.mark.parametrize("words", SEEN)
def test_what_fits_every_exercise_is_said_once(words):
    verdict = toy().judge(SEEN[words])
    assert verdict.status in ("wrong", "error") and words in verdict.hint, verdict.line


def test_what_differs_from_call_to_call_is_named():
    def layer(x):
        return nn.Linear(x.shape[1], x.shape[1], dtype=x.dtype)(x)

    for drawn in (layer, lambda x: 2 * x + torch.rand_like(x), lambda x: F.dropout(2 * x)):
        assert "called twice with the same inputs" in toy().judge(drawn).hint
    assert "called twice" not in toy().judge(lambda x: 3 * x).hint


def attention_weights(q, k):
    """Right but for one line."""
    scores = q @ k.transpose(-2, -1)
    scores / q.shape[-1] ** 0.5
    return scores.softmax(-1)


def keeps_all(q, k):
    """Lines that do something: none of them is lost."""
    seen = set()
    seen.add(1)
    torch.add(q, 1, out=torch.empty_like(q))
    q.new_zeros(3).add_(1)
    return q @ k.mT


def forgets_the_call(q, k):
    softmax(q, -1)  # noqa: F821
    return q @ k.mT


def transposes_in_vain(q, k):
    k.transpose(-2, -1)
    return q @ k


def test_a_line_whose_result_is_lost_is_named():
    lost = {
        attention_weights: "`scores / q.shape[-1] ** 0.5`",
        transposes_in_vain: "`k.transpose(-2, -1)`",
        forgets_the_call: "`softmax(q, -1)`",
    }
    for answer, line in lost.items():
        assert f"the result of your line {line} is not kept" in WEIGHTS.judge(answer, 0).hint
    for answer in (keeps_all, torch.add, functools.partial(torch.add, alpha=2)):
        assert "is not kept" not in WEIGHTS.judge(answer, 0).hint


def test_a_missing_dimension_is_named():
    one = toy(probes=lambda generator: [{"x": normal(generator)(3, 1, n)} for n in (4, 5)])
    assert "a dimension of size 1 is missing" in one.judge(lambda x: 2 * x.squeeze()).hint


def test_the_readers_line_is_quoted():
    assert "in your line `return x + torch.ones(7, dtype=x.dtype)" in toy().judge(adds_seven).problem


def adds_seven(x):
    return x + torch.ones(7, dtype=x.dtype)


def test_with_gradients_the_usual_slips_have_their_words():
    asking = toy(probes=lambda generator: [single({"x": normal(generator)(3, n)}) for n in (4, 5)])
    assert "compute a new tensor instead of changing one in place" in asking.judge(lambda x: x.mul_(2)).hint
    assert "numpy leaves PyTorch" in asking.judge(lambda x: torch.from_numpy(2 * x.numpy())).hint
    assert "the result carries no gradient" in asking.judge(lambda x: 2 * x.detach()).problem
    assert "no gradient reaches x" in asking.judge(lambda x: 2 * x.detach() + 0 * x).problem
    assert "with respect to x is nan" in asking.judge(lambda x: 2 * x + torch.where(x > 9, (x - x).sqrt(), 0)).problem
    assert "their gradient with respect to x is not" in asking.judge(lambda x: x.detach() + x).problem


def test_what_the_check_itself_finds_is_no_error_of_the_readers():
    line = EXERCISES["row_column_share"].judge(lambda table: {"share": 0.5}).line
    assert "expected the share as a float, got dict" in line and "TypeError" not in line
    assert "TypeError" in EXERCISES["row_column_share"].judge(lambda table: table + "text").line


@pytest.mark.parametrize("whole", [np.int64(3), torch.tensor(3), 3])
def test_whole_numbers_of_any_make(whole):
    three = Exercise("three", "00", "three(x)", "say 3.", lambda generator: [{"x": 1}] * 3, lambda x: 3, ())
    assert three.judge(lambda x: whole).status == "passed"
    assert "expected a whole number (int), got float '3.0'" in three.judge(lambda x: 3.0).line
    assert "got bool" in three.judge(lambda x: True).line


@pytest.fixture(scope="module")
def second():
    """How long this machine computes, now, for what takes a core of a laptop about a second."""
    start = time.process_time()
    sum(number & 1 for number in range(16_000_000))
    return time.process_time() - start


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
def test_a_check_answers_at_once(exercise, second):
    """Within a second, or three where models are trained or looked into, for a wrong answer too, which costs most."""
    answer = exercise.mistakes[-1].gives
    exercise.judge(answer)  # what is imported and compiled at the first call
    start = time.process_time()
    exercise.judge(answer)
    assert time.process_time() - start < second * (3 if exercise.chapter in ("07", "09", "12", "13", "B") else 1)
