"""Sections that several kinds of recipes share: the optimizer and its schedule."""

from __future__ import annotations

import dataclasses

from bertzoo.training.section import Section

OPTIMIZERS = ("adamw", "lamb")
SCHEDULES = ("warmup_polynomial", "inverse_square_root", "constant")


@dataclasses.dataclass(frozen=True)
class OptimizerSection(Section):
    """The `optimizer` of a recipe; see `bertzoo.optimizers`.

    Args:
        name: `adamw` or `lamb`.
        learning_rate: The peak of the schedule.
        weight_decay: Decoupled; not of biases and layer norms.
        beta_1: Decay of the mean of gradients.
        beta_2: Decay of the mean of their squares.
        epsilon: Added to the root.
        bias_correction: Google's BERT and ALBERT have none.
        layer_decay: Factor of the rate from each layer to the one below; None for none.
    """

    name: str = "adamw"
    learning_rate: float = 1.0e-4
    weight_decay: float = 0.01
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1.0e-6
    bias_correction: bool = False
    layer_decay: float | None = None

    def __post_init__(self):
        """Check the name."""
        super().__post_init__()
        self._check_choice("name", OPTIMIZERS)

    def make(self, schedule):
        """Return the optimizer; in the scope of the replicas."""
        from bertzoo import optimizers

        make = {"adamw": optimizers.AdamW, "lamb": optimizers.Lamb}[self.name]
        return make(
            schedule,
            weight_decay=self.weight_decay,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            bias_correction=self.bias_correction,
            layer_decay=self.layer_decay,
        )


@dataclasses.dataclass(frozen=True)
class ScheduleSection(Section):
    """The `schedule` of a recipe: the learning rate over all its steps.

    Args:
        name: `warmup_polynomial`, `inverse_square_root` or `constant` (after the warm-up).
        warmup_steps: Of the linear warm-up.
        end: Rate at the last step.
        power: Of the polynomial; 1 is linear.
        restarted: Whether the decay begins where the warm-up ends (transformers, fairseq) and not
            at step 0 (Google).
    """

    name: str = "warmup_polynomial"
    warmup_steps: int = 0
    end: float = 0.0
    power: float = 1.0
    restarted: bool = False

    def __post_init__(self):
        """Check the name."""
        super().__post_init__()
        self._check_choice("name", SCHEDULES)

    def make(self, peak: float, steps: int):
        """Return the schedule of so many steps."""
        from bertzoo import optimizers

        if self.name == "inverse_square_root":
            return optimizers.InverseSquareRoot(peak, max(self.warmup_steps, 1))
        power = 0.0 if self.name == "constant" else self.power
        return optimizers.WarmupPolynomial(
            peak, steps, min(self.warmup_steps, steps), self.end, power, self.restarted
        )
