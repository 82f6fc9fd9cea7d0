"""Entity-level precision, recall and F1 as conlleval.pl counts (Tjong Kim Sang & De Meulder 2003).

An entity is right if its type and both of its ends are. The numbers are those of seqeval's default
mode, as fractions.
"""

import typing

from bertzoo import tags


class EntityScores(typing.NamedTuple):
    """How many entities were found and right.

    Args:
        precision: Right ones of those found; 0 where none were found.
        recall: Right ones of those that there are; 0 where there are none.
        f1: Their harmonic mean.
        accuracy: Of the words' tags.
        support: Entities that there are.
        by_type: `EntityScores` of each type; its `accuracy` is None.
    """

    precision: float
    recall: float
    f1: float
    accuracy: float | None
    support: int
    by_type: dict[str, typing.Any]


def entity_scores(gold, predicted, labels=None):
    """Compare the tags of sentences.

    Args:
        gold: A list of tags for each sentence, in any scheme of `bertzoo.tags`.
        predicted: The same.
        labels: All tags, where they are types without prefix; else None.

    Returns:
        `EntityScores`.

    Raises:
        ValueError: For other numbers of sentences or tags, with the row.

    Example:
    >>> scores = entity_scores([["B-PER", "I-PER", "O"]], [["B-PER", "O", "O"]])
    >>> scores.f1, round(scores.accuracy, 3)
    (0.0, 0.667)
    """
    if len(gold) != len(predicted):
        raise ValueError(
            f"expected as many predicted sentences as gold ones; got {len(predicted)} and "
            f"{len(gold)}."
        )
    found, there, right_tags, num_tags = [], [], 0, 0
    for row, (one, other) in enumerate(zip(gold, predicted, strict=True)):
        if len(one) != len(other):
            raise ValueError(f"row {row} has {len(one)} gold tags and {len(other)} predicted ones.")
        there += [(row, *span) for span in tags.spans_of_tags(one, labels)]
        found += [(row, *span) for span in tags.spans_of_tags(other, labels)]
        right_tags += sum(map(lambda a, b: a == b, one, other))
        num_tags += len(one)
    return span_scores(there, found, right_tags / max(num_tags, 1))


def span_scores(gold, predicted, accuracy=None):
    """Compare entities, each a tuple (row, type, start, end).

    >>> span_scores([(0, "PER", 0, 4)], [(0, "PER", 0, 4), (1, "LOC", 0, 4)]).precision
    0.5
    """
    gold, predicted = set(gold), set(predicted)
    by_type = {}
    for name in sorted({entity[1] for entity in gold | predicted}):
        parts = ({e for e in group if e[1] == name} for group in (gold, predicted))
        by_type[name] = _scores(*parts, None, {})
    return _scores(gold, predicted, accuracy, by_type)


def _scores(gold, predicted, accuracy, by_type):
    right = len(gold & predicted)
    precision = right / len(predicted) if predicted else 0.0
    recall = right / len(gold) if gold else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return EntityScores(precision, recall, f1, accuracy, len(gold), by_type)
