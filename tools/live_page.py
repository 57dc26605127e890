"""Write what book/draw_a_digit.md shows where its widget will be: book/draw_a_digit.html.

    python tools/live_page.py

The page is Markdown and the site is built without PyTorch, so the widget's state is written here, once. It changes
with the weights, the examples and the widget's words; the tests say when it is out of date.
"""

from pathlib import Path

from course_lib.files.atomic import write_atomically
from course_lib.widgets.draw_digit import DrawDigit

PAGE = Path(__file__).parent.parent / "book" / "draw_a_digit.html"


def content():
    """The widget, and before it what it will need, so that the browser fetches all of it at once."""
    widget = DrawDigit()
    needs = [f'<link rel="modulepreload" href="../_static/{name}.js">' for name in (widget.module, "explorer")]
    needs += [f'<link rel="preload" as="fetch" crossorigin fetchpriority="low" href="../_static/{widget.weights}">']
    return "\n".join([*needs, widget.static_html(), ""])


if __name__ == "__main__":
    write_atomically(PAGE, content().encode())
