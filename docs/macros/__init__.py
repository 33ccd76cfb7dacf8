"""What pages can call: tables from result files, and references made from the code.

Every number of a page that a result file holds is written by one of these, so that sentences can
be rewritten freely and no number can go stale.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from docs.macros import reference, results, scaling, speed, tables  # noqa: E402


def define_env(env: Any) -> None:
    """Register the macros and filters with mkdocs-macros.

    Args:
        env: the plugin.
    """
    for macro in (
        tables.read,
        tables.table,
        tables.report_table,
        tables.cell,
        tables.value,
        results.headline,
        results.starter_scores,
        results.starter_seeds,
        results.own_heads,
        results.own_tasks,
        results.own_validation,
        reference.command_line,
        reference.settings,
        reference.choices,
        reference.exit_codes,
        reference.python_api,
        reference.top_level,
        *speed.MACROS,
        *scaling.MACROS,
    ):
        env.macro(macro)
    env.filter(rounded)
    env.filter(signed)
    env.filter(count)
    env.filter(median)


def rounded(number: float, digits: int = 3) -> str:
    """Return a number with so many digits after the point."""
    return f"{number:.{digits}f}"


def signed(number: float, digits: int = 3) -> str:
    """Return a difference, with its sign."""
    return f"{number:+.{digits}f}"


def count(number: float) -> str:
    """Return a large number with commas."""
    return f"{number:,.0f}"
