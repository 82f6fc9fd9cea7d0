"""Parquet files as pyarrow and pandas write them, and the data sets of Hugging Face."""

import datetime

import numpy as np
import pytest

import bertzoo as bz
from bertzoo.readers import read_dataset, read_table

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def write(path, columns, **options):
    parquet.write_table(pyarrow.table(columns), path, **options)
    return path


def test_columns_of_every_kind_are_read_in_order(tmp_path):
    texts = [f"text {i} äß\n漢" for i in range(1000)]
    path = write(
        tmp_path / "a.parquet",
        {
            "text": pyarrow.array(texts).dictionary_encode(),
            "pair": pyarrow.array(texts[::-1], pyarrow.large_string()),
            "stars": pyarrow.array(np.arange(1000) % 3, pyarrow.int8()),
            "score": np.linspace(0.0, 5.0, 1000).astype("float32"),
            "topics": [["a", "b"] if i % 2 else [] for i in range(1000)],
            "when": [datetime.date(2020, 1, 1)] * 1000,
        },
        row_group_size=64,
        compression="zstd",
    )
    stars = read_table(path, text="text", text_pair="pair", label="stars", labels=["x", "y", "z"])
    assert stars.text == texts
    assert stars.text_pair == texts[::-1]
    assert stars.label == ["xyz"[i % 3] for i in range(1000)]
    assert (stars.lines[0], stars.lines[-1]) == (1, 1000)
    scores = read_table(path, text="text", label="score", score=True)
    np.testing.assert_allclose(scores.label, np.linspace(0.0, 5.0, 1000), rtol=1e-6)
    topics = read_table(path, text="text", label="topics").label
    assert topics[:2] == [[], ["a", "b"]]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"t": ["a", None]}, {}, "b.parquet, line 2, column 't': the text is missing"),
        ({"t": ["a"], "l": [3]}, {"label": "l", "labels": ["no", "yes"]},
         "b.parquet, line 1, column 'l': the label should be one of no, yes; got '3'"),
        ({"t": ["a", "b"], "l": [0.5, float("nan")]}, {"label": "l", "score": True},
         "b.parquet, line 2, column 'l': the label is missing"),
        ({"t": ["a"]}, {"label": "l"}, "b.parquet, line 1: there is no column 'l'"),
        ({"t": [b"a"]}, {}, "b.parquet, line 1, column 't': expected a text; got b'a'"),
        ({"t": pyarrow.array([], pyarrow.string())}, {}, "b.parquet has no rows"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_row(tmp_path, columns, options, message):
    path = write(tmp_path / "b.parquet", columns)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path, text="t", **options)
    assert "\n" not in str(caught.value)


def test_half_a_file_is_named(tmp_path):
    path = write(tmp_path / "c.parquet", {"t": ["a", "b"] * 500})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"c\.parquet is not a Parquet file"):
        read_table(path, text="t")


def test_a_recipe_learns_from_parquet(tmp_path):
    from bertzoo.training import run_recipe

    for name in ("train", "dev"):
        write(tmp_path / f"{name}.parquet", {"t": ["fine", "poor"] * 4, "l": ["good", "bad"] * 4})
    run_recipe(
        "finetune/symptoms_disease",
        {
            "output": str(tmp_path / "run"),
            "data.directory": str(tmp_path),
            "data.reader": "parquet",
            "data.train": "train.parquet",
            "data.dev": "dev.parquet",
            "data.columns": {"text": "t", "label": "l"},
        },
        smoke=True,
    )
    assert bz.TextClassifier.from_preset(tmp_path / "run" / "preset").labels == ("bad", "good")


def test_a_data_set_of_hugging_face_tells_its_labels():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    columns = {"sentence": ["fine", "poor", "fine fine"], "label": [1, 0, 1]}
    dataset = datasets.Dataset.from_dict(columns, features=features)
    for one in (dataset, dataset.to_iterable_dataset(), dataset.with_format("numpy")):
        examples = read_dataset(one, text="sentence", label="label")
        assert examples.text == columns["sentence"]
        assert examples.label == ["good", "bad", "good"]
    classifier = bz.TextClassifier.from_preset("bert_toy", labels=["bad", "good"])
    # Columns go to `fit` as they are; so does a dataset of tensors made of them.
    classifier.fit(dataset["sentence"], dataset["label"], verbose=0)
    classifier.fit(dataset.to_tf_dataset(columns="sentence", label_cols="label", batch_size=2),
                   verbose=0)  # fmt: skip
    with pytest.raises(ValueError, match="read_dataset"):
        classifier.fit(dataset, verbose=0)
