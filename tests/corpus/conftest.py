"""A corpus of made-up words, long enough for pairs, and a tokenizer of it."""

import random

import pytest

from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [f"w{number}" for number in range(200)]


@pytest.fixture(scope="session")
def tokenizer():
    return WordPieceTokenizer([*SPECIAL, *WORDS, *(f"##{digit}" for digit in range(10)), "w"])


def make_text(seed, documents=40, sentences=12, words=14):
    """Documents of sentences of words, each of a random size."""
    rng = random.Random(seed)
    return "\n\n".join(
        "\n".join(
            " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, words)))
            for _ in range(rng.randint(1, sentences))
        )
        for _ in range(documents)
    )


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Two files of text, of 60 documents."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "a.txt").write_text(make_text(1, 40))
    (folder / "b.txt").write_text(make_text(2, 20))
    return [str(folder / "a.txt"), str(folder / "b.txt")]
