"""`predict`, `evaluate` and `ask`: what a fine-tuned checkpoint says of texts and of files."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib
import sys

from bertzoo.cli.output import answer, remark, table
from bertzoo.cli.texts import read_texts, working

# Head -> how its task is called and what a line of input holds.
TASKS = {
    "text_classifier": ("bertzoo.tasks.text_classifier:TextClassifier", "text"),
    "token_classifier": ("bertzoo.tasks.token_classifier:TokenClassifier", "text"),
    "question_answerer": ("bertzoo.tasks.question_answerer:QuestionAnswerer", "question, context"),
    "multiple_choice": ("bertzoo.tasks.multiple_choice:MultipleChoice", "text, choices"),
}
# Lines that are answered at once.
CHUNK = 1024


def predict(options) -> None:
    """`bertzoo predict`: classes, entities, answers or choices, a line of input each."""
    rows = _input_rows(options)
    kind = head_of(options.source, options.format, options.task)
    out = sys.stdout
    with working(options, len(rows)):
        task = load(kind, options)
        found: list[dict] = []
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            found += answers_of(kind, task, part)
            if options.jsonl:  # as they come: a file of a million lines is not held back
                out.write("".join(_line(row) + "\n" for row in found))
                out.flush()
                found = []
    if not options.jsonl:
        answer(options, _plain(kind, found), found)


def head_of(source, format=None, wanted=None) -> str:
    """Return the head that answers: the one wanted, or the first of `TASKS` that there is."""
    from bertzoo import checkpoints

    carried = checkpoints.open_source(source, format=format, download=False)
    if wanted is not None and wanted not in carried.heads:
        raise ValueError(f"{carried.name} has no {wanted} head; it has {_names(carried.heads)}.")
    for kind in TASKS if wanted is None else (wanted,):
        if kind in carried.heads:
            return kind
    raise ValueError(
        f"{carried.name} has no text_classifier head, nor one of {', '.join(list(TASKS)[1:])}; it "
        f"has {_names(carried.heads)}."
    )


def load(kind, options):
    """Return the task of a head."""
    import importlib

    module, name = TASKS[kind][0].split(":")
    task = getattr(importlib.import_module(module), name)
    return task.from_preset(options.source, format=options.format)


def answers_of(kind, task, rows) -> list[dict]:
    """Return one dict a row: the input, and what the task says of it."""
    found = {
        "text_classifier": _classified,
        "token_classifier": _entities,
        "question_answerer": _answered,
        "multiple_choice": _chosen,
    }[kind](task, rows)
    return [{**row, **one} for row, one in zip(rows, found, strict=True)]


def evaluate(options) -> None:
    """`bertzoo evaluate`: the metrics of a fine-tuned checkpoint on a file with labels."""
    from bertzoo import reports
    from bertzoo.training.finetuning import evaluating

    columns = dict(_key_value(item, "--column") for item in options.column)
    recipe = evaluating.recipe_of(
        options.source,
        options.data,
        kind=options.task,
        reader=options.reader,
        glue_task=options.glue_task,
        columns=columns,
        delimiter=options.delimiter,
        encoding=options.encoding,
        header=not options.no_header,
        limit=options.limit,
        sequence_length=options.sequence_length,
        batch_size=options.batch_size,
    )
    with working(options, None):
        result = evaluating.evaluate(recipe)
    if options.predictions:
        reports.write_jsonl(options.predictions, result.rows)
    if options.errors:
        reports.write_errors(options.errors, result.mistakes)
    structured = {"data": options.data, "examples": result.count, "metrics": result.metrics}
    rows = [[name.replace("_", " "), f"{value:.4f}"] for name, value in result.metrics.items()]
    answer(options, table([["examples", str(result.count)], *rows], right=[1]), structured)


def ask(options) -> None:
    """`bertzoo ask`: questions on one passage, from the command line or one after the other."""
    if (options.context is None) == (options.context_file is None):
        raise ValueError("give the passage as --context TEXT or --context-file FILE.")
    if options.top_k < 1:
        raise ValueError(f"--top-k must be at least 1; got {options.top_k}.")
    context = options.context
    if context is None:
        context = pathlib.Path(options.context_file).read_text(encoding="utf-8-sig")
    from bertzoo.tasks.question_answerer import QuestionAnswerer

    remark(f"loading {options.source} ...")
    task = QuestionAnswerer.from_preset(options.source, format=options.format)
    questions = options.texts or lines_typed("question> ")
    for question in questions:
        found = task.answer([question], [context], top_k=options.top_k)[0]
        found = [found] if options.top_k == 1 else found
        structured = {"question": question, "answers": [one._asdict() for one in found]}
        if options.json:
            print(_line(structured), flush=True)
            continue
        rows = [[one.text or "(no answer)", f"{one.score:.4f}", _surroundings(one, context)]
                for one in found]  # fmt: skip
        print(table(rows), flush=True)


def lines_typed(prompt):
    """Yield lines of standard input; with a prompt where somebody types. An empty line ends."""
    for number in itertools.count():
        if sys.stdin.isatty():
            if number == 0:
                remark("an empty line ends")
            print(prompt, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line or (sys.stdin.isatty() and not line.strip()):
            return
        if line.strip():
            yield line.rstrip("\r\n")


def _input_rows(options) -> list[dict]:
    """Return a dict a line: JSON objects, or plain texts."""
    is_json = options.file is not None and pathlib.Path(options.file).suffix in (".jsonl", ".json")
    lines = read_texts(options)
    if not (is_json or options.input_json):
        return [{"text": line} for line in lines]
    where, rows = options.file or "standard input", []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where}, line {number} is not JSON: {error}.") from None
        if not isinstance(row, dict):
            raise ValueError(f"{where}, line {number} should be an object; got {line[:40]!r}.")
        rows.append(row)
    if not rows:
        raise ValueError(f"{where} has no line of JSON.")
    return rows


def _column(rows, name, what=str):
    values = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row.get(name), what):
            raise ValueError(
                f"line {number} should have `{name}`; it has {', '.join(map(str, row)) or 'none'}. "
                "Lines of JSON are read from a .jsonl file, or with --input-json."
            )
        values.append(row[name])
    return values


def _classified(task, rows):
    texts = _column(rows, "text")
    inputs = texts
    if any("text_pair" in row for row in rows):
        inputs = {"text": texts, "text_pair": _column(rows, "text_pair")}
    if task.problem == "regression":
        return [{"value": round(float(row[0]), 6)} for row in task.predict(inputs, verbose=0)]
    found = []
    for one in task.classify(inputs):
        named = {"label": one.label} if task.problem == "single_label" else {"labels": one.labels}
        probabilities = {str(k): round(p, 6) for k, p in one.probabilities.items()}
        found.append({**named, "probabilities": probabilities})
    return found


def _entities(task, rows):
    is_words = any("words" in row for row in rows)
    given = _column(rows, "words", list) if is_words else _column(rows, "text")
    return [
        {"entities": [{**one._asdict(), "score": round(one.score, 6)} for one in found]}
        for found in task.entities(given)
    ]


def _answered(task, rows):
    found = task.answer(_column(rows, "question"), _column(rows, "context"))
    return [
        {
            "answer": one.text,
            "score": round(one.score, 6),
            "start": one.start,
            "end": one.end,
            "no_answer_probability": round(one.no_answer, 6),
        }
        for one in found
    ]


def _chosen(task, rows):
    pairs = zip(_column(rows, "text"), _column(rows, "choices", list), strict=True)
    return [
        {"choice": one.choice, "probabilities": [round(p, 6) for p in one.probabilities]}
        for one in task.choose(list(pairs))
    ]


def _plain(kind, found) -> str:
    """Return the answers for people."""
    if kind == "token_classifier":
        blocks = []
        for one in found:
            spans = [[e["label"], e["text"], f"{e['score']:.4f}"] for e in one["entities"]]
            named = "\n".join("  " + line for line in table(spans).splitlines()) if spans else ""
            text = one.get("text") or " ".join(one["words"])
            blocks.append(f"{text}\n{named or '  (none)'}")
        return "\n\n".join(blocks)
    if kind == "question_answerer":
        rows = [[o["answer"] or "(no answer)", f"{o['score']:.4f}", o["question"]] for o in found]
    elif kind == "multiple_choice":
        rows = [[one["choices"][one["choice"]], one["text"]] for one in found]
    elif found and "value" in found[0]:
        return table([[f"{one['value']:.4f}", one["text"]] for one in found], right=[0])
    else:
        rows = [_spell_classes(one) for one in found]
    return table(rows)


def _spell_classes(one) -> list[str]:
    if "label" in one:
        return [str(one["label"]), f"{max(one['probabilities'].values()):.4f}", one["text"]]
    # Those that reach their threshold, which may be none.
    chosen = [f"{name} {one['probabilities'][str(name)]:.4f}" for name in one["labels"]]
    return [", ".join(chosen) or "-", one["text"]]


def _surroundings(found, context, width=30):
    if found.end == 0:
        return ""
    before = context[max(0, found.start - width) : found.start]
    after = context[found.end : found.end + width]
    return " ".join(f"... {before}[{context[found.start : found.end]}]{after} ...".split())


def _key_value(item, option):
    key, equals, value = item.partition("=")
    if not (key and equals and value):
        raise ValueError(f"{option} is written name=column, as text=sentence; got {item!r}.")
    return key, int(value) if value.removeprefix("-").isdigit() else value


def _names(heads):
    return ", ".join(heads) or "none"


def _line(value) -> str:
    text = json.dumps(value, ensure_ascii=False, default=_json_value)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _json_value(value):
    if dataclasses.is_dataclass(value):
        return dataclasses.asdict(value)
    return value.item() if hasattr(value, "item") else str(value)
