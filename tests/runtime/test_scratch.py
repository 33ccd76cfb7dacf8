"""Vectors in files without a name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from prefixbank.errors import DeviceError
from prefixbank.runtime.scratch import in_file


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_file_has_no_name_while_its_numbers_are_used(tmp_path: Path, dtype: torch.dtype):
    tensor = in_file(tmp_path / "states")(1000, dtype)
    assert tensor.shape == (1000,) and tensor.dtype == dtype and not list(tmp_path.iterdir())
    tensor.copy_(torch.arange(1000) % 100)
    assert float(tensor.double().sum()) == sum(number % 100 for number in range(1000))


def test_file_that_a_killed_process_left_is_no_obstacle(tmp_path: Path):
    (tmp_path / "states").write_bytes(b"left behind")
    assert in_file(tmp_path / "states")(10, torch.float32).shape == (10,)
    assert not list(tmp_path.iterdir())


def test_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DeviceError, match="needs 0.4 GB in .*: No space left on device"):
        in_file(tmp_path / "states")(100_000_000, torch.float32)
    assert not list(tmp_path.iterdir())
