"""Interactive figures: live in Jupyter and Colab, and equally live on the static page with no kernel.

Each widget is one Python class and one ES module, ``js/<name>.js``.
"""

from .attention_explorer import AttentionExplorer
from .attention_playground import AttentionPlayground
from .base import CourseWidget
from .draw_digit import DrawDigit
from .patchify import Patchify
from .position_explorer import PositionExplorer

__all__ = ["AttentionExplorer", "AttentionPlayground", "CourseWidget", "DrawDigit", "Patchify", "PositionExplorer"]
