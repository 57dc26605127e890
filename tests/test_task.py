"""The tasks of tools/task.py: `make NAME` is the same, and whoever calls one calls one that there is."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import task
import yaml

ROOT = Path(__file__).parent.parent
CALLERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", ".ci/run", "book/index.md", "environment.yml")]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.fixture
def ran(monkeypatch):
    """What would have been run, in place of running it; a command with --failing fails."""
    commands = []

    def run(command, **options):
        commands.append(shlex.join(map(str, command)))
        return subprocess.CompletedProcess(command, 3 if "--failing" in command else 0)

    monkeypatch.setattr(task.subprocess, "run", run)
    monkeypatch.setattr(task.shutil, "which", lambda name, path: name)
    return commands


@pytest.mark.parametrize("path", CALLERS, ids=lambda path: path.name)
def test_whoever_says_make_names_a_task(path):
    named = set(re.findall(r"(?:`|^|true )make ([a-z]+)", path.read_text(encoding="utf-8"), re.M))
    assert named <= task.TASKS.keys()


def steps(workflow):
    """Every step of a workflow, with the values that `with:` of the job that calls it may give."""
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_tasks(path):
    """Directly, or by giving `task` to the workflow that does."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    called = [job["with"]["task"] for job in workflow["jobs"].values() if "uses" in job]
    called += re.findall(r"make ([^\s&|;]+)", " ".join(step.get("run", "") for step in steps(workflow)))
    inputs = workflow.get(True, {}).get("workflow_call", {}).get("inputs", {})  # YAML reads `on` as True
    for name in called:
        if name.startswith("${{"):
            assert "task" in inputs
        else:
            assert name in task.TASKS
    assert called


def test_every_program_is_installed():
    for _, _, commands in task.TASKS.values():
        for command in commands:
            assert shutil.which(shlex.split(command)[0], path=Path(sys.executable).parent), command


def test_a_task_stops_at_the_first_command_that_fails(ran, monkeypatch):
    monkeypatch.setattr(task, "TASKS", {"three": ("", [], ["one", "two --failing", "three"])})
    assert task.main(["three"]) == 3
    assert ran == ["one", "two --failing"]


def test_arguments_go_to_the_last_command(ran, monkeypatch):
    monkeypatch.setattr(task, "TASKS", {"two": ("", [], ["first x", "second 'not slow'"])})
    assert task.main(["two", "tests/test_vit.py", "-k", "a or b"]) == 0
    assert ran == ["first x", "second 'not slow' tests/test_vit.py -k 'a or b'"]


def test_what_is_no_task_is_a_program_of_the_environment(ran):
    assert task.main(["ruff", "check", "."]) == 0 and ran == ["ruff check ."]


def test_an_unknown_task_is_one_line(monkeypatch):
    monkeypatch.setattr(task.shutil, "which", lambda name, path: None)
    assert task.main(["tset"]) == f"no task 'tset'; there are {', '.join(task.TASKS)}"


def test_packages_are_installed_once_and_again_when_the_list_changes(ran, tmp_path, monkeypatch):
    monkeypatch.setattr(task, "ROOT", tmp_path)
    lock, marker = tmp_path / "requirements/book.txt", tmp_path / ".venv/book"
    lock.parent.mkdir()
    marker.parent.mkdir()
    lock.touch()
    task.prepare("book")
    assert [line.split()[1:3] for line in ran] == [["-m", "venv"], ["-m", "pip"]] and str(lock) in ran[1]
    task.prepare("book")
    assert len(ran) == 2
    os.utime(lock, (marker.stat().st_mtime + 10,) * 2)
    task.prepare("book")
    assert len(ran) == 3 and "pip install" in ran[2]


def test_an_installation_that_fails_is_tried_again(tmp_path, monkeypatch):
    def fail(command, check):
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(task.subprocess, "run", fail)
    monkeypatch.setattr(task, "ROOT", tmp_path)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/book.txt").touch()
    assert task.main(["book"]).startswith("could not install: ")
    assert not (tmp_path / ".venv/book").exists() and not (tmp_path / ".venv/pip").exists()


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_make_hands_everything_on():
    def make(*arguments):
        alone = {
            name: value for name, value in os.environ.items() if not name.startswith("MAKE")
        }  # not a part of `make test`
        return subprocess.run(["make", *arguments], cwd=ROOT, env=alone, capture_output=True, text=True)

    made = make("-n", "lint", "book", "PYTHON=python3.12")
    assert made.stdout.splitlines() == ["python3.12 tools/task.py lint", "python3.12 tools/task.py book"]
    helped = make(f"PYTHON={sys.executable}")
    assert [line.split()[:2] for line in helped.stdout.splitlines()] == [["make", name] for name in task.TASKS]
