"""Layers that run again on the way back give the gradients of those that do not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.models.backbone import Backbone
from bertzoo.models.pretraining import PretrainingNetwork, new_head
from bertzoo.training import keyed_randomness
from bertzoo.training.objectives import Pretraining
from bertzoo.training.recomputing import recomputed
from bertzoo.training.replaced_tokens import ReplacedTokenDetection
from bertzoo.training.step import TrainStep
from tests.training import toy_run

BATCH = {name: tf.constant(array[:8]) for name, array in toy_run.arrays().items()}


def network(*kinds, dtype=None, **changes):
    keras.utils.set_random_seed(11)
    shape = toy_run.config(**{"num_layers": 2, "dropout": 0.2, **changes})
    return PretrainingNetwork(Backbone(shape, dtype=dtype), [new_head(shape, k) for k in kinds])


def pretraining(recompute, dtype=None, **changes):
    made = network("masked_lm", "next_sentence", dtype=dtype, **changes)
    return Pretraining(made, recompute=recompute)


def electra(recompute):
    generator = network("masked_lm", hidden_dim=8, num_heads=2, embedding_dim=20, pooler=False)
    discriminator = network("discriminator", pooler=False)
    return ReplacedTokenDetection(generator, discriminator, recompute=recompute)


def packed(recompute):
    made = network("masked_lm", pooler=False)
    return Pretraining(made, packed=True, recompute=recompute)


def trained(objective, steps=3, **options):
    """Return what is logged of some steps, and the weights behind them."""
    step = TrainStep(objective, toy_run.AdamW(0.01), toy_run.make_replicas(), seed=3, **options)
    batches = iter(tf.data.Dataset.from_tensors(BATCH).repeat())
    rows = step.run(batches, 0, steps)
    return rows, {n: v.numpy() for n, v in enumerate(step.variables)}


def assert_alike(ours, theirs, relative):
    for row, other in zip(ours[0], theirs[0], strict=True):
        for name, value in other.items():
            if name.endswith("accuracy") and relative > 1e-3:
                continue  # a near tie falls the other way
            assert row[name] == pytest.approx(value, rel=relative, abs=1e-6), name
    for number, values in theirs[1].items():
        np.testing.assert_allclose(ours[1][number], values, atol=100 * relative)


@pytest.mark.parametrize(
    "make",
    [packed, *(pytest.param(make, marks=pytest.mark.long) for make in (pretraining, electra))],
)
def test_training_with_dropout_is_the_same(make):
    assert_alike(trained(make(True)), trained(make(False)), 1e-6)


@pytest.mark.long
@pytest.mark.parametrize(
    ("dtype", "jit", "relative"), [("mixed_bfloat16", False, 1e-2), (None, True, 1e-5)]
)
def test_precision_and_compiler_are_taken_along(dtype, jit, relative):
    ours, theirs = (trained(pretraining(again, dtype), jit=jit) for again in (True, False))
    assert_alike(ours, theirs, relative)


@pytest.mark.long
def test_a_shared_layer_gives_its_gradients_together():
    """ALBERT's: one layer, which runs twice."""
    ours, theirs = (trained(pretraining(a, dropout=0.0, num_groups=1)) for a in (True, False))
    assert_alike(ours, theirs, 1e-6)


def test_each_run_of_a_shared_layer_drops_other_units():
    backbone = network("masked_lm", dropout=0.5).backbone
    found = recomputed(backbone)
    assert found.input.keys() == backbone.input.keys()
    assert found.output.keys() == backbone.output.keys()
    again = [layer for layer in found.layers if layer.name.endswith("_recomputed_0")]
    assert [layer.layer for layer in again] == backbone.encoder_layers
    hidden, mask = tf.ones((12, 20)), tf.zeros((1, 1, 1, 12))
    outputs = []
    with keyed_randomness.keyed(keyed_randomness.seeds_of([backbone]), tf.constant([5, 6])):
        for run in (0, 0, 1):
            layer = type(again[0])(backbone.encoder_layers[0], run)
            outputs.append(layer(hidden, mask, training=True)["hidden_state"].numpy())
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.allclose(outputs[0], outputs[2])


def test_each_layer_runs_twice():
    def softmaxes(objective):
        @tf.function
        def forward_and_backward():
            with tf.GradientTape() as tape:
                with objective.scope(tf.constant([1, 2])):
                    terms, _ = objective.terms(BATCH, True, tf.constant([3, 4]))
                loss = terms["masked_lm"][0]
            variables = [v.value for v in objective.trainable_variables]
            return tape.gradient(loss, variables)

        graph = forward_and_backward.get_concrete_function().graph
        # Of attention: its maps are 7 by 7.
        return [
            op.name for op in graph.get_operations()
            if op.type == "Softmax" and op.outputs[0].shape[-2:] == (7, 7)
        ]  # fmt: skip

    assert len(softmaxes(pretraining(False))) == 2
    assert len(softmaxes(pretraining(True))) == 4  # once forward, once on the way back
