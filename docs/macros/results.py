"""Tables of the studies whose results are kept as JSON."""

from __future__ import annotations

from typing import Any

from docs.macros.tables import difference, interval, read, table

LAST, FOUR = "docs/results/transfer/report.json", "docs/results/transfer-layers/report.json"
STARTER = "docs/results/starter.json"
HEADLINE = {
    "plain encoder": "plain encoder",
    "multi-task encoder": "multi-task encoder",
    "bank": "bank of eight prefixes",
    "plain + bank": "plain encoder and bank",
    "random prefixes": "random prefixes (control)",
    "fine-tuned on target": "fine-tuned on the target (one seed)",
}
"""Rows of the headline table: names in the report, and what a reader is told."""


def headline() -> str:
    """Return the one table of the README: the study on real tasks, read in two ways."""
    last, four = read(LAST), read(FOUR)
    rows = [
        [
            shown,
            "1 for each target" if name.startswith("fine-tuned") else _passes(last, name),
            interval(last["rows"]["mean"]["columns"][name]),
            interval(four["rows"]["mean"]["columns"][name]) if name in four["columns"] else "",
        ]
        for name, shown in HEADLINE.items()
    ]
    return table(["representation", "passes", "last layer", "last four layers"], rows)


def _passes(report: Any, name: str) -> str:
    return str(report["column_facts"][name]["passes"])


def starter_scores() -> str:
    """Return the scores of the starter suite, target by target."""
    found = read(STARTER)
    columns, others = found["columns"], found["columns"][1:]
    head = ["target", "metric", *columns, *(f"{name} - {found['baseline']}" for name in others)]
    rows = [
        [
            name,
            row.get("metric", ""),
            *(interval(row["columns"][column]) for column in columns),
            *(difference(row["differences"][found["baseline"]][column]) for column in others),
        ]
        for name in (*found["targets"], "mean")
        for row in [found["rows"][name]]
    ]
    return table(head, rows)


def starter_seeds() -> str:
    """Return the mean over targets of each training seed of the starter suite."""
    found = read(STARTER)
    head = ["representation", *(f"seed {seed}" for seed in found["seeds"])]
    rows = []
    for column in found["columns"]:
        scores = [f"{score:.3f}" for score in found["rows"]["mean"]["columns"][column]["scores"]]
        rows.append([column, *(scores * len(found["seeds"]))[: len(found["seeds"])]])
    return table(head, rows)


def own_heads(path: str) -> str:
    """Return what each source's own head scores on its prefix alone, in the bank, without either.

    Args:
        path: what `benchmarks/combination.py` wrote, from the repository's root.
    """
    (found,) = read(path)
    kinds = ("alone", "bank", "plain")
    rows = [
        [name, source["metric"], *(f"{source[kind]:.3f}" for kind in kinds)]
        for name, source in found["sources"].items()
    ]
    mean = ["mean", "", *(f"{found['mean'][kind]:.3f}" for kind in kinds)]
    head = ["source", "metric", "its prefix alone", "in the bank", "plain encoder"]
    return table(head, [*rows, mean])


def own_tasks(path: str) -> str:
    """Return the test score of each source in each way, their means, and the share kept.

    Args:
        path: what `benchmarks/own_tasks.py` wrote, from the repository's root.
    """
    found = read(path)
    rows = [
        [
            way,
            *(f"{scores[way]['value']:.3f}" for scores in found["sources"].values()),
            interval(mean),
            interval(kept) if (kept := found["kept_share"].get(way)) else "",
        ]
        for way, mean in found["mean"].items()
    ]
    return table(["test scores", *found["sources"], "mean", "kept share"], rows)


def own_validation(path: str, key: str = "validation") -> str:
    """Return the best validation score of each source's own head, by kind of prefix.

    Args:
        path: scores by kind of prefix and task, from the repository's root.
        key: which of its tables.
    """
    found = read(path)[key]
    tasks = list(next(iter(found.values())))
    rows = [
        [
            kind,
            *(f"{scores[task]:.3f}" for task in tasks),
            f"{sum(scores.values()) / len(scores):.3f}",
        ]
        for kind, scores in found.items()
    ]
    return table(["own head, alone", *tasks, "mean"], rows)
