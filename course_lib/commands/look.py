"""`course look`: what is in a folder of images, before anything is trained on it. Chapter 09."""

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any


def add_look(commands: Any) -> None:
    look = commands.add_parser(
        "look",
        help="say what is in a folder of images: classes, sizes, faults, duplicates",
        description="Look at a folder of images before training on it. Nothing is trained, and nothing changed.",
    )
    look.add_argument("folder", type=Path, help="that holds a folder for each class, or train/ and test/ with such")
    look.add_argument("--json", action="store_true", help="print all of it as JSON")
    look.add_argument("--sheet", type=Path, metavar="FILE.png", help="draw some pictures of each class into a file")
    look.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    from course_lib.data.report import SHEET_ROWS, as_text, check_sheet, draw_sheet
    from course_lib.data.survey import look_at

    if options.sheet:
        check_sheet(options.sheet, options.folder)
    facts, groups = look_at(options.folder)
    print(json.dumps(facts, indent=1) if options.json else as_text(facts))
    if options.sheet:
        draw_sheet(groups, options.sheet, as_they_are=facts["sizes"].get("different") == 1)
        note = f"; the first {SHEET_ROWS} of {len(groups)} classes" if len(groups) > SHEET_ROWS else ""
        print(f"Sheet: {options.sheet}{note}", file=sys.stderr if options.json else sys.stdout)
    return 0
