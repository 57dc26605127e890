"""Downloads against a real HTTPS server in this process: complete and proven, or not there at all."""

import contextlib
import gc
import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from weight_files import SMALL, assert_same, random_state, write

from course_lib.files.fetch import fetch, file_digest, verify
from course_lib.vit import VIT_CONFIGS
from course_lib.weights.load import load_pretrained
from course_lib.weights.registry import REGISTRY, WeightsEntry

CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ROOT = Path(__file__).parent.parent


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append(dict(self.headers))
        with contextlib.suppress(OSError):
            (self.server.plan.pop(0) if self.server.plan else self.server.usual)(self)
        self.close_connection = True

    def log_message(self, *_):
        pass


class Site(ThreadingHTTPServer):
    """A server whose answers can be planned: each is a function of the request; when none is left, `usual` serves."""

    daemon_threads = True

    def __init__(self, certificate):
        super().__init__(("localhost", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.reset()

    def reset(self):
        self.content, self.plan, self.requests, self.usual = CONTENT, [], [], serve

    def handle_error(self, *_):  # a client that goes away, or does not trust us, is part of the tests
        pass

    @property
    def url(self):
        return f"https://localhost:{self.server_port}/vit.bin"

    @property
    def ranges(self):
        return [headers.get("Range") for headers in self.requests]


def serve(request, upto=None, ranges=True):
    """The file, or the range of it that was asked for. `upto`: the connection is cut after so many bytes."""
    content, asked = request.server.content, ranges and request.headers.get("Range")
    begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
    if begin >= len(content):
        return answer(request, 416)
    headers = {"Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"} if begin else {}
    return answer(request, 206 if begin else 200, content[begin:], upto, **headers)


def answer(request, status, body=b"no", upto=None, **headers):
    request.send_response(status)
    for name, value in ({"Content-Length": str(len(body))} | headers).items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body[:upto])


def cut(size):
    return lambda request: serve(request, upto=size)


def says(status, body=b"no", **headers):
    return lambda request: answer(request, status, body, **headers)


def chunked(content, whole=True):
    """Without a length: in chunks, whose end is marked; or breaking off before it."""

    def send(request):
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for start in range(0, len(content), 50_000):
            block = content[start : start + 50_000]
            request.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
        if whole:
            request.wfile.write(b"0\r\n\r\n")

    return send


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    file = tmp_path_factory.mktemp("tls") / "localhost.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    made = subprocess.run(
        [*command, "-days", "2", *subject, "-keyout", file, "-out", f"{file}.crt"], capture_output=True
    )
    assert made.returncode == 0, made.stderr
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


@pytest.fixture(scope="session")
def the_site(certificate):
    server = Site(certificate)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def site(the_site, certificate, monkeypatch):
    the_site.reset()
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("COURSE_LIB_OFFLINE", raising=False)
    return the_site


@pytest.fixture
def naps(monkeypatch):
    """How long was waited between attempts; nobody really waits."""
    found = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "vit.bin"


def refused(site, path, match=None, url=None, **facts):
    """The fetch fails with one line that says how to do it by hand, and nothing lies under the final name."""
    with pytest.raises(ValueError, match=match) as caught:
        fetch(url or site.url, path, **facts)
    message = str(caught.value)
    assert caught.type is ValueError and "\n" not in message
    assert len(message.replace(str(path), path.name)) < 450 and f"save it as {path}" in message
    assert not path.exists()
    return message


def left(path):
    """What lies in the folder beside the lock."""
    return sorted(file.name for file in path.parent.iterdir() if not file.name.endswith(".lock"))


# What proves a file


@pytest.mark.parametrize(
    "proof", [{"sha256": DIGEST}, {"md5": hashlib.md5(CONTENT).hexdigest()}], ids=["SHA-256", "MD5"]
)
def test_a_download_is_complete_and_made_once(proof, site, path):
    assert fetch(site.url, path, **proof) == path == fetch(site.url, path, **proof)
    assert path.read_bytes() == CONTENT and left(path) == [path.name] and len(site.requests) == 1
    path.unlink()
    site.content = OTHER
    assert site.url in refused(site, path, ", not", **proof)
    assert left(path) == []


def test_the_short_hash_in_the_name_counts(site, tmp_path):
    good, bad = tmp_path / f"vit-{DIGEST[:8]}.pth", tmp_path / "vit-abcdef01.pth"
    fetch(site.url, good)
    assert left(good) == [good.name]  # no record is needed
    assert "abcdef01" in refused(site, bad)


def test_all_known_digits_count(site, path):
    fetch(site.url, path, sha256=DIGEST[:8])
    verify(path, sha256=DIGEST)
    assert file_digest(path) == DIGEST
    with pytest.raises(ValueError, match="published"):
        verify(path, sha256=DIGEST[:8] + "0" * 56)


def test_a_changed_file_in_the_cache_is_refused_and_not_fetched_again(site, path):
    path.parent.mkdir()
    path.write_bytes(OTHER)
    with pytest.raises(ValueError, match="300,000 bytes.*delete it and try again") as caught:
        fetch(site.url, path, sha256=DIGEST)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert path.read_bytes() == OTHER and not site.requests


def test_where_nothing_is_known_the_first_download_is_recorded_and_held_to(site, path):
    fetch(site.url, path)
    record = path.with_name("vit.bin.sha256")
    assert record.read_text().split() == [DIGEST, "vit.bin"] and left(path) == ["vit.bin", "vit.bin.sha256"]
    fetch(site.url, path)
    path.write_bytes(OTHER)
    with pytest.raises(ValueError, match="of its first download"):
        fetch(site.url, path)
    assert record.read_text().split()[0] == DIGEST
    path.unlink()
    site.content = OTHER  # it changed at its source
    refused(site, path, match="first download")
    site.content = CONTENT
    assert fetch(site.url, path).read_bytes() == CONTENT


@pytest.mark.parametrize("linked", [DIGEST, f'"{DIGEST}"'])
def test_the_hub_says_the_digest_as_it_sends_us_on(linked, site, path, naps):
    to = says(302, Location=site.url, X_Linked_ETag=linked)
    site.plan = [to, cut(100_000), to]
    fetch(site.url, path)
    assert path.read_bytes() == CONTENT and site.ranges[-1] == "bytes=100000-"
    assert path.with_name("vit.bin.sha256").read_text().split()[0] == DIGEST
    site.plan = [to, says(200, OTHER)]
    assert "of the Hugging Face hub" in refused(site, path.with_name("other.bin"))


@pytest.mark.parametrize(
    "body", [b"\xef\xbb\xbf <!DOCTYPE html>Sign in", b'{"error": 1}', b""], ids=["HTML", "JSON", "0"]
)
def test_an_error_page_with_a_good_status(body, site, path):
    """A login page: no digest is known, so only the content shows it. Nothing of it is remembered."""
    site.plan = [says(200, body)]
    refused(site, path, "instead of the file")
    assert left(path) == []
    assert fetch(site.url, path).read_bytes() == CONTENT


# Errors of the server


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_will_not_change_fails_at_once(status, site, path, naps):
    site.usual = says(status)
    assert site.url in refused(site, path, str(status))
    assert len(site.requests) == 1 and naps == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_three_times(status, site, path, naps):
    site.plan = [says(status)] * 2
    assert fetch(site.url, path, sha256=DIGEST).read_bytes() == CONTENT
    assert len(site.requests) == 3 and len(naps) == 2 and 1 <= naps[0] < naps[1]
    site.usual = says(status)
    refused(site, path.with_name("other.bin"))
    assert len(site.requests) == 6


def test_the_next_address_is_tried(site, path, naps):
    wrong = site.url.replace("https", "http")
    site.plan = [says(404)]
    assert fetch((site.url, wrong, site.url), path, sha256=DIGEST).read_bytes() == CONTENT
    site.usual = says(404)
    message = refused(site, path.with_name("other.bin"), "404.*not an https address", url=(site.url, wrong))
    assert site.url in message and wrong in message


def test_no_server_no_http_no_certificate_no_answer(site, path, naps, monkeypatch):
    refused(site, path, "could not download", url="https://localhost:1/vit.bin")
    assert len(naps) == 2
    site.plan = [lambda request: request.wfile.write(b"\x00garbage\r\n\r\n")] * 3
    refused(site, path)
    monkeypatch.setitem(fetch.__globals__, "TIMEOUT", 0.2)
    gate, ended = threading.Event(), []
    site.plan = [lambda request: ended.append(gate.wait(30))] * 2
    assert fetch(site.url, path, sha256=DIGEST).read_bytes() == CONTENT
    assert not ended  # the server would still be silent
    gate.set()
    monkeypatch.delenv("SSL_CERT_FILE")
    refused(site, path.with_name("other.bin"), "(?i)certificate")


@pytest.mark.slow
def test_no_connection_is_left_open(site, path, naps, monkeypatch):
    """An answer that is an error must be closed too: a warning, when it is collected, at some other time and place."""
    gc.collect()
    found = []
    monkeypatch.setattr(sys, "unraisablehook", found.append)
    for plan in ([says(404)], [says(503)] * 3, [says(302, Location="http://localhost:1/")]):
        site.plan = list(plan)
        refused(site, path)
    site.plan = [cut(100_000)]
    fetch(site.url, path)
    gc.collect()
    assert [str(warning.exc_value) for warning in found] == []


# Addresses


@pytest.mark.parametrize("url", ["http://localhost:1/vit.bin", "file:///etc/passwd", "ftp://localhost/x", "vit.bin"])
def test_only_https(url, site, path, naps):
    refused(site, path, "not an https address", url=url)
    site.usual = says(302, Location=url.replace("vit.bin", "x") if ":" in url else "http://localhost:1/x")
    refused(site, path, "not an https address|is not allowed")
    assert len(site.requests) == 1 and naps == []


def test_redirects_are_followed_but_not_for_ever(site, path, naps):
    site.plan = [says(status, Location=f"/{status}") for status in (301, 302, 303, 307, 308)]
    assert fetch(site.url, path, sha256=DIGEST).read_bytes() == CONTENT
    site.usual = says(302, Location="/vit.bin")
    refused(site, path.with_name("other.bin"))
    assert len(site.requests) < 40


# Connections that break


def test_a_broken_download_goes_on_where_it_was(site, path, naps):
    site.plan = [cut(100_000), cut(100_001)]
    assert fetch(site.url, path, sha256=DIGEST).read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=100000-", "bytes=200001-"]
    assert left(path) == [path.name]


def test_without_a_proof_it_begins_anew(site, path, naps):
    """Nothing would show that the rest is of the same file."""
    site.plan = [cut(100_000)]
    assert fetch(site.url, path).read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=100000-", None]


def test_a_server_that_knows_no_ranges(site, path, naps):
    site.plan, site.usual = [cut(100_000)], lambda request: serve(request, ranges=False)
    assert fetch(site.url, path, sha256=DIGEST).read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=100000-"]


def test_the_rest_of_another_file(site, path, naps):
    """Changed between two attempts, or a range that was not asked for: the digest shows it, and it begins anew."""
    wrong = says(206, CONTENT, Content_Range=f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
    site.plan = [cut(100_000), wrong]
    assert fetch(site.url, path, sha256=DIGEST).read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=100000-", None]
    site.content, site.plan = OTHER, [cut(100_000)]
    other = path.with_name("other.bin")
    refused(site, other, "could not download", sha256=DIGEST)
    assert not other.with_name("other.bin.part").exists()


def test_less_than_was_promised(site, path, naps):
    site.usual = lambda request: serve(request, len(CONTENT) - 1, ranges=False)
    refused(site, path, match="299,999 of 300,000")
    assert len(site.requests) == 3
    site.usual = serve
    assert fetch(site.url, path).read_bytes() == CONTENT


@pytest.mark.parametrize("digest", [DIGEST, None], ids=["known", "unknown"])
def test_chunks_whole_and_broken_off(digest, site, path, naps):
    site.plan, site.usual = [chunked(CONTENT[:150_000], whole=False)], chunked(CONTENT)
    assert fetch(site.url, path, sha256=digest).read_bytes() == CONTENT
    site.usual = chunked(CONTENT[:150_000], whole=False)
    refused(site, path.with_name("other.bin"), sha256=digest)


@pytest.mark.parametrize("size", [0, 100_000, len(CONTENT), len(CONTENT) + 5])
@pytest.mark.parametrize("content", [CONTENT, OTHER], ids=["the same", "another"])
def test_leftovers_of_a_crash(content, size, site, path, naps):
    """A part of any length, of this file or another: in the end the file is right."""
    path.parent.mkdir()
    path.with_name("vit.bin.part").write_bytes((content + b"extra")[:size])
    assert fetch(site.url, path, sha256=DIGEST).read_bytes() == CONTENT
    assert left(path) == [path.name]


# The disk


def test_a_full_disk_while_writing(site, path, naps, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refused(site, path, match="No space left", sha256=DIGEST)


@contextlib.contextmanager
def read_only_folder(content=None):
    """A folder that this process may read and not write, even where the tests run as root."""
    folder = Path(tempfile.mkdtemp())
    if content:
        (folder / "vit.bin").write_bytes(content)
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_folders_that_cannot_be_written_in(site, tmp_path, naps):
    """What an administrator filled can be used, whether its digest is known or not."""
    (tmp_path / "a_file").write_text("")
    refused(site, tmp_path / "a_file" / "vit.bin", "a_file")
    with read_only_folder() as folder:
        refused(site, folder / "vit.bin", str(folder), sha256=DIGEST)
    for digest in (DIGEST, None):
        with read_only_folder(CONTENT) as folder:
            assert fetch(site.url, folder / "vit.bin", sha256=digest) == folder / "vit.bin"
    with read_only_folder(OTHER) as folder, pytest.raises(ValueError, match="SHA-256"):
        fetch(site.url, folder / "vit.bin", sha256=DIGEST)
    assert not site.requests


def test_offline(site, path, monkeypatch):
    monkeypatch.setenv("COURSE_LIB_OFFLINE", "1")
    assert site.url in refused(site, path, "COURSE_LIB_OFFLINE is set")
    assert not site.requests
    for value in ("0", "", "false", "No", " off"):
        monkeypatch.setenv("COURSE_LIB_OFFLINE", value)
        fetch(site.url, path)
        path.unlink()
    fetch(site.url, path)
    monkeypatch.setenv("COURSE_LIB_OFFLINE", "1")
    assert fetch(site.url, path).read_bytes() == CONTENT


def test_weights_by_name_from_the_server_to_the_model(site, tmp_path, monkeypatch, capsys):
    """Nothing is known of the file but its address, and a login page comes first."""
    state, good = random_state(SMALL.model()), tmp_path / "source.pth"
    write("zip", state, good)
    unknown = dict.fromkeys(("size", "sha256", "preprocessing", "norm_eps", "top1", "top1_from", "licence"))
    entry = WeightsEntry(
        name="test/vit", architecture="vit_test", url=site.url, file="vit.pth", num_classes=SMALL.classes, **unknown
    )
    monkeypatch.setenv("COURSE_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(REGISTRY, "test/vit", entry)
    monkeypatch.setitem(VIT_CONFIGS, "vit_test", SMALL.config())
    site.plan, site.content = [says(200, b"<html>Sign in</html>")], good.read_bytes()
    with pytest.raises(ValueError, match="a login page instead of the file"):
        load_pretrained(SMALL.model(), "test/vit")
    model = load_pretrained(SMALL.model(), "test/vit")
    assert_same(model.state_dict(), state)
    assert capsys.readouterr().out.count("all in place") == 1 and len(site.requests) == 2
    (tmp_path / "cache" / "vit.pth").write_bytes(OTHER)
    for asked in ("test/vit", tmp_path / "cache" / "vit.pth"):
        with pytest.raises(ValueError, match="first download"):
            load_pretrained(SMALL.model(), asked)


# Several processes

CHILD = """
import sys, pathlib
from course_lib.files.fetch import fetch
print("ready", flush=True)
fetch(sys.argv[1], pathlib.Path(sys.argv[2]), sha256=sys.argv[3])
"""


def child(site, path):
    """A process that fetches; it has said that it begins."""
    command = [sys.executable, "-c", CHILD, site.url, str(path), DIGEST]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_two_processes_make_one_download(site, path):
    """The answer comes when both have been at work for a while."""
    both = threading.Event()
    site.usual = lambda request: both.wait() and serve(request)
    children = [child(site, path), child(site, path)]
    time.sleep(0.5)
    both.set()
    for process in children:
        _, err = process.communicate()
        assert process.returncode == 0, err
    assert len(site.requests) == 1 and path.read_bytes() == CONTENT


@pytest.mark.slow
def test_a_killed_download_goes_on(site, path):
    """SIGKILL: nobody tidies up. The lock is free again, and what had arrived is used."""
    half = threading.Event()

    def stall(request):
        serve(request, upto=2_50_000)
        request.wfile.flush()
        half.wait()

    site.plan = [stall]
    process = child(site, path)
    part = path.with_name("vit.bin.part")
    while not part.exists() or part.stat().st_size < 180_000:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    half.set()
    arrived = part.stat().st_size
    assert 180_000 <= arrived < len(CONTENT) and not path.exists()
    assert fetch(site.url, path, sha256=DIGEST).read_bytes() == CONTENT
    assert site.ranges == [None, f"bytes={arrived}-"] and left(path) == [path.name]
