"""Fine-tuning by a recipe: what it learns, what it writes, how it goes on, what it refuses."""

import io
import json
import re
import statistics

import numpy as np
import pytest

import bertzoo as bz
from bertzoo import cli, presets, reports
from bertzoo.training import load_recipe, run_recipe
from bertzoo.training.finetuning import progress, run, trial
from bertzoo.training.finetuning.embeddings import Embeddings
from bertzoo.training.finetuning.examples import find_file, read_parts
from bertzoo.training.finetuning.kinds import Kind, kind_of
from bertzoo.training.stopping import Stopped


@pytest.fixture
def eagerly(monkeypatch):
    """Run step by step, without pictures: graphs of little runs would take most of the time."""
    monkeypatch.setattr(reports, "can_plot", lambda: False)
    for kind in (Kind, Embeddings):
        monkeypatch.setattr(kind, "compile", _eager(kind.compile))


def _eager(compile_):
    def compile_eagerly(self, task, optimizer, train):
        compile_(self, task, optimizer, train)
        task.run_eagerly = True

    return compile_eagerly


def smoke(name, tmp_path, **changes):
    return run_recipe(
        f"finetune/{name}",
        {"output": str(tmp_path / "run"), "data.limit": 8, **changes},
        smoke=True,
    )


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


# === What a run leaves behind ===


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    """A run with two rates and two seeds, compiled as usual, and its results."""
    folder = tmp_path_factory.mktemp("classified")
    overrides = {
        "output": str(folder / "run"),
        "training.learning_rate": [1.0e-2, 1.0e-9],
        "training.seeds": [3, 4],
        "training.epochs": 2,
        "evaluation.errors": 2,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kind, "compile", _eager(Kind.compile))
        patch.setattr(reports, "can_plot", lambda: False)
        return folder / "run", run_recipe("finetune/glue_mnli", overrides, smoke=True)


@pytest.mark.long
def test_the_best_rate_is_tried_with_all_seeds_and_their_mean_is_given(classified):
    folder, returned = classified
    results = read_json(folder / "results.json")
    tried = sorted(path.name for path in (folder / "trials").iterdir())
    assert len(tried) == 3
    first = {rate: read_json(folder / "trials" / f"rate-{rate}_seed-3" / "outcome.json")
             for rate in ("0.01", "1e-09")}  # fmt: skip
    best = max(first.values(), key=lambda one: one["dev"]["accuracy"])
    assert results["learning_rate"] == best["rate"]
    values = [one["dev"]["accuracy"] for one in results["trials"]]
    assert [one["seed"] for one in results["trials"]] == [3, 4]
    assert results["dev"]["accuracy"]["mean"] == pytest.approx(statistics.mean(values))
    assert results["dev"]["accuracy"]["std"] == pytest.approx(statistics.stdev(values))
    assert returned["dev_accuracy"] == results["dev"]["accuracy"]["mean"]
    assert set(results["others"]) == {"dev_mismatched"}
    assert results["rows"] == {
        "train": 12, "dev": 6, "test": 6, "dev_mismatched": 6, "test_mismatched": 6
    }  # fmt: skip


@pytest.mark.long
def test_the_files_of_a_run_agree_with_each_other(classified):
    folder, _ = classified
    results, metrics = read_json(folder / "results.json"), read_json(folder / "metrics.json")
    best = next(one for one in results["trials"] if one["seed"] == results["best_seed"])
    assert metrics["dev"] == best["dev"]
    lines = (folder / "predictions" / "dev" / "all.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    glue = (folder / "predictions" / "dev" / "MNLI-m.tsv").read_text().splitlines()
    assert [line.split("\t")[1] for line in glue[1:]] == [row["label"] for row in rows]
    assert (folder / "predictions" / "test_mismatched" / "MNLI-mm.tsv").exists()
    confusion = [line.split("\t") for line in (folder / "confusion.tsv").read_text().splitlines()]
    counts = np.array([[int(cell) for cell in line[1:]] for line in confusion[1:]])
    assert np.trace(counts) / counts.sum() == pytest.approx(metrics["dev"]["accuracy"])
    wrong = counts.sum() - np.trace(counts)
    errors = (folder / "errors.tsv").read_text().splitlines()
    assert len(errors) == 1 + min(wrong, 2)


@pytest.mark.long
def test_the_preset_of_a_run_answers_as_the_run_did(classified, capsys):
    folder, _ = classified
    rows = [json.loads(line) for line in
            (folder / "predictions" / "dev" / "all.jsonl").read_text().splitlines()]  # fmt: skip
    classifier = bz.TextClassifier.from_preset(folder / "preset")
    answers = classifier.classify([(row["text"], row["text_pair"]) for row in rows])
    assert [one.label for one in answers] == [row["label"] for row in rows]
    card = (folder / "preset" / "README.md").read_text()
    metrics = read_json(folder / "metrics.json")
    assert f"| dev accuracy | {round(metrics['dev']['accuracy'], 4)} |" in card
    assert "Fine-tuned from `bert_toy`." in card
    # And `bertzoo evaluate` measures what the run has measured.
    file = find_file(load_recipe("finetune/glue_mnli", smoke=True).data, "dev_matched.tsv")
    words = ["evaluate", str(folder / "preset"), "--data", str(file), "--glue-task", "MNLI"]
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == pytest.approx(metrics["dev"])


@pytest.mark.long
def test_a_finished_run_is_only_read(classified, monkeypatch):
    folder, returned = classified
    monkeypatch.setattr(Kind, "fit", None)
    recipe = read_json(folder / "recipe.json")
    assert recipe["training"]["seeds"] == [3, 4]
    overrides = {
        "output": str(folder), "training.learning_rate": [1.0e-2, 1.0e-9],
        "training.seeds": [3, 4], "training.epochs": 2, "evaluation.errors": 3,
    }  # fmt: skip
    again = run_recipe("finetune/glue_mnli", overrides, smoke=True)
    assert again == pytest.approx(returned)


@pytest.mark.long
def test_another_recipe_does_not_go_on_with_a_run(classified):
    folder, _ = classified
    with pytest.raises(ValueError, match=r"begun with another recipe: training.epochs was 2, is 3"):
        run_recipe("finetune/glue_mnli", {"output": str(folder), "training.epochs": 3}, smoke=True)
    with pytest.raises(ValueError, match="holds no run to go on with"):
        run_recipe("finetune/glue_mnli", {"output": str(folder / "x")}, smoke=True, resume=True)
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        run_recipe("finetune/glue_mnli", {"output": str(folder / "preset")}, smoke=True)


# === One run of each other kind ===


ONE_OF_EACH_KIND = [
    ("conll2003", "f1", "conll.txt"),
    ("squad_v2", "f1", "predictions.json"),
    pytest.param("patent_sections", "micro_f1", None, marks=pytest.mark.long),
    pytest.param("glue_stsb", "spearman", "STS-B.tsv", marks=pytest.mark.long),
    pytest.param("codah", "accuracy", None, marks=pytest.mark.long),
    pytest.param("sbert_nli", "spearman", None, marks=pytest.mark.long),
]
ALL = (presets.data_folder("recipes") / "configs" / "finetune").glob("*.yaml")
OTHERS = sorted({path.stem for path in ALL} - {getattr(one, "values", one)[0]
                                               for one in ONE_OF_EACH_KIND})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "metric", "official"),
    [*ONE_OF_EACH_KIND, *(pytest.param(one, None, None, marks=pytest.mark.slow) for one in OTHERS)],
)
def test_a_run_of_each_kind_ends_with_a_preset_that_is_measured_alike(
    name, metric, official, tmp_path, eagerly
):
    results = smoke(name, tmp_path)
    folder = tmp_path / "run"
    numbers = read_json(folder / "metrics.json")["dev"]
    metric = metric or kind_of(load_recipe(f"finetune/{name}")).metric
    assert numbers[metric] == pytest.approx(results[f"dev_{metric}"])
    assert (folder / "errors.tsv").exists()
    if official is not None:
        assert (folder / "predictions" / "dev" / official).stat().st_size > 0
    # The preset under its own head, without the recipe's training.
    recipe = load_recipe(
        f"finetune/{name}",
        {"model.preset": str(folder / "preset"), "model.keep_head": True, "output": "x",
         "evaluation.tune": False, "data.limit": 8},
        smoke=True,
    )  # fmt: skip
    kind = kind_of(recipe)
    parts = read_parts(kind)
    task = kind.make(parts["train"])
    assert kind.measure(task, parts["dev"]) == pytest.approx(numbers, abs=1e-4)


# === How it learns ===


class Killed(BaseException):
    """As a signal that cannot be caught."""


@pytest.mark.slow  # tests/tasks/test_resuming.py kills a `fit`
def test_a_run_that_is_killed_ends_as_one_that_was_not(tmp_path, monkeypatch, eagerly):
    changes = {"training.epochs": 3, "training.learning_rate": 5.0e-3}
    smoke("glue_rte", tmp_path / "whole", **changes)
    on_epoch_end, seen = trial.BestEpoch.on_epoch_end, []

    def killed_in_epoch(number):
        def die(self, epoch, logs=None):
            seen.append(epoch)
            if epoch == number and seen.count(epoch) == 1:
                raise Killed
            on_epoch_end(self, epoch, logs)

        return die

    # Killed when the second epoch was trained and not yet measured; then after it was measured.
    monkeypatch.setattr(trial.BestEpoch, "on_epoch_end", killed_in_epoch(1))
    with pytest.raises(Killed):
        smoke("glue_rte", tmp_path / "killed", **changes)
    assert seen == [0, 1]

    def die_when_saved(self, epoch, logs=None):
        on_epoch_end(self, epoch, logs)
        if epoch == 1 and seen.count(1) == 1:
            seen.append(1)
            raise Killed

    monkeypatch.setattr(trial.BestEpoch, "on_epoch_end", die_when_saved)
    with pytest.raises(Killed):
        smoke("glue_rte", tmp_path / "killed", **changes)
    smoke("glue_rte", tmp_path / "killed", **changes)
    whole, killed = (tmp_path / name / "run" for name in ("whole", "killed"))
    name = "trials/rate-0.005_seed-1/outcome.json"
    one, other = read_json(whole / name), read_json(killed / name)
    assert one["history"] == other["history"]
    assert (whole / "preset" / "weights.safetensors").read_bytes() == (
        killed / "preset" / "weights.safetensors"
    ).read_bytes()


def test_a_signal_ends_a_run_with_a_word_on_how_to_go_on(tmp_path, monkeypatch, eagerly):
    import os
    import signal

    begin = trial.StopOnSignal.on_train_batch_end

    def send(self, batch, logs=None):
        os.kill(os.getpid(), signal.SIGTERM)
        begin(self, batch, logs)

    monkeypatch.setattr(trial.StopOnSignal, "on_train_batch_end", send)
    with pytest.raises(Stopped, match="SIGTERM arrived; the same command goes on"):
        smoke("glue_rte", tmp_path)


@pytest.mark.slow
def test_what_is_frozen_stays_and_adapters_are_merged_into_the_preset(tmp_path, eagerly):
    smoke(
        "glue_rte",
        tmp_path,
        **{"model.freeze_embeddings": True, "model.freeze_layers": 1,
           "training.learning_rate": 1.0e-2},
    )  # fmt: skip
    before = weights(bz.Backbone.from_preset("bert_toy"))
    after = weights(bz.TextClassifier.from_preset(tmp_path / "run" / "preset").backbone)
    changed = {path.split("/")[0] for path in before if (before[path] != after[path]).any()}
    # The pooler stays too: the head on a sentence encoder reads the mean.
    assert changed == {"layer_1"}
    smoke("glue_rte", tmp_path / "lora", **{"model.lora_rank": 2, "training.learning_rate": 0.1})
    after = weights(bz.TextClassifier.from_preset(tmp_path / "lora" / "run" / "preset").backbone)
    changed = {path for path in before if (before[path] != after[path]).any()}
    assert changed == {f"layer_{i}/attention/{name}/kernel"
                       for i in (0, 1) for name in ("query", "value")}  # fmt: skip
    assert (tmp_path / "lora" / "run" / "adapter" / "adapter.safetensors").exists()


def weights(backbone):
    from bertzoo.models.loading import weights_of

    return {path: np.asarray(weight) for path, weight in weights_of(backbone).items()}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_progress_says_steps_loss_and_the_time_that_is_left(stream, monkeypatch):
    clock = iter([0.0, 10.0, 12.0, 14.0, 16.0, 18.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    bar = progress.Progress(steps_per_epoch=3, epochs=2, stream=stream, every=4.0)
    bar.on_train_begin()
    for epoch in (0, 1):
        bar.on_epoch_begin(epoch)
        for batch in range(3 - epoch):
            bar.on_train_batch_end(batch, {"loss": np.float32(2.0 - epoch)})
        bar.on_epoch_end(epoch)
    # The first step makes the graph and does not count; two seconds each from then on.
    lines = [text.strip() for text in re.split(r"\r\x1b\[K|\n", stream.getvalue()) if text.strip()]
    assert lines == [
        "step 2/6, loss 2.0000, 0:00:08 left",
        "step 4/6, loss 1.0000, 0:00:04 left",
    ]
    assert ("\x1b" in stream.getvalue()) == stream.isatty()


def test_a_run_says_how_far_it_is(tmp_path, monkeypatch, capsys, eagerly):
    monkeypatch.setattr(progress, "IN_FILE", 0.0)
    smoke("glue_rte", tmp_path)
    assert re.search(
        r"^  step 2/\d+, loss \d\.\d{4}, 0:00:\d\d left$", capsys.readouterr().err, re.M
    )


def test_the_optimizer_follows_the_recipe():
    recipe = load_recipe("finetune/finbert_sentiment")
    optimizer = trial.optimizer_of(recipe.training, 2.0e-5, steps=100)
    rates = [float(optimizer._learning_rate(step)) for step in (0, 10, 20, 60, 100)]
    # A fifth is warm-up; then straight down to zero.
    assert rates == pytest.approx([0.0, 1.0e-5, 2.0e-5, 1.0e-5, 0.0], abs=1e-10)
    assert (optimizer.layer_decay, optimizer.weight_decay) == (0.85, 0.01)
    google = load_recipe("finetune/glue_rte", {"training.decay": "google"}).training
    rates = [float(trial.optimizer_of(google, 1.0, steps=100)._learning_rate(s)) for s in (5, 10)]
    assert rates == pytest.approx([0.5, 0.9])


@pytest.mark.long
def test_a_trial_ends_early_when_dev_has_not_got_better(tmp_path, monkeypatch, eagerly):
    scores = iter([0.5, 0.7, 0.6, 0.6, 0.9, 0.7])

    def measure(self, task, examples):
        return {"accuracy": next(scores)}

    monkeypatch.setattr(Kind, "measure", measure)
    monkeypatch.setattr(run, "write", lambda *_: None)
    smoke(
        "glue_cola",
        tmp_path,
        **{"training.epochs": 9, "training.early_stopping": 2, "data.test": None, "data.limit": 4,
           "evaluation.metric": "accuracy"},
    )  # fmt: skip
    outcome = read_json(tmp_path / "run" / "trials" / "rate-0.001_seed-1" / "outcome.json")
    assert outcome["history"]["val_accuracy"] == [0.5, 0.7, 0.6, 0.6]
    assert outcome["best_epoch"] == 2


# === What it refuses ===


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "clasification"}, "task must be one of classification"),
        ({"data.reader": "conll", "data.task": None}, None),
        ({"training.loss": "cosine"}, "`training.loss` belongs to embeddings"),
        ({"evaluation.metric": "acuracy"}, "did you mean `accuracy`"),
        ({"model.freeze_layers": 3}, "freeze_layers is 3, and bert_toy has 2 layers"),
        ({"data.train": "none.tsv"}, "none.tsv does not exist; say where the data are"),
        ({"training.strategy.name": "multi_worker"}, "on one machine"),
        ({"training.seeds": [1, 1]}, "seeds must differ"),
        ({"data.train_limit": 0}, "train_limit must be at least 1; got 0"),
        ({"data.dev": "test.tsv"}, "test.tsv has no labels, and the dev part needs them"),
    ],
)
def test_a_mistake_is_one_sentence(changes, message, tmp_path):
    if message is None:
        changes, message = {"task": "tokens"}, "`tokens` are read by `conll`; got 'glue'"
    with pytest.raises(ValueError, match=message):
        smoke("glue_rte", tmp_path, **changes)


def test_a_dry_run_reads_no_data_and_tells_what_is_missing():
    plan = run_recipe("finetune/glue_rte", {"training.seeds": [1, 2]}, dry_run=True)
    assert plan["files"] == dict.fromkeys(["train.tsv", "dev.tsv", "test.tsv"], "missing")
    assert (plan["trials"], plan["parameters"]) == (5, 109_482_240)


def test_part_of_the_training_data_is_dev_where_there_is_no_file(tmp_path):
    recipe = load_recipe(
        "finetune/glue_rte", {"data.dev": None, "data.dev_share": 0.25}, smoke=True
    )
    parts = read_parts(kind_of(recipe))
    assert (len(parts["train"]), len(parts["dev"])) == (9, 3)
    pairs = [set(zip(part["text"], part["text_pair"], part["label"], strict=True))
             for part in (parts["train"], parts["dev"])]  # fmt: skip
    assert pairs[0].isdisjoint(pairs[1])


@pytest.mark.parametrize("dev", ["dev.tsv", None])
def test_fewer_rows_to_learn_from_leave_those_that_are_measured(dev):
    whole, fewer = (
        read_parts(
            kind_of(load_recipe("finetune/glue_rte", {"data.dev": dev, **change}, smoke=True))
        )
        for change in ({}, {"data.train_limit": 5})
    )
    assert fewer["train"].columns == whole["train"].take(range(5)).columns
    assert {part: len(fewer[part]) for part in ("dev", "test")} == {
        part: len(whole[part]) for part in ("dev", "test")
    }


def test_questions_on_one_article_stay_on_one_side(tmp_path):
    recipe = load_recipe("finetune/squad_v2", {"data.dev": None, "data.dev_share": 0.3}, smoke=True)
    kind = kind_of(recipe)
    parts = read_parts(kind)
    groups = [set(kind.groups(part)) for part in (parts["train"], parts["dev"])]
    assert groups[0].isdisjoint(groups[1])
    whole = len(kind.read(find_file(recipe.data, recipe.data.train), "train")["question"])
    assert len(parts["train"]) + len(parts["dev"]) == whole
    assert len(parts["dev"]) >= round(0.3 * whole)


@pytest.mark.long
def test_baselines_have_the_metrics_of_the_task(classified):
    folder, _ = classified
    baseline = read_json(folder / "results.json")["baselines"]["dev"]
    assert set(baseline) == {"accuracy", "matthews", "macro_f1"}
    # Three classes, of which one is always said: its F1 is 2 p / (1 + p), and the others' 0.
    share = baseline["accuracy"]
    assert baseline["macro_f1"] == pytest.approx(2 * share / (1 + share) / 3)
    assert baseline["matthews"] == 0.0


def test_numbers_of_json_lines_are_names_of_classes(tmp_path):
    lines = [json.dumps({"text": f"text {i}", "label": i % 3 + 1}) for i in range(12)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines) + "\n")
    recipe = load_recipe(
        "finetune/scicite",
        {"data.directory": str(tmp_path), "data.labels": None, "data.dev": None},
        smoke=True,
    )
    kind = kind_of(recipe)
    parts = read_parts(kind)
    assert kind.labels(parts["train"]) == ["1", "2", "3"]
    kind.check(parts)
    assert set(parts["dev"]["label"]) <= {"1", "2", "3"}
    parts["dev"].columns["label"][0] = "4"
    line = parts["dev"]["line"][0]
    with pytest.raises(ValueError, match=rf"line {line}: .* one of 1, 2, 3; got '4'"):
        kind.check(parts)
