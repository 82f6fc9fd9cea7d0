"""Hugging Face DistilBERT (Sanh et al. 2019): no segments, no pooler, names of its own."""

from bertzoo.checkpoints.configs import ConfigMap
from bertzoo.checkpoints.heads import HeadRule
from bertzoo.checkpoints.table import Row, Table, dense, norm
from bertzoo.checkpoints.tables import hf_bert

TABLE = Table(
    prefixes=("distilbert.",),
    rows=(
        Row("embeddings.word_embeddings.weight", "embeddings/token/embeddings"),
        Row("embeddings.position_embeddings.weight", "embeddings/position/embeddings"),
        *norm("embeddings.LayerNorm", "embeddings/norm"),
        *dense("transformer.layer.{i}.attention.q_lin", "layer_{i}/attention/query"),
        *dense("transformer.layer.{i}.attention.k_lin", "layer_{i}/attention/key"),
        *dense("transformer.layer.{i}.attention.v_lin", "layer_{i}/attention/value"),
        *dense("transformer.layer.{i}.attention.out_lin", "layer_{i}/attention/output"),
        *norm("transformer.layer.{i}.sa_layer_norm", "layer_{i}/attention_norm"),
        *dense("transformer.layer.{i}.ffn.lin1", "layer_{i}/intermediate"),
        *dense("transformer.layer.{i}.ffn.lin2", "layer_{i}/output"),
        *norm("transformer.layer.{i}.output_layer_norm", "layer_{i}/output_norm"),
        *dense("vocab_transform", "masked_lm/dense"),
        *norm("vocab_layer_norm", "masked_lm/norm"),
        Row("vocab_projector.bias", "masked_lm/bias"),
        Row("vocab_projector.weight", "masked_lm/decoder/embeddings"),
        *dense("pre_classifier", "text_classifier/hidden"),
        *dense("classifier", "text_classifier/logits"),
        *dense("classifier", "token_classifier/logits"),
        *dense("pre_classifier", "multiple_choice/hidden"),
        *dense("classifier", "multiple_choice/logits"),
        *dense("qa_outputs", "question_answerer/logits"),
    ),
    ignored=hf_bert.BUFFERS,
)
DECODER = ("vocab_projector.bias", "vocab_projector")

CONFIG = ConfigMap(
    format="hf_distilbert",
    model_type="distilbert",
    keys={
        "vocab_size": "vocabulary_size",
        "dim": "hidden_dim",
        "n_layers": "num_layers",
        "n_heads": "num_heads",
        "hidden_dim": "intermediate_dim",
        "activation": "activation",
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
        "max_position_embeddings": "max_sequence_length",
        "initializer_range": "initializer_range",
    },
    defaults={"n_layers": 6},
    constants={"num_segments": 0},
    head_keys=("qa_dropout", "seq_classif_dropout"),
    # The position table is stored whether or not it began as sinusoids.
    ignored=("sinusoidal_pos_embds", "tie_weights_"),
)

HEADS = (
    HeadRule(
        kind="masked_lm",
        evidence="vocab_transform.weight",
        architectures=("DistilBertForMaskedLM",),
        epsilon=1e-12,
    ),
    HeadRule(
        kind="text_classifier",
        evidence="pre_classifier.weight",
        architectures=("DistilBertForSequenceClassification",),
        input="first_token",
        activation="relu",
        dropout=("seq_classif_dropout", 0.2),
    ),
    HeadRule(
        kind="token_classifier",
        evidence="classifier.weight",
        architectures=("DistilBertForTokenClassification",),
        absent="pre_classifier.weight",
        dropout=("dropout", 0.1),
    ),
    HeadRule(
        kind="question_answerer",
        evidence="qa_outputs.weight",
        architectures=("DistilBertForQuestionAnswering",),
        dropout=("qa_dropout", 0.1),
    ),
    HeadRule(
        kind="multiple_choice",
        evidence="pre_classifier.weight",
        architectures=("DistilBertForMultipleChoice",),
        input="first_token",
        activation="relu",
        dropout=("seq_classif_dropout", 0.2),
    ),
)
