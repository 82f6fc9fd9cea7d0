"""The public names: they resolve, they are listed, and they say how they are used."""

import importlib
import inspect

import pytest

import bertzoo

PUBLIC = [
    "Backbone",
    "BackboneConfig",
    "BytePairTokenizer",
    "HeadConfig",
    "MaskedLM",
    "MultipleChoice",
    "Preprocessor",
    "QuestionAnswerer",
    "ResumableCheckpoint",
    "SentencePieceTokenizer",
    "TextClassifier",
    "TextEmbedder",
    "TokenClassifier",
    "TokenMasker",
    "Tokenizer",
    "TokenizerConfig",
    "WordPieceTokenizer",
    "check_servable",
    "export_checkpoint",
    "extract_features",
    "export_saved_model",
    "import_checkpoint",
    "list_presets",
    "train_tokenizer",
    "upload_preset",
]

TASKS = [
    "MaskedLM",
    "MultipleChoice",
    "QuestionAnswerer",
    "TextClassifier",
    "TextEmbedder",
    "TokenClassifier",
]


def test_the_public_names_are_these():
    assert sorted(bertzoo.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", sorted(bertzoo.__all__))
def test_a_public_name_resolves_to_what_bears_it(name):
    value = getattr(bertzoo, name)
    assert inspect.isclass(value) or inspect.isfunction(value)
    assert value.__module__.startswith("bertzoo.")
    # The second look-up is a plain attribute and gives the same thing.
    assert getattr(bertzoo, name) is value


@pytest.mark.parametrize("name", sorted(bertzoo.__all__))
def test_a_public_name_has_a_docstring_with_an_example(name):
    text = inspect.getdoc(getattr(bertzoo, name)) or ""
    assert len(text.split("\n")[0]) > 10, "the first line says what it is"
    assert ">>> " in text or "```python" in text, "an example says how it is used"


@pytest.mark.parametrize("name", sorted(bertzoo.__all__))
def test_the_arguments_of_a_public_name_are_described(name):
    value = getattr(bertzoo, name)
    # What a task shares with all tasks may be said once, in their base.
    classes = [cls for cls in getattr(value, "__mro__", [value]) if is_ours(cls)]
    text = "\n".join(inspect.getdoc(cls) or "" for cls in classes)
    for argument, parameter in inspect.signature(value).parameters.items():
        # `trainable` comes from Keras and goes to Keras.
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            assert argument == "trainable" or f"{argument}:" in text, argument


def is_ours(value):
    return value.__module__.startswith("bertzoo.")


@pytest.mark.parametrize("name", sorted(bertzoo.__all__))
def test_the_public_methods_have_docstrings(name):
    value = getattr(bertzoo, name)
    own = {
        key: method
        for key, method in (vars(value) if inspect.isclass(value) else {}).items()
        if not key.startswith("_") and inspect.isfunction(inspect.unwrap(getattr(value, key, None)))
    }
    # What overrides Keras without a word inherits Keras's words.
    assert [key for key in own if not inspect.getdoc(getattr(value, key))] == []


@pytest.mark.parametrize("name", ["Backbone", *TASKS])
def test_what_holds_weights_loads_and_saves_presets(name):
    value = getattr(bertzoo, name)
    assert "load_weights" in inspect.signature(value.from_preset).parameters
    assert "dtype" in inspect.signature(value.from_preset).parameters
    assert callable(value.save_to_preset)


def test_dir_lists_the_public_names():
    assert set(PUBLIC) <= set(dir(bertzoo))


def test_the_version_is_a_version():
    assert [part.isdigit() for part in bertzoo.__version__.split(".")[:2]] == [True, True]


def test_an_unknown_attribute_raises():
    with pytest.raises(AttributeError, match="BertModel"):
        bertzoo.BertModel  # noqa: B018


def test_hasattr_and_private_names_follow():
    assert not hasattr(bertzoo, "tensorflow_models")
    assert not hasattr(bertzoo, "__wrapped__")


def test_a_star_import_brings_the_public_names():
    names = {}
    exec("from bertzoo import *", names)
    assert set(bertzoo.__all__) <= set(names)
    assert names["BackboneConfig"] is importlib.import_module("bertzoo.config").BackboneConfig
