"""Looks after a training run from outside: progress, logs, checkpoints, signals. Chapter 07."""

import csv
import io
import json
import math
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from course_lib.data.image_set import ImageSet
from course_lib.files.atomic import write_atomically
from course_lib.train import distributed
from course_lib.train.checkpoint import CheckpointError, Store
from course_lib.train.config import TrainConfig
from course_lib.train.run import Run


class StopSignals:
    """Ctrl-C and SIGTERM, taken at a moment that suits: the step is finished and saved first.

    Inside `with`, the first of them is only noted, in `number`; a second Ctrl-C stops at once. Outside the main thread Python allows no handlers: there nothing changes.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: a handler that is not Python's

    def _note(self, number, frame):
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number  # and no word: the main program may be in the middle of printing


def leave(number: int) -> None:
    """Leave the way that signal asks for: KeyboardInterrupt, or exit status 143. 0 is no signal, and goes on."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if number:
        raise SystemExit(128 + number)


class Watch:
    """Looks after a run from outside: bar, logs, checkpoints, signals.

    Args:
        run: a `Run`.
        store: the `Store` to save in, or None.
        signals: `StopSignals` that are listening.
        bar: from `progress_bar`.
        writer: from `tensorboard_writer`, or None.
        quiet: say nothing of how it goes.
    """

    def __init__(
        self, run: Run, store: Store | None, signals: StopSignals, bar: tqdm, writer: Any, quiet: bool
    ) -> None:
        self.run, self.store, self.signals, self.bar, self.writer = run, store, signals, bar, writer
        self.quiet = quiet or not distributed.is_main()
        self.started, self.saved = time.monotonic() - run.progress.seconds, time.monotonic()
        self.cpu_started = cpu_seconds() - run.progress.cpu_seconds
        self.epoch_started, self.epoch_step = time.monotonic(), run.progress.step

    def after_step(self) -> None:
        self.bar.update(self.run.config.batch_size)
        self.stop_if_asked()
        if time.monotonic() - self.saved > SAVE_EVERY:
            self.save()

    def stop_if_asked(self) -> None:
        number = distributed.largest(self.signals.number, self.run.device)
        if number:
            if distributed.is_main():
                print(f"Stopping, as asked, after step {self.run.progress.step}.", flush=True)
            self.save()
            leave(number)

    def after_epoch(self, trained: tuple[float, float], judged: tuple[float, float], val: ImageSet) -> None:
        """Note, say and save how an epoch went: (loss, accuracy) in training and on the images of `val`."""
        progress, now = self.run.progress, time.monotonic()
        images = (progress.step - self.epoch_step) * self.run.config.batch_size
        row = {
            "epoch": progress.epoch,
            "lr": self.run.optimizer.param_groups[0]["lr"],
            "train_loss": trained[0],
            "train_accuracy": trained[1],
            "val_loss": judged[0],
            "val_accuracy": judged[1],
            "images_per_second": round(images / (now - self.epoch_started)),
            "seconds": round(now - self.started, 1),
            "cpu_seconds": round(cpu_seconds() - self.cpu_started, 1),
        }
        progress.history.append(row)
        self.run.keep_best()
        if not self.quiet:
            self.say(row, val)
        self.epoch_started, self.epoch_step = now, progress.step
        if self.writer:
            for name, value in row.items():
                self.writer.add_scalar(name, value, progress.epoch)
            self.writer.flush()
        self.stop_if_asked()
        self.save()

    def say(self, row: dict, val: ImageSet) -> None:
        """How the epoch went: beside the bar, or in a line of its own where there is none."""
        config, epoch = self.run.config, row["epoch"]
        words = (
            f"loss {row['train_loss']:.3f}, {100 * row['train_accuracy']:.2f} % right as trained, "
            f"validation {100 * row['val_accuracy']:.2f} %"
        )
        self.bar.set_postfix_str(words)
        if self.bar.disable:
            write_line(f"epoch {epoch} of {config.epochs}: {words}; {row['seconds']:.0f} s")
        if epoch == math.ceil(config.epochs / 3) and config.epochs >= 3:
            best = max(row["val_accuracy"] for row in self.run.progress.history)
            if advice := advice_at_chance(best, val, self.run.config, epoch):
                write_line(advice)
        if self.run.stopped_early and epoch < config.epochs:
            write_line(
                f"Stopping after epoch {epoch} of {config.epochs}: validation has not got better since epoch "
                f"{self.run.progress.best_epoch} (patience={config.patience})."
            )

    def save(self) -> None:
        """Write a checkpoint and the history; if that fails, say so and go on."""
        progress, self.saved = self.run.progress, time.monotonic()
        progress.seconds, progress.cpu_seconds = self.saved - self.started, cpu_seconds() - self.cpu_started
        if not self.store:
            return
        for write in (
            partial(self.store.save, progress.step, self.run.state()),
            partial(write_history, self.store.folder, progress.history),
        ):
            try:
                write()
            except (CheckpointError, OSError) as error:
                print(f"Warning: {error} The run goes on; the next save will try again.", flush=True)


SAVE_EVERY = 600  # seconds


def cpu_seconds() -> float:
    """Of this process and of those beside it, which do the same work."""
    return time.process_time() * distributed.world_size()


def progress_bar(run: Run, quiet: bool) -> tqdm:
    """A bar over all images of the run, with rate and time left; none where it could not move, as in a log file."""
    size = run.config.batch_size
    off = quiet or not distributed.is_main() or not can_move()
    total, done = run.total_steps * size, run.progress.step * size
    return tqdm(total=total, initial=done, unit=" images", unit_scale=True, disable=off)


def can_move() -> bool:
    """Whether what is printed is looked at as it comes: in a terminal, or in a notebook, for which tqdm has a bar."""
    notebook = any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__)
    return notebook or sys.stderr.isatty()


def write_line(text: str) -> None:
    """Print a line where the bar is, without disturbing it."""
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()


def advice_at_chance(best: float, val: ImageSet, config: TrainConfig, epoch: int) -> str:
    """What to try if a model has not learned anything that shows; empty if it has.

    It has if its accuracy on `val` is above the share of the commonest class, which whoever knows nothing reaches by
    always naming it, by more than two standard errors of that share.

    Args:
        best: the best accuracy on `val` so far.
        val: the images that it was judged by.
        config: the run's settings.
        epoch: how many have been trained.
    """
    counts = val.labels.bincount(minlength=len(val.classes)).cpu()
    share, classes = counts.max().item() / len(val), int((counts > 0).sum())
    if best > share + 2 * math.sqrt(share * (1 - share) / len(val)):
        return ""
    longer = max(1.0, 2 * config.warmup_epochs)
    tries = [f"lr={config.lr / 10:.2g}"]
    tries += [f"warmup_epochs={longer:g}"] * (longer < config.epochs)
    tries += ["class_weights=True"] * (share > 1.5 / classes and not config.balanced and not config.class_weights)
    return (
        f"After epoch {epoch} of {config.epochs} validation is at {100 * best:.2f} % at best, hardly more than by always "
        f"saying {val.classes[int(counts.argmax())]!r} ({100 * share:.2f} %). Try, in this order: {', '.join(tries)}; "
        "and check the labels, with `course look FOLDER` if the images are yours."
    )


def tensorboard_writer(run: Run, store: Store) -> Any:
    """A writer for TensorBoard in the run's folder.

    Raises:
        ValueError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("tensorboard=True needs TensorBoard: `pip install tensorboard`.") from error
    return SummaryWriter(store.folder / "tensorboard", purge_step=run.progress.epoch + 1)


def write_history(folder: str | Path, history: list[dict]) -> None:
    """Write the rows as `history.csv` and `history.json`."""
    text = io.StringIO()
    names = history[-1] if history else []  # rows that an older version wrote may lack some
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(Path(folder) / "history.csv", text.getvalue().encode())
    write_atomically(Path(folder) / "history.json", json.dumps(history, indent=1).encode())
