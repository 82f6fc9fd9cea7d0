"""Plans that lose no row, and batches that hold what one big batch would hold."""

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.preprocessing import bucketing
from bertzoo.preprocessing.texts import read_texts


@pytest.fixture(scope="module")
def texts():
    random = np.random.default_rng(5)
    return [" ".join(random.choice(list("abcdefg"), n)) for n in random.integers(0, 60, 101)]


def batches_of(texts, preprocessor, batch_size):
    (rows,) = bucketing.packed_windows(
        bucketing.text_chunks(read_texts(texts), chunk=7), preprocessor
    )
    plan = bucketing.plan_batches(rows.lengths, preprocessor, batch_size)
    return plan, list(bucketing.planned_batches(rows, plan, preprocessor).as_numpy_iterator())


@pytest.mark.parametrize("padding", ["bucketed", "longest", "fixed"])
@pytest.mark.parametrize("batch_size", [1, 8, 1000])
def test_every_text_is_in_one_batch_with_its_own_ids(make_preprocessor, texts, padding, batch_size):
    preprocessor = make_preprocessor(sequence_length=64, padding=padding)
    plan, batches = batches_of(texts, preprocessor, batch_size)
    whole = preprocessor.pad(*preprocessor.pack(tf.constant(texts)), length=64)
    rows = []
    for (features,) in batches:
        assert len(features["token_ids"]) <= batch_size
        width = features["token_ids"].shape[1]
        rows += [np.pad(row, (0, 64 - width)) for row in features["token_ids"]]
    restored = bucketing.in_input_order(np.array(rows), plan.order)
    assert restored.tolist() == whole["token_ids"].numpy().tolist()


def test_batches_come_in_few_shapes_and_no_row_doubles(make_preprocessor, texts):
    preprocessor = make_preprocessor(sequence_length=64)
    _, batches = batches_of(texts, preprocessor, batch_size=16)
    lengths = [features["token_ids"].shape[1] for (features,) in batches]
    assert lengths == sorted(lengths, reverse=True)
    assert set(lengths) <= {8, 16, 24, 32, 40, 48, 56, 64}
    for features, length in zip(batches, lengths, strict=True):
        assert features[0]["padding_mask"].sum(axis=1).min() * 2 > length or length == 8


def test_one_long_text_does_not_lengthen_the_short_ones(make_preprocessor):
    preprocessor = make_preprocessor(sequence_length=64)
    _, batches = batches_of(["a"] * 5 + ["a " * 60] + ["b"] * 5, preprocessor, batch_size=32)
    assert [features["token_ids"].shape for (features,) in batches] == [(1, 64), (10, 8)]


def test_of_short_rows_there_may_be_more(make_preprocessor):
    preprocessor = make_preprocessor(sequence_length=64)
    lengths = np.array([60] * 10 + [30] * 10 + [7] * 40)
    plan = bucketing.plan_batches(lengths, preprocessor, 4, batch_tokens=256)
    # 4 rows of 64; 8 of 32; 32 of 8: 256 tokens each, and what is left.
    assert (plan.stops - plan.starts).tolist() == [4, 4, 2, 8, 2, 32, 8]
    assert plan.lengths.tolist() == [64, 64, 64, 32, 32, 8, 8]
    fixed = make_preprocessor(sequence_length=64, padding="fixed")
    plan = bucketing.plan_batches(lengths, fixed, 4, batch_tokens=10_000)
    assert set(plan.stops - plan.starts) == {4}


def test_fixed_padding_has_one_length(make_preprocessor, texts):
    preprocessor = make_preprocessor(sequence_length=64, padding="fixed")
    _, batches = batches_of(texts, preprocessor, batch_size=16)
    assert {features["token_ids"].shape[1] for (features,) in batches} == {64}
    assert len(batches) == 7


def test_windows_bound_the_ids_held_at_once(preprocessor):
    chunks = bucketing.text_chunks(read_texts(["a b c"] * 20), chunk=4)
    windows = list(bucketing.packed_windows(chunks, preprocessor, window_tokens=40))
    assert [len(window.lengths) for window in windows] == [8, 8, 4]
    assert all(len(window.values) == window.lengths.sum() for window in windows)


def test_pairs_keep_their_first_lengths(preprocessor):
    pairs = bucketing.text_chunks(read_texts([("a b", "c"), ("a", "b c d")]), chunk=1)
    (rows,) = bucketing.packed_windows(pairs, preprocessor)
    assert rows.first_lengths.tolist() == [4, 3]
    assert rows.lengths.tolist() == [6, 7]
