"""int8 kernels through Keras."""

import keras

# Keras has others (float8, int4, GPTQ), which nothing here has measured.
MODES = ("int8",)


def quantize(backbone, mode, config=None):
    """Turn the kernels of the backbone's dense layers into int8; tables and norms stay."""
    if mode not in MODES:
        raise ValueError(f"bertzoo quantizes to {', '.join(MODES)}; got {mode!r}.")
    _check_config(config)
    if backbone.quantized is not None:
        raise ValueError(f"the model is quantized already, to {backbone.quantized}.")
    if backbone.lora is not None:
        raise ValueError("merge_lora() first: an adapter cannot be quantized with its kernels.")
    # keras.Model's, not the method of ours that calls this function.
    keras.Model.quantize(backbone, mode, filters=_is_dense)
    backbone.quantized = mode


def _is_dense(layer):
    return isinstance(layer, keras.layers.Dense)


def _check_config(config):
    """Raise for a configuration other than Keras's default, which no file of ours remembers."""
    default = keras.quantizers.Int8QuantizationConfig()
    if config is not None and (
        type(config) is not type(default) or config.get_config() != default.get_config()
    ):
        raise ValueError(
            "bertzoo quantizes with Keras's default for int8: another configuration would be lost "
            "when the model is saved and loaded."
        )
