"""The README.md of a preset directory: what it is, where it comes from, how to use it."""

from __future__ import annotations

import collections.abc
import typing

from bertzoo.config import BackboneConfig, HeadConfig, TokenizerConfig

TASKS = {
    "text_embedder": ("TextEmbedder", 'predict(["a cat", "a dog"])'),
    "masked_lm": ("MaskedLM", 'fill("Paris is the [MASK] of France.", top_k=5)'),
    "text_classifier": ("TextClassifier", 'predict(["a text"])'),
    "token_classifier": ("TokenClassifier", None),
    "question_answerer": ("QuestionAnswerer", None),
}
FACTS = ("license", "language", "paper", "source", "note")
LONGEST_LIST = 20  # labels named one by one


def write(
    name: str,
    config: BackboneConfig,
    heads: collections.abc.Mapping[str, HeadConfig],
    tokenizer: TokenizerConfig | None,
    info: collections.abc.Mapping[str, typing.Any],
) -> str:
    """Return the model card as Markdown; what is not known is said to be not known.

    Example:
    >>> write("my_bert", BackboneConfig(), {}, None, {}).splitlines()[0]
    '# my_bert'
    """
    lines = [f"# {name}", ""]
    lines += [str(info.get("description") or "A BERT-family encoder saved by bertzoo."), ""]
    lines += ["## Origin", ""]
    for key in FACTS:
        value = info.get(key)
        if value or key in ("license", "language", "paper"):
            lines.append(f"- {key.capitalize()}: {value or 'not known'}")
    lines += ["", "## Network", ""]
    lines += [
        f"- {config.parameter_count():,} parameters in the encoder"
        + (", pooler included" if config.pooler else ", no pooler"),
        f"- {config.num_layers} layers of width {config.hidden_dim}, {config.num_heads} heads, "
        f"feed-forward width {config.intermediate_dim}, activation `{config.activation}`",
        f"- {config.vocabulary_size:,} tokens, at most {config.max_sequence_length} in a row",
    ]
    if tokenizer is not None:
        case = "lower-cased" if tokenizer.lowercase else "cased"
        lines.append(f"- Tokenizer: {tokenizer.kind}, {case}")
    for head in heads.values():
        lines.append(f"- Head: {_describe(head)}")
    lines += ["", "## Use", "", "```python", "import bertzoo as bz", ""]
    lines += _example(name, heads)
    lines += ["```", ""]
    return "\n".join(lines)


def _describe(head: HeadConfig) -> str:
    text = f"`{head.kind}`"
    if head.kind == "text_embedder":
        text += f", {' and '.join(head.pooling)} pooling"
        return text + (", vectors of length 1" if head.normalize else "")
    if head.labels is not None:
        shown = ", ".join(head.labels[:LONGEST_LIST])
        more = len(head.labels) - LONGEST_LIST
        return f"{text}, labels {shown}" + (f" and {more} more" if more > 0 else "")
    return text + (f", {head.num_outputs} outputs" if head.num_outputs else "")


def _example(name: str, heads) -> list[str]:
    for kind, (task, call) in TASKS.items():
        if kind in heads:
            lines = [f'model = bz.{task}.from_preset("{name}/")']
            return lines + ([f"model.{call}"] if call else [])
    return [f'backbone = bz.Backbone.from_preset("{name}/")']
