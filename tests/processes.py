"""Training processes to send signals to: `python processes.py FOLDER` runs each of `CASES` in a fork, prints JSON."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import tiny
import torch

from course_lib.train import loop as train
from course_lib.train.checkpoint import list_checkpoints


def fit(folder=None, **settings):
    train.fit(tiny.model(), tiny.image_set(), tiny.val_set(), tiny.config(**settings), folder=folder, quiet=True)


def run(folder, report, slow):
    """Train for very long; tell of the first step. Each step lasts `slow` seconds."""
    real = train.train_step
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def train_step(run, rows):
        if run.progress.step == 1:
            os.write(report, b"going\n")
            time.sleep(slow)
        return real(run, rows)

    train.train_step = train_step
    fit(folder, epochs=10_000)


def stop(folder, first, again, slow):
    """Send a signal, and another until the process ends; returns its exit status and the steps of the checkpoints."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = open(folder.with_suffix(".txt"), "w")  # noqa: SIM115  (until the fork ends)
        try:
            run(folder, write, slow)
        except SystemExit as stopped:
            status = stopped.code
        except KeyboardInterrupt:
            status = 130  # as the `course` command gives
        sys.stdout.flush()
        os._exit(status)  # at once: taking PyTorch down lasts a second
    os.close(write)
    with os.fdopen(read) as reports:
        reports.readline()
        os.kill(child, first)
        ended = 0
        while not ended:
            time.sleep(0.1)  # two of a kind at once may arrive as one
            if again:
                os.kill(child, again)
            ended, status = os.waitpid(child, os.WNOHANG)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "steps": sorted(int(path.name.split("-")[1]) for path in list_checkpoints(folder)),
        "said": folder.with_suffix(".txt").read_text(),
    }


LONG = 250  # seconds: whoever waits for such a step to end waits too long for the tests

CASES = {
    "SIGTERM": (signal.SIGTERM, None, 0.2),
    "Ctrl-C": (signal.SIGINT, None, 0.2),
    "Ctrl-C twice": (signal.SIGINT, signal.SIGINT, LONG),
    "SIGTERM, then Ctrl-C": (signal.SIGTERM, signal.SIGINT, LONG),
    "SIGKILL": (signal.SIGKILL, None, 0.2),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    fit(epochs=1, warmup_epochs=0)  # what PyTorch does only once is done before the forks
    print(json.dumps({name: stop(Path(sys.argv[1]) / name, *case) for name, case in CASES.items()}))
