"""The documents of one shard as ids: one array, and where sentences and documents begin in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# Sentences tokenized at once: enough to use the vectorised tokenizer.
CHUNK = 8192


class TokenizedDocuments(NamedTuple):
    """Documents, end to end.

    Args:
        token_ids: Int32, all ids, without special tokens.
        sentence_ends: Int64 `[S + 1]`: sentence s is `token_ids[ends[s]:ends[s + 1]]`.
        document_ends: Int64 `[D + 1]`, in sentences.
    """

    token_ids: np.ndarray
    sentence_ends: np.ndarray
    document_ends: np.ndarray

    def bounds(self) -> list[list[int]]:
        """Return for each document the places in `token_ids` where its sentences begin and end."""
        ends = self.sentence_ends
        pairs = zip(self.document_ends[:-1], self.document_ends[1:], strict=True)
        return [ends[first : last + 1].tolist() for first, last in pairs]


def tokenize_documents(documents: Iterable[list[bytes]], tokenizer, chunk=CHUNK):
    """Tokenize documents, given as lists of sentences; sentences without a token are left out.

    Example:
    >>> tokenizer = MaskedLM.from_preset("bert_toy").preprocessor.tokenizer
    >>> tokenize_documents([[b"the cat", b" "], [b""], [b"a dog"]], tokenizer).bounds()
    [[0, 2], [2, 4]]
    """
    parts, lengths, owners = [], [], []
    pending: list[bytes] = []

    def run():
        ids = tokenizer(tf.constant(pending, tf.string))
        parts.append(ids.values.numpy())
        lengths.append(ids.row_lengths().numpy())
        pending.clear()

    for number, document in enumerate(documents):
        for sentence in document:
            pending.append(sentence)
            owners.append(number)
            if len(pending) == chunk:
                run()
    if pending:
        run()
    if not parts:
        empty = np.zeros(1, np.int64)
        return TokenizedDocuments(np.zeros(0, np.int32), empty, empty)
    sizes = np.concatenate(lengths)
    kept = np.asarray(owners)[sizes > 0]
    ends = np.concatenate([[0], np.cumsum(sizes[sizes > 0])])
    # Where the owner changes a document ends.
    changes = np.flatnonzero(np.diff(kept)) + 1 if len(kept) else np.zeros(0, np.int64)
    document_ends = np.concatenate([[0], changes, [len(kept)]]) if len(kept) else np.zeros(1)
    return TokenizedDocuments(
        np.concatenate(parts).astype(np.int32), ends, document_ends.astype(np.int64)
    )
