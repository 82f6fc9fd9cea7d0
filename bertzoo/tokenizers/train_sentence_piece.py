"""A SentencePiece vocabulary from text, with the settings of google-research/albert (README).

The sentencepiece library learns it, an optional dependency; what it reads is the text as the
tokenizer cleans it, by the same graph.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import tensorflow as tf

from bertzoo.config import TOKENIZER_KINDS
from bertzoo.tokenizers import offsets
from bertzoo.tokenizers.albert_cleaning import AlbertCleaning
from bertzoo.tokenizers.base import as_texts
from bertzoo.tokenizers.sentence_piece import SentencePieceTokenizer

# ALBERT's order: <pad> 0, <unk> 1, [CLS] 2, [SEP] 3, [MASK] 4, and these are pieces of their own.
_CONTROL_ORDER = ("start", "end", "mask")
SYMBOLS = ("(", ")", '"', "-", ".", "–", "£", "€")
# The library's own limits. A longer text is cut there into several.
_MAX_TEXT_BYTES = 4192
_TEXTS_AT_A_TIME = 4096


def train_sentence_piece(
    texts: Iterable[str | bytes],
    vocabulary_size: int,
    report: Callable[[str], None],
    lowercase: bool = True,
    strip_accents: bool | None = None,
    character_coverage: float = 0.99995,
    symbols: Sequence[str] = SYMBOLS,
    **settings,
) -> SentencePieceTokenizer:
    """Learn a unigram SentencePiece vocabulary; see `train_tokenizer`.

    Args:
        texts: Strings.
        vocabulary_size: How many pieces there may be, special tokens included.
        report: Is told of the progress.
        lowercase: Whether text is lower-cased.
        strip_accents: Whether combining marks are removed; None means yes.
        character_coverage: Share of the text whose characters become pieces; the rest, the rarest
            ones, is unknown.
        symbols: Pieces that nothing is joined to.
        **settings: Further arguments of `SentencePieceTokenizer`.

    Returns:
        A tokenizer.

    Raises:
        ValueError: if there is no text, `vocabulary_size` is too small, or the sentencepiece
            library is not installed.
    """
    sentencepiece = _import_library()
    tokens = {
        name: settings.get(name) or default
        for name, default in TOKENIZER_KINDS["sentence_piece"].items()
        if name.endswith("_token")
    }
    cleaning = AlbertCleaning(lowercase, strip_accents is not False)
    result = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_clean_texts(texts, cleaning, report),
            model_writer=result,
            model_type="unigram",
            vocab_size=vocabulary_size,
            hard_vocab_limit=False,
            character_coverage=character_coverage,
            max_sentence_length=_MAX_TEXT_BYTES,
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            pad_piece=tokens["pad_token"],
            unk_piece=tokens["unknown_token"],
            control_symbols=[tokens[f"{role}_token"] for role in _CONTROL_ORDER],
            user_defined_symbols=list(symbols),
            minloglevel=2,
        )
    except RuntimeError as error:
        too_small = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
        if too_small is None:
            raise ValueError(f"no vocabulary could be learnt: {error}") from error
        raise ValueError(
            f"vocabulary_size must be at least {too_small[1]}, for the special tokens and single "
            f"characters of these texts; got {vocabulary_size}."
        ) from error
    tokenizer = SentencePieceTokenizer(
        result.getvalue(), lowercase=lowercase, strip_accents=strip_accents, **settings
    )
    report(f"{tokenizer.vocabulary_size:,} tokens learnt")
    return tokenizer


def _import_library():
    try:
        import sentencepiece
    except ImportError:
        sentencepiece = None
    # 0.1 brings a protobuf of its own that ends the process beside TensorFlow.
    if sentencepiece is None or sentencepiece.__version__.startswith("0.1."):
        raise ValueError(
            "learning a SentencePiece vocabulary needs the sentencepiece library, 0.2 or newer: "
            'pip install "bertzoo[sentencepiece]".'
        )
    return sentencepiece


def _clean_texts(texts, cleaning: AlbertCleaning, report) -> Iterator[str]:
    iterator, done = iter(texts), 0
    while batch := list(itertools.islice(iterator, _TEXTS_AT_A_TIME)):
        with tf.device("CPU:0"):
            clean = cleaning.clean(offsets.drop_invalid_bytes(as_texts(batch))).numpy()
        for text in clean:
            # The library reads lines, and leaves out what holds NUL or is too long.
            yield from _in_parts(text.decode("utf-8").replace("\0", " "))
        done += len(batch)
        if done // _TEXTS_AT_A_TIME % 16 == 0:
            report(f"{done:,} texts read")
    if not done:
        raise ValueError("there are no texts to learn from.")
    report(f"{done:,} texts read")


def _in_parts(text: str) -> Iterator[str]:
    size = _MAX_TEXT_BYTES // 4  # characters have at most four bytes
    while len(text) > size:
        end = text.rfind(" ", 1, size)
        end = size if end < 0 else end
        yield text[:end]
        text = text[end:]
    yield text
