"""Distillation: from a teacher and a recipe to a smaller model and a table beside its teacher.

`objective.py` is what the loop minimises, `outputs.py` what losses read of the two models,
`recipe.py` the sections of the YAML, `texts.py` and `tasks.py` the two kinds of data,
`comparison.py` the table at the end.
"""
