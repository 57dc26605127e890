"""Interactive figures: live in Jupyter and Colab, and equally live on the static page with no kernel.

Each widget is one Python class and one ES module, ``js/<name>.js``.
"""

from .attention_playground import AttentionPlayground
from .base import CourseWidget

__all__ = ["AttentionPlayground", "CourseWidget"]
