"""Saved and loaded again, as a preset directory or a `.keras` file, a task gives equal bits."""

import json
import warnings

import keras
import numpy as np
import pytest

from bertzoo import checkpoints
from bertzoo.models.loading import weights_of
from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.tasks.masked_lm import MaskedLM
from bertzoo.tasks.text_classifier import TextClassifier
from bertzoo.tasks.text_embedder import TextEmbedder


def test_a_preset_directory_gives_equal_bits(classifier, texts, tmp_path):
    classifier.save_to_preset(tmp_path / "preset")
    loaded = TextClassifier.from_preset(tmp_path / "preset")
    np.testing.assert_array_equal(loaded.predict(texts), classifier.predict(texts))
    assert loaded.labels == ("bad", "good")
    assert loaded.preprocessor.sequence_length == 24
    assert loaded.tokenizer.vocabulary == classifier.tokenizer.vocabulary


def test_a_preset_directory_holds_no_optimizer(classifier, tmp_path):
    classifier.save_to_preset(tmp_path / "preset")
    names = sorted(path.name for path in (tmp_path / "preset").iterdir())
    assert names == ["README.md", "preset.json", "vocabulary.txt", "weights.safetensors"]
    stored = (tmp_path / "preset" / "weights.safetensors").read_bytes()
    header = json.loads(stored[8 : 8 + int.from_bytes(stored[:8], "little")])
    assert set(header) - {"__metadata__"} == set(weights_of(classifier.network))


def test_a_task_without_a_tokenizer_can_be_saved(backbone, tmp_path):
    embedder = TextEmbedder.from_backbone(backbone, pooling=("cls", "max"), normalize=True)
    embedder.save_to_preset(tmp_path / "preset")
    loaded = TextEmbedder.from_preset(tmp_path / "preset")
    ids = {"token_ids": np.array([[2, 7, 9, 3]])}
    np.testing.assert_array_equal(loaded(ids), embedder(ids))
    with pytest.raises(ValueError, match="without a vocabulary"):
        loaded.predict(["a cat"])


def test_a_preset_of_another_task_says_which_heads_it_has(classifier, tmp_path):
    classifier.save_to_preset(tmp_path / "preset")
    with pytest.raises(ValueError, match=r"no masked_lm head.*text_classifier"):
        MaskedLM.from_preset(tmp_path / "preset")


def test_an_encoder_without_a_pooling_config_gives_the_mean(classifier, texts, tmp_path):
    classifier.save_to_preset(tmp_path / "preset")
    embedder = TextEmbedder.from_preset(tmp_path / "preset")
    assert (embedder.network.head.pooling, embedder.network.head.normalize) == (("mean",), False)
    features = embedder.preprocessor(texts)
    hidden = classifier.backbone(features)["sequence_output"].numpy()
    mask = features["padding_mask"].numpy()[..., None]
    mean = (hidden * mask).sum(axis=1) / mask.sum(axis=1)
    np.testing.assert_allclose(embedder.predict(texts), mean, atol=1e-5)


def test_pooling_can_be_asked_for(classifier, texts, tmp_path):
    classifier.save_to_preset(tmp_path / "preset")
    embedder = TextEmbedder.from_preset(tmp_path / "preset", pooling="cls", normalize=True)
    first = classifier.backbone(embedder.preprocessor(texts))["sequence_output"].numpy()[:, 0]
    wanted = first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.predict(texts), wanted, atol=1e-5)


def test_a_keras_file_goes_on_training_from_equal_bits(backbone, preprocessor, texts, tmp_path):
    classifier = TextClassifier.from_backbone(backbone, preprocessor, labels=["bad", "good"])
    classifier.compile(keras.optimizers.Adam(3e-3), metrics=[])
    backbone.embeddings.trainable = False
    classifier.fit(texts, ["bad", "good"] * 3, verbose=0)
    classifier.save(tmp_path / "classifier.keras")
    loaded = keras.saving.load_model(tmp_path / "classifier.keras")
    np.testing.assert_array_equal(loaded.predict(texts), classifier.predict(texts))
    assert loaded.labels == ("bad", "good")
    assert len(loaded.trainable_weights) == len(classifier.trainable_weights)
    assert int(loaded.optimizer.iterations) == 1
    pairs = zip(loaded.optimizer.variables, classifier.optimizer.variables, strict=True)
    for ours, saved in pairs:
        np.testing.assert_array_equal(ours.numpy(), saved.numpy())
    loaded.fit(texts, ["bad", "good"] * 3, verbose=0)
    assert int(loaded.optimizer.iterations) == 2


def test_a_loaded_classifier_still_spares_biases_from_decay(classifier, tmp_path):
    classifier.save(tmp_path / "classifier.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = keras.saving.load_model(tmp_path / "classifier.keras")
    spared = {
        variable.name
        for variable in loaded.trainable_variables
        if not loaded.optimizer.decays(variable.path)
    }
    assert spared == {"bias", "beta", "gamma"}


def test_a_masked_lm_in_a_keras_file_fills_alike(masked_lm, tmp_path):
    masked_lm.save(tmp_path / "masked_lm.keras")
    loaded = keras.saving.load_model(tmp_path / "masked_lm.keras")
    assert loaded.fill("paris is [MASK]") == masked_lm.fill("paris is [MASK]")


def test_config_rebuilds_the_task(embedder):
    again = TextEmbedder.from_config(embedder.get_config())
    assert again.get_config() == embedder.get_config()
    again.set_weights(embedder.get_weights())
    np.testing.assert_array_equal(again.predict(["a cat"]), embedder.predict(["a cat"]))


def test_where_a_model_comes_from_survives_a_keras_file(embedder, tmp_path):
    known = {"license": "MIT", "source": "hf://me/toy (abc)", "language": "en"}
    embedder = TextEmbedder.from_config(embedder.get_config())
    embedder._info = dict(known)
    embedder.save(tmp_path / "embedder.keras")
    keras.saving.load_model(tmp_path / "embedder.keras").save_to_preset(tmp_path / "preset")
    assert checkpoints.open_checkpoint(tmp_path / "preset").info == known
    assert "- License: MIT" in (tmp_path / "preset" / "README.md").read_text()


def test_a_preset_keeps_whether_special_tokens_are_read_in_texts(embedder, tmp_path):
    tokenizer = type(embedder.tokenizer)(embedder.tokenizer.vocabulary, special_tokens_in_text=True)
    reading = TextEmbedder(embedder.network, Preprocessor(tokenizer, 9))
    reading.save_to_preset(tmp_path / "preset")
    loaded = TextEmbedder.from_preset(tmp_path / "preset")
    assert loaded.tokenizer.config == tokenizer.config.replace(sequence_length=9)
    assert loaded.tokenizer("[MASK]").numpy().tolist() == [tokenizer.mask_id]
    assert embedder.tokenizer("[MASK]").numpy().tolist() != [tokenizer.mask_id]
