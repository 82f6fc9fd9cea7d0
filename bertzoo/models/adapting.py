"""What every model with a backbone can do to adapt: LoRA adapters, and int8 kernels."""

from bertzoo.models import loading, lora, quantization


class Adaptable:
    """LoRA and quantization, for a model that is a backbone or holds one.

    Names as in Keras and KerasHub. A call on `task`, `task.network` or `task.backbone` changes
    the same weights: functions that were compiled before are made anew, and an optimizer that
    has trained other weights starts afresh.
    """

    _seen = (None, None)

    def enable_lora(self, rank, target_layer_names=None, lora_alpha=None):
        """Freeze the backbone and train low-rank updates of its attention (Hu et al. 2021).

        Then only the adapters and the head train; outputs are the same until they have. Layers
        that share weights (ALBERT) share an adapter.

        Args:
            rank: Of the updates.
            target_layer_names: Any of `query`, `key`, `value`, `output`; None for `query` and
                `value`.
            lora_alpha: The updates are scaled by `lora_alpha / rank`; None for `rank`.

        Raises:
            ValueError: If LoRA is enabled already, or the model is quantized.

        Example:
        >>> classifier = TextClassifier.from_preset("bert_toy", labels=["sad", "happy"])
        >>> classifier.enable_lora(rank=4)
        >>> len(classifier.trainable_weights)  # two layers, query and value, A and B; and the head
        10
        """
        lora.enable(_backbone_of(self), rank, target_layer_names, lora_alpha)

    def merge_lora(self):
        """Add the adapters to their kernels: plain weights, equal outputs, no adapter.

        What was trainable before `enable_lora` is trainable again.

        Raises:
            ValueError: If LoRA is not enabled.
        """
        lora.merge(_backbone_of(self))

    def save_lora_weights(self, directory):
        """Write the adapters, and the head that was trained with them, to a small directory.

        `adapter.json` and `adapter.safetensors`, whole or not at all. Of a backbone, the adapters
        alone.

        Args:
            directory: New, empty, or an adapter that is to be replaced.

        Raises:
            ValueError: If LoRA is not enabled, or the directory holds something else.
        """
        return lora.save(_backbone_of(self), directory, *_head_of(self))

    def load_lora_weights(self, directory):
        """Load what `save_lora_weights` wrote; LoRA is enabled as it was there.

        Args:
            directory: Of the adapter.

        Raises:
            ValueError: If the adapter was trained on another encoder, other weights or another
                head, or files are damaged; nothing is loaded then.
        """
        lora.load(_backbone_of(self), directory, *_head_of(self))

    def quantize(self, mode=None, config=None):
        """Store the backbone's kernels as int8, through Keras.

        For size only: TensorFlow has no fast int8 product on CPU, and the model becomes several
        times slower there. Embedding tables, norms and the head stay as they are. A quantized
        model is saved as a `.keras` file; presets hold plain weights. Keras discards what this
        method returns: `bertzoo.adapt.quantize` also reports how far the outputs drift.

        Args:
            mode: `int8`.
            config: Keras's default for it, or None.

        Raises:
            ValueError: If the model is quantized already or has an adapter that is not merged.
        """
        quantization.quantize(_backbone_of(self), mode, config)

    def load_weights(self, *args, **kwargs):
        """Load a Keras weights file; adapters that it cannot hold begin anew on what it holds."""
        super().load_weights(*args, **kwargs)
        lora.revive(_backbone_of(self))

    def make_train_function(self, force=False):
        """Make it as Keras does, and again after an adapter came or went."""
        return super().make_train_function(force=self._has_changed() or force)

    def make_test_function(self, force=False):
        """Make it as Keras does, and again after an adapter came or went."""
        return super().make_test_function(force=self._has_changed() or force)

    def make_predict_function(self, force=False):
        """Make it as Keras does, and again after an adapter came or went."""
        return super().make_predict_function(force=self._has_changed() or force)

    def _has_changed(self):
        """Forget compiled functions and the optimizer's state if other weights are in use now."""
        state = state_of(_backbone_of(self))
        if state == self._seen:
            return False
        self._seen = state
        self.train_function = self.test_function = self.predict_function = None
        optimizer = getattr(self, "optimizer", None)
        if optimizer is not None and optimizer.built:
            self.optimizer = type(optimizer).from_config(optimizer.get_config())
        return True


def state_of(backbone):
    """Return what decides which weights a compiled function uses."""
    return backbone.lora, backbone.quantized


def frozen_weights(model):
    """Return the paths of the weights that do not train, as they are without an adapter.

    Those of a network's head alone: its backbone keeps its own. A `.keras` file holds the kernels
    with the adapter merged in, and loads as `merge_lora` leaves a model.
    """
    backbone = _backbone_of(model)
    weights, adapter = loading.weights_of(model), backbone.lora
    if model is not backbone:
        weights = _head_of(model)[1]
    frozen = {path for path, weight in weights.items() if not weight.trainable}
    if adapter is not None:
        frozen -= adapter.was_trainable
        frozen -= {path for path in frozen if path.endswith(lora.KERNELS)}
    return sorted(frozen)


def freeze(model, frozen):
    """Let the weights of these paths not train; of layers that have no others, the layers."""
    paths = {id(weight): path for path, weight in loading.weights_of(model).items()}
    frozen = set(frozen)
    for layer in model.layers:
        of_layer = {paths[id(weight)] for weight in layer.weights if id(weight) in paths}
        # By its own flag, so that it can be set back: an attribute set to what it is does nothing.
        if of_layer and of_layer <= frozen:
            layer.trainable = False
    for weight in model.weights:
        if paths.get(id(weight)) in frozen:
            weight.trainable = False


def _backbone_of(model):
    return getattr(model, "backbone", model)


def _head_of(model):
    network = getattr(model, "network", model)
    if network is _backbone_of(model):
        return None, {}
    of_backbone = set(loading.weights_of(network.backbone))
    weights = loading.weights_of(network)
    return network.head, {path: w for path, w in weights.items() if path not in of_backbone}
