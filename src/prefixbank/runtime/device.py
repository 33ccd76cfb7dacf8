"""The device that torch computes on, its threads, precision and memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psutil
import torch

from prefixbank.config.running import RunConfig
from prefixbank.config.schema import PrefixRecipe
from prefixbank.core.packed import multiplies_bf16
from prefixbank.core.shapes import EncoderShape
from prefixbank.errors import DeviceError

GIB = 2**30

CPU_TOKENS, ACCELERATOR_TOKENS = 1024, 32_768
"""Tokens in a batch of embedding. On a CPU: enough to make a matrix product worthwhile, few enough
to keep its results in a core's cache."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """What torch computes on.

    Args:
        name: `cpu`, `cuda` or `mps`.
        threads: CPU threads of torch.
    """

    name: str
    threads: int

    @property
    def embed_tokens(self) -> int:
        """Tokens in one batch of embedding that suit the device."""
        return CPU_TOKENS if self.name == "cpu" else ACCELERATOR_TOKENS

    @property
    def embed_workers(self) -> int:
        """Batches to embed at a time: one on each CPU thread, 0 (no pool) on an accelerator."""
        return self.threads if self.name == "cpu" else 0


def open_device(run: RunConfig) -> Device:
    """Choose the device and set torch's number of threads; called before any computation.

    Raises:
        DeviceError: this machine has no such device.
    """
    name = choose_device(run.device)
    if run.threads:
        torch.set_num_threads(run.threads)
    return Device(name=name, threads=torch.get_num_threads())


def choose_device(name: str) -> str:
    """Return the device of `run.device`; `auto` is an accelerator if there is one.

    Raises:
        DeviceError: this machine has no such device.
    """
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return next(one for one in ("cuda", "mps", "cpu") if present[one])
    if not present[name]:
        raise DeviceError(
            f"run.device={name}, but torch {torch.__version__} finds no such device",
            expected=f"one of auto, {', '.join(one for one, there in present.items() if there)}",
            fix=(
                "run.device=auto    or install a torch build for this device (see: prefixbank "
                "doctor)"
            ),
        )
    return name


def free_bytes(device: str) -> int:
    """Return the free memory of a device."""
    if device == "cuda":
        cached = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0]) + cached
    return int(psutil.virtual_memory().available)


def check_memory(
    shape: EncoderShape, width: int, recipe: PrefixRecipe, free: int, texts_per_row: int = 1
) -> None:
    """Refuse a prefix whose attention over texts of `width` tokens does not fit into `free` bytes.

    A soft prompt adds its length in tokens to each text. A row has two texts if they are read
    apart.

    Raises:
        DeviceError: names the longest prefix that fits.
    """
    if recipe.optim.gradient_checkpointing:
        shape = replace(shape, layers=1)  # those of one layer at a time
    size, length = recipe.optim.batch_size, recipe.prefix.length
    rows = size * texts_per_row
    text_only, with_one = (
        shape.attention_bytes(rows=rows, tokens=width, slots=slots) for slots in (0, 1)
    )
    if recipe.prefix.kind == "readout":
        return  # no gradient passes through the texts, and a few read-outs take little
    if recipe.prefix.kind == "soft":
        needed = shape.attention_bytes(rows=rows, tokens=width + length, slots=0)
        fits = math.isqrt(free // shape.attention_bytes(rows=rows, tokens=1, slots=0)) - width
    else:
        needed = shape.attention_bytes(rows=rows, tokens=width, slots=length)
        fits = (free - text_only) // (with_one - text_only)
    if needed <= free:
        return
    smaller = f"optim.batch_size={max(1, size // 4)} optim.gradient_accumulation_steps=4"
    raise DeviceError(
        f"prefix.length={length} with batches of {rows} x {width} tokens needs about "
        f"{needed / GIB:.1f} GiB, {free / GIB:.1f} GiB are free",
        expected=f"prefix.length of at most {fits} at this batch size"
        if fits > 0
        else "smaller batches: the texts alone do not fit",
        fix=f"prefix.length={min(16, fits)}, or {smaller}" if fits > 0 else smaller,
    )


def check_text_states(shape: EncoderShape, tokens: int, bytes_each: int, run: RunConfig) -> None:
    """Refuse to keep the states of more texts than `run.text_states_gb` allows, or memory has.

    Raises:
        DeviceError: names what is needed.
    """
    needed = tokens * bytes_each * math.prod(shape.prefix_shape(1)) / 1e9
    limit = run.text_states_gb
    if run.text_states_in == "memory":
        limit = min(limit, free_bytes("cpu") / 1e9)
    if needed <= limit:
        return
    fixes = ["optim.text_states=recomputed"]
    if needed <= run.text_states_gb:
        fixes.insert(0, "run.text_states_in=disk")
    else:
        fixes.insert(0, f"run.text_states_gb={math.ceil(needed)}")
    raise DeviceError(
        f"the states of {tokens:,} tokens need {needed:.1f} GB, {limit:.1f} GB are allowed or free",
        expected="text states that fit into run.text_states_gb, and into memory if kept there",
        fix="    or ".join(fixes),
    )


@contextmanager
def memory_errors(fix: str) -> Iterator[None]:
    """Turn a failed allocation into an error whose fix is `fix`.

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


def check_precision(device: str, precision: str, *, setting: str) -> None:
    """Refuse a precision that a device does not have; `setting` is the setting that chose it.

    Raises:
        DeviceError: fp16 on anything but a GPU, or bf16 on a GPU that lacks it.
    """
    if (precision == "fp16" and device != "cuda") or (
        precision == "bf16" and device == "cuda" and not torch.cuda.is_bf16_supported()
    ):
        raise DeviceError(
            f"{setting}={precision} on device {device}",
            expected="fp32, or bf16 where the device has it; fp16 needs a GPU",
            fix=f"{setting}=fp32",
        )


def emulates(device: str, precision: str) -> bool:
    """Return whether a device has a precision, but no instructions for it."""
    return device == "cpu" and precision == "bf16" and not multiplies_bf16()


def processors() -> dict[str, str]:
    """Return each processor that torch can use, by its name in `run.device`, with a description."""
    processors = {"cpu": f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"}
    if torch.cuda.is_available():
        processors["cuda"] = ", ".join(
            torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
        )
    if torch.backends.mps.is_available():
        processors["mps"] = "Apple GPU"
    return processors
