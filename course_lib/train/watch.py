"""Looks after a training run from outside: progress, logs, checkpoints, signals. Chapter 07."""

import csv
import io
import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from course_lib.files.atomic import write_atomically
from course_lib.train import distributed
from course_lib.train.checkpoint import CheckpointError, Store
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
    """

    def __init__(self, run: Run, store: Store | None, signals: StopSignals, bar: tqdm, writer: Any) -> None:
        self.run, self.store, self.signals, self.bar, self.writer = run, store, signals, bar, writer
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

    def after_epoch(self, train_loss: float, val_loss: float, val_accuracy: float) -> None:
        progress, now = self.run.progress, time.monotonic()
        images = (progress.step - self.epoch_step) * self.run.config.batch_size
        row = {
            "epoch": progress.epoch,
            "lr": self.run.optimizer.param_groups[0]["lr"],
            "train_loss": train_loss,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "images_per_second": round(images / (now - self.epoch_started)),
            "seconds": round(now - self.started, 1),
            "cpu_seconds": round(cpu_seconds() - self.cpu_started, 1),
        }
        progress.history.append(row)
        self.epoch_started, self.epoch_step = now, progress.step
        self.bar.set_postfix_str(f"loss {train_loss:.3f}, validation {100 * val_accuracy:.2f} %")
        if self.writer:
            for name, value in row.items():
                self.writer.add_scalar(name, value, progress.epoch)
            self.writer.flush()
        self.stop_if_asked()
        self.save()

    def save(self) -> None:
        """Write a checkpoint and the history; if that fails, say so and go on."""
        progress, self.saved = self.run.progress, time.monotonic()
        progress.seconds, progress.cpu_seconds = self.saved - self.started, cpu_seconds() - self.cpu_started
        if not self.store:
            return
        try:
            self.store.save(progress.step, self.run.state())
            write_history(self.store.folder, progress.history)
        except (CheckpointError, OSError) as error:
            print(f"Warning: {error} The run goes on; the next save will try again.", flush=True)


SAVE_EVERY = 600  # seconds


def cpu_seconds() -> float:
    """Of this process and of those beside it, which do the same work."""
    return time.process_time() * distributed.world_size()


def progress_bar(run: Run, quiet: bool) -> tqdm:
    """A bar over all images of the run, with rate and time left."""
    size = run.config.batch_size
    total = run.config.epochs * run.steps_per_epoch * size
    off = quiet or not distributed.is_main()
    return tqdm(total=total, initial=run.progress.step * size, unit=" images", unit_scale=True, disable=off)


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
    writer = csv.DictWriter(text, history[0] if history else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(Path(folder) / "history.csv", text.getvalue().encode())
    write_atomically(Path(folder) / "history.json", json.dumps(history, indent=1).encode())
