"""Vectors as Parquet: columns `id`, `row` (number in the whole corpus, from 0) and `vector`, a fixed-size list of float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from prefixbank.config.schema import EmbedRecipe
from prefixbank.core.combine import Bank
from prefixbank.core.embed import embed_batches
from prefixbank.core.pairs import pair_features
from prefixbank.data.batches import budget_batches, tokenize
from prefixbank.data.encoder_files import EncoderFiles
from prefixbank.data.texts import Texts
from prefixbank.steps.context import Context
from prefixbank.steps.fitting import check_precision
from prefixbank.steps.memory import memory_errors
from prefixbank.steps.pairs import check_pairs
from prefixbank.store.artifact import Entry

TRUNCATED = b"truncated_rows"


def embed_rows(
    context: Context, bank: Bank, files: EncoderFiles, rows: Texts, recipe: EmbedRecipe, on_rows: Callable[[int], None] | None = None
) -> tuple[np.ndarray, int]:
    """Return vectors [N, F] float32 in row order and the number of rows of which a text was truncated.

    Pairs that are read apart have [N, 2F]: |u - v|, u * v. `pairs=both` puts the joint vector in front of that, [N, 3F].

    Raises:
        UsageError: texts without a second one are to be compared.
    """
    check_precision(context, recipe.precision, setting="precision")
    check_pairs(recipe, [rows], "these texts")
    encoder = context.load(files)
    encoder.check_length(recipe.max_length_tokens)
    model, budget = context.reader(files, recipe.precision), context.embed_tokens()

    def read(texts: Sequence[str], pairs: Sequence[str] | None, on_read: Callable[[int], None] | None) -> tuple[np.ndarray, np.ndarray]:
        tokens = tokenize(encoder.tokenizer, texts, pairs, recipe.max_length_tokens)
        batches = budget_batches(tokens, budget)
        with memory_errors(f"run.embed_tokens={max(1, budget // 4)}"):
            vectors = embed_batches(
                model, batches, bank, count=len(texts), precision=recipe.precision, workers=context.embed_workers(), on_rows=on_read
            )
        return vectors, tokens.cut

    if rows.pairs is None or recipe.pairs == "joint":
        vectors, cut = read(rows.texts, rows.pairs, on_rows)
        return vectors, int(cut.sum())
    places = {text: place for place, text in enumerate(dict.fromkeys((*rows.texts, *rows.pairs)))}
    reads = len(places) + (len(rows) if recipe.pairs == "both" else 0)
    on_read = None if on_rows is None else _in_rows(on_rows, rows=len(rows), reads=reads)
    single, cut = read(list(places), None, on_read)
    first, second = ([places[text] for text in texts] for texts in (rows.texts, rows.pairs))
    features, cut = pair_features(single[first], single[second]), cut[first] | cut[second]
    if recipe.pairs == "both":
        joint, cut_joint = read(rows.texts, rows.pairs, on_read)
        features, cut = np.concatenate([joint, features], axis=1), cut | cut_joint
    return features, int(cut.sum())


def _in_rows(on_rows: Callable[[int], None], *, rows: int, reads: int) -> Callable[[int], None]:
    """Return a listener to what is read that passes it on as rows: `rows` of them once `reads` texts are read."""
    read = told = 0

    def on_read(count: int) -> None:
        nonlocal read, told
        read += count
        on_rows(rows * read // reads - told)
        told = rows * read // reads

    return on_read


def publish_part(path: Path, rows: Texts, vectors: np.ndarray, truncated: int) -> None:
    """Write one part of `rows`, named by their ids or numbers."""
    ids = _numbers(rows.first_row, len(rows)) if rows.ids is None else pa.array(rows.ids, pa.string())
    write_part(path, ids, vectors, truncated, first_row=rows.first_row)


def _numbers(first: int, count: int) -> pa.Array:
    return pa.array(np.arange(first, first + count), pa.int64())


def write_part(path: Path, ids: pa.Array, vectors: np.ndarray, truncated: int, *, first_row: int = 0) -> None:
    """Write one part and give it its name only when it is whole."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), vectors.shape[1])
    table = pa.table({"id": ids, "row": _numbers(first_row, len(vectors)), "vector": column})
    table = table.replace_schema_metadata({TRUNCATED: str(truncated).encode()})
    fresh = path.with_suffix(".new")
    parquet.write_table(table, fresh, compression="none", use_dictionary=False)
    fresh.replace(path)


def finished_part(path: Path) -> int | None:
    """Return the number of truncated rows of a part that an earlier run finished, None if there is none."""
    return int(parquet.read_schema(path).metadata[TRUNCATED]) if path.is_file() else None


def read_vectors(entry: Entry, stem: str) -> np.ndarray:
    """Return the vectors [N, F] float32 of one part of an embeddings artifact."""
    column = parquet.read_table(entry.file(f"{stem}.parquet"), columns=["vector"]).column("vector").combine_chunks()
    flat: np.ndarray = column.values.to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), column.type.list_size)
