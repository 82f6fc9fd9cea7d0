"""Pretraining recipes: all of them read, all smoke runs end in presets that tasks load."""

import pathlib

import numpy as np
import pytest

import bertzoo as bz
from bertzoo import presets
from bertzoo.training import load_recipe, run_recipe
from bertzoo.training.planning import memory
from bertzoo.training.run_log import read_log

FOLDER = presets.data_folder("recipes") / "configs"
NAMES = sorted(p.relative_to(FOLDER).with_suffix("").as_posix() for p in FOLDER.glob("pretrain/*"))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_of_ours_has_its_header_and_a_plan(name):
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    assert all(line.startswith("# ") for line in lines[:4])
    assert lines[1].startswith(f"# command: bertzoo train {name}")
    assert lines[2].startswith("# hardware and time: ")
    assert lines[3].startswith("# metric: ")
    assert lines[4] == "recipe: pretrain"
    assert max(map(len, lines)) <= 110
    recipe = load_recipe(name)
    assert load_recipe(name, smoke=True).steps <= 12
    if not recipe.model.tokenizer or not recipe.model.tokenizer.startswith("vocabularies/"):
        plan = recipe.plan()
        assert plan["tokens"] == sum(
            p.steps * p.batch_size * p.sequence_length for p in recipe.phases
        )


def test_the_plan_of_bert_base_is_the_papers():
    plan = run_recipe("pretrain/bert_base", dry_run=True)
    assert plan["parameters"] == 109_482_240
    assert plan["steps"] == 1_000_000
    assert plan["tokens"] == 900_000 * 256 * 128 + 100_000 * 256 * 512
    # 69.9 and 300.9 GFLOP a row of 128 and 512 tokens.
    expected = 900_000 * 256 * 69.9e9 + 100_000 * 256 * 300.9e9
    assert plan["operations"] == pytest.approx(expected, rel=2e-3)


def test_memory_counts_weights_moments_and_activations():
    recipe = load_recipe("pretrain/bert_base", {"phases": [
        {"records": ["synthetic"], "steps": 1, "batch_size": 1, "sequence_length": 512,
         "max_predictions": 1}
    ], "evaluation.records": []})  # fmt: skip
    config = bz.BackboneConfig.from_preset("bert_base_en_uncased")
    # Korthikanti et al. 2022: s b h (34 + 5 a s / h) bytes for each of 12 layers; norms (4 of the
    # 34) and what the activation reads (8) are in 32 bits here.
    layers = 12 * 512 * 768 * (34 + 4 + 8 + 5 * 12 * 512 / 768)
    expected = 109_482_240 * 18 + layers + 30522 * 8
    assert memory(recipe, config, 1) == pytest.approx(expected)


def run_smoke(name, tmp_path, **changes):
    output = str(tmp_path / "run")
    result = run_recipe(
        f"pretrain/{name}",
        {"output": output, "training.tensorboard": False, **changes},
        smoke=True,
    )
    return pathlib.Path(output), result


def test_berts_recipe_ends_in_a_preset_that_every_task_loads(tmp_path):
    run, result = run_smoke("bert_base", tmp_path)
    assert result["steps"] == 12
    rows, held_out, _ = read_log(str(run / "log.jsonl"))
    assert rows[-1]["step"] == held_out[-1]["step"] == 12
    assert {"mfu", "tokens_per_second", "learning_rate"} <= set(rows[-1])
    preset = result["preset"]
    assert bz.MaskedLM.from_preset(preset).fill("a [MASK]", top_k=1)
    classifier = bz.TextClassifier.from_preset(preset, num_classes=2)
    assert classifier.network.head.input == "pooled"  # next sentences trained the pooler
    assert bz.TextEmbedder.from_backbone(classifier.backbone, classifier.preprocessor).predict(
        ["a cat"], verbose=0
    ).shape == (1, 128)
    # The same command again finds that all is done.
    again = run_recipe("pretrain/bert_base", {"output": str(run), "training.tensorboard": False},
                       smoke=True)  # fmt: skip
    assert again["steps"] == 12


@pytest.mark.slow
@pytest.mark.parametrize("name", [n.partition("/")[2] for n in NAMES if n != "pretrain/bert_base"])
def test_every_other_recipe_runs(name, tmp_path):
    _, result = run_smoke(name, tmp_path)
    assert np.isfinite(result["loss"])
    backbone = bz.Backbone.from_preset(result["preset"])
    assert all(np.isfinite(weight.numpy()).all() for weight in backbone.weights)


@pytest.mark.slow
def test_going_on_from_a_preset_leaves_an_unread_pooler_alone(tmp_path):
    _, result = run_smoke("domain_adaptive", tmp_path, **{"phases.0.steps": 2})
    before, after = (bz.Backbone.from_preset(source) for source in ("bert_toy", result["preset"]))
    for name, same in (("pooler", True), ("layer_0", False)):
        pairs = zip(
            before.get_layer(name).get_weights(), after.get_layer(name).get_weights(), strict=True
        )
        assert all(np.array_equal(a, b) for a, b in pairs) == same


@pytest.mark.parametrize(("change", "message"), [
    ({"model": {"preset": "bert_toy"}}, "an `architecture`, and not both"),
    ({"model.tokenizer": None}, "needs model.tokenizer"),
    ({"objective.name": "replaced_tokens"}, "belong together"),
    ({"objective.name": "next_sentense"}, "did you mean `next_sentence`"),
    ({"phases.0.learning_rate": 1.0e-3}, "every phase has a learning_rate"),
    ({"phases": []}, "at least one phase"),
    ({"phases.0.records": []}, "needs records"),
    ({"phases.0.batch_size": 0}, "batch_size must be at least 1"),
    ({"evaluation.records": ["a", "b", "c"]}, "one for each of the 2 phases"),
    ({"optimizer.name": "adam"}, "one of adamw, lamb"),
    ({"training.precision": "bfloat16"}, "did you mean `mixed_bfloat16`"),
    ({"schedule.name": "cosine"}, "one of warmup_polynomial"),
])  # fmt: skip
def test_mistakes_in_a_recipe_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        load_recipe("pretrain/bert_base", change)


@pytest.mark.parametrize(("change", "message"), [
    ({"phases.0.sequence_length": 64}, "64 tokens a row, and the model at most 32"),
    ({"model.config.vocabulary_size": 50}, "has 86 tokens, and the model rows for 50"),
    ({"phases.0.batch_size": 7, "phases.0.accumulation": 2}, "multiple of 2"),
    ({"model.tokenizer_config.lowercase": True}, "are for a vocabulary file"),
])  # fmt: skip
def test_what_does_not_fit_is_named_before_the_run(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run_smoke("bert_base", tmp_path, **change)
    assert not (tmp_path / "run/checkpoints").exists()


TEXT = "\n".join(
    "\n".join(f"the {noun} was {word} at the {place} ." for place in ("mat", "city", "film"))
    + ("\n" if noun == "cat" else "")
    for noun in ("cat", "dog", "paris", "london")
    for word in ("good", "bad", "great")
)


@pytest.fixture
def records(tmp_path):
    prepare = pytest.importorskip("bertzoo.corpus.prepare")
    manifest = pytest.importorskip("bertzoo.corpus.manifest")
    (tmp_path / "text.txt").write_text(TEXT)
    tokenizer = bz.MaskedLM.from_preset("bert_toy").preprocessor.tokenizer
    options = manifest.RecordOptions(sequence_length=24, num_shards=3, passes=4)
    prepare.prepare_records(
        tokenizer, [str(tmp_path / "text.txt")], str(tmp_path / "records"), options, workers=1
    )
    return str(tmp_path / "records")


@pytest.mark.long
def test_records_are_learnt_from(records, tmp_path):
    _, result = run_smoke("bert_base", tmp_path, **{
        "phases": [{"records": [records], "steps": 30, "batch_size": 16, "sequence_length": 24}],
        "evaluation.records": [records], "optimizer.learning_rate": 3.0e-3,
    })  # fmt: skip
    rows, _, _ = read_log(str(tmp_path / "run/log.jsonl"))
    assert result["held_out_masked_lm"] < rows[0]["masked_lm"] - 1.0


def test_rows_of_two_replicas_are_those_of_one(records):
    from bertzoo.training.sources import RecordSource

    source = RecordSource(records, 86, seed=4)
    whole = iter(source.dataset(8, 8, range(1), 1))
    halves = iter(source.dataset(8, 8, range(2), 2))
    second = iter(source.dataset(8, 8, range(1, 2), 2))
    for _ in range(3):
        expected = next(whole)["token_ids"].numpy()
        both = [next(halves)["token_ids"].numpy() for _ in range(2)]
        np.testing.assert_array_equal(np.concatenate(both), expected)
        np.testing.assert_array_equal(next(second)["token_ids"].numpy(), both[1])


def test_several_directories_are_a_mixture(records):
    from bertzoo.training.sources import RecordSource

    source = RecordSource([records, records], 86, seed=4, exponent=0.7)
    assert source.num_examples == 2 * RecordSource(records, 86).num_examples
    batch = next(iter(source.dataset(0, 4, range(1), 1)))
    assert batch["token_ids"].shape == (4, 24)
    assert {row["file"].rpartition("/")[0] for row in source.identity(0, 4)} == {records}


@pytest.mark.parametrize(("change", "message"), [
    ({"phases.0.sequence_length": 16}, "rows of 24 tokens, and the phase says sequence_length: 16"),
    ({"objective.name": "sentence_order"}, "needs records of the mode sentence_order"),
])  # fmt: skip
def test_records_that_do_not_fit_are_named(records, tmp_path, change, message):
    phases = [{"records": [records], "steps": 2, "batch_size": 4, "sequence_length": 24}]
    with pytest.raises(ValueError, match=message):
        run_smoke("bert_base", tmp_path, **{"phases": phases, "evaluation.records": [], **change})
