"""bertzoo: the model zoo of BERT variants for Keras and TensorFlow.

Importing this package loads neither TensorFlow nor Keras; a public name loads what it needs.
"""

import importlib

__version__ = "0.1.0"

# Public name -> module that defines it.
_PUBLIC = {
    "Backbone": "bertzoo.models.backbone",
    "BackboneConfig": "bertzoo.config",
    "BytePairTokenizer": "bertzoo.tokenizers.byte_pair",
    "HeadConfig": "bertzoo.config",
    "MaskedLM": "bertzoo.tasks.masked_lm",
    "MultipleChoice": "bertzoo.tasks.multiple_choice",
    "Preprocessor": "bertzoo.preprocessing.preprocessor",
    "QuestionAnswerer": "bertzoo.tasks.question_answerer",
    "ResumableCheckpoint": "bertzoo.tasks.resuming",
    "SentencePieceTokenizer": "bertzoo.tokenizers.sentence_piece",
    "TextClassifier": "bertzoo.tasks.text_classifier",
    "TextEmbedder": "bertzoo.tasks.text_embedder",
    "TokenClassifier": "bertzoo.tasks.token_classifier",
    "TokenMasker": "bertzoo.preprocessing.masking",
    "Tokenizer": "bertzoo.tokenizers.base",
    "TokenizerConfig": "bertzoo.config",
    "WordPieceTokenizer": "bertzoo.tokenizers.wordpiece",
    "check_servable": "bertzoo.serving.check",
    "export_checkpoint": "bertzoo.checkpoints",
    "extract_features": "bertzoo.tasks.features",
    "export_saved_model": "bertzoo.serving.saved_model",
    "import_checkpoint": "bertzoo.checkpoints",
    "list_presets": "bertzoo.presets",
    "train_tokenizer": "bertzoo.tokenizers.train",
    "upload_preset": "bertzoo.checkpoints",
}

# Parts of the package that are used by their own name, as `bertzoo.adapt.add_tokens`.
_PARTS = (
    "adapt",
    "looking",
    "losses",
    "metrics",
    "optimizers",
    "readers",
    "reports",
    "training",
)

__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name in _PARTS:
        return importlib.import_module(f"bertzoo.{name}")
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'bertzoo' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__, *_PARTS})
