"""Downloads against a real HTTPS server in this process: complete and proven, or not there at all."""

import contextlib
import gc
import hashlib
import os
import shutil
import signal
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
from weight_files import SMALL, assert_same, check_message, random_state, write

from course_lib.files import fetch as download
from course_lib.files.fetch import fetch, file_digest, verify
from course_lib.models.create import create_model
from course_lib.vit import VIT_CONFIGS
from course_lib.weights.load import load_pretrained
from course_lib.weights.registry import DEFAULTS, REGISTRY, WeightsEntry

CONTENT = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(3_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ROOT = Path(__file__).parent.parent


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site = self.server
        site.requests.append(dict(self.headers))
        with contextlib.suppress(OSError):
            (site.plan.pop(0) if site.plan else site.usual)(self)

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
        self.content, self.tag, self.plan, self.requests, self.usual = CONTENT, '"one"', [], [], serve

    def handle_error(self, *_):  # a client that goes away, or does not trust us, is part of the tests
        pass

    @property
    def url(self):
        return f"https://localhost:{self.server_port}/vit.bin"

    @property
    def ranges(self):
        return [headers.get("Range") for headers in self.requests]


def serve(request, status=None, headers=(), upto=None):
    """The file, or the range that was asked for if it is still the same file. `upto`: cut off after so many bytes."""
    content, begin = request.server.content, 0
    asked, condition = request.headers.get("Range"), request.headers.get("If-Range")
    if asked and condition in (None, request.server.tag):
        begin = int(asked.removeprefix("bytes=").removesuffix("-"))
        if begin >= len(content):
            return answer(request, 416)
    request.send_response(status or (206 if begin else 200))
    request.send_header("ETag", request.server.tag)
    request.send_header("Content-Length", str(len(content) - begin))
    if begin:
        request.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
    for name, value in headers:
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(content[begin : None if upto is None else begin + upto])
    request.close_connection = True
    return None


def cut(size):
    return lambda request: serve(request, upto=size)


def answer(request, status, body=b"no", headers=()):
    request.send_response(status)
    for name, value in (*headers, ("Content-Length", str(len(body)))):
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)
    request.close_connection = True


def says(status, body=b"no", **headers):
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return lambda request: answer(request, status, body, pairs)


def chunked(content, whole=True):
    """Without a length: in chunks, whose end is marked; or breaking off before it."""

    def send(request):
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for start in range(0, len(content), 500_000):
            block = content[start : start + 500_000]
            request.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
        if whole:
            request.wfile.write(b"0\r\n\r\n")
        request.close_connection = True

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
    monkeypatch.setattr(download.time, "sleep", found.append)
    return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "vit.bin"


def refused(site, path, match=None, **facts):
    """The fetch fails with one line, and there is nothing under the final name."""
    with pytest.raises(ValueError, match=match) as caught:
        fetch(facts.pop("url", site.url), path, **facts)
    message = str(caught.value)
    assert caught.type is ValueError
    assert "\n" not in message
    assert len(message.replace(str(path), path.name)) < 450
    assert not path.exists()
    return message


def left(path):
    """What lies in the folder beside the lock."""
    return sorted(file.name for file in path.parent.iterdir() if not file.name.endswith(".lock"))


def test_a_download_is_complete_and_made_once(site, path):
    assert fetch(site.url, path, size=len(CONTENT), sha256=DIGEST) == path
    assert path.read_bytes() == CONTENT
    assert left(path) == [path.name]
    assert fetch(site.url, path, size=len(CONTENT), sha256=DIGEST) == path
    assert len(site.requests) == 1


def test_the_short_hash_in_the_name_counts(site, tmp_path):
    good, bad = tmp_path / f"vit-{DIGEST[:8]}.pth", tmp_path / "vit-abcdef01.pth"
    fetch(site.url, good)
    assert left(good) == [good.name]  # no record is needed
    assert "abcdef01" in refused(site, bad)


def test_another_digest_is_refused(site, path):
    message = refused(site, path, sha256="ab" * 32)
    assert site.url in message
    assert str(path) in message
    assert left(path) == []
    assert refused(site, path, sha256=DIGEST[:8].replace(DIGEST[0], "xy"[0]))
    fetch(site.url, path, sha256=DIGEST[:8])
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("difference", [-1, 1, 1_000_000, -2_000_000])
def test_another_size_is_refused(difference, site, path, naps):
    refused(site, path, size=len(CONTENT) + difference)
    refused(site, path, size=len(CONTENT) + difference, sha256=DIGEST)


def test_a_changed_file_in_the_cache_is_refused_and_not_fetched_again(site, path):
    path.parent.mkdir()
    path.write_bytes(OTHER)
    with pytest.raises(ValueError, match="delete it and try again") as caught:
        fetch(site.url, path, sha256=DIGEST)
    check_message(str(caught.value), path)
    with pytest.raises(ValueError, match="3,000,000 bytes, not 2"):
        fetch(site.url, path, size=2)
    assert path.read_bytes() == OTHER
    assert not site.requests


# Where no digest is known


def test_the_first_digest_is_recorded_and_held_to(site, path):
    fetch(site.url, path)
    record = path.with_name("vit.bin.sha256")
    assert record.read_text().split() == [DIGEST, "vit.bin"]
    assert left(path) == ["vit.bin", "vit.bin.sha256"]
    fetch(site.url, path)
    path.write_bytes(OTHER)
    with pytest.raises(ValueError, match="of its first download") as caught:
        fetch(site.url, path)
    check_message(str(caught.value), path)
    assert record.read_text().split()[0] == DIGEST
    path.unlink()
    fetch(site.url, path)
    assert path.read_bytes() == CONTENT


def test_a_file_that_changed_at_its_source_is_refused(site, path):
    """Same name, new content upstream: nothing is kept under the name."""
    fetch(site.url, path)
    path.unlink()
    site.content, site.tag = OTHER, '"two"'
    refused(site, path, match="first download")
    site.content, site.tag = CONTENT, '"one"'
    assert fetch(site.url, path).read_bytes() == CONTENT


@pytest.fixture
def published(site, tmp_path, monkeypatch):
    """Real weights behind a name of the registry, at our server. Gives (site, the cached file, the weights)."""
    state = random_state(SMALL.model())
    file = write("zip", state, tmp_path / "source.pth")
    site.content = file.read_bytes()
    entry = WeightsEntry(
        name="test/vit",
        architecture="vit_test",
        url=site.url,
        file="vit_test.pth",
        size=None,
        sha256=None,
        preprocessing=None,
        norm_eps=1e-6,
        num_classes=SMALL.classes,
        top1=None,
        top1_from=None,
        licence=None,
    )
    monkeypatch.setenv("COURSE_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(REGISTRY, "test/vit", entry)
    monkeypatch.setitem(VIT_CONFIGS, "vit_test", SMALL.config())
    monkeypatch.setitem(DEFAULTS, "vit_test", "test/vit")
    return site, tmp_path / "cache" / "vit_test.pth", state


def test_weights_by_name(published, capsys):
    site, path, state = published
    model = load_pretrained(SMALL.model(), "test/vit")
    assert_same(model.state_dict(), state)
    assert_same(create_model("vit_test", pretrained=True).state_dict(), state)
    assert len(site.requests) == 1
    assert path.exists()
    assert capsys.readouterr().out.count("all in place") == 2


def test_weights_by_name_from_another_folder_of_torch(published, tmp_path, monkeypatch):
    """Without a folder of our own it is torch's: files that torchvision fetched are found."""
    import torch

    monkeypatch.delenv("COURSE_LIB_CACHE")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    load_pretrained(SMALL.model(), "test/vit")
    assert (tmp_path / "torch" / "checkpoints" / "vit_test.pth").exists()


@pytest.mark.parametrize(
    "body", [b"<!DOCTYPE html><html>Sign in</html>", b'{"error": 1}', b""], ids=["HTML", "JSON", "0"]
)
def test_an_error_page_with_a_good_status(body, published):
    """A captive portal: no hash is known, so only the content shows it. Following the advice must lead out of it."""
    site, path, state = published
    good, site.content = site.content, body
    model = SMALL.model()
    with pytest.raises(ValueError) as caught:
        load_pretrained(model, "test/vit")
    assert "\n" not in str(caught.value)
    path.unlink(missing_ok=True)  # "delete it and download again"
    site.content, site.tag = good, '"two"'
    load_pretrained(model, "test/vit")
    assert_same(model.state_dict(), state)


def test_a_damaged_file_in_the_cache_is_refused_by_name(published):
    site, path, _ = published
    load_pretrained(SMALL.model(), "test/vit")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    for asked in ("test/vit", path):
        with pytest.raises(ValueError, match="first download"):
            load_pretrained(SMALL.model(), asked)
    assert len(site.requests) == 1


# Errors of the server


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_will_not_change_fails_at_once(status, site, path, naps):
    site.usual = says(status)
    message = refused(site, path)
    assert len(site.requests) == 1
    assert naps == []
    assert site.url in message
    assert f"save it as {path}" in message


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status, site, path, naps):
    site.plan = [says(status), says(status)]
    assert fetch(site.url, path, sha256=DIGEST).read_bytes() == CONTENT
    assert len(site.requests) == 3
    assert len(naps) == 2
    assert naps == sorted(naps)
    assert naps[0] >= 1


def test_three_attempts_and_no_more(site, path, naps):
    site.usual = says(503)
    message = refused(site, path)
    assert len(site.requests) == 3
    assert len(naps) == 2
    assert f"save it as {path}" in message


def test_no_server(site, path, naps):
    refused(site, path, url="https://localhost:1/vit.bin", match="could not download")
    assert len(naps) == 2


def test_an_answer_that_is_no_http(site, path, naps):
    site.usual = lambda request: request.wfile.write(b"\x00garbage\r\n\r\n") and request.connection.close()
    refused(site, path)


def test_an_unknown_certificate(site, path, naps, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    refused(site, path, match="(?i)certificate")
    assert not site.requests


def test_no_answer_in_time(site, path, naps, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    gate = threading.Event()
    site.plan = [lambda request: gate.wait(5), lambda request: gate.wait(5)]
    assert fetch(site.url, path, sha256=DIGEST).read_bytes() == CONTENT
    gate.set()
    assert len(site.requests) == 3


def test_no_connection_is_left_open(site, path, naps, monkeypatch):
    """An answer that is an error must be closed too: a warning, when it is collected, at some other time and place."""
    gc.collect()
    found = []
    monkeypatch.setattr(sys, "unraisablehook", found.append)
    for plan in (
        [says(404)],
        [says(503)] * 3,
        [says(302, Location="http://localhost:1/")],
        [says(302, Location="?")] * 20,
    ):
        site.plan = list(plan)
        refused(site, path)
    site.plan = [cut(1_000_000)]
    fetch(site.url, path)
    gc.collect()
    assert [str(warning.exc_value) for warning in found] == []


# Addresses


@pytest.mark.parametrize("url", ["http://localhost:1/vit.bin", "file:///etc/passwd", "ftp://localhost/x", "vit.bin"])
def test_only_https(url, site, path, naps):
    refused(site, path, url=url, match="https")
    assert naps == []


@pytest.mark.parametrize("target", ["http://localhost:1/x", "file:///etc/passwd", "ftp://localhost/x"])
def test_redirects_elsewhere_are_refused(target, site, path, naps):
    site.usual = says(302, Location=target)
    refused(site, path)
    assert len(site.requests) == 1
    assert naps == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(status, site, path):
    site.plan = [says(status, Location="/elsewhere"), says(status, Location=site.url)]
    assert fetch(site.url, path, sha256=DIGEST).read_bytes() == CONTENT


def test_endless_redirects(site, path, naps):
    site.usual = says(302, Location="/vit.bin")
    refused(site, path)
    assert len(site.requests) < 40


# Connections that break


@pytest.mark.parametrize("digest", [DIGEST, None], ids=["known", "unknown"])
@pytest.mark.parametrize("size", [len(CONTENT), None], ids=["size", "no size"])
def test_a_broken_download_goes_on_where_it_was(size, digest, site, path, naps):
    site.plan = [cut(1_000_000), cut(1_000_001)]
    assert fetch(site.url, path, size=size, sha256=digest).read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=1000000-", "bytes=2000001-"]
    assert [headers.get("If-Range") for headers in site.requests] == [None, '"one"', '"one"']
    assert left(path) == ([path.name] if digest else [path.name, "vit.bin.sha256"])


def test_a_server_that_knows_no_ranges(site, path, naps):
    def whole(request):
        del request.headers["Range"]
        serve(request)

    site.plan, site.usual = [cut(1_000_000)], whole
    assert fetch(site.url, path).read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=1000000-"]


def test_a_server_without_tags_is_not_asked_for_a_range(site, path, naps):
    """Nothing would show that the file is still the same."""

    def untagged(request, upto=None):
        request.send_response(200)
        request.send_header("Content-Length", str(len(CONTENT)))
        request.end_headers()
        request.wfile.write(CONTENT[:upto])
        request.close_connection = True

    site.plan, site.usual = [lambda request: untagged(request, 1_000_000)], untagged
    assert fetch(site.url, path).read_bytes() == CONTENT
    assert site.ranges == [None, None]


def change(site):
    """The file at the server becomes another one."""
    site.content, site.tag = OTHER, '"two"'


def test_a_file_that_changes_between_two_attempts(site, path, naps):
    def broken(request):
        cut(1_000_000)(request)
        change(site)

    site.plan = [broken]
    assert fetch(site.url, path).read_bytes() == OTHER
    assert site.ranges == [None, "bytes=1000000-"]


def test_a_changed_file_from_a_server_that_ignores_the_condition(site, path, naps):
    """It sends the rest of the new file to whoever has the beginning of the old one; only the tag shows it."""

    def rest(request):
        if request.headers.get("Range"):
            request.headers.replace_header("If-Range", site.tag)
        serve(request)

    def broken(request):
        cut(1_000_000)(request)
        change(site)

    site.plan, site.usual = [broken, rest], serve
    try:
        assert fetch(site.url, path).read_bytes() == OTHER
    except ValueError:
        assert not path.exists()


def test_a_range_that_was_not_asked_for(site, path, naps):
    """206, but from the first byte on."""

    def wrong(request):
        request.send_response(206)
        request.send_header("ETag", site.tag)
        request.send_header("Content-Range", f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
        request.send_header("Content-Length", str(len(CONTENT)))
        request.end_headers()
        request.wfile.write(CONTENT)
        request.close_connection = True

    site.plan = [cut(1_000_000), wrong]
    try:
        assert fetch(site.url, path).read_bytes() == CONTENT
    except ValueError:
        assert not path.exists()


def test_less_than_was_promised(site, path, naps):
    """Every time again, and the server knows no ranges."""

    def short(request):
        request.send_response(200)
        request.send_header("Content-Length", str(len(CONTENT)))
        request.end_headers()
        request.wfile.write(CONTENT[:-1])
        request.close_connection = True

    site.usual = short
    refused(site, path, match="2,999,999 of 3,000,000")
    assert len(site.requests) == 3
    site.usual = serve
    assert fetch(site.url, path).read_bytes() == CONTENT


def test_chunks(site, path):
    site.usual = chunked(CONTENT)
    assert fetch(site.url, path).read_bytes() == CONTENT


@pytest.mark.parametrize("digest", [DIGEST, None], ids=["known", "unknown"])
def test_chunks_that_break_off(digest, site, path, naps):
    site.plan, site.usual = [chunked(CONTENT[:1_500_000], whole=False)], chunked(CONTENT)
    assert fetch(site.url, path, sha256=digest).read_bytes() == CONTENT
    site.usual = chunked(CONTENT[:1_500_000], whole=False)
    refused(site, path.with_name("other.bin"), sha256=digest)


@pytest.mark.parametrize("size", [1_000_000, len(CONTENT), len(CONTENT) + 5])
@pytest.mark.parametrize(
    "state", ['{"tag": "\\"one\\""}', '{"tag": "\\"old\\""}', '{"tag": null}', None, "", "{", "[]"]
)
def test_leftovers_of_a_crash(state, size, site, path, naps):
    """A part of any length, whatever is known of it, whole or broken: in the end the file is right."""
    path.parent.mkdir()
    path.with_name("vit.bin.part").write_bytes((CONTENT + b"extra")[:size])
    if state is not None:
        path.with_name("vit.bin.part.json").write_text(state)
    assert fetch(site.url, path, sha256=DIGEST).read_bytes() == CONTENT
    assert left(path) == [path.name]


def test_an_old_part_is_never_mixed_with_a_new_file(site, path, naps, monkeypatch):
    """The part is of the old file. The new one is offered, but does not fit on the disk; later there is space."""
    site.plan = [cut(1_000_000), cut(0), cut(0)]
    refused(site, path)
    assert path.with_name("vit.bin.part").stat().st_size == 1_000_000
    change(site)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10))
        refused(site, path)
    assert fetch(site.url, path).read_bytes() == OTHER


# The disk


def test_no_space(site, path, naps, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1_500_000))
    message = refused(site, path, match="no space: 3 MB needed")
    assert "2 MB free" in message or "1.5 MB free" in message
    assert str(path.parent) in message
    assert len(site.requests) <= 1
    assert naps == []


def test_only_the_rest_needs_space(site, path, naps, monkeypatch):
    site.plan = [cut(2_000_000)]
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda _: shutil._ntuple_diskusage(10**9, 10**9, 3_500_000 if len(site.requests) == 1 else 1_500_000),
    )
    assert fetch(site.url, path).read_bytes() == CONTENT


def test_a_full_disk_while_writing(site, path, naps, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refused(site, path, match="No space left", sha256=DIGEST)
    monkeypatch.undo()


def test_the_folder_cannot_be_made(site, tmp_path, naps):
    (tmp_path / "a_file").write_text("")
    with pytest.raises(ValueError) as caught:
        fetch(site.url, tmp_path / "a_file" / "vit.bin")
    assert "\n" not in str(caught.value)
    assert "a_file" in str(caught.value)


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


posix = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")


@posix
def test_a_read_only_folder(site, naps):
    with read_only_folder() as folder, pytest.raises(ValueError) as caught:
        fetch(site.url, folder / "vit.bin", sha256=DIGEST)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@posix
@pytest.mark.parametrize("digest", [DIGEST, None], ids=["known", "unknown"])
def test_a_good_file_in_a_read_only_folder_is_used(digest, site):
    """A cache that an administrator filled, a data set mounted in Kaggle."""
    with read_only_folder(CONTENT) as folder:
        assert fetch(site.url, folder / "vit.bin", sha256=digest) == folder / "vit.bin"
    assert not site.requests


@posix
def test_a_bad_file_in_a_read_only_folder_is_refused(site):
    with read_only_folder(OTHER) as folder, pytest.raises(ValueError, match="SHA-256"):
        fetch(site.url, folder / "vit.bin", sha256=DIGEST)


# Without a network


def test_offline(site, path, monkeypatch):
    monkeypatch.setenv("COURSE_LIB_OFFLINE", "1")
    message = refused(site, path, match="COURSE_LIB_OFFLINE")
    assert f"save it as {path}" in message
    assert not site.requests
    path.write_bytes(CONTENT)  # as the line says
    assert fetch(site.url, path, sha256=DIGEST) == path
    assert not site.requests


# Several processes

CHILD = """
import sys
from pathlib import Path
from course_lib.files.fetch import fetch
print(fetch(sys.argv[1], Path(sys.argv[2])))
"""


def child(site, path):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, site.url, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def slowly(request):
    request.send_response(200)
    request.send_header("ETag", request.server.tag)
    request.send_header("Content-Length", str(len(CONTENT)))
    request.end_headers()
    for start in range(0, len(CONTENT), 100_000):
        request.wfile.write(CONTENT[start : start + 100_000])
        time.sleep(0.03)
    request.close_connection = True


def test_two_processes_make_one_download(site, path):
    site.usual = slowly
    children = [child(site, path), child(site, path), child(site, path)]
    for process in children:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.strip() == str(path)
    assert len(site.requests) == 1
    assert path.read_bytes() == CONTENT
    assert path.with_name("vit.bin.sha256").read_text().split()[0] == DIGEST


def test_a_killed_download_goes_on(site, path):
    """SIGKILL: nobody tidies up. The lock is free again, and what had arrived is used."""
    half = threading.Event()

    def stall(request):
        serve(request, upto=2_500_000)
        request.wfile.flush()
        half.wait(20)

    site.plan = [stall]
    process = child(site, path)
    part = path.with_name("vit.bin.part")
    for _ in range(600):
        if part.exists() and part.stat().st_size >= 2_000_000:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL) if hasattr(signal, "SIGKILL") else process.kill()
    process.communicate()
    half.set()
    arrived = part.stat().st_size
    assert 2_000_000 <= arrived < len(CONTENT)
    assert not path.exists()
    assert fetch(site.url, path, size=len(CONTENT)).read_bytes() == CONTENT
    assert site.ranges == [None, f"bytes={arrived}-"]
    assert left(path) == [path.name, "vit.bin.sha256"]


def test_the_whole_digest_counts(tmp_path):
    """The right first digits are not enough where all are known."""
    file = tmp_path / "vit.bin"
    file.write_bytes(CONTENT)
    digest = file_digest(file)
    verify(file, sha256=digest)
    verify(file, sha256=digest[:8])
    with pytest.raises(ValueError, match="published"):
        verify(file, sha256=digest[:8] + "0" * 56)
