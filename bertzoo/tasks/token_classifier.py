"""One of C classes for each word; entities of texts (Devlin et al. 2018, section 5.3)."""

import typing

import keras
import numpy as np
import tensorflow as tf

from bertzoo.metrics.entities import EntityScores, entity_scores, span_scores
from bertzoo.models import networks
from bertzoo.optimizers.adamw import AdamW
from bertzoo.postprocessing import entities as decoding
from bertzoo.postprocessing.labels import label_names
from bertzoo.preprocessing.texts import is_ids
from bertzoo.tasks import datasets
from bertzoo.tasks.tagged import TagReader, read_tagged
from bertzoo.tasks.task import Task
from bertzoo.tasks.token_labels import TokenAccuracy, TokenLabels
from bertzoo.tasks.windowed import IGNORED, Windowed, WindowRows, packed_windows

# B texts  W windows  T tokens  N words  C classes


class Entity(typing.NamedTuple):
    """An entity of a text.

    Args:
        text: Its characters, as they stand in the text.
        label: Its type.
        score: The mean of its words' probabilities.
        start: Its first character (code point); of given words, in these joined by spaces.
        end: One past its last.
    """

    text: str
    label: str
    score: float
    start: int
    end: int


@keras.saving.register_keras_serializable(package="bertzoo")
class TokenClassifier(Windowed, Task):
    """Tag words, find entities in texts; train on tagged words or on entities of raw texts.

    Words are a list of lists of strings, tags a list of as many lists, by name or by number. A
    word's label stands on its first piece; its other pieces are neither trained nor asked. Longer
    texts than a row are read in windows that overlap, in training too.

    `predict` gives, for words and for texts, a float32 array `[words, C]` of probabilities each;
    for a dict of ids the network's logits `[B, T, C]`. `tag` gives names, `entities` entities, and
    `score` the F1 of conlleval. It is compiled with AdamW at 5e-5, cross-entropy over the tokens
    that have a label, and their accuracy.

    Example:
    >>> tagger = TokenClassifier.from_preset("bert_toy", labels=["O", "B-LOC", "I-LOC"])
    >>> words = [["paris", "is", "great"], ["a", "cat", "in", "london"]]
    >>> tags = [["B-LOC", "O", "O"], ["O", "O", "O", "B-LOC"]]
    >>> history = tagger.fit(words, tags, verbose=0)
    >>> len(tagger.entities(["the capital is paris."]))
    1
    """

    head_kind = "token_classifier"

    def __init__(self, network, preprocessor=None, *, name=None):
        super().__init__(network, preprocessor, name=name)
        self._label_encoder = TokenLabels()
        self._tag_reader = TagReader(network.head.labels, network.head.num_outputs)
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
        labels=None,
        num_classes=None,
    ):
        """Load a tagger; or, with `labels` or `num_classes`, an encoder under a new head.

        Args:
            source: Preset name, directory, archive, or address such as `hf://user/repo`.
            load_weights: Whether to read the weights; without, they are random.
            dtype: Dtype policy; `mixed_bfloat16` for training, `bfloat16` for inference only.
            format: Name of the checkpoint format, where it should not be found by inspection.
            sequence_length: Longest row; None for what the checkpoint says.
            padding: Of the `Preprocessor`: `bucketed`, `longest` or `fixed`.
            labels: Names of the classes of a new head, in output order, as `O B-PER I-PER`.
            num_classes: Number of classes of a new head without names.

        Raises:
            ValueError: Without either, if the checkpoint has no such head; the message names the
                heads that it has. Also if files are missing or do not match.
        """
        head = None
        if labels is not None or num_classes is not None:
            if isinstance(labels, str):
                raise ValueError(f"labels should be a list of names; got the string {labels!r}.")
            fields = {"labels": labels and tuple(labels), "num_outputs": num_classes}

            def head(config):
                return networks.new_head(config, cls.head_kind, **fields)

        return cls._load(source, head, load_weights, dtype, format, sequence_length, padding)

    def compile(self, optimizer="auto", loss="auto", *, metrics="auto", **kwargs):
        """Compile as `keras.Model.compile` does; what is `auto` is chosen for fine-tuning.

        Args:
            optimizer: `auto` for AdamW at 5e-5 (Devlin et al. 2018, A.3).
            loss: `auto` for cross-entropy on logits, over the tokens whose label is not -1.
            metrics: `auto` for the accuracy over these tokens.
            **kwargs: As for `keras.Model.compile`; `jit_compile` is False by default, as batches
                come in several lengths.
        """
        if isinstance(optimizer, str) and optimizer == "auto":
            optimizer = AdamW(5.0e-5, weight_decay=0.01)
        if isinstance(loss, str) and loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, ignore_class=IGNORED
            )
        if isinstance(metrics, str) and metrics == "auto":
            metrics = [TokenAccuracy()]
        kwargs = {"jit_compile": False, **kwargs}
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    # === Answers ===

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Return probabilities for words or texts, a float32 array `[words, C]` each.

        Args:
            x: Words (a list of lists), texts, or a dict of ids or a dataset of them, which give
                logits as for `keras.Model.predict`.
            batch_size: Most windows at once; None for 32.
            verbose: Of `keras.Model.predict`, for ids.
            steps: Of the same.
            callbacks: Of the same.
        """
        self._refuse_string_datasets(x)
        if not self._reads(x):
            options = {"verbose": verbose, "steps": steps, "callbacks": callbacks}
            return super().predict(x, batch_size=batch_size, **options)
        return [
            probabilities
            for probabilities, _, _ in self._answered(self._examples(x, None, None), batch_size)
        ]

    def tag(self, words, batch_size=None):
        """Return the tag of each word, a list of names for each row.

        >>> TokenClassifier.from_preset("bert_toy").tag([["a", "cat"], []])[1]
        []
        """
        names = label_names(self.network.head)
        return [
            [names[label] for label in labels]
            for _, labels, _ in self._answered(self._examples(words, None, None), batch_size)
        ]

    def entities(self, texts, aggregation="first", batch_size=None):
        """Return the entities of texts, or of words, a list of `Entity` each.

        A word of a text has one label and is never split. Which scheme of tags the labels follow
        (IOB1, IOB2, BIOES, or plain types) is found from their names.

        Args:
            texts: One text or several; or words, a list of lists.
            aggregation: How a word's pieces say its label: `first`, `average` or `max`.
            batch_size: Most windows at once; None for 32.

        Returns:
            A list of lists; for one text, its list.

        Example:
        >>> tagger = TokenClassifier.from_preset("bert_toy")
        >>> found = tagger.entities("paris is the capital of france.")
        >>> all("paris is the capital of france."[e.start:e.end] == e.text for e in found)
        True
        """
        if isinstance(texts, str):
            return self.entities([texts], aggregation, batch_size)[0]
        examples = self._examples(texts, None, None)
        return [found for *_, found in self._answered(examples, batch_size, aggregation)]

    def score(self, x, y, aggregation="first", batch_size=None) -> EntityScores:
        """Return the F1 of entities, and with words the accuracy of tags, by conlleval's rules.

        Args:
            x: Words, or texts.
            y: Tags of words by name, or entities of texts, as for `fit`.
            aggregation: See `entities`.
            batch_size: Most windows at once; None for 32.
        """
        examples = self._examples(x, y, None)
        answered = self._answered(examples, batch_size, aggregation)
        names = label_names(self.network.head)
        if isinstance(examples[0].text, list):
            gold, predicted = [], []
            for example, (_, labels, _) in zip(examples, answered, strict=True):
                kept = [i for i, label in enumerate(example.labels) if label != IGNORED]
                gold.append([names[example.labels[i]] for i in kept])
                predicted.append([names[labels[i]] for i in kept])
            return entity_scores(gold, predicted, names)
        gold = [(row, n, s, e) for row, one in enumerate(examples) for s, e, n in one.labels]
        found = [
            (row, entity.label, entity.start, entity.end)
            for row, (*_, entities) in enumerate(answered)
            for entity in entities
        ]
        return span_scores(gold, found)

    def respond(self, text, text_pair=None, aggregation="first"):
        """Return the entities of strings, in the graph: what a server runs.

        Args:
            text: String tensor `[B]`.
            text_pair: None; texts are tagged one by one.
            aggregation: See `entities`.

        Returns:
            A dict of dense tensors, see `postprocessing.entities.decode`.
        """
        if text_pair is not None:
            raise ValueError("entities are found in texts, not in pairs of texts.")
        self._need_graph()
        windows, words = self.preprocessor.word_windows(tf.convert_to_tensor(text, "string"))
        logits = self.run_network(windows.features, training=False)
        return self._decode(logits, windows, words, aggregation)[2]

    # === Inside ===

    def _decode(self, logits, windows, words, aggregation):
        names = label_names(self.network.head)
        probabilities, seen = decoding.word_probabilities(logits, windows, words, aggregation)
        labels = decoding.word_labels(probabilities, seen, names)
        return probabilities, labels, decoding.decode(probabilities, seen, words, names)

    def _answered(self, examples, batch_size, aggregation="first"):
        """Return (probabilities, labels, entities) of each example; alike lengths together."""
        self._need_strings()
        size = batch_size or datasets.BATCH_SIZE
        results = [None] * len(examples)
        order = sorted(range(len(examples)), key=lambda row: -len(examples[row].text))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            windows, words = self._windows([examples[row] for row in rows])
            logits = self._outputs(windows, size)
            probabilities, labels, found = self._decode(logits, windows, words, aggregation)
            splits = words.starts.row_splits.numpy()
            probabilities, labels = probabilities.numpy(), labels.numpy()
            found = {key: value.numpy() for key, value in found.items()}
            for place, row in enumerate(rows):
                part = slice(splits[place], splits[place + 1])
                entities = _entities(found, place)
                results[row] = (probabilities[part], labels[part].tolist(), entities)
        return results

    def _reads(self, x):
        return datasets.is_texts(x) and not is_ids(x)

    def _examples(self, x, y, sample_weight):
        self._need_strings()
        return read_tagged(x, y, sample_weight, self._tag_reader)

    def _windows(self, examples):
        if not isinstance(examples[0].text, list):
            return self.preprocessor.word_windows([example.text for example in examples])
        flat = tf.constant([word for one in examples for word in one.text], "string")
        lengths = [len(example.text) for example in examples]
        words = tf.RaggedTensor.from_row_lengths(flat, tf.constant(lengths, "int64"))
        return self.preprocessor.word_windows(words)

    def _rows(self, examples):
        windows, words = self._windows(examples)
        packed, is_token = packed_windows(windows)
        token_labels = None
        if examples[0].labels is not None:
            by_word = [label for one in self._word_labels(examples, words) for label in one]
            by_word = np.array([*by_word, IGNORED], np.int32)
            splits = words.starts.row_splits.numpy()
            text_index = windows.text_index.numpy()
            word = splits[text_index][:, None] + windows.word_index.numpy()  # (W, T)
            token_labels = np.where(windows.first_piece.numpy() > 0, by_word[word], IGNORED)
            token_labels = token_labels[is_token].astype(np.int32)
        weights = None
        if examples[0].weight is not None:
            weights = np.array([one.weight for one in examples], np.float32)
            weights = weights[windows.text_index.numpy()]
        return WindowRows(packed, token_labels, None, weights)

    def _word_labels(self, examples, words):
        if isinstance(examples[0].text, list):
            return [example.labels for example in examples]
        starts, ends = words.starts.to_list(), words.ends.to_list()
        return [
            self._tag_reader.labels_of_entities(one.labels, starts[place], ends[place], one.row)
            for place, one in enumerate(examples)
        ]


def _entities(found, row):
    count = found["entity_count"][row]
    columns = (found[f"entity_{name}"][row][:count] for name in Entity._fields)
    return [
        Entity(text.decode(), label.decode(), float(score), int(start), int(end))
        for text, label, score, start, end in zip(*columns, strict=True)
    ]
