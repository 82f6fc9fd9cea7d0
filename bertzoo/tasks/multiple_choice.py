"""One of several continuations of a text (SWAG, Zellers et al. 2018; Devlin et al. 2018, 4.4)."""

import typing

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from bertzoo import checkpoints
from bertzoo.models import networks
from bertzoo.optimizers.adamw import AdamW
from bertzoo.tasks import datasets, groups
from bertzoo.tasks.labels import LabelEncoder
from bertzoo.tasks.task import Task

# B batch  K choices  T length  N texts


class Choice(typing.NamedTuple):
    """What was chosen for one text.

    Args:
        choice: The number of the choice, from 0.
        text: The choice itself.
        probability: Of that choice.
        probabilities: Of every choice, in their order.
    """

    choice: int
    text: str
    probability: float
    probabilities: list[float]


@keras.saving.register_keras_serializable(package="bertzoo")
class MultipleChoice(Task):
    """Choose one of K continuations of a text; each is read as the pair (text, choice).

    `fit`, `evaluate` and `predict` take a list of (text, [choices]) tuples or a dict with `text`
    and `choices`, and the number of the right choice as label; a `tf.data.Dataset` has such dicts,
    `choices` with K strings. Ids are `[B, K, T]`. `predict` gives float32 logits `[N, K]`. It is
    compiled with AdamW at 5e-5, cross-entropy and accuracy.

    Example:
    >>> chooser = MultipleChoice.from_preset("bert_toy", new_head=True)
    >>> data = [("the cat", ["sat", "was a film"]), ("the film", ["sat", "was good"])]
    >>> history = chooser.fit(data, [0, 1], verbose=0)
    >>> chooser.predict(data).shape
    (2, 2)
    """

    head_kind = "multiple_choice"

    def __init__(self, network, preprocessor=None, *, name=None):
        super().__init__(network, preprocessor, name=name)
        self.compile()

    @classmethod
    def from_preset(
        cls,
        source,
        load_weights=True,
        dtype=None,
        format=None,
        sequence_length=None,
        padding="bucketed",
        new_head=None,
    ):
        """Load a model of multiple choices, or an encoder under a new, random head.

        Args:
            source: Preset name, directory, archive, or address such as `hf://user/repo`.
            load_weights: Whether to read the weights; without, they are random.
            dtype: Dtype policy; `mixed_bfloat16` for training, `bfloat16` for inference only.
            format: Name of the checkpoint format, where it should not be found by inspection.
            sequence_length: Longest row; None for what the checkpoint says.
            padding: Of the `Preprocessor`: `bucketed`, `longest` or `fixed`.
            new_head: Whether to make a new head: it reads the pooled output, or the first token
                through a tanh layer, or the mean on a sentence encoder that pools by the mean.

        Raises:
            ValueError: Without a new head, if the checkpoint has none of this kind.
        """
        head = None
        if new_head:
            source = checkpoints.open_source(source, format=format)
            embedder = source.heads.get("text_embedder")
            is_mean = embedder is not None and embedder.pooling == ("mean",)

            def head(config):
                fields = {"input": "mean"} if is_mean else {}
                return networks.new_head(config, cls.head_kind, **fields)

        return cls._load(source, head, load_weights, dtype, format, sequence_length, padding)

    def compile(self, optimizer="auto", loss="auto", *, metrics="auto", **kwargs):
        """Compile as `keras.Model.compile` does; what is `auto` is chosen for fine-tuning.

        Args:
            optimizer: `auto` for AdamW at 5e-5.
            loss: `auto` for cross-entropy on logits.
            metrics: `auto` for accuracy.
            **kwargs: As for `keras.Model.compile`; `jit_compile` is False by default.
        """
        if isinstance(optimizer, str) and optimizer == "auto":
            optimizer = AdamW(5.0e-5, weight_decay=0.01)
        if isinstance(loss, str) and loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        metrics = ["accuracy"] if isinstance(metrics, str) and metrics == "auto" else metrics
        kwargs = {"jit_compile": False, **kwargs}
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def call(self, inputs, training=None):
        """Return logits `[B, K]` of ids `[B, K, T]`, or scores `[R]` of rows `[R, T]`."""
        if len(inputs["token_ids"].shape) == 2:
            return self.run_network(inputs, training=training)
        rows, size = groups.flat_features(inputs)
        return ops.reshape(self.run_network(rows, training=training), (-1, size))

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Return logits `[N, K]` of texts with choices, or of ids `[N, K, T]`."""
        options = {"verbose": verbose, "callbacks": callbacks}
        if datasets.is_text_dataset(x):
            self._need_strings()
            x = self._features_of_dataset(x, batch_size, False)
            return super().predict(x.map(lambda ids, *_: ids), steps=steps, **options)
        if not datasets.is_texts(x):
            return super().predict(x, batch_size, steps=steps, **options)
        read = groups.read_choices(x)
        scores = super().predict(read.texts, batch_size, **options)
        return scores.reshape(-1, read.size)

    def choose(self, x, batch_size=None, verbose=0):
        """Return a `Choice` a text: which, its probability, all probabilities.

        >>> chooser = MultipleChoice.from_preset("bert_toy", new_head=True)
        >>> chooser.choose([("the cat", ["sat", "was a film"])])[0].choice in (0, 1)
        True
        """
        read = groups.read_choices(x)
        logits = self.predict(read, batch_size, verbose=verbose)
        answers = {key: tensor.numpy() for key, tensor in self.answers(logits).items()}
        texts = read.texts.text_pair.reshape(-1, read.size)
        return [
            Choice(int(i), row[i].decode("utf-8", "replace"), float(p[i]), [float(v) for v in p])
            for i, p, row in zip(answers["choice"], answers["probabilities"], texts, strict=True)
        ]

    def respond(self, text, choices):
        """Return final answers for strings, in the graph: what a server runs.

        Args:
            text: String tensor `[B]`.
            choices: String tensor `[B, K]`.

        Returns:
            A dict: `choice` (int32 `[B]`), `probabilities` (float32 `[B, K]`) and `truncated`
            (int32 `[B]`, 1 where a text or one of its choices was cut).
        """
        text, choices = (tf.convert_to_tensor(t, "string") for t in (text, choices))
        size = tf.shape(choices)[1]
        first = tf.reshape(tf.repeat(text[:, None], size, axis=1), [-1])  # (B * K,)
        self._need_strings()
        features, cut = self.preprocessor.preprocess_whole(first, tf.reshape(choices, [-1]))
        scores = tf.reshape(self.run_network(features, training=False), tf.shape(choices))
        truncated = tf.reduce_max(tf.reshape(cut, tf.shape(choices)), axis=1)
        return {**self.answers(scores), "truncated": truncated}

    def answers(self, outputs):
        """Return `choice` and `probabilities` of logits `[B, K]`."""
        return {
            "choice": tf.argmax(outputs, axis=-1, output_type="int32"),
            "probabilities": tf.nn.softmax(outputs),
        }

    def _read(self, x):
        return groups.read_choices(x)

    def _features_of_texts(self, texts, y, sample_weight, batch_size, by_length=False, **options):
        encoder = LabelEncoder(None, texts.size, "single_label")
        return groups.batches_of_groups(
            texts, y, sample_weight, self.preprocessor, encoder, batch_size, **options
        )

    def _features_of_dataset(self, dataset, batch_size, drop_remainder):
        spec = dataset.element_spec
        inputs = spec[0] if isinstance(spec, tuple) else spec
        size = inputs["choices"].shape[-1] if set(inputs) == {"text", "choices"} else None
        if size is None:
            raise ValueError(
                "a dataset of choices has dicts of `text` and `choices`, the same number of "
                f"choices everywhere; got {inputs}."
            )
        return datasets.features_of_dataset(
            dataset,
            lambda x: groups.features_of_tensors(x, self.preprocessor),
            LabelEncoder(None, size, "single_label"),
            batch_size,
            drop_remainder,
            row_rank=1,
        )

    def _features_of_batch(self, x):
        return groups.features_of_groups(groups.read_choices(x), self.preprocessor)

    def _empty_output(self):
        return np.zeros(0, np.float32)
