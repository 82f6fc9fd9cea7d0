"""Labels of which a text has any number: names, numbers or multi-hot rows to what a loss takes."""

import numpy as np
import tensorflow as tf

from bertzoo.config import nearest
from bertzoo.postprocessing.labels import ancestors
from bertzoo.tasks.labels import NO_NAMES, as_array, check_finite

# N texts  B batch  C labels  K labels of one text


class MultiLabelEncoder:
    """Reads the labels of a multi-label classifier with C outputs as float32 `[N, C]`.

    Args:
        labels: Names in output order, or None where they have none.
        num_outputs: C.
        parents: The output of each label's parent, -1 for none; or None. A label brings its
            parents along, as in the hierarchies of patents and topics.

    Example:
    >>> encoder = MultiLabelEncoder(("a", "b", "c"), 3)
    >>> encoder.from_array([["a", "c"], []]).tolist()
    [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    >>> encoder.from_array([[2], [0, 1]]).tolist()
    [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    """

    def __init__(self, labels, num_outputs, parents=None):
        self.labels = labels
        self.num_outputs = num_outputs
        self.closure = None if parents is None else ancestors(parents)

    def from_array(self, y):
        """Return float32 `[N, C]`.

        Args:
            y: An array `[N, C]` of 0 and 1 (or probabilities); or for each text a list of names
                or of numbers. Lists of numbers that all have C entries are read as `[N, C]`.

        Raises:
            ValueError: For a name that is not a label, a number out of range, or NaN, with its
                row.
        """
        rows = _rows(y, self.num_outputs)
        if isinstance(rows, np.ndarray):
            return self._with_parents(self._checked(rows))
        targets = np.zeros((len(rows), self.num_outputs), np.float32)
        for index, row in enumerate(rows):
            for label in row:
                targets[index, self._id(label, index)] = 1.0
        return self._with_parents(targets)

    def from_tensor(self, y):
        """Return the same for a tensor in a `tf.data` pipeline; the check runs in the pipeline.

        Args:
            y: Numbers `[B, C]`; ragged names or numbers `[B, None]`; or dense names `[B, K]`,
                where the empty string is padding.
        """
        if isinstance(y, tf.RaggedTensor):
            ids = y if y.dtype != tf.string else y.with_values(self._ids_of_names(y.values))
            valid = (ids.values >= 0) & (tf.cast(ids.values, "int64") < self.num_outputs)
            check = _assertion(valid, f"a number from 0 to {self.num_outputs - 1}", ids.values)
            with tf.control_dependencies([check]):
                hot = tf.one_hot(ids.values, self.num_outputs)  # (all, C)
            # The maximum of a text without labels is the smallest number there is.
            targets = tf.maximum(tf.reduce_max(ids.with_values(hot), axis=1), 0.0)
            return self._with_parents(targets)
        if y.dtype == tf.string:
            y = y[:, None] if y.shape.rank == 1 else y
            ids = self._ids_of_names(y)  # (B, K), -1 for padding
            targets = tf.reduce_max(tf.one_hot(ids, self.num_outputs), axis=1)
            return self._with_parents(tf.maximum(targets, 0.0))
        if y.shape.rank != 2 or y.shape[1] not in (None, self.num_outputs):
            raise ValueError(
                f"labels in a dataset have the shape [B, {self.num_outputs}], or are ragged; "
                f"got {y.shape}."
            )
        y = tf.cast(y, "float32")
        valid = (y >= 0) & (y <= 1)
        with tf.control_dependencies([_assertion(valid, "0 or 1", y)]):
            return self._with_parents(tf.identity(y))

    def class_weight(self, class_weight):
        """Return float32 `[C]`: the weight of each label where it is there; 1 where none is given.

        Args:
            class_weight: Weights by name or number, or None.
        """
        if class_weight is None:
            return None
        weights = np.ones(self.num_outputs, np.float32)
        for label, weight in class_weight.items():
            weights[self._id(label, "of class_weight")] = weight
        return weights

    def _id(self, label, row):
        if isinstance(label, bytes):
            label = label.decode()
        if isinstance(label, str):
            if self.labels is None:
                raise ValueError(NO_NAMES)
            if label in self.labels:
                return self.labels.index(label)
            hint = nearest(label, self.labels)
            shown = ", ".join(self.labels[:20]) + (", ..." if len(self.labels) > 20 else "")
            raise ValueError(f"label {row} should be among {shown}; got {label!r}.{hint}")
        is_number = isinstance(label, int | float | np.number)
        if is_number and 0 <= label < self.num_outputs and float(label).is_integer():
            return int(label)
        raise ValueError(
            f"label {row} should be a whole number in [0, {self.num_outputs - 1}] or a name; "
            f"got {label!r}."
        )

    def _ids_of_names(self, names):
        if self.labels is None:
            raise ValueError(NO_NAMES)
        matches = tf.equal(names[..., None], tf.constant(self.labels))
        known = tf.reduce_any(matches, axis=-1)
        check = _assertion(known | tf.equal(names, ""), f"one of {', '.join(self.labels)}", names)
        with tf.control_dependencies([check]):
            return tf.where(known, tf.argmax(matches, axis=-1, output_type=tf.int32), -1)

    def _checked(self, y):
        check_finite(y, "label")
        if y.ndim != 2 or y.shape[1] != self.num_outputs:
            raise ValueError(
                f"multi-hot labels have the shape [N, {self.num_outputs}]; got {list(y.shape)}. "
                "Lists of names or numbers, one a text, do as well."
            )
        wrong = ((y < 0) | (y > 1)).any(axis=1)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(f"label {row} should be of 0 and 1; got {y[row].tolist()}.")
        return y.astype(np.float32)

    def _with_parents(self, targets):
        if self.closure is None:
            return targets
        # The largest of a label and its descendants, also of probabilities.
        if isinstance(targets, np.ndarray):
            return (targets[:, :, None] * self.closure).max(axis=1)
        return tf.reduce_max(targets[:, :, None] * self.closure, axis=1)


def weights_of_labels(targets, label_weights, sample_weight=None):
    """Return weights `[N, C]`: a label's weight where it is there, 1 where it is not.

    >>> weights_of_labels(np.array([[1.0, 0.0]]), np.array([3.0, 5.0])).tolist()
    [[3.0, 1.0]]
    """
    weights = 1.0 + targets * (label_weights - 1.0)
    return weights if sample_weight is None else weights * sample_weight[:, None]


def balanced_label_weights(targets):
    """Return float32 `[C]`: how many texts lack a label for one that has it; 1 where none has.

    >>> balanced_label_weights(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])).tolist()
    [2.0, 1.0]
    """
    there = targets.sum(axis=0)
    return np.where(there > 0, (len(targets) - there) / np.maximum(there, 1e-9), 1.0).astype(
        np.float32
    )


def _rows(y, num_outputs):
    """Return a numeric array `[N, C]`, or a list with one list of labels a text."""
    if hasattr(y, "to_numpy"):
        y = y.to_numpy()
    if isinstance(y, tf.RaggedTensor):
        return y.to_list()
    if hasattr(y, "numpy"):
        y = y.numpy()
    if isinstance(y, np.ndarray) and y.dtype.kind in "iufb":
        return as_array(y).astype(np.float64)
    rows = []
    for index, row in enumerate(y):
        if isinstance(row, str | bytes):
            row = [row]
        if row is None or not hasattr(row, "__iter__"):
            raise ValueError(
                f"label {index} should be a list of labels; got {row!r}. A multi-label classifier "
                "takes for each text a list of names or numbers, or a multi-hot row."
            )
        rows.append([label for label in row if not (isinstance(label, str) and label == "")])
    numbers = all(isinstance(v, int | float | np.number) for row in rows for v in row)
    if rows and numbers and {len(row) for row in rows} == {num_outputs}:
        return np.asarray(rows, np.float64)
    return rows


def _assertion(valid, wanted, values):
    message = f"a label of the dataset is not {wanted}"
    return tf.debugging.Assert(tf.reduce_all(valid), [message, tf.boolean_mask(values, ~valid)])
