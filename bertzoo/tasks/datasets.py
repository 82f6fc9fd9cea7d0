"""Texts and labels, in any form that Keras's `fit` takes, to a `tf.data.Dataset` of features.

The strings stay in the pipeline, on the host: replicas of a distribution strategy see int32 only.
"""

import numpy as np
import tensorflow as tf

from bertzoo.preprocessing.texts import read_texts
from bertzoo.tasks.labels import as_array, check_finite

# Keras's own default.
BATCH_SIZE = 32


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
    if isinstance(spec, tuple) and len(spec) == 2:
        if all(isinstance(part, tf.TensorSpec) and part.dtype == tf.string for part in spec):
            raise ValueError(
                "each element of this dataset is a tuple of two strings, which may be a pair or a "
                "text with its label: give {'text': a, 'text_pair': b} for pairs, or drop the "
                "labels: dataset.map(lambda text, label: text)."
            )
    inputs = dataset.map(lambda *element: _split_element(element)[0]) if _has_y(spec) else dataset
    return inputs if _is_batched(spec) else inputs.batch(batch_size)


def features_of_dataset(dataset, preprocessor, encoder, batch_size):
    """Return a dataset of (features, labels, weights) of one of (texts, labels, weights)."""
    if not _is_batched(dataset.element_spec):
        dataset = dataset.batch(batch_size or BATCH_SIZE)
    return dataset.map(_features(preprocessor, encoder), tf.data.AUTOTUNE).prefetch(
        tf.data.AUTOTUNE
    )


def labels_of_dataset(dataset, encoder):
    """Return a dataset of ids with its labels by number."""
    if not _has_y(dataset.element_spec):
        return dataset

    def encode(*element):
        x, y, *weight = element
        return (x, encoder.from_tensor(y), *weight)

    return dataset.map(encode, tf.data.AUTOTUNE)


def features_of_texts(
    texts, y, sample_weight, preprocessor, encoder, batch_size=None, shuffle=False, sort=False
):
    """Return a dataset of (features, labels, weights) of texts in memory.

    Args:
        texts: Texts, as `read_texts` reads them.
        y: Labels, or None.
        sample_weight: One weight a text, or None.
        preprocessor: A `Preprocessor`.
        encoder: Reads the labels.
        batch_size: Rows of a batch; None for 32.
        shuffle: Whether every epoch has a new order.
        sort: Whether texts of like length come together (by bytes: nothing is tokenized twice).
    """
    texts = read_texts(texts)
    if len(texts) == 0:
        raise ValueError("expected at least one text; got none.")
    parts = [texts.columns()]
    if y is not None:
        y = encoder.from_array(y)
        _check_count(texts, y, "labels")
        parts.append(tf.constant(y))
    if sample_weight is not None:
        sample_weight = as_array(sample_weight).astype(np.float32)
        check_finite(sample_weight, "sample weight")
        _check_count(texts, sample_weight, "sample weights")
        if y is None:
            raise ValueError("sample weights need labels; got none.")
        parts.append(tf.constant(sample_weight))
    order = np.arange(len(texts))
    if sort:
        sizes = [len(text) for text in texts.text]
        if texts.text_pair is not None:
            sizes = [size + len(text) for size, text in zip(sizes, texts.text_pair, strict=True)]
        order = np.argsort(np.negative(sizes), kind="stable")
    dataset = tf.data.Dataset.from_tensor_slices(order)
    if shuffle:
        dataset = dataset.shuffle(len(texts), reshuffle_each_iteration=True)
    featurize = _features(preprocessor, encoder=None)

    def batch(rows):
        return featurize(*tf.nest.map_structure(lambda part: tf.gather(part, rows), parts))

    dataset = dataset.batch(batch_size or BATCH_SIZE)
    return dataset.map(batch, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def split_for_validation(x, y, sample_weight, validation_split):
    """Return the training part and the validation part: the last rows, as Keras does.

    Returns:
        Two tuples (x, y, sample_weight); what was None stays None.
    """
    if not 0 < validation_split < 1:
        raise ValueError(f"validation_split must be between 0 and 1; got {validation_split}.")
    texts = read_texts(x)
    if y is not None:
        y = as_array(y)
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


def _features(preprocessor, encoder):
    def featurize(*element):
        x, y, weight = _split_element(element)
        result = [preprocessor.preprocess(x)]
        if y is not None:
            result.append(y if encoder is None else encoder.from_tensor(y))
        if weight is not None:
            result.append(weight)
        return tuple(result)

    return featurize


def _split_element(element):
    # In a dataset a tuple is always Keras's (inputs, labels, weights); pairs are dicts.
    if not isinstance(element, tuple):
        return element, None, None
    return (*element, None, None)[:3]


def _has_y(spec):
    return isinstance(spec, tuple) and len(spec) > 1


def _is_batched(spec):
    return tf.nest.flatten(_split_element(spec)[0])[0].shape.rank != 0


def _check_count(texts, values, what):
    if len(values) != len(texts):
        raise ValueError(f"expected as many {what} as texts; got {len(values)} and {len(texts)}.")
