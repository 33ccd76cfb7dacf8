"""Step `predict`: what heads say of each text of a corpus, as Parquet, CSV or JSONL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.predictions import FACTS, STEP
from prefixbank.artifacts.row_facts import describe_rows
from prefixbank.config.schema import PredictConfig
from prefixbank.data.corpus.texts import Texts
from prefixbank.runtime.session import Session
from prefixbank.runtime.unit import Unit
from prefixbank.steps.predict.heads import Head
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document
from prefixbank.store.reasons import Described, named, words_in

VERSION = 1  # 1: first


def unit(
    session: Session,
    embeddings: Sequence[Entry],
    heads: Sequence[Head],
    config: PredictConfig,
    shards: Callable[[], Iterator[Texts]],
    name: str,
    bank: Entry | None,
) -> Unit:
    """Return the unit that predicts from the vectors of a corpus. Ref `predictions/<name>`.

    Args:
        session: how to run.
        embeddings: of the corpus; several are blocks of one bank.
        heads: what predicts.
        config: what predictions say.
        shards: returns the texts, one item for each part of the embeddings.
        name: what messages call it.
        bank: the bank; None is the plain encoder.
    """

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.predict.make import predict

        predict(session, embeddings, heads, config, shards, name, out)
        return {
            "bank": None if bank is None else bank.key,
            "encoder": embeddings[0].info["encoder"],
        }

    inputs = {
        "embeddings": [entry.digest for entry in embeddings],
        "heads": [
            {"name": head.name, "reads": list(head.needs), **head.identity} for head in heads
        ],
        # Texts that differ where the encoder does not look have the same vectors.
        **({"texts": embeddings[0].document["inputs"]["texts"]} if config.text else {}),
    }
    key_document = document(step="predict", version=VERSION, config=asdict(config), inputs=inputs)
    return Unit(
        step=STEP,
        name=name,
        document=key_document,
        make=make,
        ref=("predictions", name),
        note=describe,
        words={
            "embeddings": named("embeddings", embeddings),
            "heads": [Described(kind="head", name=head.name) for head in heads],
            **words_in(embeddings[0], "texts"),
        },
    )


def describe(entry: Entry) -> str:
    """Return a summary of finished predictions."""
    facts = read_json(entry, FACTS)
    abstained = sum(head["abstained"] for head in facts["heads"])
    return (
        f"{facts['rows']} rows, heads {', '.join(head['name'] for head in facts['heads'])}"
        + (f", {abstained} labels left empty" if abstained else "")
        + describe_rows(facts)
    )
