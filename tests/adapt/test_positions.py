"""More positions: copies of the old ones, and short texts as before."""

import numpy as np
import pytest

import bertzoo
from bertzoo.models.loading import weights_of
from tests.adapt.test_vocabulary import CONFIG, TEXTS, new_task, values

POSITIONS = "embeddings/position/embeddings"


def test_short_texts_give_the_same_bits_and_long_ones_are_read():
    task = new_task()
    new = bertzoo.adapt.extend_positions(task, 40)
    np.testing.assert_array_equal(new.predict(TEXTS), task.predict(TEXTS))
    long = "a cat " * 30
    assert new.preprocessor([long])["token_ids"].shape == (1, 40)
    assert np.abs(new.predict([long]) - task.predict([long])).max() > 1e-4
    with pytest.raises(ValueError, match="at most 40 tokens; got 41"):
        new({"token_ids": np.full((1, 41), 9)})


def test_the_rows_are_repeated():
    task = new_task()
    rows = values(bertzoo.adapt.extend_positions(task, 37))[POSITIONS]
    old = values(task)[POSITIONS]
    np.testing.assert_array_equal(rows, np.concatenate([old, old, old[:5]]))


def test_roberta_keeps_the_rows_of_its_padding_in_front():
    config = CONFIG.replace(position_offset=2, num_segments=1)
    task = bertzoo.TextEmbedder.from_backbone(bertzoo.Backbone(config))
    new = bertzoo.adapt.extend_positions(task, 20)
    old, rows = values(task)[POSITIONS], values(new)[POSITIONS]
    assert (old.shape, rows.shape) == ((18, 20), (22, 20))
    np.testing.assert_array_equal(rows[:18], old)
    np.testing.assert_array_equal(rows[18:], old[2:6])
    ids = {"token_ids": np.array([[5, 6, 7]]), "padding_mask": np.array([[1, 1, 0]])}
    np.testing.assert_array_equal(new(ids), task(ids))


def test_everything_else_is_as_it_was():
    task = new_task(bertzoo.MaskedLM)
    new = bertzoo.adapt.extend_positions(task, 17)
    after = values(new)
    for path, array in values(task).items():
        if path != POSITIONS:
            np.testing.assert_array_equal(after[path], array)
    assert new.backbone.config == task.backbone.config.replace(max_sequence_length=17)
    assert len(weights_of(new.network)) == len(weights_of(task.network))


@pytest.mark.parametrize("length", [16, 5, 20.0])
def test_no_more_positions_than_before_raise(length):
    with pytest.raises(ValueError, match="above the task's own, 16"):
        bertzoo.adapt.extend_positions(new_task(), length)


def test_a_preset_keeps_the_longer_rows(tmp_path):
    new = bertzoo.adapt.extend_positions(new_task(), 40)
    new.save_to_preset(tmp_path / "preset")
    loaded = bertzoo.TextEmbedder.from_preset(tmp_path / "preset")
    assert loaded.preprocessor.sequence_length == 40
    text = "the cat of a kidney. " * 5
    np.testing.assert_array_equal(loaded.predict([text]), new.predict([text]))
    assert "copies of the first 16" in (tmp_path / "preset" / "README.md").read_text()
