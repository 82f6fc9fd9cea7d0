"""A bidirectional LSTM on token ids: the small student of DocBERT (Adhikari et al. 2019).

As castorini/hedwig's LSTM_reg: one layer, ReLU, the maximum over time, dropout, one dense layer.
Words are the teacher's pieces with a table of their own, and not word2vec, so that one tokenizer in
the graph serves both.
"""

import keras
from keras import ops

# B batch  T length  E embedding_dim  H hidden_dim  C classes


@keras.saving.register_keras_serializable(package="bertzoo")
class MaxOverTime(keras.layers.Layer):
    """ReLU, then the largest value of each unit over the real tokens: `[B, T, 2H]` -> `[B, 2H]`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True  # it has `padding_mask`, and no need of Keras's own

    def compute_mask(self, *inputs, **options):
        """Return None: time is gone."""
        return None

    def call(self, states, padding_mask):
        """Return the maxima; a text without a token gives zeros."""
        real = ops.cast(ops.not_equal(padding_mask, 0), states.dtype)
        return ops.max(ops.relu(states) * real[:, :, None], axis=1)


def build_bilstm(
    vocabulary_size,
    num_outputs,
    embedding_dim=300,
    hidden_dim=512,
    dropout=0.5,
    embedding_dropout=0.2,
    name="bilstm",
):
    """Return a `keras.Model` from a dict of ids to a dict of float32 `logits` `[B, C]`.

    Args:
        vocabulary_size: Rows of the token table.
        num_outputs: C.
        embedding_dim: E; hedwig's 300.
        hidden_dim: H, of each direction; DocBERT's 256 or 512.
        dropout: Before the dense layer.
        embedding_dropout: On the embeddings.
        name: Of the model.

    Example:
    >>> model = build_bilstm(31, 3, embedding_dim=6, hidden_dim=4)
    >>> ids = {"token_ids": np.array([[5, 6, 0]]), "padding_mask": np.array([[1, 1, 0]])}
    >>> model(ids)["logits"].shape
    TensorShape([1, 3])
    """
    names = ("token_ids", "padding_mask")
    inputs = {key: keras.Input((None,), dtype="int32", name=key) for key in names}
    states = keras.layers.Embedding(vocabulary_size, embedding_dim, name="token")(
        inputs["token_ids"]
    )
    states = keras.layers.Dropout(embedding_dropout, name="token_dropout")(states)
    # Padding stands at the end: the way back must begin at the last real token.
    real = NotPadding(name="not_padding")(inputs["padding_mask"])
    lstm = keras.layers.LSTM(hidden_dim, return_sequences=True, use_cudnn=False)
    states = keras.layers.Bidirectional(lstm, name="lstm")(states, mask=real)  # (B, T, 2H)
    features = MaxOverTime(name="max_over_time")(states, inputs["padding_mask"])
    features = keras.layers.Dropout(dropout, name="dropout")(features)
    logits = keras.layers.Dense(num_outputs, dtype="float32", name="logits")(features)
    return keras.Model(inputs, {"logits": logits}, name=name)


@keras.saving.register_keras_serializable(package="bertzoo")
class NotPadding(keras.layers.Layer):
    """A padding mask as the booleans that Keras's recurrent layers take."""

    def call(self, padding_mask):
        """Return bool `[B, T]`."""
        return ops.not_equal(padding_mask, 0)
