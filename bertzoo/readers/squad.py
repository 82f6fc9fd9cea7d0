"""SQuAD's JSON files, 1.1 and 2.0 (Rajpurkar et al. 2016 and 2018), and sets in their form."""

import gzip
import json
import os
import pathlib
import typing


class GoldAnswer(typing.NamedTuple):
    """One person's answer.

    Args:
        text: The answer.
        start: The character (code point) of the context at which it begins.
    """

    text: str
    start: int


class SquadExample(typing.NamedTuple):
    """A question on a passage.

    Args:
        question: The question.
        context: The passage.
        answers: `GoldAnswer`s; none where the passage has no answer, or where it is not known.
        id: Of the question, as the predictions file names it.
        is_impossible: Whether the passage has no answer.
        title: Of the article.
    """

    question: str
    context: str
    answers: tuple[GoldAnswer, ...] = ()
    id: str = ""
    is_impossible: bool = False
    title: str = ""


def read_squad(path: str | os.PathLike) -> list[SquadExample]:
    """Read a file of questions; a name that ends in .gz is unpacked.

    Args:
        path: The file.

    Returns:
        A `SquadExample` for each question, in the order of the file.

    Raises:
        ValueError: With the file, for what is not in SQuAD's form; with the question's id, for an
            answer that does not stand where it says in its context.

    Example:
    >>> answer = {"text": "Rome", "answer_start": 8}
    >>> question = {"id": "q1", "question": "Where?", "answers": [answer]}
    >>> article = {"title": "a", "paragraphs": [{"context": "Anna in Rome", "qas": [question]}]}
    >>> path = pathlib.Path("some.json")
    >>> _ = path.write_text(json.dumps({"version": "1.1", "data": [article]}))
    >>> read_squad(path)[0].answers
    (GoldAnswer(text='Rome', start=8),)
    """
    examples = []
    data = _load(path)
    for number, article in enumerate(_list(data, "data", f"{path}")):
        where = f"{path}, article {number}"
        for place, paragraph in enumerate(_list(article, "paragraphs", where)):
            here = f"{where}, paragraph {place}"
            context = _text(paragraph, "context", here)
            for question in _list(paragraph, "qas", here):
                examples.append(_example(question, context, article.get("title", ""), here, path))
    if not examples:
        raise ValueError(f"{path} has no questions.")
    return examples


def check_answer(context: str, answer: GoldAnswer, where: str) -> None:
    """Raise unless the answer stands where it says in its context."""
    end = answer.start + len(answer.text)
    if not answer.text or answer.start < 0 or context[answer.start : end] != answer.text:
        there = context[max(answer.start, 0) : max(end, 0)]
        raise ValueError(
            f"{where}: the answer {answer.text!r} is not in its context at character "
            f"{answer.start}, where {there!r} stands."
        )


def _example(question, context, title, where, path):
    identity = str(_field(question, "id", where))
    where = f"{path}, question {identity}"
    answers = []
    for answer in question.get("answers") or []:
        gold = GoldAnswer(_text(answer, "text", where), _field(answer, "answer_start", where))
        if not isinstance(gold.start, int) or isinstance(gold.start, bool):
            raise ValueError(f"{where}: answer_start should be a number; got {gold.start!r}.")
        check_answer(context, gold, where)
        answers.append(gold)
    is_impossible = bool(question.get("is_impossible", False))
    if is_impossible and answers:
        raise ValueError(f"{where}: is_impossible is true, and it has the answer {answers[0]}.")
    text = _text(question, "question", where)
    return SquadExample(text, context, tuple(answers), identity, is_impossible, title)


def _load(path):
    opener = gzip.open if pathlib.Path(path).suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}.") from None


def _field(row, key, where):
    if not isinstance(row, dict) or key not in row:
        got = sorted(row) if isinstance(row, dict) else type(row).__name__
        raise ValueError(f"{where}: expected SQuAD's key `{key}`; got {got}.")
    return row[key]


def _list(row, key, where):
    value = _field(row, key, where)
    if not isinstance(value, list):
        raise ValueError(f"{where}: `{key}` should be a list; got {type(value).__name__}.")
    return value


def _text(row, key, where):
    value = _field(row, key, where)
    if not isinstance(value, str):
        raise ValueError(f"{where}: `{key}` should be text; got {value!r}.")
    return value
