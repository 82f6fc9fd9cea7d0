"""More texts from few: words replaced by words that fit (Jiao et al. 2019, algorithm 1).

A word that is one token of the vocabulary is masked, and the masked language model's best guesses
take its place; a word of several pieces is replaced by its nearest neighbours among the words of
the vocabulary. TinyBERT takes these from GloVe; here they are those of the teacher's own token
table (the mean of the pieces' rows), so that nothing else is needed.
"""

import numpy as np


class Augmenter:
    """Makes copies of texts with some words replaced.

    Args:
        embeddings: A task with a tokenizer, whose token table says which words are near.
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
        self.tokenizer = embeddings.tokenizer
        self.masked_lm = masked_lm
        self.copies, self.candidates, self.probability = copies, candidates, probability
        self.seed = seed
        table = np.asarray(embeddings.backbone.embeddings.token.embeddings, np.float32)
        self._table = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
        self._words = self._whole_words()
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
        known = {word for word, _ in self._words}
        for fills in self.masked_lm.fill(gaps, top_k=top):
            fills = fills[0] if fills and isinstance(fills[0], list) else fills
            yield [fill.token for fill in fills if fill.token in known][: self.candidates]

    def _near(self, word, ids):
        if ids not in self._neighbours:
            vector = self._table[list(ids)].mean(axis=0)
            rows = np.array([index for _, index in self._words])
            order = np.argsort(-(self._table[rows] @ vector), kind="stable")
            near = [self._words[i][0] for i in order[: self.candidates + 1]]
            self._neighbours[ids] = near
        return [near for near in self._neighbours[ids] if near != word.lower()][: self.candidates]

    def _whole_words(self):
        """Return (word, id) of the tokens that are whole words of letters."""
        return [
            (token, index)
            for index, token in enumerate(self.tokenizer.vocabulary)
            if token.isalpha() and len(token) > 1
        ]
