"""Tasks whose texts may be longer than a row: they train on windows and answer from windows."""

import typing

import keras
import numpy as np
import tensorflow as tf

from bertzoo.preprocessing import bucketing
from bertzoo.tasks import datasets, predicting

# W windows  T tokens

# Texts cut into windows at once.
CHUNK = 256
# A token or text without a label, as in transformers and, there, torch.
IGNORED = -1


class Examples(list):
    """What a task has read and checked, one example an item."""


class WindowRows(typing.NamedTuple):
    """Windows of many texts, without padding, and what they are to be answered with.

    Args:
        packed: `bucketing.PackedRows`, the ids of windows end to end.
        token_labels: Int32, a label for each id of `packed`, or None.
        labels: Labels by name, each int32 `[W]`, or None.
        weights: Float32 `[W]`, or None.
    """

    packed: bucketing.PackedRows
    token_labels: np.ndarray | None = None
    labels: dict | None = None
    weights: np.ndarray | None = None


def packed_windows(windows):
    """Return the `bucketing.PackedRows` of `Windows`, and which of their places are tokens."""
    is_token = windows.features["padding_mask"].numpy() > 0  # (W, T)
    values = windows.features["token_ids"].numpy()[is_token]
    lengths = is_token.sum(axis=1).astype(np.int32)
    segments = windows.features.get("segment_ids")
    first = lengths if segments is None else (is_token & (segments.numpy() == 0)).sum(axis=1)
    return bucketing.PackedRows(values, lengths, first.astype(np.int32)), is_token


def joined(parts):
    """Return the `WindowRows` of several, end to end."""
    columns = list(zip(*(part.packed for part in parts), strict=True))
    packed = bucketing.PackedRows(*(np.concatenate(column) for column in columns))
    first = parts[0]
    return WindowRows(
        packed,
        None
        if first.token_labels is None
        else np.concatenate([part.token_labels for part in parts]),
        None
        if first.labels is None
        else {key: np.concatenate([part.labels[key] for part in parts]) for key in first.labels},
        None if first.weights is None else np.concatenate([part.weights for part in parts]),
    )


def batches(rows, preprocessor, batch_size, by_length=False, order=None, drop_remainder=False):
    """Return a dataset of (features, labels, weights) of windows.

    Args:
        rows: `WindowRows`.
        preprocessor: A `Preprocessor`; each batch is padded as it says.
        batch_size: Windows of a batch.
        by_length: Whether windows of like length come together, for an evaluation.
        order: A function from the number of windows to the order of the next iteration; None for
            that of the input.
        drop_remainder: Whether a last batch with fewer windows is left out.
    """
    num_rows = len(rows.packed.lengths)
    if by_length:
        plan = bucketing.plan_batches(rows.packed.lengths, preprocessor, batch_size)
        places = tf.constant(plan.order)
        members = tf.data.Dataset.from_tensor_slices((plan.starts, plan.stops, plan.lengths))
        members = members.map(lambda start, stop, length: (places[start:stop], length))
    else:
        members = bucketing.members(num_rows, batch_size, order, drop_remainder)
        members = members.map(lambda batch: (batch, None))
    packed = bucketing.PackedRows(*map(tf.constant, rows.packed))
    token_labels = None
    if rows.token_labels is not None:
        token_labels = tf.RaggedTensor.from_row_lengths(rows.token_labels, rows.packed.lengths)
    labels = rows.labels and {key: tf.constant(value) for key, value in rows.labels.items()}
    weights = None if rows.weights is None else tf.constant(rows.weights)

    def batch(members, length):
        features = preprocessor.pad_some(packed, members, length)
        parts = [features]
        if token_labels is not None:
            shape = tf.stack([-1, tf.shape(features["token_ids"])[1]])
            y = tf.gather(token_labels, members).to_tensor(IGNORED, shape=shape)
            y.set_shape(features["token_ids"].shape)
            parts.append(y)
        if labels is not None:
            parts.append({key: tf.gather(value, members) for key, value in labels.items()})
        if weights is not None:
            one = tf.gather(weights, members)
            if token_labels is not None:  # Keras wants a weight for every label
                one = tf.broadcast_to(one[:, None], tf.shape(parts[1]))
            parts.append(one if labels is None else dict.fromkeys(labels, one))
        return tuple(parts)

    return members.map(batch, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def random_order(num_rows):
    """Return a new order, from NumPy's generator, which `keras.utils.set_random_seed` sets."""
    return np.random.permutation(num_rows)


class Windowed:
    """What tasks share that read examples of their own and cut them into windows.

    A task says what is an example (`_reads`), reads them (`_examples`) and makes `WindowRows` of
    some of them (`_rows`).
    """

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        **kwargs,
    ):
        """Train as `keras.Model.fit` does, on examples or on ids; long texts train by windows.

        An epoch has as many rows as there are windows; `validation_split` takes the last examples.
        """
        if class_weight is not None:
            raise ValueError(
                f"class_weight is not a setting of {type(self).__name__}; give sample_weight=, a "
                "weight for each example, or compile with a loss of your own."
            )
        if self._reads(x):
            x = self._examples(x, y, sample_weight)
            y = sample_weight = None
            if validation_split and validation_data is None:
                x, validation_data = _split(x, validation_split)
                validation_split = 0.0
        return super().fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            sample_weight=sample_weight,
            **kwargs,
        )

    def _training_data(self, x, y, sample_weight, batch_size, by_length=False, **options):
        # options: how rows are ordered, `shuffle` or `order`, and `drop_remainder`.
        self._refuse_string_datasets(x)
        if not (isinstance(x, Examples) or self._reads(x)):
            return super()._training_data(
                x, y, sample_weight, batch_size, by_length=by_length, **options
            )
        examples = x if isinstance(x, Examples) else self._examples(x, y, sample_weight)
        order = options.get("order") or (random_order if options.get("shuffle") else None)
        size = batch_size or datasets.BATCH_SIZE
        drop_remainder = options.get("drop_remainder", False)
        rows = self._all_rows(examples)
        data = batches(rows, self.preprocessor, size, by_length, order, drop_remainder)
        return data, None, None

    def _batch(self, x, y, features=None):
        if not self._reads(x):
            return super()._batch(x, y, features)
        rows = self._all_rows(self._examples(x, y, None))
        data = batches(rows, self.preprocessor, len(rows.packed.lengths))
        features, *labels = next(iter(data))
        return super()._batch(features, None)[0], labels[0] if labels else None

    def _all_rows(self, examples):
        self._need_strings()
        if not examples:
            raise ValueError("expected at least one example; got none.")
        chunks = range(0, len(examples), CHUNK)
        return joined([self._rows(examples[start : start + CHUNK]) for start in chunks])

    def _refuse_string_datasets(self, x):
        if datasets.is_text_dataset(x):
            raise ValueError(
                f"{type(self).__name__} does not read a tf.data.Dataset of strings, as a text may "
                "become several rows: give lists of strings, or a dataset of ids."
            )

    def _need_graph(self):
        self._need_strings()
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "respond runs in a TensorFlow graph; with the Keras backend "
                f"{keras.backend.backend()} use the methods that take lists."
            )

    def _outputs(self, windows, batch_size):
        """Return the network's outputs for all windows, as tensors, some rows at a time."""
        predicting.trace_once(self)
        parts = []
        for start in range(0, max(len(windows.text_index), 1), batch_size):
            features = {k: v[start : start + batch_size] for k, v in windows.features.items()}
            parts.append(self.predict_on_batch(features))
        return keras.tree.map_structure(
            lambda *outputs: tf.constant(np.concatenate([np.asarray(o) for o in outputs])), *parts
        )


def _split(examples, validation_split):
    if not 0 < validation_split < 1:
        raise ValueError(f"validation_split must be between 0 and 1; got {validation_split}.")
    split = int(len(examples) * (1 - validation_split))
    if not 0 < split < len(examples):
        raise ValueError(f"validation_split={validation_split} of {len(examples)} leaves none.")
    return Examples(examples[:split]), Examples(examples[split:])
