"""TensorFlow checkpoints, read without TensorFlow: `PREFIX.index` and `PREFIX.data-*-of-*`.

The index is a LevelDB table of name -> BundleEntryProto (type, shape, shard, offset, size, CRC);
the data files are the arrays one after the other. See tensorflow/core/util/tensor_bundle and
tensorflow/core/lib/io/table. Everything that an index says is checked against the size of the
data files before an array is made.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import math
import pathlib

import ml_dtypes
import numpy as np

from bertzoo.checkpoints import protobuf_wire as wire
from bertzoo.checkpoints.crc32c import crc32c, masked

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
FOOTER = 48  # two block handles of at most 20 bytes, padding, the magic number
# An index has some 80 bytes for each tensor; those of the largest runs stay below a megabyte.
MOST_INDEX_BYTES = 2**26
STRING = 7
# tensorflow/core/framework/types.proto
DTYPES: dict[int, np.dtype] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    4: np.dtype("u1"),
    5: np.dtype("<i2"),
    6: np.dtype("i1"),
    9: np.dtype("<i8"),
    10: np.dtype("?"),
    14: np.dtype(ml_dtypes.bfloat16),
    17: np.dtype("<u2"),
    19: np.dtype("<f2"),
    22: np.dtype("<u4"),
    23: np.dtype("<u8"),
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """Where one tensor lies."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


class TensorFlowReader:
    """A TensorFlow checkpoint by its prefix, such as `bert_model.ckpt`.

    Args:
        prefix: Path without `.index`.
    """

    def __init__(self, prefix: pathlib.Path):
        self.path = prefix
        index = prefix.with_name(prefix.name + ".index")
        try:
            self._entries, shards = read_index(index)
            self._files = self._find_files(shards)
            for name, entry in self._entries.items():
                _check(name, entry, self._files)
        except (ValueError, OSError) as error:
            raise ValueError(
                f"{prefix} is not a whole TensorFlow checkpoint ({str(error).rstrip('.')}); "
                "expected files ending in .index and .data-00000-of-00001."
            ) from error
        self.shapes = {name: entry.shape for name, entry in self._entries.items()}

    def _find_files(self, shards: int) -> list[tuple[pathlib.Path, int]]:
        # More shards than tensors is a damaged header.
        if not 1 <= shards <= len(self._entries) + 1:
            raise ValueError(f"its index names {shards} data files")
        files = []
        for shard in range(shards):
            path = self.path.with_name(f"{self.path.name}.data-{shard:05d}-of-{shards:05d}")
            if not path.is_file():
                raise ValueError(f"{path.name} is missing")
            files.append((path, path.stat().st_size))
        return files

    def read(self, name: str) -> np.ndarray:
        """Return one variable."""
        entry = self._entries[name]
        if entry.dtype not in DTYPES:
            raise ValueError(f"{self.path}: `{name}` is not an array of numbers.")
        data = self._bytes(name, entry)
        if masked(crc32c(data)) != entry.crc:
            raise ValueError(f"{self.path}: `{name}` is damaged: its checksum differs.")
        return np.frombuffer(data, DTYPES[entry.dtype]).reshape(entry.shape)

    def read_string(self, name: str) -> bytes:
        """Return a scalar string, such as the object graph."""
        entry = self._entries[name]
        if entry.dtype != STRING or math.prod(entry.shape) != 1:
            raise ValueError(f"{self.path}: `{name}` is not a string.")
        data = self._bytes(name, entry)
        try:
            length, start = wire.varint(data, 0)  # then four bytes of checksum of the lengths
        except ValueError as error:
            raise ValueError(f"{self.path}: `{name}` is damaged: {error}.") from error
        if start + 4 + length != len(data):
            raise ValueError(f"{self.path}: `{name}` is damaged: its length differs.")
        return data[start + 4 :]

    def _bytes(self, name: str, entry: Entry) -> bytes:
        path = self._files[entry.shard][0]
        with open(path, "rb") as file:
            file.seek(entry.offset)
            data = file.read(entry.size)
        if len(data) != entry.size:
            raise ValueError(f"{path} ends within `{name}`.")
        return data


def read_index(path: pathlib.Path) -> tuple[dict[str, Entry], int]:
    """Return {tensor name: entry} and the number of data files.

    Raises:
        ValueError: Not such a table; the message has no path.
    """
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    if path.stat().st_size > MOST_INDEX_BYTES:
        raise ValueError(f"{path.name} is larger than any index of a checkpoint")
    data = path.read_bytes()
    if len(data) < FOOTER or data[-8:] != MAGIC:
        raise ValueError(f"{path.name} is not the index of one, or is cut short")
    footer = data[-FOOTER:]
    position = 0
    for _ in range(2):  # the handle of the meta index block, which is empty
        position = wire.varint(footer, position)[1]
    entries: dict[str, Entry] = {}
    shards = 0
    for _, handle in _block(data, *_handle(footer[position:])):
        for key, value in _block(data, *_handle(handle)):
            name = key.decode("utf-8")
            if not name:
                shards = _shards(value)
            elif name in entries:
                raise ValueError(f"its index names `{name}` twice")
            else:
                entries[name] = _entry(name, value)
    return entries, shards


def _handle(data: bytes) -> tuple[int, int]:
    offset, position = wire.varint(data, 0)
    return offset, wire.varint(data, position)[0]


def _block(data: bytes, offset: int, size: int) -> collections.abc.Iterator[tuple[bytes, bytes]]:
    """Yield the (key, value) pairs of one block; keys share their beginnings with the last one."""
    end = offset + size
    if size < 4 or end + 5 > len(data):
        raise ValueError("a block of its index goes past the end")
    if data[end] != 0:
        raise ValueError("its index is compressed")
    if masked(crc32c(data[offset : end + 1])) != int.from_bytes(data[end + 1 : end + 5], "little"):
        raise ValueError("its index is damaged: a checksum differs")
    restarts = int.from_bytes(data[end - 4 : end], "little")
    stop = end - 4 - 4 * restarts
    if stop < offset:
        raise ValueError("a block of its index is damaged")
    block = data[offset:stop]
    key, position = b"", 0
    while position < len(block):
        shared, position = wire.varint(block, position)
        rest, position = wire.varint(block, position)
        length, position = wire.varint(block, position)
        if shared > len(key) or position + rest + length > len(block):
            raise ValueError("a block of its index is damaged")
        key = key[:shared] + block[position : position + rest]
        position += rest
        yield key, block[position : position + length]
        position += length


def _shards(value: bytes) -> int:
    shards = 0
    for field, content in wire.fields(value):
        if field == 1:
            shards = wire.number(content)
        elif field == 2 and content != 0:
            raise ValueError("it was written by a big-endian machine")
    return shards


def _entry(name: str, value: bytes) -> Entry:
    values: dict[int, int | bytes] = {}
    for field, content in wire.fields(value):
        if field == 7:
            raise ValueError(f"`{name}` is kept in slices, which bertzoo does not read")
        values[field] = content
    shape = []
    for field, content in wire.fields(wire.message(values.get(2, b""))):
        if field == 3:
            raise ValueError(f"`{name}` has no known rank")
        if field == 2:
            sizes = [c for f, c in wire.fields(wire.message(content)) if f == 1]
            shape.append(wire.signed(sizes[0]) if sizes else 0)
    return Entry(
        dtype=wire.number(values.get(1, 0)),
        shape=tuple(shape),
        shard=wire.number(values.get(3, 0)),
        offset=wire.number(values.get(4, 0)),
        size=wire.number(values.get(5, 0)),
        crc=wire.number(values.get(6, 0)),
    )


def _check(name: str, entry: Entry, files: list[tuple[pathlib.Path, int]]) -> None:
    if entry.shard >= len(files):
        raise ValueError(f"`{name}` lies in data file {entry.shard} of {len(files)}")
    path, size = files[entry.shard]
    if entry.offset + entry.size > size:
        raise ValueError(f"`{name}` goes past the end of {path.name}")
    if len(entry.shape) > 8 or any(dim < 0 for dim in entry.shape):
        raise ValueError(f"`{name}` has the shape {entry.shape}")
    dtype = DTYPES.get(entry.dtype)
    if dtype is not None and math.prod(entry.shape) * dtype.itemsize != entry.size:
        raise ValueError(f"`{name}` has the shape {entry.shape} but {entry.size} bytes")
