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
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from prefixbank.artifacts.embeddings import CALIBRATION, FACTS, STEP
from prefixbank.artifacts.json_files import read_json, write_json
from prefixbank.artifacts.row_facts import summed_row_facts
from prefixbank.config.schema import CALIBRATED, EmbedRecipe
from prefixbank.data.corpus.corpus import Corpus, Shards
from prefixbank.errors import UsageError
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event, silent
from prefixbank.runtime.jobs import Job
from prefixbank.runtime.unit import Unit
from prefixbank.runtime.workers import WorkerPool, run_jobs
from prefixbank.steps.embed import step as embed
from prefixbank.steps.embed.spec import UNCALIBRATED, EmbeddingSpec, are_blocks, check_pairs
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, key_of


def units(
    context: Context,
    specs: Sequence[EmbeddingSpec],
    corpus: Corpus,
    name: str,
    ref: tuple[str, str],
) -> list[Unit]:
    """Return the units that embed a corpus, one for each of `specs`.

    Args:
        context: how to run.
        specs: how to embed; several are the blocks of one bank, made in one pass over each shard.
        corpus: the texts.
        name: what messages call it.
        ref: ref to set to the artifact; blocks have none.

    Raises:
        UsageError: the spec compares pairs but the corpus has single texts, it reads pairs jointly
            in windows, it has no zero vectors for rows without text, or it calibrates on more rows
            than a shard has.
    """
    check_pairs(specs[0].recipe, name, paired=corpus.is_paired)
    _check_zeros(specs[0].recipe, corpus)
    for note in corpus.notes:
        context.emit(Event(kind="note", step=STEP, name=name, text=note))
    for spec in specs:
        check_workers(context, spec, corpus)
    if len(corpus.digests) == 1:
        (texts,) = corpus.shards()
        sought = [embed.Sought(spec=spec) for spec in specs]
        parts = {stem_of(0): replace(texts, words=corpus.words)}
        return embed.units(context, sought, parts, name, ref=ref, notes=corpus.notes)
    check_calibration(specs[0].recipe, corpus.shard_rows)
    digests = {stem_of(number): digest for number, digest in enumerate(corpus.digests)}
    documents = [spec.document(digests) for spec in specs]
    keys = [key_of(document) for document in documents]
    names = embed.names_of(specs, name)
    missing = [spec for spec, key in zip(specs, keys, strict=True) if context.needs_making(key)]
    if missing:
        shards = _Shards(context=context, specs=missing, read=Shards(corpus.file), name=name)
        emit_shard_counts(shards, corpus)

    def maker(index: int) -> Callable[[Path, Path], JSON]:
        def make(out: Path, work: Path) -> JSON:
            together = [
                spec
                for number, spec in enumerate(specs)
                if number != index and context.will_make(keys[number])
            ]
            shards = _Shards(
                context=context,
                specs=[specs[index], *together],
                read=Shards(corpus.file),
                name=name,
            )
            _make_corpus(shards, corpus, out)
            return {**specs[index].info(), "notes": list(corpus.notes)}

        return make

    return [
        Unit(
            step=STEP,
            name=names[index],
            document=document,
            make=maker(index),
            ref=None if are_blocks(specs) else ref,
            note=embed.describe,
            cheap=True,
            words=specs[index].words(corpus.words),
        )
        for index, document in enumerate(documents)
    ]


def _make_corpus(shards: _Shards, corpus: Corpus, out: Path) -> None:
    """Make the shards of all specs, and link those of the first spec into its artifact."""
    context, spec = shards.context, shards.specs[0]
    progress = RowProgress(context=context, name=shards.name, total=corpus.rows)
    _refuse_long(shards, corpus)
    if context.workers is not None and spec.reuse is None:
        make_with_workers(shards, corpus, context.workers, progress)
    every: list[JSON] = []
    for number, digest in enumerate(corpus.digests):
        stem = stem_of(number)
        entries = progress.of_shard(corpus.rows_of(number), partial(shards.entries, number, digest))
        every.append(read_json(entries[0], FACTS))
        for one, entry in zip(shards.specs, entries, strict=True):
            if one.reuse is not None:
                one.reuse.add(entry)
        link(entries[0].file(f"{stem}.parquet"), out / f"{stem}.parquet")
    if shards.calibrations[0] is not None:
        link(shards.calibrations[0].file(CALIBRATION), out / CALIBRATION)
    facts = {
        **every[-1],
        "parts": [stem_of(number) for number in range(len(corpus.digests))],
        "rows": corpus.rows,
        **summed_row_facts(every),
    }
    if spec.reuse is not None:
        facts["reused_rows"] = corpus.rows - spec.reuse.texts_embedded
    write_json(out / FACTS, facts)


def _refuse_long(shards: _Shards, corpus: Corpus) -> None:
    """Refuse texts of all shards that are too long, before any of them is encoded."""
    spec = shards.specs[0]
    if spec.recipe.long == "error" and shards.missing(corpus.digests):
        from prefixbank.data.encoders.encoder import load_tokenizer
        from prefixbank.steps.embed.long_texts import refuse_long

        tokenizer = load_tokenizer(spec.files)
        refuse_long(spec.recipe, tokenizer, spec.files, {shards.name: corpus.shards()})


def make_shards(
    context: Context, specs: Sequence[EmbeddingSpec], read: Shards, digests: Mapping[int, str]
) -> None:
    """Make shards of a corpus in this process, as the job of a worker says.

    Args:
        context: how to run.
        specs: how to embed.
        read: reads the texts of a shard.
        digests: number to digest of each shard; the first shard is included if the others need its
            calibration.

    Raises:
        DataError: the file is not the one that the command checked.
    """
    shards = _Shards(context=context, specs=specs, read=read, name="shards")
    for number, digest in sorted(digests.items()):
        shards.entries(number, digest, context)


def check_calibration(recipe: EmbedRecipe, shard_rows: int) -> None:
    """Refuse a calibration, or a transform, of more rows than the first shard has."""
    wanted = {
        "calibration_rows": recipe.calibration_rows if recipe.vectors in CALIBRATED else 0,
        "transform_rows": recipe.transform_rows if recipe.transform != "none" else 0,
    }
    for name, rows in wanted.items():
        if rows > shard_rows:
            raise UsageError(
                f"{name}={rows} with shards of {shard_rows} rows",
                expected="a calibration on rows of the first shard",
                fix=f"corpus.shard_rows={rows}    or {name}={shard_rows}",
            )


def _check_zeros(recipe: EmbedRecipe, corpus: Corpus) -> None:
    """Refuse zero vectors in a type of vectors, or after a transform, that cannot hold them."""
    if corpus.gives_zeros and recipe.calibrated_by:
        raise UsageError(
            f"corpus.empty=zero with {recipe.calibrated_by}, which cannot hold a zero vector",
            expected="vectors=float32 or float16, without a transform",
            fix=f"corpus.empty=drop    or {UNCALIBRATED}",
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
        wave = first if shards.calibrated and not shards.are_calibrated else missing
        progress.move_to(corpus.rows - sum(map(corpus.rows_of, missing)))

        def on_done(job: Job, wave: Mapping[int, str] = wave) -> None:
            progress.add(sum(corpus.rows_of(number) for number in job.shards if number in wave))

        jobs = workers.jobs_for_shards(wave, always=first, settings=settings)
        keys = [key for number, digest in wave.items() for key in shards.keys(number, digest)]
        context = shards.context
        run_jobs(workers, jobs, keys, on_done, context.store, context.emit)
        context.mark_made(keys)


@dataclass(kw_only=True)
class _Shards:
    """The shards of a corpus as units, one for each way to embed them.

    Args:
        context: how to run.
        specs: how to embed.
        read: reads the texts of a shard.
        name: what messages call the corpus.
        calibrations: the first shard of each spec, once it is made, if the others need its
            calibration.
    """

    context: Context
    specs: Sequence[EmbeddingSpec]
    read: Shards
    name: str
    calibrations: list[Entry | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin without calibrations."""
        self.calibrations = [None for _ in self.specs]

    @property
    def calibrated(self) -> bool:
        """Whether the first shard is an input of the others."""
        return bool(self.specs[0].recipe.calibrated_by)

    @property
    def are_calibrated(self) -> bool:
        """Whether all calibrations are known."""
        return None not in self.calibrations

    def sought(self, number: int) -> list[embed.Sought]:
        """Return what is made of a shard; calibrated vectors need the first shard before it."""
        return [
            embed.Sought(spec=spec, calibration=calibration if number else None)
            for spec, calibration in zip(self.specs, self.calibrations, strict=True)
        ]

    def keys(self, number: int, digest: str) -> list[str]:
        """Return the key of a shard for each spec."""
        return [
            key_of(one.spec.document({stem_of(number): digest}, one.calibration))
            for one in self.sought(number)
        ]

    def missing(self, digests: Sequence[str]) -> dict[int, str]:
        """Return number and digest of the shards that are missing for a spec.

        Without a first shard that the others need, all are missing.
        """
        numbered = dict(enumerate(digests))
        self._find_calibrations(digests[0])
        if self.calibrated and not self.are_calibrated:
            return numbered
        return {
            number: digest
            for number, digest in numbered.items()
            if any(map(self.context.needs_making, self.keys(number, digest)))
        }

    def entries(self, number: int, digest: str, context: Context) -> list[Entry]:
        """Return a shard for each spec; what is missing is made in this process.

        `context` gets progress.
        """
        keys = self.keys(number, digest)
        missing = [key for key in keys if context.needs_making(key)]
        if missing:
            parts = {stem_of(number): self.read(number, digest)}
            here = context.restricted_to(missing, context.emit)  # the maker reports progress
            name = f"{self.name} {stem_of(number)}"
            for unit in embed.units(here, self.sought(number), parts, name):
                if key_of(unit.document) in missing:
                    here.with_listener(silent).ensure(unit)
        entries = [entry for entry in map(self.context.store.get, keys) if entry is not None]
        if number == 0 and self.calibrated:
            self.calibrations = list(entries)
        return entries

    def _find_calibrations(self, first: str) -> None:
        if not self.calibrated:
            return
        for index, key in enumerate(self.keys(0, first)):
            if self.calibrations[index] is None and not self.context.needs_making(key):
                self.calibrations[index] = self.context.store.get(key)


def link(source: Path, target: Path) -> None:
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

    def of_shard(self, rows: int, make: Callable[[Context], list[Entry]]) -> list[Entry]:
        """Make one shard, and count its rows as they are embedded, those of a hit at the end."""
        entries = make(self.context.with_listener(self._on_event))
        self.passed += rows
        self.move_to(max(self.done, self.passed))
        return entries

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
        elif event.kind == "note" and event.step != STEP:  # of encoder and device
            self.context.emit(event)

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
                unit="rows",
                text=text,
            )
        )
