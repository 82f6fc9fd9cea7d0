"""What losses read of a model: logits, hidden states, attentions, by the names of the table."""

import keras
import tensorflow as tf

from bertzoo.layers.dense import Dense
from bertzoo.models.backbone import TAPS

# B batch  T length  P predictions  V vocabulary  D hidden_dim


class Outputs:
    """A model as losses see it.

    Args:
        network: A `Network`, or any Keras model from a dict of ids to a dict of outputs.
        reads: Names of what is wanted, see `bertzoo.losses.Loss.reads`.

    Raises:
        ValueError: If the model cannot give one of them.
    """

    def __init__(self, network, reads):
        self.network = network
        self.reads = sorted(set(reads))
        self.is_masked_lm = getattr(getattr(network, "head", None), "kind", None) == "masked_lm"
        # Logits of all words at all positions cost much; they are made where a loss reads them.
        self.at_all_positions = self.is_masked_lm and "logits" in self.reads
        taps = [name for name in self.reads if name in TAPS]
        self.model = network.tap(*taps) if hasattr(network, "tap") else network
        given = set(self.model.output) if isinstance(self.model.output, dict) else {"logits"}
        if self.is_masked_lm:
            given.add("masked_logits")
        for name in self.reads:
            if name not in given:
                raise ValueError(
                    f"a loss reads `{name}`, and {network.name} gives {', '.join(sorted(given))}."
                )

    def __call__(self, batch, training=False):
        """Return name -> tensor, or list of tensors, one a layer."""
        wanted = set(self.model.input) if isinstance(self.model.input, dict) else set()
        features = {name: batch[name] for name in wanted if name in batch}
        if self.is_masked_lm:
            features["mask_positions"] = self._positions(batch)
        outputs = self.model(features, training=training)
        outputs = dict(outputs) if isinstance(outputs, dict) else {"logits": outputs}
        if self.is_masked_lm and "masked_logits" in self.reads:
            logits = outputs["logits"]
            if self.at_all_positions:
                logits = tf.gather(logits, batch["mask_positions"], batch_dims=1)  # (B, P, V)
            outputs["masked_logits"] = logits
        return {name: outputs[name] for name in self.reads}

    def _positions(self, batch):
        if not self.at_all_positions and "masked_logits" in self.reads:
            return batch["mask_positions"]
        shape = tf.shape(batch["token_ids"])
        # One position is projected, and not read, where no loss reads logits.
        length = shape[1] if self.at_all_positions else 1
        return tf.broadcast_to(tf.range(length)[None], [shape[0], length])


class StoredOutputs:
    """Outputs that a pass over the data wrote once, as columns `teacher_...` of the batches.

    Args:
        reads: Names of what is wanted.
    """

    def __init__(self, reads):
        self.reads = sorted(set(reads))

    def __call__(self, batch, training=False):
        """Return name -> tensor."""
        return {name: batch[f"teacher_{name}"] for name in self.reads}


def projection_between(student, teacher):
    """Return a dense layer from the student's width to the teacher's, or None where they agree.

    TinyBERT learns one for all layers, embeddings included (its code's `fit_dense`, with bias).

    Args:
        student: A `Network`.
        teacher: A `Network`.
    """
    widths = [network.backbone.config.hidden_dim for network in (student, teacher)]
    if widths[0] == widths[1]:
        return None
    inputs = keras.Input((None, widths[0]), name="hidden_states")
    dense = Dense(widths[1], name="dense", dtype=student.backbone.dtype_policy)
    return keras.Model(inputs, dense(inputs), name="projection")
