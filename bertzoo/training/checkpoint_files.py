"""The files of one checkpoint: written whole, flushed, listed with checksums, and checked.

    FOLDER/state.index, state.data-00000-of-00001
    FOLDER/COMMIT.json

`COMMIT.json` comes last, by one rename: it lists the files with sizes and SHA-256, and a folder
without it is no checkpoint. All goes through `tf.io.gfile`: a bucket is as good as a disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
import posixpath

import tensorflow as tf

from bertzoo import durable

COMMIT = "COMMIT.json"
PREFIX = "state"
CHUNK = 2**22


def write_checkpoint(folder, values, step, details):
    """Write values as a checkpoint that a `tf.train.Checkpoint` of variables reads.

    Args:
        folder: Of this checkpoint; what is in it of a process that was killed goes first.
        values: Key -> tensor; the keys are the attributes of the `tf.train.Checkpoint`.
        step: Steps that were done.
        details: What is to be kept beside, JSON values.
    """
    remove(folder)
    tf.io.gfile.makedirs(folder)
    with tf.device("CPU:0"):
        variables = {key: tf.Variable(value, trainable=False) for key, value in values.items()}
        tf.train.Checkpoint(**variables).write(f"{folder}/{PREFIX}")
    names = [name for name in tf.io.gfile.listdir(folder) if name.startswith(f"{PREFIX}.")]
    if "://" not in folder:
        for name in names:
            durable.sync(pathlib.Path(f"{folder}/{name}"))
        durable.sync(pathlib.Path(folder))
    files = {name: _described(f"{folder}/{name}") for name in sorted(names)}
    commit = {"step": step, "details": details, "files": files}
    write_text(f"{folder}/{COMMIT}", json.dumps(commit, indent=1))


def is_committed(folder):
    """Return whether a folder was written to its end."""
    return tf.io.gfile.exists(f"{folder}/{COMMIT}")


def check(folder):
    """Return the details of a checkpoint if all its files are as they were written.

    Raises:
        ValueError: If one is missing, shorter, or changed.
    """
    try:
        commit = json.loads(read_bytes(f"{folder}/{COMMIT}"))
        files, details = commit["files"], commit["details"]
        expected = {name: (row["bytes"], row["sha256"]) for name, row in files.items()}
    except (tf.errors.OpError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder}/{COMMIT} cannot be read ({reason_of(error)}).") from None
    for name, (size, digest) in expected.items():
        path = f"{folder}/{name}"
        if not tf.io.gfile.exists(path):
            raise ValueError(f"{path} is missing.")
        found = _described(path)
        if found["bytes"] != size:
            raise ValueError(f"{path} has {found['bytes']} bytes, not {size}: it was cut.")
        if found["sha256"] != digest:
            raise ValueError(f"{path} is not what was written: its SHA-256 differs.")
    return details


def remove(folder):
    """Remove a checkpoint, or what there is of one."""
    if tf.io.gfile.exists(folder):
        # First what makes it a checkpoint, so that no half of one is taken for whole.
        with contextlib.suppress(tf.errors.NotFoundError):
            tf.io.gfile.remove(f"{folder}/{COMMIT}")
        tf.io.gfile.rmtree(folder)


def read_bytes(path):
    """Return the content of a file."""
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def write_text(path, text):
    """Write a file whole: beside its place, flushed, then renamed."""
    beside = posixpath.join(posixpath.dirname(path), f".{posixpath.basename(path)}.writing")
    if "://" in path:
        with tf.io.gfile.GFile(beside, "w") as file:
            file.write(text)
    else:
        durable.write_bytes(pathlib.Path(beside), text.encode())
    tf.io.gfile.rename(beside, path, overwrite=True)
    if "://" not in path:
        durable.sync(pathlib.Path(posixpath.dirname(path)))


def reason_of(error):
    """Return the first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _described(path):
    digest, size = hashlib.sha256(), 0
    with tf.io.gfile.GFile(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}
