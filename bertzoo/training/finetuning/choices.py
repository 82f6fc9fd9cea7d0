"""One of several endings (SWAG, Zellers et al. 2018; Devlin et al. 2018, section 4.4)."""

from __future__ import annotations

import collections

import numpy as np

from bertzoo.metrics.classification import accuracy
from bertzoo.tasks.multiple_choice import MultipleChoice
from bertzoo.training.finetuning import tables
from bertzoo.training.finetuning.kinds import Kind


class MultipleChoices(Kind):
    """One of K endings a text; predictions are probabilities `[N, K]`."""

    metric_names = ("accuracy",)

    def read(self, path, part):
        """Return `text`, `choices` and `label`, the number of the right one."""
        return tables.read_choices(self.recipe.data, path)

    def has_labels(self, examples):
        """Return whether the right choice is known."""
        return examples["label"] is not None

    def make(self, train):
        """Return a `MultipleChoice` with a new head, unless the recipe keeps the old one."""
        model = self.recipe.model
        options = {**self.model_options(), "new_head": not model.keep_head}
        return MultipleChoice.from_preset(model.preset, **options)

    def pairs(self, examples):
        """Return (text, choices) of each row."""
        return list(zip(examples["text"], examples["choices"], strict=True))

    def inputs(self, examples):
        """Return texts with choices, and the numbers of the right ones."""
        return self.pairs(examples), examples["label"]

    def predict(self, task, examples):
        """Return probabilities `[N, K]`."""
        size = self.recipe.evaluation.batch_size
        chosen = task.choose(self.pairs(examples), batch_size=size)
        return np.array([one.probabilities for one in chosen])

    def score(self, task, examples, predictions):
        """Return how many are right."""
        return {"accuracy": accuracy(examples["label"], np.argmax(predictions, axis=1))}

    def rows(self, task, examples, predictions):
        """Return text, choice and probabilities of each row."""
        return [
            {
                "text": text,
                "choice": int(np.argmax(row)),
                "ending": choices[int(np.argmax(row))],
                "probabilities": row.tolist(),
            }
            for (text, choices), row in zip(self.pairs(examples), predictions, strict=True)
        ]

    def mistakes(self, task, examples, predictions):
        """Return the rows where another ending was chosen."""
        wrong = []
        for (text, choices), label, row in zip(
            self.pairs(examples), examples["label"], predictions, strict=True
        ):
            got = int(np.argmax(row))
            if got != label:
                wrong.append({"expected": choices[label], "got": choices[got], "text": text})
        return wrong

    def baseline(self, task, train, examples):
        """Return the accuracy of always choosing the place that is mostly right."""
        best = collections.Counter(train["label"]).most_common(1)[0][0]
        return {"accuracy": accuracy(examples["label"], [best] * len(examples))}
