r"""Byte-level BPE in plain Python, from the description of the algorithm.

Written for the tests alone. Radford et al. 2019, section 2.2, and the pattern that GPT-2 published:

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

1. Cut text into words: at each place take the first alternative that matches.
2. Write the bytes of a word as characters: printable ones of Latin-1 as they are, the others as
   U+0100, U+0101, ... in their order.
3. Join the pair of neighbours whose rule comes first, everywhere in the word, until there is none.
"""

from __future__ import annotations

import itertools
import unicodedata

CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


def is_space(character: str) -> bool:
    """The property White_Space: what `str.isspace` says but for four control characters."""
    return character.isspace() and character not in "\x1c\x1d\x1e\x1f"


def kind(character: str) -> str:
    if is_space(character):
        return "space"
    general = unicodedata.category(character)[0]
    return {"L": "letter", "N": "number"}.get(general, "other")


def words(text: str) -> list[str]:
    """Step 1."""
    result, place = [], 0
    while place < len(text):
        end = match(text, place)
        result.append(text[place:end])
        place = end
    return result


def match(text: str, place: int) -> int:
    """Where the first alternative that matches ends."""
    for contraction in CONTRACTIONS:
        if text.startswith(contraction, place):
            return place + len(contraction)
    start = place + 1 if text[place] == " " and place + 1 < len(text) else place
    if not is_space(text[start]):
        return run(text, start, kind(text[start]))
    end = run(text, place, "space")
    if end < len(text) and end - place > 1:
        return end - 1  # \s+(?!\S): one less, so that no visible character follows
    return end


def run(text: str, place: int, wanted: str) -> int:
    while place < len(text) and kind(text[place]) == wanted:
        place += 1
    return place


def printable(byte: int) -> bool:
    return 33 <= byte <= 126 or (161 <= byte <= 255 and byte != 173)


def spell_bytes(content: bytes) -> str:
    """Step 2."""
    others = [byte for byte in range(256) if not printable(byte)]
    return "".join(chr(b) if printable(b) else chr(256 + others.index(b)) for b in content)


def join(pieces: list[str], merges) -> list[str]:
    """Step 3."""
    ranks = merges if isinstance(merges, dict) else {tuple(r): i for i, r in enumerate(merges)}
    while len(pieces) > 1:
        best = min(itertools.pairwise(pieces), key=lambda p: ranks.get(p, len(ranks)))
        if best not in ranks:
            break
        joined, place = [], 0
        while place < len(pieces):
            if tuple(pieces[place : place + 2]) == best:
                joined.append("".join(best))
                place += 2
            else:
                joined.append(pieces[place])
                place += 1
        pieces = joined
    return pieces


def tokenize(text: str | bytes, merges) -> list[str]:
    """All steps."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "ignore")
    return [
        token for word in words(text) for token in join(list(spell_bytes(word.encode())), merges)
    ]


def spans(text: str, tokens: list[str]) -> list[tuple[int, int]]:
    """Code points of each token, spaces at its ends left out; part of a character counts whole."""
    owner = [index for index, character in enumerate(text) for _ in character.encode()]
    result, place = [], 0
    for token in tokens:
        start, end = owner[place], owner[place + len(token) - 1] + 1
        place += len(token)
        front = len(token) - len(token.lstrip("Ġ"))
        back = len(token) - len(token.rstrip("Ġ"))
        start = min(start + front, end)
        result.append((start, max(end - back, start)))
    return result
