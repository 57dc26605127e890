"""Write a file so that it is there whole or not at all."""

import contextlib
import errno
import os
import tempfile
from pathlib import Path


def write_atomically(path: str | Path, data: bytes) -> None:
    """Put `data` at `path`, replacing what is there only when everything is safely on disk.

    Raises:
        OSError: it could not be written; what was there before is untouched, and nothing else is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(OSError):  # some network drives know no modes
            temporary.chmod(0o644)
        os.replace(temporary, path)  # closed by now: Windows renames no open file
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make sure that a new name in `folder` outlasts a power cut."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a network drive that cannot; the file is there
                raise
        finally:
            os.close(descriptor)
