"""Run records: what was measured once, with its configuration and versions, and is drawn in the chapters."""

import hashlib
import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_lib import __version__
from course_lib.files import places
from course_lib.files.atomic import write_atomically

if TYPE_CHECKING:
    from torch import Tensor


def load_record(name: str) -> dict[str, Any]:
    """Read the record `name` (without .json) as a dict.

    Raises:
        ValueError: there is no record of that name; the message lists those there are.
    """
    for folder in places.RESULTS:
        file = folder / f"{name}.json"
        if file.is_file():
            return json.loads(file.read_text(encoding="utf-8"))
    known = sorted({file.stem for folder in places.RESULTS for file in folder.glob("*.json")})
    raise ValueError(f"no record {name!r}; there are {', '.join(known) or 'none'}: run the script that writes it.")


def load_pictures(name: str) -> "dict[str, Tensor]":
    """Read what was kept as arrays, `name`.safetensors beside the records: {what: tensor}.

    Raises:
        ValueError: there is no such file.
    """
    from safetensors.torch import load

    file = next((file for folder in places.RESULTS if (file := folder / f"{name}.safetensors").is_file()), None)
    if file is None:
        raise ValueError(f"no {name}.safetensors among the records: run the script that writes it.")
    return load(file.read_bytes())


def write_json(path: str | Path, content: object) -> None:
    """Write a record; complete or not at all."""
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def versions() -> dict[str, str]:
    """Of what a run depends on."""
    return {
        "python": platform.python_version(),
        "course-lib": __version__,
        "torch": version("torch"),
        "torchvision": version("torchvision"),
    }


def commit() -> str | None:
    """The commit of the course's checkout, or None: an installed copy may lie in somebody else's repository."""
    project = places.CHECKOUT / "pyproject.toml"
    ours = project.is_file() and 'name = "course-lib"' in project.read_text(encoding="utf-8")
    if not ours or not (places.CHECKOUT / ".git").exists():
        return None
    command = ["git", "-C", str(places.CHECKOUT), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def code_digest() -> str:
    """The SHA-256 of the library's own code, its first 16 digits: what ran, installed or changed since the commit."""
    digest = hashlib.sha256()
    for path in sorted(places.PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(places.PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
