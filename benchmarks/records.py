"""Records: tokens a second and core beside Google's script, and memory by the size of the text.

    python benchmarks/records.py TEXT VOCABULARY [--memory]

TEXT has one sentence a line and a blank line between documents. With BERTZOO_MODEL_GARDEN naming a
Python that has tf-models-official, its create_pretraining_data.py (google-research/bert's
algorithm) runs beside ours on the first half megabyte. Times are CPU seconds of one process,
without imports; tokens are those of the text, without special tokens.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

PEER_BYTES = 500_000

OURS = """
import os, resource, sys, time
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
from bertzoo.corpus.manifest import RecordOptions
from bertzoo.corpus.prepare import prepare_records
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer
text, vocabulary, target, masked, length = sys.argv[1:]
tokenizer = WordPieceTokenizer(vocabulary)
tokenizer(["warm up"])
began = time.process_time()
options = RecordOptions(masked=masked == "masked", sequence_length=int(length))
manifest = prepare_records(tokenizer, [text], target, options, workers=1)
seconds = time.process_time() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print("RESULT", seconds, peak, len(manifest.shards))
"""

PEER = """
import os, random, resource, sys, time
os.environ["TF_USE_LEGACY_KERAS"] = "1"
from official.nlp.data import create_pretraining_data as create
from official.nlp.tools import tokenization
text, vocabulary, target, length = sys.argv[1:]
tokenizer = tokenization.FullTokenizer(vocabulary, do_lower_case=True)
began = time.process_time()
create.FLAGS.mark_as_parsed()
instances = create.create_training_instances(
    [text], tokenizer, create.get_processor_text_fn(False, True), int(length), 1, 0.1, 0.15, 20,
    random.Random(12345))
create.write_instance_to_example_files(
    instances, tokenizer, int(length), 20, [target], False, True)
seconds = time.process_time() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print("RESULT", seconds, peak, 1)
"""


def run(python, code, *arguments):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [python, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if done.returncode or not lines:
        raise SystemExit(done.stderr[-2000:])
    seconds, peak, shards = lines[0].split()[1:]
    return float(seconds), float(peak), int(shards)


def count_tokens(path, vocabulary):
    from bertzoo.corpus.documents import read_documents
    from bertzoo.corpus.tokenized import tokenize_documents
    from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

    tokenizer = WordPieceTokenizer(vocabulary)
    return len(tokenize_documents(read_documents(str(path)), tokenizer).token_ids)


def report(name, text, tokens, seconds, peak):
    size = pathlib.Path(text).stat().st_size / 1e6
    print(
        f"{name:42} {size:6.1f} MB {tokens / seconds:12,.0f} tokens/s/core {peak:7,.0f} MB peak",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text")
    parser.add_argument("vocabulary")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--memory", action="store_true", help="also ten times the text")
    options = parser.parse_args()
    tokens = count_tokens(options.text, options.vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for masked in ("unmasked", "masked"):
            arguments = options.vocabulary, folder / masked, masked, options.length
            seconds, peak, _ = run(sys.executable, OURS, options.text, *arguments)
            report(f"bertzoo, {masked}", options.text, tokens, seconds, peak)
        peer = os.environ.get("BERTZOO_MODEL_GARDEN")
        if peer:
            part = folder / "part.txt"
            content = pathlib.Path(options.text).read_bytes()[:PEER_BYTES]
            part.write_bytes(content[: content.rindex(b"\n") + 1])
            arguments = part, options.vocabulary, folder / "peer", options.length
            seconds, peak, _ = run(peer, PEER, *arguments)
            tokens_of_part = count_tokens(part, options.vocabulary)
            report("tf-models-official, masked", part, tokens_of_part, seconds, peak)
        if options.memory:
            large = folder / "large.txt"
            content = pathlib.Path(options.text).read_bytes()
            with open(large, "wb") as file:
                for _ in range(10):
                    file.write(content + b"\n\n")
            arguments = options.vocabulary, folder / "large", "unmasked", options.length
            seconds, peak, shards = run(sys.executable, OURS, large, *arguments)
            report(f"bertzoo, unmasked, {shards} shards", large, 10 * tokens, seconds, peak)


if __name__ == "__main__":
    main()
