"""int8 kernels beside plain ones, in one run, interleaved: size, time and drift.

    python benchmarks/quantization.py

A sentence encoder (all-MiniLM-L6-v2, real weights) embeds the sentences of STS-B's development
set with float32 kernels and with Keras's int8 ones. Each repetition times both, so that a busy
machine slows both alike. The sizes are those of `.keras` files.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import csv
import json
import pathlib
import statistics
import tempfile
import time

import numpy as np

import bertzoo

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = pathlib.Path(os.environ.get("BERTZOO_DATA") or ROOT.parent / "shared" / "data")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="all_minilm_l6_v2_en")
    parser.add_argument("--texts", default=DATA / "glue" / "STS-B" / "sts-dev.csv")
    parser.add_argument("--count", default=512, type=int, help="sentences")
    parser.add_argument("--repeats", default=5, type=int)
    arguments = parser.parse_args()
    rows = read_pairs(arguments.texts)[: arguments.count // 2]
    sentences = [text for first, second, _ in rows for text in (first, second)]
    plain = bertzoo.TextEmbedder.from_preset(arguments.preset)
    small = bertzoo.TextEmbedder.from_preset(arguments.preset)
    report = bertzoo.adapt.quantize(small, sentences)
    models = {"float32": plain, "int8": small}
    result = {"sentences": len(sentences), **report._asdict()}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            path = pathlib.Path(folder) / f"{name}.keras"
            model.save(path)
            result[f"megabytes_{name}"] = path.stat().st_size / 1.0e6
    times = {name: [] for name in models}
    for _ in range(arguments.repeats):
        for name, model in models.items():
            start = time.perf_counter()
            model.predict(sentences, verbose=0)
            times[name].append(time.perf_counter() - start)
    for name, seconds in times.items():
        result[f"sentences_per_second_{name}"] = len(sentences) / statistics.median(seconds)
    ratios = [slow / fast for fast, slow in zip(times["float32"], times["int8"], strict=True)]
    result["int8_takes_times_as_long"] = statistics.median(ratios)
    for name, model in models.items():
        result[f"spearman_{name}"] = spearman(model.predict(sentences, verbose=0), rows)
    print(json.dumps(result, indent=2))


def read_pairs(path):
    """Return (sentence, sentence, score) of STS-B's file."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [(row[5], row[6], float(row[4])) for row in rows]


def spearman(vectors, rows):
    """Return the rank correlation of cosines and scores."""
    one, other = vectors[0::2], vectors[1::2]
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines = (one * other).sum(axis=1) / norms
    return float(np.corrcoef(ranks(cosines), ranks([score for _, _, score in rows]))[0, 1])


def ranks(values):
    """Return ranks from 0, the mean of them where values are equal."""
    values = np.asarray(values)
    return np.array([(values < v).sum() + ((values == v).sum() - 1) / 2 for v in values])


if __name__ == "__main__":
    main()
