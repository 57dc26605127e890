"""Kill a process that saves checkpoints, many times, at random moments: `python kills.py FOLDER COUNT`.

PyTorch is loaded once; each process to kill is a fork. Prints what was found after each kill, as JSON.
"""

import gc
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from course_lib.train.checkpoint import DamagedError, Store, list_checkpoints, read_checkpoint


def state_of(step):
    """Small at most steps, half a megabyte at some: the kill should find both."""
    return {"step": step, "weights": torch.full((1 if step % 3 else 130_000,), float(step))}


def save_for_ever(folder, report):
    with Store(folder) as store:
        found = store.load()
        step = found[0] if found else 0
        while True:
            os.write(report, f"{step}\n".encode())
            step += 1
            store.save(step, state_of(step))


def kill_once(folder, delay):
    """Kill a process so many seconds after it began to save; returns the last step that it had saved by then."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        save_for_ever(folder, write)
    os.close(write)
    with os.fdopen(read) as reports:
        begun = reports.readline()
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return max(map(int, [begun, *reports]))


def is_damaged(path):
    try:
        read_checkpoint(path)
    except DamagedError:
        return True
    return False


def main(folder, count):
    gc.freeze()  # a collection would copy the pages that the forks share
    moments = random.Random(0)
    begun = time.monotonic()
    with Store(folder) as store:
        for step in range(10):
            store.save(step, state_of(step))
    long = 3 * (time.monotonic() - begun) / 10  # of a save, on this machine
    found = {"damaged": 0, "lost": 0, "wrong": 0, "half_written": 0, "most_files": 0}
    for _ in range(count):
        saved = kill_once(folder, moments.uniform(0, long))
        files = list_checkpoints(folder)
        found["damaged"] += sum(map(is_damaged, files))
        found["most_files"] = max(found["most_files"], len(files))
        found["half_written"] += any(Path(folder).glob(".step-*"))
        with Store(folder) as store:
            step, state = store.load() or (0, state_of(0))
        found["lost"] += step not in (saved, saved + 1)  # the one after, if it died between the save and its report
        found["wrong"] += state["step"] != step or not torch.equal(state["weights"], state_of(step)["weights"])
    print(json.dumps(found | {"saves": step - 9}))


main(sys.argv[1], int(sys.argv[2]))
