"""Hugging Face ALBERT (Lan et al. 2019): factorised embeddings, layers shared in groups."""

from bertzoo.checkpoints.configs import ConfigMap
from bertzoo.checkpoints.heads import HeadRule
from bertzoo.checkpoints.table import Row, Table, dense, norm
from bertzoo.checkpoints.tables import hf_bert

LAYER = "encoder.albert_layer_groups.{g}.albert_layers.{j}."

TABLE = Table(
    prefixes=("albert.",),
    rows=(
        *hf_bert.EMBEDDINGS,
        *dense("encoder.embedding_hidden_mapping_in", "embeddings/projection"),
        *dense(LAYER + "attention.query", "layer_{i}/attention/query"),
        *dense(LAYER + "attention.key", "layer_{i}/attention/key"),
        *dense(LAYER + "attention.value", "layer_{i}/attention/value"),
        *dense(LAYER + "attention.dense", "layer_{i}/attention/output"),
        *norm(LAYER + "attention.LayerNorm", "layer_{i}/attention_norm"),
        *dense(LAYER + "ffn", "layer_{i}/intermediate"),
        *dense(LAYER + "ffn_output", "layer_{i}/output"),
        *norm(LAYER + "full_layer_layer_norm", "layer_{i}/output_norm"),
        *dense("pooler", "pooler"),
        *dense("predictions.dense", "masked_lm/dense"),
        *norm("predictions.LayerNorm", "masked_lm/norm"),
        Row("predictions.bias", "masked_lm/bias"),
        Row("predictions.decoder.weight", "masked_lm/decoder/embeddings"),
        *dense("sop_classifier.classifier", "next_sentence/logits"),
        *dense("classifier", "text_classifier/logits"),
        *dense("classifier", "token_classifier/logits"),
        *dense("classifier", "multiple_choice/logits"),
        *dense("qa_outputs", "question_answerer/logits"),
    ),
    ignored=hf_bert.BUFFERS,
)
DECODER = ("predictions.bias", "predictions.decoder")

CONFIG = ConfigMap(
    format="hf_albert",
    model_type="albert",
    keys={
        **hf_bert.CONFIG.keys,
        "embedding_size": "embedding_dim",
        "num_hidden_groups": "num_groups",
        "inner_group_num": "num_inner_layers",
    },
    # The sizes of AlbertConfig's defaults are ALBERT-xxlarge's: a file that leaves one of them
    # out is cut short rather than meant so.
    required=(
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "embedding_size",
    ),
    defaults={
        "num_hidden_groups": 1,
        "inner_group_num": 1,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
    head_keys=("classifier_dropout_prob",),
    # Of ALBERT's training code; none changes the network.
    ignored=(
        "net_structure_type",
        "gap_size",
        "num_memory_blocks",
        "layers_to_keep",
        "down_scale_factor",
        "ln_type",
    ),
    projection="always",
)

HEADS = (
    HeadRule(
        kind="masked_lm",
        evidence="predictions.dense.weight",
        architectures=("AlbertForMaskedLM", "AlbertForPreTraining"),
    ),
    HeadRule(
        kind="next_sentence",
        evidence="sop_classifier.classifier.weight",
        architectures=("AlbertForPreTraining",),
        dropout=("classifier_dropout_prob", 0.1),
    ),
    HeadRule(
        kind="text_classifier",
        evidence="classifier.weight",
        architectures=("AlbertForSequenceClassification",),
        dropout=("classifier_dropout_prob", 0.1),
    ),
    HeadRule(
        kind="token_classifier",
        evidence="classifier.weight",
        architectures=("AlbertForTokenClassification",),
        dropout=("classifier_dropout_prob", 0.1),
    ),
    HeadRule(
        kind="question_answerer",
        evidence="qa_outputs.weight",
        architectures=("AlbertForQuestionAnswering",),
        dropout=0.0,
    ),
    HeadRule(
        kind="multiple_choice",
        evidence="classifier.weight",
        architectures=("AlbertForMultipleChoice",),
        dropout=("classifier_dropout_prob", 0.1),
    ),
)
