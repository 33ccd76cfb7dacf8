"""Vectors as Parquet: columns `id`, `row` (number in the whole corpus, from 0) and `vector`, a fixed-size list of what is stored.

Readers name the columns that they want: a file may have more (`steps/reuse.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from safetensors.torch import load_file

from prefixbank.config.schema import EmbedRecipe
from prefixbank.core.combine import Bank
from prefixbank.core.embed import embed_batches
from prefixbank.core.pairs import pair_features
from prefixbank.core.quantize import Calibration, VectorType, dequantize, needs_calibration
from prefixbank.data.batches import budget_batches, tokenize
from prefixbank.data.encoder_files import EncoderFiles
from prefixbank.data.texts import Texts
from prefixbank.steps.context import Context
from prefixbank.steps.embed import CALIBRATION, FACTS
from prefixbank.steps.fitting import check_precision
from prefixbank.steps.json_files import read_json
from prefixbank.steps.memory import memory_errors
from prefixbank.steps.pairs import check_pairs
from prefixbank.store.artifact import Entry

TRUNCATED, FEATURES = b"truncated_rows", b"features"


def embed_rows(
    context: Context, bank: Bank, files: EncoderFiles, rows: Texts, recipe: EmbedRecipe, on_rows: Callable[[int], None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors [N, F] float32 in row order, and bool [N]: rows of which a text was truncated.

    Pairs that are read apart have [N, 2F]: |u - v|, u * v. `pairs=both` puts the joint vector in front of that, [N, 3F].

    Raises:
        UsageError: texts without a second one are to be compared.
    """
    check_precision(context, recipe.precision, setting="precision")
    check_pairs(recipe, [rows], "these texts")
    encoder = context.load(files, prompts=bank.soft)
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
        return vectors, cut
    places = {text: place for place, text in enumerate(dict.fromkeys((*rows.texts, *rows.pairs)))}
    reads = len(places) + (len(rows) if recipe.pairs == "both" else 0)
    on_read = None if on_rows is None else _in_rows(on_rows, rows=len(rows), reads=reads)
    single, cut = read(list(places), None, on_read)
    first, second = ([places[text] for text in texts] for texts in (rows.texts, rows.pairs))
    features, cut = pair_features(single[first], single[second]), cut[first] | cut[second]
    if recipe.pairs == "both":
        joint, cut_joint = read(rows.texts, rows.pairs, on_read)
        features, cut = np.concatenate([joint, features], axis=1), cut | cut_joint
    return features, cut


def _in_rows(on_rows: Callable[[int], None], *, rows: int, reads: int) -> Callable[[int], None]:
    """Return a listener to what is read that passes it on as rows: `rows` of them once `reads` texts are read."""
    read = told = 0

    def on_read(count: int) -> None:
        nonlocal read, told
        read += count
        on_rows(rows * read // reads - told)
        told = rows * read // reads

    return on_read


def publish_part(
    path: Path,
    rows: Texts,
    stored: np.ndarray,
    truncated: int,
    features: int,
    *,
    columns: Mapping[str, pa.Array] | None = None,
) -> None:
    """Write one part of `rows`, named by their ids or numbers.

    Args:
        path: the file.
        rows: N texts.
        stored: [N, S] what `quantize` made of the vectors.
        truncated: rows of which a text was cut.
        features: F of the vectors.
        columns: further columns.
    """
    ids = _numbers(rows.first_row, len(rows)) if rows.ids is None else pa.array(rows.ids, pa.string())
    write_part(path, ids, stored, truncated, features, first_row=rows.first_row, columns=columns)


def _numbers(first: int, count: int) -> pa.Array:
    return pa.array(np.arange(first, first + count), pa.int64())


def write_part(
    path: Path,
    ids: pa.Array,
    stored: np.ndarray,
    truncated: int,
    features: int = 0,
    *,
    first_row: int = 0,
    columns: Mapping[str, pa.Array] | None = None,
) -> None:
    """Write one part and give it its name only when it is whole."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), stored.shape[1])
    table = pa.table({"id": ids, "row": _numbers(first_row, len(stored)), "vector": column, **(columns or {})})
    table = table.replace_schema_metadata({TRUNCATED: str(truncated).encode(), FEATURES: str(features or stored.shape[1]).encode()})
    fresh = path.with_suffix(".new")
    parquet.write_table(table, fresh, compression="none", use_dictionary=False)
    fresh.replace(path)


def finished_part(path: Path) -> tuple[int, int] | None:
    """Return the number of truncated rows and F of a part that an earlier run finished, None if there is none."""
    if not path.is_file():
        return None
    facts = parquet.read_schema(path).metadata
    return int(facts[TRUNCATED]), int(facts[FEATURES])


def read_stored(entry: Entry, stem: str) -> np.ndarray:
    """Return one part of an embeddings artifact as it is stored, [N, S]."""
    return stored_in(parquet.read_table(entry.file(f"{stem}.parquet"), columns=["vector"]))


def stored_in(table: pa.Table) -> np.ndarray:
    """Return the vectors of a part's rows as they are stored, [N, S]."""
    column = table.column("vector").combine_chunks()
    flat: np.ndarray = column.values.to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), column.type.list_size)


def read_vectors(entry: Entry, stem: str) -> np.ndarray:
    """Return the vectors [N, F] float32 of one part of an embeddings artifact, whatever they are stored as."""
    stored = read_stored(entry, stem)
    kind, features = stored_type(entry)
    calibration = read_calibration(entry.file(CALIBRATION)) if needs_calibration(kind) else None
    return dequantize(stored, kind, calibration, features or stored.shape[1])


def stored_type(entry: Entry) -> tuple[VectorType, int]:
    """Return what vectors are stored as, and F (0 for joined vectors, which are stored as they are)."""
    facts = read_json(entry, FACTS).get("vectors", {"type": "float32", "features": 0})
    return facts["type"], facts["features"]


def read_calibration(path: Path) -> Calibration:
    """Return the calibration in a file."""
    return Calibration(**{name: tensor.numpy() for name, tensor in load_file(path).items()})
