"""Our weights under the names of other libraries, spelled out apart from bertzoo's tables."""

import numpy as np

BERT = {
    "embeddings/token": "bert.embeddings.word_embeddings",
    "embeddings/position": "bert.embeddings.position_embeddings",
    "embeddings/segment": "bert.embeddings.token_type_embeddings",
    "embeddings/norm": "bert.embeddings.LayerNorm",
    "layer_*/attention/query": "bert.encoder.layer.*.attention.self.query",
    "layer_*/attention/key": "bert.encoder.layer.*.attention.self.key",
    "layer_*/attention/value": "bert.encoder.layer.*.attention.self.value",
    "layer_*/attention/output": "bert.encoder.layer.*.attention.output.dense",
    "layer_*/attention_norm": "bert.encoder.layer.*.attention.output.LayerNorm",
    "layer_*/intermediate": "bert.encoder.layer.*.intermediate.dense",
    "layer_*/output": "bert.encoder.layer.*.output.dense",
    "layer_*/output_norm": "bert.encoder.layer.*.output.LayerNorm",
    "pooler": "bert.pooler.dense",
    "masked_lm/dense": "cls.predictions.transform.dense",
    "masked_lm/norm": "cls.predictions.transform.LayerNorm",
    "masked_lm": "cls.predictions",
    "next_sentence/logits": "cls.seq_relationship",
    "text_classifier/logits": "classifier",
}
FAMILIES = {
    "bert": BERT,
    "roberta": {
        **{key: value.replace("bert.", "roberta.", 1) for key, value in BERT.items()},
        "masked_lm/dense": "lm_head.dense",
        "masked_lm/norm": "lm_head.layer_norm",
        "masked_lm": "lm_head",
        "text_classifier/hidden": "classifier.dense",
        "text_classifier/logits": "classifier.out_proj",
    },
    "electra": {
        **{key: value.replace("bert.", "electra.", 1) for key, value in BERT.items()},
        "embeddings/projection": "electra.embeddings_project",
        "masked_lm/dense": "generator_predictions.dense",
        "masked_lm/norm": "generator_predictions.LayerNorm",
        "masked_lm": "generator_lm_head",
        "discriminator/hidden": "discriminator_predictions.dense",
        "discriminator/logits": "discriminator_predictions.dense_prediction",
    },
    "albert": {
        "embeddings/token": "albert.embeddings.word_embeddings",
        "embeddings/position": "albert.embeddings.position_embeddings",
        "embeddings/segment": "albert.embeddings.token_type_embeddings",
        "embeddings/norm": "albert.embeddings.LayerNorm",
        "embeddings/projection": "albert.encoder.embedding_hidden_mapping_in",
        **{
            f"layer_*/{ours}": f"albert.encoder.albert_layer_groups.*.albert_layers.0.{theirs}"
            for ours, theirs in {
                "attention/query": "attention.query",
                "attention/key": "attention.key",
                "attention/value": "attention.value",
                "attention/output": "attention.dense",
                "attention_norm": "attention.LayerNorm",
                "intermediate": "ffn",
                "output": "ffn_output",
                "output_norm": "full_layer_layer_norm",
            }.items()
        },
        "pooler": "albert.pooler",
        "masked_lm/dense": "predictions.dense",
        "masked_lm/norm": "predictions.LayerNorm",
        "masked_lm": "predictions",
    },
    "distilbert": {
        "embeddings/token": "distilbert.embeddings.word_embeddings",
        "embeddings/position": "distilbert.embeddings.position_embeddings",
        "embeddings/norm": "distilbert.embeddings.LayerNorm",
        **{
            f"layer_*/{ours}": f"distilbert.transformer.layer.*.{theirs}"
            for ours, theirs in {
                "attention/query": "attention.q_lin",
                "attention/key": "attention.k_lin",
                "attention/value": "attention.v_lin",
                "attention/output": "attention.out_lin",
                "attention_norm": "sa_layer_norm",
                "intermediate": "ffn.lin1",
                "output": "ffn.lin2",
                "output_norm": "output_layer_norm",
            }.items()
        },
        "text_classifier/hidden": "pre_classifier",
        "text_classifier/logits": "classifier",
    },
}
HF_CONFIG = {
    "vocab_size": 31,
    "hidden_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 11,
    "type_vocab_size": 2,
}
# For the backbones of tests/reference/cases.py.
HF_CONFIGS = {
    "bert": {"model_type": "bert", **HF_CONFIG},
    "roberta": {
        "model_type": "roberta",
        **HF_CONFIG,
        "max_position_embeddings": 13,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
    },
    "electra_small": {"model_type": "electra", **HF_CONFIG, "embedding_size": 13},
    "albert": {
        "model_type": "albert",
        **HF_CONFIG,
        "num_hidden_layers": 3,
        "embedding_size": 9,
        "num_hidden_groups": 1,
    },
    "distilbert": {
        "model_type": "distilbert",
        "vocab_size": 31,
        "dim": 20,
        "n_layers": 3,
        "n_heads": 4,
        "hidden_dim": 37,
        "max_position_embeddings": 11,
    },
}
TORCH = {"kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias"}


def split(path, names):
    """Return (their layer, last component) of one of our paths."""
    where, last = path.rsplit("/", 1)
    first = where.split("/")[0]
    if first.startswith("layer_"):
        number = first.removeprefix("layer_")
        return names[where.replace(first, "layer_*", 1)].replace("*", number), last
    return names[where], last


def torch(family, weights):
    """{name: array} as PyTorch's classes have them."""
    stored = {}
    for path, value in weights.items():
        layer, last = split(path, FAMILIES[family])
        stored[f"{layer}.{TORCH.get(last, last)}"] = value.T if last == "kernel" else value
    return stored


def tensorflow(family, weights, model):
    """{path: array} as transformers' TensorFlow classes had them in tf_model.h5."""
    stored = {}
    for path, value in weights.items():
        layer, last = split(path, FAMILIES[family])
        parts, name = layer.split("."), ""
        for part in parts:
            name += ("_._" if part.isdigit() else "/" if name else "") + part
        if name.startswith("cls/"):  # heads that a class names otherwise than its checkpoint
            name = "mlm___" + name if "predictions" in name else "nsp___" + name
        group = name.split("/")[0]
        last = "weight" if layer.endswith("word_embeddings") else last
        stored[f"{group}/{model}/{name}/{last}:0"] = value
    return stored


def tf1(weights, prefix="bert", projection="embeddings_project"):
    """{name: array} as Google's TensorFlow 1 code has an encoder."""
    stored = {}
    names = {key: value.replace("bert.", f"{prefix}/", 1) for key, value in BERT.items()}
    names["embeddings/projection"] = f"{prefix}/{projection}"
    for path, value in weights.items():
        layer, last = split(path, names)
        layer = layer.replace("encoder.layer.", "encoder/layer_").replace(".", "/")
        name = layer if last == "embeddings" else f"{layer}/{last}"
        stored[name] = np.ascontiguousarray(value)
    return stored
