"""Quantize a model and say what it cost: how much smaller it is and how far its outputs drift."""

import math
import typing

import ml_dtypes  # noqa: F401 (teaches NumPy the name bfloat16)
import numpy as np

from bertzoo.models.loading import weights_of


class QuantizationReport(typing.NamedTuple):
    """What quantization did.

    Args:
        bytes_before: Size of all weights of the model.
        bytes_after: The same afterwards.
        max_difference: Largest absolute difference of two outputs.
        mean_difference: Mean of the absolute differences.
        mean_cosine: Mean, over the rows of the batch, of the cosine between the two outputs.
        min_cosine: The lowest of these cosines.
    """

    bytes_before: int
    bytes_after: int
    max_difference: float
    mean_difference: float
    mean_cosine: float
    min_cosine: float


def quantize(model, compare_on, mode="int8"):
    """Quantize a model in place and report the drift of its outputs on given inputs.

    For size only: on a CPU TensorFlow multiplies int8 matrices several times slower than float32
    ones. See the method `quantize` of tasks and backbones for what is stored how.

    Args:
        model: A task, or a `Backbone`.
        compare_on: What to run before and after: texts or a dict of ids for a task, a dict of
            ids for a backbone. Texts like those that the model will see tell most.
        mode: `int8`.

    Returns:
        A `QuantizationReport`.

    Raises:
        ValueError: If the model is quantized already or has a LoRA adapter that is not merged.

    Example:
    >>> embedder = bertzoo.TextEmbedder.from_preset("bert_toy")
    >>> report = quantize(embedder, ["a cat", "a dog", "the capital of france"])
    >>> report.bytes_after < report.bytes_before, report.min_cosine > 0.99
    (True, True)
    """
    size, before = size_in_bytes(model), _outputs(model, compare_on)
    model.quantize(mode)
    return QuantizationReport(
        size, size_in_bytes(model), *drift(before, _outputs(model, compare_on))
    )


def size_in_bytes(model):
    """Return the bytes that the weights of a model take."""
    return sum(
        math.prod(weight.shape) * np.dtype(weight.dtype).itemsize
        for weight in weights_of(model).values()
    )


def drift(before, after):
    """Return the last four fields of a `QuantizationReport`.

    Args:
        before: Output of a model, an array or a dict of arrays with the batch first.
        after: The same after the change.

    >>> drift(np.array([[1.0, 0.0]]), np.array([[1.0, 0.5]]))[:2]
    (0.5, 0.25)
    """
    one, other = _rows(before), _rows(after)
    differences = np.abs(one - other)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines = (one * other).sum(axis=1) / np.maximum(norms, 1.0e-12)
    return tuple(map(float, (differences.max(), differences.mean(), cosines.mean(), cosines.min())))


def _outputs(model, inputs):
    return model.predict(inputs, verbose=0)


def _rows(outputs):
    """Return all outputs of one text as one row, `[B, ...]` -> float64 `[B, everything]`."""
    arrays = list(outputs.values()) if isinstance(outputs, dict) else [outputs]
    rows = [np.asarray(array, np.float64).reshape(len(array), -1) for array in arrays]
    return np.concatenate(rows, axis=1)
