"""SQuAD's numbers by hand, and beside the official script's rules written out."""

import random

import pytest

from bertzoo.metrics import squad


@pytest.mark.parametrize(
    ("gold", "predicted", "exact", "f1"),
    [
        ("Denver Broncos", "the Denver Broncos.", 1.0, 1.0),
        ("Denver Broncos", "Broncos", 0.0, 2 / 3),
        ("a b c", "c d", 0.0, 0.5),  # the article goes: b c against c d
        ("Santa Clara, California", "Levi's Stadium in Santa Clara", 0.0, 0.5),
        ("four four", "four", 0.0, 2 / 3),
        ("", "", 1.0, 1.0),
        ("", "x", 0.0, 0.0),
        ("x", "", 0.0, 0.0),
        ("U.S.", "us", 1.0, 1.0),
        ("don’t", "dont", 0.0, 0.0),  # only ASCII punctuation goes
    ],
)
def test_exact_match_and_f1_by_hand(gold, predicted, exact, f1):
    assert squad.exact_match(gold, predicted) == exact
    assert squad.token_f1(gold, predicted) == pytest.approx(f1)


def test_the_best_gold_answer_counts():
    golds = [["the", "Rome", "in Rome"], ["Paris", "a city"], [], [], ["the"]]
    scores = squad.squad_scores(golds, ["Rome", "big city", "", "Rome", ""])
    assert scores == {
        "exact": 60.0,
        "f1": pytest.approx((1 + 2 / 3 + 1 + 0 + 1) * 20),
        "has_answer_exact": pytest.approx(200 / 3),
        "has_answer_f1": pytest.approx((1 + 2 / 3 + 1) * 100 / 3),
        "no_answer_exact": 50.0,
        "no_answer_f1": 50.0,
        "total": 5,
        "has_answer": 3,
        "no_answer": 2,
    }
    assert "no_answer_f1" not in squad.squad_scores([["a b"]], ["b"])


def test_the_best_threshold_is_the_best_of_all():
    draw = random.Random(7)
    for _ in range(50):
        size = draw.randint(1, 12)
        golds = [draw.choice([[], ["x y"], ["y"], ["z", "x"]]) for _ in range(size)]
        answers = [draw.choice(["x", "y", "x y", ""]) for _ in range(size)]
        none = [draw.choice([-3.0, -1.5, 0.0, 0.5, 2.0]) for _ in range(size)]
        best = squad.best_thresholds(golds, answers, none)
        for name in ("exact", "f1"):
            thresholds = [-9, -3, -1.5, 0, 0.5, 2, best[f"best_{name}_threshold"]]
            scores = []
            for threshold in thresholds:
                kept = ["" if n > threshold else a for a, n in zip(answers, none, strict=True)]
                scores.append(squad.squad_scores(golds, kept)[name])
            assert best[f"best_{name}"] == pytest.approx(max(scores)) == scores[-1]


def test_other_numbers_of_predictions_are_refused():
    with pytest.raises(ValueError, match="got 1 for 2"):
        squad.squad_scores([["a"], ["b"]], ["a"])
    with pytest.raises(ValueError, match="got 0 for 0"):
        squad.squad_scores([], [])
