"""What grows with the work, beside what must: length, batch, replicas, vocabulary, corpus, memory.

    python benchmarks/scaling.py --output build/benchmarks
    python benchmarks/scaling.py --quick --parts length vocabulary

Each row of a table is a size; `must` is how many times the first row's work it is (floating-point
operations by the formulas of Narayanan et al. 2021 for the encoder, tokens or parameters elsewhere)
and `does` how many times its time or memory. `does / must` above 1 grows worse than it must. The
times of one table are interleaved. Memory is the most that a process of its own held, without what
the smallest size held.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import side_by_side
import tensorflow as tf

import bertzoo
from bertzoo.corpus.manifest import RecordOptions
from bertzoo.corpus.prepare import prepare_records
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

TEXT = "corpora/gutenberg-books/gutenberg_books.txt"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def main():
    parser = side_by_side.arguments(__doc__, repeats=3)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--layers", default=4, type=int)
    parser.add_argument("--hidden", default=768, type=int)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.layers, arguments.hidden = 1, 256
    for part in arguments.parts:
        rows = PARTS[part](arguments)
        if not rows:
            continue
        setting = {"versions": side_by_side.versions("bertzoo", "tensorflow", "keras")}
        title = (
            f"Growth, {part}: {arguments.layers} layers of width {arguments.hidden} where there "
            f"is an encoder, medians of {arguments.repeats} interleaved runs"
        )
        columns = {key: key for row in rows for key in row}
        side_by_side.report(f"scaling_{part}", title, rows, columns, setting, arguments.output)


def grown(rows, measured):
    """Give rows with `must` their `does`, both relative to the first row."""
    first = rows[0]
    for row in rows[1:]:
        row["does"] = row[measured] / first[measured]
        row["does / must"] = row["does"] / row["must"]
    print(*rows, sep="\n", flush=True)
    return rows


def config_of(arguments, **fields):
    width = arguments.hidden
    sizes = {"num_layers": arguments.layers, "hidden_dim": width, "num_heads": width // 64,
             "intermediate_dim": 4 * width}  # fmt: skip
    return bertzoo.BackboneConfig(**{**sizes, **fields})


# === The encoder ===


def encoder_rows(arguments, shapes, key):
    backbone = bertzoo.Backbone(config_of(arguments, vocabulary_size=1000))
    run = tf.function(lambda ids: backbone(ids, training=False)["sequence_output"][0, 0, 0])
    width, contestants, rows = arguments.hidden, {}, []
    for batch, length in shapes:
        ids = {"token_ids": tf.ones((batch, length), "int32")}
        contestants[f"{batch}x{length}"] = lambda ids=ids: run(ids).numpy()
        work = batch * length * (24 * width**2 + 4 * length * width)  # of one layer
        rows.append({"batch x length": f"{batch}x{length}", "work": work})
    times = side_by_side.interleaved(contestants, arguments.repeats)
    for row in rows:
        row["ms"] = 1000 * times.median(row["batch x length"])
        row["GFLOP/s"] = arguments.layers * row["work"] / row["ms"] / 1e6
        row["must"] = row["work"] / rows[0]["work"]
    rows = [{key: row[key] for key in row if key != "work"} for row in rows]
    return grown(rows, "ms")


def length(arguments):
    """Time by length: the same number of texts, four times the work and more each."""
    sizes = (32, 128, 512) if arguments.quick else (32, 64, 128, 256, 512)
    return encoder_rows(arguments, [(4, size) for size in sizes], "length")


def batch(arguments):
    """Time by batch: 128 tokens each."""
    sizes = (1, 4, 16) if arguments.quick else (1, 2, 4, 8, 16, 32, 64)
    return encoder_rows(arguments, [(size, 128) for size in sizes], "batch")


# === The vocabulary ===


def vocabulary(arguments):
    """Tokenizer, masked language model and training step by the size of the vocabulary."""
    text = corpus_text(300_000)
    if text is None:
        return []
    words = sorted(set(text.lower().split()))
    lines = text.splitlines()
    rows, contestants = [], {}
    for size in (8_000, 30_000) if arguments.quick else (8_000, 30_000, 120_000):
        tokenizer, seconds = tokenizer_of(words, size)
        network = bertzoo.MaskedLM.from_backbone(
            bertzoo.Backbone(config_of(arguments, vocabulary_size=size, pooler=False))
        ).network
        rows.append({"vocabulary": size, "tokenizer s": seconds, "must": size})
        for name, run in {
            "tokenize ms": lambda tokenizer=tokenizer: tokenizer(lines),
            "masked words ms": masked_words(network),
            "training step ms": training_step(network),
        }.items():
            contestants[size, name] = run
    times = side_by_side.interleaved(contestants, arguments.repeats)
    for size, name in contestants:
        (row,) = [row for row in rows if row["vocabulary"] == size]
        row[name] = 1000 * times.median((size, name))
    for row in rows:
        row["must"] /= 8_000  # the words' part of it; the encoder's stays
        for name in ("tokenize ms", "masked words ms", "training step ms"):
            row[f"{name[:-3]} does"] = row[name] / rows[0][name]
    print(*rows, sep="\n", flush=True)
    return rows


def tokenizer_of(words, size):
    """Return a WordPiece tokenizer of letters and words, real and made up, and its seconds."""
    letters = sorted({letter for word in words for letter in word})
    real = list(dict.fromkeys([*SPECIAL, *letters, *(f"##{x}" for x in letters), *words]))[:size]
    made_up = [f"word{number}" for number in range(size - len(real))]
    began = time.perf_counter()
    tokenizer = WordPieceTokenizer([*real, *made_up])
    tokenizer(["first"])
    return tokenizer, time.perf_counter() - began


def some_ids():
    rng = np.random.default_rng(0)
    ids = {"token_ids": rng.integers(5, 8000, (8, 128)).astype(np.int32)}
    return {**ids, "mask_positions": np.tile(np.arange(20, dtype=np.int32), (8, 1))}


def masked_words(network):
    ids = {key: tf.constant(value) for key, value in some_ids().items()}
    run = tf.function(lambda: network(ids, training=False)[0, 0, 0])
    return lambda: run().numpy()


def training_step(network):
    ids = {key: tf.constant(value) for key, value in some_ids().items()}

    def loss():
        logits = network(ids, training=True)
        labels = tf.zeros(tf.shape(logits)[:2], "int32")
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        )

    return training(network, loss)


def training(model, loss):
    """Return a function that trains a model for one step."""
    optimizer = bertzoo.optimizers.AdamW(1e-5)
    variables = model.trainable_variables
    optimizer.build(variables)

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            value = loss()
        optimizer.apply(tape.gradient(value, [v.value for v in variables]))
        return value

    return lambda: run().numpy()


# === The corpus ===


def corpus(arguments):
    """Seconds and memory of records by the size of the text; one process each."""
    rows = []
    sizes = (1, 2) if arguments.quick else (1, 10, 100)
    for megabytes in sizes:
        if corpus_text(1) is None:
            return []
        found = [in_process("records", megabytes) for _ in range(min(arguments.repeats, 2))]
        best = min(found, key=lambda one: one["seconds"])
        rows.append({"MB": megabytes, **best, "must": megabytes / sizes[0]})
    return grown(rows, "seconds")


def records(megabytes):
    """Prepare records of so much text; return CPU seconds."""
    text = corpus_text(1_000_000)
    tokenizer, _ = tokenizer_of(sorted(set(corpus_text(300_000).lower().split())), 20_000)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "text.txt"
        with path.open("w", encoding="utf-8") as file:
            for _ in range(megabytes):
                file.write(text)
        began = time.process_time()
        options = RecordOptions(sequence_length=128)
        prepare_records(tokenizer, [str(path)], f"{folder}/records", options, workers=1)
        return {"seconds": time.process_time() - began}


# === Memory ===


def memory(arguments):
    """Bytes a parameter and a token of a training step; one process each."""
    layers, width = arguments.layers, arguments.hidden
    base = in_process("step", layers, width, 1, 128)
    deep = in_process("step", layers + 4, width, 1, 128)
    wide = in_process("step", layers, width, 9, 128)
    long = in_process("step", layers, width, 1, 512)
    per_parameter = 1e6 * (deep["peak MB"] - base["peak MB"])
    per_parameter /= deep["parameters"] - base["parameters"]
    rows = [{"memory": "parameter", "bytes": per_parameter, "theory": 16,
             "why": "weight, gradient and two moments in float32"}]  # fmt: skip
    for name, other, tokens, size in (("token of 128", wide, 8 * 128, 128),
                                      ("token, 128 to 512", long, 512 - 128, 512)):  # fmt: skip
        value = 1e6 * (other["peak MB"] - base["peak MB"]) / tokens / layers
        # Kept for the gradient, of width: q, k, v, context, two sums, two norms, and the inner
        # layer twice (before and behind the activation) of 4; of length: three maps a head.
        theory = 4 * (16 * width + 3 * (width // 64) * size)
        rows.append({"memory": f"{name}, a layer", "bytes": value, "theory": theory,
                     "why": "what the gradient needs again"})  # fmt: skip
    for row in rows:
        row["does / must"] = row["bytes"] / row["theory"]
    print(*rows, sep="\n", flush=True)
    return rows


def step(layers, width, rows, length):
    """Run two training steps; return how many parameters they moved."""
    config = bertzoo.BackboneConfig(
        vocabulary_size=1000, num_layers=layers, hidden_dim=width, num_heads=width // 64,
        intermediate_dim=4 * width, pooler=False, dropout=0.0, attention_dropout=0.0,
    )  # fmt: skip
    backbone = bertzoo.Backbone(config)

    def loss():
        output = backbone({"token_ids": tf.ones((rows, length), "int32")}, training=True)
        return tf.reduce_mean(output["sequence_output"] ** 2)

    run = training(backbone, loss)
    for _ in range(2):
        run()
    return {"parameters": sum(int(np.prod(v.shape)) for v in backbone.trainable_variables)}


# === Recomputation ===


def recomputation(arguments):
    """Seconds and memory of a step whose layers run again on the way back; one process each."""
    rows = []
    for length in (64, 128) if arguments.quick else (128, 512):
        sizes = arguments.layers, arguments.hidden, 8, length
        plain = in_process("pretraining_step", *sizes, False)
        again = in_process("pretraining_step", *sizes, True)
        rows.append({
            "batch x length": f"8x{length}",
            "CPU s": plain["CPU s"], "CPU s, recomputed": again["CPU s"],
            "time": again["CPU s"] / plain["CPU s"],
            "MB a step": plain["step MB"], "MB a step, recomputed": again["step MB"],
            "memory": again["step MB"] / plain["step MB"],
        })  # fmt: skip
    print(*rows, sep="\n", flush=True)
    return rows


def pretraining_step(layers, width, rows, length, recompute, devices=1):
    """Return the median seconds of a step, and what it took beyond weights and gradients."""
    from bertzoo.models.pretraining import PretrainingNetwork, new_head
    from bertzoo.training.objectives import Pretraining
    from bertzoo.training.step import TrainStep
    from bertzoo.training.strategy import StrategyConfig, make_replicas

    copies = make_replicas(
        StrategyConfig("mirrored", devices=devices) if devices > 1 else StrategyConfig("one_device")
    )
    config = bertzoo.BackboneConfig(
        vocabulary_size=1000, num_layers=layers, hidden_dim=width, num_heads=width // 64,
        intermediate_dim=4 * width, max_sequence_length=512,
    )  # fmt: skip
    heads = [new_head(config, kind) for kind in ("masked_lm", "next_sentence")]
    with copies.scope():
        network = PretrainingNetwork(bertzoo.Backbone(config), heads)
        step = TrainStep(
            Pretraining(network, recompute=recompute), bertzoo.optimizers.AdamW(1e-5), copies
        )
    ones = tf.ones((rows // devices, length), "int32")
    batch = {"token_ids": ones, "padding_mask": ones, "segment_ids": 0 * ones,
             "mask_positions": ones[:, :20], "mask_labels": ones[:, :20],
             "mask_weights": ones[:, :20], "next_sentence_labels": ones[:, 0]}  # fmt: skip
    batches = copies.iterate(lambda _: tf.data.Dataset.from_tensors(batch).repeat())
    gradients = 4 * sum(int(np.prod(v.shape)) for v in network.trainable_variables) / 1e6
    before = side_by_side.peak_memory_mb()
    seconds, cpu_seconds = [], []
    for number in range(4):
        began, cpu_began = time.perf_counter(), time.process_time()
        step.run(batches, number, 1)
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - cpu_began)
    taken = side_by_side.peak_memory_mb() - before
    # Weights and moments lay there before.
    return {
        "s": sorted(seconds[1:])[1],
        "CPU s": sorted(cpu_seconds[1:])[1],
        "step MB": taken - gradients,
    }


# === Replicas ===


def replicas(arguments):
    """Seconds of a step of the same batch on one and on two replicas; one process each.

    Two devices of one processor share its cores, so that the time must stay what it is.
    """
    rows = []
    for count in (1, 2):
        found = in_process(
            "pretraining_step", arguments.layers, arguments.hidden, 8, 128, False, count
        )
        rows.append({"replicas": count, "s": found["s"], "CPU s": found["CPU s"], "must": 1.0})
    return grown(rows, "CPU s")


def in_process(name, *sizes):
    """Run a function of this file in a process of its own; add the most memory it held."""
    code = f"import json, scaling, side_by_side; found = scaling.{name}(*{sizes!r}); "
    code += "found['peak MB'] = side_by_side.peak_memory_mb(); print(json.dumps(found))"
    folder = pathlib.Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": python_path()}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, env=environment
    )
    return json.loads(done.stdout.decode().splitlines()[-1])


def python_path():
    return os.pathsep.join([str(side_by_side.ROOT), os.environ.get("PYTHONPATH", "")])


def corpus_text(size):
    """Return so many characters of English prose, repeated where there is less; None without."""
    path = side_by_side.DATA / TEXT
    if not path.exists():
        print(f"left out: set BERTZOO_DATA to the folder that holds {TEXT}.")
        return None
    text = path.read_text("utf-8")
    return (text * (size // len(text) + 1))[:size]


PARTS = {
    "length": length,
    "batch": batch,
    "replicas": replicas,
    "vocabulary": vocabulary,
    "corpus": corpus,
    "memory": memory,
    "recomputation": recomputation,
}


if __name__ == "__main__":
    main()
