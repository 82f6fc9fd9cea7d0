"""Rows against the published algorithms, written out on lists of tokens, draw for draw."""

import random

import numpy as np
import pytest

from bertzoo.corpus import rows, texts_in_rows
from bertzoo.corpus.tokenized import TokenizedDocuments, tokenize_documents
from bertzoo.preprocessing.packing import PackingForm

FORM = PackingForm(start=2, end=3, pad=0)


def random_documents(seed, count=30, sentences=9, tokens=12):
    """Documents as lists of sentences of ids; no two tokens are the same."""
    rng = random.Random(seed)
    following = iter(range(10, 10**6))
    return [
        [
            [next(following) for _ in range(rng.randint(1, tokens))]
            for _ in range(rng.randint(1, sentences))
        ]
        for _ in range(count)
    ]


def as_arrays(documents):
    sentences = [sentence for document in documents for sentence in document]
    return TokenizedDocuments(
        np.array([token for sentence in sentences for token in sentence], np.int32),
        np.cumsum([0, *map(len, sentences)]),
        np.cumsum([0, *map(len, documents)]),
    )


def google_pairs(documents, rng, length, short_probability, passes, swap):
    """google-research/bert create_pretraining_data.py, as described in words: the list form.

    `swap` is google-research/albert's sentence order.
    """
    documents = list(documents)
    rng.shuffle(documents)
    found = []
    for _ in range(passes):
        for index, document in enumerate(documents):
            most = length - 3
            target = rng.randint(2, most) if rng.random() < short_probability else most
            chunk, chunk_tokens, i = [], 0, 0
            while i < len(document):
                chunk.append(document[i])
                chunk_tokens += len(document[i])
                if i == len(document) - 1 or chunk_tokens >= target:
                    a_end = rng.randint(1, len(chunk) - 1) if len(chunk) >= 2 else 1
                    a = [token for sentence in chunk[:a_end] for token in sentence]
                    b = []
                    if len(chunk) == 1 or (not swap and rng.random() < 0.5):
                        label = 1
                        for _ in range(10):
                            other = rng.randint(0, len(documents) - 1)
                            if other != index:
                                break
                        start = rng.randint(0, len(documents[other]) - 1)
                        for sentence in documents[other][start:]:
                            b += sentence
                            if len(b) >= target - len(a):
                                break
                        i -= len(chunk) - a_end
                    else:
                        label = 0
                        for sentence in chunk[a_end:]:
                            b += sentence
                        if swap and rng.random() < 0.5:
                            a, b, label = b, a, 1
                    while len(a) + len(b) > most:
                        longer = a if len(a) > len(b) else b
                        if rng.random() < 0.5:
                            del longer[0]
                        else:
                            longer.pop()
                    found.append((a, b, label))
                    chunk, chunk_tokens = [], 0
                i += 1
    rng.shuffle(found)
    return found


def spell(a, b, length):
    tokens = [2, *a, 3, *b, 3]
    return tokens + [0] * (length - len(tokens))


@pytest.mark.parametrize("mode", ["next_sentence", "sentence_order"])
@pytest.mark.parametrize("seed", range(4))
def test_pairs_are_those_of_googles_scripts(mode, seed):
    documents = random_documents(seed)
    found = rows.make_rows(as_arrays(documents), mode, seed, 40, FORM, 0.3, passes=3)
    swap = mode == "sentence_order"
    expected = google_pairs(documents, random.Random(seed), 40, 0.3, 3, swap)
    assert found.token_ids.tolist() == [spell(a, b, 40) for a, b, _ in expected]
    assert found.labels.tolist() == [label for *_, label in expected]
    assert found.first_lengths.tolist() == [len(a) + 2 for a, *_ in expected]
    assert found.lengths.tolist() == [len(a) + len(b) + 3 for a, b, _ in expected]


def test_a_single_document_is_its_own_other_document():
    documents = random_documents(3, count=1)
    found = rows.make_rows(as_arrays(documents), "next_sentence", 0, 20, FORM)
    expected = google_pairs(documents, random.Random(0), 20, 0.1, 1, False)
    assert found.token_ids.tolist() == [spell(a, b, 20) for a, b, _ in expected]


def test_half_of_long_chunks_are_followed_by_their_own_text():
    # Many short sentences: hardly a chunk has only one, which would always be random.
    documents = random_documents(5, count=40, sentences=600, tokens=6)
    arrays = as_arrays(documents)
    labels = rows.make_rows(arrays, "next_sentence", 1, 64, FORM, 0.0).labels
    assert abs(labels.mean() - 0.5) < 0.05
    order = rows.make_rows(arrays, "sentence_order", 1, 64, FORM, 0.0)
    assert abs(order.labels.mean() - 0.5) < 0.05
    # Sentence order: both texts are of one place, so ids are neighbours; swapped where labelled.
    first, second = order.token_ids[:, 1], order.token_ids[np.arange(len(order.labels)),
                                                           order.first_lengths]  # fmt: skip
    assert ((first > second) == (order.labels == 1)).mean() > 0.97


def test_short_rows_are_as_many_as_asked_for():
    documents = random_documents(6, count=40, sentences=400, tokens=4)
    arrays = as_arrays(documents)
    long = rows.make_rows(arrays, "next_sentence", 1, 64, FORM, 0.0).lengths
    mixed = rows.make_rows(arrays, "next_sentence", 1, 64, FORM, 1.0).lengths
    assert long.mean() > 50
    assert mixed.mean() < 40


def full_sentences_by_words(documents, rng, length, cross):
    """Liu et al. 2019, 4.2: whole sentences up to the length; a separator between documents."""
    documents = list(documents)
    rng.shuffle(documents)
    found, row = [], [2]
    for document in documents:
        if not cross and len(row) > 1:
            found, row = [*found, [*row, 3]], [2]
        new = True
        for sentence in document:
            for start in range(0, len(sentence), length - 2):
                piece = sentence[start : start + length - 2]
                separator = [3] if new and len(row) > 1 else []
                if len(row) + len(separator) + len(piece) + 1 > length:
                    found, row, separator = [*found, [*row, 3]], [2], []
                row += separator + piece
                new = False
    found = [*found, [*row, 3]] if len(row) > 1 else found
    rng.shuffle(found)
    return [row + [0] * (length - len(row)) for row in found]


@pytest.mark.parametrize("mode", ["full_sentences", "doc_sentences"])
@pytest.mark.parametrize(("seed", "length"), [(0, 40), (1, 64), (2, 9)])
def test_full_sentences_fill_rows_as_roberta_does(mode, seed, length):
    documents = random_documents(seed)
    found = rows.make_rows(as_arrays(documents), mode, seed, length, FORM)
    expected = full_sentences_by_words(
        documents, random.Random(seed), length, mode == "full_sentences"
    )
    assert found.token_ids.tolist() == expected
    assert found.first_lengths.tolist() == found.lengths.tolist()
    assert not found.labels.any()


def test_packed_rows_hold_every_text_once_and_whole():
    documents = random_documents(8, count=200, sentences=4)
    found = rows.make_rows(as_arrays(documents), "packed", 3, 48, FORM)
    texts = []
    for row, length in zip(found.token_ids.tolist(), found.lengths.tolist(), strict=True):
        assert row[0] == 2
        assert row[length - 1] == 3
        assert not any(row[length:])
        starts = [place for place, token in enumerate(row) if token == 2]
        for start, end in zip(starts, [*starts[1:], length], strict=True):
            assert row[end - 1] == 3
            texts.append(row[start + 1 : end - 1])
    expected = rows.make_rows(as_arrays(documents), "doc_sentences", 3, 48, FORM)
    whole = [[t for t in row if t not in (0, 2, 3)] for row in expected.token_ids.tolist()]
    assert sorted(texts) == sorted(whole)
    # Texts of 20 tokens or so fill rows of 48 nearly to the end.
    assert found.lengths.mean() / 48 > 0.97
    assert len(found.lengths) < 0.6 * len(expected.lengths)


def test_texts_are_packed_no_worse_than_by_trying_every_row():
    rng = random.Random(1)
    lengths = [rng.randint(3, 60) for _ in range(300)]
    packs = texts_in_rows.pack_texts(lengths, 64, most_texts=255)
    assert sorted(text for pack in packs for text in pack) == list(range(300))
    best = []  # best fit, decreasing, by a search through all rows
    for length in sorted(lengths, reverse=True):
        rooms = [(64 - sum(row), number) for number, row in enumerate(best)]
        fitting = [(room, number) for room, number in rooms if room >= length]
        if fitting:
            best[min(fitting)[1]].append(length)
        else:
            best.append([length])
    assert len(packs) == len(best)
    assert max(map(len, texts_in_rows.pack_texts([4] * 40, 64, most_texts=3))) == 3


def test_sentences_without_a_token_and_empty_documents_are_left_out(tokenizer):
    documents = [[b"w1 w2", b"\xe2\x80\x8b", b"w3"], [b" "], [], [b"w4"]]
    found = tokenize_documents(documents, tokenizer, chunk=2)
    texts = [found.token_ids[bounds[0] : bounds[-1]].tolist() for bounds in found.bounds()]
    assert texts == [tokenizer("w1 w2 w3").numpy().tolist(), tokenizer("w4").numpy().tolist()]
    assert [len(bounds) - 1 for bounds in found.bounds()] == [2, 1]
    empty = tokenize_documents([], tokenizer)
    assert rows.make_rows(empty, "next_sentence", 0, 16, FORM).token_ids.shape == (0, 16)
