"""Texts to vectors, and training such encoders (Reimers & Gurevych 2019)."""

import keras
import numpy as np
from keras import ops

from bertzoo import checkpoints
from bertzoo.losses.embedding_objectives import OBJECTIVES
from bertzoo.metrics.correlation import pearson, spearman
from bertzoo.metrics.retrieval import retrieval
from bertzoo.models import networks
from bertzoo.optimizers.adamw import AdamW
from bertzoo.tasks import datasets, groups
from bertzoo.tasks.labels import AnyLabels, LabelEncoder, as_array, check_finite
from bertzoo.tasks.task import Task

# B batch  G texts of a group  D width  N texts


@keras.saving.register_keras_serializable(package="bertzoo")
class TextEmbedder(Task):
    """One vector a text: pooled token vectors, projected and normalised where the model says so.

    `predict(texts)` gives float32 `[N, width]`; see `Task` for the arguments.

    `fit` and `evaluate` take groups of texts - a list of tuples, an array `[N, G]`, or a dict of
    columns - and labels where the objective wants some:

    - pairs (text, text that belongs to it), and any hard negatives behind them: multiple-negatives
      ranking, where the other texts of a batch are what does not belong;
    - pairs and a score: the cosine shall be the score;
    - pairs and a class by number or name, as in NLI: a softmax classifier on (u, v, |u - v|);
    - triplets (anchor, near, far): a margin, with `compile(objective="triplet")`.

    Which one is found from the data, or said to `compile`.

    Example:
    >>> embedder = TextEmbedder.from_preset("bert_toy")
    >>> vectors = embedder.predict(["the cat sat", "on the mat"])
    >>> vectors.shape
    (2, 20)
    >>> history = embedder.fit([("a cat", "the cat"), ("a film", "the film")], verbose=0)
    """

    head_kind = "text_embedder"

    def __init__(self, network, preprocessor=None, *, name=None):
        super().__init__(network, preprocessor, name=name)
        self.objective = None
        self.gather = None

    @classmethod
    def from_preset(
        cls,
        source,
        load_weights=True,
        dtype=None,
        format=None,
        sequence_length=None,
        padding="bucketed",
        pooling=None,
        normalize=None,
    ):
        """Load a preset name, or a checkpoint directory in any known format.

        A sentence-transformers directory says itself how its vectors are made. A plain encoder
        does not: its vectors are then the mean over the tokens, not normalised.

        Args:
            source: Preset name, directory, archive, or address such as `hf://user/repo`.
            load_weights: Whether to read the weights; without, they are random.
            dtype: Dtype policy; `bfloat16` stores the weights so, for inference.
            format: Name of the checkpoint format, where it should not be found by inspection.
            sequence_length: Longest row; None for what the checkpoint says.
            padding: Of the `Preprocessor`: `bucketed`, `longest` or `fixed`.
            pooling: Any of `cls`, `max`, `mean`, `mean_sqrt`, one or a list; None for the
                checkpoint's, or `mean` for a plain encoder.
            normalize: Whether vectors have length 1; None for the checkpoint's, or False.

        Raises:
            ValueError: If files are missing, or variables and tensors do not match one to one;
                if `pooling` is asked of a model whose projections need another one.
        """
        carried = checkpoints.open_source(source, format=format).heads.get(cls.head_kind)
        asked = {}
        if pooling is not None:
            asked["pooling"] = (pooling,) if isinstance(pooling, str) else tuple(pooling)
        if normalize is not None:
            asked["normalize"] = normalize
        head = None
        if carried is None:
            head = _new_head(asked)
        elif asked and carried.projections:
            raise ValueError(
                f"{source} has projections that were trained for pooling="
                f"{list(carried.pooling)}: pooling and normalize cannot be changed."
            )
        elif asked:
            head = _changed_head(carried, asked)
        return cls._load(source, head, load_weights, dtype, format, sequence_length, padding)

    # === Training ===

    def compile(self, optimizer="auto", objective="auto", *, loss=None, **kwargs):
        """Compile for training.

        Args:
            optimizer: `auto` for AdamW at 2e-5, what SBERT was trained with.
            objective: `multiple_negatives`, `cosine`, `softmax`, `triplet`, one of the layers of
                `bertzoo.losses.embedding_objectives` with arguments of its own, or `auto` to go by
                the data of the first `fit`.
            loss: A Keras loss of your own on vectors `[B, G, D]`, in the place of an objective.
            **kwargs: As for `keras.Model.compile`; `jit_compile` is False by default.
        """
        if isinstance(optimizer, str) and optimizer == "auto":
            optimizer = AdamW(2.0e-5, weight_decay=0.01)
        self.objective = None
        if loss is None and objective != "auto":
            self._set_objective(objective)
        kwargs = {"jit_compile": False, **kwargs}
        super().compile(optimizer=optimizer, loss=loss, **kwargs)

    def fit(self, x=None, y=None, *args, **kwargs):
        """Train as `keras.Model.fit` does, on groups of texts or of ids `[B, G, T]`."""
        self._prepare(x, y)
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """Return the loss of groups of texts; see `evaluate_similarity`, `evaluate_retrieval`."""
        self._prepare(x, y)
        return super().evaluate(x, y, *args, **kwargs)

    def call(self, inputs, training=None):
        """Return vectors `[B, D]` of ids `[B, T]`, or `[B, G, D]` of ids `[B, G, T]`."""
        if len(inputs["token_ids"].shape) == 2:
            return self.run_network(inputs, training=training)
        rows, size = groups.flat_features(inputs)
        vectors = self.run_network(rows, training=training)
        return ops.reshape(vectors, (-1, size, vectors.shape[-1]))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the mean loss of a batch of groups.

        Under a distribution strategy: this replica's part of it, as Keras adds those of all
        replicas up. With `gather` (see `MultipleNegatives`) the texts of all replicas are what
        does not belong, and the mean is over the groups of all, whoever has how many.
        """
        if self.objective is None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        options = {}
        if self.gather is not None and getattr(self.objective, "compares_groups", False):
            options["gather"] = self.gather
        losses = self.objective(y_pred, y, token_ids=x["token_ids"], **options)  # (B,)
        if sample_weight is not None:
            losses = losses * ops.cast(sample_weight, losses.dtype)
        replicas, own = self._num_replicas(), ops.shape(losses)[0]
        total = ops.sum(losses)
        # A replica may have got no group of a small batch: its part of the mean is zero.
        mean = total / ops.cast(ops.maximum(own, 1) * replicas, losses.dtype)
        if self.gather is not None:
            everyones = ops.cast(ops.shape(self.gather(losses)[0])[0], losses.dtype)
            # Gradients go by the groups of all. What Keras reports is the mean of the replicas'
            # losses by their numbers of groups: there each says the mean of its own.
            part = total / everyones
            mean = part + ops.stop_gradient(mean - part)
        return sum((loss / replicas for loss in self.losses), mean)

    def get_compile_config(self):
        """Return what `compile_from_config` needs; None where it is not compiled."""
        config = super().get_compile_config()
        if config is None:
            return None
        objective = self.objective and keras.saving.serialize_keras_object(self.objective)
        known = ("optimizer", "loss", "metrics", "weighted_metrics", "jit_compile", "has_state")
        kept = {name: config[name] for name in known if name in config}
        return {**kept, "objective": objective or "auto"}

    @property
    def trainable_weights(self):
        """The weights that training changes: the network's, and those of the present objective."""
        # Keras goes on tracking the layer of an objective that another one has replaced.
        parts = [self.network] if self.objective is None else [self.network, self.objective]
        known = {id(weight) for part in parts for weight in part.weights}
        return [weight for weight in super().trainable_weights if id(weight) in known]

    # === Evaluation ===

    def evaluate_similarity(self, pairs, scores, batch_size=None):
        """Return how the cosines of pairs of texts correlate with scores (STS).

        Args:
            pairs: A list of 2-tuples, or a dict of two columns.
            scores: One a pair.
            batch_size: As for `predict`.

        Returns:
            `{"spearman": ..., "pearson": ...}`, from -1 to 1.

        Example:
        >>> embedder = TextEmbedder.from_preset("bert_toy")
        >>> pairs = [("a cat", "a dog"), ("a cat", "the cat"), ("good", "bad")]
        >>> sorted(embedder.evaluate_similarity(pairs, [1.0, 5.0, 0.0]))
        ['pearson', 'spearman']
        """
        read = groups.read_groups(pairs)
        if read.size != 2:
            raise ValueError(f"similarity is of pairs of texts; got {read.size} texts a row.")
        scores = as_array(scores)
        if len(scores) != len(read):
            raise ValueError(
                f"expected as many scores as pairs; got {len(scores)} and {len(read)}."
            )
        vectors = _unit(self.predict(read.texts, batch_size, verbose=0))
        cosines = (vectors[0::2] * vectors[1::2]).sum(axis=1)
        return {"spearman": spearman(scores, cosines), "pearson": pearson(scores, cosines)}

    def evaluate_retrieval(self, queries, documents, relevant, ks=(1, 10), batch_size=None):
        """Return how well queries find their documents by cosine; see `metrics.retrieval`.

        Args:
            queries: Q texts.
            documents: N texts.
            relevant: For each query the numbers of its documents.
            ks: For `ndcg@k`, `mrr@k`, `recall@k` and `map@k`.
            batch_size: As for `predict`.

        Example:
        >>> embedder = TextEmbedder.from_preset("bert_toy")
        >>> result = embedder.evaluate_retrieval(["the cat"], ["a film", "the cat"], [[1]])
        >>> result["mrr@1"]
        1.0
        """
        left = _unit(self.predict(queries, batch_size, verbose=0))
        right = _unit(self.predict(documents, batch_size, verbose=0))
        return retrieval(left @ right.T, relevant, ks)

    def answers(self, outputs):
        """Return `embedding`, float32 `[B, width]`."""
        return {"embedding": outputs}

    # === Inside ===

    def _set_objective(self, objective):
        if isinstance(objective, str):
            if objective not in OBJECTIVES:
                raise ValueError(
                    f"objective must be one of {', '.join(OBJECTIVES)} or a layer; "
                    f"got {objective!r}."
                )
            objective = OBJECTIVES[objective]()
        if not objective.built:
            objective.build((None, 2, self.network.output.shape[-1]))
        self.objective = objective
        wanted = getattr(objective, "wants_labels", "any")
        self._label_encoder = AnyLabels()
        if wanted == "classes":
            names = None if isinstance(objective.labels, int) else objective.labels
            self._label_encoder = LabelEncoder(names, objective.num_classes, "single_label")
        elif wanted == "scores":
            self._label_encoder = LabelEncoder(None, 1, "regression")

    def _prepare(self, x, y):
        """Compile, and choose an objective by the data, where nobody has; check that they fit."""
        if not self.compiled:
            self.compile()
        if self.objective is None and self._compile_loss is None:
            self._set_objective(_objective_of(x, y))
        if self.objective is None or isinstance(x, dict) or not datasets.is_texts(x):
            return
        name, wanted = type(self.objective).__name__, self.objective.wants_labels
        if wanted is not None and y is None:
            raise ValueError(f"{name} needs {wanted} as labels, one a pair; got none.")
        size, most = groups.read_groups(x).size, self.objective.most or float("inf")
        if not self.objective.least <= size <= most:
            raise ValueError(
                f"{name} takes {self.objective.least}{'' if most == self.objective.least else '+'} "
                f"texts a row; got {size}."
            )

    def _read(self, x):
        return groups.read_groups(x)

    def _features_of_texts(self, texts, y, sample_weight, batch_size, by_length=False, **options):
        return groups.batches_of_groups(
            texts, y, sample_weight, self.preprocessor, self._label_encoder, batch_size, **options
        )

    def _features_of_dataset(self, dataset, batch_size, drop_remainder):
        spec = dataset.element_spec
        inputs = spec[0] if isinstance(spec, tuple) else spec
        return datasets.features_of_dataset(
            dataset,
            lambda x: groups.features_of_tensors(x, self.preprocessor),
            self._label_encoder,
            batch_size,
            drop_remainder,
            row_rank=0 if isinstance(inputs, dict) else 1,
        )

    def _features_of_batch(self, x):
        return groups.features_of_groups(groups.read_groups(x), self.preprocessor)


def _objective_of(x, y):
    """Return the name of the objective that data asks for, or one with its classes."""
    labels = y
    if hasattr(x, "element_spec"):
        spec = x.element_spec
        labels = spec[1] if isinstance(spec, tuple) and len(spec) > 1 else None
        kind = None if labels is None else labels.dtype.as_numpy_dtype
        is_number = kind is not None and np.issubdtype(kind, np.floating)
        if kind is not None and not is_number:
            raise ValueError(
                "classes of pairs in a dataset need their number or names: compile(objective="
                "SoftmaxClassification(labels))."
            )
        return "cosine" if is_number else "multiple_negatives"
    if labels is None:
        return "multiple_negatives"
    labels = as_array(labels)
    if labels.dtype.kind == "f":
        check_finite(labels, "label")
        highest = max(1.0, *labels.tolist())
        if highest > 1.0:
            raise ValueError(
                f"scores of pairs are cosines, up to 1; the highest here is {highest:g}: divide "
                "them, or compile(objective=CosineSimilarity(highest_score=...))."
            )
        return "cosine"
    names = sorted({v.decode() if isinstance(v, bytes) else v for v in labels.tolist()})
    if len(names) < 2:
        raise ValueError(
            f"all {len(labels)} classes of pairs are {names[0]!r}, so there is nothing to tell "
            "apart: give pairs of at least two classes."
        )
    named = isinstance(names[0], str)
    return OBJECTIVES["softmax"](names if named else int(max(names)) + 1)


def _unit(vectors):
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norm, 1.0e-12)


def _new_head(fields):
    return lambda config: networks.new_head(config, TextEmbedder.head_kind, **fields)


def _changed_head(head, fields):
    return lambda config: head.replace(**fields)
