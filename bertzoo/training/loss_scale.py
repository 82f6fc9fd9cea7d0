"""Loss scaling for float16 (Micikevicius et al. 2017, 3.2); bfloat16 and float32 need none."""

import tensorflow as tf

from bertzoo.training.strategy import once_for_all

# Keras's LossScaleOptimizer and NVIDIA's apex begin at 2^15 and double every 2000 steps.
INITIAL, GROWTH_STEPS = 2.0**15, 2000


class LossScale:
    """A factor that keeps small gradients above float16's smallest number.

    It is halved where gradients are not finite, and doubled after `growth_steps` that were.

    Args:
        initial: To begin with.
        growth_steps: Steps until it is doubled.
    """

    def __init__(self, initial=INITIAL, growth_steps=GROWTH_STEPS):
        self.scale = once_for_all(initial, tf.float32, "loss_scale")
        self.good_steps = once_for_all(0, tf.int32, "good_steps")
        self.growth_steps = growth_steps

    def update(self, finite):
        """Change the factor after a step, on every replica alike."""
        good = tf.where(finite, self.good_steps + 1, 0)
        grow = good >= self.growth_steps
        factor = tf.where(finite, tf.where(grow, 2.0, 1.0), 0.5)
        self.scale.assign(tf.clip_by_value(self.scale * factor, 1.0, 2.0**24))
        self.good_steps.assign(tf.where(grow, 0, good))

    @property
    def variables(self):
        """Its state, by name."""
        return {"scale": self.scale, "good_steps": self.good_steps}
