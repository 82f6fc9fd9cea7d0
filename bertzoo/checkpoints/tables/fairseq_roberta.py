"""fairseq's RoBERTa (Liu et al. 2019): `model.pt`, from which Hugging Face's copies were made.

There is no segment table. The rows of the token table are in the order of Hugging Face's ids.
"""

from bertzoo.checkpoints.configs import ConfigMap
from bertzoo.checkpoints.heads import HeadRule
from bertzoo.checkpoints.table import Row, Table, dense, norm

LAYER = "layers.{i}."

TABLE = Table(
    rows=(
        Row("embed_tokens.weight", "embeddings/token/embeddings"),
        Row("embed_positions.weight", "embeddings/position/embeddings"),
        *norm("layernorm_embedding", "embeddings/norm"),
        *dense(LAYER + "self_attn.q_proj", "layer_{i}/attention/query"),
        *dense(LAYER + "self_attn.k_proj", "layer_{i}/attention/key"),
        *dense(LAYER + "self_attn.v_proj", "layer_{i}/attention/value"),
        *dense(LAYER + "self_attn.out_proj", "layer_{i}/attention/output"),
        *norm(LAYER + "self_attn_layer_norm", "layer_{i}/attention_norm"),
        *dense(LAYER + "fc1", "layer_{i}/intermediate"),
        *dense(LAYER + "fc2", "layer_{i}/output"),
        *norm(LAYER + "final_layer_norm", "layer_{i}/output_norm"),
        *dense("lm_head.dense", "masked_lm/dense"),
        *norm("lm_head.layer_norm", "masked_lm/norm"),
        Row("lm_head.bias", "masked_lm/bias"),
        Row("lm_head.weight", "masked_lm/decoder/embeddings"),
        *dense("classification_head.dense", "text_classifier/hidden"),
        *dense("classification_head.out_proj", "text_classifier/logits"),
    ),
    ignored=(r"version", r"embed_positions\._float_tensor"),
    foreign_heads=((r"classification_heads\..*", "one of several classification heads"),),
)

# Of the training arguments; the others do not change what the encoder computes. Its tables have
# two rows more than max_positions.
CONFIG = ConfigMap(
    format="fairseq_roberta",
    model_type=None,
    keys={
        "vocab_size": "vocabulary_size",  # ours: from the token table
        "encoder_layers": "num_layers",
        "encoder_embed_dim": "hidden_dim",
        "encoder_ffn_embed_dim": "intermediate_dim",
        "encoder_attention_heads": "num_heads",
        "max_positions": "max_sequence_length",
        "activation_fn": "activation",
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
    },
    required=("encoder_layers", "encoder_embed_dim", "encoder_attention_heads", "max_positions"),
    # torch.nn.LayerNorm's default; padding_idx 1 and the row before it.
    constants={"layer_norm_epsilon": 1.0e-5, "position_offset": 2},
    activations={
        "gelu": "gelu",
        "gelu_fast": "gelu_tanh",
        "gelu_accurate": "gelu_tanh",
        "relu": "relu",
    },
)

HEADS = (
    HeadRule(kind="masked_lm", evidence="lm_head.dense.weight"),
    HeadRule(
        kind="text_classifier",
        evidence="classification_head.out_proj.weight",
        input="first_token",
        activation="tanh",
    ),
)
