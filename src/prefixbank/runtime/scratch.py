"""Numbers that outgrow memory: vectors in files without a name."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from prefixbank.core.training.text_cache import Allocate
from prefixbank.errors import DeviceError


def in_file(path: Path) -> Allocate:
    """Return a function that allocates in a file; the file's name is gone when it returns.

    The space is free again when the tensor is, however the process ends.
    """

    def allocate(numbers: int, dtype: torch.dtype) -> Tensor:
        _reserve(path, numbers * dtype.itemsize)
        tensor = torch.from_file(str(path), shared=True, size=numbers, dtype=dtype)
        path.unlink()
        return tensor

    return allocate


def _reserve(path: Path, size: int) -> None:
    """Take room for a file. Without it, writing to a mapped file on a full disk is a bus error."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, max(1, size))
        except OSError as error:
            path.unlink()
            raise DeviceError(
                f"run.text_states_in=disk needs {size / 1e9:.1f} GB in {path.parent}: "
                f"{error.strerror}",
                expected="a store on a disk with that much room",
                fix="optim.text_states=recomputed    or --store FOLDER on a larger disk",
            ) from error
