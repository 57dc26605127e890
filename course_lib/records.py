"""Run records: what was measured once, with its configuration and versions, and is drawn in the chapters."""

import json
from pathlib import Path

# In a checkout the records lie in data/results; an installed package carries a copy beside this file.
FOLDERS = (Path(__file__).parent.parent / "data" / "results", Path(__file__).parent / "results")


def load_record(name):
    """Read the record `name` (without .json) as a dict.

    Raises:
        ValueError: there is no record of that name; the message lists those there are.
    """
    for folder in FOLDERS:
        file = folder / f"{name}.json"
        if file.is_file():
            return json.loads(file.read_text(encoding="utf-8"))
    known = sorted({file.stem for folder in FOLDERS for file in folder.glob("*.json")})
    raise ValueError(f"no record {name!r}; there are {', '.join(known) or 'none'}: run the script that writes it.")
