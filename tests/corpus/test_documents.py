"""Text files in all forms and all states of disrepair."""

import collections
import gzip
import json

import pytest
import tensorflow as tf

from bertzoo.corpus.documents import read_documents
from bertzoo.corpus.sentences import make_splitter

# Without the time in gzip's header: the content names a test, and processes must agree on names.
CUT_SHORT = gzip.compress(b"word " * 9999, mtime=0)[:-20]


@pytest.fixture
def read(tmp_path):
    def read(content, name="text.txt", **options):
        path = tmp_path / name
        path.write_bytes(content)
        return list(read_documents(str(path), **options))

    return read


def test_blank_lines_end_documents(read):
    assert read(b"One.\nTwo.\n\n \n\t\nThree.") == [[b"One.", b"Two."], [b"Three."]]
    assert read(b"") == []
    assert read(b"\n\n\n") == []


def test_line_ends_of_windows_and_a_byte_order_mark_are_no_text(read):
    assert read(b"\xef\xbb\xbfOne.\r\n\r\nTwo.\r\n") == [[b"One."], [b"Two."]]


def test_gzip_is_found_by_its_content(read):
    text = b"One.\n\nTwo.\n"
    assert read(gzip.compress(text), "text.txt.gz") == [[b"One."], [b"Two."]]
    assert read(gzip.compress(text), "text.txt") == [[b"One."], [b"Two."]]


def test_lines_longer_than_a_block_are_whole(read):
    text = b"x" * 3_000_000
    assert read(text + b"\ny\n") == [[text, b"y"]]


def test_each_json_object_is_a_document(read):
    lines = [json.dumps({"text": "One.\nTwo.\r\n\r\nThrée."}), "", json.dumps({"text": " "}),
             json.dumps({"id": 1, "text": "Four."})]  # fmt: skip
    counts = collections.Counter()
    found = read("\n".join(lines).encode(), form="jsonl", counts=counts)
    assert found == [[b"One.", b"Two.", "Thrée.".encode()], [b"Four."]]
    assert counts == {"documents": 2, "lines": 4, "empty_documents": 1}
    assert read(b'{"body": "a"}', form="jsonl", text_key="body") == [[b"a"]]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"good\nb\xffd\n", {}, r"line 2: is not UTF-8 \(byte 1 of the line\)"),
        (b"good\n\nb\0d\n", {}, "line 3: holds a NUL byte"),
        ("hello".encode("utf-16"), {}, "begins as UTF-16 does"),
        (b"good\n" + b"x" * 101, {"max_line_bytes": 100}, "line 2 has more than 100 bytes"),
        (b"not gzip", {"name": "text.gz"}, "ends in .gz and is not gzipped"),
        (CUT_SHORT, {"name": "t.gz"}, "broken or cut off as a gzip"),
        (b'{"text": "a"}\n{"text"', {"form": "jsonl"}, "line 2: is no JSON object"),
        (b'{"body": "a"}', {"form": "jsonl"}, r"no string under the key 'text', but \['body'\]"),
        (b'{"text": 3}', {"form": "jsonl"}, "no string under the key 'text'"),
        (b"[1]", {"form": "jsonl"}, "but list"),
        (b'{"text": "\\ud800"}', {"form": "jsonl"}, "half of a surrogate pair"),
        (b"a", {"form": "csv"}, "must be one of sentences, paragraphs, jsonl"),
    ],
)
def test_what_cannot_be_read_is_named_with_file_and_line(read, content, options, message):
    with pytest.raises(ValueError, match=message):
        read(content, **options)


def test_a_line_of_a_gigabyte_is_refused_before_it_is_in_memory(tmp_path):
    path = tmp_path / "long.txt.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(40):
            file.write(b"x" * 2**20)
    documents = read_documents(str(path), max_line_bytes=2**22)
    with pytest.raises(ValueError, match=r"long.txt.gz, line 1 has more than 4,194,304 bytes"):
        next(documents)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere.txt cannot be read"):
        list(read_documents(str(tmp_path / "nowhere.txt")))


def test_bad_lines_can_be_left_out_and_are_counted(read):
    counts = collections.Counter()
    found = read(b"a\n\xff\nb\0\nc\n", skip_bad_lines=True, counts=counts)
    assert found == [[b"a", b"c"]]
    assert counts["bad_lines"] == 2


def test_a_document_that_is_too_long_becomes_several(read):
    counts = collections.Counter()
    found = read(b"aaaa\nbbbb\ncccc\n\nd\n", max_document_bytes=8, counts=counts)
    assert found == [[b"aaaa", b"bbbb"], [b"cccc"], [b"d"]]
    assert counts["cut_documents"] == 1


def test_other_filesystems_are_read():
    with tf.io.gfile.GFile("ram://corpus/text.txt", "wb") as file:
        file.write(b"One.\n\nTwo.\n")
    assert list(read_documents("ram://corpus/text.txt")) == [[b"One."], [b"Two."]]


def test_paragraphs_become_sentences_by_a_library():
    pytest.importorskip("sentencex")
    split = make_splitter("sentencex", "en")
    text = b"Dr. Smith went to Washington. He liked it!"
    assert split([text, b"Really?"]) == [
        b"Dr. Smith went to Washington.", b"He liked it!", b"Really?"
    ]  # fmt: skip


def test_a_splitter_that_is_unknown_or_not_installed_is_named(monkeypatch):
    with pytest.raises(ValueError, match="splitter must be one of lines, sentencex"):
        make_splitter("punkt")
    monkeypatch.setitem(__import__("sys").modules, "sentencex", None)
    with pytest.raises(ValueError, match=r"pip install 'bertzoo\[corpus\]'"):
        make_splitter("sentencex")
