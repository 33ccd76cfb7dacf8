"""Tensors in an artifact's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor

from prefixbank.core.prefix import Prefix, prefix_of, tensors_of
from prefixbank.core.prompt import SoftPrompt
from prefixbank.core.training.settings import Head
from prefixbank.store.artifact import Entry


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors without metadata, whose order would differ from run to run."""
    path.write_bytes(
        save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    )


def write_heads(path: Path, heads: Sequence[Head]) -> None:
    """Write the heads of several tasks as `<place of the task>.weight` [C, F] and `.bias` [C]."""
    write_tensors(
        path,
        {
            f"{place}.{name}": part
            for place, pair in enumerate(heads)
            for name, part in zip(("weight", "bias"), pair, strict=True)
        },
    )


def read_tensors(entry: Entry, name: str) -> dict[str, Tensor]:
    """Read tensors of an artifact, checked against their digest."""
    return load_file(entry.file(name))


def prefix_tensors(prefix: Prefix | SoftPrompt, place: str = "") -> dict[str, Tensor]:
    """Return a prefix as named tensors, each name behind `place`."""
    return {f"{place}{name}": tensor for name, tensor in tensors_of(prefix).items()}


def prefix_from(tensors: dict[str, Tensor], place: str = "") -> Prefix | SoftPrompt:
    """Return the prefix that `prefix_tensors` took apart."""
    return prefix_of(
        {
            name.removeprefix(place): tensor
            for name, tensor in tensors.items()
            if name.startswith(place)
        }
    )
