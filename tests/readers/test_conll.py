"""CoNLL files: columns, documents, schemes, and what is wrong in which line."""

import gzip

import pytest

from bertzoo.readers import conll

IOB1 = (
    "-DOCSTART- -X- -X- O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\nGerman JJ I-NP I-MISC\n\n"
    "Peter NNP I-NP I-PER\r\nBlackburn NNP I-NP I-PER\r\n\n\n"
    "-DOCSTART- -X- -X- O\n\nBonn NNP I-NP I-LOC\nRome NNP I-NP B-LOC"
)


def written(tmp_path, text, name="some.txt"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_sentences_documents_and_tags_are_read(tmp_path):
    read = conll.read_conll(written(tmp_path, IOB1))
    assert read.words == [["EU", "rejects", "German"], ["Peter", "Blackburn"], ["Bonn", "Rome"]]
    assert read.tags == [["B-ORG", "O", "B-MISC"], ["B-PER", "I-PER"], ["B-LOC", "B-LOC"]]
    assert read.documents == [0, 0, 1]
    assert conll.tag_names(read.tags) == ["O", "B-LOC", "B-MISC", "B-ORG", "B-PER", "I-PER"]


def test_other_columns_schemes_and_packed_files(tmp_path):
    path = written(tmp_path, gzip.compress(IOB1.encode()), "some.txt.gz")
    assert conll.read_conll(path, scheme="BIOES").tags[1:] == [
        ["B-PER", "E-PER"],
        ["S-LOC", "S-LOC"],
    ]
    assert conll.read_conll(path, scheme=None, tag_column=1).tags[1] == ["NNP", "NNP"]
    assert conll.read_conll(path, scheme=None).tags[2] == ["I-LOC", "B-LOC"]
    tabs = written(tmp_path, "\ufeffNew York\tB-LOC\n\tO\n")
    with pytest.raises(ValueError, match="line 2: expected a word and its tag"):
        conll.read_conll(tabs, separator="\t")
    tabs = written(tmp_path, "\ufeffNew York\tB-LOC\n")
    assert conll.read_conll(tabs, separator="\t").words == [["New York"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "EU I-ORG\nrejects\n",
            r"some.txt, line 2: expected a word and its tag .*; got 're",
        ),
        ("EU I-ORG\n\nrejects V\n", r"some.txt, line 3: a tag is O, or B-, .*; got 'V'"),
        ("", "some.txt has no sentences"),
        ("-DOCSTART- O\n\n", "some.txt has no sentences"),
        (b"EU O\n\xff\xfe O\n", "some.txt, after line .: this is not utf-8 text"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        conll.read_conll(written(tmp_path, text))


def test_an_unknown_scheme_is_refused(tmp_path):
    with pytest.raises(ValueError, match="IOB1, IOB2, BIOES; got 'BIO'"):
        conll.read_conll(written(tmp_path, IOB1), scheme="BIO")
