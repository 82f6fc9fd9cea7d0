"""Rows of one shard: from places in the ids to a dense array, by one of the modes."""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np

from bertzoo.corpus import pairs, texts_in_rows

# N rows  T length  S spans

MODES = ("next_sentence", "sentence_order", "full_sentences", "doc_sentences", "packed")
PAIR_MODES = MODES[:2]
# A row's texts are counted in one byte by some users of a mask; no row of 512 has more.
MOST_TEXTS = 255


class Rows(NamedTuple):
    """Dense rows.

    Args:
        token_ids: Int32 `[N, T]`, padded.
        lengths: Int32 `[N]`, tokens of each row.
        first_lengths: Int32 `[N]`, tokens of segment 0.
        labels: Int32 `[N]`, 1 where the second text does not follow the first; 0 without pairs.
    """

    token_ids: np.ndarray
    lengths: np.ndarray
    first_lengths: np.ndarray
    labels: np.ndarray


def make_rows(
    documents,
    mode: str,
    seed: int,
    sequence_length: int,
    form,
    short_probability: float = 0.1,
    passes: int = 1,
) -> Rows:
    """Turn `TokenizedDocuments` into rows; one generator with `seed` draws everything.

    Args:
        documents: `TokenizedDocuments`.
        mode: One of `MODES`.
        seed: Of the generator.
        sequence_length: T.
        form: A `packing.PackingForm`: the special tokens.
        short_probability: See `pairs.sentence_pairs`.
        passes: See `pairs.sentence_pairs`; for other modes, how often the documents are shuffled
            and filled into rows anew.
    """
    rng = random.Random(seed)
    bounds = documents.bounds()
    if not bounds:
        return _assemble(documents.token_ids, [], [], form, sequence_length, mode)
    if mode in PAIR_MODES:
        found = pairs.sentence_pairs(
            bounds, rng, sequence_length, short_probability, passes, swap=mode == "sentence_order"
        )
        spans = [[(pair[0], pair[1]), (pair[2], pair[3])] for pair in found]
        labels = [pair.label for pair in found]
        return _assemble(documents.token_ids, spans, labels, form, sequence_length, mode)
    spans = []
    for _ in range(passes):
        crosses = mode == "full_sentences"
        spans += texts_in_rows.full_sentences(bounds, rng, sequence_length, crosses)
    if mode == "packed":
        lengths = [2 + row[0][1] - row[0][0] for row in spans]
        packs = texts_in_rows.pack_texts(lengths, sequence_length, MOST_TEXTS)
        spans = [[spans[text][0] for text in pack] for pack in packs]
    if mode == "packed" or passes > 1:
        rng.shuffle(spans)
    labels = [0] * len(spans)
    return _assemble(documents.token_ids, spans, labels, form, sequence_length, mode)


def _assemble(token_ids, spans, labels, form, sequence_length, mode) -> Rows:
    # Every span is followed by `end`; the first, or every one of a packed row, has `start` before.
    per_row = np.array([len(row) for row in spans], np.int64)
    flat = np.array([span for row in spans for span in row], np.int64).reshape(-1, 2)
    owner = np.repeat(np.arange(len(spans)), per_row)
    is_first = np.concatenate([[True], owner[1:] != owner[:-1]])[: len(owner)]
    has_start = np.ones(len(flat), bool) if mode == "packed" else is_first
    sizes = flat[:, 1] - flat[:, 0]
    whole = sizes + 1 + has_start  # with the special tokens
    ends = np.cumsum(whole)
    row_begin = np.cumsum(np.bincount(owner, whole, len(spans)).astype(np.int64))
    lengths = np.diff(row_begin, prepend=0)
    assert (lengths <= sequence_length).all()
    begin = ends - whole - np.repeat(row_begin - lengths, per_row)  # of a span in its row
    place = owner * sequence_length + begin + has_start  # of its first token in the result
    result = np.full(len(spans) * sequence_length, form.pad, np.int32)
    steps = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    result[np.repeat(place, sizes) + steps] = token_ids[np.repeat(flat[:, 0], sizes) + steps]
    result[place + sizes] = form.end
    result[(place - 1)[has_start]] = form.start
    return Rows(
        result.reshape(len(spans), sequence_length),
        lengths.astype(np.int32),
        (whole[is_first] if mode in PAIR_MODES else lengths).astype(np.int32),
        np.array(labels, np.int32),
    )
