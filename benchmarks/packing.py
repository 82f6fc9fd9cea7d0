"""Packed rows beside padded ones: useful tokens a second of training on real text.

    python benchmarks/packing.py [TEXT] --output build/benchmarks

TEXT has one sentence a line and a blank line between documents; by default the Wikipedia excerpt of
$BERTZOO_DATA. Documents are its articles, and then its sentences one by one, as short as queries or
messages are. Each becomes rows of one text (`doc_sentences`) and packed rows (`packed`); forward
and backward of masked language modelling run on batches of both in turn. Tokens that are padding do
not count. The price of packing is a mask for every pair of tokens, to be seen in milliseconds.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pathlib
import tempfile

import side_by_side
import tensorflow as tf

import bertzoo
from bertzoo.corpus.manifest import RecordOptions
from bertzoo.corpus.prepare import prepare_records
from bertzoo.corpus.reader import RecordReader
from bertzoo.models.pretraining import PretrainingNetwork, new_head
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer
from bertzoo.training.keyed_randomness import key_of
from bertzoo.training.objectives import Pretraining

TEXT = "corpora/enwiki-excerpt/enwiki_excerpt.txt"
VOCABULARY = "vocab/bert-base-uncased/vocab.txt"
MODES = {"padded": "doc_sentences", "packed": "packed"}
COLUMNS = {
    "documents": "documents", "length": "row", "kind": "rows", "fill": "real tokens",
    "milliseconds": "ms a batch", "tokens": "useful tokens/s", "gain": "gain",
}  # fmt: skip


def main():
    parser = side_by_side.arguments(__doc__)
    parser.add_argument("text", nargs="?", type=pathlib.Path, default=side_by_side.DATA / TEXT)
    parser.add_argument("--vocabulary", type=pathlib.Path, default=side_by_side.DATA / VOCABULARY)
    parser.add_argument("--lengths", nargs="*", type=int, default=[128, 512])
    parser.add_argument("--tokens", type=int, default=4096, help="of a batch, with padding")
    parser.add_argument("--layers", default=4, type=int)
    parser.add_argument("--hidden", default=256, type=int)
    arguments = parser.parse_args()
    lines = arguments.text.read_text("utf-8").splitlines()
    if arguments.quick:
        arguments.repeats, lines = 3, lines[:3000]
    tokenizer = WordPieceTokenizer(arguments.vocabulary)
    objectives = make_objectives(arguments, tokenizer)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, separator in (("articles", "\n"), ("sentences", "\n\n")):
            text = pathlib.Path(folder) / f"{name}.txt"
            text.write_text(separator.join(lines), "utf-8")
            for length in arguments.lengths:
                rows += measure(arguments, tokenizer, objectives, text, length)
    title = (
        f"Training an encoder of {arguments.layers} layers, width {arguments.hidden}, batches of "
        f"{arguments.tokens} tokens: medians of {arguments.repeats} interleaved runs"
    )
    setting = {"versions": side_by_side.versions("bertzoo", "tensorflow", "keras")}
    side_by_side.report("packing", title, rows, COLUMNS, setting, arguments.output)


def make_objectives(arguments, tokenizer):
    """Return the objective of padded and of packed rows, on one network."""
    config = bertzoo.BackboneConfig(
        vocabulary_size=tokenizer.vocabulary_size,
        num_layers=arguments.layers,
        hidden_dim=arguments.hidden,
        num_heads=arguments.hidden // 64,
        intermediate_dim=4 * arguments.hidden,
        max_sequence_length=max(arguments.lengths),
        pooler=False,
    )
    network = PretrainingNetwork(bertzoo.Backbone(config), [new_head(config, "masked_lm")])
    return {kind: Pretraining(network, packed=kind == "packed") for kind in MODES}


def measure(arguments, tokenizer, objectives, text, length):
    """Return a row of the table for each kind of rows."""
    masker = bertzoo.TokenMasker(tokenizer, seed=7)
    contestants, counts, fills = {}, {}, {}
    for kind, mode in MODES.items():
        folder = str(text.with_name(f"{text.stem}-{kind}-{length}"))
        options = RecordOptions(mode=mode, sequence_length=length)
        manifest = prepare_records(tokenizer, [str(text)], folder, options, workers=1)
        # Over all rows: a batch may be lucky.
        fills[kind] = manifest.counts["tokens"] / (manifest.num_examples * length)
        size = arguments.tokens // length
        batch = next(iter(RecordReader(folder, seed=7).dataset(size)))
        contestants[kind] = step_of(objectives[kind], masker(batch))
        counts[kind] = fills[kind] * size * length
    times = side_by_side.interleaved(contestants, arguments.repeats)
    speed = {kind: counts[kind] / times.median(kind) for kind in MODES}
    return [
        {
            "documents": text.stem,
            "length": length,
            "kind": kind,
            "fill": f"{100 * fills[kind]:.1f} %",
            "milliseconds": 1000 * times.median(kind),
            "tokens": speed[kind],
            "gain": f"{speed[kind] / speed['padded']:.2f}",
        }
        for kind in MODES
    ]


def step_of(objective, batch):
    """Return a function that runs forward and backward on a batch and waits for the result."""
    values = [variable.value for variable in objective.trainable_variables]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            with objective.scope(key_of(7, 0)):
                terms, _ = objective.terms(batch, True, key_of(7, 1))
            loss = objective.loss(terms, objective.weights(batch))
        return loss, tf.linalg.global_norm(tape.gradient(loss, values))

    return lambda: [value.numpy() for value in step()]


if __name__ == "__main__":
    main()
