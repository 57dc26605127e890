"""The course's folders: the one place that knows where things lie.

In a checkout the records and weights lie under data/; an installed package carries a copy beside its code, and the
reader's downloads go to a folder of the reader's. Nothing is made here: who writes makes the folder.
"""

import os
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
CHECKOUT = PACKAGE.parent

WEIGHTS = "model.safetensors"  # of a run

# Where run records and the weights that come with the course are looked for, in this order.
RESULTS = (CHECKOUT / "data" / "results", PACKAGE / "results")
CHECKPOINTS = (CHECKOUT / "data" / "checkpoints", PACKAGE / "checkpoints")


def run_weights(folder: Path) -> Path | None:
    """The weights file of a run, from its folder, or of the first seed from the folder of several; None if there is none."""
    seeds = sorted((run for run in folder.glob("seed-*") if run.name[5:].isdigit()), key=lambda run: int(run.name[5:]))
    return next((run / WEIGHTS for run in (folder, *seeds) if (run / WEIGHTS).is_file()), None)


def weights_folder() -> Path:
    """Where downloaded weights lie: torch's own folder, so that files which torchvision fetched are found again.

    The environment variable COURSE_LIB_CACHE names another. Chapter 06.
    """
    import torch

    folder = os.environ.get("COURSE_LIB_CACHE")
    return Path(folder).expanduser() if folder else Path(torch.hub.get_dir()) / "checkpoints"


def data_folder(folder: str | Path | None = None) -> Path:
    """Where data sets lie: `folder`, or else $COURSE_LIB_DATA, the checkout's data/cache, or your cache folder."""
    folder = folder or os.environ.get("COURSE_LIB_DATA")
    if folder:
        return Path(folder).expanduser()
    if (CHECKOUT / "pyproject.toml").is_file():
        return CHECKOUT / "data" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "course_lib"
