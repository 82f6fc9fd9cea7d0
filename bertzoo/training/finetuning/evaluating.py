"""A fine-tuned checkpoint measured on one file: no training, the same readers and metrics."""

from __future__ import annotations

import pathlib
import typing

from bertzoo import checkpoints
from bertzoo.training.finetuning.examples import Examples
from bertzoo.training.finetuning.kinds import kind_of
from bertzoo.training.finetuning.recipe import (
    Columns,
    Data,
    Evaluation,
    FinetuneRecipe,
    Model,
    Training,
)

# What the end of a file's name says of its reader.
ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".parquet": "parquet",
    ".json": "squad",
    ".conll": "conll",
    ".iob": "conll",
    ".txt": "conll",
    ".zip": "folders",
}
KINDS = {
    "token_classifier": "tokens",
    "question_answerer": "question_answering",
    "multiple_choice": "multiple_choice",
    "text_embedder": "embedding",
}
PROBLEMS = {"single_label": "classification", "multi_label": "multi_label"}


class Result(typing.NamedTuple):
    """What an evaluation gives.

    Args:
        metrics: Name -> number.
        rows: A dict an example, with what was predicted.
        mistakes: Those that are wrong.
        count: How many examples.
    """

    metrics: dict[str, float]
    rows: list[dict]
    mistakes: list[dict]
    count: int


def recipe_of(
    source,
    path,
    *,
    kind=None,
    reader=None,
    glue_task=None,
    columns=None,
    sequence_length=None,
    batch_size=32,
    **data,
):
    """Return the recipe that measures a checkpoint on a file.

    Args:
        source: Whatever `from_preset` takes, with a head.
        path: The file.
        kind: One of the recipe's tasks; None for that of the head that the checkpoint has.
        reader: One of the recipe's readers; None to go by the name of the file.
        glue_task: For the reader `glue`, as RTE.
        columns: Name -> column, as in the recipe.
        sequence_length: Longest row; None for the checkpoint's.
        batch_size: Most rows at once.
        **data: More fields of the recipe's `data`.

    Example:
    >>> recipe_of("bert_toy", "dev.csv", kind="classification", columns={"text": 0}).data.reader
    'csv'
    """
    path = pathlib.Path(path).expanduser()
    if reader is None:
        endings = [ending for ending in path.suffixes if ending != ".gz"]
        reader = "glue" if glue_task else ENDINGS.get(endings[-1] if endings else "")
        if reader is None:
            raise ValueError(f"what {path.name} holds is not clear from its name; give --reader.")
    carried = checkpoints.open_source(source, download=False)
    if sequence_length is None:
        wanted = carried.tokenizer and carried.tokenizer.sequence_length
        longest = carried.config.max_sequence_length
        sequence_length = min(wanted or longest, longest)
    task = kind or _kind(carried, reader)
    names = {"text": "text", "text_pair": None, "label": "label", "score": "score"}
    return FinetuneRecipe(
        output="nowhere",
        task=task,
        data=Data(
            reader=reader,
            train=path.name,
            dev=path.name,
            directory=str(path.parent),
            task=glue_task,
            columns=Columns(**{**names, **(columns or {})}),
            **data,
        ),
        model=Model(preset=str(source), keep_head=True, sequence_length=sequence_length),
        # Embeddings are measured by pairs with a score, whatever they learnt from.
        training=Training(loss="cosine" if task == "embedding" else None),
        evaluation=Evaluation(batch_size=batch_size),
    )


def evaluate(recipe) -> Result:
    """Measure the checkpoint of a recipe on its dev file."""
    kind = kind_of(recipe)
    path = pathlib.Path(recipe.data.directory) / recipe.data.dev
    if not path.is_file():
        raise ValueError(f"{path} does not exist.")
    examples = Examples(kind.read(path, "dev"), str(path))
    if len(examples) == 0 or not kind.has_labels(examples):
        raise ValueError(f"{path} holds no example with a label.")
    if recipe.data.limit is not None:
        examples = examples.take(range(min(recipe.data.limit, len(examples))))
    kind.check({"dev": examples})
    task = kind.make(examples)
    predictions = kind.predict(task, examples)
    return Result(
        kind.score(task, examples, predictions),
        kind.rows(task, examples, predictions),
        kind.mistakes(task, examples, predictions),
        len(examples),
    )


def _kind(carried, reader):
    by_reader = {"conll": "token_classifier", "squad": "question_answerer",
                 "swag": "multiple_choice", "codah": "multiple_choice"}  # fmt: skip
    wanted = by_reader.get(reader)
    if wanted is not None:
        return KINDS[wanted]
    head = carried.heads.get("text_classifier")
    if head is not None:
        return PROBLEMS.get(head.problem, "regression")
    for kind, task in KINDS.items():
        if kind in carried.heads:
            return task
    raise ValueError(
        f"{carried.name} has no head that can be measured; it has "
        f"{', '.join(carried.heads) or 'none'}."
    )
