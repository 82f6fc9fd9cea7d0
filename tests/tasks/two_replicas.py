"""Fit, evaluate and predict on strings under MirroredStrategy, against one device.

Run by `test_keras_idioms.py`; the last batch has one row, so that one replica gets none.
"""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from bertzoo.config import BackboneConfig
from bertzoo.models.backbone import Backbone
from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.tasks.text_classifier import TextClassifier
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a the cat dog good bad film on mat"
CONFIG = BackboneConfig(
    vocabulary_size=17, num_layers=1, hidden_dim=20, num_heads=4, intermediate_dim=37,
    max_sequence_length=16, dropout=0.0, attention_dropout=0.0, initializer_range=0.3,
)  # fmt: skip
TEXTS = ["a good film", "bad", "the cat on the mat", "a bad bad film", "good dog"] * 3
NAMES = ["good", "bad", "good", "bad", "good"] * 3


def run(scope):
    with scope:
        keras.utils.set_random_seed(3)
        tokenizer = WordPieceTokenizer(WORDS.split())
        classifier = TextClassifier.from_backbone(
            Backbone(CONFIG), Preprocessor(tokenizer, 16), labels=["bad", "good"], dropout=0.0
        )
        classifier.compile(keras.optimizers.SGD(0.05))
    # Batches of even size: Keras averages the replicas' losses whatever their rows.
    classifier.fit(TEXTS[:12], NAMES[:12], batch_size=6, epochs=2, shuffle=False, verbose=0)
    classifier.fit(tf.data.Dataset.from_tensor_slices((TEXTS[:12], NAMES[:12])).batch(4), verbose=0)
    trained = classifier.get_weights()
    # 15 rows in batches of 7: the first has an odd number of rows, the last a single one.
    metrics = classifier.evaluate(TEXTS, NAMES, batch_size=7, verbose=0)
    outputs = [classifier.predict(TEXTS[:n], batch_size=7, verbose=0) for n in (15, 1)]
    classifier.fit(TEXTS, NAMES, batch_size=7, verbose=0)
    assert all(np.isfinite(weight).all() for weight in classifier.get_weights())
    return [np.array(metrics), *outputs, *trained]


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    for two, one in zip(run(strategy.scope()), run(contextlib.nullcontext()), strict=True):
        assert two.shape == one.shape
        np.testing.assert_allclose(two, one, atol=1e-5)
    print("replicas agree")


if __name__ == "__main__":
    main()
