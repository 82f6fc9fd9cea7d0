"""An independent encoder in NumPy, float64: the yardstick of the model tests.

Written from the papers (Vaswani et al. 2017, Devlin et al. 2018, Lan et al. 2019, Liu et al. 2019,
Clark et al. 2020, Reimers & Gurevych 2019), one plain loop, without a look at `bertzoo/layers`.
It reads a BackboneConfig or HeadConfig and a mapping from variable path to array.
"""

import math

import numpy as np

from bertzoo.config import HeadConfig

# B batch  T length  D hidden_dim  E table_dim  N heads  H head_dim  V vocabulary  P predictions

_erf = np.vectorize(math.erf, otypes=[np.float64])


def gelu(x):
    """Hendrycks & Gimpel 2016: x times the standard normal distribution function."""
    return 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0)))


def gelu_tanh(x):
    """The approximation in section 2 of the same paper."""
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def relu(x):
    """Return the positive part."""
    return np.maximum(x, 0.0)


ACTIVATIONS = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": relu,
    "tanh": np.tanh,
    None: lambda x: x,
}


def dense(weights, path, x):
    """Return `x @ kernel + bias`; a layer without a bias has no such entry."""
    return x @ weights[f"{path}/kernel"] + weights.get(f"{path}/bias", 0.0)


def layer_norm(weights, path, x, epsilon):
    """Ba et al. 2016, with the biased variance."""
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    normal = (x - mean) / np.sqrt(variance + epsilon)
    return normal * weights[f"{path}/gamma"] + weights[f"{path}/beta"]


def position_ids(config, mask):
    """BERT counts columns; RoBERTa counts real tokens, and gives padding the row before them."""
    if config.position_offset == 0:
        return np.broadcast_to(np.arange(mask.shape[1]), mask.shape)
    return np.cumsum(mask, axis=1) * mask + config.position_offset - 1


def encode(config, weights, token_ids, segment_ids=None, padding_mask=None):
    """Run the encoder and return every output and intermediate of it.

    Returns a dict: `sequence_output` [B, T, D], `pooled_output` [B, D] where there is a pooler, and
    lists over the steps that run: `hidden_states` (the embeddings first), `attention_scores` and
    `attention_probabilities` [B, N, T, T], `query`, `key` and `value` [B, N, T, H].
    """
    weights = {path: np.asarray(value, np.float64) for path, value in weights.items()}
    token_ids = np.asarray(token_ids)
    mask = np.ones_like(token_ids) if padding_mask is None else np.asarray(padding_mask)
    x = embed(config, weights, token_ids, segment_ids, mask)
    taps = {name: [] for name in ("attention_scores", "attention_probabilities",
                                  "query", "key", "value")}  # fmt: skip
    hidden_states = [x]
    for layer in config.layer_schedule:
        x, inner = encoder_layer(config, weights, f"layer_{layer}", x, mask)
        hidden_states.append(x)
        for name, value in inner.items():
            taps[name].append(value)
    outputs = {"sequence_output": x, "hidden_states": hidden_states, **taps}
    if config.pooler:
        outputs["pooled_output"] = np.tanh(dense(weights, "pooler", x[:, 0]))
    return outputs


def embed(config, weights, token_ids, segment_ids, mask):
    """Devlin et al. 2018, figure 2; the projection after it is Lan et al. 2019, section 3.1."""
    x = weights["embeddings/token/embeddings"][token_ids]
    x = x + weights["embeddings/position/embeddings"][position_ids(config, mask)]
    if config.num_segments:
        segments = np.zeros_like(token_ids) if segment_ids is None else np.asarray(segment_ids)
        x = x + weights["embeddings/segment/embeddings"][segments]
    x = layer_norm(weights, "embeddings/norm", x, config.layer_norm_epsilon)
    if config.embedding_dim is not None:
        x = dense(weights, "embeddings/projection", x)
    return x


def encoder_layer(config, weights, path, x, mask):
    """Vaswani et al. 2017, section 3.1: each sub-layer is LayerNorm(x + Sublayer(x))."""
    attended, taps = attention(config, weights, f"{path}/attention", x, mask)
    epsilon = config.layer_norm_epsilon
    x = layer_norm(weights, f"{path}/attention_norm", x + attended, epsilon)
    inner = ACTIVATIONS[config.activation](dense(weights, f"{path}/intermediate", x))
    x = layer_norm(
        weights, f"{path}/output_norm", x + dense(weights, f"{path}/output", inner), epsilon
    )
    return x, taps


def attention(config, weights, path, x, mask):
    """Vaswani et al. 2017, section 3.2; head n owns columns n * H to (n + 1) * H."""
    size = x.shape[-1] // config.num_heads
    heads = {}
    for name in ("query", "key", "value"):
        flat = dense(weights, f"{path}/{name}", x)
        heads[name] = np.stack(
            [flat[:, :, n * size : (n + 1) * size] for n in range(config.num_heads)], axis=1
        )
    scores = np.einsum("bnqh,bnkh->bnqk", heads["query"], heads["key"]) / math.sqrt(size)
    masked = np.where(np.asarray(mask)[:, None, None, :] != 0, scores, -1.0e9)
    exponentials = np.exp(masked - masked.max(-1, keepdims=True))
    probabilities = exponentials / exponentials.sum(-1, keepdims=True)
    context = np.einsum("bnqk,bnkh->bnqh", probabilities, heads["value"])
    joined = np.concatenate([context[:, n] for n in range(config.num_heads)], axis=-1)
    taps = {"attention_scores": scores, "attention_probabilities": probabilities, **heads}
    return dense(weights, f"{path}/output", joined), taps


def head_outputs(config, head, weights, inputs):
    """Return what the head gives for a dict of inputs: logits, vectors, or a dict of two logits."""
    weights = {path: np.asarray(value, np.float64) for path, value in weights.items()}
    encoded = encode(config, weights, inputs["token_ids"], inputs.get("segment_ids"),
                     inputs.get("padding_mask"))  # fmt: skip
    x, kind = encoded["sequence_output"], head.kind
    activation = ACTIVATIONS[head.hidden_activation]
    if kind == "masked_lm":
        rows = np.arange(x.shape[0])[:, None]
        x = activation(dense(weights, "masked_lm/dense", x[rows, inputs["mask_positions"]]))
        x = layer_norm(weights, "masked_lm/norm", x, head.layer_norm_epsilon)
        tied = "embeddings/token/embeddings"
        decoder = weights[tied if head.tie_embeddings else "masked_lm/decoder/embeddings"]
        return x @ decoder.T + weights["masked_lm/bias"]
    if kind == "next_sentence":
        return dense(weights, "next_sentence/logits", encoded["pooled_output"])
    if kind == "text_classifier":
        mean = HeadConfig("text_embedder")
        x = {
            "pooled": encoded.get("pooled_output"),
            "first_token": x[:, 0],
            "mean": embed_text(mean, weights, x, inputs.get("padding_mask")),
        }[head.input]
        if head.hidden_activation is not None:
            x = activation(dense(weights, "text_classifier/hidden", x))
        return dense(weights, "text_classifier/logits", x)
    if kind == "token_classifier":
        return dense(weights, "token_classifier/logits", x)
    if kind == "question_answerer":
        both = dense(weights, "question_answerer/logits", x)
        return {"start_logits": both[..., 0], "end_logits": both[..., 1]}
    if kind == "discriminator":
        return dense(weights, "discriminator/logits",
                     activation(dense(weights, "discriminator/hidden", x)))[..., 0]  # fmt: skip
    return embed_text(head, weights, x, inputs.get("padding_mask"))


def embed_text(head, weights, x, padding_mask):
    """Reimers & Gurevych 2019, section 3, and the Dense and Normalize modules of their library."""
    mask = np.ones(x.shape[:2]) if padding_mask is None else np.asarray(padding_mask, np.float64)
    mask = mask[:, :, None]
    count = np.maximum(mask.sum(1), 1.0e-9)
    pooled = {
        "cls": x[:, 0],
        "max": np.where(mask > 0, x, -1.0e9).max(1),
        "mean": (x * mask).sum(1) / count,
        "mean_sqrt": (x * mask).sum(1) / np.sqrt(count),
    }
    vector = np.concatenate([pooled[mode] for mode in pooled if mode in head.pooling], axis=-1)
    for index, (_, activation, _) in enumerate(head.projections):
        vector = ACTIVATIONS[activation](
            dense(weights, f"text_embedder/projection_{index}", vector)
        )
    if head.normalize:
        vector = vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1.0e-12)
    return vector
