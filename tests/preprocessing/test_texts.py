"""Every form in which texts come, and the rows that are not texts."""

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.preprocessing.texts import Texts, is_ids, read_texts
from bertzoo.tokenizers.base import as_texts

FIRST, SECOND = ["ä cat", "b\0"], ["", "dog"]
ENCODED_FIRST, ENCODED_SECOND = ["ä cat".encode(), b"b\0"], [b"", b"dog"]


class Column:
    """Stands for a column of a data frame."""

    def to_numpy(self):
        return np.array(FIRST, dtype=object)


@pytest.mark.parametrize(
    "inputs",
    [
        FIRST,
        [text.encode() for text in FIRST],
        np.array(FIRST, dtype=object),
        np.array(FIRST, dtype=object)[:, None],
        tf.constant(FIRST),
        {"text": FIRST},
        Column(),
    ],
    ids=["list", "bytes", "array", "column array", "tensor", "dict", "data frame"],
)
def test_texts_come_in_many_forms(inputs):
    texts = read_texts(inputs)
    assert texts.text.tolist() == ENCODED_FIRST
    assert texts.text_pair is None


@pytest.mark.parametrize(
    "inputs",
    [
        list(zip(FIRST, SECOND, strict=True)),
        [list(pair) for pair in zip(FIRST, SECOND, strict=True)],
        np.array(list(zip(FIRST, SECOND, strict=True)), dtype=object),
        (FIRST, SECOND),
        (tf.constant(FIRST), tf.constant(SECOND)),
        [tf.constant(FIRST), tf.constant(SECOND)],
        {"text": FIRST, "text_pair": np.array(SECOND)},
    ],
    ids=["2-tuples", "2-lists", "array", "columns", "tensors", "list of tensors", "dict"],
)
def test_pairs_come_in_many_forms(inputs):
    texts = read_texts(inputs)
    assert texts.text.tolist() == ENCODED_FIRST
    assert texts.text_pair.tolist() == ENCODED_SECOND


def test_a_list_of_two_strings_is_two_texts():
    assert read_texts(["a", "b"]).text.tolist() == [b"a", b"b"]


@pytest.mark.parametrize("inputs", [("a", "b"), (("a", "b"), ("c", "d"))])
def test_a_tuple_that_may_be_a_pair_is_refused(inputs):
    with pytest.raises(ValueError, match="may be one pair"):
        read_texts(inputs)


@pytest.mark.parametrize("bad", [None, 7, float("nan"), ["x"]])
def test_a_row_that_is_no_string_is_named(bad):
    with pytest.raises(ValueError, match=r"text 2 should be a string; got"):
        read_texts(["a", "b", bad])
    with pytest.raises(ValueError, match=r"text_pair 1 should be a string; got"):
        read_texts([("a", "b"), ("c", bad)])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("a cat", "put it in a list"),
        (tf.constant("a cat"), "expected texts as"),
        (3, "got int"),
        (np.zeros((2, 3)), r"got \[2, 3\] of float64"),
        (np.zeros(2), "text 0 should be a string"),
        ({"texts": ["a"]}, r"got \['texts'\]"),
        ({"text": ["a"], "text_pair": ["b", "c"]}, "got 1 and 2"),
        ([("a", "b"), ("c",)], "row 1 should be a pair"),
    ],
)
def test_what_is_no_text_raises_and_says_so(inputs, message):
    with pytest.raises(ValueError, match=message):
        read_texts(inputs)


def test_no_texts_become_empty_string_tensors():
    columns = read_texts([]).columns()
    assert columns["text"].dtype == tf.string
    assert columns["text"].shape == (0,)


def test_rows_can_be_sliced():
    texts = read_texts([("a", "b"), ("c", "d"), ("e", "f")])[1:]
    assert isinstance(texts, Texts)
    assert len(texts) == 2
    assert texts.text_pair.tolist() == [b"d", b"f"]


def test_a_lone_surrogate_becomes_what_the_tokenizer_makes_of_it():
    texts = ["a\ud800b", "\udc00"]
    read = read_texts(texts).text.tolist()
    assert read == [b"a\xef\xbf\xbdb", b"\xef\xbf\xbd"]
    assert read == as_texts(texts).numpy().tolist()
    pairs = read_texts([("a\udfff", "b")])
    assert pairs.text.tolist() == [b"a\xef\xbf\xbd"]


def test_ids_are_told_from_texts():
    assert is_ids({"token_ids": np.zeros((1, 2))})
    assert not is_ids({"text": ["token_ids"]})
    assert not is_ids(["token_ids"])
