"""The weights of a preset that has none: drawn from a seed, the same on every machine."""

from __future__ import annotations

import collections.abc
import zlib

import numpy as np


class RandomReader:
    """Stands for a file: truncated normal kernels and tables, ones for gamma, zeros else.

    Args:
        shapes: Variable path -> shape.
        seed: Of the preset.
        stddev: Of the normal, cut at two standard deviations.
    """

    def __init__(
        self, shapes: collections.abc.Mapping[str, tuple[int, ...]], seed: int, stddev: float
    ):
        self.shapes = dict(shapes)
        self.path = f"seed {seed}"
        self._seed, self._stddev = seed, stddev

    def read(self, name: str) -> np.ndarray:
        """Return one array; it depends on the seed and its name alone."""
        shape = self.shapes[name]
        if name.endswith("/gamma"):
            return np.ones(shape, np.float32)
        if name.endswith(("/bias", "/beta")):
            return np.zeros(shape, np.float32)
        generator = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
        values = generator.standard_normal(shape)
        while (outside := np.abs(values) > 2.0).any():
            values[outside] = generator.standard_normal(int(outside.sum()))
        return (self._stddev * values).astype(np.float32)
