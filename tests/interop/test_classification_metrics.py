"""Our metrics against scikit-learn and scipy, on labels and scores with many ties."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from bertzoo import metrics

SEEDS = range(8)


def case(seed, classes, size=60):
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, size), rng.integers(0, classes, size)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("classes", [2, 5])
def test_single_labels_are_those_of_scikit_learn(seed, classes):
    true, predicted = case(seed, classes)
    theirs = sklearn.metrics
    assert metrics.accuracy(true, predicted) == theirs.accuracy_score(true, predicted)
    assert metrics.matthews(true, predicted) == pytest.approx(
        theirs.matthews_corrcoef(true, predicted), abs=1e-12
    )
    matrix = metrics.confusion_matrix(true, predicted)
    np.testing.assert_array_equal(matrix, theirs.confusion_matrix(true, predicted))
    expected = theirs.precision_recall_fscore_support(true, predicted, average="macro")
    assert metrics.macro_f1(true, predicted) == pytest.approx(expected[:3])
    one = theirs.precision_recall_fscore_support(true == 1, predicted == 1, average="binary")
    assert metrics.f1(true, predicted) == pytest.approx(one[:3])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("average", ["micro", "macro"])
def test_several_labels_are_those_of_scikit_learn(seed, average):
    rng = np.random.default_rng(seed)
    true, predicted = rng.random((30, 6)) < 0.2, rng.random((30, 6)) < 0.2
    true[:, 5] = predicted[:, 5] = False  # a label that never occurs
    expected = sklearn.metrics.precision_recall_fscore_support(
        true, predicted, average=average, zero_division=0
    )
    assert metrics.multi_label_f1(true, predicted, average) == pytest.approx(expected[:3])


@pytest.mark.parametrize("seed", SEEDS)
def test_correlations_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 6, 50) / 5.0
    predicted = (true + rng.normal(size=50)).round(1)
    assert metrics.pearson(true, predicted) == pytest.approx(
        scipy.stats.pearsonr(true, predicted).statistic, abs=1e-12
    )
    assert metrics.spearman(true, predicted) == pytest.approx(
        scipy.stats.spearmanr(true, predicted).statistic, abs=1e-12
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_rankings_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    scores, gains = rng.random((7, 12)), rng.integers(0, 4, (7, 12))
    gains[:, 0] = 1
    relevant = [{i: int(g) for i, g in enumerate(row) if g} for row in gains]
    result = metrics.retrieval(scores, relevant, ks=(5, 12))
    for k in (5, 12):
        expected = sklearn.metrics.ndcg_score(gains, scores, k=k)
        assert result[f"ndcg@{k}"] == pytest.approx(expected)
    precision = [
        sklearn.metrics.average_precision_score(row > 0, own)
        for row, own in zip(gains, scores, strict=True)
    ]
    assert result["map@12"] == pytest.approx(np.mean(precision))
