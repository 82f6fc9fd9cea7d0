"""From strings to vectors and to labels on real length mixes, beside peers, in one run.

    python benchmarks/strings.py --output build/benchmarks
    python benchmarks/strings.py --quick

Vectors: all-MiniLM-L6-v2 (real weights) embeds sentences, beside sentence-transformers' `encode`.
Labels: a classifier of the same encoder's size on `--texts`, beside KerasHub's
`BertTextClassifier.predict` and transformers' tokenizer and model in batches sorted by length.
Everyone gets the same strings and answers with NumPy arrays; the answers are compared before
anything is timed. Text sets that are not on this machine are left out.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import csv
import json
import pathlib
import tempfile
from functools import partial

import numpy as np
import side_by_side
from side_by_side import DATA

import bertzoo
from bertzoo import hub, presets

PRESET = "all_minilm_l6_v2_en"


def main():
    parser = side_by_side.arguments(__doc__, repeats=5)
    parser.add_argument("--count", default=1000, type=int, help="texts of each set")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=SETS)
    parser.add_argument("--dtypes", nargs="*", default=["float32", "bfloat16"])
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats, arguments.count, arguments.dtypes = 2, 96, arguments.dtypes[:1]
    sets = {name: read(arguments.count) for name, read in SETS.items() if name in arguments.sets}
    sets = {name: texts for name, texts in sets.items() if texts}
    if not sets:
        raise SystemExit("no texts: set BERTZOO_DATA to the folder that holds glue/ and the like.")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for dtype in arguments.dtypes:
            rows += compare("vectors", embedders(dtype), sets, dtype, arguments)
            models = classifiers(pathlib.Path(folder), dtype)
            rows += compare("labels", models, sets, dtype, arguments)
    columns = {"task": "strings to", "dtype": "dtype", "set": "texts", "tokens": "mean tokens"}
    columns |= {key: key for row in rows for key in row if key not in columns}
    packages = ("bertzoo", "tensorflow", "keras", "keras-hub", "torch", "transformers")
    setting = {"texts": arguments.count}
    setting["versions"] = side_by_side.versions(*packages, "sentence-transformers")
    title = (
        f"From strings, {arguments.count} texts of each set: texts a second, medians of "
        f"{arguments.repeats} interleaved runs, {arguments.clock} time"
    )
    side_by_side.report("strings", title, rows, columns, setting, arguments.output)


def compare(task, models, sets, dtype, arguments):
    rows = []
    tokenizer = bertzoo.TextEmbedder.from_preset(PRESET, load_weights=False).tokenizer
    for name, texts in sets.items():
        contestants = {who: partial(model, texts) for who, model in models.items()}
        outputs = {who: run() for who, run in contestants.items()}
        ours = outputs.pop("bertzoo")
        row = {"task": task, "dtype": dtype, "set": name}
        row["tokens"] = float(np.mean(tokenizer(texts).row_lengths().numpy())) + 2
        for who, output in outputs.items():
            row[f"difference {who}"] = float(np.abs(output - ours).max() / np.abs(ours).max())
        times = side_by_side.interleaved(contestants, arguments.repeats, warm_up=0)
        for who in contestants:
            row[who] = len(texts) / times.median(who, arguments.clock)
        for who in outputs:
            row[f"bertzoo / {who}"] = times.ratio(who, "bertzoo", arguments.clock)
        rows.append(row)
        print(row, flush=True)
    return rows


def embedders(dtype):
    model = bertzoo.TextEmbedder.from_preset(PRESET, dtype=dtype)
    models = {"bertzoo": lambda texts: model.predict(texts, verbose=0)}
    try:
        import sentence_transformers
        import torch
    except ModuleNotFoundError as error:
        print(f"sentence-transformers is left out: {error.name} is not installed")
        return models
    directory = hub.locate(presets.find_preset(PRESET))
    theirs = sentence_transformers.SentenceTransformer(
        str(directory), device="cpu", model_kwargs={"dtype": getattr(torch, dtype)}
    )
    models["sentence-transformers"] = lambda texts: (
        theirs.encode(texts, convert_to_numpy=False, convert_to_tensor=True).float().numpy()
    )
    return models


def classifiers(folder, dtype):
    # The tanh GELU, which is the one that KerasHub's BERT has.
    source = bertzoo.TextEmbedder.from_preset(PRESET)
    config = source.backbone.config.replace(activation="gelu_tanh", pooler=True)
    preset = folder / "classifier"
    if not preset.exists():
        new = bertzoo.TextClassifier.from_backbone(
            bertzoo.Backbone(config), source.preprocessor, labels=["no", "yes"]
        )
        new.save_to_preset(str(preset))
        bertzoo.export_checkpoint(str(preset), str(folder / "keras_hub"), format="keras_hub")
        bertzoo.export_checkpoint(str(preset), str(folder / "hf"), format="hf_bert")
    model = bertzoo.TextClassifier.from_preset(str(preset), dtype=dtype)
    models = {"bertzoo": lambda texts: model.predict(texts, verbose=0)}
    for name, make in (("KerasHub", keras_hub), ("transformers", transformers)):
        try:
            models[name] = make(folder, dtype, config.max_sequence_length)
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error.name} is not installed")
    return models


def keras_hub(folder, dtype, length):
    import keras_hub

    # Rows of 128 tokens, where none of the sets' texts is longer: KerasHub pads all to one length.
    path = str(folder / "keras_hub")
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor.from_preset(
        path, sequence_length=min(128, length)
    )
    model = keras_hub.models.BertTextClassifier.from_preset(
        path, preprocessor=preprocessor, dtype=dtype
    )
    return lambda texts: np.asarray(model.predict(texts, batch_size=32, verbose=0))


def transformers(folder, dtype, length):
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "hf")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder / "hf", dtype=getattr(torch, dtype), attn_implementation="sdpa"
    ).eval()

    def run(texts):
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        results = [None] * len(texts)
        for start in range(0, len(order), 32):
            batch = order[start : start + 32]
            inputs = tokenizer(
                [texts[index] for index in batch],
                padding=True,
                truncation=True,
                max_length=length,
                return_tensors="pt",
            )
            with torch.inference_mode():
                logits = model(**inputs).logits.float().numpy()
            for index, row in zip(batch, logits, strict=True):
                results[index] = row
        return np.stack(results)

    return run


def sst_2(count):
    return _lines(DATA / "glue" / "SST-2" / "dev.tsv", lambda row: row[0], count)


def sts_b(count):
    return _lines(DATA / "glue" / "STS-B" / "sts-dev.csv", lambda row: row[5], count, header=0)


def sci_cite(count):
    path = DATA / "classification" / "sci-cite" / "dev.jsonl"
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file][:count]


def _lines(path, text_of, count, header=1):
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[header:]
    return [text_of(row) for row in rows][:count]


SETS = {"SST-2": sst_2, "STS-B": sts_b, "SciCite": sci_cite}


if __name__ == "__main__":
    main()
