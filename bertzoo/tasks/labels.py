"""Labels by name or by number to what a loss takes, with the row of the first wrong one."""

import collections.abc
import contextlib
import re

import numpy as np
import tensorflow as tf

from bertzoo.config import nearest


class LabelEncoder:
    """Reads the labels of a classifier with C outputs.

    Args:
        labels: Names of the classes in output order, or None where they have none.
        num_outputs: C.
        problem: `single_label`, or `regression`: the labels are then real numbers. None for a
            regression where C is 1.

    Example:
    >>> LabelEncoder(("no", "yes"), 2).from_array(["yes", "no", "no"]).tolist()
    [1, 0, 0]
    """

    def __init__(self, labels, num_outputs, problem=None):
        self.labels = labels
        self.num_outputs = num_outputs
        self.is_regression = problem == "regression" or (problem is None and num_outputs == 1)

    def from_array(self, y):
        """Return int32 ids (float32 for regression or `[N, C]`) of a list or array.

        Raises:
            ValueError: For a name that is not a label, an id out of range, or NaN, with its row.
        """
        y = as_array(y)
        if y.dtype.kind in "OUS" and self.is_regression:
            raise ValueError(f"a regression takes numbers as labels; got {y[0]!r}.")
        if y.dtype.kind in "OUS":
            return np.array([self._id(name, row) for row, name in enumerate(y)], dtype=np.int32)
        check_finite(y, "label")
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if self.is_regression or y.ndim == 2:
            width = y.shape[1] if y.ndim == 2 else 1
            if width != self.num_outputs:
                raise ValueError(
                    f"labels of {self.num_outputs} outputs have the shape [N] or "
                    f"[N, {self.num_outputs}]; got {list(y.shape)}."
                )
            return y.astype(np.float32)
        wrong = (y < 0) | (y >= self.num_outputs) | (y != np.floor(y))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"label {row} should be a whole number in [0, {self.num_outputs - 1}]; "
                f"got {y[row]}."
            )
        return y.astype(np.int32)

    def from_tensor(self, y):
        """Return the same for a tensor in a `tf.data` pipeline; the check runs in the pipeline."""
        if y.dtype == tf.string:
            if self.labels is None:
                raise ValueError(NO_NAMES)
            matches = tf.equal(y[..., None], tf.constant(self.labels))  # (B, C)
            known = tf.reduce_any(matches, axis=-1)
            names = ", ".join(self.labels)
            message = f"a label of the dataset is not one of {names}"
            check = tf.debugging.Assert(tf.reduce_all(known), [message, tf.boolean_mask(y, ~known)])
            with tf.control_dependencies([check]):
                return tf.argmax(matches, axis=-1, output_type=tf.int32)
        if y.dtype.is_floating:
            y = tf.debugging.assert_all_finite(y, "a label of the dataset is not a finite number")
        if y.shape.rank == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if self.is_regression or y.shape.rank == 2:
            return tf.cast(y, "float32")
        # Compared before the cast: 0.5 would become class 0.
        valid = tf.equal(tf.cast(y, "float64"), tf.floor(tf.cast(y, "float64")))
        valid &= (y >= 0) & (tf.cast(y, "float64") < self.num_outputs)
        message = f"a label of the dataset is not a whole number from 0 to {self.num_outputs - 1}"
        check = tf.debugging.Assert(tf.reduce_all(valid), [message, tf.boolean_mask(y, ~valid)])
        with tf.control_dependencies([check]):
            return tf.cast(y, "int32")

    def class_weight(self, class_weight):
        """Return Keras's class weights by id from weights by name or id."""
        if class_weight is None:
            return None
        return {
            self._id(key, "of class_weight") if isinstance(key, str | bytes) else int(key): weight
            for key, weight in class_weight.items()
        }

    def _id(self, name, row):
        if self.labels is None:
            raise ValueError(NO_NAMES)
        if isinstance(name, bytes):
            name = name.decode()
        if isinstance(name, str) and name in self.labels:
            return self.labels.index(name)
        raise ValueError(
            f"label {row} should be one of {', '.join(self.labels)}; "
            f"got {name!r}.{nearest(name, self.labels)}"
        )


def check_classes(ids, names):
    """Raise where there are several labels, and all of them are the same.

    Args:
        ids: Int `[N]`; soft labels `[N, C]` pass.
        names: Of the C classes.

    Example:
    >>> check_classes(np.array([1, 1]), ["no", "yes"])
    Traceback (most recent call last):
    ValueError: all 2 labels are 'yes', so there is nothing to tell apart: ...
    """
    if ids.ndim == 1 and len(ids) > 1 and (ids == ids[0]).all():
        raise ValueError(
            f"all {len(ids)} labels are {names[int(ids[0])]!r}, so there is nothing to tell apart: "
            "give texts of at least two classes, or allow_one_class=True to train all the same."
        )


def balanced_class_weights(ids, names):
    """Return {id: weight} with N / (C * its number of texts), as scikit-learn's `balanced`.

    Args:
        ids: Int `[N]`.
        names: Of the C classes.

    Raises:
        ValueError: For a class without a text, which no weight makes up for.

    Example:
    >>> balanced_class_weights(np.array([0, 0, 0, 1]), ["no", "yes"])
    {0: 0.6666666666666666, 1: 2.0}
    """
    counts = np.bincount(ids, minlength=len(names))
    if (counts == 0).any():
        missing = ", ".join(str(names[i]) for i in np.flatnonzero(counts == 0))
        raise ValueError(
            f"class_weight='balanced' needs at least one text of every class; there is none of "
            f"{missing} among {len(ids)} labels."
        )
    return {i: len(ids) / (len(names) * int(count)) for i, count in enumerate(counts)}


class AnyLabels:
    """Passes labels on as they are; for tasks whose loss is the user's."""

    def from_array(self, y):
        """Return an array; NaN raises."""
        y = as_array(y)
        check_finite(y, "label")
        return y

    def from_tensor(self, y):
        """Return the tensor."""
        return y

    def class_weight(self, class_weight):
        """Return the class weights."""
        return class_weight


def as_array(values):
    """Return a list, array, tensor or data frame's column as an array; strings as objects."""
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, collections.abc.Mapping):
        raise ValueError(f"expected an array of labels; got a dict of {sorted(values)}.")
    values = values if isinstance(values, np.ndarray) else _as_array(values)
    if values.dtype.kind in "US":
        return values.astype(object)
    if values.dtype.kind == "O" and not any(isinstance(v, str | bytes) for v in values.ravel()):
        for row, value in enumerate(values):
            if value is None:
                raise ValueError(f"label {row} is missing (None).")
        return values.astype(np.float64)
    return values


def check_finite(values, what):
    """Raise for NaN or infinity, with the row."""
    if values.dtype.kind != "f":
        return
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1) if len(values) else values > 0
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{what} {row} is not a finite number; got {values[row]}.")


@contextlib.contextmanager
def named_label_errors():
    """Turn what a pipeline says of a label (`LabelEncoder.from_tensor`) into a ValueError."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        # Written by tf.debugging.Assert as `[message] [values]`, in the midst of a trace.
        pattern = r"a label of the dataset is not ([^\]\n]*)(?:\] \[([^\]\n]*))?"
        found = re.search(pattern, str(error))
        if found is None:
            raise
        wanted, got = found.groups()
        message = f"a label of the dataset is not {wanted.strip()}"
        raise ValueError(f"{message}; got {got}." if got else f"{message}.") from error


NO_NAMES = (
    "this classifier's classes have no names: give labels by number, or make it with labels=."
)


def _as_array(values):
    if hasattr(values, "numpy"):
        return np.asarray(values.numpy())
    values = list(values)
    if any(isinstance(value, str | bytes) or value is None for value in values):
        # np.asarray would turn [0, "yes"] into strings; row by row says which one is wrong.
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array
    return np.asarray(values)
