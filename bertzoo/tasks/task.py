"""What every task shares: a preprocessor and a network as one `keras.Model`."""

import keras
import numpy as np
import tensorflow as tf

from bertzoo.checkpoints import model_card
from bertzoo.config import check_key
from bertzoo.models import loading, networks
from bertzoo.models.adapting import Adaptable, state_of
from bertzoo.preprocessing import bucketing
from bertzoo.preprocessing.preprocessor import preprocessor_of_checkpoint
from bertzoo.preprocessing.texts import is_ids, read_texts
from bertzoo.tasks import datasets, padding, predicting
from bertzoo.tasks.labels import AnyLabels, named_label_errors

# B batch  T length  N texts

CARD_FACTS = ("description", "metrics", "training", *model_card.FACTS)


class Task(Adaptable, keras.Model):
    """A network and the preprocessor that feeds it.

    Args:
        network: A `Network` with a head of this task's kind, see `from_backbone`.
        preprocessor: A `Preprocessor`; None where the vocabulary is not at hand: the task then
            takes ids only.
        name: Of the model.

    Call with a dict of int32 `[B, T]` (`token_ids`, `padding_mask`, `segment_ids`); returns the
    network's float32 output. `fit`, `evaluate` and `predict` take such dicts, and also texts: a
    list or array of strings, a list of 2-tuples or a dict with `text` and `text_pair` for pairs,
    or a `tf.data.Dataset` of them, batched or not.
    """

    head_kind = None
    # Why a kind of task does not read texts in this release; empty where it does.
    no_texts = ""

    def __init__(self, network, preprocessor=None, *, name=None):
        if network.head.kind != self.head_kind:
            raise ValueError(
                f"{type(self).__name__} needs a network with a {self.head_kind} head; "
                f"this one has {network.head.kind}."
            )
        super().__init__(name=name, dtype=network.backbone.dtype_policy)
        if preprocessor is not None:
            _check_fit(preprocessor, network.backbone.config)
        self.network = network
        self.preprocessor = preprocessor
        self.built = True
        self._info = {}
        self.unpadded = None  # of `padding.network_to_run`
        self._traced = None
        self._seen = state_of(network.backbone)
        self._no_strings = "it was made without a preprocessor"
        self._label_encoder = AnyLabels()
        self._order = None  # of the texts in the run of `fit` that is on

    # === Making one ===

    @classmethod
    def from_backbone(cls, backbone, preprocessor=None, *, name=None, **head):
        """Put a new, random head on a `Backbone`.

        Args:
            backbone: A `Backbone`.
            preprocessor: A `Preprocessor`, or None.
            name: Of the model.
            **head: Fields of `HeadConfig`, as `labels`, `num_outputs` or `pooling`.
        """
        head = networks.new_head(backbone.config, cls.head_kind, **head)
        return cls(networks.build_network(backbone, head), preprocessor, name=name)

    @classmethod
    def from_preset(
        cls,
        source,
        load_weights=True,
        dtype=None,
        format=None,
        sequence_length=None,
        padding="bucketed",
    ):
        """Load a preset name, or a checkpoint directory in any known format.

        Args:
            source: Preset name, directory, archive, or address such as `hf://user/repo`.
            load_weights: Whether to read the weights; without, they are random.
            dtype: Dtype policy; `bfloat16` stores the weights so, for inference.
            format: Name of the checkpoint format, where it should not be found by inspection.
            sequence_length: Longest row; None for what the checkpoint says.
            padding: Of the `Preprocessor`: `bucketed`, `longest` or `fixed`.

        Raises:
            ValueError: If the checkpoint lacks the head (the message names those it has), files
                are missing, or variables and tensors do not match one to one.
        """
        return cls._load(source, None, load_weights, dtype, format, sequence_length, padding)

    @classmethod
    def _load(cls, source, head, load_weights, dtype, format, sequence_length, padding):
        network, checkpoint = networks.network_from_preset(
            source, cls.head_kind, head=head, load_weights=load_weights, dtype=dtype, format=format
        )
        preprocessor, missing = preprocessor_of_checkpoint(checkpoint, sequence_length, padding)
        task = cls(network, preprocessor)
        task._no_strings = missing
        task._info = dict(checkpoint.info)
        return task

    def save_to_preset(self, directory):
        """Write config, weights, vocabulary and model card to a directory, atomically.

        The optimizer's state is not written: a preset is for use, not for going on with a run.
        """
        tokenizer, files = None, {}
        if self.preprocessor is not None:
            length = self.preprocessor.sequence_length
            tokenizer = self.tokenizer.config.replace(sequence_length=length)
            files = self.tokenizer.files()
        return loading.save_preset(
            directory,
            self.backbone.config,
            {self.head_kind: self.network.head},
            loading.weights_of(self.network),
            tokenizer=tokenizer,
            files=files,
            info=dict(self._info),
        )

    def describe(self, **facts):
        """Say what the model card of a preset is to say.

        Args:
            **facts: Any of `description`, `license`, `language`, `paper`, `training_data`,
                `source`, `note`, `metrics` (name -> number) and `training`, a passage of Markdown.

        >>> classifier = TextClassifier.from_preset("bert_toy", labels=["sad", "happy"])
        >>> classifier.describe(license="MIT", metrics={"accuracy": 0.5})
        """
        for key in facts:
            check_key(key, CARD_FACTS, "describe")
        self._info.update(facts)

    def note_origin(self, task, note):
        """Take over what is known of another task's origin, and what was done to it since."""
        self._info = dict(task._info)
        self._info["note"] = " ".join(filter(None, [self._info.get("note"), note]))

    # === Parts ===

    @property
    def backbone(self):
        """The `Backbone`."""
        return self.network.backbone

    @property
    def tokenizer(self):
        """The `Tokenizer`, or None."""
        return None if self.preprocessor is None else self.preprocessor.tokenizer

    @property
    def labels(self):
        """Names of the classes in output order, or None."""
        return self.network.head.labels

    @property
    def trainable_weights(self):
        """The weights that training changes; not a pooler that the head does not read."""
        head = self.network.head
        weights = super().trainable_weights
        if head.reads_pooled_output or not self.backbone.config.pooler:
            return weights
        unread = {id(weight) for weight in self.backbone.get_layer("pooler").weights}
        return [weight for weight in weights if id(weight) not in unread]

    @property
    def trainable_variables(self):
        """The same as `trainable_weights`."""
        return self.trainable_weights

    # === Keras ===

    def __call__(self, inputs, *args, **kwargs):
        """Call on a dict of ids; strings go to `predict`."""
        if not isinstance(inputs, dict):
            raise ValueError(
                f"a call takes a dict of ids with `token_ids`; got {type(inputs).__name__}. "
                "Texts go to predict, or through .preprocessor first."
            )
        padding.network_to_run(self, inputs)  # made here: in a call, Keras would bake `training` in
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs, training=None):
        """Return the network's output."""
        return self.run_network(inputs, training=training)

    def run_network(self, inputs, training=None):
        """Return the network's output for ids `[B, T]`; padding is left out where that can be."""
        return padding.network_to_run(self, inputs)(inputs, training=training)

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
        drop_remainder=False,
        **kwargs,
    ):
        """Train as `keras.Model.fit` does, on texts or on ids.

        Batches of texts are padded to their own longest row, rounded up to one of a few lengths;
        with the preprocessor's `padding="fixed"` they all have its `sequence_length`. With
        `drop_remainder=True` too, every batch has the same static shape, as a TPU wants, and
        `compile(steps_per_execution=...)` runs several in one call.
        """
        class_weight, label_weights = self._class_weights(class_weight, y)
        if validation_split and validation_data is None and datasets.is_texts(x):
            (x, y, sample_weight), validation_data = datasets.split_for_validation(
                self._read(x), y, sample_weight, validation_split
            )
            validation_split = 0.0
        if validation_data is not None:
            validation_data = self._validation_data(validation_data, batch_size, kwargs)
        y = self._learnable(y)
        self._order = datasets.Order() if shuffle else None
        x, y, sample_weight = self._training_data(
            x, y, sample_weight, batch_size, order=self._order, drop_remainder=drop_remainder
        )
        if self._order is not None:
            callbacks = _with_callback(callbacks, datasets.EpochCounter(self._order))
        if label_weights is not None:
            x, sample_weight = datasets.weigh_labels(x, y, sample_weight, label_weights)
        # A dataset has its order already; Keras warns if it is asked to shuffle one.
        shuffle = shuffle and not isinstance(x, tf.data.Dataset)
        with named_label_errors():
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
                class_weight=class_weight,
                sample_weight=sample_weight,
                **kwargs,
            )

    def evaluate(self, x=None, y=None, batch_size=None, sample_weight=None, **kwargs):
        """Evaluate as `keras.Model.evaluate` does, on texts or on ids."""
        # From inside fit, Keras comes with its own iterator over data that are features already.
        if not kwargs.get("_use_cached_eval_dataset", False):
            x, y, sample_weight = self._training_data(
                x, y, sample_weight, batch_size, by_length=True
            )
        with named_label_errors():
            return super().evaluate(
                x, y, batch_size=batch_size, sample_weight=sample_weight, **kwargs
            )

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Return the network's output for texts or ids, as arrays in the order of the input.

        Texts are sorted by length and run in batches of like length, so the padding, and with it
        the last bits of a result, depend on the other texts of the call (about 1e-6).

        Args:
            x: Texts, a dict of ids, or a dataset of either.
            batch_size: Most texts at once; None for 32, and of short texts as many as have 4,096
                tokens.
            verbose: As for `keras.Model.predict`.
            steps: Batches to run, of a dataset; None for all.
            callbacks: As for `keras.Model.predict`.
        """
        size, tokens = batch_size or datasets.BATCH_SIZE, 0 if batch_size else datasets.BATCH_TOKENS
        options = {"verbose": verbose, "callbacks": callbacks}
        if datasets.is_text_dataset(x):
            self._need_strings()
            chunks = datasets.batched_inputs(x, size)
            chunks = chunks if steps is None else chunks.take(steps)
            return predicting.predict_chunks(self, chunks, size, tokens, options)
        if not datasets.is_texts(x):
            return super().predict(self._ids(x), batch_size=batch_size, steps=steps, **options)
        texts = read_texts(x)
        self._need_strings()
        if steps is not None:
            texts = texts[: steps * size]
        is_small = len(texts) <= size and callbacks is None and verbose in ("auto", 0)
        if is_small and self._num_replicas() == 1:
            return predicting.predict_few(self, texts, size)
        return predicting.predict_chunks(self, bucketing.text_chunks(texts), size, tokens, options)

    def respond(self, text, text_pair=None):
        """Return final answers for strings, in the graph: what a server runs.

        Args:
            text: String tensor `[B]`.
            text_pair: The second texts, string `[B]`, or None.

        Returns:
            A dict of dense tensors (float32, int32 or string) with the first dimension B; which
            ones, each task says in `answers`. `truncated`, int32 `[B]`, is 1 where a text was cut.

        Raises:
            ValueError: For a task without a vocabulary, or on another backend than TensorFlow.
        """
        self._need_strings()
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "respond runs in a TensorFlow graph; with the Keras backend "
                f"{keras.backend.backend()} use predict."
            )
        text, text_pair = (None if t is None else tf.convert_to_tensor(t, "string")
                           for t in (text, text_pair))  # fmt: skip
        features, truncated = self.preprocessor.preprocess_whole(text, text_pair)
        answers = self.answers(self.run_network(features, training=False))
        return {**answers, "truncated": truncated}

    def answers(self, outputs):
        """Return the network's output as final answers by name, in the graph; see `respond`."""
        raise NotImplementedError

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, **kwargs):
        """Train on one batch of texts or ids."""
        x, y = self._batch(x, y, self._features_of_batch)
        class_weight, label_weights = self._class_weights(class_weight, y)
        if label_weights is not None:
            _, sample_weight = datasets.weigh_labels(x, y, sample_weight, label_weights)
        return super().train_on_batch(x, y, sample_weight, class_weight, **kwargs)

    def test_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """Evaluate one batch of texts or ids."""
        x, y = self._batch(x, y, self._features_of_batch)
        return super().test_on_batch(x, y, sample_weight, **kwargs)

    def predict_on_batch(self, x):
        """Return the network's output for one batch of texts or ids."""
        return super().predict_on_batch(self._batch(x, None)[0])

    def summary(self, *args, expand_nested=True, **kwargs):
        """Print the layers, those of backbone and head by default."""
        return super().summary(*args, expand_nested=expand_nested, **kwargs)

    def get_compile_config(self):
        """Return what `compile_from_config` needs; None where it is not compiled."""
        if not self.compiled:
            return None
        has_state = self.optimizer is not None and self.optimizer.built
        return {**super().get_compile_config(), "has_state": has_state}

    def compile_from_config(self, config):
        """Compile as it was when it was saved."""
        config = keras.saving.deserialize_keras_object(config)
        has_state = config.pop("has_state")
        self.compile(**config)
        if has_state:  # an optimizer that has not trained has no variables to load
            self.optimizer.build(self.trainable_variables)

    def get_config(self):
        """Return what `from_config` needs, the vocabulary included; weights are not in it."""
        preprocessor = self.preprocessor
        return {
            "network": keras.saving.serialize_keras_object(self.network),
            "preprocessor": preprocessor and keras.saving.serialize_keras_object(preprocessor),
            "name": self.name,
            "info": dict(self._info),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Build from `get_config`'s dict."""
        config = dict(config)
        for key in ("network", "preprocessor"):
            config[key] = keras.saving.deserialize_keras_object(
                config[key], custom_objects=custom_objects
            )
        info = config.pop("info", {})
        task = cls(**config)
        task._info = dict(info)
        return task

    # === Inside ===

    def _ids(self, x):
        return datasets.checked_ids(x, self.backbone.config.vocabulary_size) if is_ids(x) else x

    def _need_strings(self, no_texts=None):
        reason = self.no_texts if no_texts is None else no_texts
        if self.preprocessor is None:
            reason = reason or self._no_strings
        if reason:
            raise ValueError(
                f"{type(self).__name__} cannot read these strings: {reason}. It takes a dict of "
                "ids: token_ids, padding_mask, segment_ids."
            )

    def _training_data(self, x, y, sample_weight, batch_size, by_length=False, **options):
        # options: `order` and `drop_remainder`, of `datasets.features_of_texts`.
        encoder = self._label_encoder
        if datasets.is_text_dataset(x):
            self._need_strings()
            drop_remainder = options.get("drop_remainder", False)
            x = self._features_of_dataset(x, batch_size, drop_remainder)
        elif isinstance(x, tf.data.Dataset):
            x = datasets.labels_of_dataset(x, encoder)
        elif datasets.is_texts(x):
            texts = self._read(x)
            self._need_strings()
            x = self._features_of_texts(
                texts, y, sample_weight, batch_size, by_length=by_length, **options
            )
            y = sample_weight = None
        elif is_ids(x):
            x, y = self._ids(x), None if y is None else encoder.from_array(y)
        return x, y, sample_weight

    # What a row of training data is: a text or a pair here, a group of texts in other tasks.

    def _read(self, x):
        return read_texts(x)

    def _features_of_texts(self, texts, y, sample_weight, batch_size, **options):
        return datasets.features_of_texts(
            texts, y, sample_weight, self.preprocessor, self._label_encoder, batch_size, **options
        )

    def _features_of_dataset(self, dataset, batch_size, drop_remainder):
        return datasets.features_of_dataset(
            dataset, self.preprocessor.preprocess, self._label_encoder, batch_size, drop_remainder
        )

    def _features_of_batch(self, x):
        return self.preprocessor.preprocess(read_texts(x))

    def _learnable(self, y):
        """Return the labels of training; raise for such as there is nothing to learn from."""
        return y

    def _class_weights(self, class_weight, y):
        """Return the weights that Keras applies (by class), and those of the labels of each row."""
        return self._label_encoder.class_weight(class_weight), None

    def _validation_data(self, data, batch_size, options):
        batch_size = options.get("validation_batch_size") or batch_size
        x, y, weight = data if isinstance(data, tuple) and len(data) == 3 else (data, None, None)
        if isinstance(data, tuple) and len(data) == 2:
            x, y = data
        x, y, weight = self._training_data(x, y, weight, batch_size, by_length=True)
        if y is None:
            return x
        return (x, y) if weight is None else (x, y, weight)

    def _batch(self, x, y, features=None):
        if datasets.is_texts(x):
            self._need_strings()
            x = features(x) if features else self.preprocessor.preprocess(read_texts(x))
        x, y = self._ids(x), None if y is None else self._label_encoder.from_array(y)
        return predicting.backend_arrays(x), y

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if getattr(self, "_distribute_strategy", False) is None:  # TensorFlow, one device
            # Keras would make the variables of the metrics and the optimizer inside the first
            # step; TensorFlow traces a function that makes variables twice.
            if iterator is not None:
                data_batch = iterator._distributed_dataset.element_spec
            self._symbolic_build(data_batch=data_batch)
            return
        # To know the shapes, Keras adds the replicas' first batches up, which fails where their
        # numbers of rows differ (7 rows on 2 replicas). The first replica's part says as much.
        if iterator is not None and self._num_replicas() > 1:
            for _, _, batches in iterator:
                data_batch, iterator = next(batches), None
                break
            local = self.distribute_strategy.experimental_local_results
            data_batch = keras.tree.map_structure(lambda part: local(part)[0], data_batch)
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    def _empty_output(self):
        return keras.tree.map_structure(
            lambda output: np.zeros((0, *output.shape[1:]), output.dtype), self.network.output
        )

    def _num_replicas(self):
        strategy = getattr(self, "distribute_strategy", None)  # of the TensorFlow backend
        return 1 if strategy is None else strategy.num_replicas_in_sync


def _check_fit(preprocessor, config):
    num_words = len(preprocessor.tokenizer.vocabulary)
    if num_words > config.vocabulary_size:
        raise ValueError(
            f"the tokenizer has {num_words} words, the backbone {config.vocabulary_size} rows for "
            "them: they do not belong together."
        )
    if preprocessor.sequence_length > config.max_sequence_length:
        raise ValueError(
            f"sequence_length is {preprocessor.sequence_length}, and the backbone has "
            f"{config.max_sequence_length} positions."
        )


def _with_callback(callbacks, callback):
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.append(callback)
        return callbacks
    callbacks = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else callbacks
    return [callback, *(callbacks or [])]
