"""The `course` command: train by a recipe, list the recipes and what they reached, look at the installation. Chapter 07."""

import argparse
import os
import sys
from collections.abc import Sequence

from course_lib.commands.certificate import add_certificate
from course_lib.commands.check import add_check
from course_lib.commands.doctor import add_doctor
from course_lib.commands.evaluate import add_evaluate
from course_lib.commands.export import add_export
from course_lib.commands.grade import add_grade
from course_lib.commands.look import add_look
from course_lib.commands.predict import add_predict
from course_lib.commands.runs import add_runs
from course_lib.commands.sort import add_sort
from course_lib.commands.speedrun import add_speedrun
from course_lib.commands.train import add_reproduce, add_train


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for what the reader can mend, 130 and 143 after a stop."""
    parser = argparse.ArgumentParser(prog="course", description="Train and look at the models of the course.")
    commands = parser.add_subparsers(dest="command", required=True)
    everything = (
        add_look,
        add_sort,
        add_train,
        add_speedrun,
        add_evaluate,
        add_predict,
        add_export,
        add_runs,
        add_reproduce,
        add_certificate,
        add_check,
        add_grade,
        add_doctor,
    )
    for add in everything:
        add(commands)
    options, rest = parser.parse_known_args(arguments)
    if options.command in ("train", "speedrun", "reproduce"):  # settings may also stand after the options
        options.settings += [word for word in rest if "=" in word and not word.startswith("-")]
        rest = [word for word in rest if word not in options.settings]
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return options.run(options)
    except KeyboardInterrupt:
        goes_on = options.command in ("train", "speedrun", "reproduce")
        print("Stopped." + " The same command goes on from here." * goes_on, file=sys.stderr)
        return 130
    except BrokenPipeError:  # `course runs | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        return 0
    except (ValueError, OSError) as error:  # of a file or a disk, OSError says which and why
        said = str(error)
        if isinstance(error, OSError) and error.filename:
            said = f"{error.filename}: {error.strerror}. Choose another place, or see to its permissions."
        print(f"course {options.command}: {' '.join(said.split())}", file=sys.stderr)
        return 1
