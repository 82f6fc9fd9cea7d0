"""Learning SentencePiece vocabularies with the sentencepiece library."""

from __future__ import annotations

import io
import pathlib

import pytest
import sentencepiece

from bertzoo.tokenizers.sentence_piece import SentencePieceTokenizer
from bertzoo.tokenizers.sentence_piece_model import CONTROL, UNKNOWN, USER_DEFINED, parse_model
from bertzoo.tokenizers.train import train_tokenizer
from tests.interop.google_albert import encode

SENTENCES = pathlib.Path(__file__).parents[1] / "data" / "wikigold" / "sentences.txt"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SENTENCES, 400, kind="sentence_piece", progress=False)


def test_special_tokens_have_alberts_ids_and_kinds(tokenizer):
    model = parse_model(tokenizer.files()["vocabulary.spm"])
    assert model.pieces[:8] == ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "(", ")", '"']
    assert model.kinds[:8] == [CONTROL, UNKNOWN, *[CONTROL] * 3, *[USER_DEFINED] * 3]
    assert tokenizer.vocabulary_size == 400


def test_the_same_texts_give_the_same_file(tokenizer):
    again = train_tokenizer(SENTENCES, 400, kind="sentence_piece", progress=False)
    assert again.files() == tokenizer.files()


def test_the_library_reads_the_file_as_we_do(tokenizer):
    library = sentencepiece.SentencePieceProcessor()
    library.LoadFromSerializedProto(tokenizer.files()["vocabulary.spm"])
    texts = SENTENCES.read_text("utf-8").splitlines()
    ours = tokenizer(texts).to_list()
    different = [t for t, ids in zip(texts, ours, strict=True) if ids != encode(library, t)]
    assert len(different) <= 3, different  # ties in score, see test_sentence_piece_corpora.py
    assert sum(ids.count(tokenizer.unknown_id) for ids in ours) < 20


def test_what_the_library_learns_from_is_the_cleaned_text(tokenizer):
    letters = set("".join(tokenizer.vocabulary[5:]))
    assert letters
    assert not any(letter.isupper() for letter in letters)
    cased = train_tokenizer(SENTENCES, 400, kind="sentence_piece", lowercase=False, progress=False)
    assert any(letter.isupper() for letter in set("".join(cased.vocabulary[5:])))
    assert cased.config.lowercase is False


def test_a_file_of_the_library_alone_has_the_same_pieces(tokenizer):
    texts = [text.decode() for text in tokenizer._cleaning.clean(_lines()).numpy().tolist()]
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=made,
        vocab_size=400,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        user_defined_symbols=["(", ")", '"', "-", ".", "–", "£", "€"],
        character_coverage=0.99995,
        minloglevel=2,
    )
    assert SentencePieceTokenizer(made.getvalue()).vocabulary == tokenizer.vocabulary


def _lines():
    import tensorflow as tf

    return tf.constant(SENTENCES.read_text("utf-8").splitlines())


def test_names_of_special_tokens_and_limits_are_kept():
    learnt = train_tokenizer(
        ["low lower newest wide"] * 50,
        60,
        kind="sentence_piece",
        progress=False,
        mask_token="<mask>",
        unknown_token="<oov>",
        sequence_length=12,
    )
    assert learnt.vocabulary[:5] == ["<pad>", "<oov>", "[CLS]", "[SEP]", "<mask>"]
    assert learnt.config.sequence_length == 12
    assert learnt.detokenize(learnt("Newest low")).numpy() == b"newest low"


@pytest.mark.parametrize(
    ("texts", "size", "message"),
    [
        ([], 100, "no texts"),
        (["low lower newest wide"], 12, "vocabulary_size must be at least 24"),
    ],
)
def test_what_cannot_be_learnt_is_said(texts, size, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(texts, size, kind="sentence_piece", progress=False)
