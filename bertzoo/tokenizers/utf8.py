"""Python's strings as the UTF-8 bytes that the graph reads, the same on every way into it."""

from __future__ import annotations

import re

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def encode(text: str | bytes) -> bytes:
    r"""Return UTF-8; bytes stay as they are.

    A lone surrogate, which UTF-8 cannot hold, becomes U+FFFD: one code point too, so offsets stay
    right, and one that BERT deletes.

    >>> encode("a\ud800")
    b'a\xef\xbf\xbd'
    """
    if isinstance(text, bytes):
        return bytes(text)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return _LONE_SURROGATE.sub("\ufffd", text).encode("utf-8")
