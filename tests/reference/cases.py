"""Small architectures, their variables, random weights and inputs, shared by the model tests.

The sizes are awkward on purpose (heads 4, hidden 20, intermediate 37, vocabulary 31, batch 3,
length 7), so that a swapped axis or a transposed kernel cannot pass unseen.
"""

import zlib

import numpy as np

from bertzoo.config import BackboneConfig, HeadConfig

BATCH, LENGTH = 3, 7

SMALL = BackboneConfig(
    vocabulary_size=31,
    num_layers=2,
    hidden_dim=20,
    num_heads=4,
    intermediate_dim=37,
    max_sequence_length=11,
)

# One row per architecture: what differs from the small BERT.
BACKBONES = {
    "bert": SMALL,
    "bert_gelu_tanh": SMALL.replace(activation="gelu_tanh"),
    "bert_relu": SMALL.replace(activation="relu"),
    "bert_three_segments": SMALL.replace(num_segments=3, layer_norm_epsilon=1.0e-3),
    "bert_one_wide_head": SMALL.replace(num_heads=1, num_layers=1, hidden_dim=13),
    "distilbert": SMALL.replace(num_segments=0, pooler=False, num_layers=3),
    "roberta": SMALL.replace(
        num_segments=1, position_offset=2, layer_norm_epsilon=1.0e-5, pooler=False
    ),
    "roberta_with_pooler": SMALL.replace(num_segments=1, position_offset=2, num_layers=1),
    "albert": SMALL.replace(
        embedding_dim=9, num_groups=1, num_layers=3, activation="gelu_tanh", dropout=0.0
    ),
    # A projection between tables and layers of one width (Hugging Face always has it).
    "albert_square": SMALL.replace(embedding_dim=20, num_groups=1),
    "albert_groups": SMALL.replace(
        embedding_dim=9, num_groups=2, num_inner_layers=2, num_layers=4, activation="gelu_tanh"
    ),
    "electra_small": SMALL.replace(embedding_dim=13, pooler=False),
}

# name -> (backbone row, head); every kind and every choice inside a kind.
HEADS = {
    "masked_lm": ("bert", HeadConfig("masked_lm", hidden_activation="gelu")),
    "masked_lm_untied": (
        "bert",
        HeadConfig("masked_lm", hidden_activation="relu", tie_embeddings=False),
    ),
    "masked_lm_albert": (
        "albert",
        HeadConfig("masked_lm", hidden_activation="gelu_tanh", layer_norm_epsilon=1.0e-3),
    ),
    "masked_lm_roberta": (
        "roberta",
        HeadConfig("masked_lm", hidden_activation="gelu", layer_norm_epsilon=1.0e-5),
    ),
    "masked_lm_electra_untied": (
        "electra_small",
        HeadConfig("masked_lm", hidden_activation="gelu", tie_embeddings=False),
    ),
    "next_sentence": ("bert", HeadConfig("next_sentence", num_outputs=2)),
    "classifier_pooled": ("bert", HeadConfig("text_classifier", num_outputs=5)),
    "classifier_first_token": (
        "distilbert",
        HeadConfig("text_classifier", num_outputs=3, input="first_token", hidden_activation="relu"),
    ),
    "classifier_roberta": (
        "roberta",
        HeadConfig("text_classifier", num_outputs=3, input="first_token", hidden_activation="tanh"),
    ),
    "classifier_electra": (
        "electra_small",
        HeadConfig("text_classifier", num_outputs=4, input="first_token", hidden_activation="gelu"),
    ),
    "classifier_mean": ("bert", HeadConfig("text_classifier", num_outputs=3, input="mean")),
    "classifier_pooled_hidden": (
        "bert",
        HeadConfig("text_classifier", num_outputs=1, hidden_activation="gelu_tanh"),
    ),
    "token_classifier": ("bert", HeadConfig("token_classifier", num_outputs=6)),
    "question_answerer": ("bert", HeadConfig("question_answerer")),
    "discriminator": ("electra_small", HeadConfig("discriminator", hidden_activation="gelu")),
    "embedder_mean": ("bert", HeadConfig("text_embedder")),
    "embedder_cls_normalized": (
        "distilbert",
        HeadConfig("text_embedder", pooling=("cls",), normalize=True),
    ),
    "embedder_max": ("roberta", HeadConfig("text_embedder", pooling=("max",))),
    "embedder_mean_sqrt": ("albert", HeadConfig("text_embedder", pooling=("mean_sqrt",))),
    "embedder_all_poolings": (
        "bert",
        HeadConfig("text_embedder", pooling=("mean_sqrt", "mean", "max", "cls"), normalize=True),
    ),
    "embedder_projections": (
        "bert",
        HeadConfig(
            "text_embedder",
            pooling=("cls", "mean"),
            projections=((11, "tanh", True), (5, None, False)),
            normalize=True,
        ),
    ),
}


def variable_shapes(config, head=None):
    """Return path -> shape of every variable, as the weight contract says it."""
    hidden, width, inner = config.hidden_dim, config.table_dim, config.intermediate_dim
    shapes = {
        "embeddings/token/embeddings": (config.vocabulary_size, width),
        "embeddings/position/embeddings": (
            config.max_sequence_length + config.position_offset,
            width,
        ),
    }
    if config.num_segments:
        shapes["embeddings/segment/embeddings"] = (config.num_segments, width)
    shapes |= _norm("embeddings/norm", width)
    if config.embedding_dim is not None:
        shapes |= _dense("embeddings/projection", width, hidden)
    for layer in range(config.num_distinct_layers):
        for name in ("query", "key", "value", "output"):
            shapes |= _dense(f"layer_{layer}/attention/{name}", hidden, hidden)
        shapes |= _norm(f"layer_{layer}/attention_norm", hidden)
        shapes |= _dense(f"layer_{layer}/intermediate", hidden, inner)
        shapes |= _dense(f"layer_{layer}/output", inner, hidden)
        shapes |= _norm(f"layer_{layer}/output_norm", hidden)
    if config.pooler:
        shapes |= _dense("pooler", hidden, hidden)
    return shapes if head is None else shapes | head_shapes(config, head)


def head_shapes(config, head):
    """Return path -> shape of the variables of one head."""
    hidden, kind = config.hidden_dim, head.kind
    if kind == "masked_lm":
        shapes = _dense("masked_lm/dense", hidden, config.table_dim)
        shapes |= _norm("masked_lm/norm", config.table_dim)
        shapes["masked_lm/bias"] = (config.vocabulary_size,)
        if not head.tie_embeddings:
            shapes["masked_lm/decoder/embeddings"] = (config.vocabulary_size, config.table_dim)
        return shapes
    if kind == "text_embedder":
        shapes, width = {}, hidden * len(head.pooling)
        for index, (outputs, _, has_bias) in enumerate(head.projections):
            shapes |= _dense(f"text_embedder/projection_{index}", width, outputs, has_bias)
            width = outputs
        return shapes
    if kind == "discriminator":
        return _dense("discriminator/hidden", hidden, hidden) | _dense(
            "discriminator/logits", hidden, 1
        )
    outputs = {"next_sentence": 2, "question_answerer": 2}.get(kind, head.num_outputs)
    shapes = _dense(f"{kind}/logits", hidden, outputs)
    if kind == "text_classifier" and head.hidden_activation is not None:
        shapes |= _dense("text_classifier/hidden", hidden, hidden)
    return shapes


def random_weights(shapes, seed=0):
    """Return float32 arrays: no two alike, no layer norm at 1 and 0, no bias at 0."""
    weights = {}
    for path, shape in shapes.items():
        # Seeded by the path, so that one backbone has the same weights under every head.
        rng = np.random.default_rng([seed, zlib.crc32(path.encode())])
        name = path.rsplit("/", 1)[1]
        if name == "gamma":
            value = rng.uniform(0.5, 1.5, shape)
        elif name == "kernel":
            value = rng.normal(0.0, 1.2 / np.sqrt(shape[0]), shape)
        elif name == "embeddings":
            value = rng.normal(0.0, 0.7, shape)
        else:
            value = rng.normal(0.1, 0.3, shape)
        weights[path] = value.astype("float32")
    return weights


def random_inputs(config, head=None, seed=0, batch=BATCH, length=LENGTH):
    """Return a dict of int32 arrays: one full row, one padded on the right, one on the left."""
    rng = np.random.default_rng(seed)
    mask = np.ones((batch, length), "int32")
    mask[1:2, length - 3 :] = 0
    mask[2:3, :2] = 0
    inputs = {
        "token_ids": rng.integers(0, config.vocabulary_size, (batch, length)).astype("int32"),
        "padding_mask": mask,
    }
    if config.num_segments:
        segments = rng.integers(0, config.num_segments, (batch, length))
        inputs["segment_ids"] = segments.astype("int32")
    if head is not None and head.kind == "masked_lm":
        # Unordered and repeated on purpose: position 0 fills unused predictions.
        inputs["mask_positions"] = np.array([[5, 1], [0, 2], [6, 6]], "int32")[:batch]
    return inputs


# Lengths of the texts of each packed row: one fills its row, one is a single token.
PACKED_LENGTHS = ((4, 2, 4), (7,), (3, 1, 2, 5))


def packed_inputs(config, seed=0):
    """Return rows of several texts: int32 arrays, and where each text begins, -1 for no text."""
    rng = np.random.default_rng(seed)
    shape = (len(PACKED_LENGTHS), 11)
    mask, starts = np.zeros(shape, "int32"), np.full((len(PACKED_LENGTHS), 4), -1, "int32")
    for row, lengths in enumerate(PACKED_LENGTHS):
        mask[row, : sum(lengths)] = np.repeat(np.arange(len(lengths)) + 1, lengths)
        starts[row, : len(lengths)] = np.cumsum((0, *lengths[:-1]))
    inputs = {
        "token_ids": rng.integers(0, config.vocabulary_size, shape).astype("int32"),
        "padding_mask": mask,
    }
    if config.num_segments:
        inputs["segment_ids"] = rng.integers(0, config.num_segments, shape).astype("int32")
    return inputs, starts


def packed_texts(inputs):
    """Yield (row, columns, its own ids as an ordinary batch of one) of every text."""
    for row, mask in enumerate(inputs["padding_mask"]):
        for text in range(1, mask.max() + 1):
            columns = np.flatnonzero(mask == text)
            alone = {name: array[row : row + 1, columns] for name, array in inputs.items()}
            yield row, columns, {**alone, "padding_mask": np.ones_like(alone["padding_mask"])}


def _dense(path, inputs, outputs, has_bias=True):
    shapes = {f"{path}/kernel": (inputs, outputs)}
    return shapes | ({f"{path}/bias": (outputs,)} if has_bias else {})


def _norm(path, width):
    return {f"{path}/gamma": (width,), f"{path}/beta": (width,)}
