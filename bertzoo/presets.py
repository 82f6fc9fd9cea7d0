"""Presets as data: every published weight set is one YAML file, read here into a `PresetInfo`.

`presets/architectures.yaml` holds the shapes, `presets/<family>/<name>.yaml` the weight sets. The
file's name is the preset's name and its folder is the family. Nothing is loaded or downloaded.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import re
import types
import typing

from bertzoo.config import BackboneConfig, HeadConfig, TokenizerConfig, check_key, nearest

# In the order in which a row lists them: what is here already, hubs, then files to unpack.
# `random` has no files: its location is the seed of the weights (the toy preset).
SOURCE_KINDS = ("package", "hugging_face", "kaggle", "archive", "random")
REQUIRED_KEYS = (
    "description",
    "architecture",
    "vocabulary_size",
    "parameters",
    "tokenizer",
    "language",
    "license",
    "paper",
    "sources",
    "sha256",
)
OPTIONAL_KEYS = ("aliases", "config", "heads", "note", "vocabulary")
# Written where a fact is not known, so that an omission is never mistaken for one.
UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Source:
    """One place that has a preset's files.

    Args:
        kind: `package` (an installed Python package and a folder in it), `hugging_face` or
            `kaggle` (a repository there), `archive` (a file to unpack) or `random` (a seed).
        location: The name at that place, without any address of a host.
    """

    kind: str
    location: str


@dataclasses.dataclass(frozen=True)
class PresetInfo:
    """What is known of one published weight set.

    Args:
        name: Canonical name, as the file is called.
        family: Folder of the file: `bert`, `albert`, `domain` and so on.
        description: One sentence.
        config: Shape of the encoder, vocabulary size included.
        heads: The heads that the published files carry, by kind.
        tokenizer: How text becomes ids.
        sources: Where the files are, in the order in which to try them.
        sha256: Checksum of each file; None where they are not known.
        license: Identifier, or `unknown`.
        paper: Authors, year, identifier, or `unknown`.
        language: Language code, or `multi`.
        parameters: Weights of the encoder, heads not counted.
        aliases: Other names that find this preset; KerasHub's among them.
        note: What a user should know before using it; may be empty.
        vocabulary: The tokens themselves where the row lists them (the toy), else None.
    """

    name: str
    family: str
    description: str
    config: BackboneConfig
    heads: dict[str, HeadConfig]
    tokenizer: TokenizerConfig | None
    sources: tuple[Source, ...]
    sha256: dict[str, str] | None
    license: str
    paper: str
    language: str
    parameters: int
    aliases: tuple[str, ...] = ()
    note: str = ""
    vocabulary: tuple[str, ...] | None = None

    @property
    def random_seed(self) -> int | None:
        """Seed of a preset whose weights are drawn and not published; None for all others."""
        seeds = [int(source.location) for source in self.sources if source.kind == "random"]
        return seeds[0] if seeds else None


def list_presets() -> dict[str, PresetInfo]:
    """Return every preset by its canonical name, sorted.

    Example:
    >>> list_presets()["bert_base_en_uncased"].parameters
    109482240
    """
    return dict(_read_all())


def find_preset(name: str) -> PresetInfo:
    """Return the preset of a canonical name or an alias.

    Raises:
        ValueError: No preset has this name; the message gives the nearest one.

    Example:
    >>> find_preset("distil_bert_base_en_uncased").name
    'distilbert_base_en_uncased'
    """
    presets, aliases = _read_all(), _all_aliases()
    name = str(name)
    canonical = aliases.get(name, name)
    if canonical not in presets:
        raise ValueError(
            f"unknown preset `{name}`;{nearest(name, [*presets, *aliases])} "
            f"`bertzoo list` shows all {len(presets)}."
        )
    return presets[canonical]


def data_folder(name: str) -> pathlib.Path:
    """Return the folder `presets` or `recipes`: inside an installed wheel, or in the checkout."""
    package = pathlib.Path(__file__).parent
    for folder in (package / f"_{name}", package.parent / name):
        if folder.is_dir():
            return folder
    raise ValueError(f"the folder `{name}` is missing beside {package}; install bertzoo again.")


def read_folder(folder: pathlib.Path) -> dict[str, PresetInfo]:
    """Read `architectures.yaml` and every `<family>/<name>.yaml` below `folder`, strictly."""
    architectures = _read_architectures(folder / "architectures.yaml")
    presets: dict[str, PresetInfo] = {}
    for path in sorted(folder.glob("*/*.yaml"), key=lambda path: path.stem):
        if path.stem in presets:
            raise ValueError(f"two preset files are called {path.stem}.yaml below {folder}.")
        presets[path.stem] = parse_preset(load_yaml(path), architectures, path)
    return presets


def parse_preset(
    row: typing.Mapping[str, typing.Any],
    architectures: typing.Mapping[str, dict[str, typing.Any]],
    path: pathlib.Path,
) -> PresetInfo:
    """Turn the content of one preset file into a `PresetInfo`; any doubt raises with its name."""
    where = "/".join(path.parts[-3:])
    for key in row:
        check_key(key, (*REQUIRED_KEYS, *OPTIONAL_KEYS), where)
    missing = [key for key in REQUIRED_KEYS if key not in row]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}; write `unknown` for what is.")
    for key in ("description", "architecture", "language", "license", "paper"):
        _check(isinstance(row[key], str) and row[key], where, key, "text", row[key])
    _check(type(row["parameters"]) is int, where, "parameters", "a whole number", row["parameters"])
    try:
        config = _backbone_config(row, architectures, where)
        heads = _heads(row.get("heads", []), config, where)
        tokenizer = TokenizerConfig.from_dict(row["tokenizer"], f"{where}, tokenizer")
    except ValueError as error:
        raise ValueError(str(error) if where in str(error) else f"{where}: {error}") from None
    if config.parameter_count() != row["parameters"]:
        raise ValueError(
            f"{where} says {row['parameters']:,} parameters, but its architecture "
            f"`{row['architecture']}` has {config.parameter_count():,}."
        )
    return PresetInfo(
        name=path.stem,
        family=path.parent.name,
        description=row["description"],
        config=config,
        heads=heads,
        tokenizer=tokenizer,
        sources=_sources(row["sources"], where),
        sha256=_checksums(row["sha256"], where),
        license=row["license"],
        paper=row["paper"],
        language=row["language"],
        parameters=row["parameters"],
        aliases=_texts(row.get("aliases", []), where, "aliases"),
        note=_check_text(row.get("note", ""), where, "note"),
        vocabulary=_vocabulary(row, config, where),
    )


@functools.cache
def _read_all() -> typing.Mapping[str, PresetInfo]:
    return types.MappingProxyType(read_folder(data_folder("presets")))


@functools.cache
def _all_aliases() -> typing.Mapping[str, str]:
    return types.MappingProxyType(collect_aliases(_read_all()))


def collect_aliases(presets: typing.Mapping[str, PresetInfo]) -> dict[str, str]:
    """Return alias -> canonical name; an alias that means two presets raises."""
    aliases: dict[str, str] = {}
    for name, info in presets.items():
        for alias in info.aliases:
            if alias in presets or alias in aliases:
                other = alias if alias in presets else aliases[alias]
                raise ValueError(f"the alias `{alias}` of {name} already means {other}.")
            aliases[alias] = name
    return aliases


def _read_architectures(path: pathlib.Path) -> dict[str, dict[str, typing.Any]]:
    rows = load_yaml(path)
    for name, row in rows.items():
        where = f"{path.name}, row `{name}`"
        _check(isinstance(row, dict), path.name, name, "a mapping", row)
        BackboneConfig.from_dict(row, where)
    return rows


def _backbone_config(row, architectures, where) -> BackboneConfig:
    check_key(row["architecture"], architectures, f"{where}, architecture")
    changes = row.get("config", {})
    _check(isinstance(changes, dict), where, "config", "a mapping", changes)
    values = {
        **architectures[row["architecture"]],
        **changes,
        "vocabulary_size": row["vocabulary_size"],
    }
    return BackboneConfig.from_dict(values, f"{where}, config")


def _heads(items, config: BackboneConfig, where: str) -> dict[str, HeadConfig]:
    """Read a list of kinds or mappings; what a head shares with its encoder need not be said."""
    _check(isinstance(items, list), where, "heads", "a list", items)
    heads: dict[str, HeadConfig] = {}
    for item in items:
        values = {"kind": item} if isinstance(item, str) else item
        _check(isinstance(values, dict) and "kind" in values, where, "heads", "a kind", item)
        shared: dict[str, typing.Any] = {}
        if values["kind"] in ("masked_lm", "discriminator"):
            shared["hidden_activation"] = config.activation
        if values["kind"] == "masked_lm":
            shared["layer_norm_epsilon"] = config.layer_norm_epsilon
        if values["kind"] == "next_sentence":
            shared["num_outputs"] = 2
        head = HeadConfig.from_dict({**shared, **values}, f"{where}, heads")
        _check(head.kind not in heads, where, "heads", "each kind once", head.kind)
        _check(
            config.pooler or not head.reads_pooled_output,
            where,
            "heads",
            "an encoder with a pooler for this head",
            head.kind,
        )
        heads[head.kind] = head
    return heads


def _sources(items, where: str) -> tuple[Source, ...]:
    _check(isinstance(items, list) and items, where, "sources", "a list of places", items)
    sources = []
    for item in items:
        _check(isinstance(item, dict) and len(item) == 1, where, "sources", "`kind: name`", item)
        ((kind, location),) = item.items()
        check_key(kind, SOURCE_KINDS, f"{where}, sources")
        if kind == "random":
            _check(type(location) is int, where, "sources", "a whole number as seed", location)
            location = str(location)
        _check(isinstance(location, str) and location, where, "sources", "a name", location)
        _check("://" not in location, where, "sources", "a name without an address", location)
        sources.append(Source(kind, location))
    return tuple(sources)


def _checksums(value, where: str) -> dict[str, str] | None:
    if value == UNKNOWN:
        return None
    _check(isinstance(value, dict) and value, where, "sha256", "`unknown` or a mapping", value)
    for name, digest in value.items():
        valid = isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest)
        _check(valid, where, f"sha256 of {name}", "64 hexadecimal digits", digest)
    return dict(value)


def _vocabulary(row, config: BackboneConfig, where: str) -> tuple[str, ...] | None:
    if "vocabulary" not in row:
        return None
    tokens = _texts(row["vocabulary"], where, "vocabulary")
    expected = f"{config.vocabulary_size} tokens that differ"
    valid = len(set(tokens)) == len(tokens) == config.vocabulary_size
    _check(valid, where, "vocabulary", expected, len(tokens))
    return tokens


def _texts(value, where: str, key: str) -> tuple[str, ...]:
    valid = isinstance(value, list) and all(isinstance(item, str) for item in value)
    _check(valid, where, key, "a list of texts (quote words such as no)", value)
    return tuple(value)


def _check_text(value, where: str, key: str) -> str:
    _check(isinstance(value, str), where, key, "text", value)
    return value


def _check(valid, where: str, key: str, expected: str, got) -> None:
    if not valid:
        raise ValueError(f"`{key}` in {where} must be {expected}; got {got!r}.")


def load_yaml(path: pathlib.Path) -> dict[str, typing.Any]:
    """Parse a YAML file that holds one mapping; a key written twice raises."""
    yaml, loader = _yaml()
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold one mapping; got {type(content).__name__}.")
    return content


@functools.cache
def _yaml():
    """Import PyYAML on first use and build the loader: libyaml's, about eight times as fast."""
    import yaml

    class UniqueKeyLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        """PyYAML keeps the last of two equal keys without a word; this one refuses."""

        def construct_mapping(self, node, deep=False):
            mapping = super().construct_mapping(node, deep=deep)
            if len(mapping) != len(node.value):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is written twice in one mapping", node.start_mark
                )
            return mapping

    return yaml, UniqueKeyLoader
