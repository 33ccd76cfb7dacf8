"""Step `join`: concatenate or average embeddings of the same texts.

Rules with one forward pass for each prefix are joined from the passes, so that each pass is
computed and stored once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefixbank.artifacts.embeddings import Join
from prefixbank.artifacts.json_files import read_json, write_json
from prefixbank.runtime.unit import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

STEP = "join"
VERSION = 1  # 1: first


def unit(embeddings: Sequence[Entry], rule: Join, name: str) -> Unit:
    """Return the unit that joins embeddings, in this order. All have the same parts and rows.

    Args:
        embeddings: two or more embeddings artifacts.
        rule: `concat` [N, sum of F], or `mean` [N, F] of embeddings with the same F.
        name: what messages call it.
    """

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.join.make import join_part

        facts = read_json(embeddings[0], "embeddings.json")
        for fact in ("vectors", "blocks"):  # joined vectors are whole, and not quantised
            facts.pop(fact, None)
        for stem in facts["parts"]:
            join_part(out / f"{stem}.parquet", embeddings, stem, rule)
        write_json(out / "embeddings.json", facts)
        return {
            "bank": None,
            "encoder": embeddings[0].info["encoder"],
            "joined": [entry.info["name"] for entry in embeddings],
        }

    inputs = {"embeddings": [entry.digest for entry in embeddings]}
    return Unit(
        step=STEP,
        name=name,
        document=document(step="join", version=VERSION, config={"rule": rule}, inputs=inputs),
        make=make,
        cheap=True,
    )
