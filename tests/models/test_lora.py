"""LoRA on the backbone: what trains, what an adapter file holds, and what merging leaves."""

import json

import keras
import numpy as np
import pytest
import safetensors.numpy

from bertzoo import durable
from bertzoo.config import BackboneConfig
from bertzoo.models import lora
from bertzoo.models.backbone import Backbone
from bertzoo.models.loading import weights_of

CONFIG = BackboneConfig(
    vocabulary_size=31,
    num_layers=2,
    hidden_dim=20,
    num_heads=4,
    intermediate_dim=37,
    max_sequence_length=11,
    initializer_range=0.3,
)
IDS = {"token_ids": np.array([[2, 7, 9, 3], [2, 30, 3, 0]], np.int32)}


def new_backbone(config=CONFIG, **options):
    keras.utils.set_random_seed(3)
    return Backbone(config, **options)


def values(backbone):
    return {path: np.array(weight) for path, weight in weights_of(backbone).items()}


def vectors(backbone):
    return np.asarray(backbone(IDS)["sequence_output"])


def train(backbone, seed=5):
    """Move the adapters away from where they begin, as training would."""
    generator = np.random.default_rng(seed)
    for weight in backbone.trainable_weights:
        weight.assign(0.2 * generator.standard_normal(weight.shape))


@pytest.fixture
def adapted():
    backbone = new_backbone()
    backbone.enable_lora(3, lora_alpha=6)
    train(backbone)
    return backbone


def test_a_new_adapter_changes_no_output():
    backbone = new_backbone()
    before = vectors(backbone)
    backbone.enable_lora(rank=3)
    np.testing.assert_array_equal(vectors(backbone), before)


@pytest.mark.parametrize("names", [None, ["key"], "output", ["query", "key", "value", "output"]])
def test_the_adapters_of_the_named_projections_train_and_nothing_else(names):
    backbone = new_backbone()
    backbone.enable_lora(3, target_layer_names=names)
    targets = [names] if isinstance(names, str) else names or ["query", "value"]
    expected = {
        f"layer_{layer}/attention/{name}/lora_kernel_{factor}"
        for layer in (0, 1)
        for name in targets
        for factor in "ab"
    }
    assert {weight.path for weight in backbone.trainable_weights} == expected
    sizes = [int(np.prod(weight.shape)) for weight in backbone.trainable_weights]
    assert sum(sizes) == 2 * len(targets) * (20 * 3 + 3 * 20)


def test_the_update_is_alpha_over_rank_times_a_b(adapted):
    """The forward pass against one with the kernel worked out in NumPy."""
    kernels = {}
    for path, array in values(adapted).items():
        if "lora" not in path:
            kernels[path] = array
    for layer in ("layer_0", "layer_1"):
        for name in ("query", "value"):
            path = f"{layer}/attention/{name}"
            a, b = (values(adapted)[f"{path}/lora_kernel_{factor}"] for factor in "ab")
            kernels[f"{path}/kernel"] = kernels[f"{path}/kernel"] + (6 / 3) * a @ b
    plain = new_backbone()
    for path, weight in weights_of(plain).items():
        weight.assign(kernels[path])
    np.testing.assert_allclose(vectors(adapted), vectors(plain), atol=1e-5)


def test_merging_leaves_plain_weights_and_equal_outputs(adapted):
    before = vectors(adapted)
    names = set(values(new_backbone()))
    adapted.merge_lora()
    assert np.abs(vectors(adapted) - before).max() < 1e-6
    assert set(values(adapted)) == names
    assert len(adapted.trainable_weights) == len(names)
    with pytest.raises(ValueError, match="no LoRA adapter; call enable_lora"):
        adapted.merge_lora()


def test_what_was_frozen_before_is_frozen_after_merging():
    backbone = new_backbone()
    backbone.embeddings.trainable = False
    backbone.encoder_layers[0].trainable = False
    before = {weight.path for weight in backbone.trainable_weights}
    backbone.enable_lora(2)
    assert len(backbone.trainable_weights) == 8  # in the frozen layer too
    backbone.merge_lora()
    assert {weight.path for weight in backbone.trainable_weights} == before


def test_another_adapter_may_follow_a_merged_one(adapted):
    adapted.merge_lora()
    before = vectors(adapted)
    adapted.enable_lora(1, ["output"])
    np.testing.assert_array_equal(vectors(adapted), before)
    assert adapted.lora.rank == 1


def test_merging_is_done_in_float32_under_mixed_precision():
    backbone = new_backbone(dtype="mixed_bfloat16")
    backbone.enable_lora(3)
    train(backbone)
    before = values(backbone)
    backbone.merge_lora()
    path = "layer_1/attention/value/"
    a, b = before[path + "lora_kernel_a"], before[path + "lora_kernel_b"]
    np.testing.assert_allclose(
        values(backbone)[path + "kernel"], before[path + "kernel"] + a @ b, atol=1e-6
    )


def test_layers_that_share_weights_share_an_adapter():
    shared = new_backbone(CONFIG.replace(num_groups=1, num_layers=4, embedding_dim=12))
    shared.enable_lora(2)
    assert len(shared.trainable_weights) == 4
    train(shared)
    before = vectors(shared)
    shared.merge_lora()
    assert np.abs(vectors(shared) - before).max() < 1e-5  # four layers long


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 0}, "rank must be a whole number from 1 to hidden_dim, 20; got 0"),
        ({"rank": 21}, "got 21"),
        ({"rank": 2.5}, "got 2.5"),
        ({"rank": 2, "target_layer_names": ["querry"]}, "did you mean `query`"),
        ({"rank": 2, "target_layer_names": []}, "got none"),
    ],
)
def test_wrong_arguments_change_nothing(arguments, message):
    backbone = new_backbone()
    with pytest.raises(ValueError, match=message):
        backbone.enable_lora(**arguments)
    assert backbone.lora is None
    assert len(backbone.trainable_weights) == len(values(backbone))


def test_an_adapter_cannot_be_enabled_twice(adapted):
    with pytest.raises(ValueError, match="enabled already"):
        adapted.enable_lora(3)


# === Files ===


def test_an_adapter_file_holds_the_adapter_alone_and_gives_equal_bits(adapted, tmp_path):
    directory = adapted.save_lora_weights(tmp_path / "adapter")
    names = sorted(item.name for item in directory.iterdir())
    assert names == ["adapter.json", "adapter.safetensors"]
    stored = safetensors.numpy.load_file(directory / "adapter.safetensors")
    assert set(stored) == {weight.path for weight in adapted.trainable_weights}
    assert json.loads((directory / "adapter.json").read_text())["lora_alpha"] == 6.0
    fresh = new_backbone()
    fresh.load_lora_weights(directory)
    np.testing.assert_array_equal(vectors(fresh), vectors(adapted))
    again = new_backbone()
    again.enable_lora(3, lora_alpha=6)
    again.load_lora_weights(directory)
    np.testing.assert_array_equal(vectors(again), vectors(adapted))


def test_an_adapter_fits_its_base_in_half_precision(adapted, tmp_path):
    adapted.save_lora_weights(tmp_path / "adapter")
    half = new_backbone(dtype="bfloat16")
    for path, weight in weights_of(half).items():
        weight.assign(values(adapted)[path])
    half.load_lora_weights(tmp_path / "adapter")
    assert half.lora == adapted.lora


def test_an_adapter_is_replaced_whole_and_strangers_are_left_alone(adapted, tmp_path):
    adapted.save_lora_weights(tmp_path / "adapter")
    first = (tmp_path / "adapter" / "adapter.safetensors").read_bytes()
    train(adapted, seed=6)
    adapted.save_lora_weights(tmp_path / "adapter")
    assert (tmp_path / "adapter" / "adapter.safetensors").read_bytes() != first
    assert [item.name for item in tmp_path.iterdir()] == ["adapter"]
    (tmp_path / "adapter" / "notes.txt").write_text("keep me")
    with pytest.raises(ValueError, match="holds no adapter of bertzoo alone"):
        adapted.save_lora_weights(tmp_path / "adapter")
    assert (tmp_path / "adapter" / "notes.txt").read_text() == "keep me"


def test_a_write_that_fails_leaves_the_older_adapter(adapted, tmp_path, monkeypatch):
    adapted.save_lora_weights(tmp_path / "adapter")
    before = (tmp_path / "adapter" / "adapter.safetensors").read_bytes()

    def fail(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr(durable, "write_bytes", fail)
    train(adapted, seed=6)
    with pytest.raises(OSError, match="disk is full"):
        adapted.save_lora_weights(tmp_path / "adapter")
    assert (tmp_path / "adapter" / "adapter.safetensors").read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["adapter"]


def test_a_model_without_an_adapter_has_none_to_save(tmp_path):
    with pytest.raises(ValueError, match="call enable_lora"):
        new_backbone().save_lora_weights(tmp_path / "adapter")


def rewrite(directory, **changes):
    path = directory / "adapter.json"
    raw = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in raw.items() if value is not ...}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "peft"}, "has format 'peft'"),
        ({"format_version": 2}, "version 2"),
        ({"rnk": 3}, "unknown key `rnk`"),
        ({"head": ...}, "lacks head"),
        ({"rank": 2}, "does not fit the model"),
        ({"target_layer_names": ["query", "key"]}, "layer_0/attention/key/lora_kernel_a"),
        ({"rank": "3"}, "has `rank`: '3'"),
        ({"lora_alpha": float("nan")}, "has `lora_alpha`: nan"),
        ({"target_layer_names": 5}, "has `target_layer_names`: 5"),
        ({"target_layer_names": ["__class__"]}, "unknown key `__class__`"),
        ({"config": [1]}, "has `config`"),
        ({"base": "0" * 64}, "an encoder with other weights"),
        ({"config": {**CONFIG.to_dict(), "num_heads": 5}}, "num_heads is 5 there and 4 here"),
        ({"sha256": "0" * 64}, "adapter.safetensors is not the file that was written"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_whole(adapted, changes, message, tmp_path):
    directory = adapted.save_lora_weights(tmp_path / "adapter")
    rewrite(directory, **changes)
    fresh = new_backbone()
    with pytest.raises(ValueError, match=message):
        fresh.load_lora_weights(directory)
    assert fresh.lora is None


def test_an_adapter_is_refused_by_another_base_of_the_same_shape(adapted, tmp_path):
    adapted.save_lora_weights(tmp_path / "adapter")
    keras.utils.set_random_seed(4)
    other = Backbone(CONFIG)
    weights_of(other)["layer_0/output_norm/gamma"].assign(np.full(20, 0.9))
    with pytest.raises(ValueError, match="other weights; load the adapter into the preset"):
        other.load_lora_weights(tmp_path / "adapter")


def test_an_adapter_is_refused_by_a_model_with_another_one(adapted, tmp_path):
    adapted.save_lora_weights(tmp_path / "adapter")
    other = new_backbone()
    other.enable_lora(2)
    with pytest.raises(ValueError, match=r"rank, alpha and targets \(3, 6.0.*merge_lora"):
        other.load_lora_weights(tmp_path / "adapter")


def test_a_directory_without_an_adapter_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"there is no adapter.json"):
        new_backbone().load_lora_weights(tmp_path)


def test_a_preset_with_an_adapter_is_refused_until_it_is_merged(adapted, tmp_path):
    with pytest.raises(ValueError, match=r"call merge_lora\(\) and save, or write the adapter"):
        adapted.save_to_preset(tmp_path / "preset")
    assert not (tmp_path / "preset").exists()
    adapted.merge_lora()
    adapted.save_to_preset(tmp_path / "preset")
    np.testing.assert_array_equal(
        vectors(Backbone.from_preset(tmp_path / "preset")), vectors(adapted)
    )


def test_keras_files_hold_what_merging_gives(adapted, tmp_path):
    adapted.save(tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras")
    assert loaded.lora is None
    np.testing.assert_allclose(vectors(loaded), vectors(adapted), atol=1e-6)
    # A weights file is the same; an adapter that loads it begins anew, and can learn.
    adapted.save_weights(tmp_path / "adapted.weights.h5")
    before = vectors(adapted)
    adapted.load_weights(tmp_path / "adapted.weights.h5")
    np.testing.assert_allclose(vectors(adapted), before, atol=1e-6)
    factors = values(adapted)
    assert np.any(factors["layer_0/attention/query/lora_kernel_a"])
    assert not np.any(factors["layer_0/attention/query/lora_kernel_b"])


def test_the_fingerprint_is_of_the_norms_which_no_adapter_changes(adapted):
    assert lora.fingerprint(adapted) == lora.fingerprint(new_backbone())
    adapted.merge_lora()
    assert lora.fingerprint(adapted) == lora.fingerprint(new_backbone())
