"""Teacher and student side by side: size, speed and quality, as text, JSON, and a picture."""

import dataclasses
import statistics
import time

import numpy as np
import tensorflow as tf

from bertzoo import reports
from bertzoo.adapt.quantization import size_in_bytes
from bertzoo.reports.figures import can_plot, new_figure, save_figure

# Rows times tokens: one short text, and a batch of longer ones.
SHAPES = ((1, 32), (8, 128))
ROUNDS = 15
# Before the clock counts: the first calls trace and allocate.
WARM_UP = 3


@dataclasses.dataclass(frozen=True)
class Measured:
    """One model of a comparison.

    Args:
        name: `teacher`, `student`, or what the run calls it.
        parameters: Weights of the network, head included.
        megabytes: Of its weights file, in units of a million bytes.
        milliseconds: Shape such as `1x32` -> median time of a forward pass.
        metrics: Name -> number; may be empty.
    """

    name: str
    parameters: int
    megabytes: float
    milliseconds: dict[str, float]
    metrics: dict[str, float]


def compare(networks, metrics=None, shapes=SHAPES, rounds=ROUNDS):
    """Measure models side by side, taking turns, so that a busy machine is busy for all.

    Args:
        networks: Name -> Keras model on a dict of ids; the first is what others are compared with.
        metrics: Name -> {metric: number}.
        shapes: (rows, tokens) of the batches that are timed; longer than a model takes are cut.
        rounds: How often each is timed; the median counts.

    Returns:
        A list of `Measured`, in the order of `networks`.

    Example:
    >>> networks = {name: TextClassifier.from_preset("bert_toy", labels=["a", "b"]).network
    ...             for name in ("teacher", "student")}
    >>> found = compare(networks, {"teacher": {"accuracy": 0.8}, "student": {"accuracy": 0.6}},
    ...                 shapes=[(1, 8)], rounds=1)
    >>> found[0].parameters == found[1].parameters, retained(found)
    (True, {'accuracy': 0.7...})
    """
    metrics, milliseconds = metrics or {}, {name: {} for name in networks}
    for rows, length in shapes:
        times = _times(networks, rows, length, rounds)
        for name, seconds in times.items():
            milliseconds[name][f"{rows}x{length}"] = 1000.0 * statistics.median(seconds)
    return [
        Measured(
            name,
            sum(int(np.prod(weight.shape)) for weight in _weights(network)),
            size_in_bytes(network) / 1.0e6,
            milliseconds[name],
            dict(metrics.get(name, {})),
        )
        for name, network in networks.items()
    ]


def retained(found):
    """Return metric -> the last model's share of what the first reaches; not of errors.

    >>> teacher = Measured("teacher", 4, 1.0, {}, {"accuracy": 0.9})
    >>> retained([teacher, dataclasses.replace(teacher, metrics={"accuracy": 0.81})])
    {'accuracy': 0.9}
    """
    first, last = found[0].metrics, found[-1].metrics
    return {
        name: round(last[name] / first[name], 6)
        for name in last
        if first.get(name) and not name.endswith("error")
    }


def as_text(found):
    """Return the comparison as a table of Markdown.

    >>> teacher = Measured("teacher", 4_000_000, 16.0, {"1x32": 8.0}, {"accuracy": 0.9})
    >>> student = Measured("student", 2_000_000, 8.0, {"1x32": 4.0}, {"accuracy": 0.81})
    >>> print(as_text([teacher, student]))
    | | teacher | student | student / teacher |
    |---|---|---|---|
    | parameters | 4,000,000 | 2,000,000 | 0.50 |
    | MB on disk | 16.0 | 8.0 | 0.50 |
    | ms, 1x32 | 8.00 | 4.00 | 2.0 times as fast |
    | accuracy | 0.9000 | 0.8100 | 90.0 % retained |
    """
    first, last = found[0], found[-1]
    names = [model.name for model in found]
    lines = ["| | " + " | ".join([*names, f"{last.name} / {first.name}"]) + " |"]
    lines.append("|---" * (len(names) + 2) + "|")

    def row(title, cells, ratio):
        lines.append(f"| {title} | " + " | ".join([*cells, ratio]) + " |")

    row("parameters", [f"{m.parameters:,}" for m in found],
        f"{last.parameters / first.parameters:.2f}")  # fmt: skip
    row("MB on disk", [f"{m.megabytes:.1f}" for m in found],
        f"{last.megabytes / first.megabytes:.2f}")  # fmt: skip
    for shape in first.milliseconds:
        times = [model.milliseconds[shape] for model in found]
        row(f"ms, {shape}", [f"{t:.2f}" for t in times],
            f"{times[0] / times[-1]:.1f} times as fast")  # fmt: skip
    kept = retained(found)
    for name in first.metrics:
        cells = [f"{m.metrics[name]:.4f}" if name in m.metrics else "" for m in found]
        row(name, cells, f"{100 * kept[name]:.1f} % retained" if name in kept else "")
    return "\n".join(lines)


def write(directory, found):
    """Write `comparison.md`, `comparison.json` and, where matplotlib is there, `comparison.png`.

    Args:
        directory: A `pathlib.Path` that exists.
        found: From `compare`.
    """
    rows = [dataclasses.asdict(model) for model in found]
    reports.write_json(directory / "comparison.json", {"models": rows, "retained": retained(found)})
    (directory / "comparison.md").write_text(as_text(found) + "\n", encoding="utf-8")
    if can_plot():
        plot(directory / "comparison.png", found)


def plot(path, found):
    """Draw what `as_text` says, each quantity as a share of the first model's."""
    figure = new_figure(width=7.0, height=3.6)
    axis = figure.subplots()
    quantities = {
        "parameters": [m.parameters for m in found],
        "MB": [m.megabytes for m in found],
        **{f"ms, {s}": [m.milliseconds[s] for m in found] for s in found[0].milliseconds},
        **{
            name: [m.metrics.get(name, np.nan) for m in found] for name in found[0].metrics
        },
    }  # fmt: skip
    width = 0.8 / len(found)
    for number, model in enumerate(found):
        shares = [values[number] / values[0] if values[0] else np.nan
                  for values in quantities.values()]  # fmt: skip
        axis.bar(np.arange(len(quantities)) + number * width, shares, width, label=model.name)
    axis.set_xticks(np.arange(len(quantities)) + 0.4 - width / 2, list(quantities))
    axis.set_ylabel(f"share of the {found[0].name}'s")
    axis.legend()
    save_figure(figure, path)


def _weights(network):
    return [weight for weight in network.weights if weight.name != "seed_generator_state"]


def _times(networks, rows, length, rounds):
    """Return name -> seconds of each round, the models taking turns."""
    calls = {name: _call(network, rows, length) for name, network in networks.items()}
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    times = {name: [] for name in networks}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return times


def _call(network, rows, length):
    """Return a function that runs a model on a batch of one shape and waits for the result."""
    length = min(length, getattr(network, "max_sequence_length", length))
    features = {}
    for name in network.input:
        shape = (rows, 1) if name == "mask_positions" else (rows, length)
        features[name] = tf.ones(shape, tf.int32) * (0 if name == "segment_ids" else 1)
    function = tf.function(lambda: tf.nest.flatten(network(features, training=False))[0])

    def call():
        return function().numpy()

    return call
