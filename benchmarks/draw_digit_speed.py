"""Time the page "Draw a digit": opening to the first answer, stroke to new maps, bytes. Needs `make book` and Chromium.

    python benchmarks/draw_digit_speed.py [--rounds 7] [--write]     # --write: data/results/draw_digit_speed.json

Measured in the page. Opening: from the start of the navigation, nothing cached, until the first probabilities and maps
stand. Stroke: from a pointer event on the field until maps for it stand, for every point of a drawn 8. Bytes: the files
that only this page fetches, each compressed with gzip.
"""

import argparse
import functools
import gzip
import http.server
import re
import shutil
import statistics
import threading
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright

from course_lib.records import versions, write_json
from course_lib.train import describe

ROOT = Path(__file__).parent.parent
SITE = ROOT / "_build" / "html"
PAGE = "book/draw_a_digit.html"
GOALS = {"opening_ms": 1000, "stroke_ms": 30, "bytes": 1_000_000}

FIRST_ANSWER = """
new MutationObserver(() => {
  if (document.querySelector(".draw-digit[data-answered]")) window.firstAnswer ??= performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-answered"] });
"""
STROKES = """async () => {
  const root = document.querySelector(".draw-digit"), field = root.querySelector(".dd-field");
  const box = field.getBoundingClientRect();
  const answered = () => new Promise((done) => {
    const watch = new MutationObserver(() => { watch.disconnect(); done(performance.now()); });
    watch.observe(root, { attributes: true, attributeFilter: ["data-answered"] });
  });
  field.setPointerCapture = () => {};
  const times = [];
  for (let i = 0; i <= 60; i += 1) {
    const angle = (i / 60) * 2 * Math.PI;
    const x = box.left + box.width * (0.5 - 0.17 * Math.sin(2 * angle)), y = box.top + box.height * (0.5 - 0.33 * Math.cos(angle));
    const answer = answered(), start = performance.now();
    const about = { clientX: x, clientY: y, pointerId: 1, button: 0, bubbles: true };
    field.dispatchEvent(new PointerEvent(i ? "pointermove" : "pointerdown", about));
    times.push((await answer) - start);
    await new Promise((done) => setTimeout(done, 16));
  }
  field.dispatchEvent(new PointerEvent("pointerup", { pointerId: 1, bubbles: true }));
  return times.slice(1);
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def visit(browser, address):
    """(milliseconds to the first answer, those of each point of a stroke)."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.add_init_script(FIRST_ANSWER)
    page.goto(address)
    page.wait_for_function("window.firstAnswer")
    first, strokes = page.evaluate("window.firstAnswer"), page.evaluate(STROKES)
    context.close()
    return first, strokes


def own_bytes():
    """Of the files that only this page fetches, each compressed."""
    static = SITE / "_static"
    names = ["css/draw_digit.css", "draw_digit.js", "explorer.js", "draw_digit_worker.js", "vit.js"]
    names += set(re.findall(r"[\w.]+\.safetensors", (SITE / PAGE).read_text()))
    return sum(len(gzip.compress((static / name).read_bytes())) for name in names)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    handler = functools.partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        address = f"http://127.0.0.1:{server.server_port}/{PAGE}"
        visits = [visit(browser, address) for _ in range(arguments.rounds)]
        about = f"Chromium {browser.version}"
        browser.close()
        server.shutdown()
    openings, strokes = zip(*visits, strict=True)
    points = [time for times in strokes for time in times]
    results = {
        "opening_ms": round(statistics.median(openings)),
        "stroke_ms": round(statistics.median(points), 1),
        "stroke_ms_slowest_of_20": round(statistics.quantiles(points, n=20)[-1], 1),
        "bytes": own_bytes(),
    }
    for name, value in results.items():
        goal = GOALS.get(name)
        print(f"{name:24} {value:>9}" + (f"   at most {goal}: {'yes' if value <= goal else 'NO'}" if goal else ""))
    if arguments.write:
        what = "the page 'Draw a digit': medians of opening to first answer and of stroke to maps; its own files, gzip"
        record = {"what": what, "rounds": arguments.rounds, "browser": about, "results": results}
        record |= {"device": describe(torch.device("cpu")), "versions": versions()}
        write_json(ROOT / "data" / "results" / "draw_digit_speed.json", record)


if __name__ == "__main__":
    main()
