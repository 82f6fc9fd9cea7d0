"""Read what users call texts: lists, arrays, tensors, pairs; anything else is named and refused.

A pair is never guessed from a tuple of two strings: Keras reads a 2-tuple as inputs and labels.
"""

import collections.abc
import typing

import numpy as np

from bertzoo.tokenizers import utf8

TEXT_KEYS = ("text", "text_pair")


class Texts(typing.NamedTuple):
    """Texts, or pairs of texts, by column.

    Args:
        text: Object array `[N]` of UTF-8 bytes.
        text_pair: The second texts, or None.
    """

    text: np.ndarray
    text_pair: np.ndarray | None

    def __getitem__(self, rows):
        """Return some of the rows."""
        return Texts(self.text[rows], None if self.text_pair is None else self.text_pair[rows])

    def __len__(self):
        """Return the number of rows."""
        return len(self.text)

    def columns(self):
        """Return a dict of string tensors, what a `tf.data` pipeline carries."""
        import tensorflow as tf

        # Typed: TensorFlow takes an empty object array for floats.
        columns = {"text": tf.constant(self.text, dtype="string")}
        if self.text_pair is not None:
            columns["text_pair"] = tf.constant(self.text_pair, dtype="string")
        return columns


def read_texts(inputs):
    """Return `Texts` from any form in which rows of text come.

    Args:
        inputs: A list, array or tensor of strings; a list of 2-tuples, or an array `[N, 2]`, of
            pairs; a tuple of two columns; or a dict with `text` and, for pairs, `text_pair`.

    Raises:
        ValueError: For anything else, with the row where one is wrong.

    Example:
    >>> read_texts(["a cat", "a dog"]).text.tolist()
    [b'a cat', b'a dog']
    >>> read_texts([("who?", "me"), ("why?", "so")]).text_pair.tolist()
    [b'me', b'so']
    """
    if isinstance(inputs, Texts):
        return inputs
    first, second = split_columns(inputs)
    if second is None:
        return _read_rows(first)
    return _paired(_encode(_rows(first), "text"), _encode(_rows(second), "text_pair"))


def split_columns(inputs):
    """Return the first and the second column (None where there is one), not yet read.

    >>> split_columns({"text": ["a"], "text_pair": ["b"]})
    (['a'], ['b'])
    """
    if isinstance(inputs, collections.abc.Mapping):
        unknown = sorted(set(inputs) - set(TEXT_KEYS))
        if unknown or "text" not in inputs:
            raise ValueError(
                "a dict of texts has the key `text` and, for pairs, `text_pair`; "
                f"got {sorted(inputs)}."
            )
        return inputs["text"], inputs.get("text_pair")
    if isinstance(inputs, str | bytes):
        raise ValueError(f"expected several texts; got one string: put it in a list: [{inputs!r}].")
    if not isinstance(inputs, tuple | list) or len(inputs) != 2:
        return inputs, None
    if all(_is_column(item) for item in inputs):
        return inputs[0], inputs[1]
    if isinstance(inputs, list):
        return inputs, None
    if any(isinstance(item, str | bytes | tuple) for item in inputs):
        raise ValueError(
            "this tuple may be one pair, two texts or two columns: write [(a, b)] for a pair of "
            "texts, [a, b] for two texts, {'text': ..., 'text_pair': ...} for two columns."
        )
    return inputs[0], inputs[1]


def is_ids(inputs):
    """Return whether inputs are a dict of ids, not texts."""
    return isinstance(inputs, collections.abc.Mapping) and "token_ids" in inputs


def _is_column(item):
    # An array or a tensor of one dimension or of unknown rank; a list would be a row.
    return hasattr(item, "dtype") and hasattr(item, "shape")


def _rows(inputs):
    if hasattr(inputs, "to_numpy"):  # a column of a data frame
        inputs = inputs.to_numpy()
    elif hasattr(inputs, "numpy"):
        inputs = inputs.numpy()
    is_text = isinstance(inputs, str | bytes)
    if isinstance(inputs, np.ndarray | collections.abc.Sequence) and not is_text:
        return inputs
    hint = ""
    if hasattr(inputs, "column_names"):  # of Hugging Face's datasets
        hint = (
            f" Its columns are {', '.join(map(str, inputs.column_names or ()))}: give one of them, "
            "or read it with bertzoo.readers.read_dataset."
        )
    raise ValueError(
        "expected texts as a list, an array, a tensor, a dict with `text`, or a tf.data.Dataset; "
        f"got {type(inputs).__name__}.{hint}"
    )


def _read_rows(inputs):
    rows = _rows(inputs)
    if isinstance(rows, np.ndarray):
        if rows.ndim == 2 and rows.shape[1] == 1:
            rows = rows[:, 0]
        if rows.ndim == 2 and rows.shape[1] == 2:
            return _paired(_encode(rows[:, 0], "text"), _encode(rows[:, 1], "text_pair"))
        if rows.ndim != 1:
            raise ValueError(
                "an array of texts has the shape [N], of pairs [N, 2]; "
                f"got {list(rows.shape)} of {rows.dtype}."
            )
    if len(rows) and isinstance(rows[0], tuple | list):
        for index, row in enumerate(rows):
            if not isinstance(row, tuple | list) or len(row) != 2:
                raise ValueError(f"row {index} should be a pair of texts like row 0; got {row!r}.")
        first = _encode([row[0] for row in rows], "text")
        return _paired(first, _encode([row[1] for row in rows], "text_pair"))
    return Texts(_encode(rows, "text"), None)


def _paired(first, second):
    if len(first) != len(second):
        raise ValueError(
            f"pairs need as many second texts as first ones; got {len(first)} and {len(second)}."
        )
    return Texts(first, second)


def _encode(rows, column):
    # Objects: NumPy's fixed-width strings would drop NUL at the end.
    encoded = np.empty(len(rows), dtype=object)
    for index, row in enumerate(rows):
        if isinstance(row, str | bytes):
            encoded[index] = utf8.encode(row)
        else:
            raise ValueError(
                f"{column} {index} should be a string; got {row!r} ({type(row).__name__})."
            )
    return encoded
