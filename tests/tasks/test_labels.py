"""Labels by name and by number, and the row of the first wrong one."""

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.tasks.labels import LabelEncoder, named_label_errors

NAMED = LabelEncoder(("bad", "so-so", "good"), 3)
NUMBERED = LabelEncoder(None, 3)
REGRESSION = LabelEncoder(None, 1)


def encode_in_a_pipeline(encoder, labels):
    dataset = tf.data.Dataset.from_tensor_slices(labels).batch(10).map(encoder.from_tensor)
    with named_label_errors():
        return next(iter(dataset)).numpy()


@pytest.mark.parametrize(
    "labels",
    [
        ["good", "bad", "so-so"],
        [b"good", b"bad", b"so-so"],
        np.array(["good", "bad", "so-so"]),
        [2, 0, 1],
        np.array([2.0, 0.0, 1.0]),
        np.array([[2], [0], [1]], dtype=np.int8),
        tf.constant([2, 0, 1], "int64"),
        tf.constant(["good", "bad", "so-so"]),
    ],
    ids=["names", "bytes", "array of names", "ids", "floats", "column", "tensor", "string tensor"],
)
def test_labels_become_int32_ids(labels):
    encoded = NAMED.from_array(labels)
    assert encoded.dtype == np.int32
    assert encoded.tolist() == [2, 0, 1]
    assert encode_in_a_pipeline(NAMED, labels).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            ["good", "god"],
            "label 1 should be one of bad, so-so, good; got 'god'. did you mean `good`",
        ),
        (["good", None], "label 1 should be one of .* got None"),
        ([0, 1, 3], r"label 2 should be a whole number in \[0, 2\]; got 3"),
        ([0, -1], r"label 1 .* got -1"),
        ([0, 0.5], r"label 1 .* got 0.5"),
        ([0, float("nan")], "label 1 is not a finite number"),
        ([0, None], "label 1 is missing"),
        (np.zeros((2, 4)), r"\[N, 3\]; got \[2, 4\]"),
        ({"a": 1}, "got a dict"),
    ],
)
def test_a_wrong_label_is_named_with_its_row(labels, message):
    with pytest.raises(ValueError, match=message):
        NAMED.from_array(labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["good", "god"], "not one of bad, so-so, good; got god"),
        ([0, 3], "not a whole number from 0 to 2; got 3"),
        ([0, -1], "not a whole number from 0 to 2; got -1"),
        ([0.0, 0.5], "not a whole number from 0 to 2; got 0.5"),
        ([0.0, float("nan")], "not a finite number"),
    ],
)
def test_a_wrong_label_in_a_dataset_is_named(labels, message):
    with pytest.raises(ValueError, match=message):
        encode_in_a_pipeline(NAMED, labels)


def test_names_for_classes_without_names_are_refused():
    with pytest.raises(ValueError, match="have no names"):
        NUMBERED.from_array(["good"])
    with pytest.raises(ValueError, match="have no names"):
        NUMBERED.from_tensor(tf.constant(["good"]))


def test_regression_takes_real_numbers():
    assert REGRESSION.from_array([0.5, -3, 7]).tolist() == [0.5, -3.0, 7.0]
    assert REGRESSION.from_array([0.5]).dtype == np.float32
    assert encode_in_a_pipeline(REGRESSION, [0.5, -3.0]).tolist() == [0.5, -3.0]
    with pytest.raises(ValueError, match="label 1 is not a finite number"):
        REGRESSION.from_array([0.5, np.inf])


def test_soft_labels_stay_as_they_are():
    soft = np.array([[0.2, 0.3, 0.5]])
    assert NAMED.from_array(soft).tolist() == np.float32(soft).tolist()


def test_class_weights_come_by_name_or_by_number():
    assert NAMED.class_weight({"good": 2.0, "bad": 0.5}) == {2: 2.0, 0: 0.5}
    assert NAMED.class_weight({0: 2.0}) == {0: 2.0}
    assert NAMED.class_weight(None) is None
    with pytest.raises(ValueError, match="label of class_weight"):
        NAMED.class_weight({"best": 1.0})
