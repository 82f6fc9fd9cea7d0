"""SentencePiece's op with a model that stays loaded.

`tensorflow_text.SentencepieceTokenizer` leaves its model to the kernel that loaded it. Eager
kernels live in a cache, and `tf.random.set_seed` (so `keras.utils.set_random_seed`, too) empties
that cache: every tokenizer made before it then fails with "Resource SentencepieceOp does not
exist". A model with a name of its own is not the kernel's: it stays until the process ends, and
tokenizers with equal models share it.
"""

from __future__ import annotations

import hashlib

import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow_text.python.ops import sentencepiece_tokenizer as tf_text_module


class SentencepieceOp(tf_text.SentencepieceTokenizer):
    """tensorflow-text's tokenizer to int32 ids, on a model that stays loaded.

    Args:
        model: A serialized `ModelProto`.
    """

    def __init__(self, model: bytes):
        """Load the model, or take the one that is loaded."""
        # Not the parent's: that would load the model for a kernel.
        super(tf_text.SentencepieceTokenizer, self).__init__()
        self.out_type = tf.int32
        self.nbest_size, self.alpha, self.return_nbest = 0, 1.0, False  # no sampling
        self.reverse = self.add_bos = self.add_eos = False
        self._model_resource = _Model(model)


class _Model(tf.saved_model.experimental.TrackableResource):
    def __init__(self, model: bytes):
        super().__init__(device="CPU:0")
        self._model = model
        self._shared_name = f"bertzoo_{hashlib.sha256(model).hexdigest()}"
        _ = self.resource_handle  # made by asking for it

    def _create_resource(self):
        return tf_text_module.gen_sentencepiece_tokenizer.sentencepiece_op(
            model=self._model, shared_name=self._shared_name
        )
