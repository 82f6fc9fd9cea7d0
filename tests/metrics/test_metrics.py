"""Metrics on cases that can be worked by hand; scikit-learn and scipy are asked in interop."""

import math

import numpy as np
import pytest

from bertzoo import metrics
from bertzoo.metrics.correlation import ranks


def test_scores_of_two_classes_by_hand():
    #        right 2, false alarm 1, missed 1, rejected 2
    true, predicted = [1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0]
    assert metrics.accuracy(true, predicted) == pytest.approx(4 / 6)
    assert metrics.f1(true, predicted) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    # (2 * 2 - 1 * 1) / sqrt(3 * 3 * 3 * 3)
    assert metrics.matthews(true, predicted) == pytest.approx(3 / 9)
    assert metrics.confusion_matrix(true, predicted).tolist() == [[2, 1], [1, 2]]


def test_names_are_labels_too():
    true, predicted = ["b", "a", "b"], ["b", "b", "b"]
    assert metrics.confusion_matrix(true, predicted, ["b", "a"]).tolist() == [[2, 0], [1, 0]]
    assert metrics.f1(true, predicted, positive="b").recall == 1.0
    # b: 2/3, 1, 4/5; a: 0, 0, 0.
    assert metrics.macro_f1(true, predicted) == pytest.approx((1 / 3, 1 / 2, 2 / 5))


def test_a_constant_prediction_has_no_correlation():
    assert metrics.matthews([1, 1, 0], [1, 1, 1]) == 0.0
    assert metrics.f1([0, 0], [0, 0]) == (0.0, 0.0, 0.0)


def test_matthews_of_three_classes_by_hand():
    # Covariances of Gorodkin: (c * s - sum t p) / sqrt((s^2 - sum p^2) (s^2 - sum t^2)).
    true, predicted = [0, 1, 2, 2], [0, 2, 2, 2]
    assert metrics.matthews(true, predicted) == pytest.approx(
        (3 * 4 - (1 * 1 + 1 * 0 + 2 * 3)) / math.sqrt((16 - 10) * (16 - 6))
    )


def test_several_labels_by_hand():
    true = [[1, 0, 1], [0, 0, 1], [0, 0, 0]]
    predicted = [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert metrics.multi_label_f1(true, predicted) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    # Label 0: 1, 1, 1; label 1: 0, 0, 0; label 2: 1, 1/2, 2/3.
    macro = metrics.multi_label_f1(true, predicted, average="macro")
    assert macro == pytest.approx((2 / 3, 1 / 2, 5 / 9))


def test_the_best_threshold_is_that_of_a_search():
    rng = np.random.default_rng(3)
    for _ in range(20):
        true, scores = rng.random(30) < 0.3, rng.random(30).round(1)
        found = metrics.best_f1_threshold(true, scores)

        def f1(threshold, true=true, scores=scores):
            chosen = scores >= threshold
            return 2 * (chosen & true).sum() / max(chosen.sum() + true.sum(), 1)

        assert f1(found) == pytest.approx(max(f1(t) for t in np.linspace(0, 1.0, 101)))
    assert metrics.best_f1_threshold([False, False], [0.9, 0.1]) == 0.5


def test_correlations_by_hand():
    assert metrics.pearson([1, 2, 3], [-1, -2, -3]) == pytest.approx(-1.0)
    # Deviations (-1, 0, 1) and (-2, -1, 3): 5 / sqrt(2 * 14).
    assert metrics.pearson([1, 2, 3], [0, 1, 5]) == pytest.approx(5 / math.sqrt(28))
    assert metrics.pearson([1e-200, 2e-200], [1e200, 2e200]) == pytest.approx(1.0)
    assert ranks(np.array([5, 1, 5, 5])).tolist() == [3.0, 1.0, 3.0, 3.0]
    assert metrics.spearman([1, 2, 3, 4], [1, 10, 100, 99]) == pytest.approx(1 - 6 * 2 / 60)
    # Ranks (1, 2.5, 2.5) and (1, 2, 3): 1.5 / sqrt(1.5 * 2).
    assert metrics.spearman([0, 7, 7], [1, 2, 3]) == pytest.approx(1.5 / math.sqrt(3))


def test_a_ranking_by_hand():
    # Query 0 ranks documents 2, 0, 1, 3; its documents 0 and 3 stand at ranks 2 and 4.
    # Query 1 ranks 3, 2, 1, 0; its document 3 stands first.
    scores = [[0.5, 0.4, 0.9, 0.1], [0.0, 0.1, 0.2, 0.3]]
    result = metrics.retrieval(scores, [[0, 3], [3]], ks=(1, 4))
    log = math.log2
    ideal = 1 + 1 / log(3)
    assert result["ndcg@4"] == pytest.approx(((1 / log(3) + 1 / log(5)) / ideal + 1) / 2)
    assert result["mrr@4"] == pytest.approx((1 / 2 + 1) / 2)
    assert result["map@4"] == pytest.approx(((1 / 2 + 2 / 4) / 2 + 1) / 2)
    assert result["recall@4"] == 1.0
    assert (result["mrr@1"], result["recall@1"], result["ndcg@1"]) == (0.5, 0.5, 0.5)


def test_grades_count_in_ndcg():
    result = metrics.retrieval([[0.9, 0.5, 0.1]], [{0: 1, 1: 3}], ks=(3,))
    log = math.log2
    assert result["ndcg@3"] == pytest.approx((1 + 3 / log(3)) / (3 + 1 / log(3)))


def test_equal_scores_rank_in_the_order_of_the_documents():
    assert metrics.retrieval([[0.5, 0.5]], [[1]], ks=(2,))["mrr@2"] == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.accuracy([1], [1, 0]), r"one a text; got \[1\] and \[2\]"),
        (lambda: metrics.accuracy([], []), "nothing to score"),
        (lambda: metrics.confusion_matrix([0, 3], [0, 0], [0, 1]), "label 1 should be one of"),
        (lambda: metrics.multi_label_f1([[1]], [[1, 0]]), "must be .N, C. alike"),
        (lambda: metrics.multi_label_f1([[1]], [[1]], "weighted"), "micro or macro"),
        (lambda: metrics.pearson([1, 1], [1, 2]), "the true numbers are all 1.0"),
        (lambda: metrics.spearman([1, 2], [1, math.nan]), "predicted number 1 is not finite"),
        (lambda: metrics.pearson([1], [1]), "at least two numbers; got 1"),
        (lambda: metrics.retrieval([[1.0]], [[]]), "query 0 has no relevant document"),
        (lambda: metrics.retrieval([[1.0]], [[1]]), "query 0 names document 1; there are 1"),
        (lambda: metrics.retrieval([[math.nan]], [[0]]), "not a finite number"),
    ],
)
def test_what_cannot_be_scored_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()
