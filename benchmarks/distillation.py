"""Distillation on real weights and real text: what a teacher adds, and what small models save.

    python benchmarks/distillation.py teacher  --output build/distillation
    python benchmarks/distillation.py students --output build/distillation --seeds 1 2 3
    python benchmarks/distillation.py general  --output build/distillation --steps 600
    python benchmarks/distillation.py words    --output build/distillation --pretrained PRESET
    python benchmarks/distillation.py speed    --output build/distillation
    python benchmarks/distillation.py tables   --output build/distillation

The parts are runs of the recipes themselves with `--set`. Every result is a line of
`results.jsonl`, written as it comes; a part that is started again does what is missing.

- `teacher`: `finetune/minilm_sst2`, all-MiniLM-L6-v2 on the first sentences of SST-2.
- `students`: some layers of that teacher, on fewer labelled sentences, in three ways: `alone` (the
  labels), `distilled` (`distill/minilm_l3_sst2`: TinyBERT's losses, then soft targets and labels),
  and `unlabelled` (soft targets of stored logits, with further sentences that nobody labelled).
- `general`: a narrower encoder of random weights learns from all-MiniLM-L6-v2 on books and
  encyclopedia, by TinyBERT's losses; then it is fine-tuned on SST-2, beside one that did not.
- `words`: DistilBERT's losses from a masked language model that was pretrained here; beside the
  same student on the words alone. Held-out loss, then fine-tuned accuracy.
- `speed`: sizes and latencies of published architectures, with random weights, in turn.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gc
import json
import pathlib
import shutil
import statistics
import time

import keras
import side_by_side

import bertzoo as bz
from bertzoo.training import run_recipe
from bertzoo.training.distillation import comparison

PRESET = "all_minilm_l6_v2_en"
SST2 = side_by_side.DATA / "glue" / "SST-2"
CORPORA = [
    side_by_side.DATA / "corpora" / "gutenberg-books" / "gutenberg_books.txt",
    side_by_side.DATA / "corpora" / "enwiki-excerpt" / "enwiki_excerpt.txt",
]
LENGTH = 40  # tokens; longer sentences are cut
NARROW = {"num_layers": 3, "hidden_dim": 192, "intermediate_dim": 768}  # 12 heads, as the teacher
ARCHITECTURES = ("bert_base_en_uncased", "distilbert_base_en_uncased",
                 "tinybert_l4_h312_en_uncased")  # fmt: skip


def main():
    parser = side_by_side.arguments(__doc__, repeats=15)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--seeds", nargs="*", default=[1, 2, 3], type=int)
    parser.add_argument("--layers", nargs="*", default=[3, 2], type=int)
    parser.add_argument("--teacher-rows", default=6400, type=int)
    parser.add_argument("--rows", default=1600, type=int, help="labelled sentences of students")
    parser.add_argument("--unlabelled", default=4800, type=int, help="further sentences")
    parser.add_argument("--steps", default=300, type=int, help="of 32 rows of 64 tokens of text")
    parser.add_argument("--pretrained", help="preset with a masked language model, for `words`")
    options = parser.parse_args()
    options.output = (options.output or pathlib.Path("build/distillation")).absolute()
    options.output.mkdir(parents=True, exist_ok=True)
    PARTS[options.part](options)


class Results:
    """Lines of a file, one a result; what is there is not done again."""

    def __init__(self, folder):
        self.path = folder / "results.jsonl"
        lines = self.path.read_text("utf-8").splitlines() if self.path.exists() else []
        self.rows = [json.loads(line) for line in lines]

    def once(self, run, **what):
        """Run it, unless the file holds what came of it."""
        for row in self.rows:
            if all(row.get(key) == value for key, value in what.items()):
                return row
        keras.backend.clear_session()
        gc.collect()
        began = time.process_time()
        row = {**what, **run(), "cpu_seconds": round(time.process_time() - began)}
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)
        return row


def finetune(preset, output, rows, epochs, rate, seeds):
    """Return the accuracy on dev of `finetune/minilm_sst2`, the mean over the seeds."""
    found = run_recipe(
        "finetune/minilm_sst2",
        {
            "output": str(output),
            "data.directory": str(SST2),
            "data.limit": rows,
            "model.preset": str(preset),
            "training.epochs": epochs,
            "training.learning_rate": rate,
            "training.seeds": seeds,
        },
    )
    return {"accuracy": found["dev_accuracy"]}


# === A task: SST-2 ===


def teacher(options):
    def run():
        folder = options.output / "teacher"
        return finetune(PRESET, folder, options.teacher_rows, 2, 1.0e-4, [1])

    Results(options.output).once(run, part="teacher", rows=options.teacher_rows)


def students(options):
    results = Results(options.output)
    rest = options.output / f"rest_{options.rows}_{options.unlabelled}.txt"
    lines = (SST2 / "train.tsv").read_text("utf-8").splitlines()[1 + options.rows :]
    sentences = [line.split("\t")[0] for line in lines[: options.unlabelled]]
    rest.write_text("\n".join(sentences) + "\n", "utf-8")
    for seed in options.seeds:
        for layers in options.layers:
            for way in WAYS:
                what = {"layers": layers, "way": way, "seed": seed, "rows": options.rows}
                if way == "unlabelled":
                    what["unlabelled"] = options.unlabelled

                def run(what=what):
                    return student(options, rest, what["layers"], what["way"], what["seed"])

                results.once(run, part="students", **what)


HINTON = {"soft_labels": {"weight": 1.0, "temperature": 2.0}, "single_label": 0.5}
WAYS = {
    # As many steps on the labelled sentences as `distilled` takes in its two stages.
    "alone": [{"losses": {"single_label": 1.0}, "epochs": 3, "learning_rate": 1.0e-4}],
    "distilled": [
        {"losses": {"hidden_states_mse": 1.0, "attention_scores_mse": 0.1}, "epochs": 1,
         "learning_rate": 2.0e-4},
        {"losses": HINTON, "epochs": 2, "learning_rate": 1.0e-4},
    ],
    "unlabelled": [{"losses": HINTON, "epochs": 1.5, "learning_rate": 1.0e-4}],
}  # fmt: skip


def student(options, rest, layers, way, seed):
    folder = options.output / f"student_{layers}_{way}_{seed}"
    changes = {
        "output": str(folder),
        "teacher.preset": str(options.output / "teacher" / "preset"),
        "student.layers": layers,
        "data.directory": str(SST2),
        "data.limit": options.rows,
        "sequence_length": LENGTH,
        "stages": [{**stage, "batch_size": 32} for stage in WAYS[way]],
        "training.seed": seed,
    }
    if way == "unlabelled":
        changes |= {"unlabelled": [str(rest)], "teacher.stored": True}
        # The teacher answers once for all students.
        answers = sorted(options.output.glob("student_*_unlabelled_*/teacher_outputs.npz"))
        if answers and not folder.exists():
            folder.mkdir()
            shutil.copyfile(answers[0], folder / "teacher_outputs.npz")
    found = run_recipe("distill/minilm_l3_sst2", changes)
    keys = ("student_accuracy", "teacher_accuracy", "retained_accuracy", "loss")
    return {key: found[key] for key in keys}


# === Text ===


def text(steps, sequence_length=64):
    """Return the changes to a recipe of text that all have in common."""
    return {
        "text.files": [str(path) for path in CORPORA],
        "text.sequence_length": sequence_length,
        "training.tensorboard": False,
        "training.checkpoint_every": 100,
        "stages.0.steps": steps,
        "stages.0.epochs": None,
        "stages.0.batch_size": 32,
        "stages.0.learning_rate": 5.0e-4,
    }


def general(options):
    results, name = Results(options.output), f"general_{options.steps}"

    def distil():
        changes = {
            **text(options.steps),
            "output": str(options.output / name),
            "teacher.preset": PRESET,
            "student.config": NARROW,
        }
        return {"loss": run_recipe("distill/tinybert_general", changes)["loss"]}

    results.once(distil, part="general", steps=options.steps)
    teacher = bz.TextEmbedder.from_preset(PRESET, sequence_length=64)
    for seed in options.seeds:
        keras.utils.set_random_seed(seed)
        config = teacher.backbone.config.replace(**NARROW, head_dim=None)
        task = bz.TextEmbedder.from_backbone(bz.Backbone(config), teacher.preprocessor)
        task.save_to_preset(options.output / f"scratch_{seed}")
    del teacher
    after(results, options, "general", options.output / name / "preset", steps=options.steps)
    for seed in options.seeds:
        after(results, options, "general", options.output / f"scratch_{seed}", steps=0, only=seed)


def words(options):
    """Distil from a masked language model, and train the same student on the words alone."""
    results = Results(options.output)
    stage = {"steps": options.steps, "batch_size": 32, "learning_rate": 5.0e-4, "warmup": 0.05,
             "weight_decay": 0.0, "beta_2": 0.98}  # fmt: skip
    new = {"config": {"num_layers": 2, "num_segments": 0}, "layers": None, "segments": "keep",
           "pooler": True}  # fmt: skip
    ways = {
        "distilled": {"student.layers": 2},  # and DistilBERT's losses: the recipe's
        "scratch": {"student": new, "stages": [{**stage, "losses": {"masked_lm": 1.0}}]},
    }
    for way, changes in ways.items():
        folder = options.output / f"words_{way}_{options.steps}"

        def run(folder=folder, changes=changes):
            changes = {**text(options.steps), "teacher.preset": options.pretrained, **changes}
            found = run_recipe("distill/small_text", {**changes, "output": str(folder)})
            log = (folder / "stage_1" / "log.jsonl").read_text("utf-8").splitlines()
            rows = [json.loads(line) for line in log]
            held_out = [row["held_out_masked_lm"] for row in rows if "held_out_masked_lm" in row]
            return {"held_out_masked_lm": held_out[-1],
                    "masked_lm_accuracy": found["student_masked_lm_accuracy"],
                    "teacher_accuracy": found["teacher_masked_lm_accuracy"]}  # fmt: skip

        results.once(run, part="words", way=way, steps=options.steps)
        after(results, options, f"words_{way}", folder / "preset", steps=options.steps)


def after(results, options, part, preset, steps, only=None):
    """Fine-tune a preset on SST-2, once a seed."""
    for seed in [only] if only is not None else options.seeds:

        def run(seed=seed):
            folder = options.output / f"sst2_{part}_{steps}_{seed}"
            return finetune(preset, folder, 2 * options.rows, 3, 5.0e-4, [seed])

        results.once(run, part=part, way="finetuned", steps=steps, seed=seed)


# === Speed ===


def speed(options):
    """Time random weights of the published architectures, in turn."""
    rows, networks = [], {}
    for name in ARCHITECTURES:
        config = bz.BackboneConfig.from_preset(name)
        networks[name] = bz.Backbone(config)
    found = comparison.compare(networks, rounds=5 if options.quick else options.repeats)
    for model in found:
        row = {"model": model.name, "parameters": f"{model.parameters:,}",
               "of BERT-Base": f"1/{found[0].parameters / model.parameters:.2f}"}  # fmt: skip
        for shape, milliseconds in model.milliseconds.items():
            row[f"ms, {shape}"] = milliseconds
            row[f"faster, {shape}"] = f"{found[0].milliseconds[shape] / milliseconds:.1f}x"
        rows.append(row)
    columns = {key: key for key in rows[0]}
    setting = {"versions": side_by_side.versions("bertzoo", "tensorflow", "keras")}
    title = "Published architectures, float32, random weights; medians, the models in turn"
    side_by_side.report("speed", title, rows, columns, setting, options.output)


# === What came of it ===


def tables(options):
    """Print what `results.jsonl` holds, means over the seeds."""
    groups = {}
    for row in Results(options.output).rows:
        if "seed" in row:
            keys = ("part", "way", "layers", "rows", "unlabelled", "steps")
            key = tuple((name, row[name]) for name in keys if name in row)
            groups.setdefault(key, []).append(row)
    rows = []
    for key, group in groups.items():
        accuracies = [row.get("student_accuracy", row.get("accuracy")) for row in group]
        row = {**dict(key), "seeds": len(group), "accuracy": spell(accuracies)}
        if "retained_accuracy" in group[0]:
            row["retained"] = spell([row["retained_accuracy"] for row in group])
        row["CPU s"] = round(statistics.mean(row["cpu_seconds"] for row in group))
        rows.append(row)
    columns = {name: name for row in rows for name in row}
    print(side_by_side.table(rows, columns))
    print(f"majority of dev: {majority():.4f}")


def majority():
    """Return the share of dev's more frequent label."""
    lines = (SST2 / "dev.tsv").read_text("utf-8").splitlines()[1:]
    labels = [line.rsplit("\t", 1)[1] for line in lines]
    return max(labels.count(label) for label in set(labels)) / len(labels)


def spell(values):
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ({spread:.4f})"


PARTS = {function.__name__: function
         for function in (teacher, students, general, words, speed, tables)}  # fmt: skip

if __name__ == "__main__":
    main()
