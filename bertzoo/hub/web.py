"""`https://.../archive.zip[#sha256=...]`: no client exists for plain archives, so urllib it is.

Only https (http on this machine alone, or with a checksum), also after redirects; an answer that
does not begin like an archive is dropped at its first bytes.
"""

from __future__ import annotations

import hashlib
import http.client
import pathlib
import shutil
import sys
import typing
import urllib.error
import urllib.parse
import urllib.request

from bertzoo import __version__
from bertzoo.hub import archives, places
from bertzoo.hub.addresses import LOOPBACK, Address, without_secrets
from bertzoo.hub.cache import STORAGE_ERRORS, Origin

TIMEOUT = 30  # seconds without a byte
CHUNK = 2**20
STATUS = {
    401: "asks for a login, which bertzoo does not give; download it yourself",
    403: "may not be read (status 403)",
    404: "does not exist (status 404)",
    410: "does not exist any more (status 410)",
}


def download(address: Address, folder: pathlib.Path) -> Origin:
    """Fetch an archive and unpack it into an empty folder; the archive itself is not kept."""
    packed = archives.received(urllib.parse.urlsplit(address.name).path, folder)
    try:
        digest = _receive(address, packed)
    except OSError as error:
        if error.errno in STORAGE_ERRORS and not isinstance(error, urllib.error.URLError):
            raise
        raise _reason(error, address) from None
    except http.client.HTTPException as error:
        raise _reason(error, address) from None
    if address.revision and digest != address.revision:
        raise ValueError(
            f"{address} has the SHA-256 {digest}, but {address.revision} is expected; it was not "
            "kept."
        )
    archives.unpack_received(packed, folder)
    return Origin(str(address), digest)


def _receive(address: Address, path: pathlib.Path) -> str:
    """Write the answer into a new file and return its SHA-256."""
    request = urllib.request.Request(
        address.name,
        headers={"User-Agent": f"bertzoo/{__version__}", "Accept-Encoding": "identity"},
    )
    opener = urllib.request.build_opener(_CarefulRedirects(address))
    with opener.open(request, timeout=TIMEOUT) as answer, open(path, "xb") as file:
        size = _content_length(answer)
        free = shutil.disk_usage(path.parent).free
        if size is not None and size > free:
            raise ValueError(f"{address} has {size:,} bytes, and {free:,} are free "
                             f"in {places.home()}.")  # fmt: skip
        digest, received = hashlib.sha256(), 0
        progress = Progress(str(address), size)
        while chunk := answer.read(CHUNK):
            if not received and not archives.looks_like_archive(chunk[:512]):
                raise ValueError(_not_an_archive(address, chunk))
            received += len(chunk)
            digest.update(chunk)
            file.write(chunk)
            progress.show(received)
        progress.end()
    if not received or (size is not None and received != size):
        whole = f" of {size:,}" if size else ""
        raise ValueError(f"{address} arrived with {received:,} bytes{whole}; try again.")
    return digest.hexdigest()


class Progress:
    """One line on standard error, for as long as somebody watches it."""

    def __init__(self, name: str, size: int | None):
        self._name, self._size, self._shown = name, size, -1
        self._watched = sys.stderr.isatty()

    def show(self, received: int) -> None:
        """Tell how much has arrived, in percent where the whole is known."""
        share = 100 * received // self._size if self._size else received // 2**20
        if self._watched and share != self._shown:
            self._shown = share
            text = f"{share} % of {self._size / 2**20:,.0f} MB" if self._size else f"{share} MB"
            print(f"\r{self._name}: {text}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._shown >= 0:
            print(file=sys.stderr)


class _CarefulRedirects(urllib.request.HTTPRedirectHandler):
    """Follow a few redirects, and none away from https."""

    max_redirections = 5

    def __init__(self, address: Address):
        self._address = address

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        target = urllib.parse.urlsplit(newurl)
        to_itself = target.hostname in LOOPBACK and urllib.parse.urlsplit(
            req.full_url).hostname in LOOPBACK  # fmt: skip
        if target.scheme != "https" and not to_itself and not self._address.revision:
            raise ValueError(
                f"{self._address} leads to {without_secrets(newurl)}, which is not https; refused."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _content_length(answer: typing.Any) -> int | None:
    value = answer.headers.get("Content-Length", "")
    return int(value) if value.isdecimal() else None


def _not_an_archive(address: Address, begin: bytes) -> str:
    if begin.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return (
            f"{address} is a web page, not an archive; give the address of the .zip or .tar.gz "
            "itself (a Hugging Face repository is hf://user/repo)."
        )
    return f"{address} is not a .zip or .tar.gz archive."


def _reason(error: Exception, address: Address) -> ValueError:
    if isinstance(error, urllib.error.HTTPError):
        text = STATUS.get(error.code, f"cannot be fetched (status {error.code}); try again")
        return ValueError(f"{address} {text}.")
    if isinstance(error, urllib.error.URLError):
        error = error.reason if isinstance(error.reason, Exception) else error
    text = without_secrets(str(error).strip() or type(error).__name__).split("\n")[0]
    return ValueError(f"{address} cannot be fetched ({text.rstrip('.')}); try again.")
