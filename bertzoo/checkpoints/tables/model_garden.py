"""TensorFlow Model Garden encoders (official.nlp), under the names of their Keras variables.

The object graph leads from the attributes of every generation to these names; the attributes
themselves have changed over the years, see `bertzoo/checkpoints/model_garden.py`.
"""

import dataclasses

from bertzoo.checkpoints.configs import HF_ACTIVATIONS, ConfigMap
from bertzoo.checkpoints.heads import HeadRule
from bertzoo.checkpoints.table import Row, Table, dense, norm
from bertzoo.checkpoints.tables import google_albert
from bertzoo.checkpoints.tables.google_bert import NAMES, NORM
from bertzoo.checkpoints.transforms import IDENTITY, JOIN_HEADS_FIRST, JOIN_HEADS_LAST

LAYER = "transformer/layer_{i}/"
ATTENTION = LAYER + "self_attention/"

OTHER_ROWS = (
    Row("word_embeddings/embeddings", "embeddings/token/embeddings"),
    Row("position_embedding/embeddings", "embeddings/position/embeddings"),
    Row("type_embeddings/embeddings", "embeddings/segment/embeddings"),
    *norm("embeddings/layer_norm", "embeddings/norm", **NORM),
    *dense("embedding_projection", "embeddings/projection", **NAMES),
    *norm(LAYER + "self_attention_layer_norm", "layer_{i}/attention_norm", **NORM),
    *dense(LAYER + "intermediate", "layer_{i}/intermediate", **NAMES),
    *dense(LAYER + "output", "layer_{i}/output", **NAMES),
    *norm(LAYER + "output_layer_norm", "layer_{i}/output_norm", **NORM),
    *dense("pooler_transform", "pooler", **NAMES),
    *dense("cls/predictions/transform/dense", "masked_lm/dense", **NAMES),
    *norm("cls/predictions/transform/LayerNorm", "masked_lm/norm", **NORM),
    Row("cls/predictions/output_bias/bias", "masked_lm/bias"),
    Row("cls/predictions/embedding_table", "masked_lm/decoder/embeddings"),
    # Not transposed, unlike in Google's first checkpoints.
    *dense("next_sentence/logits", "next_sentence/logits", **NAMES),
    *dense("sentence_prediction/pooler_dense", "text_classifier/hidden", **NAMES),
    *dense("sentence_prediction/out_proj", "text_classifier/logits", **NAMES),
    *dense("sentence_prediction/logits", "text_classifier/logits", **NAMES),
)


def _attention(kernel, bias, output):
    rows = []
    for name in ("query", "key", "value"):
        rows += [
            Row(f"{ATTENTION}{name}/kernel", f"layer_{{i}}/attention/{name}/kernel", kernel),
            Row(f"{ATTENTION}{name}/bias", f"layer_{{i}}/attention/{name}/bias", bias),
        ]
    theirs, ours = f"{ATTENTION}attention_output", "layer_{i}/attention/output"
    return (
        *rows,
        Row(f"{theirs}/kernel", f"{ours}/kernel", output),
        Row(f"{theirs}/bias", f"{ours}/bias"),
    )


TABLE = Table(
    rows=(*_attention(JOIN_HEADS_LAST, JOIN_HEADS_FIRST, JOIN_HEADS_FIRST), *OTHER_ROWS),
    # The first is the graph itself, the others belong to runs and to SavedModels.
    ignored=(
        r"_CHECKPOINTABLE_OBJECT_GRAPH",
        r".*\.OPTIMIZER_SLOT.*",
        r"(.*/)?_?optimizer/.*",
        r"(.*/)?(save_counter|global_step|do_lower_case|_current_train_step)/\.ATTRIBUTES/.*",
        r"(.*/)?_metrics/.*",
    ),
    foreign_heads=((r"head/.*", "a head of the Model Garden that bertzoo does not read"),),
)
# The 2019 encoders could keep their heads joined (backward_compatible=True).
JOINED = dataclasses.replace(TABLE, rows=(*_attention(IDENTITY, IDENTITY, IDENTITY), *OTHER_ROWS))

# The Garden's "gelu" is the tanh form (official/modeling/activations/gelu.py).
ACTIVATIONS = {**HF_ACTIVATIONS, "gelu": "gelu_tanh"}

CONFIG = ConfigMap(
    format="model_garden",
    model_type=None,
    keys=google_albert.CONFIG.keys,
    defaults={"hidden_act": "gelu"},
    ignored=google_albert.CONFIG.ignored,
    activations=ACTIVATIONS,
    projection="where_widths_differ",
)
PARAMS = ConfigMap(
    format="model_garden",
    model_type=None,
    keys={
        "vocab_size": "vocabulary_size",
        "hidden_size": "hidden_dim",
        "num_layers": "num_layers",
        "num_attention_heads": "num_heads",
        "intermediate_size": "intermediate_dim",
        "hidden_activation": "activation",
        "dropout_rate": "dropout",
        "attention_dropout_rate": "attention_dropout",
        "max_position_embeddings": "max_sequence_length",
        "type_vocab_size": "num_segments",
        "initializer_range": "initializer_range",
        "embedding_size": "embedding_dim",
    },
    # official.nlp.configs.encoders.BertEncoderConfig
    defaults={"vocab_size": 30522, "hidden_activation": "gelu"},
    required=(),
    ignored=("output_range", "return_all_encoder_outputs", "return_attention_scores"),
    activations=ACTIVATIONS,
    projection="where_widths_differ",
)

HEADS = (
    HeadRule(kind="masked_lm", evidence="cls/predictions/transform/dense/kernel"),
    HeadRule(kind="next_sentence", evidence="next_sentence/logits/bias", dropout=0.0),
    HeadRule(kind="text_classifier", evidence="sentence_prediction/logits/bias"),
    # ClassificationHead with a dense layer: tanh on the first token.
    HeadRule(
        kind="text_classifier",
        evidence="sentence_prediction/out_proj/bias",
        input="first_token",
        activation="tanh",
    ),
)
