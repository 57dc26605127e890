"""Two processes are one: the same training to 1e-10, exact evaluation, and no process left behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import tiny
import torch
from distributed_worker import ODD, config, data, train
from tiny import same

from course_lib.train import distributed
from course_lib.train.checkpoint import Store
from course_lib.train.loop import evaluate_set, fit

HERE = Path(__file__).parent
BAR = 1e-10
pytestmark = pytest.mark.slow
PATIENCE = 240  # seconds until something is taken to hang


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(mode, folder):
    """`torchrun` with two processes."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(HERE / "distributed_worker.py")]
    settings = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{HERE.parent}:{HERE}"}
    return subprocess.Popen(
        [sys.executable, *command, mode, str(folder)],
        env={**os.environ, **settings, "MASTER_PORT": str(free_port())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(launcher):
    """Wait for the end; returns what was printed. No process outlives this, whatever happened."""
    children = psutil.Process(launcher.pid).children(recursive=True)
    try:
        said, _ = launcher.communicate(timeout=PATIENCE)
        return said, [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    finally:
        for process in (*children, launcher):
            if isinstance(process, subprocess.Popen) or process.is_running():
                process.kill()


def wait_for(file, launcher):
    until = time.monotonic() + PATIENCE
    while not file.exists():
        assert launcher.poll() is None and time.monotonic() < until, launcher.communicate()[0]
        time.sleep(0.02)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What both processes found, and how their launcher ended when one of them died."""
    folder, begun = tmp_path_factory.mktemp("two"), time.time()
    launcher = start("report", folder)
    wait_for(folder / "crashed", launcher)
    said, left = finish(launcher)
    crashed, ended = (folder / "crashed").stat().st_mtime, time.time()
    reports = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
    crash = {"status": launcher.returncode, "before": crashed - begun, "after": ended - crashed, "left": left}
    with Store(folder / "crash") as store:
        crash["saved"] = store.load()[0]
    return reports, crash, said


@pytest.fixture(scope="module")
def one():
    return train()


def distance(first, second):
    return max((first[name] - second[name]).abs().max().item() for name in second)


# One process, two processes, four parts


@pytest.mark.parametrize("name", ["two", "two, in parts"])
def test_two_processes_are_one(two, one, name):
    for report in two[0]:
        for part in ("model", "average"):
            assert report[name][part].keys() == one[part].keys()
            assert 0 <= distance(report[name][part], one[part]) <= BAR
        assert report[name]["losses"] == pytest.approx(one["losses"], abs=BAR)


def test_four_parts_are_one(one):
    parts = train(accumulate=4)
    assert distance(parts["model"], one["model"]) <= BAR and distance(parts["average"], one["average"]) <= BAR
    assert parts["losses"] == pytest.approx(one["losses"], abs=BAR)


def test_the_bar_would_see_a_wrong_batch(one):
    """20 steps on other images, or with other mixing, differ by far more."""
    for changes in ({"seed": 1}, {"label_smoothing": 0.11}, {"clip_grad": 0.4}):
        assert distance(train(**changes)["model"], one["model"]) > 1e5 * BAR


def test_both_processes_have_the_same_weights(two):
    first, second = two[0]
    for name in ("two", "two, in parts"):
        assert same(first[name], second[name])


# Accelerate as an oracle


@pytest.mark.parametrize("parts", [1, 2])
def test_two_processes_with_accelerate(two, parts):
    for report in two[0]:
        ours, theirs = report["ours for accelerate"][parts], report["accelerate"][parts]
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs) and ours.keys() == theirs.keys()


# Evaluation


@pytest.mark.parametrize("name, count", [("odd", ODD), ("one", 1)])
def test_each_image_counts_once(two, name, count):
    """Also if the processes have different numbers of images, or one has none."""
    wanted = evaluate_set(tiny.model().double(), tiny.image_set(count))
    for report in two[0]:
        assert report[name] == pytest.approx(wanted, rel=1e-12)


# The small things


def test_what_processes_tell_each_other(two):
    for rank, report in enumerate(two[0]):
        assert report["largest"] == 16
        assert report["from main"] == {"rank": 0}
        assert report["sum"] == [1.0, 8.0]
        assert (report["main"], report["world"]) == (rank == 0, 2)
        assert report["odd batch"] == "batch_size 9 must be a multiple of the 2 processes."


def test_one_process_alone():
    values = torch.tensor([1.0, 2.0])
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    assert distributed.sum_over_processes(values) is values
    assert distributed.from_main(values) is values and distributed.wrap(values) is values
    assert distributed.largest(15, torch.device("cpu")) == 15 and distributed.largest(0, torch.device("cpu")) == 0
    distributed.stop()


def test_more_processes_than_cards(monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="process 2 has no graphics card, there are 2: use --nproc_per_node=2"):
        distributed.start(torch.device("cuda"))


# When a process dies, or all are asked to stop


def test_a_crash_ends_all_of_them(two):
    _, crash, said = two
    assert crash["status"] not in (0, None) and crash["left"] == [], said
    assert crash["after"] < crash["before"]  # starting took longer; the ones that wait would wait half an hour
    assert crash["saved"] == 5  # the end of the first epoch


def test_sigterm_saves_and_the_run_goes_on(tmp_path):
    """Even in one process, and to 1e-10 as if nothing had happened."""
    launcher = start("wait", tmp_path)
    wait_for(tmp_path / "going", launcher)
    launcher.send_signal(signal.SIGTERM)
    said, left = finish(launcher)
    assert launcher.returncode != 0 and left == [], said
    with Store(tmp_path / "run") as store:
        step, _ = store.load()
    assert step == 8 and said.count("Stopping, as asked, after step 8.") == 1, said

    def go(folder, seed):
        net = tiny.model(seed)
        return net, fit(net, data(), tiny.image_set(ODD, seed=1), config(), folder=folder, quiet=True)

    (resumed, history), (whole, whole_history) = go(tmp_path / "run", seed=7), go(None, seed=0)
    assert distance(resumed.state_dict(), whole.state_dict()) <= BAR
    for row, wanted in zip(history, whole_history, strict=True):
        for name in ("train_loss", "val_loss", "val_accuracy", "lr"):
            assert row[name] == pytest.approx(wanted[name], abs=BAR)
