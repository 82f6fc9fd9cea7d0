"""From token vectors to one vector a text (Reimers & Gurevych 2019, section 3)."""

import keras
from keras import ops

from bertzoo.layers.activations import activation_function
from bertzoo.layers.dense import Dense

# B batch  T length  D hidden_dim


@keras.saving.register_keras_serializable(package="bertzoo")
class FirstToken(keras.layers.Layer):
    """The vector of the first token: `[B, T, D]` -> `[B, D]`."""

    def call(self, sequence_output):
        """Return the first token's vector."""
        return sequence_output[:, 0]


@keras.saving.register_keras_serializable(package="bertzoo")
class FirstTokens(keras.layers.Layer):
    """The vectors of the first token of each text of packed rows.

    Args:
        num_texts: K, how many texts of a row are looked for; where there is no k-th text, the
            vector is that of the row's first token.

    Call with `[B, T, D]` and the mask that counts texts `[B, T]`; returns `[B, K, D]`.
    """

    def __init__(self, num_texts, **kwargs):
        super().__init__(**kwargs)
        self.num_texts = num_texts

    def call(self, sequence_output, padding_mask):
        """Return the first tokens' vectors."""
        numbers = ops.arange(1, self.num_texts + 1, dtype="int32")
        is_text = ops.equal(padding_mask[:, None, :], numbers[None, :, None])  # (B, K, T)
        starts = ops.argmax(ops.cast(is_text, "int32"), axis=-1)  # the first place of each
        return ops.take_along_axis(sequence_output, starts[:, :, None], axis=1)

    def compute_output_spec(self, sequence_output, padding_mask):
        """Return the output's shape."""
        batch, _, width = sequence_output.shape
        return keras.KerasTensor((batch, self.num_texts, width), dtype=sequence_output.dtype)

    def get_config(self):
        """Return what builds the layer again."""
        return {**super().get_config(), "num_texts": self.num_texts}


@keras.saving.register_keras_serializable(package="bertzoo")
class EmbedderHead(keras.layers.Layer):
    """Pool, project and normalise, as sentence-transformers does.

    Args:
        pooling: Any of `cls`, `max`, `mean`, `mean_sqrt`; several are concatenated in that order.
        normalize: Whether vectors get length 1.
        projections: (width, activation or None, has bias) of each dense layer in between.
        initializer: Of the kernels.

    Call with `sequence_output` `[B, T, D]` and `padding_mask` `[B, T]`; returns float32
    `[B, width]`. A text without a token gives zeros.
    """

    def __init__(
        self, pooling=("mean",), normalize=False, projections=(), initializer="zeros", **kwargs
    ):
        super().__init__(**kwargs)
        self.pooling = tuple(pooling)
        self.normalize = normalize
        self.projections = tuple(projections)
        self.initializer = initializer

    def build(self, sequence_output_shape, padding_mask_shape=None):
        """Build the projections."""
        width = sequence_output_shape[-1] * len(self.pooling)
        self.dense_layers = []
        for index, (units, activation, use_bias) in enumerate(self.projections):
            dense = Dense(
                units,
                activation and activation_function(activation),
                use_bias=use_bias,
                kernel_initializer=self.initializer,
                name=f"projection_{index}",
                dtype=self.dtype_policy,
            )
            dense.build((None, width))
            self.dense_layers.append(dense)
            width = units

    def call(self, sequence_output, padding_mask):
        """Return one vector a text."""
        hidden = ops.cast(sequence_output, "float32")
        real = ops.cast(ops.not_equal(padding_mask, 0), "float32")[..., None]  # (B, T, 1)
        pooled = [_POOL[mode](hidden, real) for mode in self.pooling]
        vectors = pooled[0] if len(pooled) == 1 else ops.concatenate(pooled, axis=-1)
        for dense in self.dense_layers:
            vectors = ops.cast(dense(vectors), "float32")
        if self.normalize:
            # torch.nn.functional.normalize: the norm is at least 1e-12.
            norm = ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True))
            vectors = vectors / ops.maximum(norm, 1.0e-12)
        return vectors


def _mean(hidden, real):
    return ops.sum(hidden * real, axis=1) / ops.maximum(ops.sum(real, axis=1), 1.0e-9)


def _mean_sqrt(hidden, real):
    return ops.sum(hidden * real, axis=1) / ops.sqrt(ops.maximum(ops.sum(real, axis=1), 1.0e-9))


def _max(hidden, real):
    # -1e9 for padding, as sentence-transformers; times `any` so that no token gives zeros.
    largest = ops.max(hidden * real - 1.0e9 * (1.0 - real), axis=1)
    return largest * ops.max(real, axis=1)


_POOL = {
    "cls": lambda hidden, real: hidden[:, 0],
    "max": _max,
    "mean": _mean,
    "mean_sqrt": _mean_sqrt,
}
