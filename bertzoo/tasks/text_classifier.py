"""Texts, or pairs of texts, to one of C classes (Devlin et al. 2018, section 4.1)."""

import typing

import keras
import numpy as np

from bertzoo import checkpoints
from bertzoo.models import networks
from bertzoo.optimizers.adamw import AdamW
from bertzoo.postprocessing.labels import label_answers
from bertzoo.tasks.labels import LabelEncoder
from bertzoo.tasks.task import Task


class Classification(typing.NamedTuple):
    """What a classifier says of one text.

    Args:
        label: Name of the most probable class; its number where classes have no names.
        probability: Of that class.
        probabilities: Of every class.
    """

    label: str | int
    probability: float
    probabilities: dict[str | int, float]


@keras.saving.register_keras_serializable(package="bertzoo")
class TextClassifier(Task):
    """Classify texts or pairs; train on labels by name or by number.

    `predict(texts)` gives float32 logits `[N, C]`, the network's output as everywhere in Keras;
    `classify(texts)` gives names and probabilities. It is compiled with AdamW at 5e-5 (weight decay
    0.01, not on biases and layer norms), cross-entropy on logits, and accuracy; `compile` changes
    any of them. With one output it is a regression, on the squared error.

    Example:
    >>> classifier = TextClassifier.from_preset("bert_toy", labels=["sad", "happy"])
    >>> history = classifier.fit(["bad", "good"], ["sad", "happy"], verbose=0)
    >>> classifier.predict(["good"]).shape
    (1, 2)
    """

    head_kind = "text_classifier"

    def __init__(self, network, preprocessor=None, *, name=None):
        super().__init__(network, preprocessor, name=name)
        self._label_encoder = LabelEncoder(network.head.labels, network.head.num_outputs)
        self.compile()

    @classmethod
    def from_backbone(
        cls, backbone, preprocessor=None, *, labels=None, num_classes=None, name=None, **head
    ):
        """Put a new, random head on a `Backbone`.

        Args:
            backbone: A `Backbone`.
            preprocessor: A `Preprocessor`, or None.
            labels: Names of the classes in output order.
            num_classes: How many, where they have no names.
            name: Of the model.
            **head: Other fields of `HeadConfig`, as `dropout`.
        """
        fields = _class_fields(labels, num_classes)
        if not fields:
            raise ValueError("a new classifier needs labels= or num_classes=; got neither.")
        return super().from_backbone(backbone, preprocessor, name=name, **fields, **head)

    @classmethod
    def from_preset(
        cls,
        source,
        load_weights=True,
        dtype=None,
        format=None,
        sequence_length=None,
        padding="bucketed",
        labels=None,
        num_classes=None,
    ):
        """Load a classifier; or, with `labels` or `num_classes`, an encoder under a new head.

        A new head reads the pooled output, or where there is no pooler the first token through a
        tanh layer; on a sentence encoder that pools by the mean, it reads the mean.

        Args:
            source: Preset name, directory, archive, or address such as `hf://user/repo`.
            load_weights: Whether to read the weights; without, they are random.
            dtype: Dtype policy; `mixed_bfloat16` for training, `bfloat16` for inference only.
            format: Name of the checkpoint format, where it should not be found by inspection.
            sequence_length: Longest row; None for what the checkpoint says.
            padding: Of the `Preprocessor`: `bucketed`, `longest` or `fixed`.
            labels: Names of the classes of a new head, in output order.
            num_classes: Number of classes of a new head without names.

        Raises:
            ValueError: Without either, if the checkpoint has no classifier; the message names the
                heads that it has. Also if files are missing or do not match.
        """
        fields = _class_fields(labels, num_classes)
        head = None
        if fields:
            source = checkpoints.open_source(source, format=format)
            embedder = source.heads.get("text_embedder")
            if embedder is not None and embedder.pooling == ("mean",):
                # What a sentence encoder was trained to say a text's meaning with; its pooler,
                # where there is one, has stood aside since BERT's pretraining.
                fields["input"] = "mean"

            def head(config):
                return networks.new_head(config, cls.head_kind, **fields)

        return cls._load(source, head, load_weights, dtype, format, sequence_length, padding)

    def compile(self, optimizer="auto", loss="auto", *, metrics="auto", **kwargs):
        """Compile as `keras.Model.compile` does; what is `auto` is chosen for fine-tuning.

        Args:
            optimizer: `auto` for AdamW at 5e-5 (Devlin et al. 2018, A.3).
            loss: `auto` for cross-entropy on logits.
            metrics: `auto` for accuracy.
            **kwargs: As for `keras.Model.compile`; `jit_compile` is False by default, as batches
                come in several lengths.
        """
        is_regression = self.network.head.num_outputs == 1
        if isinstance(optimizer, str) and optimizer == "auto":
            optimizer = AdamW(5.0e-5, weight_decay=0.01)
        if isinstance(loss, str) and loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            if is_regression:
                loss = keras.losses.MeanSquaredError()
        if isinstance(metrics, str) and metrics == "auto":
            metrics = [] if is_regression else ["accuracy"]
        kwargs = {"jit_compile": False, **kwargs}
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def get_compile_config(self):
        """Return what `compile_from_config` needs."""
        has_state = self.optimizer is not None and self.optimizer.built
        return {**super().get_compile_config(), "has_state": has_state}

    def compile_from_config(self, config):
        """Compile as it was when it was saved."""
        config = keras.saving.deserialize_keras_object(config)
        has_state = config.pop("has_state")
        self.compile(**config)
        if has_state:  # an optimizer that has not trained has no variables to load
            self.optimizer.build(self.trainable_variables)

    def answers(self, outputs):
        """Return `label`, `probabilities` and so on of logits; see `postprocessing.labels`."""
        return label_answers(outputs, self.network.head)

    def classify(self, texts, batch_size=None, verbose=0):
        """Return a `Classification` a text: label, probability, all probabilities.

        >>> classifier = TextClassifier.from_preset("bert_toy", labels=["sad", "happy"])
        >>> sorted(classifier.classify(["good"])[0].probabilities)
        ['happy', 'sad']
        """
        names = self.labels or range(self.network.head.num_outputs)
        if len(names) < 2:
            raise ValueError("classify needs at least two classes; use predict for a regression.")
        logits = self.predict(texts, batch_size=batch_size, verbose=verbose)
        results = []
        for row in _softmax(logits):
            best = int(np.argmax(row))
            probabilities = dict(zip(names, map(float, row), strict=True))
            results.append(Classification(names[best], float(row[best]), probabilities))
        return results


def _class_fields(labels, num_classes):
    if labels is not None:
        if isinstance(labels, str):
            raise ValueError(f"labels should be a list of names; got the string {labels!r}.")
        labels = tuple(labels)
        if num_classes not in (None, len(labels)):
            raise ValueError(f"got num_classes={num_classes} and {len(labels)} labels.")
        return {"labels": labels, "num_outputs": len(labels)}
    return {} if num_classes is None else {"num_outputs": num_classes}


def _softmax(logits):
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
