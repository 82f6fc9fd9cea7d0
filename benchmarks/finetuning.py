"""Fine-tuning beside transformers (PyTorch): same weights, data, order, budget and seeds, in turn.

    python benchmarks/finetuning.py --output build/benchmarks
    python benchmarks/finetuning.py --quick --tasks mrpc

Both begin with all-MiniLM-L6-v2 as a plain BERT encoder under the same new head (pooled output,
dropout 0.1, linear, the same random numbers), see the same texts in the same order in the same
batches, and use AdamW at the same rates (linear warm-up over a tenth, linear decay, weight decay
0.01 but on biases and norms, norm of gradients at most 1). Each tokenizes and pads as its users
do. What differs is dropout's noise; `--dropout 0` takes that away, too. Scores are scikit-learn's
and scipy's. The two take turns in every seed; `agree` says whether their means differ by at most
twice the standard error of the difference over the seeds (taken as 0.005 at least: three seeds
may agree by chance). Rows a second are of whole runs; `steady` leaves out what a first step sets
up (the median of all steps). Milliseconds of processor time, of all cores, depend less on what
else the machine does: those of the median step.

With `--output` every training is written as it ends, and a run that was stopped goes on from there.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import csv
import gc
import json
import math
import statistics
import time

import keras
import numpy as np
import side_by_side

import bertzoo as bz
from bertzoo import checkpoints
from bertzoo.optimizers import AdamW, WarmupPolynomial

PRESET = "all_minilm_l6_v2_en"
TITLES = {"sst2": "SST-2, accuracy", "cola": "CoLA, Matthews", "mrpc": "MRPC, F1",
          "stsb": "STS-B, Spearman"}  # fmt: skip
# Training rows, and the longest row in tokens: what fits into minutes on two cores.
ROWS = {"sst2": 800, "cola": 1500, "mrpc": 800, "stsb": 800}
LENGTHS = {"sst2": 64, "cola": 48, "mrpc": 96, "stsb": 64}
WARMUP, DECAY, CLIP = 0.1, 0.01, 1.0


def main():
    parser = side_by_side.arguments(__doc__)
    parser.add_argument("--tasks", nargs="*", default=["sst2", "stsb", "cola"], choices=TITLES)
    parser.add_argument("--rows", type=int, help="training rows of each task")
    parser.add_argument("--dev-rows", default=1000, type=int)
    parser.add_argument("--epochs", default=2, type=int)
    parser.add_argument("--batch-size", default=32, type=int)
    parser.add_argument("--rate", default=1.0e-4, type=float)
    parser.add_argument("--dropout", default=0.1, type=float, help="of encoder and head")
    parser.add_argument("--seeds", nargs="*", default=[1, 2, 3], type=int)
    options = parser.parse_args()
    if options.quick:
        options.rows, options.dev_rows, options.epochs = 320, 200, 1
        options.seeds = options.seeds[:2]
    journal = Journal(options)
    rows = [compare(task, options, journal) for task in options.tasks]
    columns = {"task": "task"} | {key: key for key in rows[0] if key != "task"}
    title = (
        f"Fine-tuning {PRESET}: {options.epochs} epochs, batch {options.batch_size}, rate "
        f"{options.rate:g}, seeds {options.seeds}; mean (spread)"
    )
    packages = ("bertzoo", "tensorflow", "keras", "torch", "transformers")
    setting = {"options": {key: str(value) for key, value in vars(options).items()},
               "versions": side_by_side.versions(*packages)}  # fmt: skip
    side_by_side.report("finetuning", title, rows, columns, setting, options.output)


class Journal:
    """What is known of each training: lines of `finetuning.jsonl` in the folder of the output."""

    def __init__(self, options):
        self.file = options.output and options.output / "finetuning.jsonl"
        names = ("epochs", "batch_size", "rate", "dropout")
        self.setting = {name: getattr(options, name) for name in names}
        self.known = {}
        if self.file and self.file.exists():
            for line in map(json.loads, self.file.read_text("utf-8").splitlines()):
                if line["setting"] == self.setting:
                    self.known[tuple(line["key"])] = line["outcome"]

    def get(self, key, train):
        """Return the outcome of a training, which is run if nobody has."""
        if key not in self.known:
            self.known[key] = train()
            if self.file:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                line = {"setting": self.setting, "key": key, "outcome": self.known[key]}
                with open(self.file, "a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        return self.known[key]


def compare(task, options, journal):
    """Return one row of the table."""
    train, dev = read(task)
    train = pick(train, options.rows or ROWS[task], seed=0)
    dev = pick(dev, options.dev_rows, seed=1)
    outcomes = {"bertzoo": [], "transformers": []}
    for turn, seed in enumerate(options.seeds):
        contestants = [("bertzoo", train_ours), ("transformers", train_theirs)]
        for name, run in contestants[:: 1 if turn % 2 == 0 else -1]:
            outcome = journal.get(
                (task, seed, name, len(train["label"]), len(dev["label"])),
                lambda run=run, seed=seed: once(run, task, train, dev, seed, options),
            )
            outcomes[name].append(outcome)
            print(
                f"{task} seed {seed} {name}: {outcome['score']:.4f}, {outcome['seconds']:.0f} s "
                f"({outcome['cpu_seconds']:.0f} s of processor time)",
                flush=True,
            )
    ours, theirs = ([one["score"] for one in outcomes[name]] for name in outcomes)
    row = {
        "task": f"{TITLES[task]} ({len(train['label'])} rows, {len(dev['label'])} dev)",
        "bertzoo": spell(ours),
        "transformers": spell(theirs),
        "baseline": baseline(task, train["label"], dev["label"]),
        "agree": "yes" if agree(ours, theirs) else "no",
    }
    for title, measure in (
        ("rows/s", "rows_per_second"),
        ("steady", "steady"),
        ("CPU ms/row", "cpu_ms"),
    ):
        for name, found in outcomes.items():
            row[f"{name} {title}"] = statistics.median(one[measure] for one in found)
    return row


def once(run, task, train, dev, seed, options):
    """Return the score and the speed of one training."""
    time.sleep(0.3)  # threads of the other one may still spin
    began = time.process_time()
    logits, seconds, steps = run(task, train, dev, seed, new_head(task, seed), options)
    cpu_seconds = time.process_time() - began
    gc.collect()
    wall, cpu = zip(*steps, strict=True)
    return {
        "score": score(task, dev["label"], logits),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "rows_per_second": len(train["label"]) * options.epochs / seconds,
        "steady": options.batch_size / statistics.median(wall),
        "cpu_ms": 1000 * statistics.median(cpu) / options.batch_size,
    }


# === Data ===


def read(task):
    """Return training and dev rows: columns text, maybe text_pair, label."""
    glue = side_by_side.DATA / "glue"
    if task == "sst2":
        parts = [tsv(glue / "SST-2" / f"{part}.tsv")[1:] for part in ("train", "dev")]
        return [{"text": [r[0] for r in rows], "label": [int(r[1]) for r in rows]}
                for rows in parts]  # fmt: skip
    if task == "cola":
        # GLUE's dev set is both of the original's.
        train, *dev = [
            tsv(glue / "CoLA" / f"{part}.tsv")
            for part in ("in_domain_train", "in_domain_dev", "out_of_domain_dev")
        ]
        parts = [train, dev[0] + dev[1]]
        return [{"text": [r[3] for r in rows], "label": [int(r[1]) for r in rows]}
                for rows in parts]  # fmt: skip
    if task == "mrpc":
        names = ("msr_paraphrase_train.txt", "msr_paraphrase_test.txt")
        parts = [tsv(glue / "MRPC" / name)[1:] for name in names]
        return [{"text": [r[3] for r in rows], "text_pair": [r[4] for r in rows],
                 "label": [int(r[0]) for r in rows]} for rows in parts]  # fmt: skip
    parts = [tsv(glue / "STS-B" / f"sts-{part}.csv") for part in ("train", "dev")]
    return [{"text": [r[5] for r in rows], "text_pair": [r[6] for r in rows],
             "label": [float(r[4]) for r in rows]} for rows in parts]  # fmt: skip


def tsv(path):
    with open(path, encoding="utf-8-sig", newline="\n") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def pick(columns, count, seed):
    """Return `count` rows, drawn once."""
    order = np.random.default_rng(seed).permutation(len(columns["label"]))[:count]
    return {name: [column[i] for i in order] for name, column in columns.items()}


def texts(columns):
    return {key: columns[key] for key in ("text", "text_pair") if key in columns}


def orders(seed, count, epochs):
    """Return the order of the rows in each epoch, the same for both."""
    random = np.random.default_rng(seed)
    return [random.permutation(count) for _ in range(epochs)]


def new_head(task, seed):
    """Return the kernel of the new head, BERT's truncated normal."""
    num_outputs = 1 if task == "stsb" else 2
    drawn = keras.initializers.TruncatedNormal(stddev=0.02, seed=seed)((384, num_outputs))
    return np.asarray(drawn)


# === The two ===


def now():
    """Return the clock and the processor time of this process, in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


class StepTimes(keras.callbacks.Callback):
    """Seconds of every step, on the clock and of all cores."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        """Note when a step begins."""
        self._began = now()

    def on_train_batch_end(self, batch, logs=None):
        """Note how long it took."""
        self.seconds.append(now() - self._began)


def train_ours(task, train, dev, seed, head, options):
    """Return dev logits, the seconds of training, and those of each step."""
    keras.utils.set_random_seed(seed)
    count, steps = len(train["label"]), steps_of(train, options)
    embedder = bz.TextEmbedder.from_preset(PRESET, sequence_length=LENGTHS[task])
    rates = {"dropout": options.dropout, "attention_dropout": options.dropout}
    backbone = bz.Backbone(embedder.backbone.config.replace(**rates))
    backbone.set_weights(embedder.backbone.get_weights())
    model = bz.TextClassifier.from_backbone(
        backbone,
        embedder.preprocessor,
        num_classes=head.shape[1],
        input="pooled",
        dropout=options.dropout,
    )
    logits = [v for v in model.network.variables if v.path.endswith("logits/kernel")]
    assert len(logits) == 1, [v.path for v in model.network.variables]
    logits[0].assign(head)
    schedule = WarmupPolynomial(options.rate, steps, int(WARMUP * steps), restarted=True)
    model.compile(AdamW(schedule, weight_decay=DECAY, global_clipnorm=CLIP))
    times, labels = StepTimes(), np.array(train["label"])
    began = time.perf_counter()
    for order in orders(seed, count, options.epochs):
        columns = {name: [column[i] for i in order] for name, column in texts(train).items()}
        model.fit(
            columns,
            labels[order],
            batch_size=options.batch_size,
            shuffle=False,
            verbose=0,
            callbacks=[times],
        )
    seconds = time.perf_counter() - began
    return model.predict(texts(dev), verbose=0), seconds, times.seconds


def train_theirs(task, train, dev, seed, head, options):
    """Return the same of transformers."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.set_seed(seed)
    folder = str(checkpoints.open_source(PRESET).directory)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.BertForSequenceClassification.from_pretrained(
        folder,
        num_labels=head.shape[1],
        classifier_dropout=options.dropout,
        hidden_dropout_prob=options.dropout,
        attention_probs_dropout_prob=options.dropout,
    )
    with torch.no_grad():
        model.classifier.weight.copy_(torch.tensor(head.T))
        model.classifier.bias.zero_()
    steps = steps_of(train, options)
    plain = [p for n, p in model.named_parameters() if n.endswith("bias") or "LayerNorm" in n]
    decayed = [
        p for n, p in model.named_parameters() if not (n.endswith("bias") or "LayerNorm" in n)
    ]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}],
        lr=options.rate,
        eps=1.0e-6,
    )
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, int(WARMUP * steps), steps)
    label = torch.tensor(train["label"], dtype=torch.float if head.shape[1] == 1 else torch.long)

    def features(columns, rows):
        parts = [[column[i] for i in rows] for column in texts(columns).values()]
        return tokenizer(
            *parts, padding=True, truncation=True, max_length=LENGTHS[task], return_tensors="pt"
        )

    model.train()
    seconds = []
    began = time.perf_counter()
    for order in orders(seed, len(label), options.epochs):
        for start in range(0, len(label), options.batch_size):
            step_began = now()
            rows = order[start : start + options.batch_size]
            loss = model(**features(train, rows), labels=label[rows]).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            seconds.append(now() - step_began)
    whole = time.perf_counter() - began
    model.eval()
    logits = []
    with torch.inference_mode():
        for start in range(0, len(dev["label"]), options.batch_size):
            rows = range(start, min(start + options.batch_size, len(dev["label"])))
            logits.append(model(**features(dev, rows)).logits.numpy())
    return np.concatenate(logits), whole, seconds


def steps_of(train, options):
    return math.ceil(len(train["label"]) / options.batch_size) * options.epochs


# === Scores ===


def score(task, true, logits):
    """Return the task's metric by the libraries that define it."""
    from scipy.stats import spearmanr
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    if task == "stsb":
        return float(spearmanr(true, logits[:, 0]).statistic)
    metric = {"sst2": accuracy_score, "cola": matthews_corrcoef, "mrpc": f1_score}[task]
    return float(metric(true, logits.argmax(axis=1)))


def baseline(task, train, dev):
    """Return the metric of always saying the same."""
    if task in ("stsb", "cola"):
        return 0.0  # what is constant correlates with nothing
    most = max(set(train), key=train.count)
    return score(task, dev, np.eye(2)[[most] * len(dev)])


def agree(ours, theirs):
    """Return whether the means differ by less than twice the standard error of the difference."""
    if len(ours) < 2:
        return False
    error = math.sqrt(
        statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(ours)
    )
    return abs(statistics.mean(ours) - statistics.mean(theirs)) <= 2 * max(error, 0.005)


def spell(values):
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ({spread:.4f})"


if __name__ == "__main__":
    main()
