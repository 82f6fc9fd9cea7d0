"""Tagger and answerer on ids: float32 logits out, with a vocabulary or without."""

import numpy as np
import pytest

from bertzoo.tasks.question_answerer import QuestionAnswerer
from bertzoo.tasks.token_classifier import TokenClassifier

IDS = {"token_ids": np.array([[2, 7, 9, 3], [2, 8, 3, 0]]), "padding_mask": [[1] * 4, [1, 1, 1, 0]]}


def test_a_tagger_gives_logits_for_every_token(backbone, preprocessor, tmp_path):
    tagger = TokenClassifier.from_backbone(backbone, preprocessor, labels=("O", "B", "I"))
    logits = tagger.predict(IDS, verbose=0)
    assert (logits.shape, logits.dtype, tagger.labels) == ((2, 4, 3), np.float32, ("O", "B", "I"))
    tagger.save_to_preset(tmp_path / "preset")
    loaded = TokenClassifier.from_preset(tmp_path / "preset")
    np.testing.assert_array_equal(loaded.predict(IDS, verbose=0), logits)
    without = TokenClassifier(loaded.network)
    np.testing.assert_array_equal(without.predict(IDS, verbose=0), logits)
    with pytest.raises(ValueError, match="TokenClassifier cannot read these strings"):
        without.predict(["a cat"])


def test_an_answerer_gives_starts_and_ends(backbone, preprocessor, tmp_path):
    answerer = QuestionAnswerer.from_backbone(backbone, preprocessor)
    logits = answerer.predict(IDS, verbose=0)
    assert {name: one.shape for name, one in logits.items()} == {
        "start_logits": (2, 4),
        "end_logits": (2, 4),
    }
    assert np.abs(logits["start_logits"] - logits["end_logits"]).max() > 1e-3
    answerer.save_to_preset(tmp_path / "preset")
    loaded = QuestionAnswerer.from_preset(tmp_path / "preset")
    again = loaded.predict(IDS, verbose=0)
    np.testing.assert_array_equal(again["end_logits"], logits["end_logits"])
    with pytest.raises(ValueError, match="QuestionAnswerer cannot read these strings"):
        QuestionAnswerer(loaded.network).answer("who?", "the cat")


def test_a_network_of_another_kind_is_refused(classifier):
    with pytest.raises(ValueError, match="needs a network with a token_classifier head"):
        TokenClassifier(classifier.network)
