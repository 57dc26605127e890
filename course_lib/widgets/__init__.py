"""Interactive figures: live in Jupyter and Colab, and equally live on the static page with no kernel.

Each widget is one Python class and one ES module, ``js/<name>.js``.
"""

from course_lib.widgets.attention_explorer import AttentionExplorer
from course_lib.widgets.attention_playground import AttentionPlayground
from course_lib.widgets.base import CourseWidget
from course_lib.widgets.draw_digit import DrawDigit
from course_lib.widgets.patchify import Patchify
from course_lib.widgets.position_explorer import PositionExplorer

__all__ = ["AttentionExplorer", "AttentionPlayground", "CourseWidget", "DrawDigit", "Patchify", "PositionExplorer"]
