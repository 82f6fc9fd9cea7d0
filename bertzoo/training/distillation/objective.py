"""Distillation as an objective of the loop: teacher and student in one step, losses by name."""

import keras
import tensorflow as tf

from bertzoo.losses.positions import row_weights
from bertzoo.training import strategy
from bertzoo.training.distillation.outputs import Outputs, StoredOutputs, projection_between
from bertzoo.training.objectives import Objective

STORED = "stored"


class Distillation(Objective):
    """Train a student on losses of `bertzoo.losses`.

    The teacher runs in inference mode and no gradient goes through it; its variables are neither
    trained nor in checkpoints. Where a loss projects hidden states and the widths differ, the
    projection is trained and checkpointed with the student, and is in no preset.

    Args:
        student: A `Network`, or a Keras model from a dict of ids to a dict of outputs.
        teacher: The same; None where no loss needs one; `stored` where batches hold its outputs.
        losses: `WeightedLoss`es, see `bertzoo.losses.losses_from`.

    Raises:
        ValueError: If a loss needs a teacher and there is none, or reads what a model lacks.
    """

    def __init__(self, student, teacher, losses):
        needing = [loss for loss in losses if loss.loss.needs_teacher]
        if needing and teacher is None:
            raise ValueError(f"the loss `{needing[0].name}` needs a teacher; the run has none.")
        self.losses = {loss.name: loss for loss in losses}
        self.coefficients = {loss.name: loss.weight for loss in losses}
        self.student = Outputs(student, [name for loss in losses for name in loss.loss.reads])
        self.teacher = self._outputs_of_teacher(teacher, needing)
        self.gathers = any(loss.loss.compares_rows for loss in losses)
        self.projection = None
        if any(loss.loss.project for loss in needing) and hasattr(teacher, "backbone"):
            self.projection = projection_between(student, teacher)
        super().__init__([student] + ([] if self.projection is None else [self.projection]))

    def weights(self, batch):
        """Return what each loss is divided by, from the batch alone."""
        return {name: loss.loss.weight(batch) for name, loss in self.losses.items()}

    def terms(self, batch, training, key):
        """Return (sum, weight) of each loss, and the accuracy of what has labels."""
        student = self.student(batch, training=training)
        teacher = {}
        if self.teacher is not None:
            outputs = self.teacher(batch, training=False)
            teacher = keras.tree.map_structure(tf.stop_gradient, outputs)
        if self.gathers:
            batch = {**batch, "all_row_weights": strategy.gather_over_replicas(row_weights(batch))}
            student, teacher = (self._with_all_rows(outputs) for outputs in (student, teacher))
        projected = student
        if self.projection is not None:
            states = [self.projection(state) for state in student["hidden_states"]]
            projected = {**student, "hidden_states": states}
        terms = {
            name: loss(projected if loss.loss.project else student, teacher, batch)
            for name, loss in self.losses.items()
        }
        return terms, self._metrics(student, batch)

    def _with_all_rows(self, outputs):
        """Return outputs `[B, ...]` with those of all replicas' rows, `[G, ...]`."""
        names = {name for loss in self.losses.values() if loss.loss.compares_rows
                 for name in loss.loss.reads if name in outputs}  # fmt: skip
        gathered = {f"all_{name}": strategy.gather_over_replicas(outputs[name]) for name in names}
        return {**outputs, **gathered}

    def _outputs_of_teacher(self, teacher, needing):
        reads = [name for loss in needing for name in loss.loss.reads]
        if not needing:
            return None
        if isinstance(teacher, str) and teacher == STORED:
            return StoredOutputs(reads)
        teacher.trainable = False
        return Outputs(teacher, reads)

    def _metrics(self, student, batch):
        pairs = {
            "masked_lm": ("masked_logits", "mask_labels"),
            "single_label": ("logits", "labels"),
            "token_labels": ("logits", "labels"),
        }
        metrics = {}
        for name, (logits, labels) in pairs.items():
            if name in self.losses:
                best = tf.argmax(student[logits], axis=-1, output_type=tf.int32)
                right = tf.cast(tf.equal(best, tf.cast(batch[labels], tf.int32)), tf.float32)
                counts = self.losses[name].loss.counts(batch)
                metrics[f"{name}_accuracy"] = (
                    tf.reduce_sum(right * counts),
                    tf.reduce_sum(counts),
                )
        return metrics
