"""Foreign configuration files as `BackboneConfig`, and back.

Keys, defaults and traps of each family follow its original code: `BertConfig` and its relatives
in Google's repositories and in transformers. A key that is neither mapped nor known to be
irrelevant is an error, because it may change what the network computes.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import typing

from bertzoo.checkpoints.foreign_keys import HARMLESS, IRRELEVANT, OTHER_FAMILIES
from bertzoo.config import BackboneConfig, nearest

# Hugging Face's "gelu" is erf; these tanh forms are one function written in several ways.
HF_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "relu": "relu",
}
HF_SPELLING = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}

# Sizes past these are a damaged file, not a model; the largest published encoder of this family,
# ALBERT-xxlarge or BERT-Large, has 24 layers and less than 4e8 weights.
MOST_LAYER_STEPS = 1000
MOST_WEIGHTS = 10**11


@dataclasses.dataclass(frozen=True)
class ConfigMap:
    """How one family writes its configuration.

    Args:
        format: Our name of the format.
        model_type: Hugging Face's, or None for Google's files.
        keys: Their key -> our field.
        defaults: Their key -> value where it differs from ours.
        constants: Our field -> value that this family always has.
        required: Their keys that must be there.
        head_keys: Keys that heads read.
        ignored: Further irrelevant keys.
        activations: Their spelling -> ours.
        spelling: Ours -> theirs.
        projection: `never`, `always`, or `where_widths_differ`: whether the embedding tables
            are followed by a projection.
        positions_after_pad: Whether positions start after the id of the pad token (RoBERTa).
    """

    format: str
    model_type: str | None
    keys: collections.abc.Mapping[str, str]
    defaults: collections.abc.Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)
    constants: collections.abc.Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)
    required: tuple[str, ...] = ("vocab_size",)
    head_keys: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    activations: collections.abc.Mapping[str, str] = dataclasses.field(
        default_factory=lambda: HF_ACTIVATIONS
    )
    spelling: collections.abc.Mapping[str, str] = dataclasses.field(
        default_factory=lambda: HF_SPELLING
    )
    projection: str = "never"
    positions_after_pad: bool = False

    def read(
        self,
        raw: collections.abc.Mapping[str, typing.Any],
        where: str,
        *,
        pooler: bool,
        num_segments: int | None = None,
        activation: str | None = None,
    ) -> BackboneConfig:
        """Return our configuration.

        Args:
            raw: The parsed file.
            where: Its name, for messages.
            pooler: Whether the weights have a pooler; the file does not say.
            num_segments: Rows of the segment table; they win over the file, whose key is often
                missing (Google's code then means 16, although every published table has 2).
            activation: Wins over the file's, where the caller knows better.

        Raises:
            ValueError: A key that is missing, unknown, or says something else than our encoder.
        """
        self._check_keys(raw, where)
        values: dict[str, typing.Any] = {}
        for theirs, ours in self.keys.items():
            if theirs in raw or theirs in self.defaults:
                values[ours] = raw.get(theirs, self.defaults.get(theirs))
        if activation is not None:
            values["activation"] = activation
        elif "activation" in values:
            values["activation"] = self._activation(values["activation"], where)
        if num_segments is not None:
            values["num_segments"] = num_segments
        values |= self.constants
        values["pooler"] = pooler and values.get("pooler", True)
        self._set_projection(values)
        if self.positions_after_pad:
            self._set_positions(values, raw, where)
        try:
            config = BackboneConfig(**values)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        check_sizes(config, where)
        return config

    def write(self, config: BackboneConfig) -> dict[str, typing.Any]:
        """Return their configuration; keys that they lack are left out."""
        raw: dict[str, typing.Any] = {}
        if self.model_type is not None:
            raw["model_type"] = self.model_type
        for theirs, ours in self.keys.items():
            raw[theirs] = getattr(config, ours)
            if ours == "activation":
                raw[theirs] = self.spelling[config.activation]
            if ours == "embedding_dim":
                raw[theirs] = config.table_dim
            if ours == "num_groups":
                raw[theirs] = config.num_groups or config.num_layers
        if self.positions_after_pad:
            raw["max_position_embeddings"] = config.max_sequence_length + config.position_offset
            raw["pad_token_id"] = config.position_offset - 1
        return raw

    def _check_keys(self, raw, where: str) -> None:
        known = {*self.keys, *self.head_keys, *self.ignored}
        for key in self.required:
            if raw.get(key) is None:
                raise ValueError(f"{where} lacks the key `{key}`, which has no safe default.")
        for key, value in raw.items():
            if key in known or key in IRRELEVANT:
                continue
            if key in HARMLESS:
                allowed, reason = HARMLESS[key]
                if value not in allowed:
                    raise ValueError(f"{where} has `{key}`: {value!r}, but {reason}.")
            elif key in ("emb_size", "embedding_size"):  # TinyBERT writes the former
                if value != raw.get("hidden_size"):
                    raise ValueError(
                        f"{where} has `{key}`: {value!r} beside `hidden_size`: "
                        f"{raw.get('hidden_size')!r}; this family has no narrower embeddings."
                    )
            else:
                raise ValueError(
                    f"{where} has the key `{key}` ({value!r}), which bertzoo does not know and "
                    f"which may change the network;{nearest(key, known)} remove it if it is only "
                    "a note."
                )

    def _activation(self, name, where: str) -> str:
        if name not in self.activations:
            raise ValueError(
                f"{where} has the activation {name!r}; bertzoo knows "
                f"{', '.join(self.activations)}.{nearest(name, self.activations)}"
            )
        return self.activations[name]

    def _set_projection(self, values: dict) -> None:
        width = values.get("embedding_dim")
        same = width is None or width == values.get("hidden_dim", BackboneConfig.hidden_dim)
        if self.projection == "never" or (self.projection == "where_widths_differ" and same):
            values["embedding_dim"] = None

    def _set_positions(self, values: dict, raw, where: str) -> None:
        pad = raw.get("pad_token_id", self.defaults.get("pad_token_id"))
        rows = values.get("max_sequence_length", BackboneConfig.max_sequence_length)
        if type(pad) is not int or type(rows) is not int or pad < 0:
            raise ValueError(
                f"{where}: `pad_token_id` and `max_position_embeddings` must be whole numbers; "
                f"got {pad!r} and {rows!r}."
            )
        # fairseq: the first token has position padding_idx + 1, so rows 0..padding_idx are unused.
        values["position_offset"] = pad + 1
        values["max_sequence_length"] = rows - pad - 1


def model_type_of(raw: collections.abc.Mapping[str, typing.Any], where: str) -> str:
    """Return the model type of a Hugging Face configuration, which old files do not name.

    >>> model_type_of({"dim": 768, "n_layers": 6}, "config.json")
    'distilbert'
    """
    if raw.get("model_type") is not None:
        return str(raw["model_type"])
    if "dim" in raw and "n_layers" in raw:
        return "distilbert"
    if "embedding_size" in raw and "num_hidden_groups" in raw:
        return "albert"
    architectures = raw.get("architectures") or [""]
    for prefix in ("DistilBert", "Albert", "Roberta", "Electra", "Bert"):
        if str(architectures[0]).startswith(prefix):
            return prefix.lower()
    if "summary_type" in raw or "embedding_size" in raw:
        return "electra"
    if "hidden_size" in raw and "num_hidden_layers" in raw:
        return "bert"
    raise ValueError(
        f"{where} says nothing by which to tell the model; expected a key `model_type`."
    )


def refuse_family(model_type: str, where: str, readable: collections.abc.Iterable[str]) -> None:
    """Raise for a model type that bertzoo has no table for."""
    reason = OTHER_FAMILIES.get(model_type, "its network is not one that bertzoo knows")
    raise ValueError(
        f"{where} has the model type {model_type!r}: {reason}; bertzoo reads "
        f"{', '.join(sorted(readable))}."
    )


def check_sizes(config: BackboneConfig, where: str) -> None:
    """Raise for sizes that no model of this family has."""
    steps = config.num_layers * config.num_inner_layers
    if steps > MOST_LAYER_STEPS:
        raise ValueError(
            f"{where} asks for {steps} layers; more than {MOST_LAYER_STEPS} is taken for a damaged "
            "file."
        )
    if config.parameter_count() > MOST_WEIGHTS:
        raise ValueError(
            f"{where} describes {config.parameter_count():.1e} weights; more than "
            f"{MOST_WEIGHTS:.0e} is taken for a damaged file."
        )
