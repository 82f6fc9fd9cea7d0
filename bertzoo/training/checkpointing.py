"""Checkpoints that a run can be killed beside: whole or not there, checked before they are used.

    checkpoints/step-00000200/state.index, state.data-00000-of-00001
    checkpoints/step-00000200/COMMIT.json

`COMMIT.json` comes last, by one rename: it lists the files with sizes and SHA-256, and a folder
without it is no checkpoint. All goes through `tf.io.gfile`: a bucket is as good as a disk.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import posixpath
import re
import warnings

import tensorflow as tf

from bertzoo import durable

COMMIT = "COMMIT.json"
PREFIX = "state"
FOLDER = re.compile(r"step-(\d{8,})/?$")
CHUNK = 2**22


@dataclasses.dataclass(frozen=True)
class Restored:
    """Where a checkpoint stands.

    Args:
        step: Steps that were done.
        details: What was saved beside the variables, JSON values.
        skipped: Why newer checkpoints were not used, one sentence each.
    """

    step: int
    details: dict
    skipped: tuple[str, ...] = ()


class LostCheckpoint(ValueError):
    """A run has been here, and no checkpoint of it can be used."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
        directory: Of the run's checkpoints; a path, `gs://...` or `ram://...`.
        variables: Name -> variable: all that changes while training.
        replicas: From `make_replicas`.
        keep: How many to keep.
    """

    def __init__(self, directory, variables, replicas, keep=3):
        if keep < 1:
            raise ValueError(f"a run keeps at least 1 checkpoint; got keep={keep}.")
        self.directory = str(directory)
        if set("[]*?") & set(self.directory):
            raise ValueError(
                f"TensorFlow reads []*? in the path of a checkpoint as a pattern; choose another "
                f"output than {self.directory}."
            )
        self.replicas = replicas
        self.keep = keep
        plain = {name: getattr(variable, "value", variable) for name, variable in variables.items()}
        # Keras variables are asked for TensorFlow's own, which know their replicas.
        plain = {
            name: value if isinstance(value, tf.Variable) else variables[name]
            for name, value in plain.items()
        }
        with replicas.scope():
            self._state = tf.train.Checkpoint(**{_key(name): v for name, v in plain.items()})

    # === Writing ===

    def save(self, step, details=None):
        """Write a checkpoint after `step` steps, and remove those that are too many.

        Every worker calls it; the chief's is kept. The one before stays until this one is whole.

        Raises:
            OSError: If it could not be written, as on a full disk; what is there is untouched.
        """
        if not self.replicas.is_chief:  # saving is collective; what it writes here is thrown away
            place = f"{self.directory}/.worker-{self.replicas.worker}"
            self._write_state(place)
            _remove(place)
            return
        folder = self._folder(step)
        _remove(folder)  # half of one, of a process that was killed
        try:
            self._write_state(folder)
            files = {name: _described(f"{folder}/{name}") for name in _files_in(folder)}
            commit = {"step": step, "details": details or {}, "files": files}
            write_text(f"{folder}/{COMMIT}", json.dumps(commit, indent=1))
        except (OSError, tf.errors.OpError) as error:
            with contextlib.suppress(OSError, tf.errors.OpError):
                _remove(folder)
            last = max(self.steps(), default=None)
            rest = "there is none before it" if last is None else f"that of step {last} is whole"
            raise OSError(
                f"the checkpoint of step {step} could not be written below {self.directory}: "
                f"{_reason(error)}; {rest}. Make room and run the same command again."
            ) from error
        for old in sorted(self.steps())[: -self.keep]:
            _remove(self._folder(old))

    def _write_state(self, folder):
        tf.io.gfile.makedirs(folder)
        self._state.write(f"{folder}/{PREFIX}")
        if "://" not in folder:
            for name in _files_in(folder):
                durable.sync(pathlib.Path(f"{folder}/{name}"))
            durable.sync(pathlib.Path(folder))

    # === Reading ===

    def steps(self):
        """Return the steps of all checkpoints that were committed, in no order."""
        if not tf.io.gfile.isdir(self.directory):
            return []
        found = [FOLDER.search(name) for name in tf.io.gfile.listdir(self.directory)]
        steps = [int(match.group(1)) for match in found if match]
        return [step for step in steps if tf.io.gfile.exists(f"{self._folder(step)}/{COMMIT}")]

    def restore(self):
        """Load the newest checkpoint that is whole; return a `Restored`, or None without any.

        One that is damaged is passed over with a warning.

        Raises:
            LostCheckpoint: If there are some, and each is damaged.
        ValueError: If it is that of another model.
        """
        step, skipped, details = -1, [], {}
        if self.replicas.is_chief:
            for candidate in sorted(self.steps(), reverse=True):
                try:
                    details = self.check(candidate)
                    step = candidate
                    break
                except ValueError as error:
                    skipped.append(str(error))
            if skipped and step < 0:
                raise LostCheckpoint(
                    f"every checkpoint below {self.directory} is damaged: {' '.join(skipped)}"
                )
        step = self.replicas.same_everywhere(step)
        if step < 0:
            return None
        if not self.replicas.is_chief:
            details = self.check(step)  # the same folder, or the workers share no directory
        for reason in skipped:
            warnings.warn(
                f"DAMAGED CHECKPOINT: {reason} Going back to the one of step {step}.", stacklevel=2
            )
        try:
            self._state.read(f"{self._folder(step)}/{PREFIX}").assert_consumed()
        except (AssertionError, ValueError) as error:
            raise ValueError(
                f"{self._folder(step)} holds other variables than this model and optimizer have; "
                "give another output for another model."
            ) from error
        return Restored(step, details, tuple(skipped))

    def check(self, step):
        """Return the details of a checkpoint if all its files are as they were written.

        Raises:
            ValueError: If one is missing, shorter, or changed.
        """
        folder = self._folder(step)
        try:
            commit = json.loads(read_bytes(f"{folder}/{COMMIT}"))
            files, details = commit["files"], commit["details"]
            expected = {name: (row["bytes"], row["sha256"]) for name, row in files.items()}
        except (tf.errors.OpError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{folder}/{COMMIT} cannot be read ({_reason(error)}).") from None
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

    def _folder(self, step):
        return f"{self.directory}/step-{step:08d}"


def _key(name):
    """Return a name that `tf.train.Checkpoint` takes as an attribute, one to one."""
    return name.replace("_", "__").replace("/", "_s").replace(".", "_d")


def _described(path):
    digest, size = hashlib.sha256(), 0
    with tf.io.gfile.GFile(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _files_in(folder):
    return sorted(name for name in tf.io.gfile.listdir(folder) if name.startswith(f"{PREFIX}."))


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


def _remove(folder):
    if tf.io.gfile.exists(folder):
        # First what makes it a checkpoint, so that no half of one is taken for whole.
        with contextlib.suppress(tf.errors.NotFoundError):
            tf.io.gfile.remove(f"{folder}/{COMMIT}")
        tf.io.gfile.rmtree(folder)


def _reason(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
