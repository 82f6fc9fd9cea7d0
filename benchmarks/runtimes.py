"""float32 and int8 in ONNX Runtime, OpenVINO and LiteRT, beside TensorFlow, in one run.

    python benchmarks/runtimes.py --output build/benchmarks
    python benchmarks/runtimes.py --quick

all-MiniLM-L6-v2 (real weights) embeds the sentences of STS-B's development set. Each runtime's own
quantiser is calibrated on sentences of the training set; the metric is the rank correlation of
cosines and scores, before and after. Times are of strings to vectors, in batches of 32 sentences
of like length; every repetition runs all of them in turn. Runtimes that are not installed are left
out. With `--models` the files are kept, and those that are there are run as they are.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pathlib
import tempfile
from functools import partial

import side_by_side
from quantization import read_pairs, spearman
from side_by_side import DATA

import bertzoo
from bertzoo.serving import runtimes

# Tokens of a row: none of the sentences is longer, and LiteRT's file has one length.
LENGTH = 64


def main():
    parser = side_by_side.arguments(__doc__, repeats=5)
    parser.add_argument("--preset", default="all_minilm_l6_v2_en")
    parser.add_argument("--folder", default=DATA / "glue" / "STS-B", type=pathlib.Path)
    parser.add_argument("--pairs", default=1500, type=int, help="of the development set")
    parser.add_argument("--calibration", default=200, type=int, help="sentences")
    parser.add_argument("--timed", default=256, type=int, help="sentences of a timed run")
    parser.add_argument("--models", type=pathlib.Path, help="folder that keeps the exported files")
    parser.add_argument("--runtimes", nargs="*", default=list(runtimes.RUNTIMES))
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats, arguments.timed = 2, 64
        arguments.pairs, arguments.calibration = 100, 50
    pairs = spread(read_pairs(arguments.folder / "sts-dev.csv"), arguments.pairs)
    sentences = [text for first, second, _ in pairs for text in (first, second)]
    train = spread(read_pairs(arguments.folder / "sts-train.csv"), arguments.calibration)
    calibration = [first for first, _, _ in train]

    task = bertzoo.TextEmbedder.from_preset(arguments.preset, sequence_length=LENGTH)
    runs = {"TensorFlow": partial(task.predict, batch_size=32, verbose=0)}
    with tempfile.TemporaryDirectory() as folder:
        models = export(task, arguments, pathlib.Path(folder), sentences[:32], calibration)
        runs |= {name: partial(embed, model) for name, model in models.items()}
        timed = sorted(sentences[: arguments.timed], key=len)
        contestants = {name: partial(run, timed) for name, run in runs.items()}
        times = side_by_side.interleaved(contestants, arguments.repeats)
        rows = []
        for name, run in runs.items():
            model = models.get(name)
            rows.append({
                "run by": name,
                "MB": "" if model is None else megabytes(model.path),
                "largest difference": 0.0 if model is None else model.difference,
                "Spearman": f"{spearman(run(sentences), pairs):.4f}",
                "sentences/s": len(timed) / times.median(name),
                "time": times.ratio(name, "TensorFlow"),
            })  # fmt: skip
    packages = ("bertzoo", "tensorflow", "onnxruntime", "openvino", "nncf", "ai-edge-litert")
    setting = {"calibration": len(calibration), "sentences": len(sentences)}
    setting["versions"] = side_by_side.versions(*packages)
    columns = {key: key for key in rows[0]}
    title = (f"{arguments.preset} on the {len(sentences)} sentences of STS-B's development set, "
             f"int8 calibrated on {len(calibration)} of its training set")  # fmt: skip
    side_by_side.report("runtimes", title, rows, columns, setting, arguments.output)


def spread(rows, count):
    """Return so many rows from everywhere: the files have one genre behind the other."""
    step = max(1, len(rows) // count)
    return rows[::step][:count]


def export(task, arguments, folder, texts, calibration):
    """Return the `RuntimeModel`s by name, those in `--models` as they are."""
    models = {}
    for runtime in arguments.runtimes:
        for name, given in ((runtime, None), (f"{runtime} int8", calibration)):
            path = (arguments.models or folder) / name.replace(" ", "-")
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                models[name] = runtimes.load_runtime(task, path, runtime, texts)
            except FileNotFoundError:
                try:
                    models[name] = runtimes.export_runtime(task, path, runtime, texts, given)
                except ModuleNotFoundError as error:
                    print(f"{name} is left out: {error.name} is not installed")
                    continue
            memory = side_by_side.peak_memory_mb()
            print(f"{name}: {models[name].difference:.1e}, peak memory {memory:.0f} MB", flush=True)
    return models


def embed(model, texts):
    """Return the vectors of texts, in batches of 32."""
    return model.predict(texts)["embedding"]


def megabytes(path):
    """Return the size of a model; OpenVINO has its weights beside the file."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.stem}.*")) / 1e6


if __name__ == "__main__":
    main()
