"""Whole directories of records: the same bytes by any way, taken up where a run was killed."""

import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.corpus import prepare, shards, spill
from bertzoo.corpus.manifest import (
    Manifest,
    RecordOptions,
    read_token_counts,
    tokenizer_identity,
)
from bertzoo.corpus.prepare import prepare_records
from tests.corpus.conftest import make_text
from tests.training.kills import ROOT, Server, all_ended

PROGRAM = pathlib.Path(__file__).parent / "prepare_run.py"
OPTIONS = RecordOptions(sequence_length=32, num_shards=3, seed=7)


def contents(directory):
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}


def order(tokenizer, texts, directory, options):
    """Return the arguments of `prepare_run.run`, as JSON values."""
    return {
        "vocabulary": tokenizer.vocabulary, "texts": texts, "directory": str(directory),
        "options": options.to_dict(),
    }  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tokenizer, corpus, tmp_path_factory):
    directory = tmp_path_factory.mktemp("prepared")
    return directory, prepare_records(tokenizer, corpus, str(directory), OPTIONS, workers=1)


def test_the_manifest_says_what_is_there(prepared, corpus, tokenizer):
    directory, manifest = prepared
    assert Manifest.read(str(directory)) == manifest
    assert manifest.counts["documents"] == 60
    assert [source["path"] for source in manifest.sources] == corpus
    assert [shard.file for shard in manifest.shards] == [
        f"records-{number:05d}-of-00003.tfrecord" for number in range(3)
    ]
    assert manifest.num_examples == sum(
        1 for shard in manifest.shards for _ in tf.data.TFRecordDataset(str(directory / shard.file))
    )
    assert manifest.tokenizer["vocabulary_size"] == tokenizer.vocabulary_size
    assert read_token_counts(str(directory)).sum() == manifest.counts["tokens"]
    assert sorted(contents(directory)) == sorted(
        ["manifest.json", "token_counts.npy", *(shard.file for shard in manifest.shards)]
    )


def test_a_tokenizer_is_known_by_what_its_ids_depend_on(tokenizer):
    def made(**settings):
        return type(tokenizer)(tokenizer.vocabulary, **settings)

    assert tokenizer_identity(made(sequence_length=9)) == tokenizer_identity(tokenizer)
    assert tokenizer_identity(made(lowercase=False)) != tokenizer_identity(tokenizer)


def test_documents_are_spread_over_all_shards_once(corpus):
    found = collections.Counter()
    for source, size in enumerate([4000, 3000]):
        places = [spill.shard_of(7, source, number, 5) for number in range(size)]
        found.update(places)
    assert all(abs(count / 7000 - 0.2) < 0.025 for count in found.values())


def test_two_processes_write_the_bytes_of_one(prepared, tokenizer, corpus, tmp_path):
    directory, manifest = prepared
    steps = []
    again = prepare_records(
        tokenizer, corpus, str(tmp_path), OPTIONS, 2, lambda *step: steps.append(step)
    )
    assert again == manifest
    assert contents(tmp_path) == contents(directory)
    assert steps == [("reading", 1, 2), ("reading", 2, 2), *(("writing", n, 3) for n in (1, 2, 3))]


def test_ram_files_are_read_and_written(prepared, tokenizer, corpus):
    directory, _ = prepared
    for number, path in enumerate(corpus):
        tf.io.gfile.copy(path, f"ram://texts/{number}.txt", overwrite=True)
    prepare_records(tokenizer, ["ram://texts/*.txt"], "ram://records", OPTIONS, workers=1)
    for name, content in contents(directory).items():
        if name.endswith(".tfrecord"):
            with tf.io.gfile.GFile(f"ram://records/{name}", "rb") as file:
                assert file.read() == content


def test_a_run_killed_inside_a_shard_goes_on_and_ends_with_the_same_bytes(
    prepared, tmp_path, corpus, tokenizer
):
    directory, manifest = prepared
    target = tmp_path / "records"
    child = subprocess.Popen(
        [sys.executable, str(PROGRAM), "pause", "records-00001", json.dumps(
            order(tokenizer, corpus, target, OPTIONS))],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert child.stdout.readline() == b"written, and not in place\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    first, second = (target / shard.file for shard in manifest.shards[:2])
    assert first.exists()
    assert not second.exists()
    assert len(list(target.glob(f".{second.name}.*.partial"))) == 1
    with pytest.raises(ValueError, match="has not finished it; run it again"):
        Manifest.read(str(target))
    written = first.stat().st_mtime_ns
    time.sleep(0.01)
    assert prepare_records(tokenizer, corpus, str(target), OPTIONS, workers=1) == manifest
    assert first.stat().st_mtime_ns == written, "what was whole is not made again"
    assert contents(target) == contents(directory)


def halves_in(directory):
    return set(directory.glob(".records-*.partial"))


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "count"), [(1, 10), (2, 3)])
def test_kills_at_random_times_change_no_byte(tokenizer, tmp_path, workers, count):
    """Killed with all its processes, half of the times while a file is being written."""
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(make_text(number, 1500))
    texts = [str(tmp_path / f"{number}.txt") for number in range(3)]
    options = OPTIONS.replace(num_shards=24)
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    truth = prepare_records(tokenizer, texts, str(quiet), options, workers=1)
    expected, luck, kills, inside = contents(quiet), random.Random(workers), 0, 0
    settings = {**order(tokenizer, texts, killed, options), "workers": workers}
    with Server() as server:
        while kills < count:
            halves, done = halves_in(killed), len(list(killed.glob("records-*")))
            in_write, after = luck.random() < 0.5, luck.randint(done, min(done + 4, 23))
            process = server.start(
                tmp_path / "result", settings, call="tests.corpus.prepare_run:group"
            )
            while not all_ended([process]):
                here = len(list(killed.glob("records-*"))) >= after
                if os.getpgid(process) == process and (
                    halves_in(killed) - halves if in_write else here
                ):
                    break
            else:
                assert server.wait(process) == 0
                assert contents(killed) == expected
                shutil.rmtree(killed)  # it ended before its time had come
                continue
            os.killpg(process, signal.SIGKILL)
            assert server.wait(process) == -signal.SIGKILL
            kills, inside = kills + 1, inside + bool(halves_in(killed) - halves)
            for path in killed.glob("records-*"):
                assert path.read_bytes() == expected[path.name]
    assert inside
    assert prepare_records(tokenizer, texts, str(killed), options, workers=workers) == truth
    assert contents(killed) == expected


def test_what_a_kill_after_the_manifest_left_is_removed(prepared, tokenizer, corpus, tmp_path):
    directory, manifest = prepared
    target = tmp_path / "records"
    shutil.copytree(directory, target)
    (target / ".work").mkdir()
    (target / ".work/documents-00000").write_bytes(b"text")
    (target / ".manifest.json.17-ab.partial").write_bytes(b"{")
    assert prepare_records(tokenizer, corpus, str(target), OPTIONS, workers=1) == manifest
    assert sorted(path.name for path in target.iterdir()) == sorted(contents(directory))


def test_other_options_or_texts_are_refused(prepared, tokenizer, corpus):
    directory, manifest = prepared
    assert prepare_records(tokenizer, corpus, str(directory), OPTIONS, workers=1) == manifest
    for inputs, options, message in [
        (corpus, OPTIONS.replace(seed=8), "seed was 7 and is 8"),
        (corpus[:1], OPTIONS, "the text files are others"),
    ]:
        with pytest.raises(ValueError, match=message):
            prepare_records(tokenizer, inputs, str(directory), options, workers=1)


def test_a_begun_directory_is_refused_for_other_options(tokenizer, corpus, tmp_path):
    (tmp_path / ".work").mkdir()
    sources = [{"path": path, "bytes": os.path.getsize(path)} for path in corpus]
    plan = prepare.make_plan(tokenizer, sources, OPTIONS)
    (tmp_path / ".work" / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(ValueError, match="mode was 'next_sentence' and is 'packed'"):
        prepare_records(tokenizer, corpus, str(tmp_path), OPTIONS.replace(mode="packed"), 1)


def test_every_document_is_in_one_shard_and_in_the_order_of_its_file(corpus, tmp_path):
    counts = [
        spill.spill(path, n, OPTIONS, 3, str(tmp_path / str(n))) for n, path in enumerate(corpus)
    ]
    assert [count["documents"] for count in counts] == [40, 20]
    spills = [str(tmp_path / "0"), str(tmp_path / "1")]
    found = [list(spill.read_shard(spills, shard)) for shard in range(3)]
    for source, path in enumerate(corpus):
        for number, document in enumerate(spill.documents_of(path, OPTIONS, collections.Counter())):
            assert document in found[spill.shard_of(7, source, number, 3)]
    assert sum(map(len, found)) == 60


@pytest.mark.parametrize("mode", ["sentence_order", "full_sentences", "packed"])
def test_all_modes_write_records(tokenizer, corpus, tmp_path, mode):
    options = OPTIONS.replace(mode=mode, num_shards=1)
    manifest = prepare_records(tokenizer, corpus[:1], str(tmp_path), options, workers=1)
    assert manifest.num_examples > 50


def test_the_number_of_shards_follows_the_size_of_the_texts(corpus):
    sources = [{"path": corpus[0], "bytes": 1000}, {"path": corpus[1], "bytes": 500}]
    assert prepare.count_shards(sources, RecordOptions(shard_bytes=400)) == 4
    assert prepare.count_shards(sources, RecordOptions()) == 1
    assert len({shards.shard_seed(7, number) for number in range(99)}) == 99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "nsp"}, "mode must be one of"),
        ({"sequence_length": 2}, "sequence_length must be at least 8"),
        ({"masked": True, "mode": "packed"}, "packed rows have no static masks"),
        ({"compression": "GZIP"}, "compression goes with masked"),
        ({"short_probability": 1.5}, r"must be in \[0, 1\]"),
        ({"seqence_length": 128}, "unknown key `seqence_length`"),
    ],
)
def test_options_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        RecordOptions.from_dict(options)


def test_texts_without_text_and_patterns_without_files_are_named(tokenizer, tmp_path):
    (tmp_path / "blank.txt").write_text("\n\n")
    with pytest.raises(ValueError, match="have no text in sentences form"):
        prepare_records(tokenizer, [str(tmp_path / "blank.txt")], str(tmp_path / "r"), OPTIONS, 1)
    with pytest.raises(ValueError, match="no text file is found at"):
        prepare_records(tokenizer, [str(tmp_path / "*.md")], str(tmp_path / "r"), OPTIONS, 1)


def test_masked_records_come_from_the_same_rows(tokenizer, corpus, tmp_path, prepared):
    from bertzoo.corpus.reader import RecordReader

    options = OPTIONS.replace(masked=True, compression="GZIP")
    prepare_records(tokenizer, corpus, str(tmp_path), options, workers=1)
    plain = RecordReader(str(prepared[0]), shuffle=False)
    masked = RecordReader(str(tmp_path), shuffle=False)
    for ours, theirs in zip(plain.batches(64, epochs=1), masked.batches(64, epochs=1), strict=True):
        ids = theirs["token_ids"].copy()
        chosen = theirs["mask_weights"] > 0
        rows = np.nonzero(chosen)[0]
        ids[rows, theirs["mask_positions"][chosen]] = theirs["mask_labels"][chosen]
        assert (ids == ours["token_ids"]).all()
        for key in ("padding_mask", "segment_ids", "next_sentence_labels"):
            assert (ours[key] == theirs[key]).all()
