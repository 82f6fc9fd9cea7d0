"""Every table: each value in its place, there and back, and nothing missing or left over."""

import dataclasses

import numpy as np
import pytest

from bertzoo import checkpoints
from bertzoo.checkpoints import google, hugging_face, shapes, transforms
from bertzoo.checkpoints.tables import keras_hub as keras_hub_tables
from bertzoo.config import BackboneConfig
from tests.checkpoints import foreign

HEAD_TENSORS = {
    "masked_lm": {
        "hf_bert": {
            "cls.predictions.transform.dense.weight": ("masked_lm/dense/kernel", (20, 20)),
            "cls.predictions.transform.dense.bias": ("masked_lm/dense/bias", (20,)),
            "cls.predictions.transform.LayerNorm.weight": ("masked_lm/norm/gamma", (20,)),
            "cls.predictions.transform.LayerNorm.bias": ("masked_lm/norm/beta", (20,)),
            "cls.predictions.bias": ("masked_lm/bias", (97,)),
        },
        "hf_roberta": {
            "lm_head.dense.weight": ("masked_lm/dense/kernel", (20, 20)),
            "lm_head.dense.bias": ("masked_lm/dense/bias", (20,)),
            "lm_head.layer_norm.weight": ("masked_lm/norm/gamma", (20,)),
            "lm_head.layer_norm.bias": ("masked_lm/norm/beta", (20,)),
            "lm_head.bias": ("masked_lm/bias", (97,)),
        },
        "hf_electra": {
            "generator_predictions.dense.weight": ("masked_lm/dense/kernel", (12, 20)),
            "generator_predictions.dense.bias": ("masked_lm/dense/bias", (12,)),
            "generator_predictions.LayerNorm.weight": ("masked_lm/norm/gamma", (12,)),
            "generator_predictions.LayerNorm.bias": ("masked_lm/norm/beta", (12,)),
            "generator_lm_head.bias": ("masked_lm/bias", (97,)),
        },
        "hf_distilbert": {
            "vocab_transform.weight": ("masked_lm/dense/kernel", (20, 20)),
            "vocab_transform.bias": ("masked_lm/dense/bias", (20,)),
            "vocab_layer_norm.weight": ("masked_lm/norm/gamma", (20,)),
            "vocab_layer_norm.bias": ("masked_lm/norm/beta", (20,)),
            "vocab_projector.bias": ("masked_lm/bias", (97,)),
        },
        "hf_albert": {
            "predictions.dense.weight": ("masked_lm/dense/kernel", (12, 20)),
            "predictions.dense.bias": ("masked_lm/dense/bias", (12,)),
            "predictions.LayerNorm.weight": ("masked_lm/norm/gamma", (12,)),
            "predictions.LayerNorm.bias": ("masked_lm/norm/beta", (12,)),
            "predictions.bias": ("masked_lm/bias", (97,)),
        },
    },
    "next_sentence": {
        "hf_bert": {
            "cls.seq_relationship.weight": ("next_sentence/logits/kernel", (2, 20)),
            "cls.seq_relationship.bias": ("next_sentence/logits/bias", (2,)),
        },
        "hf_albert": {
            "sop_classifier.classifier.weight": ("next_sentence/logits/kernel", (2, 20)),
            "sop_classifier.classifier.bias": ("next_sentence/logits/bias", (2,)),
        },
    },
    "text_classifier": {
        "hf_bert": {
            "classifier.weight": ("text_classifier/logits/kernel", (5, 20)),
            "classifier.bias": ("text_classifier/logits/bias", (5,)),
        },
        "hf_roberta": {
            "classifier.dense.weight": ("text_classifier/hidden/kernel", (20, 20)),
            "classifier.dense.bias": ("text_classifier/hidden/bias", (20,)),
            "classifier.out_proj.weight": ("text_classifier/logits/kernel", (5, 20)),
            "classifier.out_proj.bias": ("text_classifier/logits/bias", (5,)),
        },
        "hf_electra": {
            "classifier.dense.weight": ("text_classifier/hidden/kernel", (20, 20)),
            "classifier.dense.bias": ("text_classifier/hidden/bias", (20,)),
            "classifier.out_proj.weight": ("text_classifier/logits/kernel", (5, 20)),
            "classifier.out_proj.bias": ("text_classifier/logits/bias", (5,)),
        },
        "hf_distilbert": {
            "pre_classifier.weight": ("text_classifier/hidden/kernel", (20, 20)),
            "pre_classifier.bias": ("text_classifier/hidden/bias", (20,)),
            "classifier.weight": ("text_classifier/logits/kernel", (5, 20)),
            "classifier.bias": ("text_classifier/logits/bias", (5,)),
        },
        "hf_albert": {
            "classifier.weight": ("text_classifier/logits/kernel", (5, 20)),
            "classifier.bias": ("text_classifier/logits/bias", (5,)),
        },
    },
    "token_classifier": {
        format: {
            "classifier.weight": ("token_classifier/logits/kernel", (5, 20)),
            "classifier.bias": ("token_classifier/logits/bias", (5,)),
        }
        for format in foreign.HF_FORMATS
    },
    "question_answerer": {
        format: {
            "qa_outputs.weight": ("question_answerer/logits/kernel", (2, 20)),
            "qa_outputs.bias": ("question_answerer/logits/bias", (2,)),
        }
        for format in foreign.HF_FORMATS
    },
    "discriminator": {
        "hf_electra": {
            "discriminator_predictions.dense.weight": ("discriminator/hidden/kernel", (20, 20)),
            "discriminator_predictions.dense.bias": ("discriminator/hidden/bias", (20,)),
            "discriminator_predictions.dense_prediction.weight": (
                "discriminator/logits/kernel",
                (1, 20),
            ),
            "discriminator_predictions.dense_prediction.bias": ("discriminator/logits/bias", (1,)),
        }
    },
}
CLASSES = {
    "hf_bert": "Bert",
    "hf_roberta": "Roberta",
    "hf_electra": "Electra",
    "hf_distilbert": "DistilBert",
    "hf_albert": "Albert",
}
SUFFIXES = {
    "masked_lm": "ForMaskedLM",
    "next_sentence": "ForNextSentencePrediction",
    "text_classifier": "ForSequenceClassification",
    "token_classifier": "ForTokenClassification",
    "question_answerer": "ForQuestionAnswering",
    "discriminator": "ForPreTraining",
}
HEADS = [(kind, format) for kind, formats in HEAD_TENSORS.items() for format in formats]


def encoder(tmp_path, format, seed=0):
    tensors = foreign.random_tensors(foreign.tensor_shapes(format), seed)
    directory = foreign.write_hugging_face(tmp_path / "theirs", format, tensors)
    return directory, tensors


def wanted_of(checkpoint):
    return checkpoints.variable_shapes(checkpoint.config, checkpoint.heads.values())


@pytest.mark.parametrize("format", foreign.HF_FORMATS)
def test_every_value_of_an_encoder_lands_in_its_place(format, tmp_path):
    directory, tensors = encoder(tmp_path, format)
    checkpoint = checkpoints.open_checkpoint(directory)
    assert checkpoint.format == format
    foreign.assert_equal_weights(
        checkpoint.all_weights(), foreign.expected_weights(format, tensors)
    )


@pytest.mark.parametrize(("kind", "format"), HEADS)
def test_every_value_of_a_head_lands_in_its_place(kind, format, tmp_path):
    rows = HEAD_TENSORS[kind][format]
    tensors = foreign.random_tensors(
        {**foreign.tensor_shapes(format), **{name: shape for name, (_, shape) in rows.items()}}
    )
    directory = foreign.write_hugging_face(
        tmp_path / "theirs", format, tensors, architectures=[CLASSES[format] + SUFFIXES[kind]]
    )
    checkpoint = checkpoints.open_checkpoint(directory)
    assert list(checkpoint.heads) == [kind]
    expected = foreign.expected_weights(format, tensors)
    for name, (path, shape) in rows.items():
        expected[path] = tensors[name].T if len(shape) == 2 else tensors[name]
    foreign.assert_equal_weights(checkpoint.all_weights(), expected)


@pytest.mark.parametrize("format", foreign.HF_FORMATS)
def test_an_encoder_exported_again_is_equal_to_the_bit(format, tmp_path):
    directory, tensors = encoder(tmp_path, format, seed=1)
    checkpoints.export_checkpoint(directory, tmp_path / "ours", "bertzoo")
    checkpoints.export_checkpoint(tmp_path / "ours", tmp_path / "back", format)
    again = checkpoints.open_checkpoint(tmp_path / "back").tensors
    assert sorted(again) == sorted(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(again.read(name), array, err_msg=name)


@pytest.mark.parametrize("format", foreign.HF_FORMATS)
def test_a_missing_and_an_extra_tensor_are_both_named(format, tmp_path):
    tensors = foreign.random_tensors(foreign.tensor_shapes(format))
    lost = foreign.NAMES[format].layer[3].format(i=1, g=1, j=1) + ".weight"
    del tensors[lost]
    tensors["encoder.layer.0.adapter.weight"] = np.ones((3, 2), np.float32)
    directory = foreign.write_hugging_face(tmp_path / "theirs", format, tensors)
    checkpoint = checkpoints.open_checkpoint(directory)
    with pytest.raises(ValueError, match="nothing was loaded") as error:
        checkpoint.all_weights()  # before the first array is asked for
    assert lost in str(error.value)
    assert "attention/output/kernel" in str(error.value)
    assert "encoder.layer.0.adapter.weight" in str(error.value)


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_one_missing_or_one_extra_tensor_is_enough(change, tmp_path):
    tensors = foreign.random_tensors(foreign.tensor_shapes("hf_bert"))
    if change == "missing":
        del tensors["encoder.layer.1.output.LayerNorm.bias"]
    else:
        tensors["encoder.layer.2.output.LayerNorm.bias"] = np.ones(20, np.float32)
    directory = foreign.write_hugging_face(tmp_path / "theirs", "hf_bert", tensors)
    with pytest.raises(ValueError, match=r"output\.LayerNorm\.bias|output_norm/beta"):
        checkpoints.open_checkpoint(directory).all_weights()


def test_a_shape_that_differs_from_the_network_is_named_with_both_shapes(tmp_path):
    checkpoint = checkpoints.open_checkpoint(encoder(tmp_path, "hf_bert")[0])
    wanted = wanted_of(checkpoint) | {"layer_0/intermediate/kernel": (20, 38)}
    with pytest.raises(ValueError, match=r"is \(37, 20\).*needs \(38, 20\)"):
        checkpoint.weights(wanted)


def test_a_part_that_the_network_lacks_may_stay_unused(tmp_path):
    checkpoint = checkpoints.open_checkpoint(encoder(tmp_path, "hf_bert")[0])
    assert checkpoint.config.pooler
    wanted = checkpoints.variable_shapes(checkpoint.config.replace(pooler=False))
    assert "pooler/kernel" not in dict(checkpoint.weights(wanted))
    only = dict(checkpoint.weights(wanted_of(checkpoint), parts={"pooler"}))
    assert sorted(only) == ["pooler/bias", "pooler/kernel"]


def test_a_tensor_of_a_part_that_the_network_has_may_not_stay_unused(tmp_path):
    checkpoint = checkpoints.open_checkpoint(encoder(tmp_path, "hf_bert")[0])
    wanted = checkpoints.variable_shapes(checkpoint.config.replace(num_segments=0))
    with pytest.raises(ValueError, match=r"nothing uses: embeddings.token_type_embeddings"):
        checkpoint.weights(wanted)


def with_identity(table):
    """The mistake: kernels are taken over as they are."""
    rows = [dataclasses.replace(row, transform=transforms.IDENTITY) for row in table.rows]
    return dataclasses.replace(table, rows=tuple(rows))


def test_a_forgotten_transpose_of_a_square_kernel_is_seen(tmp_path):
    """No shape check can see it, so the value test above must."""
    directory, tensors = encoder(tmp_path, "hf_bert")
    checkpoint = checkpoints.open_checkpoint(directory)
    wrong = dataclasses.replace(checkpoint, table=with_identity(checkpoint.table))
    square = {"pooler/kernel": (20, 20), "pooler/bias": (20,)}
    expected = foreign.expected_weights("hf_bert", tensors)
    expected = {path: expected[path] for path in square}
    foreign.assert_equal_weights(checkpoint.weights(square), expected)
    with pytest.raises(AssertionError, match="pooler/kernel"):
        foreign.assert_equal_weights(wrong.weights(square), expected)


def test_joining_heads_is_undone_by_splitting_them():
    config = BackboneConfig(hidden_dim=20, num_heads=4)
    kernel = np.arange(400.0).reshape(20, 20)
    split = transforms.JOIN_HEADS_LAST.save(kernel, config)
    assert split.shape == (20, 4, 5)
    # Head n owns the columns 5n to 5n + 4.
    np.testing.assert_array_equal(split[:, 2], kernel[:, 10:15])
    np.testing.assert_array_equal(transforms.JOIN_HEADS_LAST.load(split, config), kernel)
    split = transforms.JOIN_HEADS_FIRST.save(kernel, config)
    assert split.shape == (4, 5, 20)
    np.testing.assert_array_equal(split[2], kernel[10:15])
    np.testing.assert_array_equal(transforms.JOIN_HEADS_FIRST.load(split, config), kernel)


ALL_TABLES = {
    **{name: (module.TABLE, name) for name, module in hugging_face.FORMATS.items()},
    **{name: (module.TABLE, name) for name, module in google.FORMATS.items()},
    **{f"keras_hub_{n.lower()}": (f.table, n) for n, f in keras_hub_tables.CLASSES.items()},
    "keras_hub_electra_projected": (keras_hub_tables.ELECTRA_PROJECTED.table, "projected"),
}


@pytest.mark.parametrize("name", ALL_TABLES)
def test_saving_undoes_loading_for_every_row(name):
    table, _ = ALL_TABLES[name]
    config = BackboneConfig(
        vocabulary_size=97,
        num_layers=4,
        hidden_dim=20,
        num_heads=4,
        intermediate_dim=37,
        embedding_dim=12,
        max_sequence_length=13,
        num_groups=2,
        num_inner_layers=2,
    )
    generator = np.random.default_rng(0)
    known = checkpoints.variable_shapes(config)
    rows = [row for row in table.expand(config) if row.ours in known]
    assert len({row.theirs for row in rows}) == len(rows)
    for row in rows:
        shape = row.transform.their_shape(known[row.ours], config)
        theirs = generator.standard_normal(shape)
        ours = row.transform.load(theirs, config)
        assert ours.shape == known[row.ours], row
        np.testing.assert_array_equal(row.transform.save(ours, config), theirs)


@pytest.mark.parametrize("name", ALL_TABLES)
def test_every_table_fills_every_variable_of_its_encoder(name):
    """Each row's variable exists, each encoder variable has a row, no name stands twice."""
    table, _ = ALL_TABLES[name]
    config = BackboneConfig(embedding_dim=12, num_layers=4, num_groups=2, num_inner_layers=2)
    rows = table.expand(config)
    paths = {row.ours for row in rows if shapes.part_of(row.ours) == "backbone"}
    known = checkpoints.variable_shapes(config)
    backbone = {path for path in known if shapes.part_of(path) == "backbone"}
    optional = {"embeddings/projection/kernel", "embeddings/projection/bias"}
    optional |= {"embeddings/segment/embeddings"}
    assert paths <= backbone
    assert backbone - paths <= optional


def test_every_kind_of_head_has_the_shapes_of_the_contract():
    config = BackboneConfig(
        vocabulary_size=97, hidden_dim=20, num_heads=4, embedding_dim=12, num_layers=1
    )
    head = checkpoints.open_source("bert_toy").heads["text_embedder"]
    head = head.replace(pooling=("cls", "mean"), projections=((7, "tanh", True), (5, None, False)))
    assert shapes.head_shapes(config, head) == {
        "text_embedder/projection_0/kernel": (40, 7),
        "text_embedder/projection_0/bias": (7,),
        "text_embedder/projection_1/kernel": (7, 5),
    }
