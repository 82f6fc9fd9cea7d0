"""Pairs of text as BERT and ALBERT were trained on, step by step, with one seeded generator.

`create_instances_from_document` of google-research/bert (next sentence) and google-research/albert
(sentence order). Sentences lie end to end in one array, so a text is two places in it, and all is
arithmetic on places: a row's ids are copied once, at the end.
"""

from __future__ import annotations

import random
from typing import NamedTuple


class Pair(NamedTuple):
    """Two texts as places in the shard's ids, and 1 where the second does not follow the first."""

    first_start: int
    first_end: int
    second_start: int
    second_end: int
    label: int


def sentence_pairs(
    documents: list[list[int]],
    rng: random.Random,
    sequence_length: int,
    short_probability: float = 0.1,
    passes: int = 1,
    swap: bool = False,
) -> list[Pair]:
    """Return the pairs of documents, shuffled.

    Args:
        documents: For each document where its sentences begin and end; shuffled in place once.
        rng: Draws everything, in the order in which Google's code draws.
        sequence_length: Most tokens of a row, with its three special tokens.
        short_probability: Of a document whose rows are shorter, so that short texts are seen.
        passes: How often the documents are gone through (`dupe_factor`).
        swap: Sentence order (ALBERT): two parts of one text, label 1 where they are swapped. Else
            next sentence (BERT): label 1 where the second comes from another document.

    Example:
    >>> for pair in sentence_pairs([[0, 4, 9], [9, 12]], random.Random(1), 16):
    ...     print(*pair)
    4 9 9 12 1
    9 12 0 9 1
    0 4 9 12 1
    """
    rng.shuffle(documents)
    pairs: list[Pair] = []
    for _ in range(passes):
        for number in range(len(documents)):
            pairs += _pairs_of_document(
                documents, number, rng, sequence_length - 3, short_probability, swap
            )
    rng.shuffle(pairs)
    return pairs


def _pairs_of_document(documents, number, rng, most, short_probability, swap):
    bounds = documents[number]
    num_sentences = len(bounds) - 1
    target = most
    if rng.random() < short_probability:  # once a document and pass
        target = rng.randint(2, most)
    pairs = []
    first = last = 0  # the sentences of the chunk
    while last < num_sentences:
        if last == num_sentences - 1 or bounds[last + 1] - bounds[first] >= target:
            count = last - first + 1
            cut = first + (rng.randint(1, count - 1) if count >= 2 else 1)
            one = (bounds[first], bounds[cut])
            label = 1
            if count == 1 or (not swap and rng.random() < 0.5):
                wanted = target - (one[1] - one[0])
                two = _from_another_document(documents, number, rng, wanted)
                last = cut - 1  # the sentences behind the cut are used by the next chunk
            else:
                two = (bounds[cut], bounds[last + 1])
                if swap and rng.random() < 0.5:
                    one, two = two, one
                else:
                    label = 0
            pairs.append(Pair(*_truncate(*one, *two, most, rng), label))
            first = last + 1
        last += 1
    return pairs


def _from_another_document(documents, number, rng, wanted):
    for _ in range(10):  # of one document alone, the same one
        other = rng.randint(0, len(documents) - 1)
        if other != number:
            break
    bounds = documents[other]
    start = rng.randint(0, len(bounds) - 2)
    last = start
    while last < len(bounds) - 2 and bounds[last + 1] - bounds[start] < wanted:
        last += 1
    return bounds[start], bounds[last + 1]


def _truncate(first_start, first_end, second_start, second_end, most, rng):
    # One token at a time, from the longer text (the second of equals), from either end.
    for _ in range(first_end - first_start + second_end - second_start - most):
        from_front = rng.random() < 0.5
        if first_end - first_start > second_end - second_start:
            first_start, first_end = first_start + from_front, first_end - (not from_front)
        else:
            second_start, second_end = second_start + from_front, second_end - (not from_front)
    return first_start, first_end, second_start, second_end
