"""Step `embed`: a bank and texts to one vector for each text, as Parquet files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from prefixbank.config.schema import EmbedRecipe, PoolingConfig, effective
from prefixbank.data.encoder_files import EncoderFiles
from prefixbank.data.tasks import SPLITS, Task
from prefixbank.data.texts import Texts
from prefixbank.steps.context import Context
from prefixbank.steps.events import Event
from prefixbank.steps.json_files import read_json, write_json
from prefixbank.steps.pairs import check_pairs
from prefixbank.steps.units import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

if TYPE_CHECKING:
    from prefixbank.core.combine import Bank

STEP = "embed"
FACTS = "embeddings.json"
VERSION = 3  # 1: first; 2: pairs can be embedded apart, embeddings.json says how vectors were pooled; 3: faster products, other last digits
CODE = (
    "core.attention",
    "core.combine",
    "core.embed",
    "core.packed",
    "core.pairs",
    "core.pooling",
    "core.prefix",
    "core.sampling",
    "core.shapes",
    "core.shared_prefix",
    "core.workers",
    "data.batches",
    "data.encoder",
    "steps.vectors",
)


def unit(
    context: Context,
    bank: Entry | None,
    files: EncoderFiles,
    parts: Mapping[str, Texts],
    recipe: EmbedRecipe,
    pooling: PoolingConfig,
    name: str,
    ref: tuple[str, str] | None = None,
) -> Unit:
    """Return the unit that embeds `parts`, one file each.

    Args:
        context: how to run.
        bank: bank artifact; None is the plain encoder, pooled as `pooling` says (a bank brings its own).
        files: encoder.
        parts: file stem to its rows.
        recipe: what else can change a vector.
        pooling: used without a bank.
        name: what messages call it.
        ref: what to point at the result, if anything.

    Raises:
        UsageError: texts without a second one are to be compared.
    """
    check_pairs(recipe, parts.values(), name)

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.banks import plain_bank, read_bank

        loaded = plain_bank(pooling) if bank is None else read_bank(bank)
        truncated = sum(_make_part(context, loaded, files, stem, rows, recipe, work, name) for stem, rows in parts.items())
        for stem in parts:
            shutil.copyfile(work / f"{stem}.parquet", out / f"{stem}.parquet")
        pooled = {"pooling": asdict(loaded.pooling), "layer_blocks": _layer_blocks(context, files, loaded)}
        count = sum(len(rows) for rows in parts.values())
        write_json(out / FACTS, {"parts": list(parts), "rows": count, "truncated_share": truncated / count, **pooled})
        return info_of(bank, files)

    return Unit(
        step=STEP,
        name=name,
        document=document_of(bank, files, {stem: rows.digest() for stem, rows in parts.items()}, recipe, pooling),
        make=make,
        ref=ref,
        note=describe,
    )


def document_of(bank: Entry | None, files: EncoderFiles, digests: Mapping[str, str], recipe: EmbedRecipe, pooling: PoolingConfig) -> JSON:
    """Return what determines embeddings, for `unit` and for the corpus that its shards make up; `digests` are those of the parts' texts."""
    config = {field.name: getattr(recipe, field.name) for field in fields(EmbedRecipe)}
    if bank is None:
        config["pooling"] = asdict(effective(pooling))
    inputs = {"bank": None if bank is None else bank.digest, "encoder": files.digest, "texts": dict(digests)}
    return document(step="embed", version=VERSION, config=config, inputs=inputs)


def info_of(bank: Entry | None, files: EncoderFiles) -> JSON:
    """Return what embeddings say of where they come from, which determines nothing."""
    return {"bank": None if bank is None else bank.key, "encoder": asdict(files.source)}


def pooling_of(entry: Entry) -> PoolingConfig:
    """Return the pooling that a prefix or a multi-task encoder was trained with, or that a bank was combined with."""
    return PoolingConfig(**entry.document["config"]["pooling"])


def parts_of_task(task: Task, splits: Sequence[str] = SPLITS) -> dict[str, Texts]:
    """Return splits of a task as parts."""
    rows = {name: task.split(name) for name in splits}
    return {name: Texts(texts=of_split.texts, pairs=of_split.pairs) for name, of_split in rows.items()}


def describe(entry: Entry) -> str:
    """Return what the line of finished embeddings says."""
    facts = read_json(entry, FACTS)
    cut = f", {facts['truncated_share']:.1%} of rows truncated" if facts["truncated_share"] else ""
    return f"{facts['rows']} rows{cut}"


def _layer_blocks(context: Context, files: EncoderFiles, bank: Bank) -> JSON | None:
    """Return the numbers of the layers that lie side by side in a vector and the size of each; None where there is one block only."""
    if bank.pooling.layers != "concat_last":
        return None
    shape = context.load(files).shape
    return {"layers": list(range(shape.layers + 1 - bank.pooling.last_k, shape.layers + 1)), "size": shape.hidden_size}


def _make_part(
    context: Context, bank: Bank, files: EncoderFiles, stem: str, rows: Texts, recipe: EmbedRecipe, work: Path, name: str
) -> int:
    """Embed one part into the work folder unless an earlier run did; return its number of truncated rows."""
    from prefixbank.steps.vectors import embed_rows, finished_part, publish_part

    path = work / f"{stem}.parquet"
    before = finished_part(path)
    if before is not None:
        return before
    done = 0

    def on_rows(count: int) -> None:
        nonlocal done
        done += count
        context.emit(Event(kind="progress", step=STEP, name=name, done=done, total=len(rows), text=stem))

    vectors, truncated = embed_rows(context, bank, files, rows, recipe, on_rows)
    publish_part(path, rows, vectors, truncated)
    return truncated
