"""Texts, or pairs of texts, to classes, labels or numbers (Devlin et al. 2018, section 4.1)."""

import dataclasses
import typing

import keras
import numpy as np
import tensorflow as tf

from bertzoo import checkpoints
from bertzoo.losses.classifiers import MicroF1, MultiLabelCrossentropy
from bertzoo.metrics.classification import best_f1_threshold
from bertzoo.models import networks
from bertzoo.optimizers.adamw import AdamW
from bertzoo.postprocessing.labels import label_answers, label_names
from bertzoo.postprocessing.pooling import check_pooling
from bertzoo.preprocessing.texts import read_texts
from bertzoo.tasks import datasets
from bertzoo.tasks.class_fields import class_fields
from bertzoo.tasks.labels import LabelEncoder, balanced_class_weights, check_classes
from bertzoo.tasks.multi_labels import MultiLabelEncoder, balanced_label_weights
from bertzoo.tasks.pooled_windows import logits_of_windows, predict_pooled
from bertzoo.tasks.task import Task

# N texts  C classes


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


class MultiLabelClassification(typing.NamedTuple):
    """What a multi-label classifier says of one text.

    Args:
        labels: Names (or numbers) of the labels that reach their threshold, in output order.
        probabilities: Of every label.
    """

    labels: tuple[str | int, ...]
    probabilities: dict[str | int, float]


@keras.saving.register_keras_serializable(package="bertzoo")
class TextClassifier(Task):
    """Classify texts or pairs; train on labels by name or by number.

    `predict(texts)` gives float32 logits `[N, C]`, the network's output as everywhere in Keras;
    `classify(texts)` gives names and probabilities. What is answered is the head's `problem`:
    one of C classes (`single_label`), any of C labels (`multi_label`), or numbers (`regression`,
    which is what one output means). It is compiled with AdamW at 5e-5 (weight decay 0.01, not on
    biases and layer norms) and, by problem, cross-entropy on logits and accuracy, binary
    cross-entropy and micro F1, or the squared error; `compile` changes any of them.

    Example:
    >>> classifier = TextClassifier.from_preset("bert_toy", labels=["sad", "happy"])
    >>> history = classifier.fit(["bad", "good"], ["sad", "happy"], verbose=0)
    >>> classifier.predict(["good"]).shape
    (1, 2)
    """

    head_kind = "text_classifier"

    def __init__(self, network, preprocessor=None, *, name=None):
        super().__init__(network, preprocessor, name=name)
        self._windows = None
        self._allows_one_class = False
        head = network.head
        if head.problem == "multi_label":
            self._label_encoder = MultiLabelEncoder(head.labels, head.num_outputs, head.parents)
        else:
            self._label_encoder = LabelEncoder(head.labels, head.num_outputs, head.problem)
        self.compile()

    @classmethod
    def from_backbone(
        cls,
        backbone,
        preprocessor=None,
        *,
        labels=None,
        num_classes=None,
        problem=None,
        thresholds=None,
        parents=None,
        name=None,
        **head,
    ):
        """Put a new, random head on a `Backbone`.

        Args:
            backbone: A `Backbone`.
            preprocessor: A `Preprocessor`, or None.
            labels: Names of the classes in output order.
            num_classes: How many, where they have no names.
            problem: `single_label`, `multi_label` or `regression`; None for `regression` with one
                output and `single_label` with more.
            thresholds: Of a multi-label head: a number, or one for each label; None for 0.5.
            parents: Of a multi-label head with a hierarchy: {child: parent} by name, or the
                number of each label's parent, -1 for none.
            name: Of the model.
            **head: Other fields of `HeadConfig`, as `dropout`.
        """
        fields = class_fields(labels, num_classes, problem, thresholds, parents)
        if "num_outputs" not in fields:
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
        problem=None,
        thresholds=None,
        parents=None,
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
            problem: `single_label`, `multi_label` or `regression`. Without `labels` and
                `num_classes`: what the checkpoint's own head is read as.
            thresholds: Of a multi-label head: a number, or one for each label; None for 0.5.
            parents: Of a multi-label head with a hierarchy: {child: parent} by name, or the
                number of each label's parent, -1 for none.

        Raises:
            ValueError: Without either, if the checkpoint has no classifier; the message names the
                heads that it has. Also if files are missing or do not match.
        """
        source = checkpoints.open_source(source, format=format)
        carried = source.heads.get(cls.head_kind)
        is_new = labels is not None or num_classes is not None
        known = None if is_new or carried is None else carried.labels
        fields = class_fields(labels, num_classes, problem, thresholds, parents, known)
        head = None
        if is_new:
            embedder = source.heads.get("text_embedder")
            if embedder is not None and embedder.pooling == ("mean",):
                # What a sentence encoder was trained to say a text's meaning with; its pooler,
                # where there is one, has stood aside since BERT's pretraining.
                fields["input"] = "mean"

            def head(config):
                return networks.new_head(config, cls.head_kind, **fields)

        elif fields and carried is not None:
            heads = {**source.heads, cls.head_kind: carried.replace(**fields)}
            source = dataclasses.replace(source, heads=heads)
        return cls._load(source, head, load_weights, dtype, format, sequence_length, padding)

    @property
    def problem(self):
        """What is answered: `single_label`, `multi_label` or `regression`."""
        return self.network.head.problem

    @property
    def windows(self):
        """How texts that are too long for one row are read; None for their beginning alone.

        One of `mean_logits`, `max_logits`, `mean_probabilities` and `max_probabilities`: the text
        becomes several windows that overlap, and what the network says of them is pooled. It
        holds for `predict`, `classify` and `respond` of single texts; training reads beginnings.
        """
        return self._windows

    @windows.setter
    def windows(self, windows):
        if windows is not None:
            check_pooling(windows, self.problem)
        self._windows = windows

    @property
    def thresholds(self):
        """The probabilities from which labels are chosen, one for all or one a label, or None."""
        return self.network.head.thresholds

    @thresholds.setter
    def thresholds(self, thresholds):
        fields = class_fields(None, None, None, thresholds, None)
        self.network.head = self.network.head.replace(**{"thresholds": None, **fields})

    def compile(self, optimizer="auto", loss="auto", *, metrics="auto", **kwargs):
        """Compile as `keras.Model.compile` does; what is `auto` is chosen for fine-tuning.

        Args:
            optimizer: `auto` for AdamW at 5e-5 (Devlin et al. 2018, A.3).
            loss: `auto` for cross-entropy on logits, binary cross-entropy for several labels a
                text, the squared error for a regression.
            metrics: `auto` for accuracy, micro F1, or none.
            **kwargs: As for `keras.Model.compile`; `jit_compile` is False by default, as batches
                come in several lengths.
        """
        if isinstance(optimizer, str) and optimizer == "auto":
            optimizer = AdamW(5.0e-5, weight_decay=0.01)
        if isinstance(loss, str) and loss == "auto":
            loss = _LOSSES[self.problem]()
        if isinstance(metrics, str) and metrics == "auto":
            metrics = {
                "single_label": ["accuracy"],
                "multi_label": [MicroF1(name="micro_f1")],
                "regression": [],
            }[self.problem]
        kwargs = {"jit_compile": False, **kwargs}
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def fit(self, x=None, y=None, *args, allow_one_class=False, **kwargs):
        """Train as `keras.Model.fit` does, on texts or on ids; see `Task.fit`.

        Args:
            x: Texts, a dict of ids, or a dataset of either.
            y: Labels by name or by number.
            *args: As for `keras.Model.fit`.
            allow_one_class: Whether to train where all labels in memory are of one class, which
                is refused otherwise: data that are sorted by class, or read from a wrong column.
            **kwargs: As for `keras.Model.fit`.
        """
        self._allows_one_class = allow_one_class
        return super().fit(x, y, *args, **kwargs)

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None, windows=None):
        """Return float32 logits `[N, C]`; see `Task.predict`.

        Args:
            x: Texts, a dict of ids, or a dataset of either.
            batch_size: Most rows at once; None for 32.
            verbose: As for `keras.Model.predict`.
            steps: Batches to run, of a dataset; None for all.
            callbacks: As for `keras.Model.predict`.
            windows: How long texts are pooled; None for what the property `windows` says.
        """
        windows = windows or self.windows
        if windows is None or not datasets.is_texts(x):
            return super().predict(x, batch_size, verbose, steps, callbacks)
        check_pooling(windows, self.problem)
        texts = read_texts(x)
        self._need_strings()
        if texts.text_pair is not None:
            raise ValueError("windows are of single texts; got pairs.")
        return predict_pooled(self, texts, windows, batch_size or datasets.BATCH_SIZE)

    def respond(self, text, text_pair=None):
        """Return final answers for strings, in the graph; see `Task.respond`."""
        if self.windows is None:
            return super().respond(text, text_pair)
        if text_pair is not None:
            raise ValueError("windows are of single texts; got pairs.")
        self._need_strings()
        text = tf.convert_to_tensor(text, "string")
        answers = self.answers(logits_of_windows(self, text, self.windows))
        return {**answers, "truncated": tf.zeros_like(text, "int32")}

    def answers(self, outputs):
        """Return `label`, `probabilities` and so on of logits; see `postprocessing.labels`."""
        return label_answers(outputs, self.network.head)

    def classify(self, texts, batch_size=None, verbose=0, windows=None):
        """Return for each text a `Classification`: label, probability, all probabilities.

        Of a multi-label classifier: a `MultiLabelClassification` each. `windows` pools long texts,
        see `predict`.

        >>> classifier = TextClassifier.from_preset("bert_toy", labels=["sad", "happy"])
        >>> sorted(classifier.classify(["good"])[0].probabilities)
        ['happy', 'sad']
        """
        if self.problem == "regression":
            raise ValueError("classify needs at least two classes; use predict for a regression.")
        names = self.labels or range(self.network.head.num_outputs)
        logits = self.predict(texts, batch_size, verbose, windows=windows)
        answers = {key: tensor.numpy() for key, tensor in self.answers(logits).items()}
        results = []
        for row, best in enumerate(answers["label_id"]):
            values = map(float, answers["probabilities"][row])
            probabilities = dict(zip(names, values, strict=True))
            if self.problem == "multi_label":
                chosen = tuple(names[i] for i in np.flatnonzero(answers["selected"][row]))
                results.append(MultiLabelClassification(chosen, probabilities))
            else:
                label = names[best]
                results.append(Classification(label, probabilities[label], probabilities))
        return results

    def tune_thresholds(self, x, y, per_label=False, batch_size=None):
        """Choose the thresholds of a multi-label classifier that give the best F1, and keep them.

        They are part of the head from then on: of `classify`, of `respond` and of presets. A
        graph that was traced before keeps the old ones.

        Args:
            x: Texts of a development set.
            y: Their labels.
            per_label: Whether every label gets its own, by its own F1; else one for all, by
                micro F1. A label without a text keeps 0.5.
            batch_size: As for `predict`.

        Returns:
            The thresholds, as they are in the head.
        """
        if self.problem != "multi_label":
            raise ValueError(f"thresholds are of multi_label classifiers; this is {self.problem}.")
        targets = self._label_encoder.from_array(y)
        logits = self.predict(x, batch_size=batch_size, verbose=0)
        if len(logits) != len(targets):
            raise ValueError(
                f"expected as many labels as texts; got {len(targets)} and {len(logits)}."
            )
        probabilities = np.asarray(keras.ops.sigmoid(logits))
        columns = zip(targets.T, probabilities.T, strict=True) if per_label else [
            (targets.ravel(), probabilities.ravel())
        ]  # fmt: skip
        self.thresholds = [best_f1_threshold(t > 0.5, p) for t, p in columns]
        return self.thresholds

    def _learnable(self, y):
        if y is None or self.problem != "single_label":
            return y
        ids = self._label_encoder.from_array(y)
        if not self._allows_one_class:
            check_classes(ids, label_names(self.network.head))
        return ids

    def _class_weights(self, class_weight, y):
        if self.problem == "regression" and class_weight is not None:
            raise ValueError("class_weight is of classes; a regression takes sample_weight.")
        is_balanced = isinstance(class_weight, str)
        if is_balanced and class_weight != "balanced":
            raise ValueError(
                f"class_weight should be 'balanced' or a dict of weights; got {class_weight!r}."
            )
        if is_balanced and y is None:
            raise ValueError(
                "class_weight='balanced' counts the labels and so needs them in memory, as y; for "
                "a dataset give a dict of weights."
            )
        ids = self._label_encoder.from_array(y) if is_balanced else None
        if self.problem == "single_label":
            if is_balanced:
                return balanced_class_weights(ids, label_names(self.network.head)), None
            return self._label_encoder.class_weight(class_weight), None
        if class_weight is None:
            return None, None
        if not isinstance(self.loss, MultiLabelCrossentropy):
            raise ValueError(
                "class_weight of several labels a text needs the loss MultiLabelCrossentropy, "
                "which is the default; weigh the labels in your own loss."
            )
        if is_balanced:
            return None, balanced_label_weights(ids)
        return None, self._label_encoder.class_weight(class_weight)


_LOSSES = {
    "single_label": lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "multi_label": MultiLabelCrossentropy,
    "regression": keras.losses.MeanSquaredError,
}
