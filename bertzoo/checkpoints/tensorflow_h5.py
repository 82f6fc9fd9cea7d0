"""`tf_model.h5`, which transformers' TensorFlow classes wrote until version 5.

Presents its arrays under the names and in the shapes of the PyTorch classes, so that the tables
of Hugging Face's formats serve for both. The rules are those by which transformers 4 converted
between the two (modeling_tf_pytorch_utils.py).
"""

from __future__ import annotations

import pathlib
import re

import numpy as np

from bertzoo.checkpoints.readers import KerasH5Reader

LAST = {"kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias"}


class TensorFlowH5Reader:
    """The weights of one `tf_model.h5`.

    Keras repeats a layer that two others share, such as the token table of a language model, once
    for each; copies must be equal.

    Args:
        path: The HDF5 file.

    Raises:
        ValueError: A file that cannot be read safely, or copies that differ.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._file = KerasH5Reader(path)
        self._stored: dict[str, str] = {}
        for stored in self._file.shapes:
            name = torch_name(stored)
            if name not in self._stored:
                self._stored[name] = stored
            elif not self._equal(self._stored[name], stored):
                raise ValueError(
                    f"{path}: `{self._stored[name]}` and `{stored}` both stand for `{name}` and "
                    "differ."
                )
        self.shapes = {
            name: self._file.shapes[stored][:: -1 if _is_kernel(stored) else 1]
            for name, stored in self._stored.items()
        }

    def read(self, name: str) -> np.ndarray:
        """Return one array as PyTorch stores it: kernels are [out, in]."""
        stored = self._stored[name]
        array = self._file.read(stored)
        return array.T if _is_kernel(stored) else array

    def _equal(self, one: str, other: str) -> bool:
        return self._file.shapes[one] == self._file.shapes[other] and np.array_equal(
            self._file.read(one), self._file.read(other)
        )


def torch_name(stored: str) -> str:
    """Return the PyTorch name of an array in a `tf_model.h5`.

    >>> torch_name("bert/tf_bert_model/bert/encoder/layer_._0/attention/self/query/kernel:0")
    'bert.encoder.layer.0.attention.self.query.weight'
    >>> torch_name("nsp___cls/tf_bert_for_pre_training/nsp___cls/seq_relationship/bias:0")
    'cls.seq_relationship.bias'
    """
    name = stored.partition("/")[2]  # the layer in whose folder Keras puts it
    name = name.removesuffix(":0")
    name = re.sub(r"/[^/]*___([^/]*)/", r"/\1/", name)
    name = re.sub(r"//+", "/", name.replace("_._", "/"))
    parts = name.split("/")[1:]  # without the model, as tf_bert_for_pre_training
    if not parts:
        return stored
    return ".".join([*parts[:-1], LAST.get(parts[-1], parts[-1])])


def _is_kernel(stored: str) -> bool:
    return stored.removesuffix(":0").endswith("/kernel")
