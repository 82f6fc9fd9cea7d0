"""Choices of tokens, words and runs against the published loops, written out one by one."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.preprocessing import mask_choice

LAST = mask_choice.LAST


def flat(lists):
    return list(itertools.chain.from_iterable(lists))


def random_rows(seed, batch=60, length=23):
    """Rows with special tokens inside, words of several tokens, and ranks without ties."""
    rng = np.random.default_rng(seed)
    candidates = rng.random((batch, length)) > 0.15
    continues = rng.random((batch, length)) > 0.55
    starts = mask_choice.word_starts(tf.constant(candidates), tf.constant(continues)).numpy()
    words = np.cumsum(starts, axis=1)
    by_word = np.argsort(rng.random((batch, length + 1)), axis=1).astype(np.int32)
    ranks = np.take_along_axis(by_word, words, axis=1)
    token_ranks = np.argsort(rng.random((batch, length)), axis=1).astype(np.int32)
    room = rng.integers(0, 12, batch).astype(np.int32)
    return candidates, starts, ranks, token_ranks, room


def words_of(candidates, starts):
    """The words of one row as lists of places, in runs between special tokens."""
    runs, words = [], []
    for place, (is_candidate, is_start) in enumerate(zip(candidates, starts, strict=True)):
        if not is_candidate:
            runs, words = [*runs, words], []
        elif is_start:
            words.append([place])
        else:
            words[-1].append(place)
    return [run for run in [*runs, words] if run]


def places(row):
    return np.flatnonzero(row).tolist()


def test_the_first_tokens_by_rank_are_chosen():
    candidates, _, _, ranks, room = random_rows(1)
    ranks = np.where(candidates, ranks, LAST)
    room = np.minimum(room, candidates.sum(axis=1)).astype(np.int32)
    chosen = mask_choice.choose_first(tf.constant(ranks), tf.constant(room)).numpy()
    for row, rank, most in zip(chosen, ranks, room, strict=True):
        assert places(row) == sorted(np.argsort(rank)[:most].tolist())


@pytest.mark.parametrize("seed", range(3))
def test_words_are_chosen_as_googles_loop_chooses_them(seed):
    candidates, starts, ranks, _, room = random_rows(seed)
    chosen = mask_choice.choose_words(
        tf.constant(ranks), tf.constant(candidates), tf.constant(starts), tf.constant(room)
    ).numpy()
    for row in range(len(room)):
        words = flat(words_of(candidates[row], starts[row]))
        expected = []
        for word in sorted(words, key=lambda word: ranks[row, word[0]]):
            if len(expected) >= room[row]:
                break
            if len(expected) + len(word) <= room[row]:
                expected += word
        assert places(chosen[row]) == sorted(expected)


@pytest.mark.parametrize("seed", range(3))
def test_ngrams_are_chosen_as_alberts_loop_chooses_them(seed):
    candidates, starts, ranks, _, room = random_rows(seed)
    ranks = np.where(starts, ranks, LAST)
    left = mask_choice.words_left(tf.constant(candidates), tf.constant(starts)).numpy()
    drawn = np.random.default_rng(seed).integers(1, 4, ranks.shape)
    lengths = np.minimum(drawn, left).astype(np.int32)
    rows = map(tf.constant, (ranks, candidates, starts, lengths))
    chosen, owners = mask_choice.choose_runs(*rows, 3, tf.constant(room))
    for row in range(len(room)):
        followers = {
            run[index][0]: run[index:]
            for run in words_of(candidates[row], starts[row])
            for index in range(len(run))
        }
        expected, anchors = [], {}
        for anchor in sorted(followers, key=lambda place: ranks[row, place]):
            if len(expected) >= room[row]:
                break
            assert len(followers[anchor]) >= lengths[row, anchor]
            for count in range(lengths[row, anchor], 0, -1):  # shorter and shorter
                run = flat(followers[anchor][:count])
                if len(expected) + len(run) <= room[row]:
                    break
            else:
                continue
            if not set(run) & set(expected):
                expected += run
                anchors |= dict.fromkeys(run, anchor)
        assert places(chosen[row].numpy()) == sorted(expected)
        assert {place: owners[row, place].numpy() for place in expected} == anchors


@pytest.mark.parametrize("seed", range(3))
def test_spans_are_chosen_as_spanberts_loop_chooses_them(seed):
    candidates, starts, _, ranks, room = random_rows(seed)
    ranks = np.where(candidates, ranks, LAST)
    lengths = np.random.default_rng(seed).integers(1, 6, ranks.shape).astype(np.int32)
    arguments = map(tf.constant, (ranks, candidates, starts, lengths))
    chosen, _ = mask_choice.choose_runs(*arguments, 5, tf.constant(room), overlap=True)
    for row in range(len(room)):
        words = words_of(candidates[row], starts[row])
        masked = set()
        for anchor in np.argsort(ranks[row])[: candidates[row].sum()].tolist():
            if len(masked) >= room[row]:
                break
            if anchor in masked:
                continue
            run = next(run for run in words if any(anchor in word for word in run))
            first = next(index for index, word in enumerate(run) if anchor in word)
            for place in flat(run[first : first + lengths[row, anchor]]):
                if len(masked) < room[row]:
                    masked.add(place)
        assert places(chosen[row].numpy()) == sorted(masked)


def test_words_left_are_counted_up_to_the_next_special_token():
    candidates, starts, *_ = random_rows(3)
    left = mask_choice.words_left(tf.constant(candidates), tf.constant(starts)).numpy()
    for row in range(len(left)):
        for run in words_of(candidates[row], starts[row]):
            for index, word in enumerate(run):
                assert left[row, word[0]] == len(run) - index
