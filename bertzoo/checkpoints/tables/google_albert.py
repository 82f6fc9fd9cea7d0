"""Google's original ALBERT checkpoints (Lan et al. 2019), written by TensorFlow 1.

`LayerNorm` (after attention) and `LayerNorm_1` (after the feed-forward layer) lie beside the
folders `attention_1` and `ffn_1`, and the second feed-forward matrix lies inside `intermediate`.
"""

from bertzoo.checkpoints.configs import HF_ACTIVATIONS, ConfigMap
from bertzoo.checkpoints.table import Table, dense, norm
from bertzoo.checkpoints.tables import google_bert, hf_albert
from bertzoo.checkpoints.tables.google_bert import NAMES, NORM

LAYER = "bert/encoder/transformer/group_{g}/inner_group_{j}/"

TABLE = Table(
    prefixes=("module/",),
    rows=(
        *google_bert.EMBEDDINGS,
        *dense("bert/encoder/embedding_hidden_mapping_in", "embeddings/projection", **NAMES),
        *dense(LAYER + "attention_1/self/query", "layer_{i}/attention/query", **NAMES),
        *dense(LAYER + "attention_1/self/key", "layer_{i}/attention/key", **NAMES),
        *dense(LAYER + "attention_1/self/value", "layer_{i}/attention/value", **NAMES),
        *dense(LAYER + "attention_1/output/dense", "layer_{i}/attention/output", **NAMES),
        *norm(LAYER + "LayerNorm", "layer_{i}/attention_norm", **NORM),
        *dense(LAYER + "ffn_1/intermediate/dense", "layer_{i}/intermediate", **NAMES),
        *dense(LAYER + "ffn_1/intermediate/output/dense", "layer_{i}/output", **NAMES),
        *norm(LAYER + "LayerNorm_1", "layer_{i}/output_norm", **NORM),
        *google_bert.HEAD_ROWS,
    ),
    ignored=google_bert.TRAINING,
    # SQuAD 2 heads of ALBERT choose the end given the start: another algorithm.
    foreign_heads=((r"(start_logits|end_logits|answer_class)/.*", "ALBERT's SQuAD 2 head"),),
)

CONFIG = ConfigMap(
    format="google_albert",
    model_type=None,
    keys={
        **google_bert.KEYS,
        "embedding_size": "embedding_dim",
        "num_hidden_groups": "num_groups",
        "inner_group_num": "num_inner_layers",
    },
    required=hf_albert.CONFIG.required,
    defaults={
        "hidden_act": "gelu",
        "num_hidden_groups": 1,
        "inner_group_num": 1,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
    ignored=hf_albert.CONFIG.ignored,
    # ALBERT's own code calls the tanh form "gelu".
    activations={**HF_ACTIVATIONS, "gelu": "gelu_tanh"},
    spelling=google_bert.SPELLING,
    projection="where_widths_differ",
)

HEADS = google_bert.HEADS
