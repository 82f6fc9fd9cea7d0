"""Replaced-token detection (Clark et al. 2020, ELECTRA; google-research/electra).

A small generator fills the gaps; the discriminator says of each token whether it is the original.
Only the discriminator is kept.
"""

import tensorflow as tf

from bertzoo.training import keyed_randomness
from bertzoo.training.objectives import Objective, cross_entropy
from bertzoo.training.recomputing import recomputed

# B batch  T length  P predictions  V vocabulary


class ReplacedTokenDetection(Objective):
    """Train a generator and a discriminator together.

    Args:
        generator: A `PretrainingNetwork` with a `masked_lm` head.
        discriminator: A `PretrainingNetwork` with a `discriminator` head. Tables of equal shape
            are shared: the generator's are those of the discriminator.
        weight: Of the discriminator's loss; the paper's 50, since it is smaller.
        temperature: Of the sampling.
        packed: Whether rows may hold several texts, as for `Pretraining`.
        recompute: Whether encoder layers run again on the way back; see `recomputing`.

    Batches as for `Pretraining`, with `token_ids` masked (the paper: 85 % of them by the mask
    token, the others stay).
    """

    def __init__(
        self,
        generator,
        discriminator,
        weight=50.0,
        temperature=1.0,
        packed=False,
        recompute=False,
    ):
        super().__init__([generator, discriminator])
        self.generator = generator
        self.discriminator = discriminator
        runs = [model.packed() if packed else model for model in self.models]
        self._run_generator, self._run_discriminator = map(recomputed, runs) if recompute else runs
        self.coefficients = {"discriminator": weight}
        self.temperature = temperature
        self.tied = tuple(_equal_tables(generator.backbone, discriminator.backbone))

    def weights(self, batch):
        """Return the numbers of predictions and of real tokens."""
        real = tf.not_equal(batch["padding_mask"], 0)
        return {
            "masked_lm": tf.reduce_sum(tf.cast(batch["mask_weights"], tf.float32)),
            "discriminator": tf.reduce_sum(tf.cast(real, tf.float32)),
        }

    def terms(self, batch, training, key):
        """Return the generator's and the discriminator's term."""
        logits = self._run_generator(batch, training=training)["masked_lm"]  # (B, P, V)
        weights = tf.cast(batch["mask_weights"], tf.float32)
        total, hits = cross_entropy(logits, batch["mask_labels"], weights)
        counts = self.weights(batch)

        filled, originals = self._fill(batch, logits, key)
        features = {**batch, "token_ids": filled}
        scores = self._run_discriminator(features, training=training)["discriminator"]  # (B, T)
        replaced = tf.cast(filled != originals, tf.float32)
        real = tf.cast(batch["padding_mask"] != 0, tf.float32)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=replaced, logits=scores)
        right = tf.cast((scores > 0.0) == (replaced > 0.0), tf.float32)
        terms = {
            "masked_lm": (total, counts["masked_lm"]),
            "discriminator": (tf.reduce_sum(losses * real), counts["discriminator"]),
        }
        metrics = {
            "masked_lm_accuracy": (hits, counts["masked_lm"]),
            "discriminator_accuracy": (tf.reduce_sum(right * real), counts["discriminator"]),
            "replaced": (tf.reduce_sum(replaced * real), counts["discriminator"]),
        }
        return terms, metrics

    def finish(self):
        """Give the generator the tables that it was trained with, so that it can be saved."""
        for variable, source in self.tied:
            variable.assign(source.value)

    def _fill(self, batch, logits, key):
        """Return ids with samples in the gaps, and the ids of the text."""
        noise = tf.random.stateless_uniform(
            tf.shape(logits), seed=keyed_randomness.key_of(0, key[0], key[1]), minval=1e-9
        )
        # The largest of logits plus Gumbel noise is a sample of their softmax.
        gumbel = -tf.math.log(-tf.math.log(noise))
        samples = tf.argmax(logits / self.temperature + gumbel, axis=-1, output_type=tf.int32)
        # No gradient goes through: what was sampled are ids.
        positions, weights = batch["mask_positions"], batch["mask_weights"]
        filled = put(batch["token_ids"], positions, samples, weights)
        return filled, put(batch["token_ids"], positions, batch["mask_labels"], weights)


def put(token_ids, positions, values, weights):
    """Return `token_ids` `[B, T]` with `values` `[B, P]` at `positions`, where weights are not 0.

    >>> put(np.array([[5, 6, 7]]), np.array([[1, 0]]), np.array([[9, 8]]), np.array([[1, 0]]))
    <tf.Tensor: shape=(1, 3), dtype=int32, numpy=array([[5, 9, 7]], dtype=int32)>
    """
    token_ids, values = tf.cast(token_ids, tf.int32), tf.cast(values, tf.int32)
    columns = tf.range(tf.shape(token_ids)[1])
    # (B, P, T): whether prediction p stands at column t; a comparison, as TPUs scatter slowly.
    here = tf.logical_and(
        positions[:, :, None] == columns[None, None, :], tf.not_equal(weights, 0)[:, :, None]
    )
    new = tf.reduce_max(tf.where(here, values[:, :, None], -1), axis=1)
    return tf.where(new >= 0, new, token_ids)


def _equal_tables(generator, discriminator):
    for name in ("token", "position", "segment"):
        ours, theirs = (getattr(b.embeddings, name) for b in (generator, discriminator))
        if ours is not None and theirs is not None:
            pair = ours.embeddings, theirs.embeddings
            if pair[0].shape == pair[1].shape:
                yield pair
