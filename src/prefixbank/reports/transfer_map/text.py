"""The report on a transfer map as Markdown.

What was trained, what choosing a source is worth, and what each source brings.
"""

from __future__ import annotations

from collections.abc import Sequence

from prefixbank.reports.text import MEAN, grid, interval, number, with_p_value
from prefixbank.reports.transfer_map.retrieval import BOUND, COLD, ORACLE, random, top
from prefixbank.reports.transfer_map.sections import correlations, listed, reading, speed
from prefixbank.store.key import JSON

CHOOSING = {
    "held-out seeds": (
        "For each seed the source is chosen by similarity and validation scores averaged over the "
        "other seeds, and its training with the seed itself is scored: no training is chosen "
        "because its seed was lucky."
    ),
    "same seed": (
        "Chosen and scored in the same seed, as one does who trains once: a training whose seed "
        "suits the target can be chosen."
    ),
}


def markdown(table: JSON, charts: Sequence[tuple[str, str]]) -> str:
    """Return the report as Markdown.

    Args:
        table: what `tabulate` returned.
        charts: name of each chart's file and what it shows. They stand at the end, so that a
            terminal can show what is before.
    """
    lines = [f"# Transfer map {table['experiment']}", "", *_about(table)]
    for regime in table["regimes"]:
        lines += _retrieval(table, regime)
    lines += [
        *_targets(table),
        *_gains(table),
        *correlations(table),
        *speed(table),
        *reading(table),
    ]
    for name, shown in charts:
        lines += [f"![{shown}]({name})", ""]
    return "\n".join(lines)


def _about(table: JSON) -> list[str]:
    metrics = listed(
        f"{target} {facts['metric']}" for target, facts in table["target_facts"].items()
    )
    facts = [
        (
            f"Encoder {table['encoder']}. Sources: {listed(table['compared_sources'])}. Targets: "
            f"{listed(table['targets'])}. Training seeds: {listed(table['seeds'])}."
        ),
        "",
        *(f"- {line}" for line in table["protocol"]),
        (
            f"- Scores are on test rows and on the metric's own scale, 1 is perfect ({metrics}); "
            "correlations and Matthews may be negative."
        ),
        (
            f"- Sources are ranked by the similarity of task embeddings, {table['ranked_by']} over "
            "all layers: the source's training beside the target's cold start, seed by seed."
        ),
    ]
    short = {
        k: [target for target, about in table["target_facts"].items() if about["sources"] < k]
        for k in table["ks"]
    }
    facts += [
        f"- A short list of {k} holds every source of {listed(targets)}, which has no more."
        for k, targets in short.items()
        if targets
    ]
    facts += [
        f"- {name}: seeds {listed(seeds)} only, and compared with the cold start of the same: not "
        "the same trainings as in other "
        f"rows{', and its intervals cover test rows alone' if len(seeds) == 1 else ''}."
        for name, seeds in table["combined"].items()
        if len(seeds) < len(table["seeds"])
    ]
    return [*facts, ""]


def _retrieval(table: JSON, regime: str) -> list[str]:
    found = table["regimes"][regime]
    headline = regime == table["headline"]
    against = {top(k): found["against_random"][str(k)] for k in table["ks"]}
    rows = [
        [
            _called(table, name),
            interval(row),
            _minus_cold(name, row),
            with_p_value(against[name]) if name in against else "-",
            _percent(row["error_reduction"]),
            _percent(row["share_of_oracle_gain"], digits=0),
        ]
        for name, row in found["rows"].items()
    ]
    header = [
        "source",
        "mean score",
        "minus cold start",
        "minus random, same k",
        "error reduction",
        "share of oracle's gain",
    ]
    title = f"Choosing a source: {regime}" + (
        " (the table to believe)" if headline and len(table["regimes"]) > 1 else ""
    )
    return [
        f"## {title}",
        "",
        CHOOSING[regime],
        "",
        *grid(header, rows),
        "",
        *_notes(table, found),
        *_conclusions(table, found),
        "",
    ]


def _called(table: JSON, name: str) -> str:
    """Return a row's name, with what sets it apart from the others."""
    seeds = table["combined"].get(name, table["seeds"])
    if name == BOUND or len(seeds) < len(table["seeds"]):
        return f"{name} ({'upper bound' if name == BOUND else f'seeds {listed(seeds)}'})"
    return name


def _notes(table: JSON, found: JSON) -> list[str]:
    """Say what stands for a number that is not there."""
    notes = []
    if any(row["share_of_oracle_gain"] is None for row in found["rows"].values()):
        notes.append(
            "No share of the oracle's gain where, over the row's seeds, the best of all by "
            "validation gains nothing itself."
        )
    counts = {row["error_reduction_targets"] for row in found["rows"].values()}
    if min(counts) < len(table["targets"]):
        notes.append(
            f"Error reduction is the mean over {min(counts)} of {len(table['targets'])} targets: "
            "the others' cold start makes no errors."
        )
    return [*notes, ""] if notes else []


def _conclusions(table: JSON, found: JSON) -> list[str]:
    """Say of each row what it shows."""
    lines = []
    for k in table["ks"]:
        minus_random = found["against_random"][str(k)]
        adds = {
            1: "similarity adds to",
            -1: "similarity takes from",
            0: "it is not shown that similarity adds to",
        }[_sign(minus_random)]
        arbitrary = (
            "a training from an arbitrary source brings"
            if k == 1
            else f"validation finds among {k} arbitrary sources"
        )
        lines.append(
            f"- {top(k)} {_than_cold(found['rows'][top(k)])} and "
            f"{_versus(minus_random, random(k))}: {adds} what {arbitrary}."
        )
    lines += [
        f"- {name} {_than_cold(found['rows'][name])}; it is one training for each target and seed."
        for name in table["combined"]
    ]
    lines.append(
        f"- {ORACLE} {_than_cold(found['rows'][ORACLE])}; it takes a training from every source, "
        "and shares of gain are shares of its gain."
    )
    lines.append(
        f"- {BOUND} looks at the test rows that it is scored on: no choice of one source scores "
        "higher, none can be expected to."
    )
    return lines


def _than_cold(row: JSON) -> str:
    return _versus(row["minus_cold"], f"a {COLD}")


def _versus(found: JSON, other: str) -> str:
    return {
        1: f"scores higher than {other}",
        -1: f"scores lower than {other}",
        0: f"is not told apart from {other}",
    }[_sign(found)]


def _sign(found: JSON) -> int:
    """Return 1 or -1 for a difference that is significant, else 0."""
    return 0 if not found["significant"] else 1 if found["value"] > 0 else -1


def _minus_cold(name: str, row: JSON) -> str:
    if name == COLD:
        return "-"
    return (
        f"{interval(row['minus_cold'], signed=True)} not tested"
        if name == BOUND
        else with_p_value(row["minus_cold"])
    )


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value + 0.0:.{digits}f} %"


def _targets(table: JSON) -> list[str]:
    """Return the section with a row for each target, in the regime to believe."""
    found = table["regimes"][table["headline"]]["targets"]
    names = [COLD, *(name for k in table["ks"] for name in (top(k), random(k))), ORACLE]
    rows = [
        [
            target,
            facts["metric"],
            f"{facts['test_rows']:,}",
            *(interval(found[target][name]) for name in names),
        ]
        for target, facts in table["target_facts"].items()
    ]
    highest = sum(
        all(of[COLD]["value"] >= of[name]["value"] for name in names) for of in found.values()
    )
    return [
        f"## Each target: {table['headline']}",
        "",
        *grid(["target", "metric", "test rows", *names], rows),
        "",
        (
            f"The cold start has the highest mean on {highest} of {len(rows)} targets. Differences "
            "on single targets are not tested."
        ),
        "",
    ]


def _gains(table: JSON) -> list[str]:
    """Return the section on what each source brings to each target."""
    gains = table["gains"]
    cells = {
        (source, target): gains[source][target]
        for source in gains
        for target in table["targets"]
        if gains[source][target] is not None
    }
    rows = [
        [source, *(_signed(gains[source][target]) for target in (*table["targets"], MEAN))]
        for source in gains
    ]
    (best, most), (worst, least) = (
        pick(cells.items(), key=lambda item: item[1]) for pick in (max, min)
    )
    missing = len(gains) * len(table["targets"]) - len(cells)
    return [
        "## Gains from each source",
        "",
        (
            "Test score of training from the source's prefix minus that of a cold start, mean over "
            "seeds."
        ),
        "",
        *grid(["source", *table["targets"], MEAN], rows),
        "",
        *(
            [
                (
                    f"`-`: not trained ({missing} of {len(cells) + missing} pairs); means are over "
                    "the others."
                ),
                "",
            ]
            if missing
            else []
        ),
        (
            f"{sum(value > 0 for value in cells.values())} of {len(cells)} pairs gain. The most: "
            f"{number(most, signed=True)} from {best[0]} to {best[1]}; the least: "
            f"{number(least, signed=True)} from {worst[0]} to {worst[1]}. Single pairs are not "
            "tested: the extremes of so many are extreme in part by chance."
        ),
        "",
    ]


def _signed(value: float | None) -> str:
    return "-" if value is None else number(value, signed=True)
