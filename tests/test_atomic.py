"""Files are there whole or not at all, and outlast a power cut."""

import os
from pathlib import Path

import pytest

from course_lib.files.atomic import write_atomically


def test_the_order_of_things(tmp_path, monkeypatch):
    """The content is on disk before the name changes, the name before the function returns."""
    steps = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (steps.append(name), real(*args))[1])
    write_atomically(tmp_path / "new" / "file", b"content")
    assert (tmp_path / "new" / "file").read_bytes() == b"content"
    assert steps == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
@pytest.mark.parametrize("fault", [OSError("disk full"), KeyboardInterrupt("disk full"), MemoryError("disk full")])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step, fault):
    file = tmp_path / "file"
    file.write_bytes(b"old")

    def fail(*_):
        raise fault

    if step == "write":
        monkeypatch.setattr("builtins.open", lambda number, _: os.close(number) or fail())
    else:
        monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(fault), match="disk full"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux says which files are open")
def test_an_open_file_is_never_renamed(tmp_path, monkeypatch):
    """As on Windows, where that is refused."""
    real = os.replace

    def replace(source, target):
        links = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        assert str(source) not in {os.readlink(link) for link in links if link.exists()}
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    write_atomically(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
