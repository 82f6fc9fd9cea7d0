"""Pretraining steps and inference on one GPU, by Keras's JAX backend, beside peers, in one run.

    KERAS_BACKEND=jax python benchmarks/accelerator.py --output build/benchmarks
    KERAS_BACKEND=jax python benchmarks/accelerator.py --quick        # toy sizes, on CPU, too

A step is masked language modelling, forward, backward and AdamW with clipping, compiled as one
program: bertzoo and KerasHub on JAX (XLA), transformers by `torch.compile` with scaled-dot-product
attention (its head reads every position, as it always does). `packed` rows hold several texts of
made-up lengths (exponential, mean a third of a row) and `padded` rows one each; tokens a second are
those of texts, without padding. MFU counts the operations of the padded row's formula (3 times the
forward pass, 24 h^2 + 4 s h a token and layer, the head at the predictions only) over the peak of
`--peak`, in TFLOP/s (H100 and H200: 989, dense bfloat16). Inference is the encoder on full rows.
All have the same weights; the encoders' outputs are compared before anything is timed.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch is on the same GPU

import pathlib
import tempfile
from functools import partial

import keras
import numpy as np
import side_by_side

import bertzoo
from bertzoo.models.pretraining import PretrainingNetwork
from bertzoo.optimizers import AdamW

SIZES = {"tiny": (2, 128, 2), "base": (12, 768, 12), "large": (24, 1024, 16)}
PEAK = {"H100": 989.0, "H200": 989.0, "A100": 312.0}
PACKAGES = ("bertzoo", "keras", "jax", "keras-hub", "torch", "transformers")
RATE, DECAY, CLIP = 1.0e-4, 0.01, 1.0


def main():
    parser = side_by_side.arguments(__doc__, repeats=7)
    parser.add_argument("--sizes", nargs="*", default=["base", "large"], choices=SIZES)
    parser.add_argument("--lengths", nargs="*", type=int, default=[128, 512])
    parser.add_argument("--tokens", default=32_768, type=int, help="of a step, with padding")
    parser.add_argument("--inference", default="32x128", help="batch x length")
    parser.add_argument("--peak", type=float, help="TFLOP/s; None for the table's")
    parser.add_argument("--no-compile", action="store_true", help="PyTorch without torch.compile")
    arguments = parser.parse_args()
    if keras.backend.backend() != "jax":
        raise SystemExit("set KERAS_BACKEND=jax: this benchmark compiles whole steps with jax.jit.")
    if arguments.quick:
        arguments.sizes, arguments.lengths, arguments.tokens = ["tiny"], [64], 512
        arguments.repeats, arguments.inference, arguments.no_compile = 3, "4x32", True
    rows = []
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            make_presets(size, max(arguments.lengths), pathlib.Path(folder))
            # First, since it compares what the encoders of all say.
            rows.append(inference(size, pathlib.Path(folder), arguments))
            for length in arguments.lengths:
                rows += training(size, length, pathlib.Path(folder), arguments)
    columns = {key: key for row in rows for key in row}
    setting = {"device": device(), "versions": side_by_side.versions(*PACKAGES)}
    title = f"On {device()}: medians of {arguments.repeats} interleaved runs, bfloat16"
    side_by_side.report("accelerator", title, rows, columns, setting, arguments.output)


def device():
    import jax

    return jax.devices()[0].device_kind


def make_presets(size, length, folder):
    num_layers, hidden, heads = SIZES[size]
    config = bertzoo.BackboneConfig(
        num_layers=num_layers,
        hidden_dim=hidden,
        num_heads=heads,
        intermediate_dim=4 * hidden,
        max_sequence_length=length,
        activation="gelu_tanh",
        pooler=True,
    )
    bertzoo.MaskedLM.from_backbone(bertzoo.Backbone(config)).save_to_preset(str(folder / "preset"))
    for format in ("hf_bert", "keras_hub"):
        target = str(folder / format)
        bertzoo.export_checkpoint(
            str(folder / "preset"), target, format=format, heads=["masked_lm"], allow_inexact=True
        )


# === Pretraining ===


def training(size, length, folder, arguments):
    """Return a row for padded and one for packed rows."""
    rows, speed = [], {}
    batch_size = max(1, arguments.tokens // length)
    # BERT's: 20 predictions at 128, 76 at 512.
    predictions = max(1, round(0.15 * length))
    for kind in ("padded", "packed"):
        batch = some_rows(batch_size, length, predictions, kind)
        useful = int((batch["padding_mask"] > 0).sum())
        makers = {"bertzoo": partial(ours, folder, batch, kind == "packed")}
        if kind == "padded":
            makers["KerasHub"] = partial(keras_hub, folder, batch)
            compiled = not arguments.no_compile
            makers["transformers"] = partial(transformers, folder, batch, compiled)
        contestants = side_by_side.available(makers)
        times = side_by_side.interleaved(contestants, arguments.repeats, per_turn=3, warm_up=2)
        flops = 3 * forward_flops(size, length, predictions) * batch_size * length
        peak = arguments.peak or next((p for n, p in PEAK.items() if n in device()), None)
        row = {"what": "step", "size": size, "rows": f"{batch_size}x{length}", "kind": kind}
        for name in contestants:
            seconds = times.median(name)
            row[f"{name} ms"] = 1000 * seconds
            row[f"{name} useful tokens/s"] = useful / seconds
            row[f"{name} MFU"] = flops / seconds / (1e12 * peak) if peak else "no peak known"
        for name in list(contestants)[1:]:
            row[f"{name} / bertzoo"] = times.ratio(name, "bertzoo")
        speed[kind] = useful / times.median("bertzoo")
        if kind == "packed":
            row["packed / padded useful tokens"] = speed["packed"] / speed["padded"]
        rows.append(row)
        print(row, flush=True)
    return rows


def forward_flops(size, length, predictions, vocabulary=30522):
    """Return the operations of the forward pass a token (Narayanan et al. 2021, appendix)."""
    num_layers, hidden, _ = SIZES[size]
    encoder = num_layers * (24 * hidden**2 + 4 * length * hidden)
    return encoder + 2 * predictions / length * (hidden**2 + hidden * vocabulary)


def some_rows(batch_size, length, predictions, kind):
    """Return a batch of random words: one text a row, or as many as fit."""
    rng = np.random.default_rng(0)

    def text():
        return int(np.clip(rng.exponential(length / 3), 8, length))

    mask = np.zeros((batch_size, length), np.int32)
    for row in mask:
        start, number, size = 0, 1, text()
        while start + size <= length:
            row[start : start + size] = number
            if kind == "padded":
                break
            start, number, size = start + size, number + 1, text()
    ids = rng.integers(1000, 30522, mask.shape).astype(np.int32) * (mask > 0)
    # At real places of the row, again and again where it is short.
    counts = np.maximum((mask > 0).sum(axis=1), 1)
    positions = rng.integers(0, 2**30, (batch_size, predictions)) % counts[:, None]
    return {
        "token_ids": ids,
        "padding_mask": mask,
        "segment_ids": np.zeros_like(mask),
        "mask_positions": positions.astype(np.int32),
        "mask_labels": rng.integers(1000, 30522, positions.shape).astype(np.int32),
    }


def compiled_step(model, features, labels, optimizer):
    """Return a function that runs one compiled step of a Keras model and waits for it."""
    import jax
    import jax.numpy as jnp

    optimizer.build(model.trainable_variables)
    features = {name: jnp.asarray(features[name]) for name in model.input}
    labels = jnp.asarray(labels)

    def loss_of(trainable, others):
        outputs, others = model.stateless_call(trainable, others, features, training=True)
        logits = outputs["masked_lm"] if isinstance(outputs, dict) else outputs
        losses = keras.ops.sparse_categorical_crossentropy(
            labels, keras.ops.cast(logits, "float32"), from_logits=True
        )
        return keras.ops.mean(losses), others

    def step(state):
        trainable, others, moments = state
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (loss, others), gradients = gradient(trainable, others)
        trainable, moments = optimizer.stateless_apply(moments, gradients, trainable)
        return loss, (trainable, others, moments)

    step = jax.jit(step, donate_argnums=0)
    parts = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    # Copies: what is donated is gone, and the next contestant begins with these variables.
    state = [[jnp.array(variable.value) for variable in part] for part in parts]

    def run():
        nonlocal state
        loss, state = step(tuple(state))
        return float(loss)

    return run


def ours(folder, batch, packed):
    network = PretrainingNetwork.from_preset(
        str(folder / "preset"), ["masked_lm"], dtype="mixed_bfloat16"
    )
    model = network.packed() if packed else network
    optimizer = AdamW(RATE, weight_decay=DECAY, global_clipnorm=CLIP)
    return compiled_step(model, batch, batch["mask_labels"], optimizer)


def keras_hub(folder, batch):
    import keras_hub

    model = keras_hub.models.BertMaskedLM.from_preset(
        str(folder / "keras_hub"), preprocessor=None, dtype="mixed_bfloat16"
    )
    optimizer = keras.optimizers.AdamW(RATE, weight_decay=DECAY, global_clipnorm=CLIP)
    return compiled_step(model, batch, batch["mask_labels"], optimizer)


def transformers(folder, batch, compiled):
    import torch
    import transformers

    place = "cuda" if torch.cuda.is_available() else "cpu"
    model = transformers.BertForMaskedLM.from_pretrained(
        folder / "hf_bert", attn_implementation="sdpa"
    )
    model = model.to(place).train()
    labels = np.full(batch["token_ids"].shape, -100, np.int64)
    np.put_along_axis(labels, batch["mask_positions"], batch["mask_labels"], axis=1)
    inputs = {
        "input_ids": torch.from_numpy(batch["token_ids"]).long().to(place),
        "attention_mask": torch.from_numpy(batch["padding_mask"]).long().to(place),
        "labels": torch.from_numpy(labels).to(place),
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    forward = torch.compile(model) if compiled else model

    def run():
        optimizer.zero_grad()
        with torch.autocast(place, torch.bfloat16):
            loss = forward(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return float(loss.detach())  # waits for the GPU

    return run


# === Inference ===


def inference(size, folder, arguments):
    batch, length = map(int, arguments.inference.split("x"))
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, 30522, (batch, length)).astype(np.int32)
    makers = {
        "bertzoo": partial(our_encoder, folder, ids),
        "KerasHub": partial(keras_hub_encoder, folder, ids),
        "transformers": partial(transformers_encoder, folder, ids, not arguments.no_compile),
    }
    contestants = side_by_side.available(makers)
    outputs = {name: np.asarray(run(), np.float64) for name, run in contestants.items()}
    scale = np.abs(outputs["bertzoo"]).max()
    row = {"what": "inference", "size": size, "rows": arguments.inference, "kind": "full"}
    for name in list(outputs)[1:]:
        row[f"difference {name}"] = np.abs(outputs[name] - outputs["bertzoo"]).max() / scale
    times = side_by_side.interleaved(contestants, arguments.repeats, per_turn=3)
    for name in contestants:
        row[f"{name} ms"] = 1000 * times.median(name)
    row |= {f"{name} / bertzoo": times.ratio(name, "bertzoo") for name in list(contestants)[1:]}
    print(row, flush=True)
    return row


def compiled_encoder(model, ids):
    import jax
    import jax.numpy as jnp

    features = {
        "token_ids": jnp.asarray(ids),
        "padding_mask": jnp.ones(ids.shape, "int32"),
        "segment_ids": jnp.zeros(ids.shape, "int32"),
    }
    features = {name: features[name] for name in model.input}
    parts = (model.trainable_variables, model.non_trainable_variables)
    weights = [[jnp.array(variable.value) for variable in part] for part in parts]

    @jax.jit
    def run(weights):
        outputs, _ = model.stateless_call(*weights, features, training=False)
        return outputs["sequence_output"][:, 0].astype("float32")

    return lambda: np.asarray(run(weights))


def our_encoder(folder, ids):
    return compiled_encoder(
        bertzoo.Backbone.from_preset(str(folder / "preset"), dtype="bfloat16"), ids
    )


def keras_hub_encoder(folder, ids):
    import keras_hub

    path = str(folder / "keras_hub")
    return compiled_encoder(keras_hub.models.BertBackbone.from_preset(path, dtype="bfloat16"), ids)


def transformers_encoder(folder, ids, compiled):
    import torch
    import transformers

    place = "cuda" if torch.cuda.is_available() else "cpu"
    model = transformers.BertModel.from_pretrained(
        folder / "hf_bert",
        dtype=torch.bfloat16,
        attn_implementation="sdpa",
        add_pooling_layer=False,
    )
    model = model.to(place).eval()
    forward = torch.compile(model) if compiled else model
    inputs = torch.from_numpy(ids).long().to(place)

    def run():
        with torch.inference_mode():
            return forward(input_ids=inputs).last_hidden_state[:, 0].float().cpu().numpy()

    return run


if __name__ == "__main__":
    main()
