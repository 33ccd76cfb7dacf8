"""Markdown of the report on a transfer map beside its scores.

Similarity, speed, and how to read the numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

from prefixbank.reports.text import MARK, few_seeds, grid, interval, number
from prefixbank.reports.transfer_map.similarity import SOURCE_ALONE, ranking_row
from prefixbank.store.key import JSON

CONTROL = (
    f"`{SOURCE_ALONE['measure']}` of `{SOURCE_ALONE['reading']}` is a control: it ranks sources "
    "by how little training moved them from their start, whatever the target. A similarity that "
    "does no better may tell of sources alone."
)
SPEED = {"positive": "pairs that gain on test rows", "all": "all pairs"}


def listed(names: Iterable[object]) -> str:
    """Return `a, b, c`."""
    return ", ".join(map(str, names))


def correlations(table: JSON) -> list[str]:
    """Return the section on similarity and what transfer brings."""
    rows = [
        [
            row["measure"],
            row["reading"],
            f"{row['layer']}",
            _interval(row["pearson"]),
            _interval(row["spearman"]),
            _within(row["within"]),
        ]
        for row in table["correlations"]
    ]
    undefined = any("-" in row for row in rows)
    return [
        "## Does similarity tell which source helps",
        "",
        (
            "Similarity of task embeddings beside relative error reduction, both means over seeds: "
            "all pairs together, and the mean over targets of the correlation over sources, which "
            "is what choosing a source needs."
        ),
        "",
        *grid(["measure", "of", "layer", "Pearson", "Spearman", "Spearman within a target"], rows),
        "",
        *(
            [CONTROL, ""]
            if any(row["measure"] == SOURCE_ALONE["measure"] for row in table["correlations"])
            else []
        ),
        *(
            [
                (
                    "`-`: undefined, because similarity or error reduction does not differ, or of "
                    "too few pairs."
                ),
                "",
            ]
            if undefined
            else []
        ),
        *_shown(table),
        "",
    ]


def _shown(table: JSON) -> list[str]:
    """Say what the correlations of the similarity that ranks sources show."""
    row = ranking_row(table)
    found, within, looks = row["spearman"], row["within"], len(table["correlations"]) - 1
    said = f"- {table['ranked_by']} over all layers, {found['pairs']} pairs: "
    if found["low"] is None:
        said += "the rank correlation is undefined."
    elif found["low"] > 0:
        said += "the interval lies above zero: pairs that are more similar tended to gain more."
    elif found["high"] < 0:
        said += "the interval lies below zero: pairs that are more similar tended to gain less."
    else:
        said += "the interval holds zero: that similar pairs gain more is not shown."
    there = "is undefined on every target" if within["spearman"] is None else _direction(within)
    return [
        said,
        f"- Within a target, the rank correlation over sources {there}.",
        (
            f"- The other {looks} rows look at the same trainings in other ways. The best of them "
            "is the best in part by chance."
        ),
    ]


def _direction(within: JSON) -> str:
    signs = [value for value in within["by_target"]["spearman"].values() if value is not None]
    return (
        f"is above zero on {sum(value > 0 for value in signs)} of {len(signs)} targets; no "
        "interval is given"
    )


def _interval(found: JSON) -> str:
    if found["value"] is None:
        return "-"
    return (
        number(found["value"], signed=True)
        if found["low"] is None
        else interval(found, signed=True)
    )


def _within(found: JSON) -> str:
    return (
        "-"
        if found["spearman"] is None
        else f"{number(found['spearman'], signed=True)} ({found['targets']} targets)"
    )


def speed(table: JSON) -> list[str]:
    """Return the section on steps to where a cold start ends."""
    rows = [
        [
            said,
            f"{found['pairs']:,}",
            f"{found['never_pairs']:,}",
            f"{found['trainings']:,}",
            f"{found['never']:,}",
            f"{found['undefined']:,}",
            _median(found),
        ]
        for said, found in ((SPEED[name], table["speed"][name]) for name in SPEED)
    ]
    header = [
        "of",
        "pairs",
        "never, with any seed",
        "trainings",
        "never",
        "not comparable",
        "median ratio of steps",
    ]
    return [
        "## How soon a warm start is where a cold start ends",
        "",
        (
            "Steps to the final validation score of the cold start of the same seed, over the cold "
            "start's own first steps to that score. `never`: it does not get there, which the "
            "median counts as slower than any other. `not comparable`: the cold start was there "
            "before its first step."
        ),
        "",
        *grid(header, rows),
        "",
        (
            f"{_sooner(table['speed']['positive'])} The pairs that gain were picked by their "
            "result, so the row of all pairs is the fair one."
        ),
        "",
    ]


def _median(found: JSON) -> str:
    if found["median"] is not None:
        return f"{found['median']:.2f}"
    return "never" if found["never"] else "-"


def _sooner(found: JSON) -> str:
    if found["trainings"] == found["undefined"]:
        return "No training from a source that gains can be compared."
    if found["median"] is None:
        return (
            "Where transfer gains, about half of the trainings or more never score on validation "
            "what the cold start ends with."
        )
    speed = (
        "fewer steps than"
        if found["median"] < 1
        else "more steps than"
        if found["median"] > 1
        else "as many steps as"
    )
    return (
        f"Where transfer gains, the median training takes {speed} the cold start to its final "
        "validation score."
    )


def reading(table: JSON) -> list[str]:
    """Say what intervals and p-values cover."""
    seeds, regimes = len(table["seeds"]), table["regimes"]
    covered = (
        "test rows, the rows of each target apart and the same for all rows of a table, and "
        f"training seeds. {few_seeds(seeds)}"
        if seeds > 1
        else "test rows alone, the rows of each target apart and the same for all rows of a table. "
        "With one seed nothing is known of how seeds differ, and there are no other seeds to "
        "choose a source by: the table with held-out seeds is left out."
    )
    family = next(iter(regimes.values()))["family"]
    return [
        "## How to read the numbers",
        "",
        (
            f"- In brackets: 95 % percentile bootstrap intervals ({table['resamples']:,} "
            f"resamples), which redraw {covered} They do not redo the choice of sources, and do "
            "not cover the choice of train rows, of tasks or of the encoder."
        ),
        (
            "- best of top-k: similarity makes a list of k sources, validation chooses one of "
            "them, its test score is reported. best of random k: the same if the list were drawn "
            "at random, the exact mean over all lists."
        ),
        (
            "- error reduction: gain over the cold start as a share of the cold start's distance "
            "to 1, mean over targets."
        ),
        (
            "- share of oracle's gain: gain over the cold start, summed over targets, over that of "
            "the best of all by validation, its source chosen by the same seeds."
        ),
        (
            f"- p: two-sided, from the same resamples. Corrected after Holm over the {family} "
            f"tested differences of a table, each table apart. `{MARK}` marks p below "
            f"{table['level']:g} after correction; what has no mark is not told apart."
        ),
        "- Intervals of correlations come from drawing tasks, with all pairs of the drawn tasks.",
        "",
    ]
