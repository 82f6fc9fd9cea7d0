"""Hugging Face ELECTRA (Clark et al. 2020), discriminators and generators."""

from bertzoo.checkpoints.configs import ConfigMap
from bertzoo.checkpoints.heads import HeadRule
from bertzoo.checkpoints.table import Row, Table, dense, norm
from bertzoo.checkpoints.tables import hf_bert

TABLE = Table(
    prefixes=("electra.",),
    rows=(
        *hf_bert.EMBEDDINGS,
        *dense("embeddings_project", "embeddings/projection"),
        *hf_bert.ENCODER,
        *dense("generator_predictions.dense", "masked_lm/dense"),
        *norm("generator_predictions.LayerNorm", "masked_lm/norm"),
        Row("generator_lm_head.bias", "masked_lm/bias"),
        Row("generator_lm_head.weight", "masked_lm/decoder/embeddings"),
        *dense("discriminator_predictions.dense", "discriminator/hidden"),
        *dense("discriminator_predictions.dense_prediction", "discriminator/logits"),
        *dense("classifier.dense", "text_classifier/hidden"),
        *dense("classifier.out_proj", "text_classifier/logits"),
        *dense("classifier", "token_classifier/logits"),
        *dense("sequence_summary.summary", "multiple_choice/hidden"),
        *dense("classifier", "multiple_choice/logits"),
        *dense("qa_outputs", "question_answerer/logits"),
    ),
    ignored=hf_bert.BUFFERS,
)
DECODER = ("generator_lm_head.bias", "generator_lm_head")

CONFIG = ConfigMap(
    format="hf_electra",
    model_type="electra",
    keys={**hf_bert.CONFIG.keys, "embedding_size": "embedding_dim"},
    # ElectraConfig's defaults are ELECTRA-small.
    defaults={
        "embedding_size": 128,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    },
    head_keys=(
        "classifier_dropout",
        "summary_type",
        "summary_use_proj",
        "summary_activation",
        "summary_last_dropout",
    ),
    projection="where_widths_differ",
)

HEADS = (
    # ElectraGeneratorPredictions and ElectraClassificationHead call gelu (erf) whatever
    # hidden_act says; ElectraDiscriminatorPredictions follows hidden_act.
    HeadRule(
        kind="masked_lm",
        evidence="generator_predictions.dense.weight",
        architectures=("ElectraForMaskedLM",),
        activation="gelu",
    ),
    HeadRule(
        kind="discriminator",
        evidence="discriminator_predictions.dense.weight",
        architectures=("ElectraForPreTraining",),
        activation="config",
        dropout=0.0,
    ),
    HeadRule(
        kind="text_classifier",
        evidence="classifier.out_proj.weight",
        architectures=("ElectraForSequenceClassification",),
        input="first_token",
        activation="gelu",
        dropout=("classifier_dropout", "hidden_dropout_prob"),
    ),
    HeadRule(
        kind="token_classifier",
        evidence="classifier.weight",
        architectures=("ElectraForTokenClassification",),
        dropout=("classifier_dropout", "hidden_dropout_prob"),
    ),
    HeadRule(
        kind="question_answerer",
        evidence="qa_outputs.weight",
        architectures=("ElectraForQuestionAnswering",),
        dropout=0.0,
    ),
    HeadRule(
        kind="multiple_choice",
        evidence="sequence_summary.summary.weight",
        architectures=("ElectraForMultipleChoice",),
        input="first_token",
        activation="gelu",
        dropout=("summary_last_dropout", 0.1),
    ),
)
