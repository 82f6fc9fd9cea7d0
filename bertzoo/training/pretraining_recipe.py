"""The sections of `recipe: pretrain`, and what they say together."""

from __future__ import annotations

import dataclasses

from bertzoo.training.section import Section

OBJECTIVES = {
    # Name -> the heads of the network that is kept.
    "masked_lm": ("masked_lm",),
    "next_sentence": ("masked_lm", "next_sentence"),
    "sentence_order": ("masked_lm", "next_sentence"),
    "replaced_tokens": ("discriminator",),
}
# In the place of records: rows of random tokens, to try a recipe or measure its speed.
SYNTHETIC = "synthetic"


@dataclasses.dataclass(frozen=True)
class ModelSection(Section):
    """The `model` of a recipe: new weights of a shape, or a preset to go on with.

    Args:
        preset: Preset name, directory or address, with weights: domain-adaptive pretraining, or a
            second phase.
        architecture: A row of presets/architectures.yaml, with new weights.
        config: Fields of `BackboneConfig` that differ from the architecture's.
        tokenizer: What the records were made with: a preset name, a directory, or a vocabulary
            file (`.txt` of WordPiece, `.spm` or `.model` of SentencePiece); None for that of
            `preset`.
        tokenizer_config: Fields of `TokenizerConfig` for a vocabulary file, as `lowercase`.
        generator: For `replaced_tokens`: fields of the generator's `BackboneConfig`.
        recompute: Whether encoder layers run again on the way back: for long rows or large models,
            a fraction of the memory and a third more work.
    """

    preset: str | None = None
    architecture: str | None = None
    config: dict = dataclasses.field(default_factory=dict)
    tokenizer: str | None = None
    tokenizer_config: dict = dataclasses.field(default_factory=dict)
    generator: dict = dataclasses.field(default_factory=dict)
    recompute: bool = False

    def __post_init__(self):
        """Check that it is one or the other."""
        super().__post_init__()
        if (self.preset is None) == (self.architecture is None):
            raise ValueError("model needs a `preset` or an `architecture`, and not both.")
        if self.preset is not None and self.config:
            raise ValueError("model.config changes an `architecture`; a `preset` has its own.")
        if self.architecture is not None and self.tokenizer is None:
            raise ValueError("a new model needs model.tokenizer: a preset or a directory.")


@dataclasses.dataclass(frozen=True)
class MaskingSection(Section):
    """How tokens are hidden; see `TokenMasker`.

    Args:
        strategy: `token`, `whole_word`, `ngram`, `span` or `frequency`.
        rate: Share of the tokens to predict.
        mask_share: Of those, how many become the mask token.
        random_share: How many become a random word.
        max_ngram: Most words of an n-gram.
    """

    strategy: str = "token"
    rate: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1
    max_ngram: int = 3


@dataclasses.dataclass(frozen=True)
class ObjectiveSection(Section):
    """What is learnt.

    Args:
        name: `masked_lm` (RoBERTa), `next_sentence` (with it, BERT), `sentence_order` (ALBERT) or
            `replaced_tokens` (ELECTRA).
        masking: How tokens are hidden.
        discriminator_weight: Of ELECTRA's second term.
    """

    name: str = "next_sentence"
    masking: MaskingSection = dataclasses.field(default_factory=MaskingSection)
    discriminator_weight: float = 50.0

    def __post_init__(self):
        """Check the name."""
        super().__post_init__()
        self._check_choice("name", tuple(OBJECTIVES))


@dataclasses.dataclass(frozen=True)
class PhaseSection(Section):
    """A part of a run with data of its own, as BERT's 128 and then 512 tokens.

    Args:
        records: A directory that `bertzoo prepare` wrote, several for a mixture, patterns of
            Google's masked files; or `synthetic`.
        steps: How many.
        batch_size: Rows of a step over all devices.
        sequence_length: Tokens of a row.
        max_predictions: Most predictions of a row; None for what the rate gives.
        accumulation: Parts that a device's rows are split into.
        learning_rate: Peak of a schedule of its own; None for the run's one schedule.
        warmup_steps: Of that schedule.
        exponent: Of several directories: each is drawn from in proportion to its size to this
            power (0.7 for languages).
    """

    records: tuple[str, ...]
    steps: int
    batch_size: int
    sequence_length: int
    max_predictions: int | None = None
    accumulation: int = 1
    learning_rate: float | None = None
    warmup_steps: int = 0
    exponent: float = 1.0

    def __post_init__(self):
        """Check the numbers."""
        super().__post_init__()
        for name in ("steps", "batch_size", "sequence_length", "accumulation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}.")
        if not self.records:
            raise ValueError("a phase needs records: directories that `bertzoo prepare` wrote.")


@dataclasses.dataclass(frozen=True)
class EvaluationSection(Section):
    """Held-out text.

    Args:
        records: A directory of records that are not trained on, or one for each phase; none for no
            evaluation.
        batches: Batches of an evaluation.
    """

    records: tuple[str, ...] = ()
    batches: int = 50
