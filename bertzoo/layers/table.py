"""Embedding tables whose gradients are dense.

Keras optimizers on TensorFlow square the slices of a sparse gradient before they add up those of
one row, so a token that occurs twice in a batch gets a wrong second moment. A dense gradient is
right under every optimizer, and under XLA and `tf.distribute` it is the only one that works.
"""

import keras
from keras import ops

# V rows  E table_dim


@keras.saving.register_keras_serializable(package="bertzoo")
class Table(keras.layers.Layer):
    """A table of vectors, looked up by row.

    Args:
        num_rows: V.
        width: E.
        initializer: Of the table.

    Call with int32 ids of any shape; returns `ids.shape + (E,)` in the compute dtype.

    >>> Table(5, 3)(np.array([[0, 4]])).shape
    TensorShape([1, 2, 3])
    """

    def __init__(self, num_rows, width, initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        self.num_rows = num_rows
        self.width = width
        self.initializer = initializer

    def build(self, input_shape=None):
        """Make the table."""
        # Without autocast: rows are cast after the lookup, never the whole table before it.
        self.embeddings = self.add_weight(
            shape=(self.num_rows, self.width),
            initializer=self.initializer,
            name="embeddings",
            autocast=False,
        )

    def call(self, ids):
        """Look up the rows `ids`."""
        return ops.cast(lookup(self.embeddings, ids), self.compute_dtype)


def lookup(table, ids):
    """Return `table[ids]`; the gradient of `table` is dense on every backend."""
    if keras.backend.backend() != "tensorflow":
        return ops.take(table, ids, axis=0)  # dense already
    num_rows, width = table.shape
    # A reshape to the same shape reads the variable without a copy: TensorFlow refuses a custom
    # gradient with respect to a variable itself.
    table = ops.reshape(table, (num_rows, width))

    @ops.custom_gradient
    def gather(table):
        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            flat = ops.reshape(upstream, (-1, width))
            return ops.segment_sum(flat, ops.reshape(ids, (-1,)), num_segments=num_rows)

        return ops.take(table, ids, axis=0), gradient

    return gather(table)
