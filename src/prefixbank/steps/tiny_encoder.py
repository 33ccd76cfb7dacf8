"""Step `tiny-encoder`: the random two-layer encoder of smoke runs."""

from __future__ import annotations

from pathlib import Path

from prefixbank.steps.units import Unit
from prefixbank.store.key import JSON, document

VERSION = 1  # 1: first
CODE = (
    "data.starter",
    "data.starter_phrases.answer",
    "data.starter_phrases.complaint",
    "data.starter_phrases.emotion",
    "data.starter_phrases.entailment",
    "data.starter_phrases.grammar",
    "data.starter_phrases.paraphrase",
    "data.starter_phrases.polarity",
    "data.starter_phrases.question_type",
    "data.starter_phrases.similarity",
    "data.starter_phrases.topic",
    "data.tasks",
    "data.tiny",
)


def unit() -> Unit:
    """Return the unit; nothing but the code determines it."""

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.data.tiny import write_tiny_encoder

        write_tiny_encoder(out)
        return {}

    return Unit(
        step="tiny-encoder",
        name="tiny",
        document=document(step="tiny_encoder", version=VERSION, config={}, inputs={}),
        make=make,
        here=True,
    )
