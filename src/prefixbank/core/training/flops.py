"""The number of floating-point operations of a training, counted without running it.

torch's counter observes one step for each shape of batch, on tensors that have a shape but no
numbers. So counting needs neither the device nor the memory of the training. Of many shapes only a
few are observed: a step of B texts of T tokens takes n + B (a + b T + c T^2) operations. Where that
law fails a check, every shape is observed. Only matrix products count, two operations for each
multiplication with its addition. Element-wise operations (softmax, norms, losses, the optimiser)
are left out, as is usual. So are validation, and what a kernel or gradient checkpointing computes
twice to save memory.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import prod
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
from prefixbank.core.training.pooling import TrainablePooling

BatchShapes = Mapping[tuple[int, int], int]
"""(B, T) of batches, with padding, to the number of such batches."""

_Module = TypeVar("_Module", bound=nn.Module)
_Size = tuple[int, int]
"""(B, T)."""
_Costs = Mapping[_Size, int]
"""Operations of one step of each size, without those of the head."""
FEW_SIZES = 6
"""So many are observed one by one: as many as it takes to find the law and to check it."""

_COUNTED: dict[tuple[str, PrefixStart | None, Pooling], StepCost] = {}
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
    sizes = set().union(*batches.values())
    costs = _step_cost(model, shape, start, pooling)(sizes)
    if start.kind != "readout":
        return _with_heads(costs, pooling.output_size(shape.hidden_size), batches)
    features = start.size or shape.hidden_size
    if encoded_once is None:
        return _with_heads(costs, features, batches)
    alone = replace(start, readouts=0, initial=None, summary="mean", size=0)
    of_text = _step_cost(model, shape, alone, pooling)({*sizes, *encoded_once})
    of_readouts = {size: cost - of_text[size] for size, cost in costs.items()}
    return _with_heads(of_readouts, features, batches) + sum(
        times * of_text[size] for size, times in encoded_once.items()
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
    costs = _step_cost(model, shape, None, pooling)(set().union(*batches.values()))
    return _with_heads(costs, pooling.output_size(shape.hidden_size), batches)


def _with_heads(costs: _Costs, features: int, batches: Mapping[int, BatchShapes]) -> int:
    """Add up the costs of all batches, with heads on vectors of size `features`."""
    return sum(
        times * (costs[size] + _head_flops(size[0], features, outputs))
        for outputs, shapes in batches.items()
        for size, times in shapes.items()
    )


def _head_flops(rows: int, features: int, outputs: int) -> int:
    """Count the three products of a linear head, B · F · C each.

    They are its outputs, the gradient of its weights and the gradient of the vectors.
    """
    return 3 * 2 * rows * features * outputs


def _step_cost(
    model: nn.Module, shape: EncoderShape, start: PrefixStart | None, pooling: Pooling
) -> StepCost:
    """Return the cost of steps up to the pooled vectors.

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
        prefix = None if form is None else trainable(model, shape, form, 0)
        learned = TrainablePooling(pooling, shape, 0)
        _COUNTED[key] = StepCost(_observer(model, prefix, learned))
    return _COUNTED[key]


def _build_of(model: nn.Module) -> str:
    """Return a text that differs for models with different modules, sizes or configurations.

    It is the same for models that differ in their weights only.
    """
    weights = [
        (name, tuple(weight.shape), weight.dtype) for name, weight in model.named_parameters()
    ]
    return f"{type(model).__module__} {model!r} {getattr(model, 'config', '')} {weights}"


class StepCost:
    """Operations of steps of any size.

    Args:
        observe: counts the operations of one step of a size.
    """

    def __init__(self, observe: Callable[[_Size], int]) -> None:
        self._observe = cache(observe)

    def __call__(self, sizes: Set[_Size]) -> _Costs:
        """Return the operations of a step of each size."""
        lengths = sorted({tokens for _, tokens in sizes})
        if len(sizes) > FEW_SIZES and len(lengths) >= 3:
            law = self._law(lengths[0], lengths[len(lengths) // 2], lengths[-1])
            by_length = sorted(sizes, key=lambda size: (size[1], size[0]))
            checked = (by_length[len(sizes) * 3 // 4], by_length[-1])
            if all(law(size) == self._observe(size) for size in checked):
                return {size: int(law(size)) for size in sizes}
        return {size: self._observe(size) for size in sizes}

    def _law(self, *lengths: int) -> Callable[[_Size], Fraction]:
        """Return n + B (a + b T + c T^2), found on one text of three lengths and on two texts."""
        first = self._observe((1, lengths[0]))
        fixed = 2 * first - self._observe((2, lengths[0]))
        of_text = {tokens: self._observe((1, tokens)) - fixed for tokens in lengths}

        def law(size: _Size) -> Fraction:
            rows, tokens = size
            of_one = (
                of_text[one]
                * prod(Fraction(tokens - other, one - other) for other in lengths if other != one)
                for one in lengths
            )
            return Fraction(fixed + rows * sum(of_one))

        return law


def _observer(
    model: nn.Module, prefix: Trainable | None, pooling: TrainablePooling
) -> Callable[[_Size], int]:
    """Return a function that counts the operations of a step of one size."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    encoder = _without_numbers(mode, model, trained=prefix is None)
    trained = None if prefix is None else _without_numbers(mode, prefix, trained=True)
    pooled = _without_numbers(mode, pooling, trained=True)

    def observe(size: _Size) -> int:
        # The counter does not know the CPU's fused attention; the plain one consists of products.
        with mode, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            inputs = {
                name: torch.ones(size, dtype=torch.int64)
                for name in ("input_ids", "attention_mask")
            }
            if isinstance(trained, TrainableReadout):
                _run_readouts(encoder, trained, inputs)
            else:
                slots = None if trained is None else trained().slots()
                torch.autograd.backward(encode(encoder, inputs, slots, pooled()).sum())
        return int(counter.get_total_flops())

    return observe


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
