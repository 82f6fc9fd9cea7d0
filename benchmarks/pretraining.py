"""A small BERT pretrained from raw text, beside transformers on the same batches; then two tasks.

    python benchmarks/pretraining.py data runs/mini            # vocabulary, records
    python benchmarks/pretraining.py train runs/mini           # the recipe pretrain/cpu_small
    python benchmarks/pretraining.py peer runs/mini            # the same run in PyTorch
    python benchmarks/pretraining.py more runs/mini            # from the preset of `train`, longer
    python benchmarks/pretraining.py adapt runs/mini           # from the last preset, on reviews
    python benchmarks/pretraining.py finetune runs/mini        # pretrained against random weights
    python benchmarks/pretraining.py entities runs/mini        # the same, words of wikigold
    python benchmarks/pretraining.py picture runs/mini         # the curves of both

`data` takes Gutenberg's novels and Wikipedia's articles from BERTZOO_DATA, holds every 40th
document out, learns a vocabulary of 8,000 words and prepares records. `train` runs the recipe and
adds up its CPU seconds, which other work on the machine does not change as it does the time. `peer`
trains transformers' `BertForMaskedLM` (AdamW of torch, bfloat16 by autocast) from the same initial
weights on the same batches with the same masks and learning rates, for `--minutes` of CPU or as
many steps. `more` goes on from the preset of `train` for 12,000 steps with warm-up and decay of
their own (`more/` in the folder). `adapt` goes on from the last of them with the sentences of
SST-2's training part, without their labels, packed, for 6,000 steps (`adapted/`; Gururangan et al.
2020, arXiv 2004.10964). `finetune` trains a classifier on SST-2, `entities` a tagger on wikigold by
the recipe `finetune/wikigold`, from the last preset and from random weights (and `finetune` from
the adapted one where there is one), several seeds each; both go on where they were stopped.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import argparse
import csv
import itertools
import json
import math
import pathlib
import statistics
import tempfile
import time

from side_by_side import DATA

RECIPE = "pretrain/cpu_small"
LENGTH, VOCABULARY = 64, 8000
# Sentences of SST-2 to learn from -> epochs.
SENTENCES = {300: 10, 1000: 5, 3000: 3, 20_000: 2}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = {"data": data, "train": train, "peer": peer, "more": more, "adapt": adapt,
             "finetune": finetune, "entities": entities, "picture": picture}  # fmt: skip
    parser.add_argument("step", choices=list(steps))
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--set", action="append", default=[], help="changes of the recipe")
    parser.add_argument("--minutes", default=15.0, type=float, help="of CPU, of the peer")
    parser.add_argument("--threads", default=1, type=int, help="of the peer")
    parser.add_argument("--seeds", default=2, type=int)
    parser.add_argument("--sizes", nargs="+", default=list(SENTENCES), type=int, help="sentences")
    parser.add_argument("--starts", nargs="+", help="pretrained, random, adapted")
    arguments = parser.parse_args()
    steps[arguments.step](arguments)


def recipe_of(arguments):
    """Return the recipe as a run in this folder has it."""
    from bertzoo.training.recipe import load_recipe

    folder = arguments.folder
    changes = [
        f"output={folder / 'run'}",
        f"model.tokenizer={folder / 'vocab.txt'}",
        f"phases.0.records=[{folder / 'records'}]",
        f"evaluation.records=[{folder / 'held_out'}]",
    ]
    return load_recipe(RECIPE, [*changes, *arguments.set])


def data(arguments):
    import bertzoo
    from bertzoo.corpus.manifest import RecordOptions
    from bertzoo.corpus.prepare import prepare_records

    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    documents = []
    for name in ("gutenberg_books.txt", "enwiki_excerpt.txt"):
        for path in sorted((DATA / "corpora").glob(f"*/{name}")):
            documents += [text for text in path.read_text("utf-8").split("\n\n") if text.strip()]
    if not documents:
        raise SystemExit("no texts: set BERTZOO_DATA to the folder that holds corpora/.")
    parts = {"train": [], "held_out": []}
    for number, text in enumerate(documents):
        parts["held_out" if number % 40 == 39 else "train"].append(text)
    for name, texts in parts.items():
        (folder / f"{name}.txt").write_text("\n\n".join(texts) + "\n", "utf-8")
    tokenizer = bertzoo.train_tokenizer(folder / "train.txt", VOCABULARY, lowercase=True)
    (folder / "vocab.txt").write_bytes(tokenizer.files()["vocabulary.txt"])
    options = RecordOptions(mode="doc_sentences", sequence_length=LENGTH)
    for name, target in (("train", "records"), ("held_out", "held_out")):
        manifest = prepare_records(
            tokenizer, [str(folder / f"{name}.txt")], str(folder / target), options
        )
        print(f"{target}: {manifest.counts}")


def train(arguments):
    target = arguments.folder / "cpu_seconds.json"
    before = json.loads(target.read_text()) if target.exists() else 0.0
    try:
        result = recipe_of(arguments).run()
    finally:
        target.write_text(json.dumps(before + time.process_time()))
    print(json.dumps(result))


def more(arguments):
    folder = arguments.folder
    go_on(recipe_of(arguments), folder / "run" / "preset", folder / "more", steps=12_000, seed=2)


def adapt(arguments):
    from bertzoo.corpus.manifest import RecordOptions
    from bertzoo.corpus.prepare import prepare_records
    from bertzoo.training.pretraining import load_tokenizer

    folder = arguments.folder
    preset = last_preset(folder)
    sentences, _ = sst2("train.tsv")
    (folder / "sst2.txt").write_text("\n\n".join(sentences) + "\n", "utf-8")
    options = RecordOptions(mode="packed", sequence_length=LENGTH)
    manifest = prepare_records(
        load_tokenizer(str(preset), {}), [str(folder / "sst2.txt")], str(folder / "sst2"), options
    )
    print(f"sst2: {manifest.counts}")
    recipe = recipe_of(arguments)
    phase = recipe.phases[0].replace(records=(str(folder / "sst2"),))
    go_on(recipe.replace(phases=(phase,)), preset, folder / "adapted", steps=6_000, seed=3)


def go_on(recipe, preset, target, steps, seed):
    """Train the model of a preset on, with a warm-up and a decay of its own."""
    phase = recipe.phases[0].replace(steps=steps)
    print(json.dumps(
        recipe.replace(
            output=str(target), model=type(recipe.model)(preset=str(preset)), phases=(phase,),
            training=recipe.training.replace(seed=seed, evaluate_every=1000),
        ).run()
    ))  # fmt: skip


def last_preset(folder):
    """Return the preset of the longest run."""
    found = [folder / run / "preset" for run in ("more", "run")]
    return next(path for path in found if path.exists())


def peer(arguments):
    import keras
    import torch
    import transformers

    import bertzoo

    torch.set_num_threads(arguments.threads)
    recipe = recipe_of(arguments)
    tokenizer = recipe._tokenizer()
    keras.utils.set_random_seed(recipe.training.seed)  # the weights that the recipe begins with
    _, network = recipe._objective(tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        network.save_to_preset(f"{folder}/preset")
        bertzoo.export_checkpoint(
            f"{folder}/preset", f"{folder}/hf", format="hf_bert", heads=["masked_lm"]
        )
        model = transformers.BertForMaskedLM.from_pretrained(f"{folder}/hf")
    phase = recipe._phase(recipe.phases[0], tokenizer, network.backbone.config)
    size, section = phase.batch_size, recipe.optimizer
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [p for name, p in model.named_parameters() if _decays(name) == decays],
                "weight_decay": section.weight_decay if decays else 0.0,
            }
            for decays in (True, False)
        ],
        lr=section.learning_rate,
        betas=(section.beta_1, section.beta_2),
        eps=section.epsilon,
    )
    schedule = recipe._schedule()
    held_out = phase.held_out.dataset(0, size, range(1), 1).take(phase.held_out_batches)
    held_out = list(held_out.as_numpy_iterator())
    batches = phase.source.dataset(0, size, range(1), 1).as_numpy_iterator()
    losses, seconds, step = [], 0.0, 0
    training = recipe.training
    is_half = training.precision == "mixed_bfloat16"
    with (arguments.folder / "peer.jsonl").open("w", encoding="utf-8") as log:
        while step < recipe.steps and seconds < 60 * arguments.minutes:
            inputs = _torch_batch(next(batches), torch)
            started = time.process_time()
            for group in optimizer.param_groups:
                group["lr"] = float(schedule(step))
            with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
                loss = model.train()(**inputs).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
            optimizer.step()
            seconds += time.process_time() - started
            losses.append(float(loss.detach()))
            step += 1
            rows = []
            if step % training.log_every == 0:
                mean = statistics.mean(losses[-training.log_every :])
                rows.append({"step": step, "loss": mean, "cpu_seconds": seconds})
            if step % training.evaluate_every == 0:
                rows.append({"step": step, **_evaluate(model, held_out, torch)})
            for row in rows:
                print(json.dumps(row), file=log, flush=True)
                print(row, flush=True)


def _decays(name):
    return not (name.endswith("bias") or "LayerNorm" in name)


def _torch_batch(batch, torch):
    import numpy as np

    labels = np.full(batch["token_ids"].shape, -100, np.int64)
    rows, places = np.nonzero(batch["mask_weights"])
    labels[rows, batch["mask_positions"][rows, places]] = batch["mask_labels"][rows, places]
    return {
        "input_ids": torch.from_numpy(batch["token_ids"].astype(np.int64)),
        "attention_mask": torch.from_numpy(batch["padding_mask"].astype(np.int64)),
        "token_type_ids": torch.from_numpy(batch["segment_ids"].astype(np.int64)),
        "labels": torch.from_numpy(labels),
    }


def _evaluate(model, batches, torch):
    total = count = hits = 0.0
    for batch in batches:
        inputs = _torch_batch(batch, torch)
        labels = inputs.pop("labels")
        with torch.inference_mode():
            logits = model.eval()(**inputs).logits[labels >= 0]
        labels = labels[labels >= 0]
        total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
        hits += float((logits.argmax(-1) == labels).sum())
        count += len(labels)
    return {"held_out_masked_lm": total / count, "held_out_masked_lm_accuracy": hits / count}


def sst2(name):
    """Return the sentences and the labels of a file."""
    with (DATA / "glue" / "SST-2" / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    return [row[0] for row in rows], [int(row[1]) for row in rows]


def finetune(arguments):
    import keras
    import numpy as np

    import bertzoo

    folder = arguments.folder
    texts, labels = sst2("train.tsv")
    order = np.random.default_rng(0).permutation(len(texts))
    dev_texts, dev_labels = sst2("dev.tsv")
    presets = {"pretrained": last_preset(folder), "random": last_preset(folder)}
    if (folder / "adapted" / "preset").exists():
        presets["adapted"] = folder / "adapted" / "preset"
    target = folder / "sst2.json"
    result = json.loads(target.read_text("utf-8")) if target.exists() else {}
    result["majority"] = max(np.mean(dev_labels), 1 - np.mean(dev_labels))
    starts = arguments.starts or list(presets)
    for seed, size, start in itertools.product(range(arguments.seeds), arguments.sizes, starts):
        name = f"{size} sentences, seed {seed}, {start}"
        if name in result:
            continue
        keras.utils.set_random_seed(seed)
        preset, epochs = str(presets[start]), SENTENCES[size]
        # The mean, since masks alone have taught the first token nothing about its sentence.
        model = bertzoo.TextClassifier.from_backbone(
            bertzoo.Backbone.from_preset(preset, load_weights=start != "random"),
            bertzoo.MaskedLM.from_preset(preset).preprocessor,
            num_classes=2,
            input="mean",
        )
        steps = epochs * math.ceil(size / 32)
        schedule = bertzoo.optimizers.WarmupPolynomial(3.0e-4, steps, steps // 10)
        model.compile(bertzoo.optimizers.AdamW(schedule, global_clipnorm=1.0))
        chosen = order[:size]
        model.fit(
            [texts[i] for i in chosen],
            np.array([labels[i] for i in chosen]),
            batch_size=32,
            epochs=epochs,
            verbose=0,
        )
        found = model.predict(dev_texts, verbose=0).argmax(axis=1)
        result[name] = float((found == np.array(dev_labels)).mean())
        target.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        print(f"{name}: {result[name]:.4f} after {time.process_time():.0f} CPU s", flush=True)


def entities(arguments):
    import keras

    import bertzoo
    from bertzoo.training import run_recipe

    folder = arguments.folder
    presets = {"pretrained": last_preset(folder), "random": folder / "random"}
    if not presets["random"].exists():
        keras.utils.set_random_seed(0)
        preset = str(presets["pretrained"])
        bertzoo.MaskedLM.from_backbone(
            bertzoo.Backbone.from_preset(preset, load_weights=False),
            bertzoo.MaskedLM.from_preset(preset).preprocessor,
        ).save_to_preset(presets["random"])
    for start in arguments.starts or presets:
        settings = {
            "output": str(folder / f"entities_{start}"),
            "data.directory": str(DATA / "ner" / "wikigold"),
            "model.preset": str(presets[start]),
            "training.learning_rate": 5.0e-4,
            "training.epochs": 6,
            "training.seeds": list(range(1, arguments.seeds + 1)),
        }
        result = run_recipe("finetune/wikigold", settings)
        print(f"{start}: entity F1 {result['dev_f1']:.4f}", flush=True)


def picture(arguments):
    """Draw held-out loss and accuracy of both runs by steps and by CPU time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from bertzoo.training.run_log import read_log

    folder, curves = arguments.folder, {}
    for name, log in (("bertzoo", "run/log.jsonl"), ("transformers", "peer.jsonl")):
        rows, held_out, _ = read_log(str(folder / log))
        last = rows[-1]["step"]
        seconds = rows[-1].get("cpu_seconds")
        if seconds is None:
            seconds = json.loads((folder / "cpu_seconds.json").read_text())
        curves[name] = held_out, seconds / last / 60
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2, sharey="row", sharex="col")
    labels = {"held_out_masked_lm": "held-out loss", "held_out_masked_lm_accuracy": "accuracy"}
    for row, (key, label) in zip(axes, labels.items(), strict=True):
        row[0].set_ylabel(label)
        for name, (held_out, minutes) in curves.items():
            values = [point[key] for point in held_out]
            row[0].plot([point["step"] for point in held_out], values, ".-", label=name)
            row[1].plot([point["step"] * minutes for point in held_out], values, ".-", label=name)
    axes[1][0].set_xlabel("step")
    axes[1][1].set_xlabel("CPU minutes")
    axes[0][0].legend()
    figure.savefig(folder / "pretraining.png", dpi=80)


if __name__ == "__main__":
    main()
