"""Read a weights file, whatever wrote it, without running any code that it may hold.

The format is recognised from the first bytes, never from the name. Chapter 06.
"""

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

# A zip may unpack to far more than it is on disk. Weights hardly shrink, so this much is never needed.
MOST_TIMES_LARGER = 20
ALWAYS_ALLOWED = 2**30  # bytes


class _Refused(ValueError):
    """The reason is known and stands in the message; any other error of a reader means a damaged file."""


# Under which names checkpoints keep sets of weights; the one that is evaluated comes first: averaged before trained.
SETS = ("state_dict_ema", "model_ema", "teacher", "state_dict", "model", "student", "encoder")

# What trainers keep beside the weights and pickle as a call, which builds nothing but a value.
VALUES = (
    r"types\.SimpleNamespace|collections\.defaultdict|builtins\.(frozenset|range|slice)|pathlib\.(_local\.)?\w*Path|datetime\.\w+"
    r"|numpy\.dtype|numpy\._?core\.multiarray\.(scalar|_reconstruct)"
)


class _StandIn(type):
    """What stands for a class or function that PyTorch does not know, which is never looked for: see `_LeftOut`."""

    def __call__(cls, *_: object) -> object:
        """The file calls it: in the place of a value stands an empty one, and anything else is refused."""
        if not re.fullmatch(VALUES, cls.__name__):
            raise pickle.UnpicklingError(f"GLOBAL {cls.__name__}")
        return OrderedDict() if cls.__name__ == "collections.defaultdict" else object.__new__(cls)


class _LeftOut(metaclass=_StandIn):
    """An object beside the weights: it is made empty, without a call. If its class is a dictionary, so is this."""

    def __new__(cls, *_: object) -> Any:
        return OrderedDict()

    def __setstate__(self, state: object) -> None:
        """Of values, which are no dictionaries."""


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read all tensors of a weights file; of a checkpoint with several sets, those that are evaluated (see `SETS`).

    Args, raises: as `read_sets`.

    Returns:
        {name: tensor} under the names that the file uses.

    Source: as `read_sets`. Chapter 06.
    """
    return next(iter(read_sets(path).values()))


def read_sets(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Read all sets of weights in a file; objects beside them, such as settings and optimisers, are left out unread.

    Args:
        path: a `.pth`, `.pt` or `.bin` of PyTorch (zip or the older format), a `.safetensors` or a NumPy `.npz`.

    Returns:
        {name of the set: {name: tensor}} under the names that the file uses, in the order of `SETS`; the name of the
        set is "" in a file that is nothing but one.

    Raises:
        ValueError: one line that says what the file is instead, or what is wrong with it.

    Source: the formats' own descriptions (PyTorch's serialization notes, safetensors, NumPy's NEP 1). Chapter 06.
    """
    readers = {"torch": _read_torch, "npz": _read_npz, "safetensors": load_file}
    kind = recognise(path)
    try:
        content = readers[kind](path)
        sets = content if kind == "torch" else {"": content}
    except _Refused:
        raise
    except Exception as error:  # a damaged file can break its reader anywhere
        if isinstance(error, MemoryError) or "allocate" in str(error):
            size = path.stat().st_size
            raise ValueError(
                f"{path} ({size / 1e6:.0f} MB) does not fit into the free memory: free some, or use a smaller model."
            ) from error
        raise ValueError(
            f"{path} is damaged or cut short ({_first_line(error)}): delete it and download again."
        ) from error
    if not any(sets.values()):
        raise ValueError(f"{path} holds no tensors: it is no weights file, or not one of a single model.")
    names = [name for tensors in sets.values() for name in tensors]
    strange = next(
        (name for name in names if not (isinstance(name, str) and name.isprintable() and len(name) < 200)), None
    )
    if strange is not None:
        raise ValueError(
            f"{path} holds a tensor of the name {str(strange)[:40]!r}, which no model has: use another file."
        )
    return {name: tensors for name, tensors in sets.items() if tensors}


def recognise(path: Path) -> str:
    """Say which kind of weights file this is: "torch", "npz" or "safetensors".

    Raises:
        ValueError: it is none of them; the line says what it looks like.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(512)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    # First, since the eight bytes of its header's length can look like anything.
    if size > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") + 8 <= size:
        return "safetensors"
    if size == 0:
        raise ValueError(f"{path} is empty: delete it and download again.")
    if text.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"{path} is a Git LFS pointer, not the weights: run `git lfs pull`, or download the file itself."
        )
    if text.startswith(b"<"):
        raise ValueError(
            f"{path} is a web page (HTML), not weights: the server answered with an error or a login. "
            "Delete it and download again."
        )
    if text.startswith((b"{", b"[")):
        raise ValueError(f"{path} is JSON, not weights: an error message, or the index of a file in several parts.")
    if start.startswith(b"PK"):
        return _recognise_zip(path)
    if start.startswith(b"\x80"):
        return "torch"  # a pickle: the format of torch before 1.6
    if size > 8 and start[8:9] == b"{":
        raise ValueError(
            f"{path} is cut short: its header alone is longer than the file. Delete it and download again."
        )
    raise ValueError(
        f"{path} is no weights file that is known here (its first bytes are {start[:8]!r}): expected .pth, .safetensors or .npz."
    )


def _recognise_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:  # the second: a zip version that cannot be
        raise ValueError(
            f"{path} is damaged or cut short (its table of contents is missing): delete it and download again."
        ) from error
    unpacked, size = sum(member.file_size for member in members), path.stat().st_size
    if unpacked > MOST_TIMES_LARGER * size + ALWAYS_ALLOWED:
        raise ValueError(
            f"{path} ({size:,} bytes) would unpack to {unpacked:,} bytes, far more than weights do: refused."
        )
    if any(member.filename.endswith("/data.pkl") for member in members):
        return "torch"
    if members and all(member.filename.endswith(".npy") for member in members):
        return "npz"
    raise ValueError(
        f"{path} is a zip archive without weights in it (it holds {members[0].filename if members else 'nothing'})."
    )


def _read_torch(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    strange = _strange_names(path) if zipfile.is_zipfile(path) else []
    stand_ins: list[Any] = [(_StandIn(name, (_LeftOut,), {}), name) for name in {"argparse.Namespace", *strange}]
    advice = "If you wrote it, save model.state_dict() alone; otherwise ask its publisher for .safetensors."
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
            warnings.simplefilter("ignore")  # about the pickle's age; what matters is refused below
            sets = _sets_of(torch.load(path, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, AttributeError, TypeError, ValueError) as error:
        if called := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise _Refused(
                f"{path} asks to run code ({called[1][:60]}), which weights never need: refused, nothing was run. {advice}"
            ) from error
        if strange:  # an object that is a list, say
            raise _Refused(
                f"{path} holds objects that cannot be left out ({strange[0][:60]!r}): refused. {advice}"
            ) from error
        if not isinstance(error, pickle.UnpicklingError):
            raise
        raise _Refused(
            f"{path} holds more than tensors, or is damaged: refused, nothing in it was run. Download it again."
        ) from error
    if strange and not any(sets.values()):
        raise _Refused(f"{path} holds objects ({strange[0][:60]!r}) and no weights beside them: refused. {advice}")
    return sets


def _strange_names(path: Path) -> list[str]:
    """The names of classes and functions in a zip of PyTorch that weights do not need, the reader's own first.

    Raises:
        _Refused: the zip is damaged, or a program.
    """
    with zipfile.ZipFile(path) as archive:
        if any(member.filename.endswith("/constants.pkl") for member in archive.infolist()):
            raise _Refused(
                f"{path} is a TorchScript program, not weights: save the state_dict() of the model it came from."
            )
        # torch.load looks at no checksum, and gives random memory for what counts as a folder (bit 4, of DOS).
        folders = (member.filename for member in archive.infolist() if member.external_attr & 0x10)
        broken = next(folders, None) or archive.testzip()
    if broken:
        raise _Refused(f"{path} is damaged ({broken} in it is not as it was written): delete it and download again.")
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except pickle.UnpicklingError:
        return []  # torch.load says the same
    return sorted(names, key=lambda name: (name.startswith(("builtins.", "torch.")), name))


def _sets_of(content: object) -> dict[str, dict[str, torch.Tensor]]:
    """The sets of tensors in a training checkpoint; what is nothing but tensors is one set, called ""."""
    if not isinstance(content, dict):
        return {}
    found = [name for name in SETS if isinstance(content.get(name), dict)]
    if not found:
        return {"": {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}}
    return {name: next(iter(_sets_of(content[name]).values())) for name in found}


def _read_npz(path: Path) -> dict[str, torch.Tensor]:
    tensors = {}
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            try:
                tensors[name] = torch.from_numpy(archive[name])
            except (ValueError, TypeError) as error:
                if "allow_pickle" in str(error):
                    raise _Refused(
                        f"{path} holds Python objects ({name}), which could run code: refused, nothing was run."
                    ) from error
                raise _Refused(
                    f"{path} holds {name}, which is no array of numbers ({_first_line(error)}): refused."
                ) from error
    return tensors


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
