"""Fine-tuning as a recipe: data, model, training, evaluation and output in one YAML file.

`recipe.py` has the sections, `kinds.py` what each kind of task needs, `trial.py` one training with
one learning rate and one seed, `run.py` all of them, and what they leave behind.
"""
