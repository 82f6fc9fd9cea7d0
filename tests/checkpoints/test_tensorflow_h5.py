"""tf_model.h5 of transformers' old TensorFlow classes."""

import json

import h5py
import numpy as np
import pytest

from bertzoo import checkpoints
from tests.checkpoints import agreement, spelled

# (row of cases, family, configuration, the class that wrote it)
WRITTEN = [
    ("bert", "bert", "bert", "tf_bert_model"),
    ("masked_lm", "bert", "bert", "tf_bert_for_pre_training"),
    ("next_sentence", "bert", "bert", "tf_bert_for_next_sentence_prediction_1"),
    ("classifier_roberta", "roberta", "roberta", "tf_roberta_for_sequence_classification"),
    ("masked_lm_albert", "albert", "albert", "tf_albert_for_masked_lm"),
    ("classifier_first_token", "distilbert", "distilbert", "tf_distil_bert_for_sequence"),
    ("discriminator", "electra", "electra_small", "tf_electra_for_pre_training"),
]
CLASSIFIERS = {
    "roberta": "TFRobertaForSequenceClassification",
    "distilbert": "TFDistilBertForSequenceClassification",
}


def write(directory, config, arrays, **more):
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({**spelled.HF_CONFIGS[config], **more}))
    with h5py.File(directory / "tf_model.h5", "w") as file:
        for name, value in arrays.items():
            file[name] = value
    return directory


@pytest.mark.parametrize(("row", "family", "name", "model"), WRITTEN, ids=[w[0] for w in WRITTEN])
def test_a_model_of_tensorflow_computes_what_numpy_does(row, family, name, model, tmp_path):
    config, head, weights = agreement.weights_of(row)
    # Of the configuration there is one epsilon, for the encoder and the head.
    more = {"layer_norm_eps": head.layer_norm_epsilon} if row == "masked_lm_albert" else {}
    if more:
        config = config.replace(layer_norm_epsilon=head.layer_norm_epsilon)
    if family == "albert":
        more["hidden_act"] = "gelu_new"
    if row.startswith("classifier"):
        more["architectures"] = [CLASSIFIERS[family]]
    directory = write(tmp_path / "m", name, spelled.tensorflow(family, weights, model), **more)
    agreement.assert_same_weights(directory, weights)
    agreement.assert_same_outputs(directory, config, head, weights)


def test_a_layer_that_two_others_share_may_lie_there_twice(tmp_path):
    _, _, weights = agreement.weights_of("masked_lm")
    arrays = spelled.tensorflow("bert", weights, "tf_bert_for_masked_lm")
    table = "tf_bert_for_masked_lm/bert/embeddings/word_embeddings/weight:0"
    arrays[f"mlm___cls/{table}"] = arrays[f"bert/{table}"]
    agreement.assert_same_weights(write(tmp_path / "m", "bert", arrays), weights)
    arrays[f"mlm___cls/{table}"] = arrays[f"bert/{table}"] + 1
    with pytest.raises(ValueError, match=r"word_embeddings/weight:0` both stand .* and\s+differ"):
        checkpoints.open_checkpoint(write(tmp_path / "n", "bert", arrays))


def test_newer_classes_call_the_token_table_embeddings(tmp_path):
    _, _, weights = agreement.weights_of("bert")
    arrays = {
        name.replace("word_embeddings/weight:0", "word_embeddings/embeddings:0"): value
        for name, value in spelled.tensorflow("bert", weights, "tf_bert_model_2").items()
    }
    agreement.assert_same_weights(write(tmp_path / "m", "bert", arrays), weights)


def test_kernels_are_shown_as_pytorch_has_them(tmp_path):
    from bertzoo.checkpoints.tensorflow_h5 import TensorFlowH5Reader

    path = tmp_path / "tf_model.h5"
    kernel = np.arange(6.0).reshape(2, 3)
    with h5py.File(path, "w") as file:
        file["classifier/tf_bert/classifier/kernel:0"] = kernel
    reader = TensorFlowH5Reader(path)
    assert reader.shapes == {"classifier.weight": (3, 2)}
    np.testing.assert_array_equal(reader.read("classifier.weight"), kernel.T)


def test_an_array_that_holds_no_numbers_is_refused(tmp_path):
    _, _, weights = agreement.weights_of("bert")
    arrays = spelled.tensorflow("bert", weights, "tf_bert_model")
    name = "bert/tf_bert_model/bert/pooler/dense/bias:0"
    arrays[name] = np.array([b"touch ran"] * 20)
    opened = checkpoints.open_checkpoint(write(tmp_path / "m", "bert", arrays))
    with pytest.raises(ValueError, match="pooler/dense/bias:0` does not hold numbers"):
        dict(opened.all_weights())
