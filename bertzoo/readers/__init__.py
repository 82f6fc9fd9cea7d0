"""Readers of published data files; errors name file, line and column."""
