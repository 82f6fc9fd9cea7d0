"""Small checkpoints of every format, written by hand from the descriptions of the formats.

The names are spelled out here a second time, and the expected weights are worked out with plain
NumPy, so that a slip in a table of `bertzoo/checkpoints/tables` cannot be repeated by its test.
"""

import dataclasses
import json
import pathlib

import h5py
import numpy as np
import safetensors.numpy

# Awkward sizes: V 97, D 20, N 4, F 37, P 13, S 3; E 12 where tables are narrower.
V, D, N, F, P, S, E, C = 97, 20, 4, 37, 13, 3, 12, 5
HF_SIZES = {
    "vocab_size": V,
    "hidden_size": D,
    "num_hidden_layers": 2,
    "num_attention_heads": N,
    "intermediate_size": F,
    "max_position_embeddings": P,
    "type_vocab_size": S,
}


@dataclasses.dataclass(frozen=True)
class Names:
    """How a format spells one encoder; `{i}` is the layer."""

    tables: tuple[str, str, str | None]
    norm: str
    layer: tuple[str, ...]  # query key value output attention_norm intermediate output norm
    pooler: str | None = None
    projection: str | None = None
    prefix: str = ""
    torch: bool = True

    def dense(self, name, rows, columns):
        """{stored name: shape} of a dense layer from `rows` to `columns` features."""
        if self.torch:
            return {f"{name}.weight": (columns, rows), f"{name}.bias": (columns,)}
        return {f"{name}/kernel": (rows, columns), f"{name}/bias": (columns,)}

    def layer_norm(self, name, width):
        """{stored name: shape} of a layer normalization."""
        if self.torch:
            return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
        return {f"{name}/gamma": (width,), f"{name}/beta": (width,)}


BERT_LAYER = tuple(
    "encoder.layer.{i}." + name
    for name in (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    )
)
BERT_TABLES = tuple(
    f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")
)
TF1_TABLES = tuple(f"bert/embeddings/{n}_embeddings" for n in ("word", "position", "token_type"))
NAMES = {
    "hf_bert": Names(
        BERT_TABLES, "embeddings.LayerNorm", BERT_LAYER, "pooler.dense", prefix="bert."
    ),
    "hf_roberta": Names(
        BERT_TABLES, "embeddings.LayerNorm", BERT_LAYER, "pooler.dense", prefix="roberta."
    ),
    "hf_electra": Names(
        BERT_TABLES,
        "embeddings.LayerNorm",
        BERT_LAYER,
        projection="embeddings_project",
        prefix="electra.",
    ),
    "hf_distilbert": Names(
        (*BERT_TABLES[:2], None),
        "embeddings.LayerNorm",
        tuple(
            "transformer.layer.{i}." + name
            for name in (
                "attention.q_lin",
                "attention.k_lin",
                "attention.v_lin",
                "attention.out_lin",
                "sa_layer_norm",
                "ffn.lin1",
                "ffn.lin2",
                "output_layer_norm",
            )
        ),
        prefix="distilbert.",
    ),
    "hf_albert": Names(
        BERT_TABLES,
        "embeddings.LayerNorm",
        tuple(
            "encoder.albert_layer_groups.{g}.albert_layers.{j}." + name
            for name in (
                "attention.query",
                "attention.key",
                "attention.value",
                "attention.dense",
                "attention.LayerNorm",
                "ffn",
                "ffn_output",
                "full_layer_layer_norm",
            )
        ),
        "pooler",
        "encoder.embedding_hidden_mapping_in",
        "albert.",
    ),
    "google_bert": Names(
        TF1_TABLES,
        "bert/embeddings/LayerNorm",
        tuple(
            "bert/encoder/layer_{i}/" + name
            for name in (
                "attention/self/query",
                "attention/self/key",
                "attention/self/value",
                "attention/output/dense",
                "attention/output/LayerNorm",
                "intermediate/dense",
                "output/dense",
                "output/LayerNorm",
            )
        ),
        "bert/pooler/dense",
        torch=False,
    ),
    "google_albert": Names(
        TF1_TABLES,
        "bert/embeddings/LayerNorm",
        tuple(
            "bert/encoder/transformer/group_{g}/inner_group_{j}/" + name
            for name in (
                "attention_1/self/query",
                "attention_1/self/key",
                "attention_1/self/value",
                "attention_1/output/dense",
                "LayerNorm",
                "ffn_1/intermediate/dense",
                "ffn_1/intermediate/output/dense",
                "LayerNorm_1",
            )
        ),
        "bert/pooler/dense",
        "bert/encoder/embedding_hidden_mapping_in",
        torch=False,
    ),
}
ALBERT = {"embedding_size": E, "num_hidden_groups": 2, "inner_group_num": 2, "num_hidden_layers": 4}
CONFIGS = {
    "hf_bert": {"model_type": "bert", **HF_SIZES},
    "hf_roberta": {
        "model_type": "roberta",
        **HF_SIZES,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
    },
    "hf_electra": {"model_type": "electra", **HF_SIZES, "embedding_size": E},
    "hf_distilbert": {
        "model_type": "distilbert",
        "vocab_size": V,
        "dim": D,
        "n_layers": 2,
        "n_heads": N,
        "hidden_dim": F,
        "max_position_embeddings": P,
    },
    "hf_albert": {"model_type": "albert", **HF_SIZES, **ALBERT},
    "google_bert": HF_SIZES,
    "google_albert": {**HF_SIZES, **ALBERT},
}
HF_FORMATS = [name for name in NAMES if name.startswith("hf_")]
OUR_LAYER = (
    "attention/query",
    "attention/key",
    "attention/value",
    "attention/output",
    "attention_norm",
    "intermediate",
    "output",
    "output_norm",
)


def layers_of(format):
    """(our layer, {i, g, j}) of each distinct layer: four for the ALBERTs, two for the others."""
    if "albert" in format:
        return [(2 * g + j, {"g": g, "j": j}) for g in range(2) for j in range(2)]
    return [(i, {"i": i}) for i in range(2)]


def tensor_shapes(format):
    """{stored name: shape} of the encoder of one format."""
    names = NAMES[format]
    table = E if names.projection else D
    rows = (V, P, 1 if format == "hf_roberta" else S)
    shapes = {name: (count, table) for name, count in zip(names.tables, rows, strict=True) if name}
    shapes |= names.layer_norm(names.norm, table)
    if names.projection:
        shapes |= names.dense(names.projection, E, D)
    for _, numbers in layers_of(format):
        for ours, name in zip(OUR_LAYER, names.layer, strict=True):
            name = name.format(**numbers)
            if ours.endswith("norm"):
                shapes |= names.layer_norm(name, D)
            else:
                widths = {"intermediate": (D, F), "output": (F, D)}.get(ours, (D, D))
                shapes |= names.dense(name, *widths)
    if names.pooler:
        shapes |= names.dense(names.pooler, D, D)
    return shapes


def random_tensors(shapes, seed=0):
    """Values that no mistake can leave in place: nothing is 0, 1 or symmetric."""
    generator = np.random.default_rng(seed)
    return {
        name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }


def expected_weights(format, tensors):
    """Our variables, worked out from the stored arrays."""
    names = NAMES[format]
    ours = {}

    def put_dense(theirs, path):
        kernel = tensors[f"{theirs}.weight"].T if names.torch else tensors[f"{theirs}/kernel"]
        ours[f"{path}/kernel"] = kernel
        ours[f"{path}/bias"] = tensors[f"{theirs}.bias" if names.torch else f"{theirs}/bias"]

    def put_norm(theirs, path):
        scale, shift = (".weight", ".bias") if names.torch else ("/gamma", "/beta")
        ours[f"{path}/gamma"], ours[f"{path}/beta"] = (
            tensors[theirs + scale],
            tensors[theirs + shift],
        )

    for name, table in zip(names.tables, ("token", "position", "segment"), strict=True):
        if name:
            ours[f"embeddings/{table}/embeddings"] = tensors[name]
    put_norm(names.norm, "embeddings/norm")
    if names.projection:
        put_dense(names.projection, "embeddings/projection")
    for layer, numbers in layers_of(format):
        for part, name in zip(OUR_LAYER, names.layer, strict=True):
            put = put_norm if part.endswith("norm") else put_dense
            put(name.format(**numbers), f"layer_{layer}/{part}")
    if names.pooler:
        put_dense(names.pooler, "pooler")
    return ours


def write_hugging_face(directory, format, tensors, **config):
    """Write config.json and model.safetensors."""
    directory = pathlib.Path(directory)
    directory.mkdir(exist_ok=True)
    raw = {**CONFIGS[format], **config}
    raw = {key: value for key, value in raw.items() if value is not ...}
    (directory / "config.json").write_text(json.dumps(raw))
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    safetensors.numpy.save_file(contiguous, directory / "model.safetensors")
    return directory


def write_tf1(directory, format, tensors, prefix="bert_model.ckpt", **config):
    """Write a checkpoint with TensorFlow 1's own saver, under the original variable names."""
    import tensorflow as tf

    directory = pathlib.Path(directory)
    directory.mkdir(exist_ok=True, parents=True)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, array in tensors.items():
            tf.compat.v1.get_variable(name, initializer=array)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(directory / prefix), write_state=False)
    name = "albert_config.json" if "albert" in format else "bert_config.json"
    (directory / name).write_text(json.dumps({**CONFIGS[format], **config}))
    return directory


def write_h5(path, tensors):
    """Write arrays under their paths."""
    with h5py.File(path, "w") as file:
        for name, array in tensors.items():
            file.create_dataset(name, data=array)


def assert_equal_weights(found, expected):
    """Same paths, same bits."""
    found = dict(found)
    assert sorted(found) == sorted(expected)
    for path, array in expected.items():
        np.testing.assert_array_equal(found[path], array, err_msg=path)
