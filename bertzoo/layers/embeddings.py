"""Token, position and segment embeddings, summed and normalised (Devlin et al. 2018, 3.2)."""

import keras
from keras import ops

from bertzoo.layers.dense import Dense
from bertzoo.layers.real_rows import keep_real
from bertzoo.layers.table import Table

# B batch  T length  R rows = B*T  E table_dim  D hidden_dim


@keras.saving.register_keras_serializable(package="bertzoo")
class Embeddings(keras.layers.Layer):
    """Ids to the encoder's first hidden state, token-major.

    Args:
        vocabulary_size: Rows of the token table.
        max_sequence_length: Longest input.
        table_dim: Width of the tables, E.
        projection_dim: Width after a dense projection (ALBERT, ELECTRA-small), or None.
        num_segments: Rows of the segment table; 0 for none.
        position_offset: Row of the position table before that of the first real token.
        dropout: Rate after the layer norm.
        layer_norm_epsilon: Added to the variance.
        initializer: Of tables and kernel.

    Call with `token_ids`, `padding_mask` and, where there are segments, `segment_ids`: int32
    `[B, T]`; returns `[B * T, D]`. With `packed` the mask counts texts, and positions begin anew
    in each. With `real`, from `RealRows`, the result has the rows of real tokens alone.
    """

    def __init__(
        self,
        vocabulary_size,
        max_sequence_length,
        table_dim,
        projection_dim=None,
        num_segments=2,
        position_offset=0,
        dropout=0.0,
        layer_norm_epsilon=1.0e-12,
        initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.position_offset = position_offset
        self.table_dim = table_dim
        stream = {"dtype": self.variable_dtype}  # see `EncoderLayer`
        num_positions = max_sequence_length + position_offset
        self.token = Table(vocabulary_size, table_dim, initializer, name="token", **stream)
        self.position = Table(num_positions, table_dim, initializer, name="position", **stream)
        self.segment = None
        if num_segments:
            self.segment = Table(num_segments, table_dim, initializer, name="segment", **stream)
        self.norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, name="norm", **stream
        )
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **stream)
        self.projection = None
        if projection_dim is not None:
            self.projection = Dense(
                projection_dim,
                kernel_initializer=initializer,
                name="projection",
                dtype=self.dtype_policy,
            )

    def build(self, *input_shapes, **named_shapes):
        """Build the parts, so that their variables stand under this layer's path."""
        for table in (self.token, self.position, self.segment):
            if table is not None:
                table.build()
        self.norm.build((None, self.table_dim))
        if self.projection is not None:
            self.projection.build((None, self.table_dim))

    def call(
        self, token_ids, padding_mask, segment_ids=None, real=None, packed=False, training=None
    ):
        """Return the first hidden state, `[B * T, D]`."""
        hidden = self.token(token_ids)  # (B, T, E)
        if self.segment is not None:
            hidden = hidden + self.segment(segment_ids)
        if packed:
            hidden = hidden + self._packed_positions(padding_mask)
        else:
            hidden = hidden + self._positions(token_ids, padding_mask)
        hidden = ops.reshape(hidden, (-1, self.table_dim))  # (B, T, E) -> (R, E)
        if real is not None:
            hidden = keep_real(hidden, real)
        hidden = self.dropout(self.norm(hidden), training=training)
        return hidden if self.projection is None else self.projection(hidden)

    def compute_output_spec(
        self, token_ids, padding_mask, segment_ids=None, real=None, packed=False, training=None
    ):
        """Return the output's shape, without running the layer on made-up sizes."""
        if self.projection is None:
            return keras.KerasTensor((None, self.table_dim), dtype=self.variable_dtype)
        return keras.KerasTensor((None, self.projection.units), dtype=self.compute_dtype)

    def _positions(self, token_ids, padding_mask):
        if not self.position_offset:
            # The first T rows: (T, E), the same for every text of the batch.
            table = ops.cast(self.position.embeddings, self.variable_dtype)
            return table[: ops.shape(token_ids)[1]]
        # RoBERTa counts real tokens only: padding stays at the row before the first one
        # (fairseq `make_positions`; Hugging Face `create_position_ids_from_input_ids`).
        real = ops.cast(ops.not_equal(padding_mask, 0), "int32")
        return self.position(ops.cumsum(real, axis=1) * real + (self.position_offset - 1))

    def _packed_positions(self, padding_mask):
        # A token's place in its text: how many tokens before it are of the same text.
        places = ops.arange(ops.shape(padding_mask)[1])
        before = places[None, :] < places[:, None]  # (T, T)
        same = ops.equal(padding_mask[:, :, None], padding_mask[:, None, :])  # (B, T, T)
        place = ops.sum(ops.cast(ops.logical_and(same, before), "int32"), axis=-1)
        real = ops.cast(ops.not_equal(padding_mask, 0), "int32")
        padding_row = max(self.position_offset - 1, 0)  # RoBERTa's, and any row elsewhere
        rows = (place + self.position_offset) * real + padding_row * (1 - real)
        return self.position(rows)
