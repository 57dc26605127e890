"""Write what pages show where their widgets will be: book/draw_a_digit.html, book/real_vit.html, book/own_image.html.

    python tools/live_page.py

These pages are Markdown and the site is built without PyTorch, so the widgets' states are written here, once. They
change with the weights, the maps, the examples and the widgets' words; the tests say when one is out of date.
"""

import html
import json
from pathlib import Path

import numpy as np
from PIL import Image

from course_lib.files.atomic import write_atomically
from course_lib.records import load_record
from course_lib.weights.registry import find_entry
from course_lib.widgets.attention_explorer import AttentionExplorer
from course_lib.widgets.draw_digit import DrawDigit
from course_lib.widgets.explorer import picture
from course_lib.widgets.tensor_explorer import unpack

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "book" / "draw_a_digit.html"
REAL = ROOT / "assets" / "real_vit"  # by benchmarks/published_vit_maps.py
PHOTOGRAPHS = ("china", "flower")
SHAPE = (2, 12, 6, 257, 257)  # photographs, layers, heads, tokens, tokens
OWN = "vit_cifar_token_patch4_32"


def preloads(*names):
    return [f'<link rel="modulepreload" href="../_static/{name}.js">' for name in names]


def content():
    """The widget, and before it what it will need, so that the browser fetches all of it at once."""
    widget = DrawDigit()
    needs = preloads(widget.module, "explorer")
    needs += [f'<link rel="preload" as="fetch" crossorigin fetchpriority="low" href="../_static/{widget.weights}">']
    return "\n".join([*needs, widget.static_html(), ""])


def stored_maps(first):
    """The maps as the files hold them, in float32: 24 parts from `first` on."""
    parts = SHAPE[0] * SHAPE[1]
    files = [(REAL / f"vit.{i}.bin").read_bytes() for i in range(first, first + parts)]
    return np.stack([unpack(each, SHAPE[2:]).astype(np.float32) for each in files]).reshape(SHAPE)


def stored_lens():
    """(2, 2, 12, 16, 16) between 0 and 1: what the patches say, of the model and of its twin."""
    bytes_ = np.frombuffer((REAL / "lens.bin").read_bytes(), np.uint8)
    return bytes_.reshape(2, *SHAPE[:2], 16, 16) / 255


def real_vit():
    """The explorer of the published ViT-S/14, from its files: they hold all that it shows."""
    pictures = np.stack([np.asarray(Image.open(REAL / f"{name}.jpg")) for name in PHOTOGRAPHS])
    images = pictures.transpose(0, 3, 1, 2)  # (2, 3, 224, 224)
    maps, twin = stored_maps(0), stored_maps(SHAPE[0] * SHAPE[1])
    lens, twin_lens = stored_lens()
    widget = AttentionExplorer(
        images, maps, 16, twin=twin, lens=lens, twin_lens=twin_lens, labels=PHOTOGRAPHS, files="real_vit/vit", brief=True, one_scale=True,
        image=1, layer=3, head=1, query=1 + 8 * 16 + 7,
    )  # fmt: skip
    # The very files, and not what this Pillow would make of them.
    widget.set_trait("images", [f"../_static/real_vit/{name}.jpg" for name in PHOTOGRAPHS])
    return widget


def real_content():
    widget = real_vit()
    part = widget.image * widget.layers + widget.layer
    needs = preloads(widget.module, "explorer")
    needs += [f'<link rel="preload" as="fetch" crossorigin href="../_static/{widget.files}.{part}.bin">']
    return "\n".join([*needs, widget.static_html(), ""])


def own_content():
    """Your own image: a widget of the page only, with the course's model for CIFAR-10."""
    entry = find_entry(f"course/{OWN}")
    record = load_record("cifar10_test_examples")
    examples = []
    for each in record["examples"]:
        image = np.frombuffer(bytes.fromhex("".join(each["image"])), np.uint8).reshape(32, 32, 3)
        examples.append({"label": record["classes"][each["label"]], "image": picture(image.transpose(2, 0, 1))})
    examples += [{"label": name, "image": f"../_static/real_vit/{name}.jpg"} for name in PHOTOGRAPHS]
    assert entry.preprocessing
    state = {
        "classes": record["classes"],
        "examples": examples,
        "mean": list(entry.preprocessing.mean),
        "side": 32,
        "std": list(entry.preprocessing.std),
        "weights": f"{entry.file}?{(entry.sha256 or '')[:8]}",
    }
    return (
        f'<div class="course-widget" data-widget="own_image" data-state="{html.escape(json.dumps(state))}">\n'
        "<p><strong>Your own image.</strong> A field to choose or drop an image. A Vision Transformer "
        f"({OWN}, {entry.top1:.2f} % right on the\ntest images of CIFAR-10) says which of ten things it is, and the attention "
        "explorer shows its maps. It needs JavaScript.</p>\n</div>\n"
    )


PAGES = {PAGE: content, PAGE.with_name("real_vit.html"): real_content, PAGE.with_name("own_image.html"): own_content}

if __name__ == "__main__":
    for page, make in PAGES.items():
        write_atomically(page, make().encode())
