"""ALBERT's rule on numbers: a piece that ends in a digit and a comma is split before the comma.

`encode_pieces` of google-research/albert (`tokenization.py`) spells such a piece anew, without
the comma, and lets the comma follow. What becomes of a piece depends on the piece alone, so it is
a table: 18 rows for a German ALBERT, 78 for XLNet, none for most small vocabularies. Legend: N
tokens, R rules, P pieces of all rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from bertzoo.tokenizers.sentencepiece_op import SentencepieceOp

WORD_START = "\u2581"
_FAR = 2**30  # more bytes than a token has


class DigitComma:
    """The rule for one vocabulary.

    Args:
        pieces: The pieces in the order of their ids.
        ids: Id by piece.
        unknown_id: Id of what is no piece.
        op: The SentencePiece op of this vocabulary.
    """

    def __init__(
        self,
        pieces: Sequence[str],
        ids: Mapping[str, int],
        unknown_id: int,
        op: SentencepieceOp,
    ):
        """Spell the pieces anew and build the table; eager."""
        found = [
            piece for piece in pieces if piece[-1] == "," and len(piece) > 1 and piece[-2].isdigit()
        ]
        self.replacements: dict[str, list[int]] = {}
        starts_back, ends_back = [], []
        if found:
            texts = [piece[:-1].replace(WORD_START, "") for piece in found]
            spelled, starts, ends = (part.to_list() for part in op.tokenize_with_offsets(texts))
        for row, piece in enumerate(found):
            size = len(texts[row].encode())
            spans = list(zip(starts[row], ends[row], strict=True))
            new = _without_word_start(piece, spelled[row], pieces, ids, unknown_id)
            spans = spans[len(spans) - len(new) :]
            self.replacements[piece] = [*new, ids.get(",", unknown_id)]
            # How far before the token's end each new one begins and ends; the comma is a byte.
            starts_back += [_FAR, *(size - start + 1 for start, _ in spans[1:]), 1]
            ends_back += [*(size - end + 1 for _, end in spans), 0]
        rules = list(self.replacements.values())
        rule_of = [-1] * len(pieces)
        for rule, piece in enumerate(found):
            rule_of[ids[piece]] = rule
        self._rule_of = tf.constant(rule_of, tf.int32)  # (V,)
        self._ids = tf.ragged.constant(rules, tf.int32, ragged_rank=1) if rules else None  # (R, P)
        self._starts_back = tf.constant(starts_back, tf.int64)  # (P,)
        self._ends_back = tf.constant(ends_back, tf.int64)  # (P,)

    def split(self, ids: tf.Tensor, row_splits: tf.Tensor, *spans: tf.Tensor) -> tuple:
        """Apply the rule.

        Args:
            ids: Int32 `[N]`.
            row_splits: Where rows begin and end, int64 `[batch + 1]`.
            *spans: Nothing, or the first byte of each token and one past the last, int64 `[N]`.

        Returns:
            The same tensors, with more tokens.
        """
        if self._ids is None:
            return ids, row_splits, *spans
        rules = tf.gather(self._rule_of, ids)  # (N,) or -1

        def splice():
            # A ragged gather: each token takes a run of the pool, its own place or its rule's.
            size = tf.size(ids, tf.int64)
            has_rule, rule = rules >= 0, tf.maximum(rules, 0)
            first = tf.where(has_rule, size + tf.gather(self._ids.row_splits, rule), tf.range(size))
            count = tf.where(has_rule, tf.gather(self._ids.row_lengths(), rule), 1)
            runs = tf.ragged.range(first, first + count)

            def take(old, new):
                return tf.gather(tf.concat([old, new], 0), runs.values)

            result = [take(ids, self._ids.values), tf.gather(runs.row_splits, row_splits)]
            if spans:
                starts, ends = (tf.gather(span, runs.value_rowids()) for span in spans)
                back = take(tf.fill([size], tf.constant(_FAR, tf.int64)), self._starts_back)
                result.append(tf.maximum(starts, ends - back))
                result.append(ends - take(tf.zeros([size], tf.int64), self._ends_back))
            return tuple(result)

        return tf.cond(tf.reduce_any(rules >= 0), splice, lambda: (ids, row_splits, *spans))


def _without_word_start(piece, spelled, pieces, ids, unknown_id) -> list[int]:
    # The op begins each text with the sign for a space, which a piece inside a word has not.
    first = pieces[spelled[0]] if spelled else ""
    if piece[0] == WORD_START or not first.startswith(WORD_START):
        return list(spelled)
    if first == WORD_START:
        return list(spelled[1:])
    return [ids.get(first[1:], unknown_id), *spelled[1:]]
