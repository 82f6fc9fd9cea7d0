"""From records to the batches of an objective: masks drawn in the graph, by example."""

from __future__ import annotations

import numpy as np

from bertzoo.training.pretraining_recipe import SYNTHETIC
from bertzoo.training.sources import ArraySource

# B rows  T length

# Random rows: enough that no batch of a trial repeats one.
SYNTHETIC_ROWS = 512


def open_source(records, sequence_length, tokenizer, objective, seed, max_predictions=None):
    """Return a source of masked batches.

    Args:
        records: Directories of records, or `("synthetic",)`.
        sequence_length: T.
        tokenizer: The `Tokenizer` that the records were made with.
        objective: `ObjectiveSection`.
        seed: Of order and masks.
        max_predictions: Most predictions of a row.
    """
    from bertzoo.preprocessing.masking import TokenMasker

    masking = objective.masking
    masker = TokenMasker(
        tokenizer,
        rate=masking.rate,
        strategy=masking.strategy,
        max_predictions=max_predictions,
        mask_share=masking.mask_share,
        random_share=masking.random_share,
        max_ngram=masking.max_ngram,
        seed=seed,
    )
    has_pairs = objective.name in ("next_sentence", "sentence_order")

    def transform(batch):
        batch = masker(batch)
        kept = ["token_ids", "padding_mask", "segment_ids"]
        kept += ["mask_positions", "mask_labels", "mask_weights"]
        return {name: batch[name] for name in kept + ["next_sentence_label"] * has_pairs}

    if SYNTHETIC in records:
        return ArraySource(synthetic_rows(tokenizer, sequence_length, seed), seed, transform)
    raise NotImplementedError


def synthetic_rows(tokenizer, sequence_length, seed, rows=SYNTHETIC_ROWS):
    """Return rows of random tokens, as pairs of two halves."""
    random = np.random.default_rng(seed)
    special = set(tokenizer.special_ids)
    plain = [index for index in range(tokenizer.vocabulary_size) if index not in special]
    token_ids = random.choice(plain, (rows, sequence_length))
    half = sequence_length // 2
    token_ids[:, 0] = tokenizer.start_id
    token_ids[:, [half, -1]] = tokenizer.end_id
    made = {
        "token_ids": token_ids,
        "padding_mask": np.ones_like(token_ids),
        "segment_ids": np.broadcast_to(np.arange(sequence_length) > half, token_ids.shape),
        "next_sentence_label": random.integers(0, 2, rows),
    }
    return {name: array.astype("int32") for name, array in made.items()}
