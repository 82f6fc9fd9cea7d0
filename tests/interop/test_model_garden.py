"""Checkpoints and TF-Hub SavedModels that tf-models-official itself writes, and what it computes.

It needs Keras 2 and many packages beside it, so it runs in an interpreter of its own: set
BERTZOO_MODEL_GARDEN to one with tf-models-official, tf-keras and bertzoo's dependencies.
"""

import os
import pathlib
import subprocess
import textwrap

import numpy as np
import pytest

from bertzoo import checkpoints
from bertzoo.models.backbone import Backbone
from bertzoo.models.networks import network_from_preset

PYTHON = os.environ.get("BERTZOO_MODEL_GARDEN")
pytestmark = pytest.mark.skipif(
    PYTHON is None, reason="BERTZOO_MODEL_GARDEN names no interpreter with tf-models-official"
)
TOLERANCE = 1e-5

WRITE = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np
import tensorflow as tf
from official.modeling import tf_utils
from official.nlp.configs import encoders
from official.nlp.modeling import layers, models, networks
from official.nlp.tools import export_tfhub_lib

root = sys.argv[1]
rng = np.random.default_rng(0)
SIZES = dict(vocab_size=97, hidden_size=20, num_layers=2, num_attention_heads=4,
             max_sequence_length=13, type_vocab_size=3)
INPUTS = {
    "input_word_ids": rng.integers(0, 97, (3, 7)).astype("int32"),
    "input_mask": np.array([[1] * 7, [1] * 4 + [0] * 3, [1] * 7], "int32"),
    "input_type_ids": rng.integers(0, 3, (3, 7)).astype("int32"),
}
POSITIONS = np.array([[5, 1], [0, 2], [6, 6]], "int32")

def make(kind):
    if kind == "albert":
        return networks.AlbertEncoder(embedding_width=12, intermediate_size=37, **SIZES)
    cls = {"functional": networks.BertEncoder, "class": networks.BertEncoderV2}[kind]
    network = cls(inner_dim=37, **SIZES)
    network(INPUTS)
    return network

def shake(model):
    for variable in model.variables:
        if variable.dtype.is_floating:
            variable.assign(rng.normal(0.05, 0.4, variable.shape).astype("float32"))

def finish(name, checkpoint, outputs):
    folder = os.path.join(root, name)
    os.makedirs(folder, exist_ok=True)
    if checkpoint is not None:
        checkpoint.write(os.path.join(folder, "bert_model.ckpt-1"))
    np.savez(os.path.join(root, name + ".npz"), positions=POSITIONS, **INPUTS,
             **{k: np.asarray(v) for k, v in outputs.items()})

def encoded(network):
    outputs = network(INPUTS)
    if not isinstance(outputs, dict):
        outputs = dict(zip(("sequence_output", "pooled_output"), outputs))
    return {k: outputs[k] for k in ("sequence_output", "pooled_output")}

for kind in ("functional", "class", "albert"):
    network = make(kind)
    shake(network)
    finish(kind, tf.train.Checkpoint(encoder=network), encoded(network))

for kind in ("functional", "class"):
    network = make(kind)
    head = layers.ClassificationHead(inner_dim=20, num_classes=2, name="next_sentence")
    # As official.nlp.tasks.masked_lm builds it; by default the head would have no activation.
    model = models.BertPretrainerV2(encoder_network=network, classification_heads=[head],
                                    mlm_activation=tf_utils.get_activation("gelu"))
    inputs = dict(INPUTS, masked_lm_positions=POSITIONS)
    model(inputs)
    shake(model)
    outputs = model(inputs)
    logits = {k: outputs[k] for k in ("mlm_logits", "next_sentence")}
    finish(f"pretrainer_{kind}", tf.train.Checkpoint(model=model), logits)
    items = tf.train.Checkpoint(**model.checkpoint_items)
    finish(f"items_{kind}", items, {"mlm_logits": outputs["mlm_logits"]})

network = make("class")
optimizer = tf.keras.optimizers.Adam()
model = models.BertPretrainerV2(encoder_network=network)
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(model(dict(INPUTS, masked_lm_positions=POSITIONS))["mlm_logits"])
pairs = zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
optimizer.apply_gradients([pair for pair in pairs if pair[0] is not None])
shake(model)
checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, global_step=tf.Variable(3))
finish("trained", checkpoint, encoded(network))

model = models.BertClassifier(network=make("functional"), num_classes=3)
shake(model)
finish("classifier", tf.train.Checkpoint(model=model), {"logits": model(INPUTS)})

config = encoders.EncoderConfig(type="bert", bert=encoders.BertEncoderConfig(
    vocab_size=97, hidden_size=20, num_layers=2, num_attention_heads=4, intermediate_size=37,
    max_position_embeddings=13, type_vocab_size=3))
network = encoders.build_encoder(config)
model = models.BertPretrainerV2(encoder_network=network)
model(dict(INPUTS, masked_lm_positions=POSITIONS))
shake(model)
saved = tf.train.Checkpoint(**model.checkpoint_items).save(os.path.join(root, "hub_ckpt", "ckpt"))
vocabulary = os.path.join(root, "vocab.txt")
with open(vocabulary, "w") as file:
    file.write("\\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
                         + [f"w{i}" for i in range(92)]))
export_tfhub_lib.export_model(os.path.join(root, "hub"), encoder_config=config,
    model_checkpoint_path=saved, with_mlm=True, vocab_file=vocabulary, do_lower_case=True)
hub = tf.saved_model.load(os.path.join(root, "hub"))
outputs = dict(encoded(network), mlm_logits=hub.mlm(
    dict(INPUTS, masked_lm_positions=POSITIONS))["mlm_logits"])
finish("hub", None, outputs)
"""
CONFIG = textwrap.dedent("""
    {"vocab_size": 97, "hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4,
     "intermediate_size": 37, "max_position_embeddings": 13, "type_vocab_size": 3,
     "hidden_act": "gelu"}
""")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("garden")
    script = root / "write.py"
    script.write_text(WRITE)
    result = subprocess.run([PYTHON, script, root], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    for folder in root.iterdir():
        if folder.is_dir() and folder.name != "hub":
            config = CONFIG
            if folder.name == "albert":
                config = config.replace('"hidden_act"', '"embedding_size": 12, "hidden_act"')
            (folder / "bert_config.json").write_text(config)
    return root


def case(root: pathlib.Path, name):
    arrays = dict(np.load(root / f"{name}.npz"))
    inputs = {
        "token_ids": arrays["input_word_ids"],
        "segment_ids": arrays["input_type_ids"],
        "padding_mask": arrays["input_mask"],
    }
    return root / name, inputs, arrays


def assert_close(ours, theirs):
    ours = np.asarray(ours)
    assert ours.shape == theirs.shape
    scale = max(1.0, float(np.abs(theirs).max()))
    assert float(np.abs(ours - theirs).max()) < TOLERANCE * scale


@pytest.mark.parametrize("name", ["functional", "class", "albert", "trained", "hub"])
def test_encoders_of_the_garden_compute_the_same_here(name, written):
    directory, inputs, arrays = case(written, name)
    outputs = Backbone.from_preset(directory)(inputs)
    assert_close(outputs["sequence_output"], arrays["sequence_output"])
    if name != "trained":  # its untrained pooler is not the pretrainer's
        assert_close(outputs["pooled_output"], arrays["pooled_output"])


@pytest.mark.parametrize(
    "name",
    ["pretrainer_functional", "pretrainer_class", "items_functional", "items_class", "hub"],
)
def test_masked_words_of_the_garden_are_the_same_here(name, written):
    directory, inputs, arrays = case(written, name)
    network, _ = network_from_preset(directory, "masked_lm")
    logits = network({**inputs, "mask_positions": arrays["positions"]})
    assert_close(logits, arrays["mlm_logits"])


@pytest.mark.parametrize("name", ["pretrainer_functional", "pretrainer_class"])
def test_the_next_sentence_head_uses_its_trained_pooler(name, written):
    directory, inputs, arrays = case(written, name)
    network, _ = network_from_preset(directory, "next_sentence")
    assert_close(network(inputs), arrays["next_sentence"])


def test_a_sentence_classifier_of_the_garden_is_the_same_here(written):
    directory, inputs, arrays = case(written, "classifier")
    network, _ = network_from_preset(directory, "text_classifier")
    assert_close(network(inputs), arrays["logits"])


@pytest.mark.parametrize("name", ["functional", "albert", "pretrainer_class", "trained", "hub"])
def test_nothing_in_their_files_is_left_over(name, written):
    opened = checkpoints.open_checkpoint(written / name)
    assert dict(opened.all_weights())
    assert opened.format == "model_garden"
