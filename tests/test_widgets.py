"""The widgets: in Python, and in a real browser on a page with no kernel."""

import functools
import html
import http.server
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import threading

import pytest
import torch
from widget_pages import ROOT, next_frame, stop_the_clock

from course_lib import widgets
from course_lib.widgets.attention_playground import AttentionPlayground
from course_lib.widgets.base import CourseWidget

VIEW = "application/vnd.jupyter.widget-view+json"


def reference(key, value, query, scale, mask):
    """softmax(scale * q.k) in PyTorch's own words, float64."""
    key, value, query = (torch.tensor(x, dtype=torch.float64) for x in (key, value, query))
    weights = torch.softmax((scale * (key @ query)).masked_fill(~torch.tensor(mask), -math.inf), dim=0).nan_to_num(0.0)
    return weights, weights @ value


def static_state(widget):
    text = widget._repr_mimebundle_()[0]["text/html"]
    return json.loads(html.unescape(re.search(r'data-state="([^"]*)"', text).group(1)))


# ---- Python ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "scale", "mask"),
    [
        ([0.8, 1.1], 1 / math.sqrt(2), [True] * 5),
        ([-1.5, 0.3], 1.0, [True, False, True, True, False]),
        ([2.5, -2.5], 5.0, [False, True, True, False, True]),
        ([0.4, -0.9], 0.0, [True, True, False, True, True]),
        ([0.4, -0.9], 3.0, [False] * 5),
    ],
)
def test_weights_and_output_equal_torch(query, scale, mask):
    widget = AttentionPlayground()
    widget.query, widget.scale, widget.mask = query, scale, mask
    weights, output = reference(widget.key, widget.value, query, scale, mask)
    assert torch.allclose(widget.weights, weights, rtol=0, atol=1e-12)
    assert torch.allclose(widget.output, output, rtol=0, atol=1e-12)


def test_starting_point_is_worth_looking_at():
    """The key that points closest to the query is not the one with most weight; no value stands where its key does."""
    widget = AttentionPlayground()
    key, value, query = (torch.tensor(x) for x in (widget.key, widget.value, widget.query))
    nearest = torch.cosine_similarity(key, query[None]).argmax()
    assert nearest == 1
    assert widget.weights.argmax() == 3
    assert (torch.cosine_similarity(key, value) < 0.5).all()


def test_at_the_largest_scale_one_key_usually_takes_most():
    """As chapter 1 says: of queries from all over the plane, nine in ten."""
    axis = torch.linspace(-2, 2, 41)
    weights = (5 * torch.cartesian_prod(axis, axis) @ torch.tensor(AttentionPlayground().key).T).softmax(dim=-1)
    assert (weights.amax(dim=-1) > 0.5).float().mean() > 0.9


def test_arrays_and_tensors_are_accepted():
    numbers = torch.arange(6.0).reshape(3, 2)
    widget = AttentionPlayground(numbers, numbers.numpy(), (1, 2), mask=torch.tensor([True, False, True]))
    assert (widget.key, widget.query, widget.mask) == ([[0, 1], [2, 3], [4, 5]], [1, 2], [True, False, True])
    assert widget.start == {"query": [1, 2], "scale": 1 / math.sqrt(2), "mask": [True, False, True]}
    assert widget.limit > 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"keys": [[1, 2], [3, 4]], "values": [[1, 2]]}, ["(2, 2)", "(1, 2)"]),
        ({"keys": torch.zeros(4, 3), "values": torch.zeros(4, 2)}, ["(n, 2)", "(4, 3)"]),
        ({"keys": [[1, 2], [3]], "values": [[1, 2], [3, 4]]}, ["(n, 2)", "different lengths"]),
        ({"keys": torch.zeros(10, 2), "values": torch.zeros(10, 2)}, ["1 to 9", "(10, 2)"]),
        ({"keys": [[1, 2]]}, ["both keys (n, 2) and values (n, 2)"]),
        ({"query": [1, 2, 3]}, ["(2,)", "(3,)"]),
        ({"query": [math.nan, 1]}, ["finite"]),
        ({"mask": [True, False]}, ["(5,)", "(5, 2)", "(2,)"]),
        ({"scale": 6}, ["between 0 and 5", "6"]),
    ],
)
def test_bad_input_is_a_value_error_that_names_the_shapes(arguments, words):
    with pytest.raises(ValueError) as error:
        AttentionPlayground(**arguments)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("name", "value"), [("query", [1]), ("query", [9, 0]), ("mask", [True]), ("scale", -1.0), ("key", [[1, 2]])]
)
def test_bad_assignment_is_refused_and_changes_nothing(name, value):
    widget = AttentionPlayground()
    before = getattr(widget, name)
    with pytest.raises(ValueError):
        setattr(widget, name, value)
    assert getattr(widget, name) == before


@pytest.mark.slow
def test_stored_output_is_the_same_bytes_every_time():
    code = (
        "from course_lib.widgets import AttentionPlayground\n"
        "data = AttentionPlayground()._repr_mimebundle_()[0]\n"
        "import sys; sys.stdout.buffer.write((data['text/html'] + data['text/plain']).encode())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True,
                               env={**os.environ, "PYTHONHASHSEED": "1"}).stdout  # fmt: skip
    for _ in range(2):
        data, _ = AttentionPlayground()._repr_mimebundle_()
        assert (data["text/html"] + data["text/plain"]).encode() == elsewhere
    assert set(data) == {"text/html", "text/plain", VIEW}
    assert "\n\n" not in data["text/html"]  # a blank line would end an HTML block in Markdown


def test_colab_gets_the_live_form_only(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", object())
    data, _ = AttentionPlayground()._repr_mimebundle_()
    assert set(data) == {"text/plain", VIEW}


def test_static_state_is_json_and_complete():
    widget = AttentionPlayground(mask=[True, True, False, True, True])
    state = static_state(widget)
    assert list(state) == sorted(state)
    assert state == {name: getattr(widget, name) for name in widget.state_names}
    source = (ROOT / "course_lib/widgets/js/attention_playground.js").read_text()
    assert set(re.findall(r'model\.get\("(\w+)"\)', source)) == set(state)


def test_text_alternative_holds_the_weights():
    widget = AttentionPlayground(mask=[True, True, False, True, True])
    weights, _ = reference(widget.key, widget.value, widget.query, widget.scale, widget.mask)
    text = widget._repr_mimebundle_()[0]["text/html"]
    for i, weight in enumerate(weights.tolist(), 1):
        assert f"k{i} {weight:.3f}" in text
        assert f"<td>{weight:.3f}</td>" in text
    assert "k3 0.000 (masked)" in text
    widget.mask = [False] * 5
    assert "zero vector" in widget.text_alternative()
    assert "nan" not in widget.text_alternative().lower()


def test_every_widget_has_its_module():
    named = {getattr(widgets, name) for name in widgets.__all__} - {CourseWidget}
    assert len(named) >= 5 and all(issubclass(widget, CourseWidget) for widget in named)
    for widget in named:
        assert (ROOT / "course_lib/widgets/js" / f"{widget.module}.js").is_file()


# ---- the browser (the fixture `chromium` is that of browser.py) --------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def widget_site(tmp_path_factory):
    """A page laid out like the site's: the real shim, the real module, the real styles. Yields its address."""
    folder = tmp_path_factory.mktemp("site")
    for part in ("css", "fonts", "js"):
        shutil.copytree(ROOT / "assets" / part, folder / "_static" / part)
    shutil.copytree(ROOT / "course_lib/widgets/js", folder / "_static", dirs_exist_ok=True)
    (folder / "book").mkdir()
    page = """<!doctype html><html lang="en" data-content_root="../" data-theme="{theme}"><head><meta charset="utf-8">
<title>Widget</title><link rel="icon" href="data:,"><meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="../_static/css/course.css"><link rel="stylesheet" href="../_static/css/widgets.css">
<script type="module" src="../_static/js/widgets.js"></script>
<style>body {{ margin: 0; padding: 12px; font: 16px/1.6 system-ui, sans-serif; color: var(--course-ink);
background: var(--course-paper, #fff); }} main {{ max-width: 960px; margin: auto; }}</style>
</head><body><main class="bd-article"><h1>Widget</h1>{above}<div class="cell_output">{widget}</div></main></body></html>"""
    for theme in ("light", "dark"):
        text = page.format(theme=theme, above="", widget=AttentionPlayground().static_html())
        (folder / f"book/{theme}.html").write_text(text)
    far = page.format(
        theme="light", above='<div style="height: 4000px"></div>', widget=AttentionPlayground().static_html()
    )
    (folder / "book/far.html").write_text(far)
    missing = AttentionPlayground().static_html().replace('data-widget="attention_playground"', 'data-widget="missing"')
    (folder / "book/missing.html").write_text(page.format(theme="light", above="", widget=missing))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/book"
    server.shutdown()
    server.server_close()


@pytest.fixture
def visit(chromium, widget_site):
    """visit(name, **context options): the page with its widget; afterwards: no error, no request to another host."""
    contexts, faults = [], []

    def open_page(name="light", live=True, **options):
        context = chromium.new_context(
            **{"viewport": {"width": 1000, "height": 1000}, "reduced_motion": "reduce", **options}
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
        page.on("console", lambda line: faults.append(line.text) if line.type in ("error", "warning") else None)
        page.on(
            "request",
            lambda r: None if r.url.startswith((widget_site[: -len("/book")], "data:")) else faults.append(r.url),
        )
        page.goto(f"{widget_site}/{name}.html")
        if live:
            page.wait_for_selector(".attention-playground")
        page.faults = faults
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def drawn(page):
    """What the widget shows: exact numbers from its data attributes, the same as printed, and where the drawing is."""
    next_frame(page)
    return page.evaluate(
        """() => {
            const root = document.querySelector(".attention-playground");
            const number = (text) => Number(text.replace("−", "-"));
            const center = (node) => { const box = node.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; };
            return {
                weights: JSON.parse(root.dataset.weights), output: JSON.parse(root.dataset.output),
                printed: [...root.querySelectorAll(".ap-weight")].map((cell) => number(cell.textContent)),
                query: [...root.querySelectorAll(".ap-of-q output")].map((cell) => number(cell.textContent)),
                handle: center(root.querySelector(".ap-disc")), diamond: center(root.querySelector(".ap-o path")),
                text: root.innerText, markup: root.outerHTML,
            };
        }"""
    )


def set_query(page, x, y):
    page.get_by_label("query x").fill(str(x))
    page.get_by_label("query y").fill(str(y))


def near(a, b, within):
    return all(abs(x - y) <= within for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("query", "scale", "masked"),
    [
        ([0.8, 1.1], 0.71, []),  # the slider's 0.71 is 1/sqrt(2)
        ([-1.55, 0.3], 1.0, [2, 5]),
        ([2.5, -2.5], 5.0, [1]),
        ([0.4, -0.9], 0.0, [4]),
        ([-2.0, -1.25], 2.37, [1, 2, 3, 4]),
    ],
)
def test_numbers_equal_torch(visit, query, scale, masked):
    page = visit()
    set_query(page, *query)
    page.get_by_label("scale", exact=True).fill(str(scale))
    for i in masked:
        page.get_by_label(f"may attend to k{i}").uncheck()
    scale = 1 / math.sqrt(2) if scale == 0.71 else scale
    widget = AttentionPlayground()
    weights, output = reference(widget.key, widget.value, query, scale, [i not in masked for i in range(1, 6)])
    got = drawn(page)
    assert near(got["weights"], weights.tolist(), 1e-6)
    assert near(got["output"], output.tolist(), 1e-6)
    assert near(got["printed"], weights.tolist(), 1e-3)
    assert near(got["query"], query, 1e-3)


def test_readout_says_what_python_says(visit):
    page = visit()
    words = page.locator(".ap-words")
    assert words.inner_text().replace("\xa0", " ") == AttentionPlayground().describe()
    page.get_by_label("may attend to k4").uncheck()
    page.wait_for_function("document.querySelector('.ap-words').textContent.includes('masked')")
    assert (
        words.inner_text().replace("\xa0", " ") == AttentionPlayground(mask=[True, True, True, False, True]).describe()
    )
    assert page.locator("[aria-live=polite]").count() == 1


def test_mouse_drags_the_query(visit):
    page = visit()
    before = drawn(page)
    x, y = before["handle"]
    page.mouse.move(x + 5, y - 4)  # off centre: the handle must not jump
    page.mouse.down()
    page.mouse.move(x - 60, y + 40, steps=5)
    page.mouse.up()
    after = drawn(page)
    assert near(after["handle"], [x - 65, y + 44], 1)
    assert math.dist(after["diamond"], before["diamond"]) > 10
    page.mouse.move(x, y)  # released: it no longer follows
    assert drawn(page)["handle"] == after["handle"]
    box = page.locator(".ap-query svg").bounding_box()
    page.mouse.click(box["x"] + 40, box["y"] + 120)  # a click in the plane fetches it
    assert near(drawn(page)["handle"], [box["x"] + 40, box["y"] + 120], 1)
    page.mouse.move(*drawn(page)["handle"])
    page.mouse.down()
    page.mouse.move(box["x"] - 300, box["y"] - 300)  # outside: it stays at the edge
    page.mouse.up()
    assert drawn(page)["query"] == [-2.5, 2.5]


def test_arrow_keys_move_the_query(visit):
    page = visit()
    handle = page.locator(".ap-handle")
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    assert near(drawn(page)["query"], [0.85, 1.15], 1e-9)
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    got = drawn(page)
    assert near(got["query"], [0.6, 0.9], 1e-9)
    assert handle.get_attribute("aria-valuetext") == "x 0.60, y 0.90"
    weights, _ = reference(
        *(static_state(AttentionPlayground())[name] for name in ("key", "value")),
        [0.6, 0.9],
        1 / math.sqrt(2),
        [True] * 5,
    )
    assert near(got["weights"], weights.tolist(), 1e-6)


def test_the_live_line_does_not_chatter(visit):
    """While the hand moves it speaks once a second, and it has the last word a quarter of a second after."""
    page = visit(live=False)
    stop_the_clock(page, ".attention-playground")
    page.clock.run_for(300)
    page.evaluate(
        """() => { window.said = 0;
        new MutationObserver(() => { window.said += 1; }).observe(document.querySelector(".ap-readout"), { childList: true, subtree: true }); }"""
    )
    box = page.locator(".ap-disc").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(30):
        page.mouse.move(x - 5 * step, y)
        page.clock.run_for(100)
    page.mouse.up()
    while_moving = page.evaluate("window.said")
    page.clock.run_for(300)
    assert while_moving == 3
    assert page.evaluate("window.said") <= 4  # if the third came with the last step, there is nothing to add
    words = page.locator(".ap-words").inner_text()
    assert page.locator(".ap-weight").first.inner_text() in words


def test_everything_can_be_reached_by_keyboard_and_shows_its_focus(visit):
    page = visit()
    names = []
    for _ in range(14):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                """() => { const node = document.activeElement, ring = node.querySelector?.(".ap-ring");
                const visible = ring ? getComputedStyle(ring).opacity === "1" : getComputedStyle(node).outlineStyle === "solid";
                return visible && (node.getAttribute("aria-label") ?? node.closest("label")?.innerText.trim().split("\\n")[0] ?? node.innerText); }"""
            )
        )
    assert [n for n in names if n][:1] == ["Query: arrow keys move it, with Shift in larger steps"]
    assert {f"may attend to k{i}" for i in range(1, 6)} | {
        "query x",
        "query y",
        "scale",
        "Reset",
        "scale 1/√d = 0.707",
    } <= set(names)


def test_touch_taps_and_drags(visit):
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    box = page.locator(".ap-query svg").bounding_box()
    spot = [box["x"] + box["width"] / 2 - 50, box["y"] + box["height"] / 2 - 40]
    page.touchscreen.tap(*spot)
    assert near(drawn(page)["handle"], spot, 1)
    touch = page.context.new_cdp_session(page)

    def send(kind, *points):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})

    before = drawn(page)
    send("touchStart", spot)
    for step in range(1, 9):
        send("touchMove", [spot[0] + 8 * step, spot[1] + 10 * step])  # downwards: the page must not scroll instead
    send("touchEnd")
    after = drawn(page)
    assert near(after["handle"], [spot[0] + 64, spot[1] + 80], 1.5)
    assert after["output"] != before["output"]
    assert page.evaluate("scrollY") == 0


def test_nothing_allowed_gives_zeros(visit):
    page = visit()
    for i in range(1, 6):
        page.get_by_label(f"may attend to k{i}").uncheck()
    page.wait_for_function("document.querySelector('.ap-words').textContent.includes('zero vector')")
    got = drawn(page)
    assert got["weights"] == [0] * 5
    assert got["output"] == [0, 0]
    assert "NaN" not in got["markup"]
    assert "Infinity" not in got["markup"]
    page.get_by_label("may attend to k2").check()
    assert drawn(page)["weights"] == [0, 1, 0, 0, 0]


def test_reset_and_presets(visit):
    page = visit()
    before = drawn(page)
    set_query(page, -2, 0.5)
    page.get_by_role("button", name="scale 5 sharp").click()
    page.get_by_label("may attend to k3").uncheck()
    assert drawn(page)["printed"][2] == 0
    page.get_by_role("button", name="scale 0 average").click()
    assert near(drawn(page)["weights"], [0.25, 0.25, 0, 0.25, 0.25], 1e-12)
    page.get_by_role("button", name="Reset").click()
    after = drawn(page)
    assert [after[name] for name in ("weights", "output", "query", "handle", "diamond")] == [
        before[name] for name in ("weights", "output", "query", "handle", "diamond")
    ]
    assert page.get_by_label("may attend to k3").is_checked()


def test_motion_settles_on_the_same_place(visit):
    still, moving = visit(), visit(reduced_motion="no-preference")
    for page in (still, moving):
        page.get_by_label("may attend to k4").uncheck()
    x, y = drawn(still)["diamond"]
    moving.wait_for_function(  # it is there when it is there, and stays
        """([x, y]) => {
            const box = document.querySelector(".attention-playground .ap-o path").getBoundingClientRect();
            return Math.hypot(box.x + box.width / 2 - x, box.y + box.height / 2 - y) <= 0.2;
        }""",
        arg=[x, y],
    )
    assert near(drawn(moving)["diamond"], [x, y], 0.2)


def test_a_frame_is_drawn_in_time(visit):
    """What the widget does in a frame takes little beside some arithmetic in the same page."""
    page = visit()
    times, arithmetic = page.evaluate(
        """async () => {
            const real = window.requestAnimationFrame, times = [], arithmetic = [];
            window.requestAnimationFrame = (callback) => real((t) => { const start = performance.now(); callback(t); times.push(performance.now() - start); });
            const input = document.querySelector("[name=query-x]");
            for (let i = 0; i < 30; i += 1) {
                const start = performance.now();
                for (let j = 0, sum = 0; j < 1e6; j += 1) sum += Math.sqrt(j);
                arithmetic.push(performance.now() - start);
                input.value = -2 + i / 8;
                input.dispatchEvent(new Event("input"));
                await new Promise((done) => real(() => real(done)));
            }
            window.requestAnimationFrame = real;
            return [times, arithmetic];
        }"""
    )
    assert len(times) >= 30
    assert statistics.median(times) < 1.5 * statistics.median(arithmetic)


@pytest.mark.parametrize("width", [320, 360, 700, 1000])
def test_fits_and_targets_are_large_enough(visit, width):
    page = visit(viewport={"width": width, "height": 800})
    next_frame(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    spill = page.evaluate(
        """() => [...document.querySelectorAll(".attention-playground *")].filter((node) => node.scrollWidth > node.clientWidth + 1 &&
            node.clientWidth && !(node instanceof SVGElement) && getComputedStyle(node).display !== "inline").map((node) => node.className)"""
    )
    assert spill == []
    sizes = page.evaluate(
        """() => [...document.querySelectorAll(".attention-playground :is(input, button, .ap-reach)")].map((node) => {
            const box = (node.type === "checkbox" ? node.closest("label") : node).getBoundingClientRect(); return Math.min(box.width, box.height); })"""
    )
    assert min(sizes) >= 24
    rows = page.locator(".attention-playground tbody tr").evaluate_all("(rows) => rows.map((row) => row.offsetHeight)")
    assert rows == [30] * 5  # the site's own table style stays outside


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1000])
def test_axe_finds_nothing_serious(visit, theme, width):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(theme, viewport={"width": width, "height": 900})
    page.get_by_label("may attend to k3").uncheck()
    next_frame(page)
    found = Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []


def test_loads_only_when_near_and_keeps_the_page_still(visit):
    page = visit("far", live=False)
    near_enough = page.evaluate(  # a later observer than the page's own: when this one is told, that one has been
        """() => new Promise((done) => new IntersectionObserver((seen) => done(seen[0].isIntersecting), { rootMargin: "600px" })
            .observe(document.querySelector(".course-widget")))"""
    )
    assert not near_enough
    assert page.locator(".attention-playground").count() == 0
    assert page.get_by_text("Attention playground.").count() == 1  # the text alternative, until then
    page.locator(".course-widget").scroll_into_view_if_needed()
    page.wait_for_selector(".attention-playground")


def test_a_module_that_does_not_load_leaves_the_text(visit):
    page = visit("missing", live=False)
    page.wait_for_selector(".course-widget-failed")
    assert page.get_by_text("k1 0.229").count() == 1
    assert page.locator(".course-widget-failed").count() == 1
    assert all("404" in fault for fault in page.faults)
    page.faults.clear()
