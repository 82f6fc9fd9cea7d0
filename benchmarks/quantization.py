"""int8 kernels beside plain ones, in one run, interleaved: size, time and drift.

    python benchmarks/quantization.py

A sentence encoder (all-MiniLM-L6-v2, real weights) embeds the sentences of STS-B's development
set with float32 kernels and with Keras's int8 ones. Each repetition times both, so that a busy
machine slows both alike. The sizes are those of `.keras` files.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import csv
import pathlib
import tempfile

import numpy as np
import side_by_side
from side_by_side import DATA

import bertzoo


def main():
    parser = side_by_side.arguments(__doc__, repeats=5)
    parser.add_argument("--preset", default="all_minilm_l6_v2_en")
    parser.add_argument("--texts", default=DATA / "glue" / "STS-B" / "sts-dev.csv")
    parser.add_argument("--count", default=512, type=int, help="sentences")
    arguments = parser.parse_args()
    count = 128 if arguments.quick else arguments.count
    pairs = read_pairs(arguments.texts)[: count // 2]
    sentences = [text for first, second, _ in pairs for text in (first, second)]
    plain = bertzoo.TextEmbedder.from_preset(arguments.preset)
    small = bertzoo.TextEmbedder.from_preset(arguments.preset)
    drift = bertzoo.adapt.quantize(small, sentences)
    models = {"float32": plain, "int8": small}
    contestants = {
        name: lambda model=model: model.predict(sentences, verbose=0)
        for name, model in models.items()
    }
    times = side_by_side.interleaved(contestants, arguments.repeats)
    rows = []
    for name, model in models.items():
        rows.append(
            {
                "kernels": name,
                "MB": megabytes(model),
                "sentences/s": len(sentences) / times.median(name),
                "time": times.ratio(name, "float32"),
                "Spearman": spearman(model.predict(sentences, verbose=0), pairs),
            }
        )
    setting = {"sentences": len(sentences), "drift": drift._asdict()}
    setting["versions"] = side_by_side.versions("bertzoo", "keras", "tensorflow")
    columns = {key: key for key in rows[0]}
    title = f"int8 kernels: {arguments.preset} on {len(sentences)} sentences of STS-B"
    side_by_side.report("quantization", title, rows, columns, setting, arguments.output)


def megabytes(model):
    """Return the size of a model's `.keras` file."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        model.save(path)
        return path.stat().st_size / 1.0e6


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
