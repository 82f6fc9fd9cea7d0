"""Entities of words beside loops over words, windows and pieces."""

import numpy as np
import pytest
import tensorflow as tf

from bertzoo import tags
from bertzoo.postprocessing import entities
from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

VOCABULARY = "[PAD] [UNK] [CLS] [SEP] [MASK] a b c ##a ##b ##c . , cat é 東"
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


@pytest.fixture(scope="module")
def preprocessor():
    tokenizer = WordPieceTokenizer(VOCABULARY.split(), strip_accents=False)
    return Preprocessor(tokenizer, sequence_length=11)


def windows_and_logits(preprocessor, num_classes=5, seed=2):
    rng = np.random.default_rng(seed)
    pool = ["abc", "Cab", "bb", "cat", "é東", "", "\u200b", "U.S.", "accab"]
    words = [rng.choice(pool, n).tolist() for n in (9, 0, 1, 25, 4)]
    ragged = tf.ragged.constant(words, dtype="string", ragged_rank=1)
    windows, found = preprocessor.word_windows(ragged)
    logits = rng.normal(0, 2, (*windows.in_text.shape, num_classes)).astype(np.float32)
    return words, windows, found, logits


def loops(words, windows, logits, aggregation):
    """Probabilities of each word (None without tokens) by walking over windows."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = powers / powers.sum(axis=-1, keepdims=True)
    result = []
    for text, row in enumerate(words):
        for word in range(len(row)):
            pieces = []
            for window in np.flatnonzero(windows.text_index.numpy() == text):
                for place in range(logits.shape[1]):
                    is_word = int(windows.word_index[window, place]) == word
                    if is_word and int(windows.max_context[window, place]):
                        start = int(windows.starts[window, place])
                        pieces.append((start, probabilities[window, place]))
            pieces = [piece for _, piece in sorted(pieces, key=lambda piece: piece[0])]
            if not pieces:
                result.append(None)
            elif aggregation == "first":
                result.append(pieces[0])
            elif aggregation == "average":
                result.append(np.mean(pieces, axis=0))
            else:
                result.append(max(pieces, key=max))
    return result


@pytest.mark.parametrize("aggregation", ["first", "average", "max"])
def test_words_have_what_their_pieces_say_where_they_have_most_context(preprocessor, aggregation):
    words, windows, found, logits = windows_and_logits(preprocessor)
    assert len(windows.text_index) > len(words)
    got, seen = entities.word_probabilities(tf.constant(logits), windows, found, aggregation)
    expected = loops(words, windows, logits, aggregation)
    assert seen.numpy().tolist() == [int(one is not None) for one in expected]
    assert 0 < seen.numpy().sum() < len(expected)
    expected = [np.zeros(5) if one is None else one for one in expected]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "labels",
    [LABELS, ["I-LOC", "O", "I-PER", "B-PER", "B-LOC"], ["O", "PER", "LOC", "X", "[PAD]"],
     ["O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B", "E-B", "S-B"], ["O", "B", "I"],
     ["O", "B-A", "I-A", "L-A", "U-A"], ["NOUN", "VERB"]],
    ids=["IOB2", "another order", "plain", "BIOES", "bare", "BILOU", "parts of speech"],
)  # fmt: skip
def test_entities_are_those_that_the_words_labels_spell(preprocessor, labels):
    words, windows, found, logits = windows_and_logits(preprocessor, len(labels))
    probabilities, seen = entities.word_probabilities(tf.constant(logits), windows, found)
    got = entities.decode(probabilities, seen, found, labels)
    got = {key: value.numpy() for key, value in got.items()}
    probabilities, seen = probabilities.numpy(), seen.numpy().astype(bool)
    at, some = 0, 0
    for index, row in enumerate(words):
        here = slice(at, at + len(row))
        at += len(row)
        best = [labels[label] for label in probabilities[here].argmax(axis=1)]
        if "O" in labels:
            spelled = [tag if known else "O" for tag, known in zip(best, seen[here], strict=True)]
            spans = tags.spans_of_tags(spelled, labels)
        else:  # every word that has tokens is one
            spans = [tags.Span(tag, n, n + 1) for n, tag in enumerate(best) if seen[here][n]]
        text = " ".join(row)
        starts = np.cumsum([0, *[len(word) + 1 for word in row]])
        assert got["entity_count"][index] == len(spans)
        for number, span in enumerate(spans):
            start, end = starts[span.start], starts[span.end] - 1
            assert got["entity_label"][index, number].decode() == span.type
            assert got["entity_start"][index, number] == start
            assert got["entity_end"][index, number] == end
            assert got["entity_text"][index, number].decode() == text[start:end]
            scores = probabilities[here][span.start : span.end].max(axis=1)
            np.testing.assert_allclose(got["entity_score"][index, number], scores.mean(), rtol=1e-5)
            some += 1
        assert not got["entity_text"][index, len(spans) :].astype(bool).any()
    assert some > 3


def test_entities_by_hand(preprocessor):
    text = "Cat abc, Cat.  東"
    windows, found = preprocessor.word_windows([text])
    # [CLS] cat a ##b ##c , cat . 東 [SEP]: the pieces of `abc` say other things than its first.
    tokens = [0, 1, 2, 4, 4, 0, 4, 0, 1, 0]
    logits = np.full((1, 10, 5), -20.0, np.float32)
    logits[0, range(10), tokens] = 20.0
    probabilities, seen = entities.word_probabilities(tf.constant(logits), windows, found)
    got = entities.decode(probabilities, seen, found, LABELS)
    assert got["entity_text"].numpy()[0].tolist() == [b"Cat abc", b"Cat", "東".encode()]
    assert got["entity_label"].numpy().tolist() == [[b"PER", b"LOC", b"PER"]]
    assert got["entity_start"].numpy().tolist() == [[0, 9, 15]]
    assert got["entity_end"].numpy().tolist() == [[7, 12, 16]]


def test_no_texts_and_texts_without_entities_have_none(preprocessor):
    for texts in ([], ["cat", ""]):
        windows, found = preprocessor.word_windows(tf.constant(texts, "string"))
        logits = np.eye(5, dtype=np.float32)[np.zeros(windows.in_text.shape, int)]
        got = entities.decode(
            *entities.word_probabilities(tf.constant(logits), windows, found), found, LABELS
        )
        assert got["entity_count"].numpy().tolist() == [0] * len(texts)
        assert got["entity_text"].shape == (len(texts), 0)


def test_an_unknown_aggregation_is_refused(preprocessor):
    windows, found = preprocessor.word_windows(["cat"])
    logits = tf.zeros((*windows.in_text.shape, 5))
    with pytest.raises(ValueError, match="first, average, max; got 'mean'"):
        entities.word_probabilities(logits, windows, found, "mean")
