"""ALBERT end to end on strings: its own files in, tasks, our directory out and in again."""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo import checkpoints, cli
from bertzoo.config import BackboneConfig
from bertzoo.models.backbone import Backbone
from bertzoo.preprocessing.preprocessor import Preprocessor, preprocessor_of_checkpoint
from bertzoo.tasks.masked_lm import MaskedLM
from bertzoo.tasks.text_classifier import TextClassifier
from bertzoo.tasks.text_embedder import TextEmbedder
from bertzoo.tokenizers.sentence_piece import SentencePieceTokenizer
from tests.checkpoints import foreign

MODEL = pathlib.Path(__file__).parents[1] / "data" / "albert-tiny" / "spiece.model"
CONFIG = BackboneConfig(
    vocabulary_size=1000,
    num_layers=2,
    hidden_dim=20,
    num_heads=4,
    intermediate_dim=37,
    embedding_dim=12,
    max_sequence_length=24,
    num_groups=1,
    initializer_range=0.3,
)
TEXTS = ["The fire, in 1999, ☃", "", "``Déjà vu''", "a longer text of the sea " * 9]


@pytest.fixture(scope="module")
def tokenizer():
    return SentencePieceTokenizer(MODEL)


@pytest.fixture(scope="module")
def preprocessor(tokenizer):
    return Preprocessor(tokenizer, sequence_length=24)


@pytest.fixture
def backbone():
    keras.utils.set_random_seed(3)
    return Backbone(CONFIG)


@pytest.fixture
def albert(tmp_path):
    """A directory of Hugging Face's ALBERT with its tokenizer's files."""
    shapes = foreign.tensor_shapes("hf_albert")
    table = "embeddings.word_embeddings.weight"
    assert shapes[table] == (foreign.V, foreign.E)
    shapes[table] = (1000, foreign.E)
    directory = foreign.write_hugging_face(
        tmp_path / "albert", "hf_albert", foreign.random_tensors(shapes), vocab_size=1000
    )
    shutil.copy(MODEL, directory / "spiece.model")
    return directory


def test_pairs_are_packed_as_albert_does(preprocessor, tokenizer):
    features = preprocessor({"text": ["the fire"], "text_pair": ["of it"]})
    ids = [2, *tokenizer("the fire").numpy(), 3, *tokenizer("of it").numpy(), 3]
    assert features["token_ids"].numpy()[0, : len(ids)].tolist() == ids
    assert features["segment_ids"].numpy()[0, : len(ids)].tolist() == [0] * 4 + [1] * 3


@pytest.mark.long
def test_a_classifier_learns_from_strings_and_comes_back_from_its_directory(
    backbone, preprocessor, tmp_path
):
    task = TextClassifier.from_backbone(backbone, preprocessor, labels=["bad", "good"])
    task.compile("adam", "sparse_categorical_crossentropy")
    task.fit(TEXTS, ["bad", "good", "bad", "good"], epochs=1, verbose=0)
    directory = task.save_to_preset(tmp_path / "preset")
    assert (directory / "vocabulary.spm").read_bytes() == MODEL.read_bytes()
    again = TextClassifier.from_preset(directory)
    np.testing.assert_allclose(again.predict(TEXTS, verbose=0), task.predict(TEXTS, verbose=0))


def test_a_task_comes_back_from_a_keras_file(backbone, preprocessor, tmp_path):
    task = TextEmbedder.from_backbone(backbone, preprocessor, pooling=("mean",))
    task.save(tmp_path / "task.keras")
    again = keras.saving.load_model(tmp_path / "task.keras")
    np.testing.assert_allclose(again.predict(TEXTS, verbose=0), task.predict(TEXTS, verbose=0))


def test_masks_are_filled_with_whole_words_and_ends_of_words(backbone, preprocessor):
    task = MaskedLM.from_backbone(backbone, preprocessor)
    fills = task.fill("The [MASK].", top_k=1000)
    by_token = {fill.token: fill.text for fill in fills}
    assert by_token["▁of"] == "The of."
    assert by_token["s"] == "Thes."
    assert sum(fill.score for fill in fills) == pytest.approx(1, abs=1e-4)


@pytest.mark.long
def test_hugging_faces_albert_reads_strings(albert, tokenizer, tmp_path):
    task = TextEmbedder.from_preset(albert, pooling=("mean",))
    assert task.preprocessor.sequence_length == foreign.P
    assert task.tokenizer.config == tokenizer.config.replace(sequence_length=None)
    vectors = task.predict(TEXTS, verbose=0)
    again = TextEmbedder.from_preset(task.save_to_preset(tmp_path / "ours"))
    np.testing.assert_allclose(again.predict(TEXTS, verbose=0), vectors, rtol=1e-6)


def test_settings_of_the_tokenizer_are_read_and_written(albert, tmp_path):
    settings = {"do_lower_case": False, "keep_accents": True, "model_max_length": 7}
    (albert / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    opened = checkpoints.open_checkpoint(albert)
    config = opened.tokenizer
    assert (config.lowercase, config.strip_accents, config.sequence_length) == (False, False, 7)
    directory = checkpoints.export_checkpoint(opened, tmp_path / "theirs", "hf_albert")
    assert checkpoints.open_checkpoint(directory).tokenizer == config
    assert (directory / "spiece.model").read_bytes() == MODEL.read_bytes()


def test_googles_file_name_is_found(albert):
    (albert / "spiece.model").rename(albert / "30k-clean.model")
    preprocessor, missing = preprocessor_of_checkpoint(checkpoints.open_checkpoint(albert))
    assert missing == ""
    assert preprocessor.tokenizer.vocabulary_size == 1000


def test_a_model_of_another_size_is_refused(albert):
    config = json.loads((albert / "config.json").read_text("utf-8"))
    assert config["vocab_size"] == 1000
    (albert / "spiece.model").write_bytes(MODEL.read_bytes()[:9000])
    with pytest.raises(ValueError, match=r"spiece\.model.*cut off"):
        TextEmbedder.from_preset(albert, pooling=("mean",))


def test_the_vocabulary_of_xlm_roberta_is_not_taken_for_alberts(albert):
    (albert / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "XLMRobertaTokenizer", "cls_token": "<s>"}), "utf-8"
    )
    preprocessor, missing = preprocessor_of_checkpoint(checkpoints.open_checkpoint(albert))
    assert preprocessor is None
    assert "XLM-RoBERTa" in missing


def test_the_command_tokenizes_and_embeds(albert, capsys):
    assert cli.main(["tokenize", str(albert), "The fire, 14,", "--offsets", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["tokens"] == ["▁the", "▁fire", ",", "▁1", "4", ","]
    assert answer["offsets"][:2] == [[0, 3], [4, 8]]


def test_a_graph_with_the_preprocessor_holds_the_model(preprocessor, tmp_path):
    module = tf.Module()
    module.preprocessor = preprocessor
    spec = [tf.TensorSpec([None], tf.string)]
    module.run = tf.function(lambda texts: preprocessor(texts)["token_ids"], input_signature=spec)
    tf.saved_model.save(module, tmp_path)
    loaded = tf.saved_model.load(tmp_path)
    texts = tf.constant(TEXTS)
    assert loaded.run(texts).numpy().tolist() == module.run(texts).numpy().tolist()


def test_the_preprocessor_stands_between_keras_inputs(preprocessor):
    text = keras.Input((), dtype="string")
    model = keras.Model(text, preprocessor(text))
    found = model(tf.constant(TEXTS))["token_ids"].numpy()
    assert found.tolist() == preprocessor(TEXTS)["token_ids"].numpy().tolist()
