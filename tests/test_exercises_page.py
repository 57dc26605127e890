"""The page *All exercises*, and what a reader has passed: on that page, at the end of each chapter, at home."""

import json
import re

import exercises_page
import notebooks
import practice_page
import pytest
from test_site import serious_findings, switch

from course_lib import cli
from course_lib.checks import NAMES, pieces
from course_lib.checks.catalogue import CHAPTERS

PAGE, HOME, CHAPTER = "book/exercises.html", "book/index.html", "book/01_attention.html"
ALL = [entry for path in notebooks.sources() for entry in exercises_page.entries(path)]
KEPT = "JSON.parse(localStorage.getItem('course-progress') ?? '{}')"


# ---- Without a browser ---------------------------------------------------------------------------


def test_the_page_is_up_to_date():
    assert exercises_page.PAGE.read_text(encoding="utf-8") == exercises_page.page(), (
        "run python tools/exercises_page.py"
    )


def test_the_names_are_up_to_date():
    assert exercises_page.SCRIPT.read_text(encoding="utf-8") == exercises_page.script(), (
        "run python tools/exercises_page.py"
    )


def test_every_exercise_is_there_once_and_says_what_it_is_for():
    assert list(exercises_page.FOR) == [name for names in CHAPTERS.values() for name in names] or (
        exercises_page.FOR.keys() == set(NAMES)
    )
    assert sorted(entry.name for entry in ALL if entry.name) == sorted(NAMES)
    headings = sum(
        len(re.findall("^# ### Exercise ", path.read_text(encoding="utf-8"), re.M)) for path in notebooks.sources()
    )
    assert len(ALL) == headings
    for entry in ALL:
        assert entry.hard in ("easy", "medium", "hard") and (3 <= entry.minutes <= 60 or not entry.name)
    assert len(set(exercises_page.FOR.values())) == len(NAMES)


def test_what_the_pages_count():
    assert len(practice_page.PRACTICES) == 8
    assert "Eight exercises" in practice_page.LEAD and "eight short ones" in exercises_page.LEAD


def test_a_row():
    row = '| <span data-exercise="mlp"></span> | [3.2 `mlp`](03_encoder.ipynb#exercise-32--mlp) | '
    assert f"{row}{exercises_page.FOR['mlp']} | easy | 5 min |" in exercises_page.page()


# ---- In a browser --------------------------------------------------------------------------------


def tick(page, name):
    return page.get_by_role("checkbox", name=f"{name}: passed", exact=True).first


def passed(open_page, path, kept, **options):
    """A page as it is for a reader who has passed something."""
    visit = open_page(path, **options)
    visit.page.evaluate("kept => localStorage.setItem('course-progress', kept)", kept)
    visit.page.reload()
    visit.page.locator("progress").first.wait_for(state="attached")
    return visit


def test_a_tick_is_remembered_everywhere_and_taken_back(open_page, site):
    visit = open_page(PAGE)
    page = visit.page
    assert page.locator("td input[type=checkbox]").count() == len(NAMES) + len(practice_page.PRACTICES)
    assert page.get_by_text(f"0 of {len(NAMES)} exercises").is_visible()
    tick(page, "softmax").focus()
    page.keyboard.press("Space")
    tick(page, "count_parameters").check()
    assert page.get_by_text(f"2 of {len(NAMES)} exercises").is_visible()
    assert page.get_by_role("checkbox", name="count_parameters: passed").nth(1).is_checked()  # its row of the page
    page.goto(site + CHAPTER)
    section = page.get_by_role("region", name="Your progress")
    assert "1 of 4 in this chapter" in section.inner_text() and f"2 of {len(NAMES)}" in section.inner_text()
    assert "ticked by you" in section.inner_text()
    section.get_by_label("masked_attention").check()
    page.goto(site + HOME)
    assert f"3 of {len(NAMES)} exercises" in page.locator("p.course-progress").inner_text()
    page.get_by_role("link", name="Your progress").click()
    page.wait_for_url(site + PAGE)
    for name in ("softmax", "masked_attention", "count_parameters"):
        tick(page, name).uncheck()
    page.goto(site + HOME)
    assert page.locator("p.course-progress").is_hidden()
    assert visit.faults == []


@pytest.mark.parametrize("kind", ["my_pieces.py", "certificate.json"])
def test_what_passed_in_notebooks_is_taken_over(open_page, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    pieces._write({"softmax": "a = 1\n", "mlp": "b = 2\n", "to_come": "c = 3\n"})
    cli.main(["certificate", "--name", "Ada"])
    visit = open_page(PAGE)
    page = visit.page
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    page.get_by_label("Take over what passed in notebooks").set_input_files(tmp_path / kind)
    page.get_by_text("2 exercises are in that file, and ticked now.").wait_for()
    assert page.evaluate(KEPT) == {"softmax": "file", "mlp": "file"}
    assert tick(page, "mlp").is_checked() and not tick(page, "encoder_block").is_checked()
    assert [
        url for url in sent if not url.startswith("blob:") and not url.endswith("/favicon.svg")
    ] == [] and visit.faults == []


@pytest.mark.parametrize(
    "content", ["", "{}", '{"what": 3}', "[1]", '{"what": "certificate of the course on x"}', "\x00"]
)
def test_other_files_say_so(open_page, tmp_path, content):
    file = tmp_path / "other.json"
    file.write_text(content)
    visit = open_page(PAGE)
    visit.page.get_by_label("Take over what passed in notebooks").set_input_files(file)
    visit.page.get_by_text("No exercise of this course is in that file").wait_for()
    assert visit.page.evaluate(KEPT) == {} and visit.faults == []


def test_everything_is_forgotten_when_it_is_confirmed(open_page, site):
    visit = passed(open_page, PAGE, '{"softmax": "hand"}')
    page = visit.page
    page.evaluate("localStorage.setItem('course-practice:softmax', '# mine'), localStorage.setItem('other', '1')")
    for accept in (False, True):
        page.once("dialog", lambda dialog, accept=accept: dialog.accept() if accept else dialog.dismiss())
        page.get_by_role("button", name="Forget everything").click()
        assert tick(page, "softmax").is_checked() is not accept
    kept = page.evaluate("Object.keys(localStorage)")
    assert "other" in kept and not [key for key in kept if key.startswith("course-p")]
    assert visit.faults == []


def test_what_passes_in_the_page_is_ticked(open_page, site):
    visit = open_page("book/practice.html")
    page = visit.page
    for practice in practice_page.PRACTICES[0], practice_page.PRACTICES[4]:
        box = page.locator(f".course-practice[data-name={practice.record.name}]")
        box.locator("textarea").fill(practice.solution)
        box.get_by_role("button", name="Check", exact=True).click()
        box.get_by_text(": passed").wait_for()
    assert page.evaluate(KEPT) == {"practice:softmax": "page", "count_parameters": "page"}
    page.goto(site + PAGE)
    assert page.get_by_text(f"1 of {len(NAMES)} exercises").is_visible()  # softmax on lists is not exercise 1.1
    assert [box.is_checked() for box in page.get_by_role("checkbox", name="softmax: passed", exact=True).all()] == [
        False,
        True,
    ]
    assert visit.faults == []


@pytest.mark.parametrize("kept", ["", "nonsense", "3", "null", '"a"'])
def test_what_cannot_be_read_counts_as_nothing(open_page, kept):
    visit = passed(open_page, CHAPTER, kept)
    assert "0 of 4 in this chapter" in visit.page.get_by_role("region", name="Your progress").inner_text()
    assert visit.faults == []


@pytest.mark.parametrize("name", [path.stem for path in notebooks.sources()])
def test_every_chapter_ends_with_it(site_dir, name):
    """Its names are those of the checks in the page, and the notebook's own last cell is not shown there."""
    text = (site_dir / f"book/{name}.html").read_text(encoding="utf-8")
    listed = json.loads(re.search(rf'"{name}": (\[.*\]),', exercises_page.script())[1])
    assert sorted(re.findall("○ (\\w+): not judged yet", text)) == sorted(listed)
    assert "import progress" not in text
    assert re.search(r'<script type="module" src="../_static/js/progress.js', text)


@pytest.mark.parametrize("path", [PAGE, "book/practice.html", CHAPTER])
def test_it_can_be_read_by_all(open_page, path):
    visit = passed(open_page, path, '{"softmax": "hand"}') if path != "book/practice.html" else open_page(path)
    page = visit.read_through().page
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert visit.faults == []
    for theme in ("dark", "light"):
        switch(page, theme)
        assert serious_findings(page) == []
