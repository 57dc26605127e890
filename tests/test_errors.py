"""The page "Errors": its snippets raise what it says, its box finds each message first, and hints name its entries."""

import contextlib
import linecache
import re
import traceback
import warnings
from types import SimpleNamespace

import errors_page
import notebooks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from course_lib.checks import advice

ENTRIES = {entry["anchor"]: entry for section in errors_page.sections() for entry in section["entries"]}
WITH_CODE = {anchor: entry for anchor, entry in ENTRIES.items() if "code" in entry}


def raised(code, name="cell"):
    """(the error, its traceback as Python prints it) of a snippet; fails if it raises nothing."""
    file = f"<{name}>"
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    names = {"torch": torch, "nn": nn, "F": F, "np": np, "rearrange": rearrange}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(code, file, "exec"), names)
    except BaseException as error:  # SystemExit too
        return error, traceback.format_exc()
    pytest.fail(f"nothing is raised by {code!r}")


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """Where a snippet finds no file, no data and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_LIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COURSE_LIB_OFFLINE", "1")


def matches(entry, text):
    return re.search(entry["pattern"], text, re.I | re.M)


# ---- Without a browser -----------------------------------------------------------------------


@pytest.mark.parametrize("anchor", WITH_CODE)
@pytest.mark.usefixtures("empty_folder")
def test_a_snippet_raises_its_message(anchor):
    error, _ = raised(ENTRIES[anchor]["code"])
    said = f"{type(error).__name__}: {error}"
    assert matches(ENTRIES[anchor], said), said


@pytest.mark.parametrize("anchor", ENTRIES)
def test_an_entry_is_whole(anchor):
    entry = ENTRIES[anchor]
    assert set(entry) - {"code"} == {"anchor", "says", "pattern", "why", "cure", "chapters"}
    assert re.fullmatch("[a-z]+(-[a-z]+)*", anchor) and matches(entry, entry["says"])
    assert all(str(chapter) in notebooks.targets() for chapter in entry["chapters"]) and entry["chapters"]
    assert not matches(entry, ""), "it would fit everything"
    for text in (entry["why"], entry["cure"]):
        assert text.rstrip("`*").endswith((".", "?")) and len(text) < 400, text
        links = re.findall(r"\]\(#([\w-]+)\)", text)
        assert set(links) <= set(ENTRIES)


def test_there_are_enough():
    assert len(ENTRIES) == sum(len(section["entries"]) for section in errors_page.sections()), "an anchor twice"
    assert len(WITH_CODE) >= 40


def test_each_hint_on_an_error_names_an_entry():
    assert {anchor for anchor, _ in advice.ERRORS.values()} <= set(ENTRIES)


@pytest.mark.parametrize("anchor", WITH_CODE)
@pytest.mark.usefixtures("empty_folder")
def test_a_hint_names_an_entry_that_fits(anchor):
    """Whatever entry the hint on a message names, it is one whose own pattern is in the message."""
    error, _ = raised(ENTRIES[anchor]["code"])
    hint = advice.on_error(SimpleNamespace(kind=type(error), text=str(error)))
    if hint:
        named = re.search(r"\(Errors: ([\w-]+)\)$", hint)[1]
        assert matches(ENTRIES[named], f"{type(error).__name__}: {error}"), (named, str(error))


# ---- On the site -----------------------------------------------------------------------------


@pytest.fixture
def page(open_page):
    visit = open_page("book/errors.html")
    yield visit.page
    assert visit.faults == []


def first(page, text):
    """The anchor that the box puts first for a pasted text; None if it finds nothing."""
    page.get_by_label("Your message").fill(text)
    link = page.locator("#course-error-finder li a").first
    return link.get_attribute("href")[1:] if link.count() else None


def as_in_jupyter(error):
    from IPython.core.ultratb import FormattedTB

    try:
        printer = FormattedTB(mode="Context", theme_name="nocolor")
    except TypeError:  # IPython before 9
        printer = FormattedTB(mode="Context", color_scheme="NoColor")
    return "\n".join(printer.structured_traceback(type(error), error, error.__traceback__))


@pytest.mark.slow
@pytest.mark.usefixtures("empty_folder")
def test_the_box_finds_each_traceback(page):
    wrong = {}
    for anchor, entry in ENTRIES.items():
        texts = [entry["says"], f"(Errors: {anchor})"]
        if anchor in WITH_CODE:
            error, trace = raised(entry["code"], anchor)
            texts += [trace, trace.replace("\n", "\r\n")]
            if not isinstance(error, SyntaxError | SystemExit):  # for these IPython has printers of their own
                texts.append(as_in_jupyter(error))
        wrong |= {(anchor, text[-200:]): found for text in texts if (found := first(page, text)) != anchor}
    assert wrong == {}


@pytest.mark.slow
def test_the_box_while_one_types(page):
    box, status = page.get_by_label("Your message"), page.locator("#course-error-finder").get_by_role("status")
    box.focus()
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA" and status.inner_text() == ""
    page.keyboard.type("shapes cannot be mult")
    assert status.inner_text().startswith("Fits best: mat1 and mat2 shapes cannot be multiplied")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.hash") == "#matmul"
    page.keyboard.press("Enter")
    page.wait_for_function("location.hash === '#matmul'")
    assert page.evaluate("document.getElementById('matmul').closest('section').getBoundingClientRect().top") < 300
    box.fill("my dog has eaten the cable")
    assert status.inner_text().startswith("No entry fits yet")
    assert page.locator("#course-error-finder li").count() == 0
    box.fill("")
    assert status.inner_text() == ""


@pytest.mark.slow
def test_a_line_of_a_check_is_found(page):
    line = "✗ softmax: error – RuntimeError: shape '[2, 3, 5]' is invalid for input of size 24 for scores (2, 3). Hint: a reshape keeps"
    assert first(page, line) == "reshape"


@pytest.mark.slow
def test_without_scripts_it_is_a_list(chromium, site):
    context = chromium.new_context(java_script_enabled=False)
    with contextlib.closing(context):
        page = context.new_page()
        page.goto(f"{site}book/errors.html#view")
        assert page.locator("article h3").count() == len(ENTRIES)
        assert all(page.locator(f"[id='{anchor}']").count() == 1 for anchor in ENTRIES)
        assert page.get_by_text("What to do.").first.is_visible()
        assert page.get_by_label("Your message").count() == 0
