"""Memory: refuse what cannot fit before it starts.

Where it runs out all the same, say what to lower.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from prefixbank.config.schema import PrefixRecipe
from prefixbank.core.shapes import EncoderShape
from prefixbank.errors import DeviceError
from prefixbank.runtime.context import Context

GIB = 2**30


def free_bytes(device: str) -> int:
    """Return the memory that is free where `device` keeps its tensors."""
    return (
        int(torch.cuda.mem_get_info()[0])
        if device == "cuda"
        else int(psutil.virtual_memory().available)
    )


def check_memory(shape: EncoderShape, width: int, recipe: PrefixRecipe, free: int) -> None:
    """Refuse a prefix whose attention over texts of `width` tokens would not fit into `free` bytes.

    A soft prompt is as many more tokens in each text.

    Raises:
        DeviceError: with the longest prefix that fits.
    """
    rows, length = recipe.optim.batch_size, recipe.prefix.length
    text_only, with_one = (
        shape.attention_bytes(rows=rows, tokens=width, slots=slots) for slots in (0, 1)
    )
    if recipe.prefix.kind == "soft":
        needed = shape.attention_bytes(rows=rows, tokens=width + length, slots=0)
        fits = math.isqrt(free // shape.attention_bytes(rows=rows, tokens=1, slots=0)) - width
    else:
        needed = shape.attention_bytes(rows=rows, tokens=width, slots=length)
        fits = (free - text_only) // (with_one - text_only)
    if needed <= free:
        return
    smaller = f"optim.batch_size={max(1, rows // 4)} optim.gradient_accumulation_steps=4"
    raise DeviceError(
        f"prefix.length={length} with batches of {rows} x {width} tokens needs about "
        f"{needed / GIB:.1f} GiB, {free / GIB:.1f} GiB are free",
        expected=f"prefix.length of at most {fits} at this batch size"
        if fits > 0
        else "smaller batches: the texts alone do not fit",
        fix=f"prefix.length={min(16, fits)}, or {smaller}" if fits > 0 else smaller,
    )


@contextmanager
def memory_errors(fix: str) -> Iterator[None]:
    """Turn a failed allocation into an error that says what to lower.

    Raises:
        DeviceError: memory ran out.
    """
    try:
        yield
    except RuntimeError as error:  # the CPU allocator raises no class of its own
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(
            error
        ):
            raise
        raise DeviceError(
            f"memory ran out: {str(error).splitlines()[0]}", expected="room for one batch", fix=fix
        ) from error


def check_precision(context: Context, precision: str, *, setting: str) -> None:
    """Refuse half precision, as `setting` asks for it, where the device has none.

    Raises:
        DeviceError: fp16 away from a GPU, or bf16 on a GPU that lacks it.
    """
    import torch

    device = context.device()
    if (precision == "fp16" and device != "cuda") or (
        precision == "bf16" and device == "cuda" and not torch.cuda.is_bf16_supported()
    ):
        raise DeviceError(
            f"{setting}={precision} on device {device}",
            expected="fp32, or bf16 where the device has it; fp16 needs a GPU",
            fix=f"{setting}=fp32",
        )


def processors() -> dict[str, str]:
    """Return each processor that torch can use, by its name in `run.device`, with a description."""
    found = {"cpu": f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"}
    if torch.cuda.is_available():
        found["cuda"] = ", ".join(
            torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
        )
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return found
