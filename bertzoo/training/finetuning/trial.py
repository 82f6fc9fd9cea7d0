"""One training: one learning rate, one seed; measured on dev after every epoch, best epoch kept."""

from __future__ import annotations

import io
import json
import pathlib
import shutil
import time
import typing

import keras
import numpy as np

from bertzoo import durable, reports
from bertzoo.optimizers.adamw import AdamW
from bertzoo.optimizers.schedules import WarmupPolynomial
from bertzoo.tasks.resuming import ResumableCheckpoint
from bertzoo.training.finetuning.progress import Progress
from bertzoo.training.stopping import Stopped, signals_noticed


class Outcome(typing.NamedTuple):
    """What one trial came to.

    Args:
        rate: Its learning rate.
        seed: Its seed.
        best_epoch: From 1; the one whose weights count.
        dev: Metrics on dev, with those weights.
        others: Part -> metrics, of `test` and all others that have labels.
        history: Name -> a value an epoch.
        seconds: Of training, evaluation left out.
        rows_per_second: Of training, over all epochs of the last start.
    """

    rate: float
    seed: int
    best_epoch: int
    dev: dict[str, float]
    others: dict[str, dict[str, float]]
    history: dict[str, list[float]]
    seconds: float
    rows_per_second: float


def name_of(rate, seed):
    """Return the directory of a trial.

    >>> name_of(3.0e-5, 7)
    'rate-3e-05_seed-7'
    """
    return f"rate-{rate:g}_seed-{seed}"


def run_trial(kind, examples, rate, seed, folder):
    """Train, or go on training, and return the `Outcome` and the task.

    A trial that is done is only read; its task is then None, see `restored`.

    Args:
        kind: A `Kind`.
        examples: Part -> `Examples`.
        rate: The learning rate at its highest.
        seed: Of the head, dropout and the order of the data.
        folder: Of the trial.
    """
    done = folder / "outcome.json"
    if done.exists():
        return Outcome(**json.loads(done.read_text(encoding="utf-8"))), None
    folder.mkdir(parents=True, exist_ok=True)
    training = kind.recipe.training
    keras.utils.set_random_seed(seed)
    with kind.scope():
        task = prepared_task(kind, examples["train"])
        steps_per_epoch = kind.steps_per_epoch(task, examples["train"])
        kind.compile(
            task, optimizer_of(training, rate, steps_per_epoch * training.epochs), examples["train"]
        )
    watch = BestEpoch(kind, task, examples["dev"], folder, training)
    # Measured before the state is saved: an epoch that is saved has been measured.
    with signals_noticed() as noticed:
        progress = Progress(steps_per_epoch, training.epochs)
        callbacks = [
            progress,
            watch,
            ResumableCheckpoint(folder / "checkpoint"),
            StopOnSignal(noticed),
        ]
        if not watch.is_over:
            kind.fit(task, examples["train"], [*callbacks, EarlyEnd(watch)])
    watch.restore()
    if kind.recipe.evaluation.tune:
        kind.tune(task, examples["dev"])
    outcome = Outcome(
        rate=rate,
        seed=seed,
        best_epoch=watch.best_epoch,
        dev=kind.measure(task, examples["dev"]),
        others={
            name: kind.measure(task, part)
            for name, part in examples.items()
            if name not in ("train", "dev") and kind.has_labels(part)
        },
        history=watch.history(),
        seconds=watch.seconds,
        rows_per_second=kind.count(examples["train"]) * watch.trained / max(watch.seconds, 1e-9),
    )
    reports.write_json(done, outcome._asdict())
    for file in folder.glob("best-*.npz"):
        if file != watch.file:
            file.unlink()
    # Three copies of the weights, for going on with what is now done.
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    return outcome, task


def restored(kind, examples, outcome, folder):
    """Return the task of a trial that is done, with the weights and thresholds that count."""
    keras.utils.set_random_seed(outcome.seed)
    with kind.scope():
        task = prepared_task(kind, examples["train"])
        kind.compile(task, AdamW(outcome.rate), examples["train"])
    load_trained(task, folder / f"best-{outcome.best_epoch}.npz")
    if kind.recipe.evaluation.tune:
        kind.tune(task, examples["dev"])
    return task


def prepared_task(kind, examples):
    """Return the task with what is frozen frozen, and its adapters where there are any."""
    model = kind.recipe.model
    task = kind.make(examples)
    layers = task.backbone.encoder_layers
    if model.freeze_layers > len(layers):
        raise ValueError(
            f"freeze_layers is {model.freeze_layers}, and {model.preset} has {len(layers)} layers."
        )
    if model.lora_rank is not None:
        task.enable_lora(model.lora_rank, lora_alpha=model.lora_alpha)
    if model.freeze_embeddings:
        task.backbone.embeddings.trainable = False
    for layer in layers[: model.freeze_layers]:
        layer.trainable = False
    return task


def optimizer_of(training, rate, steps):
    """Return AdamW with the schedule of a `Training` section over so many steps."""
    if training.decay == "constant":
        decay = {"power": 0.0}
    else:
        decay = {"restarted": training.decay == "linear"}
    schedule = WarmupPolynomial(rate, steps, warmup_steps=int(steps * training.warmup), **decay)
    return AdamW(
        schedule,
        weight_decay=training.weight_decay,
        bias_correction=training.bias_correction,
        layer_decay=training.layer_decay,
        global_clipnorm=training.clip,
    )


class BestEpoch(keras.callbacks.Callback):
    """Measures a task on dev after every epoch and keeps the weights of the best.

    What it knows lies in files: a trial that goes on finds the epochs before.
    """

    def __init__(self, kind, task, dev, folder, training):
        super().__init__()
        self.kind, self.task, self.dev, self.folder = kind, task, dev, folder
        self.keeps_last, self.patience = training.keep == "last", training.early_stopping
        self.metrics, self.logs, self.seconds, self.trained = [], [], 0.0, 0
        self._read()
        # One that had waited enough when it was killed does not go on.
        self.is_over = bool(self.metrics) and self.has_waited_enough

    def on_epoch_begin(self, epoch, logs=None):
        """Forget epochs that are trained again."""
        self.metrics, self.logs = self.metrics[:epoch], self.logs[:epoch]
        self._began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Measure; keep the weights if they are the best so far."""
        self.seconds += time.monotonic() - self._began
        self.trained += 1
        metrics = self.kind.measure(self.task, self.dev)
        self.metrics.append(metrics)
        self.logs.append({key: float(value) for key, value in (logs or {}).items()})
        if self.best_epoch == epoch + 1:
            save_trained(self.task, self.file)
        reports.write_json(
            self.folder / "epochs.json", {"metrics": self.metrics, "logs": self.logs}
        )
        spelled = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        self.kind.say(f"  epoch {epoch + 1}: {spelled}")

    @property
    def best_epoch(self):
        """The epoch, from 1, whose weights count: the first of those that are equally good."""
        if self.keeps_last:
            return len(self.metrics)
        values = [self.kind.value(metrics) for metrics in self.metrics]
        return int(np.argmax(values)) + 1

    @property
    def file(self):
        """Where the weights of the best epoch are.

        Those of earlier best ones stay until the end: a trial that is killed may go on from there.
        """
        return self.folder / f"best-{self.best_epoch}.npz"

    @property
    def has_waited_enough(self):
        """Whether the last gain is longer ago than the recipe's patience."""
        return self.patience is not None and len(self.metrics) - self.best_epoch >= self.patience

    def restore(self):
        """Give the task the weights that count."""
        load_trained(self.task, self.file)

    def history(self):
        """Return name -> a value an epoch, Keras's and dev's."""
        names = [name for name in self.logs[-1] if all(name in one for one in self.logs)]
        history = {name: [one[name] for one in self.logs] for name in names}
        for name in self.metrics[-1]:
            history[f"val_{name}"] = [one[name] for one in self.metrics]
        return history

    def _read(self):
        file = self.folder / "epochs.json"
        if file.exists():
            state = json.loads(file.read_text(encoding="utf-8"))
            self.metrics, self.logs = state["metrics"], state["logs"]


class StopOnSignal(keras.callbacks.Callback):
    """Ends a trial at the next batch after a signal; it goes on from its last whole epoch."""

    def __init__(self, noticed):
        super().__init__()
        self.noticed = noticed

    def on_train_batch_end(self, batch, logs=None):
        """Look whether a signal has arrived."""
        if self.noticed.signal is not None:
            raise Stopped(
                f"{self.noticed.signal} arrived; the same command goes on from the last whole "
                "epoch."
            )


class EarlyEnd(keras.callbacks.Callback):
    """Ends a trial that has not got better for a while; after its state was saved."""

    def __init__(self, watch):
        super().__init__()
        self.watch = watch

    def on_epoch_end(self, epoch, logs=None):
        """Look whether it has waited enough."""
        if self.watch.has_waited_enough:
            self.model.stop_training = True


def save_trained(task, path):
    """Write the weights that training changes, by number, as plain arrays."""
    content = io.BytesIO()
    arrays = {str(i): np.asarray(w) for i, w in enumerate(task.trainable_weights)}
    np.savez(content, **arrays)
    durable.replace_file(pathlib.Path(path), content.getvalue())


def load_trained(task, path):
    """Read what `save_trained` wrote for a task that was made alike."""
    with np.load(path) as arrays:
        for index, weight in enumerate(task.trainable_weights):
            weight.assign(arrays[str(index)])
