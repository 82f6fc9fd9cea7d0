"""Cutting long texts: nothing is lost, and no part is too long."""

import random

import tensorflow as tf

from bertzoo.tokenizers import long_texts


def test_parts_are_short_and_make_up_the_texts():
    generator = random.Random(3)
    for max_bytes in (8, 9, 50):
        texts = [
            "".join(generator.choices("ab é☃😀  ", k=generator.choice([0, 1, 5, 30, 200])))
            for _ in range(40)
        ]
        parts = long_texts.cut(tf.constant(texts), max_bytes)
        pieces = parts.texts.numpy().tolist()
        assert max(map(len, pieces)) <= max_bytes
        splits = parts.row_splits.numpy()
        for row, text in enumerate(texts):
            own = pieces[splits[row] : splits[row + 1]]
            assert b"".join(own) == text.encode()
            assert [piece.decode() for piece in own]  # whole characters
            lengths = [sum(map(len, own[:i])) for i in range(len(own))]
            assert parts.starts.numpy()[splits[row] : splits[row + 1]].tolist() == lengths


def test_cuts_are_made_before_spaces_where_there_are_any():
    parts = long_texts.cut(tf.constant(["abc " * 100]), 20).texts.numpy().tolist()
    assert all(part.startswith(b" ") for part in parts[1:])


def test_short_texts_stay_whole():
    texts = tf.constant(["", "a b", "x" * 20])
    parts = long_texts.cut(texts, 20)
    assert parts.texts.numpy().tolist() == texts.numpy().tolist()
    assert parts.row_splits.numpy().tolist() == [0, 1, 2, 3]
