"""A step of pretraining, the optimizer's part of it, and fine-tuning, beside peers, in one run.

    python benchmarks/training_step.py --output build/benchmarks
    python benchmarks/training_step.py --quick

`step`: masked language modelling on one batch (`--layers` of BERT-Base's layers, its whole
vocabulary, 20 predictions a row, AdamW with the gradients' norm clipped, dropout 0.1), beside
KerasHub's `BertMaskedLM.train_on_batch` and transformers with torch's AdamW; bfloat16 is
`mixed_bfloat16` and torch's autocast. transformers' head reads every position, as it always does.
`optimizer`: the same variables and gradients, the update alone. `fit`: a classifier of
all-MiniLM-L6-v2's size on SST-2's own lengths, one epoch of `--rows`, beside KerasHub's `fit` with
rows of `--length`. All begin with the same weights; losses and logits are compared before anything
is timed.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import csv
import pathlib
import tempfile
from functools import partial

import keras
import numpy as np
import side_by_side
import tensorflow as tf

import bertzoo
from bertzoo.models.pretraining import PretrainingNetwork
from bertzoo.optimizers import AdamW
from bertzoo.training.objectives import Pretraining
from bertzoo.training.step import TrainStep
from bertzoo.training.strategy import make_replicas

RATE, DECAY, CLIP, PREDICTIONS = 1.0e-4, 0.01, 1.0, 20
PACKAGES = ("bertzoo", "tensorflow", "keras", "keras-hub", "torch", "transformers")


def main():
    parser = side_by_side.arguments(__doc__, repeats=5)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--dtypes", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--layers", default=4, type=int)
    parser.add_argument("--hidden", default=768, type=int)
    parser.add_argument("--shape", default="8x128", help="batch x length")
    parser.add_argument("--rows", default=640, type=int, help="texts of an epoch of `fit`")
    parser.add_argument("--length", default=64, type=int, help="KerasHub's rows; our longest")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats, arguments.layers, arguments.hidden = 2, 1, 256
        arguments.rows, arguments.dtypes = 96, ["float32"]
    with tempfile.TemporaryDirectory() as folder:
        for part in arguments.parts:
            rows = PARTS[part](arguments, pathlib.Path(folder))
            if not rows:
                continue
            title = (
                f"Training, {part}: {arguments.layers} layers of width {arguments.hidden}, "
                f"{arguments.shape} ({arguments.rows} texts where `fit`), medians of "
                f"{arguments.repeats} interleaved runs"
            )
            columns = {key: key for row in rows for key in row}
            setting = {"versions": side_by_side.versions(*PACKAGES)}
            name = f"training_{part}"
            side_by_side.report(name, title, rows, columns, setting, arguments.output)


def timed(row, contestants, repeats, unit="ms", scale=1000.0):
    """Return the row with medians and ratios; `scale` over seconds is a speed unless in ms."""
    times = side_by_side.interleaved(contestants, repeats)
    for name in contestants:
        seconds = times.median(name)
        row[f"{name} {unit}"] = scale * seconds if unit == "ms" else scale / seconds
    row |= {f"{name} / bertzoo": times.ratio(name, "bertzoo") for name in list(contestants)[1:]}
    print(row, flush=True)
    return row


# === A step of pretraining ===


def step(arguments, folder):
    preset, batch = make_preset(arguments, folder), some_batch(arguments)
    rows = []
    for dtype in arguments.dtypes:
        makers = {"bertzoo": ours, "KerasHub": keras_hub_step, "transformers": transformers_step}
        makers = {name: partial(make, preset, dtype, batch) for name, make in makers.items()}
        found = side_by_side.available(makers)
        losses = {name: loss for name, (_, loss) in found.items()}
        row = {"dtype": dtype}
        row |= {f"loss {name}": loss for name, loss in losses.items()}
        spread = max(losses.values()) - min(losses.values())
        if spread > (1e-3 if dtype == "float32" else 2e-2) * max(losses.values()):
            raise SystemExit(f"the losses before training differ: {losses}")
        contestants = {name: run for name, (run, _) in found.items()}
        rows.append(timed(row, contestants, arguments.repeats))
    return rows


def make_preset(arguments, folder):
    """Write a random BERT with a masked language model's head for all libraries."""
    if not (folder / "preset").exists():
        config = bertzoo.BackboneConfig(
            num_layers=arguments.layers,
            hidden_dim=arguments.hidden,
            num_heads=arguments.hidden // 64,
            intermediate_dim=4 * arguments.hidden,
            activation="gelu_tanh",
        )
        network = bertzoo.MaskedLM.from_backbone(bertzoo.Backbone(config))
        network.save_to_preset(str(folder / "preset"))
        for format in ("hf_bert", "keras_hub"):
            target = str(folder / format)
            # Inexact: KerasHub's head has the erf GELU and another epsilon, 1e-4 of the loss.
            bertzoo.export_checkpoint(
                str(folder / "preset"), target, format=format, heads=["masked_lm"],
                allow_inexact=True,
            )  # fmt: skip
    return folder


def some_batch(arguments):
    batch, length = map(int, arguments.shape.split("x"))
    rng = np.random.default_rng(0)
    positions = np.sort(rng.permuted(np.tile(np.arange(1, length), (batch, 1)), axis=1)
                        [:, :PREDICTIONS], axis=1)  # fmt: skip
    shape = (batch, positions.shape[1])
    return {
        "token_ids": rng.integers(1000, 30522, (batch, length)).astype(np.int32),
        "padding_mask": np.ones((batch, length), np.int32),
        "segment_ids": np.zeros((batch, length), np.int32),
        "mask_positions": positions.astype(np.int32),
        "mask_labels": rng.integers(1000, 30522, shape).astype(np.int32),
        "mask_weights": np.ones(shape, np.int32),
    }


def policy(dtype):
    return "mixed_bfloat16" if dtype == "bfloat16" else dtype


def ours(folder, dtype, batch):
    network = PretrainingNetwork.from_preset(
        str(folder / "preset"), ["masked_lm"], dtype=policy(dtype)
    )
    replicas = make_replicas()
    optimizer = AdamW(RATE, weight_decay=DECAY, bias_correction=True)
    train = TrainStep(Pretraining(network), optimizer, replicas, clip_norm=CLIP)
    data = tf.data.Dataset.from_tensors(batch).repeat()
    iterator = replicas.iterate(lambda _: data)
    loss = train.evaluate(iterator, 1)["masked_lm"]
    return lambda: train.run(iterator, 0, 1), loss


def keras_hub_step(folder, dtype, batch):
    import keras_hub

    model = keras_hub.models.BertMaskedLM.from_preset(
        str(folder / "keras_hub"), preprocessor=None, dtype=policy(dtype)
    )
    optimizer = keras.optimizers.AdamW(RATE, weight_decay=DECAY, epsilon=1e-6, global_clipnorm=CLIP)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, weighted_metrics=None, jit_compile=False)
    x = {key: batch[key] for key in ("token_ids", "padding_mask", "segment_ids")}
    x["mask_positions"] = batch["mask_positions"]
    weights = batch["mask_weights"].astype(np.float32)
    before = float(np.ravel(model.test_on_batch(x, batch["mask_labels"], weights))[0])
    return lambda: model.train_on_batch(x, batch["mask_labels"], weights), before


def transformers_step(folder, dtype, batch):
    import torch
    import transformers

    model = transformers.BertForMaskedLM.from_pretrained(
        folder / "hf_bert", attn_implementation="sdpa"
    )
    labels = np.full(batch["token_ids"].shape, -100, np.int64)
    np.put_along_axis(labels, batch["mask_positions"], batch["mask_labels"], axis=1)
    names = {"input_ids": "token_ids", "attention_mask": "padding_mask"}
    inputs = {ours: torch.from_numpy(batch[key]).long() for ours, key in names.items()}
    inputs["labels"] = torch.from_numpy(labels)
    plain = [p for n, p in model.named_parameters() if n.endswith("bias") or "LayerNorm" in n]
    rest = [p for n, p in model.named_parameters() if not (n.endswith("bias") or "LayerNorm" in n)]
    groups = [{"params": rest, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, eps=1e-6, fused=True)

    def loss():
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            return model(**inputs).loss

    def run():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return float(value.detach())

    model.eval()
    with torch.inference_mode():
        before = float(loss())
    model.train()
    return run, before


# === The optimizer alone ===


def optimizer(arguments, folder):
    make_preset(arguments, folder)
    network = PretrainingNetwork.from_preset(str(folder / "preset"), ["masked_lm"])
    rng = np.random.default_rng(0)
    starts = [np.asarray(v) for v in network.trainable_variables]
    gradients = [rng.normal(0, 1e-3, x.shape).astype(np.float32) for x in starts]

    def tensorflow(make):
        variables = [keras.Variable(x, name=f"v{i}") for i, x in enumerate(starts)]
        optimizer, tensors = make(), [tf.constant(g) for g in gradients]
        optimizer.build(variables)

        @tf.function
        def update():
            optimizer.apply(tensors)
            return variables[0].value[0, 0]

        return lambda: update().numpy(), lambda: np.asarray(variables[0])

    def torch_adamw():
        import torch

        parameters = [torch.nn.Parameter(torch.tensor(x)) for x in starts]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient)
        adamw = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY, eps=1e-6, fused=True)

        def update():
            torch.nn.utils.clip_grad_norm_(parameters, CLIP)
            adamw.step()

        return update, lambda: parameters[0].detach().numpy().copy()

    options = {"weight_decay": DECAY, "epsilon": 1e-6, "global_clipnorm": CLIP}
    makers = {
        "bertzoo": lambda: tensorflow(lambda: AdamW(RATE, exclude=(), **options)),
        "Keras": lambda: tensorflow(lambda: keras.optimizers.AdamW(RATE, **options)),
        "torch fused": torch_adamw,
    }
    found = side_by_side.available(makers)
    for update, _ in found.values():
        update()
    values = {name: value() for name, (_, value) in found.items()}
    row = {"parameters": sum(x.size for x in starts)}
    for name in list(values)[1:]:
        moved = np.abs(values["bertzoo"] - starts[0]).max()
        row[f"difference {name}"] = float(np.abs(values[name] - values["bertzoo"]).max() / moved)
    return [timed(row, {name: update for name, (update, _) in found.items()}, arguments.repeats)]


# === Fine-tuning ===


def fit(arguments, folder):
    path = side_by_side.DATA / "glue" / "SST-2" / "train.tsv"
    if not path.exists():
        print("fit is left out: set BERTZOO_DATA to the folder that holds glue/SST-2.")
        return []
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    chosen = np.random.default_rng(0).permutation(len(lines))[: arguments.rows]
    texts = [lines[i][0] for i in chosen]
    labels = np.array([int(lines[i][1]) for i in chosen])
    source = bertzoo.TextEmbedder.from_preset("all_minilm_l6_v2_en")
    config = source.backbone.config.replace(activation="gelu_tanh", pooler=True)
    new = bertzoo.TextClassifier.from_backbone(
        bertzoo.Backbone(config), source.preprocessor, num_classes=2
    )
    new.save_to_preset(str(folder / "classifier"))
    hub = str(folder / "classifier_keras_hub")
    bertzoo.export_checkpoint(str(folder / "classifier"), hub, format="keras_hub")
    rows = []
    for dtype in arguments.dtypes:
        makers = {"bertzoo": (our_classifier, str(folder / "classifier")),
                  "KerasHub": (keras_hub_classifier, hub)}  # fmt: skip
        models = side_by_side.available(
            {n: partial(make, path, dtype, arguments.length) for n, (make, path) in makers.items()}
        )
        logits = {n: np.asarray(m.predict(texts[:64], verbose=0)) for n, m in models.items()}
        row = {"dtype": dtype}
        for name in list(logits)[1:]:
            row[f"difference {name}"] = float(np.abs(logits[name] - logits["bertzoo"]).max())
        contestants = {
            name: partial(model.fit, texts, labels, batch_size=32, epochs=1, verbose=0)
            for name, model in models.items()
        }
        rows.append(timed(row, contestants, arguments.repeats, "rows/s", len(texts)))
    return rows


def our_classifier(path, dtype, length):
    model = bertzoo.TextClassifier.from_preset(path, dtype=policy(dtype), sequence_length=length)
    model.compile(AdamW(2.0e-5, global_clipnorm=CLIP))
    return model


def keras_hub_classifier(path, dtype, length):
    import keras_hub

    preprocessor = keras_hub.models.BertTextClassifierPreprocessor.from_preset(
        path, sequence_length=length
    )
    model = keras_hub.models.BertTextClassifier.from_preset(
        path, preprocessor=preprocessor, dtype=policy(dtype)
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(2.0e-5, global_clipnorm=CLIP),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


PARTS = {"step": step, "optimizer": optimizer, "fit": fit}


if __name__ == "__main__":
    main()
