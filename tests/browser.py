"""Fixtures that build the site once, serve it from this machine and open it in a real browser.

`site_dir` needs no browser. Whatever needs one is skipped, with one reason, where there is none;
where the environment variable CI is set, a missing browser is a failure.
"""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@dataclass
class Build:
    html: Path
    log: str
    returncode: int
    seconds: float  # of the processor
    start: float  # what only starting the program takes of it


def _jupyter_book(*arguments, cwd):
    """Run jupyter-book; returns what came of it, and the seconds of the processor."""
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", *arguments]
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    after = os.times()
    return done, sum(after[2:4]) - sum(before[2:4])


@pytest.fixture(scope="session")
def site_build(tmp_path_factory):
    """The site as `make book` builds it, in a temporary folder, whether or not it went well. All workers share one."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    out, told = folder / "site", folder / "site.json"
    with FileLock(folder / "site.lock"):
        if not told.is_file():
            out.mkdir()
            _, start = _jupyter_book("--help", cwd=out)
            options = ["--path-output", str(out), "-W", "-n", "--keep-going"]
            done, seconds = _jupyter_book("build", str(ROOT), *options, cwd=out)
            log = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
            told.write_text(json.dumps([log, done.returncode, seconds, start]))
    return Build(out / "_build" / "html", *json.loads(told.read_text()))


@pytest.fixture(scope="session")
def site_dir(site_build):
    """The folder of the built site."""
    assert (site_build.html / "index.html").is_file(), site_build.log[-3000:]
    return site_build.html


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def site(site_dir):
    """The address of the site, ending in a slash."""
    handler = functools.partial(_QuietHandler, directory=str(site_dir))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def _no_browser(reason):
    line = f"no browser: {reason}"
    pytest.fail(line) if os.environ.get("CI") else pytest.skip(line)


@pytest.fixture(scope="session")
def chromium():
    """A Chromium: the system's, or the one that `playwright install chromium` fetched."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        _no_browser("playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, names)), None)
        try:
            browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        except Error as error:
            found = (
                str(error).strip().splitlines()[0] if path else "install Chromium, or run: playwright install chromium"
            )
            browser, reason = None, found
        if browser is None:
            _no_browser(reason)
        new_context = browser.new_context

        def patient_context(**options):
            context = new_context(**options)
            context.set_default_timeout(120_000)  # what is waited for comes, only later where the machine is busy
            return context

        browser.new_context = patient_context
        yield browser
        browser.close()


@dataclass
class Visit:
    """An open page and everything that went wrong in it so far, foreign requests included."""

    page: object
    faults: list[str] = field(default_factory=list)

    def read_through(self):
        """Scroll to the end, so that whatever waits to be seen has been, and wait for every widget."""
        self.page.evaluate(
            """async () => {
              const frame = () => new Promise((done) => {
                requestAnimationFrame(() => requestAnimationFrame(done));
                setTimeout(done, 500);  // a browser may draw nothing for a while
              });
              for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight) {
                scrollTo(0, y);
                await frame();  // whoever waits for it has been told what is in sight
              }
              scrollTo(0, 0);
              await frame();
            }"""
        )
        waiting = ".course-widget[data-widget]:not(.course-widget-live, .course-widget-static)"
        self.page.wait_for_function(f"!document.querySelector('{waiting}')", polling=100)
        return self


@pytest.fixture
def open_page(chromium, site):
    """`open_page("book/notation.html", width=390, mode="dark")` -> a `Visit`.

    `mode` is what the reader chose earlier with the theme's own switch; None leaves the choice open.
    """
    contexts = []

    def visit(path, *, width=1280, height=900, mode="light"):
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            reduced_motion="reduce",  # a colour half way through its fade is no colour to measure
        )
        contexts.append(context)
        if mode:
            stored = "".join(f"localStorage.setItem('{key}', '{mode}');" for key in ("mode", "theme"))
            context.add_init_script(stored)
        opened = Visit(context.new_page())

        def guard(route):
            url = urlsplit(route.request.url)
            if url.netloc == urlsplit(site).netloc or url.scheme in ("data", "blob"):
                route.continue_()
            else:
                opened.faults.append(f"request to another host: {route.request.url}")
                route.abort()

        context.route("**/*", guard)
        page = opened.page
        page.on("console", lambda m: m.type == "error" and opened.faults.append(f"console: {m.text}"))
        page.on("pageerror", lambda error: opened.faults.append(f"script error: {error}"))
        page.on("response", lambda r: r.status >= 400 and opened.faults.append(f"{r.status}: {r.url}"))
        page.goto(site + path, wait_until="load")
        page.evaluate("async () => { await window.MathJax?.startup?.promise; }")
        return opened

    yield visit
    for context in contexts:
        context.close()
