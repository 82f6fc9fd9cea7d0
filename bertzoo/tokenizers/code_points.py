"""BERT's and ALBERT's text cleaning as tables from code points to strings.

Google's BasicTokenizer (Devlin et al. 2018; `tokenization.py` of google-research/bert) works
character by character: it deletes control characters, turns white space into spaces, sets CJK
ideographs apart, lower-cases, decomposes (NFD), drops combining marks (Mn) and sets punctuation
apart. Each step looks at one code point alone, so their product is a table. Two steps do look
around. Lower-casing writes a capital sigma at the end of a word as U+03C2: `final_sigma_pattern`
finds it. NFD sorts runs of marks: the marks that are sorted are the ones that are dropped, but
for a run of two spacing marks (Mc) with different combining classes, which keeps its order here.

Everything follows Unicode 14.0, whatever Python runs (`unicode_14.py`).
"""

from __future__ import annotations

import functools
import unicodedata

from bertzoo.tokenizers import unicode_14

# `_is_chinese_char` of google-research/bert: ideographs, not kana or hangul.
CJK_RANGES = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
# Characters that Final_Sigma passes over and that no category names: Word_Break MidLetter,
# MidNumLet and Single_Quote of Unicode 14.0.
CASE_IGNORABLE_PUNCTUATION = frozenset(
    "'.:\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a"
)
SIGMA, SMALL_SIGMA, FINAL_SIGMA = "\u03a3", "\u03c3", "\u03c2"

# What str.split() splits at and is no control character: Zs, the line and paragraph separators,
# and the three controls that BERT takes for spaces.
_SPACES = frozenset(
    "\t\n\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_SPACES_OF_PYTHON_ALONE = frozenset("\v\f\x1c\x1d\x1e\x1f\x85")


def is_cjk(code_point: int) -> bool:
    """Return whether BERT makes a word of its own of this code point as an ideograph."""
    return any(first <= code_point <= last for first, last in CJK_RANGES)


def is_punctuation(code_point: int) -> bool:
    """Return whether BERT makes a word of its own of this code point as punctuation.

    All ASCII that is neither letter nor digit counts, `$` and `^` too.

    >>> is_punctuation(ord("$")), is_punctuation(ord("€")), is_punctuation(ord("«"))
    (True, False, True)
    """
    if code_point < 128:
        return 33 <= code_point <= 126 and not chr(code_point).isalnum()
    return unicode_14.category(code_point).startswith("P")


def folded(code_point: int, lowercase: bool, strip_accents: bool) -> str:
    """Return what cleaning leaves of one code point; punctuation and CJK are not yet set apart.

    >>> folded(ord("É"), True, True), folded(ord("É"), True, False), folded(ord("É"), False, True)
    ('e', 'é', 'E')
    >>> folded(0x200B, True, True), folded(0x3000, True, True)
    ('', ' ')
    """
    character = chr(code_point)
    if character in _SPACES:
        return " "
    category = unicode_14.category(code_point)
    if code_point in (0, 0xFFFD) or category in ("Cc", "Cf"):
        return ""
    if category == "Cn":
        return character
    if lowercase:
        character = character.lower()
    if strip_accents:
        # Lower-casing may bring a mark (U+0130 becomes i and U+0307), so all are looked for.
        decomposed = unicodedata.normalize("NFD", character)
        character = "".join(c for c in decomposed if unicode_14.category(ord(c)) != "Mn")
    return character


def compatibility_folded(code_point: int, lowercase: bool, strip_accents: bool) -> str:
    """Return what ALBERT's preprocessing makes of one code point (Lan et al. 2019).

    All that `str.split()` splits at is a space; then, if accents go, NFKD without combining
    characters; then lower case, but for capital sigma. `preprocess_text` in `tokenization.py` of
    google-research/albert.

    >>> compatibility_folded(ord("É"), True, True), compatibility_folded(ord("ﬁ"), True, True)
    ('e', 'fi')
    >>> compatibility_folded(0x1F, True, True), compatibility_folded(ord("E"), False, True)
    (' ', 'E')
    """
    text = chr(code_point)
    if text in _SPACES or text in _SPACES_OF_PYTHON_ALONE:
        return " "
    if unicode_14.category(code_point) == "Cn":
        return text
    if strip_accents:
        # Marks that NFKD sorts are among those that are dropped: no need to look around.
        text = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in text if not unicodedata.combining(c))
    if lowercase:
        text = "".join(c if c == SIGMA else c.lower() for c in text)
    return text


@functools.cache
def folding_table(lowercase: bool, strip_accents: bool) -> dict[int, str]:
    """Return `folded` for every code point that it changes, by code point.

    >>> table = folding_table(lowercase=True, strip_accents=True)
    >>> table[ord("A")], table[ord("ß")] if ord("ß") in table else "unchanged"
    ('a', 'unchanged')
    """
    return _table(folded, lowercase, strip_accents)


@functools.cache
def compatibility_table(lowercase: bool, strip_accents: bool) -> dict[int, str]:
    """Return `compatibility_folded` for every code point that it changes, by code point.

    >>> len(compatibility_table(lowercase=False, strip_accents=True)[0xFDFA])
    18
    """
    return _table(compatibility_folded, lowercase, strip_accents)


def _table(fold, lowercase: bool, strip_accents: bool) -> dict[int, str]:
    table = {}
    for first, last in _ranges_that_may_change():
        for code_point in range(first, last + 1):
            text = fold(code_point, lowercase, strip_accents)
            if text != chr(code_point):
                table[code_point] = text
    return table


def _ranges_that_may_change():
    # Ideographs (but the compatibility ones), surrogates, private use and the empty planes fold
    # to themselves; leaving them out saves nine tenths of the work.
    return (
        (0x0000, 0x33FF),
        (0x4DC0, 0x4DFF),
        (0xA000, 0xD7FF),
        (0xF900, 0x1FFFF),
        (0x2F800, 0x2FA1F),
        (0xE0000, 0xE0FFF),
    )


@functools.cache
def final_sigma_pattern() -> str:
    r"""Return the RE2 pattern of a capital sigma that lower-cases to U+03C2; `\1` and `\2` stay.

    Python's rule (Unicode 3.13, Final_Sigma): a cased letter comes before it, none after it, and
    case-ignorable characters in between do not count. It is meant for text from which control
    characters and white space are already gone.
    """
    ignorable = set(map(ord, CASE_IGNORABLE_PUNCTUATION))
    # Other_Lowercase and Other_Uppercase, as far as they are not letters.
    cased = {0xAA, 0xBA, *range(0x2160, 0x2180), *range(0x24B6, 0x24EA)}
    cased |= {*range(0x1F130, 0x1F14A), *range(0x1F150, 0x1F16A), *range(0x1F170, 0x1F18A)}
    for first, last in _ranges_that_may_change():
        for code_point in range(first, last + 1):
            category = unicode_14.category(code_point)
            if category in ("Mn", "Me", "Cf", "Lm", "Sk"):
                ignorable.add(code_point)
            elif category in ("Lu", "Ll", "Lt"):
                cased.add(code_point)
    cased_class = _regex_class(cased - ignorable)
    ignorable_class = _regex_class(ignorable)
    return (
        f"([{cased_class}][{ignorable_class}]*){SIGMA}"
        f"([{ignorable_class}]*(?:[^{cased_class}{ignorable_class}]|$))"
    )


def _regex_class(code_points) -> str:
    ranges: list[list[int]] = []
    for code_point in sorted(code_points):
        if ranges and ranges[-1][1] == code_point - 1:
            ranges[-1][1] = code_point
        else:
            ranges.append([code_point, code_point])
    return "".join(
        f"\\x{{{first:X}}}" if first == last else f"\\x{{{first:X}}}-\\x{{{last:X}}}"
        for first, last in ranges
    )
