"""Tensor files of artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor

from prefixbank.core.prefix import AnyPrefix, prefix_of, tensors_of
from prefixbank.core.training.settings import Head
from prefixbank.store.artifact import Entry


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors without metadata, whose order differs from run to run."""
    path.write_bytes(
        save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    )


def write_heads(path: Path, heads: Sequence[Head]) -> None:
    """Write the heads of several tasks as `<index of the task>.weight` [C, F] and `.bias` [C]."""
    write_tensors(
        path,
        {
            f"{index}.{name}": tensor
            for index, head in enumerate(heads)
            for name, tensor in zip(("weight", "bias"), head, strict=True)
        },
    )


def read_heads(entry: Entry) -> list[Head]:
    """Return the heads of an artifact of several tasks: see `write_heads`."""
    tensors = read_tensors(entry, "heads.safetensors")
    return [
        (tensors[f"{index}.weight"], tensors[f"{index}.bias"]) for index in range(len(tensors) // 2)
    ]


def read_tensors(entry: Entry, name: str) -> dict[str, Tensor]:
    """Read tensors of an artifact, checked against their digest."""
    return load_file(entry.file(name))


def prefix_tensors(prefix: AnyPrefix, start: str = "") -> dict[str, Tensor]:
    """Return a prefix as named tensors; every name begins with `start`."""
    return {f"{start}{name}": tensor for name, tensor in tensors_of(prefix).items()}


def prefix_from(tensors: dict[str, Tensor], start: str = "") -> AnyPrefix:
    """Return the prefix of the tensors whose names begin with `start`: see `prefix_tensors`."""
    return prefix_of(
        {
            name.removeprefix(start): tensor
            for name, tensor in tensors.items()
            if name.startswith(start)
        }
    )
