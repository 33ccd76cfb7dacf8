"""From a finished training to the floating-point operations that it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

from prefixbank.core.fit_types import FitSettings
from prefixbank.core.flops import finetune_flops, prefix_flops, shapes_of
from prefixbank.core.pooling import Pooling
from prefixbank.core.shapes import Batch
from prefixbank.data.encoder import Encoder


def prefix_training_flops(encoder: Encoder, settings: FitSettings, train: Callable[[int], Sequence[Batch]], steps: int) -> int | None:
    """Return the operations behind a prefix.

    Args:
        encoder: the frozen encoder.
        settings: what was fitted and how.
        train: gives the batches of an epoch.
        steps: optimiser steps done, `FitResult.steps`.
    Returns:
        Operations in all; None for an encoder whose steps cannot be counted.
    """
    shapes = shapes_of(batches_seen(train, steps, settings.accumulation_steps))
    try:
        return prefix_flops(encoder.model, encoder.shape, settings.start, settings.pooling, settings.num_outputs, shapes)
    except RuntimeError:  # a training that went well is not lost over a number that only informs
        return None


def finetuning_flops(encoder: Encoder, pooling: Pooling, batches: Iterable[tuple[int, Batch]]) -> int | None:
    """Return the operations behind a fine-tuned encoder.

    Args:
        encoder: what training began with; or the same with other weights.
        pooling: how hidden states became one vector.
        batches: every batch trained on, over all epochs, each after the number of outputs C of its task's head.
    Returns:
        Operations in all; None for an encoder whose steps cannot be counted.
    """
    shapes: dict[int, Counter[tuple[int, int]]] = {}
    for outputs, batch in batches:
        shapes.setdefault(outputs, Counter()).update(shapes_of([batch]))
    try:
        return finetune_flops(encoder.model, encoder.shape, pooling, shapes)
    except RuntimeError:
        return None


def batches_seen(train: Callable[[int], Sequence[Batch]], steps: int, accumulation_steps: int) -> Iterator[Batch]:
    """Yield the batches of the first `steps` optimiser steps, epoch after epoch; an epoch's last step may have fewer batches."""
    left = steps
    for epoch in count():
        if left <= 0:
            return
        batches = train(epoch)[: left * accumulation_steps]
        yield from batches
        left -= -(-len(batches) // accumulation_steps)
