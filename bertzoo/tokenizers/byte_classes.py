r"""Letters, numbers and white space, as tables that a graph can look bytes up in.

GPT-2's pattern asks for `\p{L}`, `\p{N}` and `\s`. They are Unicode 16.0's here, which are those of
Hugging Face's `tokenizers`; on Python 3.11 (Unicode 14.0) as on later ones.
"""

from __future__ import annotations

import functools

import numpy as np

from bertzoo.tokenizers import unicode_14

# Classes of characters, as bits: a plain space is white space, too. EDGE is none: where a text
# begins or ends, or a special token stands.
LETTER, NUMBER, OTHER, WHITE_SPACE, SPACE, EDGE = 1, 2, 4, 8, 8 | 16, 32
# Of the second and later bytes of a character: the class and this bit.
CONTINUES = 64

# The property White_Space; the plain space has a class of its own.
WHITE_SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)

# First and last code point of the letters (L*) and numbers (N*) new in Unicode 15.0 to 16.0.
# fmt: off
_NEW_LETTERS = (
    (0x1C89, 0x1C8A), (0xA7CB, 0xA7CD), (0xA7DA, 0xA7DC), (0x105C0, 0x105F3), (0x10D4A, 0x10D65),
    (0x10D6F, 0x10D85), (0x10EC2, 0x10EC4), (0x1123F, 0x11240), (0x11380, 0x11389),
    (0x1138B, 0x1138B), (0x1138E, 0x1138E), (0x11390, 0x113B5), (0x113B7, 0x113B7),
    (0x113D1, 0x113D1), (0x113D3, 0x113D3), (0x11BC0, 0x11BE0), (0x11F02, 0x11F02),
    (0x11F04, 0x11F10), (0x11F12, 0x11F33), (0x1342F, 0x1342F), (0x13441, 0x13446),
    (0x13460, 0x143FA), (0x16100, 0x1611D), (0x16D40, 0x16D6C), (0x18CFF, 0x18CFF),
    (0x1B132, 0x1B132), (0x1B155, 0x1B155), (0x1DF25, 0x1DF2A), (0x1E030, 0x1E06D),
    (0x1E4D0, 0x1E4EB), (0x1E5D0, 0x1E5ED), (0x1E5F0, 0x1E5F0), (0x2B739, 0x2B739),
    (0x2EBF0, 0x2EE5D), (0x31350, 0x323AF),
)
_NEW_NUMBERS = (
    (0x10D40, 0x10D49), (0x116D0, 0x116E3), (0x11BF0, 0x11BF9), (0x11F50, 0x11F59),
    (0x16130, 0x16139), (0x16D70, 0x16D79), (0x1CCF0, 0x1CCF9), (0x1D2C0, 0x1D2D3),
    (0x1E4F0, 0x1E4F9), (0x1E5F1, 0x1E5FA),
)
# fmt: on
# Beyond are no letters, numbers or white space.
_LAST = 0x323AF
BLOCK = 256


@functools.cache
def class_of_code_point() -> np.ndarray:
    """Return the class of every code point, uint8 `[0x110000]`.

    >>> classes = class_of_code_point()
    >>> [int(classes[ord(character)]) for character in "aé1²!' \u3000中"]
    [1, 1, 2, 2, 4, 4, 24, 8, 1]
    """
    classes = np.full(0x110000, OTHER, np.uint8)
    for code_point in range(_LAST + 1):
        general = unicode_14.category(code_point)[0]
        if general in "LN":
            classes[code_point] = LETTER if general == "L" else NUMBER
    for ranges, value in ((_NEW_LETTERS, LETTER), (_NEW_NUMBERS, NUMBER)):
        for first, last in ranges:
            classes[first : last + 1] = value
    classes[[ord(character) for character in WHITE_SPACES]] = WHITE_SPACE
    classes[ord(" ")] = SPACE
    return classes


@functools.cache
def class_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return the same in two levels, a twentieth of the size.

    Returns:
        Int32 `[4352]`, where the block of each 256 code points begins in the second table, and
        uint8 `[256 * blocks]`.
    """
    blocks = class_of_code_point().reshape(-1, BLOCK)
    different, numbers = np.unique(blocks, axis=0, return_inverse=True)
    return (numbers.reshape(-1) * BLOCK).astype(np.int32), different.reshape(-1)
