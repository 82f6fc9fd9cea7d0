"""Strings in, answers out: a preprocessor and a network as one `keras.Model`."""
