"""Packed rows: a text's vectors are those that it has alone, and the neighbours are not seen."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.config import BackboneConfig
from bertzoo.models.backbone import Backbone

SIZES = {"vocabulary_size": 31, "num_layers": 2, "hidden_dim": 20, "num_heads": 4,
         "intermediate_dim": 37, "max_sequence_length": 24}  # fmt: skip
KINDS = {
    "bert": {},
    "roberta": {"position_offset": 2, "num_segments": 1, "pooler": False},
    "albert": {"embedding_dim": 12, "num_groups": 1},
    "distilbert": {"num_segments": 0, "pooler": False},
}


def make_backbone(kind):
    keras.utils.set_random_seed(7)
    backbone = Backbone(BackboneConfig(**SIZES, **KINDS[kind], initializer_range=0.5))
    for weight in backbone.weights:  # biases and norms are no zeros and ones
        if weight.path.endswith(("bias", "gamma", "beta")):
            weight.assign(np.random.default_rng(len(weight.path)).normal(1, 0.3, weight.shape))
    return backbone


@pytest.fixture(scope="module", params=KINDS)
def backbone(request):
    return make_backbone(request.param)


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(1)
    return [rng.integers(4, 31, size) for size in (5, 9, 3, 1, 7, 6)]


ROWS = [[0, 1, 2], [3], [4, 5]]  # which texts each row holds
LENGTH = 19


def pack(texts, rows):
    token_ids = np.zeros((len(rows), LENGTH), np.int32)
    mask = np.zeros_like(token_ids)
    segments = np.zeros_like(token_ids)
    for row, members in enumerate(rows):
        place = 0
        for number, text in enumerate(members, 1):
            end = place + len(texts[text])
            token_ids[row, place:end], mask[row, place:end] = texts[text], number
            segments[row, place + len(texts[text]) // 2 : end] = 1
            place = end
    return {"token_ids": token_ids, "padding_mask": mask, "segment_ids": segments}


def inputs_of(backbone, features):
    if backbone.config.num_segments == 1:
        features = {**features, "segment_ids": np.zeros_like(features["token_ids"])}
    return {name: features[name] for name in backbone.input}


def alone(backbone, text):
    segments = (np.arange(len(text)) >= len(text) // 2).astype(np.int32)
    features = {"token_ids": text[None], "padding_mask": np.ones((1, len(text)), np.int32),
                "segment_ids": segments[None]}  # fmt: skip
    return backbone(inputs_of(backbone, features))


def test_packed_texts_have_the_vectors_that_they_have_alone(backbone, texts):
    has_pooler = backbone.config.pooler
    packed = backbone.packed(num_texts=3 if has_pooler else None)
    features = pack(texts, ROWS)
    outputs = packed(inputs_of(backbone, features))
    assert outputs["sequence_output"].shape == (3, LENGTH, 20)
    for row, members in enumerate(ROWS):
        for number, text in enumerate(members):
            expected = alone(backbone, texts[text])
            own = features["padding_mask"][row] == number + 1
            np.testing.assert_allclose(
                outputs["sequence_output"][row][own], expected["sequence_output"][0], atol=1e-5
            )
            if has_pooler:
                np.testing.assert_allclose(
                    outputs["pooled_output"][row, number], expected["pooled_output"][0], atol=1e-5
                )


def test_ordinary_rows_are_the_case_of_one_text(backbone, texts):
    features = inputs_of(backbone, pack(texts, [[1], [4]]))
    ordinary, packed = backbone(features), backbone.packed()(features)
    real = features["padding_mask"] > 0
    np.testing.assert_allclose(
        packed["sequence_output"].numpy()[real],
        ordinary["sequence_output"].numpy()[real],
        atol=1e-5,
    )


def test_no_gradient_flows_between_texts(texts):
    backbone = make_backbone("bert")
    packed = backbone.packed()
    features = inputs_of(backbone, pack(texts, [[1, 4]]))
    table = backbone.embeddings.token.embeddings
    with tf.GradientTape() as tape:
        first = packed(features)["sequence_output"][:, : len(texts[1])]
        loss = tf.reduce_sum(first**2)
    touched = set(np.flatnonzero(np.abs(tape.gradient(loss, table.value)).sum(axis=1)))
    assert touched == set(texts[1].tolist())


def test_packed_shares_variables_and_leaves_the_backbone_as_it_was():
    backbone = make_backbone("bert")
    paths = [weight.path for weight in backbone.weights]
    packed = backbone.packed(num_texts=2)
    assert {id(weight) for weight in packed.weights} == {id(weight) for weight in backbone.weights}
    assert [weight.path for weight in backbone.weights] == paths
    assert {type(layer).__name__ for layer in backbone.layers}.isdisjoint(
        {"PackedAttentionMask", "FirstTokens"}
    )


def test_xla_compiles_packed_rows(texts):
    backbone = make_backbone("roberta")
    packed = backbone.packed()
    features = inputs_of(backbone, pack(texts, ROWS))
    compiled = tf.function(lambda inputs: packed(inputs)["sequence_output"], jit_compile=True)
    real = features["padding_mask"] > 0
    np.testing.assert_allclose(
        compiled(features).numpy()[real],
        packed(features)["sequence_output"].numpy()[real],
        atol=1e-5,
    )


def test_pooled_output_needs_a_pooler():
    with pytest.raises(ValueError, match="has no pooler"):
        make_backbone("distilbert").packed(num_texts=2)
