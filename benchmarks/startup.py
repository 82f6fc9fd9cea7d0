"""Start-up: import, loading a preset, first prediction, and `predict` for one short text.

    python benchmarks/startup.py --output build/benchmarks

Every measurement of a start is a new process; the medians of `--repeats` are given, KerasHub's and
transformers' beside ours. The classifier is of BERT-Base's size with random weights, written first.
Memory is the most that the process held, and that without what the framework alone (TensorFlow and
Keras, or PyTorch and transformers) holds.
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
TORCH = """
import time; t = time.perf_counter()
import torch, transformers
transformers.AutoTokenizer, transformers.AutoModelForSequenceClassification
report(time.perf_counter() - t)
"""
# How each is loaded, and what it says of one text.
OURS = (
    "import tensorflow, keras, bertzoo; bertzoo.TextClassifier",
    "model = bertzoo.TextClassifier.from_preset(PRESET)",
    "model.predict(['a short text'], verbose=0)",
)
KERAS_HUB = (
    "import tensorflow, keras, keras_hub",
    "model = keras_hub.models.BertTextClassifier.from_preset(PRESET + '_keras_hub')",
    "model.predict(['a short text'], verbose=0)",
)
TRANSFORMERS = (
    """
import torch, transformers
transformers.AutoTokenizer, transformers.AutoModelForSequenceClassification
""",
    """
tokenizer = transformers.AutoTokenizer.from_pretrained(PRESET + '_hf')
model = transformers.AutoModelForSequenceClassification.from_pretrained(PRESET + '_hf').eval()
""",
    """
with torch.inference_mode():
    model(**tokenizer(['a short text'], return_tensors='pt')).logits.numpy()
""",
)


def load(imports, make, _):
    return f"{imports}\nimport time; t = time.perf_counter()\n{make}\n{STOP}"


def first(imports, make, predict):
    return f"{imports}\n{make}\nimport time; t = time.perf_counter()\n{predict}\n{STOP}"


STOP = "report(time.perf_counter() - t)"
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
# What is measured -> its code, and the step that holds the framework alone.
FRAMEWORK, PYTORCH = "import tensorflow and keras", "import torch and transformers"
STEPS = {
    "import bertzoo": (IMPORT, FRAMEWORK),
    FRAMEWORK: (TENSORFLOW, FRAMEWORK),
    PYTORCH: (TORCH, PYTORCH),
    "load": (load(*OURS), FRAMEWORK),
    "load, KerasHub": (load(*KERAS_HUB), FRAMEWORK),
    "load, transformers": (load(*TRANSFORMERS), PYTORCH),
    "first prediction, one text": (first(*OURS), FRAMEWORK),
    "first prediction, KerasHub": (first(*KERAS_HUB), FRAMEWORK),
    "first prediction, transformers": (first(*TRANSFORMERS), PYTORCH),
    "predict beyond the bare graph, one text": (OVERHEAD, FRAMEWORK),
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
        measured = {}
        for name, (code, _) in STEPS.items():
            try:
                measured[name] = [run(code, preset) for _ in range(arguments.repeats)]
            except subprocess.CalledProcessError as error:
                print(f"{name} is left out: {error.stderr.decode().splitlines()[-1]}")
    peaks = {name: statistics.median(one["MB"] for one in runs) for name, runs in measured.items()}
    rows = []
    for name, runs in measured.items():
        beyond = max(peaks[name] - peaks[STEPS[name][1]], 0.0)
        rows.append(
            {
                "step": name,
                "ms": 1000 * statistics.median(one["seconds"] for one in runs),
                "peak MB": peaks[name],
                "beyond the framework": beyond,
                "times the weights": beyond / megabytes,
            }
        )
    columns = {key: key for key in rows[0]}
    setting = {"weights_mb": megabytes, "layers": arguments.layers}
    packages = ("bertzoo", "tensorflow", "keras", "keras-hub", "torch", "transformers")
    setting["versions"] = side_by_side.versions(*packages)
    title = f"Start-up with {megabytes:.0f} MB of weights, medians of {arguments.repeats} processes"
    side_by_side.report("startup", title, rows, columns, setting, arguments.output)


def write_preset(path, num_layers):
    """Write a classifier with random weights; return the size of its weights in MB."""
    script = f"""
import bertzoo
toy = bertzoo.TextClassifier.from_preset("bert_toy", num_classes=2)
config = bertzoo.BackboneConfig(num_layers={num_layers}, activation="gelu_tanh")
task = bertzoo.TextClassifier.from_backbone(
    bertzoo.Backbone(config), toy.preprocessor, num_classes=2)
task.save_to_preset({path!r})
for name, form in (("keras_hub", "keras_hub"), ("hf", "hf_bert")):
    bertzoo.export_checkpoint({path!r}, {path!r} + "_" + name, format=form)
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    return (pathlib.Path(path) / "weights.safetensors").stat().st_size / 1.0e6


def run(code, preset):
    script = REPORT % preset + code
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    return json.loads(done.stdout.decode().splitlines()[-1])


if __name__ == "__main__":
    main()
