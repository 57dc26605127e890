"""The page "The library": made from docstrings, complete, and without importing what it describes."""

import ast
import subprocess
import sys

import api_page
import griffe
import pytest

SOURCE = "https://example.org/blob/main"
MODULE = '''
"""A wing. Chapters 01 and 77."""

import torch_is_not_needed_here


def softmax(scores: "Tensor", *, dim: int = -1, temperature: float = 1.0, kinds: tuple[str, ...] = ("a", "b")) -> "Tensor":
    """Weights that sum to 1: exp(`scores`) / sum, for a < b.

    Text with a * b * c and `dim`, and `Layer`, and `rooms.softmax`.

        softmax(scores)[0]  # code

    Args:
        scores, mask: (..., N),
            over two lines.
        dim: see `Layer`.

    Returns:
        (..., N).

    Raises:
        ValueError: none left.

    Source: somebody 2020. Chapter 01.
    """


class Layer:
    """A layer.

    Args, raises: as `softmax`.
    """

    def __init__(self, dim):
        pass

    def forward(self, x):
        pass

    @property
    def size(self):
        """How large."""

    def reset(self, to=0):
        """Begin again."""


def _hidden():
    """Nobody sees this."""


def without_words():
    pass
'''


@pytest.fixture
def page(tmp_path):
    """Two modules: a package that hands on one name of its only room, and the room."""
    (tmp_path / "wing").mkdir()
    (tmp_path / "wing/__init__.py").write_text('"""The face."""\nfrom os import path\nfrom wing.rooms import softmax\n')
    (tmp_path / "wing/rooms.py").write_text(MODULE)
    library = griffe.load("wing", search_paths=[tmp_path], allow_inspection=False).modules_collection
    return api_page.Page(library, ["wing"], {"01": "01_attention"}, SOURCE)


def test_names_stand_where_they_are_imported_from(page):
    text = page.wing("wing")
    places = [
        text.index(part) for part in ("### `wing`", 'id="wing.softmax"', "### `wing.rooms`", 'id="wing.rooms.Layer"')
    ]
    assert places == sorted(places) and text.count("<summary><code>softmax</code>") == 1
    assert 'id="wing.rooms.Layer.size"' in text and 'id="wing.rooms.Layer.reset"' in text
    assert not any(name in text for name in ("_hidden", "without_words", "forward", "os.path"))


def test_a_docstring_is_set_well(page):
    text = page.wing("wing")
    assert "exp(<code>scores</code>) / sum, for a &lt; b.</summary>" in text
    assert r"a \* b \* c and `dim`" in text and "\n\n    softmax(scores)[0]  # code\n\n" in text
    assert "<dt>Args</dt>\n<dd>\n\n- `scores, mask`: (..., N), over two lines.\n- `dim`: see <a href" in text
    assert "<dt>Returns</dt>\n<dd>\n\n(..., N).\n" in text and "- `ValueError`: none left." in text
    assert "<dt>Args, raises</dt>" in text


def test_a_long_call_has_a_line_for_each_parameter(page):
    lines = ["softmax(", "    scores: Tensor,", "    *,", "    dim: int = -1,", "    temperature: float = 1.0,"]
    assert "\n".join([*lines, "    kinds: tuple[str, ...] = ('a', 'b'),", ") -> Tensor"]) in page.wing("wing")
    assert "```python\nLayer(dim)\n```" in page.wing("wing") and "```python\nsize\n```" in page.wing("wing")


def test_links_lead_to_names_chapters_and_lines(page):
    text = page.wing("wing")
    assert '<a href="#wing.rooms.Layer"><code>Layer</code></a>' in text
    assert "[Chapters 01](01_attention.ipynb) and 77." in text  # 77 is still to be written
    line = MODULE.splitlines().index("class Layer:") + 1
    assert f"[rooms.py, line {line}]({SOURCE}/wing/rooms.py#L{line})" in text


@pytest.mark.slow
def test_the_page_has_every_name_that_chapters_import():
    page = api_page.read_page((api_page.ROOT / "book/api.md").read_text(encoding="utf-8"), SOURCE)
    library = griffe.load("course_lib", search_paths=[api_page.ROOT], allow_inspection=False)
    imports = []
    for path in (api_page.ROOT / "book").glob("[0-9][0-9]_*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        imports += [
            node for node in nodes if isinstance(node, ast.ImportFrom) and node.module.startswith("course_lib.")
        ]
    things = [
        library[node.module.removeprefix("course_lib.")][alias.name]
        for node in imports
        for alias in node.names
        if node.module != "course_lib.checks"  # each exercise has one, and makes them as it is imported
    ]
    named = {thing.canonical_path for thing in things if thing.is_function or thing.is_class}
    assert len(named) > 40 and named - page.links.keys() == set(), "add their wings to book/api.md"


def test_nothing_is_imported():
    code = f"import sys; sys.path.insert(0, {str(api_page.ROOT / 'tools')!r}); import api_page; "
    code += "api_page.fill('<!-- course_lib: attention -->', ''); "
    code += "sys.exit(bool({'torch', 'course_lib', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
