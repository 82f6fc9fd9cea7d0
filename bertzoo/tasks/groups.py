"""Several texts a row - choices, pairs, triplets - as one batch of rows through the encoder.

A batch of B groups of G texts is `[B, G, T]`; the encoder runs on `[B * G, T]`.
"""

import collections.abc
import typing

import numpy as np
import tensorflow as tf
from keras import ops

from bertzoo.preprocessing import bucketing
from bertzoo.preprocessing.texts import Texts, read_texts
from bertzoo.tasks.labels import as_array, check_finite

# B batch  G texts of a group  T length  N groups


class Groups(typing.NamedTuple):
    """Groups of texts.

    Args:
        texts: `Texts` of N * G rows, group after group.
        size: G.
    """

    texts: Texts
    size: int

    def __len__(self):
        """Return N."""
        return len(self.texts) // self.size

    def __getitem__(self, rows):
        """Return some of the groups, as a slice."""
        start, stop, _ = rows.indices(len(self))
        return Groups(self.texts[start * self.size : stop * self.size], self.size)


def read_groups(inputs, least=2):
    """Return `Groups` of single texts: pairs, triplets, or more.

    Args:
        inputs: A list of tuples or lists of as many texts each, an array `[N, G]`, or a dict of G
            columns, which are taken in the order of the dict.
        least: The smallest G.

    Raises:
        ValueError: For a row of another size or one that is no text, with the row.

    Example:
    >>> groups = read_groups([("a cat", "a kitten", "a dog")])
    >>> len(groups), groups.size
    (1, 3)
    """
    if isinstance(inputs, Groups):
        return inputs
    if isinstance(inputs, collections.abc.Mapping):
        columns = [list(column) for column in inputs.values()]
        if len({len(column) for column in columns}) > 1:
            raise ValueError(
                "the columns of a group need as many texts each; got "
                f"{ {name: len(column) for name, column in inputs.items()} }."
            )
        inputs = list(zip(*columns, strict=True))
    rows = inputs.tolist() if hasattr(inputs, "tolist") else list(inputs)
    if not rows:
        raise ValueError("expected at least one group of texts; got none.")
    size = len(rows[0]) if isinstance(rows[0], tuple | list) else 1
    if size < least:
        raise ValueError(
            f"each row should be a tuple of at least {least} texts; row 0 is {rows[0]!r}."
        )
    for index, row in enumerate(rows):
        if not isinstance(row, tuple | list) or len(row) != size:
            raise ValueError(f"row {index} should be {size} texts like row 0; got {row!r}.")
        for text in row:
            if not isinstance(text, str | bytes):
                raise ValueError(f"row {index} should be of strings; got {text!r}.")
    return Groups(read_texts([text for row in rows for text in row]), size)


def read_choices(inputs):
    """Return `Groups` of pairs: a text with each of its choices.

    Args:
        inputs: A list of (text, [choices]) tuples, or a dict with `text` and `choices`.

    Raises:
        ValueError: For rows with another number of choices than the first, with the row.

    Example:
    >>> groups = read_choices([("a cat", ["sat", "flew"])])
    >>> groups.texts.text.tolist(), groups.texts.text_pair.tolist()
    ([b'a cat', b'a cat'], [b'sat', b'flew'])
    """
    if isinstance(inputs, Groups):
        return inputs
    if isinstance(inputs, collections.abc.Mapping):
        if set(inputs) != {"text", "choices"}:
            raise ValueError(
                f"a dict of choices has the keys `text` and `choices`; got {sorted(inputs)}."
            )
        if len(inputs["text"]) != len(inputs["choices"]):
            raise ValueError(
                f"expected as many lists of choices as texts; got {len(inputs['choices'])} and "
                f"{len(inputs['text'])}."
            )
        inputs = zip(inputs["text"], inputs["choices"], strict=True)
    pairs, size = [], None
    for index, row in enumerate(inputs):
        is_row = isinstance(row, tuple | list) and len(row) == 2
        if not is_row or isinstance(row[1], str | bytes) or not hasattr(row[1], "__iter__"):
            raise ValueError(f"row {index} should be a tuple (text, [choices]); got {row!r}.")
        choices = list(row[1])
        size = size or len(choices)
        if len(choices) != size or size < 2:
            wanted = "at least 2" if size < 2 else f"{size}, like row 0"
            raise ValueError(f"row {index} has {len(choices)} choices; expected {wanted}.")
        for choice in (row[0], *choices):
            if not isinstance(choice, str | bytes):
                raise ValueError(f"row {index} should be of strings; got {choice!r}.")
        pairs += [(row[0], choice) for choice in choices]
    if not pairs:
        raise ValueError("expected at least one text with choices; got none.")
    return Groups(read_texts(pairs), size)


def batches_of_groups(
    groups, y, sample_weight, preprocessor, encoder, batch_size=None, order=None,
    drop_remainder=False,
):  # fmt: skip
    """Return a dataset of (features `[B, G, T]`, labels, weights), tokenized once.

    Args:
        groups: `Groups`.
        y: Labels, or None: then zeros, for Keras asks for some.
        sample_weight: One weight a group, or None.
        preprocessor: A `Preprocessor`.
        encoder: Reads the labels.
        batch_size: Groups of a batch; None for 32.
        order: A `datasets.Order`, for a new order every epoch; None for that of the groups.
        drop_remainder: Whether a last batch with fewer groups is left out.
    """
    columns = [np.zeros(len(groups), np.int32) if y is None else encoder.from_array(y)]
    if sample_weight is not None:
        columns.append(as_array(sample_weight).astype(np.float32))
        check_finite(columns[1], "sample weight")
    for column, what in zip(columns, ("labels", "sample weights"), strict=False):
        if len(column) != len(groups):
            raise ValueError(
                f"expected as many {what} as groups of texts; got {len(column)} and {len(groups)}."
            )
    chunks = bucketing.text_chunks(groups.texts)
    (rows,) = bucketing.packed_windows(chunks, preprocessor, window_tokens=None)
    rows = bucketing.PackedRows(*map(tf.constant, rows))
    columns = [tf.constant(column) for column in columns]
    members = bucketing.members(len(groups), batch_size or 32, order, drop_remainder)

    def features(batch):
        first = batch[:, None] * groups.size
        flat = tf.reshape(first + tf.range(groups.size, dtype="int64"), [-1])  # (B * G,)
        packed = preprocessor.pad_some(rows, flat)
        grouped = in_groups(packed, groups.size)
        for feature in grouped.values():
            feature.set_shape([batch.shape[0], None, None])
        return (grouped, *(tf.gather(c, batch) for c in columns))

    return members.map(features, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def features_of_groups(groups, preprocessor):
    """Return the features `[N, G, T]` of `Groups`, one batch."""
    return in_groups(preprocessor.preprocess(groups.texts), groups.size)


def features_of_tensors(inputs, preprocessor):
    """Return the features `[B, G, T]` of strings `[B, G]`, a dict of columns, or choices.

    Args:
        inputs: A string tensor `[B, G]`; a dict of G columns `[B]`; or a dict of `text` `[B]` and
            `choices` `[B, G]`.
        preprocessor: A `Preprocessor`.
    """
    if isinstance(inputs, dict) and set(inputs) == {"text", "choices"}:
        choices = inputs["choices"]
        text = tf.repeat(inputs["text"][:, None], tf.shape(choices)[1], axis=1)
        texts = (tf.reshape(text, [-1]), tf.reshape(choices, [-1]))
        return in_groups(preprocessor.preprocess(texts), choices.shape[1])
    if isinstance(inputs, dict):
        inputs = tf.stack(list(inputs.values()), axis=1)
    return in_groups(preprocessor.preprocess(tf.reshape(inputs, [-1])), inputs.shape[1])


def flat_features(inputs):
    """Return ids `[B, G, T]` as `[B * G, T]`, on any backend; and G.

    >>> rows, size = flat_features({"token_ids": np.ones((2, 3, 5))})
    >>> rows["token_ids"].shape, size
    (TensorShape([6, 5]), 3)
    """
    size = inputs["token_ids"].shape[1]
    return {
        name: ops.reshape(rows, (-1, ops.shape(rows)[-1]))
        for name, rows in inputs.items()
        if rows is not None
    }, size


def in_groups(features, size):
    """Return features `[B * G, T]` as `[B, G, T]`."""
    grouped = {}
    for name, rows in features.items():
        length = tf.shape(rows)[1] if rows.shape[1] is None else rows.shape[1]
        grouped[name] = tf.reshape(rows, [-1, size, length])
    return grouped
