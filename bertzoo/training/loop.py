"""The one loop: pretraining, distillation and whatever else has an `Objective` and a source.

A call does several steps on the devices; between calls the loop logs, evaluates, saves and looks
whether it was told to stop. All that a run is at a step is in its checkpoint: variables, optimizer,
loss scale and the number of the step, from which the data's place, the learning rate and every
random number follow. So a run that was killed goes on bit by bit as if it had not been (on CPU).
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
import typing

import tensorflow as tf

from bertzoo.training import flops, run_log
from bertzoo.training.checkpoint_files import write_text
from bertzoo.training.checkpointing import Checkpoints, LostCheckpoint
from bertzoo.training.run_directory import CHECKPOINTS, LOG, RunDirectory
from bertzoo.training.section import Section
from bertzoo.training.step import TrainStep
from bertzoo.training.stopping import NotFinite, Stopped, signals_noticed

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# Float16 finds its scale by halving it where gradients overflow: so many in a row are no mistake.
SCALE_SEARCH = 30


@dataclasses.dataclass(frozen=True)
class LoopConfig(Section):
    """The `training` of a recipe.

    Args:
        seed: Of weights, order, masks and dropout.
        precision: `float32`, `mixed_bfloat16` or `mixed_float16` (with loss scaling).
        jit: Whether XLA compiles forward and backward; None for GPUs only.
        clip_norm: Largest norm of a step's gradients; None not to clip.
        steps_per_call: Most steps between two looks at signals.
        log_every: Steps that a row of the log is the mean of.
        checkpoint_every: Steps between checkpoints.
        evaluate_every: Steps between evaluations on held-out text; 0 for the end alone.
        keep: Checkpoints to keep.
        skip_nonfinite: How many steps whose gradients are no numbers may be left out; the next one
            stops the run.
        tensorboard: Whether to write for TensorBoard.
    """

    seed: int = 0
    precision: str = "float32"
    jit: bool | None = None
    clip_norm: float | None = 1.0
    steps_per_call: int = 10
    log_every: int = 10
    checkpoint_every: int = 1000
    evaluate_every: int = 0
    keep: int = 3
    skip_nonfinite: int = 0
    tensorboard: bool = True

    def __post_init__(self):
        """Check the numbers."""
        super().__post_init__()
        self._check_choice("precision", PRECISIONS)
        for name in ("steps_per_call", "log_every", "checkpoint_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"training.{name} must be at least 1; got {getattr(self, name)}.")
        for name in ("evaluate_every", "skip_nonfinite", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"training.{name} must not be negative.")


@dataclasses.dataclass
class Phase:
    """A part of a run with its own data.

    Args:
        steps: How many.
        batch_size: Rows of a step, over all replicas.
        source: As `ArraySource`.
        accumulation: Parts that a replica's batch is split into.
        held_out: A source for evaluation, or None.
        held_out_batches: Batches of an evaluation.
        tokens_per_row: For the speed; padding counts.
        flops_per_row: For the share of the peak, or None.
    """

    steps: int
    batch_size: int
    source: typing.Any
    accumulation: int = 1
    held_out: typing.Any = None
    held_out_batches: int = 0
    tokens_per_row: int = 0
    flops_per_row: float | None = None


class Loop:
    """A run from begin to end, however often it is interrupted.

    Args:
        objective: An `Objective`; made in `replicas.scope()`.
        optimizer: One of `bertzoo.optimizers`; made in the same scope.
        replicas: From `make_replicas`.
        phases: `Phase`s, one after the other.
        directory: Of the run.
        config: `LoopConfig`.
        recipe: What the run is, as plain dictionaries: a directory is gone on with by this alone.
    """

    def __init__(self, objective, optimizer, replicas, phases, directory, config, recipe):
        self.replicas, self.phases, self.config = replicas, list(phases), config
        jit = config.jit
        if jit is None:
            jit = bool(tf.config.list_physical_devices("GPU"))
        for phase in self.phases:
            replicas.split(phase.batch_size, phase.accumulation)
        self.step = TrainStep(objective, optimizer, replicas, config.clip_norm, jit, config.seed)
        self.run_directory = RunDirectory(directory, recipe)
        self.checkpoints = Checkpoints(
            self.run_directory.path(CHECKPOINTS), self.step.state(), replicas, config.keep
        )
        self.total = sum(phase.steps for phase in self.phases)
        self._skipped = 0
        self._log = None
        self._held_out = {}

    def run(self, resume=False, force=False):
        """Go on from the last checkpoint, or begin; return the last numbers.

        Args:
            resume: Refuse to begin.
            force: Go on with another recipe, or begin where checkpoints are lost.

        Raises:
            Stopped: On SIGTERM or SIGINT, after saving.
            ValueError: If the directory cannot be gone on with.
            NotFinite: If too many steps gave no numbers.
        """
        with signals_noticed() as noticed:
            step, restored = self._begin(resume, force)
            self._log = self._open_log()
            try:
                if restored is not None:
                    self._log.event("resumed", step=step, passed_over=list(restored.skipped))
                first = 0
                for phase in self.phases:
                    if step < first + phase.steps:
                        step = self._run_phase(phase, first, step, noticed)
                    first += phase.steps
                if not self._held_out:  # the run was at its end already
                    self._evaluate(self.phases[-1], step)
                self._finish_checkpoint()
            finally:
                self.checkpoints.settle()
                self._log.close()
        if self.replicas.is_chief and "://" not in self.run_directory.directory:
            run_log.plot_log(self.run_directory.path(LOG), self.run_directory.path("plot.png"))
        return {"steps": step, **self._last, **self._held_out}

    # === Begin ===

    def _begin(self, resume, force):
        """Return the step to go on from, and what was restored."""
        decision, refusal = 0, None
        if self.replicas.is_chief:
            try:
                steps = self.checkpoints.steps()
                decision = 1 + self.run_directory.has_begun(steps, resume, force)
            except ValueError as error:
                refusal = error
        decision = self.replicas.same_everywhere(decision)
        if refusal is not None:
            raise refusal
        if decision == 0:
            raise ValueError("the first worker refuses to start; its message says why.")
        restored = None
        if decision == 2:
            restored = self._restore(force)
        if restored is None:
            # Before the run is written down: a directory that was begun has a checkpoint.
            self.checkpoints.save(0)
        if self.replicas.is_chief:
            self.run_directory.write()
        self._last = restored.details.get("last", {}) if restored else {}
        self._skipped = restored.details.get("skipped", 0) if restored else 0
        return (restored.step if restored else 0), restored

    def _restore(self, force):
        try:
            restored = self.checkpoints.restore()
        except LostCheckpoint as error:
            if not force:
                raise ValueError(f"{error} --force starts the run from step 0.") from error
            return None
        if self.replicas.is_chief and restored is not None:
            print(f"going on from step {restored.step} of {self.total}", file=sys.stderr)
        return restored

    def _open_log(self):
        if not self.replicas.is_chief:
            return _NoLog()
        phase = self.phases[-1]
        share = None
        if phase.flops_per_row:
            peak, _ = flops.peak_flops()
            share = (phase.flops_per_row * phase.batch_size, peak * self._devices())
        directory = self.run_directory.path("tensorboard") if self.config.tensorboard else None
        return run_log.RunLog(
            self.run_directory.path(LOG), self.total, self.config.log_every, directory, share
        )

    def _devices(self):
        # A processor that was split into logical devices is one.
        is_gpu = bool(tf.config.list_physical_devices("GPU"))
        return self.replicas.count if is_gpu else self.replicas.num_workers

    # === On ===

    def _run_phase(self, phase, first, step, noticed):
        """Train from `step` to the end of a phase that began at `first`; return its end."""
        end, place = first + phase.steps, (step - first) * phase.batch_size
        batches = self.replicas.iterate(
            lambda mine: phase.source.dataset(place, phase.batch_size, mine, self.replicas.count)
        )
        while step < end:
            count = min(
                end - step,
                self.config.steps_per_call,
                _until(step, self.config.checkpoint_every),
                _until(step, self.config.evaluate_every),
            )
            started = time.perf_counter()
            rows = self.step.run(batches, step, count, phase.accumulation)
            seconds = time.perf_counter() - started
            self._log.steps(step, rows, phase.batch_size * phase.tokens_per_row, seconds)
            self._check_finite(rows, phase, first, step)
            self._last = rows[-1]
            step += count
            self._tell_saved()
            stop = self.replicas.any_worker(noticed.signal or self.checkpoints.has_failed)
            if stop:
                self._finish_checkpoint()  # raises on all workers if it could not be written
            is_due = step == self.total or _is_due(step, self.config.evaluate_every)
            if is_due and not stop:
                self._evaluate(phase, step)
            if stop or step == end or _is_due(step, self.config.checkpoint_every):
                self.checkpoints.start(step, {"last": self._last, "skipped": self._skipped})
            if stop:
                self._finish_checkpoint()
                raise Stopped(
                    f"{noticed.signal or 'a signal'} arrived; saved at step {step} of "
                    f"{self.total} in {self.run_directory.directory}; the same command goes on."
                )
        return end

    def _finish_checkpoint(self):
        self.checkpoints.finish()
        self._tell_saved()

    def _tell_saved(self):
        for write in self.checkpoints.news():
            seconds, waited = round(write.seconds, 3), round(write.waited, 3)
            self._log.event("saved", step=write.step, seconds=seconds, waited=waited)

    def _evaluate(self, phase, step):
        if phase.held_out is None or not phase.held_out_batches:
            return
        batches = self.replicas.iterate(
            lambda mine: phase.held_out.dataset(0, phase.batch_size, mine, self.replicas.count)
        )
        values = self.step.evaluate(batches, phase.held_out_batches)
        if "masked_lm" in values:
            values["pseudo_perplexity"] = math.exp(min(values["masked_lm"], 700.0))
        self._log.evaluation(step, values)
        self._held_out = {f"held_out_{name}": value for name, value in values.items()}

    def _check_finite(self, rows, phase, first, step):
        """Count steps that were left out; too many stop the run and name their examples."""
        bad = [number for number, row in enumerate(rows, start=step) if not row["finite"]]
        self._skipped += len(bad)
        limit = self.config.skip_nonfinite
        if self.step.loss_scale is not None:
            limit += SCALE_SEARCH
        if not bad:
            return
        dump = self.run_directory.path(f"nonfinite-step-{bad[0]:08d}.json")
        examples = phase.source.identity((bad[0] - first) * phase.batch_size, phase.batch_size)
        if self.replicas.is_chief:
            content = {"step": bad[0], "examples": examples, "row": rows[bad[0] - step]}
            write_text(dump, json.dumps(content, indent=1))
        self._log.event("nonfinite", steps=bad, examples_in=dump)
        if self._skipped > limit:
            raise NotFinite(
                f"the gradients of step {bad[0]} are no finite numbers; the step changed nothing, "
                f"and its examples are listed in {dump}. training.skip_nonfinite leaves out that "
                f"many such steps (now {self.config.skip_nonfinite})."
            )


class _NoLog:
    """The log of a worker that is not the chief."""

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def _until(step, every):
    return every - step % every if every else math.inf


def _is_due(step, every):
    return bool(every) and step % every == 0
