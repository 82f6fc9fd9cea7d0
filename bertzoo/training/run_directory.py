"""What a run was begun with, kept beside its checkpoints, so that it is gone on with or refused.

run.json    the recipe as it was resolved, and bertzoo's version
log.jsonl, checkpoints/, tensorboard/, preset/
"""

from __future__ import annotations

import json

import tensorflow as tf

from bertzoo import __version__
from bertzoo.training import checkpoint_files

RUN, LOG, CHECKPOINTS = "run.json", "log.jsonl", "checkpoints"

# What may change between two parts of a run: it does not change a single number.
FREE = (
    "output",
    "training.steps_per_call",
    "training.log_every",
    "training.checkpoint_every",
    "training.evaluate_every",
    "training.keep",
    "training.tensorboard",
)


class RunDirectory:
    """The directory of one run.

    Args:
        directory: A path, `gs://...` or `ram://...`.
        config: What the run is, as nested plain dictionaries.
    """

    def __init__(self, directory, config):
        self.directory = str(directory).rstrip("/")
        self.config = json.loads(json.dumps(config))

    def path(self, name):
        """Return the path of a file of the run."""
        return f"{self.directory}/{name}"

    def has_begun(self, checkpoint_steps, resume, force):
        """Return whether there is a run to go on with.

        Args:
            checkpoint_steps: Of the checkpoints that were committed.
            resume: Whether there must be one.
            force: Whether to go on with another configuration, or to start where one is lost.

        Raises:
            ValueError: If the directory holds something else than this run, or not all of it.
        """
        known = self._known()
        if known is None:
            traces = [f"a checkpoint of step {step}" for step in checkpoint_steps if step]
            if tf.io.gfile.exists(self.path(LOG)):
                traces.append(LOG)
            if traces and not force:
                raise ValueError(
                    f"{self.directory} has {' and '.join(traces)}, but {RUN} is lost or damaged, "
                    "which says what the run was: give another output, or --force to go on with "
                    "this recipe."
                )
            if resume and not traces:
                raise ValueError(f"there is no run to resume in {self.directory}.")
            return bool(traces)
        changes = differences(known, self.config)
        if changes and not force:
            raise ValueError(
                f"{self.directory} was begun with another recipe; give another output, or --force "
                "to go on with the new one:\n  " + "\n  ".join(changes)
            )
        if not checkpoint_steps:
            if not force:
                raise ValueError(
                    f"{self.directory} was begun, and all its checkpoints are gone; --force starts "
                    "it from step 0."
                )
            return False
        return True

    def write(self):
        """Write down what the run is."""
        content = {"bertzoo": __version__, "config": self.config}
        tf.io.gfile.makedirs(self.directory)
        checkpoint_files.write_text(self.path(RUN), json.dumps(content, indent=1) + "\n")

    def _known(self):
        if not tf.io.gfile.exists(self.path(RUN)):
            return None
        try:
            return json.loads(checkpoint_files.read_bytes(self.path(RUN)))["config"]
        except (ValueError, KeyError, TypeError):
            return None


def differences(before, now, key=""):
    """Return one line for each value that differs, but for what is free to change.

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}, "output": "x"})
    ['a.b: was 1, is 3']
    """
    if isinstance(before, dict) and isinstance(now, dict):
        lines = []
        for name in [*before, *(name for name in now if name not in before)]:
            inner = f"{key}.{name}" if key else name
            lines += differences(before.get(name, ...), now.get(name, ...), inner)
        return lines
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [line for n, (old, new) in pairs for line in differences(old, new, f"{key}.{n}")]
    if before == now or key in FREE:
        return []
    said = ["not there" if value is ... else repr(value) for value in (before, now)]
    return [f"{key}: was {said[0]}, is {said[1]}"]
