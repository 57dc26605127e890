"""A kernel for one learner's notebook, seen from outside: it runs cells, is asked questions, and is always ended.

Whatever happens in it, this side waits no longer than the limits say, keeps none of its output, and leaves no process.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import zmq
from jupyter_client.session import Session

from course_lib.files import data_folder
from course_lib.grading.agreed import ANSWER, PROTECTIONS
from course_lib.grading.starter import Starter
from course_lib.words import one_line

MESSAGE = 16 << 20  # bytes of one message; a larger one is never received
TICK = 50  # milliseconds between two looks at whether it is still alive


@dataclass(frozen=True)
class Limits:
    """What a notebook may use. Times in seconds, sizes in bytes.

    Where the system tells how long a process had to wait for a processor, that time does not count: on a busy machine
    the verdict is the same.
    """

    cell: float = 60  # for a cell, and for the answers to one question
    total: float = 900
    start: float = 120
    output: int = 2 << 20
    memory: int = 6 << 30
    file_size: int = 1 << 30
    disk: int = 3 << 30
    processes: int = 64
    network: bool = False


class KernelError(Exception):
    """The kernel ended, or was ended. The text says why, in words that go on from "cell 7"."""


@dataclass
class CellError:
    """What a cell raised."""

    kind: str
    text: str
    line: str = ""


@dataclass
class Kernel:
    """A running kernel in a folder of its own.

    Use it in a `with` statement: at its end every process is gone and the folder is removed.
    """

    starter: Starter
    limits: Limits = field(default_factory=Limits)
    files: dict[str, bytes] = field(default_factory=dict)  # what lies in its working folder at first

    def __enter__(self) -> "Kernel":
        short = len(tempfile.gettempdir()) < 60 or os.name != "posix"  # the path of a socket has 100 characters
        self.folder = Path(tempfile.mkdtemp(prefix="course-", dir=None if short else "/tmp")).resolve()
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        for name in ("work", "home", "tmp"):
            (self.folder / name).mkdir()
        for name, content in self.files.items():
            (self.folder / "work" / name).write_bytes(content)
        _take_fonts_along(self.folder / "home")
        self.begun, self.printed = time.monotonic(), 0
        key = secrets.token_hex(16)
        where = {"transport": "ipc", "ip": str(self.folder / "k")} if os.name == "posix" else _free_ports()
        ports = {f"{name}_port": i for i, name in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)}
        told = ports | where | {"key": key, "signature_scheme": "hmac-sha256", "kernel_name": ""}
        (self.folder / "connection.json").write_text(json.dumps(told))
        limits = {name: getattr(self.limits, name) for name in ("memory", "file_size", "processes", "network")}
        settings = limits | {"folder": str(self.folder), "connection": str(self.folder / "connection.json")}
        try:
            self.process = self.starter.start(settings, _environment(self.folder), self.folder)
        except OSError as error:
            raise KernelError(f"no kernel could be started: {error}") from None
        self.context = zmq.Context()
        self.session = Session(key=key.encode())
        self.shell, self.iopub = (self._socket(kind, told, f"{name}_port") for kind, name in _CHANNELS)
        self.poller = zmq.Poller()
        self.monitor, self.cut = self.iopub.get_monitor_socket(zmq.EVENT_DISCONNECTED), 0.0
        for socket in (self.shell, self.iopub, self.monitor):
            self.poller.register(socket, zmq.POLLIN)
        self.looked = self.begun
        self.ended = ""
        self.main: psutil.Process | None = None  # the kernel itself, once it is ready

    def _socket(self, kind: int, told: dict, port: str) -> Any:
        socket = self.context.socket(kind)
        socket.linger = 0
        socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE)
        socket.setsockopt(zmq.RCVHWM, 500)
        if kind == zmq.SUB:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
        else:
            socket.setsockopt(zmq.IDENTITY, self.session.bsession)
        address = f"{told['ip']}-{told[port]}" if told["transport"] == "ipc" else f"{told['ip']}:{told[port]}"
        socket.connect(f"{told['transport']}://{address}")
        return socket

    def wait_until_ready(self) -> list[str]:
        """Returns what of the protections this system does not have, in words.

        Raises:
            KernelError: it does not start.
        """
        deadline = self.begun + self.limits.start
        heard = answered = False
        asked = 0.0
        while not (heard and answered):
            if time.monotonic() - asked > 1:
                self._send("kernel_info_request")
                asked = time.monotonic()
            for socket, message in self._messages():
                answered = answered or (socket is self.shell and message["msg_type"] == "kernel_info_reply")
                heard = heard or socket is self.iopub
            if self.process.poll() is not None:
                raise KernelError(f"no kernel could be started: {self._last_words()}")
            if time.monotonic() > deadline:
                raise KernelError(f"no kernel was ready within {self.limits.start:g} s")
        self.main = next((p for p in self._descendants() if not p.children()), None)
        self.begun = self._clock()
        held = json.loads((self.folder / "held.json").read_text())
        wanted = {name: words for name, words in PROTECTIONS.items() if name != "network" or not self.limits.network}
        return [words for name, words in wanted.items() if name not in held]

    def _last_words(self) -> str:
        lines = (self.folder / "errors.txt").read_text(errors="replace").strip().splitlines()
        return one_line(lines[-1]) if lines else f"it ended with status {self.process.poll()}"

    def run(self, code: str) -> CellError | None:
        """Run a cell; returns what it raised.

        Raises:
            KernelError: it died, or took too long, or printed too much.
        """
        return self._execute(code, self.limits.output)[0]

    def ask(self, question: dict) -> dict | None:
        """The answer to a question of `course_lib.grading.inside`; None where there is not exactly one.

        Raises:
            KernelError: as for `run`.
        """
        nonce = secrets.token_hex(16)
        code = f"__import__('course_lib.grading.inside', fromlist=['reply']).reply({nonce!r}, {json.dumps(question)!r})"
        _, told = self._execute(code, 4 * MESSAGE)
        try:
            (answer,) = [data["answer"] for data in told if data["nonce"] == nonce]
            return json.loads(answer)
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def _send(self, kind: str, content: dict | None = None) -> str:
        """Send a message; returns the name under which what comes of it is known."""
        message = self.session.send(self.shell, kind, content)
        assert message is not None
        return message["header"]["msg_id"]

    def _execute(self, code: str, cap: int) -> tuple[CellError | None, list]:
        """Send code and wait until it is done; returns its error, and what came under our own type."""
        content = {"code": code, "silent": False, "store_history": cap == self.limits.output}
        content |= {"user_expressions": {}, "allow_stdin": False, "stop_on_error": False}
        sent = self._send("execute_request", content)
        deadline, self.printed = self._clock() + self.limits.cell, 0
        error, told, replied, idle = None, [], False, False
        while not (replied and idle):
            for socket, message in self._messages():
                if message["parent_header"].get("msg_id") != sent:
                    continue
                kind, content = message["msg_type"], message["content"]
                if socket is self.shell:
                    replied = True
                    error = error or _error_in(content)
                elif kind == "status":
                    idle = idle or content.get("execution_state") == "idle"
                elif kind == "display_data" and ANSWER in content.get("data", {}):
                    told.append(content["data"][ANSWER])
            self._watch(deadline, cap)
        return error, told

    def _messages(self) -> list:
        """What has arrived within a tick, as (socket, message)."""
        arrived = []
        for socket, _ in self.poller.poll(TICK):
            if socket is self.monitor:
                socket.recv_multipart()
                self.cut = self.cut or time.monotonic()
                continue
            frames = socket.recv_multipart()
            self.printed += sum(map(len, frames)) if socket is self.iopub else 0
            with contextlib.suppress(Exception):  # whoever runs in there can send anything
                arrived.append((socket, self.session.deserialize(self.session.feed_identities(frames)[1])))
        return arrived

    def _watch(self, deadline: float, cap: int) -> None:
        """Raise if the kernel is gone, or has used more than it may."""
        now = self._clock()
        if (status := self.process.poll()) is not None:
            by = f"signal {status - 128}" if status > 128 else f"status {status}"
            self._end(f"ended the kernel ({by})")
        if self.cut and time.monotonic() - self.cut > 1 and self._runs():  # one message was larger than MESSAGE
            self._end("printed more than can be received")
        if now > deadline:
            self._end(f"ran longer than {self.limits.cell:g} s")
        if now > self.begun + self.limits.total:
            self._end(f"was running when the notebook had taken {self.limits.total:g} s")
        if self.printed > cap:
            self._end(f"went over the output limit of {cap / (1 << 20):g} MB")
        if time.monotonic() - self.looked > 0.5:
            self.looked = time.monotonic()
            if len(self._descendants()) > self.limits.processes + 3:
                self._end(f"started more than {self.limits.processes} processes")
            if _size_of(self.folder) > self.limits.disk:
                self._end(f"wrote more than {self.limits.disk / (1 << 30):.2g} GB")

    def _runs(self) -> bool:
        """Whether the kernel is there, and not about to end."""
        try:
            return self.main is not None and self.main.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def _clock(self) -> float:
        """Seconds, of which those do not count in which the kernel waited for a processor."""
        waited = 0
        if self.main is not None:
            with contextlib.suppress(OSError, ValueError, IndexError):
                waited = int(Path(f"/proc/{self.main.pid}/schedstat").read_text().split()[1]) / 1e9
        self.waited = max(waited, getattr(self, "waited", 0))  # the last that was told, when it has gone
        return time.monotonic() - self.waited

    def _end(self, why: str) -> None:
        self.kill()
        self.ended = why
        raise KernelError(why)

    def _descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            return []

    def kill(self) -> None:
        """End the kernel and everything that it has started."""
        if not hasattr(self, "process"):
            return
        while (left := self._descendants()) and self.process.poll() is None:
            for process in reversed(left):
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=2)
        if self.process.poll() is None:  # once it has ended its number may be another's
            with contextlib.suppress(OSError):
                if os.name == "posix":
                    os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        if hasattr(self, "context"):
            self.context.destroy(linger=0)
        for file in self.folder.rglob("*"):  # a folder that cannot be written to cannot be removed either
            if file.is_dir() and not file.is_symlink():
                with contextlib.suppress(OSError):
                    file.chmod(0o700)
        shutil.rmtree(self.folder, ignore_errors=True)


_CHANNELS = ((zmq.DEALER, "shell"), (zmq.SUB, "iopub"))


def _error_in(reply: dict) -> CellError | None:
    if reply.get("status") != "error":
        return None
    trace = reply.get("traceback") or []
    text = one_line(str(reply.get("evalue", "")))
    return CellError(one_line(str(reply.get("ename", "Error")), 80), text, _place(list(map(str, trace))))


def _place(trace: list[str]) -> str:
    """The line of the cell in which an error came up, if the traceback says so."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(trace))
    found = re.findall(r"(?:Cell In\[\d+\]|<ipython-input-[\w-]+>\"?), line (\d+)", plain)
    return found[-1] if found else ""


def _environment(folder: Path) -> dict[str, str]:
    """What a kernel may know of this process's environment: where programs and the course's data are, no secret."""
    kept = (
        "PATH",
        "PYTHONPATH",
        "LANG",
        "LC_ALL",
        "COURSE_LIB_DATA",
        "OMP_NUM_THREADS",
        "LD_LIBRARY_PATH",
        "SYSTEMROOT",
    )
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    own = {name: str(folder / "home") for name in ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "USERPROFILE")}
    own |= {name: str(folder / "tmp") for name in ("TMPDIR", "TEMP", "TMP")}
    own |= {"MPLBACKEND": "agg", "COURSE_LIB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
    return {"COURSE_LIB_DATA": str(data_folder())} | environment | own


def _take_fonts_along(home: Path) -> None:
    """Matplotlib's list of fonts, which takes seconds to make."""
    cache = home / ".cache" / "matplotlib"
    cache.mkdir(parents=True)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for file in (base / "matplotlib").glob("fontlist-*.json"):
        shutil.copy(file, cache)


def _free_ports() -> dict:
    """Where there are no sockets in the file system: ports that nobody uses at this moment."""
    import socket

    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
    names = ("shell", "iopub", "stdin", "control", "hb")
    ports = {f"{name}_port": s.getsockname()[1] for name, s in zip(names, held, strict=True)}
    for one in held:
        one.close()
    return ports | {"transport": "tcp", "ip": "127.0.0.1"}


def _size_of(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size
    return total
