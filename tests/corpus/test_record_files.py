"""Records as bytes: TensorFlow reads ours, we read Google's, and what is broken is named."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.corpus import google_records
from bertzoo.corpus.manifest import RecordOptions
from bertzoo.corpus.record_file import RecordLayout, masked_crcs
from bertzoo.corpus.rows import Rows


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    lengths = rng.integers(5, 17, 9)
    token_ids = rng.integers(5, 215, (9, 16)).astype(np.int32)
    token_ids[:, 0] = 2
    token_ids[np.arange(9), lengths - 1] = 3
    token_ids[np.arange(16) >= lengths[:, None]] = 0
    first_lengths = np.minimum(rng.integers(3, 6, 9), lengths)
    return Rows(token_ids, lengths, first_lengths, rng.integers(0, 2, 9))


@pytest.mark.parametrize(("id_type", "most"), [("uint16", 65535), ("int32", 119546)])
def test_records_are_examples_that_tensorflow_reads(rows, id_type, most, tmp_path):
    rows.token_ids[0, 1] = most
    layout = RecordLayout(16, id_type)
    path = tmp_path / "records.tfrecord"
    path.write_bytes(layout.encode(rows).tobytes())
    assert path.stat().st_size == 9 * layout.record_size
    spec = {
        "token_ids": tf.io.FixedLenFeature([], "string"),
        "row": tf.io.FixedLenFeature([], "string"),
    }
    for number, record in enumerate(tf.data.TFRecordDataset(str(path))):
        parsed = tf.io.parse_single_example(record, spec)
        ids = tf.io.decode_raw(parsed["token_ids"], tf.as_dtype(id_type)).numpy()
        assert ids.tolist() == rows.token_ids[number].tolist()
        row = tf.io.decode_raw(parsed["row"], tf.int32).numpy().tolist()
        assert row == [rows.lengths[number], rows.first_lengths[number], rows.labels[number]]
    assert number == 8
    decoded = layout.decode(path.read_bytes(), str(path))
    for ours, theirs in zip(rows, decoded, strict=True):
        assert (ours == theirs).all()


def test_checksums_are_those_of_tensorflow_for_any_length(tmp_path):
    for size in (0, 1, 2, 7, 64, 129):
        content = np.random.default_rng(size).integers(0, 256, (3, size), dtype=np.uint8)
        path = str(tmp_path / f"{size}")
        with tf.io.TFRecordWriter(path) as writer:
            for row in content:
                writer.write(row.tobytes())
        data = pathlib.Path(path).read_bytes()
        records = [data[i : i + size + 16] for i in range(0, len(data), size + 16)]
        expected = [int.from_bytes(record[-4:], "little") for record in records]
        assert masked_crcs(content).tolist() == expected


@pytest.mark.parametrize("place", [0, 9, 20, 30, 45, 70, -1])
def test_a_flipped_bit_is_found_with_its_record(rows, place):
    layout = RecordLayout(16, "uint16")
    data = bytearray(layout.encode(rows).tobytes())
    record = 4 * layout.record_size
    data[record + place % layout.record_size] ^= 4
    with pytest.raises(ValueError, match=r"x.tfrecord, record 4: its bytes are not those"):
        layout.decode(bytes(data), "x.tfrecord")
    with pytest.raises(ValueError, match=r"x.tfrecord is cut off: record 8 has 20 of"):
        layout.decode(bytes(data[: 20 - layout.record_size]), "x.tfrecord")


@pytest.fixture
def write(rows, tokenizer, tmp_path):
    def write(name="masked.tfrecord", has_pairs=True, **options):
        path = str(tmp_path / name)
        options = RecordOptions(
            masked=True, sequence_length=16, masking_rate=0.3, max_predictions=7, **options
        )
        google_records.write_masked(path, rows, tokenizer, options, 5, has_pairs)
        return path

    return write


GOOGLE = {"input_ids": 16, "input_mask": 16, "segment_ids": 16, "masked_lm_positions": 7,
          "masked_lm_ids": 7, "masked_lm_weights": 7, "next_sentence_labels": 1}  # fmt: skip


def test_masked_records_have_googles_features(write, rows):
    path = write()
    for number, record in enumerate(tf.data.TFRecordDataset(path)):
        raw = record.numpy()
        example = tf.train.Example.FromString(raw)
        assert example.SerializeToString(deterministic=True) == raw
        feature = example.features.feature
        sizes = {
            key: len(value.float_list.value) or len(value.int64_list.value)
            for key, value in feature.items()
        }
        assert sizes == GOOGLE
        length = int(rows.lengths[number])
        assert list(feature["input_mask"].int64_list.value) == [1] * length + [0] * (16 - length)
        first = int(rows.first_lengths[number])
        segments = [0] * first + [1] * (length - first) + [0] * (16 - length)
        assert list(feature["segment_ids"].int64_list.value) == segments
        weights = list(feature["masked_lm_weights"].float_list.value)
        masks = max(1, round(0.3 * length))
        assert weights == [1.0] * masks + [0.0] * (7 - masks)
        ids = list(feature["input_ids"].int64_list.value)
        positions = list(feature["masked_lm_positions"].int64_list.value)
        for place, label in zip(positions[:masks], feature["masked_lm_ids"].int64_list.value):  # noqa: B905
            ids[place] = label
        assert ids == rows.token_ids[number].tolist()
        assert positions[:masks] == sorted(set(positions[:masks]))
        assert feature["next_sentence_labels"].int64_list.value[0] == rows.labels[number]


@pytest.mark.parametrize("feature_names", ["bert", "garden"])
@pytest.mark.parametrize("compression", ["", "GZIP"])
@pytest.mark.parametrize("has_pairs", [True, False])
def test_both_spellings_and_compressions_are_read(write, feature_names, compression, has_pairs):
    plain = google_records.read_masked(write("plain"))
    path = write(feature_names=feature_names, compression=compression, has_pairs=has_pairs)
    found = google_records.read_masked(path)
    assert set(found) == set(plain) - (set() if has_pairs else {"next_sentence_labels"})
    for key, value in found.items():
        assert (value == plain[key]).all(), key
        assert value.dtype == np.int32


def test_zlib_is_read(write, tmp_path):
    path = write()
    with tf.io.TFRecordWriter(str(tmp_path / "z"), tf.io.TFRecordOptions("ZLIB")) as writer:
        for record in tf.data.TFRecordDataset(path):
            writer.write(record.numpy())
    assert google_records.compression_of(str(tmp_path / "z")) == "ZLIB"
    assert len(google_records.read_masked(str(tmp_path / "z"))["token_ids"]) == 9


def test_numbers_of_all_sizes_are_encoded_as_protocol_buffers_do():
    values = np.array([[0, 127, 128, 16383, 16384, 2097151, 2097152, 2**28]], np.int32)
    (record,) = google_records.encode_examples({"a": values, "b": np.float32([[0.5]])}, 1)
    feature = tf.train.Example.FromString(record).features.feature
    assert list(feature["a"].int64_list.value) == values[0].tolist()
    assert list(feature["b"].float_list.value) == [0.5]


def test_broken_files_of_masked_records_are_named(write, tmp_path):
    path = write()
    data = pathlib.Path(path).read_bytes()
    cases = {
        "empty": (b"", "is empty"),
        "text": (b"once upon a time", "no file of TFRecords"),
        "cut": (data[:-9], "broken or cut off"),
        "flip": (data[:700] + bytes([data[700] ^ 1]) + data[701:], "broken or cut off"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            google_records.read_masked(str(tmp_path / name))
        assert name in str(caught.value)
    with pytest.raises(ValueError, match="cannot be read"):
        google_records.read_masked(str(tmp_path / "missing"))


def test_records_of_something_else_are_named(tmp_path):
    path = str(tmp_path / "images")
    with tf.io.TFRecordWriter(path) as writer:
        (record,) = google_records.encode_examples({"pixels": np.ones((1, 4), np.int32)}, 1)
        writer.write(record)
    with pytest.raises(ValueError, match="has no feature input_ids or input_word_ids, but pixels"):
        google_records.read_masked(path)
