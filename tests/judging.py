"""Many answers to one exercise, judged as the course judges each: the oracle and the mistakes run once for all."""

import functools
from dataclasses import replace
from unittest import mock

from course_lib.checks import EXERCISES
from course_lib.checks import exercise as engine
from course_lib.checks.staged import StagedExercise


@functools.cache
def judge(name, answer, seed):
    """The `Verdict` of `EXERCISES[name].judge(answer, seed)`."""
    exercise, run = _bench(name)
    if isinstance(EXERCISES[name], StagedExercise):
        answer = EXERCISES[name].staged(answer)
    with mock.patch.object(engine, "run", run):
        return exercise.judge(answer, seed)


def status(name, answer, seed):
    """Only the status, without looking for a hint, which costs most."""
    with mock.patch.object(engine.Exercise, "_hint", lambda *_: ""):
        return judge.__wrapped__(name, answer, seed).status


@functools.lru_cache(1)  # the answers to an exercise come one after the other
def _bench(name):
    """The exercise with the probes of each seed kept, and a `run` that keeps what the oracle and the mistakes gave."""
    exercise, run, probes, given = EXERCISES[name], engine.run, {}, {}
    exercise = getattr(exercise, "on_stage", exercise)
    known = {exercise.oracle, *(mistake.gives for mistake in exercise.mistakes)}

    def probes_once(generator):
        seed = generator.initial_seed()
        if seed not in probes:
            probes[seed] = exercise.probes(generator)
        return probes[seed]

    def run_once(function, inputs, forbidden=()):
        if function not in known:
            return run(function, inputs, forbidden)
        key = function, id(inputs)  # the same probes all the time, so an id stands for one of them
        if key not in given:
            given[key] = run(function, inputs, forbidden)
        return given[key]

    return replace(exercise, probes=probes_once), run_once
