"""Reading and writing `vocab.json` and `merges.txt`."""

import json
import pathlib

import pytest

from bertzoo.tokenizers import byte_pair_vocabulary as vocabulary
from tests.tokenizers import byte_pair_reference as reference

FOLDER = pathlib.Path(__file__).parents[1] / "data" / "roberta-base-cut"


def test_bytes_are_spelled_as_gpt2_spells_them():
    every = bytes(range(256))
    assert vocabulary.spell_bytes(every) == reference.spell_bytes(every)
    assert vocabulary.token_bytes(reference.spell_bytes(every)) == every
    assert vocabulary.token_bytes("a b") == b"a b"  # no token of bytes has a space


def test_files_are_read_and_written_without_a_change():
    tokens = vocabulary.read_token_ids(FOLDER / "vocab.json")
    merges = vocabulary.read_merges(FOLDER / "merges.txt")
    assert (tokens[0], tokens[-1], len(merges)) == ("<s>", "<mask>", 2000)
    assert vocabulary.write_token_ids(tokens) + b"\n" == (FOLDER / "vocab.json").read_bytes()
    assert vocabulary.write_merges(merges) == (FOLDER / "merges.txt").read_bytes()


def test_a_rule_of_number_signs_is_no_comment(tmp_path):
    path = tmp_path / "merges.txt"
    path.write_bytes("#version: 0.2\r\n# #\r\n\u2028 a\r\n".encode())
    assert vocabulary.read_merges(path) == [("#", "#"), ("\u2028", "a")]
    path.write_text("# #\n#version: a")
    assert vocabulary.read_merges(path) == [("#", "#"), ("#version:", "a")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "must hold one JSON object from token to id; got a list"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff{}", "is not UTF-8 \\(at byte 0\\)"),
        (b'{"a": 0, "a": 1}', "the token 'a' twice"),
        (b'{"a": 0, "b": 2}', "must be 0 to 1, each once; the token 'b' has 2"),
        (b'{"a": 0, "b": true}', "the token 'b' has True"),
        (b'{"a": 0, "b": "1"}', "the token 'b' has '1'"),
        (b'{"a": 0, "b": -1}', "the token 'b' has -1"),
    ],
)
def test_faults_of_a_vocabulary_are_named_with_its_file(content, message, tmp_path):
    path = tmp_path / "vocab.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        vocabulary.read_token_ids(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"a b\nab\n", b"a b\n\nc d\n", b"a  b\n", b"a b c\n", b" a\n"])
def test_lines_that_are_no_rules_are_named(content, tmp_path):
    path = tmp_path / "merges.txt"
    path.write_bytes(b"#version: 0.2\n" + content)
    with pytest.raises(ValueError, match=r"merges.txt, line [23]: a rule is two tokens"):
        vocabulary.read_merges(path)


def test_a_missing_file_is_named(tmp_path):
    for read in (vocabulary.read_token_ids, vocabulary.read_merges):
        with pytest.raises(ValueError, match=r"none.txt cannot be read: No such file"):
            read(tmp_path / "none.txt")


def test_a_rule_twice_is_named():
    tokens = [*vocabulary.BYTE_CHARACTERS, "ab"]
    with pytest.raises(ValueError, match=r"rule 2 of the merges .* is a duplicate"):
        vocabulary.check_merges(tokens, [("a", "b"), ("a", "b")])


def test_ids_are_written_in_their_order():
    assert list(json.loads(vocabulary.write_token_ids(["b", "a"])).items()) == [("b", 0), ("a", 1)]
