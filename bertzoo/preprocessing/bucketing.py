"""Batches of like length: short texts do not pay for long ones, and answers keep their order.

All texts are tokenized first, in chunks; only the ids stay in memory, 4 bytes a token. Then rows
are sorted by length, so that a batch pads to its own longest row, rounded up to one of a few
lengths.
"""

import typing

import numpy as np
import tensorflow as tf

from bertzoo.preprocessing import packing

# B batch  T length  N texts

# Texts tokenized at once: enough to use the vectorised tokenizer, small beside the ids.
CHUNK = 1024
# Ids held at once: 16 million * 4 bytes = 64 MB. More text than that runs in several windows.
WINDOW_TOKENS = 2**24


class PackedRows(typing.NamedTuple):
    """Packed rows of many texts, end to end.

    Args:
        values: Int32, all ids.
        lengths: Int32 `[N]`, tokens of each row.
        first_lengths: Int32 `[N]`, tokens of each row's segment 0.
    """

    values: np.ndarray
    lengths: np.ndarray
    first_lengths: np.ndarray


class BatchPlan(typing.NamedTuple):
    """Which rows run together.

    Args:
        order: Int64 `[N]`: row i of the batches, end to end, is row `order[i]` of the texts.
        starts: Int64, where each batch starts in `order`.
        stops: Int64, where it ends.
        lengths: Int32, to what length it is padded.
    """

    order: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    lengths: np.ndarray


def text_chunks(texts, chunk=CHUNK):
    """Yield the columns of `Texts`, `chunk` rows at a time."""
    for start in range(0, len(texts), chunk):
        yield texts[start : start + chunk].columns()


def pack_rows(inputs, preprocessor):
    """Return the `PackedRows` of what `Preprocessor.columns` reads."""
    # Not through `dataset.map`: a pipeline sets the tokenizer's graph up anew for every iterator,
    # which takes half a second, the time of half a million tokens.
    token_ids, first_lengths = preprocessor.pack(*preprocessor.columns(inputs))
    lengths = tf.cast(token_ids.row_lengths(), "int32")
    return PackedRows(token_ids.values.numpy(), lengths.numpy(), first_lengths.numpy())


def packed_windows(chunks, preprocessor, window_tokens=WINDOW_TOKENS):
    """Tokenize and pack batches of texts; yield `PackedRows` of about `window_tokens` ids.

    Args:
        chunks: An iterable of what `Preprocessor.columns` reads, as a batched `tf.data.Dataset`.
        preprocessor: A `Preprocessor`.
        window_tokens: Ids held at once; None for all.
    """
    parts, tokens = [], 0
    for inputs in chunks:
        parts.append(pack_rows(inputs, preprocessor))
        tokens += len(parts[-1].values)
        if window_tokens is not None and tokens >= window_tokens:
            yield _joined(parts)
            parts, tokens = [], 0
    if parts:
        yield _joined(parts)


def plan_batches(row_lengths, preprocessor, batch_size, batch_tokens=0):
    """Sort rows by length and cut them into batches, the longest first.

    The longest come first so that a batch too large for memory fails at once. A batch ends after
    `batch_size` rows, or before a row that its padding would make twice as long.

    Args:
        row_lengths: Int32 `[N]`.
        preprocessor: A `Preprocessor`; with padding `fixed` every batch has its full length.
        batch_size: Most rows of a batch.
        batch_tokens: Of short rows there may be more: as many as have so many tokens, padding
            included; with padding `fixed` there are not, so that all batches have one shape.
    """
    order = np.argsort(-row_lengths, kind="stable")
    descending = row_lengths[order]
    buckets = packing.length_buckets(preprocessor.sequence_length)
    starts, stops, lengths = [], [], []
    start = 0
    while start < len(order):
        length = int(descending[start])
        if preprocessor.padding == "fixed":
            length = preprocessor.sequence_length
            stop = start + batch_size
        else:
            if preprocessor.padding == "bucketed":
                length = int(buckets[np.searchsorted(buckets, length)])
            # The first row of at most half the length. Below 16 tokens nothing is won by a cut:
            # no batch is shorter than the smallest bucket, 8.
            limit = length // 2 if length >= 16 else 0
            short = int(np.searchsorted(-descending, -limit, side="left"))
            rows = max(batch_size, batch_tokens // max(length, 1))
            stop = min(start + rows, max(short, start + 1))
        starts.append(start)
        stops.append(min(stop, len(order)))
        lengths.append(length)
        start = stops[-1]
    return BatchPlan(order, np.array(starts), np.array(stops), np.array(lengths, dtype=np.int32))


def planned_batches(rows, plan, preprocessor, columns=()):
    """Return a dataset of the batches of a plan.

    Args:
        rows: `PackedRows`.
        plan: A `BatchPlan` of them.
        preprocessor: A `Preprocessor`.
        columns: Arrays `[N, ...]`, as labels, that go with the rows.

    Returns:
        A `tf.data.Dataset` of tuples: the feature dict, then each column's part.
    """
    order = tf.constant(plan.order)
    batches = tf.data.Dataset.from_tensor_slices((plan.starts, plan.stops, plan.lengths))
    members = batches.map(lambda start, stop, length: (order[start:stop], length))
    return _feature_batches(members, rows, preprocessor, columns)


def plain_batches(rows, preprocessor, batch_size, columns=(), order=None, drop_remainder=False):
    """Return a dataset of batches in input order, or in a new order at every iteration.

    Args:
        rows: `PackedRows`.
        preprocessor: A `Preprocessor`; each batch is padded as it says.
        batch_size: Rows of a batch.
        columns: Arrays `[N, ...]`, as labels, that go with the rows.
        order: A function from the number of rows to the order of the next iteration, int64
            `[N]`; None for that of the input.
        drop_remainder: Whether a last batch with fewer rows is left out, so that all have one
            static shape (TPU).

    Returns:
        A `tf.data.Dataset` of tuples: the feature dict, then each column's part.
    """
    batches = members(len(rows.lengths), batch_size, order, drop_remainder)
    batches = batches.map(lambda batch: (batch, None))
    return _feature_batches(batches, rows, preprocessor, columns)


def members(num_rows, batch_size, order=None, drop_remainder=False):
    """Return a dataset of the rows of each batch, int64 `[B]`; see `plain_batches`."""
    if drop_remainder and num_rows < batch_size:
        raise ValueError(
            f"drop_remainder=True leaves nothing of {num_rows} rows in batches of {batch_size}."
        )
    rows = tf.data.Dataset.range(num_rows)
    if order is not None:
        spec = tf.TensorSpec([num_rows], "int64")
        # Asked anew by every iteration, so that an epoch's order can depend on its number.
        orders = tf.data.Dataset.from_generator(lambda: [order(num_rows)], output_signature=spec)
        rows = orders.unbatch().apply(tf.data.experimental.assert_cardinality(num_rows))
    return rows.batch(batch_size, drop_remainder=drop_remainder)


def in_input_order(outputs, order):
    """Put row i of `outputs` back to place `order[i]`.

    >>> in_input_order(np.array([10, 20, 30]), np.array([2, 0, 1])).tolist()
    [20, 30, 10]
    """
    restored = np.empty_like(outputs)
    restored[order] = outputs
    return restored


def _feature_batches(members, rows, preprocessor, columns):
    rows = PackedRows(*map(tf.constant, rows))
    columns = [tf.constant(column) for column in columns]

    # Nothing in it is for autograph to convert, and reading it would take long.
    @tf.autograph.experimental.do_not_convert
    def features(batch, length):
        parts = [tf.gather(column, batch) for column in columns]
        padded = preprocessor.pad_some(rows, batch, length)
        for feature in padded.values():  # ragged tensors forget it; a TPU needs it
            feature.set_shape([batch.shape[0], None])
        return (padded, *parts)

    return members.map(features, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _joined(parts):
    return PackedRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
