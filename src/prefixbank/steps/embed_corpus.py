"""Step `embed` over a corpus of several shards: each shard is a unit of its own, and the corpus holds the files of all.

What is finished stays finished: a run that is killed goes on at the shard it was in, a corpus that has grown keeps the shards before its
old end. A corpus of one shard is that shard.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from prefixbank.config.schema import CALIBRATED, EmbedRecipe
from prefixbank.data.corpus import Corpus
from prefixbank.data.texts import Texts
from prefixbank.errors import UsageError
from prefixbank.steps import embed
from prefixbank.steps.context import Context
from prefixbank.steps.events import Event, silent
from prefixbank.steps.json_files import read_json, write_json
from prefixbank.steps.units import Unit, run_unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, key_of


def unit(context: Context, reading: embed.Reading, corpus: Corpus, name: str, ref: tuple[str, str]) -> Unit:
    """Return the unit that embeds a corpus.

    Args:
        context: how to run.
        reading: with what.
        corpus: which texts.
        name: what messages call it.
        ref: what to point at the result.

    Raises:
        UsageError: texts without a second one are to be compared; a calibration on more rows than a shard has.
    """
    digests = {stem_of(number): digest for number, digest in enumerate(corpus.digests)}
    if len(digests) == 1:
        (texts,) = corpus.shards()
        return embed.unit(context, reading, {stem_of(0): texts}, name, ref=ref)
    check_calibration(reading.recipe, corpus.shard_rows)
    say_finished(context, reading, digests, name)

    def make(out: Path, work: Path) -> JSON:
        progress = _Progress(context=context, name=name, total=corpus.rows)
        facts: JSON = {}
        truncated = 0.0
        first: Entry | None = None
        for number, texts in enumerate(corpus.shards()):
            stem, calibration = stem_of(number), _calibration(reading, first)
            entry = progress.of_shard(
                len(texts), partial(_shard, reading=reading, stem=stem, texts=texts, name=name, calibration=calibration)
            )
            first = first or entry
            facts = read_json(entry, embed.FACTS)
            truncated += facts["truncated_share"] * facts["rows"]
            if reading.reuse is not None:
                reading.reuse.add(entry)
            _share(entry.file(f"{stem}.parquet"), out / f"{stem}.parquet")
        if first is not None and _calibration(reading, first):
            _share(first.file(embed.CALIBRATION), out / embed.CALIBRATION)
        if reading.reuse is not None:
            facts["reused_rows"] = corpus.rows - reading.reuse.texts_read
        write_json(out / embed.FACTS, {**facts, "parts": list(digests), "rows": corpus.rows, "truncated_share": truncated / corpus.rows})
        return reading.info()

    return Unit(step=embed.STEP, name=name, document=reading.document(digests), make=make, ref=ref, note=embed.describe)


def check_calibration(recipe: EmbedRecipe, shard_rows: int) -> None:
    """Refuse a calibration on more rows than the first of several shards has."""
    if recipe.vectors in CALIBRATED and recipe.calibration_rows > shard_rows:
        raise UsageError(
            f"calibration_rows={recipe.calibration_rows} with shards of {shard_rows} rows",
            expected="a calibration on rows of the first shard",
            fix=f"corpus.shard_rows={recipe.calibration_rows}    or calibration_rows={shard_rows}",
        )


def _calibration(reading: embed.Reading, first: Entry | None) -> Entry | None:
    """Return what the first shard says about features, where it is needed for the others."""
    return first if reading.recipe.vectors in CALIBRATED else None


def stem_of(number: int) -> str:
    """Return the name of a shard's file, without its ending."""
    return f"part-{number:05d}"


def say_finished(context: Context, reading: embed.Reading, digests: dict[str, str], name: str) -> None:
    """Say how many shards there are and how many an earlier run has left, unless the whole corpus is there."""
    if context.store.get(key_of(reading.document(digests))) is not None:
        return
    (stem, digest), *others = digests.items()
    first = context.store.get(key_of(reading.document({stem: digest})))
    calibration = _calibration(reading, first)
    documents = [reading.document({stem: digest}, calibration) for stem, digest in others]
    hits = int(first is not None) + sum(context.store.get(key_of(document)) is not None for document in documents)
    text = f"{len(digests)} shards: {hits} hits, {len(digests) - hits} to run"
    context.emit(Event(kind="note", step=embed.STEP, name=name, text=text))


def _shard(context: Context, reading: embed.Reading, stem: str, texts: Texts, name: str, calibration: Entry | None) -> Entry:
    """Return one shard, made if it is missing."""
    unit = embed.unit(context, reading, {stem: texts}, f"{name} {stem}", calibration=calibration)
    return run_unit(context.store, unit, silent, force=context.force, explain=False)


def _share(source: Path, target: Path) -> None:
    """Give the same file a second name, or copy it where the file system has one name for each file."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@dataclass(kw_only=True)
class _Progress:
    """Tells rows done of all, and how many are embedded in a second."""

    context: Context
    name: str
    total: int
    done: int = 0
    embedded: int = 0
    started: float = field(default_factory=time.monotonic)

    def of_shard(self, rows: int, make: Callable[[Context], Entry]) -> Entry:
        """Make one shard and count its rows as they are embedded; those of a hit at its end."""
        before = self.done
        entry = make(self.context.telling(lambda event: self._move(before, event)))
        self.done = before + rows
        self._tell()
        return entry

    def _move(self, before: int, event: Event) -> None:
        if event.kind == "progress":
            self.embedded += before + event.done - self.done
            self.done = before + event.done
            self._tell()

    def _tell(self) -> None:
        speed = self.embedded / max(1e-9, time.monotonic() - self.started)
        text = f"{speed:,.0f} texts/s" if self.embedded else ""
        self.context.emit(Event(kind="progress", step=embed.STEP, name=self.name, done=self.done, total=self.total, text=text))
