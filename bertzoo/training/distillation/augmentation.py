"""More texts from few: words replaced by words that fit (Jiao et al. 2019, algorithm 1).

A word that is one token of the vocabulary is masked, and the masked language model's best guesses
take its place; a word of several pieces is replaced by its nearest neighbours among the words of
the vocabulary. TinyBERT takes these from GloVe; here the teacher says what is near, so that nothing
else is needed: of words of one token by its token table, of others by what its encoder makes of the
word alone (the mean of the pieces' rows of the table says little). What is not of letters alone
stays, as in the authors' `data_augmentation.py`: numbers, punctuation, halves of words such as
`n't`. That code spares a list of English stop words, too; the paper and this do not.
"""

import numpy as np

WORDS_AT_ONCE = 512
# What the first token of a word begins with; WordPiece marks the others instead.
WORD_STARTS = {"byte_pair": "\u0120", "sentence_piece": "\u2581"}


class Augmenter:
    """Makes copies of texts with some words replaced.

    Args:
        embeddings: A task with a tokenizer, whose encoder says which words are near.
        masked_lm: A `MaskedLM` that fills gaps; None to take neighbours for all words.
        copies: New texts a text, N_a.
        candidates: Words that may take a word's place, K.
        probability: Of a word to be replaced, p_t.
        seed: Of what is drawn.

    Example:
    >>> model = MaskedLM.from_preset("bert_toy")
    >>> augmenter = Augmenter(model, model, copies=2, candidates=3, probability=1.0, seed=1)
    >>> new = augmenter(["the cat sat"])
    >>> len(new[0]), all(len(text.split()) == 3 for text in new[0])
    (2, True)
    """

    def __init__(
        self, embeddings, masked_lm=None, copies=20, candidates=15, probability=0.4, seed=0
    ):
        if copies < 1 or candidates < 1 or not 0.0 < probability <= 1.0:
            raise ValueError(
                "copies and candidates must be at least 1 and probability in (0, 1]; got "
                f"{copies}, {candidates} and {probability}."
            )
        self.tokenizer, self.backbone = embeddings.tokenizer, embeddings.backbone
        self.masked_lm = masked_lm
        self.copies, self.candidates, self.probability = copies, candidates, probability
        self.seed = seed
        self._table = _unit(np.asarray(self.backbone.embeddings.token.embeddings, np.float32))
        self._words = self._whole_words()
        self._encoded_words = None
        self._neighbours = {}

    def __call__(self, texts):
        """Return a list of new texts for each text; a text without a word gives none.

        What is drawn for a text depends on the seed, its place and itself alone.
        """
        results = []
        for number, text in enumerate(texts):
            words = text.split()
            random = np.random.default_rng([self.seed, number])
            choices = self._choices(words) if words else []
            results.append([self._copy(words, choices, random) for _ in range(self.copies)]
                           if words else [])  # fmt: skip
        return results

    def _copy(self, words, choices, random):
        replaced = random.random(len(words)) < self.probability
        return " ".join(
            choices[i][random.integers(len(choices[i]))] if replaced[i] and choices[i] else word
            for i, word in enumerate(words)
        )

    def _choices(self, words):
        """Return what may take the place of each word."""
        pieces = self.tokenizer(words).to_list()
        choices = [[] for _ in words]
        masked = []
        for place, ids in enumerate(pieces):
            if not words[place].isalpha():
                continue
            if len(ids) == 1 and self.masked_lm is not None:
                masked.append(place)
            elif ids:
                choices[place] = self._near(words[place], tuple(ids))
        if masked:
            mask = self.tokenizer.config.mask_token
            gaps = [" ".join([*words[:i], mask, *words[i + 1 :]]) for i in masked]
            for place, fills in zip(masked, self._fills(gaps), strict=True):
                choices[place] = [word for word in fills if word != words[place].lower()]
        return choices

    def _fills(self, gaps):
        # Twice as many: guesses that are no whole words are left out.
        top = min(2 * self.candidates, len(self.tokenizer.vocabulary))
        known = {self.tokenizer.vocabulary[index]: word for word, index in self._words}
        for fills in self.masked_lm.fill(gaps, top_k=top):
            fills = fills[0] if fills and isinstance(fills[0], list) else fills
            words = [known[fill.token] for fill in fills if fill.token in known]
            yield words[: self.candidates]

    def _near(self, word, ids):
        if ids not in self._neighbours:
            rows = [index for _, index in self._words]
            if len(ids) == 1:
                similarities = self._table[rows] @ self._table[ids[0]]
            else:
                if self._encoded_words is None:  # made where it is needed: once over all words
                    self._encoded_words = self._encode([(index,) for index in rows])
                similarities = self._encoded_words @ self._encode([ids])[0]
            order = np.argsort(-similarities, kind="stable")
            near = [self._words[i][0] for i in order[: self.candidates + 1]]
            self._neighbours[ids] = near
        return [near for near in self._neighbours[ids] if near != word.lower()][: self.candidates]

    def _encode(self, words):
        """Return unit vectors `[N, D]` of words as tuples of ids: means over their pieces."""
        longest = self.backbone.config.max_sequence_length - 2
        words = [ids[:longest] for ids in words]
        vectors = []
        for start in range(0, len(words), WORDS_AT_ONCE):
            part = words[start : start + WORDS_AT_ONCE]
            ids = np.full((len(part), 2 + max(map(len, part))), self.tokenizer.pad_id, np.int32)
            mask = np.zeros_like(ids)
            for row, pieces in enumerate(part):
                whole = [self.tokenizer.start_id, *pieces, self.tokenizer.end_id]
                ids[row, : len(whole)], mask[row, : len(whole)] = whole, 1
            features = {"token_ids": ids, "padding_mask": mask, "segment_ids": np.zeros_like(ids)}
            features = {name: features[name] for name in self.backbone.input}
            states = np.asarray(self.backbone(features)["sequence_output"], np.float32)
            vectors += [state[1 : 1 + len(pieces)].mean(axis=0)
                        for state, pieces in zip(states, part, strict=True)]  # fmt: skip
        return _unit(np.stack(vectors))

    def _whole_words(self):
        """Return (word, id) of the tokens that are whole words of letters."""
        kind, found = self.tokenizer.config.kind, []
        start = WORD_STARTS.get(kind, "")
        for index, token in enumerate(self.tokenizer.vocabulary):
            word = token.removeprefix(start)
            # Letters beyond ASCII are several signs, one a byte, in a byte-level vocabulary.
            spelt_out = kind == "byte_pair" and not word.isascii()
            if token.startswith(start) and word.isalpha() and len(word) > 1 and not spelt_out:
                found.append((word, index))
        return found


def _unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
