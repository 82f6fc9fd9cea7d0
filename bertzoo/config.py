"""Architectures, heads and tokenizers as data: frozen, typed, and free of TensorFlow and Keras.

A variant of BERT is a row of `BackboneConfig`, never a class. The defaults are BERT-Base
(Devlin et al. 2018, section 3) with the erf form of GELU.
"""

from __future__ import annotations

import dataclasses
import math

from bertzoo.strict_config import Config, check_key, nearest  # noqa: F401 (names used with these)

ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "tanh")
HEAD_KINDS = (
    "masked_lm",
    "next_sentence",
    "text_classifier",
    "token_classifier",
    "question_answerer",
    "discriminator",
    "text_embedder",
    "multiple_choice",
)
PROBLEMS = ("single_label", "multi_label", "regression")
POOLINGS = ("cls", "max", "mean", "mean_sqrt")
# What each kind of tokenizer has unless it is said otherwise: BERT's, RoBERTa's and ALBERT's.
TOKENIZER_KINDS = {
    "wordpiece": {
        "lowercase": True,
        "start_token": "[CLS]",
        "end_token": "[SEP]",
        "pad_token": "[PAD]",
        "unknown_token": "[UNK]",
        "mask_token": "[MASK]",
    },
    "byte_pair": {
        "lowercase": False,
        "start_token": "<s>",
        "end_token": "</s>",
        "pad_token": "<pad>",
        "unknown_token": "<unk>",
        "mask_token": "<mask>",
    },
    "sentence_piece": {
        "lowercase": True,
        "start_token": "[CLS]",
        "end_token": "[SEP]",
        "pad_token": "<pad>",
        "unknown_token": "<unk>",
        "mask_token": "[MASK]",
    },
}


@dataclasses.dataclass(frozen=True)
class BackboneConfig(Config):
    """The shape of one encoder.

    Args:
        vocabulary_size: Rows of the token table, V.
        num_layers: Encoder layers applied, L (shared layers count each time they run).
        hidden_dim: Width of the encoder, D.
        num_heads: Attention heads per layer, N; divides `hidden_dim`, or `head_dim` is given.
        intermediate_dim: Width of the feed-forward layer, F.
        embedding_dim: Width of the embedding tables where a projection to `hidden_dim` follows
            them (ALBERT, ELECTRA-small); None means `hidden_dim` and no projection.
        max_sequence_length: Longest input in tokens, special tokens included.
        position_offset: Rows of the position table before the one of the first token
            (RoBERTa 2); the table has `max_sequence_length + position_offset` rows.
        num_segments: Rows of the segment table; 0 means no segments (DistilBERT).
        num_groups: Groups of layers that share weights (ALBERT 1); None means that every layer
            has its own.
        num_inner_layers: Layers inside a group, all run at each of the `num_layers` steps.
        head_dim: Width of one attention head, H; None means `hidden_dim / num_heads`. A number
            says that heads were pruned: queries, keys and values are then `num_heads * head_dim`
            wide, and not `hidden_dim`.
        activation: Of the feed-forward layer: `gelu` (erf), `gelu_tanh` or `relu`.
        pooler: Whether a tanh layer on the first token gives `pooled_output`.
        dropout: Rate after embeddings, attention and feed-forward layers.
        attention_dropout: Rate on attention probabilities.
        layer_norm_epsilon: Added to the variance.
        initializer_range: Standard deviation of the truncated normal for kernels and tables.

    Example:
    >>> BackboneConfig().parameter_count()
    109482240
    >>> BackboneConfig(num_layers=6, num_segments=0, pooler=False).parameter_count()
    66362880
    """

    vocabulary_size: int = 30522
    num_layers: int = 12
    hidden_dim: int = 768
    num_heads: int = 12
    intermediate_dim: int = 3072
    embedding_dim: int | None = None
    max_sequence_length: int = 512
    position_offset: int = 0
    num_segments: int = 2
    num_groups: int | None = None
    num_inner_layers: int = 1
    head_dim: int | None = None
    activation: str = "gelu"
    pooler: bool = True
    dropout: float = 0.1
    attention_dropout: float = 0.1
    layer_norm_epsilon: float = 1.0e-12
    # BERT's initializer_range, truncated at two standard deviations.
    initializer_range: float = 0.02

    def __post_init__(self):
        """Check every field, and what they say together."""
        self._check_types()
        self._check_choice("activation", ("gelu", "gelu_tanh", "relu"))
        for name in ("vocabulary_size", "num_layers", "hidden_dim", "num_heads",
                     "intermediate_dim", "embedding_dim", "max_sequence_length",
                     "num_groups", "num_inner_layers", "head_dim"):  # fmt: skip
            value = getattr(self, name)
            # 2**31 - 1: ids and shapes are int32 in the graph.
            if value is not None and not 1 <= value < 2**31:
                raise ValueError(f"BackboneConfig.{name} must be at least 1; got {value}.")
        for name in ("position_offset", "num_segments"):
            if getattr(self, name) < 0:
                raise ValueError(f"BackboneConfig.{name} must not be negative.")
        for name in ("dropout", "attention_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(
                    f"BackboneConfig.{name} must be in [0, 1); got {getattr(self, name)}."
                )
        for name in ("layer_norm_epsilon", "initializer_range"):
            value = getattr(self, name)
            if not (value > 0.0 and math.isfinite(value)):
                raise ValueError(f"BackboneConfig.{name} must be positive; got {value}.")
        if self.head_dim is not None and self.head_dim * self.num_heads == self.hidden_dim:
            object.__setattr__(self, "head_dim", None)  # one way to say a thing
        if self.head_dim is None and self.hidden_dim % self.num_heads:
            raise ValueError(
                f"hidden_dim must be a multiple of num_heads; got hidden_dim={self.hidden_dim}, "
                f"num_heads={self.num_heads}."
            )
        if self.num_groups is not None and self.num_layers % self.num_groups:
            raise ValueError(
                f"num_layers must be a multiple of num_groups; got num_layers={self.num_layers}, "
                f"num_groups={self.num_groups}."
            )

    @classmethod
    def from_preset(cls, source) -> BackboneConfig:
        """Return the configuration of a preset name or checkpoint directory; no TensorFlow."""
        from bertzoo import checkpoints

        return checkpoints.open_source(source, download=False).config

    @property
    def attention_dim(self) -> int:
        """Width of queries, keys and values, N * H."""
        return self.hidden_dim if self.head_dim is None else self.num_heads * self.head_dim

    @property
    def table_dim(self) -> int:
        """Width of the embedding tables, E."""
        return self.hidden_dim if self.embedding_dim is None else self.embedding_dim

    @property
    def layer_schedule(self) -> tuple[int, ...]:
        """Which distinct layer runs at each step: 0..L-1 for BERT, all 0 for ALBERT-Base.

        Distinct layer `group * num_inner_layers + inner` is ALBERT's `group_g/inner_group_j`;
        step i belongs to group `i // (num_layers / num_groups)` (Lan et al. 2019, code).
        """
        groups = self.num_groups or self.num_layers
        steps_per_group = self.num_layers // groups
        return tuple(
            step // steps_per_group * self.num_inner_layers + inner
            for step in range(self.num_layers)
            for inner in range(self.num_inner_layers)
        )

    @property
    def num_distinct_layers(self) -> int:
        """How many encoder layers have weights of their own."""
        return (self.num_groups or self.num_layers) * self.num_inner_layers

    def parameter_count(self) -> int:
        """Count the backbone's weights in closed form, the pooler included where there is one."""
        width, hidden, inner = self.table_dim, self.hidden_dim, self.intermediate_dim
        positions = self.max_sequence_length + self.position_offset
        tables = (self.vocabulary_size + positions + self.num_segments) * width + 2 * width
        projection = 0 if self.embedding_dim is None else width * hidden + hidden
        heads = self.attention_dim
        attention = 3 * (hidden * heads + heads) + heads * hidden + hidden
        feed_forward = hidden * inner + inner + inner * hidden + hidden
        layer = attention + feed_forward + 2 * 2 * hidden  # two layer norms, gamma and beta
        pooler = hidden * hidden + hidden if self.pooler else 0
        return tables + projection + self.num_distinct_layers * layer + pooler


@dataclasses.dataclass(frozen=True)
class HeadConfig(Config):
    """What follows the backbone: one head, by kind.

    Args:
        kind: `masked_lm`, `next_sentence` (also sentence order), `text_classifier`,
            `token_classifier`, `question_answerer`, `discriminator` (ELECTRA),
            `text_embedder` or `multiple_choice`.
        num_outputs: Classes of a classifier (`next_sentence` 2); None for the other kinds.
        labels: Names of the classes in output order, or None where they are not known.
        input: What a text classifier reads: `pooled`, `first_token`, or the `mean` over tokens.
        hidden_activation: Of the hidden layer: `masked_lm` and `discriminator` always have one;
            `text_classifier` has none where this is None (BERT), else one with `tanh`
            (RoBERTa), `relu` (DistilBERT) or `gelu` (ELECTRA).
        dropout: Rate before the classifying layers while training.
        layer_norm_epsilon: Of the `masked_lm` head.
        tie_embeddings: Whether the `masked_lm` decoder is the token table.
        pooling: Of a `text_embedder`: any of `cls max mean mean_sqrt`, concatenated in that
            order.
        normalize: Whether a `text_embedder` gives vectors of length 1.
        projections: Of a `text_embedder`: (width, activation or None, has bias) of each dense
            layer between pooling and normalisation (sentence-transformers `Dense`).
        problem: What a `text_classifier` answers: `single_label` (one of C classes),
            `multi_label` (any of C, each by a sigmoid) or `regression` (C numbers); None for
            `regression` with one output and `single_label` with more.
        thresholds: Of a multi-label classifier: the probability from which a label is chosen, one
            for all or one a label; None for 0.5.
        parents: Of a multi-label classifier with a hierarchy: the output of each label's parent,
            -1 for none. A label that is chosen brings its parents along.
        null_threshold: Of a `question_answerer`: a question has no answer where the score of that,
            less the best answer's, is larger (SQuAD 2.0); None where every question has one.

    Example:
    >>> HeadConfig("token_classifier", labels=("O", "B-PER", "I-PER")).num_outputs
    3
    """

    kind: str
    num_outputs: int | None = None
    labels: tuple[str, ...] | None = None
    input: str = "pooled"
    hidden_activation: str | None = None
    dropout: float = 0.1
    layer_norm_epsilon: float = 1.0e-12
    tie_embeddings: bool = True
    pooling: tuple[str, ...] = ("mean",)
    normalize: bool = False
    projections: tuple[tuple[int, str | None, bool], ...] = ()
    problem: str | None = None
    thresholds: tuple[float, ...] | None = None
    parents: tuple[int, ...] | None = None
    null_threshold: float | None = None

    def __post_init__(self):
        """Check every field, and what they say together."""
        self._check_types()
        self._check_choice("kind", HEAD_KINDS)
        self._check_choice("problem", PROBLEMS)
        self._check_choice("input", ("pooled", "first_token", "mean"))
        self._check_choice("hidden_activation", ACTIVATIONS)
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"HeadConfig.dropout must be in [0, 1); got {self.dropout}.")
        if not (self.layer_norm_epsilon > 0.0 and math.isfinite(self.layer_norm_epsilon)):
            raise ValueError(
                f"HeadConfig.layer_norm_epsilon must be positive; got {self.layer_norm_epsilon}."
            )
        for width, activation, use_bias in self.projections:
            if width < 1 or activation not in (None, *ACTIVATIONS):
                raise ValueError(
                    "HeadConfig.projections must be (width of at least 1, None or one of "
                    f"{', '.join(ACTIVATIONS)}, whether it has a bias); "
                    f"got {(width, activation, use_bias)}."
                )
        if self.labels is not None:
            if len(set(self.labels)) != len(self.labels):
                raise ValueError(f"labels must differ from each other; got {list(self.labels)}.")
            if self.num_outputs is None:
                object.__setattr__(self, "num_outputs", len(self.labels))
            elif self.num_outputs != len(self.labels):
                raise ValueError(
                    f"a {self.kind} head with {self.num_outputs} outputs needs as many labels; "
                    f"got {len(self.labels)}."
                )
        classifies = self.kind in ("text_classifier", "token_classifier", "next_sentence")
        if classifies and (self.num_outputs is None or self.num_outputs < 1):
            raise ValueError(f"a {self.kind} head needs num_outputs or labels; got neither.")
        self._check_problem()
        if self.null_threshold is not None:
            if self.kind != "question_answerer":
                raise ValueError("HeadConfig.null_threshold is of question_answerer heads alone.")
            if not math.isfinite(self.null_threshold):
                raise ValueError(f"null_threshold must be finite; got {self.null_threshold}.")
        if self.kind in ("masked_lm", "discriminator") and self.hidden_activation is None:
            raise ValueError(f"a {self.kind} head needs a hidden_activation.")
        if self.kind == "text_embedder":
            for mode in self.pooling:
                if mode not in POOLINGS:
                    raise ValueError(
                        f"pooling must be any of {', '.join(POOLINGS)}; "
                        f"got {mode!r}.{nearest(mode, POOLINGS)}"
                    )
            if not self.pooling or len(set(self.pooling)) != len(self.pooling):
                raise ValueError(f"pooling must name each mode once; got {list(self.pooling)}.")
            ordered = tuple(mode for mode in POOLINGS if mode in self.pooling)
            object.__setattr__(self, "pooling", ordered)

    def _check_problem(self) -> None:
        """Check what a text classifier answers, and fill in what follows from its outputs."""
        if self.kind != "text_classifier":
            for name in ("problem", "thresholds", "parents"):
                if getattr(self, name) is not None:
                    raise ValueError(f"HeadConfig.{name} is of text_classifier heads alone.")
            return
        assert self.num_outputs is not None
        if self.problem is None:
            # As transformers does where `problem_type` is not set.
            problem = "regression" if self.num_outputs == 1 else "single_label"
            object.__setattr__(self, "problem", problem)
        if self.problem == "single_label" and self.num_outputs < 2:
            raise ValueError(
                "a single_label classifier needs at least 2 classes; with one output it is "
                "`multi_label` (yes or no) or `regression`."
            )
        if self.problem != "multi_label" and (self.thresholds or self.parents):
            raise ValueError(
                f"thresholds and parents are of multi_label classifiers; this is {self.problem}."
            )
        if self.thresholds is not None:
            if len(self.thresholds) not in (1, self.num_outputs):
                raise ValueError(
                    f"thresholds must be one number, or one for each of {self.num_outputs} "
                    f"labels; got {len(self.thresholds)}."
                )
            if not all(0.0 <= value <= 1.0 for value in self.thresholds):
                raise ValueError(f"thresholds must be in [0, 1]; got {list(self.thresholds)}.")
        if self.parents is not None:
            _check_parents(self.parents, self.num_outputs)

    @property
    def reads_pooled_output(self) -> bool:
        """Whether this head needs a backbone with a pooler."""
        return self.kind == "next_sentence" or (
            self.kind in ("text_classifier", "multiple_choice") and self.input == "pooled"
        )


@dataclasses.dataclass(frozen=True)
class TokenizerConfig(Config):
    """How text becomes ids; the vocabulary itself is a file beside it.

    Args:
        kind: `wordpiece`, `byte_pair` or `sentence_piece`.
        lowercase: Whether text is lower-cased (never with byte_pair).
        strip_accents: Whether combining marks are removed; None follows `lowercase`, as BERT
            (sentence_piece: they are, as ALBERT's).
        add_prefix_space: Whether a text gets a space in front (byte_pair only).
        special_tokens_in_text: Whether special tokens in a text become their ids (never with
            sentence_piece); else they are ordinary text, so that no user can smuggle them in.
        start_token: First token of a packed input.
        end_token: Token after each segment.
        pad_token: Token that fills the rest.
        unknown_token: Token for what the vocabulary cannot spell.
        mask_token: Token that hides a word.
        sequence_length: Length to which inputs are truncated by default; None means the
            backbone's `max_sequence_length`.

    `lowercase` and the special tokens follow the kind where they are None.

    >>> TokenizerConfig(kind="byte_pair").mask_token
    '<mask>'
    """

    kind: str = "wordpiece"
    lowercase: bool | None = None
    strip_accents: bool | None = None
    add_prefix_space: bool = False
    special_tokens_in_text: bool = False
    start_token: str | None = None
    end_token: str | None = None
    pad_token: str | None = None
    unknown_token: str | None = None
    mask_token: str | None = None
    sequence_length: int | None = None

    def __post_init__(self):
        """Fill in what the kind says, and check every field."""
        self._check_types()
        self._check_choice("kind", tuple(TOKENIZER_KINDS))
        for name, value in TOKENIZER_KINDS[self.kind].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if self.kind == "byte_pair" and self.lowercase:
            raise ValueError("byte_pair tokenizers keep case: lowercase must be False.")
        if self.kind != "byte_pair" and self.add_prefix_space:
            raise ValueError(f"add_prefix_space is not a setting of {self.kind} tokenizers.")
        if self.kind == "sentence_piece" and self.special_tokens_in_text:
            raise ValueError(
                "special_tokens_in_text is not a setting of sentence_piece tokenizers."
            )
        if self.sequence_length is not None and self.sequence_length < 3:
            raise ValueError(
                f"sequence_length must leave room for two special tokens and one more; "
                f"got {self.sequence_length}."
            )


def _check_parents(parents: tuple[int, ...], num_outputs: int) -> None:
    if len(parents) != num_outputs or not all(-1 <= p < num_outputs for p in parents):
        raise ValueError(
            f"parents must be one output from -1 (none) to {num_outputs - 1} for each of "
            f"{num_outputs} labels; got {list(parents)}."
        )
    for label in range(num_outputs):
        seen, above = {label}, parents[label]
        while above != -1:
            if above in seen:
                raise ValueError(f"parents must form a tree; label {label} is its own ancestor.")
            seen.add(above)
            above = parents[above]
