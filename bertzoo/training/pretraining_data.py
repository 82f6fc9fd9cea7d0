"""From records to the batches of an objective: masks drawn in the graph, by example."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from bertzoo.training.pretraining_recipe import SYNTHETIC
from bertzoo.training.sources import ArraySource, RecordSource

# B rows  T length

# Random rows: enough that no batch of a trial repeats one.
SYNTHETIC_ROWS = 512
PAIRS = ("next_sentence", "sentence_order")
FEATURES = (
    "token_ids", "padding_mask", "segment_ids", "mask_positions", "mask_labels", "mask_weights",
)  # fmt: skip


def open_source(records, phase, tokenizer, objective, seed, shuffle=True):
    """Return a source of masked batches.

    Args:
        records: Directories of records, patterns of masked files, or `("synthetic",)`.
        phase: `PhaseSection`.
        tokenizer: The `Tokenizer` that the records were made with.
        objective: `ObjectiveSection`.
        seed: Of order and masks.
        shuffle: Whether there is another order in every epoch.
    """
    length, size = phase.sequence_length, tokenizer.vocabulary_size
    if SYNTHETIC in records:
        masker = make_masker(tokenizer, objective, phase, seed)
        rows = synthetic_rows(tokenizer, length, seed, objective.name in PAIRS)
        return ArraySource(rows, seed if shuffle else None, features_of(objective, masker))
    place = records[0] if len(records) == 1 else list(records)
    source = RecordSource(place, size, seed, shuffle, exponent=phase.exponent)
    check_records(source.reader, records, length, tokenizer, objective)
    manifest = source.reader.manifest
    masker = None
    if manifest is not None and not manifest.options.masked:
        counts = None
        if objective.masking.strategy == "frequency":
            from bertzoo.corpus.manifest import read_token_counts

            counts = sum(read_token_counts(directory) for directory in records)
        masker = make_masker(tokenizer, objective, phase, seed, counts)
    source.transform = features_of(objective, masker)
    return source


def check_records(reader, records, length, tokenizer, objective):
    """Raise for records that do not fit the run."""
    if reader.sequence_length != length:
        raise ValueError(
            f"{', '.join(records)} has rows of {reader.sequence_length} tokens, and the phase says "
            f"sequence_length: {length}."
        )
    if reader.manifest is None:
        return
    from bertzoo.corpus.manifest import tokenizer_identity

    mode = reader.manifest.options.mode
    if objective.name in PAIRS and mode != objective.name:
        raise ValueError(
            f"objective `{objective.name}` needs records of the mode {objective.name}; "
            f"{records[0]} has {mode}."
        )
    if reader.manifest.tokenizer != tokenizer_identity(tokenizer):
        raise ValueError(
            f"{records[0]} was made with another tokenizer than model.tokenizer: prepare the "
            "records again, or name theirs."
        )


def hold_packed_rows(records):
    """Return whether records have rows of several texts, as their manifest says."""
    from bertzoo.corpus.manifest import Manifest

    directories = [place for place in records if place != SYNTHETIC and tf.io.gfile.isdir(place)]
    return any(Manifest.read(place).options.mode == "packed" for place in directories)


def make_masker(tokenizer, objective, phase, seed, token_counts=None):
    """Return the `TokenMasker` of an objective."""
    from bertzoo.preprocessing.masking import TokenMasker

    masking = objective.masking
    return TokenMasker(
        tokenizer,
        rate=masking.rate,
        strategy=masking.strategy,
        max_predictions=phase.max_predictions,
        mask_share=masking.mask_share,
        random_share=masking.random_share,
        max_ngram=masking.max_ngram,
        token_counts=token_counts,
        seed=seed,
    )


def features_of(objective, masker):
    """Return the function from rows to what the objective takes; `masker` may be None."""
    kept = list(FEATURES) + ["next_sentence_labels"] * (objective.name in PAIRS)

    def transform(batch):
        batch = batch if masker is None else masker(batch)
        return {name: batch[name] for name in kept}

    return transform


def synthetic_rows(tokenizer, sequence_length, seed, has_pairs=True, rows=SYNTHETIC_ROWS):
    """Return rows of random tokens: one text each, or pairs of two halves."""
    random = np.random.default_rng(seed)
    special = set(tokenizer.special_ids)
    plain = [index for index in range(tokenizer.vocabulary_size) if index not in special]
    token_ids = random.choice(plain, (rows, sequence_length))
    # A model without pairs may have one segment alone (RoBERTa).
    half = sequence_length // 2 if has_pairs else sequence_length - 1
    token_ids[:, 0] = tokenizer.start_id
    token_ids[:, [half, -1]] = tokenizer.end_id
    made = {
        "token_ids": token_ids,
        "padding_mask": np.ones_like(token_ids),
        "segment_ids": np.broadcast_to(np.arange(sequence_length) > half, token_ids.shape),
        "next_sentence_labels": random.integers(0, 2, rows),
    }
    return {name: array.astype("int32") for name, array in made.items()}
