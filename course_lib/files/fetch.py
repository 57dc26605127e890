"""Fetch a file so that it is either there and proven, or not there at all. Chapter 06.

A download that breaks off is continued; two at once wait for each other; the file appears under its
name only when it is complete and its digest is right.
"""

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request

from filelock import FileLock

from course_lib.files.atomic import sync_folder, write_atomically

ATTEMPTS = 3
TIMEOUT = 30  # seconds without an answer
CHUNK = 2**20
# Hex digits before the ending of a torch-style file name: the beginning of its SHA-256. At least one is a
# letter here, or the date in model-20261120.pth would count.
SHORT_HASH = re.compile(r"-(?=[0-9]*[a-f])([0-9a-f]{8})\.(?:pth|pt|bin|safetensors)$")


def fetch(url, path, *, size=None, sha256=None):
    """Make sure that `path` holds the file at `url`, and return `path`.

    Args:
        url: an https address.
        path: where the file belongs.
        size, sha256: what it must be (of the digest, the first digits are enough); None = unknown. Without
            `sha256` the short one in the file's name counts; without either, the digest of the first
            download is kept beside the file, and from then on the file is held to it.

    Raises:
        ValueError: the file cannot be had, or is not what it must be. Nothing is left under `path` then
            that was not there before.
    """
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                if not path.is_file():  # another process may have been faster
                    _download(url, path, size, sha256)
        except OSError as error:
            raise ValueError(f"cannot write in {path.parent} ({_reason(error)}): {_by_hand(url, path)}") from error
    verify(path, size=size, sha256=sha256, advice="delete it and try again")
    if not (sha256 or SHORT_HASH.search(path.name) or _record(path).exists()):
        with contextlib.suppress(OSError):  # a folder that cannot be written in keeps what it has
            write_atomically(_record(path), f"{file_digest(path)}  {path.name}\n".encode())
    return path


def verify(path, *, size=None, sha256=None, advice="download it again"):
    """Raise a `ValueError` unless the file at `path` is the expected one: its size and all that is known of its digest."""
    found = path.stat().st_size
    if size is not None and found != size:
        raise ValueError(f"{path} has {found:,} bytes, not {size:,}: it is cut short or another file. Please {advice}.")
    digest = file_digest(path)
    short, recorded = SHORT_HASH.search(path.name), _recorded(path)
    for expected, origin in (
        (sha256, "published"),
        (short and short[1], "in its name; rename it if these digits mean something else"),
        (recorded, f"of its first download, kept in {_record(path).name}"),
    ):
        if expected and not digest.startswith(expected):
            raise ValueError(
                f"{path} has SHA-256 {digest[:16]}…, not {expected[:16]} ({origin}): it is damaged, or was changed. Please {advice}."
            )


def file_digest(path):
    """The SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record(path):
    return path.with_name(path.name + ".sha256")


def _recorded(path):
    """The digest of the first download, or None."""
    try:
        return _record(path).read_text(encoding="utf-8").split()[0]
    except (OSError, ValueError, IndexError):
        return None


def _download(url, path, size, sha256):
    if os.environ.get("COURSE_LIB_OFFLINE"):
        raise ValueError(f"{path.name} is not here yet and COURSE_LIB_OFFLINE is set: {_by_hand(url, path)}")
    part = path.with_name(path.name + ".part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _transfer(url, part, size)
            break
        except (OSError, ValueError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            if attempt == ATTEMPTS or not _may_pass(error):
                raise ValueError(f"could not download {url} ({_reason(error)}): {_by_hand(url, path)}") from error
            time.sleep(2**attempt)
    _accept(part, path, url, size, sha256)


def _may_pass(error):
    """Whether the same request can succeed a moment later."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in (408, 416, 429, 500, 502, 503, 504)
    return not isinstance(error, ValueError)


def _reason(error):
    return " ".join(str(getattr(error, "reason", error)).split())[:120] or type(error).__name__


def _by_hand(url, path):
    return f"fetch {url} in a browser and save it as {path}, or give the path of a copy that you have."


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, file, code, message, headers, newurl):
        try:
            _check_https(newurl)
        except ValueError:
            file.close()
            raise
        return super().redirect_request(request, file, code, message, headers, newurl)


def _check_https(url):
    if not url.startswith("https://"):
        raise ValueError(f"{url} is not an https address: refused")


def _transfer(url, part, size):
    """Fetch `url` into `part`, going on where an earlier attempt broke off if the server still has the same file."""
    _check_https(url)
    done, tag = _earlier(part)
    request = urllib.request.Request(url, headers={"User-Agent": "course-lib"})
    if done:
        request.add_header("Range", f"bytes={done}-")
        request.add_header("If-Range", tag)
    try:
        response = urllib.request.build_opener(_OnlyHttps).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing comes after what is here, so it was not the beginning of this file
            _discard(part)
        raise
    with response:
        if response.status == 206:
            _check_range(response, part, done, tag)
        else:
            done = 0
            _discard(part)  # before the new tag is written: it must never stand beside an old part
            tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
            write_atomically(_state(part), json.dumps({"tag": tag}).encode())
        rest = response.headers.get("Content-Length")
        expected = size or (done + int(rest) if rest else None)
        _check_space(part.parent, (expected or 0) - done)
        _copy(response, part, done, expected)
    found = part.stat().st_size
    if expected is not None and found != expected:
        if found > expected:
            _discard(part)
        raise ConnectionError(f"the connection ended after {found:,} of {expected:,} bytes")


def _state(part):
    return part.with_name(part.name + ".json")


def _discard(part):
    part.unlink(missing_ok=True)
    _state(part).unlink(missing_ok=True)


def _earlier(part):
    """(bytes, tag) of a download that broke off; (0, None) if there is none to go on with."""
    try:
        tag = json.loads(_state(part).read_text(encoding="utf-8"))["tag"]
        return (part.stat().st_size, tag) if isinstance(tag, str) else (0, None)
    except (OSError, ValueError, TypeError, KeyError):
        return 0, None


def _check_range(response, part, done, tag):
    """Raise unless the server sends just the rest of the file that was begun."""
    start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    same = (response.headers.get("ETag") or tag) == tag or not tag.startswith(('"', "W/"))
    if start != str(done) or not same:
        _discard(part)
        raise ConnectionError("the server sent another part than it was asked for")


def _check_space(folder, needed):
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(f"no space: {needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free in {folder}")


def _copy(response, part, done, expected):
    from tqdm.auto import tqdm

    with (
        open(part, "ab" if done else "wb") as file,
        tqdm(total=expected, initial=done, unit="B", unit_scale=True, desc=part.stem) as bar,
    ):
        while block := response.read(CHUNK):
            file.write(block)
            bar.update(len(block))
        file.flush()
        os.fsync(file.fileno())


def _accept(part, path, url, size, sha256):
    """Give the finished download its name, if it is what it must be."""
    short, digest, found = SHORT_HASH.search(path.name), file_digest(part), part.stat().st_size
    known = sha256 or (short and short[1])
    expected = known or _recorded(path) or ""
    if not expected and _is_a_page(part):
        _discard(part)
        raise ValueError(f"{url} sends an error message or a login page instead of the file: {_by_hand(url, path)}")
    if not digest.startswith(expected) or (size is not None and found != size):
        _discard(part)
        raise ValueError(
            f"what {url} sends ({found:,} bytes, SHA-256 {digest[:16]}…) is not the file that was "
            f"{'published' if known or not expected else f'here after the first download ({_record(path).name} beside it says so)'} "
            f"(SHA-256 {expected[:16] or 'unknown'}): it was changed there, or on the way. Nothing was kept; {_by_hand(url, path)}"
        )
    os.replace(part, path)
    _discard(part)
    sync_folder(path.parent)


def _is_a_page(part):
    """HTML, JSON or nothing at all. (The header of a safetensors file begins with `{` after its length.)"""
    with open(part, "rb") as file:
        start = file.read(64).removeprefix(b"\xef\xbb\xbf")
    return start[8:9] != b"{" and start.lstrip()[:1] in (b"", b"<", b"{", b"[")
