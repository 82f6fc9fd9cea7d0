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

import argparse
import json
import pathlib
import platform
import statistics
import time

import tensorflow as tf
import tokenizers as hf_tokenizers

import bertzoo

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = pathlib.Path(os.environ.get("BERTZOO_DATA") or ROOT.parent / "shared" / "data")
CORPORA = ("gutenberg-books", "enwiki-excerpt", "multilingual-sample", "zhwiki-sample")


def main():
    arguments = read_arguments()
    ours, theirs = KINDS[arguments.kind](arguments.vocabulary)
    results = []
    for name, texts in read_corpora(arguments):
        results.append(compare(name, texts, ours, theirs, arguments))
        print(to_markdown(results[-1:], header=len(results) == 1), flush=True)
    if arguments.output:
        write(pathlib.Path(arguments.output), results, arguments)


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", nargs="*", default=[], help="text files, one text a line")
    parser.add_argument("--kind", default="wordpiece", choices=KINDS)
    parser.add_argument("--vocabulary", type=pathlib.Path, help="file (default: see above)")
    parser.add_argument("--batch-size", default=512, type=int)
    parser.add_argument("--repeats", default=7, type=int)
    parser.add_argument("--quick", action="store_true", help="2,048 texts, three repeats")
    parser.add_argument("--output", help="folder for KIND.json and KIND.md")
    arguments = parser.parse_args()
    if arguments.quick:
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
    seconds = {contestant: [] for contestant in contestants}
    cpu_seconds = {contestant: [] for contestant in contestants}
    for _ in range(arguments.repeats):
        for contestant, run in contestants.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            run()
            seconds[contestant].append(time.perf_counter() - start)
            cpu_seconds[contestant].append(time.process_time() - cpu_start)
    tokens = counts["bertzoo ids"]
    rates, cpu_rates = (
        {name: tokens / statistics.median(values) / 1e6 for name, values in times.items()}
        for times in (seconds, cpu_seconds)
    )
    return {
        "corpus": name,
        "texts": len(texts),
        "bytes": sum(len(text.encode()) for text in texts),
        "tokens": counts,
        "million_tokens_per_second": rates,
        "million_tokens_per_cpu_second": cpu_rates,
        "seconds": seconds,
        "ratio_ids": rates["bertzoo ids"] / rates["Hugging Face ids"],
        "ratio_offsets": rates["bertzoo offsets"] / rates["Hugging Face offsets"],
        "cpu_ratio_ids": cpu_rates["bertzoo ids"] / cpu_rates["Hugging Face ids"],
        "cpu_ratio_offsets": cpu_rates["bertzoo offsets"] / cpu_rates["Hugging Face offsets"],
    }


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


def to_markdown(results, header=True):
    lines = []
    if header:
        lines = [
            "| vocabulary | corpus | texts | bertzoo ids | Hugging Face | ratio | by CPU time "
            "| bertzoo offsets | Hugging Face | ratio | by CPU time |",
            "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
    for result in results:
        rates = result["million_tokens_per_second"]
        lines.append(
            f"| {result['vocabulary']} | {result['corpus']} | {result['texts']:,} "
            f"| {rates['bertzoo ids']:.2f} | {rates['Hugging Face ids']:.2f} "
            f"| {result['ratio_ids']:.1f} | {result['cpu_ratio_ids']:.1f} "
            f"| {rates['bertzoo offsets']:.2f} | {rates['Hugging Face offsets']:.2f} "
            f"| {result['ratio_offsets']:.1f} | {result['cpu_ratio_offsets']:.1f} |"
        )
    return "\n".join(lines)


def write(folder, results, arguments):
    folder.mkdir(parents=True, exist_ok=True)
    versions = {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "tokenizers": hf_tokenizers.__version__,
        "bertzoo": bertzoo.__version__,
    }
    setting = {
        "batch_size": arguments.batch_size,
        "repeats": arguments.repeats,
        "threads": 2,
        "cores": os.cpu_count(),
        "kind": arguments.kind,
        "vocabulary": arguments.vocabulary and arguments.vocabulary.parent.name,
        "versions": versions,
    }
    content = json.dumps({"setting": setting, "results": results}, indent=1)
    (folder / f"{arguments.kind}.json").write_text(content + "\n", "utf-8")
    made_with = ", ".join(f"{name} {version}" for name, version in versions.items())
    (folder / f"{arguments.kind}.md").write_text(
        "Million tokens a second, medians of "
        f"{arguments.repeats} interleaved runs, batches of {arguments.batch_size}, two threads, "
        f"{os.cpu_count()} cores; {made_with}.\n\n{to_markdown(results)}\n",
        "utf-8",
    )


if __name__ == "__main__":
    main()
