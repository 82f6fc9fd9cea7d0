"""Labels of tokens, of which most may be none: how they are read, and their accuracy."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from bertzoo.tasks.labels import AnyLabels
from bertzoo.tasks.windowed import IGNORED

# B batch  T tokens  C classes


@keras.saving.register_keras_serializable(package="bertzoo")
class TokenAccuracy(keras.metrics.Metric):
    """The share of right labels, of the tokens that have one: a label of -1 does not count."""

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.right = self.add_weight(initializer="zeros", name="right")
        self.total = self.add_weight(initializer="zeros", name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch: labels `[B, T]`, logits `[B, T, C]`."""
        y_true = ops.cast(y_true, "int32")
        counts = ops.cast(y_true >= 0, self.dtype)
        if sample_weight is not None:
            weight = ops.cast(sample_weight, self.dtype)
            counts = counts * (weight[:, None] if len(weight.shape) == 1 else weight)
        right = ops.cast(ops.argmax(y_pred, axis=-1), "int32") == y_true
        self.right.assign_add(ops.sum(counts * ops.cast(right, self.dtype)))
        self.total.assign_add(ops.sum(counts))

    def result(self):
        """Return the share."""
        return ops.divide_no_nan(self.right, self.total)


class TokenLabels(AnyLabels):
    """Reads labels `[N, T]` that come with ids: -100, as in torch, is none."""

    def from_array(self, y):
        """Return int32 with -1 for none."""
        y = super().from_array(y)
        return np.where(y < 0, IGNORED, y).astype(np.int32)

    def from_tensor(self, y):
        """Return the same for a tensor in a `tf.data` pipeline."""
        return tf.where(y < 0, tf.cast(IGNORED, y.dtype), y)
