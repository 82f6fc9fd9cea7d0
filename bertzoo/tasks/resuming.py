"""Go on with `fit` after an interruption, as if there had been none."""

import json
import pathlib
import re
import shutil
import warnings

import keras
import numpy as np

from bertzoo import durable

FORMAT_VERSION = 1
ARRAYS, STATE = "arrays.npz", "state.json"


class ResumableCheckpoint(keras.callbacks.Callback):
    """Writes everything that a run of `fit` is, after each epoch; a new run goes on from there.

    Give the same `fit` call the same callback again: it finds the last whole epoch and continues
    with the next one. Weights, the optimizer, the states of dropout's random generators, and the
    order of the texts in every epoch come back, so that on a CPU the result is that of a run
    without interruption, bit for bit. A `tf.data.Dataset` of your own is in the order that it makes
    itself; and of other callbacks nothing is kept.

    An epoch's folder appears by one rename, flushed, with checksums: a killed process leaves the
    epoch before. Where the newest one is damaged the one before is used, with a warning.

    Args:
        directory: Where the epochs are kept; one directory a run.
        keep: How many epochs.
        every: Epochs between two of them.

    Example:
    >>> texts, labels = ["good", "bad"] * 4, ["positive", "negative"] * 4
    >>> for epochs in (2, 3):  # the second run trains for the third epoch alone
    ...     classifier = TextClassifier.from_preset("bert_toy")
    ...     history = classifier.fit(texts, labels, epochs=epochs, verbose=0,
    ...                              callbacks=[bertzoo.ResumableCheckpoint("run")])
    >>> history.epoch
    [2]
    """

    def __init__(self, directory, keep=2, every=1):
        super().__init__()
        if keep < 1 or every < 1:
            raise ValueError(f"keep and every must be at least 1; got {keep} and {every}.")
        self.directory = pathlib.Path(directory).expanduser()
        self.keep = keep
        self.every = every

    def on_train_begin(self, logs=None):
        """Bring the last whole epoch back, if there is one."""
        for folder in reversed(self._folders()):
            try:
                state, arrays = _read(folder)
            except (OSError, ValueError, KeyError) as error:
                warnings.warn(
                    f"{folder} is damaged ({error}): going on from the epoch before it.",
                    stacklevel=2,
                )
                continue
            self._restore(state, arrays, folder)
            return

    def on_epoch_begin(self, epoch, logs=None):
        """Let the next call of `fit` begin at its own first epoch."""
        self.model._initial_epoch = None

    def on_train_end(self, logs=None):
        """The same, after a run that had nothing left to do."""
        self.model._initial_epoch = None

    def on_epoch_end(self, epoch, logs=None):
        """Write this epoch."""
        if (epoch + 1) % self.every:
            return
        target = self.directory / f"epoch-{epoch + 1:06d}"
        temporary = durable.temporary_beside(target, "writing")
        try:
            self._write(temporary, epoch)
            if target.exists():
                shutil.rmtree(target)
            temporary.rename(target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        durable.sync(self.directory)
        for old in self._folders()[: -self.keep]:
            shutil.rmtree(old)

    def _write(self, folder, epoch):
        arrays = {key: _as_bits(variable) for key, variable in _variables(self.model).items()}
        with open(folder / ARRAYS, "wb") as file:
            np.savez(file, **arrays)
        durable.sync(folder / ARRAYS)
        order = getattr(self.model, "_order", None)
        state = {
            "format_version": FORMAT_VERSION,
            "epochs": epoch + 1,
            "order_seed": None if order is None else order.seed,
            "sha256": durable.sha256(folder / ARRAYS),
        }
        durable.write_bytes(folder / STATE, json.dumps(state).encode())
        durable.sync(folder)

    def _restore(self, state, arrays, folder):
        if self.model.optimizer is not None and not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        variables = _variables(self.model)
        differ = sorted(set(variables) ^ set(arrays)) or [
            key for key, variable in variables.items() if tuple(variable.shape) != arrays[key].shape
        ]
        if differ:
            raise ValueError(
                f"{folder} is of another model or optimizer: {differ[0]} is not in both alike. "
                "Give every run a directory of its own."
            )
        for key, variable in variables.items():
            variable.assign(_from_bits(arrays[key], variable))
        order = getattr(self.model, "_order", None)
        if order is not None and state["order_seed"] is not None:
            order.seed = state["order_seed"]
        self.model._initial_epoch = state["epochs"]

    def _folders(self):
        pattern = re.compile(r"epoch-\d{6,}")
        if not self.directory.is_dir():
            return []
        found = [item for item in self.directory.iterdir() if pattern.fullmatch(item.name)]
        return sorted(found, key=lambda item: int(item.name.partition("-")[2]))


def _variables(model):
    """Return everything that changes in a run by a name: weights, random states, the optimizer."""
    variables = {}
    groups = {"model": model.variables, "optimizer": getattr(model.optimizer, "variables", [])}
    for group, members in groups.items():
        for index, variable in enumerate(members):
            variables[f"{group}/{index}/{variable.name}"] = variable  # a path may be numbered
    return variables


def _as_bits(variable):
    array = np.asarray(keras.ops.convert_to_numpy(variable.value))
    # NumPy's files do not know bfloat16.
    return array.view(np.uint16) if variable.dtype == "bfloat16" else array


def _from_bits(array, variable):
    if variable.dtype == "bfloat16":
        import ml_dtypes

        return array.view(ml_dtypes.bfloat16)
    return array


def _read(folder):
    state = json.loads((folder / STATE).read_text())
    if state["format_version"] != FORMAT_VERSION:
        raise ValueError(f"its format version is {state['format_version']}")
    if durable.sha256(folder / ARRAYS) != state["sha256"]:
        raise ValueError(f"{ARRAYS} is not the file that was written")
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        return state, dict(arrays)
