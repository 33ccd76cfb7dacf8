"""Tensors in an artifact's folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from prefixbank.core.fit_types import Head
from prefixbank.core.prefix import Prefix, prefix_of, tensors_of
from prefixbank.core.prompt import SoftPrompt
from prefixbank.store.artifact import Entry


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors without metadata, whose order would differ from run to run."""
    path.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def write_heads(path: Path, heads: Sequence[Head]) -> None:
    """Write the heads of several tasks as `<place of the task>.weight` [C, F] and `.bias` [C]."""
    write_tensors(
        path, {f"{place}.{name}": part for place, pair in enumerate(heads) for name, part in zip(("weight", "bias"), pair, strict=True)}
    )


def read_tensors(entry: Entry, name: str) -> dict[str, Tensor]:
    """Read tensors of an artifact, checked against their digest."""
    return load_file(entry.file(name))


def prefix_tensors(prefix: Prefix | SoftPrompt, place: str = "") -> dict[str, Tensor]:
    """Return a prefix as named tensors, each name behind `place`."""
    return {f"{place}{name}": tensor for name, tensor in tensors_of(prefix).items()}


def prefix_from(tensors: dict[str, Tensor], place: str = "") -> Prefix | SoftPrompt:
    """Return the prefix that `prefix_tensors` took apart."""
    return prefix_of({name.removeprefix(place): tensor for name, tensor in tensors.items() if name.startswith(place)})


class FolderCheckpoint:
    """A fit's state as two files in a work folder, replaced together by one rename."""

    def __init__(self, folder: Path, every_s: float) -> None:
        """Keep states in `folder`, at most one each `every_s` seconds."""
        import time

        self.folder, self.every_s, self.clock = folder, every_s, time.monotonic
        self.last = self.clock()

    @property
    def path(self) -> Path:
        """The one file that holds a state."""
        return self.folder / "training.safetensors"

    def due(self) -> bool:
        """Say whether `every_s` seconds have passed."""
        return self.clock() - self.last >= self.every_s

    def save(self, state: tuple[dict[str, Tensor], dict[str, Any]]) -> None:
        """Write a state; a kill in the middle leaves the one before."""
        tensors, facts = state
        packed = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(save({**tensors, "facts": packed}))
        fresh.replace(self.path)
        self.last = self.clock()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the last state, if there is a whole one."""
        if not self.path.is_file():
            return None
        try:
            tensors = load_file(self.path)
        except SafetensorError:
            return None
        facts = json.loads(bytes(tensors.pop("facts").tolist()))
        return tensors, facts
