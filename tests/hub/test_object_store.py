"""Object stores through TensorFlow's filesystem; ram:// stands for gs://."""

import io
import itertools
import zipfile

import pytest
import tensorflow as tf

from bertzoo import checkpoints, hub

NUMBERS = itertools.count()


@pytest.fixture
def bucket(toy_files, home, monkeypatch):
    """A folder in memory that holds the toy."""
    monkeypatch.delenv("BERTZOO_OFFLINE")
    folder = f"ram://bucket{next(NUMBERS)}/toy"
    tf.io.gfile.makedirs(folder)
    for name, content in {**toy_files, "train.py": b"import os"}.items():
        put(f"{folder}/{name}", content)
    return folder


def put(path, content):
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)


def test_a_folder_loads_as_the_model_that_was_put_there(bucket):
    opened = checkpoints.open_source(bucket)
    expected = dict(checkpoints.open_source("bert_toy").all_weights())
    assert all((array == expected[path]).all() for path, array in opened.all_weights())
    assert not (opened.directory / "train.py").exists()


def test_an_archive_is_copied_and_unpacked(bucket, toy_files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, data in toy_files.items():
            file.writestr(f"toy/{name}", data)
    put(f"{bucket}.zip", content.getvalue())
    folder = hub.fetch(f"{bucket}.zip")
    assert (folder / "config.json").read_bytes() == toy_files["config.json"]


def test_what_is_there_is_copied_once_and_again_when_it_has_changed(bucket, toy_files):
    first = hub.fetch(bucket)
    assert hub.fetch(bucket) == first
    put(f"{bucket}/vocab.txt", toy_files["vocab.txt"] + b"more\n")
    second = hub.fetch(bucket)
    assert second != first
    assert (second / "vocab.txt").read_bytes().endswith(b"more\n")


def test_offline_the_last_copy_is_used(bucket, monkeypatch):
    folder = hub.fetch(bucket)
    monkeypatch.setenv("BERTZOO_OFFLINE", "1")
    assert hub.fetch(bucket) == folder
    with pytest.raises(ValueError, match="forbids downloading"):
        hub.fetch(bucket + "2")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ram://nowhere/toy", "ram://nowhere/toy does not exist"),
        ("ram://nowhere/toy.zip", "ram://nowhere/toy.zip does not exist"),
        ("s3://bucket/toy", "s3://bucket/toy needs a file system that this TensorFlow does not"),
    ],
)
def test_what_is_not_there_is_told(home, monkeypatch, left_behind, address, message):
    monkeypatch.delenv("BERTZOO_OFFLINE")
    with pytest.raises(ValueError, match=message):
        hub.fetch(address)
    assert left_behind() == []
