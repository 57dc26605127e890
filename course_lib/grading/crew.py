"""Several processes that judge at once, each with its own kernels. One that ends or hangs costs nobody else a mark."""

import multiprocessing
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from course_lib.grading.kernel import Limits
from course_lib.grading.report import Report
from course_lib.grading.run import check
from course_lib.grading.starter import Starter

ATTEMPTS = 2  # for a file over which the judging process itself ends
GRACE = 10  # seconds that a process has to clear up when all is over
PATIENCE = 10  # times all that a notebook may take, before a process that judges it is given up


@dataclass
class _Worker:
    process: Any
    pipe: Any  # a Connection, of which Windows has another kind
    file: Path | None = None
    attempt: int = 0
    since: float = 0.0


def judge_all(
    files: Iterable[Path], workers: int, limits: Limits, chapter: str | None
) -> Iterator[tuple[Path, Report]]:
    """Judge files at the same time; yields each with its report when it is done, in whatever order.

    Every file comes back once. Where it ends the process that judges it, twice, its report says so.
    """
    left = [(file, 1) for file in files][::-1]
    crew = [_hired(limits, chapter) for _ in range(min(workers, len(left)))]
    try:
        while left or any(worker.file for worker in crew):
            for number, worker in enumerate(crew):
                if worker.file is None and left:
                    worker.file, worker.attempt = left.pop()
                    worker.since = time.monotonic()
                    try:
                        worker.pipe.send(worker.file)
                    except OSError:  # it has ended before it began
                        left.append((worker.file, worker.attempt))
                        crew[number] = _hired(limits, chapter)
            wait([worker.pipe for worker in crew if worker.file], timeout=1)
            for number, worker in enumerate(crew):
                if worker.file is None:
                    continue
                hangs = time.monotonic() - worker.since > PATIENCE * (limits.total + limits.start)
                if hangs:
                    worker.process.kill()
                elif not worker.pipe.poll():
                    continue
                try:
                    report = worker.pipe.recv()
                except (EOFError, OSError):
                    worker.process.join()
                    crew[number] = _hired(limits, chapter)
                    if worker.attempt < ATTEMPTS:
                        left.append((worker.file, worker.attempt + 1))
                        continue
                    why = f"the process that judged it ended, twice (status {worker.process.exitcode})"
                    report = Report(worker.file.name, fault=why)
                file, worker.file = worker.file, None
                yield file, report
    finally:
        for worker in crew:
            if worker.file is None:
                worker.pipe.close()
            else:
                worker.process.terminate()
        for worker in crew:
            worker.process.join(GRACE)
            if worker.process.is_alive():  # all that it has started ends with it
                worker.process.kill()
                worker.process.join()


def _hired(limits: Limits, chapter: str | None) -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, limits, chapter))
    process.start()
    there.close()
    return _Worker(process, here)


def _work(pipe: Any, limits: Limits, chapter: str | None) -> None:
    """Judge what comes through the pipe, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind
    with Starter() as starter:
        while True:
            try:
                file = pipe.recv()
            except EOFError:
                return
            pipe.send(check(starter, file, limits, chapter))
