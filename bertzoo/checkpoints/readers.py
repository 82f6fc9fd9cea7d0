"""Files of named arrays, read one array at a time: safetensors, TF1 checkpoints, Keras HDF5.

Every reader has `shapes` (name -> shape, from the file's header) and `read(name)`; none runs
code from a file, follows a link out of it, or reads pickles.
"""

from __future__ import annotations

import collections.abc
import json
import math
import pathlib
import re
import typing

# numpy has no bfloat16; with ml_dtypes (which TensorFlow and Keras bring) safetensors reads it.
import ml_dtypes
import numpy as np

FLOATS = (np.float32, np.float16, np.float64, ml_dtypes.bfloat16)


class SafetensorsReader:
    """One `model.safetensors`, or the shards that an index names.

    Args:
        path: The safetensors file, or `*.safetensors.index.json`.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        files = [path] if path.suffix == ".safetensors" else _shards(path)
        self._handles: dict[str, typing.Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for file in files:
            handle = _open_safetensors(file)
            for name in handle.keys():  # noqa: SIM118 (a handle, not a dict)
                if name in self.shapes:
                    raise ValueError(f"{path}: the shards hold the tensor `{name}` twice.")
                self._handles[name] = handle
                self.shapes[name] = tuple(handle.get_slice(name).get_shape())

    def read(self, name: str) -> np.ndarray:
        """Return one tensor as stored."""
        return self._handles[name].get_tensor(name)


def _open_safetensors(path: pathlib.Path):
    import safetensors

    try:
        return safetensors.safe_open(path, framework="np")
    except FileNotFoundError as error:
        raise ValueError(f"{path} is named by the index but is not there.") from error
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}); copy or download it again."
        ) from error


def _shards(index: pathlib.Path) -> list[pathlib.Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{index} must hold a `weight_map` of tensor names to files.")
    files = sorted(set(weight_map.values()))
    for file in files:
        # A shard lies beside its index; anything else would read files elsewhere.
        if not isinstance(file, str) or pathlib.Path(file).name != file:
            raise ValueError(f"{index} names the shard {file!r}; expected a file beside it.")
    return [index.parent / file for file in files]


class Tf1Reader:
    """A TensorFlow checkpoint by its prefix, such as `bert_model.ckpt`.

    Args:
        prefix: Path without `.index`.
    """

    def __init__(self, prefix: pathlib.Path):
        import tensorflow as tf

        self.path = prefix
        try:
            self._reader = tf.train.load_checkpoint(str(prefix))
        except (tf.errors.OpError, ValueError) as error:
            raise ValueError(
                f"{prefix} is not a whole TensorFlow checkpoint ({_first_line(error)}); "
                "expected files ending in .index and .data-00000-of-00001."
            ) from error
        self.shapes = {
            name: tuple(shape) for name, shape in self._reader.get_variable_to_shape_map().items()
        }

    def read(self, name: str) -> np.ndarray:
        """Return one variable."""
        return self._reader.get_tensor(name)


class KerasH5Reader:
    """A Keras `.weights.h5` file; links out of the file or within it are not followed.

    Args:
        path: The HDF5 file.
    """

    def __init__(self, path: pathlib.Path):
        import h5py

        self.path = path
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise ValueError(f"{path} is not a whole HDF5 file ({_first_line(error)}).") from error
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._collect(self._file, "")

    def _collect(self, group, prefix: str) -> None:
        import h5py

        for key in group:
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise ValueError(
                    f"{self.path}: `{prefix}{key}` is a link; bertzoo reads only files that hold "
                    "their arrays themselves."
                )
            item = group[key]
            if isinstance(item, h5py.Group):
                self._collect(item, f"{prefix}{key}/")
            elif item.external:
                raise ValueError(f"{self.path}: `{prefix}{key}` keeps its data in another file.")
            else:
                # Keras versions before 3.1 named the same folder otherwise.
                name = re.sub(r"^_layer_checkpoint_dependencies/", "layers/", prefix + key)
                self.shapes[name] = tuple(item.shape)

    def read(self, name: str) -> np.ndarray:
        """Return one array."""
        if name not in self._file:
            name = re.sub(r"^layers/", "_layer_checkpoint_dependencies/", name)
        return self._file[name][()]


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
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {_first_line(error)}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object; got {type(value).__name__}.")
    return value


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
