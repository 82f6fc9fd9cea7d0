"""The SentencePiece model of a list of rules against the rules, carried out one by one."""

import itertools
import random

import pytest
import tensorflow_text as tf_text

from bertzoo.tokenizers.byte_pair import BytePairTokenizer
from bertzoo.tokenizers.byte_pair_model import build_sentencepiece_model, making_rules
from bertzoo.tokenizers.byte_pair_vocabulary import BYTE_CHARACTERS
from tests.tokenizers import byte_pair_reference as reference

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def random_rules(generator):
    """Rules in an order in which they can be learnt; not all of them ever apply."""
    alphabet = "abc"[: generator.randint(1, 3)]
    tokens, rules = list(alphabet), []
    for _ in range(generator.randint(1, 12)):
        rule = (generator.choice(tokens), generator.choice(tokens))
        token = "".join(rule)
        if rule not in rules and len(token) < 10:
            rules.append(rule)
            tokens += [token] * (token not in tokens)
    return alphabet, tokens, rules


def test_the_rule_that_makes_a_token_is_the_last_one_in_spelling_it():
    generator = random.Random(1)
    dead = checked = 0
    for _ in range(3000):
        _, tokens, rules = random_rules(generator)
        try:
            found = making_rules(tokens, rules)
        except ValueError:  # a part that only a later rule makes
            continue
        for index, token in enumerate(tokens):
            if len(token) > 1:
                checked += 1
                whole = reference.join(list(token), rules) == [token]
                dead += not whole
                assert (index in found) == whole, (rules, token)
                if whole:  # without its rule the token is not made
                    others = [rule for i, rule in enumerate(rules) if i != found[index]]
                    assert reference.join(list(token), others) != [token]
    assert checked > 10_000
    assert dead > 1000


def test_tokens_are_those_of_the_rules_for_any_list_of_rules():
    generator = random.Random(2)
    for _ in range(40):
        alphabet, tokens, rules = random_rules(generator)
        try:
            making_rules(tokens, rules)
        except ValueError:  # a part that only a later rule makes
            continue
        tokens = [*SPECIAL, *BYTE_CHARACTERS, *(token for token in tokens if len(token) > 1)]
        tokenizer = BytePairTokenizer(tokens, rules)
        texts = ["".join(t) for n in range(1, 6) for t in itertools.product(alphabet, repeat=n)]
        texts += ["".join(generator.choices(alphabet, k=40)) for _ in range(50)]
        for text, ids in zip(texts, tokenizer(texts).to_list(), strict=True):
            assert [tokens[i] for i in ids] == reference.join(list(text), rules), (rules, text)


def test_a_rule_before_that_of_its_part_is_refused():
    # "ab c" comes first, and "ab" is only made afterwards.
    with pytest.raises(ValueError, match="rule 1 of the merges uses the token 'ab', which only"):
        making_rules(["a", "b", "c", "ab", "abc"], [("ab", "c"), ("a", "b")])


def test_ids_of_the_model_are_those_of_the_vocabulary():
    tokens = ["<unk>", "x<y", *BYTE_CHARACTERS, "ab", "never", "abab"]
    rules = making_rules(tokens, [("a", "b"), ("ab", "ab")])
    assert rules == {tokens.index("ab"): 0, tokens.index("abab"): 1}
    model = tf_text.SentencepieceTokenizer(build_sentencepiece_model(tokens, rules, unknown_id=0))
    assert int(model.vocab_size()) == len(tokens)
    texts = ["ababab", "x<y", "never", "<unk>", "\u0100\xff \n"]
    expected = [["abab", "ab"], list("x<y"), list("never"), list("<unk>"),
                [BYTE_CHARACTERS[byte] for byte in (0, 255, 32, 10)]]  # fmt: skip
    assert [[tokens[i] for i in row] for row in model.tokenize(texts).to_list()] == expected
