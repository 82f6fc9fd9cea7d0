"""Texts and labels, in any form that Keras's `fit` takes, to a `tf.data.Dataset` of features.

The strings stay in the pipeline, on the host: replicas of a distribution strategy see int32 only.
"""

import collections.abc

import keras
import numpy as np
import tensorflow as tf

from bertzoo.preprocessing import bucketing
from bertzoo.preprocessing.texts import is_ids, read_texts
from bertzoo.tasks.labels import as_array, check_finite
from bertzoo.tasks.multi_labels import weights_of_labels

# Keras's own default.
BATCH_SIZE = 32
# Of short texts more are predicted at once: products of few rows are slow.
BATCH_TOKENS = 4096


class Order:
    """The order of the texts in every epoch: a function of a seed and of the epoch's number.

    So a run that goes on after an interruption sees what it would have seen.

    Args:
        seed: A whole number; None to draw one from NumPy's generator, which
            `keras.utils.set_random_seed` sets.

    Example:
    >>> order = Order(seed=3)
    >>> first = order(5).tolist()
    >>> order.epoch = 1
    >>> sorted(first), first == order(5).tolist()
    ([0, 1, 2, 3, 4], False)
    """

    def __init__(self, seed=None):
        self.seed = int(np.random.randint(2**31)) if seed is None else seed
        self.epoch = 0

    def __call__(self, num_rows):
        """Return the order of `num_rows` rows in this epoch, int64."""
        return np.random.default_rng([self.seed, self.epoch]).permutation(num_rows)


class EpochCounter(keras.callbacks.Callback):
    """Tells an `Order` which epoch it is."""

    def __init__(self, order):
        super().__init__()
        self.order = order

    def on_epoch_begin(self, epoch, logs=None):
        """Set the epoch, before its first batch is made."""
        self.order.epoch = epoch


def is_texts(x):
    """Return whether `x` is to be read as texts in memory.

    Not ids, not a dataset, and not a stream that Keras iterates itself (`PyDataset`, a generator,
    a torch loader); all the rest is, so that what is no text is named by `read_texts`.

    >>> is_texts(["a cat"]), is_texts({"token_ids": [[2, 3]]})
    (True, False)
    """
    if x is None or is_ids(x) or isinstance(x, tf.data.Dataset | keras.utils.PyDataset):
        return False
    is_array = hasattr(x, "shape") or hasattr(x, "to_numpy")
    is_container = isinstance(x, collections.abc.Sequence | collections.abc.Mapping)
    return is_array or is_container or not hasattr(x, "__iter__")


def checked_ids(ids, vocabulary_size):
    """Return a dict of ids with lists as int32 arrays; an id outside the vocabulary raises.

    Keras reads a list of lists as a structure of scalars. Where an id is outside, a CPU stops, but
    a GPU gives zeros and XLA another word's vector.
    """
    ids = {k: np.asarray(v, np.int32) if isinstance(v, list) else v for k, v in ids.items()}
    token_ids = ids["token_ids"]
    if isinstance(token_ids, np.ndarray) and token_ids.size:
        wrong = (token_ids < 0) | (token_ids >= vocabulary_size)
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ValueError(
                f"token_ids should be from 0 to {vocabulary_size - 1}; "
                f"got {int(token_ids[place])} in row {place[0]}."
            )
    return ids


def is_text_dataset(x):
    """Return whether `x` is a dataset whose inputs are strings.

    >>> is_text_dataset(tf.data.Dataset.from_tensor_slices((["a", "b"], [0, 1])))
    True
    """
    if not isinstance(x, tf.data.Dataset):
        return False
    leaves = tf.nest.flatten(_split_element(x.element_spec)[0])
    return bool(leaves) and all(getattr(leaf, "dtype", None) == tf.string for leaf in leaves)


def batched_inputs(dataset, batch_size):
    """Return a text dataset without its labels, in batches: its own, or new ones.

    Raises:
        ValueError: For elements that are a tuple of two strings: a pair, or a text and its label?
    """
    spec = dataset.element_spec
    is_two = isinstance(spec, tuple) and len(spec) == 2
    if is_two and all(getattr(part, "dtype", None) == tf.string for part in spec):
        raise ValueError(
            "each element of this dataset is a tuple of two strings, which may be a pair or a "
            "text with its label: give {'text': a, 'text_pair': b} for pairs, or drop the "
            "labels: dataset.map(lambda text, label: text)."
        )
    inputs = dataset.map(lambda *element: _split_element(element)[0]) if _has_y(spec) else dataset
    return inputs if _is_batched(spec) else inputs.batch(batch_size)


def features_of_dataset(dataset, preprocess, encoder, batch_size, drop_remainder=False, row_rank=0):
    """Return a dataset of (features, labels, weights) of one of (texts, labels, weights).

    Args:
        dataset: Batched or not.
        preprocess: From strings to features.
        encoder: Reads the labels.
        batch_size: Rows of a batch of a dataset that has none; None for 32.
        drop_remainder: Whether a last batch with fewer rows is left out.
        row_rank: The rank of the strings of one row.
    """
    if not _is_batched(dataset.element_spec, row_rank):
        dataset = dataset.batch(batch_size or BATCH_SIZE, drop_remainder=drop_remainder)

    def features(*element):
        x, y, weight = _split_element(element)
        y = None if y is None else encoder.from_tensor(y)
        parts = (preprocess(x), y, weight)
        return tuple(part for part in parts if part is not None)

    return dataset.map(features, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def labels_of_dataset(dataset, encoder):
    """Return a dataset of ids with its labels by number."""
    if not _has_y(dataset.element_spec):
        return dataset

    def encode(*element):
        x, y, *weight = element
        return (x, encoder.from_tensor(y), *weight)

    return dataset.map(encode, tf.data.AUTOTUNE)


def features_of_texts(
    texts,
    y,
    sample_weight,
    preprocessor,
    encoder,
    batch_size=None,
    order=None,
    by_length=False,
    drop_remainder=False,
):
    """Return a dataset of (features, labels, weights) of texts in memory, tokenized once.

    Args:
        texts: Texts, as `read_texts` reads them.
        y: Labels, or None.
        sample_weight: One weight a text, or None.
        preprocessor: A `Preprocessor`.
        encoder: Reads the labels.
        batch_size: Rows of a batch; None for 32.
        order: An `Order`, for a new one every epoch; None for that of the texts.
        by_length: Whether texts of like length come together, for an evaluation.
        drop_remainder: Whether a last batch with fewer rows is left out.
    """
    texts = read_texts(texts)
    if len(texts) == 0:
        raise ValueError("expected at least one text; got none.")
    columns = []
    if y is not None:
        columns.append(encoder.from_array(y))
        _check_count(texts, columns[0], "labels")
    if sample_weight is not None:
        if y is None:
            raise ValueError("sample weights need labels; got none.")
        columns.append(as_array(sample_weight).astype(np.float32))
        check_finite(columns[1], "sample weight")
        _check_count(texts, columns[1], "sample weights")
    chunks = bucketing.text_chunks(texts)
    (rows,) = bucketing.packed_windows(chunks, preprocessor, window_tokens=None)
    batch_size = batch_size or BATCH_SIZE
    if by_length:
        plan = bucketing.plan_batches(rows.lengths, preprocessor, batch_size)
        return bucketing.planned_batches(rows, plan, preprocessor, columns)
    return bucketing.plain_batches(rows, preprocessor, batch_size, columns, order, drop_remainder)


def weigh_labels(x, y, sample_weight, label_weights):
    """Give every label of every row its weight: what `class_weight` is to several labels a text.

    Args:
        x: A dataset of (features, labels `[B, C]`, weights), or ids.
        y: Labels `[N, C]` that go with ids; None for a dataset.
        sample_weight: One weight a row of ids, or None.
        label_weights: Float32 `[C]`.

    Returns:
        The dataset with weights `[B, C]` and None; or the ids and weights `[N, C]`.
    """
    if isinstance(x, tf.data.Dataset):

        def weigh(features, labels, weights=None):
            weights = weights if weights is None else tf.cast(weights, "float32")
            return features, labels, weights_of_labels(labels, label_weights, weights)

        return x.map(weigh, tf.data.AUTOTUNE), None
    if y is None:
        raise ValueError("class_weight of several labels a text needs labels beside the inputs.")
    weights = None if sample_weight is None else as_array(sample_weight)
    return x, weights_of_labels(y, label_weights, weights).astype(np.float32)


def split_for_validation(x, y, sample_weight, validation_split):
    """Return the training part and the validation part: the last rows, as Keras does.

    Args:
        x: `Texts` or `Groups`.
        y: Labels, or None.
        sample_weight: One weight a row, or None.
        validation_split: Which part the last rows are, between 0 and 1.

    Returns:
        Two tuples (x, y, sample_weight); what was None stays None.
    """
    if not 0 < validation_split < 1:
        raise ValueError(f"validation_split must be between 0 and 1; got {validation_split}.")
    texts = x
    if y is not None:
        y = _sliceable(y)
        _check_count(texts, y, "labels")
    if sample_weight is not None:
        sample_weight = as_array(sample_weight)
        _check_count(texts, sample_weight, "sample weights")
    split = int(len(texts) * (1 - validation_split))
    if not 0 < split < len(texts):
        raise ValueError(f"validation_split={validation_split} of {len(texts)} texts leaves none.")
    whole = (texts, y, sample_weight)
    return tuple(
        tuple(None if part is None else part[rows] for part in whole)
        for rows in (slice(None, split), slice(split, None))
    )


def _sliceable(y):
    # Lists of labels of several lengths are no array.
    if isinstance(y, list) and y and isinstance(y[0], list | tuple):
        rows = np.empty(len(y), dtype=object)
        rows[:] = [list(row) for row in y]
        return rows
    return as_array(y)


def _split_element(element):
    # In a dataset a tuple is always Keras's (inputs, labels, weights); pairs are dicts.
    if not isinstance(element, tuple):
        return element, None, None
    return (*element, None, None)[:3]


def _has_y(spec):
    return isinstance(spec, tuple) and len(spec) > 1


def _is_batched(spec, row_rank=0):
    return tf.nest.flatten(_split_element(spec)[0])[0].shape.rank != row_rank


def _check_count(texts, values, what):
    if len(values) != len(texts):
        raise ValueError(f"expected as many {what} as texts; got {len(values)} and {len(texts)}.")
