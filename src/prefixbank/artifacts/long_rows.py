"""How many rows have texts that are longer than the encoder reads at once: facts, and in words."""

from __future__ import annotations

from collections.abc import Sequence

from prefixbank.choices import LongTexts
from prefixbank.store.key import JSON

NAMES = ("truncated_share", "windowed_rows")
"""The facts; the second one is there only with `long=windows`."""


def long_facts(long: LongTexts, count: int, rows: int) -> JSON:
    """Return the facts about `count` rows with long texts, of N = `rows`."""
    if long == "windows":
        return {"truncated_share": 0.0, "windowed_rows": count}
    return {"truncated_share": count / rows}


def facts_in(facts: JSON) -> JSON:
    """Return those among the facts about vectors or predictions."""
    return {name: facts[name] for name in NAMES if name in facts}


def summed_facts(parts: Sequence[JSON]) -> JSON:
    """Return the facts of all parts together, which have different numbers of `rows`."""
    rows = sum(facts["rows"] for facts in parts)
    truncated = sum(facts["truncated_share"] * facts["rows"] for facts in parts)
    summed: JSON = {"truncated_share": truncated / rows}
    if "windowed_rows" in parts[0]:
        summed["windowed_rows"] = sum(facts["windowed_rows"] for facts in parts)
    return summed


def truncated_rows(facts: JSON) -> int:
    """Return the number of truncated rows."""
    share: float = facts["truncated_share"]
    rows: int = facts["rows"]
    return round(share * rows)


def counts_in(facts: JSON) -> JSON:
    """Return what a result says: the facts, and the number of truncated rows."""
    return {"truncated_rows": truncated_rows(facts), **facts_in(facts)}


def describe_long(facts: JSON) -> str:
    """Return the facts as text; empty if no row is too long."""
    if truncated := truncated_rows(facts):
        return f", {facts['truncated_share']:.1%} of rows truncated ({truncated})"
    windowed = facts.get("windowed_rows", 0)
    return f", {windowed / facts['rows']:.1%} of rows in windows ({windowed})" if windowed else ""
