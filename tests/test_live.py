"""The widgets in a JupyterLab with a real kernel: Python reads what the reader did, and they show what Python sets."""

import numpy as np
import pytest
from test_explorers import LEVELS, LOOKS, NAMES, arrived, attention, click_cell, shown, stored
from test_explorers import reference as explorer_reference
from test_widgets import drawn, near, reference, set_query
from widget_pages import ROOT, RUN_CELL, jupyterlab, static_state

from course_lib.widgets import AttentionPlayground

PLAYGROUND = [
    "from course_lib.widgets import AttentionPlayground\nplayground = AttentionPlayground()\nplayground",
    "print('read', playground.query, playground.mask)",
    "playground.query, playground.scale = [-2, 1], 5",
]
EXPLORERS = [
    f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\nfrom test_explorers import MAKERS, large_explorer, stored\n"
    "explorer = large_explorer()\nexplorer",
    "print('read', explorer.layer, explorer.query)",
    "explorer.mode, explorer.layer = 'rollout', 1",
    "from IPython.display import display\nfor make in MAKERS.values(): display(make())\nprint('stored', stored())",
]


@pytest.fixture(scope="module")
def lab(chromium, tmp_path_factory):
    """The notebook with the cells above, open in a JupyterLab; afterwards: no error in the page."""
    pytest.importorskip("jupyterlab", reason="no JupyterLab: the widgets were not tried live")
    with jupyterlab(tmp_path_factory.mktemp("lab"), PLAYGROUND + EXPLORERS) as address:
        context = chromium.new_context(viewport={"width": 1300, "height": 1400}, reduced_motion="reduce")
        page, errors = context.new_page(), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext")
        page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.ready")
        page.locator(".jp-CodeCell .cm-content").nth(2).wait_for()
        yield page
        context.close()
    assert errors == []


def read_until(page, cell, text):
    """Run the cell until it prints this: a widget's messages wait while the kernel is busy."""
    for _ in range(1000):
        page.evaluate(RUN_CELL, cell)
        if page.get_by_text(text).count():
            return
    pytest.fail(f"{text!r} never came")


def test_the_playground(lab):
    lab.evaluate(RUN_CELL, 0)
    lab.wait_for_selector(".attention-playground")
    x, y = drawn(lab)["handle"]
    lab.mouse.move(x, y)
    lab.mouse.down()
    lab.mouse.move(x - 60, y + 20, steps=5)
    lab.mouse.up()
    lab.get_by_label("may attend to k3").uncheck()
    set_query(lab, -1.25, 0.5)
    lab.get_by_label("query x").focus()
    lab.keyboard.press("ArrowRight")  # JupyterLab must not take it for itself
    lab.locator(".ap-handle").focus()
    lab.keyboard.press("ArrowUp")
    assert near(drawn(lab)["query"], [-1.2, 0.55], 1e-9)
    read_until(lab, 1, "read [-1.2, 0.55] [True, True, False, True, True]")
    lab.evaluate(RUN_CELL, 2)
    lab.wait_for_function("document.querySelector('.ap-of-q output').textContent === '−2.00'")
    start = static_state(AttentionPlayground())
    weights, _ = reference(start["key"], start["value"], [-2, 1], 5, [True, True, False, True, True])
    assert near(drawn(lab)["weights"], weights.tolist(), 1e-6)


# The kernel takes a moment to send a part; until then the widget shows nothing.
NUMBERS_STAND = "!document.querySelector('.attention-explorer').dataset.shown.includes('null')"


def test_the_explorers(lab):
    """One is asked for a part. Being another process, it also says that what notebooks store is always the same bytes."""
    maps = attention(n=1, layers=4, heads=3, grid=(10, 12))[1][0]
    first = len(PLAYGROUND)
    lab.evaluate(RUN_CELL, first)
    lab.wait_for_selector(".attention-explorer")
    expected = explorer_reference(maps, "head", 3, 0, 0)
    np.testing.assert_allclose(shown(lab), expected, rtol=0, atol=0.51 / LEVELS)
    click_cell(lab, LOOKS, 4, 5, (10, 12))
    lab.keyboard.press("ArrowDown")  # JupyterLab must not take it for itself
    explorer = lab.locator(".attention-explorer").first
    explorer.get_by_label("layer", exact=True).fill("3")
    explorer.get_by_text("layer 3, head 1").first.wait_for()
    lab.wait_for_function(NUMBERS_STAND)
    np.testing.assert_allclose(shown(lab), explorer_reference(maps, "head", 2, 0, 66), rtol=0, atol=0.51 / LEVELS)
    read_until(lab, first + 1, "read 2 66")
    lab.evaluate(RUN_CELL, first + 2)
    lab.get_by_text("rollout to layer 2").wait_for()
    lab.wait_for_function(NUMBERS_STAND)
    np.testing.assert_allclose(shown(lab), explorer_reference(maps, "rollout", 1, 0, 66), rtol=0, atol=3e-5)
    lab.evaluate(RUN_CELL, first + 3)
    for name in NAMES:
        lab.locator(f".{name}").last.wait_for()
    arrived(lab)
    lab.get_by_text(f"stored {stored()}").wait_for()
