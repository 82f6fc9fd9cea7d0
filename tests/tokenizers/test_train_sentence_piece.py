"""What `kind="sentence_piece"` says where it cannot learn; the learning itself is in interop."""

import sys

import pytest

from bertzoo.tokenizers import train_sentence_piece
from bertzoo.tokenizers.train import train_tokenizer


class OldLibrary:
    __version__ = "0.1.99"


@pytest.mark.parametrize("library", [None, OldLibrary])
def test_a_library_that_is_missing_or_too_old_is_named(monkeypatch, library):
    monkeypatch.setitem(sys.modules, "sentencepiece", library)
    with pytest.raises(ValueError, match=r'0\.2 or newer: pip install "bertzoo\[sentencepiece\]"'):
        train_tokenizer(["a text"], 100, kind="sentence_piece", progress=False)


def test_long_texts_reach_the_library_in_parts_that_it_takes():
    text = "é" * 3000 + " word" * 900
    parts = list(train_sentence_piece._in_parts(text))
    assert "".join(parts) == text
    assert max(len(part.encode()) for part in parts) <= 4192
    assert sum(part.startswith(" ") for part in parts) >= 3
