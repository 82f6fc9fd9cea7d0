"""Every head on its backbone against the NumPy reference."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.config import HeadConfig
from bertzoo.models.backbone import Backbone
from bertzoo.models.loading import weights_of
from bertzoo.models.networks import build_network
from tests.reference import build, cases, encoder

ROWS = sorted(cases.HEADS)
KINDS = {
    "masked_lm": "masked_lm",
    "next_sentence": "next_sentence",
    "text_classifier": "classifier_pooled",
    "token_classifier": "token_classifier",
    "question_answerer": "question_answerer",
    "discriminator": "discriminator",
    "text_embedder": "embedder_projections",
}


def case(row):
    """Return config, head, inputs and the weights of a row."""
    backbone, head = cases.HEADS[row]
    config = cases.BACKBONES[backbone]
    weights = cases.random_weights(cases.variable_shapes(config, head))
    return config, head, cases.random_inputs(config, head), weights


def named(outputs):
    """Return a dict, for heads with one output and with two."""
    return outputs if isinstance(outputs, dict) else {"logits": outputs}


@pytest.mark.parametrize("row", ROWS)
def test_outputs_equal_the_reference(row):
    config, head, inputs, weights = case(row)
    expected = named(encoder.head_outputs(config, head, weights, inputs))
    outputs = named(build.shared_network(row)(inputs))
    assert sorted(outputs) == sorted(expected)
    for name, value in outputs.items():
        assert build.difference(value, expected[name]) < 1e-5, name


@pytest.mark.parametrize("row", ROWS)
def test_variables_are_those_of_the_weight_contract(row):
    config, head, _, _ = case(row)
    shapes = {path: tuple(v.shape) for path, v in weights_of(build.shared_network(row)).items()}
    assert shapes == cases.variable_shapes(config, head)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(kind, dtype) for kind in sorted(KINDS) for dtype in ("bfloat16", "mixed_bfloat16")]
    + [("masked_lm", "mixed_float16")],
)
def test_outputs_are_float32_in_half_precision(kind, dtype):
    config, head, inputs, weights = case(KINDS[kind])
    expected = named(encoder.head_outputs(config, head, weights, inputs))
    for name, value in named(build.shared_network(KINDS[kind], dtype)(inputs)).items():
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        assert build.relative_error(value, expected[name]) < 3e-2, name


@pytest.mark.parametrize("row", ["masked_lm_untied", "embedder_projections"])
def test_bfloat16_stores_the_weights_of_heads_too(row):
    variables = weights_of(build.shared_network(row, "bfloat16"))
    assert {path for path, v in variables.items() if v.dtype != "bfloat16"} == set()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_network_knows_its_backbone_and_head(kind):
    config, head, _, _ = case(KINDS[kind])
    network = build.shared_network(KINDS[kind])
    assert isinstance(network, keras.Model)
    assert isinstance(network.backbone, Backbone)
    assert network.backbone.config == config
    assert network.head == head


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_network_shares_the_variables_of_its_backbone(kind):
    network = build.shared_network(KINDS[kind])
    assert {id(v) for v in network.backbone.weights} <= {id(v) for v in network.weights}
    assert len(network.weights) == len(weights_of(network))


@pytest.mark.parametrize("row", ["masked_lm", "token_classifier", "embedder_mean"])
def test_missing_segments_are_zeros_and_a_missing_mask_is_ones(row):
    config, head, inputs, weights = case(row)
    del inputs["segment_ids"], inputs["padding_mask"]
    expected = encoder.head_outputs(config, head, weights, inputs)
    assert build.difference(build.shared_network(row)(inputs), expected) < 1e-5


@pytest.mark.parametrize("row", ["masked_lm", "classifier_first_token", "question_answerer"])
def test_predict_gives_what_a_call_gives(row):
    _, _, inputs, _ = case(row)
    network = build.shared_network(row)
    called, predicted = named(network(inputs)), named(network.predict(inputs, verbose=0))
    for name, value in called.items():
        # A graph may fuse what eager calls run one by one: the last digit moves.
        np.testing.assert_allclose(predicted[name], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_keras_saving_and_loading_is_bit_equal(kind, tmp_path):
    network = build.shared_network(KINDS[kind])
    _, _, inputs, _ = case(KINDS[kind])
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    first, second = named(network(inputs)), named(again(inputs))
    for name, value in first.items():
        np.testing.assert_array_equal(build.to_float32(value), build.to_float32(second[name]))


# Masked language models --------------------------------------------------------------------------


@pytest.mark.parametrize("row", ["masked_lm", "masked_lm_untied", "masked_lm_albert"])
def test_only_the_masked_positions_are_projected_on_the_vocabulary(row):
    # Vocabulary 31 is the last axis of nothing else, so a tensor that wide has logits in it.
    network = build.shared_network(row)
    specs = {
        name: tf.TensorSpec((3, 2) if name == "mask_positions" else (3, 7), tf.int32)
        for name in network.input
    }
    traced = tf.function(lambda x: network(x, training=False)).get_concrete_function(specs)
    wide = [
        tensor.shape
        for op in traced.graph.get_operations()
        if op.type in ("MatMul", "BatchMatMul", "BatchMatMulV2", "Einsum")
        for tensor in op.outputs
        if tensor.shape.rank and tensor.shape[-1] == 31
    ]
    assert [shape.num_elements() for shape in wide] == [3 * 2 * 31]


@pytest.mark.parametrize("position", [7, 8, -1])
def test_a_position_outside_its_row_never_reads_another_row(position):
    # Tokens lie flat inside, row after row: position 8 of row 0 would be position 1 of row 1.
    _, _, inputs, _ = case("masked_lm")
    network = build.shared_network("masked_lm")
    inputs["mask_positions"] = np.array([[0, 0], [position, 1], [0, 0]], "int32")
    other = {name: value.copy() for name, value in inputs.items()}
    for row in (0, 2):
        other["token_ids"][row] = (other["token_ids"][row] + 11) % 31
    before, after = (logits_or_refusal(network, values) for values in (inputs, other))
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-5)


def logits_or_refusal(network, inputs):
    """Return the logits of row 1; a network may also refuse the positions, by name."""
    try:
        return build.to_float32(network(inputs))[1]
    except ValueError as error:
        if "mask_positions" not in str(error):
            raise
        return np.zeros(0)


def test_a_tied_decoder_follows_the_token_table():
    config, head, inputs, _ = case("masked_lm")
    network = build.build_head(config, head)
    # Token 30 stands in no input, so only its logit can change.
    inputs["token_ids"] = inputs["token_ids"] % 30
    before = build.to_float32(network(inputs))
    table = weights_of(network)["embeddings/token/embeddings"]
    changed = table.numpy()
    changed[30] += np.linspace(-1.0, 1.5, config.hidden_dim)
    table.assign(changed)
    after = build.to_float32(network(inputs))
    np.testing.assert_allclose(after[..., :30], before[..., :30], rtol=0, atol=2e-6)
    assert np.abs(after[..., 30] - before[..., 30]).min() > 1e-3


def test_a_network_without_an_activation_mistake_is_told_from_one_with():
    config, head, inputs, weights = case("masked_lm")
    logits = build.shared_network("masked_lm")(inputs)
    for wrong in (
        head.replace(hidden_activation="gelu_tanh"),
        head.replace(layer_norm_epsilon=1.0e-2),
    ):
        other = encoder.head_outputs(config, wrong, weights, inputs)
        assert build.difference(logits, other) > 1e-4


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ("classifier_first_token", {"hidden_activation": "tanh"}),
        ("classifier_roberta", {"hidden_activation": "relu"}),
        ("classifier_pooled_hidden", {"input": "first_token"}),
        ("discriminator", {"hidden_activation": "gelu_tanh"}),
        ("embedder_mean", {"pooling": ("mean_sqrt",)}),
        ("embedder_mean", {"normalize": True}),
    ],
)
def test_a_wrong_choice_in_a_head_is_seen(row, changes):
    config, head, inputs, weights = case(row)
    wrong = encoder.head_outputs(config, head.replace(**changes), weights, inputs)
    assert build.difference(build.shared_network(row)(inputs), wrong) > 1e-4


def test_start_and_end_are_not_swapped():
    config, head, inputs, weights = case("question_answerer")
    expected = encoder.head_outputs(config, head, weights, inputs)
    outputs = build.shared_network("question_answerer")(inputs)
    assert build.difference(outputs["start_logits"], expected["end_logits"]) > 1e-2


# Errors and dropout ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [HeadConfig("next_sentence", num_outputs=2), HeadConfig("text_classifier", num_outputs=3)],
    ids=lambda head: head.kind,
)
def test_a_head_on_the_pooled_output_needs_a_pooler(head):
    with pytest.raises(ValueError, match="pooler"):
        build_network(Backbone(cases.BACKBONES["distilbert"]), head)


@pytest.mark.parametrize("row", ["classifier_pooled", "token_classifier", "classifier_roberta"])
def test_classifier_dropout_acts_in_training_only(row):
    backbone, head = cases.HEADS[row]
    config = cases.BACKBONES[backbone].replace(dropout=0.0, attention_dropout=0.0)
    network = build.build_head(config, head.replace(dropout=0.5))
    inputs = cases.random_inputs(config)
    plain = build.to_float32(network(inputs))
    np.testing.assert_array_equal(build.to_float32(network(inputs, training=False)), plain)
    assert np.abs(build.to_float32(network(inputs, training=True)) - plain).max() > 1e-3
    still = build.build_head(config, head.replace(dropout=0.0))
    np.testing.assert_allclose(still(inputs, training=True), plain, rtol=0, atol=2e-6)


@pytest.mark.parametrize("row", ["embedder_mean", "embedder_mean_sqrt", "embedder_max"])
def test_the_vector_of_a_fully_masked_row_is_finite(row):
    _, _, inputs, _ = case(row)
    inputs["padding_mask"][0] = 0
    assert np.isfinite(build.to_float32(build.shared_network(row)(inputs))).all()


@pytest.mark.parametrize("row", ["embedder_mean", "embedder_all_poolings", "embedder_max"])
def test_padding_does_not_change_a_vector(row):
    _, _, inputs, _ = case(row)
    network = build.shared_network(row)
    # Row 1 ends in three columns of padding.
    short = {name: value[1:2, :4] for name, value in inputs.items()}
    long = {name: value[1:2] for name, value in inputs.items()}
    np.testing.assert_allclose(network(long), network(short), rtol=0, atol=5e-6)


@pytest.mark.parametrize("row", ["embedder_all_poolings", "embedder_cls_normalized"])
def test_normalized_vectors_have_length_one(row):
    _, _, inputs, _ = case(row)
    lengths = np.linalg.norm(build.to_float32(build.shared_network(row)(inputs)), axis=-1)
    np.testing.assert_allclose(lengths, 1.0, rtol=0, atol=1e-6)


@pytest.mark.parametrize("row", sorted(cases.HEADS))
def test_a_tapped_network_gives_the_same_output_and_inner_tensors(row):
    backbone, head = cases.HEADS[row]
    config = cases.BACKBONES[backbone]
    network = build.shared_network(row)
    inputs = cases.random_inputs(config, head)
    outputs = network.tap("hidden_states", "context", "intermediate")(inputs)
    expected = network(inputs)
    if head.kind != "question_answerer":
        name = "embedding" if head.kind == "text_embedder" else "logits"
        expected = {name: expected}
    for name, value in expected.items():
        np.testing.assert_array_equal(outputs[name], value)
    shapes = {"context": config.hidden_dim, "intermediate": config.intermediate_dim}
    steps = len(config.layer_schedule)
    for name, width in shapes.items():
        assert [tuple(x.shape) for x in outputs[name]] == [(21, width)] * steps
    last = outputs["hidden_states"][-1]
    np.testing.assert_array_equal(last, outputs["sequence_output"])
