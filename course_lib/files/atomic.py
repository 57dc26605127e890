"""Write a file so that it is there whole or not at all."""

import contextlib
import errno
import os
import tempfile
from pathlib import Path


def write_atomically(path, data):
    """Put `data` (bytes) at `path`, replacing what is there only when everything is safely on disk.

    Raises:
        OSError: it could not be written; what was there before is untouched, and nothing else is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            file.close()
            temporary.unlink(missing_ok=True)
            raise
    try:  # closed by now: Windows renames no open file
        with contextlib.suppress(OSError):  # some network drives know no modes
            temporary.chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder):
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
