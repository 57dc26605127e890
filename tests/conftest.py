"""What all test files share: three sizes of the suite, the browser's fixtures, patience on a busy machine.

`make check` runs what is not marked `slow` and needs no browser; `make test` everything that is not marked
`nightly`; `make nightly` (pytest --nightly) everything, with the full numbers of `nightly.full`.
"""

import os
import sys
import time
from collections import Counter

import pytest

# Two test processes on two cores: more threads would only wait for each other. The kernels inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

# Dozens of processes import the same files: they are compiled once, also where an image forbids it to save space.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

STARTED = time.monotonic(), time.process_time()

pytest_plugins = ["browser", "data_files", "pytester"]
BROWSER = {"chromium", "site_build"}  # fixtures; whoever needs one is slow


def pytest_addoption(parser):
    parser.addoption("--nightly", action="store_true", help="run what is marked nightly too, and the full numbers")


def pytest_configure(config):
    if config.getoption("nightly"):
        os.environ["NIGHTLY"] = "1"  # for `nightly.full`, and for the processes that tests start


@pytest.hookimpl(tryfirst=True)  # before -m is applied
def pytest_collection_modifyitems(config, items):
    # The time limit only ends what hangs. Where something else uses the processor, everything takes longer.
    wall, cpu = time.monotonic() - STARTED[0], time.process_time() - STARTED[1]
    for item in items:
        if BROWSER & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
        limit = item.get_closest_marker("timeout")
        limit = limit.args[0] if limit else float(config.getini("timeout"))
        item.add_marker(pytest.mark.timeout(limit * max(1, wall / cpu)), append=False)
    if not os.environ.get("NIGHTLY"):
        left = [item for item in items if item.get_closest_marker("nightly")]
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=left)


def pytest_terminal_summary(terminalreporter):
    """One line for each reason, however many tests were skipped for it."""
    skipped = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])]
    for reason, count in Counter(skipped).items():
        terminalreporter.write_line(f"{count} tests skipped: {reason.removeprefix('Skipped: ')[:200]}", yellow=True)
