"""Ids against BERT's algorithm, for every code point that Unicode 14.0 assigned.

The reference runs on the Unicode version of this Python; what later versions assigned is left
out, so that the comparison is the same on every Python.
"""

import functools
import random
import unicodedata

import pytest

from bertzoo.tokenizers import unicode_14
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer
from tests.tokenizers import reference

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SETTINGS = {
    "uncased": (True, None),
    "cased": (False, None),
    "lowercase only": (True, False),
    "accents only": (False, True),
}
# Alone, in a word, after a capital, before a combining mark, and where it decides on final sigma.
FORMS = "{0} a{0}b A{0} {0}\u0301x aΣ{0}b a{0}Σ"
# Whether final sigma looks through these may depend on the Unicode version of `str.lower`.
COLONS = ":\ufe13\ufe55\uff1a"


def forms(character: str) -> str:
    if character in COLONS and unicodedata.unidata_version != "14.0.0":
        return FORMS.format(character).partition(" aΣ")[0]
    return FORMS.format(character)


@functools.cache
def assigned() -> list[str]:
    return [chr(c) for c in range(0x110000) if unicode_14.is_assigned(c)]


@functools.cache
def spelling_tokenizer(lowercase, strip_accents) -> WordPieceTokenizer:
    """One piece for each character that can come out, so that [UNK] cannot hide a mistake."""
    characters = set("abxΣσς\u0301")
    for character in assigned():
        if unicodedata.category(character) != "Co":
            for word in reference.words(character, lowercase, strip_accents):
                characters.update(word)
    pieces = sorted(characters)
    vocabulary = [*SPECIAL, *pieces, *("##" + piece for piece in pieces)]
    return WordPieceTokenizer(vocabulary, lowercase, strip_accents)


def differences(texts, tokenizer):
    """The texts of which the tokens differ, with both lists."""
    settings = tokenizer.config.lowercase, tokenizer.config.strip_accents
    known = set(tokenizer.vocabulary)
    found = []
    for text, ids in zip(texts, tokenizer(texts).to_list(), strict=True):
        expected = reference.tokenize(text, known, *settings)
        got = [tokenizer.vocabulary[index] for index in ids]
        if got != expected:
            found.append((text, expected, got))
    return found


@pytest.mark.parametrize("settings", ["uncased", "cased"])
@pytest.mark.parametrize("step", [16, pytest.param(1, marks=pytest.mark.slow)])
def test_assigned_code_points_give_the_ids_of_bert(settings, step):
    """All of them, or of the long blocks that are uniform every sixteenth."""
    tokenizer = spelling_tokenizer(*SETTINGS[settings])
    every = [c for c in assigned() if unicodedata.category(c) != "Co"]
    assert len(every) == 144_762
    chosen = set(map(chr, reference.code_points(step)))
    characters = [c for c in every if c in chosen]
    assert len(characters) > (144_000 if step == 1 else 40_000)
    found = differences([forms(character) for character in characters], tokenizer)
    print(f"\n{settings}: {len(found)} exceptions among {len(characters)}: {found[:20]}")
    assert found == []


@pytest.mark.parametrize("settings", ["uncased", "cased"])
def test_private_use_code_points_stay_and_are_unknown(settings):
    tokenizer = spelling_tokenizer(*SETTINGS[settings])
    private = [c for c in assigned() if unicodedata.category(c) == "Co"]
    assert len(private) == 137_468
    texts = [forms(character) for character in private[::50]]
    assert differences(texts, tokenizer) == []
    assert tokenizer("a\ue000b").numpy().tolist() == [tokenizer.unknown_id]


@pytest.mark.parametrize("settings", ["lowercase only", "accents only"])
def test_case_and_accents_are_independent(settings):
    tokenizer = spelling_tokenizer(*SETTINGS[settings])
    texts = [forms(character) for character in assigned()[:60_000:5]]
    assert differences(texts, tokenizer) == []


def random_texts(count: int, seed: int) -> list[str]:
    """Strings over pools that mix scripts, marks, controls and everything."""
    generator = random.Random(seed)
    characters = [c for c in assigned() if unicodedata.category(c) != "Co"]
    pools = [
        "abcXYZ ,.'-",
        "\u0130\u1e9e\u212a\u212b\ufb01\u01c5ßǰſ",
        "αΣσς'\u2019\u00b7:Α \u0345",
        "\u0301\u0308\u0323\u200b\u200d\u00ad\0\x01\x7f\x85\ufffd\u2028\u00a0\u3000",
        "中文カナ한국어ไทยहिन्दी",
        "😀👩\u200d🚀🇩🇪\ufe0f",
    ]
    texts = []
    for _ in range(count):
        chosen = generator.sample(pools, k=generator.randint(1, 3))
        if generator.random() < 0.3:
            chosen.append("".join(generator.choices(characters, k=20)))
        pool = "".join(chosen)
        texts.append("".join(generator.choices(pool, k=generator.randrange(25))))
    return texts


@pytest.mark.parametrize("settings", SETTINGS)
def test_random_strings_give_the_ids_of_bert(settings):
    lowercase, strip_accents = SETTINGS[settings]
    tokenizer = spelling_tokenizer(lowercase, strip_accents)
    found = differences(random_texts(2500, seed=5), tokenizer)
    # NFD sorts two spacing marks (Mc) in a row by their combining class; a table cannot.
    unexplained = [
        (text, expected, got)
        for text, expected, got in found
        if sorted("".join(expected)) != sorted("".join(got))
        or not any(unicodedata.combining(c) for token in got for c in token)
    ]
    assert unexplained == []
    assert len(found) <= 2


def test_two_spacing_marks_in_a_row_keep_their_order():
    # The one known exception: U+302E (class 224) before U+1D165 (class 216).
    text = "a\u302e\U0001d165"
    tokenizer = spelling_tokenizer(True, None)
    expected = reference.tokenize(text, set(tokenizer.vocabulary), True)
    got = [tokenizer.id_to_token(i) for i in tokenizer(text)]
    assert expected == ["a", "##\U0001d165", "##\u302e"]
    assert got == ["a", "##\u302e", "##\U0001d165"]


def test_final_sigma_depends_on_the_word_around_it():
    words = [
        "ΟΔΟΣ",
        "ΣΟΦΙΑ",
        "Σ",
        "ΑΣ'Α",
        "ΑΣ'",
        "'Σ",
        "ΑΣ\u0301",
        "Α\u200bΣ\u200b",
        "Α\u2019Σ",
        "ΑΣ\u2019Β",
        "ΑΣΣ",
        "ΑΣ中",
        "ΑΣ\x00Β",
        "1Σ",
        "ªΣ",
        "Ⓐ\u0308Σ",
        "ΑΣ«Β",
    ]
    texts = [*words, " ".join(words), b"\xce\x91\xce\xa3\xff", b"\xce\x91\xce\xa3\xff\xce\x91"]
    tokenizer = spelling_tokenizer(True, None)
    assert differences(texts, tokenizer) == []
    assert tokenizer.detokenize(tokenizer(["ΟΔΟΣ ΣΟΦΙΑ"])).numpy()[0].decode() == "οδος σοφια"
