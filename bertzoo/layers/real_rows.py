"""Rows of real tokens without those of padding, for all that works on one token at a time.

Dense layers, norms and activations know nothing of a text's length: they take real tokens alone,
and only attention needs `[batch, length]` (Zhai et al. 2022, ByteTransformer; NVIDIA's
FasterTransformer). In a shuffled batch of 32 sentences, half of all rows are padding.
"""

import keras
from keras import ops

# B batch  T length  P padded rows = B*T  R real rows  W width of a row


@keras.saving.register_keras_serializable(package="bertzoo")
class RealRows(keras.layers.Layer):
    """Where the real tokens stand.

    The first token of a text counts as real whatever the mask says: poolers read it.

    Call with a mask, int32 `[B, T]`. Returns a dict: `rows`, int32 `[R]`, which of the padded rows
    are real; `places`, int32 `[P]`, which of the real rows stands in a padded one (for padding, the
    last real one before it); and `is_real`, `[P, 1]`, 1 or 0 in the compute dtype.

    >>> found = RealRows()(np.array([[1, 1, 0], [1, 0, 0]]))
    >>> found["rows"].numpy().tolist(), found["places"].numpy().tolist()
    ([0, 1, 3], [0, 1, 1, 2, 2, 2])
    """

    def call(self, padding_mask):
        """Return the places of real tokens."""
        first = ops.arange(ops.shape(padding_mask)[1]) == 0  # (T,)
        real = ops.logical_or(ops.not_equal(padding_mask, 0), first)
        real = ops.reshape(real, (-1,))  # (B, T) -> (P,)
        return {
            "rows": ops.nonzero(real)[0],
            "places": ops.cumsum(ops.cast(real, "int32")) - 1,
            "is_real": ops.cast(real, self.compute_dtype)[:, None],
        }

    def compute_output_spec(self, padding_mask):
        """Return the outputs' shapes: how many are real is known when it runs."""
        return {
            "rows": keras.KerasTensor((None,), dtype="int32"),
            "places": keras.KerasTensor((None,), dtype="int32"),
            "is_real": keras.KerasTensor((None, 1), dtype=self.compute_dtype),
        }


@keras.saving.register_keras_serializable(package="bertzoo")
class PadRows(keras.layers.Layer):
    """Rows of real tokens with zeros for padding: `[R, W]`, what `RealRows` gives -> `[P, W]`."""

    def call(self, kept, real):
        """Return all rows."""
        return spread_real(kept, real) * ops.cast(real["is_real"], kept.dtype)

    def compute_output_spec(self, kept, real):
        """Return the output's shape."""
        return keras.KerasTensor(kept.shape, dtype=kept.dtype)


def keep_real(padded, real):
    """Return the real rows: `[P, W]` -> `[R, W]`.

    Args:
        padded: Rows with padding.
        real: From `RealRows`.
    """

    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream
        is_real = ops.cast(real["is_real"], upstream.dtype)
        return ops.take(upstream, real["places"], axis=0) * is_real

    # The gradient of `take` adds up rows one by one; here each row has one source.
    return _with_gradient(lambda rows: ops.take(rows, real["rows"], axis=0), gradient)(padded)


def spread_real(kept, real):
    """Return rows for every place of `[B, T]`: `[R, W]` -> `[P, W]`.

    Padding gets a copy of a real row, which attention must mask. What it does there has no
    gradient.

    Args:
        kept: Rows of real tokens.
        real: From `RealRows`.
    """

    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream
        return ops.take(upstream, real["rows"], axis=0)

    return _with_gradient(lambda rows: ops.take(rows, real["places"], axis=0), gradient)(kept)


def _with_gradient(forward, gradient):
    @ops.custom_gradient
    def function(rows):
        return forward(rows), gradient

    return function
