"""A run of `fit` that was interrupted ends where one without interruption does, bit for bit."""

import keras
import numpy as np
import pytest

from bertzoo.config import BackboneConfig
from bertzoo.models.backbone import Backbone
from bertzoo.tasks.resuming import ResumableCheckpoint
from bertzoo.tasks.text_classifier import TextClassifier

TEXTS = ["good film", "bad film", "a good cat", "the bad mat", "good", "bad", "a dog"] * 3
LABELS = [1, 0, 1, 0, 1, 0, 0] * 3


class Killed(BaseException):
    """What stands for a signal."""


class KillIn(keras.callbacks.Callback):
    """Stops a run in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.now = epoch, None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, 1):
            raise Killed


def run(preprocessor, seed, callbacks, epochs=4):
    """Train a new classifier with dropout, as a process that starts anew; return it."""
    keras.utils.set_random_seed(seed)
    config = BackboneConfig(
        vocabulary_size=31, num_layers=1, hidden_dim=20, num_heads=4, intermediate_dim=37,
        max_sequence_length=24, initializer_range=0.3,
    )  # fmt: skip
    classifier = TextClassifier.from_backbone(Backbone(config), preprocessor, num_classes=2)
    try:
        history = classifier.fit(
            TEXTS, LABELS, batch_size=4, epochs=epochs, verbose=0, callbacks=callbacks
        )
    except Killed:
        history = None
    return classifier, history


@pytest.fixture(scope="module")
def uninterrupted(preprocessor):
    classifier, history = run(preprocessor, 1, [])
    return classifier.get_weights(), history.history["loss"]


def test_a_killed_run_goes_on_bit_for_bit(preprocessor, uninterrupted, tmp_path):
    weights, losses = uninterrupted
    run(preprocessor, 1, [ResumableCheckpoint(tmp_path / "run"), KillIn(2)])
    # Another seed: everything that matters comes from the checkpoint.
    classifier, history = run(preprocessor, 99, [ResumableCheckpoint(tmp_path / "run")])
    assert history.epoch == [2, 3]
    assert history.history["loss"] == losses[2:]
    for ours, theirs in zip(classifier.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # A finished run has nothing to do; the next call of fit begins at its own first epoch.
    finished, history = run(preprocessor, 5, [ResumableCheckpoint(tmp_path / "run")])
    assert history.epoch == []
    np.testing.assert_array_equal(finished.get_weights()[-1], weights[-1])
    assert finished.fit(TEXTS, LABELS, verbose=0).epoch == [0]


@pytest.mark.long
def test_a_damaged_epoch_is_passed_over(preprocessor, uninterrupted, tmp_path):
    run(preprocessor, 1, [ResumableCheckpoint(tmp_path / "run"), KillIn(3)])
    folders = sorted(item.name for item in (tmp_path / "run").iterdir())
    assert folders == ["epoch-000002", "epoch-000003"]
    path = tmp_path / "run" / "epoch-000003" / "arrays.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="epoch-000003 is damaged"):
        _, history = run(preprocessor, 99, [ResumableCheckpoint(tmp_path / "run")])
    assert history.history["loss"] == uninterrupted[1][2:]


def test_a_run_of_another_model_is_refused(preprocessor, backbone, tmp_path):
    run(preprocessor, 1, [ResumableCheckpoint(tmp_path / "run")], epochs=1)
    other = TextClassifier.from_backbone(backbone, preprocessor, num_classes=3)
    with pytest.raises(ValueError, match="is of another model or optimizer"):
        other.fit(TEXTS, LABELS, verbose=0, callbacks=[ResumableCheckpoint(tmp_path / "run")])


@pytest.mark.slow
def test_a_failed_write_leaves_no_epoch(preprocessor, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        run(preprocessor, 1, [ResumableCheckpoint(tmp_path / "run")], epochs=1)
    assert list((tmp_path / "run").iterdir()) == []
