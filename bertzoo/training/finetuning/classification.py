"""Classes, several labels, and numbers of texts and pairs (Devlin et al. 2018, section 4.1)."""

from __future__ import annotations

import collections

import numpy as np

from bertzoo import checkpoints, reports
from bertzoo.config import nearest
from bertzoo.metrics import classification, correlation
from bertzoo.postprocessing.labels import select
from bertzoo.readers.glue import glue_labels
from bertzoo.readers.labels import read_labels
from bertzoo.tasks.text_classifier import TextClassifier
from bertzoo.training.finetuning import tables
from bertzoo.training.finetuning.kinds import Kind

# What GLUE's leaderboard ranks by, first.
GLUE_METRICS = {"CoLA": "matthews", "MRPC": "f1", "QQP": "f1"}


class OfTexts(Kind):
    """What classification and regression share: columns `text`, perhaps `text_pair`."""

    def read_labelled(self, path, part, score=False, several=False):
        """Return the columns of a file; a file that is only predicted may have no labels."""
        data = self.recipe.data
        column = data.columns.score if score else data.columns.label
        if part == "test" and data.reader not in ("glue", "folders"):
            column = column if tables.has_column(data, path, column) else None
        columns = tables.read_texts(data, path, label=column, score=score, several=several)
        if not score and "label" in columns:
            # A number in a file of JSON lines or Parquet is the name of a class, not its place.
            columns["label"] = [
                list(map(str, label)) if isinstance(label, list) else str(label)
                for label in columns["label"]
            ]
        return columns

    def texts(self, examples):
        """Return the texts, or the pairs as a dict of columns."""
        if examples["text_pair"] is None:
            return examples["text"]
        return {"text": examples["text"], "text_pair": examples["text_pair"]}

    def logits(self, task, examples):
        """Return the network's output for examples."""
        size = self.recipe.evaluation.batch_size
        return task.predict(self.texts(examples), batch_size=size, verbose=0)

    def load(self, options):
        """Return the classifier, which pools windows of long texts if the recipe says so."""
        task = TextClassifier.from_preset(self.recipe.model.preset, **options)
        task.windows = self.recipe.model.windows
        return task

    def row(self, examples, i):
        """Return the texts of a row as a dict."""
        pair = {} if examples["text_pair"] is None else {"text_pair": examples["text_pair"][i]}
        return {"text": examples["text"][i], **pair}


class Classification(OfTexts):
    """One of C classes a text; predictions are probabilities `[N, C]`."""

    metric_names = ("accuracy", "f1", "matthews", "macro_f1")

    def __init__(self, recipe):
        super().__init__(recipe)
        # Of whole training files: a part that becomes dev may have the only rows of a class.
        self._found = set()
        if recipe.evaluation.metric is None:
            self.metric = GLUE_METRICS.get(recipe.data.task, self.metric_names[0])

    def read(self, path, part):
        """Return `text`, perhaps `text_pair`, and `label` where the file has it."""
        columns = self.read_labelled(path, part)
        if part == "train":
            self._found.update(columns.get("label") or ())
        return columns

    def has_labels(self, examples):
        """Return whether there is a column of labels."""
        return examples["label"] is not None

    def make(self, train):
        """Return a `TextClassifier` with a new head, unless the recipe keeps the old one."""
        model, options = self.recipe.model, self.model_options()
        if not model.keep_head:
            options["labels"] = self.labels(train)
        return self.load(options)

    def labels(self, train):
        """Return the names of the classes: the recipe's, or those of the training data."""
        if self.recipe.data.labels is not None:
            return list(self.recipe.data.labels)
        if self.recipe.data.reader == "glue":
            return list(glue_labels(self.recipe.data.task))
        found = sorted(self._found or set(train["label"]))
        if len(found) < 2:
            raise ValueError(
                f"{train.source} has one class only, {found[0]!r}: there is nothing to learn. "
                "Where it is to be learnt all the same, name all classes with data.labels and set "
                "training.allow_one_class=true."
            )
        return found

    def check(self, parts):
        """Raise for a label that is none of the classifier's, with its file and line."""
        known = self.known_labels(parts.get("train"))
        if known is None:
            return
        names = frozenset(known)
        for part in parts.values():
            if part["label"] is None:
                continue
            for line, label in zip(part["line"], part["label"], strict=True):
                for name in label if isinstance(label, list) else [label]:
                    if name not in names:
                        few = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
                        raise ValueError(
                            f"{part.source}, line {line}: the label should be one of {few}; "
                            f"got {name!r}.{nearest(name, known)}"
                        )

    def known_labels(self, train):
        """Return the names of the outputs before there is a task; None where they have none."""
        if not self.recipe.model.keep_head:
            return self.labels(train)
        head = checkpoints.open_source(self.recipe.model.preset).heads.get("text_classifier")
        return head and head.labels

    def inputs(self, examples):
        """Return texts and names of classes."""
        return self.texts(examples), examples["label"]

    def predict(self, task, examples):
        """Return probabilities `[N, C]`."""
        return np.asarray(task.answers(self.logits(task, examples))["probabilities"])

    def score(self, task, examples, predictions):
        """Return accuracy, F1 of the class that is named second, Matthews' and macro F1."""
        true, got = examples["label"], self.names(task, predictions)
        return self._scores(true, got, list(task.labels))

    def _scores(self, true, got, labels):
        scores = {"accuracy": classification.accuracy(true, got)}
        if len(labels) == 2:
            scores["f1"] = classification.f1(true, got, positive=labels[1]).f1
        scores["matthews"] = classification.matthews(true, got)
        scores["macro_f1"] = classification.macro_f1(true, got, labels=labels).f1
        return scores

    def names(self, task, predictions):
        """Return the most probable class of each row."""
        return [task.labels[i] for i in np.argmax(predictions, axis=1)]

    def rows(self, task, examples, predictions):
        """Return text, label and probabilities of each row."""
        names = self.names(task, predictions)
        return [
            {
                **self.row(examples, i),
                "label": names[i],
                "probabilities": dict(zip(task.labels, map(float, predictions[i]), strict=True)),
            }
            for i in range(len(examples))
        ]

    def mistakes(self, task, examples, predictions):
        """Return what was expected and what came, with the probability of both."""
        wrong, names = [], self.names(task, predictions)
        for i, (expected, got) in enumerate(zip(examples["label"], names, strict=True)):
            if expected != got:
                probabilities = dict(zip(task.labels, map(float, predictions[i]), strict=True))
                wrong.append(
                    {
                        "expected": expected,
                        "got": got,
                        "probability": probabilities[got],
                        "of_expected": probabilities.get(expected, 0.0),
                        **self.row(examples, i),
                    }
                )
        return wrong

    def baseline(self, task, train, examples):
        """Return the metrics of always saying the most frequent class."""
        best = collections.Counter(train["label"]).most_common(1)[0][0]
        return self._scores(examples["label"], [best] * len(examples), list(task.labels))

    def official(self, task, examples, predictions, folder):
        """Write the file of a GLUE submission."""
        name = self.recipe.evaluation.glue_file or self.recipe.data.task
        if name == "MNLI":
            name = "MNLI-mm" if "mismatched" in examples.source else "MNLI-m"
        if name is not None:
            names = self.names(task, predictions)
            if "0" in (reports.GLUE_FILES.get(name, ("", ()))[1] or ()):
                order = glue_labels(self.recipe.data.task)
                names = [order.index(label) for label in names]
            reports.write_glue(folder, name, names)

    def confusion(self, task, examples, predictions):
        """Return the confusion matrix and the classes."""
        labels = list(task.labels)
        names = self.names(task, predictions)
        return classification.confusion_matrix(examples["label"], names, labels=labels), labels


class MultiLabel(Classification):
    """Any of C labels a text (DocBERT, PatentBERT); predictions are probabilities `[N, C]`."""

    metric_names = ("micro_f1", "macro_f1", "precision", "recall", "accuracy")

    def read(self, path, part):
        """Return `text` and `label`, a list of names a row."""
        columns = self.read_labelled(path, part, several=True)
        if part == "train":
            self._found.update(name for names in columns.get("label") or () for name in names)
        return columns

    def labels(self, train):
        """Return the names of the labels."""
        if self.recipe.data.labels is not None:
            return list(self.recipe.data.labels)
        if self.recipe.data.label_file is not None:
            return list(read_labels(self.path(self.recipe.data.label_file))[0])
        return sorted(self._found)

    def make(self, train):
        """Return a `TextClassifier` of several labels a text."""
        model, options = self.recipe.model, self.model_options()
        if not model.keep_head:
            labels, parents = self.labels(train), None
            if self.recipe.data.label_file is not None:
                parents = read_labels(self.path(self.recipe.data.label_file))[1]
            options |= {"labels": labels, "problem": "multi_label", "parents": parents or None}
        return self.load(options)

    def score(self, task, examples, predictions):
        """Return F1 over all labels together and over each, and how many rows are all right."""
        true = task._label_encoder.from_array(examples["label"])
        got = self.chosen(task, predictions)
        micro = classification.multi_label_f1(true, got)
        return {
            "micro_f1": micro.f1,
            "macro_f1": classification.multi_label_f1(true, got, average="macro").f1,
            "precision": micro.precision,
            "recall": micro.recall,
            "accuracy": float(np.mean((true == got).all(axis=1))),
        }

    def tune(self, task, dev):
        """Choose the threshold of all labels on dev."""
        x, y = self.inputs(dev)
        task.tune_thresholds(x, y, batch_size=self.recipe.evaluation.batch_size)

    def chosen(self, task, predictions):
        """Return int32 `[N, C]`: 1 for every label that is chosen."""
        return np.asarray(select(predictions, task.network.head))

    def names(self, task, predictions):
        """Return the labels chosen for each row."""
        chosen = self.chosen(task, predictions)
        return [[task.labels[i] for i in np.flatnonzero(row)] for row in chosen]

    def mistakes(self, task, examples, predictions):
        """Return rows with a label too many or too few."""
        wrong = []
        for i, got in enumerate(self.names(task, predictions)):
            expected = sorted(set(examples["label"][i]))
            if expected != sorted(got):
                texts = self.row(examples, i)
                wrong.append({"expected": ",".join(expected), "got": ",".join(got), **texts})
        return wrong

    def baseline(self, task, train, examples):
        """Return micro F1 of always choosing the most frequent label."""
        counts = collections.Counter(name for names in train["label"] for name in names)
        best = counts.most_common(1)[0][0]
        labels = sorted({*counts, *(name for names in examples["label"] for name in names)})
        true = [[name in names for name in labels] for names in examples["label"]]
        got = [[name == best for name in labels] for _ in true]
        return {"micro_f1": classification.multi_label_f1(true, got).f1}

    def official(self, task, examples, predictions, folder):
        """Write nothing: these data sets have no submission format."""

    def confusion(self, task, examples, predictions):
        """Return nothing: with several labels a text none stands for another."""
        return None


class Regression(OfTexts):
    """A number a text or pair (STS-B); predictions are float `[N]`."""

    metric_names = ("spearman", "pearson", "mean_squared_error")

    def read(self, path, part):
        """Return `text`, perhaps `text_pair`, and `score` where the file has it."""
        return self.read_labelled(path, part, score=True)

    def has_labels(self, examples):
        """Return whether there is a column of numbers."""
        return examples["score"] is not None

    def make(self, train):
        """Return a `TextClassifier` with one output."""
        options = self.model_options()
        if not self.recipe.model.keep_head:
            options |= {"num_classes": 1, "problem": "regression"}
        return self.load(options)

    def inputs(self, examples):
        """Return texts and numbers."""
        return self.texts(examples), np.asarray(examples["score"], np.float32)

    def predict(self, task, examples):
        """Return numbers `[N]`."""
        return np.asarray(task.answers(self.logits(task, examples))["score"])

    def score(self, task, examples, predictions):
        """Return both correlations and the squared error; a constant correlates with nothing."""
        true = np.asarray(examples["score"], np.float64)
        varies = np.ptp(predictions) > 0 and np.ptp(true) > 0
        return {
            "spearman": correlation.spearman(true, predictions) if varies else 0.0,
            "pearson": correlation.pearson(true, predictions) if varies else 0.0,
            "mean_squared_error": float(np.mean((true - predictions) ** 2)),
        }

    def value(self, scores):
        """Return the metric that chooses: of an error, less is better."""
        value = super().value(scores)
        return -abs(value) if self.metric == "mean_squared_error" else value

    def rows(self, task, examples, predictions):
        """Return text and number of each row."""
        return [
            {**self.row(examples, i), "score": float(predictions[i])} for i in range(len(examples))
        ]

    def mistakes(self, task, examples, predictions):
        """Return the rows that are furthest off, worst first."""
        errors = predictions - np.asarray(examples["score"])
        worst = np.argsort(-np.abs(errors), kind="stable")[: self.recipe.evaluation.errors]
        return [
            {
                "expected": float(examples["score"][i]),
                "got": float(predictions[i]),
                **self.row(examples, i),
            }
            for i in worst
        ]

    def baseline(self, task, train, examples):
        """Return the squared error of always saying the mean."""
        mean = float(np.mean(train["score"]))
        true = np.asarray(examples["score"], np.float64)
        return {"mean_squared_error": float(np.mean((true - mean) ** 2))}

    def official(self, task, examples, predictions, folder):
        """Write the file of a GLUE submission."""
        name = self.recipe.evaluation.glue_file or self.recipe.data.task
        if name is not None:
            reports.write_glue(folder, name, predictions)
