"""What Keras users do with a model works on a task."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.tasks.text_classifier import TextClassifier


def test_strings_go_through_preprocessor_and_task_in_one_functional_model(classifier, texts):
    text = keras.Input((), dtype="string", name="text")
    model = keras.Model(text, keras.layers.Softmax()(classifier(classifier.preprocessor(text))))
    probabilities = model(tf.constant(texts)).numpy()
    wanted = [one.probabilities["good"] for one in classifier.classify(texts)]
    np.testing.assert_allclose(probabilities[:, 1], wanted, atol=1e-5)


def test_a_mapped_dataset_of_ids_is_trained_on_as_it_is(classifier, texts):
    dataset = tf.data.Dataset.from_tensor_slices((texts, [0, 1] * 3)).batch(4)
    on_ids = classifier.evaluate(dataset.map(classifier.preprocessor), verbose=0)
    np.testing.assert_allclose(on_ids, classifier.evaluate(dataset, verbose=0), atol=1e-6)


def test_labels_by_name_go_with_ids_too(classifier, texts):
    ids = classifier.preprocessor(texts)
    on_names = classifier.evaluate(ids, ["bad", "good"] * 3, verbose=0)
    np.testing.assert_allclose(
        on_names, classifier.evaluate(texts, [0, 1] * 3, verbose=0), atol=1e-6
    )


def test_frozen_layers_stay(backbone, preprocessor, texts):
    classifier = TextClassifier.from_backbone(backbone, preprocessor, labels=["bad", "good"])
    classifier.compile(keras.optimizers.SGD(0.1))
    backbone.embeddings.trainable = False
    before = {weight.path: weight.numpy() for weight in classifier.network.weights}
    classifier.fit(texts, ["bad", "good"] * 3, verbose=0)
    moved = {
        weight.path.split("/")[0]
        for weight in classifier.network.weights
        if not np.array_equal(before[weight.path], weight.numpy())
    }
    assert moved == {"layer_0", "pooler", "text_classifier"}


def test_a_python_stream_of_ids_is_left_to_keras(embedder, texts):
    ids = {key: value.numpy() for key, value in embedder.preprocessor(texts).items()}

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return ({key: value[2 * index : 2 * index + 2] for key, value in ids.items()},)

    vectors = embedder.predict(Batches(), verbose=0)
    np.testing.assert_allclose(vectors, embedder.predict(texts, verbose=0), atol=1e-5)


def test_summary_shows_the_layers_inside(classifier):
    lines = []
    classifier.summary(print_fn=lines.append)
    assert any("layer_0" in line for line in "\n".join(lines).splitlines())


def test_fixed_padding_gives_static_shapes(classifier, texts):
    config = {**classifier.preprocessor.get_config(), "padding": "fixed"}
    fixed = type(classifier.preprocessor).from_config(config)
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(3, drop_remainder=True).map(fixed)
    assert dataset.element_spec["token_ids"].shape == (3, 24)
    task = TextClassifier(classifier.network, fixed)
    np.testing.assert_allclose(task.predict(texts), classifier.predict(texts), atol=1e-5)


@pytest.mark.long
def test_two_replicas_train_and_predict_as_one_device():
    # In a process of its own: logical devices are set before TensorFlow starts.
    script = pathlib.Path(__file__).with_name("two_replicas.py")
    top = str(pathlib.Path(__file__).resolve().parents[2])
    result = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": top, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "replicas agree" in result.stdout
