"""The parts of the `course` command, a module each: what it takes (`add`), and what it does. Chapter 07.

Heavy libraries are imported when a command runs, so that asking what there is takes no time.
"""

from pathlib import Path
from typing import Any


def save_figure(figure: Any, file: Path) -> str:
    """Write a figure of Matplotlib's as PNG, whole or not at all; returns the file's name."""
    import io

    import matplotlib.pyplot as plt

    from course_lib.files.atomic import write_atomically

    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    plt.close(figure)
    write_atomically(file, data.getvalue())
    return str(file)
