"""Starts the processes in which kernels run: each is a copy of one that has loaded PyTorch and never ran a cell.

Where processes cannot be copied (Windows, macOS), each starts from nothing.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

COPIES = sys.platform == "linux"  # macOS can copy a process, too, but not one that has loaded such libraries


class Started(Protocol):
    """What is asked of a process: `subprocess.Popen` has it, too."""

    pid: int

    def poll(self) -> int | None: ...
    def kill(self) -> None: ...
    def wait(self) -> int: ...


class Starter:
    """Use it in a `with` statement. It starts at once, and is ready when the first process is asked for."""

    def __enter__(self) -> "Starter":
        self.server = self._serve() if COPIES else None
        return self

    def _serve(self) -> subprocess.Popen[bytes]:
        self.statuses: dict[int, int] = {}
        self.said = b""
        return subprocess.Popen(
            [sys.executable, "-m", "course_lib.grading.sandbox"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"MPLBACKEND": "agg", "CUDA_VISIBLE_DEVICES": ""},
            start_new_session=True,  # Ctrl-C is for this side, which ends it
        )

    def __exit__(self, *_: object) -> None:
        if self.server is not None:
            self.server.kill()
            self.server.communicate()  # which closes the pipes

    def has_ended(self) -> bool:
        """Whether the process that starts others is gone, and all of these with it. The next `start` begins anew."""
        return self.server is not None and self.server.poll() is not None

    def start(self, settings: dict, environment: Mapping[str, str], folder: Path) -> Started:
        """A process with these settings, in `folder`/work, whose errors go to `folder`/errors.txt.

        Raises:
            OSError: none could be started.
        """
        if self.server is None:
            with (folder / "errors.txt").open("wb") as errors:
                return subprocess.Popen(
                    [sys.executable, "-m", "course_lib.grading.sandbox", json.dumps(settings)],
                    cwd=folder / "work",
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                )
        if self.has_ended():
            self.__exit__()
            self.server = self._serve()
        assert self.server.stdin is not None
        told = settings | {"environment": dict(environment)}
        self.server.stdin.write(json.dumps(told).encode() + b"\n")
        self.server.stdin.flush()
        while True:
            name, number = self._line()
            if name == "started":
                self.statuses.pop(number, None)  # of another process that had this number before
                return _Copy(number, self)

    def _line(self) -> tuple[str, int]:
        """The next line that the server says: "started PID", or "STATUS PID" of one that has ended, which is noted."""
        assert self.server is not None and self.server.stdout is not None
        while b"\n" not in self.said:
            if not (more := os.read(self.server.stdout.fileno(), 4096)):
                raise OSError("the process that starts kernels has ended")
            self.said += more
        line, _, self.said = self.said.partition(b"\n")
        word, number = line.decode().split()
        if word != "started":
            self.statuses[int(number)] = int(word)
        return word, int(number)

    def listen(self) -> None:
        """Note what has ended, without waiting."""
        assert self.server is not None and self.server.stdout is not None
        while b"\n" in self.said or select.select([self.server.stdout], [], [], 0)[0]:
            self._line()


class _Copy:
    """A process that the server has started."""

    def __init__(self, pid: int, starter: Starter) -> None:
        self.pid, self.starter = pid, starter

    def poll(self) -> int | None:
        try:
            self.starter.listen()
        except OSError:
            return 128 + signal.SIGKILL  # it has gone with the server
        return self.starter.statuses.get(self.pid)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        while (status := self.poll()) is None:
            time.sleep(0.01)
        return status
