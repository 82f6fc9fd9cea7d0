"""Training byte pairs: the rules are those of the algorithm, counted anew at each step."""

import collections
import itertools
import random

import pytest

import bertzoo
from bertzoo.tokenizers.byte_pair_vocabulary import BYTE_CHARACTERS
from tests.tokenizers import byte_pair_reference as reference

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def texts(count=200):
    generator = random.Random(3)
    stems = ["walk", "talk", "bind", "sleep", "Über", "naïve", "aaaa", "aaaaaaa", "中文字"]
    endings = ["", "s", "ed", "ing", "er", "ation", "'s"]
    return [
        " ".join(generator.choice(stems) + generator.choice(endings) for _ in range(7)) + "."
        for _ in range(count)
    ]


def learn_slowly(lines, count, min_count=2):
    """Sennrich et al. 2016, algorithm 1: all pairs counted again for every rule."""
    words = collections.Counter(word for line in lines for word in reference.words(line))
    words = {tuple(reference.spell_bytes(word.encode())): n for word, n in words.items()}
    order = {token: i for i, token in enumerate(sorted(BYTE_CHARACTERS))}
    rules = []
    while len(rules) < count:
        pairs = collections.Counter()
        for word, number in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += number
        if not pairs:
            break
        # Of equals the one of the lowest ids.
        best = min(pairs, key=lambda pair: (-pairs[pair], order[pair[0]], order[pair[1]]))
        if pairs[best] < min_count:
            break
        rules.append(best)
        order["".join(best)] = len(order)
        joined = collections.Counter()
        for word, number in words.items():
            joined[tuple(reference.join(list(word), [best]))] += number
        words = joined
    return rules


@pytest.mark.parametrize("min_count", [2, 40])
def test_rules_are_those_of_the_algorithm(min_count):
    tokenizer = bertzoo.train_tokenizer(
        texts(), 380, kind="byte_pair", progress=False, min_count=min_count
    )
    expected = learn_slowly(texts(), 380 - 261, min_count)
    assert tokenizer.merges == expected
    assert tokenizer.vocabulary == [*SPECIAL, *sorted(BYTE_CHARACTERS), *map("".join, expected)]


def test_text_comes_back_and_is_short():
    tokenizer = bertzoo.train_tokenizer(texts(), 380, kind="byte_pair", progress=False)
    ids = tokenizer(texts())
    assert [text.decode() for text in tokenizer.detokenize(ids).numpy()] == texts()
    assert ids.values.shape[0] < 0.4 * sum(len(text.encode()) for text in texts())


def test_the_same_texts_give_the_same_vocabulary_in_any_order():
    first = bertzoo.train_tokenizer(texts(), 330, kind="byte_pair", progress=False)
    shuffled = texts()
    random.Random(1).shuffle(shuffled)
    again = bertzoo.train_tokenizer(iter(shuffled), 330, kind="byte_pair", progress=False)
    assert again.files() == first.files()


def test_settings_reach_the_tokenizer_and_the_words():
    tokenizer = bertzoo.train_tokenizer(
        ["ab", " ab"] * 3, 300, kind="byte_pair", progress=False, add_prefix_space=True,
        mask_token="[MASK]", sequence_length=9,
    )  # fmt: skip
    assert tokenizer.merges == [("a", "b"), ("Ġ", "ab")]
    assert tokenizer.config.sequence_length == 9
    assert tokenizer.vocabulary[4] == "[MASK]"


def test_very_long_words_are_left_out():
    lines = ["xy" * 200, "xy" * 200, "ab ab"]
    tokenizer = bertzoo.train_tokenizer(lines, 300, kind="byte_pair", progress=False)
    assert tokenizer.merges == [("a", "b")]


@pytest.mark.parametrize(
    ("lines", "size", "settings", "message"),
    [
        (["a"], 260, {}, "must be at least 261"),
        ([""], 300, {}, "the texts hold no words \\(1 texts read\\)"),
        (["a"], 300, {"lowercase": True}, "keep case and accents"),
        (["a"], 300, {"strip_accents": True}, "keep case and accents"),
    ],
)
def test_faults_are_named(lines, size, settings, message):
    with pytest.raises(ValueError, match=message):
        bertzoo.train_tokenizer(lines, size, kind="byte_pair", progress=False, **settings)


def test_other_kinds_are_refused():
    with pytest.raises(ValueError, match="got 'word_piece'"):
        bertzoo.train_tokenizer(["a"], 300, kind="word_piece", progress=False)
