"""A matrix as a PNG picture (W3C PNG, colour type 3): no imaging library for a page."""

import base64
import struct
import zlib

import numpy as np

# Dark to bright through blue and green, even to the eye; between these the palette is linear.
ANCHORS = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]])


def palette():
    """Return 256 colours, uint8 `[256, 3]`."""
    places = np.linspace(0, len(ANCHORS) - 1, 256)
    columns = [np.interp(places, np.arange(len(ANCHORS)), ANCHORS[:, i]) for i in range(3)]
    return np.stack(columns, axis=1).round().astype(np.uint8)


def levels(matrix, low, high):
    """Return a matrix as uint8: 0 for `low` and below, 255 for `high` and above.

    >>> levels(np.array([[-1.0, 0.5, 2.0]]), low=0.0, high=1.0).tolist()
    [[0, 128, 255]]
    """
    scaled = (np.asarray(matrix, np.float64) - low) / (high - low)
    return np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def png(pixels):
    """Return the bytes of a PNG with one palette entry a pixel of uint8 `[height, width]`."""
    height, width = pixels.shape
    # Colour type 3 (palette), 8 bits; each row begins with the number of its filter, 0.
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    rows = np.hstack([np.zeros((height, 1), np.uint8), pixels]).tobytes()
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", palette().tobytes()),
            _chunk(b"IDAT", zlib.compress(rows, 9)),
            _chunk(b"IEND", b""),
        ]
    )


def data_address(pixels):
    """Return a picture as a `data:` address for a page."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")


def _chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
