"""Tagged words and texts with entities, in the forms in which users have them, checked."""

import collections.abc
import itertools
import typing

import numpy as np

from bertzoo import tags
from bertzoo.config import nearest
from bertzoo.tasks.windowed import IGNORED, Examples


class TaggedText(typing.NamedTuple):
    """One example of a token classifier.

    Args:
        text: A raw text, or a list of words.
        row: Where it stands in what the user gave.
        labels: Of words: the label of each, by number; of a text: its entities, each (start, end,
            type); None where there are none to learn.
        weight: Of the example in the loss, or None.
    """

    text: str | list
    row: int
    labels: typing.Any = None
    weight: float | None = None


def read_tagged(x, y, sample_weight, tag_reader):
    """Return `Examples` of `TaggedText`.

    Args:
        x: Texts; or words, a list of lists; or a dict with one column, `text`, `words` or `tokens`.
        y: Of words a list of tags each, of texts a list of entities each; or None.
        sample_weight: A number for each, or None.
        tag_reader: A `TagReader`.

    Raises:
        ValueError: For anything else, with the row.
    """
    rows = _column(x)
    has_words = bool(rows) and isinstance(rows[0], list | tuple)
    labels = [None] * len(rows) if y is None else list(y)
    weights = [None] * len(rows) if sample_weight is None else [float(w) for w in sample_weight]
    for what, values in (("lists of labels", labels), ("sample weights", weights)):
        if len(values) != len(rows):
            raise ValueError(f"expected as many {what} as rows; got {len(values)} and {len(rows)}.")
    examples = Examples()
    for row, (text, one, weight) in enumerate(zip(rows, labels, weights, strict=True)):
        if has_words and not _is_words(text):
            raise ValueError(f"row {row} should be a list of words like row 0; got {text!r}.")
        if not has_words and not isinstance(text, str | bytes):
            raise ValueError(f"text {row} should be a string; got {text!r}.")
        text = [_decoded(word) for word in text] if has_words else _decoded(text)
        if y is not None:
            read = tag_reader.word_labels if has_words else tag_reader.entities
            one = read(text, one, row)
        examples.append(TaggedText(text, row, one, weight))
    return examples


class TagReader:
    """Reads the tags and entities of a classifier with these labels.

    Args:
        labels: Names of the classes, or None.
        num_outputs: How many there are.
    """

    def __init__(self, labels, num_outputs):
        self.labels = labels
        self.num_outputs = num_outputs
        self._ids = {label: index for index, label in enumerate(labels or ())}
        if labels is not None:
            self._tag_set = tags.read_tag_set(labels)

    def word_labels(self, words, spelled, row):
        """Return the numbers of the tags of one row of words; -1 and -100 are none."""
        if not isinstance(spelled, collections.abc.Sequence) or isinstance(spelled, str | bytes):
            spelled = list(spelled) if hasattr(spelled, "__iter__") else [spelled]
        if len(words) != len(spelled):
            raise ValueError(f"row {row} has {len(words)} words and {len(spelled)} tags.")
        return [self._label(tag, row, place, words) for place, tag in enumerate(spelled)]

    def entities(self, text, entities, row):
        """Return the checked entities of one text: (start, end, name of the type), sorted."""
        if self.labels is None:
            raise ValueError("entities need labels with names: make the classifier with labels=.")
        names = self._tag_set.names
        found = []
        for entity in entities:
            start, end, name = _entity(entity, row)
            if name not in names:
                raise ValueError(
                    f"row {row}: {name!r} is no type of this classifier's entities, which are "
                    f"{', '.join(names)}.{nearest(name, names)}"
                )
            if not 0 <= start < end <= len(text):
                raise ValueError(
                    f"row {row}: the entity from {start} to {end} does not lie in its text of "
                    f"{len(text)} characters."
                )
            found.append((start, end, name))
        found.sort()
        for one, other in itertools.pairwise(found):
            if other[0] < one[1]:
                raise ValueError(f"row {row}: the entities {one} and {other} overlap.")
        return found

    def labels_of_entities(self, entities, starts, ends, row):
        """Return the number of each word's label.

        Args:
            entities: From `entities`.
            starts: The character at which each word begins.
            ends: One past its last.
            row: Of the text, for messages.
        """
        spans, taken = [], {}
        for start, end, name in entities:
            inside = [i for i, first in enumerate(starts) if first < end and ends[i] > start]
            if not inside:
                raise ValueError(f"row {row}: no word stands in the entity from {start} to {end}.")
            if inside[0] in taken:
                raise ValueError(
                    f"row {row}: the entities {taken[inside[0]]} and {(start, end, name)} share a "
                    "word, which has one label."
                )
            taken.update(dict.fromkeys(inside, (start, end, name)))
            spans.append(tags.Span(name, inside[0], inside[-1] + 1))
        return self._labels_of_spans(spans, len(starts))

    def _labels_of_spans(self, spans, num_words):
        by_meaning = {}
        tag_set = self._tag_set
        for label, meaning in enumerate(zip(tag_set.prefixes, tag_set.types, strict=True)):
            by_meaning.setdefault(meaning, label)
        # The richest scheme that the labels have; where one is missing, an I does.
        spelled = tags.tags_of_spans(spans, num_words, "BIOES")
        iob2 = tags.tags_of_spans(spans, num_words, "IOB2")
        meaning_of = {"B": tags.BEGIN, "I": tags.INSIDE, "E": tags.END, "S": tags.SINGLE}
        result = []
        for rich, plain in zip(spelled, iob2, strict=True):
            if rich == "O":
                result.append(by_meaning.get((tags.OUTSIDE, -1), IGNORED))
                continue
            kind = tag_set.names.index(rich[2:])
            meanings = [(meaning_of[tag[0]], kind) for tag in (rich, plain, "I")]
            meanings.append((tags.SINGLE, kind))  # of plain types without an `O`
            result.append(next(by_meaning[one] for one in meanings if one in by_meaning))
        return result

    def _label(self, tag, row, place, words):
        if isinstance(tag, bytes):
            tag = tag.decode()
        if isinstance(tag, str):
            if self.labels is None:
                raise ValueError(
                    "this classifier's labels have no names: give them by number, or make it with "
                    "labels=."
                )
            if tag not in self._ids:
                raise ValueError(
                    f"row {row}, word {place} ({words[place]!r}): the tag should be one of "
                    f"{', '.join(self.labels)}; got {tag!r}.{nearest(tag, self.labels)}"
                )
            return self._ids[tag]
        if tag in (IGNORED, -100):
            return IGNORED
        if not isinstance(tag, bool) and tag == int(tag) and 0 <= tag < self.num_outputs:
            return int(tag)
        raise ValueError(
            f"row {row}, word {place} ({words[place]!r}): the tag should be a name, or a number "
            f"from 0 to {self.num_outputs - 1}; got {tag!r}."
        )


def _entity(entity, row):
    if isinstance(entity, collections.abc.Mapping):
        keys = entity.keys()
        if {"start", "end", "label"} <= keys:
            return entity["start"], entity["end"], entity["label"]
    elif hasattr(entity, "start") and hasattr(entity, "label"):
        return entity.start, entity.end, entity.label
    elif isinstance(entity, tuple | list) and len(entity) == 3:
        start, end, name = entity
        if isinstance(start, int) and isinstance(end, int) and isinstance(name, str):
            return start, end, name
    raise ValueError(
        f"row {row}: an entity is (start, end, label), or a dict with these keys; got {entity!r}."
    )


def _is_words(row):
    return isinstance(row, list | tuple) and all(isinstance(word, str | bytes) for word in row)


def _column(x):
    if isinstance(x, str | bytes):
        raise ValueError(f"expected several texts; got one string: put it in a list: [{x!r}].")
    if isinstance(x, collections.abc.Mapping):
        keys = [key for key in ("text", "words", "tokens") if key in x]
        if len(keys) != 1:
            raise ValueError(f"a dict has one key `text`, `words` or `tokens`; got {sorted(x)}.")
        x = x[keys[0]]
    x = x.numpy() if hasattr(x, "numpy") else x
    if not hasattr(x, "__iter__"):
        raise ValueError(f"expected texts, or lists of words; got {type(x).__name__}.")
    return [row.tolist() if isinstance(row, np.ndarray) else row for row in x]


def _decoded(text):
    return text.decode("utf-8", "ignore") if isinstance(text, bytes) else str(text)
