"""`train`: run a recipe."""

from __future__ import annotations

from bertzoo.cli import RUN_AGAIN
from bertzoo.cli.output import answer, remark, table


def train(options) -> int | None:
    """`bertzoo train`: do what a recipe says, or print what it would do."""
    from bertzoo.training import run_recipe
    from bertzoo.training.stopping import Stopped

    try:
        result = run_recipe(
            options.recipe,
            options.set,
            smoke=options.smoke,
            dry_run=options.dry_run,
            resume=options.resume,
            force=options.force,
        )
    except Stopped as stopped:
        remark(f"bertzoo train: {stopped}")
        return RUN_AGAIN
    rows = [[name.replace("_", " "), _spell(value)] for name, value in result.items()]
    answer(options, table(rows) if rows else "", result)
    return None


def _spell(value) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
