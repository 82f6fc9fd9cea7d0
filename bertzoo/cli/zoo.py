"""`list` and `show`: the presets, and all that is known of one. No TensorFlow, no Keras."""

from __future__ import annotations

import os
import pathlib
import typing

from bertzoo import hub, presets
from bertzoo.cli.output import answer, remark, table
from bertzoo.config import BackboneConfig, check_key
from bertzoo.presets import PresetInfo

# Names that people look for and do not find, with the reason.
NOT_IN_THE_ZOO = {
    "PatentBERT": "656 answers that may hold together; its weights are a TF1 checkpoint on a "
    "drive of its authors and have no licence of their own",
    "DocBERT": "BERT fine-tuned for documents: nothing to load that is not a fine-tuning",
    "VideoBERT": "no weights were published",
    "G-BERT": "its token table is computed by a graph network",
    "MobileBERT": "bottlenecks, stacked feed-forward layers and no layer norm",
    "MPNet (all-mpnet-base-v2)": "relative positions",
    "Chinese ALBERT and TinyBERT": "the facts of their files were not verified",
    "BGE, E5, mxbai (KerasHub has them)": "the facts of their files were not verified",
}


def list_presets(options) -> None:
    """`bertzoo list`: one line a preset."""
    every = presets.list_presets()
    if options.markdown:
        print(zoo_page(every), end="")
        return
    chosen = [info for info in every.values() if _is_wanted(info, options)]
    if options.family is not None:
        check_key(options.family, {info.family for info in every.values()}, "--family")
    if options.head is not None:
        check_key(options.head, {kind for info in every.values() for kind in info.heads}, "--head")
    folders = {info.name: hub.locate(info) for info in chosen}
    if options.here:
        chosen = [info for info in chosen if _is_here(info, folders[info.name])]
    rows = [["", "preset", "parameters", "language", "licence", "heads"]]
    rows += [_row(info, folders[info.name]) for info in chosen]
    plain = table(rows, right=[2])
    if options.here and hub.downloaded():
        rows = [[entry["source"], f"{entry['bytes']:,}", entry["folder"]]
                for entry in map(hub.describe, hub.downloaded())]  # fmt: skip
        plain += "\n\n" + table([["downloaded by address", "bytes", "folder"], *rows], right=[1])
    answer(options, plain, [_brief(info, folders[info.name]) for info in chosen])
    if not options.json:
        remark(f"{len(chosen)} of {len(every)} presets; * needs no file that is not here.")


def show(options) -> None:
    """`bertzoo show`: what is known of a preset or of a checkpoint directory."""
    path = pathlib.Path(options.source).expanduser()
    if path.exists() or os.sep in options.source:
        _show_directory(options)
        return
    info = presets.find_preset(options.source)
    place = hub.locate(info)
    facts = {
        "preset": info.name + (f" ({info.family})" if info.family else ""),
        "description": info.description,
        "parameters": f"{info.parameters:,} (encoder, without heads)",
        "architecture": describe_architecture(info.config),
        "tokenizer": _describe_tokenizer(info),
        "heads": ", ".join(info.heads) or "none",
        **_describe_heads(info.heads),
        "language": info.language,
        "licence": info.license,
        "paper": info.paper,
        "sources": ", ".join(f"{source.kind}: {source.location}" for source in info.sources),
        "checksums": "not known" if info.sha256 is None else f"{len(info.sha256)} known",
        "aliases": ", ".join(info.aliases) or "none",
        "files": str(place) if place else hub.where_to_get(info),
        "download": "" if place else _download(info),
        "note": info.note,
    }
    answer(options, _lines(facts), {**_brief(info, place), **_details(info)})


def _show_directory(options) -> None:
    """Show a checkpoint directory: the format is found by looking at it, and said."""
    from bertzoo import checkpoints

    checkpoint = checkpoints.open_checkpoint(options.source, format=options.format)
    config, tokenizer = checkpoint.config, checkpoint.tokenizer
    facts = {
        "checkpoint": str(checkpoint.directory),
        "format": checkpoint.format,
        "parameters": f"{config.parameter_count():,} (encoder, without heads)",
        "architecture": describe_architecture(config),
        "tokenizer": _case(tokenizer) if tokenizer else "none",
        "heads": ", ".join(checkpoint.heads) or "none",
        **_describe_heads(checkpoint.heads),
        "files": ", ".join(f"{role}: {path.name}" for role, path in checkpoint.files.items()),
        **{key: str(value) for key, value in checkpoint.info.items()},
    }
    structured = {
        "directory": str(checkpoint.directory),
        "format": checkpoint.format,
        "parameters": config.parameter_count(),
        "config": config.to_dict(),
        "tokenizer": tokenizer.to_dict() if tokenizer else None,
        "heads": {kind: head.to_dict(defaults=False) for kind, head in checkpoint.heads.items()},
        "files": {role: str(path) for role, path in checkpoint.files.items()},
        "info": checkpoint.info,
    }
    answer(options, _lines(facts), structured)


def describe_architecture(config: BackboneConfig) -> str:
    """Say the shape of an encoder in words.

    >>> describe_architecture(BackboneConfig(num_layers=2, hidden_dim=128, num_heads=2))
    '2 layers of width 128, 2 heads, feed-forward 3072, gelu, 512 tokens, 2 segments, pooler'
    """
    parts = [
        f"{config.num_layers} layers of width {config.hidden_dim}",
        f"{config.num_heads} heads",
        f"feed-forward {config.intermediate_dim}",
        config.activation,
        f"{config.max_sequence_length} tokens",
        f"{config.num_segments} segments" if config.num_segments else "no segments",
        "pooler" if config.pooler else "no pooler",
    ]
    if config.embedding_dim is not None:
        parts.append(f"tables of width {config.embedding_dim}")
    if config.num_groups is not None:
        parts.append(f"{config.num_distinct_layers} distinct layers")
    return ", ".join(parts)


def zoo_page(every: typing.Mapping[str, PresetInfo]) -> str:
    """Return the page docs/zoo.md: every preset by family."""
    families: dict[str, list[PresetInfo]] = {}
    for info in every.values():
        families.setdefault(info.family, []).append(info)
    lines = [
        "# The zoo",
        "",
        "<!-- Written by `bertzoo list --markdown > docs/zoo.md`; do not edit by hand. -->",
        "",
        f"{len(every)} presets. Parameters count the encoder, its pooler included where there is "
        "one, without heads.",
        "Each is one file in `presets/`; `bertzoo show NAME` prints all of it. Its files are "
        "downloaded on first use from Hugging Face, Kaggle or Google's archives. A licence or "
        "checksum that is not known is written `unknown`. A preset whose tokenizer is "
        "sentence_piece loads its encoder for ids; its tokenizer comes with a later release.",
    ]
    for family in sorted(families):
        lines += ["", f"## {family}", ""]
        lines += ["| preset | parameters | language | licence | heads | what |", "|---" * 6 + "|"]
        for info in families[family]:
            names = " ".join([f"`{info.name}`", *(f"(`{alias}`)" for alias in info.aliases)])
            heads = ", ".join(info.heads) or "–"
            what = " ".join(filter(None, [info.description, info.note]))
            if info.tokenizer and info.tokenizer.kind != "wordpiece":
                heads += f"; {info.tokenizer.kind}"
            lines.append(
                f"| {names} | {info.parameters:,} | {info.language} | {info.license} | {heads} "
                f"| {what} |"
            )
    lines += ["", "## Not in the zoo", "", "| name | why |", "|---|---|"]
    lines += [f"| {name} | {why} |" for name, why in NOT_IN_THE_ZOO.items()]
    return "\n".join(lines) + "\n"


def _is_wanted(info: PresetInfo, options) -> bool:
    names = [info.name, *info.aliases]
    return (
        (options.pattern is None or any(options.pattern.lower() in name for name in names))
        and options.family in (None, info.family)
        and options.language in (None, info.language)
        and (options.head is None or options.head in info.heads)
    )


def _is_here(info: PresetInfo, place: pathlib.Path | None) -> bool:
    return place is not None or info.random_seed is not None


def _row(info: PresetInfo, place: pathlib.Path | None) -> list[str]:
    mark = "*" if _is_here(info, place) else ""
    heads = ", ".join(info.heads)
    return [mark, info.name, f"{info.parameters:,}", info.language, info.license, heads]


def _brief(info: PresetInfo, place: pathlib.Path | None) -> dict[str, typing.Any]:
    return {
        "name": info.name,
        "family": info.family,
        "description": info.description,
        "parameters": info.parameters,
        "language": info.language,
        "license": info.license,
        "heads": list(info.heads),
        "aliases": list(info.aliases),
        "here": _is_here(info, place),
        "directory": str(place) if place else None,
    }


def _download(info: PresetInfo) -> str:
    """Say whether the files come by themselves."""
    extras = {"hugging_face": "hf", "kaggle": "kaggle"}
    kinds = [source.kind for source in info.sources if source.kind in extras]
    if not kinds or hub.offline(kinds[0]):
        return ""
    return f"on first use, with the client of pip install 'bertzoo[{extras[kinds[0]]}]'"


def _details(info: PresetInfo) -> dict[str, typing.Any]:
    return {
        "config": info.config.to_dict(),
        "tokenizer": info.tokenizer.to_dict() if info.tokenizer else None,
        "heads": {kind: head.to_dict(defaults=False) for kind, head in info.heads.items()},
        "sources": [{source.kind: source.location} for source in info.sources],
        "sha256": info.sha256 if info.sha256 is not None else presets.UNKNOWN,
        "paper": info.paper,
        "note": info.note,
    }


def _describe_tokenizer(info: PresetInfo) -> str:
    if info.tokenizer is None:
        return "none"
    text = f"{_case(info.tokenizer)}, {info.config.vocabulary_size:,} tokens"
    if info.tokenizer.kind != "wordpiece":
        text += "; this tokenizer comes with a later release: until then give ids, not strings"
    return text


def _case(tokenizer) -> str:
    return f"{tokenizer.kind}, {'lower-cased' if tokenizer.lowercase else 'with case'}"


def _describe_heads(heads) -> dict[str, str]:
    facts = {}
    for kind, head in heads.items():
        if head.labels:
            facts[f"{kind} labels"] = ", ".join(head.labels)
        elif kind.endswith("classifier"):
            facts[f"{kind} labels"] = f"{head.num_outputs} classes without names"
        if kind == "text_embedder":
            steps = [f"{'+'.join(head.pooling)} pooling"]
            steps += [f"dense {width} {act or 'linear'}" for width, act, _ in head.projections]
            facts[kind] = ", ".join(steps + ["length 1"] * head.normalize)
    return facts


def _lines(facts: typing.Mapping[str, str]) -> str:
    return table([[key, value] for key, value in facts.items() if value])
