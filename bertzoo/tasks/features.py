"""Vectors from inside an encoder, for other models to read (Devlin et al. 2018, section 5.3)."""

import keras
import numpy as np

from bertzoo.layers.pooling import EmbedderHead
from bertzoo.preprocessing.texts import read_texts

# N texts  B batch  T length  L layers asked for  D hidden_dim

COMBINATIONS = ("concatenate", "sum", "mean")


def extract_features(
    task, texts, layers=(-4, -3, -2, -1), combine="concatenate", pooling=None, batch_size=32
):
    """Return the hidden states of texts, by token or pooled.

    The default, the last four layers side by side, is the best of the paper's table 7 (96.1 F1 on
    CoNLL-2003 with BERT-Base frozen, 0.3 below fine-tuning).

    Args:
        task: Any task with a preprocessor; its backbone is read.
        texts: Texts or pairs, as `predict` takes them.
        layers: Number of a layer, or several: 0 is the output of the embeddings, 1 the first
            layer's, -1 the last layer's.
        combine: `concatenate`, `sum` or `mean` of the layers.
        pooling: `cls`, `max`, `mean` or `mean_sqrt` for one vector a text; None for one a token.
        batch_size: Texts at once.

    Returns:
        Float32 `[N, width]` with pooling; else a list of N arrays `[tokens, width]`, special
        tokens included. The width is D, or D times the number of layers for `concatenate`.

    Raises:
        ValueError: For a layer that the encoder does not have, or an unknown word.

    Example:
    >>> task = TextClassifier.from_preset("bert_toy")
    >>> [rows.shape for rows in extract_features(task, ["a cat", "a"], layers=-1)]
    [(4, 20), (3, 20)]
    >>> extract_features(task, ["a cat", "a"], layers=(1, 2), pooling="mean").shape
    (2, 40)
    """
    backbone = task.backbone
    numbers = _layer_numbers(layers, backbone.config.num_layers)
    if combine not in COMBINATIONS:
        raise ValueError(f"combine must be one of {', '.join(COMBINATIONS)}; got {combine!r}.")
    head = None if pooling is None else EmbedderHead(pooling=_checked_pooling(pooling))
    rows = read_texts(texts)
    task._need_strings(no_texts="")
    tapped = backbone.tap("hidden_states")
    vectors = []
    for start in range(0, len(rows), batch_size):
        features = task.preprocessor.preprocess(rows[start : start + batch_size])
        features = {name: ids.numpy() for name, ids in features.items()}
        states = tapped(features, training=False)["hidden_states"]
        states = [keras.ops.cast(states[number], "float32") for number in numbers]
        combined = _COMBINE[combine](states)  # (B, T, width)
        mask = features["padding_mask"]
        if head is not None:
            vectors += list(keras.ops.convert_to_numpy(head(combined, mask)))
            continue
        combined = keras.ops.convert_to_numpy(combined)
        vectors += [row[real > 0] for row, real in zip(combined, mask, strict=True)]
    if head is None:
        return vectors
    width = backbone.config.hidden_dim * (len(numbers) if combine == "concatenate" else 1)
    return np.stack(vectors) if vectors else np.zeros((0, width), np.float32)


_COMBINE = {
    "concatenate": lambda states: keras.ops.concatenate(states, axis=-1),
    "sum": sum,
    "mean": lambda states: sum(states) / len(states),
}


def _layer_numbers(layers, num_layers):
    layers = [layers] if isinstance(layers, int) else list(layers)
    for layer in layers:
        if not -num_layers - 1 <= layer <= num_layers:
            raise ValueError(
                f"layers must be from 0 (the embeddings) to {num_layers}, or from the end "
                f"-1 to {-num_layers - 1}; got {layer}."
            )
    if not layers:
        raise ValueError("expected at least one layer; got none.")
    return [layer % (num_layers + 1) for layer in layers]


def _checked_pooling(pooling):
    known = ("cls", "max", "mean", "mean_sqrt")
    if pooling not in known:
        raise ValueError(f"pooling must be one of {', '.join(known)}; got {pooling!r}.")
    return (pooling,)
