"""The sections of a fine-tuning recipe (Devlin et al. 2018, section 4 and appendix A.3)."""

from __future__ import annotations

import dataclasses
import typing

from bertzoo.training.recipe import Recipe
from bertzoo.training.section import Section
from bertzoo.training.strategy import StrategyConfig

TASKS = (
    "classification",
    "multi_label",
    "regression",
    "tokens",
    "question_answering",
    "multiple_choice",
    "embedding",
)
READERS = ("glue", "csv", "tsv", "jsonl", "parquet", "swag", "codah", "conll", "squad",
           "folders")  # fmt: skip
LOSSES = ("ranking", "cosine", "softmax", "triplet")
WINDOWS = ("mean_probabilities", "max_probabilities", "mean_logits", "max_logits")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def _one_device():
    return StrategyConfig(name="one_device")


@dataclasses.dataclass(frozen=True)
class Columns(Section):
    """Which column holds what: names, or numbers from 0 for files without a header.

    Args:
        text: The text, the question, or the anchor.
        text_pair: The second text; for embeddings the positive one.
        negative: For triplets, the text that is unlike.
        label: Its class; classes with `separator` between them for several labels.
        score: A number, for regressions and similarity.
        words: Of CoNLL files.
        tags: Of CoNLL files.
    """

    text: str | int | None = None
    text_pair: str | int | None = None
    negative: str | int | None = None
    label: str | int | None = None
    score: str | int | None = None
    words: int = 0
    tags: int = -1


@dataclasses.dataclass(frozen=True)
class Data(Section):
    """What is learnt from and measured on.

    Args:
        reader: `glue`, `csv`, `tsv` (no quoting), `jsonl`, `parquet`, `swag`, `codah`, `conll`,
            `squad`, or `folders` (a zip file of texts in a folder a class).
        train: A file, or several.
        dev: A file on which the best epoch and rate are chosen; None for `dev_share` of `train`.
        test: A file that is only measured, or predicted where it has no labels.
        also: More such files, as MNLI's mismatched ones.
        directory: Where those are; `bertzoo:` in front means bertzoo's own recipes folder.
        task: Of `glue`, as RTE.
        columns: Which column holds what, where the reader does not know.
        measured: The same for all files but `train`, where they differ: embeddings learn from
            classes or pairs, and are measured by the similarity of others.
        labels: Names of the classes in output order; None for those of the training data, sorted.
        label_file: One label a line, with its parents behind it where there is a hierarchy.
        separator: Between the labels of a row of `multi_label`.
        delimiter: Of `csv`.
        encoding: Of the files.
        header: Whether the first line of a `csv` or `tsv` names its columns.
        dev_share: Part of `train` that becomes `dev` where there is no such file.
        limit: Most rows of each file, from its start; None for all. For trials and smoke runs.
        train_limit: Most rows to learn from, when dev's were taken away: what is measured on stays
            whole.
        scheme: What tags are converted into: `IOB2`, `IOB1` or `BIOES`; None for tags that are
            no entities, as parts of speech.
    """

    reader: str
    train: str | tuple[str, ...]
    dev: str | None = None
    test: str | None = None
    also: tuple[str, ...] = ()
    directory: str = "."
    task: str | None = None
    columns: Columns = dataclasses.field(default_factory=Columns)
    measured: Columns | None = None
    labels: tuple[str, ...] | None = None
    label_file: str | None = None
    separator: str = ","
    delimiter: str = ","
    encoding: str = "utf-8"
    header: bool = True
    dev_share: float = 0.1
    limit: int | None = None
    train_limit: int | None = None
    scheme: str | None = "IOB2"

    def __post_init__(self):
        """Check every field, and what they say together."""
        super().__post_init__()
        self._check_choice("reader", READERS)
        self._check_choice("scheme", ("IOB1", "IOB2", "BIOES"))
        if (self.reader == "glue") != (self.task is not None):
            raise ValueError("`task` names the task of the reader `glue`, and only of that one.")
        if self.dev is None and not 0.0 < self.dev_share < 1.0:
            raise ValueError(f"without a dev file, dev_share is in (0, 1); got {self.dev_share}.")
        for name, value in (("limit", self.limit), ("train_limit", self.train_limit)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}.")


@dataclasses.dataclass(frozen=True)
class Model(Section):
    """What is fine-tuned.

    Args:
        preset: A preset, directory or address.
        keep_head: Whether the head of the preset is trained on; otherwise a new one is made.
        sequence_length: Longest row.
        padding: `bucketed`, `longest` or `fixed` (TPU).
        freeze_embeddings: Whether the embeddings stay as they are.
        freeze_layers: How many of the lowest layers stay as they are.
        lora_rank: Train adapters of this rank and the head alone; None for all weights.
        lora_alpha: See `enable_lora`.
        pooling: Of embeddings: any of `cls max mean mean_sqrt`.
        windows: How a document that is too long for one row is classified: `mean_probabilities`,
            `max_probabilities`, `mean_logits` or `max_logits` of its windows; None cuts it at
            `sequence_length`. Training reads beginnings either way.
    """

    preset: str
    keep_head: bool = False
    sequence_length: int = 128
    padding: str = "bucketed"
    freeze_embeddings: bool = False
    freeze_layers: int = 0
    lora_rank: int | None = None
    lora_alpha: float | None = None
    pooling: tuple[str, ...] | None = None
    windows: str | None = None

    def __post_init__(self):
        """Check every field."""
        super().__post_init__()
        self._check_choice("padding", ("bucketed", "longest", "fixed"))
        self._check_choice("windows", WINDOWS)
        if self.freeze_layers < 0:
            raise ValueError(f"freeze_layers must not be negative; got {self.freeze_layers}.")


@dataclasses.dataclass(frozen=True)
class Training(Section):
    """How it learns.

    Args:
        batch_size: Rows of a batch, on all replicas together.
        epochs: Of each trial.
        learning_rate: One, or several: the first seed tries all, and the best on dev is kept.
        seeds: A trial each; results are given as mean and standard deviation.
        warmup: Part of the steps in which the rate rises.
        decay: `linear` to zero, `google` (BERT's own, with its jump where the warm-up ends) or
            `constant`.
        weight_decay: Not of biases and layer norms.
        bias_correction: Of AdamW; BERT's own code had none.
        layer_decay: Factor of the rate from each layer to the one below, as in ELECTRA; or None.
        clip: Largest norm of all gradients together; None for no limit.
        early_stopping: Epochs without a gain on dev after which a trial ends; None for never.
        keep: `best` epoch on dev, or the `last`.
        class_weight: `balanced`, or None.
        allow_one_class: Of `classification`: whether to train on labels that are all the same.
        loss: Of embeddings: `ranking`, `cosine`, `softmax` or `triplet`.
        negatives: Of the loss `ranking` on several devices: `global`, where the texts of the whole
            batch do not belong to an anchor, or `local`, where those of its own device do not.
        precision: `float32`, `mixed_bfloat16` or `mixed_float16`.
        strategy: Where it computes: one device unless it is said; see `StrategyConfig`.
        steps_per_execution: Steps between two returns to Python.
        drop_remainder: Whether the last, smaller batch of an epoch is left out (TPU).
    """

    batch_size: int = 32
    epochs: int = 3
    learning_rate: float | tuple[float, ...] = 5.0e-5
    seeds: tuple[int, ...] = (1,)
    warmup: float = 0.1
    decay: str = "linear"
    weight_decay: float = 0.01
    bias_correction: bool = True
    layer_decay: float | None = None
    clip: float | None = 1.0
    early_stopping: int | None = None
    keep: str = "best"
    class_weight: str | None = None
    allow_one_class: bool = False
    loss: str | None = None
    negatives: str = "global"
    precision: str = "float32"
    strategy: StrategyConfig = dataclasses.field(default_factory=_one_device)
    steps_per_execution: int = 1
    drop_remainder: bool = False

    def __post_init__(self):
        """Check every field."""
        super().__post_init__()
        self._check_choice("decay", ("linear", "google", "constant"))
        self._check_choice("keep", ("best", "last"))
        self._check_choice("class_weight", ("balanced",))
        self._check_choice("loss", LOSSES)
        self._check_choice("negatives", ("global", "local"))
        self._check_choice("precision", PRECISIONS)
        if self.strategy.name == "multi_worker":
            raise ValueError("a fine-tuning runs on one machine: not with strategy multi_worker.")
        for name in ("batch_size", "epochs", "steps_per_execution", "early_stopping"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}.")
        if not self.rates or not all(rate > 0.0 for rate in self.rates):
            raise ValueError(f"learning_rate must be positive; got {self.learning_rate!r}.")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must differ from each other; got {list(self.seeds)}.")
        if not 0.0 <= self.warmup < 1.0:
            raise ValueError(f"warmup must be in [0, 1); got {self.warmup}.")

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates to try."""
        rate = self.learning_rate
        return rate if isinstance(rate, tuple) else (rate,)


@dataclasses.dataclass(frozen=True)
class Evaluation(Section):
    """How it is measured, and what is written of it.

    Args:
        metric: The one that chooses epochs, rates and seeds; None for the task's first.
        tune: Whether thresholds (several labels, no answer) are chosen on dev.
        batch_size: Most rows at once.
        errors: How many mistakes are written to be read.
        glue_file: Name of a GLUE submission that predictions of test are written for, as
            `MNLI-mm`; None for the reader's `task`.
        language: For the model card.
        license: Licence of the model, for its card; None for that of the preset.
    """

    metric: str | None = None
    tune: bool = False
    batch_size: int = 32
    errors: int = 100
    glue_file: str | None = None
    language: str | None = None
    license: str | None = None


@dataclasses.dataclass(frozen=True)
class FinetuneRecipe(Recipe):
    """A fine-tuning, from files to a preset.

    Args:
        output: Directory of the run.
        task: One of `TASKS`.
        data: What is learnt from and measured on.
        model: What is fine-tuned.
        training: How it learns.
        evaluation: How it is measured.
    """

    task: str
    data: Data
    model: Model
    training: Training = dataclasses.field(default_factory=Training)
    evaluation: Evaluation = dataclasses.field(default_factory=Evaluation)

    def __post_init__(self):
        """Check what the sections say together."""
        super().__post_init__()
        self._check_choice("task", TASKS)
        if (self.task == "embedding") != (self.training.loss is not None):
            raise ValueError("`training.loss` belongs to embeddings, which need one.")
        if self.task == "tokens" and self.data.reader != "conll":
            raise ValueError(f"`tokens` are read by `conll`; got {self.data.reader!r}.")
        if (self.task == "question_answering") != (self.data.reader == "squad"):
            raise ValueError("`question_answering` is read by `squad`, and nothing else is.")
        if self.training.allow_one_class and self.task != "classification":
            raise ValueError("`training.allow_one_class` belongs to classification.")
        chooses = self.data.reader in ("swag", "codah")
        if chooses and self.task != "multiple_choice":
            raise ValueError(f"{self.data.reader} holds multiple_choice; got {self.task}.")

    def plan(self) -> dict[str, typing.Any]:
        """Return what the run would do, without reading weights or data."""
        from bertzoo.training.finetuning import run

        return run.plan(self)

    def run(self, *, resume: bool = False, force: bool = False) -> dict[str, typing.Any]:
        """Do it; see `Recipe.run`."""
        from bertzoo.training.finetuning import run

        return run.run(self, resume=resume, force=force)
