"""Where the runs of a recipe lie, what they say of themselves, and how one is begun anew or goes on for longer. Chapter 07.

A run lies in OUT/NAME/seed-N, and has `settings.json` from its first step on, `record.json` from its end on. NAME is
the recipe's for the recipe as it stands. With other settings there are some of them in it, to be read, and a digest of
all, so that the same settings are the same folder in whatever order they were given, on every system.
"""

import contextlib
import hashlib
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from course_lib.recipes.recipe import Recipe
from course_lib.records import write_json
from course_lib.train.checkpoint import Store, list_checkpoints
from course_lib.train.run import SAME_MEANING, images_changed, prolonged

ABOUT, RECORD, AGAIN = "settings.json", "record.json", "again.json"


def identity(recipe: Recipe) -> dict[str, Any]:
    """{name: value} of the settings that make a run what it is; not those that change its time only, nor the seed."""
    return {name: value for name, value in flat(recipe.settings()).items() if name not in SAME_MEANING}


def flat(settings: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Settings within settings as one dict, with the names of the command line: {"epochs": 5, "model.depth": 3}."""
    found = {}
    for name, value in settings.items():
        inner = f"{path}{name}"
        found |= flat(value, "" if inner == "train" else f"{inner}.") if isinstance(value, dict) else {inner: value}
    return found


def changed(recipe: Recipe, standing: Recipe) -> dict[str, Any]:
    """{name: value} of the settings in which a recipe differs from the one as it stands, but for seed and device."""
    old, new = flat(standing.settings()), flat(recipe.settings())
    return {name: new.get(name) for name in sorted(old | new) if old.get(name) != new.get(name)}


def run_name(recipe: Recipe, standing: Recipe) -> str:
    """A name for the folder of the runs with these settings: at most 80 letters that every system takes.

    Args:
        recipe: with its settings.
        standing: the same as it stands.
    """
    changes = {name: value for name, value in changed(recipe, standing).items() if name not in SAME_MEANING}
    if not changes:
        return recipe.name
    words = "-".join(f"{name}={_last_part(value)}" for name, value in changes.items())
    words = re.sub(r"[^A-Za-z0-9_.=-]+", "_", words)[:40].strip("-_.")
    numbers = json.dumps(identity(recipe), sort_keys=True, default=str)
    numbers = re.sub(r"(?<=\d)\.0(?=[,\]}])", "", numbers)  # 1.0 and 1 are the same setting
    return f"{recipe.name[:30]}-{words}-{hashlib.sha256(numbers.encode()).hexdigest()[:8]}"


def checked_name(name: str | None) -> str | None:
    """A name that somebody wants for the folder of their runs.

    Raises:
        ValueError: not every system takes it.
    """
    if name is None:
        return None
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.=-]{0,78}[A-Za-z0-9_=-]|[A-Za-z0-9_]", name):
        raise ValueError(
            f"--name {name!r} must be up to 80 of a-z, A-Z, 0-9 and _-=., beginning with none of -=., so that every system takes it."
        )
    if re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.I):
        raise ValueError(f"--name {name!r} is no name for a file on Windows: choose another.")
    return name


def _last_part(value: Any) -> str:
    """A value in few words: of a path, its last part."""
    if isinstance(value, str):
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def read_json(path: Path) -> Any:
    """What a JSON file holds; None if it is not there, or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_about(folder: Path) -> dict[str, Any]:
    """What a run says of itself; of an older version its record, which says the same. Empty if neither can be read."""
    found = [read_json(folder / name) for name in (ABOUT, RECORD)]
    return next((said for said in found if isinstance(said, dict) and isinstance(said.get("settings"), dict)), {})


def read_record(folder: str | Path) -> dict[str, Any]:
    """The record of a finished run, from its folder: what add_to_record keeps, with one run.

    Raises:
        ValueError: there is none, or it is damaged; the line says how to get it.
    """
    path = Path(folder) / RECORD
    record = read_json(path)
    if isinstance(record, dict) and isinstance(record.get("runs"), list) and record["runs"]:
        return record
    state = "is damaged" if path.exists() else "is not there"
    raise ValueError(f"{path} {state}: the command that trained the run makes it anew, without training again.")


def about(recipe: Recipe, images: dict[str, str]) -> dict[str, Any]:
    """What a run says of itself. `images` has the fingerprint of each split whose files are known."""
    settings = recipe.settings()
    return {"recipe": recipe.name, "seed": recipe.train.seed, "settings": settings, "images": images, "again": False}


def prepare(
    folder: Path,
    copy_to: Path | None,
    recipe: Recipe,
    images: dict[str, str],
    *,
    again: bool = False,
    allow_change: bool = False,
    after: Path | None = None,
) -> None:
    """Make a folder ready for a run to begin in it, or to go on.

    Args:
        folder, copy_to: as in `fit`.
        recipe: with its settings.
        images: the fingerprint of each split whose files are known.
        again: begin anew; what is there is set aside. But a run that was begun anew, and stopped, goes on.
        allow_change: go on although images have changed.
        after: the folder of a shorter run that it goes on from, if there is nothing in `folder` yet.

    Raises:
        ValueError: the images have changed; the folder holds a shorter run; or it cannot be used. Nothing is changed then.
    """
    mine = about(recipe, images)
    with Store(folder, copy_to):
        there = read_about(folder)  # where nobody else is at work
    both = mine["images"].keys() & there.get("images", {}).keys()
    split = next((name for name in sorted(both) if mine["images"][name] != there["images"][name]), None)
    stopped = there.get("again") and not (folder / RECORD).exists()
    same = split is None and there.get("settings") == mine["settings"]
    if again and not (stopped and same):
        for place in (folder, copy_to):
            set_aside(place)
    elif split and not allow_change:
        raise ValueError(images_changed(f"{mine['settings']['data']} ({split})"))
    if any(list_checkpoints(place) for place in (folder, copy_to) if place):
        if is_shorter(there, recipe) and not (again or allow_change):
            raise ValueError(
                f"{folder} has a run of {there['settings']['train']['epochs']} epochs, and keeps it: give the one of "
                f"{recipe.train.epochs} another --name (in Python another folder, and after={str(folder)!r}), and it goes "
                "on from there; or train it anew, with --again."
            )
        return
    if after and read_about(after).get("images", {}) != mine["images"]:
        print(f"Not going on from the run in {after}: its images were others.", flush=True)
    elif after:
        _go_on_from(after, folder, copy_to, mine)
    write_json(folder / ABOUT, mine | {"again": again})


def note_changes(folder: Path, recipe: Recipe, images: dict[str, str]) -> None:
    """Let `settings.json` say what the run is now, after changes half way."""
    mine = about(recipe, images)
    there = read_about(folder)
    if there | {"again": False} != mine:
        write_json(folder / ABOUT, mine | {"again": there.get("again", False)})


def set_aside(folder: Path | None) -> None:
    """Give a run's folder another name, if there is a run in it, so that a new one can begin; nothing is lost."""
    if folder is None or not any(path.name != "run.lock" for path in folder.iterdir()):
        return
    number = next(n for n in range(1, 10_000) if not folder.with_name(f"{folder.name}.before-{n}").exists())
    kept = folder.with_name(f"{folder.name}.before-{number}")
    os.replace(folder, kept)
    print(f"Beginning anew; the run before is kept in {kept}.", flush=True)


def find_shorter(folder: Path, recipe: Recipe) -> Path | None:
    """The folder of a run of the same settings but for fewer epochs, the one that has come furthest; None if there is none.

    One with patience is left out: it may have ended because it was good.

    Args:
        folder: where the run of `recipe` will lie: its shorter one lies beside it.
        recipe: with its settings.
    """
    found = {}
    others: list[Path] = []
    with contextlib.suppress(OSError):  # a folder that cannot be looked into will be named when the run begins in it
        others = [*folder.parent.parent.glob(f"*/{folder.name}")]
    for other in others:
        there = read_about(other)
        checkpoints = list_checkpoints(other)
        if other != folder and checkpoints and not recipe.train.patience and is_shorter(there, recipe):
            found[checkpoints[0].name] = other
    return found[max(found)] if found else None


def is_shorter(there: dict[str, Any], recipe: Recipe) -> bool:
    """Whether a run that says `there` of itself is one of the recipe, but for fewer epochs."""
    settings = flat(there.get("settings", {}))
    longer = settings | {"epochs": recipe.train.epochs}
    same = {name: value for name, value in longer.items() if name not in SAME_MEANING} == identity(recipe)
    return same and there.get("recipe") == recipe.name and settings.get("epochs", math.inf) < recipe.train.epochs


def _go_on_from(after: Path, folder: Path, copy_to: Path | None, mine: dict[str, Any]) -> None:
    with Store(after) as store:
        found = store.load()
    if found is None:
        return
    step, state = found
    epochs = mine["settings"]["train"]["epochs"]
    print(
        f"Going on from the run in {after}, which stays as it is; --again trains all {epochs} epochs anew.", flush=True
    )
    with Store(folder, copy_to) as store:
        store.save(step, prolonged(state, epochs))


def done_again(folder: Path) -> list[int]:
    """The seeds that an interrupted command with --again has done already: they are not begun anew once more."""
    seeds = read_json(folder / AGAIN)
    return seeds if isinstance(seeds, list) else []


def note_again(folder: Path, seeds: list[int]) -> None:
    """Note the seeds that a command with --again has done; none when it is at its end."""
    if seeds:
        write_json(folder / AGAIN, seeds)
    else:
        (folder / AGAIN).unlink(missing_ok=True)


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with another seed."""
    return replace(recipe, train=replace(recipe.train, seed=seed))
