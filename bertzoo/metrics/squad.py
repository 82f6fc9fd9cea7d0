"""Exact match and F1 of answers as SQuAD's official scripts compute them, 1.1 and 2.0.

`evaluate-v1.1.py` and `evaluate-v2.0.py` (Rajpurkar et al. 2016 and 2018). For questions that all
have answers both give the same. In percent, as there.
"""

import collections
import re
import string

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)


def normalize_answer(text):
    """Return an answer in lower case, without punctuation, articles and extra spaces.

    >>> normalize_answer("The  U.S. army!")
    'us army'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(gold, predicted):
    """Return 1.0 if two answers are the same after `normalize_answer`, else 0.0."""
    return float(normalize_answer(gold) == normalize_answer(predicted))


def token_f1(gold, predicted):
    """Return the F1 of the words of two answers; for no answer, whether both are none.

    >>> token_f1("the black cat", "a cat")
    0.6666666666666666
    """
    gold, predicted = normalize_answer(gold).split(), normalize_answer(predicted).split()
    if not gold or not predicted:
        return float(gold == predicted)
    common = sum((collections.Counter(gold) & collections.Counter(predicted)).values())
    if not common:
        return 0.0
    precision, recall = common / len(predicted), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def best_over_golds(metric, golds, predicted):
    """Return the best value of a metric over the gold answers; none are the answer "".

    Golds that are nothing after normalisation, as the article "the", do not count (v2.0).
    """
    golds = [gold for gold in golds if normalize_answer(gold)] or [""]
    return max(metric(gold, predicted) for gold in golds)


def squad_scores(golds, predictions):
    """Return the official numbers.

    Args:
        golds: The gold answers (texts) of each question; an empty list for a question without.
        predictions: An answer (text) for each, "" for none.

    Returns:
        A dict in percent: `exact`, `f1`, and where there are such questions `has_answer_exact`,
        `has_answer_f1`, `no_answer_exact`, `no_answer_f1`; and the counts `total`, `has_answer`
        and `no_answer`.

    Raises:
        ValueError: For another number of predictions than of questions, or no questions.

    Example:
    >>> scores = squad_scores([["Rome", "in Rome"], []], ["Rome.", "Paris"])
    >>> scores["exact"], scores["has_answer_f1"], scores["no_answer_f1"]
    (50.0, 100.0, 0.0)
    """
    if len(golds) != len(predictions) or not len(golds):
        raise ValueError(
            f"expected a prediction for each question; got {len(predictions)} for {len(golds)}."
        )
    exact, f1 = question_scores(golds, predictions)
    answerable = [bool(answers) for answers in golds]
    groups = {
        "": range(len(golds)),
        "has_answer_": [i for i, has in enumerate(answerable) if has],
        "no_answer_": [i for i, has in enumerate(answerable) if not has],
    }
    result = {}
    for name, rows in groups.items():
        if len(rows):
            result[f"{name}exact"] = 100.0 * sum(exact[i] for i in rows) / len(rows)
            result[f"{name}f1"] = 100.0 * sum(f1[i] for i in rows) / len(rows)
    has_answer = sum(answerable)
    counts = {"total": len(golds), "has_answer": has_answer, "no_answer": len(golds) - has_answer}
    return result | counts


def question_scores(golds, predictions):
    """Return the exact match and the F1 of each question, two lists of fractions."""
    pairs = list(zip(golds, predictions, strict=True))
    return (
        [best_over_golds(exact_match, answers, answer) for answers, answer in pairs],
        [best_over_golds(token_f1, answers, answer) for answers, answer in pairs],
    )


def best_threshold(scores, answered, answerable, no_answer_scores):
    """Return the best mean score that a threshold reaches, and the threshold (v2.0).

    A question has no answer where its `no_answer_scores` is larger than the threshold
    (`find_best_thresh` of the official script, which gives the score of the last question with an
    answer; here it is halfway to the next one, so that rounding does not decide).

    Args:
        scores: Exact match or F1 of each question's best answer that is one, from
            `question_scores`.
        answered: Whether there is such an answer.
        answerable: Whether the question has one.
        no_answer_scores: Higher means rather none.

    Returns:
        The score in percent, and the threshold.

    Example:
    >>> best_threshold([1.0, 0.0], [True, True], [True, False], [-2.0, 3.0])
    (100.0, 0.5)
    """
    order = sorted(range(len(scores)), key=lambda row: no_answer_scores[row])
    ordered = [float(no_answer_scores[row]) for row in order]
    current = best = float(sum(not has for has in answerable))
    threshold = min(0.0, ordered[0] - 1.0)  # no question has an answer
    for place, row in enumerate(order):
        current += scores[row] if answerable[row] else -float(answered[row])
        # Questions with one score go one way together; the official script parts them.
        is_last = place + 1 == len(order)
        if current > best and (is_last or ordered[place + 1] > ordered[place]):
            best = current
            after = ordered[place] + 1.0 if is_last else ordered[place + 1]
            threshold = (ordered[place] + after) / 2
    return 100.0 * best / len(scores), threshold


def best_thresholds(golds, predictions, no_answer_scores):
    """Return the official `best_exact`, `best_f1` and their thresholds, as a dict.

    Args:
        golds: The gold answers of each question, none for a question without.
        predictions: The best answer that is one, for each question.
        no_answer_scores: Higher means rather none.
    """
    result = {}
    answered = [bool(answer) for answer in predictions]
    answerable = [bool(answers) for answers in golds]
    names = ("exact", "f1")
    for name, scores in zip(names, question_scores(golds, predictions), strict=True):
        best, threshold = best_threshold(scores, answered, answerable, no_answer_scores)
        result |= {f"best_{name}": best, f"best_{name}_threshold": threshold}
    return result
