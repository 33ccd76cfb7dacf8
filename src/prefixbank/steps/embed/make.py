"""Make the artifact of step `embed`: embed parts and write them to files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from prefixbank.artifacts.bank import plain_bank, pooling_from, read_bank, read_readout
from prefixbank.artifacts.embeddings import (
    CALIBRATION,
    FACTS,
    STEP,
    calibration_arrays,
    describe_layout,
    finished_part,
    publish_part,
    read_calibration,
    read_layout,
)
from prefixbank.artifacts.json_files import write_json
from prefixbank.artifacts.pooling import pooling_of
from prefixbank.artifacts.row_facts import long_facts
from prefixbank.artifacts.tensors import write_tensors
from prefixbank.config.schema import EmbedRecipe, effective, key_config
from prefixbank.core.blocks import BlockBank
from prefixbank.core.combine import Bank
from prefixbank.core.fit_transform import check_size, fit_transform
from prefixbank.core.layout import (
    Layout,
    features_of_readings,
    layout_of,
    layout_of_block,
    layout_of_transformed,
)
from prefixbank.core.quantize import Calibration, bytes_per_vector, calibrate, quantize
from prefixbank.core.transform import LinearTransform, transformed
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.encoders.encoder import load_tokenizer
from prefixbank.runtime.session import Session
from prefixbank.steps.embed.long_texts import refuse_long
from prefixbank.steps.embed.reuse import write_part_reusing
from prefixbank.steps.embed.rows import embed_rows
from prefixbank.steps.embed.spec import EmbeddingSpec
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON


@dataclass(kw_only=True)
class Target:
    """One of the embeddings that are made of the same texts.

    Args:
        spec: how to embed.
        calibration: embeddings whose calibration is used; None: calibrate on the first rows of the
            first part.
        work: folder that keeps finished parts, also if the run is killed.
        calibrated: the calibration, once it is known.
        truncated: rows in the finished parts that are longer than the encoder reads at once.
        features: F of the vectors, transformed.
    """

    spec: EmbeddingSpec
    calibration: Entry | None
    work: Path
    calibrated: Calibration | None = None
    truncated: int = 0
    features: int = 0

    def __post_init__(self) -> None:
        """Read a calibration that exists already."""
        kept = self.work / CALIBRATION
        if self.calibration is not None:
            self.calibrated = read_calibration(self.calibration.file(CALIBRATION))
        elif self.spec.recipe.calibrated_by and kept.is_file():
            self.calibrated = read_calibration(kept)

    def part(self, stem: str) -> Path:
        """Return the file of a part."""
        return self.work / f"{stem}.parquet"

    def publish(self, stem: str, rows: Texts, vectors: np.ndarray, truncated: int) -> None:
        """Write vectors [N, F] as a part, after calibrating on the first ones."""
        recipe = self.spec.recipe
        if recipe.calibrated_by and self.calibrated is None:
            self.calibrated = _calibrated(self.work / CALIBRATION, vectors, recipe)
        if self.calibrated is not None:
            vectors = transformed(vectors, self.calibrated.transforms)
        stored = quantize(vectors, recipe.vectors, self.calibrated, recipe.binary_threshold)
        publish_part(self.part(stem), rows, stored, truncated, vectors.shape[1])


def make_parts(
    session: Session,
    own: Target,
    others: Sequence[Target],
    parts: Mapping[str, Texts],
    name: str,
    out: Path,
) -> None:
    """Write a Parquet file for each part, `embeddings.json`, and the calibration if there is one.

    Args:
        session: how to run.
        own: the embeddings to write.
        others: blocks of the same bank that are missing, too. Their parts are made in the same
            pass over the texts and left in their own folders.
        parts: file stem to its rows.
        name: what messages call it.
        out: the artifact's folder.
    """
    recipe, reuse = own.spec.recipe, own.spec.reuse
    _refuse_long(session, own.spec, parts, name)
    first = next(iter(parts))
    if own.calibrated is None:
        _check_transform(session, [own, *others], parts[first])
    for stem, rows in parts.items():
        if finished_part(own.part(stem)) is None:
            # Blocks are calibrated on the first part, however much of it another run has made.
            targets = [own] + [
                one
                for one in others
                if finished_part(one.part(stem)) is None
                and (stem == first or one.calibrated is not None or not recipe.calibrated_by)
            ]
            on_rows = session.row_counter(STEP, name, len(rows), unit="rows", text=stem)
            _make_part(session, targets, stem, rows, on_rows)
        truncated, own.features = finished_part(own.part(stem)) or (0, 0)
        own.truncated += truncated
        shutil.copyfile(own.part(stem), out / own.part(stem).name)
    if recipe.calibrated_by:
        kept = own.work / CALIBRATION
        calibration = own.calibration
        shutil.copyfile(
            kept if calibration is None else calibration.file(CALIBRATION), out / CALIBRATION
        )
    count = sum(len(rows) for rows in parts.values())
    facts = {
        "parts": list(parts),
        "rows": count,
        **long_facts(recipe.long, own.truncated, count),
        "vectors": _stored(own),
        **_pooled(session, own),
    }
    if empty := sum(int(rows.empty().sum()) for rows in parts.values()):
        facts["empty_rows"] = empty
    if reuse is not None:
        facts["reused_rows"] = count - sum(reuse.embedded[own.part(stem)] for stem in parts)
    write_json(out / FACTS, facts)


def _refuse_long(
    session: Session, spec: EmbeddingSpec, parts: Mapping[str, Texts], name: str
) -> None:
    """Refuse texts of all parts that are too long, before any of them is encoded."""
    if spec.recipe.long == "error":
        where = {name if len(parts) == 1 else f"{name} {stem}": [parts[stem]] for stem in parts}
        refuse_long(spec.recipe, load_tokenizer(spec.files), spec.files, where)


def _make_part(
    session: Session,
    targets: Sequence[Target],
    stem: str,
    rows: Texts,
    on_rows: Callable[[int], None],
) -> None:
    """Embed the rows of one part once, and write the part of each target."""
    targets = _plain_first(targets)
    spec = targets[0].spec
    bank = bank_of([target.spec for target in targets])
    if spec.reuse is None:
        blocks, cut = embed_rows(session, bank, spec.files, rows, spec.recipe, on_rows)
        for target, vectors in zip(targets, blocks, strict=True):
            target.publish(stem, rows, vectors, int(cut.sum()))
        return
    embed = _EmbedOnce(session=session, bank=bank, spec=spec, on_rows=on_rows)
    for index, target in enumerate(targets):
        reuse = target.spec.reuse
        if reuse is None:
            raise ValueError("either all blocks of a bank copy known vectors, or none")
        reuse.open(target.spec.document({}))
        counted = on_rows if index == 0 else _uncounted
        write_part_reusing(target.part(stem), rows, reuse, partial(embed.block, index), counted)


def _plain_first(targets: Sequence[Target]) -> list[Target]:
    """Return targets in the order of the bank that `bank_of` returns."""
    return sorted(targets, key=lambda target: target.spec.block is not None)


def bank_of(specs: Sequence[EmbeddingSpec]) -> Bank | BlockBank:
    """Return the bank whose blocks are the vectors of `specs`, the plain vector first."""
    first = specs[0]
    if first.bank is not None:
        return read_bank(first.bank)
    sources = [spec.block for spec in specs if spec.block is not None]
    if not sources:
        return plain_bank(first.pooling, first.files)
    readouts = tuple(read_readout(source.bank, source.file) for source in sources)
    plain = pooling_from(first.pooling) if len(sources) < len(specs) else None
    return BlockBank(readouts=readouts, plain=plain)


@dataclass(kw_only=True)
class _EmbedOnce:
    """Embeds rows for several blocks: those that one of them needs are kept for the others."""

    session: Session
    bank: Bank | BlockBank
    spec: EmbeddingSpec
    on_rows: Callable[[int], None]
    done: dict[Texts, tuple[list[np.ndarray], np.ndarray]] = field(default_factory=dict)

    def block(self, index: int, rows: Texts) -> tuple[np.ndarray, np.ndarray]:
        """Return the vectors of a block as stored, and which rows were truncated."""
        if rows not in self.done:
            self.done[rows] = embed_rows(
                self.session, self.bank, self.spec.files, rows, self.spec.recipe, self.on_rows
            )
        blocks, cut = self.done[rows]
        recipe = self.spec.recipe
        return quantize(blocks[index], recipe.vectors, None, recipe.binary_threshold), cut


def _uncounted(rows: int) -> None:
    """Report nothing: the rows of the first block stand for those of all."""


def _check_transform(session: Session, targets: Sequence[Target], rows: Texts) -> None:
    """Refuse a transform that a vector or the first rows are too small for, before all are read."""
    targets = _plain_first(targets)
    first, recipe = targets[0].spec, targets[0].spec.recipe
    if recipe.transform == "none":
        return
    bank = bank_of([target.spec for target in targets])
    blocks, _ = embed_rows(session, bank, first.files, rows.take(np.array([0])), recipe)
    for target, vectors in zip(targets, blocks, strict=True):
        spec = target.spec
        for features in features_of_readings(vectors.shape[1], recipe.pairs):
            check_size(
                recipe.transform,
                recipe.transform_size,
                features=features,
                rows=min(len(rows), recipe.transform_rows),
                of=f"block {spec.block_name}" if isinstance(bank, BlockBank) else "vectors",
            )


def _stored(target: Target) -> JSON:
    """Return how vectors are stored; after a transform, also how many bytes they have."""
    recipe, features = target.spec.recipe, target.features
    described: JSON = {"type": recipe.vectors, "features": features}
    if recipe.transform != "none" and target.calibrated is not None:
        described["transform"] = recipe.transform
        described["bytes"] = bytes_per_vector(recipe.vectors, features)
    near = None if target.calibrated is None else target.calibrated.near_threshold
    if near is not None and not target.spec.has_signs:  # of which the margins are gone
        described["near_threshold"] = near
    return described


def _pooled(session: Session, target: Target) -> JSON:
    """Return how vectors were pooled, and where each feature comes from."""
    if target.calibrated is not None and target.calibrated.transforms:
        sizes = [one.matrix.shape[1] for one in target.calibrated.transforms]
        layout = layout_of_transformed(sizes, target.spec.recipe.pairs)
    else:
        layout = layout_for(session, target.spec, target.features)
    return {"pooling": _pooling(target.spec), "layout": describe_layout(layout)}


def _pooling(spec: EmbeddingSpec) -> JSON | None:
    """Return the pooling of vectors that are no block of a source; None of those that are."""
    if spec.block is not None:
        return None
    return key_config(spec.pooling if spec.bank is None else pooling_of(spec.bank))


def layout_for(session: Session, spec: EmbeddingSpec, features: int) -> Layout:
    """Return which reading, layer and position each feature of an untransformed vector is from."""
    if spec.block is not None:
        return layout_of_block(features, spec.recipe.pairs)
    return _layout(session, spec, _whole_bank(spec))


def _whole_bank(spec: EmbeddingSpec) -> Bank:
    """Return the bank of vectors that are no block of a source."""
    bank = plain_bank(spec.pooling, spec.files) if spec.bank is None else read_bank(spec.bank)
    if isinstance(bank, BlockBank):
        raise ValueError("a bank of blocks is embedded block by block")
    return bank


def _calibrated(path: Path, vectors: np.ndarray, recipe: EmbedRecipe) -> Calibration:
    """Calibrate on the first of vectors [N, F], and save it beside the finished parts."""
    transforms = _transforms(vectors[: recipe.transform_rows], recipe)
    rows = effective(recipe).calibration_rows  # as the key has it
    sample = transformed(vectors[:rows], transforms)
    bits = recipe.binary_threshold if recipe.vectors == "binary" else None
    calibration = calibrate(sample, transforms, bits=bits)
    fresh = path.with_suffix(".new")
    arrays = calibration_arrays(calibration)
    write_tensors(fresh, {name: torch.from_numpy(values) for name, values in arrays.items()})
    fresh.replace(path)
    return calibration


def _transforms(sample: np.ndarray, recipe: EmbedRecipe) -> tuple[LinearTransform, ...]:
    """Return a transform for each reading, fitted to a sample of vectors [M, F]."""
    if recipe.transform == "none":
        return ()
    ends = np.cumsum(features_of_readings(sample.shape[1], recipe.pairs))[:-1]
    return tuple(
        fit_transform(recipe.transform, piece, recipe.transform_size, recipe.transform_seed)
        for piece in np.split(sample, ends, axis=1)
    )


def _layout(session: Session, spec: EmbeddingSpec, bank: Bank) -> Layout:
    """Return which reading, layer and position each feature comes from."""
    known = None if spec.reuse is None else spec.reuse.known()
    if known is not None:  # where nothing is new, the encoder is not even loaded
        return read_layout(known)
    shape = session.load(spec.files).shape
    return layout_of(
        bank.pooling,
        pairs=spec.recipe.pairs,
        layers=shape.layers,
        hidden_size=shape.hidden_size,
        passes=bank.views,
    )
