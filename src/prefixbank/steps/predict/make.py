"""Make the artifact of step `predict`: read vectors, apply heads and write what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from prefixbank.artifacts.embeddings import FACTS as EMBEDDINGS
from prefixbank.artifacts.embeddings import part_file, read_layout, read_vectors
from prefixbank.artifacts.fitted_probe import describe_rule
from prefixbank.artifacts.json_files import read_json, write_json
from prefixbank.artifacts.predictions import FACTS, STEP, write_rows
from prefixbank.artifacts.row_facts import row_facts_in
from prefixbank.config.schema import PredictConfig
from prefixbank.data.corpus.texts import Texts
from prefixbank.runtime.events import Event
from prefixbank.runtime.session import Session
from prefixbank.steps.predict.heads import Head
from prefixbank.steps.predict.loaded_head import Predictions, load_head, predictions_of
from prefixbank.store.artifact import Entry


def predict(
    session: Session,
    embeddings: Sequence[Entry],
    heads: Sequence[Head],
    config: PredictConfig,
    shards: Callable[[], Iterator[Texts]],
    name: str,
    out: Path,
) -> None:
    """Write a file of predictions for each part of the embeddings, and `predictions.json`.

    The arguments are those of `step.unit`; `out` is the artifact's folder.
    """
    facts = read_json(embeddings[0], EMBEDDINGS)
    layouts = [read_layout(entry) for entry in embeddings]
    loaded = [load_head(head) for head in heads]
    abstained = dict.fromkeys((head.name for head in loaded), 0)
    texts = shards() if config.text else None
    done = 0
    for stem in facts["parts"]:
        vectors = [read_vectors(entry, stem) for entry in embeddings]
        table = parquet.read_table(part_file(embeddings[0], stem), columns=["id", "row"])
        columns = {column: table[column] for column in table.column_names}
        if texts is not None:
            columns.update(_text_columns(next(texts)))
        for head in loaded:
            predictions = predictions_of(head, vectors, layouts, config.abstain_below)
            abstained[head.name] += int(predictions.abstained.sum())
            columns.update(columns_of(head.name, predictions, classes=config.classes))
        write_rows(pa.table(columns), out / f"{stem}.{config.format}", config.format)
        done += table.num_rows
        session.emit(
            Event(
                kind="progress",
                step=STEP,
                name=name,
                done=done,
                total=facts["rows"],
                unit="rows",
                text=stem,
            )
        )
    described = [
        {
            "name": head.name,
            "kind": head.rule.kind,
            "labels": list(head.labels),
            **describe_rule(head.rule, head.labels),
            "abstained": abstained[head.name],
        }
        for head in loaded
    ]
    kept = {"parts": facts["parts"], "rows": facts["rows"], **row_facts_in(facts)}
    write_json(out / FACTS, {**kept, "format": config.format, "heads": described})


def columns_of(name: str, predictions: Predictions, *, classes: bool) -> dict[str, pa.Array]:
    """Return the columns of a head.

    `NAME` is the label, the list of labels or the value. `NAME.probability` is that of the class
    that is named, or would be, or of each label in the list, and `NAME.abstained` whether a class
    is left out. With `classes`, `NAME:LABEL` is the probability of each class or label.
    """
    probabilities, labels = predictions.probabilities, predictions.labels
    if probabilities is None:
        return {name: pa.array(labels, pa.float64())}
    columns: dict[str, pa.Array] = {}
    if predictions.kind == "multilabel":
        of_labels = [
            row[flags != 0].tolist()
            for row, flags in zip(probabilities, predictions.values, strict=True)
        ]
        columns[name] = pa.array(labels, pa.list_(pa.string()))
        columns[f"{name}.probability"] = pa.array(of_labels, pa.list_(pa.float64()))
    else:
        columns[name] = pa.array(labels, pa.string())
        of_named = probabilities[np.arange(len(probabilities)), predictions.values]
        columns[f"{name}.probability"] = pa.array(of_named)
        columns[f"{name}.abstained"] = pa.array(predictions.abstained)
    if classes:
        for label, column in zip(predictions.names, probabilities.T, strict=True):
            columns[f"{name}:{label}"] = pa.array(np.ascontiguousarray(column))
    return columns


def _text_columns(texts: Texts) -> dict[str, pa.Array]:
    columns = {"text": pa.array(texts.texts, pa.string())}
    if texts.pairs is not None:
        columns["text_pair"] = pa.array(texts.pairs, pa.string())
    return columns
