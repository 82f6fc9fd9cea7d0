"""The code point table: the same on every Python, and BERT's."""

import hashlib
import unicodedata

import pytest

from bertzoo.tokenizers import code_points, unicode_14

# SHA-256 of the whole table, as `table_digest` writes it, made on Python 3.11 (Unicode 14.0).
DIGESTS = {
    (True, True): "21d13cdac21806747dae122ebefd77946b14256ac4a79099cddbd913a63c071e",
    (True, False): "b0e5f925fce1568f547764f9209f8f52a0e5237763b76e74330373451c4b7c41",
    (False, True): "0ff2ca2e8dffc3d94445396eb976c4dd4fc0492d89123485f1cb8b9ead569ccd",
    (False, False): "6be4f6c61b0d5529b4316bf7c026fc2b5ea85fedd5910b6d85b6bb4a39ffb845",
}

SIGMA_DIGEST = "e8dd2b959cfae3b3972ac1c286699c9cb6dc7336a48ce128735dc09a8ec01bcf"


def table_digest(table: dict[int, str]) -> str:
    lines = (f"{c:X}:{text.encode('utf-8').hex()}\n" for c, text in sorted(table.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("settings", DIGESTS)
def test_the_table_is_the_same_on_every_python(settings):
    assert table_digest(code_points.folding_table(*settings)) == DIGESTS[settings]


def test_the_final_sigma_pattern_is_the_same_on_every_python():
    pattern = code_points.final_sigma_pattern()
    assert hashlib.sha256(pattern.encode()).hexdigest() == SIGMA_DIGEST


def test_categories_are_those_of_unicode_14():
    differing = {
        code_point
        for code_point in range(0x110000)
        if unicode_14.category(code_point) != unicodedata.category(chr(code_point))
    }
    later = {c for first, last in unicode_14.ASSIGNED_LATER for c in range(first, last + 1)}
    assert len(later) == 15_104
    # On Python 3.11 nothing differs, on later ones what their Unicode assigned or changed.
    assert differing <= later | {0x0295, 0x1171E}
    if unicodedata.unidata_version == "14.0.0":
        assert not differing
        assert {unicodedata.category(chr(c)) for c in later} == {"Cn"}


def test_characters_of_later_unicode_versions_stay_as_they_are():
    wireless, cyrillic_tje, tulu_danda = 0x1F6DC, 0x1C89, 0x113D4  # Unicode 15.0, 16.0, 16.0
    for code_point in (wireless, cyrillic_tje, tulu_danda):
        assert code_points.folded(code_point, True, True) == chr(code_point)
        assert not code_points.is_punctuation(code_point)


@pytest.mark.parametrize(
    ("character", "lowercase", "strip_accents", "expected"),
    [
        ("É", True, True, "e"),
        ("É", True, False, "é"),
        ("É", False, True, "E"),
        ("É", False, False, "É"),
        ("\u0130", True, True, "i"),  # I with dot above: lower-casing brings a mark
        ("\u0130", True, False, "i\u0307"),
        ("\u1e9e", True, True, "ß"),
        ("\u212a", True, True, "k"),  # Kelvin sign
        ("\u212a", False, True, "K"),
        ("한", True, True, "\u1112\u1161\u11ab"),
        ("\u0301", True, True, ""),
        ("\u0301", True, False, "\u0301"),
        ("\u0903", True, True, "\u0903"),  # a spacing mark (Mc) is no Mn
        ("\u00ad", False, False, ""),
        ("\u200b", False, False, ""),
        ("\u0085", False, False, ""),
        ("\ufffd", False, False, ""),
        ("\0", False, False, ""),
        ("\t", False, False, " "),
        ("\u2028", False, False, " "),
        ("\u00a0", False, False, " "),
        ("\ue000", True, True, "\ue000"),  # private use stays
        ("ﬁ", True, True, "ﬁ"),  # NFD, not NFKD
    ],
)
def test_folding_by_hand(character, lowercase, strip_accents, expected):
    assert code_points.folded(ord(character), lowercase, strip_accents) == expected
    table = code_points.folding_table(lowercase, strip_accents)
    assert table.get(ord(character), character) == expected


def test_no_range_left_out_of_the_table_folds():
    for code_point in [
        *range(0x3400, 0x4DC0),
        *range(0x4E00, 0xA000),
        *range(0xE000, 0xF900, 7),
        *range(0x20000, 0x2F800, 5),
        *range(0x2FA20, 0xE0000, 97),
        *range(0xE1000, 0x110000, 101),
    ]:
        assert code_points.folded(code_point, True, True) == chr(code_point)
