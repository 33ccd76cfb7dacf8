"""Markdown of a report beside its scores: what each source brings, what a change costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefixbank.steps.report_update import COSTS
from prefixbank.store.key import JSON

MEAN = "mean"
MARK = "*"


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return ["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *("| " + " | ".join(row) + " |" for row in rows)]


def number(value: float, *, signed: bool = False) -> str:
    """Return three decimals, with a sign for a difference; what rounds to zero is never negative."""
    rounded = round(value, 3) + 0.0
    return f"{rounded:+.3f}" if signed else f"{rounded:.3f}"


def interval(value: JSON, *, signed: bool = False) -> str:
    """Return `0.812 [0.790, 0.833]`, with signs for a difference."""
    middle, low, high = (number(value[name], signed=signed) for name in ("value", "low", "high"))
    return f"{middle} [{low}, {high}]"


def with_p_value(found: JSON) -> str:
    """Return `+0.012 [+0.001, +0.023] p 0.031 *`, the p-value corrected."""
    p_value = "p <0.001" if found["p_holm"] < 0.0005 else f"p {found['p_holm']:.3f}"
    return f"{interval(found, signed=True)} {p_value}{f' {MARK}' if found['significant'] else ''}"


def few_seeds(count: int) -> str:
    """Say what a small number of seeds, at least two, does to intervals."""
    share = (1 - 1 / count) ** 0.5
    return f"With {count} seeds the part of seeds is coarse and too narrow (about {share:.2f} times what it should be)."


def title_of(table: JSON, column: str) -> str:
    """Return how a column is shown."""
    return str(table["column_facts"][column]["title"])


def transfer(table: JSON) -> list[str]:
    """Return the section on banks of a single prefix."""
    singles = table["singles"]
    if not singles["sources"]:
        return []
    compared = title_of(table, singles["compared_with"])
    rows = [
        [source, *(_change(singles["rows"][source][target]) for target in table["targets"]), _mean_change(singles["rows"][source][MEAN])]
        for source in singles["sources"]
    ]
    return [
        "## Transfer of single prefixes",
        "",
        f"Score of a bank of one prefix minus {compared}, mean over {_seeds(singles)}. "
        "In brackets the interval of the mean over targets; not tested.",
        "",
        *grid(["source", *table["targets"], MEAN], rows),
        "",
    ]


def left_out(table: JSON) -> list[str]:
    """Return the section on banks that lack one source."""
    without = table["without"]
    if not without["sources"]:
        return []
    rows = [
        [
            source,
            _mean_change(without["rows"][source][MEAN], sign=-1),
            *(_change(without["rows"][source][target], sign=-1) for target in table["targets"]),
        ]
        for source in without["sources"]
    ]
    return [
        "## What is lost without one source",
        "",
        f"Score of {title_of(table, without['bank'])} minus that of the same bank without one source, mean over {_seeds(without)}: "
        "positive where the source helped. In brackets the interval of the mean over targets; not tested.",
        "",
        *grid(["left out", MEAN, *table["targets"]], rows),
        "",
    ]


def _seeds(sources: JSON) -> str:
    """Return how many seeds a section's differences are means over, `3 seeds`."""
    counts = sorted({len(row[MEAN]["difference"]["seeds"]) for row in sources["rows"].values() if row[MEAN]["difference"]})
    return f"{' or '.join(map(str, counts))} {'seed' if counts == [1] else 'seeds'}"


def _change(of_target: JSON, sign: int = 1) -> str:
    found = of_target["difference"]
    return number(sign * found["value"], signed=True) if found else "-"


def _mean_change(of_mean: JSON, sign: int = 1) -> str:
    found = of_mean["difference"]
    if not found:
        return "-"
    ends = sorted(sign * found[end] for end in ("low", "high"))
    return interval({"value": sign * found["value"], "low": ends[0], "high": ends[1]}, signed=True)


def update(table: JSON) -> list[str]:
    """Return the section on what a change of the sources costs."""
    rows = table["update"]
    if not rows:
        return []
    said = {True: "yes", False: "no", None: "-"}
    cells = [
        [
            row["change"],
            row["method"],
            str(row["units"]),
            *(_amount(row.get(cost)) for cost in COSTS),
            said[row.get("others_unchanged")],
        ]
        for row in rows
    ]
    ratios = [[row["change"], *(_ratio(row[cost]) for cost in COSTS)] for row in table["update_ratios"]]
    lines = [
        "## What a change of the sources costs",
        "",
        "Units that ran, examples that training processed (a row counts once in each epoch), floating-point operations of training, "
        "wall time in seconds, and whether the artifacts of all other sources kept their digests.",
        "",
        *grid(["change", "method", "units", *COSTS, "others unchanged"], cells),
        "",
    ]
    if ratios:
        lines += ["Prefixes as a share of multi-task training:", "", *grid(["change", *COSTS], ratios), ""]
    return lines


def _amount(value: Any) -> str:
    """Return a count with thousands marked, a large or broken number with three digits."""
    if value is None:
        return "-"
    if isinstance(value, int) and value < 1e9:
        return f"{value:,}"
    return f"{value:.1f}" if 0.1 <= abs(value) < 1e5 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
