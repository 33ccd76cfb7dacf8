"""Count the floating-point operations of a finished training run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

from prefixbank.core.shapes import Batch
from prefixbank.core.training.flops import (
    BatchShapes,
    finetune_flops,
    forward_flops,
    prefix_flops,
    shapes_of,
)
from prefixbank.core.training.settings import FitSettings, TrainingSettings
from prefixbank.data.encoders.encoder import Encoder


def prefix_training_flops(
    encoder: Encoder,
    settings: FitSettings,
    train: Callable[[int], Sequence[Batch]],
    steps: int,
    encoded_once: BatchShapes | None = None,
) -> int | None:
    """Return the operations behind a prefix.

    Args:
        encoder: the frozen encoder.
        settings: what was fitted and how.
        train: gives the batches of an epoch.
        steps: optimiser steps done, `FitResult.steps`.
        encoded_once: shapes of the batches in which texts were encoded before training, if any.
    Returns:
        Operations in all; None for an encoder whose steps cannot be counted.
    """
    shapes = shapes_seen(settings, train, steps)
    try:
        return prefix_flops(
            encoder.model, encoder.shape, settings.start, settings.pooling, shapes, encoded_once
        )
    except RuntimeError:  # a training that went well is not lost over a number that only informs
        return None


def finetuning_flops(
    encoder: Encoder,
    settings: TrainingSettings,
    train: Callable[[int], Sequence[Batch]],
    steps: int,
) -> int | None:
    """Return the operations behind a fine-tuned encoder.

    `encoder` is what training began with, or the same with other weights.

    The others are those of `prefix_training_flops`, and so is what is returned.
    """
    try:
        return finetune_flops(
            encoder.model, encoder.shape, settings.pooling, shapes_seen(settings, train, steps)
        )
    except RuntimeError:
        return None


def outputs_flops(
    encoder: Encoder, settings: TrainingSettings, batches: Iterable[Batch]
) -> int | None:
    """Return the operations behind the outputs of a fine-tuned encoder and its heads for batches.

    None as in `prefix_training_flops`.
    """
    try:
        return forward_flops(
            encoder.model, encoder.shape, settings.pooling, shapes_by_outputs(settings, batches)
        )
    except RuntimeError:
        return None


def shapes_seen(
    settings: TrainingSettings, train: Callable[[int], Sequence[Batch]], steps: int
) -> dict[int, Counter[tuple[int, int]]]:
    """Return the shapes of all batches trained on, as `shapes_by_outputs` does."""
    return shapes_by_outputs(
        settings, batches_seen(train, steps, settings.gradient_accumulation_steps)
    )


def shapes_by_outputs(
    settings: TrainingSettings, batches: Iterable[Batch]
) -> dict[int, Counter[tuple[int, int]]]:
    """Return the shapes of batches, by the outputs C of their task's head.

    A head on u, v, |u - v| and u * v of B pairs costs what one with 2C outputs costs for 2B texts.
    """
    shapes: dict[int, Counter[tuple[int, int]]] = {}
    for batch in batches:
        task = settings.tasks[batch.task]
        outputs = task.num_outputs * (2 if task.separate else 1)
        shapes.setdefault(outputs, Counter()).update(shapes_of([batch]))
    return shapes


def batches_seen(
    train: Callable[[int], Sequence[Batch]], steps: int, gradient_accumulation_steps: int
) -> Iterator[Batch]:
    """Yield the batches of the first `steps` optimiser steps, epoch after epoch.

    An epoch's last step may have fewer batches.
    """
    left = steps
    for epoch in count():
        if left <= 0:
            return
        batches = train(epoch)[: left * gradient_accumulation_steps]
        yield from batches
        left -= -(-len(batches) // gradient_accumulation_steps)
