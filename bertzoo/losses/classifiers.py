"""Losses and metrics on logits that Keras has not: several labels a text."""

import keras
from keras import ops

# B batch  C labels


@keras.saving.register_keras_serializable(package="bertzoo")
class MultiLabelCrossentropy(keras.losses.Loss):
    """Binary cross-entropy on logits, averaged over texts and labels (PatentBERT, DocBERT).

    Call with targets and logits `[B, C]`; `sample_weight` may be `[B]`, or `[B, C]`, which is how
    labels are weighed.

    Example:
    >>> float(MultiLabelCrossentropy()(np.array([[1.0, 0.0]]), np.array([[0.0, 0.0]])))
    0.693...
    """

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the loss; a weight `[B]` is that of all labels of a text."""
        if sample_weight is not None and len(sample_weight.shape) == 1:
            sample_weight = ops.expand_dims(ops.convert_to_tensor(sample_weight), axis=-1)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        """Return the loss of every label, `[B, C]`."""
        y_true = ops.cast(y_true, y_pred.dtype)
        # max(x, 0) - x * y + log(1 + exp(-|x|)): no overflow for large logits.
        positive = ops.maximum(y_pred, 0.0) - y_pred * y_true
        return positive + ops.log1p(ops.exp(-ops.abs(y_pred)))


@keras.saving.register_keras_serializable(package="bertzoo")
class MicroF1(keras.metrics.Metric):
    """F1 over all labels of all texts, from logits: a label is chosen from a probability on.

    Args:
        threshold: The probability.
        name: Of the metric.
        dtype: Of the counts.

    Example:
    >>> metric = MicroF1()
    >>> metric.update_state(np.array([[1, 0, 1]]), np.array([[2.0, 1.0, -1.0]]))
    >>> float(metric.result())
    0.5
    """

    def __init__(self, threshold=0.5, name="micro_f1", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.threshold = threshold
        self.hits = self.add_weight(name="hits", initializer="zeros")
        self.chosen = self.add_weight(name="chosen", initializer="zeros")
        self.there = self.add_weight(name="there", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch of targets and logits `[B, C]`."""
        true = ops.cast(ops.greater(y_true, 0.5), "float32")
        chosen = ops.cast(ops.greater_equal(ops.sigmoid(y_pred), self.threshold), "float32")
        if sample_weight is not None:
            weight = ops.cast(sample_weight, "float32")
            weight = ops.expand_dims(weight, -1) if len(weight.shape) == 1 else weight
            true, chosen = true * weight, chosen * weight
            self.hits.assign_add(ops.sum(ops.minimum(true, chosen)))
        else:
            self.hits.assign_add(ops.sum(true * chosen))
        self.chosen.assign_add(ops.sum(chosen))
        self.there.assign_add(ops.sum(true))

    def result(self):
        """Return F1; 0 where no label is there or chosen."""
        return 2.0 * self.hits / ops.maximum(self.chosen + self.there, 1.0e-9)

    def get_config(self):
        """Return what `from_config` needs."""
        return {**super().get_config(), "threshold": self.threshold}
