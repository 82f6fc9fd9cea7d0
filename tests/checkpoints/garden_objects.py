"""Plain tf.Module objects with the attributes of the Model Garden's encoders of every generation.

Only the names count: tf.train.Checkpoint stores the graph of attributes, and keys by their paths.
"""

import numpy as np
import tensorflow as tf


class Thing(tf.Module):
    """An object with the given attributes; names need not be identifiers."""

    def __init__(self, **attributes):
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)


def layer(weights, path, name):
    """A dense layer or a layer normalization; `name` is that of its Keras variables."""
    found = {}
    for last in ("kernel", "bias", "gamma", "beta"):
        if f"{path}/{last}" in weights:
            found[last] = tf.Variable(weights[f"{path}/{last}"], name=f"{name}/{last}")
    return Thing(**found)


def heads_apart(weights, config):
    """The weights with heads in an axis of their own, as einsum layers have them."""
    n, h = config.num_heads, config.attention_dim // config.num_heads
    apart = dict(weights)
    for path, value in weights.items():
        if "/attention/" in path:
            query = not path.endswith("output/kernel") and not path.endswith("output/bias")
            if query:
                apart[path] = value.reshape(*value.shape[:-1], n, h)
            elif path.endswith("kernel"):
                apart[path] = value.reshape(n, h, -1)
    return apart


def block(weights, index, generation):
    """One encoder layer."""
    at, name = f"layer_{index}", f"transformer/layer_{index}"
    parts = {
        part: layer(weights, f"{at}/attention/{part}", f"{name}/self_attention/{part}")
        for part in ("query", "key", "value")
    }
    output = layer(weights, f"{at}/attention/output", f"{name}/self_attention/attention_output")
    underscore = "" if generation == "2019" else "_"
    attention = {f"{underscore}{part}_dense": thing for part, thing in parts.items()}
    rest = {
        f"{underscore}attention_layer_norm": layer(weights, f"{at}/attention_norm", f"{name}/n1"),
        f"{underscore}intermediate_dense": layer(weights, f"{at}/intermediate", f"{name}/i"),
        f"{underscore}output_dense": layer(weights, f"{at}/output", f"{name}/output"),
        f"{underscore}output_layer_norm": layer(weights, f"{at}/output_norm", f"{name}/n2"),
    }
    if generation == "2019":
        rest["attention_output_dense"] = output
    elif generation == "old":  # functional, TensorFlow 2.0 and 2.1
        rest["_attention_output_dense"] = output
    else:
        attention["_output_dense"] = output
    rest[f"{underscore}attention_layer"] = Thing(**attention)
    return Thing(**rest)


def table(weights, which, name):
    return tf.Variable(weights[f"embeddings/{which}/embeddings"], name=name)


def tables(weights, named=True):
    names = ("word_embeddings/embeddings", "position_embedding/embeddings",
             "type_embeddings/embeddings")  # fmt: skip
    parts = ("token", "position", "segment")
    return [table(weights, p, n if named else "v") for p, n in zip(parts, names, strict=True)]


def encoder(config, weights, generation, named=True, type_table_first=False):
    """An encoder of one generation: `class`, `functional`, `old` (functional) or `2019`."""
    word, position, segment = tables(weights, named)
    norm = layer(weights, "embeddings/norm", "embeddings/layer_norm")
    projection = layer(weights, "embeddings/projection", "embedding_projection")
    blocks = [block(weights, i, generation) for i in range(config.num_distinct_layers)]
    pooler = layer(weights, "pooler", "pooler_transform")
    if generation == "2019":
        after = Thing(type_embeddings=segment, position_embeddings=position, output_layer_norm=norm)
        return Thing(
            embedding_lookup=Thing(embeddings=word),
            embedding_postprocessor=after,
            encoder=Thing(layers=blocks),
            pooler_transform=pooler,
        )
    if generation == "class":
        extra = {"_embedding_projection": projection} if config.embedding_dim else {}
        return Thing(
            _embedding_layer=Thing(embeddings=word),
            _position_embedding_layer=Thing(embeddings=position),
            _type_embedding_layer=Thing(embeddings=segment),
            _embedding_norm_layer=norm,
            _transformer_layers=blocks,
            _pooler_layer=pooler,
            **extra,
        )
    others = [segment, position] if type_table_first else [position, segment]
    layers = [Thing(embeddings=variable) for variable in (word, *others)]
    layers += [norm, *([projection] if config.embedding_dim else []), *blocks, pooler]
    return Thing(**{f"layer_with_weights-{i}": thing for i, thing in enumerate(layers)})


def word_table(thing):
    """The token table of an encoder, to be shared with a head."""
    for name in ("_embedding_layer", "embedding_lookup", "layer_with_weights-0"):
        if hasattr(thing, name):
            return getattr(thing, name).embeddings
    raise AssertionError("no encoder")


def masked_lm(weights, decoder):
    """The layer MaskedLM, which holds the token table too."""
    name = "bert/cls/predictions"
    return Thing(
        embedding_table=decoder,
        dense=layer(weights, "masked_lm/dense", f"{name}/transform/dense"),
        layer_norm=layer(weights, "masked_lm/norm", f"{name}/transform/LayerNorm"),
        **{"output_bias/bias": tf.Variable(weights["masked_lm/bias"], name=f"{name}/output_bias")},
    )


def classification_head(dense, logits, name):
    """The layer ClassificationHead; kernels and biases as (kernel, bias), `dense` may be None."""
    parts = {}
    for attribute, last, values in (
        ("dense", "pooler_dense", dense),
        ("out_proj", "logits", logits),
    ):
        if values is not None:
            kernel = tf.Variable(values[0], name=f"{name}/{last}/kernel")
            parts[attribute] = Thing(
                kernel=kernel, bias=tf.Variable(values[1], name=f"{name}/{last}/bias")
            )
    return Thing(**parts)


def noise(shape, seed=9):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")
