"""The two layouts of PyTorch's files: where the pickle lies, and where each storage.

Since 1.6 the file is a zip archive: `NAME/data.pkl` and one uncompressed member `NAME/data/KEY` for
each storage. Before, it was five pickles (a magic number, the protocol, the system, the object,
the keys of the storages) and then the storages.
"""

from __future__ import annotations

import pathlib
import typing
import zipfile
import zlib

import numpy as np

from bertzoo.checkpoints.inert_pickle import MOST_BYTES, read_pickle
from bertzoo.checkpoints.torch_tensors import Storage, Tensor

LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
# What other files look like that end up under this name.
BEGINNINGS = {
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself",
    b"<": "a web page; the download failed",
    b"{": "JSON text",
}


def open_layout(path: pathlib.Path, allowed) -> _Zip | _Legacy:
    """Return the file, with `content` and `read(tensor)`; ValueError says what it is instead."""
    with open(path, "rb") as file:
        start = file.read(24)
    if start.startswith(b"PK\x03\x04"):
        return _Zip(path, allowed)
    if start.startswith(b"\x80"):
        return _Legacy(path, allowed)
    for beginning, what in BEGINNINGS.items():
        if start.startswith(beginning):
            raise ValueError(f"it is {what}")
    raise ValueError("it is neither a zip archive nor a pickle")


def _storage(identity, *, fields: int) -> tuple[Storage, typing.Any]:
    """Return the storage of a persistent id ("storage", type, key, device, numel, view)."""
    if not isinstance(identity, tuple) or len(identity) != fields or identity[0] != "storage":
        raise ValueError("its pickle refers to something other than a storage")
    _, dtype, key, _, numel = identity[:5]
    if not isinstance(dtype, np.dtype) or type(key) is not str or type(numel) is not int:
        raise ValueError("its pickle describes a storage by other types")
    if not 0 <= numel < 2**63:
        raise ValueError(f"storage {key!r} has {numel} elements")
    return Storage(dtype, key, numel), identity[5] if fields == 6 else None


class _Zip:
    """The form since PyTorch 1.6."""

    def __init__(self, path: pathlib.Path, allowed):
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self.members = self._check_members(archive)
                root = self._root()
                self.data = f"{root}/data/"
                order = self.members.get(f"{root}/byteorder")
                if order is not None and _member(archive, order, 16).strip() != b"little":
                    raise ValueError("it was written by a big-endian machine")
                pickle = _member(archive, self.members[f"{root}/data.pkl"], MOST_BYTES)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as e:
            raise ValueError(f"its zip archive is damaged ({e})") from e
        self.content, _ = read_pickle(pickle, allowed, self._persistent)

    def _check_members(self, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
        size = self.path.stat().st_size
        members: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            if info.filename in members:
                raise ValueError(f"its archive holds `{info.filename[:100]}` twice")
            # Bit 0 means encrypted. torch.save stores; a compressed member could be a bomb.
            if info.flag_bits & 1 or info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"the member `{info.filename[:100]}` is compressed or encrypted")
            if info.file_size != info.compress_size or info.file_size > size:
                raise ValueError(f"the member `{info.filename[:100]}` is larger than the file")
            members[info.filename] = info
        return members

    def _root(self) -> str:
        roots = [n.removesuffix("/data.pkl") for n in self.members if n.endswith("/data.pkl")]
        if len(roots) != 1:
            if any(name.endswith("constants.pkl") for name in self.members):
                raise ValueError("it is a TorchScript program, not weights")
            raise ValueError("its archive holds no data.pkl, or several")
        if any(name.startswith(f"{roots[0]}/code/") for name in self.members):
            raise ValueError("it is a TorchScript program, not weights")
        return roots[0]

    def _persistent(self, identity) -> Storage:
        storage, _ = _storage(identity, fields=5)
        member = self.members.get(self.data + storage.key)
        if member is None:
            raise ValueError(f"storage {storage.key[:100]!r} is not in its archive")
        if storage.numel * storage.dtype.itemsize > member.file_size:
            raise ValueError(
                f"storage {storage.key!r} asks for {storage.numel} elements, but its member has "
                f"{member.file_size} bytes"
            )
        return storage

    def read(self, tensor: Tensor) -> bytes:
        size = tensor.storage.dtype.itemsize
        member = self.members[self.data + tensor.storage.key]
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(member) as file:
                file.seek(tensor.offset * size)
                return file.read(tensor.span * size)
        except (zipfile.BadZipFile, RuntimeError, EOFError, OSError) as error:
            raise ValueError(f"{self.path}: its zip archive is damaged ({error}).") from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    if info.file_size > most:
        raise ValueError(f"its member `{info.filename[:100]}` has {info.file_size} bytes")
    return archive.read(info)


class _Legacy:
    """The form before PyTorch 1.6."""

    def __init__(self, path: pathlib.Path, allowed):
        self.path = path
        self.size = path.stat().st_size
        with open(path, "rb") as file:
            data = file.read(min(self.size, MOST_BYTES))  # read(n) makes room for n at once
            magic, position = read_pickle(data, {})
            if magic != LEGACY_MAGIC:
                raise ValueError("it is a pickle, but not one of torch.save")
            protocol, length = read_pickle(data[position:], {})
            position += length
            system, length = read_pickle(data[position:], {})
            position += length
            if protocol != LEGACY_PROTOCOL or not isinstance(system, dict):
                raise ValueError(f"it has the protocol {str(protocol)[:20]}")
            if system.get("little_endian") is not True:
                raise ValueError("it was written by a big-endian machine")
            self.storages: dict[str, Storage] = {}
            self.content, length = read_pickle(data[position:], allowed, self._persistent)
            position += length
            keys, length = read_pickle(data[position:], {})
            self.positions = self._positions(file, keys, position + length)

    def _persistent(self, identity) -> Storage:
        storage, view = _storage(identity, fields=6)
        if view is not None:
            raise ValueError(f"storage {storage.key[:100]!r} is a view of another, which is rare")
        known = self.storages.setdefault(storage.key, storage)
        if (known.dtype, known.numel) != (storage.dtype, storage.numel):
            raise ValueError(f"storage {storage.key[:100]!r} is described in two ways")
        # Before the first tensor: no storage can be larger than the file.
        if storage.numel * storage.dtype.itemsize > self.size:
            raise ValueError(f"storage {storage.key[:100]!r} is larger than the file")
        return known

    def _positions(self, file, keys, position: int) -> dict[str, int]:
        listed = isinstance(keys, list) and all(type(key) is str for key in keys)
        if not listed or sorted(keys) != sorted(self.storages):
            raise ValueError("its list of storages is not that of its tensors")
        positions = {}
        for key in keys:
            storage = self.storages[key]
            file.seek(position)
            count = int.from_bytes(file.read(8), "little", signed=True)
            if count != storage.numel:
                raise ValueError(f"storage {key[:100]!r} has {count} elements, not {storage.numel}")
            positions[key] = position + 8
            position += 8 + count * storage.dtype.itemsize
            if position > self.size:
                raise ValueError(f"it ends within storage {key[:100]!r}")
        return positions

    def read(self, tensor: Tensor) -> bytes:
        size = tensor.storage.dtype.itemsize
        with open(self.path, "rb") as file:
            file.seek(self.positions[tensor.storage.key] + tensor.offset * size)
            return file.read(tensor.span * size)
