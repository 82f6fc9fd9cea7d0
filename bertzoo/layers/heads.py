"""What turns hidden states into logits: one layer per kind of head."""

import keras
from keras import ops

from bertzoo.layers.activations import activation_function
from bertzoo.layers.dense import Dense
from bertzoo.layers.table import Table

# B batch  T length  P predictions  D hidden_dim  E table_dim  V vocabulary  C classes


@keras.saving.register_keras_serializable(package="bertzoo")
class MaskedLMHead(keras.layers.Layer):
    """Dense, activation, layer norm, decoder (Devlin et al. 2018, 3.1; google-research/bert).

    Args:
        token_table: The backbone's `Table` of tokens, `[V, E]`.
        hidden_dim: D.
        activation: Of the dense layer.
        layer_norm_epsilon: Added to the variance.
        tie_embeddings: Whether `token_table` decodes too; else the head has a table of its own.
        initializer: Of kernel and table.

    Call with `sequence_output` `[B, T, D]` and `mask_positions` `[B, P]`; only those positions
    are projected. Returns float32 `[B, P, V]`.
    """

    def __init__(
        self,
        token_table,
        hidden_dim,
        activation="gelu",
        layer_norm_epsilon=1.0e-12,
        tie_embeddings=True,
        initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.token_table = token_table
        self.num_words, self.table_dim = token_table.num_rows, token_table.width
        policy = {"dtype": self.dtype_policy}
        self.dense = Dense(
            self.table_dim,
            activation=activation_function(activation),
            kernel_initializer=initializer,
            name="dense",
            **policy,
        )
        self.norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, name="norm", dtype=self.variable_dtype
        )
        self.tie_embeddings = tie_embeddings
        self.initializer = initializer

    def build(self, *input_shapes, **named_shapes):
        """Build the dense layer, the norm and the decoder's own variables."""
        self.dense.build((None, self.hidden_dim))
        self.norm.build((None, self.table_dim))
        self.bias = self.add_weight(shape=(self.num_words,), initializer="zeros", name="bias")
        self.decoder = self.token_table
        if not self.tie_embeddings:
            self.decoder = Table(
                self.num_words,
                self.table_dim,
                self.initializer,
                name="decoder",
                dtype=self.dtype_policy,
            )
            self.decoder.build()

    def call(self, sequence_output, mask_positions):
        """Return the logits of the words at `mask_positions`."""
        hidden = gather_positions(sequence_output, mask_positions)  # (B * P, D)
        hidden = ops.cast(self.norm(self.dense(hidden)), self.compute_dtype)  # (B * P, E)
        decoder = ops.cast(self.decoder.embeddings, self.compute_dtype)
        logits = ops.matmul(hidden, ops.transpose(decoder)) + self.bias  # (B * P, V)
        logits = ops.reshape(logits, (-1, ops.shape(mask_positions)[1], self.num_words))
        return ops.cast(logits, "float32")

    def compute_output_spec(self, sequence_output, mask_positions):
        """Return the logits' shape."""
        return keras.KerasTensor((*mask_positions.shape, self.num_words), dtype="float32")


@keras.saving.register_keras_serializable(package="bertzoo")
class ClassifierHead(keras.layers.Layer):
    """Dropout, an optional hidden layer, and a dense layer of C logits over the last axis.

    Args:
        num_outputs: C.
        hidden_activation: Of a hidden dense layer of the input's width; None for no such layer.
        dropout: Rate before each dense layer.
        initializer: Of the kernels.

    Call with `[..., D]`; returns float32 `[..., C]`.
    """

    def __init__(
        self, num_outputs, hidden_activation=None, dropout=0.0, initializer="zeros", **kwargs
    ):
        super().__init__(**kwargs)
        self.num_outputs = num_outputs
        self.hidden_activation = hidden_activation
        self.initializer = initializer
        self.dropout = keras.layers.Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def build(self, input_shape):
        """Build the dense layers for inputs of width D."""
        width = input_shape[-1]
        policy = {"kernel_initializer": self.initializer, "dtype": self.dtype_policy}
        self.hidden = None
        if self.hidden_activation is not None:
            activation = activation_function(self.hidden_activation)
            self.hidden = Dense(width, activation, name="hidden", **policy)
            self.hidden.build((None, width))
        self.logits = Dense(self.num_outputs, name="logits", **policy)
        self.logits.build((None, width))

    def call(self, features, training=None):
        """Return the logits."""
        shape = ops.shape(features)
        features = ops.reshape(features, (-1, features.shape[-1]))  # 2-D: TensorFlow fuses it
        if self.hidden is not None:
            features = self.hidden(self.dropout(features, training=training))
        logits = self.logits(self.dropout(features, training=training))
        logits = ops.reshape(logits, (*shape[:-1], self.num_outputs))
        return ops.cast(logits, "float32")

    def compute_output_spec(self, features, training=None):
        """Return the logits' shape."""
        return keras.KerasTensor((*features.shape[:-1], self.num_outputs), dtype="float32")


def gather_positions(sequence_output, positions):
    """Return the vectors at `positions`: `[B, T, D]`, int32 `[B, P]` -> `[B * P, D]`.

    A position outside its text, as some pad with -1, reads the nearest one inside: the rows lie
    end to end, and the next text's tokens must not be reached.
    """
    batch, length = ops.shape(sequence_output)[0], ops.shape(sequence_output)[1]
    positions = ops.clip(positions, 0, length - 1)
    rows = positions + ops.arange(batch, dtype="int32")[:, None] * length  # (B, P)
    flat = ops.reshape(sequence_output, (-1, sequence_output.shape[-1]))  # (R, D)
    return ops.take(flat, ops.reshape(rows, (-1,)), axis=0)
