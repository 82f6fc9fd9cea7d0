"""The decoding of run_squad.py (google-research/bert) in plain Python, by its description.

Sorting is Python's stable one and sums are doubles, as there. Answers are parts of the text.
"""

import math


def published_answer(texts_windows, text, v2, threshold=0.0, n_best=20, max_length=30):
    """Return (answer, n-best of (text, probability), null score less best score).

    Args:
        texts_windows: A dict a window: lists `start_logits`, `end_logits`, `in_text`,
            `max_context`, `starts`, `ends`, without padding.
        text: The text.
    """
    found, null = [], None
    for window in texts_windows:
        starts, ends = window["start_logits"], window["end_logits"]
        score = starts[0] + ends[0]
        if null is None or score < null:
            null = score
        for start in best_places(starts, n_best):
            for end in best_places(ends, n_best):
                if not (window["in_text"][start] and window["in_text"][end]):
                    continue
                if not window["max_context"][start]:
                    continue
                if end < start or end - start + 1 > max_length:
                    continue
                span = (window["starts"][start], window["ends"][end])
                found.append((span, starts[start] + ends[end]))
    if v2:
        found.append((None, null))
    found.sort(key=lambda one: one[1], reverse=True)
    best, seen = [], set()
    for span, score in found:
        if len(best) >= n_best:
            break
        answer = "" if span is None else text[span[0] : span[1]]
        if answer in seen:
            continue
        seen.add(answer)
        best.append((answer, span, score))
    if v2 and "" not in seen:
        best.append(("", None, null))
    total = sum(math.exp(score - best[0][2]) for _, _, score in best)
    probable = [
        (answer, span, math.exp(score - best[0][2]) / total) for answer, span, score in best
    ]
    answers = [one for one in best if one[0]]
    if not answers:
        return "", probable, null
    difference = null - answers[0][2]
    if v2 and difference > threshold:
        return "", probable, difference
    return answers[0][0], probable, difference


def best_places(logits, n_best):
    """`_get_best_indexes`."""
    order = sorted(enumerate(logits), key=lambda one: one[1], reverse=True)
    return [place for place, _ in order[:n_best]]
