"""A small BERT pretrained from raw text, beside transformers on the same batches; then SST-2.

    python benchmarks/pretraining.py data runs/mini            # vocabulary, records
    bertzoo train pretrain/cpu_small --set ...                 # printed by the step before
    python benchmarks/pretraining.py peer runs/mini            # the same run in PyTorch
    python benchmarks/pretraining.py finetune runs/mini        # pretrained against random weights

`data` takes Gutenberg's novels and Wikipedia's articles from BERTZOO_DATA, holds every 40th
document out, learns a vocabulary of 8,000 words and prepares records. `peer` trains transformers'
`BertForMaskedLM` (AdamW of torch) from the same initial weights on the same batches with the same
masks and learning rates, and logs like the run it is compared with. `finetune` trains a classifier
on SST-2 from the pretrained preset and from random weights, several seeds each.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import argparse
import csv
import json
import math
import pathlib
import statistics
import tempfile
import time

from side_by_side import DATA

RECIPE = "pretrain/cpu_small"
LENGTH, VOCABULARY = 64, 8000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["data", "peer", "finetune"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--steps", default=1100, type=int, help="of pretraining")
    parser.add_argument("--threads", default=1, type=int)
    parser.add_argument("--sentences", default=6000, type=int, help="of SST-2 to train on")
    parser.add_argument("--epochs", default=3, type=int)
    parser.add_argument("--seeds", default=2, type=int)
    arguments = parser.parse_args()
    {"data": data, "peer": peer, "finetune": finetune}[arguments.step](arguments)


def changes(folder, steps):
    """Return what a run in this folder changes in the recipe."""
    return [
        f"output={folder / 'run'}",
        f"model.tokenizer={folder / 'vocab.txt'}",
        f"phases.0.records=[{folder / 'records'}]",
        f"phases.0.steps={steps}",
        f"evaluation.records=[{folder / 'held_out'}]",
        "training.evaluate_every=250",
        f"schedule.warmup_steps={steps // 10}",
    ]


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
    sets = " ".join(f"--set '{change}'" for change in changes(folder, arguments.steps))
    print(f"next: bertzoo train {RECIPE} {sets}")


def peer(arguments):
    import keras
    import torch
    import transformers

    import bertzoo
    from bertzoo.training.recipe import load_recipe

    torch.set_num_threads(arguments.threads)
    recipe = load_recipe(RECIPE, changes(arguments.folder, arguments.steps))
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
    losses, seconds = [], 0.0
    with (arguments.folder / "peer.jsonl").open("w", encoding="utf-8") as log:
        for step in range(1, arguments.steps + 1):
            inputs = _torch_batch(next(batches), torch)
            started = time.process_time()
            for group in optimizer.param_groups:
                group["lr"] = float(schedule(step - 1))
            loss = model.train()(**inputs).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.training.clip_norm)
            optimizer.step()
            seconds += time.process_time() - started
            losses.append(float(loss.detach()))
            row = {"step": step}
            if step % 50 == 0:
                row |= {"loss": statistics.mean(losses[-50:]), "cpu_seconds": seconds}
            if step % 250 == 0:
                row |= _evaluate(model, held_out, torch)
            if len(row) > 1:
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
    return {"held_out_masked_lm": total / count, "held_out_accuracy": hits / count}


def finetune(arguments):
    import keras
    import numpy as np

    import bertzoo

    def read(name):
        with (DATA / "glue" / "SST-2" / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
        return [row[0] for row in rows], np.array([int(row[1]) for row in rows])

    texts, labels = read("train.tsv")
    chosen = np.random.default_rng(0).permutation(len(texts))[: arguments.sentences]
    texts, labels = [texts[i] for i in chosen], labels[chosen]
    dev_texts, dev_labels = read("dev.tsv")
    preset = str(arguments.folder / "run" / "preset")
    accuracies = {"pretrained": [], "random": []}
    for seed in range(arguments.seeds):
        for start in accuracies:
            keras.utils.set_random_seed(seed)
            model = bertzoo.TextClassifier.from_preset(
                preset, load_weights=start == "pretrained", num_classes=2
            )
            steps = arguments.epochs * math.ceil(len(texts) / 32)
            schedule = bertzoo.optimizers.WarmupPolynomial(3.0e-4, steps, steps // 10)
            model.compile(bertzoo.optimizers.AdamW(schedule, global_clipnorm=1.0))
            model.fit(texts, labels, batch_size=32, epochs=arguments.epochs, verbose=0)
            found = model.predict(dev_texts, verbose=0).argmax(axis=1)
            accuracies[start].append(float((found == dev_labels).mean()))
            print(f"seed {seed}, {start}: {accuracies[start][-1]:.4f}", flush=True)
    majority = float(max(dev_labels.mean(), 1 - dev_labels.mean()))
    result = {"sentences": len(texts), "majority": majority, **accuracies}
    (arguments.folder / "sst2.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
