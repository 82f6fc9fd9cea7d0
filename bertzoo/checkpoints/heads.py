"""Which heads a Hugging Face checkpoint carries, and how each family computes them.

The tensors say that a head is there, `architectures` which of two it is where names coincide,
and the family's code which activation, epsilon and dropout belong to it.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import typing

from bertzoo.config import BackboneConfig, HeadConfig

# What transformers calls the problems of a text classifier.
PROBLEM_TYPES = {
    "single_label_classification": "single_label",
    "multi_label_classification": "multi_label",
    "regression": "regression",
}


@dataclasses.dataclass(frozen=True)
class HeadRule:
    """One head of one family.

    Args:
        kind: Ours.
        evidence: The tensor that shows that it is there; its first axis counts the outputs.
        architectures: transformers' classes that have it.
        input: What a text classifier reads.
        activation: Of its hidden layer, `config` for the encoder's own, None for no such layer.
            A `masked_lm` head always has one, by default the encoder's.
        epsilon: Of its layer norm, None for the encoder's own.
        dropout: A number, or keys of which the first that is set counts, then a number.
        absent: A tensor whose presence shows that it is another head.
        usual: Whether it is meant where names coincide and nothing says otherwise.
    """

    kind: str
    evidence: str
    architectures: tuple[str, ...] = ()
    input: str = "pooled"
    activation: str | None = None
    epsilon: float | None = None
    dropout: float | tuple = 0.1
    absent: str | None = None
    usual: bool = False

    def read(
        self,
        raw: collections.abc.Mapping[str, typing.Any],
        config: BackboneConfig,
        outputs: int | None,
        where: str,
    ) -> HeadConfig:
        """Return the head; `outputs` is the number of rows of its last kernel, where known."""
        values: dict[str, typing.Any] = {"kind": self.kind}
        activation = self.activation
        if self.kind == "masked_lm":
            activation = activation or "config"
            values["layer_norm_epsilon"] = self.epsilon or config.layer_norm_epsilon
        if activation is not None:
            values["hidden_activation"] = (
                config.activation if activation == "config" else activation
            )
        if self.kind in ("text_classifier", "token_classifier"):
            labels = labels_of(raw, where)
            if labels is None:
                declared = raw.get("num_labels")
                count = outputs if outputs is not None else declared or 2
            else:
                declared = count = len(labels)
            if outputs is not None and declared is not None and declared != outputs:
                raise ValueError(
                    f"{where} names {declared} labels, but `{self.evidence}` has {outputs} outputs."
                )
            values |= {"num_outputs": count, "labels": labels, "input": self.input}
        if self.kind == "text_classifier":
            values |= problem_of(raw, count)
        if self.kind == "multiple_choice":
            values["input"] = self.input
            if outputs not in (None, 1):
                raise ValueError(f"{where}: `{self.evidence}` has {outputs} outputs; expected 1.")
        if self.kind in ("next_sentence", "question_answerer"):
            if outputs not in (None, 2):
                raise ValueError(f"{where}: `{self.evidence}` has {outputs} outputs; expected 2.")
            if self.kind == "next_sentence":
                values["num_outputs"] = 2
        values["dropout"] = self._dropout(raw, config)
        try:
            return HeadConfig(**values)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    def _dropout(self, raw, config: BackboneConfig) -> float:
        if not isinstance(self.dropout, tuple):
            return self.dropout
        for item in self.dropout:
            if isinstance(item, str):
                # The encoder's own rate is read from the config, with the family's default.
                value = config.dropout if item == "hidden_dropout_prob" else raw.get(item)
                if value is not None:
                    return value
            else:
                return item
        return config.dropout

    @property
    def dropout_key(self) -> str | None:
        """The key that sets this head's dropout alone."""
        first = self.dropout[0] if isinstance(self.dropout, tuple) else None
        return None if first in ("dropout", "hidden_dropout_prob") else first


def read_heads(
    rules: collections.abc.Iterable[HeadRule],
    raw: collections.abc.Mapping[str, typing.Any],
    config: BackboneConfig,
    tensors: collections.abc.Mapping[str, tuple[int, ...]] | None,
    where: str,
    expected: collections.abc.Collection[str] = (),
) -> tuple[dict[str, HeadConfig], dict[str, str]]:
    """Return the heads that are there, and {kind: why not} for those that cannot be read.

    Args:
        rules: Of the family.
        raw: The parsed `config.json`.
        config: The encoder.
        tensors: Name -> shape; None where there are no weights.
        where: For messages.
        expected: Kinds that a preset says are there; they decide where names coincide.
    """
    architectures = {str(name).removeprefix("TF") for name in raw.get("architectures") or ()}
    rules = list(rules)
    named = {rule.kind for rule in rules if architectures & set(rule.architectures)}
    if tensors is None:
        there = [rule for rule in rules if rule.kind in named]
    else:
        there = [r for r in rules if r.evidence in tensors and r.absent not in tensors]
    heads: dict[str, HeadConfig] = {}
    unread: dict[str, str] = {}
    for rule in there:
        if rule.kind in ("text_classifier", "token_classifier", "multiple_choice"):
            reason = _why_not(rule, rules, named | set(expected), architectures, tensors, config)
            if reason is not None:
                if reason:
                    unread[rule.kind] = reason
                continue
        outputs = None if tensors is None else _outputs(tensors[rule.evidence], rule, tensors)
        heads[rule.kind] = rule.read(raw, config, outputs, where)
    return heads, unread


def _why_not(rule, rules, named, architectures, tensors, config) -> str | None:
    """Return None to read the head, "" where it is another one, else why it cannot be told."""
    # A classifier of texts or tokens has the same names, so only the class or the preset says that
    # it scores choices.
    scores_choices = "multiple_choice" in named
    if scores_choices or rule.kind == "multiple_choice":
        return None if scores_choices and rule.kind == "multiple_choice" else ""
    if (
        tensors is not None
        and "fit_dense.weight" in tensors
        and rule.evidence == "classifier.weight"
    ):
        return (
            "TinyBERT's own classifier applies ReLU to the pooled vector, which bertzoo has no "
            "head for"
        )
    rivals = [
        other
        for other in rules
        if other is not rule and other.evidence == rule.evidence and other.kind != "multiple_choice"
    ]
    if rule.kind in named:
        return None
    if any(other.kind in named or other.usual for other in rivals):
        return ""
    if rivals and not rule.usual:
        if not config.pooler:  # a pooled classifier has a pooler
            return None if rule.kind == "token_classifier" else ""
        return (
            f"`{rule.evidence}` may classify texts or tokens and config.json does not say which; "
            "add its class to `architectures`"
        )
    return None


def _outputs(shape, rule: HeadRule, tensors) -> int | None:
    # The evidence is the hidden layer where the last one has a name that others share.
    is_hidden = rule.evidence.startswith(("pre_classifier", "sequence_summary"))
    if is_hidden and rule.kind in ("text_classifier", "multiple_choice"):
        shape = tensors.get("classifier.weight", ())
    return shape[0] if shape else None


def problem_of(raw: collections.abc.Mapping[str, typing.Any], count: int) -> dict[str, typing.Any]:
    """Return `problem`, `thresholds` and `parents` of a text classifier, as far as a file has them.

    >>> problem_of({"problem_type": "multi_label_classification"}, 3)
    {'problem': 'multi_label'}
    """
    problem = PROBLEM_TYPES.get(str(raw.get("problem_type")))
    if problem is None or (problem == "single_label" and count < 2):
        return {}  # transformers trains such a head as a regression
    found: dict[str, typing.Any] = {"problem": problem}
    for theirs, ours in (("label_thresholds", "thresholds"), ("label_parents", "parents")):
        if problem == "multi_label" and raw.get(theirs) is not None:
            found[ours] = tuple(raw[theirs])
    return found


def labels_of(raw: collections.abc.Mapping[str, typing.Any], where: str) -> tuple[str, ...] | None:
    """Return the labels in output order, or None where the file names none.

    >>> labels_of({"id2label": {"1": "b", "0": "a"}}, "config.json")
    ('a', 'b')
    """
    names = raw.get("id2label")
    if not names and raw.get("label2id"):
        names = {index: name for name, index in raw["label2id"].items()}
    if not names:
        return None
    try:
        ordered = sorted((int(index), str(name)) for index, name in names.items())
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{where}: `id2label` must map numbers to names; got {names!r}."
        ) from error
    if [index for index, _ in ordered] != list(range(len(ordered))):
        raise ValueError(
            f"{where}: `id2label` must number its labels 0 to {len(ordered) - 1}; got "
            f"{[index for index, _ in ordered]}."
        )
    return tuple(name for _, name in ordered)
