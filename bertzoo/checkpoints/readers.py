"""Files of named arrays, read one array at a time: safetensors and Keras HDF5.

Every reader has `shapes` (name -> shape, from the file's header) and `read(name)`; none runs
code from a file, follows a link out of it, or reads pickles.
"""

from __future__ import annotations

import collections.abc
import json
import math
import pathlib
import re

# numpy has no bfloat16; TensorFlow and Keras bring ml_dtypes, which has.
import ml_dtypes
import numpy as np

FLOATS = (np.float32, np.float16, np.float64, ml_dtypes.bfloat16)


# Names of the format's types; numpy has no other floats than these.
_SAFETENSORS_TYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


class SafetensorsReader:
    """One `model.safetensors`, or the shards that an index names.

    The library checks the file; the arrays are read by their places in it, since what the library
    maps into memory stays there and a model would take twice its size while it loads.

    Args:
        path: The safetensors file, or `*.safetensors.index.json`.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        files = [path] if path.suffix == ".safetensors" else shards(path)
        self._places: dict[str, tuple[pathlib.Path, str, int]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for file in files:
            header, start = _safetensors_header(file)
            for name, entry in header.items():
                if name in self.shapes:
                    raise ValueError(f"{path}: the shards hold the tensor `{name}` twice.")
                self._places[name] = (file, entry["dtype"], start + entry["data_offsets"][0])
                self.shapes[name] = tuple(entry["shape"])

    def read(self, name: str) -> np.ndarray:
        """Return one tensor as stored."""
        file, kind, offset = self._places[name]
        if kind not in _SAFETENSORS_TYPES:
            raise ValueError(f"{file}: `{name}` has the type {kind}, which weights do not have.")
        shape = self.shapes[name]
        size = math.prod(shape)
        values = np.fromfile(file, _SAFETENSORS_TYPES[kind], size, offset=offset)
        if values.size != size:
            raise ValueError(f"{file} ends within `{name}`; copy or download it again.")
        return values.reshape(shape)


def _safetensors_header(path: pathlib.Path) -> tuple[dict, int]:
    """Return name -> entry of a checked file's header, and where its arrays begin."""
    import safetensors

    try:
        # It checks sizes, types and that the arrays fill the file without gap or overlap.
        with safetensors.safe_open(path, framework="np"):
            pass
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            # Of a name given twice the library keeps the last.
            header = json.loads(file.read(size), object_pairs_hook=_unique)
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}); copy or download it again."
        ) from error
    header.pop("__metadata__", None)
    return header, 8 + size


def shards(index: pathlib.Path) -> list[pathlib.Path]:
    """Return the files that an index of shards names; they must lie beside it."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{index} must hold a `weight_map` of tensor names to files.")
    for file in weight_map.values():
        # A shard lies beside its index; anything else would read files elsewhere.
        if not isinstance(file, str) or not file or pathlib.Path(file).name != file:
            raise ValueError(f"{index} names the shard {file!r}; expected a file beside it.")
    files = [index.parent / file for file in sorted(set(weight_map.values()))]
    for path in files:
        if not path.is_file():
            raise ValueError(f"{path} is named by the index but is not there.")
    return files


class KerasH5Reader:
    """A Keras `.weights.h5` file of plain arrays.

    Links, virtual datasets and data in other files are refused, so are arrays larger than the
    file that holds them, which are bombs: Keras does not compress.

    Args:
        path: The HDF5 file.
    """

    def __init__(self, path: pathlib.Path):
        import h5py

        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        try:
            self._file = h5py.File(path, "r")
            self._collect(self._file, "", seen=set())
        except (OSError, RuntimeError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"{path} is not a whole HDF5 file ({_first_line(error)}).") from error

    def _collect(self, group, prefix: str, seen: set) -> None:
        import h5py

        for key in group:
            name = prefix + key
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise ValueError(
                    f"{self.path}: `{name}` is a link; bertzoo reads only files that hold "
                    "their arrays themselves."
                )
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:  # a group inside itself would never end
                raise ValueError(f"{self.path}: `{name}` is another name of an earlier object.")
            seen.add(address)
            if isinstance(item, h5py.Group):
                self._collect(item, f"{name}/", seen)
            elif isinstance(item, h5py.Dataset):
                self._check(item, name)
                # Keras versions before 3.1 named the same folder otherwise.
                name = re.sub(r"^_layer_checkpoint_dependencies/", "layers/", name)
                self.shapes[name] = tuple(item.shape or ())
            else:
                raise ValueError(f"{self.path}: `{name}` is neither a group nor an array.")

    def _check(self, item, name: str) -> None:
        if item.external:
            raise ValueError(f"{self.path}: `{name}` keeps its data in another file.")
        if item.is_virtual:
            raise ValueError(f"{self.path}: `{name}` is put together from other files.")
        if item.nbytes > self.path.stat().st_size:
            raise ValueError(
                f"{self.path}: `{name}` has the shape {item.shape}, which is more than the file."
            )

    def read(self, name: str) -> np.ndarray:
        """Return one array."""
        if name not in self._file:
            name = re.sub(r"^layers/", "_layer_checkpoint_dependencies/", name)
        if self._file[name].dtype.kind not in "fiubV":
            raise ValueError(f"{self.path}: `{name}` does not hold numbers.")
        try:
            return self._file[name][()]
        except (OSError, RuntimeError, TypeError) as error:
            raise ValueError(
                f"{self.path}: `{name}` cannot be read ({_first_line(error)})."
            ) from error


class Tensors(collections.abc.Mapping):
    """Arrays of one or several readers under the names that the tables use: name -> shape."""

    def __init__(self):
        self._sources: dict[str, tuple] = {}

    def add(self, name: str, reader, stored_name: str) -> None:
        """Add one array; two under one name raise."""
        if name in self._sources:
            raise ValueError(
                f"{reader.path}: `{self._sources[name][1]}` and `{stored_name}` both stand for "
                f"`{name}`."
            )
        self._sources[name] = (reader, stored_name)

    def rename(self, name: str, new_name: str) -> None:
        """Let the array `name` stand for `new_name`."""
        self._sources[new_name] = self._sources.pop(name)

    def drop(self, name: str) -> None:
        """Forget an array."""
        del self._sources[name]

    def stored_name(self, name: str) -> str:
        """Return the name as the file spells it."""
        return self._sources[name][1]

    def read(self, name: str) -> np.ndarray:
        """Return one array as float32."""
        reader, stored_name = self._sources[name]
        array = reader.read(stored_name)
        if array.dtype not in FLOATS:
            raise ValueError(
                f"{reader.path}: `{stored_name}` is stored as {array.dtype}; expected a "
                "floating-point type (quantized weights are not read)."
            )
        return np.asarray(array, np.float32)

    def __getitem__(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array."""
        reader, stored_name = self._sources[name]
        return reader.shapes[stored_name]

    def __iter__(self):
        """Iterate over the names."""
        return iter(self._sources)

    def __len__(self) -> int:
        """Return how many arrays there are."""
        return len(self._sources)

    def count(self) -> int:
        """Return the number of values in all arrays."""
        return sum(math.prod(self[name]) for name in self)


def read_json(path: pathlib.Path) -> dict:
    """Return the object in a JSON file; anything else raises and names the file."""
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {_first_line(error)}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object; got {type(value).__name__}.")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build an object of JSON; of a key given twice, readers keep one or the other."""
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"it has the key `{twice[:100]}` twice")
    return value


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
