"""Networks from ids to logits, for every Keras backend: the backbone and the heads on it."""
