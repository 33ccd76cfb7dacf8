"""What this machine computes with."""

from __future__ import annotations

import os

import torch


def processors() -> dict[str, str]:
    """Return each processor that torch can use, by the name that `run.device` knows, with a description."""
    found = {"cpu": f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"}
    if torch.cuda.is_available():
        found["cuda"] = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return found
