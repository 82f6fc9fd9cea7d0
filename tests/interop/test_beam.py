"""The Beam pipeline writes the bytes of the local way."""

import pytest

pytest.importorskip("apache_beam")

from bertzoo.corpus.beam import prepare_records_with_beam
from bertzoo.corpus.manifest import RecordOptions
from bertzoo.corpus.prepare import prepare_records
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer
from tests.corpus.conftest import SPECIAL, WORDS, make_text

OPTIONS = RecordOptions(sequence_length=32, num_shards=4, seed=7)


@pytest.mark.parametrize("masked", [False, True])
def test_beam_writes_the_same_records(tmp_path, masked):
    tokenizer = WordPieceTokenizer([*SPECIAL, *WORDS])
    for name, documents in (("a", 40), ("b", 20), ("c", 1)):
        (tmp_path / f"{name}.txt").write_text(make_text(1, documents))
    texts = [str(tmp_path / "*.txt")]
    options = OPTIONS.replace(masked=masked)
    local = prepare_records(tokenizer, texts, str(tmp_path / "local"), options, workers=1)
    beam = prepare_records_with_beam(
        tokenizer, texts, str(tmp_path / "beam"), options, ["--runner=DirectRunner"]
    )
    assert beam == local
    names = sorted(path.name for path in (tmp_path / "local").iterdir())
    assert sorted(path.name for path in (tmp_path / "beam").iterdir()) == names
    for name in names:
        assert (tmp_path / "beam" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    with pytest.raises(ValueError, match="holds records already"):
        prepare_records_with_beam(tokenizer, texts, str(tmp_path / "beam"), options)
