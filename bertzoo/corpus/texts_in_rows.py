"""Rows without pairs: RoBERTa's full sentences and doc-sentences, and short texts packed together.

Liu et al. 2019, section 4.2. A text is a list of (start, end) places in the shard's ids; each
place is followed by one separator.
"""

from __future__ import annotations

import itertools
import random

Span = tuple[int, int]


def full_sentences(
    documents: list[list[int]],
    rng: random.Random,
    sequence_length: int,
    cross_documents: bool = True,
) -> list[list[Span]]:
    """Fill rows with whole sentences, in the order of the text.

    Args:
        documents: For each document where its sentences begin and end; shuffled in place.
        rng: Shuffles the documents, and then the rows.
        sequence_length: Most tokens of a row, with its start token and separators.
        cross_documents: Whether a row goes on in the next document, behind one more separator
            (FULL-SENTENCES); else it ends with its document (DOC-SENTENCES).

    Returns:
        For each row its spans, one a document. A sentence longer than a row is cut.

    Example:
    >>> sorted(full_sentences([[0, 3, 6], [6, 8]], random.Random(1), 10))
    [[(3, 6)], [(6, 8), (0, 3)]]
    """
    rng.shuffle(documents)
    rows: list[list[Span]] = []
    spans: list[Span] = []
    used = 1  # the start token
    for bounds in documents:
        if not cross_documents and spans:
            rows.append(spans)
            spans, used = [], 1
        is_new = True
        for start, end in _sentences(bounds, sequence_length - 2):
            cost = end - start + is_new  # a document brings its separator
            if used + cost > sequence_length:
                rows.append(spans)
                spans, used, is_new = [], 1, True
                cost = end - start + 1
            if is_new:
                spans.append((start, end))
            else:
                spans[-1] = (spans[-1][0], end)
            used, is_new = used + cost, False
    if spans:
        rows.append(spans)
    rng.shuffle(rows)
    return rows


def _sentences(bounds, longest):
    for start, end in itertools.pairwise(bounds):
        for place in range(start, end, longest):
            yield place, min(place + longest, end)


def pack_texts(lengths: list[int], sequence_length: int, most_texts: int) -> list[list[int]]:
    """Put texts together into rows, the longest first, each into the fullest row that has room.

    Best fit, decreasing: on lengths as Wikipedia's it leaves well under one percent of padding
    (Krell et al. 2021, arXiv 2107.02027, who use the same idea on a histogram).

    Args:
        lengths: Tokens of each text with its special tokens, at most `sequence_length`.
        sequence_length: Tokens of a row.
        most_texts: Most texts of a row.

    Returns:
        For each row the numbers of its texts.

    Example:
    >>> pack_texts([3, 6, 4, 7], sequence_length=10, most_texts=8)
    [[3, 0], [1, 2]]
    """
    rows: list[list[int]] = []
    by_room: list[list[int]] = [[] for _ in range(sequence_length + 1)]
    occupied = 0  # bit r is set where a row has room for r tokens
    for text in sorted(range(len(lengths)), key=lambda text: (-lengths[text], text)):
        length = lengths[text]
        fitting = occupied >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = by_room[room].pop()
            if not by_room[room]:
                occupied &= ~(1 << room)
            rows[row].append(text)
        else:
            room, row = sequence_length, len(rows)
            rows.append([text])
        if room > length and len(rows[row]) < most_texts:
            by_room[room - length].append(row)
            occupied |= 1 << (room - length)
    return rows
