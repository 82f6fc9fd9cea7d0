"""Logits to names: softmax, sigmoid, thresholds and hierarchies, in core TensorFlow ops.

The same functions run in the graph of a server and behind `classify`.
"""

import numpy as np
import tensorflow as tf

# B batch  C classes

# The probability from which a label is chosen where nothing else is said.
THRESHOLD = 0.5


def label_answers(logits, head):
    """Return the answers of a text classifier by name.

    Args:
        logits: Float32 `[B, C]`.
        head: A `HeadConfig` of a `text_classifier`.

    Returns:
        A dict of dense tensors. Single label: `label` (string `[B]`), `label_id` (int32 `[B]`),
        `probabilities` (float32 `[B, C]`). Multi-label: the same of the most probable label, and
        `selected` (int32 `[B, C]`, 1 for every label that is chosen). Regression: `score`
        (float32 `[B]`, or `[B, C]` of several outputs).

    Example:
    >>> head = HeadConfig("text_classifier", labels=("no", "yes"))
    >>> label_answers(tf.constant([[0.0, 2.0]]), head)["label"].numpy().tolist()
    [b'yes']
    """
    if head.problem == "regression":
        return {"score": logits[:, 0] if head.num_outputs == 1 else logits}
    if head.problem == "single_label":
        probabilities = tf.nn.softmax(logits)
        return {**best_label(probabilities, head), "probabilities": probabilities}
    probabilities = tf.sigmoid(logits)
    chosen = select(probabilities, head)
    return {**best_label(probabilities, head), "probabilities": probabilities, "selected": chosen}


def best_label(probabilities, head):
    """Return `label` (string `[B]`) and `label_id` (int32 `[B]`) of probabilities `[B, C]`."""
    label_id = tf.argmax(probabilities, axis=-1, output_type="int32")
    names = tf.constant(label_names(head))
    return {"label": tf.gather(names, label_id), "label_id": label_id}


def label_names(head):
    """Return the names of the classes; their numbers as text where they have none.

    >>> label_names(HeadConfig("text_classifier", num_outputs=2))
    ['0', '1']
    """
    return list(head.labels) if head.labels else [str(i) for i in range(head.num_outputs)]


def select(probabilities, head):
    """Return int32 `[B, C]`: 1 where a label reaches its threshold, or a child of it does.

    >>> head = HeadConfig("text_classifier", num_outputs=3, problem="multi_label",
    ...                   thresholds=(0.4,), parents=(-1, 0, -1))
    >>> select(tf.constant([[0.1, 0.7, 0.3]]), head).numpy().tolist()
    [[1, 1, 0]]
    """
    thresholds = tf.constant(head.thresholds or (THRESHOLD,), dtype="float32")
    chosen = tf.cast(probabilities >= thresholds, "float32")  # (B, C)
    if head.parents is not None:
        chosen = tf.cast(tf.matmul(chosen, ancestors(head.parents)) > 0, "float32")
    return tf.cast(chosen, "int32")


def ancestors(parents):
    """Return float32 `[C, C]`: 1 at [child, ancestor], and on the diagonal.

    >>> ancestors((-1, 0, 1)).tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    """
    closure = np.eye(len(parents), dtype=np.float32)
    for child in range(len(parents)):
        above = parents[child]
        while above != -1:
            closure[child, above] = 1.0
            above = parents[above]
    return closure
