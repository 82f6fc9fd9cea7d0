"""PyTorch's `pytorch_model.bin` and `model.pt`, read without PyTorch."""

from __future__ import annotations

import collections.abc
import pathlib
import typing

import numpy as np

from bertzoo.checkpoints.torch_layouts import open_layout
from bertzoo.checkpoints.torch_tensors import GLOBALS, Tensor


class TorchReader:
    """The tensors of one file.

    Args:
        path: A file that `torch.save` wrote.
        entry: Of a training checkpoint, the key under which its tensors are; None for a file
            that is a dict of tensors.
        allowed: Further globals, "module.name" -> what stands for them.

    Attributes:
        content: The whole object, with `Tensor` for tensors.
    """

    def __init__(
        self,
        path: pathlib.Path,
        entry: str | None = None,
        allowed: collections.abc.Mapping[str, typing.Any] | None = None,
    ):
        self.path = path
        try:
            self._file = open_layout(path, {**GLOBALS, **(allowed or {})})
        except (ValueError, OSError) as error:
            text = str(error).rstrip(".")
            raise ValueError(f"{path} is not a file of PyTorch weights: {text}.") from error
        self.content = self._file.content
        tensors = self.content
        if entry is not None:
            tensors = tensors.get(entry) if isinstance(tensors, dict) else None
        if not isinstance(tensors, dict) or not tensors:
            raise ValueError(f"{path} holds no dict of tensors{f' `{entry}`' if entry else ''}.")
        for name, tensor in tensors.items():
            if not isinstance(name, str) or not isinstance(tensor, Tensor):
                raise ValueError(
                    f"{path} holds {str(name)[:100]!r}: {type(tensor).__name__}; expected names "
                    "and tensors, as `torch.save(model.state_dict(), ...)` writes them."
                )
        self._tensors = tensors
        self.shapes = {name: tensor.shape for name, tensor in tensors.items()}

    def read(self, name: str) -> np.ndarray:
        """Return one tensor as stored."""
        tensor = self._tensors[name]
        dtype = tensor.storage.dtype
        data = self._file.read(tensor)
        if len(data) != tensor.span * dtype.itemsize:
            raise ValueError(f"{self.path} ends within `{name}`.")
        window = np.frombuffer(data, dtype)
        steps = [stride * dtype.itemsize for stride in tensor.strides]
        if not window.size:
            return np.zeros(tensor.shape, dtype)
        return np.lib.stride_tricks.as_strided(window, tensor.shape, steps, writeable=False)
