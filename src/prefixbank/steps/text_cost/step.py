"""Step `text-cost`: the operations by which one text becomes a vector, and the vector's size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefixbank.config.schema import StoredVectors, effective, key_config
from prefixbank.runtime.session import Session
from prefixbank.runtime.unit import Unit
from prefixbank.steps.text_cost.passes import Pass
from prefixbank.store.key import JSON, document
from prefixbank.store.reasons import named

STEP = "text-cost"
VERSION = 2  # 1: first; 2: bytes of transformed blocks


def unit(
    session: Session, passes: Sequence[Pass], tokens: int, stored: StoredVectors, name: str
) -> Unit:
    """Return the unit that counts.

    Args:
        session: loads the encoders.
        passes: of which the vectors lie side by side.
        tokens: of the text.
        stored: how vectors are stored.
        name: what messages call it.
    """

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.artifacts.json_files import write_json
        from prefixbank.steps.text_cost.make import cost_of

        write_json(out / "cost.json", cost_of(session, passes, tokens, stored))
        return {}

    size = {"vectors": stored.vectors, "transform_size": effective(stored).transform_size}
    poolings = [None if one.bank else key_config(one.pooling) for one in passes]
    key_document = document(
        step="text_cost",
        version=VERSION,
        config={"tokens": tokens, "pooling": poolings, **size},
        inputs={
            "banks": [None if one.bank is None else one.bank.digest for one in passes],
            "encoders": [one.files.digest for one in passes],
        },
    )
    return Unit(
        step=STEP,
        name=name,
        document=key_document,
        make=make,
        words={
            "banks": named("bank", [one.bank for one in passes if one.bank]),
            "encoders": [word for one in passes for word in one.files.words],
        },
    )
