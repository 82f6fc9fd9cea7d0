"""Hugging Face RoBERTa (Liu et al. 2019): BERT's encoder, its own heads and position offset."""

from bertzoo.checkpoints.configs import ConfigMap
from bertzoo.checkpoints.heads import HeadRule
from bertzoo.checkpoints.table import Row, Table, dense, norm
from bertzoo.checkpoints.tables import hf_bert

TABLE = Table(
    prefixes=("roberta.",),
    rows=(
        *hf_bert.EMBEDDINGS,
        *hf_bert.ENCODER,
        *dense("pooler.dense", "pooler"),
        *dense("lm_head.dense", "masked_lm/dense"),
        *norm("lm_head.layer_norm", "masked_lm/norm"),
        Row("lm_head.bias", "masked_lm/bias"),
        Row("lm_head.decoder.weight", "masked_lm/decoder/embeddings"),
        *dense("classifier.dense", "text_classifier/hidden"),
        *dense("classifier.out_proj", "text_classifier/logits"),
        *dense("classifier", "token_classifier/logits"),
        *dense("classifier", "multiple_choice/logits"),
        *dense("qa_outputs", "question_answerer/logits"),
    ),
    ignored=hf_bert.BUFFERS,
)
DECODER = ("lm_head.bias", "lm_head.decoder")

CONFIG = ConfigMap(
    format="hf_roberta",
    model_type="roberta",
    keys=hf_bert.CONFIG.keys,
    # RobertaConfig's defaults; every published file says 514, 1 and 1e-5 instead.
    defaults={"vocab_size": 50265, "pad_token_id": 1},
    head_keys=("classifier_dropout",),
    positions_after_pad=True,
)

HEADS = (
    # RobertaLMHead calls gelu (erf) whatever hidden_act says.
    HeadRule(
        kind="masked_lm",
        evidence="lm_head.dense.weight",
        architectures=("RobertaForMaskedLM",),
        activation="gelu",
    ),
    HeadRule(
        kind="text_classifier",
        evidence="classifier.out_proj.weight",
        architectures=("RobertaForSequenceClassification",),
        input="first_token",
        activation="tanh",
        dropout=("classifier_dropout", "hidden_dropout_prob"),
    ),
    HeadRule(
        kind="token_classifier",
        evidence="classifier.weight",
        architectures=("RobertaForTokenClassification",),
        dropout=("classifier_dropout", "hidden_dropout_prob"),
    ),
    HeadRule(
        kind="question_answerer",
        evidence="qa_outputs.weight",
        architectures=("RobertaForQuestionAnswering",),
        dropout=0.0,
    ),
    HeadRule(
        kind="multiple_choice",
        evidence="classifier.weight",
        architectures=("RobertaForMultipleChoice",),
        dropout=("hidden_dropout_prob",),
    ),
)
