"""What a run minimises: terms, each a sum over the batch and the weight that it is divided by.

The loop adds the weights of all replicas and micro-batches up before it goes backward, so a term is
the mean over the whole batch however it is split. An objective is called on each part; it keeps no
state but its models.
"""

import tensorflow as tf

from bertzoo.training import keyed_randomness
from bertzoo.training.recomputing import recomputed

# B batch  T length  P predictions  V vocabulary  K texts of a packed row


class Objective:
    """Base class; see `MaskedLanguageModel`.

    Args:
        models: Keras models whose variables it trains.
    """

    def __init__(self, models):
        self.models = list(models)

    # Name of a term -> its share of the loss; 1 where it is not here.
    coefficients: dict = {}  # noqa: RUF012
    # Pairs of a variable and the one whose value stands in its place.
    tied = ()
    # Whether it looks at the rows of other replicas, which no function within a function may.
    gathers = False

    @property
    def trainable_variables(self):
        """The `keras.Variable`s that are trained, each once."""
        replaced = {id(variable) for variable, _ in self.tied}
        for model in self.models:
            replaced |= {id(variable) for variable in _unread(model)}
        found = {
            id(variable): variable
            for model in self.models
            for variable in model.trainable_variables
            if id(variable) not in replaced
        }
        return list(found.values())

    def weights(self, batch):
        """Return term -> scalar float32: its weight, from the batch alone."""
        raise NotImplementedError

    def terms(self, batch, training, key):
        """Return (terms, metrics): name -> (sum, weight), scalars.

        Args:
            batch: Dict of tensors.
            training: Whether dropout is on.
            key: int32 `[2]`, for what it draws itself.
        """
        raise NotImplementedError

    def loss(self, terms, totals):
        """Return this part's share of the loss, given the weights of all parts together."""
        means = {}
        for name, (total, _) in terms.items():
            means[name] = tf.math.divide_no_nan(tf.cast(total, tf.float32), totals[name])
        return self.weighted(means)

    def weighted(self, means):
        """Return the loss of the terms' means."""
        return tf.add_n([self.coefficients.get(name, 1.0) * mean for name, mean in means.items()])

    def scope(self, key):
        """Return the context in which its models run: dropout by key, tied variables."""
        seeds = keyed_randomness.seeds_of(self.models)
        return keyed_randomness.keyed(seeds, key, self.tied)


class Pretraining(Objective):
    """Masked language modelling, with sentence prediction where the network has that head.

    Args:
        network: A `PretrainingNetwork` with a `masked_lm` head and perhaps `next_sentence`, which
            learns next sentences (BERT) or their order (ALBERT) as the batches say.
        packed: Whether rows may hold several texts, which `padding_mask` counts; the loss is that
            of the texts in rows of their own.
        num_texts: K, most pairs of a packed row, where sentences are predicted.
        recompute: Whether encoder layers run again on the way back; see `recomputing`.

    Batches: `token_ids`, `padding_mask`, `segment_ids` `[B, T]`; `mask_positions`, `mask_labels`,
    `mask_weights` `[B, P]`; and `next_sentence_labels` `[B]`, of packed rows `[B, K]`, where what
    stands behind a row's last text does not count. Google divides by the weights of one replica
    plus 1e-5; here it is the sum over all.
    """

    def __init__(self, network, packed=False, num_texts=None, recompute=False):
        super().__init__([network])
        self.network = network
        self.has_pairs = "next_sentence" in network.heads
        self.is_packed = packed
        self._run = network.packed(num_texts) if packed else network
        if recompute:
            self._run = recomputed(self._run)

    def weights(self, batch):
        """Return the numbers of predictions and of pairs."""
        weights = {"masked_lm": tf.reduce_sum(tf.cast(batch["mask_weights"], tf.float32))}
        if self.has_pairs:
            weights["next_sentence"] = tf.reduce_sum(self._pairs(batch))
        return weights

    def _pairs(self, batch):
        """Return float32 in the shape of the labels: 1 for a pair, 0 where a row has no more."""
        labels = batch["next_sentence_labels"]
        if not self.is_packed:
            return tf.ones_like(labels, tf.float32)
        count = tf.reduce_max(batch["padding_mask"], axis=1)  # (B,)
        return tf.cast(tf.range(tf.shape(labels)[1])[None] < count[:, None], tf.float32)  # (B, K)

    def terms(self, batch, training, key):
        """Return the two terms and their accuracies."""
        outputs = self._run(batch, training=training)
        weights = tf.cast(batch["mask_weights"], tf.float32)
        terms, metrics = {}, {}
        total, hits = cross_entropy(outputs["masked_lm"], batch["mask_labels"], weights)
        count = tf.reduce_sum(weights)
        terms["masked_lm"] = (total, count)
        metrics["masked_lm_accuracy"] = (hits, count)
        if self.has_pairs:
            pairs = self._pairs(batch)
            labels = tf.where(pairs > 0, batch["next_sentence_labels"], 0)
            total, hits = cross_entropy(outputs["next_sentence"], labels, pairs)
            count = tf.reduce_sum(pairs)
            terms["next_sentence"] = (total, count)
            metrics["next_sentence_accuracy"] = (hits, count)
        return terms, metrics


def _unread(model):
    """Return the weights of a pooler that no head reads: decay alone would move them."""
    heads = getattr(model, "heads", None)
    if heads is None or any(head.reads_pooled_output for head in heads.values()):
        return []
    return model.backbone.get_layer("pooler").weights if model.backbone.config.pooler else []


def cross_entropy(logits, labels, weights=None):
    """Return the sums of the cross-entropy, in float32, and of the right answers.

    >>> total, hits = cross_entropy(np.array([[0.0, 0.0], [9.0, 0.0]], "float32"), [1, 0])
    >>> round(float(total), 3), float(hits)
    (0.693, 1.0)
    """
    logits = tf.cast(logits, tf.float32)
    labels = tf.cast(labels, tf.int32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    right = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == labels, tf.float32)
    if weights is not None:
        losses, right = losses * weights, right * weights
    return tf.reduce_sum(losses), tf.reduce_sum(right)
