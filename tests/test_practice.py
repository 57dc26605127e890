"""The page *Practise here*: judged by the records' numbers, in a Python that comes when it is asked for and can be stopped."""

import hashlib
import inspect
import json
import linecache
import re

import practice_page
import pytest
import torch
from answers import in_page as bank
from browser import ROOT
from nightly import full
from syntax_mutants import mutants
from torch.utils.flop_counter import FlopCounterMode

from course_lib.attention import attention_weights
from course_lib.checks import find, in_page
from course_lib.vit import VIT_CONFIGS

PAGE = "book/practice.html"
BY_NAME = {each.record.name: each for each in practice_page.PRACTICES}
OWN = {exercise.name: exercise for exercise in in_page.EXERCISES}
RECORDS = json.loads(practice_page.RECORDS.read_text(encoding="utf-8"))["exercises"]
every_own = pytest.mark.parametrize("name", OWN)


def function(name, text):
    """The function that a text defines, with its source."""
    names, file = {}, f"<{name}, {hash(text)}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file  # for inspect.getsource
    exec(compile(text, file, "exec"), names)
    return names[name]


def source_of(mistake, name):
    """A known mistake of the page's own exercises as a reader would write it."""
    edited, own = mistake.gives, mistake.gives.right.__name__
    return f"import math\n{inspect.getsource(edited.right)}\n{edited.text.replace(f'def {own}(', f'def {name}(', 1)}"


# ---- Without a browser ---------------------------------------------------------------------------


def test_the_page_is_up_to_date():
    assert practice_page.PAGE.read_text(encoding="utf-8") == practice_page.page(), "run python tools/practice_page.py"


def test_the_numbers_are_up_to_date():
    assert practice_page.RECORDS.read_text(encoding="utf-8") == practice_page.records(), (
        "run python tools/practice_page.py"
    )


def test_what_is_vendored_is_what_the_list_says():
    folder = ROOT / "assets/vendor/micropython"
    listed = re.findall(r"^([0-9a-f]{64})  (micropython\.\w+)$", (folder.parent / "README.md").read_text(), re.M)
    assert {name for _, name in listed} == {path.name for path in folder.iterdir()} - {"LICENSE"}
    for digest, name in listed:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


@every_own
def test_right_answers_pass(name):
    for seed in range(3):
        for text in (BY_NAME[name].solution, *bank.RIGHT[name]):
            assert OWN[name].judge(function(name, text), seed).status == "passed", text


@every_own
def test_every_known_mistake_gets_its_hint(name):
    exercise = OWN[name]
    for mistake in exercise.mistakes:
        for seed in range(3):
            verdict = exercise.judge(mistake.gives, seed)
            assert verdict.status in ("wrong", "error") and verdict.hint == mistake.hint, (seed, verdict.line)


@every_own
def test_wrong_answers_written_in_another_way(name):
    for text, words in bank.WRONG[name].items():
        verdict = OWN[name].judge(function(name, text))
        assert verdict.status in ("wrong", "error") and words in verdict.hint, verdict.line


@every_own
def test_every_mutant_is_rejected(name):
    known, right = bank.EQUIVALENT.get(name, {}), []
    for text in (BY_NAME[name].solution, *bank.RIGHT[name]):
        found = mutants(function(name, text), cut=False)  # there is no gradient to be cut off
        assert len(found) > 15
        right += [change for change, mutant in found.items() if OWN[name].judge(mutant, 0).status == "passed"]
    assert sorted(right) == sorted(known)


@every_own
def test_a_stub_is_not_attempted(name):
    assert OWN[name].judge(function(name, BY_NAME[name].stub)).status == "not attempted"


def test_examples_of_the_page():
    """Each call that a text gives with its result."""
    found = 0
    for name, practice in BY_NAME.items():
        for call, result in re.findall(
            r"`(\w+\([^`]*\))`,? (?:is about|is|it is) `?([^`]+?)`?\.$", practice.about, re.M
        ):
            given, wanted = eval(call, {name: function(name, practice.solution)}), eval(result)
            assert torch.allclose(torch.tensor(given).double(), torch.tensor(wanted).double(), atol=5e-4), call
            found += 1
    assert found == len(BY_NAME) - 1  # a row of attention is too long for a line


def test_multiplications_are_those_that_pytorch_counts():
    """Attention written out, since what runs fused is not counted everywhere."""
    config = VIT_CONFIGS["vit_base_patch16_224"]
    tokens, dim, hidden = 197, config.embed_dim, int(config.embed_dim * config.mlp_ratio)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        x, wide = torch.empty(tokens, dim), torch.empty(dim, hidden)
        q, k, v, out = (x @ torch.empty(dim, dim) for _ in range(4))
        heads = [part.unflatten(-1, (config.num_heads, -1)).transpose(0, 1) for part in (q, k, v)]
        attention_weights(heads[0], heads[1]) @ heads[2]
        (out @ wide) @ wide.T
    assert in_page.ENCODER_MACS.oracle(tokens, dim, 1, hidden) == counter.get_total_flops() / 2


def test_what_counts_for_a_chapter_is_the_chapter_s_exercise():
    """Passed here, it is passed there: the record is the same, and takes the same inputs."""
    same = {name for name, each in BY_NAME.items() if each.passes == name}
    assert same == {"warmup_cosine_lr", "count_parameters"}
    for name in same:
        probes = find(name).probes(torch.Generator().manual_seed(0))
        assert not any(isinstance(value, torch.Tensor | list) for probe in probes for value in probe.values())


# ---- In a browser --------------------------------------------------------------------------------


@pytest.fixture
def practice(open_page):
    """`practice(...)` -> the open page and what it has asked for since, by the end of the address."""

    def visit(**options):
        opened = open_page(PAGE, **options)
        asked = []
        opened.page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
        return opened, asked

    return visit


def box(page, name):
    return page.locator(f".course-practice[data-name={name}]")


def write(page, name, text):
    box(page, name).locator("textarea").fill(text)


def press(page, name, button):
    box(page, name).get_by_role("button", name=button, exact=True).click()


def settled(page, name):
    """What the status line says in the end."""
    status = box(page, name).locator("[role=status]")
    page.wait_for_function(
        "s => !/^(Fetching|Running|Not checked)/.test(s.textContent)", arg=status.element_handle(), polling=50
    )
    return status.inner_text()


def test_nothing_is_fetched_before_it_is_asked_for(practice):
    opened, asked = practice()
    opened.read_through()
    page = opened.page
    page.locator("#code-softmax").click()
    page.keyboard.press("ArrowDown")
    assert not [name for name in asked if re.search("micropython|practice", name)]
    press(page, "softmax", "Check")
    assert settled(page, "softmax").startswith("○ softmax: not attempted")
    assert {"practice.json", "practice_worker.js", "micropython.mjs", "micropython.wasm"} <= set(asked)
    assert opened.faults == []


@pytest.mark.timeout(600)
def test_answers_of_every_kind(practice):
    """The page's own answers and others pass; each wrong one gets its hint; by day a sample of the known mistakes."""
    opened, _ = practice()
    right = [(name, text, "") for name, each in BY_NAME.items() for text in (each.solution, *bank.RIGHT[name])]
    wrong = [(name, text, words) for name, texts in bank.WRONG.items() for text, words in texts.items()]
    known = [(name, source_of(m, name), m.hint) for name, each in OWN.items() for m in each.mistakes]
    for name, text, words in [*right, *wrong, *full(known, known[::6])]:
        verdict = opened.page.evaluate(
            """async ([name, source]) => {
              const { records, run, judge } = await import(new URL("../_static/js/practice.js", location.href));
              const exercise = { name, ...(await records()).exercises[name] };
              const { error, outcomes } = await run({ source, name, calls: exercise.calls })[1];
              return error ? { status: error.trace } : judge(exercise, outcomes);
            }""",
            [name, text],
        )
        if words:
            assert verdict["status"] in ("wrong", "error") and words in verdict["hint"], (name, text, verdict)
        else:
            assert verdict == {"status": "passed", "problem": "", "hint": ""}, (name, text)
    assert opened.faults == []


def test_right_and_wrong_on_the_page(practice):
    opened, _ = practice()
    page = opened.page
    write(page, "softmax", BY_NAME["softmax"].solution)
    press(page, "softmax", "Check")
    assert settled(page, "softmax") == "✓ softmax: passed"
    (text,) = [text for text, words in bank.WRONG["softmax"].items() if "900" in words]
    write(page, "softmax", text)
    press(page, "softmax", "Check")
    line = settled(page, "softmax")
    assert line.startswith(
        "✗ softmax: error – ValueError: math domain error in line 7, in softmax for softmax(scores=["
    )
    assert line.endswith(f"Hint: {in_page.SOFTMAX.mistakes[0].hint}")
    assert "line 7, in softmax\nValueError: math domain error" in box(page, "softmax").locator("pre").inner_text()
    assert opened.faults == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("def softmax(scores)\n    pass", "✗ softmax: error – SyntaxError: invalid syntax in line 1."),
        ("import torch", "no module named 'torch' in line 1. Hint: this Python has no torch and no numpy"),
        ("def softmx(scores):\n    return scores", "there is no function of that name"),
        ("def softmax(scores):\n    return softmax(scores)", "maximum recursion depth exceeded in line 2, in softmax"),
        ("def softmax(scores):\n    return map(abs, scores)", "expected a list of 5, got a map for softmax(scores=["),
        ("def softmax(scores):\n    return [True for s in scores]", "at index [0] expected 0.611875, got a bool"),
        ("raise SystemExit", "✗ softmax: error – SystemExit: in line 1."),
        ("input('x')", "✗ softmax: error – EOFError: nobody answers input() here"),
        ("x = [0]\nwhile True:\n    x = x + x", "MemoryError: memory allocation failed"),
    ],
)
def test_what_goes_wrong_is_said_with_its_line(practice, text, line):
    page = practice()[0].page
    write(page, "softmax", text)
    press(page, "softmax", "Check")
    assert line in settled(page, "softmax")


def test_an_endless_loop_is_stopped(practice):
    opened, _ = practice()
    page = opened.page
    for text, button in (("while True:\n    pass", "Run"), ("def softmax(s):\n    while True: print(s)", "Check")):
        write(page, "softmax", text)
        press(page, "softmax", button)
        box(page, "softmax").get_by_text("Running. Stop ends it.").wait_for()
        assert len(page.context.pages) == 1 and len(page.workers) == 1
        press(page, "softmax", "Stop")
        assert settled(page, "softmax") == "Stopped."
        while page.workers:  # the browser takes a moment
            page.wait_for_timeout(20)
    assert len(box(page, "softmax").locator("pre").inner_text()) < 30_000
    press(page, "softmax", "Stop")
    assert settled(page, "softmax") == "Nothing is running."
    press(page, "softmax", "Start again")
    press(page, "softmax", "Run")
    assert settled(page, "softmax") == "It ran, and printed nothing."
    assert opened.faults == []


def test_what_is_printed_is_shown_and_cut(practice):
    page = practice()[0].page
    write(page, "softmax", "print('é', end=' ')\nprint(1 / 3)\nprint('x' * 30_000)\nprint('<b>')")
    press(page, "softmax", "Run")
    assert settled(page, "softmax") == "It ran."
    shown = box(page, "softmax").locator("pre").inner_text()
    assert shown.startswith("é 0.3333333333333333\nxxx") and len(shown) < 21_000 and "more characters" in shown


def test_with_the_keyboard_alone(practice):
    opened, _ = practice()
    page, keys = opened.page, opened.page.keyboard
    area = page.locator("#code-softmax")
    area.focus()
    keys.press("Control+a")
    keys.type("def softmax(scores):\nx = 1\nif x:\nreturn 2")
    assert area.input_value() == "def softmax(scores):\n    x = 1\n    if x:\n        return 2"
    keys.press("Control+Alt+[")  # AltGr: a bracket is typed, and not by us
    keys.press("Control+[")
    assert area.input_value().endswith("\n    return 2")
    keys.press("Control+a")
    keys.press("Control+]")
    assert area.input_value() == "    def softmax(scores):\n        x = 1\n        if x:\n        return 2"
    keys.press("Control+z")
    assert area.input_value().startswith("def softmax")
    keys.press("Control+End")
    keys.press("Enter")
    keys.press("Space")
    for left in ("    ", "", None):  # to the last stop, to the one before, and then as ever
        keys.press("Backspace")
        assert area.input_value() == "def softmax(scores):\n    x = 1\n    if x:\n    return 2" + (
            f"\n{left}" if left is not None else ""
        )
    keys.press("Control+Enter")
    assert settled(page, "softmax").startswith("✗ softmax: ")
    reached = []
    for _ in range(5):  # no trap
        keys.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent || document.activeElement.tagName"))
    assert reached[:4] == ["Check", "Run", "Stop", "Start again"]
    keys.press("Shift+Tab")
    assert page.evaluate("document.activeElement.textContent") == "Start again"
    keys.press("Enter")
    assert area.input_value() == BY_NAME["softmax"].stub
    assert opened.faults == []


def test_what_was_written_is_remembered(practice):
    page = practice()[0].page
    write(page, "patch_index", "# mine")
    page.reload()
    assert page.locator("#code-patch_index").input_value() == "# mine"
    press(page, "patch_index", "Start again")
    page.reload()
    assert page.locator("#code-patch_index").input_value() == BY_NAME["patch_index"].stub


def test_what_is_still_being_fetched_can_be_stopped(practice):
    page = practice()[0].page
    page.route("**/practice.json", lambda route: None)  # it never comes
    press(page, "softmax", "Check")
    box(page, "softmax").get_by_text("Fetching Python").wait_for()
    press(page, "softmax", "Stop")
    assert settled(page, "softmax") == "Stopped."


@pytest.mark.parametrize("what", ["practice.json", "micropython.wasm"])
def test_without_a_network_it_says_so(practice, what):
    page = practice()[0].page
    page.route(f"**/{what}", lambda route: route.abort())
    page.context.route(f"**/{what}", lambda route: route.abort())
    press(page, "softmax", "Check")
    assert "could not be run" in settled(page, "softmax")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_it_fits(practice, width, mode):
    opened, _ = practice(width=width, mode=mode)
    page = opened.page
    write(page, "softmax", "import numpy  # " + 40 * "long ")
    press(page, "softmax", "Check")
    settled(page, "softmax")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for button in box(page, "softmax").get_by_role("button").all():
        assert button.bounding_box()["height"] >= 40
