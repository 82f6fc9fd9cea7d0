"""The README.md of a preset directory: what it is, where it comes from, how to use it."""

from __future__ import annotations

import collections.abc
import json
import typing

from bertzoo.config import BackboneConfig, HeadConfig, TokenizerConfig

TASKS = {
    "text_embedder": ("TextEmbedder", 'predict(["a cat", "a dog"])'),
    "masked_lm": ("MaskedLM", 'fill("Paris is the [MASK] of France.", top_k=5)'),
    "text_classifier": ("TextClassifier", 'predict(["a text"])'),
    "token_classifier": ("TokenClassifier", 'entities(["Anna lives in Rome."])'),
    "question_answerer": (
        "QuestionAnswerer",
        'answer("Where is Anna?", "Anna is in Rome.")',
    ),
}
# Facts of the origin and how the card calls them; those of ALWAYS are said to be not known.
FACTS = {
    "license": "License",
    "language": "Language",
    "paper": "Paper",
    "training_data": "Training data",
    "source": "Source",
    "note": "Note",
}
ALWAYS = ("license", "language", "paper", "training_data")
PIPELINES = {
    "text_embedder": "sentence-similarity",
    "text_classifier": "text-classification",
    "token_classifier": "token-classification",
    "question_answerer": "question-answering",
    "masked_lm": "fill-mask",
}
# Licences that both hubs know: identifier -> Kaggle's name.
LICENSES = {
    "Apache-2.0": "Apache 2.0",
    "MIT": "MIT",
    "CC0-1.0": "CC0: Public Domain",
    "CC-BY-4.0": "Attribution 4.0 International (CC BY 4.0)",
    "CC-BY-SA-4.0": "CC BY-SA 4.0",
}
# Whose ids each kind of tokenizer gives, as the tests compare them.
CONFORMANCE = {
    "wordpiece": "tokenization.py of google-research/bert, with Unicode 14.0",
    "byte_pair": "Hugging Face's RobertaTokenizerFast, with Unicode 16.0",
    "sentence_piece": "tokenization.py of google-research/albert, sentencepiece up to 0.1.99",
}
LONGEST_LIST = 20  # labels named one by one


def write(
    name: str,
    config: BackboneConfig,
    heads: collections.abc.Mapping[str, HeadConfig],
    tokenizer: TokenizerConfig | None,
    info: collections.abc.Mapping[str, typing.Any],
    address: str | None = None,
) -> str:
    """Return the model card as Markdown; what is not known is said to be not known.

    Args:
        name: Title, and the directory of the example.
        config: The encoder.
        heads: By kind.
        tokenizer: None where there is none.
        info: Any of `description`, the keys of `FACTS`, `metrics` (name -> number) and `training`,
            a passage of Markdown on the run that made it.
        address: Where it can be loaded from, for the example; None for the directory.

    Example:
    >>> write("my_bert", BackboneConfig(), {}, None, {}).splitlines()[0]
    '# my_bert'
    """
    lines = [f"# {name}", ""]
    lines += [str(info.get("description") or "A BERT-family encoder saved by bertzoo."), ""]
    lines += ["## Origin", ""]
    for key, title in FACTS.items():
        if info.get(key) or key in ALWAYS:
            lines.append(f"- {title}: {info.get(key) or 'not known'}")
    if info.get("metrics"):
        lines += ["", "## Metrics", "", "| metric | value |", "|---|---|"]
        lines += [f"| {metric} | {value} |" for metric, value in info["metrics"].items()]
    if info.get("training"):
        lines += ["", "## Training", "", str(info["training"])]
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
        lines.append(
            f"- Tokenizer: {tokenizer.kind}, {case}, in the TensorFlow graph; its ids equal those "
            f"of {CONFORMANCE[tokenizer.kind]}"
        )
    for head in heads.values():
        lines.append(f"- Head: {_describe(head)}")
    lines += ["", "## Use", "", "```python", "import bertzoo as bz", ""]
    lines += _example(address or f"{name}/", heads)
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


def front_matter(
    heads: collections.abc.Mapping[str, HeadConfig],
    info: collections.abc.Mapping[str, typing.Any],
) -> str:
    """Return the block at the top of a card that Hugging Face's search reads.

    Example:
    >>> print(front_matter({}, {"license": "MIT", "language": "en"}))
    ---
    library_name: "bertzoo"
    pipeline_tag: "feature-extraction"
    tags: ["bertzoo", "bert", "keras", "tensorflow"]
    license: "mit"
    language: "en"
    ---
    """
    pipeline = next((PIPELINES[kind] for kind in PIPELINES if kind in heads), "feature-extraction")
    values: dict[str, typing.Any] = {
        "library_name": "bertzoo",
        "pipeline_tag": pipeline,
        "tags": ["bertzoo", "bert", "keras", "tensorflow"],
    }
    known = {name.lower() for name in LICENSES}
    license = str(info.get("license") or "unknown")
    if license.lower() in known:
        values["license"] = license.lower()
    elif license != "unknown":
        values |= {"license": "other", "license_name": license}
    if info.get("language") and info["language"] not in ("multi", "unknown"):
        values["language"] = info["language"]
    # JSON's strings and lists are YAML's too, with nothing left to be read otherwise.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join(["---", *lines, "---"])


def _example(source: str, heads) -> list[str]:
    for kind, (task, call) in TASKS.items():
        if kind in heads:
            lines = [f'model = bz.{task}.from_preset("{source}")']
            return lines + ([f"model.{call}"] if call else [])
    return [f'backbone = bz.Backbone.from_preset("{source}")']
