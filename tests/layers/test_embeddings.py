"""Positions, segments, and the gradients of the token table, seen through a backbone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.models.loading import weights_of
from tests.reference import build, cases, encoder

STILL = {"dropout": 0.0, "attention_dropout": 0.0}
TOKEN_TABLE = "embeddings/token/embeddings"


def embeddings_of(row, inputs):
    """Return the first hidden state: what leaves the embeddings."""
    return build.to_float32(
        build.shared_backbone(row).tap("hidden_states")(inputs)["hidden_states"][0]
    )


def test_roberta_positions_worked_by_hand():
    # Real tokens count from row 2 (padding_idx 1, plus 1), padding stays in row 1.
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]])
    expected = [[2, 3, 4, 5], [2, 3, 1, 1], [1, 1, 2, 3], [2, 1, 3, 1]]
    config = cases.BACKBONES["roberta"]
    assert encoder.position_ids(config, mask).tolist() == expected
    table = np.zeros((13, 20), "float32")
    table[:, 0] = np.arange(13)
    weights = cases.random_weights(cases.variable_shapes(config))
    weights["embeddings/position/embeddings"] = table
    weights[TOKEN_TABLE][:] = 0.0
    weights["embeddings/segment/embeddings"][:] = 0.0
    weights["embeddings/norm/gamma"][:] = 1.0
    weights["embeddings/norm/beta"][:] = 0.0
    # A row (p, 0, ..., 0) leaves the norm with a sign that says nothing of p, so add a constant.
    weights[TOKEN_TABLE][:, 1] = 3.0
    tapped = build.build_backbone(config, weights=weights).tap("hidden_states")
    inputs = {
        "token_ids": np.zeros((4, 4), "int32"),
        "padding_mask": mask.astype("int32"),
        "segment_ids": np.zeros((4, 4), "int32"),
    }
    hidden = build.to_float32(tapped(inputs)["hidden_states"][0])
    # With columns p, 3 and eighteen zeros, (a - z) / (b - z) = p / 3 after the norm.
    zero = hidden[..., 2]
    found = 3.0 * (hidden[..., 0] - zero) / (hidden[..., 1] - zero)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


def test_bert_positions_count_columns_whatever_the_mask_says():
    inputs = cases.random_inputs(cases.SMALL)
    before = embeddings_of("bert", inputs)
    inputs["padding_mask"] = 1 - inputs["padding_mask"]
    np.testing.assert_array_equal(embeddings_of("bert", inputs), before)


def test_the_mask_does_move_roberta_positions():
    inputs = cases.random_inputs(cases.BACKBONES["roberta"])
    before = embeddings_of("roberta", inputs)
    inputs["padding_mask"][0, 1] = 0
    after = embeddings_of("roberta", inputs)
    moved = np.abs(after - before).max(-1) > 1e-3
    assert moved.tolist() == [[False] + [True] * 6, [False] * 7, [False] * 7]


def test_each_of_three_segments_has_a_row_of_its_own():
    inputs = cases.random_inputs(cases.BACKBONES["bert_three_segments"])
    inputs["token_ids"][:] = 5
    found = []
    for segment in range(3):
        inputs["segment_ids"][:] = segment
        found.append(embeddings_of("bert_three_segments", inputs)[0, 0])
    assert min(np.abs(found[a] - found[b]).max() for a, b in ((0, 1), (0, 2), (1, 2))) > 1e-2


def test_the_projection_comes_after_the_norm():
    config = cases.BACKBONES["electra_small"]
    inputs = cases.random_inputs(config)
    weights = cases.random_weights(cases.variable_shapes(config))
    expected = encoder.embed(
        config, weights, inputs["token_ids"], inputs["segment_ids"], inputs["padding_mask"]
    )
    assert build.difference(embeddings_of("electra_small", inputs), expected) < 1e-5


# Gradients ---------------------------------------------------------------------------------------

# Tokens 4 and 9 stand three times each: their gradients are sums.
REPEATED = np.array([[4, 9, 4, 30, 9, 4, 9]], "int32")


def loss_and_gradients(backbone, inputs, directions):
    """Return the gradients by path of the sum of all outputs times fixed numbers."""
    variables = weights_of(backbone)
    with tf.GradientTape() as tape:
        outputs = backbone(inputs, training=True)
        loss = sum(tf.reduce_sum(value * directions[name]) for name, value in outputs.items())
    return dict(
        zip(variables, tape.gradient(loss, [v.value for v in variables.values()]), strict=True)
    )


def reference_loss(config, weights, inputs, directions):
    outputs = encoder.encode(config, weights, **inputs)
    return sum((outputs[name] * value).sum() for name, value in directions.items())


def directions_for(config, batch=3, length=7):
    rng = np.random.default_rng(5)
    shapes = {"sequence_output": (batch, length, config.hidden_dim)}
    if config.pooler:
        shapes["pooled_output"] = (batch, config.hidden_dim)
    return {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}


@pytest.mark.parametrize("row", ["bert", "roberta", "albert", "bert_relu"])
def test_every_gradient_equals_a_finite_difference_of_the_reference(row):
    config = cases.BACKBONES[row].replace(**STILL)
    inputs, directions = cases.random_inputs(config), directions_for(config)
    weights = cases.random_weights(cases.variable_shapes(config))
    gradients = loss_and_gradients(build.build_backbone(config), inputs, directions)
    rng = np.random.default_rng(6)
    step = 1.0e-6
    for path, value in weights.items():
        move = rng.normal(size=value.shape)
        either = [
            reference_loss(
                config, {**weights, path: value + sign * step * move}, inputs, directions
            )
            for sign in (1, -1)
        ]
        expected = (either[0] - either[1]) / (2 * step)
        found = float(np.sum(tf.convert_to_tensor(gradients[path]).numpy() * move))
        scale = float(np.linalg.norm(gradients[path])) + 1.0
        assert abs(found - expected) < 2e-4 * scale, path


def numeric_token_gradient(config, weights, inputs, directions):
    """Central differences of the reference, entry by entry, for the tokens that occur."""
    gradient = np.zeros(weights[TOKEN_TABLE].shape)
    for token in np.unique(inputs["token_ids"]):
        for column in range(gradient.shape[1]):
            values = []
            for step in (1.0e-5, -1.0e-5):
                moved = weights[TOKEN_TABLE].astype("float64")
                moved[token, column] += step
                changed = {**weights, TOKEN_TABLE: moved}
                values.append(reference_loss(config, changed, inputs, directions))
            gradient[token, column] = (values[0] - values[1]) / 2.0e-5
    return gradient


@pytest.fixture(scope="module")
def repeated():
    """One row of repeated tokens with the numeric gradient of the token table."""
    config = cases.SMALL.replace(num_layers=1, pooler=False, **STILL)
    weights = cases.random_weights(cases.variable_shapes(config))
    inputs = {"token_ids": REPEATED, "padding_mask": np.ones_like(REPEATED)}
    inputs["segment_ids"] = np.zeros_like(REPEATED)
    directions = directions_for(config, batch=1)
    return (
        config,
        weights,
        inputs,
        directions,
        numeric_token_gradient(config, weights, inputs, directions),
    )


def test_the_token_gradient_is_dense_and_sums_repeated_tokens(repeated):
    config, weights, inputs, directions, expected = repeated
    backbone = build.build_backbone(config, weights=weights)
    gradient = loss_and_gradients(backbone, inputs, directions)[TOKEN_TABLE]
    assert isinstance(gradient, tf.Tensor)
    assert not isinstance(gradient, tf.IndexedSlices)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("table", ["token", "position", "segment"])
def test_no_table_has_a_sparse_gradient(table):
    config = cases.SMALL.replace(**STILL)
    gradients = loss_and_gradients(
        build.build_backbone(config), cases.random_inputs(config), directions_for(config)
    )
    assert isinstance(gradients[f"embeddings/{table}/embeddings"], tf.Tensor)


def test_an_adam_step_with_repeated_tokens_equals_one_in_numpy(repeated):
    config, weights, inputs, directions, gradient = repeated
    backbone = build.build_backbone(config, weights=weights)
    coefficients = directions["sequence_output"]

    def loss(_, sequence_output):
        return keras.ops.sum(sequence_output * coefficients)

    names = {name: keras.Input((None,), dtype="int32", name=name) for name in inputs}
    model = keras.Model(names, backbone(names)["sequence_output"])
    model.compile(keras.optimizers.Adam(0.01), loss)
    expected = weights[TOKEN_TABLE].astype("float64")
    first, second = np.zeros_like(expected), np.zeros_like(expected)
    # Kingma & Ba 2015, algorithm 1, with the defaults of Keras: beta 0.9 and 0.999.
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * gradient**2
    expected -= 0.01 * (first / (1 - 0.9)) / (np.sqrt(second / (1 - 0.999)) + 1e-7)
    model.train_on_batch(inputs, np.zeros_like(coefficients))
    found = weights_of(backbone)[TOKEN_TABLE].numpy()
    # The first step of Adam is the sign of the gradient: leave out entries whose sign is unsure.
    sure = np.abs(gradient) > 1e-3
    assert sure.sum() > 50
    np.testing.assert_allclose(found[sure], expected[sure], rtol=0, atol=2e-5)
    unused = np.setdiff1d(np.arange(31), REPEATED)
    np.testing.assert_array_equal(found[unused], weights[TOKEN_TABLE][unused])
