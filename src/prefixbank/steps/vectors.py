"""Vectors as Parquet: column `id`, and column `vector` as a fixed-size list of float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from prefixbank.config.schema import EmbedRecipe
from prefixbank.core.combine import Bank
from prefixbank.core.embed import embed_batches
from prefixbank.data.batches import budget_batches, tokenize
from prefixbank.data.encoder_files import EncoderFiles
from prefixbank.data.texts import Texts
from prefixbank.steps.context import Context
from prefixbank.steps.fitting import check_precision
from prefixbank.steps.memory import memory_errors
from prefixbank.store.artifact import Entry

TRUNCATED = b"truncated_rows"


def embed_rows(
    context: Context, bank: Bank, files: EncoderFiles, rows: Texts, recipe: EmbedRecipe, on_rows: Callable[[int], None] | None = None
) -> tuple[np.ndarray, int]:
    """Return vectors [N, F] float32 in row order and the number of truncated rows."""
    check_precision(context, recipe.precision, setting="precision")
    encoder = context.load(files)
    encoder.check_length(recipe.max_length_tokens)
    tokens = tokenize(encoder.tokenizer, rows.texts, rows.pairs, recipe.max_length_tokens)
    batches = budget_batches(tokens, context.run.embed_tokens)
    with memory_errors(f"run.embed_tokens={max(1, context.run.embed_tokens // 4)}"):
        vectors = embed_batches(encoder.model, batches, bank, count=len(rows), precision=recipe.precision, on_rows=on_rows)
    return vectors, tokens.truncated


def publish_part(path: Path, rows: Texts, vectors: np.ndarray, truncated: int) -> None:
    """Write one part and give it its name only when it is whole."""
    numbers = np.arange(rows.first_row, rows.first_row + len(rows))
    ids = pa.array(numbers, pa.int64()) if rows.ids is None else pa.array(rows.ids, pa.string())
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), vectors.shape[1])
    table = pa.table({"id": ids, "vector": column}).replace_schema_metadata({TRUNCATED: str(truncated).encode()})
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
