"""Packed rows through the whole network: heads, gradients, precision, adapters, saved files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.config import HeadConfig
from bertzoo.models.loading import weights_of
from bertzoo.models.pretraining import PretrainingNetwork, new_head
from tests.reference import build, cases, encoder


@pytest.fixture(scope="module")
def network():
    kinds = ("masked_lm", "next_sentence", "discriminator")
    backbone = build.build_backbone(cases.SMALL)
    return PretrainingNetwork(backbone, [new_head(cases.SMALL, kind) for kind in kinds])


def test_heads_answer_for_every_text_of_a_packed_row(network):
    inputs, starts = cases.packed_inputs(cases.SMALL)
    positions = np.array([[1, 4, 9], [6, 0, 2], [3, 10, 5]], "int32")
    outputs = network.packed(num_texts=4)({**inputs, "mask_positions": positions})
    assert outputs["next_sentence"].shape == (3, 4, 2)
    found = {name: value.numpy() for name, value in outputs.items()}
    asked = 0
    for number, columns, ids in cases.packed_texts(inputs):
        own = [i for i, column in enumerate(positions[number]) if column in columns]
        places = positions[number, own][None] - columns[0]
        alone = network({**ids, "mask_positions": places})
        text = starts[number].tolist().index(columns[0])
        pairs = [
            (found["next_sentence"][number, text], alone["next_sentence"][0]),
            (found["discriminator"][number, columns], alone["discriminator"][0]),
            (found["masked_lm"][number, own], alone["masked_lm"][0]),
        ]
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
        asked += len(own)
    assert asked == positions.size


def test_a_network_says_which_heads_cannot_answer(network):
    with pytest.raises(ValueError, match=r"the next_sentence head .* give num_texts"):
        network.packed()
    embedder = PretrainingNetwork(build.shared_backbone("bert"), [HeadConfig("text_embedder")])
    with pytest.raises(ValueError, match="a text_embedder head answers once a row"):
        embedder.packed(num_texts=2)


@pytest.mark.parametrize("row", ["albert_groups", "roberta_with_pooler", "electra_small"])
def test_packed_rows_equal_the_reference_on_the_texts_alone(row):
    config = cases.BACKBONES[row]
    weights = cases.random_weights(cases.variable_shapes(config))
    inputs, starts = cases.packed_inputs(config)
    outputs = build.shared_backbone(row).packed(4 if config.pooler else None)(inputs)
    found = {name: build.to_float32(value) for name, value in outputs.items()}
    for number, columns, ids in cases.packed_texts(inputs):
        expected = encoder.encode(config, weights, **ids)
        ours = found["sequence_output"][number, columns]
        assert np.abs(ours - expected["sequence_output"][0]).max() < 1e-5
        if config.pooler:
            text = starts[number].tolist().index(columns[0])
            ours = found["pooled_output"][number, text]
            assert np.abs(ours - expected["pooled_output"][0]).max() < 1e-5


def test_gradients_are_the_sums_of_those_of_the_texts_alone():
    backbone = build.build_backbone(cases.BACKBONES["roberta"])
    inputs, _ = cases.packed_inputs(backbone.config)
    direction = np.random.default_rng(4).normal(size=(*inputs["token_ids"].shape, 20))
    direction = (direction * (inputs["padding_mask"] > 0)[..., None]).astype("float32")
    packed, variables = backbone.packed(), weights_of(backbone)
    values = [variable.value for variable in variables.values()]
    totals = [np.zeros(value.shape) for value in values]
    for number, columns, ids in cases.packed_texts(inputs):
        with tf.GradientTape() as tape:
            alone = backbone(ids)["sequence_output"][0]
            loss = tf.reduce_sum(alone * direction[number, columns])
        # A text of one token has no choice whom to attend to.
        gradients = tape.gradient(loss, values, unconnected_gradients="zero")
        for total, gradient in zip(totals, gradients, strict=True):
            total += tf.convert_to_tensor(gradient).numpy()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(packed(inputs)["sequence_output"] * direction)
    for path, ours, total in zip(variables, tape.gradient(loss, values), totals, strict=True):
        ours = tf.convert_to_tensor(ours).numpy()
        assert np.abs(ours - total).max() < 2e-5 * np.abs(total).max() + 1e-5, path


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_neighbours_are_not_seen_by_a_bit_and_padding_is_finite(dtype):
    packed = build.build_backbone(cases.SMALL, dtype).packed(num_texts=4)
    batch, _ = cases.packed_inputs(cases.SMALL)
    batch["padding_mask"][1] = 0  # nothing but padding
    before = build.to_float32(packed(batch)["sequence_output"])
    assert np.isfinite(before).all()
    second = batch["padding_mask"] == 2
    batch["token_ids"] = np.where(second, (batch["token_ids"] + 7) % 31, batch["token_ids"])
    outputs = packed(batch)
    after = build.to_float32(outputs["sequence_output"])
    others = (batch["padding_mask"] > 0) & ~second
    np.testing.assert_array_equal(after[others], before[others])
    assert (np.abs(after - before).max(-1) > 1e-3)[second].all()
    assert np.isfinite(build.to_float32(outputs["pooled_output"])).all()


def test_a_program_for_xla_has_fixed_shapes_and_calls_nothing():
    packed = build.shared_backbone("bert").packed(num_texts=4)
    compiled = tf.function(packed, jit_compile=True)
    batch = {name: tf.constant(v) for name, v in cases.packed_inputs(cases.SMALL)[0].items()}
    program = compiled.experimental_get_compiler_ir(batch)(stage="hlo")
    assert "f32[3,4,11,11]" in program  # the attention of the whole rows
    assert "<=" not in program  # a bounded dynamic dimension is written s32[<=11]
    assert "custom-call" not in program


def test_packed_rows_follow_an_adapter_and_dropout():
    backbone = build.build_backbone(cases.SMALL)
    packed, (batch, _) = backbone.packed(), cases.packed_inputs(cases.SMALL)
    before = packed(batch)["sequence_output"].numpy()
    assert np.abs(packed(batch, training=True)["sequence_output"] - before).max() > 1e-2
    backbone.enable_lora(rank=2)
    for weight in backbone.trainable_weights:
        weight.assign(weight + 0.1)
    assert np.abs(packed(batch)["sequence_output"] - before).max() > 1e-3


def test_a_backbone_with_a_packed_model_is_saved_as_before(tmp_path):
    backbone = build.build_backbone(cases.BACKBONES["albert"])
    inputs, _ = cases.packed_inputs(backbone.config)
    expected = backbone.packed()(inputs)["sequence_output"].numpy()
    backbone.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.packed()(inputs)["sequence_output"], expected)
