"""Private operators of torch are used only where they give what their definition gives.

They may change or vanish in any release. So each is checked on a small problem before its first
use in a process, and where it fails the plain path is taken.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

TOLERANCE_EPS = 16
"""Allowed distance from the definition, in units of the last place of the largest number."""


class SlowPathWarning(UserWarning):
    """A private operator of torch is not used; results are the same, and take longer."""


def agrees(name: str, fast: Callable[[], Tensor], expected: Tensor, dtype: torch.dtype) -> bool:
    """Return whether `fast()` gives `expected`; warn if it does not, or fails.

    Args:
        name: of what is checked, for the warning.
        fast: runs the private operators on a small problem.
        expected: what the definition gives, float64.
        dtype: in what `fast` computes.
    """
    try:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            distance = float((fast().double() - expected).abs().max() / expected.abs().max())
        reason = f"differs from its definition by {distance:.1e}"
        if distance <= TOLERANCE_EPS * torch.finfo(dtype).eps:
            return True
    except Exception as error:  # whatever a changed operator raises
        reason = (
            f"fails ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
        )
    warnings.warn(
        f"{name} of torch {torch.__version__} {reason}; the plain path is used, which is slower",
        SlowPathWarning,
        stacklevel=2,
    )
    return False
