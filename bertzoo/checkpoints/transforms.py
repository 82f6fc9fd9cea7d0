"""How one tensor changes between a foreign checkpoint and ours: each transform goes both ways.

Shape legend: D hidden_dim, N heads, H head_dim = D / N.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bertzoo.config import BackboneConfig


@dataclasses.dataclass(frozen=True)
class Identity:
    """Keep the tensor as it is."""

    def load(self, array: np.ndarray, config: BackboneConfig) -> np.ndarray:
        """Return our array from theirs."""
        return array

    def save(self, array: np.ndarray, config: BackboneConfig) -> np.ndarray:
        """Return their array from ours."""
        return array

    def their_shape(self, shape: tuple[int, ...], config: BackboneConfig) -> tuple[int, ...]:
        """Return the shape of their tensor, given the shape of our variable."""
        return tuple(shape)


@dataclasses.dataclass(frozen=True)
class Transpose(Identity):
    """Swap the two axes: a PyTorch `Linear` stores [out, in], our kernels are [in, out].

    >>> TRANSPOSE.load(np.array([[1, 2, 3]]), BackboneConfig()).shape
    (3, 1)
    """

    def load(self, array: np.ndarray, config: BackboneConfig) -> np.ndarray:
        """Return [in, out] from [out, in]."""
        return array.T

    save = load

    def their_shape(self, shape: tuple[int, ...], config: BackboneConfig) -> tuple[int, ...]:
        """Return the shape with its axes swapped."""
        return tuple(reversed(shape))


@dataclasses.dataclass(frozen=True)
class JoinHeads(Identity):
    """Join the axes [.., N, H, ..] that Keras's `MultiHeadAttention` keeps apart.

    Args:
        axis: Where the two axes begin in their tensor: 1 for a query kernel (D, N, H), 0 for a
            query bias (N, H) and for an output kernel (N, H, D).
    """

    axis: int = 0

    def load(self, array: np.ndarray, config: BackboneConfig) -> np.ndarray:
        """Return the array with heads and head_dim in one axis."""
        before, after = array.shape[: self.axis], array.shape[self.axis + 2 :]
        return array.reshape(*before, -1, *after)

    def save(self, array: np.ndarray, config: BackboneConfig) -> np.ndarray:
        """Return the array with that axis split in two."""
        return array.reshape(self.their_shape(array.shape, config))

    def their_shape(self, shape: tuple[int, ...], config: BackboneConfig) -> tuple[int, ...]:
        """Return the shape with (N, H) in place of D."""
        heads = (config.num_heads, shape[self.axis] // config.num_heads)
        return (*shape[: self.axis], *heads, *shape[self.axis + 1 :])


IDENTITY = Identity()
TRANSPOSE = Transpose()
JOIN_HEADS_LAST = JoinHeads(axis=1)  # (D, N, H) <-> (D, D)
JOIN_HEADS_FIRST = JoinHeads(axis=0)  # (N, H) <-> (D,) and (N, H, D) <-> (D, D)
