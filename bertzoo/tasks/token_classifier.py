"""One of C classes for each token (Devlin et al. 2018, section 5.3)."""

import keras

from bertzoo.tasks.task import Task


@keras.saving.register_keras_serializable(package="bertzoo")
class TokenClassifier(Task):
    """Logits `[B, T, C]` for each token of a dict of ids, for checkpoints with such a head.

    Strings are not read in this release; `preprocessor` and `tokenizer` make ids of them.

    Example:
    >>> tagger = TokenClassifier.from_preset("bert_toy")
    >>> tagger({"token_ids": np.array([[2, 7, 3]])}).shape, tagger.labels
    (TensorShape([1, 3, 3]), ('O', 'B-LOC', 'I-LOC'))
    """

    head_kind = "token_classifier"
    no_texts = "a tag belongs to a word, and words are not yet put together from tokens"
