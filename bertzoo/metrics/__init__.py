"""Metrics as the official scripts compute them, in NumPy."""
