"""Entity F1 beside seqeval, on random tags in every scheme."""

import random

import pytest

from bertzoo import tags
from bertzoo.metrics.entities import entity_scores

metrics = pytest.importorskip("seqeval.metrics")


@pytest.mark.parametrize("letters", ["BI", "I", "BIES"])
def test_scores_are_seqevals(letters):
    draw = random.Random(11)
    names = ["O", *(f"{letter}-{kind}" for letter in letters for kind in "AB")]
    gold, predicted = [], []
    for _ in range(200):
        size = draw.randint(1, 12)
        gold.append([draw.choice(names) for _ in range(size)])
        predicted.append([tag if draw.random() < 0.7 else draw.choice(names) for tag in gold[-1]])
    ours = entity_scores(gold, predicted)
    assert ours.precision == pytest.approx(metrics.precision_score(gold, predicted))
    assert ours.recall == pytest.approx(metrics.recall_score(gold, predicted))
    assert ours.f1 == pytest.approx(metrics.f1_score(gold, predicted))
    assert ours.accuracy == pytest.approx(metrics.accuracy_score(gold, predicted))
    report = metrics.classification_report(gold, predicted, output_dict=True)
    for kind, scores in ours.by_type.items():
        assert scores.f1 == pytest.approx(report[kind]["f1-score"])
        assert scores.support == report[kind]["support"]
    if letters == "BIES":
        from seqeval.metrics.sequence_labeling import get_entities

        for sentence in gold:
            spans = [(span.type, span.start, span.end - 1) for span in tags.spans_of_tags(sentence)]
            assert spans == get_entities(sentence)
