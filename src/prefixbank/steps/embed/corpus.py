"""Step `embed` over a corpus of several shards.

Each shard is a unit of its own, and the corpus holds the files of all.

What is finished stays finished: a run that is killed goes on at the shard it was in, a corpus that
has grown keeps the shards before its old end. A corpus of one shard is that shard.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from prefixbank.artifacts.embeddings import CALIBRATION, FACTS, STEP
from prefixbank.artifacts.embeddings import STEP as EMBED_STEP
from prefixbank.artifacts.json_files import read_json, write_json
from prefixbank.config.schema import CALIBRATED, EmbedRecipe
from prefixbank.data.corpus.corpus import Corpus, Shards
from prefixbank.errors import UsageError
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event, silent
from prefixbank.runtime.jobs import Job
from prefixbank.runtime.unit import Unit
from prefixbank.runtime.workers import WorkerPool, run_jobs
from prefixbank.steps.embed import step as embed
from prefixbank.steps.embed.spec import EmbeddingSpec
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, key_of


def unit(
    context: Context, reading: EmbeddingSpec, corpus: Corpus, name: str, ref: tuple[str, str]
) -> Unit:
    """Return the unit that embeds a corpus.

    Args:
        context: how to run.
        reading: with what.
        corpus: which texts.
        name: what messages call it.
        ref: what to point at the result.

    Raises:
        UsageError: texts without a second one are to be compared; a calibration on more rows than a
            shard has.
    """
    check_workers(context, reading, corpus)
    if len(corpus.digests) == 1:
        (texts,) = corpus.shards()
        return embed.unit(context, reading, {stem_of(0): texts}, name, ref=ref)
    check_calibration(reading.recipe, corpus.shard_rows)
    made_of = reading.document(
        {stem_of(number): digest for number, digest in enumerate(corpus.digests)}
    )
    if context.needs_making(key_of(made_of)):
        say_finished(
            _Shards(context=context, reading=reading, read=Shards(corpus.source), name=name), corpus
        )

    def make(out: Path, work: Path) -> JSON:
        shards = _Shards(context=context, reading=reading, read=Shards(corpus.source), name=name)
        progress = RowProgress(context=context, name=name, total=corpus.rows)
        if context.workers is not None and reading.reuse is None:
            make_elsewhere(shards, corpus, context.workers, progress)
        facts: JSON = {}
        truncated = 0.0
        for number, digest in enumerate(corpus.digests):
            entry = progress.of_shard(corpus.rows_of(number), partial(shards.entry, number, digest))
            facts = read_json(entry, FACTS)
            truncated += facts["truncated_share"] * facts["rows"]
            if reading.reuse is not None:
                reading.reuse.add(entry)
            _share(entry.file(f"{stem_of(number)}.parquet"), out / f"{stem_of(number)}.parquet")
        if shards.calibration is not None:
            _share(shards.calibration.file(CALIBRATION), out / CALIBRATION)
        if reading.reuse is not None:
            facts["reused_rows"] = corpus.rows - reading.reuse.texts_read
        parts = [stem_of(number) for number in range(len(corpus.digests))]
        write_json(
            out / FACTS,
            {
                **facts,
                "parts": parts,
                "rows": corpus.rows,
                "truncated_share": truncated / corpus.rows,
            },
        )
        return reading.info()

    return Unit(
        step=EMBED_STEP,
        name=name,
        document=made_of,
        make=make,
        ref=ref,
        note=embed.describe,
        cheap=True,
    )


def make_shards(
    context: Context, reading: EmbeddingSpec, read: Shards, digests: Mapping[int, str]
) -> None:
    """Make some shards of a corpus, each told by its number and digest: a worker's share.

    The first one comes with those that need it.

    Raises:
        DataError: the file is not the one that was checked.
    """
    shards = _Shards(context=context, reading=reading, read=read, name="shards")
    for number, digest in sorted(digests.items()):
        shards.entry(number, digest, context)


def check_calibration(recipe: EmbedRecipe, shard_rows: int) -> None:
    """Refuse a calibration on more rows than the first of several shards has."""
    if recipe.vectors in CALIBRATED and recipe.calibration_rows > shard_rows:
        raise UsageError(
            f"calibration_rows={recipe.calibration_rows} with shards of {shard_rows} rows",
            expected="a calibration on rows of the first shard",
            fix=f"corpus.shard_rows={recipe.calibration_rows}    or calibration_rows={shard_rows}",
        )


def check_workers(context: Context, reading: EmbeddingSpec, corpus: Corpus) -> None:
    """Refuse what workers cannot do.

    Read standard input on another machine, or know what the others have just embedded.
    """
    if context.workers is None:
        return
    if corpus.is_copy and context.workers.is_remote:
        raise UsageError(
            f"corpus.path=- with run.driver={context.run.driver}, whose workers each read the "
            "corpus",
            expected="a file that all machines see",
            fix="write the lines to a file: corpus.path=texts.txt    or run.driver=local",
        )
    if reading.reuse is not None and (context.workers.is_remote or context.run.workers > 1):
        raise UsageError(
            f"reuse=true with run.driver={context.run.driver} run.workers={context.run.workers}: "
            "workers do not know each other's rows",
            expected="one process, which reads each text once",
            fix="run.driver=local run.workers=1    or drop reuse=true",
        )


def stem_of(number: int) -> str:
    """Return the name of a shard's file, without its ending."""
    return f"part-{number:05d}"


def say_finished(shards: _Shards, corpus: Corpus) -> None:
    """Say how many shards there are and how many an earlier run has left."""
    hits = len(corpus.digests) - len(shards.missing(corpus.digests))
    text = f"{len(corpus.digests)} shards: {hits} hits, {len(corpus.digests) - hits} to run"
    shards.context.emit(Event(kind="note", step=EMBED_STEP, name=shards.name, text=text))


def make_elsewhere(
    shards: _Shards, corpus: Corpus, workers: WorkerPool, progress: RowProgress
) -> None:
    """Have workers make the shards that are missing.

    A first one that the others need is made before them.
    """
    first = {0: corpus.digests[0]} if shards.calibrated else {}
    settings = [f"corpus.path='{corpus.source.path}'"] if corpus.is_copy else []
    while workers.should_dispatch(len(missing := shards.missing(corpus.digests))):
        wave = first if shards.calibrated and shards.calibration is None else missing
        progress.begin(corpus.rows - sum(map(corpus.rows_of, missing)))

        def on_done(job: Job, wave: Mapping[int, str] = wave) -> None:
            progress.finish(sum(corpus.rows_of(number) for number in job.shards if number in wave))

        jobs = workers.jobs_for_shards(wave, always=first, settings=settings)
        keys = [shards.key(number, digest) for number, digest in wave.items()]
        context = shards.context
        run_jobs(workers, jobs, keys, on_done, context.store, context.emit)
        context.mark_made(keys)


@dataclass(kw_only=True)
class _Shards:
    """The shards of a corpus as units.

    Args:
        context: how to run.
        reading: with what.
        read: reads the texts of a shard.
        name: what messages call the corpus.
        calibration: the first shard, once it is there, where what it says about features is needed
            for the others.
    """

    context: Context
    reading: EmbeddingSpec
    read: Shards
    name: str
    calibration: Entry | None = None

    @property
    def calibrated(self) -> bool:
        """Whether the first shard is an input of the others."""
        return self.reading.recipe.vectors in CALIBRATED

    def key(self, number: int, digest: str) -> str:
        """Return a shard's key; with calibrated vectors, known once the first one is there."""
        return key_of(
            self.reading.document({stem_of(number): digest}, self.calibration if number else None)
        )

    def missing(self, digests: Sequence[str]) -> dict[int, str]:
        """Return number and digest of the shards that are not there.

        Without the first one, none that needs it is.
        """
        numbered = dict(enumerate(digests))
        self._find_calibration(digests[0])
        if self.calibrated and self.calibration is None:
            return numbered
        return {
            number: digest
            for number, digest in numbered.items()
            if self.context.needs_making(self.key(number, digest))
        }

    def entry(self, number: int, digest: str, context: Context) -> Entry:
        """Return a shard, made in this process if it is missing.

        `context` is told how far it is.
        """
        key = self.key(number, digest)
        entry = None if context.needs_making(key) else context.store.get(key)
        if entry is None:
            stem, calibration = stem_of(number), self.calibration if number else None
            unit = embed.unit(
                context,
                self.reading,
                {stem: self.read(number, digest)},
                f"{self.name} {stem}",
                calibration=calibration,
            )
            entry = context.restricted_to([key], silent).ensure(unit).entry
        if number == 0 and self.calibrated:
            self.calibration = entry
        return entry

    def _find_calibration(self, first: str) -> None:
        key = self.key(0, first)
        if self.calibrated and self.calibration is None and not self.context.needs_making(key):
            self.calibration = self.context.store.get(key)


def _share(source: Path, target: Path) -> None:
    """Give the same file a second name, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@dataclass(kw_only=True)
class RowProgress:
    """Tells rows done of all, and how many are embedded in a second."""

    context: Context
    name: str
    total: int
    passed: int = 0
    """Rows of the shards up to the one that is looked at."""
    done: int = 0
    embedded: int = 0
    started: float = field(default_factory=time.monotonic)

    def of_shard(self, rows: int, make: Callable[[Context], Entry]) -> Entry:
        """Make one shard and count its rows as they are embedded; those of a hit at its end."""
        entry = make(self.context.with_listener(self._move))
        self.passed += rows
        self.begin(max(self.done, self.passed))
        return entry

    def begin(self, done: int) -> None:
        """Take so many rows as done."""
        self.done = done
        self._tell()

    def finish(self, rows: int) -> None:
        """Count rows that were embedded."""
        self.embedded += rows
        self.begin(self.done + rows)

    def _move(self, event: Event) -> None:
        if event.kind == "progress":
            self.finish(self.passed + event.done - self.done)

    def _tell(self) -> None:
        speed = self.embedded / max(1e-9, time.monotonic() - self.started)
        text = f"{speed:,.0f} texts/s" if self.embedded else ""
        self.context.emit(
            Event(
                kind="progress",
                step=STEP,
                name=self.name,
                done=self.done,
                total=self.total,
                text=text,
            )
        )
