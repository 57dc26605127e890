"""Checkpoints: whatever happens while one is written, the newest whole one is found again."""

import builtins
import errno
import io
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from nightly import full
from tiny import same

from course_lib.files import atomic
from course_lib.train import checkpoint
from course_lib.train.checkpoint import CheckpointError, DamagedError, Store, list_checkpoints, read_checkpoint

HERE = Path(__file__).parent


def state(step):
    return {"weights": torch.full((3, 5), float(step)), "lists": [1, {"text": "a"}, None, 0.1]}


def filled(folder, steps=(10, 20), **options):
    """A folder with checkpoints of these steps, as `Store.save` leaves them."""
    with Store(folder, **options) as store:
        for step in steps:
            store.save(step, state(step))
    return folder


def steps_in(folder):
    return [int(path.name.split("-")[1]) for path in list_checkpoints(folder)]


def names_in(folder):
    """What lies there, but for the lock, which older versions of filelock take away and newer ones leave."""
    return sorted(path.name for path in folder.iterdir() if path.name != "run.lock")


def load(folder, **options):
    with Store(folder, **options) as store:
        return store.load()


def spoil(path, kind):
    data = path.read_bytes()
    path.write_bytes(
        {
            "truncated": data[: len(data) // 2],
            "one byte short": data[:-1],
            "flipped bit": data[:200] + bytes([data[200] ^ 1]) + data[201:],
            "empty": b"",
            "longer": data + b"\0",
        }[kind]
    )


SPOILT = ("truncated", "one byte short", "flipped bit", "empty", "longer")


def test_what_is_saved_comes_back(tmp_path):
    assert load(tmp_path) is None
    filled(tmp_path, [10, 20, 30])
    step, found = load(tmp_path)
    assert step == 30 and same(found, state(30))
    assert steps_in(tmp_path) == [30, 20]  # two are kept
    assert names_in(tmp_path) == [path.name for path in reversed(list_checkpoints(tmp_path))]  # and nothing else


# Row 1: killed at any byte


@pytest.mark.slow
def test_kills_at_random_moments(tmp_path):
    """30 of them, 200 nightly."""
    count = full(200, 30)
    command = [sys.executable, str(HERE / "kills.py"), str(tmp_path), str(count)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent, check=True).stdout)
    assert (found["damaged"], found["lost"], found["wrong"]) == (0, 0, 0)
    # Else the kills came too early or too late to matter.
    assert found["half_written"] >= count // 10 and found["saves"] >= count // 10


# Row 2: power loss


def test_everything_is_on_disk_before_the_next_thing_happens(tmp_path, monkeypatch):
    filled(tmp_path)
    events = []

    def record(module, name, describe):
        real = getattr(module, name)

        def recorded(*args, **kwargs):
            events.append((name, *describe(*args)))
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, recorded)

    def at(descriptor):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        return (path, 0 if os.path.isdir(path) else os.path.getsize(path))

    record(os, "fsync", at)
    record(os, "replace", lambda source, target: (str(source), str(target)))
    record(Path, "unlink", lambda path, *_: (str(path),))
    with Store(tmp_path) as store:
        store.load()
        events.clear()
        store.save(30, state(30))
        new = list_checkpoints(tmp_path)[0]
        temporary = events[0][1]
        assert events[:3] == [
            ("fsync", temporary, new.stat().st_size),  # all of the content,
            ("replace", temporary, str(new)),  # then its name,
            ("fsync", str(tmp_path), 0),  # then the folder's list of names,
        ]
        assert [event[0] for event in events[3:]] == ["unlink"]  # and only then the oldest one goes
        assert "step-00000010" in events[3][1]


# Row 3: what cannot be saved


def test_an_error_while_serialising_leaves_everything_as_it_was(tmp_path):
    filled(tmp_path)
    before = names_in(tmp_path)
    with Store(tmp_path) as store:
        with pytest.raises(Exception, match="pickle|local object"):
            store.save(30, {"weights": torch.zeros(1000), "function": lambda: 0})
        store._holder.unlink()
        assert names_in(tmp_path) == before
    assert load(tmp_path)[0] == 20


# Row 4: disk full


def usage(free):
    return lambda path: shutil._ntuple_diskusage(10**12, 10**12 - free, free)


def test_disk_full_is_seen_before_writing(tmp_path, monkeypatch):
    filled(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", usage(1_400_000))
    with Store(tmp_path) as store:
        store.load()
        with pytest.raises(CheckpointError, match=f"no space: need 4 MB, 1 MB free in {tmp_path}") as error:
            store.save(30, {"weights": torch.zeros(1_000_000)})
        assert "\n" not in str(error.value)
        assert steps_in(tmp_path) == [20, 10] and not list(tmp_path.glob(".*"))
        monkeypatch.undo()
        store.save(30, state(30))
    assert load(tmp_path)[0] == 30


class FullDisk(io.RawIOBase):
    """A file that takes so many bytes and no more."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.file.write(data[: self.room])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fileno(self):
        return self.file.fileno()

    def __exit__(self, *_):
        self.file.close()


@pytest.mark.parametrize("room", [0, 100])
def test_disk_full_while_writing(tmp_path, monkeypatch, room):
    filled(tmp_path)
    with Store(tmp_path) as store:
        store.load()
        with monkeypatch.context() as patched:
            patched.setattr(atomic, "open", lambda *file: FullDisk(open(*file), room), raising=False)  # noqa: SIM115
            with pytest.raises(CheckpointError, match=r"cannot write .*step-00000030.*\(No space left on device\)"):
                store.save(30, state(30))
        assert steps_in(tmp_path) == [20, 10] and not list(tmp_path.glob(".*"))
        store.save(30, state(30))
    assert load(tmp_path)[0] == 30


def test_a_folder_that_vanishes_is_a_checkpoint_error(tmp_path):
    folder = filled(tmp_path / "run")
    with Store(folder) as store:
        store.load()
        shutil.move(folder, tmp_path / "elsewhere")
        with pytest.raises(CheckpointError, match="cannot write"):
            store.save(30, state(30))
        shutil.move(tmp_path / "elsewhere", folder)
        store.save(30, state(30))


# Row 5: no place to write


def test_a_missing_folder_is_made(tmp_path):
    assert steps_in(filled(tmp_path / "new" / "run")) == [20, 10]


@pytest.mark.parametrize("place", ["file", "file/run"])
def test_a_file_in_the_way(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError, match=f"cannot write in {tmp_path / place} .*--out"):
        Store(tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("call", ["mkdir", "write_bytes"])
def test_read_only_and_denied(tmp_path, monkeypatch, call, code):
    """The tests may run as root, whom nothing is denied."""

    def refuse(path, *_, **__):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, call, refuse)
    with pytest.raises(CheckpointError, match=rf"cannot write in {tmp_path} \({os.strerror(code)}\).*--out"):
        Store(tmp_path)


# Row 6: what a crash leaves behind


def test_leftovers_are_ignored_and_removed(tmp_path):
    folder, copies = tmp_path / "run", tmp_path / "copies"
    filled(folder, copy_to=copies)
    for place in (folder, copies):
        for name in (".step-00000030-0123456789abcdef.pt.x1y2", ".history.csv.abcd", ".probe-1"):
            (place / name).write_bytes(b"half")
    with Store(folder, copies) as store:
        assert store.load()[0] == 20
        assert not [*folder.glob(".*"), *copies.glob(".*")]


# Row 7: two runs in one folder


def test_the_second_run_hears_who_is_there(tmp_path):
    with Store(tmp_path):
        mine = (
            rf"in use by process {os.getpid()} on {socket.gethostname()} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d: wait"
        )
        with pytest.raises(CheckpointError, match=mine), Store(tmp_path):
            pass
        assert (tmp_path / "run.holder").exists()  # the second one took nothing away
    with Store(tmp_path):  # and now it is free
        pass


def test_the_first_run_goes_on_undisturbed(tmp_path):
    with Store(tmp_path) as store:
        with pytest.raises(CheckpointError), Store(tmp_path):
            pass
        store.save(10, state(10))
    assert load(tmp_path)[0] == 10


def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path):
    (tmp_path / "run.lock").touch()
    (tmp_path / "run.holder").write_text("process 1 on nowhere")
    filled(tmp_path)


# Row 8: damaged checkpoints


@pytest.mark.parametrize("kind", SPOILT)
def test_the_newest_is_damaged(tmp_path, capsys, kind):
    filled(tmp_path)
    newest = list_checkpoints(tmp_path)[0]
    spoil(newest, kind)
    assert load(tmp_path)[0] == 10
    assert capsys.readouterr().out.startswith(f"{newest} is damaged")


@pytest.mark.parametrize("kind", SPOILT)
def test_all_are_damaged(tmp_path, kind):
    filled(tmp_path)
    for path in list_checkpoints(tmp_path):
        spoil(path, kind)
    for _ in range(2):  # and it stays an error
        with pytest.raises(CheckpointError, match=f"none of the 2 checkpoints in {tmp_path} can be used: delete"):
            load(tmp_path)
    assert steps_in(tmp_path) == [20, 10]


def test_one_that_cannot_be_read(tmp_path, monkeypatch, capsys):
    filled(tmp_path)
    real = Path.read_bytes

    def read(path):
        if "step-00000020" in path.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    assert load(tmp_path)[0] == 10
    assert "cannot be read (Input/output error)" in capsys.readouterr().out


def test_a_damaged_one_takes_no_place(tmp_path, capsys):
    """Otherwise, of the two that are kept, one would be the damaged one for ever."""
    filled(tmp_path, [10, 40])
    spoil(list_checkpoints(tmp_path)[0], "truncated")
    with Store(tmp_path) as store:
        assert store.load()[0] == 10
        for step in (20, 30):
            store.save(step, state(step))
            assert steps_in(tmp_path) == [step, step - 10]
            assert all(read_checkpoint(path) for path in list_checkpoints(tmp_path))


# Row 11, for checkpoints: a file that would run code


class Malice:
    def __reduce__(self):
        return (builtins.exec, ("import builtins; builtins.was_run = True",))


def write_checkpoint(folder, content, step=50):
    """A file whose name is right, whatever is in it."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    digest = checkpoint.hashlib.sha256(buffer.getvalue()).hexdigest()[:16]
    path = Path(folder) / f"step-{step:08d}-{digest}.pt"
    path.write_bytes(buffer.getvalue())
    return path


def test_no_code_is_run(tmp_path):
    path = write_checkpoint(tmp_path, {"format": 1, "step": 50, "state": Malice()})
    with pytest.raises(DamagedError, match="is not a checkpoint of this course"):
        read_checkpoint(path)
    assert not hasattr(builtins, "was_run")


@pytest.mark.parametrize("content", [[1, 2], {"format": 1, "step": 3}, torch.zeros(2)])
def test_something_else_with_the_right_name(tmp_path, content):
    with pytest.raises(DamagedError, match="is not a checkpoint of this course"):
        read_checkpoint(write_checkpoint(tmp_path, content))


# Row 29: other versions of the format


def test_written_by_a_newer_version(tmp_path):
    """It is not passed over for an older one: that would lose what came since, and in the end the file."""
    filled(tmp_path)
    write_checkpoint(tmp_path, {"format": 2, "version": "0.9", "step": 50, "state": {}})
    with pytest.raises(CheckpointError, match=r"written by course-lib 0\.9 in format 2; .* reads format 1: upgrade it"):
        load(tmp_path)


def test_written_by_an_older_version(tmp_path):
    write_checkpoint(tmp_path, {"format": 0, "step": 50, "state": {}})
    with pytest.raises(CheckpointError, match=r"in format 0; .* reads format 1: use the older one, or another folder"):
        load(tmp_path)


def test_the_format_has_not_changed(tmp_path):
    """Whoever changes what is in a file must raise its number."""
    content = torch.load(list_checkpoints(filled(tmp_path))[0], weights_only=True)
    assert content.keys() == {"format", "version", "step", "state"} and content["format"] == 1


# Row 30: tensors of another device


def test_tensors_from_a_graphics_card_come_back_on_the_cpu(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:  # what torch.save writes for tensors on a graphics card
        patched.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        filled(tmp_path, [10])
    path = list_checkpoints(tmp_path)[0]
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(path, weights_only=True)
    step, found = read_checkpoint(path)
    assert step == 10 and found["weights"].device.type == "cpu" and same(found, state(10))


# Rows 34 and 35: a second folder


def test_each_checkpoint_is_copied(tmp_path):
    folder, copies = tmp_path / "run", tmp_path / "drive" / "run"
    filled(folder, [10, 20, 30], copy_to=copies)
    assert [path.name for path in list_checkpoints(copies)] == [path.name for path in list_checkpoints(folder)]
    assert all(read_checkpoint(path) for path in list_checkpoints(copies)) and steps_in(copies) == [30, 20]


def test_the_copy_is_whole_or_not_there(tmp_path, monkeypatch):
    folder, copies = filled(tmp_path / "run", copy_to=tmp_path / "copies"), tmp_path / "copies"
    real = os.replace

    def cut(source, target):
        assert read_checkpoint_as(source, target)  # complete before it gets its name
        return real(source, target)

    def read_checkpoint_as(source, target):
        data = Path(source).read_bytes()
        return Path(target).name.endswith(f"{checkpoint.hashlib.sha256(data).hexdigest()[:16]}.pt")

    monkeypatch.setattr(os, "replace", cut)
    filled(folder, [30], copy_to=copies)
    assert steps_in(copies)[0] == 30


def test_a_fresh_machine_goes_on_from_the_copy(tmp_path):
    filled(tmp_path / "run", copy_to=tmp_path / "copies")
    with Store(tmp_path / "fresh", tmp_path / "copies") as store:
        assert store.load()[0] == 20
        store.save(30, state(30))
    assert steps_in(tmp_path / "fresh") == [30] and steps_in(tmp_path / "copies") == [30, 20]


def test_the_newest_of_both_folders_counts(tmp_path, capsys):
    folder, copies = tmp_path / "run", tmp_path / "copies"
    filled(folder, [10])
    filled(copies, [20, 30])
    assert load(folder, copy_to=copies)[0] == 30
    assert load(copies, copy_to=folder)[0] == 30


def test_a_damaged_checkpoint_is_replaced_by_its_copy(tmp_path, capsys):
    folder, copies = tmp_path / "run", tmp_path / "copies"
    filled(folder, copy_to=copies)
    spoil(list_checkpoints(folder)[0], "flipped bit")
    assert load(folder, copy_to=copies)[0] == 20
    assert "is damaged" in capsys.readouterr().out


@pytest.mark.parametrize("failing", ["run", "copies"])
def test_one_folder_fails_and_the_other_has_it(tmp_path, monkeypatch, failing):
    folder, copies = tmp_path / "run", tmp_path / "copies"
    filled(folder, copy_to=copies)
    real = shutil.disk_usage
    with Store(folder, copies) as store:
        store.load()
        with monkeypatch.context() as patched:
            patched.setattr(shutil, "disk_usage", lambda path: (usage(0) if path.name == failing else real)(path))
            with pytest.raises(CheckpointError, match=f"no space.*{tmp_path / failing}"):
                store.save(30, state(30))
        good, bad = (copies, folder) if failing == "run" else (folder, copies)
        assert steps_in(good) == [30, 20] and steps_in(bad) == [20, 10]
        store.save(40, state(40))  # tried again
        assert steps_in(good) == [40, 30] and 40 in steps_in(bad)


def test_google_drive_not_mounted(tmp_path, monkeypatch):
    drive = tmp_path / "drive"
    monkeypatch.setattr(checkpoint, "DRIVE", drive)
    for place in (drive / "MyDrive" / "run", drive, tmp_path / "x" / ".." / "drive" / "run"):
        with pytest.raises(CheckpointError, match=r"not mounted: run .*drive\.mount"):
            Store(tmp_path / "run", place)
        assert not drive.exists()  # a folder there would be in the way of mounting
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="not mounted"):
        Store("drive/MyDrive/run")
    monkeypatch.setattr(Path, "is_mount", lambda path: path == drive)
    filled(tmp_path / "run", copy_to=drive / "MyDrive" / "run")
    assert steps_in(drive / "MyDrive" / "run") == [20, 10]


def test_where_colab_shows_google_drive():
    assert Path("/content/drive") == checkpoint.DRIVE


# What some network drives cannot do


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_drive_that_cannot_sync_folders_or_set_modes(tmp_path, monkeypatch, code):
    real = os.fsync

    def fsync(descriptor):
        if os.path.isdir(os.readlink(f"/proc/self/fd/{descriptor}")):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    def chmod(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "chmod", chmod)
    assert load(filled(tmp_path))[0] == 20


def test_a_folder_that_fails_to_sync_is_an_error(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(descriptor):
        if os.path.isdir(os.readlink(f"/proc/self/fd/{descriptor}")):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with Store(tmp_path) as store, pytest.raises(CheckpointError, match="Input/output error"):
        store.save(10, state(10))
