"""pytorch_model.bin as torch.save itself writes it, in each of its forms."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import torch
import transformers

from bertzoo.checkpoints.torch_file import TorchReader
from bertzoo.models.backbone import Backbone
from tests.checkpoints import torch_files

FORMS = {
    "zip": {},
    "zip, protocol 4": {"pickle_protocol": 4},
    "legacy": {"_use_new_zipfile_serialization": False},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", ["Bert", "Roberta"])
def test_a_model_saved_by_torch_computes_the_same_here(family, form, tmp_path):
    config = getattr(transformers, f"{family}Config")(
        vocab_size=97, hidden_size=20, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=37, max_position_embeddings=13, type_vocab_size=1, pad_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}Model")(config).eval()
    for value in model.parameters():
        torch.nn.init.normal_(value, 0.05, 0.3)
    config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin", **FORMS[form])
    ids = np.random.default_rng(0).integers(2, 97, (3, 7))
    with torch.no_grad():
        theirs = model(torch.tensor(ids)).last_hidden_state.numpy()
    ours = Backbone.from_preset(tmp_path)({"token_ids": ids})["sequence_output"]
    assert np.abs(np.asarray(ours) - theirs).max() < 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_tensor_is_read_as_torch_reads_it(form, tmp_path):
    base = torch.randn(9, 8)
    tensors = {
        "half": torch.randn(3, 4).half(),
        "bfloat16": torch.randn(3, 4).bfloat16(),
        "double": torch.randn(2).double(),
        "transposed": torch.randn(5, 7).T,
        "window": base[2:5, 1:4],
        "base": base,
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "whole numbers": torch.arange(4),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
        "yes or no": torch.tensor([True, False]),
    }
    torch.save(tensors, tmp_path / "x.bin", **FORMS[form])
    reader = TorchReader(tmp_path / "x.bin")
    assert list(reader.shapes) == list(tensors)
    for name, tensor in tensors.items():
        expected = tensor.detach().double().numpy()
        np.testing.assert_array_equal(reader.read(name).astype("float64"), expected)


@pytest.mark.parametrize("value", [torch.nn.Linear(2, 2), torch.device("cpu"), np.ones(3)])
def test_what_is_more_than_a_tensor_is_refused_by_name(value, tmp_path):
    torch.save({"x": value}, tmp_path / "x.bin")
    with pytest.raises(ValueError, match=r"names the Python object `(torch|numpy)\."):
        TorchReader(tmp_path / "x.bin")


@pytest.mark.parametrize("legacy", [False, True])
def test_files_written_by_hand_are_what_torch_writes(legacy, tmp_path):
    arrays = {"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.arange(3)}
    path = torch_files.save(tmp_path / "x.bin", arrays, legacy)
    loaded = torch.load(path, weights_only=True)
    assert {name: tensor.tolist() for name, tensor in loaded.items()} == {
        name: array.tolist() for name, array in arrays.items()
    }
