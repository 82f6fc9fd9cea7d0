"""Recipes and the loop: from a file that tells a whole run to a preset. Lazy, as `bertzoo` is."""

import importlib

# Public name -> module that defines it.
_PUBLIC = {
    "load_recipe": "bertzoo.training.recipe",
    "run_recipe": "bertzoo.training.recipe",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'bertzoo.training' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
