"""Start-up: import, loading a preset, first prediction, and `predict` for one short text.

    python benchmarks/startup.py --output build/benchmarks

Every measurement of a start is a new process; the medians of `--repeats` are given. The preset is
BERT-Base's size with random weights, written first. Memory is the most that the process held,
without what TensorFlow alone holds.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import side_by_side

IMPORT = "import time; t = time.perf_counter(); import bertzoo; report(time.perf_counter() - t)"
TENSORFLOW = """
import time; t = time.perf_counter(); import tensorflow, keras; report(time.perf_counter() - t)
"""
LOAD = """
import time, tensorflow, keras, bertzoo
bertzoo.TextClassifier
t = time.perf_counter()
model = bertzoo.TextClassifier.from_preset(PRESET)
report(time.perf_counter() - t)
"""
FIRST = """
import time, tensorflow, keras, bertzoo
model = bertzoo.TextClassifier.from_preset(PRESET)
t = time.perf_counter()
model.predict(["a short text"], verbose=0)
report(time.perf_counter() - t)
"""
# `predict` on strings, beside the bare network on the ids of the same text.
OVERHEAD = """
import statistics, time, tensorflow as tf, bertzoo
model = bertzoo.TextClassifier.from_preset(PRESET)
ids = model.preprocessor(["a short text"])
graph = tf.function(lambda ids: model.network(ids, training=False))
strings, bare = [], []
for _ in range(60):
    t = time.perf_counter(); model.predict(["a short text"], verbose=0)
    strings.append(time.perf_counter() - t)
    t = time.perf_counter(); graph(ids).numpy()
    bare.append(time.perf_counter() - t)
report(statistics.median(strings[10:]) - statistics.median(bare[10:]))
"""
REPORT = """
import json, resource
def report(seconds):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "MB": peak}))
PRESET = %r
"""
STEPS = {
    "import bertzoo": IMPORT,
    "import tensorflow and keras": TENSORFLOW,
    "load a preset": LOAD,
    "first prediction, one text": FIRST,
    "predict beyond the bare graph, one text": OVERHEAD,
}


def main():
    parser = side_by_side.arguments(__doc__, repeats=3)
    parser.add_argument("--layers", default=12, type=int)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats = 1
    with tempfile.TemporaryDirectory() as folder:
        preset = str(pathlib.Path(folder) / "preset")
        megabytes = write_preset(preset, arguments.layers)
        measured = {name: [run(code, preset) for _ in range(arguments.repeats)]
                    for name, code in STEPS.items()}  # fmt: skip
    bare = statistics.median(one["MB"] for one in measured["import tensorflow and keras"])
    rows = []
    for name, runs in measured.items():
        peak = statistics.median(one["MB"] for one in runs) - bare
        rows.append(
            {
                "step": name,
                "ms": 1000 * statistics.median(one["seconds"] for one in runs),
                "peak MB beyond TensorFlow": max(peak, 0.0),
                "times the weights": max(peak, 0.0) / megabytes,
            }
        )
    columns = {key: key for key in rows[0]}
    setting = {"weights_mb": megabytes, "layers": arguments.layers}
    setting["versions"] = side_by_side.versions("bertzoo", "tensorflow", "keras")
    title = f"Start-up with {megabytes:.0f} MB of weights, medians of {arguments.repeats} processes"
    side_by_side.report("startup", title, rows, columns, setting, arguments.output)


def write_preset(path, num_layers):
    """Write a classifier with random weights; return the size of its weights in MB."""
    script = f"""
import bertzoo
toy = bertzoo.TextClassifier.from_preset("bert_toy", num_classes=2)
config = bertzoo.BackboneConfig(num_layers={num_layers})
task = bertzoo.TextClassifier.from_backbone(
    bertzoo.Backbone(config), toy.preprocessor, num_classes=2)
task.save_to_preset({path!r})
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    return (pathlib.Path(path) / "weights.safetensors").stat().st_size / 1.0e6


def run(code, preset):
    script = REPORT % preset + code
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    return json.loads(done.stdout.decode().splitlines()[-1])


if __name__ == "__main__":
    main()
