"""Keep the lower layers of a model: those above are dropped, and the norm after the last.

No family has code of its own. The layers are the list of modules that contain one attention each,
and a check at every load proves that what is left computes what the whole model computes there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig

from prefixbank.core.attention.prefix_attention import AttentionCall
from prefixbank.errors import EncoderError, UsageError

TOLERANCE = 1e-4
"""Largest difference that a self-check takes for rounding, as a share of the largest number."""


def keep_layers(
    model: nn.Module,
    calls: Sequence[AttentionCall],
    count: int,
    inputs: Mapping[str, Tensor],
    label: str,
) -> None:
    """Drop the layers of a model above the first `count`, and the final norm, in place.

    Afterwards the model ends with the hidden states after layer `count`, before any final norm.

    Args:
        model: the whole model, loaded with our attention.
        calls: its attention calls in one pass, in order.
        count: layers to keep, at least 1.
        inputs: keyword arguments of the model, for the check; [B, T] each.
        label: what errors call the encoder.

    Raises:
        UsageError: the model has fewer layers.
        EncoderError: it has no list of layers, or the check failed.
    """
    path, stack = _stack(model, calls, label)
    if count > len(stack):
        raise UsageError(
            f"encoder.layers={count} with {label}, which has {len(stack)} layers",
            expected=f"at most {len(stack)}; 0 is the whole model, with its final norm",
            fix=f"encoder.layers={len(stack)}",
        )
    expected = _states_after(stack[count - 1], model, inputs)
    model.set_submodule(path, stack[:count])
    for norm in _norms_behind(model, path):
        model.set_submodule(norm, nn.Identity())
    cut_config(model.config, len(stack), count)
    with torch.no_grad():
        found = model(**inputs, attention_calls=[]).last_hidden_state
    real = inputs["attention_mask"].bool()
    drift = float((found - expected)[real].abs().max())
    if not drift <= TOLERANCE * max(1.0, float(expected[real].abs().max())):
        raise _refusal(f"its output then differs from the whole model's by {drift:.1e}", label)


def cut_config(config: Any, layers: int, count: int) -> None:
    """Let a model's configuration describe the first `count` of its layers, in place.

    Lists with an entry for each layer, such as `layer_types`, are cut as well.
    """
    for name, value in config.to_dict().items():
        if "layer" in name and isinstance(value, list) and len(value) == layers:
            setattr(config, name, value[:count])
    config.num_hidden_layers = count


def cut_config_file(folder: Path, count: int) -> None:
    """Let the `config.json` in a folder describe the first `count` layers."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    cut_config(config, config.num_hidden_layers, count)
    config.save_pretrained(folder)


def _stack(
    model: nn.Module, calls: Sequence[AttentionCall], label: str
) -> tuple[str, nn.ModuleList]:
    """Return the list of layers, each with one attention, and its dotted name."""
    for path, module in model.named_modules():
        if (
            isinstance(module, nn.ModuleList)
            and len(module) == len(calls) == getattr(model.config, "num_hidden_layers", None)
            and all(
                call.module in set(layer.modules())
                for layer, call in zip(module, calls, strict=True)
            )
        ):
            return path, module
    raise _refusal("it has no list of layers with one attention each", label)


def _refusal(reason: str, label: str) -> EncoderError:
    return EncoderError(
        f"encoder.layers does not work in {label}: {reason}",
        expected="an encoder whose layers are modules of their own, one after the other",
        fix="encoder.layers=0, and pooling.layers=single pooling.layer=N for the states of layer N",
    )


def _states_after(layer: nn.Module, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the hidden states [B, T, E] that a layer of the whole model puts out."""
    states: list[Tensor] = []

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        states.append(output if isinstance(output, Tensor) else output[0])

    handle = layer.register_forward_hook(keep)
    try:
        with torch.no_grad():
            model(**inputs, attention_calls=[])
    finally:
        handle.remove()
    return states[0]


def _norms_behind(model: nn.Module, path: str) -> list[str]:
    """Return the names of norms that are declared after the list of layers.

    They stand beside the list, or beside a module that contains it.
    """
    names = path.split(".")
    found = []
    for depth, name in enumerate(names):
        above = names[:depth]
        children = list(model.get_submodule(".".join(above)).named_children())
        behind = children[[child for child, _ in children].index(name) + 1 :]
        found += [
            ".".join([*above, child])
            for child, module in behind
            if "norm" in type(module).__name__.lower()
        ]
    return found
