"""Scores of classifiers, as scikit-learn computes them (its definitions, in NumPy).

GLUE's are accuracy, F1 of class 1 (MRPC, QQP) and Matthews' correlation (CoLA).
"""

import typing

import numpy as np

# N texts  C classes or labels


class Score(typing.NamedTuple):
    """Precision, recall and F1."""

    precision: float
    recall: float
    f1: float


def accuracy(true, predicted):
    """Return the part of the labels that are right.

    Args:
        true: `[N]`, names or numbers.
        predicted: The same.

    Example:
    >>> accuracy(["a", "b", "b", "a"], ["a", "b", "a", "a"])
    0.75
    """
    true, predicted = _aligned(true, predicted)
    return float(np.mean(true == predicted))


def confusion_matrix(true, predicted, labels=None):
    """Return int64 `[C, C]`: in row i, column j how many texts of label i were called label j.

    Args:
        true: `[N]`, names or numbers.
        predicted: The same.
        labels: The C labels in order; None for all that occur, sorted.

    Example:
    >>> confusion_matrix(["a", "b", "b"], ["a", "b", "a"]).tolist()
    [[1, 0], [1, 1]]
    """
    true, predicted = _aligned(true, predicted)
    labels = sorted({*true.tolist(), *predicted.tolist()}) if labels is None else list(labels)
    places = {label: place for place, label in enumerate(labels)}
    for what, column in (("label", true), ("prediction", predicted)):
        for row, value in enumerate(column.tolist()):
            if value not in places:
                raise ValueError(f"{what} {row} should be one of {labels}; got {value!r}.")
    matrix = np.zeros((len(labels), len(labels)), np.int64)
    rows = [places[value] for value in true.tolist()]
    np.add.at(matrix, (rows, [places[value] for value in predicted.tolist()]), 1)
    return matrix


def f1(true, predicted, positive=1):
    """Return precision, recall and F1 of one label; 0 where they are 0 / 0.

    Args:
        true: `[N]`, names or numbers.
        predicted: The same.
        positive: The label that counts: 1 in GLUE.

    Example:
    >>> f1([1, 1, 0, 0], [1, 0, 0, 1]).f1
    0.5
    """
    true, predicted = _aligned(true, predicted)
    true, predicted = true == positive, predicted == positive
    return _score(np.sum(true & predicted), np.sum(predicted), np.sum(true))


def macro_f1(true, predicted, labels=None):
    """Return the mean of the labels' precisions, recalls and F1s, each label alike.

    Args:
        true: `[N]`, names or numbers.
        predicted: The same.
        labels: Those that count; None for all that occur.

    Example:
    >>> round(macro_f1(["a", "b", "b"], ["a", "b", "a"]).f1, 4)
    0.6667
    """
    matrix = confusion_matrix(true, predicted, labels)
    scores = [_score(matrix[i, i], matrix[:, i].sum(), matrix[i].sum()) for i in range(len(matrix))]
    return Score(*(float(np.mean(column)) for column in zip(*scores, strict=True)))


def matthews(true, predicted):
    """Return Matthews' correlation of two or more classes (Gorodkin's R_K); 0 where it is 0 / 0.

    Example:
    >>> round(matthews([1, 1, 1, 0], [1, 1, 0, 0]), 4)
    0.5774
    """
    matrix = confusion_matrix(true, predicted).astype(np.float64)
    count, right = matrix.sum(), np.trace(matrix)
    there, called = matrix.sum(axis=1), matrix.sum(axis=0)
    above = right * count - there @ called
    below = np.sqrt((count**2 - called @ called) * (count**2 - there @ there))
    return float(above / below) if below > 0 else 0.0


def multi_label_f1(true, predicted, average="micro"):
    """Return precision, recall and F1 of several labels a text.

    Args:
        true: `[N, C]` of 0 and 1.
        predicted: The same.
        average: `micro` counts all labels of all texts together; `macro` is the mean over the
            labels, where a label that neither occurs nor is predicted counts 0, as scikit-learn's.

    Example:
    >>> multi_label_f1([[1, 0, 1]], [[1, 1, 0]])
    Score(precision=0.5, recall=0.5, f1=0.5)
    """
    true, predicted = np.asarray(true) > 0.5, np.asarray(predicted) > 0.5
    if true.shape != predicted.shape or true.ndim != 2:
        raise ValueError(
            f"labels and predictions must be [N, C] alike; got {list(true.shape)} and "
            f"{list(predicted.shape)}."
        )
    if average not in ("micro", "macro"):
        raise ValueError(f"average must be micro or macro; got {average!r}.")
    hits, called, there = (true & predicted).sum(0), predicted.sum(0), true.sum(0)
    if average == "micro":
        return _score(hits.sum(), called.sum(), there.sum())
    scores = [_score(*row) for row in zip(hits, called, there, strict=True)]
    return Score(*(float(np.mean(column)) for column in zip(*scores, strict=True)))


def best_f1_threshold(true, scores):
    """Return the threshold on scores that gives the best F1; 0.5 where nothing is true.

    A score that reaches the threshold is chosen. It stands midway between the lowest score that
    is chosen and the next one, so that it holds for texts that were not seen.

    Args:
        true: Bool `[N]`.
        scores: Float `[N]`, probabilities.

    Example:
    >>> best_f1_threshold([True, True, False], [0.9, 0.6, 0.2])
    0.4
    """
    true, scores = np.asarray(true, bool), np.asarray(scores, np.float64)
    if not true.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(true[order])
    values = 2.0 * hits / (np.arange(1, len(true) + 1) + true.sum())
    following = np.append(ranked[1:], 0.0)
    values[ranked == following] = -1.0  # equal scores cannot be told apart
    if ranked[-1] == 0.0:
        values[-1] = 2.0 * hits[-1] / (len(true) + true.sum())
    best = int(np.argmax(values))
    return float(min(max((ranked[best] + following[best]) / 2.0, 0.0), 1.0))


def _score(hits, called, there):
    precision = float(hits / called) if called else 0.0
    recall = float(hits / there) if there else 0.0
    return Score(precision, recall, float(2 * hits / (called + there)) if called + there else 0.0)


def _aligned(true, predicted):
    true, predicted = np.asarray(true), np.asarray(predicted)
    if true.shape != predicted.shape or true.ndim != 1:
        raise ValueError(
            f"expected as many labels as predictions, one a text; got {list(true.shape)} and "
            f"{list(predicted.shape)}."
        )
    if len(true) == 0:
        raise ValueError("there is nothing to score: expected at least one label.")
    return true, predicted
