"""Words of a field as tokens of their own: in new rows of the table, or in unused ones.

A new row begins as the mean of the rows of the pieces that the word had before, so that the
model reads the word at first about as it did; training on texts of the field does the rest.
"""

import re

import numpy as np

from bertzoo.adapt.rebuilding import plain_weights, rebuild
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

TOKEN_TABLE = "embeddings/token/embeddings"
# Weights with one row, or one number, for each token of the vocabulary.
BY_TOKEN = (TOKEN_TABLE, "masked_lm/bias", "masked_lm/decoder/embeddings")
# Google's vocabularies keep lines such as [unused7] free for this purpose.
UNUSED = re.compile(r"\[unused\d+\]")


def add_tokens(task, words):
    """Return a task with words added to its vocabulary, each one token.

    The table grows by one row a word: the mean of the rows of its old pieces; so do the bias
    (and an untied decoder) of a masked language model. Old ids, and the outputs for them, stay the
    same, bit for bit. As WordPiece takes the longest match, a word that begins with a new token
    is spelled with it from now on.

    Args:
        task: Any task with a WordPiece tokenizer; it stays as it is.
        words: Words as in texts; they are cleaned (lower-cased, ...) as the tokenizer does. Those
            that are one token already are left out.

    Returns:
        A task of the same class.

    Raises:
        ValueError: If a word is split at spaces or punctuation and can never be one token; if all
            of them are tokens already; if the tokenizer is no WordPiece.

    Example:
    >>> embedder = bertzoo.TextEmbedder.from_preset("bert_toy")
    >>> embedder.tokenizer(["Osteotomy"]).to_list()[0]
    [22, 52, 53, 38, 48, 53, 48, 46, 58]
    >>> add_tokens(embedder, ["Osteotomy"]).tokenizer(["osteotomy"]).to_list()[0]
    [86]
    """
    tokenizer = wordpiece_of(task, "added to")
    pieces = new_words(tokenizer, words)
    vocabulary = [*tokenizer.vocabulary, *pieces]
    # A table may have more rows than the vocabulary has words: they are taken first.
    size = max(task.backbone.config.vocabulary_size, len(vocabulary))
    places = range(len(tokenizer.vocabulary), len(vocabulary))
    weights = _with_means(
        plain_weights(task), dict(zip(places, pieces.values(), strict=True)), size
    )
    return _checked(
        rebuild(
            task,
            weights,
            config=task.backbone.config.replace(vocabulary_size=size),
            tokenizer=with_vocabulary(tokenizer, vocabulary),
            note=f"{len(pieces)} words were added to the vocabulary.",
        ),
        pieces,
    )


def replace_unused_tokens(task, words):
    """Return a task with words in the place of its vocabulary's `[unusedN]` tokens.

    Sizes stay as they are, so that whatever reads the old model reads the new one. The first
    word takes the first unused token, and its row becomes the mean of the rows of the word's old
    pieces, as in `add_tokens`.

    Args:
        task: Any task with a WordPiece tokenizer; it stays as it is.
        words: As for `add_tokens`.

    Returns:
        A task of the same class.

    Raises:
        ValueError: As `add_tokens`, and if there are more words than unused tokens.
    """
    tokenizer = wordpiece_of(task, "added to")
    pieces = new_words(tokenizer, words)
    free = [index for index, token in enumerate(tokenizer.vocabulary) if UNUSED.fullmatch(token)]
    if len(pieces) > len(free):
        raise ValueError(
            f"the vocabulary has {len(free)} unused tokens for {len(pieces)} new words; give "
            "fewer, or use add_tokens."
        )
    vocabulary = list(tokenizer.vocabulary)
    places = dict(zip(free, pieces.values(), strict=False))
    for index, word in zip(free, pieces, strict=False):
        vocabulary[index] = word
    weights = _with_means(plain_weights(task), places, task.backbone.config.vocabulary_size)
    return _checked(
        rebuild(
            task,
            weights,
            tokenizer=with_vocabulary(tokenizer, vocabulary),
            note=f"{len(pieces)} unused tokens were replaced by words.",
        ),
        pieces,
    )


def new_words(tokenizer, words):
    """Return {cleaned word: ids of its pieces} of those that are not one token already.

    Args:
        tokenizer: A `WordPieceTokenizer`.
        words: As for `add_tokens`.
    """
    if isinstance(words, str):
        raise ValueError(f"words must be a list of words; got the string {words!r}.")
    words = list(words)
    if not words:
        raise ValueError("words must be a list of words; got none.")
    cleaned = [text.decode("utf-8") for text in tokenizer.clean(words).numpy()]
    originals = {stand_in: character for character, stand_in in tokenizer.stand_ins.items()}
    found = {}
    ids = tokenizer(words)
    continues = tokenizer.continues_word(ids)
    for word, clean, row, follow in zip(
        words, cleaned, ids.to_list(), continues.to_list(), strict=True
    ):
        if not row or follow[0] or not all(follow[1:]):
            raise ValueError(
                f"{word!r} is {'nothing' if not row else 'several words'} to this tokenizer, which "
                "splits at spaces and punctuation: it can never be one token."
            )
        spelled = "".join(originals.get(character, character) for character in clean).strip()
        if len(row) > 1 or row[0] == tokenizer.unknown_id:
            found[spelled] = row
    if not found:
        raise ValueError("all of these words are tokens of the vocabulary already.")
    return found


def wordpiece_of(task, change):
    """Return a task's WordPiece tokenizer, whose vocabulary is to be changed; else raise."""
    if task.tokenizer is None:
        raise ValueError("this task has no tokenizer, so there is no vocabulary to change.")
    if not isinstance(task.tokenizer, WordPieceTokenizer):
        raise ValueError(
            f"WordPiece vocabularies can be {change}; this one is "
            f"{task.tokenizer.config.kind}, whose tokens come from merges or scores."
        )
    return task.tokenizer


def with_vocabulary(tokenizer, vocabulary):
    """Return a tokenizer with other tokens and the same settings."""
    return WordPieceTokenizer(**{**tokenizer.arguments(), "vocabulary": vocabulary})


def _with_means(weights, places, size):
    """Return the weights with `size` tokens, where each place has the mean of its pieces."""
    for path in BY_TOKEN:
        if path not in weights:
            continue
        old = weights[path]
        new = np.zeros((size, *old.shape[1:]), old.dtype)
        new[: len(old)] = old
        for place, pieces in places.items():
            new[place] = old[pieces].mean(axis=0, dtype=np.float64)
        weights[path] = new
    return weights


def _checked(task, pieces):
    """Return the task if its tokenizer gives one token for each new word; else raise."""
    words = list(pieces)
    for word, row in zip(words, task.tokenizer(words).to_list(), strict=True):
        if [task.tokenizer.id_to_token(index) for index in row] != [word]:
            raise ValueError(f"{word!r} cannot be one token of this tokenizer.")
    return task
