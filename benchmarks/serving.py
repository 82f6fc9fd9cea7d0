"""A classifier that is served: load time, size, latency and throughput, beside peers, in one run.

    python benchmarks/serving.py --output build/benchmarks
    python benchmarks/serving.py --quick

All get the same strings and give the same numbers, which are compared first. `bertzoo` is the
SavedModel of `export_saved_model`, called as a server calls it, in float32 and with bfloat16
inside; KerasHub's text export is one SavedModel too, of preprocessor and model. transformers is its
tokenizer and PyTorch; ONNX Runtime gets ids from our preprocessor. The encoder is that of
all-MiniLM-L6-v2 (real weights) with the tanh GELU, which all can express, and a random head. Peers
that are not installed are left out.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pathlib
import tempfile
import time
from functools import partial

import numpy as np
import side_by_side
import tensorflow as tf
from strings import PRESET, sci_cite, sst_2

import bertzoo

# Tokens of a row: none of the texts is longer, and KerasHub's graph pads all to one length.
LENGTH = 128


def main():
    parser = side_by_side.arguments(__doc__, repeats=7)
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 8, 32])
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats, arguments.batches = 3, [1, 16]
    with tempfile.TemporaryDirectory() as folder:
        loaded, costs = load_all(pathlib.Path(folder))
        packages = ("bertzoo", "tensorflow", "keras-hub", "torch", "transformers", "onnxruntime")
        setting = {"versions": side_by_side.versions(*packages)}
        columns = {key: key for key in costs[0]}
        side_by_side.report("serving-load", "Loading", costs, columns, setting, arguments.output)
        rows = []
        for name, texts in text_sets(max(arguments.batches)).items():
            for batch in arguments.batches:
                rows.append(measure(name, texts[:batch], loaded, arguments.repeats))
        title = f"Milliseconds a batch, medians of {arguments.repeats} interleaved turns"
        columns = {key: key for row in rows for key in row}
        side_by_side.report("serving", title, rows, columns, setting, arguments.output)
        speeds = [{key: 1000 * row["batch"] / value if key in loaded else value
                   for key, value in row.items()} for row in rows]  # fmt: skip
        columns.pop("largest difference")
        title = "Texts a second, of the same runs"
        side_by_side.report("serving-speed", title, speeds, columns, setting, arguments.output)


def text_sets(count):
    """Return short texts, and a mix of short and long ones."""
    short, long = sst_2(count), sci_cite(count)
    if not short:
        short = ["a great film with a good cast ."] * count
    mixed = [pair[i % 2] for i, pair in enumerate(zip(short, long or short, strict=False))]
    return {"SST-2": short, "SST-2 and SciCite": mixed}


def measure(name, texts, models, repeats):
    """Return one row of the table."""
    contestants = {who: partial(model, texts) for who, model in models.items()}
    outputs = {who: run() for who, run in contestants.items()}
    row = {"texts": name, "batch": len(texts)}
    times = side_by_side.interleaved(contestants, repeats, per_turn=3)
    row |= {who: 1000 * times.median(who) for who in contestants}
    ours = outputs["bertzoo"]
    differences = {
        who: float(np.abs(value - ours).max())
        for who, value in outputs.items()
        if who != "bertzoo" and not who.endswith(("bfloat16", "int8"))
    }
    who, difference = max(differences.items(), key=lambda item: item[1])
    row["largest difference"] = f"{difference:.1e} ({who})"
    return row


def load_all(folder):
    """Return functions from strings to probabilities by name, and what loading each costs."""
    source = bertzoo.TextEmbedder.from_preset(PRESET)
    config = source.backbone.config.replace(activation="gelu_tanh", pooler=True)
    backbone = bertzoo.Backbone(config)
    weights = {weight.path: weight for weight in backbone.weights}
    for weight in source.backbone.weights:
        weights[weight.path].assign(weight)
    task = bertzoo.TextClassifier.from_backbone(backbone, source.preprocessor, labels=["no", "yes"])
    task.save_to_preset(str(folder / "preset"))
    loaders = {"bertzoo": partial(ours, folder, "float32"),
               "bertzoo bfloat16": partial(ours, folder, "bfloat16"),
               "KerasHub": partial(keras_hub, folder),
               "transformers": partial(hugging_face, folder),
               "ONNX Runtime": partial(onnx, folder, False),
               "ONNX Runtime int8": partial(onnx, folder, True)}  # fmt: skip
    models, costs = {}, []
    for name, make in loaders.items():
        try:
            load, size = make()
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error.name} is not installed")
            continue
        start = time.perf_counter()
        models[name] = load()
        seconds = time.perf_counter() - start
        models[name](["warm"])
        first = time.perf_counter() - start - seconds
        costs.append({"served by": name, "MB": size, "load s": seconds, "first answer s": first})
        print(costs[-1], flush=True)
    return models, costs


def ours(folder, dtype):
    task = bertzoo.TextClassifier.from_preset(
        str(folder / "preset"), dtype=dtype, sequence_length=LENGTH
    )
    version = bertzoo.export_saved_model(task, folder / f"ours-{dtype}", warm_up=False)
    return partial(saved_model, version, "probabilities"), megabytes(version)


def saved_model(path, output):
    model = tf.saved_model.load(str(path))
    signature = model.signatures["serving_default"]

    def run(texts, keep=model):
        return signature(text=tf.constant(texts))[output].numpy()

    return run


def keras_hub(folder):
    import keras_hub

    bertzoo.export_checkpoint(str(folder / "preset"), str(folder / "kh"), format="keras_hub")
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor.from_preset(
        str(folder / "kh"), sequence_length=LENGTH
    )
    model = keras_hub.models.BertTextClassifier.from_preset(
        str(folder / "kh"), preprocessor=preprocessor
    )
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    module.tokenizer = preprocessor.tokenizer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def classify(text):
        return {"probabilities": tf.nn.softmax(model(preprocessor(text), training=False))}

    path = folder / "keras_hub"
    tf.saved_model.save(module, str(path), signatures={"serving_default": classify})
    return partial(saved_model, path, "probabilities"), megabytes(path)


def hugging_face(folder):
    import torch
    import transformers

    path = folder / "hf"
    bertzoo.export_checkpoint(str(folder / "preset"), str(path), format="hf_bert")

    def load():
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            path, attn_implementation="sdpa"
        ).eval()

        def run(texts):
            inputs = tokenizer(
                texts, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt"
            )
            with torch.inference_mode():
                return model(**inputs).logits.softmax(-1).numpy()

        return run

    return load, megabytes(path)


def onnx(folder, is_int8):
    from bertzoo.serving import converters, runtimes

    task = bertzoo.TextClassifier.from_preset(str(folder / "preset"), sequence_length=LENGTH)
    texts = (sst_2(64) or ["a great film .", "it was bad ."])[:64]
    path = folder / ("int8.onnx" if is_int8 else "float32.onnx")
    model = runtimes.export_runtime(task, path, "onnx", calibration=texts if is_int8 else None)

    def load():
        run = converters.RUNNERS["onnx"](path)
        return lambda texts: run(runtimes.features_of(task, texts))["probabilities"]

    print(f"{path.name}: largest difference {model.difference:.1e}")
    return load, megabytes(path)


def megabytes(path):
    path = pathlib.Path(path)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


if __name__ == "__main__":
    main()
