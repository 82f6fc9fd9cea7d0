"""All trials of a recipe, and what they leave behind: numbers, predictions, pictures, a preset."""

from __future__ import annotations

import json
import pathlib
import shutil
import statistics

from bertzoo import checkpoints, reports
from bertzoo.training.finetuning import trial
from bertzoo.training.finetuning.examples import find_file, read_parts
from bertzoo.training.finetuning.kinds import kind_of

# What may change between two starts of one run: trials that are done stay valid.
FREE = (("output",), ("training", "seeds"), ("training", "learning_rate"), ("evaluation", "errors"))


def plan(recipe):
    """Return what a recipe would do, as name -> value."""
    config = checkpoints.open_source(recipe.model.preset, download=False).config
    data, training = recipe.data, recipe.training
    train = (data.train,) if isinstance(data.train, str) else data.train
    files = [*train, *filter(None, [data.dev, data.test]), *data.also]
    return {
        "task": recipe.task,
        "preset": recipe.model.preset,
        "parameters": config.parameter_count(),
        "files": {name: _where(data, name) for name in files},
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "learning_rates": list(training.rates),
        "seeds": list(training.seeds),
        "trials": len(training.rates) + len(training.seeds) - 1,
        "chosen_by": kind_of(recipe).metric,
        "output": recipe.output,
    }


def run(recipe, *, resume=False, force=False):
    """Run, or go on running, and return the results; see `Recipe.run`."""
    kind = kind_of(recipe)
    folder = begin(recipe, resume, force)
    examples = read_parts(kind)
    kind.check(examples)
    counts = ", ".join(f"{name} {len(part):,}" for name, part in examples.items())
    kind.say(f"{recipe.task} with {recipe.model.preset}: {counts}")
    outcomes, best, task = run_trials(kind, examples, folder)
    results = summary(kind, task, examples, outcomes, best)
    write(kind, task, examples, results, best, folder)
    shown = {f"dev_{name}": value["mean"] for name, value in results["dev"].items()}
    for part, scores in results["others"].items():
        shown |= {f"{part}_{name}": value["mean"] for name, value in scores.items()}
    return {
        **shown,
        "learning_rate": best.rate,
        "seeds": len(results["seeds"]),
        "rows_per_second": results["rows_per_second"],
        "preset": str(folder / "preset"),
    }


def begin(recipe, resume, force):
    """Make the run's directory, or check that the one that is there is of this recipe."""
    folder = pathlib.Path(recipe.output).expanduser()
    file = folder / "recipe.json"
    now = json.loads(json.dumps(recipe.to_dict()))
    if not file.exists():
        if resume:
            raise ValueError(f"{folder} holds no run to go on with; run it without --resume.")
        if folder.is_dir() and any(folder.iterdir()) and not force:
            raise ValueError(
                f"{folder} is not empty and holds no run; give another --set output=FOLDER, or "
                "--force."
            )
    else:
        before = json.loads(file.read_text(encoding="utf-8"))
        changes = differences(_fixed(before), _fixed(now))
        if changes and not force:
            raise ValueError(
                f"{folder} was begun with another recipe: {'; '.join(changes)}. Give another "
                "--set output=FOLDER, or --force to begin anew."
            )
        if changes:
            shutil.rmtree(folder / "trials", ignore_errors=True)
    reports.write_json(file, now)
    return folder


def differences(before, now, place=""):
    """Return each difference of two nested mappings in words.

    >>> differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    ['a.b was 1, is 3']
    """
    found = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{place}{key}.")
        elif old != new:
            found.append(f"{place}{key} was {old!r}, is {new!r}")
    return found


def run_trials(kind, examples, folder):
    """Run every trial that counts: all seeds with the learning rate that is best on dev.

    Returns:
        Their outcomes, the best of them, and its task.
    """
    training, best, task = kind.recipe.training, None, None

    def run_one(rate, seed):
        nonlocal best, task
        name = trial.name_of(rate, seed)
        kind.say(f"{name}:")
        outcome, trained = trial.run_trial(kind, examples, rate, seed, folder / "trials" / name)
        if best is None or kind.value(outcome.dev) > kind.value(best.dev):
            best, task = outcome, trained
        return outcome

    for rate in training.rates:
        run_one(rate, training.seeds[0])
    outcomes = [best, *(run_one(best.rate, seed) for seed in training.seeds[1:])]
    if task is None:
        place = folder / "trials" / trial.name_of(best.rate, best.seed)
        task = trial.restored(kind, examples, best, place)
    return outcomes, best, task


def summary(kind, task, examples, outcomes, best):
    """Return the results over all seeds: mean and standard deviation of every metric."""
    baselines = {
        name: kind.baseline(task, examples["train"], part)
        for name, part in examples.items()
        if name != "train" and kind.has_labels(part)
    }
    return {
        "task": kind.recipe.task,
        "preset": kind.recipe.model.preset,
        "chosen_by": kind.metric,
        "learning_rate": best.rate,
        "seeds": [one.seed for one in outcomes],
        "best_seed": best.seed,
        "rows": {name: len(part) for name, part in examples.items()},
        "dev": _spread([one.dev for one in outcomes]),
        "others": {part: _spread([one.others[part] for one in outcomes]) for part in best.others},
        "baselines": baselines,
        "rows_per_second": statistics.mean(one.rows_per_second for one in outcomes),
        "trials": [one._asdict() for one in outcomes],
    }


def write(kind, task, examples, results, best, folder):
    """Write all that a finished run leaves behind."""
    reports.write_json(folder / "results.json", results)
    reports.write_json(folder / "metrics.json", {"dev": best.dev, **best.others})
    measured = {name: part for name, part in examples.items() if name != "train"}
    for name, part in measured.items():
        predictions = kind.predict(task, part)
        places = folder / "predictions" / name
        reports.write_jsonl(places / "all.jsonl", kind.rows(task, part, predictions))
        kind.official(task, part, predictions, places)
        if name == "dev":
            wrong = kind.mistakes(task, part, predictions)
            most = kind.recipe.evaluation.errors
            reports.write_errors(folder / "errors.tsv", wrong, most=most)
            _draw(kind, kind.confusion(task, part, predictions), best, folder)
    _describe(kind, task, examples, results)
    if kind.recipe.model.lora_rank is not None:
        task.save_lora_weights(folder / "adapter")
        task.merge_lora()
    task.save_to_preset(folder / "preset")


def _draw(kind, confusion, best, folder):
    if confusion is not None:
        matrix, labels = confusion
        reports.write_tsv(
            folder / "confusion.tsv",
            ["expected", *labels],
            [[label, *row] for label, row in zip(labels, matrix.tolist(), strict=True)],
        )
    if not reports.can_plot():
        kind.say("pictures are left out: they need matplotlib, pip install 'bertzoo[plot]'")
        return
    title = f"{kind.recipe.model.preset}, rate {best.rate:g}, seed {best.seed}"
    reports.plot_curves(best.history, folder / "curves.png", title=title)
    if confusion is not None:
        reports.plot_confusion(*confusion, folder / "confusion.png", title="dev")


def _describe(kind, task, examples, results):
    recipe, training = kind.recipe, kind.recipe.training
    parts = {"dev": results["dev"], **results["others"]}
    metrics = {
        f"{part} {name}": (value["mean"], value["std"]) if len(results["seeds"]) > 1
        else value["mean"]
        for part, scores in parts.items() for name, value in scores.items()
    }  # fmt: skip
    files = {name: pathlib.PurePath(part.source).name for name, part in examples.items()}
    data = {name: f"{files[name]}, {len(part):,} examples" for name, part in examples.items()}
    settings = {
        "learning rate": f"{results['learning_rate']:g}, {training.decay}, warm-up of "
        f"{training.warmup:g} of the steps",
        "batch": training.batch_size,
        "epochs": training.epochs,
        "weight decay": training.weight_decay,
        **({} if recipe.model.windows is None else {"windows": recipe.model.windows}),
    }
    passage = reports.training_passage(
        recipe.model.preset, data, settings, metrics, results["seeds"]
    )
    best = next(one for one in results["trials"] if one["seed"] == results["best_seed"])
    numbers = {"dev": best["dev"], **best["others"]}
    task.describe(
        description=f"{recipe.model.preset}, fine-tuned for {recipe.task.replace('_', ' ')}.",
        training_data=data["train"],
        training=passage,
        metrics={
            f"{part} {name}": round(value, 4)
            for part, scores in numbers.items()
            for name, value in scores.items()
        },
    )
    for key, value in (("language", recipe.evaluation.language),
                       ("license", recipe.evaluation.license)):  # fmt: skip
        if value is not None:
            task.describe(**{key: value})


def _spread(scores):
    return {
        name: {
            "mean": statistics.mean(one[name] for one in scores),
            "std": statistics.stdev(one[name] for one in scores) if len(scores) > 1 else 0.0,
            "values": [one[name] for one in scores],
        }
        for name in scores[0]
    }


def _fixed(values):
    values = json.loads(json.dumps(values))
    for *way, last in FREE:
        place = values
        for key in way:
            place = place.get(key, {})
        place.pop(last, None)
    return values


def _where(data, name):
    try:
        return str(find_file(data, name))
    except ValueError:
        return "missing"
