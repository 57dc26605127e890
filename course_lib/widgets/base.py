"""What the course's widgets share: a display that also works where there is no kernel."""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Callable
from pathlib import Path

import anywidget


class CourseWidget(anywidget.AnyWidget):
    """An anywidget that leaves a page of plain HTML behind.

    A live front end shows the widget. A stored output holds ``text/html`` as well: one ``<div>`` with the
    state that the ES module needs (``data-state``) and, inside, what the widget shows, in words. The static
    page starts the same module from it (``assets/js/widgets.js``).

    A subclass names its module (``module = "<name>"`` for ``js/<name>.js``) and the traits that make up its state
    (``state_names``), and writes ``text_alternative()``.
    """

    module: str
    state_names: tuple[str, ...] = ()
    text_alternative: Callable[[], str]  # plain HTML that says what the widget shows, with its present numbers

    def __init_subclass__(cls, **kwargs):
        if "module" in cls.__dict__:
            cls._esm = Path(__file__).parent / "js" / f"{cls.module}.js"
        super().__init_subclass__(**kwargs)

    def static_html(self) -> str:
        """The widget without a kernel; the same bytes for the same state."""
        state = json.dumps({name: getattr(self, name) for name in self.state_names}, sort_keys=True)
        return (
            f'<div class="course-widget" data-widget="{self.module}" data-state="{html.escape(state)}">\n'
            f"{self.text_alternative()}\n</div>"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None or "google.colab" in sys.modules:  # Colab shows one of several forms: let it be the live one
            return bundle
        data, metadata = bundle
        return {**data, "text/html": self.static_html()}, metadata
