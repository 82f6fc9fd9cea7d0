"""What ALBERT does to a text before SentencePiece, in the graph (Lan et al. 2019).

`preprocess_text` in `tokenization.py` of google-research/albert joins at white space, applies NFKD
without combining characters, and lower-cases. All that but capital sigma is a table from code
points to strings. In front of it two grave accents or two apostrophes become a quotation mark;
that is XLNet's rule (Yang et al. 2019), which Hugging Face's ALBERT has too and Google's has not.
"""

from __future__ import annotations

from collections.abc import Collection

import tensorflow as tf
import tensorflow_text as tf_text

from bertzoo.tokenizers import normalizer_model
from bertzoo.tokenizers.code_points import compatibility_table
from bertzoo.tokenizers.final_sigma import lower_sigma

# Code points without a meaning stand for what a text does not spell: noncharacters of three bytes
# for the mask token, unassigned ones of two bytes for a pair of quotes. The first that no piece
# holds is the mark, the second what the user's own become.
_MASK_MARKS = tuple(range(0xFDD0, 0xFDF0))
_QUOTES_MARKS = (0x378, 0x379, 0x380, 0x381, 0x382, 0x383, 0x38B, 0x38D, 0x3A2, 0x530)


class AlbertCleaning:
    """The cleaning for one vocabulary.

    Args:
        lowercase: Whether text is lower-cased.
        strip_accents: Whether NFKD is applied and combining marks are removed.
        used: Characters of the vocabulary; marks are chosen among the others.

    Attributes:
        mask_mark: A character that no clean text holds.

    Example:
    >>> cleaning = AlbertCleaning(lowercase=True, strip_accents=True)
    >>> cleaning.clean(tf.constant(["``Déjà  vu'' ΟΔΟΣ"])).numpy()[0].decode()
    '"deja  vu" οδος'
    """

    def __init__(self, lowercase: bool, strip_accents: bool, used: Collection[str] = ()):
        """Choose the marks and build the table; eager."""
        self.lowercase = lowercase
        self.mask_mark, users_mask = _free(_MASK_MARKS, used)
        self._quotes_mark, self._users_quotes = _free(_QUOTES_MARKS, used)
        table = dict(compatibility_table(lowercase, strip_accents))
        table[ord(self.mask_mark)] = users_mask
        table[ord(self._quotes_mark)] = '"'
        with tf.init_scope(), tf.device("CPU:0"):
            self._table = tf.constant(normalizer_model.build_model(table))

    def clean(self, texts: tf.Tensor) -> tf.Tensor:
        """Return texts of valid UTF-8, string `[B]`, cleaned."""
        return self.lower_sigma(self.fold(self.mark_quotes(texts)))

    def mark_quotes(self, texts: tf.Tensor) -> tf.Tensor:
        """Return texts with a mark of as many bytes for each pair of quotes."""
        texts = tf.strings.regex_replace(texts, self._quotes_mark, self._users_quotes)
        return tf.strings.regex_replace(texts, "``|''", self._quotes_mark)

    def fold(self, marked: tf.Tensor) -> tf.Tensor:
        """Return what the table makes of marked texts; capital sigma stays."""
        return tf_text.FastBertNormalizer(model_buffer=self._table).normalize(marked)

    def fold_with_sources(self, marked: tf.Tensor) -> tuple[tf.Tensor, tf.RaggedTensor]:
        """Return the same, and the byte of the text from which each byte came.

        The sources have an entry more than bytes for each row: the end.
        """
        normalizer = tf_text.FastBertNormalizer(model_buffer=self._table)
        return normalizer.normalize_with_offsets(marked)

    def lower_sigma(self, folded: tf.Tensor) -> tf.Tensor:
        """Return folded texts with capital sigmas as the settings say."""
        return lower_sigma(folded) if self.lowercase else folded

    def second_quotes(
        self, texts: tf.Tensor, marked: tf.Tensor, rows: tf.Tensor, places: tf.Tensor
    ) -> tf.Tensor:
        """Return 1 where a byte of a text begins a pair of quotes, else 0.

        Args:
            texts: String `[B]`.
            marked: What `mark_quotes` made of them.
            rows: The row of each byte, `[N]`.
            places: Its place in the row, int64 `[N]`.

        Returns:
            Int32 `[N]`.
        """
        first, second = self._quotes_mark.encode()

        def find():
            flat = tf.io.decode_raw(tf.strings.reduce_join(marked), tf.uint8)
            sizes = tf.cast(tf.strings.length(marked), tf.int64)
            place = tf.gather(tf.cumsum(sizes, exclusive=True), rows) + places
            following = tf.gather(flat, tf.minimum(place + 1, tf.size(flat, tf.int64) - 1))
            return tf.cast((tf.gather(flat, place) == first) & (following == second), tf.int32)

        return tf.cond(tf.reduce_any(marked != texts), find, lambda: tf.zeros_like(rows, tf.int32))


def _free(code_points: tuple[int, ...], used: Collection[str]) -> list[str]:
    free = [chr(code_point) for code_point in code_points if chr(code_point) not in used]
    assert len(free) >= 2, "no vocabulary holds all code points without a meaning"
    return free[:2]
