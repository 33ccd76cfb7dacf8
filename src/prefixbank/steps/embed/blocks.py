"""Step `embed` for a bank of blocks: the blocks of its sources, side by side.

Each block is an artifact of its own. The embeddings of the bank have the files of all of them, as
hard links where the file system has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefixbank.artifacts.embeddings import (
    CALIBRATION,
    FACTS,
    STEP,
    block_prefix,
    describe_layout,
    read_layout,
)
from prefixbank.artifacts.json_files import read_json, write_json
from prefixbank.artifacts.row_facts import row_facts_in
from prefixbank.config.schema import key_config
from prefixbank.core.layout import side_by_side
from prefixbank.runtime.context import Context
from prefixbank.runtime.unit import Planned, Unit
from prefixbank.steps.embed.corpus import link
from prefixbank.steps.embed.spec import VERSION, EmbeddingSpec, are_blocks
from prefixbank.steps.embed.step import describe
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document
from prefixbank.store.reasons import words_in


def ensure(
    context: Context,
    units: Sequence[Unit],
    specs: Sequence[EmbeddingSpec],
    bank: Entry | None,
    name: str,
    ref: tuple[str, str] | None = None,
) -> Planned:
    """Plan or run the units of embeddings, and put those of blocks side by side.

    Args:
        context: how to run.
        units: one for each of `specs`.
        specs: how to embed; several are the blocks of one bank.
        bank: the bank's artifact.
        name: what messages call the embeddings.
        ref: ref to set to those of a bank of blocks.
    """
    made = context.ensure_together(units)
    if bank is None or not are_blocks(specs):
        return made[0]
    return context.ensure_from(
        STEP, name, lambda: unit(specs, [one.entry for one in made], bank, name, ref)
    )


def unit(
    specs: Sequence[EmbeddingSpec],
    blocks: Sequence[Entry],
    bank: Entry,
    name: str,
    ref: tuple[str, str] | None = None,
) -> Unit:
    """Return the unit that puts the blocks of a bank side by side.

    Args:
        specs: how each block was embedded.
        blocks: its embeddings, of the same texts.
        bank: the bank's artifact.
        name: what messages call it.
        ref: ref to set to the artifact.
    """
    names = [spec.block_name for spec in specs]

    def make(out: Path, work: Path) -> JSON:
        every = [read_json(entry, FACTS) for entry in blocks]
        for index, (entry, facts) in enumerate(zip(blocks, every, strict=True)):
            files = [f"{stem}.parquet" for stem in facts["parts"]]
            files += [CALIBRATION] if CALIBRATION in entry.files else []
            for file in files:
                link(entry.file(file), out / f"{block_prefix(index)}{file}")
        layout = side_by_side([read_layout(entry) for entry in blocks])
        write_json(out / FACTS, {**_facts(names, every), "layout": describe_layout(layout)})
        notes = blocks[0].info.get("notes", [])
        return {**specs[0].info(), "bank": bank.key, "notes": notes}

    first = blocks[0].document["inputs"]
    inputs = {
        "encoder": first["encoder"],
        "texts": first["texts"],
        "blocks": {name: entry.digest for name, entry in zip(names, blocks, strict=True)},
    }
    config = {**key_config(specs[0].recipe), "blocks": names}
    key_document = document(step=STEP, version=VERSION, config=config, inputs=inputs)
    return Unit(
        step=STEP,
        name=name,
        document=key_document,
        make=make,
        ref=ref,
        note=describe,
        cheap=True,
        words=words_in(blocks[0], "encoder", "texts"),
    )


def _facts(names: Sequence[str], every: Sequence[JSON]) -> JSON:
    """Return the facts about vectors of blocks, from the name and the facts of each block.

    Of the blocks, the one with the fewest copied rows counts.
    """
    features = [facts["vectors"]["features"] for facts in every]
    reused = [facts["reused_rows"] for facts in every if "reused_rows" in facts]
    return {
        **{fact: every[0][fact] for fact in ("parts", "rows")},
        **row_facts_in(every[0]),
        **({"reused_rows": min(reused)} if reused else {}),
        "vectors": _stored([facts["vectors"] for facts in every]),
        "blocks": [
            {"name": name, "features": count} for name, count in zip(names, features, strict=True)
        ],
    }


def _stored(every: Sequence[JSON]) -> JSON:
    """Return how whole vectors are stored, from how those of each block are.

    Blocks of before the share of near bits was counted lack it, and then so does the whole.
    """
    first = {name: value for name, value in every[0].items() if name != "near_threshold"}
    summed: JSON = {
        name: sum(one[name] for one in every) for name in ("features", "bytes") if name in first
    }
    if all("near_threshold" in one for one in every):
        bits = sum(one["near_threshold"] * one["features"] for one in every)
        summed["near_threshold"] = bits / summed["features"]
    return {**first, **summed}
