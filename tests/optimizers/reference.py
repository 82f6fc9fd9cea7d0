"""AdamW and LAMB in NumPy float64, from the papers and Google's code, variable by variable."""

import numpy as np


def adamw(weight, gradients, *, rates, decay, epsilon, betas=(0.9, 0.999), corrected):
    """Return the weight after each step; `rates` is the learning rate of each step."""
    mean, square, path = np.zeros_like(weight), np.zeros_like(weight), []
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        direction, mean, square = _direction(
            gradient, mean, square, step, betas, epsilon, corrected
        )
        weight = weight - rate * (direction + decay * weight)
        path.append(weight)
    return path


def lamb(weight, gradients, *, rates, decay, epsilon, betas=(0.9, 0.999), corrected, adapts):
    """Return the weight after each step of LAMB."""
    mean, square, path = np.zeros_like(weight), np.zeros_like(weight), []
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        direction, mean, square = _direction(
            gradient, mean, square, step, betas, epsilon, corrected
        )
        update = direction + decay * weight
        norms = np.linalg.norm(weight), np.linalg.norm(update)
        ratio = norms[0] / norms[1] if adapts and min(norms) > 0 else 1.0
        weight = weight - rate * ratio * update
        path.append(weight)
    return path


def _direction(gradient, mean, square, step, betas, epsilon, corrected):
    mean = betas[0] * mean + (1 - betas[0]) * gradient
    square = betas[1] * square + (1 - betas[1]) * gradient**2
    mean_hat, square_hat = mean, square
    if corrected:
        mean_hat = mean / (1 - betas[0] ** step)
        square_hat = square / (1 - betas[1] ** step)
    return mean_hat / (np.sqrt(square_hat) + epsilon), mean, square
