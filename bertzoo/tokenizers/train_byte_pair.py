"""A byte-level BPE vocabulary from text (Sennrich et al. 2016, algorithm 1, on bytes).

Words come from the graph that will tokenize. Then, again and again, the pair of neighbours that
occurs most often becomes a token; of equals, the pair of the lowest ids. Counts are kept up to
date, so that a step costs as much as the words that it changes. Hugging Face's trainer learns the
same rules from the same words.
"""

from __future__ import annotations

import collections
import heapq
import itertools
from collections.abc import Callable, Iterable

import tensorflow as tf

from bertzoo.config import TOKENIZER_KINDS
from bertzoo.tokenizers.byte_pair import BytePairTokenizer
from bertzoo.tokenizers.byte_pair_vocabulary import BYTE_CHARACTERS, spell_bytes

# Special tokens in the order of RoBERTa's vocabulary, where the mask comes last.
_SPECIAL_ORDER = ("start", "pad", "end", "unknown", "mask")
_TEXTS_AT_A_TIME = 4096
# Longer words (encoded data, mostly) are left out: each step that changes one rewrites it.
_MAX_WORD_BYTES = 256


def train_byte_pair(
    texts: Iterable[str | bytes],
    vocabulary_size: int,
    report: Callable[[str], None],
    min_count: int = 2,
    **settings,
) -> BytePairTokenizer:
    """Learn a byte-level BPE vocabulary; see `train_tokenizer`.

    Args:
        texts: Strings.
        vocabulary_size: How many tokens there may be, special tokens and 256 bytes included.
        report: Is told of the progress.
        min_count: A pair that occurs less often becomes no token.
        **settings: Further arguments of `BytePairTokenizer`.

    Returns:
        A tokenizer.

    Raises:
        ValueError: if there are no words, or `vocabulary_size` is too small.
    """
    defaults = TOKENIZER_KINDS["byte_pair"]
    special = [settings.get(f"{r}_token", defaults[f"{r}_token"]) for r in _SPECIAL_ORDER]
    special = list(dict.fromkeys(special))
    # By the character, as published vocabularies have them.
    tokens = [*special, *sorted(BYTE_CHARACTERS)]
    if vocabulary_size < len(tokens):
        raise ValueError(
            f"vocabulary_size must be at least {len(tokens)}: the special tokens and a token for "
            f"each byte; got {vocabulary_size}."
        )
    counts = _count_words(texts, BytePairTokenizer(tokens, [], **settings), report)
    merges = _learn(counts, tokens, vocabulary_size, min_count, report)
    tokens += [left + right for left, right in merges]
    report(f"{len(tokens):,} tokens learnt")
    return BytePairTokenizer(tokens, merges, **settings)


def _count_words(texts, splitter: BytePairTokenizer, report) -> collections.Counter[bytes]:
    counts: collections.Counter[bytes] = collections.Counter()
    iterator = iter(texts)
    done = 0
    while batch := list(itertools.islice(iterator, _TEXTS_AT_A_TIME)):
        words, _, numbers = tf.unique_with_counts(splitter.split_words(batch).values)
        counts.update(dict(zip(words.numpy().tolist(), numbers.numpy().tolist(), strict=True)))
        done += len(batch)
        if done // _TEXTS_AT_A_TIME % 16 == 0:
            report(f"{done:,} texts read, {len(counts):,} different words")
    report(f"{done:,} texts read, {len(counts):,} different words")
    if not counts:
        raise ValueError(f"the texts hold no words ({done:,} texts read); give texts with words.")
    return counts


def _learn(counts, tokens: list[str], size: int, min_count: int, report) -> list[tuple[str, str]]:
    ids = {token: index for index, token in enumerate(tokens)}
    spelled = list(tokens)
    words, times = [], []
    for word, count in counts.items():
        if 1 < len(word) <= _MAX_WORD_BYTES:
            words.append([ids[character] for character in spell_bytes(word)])
            times.append(count)
    pairs: collections.Counter[tuple[int, int]] = collections.Counter()
    places: dict[tuple[int, int], set[int]] = collections.defaultdict(set)
    for index, word in enumerate(words):
        for pair in itertools.pairwise(word):
            pairs[pair] += times[index]
            places[pair].add(index)
    # Entries may be out of date, never too low; the true count decides when one comes up.
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    merges: list[tuple[str, str]] = []
    while heap and len(spelled) < size:
        negative, pair = heapq.heappop(heap)
        count = pairs[pair]
        if count != -negative:
            if count >= min_count:
                heapq.heappush(heap, (-count, pair))
            continue
        if count < max(min_count, 1):
            break
        merges.append((spelled[pair[0]], spelled[pair[1]]))
        spelled.append(spelled[pair[0]] + spelled[pair[1]])
        grown = _join(pair, len(spelled) - 1, words, times, pairs, places)
        for new in grown:
            heapq.heappush(heap, (-pairs[new], new))
        if len(merges) % 4096 == 0:
            report(f"{len(merges):,} rules learnt, the last of a pair that occurs {count:,} times")
    return merges


def _join(pair, token: int, words, times, pairs, places) -> set[tuple[int, int]]:
    # Join a pair in all words that have it; the pairs that are new.
    left, right = pair
    grown = set()
    for index in places.pop(pair):
        word, count = words[index], times[index]
        joined: list[int] = []
        place, end = 0, len(word)
        while place < end:
            symbol = word[place]
            if symbol == left and place + 1 < end and word[place + 1] == right:
                if joined:
                    pairs[joined[-1], left] -= count
                    new = (joined[-1], token)
                    pairs[new] += count
                    places[new].add(index)
                    grown.add(new)
                joined.append(token)
                place += 2
                if place < end:
                    # What follows stands beside the new token; undone if it is joined, too.
                    pairs[right, word[place]] -= count
                    new = (token, word[place])
                    pairs[new] += count
                    places[new].add(index)
                    grown.add(new)
            else:
                joined.append(symbol)
                place += 1
        words[index] = joined
    del pairs[pair]
    return grown
