"""Pages with widgets: on a site without a kernel, and in a JupyterLab of their own."""

import contextlib
import functools
import html
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = """<!doctype html><html lang="en" data-content_root="../" data-theme="{theme}"><head><meta charset="utf-8">
<title>Widgets</title><link rel="icon" href="data:,"><meta name="viewport" content="width=device-width">
{styles}<script type="module" src="../_static/js/widgets.js"></script>
<style>body {{ margin: 0; padding: 12px; font: 16px/1.6 system-ui, sans-serif; color: var(--course-ink);
background: var(--course-paper, #fff); }} main {{ max-width: 960px; margin: auto; }}</style>
</head><body><main class="bd-article"><h1>Widgets</h1>{widgets}</main></body></html>"""


def lay_out(folder, pages):
    """Pages {name: [widget, ...]} as the site has them, with the real shim, modules and styles, in both themes."""
    for part in ("css", "fonts", "js"):
        shutil.copytree(ROOT / "assets" / part, folder / "_static" / part)
    shutil.copytree(ROOT / "course_lib/widgets/js", folder / "_static", dirs_exist_ok=True)
    (folder / "book").mkdir()
    shutil.copytree(ROOT / "data/checkpoints", folder / "_static", dirs_exist_ok=True)
    sheets = ("course", "widgets", "explorers", "draw_digit")
    styles = "".join(f'<link rel="stylesheet" href="../_static/css/{name}.css">\n' for name in sheets)
    for name, widgets in pages.items():
        shown = "".join(
            f'<div class="cell_output"><div class="output text_html">{w.static_html()}</div></div>' for w in widgets
        )
        for theme in ("light", "dark"):
            text = PAGE.format(theme=theme, styles=styles, widgets=shown)
            (folder / f"book/{name}-{theme}.html").write_text(text)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serve(folder):
    """The address of `folder`, served on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def static_state(widget):
    """What the static page's module starts from."""
    return json.loads(html.unescape(re.search(r'data-state="([^"]*)"', widget.static_html()).group(1)))


def next_frame(page):
    """What has been set is drawn: a frame that was asked for before has come."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def stop_the_clock(page, selector):
    """Load the page again; its timers and frames wait until the test lets time pass: `page.clock.run_for(ms)`."""
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    page.reload()
    page.wait_for_selector(selector)


# Milliseconds for some arithmetic and the next frame, here and now: about 20 on a quiet machine, more on a busy one.
YARDSTICK = """async () => {
    const start = performance.now();
    let sum = 0;
    for (let i = 0; i < 4e6; i += 1) sum += Math.sqrt(i);
    await new Promise((done) => requestAnimationFrame(() => done(sum)));
    return performance.now() - start;
}"""


@contextlib.contextmanager
def jupyterlab(folder, cells):
    """A JupyterLab on a free port, with one notebook of these code cells. Yields the notebook's address."""
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "widget.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    environment = {**os.environ, **{name: str(folder / name) for name in names}, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0",
               "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}", "--expose-app-in-browser",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]  # fmt: skip
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
    try:
        while server.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api").close()
                break
            except OSError:
                time.sleep(0.2)
        assert server.poll() is None, (folder / "log").read_text()[-2000:]
        yield f"http://127.0.0.1:{port}/lab/tree/widget.ipynb"
    finally:
        server.terminate()
        server.wait()


# Resolves when the cell has run.
RUN_CELL = """async (index) => {
    window.jupyterapp.shell.currentWidget.content.activeCellIndex = index;
    await window.jupyterapp.commands.execute("notebook:run-cell");
}"""
