"""Importance of heads and units, and models without the least important ones."""

import numpy as np
import pytest

import bertzoo
from bertzoo.adapt import Importance
from bertzoo.models.loading import weights_of
from tests.adapt.test_vocabulary import CONFIG, new_task, values

TEXTS, LABELS = ["the cat of a kidney.", "a cat", "the the osteo"], ["good", "bad", "bad"]
CONFIG2 = CONFIG.replace(num_layers=2, dropout=0.0)


def classifier():
    return new_task(bertzoo.TextClassifier, config=CONFIG2, labels=["bad", "good"], dropout=0.0)


def loss_of(task, text, label):
    logits = np.float64(task.predict([text], verbose=0)[0])
    return np.log(np.exp(logits).sum()) - logits[["bad", "good"].index(label)]


def slope(task, path, rows, text, label, step=1e-2):
    """Return by how much the loss changes if the inputs `rows` of a kernel are scaled."""
    weight = weights_of(task.network)[path]
    kernel, found = np.array(weight), []
    for factor in (1 + step, 1 - step):
        scaled = kernel.copy()
        scaled[rows] *= factor
        weight.assign(scaled)
        found.append(loss_of(task, text, label))
    weight.assign(kernel)
    return (found[0] - found[1]) / (2 * step)


def test_importance_is_the_slope_of_the_loss_by_a_scale_of_each_part():
    task = classifier()
    found = bertzoo.adapt.importance(task, [(TEXTS[:2], LABELS[:2]), (TEXTS[2:], LABELS[2:])])
    assert found.num_texts == 3
    assert (found.heads.shape, found.units.shape) == ((2, 4), (2, 37))
    for layer, head in ((0, 1), (1, 3)):
        rows, path = slice(5 * head, 5 * head + 5), f"layer_{layer}/attention/output/kernel"
        slopes = [slope(task, path, rows, t, y) for t, y in zip(TEXTS, LABELS, strict=True)]
        assert found.heads[layer, head] == pytest.approx(np.mean(np.abs(slopes)), rel=2e-2)
    for layer, unit in ((0, 30), (1, 2)):
        path = f"layer_{layer}/output/kernel"
        slopes = [slope(task, path, unit, t, y) for t, y in zip(TEXTS, LABELS, strict=True)]
        assert found.units[layer, unit] == pytest.approx(np.mean(np.abs(slopes)), rel=2e-2)


def test_shared_layers_add_their_steps_up():
    task = new_task(
        bertzoo.TextClassifier, config=CONFIG2.replace(num_groups=1), labels=["bad", "good"]
    )
    found = bertzoo.adapt.importance(task, [(TEXTS, LABELS)])
    assert found.heads.shape == (1, 4)
    assert (found.heads > 0).all()


@pytest.mark.long
def test_parts_that_reach_nothing_go_first_and_change_nothing():
    task = classifier()
    weights = weights_of(task.network)
    idle_heads, idle_units = {0: 2, 1: 0}, {0: [0, 7, 36], 1: [3, 4, 5]}
    for layer in (0, 1):
        kernel = np.array(weights[f"layer_{layer}/attention/output/kernel"])
        kernel[5 * idle_heads[layer] : 5 * idle_heads[layer] + 5] = 0
        weights[f"layer_{layer}/attention/output/kernel"].assign(kernel)
        kernel = np.array(weights[f"layer_{layer}/output/kernel"])
        kernel[idle_units[layer]] = 0
        weights[f"layer_{layer}/output/kernel"].assign(kernel)
    found = bertzoo.adapt.importance(task, [(TEXTS, LABELS)])
    pruned = bertzoo.adapt.prune(task, found, num_heads=3, intermediate_dim=34)
    expected = CONFIG2.replace(num_heads=3, head_dim=5, intermediate_dim=34)
    assert pruned.backbone.config == expected
    np.testing.assert_allclose(pruned.predict(TEXTS), task.predict(TEXTS), atol=1e-5)
    pruned.fit(TEXTS, LABELS, verbose=0)


def test_the_most_important_parts_stay_in_their_order():
    task = classifier()
    heads = np.array([[1.0, 4.0, 3.0, 2.0], [1.0, 1.0, 0.0, 1.0]])
    units = np.tile(np.arange(37.0), (2, 1))
    pruned = bertzoo.adapt.prune(task, Importance(heads, units, 1), num_heads=2, intermediate_dim=2)
    before, after = values(task), values(pruned)
    for layer, columns in ((0, np.r_[5:15]), (1, np.r_[0:10])):
        path = f"layer_{layer}/attention/value/kernel"
        np.testing.assert_array_equal(after[path], before[path][:, columns])
        path = f"layer_{layer}/intermediate/bias"
        np.testing.assert_array_equal(after[path], before[path][35:])


def test_a_pruned_task_is_saved_and_loaded(tmp_path):
    task = classifier()
    found = Importance(np.ones((2, 4)), np.ones((2, 37)), 1)
    pruned = bertzoo.adapt.prune(task, found, num_heads=1)
    pruned.save_to_preset(tmp_path / "pruned")
    assert "pruned to 1 of 4 heads" in (tmp_path / "pruned" / "README.md").read_text()
    loaded = bertzoo.TextClassifier.from_preset(tmp_path / "pruned")
    np.testing.assert_array_equal(loaded.predict(TEXTS), pruned.predict(TEXTS))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({}, "got neither"),
        ({"num_heads": 4}, "from 1 to 3; got 4"),
        ({"intermediate_dim": 0}, "from 1 to 36; got 0"),
    ],
)
def test_sizes_that_prune_nothing_raise(sizes, message):
    with pytest.raises(ValueError, match=message):
        bertzoo.adapt.prune(classifier(), Importance(np.ones((2, 4)), np.ones((2, 37)), 1), **sizes)


def test_what_importance_cannot_use_raises():
    with pytest.raises(ValueError, match="importances are of another model"):
        bertzoo.adapt.prune(classifier(), Importance(np.ones((1, 4)), np.ones((1, 37)), 1), 2)
    with pytest.raises(ValueError, match="at least one batch"):
        bertzoo.adapt.importance(classifier(), [])
    with pytest.raises(ValueError, match="give loss="):
        bertzoo.adapt.importance(new_task(), [(TEXTS, None)])
