"""How good the checks of the exercises are: what they say of answers that are known to be right or wrong.

    PYTHONPATH=tools python tests/check_power.py    # twenty minutes of computing

It writes data/results/check_power.json and the table in book/checks.md.
"""

import multiprocessing
import warnings
from itertools import groupby
from pathlib import Path

import torch
from bank import ALL_RIGHT, RIGHT, SOLVED, wrong_answers_to
from judging import status
from syntax_mutants import mutants

from course_lib.checks import EXERCISES
from course_lib.records import load_record, versions, write_json

ROOT = Path(__file__).resolve().parent.parent
SEEDS = 5
RECORD, PAGE = ROOT / "data/results/check_power.json", ROOT / "book/checks.md"
BEGIN, END = "<!-- table -->\n", "\n<!-- end of table -->"


def right_answers(exercise, known=ALL_RIGHT):
    return [SOLVED[exercise.chapter][exercise.name], *known[exercise.name]]


def changed_answers(exercise):
    """Those of which mutants are made."""
    return right_answers(exercise, RIGHT)


def wrong_answers(exercise):
    return [*(mistake.gives for mistake in exercise.mistakes), *wrong_answers_to(exercise.name)]


def asks_for_gradients(exercise):
    """Whether a probe has an input for which a gradient is asked."""

    def asks(value):
        values = value.values() if isinstance(value, dict) else [value]
        return any(isinstance(value, torch.Tensor) and value.requires_grad for value in values)

    return any(asks(value) for probe in exercise.probes(torch.Generator()) for value in probe.values())


def mutants_of(exercise, answers):
    """[(the answer's name and what is changed in it, the changed answer)]."""
    cut = asks_for_gradients(exercise)
    return [
        (f"{answer.__name__}: {change}", mutant)
        for answer in answers
        for change, mutant in mutants(answer, cut).items()
    ]


def mutants_that_pass(exercise, answers):
    """What is changed in those that the check takes for right."""
    return [change for change, mutant in mutants_of(exercise, answers) if status(exercise.name, mutant, 0) == "passed"]


def answers(exercise):
    """How many there are that somebody has written."""
    return {"right": len(right_answers(exercise)), "wrong": len(wrong_answers(exercise))}


def counted(exercise):
    """How many answers there are, those made of right ones among them."""
    return answers(exercise) | {"mutants": len(mutants_of(exercise, changed_answers(exercise)))}


def score(name):
    """What the check of the exercise of that name says of all of them."""
    exercise = EXERCISES[name]
    statuses = {
        "right_passed": [
            [status(exercise.name, answer, seed) == "passed" for seed in range(SEEDS)]
            for answer in right_answers(exercise)
        ],
        "wrong_rejected": [
            [status(exercise.name, answer, seed) in ("wrong", "error") for seed in range(SEEDS)]
            for answer in wrong_answers(exercise)
        ],
    }
    alive = len(mutants_that_pass(exercise, changed_answers(exercise)))
    return {
        "exercise": exercise.name,
        "chapter": exercise.chapter,
        **counted(exercise),
        **{name: sum(map(all, found)) for name, found in statuses.items()},
        "mutants_rejected": counted(exercise)["mutants"] - alive,
    }


def table(record):
    """One line a chapter, in Markdown."""
    lines = [
        "| chapter | exercises | right answers, passed | wrong answers, rejected | mutants | rejected | as right as the answer |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for chapter, rows in groupby(record["exercises"], lambda row: row["chapter"]):
        rows = list(rows)
        total = {name: sum(row[name] for row in rows) for name in rows[0] if name not in ("exercise", "chapter")}
        lines.append(
            f"| {chapter.lstrip('0')} | {len(rows)} | {total['right_passed']} of {total['right']} | "
            f"{total['wrong_rejected']} of {total['wrong']} | {total['mutants']} | {total['mutants_rejected']} | "
            f"{total['mutants'] - total['mutants_rejected']} |"
        )
    seeds = f"Right and wrong answers were judged with {record['seeds']} seeds, mutants with one. An answer counts as passed"
    return "\n".join([*lines, "", f"{seeds} or rejected if it was so with every seed."])


def main():
    warnings.simplefilter("ignore")
    with multiprocessing.Pool(initializer=torch.set_num_threads, initargs=(1,)) as pool:
        rows = pool.map(score, EXERCISES, chunksize=1)
    what = "answers to the exercises that are known to be right or wrong: how many there are, and how many the checks pass or reject"
    write_json(RECORD, {"what": what, "device": "cpu", "seeds": SEEDS, "exercises": rows, "versions": versions()})
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}{table(load_record('check_power'))}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    import check_power  # the other processes know it by this name

    check_power.main()
