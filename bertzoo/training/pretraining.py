"""`recipe: pretrain`: raw text's records to an encoder that every task loads."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
import typing

from bertzoo import presets
from bertzoo.config import BackboneConfig, TokenizerConfig, check_key
from bertzoo.training.loop import Loop, LoopConfig, Phase
from bertzoo.training.pretraining_recipe import (
    OBJECTIVES,
    EvaluationSection,
    ModelSection,
    ObjectiveSection,
    PhaseSection,
)
from bertzoo.training.recipe import Recipe
from bertzoo.training.sections import OptimizerSection, ScheduleSection
from bertzoo.training.strategy import StrategyConfig, make_replicas

# Ending of a vocabulary file -> kind of tokenizer.
VOCABULARIES = {".txt": "wordpiece", ".spm": "sentence_piece", ".model": "sentence_piece"}


@dataclasses.dataclass(frozen=True)
class PretrainRecipe(Recipe):
    """A pretraining run.

    Args:
        output: Directory of the run; the result is `preset` inside.
        model: The encoder.
        objective: What is learnt.
        phases: Data and lengths, one after the other.
        optimizer: AdamW or LAMB.
        schedule: The learning rate.
        training: Precision, checkpoints and the like.
        strategy: Devices.
        evaluation: Held-out text.
    """

    model: ModelSection
    phases: tuple[PhaseSection, ...]
    objective: ObjectiveSection = dataclasses.field(default_factory=ObjectiveSection)
    optimizer: OptimizerSection = dataclasses.field(default_factory=OptimizerSection)
    schedule: ScheduleSection = dataclasses.field(default_factory=ScheduleSection)
    training: LoopConfig = dataclasses.field(default_factory=LoopConfig)
    strategy: StrategyConfig = dataclasses.field(default_factory=StrategyConfig)
    evaluation: EvaluationSection = dataclasses.field(default_factory=EvaluationSection)

    def __post_init__(self):
        """Check what the sections say together."""
        super().__post_init__()
        if not self.phases:
            raise ValueError("a pretraining run needs at least one phase.")
        if (self.objective.name == "replaced_tokens") != bool(self.model.generator):
            raise ValueError(
                "objective `replaced_tokens` and model.generator belong together; got "
                f"{self.objective.name!r} and {self.model.generator!r}."
            )
        if len(self.evaluation.records) not in (0, 1, len(self.phases)):
            raise ValueError(
                f"evaluation.records must be one directory, or one for each of the "
                f"{len(self.phases)} phases; got {len(self.evaluation.records)}."
            )
        own = [phase.learning_rate is not None for phase in self.phases]
        if any(own) and not all(own):
            raise ValueError("either every phase has a learning_rate of its own, or none.")

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    def plan(self) -> dict[str, typing.Any]:
        """Return what the run would do."""
        from bertzoo.training import planning

        return planning.plan(self, self._config())

    def run(self, *, resume=False, force=False):
        """Train, and write the preset."""
        import keras

        replicas = make_replicas(self.strategy)
        for phase in self.phases:
            replicas.split(phase.batch_size, phase.accumulation)
        tokenizer = self._tokenizer()
        with replicas.scope():
            keras.utils.set_random_seed(self.training.seed)
            objective, network = self._objective(tokenizer)
            optimizer = self.optimizer.make(self._schedule())
        self._check_lengths(network.backbone.config, tokenizer)
        loop = Loop(
            objective,
            optimizer,
            replicas,
            [self._phase(phase, tokenizer, network.backbone.config) for phase in self.phases],
            self.output,
            self.training,
            {"recipe": "pretrain", **self.to_dict()},
        )
        result = loop.run(resume=resume, force=force)
        if replicas.is_chief:
            result["preset"] = self._save(network, tokenizer, result)
        return result

    # === Parts ===

    def _config(self) -> BackboneConfig:
        if self.model.preset is not None:
            return BackboneConfig.from_preset(self.model.preset)
        rows = presets.load_yaml(presets.data_folder("presets") / "architectures.yaml")
        check_key(self.model.architecture, rows, "model.architecture")
        values = {**rows[self.model.architecture], **self.model.config}
        if "vocabulary_size" not in values:
            values["vocabulary_size"] = self._vocabulary_size()
        return BackboneConfig.from_dict(values, "model.config")

    def _vocabulary_size(self):
        source = self.model.tokenizer
        if not pathlib.Path(source).is_file():
            return BackboneConfig.from_preset(source).vocabulary_size  # known without its files
        return self._tokenizer().vocabulary_size

    def _tokenizer(self):
        source = self.model.tokenizer or self.model.preset
        return load_tokenizer(source, self.model.tokenizer_config)

    def _objective(self, tokenizer):
        """Return the objective and the network that is kept."""
        from bertzoo.models.backbone import Backbone
        from bertzoo.models.pretraining import PretrainingNetwork, new_head
        from bertzoo.training.objectives import Pretraining
        from bertzoo.training.pretraining_data import hold_packed_rows
        from bertzoo.training.replaced_tokens import ReplacedTokenDetection

        kinds, dtype = OBJECTIVES[self.objective.name], self.training.precision
        if self.model.preset is not None:
            network = PretrainingNetwork.from_preset(self.model.preset, kinds, dtype=dtype)
        else:
            config = self._config()
            if "next_sentence" not in kinds and config.pooler:
                config = config.replace(pooler=False)  # nothing would train it
            heads = [new_head(config, kind) for kind in kinds]
            network = PretrainingNetwork(Backbone(config, dtype=dtype), heads)
        # One text a row is a case of several: packed rows anywhere make all of it packed.
        used = [phase.records for phase in self.phases]
        used += [(records,) for records in self.evaluation.records]
        packed = any(map(hold_packed_rows, used)) and "next_sentence" not in kinds
        if self.objective.name != "replaced_tokens":
            return Pretraining(network, packed, recompute=self.model.recompute), network
        config = network.backbone.config.replace(pooler=False, **self.model.generator)
        generator = PretrainingNetwork(
            Backbone(config, dtype=dtype), [new_head(config, "masked_lm")], name="generator"
        )
        objective = ReplacedTokenDetection(
            generator,
            network,
            self.objective.discriminator_weight,
            packed=packed,
            recompute=self.model.recompute,
        )
        return objective, network

    def _schedule(self):
        from bertzoo.optimizers import InTurn

        if self.phases[0].learning_rate is None:
            return self.schedule.make(self.optimizer.learning_rate, self.steps)
        own = [
            self.schedule.replace(warmup_steps=phase.warmup_steps).make(
                phase.learning_rate, phase.steps
            )
            for phase in self.phases
        ]
        return InTurn(own, [phase.steps for phase in self.phases])

    def _phase(self, phase, tokenizer, config):
        from bertzoo.training import flops
        from bertzoo.training.pretraining_data import open_source

        length, most = phase.sequence_length, phase.max_predictions
        arguments = (phase, tokenizer, self.objective, self.training.seed)
        held_out = None
        if self.evaluation.records:
            number = min(self.phases.index(phase), len(self.evaluation.records) - 1)
            held_out = open_source(self.evaluation.records[number : number + 1], *arguments, False)
        predictions = most or max(1, round(self.objective.masking.rate * length))
        return Phase(
            phase.steps,
            phase.batch_size,
            open_source(phase.records, *arguments),
            phase.accumulation,
            held_out,
            self.evaluation.batches,
            tokens_per_row=length,
            flops_per_row=flops.training_flops(config, length, predictions),
        )

    def _check_lengths(self, config, tokenizer):
        longest = max(phase.sequence_length for phase in self.phases)
        if longest > config.max_sequence_length:
            raise ValueError(
                f"a phase has {longest} tokens a row, and the model at most "
                f"{config.max_sequence_length}."
            )
        if tokenizer.vocabulary_size > config.vocabulary_size:
            raise ValueError(
                f"the tokenizer has {tokenizer.vocabulary_size} tokens, and the model rows for "
                f"{config.vocabulary_size}."
            )

    def _save(self, network, tokenizer, result):
        names = [name for name in result if name.startswith("held_out_")] or ["loss"]
        info = {
            "training": f"{result['steps']} steps of `{self.objective.name}` by bertzoo.",
            "metrics": {name: round(float(result[name]), 4) for name in names if name in result},
        }
        length = self.phases[-1].sequence_length
        target = f"{self.output.rstrip('/')}/preset"
        if "://" not in target:
            network.save_to_preset(target, tokenizer, length, info)
            return target
        import tensorflow as tf

        with tempfile.TemporaryDirectory() as folder:
            made = pathlib.Path(network.save_to_preset(f"{folder}/preset", tokenizer, length, info))
            tf.io.gfile.makedirs(target)
            for path in sorted(made.iterdir(), key=lambda path: path.name == "preset.json"):
                tf.io.gfile.copy(str(path), f"{target}/{path.name}", overwrite=True)
        return target


def load_tokenizer(source, config=None):
    """Return the tokenizer of a preset, a directory, or a vocabulary file with settings.

    >>> load_tokenizer("bert_toy").vocabulary_size
    86
    """
    from bertzoo import checkpoints
    from bertzoo.preprocessing.preprocessor import preprocessor_of_checkpoint
    from bertzoo.tokenizers.base import Tokenizer

    path = pathlib.Path(source)
    if path.is_file() and path.suffix in VOCABULARIES:
        settings = {"kind": VOCABULARIES[path.suffix], **(config or {})}
        chosen = TokenizerConfig.from_dict(settings, "the settings of the tokenizer")
        return Tokenizer.from_files(chosen, {"vocabulary": path})
    if config:
        raise ValueError(
            f"settings of the tokenizer are for a vocabulary file; {source} has its own."
        )
    preprocessor, missing = preprocessor_of_checkpoint(checkpoints.open_source(source))
    if preprocessor is None:
        raise ValueError(f"{source} gives no tokenizer: {missing}.")
    return preprocessor.tokenizer
