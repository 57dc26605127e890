"""`course check`: judge a notebook, whatever is stored in it."""

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

NEEDS = ("ipykernel", "jupyter_client", "psutil", "zmq")


def add_check(commands: Any) -> None:
    check = commands.add_parser(
        "check",
        help="judge the answers in a notebook",
        description="Runs a notebook in a kernel of its own and judges its answers with fresh inputs, whatever its stored "
        "output says. Exit status: 0 all passed, 1 some did not, 2 it could not be run, 3 the check itself failed.",
    )
    check.add_argument("files", nargs="+", type=Path, metavar="NOTEBOOK", help="or a certificate (.json)")
    check.add_argument("--json", action="store_true", help="print it for programs")
    check.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit's XML too")
    add_options(check)
    check.set_defaults(run=_check)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `course check` and `course grade` have in common."""
    parser.add_argument("--chapter", help="whose exercises are judged (default: those the notebook answers)")
    parser.add_argument(
        "--feedback",
        choices=("none", "verdict", "hint", "full"),
        default="hint",
        help="how much is told (default: hint)",
    )
    parser.add_argument("--limit", type=float, default=60, metavar="SECONDS", help="for a cell (default: 60)")
    parser.add_argument("--total", type=float, default=900, metavar="SECONDS", help="for a notebook (default: 900)")
    parser.add_argument("--memory", type=float, default=6, metavar="GB", help="for a notebook (default: 6)")
    parser.add_argument("--network", action="store_true", help="let the notebook use the network")


def limits_from(options: argparse.Namespace) -> Any:
    """The `Limits` that the options ask for.

    Raises:
        ValueError: a program that is needed is not installed, or a limit is none.
    """
    absent = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if absent:
        raise ValueError(f"{absent[0]} is missing: pip install ipykernel jupyter-client psutil.")
    for name in ("limit", "total", "memory"):
        if getattr(options, name) <= 0:
            raise ValueError(f"--{name} {getattr(options, name):g} must be above 0.")
    from course_lib.grading.kernel import Limits

    memory = int(options.memory * (1 << 30))
    return Limits(cell=options.limit, total=options.total, memory=memory, network=options.network)


def _check(options: argparse.Namespace) -> int:
    try:
        limits = limits_from(options)
    except ValueError as error:
        print(f"course check: {error}", file=sys.stderr)
        return 2
    from course_lib.grading.run import check
    from course_lib.grading.starter import Starter

    reports = []
    with Starter() as starter:
        from course_lib.grading.report import as_data, as_junit, in_words  # with PyTorch, while the other side loads it

        for file in options.files:
            reports.append(check(starter, file, limits, options.chapter))
            if not options.json:
                print(in_words(reports[-1], options.feedback), flush=True)
    if options.json:
        print(json.dumps([as_data(report, options.feedback) for report in reports], indent=1, ensure_ascii=True))
    if options.junit:
        from course_lib.files.atomic import write_atomically

        write_atomically(options.junit, as_junit(reports, options.feedback))
    return max(report.status for report in reports)
