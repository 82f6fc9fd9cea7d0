"""Masked records with Google's feature names: what create_pretraining_data.py writes.

Read by google-research/bert and the Model Garden; read here in both spellings, with or without
next-sentence labels, plain, GZIP or ZLIB.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from bertzoo.corpus import storage
from bertzoo.corpus.record_file import varint
from bertzoo.preprocessing.masking import TokenMasker

# N rows  T length  P predictions

# Our name -> the names of google-research/bert and of the Model Garden's second version.
NAMES = {
    "token_ids": ("input_ids", "input_word_ids"),
    "padding_mask": ("input_mask", "input_mask"),
    "segment_ids": ("segment_ids", "input_type_ids"),
    "mask_positions": ("masked_lm_positions", "masked_lm_positions"),
    "mask_labels": ("masked_lm_ids", "masked_lm_ids"),
    "mask_weights": ("masked_lm_weights", "masked_lm_weights"),
    "next_sentence_labels": ("next_sentence_labels", "next_sentence_labels"),
}
# Tokens masked at once: with 2 ** 17 half of the time is that of Python between operations.
_MASK_TOKENS = 2**20


def write_masked(path, rows, tokenizer, options, seed, has_pairs) -> None:
    """Mask rows once and write them as Google's script does.

    Args:
        path: The file.
        rows: `Rows`.
        tokenizer: A `Tokenizer`.
        options: `RecordOptions`.
        seed: Of the masks.
        has_pairs: Whether there are next-sentence labels.
    """
    masker = TokenMasker(
        tokenizer,
        rate=options.masking_rate,
        strategy=options.masking,
        max_predictions=options.max_predictions,
        seed=seed,
    )
    temporary = storage.temporary_name(path)
    writer_options = tf.io.TFRecordOptions(compression_type=options.compression)
    with tf.io.TFRecordWriter(temporary, writer_options) as writer:
        batch = max(1, _MASK_TOKENS // options.sequence_length)
        for start in range(0, len(rows.lengths), batch):
            features = _masked_features(rows, slice(start, start + batch), start, masker)
            if not has_pairs:
                del features["next_sentence_labels"]
            spelling = 0 if options.feature_names == "bert" else 1
            named = {NAMES[name][spelling]: value for name, value in features.items()}
            for record in encode_examples(named, options.max_predictions):
                writer.write(record)
    storage.put_in_place(temporary, path)


def _masked_features(rows, part, start, masker):
    places = np.arange(rows.token_ids.shape[1])
    lengths, first_lengths = rows.lengths[part, None], rows.first_lengths[part, None]
    mask = (places < lengths).astype(np.int32)
    index = np.arange(start, start + len(mask), dtype=np.int32)
    inputs = {"token_ids": rows.token_ids[part], "padding_mask": tf.constant(mask)}
    features = {key: value.numpy() for key, value in masker(inputs, 0, index).items()}
    features["segment_ids"] = mask - (places < first_lengths)
    features["mask_weights"] = features["mask_weights"].astype(np.float32)
    features["next_sentence_labels"] = rows.labels[part, None]
    return features


def encode_examples(features: dict[str, np.ndarray], max_predictions: int) -> list[bytes]:
    """Return a serialized `tf.train.Example` for each row of int `[N, K]` and float32 arrays.

    Google pads positions, labels and weights to `max_predictions` with zeros, so that shorter
    rows than that have as many.
    """
    rows = len(next(iter(features.values())))
    entries: list[list[bytes]] = [[] for _ in range(rows)]
    for key, values in sorted(features.items()):
        if key.startswith("masked_lm"):
            values = np.pad(values, [(0, 0), (0, max_predictions - values.shape[1])])
        is_float = values.dtype.kind == "f"
        # A Feature is field 2 of the entry, its float_list field 2 and its int64_list field 3.
        packed = _packed_floats(values) if is_float else _packed_varints(values)
        kind = b"\x12" if is_float else b"\x1a"
        name = b"\x0a" + varint(len(key)) + key.encode("ascii")
        for entry, content in zip(entries, packed, strict=True):
            numbers = b"\x0a" + varint(len(content)) + content
            feature = kind + varint(len(numbers)) + numbers
            whole = name + b"\x12" + varint(len(feature)) + feature
            entry.append(b"\x0a" + varint(len(whole)) + whole)
    joined = [b"".join(entry) for entry in entries]
    return [b"\x0a" + varint(len(content)) + content for content in joined]


def _packed_floats(values):
    data, size = values.astype("<f4").tobytes(), 4 * values.shape[1]
    return [data[place : place + size] for place in range(0, len(data), size)]


def _packed_varints(values):
    # Seven bits a byte, the lowest first; ids have at most three bytes, and all at once.
    values = values.astype(np.uint32)
    sizes = 1 + sum((values >= 1 << 7 * more).astype(np.int64) for more in (1, 2, 3, 4))
    ends = np.cumsum(sizes.reshape(-1))
    data = np.zeros(ends[-1] if len(ends) else 0, np.uint8)
    starts, flat, sizes_flat = ends - sizes.reshape(-1), values.reshape(-1), sizes.reshape(-1)
    for byte in range(int(sizes_flat.max(initial=0))):
        has = sizes_flat > byte
        goes_on = (sizes_flat[has] > byte + 1) * np.uint8(128)
        data[starts[has] + byte] = (flat[has] >> np.uint32(7 * byte) & 127).astype(
            np.uint8
        ) | goes_on
    content = data.tobytes()
    row_ends = np.cumsum(sizes.sum(axis=1)).tolist()
    return [content[a:b] for a, b in zip([0, *row_ends[:-1]], row_ends, strict=True)]


def compression_of(path: str) -> str:
    """Return `GZIP`, `ZLIB` or nothing, by the first bytes of a file of records.

    Raises:
        ValueError: if the file is empty or cannot be read.
    """
    try:
        with tf.io.gfile.GFile(str(path), "rb") as file:
            start = file.read(12)
    except tf.errors.OpError as error:
        raise ValueError(f"{path} cannot be read: {error.message.splitlines()[0]}.") from None
    if not start:
        raise ValueError(f"{path} is empty; copy or prepare it again.")
    if start[:2] == b"\x1f\x8b":
        return "GZIP"
    # A plain record begins with its length, of which the upper bytes are zero.
    if len(start) == 12 and start[4:8] == b"\0\0\0\0":
        return ""
    if start[0] & 0x0F == 8 and (start[0] * 256 + start[1]) % 31 == 0:
        return "ZLIB"
    raise ValueError(f"{path} is no file of TFRecords: neither plain nor GZIP nor ZLIB.")


def read_masked(path: str) -> dict[str, np.ndarray]:
    """Read a file of masked records, in either spelling.

    Returns:
        Int32 arrays by our names: `token_ids`, `padding_mask`, `segment_ids` `[N, T]`,
        `mask_positions`, `mask_labels`, `mask_weights` `[N, P]` and, where there are some,
        `next_sentence_labels` `[N]`.

    Raises:
        ValueError: for a broken file, or a record of another form; the message names it.
    """
    dataset = tf.data.TFRecordDataset(path, compression_type=compression_of(path))
    records = []
    try:
        for batch in dataset.batch(1024).as_numpy_iterator():
            records.extend(batch.tolist())
    except tf.errors.DataLossError as error:
        raise ValueError(
            f"{path} is broken or cut off behind record {len(records)} (counted by thousands): "
            f"{error.message.splitlines()[0]}; copy or prepare it again."
        ) from None
    if not records:
        raise ValueError(f"{path} has no records.")
    spec = _spec_of(path, records[0])
    result = {}
    for start in range(0, len(records), 4096):
        part = records[start : start + 4096]
        try:
            parsed = tf.io.parse_example(tf.constant(part), spec)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"{path}, records from {start} on: {error.message.splitlines()[0]}; all records "
                "must have the features of the first one."
            ) from None
        for key, value in parsed.items():
            result.setdefault(key, []).append(value.numpy())
    ours = {theirs: name for name, spellings in NAMES.items() for theirs in spellings}
    arrays = {ours[key]: np.concatenate(parts).astype(np.int32) for key, parts in result.items()}
    if "next_sentence_labels" in arrays:
        arrays["next_sentence_labels"] = arrays["next_sentence_labels"][:, 0]
    return arrays


def _spec_of(path, record):
    example = tf.train.Example.FromString(record)
    features = example.features.feature
    spec = {}
    for name, spellings in NAMES.items():
        key = next((spelling for spelling in spellings if spelling in features), None)
        if key is None:
            if name == "next_sentence_labels":
                continue
            raise ValueError(
                f"{path}, record 0 has no feature {' or '.join(sorted(set(spellings)))}, but "
                f"{', '.join(sorted(features))}; masked records of BERT are expected."
            )
        is_float = features[key].WhichOneof("kind") == "float_list"
        values = features[key].float_list.value if is_float else features[key].int64_list.value
        spec[key] = tf.io.FixedLenFeature([len(values)], tf.float32 if is_float else tf.int64)
    return spec
