"""The rules of a byte-level BPE as a SentencePiece model, exactly.

SentencePiece in BPE mode joins, again and again, the neighbours whose joined string has the best
score (the leftmost ones among equals). BPE joins the neighbours whose *rule* comes first. The two
agree when a string's score is the number of the rule that makes it, for this reason: joining never
takes a boundary away from outside, so the pieces inside a stretch of text between two boundaries
follow from the stretch alone. Where a rule's turn comes, the stretch of the token that it makes
has the same pieces everywhere, those that BPE finds in the token's own text. So each token has at
most one rule that ever makes it, and it is found by spelling the token's text; a token that its
own text does not become is never made at all. Both hold for any list of rules.

The model is Protocol Buffers' wire format of `sentencepiece_model.proto` (fields are numbered
below), so that nothing but the op has to know SentencePiece.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from bertzoo.tokenizers.byte_pair_vocabulary import BYTE_CHARACTERS, token_bytes
from bertzoo.tokenizers.normalizer_model import build_trie

# In the model a byte is the character of that number. C strings end at NUL, so byte 0 is U+0100.
ZERO = "\u0100"
# Starts names of pieces that no text has.
_NO_TEXT = "\u0101"
_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3  # SentencePiece.Type
_BPE = 2  # TrainerSpec.ModelType


def making_rules(vocabulary: Sequence[str], merges: Sequence[tuple[str, str]]) -> dict[int, int]:
    """Return for each token that text can become (but the bytes) the number of its rule.

    Args:
        vocabulary: Tokens in the order of their ids; it has all that the rules name and make.
        merges: Rules, the first one first.

    Returns:
        Number of the rule by id.

    Raises:
        ValueError: if a rule comes before the rule that makes one of its parts: implementations
            differ in what such a list means.

    Example:
    >>> tokens = ["a", "b", "c", "ab", "bc", "abc", "<s>"]
    >>> making_rules(tokens, [("a", "b"), ("b", "c"), ("a", "bc"), ("ab", "c")])
    {3: 0, 4: 1, 5: 3}
    """
    ids = {token: index for index, token in enumerate(vocabulary)}
    ranks = {(ids[left], ids[right]): rank for rank, (left, right) in enumerate(merges)}
    # By id of a token that text can become: its two parts, and the rule's number.
    parts = {ids[token]: (ids[token], ids[token]) for token in BYTE_CHARACTERS if token in ids}
    made = dict.fromkeys(parts, -1)
    waiting: dict[int, int] = {}
    for (left, right), rank in ranks.items():
        if left not in made or right not in made:
            waiting |= {part: rank for part in (left, right) if part not in made}
            continue
        token = ids[vocabulary[left] + vocabulary[right]]
        if token in made or not _stay_apart(left, right, rank, ranks, parts, made):
            continue
        if token in waiting:
            raise ValueError(
                f"rule {waiting[token] + 1} of the merges uses the token {vocabulary[token]!r}, "
                f"which only rule {rank + 1} makes; a rule must come after those of its parts."
            )
        made[token], parts[token] = rank, (left, right)
    return {token: rank for token, rank in sorted(made.items()) if rank >= 0}


def _stay_apart(left: int, right: int, rank: int, ranks, parts, made) -> bool:
    # Whether the texts of two tokens, side by side, still are these two tokens when it is the
    # turn of rule `rank`. Walks back in time: the last join on either side of the boundary is
    # undone, and what then stood there must not be what an earlier rule joins. Of equal joins
    # the leftmost goes first: one across the boundary is before one on the right, after one on
    # the left.
    never = len(ranks)
    while True:
        if made[left] > made[right]:
            before, left = made[left], parts[left][1]
        elif made[right] >= 0:
            before, right = made[right] + 1, parts[right][0]
        else:
            return True  # both are bytes
        if ranks.get((left, right), never) < before:
            return False


def build_sentencepiece_model(
    vocabulary: Sequence[str], rules: dict[int, int], unknown_id: int
) -> bytes:
    """Return a SentencePiece model whose ids are those of the vocabulary.

    Args:
        vocabulary: Tokens in the order of their ids, all bytes among them.
        rules: From `making_rules`.
        unknown_id: A token that text cannot become.

    Returns:
        A serialized `ModelProto`.
    """
    bytes_of_text = frozenset(BYTE_CHARACTERS)
    pieces = []
    for index, token in enumerate(vocabulary):
        score, kind = 0.0, _NORMAL
        if index in rules:
            score = -float(rules[index])  # exact up to 2**24 rules
        elif token not in bytes_of_text:
            kind = _UNKNOWN if index == unknown_id else _CONTROL
        if kind == _NORMAL:
            spelled = token_bytes(token).decode("latin-1").replace("\0", ZERO)
        else:
            spelled = f"{_NO_TEXT}{index}"
        pieces.append(
            _field(1, _field(1, spelled.encode()) + _fixed32(2, score) + _number(3, kind))
        )
    trainer = _number(3, _BPE) + _number(4, len(vocabulary))
    # No space in front, no space removed, none written as U+2581; nothing else is changed. The
    # table has one entry, for a character that no text has: the op reports an empty one on
    # standard error.
    trie = build_trie({_NO_TEXT.encode(): 0}).astype("<u4").tobytes()
    table = struct.pack("<I", len(trie)) + trie + _NO_TEXT.encode() + b"\0"
    normalizer = _field(2, table) + _number(3, 0) + _number(4, 0) + _number(5, 0)
    return b"".join(pieces) + _field(2, trainer) + _field(3, normalizer)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _fixed32(number: int, value: float) -> bytes:
    return _varint(number << 3 | 5) + struct.pack("<f", value)


def _varint(value: int) -> bytes:
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(content) + bytes([value])
