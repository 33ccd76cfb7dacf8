"""Step `embed`: one vector for each text, as Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from prefixbank.artifacts.embeddings import FACTS, STEP, block_features
from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.row_facts import describe_rows
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.tasks.task import SPLITS, Task
from prefixbank.runtime.context import Context
from prefixbank.runtime.unit import Unit
from prefixbank.steps.embed.spec import EmbeddingSpec, are_blocks, check_pairs
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, key_of


@dataclass(frozen=True, kw_only=True)
class Sought:
    """Embeddings to make.

    Args:
        spec: how to embed.
        calibration: as in `EmbeddingSpec.document`.
    """

    spec: EmbeddingSpec
    calibration: Entry | None = None

    def document(self, parts: Mapping[str, Texts]) -> JSON:
        """Return the key document."""
        digests = {stem: rows.digest() for stem, rows in parts.items()}
        return self.spec.document(digests, self.calibration)


def units(
    context: Context,
    sought: Sequence[Sought],
    parts: Mapping[str, Texts],
    name: str,
    *,
    ref: tuple[str, str] | None = None,
    notes: Sequence[str] = (),
) -> list[Unit]:
    """Return the units that embed `parts`, one file each: one unit for each of `sought`.

    Several are the blocks of one bank. The first of them that is made passes the texts through the
    encoder for all that are missing, and leaves the vectors of the others where they are made.

    Args:
        context: how to run.
        sought: what to make.
        parts: file stem to its rows.
        name: what messages call the texts.
        ref: ref to set to the artifact; blocks have none.
        notes: notes for the user on the texts.

    Raises:
        UsageError: `pairs` needs second texts, and a part has none; or `long=windows` has pairs.
    """
    paired = all(rows.pairs is not None for rows in parts.values())
    check_pairs(sought[0].spec.recipe, name, paired=paired)
    documents = [one.document(parts) for one in sought]
    keys = [key_of(document) for document in documents]

    def maker(index: int) -> Callable[[Path, Path], JSON]:
        def make(out: Path, work: Path) -> JSON:
            from prefixbank.steps.embed.make import Target, make_parts

            def target(number: int, folder: Path) -> Target:
                one = sought[number]
                return Target(spec=one.spec, calibration=one.calibration, work=folder)

            with ExitStack() as borrowed:
                others = [
                    target(number, folder)
                    for number, key in enumerate(keys)
                    if number != index and context.will_make(key)
                    if (folder := borrowed.enter_context(context.store.work_of(key))) is not None
                ]
                make_parts(context, target(index, work), others, parts, names[index], out)
            return {**sought[index].spec.info(), "notes": list(notes)}

        return make

    names = names_of([one.spec for one in sought], name)
    texts = next(iter(parts.values())).words
    has_ref = not are_blocks([one.spec for one in sought])
    return [
        Unit(
            step=STEP,
            name=names[index],
            document=document,
            make=maker(index),
            ref=ref if has_ref else None,
            note=describe,
            group=keys[0] if len(keys) > 1 else "",
            words=sought[index].spec.words(texts),
        )
        for index, document in enumerate(documents)
    ]


def names_of(specs: Sequence[EmbeddingSpec], name: str) -> list[str]:
    """Return what messages call embeddings: those of blocks have the name of the block, too."""
    return [f"{name} {spec.block_name}" if are_blocks(specs) else name for spec in specs]


def unit(
    context: Context,
    spec: EmbeddingSpec,
    parts: Mapping[str, Texts],
    name: str,
    *,
    ref: tuple[str, str] | None = None,
    calibration: Entry | None = None,
) -> Unit:
    """Return the unit that embeds `parts` in one way, as `units` does in several."""
    (one,) = units(context, [Sought(spec=spec, calibration=calibration)], parts, name, ref=ref)
    return one


def parts_of_task(task: Task, splits: Sequence[str] = SPLITS) -> dict[str, Texts]:
    """Return splits of a task as parts."""
    rows = {name: task.split(name) for name in splits}
    words = replace(task.words(*splits), facts={}, content="")
    return {
        name: Texts(texts=of_split.texts, pairs=of_split.pairs, words=words)
        for name, of_split in rows.items()
    }


def describe(entry: Entry) -> str:
    """Return a summary of finished embeddings."""
    facts = read_json(entry, FACTS)
    stored = _describe_stored(facts["vectors"])
    reused = f", {facts['reused_rows']} reused" if "reused_rows" in facts else ""
    sizes = ", ".join(f"{name} {features}" for name, features in block_features(entry).items())
    blocks = f" of blocks {sizes}" if sizes else ""
    return f"{facts['rows']} rows{stored}{blocks}{reused}{describe_rows(facts)}"


def _describe_stored(vectors: JSON) -> str:
    """Return how vectors are stored, in words; empty for float32 as the encoder gives them."""
    kind, near = vectors["type"], vectors.get("near_threshold")
    told = [] if near is None else [f"{near:.2%} of bits near the threshold"]
    after = ""
    if "transform" in vectors:
        unit = "bits" if kind == "binary" else "features"
        after = f" after {vectors['transform']}"
        told = [f"{vectors['features']} {unit}, {vectors['bytes']:,} bytes each", *told]
    stored = f" as {kind}" if after or kind != "float32" else ""
    details = f" ({', '.join(told)})" if told else ""
    return f"{stored}{after}{details}"
