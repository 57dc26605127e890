"""`course grade`: a class at once. A row always, the same each time; what was marked is kept; nothing is left running."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import learners
import psutil
import pytest
from learners import RIGHT, WRONG, written
from nightly import full

from course_lib import cli
from course_lib.checks.exercise import Verdict
from course_lib.grading import classroom, marks
from course_lib.grading.crew import judge_all
from course_lib.grading.kernel import Limits
from course_lib.grading.pages import class_page, learner_page
from course_lib.grading.report import Report, as_data
from course_lib.grading.statistics import alike, hardness
from course_lib.grading.submissions import find_submissions

slow = pytest.mark.slow
LIMITS = Limits(cell=10, total=120, memory=3 << 30, file_size=100 << 20, processes=32)


def table(file):
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return {row["file"]: row for row in csv.DictReader(lines)}


def graded(folder, out, **settings):
    return classroom.grade(folder, out, **{"workers": 2, "limits": LIMITS} | settings)


@slow
@pytest.mark.timeout(full(3000, 300))
def test_a_class_is_marked_the_same_twice_and_nothing_is_left(tmp_path, monkeypatch):
    """Right, wrong, odd, hostile and broken: each has its row, in both runs the same, and what must come of it."""
    temporary = Path(tempfile.mkdtemp(prefix="class-", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    folder = tmp_path / "class"
    folder.mkdir()
    expected = learners.hand_in(folder, full(300, 20))
    tables = []
    for run in (1, 2):
        begun = time.monotonic()
        result = graded(folder, tmp_path / f"marks{run}.csv")
        print(f"{len(result.rows)} submissions in {time.monotonic() - begun:.0f} s")
        tables.append(table(tmp_path / f"marks{run}.csv"))
        assert result.marked == len(expected)
    assert tables[0] == tables[1] and tables[0].keys() == expected.keys()
    unexpected = {}
    for file, (what, outcome) in expected.items():
        row = tables[0][file]
        passed = row["outcome"] == "all passed"
        wrong = [name for name, status in row.items() if status in ("wrong", "error")]
        right = {"not all passed": not passed and row["outcome"] != "the check failed"}.get(
            outcome, row["outcome"] == outcome if " " in outcome else outcome in wrong
        )
        if not right:
            unexpected[file] = what, outcome, row
    assert not unexpected
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "9999"]]
    assert not list(temporary.glob("course-*"))
    shutil.rmtree(temporary)


@slow
def test_what_is_marked_is_kept_and_a_mended_check_marks_again(tmp_path, monkeypatch):
    folder, out = tmp_path / "class", tmp_path / "marks.csv"
    folder.mkdir()
    (folder / "01_ada.ipynb").write_text(written(*RIGHT))
    (folder / "01_bob.ipynb").write_text(written(WRONG, *RIGHT[1:]))
    (folder / "cy").mkdir()
    (folder / "essay.pdf").write_bytes(b"%PDF")
    first = graded(folder, out)
    assert first.marked == 4 and [row["outcome"] for row in first.rows] == [
        "all passed",
        "some passed",
        "could not be run",
        "could not be run",
    ]
    assert [row["reason"] for row in first.rows[2:]] == [
        "no notebook (.ipynb) in this folder",
        "expected a notebook (.ipynb), got .pdf",
    ]
    before = out.read_bytes()
    again = graded(folder, out)
    assert again.marked == 0 and out.read_bytes() == before and again.hard == first.hard

    rows = marks.read_marks(out)  # as if the check of softmax had been another one, which let Bob's answer pass
    for row in rows:
        row["checks"] = row["checks"].replace("softmax:", "softmax:0")
        row |= {"softmax": "passed"} if "softmax" in row else {}
    marks.write_marks(out, rows)
    assert graded(folder, out).outdated == 2
    mended = graded(folder, out, regrade=True)
    assert mended.marked == 4 and mended.differences == ["01_bob.ipynb: softmax passed -> wrong"]
    assert table(out) == {row["file"]: row | {} for row in table_of(before)}

    (folder / "01_bob.ipynb").write_text(written(*RIGHT))  # handed in once more
    changed = graded(folder, out)
    assert changed.marked == 1 and changed.outdated == 0


def table_of(content):
    return csv.DictReader(content.decode("utf-8-sig").splitlines())


@slow
def test_what_is_stopped_goes_on(tmp_path):
    folder, out = tmp_path / "class", tmp_path / "marks.csv"
    folder.mkdir()
    for number in range(4):
        (folder / f"01_{number}.ipynb").write_text(written(*RIGHT))
    (folder / "01_9.ipynb").write_text(written("import time\ntime.sleep(600)"))
    words = [
        sys.executable,
        "-m",
        "course_lib",
        "grade",
        str(folder),
        "--out",
        str(out),
        "--workers",
        "2",
        "--limit",
        "600",
    ]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    while not out.exists() or len(table(out)) < 4:
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130 and "Traceback" not in said and len(table(out)) == 4
    (folder / "01_9.ipynb").write_text(written(*RIGHT))
    done = subprocess.run([*words, "--json"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr.count("\n") == 1 and len(table(out)) == 5
    (first, *_) = json.loads(done.stdout)["exercises"]
    assert (first["exercise"], first["passed"], first["judged"]) == ("softmax", 5, 5)


@slow
def test_a_process_that_ends_over_a_file_costs_that_file_alone(tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import json, os\nload = json.loads\n"
        "json.loads = lambda text, **k: os._exit(7) if 'end the judge' in str(text)[:4000] else load(text, **k)\n"
    )
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", ""), str(learners.notebooks.ROOT)]))
    monkeypatch.setenv("PYTHONPATH", path)
    files = [tmp_path / f"01_{number}.ipynb" for number in range(3)]
    for file in files:
        file.write_text(written(*RIGHT))
    files[1].write_text(written("# end the judge", *RIGHT))
    found = dict(judge_all(files, 2, LIMITS, None))
    assert [found[file].status for file in files] == [0, 3, 0]
    assert found[files[1]].fault == "the process that judged it ended, twice (status 7)"


def test_every_file_and_folder_is_a_submission(tmp_path):
    for name in (
        "ada.ipynb",
        "Bob Bee_4711_assignsubmission_file_/01.ipynb",
        "Bob Bee_4711_assignsubmission_file_/.ipynb_checkpoints/01-checkpoint.ipynb",
        "cycle_LATE_12_34_work.ipynb",
        "dan/sub/folder/x.ipynb",
        "dan/y.ipynb",
        "notes.txt",
        "__MACOSX/z.ipynb",
        "empty/readme.txt",
        ".DS_Store",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = find_submissions(tmp_path)
    assert [(s.name, s.learner, s.identity, bool(s.problem)) for s in found] == [
        ("Bob Bee_4711_assignsubmission_file_/01.ipynb", "Bob Bee", "4711", False),
        ("ada.ipynb", "ada", "", False),
        ("cycle_LATE_12_34_work.ipynb", "cycle", "12", False),
        ("dan/sub/folder/x.ipynb", "dan", "", False),
        ("dan/y.ipynb", "dan", "", False),
        ("empty", "empty", "", True),
        ("notes.txt", "notes.txt", "", True),
    ]
    assert len({s.key for s in found}) == len(found)
    with pytest.raises(ValueError, match="is no folder"):
        find_submissions(tmp_path / "none")


def a_report(**statuses):
    hints = {"wrong": "the hint", "error": "another"}
    verdicts = [
        Verdict(name, kind, "the problem", hints.get(kind, ""), kind == "wrong") for name, kind in statuses.items()
    ]
    return Report("01_a.ipynb", "chapter 1", tuple(verdicts), versions=dict.fromkeys(statuses, "abc"))


def test_statistics_count_each_known_mistake():
    told = [
        as_data(a_report(softmax="wrong", mlp="passed")),
        as_data(a_report(softmax="wrong", mlp="error")),
        as_data(a_report(softmax="not attempted")),
        as_data(Report("x", broken="empty")),
    ]
    first, second = hardness(told)
    assert (first.exercise, first.judged, first.wrong, first.not_attempted) == ("softmax", 3, 2, 1)
    assert first.mistakes == (("the hint", 2),) and second.mistakes == () and second.errors == 1


def test_what_is_alike_is_listed_and_untouched_work_is_not():
    same, other = {"softmax": "1", "mlp": "2"}, {"softmax": "1", "mlp": "3"}
    told = [{"file": "b", "answers": same}, {"file": "a", "answers": same}, {"file": "c", "answers": other}]
    assert alike([*told, {"file": "d", "answers": {}}, {"file": "e", "answers": {}}]) == [("a", "b")]


def test_a_name_is_never_a_formula(tmp_path):
    (tmp_path / '=HYPERLINK("x").ipynb').write_text("")
    (submission,) = find_submissions(tmp_path)
    row = marks.row_of(submission, Report("x", broken="=1+1"))
    assert row["learner"].startswith("'=") and row["file"].startswith("'=") and row["reason"] == "'=1+1"


def test_another_table_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "a.ipynb").write_text("")
    out = tmp_path / "marks.csv"
    out.write_text("name,age\nAda,36\n")
    assert cli.main(["grade", str(tmp_path / "class"), "--out", str(out)]) == 1
    assert "is a table of something else" in capsys.readouterr().err and out.read_text() == "name,age\nAda,36\n"


MOODLE = """Identifier,"Full name",Status,Grade,"Maximum Grade","Last modified (grade)","Feedback comments"
"Participant 4711","Bob Bee",Submitted,,20.00,-,
"Participant 9","Eve",,,20.00,-,
"""
CANVAS = """Student,ID,SIS User ID,SIS Login ID,Section,Week 1 (77)
    Points Possible,,,,,8
"Bee, Bob",4711,s1,bob,A,
"Eve",9,s2,eve,A,
"""


@pytest.mark.parametrize(("export", "column", "grade"), [(MOODLE, None, "15.00"), (CANVAS, "Week 1 (77)", "6.00")])
def test_the_files_of_learning_platforms_are_filled_in(export, column, grade, tmp_path):
    file = tmp_path / "export.csv"
    file.write_text(export)
    text, filled = marks.fill_in(file, [{"id": "4711", "grade": "75.00"}, {"id": "", "grade": "100.00"}], column)
    rows = list(csv.DictReader(text.splitlines()))
    (bob,) = [row for row in rows if "4711" in (row.get("ID"), row.get("Identifier", "").split(" ")[-1])]
    assert filled == 1 and bob[column or "Grade"] == grade
    assert text.splitlines()[0].replace('"', "") == export.splitlines()[0].replace('"', "")
    assert [row[column or "Grade"] for row in rows if row is not bob and "Points" not in str(row)] == [""]


def test_an_unknown_export_is_refused(tmp_path):
    file = tmp_path / "export.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="neither Moodle's grading worksheet nor Canvas's"):
        marks.fill_in(file, [], None)
    file.write_text(CANVAS)
    with pytest.raises(ValueError, match=r"--column None is none of Canvas's: give one of Week 1 \(77\)"):
        marks.fill_in(file, [], None)


def the_pages():
    report = a_report(softmax="wrong", attention_weights="passed", masked_attention="not attempted")
    row = marks.row_of(find_submissions(Path(__file__).parent / "answers")[0], report)
    row |= {"learner": "<script>alert(1)</script>", "file": "a&b.ipynb"}
    told = as_data(report, "full") | {"notes": ["cell 3: <img src=x>"]}
    hard = hardness([told])
    return learner_page(row, told), class_page([row], hard, [("a", "b")])


def test_pages_are_whole_in_themselves_and_hold_no_code_of_a_learner():
    for page in the_pages():
        assert "<script" not in page and "<img" not in page and "http" not in page
        assert "&lt;script&gt;" in page and 'lang="en"' in page and "viewport" in page


def test_the_feedback_page_tells_as_much_as_was_asked(tmp_path):
    report = a_report(softmax="wrong")
    for feedback, words in (("verdict", False), ("hint", True)):
        row = {"learner": "a", "file": "f", "reason": ""}
        assert ("the hint" in learner_page(row, as_data(report, feedback))) == words
