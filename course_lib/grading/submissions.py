"""What a class has handed in: one submission for each notebook, and one for each file or folder that holds none."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

# How learning platforms name what teachers download from them, and where in it the learner stands.
PLATFORMS = (
    re.compile(r"^(?P<learner>.+?)_(?P<id>\d+)_assignsubmission_(?:file|onlinetext)"),  # Moodle
    re.compile(r"^(?P<learner>[^_]+)_(?:LATE_)?(?P<id>\d+)_\d+_"),  # Canvas
)
NOT_HANDED_IN = {"__MACOSX", "__pycache__", ".ipynb_checkpoints"}


@dataclass(frozen=True)
class Submission:
    """A file, by whom it is, and what is wrong with it where it is none that can be judged."""

    path: Path
    name: str  # relative to the folder
    learner: str
    identity: str  # the number that a platform has for the learner, if it is known
    problem: str = ""

    @property
    def key(self) -> str:
        """A file name of its own for what is told about it."""
        plain = re.sub(r"[^\w.-]+", "_", self.learner)[:60].strip("._") or "learner"
        return f"{plain}-{hashlib.sha256(self.name.encode(errors='surrogateescape')).hexdigest()[:8]}"

    def digest(self) -> str:
        """Of the content, as 16 hexadecimal digits; "" if it cannot be read."""
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]
        except OSError:
            return ""


def find_submissions(folder: Path) -> list[Submission]:
    """All submissions in a folder, in the order of their names: notebooks in it, and in the learners' folders in it.

    Raises:
        ValueError: it is no folder, or there is nothing in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: name the one with the learners' notebooks or folders.")
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name in NOT_HANDED_IN:
            continue
        if not entry.is_dir():
            found.append(_submission(folder, entry, entry.name if entry.suffix != ".ipynb" else entry.stem))
            continue
        inside = [path for path in sorted(entry.rglob("*.ipynb")) if not _is_left_out(path.relative_to(entry))]
        found += [_submission(folder, path, entry.name) for path in inside]
        if not inside:
            found.append(_submission(folder, entry, entry.name))
    if not found:
        raise ValueError(f"{folder} is empty: name the folder with the learners' notebooks or folders.")
    return found


def _is_left_out(path: Path) -> bool:
    return any(part.startswith(".") or part in NOT_HANDED_IN for part in path.parts)


def _submission(folder: Path, path: Path, called: str) -> Submission:
    match = next(filter(None, (pattern.match(called) for pattern in PLATFORMS)), None)
    learner, identity = (match["learner"], match["id"]) if match else (called, "")
    problem = ""
    if path.is_dir():
        problem = "no notebook (.ipynb) in this folder"
    elif path.suffix != ".ipynb":
        problem = f"expected a notebook (.ipynb), got {path.suffix or 'a file without an ending'}"
    return Submission(path, path.relative_to(folder).as_posix(), learner, identity, problem)
