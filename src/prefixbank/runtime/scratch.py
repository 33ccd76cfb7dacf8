"""Numbers that outgrow memory: vectors in files without a name."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from prefixbank.core.training.text_cache import Allocate


def in_file(path: Path) -> Allocate:
    """Return a function that allocates in a file; the file's name is gone when it returns.

    The space is free again when the tensor is, however the process ends.
    """

    def allocate(numbers: int, dtype: torch.dtype) -> Tensor:
        tensor = torch.from_file(str(path), shared=True, size=numbers, dtype=dtype)
        path.unlink()
        return tensor

    return allocate
