"""Distillation by recipe: what a file may say, what a run leaves behind, and going on with it."""

import json
import re
import weakref

import keras
import numpy as np
import pytest

import bertzoo
from bertzoo import presets
from bertzoo.corpus.manifest import RecordOptions
from bertzoo.corpus.prepare import prepare_records
from bertzoo.training import load_recipe, run_recipe
from bertzoo.training.distillation import run as distillation_run
from bertzoo.training.loop import Loop

NAMES = sorted(path.stem for path in (presets.data_folder("recipes") / "configs/distill").iterdir())
# Teachers that an earlier recipe makes.
TEACHERS = {name: load_recipe(f"distill/{name}").teacher.preset for name in NAMES}
WITH_PRESETS = [name for name, teacher in TEACHERS.items() if not teacher.startswith("runs/")]


def smoke(name, output, **changes):
    return run_recipe(f"distill/{name}", {"output": str(output), **changes}, smoke=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_has_a_header_of_four_lines_and_a_smoke_run(name):
    path = presets.data_folder("recipes") / "configs/distill" / f"{name}.yaml"
    lines = path.read_text().splitlines()
    assert all(line.startswith("# ") for line in lines[:4])
    assert lines[4] == "recipe: distill"
    assert f"bertzoo train distill/{name}" in lines[1]
    recipe = load_recipe(path, smoke=True)
    assert recipe.teacher.preset == "bert_toy"
    assert recipe.output == f"runs/smoke/{name}"


def test_what_a_recipe_takes_from_a_run_another_recipe_leaves():
    configs = presets.data_folder("recipes") / "configs"
    texts = {path: path.read_text() for path in configs.rglob("*.yaml")}
    outputs = {line[8:] for text in texts.values() for line in text.splitlines()
               if line.startswith("output: ")}  # fmt: skip
    for path, text in texts.items():
        for taken in re.findall(r"preset: (runs/\w+)/preset", text):
            assert taken in outputs, path


@pytest.mark.parametrize("name", WITH_PRESETS)
def test_a_plan_needs_no_weights(name):
    plan = run_recipe(f"distill/{name}", dry_run=True)
    assert plan["student_parameters"] < plan["teacher_parameters"]


@pytest.mark.parametrize(
    ("name", "student"),
    [
        ("distilbert", "distilbert_base_en_uncased"),
        ("distilroberta", "distilroberta_base_en"),
        ("distilbert_multilingual", "distilbert_base_multi_cased"),
        ("tinybert_general", "tinybert_l4_h312_en_uncased"),
    ],
)
def test_a_recipe_makes_the_published_architecture(name, student):
    config = bertzoo.BackboneConfig.from_preset(student)
    plan = run_recipe(f"distill/{name}", dry_run=True)
    assert plan["student"] == config.to_dict(defaults=False)
    assert plan["student_parameters"] == config.parameter_count()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages.0.losses.soft_target": 1.0}, "unknown key `soft_target`.* did you mean `soft_t"),
        ({"stages.0.losses.soft_targets.temp": 1.0}, "`temp` in losses.soft_targets"),
        ({"stages.0.steps": 5}, "either epochs or steps"),
        ({"student.preset": "bert_toy"}, "a student is one of .*; got preset and layers"),
        ({"student.segments": "none"}, "segments must be one of keep, drop, fold"),
        ({"teacher.stored": True}, "logits of all words are too many to store"),
        ({"text": None}, "`task: text` has a section `text`"),
        ({"task": "classification"}, "every other task has `data`"),
        ({"stages": []}, "at least one stage"),
        ({"student": {"layers": None, "segments": "keep", "pooler": True,
                      "config": {"layers": 3}}}, "unknown key `layers` in student.config"),
        ({"text.held_out": 0.0}, "held_out must be in"),
        ({"text.records": ["records"]}, "`records` or `files`, and not both"),
        ({"text.files": []}, "`records` or `files`, and not both"),
    ],
)  # fmt: skip
def test_mistakes_in_a_recipe_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        load_recipe("distill/distilbert", changes)


@pytest.mark.long
def test_a_run_leaves_a_preset_and_a_table(tmp_path):
    teacher = bertzoo.MaskedLM.from_preset("bert_toy")
    teacher.describe(description="A teacher.", metrics={"dev accuracy": 0.123456})
    teacher.save_to_preset(tmp_path / "teacher")
    changes = {"teacher.preset": str(tmp_path / "teacher")}
    results = smoke("small_text", tmp_path / "run", **changes)
    assert results["preset"] == str(tmp_path / "run" / "preset")
    student = bertzoo.MaskedLM.from_preset(results["preset"])
    config = bertzoo.BackboneConfig.from_preset("bert_toy")
    expected = config.replace(num_layers=1, num_segments=0, pooler=False)
    assert student.backbone.config == expected
    table = json.loads((tmp_path / "run" / "comparison.json").read_text())
    heads = {m["name"]: m["parameters"] for m in table["models"]}
    assert heads["student"] == student.network.count_params()
    card = (tmp_path / "run" / "preset" / "README.md").read_text()
    assert f"Distilled from `{tmp_path / 'teacher'}` on text." in card
    # Its own numbers, not the teacher's.
    assert f"| dev masked_lm_accuracy | {round(results['student_masked_lm_accuracy'], 4)} |" in card
    assert "A teacher." not in card
    assert "0.1235" not in card
    assert "these are left: 0" in card
    assert f"| parameters | {heads['teacher']:,} | {heads['student']:,} |" in card
    assert len(student.fill("the [MASK] sat.", top_k=2)) == 2


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_bit_by_bit(tmp_path, monkeypatch):
    changes = {"stages.0.steps": 4, "training.checkpoint_every": 1, "training.steps_per_call": 1}
    whole = smoke("small_text", tmp_path / "whole", **changes)

    class Stop(Exception):
        pass

    run_phase, save = Loop._run_phase, Loop._save

    def saving(self, step):
        save(self, step)
        if step == 2:
            raise Stop

    monkeypatch.setattr(Loop, "_save", saving)
    with pytest.raises(Stop):
        smoke("small_text", tmp_path / "parts", **changes)
    monkeypatch.setattr(Loop, "_save", save)
    assert Loop._run_phase is run_phase
    parts = smoke("small_text", tmp_path / "parts", **changes)
    weights = [
        bertzoo.MaskedLM.from_preset(result["preset"]).get_weights() for result in (whole, parts)
    ]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("masking", ["token", "frequency"])
def test_text_may_be_records_that_were_prepared(tmp_path, masking):
    tokenizer = bertzoo.MaskedLM.from_preset("bert_toy").tokenizer
    text = presets.data_folder("recipes") / "toy" / "text.txt"
    options = RecordOptions(mode="full_sentences", sequence_length=16)
    prepare_records(tokenizer, [str(text)], str(tmp_path / "records"), options, workers=1)
    records = [str(tmp_path / "records")]
    changes = {"files": [], "records": records, "held_out_records": records, "masking": masking}
    results = smoke("small_text", tmp_path / "run", text=changes)
    assert 0.0 <= results["student_masked_lm_accuracy"] <= 1.0


@pytest.mark.slow
def test_a_student_of_hidden_states_alone_has_no_head_for_words(tmp_path):
    results = smoke("minilm_v2", tmp_path / "run")
    backbone = bertzoo.Backbone.from_preset(results["preset"])
    assert (backbone.config.hidden_dim, backbone.config.num_heads) == (12, 3)
    with pytest.raises(ValueError, match="has no masked_lm head"):
        bertzoo.MaskedLM.from_preset(results["preset"])
    assert bertzoo.TextEmbedder.from_preset(results["preset"]).predict(["a cat"]).shape == (1, 12)


def test_teacher_and_student_with_other_words_are_refused(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(81))]
    config = bertzoo.BackboneConfig.from_preset("bert_toy")
    preprocessor = bertzoo.Preprocessor(bertzoo.WordPieceTokenizer(words), sequence_length=16)
    assert len(words) == config.vocabulary_size
    task = bertzoo.MaskedLM.from_backbone(bertzoo.Backbone(config), preprocessor)
    task.save_to_preset(tmp_path / "other")
    with pytest.raises(ValueError, match=r"token 5 of the student is 'w0', of the teacher '.'"):
        smoke(
            "small_text",
            tmp_path / "run",
            student={"layers": None, "segments": "keep", "pooler": True,
                     "preset": str(tmp_path / "other")},
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_teacher_without_a_head_for_words_teaches_none(tmp_path):
    bertzoo.TextEmbedder.from_preset("bert_toy").save_to_preset(tmp_path / "encoder")
    with pytest.raises(ValueError, match="encoder has no masked_lm head, so it cannot say which"):
        smoke("small_text", tmp_path / "run", **{"teacher.preset": str(tmp_path / "encoder")})


def test_a_student_with_other_labels_than_its_teacher_is_refused(tmp_path):
    other = bertzoo.TextClassifier.from_preset("bert_toy", labels=["positive", "negative"])
    other.save_to_preset(tmp_path / "other")
    changes = {"student.preset": str(tmp_path / "other"), "student.layers": None}
    with pytest.raises(ValueError, match="student are positive, negative, of the teacher negative"):
        smoke("task_classification", tmp_path / "run", **changes)


@pytest.mark.slow
def test_two_stages_train_one_student(tmp_path):
    results = smoke("tinybert_sst2", tmp_path / "run")
    made = {item.name for item in (tmp_path / "run").iterdir()}
    assert {"stage_1", "stage_2", "augmented.json", "preset", "comparison.md"} <= made
    student = bertzoo.TextClassifier.from_preset(results["preset"])
    assert student.labels == ("negative", "positive")
    assert 0.0 <= results["student_accuracy"] <= 1.0
    copies = json.loads((tmp_path / "run" / "augmented.json").read_text())["copies"]["text"]
    assert {len(row) for row in copies} == {2}


@pytest.mark.slow
def test_a_stored_teacher_gives_the_same_student(tmp_path, monkeypatch):
    live = smoke("task_stored", tmp_path / "live", **{"teacher.stored": False})
    stored = smoke("task_stored", tmp_path / "stored")
    assert (tmp_path / "stored" / "teacher_outputs.npz").is_file()
    weights = [
        bertzoo.TextClassifier.from_preset(result["preset"]).get_weights()
        for result in (live, stored)
    ]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    # The teacher's memory is free while the student trains.
    made = []
    release = distillation_run.Models.release_teacher

    def noticed(self):
        before = weakref.ref(self.teacher.network)
        release(self)
        made.append(before())

    monkeypatch.setattr(distillation_run.Models, "release_teacher", noticed)
    # A second start reads them: the teacher is not asked again.
    monkeypatch.setattr(distillation_run.stored, "store_outputs", None)
    smoke("task_stored", tmp_path / "stored")
    assert made == [None]


@pytest.mark.slow
def test_a_bilstm_student_is_a_keras_file_beside_its_vocabulary(tmp_path):
    results = smoke("docbert_bilstm", tmp_path / "run")
    student = keras.saving.load_model(results["preset"])
    assert student.output["logits"].shape == (None, 2)
    words = (tmp_path / "run" / "vocabulary.txt").read_text().splitlines()
    assert len(words) == 86


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_smoke_run_of_every_recipe_passes(name, tmp_path):
    assert smoke(name, tmp_path / "run")["loss"] > 0
