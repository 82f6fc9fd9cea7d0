"""Checkpoints that a run can be killed beside: whole or not there, checked before they are used.

Each is a folder, `checkpoints/step-00000200` (`checkpoint_files.py`). Training goes on while one
is written: `start` copies the variables to the host's memory, and a thread writes the copies. One
is written at a time, by the chief alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
import time
import warnings

import tensorflow as tf

from bertzoo.training.checkpoint_files import (
    PREFIX,
    check,
    is_committed,
    reason_of,
    remove,
    write_checkpoint,
)

FOLDER = re.compile(r"step-(\d{8,})/?$")
# What the chief says in the place of a step.
_NONE, _LOST = -1, -2


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


@dataclasses.dataclass
class Write:
    """A checkpoint that is being written, or was.

    Args:
        step: Steps that were done.
        waited: Seconds for which training stood still: what came before, and the copies.
        seconds: What the writing took; None before it is whole.
        error: Why it never will be, or None.
        thread: Which writes.
    """

    step: int
    waited: float
    seconds: float | None = None
    error: Exception | None = None
    thread: threading.Thread | None = None


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
        self._write, self._news = None, []
        plain = {name: getattr(variable, "value", variable) for name, variable in variables.items()}
        # Keras variables are asked for TensorFlow's own, which know their replicas.
        self._variables = {
            _key(name): value if isinstance(value, tf.Variable) else variables[name]
            for name, value in plain.items()
        }
        with replicas.scope():
            self._state = tf.train.Checkpoint(**self._variables)

    # === Writing ===

    def save(self, step, details=None):
        """Write a checkpoint, and return when it is whole; see `start` and `finish`."""
        self.start(step, details)
        self.finish()

    def start(self, step, details=None):
        """Begin to write a checkpoint of `step` steps; what changes from now on is not in it.

        Every worker calls it; the chief alone writes. What was begun before is finished first. The
        checkpoint before stays until this one is whole; then those that are too many go.

        Raises:
            OSError: As `finish`, for the one before.
        """
        began = time.perf_counter()
        self.finish()
        if not self.replicas.is_chief:
            return
        with tf.device("CPU:0"):
            # On a processor these share the variables' memory, which TensorFlow copies when a
            # variable is changed while somebody else holds it.
            copies = {key: tf.identity(v.read_value()) for key, v in self._variables.items()}
        write = Write(step, time.perf_counter() - began)
        # No daemon: a process that ends waits for it.
        write.thread = threading.Thread(
            target=self._run, args=(write, copies, details or {}), name=f"checkpoint-{step}"
        )
        self._write = write
        write.thread.start()

    def finish(self):
        """Wait until what was begun is whole; every worker calls it.

        Raises:
            OSError: If it could not be written, as on a full disk; what is there is untouched.
        """
        self.settle()
        failed = self._write is not None and self._write.error is not None
        if not self.replicas.any_worker(failed):
            return
        if not failed:
            raise OSError("the first worker could not write a checkpoint; its message says why.")
        error, self._write = self._write.error, None
        raise error

    def settle(self):
        """Wait for the thread alone, whatever comes of it."""
        if self._write is not None and self._write.thread is not None:
            self._write.thread.join()

    @property
    def has_failed(self):
        """Whether `finish` would raise, as far as is known by now."""
        return self._write is not None and self._write.error is not None

    def news(self):
        """Return each `Write` that came to its end, once."""
        return [self._news.pop(0) for _ in range(len(self._news))]

    def _run(self, write, copies, details):
        began = time.perf_counter()
        try:
            self._write_checkpoint(write.step, copies, details)
            write.seconds = time.perf_counter() - began
            self._news.append(write)
        except Exception as error:  # it is raised again by `finish`
            write.error = error

    def _write_checkpoint(self, step, copies, details):
        folder = self._folder(step)
        try:
            write_checkpoint(folder, copies, step, details)
        except (OSError, tf.errors.OpError) as error:
            with contextlib.suppress(OSError, tf.errors.OpError):
                remove(folder)
            last = max(self.steps(), default=None)
            rest = "there is none before it" if last is None else f"that of step {last} is whole"
            raise OSError(
                f"the checkpoint of step {step} could not be written below {self.directory}: "
                f"{reason_of(error)}; {rest}. Make room and run the same command again."
            ) from error
        for old in sorted(self.steps())[: -self.keep]:
            remove(self._folder(old))

    # === Reading ===

    def steps(self):
        """Return the steps of all checkpoints that were committed, in no order."""
        if not tf.io.gfile.isdir(self.directory):
            return []
        found = [FOLDER.search(name) for name in tf.io.gfile.listdir(self.directory)]
        steps = [int(match.group(1)) for match in found if match]
        return [step for step in steps if is_committed(self._folder(step))]

    def restore(self):
        """Load the newest checkpoint that is whole; return a `Restored`, or None without any.

        One that is damaged is passed over with a warning. The chief decides which one it is; every
        worker calls this, and all of them raise where one does.

        Raises:
            LostCheckpoint: If there are some, and each is damaged.
            ValueError: If it is that of another model, or a worker cannot read it.
        """
        step, skipped, details = _NONE, [], {}
        if self.replicas.is_chief:
            for candidate in sorted(self.steps(), reverse=True):
                try:
                    details = check(self._folder(candidate))
                    step = candidate
                    break
                except ValueError as error:
                    skipped.append(str(error))
            if skipped and step == _NONE:
                step = _LOST
        step = self.replicas.same_everywhere(step)
        if step == _LOST:
            reasons = " ".join(skipped) or "the message of the first worker says how."
            raise LostCheckpoint(f"every checkpoint below {self.directory} is damaged: {reasons}")
        if step == _NONE:
            return None
        for reason in skipped:
            warnings.warn(
                f"DAMAGED CHECKPOINT: {reason} Going back to the one of step {step}.", stacklevel=2
            )
        error = None
        try:
            if not self.replicas.is_chief:
                # The same folder, or the workers share no directory.
                details = check(self._folder(step))
            self._load(step)
        except (ValueError, tf.errors.OpError) as found:
            error = found
        if self.replicas.any_worker(error is not None):
            raise error or ValueError(
                f"another worker cannot read the checkpoint of step {step} in {self.directory}, "
                "and its message says why: all workers need the same output directory."
            )
        return Restored(step, details, tuple(skipped))

    def _load(self, step):
        try:
            self._state.read(f"{self._folder(step)}/{PREFIX}").assert_consumed()
        except (AssertionError, ValueError) as error:
            raise ValueError(
                f"{self._folder(step)} holds other variables than this model and optimizer have; "
                "give another output for another model."
            ) from error

    def _folder(self, step):
        return f"{self.directory}/step-{step:08d}"


def _key(name):
    """Return a name that `tf.train.Checkpoint` takes as an attribute, one to one."""
    return name.replace("_", "__").replace("/", "_s").replace(".", "_d")
