"""Hugging Face BERT, which is also TinyBERT, MiniLM and every domain BERT.

Names as in `transformers`' modeling_bert.py; PyTorch kernels are [out, in].
"""

from bertzoo.checkpoints.configs import ConfigMap
from bertzoo.checkpoints.heads import HeadRule
from bertzoo.checkpoints.table import Row, Table, dense, norm

EMBEDDINGS = (
    Row("embeddings.word_embeddings.weight", "embeddings/token/embeddings"),
    Row("embeddings.position_embeddings.weight", "embeddings/position/embeddings"),
    Row("embeddings.token_type_embeddings.weight", "embeddings/segment/embeddings"),
    *norm("embeddings.LayerNorm", "embeddings/norm"),
)

# RoBERTa and ELECTRA name their encoder layers the same way.
ENCODER = (
    *dense("encoder.layer.{i}.attention.self.query", "layer_{i}/attention/query"),
    *dense("encoder.layer.{i}.attention.self.key", "layer_{i}/attention/key"),
    *dense("encoder.layer.{i}.attention.self.value", "layer_{i}/attention/value"),
    *dense("encoder.layer.{i}.attention.output.dense", "layer_{i}/attention/output"),
    *norm("encoder.layer.{i}.attention.output.LayerNorm", "layer_{i}/attention_norm"),
    *dense("encoder.layer.{i}.intermediate.dense", "layer_{i}/intermediate"),
    *dense("encoder.layer.{i}.output.dense", "layer_{i}/output"),
    *norm("encoder.layer.{i}.output.LayerNorm", "layer_{i}/output_norm"),
)

# Buffers that older versions wrote: positions 0..P-1 and zeros.
BUFFERS = (r"embeddings\.position_ids", r"embeddings\.token_type_ids")

TABLE = Table(
    prefixes=("bert.",),
    rows=(
        *EMBEDDINGS,
        *ENCODER,
        *dense("pooler.dense", "pooler"),
        *dense("cls.predictions.transform.dense", "masked_lm/dense"),
        *norm("cls.predictions.transform.LayerNorm", "masked_lm/norm"),
        Row("cls.predictions.bias", "masked_lm/bias"),
        Row("cls.predictions.decoder.weight", "masked_lm/decoder/embeddings"),
        *dense("cls.seq_relationship", "next_sentence/logits"),
        *dense("classifier", "text_classifier/logits"),
        *dense("classifier", "token_classifier/logits"),
        *dense("classifier", "multiple_choice/logits"),
        *dense("qa_outputs", "question_answerer/logits"),
    ),
    # TinyBERT's fit_dense projects hidden states to the teacher's width, in distillation only.
    ignored=(*BUFFERS, r"fit_dense(s\.\d+)?\.(weight|bias)"),
)
DECODER = ("cls.predictions.bias", "cls.predictions.decoder")

CONFIG = ConfigMap(
    format="hf_bert",
    model_type="bert",
    keys={
        "vocab_size": "vocabulary_size",
        "hidden_size": "hidden_dim",
        "num_hidden_layers": "num_layers",
        "num_attention_heads": "num_heads",
        "intermediate_size": "intermediate_dim",
        "hidden_act": "activation",
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
        "max_position_embeddings": "max_sequence_length",
        "type_vocab_size": "num_segments",
        "initializer_range": "initializer_range",
        "layer_norm_eps": "layer_norm_epsilon",
    },
    # BertConfig's defaults are BERT-Base, as ours are.
    head_keys=("classifier_dropout",),
)

HEADS = (
    HeadRule(
        kind="masked_lm",
        evidence="cls.predictions.transform.dense.weight",
        architectures=("BertForMaskedLM", "BertForPreTraining"),
    ),
    HeadRule(
        kind="next_sentence",
        evidence="cls.seq_relationship.weight",
        architectures=("BertForNextSentencePrediction", "BertForPreTraining"),
        dropout=0.0,
    ),
    HeadRule(
        kind="text_classifier",
        evidence="classifier.weight",
        architectures=("BertForSequenceClassification",),
        dropout=("classifier_dropout", "hidden_dropout_prob"),
    ),
    HeadRule(
        kind="token_classifier",
        evidence="classifier.weight",
        architectures=("BertForTokenClassification",),
        dropout=("classifier_dropout", "hidden_dropout_prob"),
    ),
    HeadRule(
        kind="question_answerer",
        evidence="qa_outputs.weight",
        architectures=("BertForQuestionAnswering",),
        dropout=0.0,
    ),
    HeadRule(
        kind="multiple_choice",
        evidence="classifier.weight",
        architectures=("BertForMultipleChoice",),
        dropout=("classifier_dropout", "hidden_dropout_prob"),
    ),
)
