"""Several labels a text: every form of label, thresholds, hierarchies, weights, presets."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.checkpoints.export import export_checkpoint
from bertzoo.losses.classifiers import MicroF1, MultiLabelCrossentropy
from bertzoo.tasks.multi_labels import MultiLabelEncoder
from bertzoo.tasks.text_classifier import TextClassifier

LABELS = ("cat", "dog", "film")
TEXTS = ["the cat sat", "a dog", "cat dog", "a bad film", "the mat", "dog film"] * 4
NAMES = [["cat"], ["dog"], ["cat", "dog"], ["film"], [], ["dog", "film"]] * 4
HOT = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 1, 1]] * 4)
NUMBERS = [np.flatnonzero(row).tolist() for row in HOT]


@pytest.fixture
def tagger(backbone, preprocessor):
    keras.utils.set_random_seed(21)
    return TextClassifier.from_backbone(
        backbone, preprocessor, labels=LABELS, problem="multi_label", dropout=0.0
    )


@pytest.mark.parametrize(
    "y",
    [NAMES, HOT, HOT.tolist(), NUMBERS, tf.ragged.constant(NAMES, dtype="string"), HOT > 0],
    ids=["names", "hot", "hot lists", "numbers", "ragged", "bools"],
)
def test_every_form_of_labels_is_the_same(y):
    assert MultiLabelEncoder(LABELS, 3).from_array(y).tolist() == HOT.tolist()


@pytest.mark.parametrize(
    "y",
    [
        tf.ragged.constant(NAMES, dtype="string"),
        tf.ragged.constant(NUMBERS, dtype="int32"),
        tf.constant(HOT),
        tf.ragged.constant(NAMES, dtype="string").to_tensor(),
    ],
    ids=["ragged names", "ragged numbers", "hot", "padded names"],
)
def test_every_form_of_labels_in_a_dataset_is_the_same(y):
    dataset = tf.data.Dataset.from_tensor_slices(y).batch(24)
    (encoded,) = dataset.map(MultiLabelEncoder(LABELS, 3).from_tensor)
    assert encoded.numpy().tolist() == HOT.tolist()


def test_a_child_brings_its_parents():
    encoder = MultiLabelEncoder(("sport", "ball", "tennis"), 3, parents=(-1, 0, 1))
    expected = [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
    assert encoder.from_array([["tennis"], ["sport"]]).tolist() == expected
    ragged = tf.ragged.constant([["tennis"], ["sport"]])
    assert encoder.from_tensor(ragged).numpy().tolist() == expected


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            [["cat"], ["cot"]],
            "label 1 should be among cat, dog, film; got 'cot'. did you mean `cat`",
        ),
        ([[0], [3]], r"label 1 should be a whole number in \[0, 2\] or a name; got 3"),
        ([[0], [0.5]], "label 1 should be a whole number"),
        ([["cat"], None], "label 1 should be a list of labels; got None"),
        ([["cat"], 1], "label 1 should be a list of labels; got 1"),
        (np.array([[0, 1, 2]]), "label 0 should be of 0 and 1"),
        (np.array([[0, 1, np.nan]]), "label 0 is not a finite number"),
        (np.array([[0, 1]]), r"shape \[N, 3\]; got \[1, 2\]"),
        (np.array([0, 1]), r"shape \[N, 3\]; got \[2\]"),
    ],
)
def test_a_wrong_label_is_named(y, message):
    with pytest.raises(ValueError, match=message):
        MultiLabelEncoder(LABELS, 3).from_array(y)


def test_the_loss_is_keras_own_and_takes_weights():
    rng = np.random.default_rng(0)
    y, logits = HOT[:6].astype("float32"), rng.normal(0, 30, (6, 3)).astype("float32")
    loss = MultiLabelCrossentropy()
    theirs = keras.losses.BinaryCrossentropy(from_logits=True)
    assert float(loss(y, logits)) == pytest.approx(float(theirs(y, logits)), rel=1e-5)
    weight = rng.random(6).astype("float32")
    assert float(loss(y, logits, weight)) == pytest.approx(
        float(theirs(y, logits, weight)), rel=1e-5
    )
    # log(1 + e^-x) of a label that is there, log(1 + e^x) of one that is not.
    terms = np.where(y > 0, np.logaddexp(0, -logits), np.logaddexp(0, logits))
    each = rng.random((6, 3)).astype("float32")
    assert float(loss(y, logits, each)) == pytest.approx((terms * each).mean(), rel=1e-5)


def test_micro_f1_counts_over_batches():
    metric = MicroF1()
    metric.update_state(HOT[:2], np.array([[9.0, -9, -9], [9, 9, -9]]))
    metric.update_state(HOT[2:3], np.array([[-9.0, -9, -9]]))
    # Right 2, chosen 3, there 4.
    assert float(metric.result()) == pytest.approx(2 * 2 / 7)


@pytest.mark.long
def test_it_learns_and_answers_with_all_labels(tagger):
    tagger.compile(keras.optimizers.Adam(0.01))
    history = tagger.fit(TEXTS, NAMES, epochs=12, batch_size=8, verbose=0)
    assert history.history["micro_f1"][-1] > 0.95
    told = tagger.classify(["cat dog", "a bad film"])
    assert [one.labels for one in told] == [("cat", "dog"), ("film",)]
    assert list(told[0].probabilities) == list(LABELS)
    dataset = tf.data.Dataset.from_tensor_slices(
        (TEXTS, tf.ragged.constant(NAMES, dtype="string"))
    ).batch(8)
    expected = tagger.evaluate(TEXTS, HOT, verbose=0)
    np.testing.assert_allclose(tagger.evaluate(dataset, verbose=0), expected, atol=1e-5)


def test_validation_split_takes_lists_of_labels(tagger):
    history = tagger.fit(TEXTS, NAMES, validation_split=0.25, verbose=0)
    assert set(history.history) == {"loss", "micro_f1", "val_loss", "val_micro_f1"}


def test_thresholds_are_tuned_and_stay_with_the_model(tagger, tmp_path):
    p = 1 / (1 + np.exp(-tagger.predict(TEXTS, verbose=0).astype(np.float64)))

    def micro_f1(threshold):
        chosen = p >= threshold
        return 2 * (chosen & (HOT > 0)).sum() / (chosen.sum() + HOT.sum())

    (found,) = tagger.tune_thresholds(TEXTS, NAMES)
    assert micro_f1(found) == pytest.approx(max(micro_f1(t) for t in np.linspace(0, 1, 2001)))
    each = tagger.tune_thresholds(TEXTS, NAMES, per_label=True)
    assert len(each) == 3
    tagger.save_to_preset(tmp_path / "tagger")
    again = TextClassifier.from_preset(tmp_path / "tagger")
    assert (again.problem, again.thresholds) == ("multi_label", each)
    assert again.classify(TEXTS[:3]) == tagger.classify(TEXTS[:3])


def test_transformers_form_keeps_problem_thresholds_and_parents(backbone, preprocessor, tmp_path):
    tagger = TextClassifier.from_backbone(
        backbone, preprocessor, labels=LABELS, problem="multi_label", thresholds=0.3,
        parents={"dog": "cat"},
    )  # fmt: skip
    tagger.save_to_preset(tmp_path / "ours")
    export_checkpoint(tmp_path / "ours", tmp_path / "theirs", format="hf_bert")
    assert (
        '"problem_type": "multi_label_classification"'
        in (tmp_path / "theirs" / "config.json").read_text()
    )
    assert TextClassifier.from_preset(tmp_path / "theirs").network.head == tagger.network.head


@pytest.mark.long
def test_class_weights_weigh_labels_that_are_there(tagger):
    def loss_of(**options):
        tagger.compile(keras.optimizers.SGD(0.0))
        history = tagger.fit(TEXTS, HOT, shuffle=False, batch_size=24, verbose=0, **options)
        return history.history["loss"][0]

    logits = tagger.predict(TEXTS, verbose=0).astype(np.float64)
    terms = np.where(HOT > 0, np.logaddexp(0, -logits), np.logaddexp(0, logits))
    assert loss_of() == pytest.approx(terms.mean(), rel=0.1)  # dropout of the encoder is on
    tagger.backbone.trainable = True
    heavy = loss_of(class_weight={"cat": 1000.0})
    cats = (terms * np.where(HOT > 0, [1000.0, 1.0, 1.0], 1.0)).mean()
    assert heavy == pytest.approx(cats, rel=0.2)
    # Of 24 texts 8 have `cat`, 12 `dog`, 8 `film`: 16 / 8, 12 / 12, 16 / 8.
    balanced = loss_of(class_weight="balanced")
    assert balanced == pytest.approx(
        (terms * np.where(HOT > 0, [2.0, 1.0, 2.0], 1.0)).mean(), rel=0.1
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"thresholds": 0.5}, "of multi_label classifiers"),
        ({"problem": "multi"}, "problem must be one of single_label, multi_label, regression"),
        ({"problem": "multi_label", "thresholds": [0.1, 0.2]}, "one for each of 3 labels; got 2"),
        ({"problem": "multi_label", "thresholds": 1.5}, r"in \[0, 1\]"),
        ({"problem": "multi_label", "parents": {"dog": "cow"}}, "'cow', which is not among"),
        ({"problem": "multi_label", "parents": (1, 0, -1)}, "its own ancestor"),
        ({"problem": "multi_label", "parents": (1, 0)}, "for each of 3 labels"),
    ],
)
def test_wrong_heads_are_refused(backbone, arguments, message):
    with pytest.raises(ValueError, match=message):
        TextClassifier.from_backbone(backbone, labels=LABELS, **arguments)


@pytest.mark.long
def test_a_checkpoints_own_head_can_be_read_as_another_problem():
    plain = TextClassifier.from_preset("bert_toy")
    tagger = TextClassifier.from_preset("bert_toy", problem="multi_label", thresholds=0.2)
    assert (plain.problem, tagger.problem) == ("single_label", "multi_label")
    np.testing.assert_array_equal(plain.predict(["a cat"]), tagger.predict(["a cat"]))


def test_only_multi_label_has_thresholds_to_tune(classifier):
    with pytest.raises(ValueError, match="thresholds are of multi_label classifiers"):
        classifier.tune_thresholds(["a"], [0])
