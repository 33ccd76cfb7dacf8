"""The number of floating-point operations of a training, counted without running it.

torch's counter observes one step for each shape of batch, on tensors that have a shape but no
numbers. So counting needs neither the device nor the memory of the training. Only matrix products
count, two operations for each multiplication with its addition. Element-wise operations (softmax,
norms, losses, the optimiser) are left out, as is usual. So are validation, and what a kernel or
gradient checkpointing computes twice to save memory.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prefixbank.core.embed import encode
from prefixbank.core.pooling import Pooling
from prefixbank.core.prefix import PrefixStart, Trainable, trainable
from prefixbank.core.readout import TrainableReadout, encode_text, read_out
from prefixbank.core.shapes import Batch, EncoderShape

BatchShapes = Mapping[tuple[int, int], int]
"""(B, T) of batches, with padding, to the number of such batches."""

_Module = TypeVar("_Module", bound=nn.Module)
_Cost = Callable[[int, int], int]
"""From B and T to the operations of one step, without those of the head."""

_COUNTED: dict[tuple[str, PrefixStart | None, Pooling], _Cost] = {}
"""By build of the model, form of the prefix and pooling; small, since a cost holds no numbers."""


def shapes_of(batches: Iterable[Batch]) -> Counter[tuple[int, int]]:
    """Return the number of batches of each shape (B, T)."""
    shapes: Counter[tuple[int, int]] = Counter()
    for batch in batches:
        texts, tokens = batch.inputs["input_ids"].shape
        shapes[texts, tokens] += 1
    return shapes


def prefix_flops(
    model: nn.Module,
    shape: EncoderShape,
    start: PrefixStart,
    pooling: Pooling,
    batches: Mapping[int, BatchShapes],
    encoded_once: BatchShapes | None = None,
) -> int:
    """Count the operations of training a prefix and its heads on a frozen encoder.

    These are the forward pass, and the backward pass to the prefix and the heads. For read-outs,
    the backward pass leaves out the texts.

    Args:
        model: encoder loaded with our attention; it is not changed.
        shape: its sizes.
        start: how the prefix is parameterised; a soft prompt adds its length to each text.
        pooling: how hidden states become one vector.
        batches: C of a head to the batches that it was trained on, over all epochs; tasks with the
            same C are added up.
        encoded_once: batches in which the texts of read-outs were encoded before training; None:
            they were encoded in every step.
    Returns:
        Operations in all.
    Raises:
        RuntimeError: the encoder's code branches on numbers that are not known before it runs.
    """
    if start.kind != "readout":
        cost = _step_cost(model, shape, start, pooling)
        return _with_heads(cost, pooling.output_size(shape.hidden_size), batches)
    alone = replace(start, readouts=0, initial=None, summary="mean", size=0)
    of_text, with_readouts = (_step_cost(model, shape, form, pooling) for form in (alone, start))
    features = start.size or shape.hidden_size
    if encoded_once is None:
        return _with_heads(with_readouts, features, batches)
    of_readouts = _with_heads(
        lambda rows, tokens: with_readouts(rows, tokens) - of_text(rows, tokens), features, batches
    )
    return of_readouts + sum(
        times * of_text(rows, tokens) for (rows, tokens), times in encoded_once.items()
    )


def finetune_flops(
    model: nn.Module, shape: EncoderShape, pooling: Pooling, batches: Mapping[int, BatchShapes]
) -> int:
    """Count the operations of training all weights of an encoder and a head for each task.

    Args:
        model: encoder loaded with our attention; it is not changed.
        shape: its sizes.
        pooling: how hidden states become one vector.
        batches: as `prefix_flops`.
    Returns:
        Operations in all.
    Raises:
        RuntimeError: as `prefix_flops`.
    """
    return _with_heads(
        _step_cost(model, shape, None, pooling), pooling.output_size(shape.hidden_size), batches
    )


def _with_heads(cost: _Cost, features: int, batches: Mapping[int, BatchShapes]) -> int:
    """Add up the cost of all batches, with heads on vectors of size `features`."""
    return sum(
        times * cost(rows, tokens) + times * _head_flops(rows, features, outputs)
        for outputs, shapes in batches.items()
        for (rows, tokens), times in shapes.items()
    )


def _head_flops(rows: int, features: int, outputs: int) -> int:
    """Count the three products of a linear head, B · F · C each.

    They are its outputs, the gradient of its weights and the gradient of the vectors.
    """
    return 3 * 2 * rows * features * outputs


def _step_cost(
    model: nn.Module, shape: EncoderShape, start: PrefixStart | None, pooling: Pooling
) -> _Cost:
    """Return the cost of a step up to the pooled vectors.

    Without a prefix, all weights of the model are trained. Counts are cached for models of the same
    build, since a study trains hundreds of prefixes of one form.
    """
    form = (
        None
        if start is None
        else replace(
            start,
            initial=None,
            words=(),
            slots=None,
            init_scale=0.0,
            gate_init=0.0,
            dropout=0.0,
        )
    )
    key = (_build_of(model), form, pooling)
    if key not in _COUNTED:
        _COUNTED[key] = _new_cost(
            model, None if form is None else trainable(model, shape, form, 0), pooling
        )
    return _COUNTED[key]


def _build_of(model: nn.Module) -> str:
    """Return a text that differs for models with different modules, sizes or configurations.

    It is the same for models that differ in their weights only.
    """
    weights = [
        (name, tuple(weight.shape), weight.dtype) for name, weight in model.named_parameters()
    ]
    return f"{type(model).__module__} {model!r} {getattr(model, 'config', '')} {weights}"


def _new_cost(model: nn.Module, prefix: Trainable | None, pooling: Pooling) -> _Cost:
    """Return a function that counts the operations for a shape and caches them."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    encoder = _without_numbers(mode, model, trained=prefix is None)
    trained = None if prefix is None else _without_numbers(mode, prefix, trained=True)

    @cache
    def count(rows: int, tokens: int) -> int:
        # The counter does not know the CPU's fused attention; the plain one consists of products.
        with mode, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            inputs = {
                name: torch.ones(rows, tokens, dtype=torch.int64)
                for name in ("input_ids", "attention_mask")
            }
            if isinstance(trained, TrainableReadout):
                _run_readouts(encoder, trained, inputs)
            else:
                slots = None if trained is None else trained().slots()
                torch.autograd.backward(encode(encoder, inputs, slots, pooling).sum())
        return int(counter.get_total_flops())

    return count


def _run_readouts(encoder: nn.Module, trained: TrainableReadout, inputs: dict[str, Tensor]) -> None:
    """Run forward and backward pass of read-outs, or that of their texts alone without any."""
    with torch.no_grad():
        states, _ = encode_text(encoder, inputs)
    if trained.vectors.shape[0]:
        positions = torch.zeros(len(states.mask), dtype=torch.int64)
        (block,) = read_out(encoder, states, positions, [trained()])
        torch.autograd.backward(block.sum())


def _without_numbers(mode: FakeTensorMode, module: _Module, *, trained: bool) -> _Module:
    """Return a copy whose tensors have shapes but no numbers, on the CPU."""
    with mode:
        shapes: dict[int, Tensor] = {
            id(buffer): torch.empty(buffer.shape, dtype=buffer.dtype) for buffer in module.buffers()
        }
        for weight in module.parameters():
            shapes[id(weight)] = nn.Parameter(
                torch.empty(weight.shape, dtype=weight.dtype), requires_grad=trained
            )
    return copy.deepcopy(module, shapes)
