"""Addresses of checkpoints elsewhere, taken apart and checked before anything is asked for.

- `hf://user/repo[@revision]`
- `kaggle://owner/model/framework/variation[/version]`
- `https://host/path/archive.zip[#sha256=<64 hexadecimal digits>]`
- `gs://bucket/path`, and the other schemes of TensorFlow's filesystem
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import urllib.parse

OBJECT_STORES = ("gs", "s3", "hdfs", "viewfs", "ram")
SCHEMES = ("hf", "kaggle", "https", "http", *OBJECT_STORES)
HF_FORM = "hf://user/repo or hf://user/repo@revision"
KAGGLE_FORM = "kaggle://owner/model/framework/variation, with /version if you like"
# One component of a name on the hubs: never `.` or `..`, never a separator.
NAME = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,95}"
REVISION = rf"{NAME}(?:/{NAME}){{0,4}}"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclasses.dataclass(frozen=True)
class Address:
    """One place that a checkpoint can be fetched from.

    Args:
        kind: `hugging_face`, `kaggle`, `web` or `object_store`.
        name: `user/repo`, the Kaggle handle without its version, or the whole address.
        revision: Branch, tag or commit; Kaggle's version; SHA-256 of an archive; or "".
    """

    kind: str
    name: str
    revision: str = ""

    def __str__(self):
        """Return the address as it may be shown: without passwords or signatures."""
        if self.kind == "hugging_face":
            return f"hf://{self.name}" + (f"@{self.revision}" if self.revision else "")
        if self.kind == "kaggle":
            return f"kaggle://{self.name}" + (f"/{self.revision}" if self.revision else "")
        return without_secrets(self.name)

    @property
    def folder(self) -> str:
        """A file name for this address, different from that of any other."""
        readable = re.sub(r"[^A-Za-z0-9._@-]+", "--", str(self).split("://", 1)[1])
        digest = hashlib.sha256(f"{self.kind} {self.name} {self.revision}".encode()).hexdigest()
        return f"{readable.strip('-.')[-120:].lstrip('-.')}-{digest[:12]}"


def is_address(source: object) -> bool:
    """Whether a source is meant as an address and not as a name or a path.

    >>> is_address("hf://google-bert/bert-base-uncased"), is_address("models/bert")
    (True, False)
    """
    match = re.match(r"([A-Za-z0-9]+)://", source) if isinstance(source, str) else None
    return bool(match) and match[1].lower() in SCHEMES  # type: ignore[index]


def parse(text: str) -> Address:
    """Take an address apart.

    Raises:
        ValueError: A form that its scheme does not have; the message shows the one it has.

    Example:
    >>> parse("hf://google-bert/bert-base-uncased@main").revision
    'main'
    >>> str(parse("https://me:secret@host/bert.zip?signature=x"))
    'https://host/bert.zip'
    """
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    if scheme == "hf":
        match = re.fullmatch(rf"({NAME}/{NAME})(?:@({REVISION}))?", rest)
        return Address("hugging_face", *_groups(match, text, HF_FORM))
    if scheme == "kaggle":
        match = re.fullmatch(rf"({NAME}/{NAME}/{NAME}/{NAME})(?:/([0-9]{{1,9}}))?", rest)
        return Address("kaggle", *_groups(match, text, KAGGLE_FORM))
    if scheme in ("https", "http"):
        return _web(text, scheme)
    if scheme in OBJECT_STORES:
        parts = rest.rstrip("/").split("/")
        if not parts[0] or ".." in parts or re.search(r"[\x00-\x1f]", rest):
            raise ValueError(f"{text!r} is not an address; expected {scheme}://bucket/path.")
        return Address("object_store", f"{scheme}://{'/'.join(parts)}")
    raise ValueError(f"{text!r} has an unknown scheme; bertzoo knows {', '.join(SCHEMES)}.")


def without_secrets(text: str) -> str:
    """Return a text without passwords, signatures and tokens in the addresses it may hold.

    >>> without_secrets("no answer from https://a:b@host/x?token=y (hf_abcdefghij)")
    'no answer from https://host/x (hf_...)'
    """
    text = re.sub(r"(\w+://)[^/\s@]*@", r"\1", text)
    text = re.sub(r"(\w+://[^\s?#'\"]+)[?#][^\s'\"]*", r"\1", text)
    return re.sub(r"\bhf_[A-Za-z0-9]{8,}", "hf_...", text)


def _groups(match: re.Match | None, text: str, form: str) -> tuple[str, str]:
    # `a..b` is a name; a component that is only dots is not, and the pattern has none.
    if match is None or ".." in (match[2] or "").split("/"):
        raise ValueError(f"{without_secrets(text)!r} is not an address; expected {form}.")
    return match[1], match[2] or ""


def _web(text: str, scheme: str) -> Address:
    address, _, fragment = text.partition("#")
    host = urllib.parse.urlsplit(address).hostname
    pin = re.fullmatch(r"(?:sha256=([0-9a-f]{64}))?", fragment)
    if not host or re.search(r"[\s\x00-\x1f]", address):
        raise ValueError(f"{without_secrets(text)!r} is not an address of an archive.")
    if pin is None:
        raise ValueError(
            f"{without_secrets(address)}: what follows `#` must be sha256= and 64 hexadecimal "
            "digits."
        )
    # Whoever stands between could put another model there.
    if scheme == "http" and host not in LOOPBACK and not pin[1]:
        raise ValueError(
            f"{without_secrets(address)} is not protected on its way; use https, or give the "
            "checksum of the archive behind it: #sha256=..."
        )
    return Address("web", address, pin[1] or "")
