"""Fetch a file so that it is either there and proven, or not there at all. Chapter 06.

A download that breaks off is continued; two at once wait for each other; the file appears under its name only when
it is complete and its digest is right. No library does all of this: torch.hub takes half a file for a whole one,
torchvision and pooch begin anew and set no limit of time, huggingface_hub serves one host.
"""

import contextlib
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path

from filelock import FileLock

from course_lib.files.atomic import sync_folder, write_atomically

ATTEMPTS = 3
TIMEOUT = 30  # seconds without an answer
CHUNK = 2**16  # bytes
# Hex digits before the ending of a torch-style file name: the beginning of its SHA-256. At least one is a
# letter here, or the date in model-20261120.pth would count.
SHORT_HASH = re.compile(r"-(?=[0-9]*[a-f])([0-9a-f]{8})\.(?:pth|pt|bin|safetensors)$")

# What proves a file: (kind of digest, its first digits or all, who says so).
Proofs = list[tuple[str, str, str]]


def fetch(url: str | tuple[str, ...], path: Path, *, sha256: str | None = None, md5: str | None = None) -> Path:
    """Make sure that `path` holds the file at `url`, and return `path`.

    Args:
        url: an https address, or several, which are tried in turn.
        path: where the file belongs.
        sha256, md5: what the file must have (of SHA-256, the first digits are enough); None = unknown. Without them
            the short one in the file's name counts, and what the Hugging Face hub says. The digest of a file of which
            only the hub or nobody knew it is kept beside it, and from then on the file is held to it.

    Raises:
        ValueError: the file cannot be had, or is not what it must be. Nothing is left under `path` then
            that was not there before.
    """
    urls = (url,) if isinstance(url, str) else url
    if not path.is_file():
        if is_offline():
            raise ValueError(f"{path.name} is not here yet and COURSE_LIB_OFFLINE is set: {_by_hand(urls, path)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                if not path.is_file():  # another process may have been faster
                    _download(urls, path, _proofs(path, sha256, md5))
        except OSError as error:
            raise ValueError(f"cannot write in {path.parent} ({_reason(error)}): {_by_hand(urls, path)}") from error
    verify(path, sha256=sha256, md5=md5, advice="delete it and try again")
    if not _proofs(path, sha256, md5):
        with contextlib.suppress(OSError):  # a folder that cannot be written in keeps what it has
            write_atomically(_record(path), f"{file_digest(path)}  {path.name}\n".encode())
    return path


def is_offline() -> bool:
    """Whether the environment variable COURSE_LIB_OFFLINE forbids downloads. 0, false, no and off do not."""
    return os.environ.get("COURSE_LIB_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def verify(path: Path, *, sha256: str | None = None, md5: str | None = None, advice: str = "download it again") -> None:
    """Raise a `ValueError` unless the file at `path` has every digest that is known of it."""
    if wrong := _wrong(path, _proofs(path, sha256, md5)):
        raise ValueError(f"{path} {wrong}: it is damaged, cut short, or another file. Please {advice}.")


def file_digest(path: Path, kind: str = "sha256") -> str:
    """The SHA-256 of a file, in hex; or its MD5."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def _proofs(path: Path, sha256: str | None, md5: str | None) -> Proofs:
    """All that is known of the file that belongs at `path`, whether it is there yet or not."""
    short, record = SHORT_HASH.search(path.name), _record(path)
    recorded = record.read_text(encoding="utf-8", errors="replace").split() if record.is_file() else []
    known = (
        ("sha256", sha256, "published"),
        ("md5", md5, "published"),
        ("sha256", short and short[1], "in its name; rename it if these digits mean something else"),
        ("sha256", recorded[0] if recorded else None, f"of its first download, kept in {record.name}"),
    )
    return [(kind, digits, origin) for kind, digits, origin in known if digits]


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _wrong(path: Path, proofs: Proofs) -> str | None:
    """What is wrong with the file at `path`, in words; None if nothing is."""
    digests = {kind: file_digest(path, kind) for kind in {kind for kind, *_ in proofs}}
    for kind, expected, origin in proofs:
        if not digests[kind].startswith(expected):
            name, size = {"sha256": "SHA-256", "md5": "MD5"}[kind], path.stat().st_size
            return f"({size:,} bytes) has {name} {digests[kind][:16]}…, not {expected[:16]} ({origin})"
    return None


def _download(urls: tuple[str, ...], path: Path, proofs: Proofs) -> None:
    part, errors = path.with_name(path.name + ".part"), {}
    for url in urls:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _transfer(url, part, proofs)
                os.replace(part, path)
                sync_folder(path.parent)
                return
            except (OSError, ValueError, http.client.HTTPException) as error:
                errors[url] = error
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                if not _may_pass(error):
                    break
            if attempt < ATTEMPTS:
                time.sleep(2**attempt)
    said = "; ".join(f"{url}: {_reason(error)}" for url, error in errors.items())
    raise ValueError(f"could not download {said}. Please {_by_hand(urls, path)}") from errors[urls[-1]]


def _may_pass(error: Exception) -> bool:
    """Whether the same request can succeed a moment later."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in (408, 416, 429, 500, 502, 503, 504)
    return not isinstance(error, ValueError)


def _reason(error: Exception) -> str:
    said = error if isinstance(error, urllib.error.HTTPError) else getattr(error, "reason", error)
    return " ".join(str(said).split())[:160] or type(error).__name__


def _by_hand(urls: tuple[str, ...], path: Path) -> str:
    return f"fetch {urls[0]} in a browser and save it as {path}, or give the path of a copy that you have."


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Goes to https only, and keeps what the Hugging Face hub says of a large file as it sends us on: its SHA-256."""

    def __init__(self) -> None:
        self.proofs: Proofs = []

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if not newurl.startswith("https://"):
            fp.close()
            raise ValueError(f"it leads to {newurl}, which is not an https address: refused")
        if linked := re.fullmatch('"?([0-9a-f]{64})"?', headers.get("X-Linked-ETag", "")):
            self.proofs = [("sha256", linked[1], "of the Hugging Face hub")]
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _transfer(url: str, part: Path, proofs: Proofs) -> None:
    """Fetch `url` into `part`, going on where an earlier attempt broke off.

    Whether it still was the same file is seen by the digest in the end; where none is known, it is not tried.
    """
    if not url.startswith("https://"):
        raise ValueError("it is not an https address: refused")
    done = part.stat().st_size if part.is_file() else 0
    redirects, headers = _Redirects(), {"User-Agent": "course-lib"} | ({"Range": f"bytes={done}-"} if done else {})
    try:
        request = urllib.request.Request(url, headers=headers)
        response = urllib.request.build_opener(redirects).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing comes after what is here, so it was not the beginning of this file
            part.unlink()
        raise
    proofs = proofs or redirects.proofs
    with response:
        done = done if response.status == 206 else 0
        if done and not proofs:
            part.unlink()
            raise ConnectionError("nothing would prove the whole: it begins anew")
        rest = response.headers.get("Content-Length")
        total = done + int(rest) if rest else None
        _copy(response, part, done, total)
    if total and (found := part.stat().st_size) < total:
        raise ConnectionError(f"the connection ended after {found:,} of {total:,} bytes")
    if not proofs and _is_a_page(part):
        part.unlink()
        raise ValueError("it sends an error message or a login page instead of the file")
    if wrong := _wrong(part, proofs):
        part.unlink()
        raise (ConnectionError if done else ValueError)(f"what it sends {wrong}. Nothing was kept")


def _is_a_page(part: Path) -> bool:
    """HTML, JSON or nothing at all. (The header of a safetensors file begins with `{` after its length.)"""
    with open(part, "rb") as file:
        start = file.read(64).removeprefix(b"\xef\xbb\xbf")
    return start[8:9] != b"{" and start.lstrip()[:1] in (b"", b"<", b"{", b"[")


def _copy(response: http.client.HTTPResponse, part: Path, done: int, total: int | None) -> None:
    from tqdm.auto import tqdm

    with (
        open(part, "ab" if done else "wb") as file,
        tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=part.stem) as bar,
    ):
        while block := response.read(CHUNK):
            file.write(block)
            bar.update(len(block))
        file.flush()
        os.fsync(file.fileno())
