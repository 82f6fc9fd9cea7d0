"""Files with a word and its tag on each line, as CoNLL-2003 has them (Tjong Kim Sang 2003).

An empty line ends a sentence, a line that begins with `-DOCSTART-` a document. The word is in the
first column, the tag in the last.
"""

import gzip
import os
import pathlib
import typing

from bertzoo import tags

DOCUMENT_START = "-DOCSTART-"


class TaggedWords(typing.NamedTuple):
    """Sentences and their tags.

    Args:
        words: A list of words for each sentence.
        tags: A list of as many tags.
        documents: The document of each sentence, from 0, where the file has `-DOCSTART-`.
    """

    words: list[list[str]]
    tags: list[list[str]]
    documents: list[int]


def read_conll(
    path: str | os.PathLike,
    scheme: str | None = "IOB2",
    separator: str | None = None,
    word_column: int = 0,
    tag_column: int = -1,
    encoding: str = "utf-8",
) -> TaggedWords:
    r"""Read a file of tagged words; a name that ends in .gz is unpacked.

    Args:
        path: The file.
        scheme: `IOB1`, `IOB2` or `BIOES`, into which tags are converted from whichever they are
            in; None leaves them as they are (parts of speech).
        separator: Between columns; None for any white space.
        word_column: Where the word stands, from 0, or from the end below.
        tag_column: Where the tag stands.
        encoding: Of the file.

    Returns:
        `TaggedWords`.

    Raises:
        ValueError: With file and line, for a line without these columns, a tag that is none, bytes
            that are not text, or a file without sentences.

    Example:
    >>> path = pathlib.Path("some.conll")
    >>> _ = path.write_text("-DOCSTART- O\n\nAnna I-PER\nsleeps O\n\nin O\nRome I-LOC\n")
    >>> read_conll(path).tags
    [['B-PER', 'O'], ['O', 'B-LOC']]
    """
    if scheme is not None and scheme not in tags.SCHEMES:
        raise ValueError(
            f"a scheme of tags is None or one of {', '.join(tags.SCHEMES)}; got {scheme!r}."
        )
    result = TaggedWords([], [], [])
    words: list[str] = []
    spelled: list[str] = []
    document, has_documents = 0, False

    def end_sentence():
        if words:
            converted = spelled if scheme is None else tags.convert_tags(spelled, scheme)
            result.words.append(list(words))
            result.tags.append(list(converted))
            result.documents.append(document)
            words.clear()
            spelled.clear()

    for number, line in enumerate(_lines(path, encoding), 1):
        line = line.rstrip("\r\n")
        if not line.strip():
            end_sentence()
        elif line.startswith(DOCUMENT_START):
            end_sentence()
            document += int(has_documents or bool(result.words))
            has_documents = True
        else:
            columns = line.split(separator)
            try:
                word, tag = columns[word_column], columns[tag_column]
            except IndexError:
                word = tag = ""
            if not word or not tag or len(columns) < 2:
                raise ValueError(
                    f"{path}, line {number}: expected a word and its tag in columns; got {line!r}."
                )
            if scheme is not None:
                _check_tag(tag, path, number)
            words.append(word)
            spelled.append(tag)
    end_sentence()
    if not result.words:
        raise ValueError(f"{path} has no sentences.")
    return result


def tag_names(*tag_lists: list[list[str]]) -> list[str]:
    """Return the tags of sentences, `O` first and the others by type: a classifier's labels.

    >>> tag_names([["O", "B-PER"], ["I-PER", "B-LOC"]])
    ['O', 'B-LOC', 'B-PER', 'I-PER']
    """
    names = {tag for sentences in tag_lists for sentence in sentences for tag in sentence}
    return sorted(names, key=lambda tag: (tag != "O", tag.partition("-")[::-1], tag))


def _check_tag(tag, path, number):
    try:
        tags.spans_of_tags([tag])
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: {error}") from None


def _lines(path, encoding):
    opener = gzip.open if pathlib.Path(path).suffix == ".gz" else open
    with opener(path, "rt", encoding=encoding, newline="\n") as file:
        number = 0
        try:
            for number, line in enumerate(file, 1):
                yield line.removeprefix("\ufeff") if number == 1 else line
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}, after line {number}: this is not {encoding} text ({error.reason})."
            ) from None
