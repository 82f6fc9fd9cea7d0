"""Tokenizers' throughput beside Hugging Face's `tokenizers`, in one run, interleaved.

    python benchmarks/tokenization.py --output build/tokenization
    python benchmarks/tokenization.py --kind sentence_piece

WordPiece has BERT's vocabulary, SentencePiece a German ALBERT's (its English one is not to be had
offline; Hugging Face's side is built as transformers builds ALBERT's tokenizer). Both get the same
texts, the same vocabulary and two threads. bertzoo runs as users run it: in
`tf.data.Dataset.map` with two parallel calls, timed in the steady state (making an iterator costs
some 50 ms once). Hugging Face runs `encode_batch_fast` (ids) and `encode_batch` (ids and offsets)
on lists of strings; reading the results out of its objects is not counted. Each repetition times
every contestant once, so that a busy machine slows all alike; the medians and their ratios are
printed, and written as JSON and Markdown with `--output`.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["TOKENIZERS_PARALLELISM"] = "true"
os.environ["RAYON_NUM_THREADS"] = "2"

import pathlib

import side_by_side
import tensorflow as tf
import tokenizers as hf_tokenizers
from side_by_side import DATA, ROOT

import bertzoo

CORPORA = ("gutenberg-books", "enwiki-excerpt", "multilingual-sample", "zhwiki-sample")


def main():
    arguments = read_arguments()
    ours, theirs = KINDS[arguments.kind](arguments.vocabulary)
    rows = []
    for name, texts in read_corpora(arguments):
        rows.append(compare(name, texts, ours, theirs, arguments))
        print(f"{name}: {rows[-1]['ratio ids']:.1f} times Hugging Face's ids", flush=True)
    values = [key for key in rows[0] if key not in ("kind", "corpus", "texts", "tokens")]
    columns = {"kind": "vocabulary", "corpus": "corpus", "texts": "texts"}
    columns |= {key: key for key in values}
    setting = {
        "batch_size": arguments.batch_size,
        "repeats": arguments.repeats,
        "threads": 2,
        "versions": side_by_side.versions("bertzoo", "tensorflow", "tokenizers"),
    }
    title = (
        f"Tokenization, {arguments.kind}: million tokens a second, medians of "
        f"{arguments.repeats} interleaved runs, batches of {arguments.batch_size}, two threads"
    )
    output = arguments.output
    side_by_side.report(f"tokenization_{arguments.kind}", title, rows, columns, setting, output)


def wordpiece(vocabulary):
    vocabulary = vocabulary or ROOT / "tests" / "data" / "bert-base-uncased" / "vocab.txt"
    theirs = hf_tokenizers.BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    theirs.encode_special_tokens = True
    return bertzoo.WordPieceTokenizer(vocabulary), theirs._tokenizer


def sentence_piece(vocabulary):
    import sentencepiece

    vocabulary = vocabulary or DATA / "vocab" / "albert-30k-german" / "30k-clean.model"
    library = sentencepiece.SentencePieceProcessor()
    library.Load(str(vocabulary))
    pieces = [(library.IdToPiece(i), library.GetScore(i)) for i in range(library.GetPieceSize())]
    theirs = hf_tokenizers.Tokenizer(
        hf_tokenizers.models.Unigram(pieces, unk_id=library.unk_id(), byte_fallback=False)
    )
    normalizers, pre_tokenizers = hf_tokenizers.normalizers, hf_tokenizers.pre_tokenizers
    theirs.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
        ]
    )
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always"),
        ]
    )
    return bertzoo.SentencePieceTokenizer(vocabulary), theirs


def byte_pair(vocabulary):
    # RoBERTa's own where the data collection is, else the part of it that the tests have.
    folder = DATA / "vocab" / "roberta-base"
    if not folder.is_dir():
        folder = ROOT / "tests" / "data" / "roberta-base-cut"
    folder = vocabulary.parent if vocabulary else folder
    paths = [str(folder / name) for name in ("vocab.json", "merges.txt")]
    theirs = hf_tokenizers.ByteLevelBPETokenizer(*paths)
    return bertzoo.BytePairTokenizer(*paths), theirs._tokenizer


# Kind -> our tokenizer and theirs, on a vocabulary file or the usual one.
KINDS = {"wordpiece": wordpiece, "byte_pair": byte_pair, "sentence_piece": sentence_piece}


def read_arguments():
    parser = side_by_side.arguments(__doc__)
    parser.add_argument("--texts", nargs="*", default=[], help="text files, one text a line")
    parser.add_argument("--kind", default="wordpiece", choices=KINDS)
    parser.add_argument("--vocabulary", type=pathlib.Path, help="file (default: see above)")
    parser.add_argument("--batch-size", default=512, type=int)
    arguments = parser.parse_args()
    if arguments.quick:  # 2,048 texts of each corpus
        arguments.repeats = 3
    return arguments


def read_corpora(arguments):
    folders = [pathlib.Path(path) for path in arguments.texts]
    if not folders:
        folders = [DATA / "corpora" / name for name in CORPORA]
        folders = [folder for folder in folders if folder.exists()]
    if not folders:
        raise SystemExit("no texts: give text files with --texts, or set BERTZOO_DATA.")
    for folder in folders:
        files = [folder] if folder.is_file() else sorted(folder.rglob("*.t[xs][tv]"))
        texts = [
            line
            for file in files
            if file.name != "PROVENANCE.txt"
            for line in file.read_text("utf-8", "ignore").split("\n")
            if line
        ]
        yield folder.name, texts[:2048] if arguments.quick else texts


def compare(name, texts, ours, theirs, arguments):
    size = arguments.batch_size
    # Whole batches only, so that the pipeline can be repeated without a seam.
    texts = (texts * (1 + 4 * size // len(texts)))[: max(len(texts) // size, 4) * size]
    batches = [texts[start : start + size] for start in range(0, len(texts), size)]
    contestants = {
        "bertzoo ids": steady_pipeline(batches, lambda batch: ours(batch)),
        "Hugging Face ids": lambda: encode(theirs.encode_batch_fast, batches),
        "bertzoo offsets": steady_pipeline(
            batches, lambda batch: ours.tokenize_with_offsets(batch)
        ),
        "Hugging Face offsets": lambda: encode(theirs.encode_batch, batches),
    }
    counts = {contestant: run() for contestant, run in contestants.items()}  # warms up, too
    times = side_by_side.interleaved(contestants, arguments.repeats, warm_up=0)
    row = {"kind": arguments.kind, "corpus": name, "texts": len(texts), "tokens": counts}
    for what in ("ids", "offsets"):
        ours, peer = f"bertzoo {what}", f"Hugging Face {what}"
        row[ours] = counts[ours] / times.median(ours) / 1.0e6
        row[peer] = counts[peer] / times.median(peer) / 1.0e6
        row[f"ratio {what}"] = row[ours] / row[peer]
        row[f"CPU ratio {what}"] = (counts[ours] / times.median(ours, "cpu")) / (
            counts[peer] / times.median(peer, "cpu")
        )
    return row


def steady_pipeline(batches, tokenize):
    """Return a function that runs all batches through a pipeline which is already running."""

    def results(batch):
        values = tokenize(batch)
        # Everything that was asked for takes part in the result, so that nothing is pruned.
        parts = values if isinstance(values, tuple) else (values,)
        checks = [tf.reduce_max(part.values) for part in parts]
        return tf.size(parts[0].values), checks

    dataset = tf.data.Dataset.from_tensor_slices(batches).cache().repeat()
    # No prefetching beyond the two calls: nothing runs on while another contestant is timed.
    iterator = iter(dataset.map(results, num_parallel_calls=2))

    def run():
        return int(sum(next(iterator)[0] for _ in batches))

    return run


def encode(function, batches):
    return sum(
        len(encoding) for batch in batches for encoding in function(batch, add_special_tokens=False)
    )


if __name__ == "__main__":
    main()
