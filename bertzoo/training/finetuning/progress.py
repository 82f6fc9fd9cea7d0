"""How far a training is, while it trains."""

import sys
import time

import keras

from bertzoo.training.run_log import spelled_time

# Seconds between two messages: in the place of the one before on a terminal, else a line each.
ON_TERMINAL, IN_FILE = 1.0, 60.0


class Progress(keras.callbacks.Callback):
    """Says steps, loss and the time that is left.

    Args:
        steps_per_epoch: Batches of an epoch.
        epochs: Of the whole training.
        stream: For the messages; None for standard error.
        every: Seconds between two; None for what suits the stream.
    """

    def __init__(self, steps_per_epoch, epochs, stream=None, every=None):
        super().__init__()
        self.steps_per_epoch, self.total = steps_per_epoch, steps_per_epoch * epochs
        self.stream = stream or sys.stderr
        self.in_place = self.stream.isatty()
        self.every = every if every is not None else ON_TERMINAL if self.in_place else IN_FILE

    def on_train_begin(self, logs=None):
        """Begin to wait for the first message."""
        self._said, self._first = time.monotonic(), None

    def on_epoch_begin(self, epoch, logs=None):
        """Note how many steps were made before."""
        self._before = epoch * self.steps_per_epoch

    def on_train_batch_end(self, batch, logs=None):
        """Say it, if enough time has passed."""
        now, step = time.monotonic(), self._before + batch + 1
        if self._first is None:
            self._first = now, step  # the first batch is slow: it makes the graph
        if now - self._said < self.every or step == self._first[1]:
            return
        self._said = now
        left = (self.total - step) * (now - self._first[0]) / (step - self._first[1])
        text = f"  step {step}/{self.total}, loss {float(logs['loss']):.4f}"
        text += f", {spelled_time(left)} left"
        self._write(f"\r\x1b[K{text}" if self.in_place else f"{text}\n")

    def on_epoch_end(self, epoch, logs=None):
        """Make room for what is said of the epoch."""
        if self.in_place:
            self._write("\r\x1b[K")

    def _write(self, text):
        self.stream.write(text)
        self.stream.flush()
