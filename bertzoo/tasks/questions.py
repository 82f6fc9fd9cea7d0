"""Questions on passages, in the forms in which users have them, checked."""

import collections.abc

import numpy as np

from bertzoo.readers.squad import GoldAnswer, SquadExample, check_answer
from bertzoo.tasks.windowed import Examples

KEYS = ("question", "context", "answer", "answer_start", "answers", "id")


def read_questions(x):
    """Return `Examples` of `SquadExample`.

    Args:
        x: A list of `SquadExample`; or a dict (or data frame) of columns: `question`, `context`
            and, to train or to score, either `answer` (texts; "" or None for none) and maybe
            `answer_start` (characters; where it is left out, the first place of the answer), or
            `answers` (dicts of lists `text` and `answer_start`, as in Hugging Face's SQuAD).

    Raises:
        ValueError: With the row, for what is not in this form, and for an answer that is not in
            its context.

    Example:
    >>> columns = {"question": ["who?"], "context": ["it was me"], "answer": ["me"]}
    >>> read_questions(columns)[0].answers
    (GoldAnswer(text='me', start=7),)
    """
    if isinstance(x, Examples):
        return x
    if hasattr(x, "to_dict") and hasattr(x, "columns"):
        x = x.to_dict("list")
    if not isinstance(x, collections.abc.Mapping):
        return _checked_examples(x)
    unknown = sorted(set(x) - set(KEYS))
    if unknown or not {"question", "context"} <= set(x):
        raise ValueError(
            "questions are a dict with `question`, `context` and maybe `answer`, `answer_start`, "
            f"`answers` and `id`; got {sorted(x)}."
        )
    columns = {key: _listed(values) for key, values in x.items()}
    sizes = {key: len(values) for key, values in columns.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"the columns differ in length: {sizes}.")
    examples = Examples()
    for row in range(sizes["question"]):
        values = {key: column[row] for key, column in columns.items()}
        where = f"row {row}"
        context = _string(values["context"], "context", where)
        answers = _answers(values, context, where)
        examples.append(
            SquadExample(
                _string(values["question"], "question", where),
                context,
                answers or (),
                str(values.get("id", row)),
                answers is not None and not answers,
            )
        )
    return examples


def answer_labels(windows, examples):
    """Return the first and the last token of the answer in each window.

    Where a window does not hold the whole answer, or there is none, both are 0, the start token
    (`convert_examples_to_features` of google-research/bert's run_squad.py).

    Args:
        windows: `preprocessing.windows.Windows` of the examples.
        examples: `SquadExample`s; of several answers the first one counts, as there.

    Returns:
        A dict of int32 `[W]`: `start_logits` and `end_logits`.
    """
    text_index, in_text = windows.text_index.numpy(), windows.in_text.numpy() > 0
    spans = np.array([_span(example) for example in examples], np.int32)[text_index]
    starts, ends = windows.starts.numpy(), windows.ends.numpy()
    in_answer = in_text & (starts < spans[:, 1:]) & (ends > spans[:, :1])  # (W, T)
    # A window has the answer if it has all of its tokens, each of which is once at its best.
    whole = np.zeros(len(examples), np.int64)
    np.add.at(whole, text_index, (in_answer & (windows.max_context.numpy() > 0)).sum(axis=1))
    for place in np.flatnonzero(whole == 0):
        if examples[place].answers:
            raise ValueError(
                f"question {examples[place].id}: no token stands in the answer "
                f"{examples[place].answers[0].text!r}."
            )
    has_answer = (in_answer.sum(axis=1) == whole[text_index]) & in_answer.any(axis=1)
    last = in_answer.shape[1] - 1 - in_answer[:, ::-1].argmax(axis=1)
    return {
        "start_logits": np.where(has_answer, in_answer.argmax(axis=1), 0).astype(np.int32),
        "end_logits": np.where(has_answer, last, 0).astype(np.int32),
    }


def _span(example):
    if not example.answers:
        return 0, 0
    answer = example.answers[0]
    return answer.start, answer.start + len(answer.text)


def _checked_examples(x):
    examples = Examples()
    for row, example in enumerate(_listed(x)):
        if not isinstance(example, SquadExample):
            raise ValueError(
                f"row {row} should be a SquadExample (readers.squad.read_squad makes them), or all "
                f"of it a dict with `question` and `context`; got {example!r}."
            )
        for answer in example.answers:
            check_answer(example.context, answer, f"row {row}, question {example.id}")
        examples.append(example)
    return examples


def _answers(values, context, where):
    # None where the row says nothing of an answer, () where it says that there is none.
    if "answers" in values:
        given = values["answers"]
        if not isinstance(given, collections.abc.Mapping) or not {"text", "answer_start"} <= set(
            given
        ):
            raise ValueError(
                f"{where}: `answers` should be a dict of lists `text` and `answer_start`; "
                f"got {given!r}."
            )
        pairs = zip(_listed(given["text"]), _listed(given["answer_start"]), strict=True)
    elif "answer" in values:
        text = values["answer"]
        if text is None or _is_nan(text) or text == "":
            return ()
        pairs = [(text, values.get("answer_start"))]
    else:
        return None
    answers = []
    for text, start in pairs:
        text = _string(text, "answer", where)
        if start is None or _is_nan(start):
            start = context.find(text)
            if start < 0:
                raise ValueError(f"{where}: the answer {text!r} is not in its context.")
        answers.append(GoldAnswer(text, int(start)))
        check_answer(context, answers[-1], where)
    return tuple(answers)


def _listed(values):
    if isinstance(values, np.ndarray):
        return values.tolist()
    if hasattr(values, "numpy"):
        return values.numpy().tolist()
    if isinstance(values, str | bytes) or not hasattr(values, "__iter__"):
        raise ValueError(f"expected a list; got {values!r}.")
    return list(values)


def _string(value, name, where):
    if isinstance(value, bytes):
        return value.decode("utf-8", "ignore")
    if not isinstance(value, str):
        raise ValueError(f"{where}: `{name}` should be a string; got {value!r}.")
    return value


def _is_nan(value):
    return isinstance(value, float) and value != value
