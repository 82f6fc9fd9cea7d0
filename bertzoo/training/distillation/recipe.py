"""The sections of a distillation recipe."""

from __future__ import annotations

import dataclasses
import math
import typing

from bertzoo import losses
from bertzoo.config import BackboneConfig, check_key
from bertzoo.training.finetuning.recipe import TASKS as FINETUNING_TASKS
from bertzoo.training.finetuning.recipe import Data, Evaluation
from bertzoo.training.loop import LoopConfig
from bertzoo.training.recipe import Recipe
from bertzoo.training.section import Section
from bertzoo.training.strategy import StrategyConfig

TEXT = "text"
TASKS = (TEXT, *(task for task in FINETUNING_TASKS if task != "multiple_choice"))
MASKINGS = ("token", "whole_word", "ngram", "span", "frequency")


@dataclasses.dataclass(frozen=True)
class Teacher(Section):
    """Who is learnt from; it is not trained.

    Args:
        preset: A preset, directory or address. For a task, of a model that was fine-tuned on it.
        stored: Whether its outputs are written once, in a pass over the training data, and the
            student trains without it in memory (response-based distillation).
        keep_head: Whether the head of the preset answers. A new one knows nothing: for trials.
    """

    preset: str
    stored: bool = False
    keep_head: bool = True


@dataclasses.dataclass(frozen=True)
class BiLSTM(Section):
    """A student that is no Transformer: DocBERT's (Adhikari et al. 2019).

    Args:
        embedding_dim: Of a table of the teacher's pieces.
        hidden_dim: Of each direction.
        dropout: Before the last layer.
        embedding_dropout: On the embeddings.
    """

    embedding_dim: int = 300
    hidden_dim: int = 512
    dropout: float = 0.5
    embedding_dropout: float = 0.2


@dataclasses.dataclass(frozen=True)
class Student(Section):
    """Who learns: one of `preset`, `layers`, `config` and `bilstm`.

    Args:
        preset: A preset, directory or address: of a model that was pretrained, or distilled by
            an earlier recipe.
        layers: Layers of the teacher that the student begins as: numbers from 0, or how many
            (first, last, and evenly in between: DistilBERT's choice).
        config: A new model of random weights: what differs from the teacher's `BackboneConfig`.
        bilstm: A small BiLSTM, for classification.
        segments: With `layers`: `keep`, `drop` (DistilBERT) or `fold` (dropped, but added to the
            positions, so that texts of one segment stay the same).
        pooler: With `layers`: whether it stays.
        freeze_positions: Whether the position table is not trained, as in DistilBERT's recipe.
    """

    preset: str | None = None
    layers: int | tuple[int, ...] | None = None
    config: dict | None = None
    bilstm: BiLSTM | None = None
    segments: str = "keep"
    pooler: bool = True
    freeze_positions: bool = False

    def __post_init__(self):
        """Check that one way is chosen."""
        super().__post_init__()
        self._check_choice("segments", ("keep", "drop", "fold"))
        ways = ("preset", "layers", "config", "bilstm")
        chosen = [name for name in ways if getattr(self, name) is not None]
        if len(chosen) != 1:
            raise ValueError(
                f"a student is one of {', '.join(ways)}; got {' and '.join(chosen) or 'none'}."
            )
        if self.bilstm is not None and self.freeze_positions:
            raise ValueError("a BiLSTM has no positions to freeze.")
        if self.layers is None and (self.segments != "keep" or not self.pooler):
            raise ValueError("segments and pooler say what becomes of a teacher's `layers`.")
        for key in self.config or ():
            check_key(key, [f.name for f in dataclasses.fields(BackboneConfig)], "student.config")


@dataclasses.dataclass(frozen=True)
class Text(Section):
    """Unlabelled text: records that `bertzoo prepare` wrote, or plain files read into memory.

    In files there is one sentence a line, and an empty line between documents. These are cut into
    full rows without regard to sentences (Liu et al. 2019); very short and unreadable rows are left
    out (Sanh et al. 2019). Rows of either kind are masked anew in each epoch.

    Args:
        records: Directories of records of the student's tokenizer, one text a row.
        held_out_records: Those that measure the run; none for no measuring.
        files: Of text, plain or gzipped; `bertzoo:` in front means bertzoo's own recipes folder.
        sequence_length: Tokens of a row.
        rate: Share of tokens to mask.
        masking: `token`, `whole_word`, `ngram`, `span`, or `frequency`: rare tokens more often,
            as DistilBERT.
        held_out: Share of the documents of `files` that is not trained on and measures the run.
        limit: Most rows of `files`; None for all.
    """

    files: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    held_out_records: tuple[str, ...] = ()
    sequence_length: int = 128
    rate: float = 0.15
    masking: str = "token"
    held_out: float = 0.02
    limit: int | None = None

    def __post_init__(self):
        """Check the numbers."""
        super().__post_init__()
        self._check_choice("masking", MASKINGS)
        if bool(self.files) == bool(self.records):
            raise ValueError("text needs `records` or `files`, and not both.")
        if self.held_out_records and not self.records:
            raise ValueError("held_out_records stand beside `records`; of files, `held_out`.")
        if not 0.0 < self.held_out < 1.0:
            raise ValueError(f"held_out must be in (0, 1); got {self.held_out}.")
        if self.sequence_length < 8:
            raise ValueError(f"sequence_length must be at least 8; got {self.sequence_length}.")


@dataclasses.dataclass(frozen=True)
class Augmentation(Section):
    """More examples from few: words replaced by others that fit (TinyBERT, appendix).

    Args:
        masked_lm: A preset with a masked language model, which fills the gaps; None for nearest
            neighbours in the teacher's token table alone.
        copies: New texts a text.
        candidates: Words that may take a word's place.
        probability: Of a word to be replaced.
    """

    masked_lm: str | None = None
    copies: int = 20
    candidates: int = 15
    probability: float = 0.4


@dataclasses.dataclass(frozen=True)
class Stage(Section):
    """A part of a run with its own losses; the student goes on from the stage before.

    Args:
        losses: Name -> weight, or name -> mapping of `weight` and options; the names are those of
            `bertzoo.losses.LOSSES`.
        epochs: Passes over the data; or `steps`.
        steps: Of the optimizer; or `epochs`.
        batch_size: Rows of a step, over all replicas.
        accumulation: Parts that a replica's batch is split into.
        learning_rate: At its peak.
        warmup: Share of the steps in which the rate rises.
        decay: `linear` to zero, or `constant`.
        weight_decay: Not of biases and layer norms.
        beta_2: Of AdamW.
        epsilon: Of AdamW.
    """

    losses: dict
    epochs: float | None = None
    steps: int | None = None
    batch_size: int = 32
    accumulation: int = 1
    learning_rate: float = 5.0e-5
    warmup: float = 0.1
    decay: str = "linear"
    weight_decay: float = 0.01
    beta_2: float = 0.999
    epsilon: float = 1.0e-6

    def __post_init__(self):
        """Check the losses and the numbers."""
        super().__post_init__()
        losses.losses_from(self.losses)
        self._check_choice("decay", ("linear", "constant"))
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("a stage has either epochs or steps.")
        if (self.steps is not None and self.steps < 1) or (
            self.epochs is not None and not self.epochs > 0
        ):
            raise ValueError("epochs and steps must be positive.")
        if not 0.0 <= self.warmup < 1.0 or not self.learning_rate > 0.0:
            raise ValueError("warmup must be in [0, 1) and learning_rate positive.")

    def num_steps(self, num_rows: int) -> int:
        """Return the steps of the stage on so many rows."""
        if self.steps is not None:
            return self.steps
        return max(1, math.ceil(self.epochs * num_rows / self.batch_size))


@dataclasses.dataclass(frozen=True)
class DistillRecipe(Recipe):
    """A distillation, from a teacher to a preset and a table beside the teacher.

    Args:
        output: Directory of the run.
        task: `text` (masked language modelling) or a task of fine-tuning.
        teacher: Who is learnt from.
        student: Who learns.
        stages: One after the other.
        text: With `task: text`, the corpus.
        data: With any other task, as in a fine-tuning recipe.
        sequence_length: Longest row of such a task.
        unlabelled: With a classification or regression, files of further texts, one a line.
        augmentation: More examples from few, or None.
        evaluation: As in a fine-tuning recipe.
        training: Seed, precision, clipping, logging and checkpoints.
        strategy: Devices.
    """

    task: str
    teacher: Teacher
    student: Student
    stages: tuple[Stage, ...]
    text: Text | None = None
    data: Data | None = None
    sequence_length: int = 128
    unlabelled: tuple[str, ...] = ()
    augmentation: Augmentation | None = None
    evaluation: Evaluation = dataclasses.field(default_factory=Evaluation)
    training: LoopConfig = dataclasses.field(default_factory=LoopConfig)
    strategy: StrategyConfig = dataclasses.field(default_factory=StrategyConfig)

    def __post_init__(self):
        """Check what the sections say together."""
        super().__post_init__()
        self._check_choice("task", TASKS)
        if not self.stages:
            raise ValueError("stages must name at least one stage.")
        if (self.task == TEXT) != (self.text is not None) or (self.task == TEXT) == (
            self.data is not None
        ):
            raise ValueError("`task: text` has a section `text`; every other task has `data`.")
        if self.task == TEXT and self.teacher.stored:
            raise ValueError("logits of all words are too many to store; `stored` is for tasks.")
        of_texts = self.task in ("classification", "multi_label", "regression")
        for name in ("unlabelled", "augmentation"):
            if getattr(self, name) and not of_texts:
                raise ValueError(f"{name} is for classification, multi_label and regression.")
        if self.student.bilstm is not None and not of_texts:
            raise ValueError("a BiLSTM student classifies texts; it has no other task.")
        if self.teacher.stored:
            answers = ("logits", "start_logits", "end_logits", "embedding")
            inner = [
                name
                for stage in self.stages
                for loss in losses.losses_from(stage.losses)
                for name in (loss.loss.reads if loss.loss.needs_teacher else ())
                if name not in answers
            ]
            if inner:
                raise ValueError(f"a stored teacher gives answers, and a loss reads {inner[0]}.")

    def plan(self) -> dict[str, typing.Any]:
        """Return what the run would do, without reading weights or data."""
        from bertzoo.training.distillation import run

        return run.plan(self)

    def run(self, *, resume: bool = False, force: bool = False) -> dict[str, typing.Any]:
        """Do it; see `Recipe.run`."""
        from bertzoo.training.distillation import run

        return run.run(self, resume=resume, force=force)
