"""sentence-transformers directories of both layouts, written by hand."""

import json

import numpy as np
import pytest
import safetensors.numpy

from bertzoo import checkpoints
from tests.checkpoints import foreign

OLD = "sentence_transformers.models."
NEW = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
}
OLD_MODES = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
}
DENSE = {"in_features": 20, "out_features": 7, "bias": True,
         "activation_function": "torch.nn.modules.activation.Tanh"}  # fmt: skip


def write(directory, layout="old", modes=("mean",), others=(), transformer="", dense=None):
    """`others` are kinds of modules after the pooling."""
    directory.mkdir(exist_ok=True)
    encoder = directory / transformer
    tensors = foreign.random_tensors(foreign.tensor_shapes("hf_bert"))
    foreign.write_hugging_face(encoder, "hf_bert", tensors)
    kinds = ["Transformer", "Pooling", *others]
    paths = [transformer] + [f"{i}_{kind}" for i, kind in enumerate(kinds) if i]
    modules = [
        {
            "idx": index,
            "name": str(index),
            "path": path,
            "type": OLD + kind if layout == "old" else NEW.get(kind, OLD + kind),
        }
        for index, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    if layout == "old":
        pooling = {"word_embedding_dimension": 20}
        pooling |= {key: mode in modes for mode, key in OLD_MODES.items()}
    else:
        names = [{"mean_sqrt": "mean_sqrt_len_tokens"}.get(mode, mode) for mode in modes]
        pooling = {"embedding_dimension": 20, "include_prompt": True}
        pooling["pooling_mode"] = names[0] if len(names) == 1 else names
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    for index, kind in enumerate(kinds):
        if kind == "Dense":
            folder = directory / paths[index]
            folder.mkdir()
            (folder / "config.json").write_text(json.dumps({**DENSE, **(dense or {})}))
            shapes = {"linear.weight": (7, 20), "linear.bias": (7,)}
            safetensors.numpy.save_file(
                foreign.random_tensors(shapes, index), folder / "model.safetensors"
            )
    return directory


MODES = [("cls",), ("max",), ("mean",), ("mean_sqrt",), ("cls", "mean"), ("max", "mean_sqrt")]


@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("modes", MODES)
def test_pooling_is_read_from_either_layout(layout, modes, tmp_path):
    head = checkpoints.open_checkpoint(write(tmp_path / "a", layout, modes)).heads["text_embedder"]
    assert (head.pooling, head.normalize, head.projections) == (modes, False, ())


def test_no_active_pooling_means_the_mean(tmp_path):
    found = checkpoints.open_checkpoint(write(tmp_path / "a", modes=()))
    assert found.heads["text_embedder"].pooling == ("mean",)


@pytest.mark.parametrize("layout", ["old", "new"])
def test_normalize_needs_no_folder(layout, tmp_path):
    directory = write(tmp_path / "a", layout, others=["Normalize"])
    assert not (directory / "2_Normalize").exists()
    assert checkpoints.open_checkpoint(directory).heads["text_embedder"].normalize


@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("transformer", ["", "0_Transformer"])
def test_dense_modules_bring_their_weights(layout, transformer, tmp_path):
    directory = write(
        tmp_path / "a", layout, others=["Dense", "Normalize"], transformer=transformer
    )
    found = checkpoints.open_checkpoint(directory)
    assert found.directory == directory
    assert found.heads["text_embedder"].projections == ((7, "tanh", True),)
    weights = dict(found.all_weights())
    theirs = safetensors.numpy.load_file(directory / "2_Dense" / "model.safetensors")
    np.testing.assert_array_equal(
        weights["text_embedder/projection_0/kernel"], theirs["linear.weight"].T
    )
    np.testing.assert_array_equal(weights["text_embedder/projection_0/bias"], theirs["linear.bias"])
    # A backbone alone leaves them where they are.
    assert len(dict(found.weights(checkpoints.variable_shapes(found.config)))) == 39


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torch.nn.modules.linear.Identity", None),
        ("torch.nn.modules.activation.ReLU", "relu"),
        ("torch.nn.modules.activation.GELU", "gelu"),
    ],
)
def test_activations_of_dense_modules(name, expected, tmp_path):
    directory = write(tmp_path / "a", others=["Dense"], dense={"activation_function": name})
    head = checkpoints.open_checkpoint(directory).heads["text_embedder"]
    assert head.projections == ((7, expected, True),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"others": ["WeightedLayerPooling"]}, "module WeightedLayerPooling"),
        ({"others": ["Normalize", "Dense"]}, "Dense after Normalize"),
        ({"modes": ("weightedmean",)}, "pooling_mode_weightedmean_tokens"),
        ({"layout": "new", "modes": ("mean", "cls")}, "concatenates mean, cls"),
        ({"others": ["Dense"], "dense": {"use_residual": True}}, "residual connection"),
        ({"others": ["Dense"], "dense": {"activation_function": "torch.nn.SiLU"}}, "SiLU"),
    ],
)
def test_what_the_head_cannot_express_is_named(changes, message, tmp_path):
    directory = write(tmp_path / "a", **changes)
    with pytest.raises(ValueError, match=message) as error:
        checkpoints.open_checkpoint(directory)
    assert "format='hf_bert'" in str(error.value)
    # With the format given the encoder can be used; nobody gets other vectors unasked.
    found = checkpoints.open_checkpoint(directory, format="hf_bert")
    assert message in found.unread_heads["text_embedder"]
    assert len(dict(found.all_weights())) == 39


def test_a_default_prompt_is_not_dropped_in_silence(tmp_path):
    directory = write(tmp_path / "a")
    settings = {"prompts": {"query": "query: ", "passage": ""}, "default_prompt_name": None}
    path = directory / "config_sentence_transformers.json"
    path.write_text(json.dumps(settings))
    assert "text_embedder" in checkpoints.open_checkpoint(directory).heads
    path.write_text(json.dumps({**settings, "default_prompt_name": "query"}))
    with pytest.raises(ValueError, match="the prompt 'query: '"):
        checkpoints.open_checkpoint(directory)


def test_widths_that_do_not_fit_raise(tmp_path):
    directory = write(tmp_path / "a", modes=("cls", "mean"), others=["Dense"])
    with pytest.raises(ValueError, match="maps 20 to 7 features, but 40 come in"):
        checkpoints.open_checkpoint(directory)


def test_dense_weights_as_pickle_are_named(tmp_path):
    directory = write(tmp_path / "a", others=["Dense"])
    (directory / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"2_Dense has no model.safetensors"):
        checkpoints.open_checkpoint(directory)


@pytest.mark.parametrize("path", ["../elsewhere", "/etc"])
def test_modules_lie_inside_the_directory(path, tmp_path):
    directory = write(tmp_path / "a")
    modules = json.loads((directory / "modules.json").read_text())
    modules[1]["path"] = path
    (directory / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ValueError, match="outside of it"):
        checkpoints.open_checkpoint(directory)


@pytest.mark.parametrize(
    "content", ["{}", "[]", "[1]", '[{"idx": 0, "path": "", "type": "x.Asym"}]']
)
def test_a_broken_list_of_modules_is_named(content, tmp_path):
    directory = write(tmp_path / "a")
    (directory / "modules.json").write_text(content)
    with pytest.raises(ValueError, match=r"modules\.json (must be a list|begins with)"):
        checkpoints.open_checkpoint(directory)


@pytest.mark.parametrize("name", ["sentence_bert_config.json", "sentence_roberta_config.json"])
def test_the_length_is_read_and_the_case_is_not(name, tmp_path):
    directory = write(tmp_path / "a")
    (directory / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\n")
    (directory / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    (directory / name).write_text(json.dumps({"max_seq_length": 9, "do_lower_case": False}))
    tokenizer = checkpoints.open_checkpoint(directory).tokenizer
    assert (tokenizer.sequence_length, tokenizer.lowercase) == (9, True)
    (directory / name).write_text(json.dumps({"max_seq_length": 512}))
    assert checkpoints.open_checkpoint(directory).tokenizer.sequence_length == 13


@pytest.mark.weights
def test_the_real_all_minilm_opens_by_name_and_by_directory():
    named = checkpoints.open_source("all_minilm_l6_v2_en")
    assert named.directory is not None, "the dependency group `weights` is not installed"
    found = checkpoints.open_checkpoint(named.directory)
    assert found.format == "hf_bert"
    assert found.heads["text_embedder"].pooling == ("mean",)
    assert found.heads["text_embedder"].normalize
    assert (found.tokenizer.sequence_length, found.tokenizer.lowercase) == (256, True)
    assert sum(array.size for _, array in found.all_weights()) == 22_713_216
