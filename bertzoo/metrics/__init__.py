"""Metrics as the official scripts compute them, in NumPy."""

from bertzoo.metrics.classification import (
    Score,
    accuracy,
    best_f1_threshold,
    confusion_matrix,
    f1,
    macro_f1,
    matthews,
    multi_label_f1,
)
from bertzoo.metrics.correlation import pearson, spearman
from bertzoo.metrics.retrieval import retrieval

__all__ = [
    "Score",
    "accuracy",
    "best_f1_threshold",
    "confusion_matrix",
    "f1",
    "macro_f1",
    "matthews",
    "multi_label_f1",
    "pearson",
    "retrieval",
    "spearman",
]
