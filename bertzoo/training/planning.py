"""What a pretraining run will cost, before it starts."""

from __future__ import annotations

from bertzoo.training import flops

GIGA = 2**30


def plan(recipe, config):
    """Return name -> value: parameters, tokens, operations, memory of a device.

    Args:
        recipe: A `PretrainRecipe`.
        config: The `BackboneConfig` of its encoder.
    """
    tokens = operations = 0
    for phase in recipe.phases:
        rows = phase.steps * phase.batch_size
        tokens += rows * phase.sequence_length
        predictions = predictions_of(recipe, phase)
        if recipe.model.generator:  # it predicts; the discriminator reads every token
            small = config.replace(pooler=False, **recipe.model.generator)
            operations += rows * flops.training_flops(small, phase.sequence_length, predictions)
            predictions = 0
        operations += rows * flops.training_flops(config, phase.sequence_length, predictions)
    devices = recipe.strategy.devices or 1
    return {
        "output": recipe.output,
        "objective": recipe.objective.name,
        "parameters": config.parameter_count(),
        "steps": recipe.steps,
        "tokens": tokens,
        "phases": "; ".join(
            f"{p.steps} steps of {p.batch_size} rows of {p.sequence_length} tokens"
            for p in recipe.phases
        ),
        "operations": float(operations),
        "devices": devices,
        "memory_per_device": f"{memory(recipe, config, devices) / GIGA:.2f} GiB (estimated)",
        "optimizer": f"{recipe.optimizer.name}, {recipe.optimizer.learning_rate:g}",
        "precision": recipe.training.precision,
        "strategy": recipe.strategy.name,
    }


def predictions_of(recipe, phase):
    """Return the most predictions of a row."""
    share = recipe.objective.masking.rate * phase.sequence_length
    return phase.max_predictions or max(1, round(share))


def memory(recipe, config, devices):
    """Return the bytes that a device needs: weights, moments, gradients and activations.

    Activations of one layer: `T D (34 + 5 N T / D)` bytes in 16 bits (Korthikanti et al. 2022, eq.
    2), twice that in float32; with mixed precision 12 more of the 34, as norms and the activation
    are in float32. Where layers run again, its input alone, `4 T D`, and all of one layer. And two
    copies of the logits in float32.
    """
    wide = 2 if recipe.training.precision == "float32" else 1
    dense = 68 if wide == 2 else 34 + 12
    most = 0.0
    for phase in recipe.phases:
        rows = phase.batch_size / devices / phase.accumulation
        length, hidden = phase.sequence_length, config.hidden_dim
        layer = length * hidden * dense + 5 * config.num_heads * length**2 * wide
        logits = predictions_of(recipe, phase) * config.vocabulary_size * 4 * 2
        kept, again = (4 * length * hidden, layer) if recipe.model.recompute else (layer, 0)
        most = max(most, rows * (kept * len(config.layer_schedule) + again + logits))
    states = 4 * 4 + (0 if wide == 2 else 2)  # weights, two moments, gradients; a 16-bit copy
    return config.parameter_count() * states + most
