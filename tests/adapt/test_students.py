"""Students out of teachers: which layers they take over, and what stays equal."""

import numpy as np
import pytest

import bertzoo
from bertzoo.config import BackboneConfig
from bertzoo.models.loading import weights_of
from tests.adapt.test_vocabulary import CONFIG, TEXTS, new_task, values

DEEP = CONFIG.replace(num_layers=3)


@pytest.mark.parametrize(
    ("student", "teacher", "layers"),
    [
        (6, 12, (0, 2, 4, 7, 9, 11)),  # extract_distilbert.py
        (3, 6, (0, 3, 5)),
        (2, 6, (0, 5)),
        (1, 6, (0,)),
        (4, 4, (0, 1, 2, 3)),
    ],
)
def test_layers_are_spread_evenly_as_distilberts(student, teacher, layers):
    assert bertzoo.adapt.even_layers(student, teacher) == layers


def test_a_student_has_the_chosen_layers_and_everything_else():
    task = new_task(bertzoo.MaskedLM, config=DEEP)
    student = bertzoo.adapt.select_layers(task, [2, 0])
    before, after = values(task), values(student)
    for path, array in after.items():
        theirs = path
        for new, old in (("layer_0/", "layer_2/"), ("layer_1/", "layer_0/")):
            if path.startswith(new):
                theirs = old + path.removeprefix(new)
        np.testing.assert_array_equal(array, before[theirs])
    assert student.backbone.config == DEEP.replace(num_layers=2)
    assert set(before) - set(after) == {p for p in before if p.startswith("layer_2/")}


def test_all_layers_are_the_teacher():
    task = new_task(config=DEEP)
    np.testing.assert_array_equal(
        bertzoo.adapt.select_layers(task, 3).predict(TEXTS), task.predict(TEXTS)
    )


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([3], "from 0 to 2; got 3"),
        ([-1], "got -1"),
        ([], "at least one layer"),
        (4, "1 to 3 layers of this teacher; got 4"),
    ],
)
def test_layers_that_are_not_there_raise(layers, message):
    with pytest.raises(ValueError, match=message):
        bertzoo.adapt.select_layers(new_task(config=DEEP), layers)


def test_shared_layers_cannot_be_chosen():
    task = new_task(config=DEEP.replace(num_groups=1))
    with pytest.raises(ValueError, match="3 steps of this model share 1 layers"):
        bertzoo.adapt.select_layers(task, [0])


@pytest.mark.long
def test_texts_of_one_segment_are_the_same_without_segments():
    task = new_task()
    student = bertzoo.adapt.drop_segments(task)
    assert student.backbone.config.num_segments == 0
    assert "segment_ids" not in student.preprocessor.feature_names()
    np.testing.assert_allclose(student.predict(TEXTS), task.predict(TEXTS), atol=1e-5)
    plain = bertzoo.adapt.drop_segments(task, fold=False)
    path = "embeddings/position/embeddings"
    np.testing.assert_array_equal(values(plain)[path], values(task)[path])
    assert np.abs(plain.predict(TEXTS) - task.predict(TEXTS)).max() > 1e-3
    with pytest.raises(ValueError, match="no segments already"):
        bertzoo.adapt.drop_segments(student)


@pytest.mark.long
def test_a_classifier_takes_the_pooler_into_its_head(tmp_path):
    task = new_task(bertzoo.TextClassifier, labels=["bad", "good"])
    student = bertzoo.adapt.drop_pooler(task)
    assert not student.backbone.config.pooler
    np.testing.assert_allclose(student.predict(TEXTS), task.predict(TEXTS), atol=1e-6)
    student.save_to_preset(tmp_path / "student")
    loaded = bertzoo.TextClassifier.from_preset(tmp_path / "student")
    np.testing.assert_array_equal(loaded.predict(TEXTS), student.predict(TEXTS))
    with pytest.raises(ValueError, match="no pooler already"):
        bertzoo.adapt.drop_pooler(student)


def test_a_masked_lm_loses_its_pooler_and_nothing_else():
    task = new_task(bertzoo.MaskedLM)
    before, after = values(task), values(bertzoo.adapt.drop_pooler(task))
    assert set(before) - set(after) == {"pooler/kernel", "pooler/bias"}
    for path, array in after.items():
        np.testing.assert_array_equal(array, before[path])


def test_a_distilbert_is_made_of_a_bert():
    task = new_task(bertzoo.MaskedLM, config=CONFIG.replace(num_layers=12))
    student = bertzoo.adapt.select_layers(task, 6)
    student = bertzoo.adapt.drop_pooler(bertzoo.adapt.drop_segments(student, fold=False))
    expected = CONFIG.replace(num_layers=6, num_segments=0, pooler=False)
    assert student.backbone.config == expected
    assert "layer_5/output/kernel" in weights_of(student.backbone)


@pytest.mark.parametrize(
    ("large", "small", "smaller", "published"),
    [
        # Sanh et al. 2019: "reduces the size of a BERT model by 40 %": 110M to 66M.
        ("bert_base_en_uncased", "distilbert_base_en_uncased", lambda a, b: 1 - b / a, 0.40),
        # Jiao et al. 2019: TinyBERT4 is 7.5 times smaller: 109M to 14.5M.
        ("bert_base_en_uncased", "tinybert_l4_h312_en_uncased", lambda a, b: a / b, 7.5),
    ],
)
def test_published_sizes(large, small, smaller, published):
    counts = [BackboneConfig.from_preset(name).parameter_count() for name in (large, small)]
    assert smaller(*counts) == pytest.approx(published, rel=0.02)
