"""LoRA on tasks: `fit`, `predict`, the head beside the adapter, and files."""

import keras
import numpy as np
import pytest
import safetensors.numpy

from bertzoo.models.backbone import Backbone
from bertzoo.models.loading import weights_of
from bertzoo.tasks.masked_lm import MaskedLM
from bertzoo.tasks.text_classifier import TextClassifier
from tests.tasks.conftest import CONFIG

LABELS = ["bad", "good"]
TEXTS = ["the cat sat on the mat.", "good", "a bad film", "paris is a great city"]
NAMES = ["bad", "good", "bad", "good"]


def new_classifier(preprocessor, seed=21, labels=LABELS):
    keras.utils.set_random_seed(seed)
    classifier = TextClassifier.from_backbone(Backbone(CONFIG), preprocessor, labels=labels)
    classifier.compile(keras.optimizers.Adam(1.0e-2), metrics=[])
    return classifier


def values(task):
    return {path: np.array(weight) for path, weight in weights_of(task.network).items()}


def fit(task, epochs=3):
    return task.fit(TEXTS, NAMES, epochs=epochs, verbose=0).history["loss"]


def test_training_changes_the_adapters_and_the_head_alone(preprocessor):
    classifier = new_classifier(preprocessor)
    classifier.enable_lora(rank=2)
    before = values(classifier)
    losses = fit(classifier, epochs=15)
    assert min(losses[-3:]) < losses[0]
    changed = {p for p, value in values(classifier).items() if not np.array_equal(value, before[p])}
    assert changed == {
        "layer_0/attention/query/lora_kernel_a",
        "layer_0/attention/query/lora_kernel_b",
        "layer_0/attention/value/lora_kernel_a",
        "layer_0/attention/value/lora_kernel_b",
        "text_classifier/logits/kernel",
        "text_classifier/logits/bias",
    }


@pytest.mark.long
@pytest.mark.parametrize("holder", ["task", "backbone"])
def test_functions_compiled_before_are_made_anew(holder, preprocessor):
    """As in KerasHub, `task.backbone.enable_lora` is enough; a stale graph would not learn."""
    classifier = new_classifier(preprocessor)
    classifier.predict(TEXTS)
    fit(classifier)  # the optimizer has variables for other weights now
    models = {"task": classifier, "backbone": classifier.backbone}
    models[holder].enable_lora(2)
    fit(classifier)
    expected = np.asarray(classifier(classifier.preprocessor(TEXTS)))
    np.testing.assert_allclose(classifier.predict(TEXTS), expected, atol=1e-5)
    models[holder].merge_lora()
    assert np.abs(classifier.predict(TEXTS) - expected).max() < 1e-5
    fit(classifier)
    assert len(classifier.trainable_weights) == len(values(classifier))


@pytest.mark.long
def test_an_adapter_brings_its_head_along(preprocessor, tmp_path):
    classifier = new_classifier(preprocessor)
    classifier.enable_lora(2)
    fit(classifier)
    classifier.save_lora_weights(tmp_path / "adapter")
    stored = safetensors.numpy.load_file(tmp_path / "adapter" / "adapter.safetensors")
    assert set(stored) == {weight.path for weight in classifier.trainable_weights}
    base = new_classifier(preprocessor)
    base.load_lora_weights(tmp_path / "adapter")
    np.testing.assert_array_equal(base.predict(TEXTS), classifier.predict(TEXTS))


def test_a_backbone_takes_the_adapters_without_the_head(preprocessor, tmp_path):
    classifier = new_classifier(preprocessor)
    classifier.enable_lora(2)
    fit(classifier)
    classifier.save_lora_weights(tmp_path / "adapter")
    backbone = new_classifier(preprocessor).backbone
    backbone.load_lora_weights(tmp_path / "adapter")
    ids = {"token_ids": np.array([[2, 7, 9, 3]])}
    np.testing.assert_array_equal(
        backbone(ids)["pooled_output"], classifier.backbone(ids)["pooled_output"]
    )
    # And an adapter of a backbone fits every task on it.
    backbone.save_lora_weights(tmp_path / "of_backbone")
    task = new_classifier(preprocessor)
    head = values(task)["text_classifier/logits/kernel"]
    task.load_lora_weights(tmp_path / "of_backbone")
    np.testing.assert_array_equal(values(task)["text_classifier/logits/kernel"], head)
    np.testing.assert_array_equal(
        task.backbone(ids)["pooled_output"], backbone(ids)["pooled_output"]
    )


def test_an_adapter_is_refused_by_another_head(preprocessor, tmp_path):
    classifier = new_classifier(preprocessor)
    classifier.enable_lora(2)
    classifier.save_lora_weights(tmp_path / "adapter")
    other = new_classifier(preprocessor, labels=["good", "bad"])
    with pytest.raises(ValueError, match="trained with another head"):
        other.load_lora_weights(tmp_path / "adapter")
    keras.utils.set_random_seed(21)
    masked_lm = MaskedLM.from_backbone(Backbone(CONFIG), preprocessor)
    with pytest.raises(ValueError, match="trained with another head"):
        masked_lm.load_lora_weights(tmp_path / "adapter")
    assert (other.backbone.lora, masked_lm.backbone.lora) == (None, None)


@pytest.mark.long
def test_a_preset_is_written_after_merging(preprocessor, tmp_path):
    classifier = new_classifier(preprocessor)
    classifier.enable_lora(2)
    fit(classifier)
    before = classifier.predict(TEXTS)
    with pytest.raises(ValueError, match="has a LoRA adapter"):
        classifier.save_to_preset(tmp_path / "preset")
    classifier.merge_lora()
    classifier.save_to_preset(tmp_path / "preset")
    loaded = TextClassifier.from_preset(tmp_path / "preset")
    np.testing.assert_array_equal(loaded.predict(TEXTS), classifier.predict(TEXTS))
    assert np.abs(loaded.predict(TEXTS) - before).max() < 1e-6


def test_a_keras_file_is_as_after_merging(preprocessor, tmp_path):
    classifier = new_classifier(preprocessor)
    classifier.backbone.embeddings.trainable = False
    classifier.enable_lora(2)
    classifier.save(tmp_path / "classifier.keras")
    loaded = keras.saving.load_model(tmp_path / "classifier.keras")
    np.testing.assert_array_equal(loaded.predict(TEXTS), classifier.predict(TEXTS))
    classifier.merge_lora()
    trained = {weight.path for weight in loaded.trainable_weights}
    assert trained == {weight.path for weight in classifier.trainable_weights}
    assert not any(path.startswith("embeddings/") for path in trained)


@pytest.mark.long
def test_an_optimizer_of_the_user_keeps_its_settings(preprocessor):
    classifier = new_classifier(preprocessor)
    fit(classifier)
    classifier.enable_lora(2)
    fit(classifier, epochs=1)
    assert float(classifier.optimizer.learning_rate) == pytest.approx(1.0e-2)
    assert int(classifier.optimizer.iterations) == 1
