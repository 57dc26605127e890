"""`course certificate`: the answers that have passed, with a name, in a file that anybody can judge again."""

import argparse
from pathlib import Path
from typing import Any


def add_certificate(commands: Any) -> None:
    certificate = commands.add_parser(
        "certificate", help="write your passed answers into a file that can be judged again"
    )
    certificate.add_argument("--name", required=True, help="yours, as it is to stand in the file")
    certificate.add_argument("--out", type=Path, default=Path("certificate.json"), metavar="FILE")
    certificate.set_defaults(run=_certificate)


def _certificate(options: argparse.Namespace) -> int:
    import json
    from datetime import date

    from course_lib import __version__
    from course_lib.checks import NAMES
    from course_lib.checks.pieces import FILE, kept_pieces
    from course_lib.checks.progress import passed
    from course_lib.files.atomic import write_atomically
    from course_lib.grading.agreed import CERTIFICATE

    if not options.name.strip():
        raise ValueError('the name is empty: --name "Ada Lovelace"')
    if not passed():
        raise ValueError(
            f"no passed exercise in {Path.cwd() / FILE}. Run this in the folder of your notebooks, after a check has said ✓."
        )
    kept = kept_pieces()
    content = {
        "what": CERTIFICATE,
        "name": options.name.strip(),
        "course": __version__,
        "date": date.today().isoformat(),
        "exercises": {name: {"source": kept[name].strip() + "\n"} for name in passed()},
    }
    write_atomically(options.out, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    print(f"{options.out}: {len(passed())} of {len(NAMES)} exercises, for {content['name']}.")
    print(f"Whoever gets it judges them again with: course check {options.out}")
    return 0
