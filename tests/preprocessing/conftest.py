"""A tokenizer of a few words, and preprocessors on it."""

import functools

import pytest

from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a b c d e f g ##s . cat dog mat the on sat"


@pytest.fixture(scope="session")
def tokenizer():
    return WordPieceTokenizer(WORDS.split())


@pytest.fixture(scope="session")
def make_preprocessor(tokenizer):
    """Preprocessors by their arguments, each traced once for all tests."""
    return functools.cache(functools.partial(Preprocessor, tokenizer))


@pytest.fixture(scope="session")
def preprocessor(make_preprocessor):
    return make_preprocessor(sequence_length=13)


@pytest.fixture(scope="session")
def spell(tokenizer):
    """Ids of a row written out: `spell("[CLS] a [SEP]")`."""
    return lambda words: [tokenizer.token_to_id(word) for word in words.split()]
