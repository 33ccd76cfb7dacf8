"""What embeddings and predictions say of their rows: too long, or without text."""

from __future__ import annotations

from collections.abc import Sequence

from prefixbank.choices import LongTexts
from prefixbank.store.key import JSON

WINDOWED, EMPTY = "windowed_rows", "empty_rows"
"""Facts that are there only with `long=windows`, and only if there are zero vectors."""


def long_facts(long: LongTexts, count: int, rows: int) -> JSON:
    """Return the facts about `count` rows with long texts, of N = `rows`."""
    if long == "windows":
        return {"truncated_share": 0.0, WINDOWED: count}
    return {"truncated_share": count / rows}


def row_facts_in(facts: JSON) -> JSON:
    """Return the facts about rows among all facts."""
    return {name: facts[name] for name in ("truncated_share", WINDOWED, EMPTY) if name in facts}


def summed_row_facts(parts: Sequence[JSON]) -> JSON:
    """Return the facts of all parts together, which have different numbers of `rows`."""
    rows = sum(facts["rows"] for facts in parts)
    truncated = sum(facts["truncated_share"] * facts["rows"] for facts in parts)
    summed: JSON = {"truncated_share": truncated / rows}
    for name in (WINDOWED, EMPTY):
        if any(name in facts for facts in parts):
            summed[name] = sum(facts.get(name, 0) for facts in parts)
    return summed


def row_counts_in(facts: JSON) -> JSON:
    """Return what a result says: these facts, and the number of truncated rows."""
    return {"truncated_rows": _truncated(facts), **row_facts_in(facts)}


def describe_rows(facts: JSON) -> str:
    """Return the facts as text; empty if all rows have texts that fit."""
    counts = {
        "truncated": _truncated(facts),
        "in windows": facts.get(WINDOWED, 0),
        "without text": facts.get(EMPTY, 0),
    }
    return "".join(
        f", {count / facts['rows']:.1%} of rows {what} ({count})"
        for what, count in counts.items()
        if count
    )


def _truncated(facts: JSON) -> int:
    """Return the number of truncated rows, of which facts hold the share."""
    share: float = facts["truncated_share"]
    rows: int = facts["rows"]
    return round(share * rows)
