"""A report as Markdown.

What was compared, tables of scores and differences, and how to read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefixbank.reports.table import COSTS
from prefixbank.store.key import JSON


def markdown(table: JSON, charts: Sequence[tuple[str, str]]) -> str:
    """Return the report as Markdown.

    Args:
        table: what `tabulate` returned.
        charts: name of each chart's file and what it shows. They stand at the end, so that a
            terminal can show what is before.
    """
    lines = [f"# Experiment {table['experiment']}", "", *_about(table)]
    if table["targets"]:
        lines += [*_means(table), *_scores(table), *_differences(table), *_reading(table)]
    lines += [*transfer(table), *left_out(table), *update(table)]
    for name, shown in charts:
        lines += [f"![{shown}]({name})", ""]
    return "\n".join(lines)


def _about(table: JSON) -> list[str]:
    unseen = "; no source is a target" if table["targets"] else ""
    seeds = ", ".join(str(seed) for seed in table["seeds"])
    first = (
        f"Encoder {table['encoder']}. Sources: {', '.join(table['sources'])}{unseen}. Training "
        f"seeds: {seeds}."
    )
    return [
        first,
        "",
        *(f"- {line}" for line in table["protocol"]),
        *([""] if table["protocol"] else []),
    ]


def _means(table: JSON) -> list[str]:
    """Return the table that matters most.

    Each representation's mean over targets, and its differences to the baselines.
    """
    columns, row = table["columns"], table["rows"][MEAN]
    header = [
        "representation",
        "passes",
        "seeds",
        "mean score",
        *(f"minus {title_of(table, name)}" for name in table["baselines"]),
    ]
    rows = [
        [
            title_of(table, column),
            str(table["column_facts"][column]["passes"]),
            _seed_count(row["columns"][column]),
            interval(row["columns"][column]),
            *(_difference(row, baseline, column) for baseline in table["baselines"]),
        ]
        for column in columns
    ]
    notes = [
        f"- {title_of(table, name)}: {table['column_facts'][name]['note']}"
        for name in columns
        if table["column_facts"][name]["note"]
    ]
    lines = ["## Mean over targets", "", *grid(header, rows), ""]
    lines += [
        (
            "`passes`: forward passes that one text costs. `seeds`: trainings behind the row; none "
            "where nothing is trained."
        ),
        "",
    ]
    return [*lines, *notes, *([""] if notes else [])]


def _scores(table: JSON) -> list[str]:
    columns = table["columns"]
    header = [
        "target",
        "metric",
        "train rows",
        "test rows",
        *(title_of(table, column) for column in columns),
    ]
    rows = []
    for name in (*table["targets"], MEAN):
        row = table["rows"][name]
        sizes = [str(row.get(size, "")) for size in ("train_rows", "test_rows")]
        rows.append(
            [
                name,
                row.get("metric", ""),
                *sizes,
                *(interval(row["columns"][column]) for column in columns),
            ]
        )
    cells = table["rows"][MEAN]["columns"]
    lines = [
        "## Scores on each target",
        "",
        *grid(header, rows),
        "",
        "Mean over targets of each seed:",
        "",
    ]
    return [
        *lines,
        *(f"- {title_of(table, column)}: {_by_seed(cells[column])}" for column in columns),
        "",
    ]


def _by_seed(cell: JSON) -> str:
    """Return `0.712 (seed 0), 0.704 (seed 1)`."""
    if not cell["seeds"]:
        return f"{cell['scores'][0]:.3f} (no seed)"
    return ", ".join(
        f"{score:.3f} (seed {seed})"
        for score, seed in zip(cell["scores"], cell["seeds"], strict=True)
    )


def _seed_count(cell: JSON) -> str:
    return str(len(cell["seeds"])) if cell["seeds"] else "none"


def _differences(table: JSON) -> list[str]:
    """Return one table for each baseline that is compared with anything: targets by columns."""
    lines: list[str] = []
    for baseline in table["baselines"]:
        columns = [
            column
            for column in table["columns"]
            if column in table["rows"][MEAN]["differences"].get(baseline, {})
        ]
        if columns:
            rows = [
                [name, *(_difference(table["rows"][name], baseline, column) for column in columns)]
                for name in (*table["targets"], MEAN)
            ]
            header = ["target", *(title_of(table, column) for column in columns)]
            lines += [f"## Differences to {title_of(table, baseline)}", "", *grid(header, rows), ""]
    return lines


def _difference(row: JSON, baseline: str, column: str) -> str:
    found = row["differences"].get(baseline, {}).get(column)
    return "-" if found is None else with_p_value(found)


def _reading(table: JSON) -> list[str]:
    """Say what intervals and p-values cover."""
    bootstrap_samples, families, level = (
        table["bootstrap_samples"],
        table["families"],
        table["level"],
    )
    return [
        "## How to read the numbers",
        "",
        f"- Scores: {_protocol(table)}; mean over training seeds.{_draws(table)}",
        (
            f"- In brackets: 95 % percentile bootstrap intervals ({bootstrap_samples:,} "
            "resamples). Each resample draws test rows with replacement, the same rows for every "
            "representation and seed, the rows of each target apart; and it draws the seeds with "
            "replacement, the same seeds for every representation that has them."
        ),
        (
            "- So the intervals cover the choice of test rows and of training seeds. "
            f"{_coarse(table)} They do not cover the choice of train rows, of targets or of the "
            "encoder."
        ),
        (
            "- A difference is between scores on the same test rows, over the seeds that both "
            "representations have; what is not trained goes with every seed."
        ),
        (
            "- p: two-sided, from the same resamples (twice the smaller share of differences on "
            f"one side of zero; at least {2 / (bootstrap_samples + 1):.2g} before correction). "
            f"Corrected after Holm in two families: {families['mean']} differences of means over "
            f"targets, and {families['targets']} on single targets. Between two baselines there is "
            "one difference, not two."
        ),
        f"- `{MARK}` marks p below {level:g} after correction.",
        "",
    ]


def _protocol(table: JSON) -> str:
    """Say which rows are scored by a probe fitted on which."""
    said = {}
    for row in (table["rows"][target] for target in table["targets"]):
        if row["outer_folds"]:
            said[
                f"every row of a target by a probe fitted on the other {row['outer_folds'] - 1} "
                f"of {row['outer_folds']} folds"
            ] = True
        else:
            said[f"{row['split']} rows by a probe fitted on train rows"] = True
    return "; ".join(said)


def _draws(table: JSON) -> str:
    draws = max(table["rows"][target]["draws"] for target in table["targets"])
    return (
        f" Each is the mean of {draws} few-shot draws, which the intervals do not redraw."
        if draws > 1
        else ""
    )


def _coarse(table: JSON) -> str:
    """Say what the number of seeds does to the intervals."""
    counts = sorted(
        {len(cell["seeds"]) for cell in table["rows"][MEAN]["columns"].values() if cell["seeds"]}
    )
    if counts[-1:] in ([], [1]):
        return "Here every representation has one seed or none: they cover test rows only."
    few = few_seeds(counts[-1])
    return f"{few} Representations with one seed have no such part." if counts[0] == 1 else few


MEAN = "mean"
MARK = "*"


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def number(value: float, *, signed: bool = False) -> str:
    """Return three decimals, with a sign for a difference.

    What rounds to zero is never negative.
    """
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
    return (
        f"With {count} seeds the part of seeds is coarse and too narrow (about {share:.2f} times "
        "what it should be)."
    )


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
        [
            source,
            *(_change(singles["rows"][source][target]) for target in table["targets"]),
            _mean_change(singles["rows"][source][MEAN]),
        ]
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
        (
            f"Score of {title_of(table, without['bank'])} minus that of the same bank without one "
            f"source, mean over {_seeds(without)}: positive where the source helped. In brackets "
            "the interval of the mean over targets; not tested."
        ),
        "",
        *grid(["left out", MEAN, *table["targets"]], rows),
        "",
    ]


def _seeds(sources: JSON) -> str:
    """Return how many seeds a section's differences are means over, `3 seeds`."""
    counts = sorted(
        {
            len(row[MEAN]["difference"]["seeds"])
            for row in sources["rows"].values()
            if row[MEAN]["difference"]
        }
    )
    return f"{' or '.join(map(str, counts))} {'seed' if counts == [1] else 'seeds'}"


def _change(by_target: JSON, sign: int = 1) -> str:
    found = by_target["difference"]
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
    ratios = [
        [row["change"], *(_ratio(row[cost]) for cost in COSTS)] for row in table["update_ratios"]
    ]
    lines = [
        "## What a change of the sources costs",
        "",
        (
            "Units that ran, examples that training processed (a row counts once in each epoch), "
            "floating-point operations of training, wall time in seconds, and whether the "
            "artifacts of all other sources kept their digests."
        ),
        "",
        *grid(["change", "method", "units", *COSTS, "others unchanged"], cells),
        "",
    ]
    if ratios:
        lines += [
            "Prefixes as a share of multi-task training:",
            "",
            *grid(["change", *COSTS], ratios),
            "",
        ]
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
