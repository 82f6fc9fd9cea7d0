"""Fewer words: a vocabulary cut to those that a corpus, or a language, uses.

A multilingual BERT is more than half token table. Rows of words that never occur can go, and what
is computed for the others stays the same, bit for bit (Abdaoui et al. 2020, arXiv:2010.05609).
"""

import collections
import itertools

import numpy as np

from bertzoo.adapt.rebuilding import plain_weights, rebuild
from bertzoo.adapt.vocabulary import BY_TOKEN, with_vocabulary, wordpiece_of

TEXTS_AT_ONCE = 1000


def trim_vocabulary(task, texts=(), keep=(), min_count=1, keep_characters=True):
    """Return a task whose vocabulary holds the special tokens and the words that are used.

    Texts whose words are all kept are spelled as before, since WordPiece takes the longest match:
    a word's pieces stay the longest ones when others leave. A word that needed a piece which has
    gone is spelled with shorter ones, or is unknown. Outputs for kept tokens do not change.

    Args:
        task: Any task with a WordPiece tokenizer; it stays as it is.
        texts: A corpus, an iterable of strings: the tokens that occur in it are kept.
        keep: More tokens to keep, as in the vocabulary.
        min_count: How often a token must occur in `texts`.
        keep_characters: Whether tokens of one character, and their `##` forms, are kept: any word
            of their alphabets can then still be spelled.

    Returns:
        A task of the same class.

    Raises:
        ValueError: If the tokenizer is no WordPiece, nothing is asked for, a token of `keep` is
            not in the vocabulary, or all tokens would stay.

    Example:
    >>> embedder = TextEmbedder.from_preset("bert_toy")
    >>> small = trim_vocabulary(embedder, ["the cat sat"], keep_characters=False)
    >>> small.tokenizer.vocabulary
    ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'the', 'cat', 'sat']
    """
    tokenizer = wordpiece_of(task, "trimmed")
    kept = tokens_to_keep(tokenizer, texts, keep, min_count, keep_characters)
    old = list(tokenizer.vocabulary)
    size = task.backbone.config.vocabulary_size
    if len(kept) == size:
        raise ValueError(f"all {size} tokens would stay: there is nothing to trim.")
    weights = plain_weights(task)
    for path in BY_TOKEN:
        if path in weights:
            weights[path] = weights[path][kept]
    return rebuild(
        task,
        weights,
        config=task.backbone.config.replace(vocabulary_size=len(kept)),
        tokenizer=with_vocabulary(tokenizer, [old[index] for index in kept]),
        note=f"The vocabulary was trimmed from {len(old)} tokens to {len(kept)}.",
    )


def tokens_to_keep(tokenizer, texts=(), keep=(), min_count=1, keep_characters=True):
    """Return the ids, int64 in ascending order, that `trim_vocabulary` keeps; see there."""
    if isinstance(texts, str) or isinstance(keep, str):
        raise ValueError("texts and keep must be lists of strings; got one string.")
    texts, keep = iter(texts), list(keep)
    counts = collections.Counter()
    while chunk := list(itertools.islice(texts, TEXTS_AT_ONCE)):
        counts.update(tokenizer(chunk).values.numpy().tolist())
    if not counts and not keep:
        raise ValueError("trim_vocabulary needs texts= or keep=; got no text and no token.")
    vocabulary = tokenizer.vocabulary
    places = {token: index for index, token in enumerate(vocabulary)}
    for token in keep:
        if token not in places:
            raise ValueError(f"keep names {token!r}, which is no token of this vocabulary.")
    config = tokenizer.config
    special = (config.start_token, config.end_token, config.pad_token,
               config.unknown_token, config.mask_token)  # fmt: skip
    kept = {places[token] for token in (*special, *keep)}
    kept |= {index for index, count in counts.items() if count >= min_count}
    if keep_characters:
        kept |= {i for token, i in places.items() if len(token.removeprefix("##")) == 1}
    return np.array(sorted(kept))
