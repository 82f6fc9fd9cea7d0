"""Optimizers and schedules as BERT, LAMB and ELECTRA published them, for `fit` and our loop."""

from bertzoo.optimizers.adamw import AdamW
from bertzoo.optimizers.lamb import Lamb
from bertzoo.optimizers.schedules import InTurn, InverseSquareRoot, WarmupPolynomial

__all__ = ["AdamW", "InTurn", "InverseSquareRoot", "Lamb", "WarmupPolynomial"]
