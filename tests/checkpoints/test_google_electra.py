"""ELECTRA as Google released it: discriminator and generator in one TensorFlow 1 checkpoint."""

import json

import numpy as np
import pytest

from bertzoo import checkpoints
from bertzoo.config import HeadConfig
from tests.checkpoints import agreement, spelled
from tests.reference import cases

SIZES = {
    "vocab_size": 31,
    "hidden_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 11,
    "type_vocab_size": 2,
    "embedding_size": 13,
}
# Heads of 64, as every published size has: their releases have no configuration.
WIDE = cases.SMALL.replace(
    hidden_dim=128, num_heads=2, intermediate_dim=40, embedding_dim=13, pooler=False
)
# The generator is narrower and shares the tables.
NARROW = WIDE.replace(hidden_dim=64, num_heads=1, intermediate_dim=31, num_layers=1)
DISCRIMINATOR = HeadConfig("discriminator", hidden_activation="gelu", dropout=0.0)
MASKED_LM = HeadConfig("masked_lm", hidden_activation="gelu")
HEAD_NAMES = {
    "discriminator/hidden": "discriminator_predictions/dense",
    "discriminator/logits": "discriminator_predictions/dense_1",
    "masked_lm/dense": "generator_predictions/dense",
    "masked_lm/norm": "generator_predictions/LayerNorm",
    "masked_lm": "generator_predictions",
}


def weights_of(config, head, tables=None, seed=0):
    weights = cases.random_weights(cases.variable_shapes(config, head), seed)
    return weights | {k: v for k, v in (tables or {}).items() if k.startswith("embeddings/")
                      and "projection" not in k}  # fmt: skip


def names(weights, scope):
    heads = {path: v for path, v in weights.items() if path.startswith(tuple(HEAD_NAMES))}
    stored = spelled.tf1({p: v for p, v in weights.items() if p not in heads}, scope)
    for path, value in heads.items():
        where, last = path.rsplit("/", 1)
        last = "output_bias" if path == "masked_lm/bias" else last
        stored[f"{HEAD_NAMES[where]}/{last}"] = value
    return stored


def write(directory, tensors):
    import tensorflow as tf

    directory.mkdir()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in tensors.items():
            tf.compat.v1.get_variable(name, initializer=np.asarray(value))
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(directory / "electra_small"))
    return directory


def pretraining(generator_scope="electra", seed=0):
    """Both encoders, the tables in the discriminator's scope or one set for each."""
    ours = weights_of(WIDE, DISCRIMINATOR)
    tied = generator_scope == "electra"
    generators = weights_of(NARROW, MASKED_LM, ours if tied else None, seed=5)
    stored = names(ours, "electra")
    for name, value in names(generators, "generator").items():
        stored[name.replace("generator/embeddings/", f"{generator_scope}/embeddings/")] = value
    stored["global_step"] = np.int64(7)
    stored["electra/embeddings/word_embeddings/adam_m"] = np.zeros((31, 13), "float32")
    return ours, generators, stored


def test_the_discriminator_computes_what_numpy_does(tmp_path):
    ours, _, stored = pretraining()
    directory = write(tmp_path / "electra", stored)
    opened = agreement.assert_same_weights(directory, ours)
    assert opened.format == "google_electra"
    agreement.assert_same_outputs(directory, WIDE, DISCRIMINATOR, ours)


@pytest.mark.parametrize("scope", ["electra", "generator"], ids=["tied", "untied"])
def test_the_generator_computes_what_numpy_does(scope, tmp_path):
    _, generators, stored = pretraining(scope)
    directory = write(tmp_path / "electra", stored)
    agreement.assert_same_weights(directory, generators, "google_electra_generator")
    agreement.assert_same_outputs(
        directory, NARROW, MASKED_LM, generators, "google_electra_generator"
    )


def test_a_configuration_beside_it_says_how_many_heads(tmp_path):
    config, head, weights = agreement.weights_of("discriminator")
    directory = write(tmp_path / "electra", names(weights, "electra"))
    with pytest.raises(ValueError, match="hidden size 20 is none of the published ones"):
        checkpoints.open_checkpoint(directory)
    (directory / "bert_config.json").write_text(json.dumps(SIZES))
    agreement.assert_same_outputs(directory, config, head, weights)
    (directory / "bert_config.json").write_text(json.dumps({**SIZES, "hidden_size": 24}))
    with pytest.raises(ValueError, match="contradicts the weights"):
        checkpoints.open_checkpoint(directory)


def test_a_checkpoint_without_a_generator_says_so(tmp_path):
    weights = weights_of(WIDE, DISCRIMINATOR)
    directory = write(tmp_path / "electra", names(weights, "electra"))
    with pytest.raises(ValueError, match="it has no `generator/encoder/layer_0"):
        checkpoints.open_checkpoint(directory, "google_electra_generator")
