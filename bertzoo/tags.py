"""Tags of words and the entities that they spell: IOB1, IOB2, BIOES, BILOU, and plain types.

One rule reads them all: the two functions of conlleval.pl (Tjong Kim Sang and De Meulder 2003; with
the E and S of its successors) that say between which two words an entity ends and begins. So an
`I-` after `O`, or after another type, begins a new entity.
"""

from __future__ import annotations

import re
import typing

SCHEMES = ("IOB1", "IOB2", "BIOES")
OUTSIDE, INSIDE, BEGIN, END, SINGLE = range(5)
# BILOU's letters beside BIOES's; M is the I of BMES.
_PREFIXES = {"B": BEGIN, "I": INSIDE, "M": INSIDE, "E": END, "L": END, "S": SINGLE, "U": SINGLE}
_PREFIXED = re.compile(r"([BIMELSU])(?:[-_](.+))?", re.DOTALL)
# Labels that are no entity: the usual one, and those that BioBERT's script gives to other tokens.
_OUTSIDE_NAMES = ("O", "[PAD]", "[CLS]", "[SEP]", "X")
# The type of tags that are a letter alone, where a data set has one type of entity.
UNNAMED = "entity"


class Span(typing.NamedTuple):
    """An entity by its words.

    Args:
        type: Its name.
        start: Its first word.
        end: One past its last word.
    """

    type: str
    start: int
    end: int


class TagSet(typing.NamedTuple):
    """What each label of a classifier means.

    Args:
        prefixes: Of each label: OUTSIDE, INSIDE, BEGIN, END or SINGLE.
        types: Of each label: its type, by number in `names`; -1 outside.
        names: The types.
    """

    prefixes: tuple[int, ...]
    types: tuple[int, ...]
    names: tuple[str, ...]


def read_tag_set(labels):
    """Return the `TagSet` of label names; their scheme is found from the names.

    Labels have a prefix if all of them but `O` have one; else they are plain types, where
    neighbouring words of a type are one entity. Plain types without an `O` (parts of speech) make
    an entity of each word.

    >>> read_tag_set(["O", "B-PER", "I-PER"])
    TagSet(prefixes=(0, 2, 1), types=(-1, 0, 0), names=('PER',))
    >>> read_tag_set(["NOUN", "VERB"]).prefixes
    (4, 4)
    """
    entities = [label for label in labels if label not in _OUTSIDE_NAMES]
    has_prefixes = all(_PREFIXED.fullmatch(label) for label in entities)
    plain = INSIDE if len(entities) < len(labels) else SINGLE
    prefixes, types, names = [], [], []
    for label in labels:
        prefix, name = OUTSIDE, None
        if label not in _OUTSIDE_NAMES:
            prefix, name = _split(label) if has_prefixes else (plain, label)
        if name is not None and name not in names:
            names.append(name)
        prefixes.append(prefix)
        types.append(-1 if name is None else names.index(name))
    return TagSet(tuple(prefixes), tuple(types), tuple(names))


def begins_entity(before, prefix, new_type):
    """Return whether an entity begins at a word (`startOfChunk` of conlleval).

    Works on integers and on arrays and tensors of them alike.

    Args:
        before: Prefix of the word before, OUTSIDE for the first word.
        prefix: Prefix of the word.
        new_type: Whether their types differ.
    """
    closed = (before == OUTSIDE) | (before == END) | (before == SINGLE)
    new = (prefix == BEGIN) | (prefix == SINGLE)
    return (prefix != OUTSIDE) & (new | closed | new_type)


def spans_of_tags(tags, labels=None):
    """Return the entities that the tags of one sentence spell.

    Args:
        tags: A tag for each word.
        labels: All tags that there are, from which their scheme is found; None where every tag
            but `O` has a prefix.

    Example:
    >>> [tuple(span) for span in spans_of_tags(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])]
    [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5)]
    >>> [tuple(span) for span in spans_of_tags(["PER", "PER", "O"], ["O", "PER"])]
    [('PER', 0, 2)]
    """
    if labels is None:
        labels = sorted(set(tags))
        for tag in labels:
            if tag not in _OUTSIDE_NAMES:
                _split(tag)  # raises
    tag_set = read_tag_set(labels)
    meanings = dict(zip(labels, zip(tag_set.prefixes, tag_set.types, strict=True), strict=True))
    spans, start = [], None
    before, type_before = OUTSIDE, None
    for place in range(len(tags) + 1):
        prefix, kind = meanings[tags[place]] if place < len(tags) else (OUTSIDE, -1)
        begins = begins_entity(before, prefix, kind != type_before)
        if start is not None and (begins or prefix == OUTSIDE):
            spans.append(Span(tag_set.names[type_before], start, place))
            start = None
        start = place if begins else start
        before, type_before = prefix, kind
    return spans


def tags_of_spans(spans, num_words, scheme="IOB2"):
    """Return the tags of a sentence with these entities.

    Args:
        spans: `Span`s that do not overlap.
        num_words: Words of the sentence.
        scheme: `IOB1`, `IOB2` or `BIOES`.

    Raises:
        ValueError: For spans that overlap or leave the sentence, or an unknown scheme.

    Example:
    >>> tags_of_spans([Span("PER", 0, 2), Span("PER", 2, 3)], 4, "IOB1")
    ['I-PER', 'I-PER', 'B-PER', 'O']
    """
    if scheme not in SCHEMES:
        raise ValueError(f"a scheme of tags is one of {', '.join(SCHEMES)}; got {scheme!r}.")
    tags = ["O"] * num_words
    last = None
    for span in sorted(spans, key=lambda span: span.start):
        if not 0 <= span.start < span.end <= num_words:
            raise ValueError(f"{span} does not lie in a sentence of {num_words} words.")
        if last is not None and span.start < last.end:
            raise ValueError(f"{last} and {span} overlap.")
        touches = last is not None and (last.end, last.type) == (span.start, span.type)
        size = span.end - span.start
        letters = ["I"] * size
        if scheme != "IOB1" or touches:
            letters[0] = "B"
        if scheme == "BIOES":
            letters[-1] = "S" if size == 1 else "E"
        tags[span.start : span.end] = [f"{letter}-{span.type}" for letter in letters]
        last = span
    return tags


def convert_tags(tags, scheme):
    """Return the tags of one sentence, whatever their scheme, in another scheme.

    >>> convert_tags(["I-PER", "I-PER", "B-PER"], "BIOES")
    ['B-PER', 'E-PER', 'S-PER']
    """
    return tags_of_spans(spans_of_tags(tags), len(tags), scheme)


def _split(tag):
    found = _PREFIXED.fullmatch(tag)
    if found is None:
        raise ValueError(f"a tag is O, or B-, I-, E- or S- and a type, as B-PER; got {tag!r}.")
    return _PREFIXES[found[1]], found[2] or UNNAMED
