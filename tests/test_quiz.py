"""The questions at the end of each chapter: their form in the source, and that the site makes forms of them."""

import re
from collections import Counter
from dataclasses import dataclass

import notebooks
import pytest

CHAPTERS = notebooks.sources()
HEADING = "## Check yourself\n"
QUESTION = re.compile(
    r'\*\*(?P<number>\d)\.\*\* (?P<text>[^*].*?)\n\n(?P<options>\* .*?)\n\n<details class="course-quiz">\n'
    r"<summary>Answer to (?P=number)</summary>\n\n(?P<reasons>\* .*?)\n\n</details>",
    re.S,
)


@dataclass
class Question:
    text: str
    options: list[str]
    reasons: list[str]
    right: str  # letters, such as "B"


def items(text, pattern):
    """The items of a Markdown list as (letter and what stands beside it, the rest in one line)."""
    found = []
    for item in re.split(r"^\* ", text, flags=re.M)[1:]:
        match = re.fullmatch(pattern, " ".join(item.split()))
        assert match, item
        found.append(match.groups())
    return found


def questions(path):
    """The questions of a chapter; fails where the section has another form."""
    cells = [cell.source for cell in notebooks.read_source(path).cells if cell.cell_type == "markdown"]
    (index,) = [i for i, source in enumerate(cells) if HEADING in source]
    assert cells[index].startswith(HEADING) and cells[index + 1].startswith("## What you take with you"), path.name
    matches = list(QUESTION.finditer(cells[index]))
    rest = QUESTION.sub("", cells[index]).strip()
    assert len(rest.splitlines()) <= 3 and "<details" not in rest, rest
    assert [int(match["number"]) for match in matches] == list(range(1, len(matches) + 1))
    found = []
    for match in matches:
        options = items(match["options"], r"\*\*([A-D])\.\*\* (.+)")
        reasons = items(match["reasons"], r"\*\*([A-D]), (right|wrong)\.\*\* (.+)")
        letters = [letter for letter, _ in options]
        assert letters == list("ABCD"[: len(options)]) == [letter for letter, _, _ in reasons], match["text"]
        right = "".join(letter for letter, verdict, _ in reasons if verdict == "right")
        found.append(Question(match["text"], [o for _, o in options], [r for *_, r in reasons], right))
    return found


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_each_chapter_asks_three_to_five(path):
    asked = questions(path)
    assert 3 <= len(asked) <= 5
    for question in asked:
        assert 3 <= len(question.options) <= 4 and len(question.right) == 1, question.text
        assert len(set(question.options)) == len(question.options)
        assert all(len(reason.split()) >= 6 for reason in question.reasons), question.reasons
        assert len(set(question.reasons)) == len(question.reasons)
    assert len({question.right for question in asked}) > 1, "always in the same place"


def test_nothing_but_knowledge_gives_the_right_one_away():
    asked = [question for path in CHAPTERS for question in questions(path)]
    places = Counter(question.right for question in asked)
    assert all(0.2 < places[letter] / len(asked) < 0.5 for letter in "ABC"), places
    by_length = [sorted(question.options, key=len) for question in asked]
    right = [question.options["ABCD".index(question.right)] for question in asked]
    longest = sum(options[-1] == answer for options, answer in zip(by_length, right, strict=True))
    shortest = sum(options[0] == answer for options, answer in zip(by_length, right, strict=True))
    assert longest < len(asked) / 2 and shortest < len(asked) / 2, (longest, shortest, len(asked))


# ---- On the site ---------------------------------------------------------------------------------


def first(page):
    return page.locator("form.course-quiz-form").first


@pytest.mark.slow
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_site_makes_forms_of_them(open_page, path):
    visit = open_page(f"book/{path.stem}.html")
    page, asked = visit.page, questions(path)
    forms = page.locator("form.course-quiz-form")
    assert forms.count() == len(asked) == page.locator("details.course-quiz").count()
    for form, question in zip(forms.all(), asked, strict=True):
        assert form.get_by_role("radio").count() == len(question.options)
        assert form.get_by_role("group").count() == 1 and form.locator("legend").inner_text().strip()
        assert all(option.inner_text().strip() for option in form.locator("label").all())
        assert form.get_by_role("status").inner_text() == ""
    assert page.locator("details.course-quiz:visible").count() == 0, "an answer in view"
    assert visit.faults == []


@pytest.mark.slow
def test_a_question_is_answered_by_keyboard(open_page):
    question = questions(CHAPTERS[0])[0]
    assert question.right == "C"
    page = open_page(f"book/{CHAPTERS[0].stem}.html").page
    form, status = first(page), first(page).get_by_role("status")
    form.get_by_role("button", name="Check").focus()
    page.keyboard.press("Enter")
    assert status.inner_text() == "Choose one of the answers first."
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    chosen = "document.querySelector('.course-quiz-form :checked').value"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    while page.evaluate(chosen) != "1":  # Shift+Tab leads to the last one of the group, or to the first
        page.keyboard.press("ArrowDown")
    assert status.inner_text() == "", "what was said of another choice"
    page.keyboard.press("Enter")
    said = status.inner_text()
    assert said.startswith("✗ Not this one. ") and said.split(". ", 1)[1][:20] in question.reasons[1]
    assert page.locator("details.course-quiz:visible").count() == 0
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # on the button
    assert status.inner_text().startswith("✓ Right. ")
    (reasons,) = page.locator("details.course-quiz:visible").all()
    reasons.locator("summary").click()
    assert reasons.locator("li").all_inner_texts()[2].startswith("C, right.")


@pytest.mark.slow
def test_without_scripts_it_is_read_as_written(chromium, site):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}book/{CHAPTERS[0].stem}.html")
    count = len(questions(CHAPTERS[0]))
    assert page.locator("details.course-quiz:visible").count() == count
    assert page.get_by_text("Answer to 1", exact=True).is_visible()
    assert not page.get_by_text("C, right.").first.is_visible()
    context.close()
