"""What the losses of a recipe's stages are, and what they read."""

from bertzoo import losses


def losses_of(stage):
    """Return the `WeightedLoss`es of a stage."""
    return losses.losses_from(stage.losses)


def trains_words(recipe):
    """Return whether a loss of the recipe reads the logits of words."""
    return recipe.text is not None and any(map(_reads_words, _all(recipe)))


def teaches_words(recipe):
    """Return whether a loss of the recipe reads the teacher's logits of words."""
    return recipe.text is not None and any(
        _reads_words(loss) and loss.needs_teacher for loss in _all(recipe)
    )


def _all(recipe):
    return [weighted.loss for stage in recipe.stages for weighted in losses_of(stage)]


def _reads_words(loss):
    return bool({"logits", "masked_logits"} & set(loss.reads))
