"""The activation functions that checkpoints name, under names that mean one thing."""

import keras

# Google's "gelu" is the tanh form and Hugging Face's "gelu" is erf: they differ by up to 5e-4 per
# activation (Hendrycks & Gimpel 2016, section 2), so the config stores the resolved one.
_FUNCTIONS = {
    "gelu": lambda x: keras.ops.gelu(x, approximate=False),
    "gelu_tanh": lambda x: keras.ops.gelu(x, approximate=True),
    "relu": keras.ops.relu,
    "tanh": keras.ops.tanh,
}


def activation_function(name):
    """Return the function of `gelu` (erf), `gelu_tanh`, `relu` or `tanh`."""
    return _FUNCTIONS[name]
