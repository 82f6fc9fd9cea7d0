"""TensorFlow Model Garden checkpoints of every generation, found by walking the object graph."""

import json

import numpy as np
import pytest
import tensorflow as tf

from bertzoo import checkpoints
from bertzoo.config import HeadConfig
from tests.checkpoints import agreement
from tests.checkpoints import garden_objects as garden
from tests.reference import cases

# The Garden's gelu is the tanh form.
BERT = cases.SMALL.replace(activation="gelu_tanh")
ALBERT = cases.BACKBONES["albert"]
BERT_CONFIG = {
    "vocab_size": 31,
    "hidden_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 11,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
}
ALBERT_CONFIG = {**BERT_CONFIG, "num_hidden_layers": 3, "embedding_size": 9,
                 "num_hidden_groups": 1, "inner_group_num": 1}  # fmt: skip
PARAMS = """task:
  model:
    encoder:
      type: bert
      bert: {vocab_size: 31, hidden_size: 20, num_layers: 2, num_attention_heads: 4,
             intermediate_size: 37, max_position_embeddings: 11, type_vocab_size: 2,
             hidden_activation: gelu, dropout_rate: 0.1, embedding_size: null, norm_first: false}
"""
MASKED_LM = HeadConfig("masked_lm", hidden_activation="gelu_tanh")
GENERATIONS = ["class", "functional", "old", "2019"]


def weights_of(config, head=None):
    return cases.random_weights(cases.variable_shapes(config, head))


def save(directory, config, **objects):
    """Write a checkpoint of these objects, and bert_config.json beside it."""
    directory.mkdir(exist_ok=True)
    tf.train.Checkpoint(**objects).write(str(directory / "bert_model.ckpt-1"))
    if config is not None:
        (directory / "bert_config.json").write_text(json.dumps(config))
    return directory


@pytest.mark.parametrize("generation", GENERATIONS)
def test_an_encoder_computes_what_numpy_does(generation, tmp_path):
    weights = weights_of(BERT)
    thing = garden.encoder(BERT, garden.heads_apart(weights, BERT), generation)
    directory = save(tmp_path / "bert", BERT_CONFIG, encoder=thing)
    opened = agreement.assert_same_weights(directory, weights)
    assert (opened.format, opened.config) == ("model_garden", BERT)
    agreement.assert_same_outputs(directory, BERT, None, weights)


@pytest.mark.parametrize("root", ["model", "bert_layer", "outer"])
def test_the_encoder_is_found_wherever_it_hangs(root, tmp_path):
    weights = weights_of(BERT)
    thing = garden.encoder(BERT, garden.heads_apart(weights, BERT), "functional")
    if root == "outer":
        inner = garden.Thing(**{"layer_with_weights-0": thing})
        root, thing = "model", garden.Thing(encoder_network=inner)
    agreement.assert_same_weights(save(tmp_path / "b", BERT_CONFIG, **{root: thing}), weights)


def test_heads_may_be_joined_in_files_of_2019(tmp_path):
    weights = weights_of(BERT)
    directory = save(tmp_path / "b", BERT_CONFIG, model=garden.encoder(BERT, weights, "2019"))
    agreement.assert_same_weights(directory, weights)


@pytest.mark.parametrize("generation", ["functional", "class"])
def test_one_shared_layer_makes_an_albert(generation, tmp_path):
    weights = weights_of(ALBERT)
    thing = garden.encoder(ALBERT, garden.heads_apart(weights, ALBERT), generation)
    directory = save(tmp_path / "albert", ALBERT_CONFIG, encoder=thing)
    # The file leaves out the rates, which are 0.1 in the Garden.
    config = ALBERT.replace(dropout=0.1, attention_dropout=0.1)
    assert checkpoints.open_checkpoint(directory).config == config
    agreement.assert_same_outputs(directory, ALBERT, None, weights)


@pytest.mark.parametrize("first", [False, True], ids=["positions first", "types first"])
def test_tables_without_names_are_told_by_their_rows(first, tmp_path):
    weights = weights_of(BERT)
    apart = garden.heads_apart(weights, BERT)
    thing = garden.encoder(BERT, apart, "functional", named=False, type_table_first=first)
    agreement.assert_same_weights(save(tmp_path / "b", BERT_CONFIG, encoder=thing), weights)


def test_params_yaml_describes_the_encoder_too(tmp_path):
    weights = weights_of(BERT)
    thing = garden.encoder(BERT, garden.heads_apart(weights, BERT), "class")
    directory = save(tmp_path / "bert", None, encoder=thing)
    (directory / "params.yaml").write_text(PARAMS)
    assert agreement.assert_same_weights(directory, weights).config == BERT
    (directory / "params.yaml").write_text(PARAMS.replace("norm_first: false", "norm_first: true"))
    with pytest.raises(ValueError, match="`norm_first`: True, but BERT normalises after"):
        checkpoints.open_checkpoint(directory)


def test_a_tied_token_table_is_stored_once_and_found_from_both_sides(tmp_path):
    weights = weights_of(BERT, MASKED_LM)
    thing = garden.encoder(BERT, garden.heads_apart(weights, BERT), "functional")
    # Named first, the head's path becomes the key: no key of the encoder has the table.
    head = garden.masked_lm(weights, garden.word_table(thing))
    directory = save(tmp_path / "bert", BERT_CONFIG, masked_lm=head, zencoder=thing)
    keys = [name for name, _ in tf.train.list_variables(str(directory / "bert_model.ckpt-1"))]
    assert sum("embeddings/" in key and "weights-0" in key for key in keys) == 0
    opened = agreement.assert_same_weights(directory, weights)
    assert opened.heads["masked_lm"].tie_embeddings
    agreement.assert_same_outputs(directory, BERT, MASKED_LM, weights)


def test_a_decoder_of_its_own_is_kept(tmp_path):
    head = MASKED_LM.replace(tie_embeddings=False)
    weights = weights_of(BERT, head)
    thing = garden.encoder(BERT, garden.heads_apart(weights, BERT), "class")
    decoder = tf.Variable(weights["masked_lm/decoder/embeddings"])
    objects = {"encoder": thing, "masked_lm": garden.masked_lm(weights, decoder)}
    directory = save(tmp_path / "bert", BERT_CONFIG, **objects)
    assert not agreement.assert_same_weights(directory, weights).heads["masked_lm"].tie_embeddings


@pytest.mark.parametrize("items", [False, True], ids=["model=", "checkpoint_items"])
def test_the_trained_pooler_is_that_of_the_next_sentence_head(items, tmp_path):
    head = HeadConfig("next_sentence", num_outputs=2, dropout=0.0)
    weights = weights_of(BERT, head)
    apart = garden.heads_apart(weights, BERT)
    untrained = {**apart, "pooler/kernel": garden.noise((20, 20)), "pooler/bias": garden.noise(20)}
    thing = garden.encoder(BERT, untrained, "functional")
    trained = (weights["pooler/kernel"], weights["pooler/bias"])
    logits = (weights["next_sentence/logits/kernel"], weights["next_sentence/logits/bias"])
    network = garden.classification_head(trained, logits, "bert/next_sentence")
    if items:
        objects = {"encoder": thing, "next_sentence.pooler_dense": network.dense}
        weights = {k: v for k, v in weights.items() if not k.startswith("next_sentence")}
    else:
        model = garden.Thing(encoder_network=thing, classification_heads=[network])
        objects = {"model": model}
    directory = save(tmp_path / "bert", BERT_CONFIG, **objects)
    agreement.assert_same_weights(directory, weights)
    agreement.assert_same_outputs(directory, BERT, None if items else head, weights)


def test_a_sentence_classifier_reads_the_pooled_vector_or_its_own_layer(tmp_path):
    for inner in (False, True):
        head = HeadConfig("text_classifier", num_outputs=3)
        if inner:
            head = head.replace(input="first_token", hidden_activation="tanh")
        weights = weights_of(BERT, head)
        thing = garden.encoder(BERT, garden.heads_apart(weights, BERT), "class")
        pairs = {
            part: tuple(
                weights.get(f"text_classifier/{part}/{last}") for last in ("kernel", "bias")
            )
            for part in ("hidden", "logits")
        }
        network = garden.classification_head(
            pairs["hidden"] if inner else None, pairs["logits"], "bert_classifier/sentence"
        )
        model = garden.Thing(encoder_network=thing, classifier=network)
        directory = save(tmp_path / f"b{inner}", BERT_CONFIG, model=model)
        agreement.assert_same_weights(directory, weights)
        agreement.assert_same_outputs(directory, BERT, head, weights)


def test_optimizers_and_counters_are_left_out(tmp_path):
    weights = weights_of(BERT)
    thing = garden.encoder(BERT, garden.heads_apart(weights, BERT), "class")
    slots = garden.Thing(_variables=[tf.Variable(garden.noise((31, 20)), name="Adam/m/word")])
    step = tf.Variable(3, dtype=tf.int64)
    objects = {"model": thing, "optimizer": slots, "global_step": step}
    agreement.assert_same_weights(save(tmp_path / "b", BERT_CONFIG, **objects), weights)


def test_something_else_in_the_file_is_named(tmp_path):
    weights = weights_of(BERT)
    thing = garden.encoder(BERT, garden.heads_apart(weights, BERT), "class")
    odd = garden.Thing(gate=tf.Variable(garden.noise(20)))
    directory = save(tmp_path / "b", BERT_CONFIG, model=thing, adapter=odd)
    with pytest.raises(ValueError, match="nothing uses: adapter/gate"):
        checkpoints.open_checkpoint(directory).all_weights()


def test_layers_that_contradict_the_configuration_are_counted(tmp_path):
    weights = weights_of(BERT)
    thing = garden.encoder(BERT, garden.heads_apart(weights, BERT), "functional")
    directory = save(tmp_path / "b", {**BERT_CONFIG, "num_hidden_layers": 5}, encoder=thing)
    with pytest.raises(ValueError, match="asks for 5 layers, but the weights hold 2"):
        checkpoints.open_checkpoint(directory)


def saved_model(directory, thing, **more):
    """A SavedModel as TF-Hub has them: variables/, assets/ and a graph that we never read."""
    lowercase = tf.Variable(True, trainable=False)
    model = garden.Thing(inner=thing, do_lower_case=lowercase, **more)
    model.variables_in_order = list(thing.variables)
    tf.saved_model.save(model, str(directory))
    (directory / "saved_model.pb").write_bytes(b"not a graph")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"T{i}" for i in range(26))]
    (directory / "assets").mkdir(exist_ok=True)
    (directory / "assets" / "vocab.txt").write_text("\n".join(tokens) + "\n")
    return directory


@pytest.mark.parametrize("generation", ["functional", "class", "2019"])
def test_a_saved_model_is_read_from_its_variables_alone(generation, tmp_path):
    weights = weights_of(BERT, MASKED_LM)
    thing = garden.encoder(BERT, garden.heads_apart(weights, BERT), generation)
    head = garden.masked_lm(weights, garden.word_table(thing))
    directory = saved_model(tmp_path / "hub", thing, mlm=garden.Thing(masked_lm=head))
    opened = agreement.assert_same_weights(directory, weights)
    # No configuration comes with it: the shapes say all but the rates.
    assert opened.config == BERT
    assert opened.tokenizer.lowercase
    assert opened.files["vocabulary"] == directory / "assets" / "vocab.txt"
    agreement.assert_same_outputs(directory, BERT, MASKED_LM, weights)


def test_a_saved_model_of_albert_needs_its_configuration(tmp_path):
    weights = weights_of(ALBERT)
    thing = garden.encoder(ALBERT, garden.heads_apart(weights, ALBERT), "functional")
    directory = saved_model(tmp_path / "hub", thing)
    with pytest.raises(ValueError, match="do not say how often the shared layer runs; put"):
        checkpoints.open_checkpoint(directory)
    (directory / "assets" / "albert_config.json").write_text(json.dumps(ALBERT_CONFIG))
    agreement.assert_same_outputs(directory, ALBERT, None, weights)


def test_the_activation_is_the_tanh_form_unless_it_is_given(tmp_path):
    weights = weights_of(BERT)
    thing = garden.encoder(BERT, garden.heads_apart(weights, BERT), "class")
    directory = save(tmp_path / "b", BERT_CONFIG, encoder=thing)
    opened = checkpoints.open_checkpoint(directory, activation="gelu")
    assert opened.config.activation == "gelu"
    assert checkpoints.open_checkpoint(directory).config.activation == "gelu_tanh"


def test_an_object_checkpoint_without_an_encoder_is_refused(tmp_path):
    directory = save(tmp_path / "b", BERT_CONFIG, model=garden.Thing(x=tf.Variable(np.ones(3))))
    with pytest.raises(ValueError, match="no BERT encoder of the Model Garden"):
        checkpoints.open_checkpoint(directory)
