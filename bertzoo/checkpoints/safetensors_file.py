"""Write a safetensors file one array at a time, so that no second copy of a model is in memory."""

from __future__ import annotations

import collections.abc
import json
import math
import os
import pathlib

import numpy as np


def write_safetensors(
    path: pathlib.Path,
    shapes: collections.abc.Mapping[str, tuple[int, ...]],
    arrays: collections.abc.Iterable[tuple[str, np.ndarray]],
    metadata: collections.abc.Mapping[str, str] | None = None,
) -> None:
    """Write float32 arrays, in whatever order they come, and flush them to the disk.

    The format is eight bytes of header length, a JSON header, then the arrays; a place for each
    is known from the shapes alone.

    Args:
        path: The file to write.
        shapes: Name -> shape of everything that must come.
        arrays: (name, array); each name once.
        metadata: Strings for the header; transformers expects `{"format": "pt"}`.

    Raises:
        ValueError: An array that is missing, unknown, given twice or of another shape.
    """
    header: dict[str, dict] = {}
    if metadata:
        header["__metadata__"] = dict(metadata)
    offset = 0
    for name in sorted(shapes):
        size = 4 * math.prod(shapes[name])  # float32
        header[name] = {
            "dtype": "F32",
            "shape": list(shapes[name]),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)  # the arrays begin at a multiple of eight bytes
    start = 8 + len(text)
    left = dict(shapes)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, array in arrays:
            if name not in left:
                raise ValueError(f"`{name}` is given twice or has no place in {path.name}.")
            if tuple(array.shape) != tuple(left.pop(name)):
                raise ValueError(f"`{name}` has shape {array.shape}; expected {shapes[name]}.")
            file.seek(start + header[name]["data_offsets"][0])
            file.write(np.ascontiguousarray(array, dtype="<f4").data)
        if left:
            raise ValueError(f"no array came for {', '.join(sorted(left))}.")
        file.truncate(start + offset)
        file.flush()
        os.fsync(file.fileno())
