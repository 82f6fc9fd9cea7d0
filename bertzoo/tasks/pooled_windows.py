"""Classes of texts that are too long for one row: their windows, classified and pooled.

Training reads the beginnings of texts; see `TextClassifier.windows`.
"""

import numpy as np
import tensorflow as tf

from bertzoo.postprocessing.pooling import pool_windows

# N texts  W windows  C classes


def logits_of_windows(classifier, text, pooling):
    """Return the pooled logits `[N, C]` of strings, in the graph.

    Args:
        classifier: A `TextClassifier`.
        text: String tensor `[N]`.
        pooling: How windows are pooled, see `postprocessing.pooling`.
    """
    cut = classifier.preprocessor.windows(text)
    logits = classifier.run_network(cut.features, training=False)  # (W, C)
    return pool_windows(logits, cut.text_index, tf.size(text), pooling, classifier.problem)


def predict_pooled(classifier, texts, pooling, batch_size):
    """Return the pooled logits of texts as an array, in batches of windows of like length.

    Args:
        classifier: A `TextClassifier`.
        texts: `Texts`, N of them.
        pooling: How windows are pooled.
        batch_size: Most texts, and most windows, at once.

    Returns:
        Float32 `[N, C]`.
    """
    num_classes = classifier.network.head.num_outputs
    parts = [np.zeros((0, num_classes), np.float32)]
    for start in range(0, len(texts), batch_size):
        part = texts[start : start + batch_size]
        cut = classifier.preprocessor.windows(part.text)
        lengths = cut.features["padding_mask"].numpy().sum(axis=1)
        order = np.argsort(-lengths, kind="stable")
        logits = np.zeros((len(order), num_classes), np.float32)
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            length = int(classifier.preprocessor.padded_length(lengths[rows]))
            features = {k: v.numpy()[rows, :length] for k, v in cut.features.items()}
            logits[rows] = classifier.predict_on_batch(features)
        pooled = pool_windows(logits, cut.text_index, len(part), pooling, classifier.problem)
        parts.append(pooled.numpy())
    return np.concatenate(parts)
