"""Plain text to rows of ids that are masked while training."""

import gzip
import pathlib

import numpy as np

from bertzoo import presets
from bertzoo.preprocessing.masking import TokenMasker
from bertzoo.training.finetuning.examples import OWN
from bertzoo.training.pretraining_data import open_source
from bertzoo.training.pretraining_recipe import MaskingSection, ObjectiveSection, PhaseSection
from bertzoo.training.sources import ArraySource

DOCUMENTS_AT_ONCE = 200
# DistilBERT's script drops rows of at most 11 tokens and rows that are half unknown.
SHORTEST, MOST_UNKNOWN = 12, 0.5


def read_lines(files):
    """Yield the lines of text files, plain or gzipped, without the spaces around them.

    Raises:
        ValueError: For a file that is missing or not UTF-8.
    """
    for name in files:
        if str(name).startswith(OWN):
            path = presets.data_folder("recipes") / str(name).removeprefix(OWN)
        else:
            path = pathlib.Path(name).expanduser()
        if not path.is_file():
            raise ValueError(f"{path} does not exist; a recipe names files of plain text.")
        opener = gzip.open if path.suffix == ".gz" else open
        try:
            with opener(path, "rt", encoding="utf-8") as file:
                for line in file:
                    yield line.strip()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8: {error.reason}.") from error
        yield ""  # a document ends with its file


def read_documents(files):
    """Yield documents as strings: an empty line ends one, other lines are joined by spaces."""
    lines = []
    for line in read_lines(files):
        if line:
            lines.append(line)
        elif lines:
            yield " ".join(lines)
            lines = []


def rows_of(tokenizer, documents, sequence_length):
    """Return ids int32 `[N, T]` and lengths `[N]`: documents cut into rows with special tokens."""
    inner, rows = sequence_length - 2, []
    for start in range(0, len(documents), DOCUMENTS_AT_ONCE):
        chunk = tokenizer(documents[start : start + DOCUMENTS_AT_ONCE]).to_list()
        for ids in chunk:
            for first in range(0, len(ids), inner):
                part = ids[first : first + inner]
                unknown = sum(index == tokenizer.unknown_id for index in part)
                if len(part) + 2 >= min(SHORTEST, sequence_length) and (
                    unknown <= MOST_UNKNOWN * len(part)
                ):
                    rows.append([tokenizer.start_id, *part, tokenizer.end_id])
    filled = np.full((len(rows), sequence_length), tokenizer.pad_id, np.int32)
    lengths = np.array([len(row) for row in rows], np.int32)
    for number, row in enumerate(rows):
        filled[number, : len(row)] = row
    return filled, lengths


def text_sources(text, preprocessor, seed):
    """Return the sources of training and of held-out rows; the latter may be None.

    Args:
        text: A `Text` section.
        preprocessor: Of the student; the teacher's ids are the same.
        seed: Of the order and of the masks.
    """
    make = _of_records if text.records else _of_files
    return make(text, preprocessor.tokenizer, seed)


def _of_records(text, tokenizer, seed):
    masking = MaskingSection(strategy=text.masking, rate=text.rate)
    objective = ObjectiveSection("masked_lm", masking)
    sources = []
    for records in (text.records, text.held_out_records):
        source = None
        if records:
            # Of the phase only what rows look like is read.
            phase = PhaseSection(records, 1, 1, text.sequence_length)
            shuffle = not sources
            source = open_source(records, phase, tokenizer, objective, seed, shuffle)
        sources.append(source)
    return sources


def _of_files(text, tokenizer, seed):
    documents = list(read_documents(text.files))
    if len(documents) < 2:
        raise ValueError("text.files hold fewer than two documents; empty lines stand between.")
    order = np.random.default_rng(0).permutation(len(documents))
    count = min(max(1, round(text.held_out * len(documents))), len(documents) - 1)
    parts = []
    for numbers in (order[count:], order[:count]):
        chosen = [documents[number] for number in numbers]
        ids, lengths = rows_of(tokenizer, chosen, text.sequence_length)
        if not len(ids):
            raise ValueError("text.files hold no row of the shortest length; give more text.")
        parts.append((ids[: text.limit], lengths[: text.limit]))
    counts = np.bincount(parts[0][0].ravel(), minlength=tokenizer.vocabulary_size)
    masker = TokenMasker(
        tokenizer,
        rate=text.rate,
        strategy=text.masking,
        token_counts=counts if text.masking == "frequency" else None,
        seed=seed,
    )
    sources = []
    for ids, lengths in parts:
        mask = (np.arange(text.sequence_length)[None] < lengths[:, None]).astype(np.int32)
        # Segments for whoever of the two has them.
        arrays = {"token_ids": ids, "padding_mask": mask, "segment_ids": np.zeros_like(ids)}
        sources.append(ArraySource(arrays, seed=None if sources else seed, transform=masker))
    return sources
