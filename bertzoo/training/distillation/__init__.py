"""Distillation: from a teacher to a smaller model and a table beside its teacher.

`objective.py` is what the loop minimises, `outputs.py` what losses read of the two models,
`texts.py` the data, `comparison.py` the table at the end.
"""
