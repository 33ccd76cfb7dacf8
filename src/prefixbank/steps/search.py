"""Search embeddings: the rows nearest to a text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pyarrow.parquet as parquet

from prefixbank.artifacts.bank import plain_bank, read_bank, read_readout
from prefixbank.artifacts.embeddings import (
    FACTS,
    centre_as,
    part_file,
    quantize_as,
    read_stored,
    read_vectors,
    transform_as,
)
from prefixbank.artifacts.encoder import KINDS, encoder_of, listing_of
from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.pooling import pooling_in
from prefixbank.config.commands import CorpusConfig, SearchConfig
from prefixbank.config.schema import EmbedRecipe, EncoderConfig
from prefixbank.core.blocks import BlockBank
from prefixbank.core.combine import Bank
from prefixbank.data.columns import refuse_other_texts
from prefixbank.data.corpus.corpus import STDIN, Shards, shards_of
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.errors import DataError, PrefixbankError, UsageError
from prefixbank.runtime.events import Event
from prefixbank.runtime.session import Session
from prefixbank.steps.embed.rows import embed_rows
from prefixbank.store.artifact import Entry


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """An embeddings artifact, and how its texts were embedded.

    Args:
        session: the store and how to run.
        entry: the artifact.
        bank: bank that the texts were embedded with.
        files: encoder of the bank.
        recipe: settings of embedding.
    """

    session: Session
    entry: Entry
    bank: Bank | BlockBank
    files: EncoderFiles
    recipe: EmbedRecipe

    @classmethod
    def named(cls, session: Session, name: str) -> Embeddings:
        """Find embeddings by ref or key.

        Raises:
            UsageError: no name, no such embeddings, embeddings of separate pairs, or their bank was
                deleted.
        """
        if not name:
            raise UsageError(
                "no embeddings given",
                expected="embeddings=NAME",
                fix="prefixbank cache ls embed    lists all embeddings",
            )
        entry = session.store.resolve("embeddings", name)
        if entry.step != "embed":
            raise UsageError(
                f"{name} is {entry.step}, not embeddings",
                expected="a result of `prefixbank embed`",
                fix="prefixbank cache ls embed",
            )
        config = dict(entry.document["config"])
        pooling = config.pop("pooling", None)
        for other in ("reuse", "blocks"):
            config.pop(other, None)
        recipe = EmbedRecipe(**config)
        if recipe.pairs != "joint":
            raise UsageError(
                f"{name} holds comparisons of pairs (pairs={recipe.pairs})",
                expected="embeddings of texts",
                fix="embed with pairs=joint",
            )
        files = _encoder_of(session, entry)
        bank = (
            plain_bank(pooling_in(pooling), files)
            if entry.info["bank"] is None
            else _bank_of(session, entry)
        )
        return cls(
            session=session,
            entry=entry,
            bank=bank,
            files=files,
            recipe=recipe,
        )

    @property
    def parts(self) -> list[str]:
        """File stems of the parts, in order."""
        stems: list[str] = read_json(self.entry, FACTS)["parts"]
        return stems

    def vectors(self) -> Iterator[np.ndarray]:
        """Yield the vectors of each part, float32 [N, F]."""
        return (read_vectors(self.entry, stem) for stem in self.parts)

    def bits(self) -> Iterator[np.ndarray]:
        """Yield the packed bits of each part, uint8 [N, S]."""
        return (read_stored(self.entry, stem) for stem in self.parts)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed queries in the same way, with the same transform, float32 [Q, F]."""
        blocks, _ = embed_rows(
            self.session, self.bank, self.files, Texts(texts=tuple(texts)), self.recipe
        )
        return transform_as(self.entry, blocks)

    def names(self, indices: np.ndarray) -> dict[int, tuple[str, int]]:
        """Return id and row number of rows, by their index among all rows."""
        names, first = {}, 0
        for stem in self.parts:
            table = parquet.read_table(part_file(self.entry, stem), columns=["id", "row"])
            inside = np.unique(indices[(indices >= first) & (indices < first + len(table))])
            rows = table.take(inside - first).to_pylist()
            names.update(
                {
                    int(index): (row["id"], row["row"])
                    for index, row in zip(inside, rows, strict=True)
                }
            )
            first += len(table)
        return names


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A row of embeddings that is near to a text.

    Args:
        query: the text.
        rank: 1 for the nearest row.
        id: of the row.
        row: its number in the corpus, from 0.
        score: cosine.
        text: of the row; None if the corpus cannot be read again.
    """

    query: str
    rank: int
    id: str
    row: int
    score: float
    text: str | None


def check_queries(queries: CorpusConfig, texts: Sequence[str]) -> None:
    """Refuse pairs, zero vectors, a file beside texts, and texts of spaces alone as queries."""
    if texts:
        refuse_other_texts(texts, "texts")
    if texts and queries.path != STDIN:
        raise UsageError(
            f"queries.path={queries.path}, and the text {textwrap.shorten(texts[0], 40)!r}",
            expected="queries from one of them",
            fix="drop queries.path, or the texts",
        )
    if queries.column_pair:
        raise UsageError(
            f"queries.column_pair={queries.column_pair}",
            expected="queries of one text each",
            fix="drop queries.column_pair",
        )
    if queries.empty == "zero":
        raise UsageError(
            "queries.empty=zero, and nothing is near a zero vector",
            expected="queries with a text each",
            fix="queries.empty=drop",
        )


def neighbours(
    embeddings: Embeddings, queries: Sequence[str], config: SearchConfig
) -> list[list[Hit]]:
    """Return the neighbours of each query, the nearest first.

    Raises:
        UsageError: the extra `search` is not installed.
        DataError: `corpus` is not the one that was embedded.
    """
    try:
        from prefixbank.core import search
    except ImportError as error:
        raise UsageError(
            "search needs faiss, which is not installed",
            expected="the extra 'search'",
            fix="pip install 'prefixbank[search]'",
        ) from error

    corpus = _CorpusTexts(embeddings, config.corpus)
    vectors = embeddings.embed(queries)
    if embeddings.recipe.vectors == "binary":
        threshold = embeddings.recipe.binary_threshold
        bits = quantize_as(embeddings.entry, vectors, threshold)
        candidates = search.nearest_bits(bits, embeddings.bits(), config.k * config.rescore)
        centred = centre_as(embeddings.entry, vectors, threshold)
        nearest = search.rescored(centred, embeddings.vectors(), candidates, config.k)
    else:
        nearest = search.nearest(vectors, embeddings.vectors(), config.k)
    names = embeddings.names(nearest.rows)
    texts = corpus.at({row for _, row in names.values()})
    return [
        [
            Hit(
                query=query,
                rank=rank,
                id=names[index][0],
                row=names[index][1],
                score=float(score),
                text=texts.get(names[index][1]),
            )
            for rank, (index, score) in enumerate(zip(indices, scores, strict=True), start=1)
            if index >= 0
        ]
        for query, indices, scores in zip(
            queries, nearest.rows.tolist(), nearest.scores.tolist(), strict=True
        )
    ]


class _CorpusTexts:
    """The texts of an embedded corpus, read again from its file.

    Only shards that hold wanted rows are read, and their digests say that they are what was
    embedded. Without a corpus in the settings it is the file that the embeddings remember, and if
    that cannot be read, a note says why texts are missing.

    Args:
        embeddings: of the corpus.
        config: where the corpus is, if its path is not empty.

    Raises:
        DataError: the corpus in the settings is not the one that was embedded.
    """

    def __init__(self, embeddings: Embeddings, config: CorpusConfig) -> None:
        self._session, self._entry = embeddings.session, embeddings.entry
        self._is_given = bool(config.path)
        self._digests = list(self._entry.document["inputs"]["texts"].values())
        self._rows = parquet.read_metadata(part_file(self._entry, embeddings.parts[0])).num_rows
        self._shards: Shards | None = None
        remembered = self._entry.info.get("corpus")
        if self._is_given:
            where = config
        elif remembered is None:
            self._note("their file is not known")
            return
        else:
            where = CorpusConfig(**remembered)
        self._path, self._drops = where.path, where.empty == "drop"
        with self._noted():
            shards = shards_of(replace(where, shard_rows=self._rows))
            self._read(shards, 0)
            self._shards = shards

    def at(self, rows: set[int]) -> dict[int, str]:
        """Return the texts of these rows, of those that are known."""
        found: dict[int, str] = {}
        if self._shards is None:
            return found
        latest = {min(row // self._rows, len(self._digests) - 1) for row in rows}
        # Rows that are left out move those behind them to an earlier shard.
        numbers = range(max(latest, default=-1) + 1) if self._drops else sorted(latest)
        with self._noted():
            for number in numbers:
                shard = self._read(self._shards, number)
                texts = zip(shard.numbers.tolist(), shard.texts, strict=True)
                found |= {row: text for row, text in texts if row in rows}
        return found

    def _read(self, shards: Shards, number: int) -> Texts:
        try:
            return shards(number, self._digests[number])
        except UsageError as error:
            raise DataError(
                f"'{self._path}' is not the corpus of these embeddings",
                expected="the same rows and columns as when they were embedded",
                fix="leave corpus.path out, or name the file that was embedded",
            ) from error

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Turn an error into a note if nobody named the corpus."""
        try:
            yield
        except (UsageError, OSError) as error:
            if self._is_given:
                raise
            self._note(error.what if isinstance(error, UsageError) else str(error))

    def _note(self, why: str) -> None:
        text = f"texts are not shown: {why}; corpus.path=FILE shows them"
        name = str(self._entry.info.get("name", self._entry.short_key))
        self._session.emit(Event(kind="note", step="search", name=name, text=text))


def _bank_of(session: Session, entry: Entry) -> Bank | BlockBank:
    """Return the bank of embeddings, or of a single block its part of the bank."""
    bank = session.store.get(entry.info["bank"])
    if bank is None:
        raise UsageError(
            f"the bank {entry.info['bank'][:8]} of these embeddings was deleted",
            expected="the bank in the same store",
            fix="combine it again, then embed again",
        )
    readouts = entry.document["inputs"].get("readouts")
    if readouts is None:
        return read_bank(bank)
    file = next(name for name, record in bank.files.items() if record.sha256 == readouts)
    return BlockBank(readouts=(read_readout(bank, file),), plain=None)


def _encoder_of(session: Session, entry: Entry) -> EncoderFiles:
    """Return the encoder of embeddings: that of an artifact, or from its settings."""
    digest = entry.document["inputs"]["encoder"]
    for step in KINDS:
        for made in session.store.entries(step):
            if listing_of(made) == digest:
                return encoder_of(made)
    files = session.encoder_files(EncoderConfig(**entry.info["encoder"]))
    if files.digest != digest:
        raise PrefixbankError(
            f"the encoder {files.label} here is not the one that made these embeddings",
            expected=f"the files with digest {digest[:8]}",
            fix="restore them, or embed again",
        )
    return files
