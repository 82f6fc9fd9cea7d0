"""Real tokens alone: their vectors, logits and gradients are those of the plain form."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.layers.real_rows import RealRows, keep_real, spread_real
from bertzoo.models.loading import weights_of
from tests.reference import build, cases, encoder

STILL = {"dropout": 0.0, "attention_dropout": 0.0}
# Real, padding at the right, at the left, in the middle, and a row of padding alone.
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]], "int32")


def test_places_of_real_tokens_by_hand():
    found = RealRows()(MASK)
    # The first token of every text is real, so that poolers have something to read.
    assert found["rows"].numpy().tolist() == [0, 1, 2, 3, 4, 5, 8, 10, 11, 12, 14, 16]
    places = found["places"].numpy().reshape(5, 4).tolist()
    assert places == [[0, 1, 2, 3], [4, 5, 5, 5], [6, 6, 7, 8], [9, 9, 10, 10], [11] * 4]


def test_rows_are_kept_and_spread_with_the_gradients_of_a_selection():
    real = RealRows()(MASK)
    rows, is_real = real["rows"].numpy(), real["is_real"].numpy()
    rng = np.random.default_rng(0)
    padded = tf.constant(rng.normal(size=(20, 3)), "float32")
    weights = tf.constant(rng.normal(size=(12, 3)), "float32")
    with tf.GradientTape() as tape:
        tape.watch(padded)
        kept = keep_real(padded, real)
        loss = tf.reduce_sum(kept * weights)
    np.testing.assert_array_equal(kept, padded.numpy()[rows])
    expected = np.zeros((20, 3), "float32")
    expected[rows] = weights
    np.testing.assert_array_equal(tape.gradient(loss, padded), expected)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        spread = spread_real(weights, real)
        loss = tf.reduce_sum(spread * padded * is_real)
    np.testing.assert_array_equal(spread.numpy()[rows], weights)
    np.testing.assert_array_equal(tape.gradient(loss, weights), padded.numpy()[rows])


@pytest.mark.parametrize("row", ["bert", "distilbert", "roberta_with_pooler", "albert"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "mixed_bfloat16"])
def test_real_tokens_have_the_vectors_of_the_reference(row, dtype):
    config = cases.BACKBONES[row]
    inputs = cases.random_inputs(config)
    weights = cases.random_weights(cases.variable_shapes(config))
    expected = encoder.encode(config, weights, **inputs)
    outputs = build.shared_backbone(row, dtype).without_padding()(inputs)
    mask = inputs["padding_mask"] > 0
    found = build.to_float32(outputs["sequence_output"])
    limit = 1e-5 if dtype == "float32" else 2e-2
    scale = np.abs(expected["sequence_output"]).max()
    assert np.abs(found - expected["sequence_output"])[mask].max() < limit * scale
    assert ("pooled_output" in outputs) == config.pooler
    if config.pooler:  # of the text with padding on the left, too
        assert build.difference(outputs["pooled_output"], expected["pooled_output"]) < limit
    padding = ~mask
    padding[:, 0] = False
    assert padding.sum() == 4
    assert not found[padding].any()


@pytest.mark.parametrize(
    "row", ["masked_lm", "classifier_mean", "token_classifier", "embedder_max"]
)
def test_heads_give_what_they_give_on_the_plain_form(row):
    network = build.shared_network(row)
    backbone, head = cases.HEADS[row]
    inputs = cases.random_inputs(cases.BACKBONES[backbone], head)
    expected = build.to_float32(network(inputs))
    found = build.to_float32(network.without_padding()(inputs))
    if head.kind == "token_classifier":
        real = inputs["padding_mask"] > 0
        expected, found = expected[real], found[real]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("row", ["bert", "albert"])
@pytest.mark.parametrize(("dtype", "limit"), [("float32", 2e-5), ("mixed_bfloat16", 5e-2)])
def test_gradients_are_those_of_the_plain_form(row, dtype, limit):
    config = cases.BACKBONES[row].replace(**STILL)
    inputs = cases.random_inputs(config)
    backbone = build.build_backbone(config, dtype)
    rng = np.random.default_rng(5)
    directions = rng.normal(size=(3, 7, config.hidden_dim)) * inputs["padding_mask"][..., None]
    variables = weights_of(backbone)
    found = []
    for model in (backbone, backbone.without_padding()):
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = tf.reduce_sum(tf.cast(outputs["sequence_output"], "float32") * directions)
            loss += tf.reduce_sum(tf.cast(outputs["pooled_output"], "float32") ** 2)
        found.append(tape.gradient(loss, [v.value for v in variables.values()]))
    for path, plain, unpadded in zip(variables, *found, strict=True):
        scale = max(np.abs(plain).max(), 0.1)  # that of a key's bias is nothing but rounding
        np.testing.assert_allclose(unpadded, plain, rtol=0, atol=limit * scale, err_msg=path)


def test_both_forms_share_their_variables_and_a_compiled_form_sees_new_values():
    backbone = build.build_backbone(cases.SMALL)
    unpadded = backbone.without_padding()
    ours = {id(variable) for variable in backbone.weights}
    assert {id(variable) for variable in unpadded.weights} == ours
    graph = tf.function(unpadded)
    inputs = {k: tf.constant(v) for k, v in cases.random_inputs(cases.SMALL).items()}
    before = graph(inputs)["pooled_output"].numpy()
    backbone.get_layer("pooler").bias.assign_add(keras.ops.ones(20))
    assert np.abs(graph(inputs)["pooled_output"].numpy() - before).max() > 0.01
