"""What a run says of itself: a line of progress, `log.jsonl`, TensorBoard, a plot."""

from __future__ import annotations

import json
import sys

import tensorflow as tf

from bertzoo.training import checkpoint_files


class RunLog:
    """Writes rows of numbers where people and programs find them.

    Args:
        path: Of the JSONL file; one JSON object a line.
        total: Steps of the run.
        every: A row is logged for so many steps: means over them; 1 for each step.
        tensorboard: Directory for TensorBoard, or None.
        flops: (operations of one step, peak of all devices), for the share of the peak; or None.
        stream: For progress.
    """

    def __init__(self, path, total, every=1, tensorboard=None, flops=None, stream=None):
        self.path, self.total, self.every, self.flops = path, total, every, flops
        self.stream = stream or sys.stderr
        self._file = tf.io.gfile.GFile(path, "a")
        if _ends_torn(path):
            self._file.write("\n")
        self._writer = tf.summary.create_file_writer(tensorboard) if tensorboard else None
        self._rows, self._tokens, self._seconds = [], 0, 0.0

    def event(self, name, **values):
        """Log something that happened."""
        self._write({"event": name, **values})

    def steps(self, first, rows, tokens_per_step, seconds):
        """Log the rows of some steps that took `seconds`, of which the first was number `first`."""
        for step, row in enumerate(rows, start=first):
            self._rows.append(row)
            self._tokens += tokens_per_step
            self._seconds += seconds / len(rows)
            if (step + 1) % self.every == 0 or step + 1 == self.total:
                self._log(step + 1)

    def evaluation(self, step, values):
        """Log what held-out text says."""
        self._write({"step": step, **{f"held_out_{name}": v for name, v in values.items()}})
        self._summaries(step, values, "held_out")
        said = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        self._say(f"held out at step {step}: {said}", stay=True)

    def close(self):
        """Write everything out."""
        self._say("", stay=True)
        self._file.close()
        if self._writer:
            self._writer.close()

    def _log(self, step):
        rows, seconds = self._rows, self._seconds
        means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        means["learning_rate"] = rows[-1]["learning_rate"]
        finite = sum(row["finite"] for row in rows)
        means["skipped_steps"] = len(rows) - int(finite)
        del means["finite"]
        speed = {"tokens_per_second": self._tokens / max(seconds, 1e-9)}
        if self.flops is not None:
            speed["mfu"] = self.flops[0] * len(rows) / max(seconds, 1e-9) / self.flops[1]
        self._write({"step": step, **means, **speed})
        self._summaries(step, {**means, **speed}, "train")
        left = (self.total - step) * seconds / len(rows)
        self._say(progress_line(step, self.total, {**means, **speed}, left))
        self._rows, self._tokens, self._seconds = [], 0, 0.0

    def _write(self, row):
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def _summaries(self, step, values, group):
        if self._writer:
            with self._writer.as_default():
                for name, value in values.items():
                    tf.summary.scalar(f"{group}/{name}", value, step=step)

    def _say(self, text, stay=False):
        if self.stream.isatty():
            self.stream.write(f"\r\x1b[K{text}" + ("\n" if stay and text else ""))
        elif text:
            self.stream.write(f"{text}\n")
        self.stream.flush()


def progress_line(step, total, values, seconds_left):
    """Return one line that says how far a run is.

    >>> progress_line(50, 200, {"loss": 2.5, "masked_lm_accuracy": 0.251, "mfu": 0.312,
    ...                         "tokens_per_second": 51234.0}, 3725)
    '[=====---------------] 50/200 loss 2.500 mlm 25.1% 51.2k tokens/s mfu 31.2% 1:02:05 left'
    """
    done = round(20 * step / total)
    parts = [f"[{'=' * done}{'-' * (20 - done)}] {step}/{total} loss {values['loss']:.3f}"]
    for name, label in (("masked_lm_accuracy", "mlm"), ("next_sentence_accuracy", "nsp"),
                        ("discriminator_accuracy", "rtd")):  # fmt: skip
        if name in values:
            parts.append(f"{label} {values[name]:.1%}")
    parts.append(f"{values['tokens_per_second'] / 1000:.1f}k tokens/s")
    if "mfu" in values:
        parts.append(f"mfu {values['mfu']:.1%}")
    parts.append(f"{spelled_time(seconds_left)} left")
    return " ".join(parts)


def spelled_time(seconds):
    """Return hours, minutes and seconds.

    >>> spelled_time(3725.4)
    '1:02:05'
    """
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def read_log(path):
    """Return (rows, held-out rows, events) of a log; what was repeated after a kill counts once.

    A row that was torn by a kill is left out.
    """
    rows, held_out, events = {}, {}, []
    for line in checkpoint_files.read_bytes(path).decode("utf-8", "replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if "event" in row:
            events.append(row)
        elif any(name.startswith("held_out_") for name in row):
            held_out[row["step"]] = row
        else:
            rows[row["step"]] = row
    return [rows[step] for step in sorted(rows)], [held_out[s] for s in sorted(held_out)], events


def plot_log(path, target):
    """Draw loss, accuracy and learning rate of a log as a PNG; say so where that is not possible.

    Returns:
        Whether it was drawn.
    """
    try:
        import matplotlib
    except ModuleNotFoundError:
        print("no plot: pip install 'bertzoo[plot]' brings matplotlib", file=sys.stderr)
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    assert matplotlib.__version__
    rows, held_out, _ = read_log(path)
    figure = Figure(figsize=(8, 9), layout="constrained")
    FigureCanvasAgg(figure)
    names = ("loss", "masked_lm_accuracy", "learning_rate")
    for axis, name in zip(figure.subplots(len(names), 1, sharex=True), names, strict=True):
        shown = [(row["step"], row[name]) for row in rows if name in row]
        axis.plot(*zip(*shown, strict=True), label="training") if shown else None
        beside = [(r["step"], r[f"held_out_{name}"]) for r in held_out if f"held_out_{name}" in r]
        axis.plot(*zip(*beside, strict=True), "o-", label="held out") if beside else None
        axis.set_ylabel(name.replace("_", " "))
        if beside:
            axis.legend()
    axis.set_xlabel("step")
    with tf.io.gfile.GFile(target, "wb") as file:
        figure.savefig(file, format="png", dpi=120)
    return True


def _ends_torn(path):
    content = checkpoint_files.read_bytes(path) if tf.io.gfile.exists(path) else b""
    return bool(content) and not content.endswith(b"\n")
