"""Step `tiny-encoder`: the random two-layer encoder of smoke runs."""

from __future__ import annotations

from pathlib import Path

from prefixbank.data.encoders.tiny_vocabulary import vocabulary_digest
from prefixbank.runtime.unit import Unit
from prefixbank.store.key import JSON, document

VERSION = 1  # 1: first


def unit() -> Unit:
    """Return the unit; its key follows the vocabulary, which comes from the starter suite."""

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.data.encoders.tiny import write_tiny_encoder

        write_tiny_encoder(out)
        return {}

    return Unit(
        step="tiny-encoder",
        name="tiny",
        document=document(
            step="tiny_encoder",
            version=VERSION,
            config={},
            inputs={"vocabulary": vocabulary_digest()},
        ),
        make=make,
        cheap=True,
    )
