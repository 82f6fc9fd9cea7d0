"""Files of any filesystem that TensorFlow knows, in place at once or not at all."""

from __future__ import annotations

import hashlib
import os
import pathlib
import secrets

import tensorflow as tf

from bertzoo import durable


def join(folder: str, *names: str) -> str:
    """Join parts of a path or address."""
    return "/".join([str(folder).rstrip("/"), *names])


def is_local(path: str) -> bool:
    """Return whether a path is one of this machine's own filesystem."""
    return "://" not in str(path)


def read(path: str) -> bytes:
    """Return the content of a file.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        with tf.io.gfile.GFile(str(path), "rb") as file:
            return file.read()
    except tf.errors.OpError as error:
        raise ValueError(f"{path} cannot be read: {error.message.splitlines()[0]}.") from None


def size(path: str) -> int | None:
    """Return the size of a file in bytes, or None where there is none."""
    try:
        return tf.io.gfile.stat(str(path)).length
    except tf.errors.NotFoundError:
        return None


def write(path: str, content: bytes) -> None:
    """Write a file under its final name: flushed and renamed, so that it is whole or not there."""
    temporary = temporary_name(path)
    with tf.io.gfile.GFile(temporary, "wb") as file:
        file.write(content)
    put_in_place(temporary, path)


def temporary_name(path: str) -> str:
    """Return a name beside a file that no other process uses."""
    folder, name = str(path).rsplit("/", 1) if "/" in str(path) else (".", str(path))
    # Process numbers are alike on many machines, as containers have them.
    return f"{folder}/.{name}.{os.getpid()}-{secrets.token_hex(4)}.partial"


def put_in_place(temporary: str, path: str) -> None:
    """Give a written file its final name; on a disk it is flushed before, the folder after."""
    if is_local(path):
        durable.sync(pathlib.Path(temporary))
    tf.io.gfile.rename(temporary, str(path), overwrite=True)
    if is_local(path):
        durable.sync(pathlib.Path(path).parent)


def sha256(path: str) -> str:
    """Return the SHA-256 of a file, read piece by piece."""
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(str(path), "rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()
