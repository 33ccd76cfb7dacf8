"""Step `embed`: one vector for each text, as Parquet files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prefixbank.artifacts.embeddings import FACTS, STEP
from prefixbank.artifacts.json_files import read_json
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.tasks.task import SPLITS, Task
from prefixbank.runtime.session import Session
from prefixbank.runtime.unit import Unit
from prefixbank.steps.embed.spec import EmbeddingSpec, check_pairs
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON


def unit(
    session: Session,
    spec: EmbeddingSpec,
    parts: Mapping[str, Texts],
    name: str,
    *,
    ref: tuple[str, str] | None = None,
    calibration: Entry | None = None,
) -> Unit:
    """Return the unit that embeds `parts`, one file each.

    Args:
        session: how to run.
        spec: how to embed.
        parts: file stem to its rows.
        name: what messages call it.
        ref: ref to set to the artifact, if any.
        calibration: as in `EmbeddingSpec.document`.

    Raises:
        UsageError: `pairs` needs second texts, and a part has none.
    """
    check_pairs(spec.recipe, parts.values(), name)

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.embed.make import make_parts

        make_parts(session, spec, parts, calibration, name, (out, work))
        return spec.info()

    key_document = spec.document({stem: rows.digest() for stem, rows in parts.items()}, calibration)
    return Unit(step=STEP, name=name, document=key_document, make=make, ref=ref, note=describe)


def parts_of_task(task: Task, splits: Sequence[str] = SPLITS) -> dict[str, Texts]:
    """Return splits of a task as parts."""
    rows = {name: task.split(name) for name in splits}
    return {
        name: Texts(texts=of_split.texts, pairs=of_split.pairs) for name, of_split in rows.items()
    }


def describe(entry: Entry) -> str:
    """Return a summary of finished embeddings."""
    facts = read_json(entry, FACTS)
    cut = f", {facts['truncated_share']:.1%} of rows truncated" if facts["truncated_share"] else ""
    stored = f" as {facts['vectors']['type']}" if facts["vectors"]["type"] != "float32" else ""
    reused = f", {facts['reused_rows']} reused" if "reused_rows" in facts else ""
    return f"{facts['rows']} rows{stored}{reused}{cut}"
