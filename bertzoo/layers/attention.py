"""Scaled dot-product self-attention over token-major input (Vaswani et al. 2017, 3.2)."""

import math

import keras
from keras import ops

from bertzoo.layers.dense import Dense
from bertzoo.layers.real_rows import keep_real, spread_real

# B batch  T length  R rows = B*T  D hidden_dim  N heads  H head_dim

# Google's own constant: exp(-10000) is exactly 0 in float32, the number fits float16, and a row
# in which everything is masked stays finite (it attends evenly), unlike with -inf.
MASKED = -10000.0


@keras.saving.register_keras_serializable(package="bertzoo")
class AttentionMask(keras.layers.Layer):
    """A padding mask to what is added to the scores: 0 for real tokens, -10000 for padding.

    Call with int32 `[B, T]`; returns `[B, 1, 1, T]` in the compute dtype.
    """

    def call(self, padding_mask):
        """Return the additive mask."""
        # A float that is added, not `where`: TensorFlow fuses product, scale and sum then.
        masked = ops.cast(ops.equal(padding_mask, 0), self.compute_dtype) * MASKED
        return masked[:, None, None, :]  # (B, T) -> (B, 1, 1, T)

    def compute_output_spec(self, padding_mask):
        """Return the output's shape."""
        batch, length = padding_mask.shape
        return keras.KerasTensor((batch, 1, 1, length), dtype=self.compute_dtype)


@keras.saving.register_keras_serializable(package="bertzoo")
class PackedAttentionMask(keras.layers.Layer):
    """A mask that counts texts to what is added to the scores: each text sees itself alone.

    Call with int32 `[B, T]` (k for the k-th text of the row, 0 for padding); returns
    `[B, 1, T, T]` in the compute dtype.
    """

    def call(self, padding_mask):
        """Return the additive mask: 0 inside a text, -10000 elsewhere."""
        other = ops.not_equal(padding_mask[:, :, None], padding_mask[:, None, :])  # (B, T, T)
        other = ops.logical_or(other, ops.equal(padding_mask, 0)[:, None, :])
        return (ops.cast(other, self.compute_dtype) * MASKED)[:, None]

    def compute_output_spec(self, padding_mask):
        """Return the output's shape."""
        batch, length = padding_mask.shape
        return keras.KerasTensor((batch, 1, length, length), dtype=self.compute_dtype)


@keras.saving.register_keras_serializable(package="bertzoo")
class SelfAttention(keras.layers.Layer):
    """Multi-head self-attention with 2-D kernels.

    Args:
        hidden_dim: D.
        num_heads: N.
        head_dim: H; None for D / N.
        dropout: Rate on the probabilities.
        initializer: Of the kernels.

    Call with `hidden` `[B * T, D]` and an additive `mask` that broadcasts to `[B, N, T, T]`; with
    `real`, from `RealRows`, `hidden`, `output` and `context` have the rows of real tokens alone.
    Returns a dict: `output` `[B * T, D]`; `query`, `key`, `value` `[B, N, T, H]`;
    `attention_scores` (scaled and masked) and `attention_probabilities` `[B, N, T, T]`; and
    `context` `[B * T, N * H]`, what the heads give before they are joined.
    """

    def __init__(
        self, hidden_dim, num_heads, dropout=0.0, initializer="zeros", head_dim=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.head_dim = head_dim or hidden_dim // num_heads
        self.attention_dim = num_heads * self.head_dim

        def dense(units, name):
            return Dense(units, kernel_initializer=initializer, name=name, dtype=self.dtype_policy)

        self.query_dense = dense(self.attention_dim, "query")
        self.key_dense = dense(self.attention_dim, "key")
        self.value_dense = dense(self.attention_dim, "value")
        self.output_dense = dense(hidden_dim, "output")
        self.dropout = keras.layers.Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def build(self, *input_shapes, **named_shapes):
        """Build the four dense layers."""
        for layer in (self.query_dense, self.key_dense, self.value_dense):
            layer.build((None, self.hidden_dim))
        self.output_dense.build((None, self.attention_dim))

    def call(self, hidden, mask, real=None, training=None):
        """Attend; see the class."""
        length = ops.shape(mask)[-1]
        query = self._split(self.query_dense(hidden), length, real)
        key = self._split(self.key_dense(hidden), length, real)
        value = self._split(self.value_dense(hidden), length, real)
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))  # (B, N, T, T)
        scores = scores * (1.0 / math.sqrt(self.head_dim)) + mask
        probabilities = self._softmax(scores)
        context = ops.matmul(self.dropout(probabilities, training=training), value)
        context = ops.transpose(context, (0, 2, 1, 3))  # (B, N, T, H) -> (B, T, N, H)
        context = ops.reshape(context, (-1, self.attention_dim))  # -> (R, N * H)
        if real is not None:
            context = keep_real(context, real)
        return {
            "output": self.output_dense(context),
            "query": query,
            "key": key,
            "value": value,
            "attention_scores": scores,
            "attention_probabilities": probabilities,
            "context": context,
        }

    def _softmax(self, scores):
        if scores.shape[-1] == 1:
            return ops.ones_like(scores)  # of one token; Keras's softmax warns of it
        # In float32: bfloat16 has 8 bits of mantissa, too few for a sum of 512 exponentials.
        probabilities = ops.softmax(ops.cast(scores, "float32"), axis=-1)
        return ops.cast(probabilities, self.compute_dtype)

    def _split(self, projected, length, real):
        if real is not None:
            projected = spread_real(projected, real)
        heads = ops.reshape(projected, (-1, length, self.num_heads, self.head_dim))
        return ops.transpose(heads, (0, 2, 1, 3))  # (R, D) -> (B, T, N, H) -> (B, N, T, H)
