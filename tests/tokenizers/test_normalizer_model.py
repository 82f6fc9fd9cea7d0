"""The trie: every key is found, nothing else is."""

import random

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text as tf_text

from bertzoo.tokenizers import code_points, normalizer_model


def lookup(units: np.ndarray, key: bytes) -> int | None:
    """darts-clone's exact match, from the description of the format."""
    index, unit = 0, int(units[0])
    for byte in key:
        index ^= (unit >> 10) << ((unit & 0x200) >> 6) ^ byte
        unit = int(units[index])
        if unit & 0x800000FF != byte:
            return None
    if not unit & 0x100:
        return None
    return int(units[index ^ (unit >> 10) << ((unit & 0x200) >> 6)]) & 0x7FFFFFFF


def normalize(table, texts):
    model = tf.constant(normalizer_model.build_model(table))
    return tf_text.FastBertNormalizer(model_buffer=model).normalize(tf.constant(texts)).numpy()


def test_the_trie_finds_its_keys_and_no_others():
    generator = random.Random(7)
    words = [
        bytes(generator.choices(range(1, 256), k=generator.randint(1, 4))) for _ in range(6000)
    ]
    keys = {word: generator.randrange(1 << 31) for word in words[:3000]}
    units = normalizer_model.build_trie(keys)
    assert len(units) % 256 == 0
    for word in words:
        assert lookup(units, word) == keys.get(word)


def test_equal_subtrees_share_one_block():
    many = {bytes([first, second]): 5 for first in range(1, 201) for second in range(1, 65)}
    assert len(normalizer_model.build_trie(many)) <= 1024  # 12,800 keys


def test_every_code_point_is_replaced_as_the_table_says():
    table = code_points.folding_table(True, True)
    points = [c for c in range(0x30000) if not 0xD800 <= c < 0xE000]
    expected = [table.get(c, chr(c)).encode() for c in points]
    assert normalize(table, [chr(c).encode() for c in points]).tolist() == expected


def test_invalid_utf8_vanishes_as_in_decode_ignore():
    generator = random.Random(11)
    pool = [b"\xe4\xb8\xad", b"\xf0\x9f\x98\x80", b"\xc3\xa9", b"A", b"\0", b"\xed\xa0\x80"]
    texts = []
    for _ in range(10_000):
        cut = [
            p[: generator.randint(1, 4)] if generator.random() < 0.4 else p
            for p in generator.choices(pool, k=generator.randrange(9))
        ]
        texts.append(b"".join(cut))
        texts.append(bytes(generator.choices(range(256), k=generator.randrange(9))))
    got = normalize({ord("Z"): "z"}, texts)
    for text, result in zip(texts, got, strict=True):
        assert result == text.decode("utf-8", "ignore").replace("Z", "z").encode(), text


def test_a_replacement_of_64_bytes_is_refused():
    with pytest.raises(ValueError, match=r"U\+0041 must be shorter than 64 bytes; got 64"):
        normalizer_model.build_model({ord("A"): "x" * 64})
