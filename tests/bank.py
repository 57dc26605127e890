"""The answers that the checks are tried with: the chapters' own, other right ones, and wrong ones."""

import functools
import importlib
import linecache

import notebooks
from answers import others

from course_lib.checks import EXERCISES, catalogue
from course_lib.checks.edits import Edited, listed

ANSWERS = [importlib.import_module(f"answers.{chapter}") for chapter in catalogue.CHAPTERS]
RIGHT = {name: answers for bank in ANSWERS for name, answers in bank.RIGHT.items()}
MORE = {name: answers for bank in ANSWERS for name, answers in getattr(bank, "MORE", {}).items()}
ALL_RIGHT = {  # RIGHT has mutants
    name: (*answers, *MORE.get(name, ()), *others.RIGHT.get(name, ())) for name, answers in RIGHT.items()
}
WRONG = {name: answers for bank in ANSWERS for name, answers in bank.WRONG.items()}
SLIPS = {name: text for bank in ANSWERS for name, text in getattr(bank, "SLIPS", {}).items()}
EQUIVALENT = {name: known for bank in ANSWERS for name, known in getattr(bank, "EQUIVALENT", {}).items()}


def chapter_functions(chapter, text):
    """Execute the imports and the exercise cells of a chapter, with `text(cell)` as the code of each exercise."""
    (path,) = (path for path in notebooks.sources() if notebooks.label(path) == chapter.lstrip("0"))
    names = {}
    for cell in notebooks.read_source(path).cells:
        tags = cell.metadata.get("tags", [])
        if "exercise" in tags:
            file, code = f"<{text.__name__} of {cell.id}>", text(cell)
            linecache.cache[file] = len(code), None, code.splitlines(keepends=True), file  # for inspect.getsource
            exec(compile(code, file, "exec"), names)
        elif "setup" in tags:
            exec(cell.source.split("output.enable_custom_widget_manager()")[1], names)
    return names


class Chapters(dict):
    """{chapter: its functions}, each chapter executed when it is first asked for."""

    def __init__(self, text):
        self.text = text

    def __missing__(self, chapter):
        self[chapter] = chapter_functions(chapter, self.text)
        return self[chapter]


SOLVED, STUBS = Chapters(notebooks.solution), Chapters(notebooks.stub)


def wrong_answers():
    """(exercise, answer, words of its hint): those written out, and what is changed in the chapters' own."""
    for name, answers in WRONG.items():
        yield from ((name, answer, words) for answer, words in answers.items())
    for name, text in SLIPS.items():
        yield from ((name, tuple(changes), words) for words, changes in listed(text))


@functools.cache
def function_of(name, answer):
    """The function that a wrong answer is: the chapter's own, if only its changes are given."""
    return answer if callable(answer) else Edited(SOLVED[EXERCISES[name].chapter][name], answer).function


WRONG_ANSWERS = list(wrong_answers())


def wrong_answers_to(exercise):
    return [function_of(name, answer) for name, answer, _ in WRONG_ANSWERS if name == exercise]
