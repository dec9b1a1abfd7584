"""Fetching published files: resumed where it stopped, checked before it is trusted, and nothing thrown away."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from ovsam_core.errors import DownloadError
from ovsam_core.models.registry import models_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import Message
    from pathlib import Path

    from ovsam_core.models.catalogue import PublishedFile

__all__ = ["Receipt", "download", "downloads_folder", "verify"]

_BLOCK = 1 << 20
_TIMEOUT_S = 30.0
_ATTEMPTS = 5
_NETWORK = (urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is written beside a downloaded file.

    Attributes:
        name: file name.
        url: where it came from.
        size: bytes.
        sha256: of the whole file, computed here.
        checked_against: who told the right hash: "published", "server", or "" where nobody did and the first download
            is what later checks compare with.
        licence: of the weights, as accepted.
    """

    name: str
    url: str
    size: int
    sha256: str
    checked_against: str
    licence: str


@dataclass(frozen=True, slots=True)
class _Answer:
    """A server's answer: the body from `start` on, and what it claims about the whole file."""

    body: IO[bytes]
    start: int
    size: int | None
    sha256: str | None
    etag: str


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects and remember what Hugging Face says only in the redirect itself."""

    def __init__(self) -> None:
        self.linked: dict[str, str] = {}

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Keep `X-Linked-*` and refuse to leave http(s)."""
        _check_scheme(newurl)
        for name in ("X-Linked-Etag", "X-Linked-Size"):
            if headers.get(name):
                self.linked[name] = str(headers[name])
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def downloads_folder() -> Path:
    """Return where downloaded files lie until `ovsam models import` assembles them."""
    return models_folder() / "downloads"


def download(
    file: PublishedFile,
    *,
    accept_licence: bool = False,
    folder: Path | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    attempts: int = _ATTEMPTS,
    pause_s: float = 2.0,
) -> Path:
    """Fetch a published file, or return it where it already lies checked.

    A connection that breaks is taken up again where it stopped, in this call and in the next. A file that turns out
    wrong is kept as `NAME.rejected`, an unfinished one as `NAME.part`.

    Args:
        file: what to fetch.
        accept_licence: the caller has shown the licence and the user agreed; needed for non-commercial weights.
        folder: where to put it; `downloads_folder()` by default.
        progress: called with bytes so far and the whole size where it is known.
        attempts: connections to try without a single new byte before giving up.
        pause_s: seconds before the second attempt, doubled after each failure.

    Raises:
        DownloadError: licence not accepted, offline, broken off for good, wrong size, or wrong hash.
    """
    if file.non_commercial and not accept_licence:
        raise DownloadError(
            f"{file.name}: published under the {file.licence}. Accept it with --accept-licence to download the file"
        )
    folder = downloads_folder() if folder is None else folder
    target = folder / file.name
    if target.exists():
        verify(file, folder=folder)
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{file.name}.lock", timeout=1):
            return _fetch(file, target, progress, attempts, pause_s)
    except Timeout as error:
        raise DownloadError(f"{file.name}: another process is downloading it to {folder}") from error
    except OSError as error:
        raise DownloadError(f"{target}: cannot be written: {error.strerror or error}") from error


def verify(file: PublishedFile, *, folder: Path | None = None) -> Receipt:
    """Read a downloaded file again and compare size and hash; nothing is changed or deleted.

    A file that was put there by hand gets its receipt here when its hash is right.

    Raises:
        DownloadError: missing, or not what was published or downloaded.
    """
    folder = downloads_folder() if folder is None else folder
    path = folder / file.name
    if not path.is_file():
        raise DownloadError(f"{path}: not downloaded yet; run `ovsam models download {file.name}`")
    receipt = _read_receipt(path)
    size = path.stat().st_size
    _check_size(file, size, path)
    if receipt is not None and size != receipt.size:
        raise DownloadError(f"{path}: {size} bytes, but {receipt.size} were downloaded; {_again(path)}")
    digest = _sha256(path)
    wanted = file.sha256 or (receipt.sha256 if receipt else None)
    if wanted is not None and digest != wanted:
        raise DownloadError(f"{path}: sha256 {digest} is not the expected {wanted}; {_again(path)}")
    if receipt is None:
        checked = "published" if file.sha256 else ""
        receipt = Receipt(file.name, "", size, digest, checked, file.licence)
        with suppress(OSError):  # a read-only folder: the check itself has passed
            _write_receipt(path, receipt)
    return receipt


def _again(path: Path) -> str:
    return f"move it away (nothing was deleted) and run `ovsam models download {path.name}` again"


def _fetch(
    file: PublishedFile,
    target: Path,
    progress: Callable[[int, int | None], None] | None,
    attempts: int,
    pause_s: float,
) -> Path:
    """Fill `NAME.part` over as many connections as it takes, then check and rename it."""
    part = target.with_name(f"{target.name}.part")
    url = file.url()
    failures, answer = 0, None
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            answer = _open(url, before, _etag_of(part))
            with answer.body:
                _check_size(file, answer.size, part)
                _etag_file(part).write_text(answer.etag, encoding="utf-8")
                _copy(answer, part, progress)
            break
        except _Complete as done:
            answer = done.answer
            break
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and not isinstance(error, _NETWORK):
                raise  # the disk
            grown = part.exists() and part.stat().st_size > before
            failures = 0 if grown else failures + 1
            if failures >= attempts or _final(error):
                raise _unreachable(file, url, target, part, error) from error
            time.sleep(pause_s * 2 ** max(0, failures - 1))
    return _accept(file, url, target, part, answer)


def _accept(file: PublishedFile, url: str, target: Path, part: Path, answer: _Answer) -> Path:
    """Check what has arrived; rename it to its name, or set it aside."""
    size = part.stat().st_size
    digest = _sha256(part)
    published = file.sha256
    wanted = published or answer.sha256
    wrong = ""
    if answer.size is not None and size != answer.size:
        wrong = f"{size} bytes arrived, the server announced {answer.size}"
    elif (file.size is not None and size != file.size) or size < file.tensor_bytes:
        wrong = f"{size} bytes arrived, {file.about_bytes} were published"
    elif wanted is not None and digest != wanted:
        wrong = f"its sha256 is {digest}, {'published' if published else 'the server announced'} {wanted}"
    _etag_file(part).unlink(missing_ok=True)
    if wrong:
        aside = _free_name(target.with_name(f"{target.name}.rejected"))
        part.rename(aside)
        raise DownloadError(
            f"{file.name}: {wrong}. The file is kept as {aside}; a proxy or mirror may have answered in place of "
            f"{urlsplit(url).netloc}: look at its first lines, then try again"
        )
    checked = "published" if published else "server" if answer.sha256 else ""
    _write_receipt(target, Receipt(file.name, url, size, digest, checked, file.licence))
    part.replace(target)
    return target


def _free_name(path: Path) -> Path:
    """Return the path, with a number where earlier files lie in the way: none of them is replaced."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


class _Complete(Exception):  # noqa: N818 - carries an answer, is no error
    """The part was already whole: the server has nothing after its end."""

    def __init__(self, answer: _Answer) -> None:
        super().__init__()
        self.answer = answer


def _open(url: str, start: int, etag: str) -> _Answer:
    """Ask for the file from `start` on; the server may answer with the whole of it."""
    _check_scheme(url)
    redirects = _Redirects()
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "ovsam"})  # noqa: S310
    if start:
        request.add_header("Range", f"bytes={start}-")
        if etag and not etag.startswith("W/"):  # without a strong validator the hash must notice a changed file
            request.add_header("If-Range", etag)
    try:
        reply = urllib.request.build_opener(redirects).open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        whole = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if error.code == 416 and whole and int(whole[1]) == start:
            whole_answer = _Answer(error, start, start, _hash_of(redirects.linked, error.headers), etag)
            raise _Complete(whole_answer) from None
        if error.code == 416:
            return _open(url, 0, "")
        raise
    length = reply.headers.get("Content-Length")
    size = int(length) if length and length.isdigit() else None
    begins = 0
    if reply.status == 206:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", reply.headers.get("Content-Range", ""))
        if span is None or int(span[1]) != start:
            reply.close()
            return _open(url, 0, "")
        begins, size = start, int(span[2]) if span[2].isdigit() else None
    linked = redirects.linked.get("X-Linked-Size", "")
    return _Answer(
        reply,
        begins,
        size if size is not None else int(linked) if linked.isdigit() else None,
        _hash_of(redirects.linked, reply.headers),
        reply.headers.get("ETag", ""),
    )


def _hash_of(linked: dict[str, str], headers: Message) -> str | None:
    """Hugging Face names a large file's sha256 as its linked ETag; other servers' ETags mean nothing to us."""
    for value in (linked.get("X-Linked-Etag", ""), headers.get("X-Linked-Etag", "")):
        text = str(value).removeprefix("W/").strip('"').lower()
        if _SHA256.fullmatch(text):
            return text
    return None


def _copy(answer: _Answer, part: Path, progress: Callable[[int, int | None], None] | None) -> None:
    """Append the body to the part, or start it anew where the server began at the first byte."""
    done = answer.start
    with part.open("r+b" if part.exists() else "wb") as out:
        out.seek(answer.start)
        out.truncate()
        while block := answer.body.read(_BLOCK):
            out.write(block)
            done += len(block)
            if progress:
                progress(done, answer.size)
    if answer.size is not None and done < answer.size:
        raise ConnectionError(f"the connection ended {answer.size - done} bytes early")


def _check_scheme(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url}: only http and https addresses are fetched; check OVSAM_MIRROR and HF_ENDPOINT")


def _check_size(file: PublishedFile, size: int | None, path: Path) -> None:
    if size is None:
        return
    if file.size is not None and size != file.size:
        raise DownloadError(f"{path}: {size} bytes, but {file.size} were published; this is another file")
    if size < file.tensor_bytes:
        raise DownloadError(
            f"{path}: {size} bytes, but its tensors alone take {file.tensor_bytes}; this is another file or a page "
            "that a server sent in its place"
        )


def _final(error: Exception) -> bool:
    """Tell answers that a second attempt will not change."""
    return isinstance(error, urllib.error.HTTPError) and error.code in (400, 401, 403, 404, 410, 451)


def _unreachable(file: PublishedFile, url: str, target: Path, part: Path, error: Exception) -> DownloadError:
    reason = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else getattr(error, "reason", error)
    kept = f" {part.stat().st_size} bytes are kept in {part}; the next try goes on from there." if part.exists() else ""
    return DownloadError(
        f"{file.name}: cannot be fetched from {urlsplit(url).netloc} ({reason}).{kept} Check the connection or "
        f"name a mirror with OVSAM_MIRROR (or HF_ENDPOINT); on a machine without network fetch {url} elsewhere "
        f"and put it at {target}"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _etag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _etag_of(part: Path) -> str:
    try:
        return _etag_file(part).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _receipt_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _write_receipt(path: Path, receipt: Receipt) -> None:
    _receipt_file(path).write_text(json.dumps(asdict(receipt), indent=1) + "\n", encoding="utf-8")


def _read_receipt(path: Path) -> Receipt | None:
    try:
        return Receipt(**json.loads(_receipt_file(path).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
