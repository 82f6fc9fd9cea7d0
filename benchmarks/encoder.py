"""The encoder from ids to hidden states beside KerasHub and transformers, in one run.

    python benchmarks/encoder.py --output build/benchmarks
    python benchmarks/encoder.py --layers 4 --quick

One random BERT (`--hidden 768`: Base) is written for each library by `export_checkpoint`, so that
all of them hold the same weights, and each answers the same ids as its users would run it: bertzoo
and KerasHub by a `tf.function` over the model, transformers under `torch.inference_mode` with
scaled-dot-product attention and, with `--compile`, under `torch.compile`; onnxruntime where it is
installed. Outputs are compared before anything is timed. bfloat16 means weights stored so; onnx
has none on CPU. KerasHub's BERT has the tanh GELU, so its outputs may differ by 1e-2.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pathlib
import tempfile
from functools import partial

import numpy as np
import side_by_side
import tensorflow as tf

import bertzoo

SHAPES = ("1x32", "1x128", "8x128", "4x512")


def main():
    parser = side_by_side.arguments(__doc__)
    parser.add_argument("--layers", default=12, type=int)
    parser.add_argument("--hidden", default=768, type=int)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), help="batch x length")
    parser.add_argument("--dtypes", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--fill", default=1.0, type=float, help="share of tokens that are real")
    parser.add_argument("--compile", action="store_true", help="transformers by torch.compile too")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats, arguments.layers = 3, min(arguments.layers, 4)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(arguments, pathlib.Path(folder))
    columns = {"dtype": "dtype", "shape": "batch x length"}
    columns |= {key: key for row in rows for key in row if key not in columns}
    title = (
        f"Encoder of {arguments.layers} layers, width {arguments.hidden}: milliseconds, medians "
        f"of {arguments.repeats} interleaved runs"
    )
    packages = ("bertzoo", "tensorflow", "keras", "keras-hub", "torch", "transformers")
    setting = {"fill": arguments.fill, "versions": side_by_side.versions(*packages, "onnxruntime")}
    side_by_side.report("encoder", title, rows, columns, setting, arguments.output)


def measure(arguments, folder):
    config = bertzoo.BackboneConfig(
        vocabulary_size=30522,
        num_layers=arguments.layers,
        hidden_dim=arguments.hidden,
        num_heads=arguments.hidden // 64,
        intermediate_dim=4 * arguments.hidden,
        activation="gelu_tanh",
    )
    preset = str(folder / "preset")
    bertzoo.Backbone(config).save_to_preset(preset)
    bertzoo.export_checkpoint(preset, str(folder / "hf"), format="hf_bert")
    makers = {"bertzoo": lambda dtype: ours(preset, dtype)}
    makers["KerasHub"] = lambda dtype: keras_hub(preset, folder, dtype)
    makers["transformers"] = lambda dtype: transformers(folder / "hf", dtype)
    if arguments.compile:
        makers["transformers compiled"] = lambda dtype: transformers(folder / "hf", dtype, True)
    rows = []
    for dtype in arguments.dtypes:
        models = side_by_side.available(
            {name: partial(make, dtype) for name, make in makers.items()}
        )
        for shape in arguments.shapes:
            batch, length = map(int, shape.split("x"))
            token_ids, mask = some_ids(batch, length, arguments.fill)
            contestants = {name: partial(run, token_ids, mask) for name, run in models.items()}
            row = {"dtype": dtype, "shape": shape, **differences(contestants, mask)}
            times = side_by_side.interleaved(contestants, arguments.repeats, per_turn=3)
            for name in contestants:
                row[name] = 1000 * times.median(name)
            for name in list(contestants)[1:]:
                row[f"{name} / bertzoo"] = times.ratio(name, "bertzoo")
            rows.append(row)
            print(row, flush=True)
    return rows


def differences(contestants, mask):
    """Return the largest difference from ours at real tokens, relative to the largest value."""
    outputs = {name: np.asarray(run(), np.float64)[mask > 0] for name, run in contestants.items()}
    reference = outputs.pop("bertzoo")
    scale = np.abs(reference).max()
    return {
        f"difference {name}": float(np.abs(output - reference).max() / scale)
        for name, output in outputs.items()
    }


def some_ids(batch, length, fill):
    generator = np.random.default_rng(0)
    lengths = np.full(batch, length)
    if fill < 1.0:  # spread evenly around the mean, the first row full
        lengths = np.linspace(length, max(2, (2 * fill - 1) * length), batch).astype(int)
    mask = (np.arange(length) < lengths[:, None]).astype(np.int32)
    return generator.integers(1000, 30522, (batch, length)).astype(np.int32) * mask, mask


def graph_of(model, inputs):
    """Return a function of ids and mask that runs a Keras model as one graph."""
    names = list(inputs)
    spec = tf.TensorSpec([None, None], "int32")

    @tf.function(input_signature=[spec, spec], jit_compile=False)
    def run(token_ids, mask):
        features = dict(zip(names, (token_ids, mask, tf.zeros_like(mask)), strict=False))
        return tf.cast(model(features, training=False)["sequence_output"], "float32")

    return lambda token_ids, mask: run(tf.constant(token_ids), tf.constant(mask)).numpy()


def ours(preset, dtype):
    backbone = bertzoo.Backbone.from_preset(preset, dtype=dtype)
    return graph_of(backbone, ("token_ids", "padding_mask", "segment_ids"))


def keras_hub(preset, folder, dtype):
    import keras_hub

    path = folder / "keras_hub"
    if not path.exists():
        bertzoo.export_checkpoint(preset, str(path), format="keras_hub")
    model = keras_hub.models.BertBackbone.from_preset(str(path), dtype=dtype)
    return graph_of(model, ("token_ids", "padding_mask", "segment_ids"))


def transformers(path, dtype, compiled=False):
    import torch
    import transformers

    model = transformers.BertModel.from_pretrained(
        path, dtype=getattr(torch, dtype), attn_implementation="sdpa", add_pooling_layer=False
    ).eval()
    run_model = torch.compile(model, dynamic=False) if compiled else model

    def run(token_ids, mask):
        with torch.inference_mode():
            output = run_model(
                input_ids=torch.from_numpy(token_ids).long(),
                attention_mask=torch.from_numpy(mask).long(),
            )
            return output.last_hidden_state.float().numpy()

    return run


if __name__ == "__main__":
    main()
