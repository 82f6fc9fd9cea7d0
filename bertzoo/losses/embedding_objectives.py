"""Objectives of sentence embeddings: groups of vectors and labels to one loss a group."""

import keras
from keras import ops

from bertzoo.losses import embeddings

# B groups  G vectors of a group  D width  T length  C classes

_PACKAGE = "bertzoo"


@keras.saving.register_keras_serializable(package=_PACKAGE)
class MultipleNegatives(keras.layers.Layer):
    """Multiple-negatives ranking: each anchor's second text against those of all other groups.

    Texts of a group behind the second are hard negatives, for its own anchor and for the others.
    A candidate whose text is also the anchor's positive is no negative: batches may hold a text
    twice.

    Args:
        scale: What cosines are multiplied by.
        symmetric: Whether the positives look for their anchors too; the loss is then the mean of
            both directions.

    Call with vectors `[B, G, D]` and, to tell equal texts, their `token_ids` `[B, G, T]`. Returns
    float `[B]`. With `gather`, a function from the rows `[B, ...]` of one replica to those of all
    and the number of its own first one among them, the candidates are those of all replicas.

    Example:
    >>> vectors = np.eye(4, dtype="float32").reshape(2, 2, 4)
    >>> [round(float(loss), 4) for loss in MultipleNegatives()(vectors)]
    [0.6931, 0.6931]
    """

    least, most = 2, None
    wants_labels = None
    compares_groups = True

    def __init__(self, scale=20.0, symmetric=False, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale
        self.symmetric = symmetric
        self.built = True

    def call(self, vectors, labels=None, token_ids=None, gather=None):
        """Return the losses."""
        anchors, own = vectors[:, 0], vectors[:, 1]
        everyone, everyones_ids, first = vectors, token_ids, 0
        if gather is not None:
            everyone, first = gather(vectors)
            everyones_ids = None if token_ids is None else gather(token_ids)[0]
        size = vectors.shape[1]
        # The positives of all groups first, then their hard negatives.
        candidates = ops.concatenate([everyone[:, i] for i in range(1, size)], axis=0)  # (M, D)
        positives = first + ops.arange(ops.shape(vectors)[0])
        excluded = back = None
        if token_ids is not None:
            columns = [everyones_ids[:, i] for i in range(1, size)]
            excluded = same_texts(token_ids[:, 1], ops.concatenate(columns, axis=0))
            back = same_texts(token_ids[:, 0], everyones_ids[:, 0])
        losses = embeddings.multiple_negatives(anchors, candidates, positives, self.scale, excluded)
        if self.symmetric:
            all_anchors = everyone[:, 0]
            other = embeddings.multiple_negatives(own, all_anchors, positives, self.scale, back)
            losses = (losses + other) / 2.0
        return losses

    def get_config(self):
        """Return what `from_config` needs."""
        return {**super().get_config(), "scale": self.scale, "symmetric": self.symmetric}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class CosineSimilarity(keras.layers.Layer):
    """The squared error of the cosine of two texts against a score.

    Args:
        highest_score: What a cosine of 1 is on the scale of the scores: 5 for STS-B.

    Call with vectors `[B, 2, D]` and scores `[B]`. Returns float `[B]`.

    Example:
    >>> vectors = np.array([[[1.0, 0.0], [1.0, 1.0]]], "float32")
    >>> round(float(CosineSimilarity(highest_score=5.0)(vectors, np.array([5.0]))[0]), 4)
    0.0858
    """

    least, most = 2, 2
    wants_labels = "scores"

    def __init__(self, highest_score=1.0, **kwargs):
        super().__init__(**kwargs)
        self.highest_score = highest_score
        self.built = True

    def call(self, vectors, labels=None, token_ids=None):
        """Return the losses."""
        scores = ops.cast(labels, "float32") / self.highest_score
        return embeddings.cosine_error(vectors[:, 0], vectors[:, 1], scores)

    def get_config(self):
        """Return what `from_config` needs."""
        return {**super().get_config(), "highest_score": self.highest_score}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class SoftmaxClassification(keras.layers.Layer):
    """A classifier on `(u, v, |u - v|)`, which training drops again (SBERT on NLI).

    Args:
        labels: Names of the classes, or how many there are.
        seed: Of the classifier's first weights; None for a random one.

    Call with vectors `[B, 2, D]` and class numbers `[B]`. Returns float `[B]`.

    Example:
    >>> objective = SoftmaxClassification(["contradiction", "entailment", "neutral"])
    >>> objective(np.ones((4, 2, 20), "float32"), np.array([0, 1, 2, 0])).shape
    TensorShape([4])
    """

    least, most = 2, 2
    wants_labels = "classes"

    def __init__(self, labels=3, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.labels = labels if isinstance(labels, int) else tuple(labels)
        self.num_classes = labels if isinstance(labels, int) else len(self.labels)
        self.seed = seed
        # torch.nn.Linear's first weights, as sentence-transformers has them.
        uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed)
        self.dense = keras.layers.Dense(
            self.num_classes, kernel_initializer=uniform, name="pair_classifier"
        )

    def build(self, vectors_shape, *_):
        """Build the classifier for vectors of width D."""
        self.dense.build((None, 3 * vectors_shape[-1]))
        self.built = True

    def call(self, vectors, labels=None, token_ids=None):
        """Return the losses."""
        features = embeddings.pair_features(vectors[:, 0], vectors[:, 1])
        return embeddings.softmax_error(self.dense(features), labels)

    def get_config(self):
        """Return what `from_config` needs."""
        return {**super().get_config(), "labels": self.labels, "seed": self.seed}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class Triplet(keras.layers.Layer):
    """An anchor shall be nearer to the second text than to the third, by a margin (SBERT).

    Args:
        margin: Euclidean; 1 in the paper, 5 in sentence-transformers.

    Call with vectors `[B, 3, D]`. Returns float `[B]`.

    Example:
    >>> float(Triplet()(np.array([[[0.0], [1.0], [3.0]]], "float32"))[0])
    0.0
    """

    least, most = 3, 3
    wants_labels = None

    def __init__(self, margin=1.0, **kwargs):
        super().__init__(**kwargs)
        self.margin = margin
        self.built = True

    def call(self, vectors, labels=None, token_ids=None):
        """Return the losses."""
        return embeddings.triplet_error(vectors[:, 0], vectors[:, 1], vectors[:, 2], self.margin)

    def get_config(self):
        """Return what `from_config` needs."""
        return {**super().get_config(), "margin": self.margin}


OBJECTIVES = {
    "multiple_negatives": MultipleNegatives,
    "cosine": CosineSimilarity,
    "softmax": SoftmaxClassification,
    "triplet": Triplet,
}


def same_texts(first, second):
    """Return bool `[B, M]`: which of ids `[B, T]` and `[M, T]` are equal row by row.

    >>> same_texts(np.array([[2, 3]]), np.array([[2, 3], [2, 4]])).numpy().tolist()
    [[True, False]]
    """
    return ops.all(ops.equal(first[:, None], second[None]), axis=-1)
