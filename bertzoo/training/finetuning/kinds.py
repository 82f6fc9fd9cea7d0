"""What each kind of task needs to be read, made, trained, measured and reported."""

from __future__ import annotations

import functools
import importlib
import math
import sys

from bertzoo.config import nearest
from bertzoo.training.finetuning.examples import find_file
from bertzoo.training.strategy import make_replicas

KINDS = {
    "classification": "classification:Classification",
    "multi_label": "classification:MultiLabel",
    "regression": "classification:Regression",
    "tokens": "tokens:Tokens",
    "question_answering": "answers:QuestionAnswering",
    "multiple_choice": "choices:MultipleChoices",
    "embedding": "embeddings:Embeddings",
}


def kind_of(recipe):
    """Return the `Kind` of a recipe."""
    module, name = KINDS[recipe.task].split(":")
    return getattr(importlib.import_module(f"bertzoo.training.finetuning.{module}"), name)(recipe)


class Kind:
    """One kind of task, for one recipe. Subclasses say what differs.

    Args:
        recipe: A `FinetuneRecipe`.
    """

    # Names of the metrics that `score` gives; the first chooses epochs, rates and seeds.
    metric_names: tuple[str, ...] = ()

    def __init__(self, recipe):
        self.recipe = recipe
        self.metric = recipe.evaluation.metric or self.metric_names[0]
        if self.metric not in self.metric_names:
            raise ValueError(
                f"evaluation.metric must be one of {', '.join(self.metric_names)}; "
                f"got {self.metric!r}.{nearest(self.metric, self.metric_names)}"
            )

    # === What subclasses say ===

    def read(self, path, part):
        """Return the columns of a file: name -> values."""
        raise NotImplementedError

    def groups(self, examples):
        """Return a value a row: rows that share it stay together in a split; None to split rows."""
        return None

    def has_labels(self, examples):
        """Return whether examples can be learnt from or measured on."""
        raise NotImplementedError

    def check(self, parts):
        """Raise for what a part says that the task could not answer, before anything is trained.

        Args:
            parts: Part -> `Examples`.
        """

    def make(self, train):
        """Return a new task for the training examples."""
        raise NotImplementedError

    def inputs(self, examples):
        """Return x and y for `fit`."""
        raise NotImplementedError

    def predict(self, task, examples):
        """Return predictions, in whatever form `score` and `write` take them."""
        raise NotImplementedError

    def score(self, task, examples, predictions):
        """Return metrics: name -> number."""
        raise NotImplementedError

    def rows(self, task, examples, predictions):
        """Return one dict a prediction, for a file of JSON lines."""
        raise NotImplementedError

    def mistakes(self, task, examples, predictions):
        """Return the wrong predictions as dicts of strings and numbers."""
        raise NotImplementedError

    def baseline(self, task, train, examples):
        """Return the metrics of an answer that does not look at the text."""
        return {}

    def official(self, task, examples, predictions, folder):
        """Write predictions in the task's own format, where it has one."""

    def confusion(self, task, examples, predictions):
        """Return a confusion matrix and its labels, or None."""
        return None

    def tune(self, task, dev):
        """Choose on dev what is not trained: thresholds."""

    # === What all share ===

    def scope(self):
        """Return the context in which variables are made."""
        return self._replicas.scope()

    @functools.cached_property
    def _replicas(self):
        return make_replicas(self.recipe.training.strategy)

    def path(self, name):
        """Return the path of a file of the data."""
        return find_file(self.recipe.data, name)

    def model_options(self):
        """Return the arguments that every `from_preset` takes."""
        model, training = self.recipe.model, self.recipe.training
        return {
            "sequence_length": model.sequence_length,
            "padding": model.padding,
            "dtype": None if training.precision == "float32" else training.precision,
        }

    def steps_per_epoch(self, task, train):
        """Return how many batches an epoch has."""
        rows, size = self.count(train), self.recipe.training.batch_size
        return max(
            1, rows // size if self.recipe.training.drop_remainder else math.ceil(rows / size)
        )

    def count(self, train):
        """Return how many rows an epoch has."""
        return len(train)

    def compile(self, task, optimizer, train):
        """Compile the task for training."""
        steps = self.recipe.training.steps_per_execution
        task.compile(optimizer, steps_per_execution=steps)

    def fit(self, task, train, callbacks):
        """Train to the end of the recipe's epochs."""
        training = self.recipe.training
        x, y = self.inputs(train)
        options = {} if training.class_weight is None else {"class_weight": training.class_weight}
        if training.allow_one_class:
            options["allow_one_class"] = True
        task.fit(
            x,
            y,
            batch_size=training.batch_size,
            epochs=training.epochs,
            callbacks=callbacks,
            verbose=0,
            drop_remainder=training.drop_remainder,
            **options,
        )

    def measure(self, task, examples):
        """Return the metrics on examples; None where there is nothing to measure."""
        if examples is None or not self.has_labels(examples):
            return None
        return self.score(task, examples, self.predict(task, examples))

    def value(self, metrics):
        """Return the metric that chooses; larger is better, and what is no number is worst."""
        value = metrics[self.metric]
        return -math.inf if value is None or math.isnan(value) else value

    def say(self, text):
        """Say what is going on."""
        print(text, file=sys.stderr, flush=True)


class WindowKind(Kind):
    """A kind whose long texts train as several rows, which are counted by making them."""

    def steps_per_epoch(self, task, train):
        """Return how many batches of windows an epoch has."""
        x, y = self.inputs(train)
        training = self.recipe.training
        data, *_ = task._training_data(
            x, y, None, training.batch_size, drop_remainder=training.drop_remainder
        )
        return int(data.cardinality())
