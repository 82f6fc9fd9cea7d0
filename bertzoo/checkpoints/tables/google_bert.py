"""Google's original BERT checkpoints (Devlin et al. 2018), written by TensorFlow 1.

Kernels are [in, out] as ours; the classifying matrices are [classes, hidden] and used transposed.
"""

from bertzoo.checkpoints.configs import HF_ACTIVATIONS, ConfigMap
from bertzoo.checkpoints.heads import HeadRule
from bertzoo.checkpoints.table import Row, Table, dense, norm
from bertzoo.checkpoints.transforms import IDENTITY, TRANSPOSE

NAMES = {"names": ("kernel", "bias"), "dot": "/", "kernel": IDENTITY}
NORM = {"names": ("gamma", "beta"), "dot": "/"}

EMBEDDINGS = (
    Row("bert/embeddings/word_embeddings", "embeddings/token/embeddings"),
    Row("bert/embeddings/position_embeddings", "embeddings/position/embeddings"),
    Row("bert/embeddings/token_type_embeddings", "embeddings/segment/embeddings"),
    *norm("bert/embeddings/LayerNorm", "embeddings/norm", **NORM),
)
# ALBERT's checkpoints name everything but the encoder layers as BERT's do.
HEAD_ROWS = (
    *dense("bert/pooler/dense", "pooler", **NAMES),
    *dense("cls/predictions/transform/dense", "masked_lm/dense", **NAMES),
    *norm("cls/predictions/transform/LayerNorm", "masked_lm/norm", **NORM),
    Row("cls/predictions/output_bias", "masked_lm/bias"),
    Row("cls/seq_relationship/output_weights", "next_sentence/logits/kernel", TRANSPOSE),
    Row("cls/seq_relationship/output_bias", "next_sentence/logits/bias"),
    Row("output_weights", "text_classifier/logits/kernel", TRANSPOSE),
    Row("output_bias", "text_classifier/logits/bias"),
    Row("output_weights", "token_classifier/logits/kernel", TRANSPOSE),
    Row("output_bias", "token_classifier/logits/bias"),
    Row("cls/squad/output_weights", "question_answerer/logits/kernel", TRANSPOSE),
    Row("cls/squad/output_bias", "question_answerer/logits/bias"),
)
# Optimizer slots and counters of a training run.
TRAINING = (
    r".*/(adam|lamb)_[mv]",
    r".*/Adam(_1)?",
    r"(.*/)?global_step",
    r"(.*/)?beta[12]_power",
)
LAYER = "bert/encoder/layer_{i}/"

TABLE = Table(
    prefixes=("module/",),
    rows=(
        *EMBEDDINGS,
        *dense(LAYER + "attention/self/query", "layer_{i}/attention/query", **NAMES),
        *dense(LAYER + "attention/self/key", "layer_{i}/attention/key", **NAMES),
        *dense(LAYER + "attention/self/value", "layer_{i}/attention/value", **NAMES),
        *dense(LAYER + "attention/output/dense", "layer_{i}/attention/output", **NAMES),
        *norm(LAYER + "attention/output/LayerNorm", "layer_{i}/attention_norm", **NORM),
        *dense(LAYER + "intermediate/dense", "layer_{i}/intermediate", **NAMES),
        *dense(LAYER + "output/dense", "layer_{i}/output", **NAMES),
        *norm(LAYER + "output/LayerNorm", "layer_{i}/output_norm", **NORM),
        *HEAD_ROWS,
    ),
    ignored=TRAINING,
)

KEYS = {
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
}

# Google's code knows one word for both forms of GELU, and none of Hugging Face's.
SPELLING = {"gelu": "gelu", "gelu_tanh": "gelu", "relu": "relu"}

CONFIG = ConfigMap(
    format="google_bert",
    model_type=None,
    keys=KEYS,
    # "gelu" was erf when the first weights were published and is the tanh form since 2019-02;
    # erf is what Hugging Face's copies of the same weights use.
    activations=HF_ACTIVATIONS,
    spelling=SPELLING,
)

HEADS = (
    HeadRule(kind="masked_lm", evidence="cls/predictions/transform/dense/kernel"),
    HeadRule(kind="next_sentence", evidence="cls/seq_relationship/output_weights", dropout=0.0),
    # run_classifier.py is the only user of these names in Google's code; BioBERT's named-entity
    # script is another, which a preset's row tells.
    HeadRule(kind="text_classifier", evidence="output_weights", usual=True),
    HeadRule(kind="token_classifier", evidence="output_weights"),
    HeadRule(kind="question_answerer", evidence="cls/squad/output_weights", dropout=0.0),
)
