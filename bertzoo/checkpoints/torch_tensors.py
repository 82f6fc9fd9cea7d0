"""What PyTorch's pickles may name: tensors, which are windows of storages, and little else.

A tensor is checked when it is described, before any array is made.
"""

from __future__ import annotations

import dataclasses
import typing

import ml_dtypes
import numpy as np

from bertzoo.checkpoints.inert_pickle import Callable, Dict, RecordClass

STORAGES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Storage:
    """One array of a file, as the pickle describes it."""

    dtype: np.dtype
    key: str
    numel: int


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A window of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self):
        """Refuse a window that leaves its storage or shows an element twice."""
        for numbers in ((self.offset,), self.shape, self.strides):
            if not isinstance(numbers, tuple) or any(type(n) is not int for n in numbers):
                raise ValueError("a tensor has sizes that are not whole numbers")
            if any(not 0 <= n < 2**63 for n in numbers):
                raise ValueError(f"a tensor has the offset, sizes or strides {numbers}")
        if len(self.shape) != len(self.strides) or len(self.shape) > 8:
            raise ValueError(
                f"a tensor has {len(self.shape)} sizes and {len(self.strides)} strides"
            )
        if self.offset + self.span > self.storage.numel:
            raise ValueError(
                f"a tensor of shape {self.shape} at {self.offset} leaves its storage of "
                f"{self.storage.numel} elements"
            )
        # Repeated elements (stride 0) would make an array larger than the file.
        inner = 1
        for stride, size in sorted(zip(self.strides, self.shape, strict=True)):
            if size > 1 and stride < inner:
                raise ValueError(f"a tensor of shape {self.shape} shows elements more than once")
            if size > 1:
                inner = stride * size

    @property
    def span(self) -> int:
        """How many elements of the storage lie between its first and its last."""
        if 0 in self.shape:
            return 0
        return 1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))


def _rebuild_tensor(storage, offset, shape, strides, *_):
    """`torch._utils._rebuild_tensor_v2`, also with requires_grad, hooks and metadata."""
    if not isinstance(storage, Storage):
        raise ValueError("a tensor has no storage")
    return Tensor(storage, offset, shape, strides)


def _rebuild_parameter(data, *_):
    if not isinstance(data, Tensor):
        raise ValueError("a parameter has no tensor")
    return data


def _ordered_dict(*arguments):
    if arguments:
        raise ValueError("an OrderedDict is made from arguments")
    return Dict()


def _size(*arguments):
    return arguments[0] if arguments else ()


GLOBALS: dict[str, typing.Any] = {
    "collections.OrderedDict": Callable("OrderedDict", _ordered_dict),
    "torch._utils._rebuild_tensor": Callable("_rebuild_tensor", _rebuild_tensor),
    "torch._utils._rebuild_tensor_v2": Callable("_rebuild_tensor_v2", _rebuild_tensor),
    "torch._utils._rebuild_parameter": Callable("_rebuild_parameter", _rebuild_parameter),
    "torch.Size": Callable("Size", _size),
    **{f"torch.{name}": dtype for name, dtype in STORAGES.items()},
    **{f"torch.{name}": name for name in ("float32", "float64", "float16", "bfloat16", "int64")},
}
# The class of the arguments of a training script: inert, its fields can be read.
NAMESPACE = {"argparse.Namespace": RecordClass("argparse.Namespace")}
