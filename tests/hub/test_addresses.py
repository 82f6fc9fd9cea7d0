"""Addresses: what they mean, and which are refused before anybody is asked."""

import pytest

from bertzoo.hub import addresses, wanted_files


@pytest.mark.parametrize(
    ("text", "kind", "name", "revision"),
    [
        ("hf://me/toy", "hugging_face", "me/toy", ""),
        ("hf://me/toy@main", "hugging_face", "me/toy", "main"),
        ("HF://me/to.y-1_2@refs/pr/3", "hugging_face", "me/to.y-1_2", "refs/pr/3"),
        ("kaggle://keras/bert/keras/b_en", "kaggle", "keras/bert/keras/b_en", ""),
        ("kaggle://keras/bert/keras/b_en/12", "kaggle", "keras/bert/keras/b_en", "12"),
        ("https://host/a.zip", "web", "https://host/a.zip", ""),
        (f"https://host/a.zip#sha256={'0a' * 32}", "web", "https://host/a.zip", "0a" * 32),
        ("http://127.0.0.1:80/a.zip", "web", "http://127.0.0.1:80/a.zip", ""),
        ("gs://bucket/bert/", "object_store", "gs://bucket/bert", ""),
    ],
)
def test_addresses_are_taken_apart(text, kind, name, revision):
    assert addresses.is_address(text)
    assert addresses.parse(text) == addresses.Address(kind, name, revision)


@pytest.mark.parametrize(
    "text",
    [
        "hf://../../x", "hf://..", "hf://me", "hf://me/", "hf:///toy", "hf://me/../toy", "hf://./x",
        "hf://me/toy/more", "hf://me/toy@", "hf://me/toy@../x", "hf://me/toy@a/../../b",
        "hf://me/toy@/etc", "hf://me/to y", "hf://me/toy\n", "hf://me\\toy/x", "hf://me/toy?x=1",
        "hf://me/toy@-x", f"hf://me/{'x' * 200}",
        "kaggle://a/b/c", "kaggle://a/b/c/../d", "kaggle://a/b/c/d/latest", "kaggle://a/b/c/d/1/2",
        "https://", "https:///a.zip", "https://host/a b.zip", "https://host/a.zip#md5=1",
        "https://host/a.zip#sha256=12", "http://host/a.zip", "http://127.0.0.1.evil/a.zip",
        "gs://", "gs:///x", "gs://bucket/../x",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_the_form_it_should_have(text):
    assert addresses.is_address(text)
    with pytest.raises(ValueError, match=r"expected (hf|kaggle|gs)://|an address|#|https"):
        addresses.parse(text)


@pytest.mark.parametrize("text", ["bert_toy", "a/b", "./hf", "C:/x", "ftp://x/y", "file:///etc"])
def test_names_and_paths_are_no_addresses(text):
    assert not addresses.is_address(text)


def test_a_wrong_address_is_told_by_from_preset_before_anything_is_imported():
    from bertzoo import Backbone

    with pytest.raises(ValueError, match=r"'hf://../../x' is not an address; expected hf://user"):
        Backbone.from_preset("hf://../../x")


def test_addresses_are_shown_without_secrets():
    address = addresses.parse("https://me:password@host/a.zip?X-Signature=secret")
    assert str(address) == "https://host/a.zip"
    assert "secret" not in address.folder
    assert "password" not in address.folder


def test_every_address_has_a_folder_of_its_own_inside_the_cache():
    texts = ["hf://a/b", "hf://a/b@main", "hf://a/b@c/d", "hf://a/b@c--d", "kaggle://a/b/c/d",
             "kaggle://a/b/c/d/1", "https://h/a.zip", "https://h/a.zip?x=1", "gs://a/b", "ram://a/b",
             "https://h/" + "x" * 3000]  # fmt: skip
    folders = [addresses.parse(text).folder for text in texts]
    assert len(set(folders)) == len(texts)
    for folder in folders:
        assert len(folder) < 200
        assert "/" not in folder
        assert not folder.startswith(".")


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["config.json", "pytorch_model.bin", "model.safetensors"],
         ["config.json", "model.safetensors"]),
        (["model.safetensors.index.json", "model-00001-of-00002.safetensors", "pytorch_model.bin",
          "model-00002-of-00002.safetensors"],
         ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
          "model.safetensors.index.json"]),
        (["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"], ["pytorch_model.bin"]),
        (["config.json", "rust_model.ot", "train.py", "model.onnx", "onnx/model.onnx"],
         ["config.json"]),
        (["modules.json", "1_Pooling/config.json", "2_Dense/pytorch_model.bin", "x/config.json",
          "2_Dense/model.safetensors", "0_Transformer/vocab.txt"],
         ["0_Transformer/vocab.txt", "1_Pooling/config.json", "2_Dense/model.safetensors",
          "modules.json"]),
        (["config.json", "model.weights.h5", "task.weights.h5", "assets/tokenizer/vocabulary.txt"],
         ["assets/tokenizer/vocabulary.txt", "config.json", "model.weights.h5", "task.weights.h5"]),
        (["bert_config.json", "model.ckpt-1.index", "model.ckpt-1.data-00000-of-00001",
          "model.ckpt-20.index", "model.ckpt-20.data-00000-of-00001", "graph.pbtxt",
          "model.ckpt-20.meta"],
         ["bert_config.json", "model.ckpt-20.data-00000-of-00001", "model.ckpt-20.index"]),
        (["preset.json", "weights.safetensors", "vocabulary.txt", "README.md", "model.safetensors"],
         ["preset.json", "vocabulary.txt", "weights.safetensors"]),
        (["params.yaml", "ckpt-7.index", "ckpt-7.data-00000-of-00001", "vocab.txt", "checkpoint"],
         ["ckpt-7.data-00000-of-00001", "ckpt-7.index", "params.yaml", "vocab.txt"]),
        (["saved_model.pb", "assets/vocab.txt", "variables/variables.index", "keras_metadata.pb",
          "variables/variables.data-00000-of-00001"],
         ["assets/vocab.txt", "variables/variables.data-00000-of-00001",
          "variables/variables.index"]),
        (["assets/30k-clean.model", "assets/albert_config.json", "tfhub_module.pb",
          "variables/variables.index", "variables/variables.data-00000-of-00001"],
         ["assets/30k-clean.model", "assets/albert_config.json",
          "variables/variables.data-00000-of-00001", "variables/variables.index"]),
        (["electra_config.json", "electra_small.index", "electra_small.data-00000-of-00001",
          "vocab.txt"],
         ["electra_config.json", "electra_small.data-00000-of-00001", "electra_small.index",
          "vocab.txt"]),
        (["pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin", "training_args.bin",
          "pytorch_model-00002-of-00002.bin", "tf_model.h5"],
         ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin",
          "pytorch_model.bin.index.json"]),
        (["albert_config.json", "spiece.model", "tf_model.h5", "config.json", "README.md"],
         ["README.md", "albert_config.json", "config.json", "spiece.model", "tf_model.h5"]),
        (["model.pt", "dict.txt", "encoder.json", "vocab.bpe", "NOTE", "checkpoint_last.pt"],
         ["dict.txt", "encoder.json", "model.pt", "vocab.bpe"]),
        (["model.pt", "model.safetensors"], ["model.safetensors"]),
        (["README.md", "LICENSE"], []),
        (["../config.json", "/config.json", "a/../config.json"], []),
    ],
)  # fmt: skip
def test_only_the_files_of_a_checkpoint_are_chosen(names, chosen):
    assert wanted_files.choose(names) == chosen
