"""A WordPiece vocabulary from text.

Words come from the very graph that will tokenize, so training and use cannot drift apart. They
are learnt by tensorflow-text's `wordpiece_tokenizer_learner_lib`, the top-down algorithm of
Google's WordPiece: count all parts of all words, keep those that occur at least `threshold` times
after longer kept parts took theirs, repeat. It is deterministic, and a core dependency brings it.

Its own search for the threshold takes a dozen passes and ends up to 5 % below the wanted size.
Here a power law is fitted (sizes fall as a power of the threshold), which takes one to three,
and the rarest tokens are cut off, which gives the size exactly. For 8.2 MB of novels and 8,000
tokens that is 3.3 s of CPU time instead of 47 s. Hugging Face's trainer takes 0.9 s, but would be
one more dependency, and it gave the same tokens other ids in each of four runs.
"""

from __future__ import annotations

import collections
import itertools
import math
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow_text.tools.wordpiece_vocab import wordpiece_tokenizer_learner_lib as learner

from bertzoo.config import TokenizerConfig
from bertzoo.tokenizers import code_points
from bertzoo.tokenizers.base import Tokenizer
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer
from bertzoo.tokenizers.wordpiece_model import CONTINUATION

# Special tokens in the order of Google's vocabularies.
_SPECIAL_ORDER = ("pad", "unknown", "start", "end", "mask")
_MAX_TOKEN_CHARACTERS = 50  # the learner's default; its work grows with the square
_TEXTS_AT_A_TIME = 4096
# The learner may give this much more than asked for before the rarest tokens are cut off.
_SLACK = 1.2


def train_tokenizer(
    texts: Iterable,
    vocabulary_size: int,
    lowercase: bool | None = None,
    strip_accents: bool | None = None,
    progress: bool = True,
    kind: str = "wordpiece",
    **settings,
) -> Tokenizer:
    """Learn a vocabulary from texts: WordPiece, or byte-level BPE (`kind="byte_pair"`).

    The same texts give the same vocabulary, in any order and on any machine.

    Args:
        texts: Strings, a `tf.data.Dataset` of strings, or `pathlib.Path`s of text files in which
            each line is a text (a single path will do).
        vocabulary_size: How many tokens there may be, special tokens included. Little text may
            give fewer. WordPiece: at most two thirds are spent on single characters; words with
            rarer characters are left out. Byte pairs: 256 tokens are the bytes.
        lowercase: Whether text is lower-cased; None for the kind's default: WordPiece does, byte
            pairs never.
        strip_accents: Whether combining marks are removed; None follows `lowercase`.
        progress: Whether to report progress on standard error.
        kind: `wordpiece` or `byte_pair`.
        **settings: Further arguments of `WordPieceTokenizer`, such as `mask_token`, or of
            `train_byte_pair` and `BytePairTokenizer`.

    Returns:
        A tokenizer; `tokenizer.files()` holds its vocabulary file.

    Raises:
        ValueError: if there are no words, or `vocabulary_size` is too small.

    Example:
    >>> tokenizer = train_tokenizer(["low lower lowest", "new newer"] * 20, 30, progress=False)
    >>> tokenizer.vocabulary[:5]
    ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
    >>> tokenizer.detokenize(tokenizer("Newest")).numpy().decode()
    'newest'
    """
    report = _Report(progress)
    if kind == "byte_pair":
        if lowercase or strip_accents:
            raise ValueError("byte_pair tokenizers keep case and accents.")
        from bertzoo.tokenizers.train_byte_pair import train_byte_pair

        return train_byte_pair(_texts_of(texts), vocabulary_size, report, **settings)
    if kind != "wordpiece":
        raise ValueError(
            f"vocabularies of the kind wordpiece or byte_pair can be learnt; got {kind!r}."
        )
    lowercase = True if lowercase is None else lowercase
    defaults = TokenizerConfig()
    roles = [f"{role}_token" for role in _SPECIAL_ORDER]
    special = [settings.get(role, getattr(defaults, role)) for role in roles]
    room = vocabulary_size - len(special)
    if room < 3:
        raise ValueError(
            f"vocabulary_size must be at least {len(special) + 3}, as {len(special)} tokens are "
            f"special; got {vocabulary_size}."
        )
    splitter = WordPieceTokenizer(special, lowercase, strip_accents, **settings)
    counts = _count_words(texts, splitter, report)
    counts = _keep_frequent_characters(counts, room, special)
    tokens = _learn(counts, room, report)
    report(f"{len(special) + len(tokens):,} tokens learnt")
    return WordPieceTokenizer(special + tokens, lowercase, strip_accents, **settings)


class _Report:
    """Prints progress to standard error, or nothing."""

    def __init__(self, wanted: bool):
        self.wanted = wanted

    def __call__(self, message: str):
        if self.wanted:
            print(f"train_tokenizer: {message}", file=sys.stderr, flush=True)


def _count_words(texts, splitter: WordPieceTokenizer, report: _Report) -> collections.Counter:
    counts: collections.Counter[bytes] = collections.Counter()
    iterator = _texts_of(texts)
    # In a vocabulary without words every word is one token, the unknown one.
    originals = {stand_in: original for original, stand_in in splitter.stand_ins.items()}
    translation = str.maketrans(originals)
    done = batches = 0
    while batch := list(itertools.islice(iterator, _TEXTS_AT_A_TIME)):
        counts.update(_split_words(batch, splitter))
        done += len(batch)
        batches += 1
        if batches % 16 == 0:
            report(f"{done:,} texts read, {len(counts):,} different words")
    report(f"{done:,} texts read, {len(counts):,} different words")
    if not counts:
        raise ValueError(f"the texts hold no words ({done:,} texts read); give texts with words.")
    return collections.Counter(
        {word.decode("utf-8").translate(translation): count for word, count in counts.items()}
    )


def _split_words(texts: list, splitter: WordPieceTokenizer) -> list[bytes]:
    with tf.device("CPU:0"):
        clean = splitter.clean(texts)
        op = tf_text.FastWordpieceTokenizer(model_buffer=splitter.wordpiece_model)
        _, starts, ends = op.tokenize_with_offsets(clean)
        cut = tf_text.ByteSplitter().split_by_offsets(
            clean, tf.cast(starts, tf.int32), tf.cast(ends, tf.int32)
        )
        return cut.values.numpy()


def _texts_of(texts) -> Iterator[str | bytes]:
    if isinstance(texts, os.PathLike):
        texts = [texts]
    if isinstance(texts, str | bytes):
        raise ValueError(
            "texts must be a list of strings, or a pathlib.Path of a text file; got one string."
        )
    if isinstance(texts, tf.data.Dataset):
        texts = texts.as_numpy_iterator()
    for text in texts:
        if isinstance(text, os.PathLike):
            with pathlib.Path(text).open("rb") as lines:
                yield from (line.rstrip(b"\r\n") for line in lines)
        elif isinstance(text, np.ndarray):  # a batch of a dataset
            yield from text.ravel().tolist()
        else:
            yield text


def _stands_alone(character: str) -> bool:
    # Words of one character: a token that continues a word never begins with it.
    return code_points.is_punctuation(ord(character)) or code_points.is_cjk(ord(character))


def _keep_frequent_characters(counts, room: int, special: list[str]) -> list[tuple[str, int]]:
    characters: collections.Counter[str] = collections.Counter()
    for word, count in counts.items():
        for character in word:
            characters[character] += count
    allowed, left = set(), room * 2 // 3
    for character, _ in sorted(characters.items(), key=lambda item: (-item[1], item[0])):
        # A character that may also continue a word takes two tokens.
        left -= 1 if _stands_alone(character) else 2
        if left < 0:
            break
        allowed.add(character)
    kept = [
        (word, count)
        for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if len(word) <= _MAX_TOKEN_CHARACTERS and word not in special and allowed.issuperset(word)
    ]
    if not kept:
        raise ValueError(
            f"no word is left to learn from: the texts use {len(characters)} characters, for "
            "which vocabulary_size is too small."
        )
    return kept


def _learn(counts: list[tuple[str, int]], size: int, report: _Report) -> list[str]:
    # Find a threshold that gives `size` tokens or a little more; a lower one gives more.
    low, high = 0, counts[0][1] + 1  # `low` gave enough tokens (0: not yet), `high` too few
    sizes = {high: len({character for word, _ in counts for character in word})}
    enough: list[str] = []
    threshold = min(high - 1, max(1, sum(count for _, count in counts) // (20 * size)))
    while high - low > 1:
        tokens = _learn_with_threshold(counts, threshold)
        sizes[threshold] = len(tokens)
        report(f"threshold {threshold:,} gives {len(tokens):,} tokens of {size:,}")
        if len(tokens) < size:
            high = threshold
        else:
            low, enough = threshold, tokens
            if len(tokens) <= _SLACK * size:
                break
        threshold = _next_threshold(low, high, sizes, size)
    return (enough or tokens)[:size]


def _next_threshold(low: int, high: int, sizes: dict[int, int], size: int) -> int:
    guess = math.sqrt(max(low, 1) * high)
    known = sorted(sizes, key=lambda threshold: abs(math.log(sizes[threshold] / size)))[:2]
    # A power law that has not led there after six passes does not hold; halving always does.
    if len(sizes) <= 6 and sizes[known[0]] != sizes[known[-1]]:
        # Through the two nearest points, aimed at the middle of what is accepted.
        (x, y), (a, b) = ((math.log(t), math.log(sizes[t])) for t in known)
        aim = math.log(size * math.sqrt(_SLACK))
        guess = math.exp(x + (aim - y) * (a - x) / (b - y))
    return min(max(round(guess), low + 1), max(high - 1, low + 1))


def _learn_with_threshold(counts: list[tuple[str, int]], threshold: int) -> list[str]:
    params = learner.Params(
        upper_thresh=None,
        lower_thresh=None,
        num_iterations=4,
        max_input_tokens=-1,
        max_token_length=_MAX_TOKEN_CHARACTERS,
        max_unique_chars=None,
        vocab_size=None,
        slack_ratio=None,
        include_joiner_token=True,
        joiner=CONTINUATION,
        reserved_tokens=[],
    )
    tokens = learner.learn_with_thresh(counts, threshold, params)
    # Every single character first, so that none is cut off; then by how often they were counted.
    tokens = [
        token
        for token in tokens
        if not (token.startswith(CONTINUATION) and _stands_alone(token[2:3] or "#"))
    ]
    return sorted(tokens, key=lambda token: len(token.removeprefix(CONTINUATION)) > 1)
