"""The checks are checked: right answers pass, wrong ones are rejected, each with its own hint."""

import functools
import itertools
import re

import check_power
import einops
import notebooks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bank import ALL_RIGHT, EQUIVALENT, RIGHT, SOLVED, STUBS, WRONG_ANSWERS, function_of, wrong_answers_to
from judging import judge
from torch import nn

from course_lib import attention, checks, vit
from course_lib.checks import EXERCISES, catalogue
from course_lib.checks.edits import Edited, listed
from course_lib.checks.written_test import WrittenTest
from course_lib.records import load_record
from course_lib.train import muon

SEEDS = range(1, 20)  # besides 0


every_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)


def check_right(name, answer, seed):
    verdict = judge(name, answer, seed)
    assert verdict.status == "passed", verdict.line


def check_wrong(name, answer, words, seed):
    verdict = judge(name, function_of(name, answer), seed)
    assert verdict.status in ("wrong", "error"), verdict.line
    assert words in verdict.hint, verdict.line
    assert "\n" not in verdict.line


@every_exercise
def test_the_chapters_solution_passes(exercise):
    check_right(exercise.name, SOLVED[exercise.chapter][exercise.name], seed=0)


@every_exercise
def test_the_stub_is_not_attempted(exercise):
    words = "it returns nothing: write the body, or add the missing `return`"
    if isinstance(exercise, WrittenTest):
        words = "it does not look at what it is given: write the body"
    verdict = exercise.judge(STUBS[exercise.chapter][exercise.name])
    assert verdict.line == f"○ {exercise.name}: not attempted – {words}."


@every_exercise
def test_there_are_enough_answers(exercise):
    assert len(ALL_RIGHT[exercise.name]) >= 6 and len(exercise.mistakes) >= 8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "answer"),
    [(n, a) for n, answers in ALL_RIGHT.items() for a in answers],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_other_right_answers_pass(name, answer):
    check_right(name, answer, seed=0)


ignore_old_transpose = pytest.mark.filterwarnings("ignore:The use of `x.T`")


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    WRONG_ANSWERS,
    ids=lambda x: getattr(x, "__name__", ""),
)
@pytest.mark.slow
@ignore_old_transpose
def test_wrong_answers_get_their_own_hint(name, answer, words):
    check_wrong(name, answer, words, seed=0)


def check_known_mistakes(exercise, seed):
    for mistake in exercise.mistakes:
        assert mistake.gives.function, "the edit fits: where it does not, it raises, which would be wrong too"
        verdict = judge(exercise.name, mistake.gives, seed)
        assert verdict.status in ("wrong", "error") and verdict.hint == mistake.hint, f"{mistake.hint}\n{verdict.line}"


@every_exercise
@pytest.mark.nightly
def test_every_known_mistake_gets_its_own_hint(exercise):
    """So each can be seen on the probes, and no mistake before it is taken for it."""
    check_known_mistakes(exercise, seed=0)


@every_exercise
@pytest.mark.nightly
@ignore_old_transpose
def test_no_verdict_depends_on_the_seed(exercise):
    for seed in SEEDS:
        for answer in (SOLVED[exercise.chapter][exercise.name], *ALL_RIGHT[exercise.name]):
            check_right(exercise.name, answer, seed)
        for name, answer, words in WRONG_ANSWERS:
            if name == exercise.name:
                check_wrong(name, answer, words, seed)
        check_known_mistakes(exercise, seed)


@every_exercise
@pytest.mark.nightly
def test_a_mistake_that_raises_is_written_in_two_ways(exercise):
    """Numbers are the same however a mistake is written; the words of an error depend on the writing."""

    def raises(function):
        if isinstance(exercise, WrittenTest):  # most say no by an error
            return judge(exercise.name, function, 0).status == "error"
        errors = []

        def watched(*inputs):
            try:
                return function(*inputs)
            except Exception as error:
                errors.append(error)
                raise

        judge(exercise.name, watched, 0)
        return bool(errors)

    written = {judge(exercise.name, answer, 0).hint for answer in wrong_answers_to(exercise.name)}
    assert {mistake.hint for mistake in exercise.mistakes if raises(mistake.gives)} - written == set()


@every_exercise
@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")  # of .T and .mT PyTorch warns once, and the first mutant alone would die of it
def test_every_mutant_of_a_right_answer_is_rejected(exercise):
    answers = check_power.changed_answers(exercise)
    known = [f"{old} ⇒ {new}" for _, changes in listed(EQUIVALENT[exercise.name]) for old, new in changes]
    assert set(check_power.mutants_that_pass(exercise, answers)) == set(known)


@pytest.mark.parametrize("count", [check_power.answers, pytest.param(check_power.counted, marks=pytest.mark.nightly)])
def test_the_record_counts_what_is_there(count):
    """The table in the book is made of it. That all of it is judged rightly, the other tests say."""
    record = load_record("check_power")
    assert record["exercises"] == [row | count(EXERCISES[row["exercise"]]) for row in record["exercises"]]
    assert [row["exercise"] for row in record["exercises"]] == list(EXERCISES)
    assert all(
        row["right_passed"] == row["right"] and row["wrong_rejected"] == row["wrong"] for row in record["exercises"]
    )
    page = (notebooks.BOOK / "checks.md").read_text(encoding="utf-8")
    assert check_power.table(record) in page


def clipped(x, low):
    if x < low:
        return low
    return x


def edited(change):
    ((_, changes),) = listed(f"a hint\n    {change}")
    return Edited(clipped, changes).function


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ("x < low ⇒ x > low", 2),
        ("return x ⇒ return 2 * x\n    return low ⇒ return 2 * low", 8),
        ("if x < low:\n    |     return low ⇒ x = 5 * x", 20),
        ("return x ⇒ if x == 4:\n    |     return 0\n    | return 1", 0),
        ("⇒ y = 3 * x\n    | return y", 12),
        ("⇒ return 1 + clipped(x, low)", 5),
    ],
)
def test_an_edit_changes_the_text_of_a_function(change, result):
    assert edited(change)(4, 2) == result


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("y ⇒ x", "got 0 times 'y'"),
        ("low: ⇒ x:\n    return ⇒ return 2 *", "got 2 times 'return'"),
        ("if x < low:\n    | return low ⇒ pass", "got 0 times"),
        ("another hint", "expected `old ⇒ new` below a hint, got 'another hint'"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(change, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        edited(change)


@every_exercise
@pytest.mark.slow
def test_no_two_wrong_answers_share_a_hint(exercise):
    hints = [judge(exercise.name, answer, 0).hint for answer in wrong_answers_to(exercise.name)]
    assert len(set(hints)) == len(hints)


@every_exercise
@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:The use of `x.T`")
def test_judged_together_or_alone_the_verdict_is_the_same(exercise):
    """What the oracle and the mistakes gave once is what they give."""
    for answer in (*RIGHT[exercise.name], *wrong_answers_to(exercise.name)):
        assert judge(exercise.name, answer, seed=1) == exercise.judge(answer, seed=1)


def sizes(value):
    """A probe with every tensor replaced by its shape."""
    if isinstance(value, dict):
        return {name: sizes(item) for name, item in value.items()}
    return tuple(value.shape) if isinstance(value, torch.Tensor) else value


def content(value):
    """The first tensor of a probe, however deep, as a list; its numbers, if there is no tensor."""
    tensors = [v for item in value.values() for v in (item.values() if isinstance(item, dict) else [item])]
    return next((v.tolist() for v in tensors if isinstance(v, torch.Tensor)), tensors)


@every_exercise
def test_probes_are_fresh_and_of_several_shapes(exercise):
    first, second = (exercise.probes(torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert len({str(sizes(probe)) for probe in first}) >= 3
    assert all(content(a) != content(b) for a, b in zip(first, second, strict=True))


@every_exercise
def test_a_memorised_answer_is_rejected(exercise):
    """The right answers to one set of probes, returned in their order whatever is asked."""
    known = []
    if exercise.name == "randomise_from_top":  # it returns a model, for which the check has to build two
        exercise.judge(lambda *inputs: known.append(exercise.oracle(*inputs)) or known[-1], 1)
    elif exercise.chapter == "B":
        pytest.skip("what its test says of each implementation comes from the implementations, whatever the probe is")
    else:
        known = [exercise.oracle(**probe) for probe in exercise.probes(torch.Generator().manual_seed(1))]
    for seed, sound in ((1, True), (2, False)):
        answers = itertools.cycle(known)
        verdict = exercise.judge(lambda *inputs, answers=answers: next(answers), seed)
        right_numbers = verdict.status == "passed" or re.match(
            r"the numbers are right|.* gradient reaches|the result carries", verdict.problem
        )
        assert bool(right_numbers) == sound, verdict.line


softmax_bound_before = torch.softmax
READY_MADE = {
    "softmax": [
        lambda scores, dim: torch.softmax(scores, dim),
        lambda scores, dim: scores.softmax(dim),
        lambda scores, dim: F.softmax(scores, dim),
        lambda scores, dim: nn.Softmax(dim)(scores),
        lambda scores, dim: torch.special.softmax(scores, dim),
        lambda scores, dim: F.log_softmax(scores, dim).exp(),
        lambda scores, dim: F.softmin(-scores, dim),
        lambda scores, dim: torch.ops.aten.softmax(scores, dim),
        lambda scores, dim: torch.ops.aten.softmax.int(scores, dim),
        lambda scores, dim: torch.ops.aten._softmax.default(scores, dim, False),
        lambda scores, dim: torch._softmax(scores, dim, False),
        lambda scores, dim: softmax_bound_before(scores, dim),
        lambda scores, dim: getattr(torch.Tensor, "soft" + "max")(scores, dim),
        lambda scores, dim: next(map(functools.partial(torch.softmax, dim=dim), [scores])),
        functools.partial(torch.softmax),
    ],
    "scaled_dot_product_attention": [
        lambda query, key, value: F.scaled_dot_product_attention(query, key, value),
        lambda query, key, value: attention.scaled_dot_product_attention(query, key, value),
    ],
    "masked_attention": [
        lambda query, key, value, mask: attention.scaled_dot_product_attention(query, key, value, mask),
        lambda query, key, value, mask: attention.attention_weights(query, key, mask),
    ],
    "split_heads": [lambda x, num_heads: attention.split_heads(x, num_heads)],
    "multi_head_self_attention": [
        lambda x, params, num_heads: nn.MultiheadAttention(x.shape[-1], num_heads, dtype=x.dtype)(x, x, x)[0],
        lambda x, params, num_heads: attention.MultiHeadSelfAttention(x.shape[-1], num_heads).to(x.dtype)(x),
    ],
    "layer_norm": [
        lambda x, weight, bias, eps=1e-6: F.layer_norm(x, x.shape[-1:], weight, bias, eps),
        lambda x, weight, bias, eps=1e-6: torch.layer_norm(x, x.shape[-1:], weight, bias, eps),
        lambda x, weight, bias, eps=1e-6: torch.native_layer_norm(x, x.shape[-1:], weight, bias, eps)[0],
        lambda x, weight, bias, eps=1e-6: torch.ops.aten.native_layer_norm(x, x.shape[-1:], weight, bias, eps)[0],
        lambda x, weight, bias, eps=1e-6: F.group_norm(x.reshape(-1, x.shape[-1]), 1, weight, bias, eps),
        lambda x, weight, bias, eps=1e-6: F.rms_norm(x - x.mean(-1, keepdim=True), x.shape[-1:], weight, eps) + bias,
        lambda x, weight, bias, eps=1e-6: nn.LayerNorm(x.shape[-1], eps, dtype=x.dtype)(x) * weight + bias,
    ],
    "encoder_block": [
        lambda x, params, num_heads: nn.TransformerEncoderLayer(x.shape[-1], num_heads, dtype=x.dtype)(x),
        lambda x, params, num_heads: vit.EncoderBlock(x.shape[-1], num_heads).to(x.dtype)(x),
    ],
    "patchify": [
        lambda images, patch_size: F.unfold(images, patch_size, stride=patch_size).mT,
        lambda images, patch_size: nn.Unfold(patch_size, stride=patch_size)(images).mT,
        lambda images, patch_size: F.pixel_unshuffle(images, patch_size).flatten(2).mT,
        lambda images, patch_size: torch.pixel_unshuffle(images, patch_size).flatten(2).mT,
    ],
    "unpatchify": [
        lambda patches, grid_size, in_chans=3: F.fold(patches.mT, (6, 4), 2, stride=2),
        lambda patches, grid_size, in_chans=3: torch.pixel_shuffle(patches.mT.unflatten(-1, grid_size), 2),
    ],
    "count_parameters": [lambda *sizes: sum(p.numel() for p in nn.Linear(3, 4).parameters())],
    "soft_cross_entropy": [lambda logits, targets: F.cross_entropy(logits, targets)],
    "newton_schulz": [
        lambda matrix, steps: muon.newton_schulz(matrix, steps),
        lambda matrix, steps: muon.newton_schulz(matrix[None], steps)[0],
        lambda matrix, steps: torch.linalg.svd(matrix, full_matrices=False).U,
        lambda matrix, steps: torch.svd(matrix).U,
        lambda matrix, steps: matrix.svd().U,
        lambda matrix, steps: torch.ops.aten.linalg_svd(matrix, False)[0],
        lambda matrix, steps: matrix / torch.linalg.svdvals(matrix).max(),
        lambda matrix, steps: torch.svd_lowrank(matrix)[0],
        lambda matrix, steps: torch.linalg.eigh(matrix @ matrix.mT).eigenvectors @ matrix,
        lambda matrix, steps: torch.linalg.qr(matrix).Q,
        lambda matrix, steps: torch.linalg.pinv(matrix).mT,
        lambda matrix, steps: nn.init.orthogonal_(matrix.clone()),
    ],
}


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name, answers in READY_MADE.items() for answer in answers]
)
def test_ready_made_solutions_are_refused(name, answer):
    line = EXERCISES[name].judge(answer).line
    assert "error – you call " in line and "that is the ready-made answer" in line


@every_exercise
def test_every_forbidden_function_was_tried(exercise):
    assert not exercise.forbidden or exercise.name in READY_MADE


def test_the_librarys_own_function_is_an_answer_too():
    own = EXERCISES["scaled_dot_product_attention"].judge(attention.scaled_dot_product_attention)
    assert own.status == "passed", own.line


@every_exercise
def test_a_raised_stub_is_not_attempted(exercise):
    def stub(*inputs):
        raise NotImplementedError("your turn")

    assert exercise.judge(stub).status == "not attempted"


def test_parameters_may_have_other_names_and_pairs_may_be_lists():
    attend = SOLVED["01"]["scaled_dot_product_attention"]
    assert EXERCISES["scaled_dot_product_attention"].judge(lambda q, k, v: list(attend(q, k, v))).status == "passed"


def softmax(scores, dim=-1):
    return SOLVED["01"]["softmax"](scores, dim)


def changes_its_input(scores, dim=-1):
    scores -= scores.amax(dim, keepdim=True)
    return scores.exp() / scores.exp().sum(dim, keepdim=True)


def answers_in_numpy(scores, dim=-1):
    return softmax(scores.detach(), dim).numpy()


def loses_the_gradient(scores, dim=-1):
    return softmax(scores.detach(), dim)


def has_the_wrong_type(scores, dim=-1):
    return softmax(scores, dim).half()


def has_the_wrong_shape(scores, dim=-1):
    return softmax(scores, dim)[None]


def raises(scores, dim=-1):
    raise KeyError("a\nmessage in\nthree lines")


def is_slightly_off(scores, dim=-1):
    return softmax(scores, dim) + (1e-4 if scores.dtype == torch.float64 else 0.0)


def is_slightly_off_in_float32(scores, dim=-1):
    return softmax(scores, dim) + (1e-4 if scores.dtype == torch.float32 else 0.0)


def has_a_comma_too_many(scores, dim=-1):
    return (softmax(scores, dim),)


class Agreeable(torch.Tensor):
    """Says that it equals everything."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        result = super().__torch_function__(function, types, args, kwargs or {})
        return torch.ones_like(result) if isinstance(result, torch.Tensor) and result.dtype == torch.bool else result


def is_agreeable(scores, dim=-1):
    return torch.zeros_like(scores).as_subclass(Agreeable)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (changes_its_input, "changes its input scores in place"),
        (answers_in_numpy, "expected a tensor, got ndarray"),
        (loses_the_gradient, "carries no gradient"),
        (has_the_wrong_type, "expected torch.float64, got torch.float16"),
        (has_the_wrong_shape, "expected shape (5,), got (1, 5)"),
        (is_slightly_off, "expected 0."),
        (is_slightly_off_in_float32, "(2, 5), dim 0"),
        (has_a_comma_too_many, "expected a tensor, got tuple"),
        (raises, "KeyError: 'a\\nmessage in\\nthree lines'"),
        (is_agreeable, "expected 0."),
        (3, "expected a function, got int"),
        (np.exp, "TypeError"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(answer, words):
    line = EXERCISES["softmax"].judge(answer).line
    assert words in line and "passed" not in line and "\n" not in line


def test_a_message_says_where():
    line = EXERCISES["softmax"].judge(lambda scores, dim: scores * 0.0, seed=1).line
    expected = torch.softmax(EXERCISES["softmax"].probes(torch.Generator().manual_seed(1))[0]["scores"], -1)
    assert line.startswith(
        f"✗ softmax: wrong – at index [0] expected {expected[0]:.6g}, got 0 for scores (5,), dim -1."
    )


def test_each_check_speaks_of_its_own_exercise():
    """An answer may call the exercise before it; a mistake there is reported there alone."""
    names = dict(SOLVED["01"])
    code = "def attention_weights(query, key):\n    return softmax(query @ key.mT / query.shape[-1] ** 0.5)"
    exec(code, names)
    names["softmax"] = lambda scores, dim=-1: scores * 0
    assert EXERCISES["attention_weights"].judge(names["attention_weights"]).status == "passed"
    assert EXERCISES["softmax"].judge(names["softmax"]).status == "wrong"
    assert names["attention_weights"].__globals__["softmax"] is names["softmax"]  # untouched


def test_judging_leaves_the_random_numbers_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    EXERCISES["softmax"].judge(lambda scores, dim: torch.rand(scores.shape))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_parameter_changed_in_place_is_named():
    def spoils(x, params, num_heads):
        result = EXERCISES["encoder_block"].oracle(x, params, num_heads)
        params["norm1.bias"].detach().add_(1)
        return result

    assert "changes its input params in place" in EXERCISES["encoder_block"].judge(spoils).line


def test_gradients_are_asked_for_even_where_they_are_switched_off():
    with torch.no_grad():
        assert EXERCISES["softmax"].judge(softmax).status == "passed"
        assert "carries no gradient" in EXERCISES["softmax"].judge(loses_the_gradient).line


def test_a_float_for_the_number_of_heads_does_not_stick():
    def divides(x, num_heads):
        return einops.rearrange(x, "B N (H d) -> B H N d", H=num_heads / 1)

    assert EXERCISES["split_heads"].judge(divides).status == "error"
    assert EXERCISES["split_heads"].judge(SOLVED["02"]["split_heads"]).status == "passed"
    assert attention.split_heads(torch.ones(3, 4, 10), 2).shape == (3, 2, 4, 5)


def test_every_exercise_has_its_check(capsys):
    assert [name for names in catalogue.CHAPTERS.values() for name in names] == list(EXERCISES)
    with pytest.raises(AttributeError, match="check_nothing"):
        _ = checks.check_nothing
    for name, exercise in EXERCISES.items():
        getattr(checks, f"check_{name}")(SOLVED[exercise.chapter][name])
        assert capsys.readouterr().out == f"✓ {name}: passed\n"
