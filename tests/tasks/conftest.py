"""A small encoder, its preprocessor, and tasks on them."""

import keras
import pytest

from bertzoo.config import BackboneConfig
from bertzoo.models.backbone import Backbone
from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.tasks.masked_lm import MaskedLM
from bertzoo.tasks.text_classifier import TextClassifier
from bertzoo.tasks.text_embedder import TextEmbedder
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
def preprocessor():
    return Preprocessor(WordPieceTokenizer(WORDS.split()), sequence_length=24)


@pytest.fixture
def backbone():
    keras.utils.set_random_seed(11)
    return Backbone(CONFIG)


@pytest.fixture(scope="session")
def classifier(preprocessor):
    """A classifier that no test may change."""
    keras.utils.set_random_seed(12)
    return TextClassifier.from_backbone(Backbone(CONFIG), preprocessor, labels=["bad", "good"])


@pytest.fixture(scope="session")
def embedder(preprocessor):
    """An embedder that no test may change."""
    keras.utils.set_random_seed(13)
    return TextEmbedder.from_backbone(Backbone(CONFIG), preprocessor, pooling=("mean",))


@pytest.fixture(scope="session")
def masked_lm(preprocessor):
    """A masked language model that no test may change."""
    keras.utils.set_random_seed(14)
    return MaskedLM.from_backbone(Backbone(CONFIG), preprocessor)


@pytest.fixture(scope="session")
def texts():
    return [
        "the cat sat on the mat.",
        "",
        "good",
        "a bad film " * 9,
        "paris is a great city",
        "dog",
    ]
