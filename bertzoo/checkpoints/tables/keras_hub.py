"""KerasHub's presets: where each backbone class keeps its arrays in `model.weights.h5`.

The names are `layers/<class in snake case>[_n]/<attribute>/vars/<i>`, n counting the layers of a
class in the order of the graph. Arrays of `task.weights.h5` have `task/` before them here.
Attention kernels keep heads apart: (D, N, H) for queries, keys and values, (N, H, D) for outputs.
"""

import dataclasses
import typing

from bertzoo.checkpoints.table import Row, Table, dense, norm
from bertzoo.checkpoints.transforms import IDENTITY, JOIN_HEADS_FIRST, JOIN_HEADS_LAST

DENSE = {"names": ("vars/0", "vars/1"), "dot": "/", "kernel": IDENTITY}
NORM = {"names": ("vars/0", "vars/1"), "dot": "/"}

LAYER = "layers/transformer_encoder{_i}/"
ATTENTION = LAYER + "_self_attention_layer/"


def _split(theirs: str, ours: str) -> tuple[Row, ...]:
    return (
        Row(f"{ATTENTION}{theirs}/vars/0", f"{ours}/kernel", JOIN_HEADS_LAST),
        Row(f"{ATTENTION}{theirs}/vars/1", f"{ours}/bias", JOIN_HEADS_FIRST),
    )


ENCODER = (
    *norm("layers/layer_normalization", "embeddings/norm", **NORM),
    *_split("query_dense", "layer_{i}/attention/query"),
    *_split("key_dense", "layer_{i}/attention/key"),
    *_split("value_dense", "layer_{i}/attention/value"),
    Row(f"{ATTENTION}output_dense/vars/0", "layer_{i}/attention/output/kernel", JOIN_HEADS_FIRST),
    Row(f"{ATTENTION}output_dense/vars/1", "layer_{i}/attention/output/bias"),
    *norm(LAYER + "_self_attention_layer_norm", "layer_{i}/attention_norm", **NORM),
    *dense(LAYER + "_feedforward_intermediate_dense", "layer_{i}/intermediate", **DENSE),
    *dense(LAYER + "_feedforward_output_dense", "layer_{i}/output", **DENSE),
    *norm(LAYER + "_feedforward_layer_norm", "layer_{i}/output_norm", **NORM),
)
THREE_TABLES = (
    Row("layers/reversible_embedding/vars/0", "embeddings/token/embeddings"),
    Row("layers/position_embedding/vars/0", "embeddings/position/embeddings"),
    Row("layers/embedding/vars/0", "embeddings/segment/embeddings"),
)
TWO_TABLES = (
    Row(
        "layers/token_and_position_embedding/token_embedding/vars/0",
        "embeddings/token/embeddings",
    ),
    Row(
        "layers/token_and_position_embedding/position_embedding/vars/0",
        "embeddings/position/embeddings",
    ),
)
MASKED_LM = (
    *dense("task/layers/masked_lm_head/_intermediate_dense", "masked_lm/dense", **DENSE),
    *norm("task/layers/masked_lm_head/_intermediate_layer_norm", "masked_lm/norm", **NORM),
    Row("task/layers/masked_lm_head/vars/0", "masked_lm/bias"),
)
PLAIN_CLASSIFIER = dense("task/layers/dense", "text_classifier/logits", **DENSE)
DEEP_CLASSIFIER = (
    *dense("task/layers/dense", "text_classifier/hidden", **DENSE),
    *dense("task/layers/dense_1", "text_classifier/logits", **DENSE),
)
# The optimizer's moments of a model that was compiled, and the states of its dropout layers.
IGNORED = (r"task/optimizer/.*", r".*seed_generator.*", r"task/_?compile_metrics/.*")


def _pooler(name: str) -> tuple[Row, ...]:
    return dense(f"layers/{name}", "pooler", **DENSE)


@dataclasses.dataclass(frozen=True)
class KerasHubClass:
    """One backbone class: its table, its arguments, and what it hard-codes.

    Args:
        name: Without `Backbone`.
        module: Its folder in keras_hub.
        table: Rows.
        constants: Our fields that the class fixes.
        arguments: Their argument -> our field.
        classifier: Fields of its text classifier's `HeadConfig`.
        classifier_dropout: Default of that argument.
        masked_lm_activation: Of its masked language model.
    """

    name: str
    module: str
    table: Table
    constants: dict[str, typing.Any]
    arguments: dict[str, str]
    classifier: dict[str, typing.Any] | None = None
    classifier_dropout: float = 0.1
    masked_lm_activation: str | None = None


ARGUMENTS = {
    "vocabulary_size": "vocabulary_size",
    "num_layers": "num_layers",
    "num_heads": "num_heads",
    "hidden_dim": "hidden_dim",
    "intermediate_dim": "intermediate_dim",
    "dropout": "dropout",
    "max_sequence_length": "max_sequence_length",
}
SEGMENTS = {"num_segments": "num_segments"}
NO_SEGMENTS = {"num_segments": 0, "pooler": False}
# KerasHub's masked language models use Keras's default epsilon, whatever the encoder has.
MASKED_LM_EPSILON = 1e-5

BERT = KerasHubClass(
    name="Bert",
    module="bert",
    table=Table(
        (*THREE_TABLES, *ENCODER, *_pooler("dense"), *MASKED_LM, *PLAIN_CLASSIFIER), IGNORED
    ),
    constants={"activation": "gelu_tanh", "layer_norm_epsilon": 1e-12},
    arguments={**ARGUMENTS, **SEGMENTS},
    classifier={},
    # The encoder's GELU is the tanh form, the head's is erf.
    masked_lm_activation="gelu",
)
ALBERT = KerasHubClass(
    name="Albert",
    module="albert",
    table=Table(
        (
            *THREE_TABLES,
            *ENCODER,
            *dense("layers/dense", "embeddings/projection", **DENSE),
            *_pooler("dense_1"),
            *MASKED_LM,
            *PLAIN_CLASSIFIER,
        ),
        IGNORED,
    ),
    constants={"activation": "gelu_tanh", "layer_norm_epsilon": 1e-12},
    arguments={
        **ARGUMENTS,
        **SEGMENTS,
        "embedding_dim": "embedding_dim",
        "num_groups": "num_groups",
        "num_inner_repetitions": "num_inner_layers",
    },
    classifier={},
    masked_lm_activation="gelu_tanh",
)
DISTIL_BERT = KerasHubClass(
    name="DistilBert",
    module="distil_bert",
    table=Table((*TWO_TABLES, *ENCODER, *MASKED_LM, *DEEP_CLASSIFIER), IGNORED),
    constants={"activation": "gelu", "layer_norm_epsilon": 1e-12, **NO_SEGMENTS},
    arguments=ARGUMENTS,
    classifier={"input": "first_token", "hidden_activation": "relu"},
    classifier_dropout=0.2,
    masked_lm_activation="gelu",
)
ROBERTA = KerasHubClass(
    name="Roberta",
    module="roberta",
    table=DISTIL_BERT.table,
    # Its position table begins at the first token and its only segment row is folded away.
    constants={"activation": "gelu", "layer_norm_epsilon": 1e-5, **NO_SEGMENTS},
    arguments=ARGUMENTS,
    classifier={"input": "first_token", "hidden_activation": "tanh"},
    classifier_dropout=0.0,
    masked_lm_activation="gelu",
)
ELECTRA_ARGUMENTS = {
    **{key: value for key, value in ARGUMENTS.items() if key != "vocabulary_size"},
    **SEGMENTS,
    "vocab_size": "vocabulary_size",
    "embedding_dim": "embedding_dim",
}
ELECTRA = KerasHubClass(
    name="Electra",
    module="electra",
    table=Table((*THREE_TABLES, *ENCODER, *_pooler("dense")), IGNORED),
    constants={"activation": "gelu_tanh", "layer_norm_epsilon": 1e-12},
    arguments=ELECTRA_ARGUMENTS,
)
# With a projection its dense layer comes first and the pooler is the second.
ELECTRA_PROJECTED = dataclasses.replace(
    ELECTRA,
    table=Table(
        (
            *THREE_TABLES,
            *ENCODER,
            *dense("layers/dense", "embeddings/projection", **DENSE),
            *_pooler("dense_1"),
        ),
        IGNORED,
    ),
)
CLASSES = {family.name: family for family in (BERT, ALBERT, DISTIL_BERT, ROBERTA, ELECTRA)}
