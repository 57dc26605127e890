"""Starts a kernel that can do no harm, as far as this system allows: `python -m course_lib.grading.sandbox`.

Three processes for each: the first enters namespaces of its own, the second looks after orphans (as process 1 of a namespace: when it
ends, so does everything that was started in it), the third is the kernel. No cell ever runs
in the server that they are copied from.

What holds is written into `held.json`, so that what does not is told. On Linux all of it holds for any user, unless
the system forbids user namespaces; elsewhere the limits that the system has.
"""

import contextlib
import ctypes
import importlib
import json
import os
import random
import select
import signal
import sys
from pathlib import Path
from typing import NoReturn

try:
    import resource
except ImportError:  # Windows
    resource = None

NEW_USER, NEW_NET, NEW_PID, NEW_MOUNTS = 0x10000000, 0x40000000, 0x20000000, 0x00020000
BIND, RECURSIVE, PRIVATE, READ_ONLY = 0x1000, 0x4000, 0x40000, 1
MOUNT_SETATTR, WHOLE_TREE = 442, 0x8000
DIE_WITH_PARENT, ADOPT_ORPHANS = 1, 36

# What every chapter loads: the copies have it at once.
LOADED = ("ipykernel.kernelapp", "course_lib.grading.inside", "matplotlib.pyplot", "torchvision.transforms.v2")

TICK = 0.02  # seconds between two looks at what has ended


def main(arguments: list[str]) -> None:
    """Start the kernel that the settings (JSON) describe; with none, serve: one for each line of standard input.

    Settings: folder, connection, memory, file_size, processes, network; for a server, the environment too.
    """
    if arguments:
        _start(json.loads(arguments[0]))
    _die_with_parent()
    for name in LOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    unread = b""
    while True:
        if select.select([0], [], [], TICK)[0]:
            if not (more := os.read(0, 65536)):
                os._exit(0)
            *lines, unread = (unread + more).split(b"\n")
            for line in lines:
                _start_copy(json.loads(line))
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                os.write(1, f"{os.waitstatus_to_exitcode(ended[1])} {ended[0]}\n".encode())


def _start_copy(settings: dict) -> None:
    copy = os.fork()
    if copy:
        os.write(1, f"started {copy}\n".encode())
        return
    _die_with_parent()
    os.setsid()
    os.chdir(Path(settings["folder"], "work"))
    nothing = os.open(os.devnull, os.O_RDWR)
    errors = os.open(Path(settings["folder"], "errors.txt"), os.O_WRONLY | os.O_CREAT, 0o600)
    for old, new in ((nothing, 0), (nothing, 1), (errors, 2)):
        os.dup2(old, new)
    os.environ.clear()
    os.environ.update(settings["environment"])
    random.seed()
    _start(settings)


def _start(settings: dict) -> NoReturn:
    """Become what looks after a kernel."""
    held = _limits(settings) + _namespaces(settings)
    Path(settings["folder"], "held.json").write_text(json.dumps(held))
    if os.name != "posix":
        _kernel(settings)
    inner = os.fork()
    if inner:
        _end_as(inner)
    _die_with_parent()
    if "own processes" in held:  # /proc of the processes in here alone
        with contextlib.suppress(OSError):
            _mount("proc", "/proc", "proc", 0, None)
    kernel = os.fork()
    if kernel:
        _end_as(kernel)
    _die_with_parent()
    _limit_memory(settings)
    _kernel(settings)


def _kernel(settings: dict) -> NoReturn:
    from ipykernel.kernelapp import launch_new_instance

    import course_lib.grading.inside  # noqa: F401 (with PyTorch, which no cell has to wait for)
    from course_lib.grading.colab import pretend_colab

    pretend_colab()
    launch_new_instance(["-f", settings["connection"], "--IPKernelApp.log_level=ERROR"])
    os._exit(0)


def _end_as(child: int) -> NoReturn:
    """Wait for a child, and for the orphans that end meanwhile; then end with its status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        ended, status = os.wait()
        if ended == child:
            _end_orphans()
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _end_orphans() -> None:
    """End what the kernel has left, where no namespace does it: this process has adopted it."""
    with contextlib.suppress(OSError):
        while children := Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            for child in map(int, children):
                os.kill(child, signal.SIGKILL)
            os.waitpid(-1, 0)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)


def _limits(settings: dict) -> list[str]:
    """Set what bounds every process from here on; returns what holds."""
    held = []
    for name, limit, value in (
        ("core", "RLIMIT_CORE", 0),
        ("file size", "RLIMIT_FSIZE", settings["file_size"]),
    ):
        if _set_limit(limit, value):
            held.append(name)
    if _can_limit_memory():
        held.append("memory")
    return held


def _can_limit_memory() -> bool:
    return resource is not None and sys.platform == "linux"  # elsewhere the call is there and does nothing


def _limit_memory(settings: dict) -> None:
    """RLIMIT_AS bounds what is mapped; RLIMIT_DATA what may be filled, which is what counts: torch maps much more."""
    if _can_limit_memory():
        _set_limit("RLIMIT_AS", 4 * settings["memory"])
        _set_limit("RLIMIT_DATA", settings["memory"])
        with contextlib.suppress(OSError):  # where memory runs out all the same, it is this process that has to go
            Path("/proc/self/oom_score_adj").write_text("1000")


def _set_limit(limit: str, value: int) -> bool:
    if resource is None or not hasattr(resource, limit):
        return False
    try:
        _, most = resource.getrlimit(getattr(resource, limit))
        if most != resource.RLIM_INFINITY:
            value = min(value, most)
        resource.setrlimit(getattr(resource, limit), (value, value))
    except (OSError, ValueError):
        return False
    return True


def _namespaces(settings: dict) -> list[str]:
    """Leave the network, the file system and the other processes behind, where the system lets us; returns what holds."""
    if sys.platform != "linux":
        return []
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(DIE_WITH_PARENT, signal.SIGKILL)
    libc.prctl(ADOPT_ORPHANS, 1)
    user, group = os.getuid(), os.getgid()
    wanted = NEW_USER | NEW_PID | NEW_MOUNTS | (0 if settings["network"] else NEW_NET)
    if libc.unshare(wanted):
        return []
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError:  # half-way: a user without a name can still run a kernel
        return []
    held = ["own processes"] if settings["network"] else ["own processes", "network"]
    if user and _set_limit("RLIMIT_NPROC", settings["processes"]):  # the system does not count root's
        held.append("processes")
    with contextlib.suppress(OSError):
        _read_only_but(settings["folder"])
        os.chdir(Path(settings["folder"], "work"))  # the same folder, where it can be written to
        held.append("read-only")
    return held


def _read_only_but(folder: str) -> None:
    """Make all files unchangeable, but those in `folder` and in shared memory.

    Raises:
        OSError: the system does not know this, or forbids it.
    """
    _mount(None, "/", None, RECURSIVE | PRIVATE, None)
    _mount(folder, folder, None, BIND, None)
    _set_read_only("/", True, WHOLE_TREE)
    _set_read_only(folder, False, 0)
    with contextlib.suppress(OSError):
        _mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=1g")


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    texts = [None if text is None else text.encode() for text in (source, target, kind, options)]
    if libc.mount(texts[0], texts[1], texts[2], flags, texts[3]):
        raise OSError(ctypes.get_errno(), f"mount {target}")


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace")]


def _set_read_only(path: str, on: bool, flags: int) -> None:
    change = _MountAttributes(READ_ONLY if on else 0, 0 if on else READ_ONLY, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(MOUNT_SETATTR, -100, path.encode(), flags, ctypes.byref(change), ctypes.sizeof(change)):
        raise OSError(ctypes.get_errno(), f"mount_setattr {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
