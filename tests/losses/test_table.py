"""Losses by name: what a recipe may say, and what it is told."""

import numpy as np
import pytest

from bertzoo.losses import LOSSES, layer_map, losses_from
from tests.losses.outputs import outputs
from tests.losses.test_losses import run

STUDENT = outputs(1, layers=2, width=20, heads=4)
WIDER = outputs(3, layers=4, width=36, heads=6)


def test_the_published_methods_are_in_the_table():
    assert set(LOSSES) >= {
        *("soft_targets", "soft_labels", "masked_soft_targets", "masked_lm", "last_hidden_cosine"),
        *("embedding_layer_mse", "hidden_states_mse", "attention_scores_mse"),
        *("soft_cross_entropy", "attention_relation", "value_relation", "query_relation"),
        *("key_relation", "sentence_mse", "sentence_similarity", "single_label", "multi_label"),
        *("regression", "token_labels", "spans", "soft_multi_label", "logits_mse", "soft_spans"),
    }


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_loss_says_what_it_is(name):
    assert LOSSES[name].function.__doc__
    assert LOSSES[name].reads
    assert all(default is not None or option == "relation_heads"
               for option, default in LOSSES[name].options.items())  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"soft_target": 1.0}, "unknown key `soft_target` in losses; did you mean `soft_targets`"),
        ({"soft_targets": {"temprature": 2.0}}, "`temprature` in losses.soft_targets"),
        ({"masked_lm": -1.0}, "losses.masked_lm: weight must be a positive number; got -1.0"),
        ({"masked_lm": True}, "positive number; got True"),
        ({}, "must name at least one of"),
    ],
)
def test_mistakes_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        losses_from(values)


def test_options_reach_the_function():
    (loss,) = losses_from({"masked_soft_targets": {"weight": 3, "temperature": 1.0}})
    from tests.losses.test_losses import BATCH

    expected = run("masked_soft_targets", STUDENT, WIDER, temperature=1.0)
    np.testing.assert_array_equal([float(x) for x in loss(STUDENT, WIDER, BATCH)], expected)
    assert loss.weight == 3.0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("uniform", 4, 12), (3, 6, 9, 12)),
        (("uniform", 6, 12), (2, 4, 6, 8, 10, 12)),
        (("uniform", 4, 6), (2, 3, 5, 6)),
        (("top", 6, 12), (7, 8, 9, 10, 11, 12)),
        (("bottom", 2, 12), (1, 2)),
        (([2, 2], 2, 3), (2, 2)),
    ],
)
def test_layer_maps(arguments, expected):
    assert layer_map(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("even", 2, 6), "unknown key `even`"),
        (("uniform", 6, 4), "at least the student's 6 layers; it has 4"),
        (([1, 7], 2, 6), "from 1 to 6; got 7"),
        (([0, 1], 2, 6), "from 1 to 6; got 0"),
        (([1], 2, 6), "the student's 2 layers; got 1"),
    ],
)
def test_layer_maps_that_fit_nothing_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        layer_map(*arguments)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hidden_states_mse", {}, "hidden states one by one; the student has 20, the teacher 36"),
        (
            "attention_scores_mse",
            {},
            "attention heads one by one; the student has 4, the teacher 6",
        ),
        ("attention_relation", {}, "attention heads"),
        ("value_relation", {}, "set relation_heads"),
        ("value_relation", {"relation_heads": 3}, "must divide the width .* 20; got 3"),
        ("attention_relation", {"teacher_layer": 5}, "from 1 to 4.*got 5"),
        ("sentence_mse", {}, "numbers of a vector"),
    ],
)
def test_sizes_that_do_not_fit_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        run(name, STUDENT, WIDER, **options)
