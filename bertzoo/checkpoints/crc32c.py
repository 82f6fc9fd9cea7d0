"""CRC-32C (Castagnoli, RFC 3720 appendix B.4), vectorised: the checksum of TensorFlow checkpoints.

A CRC is linear over GF(2), so many words can be taken at once: with S(n) for "append n zero
bytes", the CRC of words w is the exclusive or of S(4 * (words after it + 1)) of each.
"""

from __future__ import annotations

import functools

import numpy as np

POLYNOMIAL = 0x82F63B78  # reflected
# Words taken at once: wide for weights (64 kB a step), narrow for biases and blocks of an index.
WIDE, NARROW = 2**14, 2**4


def crc32c(data: bytes | memoryview | np.ndarray) -> int:
    """Return the checksum of bytes.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    array = np.frombuffer(data, np.uint8)
    lanes = WIDE if array.size > 64 * WIDE else NARROW
    # Zeros in front change nothing while the register is zero; its start value comes in after.
    padded = -array.size % (4 * lanes)
    head = np.concatenate([np.zeros(padded, np.uint8), array[: 4 * lanes - padded]])
    rows = array[4 * lanes - padded :].view(np.uint8)
    low, high = _tables(4 * lanes)
    register = head.view("<u4").astype(np.uint32) if head.size else np.zeros(lanes, np.uint32)
    for start in range(0, rows.size, 4 * lanes):
        row = np.frombuffer(rows[start : start + 4 * lanes].tobytes(), "<u4")
        register = low[register & 0xFFFF] ^ high[register >> 16] ^ row
    while register.size > 1:
        half = register.size // 2
        register = _apply(_zeros(4 * half), register[:half]) ^ register[half:]
    result = _apply(_zeros(4), register) ^ _apply(
        _zeros(array.size), np.array([0xFFFFFFFF], np.uint32)
    )
    return int(result[0]) ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """Return a checksum as LevelDB and TensorFlow store it."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@functools.cache
def _zeros(count: int) -> np.ndarray:
    """Return S(count) as the images of the 32 bits."""
    if count == 0:
        return np.array([1 << bit for bit in range(32)], np.uint32)
    if count == 1:
        columns = np.array([1 << bit for bit in range(32)], np.uint32)
        for _ in range(8):
            columns = np.where(columns & 1, (columns >> 1) ^ np.uint32(POLYNOMIAL), columns >> 1)
        return columns
    half = _zeros(count // 2)
    columns = _apply(half, half)
    return _apply(_zeros(1), columns) if count % 2 else columns


def _apply(columns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Multiply a 32 x 32 matrix with each value."""
    bits = values[:, None] >> np.arange(32, dtype=np.uint32) & np.uint32(1)
    return np.bitwise_xor.reduce(bits * columns, axis=1, dtype=np.uint32)


@functools.cache
def _tables(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return S(count) of every lower and every upper half of a word."""
    halves = np.arange(2**16, dtype=np.uint32)
    return _apply(_zeros(count), halves), _apply(_zeros(count), halves << 16)
