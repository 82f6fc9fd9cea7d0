"""Packing against Google's loop, written out in Python, on every small case."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.preprocessing import packing

BERT = packing.PackingForm(start=101, end=102, pad=0)
ROBERTA = packing.PackingForm(start=0, end=2, pad=1, num_separators=2)


def ragged(rows):
    return tf.ragged.constant(rows, dtype="int32", ragged_rank=1)


def truncate_by_popping(first, second, budget):
    """google-research/bert, run_classifier.py, `_truncate_seq_pair`: described, not copied."""
    first, second = list(first), list(second)
    while len(first) + len(second) > budget:
        longer = first if len(first) > len(second) else second
        longer.pop()
    return first, second


def test_truncation_equals_googles_loop_on_every_pair_of_lengths_up_to_12():
    pairs = list(itertools.product(range(13), repeat=2))
    for budget in range(12):
        kept = packing.kept_lengths(*map(tf.constant, zip(*pairs, strict=True)), budget)
        for (first, second), *got in zip(pairs, *(k.numpy().tolist() for k in kept), strict=True):
            wanted = truncate_by_popping(range(first), range(second), budget)
            assert got == [len(part) for part in wanted], (first, second, budget)


@pytest.mark.parametrize("form", [BERT, ROBERTA])
@pytest.mark.parametrize("sequence_length", [4, 5, 9, 40])
def test_pairs_are_packed_as_a_loop_packs_them(form, sequence_length):
    random = np.random.default_rng(sequence_length)
    first = [random.integers(200, 300, n).tolist() for n in (0, 1, 7, 3, 20, 6)]
    second = [random.integers(200, 300, n).tolist() for n in (0, 6, 7, 30, 2, 6)]
    token_ids, first_lengths = packing.pack(ragged(first), ragged(second), form, sequence_length)
    for row, (a, b) in enumerate(zip(first, second, strict=True)):
        special = 2 + form.num_separators
        a, b = truncate_by_popping(a, b, sequence_length - special)
        start, end = [form.start], [form.end]
        wanted = start + a + end * form.num_separators + b + end
        assert token_ids[row].numpy().tolist() == wanted
        assert int(first_lengths[row]) == len(a) + 2


def test_single_texts_lose_what_is_over_from_their_end():
    token_ids, _ = packing.pack(ragged([[7, 8, 9], [5], []]), None, BERT, sequence_length=4)
    assert token_ids.to_list() == [[101, 7, 8, 102], [101, 5, 102], [101, 102]]


def test_a_batch_without_rows_packs_to_no_rows():
    none = tf.RaggedTensor.from_row_lengths(tf.zeros([0], "int32"), tf.zeros([0], "int32"))
    token_ids, first_lengths = packing.pack(none, none, BERT, sequence_length=8)
    assert token_ids.nrows() == 0
    assert packing.pad(token_ids, first_lengths, 8, BERT)["token_ids"].shape == (0, 8)


def test_padding_is_marked_and_segments_are_numbered():
    token_ids, first_lengths = packing.pack(ragged([[7, 8], [9]]), ragged([[5], []]), BERT, 16)
    features = packing.pad(token_ids, first_lengths, 7, BERT)
    assert features["token_ids"].numpy().tolist() == [
        [101, 7, 8, 102, 5, 102, 0],
        [101, 9, 102, 102, 0, 0, 0],
    ]
    assert features["padding_mask"].numpy().tolist() == [[1] * 6 + [0], [1] * 4 + [0] * 3]
    assert features["segment_ids"].numpy().tolist() == [
        [0, 0, 0, 0, 1, 1, 0],
        [0, 0, 0, 1, 0, 0, 0],
    ]
    assert {feature.dtype for feature in features.values()} == {tf.int32}


def test_padding_uses_the_pad_token_of_the_form():
    token_ids, first_lengths = packing.pack(ragged([[7]]), None, ROBERTA, 16)
    features = packing.pad(token_ids, first_lengths, 5, ROBERTA, num_segments=1)
    assert features["token_ids"].numpy().tolist() == [[0, 7, 2, 1, 1]]
    assert features["segment_ids"].numpy().tolist() == [[0] * 5]


def test_a_backbone_without_segments_gets_none():
    token_ids, first_lengths = packing.pack(ragged([[7]]), None, BERT, 16)
    features = packing.pad(token_ids, first_lengths, 5, BERT, num_segments=0)
    assert sorted(features) == ["padding_mask", "token_ids"]


def test_the_length_may_be_a_tensor_inside_a_graph():
    rows = ragged([[1, 2, 3], [4]])

    @tf.function(input_signature=[tf.TensorSpec([], "int32")])
    def pad(length):
        return packing.pad(rows, tf.constant([3, 1]), length, BERT)["token_ids"]

    assert pad(tf.constant(4)).numpy().tolist() == [[1, 2, 3, 0], [4, 0, 0, 0]]


@pytest.mark.parametrize("sequence_length", [1, 7, 8, 9, 100, 512, 4096])
def test_buckets_hold_every_length_and_waste_little(sequence_length):
    buckets = packing.length_buckets(sequence_length)
    assert buckets == sorted(set(buckets))
    assert buckets[-1] == sequence_length
    assert len(buckets) <= 32
    for length in range(1, sequence_length + 1):
        bucket = (
            int(packing.round_up(tf.constant(length), buckets))
            if length < 50
            else min(b for b in buckets if b >= length)
        )
        assert bucket >= length
        assert bucket - length < max(8, length / 4)
