"""Make the artifact of step `score-prefix`: predict with a prefix and its head, and score."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from prefixbank.artifacts.bank import bank_of_one
from prefixbank.artifacts.json_files import write_json
from prefixbank.artifacts.prefix import PREDICTIONS, SCORE
from prefixbank.artifacts.tensors import read_tensors, write_tensors
from prefixbank.config.schema import EmbedRecipe
from prefixbank.core.blocks import BlockBank
from prefixbank.core.combine import Bank
from prefixbank.core.pairs import side_by_side
from prefixbank.core.probe.model import evaluate_predictions
from prefixbank.core.probe.solution import probabilities_from
from prefixbank.core.training.heads import predictions_of
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.tasks.task import Task
from prefixbank.runtime.session import Session
from prefixbank.steps.embed.rows import embed_rows
from prefixbank.steps.embed.step import parts_of_task
from prefixbank.store.artifact import Entry


def score_prefix(
    out: Path,
    session: Session,
    trained: Entry,
    task: Task,
    files: EncoderFiles,
    *,
    split: str,
    bootstrap_samples: int,
) -> None:
    """Write `score.json` and `predictions.safetensors`.

    They hold the score with a 95 % bootstrap interval over rows, and predictions and probabilities
    with labels.
    The prefix is used as in training, alone and with weight 1. Its head, a linear layer on the
    pooled vector, predicts in the units of the labels. Pairs are read as in training, too.
    """
    recipe = trained.document["config"]
    bank = bank_of_one(trained)
    texts = parts_of_task(task, (split,))[split]
    embed = EmbedRecipe(max_length_tokens=recipe["max_length_tokens"])
    vectors, cut = (
        _read_apart(session, bank, files, texts, embed)
        if recipe["prefix"].get("pairs") == "separate"
        else _read(session, bank, files, texts, embed)
    )
    head = read_tensors(trained, "head.safetensors")
    outputs = vectors @ head["weight"].T + head["bias"]
    predictions = predictions_of(task.kind, outputs)
    probabilities = (
        None
        if task.kind == "regression"
        else probabilities_from(task.kind, outputs.double().numpy())
    )
    labels = np.asarray(task.split(split).labels)
    evaluation = evaluate_predictions(
        task.kind,
        predictions,
        labels,
        task.num_outputs,
        probabilities=probabilities,
        metric=task.metric,
        bootstrap_samples=bootstrap_samples,
        seed=recipe["seed"],
    )
    write_json(
        out / SCORE,
        {
            "metric": task.metric,
            "split": split,
            "truncated_share": float(cut.mean()),
            **asdict(evaluation),
        },
    )
    arrays = {"labels": labels, "predictions": predictions}
    if probabilities is not None:
        arrays["probabilities"] = probabilities
    write_tensors(
        out / PREDICTIONS, {name: torch.from_numpy(array) for name, array in arrays.items()}
    )


def _read(
    session: Session,
    bank: Bank | BlockBank,
    files: EncoderFiles,
    texts: Texts,
    recipe: EmbedRecipe,
) -> tuple[Tensor, np.ndarray]:
    """Return the vectors [N, F] of texts, and which were truncated, bool [N]."""
    (vectors,), cut = embed_rows(session, bank, files, texts, recipe)
    return torch.from_numpy(vectors), cut


def _read_apart(
    session: Session,
    bank: Bank | BlockBank,
    files: EncoderFiles,
    texts: Texts,
    recipe: EmbedRecipe,
) -> tuple[Tensor, np.ndarray]:
    """Return u, v, |u - v|, u * v of pairs [N, 4F], and which were truncated, bool [N]."""
    if texts.pairs is None:
        raise ValueError("only pairs are read apart")
    both = Texts(texts=(*texts.texts, *texts.pairs), pairs=None)
    vectors, cut = _read(session, bank, files, both, recipe)
    first, second = np.split(cut, 2)
    return side_by_side(vectors), first | second
