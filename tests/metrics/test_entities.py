"""Entity F1 by hand; tests/interop/test_entity_metrics.py has seqeval beside it."""

import pytest

from bertzoo.metrics.entities import entity_scores, span_scores


def test_scores_by_hand():
    gold = [["B-PER", "I-PER", "O", "B-LOC", "O"], ["B-LOC", "I-LOC", "O", "B-PER"]]
    predicted = [["B-PER", "I-PER", "O", "B-PER", "O"], ["B-LOC", "O", "O", "B-PER"]]
    scores = entity_scores(gold, predicted)
    # Right: both PER of 2; found PER 3, LOC 1 (cut short, so wrong); there are 4.
    assert (scores.precision, scores.recall, scores.f1) == (0.5, 0.5, 0.5)
    assert scores.accuracy == pytest.approx(7 / 9)
    per, loc = scores.by_type["PER"], scores.by_type["LOC"]
    assert (per.precision, per.recall) == (pytest.approx(2 / 3), 1.0)
    assert (loc.precision, loc.recall, loc.f1, loc.support) == (0.0, 0.0, 0.0, 2)


def test_conlleval_sample():
    # IOB1 and IOB2 spell the same entities; an I- after O begins one.
    iob1 = [["I-PER", "I-PER", "O", "I-LOC", "B-LOC"]]
    iob2 = [["B-PER", "I-PER", "O", "B-LOC", "B-LOC"]]
    assert entity_scores(iob1, iob2).f1 == 1.0
    assert entity_scores(iob1, iob2).accuracy == pytest.approx(3 / 5)


def test_nothing_found_and_nothing_there():
    assert entity_scores([["O"]], [["O"]])[:4] == (0.0, 0.0, 0.0, 1.0)
    assert entity_scores([["B-A"]], [["O"]])[:3] == (0.0, 0.0, 0.0)
    assert span_scores([], [(0, "A", 0, 1)]).precision == 0.0


def test_unequal_rows_are_named():
    with pytest.raises(ValueError, match="row 1 has 2 gold tags and 1 predicted"):
        entity_scores([["O"], ["O", "O"]], [["O"], ["O"]])
    with pytest.raises(ValueError, match="got 1 and 2"):
        entity_scores([["O"], ["O"]], [["O"]])
