"""Sentences from paragraphs, by a library: sentencex of the Wikimedia Foundation.

Chosen because it is kept up (by the people who need it for 300 languages of Wikipedia), compiled,
free of model files, and rather leaves two sentences together than cuts one in two. pysbd and
BlingFire have had no release since 2021; NLTK's punkt needs a model file from elsewhere; spaCy and
wtpsplit bring networks of their own.
"""

from __future__ import annotations

from collections.abc import Callable

SPLITTERS = ("lines", "sentencex")


def make_splitter(name: str, language: str = "en") -> Callable[[list[bytes]], list[bytes]]:
    """Return a function from the lines of a document to its sentences.

    Args:
        name: `lines`: each line is a sentence; `sentencex`: each line is a paragraph.
        language: For `sentencex`, as `en`.

    Raises:
        ValueError: if there is no such splitter, or its library is not installed.

    Example:
    >>> make_splitter("lines")([b"One.", b"Two."])
    [b'One.', b'Two.']
    """
    if name not in SPLITTERS:
        raise ValueError(f"splitter must be one of {', '.join(SPLITTERS)}; got {name!r}.")
    if name == "lines":
        return lambda lines: lines
    try:
        import sentencex
    except ModuleNotFoundError:
        raise ValueError(
            "splitting paragraphs needs the package sentencex: pip install 'bertzoo[corpus]'; or "
            "give one sentence a line and splitter=`lines`."
        ) from None

    def split(lines):
        sentences = []
        for line in lines:
            for sentence in sentencex.segment(language, line.decode("utf-8")):
                sentences.append(sentence.strip().encode("utf-8"))
        return [sentence for sentence in sentences if sentence]

    return split
