"""A bad vocabulary file says in one sentence what is wrong, and in which line."""

import pathlib

import pytest

from bertzoo.tokenizers import vocabulary
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

BERT = pathlib.Path(__file__).parents[1] / "data" / "bert-base-uncased" / "vocab.txt"
GOOD = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##able\n"


@pytest.mark.parametrize("content", [GOOD, GOOD.removesuffix(b"\n")])
def test_a_good_file_is_read_as_it_is(tmp_path, content):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    assert vocabulary.read_vocabulary(path)[5:] == ["un", "##able"]
    assert WordPieceTokenizer(str(path)).vocabulary_size == 7
    assert WordPieceTokenizer(path).files() == {"vocabulary.txt": GOOD}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\xbb\xbf" + GOOD, "vocab.txt, line 1: begins with a byte order mark"),
        (GOOD.replace(b"\n", b"\r\n"), "vocab.txt, line 1: has a carriage return"),
        (GOOD + b"a\r\n", "vocab.txt, line 8: has a carriage return"),
        (GOOD + b"\n", "vocab.txt, line 8: is blank"),
        (GOOD.replace(b"un\n", b"\nun\n"), "vocab.txt, line 6: is blank"),
        (GOOD + b"un\n", "vocab.txt, line 8: the token 'un' is a duplicate of line 6"),
        (GOOD + b"\xff\n", "vocab.txt, line 8: is not UTF-8"),
        (GOOD + b"x" * 257, "vocab.txt, line 8: the token has 257 characters"),
        (
            GOOD.replace(b"[MASK]\n", b""),
            r"vocab.txt with 6 tokens lacks the special token '\[MASK\]'.*mask_token=",
        ),
        (GOOD.replace(b"[UNK]\n", b""), r"lacks the special token '\[UNK\]'"),
        (b"", "with 0 tokens lacks the special token"),
    ],
)
def test_a_bad_file_names_its_line(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        WordPieceTokenizer(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("size", [6, 8])
def test_a_wrong_size_names_both_sizes(tmp_path, size):
    path = tmp_path / "vocab.txt"
    path.write_bytes(GOOD)
    with pytest.raises(ValueError, match=f"vocab.txt has 7 tokens; the model has {size} rows"):
        WordPieceTokenizer(path, vocabulary_size=size)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.txt cannot be read: No such file"):
        WordPieceTokenizer(tmp_path / "nowhere.txt")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        WordPieceTokenizer(tmp_path)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["a", 3], r"line 2: a token must be a string; got 3 \(int\)"),
        (["a", "b\n"], "line 2: the token 'b\\\\n' holds a line end"),
        (["a", "\ud800"], "line 2: .* cannot be written as UTF-8"),
    ],
)
def test_a_bad_list_names_its_line(tokens, message):
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer(tokens)


def test_a_blank_line_is_right_where_it_was_published(monkeypatch):
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "", "a"]
    with pytest.raises(ValueError, match="line 6: is blank"):
        WordPieceTokenizer(tokens)
    digest = vocabulary._digest(tokens)
    monkeypatch.setitem(vocabulary._PUBLISHED_WITH_A_BLANK_LINE, digest, "a test")
    assert WordPieceTokenizer(tokens)("a").numpy().tolist() == [6]


def test_a_line_separator_is_a_token_not_a_line_end(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes(GOOD + "\u2028\nlast\n".encode())  # as in bert-base-chinese
    assert vocabulary.read_vocabulary(path)[7:] == ["\u2028", "last"]


def test_the_published_vocabulary_of_bert_is_read_unchanged():
    tokens = vocabulary.read_vocabulary(BERT)
    assert len(tokens) == 30522
    assert vocabulary.write_vocabulary(tokens) == BERT.read_bytes()
