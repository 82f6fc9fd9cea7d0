"""pytorch_model.bin in its three forms, read without PyTorch."""

import json
import sys

import numpy as np
import pytest

from bertzoo import checkpoints
from bertzoo.checkpoints.inert_pickle import read_pickle
from bertzoo.checkpoints.torch_file import TorchReader
from tests.checkpoints import agreement, spelled, torch_files

ROWS = ["bert", "masked_lm", "next_sentence", "roberta", "classifier_roberta"]


def family_of(row):
    return "roberta" if "roberta" in row else "bert"


def write_config(directory, name, **more):
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps({**spelled.HF_CONFIGS[name], **more}))
    return directory


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("row", ROWS)
def test_a_model_of_pytorch_computes_what_numpy_does(row, legacy, tmp_path):
    config, head, weights = agreement.weights_of(row)
    family = family_of(row)
    directory = write_config(tmp_path / "m", family)
    tensors = spelled.torch(family, weights)
    torch_files.save(directory / "pytorch_model.bin", tensors, legacy)
    agreement.assert_same_weights(directory, weights)
    agreement.assert_same_outputs(directory, config, head, weights)


def test_shards_are_read_as_one(tmp_path):
    _, _, weights = agreement.weights_of("bert")
    directory = write_config(tmp_path / "m", "bert")
    tensors = list(spelled.torch("bert", weights).items())
    files = {"pytorch_model-00001-of-00002.bin": dict(tensors[:11]),
             "pytorch_model-00002-of-00002.bin": dict(tensors[11:])}  # fmt: skip
    for name, part in files.items():
        torch_files.save(directory / name, part)
    weight_map = {name: file for file, part in files.items() for name in part}
    index = directory / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    agreement.assert_same_weights(directory, weights)
    (directory / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(ValueError, match=r"00002-of-00002\.bin is named by the index but is not"):
        checkpoints.open_checkpoint(directory)


def test_old_names_buffers_and_repeated_decoders_are_understood(tmp_path):
    _, _, weights = agreement.weights_of("masked_lm")
    directory = write_config(tmp_path / "m", "bert")
    tensors = spelled.torch("bert", weights)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in tensors.items()
    }
    old["bert.embeddings.position_ids"] = np.arange(11)[None]
    old["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    torch_files.save(directory / "pytorch_model.bin", old, legacy=True)
    opened = agreement.assert_same_weights(directory, weights)
    assert opened.heads["masked_lm"].tie_embeddings


def test_safetensors_come_before_a_pickle(tmp_path):
    import safetensors.numpy

    _, _, weights = agreement.weights_of("bert")
    directory = write_config(tmp_path / "m", "bert")
    contiguous = {k: np.ascontiguousarray(v) for k, v in spelled.torch("bert", weights).items()}
    safetensors.numpy.save_file(contiguous, directory / "model.safetensors")
    (directory / "pytorch_model.bin").write_bytes(b"not read")
    agreement.assert_same_weights(directory, weights)


def test_a_dense_module_of_sentence_transformers_may_be_a_pickle(tmp_path):
    _, _, weights = agreement.weights_of("bert")
    directory = write_config(tmp_path / "m", "bert", architectures=["BertModel"])
    torch_files.save(directory / "pytorch_model.bin", spelled.torch("bert", weights))
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense")]
    modules = [{"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{k}"}
               for i, (k, p) in enumerate(kinds)]  # fmt: skip
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (directory / "2_Dense").mkdir()
    dense = {"in_features": 20, "out_features": 7, "bias": True}
    (directory / "2_Dense" / "config.json").write_text(json.dumps(dense))
    kernel = np.random.default_rng(0).normal(size=(7, 20)).astype("float32")
    bias = np.arange(7, dtype="float32")
    arrays = {"linear.weight": kernel, "linear.bias": bias}
    torch_files.save(directory / "2_Dense" / "pytorch_model.bin", arrays)
    found = dict(checkpoints.open_checkpoint(directory).all_weights())
    np.testing.assert_array_equal(found["text_embedder/projection_0/kernel"], kernel.T)


def test_views_transposes_and_shared_storages_are_windows(tmp_path):
    whole = np.arange(60, dtype="float32")
    reference = torch_files.storage("7", "float32", 60)
    body = torch_files.state_dict(
        [
            ("whole", torch_files.tensor(reference, (6, 10))),
            ("transposed", torch_files.tensor(reference, (10, 6), (1, 10))),
            ("part", torch_files.tensor(reference, (2, 3), (10, 1), 24)),
            ("scalar", torch_files.tensor(reference, (), (), 59)),
            ("empty", torch_files.tensor(reference, (0, 3))),
        ]
    )
    path = torch_files.zip_file(tmp_path / "a.bin", body, {"7": whole.tobytes()})
    reader = TorchReader(path)
    matrix = whole.reshape(6, 10)
    np.testing.assert_array_equal(reader.read("whole"), matrix)
    np.testing.assert_array_equal(reader.read("transposed"), matrix.T)
    np.testing.assert_array_equal(reader.read("part"), matrix[2:4, 4:7])
    assert reader.read("scalar") == 59
    assert reader.read("empty").shape == (0, 3)


def test_half_precision_becomes_float32(tmp_path):
    values = np.array([[0.5, -2.0, 3.0]], "float16")
    path = torch_files.save(tmp_path / "a.bin", {"x": values})
    assert TorchReader(path).read("x").dtype == np.float16
    _, _, weights = agreement.weights_of("bert")
    directory = write_config(tmp_path / "m", "bert")
    tensors = {k: v.astype("float16") for k, v in spelled.torch("bert", weights).items()}
    torch_files.save(directory / "pytorch_model.bin", tensors)
    found = dict(checkpoints.open_checkpoint(directory).all_weights())
    assert {value.dtype for value in found.values()} == {np.dtype("float32")}


def test_a_flipped_bit_is_noticed(tmp_path):
    path = torch_files.save(tmp_path / "a.bin", {"x": np.ones(1000, "float32")})
    data = bytearray(path.read_bytes())
    at = data.index(np.ones(1000, "float32").tobytes())
    data[at + 1234] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="CRC"):
        TorchReader(path).read("x")


def test_neither_torch_nor_tensorflow_is_needed(tmp_path):
    import subprocess

    _, _, weights = agreement.weights_of("bert")
    directory = write_config(tmp_path / "m", "bert")
    torch_files.save(directory / "pytorch_model.bin", spelled.torch("bert", weights))
    code = (
        "import sys; from bertzoo import checkpoints\n"
        f"dict(checkpoints.open_checkpoint({str(directory)!r}).all_weights())\n"
        "print(sorted({'torch', 'tensorflow', 'keras'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


def test_plain_pickles_are_read_as_data():
    import pickle

    value = {"a": [1, -2, 2.5, None, True, "ä"], "b": (1, 2, 3, 4), 7: {"c": ()}}
    for protocol in (2, 3, 4, 5):
        data = pickle.dumps(value, protocol)
        assert read_pickle(data + b"rest", {}) == (value, len(data))
