"""Step `join`: concatenate or average embeddings of the same texts.

Rules with one forward pass for each prefix are joined from the passes, so that each pass is
computed and stored once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefixbank.artifacts.embeddings import FACTS, Join
from prefixbank.artifacts.json_files import write_json
from prefixbank.runtime.unit import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document
from prefixbank.store.reasons import named

STEP = "join"
VERSION = 2  # 1: first; 2: embeddings.json lists the segments of a vector


def unit(embeddings: Sequence[Entry], rule: Join, name: str) -> Unit:
    """Return the unit that joins embeddings, in this order. All have the same parts and rows.

    Args:
        embeddings: two or more embeddings artifacts.
        rule: `concat` [N, sum of F], or `mean` [N, F] of embeddings with the same F.
        name: what messages call it.
    """

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.join.make import join_facts, join_part

        facts = join_facts(embeddings, rule)
        for stem in facts["parts"]:
            join_part(out / f"{stem}.parquet", embeddings, stem, rule)
        write_json(out / FACTS, facts)
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
        words={"embeddings": named("embeddings", embeddings)},
    )
