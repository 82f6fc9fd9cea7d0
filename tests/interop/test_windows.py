"""Windows beside those that Hugging Face's `tokenizers` cut, with the same overlap."""

import numpy as np
import pytest
import tensorflow as tf
import tokenizers

from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.tokenizers.byte_pair import BytePairTokenizer
from bertzoo.tokenizers.byte_pair_vocabulary import BYTE_CHARACTERS
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

VOCABULARY = "tests/data/bert-base-uncased/vocab.txt"
TEXT = (
    "Victoria (Nyanza) is a café-lined lake; 東京 isn't. Its naïveté cost €3.50, "
    "unaffordably\u00a0so \u200bfor U.S. tourists' tastes in 1900-1910. "
)
QUESTIONS = ["Which lake?", "How much did the café's naïveté cost, and whom?", ""]


@pytest.fixture(scope="module")
def ours():
    return WordPieceTokenizer(VOCABULARY)


@pytest.fixture(scope="module")
def theirs():
    return tokenizers.BertWordPieceTokenizer(VOCABULARY, lowercase=True)


def check(window, encoding, segment):
    # One window of ours, padded, beside one of theirs.
    length = len(encoding.ids)
    features, in_text, starts, ends = window
    assert features["token_ids"][:length].tolist() == encoding.ids
    assert not features["padding_mask"][length:].any()
    assert features["segment_ids"][:length].tolist() == encoding.type_ids
    expected = [sequence == segment for sequence in encoding.sequence_ids]
    assert in_text[:length].astype(bool).tolist() == expected
    offsets = [place for place, is_text in zip(encoding.offsets, expected, strict=True) if is_text]
    kept = in_text.astype(bool)
    assert list(zip(starts[kept].tolist(), ends[kept].tolist(), strict=True)) == offsets


def rows(cut):
    for row in range(len(cut.text_index)):
        features = {key: value[row].numpy() for key, value in cut.features.items()}
        yield features, cut.in_text[row].numpy(), cut.starts[row].numpy(), cut.ends[row].numpy()


@pytest.mark.parametrize("doc_stride", [3, 20, 50])
def test_windows_of_questions_and_passages_are_hugging_faces(ours, theirs, doc_stride):
    preprocessor = Preprocessor(ours, sequence_length=90)
    for question in QUESTIONS:
        cut = preprocessor.windows([TEXT * 5], [question], doc_stride=doc_stride)
        room = 90 - 3 - len(theirs.encode(question, add_special_tokens=False).ids)
        theirs.enable_truncation(90, stride=room - doc_stride, strategy="only_second")
        first = theirs.encode(question, TEXT * 5)
        theirs.no_truncation()
        expected = [first, *first.overflowing]
        assert len(expected) == len(cut.text_index) > 1
        for window, encoding in zip(rows(cut), expected, strict=True):
            check(window, encoding, 1)


def test_windows_of_single_texts_are_hugging_faces(ours, theirs):
    cut = Preprocessor(ours, sequence_length=32).windows([TEXT * 3], doc_stride=13)
    theirs.enable_truncation(32, stride=30 - 13)
    first = theirs.encode(TEXT * 3)
    theirs.no_truncation()
    for window, encoding in zip(rows(cut), [first, *first.overflowing], strict=True):
        check(window, encoding, 0)


def test_given_words_are_hugging_faces_pretokenized_words(ours, theirs):
    words = [word for word in TEXT.split() * 4]
    cut, _ = Preprocessor(ours, sequence_length=512).word_windows(tf.ragged.constant([words]))
    encoding = theirs._tokenizer.encode(words, is_pretokenized=True)
    length = len(encoding.ids)
    assert cut.features["token_ids"][0, :length].numpy().tolist() == encoding.ids
    expected = [-1 if word is None else word for word in encoding.word_ids]
    assert cut.word_index[0, :length].numpy().tolist() == expected
    starts = [0, *np.cumsum([len(word) + 1 for word in words])[:-1].tolist()]
    for place, word in enumerate(expected):
        if word >= 0:
            ours_at = cut.starts[0, place] - starts[word], cut.ends[0, place] - starts[word]
            assert tuple(map(int, ours_at)) == encoding.offsets[place]


def test_byte_pairs_of_given_words_are_those_with_a_space_in_front():
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *BYTE_CHARACTERS, "Ġc", "at", "Ġcat"]
    merges = ["Ġ c", "a t", "Ġc at"]
    theirs = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            {token: index for index, token in enumerate(tokens)},
            [tuple(rule.split()) for rule in merges],
        )
    )
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    words = ["cat", "CAT", "cat's", "(cat)", "é", "cat"]
    preprocessor = Preprocessor(BytePairTokenizer(tokens, merges), sequence_length=60)
    cut, _ = preprocessor.word_windows(tf.ragged.constant([words]))
    encoding = theirs.encode(words, is_pretokenized=True)
    kept = cut.in_text[0].numpy().astype(bool)
    assert cut.features["token_ids"][0].numpy()[kept].tolist() == encoding.ids
    assert cut.word_index[0].numpy()[kept].tolist() == encoding.word_ids
