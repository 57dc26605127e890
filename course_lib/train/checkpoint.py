"""Save a training run so that no crash loses it, and find it again. Chapter 07.

A checkpoint is one file whose name ends in the beginning of its own SHA-256: it is complete and undamaged, or it
is not used.
"""

import contextlib
import hashlib
import io
import os
import re
import shutil
import socket
import time
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

import torch
from filelock import FileLock, Timeout

from course_lib import __version__
from course_lib.files.atomic import write_atomically

FORMAT = 1
KEEP = 2
NAME = re.compile(r"step-(\d{8})-([0-9a-f]{16})\.pt")
DRIVE = Path("/content/drive")  # where Colab shows Google Drive


class CheckpointError(ValueError):
    """A run that cannot be saved or continued; the message says what to do."""


class DamagedError(CheckpointError):
    """A checkpoint file that is not what was written."""


class Store:
    """The checkpoints of one run, in one folder; `with Store(folder) as store` keeps other runs out of it.

    Args:
        folder: where they lie; made if it is not there.
        copy_to: a second folder, such as one on Google Drive, that gets a copy of each, and from which they come
            back when `folder` has none, or only older ones. It must be this run's own.

    Raises:
        CheckpointError: a folder cannot be written in, or another run is using it.
    """

    def __init__(self, folder: str | Path, copy_to: str | Path | None = None) -> None:
        self.folder = _writable(folder)
        self.folders = [self.folder, _writable(copy_to)] if copy_to else [self.folder]
        self._kept: list[str] = []  # names of checkpoints that are not known to be damaged, the oldest first
        self._lock = FileLock(self.folder / "run.lock")
        self._holder = self.folder / "run.holder"

    def __enter__(self) -> Self:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise CheckpointError(
                f"{self.folder} is in use by {_read_text(self._holder) or 'another process'}: wait for it, or choose "
                "another folder with --out."
            ) from None
        who = f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        with contextlib.suppress(OSError):
            self._holder.write_text(who, encoding="utf-8")
        for folder in self.folders:
            for kind in (".step-*", ".history.*", ".probe-*"):
                for leftover in folder.glob(kind):  # of a crash in the middle of writing
                    _remove(leftover)
        return self

    def __exit__(self, *_):
        self._holder.unlink(missing_ok=True)
        self._lock.release()

    def save(self, step: int, state: object) -> None:
        """Write `state` (tensors, numbers, text, in dicts and lists) as the checkpoint of `step`; drop the oldest.

        Raises:
            CheckpointError: it could not be written to a folder, in which the older ones are untouched. The other
                folder has it.
        """
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, "version": __version__, "step": step, "state": state}, buffer)
        data = buffer.getvalue()
        name = f"step-{step:08d}-{hashlib.sha256(data).hexdigest()[:16]}.pt"
        kept = [*(old for old in self._kept if not old.startswith(f"step-{step:08d}")), name][-KEEP:]
        problems = []
        for folder in self.folders:
            try:
                _check_space(folder, len(data))
                write_atomically(folder / name, data)
            except OSError as error:
                problems.append(f"cannot write {folder / name} ({error.strerror or error}).")
            except CheckpointError as error:
                problems.append(str(error))
            else:
                self._kept = kept
                for old in list_checkpoints(folder):
                    if old.name not in kept:
                        _remove(old)
        if problems:
            raise CheckpointError(" ".join(problems))

    def load(self) -> tuple[int, Any] | None:
        """(step, state) of the newest checkpoint that is whole, or None if there never was one.

        Raises:
            CheckpointError: there are some, but none can be used; or another version of the course wrote them.
        """
        found = [path for folder in self.folders for path in list_checkpoints(folder)]
        found.sort(key=attrgetter("name"), reverse=True)
        for index, path in enumerate(found):
            try:
                content = read_checkpoint(path)
            except DamagedError as error:
                print(f"{error} Trying the one before.", flush=True)
            else:
                self._kept = list(dict.fromkeys(other.name for other in reversed(found[index:])))
                return content
        if found:
            raise CheckpointError(
                f"none of the {len(found)} checkpoints in {' and '.join(map(str, self.folders))} can be used: "
                "delete them to start again, or choose another folder with --out."
            )
        return None


def list_checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoints in `folder`, the newest first."""
    return sorted((path for path in Path(folder).glob("step-*.pt") if NAME.fullmatch(path.name)), reverse=True)


def read_checkpoint(path: str | Path) -> tuple[int, Any]:
    """(step, state) of a checkpoint file.

    Raises:
        DamagedError: it cannot be read, or is not what was written.
        CheckpointError: it is in the format of another version of the course.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path} cannot be read ({error.strerror or error}).") from error
    digest = hashlib.sha256(data).hexdigest()[:16]
    if not path.name.endswith(f"-{digest}.pt"):
        raise DamagedError(f"{path} is damaged: its SHA-256 begins with {digest}, not as its name says.")
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        written_as, step, state = content["format"], content["step"], content["state"]
    except Exception as error:  # torch.load raises many kinds, by what it finds
        raise DamagedError(f"{path} is not a checkpoint of this course ({type(error).__name__}).") from error
    if written_as != FORMAT:
        advice = "upgrade it" if written_as > FORMAT else "use the older one, or another folder with --out"
        raise CheckpointError(
            f"{path} was written by course-lib {content.get('version')} in format {written_as}; this is course-lib "
            f"{__version__}, which reads format {FORMAT}: {advice}."
        )
    return step, state


def _writable(folder: str | Path) -> Path:
    folder = Path(folder).expanduser()
    if folder.resolve().is_relative_to(DRIVE) and not DRIVE.is_mount():  # a folder made there would be in the way
        raise CheckpointError(
            f"{folder} is on Google Drive, which is not mounted: run `from google.colab import drive; "
            f"drive.mount('{DRIVE}')` first."
        )
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"cannot write in {folder} ({error.strerror or error}): choose another folder with --out."
        ) from error
    return folder


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CheckpointError(f"no space: need {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB free in {folder}.")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
