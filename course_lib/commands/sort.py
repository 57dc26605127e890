"""`course sort`: pictures whose names begin with their class, into a folder for each class. Chapter 09."""

import argparse
import io
import sys
from pathlib import Path
from typing import Any


def add_sort(commands: Any) -> None:
    sort = commands.add_parser(
        "sort",
        help="put pictures into a folder for each class, by how their names begin",
        description="Sort pictures such as cat.0.jpg, cat_1.jpg or cat (1).jpg into a folder for each class. It is shown "
        "first what would be done. The pictures stay where they are: a new folder is made of links or copies.",
    )
    sort.add_argument("folder", type=Path, help="that holds the pictures, or train/ and test/ with them")
    sort.add_argument("--into", type=Path, metavar="NEW", help="the new folder (default: FOLDER-sorted)")
    sort.add_argument("--yes", action="store_true", help="do it without asking")
    sort.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    from course_lib.data.listing import quoted
    from course_lib.data.sorting import as_text, carry_out, find_todo, make_plan

    plan = make_plan(options.folder, options.into)
    todo = find_todo(plan)
    print(as_text(plan, todo))
    if todo and not (options.yes or _asked()):
        print("Nothing was done. With --yes it is done without asking.")
        return 0
    linked, copied = carry_out(todo)
    ways = ", ".join(f"{count:,} {way}" for count, way in ((linked, "linked"), (copied, "copied")) if count)
    print(f"Done{f' ({ways})' if ways else ''}. `course look {quoted(plan.into)}` says what is there now.")
    return 0


def _asked() -> bool:
    """Whether somebody says yes; nobody does if nobody is there."""
    try:
        return input("Do it? [yes/no] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False
