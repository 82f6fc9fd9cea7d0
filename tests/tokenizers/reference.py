"""BERT's tokenization in plain Python, from the description of the algorithm.

Written for the tests alone and without a look at the package: whole strings, no tables, Python's
own `str` methods and `unicodedata`. Devlin et al. 2018 and the README of google-research/bert:

1. Text normalization: white space becomes single spaces, control characters (Cc, Cf but tab and
   line ends), NUL and U+FFFD go; (uncased) lower-case, then NFD without combining marks (Mn).
2. Every CJK ideograph is a word of its own.
3. Punctuation splitting: a space on both sides of every punctuation character, that is any P*
   class of Unicode and all ASCII that is not a letter, digit or space.
4. WordPiece: in each word take the longest token from the left, further ones written `##...`; a
   word that cannot be spelled so, or of more than 200 characters, is `[UNK]`.
"""

from __future__ import annotations

import unicodedata

MAX_CHARACTERS = 200
# Long blocks without case, accents or white space: ideographs, Hangul, Tangut, private use.
UNIFORM = (
    range(0x3400, 0x4DC0), range(0x4E00, 0xA000), range(0xAC00, 0xD7A4), range(0xE000, 0xF900),
    range(0x17000, 0x18D00), range(0x20000, 0x2F800), range(0x30000, 0xE0000),
    range(0xE0200, 0x110000),
)  # fmt: skip


def code_points(step: int) -> list[int]:
    """Return every code point but surrogates; of the uniform blocks every `step`th and the ends."""
    points, position = [], 0
    for block in UNIFORM:
        points += range(position, block.start)
        points += sorted({*block[::step], block[-1]})
        position = block.stop
    return [c for c in points if not 0xD800 <= c < 0xE000]


def is_ideograph(character: str) -> bool:
    """CJK unified ideographs, extensions A to E, and the two compatibility blocks."""
    point = ord(character)
    return (
        0x4E00 <= point <= 0x9FFF
        or 0x3400 <= point <= 0x4DBF
        or 0x20000 <= point <= 0x2A6DF
        or 0x2A700 <= point <= 0x2B73F
        or 0x2B740 <= point <= 0x2B81F
        or 0x2B820 <= point <= 0x2CEAF
        or 0xF900 <= point <= 0xFAFF
        or 0x2F800 <= point <= 0x2FA1F
    )


def is_punctuation(character: str) -> bool:
    """Any P* class, and `$+<=>^`|~` with the rest of ASCII's."""
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    return unicodedata.category(character).startswith("P")


def clean(text: str) -> str:
    """Drop what cannot be seen."""
    kept = []
    for character in text:
        if character in "\t\n\r":
            kept.append(" ")
        elif character in "\0\ufffd" or unicodedata.category(character) in ("Cc", "Cf"):
            continue
        elif unicodedata.category(character) == "Zs":
            kept.append(" ")
        else:
            kept.append(character)
    return "".join(kept)


def words(text: str, lowercase: bool, strip_accents: bool | None = None) -> list[str]:
    """Steps 1 to 3."""
    if strip_accents is None:
        strip_accents = lowercase
    text = "".join(f" {c} " if is_ideograph(c) else c for c in clean(text))
    result = []
    for word in text.split():
        if lowercase:
            word = word.lower()
        if strip_accents:
            decomposed = unicodedata.normalize("NFD", word)
            word = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
        spaced = "".join(f" {c} " if is_punctuation(c) else c for c in word)
        result += spaced.split()
    return result


def spell(word: str, vocabulary, unknown: str = "[UNK]") -> list[str]:
    """Step 4: the tokens of one word."""
    if len(word) > MAX_CHARACTERS:
        return [unknown]
    tokens, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        for end in range(len(word), start, -1):
            if prefix + word[start:end] in vocabulary:
                break
        else:
            return [unknown]
        tokens.append(prefix + word[start:end])
        start = end
    return tokens


def tokenize(text, vocabulary, lowercase, strip_accents=None, unknown="[UNK]") -> list[str]:
    """All steps; bytes are read as UTF-8, invalid ones skipped."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "ignore")
    return [
        token
        for word in words(text, lowercase, strip_accents)
        for token in spell(word, vocabulary, unknown)
    ]
