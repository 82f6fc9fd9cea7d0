"""The wire format of protocol buffers, as far as TensorFlow's checkpoints use it.

https://protobuf.dev/programming-guides/encoding: fields of (number << 3 | type), then a varint,
eight bytes, a length and bytes, or four bytes.
"""

from __future__ import annotations

import collections.abc


def fields(data: bytes) -> collections.abc.Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value): an int, or the bytes of a string or message.

    >>> list(fields(bytes([0x08, 0x96, 0x01, 0x12, 0x01, 0x61])))
    [(1, 150), (2, b'a')]

    Raises:
        ValueError: The data ends within a field, or is no message.
    """
    position = 0
    while position < len(data):
        key, position = varint(data, position)
        number, kind = key >> 3, key & 7
        value: int | bytes
        if kind == 0:
            value, position = varint(data, position)
        elif kind in (1, 2, 5):
            size = {1: 8, 5: 4}.get(kind)
            if size is None:
                size, position = varint(data, position)
            value, position = data[position : position + size], position + size
            if position > len(data):
                raise ValueError(f"field {number} goes past the end")
            if kind != 2:
                value = int.from_bytes(value, "little")
        else:
            raise ValueError(f"field {number} has the unknown type {kind}")
        yield number, value


def varint(data: bytes, position: int) -> tuple[int, int]:
    """Return an unsigned number of at most 64 bits and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise ValueError("it ends within a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), position
    raise ValueError("a number is longer than 64 bits")


def message(value: int | bytes) -> bytes:
    """Return a value that must be a string or message."""
    if not isinstance(value, bytes):
        raise ValueError("a number stands where a message is expected")
    return value


def number(value: int | bytes) -> int:
    """Return a value that must be a number."""
    if not isinstance(value, int):
        raise ValueError("a message stands where a number is expected")
    return value


def signed(value: int | bytes) -> int:
    """Return an int64, which is stored as its two's complement."""
    unsigned = number(value)
    return unsigned - 2**64 if unsigned >= 2**63 else unsigned
