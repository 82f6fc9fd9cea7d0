"""Vectors of texts, trained on pairs and triplets (Reimers and Gurevych 2019)."""

from __future__ import annotations

import numpy as np

from bertzoo.losses.embedding_objectives import CosineSimilarity, SoftmaxClassification
from bertzoo.metrics.correlation import pearson, spearman
from bertzoo.tasks.text_embedder import TextEmbedder
from bertzoo.training.finetuning import tables
from bertzoo.training.finetuning.kinds import Kind
from bertzoo.training.strategy import find_among_replicas

# What each loss is called by `TextEmbedder`; the others are made with what the data say.
OBJECTIVES = {"ranking": "multiple_negatives", "triplet": "triplet"}


class Embeddings(Kind):
    """A vector a text; predictions are the cosines `[N]` of pairs, measured against scores."""

    metric_names = ("spearman", "pearson")

    def read(self, path, part):
        """Return what the loss wants of training data, and pairs with scores of the others."""
        data, loss = self.recipe.data, self.recipe.training.loss
        if part != "train":
            columns = data.measured or data.columns
            return tables.read_texts(data, path, label=columns.score, score=True, columns=columns)
        if loss == "cosine":
            return tables.read_texts(data, path, label=data.columns.score, score=True)
        found = tables.read_texts(
            data, path, label=data.columns.label if loss == "softmax" else None
        )
        if loss in OBJECTIVES and data.columns.negative is not None:
            found["negative"] = tables.read_column(data, path, data.columns.negative)
        return found

    def has_labels(self, examples):
        """Return whether there is something to learn from or to measure on."""
        loss = self.recipe.training.loss
        return any(examples[name] is not None for name in ("score", "label")) or loss in OBJECTIVES

    def make(self, train):
        """Return a `TextEmbedder`."""
        model = self.recipe.model
        pooling = None if model.pooling is None else list(model.pooling)
        return TextEmbedder.from_preset(model.preset, pooling=pooling, **self.model_options())

    def compile(self, task, optimizer, train):
        """Compile with the recipe's objective."""
        loss = self.recipe.training.loss
        objective = OBJECTIVES.get(loss)
        if loss == "cosine":
            objective = CosineSimilarity(highest_score=max(1.0, *train["score"]))
        if loss == "softmax":
            labels = self.recipe.data.labels or sorted(set(train["label"]))
            objective = SoftmaxClassification(list(labels))
        steps = self.recipe.training.steps_per_execution
        task.compile(optimizer, objective=objective, steps_per_execution=steps)
        if self.recipe.training.negatives == "global":
            task.gather = find_among_replicas

    def inputs(self, examples):
        """Return groups of texts, and what is known of each."""
        names = [name for name in ("text", "text_pair", "negative") if examples[name] is not None]
        groups = list(zip(*(examples[name] for name in names), strict=True))
        if self.recipe.training.loss == "cosine":
            return groups, np.asarray(examples["score"], np.float32)
        return groups, examples["label"] if self.recipe.training.loss == "softmax" else None

    def predict(self, task, examples):
        """Return the cosine of each pair."""
        size = self.recipe.evaluation.batch_size
        left, right = (
            task.predict(examples[name], batch_size=size, verbose=0)
            for name in ("text", "text_pair")
        )
        lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        return (left * right).sum(axis=1) / np.maximum(lengths, 1e-12)

    def score(self, task, examples, predictions):
        """Return how cosines and scores correlate; what is constant correlates with nothing."""
        true = np.asarray(examples["score"], np.float64)
        if np.ptp(predictions) == 0 or np.ptp(true) == 0:
            return dict.fromkeys(self.metric_names, 0.0)
        return {
            "spearman": spearman(true, predictions),
            "pearson": pearson(true, predictions),
        }

    def rows(self, task, examples, predictions):
        """Return both texts and their cosine."""
        columns = zip(examples["text"], examples["text_pair"], predictions, strict=True)
        return [{"text": a, "text_pair": b, "cosine": float(c)} for a, b, c in columns]

    def mistakes(self, task, examples, predictions):
        """Return the pairs whose rank by cosine is furthest from their rank by score."""
        ranks = [np.argsort(np.argsort(v)) for v in (predictions, examples["score"])]
        far = np.argsort(-np.abs(ranks[0] - ranks[1]), kind="stable")
        return [
            {
                "score": float(examples["score"][i]),
                "cosine": float(predictions[i]),
                "text": examples["text"][i],
                "text_pair": examples["text_pair"][i],
            }
            for i in far[: self.recipe.evaluation.errors]
        ]
