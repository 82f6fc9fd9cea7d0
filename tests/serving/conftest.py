"""One export of two tasks on one encoder, which most tests look at."""

import keras
import pytest

from bertzoo.config import BackboneConfig
from bertzoo.models.backbone import Backbone
from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.serving.saved_model import export_saved_model
from bertzoo.tasks.masked_lm import MaskedLM
from bertzoo.tasks.text_classifier import TextClassifier
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] . the a of is on paris france capital cat dog sat mat good bad "
    "film great city ##s ##ing"
)
CONFIG = BackboneConfig(
    vocabulary_size=31,
    num_layers=1,
    hidden_dim=20,
    num_heads=4,
    intermediate_dim=37,
    max_sequence_length=24,
    # Wide, so that outputs of random weights differ visibly between texts.
    initializer_range=0.3,
)


@pytest.fixture(scope="session")
def tasks():
    """A classifier and a masked language model on one encoder."""
    keras.utils.set_random_seed(21)
    preprocessor = Preprocessor(WordPieceTokenizer(WORDS.split()), sequence_length=24)
    backbone = Backbone(CONFIG)
    return {
        "sentiment": TextClassifier.from_backbone(backbone, preprocessor, labels=["bad", "good"]),
        "fill": MaskedLM.from_backbone(backbone, preprocessor),
    }


@pytest.fixture(scope="session")
def exported(tasks, tmp_path_factory):
    """The path of version 1."""
    return export_saved_model(tasks, tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="session")
def signatures(exported):
    """The signatures of the export as TensorFlow loads them."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(exported))
    found = dict(loaded.signatures)
    found["__keep__"] = loaded  # signatures do not keep their variables alive
    return found
