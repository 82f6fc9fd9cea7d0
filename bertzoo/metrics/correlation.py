"""Correlations of scores: STS-B reports Pearson's and Spearman's (GLUE), as scipy computes them."""

import numpy as np


def pearson(true, predicted):
    """Return Pearson's correlation of two lists of numbers.

    Raises:
        ValueError: For fewer than two numbers, lists of different lengths, NaN, or a constant
            list, which correlates with nothing.

    Example:
    >>> round(pearson([1, 2, 3], [2, 4, 7]), 4)
    0.9934
    """
    true, predicted = _numbers(true, predicted)
    true, predicted = true - true.mean(), predicted - predicted.mean()
    # Scaled first: squares of tiny numbers would be 0, of huge ones infinite.
    true, predicted = (v / np.abs(v).max() for v in (true, predicted))
    true, predicted = (v / np.linalg.norm(v) for v in (true, predicted))
    return float(np.clip(true @ predicted, -1.0, 1.0))


def spearman(true, predicted):
    """Return Spearman's correlation: Pearson's of the ranks, where equal numbers share theirs.

    Example:
    >>> round(spearman([1, 2, 3, 3], [1, 4, 9, 16]), 4)
    0.9487
    """
    true, predicted = _numbers(true, predicted)
    return pearson(ranks(true), ranks(predicted))


def ranks(values):
    """Return ranks from 1; equal numbers get the mean of their places.

    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[places]


def _numbers(true, predicted):
    true, predicted = (np.asarray(v, np.float64) for v in (true, predicted))
    if true.shape != predicted.shape or true.ndim != 1:
        raise ValueError(
            f"expected two lists of as many numbers; got {list(true.shape)} and "
            f"{list(predicted.shape)}."
        )
    if len(true) < 2:
        raise ValueError(f"a correlation needs at least two numbers; got {len(true)}.")
    for what, values in (("true", true), ("predicted", predicted)):
        if not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values)))
            raise ValueError(f"{what} number {row} is not finite; got {values[row]}.")
        if (values == values[0]).all():
            raise ValueError(f"the {what} numbers are all {values[0]}: nothing correlates.")
    return true, predicted
