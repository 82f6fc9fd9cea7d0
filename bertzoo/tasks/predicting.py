"""Texts in memory to the output of a network: sorted by length, traced once, and back in order."""

import keras
import numpy as np
import tensorflow as tf

from bertzoo.preprocessing import bucketing


def predict_few(task, texts, batch_size):
    """Return the output for texts of a batch or so, without tf.data.

    Setting a pipeline up costs more than a short text's forward pass.

    Args:
        task: A `Task`.
        texts: `Texts`.
        batch_size: Most rows at once.
    """
    if len(texts) == 0:
        return task._empty_output()
    trace_once(task)
    rows = bucketing.pack_rows(texts.columns(), task.preprocessor)
    plan = bucketing.plan_batches(rows.lengths, task.preprocessor, batch_size)
    outputs = []
    for start, stop, length in zip(plan.starts, plan.stops, plan.lengths, strict=True):
        features = task.preprocessor.pad_some(rows, plan.order[start:stop], length)
        outputs.append(keras.Model.predict_on_batch(task, backend_arrays(features)))
    return bucketing.in_input_order(_joined(outputs), plan.order)


def predict_chunks(task, chunks, batch_size, batch_tokens, options):
    """Return the output for any number of texts, so many tokens of which are in memory at once.

    Args:
        task: A `Task`.
        chunks: Strings in batches, see `bucketing.packed_windows`.
        batch_size: Most rows at once.
        batch_tokens: Tokens that more rows may have, see `bucketing.plan_batches`.
        options: `verbose` and `callbacks` of `keras.Model.predict`.
    """
    trace_once(task)
    outputs = []
    for rows in bucketing.packed_windows(chunks, task.preprocessor):
        plan = bucketing.plan_batches(rows.lengths, task.preprocessor, batch_size, batch_tokens)
        batches = bucketing.planned_batches(rows, plan, task.preprocessor)
        output = keras.Model.predict(task, batches, **options)
        outputs.append(bucketing.in_input_order(output, plan.order))
    return _joined(outputs) if outputs else task._empty_output()


def trace_once(task):
    """Trace a task's network for rows of any number and length.

    TensorFlow would trace it for the first batch's shape, and again for the next ones, before it
    lets all shapes through. Asked with open shapes, it traces once.
    """
    task.make_predict_function()
    trace = getattr(task.predict_function, "get_concrete_function", None)
    if trace is None or task._num_replicas() > 1 or task._traced is task.predict_function:
        return
    preprocessor = task.preprocessor
    length = preprocessor.sequence_length if preprocessor.padding == "fixed" else None
    names = preprocessor.feature_names()
    trace([({name: tf.TensorSpec([None, length], "int32") for name in names},)])
    task._traced = task.predict_function


def backend_arrays(features):
    """Return features as the Keras backend takes them: tensors, or else arrays."""
    if keras.backend.backend() == "tensorflow":
        return features
    return {k: v.numpy() if tf.is_tensor(v) else v for k, v in features.items()}


def _joined(outputs):
    return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)
