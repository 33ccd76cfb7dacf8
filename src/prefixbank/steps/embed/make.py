"""Make the artifact of step `embed`: embed parts and write them to files."""

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
    describe_layout,
    finished_part,
    publish_part,
    read_calibration,
)
from prefixbank.artifacts.json_files import write_json
from prefixbank.artifacts.tensors import write_tensors
from prefixbank.core.combine import Bank
from prefixbank.core.layout import Layout, layout_of
from prefixbank.core.quantize import Calibration, calibrate, needs_calibration, quantize
from prefixbank.data.corpus.texts import Texts
from prefixbank.runtime.events import Event
from prefixbank.runtime.session import Session
from prefixbank.steps.embed.reuse import write_part_reusing
from prefixbank.steps.embed.rows import embed_rows
from prefixbank.steps.embed.spec import EmbeddingSpec
from prefixbank.store.artifact import Entry


def make_parts(
    session: Session,
    spec: EmbeddingSpec,
    parts: Mapping[str, Texts],
    calibration: Entry | None,
    name: str,
    folders: tuple[Path, Path],
) -> None:
    """Write a Parquet file for each part, `embeddings.json`, and the calibration if there is one.

    Args:
        session: how to run.
        spec: how to embed.
        parts: file stem to its rows.
        calibration: embeddings whose calibration is used; None: calibrate on the first rows of the
            first part.
        name: what messages call it.
        folders: the artifact's folder, and a folder that keeps finished parts if the run is killed.
    """
    (out, work), recipe = folders, spec.recipe
    bank = plain_bank(spec.pooling) if spec.bank is None else read_bank(spec.bank)
    calibrated = None if calibration is None else read_calibration(calibration.file(CALIBRATION))
    truncated = features = 0
    embedded_before = 0 if spec.reuse is None else spec.reuse.texts_embedded
    for stem, rows in parts.items():
        path, kept = work / f"{stem}.parquet", work / CALIBRATION
        counts = finished_part(path)
        on_rows = _progress_listener(session, name, stem, len(rows))
        if counts is None and spec.reuse is not None:
            spec.reuse.open(spec.document({}))
            embed = partial(_embed_stored, session, bank, spec, on_rows)
            counts = write_part_reusing(path, rows, spec.reuse, embed, on_rows)
        elif counts is None:
            vectors, cut = embed_rows(session, bank, spec.files, rows, recipe, on_rows)
            if calibrated is None and needs_calibration(recipe.vectors):
                calibrated = (
                    read_calibration(kept)
                    if kept.is_file()
                    else _calibrated(kept, vectors[: recipe.calibration_rows])
                )
            counts = (int(cut.sum()), vectors.shape[1])
            publish_part(
                path,
                rows,
                quantize(vectors, recipe.vectors, calibrated, recipe.binary_threshold),
                *counts,
            )
        truncated, features = truncated + counts[0], counts[1]
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
        "layout": describe_layout(_layout(session, spec, bank)),
    }
    facts = {
        "parts": list(parts),
        "rows": count,
        "truncated_share": truncated / count,
        "vectors": stored,
        **pooled,
    }
    if spec.reuse is not None:
        facts["reused_rows"] = count - (spec.reuse.texts_embedded - embedded_before)
    write_json(out / FACTS, facts)


def _embed_stored(
    session: Session, bank: Bank, spec: EmbeddingSpec, on_rows: Callable[[int], None], rows: Texts
) -> tuple[np.ndarray, np.ndarray]:
    """Embed rows; return vectors as stored, without calibration, and which rows were truncated."""
    vectors, cut = embed_rows(session, bank, spec.files, rows, spec.recipe, on_rows)
    return quantize(vectors, spec.recipe.vectors, None, spec.recipe.binary_threshold), cut


def _progress_listener(session: Session, name: str, stem: str, total: int) -> Callable[[int], None]:
    """Return a listener that counts rows and reports progress."""
    done = 0

    def on_rows(count: int) -> None:
        nonlocal done
        done += count
        session.emit(
            Event(kind="progress", step=STEP, name=name, done=done, total=total, text=stem)
        )

    return on_rows


def _calibrated(path: Path, sample: np.ndarray) -> Calibration:
    """Calibrate on a sample of vectors [M, F], and save it beside the finished parts."""
    calibration = calibrate(sample)
    fresh = path.with_suffix(".new")
    write_tensors(
        fresh, {name: torch.from_numpy(values) for name, values in vars(calibration).items()}
    )
    fresh.replace(path)
    return calibration


def _layout(session: Session, spec: EmbeddingSpec, bank: Bank) -> Layout:
    """Return which reading, layer and position each feature comes from."""
    shape = session.load(spec.files).shape
    return layout_of(
        bank.pooling,
        pairs=spec.recipe.pairs,
        layers=shape.layers,
        hidden_size=shape.hidden_size,
        passes=len(bank.passes()) if bank.rule == "concat_vectors" else 1,
    )
