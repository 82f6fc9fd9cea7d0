"""SentencePiece model files: what is read, and that no damaged one gets through."""

import json
import pathlib
import random

import pytest
import tensorflow_text as tf_text

from bertzoo.tokenizers import sentence_piece_model
from bertzoo.tokenizers.sentence_piece_model import CONTROL, NORMAL, UNKNOWN, USER_DEFINED

MODEL = pathlib.Path(__file__).parents[1] / "data" / "albert-tiny" / "spiece.model"
CONTENT = MODEL.read_bytes()


@pytest.fixture(scope="module")
def model():
    return sentence_piece_model.parse_model(CONTENT)


def field(number, content):
    """A field of a protocol buffer: bytes, or a number."""
    if isinstance(content, int):
        return bytes([number << 3]) + _varint(content)
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


def make(pieces=(("<unk>", UNKNOWN), ("a", NORMAL)), trainer=field(3, 1), normalizer=b""):
    listed = b"".join(field(1, field(1, text.encode()) + field(3, kind)) for text, kind in pieces)
    return listed + field(2, trainer) + field(3, normalizer)


def test_pieces_and_kinds_are_read(model):
    assert model.pieces[:7] == ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "(", ")"]
    assert model.kinds[:7] == [CONTROL, UNKNOWN, CONTROL, CONTROL, CONTROL, *[USER_DEFINED] * 2]
    assert len(model.pieces) == 1000
    assert not model.is_word_model


def test_rules_for_single_characters_are_those_of_the_library(model):
    # nmt_nfkc: the library's documentation on normalisation, and Unicode's NFKC.
    assert model.rules[0x200B] == model.rules[0x3000] == " "
    assert model.rules[0x01] == ""
    assert model.rules[ord("①")] == "1"
    assert model.rules[ord("ﬁ")] == "fi"
    assert ord("a") not in model.rules


def test_the_op_reads_a_model_with_changed_pieces(model):
    changed = model.with_pieces({4: ("\ufdd0", USER_DEFINED), 999: ("zzzz" * 40, NORMAL)})
    assert sentence_piece_model.parse_model(changed).pieces[5:999] == model.pieces[5:999]
    op = tf_text.SentencepieceTokenizer(changed)
    assert op.vocab_size().numpy() == 1000
    assert op.tokenize("\ufdd0").numpy().tolist()[-1] == 4


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE html><html><body>404</body></html>",
        b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n",
        b'{"model": {"type": "Unigram"}}',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 760289\n",
        b"\x80\x02}q\x00.",
        b"\0" * 100,
        b"\x80" * 100,
        json.dumps({"a": 1}).encode(),
        field(2, field(3, 1)),
    ],
)
def test_what_is_no_model_is_refused_by_name(content, tmp_path):
    path = tmp_path / "spiece.model"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"spiece\.model.*is not a SentencePiece model"):
        sentence_piece_model.read_model(path)


@pytest.mark.parametrize("size", [1, 5, 100, 9_000, 17_000, 18_000, 100_000, -1, -100, -20_000])
def test_a_model_that_is_cut_off_is_refused(size):
    with pytest.raises(ValueError, match=r"cut off|not a SentencePiece model"):
        sentence_piece_model.parse_model(CONTENT[:size])


def test_no_damage_to_a_file_ends_in_anything_but_a_model_or_a_sentence():
    generator = random.Random(7)
    outcomes = set()
    for _ in range(30):
        content = bytearray(CONTENT)
        for _ in range(generator.randint(1, 4)):
            content[generator.randrange(len(content))] = generator.randrange(256)
        try:
            sentence_piece_model.parse_model(bytes(content))
            outcomes.add("read")
        except ValueError as error:
            outcomes.add(str(error).partition(";")[0])
    assert "read" in outcomes
    assert "its normalisation rules are damaged" in outcomes


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.model cannot be read: No such file"):
        sentence_piece_model.read_model(tmp_path / "nothing.model")
    with pytest.raises(ValueError, match="a path or bytes; got 3"):
        sentence_piece_model.read_model(3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (make([("<unk>", UNKNOWN), ("a", NORMAL), ("a", NORMAL)]), "piece 2 is the same as"),
        (make([("<unk>", UNKNOWN), ("", NORMAL)]), "piece 1 is empty"),
        (make([("a", NORMAL)]), "one piece of the unknown kind"),
        (make([("<unk>", UNKNOWN), ("u", UNKNOWN)]), "it has 2"),
        (make(normalizer=field(4, 0)), "remove_extra_whitespaces=false"),
        (make(normalizer=field(5, 0)), "escape_whitespaces=false"),
        (make(trainer=bytes([24 << 3 & 127 | 128, 1, 1])), "treat_whitespace_as_suffix=true"),
        (make(normalizer=field(2, b"\x04\0\0\0\0\0\0\0")), "rules are damaged"),
        (make(normalizer=field(2, b"\xff\xff\xff\xff")), "rules are damaged"),
        (make(normalizer=field(2, (1024).to_bytes(4, "little") + b"\xff\x7f\0\0" * 256 + b"\0")),
         "rules are damaged"),
    ],
)  # fmt: skip
def test_faults_of_a_model_are_named(content, message):
    with pytest.raises(ValueError, match=message):
        sentence_piece_model.parse_model(content)


def test_a_model_without_rules_is_read():
    assert sentence_piece_model.parse_model(make()).rules == {}
