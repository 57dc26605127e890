"""The explorers: in Python, and in a real browser with a kernel and without."""

import base64
import hashlib
import math
import re
import statistics
import sys
import zlib

import numpy as np
import pytest
import torch
from traitlets import TraitError
from widget_pages import ROOT, YARDSTICK, lay_out, next_frame, serve, static_state

from course_lib import viz
from course_lib.interpret.maps import pos_embed_similarity, record_attention
from course_lib.vit import EncoderBlock
from course_lib.widgets.attention_explorer import AttentionExplorer
from course_lib.widgets.explorer import percent, signed
from course_lib.widgets.patchify import Patchify
from course_lib.widgets.position_explorer import PositionExplorer
from course_lib.widgets.tensor_explorer import EMBEDDED_BYTES, LEVELS, pack, to_levels

VIEW = "application/vnd.jupyter.widget-view+json"
GRID = (3, 4)


def attention(n=2, layers=3, heads=2, grid=GRID, prefix=1, seed=0):
    """Images and maps of a model that never was; sharp enough that heads differ."""
    draw = torch.Generator().manual_seed(seed)
    tokens = grid[0] * grid[1] + prefix
    images = torch.rand(n, 3, 6 * grid[0], 6 * grid[1], generator=draw)
    return images, torch.randn(n, layers, heads, tokens, tokens, generator=draw).mul(2).softmax(-1)


def attention_explorer(**options):
    images, maps = attention()
    return AttentionExplorer(images, maps, GRID, labels=["one", "<two>"], **options)


def large_explorer(**options):
    """Too large for the page: parts of 88 kB, one a layer."""
    images, maps = attention(n=1, layers=4, heads=3, grid=(10, 12))
    return AttentionExplorer(images, maps, (10, 12), **options)


def similarity(grid=(4, 5)):
    draw = torch.Generator().manual_seed(1)
    return pos_embed_similarity(torch.randn(grid[0] * grid[1], 6, generator=draw), grid)


def photo():
    draw = torch.Generator().manual_seed(2)
    return torch.rand(3, 24, 36, generator=draw)


MAKERS = {
    "attention-explorer": attention_explorer,
    "position-explorer": lambda: PositionExplorer(similarity()),
    "patchify": lambda: Patchify(photo(), 6, dim=40),
}
NAMES = list(MAKERS)


def reference(maps, mode, layer, head, query):
    """(N,) where a token looks, from the definitions, in loops and float64."""
    maps = maps.double().numpy()
    if mode == "head":
        return maps[layer, head, query]
    if mode == "mean":
        return sum(maps[layer, h, query] for h in range(maps.shape[1])) / maps.shape[1]
    result = np.eye(maps.shape[-1])
    for each in maps[: layer + 1]:
        mixed = sum(each) / len(each) + np.eye(maps.shape[-1])
        for row in mixed:
            row /= row.sum()
        result = mixed @ result
    return result[query]


# ---- Python ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "image", "layer", "head", "query"), [("head", 1, 1, 1, 0), ("mean", 0, 2, 0, 7), ("rollout", 1, 2, 0, 12), ("rollout", 0, 0, 1, 0)]
)  # fmt: skip
def test_weights_equal_the_definition(mode, image, layer, head, query):
    widget = attention_explorer()
    widget.mode, widget.image, widget.layer, widget.head, widget.query = mode, image, layer, head, query
    expected = reference(attention()[1][image], mode, layer, head, query)
    assert widget.weights.shape == (13,)
    np.testing.assert_allclose(widget.weights, expected, rtol=0, atol=1e-6)


def test_tile_and_cost_equal_torch():
    widget = PositionExplorer(similarity(), position=(3, 1))
    assert torch.equal(widget.tile.float(), similarity()[3, 1])
    cost = Patchify(photo(), 6, dim=40).cost
    assert (cost["tokens"], cost["numbers"], cost["weights"]) == (24, 108, 576)


def test_cost_is_that_of_the_course_block():
    """Linear layers: a multiply-add for each weight and token. Attention: two for each of its weights and dimension."""
    block, cost = EncoderBlock(40, num_heads=4).eval(), Patchify(photo(), 6, dim=40).cost
    with torch.no_grad(), record_attention(block) as maps:
        block(torch.randn(1, cost["tokens"], 40))
    assert cost["attention"] == 2 * maps[0].numel() * 10
    assert cost["linear"] == cost["tokens"] * sum(each.numel() for each in block.parameters() if each.ndim == 2)
    assert cost["weights"] == maps[0][0, 0].numel()


def test_a_stored_number_shows_its_own_digits():
    draw = np.random.default_rng(0)
    shares = np.concatenate([draw.random(20_000), draw.random(20_000) / 50, [0.0, 1.0, 1 + 1e-7]])
    levels = to_levels(shares)
    back = np.minimum(1, (levels + 0.5) / LEVELS)
    assert abs(back - shares).max() <= 0.5 / LEVELS + 1e-7
    assert [percent(x) for x in shares] == [percent(x) for x in back]
    cosines = 2 * shares - 1
    assert [signed(x) for x in cosines] == [signed(2 * x - 1) for x in back]


def test_parts_hold_the_maps():
    widget = attention_explorer()
    _, maps = attention()
    assert len(widget.packed) == 6
    for i, text in enumerate(widget.packed):
        plain = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(2, 2, 13, 13).astype(float)
        back = (256 * plain[0] + plain[1] + 0.5) / LEVELS
        assert abs(back - maps[i // 3, i % 3].numpy()).max() <= 0.51 / LEVELS


def test_files_are_written_for_large_tensors_only(tmp_path):
    small, large = attention_explorer(files="maps/small"), large_explorer(files="maps/large")
    assert small.write_files(tmp_path) == []
    assert (small.files, large.packed) == ("", [])
    paths = large.write_files(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [f"maps/large.{i}.bin" for i in range(4)]
    assert len(zlib.decompress(paths[3].read_bytes())) == 3 * 121 * 121 * 2
    with pytest.raises(ValueError, match=f"{4 * 3 * 121 * 121 * 2} bytes.* {EMBEDDED_BYTES}"):
        large_explorer().write_files(tmp_path)


def test_the_kernel_answers_for_a_part(monkeypatch):
    widget, sent = large_explorer(), []
    monkeypatch.setattr(widget, "send", lambda content, buffers: sent.append((content, buffers)))
    for content in ({"part": 2}, {"part": 9}, {"part": -1}, {"part": "2"}, {}):
        widget._handle_custom_msg(content, [])
    ((content, (packed,)),) = sent
    assert content == {"part": 2}
    assert len(zlib.decompress(packed)) == 3 * 121 * 121 * 2


def test_inputs_of_many_kinds():
    images, maps = attention(n=1)
    one = AttentionExplorer((images[0] * 255).byte(), maps[0].bfloat16().requires_grad_(), GRID)
    assert (one.image, one.layer, one.query, one.labels, one.extra) == (0, 2, 0, ["1"], ["class token"])
    patches = AttentionExplorer(images.numpy(), attention(n=1, prefix=0)[1], GRID)
    assert (patches.query, patches.extra) == (6, [])  # the middle of 3 x 4
    assert AttentionExplorer(images, attention(n=1, prefix=3)[1], GRID).extra == [
        "class token",
        "register 1",
        "register 2",
    ]
    assert Patchify(torch.zeros(1, 28, 28), 4).sizes == [1, 2, 4, 7, 14, 28]
    assert Patchify(torch.zeros(3, 224, 224), 16).sizes[0] == 4  # 12,544 tokens would be too many
    assert PositionExplorer(similarity()).stretch is False
    assert PositionExplorer(similarity().abs()).stretch is True


IMAGES, MAPS = attention()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AttentionExplorer(IMAGES[:1], MAPS, GRID), ["1 images", "n = 1", "(2, 3, 2, 13, 13)"]),
        (lambda: AttentionExplorer(IMAGES, MAPS[..., :5], GRID), ["(n, L, H, N, N)", "(2, 3, 2, 13, 5)"]),
        (lambda: AttentionExplorer(IMAGES, MAPS, (4, 5)), ["13 tokens", "(4, 5)"]),
        (lambda: AttentionExplorer(IMAGES, MAPS, (3, 0)), ["grid_size", "(3, 0)"]),
        (lambda: AttentionExplorer(IMAGES, MAPS, GRID, labels=["a"]), ["2 images", "1 labels"]),
        (lambda: AttentionExplorer(IMAGES, MAPS.log(), GRID), ["sum to 1", "after the softmax"]),
        (lambda: AttentionExplorer(IMAGES, MAPS / 2, GRID), ["sums to 0.5"]),
        (lambda: AttentionExplorer(IMAGES, MAPS * math.nan, GRID), ["maps must be finite", "2028 of 2028"]),
        (lambda: AttentionExplorer(2 * IMAGES - 1, MAPS, GRID), ["between 0 and 1", "-1.00 to 1.00", "before they were normalised"]),
        (lambda: AttentionExplorer(IMAGES[:, :2], MAPS, GRID), ["C = 1 or 3", "(2, 2, 18, 24)"]),
        (lambda: AttentionExplorer(IMAGES, MAPS, GRID, layer=3), ["layer", "0 and 2", "3"]),
        (lambda: AttentionExplorer(IMAGES, MAPS, GRID, query=13), ["query", "0 and 12", "13"]),
        (lambda: PositionExplorer(similarity()[0]), ["(gh, gw, gh, gw)", "(5, 4, 5)"]),
        (lambda: PositionExplorer(similarity() * 3), ["-1 and 1", "to 3"]),
        (lambda: PositionExplorer(similarity(), position=(4, 0)), ["row of position", "0 and 3", "4"]),
        (lambda: Patchify(photo(), 5), ["5", "24 × 36", "1, 2, 3, 4, 6, 12"]),
        (lambda: Patchify(IMAGES, 6), ["1 image", "2"]),
        (lambda: Patchify(photo(), 6, dim=0), ["dim", "0"]),
        (lambda: Patchify(photo(), 6, pixel=(0, 36)), ["column of pixel", "0 and 35", "36"]),
        (lambda: Patchify(torch.zeros(1, 127, 131), 1), ["127 × 131", "4096"]),
    ],
)  # fmt: skip
def test_bad_input_is_a_value_error_that_names_both_values(make, words):
    with pytest.raises(ValueError) as error:
        make()
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("name", "trait", "value"),
    [
        ("attention-explorer", "image", 2),
        ("attention-explorer", "head", -1),
        ("attention-explorer", "query", 13),
        ("attention-explorer", "strength", 1.1),
        ("attention-explorer", "mode", "max"),
        ("position-explorer", "position", [4, 0]),
        ("position-explorer", "position", [1]),
        ("patchify", "patch_size", 5),
        ("patchify", "pixel", [24, 0]),
    ],
)
def test_bad_assignment_is_refused_and_changes_nothing(name, trait, value):
    widget = MAKERS[name]()
    before = getattr(widget, trait)
    with pytest.raises((ValueError, TraitError)):
        setattr(widget, trait, value)
    assert getattr(widget, trait) == before


@pytest.mark.parametrize("name", NAMES)
def test_static_state_is_complete_and_the_words_hold_no_markup_of_the_reader(name):
    widget = MAKERS[name]()
    state = static_state(widget)
    assert list(state) == sorted(state)
    assert state == {key: getattr(widget, key) for key in widget.state_names}
    assert set(widget.state_names) <= {key for key in widget.keys if not key.startswith("_")}
    scripts = [(ROOT / f"course_lib/widgets/js/{module}.js").read_text() for module in ("explorer", widget.module)]
    read = set(re.findall(r'(?:model\.get|\bget)\("(\w+)"\)', "".join(scripts)))
    assert {key for key in read if key in widget.trait_names()} <= set(state)
    html = widget.static_html()
    assert "<two>" not in html
    assert "\n\n" not in html  # a blank line would end an HTML block in Markdown


def stored():
    """A digest of what notebooks keep of the explorers."""
    return hashlib.sha256("".join(make().static_html() for make in MAKERS.values()).encode()).hexdigest()


def test_colab_gets_the_live_form_only(monkeypatch):
    assert set(attention_explorer()._repr_mimebundle_()[0]) == {"text/html", "text/plain", VIEW}
    monkeypatch.setitem(sys.modules, "google.colab", object())
    assert set(attention_explorer()._repr_mimebundle_()[0]) == {"text/plain", VIEW}


def test_text_alternatives_hold_the_numbers():
    widget = attention_explorer(layer=1, query=5)
    text = widget.text_alternative()
    for head in range(2):
        assert percent(float(attention()[1][0, 1, head, 5].max())) in text
    assert "patch row 2, column 1, looks most at" in widget.describe()
    widget.mode, widget.query = "rollout", 0
    assert widget.describe().startswith("Image “one”. Rollout through layers 1 to 2: the class token draws most on ")
    tile = PositionExplorer(similarity(), position=(1, 2))
    assert all(f"<td>{signed(float(x))}</td>" in tile.text_alternative() for x in similarity()[1, 2].flatten())
    assert "<td>576</td>" in Patchify(photo(), 6).text_alternative()


def test_a_live_front_end_gets_one_script_that_imports_nothing():
    for make in MAKERS.values():
        script = make()._esm
        assert not re.search(r"^\s*import\b", script, re.M)
        assert re.findall(r"^export \w+", script, re.M) == ["export default"]
        assert "class Cells" in script


# ---- the browser, without a kernel (the fixture `chromium` is that of browser.py) --------------------------------


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The address of the pages: one with all explorers, one for each, and those whose tensors are large."""
    folder = tmp_path_factory.mktemp("explorers")
    stored, missing = large_explorer(files="maps/large"), large_explorer(files="maps/missing")
    each = {name: [make()] for name, make in MAKERS.items()}
    others = {
        "all": [widgets[0] for widgets in each.values()],
        "large": [stored],
        "missing": [missing],
        "kernel": [large_explorer()],
    }
    lay_out(folder, each | others)
    stored.write_files(folder / "_static")
    with serve(folder) as address:
        yield address


@pytest.fixture(scope="module")
def window(chromium):
    """What pages share that ask for nothing else: scripts and fonts are read once."""
    context = chromium.new_context(viewport={"width": 1000, "height": 1000}, reduced_motion="reduce")
    yield context
    context.close()


@pytest.fixture
def visit(chromium, window, pages):
    """visit(name, ...) -> the page with its widgets; afterwards: no error, no request to another host."""
    opened, faults = [], []

    def open_page(name, theme="light", live=True, **options):
        context = chromium.new_context(reduced_motion="reduce", **options) if options else window
        page = context.new_page()
        opened.append(context if options else page)
        page.faults, page.requests = faults, []
        page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
        page.on("console", lambda line: faults.append(line.text) if line.type in ("error", "warning") else None)
        page.on("request", lambda r: None if r.url.startswith((pages, "data:", "blob:")) else faults.append(r.url))
        page.on("request", lambda r: page.requests.append(r.url))
        page.goto(f"{pages}/book/{name}-{theme}.html")
        if live:
            page.wait_for_function("document.querySelectorAll('.course-explorer').length")
            arrived(page)
        return page

    yield open_page
    for each in opened:
        each.close()
    assert faults == []


def arrived(page):
    """Everything that was asked for has been drawn: after a frame the widgets know what they lack, then it comes."""
    next_frame(page)
    page.wait_for_function(
        "[...document.querySelectorAll('.course-explorer')].every((root) => ![undefined, 'null'].includes(root.dataset.shown))"
    )


def shown(page, name="attention-explorer"):
    """The numbers that the widget shows, before they are rounded."""
    arrived(page)
    return page.evaluate("(name) => JSON.parse(document.querySelector(`.${name}`).dataset.shown)", name)


def table(page):
    return page.locator(".course-explorer details td:not(:empty)").all_inner_texts()


def say(page, text):
    """The live line says it, after a moment."""
    page.wait_for_function(
        "(text) => [...document.querySelectorAll('[aria-live=polite]')].some((line) => line.textContent === text)",
        arg=text,
    )


def click_cell(page, label, row, column, grid, act="click"):
    cells = page.get_by_label(label)
    box = cells.bounding_box()
    spot = {"x": (column + 0.5) / grid[1] * box["width"], "y": (row + 0.5) / grid[0] * box["height"]}
    getattr(cells, act)(position=spot)
    if act != "hover":
        chosen = row * grid[1] + column + 1
        page.wait_for_function("([node, n]) => node.ariaValueNow === `${n}`", arg=[cells.element_handle(), chosen])


LOOKS = "Patch that looks: arrow keys choose"


def test_attention_numbers_equal_torch(visit):
    page = visit("attention-explorer")
    _, maps = attention()
    page.get_by_text("All numbers of this map").click()
    page.get_by_role("button", name="<two>").click()
    page.get_by_label("layer", exact=True).fill("2")
    click_cell(page, LOOKS, 1, 3, GRID)
    for head in (1, 2):
        page.get_by_label("head", exact=True).fill(f"{head}")
        exact = reference(maps[1], "head", 1, head - 1, 8)
        np.testing.assert_allclose(shown(page), exact, rtol=0, atol=0.51 / LEVELS)
        assert table(page) == [percent(x) for x in exact[1:]]  # the very digits
        assert page.get_by_role("button", name="class token").inner_text().split("\n")[-1].endswith(percent(exact[0]))
    page.get_by_label("mean of heads").check()
    np.testing.assert_allclose(shown(page), reference(maps[1], "mean", 1, 0, 8), rtol=0, atol=0.51 / LEVELS)
    page.get_by_label("rollout").check()
    for layer in (1, 2, 3):
        page.get_by_label("layer", exact=True).fill(f"{layer}")
        np.testing.assert_allclose(shown(page), reference(maps[1], "rollout", layer - 1, 0, 8), rtol=0, atol=3e-5)
        assert abs(sum(shown(page)) - 1) < 1e-9
    page.get_by_role("button", name="class token").click()
    np.testing.assert_allclose(shown(page), reference(maps[1], "rollout", 2, 0, 0), rtol=0, atol=3e-5)
    say(page, attention_explorer(image=1, mode="rollout", query=0).describe())


def test_small_maps_choose_the_head_and_the_depth(visit):
    page = visit("attention-explorer")
    _, maps = attention()
    tile = page.get_by_role("button", name=re.compile(r"^head 2\b"))
    assert tile.get_attribute("aria-label") == f"head 2, at most {percent(float(maps[0, 2, 1, 0, 1:].max()))}"
    tile.click()
    arrived(page)
    assert page.get_by_label("head", exact=True).input_value() == "2"
    assert tile.get_attribute("aria-pressed") == "true"
    page.get_by_label("rollout").check()
    arrived(page)
    assert page.get_by_label("head", exact=True).is_disabled()
    page.get_by_role("button", name=re.compile("^to layer 1")).click()
    np.testing.assert_allclose(shown(page), reference(maps[0], "rollout", 0, 0, 0), rtol=0, atol=3e-5)
    page.get_by_label("strength").fill("30")
    arrived(page)
    assert page.locator(".xp-picture canvas").evaluate("(node) => node.style.opacity") == "0.3"


def test_position_numbers_equal_torch(visit):
    page = visit("position-explorer")
    page.get_by_text("All numbers of this tile").click()
    click_cell(page, "Position among all tiles: arrow keys choose", 3, 1, (4, 5), act="hover")
    arrived(page)
    assert table(page) == [signed(float(x)) for x in similarity()[3, 1].flatten()]
    say(page, PositionExplorer(similarity(), position=(3, 1)).describe())
    click_cell(page, "Position in its own tile: arrow keys choose", 0, 4, (4, 5))
    np.testing.assert_allclose(
        shown(page, "position-explorer"), similarity()[0, 4].flatten(), rtol=0, atol=1.02 / LEVELS
    )
    click_cell(page, "Position in its own tile: arrow keys choose", 2, 2, (4, 5), act="hover")
    arrived(page)
    assert page.locator(".xp-pointed").inner_text() == f"row 3, column 3: {signed(float(similarity()[0, 4, 2, 2]))}"


def test_patchify_cuts_counts_and_links(visit):
    page = visit("patchify")
    for size in (1, 4, 12, 6):
        page.get_by_label("patch size").fill(f"{Patchify(photo(), 6).sizes.index(size)}")
        arrived(page)
        expected, got = Patchify(photo(), size, dim=40), shown(page, "patchify")
        assert {name: got[name] for name in expected.cost} == expected.cost
        assert got["token"] == expected.token  # the mark stays in its place
    say(page, Patchify(photo(), 6, dim=40).describe())
    click_cell(page, "Patch of the image: arrow keys choose", 2, 1, (4, 6), act="hover")
    arrived(page)
    rings = page.locator(".xp-under:visible")
    assert rings.count() == 2  # in the image and in the strip
    assert page.locator(".xp-pointed").inner_text() == "row 3, column 2 is token 14"
    strip = page.get_by_label("Token of the strip: arrow keys choose")
    box, ring = strip.bounding_box(), rings.nth(1).bounding_box()
    strip.click(
        position={name: ring[name] - box[name] + ring[side] / 2 for name, side in (("x", "width"), ("y", "height"))}
    )
    assert shown(page, "patchify")["token"] == 13


def test_the_strip_is_drawn_in_reading_order(visit):
    """Each token of the strip has its patch's mean colour."""
    page = visit("patchify")
    found = page.evaluate(
        """() => {
            const [strip, cells] = [document.querySelector(".pf-strip canvas"), document.querySelector(".pf-strip .xp-cells")];
            const pen = strip.getContext("2d"), ring = cells.querySelector(".xp-chosen").style;
            const [wide, high] = [ring.width, ring.height].map((text) => parseFloat(text) / 100);
            const across = Math.floor(1 / wide + 1e-6), all = pen.getImageData(0, 0, strip.width, strip.height).data;
            return [...Array(24).keys()].map((i) => {
                const at = [(i % across) * wide * strip.width, Math.floor(i / across) * high * strip.height];
                const side = wide * strip.width, sum = [0, 0, 0];
                const inner = [...Array(Math.floor(side * 0.6)).keys()].map((j) => Math.round(j + side * 0.2));
                for (const y of inner) for (const x of inner) {
                    for (const c of [0, 1, 2]) sum[c] += all[4 * ((Math.round(at[1]) + y) * strip.width + Math.round(at[0]) + x) + c];
                }
                return sum.map((total) => total / inner.length ** 2);
            });
        }"""
    )
    patches = photo().unfold(1, 6, 6).unfold(2, 6, 6)[..., 1:5, 1:5].mean((-2, -1)).flatten(1).T * 255  # (24, 3)
    got = torch.tensor(found)
    assert torch.cdist(got, patches).argmin(dim=1).tolist() == list(range(24))


def test_colours_are_those_of_the_figures(visit):
    page = visit("attention-explorer")
    page.get_by_label("layer", exact=True).fill("2")
    page.get_by_role("button", name=re.compile(r"^head 2\b")).click()
    click_cell(page, LOOKS, 1, 0, GRID)
    values = np.array(shown(page))
    assert values.argmax() == 0  # the class token gets most; the patches' colours reach their end all the same
    query = "document.querySelector('.xp-picture canvas')"
    pixels = page.evaluate(f"[...{query}.getContext('2d').getImageData(0, 0, 4, 3).data]")
    expected = np.array(viz.WEIGHTS(values[1:] / values[1:].max(), bytes=True), dtype=int)
    assert abs(np.array(pixels).reshape(12, 4) - expected).max() <= 2
    page = visit("position-explorer")
    pixels = page.evaluate(
        "[...document.querySelectorAll('.xp-picture canvas')[1].getContext('2d').getImageData(0, 0, 5, 4).data]"
    )
    expected = np.array(viz.SIGNED((similarity()[2, 2].flatten().numpy() + 1) / 2, bytes=True), dtype=int)
    assert abs(np.array(pixels).reshape(20, 4) - expected).max() <= 2


def test_arrow_keys_choose_and_stop_at_the_edge(visit):
    page = visit("attention-explorer")
    cells = page.get_by_label(LOOKS)
    assert cells.get_attribute("aria-valuetext") == "the class token"
    click_cell(page, LOOKS, 1, 2, GRID)
    for key, place in (("ArrowRight", "row 2, column 4"), ("ArrowRight", "row 2, column 4"), ("ArrowDown", "row 3, column 4"),
                       ("ArrowDown", "row 3, column 4"), ("ArrowLeft", "row 3, column 3"), ("ArrowUp", "row 2, column 3"),
                       ("Home", "row 1, column 1"), ("ArrowLeft", "row 1, column 1"), ("End", "row 3, column 4")):  # fmt: skip
        page.keyboard.press(key)
        arrived(page)
        assert cells.get_attribute("aria-valuetext") == place
    say(page, attention_explorer(query=12).describe())
    page = visit("patchify")
    strip = page.get_by_label("Token of the strip: arrow keys choose")
    strip.focus()
    for key, text in (("Home", "token 1 of 24"), ("ArrowRight", "token 2 of 24"), ("End", "token 24 of 24")):
        page.keyboard.press(key)
        arrived(page)
        assert strip.get_attribute("aria-valuetext") == text


def test_keys_that_come_between_two_frames_count(visit):
    page = visit("attention-explorer")
    page.get_by_label(LOOKS).evaluate(
        """(node) => ["Home", "ArrowDown", "ArrowRight", "ArrowRight"].forEach(
            (key) => node.dispatchEvent(new KeyboardEvent("keydown", { key })))"""
    )
    arrived(page)
    assert page.get_by_label(LOOKS).get_attribute("aria-valuetext") == "row 2, column 3"


def test_the_number_under_the_pointer(visit):
    page = visit("attention-explorer")
    _, maps = attention()
    click_cell(page, LOOKS, 2, 1, GRID, act="hover")
    arrived(page)
    assert page.locator(".xp-pointed").inner_text() == f"row 3, column 2: {percent(float(maps[0, 2, 0, 0, 1 + 9]))}"
    page.mouse.move(5, 5)
    arrived(page)
    assert page.locator(".xp-pointed").inner_text().startswith("Point to read")


def test_touch_taps(visit):
    page = visit("all", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    click_cell(page, LOOKS, 2, 0, GRID, act="tap")
    np.testing.assert_allclose(shown(page), reference(attention()[1][0], "head", 2, 0, 9), rtol=0, atol=0.51 / LEVELS)
    click_cell(page, "Position among all tiles: arrow keys choose", 0, 3, (4, 5), act="tap")
    np.testing.assert_allclose(
        shown(page, "position-explorer"), similarity()[0, 3].flatten(), rtol=0, atol=1.02 / LEVELS
    )
    click_cell(page, "Patch of the image: arrow keys choose", 3, 5, (4, 6), act="tap")
    assert shown(page, "patchify")["token"] == 23


def test_everything_can_be_reached_by_keyboard_and_shows_its_focus(visit):
    page = visit("all")
    seen = []
    for _ in range(26):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                """() => {
                    const node = document.activeElement, frame = node.closest(".xp-picture, .xp-choices label") ?? node;
                    const visible = [node, frame].some((each) => getComputedStyle(each).outlineStyle === "solid");
                    return visible && (node.getAttribute("aria-label") ?? node.closest("label")?.textContent ?? node.textContent);
                }"""
            )
        )
    for name in (LOOKS, "class token", "<two>", "one head", "layer", "head", "strength", "head 1", "All numbers of this map",
                 "Position among all tiles", "Position in its own tile", "stretch", "All numbers of this tile",
                 "Patch of the image", "patch size", "Token of the strip"):  # fmt: skip
        assert any(isinstance(text, str) and name in text for text in seen), (name, seen)


def test_fits_and_targets_are_large_enough(visit):
    page = visit("all")
    for text in ("All numbers of this map", "All numbers of this tile"):
        page.get_by_text(text).click()
    for width in (320, 390, 700, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        arrived(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        spill = page.evaluate(
            """() => [...document.querySelectorAll(".course-explorer *")].filter((node) => node.scrollWidth > node.clientWidth + 1 &&
                node.clientWidth && !node.closest("details") && getComputedStyle(node).display !== "inline").map((node) => node.className)"""
        )
        assert spill == []
        sizes = page.evaluate(
            """() => [...document.querySelectorAll(".course-explorer :is(input, button, summary)")].filter((node) => node.offsetWidth).map((node) => {
                const box = (node.closest("label") ?? node).getBoundingClientRect(); return Math.min(box.width, box.height); })"""
        )
        assert min(size for size in sizes if size) >= 24


@pytest.mark.parametrize(("theme", "width"), [("light", 390), ("dark", 1000)])
def test_axe_finds_nothing_serious(visit, theme, width):
    from axe_playwright_python.sync_playwright import Axe

    page = visit("all", theme, viewport={"width": width, "height": 900})
    page.get_by_text("All numbers of this map").click()
    page.get_by_label("rollout").check()
    arrived(page)
    found = Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []


def test_a_click_is_answered_in_time(visit):
    """From the click to the frame that shows its answer, a rollout: not much more than a frame and some arithmetic."""
    page = visit("large")
    page.get_by_label("rollout").check()
    arrived(page)
    times, frames = page.evaluate(
        """async (yardstick) => {
            const measure = eval(yardstick), root = document.querySelector(".course-explorer");
            const cells = document.querySelector(".xp-cells"), box = cells.getBoundingClientRect(), times = [], frames = [];
            for (let i = 0; i < 11; i += 1) {
                frames.push(await measure());
                const before = root.dataset.shown, start = performance.now();
                cells.dispatchEvent(new MouseEvent("click", { clientX: box.left + (i + 0.5) * box.width / 12, clientY: box.top + 60 }));
                while (root.dataset.shown === before) await new Promise((done) => requestAnimationFrame(done));
                times.push(performance.now() - start);
            }
            return [times, frames];
        }""",
        YARDSTICK,
    )
    assert statistics.median(times) < 2 * statistics.median(frames)


# ---- large tensors -----------------------------------------------------------------------------------------------


def test_large_tensors_are_fetched_layer_by_layer(visit):
    page = visit("large")
    _, maps = attention(n=1, layers=4, heads=3, grid=(10, 12))

    def fetched():
        return [int(re.search(r"\.(\d)\.bin$", url)[1]) for url in page.requests if url.endswith(".bin")]

    assert fetched() == [3]
    np.testing.assert_allclose(shown(page), reference(maps[0], "head", 3, 0, 0), rtol=0, atol=0.51 / LEVELS)
    page.get_by_label("layer", exact=True).fill("2")
    arrived(page)
    assert fetched() == [3, 1]
    page.get_by_label("rollout").check()
    arrived(page)
    assert fetched() == [3, 1, 0]  # through layers 1 and 2; what is here is not asked for again
    np.testing.assert_allclose(shown(page), reference(maps[0], "rollout", 1, 0, 0), rtol=0, atol=3e-5)
    assert len(page.content()) < 150_000


def test_a_missing_file_is_said_and_tried_again(visit, pages):
    page = visit("missing", live=False)
    page.wait_for_function(
        "document.querySelector('[aria-live=polite]')?.textContent.includes('404 for missing.3.bin')"
    )
    assert page.locator(".xp-picture canvas").evaluate("(node) => node.style.opacity") == "0"
    asked = len([url for url in page.requests if url.endswith(".bin")])
    assert asked == 1
    stored = large_explorer(files="maps/missing")
    page.route("**/*.bin", lambda route: route.fulfill(body=pack(stored._levels[2])))
    page.get_by_label("layer", exact=True).fill("3")
    arrived(page)
    say(page, large_explorer(layer=2).describe())
    page.unroute("**/*.bin")
    page.route("**/*.bin", lambda route: route.fulfill(body=zlib.compress(bytes(10))))
    page.get_by_label("layer", exact=True).fill("1")
    page.wait_for_function(
        f"document.querySelector('[aria-live=polite]').textContent.includes('5 numbers came, not {3 * 121**2}')"
    )
    assert [fault for fault in page.faults if "404" not in fault] == []
    page.faults.clear()


def test_a_large_tensor_without_files_leaves_the_text(visit):
    page = visit("kernel", live=False)
    page.wait_for_selector(".course-widget-failed")
    assert "run its cell in a notebook" in page.locator(".course-widget-failed").inner_text()
    assert page.get_by_text("Attention explorer.").count() == 1


# ---- with a kernel -----------------------------------------------------------------------------------------------

LIVE = """async ([script, state, answers]) => {
    const handlers = new Map();
    const model = {
        get: (name) => state[name],
        set: (name, value) => { state[name] = value; (handlers.get(`change:${name}`) ?? []).forEach((each) => each()); },
        on: (name, handler) => handlers.set(name, [...(handlers.get(name) ?? []), handler]),
        off: (name, handler) => handlers.set(name, (handlers.get(name) ?? []).filter((each) => each !== handler)),
        save_changes() {},
        send: ({ part }) => setTimeout(() => (handlers.get("msg:custom") ?? []).forEach((each) =>
            each({ part }, [new DataView(Uint8Array.from(atob(answers[part]), (c) => c.charCodeAt(0)).buffer)]))),
    };
    const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    const { default: widget } = await import(url);
    const el = document.createElement("div");
    document.querySelector(".course-widget").replaceChildren(el);
    const end = await widget.render({ model, el });
    window.live = { end, left: () => [...handlers.values()].flat().length };
}"""


@pytest.mark.parametrize("name", NAMES)
def test_the_same_module_renders_the_same_with_a_kernel(visit, name):
    """The one script that Jupyter and Colab get, in a page with a model that can be sent to."""
    markup = """() => [...document.querySelectorAll(".course-explorer")].map((root) => root.outerHTML.replace(/ax-[a-z0-9]+/g, "ax"))[0]"""
    widget = MAKERS[name]()
    page = visit(name)
    say(page, widget.describe())
    static = page.evaluate(markup)
    page.evaluate(LIVE, [widget._esm, static_state(widget), []])
    say(page, widget.describe())
    arrived(page)
    assert page.evaluate(markup) == static
    page.evaluate("live.end()")
    assert page.locator(".course-explorer").count() == 0
    assert page.evaluate("live.left()") == 0


def test_the_kernel_is_asked_for_large_parts(visit):
    page, widget = visit("attention-explorer"), large_explorer()
    answers = []
    widget.send = lambda content, buffers: answers.append(base64.b64encode(buffers[0]).decode())
    for part in range(4):
        widget._handle_custom_msg({"part": part}, [])
    page.evaluate(LIVE, [widget._esm, static_state(widget), answers])
    page.get_by_label("rollout").check()
    maps = attention(n=1, layers=4, heads=3, grid=(10, 12))[1]
    page.wait_for_function("JSON.parse(document.querySelector('.course-explorer').dataset.shown)?.length === 121")
    np.testing.assert_allclose(shown(page), reference(maps[0], "rollout", 3, 0, 0), rtol=0, atol=3e-5)
