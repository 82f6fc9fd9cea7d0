"""Reading records: one order for all, a start anywhere, and every fault by name."""

import collections
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.corpus.manifest import RecordOptions
from bertzoo.corpus.prepare import prepare_records
from bertzoo.corpus.reader import RecordReader

OPTIONS = RecordOptions(sequence_length=32, num_shards=5, seed=7)


@pytest.fixture(scope="module")
def directory(tokenizer, corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    prepare_records(tokenizer, corpus, str(folder), OPTIONS, workers=1)
    return folder


@pytest.fixture
def copy(directory, tmp_path):
    shutil.copytree(directory, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def reader(directory):
    return RecordReader(str(directory), seed=3, window=2)


def rows(batches):
    return [
        (int(epoch), int(index), tuple(ids))
        for batch in batches
        for epoch, index, ids in zip(
            batch["epoch"], batch["example_index"], batch["token_ids"].tolist(), strict=True
        )
    ]


def test_an_epoch_has_every_record_once(reader, directory):
    unshuffled = rows(RecordReader(str(directory), shuffle=False).batches(7, epochs=1))
    shuffled = rows(reader.batches(7, epochs=1))
    assert [index for _, index, _ in shuffled] == list(range(reader.num_examples))
    ids = [row[2] for row in shuffled]
    assert collections.Counter(ids) == collections.Counter(row[2] for row in unshuffled)
    assert ids != [row[2] for row in unshuffled]


def test_epochs_and_seeds_have_orders_of_their_own(reader, directory):
    first, second = np.array_split(np.array(rows(reader.batches(1, epochs=2)), object), 2)
    assert sorted(row[2] for row in first) == sorted(row[2] for row in second)
    assert [row[2] for row in first] != [row[2] for row in second]
    other = RecordReader(str(directory), seed=4, window=2)
    assert [row[2] for row in rows(other.batches(1, epochs=1))] != [row[2] for row in first]


@pytest.mark.parametrize("step", [0, 1, 13, 40])
def test_a_start_at_any_step_gives_the_same_batches(reader, step):
    batches = reader.batches(16)
    whole = [next(batches) for _ in range(step + 3)][step:]
    for batch, again in zip(whole, reader.batches(16, step=step), strict=False):
        assert all((batch[key] == again[key]).all() for key in batch)
    epoch, index = reader.position(step, 16)
    assert (whole[0]["epoch"][0], whole[0]["example_index"][0]) == (epoch, index)


def test_pipelines_read_the_parts_of_the_batch_of_one(reader):
    whole = next(reader.batches(12, step=30))
    parts = [next(reader.batches(12, 30, pipeline, 3)) for pipeline in range(3)]
    for key, value in whole.items():
        assert (np.concatenate([part[key] for part in parts]) == value).all()


def test_a_record_is_found_again_by_its_place(reader):
    batch = next(reader.batches(5, step=11))
    path, number = reader.identify(int(batch["epoch"][2]), int(batch["example_index"][2]))
    records = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    feature = tf.train.Example.FromString(records[number]).features.feature
    ids = np.frombuffer(feature["token_ids"].bytes_list.value[0], "<u2")
    assert ids.tolist() == batch["token_ids"][2].tolist()
    with pytest.raises(ValueError, match="an epoch has"):
        reader.identify(0, reader.num_examples)


def test_datasets_have_static_shapes_and_int32(reader):
    spec = reader.dataset(8).element_spec
    assert all(
        entry.shape.is_fully_defined() and entry.dtype == tf.int32 for entry in spec.values()
    )
    sizes = [len(batch["token_ids"]) for batch in reader.dataset(50, epochs=1)]
    assert sum(sizes) == reader.num_examples
    for batch, again in zip(reader.dataset(8, step=2).take(2), reader.batches(8, 2), strict=False):
        assert all((batch[key].numpy() == again[key]).all() for key in again)


def test_segments_and_masks_follow_the_separators(reader):
    batch = next(reader.batches(16))
    for ids, mask, segments in zip(
        batch["token_ids"], batch["padding_mask"], batch["segment_ids"], strict=True
    ):
        assert mask.tolist() == (ids > 0).astype(int).tolist()
        first = ids.tolist().index(3) + 1
        assert segments[:first].sum() == 0
        assert (segments[first:] == mask[first:]).all()


def test_masks_of_packed_rows_count_the_texts(tokenizer, corpus, tmp_path):
    options = OPTIONS.replace(mode="packed", sequence_length=64)
    prepare_records(tokenizer, corpus, str(tmp_path), options, workers=1)
    batch = next(RecordReader(str(tmp_path)).batches(16))
    assert batch["padding_mask"].max() > 1
    for ids, mask in zip(batch["token_ids"].tolist(), batch["padding_mask"].tolist(), strict=True):
        text, expected = 0, []
        for token in ids:
            text += token == 2
            expected.append(text if token else 0)
        assert mask == expected
    assert not batch["segment_ids"].any()


def test_faults_at_the_start_are_named(copy):
    shards = sorted(copy.glob("records-*"))
    data = shards[1].read_bytes()
    for content, message in [(data[:-1], "it is cut off or another file"), (b"", "0 bytes")]:
        shards[1].write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            RecordReader(str(copy))
        assert shards[1].name in str(caught.value)
    shards[1].unlink()
    with pytest.raises(ValueError, match=r"records-00001-of-00005.tfrecord is missing"):
        RecordReader(str(copy))


def test_a_flipped_bit_is_found_at_the_start_or_at_its_row(copy):
    shard = sorted(copy.glob("records-*"))[2]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 16
    shard.write_bytes(data)
    with pytest.raises(ValueError, match=f"{shard.name} has changed"):
        RecordReader(str(copy), verify="checksums")
    with pytest.raises(ValueError, match=rf"{shard.name}, record \d+: its bytes are not those"):
        list(RecordReader(str(copy)).batches(8, epochs=1))


def test_compressed_records_are_refused(copy):
    import gzip

    shard = sorted(copy.glob("records-*"))[0]
    data = shard.read_bytes()
    packed = gzip.compress(data)
    shard.write_bytes(packed + b"\0" * (len(data) - len(packed)))
    with pytest.raises(ValueError, match="its bytes are not those that were written"):
        list(RecordReader(str(copy)).batches(8, epochs=1))


def test_ids_that_the_vocabulary_lacks_are_named_with_their_row(copy, tokenizer):
    with pytest.raises(ValueError, match="and the model has 50: prepare the records with"):
        RecordReader(str(copy), vocabulary_size=50)
    assert RecordReader(str(copy), vocabulary_size=tokenizer.vocabulary_size + 8)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["tokenizer"]["vocabulary_size"] = 100
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"record \d+ has the id \d+ at place \d+, and the vocab"):
        list(RecordReader(str(copy)).batches(8, epochs=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-20], "is no manifest of records that can be read"),
        (
            lambda text: text.replace('"format_version": 1', '"format_version": 9'),
            "bertzoo_records 9",
        ),
        (lambda text: text.replace('"seed"', '"sead"'), "unknown key `sead`"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_named(copy, change, message):
    path = copy / "manifest.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message):
        RecordReader(str(copy))


def test_files_of_other_scripts_are_read_without_a_manifest(tokenizer, corpus, tmp_path):
    options = OPTIONS.replace(masked=True, feature_names="garden")
    manifest = prepare_records(tokenizer, corpus, str(tmp_path), options, workers=1)
    by_files = RecordReader([str(tmp_path / "records-*")], seed=1)
    by_manifest = RecordReader(str(tmp_path), seed=1)
    assert by_files.num_examples == manifest.num_examples
    one, two = next(by_files.batches(9, 3)), next(by_manifest.batches(9, 3))
    assert all((one[key] == two[key]).all() for key in two)
    small = RecordReader([str(tmp_path / "records-*")], vocabulary_size=20)
    with pytest.raises(ValueError, match="these records belong to another tokenizer"):
        next(small.batches(9))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"verify": "all"}, "verify must be one of"), ({"window": 0}, "window must be at least 1")],
)
def test_arguments_that_do_not_fit_are_named(directory, arguments, message):
    with pytest.raises(ValueError, match=message):
        RecordReader(str(directory), **arguments)


def test_a_batch_that_pipelines_cannot_share_is_named(reader):
    with pytest.raises(ValueError, match="must be a multiple of num_pipelines"):
        next(reader.batches(8, num_pipelines=3))
