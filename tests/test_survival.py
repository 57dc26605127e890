"""A training run survives: what went on after a crash is, to the last bit, the run that never crashed."""

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import processes
import pytest
import tiny
import torch
from tiny import same

from course_lib.train import checkpoint, distributed, watch
from course_lib.train import device as machine
from course_lib.train import loop as train
from course_lib.train import run as run_module
from course_lib.train.checkpoint import CheckpointError, Store, list_checkpoints
from course_lib.train.config import TrainConfig
from course_lib.train.loop import TrainingError, fit, train_step
from course_lib.train.optim import warmup_cosine_lr
from course_lib.train.run import Run
from course_lib.train.watch import StopSignals, leave

HERE = Path(__file__).parent
EVERYTHING = {"ema": 0.9, "accumulate": 2, "label_smoothing": 0.1, "warmup_epochs": 0.5}
LAST = 3 * tiny.STEPS
LONG = tiny.image_set(tiny.LONG)

pytestmark = pytest.mark.slow


def model(seed=0, **changes):
    return tiny.model(seed, **{"drop_rate": 0.1, "attn_drop_rate": 0.1, "drop_path_rate": 0.1, **changes})


def go(folder=None, seed=0, config=None, data=None, net=None, **options):
    """A whole run; with another seed, its model begins with other weights, which a checkpoint must replace."""
    net = net or model(seed)
    config = config or tiny.config(**EVERYTHING)
    history = fit(net, data or tiny.image_set(), tiny.val_set(), config, folder=folder, quiet=True, **options)
    return net, history


def saved(folder):
    with Store(folder) as store:
        return store.load()


class Crash(Exception):
    """The process is gone."""


def crash_at(monkeypatch, step, error=Crash):
    """Within: that step raises, and nothing is saved for it."""
    real = train.compute_gradients

    def compute_gradients(run, rows):
        if run.progress.step == step:
            raise error
        return real(run, rows)

    monkeypatch.setattr(train, "compute_gradients", compute_gradients)


def whole_run(folder, data):
    """A run that nothing disturbs: (model, history, the state at its end, the states after each step)."""
    states, real = {}, watch.Watch.after_step

    def after_step(watch):
        real(watch)
        states[watch.run.progress.step] = tiny.frozen(watch.run.state())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch.Watch, "after_step", after_step)
        net, history = go(folder, data=data)
    assert len(states) == saved(folder)[0] == 3 * (len(data) // tiny.BATCH)
    return net, history, saved(folder)[1], states


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The run that the others must equal."""
    return whole_run(tmp_path_factory.mktemp("whole"), tiny.image_set())


@pytest.fixture(scope="module")
def uninterrupted_long(tmp_path_factory):
    """The same with 39 steps."""
    return whole_run(tmp_path_factory.mktemp("long"), LONG)


def agrees(uninterrupted, net, history, folder):
    whole, whole_history, whole_state, _ = uninterrupted
    return (
        same(net.state_dict(), whole.state_dict())
        and same(history, whole_history)
        and same(saved(folder)[1], whole_state)
        and same(json.loads((folder / "history.json").read_text()), whole_history)
    )


# Row 27: exact resume


@pytest.mark.slow
def test_stopped_and_continued_after_every_single_step(tmp_path, monkeypatch, uninterrupted_long):
    """39 processes, each of which does one step. After each, all of the state is compared, not only at the end."""
    real = watch.Watch.after_step

    def stop(watch):
        watch.signals.number = signal.SIGTERM
        real(watch)

    monkeypatch.setattr(watch.Watch, "after_step", stop)
    for step in range(1, 40):
        with pytest.raises(SystemExit) as status:
            go(tmp_path, seed=step - 1, data=LONG)
        found, state = saved(tmp_path)
        assert (status.value.code, found) == (143, step)
        assert same(state, uninterrupted_long[3][step])
    assert agrees(uninterrupted_long, *go(tmp_path, seed=99, data=LONG), tmp_path)


@pytest.mark.parametrize(
    "settings",
    [{"class_weights": True}, {"balanced": True}, {"patience": 1}, {"patience": 2, "balanced": True}],
    ids=str,
)
def test_stopped_and_continued_with_every_later_setting(tmp_path, monkeypatch, settings):
    """Also the best epoch's weights, and how many were right so far, are those of the run that was not stopped."""
    config = tiny.config(**EVERYTHING | {"epochs": 5, "seed": 3} | settings)
    net, history = go(tmp_path / "whole", config=config)
    real = watch.Watch.after_step

    def stop(watch):
        watch.signals.number = signal.SIGTERM
        real(watch)

    stops = 0
    with monkeypatch.context() as patch:
        patch.setattr(watch.Watch, "after_step", stop)
        while stops < 7:
            with pytest.raises(SystemExit):
                go(tmp_path / "parts", seed=stops, config=config)
            stops += 1
    again = go(tmp_path / "parts", seed=99, config=config)
    assert same(again[0].state_dict(), net.state_dict()) and same(again[1], history)
    assert same(saved(tmp_path / "parts")[1], saved(tmp_path / "whole")[1])


def test_the_best_epochs_weights_are_kept(tmp_path):
    """By accuracy on validation, the earliest of equals."""
    seen, real = {}, watch.Watch.after_epoch

    def after_epoch(watch, *arguments):
        seen[watch.run.progress.epoch] = tiny.frozen(watch.run.average.state_dict())
        real(watch, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch.Watch, "after_epoch", after_epoch)
        _, history = go(tmp_path, config=tiny.config(epochs=12, lr=0.01, seed=2, ema=0.5))
    accuracies = [row["val_accuracy"] for row in history]
    best = 1 + accuracies.index(max(accuracies))
    assert best < 12, "choose another seed: the last is the best"
    state = saved(tmp_path)[1]
    assert same(state["best"], seen[best]) and not same(state["best"], seen[12])


def test_patience(tmp_path):
    """The run ends after so many epochs in a row without anything better, and is the beginning of the longer one."""
    settings = {"epochs": 12, "lr": 0.01, "seed": 2}
    _, whole = go(tmp_path / "whole", config=tiny.config(**settings))
    accuracies = [row["val_accuracy"] for row in whole]
    for patience in (1, 2, 3):
        waited = [n for n in range(1, 13) if n - (1 + accuracies.index(max(accuracies[:n]))) >= patience]
        _, history = go(tmp_path / str(patience), config=tiny.config(**settings, patience=patience))
        assert same(history, whole[: waited[0] if waited else 12])
        assert go(tmp_path / str(patience), config=tiny.config(**settings, patience=patience))[1] == history
    assert len(history) < 12, "choose another seed: nothing is stopped"


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, tiny.STEPS - 1, tiny.STEPS, 12, LAST - 1])
def test_killed_without_a_chance_to_save(tmp_path, monkeypatch, uninterrupted, step):
    """It goes on from the end of the epoch before."""
    with monkeypatch.context() as patch:
        crash_at(patch, step)
        with pytest.raises(Crash):
            go(tmp_path)
    assert saved(tmp_path)[0] == step // tiny.STEPS * tiny.STEPS
    assert agrees(uninterrupted, *go(tmp_path, seed=1), tmp_path)


@pytest.mark.slow
def test_killed_while_evaluating(tmp_path, monkeypatch, uninterrupted):
    """With a checkpoint from the last step of the epoch, whose validation is still to come."""
    monkeypatch.setattr(watch, "SAVE_EVERY", -1)
    with monkeypatch.context() as patch:
        patch.setattr(train, "evaluate_set", lambda *_: (_ for _ in ()).throw(Crash))
        with pytest.raises(Crash):
            go(tmp_path)
    assert saved(tmp_path)[0] == tiny.STEPS
    assert agrees(uninterrupted, *go(tmp_path, seed=1), tmp_path)


def test_the_newest_checkpoint_is_damaged(tmp_path, monkeypatch, uninterrupted, capsys):
    with monkeypatch.context() as patch:
        crash_at(patch, 12)
        with pytest.raises(Crash):
            go(tmp_path)
    newest = list_checkpoints(tmp_path)[0]
    newest.write_bytes(newest.read_bytes()[:-7])
    assert agrees(uninterrupted, *go(tmp_path, seed=1), tmp_path)
    assert "is damaged" in capsys.readouterr().out


def test_never_a_silent_restart(tmp_path):
    go(tmp_path)
    for path in list_checkpoints(tmp_path):
        path.write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    net = model()
    start = tiny.frozen(net.state_dict())
    with pytest.raises(CheckpointError, match="none of the 2 checkpoints"):
        go(tmp_path, net=net)
    assert same(net.state_dict(), start) and sorted(tmp_path.iterdir()) == before


def test_a_finished_run_is_only_read(tmp_path, monkeypatch, uninterrupted):
    go(tmp_path)
    (tmp_path / "history.json").unlink()  # it may have died between the checkpoint and this
    crash_at(monkeypatch, None, AssertionError)
    monkeypatch.setattr(train, "train_step", None)
    assert agrees(uninterrupted, *go(tmp_path, seed=1), tmp_path)


def test_saved_by_the_clock(tmp_path, monkeypatch):
    """Every ten minutes, however long an epoch is."""
    clock, real = [0.0], train.train_step

    def train_step(run, rows):
        clock[0] += 250
        return real(run, rows)

    found, save = [], Store.save
    monkeypatch.setattr(Store, "save", lambda store, step, state: (found.append(step), save(store, step, state)))
    monkeypatch.setattr(watch.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(train, "train_step", train_step)
    go(tmp_path, config=tiny.config(epochs=1, warmup_epochs=0), data=LONG)
    assert found == [0, 3, 6, 9, 12, 13] and watch.SAVE_EVERY == 600
    assert saved(tmp_path)[1]["progress"]["seconds"] == 250 * 13


# Row 28: another run in the same folder

CHANGES = {
    "lr": ({"lr": 2e-3}, "config.lr: 0.001 -> 0.002"),
    "batch_size": ({"batch_size": 8}, "config.batch_size: 4 -> 8"),
    "epochs": ({"epochs": 5}, "config.epochs: 3 -> 5"),
    "weight_decay": ({"weight_decay": 0.0}, "config.weight_decay: 0.05 -> 0.0"),
    "betas": ({"betas": (0.8, 0.9)}, r"config.betas: \[0.9, 0.999\] -> \[0.8, 0.9\]"),
    "ema": ({"ema": 0.0}, "config.ema: 0.9 -> 0.0"),
    "augment": ({"augment": replace(tiny.AUGMENT, crop=2)}, "config.augment.crop: 1 -> 2"),
    "precision": ({"precision": "bfloat16"}, "config.precision: float32 -> bfloat16"),
    "seed": ({"seed": 1}, "config.seed: 0 -> 1"),
}


@pytest.fixture(scope="module")
def half_way(tmp_path_factory):
    """The folder of a run that was killed in its third epoch."""
    folder = tmp_path_factory.mktemp("half")
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, 2 * tiny.STEPS + 3)
        with pytest.raises(Crash):
            go(folder)
    return folder


@pytest.fixture
def folder(half_way, tmp_path):
    return shutil.copytree(half_way, tmp_path / "run")


@pytest.mark.parametrize("name", CHANGES)
def test_changed_settings_are_refused_and_named(folder, name):
    changes, words = CHANGES[name]
    net = model()
    start = tiny.frozen(net.state_dict())
    with pytest.raises(CheckpointError, match=rf"of another run: {words}\. Use the old.*--allow-change") as error:
        go(folder, net=net, config=tiny.config(**EVERYTHING | changes))
    assert "\n" not in str(error.value) and same(net.state_dict(), start)
    assert saved(folder)[0] == 2 * tiny.STEPS


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_changed_settings_on_request(folder, name, capsys):
    changes, words = CHANGES[name]
    config = tiny.config(**EVERYTHING | changes)
    _, history = go(folder, config=config, allow_change=True)
    assert "Going on with other settings: " + words.replace("\\", "") + "." in capsys.readouterr().out
    assert [row["epoch"] for row in history] == list(range(1, config.epochs + 1))  # two were done, the rest are new
    step, state = saved(folder)
    steps = tiny.TRAIN // config.batch_size
    assert step == state["progress"]["step"] == config.epochs * steps
    for group, decay in zip(state["optimizer"]["param_groups"], (config.weight_decay, 0.0), strict=True):
        assert (group["weight_decay"], tuple(group["betas"])) == (decay, config.betas)
    assert go(folder, config=config, seed=1)[1] == history  # from now on these are the run's settings


@pytest.mark.parametrize("done", [1, 5, 12])
@pytest.mark.slow
def test_another_batch_size_within_an_epoch(tmp_path, monkeypatch, done):
    """The epoch goes on at the same place in the data, as nearly as the new batches allow."""
    with monkeypatch.context() as patch:
        patch.setattr(watch, "SAVE_EVERY", -1)
        crash_at(patch, 13 + done)
        with pytest.raises(Crash):
            go(tmp_path, data=LONG)
    run = Run(model(), LONG, tiny.config(**EVERYTHING | {"batch_size": 8}))  # 6 steps an epoch
    run.restore(saved(tmp_path)[1], allow_change=True)
    assert (run.progress.epoch, run.progress.step) == (1, round((13 + done) * 6 / 13))
    loss, accuracy = train.train_one_epoch(run)
    assert 1 < loss < 3 and 0 <= accuracy <= 1  # means, as of five classes


@pytest.mark.parametrize(
    "data, words",
    [
        (tiny.image_set(name="other/train"), "data.name: tiny/train -> other/train"),
        (tiny.image_set(23), r"data.images: \[22, 1, 8, 8\] -> \[23, 1, 8, 8\]"),
        (replace(tiny.image_set(), classes=tuple("abcdef")), "data.classes: 5 -> 6"),
    ],
)
def test_other_data_are_refused(folder, data, words):
    val = replace(tiny.val_set(), classes=data.classes)
    with pytest.raises(CheckpointError, match=words):
        fit(model(), data, val, tiny.config(**EVERYTHING), folder=folder, quiet=True)


def listed(fingerprint, count=tiny.TRAIN):
    """Images whose files are known."""
    return replace(tiny.image_set(count), fingerprint=fingerprint)


@pytest.mark.parametrize("count", [tiny.TRAIN, tiny.TRAIN - 2])
def test_a_repaired_folder_is_refused_and_named(tmp_path, capsys, count):
    """Its images may be as many as before: what was read tells. On request the run goes on with them."""
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, tiny.STEPS + 2)
        with pytest.raises(Crash):
            go(tmp_path, data=listed("a"))
    words = "the images in tiny/train have changed since this run began: --again trains anew"
    with pytest.raises(CheckpointError, match=words):
        go(tmp_path, data=listed("b", count))
    _, history = go(tmp_path, data=listed("b", count), allow_change=True)
    assert len(history) == 3 and "data.fingerprint: a -> b" in capsys.readouterr().out
    assert "after epoch 1: " in saved(tmp_path)[1]["progress"]["changes"][0]


@pytest.mark.parametrize(("before", "now"), [(None, "a"), ("a", None), ("a", "a")])
def test_files_that_nobody_knew_of_do_not_count(folder, tmp_path, before, now):
    """As those of a checkpoint that an older version wrote."""
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, tiny.STEPS + 2)
        with pytest.raises(Crash):
            go(tmp_path / "listed", data=listed(before))
    assert len(go(tmp_path / "listed", data=listed(now))[1]) == 3


@pytest.mark.parametrize("allow", [False, True])
def test_another_model_is_always_refused(folder, allow):
    net = model(depth=3)
    with pytest.raises(CheckpointError, match=r"model\.blocks\.2\.norm1\.weight: None -> \[12\].* and 5 more") as error:
        go(folder, net=net, allow_change=allow)
    assert "allow" not in str(error.value) and len(str(error.value)) < 1000


def test_what_means_the_same_may_change(folder, capsys, uninterrupted):
    """In float32 the sums are rounded otherwise; without dropout everything else is the same."""
    _, history = go(folder, config=tiny.config(**EVERYTHING | {"accumulate": 4}))
    assert "not the same to the last bit: accumulate: 2 -> 4." in capsys.readouterr().out
    assert history[-1]["train_loss"] == pytest.approx(uninterrupted[1][-1]["train_loss"], rel=0.1)


# Row 30: from another device, with other numbers or processes


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("device", "cuda", "device: cuda -> cpu"),
        ("precision", "torch.bfloat16", "precision: torch.bfloat16 -> torch.float32"),
        ("processes", 2, "processes: 2 -> 1"),
        ("threads", 99, f"threads: 99 -> {torch.get_num_threads()}"),
        ("torch", "2.11.0", f"torch: 2.11.0 -> {torch.__version__}"),
    ],
)
def test_from_another_place(folder, capsys, uninterrupted, name, value, words):
    with Store(folder) as store:
        step, state = store.load()
        state["place"][name] = value
        store.save(step, state)
    assert agrees(uninterrupted, *go(folder, seed=1), folder)
    assert f"Going on, but not the same to the last bit: {words}." in capsys.readouterr().out


def test_the_same_place_needs_no_word(folder, capsys):
    go(folder)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("there, here", [("float16", "float32"), ("float32", "float16"), ("bfloat16", "float16")])
def test_precision_of_another_device(tmp_path, monkeypatch, capsys, there, here):
    """With "auto", it may be another one where the run goes on; the scaler of float16 comes and goes."""

    def go_on(dtype):
        monkeypatch.setattr(run_module, "get_precision", lambda name, device: getattr(torch, dtype))
        return go(tmp_path, config=tiny.config(epochs=2, precision="auto"))

    with monkeypatch.context() as patch:
        crash_at(patch, tiny.STEPS + 2)
        with pytest.raises(Crash):
            go_on(there)
    _, history = go_on(here)
    assert len(history) == 2 and math.isfinite(history[1]["train_loss"])
    assert f"precision: torch.{there} -> torch.{here}" in capsys.readouterr().out


# Row 31: numbers that are not finite


def runs(net=None, **changes):
    """A `Run` in the middle of its first epoch."""
    settings = EVERYTHING | {"epochs": 2} | changes
    run = Run(net or model(), LONG, tiny.config(**settings))
    run.model.train()
    for step in range(3):
        run.progress.last_loss = train_step(run, torch.arange(4 * step, 4 * step + 4))
        run.progress.step += 1
    return run


def spoil_pixel(run):
    images = run.data.images.float() / 255
    images[14, 0, 3, 3] = math.inf
    run.data = replace(run.data, images=images)


def spoil_weight(run):
    """Not the weight itself: a hook, so that the weights can be compared afterwards."""
    run.model.head.register_forward_hook(lambda module, inputs, output: output * math.nan)


def spoil_gradient(run):
    run.model.norm.weight.register_hook(lambda gradient: gradient * math.inf)


@pytest.mark.parametrize("spoil", [spoil_pixel, spoil_weight, spoil_gradient])
def test_stops_before_the_step(spoil):
    run = runs()
    spoil(run)
    before, rate = tiny.frozen(run.state()), warmup_cosine_lr(3, 26, 6, 1e-3)
    with pytest.raises(TrainingError) as error:
        train_step(run, torch.tensor([12, 13, 14, 15]))
    words = str(error.value)
    assert words.startswith("step 3: loss ") and "\n" not in words
    for part in (
        f"learning rate {rate:.3g};",
        f"loss of the step before: {run.progress.last_loss:.4g};",
        "images [12, 13, 14, 15].",
    ):
        assert part in words
    after = run.state()
    for group in (*before["optimizer"]["param_groups"], *after["optimizer"]["param_groups"]):
        group.pop("lr")  # of the step that was not made
    assert same(after, before)
    assert all(parameter.grad is None for parameter in run.model.parameters())


def test_the_first_step_has_none_before():
    run = Run(model(), tiny.image_set(), tiny.config())
    spoil_weight(run)
    with pytest.raises(TrainingError, match="step 0: loss nan, .* loss of the step before: none;"):
        train_step(run, torch.arange(4))


def test_the_last_good_checkpoint_stays(tmp_path):
    data = tiny.image_set()
    images = data.images.float() / 255
    net = model()
    net.head.register_forward_hook(lambda m, i, output: output * (math.nan if len(seen) > 12 else 1))
    seen = []
    net.register_forward_pre_hook(lambda m, i: seen.append(1) if m.training else None)
    with pytest.raises(TrainingError, match="step 6: loss nan"):
        go(tmp_path, net=net, data=replace(data, images=images))
    step, state = saved(tmp_path)
    assert step == tiny.STEPS and all(value.isfinite().all() for value in state["model"].values())


def test_a_validation_that_is_not_finite_saves_nothing(tmp_path):
    val = tiny.val_set()
    images = val.images.float()
    images[3] = math.nan
    with pytest.raises(ValueError, match="the loss on 7 images is nan"):
        fit(model(), tiny.image_set(), replace(val, images=images), tiny.config(), folder=tmp_path, quiet=True)
    assert saved(tmp_path)[0] == 0


# Row 32: float16 that overflows


def test_an_overflow_is_skipped_and_counted():
    run = runs(precision="float16")
    assert run.progress.skipped == 0
    run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=1000)
    rates = []
    for step in range(3, 13):
        before = tiny.frozen(run.state())
        skipped = run.progress.skipped
        train_step(run, torch.arange(4 * step, 4 * step + 4))
        if run.progress.skipped > skipped:
            assert run.progress.overflows == before["progress"]["overflows"] + 1
            for part in ("model", "average"):
                assert same(run.state()[part], before[part])
            assert same(run.state()["optimizer"]["state"], before["optimizer"]["state"])
        else:
            assert run.progress.overflows == 0 and not same(run.state()["model"], before["model"])
            assert not same(run.state()["average"], before["average"])
        run.progress.step += 1
        rates.append(run.optimizer.param_groups[0]["lr"])
    assert 1 <= run.progress.skipped <= 8
    applied = 10 - run.progress.skipped
    assert rates[-1] == warmup_cosine_lr(3 + applied - 1, 26, 6, 1e-3)  # the schedule did not advance meanwhile
    assert run.scaler.get_scale() == 2.0 ** (24 - run.progress.skipped)


def test_twenty_overflows_in_a_row_are_an_error():
    run = runs(precision="float16")
    run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100)
    before = tiny.frozen(run.model.state_dict())
    for _ in range(19):
        train_step(run, torch.arange(4))
        run.progress.step += 1
    with pytest.raises(TrainingError, match="20 steps in a row overflowed in float16: use precision='bfloat16'"):
        train_step(run, torch.arange(4))
    assert same(run.model.state_dict(), before) and run.progress.skipped == 20


def test_only_float16_may_overflow():
    for precision in ("float32", "bfloat16", "float64"):
        run = runs(precision=precision)
        spoil_gradient(run)
        with pytest.raises(TrainingError, match="length of the gradient"):
            train_step(run, torch.arange(4))
        assert run.progress.skipped == 0


def test_a_loss_that_is_not_finite_is_no_overflow():
    run = runs(precision="float16")
    spoil_weight(run)
    with pytest.raises(TrainingError, match="step 3: loss nan"):
        train_step(run, torch.arange(4))
    assert run.progress.skipped == 0


# Row 33: out of memory


def small_memory(net, images, evaluating=False):
    """From now on the model holds so many images at once."""

    def check(module, inputs):
        if (module.training or evaluating) and len(inputs[0]) > images:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79.15 GiB.")

    net.register_forward_pre_hook(check)
    return net


@pytest.mark.parametrize("images, parts", [(2, 2), (1, 4)])
def test_out_of_memory_halves_the_parts(images, parts, capsys):
    """And the result is that of a run which was cut so from the beginning."""
    settings = EVERYTHING | {"accumulate": 1, "epochs": 1, "warmup_epochs": 0}
    net, history = go(net=small_memory(model(), images), config=tiny.config(**settings))
    said = capsys.readouterr().out.splitlines()
    whole, whole_history = go(config=tiny.config(**settings | {"accumulate": parts}))
    assert same(net.state_dict(), whole.state_dict()) and same(history, whole_history)
    assert len(said) == parts.bit_length() - 1  # once for each halving, not at each step
    assert "79.15 GiB" in said[-1] and f"each batch of 4 in {parts} parts. {train.LEVERS}" in said[-1]


def test_out_of_memory_in_the_backward_pass(capsys):
    """Gradients of a part that was done are not counted twice."""
    settings = EVERYTHING | {"accumulate": 2, "epochs": 1, "warmup_epochs": 0}
    net, passes = model(), []

    def fail(gradient):
        passes.append(1)
        if len(passes) == 2:
            raise torch.OutOfMemoryError("once")

    net.head.weight.register_hook(fail)
    go(net=net, config=tiny.config(**settings))
    whole, _ = go(config=tiny.config(**settings | {"accumulate": 4}))
    assert same(net.state_dict(), whole.state_dict())


def test_out_of_memory_for_ever(capsys):
    net = small_memory(model(), 0)
    start = tiny.frozen(net.state_dict())
    with pytest.raises(TrainingError, match=r"a batch of 4 in 4 parts: CUDA out of memory.*Smaller batch_size"):
        go(net=net)
    assert len(capsys.readouterr().out.splitlines()) == 1 and same(net.state_dict(), start)


@pytest.mark.parametrize("lever", ["batch_size", "accumulate", "precision", "model"])
def test_the_levers(lever):
    assert lever in train.LEVERS


def test_out_of_memory_elsewhere_is_explained():
    with pytest.raises(TrainingError, match=r"out of memory: CUDA.*Smaller batch_size"):
        go(net=small_memory(model(), 4, evaluating=True))


SHORT = (
    "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 80 bytes."
)


def small_processor(net, images, error):
    """As `small_memory`, on a device for whose memory PyTorch has no class of errors."""

    def check(module, inputs):
        if module.training and len(inputs[0]) > images:
            raise error

    net.register_forward_pre_hook(check)
    return net


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(f"{SHORT} Error code 12 (Cannot allocate memory)\nframe 0: c10::ThrowEnforceNotMet"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GiB, other allocations: 1 GiB)."),
        MemoryError(),
        MemoryError("Unable to allocate 3.64 TiB for an array with shape (1000000000000,)"),
    ],
    ids=["Linux", "Windows", "Apple", "Python", "NumPy"],
)
def test_a_processor_without_memory(error, capsys):
    """The parts are halved, and where that does not help the error is one line with the levers."""
    settings = EVERYTHING | {"accumulate": 1, "epochs": 1, "warmup_epochs": 0}
    go(net=small_processor(model(), 2, error), config=tiny.config(**settings))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1 and f"in 2 parts. {train.LEVERS}" in said[0]
    with pytest.raises(
        TrainingError, match="out of memory with a batch of 4 in 4 parts: .*Smaller batch_size"
    ) as raised:
        go(net=small_processor(model(), 0, error))
    assert "\n" not in str(raised.value)


def test_real_shortage_on_the_processor():
    with pytest.raises(TrainingError, match=r"out of memory: .*Smaller batch_size") as raised, train.errors_explained():
        torch.empty(2**58, dtype=torch.uint8)
    assert "\n" not in str(raised.value)


def test_a_model_that_cannot_be_compiled(monkeypatch):
    """As on a machine without a C++ compiler; what PyTorch says of it has many lines."""
    torch.compiler.reset()  # what was often compiled before in this process is left as it is, and nobody is asked
    real = torch.nn.Module.compile

    def backend(graph, inputs):
        raise RuntimeError("Compiler: cl is not found.\nSet TORCHDYNAMO_VERBOSE=1 for more")

    monkeypatch.setattr(torch.nn.Module, "compile", lambda model: real(model, backend=backend))
    with pytest.raises(TrainingError, match="the model cannot be compiled here .*: use compile=False") as raised:
        go(config=tiny.config(compile=True))
    assert "\n" not in str(raised.value)


def test_other_errors_are_not_of_memory():
    with pytest.raises(RuntimeError, match="mat1 and mat2"), train.errors_explained():
        torch.ones(2, 3) @ torch.ones(2, 3)
    with pytest.raises(RuntimeError, match="a bug"):
        go(net=small_processor(model(), 0, RuntimeError("a bug")))


def test_out_of_memory_with_several_processes(monkeypatch):
    """One process cannot change the parts on its own."""
    run = runs(accumulate=1)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    with pytest.raises(TrainingError, match="batch of 2 in 1 parts"):
        train.make_room(run, "CUDA out of memory.")


# Rows 4, 5, 34, 35: the folder


def test_a_full_disk_stops_no_run(tmp_path, monkeypatch, uninterrupted, capsys):
    """The run warns and goes on; when there is room again, it is saved again."""
    real, save = shutil.disk_usage, Store.save

    def save_late(store, step, state):
        room = step in (0, LAST)
        monkeypatch.setattr(shutil, "disk_usage", real if room else lambda path: real(path)._replace(free=10))
        save(store, step, state)

    monkeypatch.setattr(Store, "save", save_late)
    net, history = go(tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and all(line.startswith("Warning: no space: need 0 MB, 0 MB free in ") for line in said)
    assert agrees(uninterrupted, net, history, tmp_path)


def test_a_history_that_cannot_be_written_stops_no_run(tmp_path, monkeypatch, capsys):
    calls, real = [], watch.write_history

    def write_history(*arguments):
        calls.append(1)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(*arguments)

    monkeypatch.setattr(watch, "write_history", write_history)
    _, history = go(tmp_path)
    assert "Warning: " in capsys.readouterr().out
    assert json.loads((tmp_path / "history.json").read_text()) == history


def no_training(monkeypatch):
    monkeypatch.setattr(train, "train_step", lambda *_: pytest.fail("training began"))


def test_a_full_disk_is_found_before_training(tmp_path, monkeypatch):
    no_training(monkeypatch)
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=10))
    with pytest.raises(CheckpointError, match="no space"):
        go(tmp_path)


@pytest.mark.parametrize("which", ["folder", "copy_to"])
def test_a_folder_that_is_no_folder_is_found_before_training(tmp_path, monkeypatch, which):
    no_training(monkeypatch)
    (tmp_path / "file").touch()
    folders = {"folder": tmp_path / "run", which: tmp_path / "file" / "run"}
    with pytest.raises(CheckpointError, match=f"cannot write in {tmp_path / 'file' / 'run'} .*--out"):
        go(**folders)


def test_a_drive_that_is_not_mounted_is_found_before_training(tmp_path, monkeypatch):
    no_training(monkeypatch)
    monkeypatch.setattr(checkpoint, "DRIVE", tmp_path / "drive")
    with pytest.raises(CheckpointError, match="not mounted"):
        go(tmp_path / "run", copy_to=tmp_path / "drive" / "MyDrive" / "run")


def test_a_folder_in_use_is_found_before_training(tmp_path, monkeypatch):
    no_training(monkeypatch)
    with Store(tmp_path), pytest.raises(CheckpointError, match="in use by process"):
        go(tmp_path)


def test_a_machine_that_is_lost_with_its_disk(tmp_path, monkeypatch, uninterrupted):
    with monkeypatch.context() as patch:
        crash_at(patch, 12)
        with pytest.raises(Crash):
            go(tmp_path / "lost", copy_to=tmp_path / "drive")
    shutil.rmtree(tmp_path / "lost")
    net, history = go(tmp_path / "fresh", copy_to=tmp_path / "drive", seed=1)
    assert agrees(uninterrupted, net, history, tmp_path / "fresh")
    assert saved(tmp_path / "drive")[0] == LAST


def test_a_drive_that_fails_loses_nothing(tmp_path, monkeypatch, uninterrupted, capsys):
    real = checkpoint.write_atomically

    def write(path, data):
        if path.parent.name == "drive" and "step-00000000" not in path.name:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        real(path, data)

    monkeypatch.setattr(checkpoint, "write_atomically", write)
    net, history = go(tmp_path / "run", copy_to=tmp_path / "drive")
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3 and all("drive" in line and "quota exceeded" in line.lower() for line in said)
    assert agrees(uninterrupted, net, history, tmp_path / "run")


# Row 36: Ctrl-C and SIGTERM


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """What became of real processes that got real signals: see processes.py."""
    command = [sys.executable, str(HERE / "processes.py"), str(tmp_path_factory.mktemp("stopped"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=processes.LONG - 20, cwd=HERE.parent)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("case, status", [("SIGTERM", 143), ("Ctrl-C", 130)])
@pytest.mark.slow
def test_a_real_process_finishes_its_step_and_saves(stopped, case, status):
    found = stopped[case]
    assert (found["status"], found["steps"]) == (status, [0, 2])  # the signal came during the second step
    assert found["said"] == "Stopping, as asked, after step 2.\n"


@pytest.mark.slow
@pytest.mark.parametrize("case", ["Ctrl-C twice", "SIGTERM, then Ctrl-C"])
@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once(stopped, case):
    """In the middle of a step that would have lasted longer than the tests wait."""
    found = stopped[case]
    assert (found["status"], found["steps"], found["said"]) == (130, [0], "")


@pytest.mark.slow
def test_a_real_process_that_is_killed(stopped):
    assert (stopped["SIGKILL"]["status"], stopped["SIGKILL"]["steps"]) == (-signal.SIGKILL, [0])


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize("end", [None, ValueError, KeyboardInterrupt])
def test_the_handlers_are_put_back(end):
    before = handlers()
    try:
        with StopSignals():
            assert handlers() != before
            if end:
                raise end
    except (ValueError, KeyboardInterrupt):
        pass
    assert handlers() == before


def test_a_handler_that_is_not_pythons(monkeypatch):
    """Then Python knows nothing to put back."""
    before = signal.getsignal(signal.SIGTERM)
    real = signal.signal
    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", lambda number, handler: (real(number, handler), None)[1])
        with StopSignals():
            pass
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else before)


def test_training_in_a_thread(tmp_path, uninterrupted):
    """Where Python allows no handlers."""
    before, found = handlers(), []
    thread = threading.Thread(target=lambda: found.append(go(tmp_path)))
    thread.start()
    thread.join()
    assert handlers() == before and agrees(uninterrupted, *found[0], tmp_path)


def test_leave():
    leave(0)
    with pytest.raises(KeyboardInterrupt):
        leave(signal.SIGINT)
    with pytest.raises(SystemExit) as status:
        leave(signal.SIGTERM)
    assert status.value.code == 143


@pytest.mark.parametrize("epoch", [1, 3])
def test_asked_to_stop_during_the_validation(tmp_path, monkeypatch, uninterrupted, epoch):
    """Also of the last epoch: a caller with more to do must hear of it."""
    real, calls = train.evaluate_set, []

    def evaluate_set(*arguments):
        calls.append(1)
        if len(calls) == epoch:
            signal.raise_signal(signal.SIGTERM)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train, "evaluate_set", evaluate_set)
        with pytest.raises(SystemExit):
            go(tmp_path)
    assert len(saved(tmp_path)[1]["progress"]["history"]) == epoch
    assert agrees(uninterrupted, *go(tmp_path, seed=1), tmp_path)


def test_stopped_without_a_folder(monkeypatch, capsys):
    crash_at(monkeypatch, 5, partial(signal.raise_signal, signal.SIGINT))
    real = train.train_step

    def train_step(run, rows):
        if run.progress.step == 2:
            signal.raise_signal(signal.SIGINT)
        return real(run, rows)

    monkeypatch.setattr(train, "train_step", train_step)
    with pytest.raises(KeyboardInterrupt):
        go()
    assert capsys.readouterr().out == "Stopping, as asked, after step 3.\n"


# Row 39: uneven and missing images


def test_a_last_batch_of_one_image():
    """Training leaves it for another epoch; evaluation counts it as one image."""
    net = model()
    history = fit(net, tiny.image_set(5), tiny.image_set(251, seed=1), tiny.config(epochs=2), quiet=True)
    assert len(history) == 2
    loss, accuracy = train.evaluate_set(net, tiny.image_set(251, seed=1))
    assert (loss, accuracy) == (pytest.approx(history[-1]["val_loss"], rel=1e-6), history[-1]["val_accuracy"])


def test_no_images_to_evaluate():
    with pytest.raises(ValueError, match="0 images to evaluate on"):
        train.evaluate(model(), [])
    with pytest.raises(ValueError, match="0 images to evaluate on"):
        train.evaluate(model(), [(torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.long))])


def test_fewer_images_than_a_batch():
    with pytest.raises(ValueError, match="3 training images are fewer than batch_size 4"):
        Run(model(), tiny.image_set(3), tiny.config())


def test_classes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"logits \(2, 7\) and targets \(2, 5\) must have the same shape"):
        go(net=model(num_classes=7))
    with pytest.raises(ValueError, match=r"logits \(2, 1\) and targets \(2, 5\)"):  # would broadcast
        go(net=model(num_classes=1))
    with pytest.raises(ValueError, match="6 classes in val and 5 in train"):
        fit(model(), tiny.image_set(), tiny.image_set(7, classes="abcdef"), tiny.config(), quiet=True)


# Row 40: settings that no run can have

NUMBERS = ("lr", "warmup_epochs", "weight_decay", "clip_grad", "label_smoothing", "ema")
BAD = [
    *[
        (name, value)
        for name in ("epochs", "batch_size", "accumulate")
        for value in (0, -1, 1.0, "2", None, True, math.nan)
    ],
    *[(name, value) for name in ("seed", "patience") for value in (-1, 0.5, "0", None, False)],
    *[(name, value) for name in NUMBERS for value in (-0.1, math.nan, math.inf, -math.inf, "0.1", None, True, [0.1])],
    *[("lr", value) for value in (0, 0.0, 1.1, 1000)],
    *[("muon_lr", value) for value in (-0.1, 1.1, math.nan, "0.1", None, True)],
    *[("patch_drop", value) for value in (-0.1, 1.0, math.nan, "0.1", None)],
    *[("patch_drop_until", value) for value in (-0.1, 1.1, math.nan, "0.1", None)],
    *[("schedule", value) for value in ("step", None, 1)],
    *[("warmup_epochs", value) for value in (20, 21.5)],
    *[(name, value) for name in ("label_smoothing", "ema") for value in (1, 1.0, 2)],
    *[
        ("betas", value)
        for value in ((0.9, 1.0), (0.9,), (0.9, 0.99, 0.999), 0.9, None, "ab", (-0.1, 0.9), (0.9, math.nan))
    ],
    *[("betas", value) for value in ((0.9, True), ("0.9", 0.99), {0.9, 0.99})],
    *[("precision", value) for value in ("fp16", "half", "float8", None, torch.float32, 16)],
    *[("augment", value) for value in (None, {"crop": 4}, "none")],
    *[(name, value) for name in ("compile", "class_weights", "balanced") for value in (None, 1, "yes")],
    *[("device", value) for value in (None, 0, torch.device("cpu"))],
]


@pytest.mark.parametrize("name, value", BAD, ids=lambda value: str(value).replace(" ", ""))
def test_settings_that_no_run_can_have(name, value):
    with pytest.raises(ValueError) as error:
        TrainConfig(**{name: value})
    assert str(error.value).startswith(f"{name} {value!r} must be ") and "\n" not in str(error.value)


def test_every_setting_is_checked():
    assert {name for name, _ in BAD} == set(TrainConfig.__dataclass_fields__)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"epochs": 1, "warmup_epochs": 0},
        {"lr": 1, "ema": 0, "label_smoothing": 0, "clip_grad": 0, "weight_decay": 0, "betas": [0, 0.5]},
        {"epochs": 1, "warmup_epochs": 0.99, "ema": 0.9999, "seed": 2**40},
        {"batch_size": 12, "accumulate": 12},
    ],
)
def test_settings_at_the_edge(settings):
    TrainConfig(**settings)


def test_classes_are_evened_out_once():
    with pytest.raises(ValueError, match="class_weights and balanced both even out the classes.*choose one"):
        TrainConfig(class_weights=True, balanced=True)


def test_parts_that_do_not_divide_the_batch():
    with pytest.raises(ValueError, match="batch_size 128 must be a multiple of accumulate 3"):
        TrainConfig(accumulate=3)


def test_processes_that_do_not_divide_the_batch(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    with pytest.raises(ValueError, match="batch_size 4 must be a multiple of the 3 processes"):
        Run(model(), tiny.image_set(), tiny.config())


@pytest.mark.parametrize("step", [-1, 10, 11])
def test_a_step_beyond_the_schedule(step):
    with pytest.raises(ValueError, match=f"step {step} must be at least 0 and below total_steps 10"):
        warmup_cosine_lr(step, 10, 2, 0.1)


# Row 41: a device that is not there


def without_cards(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "tpu", "cpu:1", ""])
def test_a_device_that_is_not_there(monkeypatch, device):
    without_cards(monkeypatch)
    no_training(monkeypatch)
    found = rf"device '{device}' is not here; PyTorch {torch.__version__} finds cpu\. .*nvidia-smi.*device='auto'"
    with pytest.raises(ValueError, match=found.replace("+", r"\+")):
        go(config=tiny.config(device=device))


def test_auto_takes_what_is_there(monkeypatch):
    without_cards(monkeypatch)
    assert machine.get_device("auto") == machine.get_device() == machine.get_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert machine.get_device() == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert machine.get_device() == torch.device("cuda") and machine.get_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="'cuda:2' is not here; .* finds cuda, cuda:0, cuda:1, mps, cpu"):
        machine.get_device("cuda:2")


def test_precisions(monkeypatch):
    cuda, mps, cpu = map(torch.device, ("cuda", "mps", "cpu"))
    for has, best in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has)
        assert machine.get_precision("auto", cuda) == best
    for has, best in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has, raising=False)
        assert machine.get_precision("auto", cpu) == best
    assert machine.get_precision("auto", mps) == torch.float32
    assert machine.get_precision("float16", cpu) == torch.float16
    with pytest.raises(ValueError, match="'float64' is not there on device 'mps'"):
        machine.get_precision("float64", mps)
