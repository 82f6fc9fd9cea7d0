"""int8 through Keras: what it stores, how far outputs drift, and files."""

import keras
import numpy as np
import pytest

import bertzoo
from bertzoo.adapt import quantization
from bertzoo.models.loading import weights_of
from tests.adapt.test_vocabulary import CONFIG, TEXTS, new_task


def test_kernels_of_the_backbone_become_int8_and_nothing_else_does():
    task = new_task(bertzoo.TextClassifier, labels=["bad", "good"])
    before = {path: np.array(weight) for path, weight in weights_of(task.network).items()}
    task.quantize("int8")
    small = {path for path, w in weights_of(task.network).items() if w.dtype == "int8"}
    layer = "layer_0/"
    names = ["attention/query", "attention/key", "attention/value", "attention/output"]
    dense = {layer + name for name in [*names, "intermediate", "output"]} | {"pooler"}
    assert small == {f"{path}/kernel" for path in dense}
    for path, weight in weights_of(task.network).items():
        if path.endswith("/kernel_scale"):
            # AbsMax: the largest of each column is 127; half a step is the largest error.
            kernel = path.removesuffix("_scale")
            scale = np.array(weight)
            found = np.array(weights_of(task.network)[kernel]) / scale
            assert np.abs(found - before[kernel]).max() <= 0.51 / scale.min()
        elif path not in small:
            np.testing.assert_array_equal(np.array(weight), before[path])


def test_the_report_is_of_the_outputs_before_and_after():
    task = new_task()
    before = task.predict(TEXTS, verbose=0)
    report = bertzoo.adapt.quantize(task, TEXTS)
    after = task.predict(TEXTS, verbose=0)
    assert report.max_difference == pytest.approx(np.abs(after - before).max())
    assert report.mean_difference == pytest.approx(np.abs(after - before).mean())
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosines = (before * after).sum(axis=1) / norms
    assert report.mean_cosine == pytest.approx(cosines.mean())
    assert report.min_cosine == pytest.approx(cosines.min())
    assert 0.0 < report.max_difference < 0.1
    # 4 of 20 x 20, 2 of 20 x 37 and the pooler: three bytes less each, and a scale a column.
    kernels, columns = 5 * 20 * 20 + 2 * 20 * 37, 6 * 20 + 37
    assert report.bytes_before - report.bytes_after == 3 * kernels - 4 * columns


def test_a_dict_of_outputs_is_compared_as_one_row():
    before = {"start": np.array([[3.0, 0.0]]), "end": np.array([[0.0, 4.0]])}
    after = {"start": np.array([[3.0, 0.0]]), "end": np.array([[0.0, -4.0]])}
    assert quantization.drift(before, after) == (8.0, 2.0, (9 - 16) / 25, (9 - 16) / 25)


def test_a_backbone_reports_on_ids():
    backbone = bertzoo.Backbone(CONFIG)
    report = bertzoo.adapt.quantize(backbone, {"token_ids": np.array([[2, 9, 10, 3]])})
    assert report.min_cosine > 0.99
    assert backbone.quantized == "int8"


def test_a_function_compiled_before_is_made_anew():
    task = new_task()
    before = task.predict(TEXTS, verbose=0)
    task.backbone.quantize("int8")
    after = task.predict(TEXTS, verbose=0)
    assert np.abs(after - before).max() > 0.0
    direct = task(task.preprocessor(TEXTS))
    np.testing.assert_allclose(after, direct, atol=1e-5)


@pytest.mark.parametrize("cls", [bertzoo.TextClassifier, bertzoo.MaskedLM, bertzoo.Backbone])
def test_a_keras_file_gives_equal_bits(cls, tmp_path):
    ids = {"token_ids": np.array([[2, 9, 10, 3]])}
    if cls is bertzoo.Backbone:
        model = bertzoo.Backbone(CONFIG)
    else:
        model = new_task(cls, **({"num_classes": 3} if cls is bertzoo.TextClassifier else {}))
    if cls is bertzoo.MaskedLM:
        ids["mask_positions"] = np.array([[1]])
    model.quantize("int8")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    before, after = model(ids), loaded(ids)
    for one, other in zip(keras.tree.flatten(before), keras.tree.flatten(after), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert weights_of(loaded).keys() == weights_of(model).keys()


def test_presets_hold_plain_weights(tmp_path):
    task = new_task()
    task.quantize("int8")
    with pytest.raises(ValueError, match=r"quantized: save it as a .keras file"):
        task.save_to_preset(tmp_path / "preset")
    assert not (tmp_path / "preset").exists()


def test_what_cannot_be_quantized_says_why():
    task = new_task()
    with pytest.raises(ValueError, match="quantizes to int8; got 'float8'"):
        task.quantize("float8")
    other = keras.quantizers.Int8QuantizationConfig(activation_quantizer=None)
    with pytest.raises(ValueError, match="another configuration would be lost"):
        task.quantize(config=other)
    task.enable_lora(2)
    with pytest.raises(ValueError, match=r"merge_lora\(\) first"):
        task.quantize("int8")
    task.merge_lora()
    task.quantize("int8")
    with pytest.raises(ValueError, match="quantized already"):
        task.quantize("int8")
    with pytest.raises(ValueError, match="enable LoRA on the model with plain weights"):
        task.enable_lora(2)
