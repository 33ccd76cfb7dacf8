"""Step `embed` for a corpus of several shards.

Each shard is a unit, and the artifact of the corpus has the files of all shards. A killed run
resumes at its unfinished shard, and a corpus that has grown keeps its earlier shards. A corpus of
one shard is that unit.
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
    context: Context, spec: EmbeddingSpec, corpus: Corpus, name: str, ref: tuple[str, str]
) -> Unit:
    """Return the unit that embeds a corpus.

    Args:
        context: how to run.
        spec: how to embed.
        corpus: the texts.
        name: what messages call it.
        ref: ref to set to the artifact.

    Raises:
        UsageError: the spec compares pairs but the corpus has single texts, or it calibrates on
            more rows than a shard has.
    """
    check_workers(context, spec, corpus)
    if len(corpus.digests) == 1:
        (texts,) = corpus.shards()
        return embed.unit(context, spec, {stem_of(0): texts}, name, ref=ref)
    check_calibration(spec.recipe, corpus.shard_rows)
    key_document = spec.document(
        {stem_of(number): digest for number, digest in enumerate(corpus.digests)}
    )
    if context.needs_making(key_of(key_document)):
        shards = _Shards(context=context, spec=spec, read=Shards(corpus.file), name=name)
        emit_shard_counts(shards, corpus)

    def make(out: Path, work: Path) -> JSON:
        shards = _Shards(context=context, spec=spec, read=Shards(corpus.file), name=name)
        progress = RowProgress(context=context, name=name, total=corpus.rows)
        if context.workers is not None and spec.reuse is None:
            make_with_workers(shards, corpus, context.workers, progress)
        facts: JSON = {}
        truncated = 0.0
        for number, digest in enumerate(corpus.digests):
            entry = progress.of_shard(corpus.rows_of(number), partial(shards.entry, number, digest))
            facts = read_json(entry, FACTS)
            truncated += facts["truncated_share"] * facts["rows"]
            if spec.reuse is not None:
                spec.reuse.add(entry)
            _link(entry.file(f"{stem_of(number)}.parquet"), out / f"{stem_of(number)}.parquet")
        if shards.calibration is not None:
            _link(shards.calibration.file(CALIBRATION), out / CALIBRATION)
        if spec.reuse is not None:
            facts["reused_rows"] = corpus.rows - spec.reuse.texts_embedded
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
        return spec.info()

    return Unit(
        step=STEP,
        name=name,
        document=key_document,
        make=make,
        ref=ref,
        note=embed.describe,
        cheap=True,
    )


def make_shards(
    context: Context, spec: EmbeddingSpec, read: Shards, digests: Mapping[int, str]
) -> None:
    """Make shards of a corpus in this process, as the job of a worker says.

    Args:
        context: how to run.
        spec: how to embed.
        read: reads the texts of a shard.
        digests: number to digest of each shard; the first shard is included if the others need its
            calibration.

    Raises:
        DataError: the file is not the one that the command checked.
    """
    shards = _Shards(context=context, spec=spec, read=read, name="shards")
    for number, digest in sorted(digests.items()):
        shards.entry(number, digest, context)


def check_calibration(recipe: EmbedRecipe, shard_rows: int) -> None:
    """Refuse a calibration on more rows than the first shard has."""
    if recipe.vectors in CALIBRATED and recipe.calibration_rows > shard_rows:
        raise UsageError(
            f"calibration_rows={recipe.calibration_rows} with shards of {shard_rows} rows",
            expected="a calibration on rows of the first shard",
            fix=f"corpus.shard_rows={recipe.calibration_rows}    or calibration_rows={shard_rows}",
        )


def check_workers(context: Context, spec: EmbeddingSpec, corpus: Corpus) -> None:
    """Refuse what workers cannot do: read standard input, or reuse each other's new vectors."""
    if context.workers is None:
        return
    if corpus.is_copy and context.workers.is_remote:
        raise UsageError(
            f"corpus.path=- with run.driver={context.run.driver}, whose workers each read the "
            "corpus",
            expected="a file that all machines can read",
            fix="write the lines to a file: corpus.path=texts.txt    or run.driver=local",
        )
    if spec.reuse is not None and (context.workers.is_remote or context.run.workers > 1):
        raise UsageError(
            f"reuse=true with run.driver={context.run.driver} run.workers={context.run.workers}: "
            "workers do not know each other's rows",
            expected="one process, which embeds each text once",
            fix="run.driver=local run.workers=1    or drop reuse=true",
        )


def stem_of(number: int) -> str:
    """Return the file name of a shard, without suffix."""
    return f"part-{number:05d}"


def emit_shard_counts(shards: _Shards, corpus: Corpus) -> None:
    """Report how many shards there are, and how many of them an earlier run finished."""
    hits = len(corpus.digests) - len(shards.missing(corpus.digests))
    text = f"{len(corpus.digests)} shards: {hits} hits, {len(corpus.digests) - hits} to run"
    shards.context.emit(Event(kind="note", step=STEP, name=shards.name, text=text))


def make_with_workers(
    shards: _Shards, corpus: Corpus, workers: WorkerPool, progress: RowProgress
) -> None:
    """Let workers make the missing shards.

    If the others need the calibration of the first shard, that is made before them.
    """
    first = {0: corpus.digests[0]} if shards.calibrated else {}
    settings = [f"corpus.path='{corpus.file.path}'"] if corpus.is_copy else []
    while workers.should_dispatch(len(missing := shards.missing(corpus.digests))):
        wave = first if shards.calibrated and shards.calibration is None else missing
        progress.move_to(corpus.rows - sum(map(corpus.rows_of, missing)))

        def on_done(job: Job, wave: Mapping[int, str] = wave) -> None:
            progress.add(sum(corpus.rows_of(number) for number in job.shards if number in wave))

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
        spec: how to embed.
        read: reads the texts of a shard.
        name: what messages call the corpus.
        calibration: the first shard, once it is made, if the others need its calibration.
    """

    context: Context
    spec: EmbeddingSpec
    read: Shards
    name: str
    calibration: Entry | None = None

    @property
    def calibrated(self) -> bool:
        """Whether the first shard is an input of the others."""
        return self.spec.recipe.vectors in CALIBRATED

    def key(self, number: int, digest: str) -> str:
        """Return the key of a shard; calibrated vectors need the first shard to be made before."""
        return key_of(
            self.spec.document({stem_of(number): digest}, self.calibration if number else None)
        )

    def missing(self, digests: Sequence[str]) -> dict[int, str]:
        """Return number and digest of the missing shards.

        Without a first shard that the others need, all are missing.
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
        """Return a shard, made in this process if it is missing; `context` gets progress."""
        key = self.key(number, digest)
        entry = None if context.needs_making(key) else context.store.get(key)
        if entry is None:
            stem, calibration = stem_of(number), self.calibration if number else None
            unit = embed.unit(
                context,
                self.spec,
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


def _link(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it if the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@dataclass(kw_only=True)
class RowProgress:
    """Reports rows done of all rows, and rows embedded per second."""

    context: Context
    name: str
    total: int
    passed: int = 0
    """Rows of the shards before the current one."""
    done: int = 0
    embedded: int = 0
    started: float = field(default_factory=time.monotonic)

    def of_shard(self, rows: int, make: Callable[[Context], Entry]) -> Entry:
        """Make one shard, and count its rows as they are embedded, those of a hit at the end."""
        entry = make(self.context.with_listener(self._on_event))
        self.passed += rows
        self.move_to(max(self.done, self.passed))
        return entry

    def move_to(self, done: int) -> None:
        """Set the number of rows done."""
        self.done = done
        self._report()

    def add(self, rows: int) -> None:
        """Count embedded rows."""
        self.embedded += rows
        self.move_to(self.done + rows)

    def _on_event(self, event: Event) -> None:
        if event.kind == "progress":
            self.add(self.passed + event.done - self.done)

    def _report(self) -> None:
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
