"""Looks after a training run from outside: progress, logs, checkpoints, signals. Chapter 07."""

import csv
import io
import json
import time
from pathlib import Path

from tqdm.auto import tqdm

from course_lib.files.atomic import write_atomically
from course_lib.train import distributed
from course_lib.train.checkpoint import CheckpointError
from course_lib.train.signals import leave


class Watch:
    """Looks after a run from outside: bar, logs, checkpoints, signals.

    Args:
        run: a `Run`.
        store: the `Store` to save in, or None.
        signals: `StopSignals` that are listening.
        bar: from `progress_bar`.
        writer: from `tensorboard_writer`, or None.
    """

    def __init__(self, run, store, signals, bar, writer):
        self.run, self.store, self.signals, self.bar, self.writer = run, store, signals, bar, writer
        self.started, self.saved = time.monotonic() - run.seconds, time.monotonic()
        self.cpu_started = cpu_seconds() - run.cpu_seconds
        self.epoch_started, self.epoch_step = time.monotonic(), run.step

    def after_step(self):
        self.bar.update(self.run.config.batch_size)
        self.stop_if_asked()
        if time.monotonic() - self.saved > SAVE_EVERY:
            self.save()

    def stop_if_asked(self):
        number = distributed.largest(self.signals.number, self.run.device)
        if number:
            if distributed.is_main():
                print(f"Stopping, as asked, after step {self.run.step}.", flush=True)
            self.save()
            leave(number)

    def after_epoch(self, train_loss, val_loss, val_accuracy):
        run, now = self.run, time.monotonic()
        images = (run.step - self.epoch_step) * run.config.batch_size
        row = {
            "epoch": run.epoch,
            "lr": run.optimizer.param_groups[0]["lr"],
            "train_loss": train_loss,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "images_per_second": round(images / (now - self.epoch_started)),
            "seconds": round(now - self.started, 1),
            "cpu_seconds": round(cpu_seconds() - self.cpu_started, 1),
        }
        run.history.append(row)
        self.epoch_started, self.epoch_step = now, run.step
        self.bar.set_postfix_str(f"loss {train_loss:.3f}, validation {100 * val_accuracy:.2f} %")
        if self.writer:
            for name, value in row.items():
                self.writer.add_scalar(name, value, run.epoch)
            self.writer.flush()
        self.stop_if_asked()
        self.save()

    def save(self):
        """Write a checkpoint and the history; if that fails, say so and go on."""
        self.run.seconds, self.saved = time.monotonic() - self.started, time.monotonic()
        self.run.cpu_seconds = cpu_seconds() - self.cpu_started
        if not self.store:
            return
        saves = (self.store.save, self.run.step, self.run.state()), (write_history, self.store.folder, self.run.history)
        for write, *what in saves:
            try:
                write(*what)
            except (CheckpointError, OSError) as error:
                print(f"Warning: {error} The run goes on; the next save will try again.", flush=True)


SAVE_EVERY = 600  # seconds


def cpu_seconds():
    """Of this process and of those beside it, which do the same work."""
    return time.process_time() * distributed.world_size()


def progress_bar(run, quiet):
    """A bar over all images of the run, with rate and time left."""
    size = run.config.batch_size
    total = run.config.epochs * run.steps_per_epoch * size
    off = quiet or not distributed.is_main()
    return tqdm(total=total, initial=run.step * size, unit=" images", unit_scale=True, disable=off)


def tensorboard_writer(run, store):
    """A writer for TensorBoard in the run's folder.

    Raises:
        ValueError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("tensorboard=True needs TensorBoard: `pip install tensorboard`.") from error
    return SummaryWriter(store.folder / "tensorboard", purge_step=run.epoch + 1)


def write_history(folder, history):
    """Write the rows as `history.csv` and `history.json`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, history[0] if history else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(Path(folder) / "history.csv", text.getvalue().encode())
    write_atomically(Path(folder) / "history.json", json.dumps(history, indent=1).encode())
