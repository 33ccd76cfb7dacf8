"""Step `embed` for a bank of blocks: the blocks of its sources, side by side.

Each block is an artifact of its own. The embeddings of the bank have the files of all of them, as
hard links where the file system has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from prefixbank.artifacts.embeddings import CALIBRATION, FACTS, STEP, block_prefix
from prefixbank.artifacts.json_files import read_json, write_json
from prefixbank.config.schema import effective
from prefixbank.runtime.unit import Unit
from prefixbank.steps.embed.corpus import link
from prefixbank.steps.embed.spec import VERSION, EmbeddingSpec
from prefixbank.steps.embed.step import describe
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document


def unit(
    specs: Sequence[EmbeddingSpec],
    blocks: Sequence[Entry],
    bank: Entry,
    name: str,
    ref: tuple[str, str],
) -> Unit:
    """Return the unit that puts the blocks of a bank side by side.

    Args:
        specs: how each block was embedded.
        blocks: its embeddings, of the same texts.
        bank: the bank's artifact.
        name: what messages call it.
        ref: ref to set to the artifact.
    """

    def make(out: Path, work: Path) -> JSON:
        every = [read_json(entry, FACTS) for entry in blocks]
        for index, (entry, facts) in enumerate(zip(blocks, every, strict=True)):
            names = [f"{stem}.parquet" for stem in facts["parts"]]
            names += [CALIBRATION] if CALIBRATION in entry.files else []
            for file in names:
                link(entry.file(file), out / f"{block_prefix(index)}{file}")
        shared = {fact: every[0][fact] for fact in ("parts", "rows", "truncated_share")}
        described = [
            {"name": spec.block_name, "vectors": facts["vectors"]}
            for spec, facts in zip(specs, every, strict=True)
        ]
        features = sum(facts["vectors"]["features"] for facts in every)
        stored = {"type": specs[0].recipe.vectors, "features": features}
        write_json(out / FACTS, {**shared, "vectors": stored, "blocks": described})
        return {**specs[0].info(), "bank": bank.key}

    first = blocks[0].document["inputs"]
    inputs = {
        "encoder": first["encoder"],
        "texts": first["texts"],
        "blocks": [entry.digest for entry in blocks],
    }
    config = asdict(effective(specs[0].recipe))
    key_document = document(step=STEP, version=VERSION, config=config, inputs=inputs)
    return Unit(
        step=STEP,
        name=name,
        document=key_document,
        make=make,
        ref=ref,
        note=describe,
        cheap=True,
    )
