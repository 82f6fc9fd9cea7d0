"""Labelled examples of a task to arrays of ids and labels; and how a model is measured on it."""

import json

import numpy as np

from bertzoo import reports
from bertzoo.preprocessing.texts import read_texts
from bertzoo.training.distillation.augmentation import Augmenter
from bertzoo.training.distillation.models import load_task
from bertzoo.training.distillation.texts import read_lines
from bertzoo.training.finetuning.examples import read_parts
from bertzoo.training.finetuning.kinds import kind_of
from bertzoo.training.finetuning.recipe import FinetuneRecipe, Model, Training

ROWS_AT_ONCE = 256
# What a question answerer trains on is called as its outputs are.
NAMES = {"start_logits": "start_positions", "end_logits": "end_positions"}


class TaskData:
    """The examples of a recipe.

    Args:
        recipe: A `DistillRecipe` whose task is not `text`.
        folder: Of the run, where augmented texts are kept.
    """

    def __init__(self, recipe, folder):
        self.recipe, self.folder = recipe, folder
        of_embeddings = recipe.task == "embedding"
        self.kind = kind_of(
            FinetuneRecipe(
                output=recipe.output,
                task=recipe.task,
                data=recipe.data,
                model=Model(
                    recipe.teacher.preset,
                    keep_head=recipe.teacher.keep_head,
                    sequence_length=recipe.sequence_length,
                    padding="fixed",
                ),
                # Embeddings must name a loss, though it is not used.
                training=Training(
                    precision=recipe.training.precision, loss="cosine" if of_embeddings else None
                ),
                evaluation=recipe.evaluation,
            )
        )
        self.parts = read_parts(self.kind)

    def measure(self, task, part="dev"):
        """Return metric -> number of a task."""
        return self.kind.measure(task, self.parts[part])

    def training_arrays(self, teacher):
        """Return name -> array `[N, ...]` of ids and labels of the training examples.

        Args:
            teacher: The teacher's task, whose preprocessor and names of labels count.
        """
        train = self.parts["train"]
        if self.recipe.task == "embedding":
            texts = [text for name in ("text", "text_pair", "negative")
                     for text in train[name] or ()]  # fmt: skip
            return ids_of(teacher, list(dict.fromkeys(texts)))
        if self.recipe.augmentation is not None:
            train = self._augmented(train, teacher)
        arrays = arrays_of(teacher, *self.kind.inputs(train))
        if self.recipe.unlabelled:
            texts = [line for line in read_lines(self.recipe.unlabelled) if line]
            arrays = with_unlabelled(arrays, ids_of(teacher, texts))
        return arrays

    def teacher(self):
        """Return the teacher's task."""
        return self.kind.make(self.parts["train"])

    def _augmented(self, train, teacher):
        """Return the examples and their copies; made once, then read from the run's folder."""
        settings = self.recipe.augmentation
        path = self.folder / "augmented.json"
        columns = [name for name in ("text", "text_pair") if train[name] is not None]
        rows = len(train)
        if path.is_file():
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["settings"] != settings.to_dict() or stored["rows"] != rows:
                raise ValueError(
                    f"{path} was made with other settings or examples; delete it to make it anew."
                )
            copies = stored["copies"]
        else:
            masked_lm = None
            if settings.masked_lm is not None:
                length = teacher.preprocessor.sequence_length
                masked_lm = load_task("text", settings.masked_lm, length, new_head=False)
            augment = Augmenter(
                teacher,
                masked_lm,
                copies=settings.copies,
                candidates=settings.candidates,
                probability=settings.probability,
                seed=self.recipe.training.seed,
            )
            copies = {name: augment(train[name]) for name in columns}
            reports.write_json(
                path, {"settings": settings.to_dict(), "rows": rows, "copies": copies}
            )
        return _joined(train, copies, columns)


def arrays_of(task, x, y):
    """Return name -> array `[N, ...]`: the features of a task's examples, and their labels.

    Args:
        task: With a preprocessor that pads to one length.
        x: As for `fit`.
        y: As for `fit`; None where `x` holds the labels.

    Example:
    >>> task = TextClassifier.from_preset("bert_toy", labels=["bad", "good"], sequence_length=8,
    ...                                   padding="fixed")
    >>> arrays = arrays_of(task, ["a film", "a cat"], ["good", "bad"])
    >>> arrays["token_ids"].shape, arrays["labels"].tolist()
    ((2, 8), [1, 0])
    """
    data, *_ = task._training_data(x, y, None, ROWS_AT_ONCE)
    parts = []
    for features, labels in data:
        labels = labels if isinstance(labels, dict) else {"labels": labels}
        labels = {NAMES.get(name, name): value for name, value in labels.items()}
        parts.append({name: value.numpy() for name, value in {**features, **labels}.items()})
    return _whole(parts)


def ids_of(task, texts):
    """Return the same of texts (or pairs as a dict of columns) without labels."""
    texts, parts = read_texts(texts), []
    for start in range(0, len(texts), ROWS_AT_ONCE):
        features = task.preprocessor.preprocess(texts[start : start + ROWS_AT_ONCE])
        parts.append({name: value.numpy() for name, value in features.items()})
    return _whole(parts)


def _whole(parts):
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    # Segments for whoever of the two has them.
    arrays.setdefault("segment_ids", np.zeros_like(arrays["token_ids"]))
    if "labels" in arrays and arrays["labels"].dtype.kind in "iu":
        arrays["labels"] = arrays["labels"].astype(np.int32)
    return arrays


def with_unlabelled(labelled, unlabelled):
    """Return both together; rows without a label have label -1, or `label_weights` 0.

    >>> ids = np.ones((1, 2), "int32")
    >>> both = with_unlabelled({"token_ids": ids, "labels": np.array([1])}, {"token_ids": ids})
    >>> both["labels"].tolist(), both["label_weights"].tolist()
    ([1, -1], [1.0, 0.0])
    """
    counts = [len(arrays["token_ids"]) for arrays in (labelled, unlabelled)]
    joined = {
        name: np.concatenate([labelled[name], unlabelled[name]])
        for name in labelled
        if name in unlabelled
    }
    labels = labelled["labels"]
    fill = -1 if labels.dtype.kind in "iu" else 0
    missing = np.full((counts[1], *labels.shape[1:]), fill, labels.dtype)
    joined["labels"] = np.concatenate([labels, missing])
    joined["label_weights"] = np.repeat(np.array([1.0, 0.0], np.float32), counts)
    return joined


def _joined(train, copies, columns):
    """Return `Examples` in which each row is followed by its copies."""
    numbers, changed = [], {name: [] for name in columns}
    for row in range(len(train)):
        # Copy 0 is the row itself; a pair's texts change together.
        count = min(len(copies[name][row]) for name in columns)
        numbers += [row] * (1 + count)
        for name in columns:
            changed[name] += [train[name][row], *copies[name][row][:count]]
    grown = train.take(numbers)
    grown.columns |= changed
    return grown
