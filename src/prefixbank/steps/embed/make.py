"""Embed parts of texts into files: what step `embed` does once it is a miss."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from prefixbank.artifacts.bank import plain_bank, read_bank
from prefixbank.artifacts.embeddings import (
    CALIBRATION,
    FACTS,
    STEP,
    finished_part,
    publish_part,
    read_calibration,
)
from prefixbank.artifacts.json_files import write_json
from prefixbank.artifacts.tensors import write_tensors
from prefixbank.core.combine import Bank
from prefixbank.core.quantize import Calibration, calibrate, needs_calibration, quantize
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.runtime.events import Event
from prefixbank.runtime.session import Session
from prefixbank.steps.embed.reuse import write_part_reusing
from prefixbank.steps.embed.rows import embed_rows
from prefixbank.steps.embed.spec import EmbeddingSpec
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON


def make_parts(
    session: Session,
    reading: EmbeddingSpec,
    parts: Mapping[str, Texts],
    calibration: Entry | None,
    name: str,
    folders: tuple[Path, Path],
) -> None:
    """Write a Parquet file for each part, `embeddings.json`, and the calibration.

    Only stored types that need a calibration have one.

    Args:
        session: how to run.
        reading: what reads, how, and what to store.
        parts: file stem to its rows.
        calibration: embeddings whose calibration holds here too; None: it is that of the first rows
            of the first part.
        name: what messages call it.
        folders: where results go, and where finished parts wait for the others.
    """
    (out, work), recipe = folders, reading.recipe
    bank = plain_bank(reading.pooling) if reading.bank is None else read_bank(reading.bank)
    known = None if calibration is None else read_calibration(calibration.file(CALIBRATION))
    truncated, features, read_before = (
        0,
        0,
        0 if reading.reuse is None else reading.reuse.texts_read,
    )
    for stem, rows in parts.items():
        path, kept = work / f"{stem}.parquet", work / CALIBRATION
        found = finished_part(path)
        tell = _teller(session, name, stem, len(rows))
        if found is None and reading.reuse is not None:
            reading.reuse.open(reading.document({}))
            found = write_part_reusing(
                path, rows, reading.reuse, partial(_read, session, bank, reading, tell), tell
            )
        elif found is None:
            vectors, cut = embed_rows(session, bank, reading.files, rows, recipe, tell)
            if known is None and needs_calibration(recipe.vectors):
                known = (
                    read_calibration(kept)
                    if kept.is_file()
                    else _calibrated(kept, vectors[: recipe.calibration_rows])
                )
            found = (int(cut.sum()), vectors.shape[1])
            publish_part(
                path,
                rows,
                quantize(vectors, recipe.vectors, known, recipe.binary_threshold),
                *found,
            )
        truncated, features = truncated + found[0], found[1]
        shutil.copyfile(path, out / path.name)
    if needs_calibration(recipe.vectors):
        shutil.copyfile(
            work / CALIBRATION if calibration is None else calibration.file(CALIBRATION),
            out / CALIBRATION,
        )
    count = sum(len(rows) for rows in parts.values())
    stored = {"type": recipe.vectors, "features": features}
    pooled = {
        "pooling": asdict(bank.pooling),
        "layer_blocks": _layer_blocks(session, reading.files, bank),
    }
    facts = {
        "parts": list(parts),
        "rows": count,
        "truncated_share": truncated / count,
        "vectors": stored,
        **pooled,
    }
    if reading.reuse is not None:
        facts["reused_rows"] = count - (reading.reuse.texts_read - read_before)
    write_json(out / FACTS, facts)


def _read(
    session: Session, bank: Bank, reading: EmbeddingSpec, tell: Callable[[int], None], rows: Texts
) -> tuple[np.ndarray, np.ndarray]:
    """Return what is stored of some rows' vectors, and which rows were truncated.

    For stored types that need no calibration.
    """
    vectors, cut = embed_rows(session, bank, reading.files, rows, reading.recipe, tell)
    return quantize(vectors, reading.recipe.vectors, None, reading.recipe.binary_threshold), cut


def _teller(session: Session, name: str, stem: str, total: int) -> Callable[[int], None]:
    """Return what is told of rows done."""
    done = 0

    def on_rows(count: int) -> None:
        nonlocal done
        done += count
        session.emit(
            Event(kind="progress", step=STEP, name=name, done=done, total=total, text=stem)
        )

    return on_rows


def _calibrated(path: Path, sample: np.ndarray) -> Calibration:
    """Calibrate, and keep it beside the finished parts."""
    calibration = calibrate(sample)
    fresh = path.with_suffix(".new")
    write_tensors(
        fresh, {name: torch.from_numpy(values) for name, values in vars(calibration).items()}
    )
    fresh.replace(path)
    return calibration


def _layer_blocks(session: Session, files: EncoderFiles, bank: Bank) -> JSON | None:
    """Return the numbers of the layers that lie side by side in a vector and the size of each.

    None where there is one block only.
    """
    if bank.pooling.layers != "concat_last":
        return None
    shape = session.load(files).shape
    return {
        "layers": list(range(shape.layers + 1 - bank.pooling.last_k, shape.layers + 1)),
        "size": shape.hidden_size,
    }
