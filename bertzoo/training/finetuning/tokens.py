"""Tags of words and the entities they spell (Devlin et al. 2018, section 5.3)."""

from __future__ import annotations

import collections

from bertzoo import reports, tags
from bertzoo.metrics.entities import entity_scores
from bertzoo.readers.conll import read_conll, tag_names
from bertzoo.tasks.token_classifier import TokenClassifier
from bertzoo.training.finetuning.kinds import WindowKind


class Tokens(WindowKind):
    """A tag a word; predictions are lists of tags. Entities count, by conlleval's rules.

    Where the recipe's `data.scheme` is null, tags are no entities (parts of speech) and the
    accuracy of words counts.
    """

    metric_names = ("f1", "precision", "recall", "accuracy")

    def __init__(self, recipe):
        super().__init__(recipe)
        self._seen = []
        if recipe.evaluation.metric is None and recipe.data.scheme is None:
            self.metric = "accuracy"

    def read(self, path, part):
        """Return `words` and `tags` of each sentence."""
        data = self.recipe.data
        sentences = read_conll(
            path,
            scheme=data.scheme,
            word_column=data.columns.words,
            tag_column=data.columns.tags,
            encoding=data.encoding,
        )
        self._seen.append(sentences.tags)
        return {"words": sentences.words, "tags": sentences.tags}

    def has_labels(self, examples):
        """Return True: these files have tags."""
        return examples["tags"] is not None

    def make(self, train):
        """Return a `TokenClassifier` with a new head, unless the recipe keeps the old one."""
        model, options = self.recipe.model, self.model_options()
        found = {tag for tags_of_row in train["tags"] for tag in tags_of_row}
        if not model.keep_head and len(found) < 2:
            raise ValueError(
                f"{train.source} has one tag only, {found.pop()!r}: there is nothing to learn; "
                "data.columns.tags says which column holds the tags."
            )
        if not model.keep_head:
            labels = self.recipe.data.labels
            # Of all files: a tag that only dev has cannot be learnt, but it can be counted.
            options["labels"] = list(labels) if labels else self._all_tags()
        return TokenClassifier.from_preset(model.preset, **options)

    def inputs(self, examples):
        """Return words and tags."""
        return examples["words"], examples["tags"]

    def predict(self, task, examples):
        """Return the tags of each sentence."""
        return task.tag(examples["words"], batch_size=self.recipe.evaluation.batch_size)

    def score(self, task, examples, predictions):
        """Return precision, recall and F1 of entities, in all and by type, and words' accuracy."""
        return self._score(examples["tags"], predictions, list(task.labels))

    def rows(self, task, examples, predictions):
        """Return words, tags and entities of each sentence."""
        labels = list(task.labels)
        return [
            {
                "words": words,
                "tags": got,
                "entities": [
                    {"label": span.type, "text": " ".join(words[span.start : span.end]),
                     "start": span.start, "end": span.end}
                    for span in self._spans(got, labels)
                ],
            }
            for words, got in zip(examples["words"], predictions, strict=True)
        ]  # fmt: skip

    def mistakes(self, task, examples, predictions):
        """Return the entities of each sentence that were missed, and those that are none."""
        wrong, labels = [], list(task.labels)
        for words, true, got in zip(examples["words"], examples["tags"], predictions, strict=True):
            expected, found = set(self._spans(true, labels)), set(self._spans(got, labels))
            if expected != found:
                wrong.append(
                    {
                        "missed": _spell(expected - found, words),
                        "wrong": _spell(found - expected, words),
                        "text": " ".join(words),
                    }
                )
        return wrong

    def baseline(self, task, train, examples):
        """Return the metrics of giving each word the tag it mostly had in training, else O."""
        counts = collections.defaultdict(collections.Counter)
        for words, given in zip(train["words"], train["tags"], strict=True):
            for word, tag in zip(words, given, strict=True):
                counts[word][tag] += 1
        most = {word: counter.most_common(1)[0][0] for word, counter in counts.items()}
        usual = collections.Counter(tag for row in train["tags"] for tag in row).most_common(1)
        got = [[most.get(word, usual[0][0]) for word in words] for words in examples["words"]]
        scores = self._score(examples["tags"], got, list(task.labels))
        return {name: scores[name] for name in self.metric_names}

    def official(self, task, examples, predictions, folder):
        """Write word, gold tag and guess, as conlleval reads them."""
        rows = zip(examples["words"], examples["tags"], predictions, strict=True)
        reports.write_conll(folder / "conll.txt", rows)

    def _all_tags(self):
        return tag_names(*self._seen)

    def _score(self, true, got, labels):
        if self.recipe.data.scheme is None:
            words = [a == b for x, y in zip(true, got, strict=True)
                     for a, b in zip(x, y, strict=True)]  # fmt: skip
            return {"f1": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": sum(words) / len(words)}
        scores = entity_scores(true, got, labels)
        by_type = {f"f1_{name}": one.f1 for name, one in scores.by_type.items() if one.support}
        return {name: getattr(scores, name) for name in self.metric_names} | by_type

    def _spans(self, given, labels):
        if self.recipe.data.scheme is None:
            return [tags.Span(tag, place, place + 1) for place, tag in enumerate(given)]
        return tags.spans_of_tags(given, labels)


def _spell(spans, words):
    return "; ".join(
        f"{span.type}: {' '.join(words[span.start : span.end])}"
        for span in sorted(spans, key=lambda span: span.start)
    )
