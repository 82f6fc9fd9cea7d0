"""`bertzoo prepare` and recipes/prepare.py."""

import json
import pathlib
import subprocess
import sys

import pytest

from bertzoo.cli import main
from bertzoo.corpus.reader import RecordReader

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text(
        "the cat sat on the mat.\nit was good.\n\nparis is the capital of france.\n"
    )
    return str(tmp_path / "text.txt")


def test_the_command_writes_records_and_says_so(text, tmp_path, capsys):
    target = str(tmp_path / "records")
    words = ["prepare", "bert_toy", target, text, "--set", "sequence_length=16", "--workers", "1"]
    assert main([*words, "--set", "mode=full_sentences", "--json"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert result["documents"] == 2
    assert result["directory"] == target
    assert result["examples"] == RecordReader(target, vocabulary_size=86).num_examples
    assert "full_sentences rows of 16 tokens" in printed.err
    assert "writing 1 of 1 files" in printed.err
    assert main([*words, "--set", "mode=packed"]) == 2
    assert "mode was 'full_sentences' and is 'packed'" in capsys.readouterr().err


def test_a_vocabulary_file_has_settings(tmp_path, text, capsys):
    vocabulary = tmp_path / "vocabulary.txt"
    vocabulary.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\n")
    words = ["prepare", str(vocabulary), str(tmp_path / "r"), text, "--workers", "1"]
    assert main([*words, "--set", "tokenizer.lowercase=false"]) == 0
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert manifest["tokenizer"]["settings"]["lowercase"] is False
    assert manifest["tokenizer"]["vocabulary_size"] == 7
    assert main(["prepare", "bert_toy", str(tmp_path / "q"), text,
                 "--set", "tokenizer.lowercase=false"]) == 2  # fmt: skip
    assert "are for a vocabulary file" in capsys.readouterr().err


def test_smoke_takes_the_first_documents(tmp_path, capsys):
    (tmp_path / "long.txt").write_text("\n\n".join(["the cat.\na dog sat."] * 500))
    words = ["prepare", "bert_toy", str(tmp_path / "r"), str(tmp_path / "*.txt")]
    assert main([*words, "--smoke", "--workers", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["documents"] == 200


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "sequence_lenght=16"], "did you mean `sequence_length`?"),
        (["--set", "mode=nsp"], "mode must be one of"),
        (["--set", "mode"], "a change is written key=value"),
    ],
)
def test_mistakes_are_one_sentence(text, tmp_path, capsys, words, message):
    assert main(["prepare", "bert_toy", str(tmp_path / "r"), text, *words]) == 2
    assert message in capsys.readouterr().err


def test_the_recipe_is_the_command():
    done = subprocess.run(
        [sys.executable, str(ROOT / "recipes" / "prepare.py"), "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Turn text files into records for pretraining." in done.stdout
