"""Rows of ids in, rows of vectors out: one text a row, several (packed), or real tokens alone.

Each layout is a functional model of its own on the same layers, so that ordinary rows do not pay
for what they do not need.
"""

import keras
from keras import ops

from bertzoo.layers.attention import PackedAttentionMask
from bertzoo.layers.pooling import FirstTokens
from bertzoo.layers.real_rows import PadRows, RealRows

# B batch  T length  R rows = B*T  D hidden_dim  K texts of a row


@keras.saving.register_keras_serializable(package="bertzoo")
class Unflatten(keras.layers.Layer):
    """Token-major rows back to texts: `[B * T, D]`, `[B, T]` -> `[B, T, D]`."""

    def call(self, hidden, token_ids):
        """Return the rows as `[B, T, D]`."""
        return ops.reshape(hidden, (-1, ops.shape(token_ids)[1], hidden.shape[-1]))

    def compute_output_spec(self, hidden, token_ids):
        """Return the output's shape."""
        return keras.KerasTensor((*token_ids.shape, hidden.shape[-1]), dtype=hidden.dtype)


class IdsModel(keras.Model):
    """A functional model on a dict of ids: what may be left out is filled in."""

    def __call__(self, inputs, *args, **kwargs):
        """Call on a dict; `padding_mask` defaults to ones and `segment_ids` to zeros."""
        if isinstance(inputs, dict):
            if "token_ids" not in inputs:
                raise ValueError(
                    f"expected a dict with `token_ids`; got the keys {sorted(inputs)}."
                )
            wanted = self.input if isinstance(self.input, dict) else {}
            inputs = {
                key: ops.convert_to_tensor(value)
                for key, value in inputs.items()
                if key in wanted and value is not None
            }
            self._check_shapes(inputs)
            for key, fill in (("padding_mask", ops.ones_like), ("segment_ids", ops.zeros_like)):
                if key in wanted and key not in inputs:
                    inputs[key] = fill(inputs["token_ids"], dtype="int32")
        return super().__call__(inputs, *args, **kwargs)

    def _check_shapes(self, inputs):
        shape, limit = tuple(inputs["token_ids"].shape), self.max_sequence_length
        if len(shape) != 2:
            raise ValueError(f"token_ids must be [batch, length]; got the shape {shape}.")
        for name in ("padding_mask", "segment_ids"):
            other = tuple(inputs[name].shape) if name in inputs else shape
            if len(other) != 2 or any(
                ours != theirs
                for ours, theirs in zip(shape, other, strict=True)
                if isinstance(ours, int) and isinstance(theirs, int)
            ):
                raise ValueError(
                    f"{name} must have the shape of token_ids, {shape}; got the shape {other}."
                )
        if isinstance(shape[1], int) and not 1 <= shape[1] <= limit:
            raise ValueError(
                f"inputs may have 1 to at most {limit} tokens; got {shape[1]}. "
                "Truncate longer ones, or split long texts into windows."
            )


def id_inputs(config):
    """Return a backbone's symbolic inputs by name, int32 `[B, T]`."""
    names = ["token_ids", "padding_mask"] + (["segment_ids"] if config.num_segments else [])
    return {name: keras.Input((None,), dtype="int32", name=name) for name in names}


def packed(backbone, num_texts=None):
    """Return a model for rows of several texts; see `Backbone.packed`."""
    if num_texts is not None and not backbone.config.pooler:
        raise ValueError("this backbone has no pooler; use packed() without num_texts.")
    inputs, dtype = id_inputs(backbone.config), backbone.dtype_policy
    mask = PackedAttentionMask(dtype=dtype, name="packed_mask")(inputs["padding_mask"])
    hidden = _encode(backbone, backbone.embeddings(**inputs, packed=True), mask)
    outputs = {"sequence_output": backbone.unflatten(hidden, inputs["token_ids"])}
    if num_texts is not None:
        first = FirstTokens(num_texts, dtype=dtype, name="first_tokens")
        first = first(outputs["sequence_output"], inputs["padding_mask"])
        outputs["pooled_output"] = backbone.get_layer("pooler")(first)
    return _model(backbone, inputs, outputs, "packed")


def without_padding(backbone):
    """Return a model that runs real tokens alone; see `Backbone.without_padding`."""
    inputs, dtype = id_inputs(backbone.config), backbone.dtype_policy
    mask = backbone.get_layer("attention_mask")(inputs["padding_mask"])
    real = RealRows(dtype=dtype, name="real_rows")(inputs["padding_mask"])
    hidden = _encode(backbone, backbone.embeddings(**inputs, real=real), mask, real)
    hidden = PadRows(dtype=dtype, name="pad_rows")(hidden, real)
    outputs = {"sequence_output": backbone.unflatten(hidden, inputs["token_ids"])}
    if backbone.config.pooler:
        first = backbone.get_layer("first_token")(outputs["sequence_output"])
        outputs["pooled_output"] = backbone.get_layer("pooler")(first)
    return _model(backbone, inputs, outputs, "without_padding")


def _encode(backbone, hidden, mask, real=None):
    for index in backbone.config.layer_schedule:
        hidden = backbone.encoder_layers[index](hidden, mask, real)["hidden_state"]
    return hidden


def _model(backbone, inputs, outputs, suffix):
    model = IdsModel(inputs=inputs, outputs=outputs, name=f"{backbone.name}_{suffix}")
    model.max_sequence_length = backbone.max_sequence_length
    return model
