"""Checkpoints of a training run, in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor


class FolderCheckpoint:
    """The state of a training run as one file in a work folder, replaced by a rename."""

    def __init__(self, folder: Path, every_s: float) -> None:
        """Save to `folder`, at most once in `every_s` seconds."""
        import time

        self.folder, self.every_s, self.clock = folder, every_s, time.monotonic
        self.last = self.clock()

    @property
    def path(self) -> Path:
        """The file that holds the state."""
        return self.folder / "training.safetensors"

    def due(self) -> bool:
        """Whether `every_s` seconds have passed since the last save."""
        return self.clock() - self.last >= self.every_s

    def save(self, state: tuple[dict[str, Tensor], dict[str, Any]]) -> None:
        """Save a state. If the process is killed meanwhile, the previous state remains."""
        tensors, facts = state
        packed = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(save({**tensors, "facts": packed}))
        fresh.replace(self.path)
        self.last = self.clock()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the last state, None if there is none or it cannot be read."""
        if not self.path.is_file():
            return None
        try:
            tensors = load_file(self.path)
        except SafetensorError:
            return None
        facts = json.loads(bytes(tensors.pop("facts").tolist()))
        return tensors, facts
