"""ALBERT's cleaning against Python's own string methods, on every code point."""

import random
import re
import unicodedata

import pytest
import tensorflow as tf

from bertzoo.tokenizers import unicode_14
from bertzoo.tokenizers.albert_cleaning import AlbertCleaning
from tests.tokenizers.reference import code_points


def reference(text, lowercase=True, strip_accents=True):
    text = " ".join(text.split()).replace("``", '"').replace("''", '"')
    if strip_accents:
        text = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in text if not unicodedata.combining(c))
    return text.lower() if lowercase else text


def squeezed(text):
    """Runs of spaces are left to SentencePiece."""
    return re.sub(" +", " ", text).strip(" ")


def known(code_point):
    return unicode_14.is_assigned(code_point) or code_point > 0x10FFF0


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip_accents", [True, False])
@pytest.mark.parametrize("step", [16, pytest.param(1, marks=pytest.mark.slow)])
def test_code_points_are_cleaned_as_python_does(lowercase, strip_accents, step):
    cleaning = AlbertCleaning(lowercase, strip_accents)
    points = code_points(step)
    assert len(points) == len(set(points)) > (280_000 if step == 1 else 60_000)
    texts = [f"a{chr(c)}b {chr(c)}" for c in points if known(c)]
    found = cleaning.clean(tf.constant(texts)).numpy().tolist()
    # Python's lower-casing has one rule that looks around: a sigma of any script at a word's end.
    wanted = [squeezed(reference(text, lowercase, strip_accents)) for text in texts]
    wrong = [
        (text, a.decode(), b)
        for text, a, b in zip(texts, found, wanted, strict=True)
        if squeezed(a.decode()) != b and not text[1].isascii()
    ]
    marks = {"a\ufdd0b \ufdd0"}  # the mask's mark becomes another noncharacter
    assert {text for text, _, _ in wrong} <= marks, wrong[:5]


def test_sigma_is_lowered_by_what_stands_around_it():
    generator = random.Random(1)
    alphabet = "ΣΣΣσαΑ \u0301\u00b7.':-\u200b\u00ad\x01\u0345ʰ1\U0001d6ba"
    texts = ["".join(generator.choices(alphabet, k=generator.randint(1, 9))) for _ in range(5000)]
    found = AlbertCleaning(True, True).clean(tf.constant(texts)).numpy().tolist()
    for text, ours in zip(texts, found, strict=True):
        assert squeezed(ours.decode()) == squeezed(reference(text)), text


def test_pairs_of_quotes_become_one_and_others_stay():
    cleaning = AlbertCleaning(True, True)
    texts = ["``a''", "`a'", "'''", "````", "`'", "\u0378 \u0379 ''", "'\u0301'"]
    found = [text.decode() for text in cleaning.clean(tf.constant(texts)).numpy().tolist()]
    assert found == ['"a"', "`a'", "\"'", '""', "`'", '\u0379 \u0379 "', "''"]


def test_the_mark_of_the_mask_never_comes_from_a_text():
    cleaning = AlbertCleaning(True, True, used={"\ufdd0"})
    assert cleaning.mask_mark == "\ufdd1"
    clean = cleaning.clean(tf.constant(["\ufdd0\ufdd1\ufdd2"])).numpy()[0].decode()
    assert cleaning.mask_mark not in clean
    assert len(clean) == 3
