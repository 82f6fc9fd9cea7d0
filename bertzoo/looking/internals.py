"""What happens to one text inside an encoder: its tokens, who attends to whom, who grows alike."""

import dataclasses

import numpy as np

from bertzoo import checkpoints
from bertzoo.models.backbone import Backbone
from bertzoo.preprocessing.preprocessor import Preprocessor, preprocessor_of_checkpoint

# L layers  N heads  T tokens  D hidden_dim

# A map is a picture of T by T: with more tokens nobody can read it.
MAX_TOKENS = 64


@dataclasses.dataclass(frozen=True)
class Internals:
    """One text as an encoder sees it.

    Args:
        name: Of the model.
        text: What was read.
        text_pair: The second text, or None.
        tokens: T tokens, special ones included.
        attention: Float32 `[L, N, T, T]`: row i says how token i divides its attention.
        similarity: Float32 `[L + 1, T, T]`: cosines between the tokens' hidden states, of the
            embeddings first, then after each layer.
        num_tokens: How many tokens the text has; more than T where it was cut.
    """

    name: str
    text: str
    text_pair: str | None
    tokens: tuple[str, ...]
    attention: np.ndarray
    similarity: np.ndarray
    num_tokens: int


def look(source, text, text_pair=None, *, max_tokens=MAX_TOKENS, format=None):
    """Run one text through an encoder and keep what is inside.

    Args:
        source: A task, or whatever `from_preset` takes.
        text: The text.
        text_pair: A second text, or None.
        max_tokens: Longer texts are cut, as the preprocessor cuts them.
        format: Of the checkpoint, where it should not be found by inspection.

    Returns:
        `Internals`.

    Raises:
        ValueError: If the model has no vocabulary, or `max_tokens` is not a possible length.

    Example:
    >>> internals = look("bert_toy", "a cat")
    >>> internals.tokens
    ('[CLS]', 'a', 'cat', '[SEP]')
    >>> bool(np.allclose(internals.attention.sum(axis=-1), 1.0, atol=1e-5))
    True
    """
    name, backbone, preprocessor = _parts(source, format)
    special = preprocessor.form.num_special(is_pair=text_pair is not None)
    if max_tokens <= special:
        raise ValueError(
            f"max_tokens must leave room beside the {special} special tokens; got {max_tokens}."
        )
    cut = _with_length(preprocessor, min(max_tokens, preprocessor.sequence_length))
    features = cut.preprocess(_column(text, text_pair))
    count = int(np.sum(np.asarray(features["padding_mask"]) != 0))
    features = {key: np.asarray(value)[:, :count] for key, value in features.items()}
    outputs = backbone.tap("attention_probabilities", "hidden_states")(features)
    attention = np.stack([_array(one)[0] for one in outputs["attention_probabilities"]])
    hidden = np.stack([_array(one)[0] for one in outputs["hidden_states"]])  # (L + 1, T, D)
    return Internals(
        name=name,
        text=text,
        text_pair=text_pair,
        tokens=tuple(cut.tokenizer.id_to_token(int(i)) for i in features["token_ids"][0]),
        attention=attention,
        similarity=cosines(hidden),
        num_tokens=special + _length(preprocessor.tokenizer, text, text_pair),
    )


def cosines(hidden):
    """Return the cosines between the rows of `[..., T, D]`, as `[..., T, T]`.

    >>> cosines(np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 0.0]])).tolist()
    [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """
    lengths = np.linalg.norm(hidden, axis=-1, keepdims=True)
    units = hidden / np.maximum(lengths, 1e-12)  # a zero vector is like nothing, itself included
    return np.matmul(units, np.swapaxes(units, -1, -2))


def _parts(source, format):
    if hasattr(source, "backbone"):
        name, backbone, preprocessor = source.name, source.backbone, source.preprocessor
        missing = "it was made without a preprocessor"
    else:
        checkpoint = checkpoints.open_source(source, format=format)
        name, backbone = checkpoint.name, Backbone.from_checkpoint(checkpoint)
        preprocessor, missing = preprocessor_of_checkpoint(checkpoint)
    if preprocessor is None:
        raise ValueError(f"{name} cannot read strings: {missing}.")
    return name, backbone, preprocessor


def _with_length(preprocessor, length):
    config = {**preprocessor.get_config(), "sequence_length": length, "padding": "longest"}
    return Preprocessor.from_config(config)


def _length(tokenizer, text, text_pair):
    texts = [text] if text_pair is None else [text, text_pair]
    return sum(len(row) for row in tokenizer(texts).to_list())


def _column(text, text_pair):
    return [text] if text_pair is None else {"text": [text], "text_pair": [text_pair]}


def _array(tensor):
    # From a GPU or the PyTorch backend too, and from bfloat16, which NumPy cannot multiply.
    import keras

    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))
