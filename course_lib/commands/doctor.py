"""`course doctor`: whether what is installed fits together. Chapter 07."""

import argparse
from typing import Any


def add_doctor(commands: Any) -> None:
    commands.add_parser("doctor", help="say whether what is installed fits together").set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    """Name torch and torchvision, and the pair that belongs together: torchvision's own metadata say which."""
    from importlib.metadata import requires, version
    from platform import python_version

    from packaging.requirements import Requirement

    from course_lib import __version__

    found = {"course-lib": __version__} | {name: version(name) for name in ("torch", "torchvision", "numpy")}
    print(", ".join(f"{name} {number}" for name, number in {"Python": python_version(), **found}.items()))
    needed = map(Requirement, requires("torchvision") or ())
    wanted = next(requirement.specifier for requirement in needed if requirement.name == "torch")
    if not wanted.contains(found["torch"], prereleases=True):
        raise ValueError(
            f"torch {found['torch']} and torchvision {found['torchvision']} do not belong together: this torchvision "
            f"needs torch {wanted}. Run: pip install --upgrade torch torchvision"
        )
    import torch
    import torchvision  # noqa: F401  (fails here if its operators do not load)

    from course_lib.train.device import get_device, get_precision

    device = get_device()
    print(f"Training would run on {device}, in {str(get_precision('auto', device)).removeprefix('torch.')}.")
    print(f"{torch.get_num_threads()} threads. All is well.")
    return 0
