"""The device and its threads; what does not fit into its memory or has another precision."""

from __future__ import annotations

import psutil
import pytest
import torch

from prefixbank.config.running import RunConfig
from prefixbank.config.schema import OptimConfig, PrefixConfig, PrefixRecipe
from prefixbank.core.shapes import EncoderShape
from prefixbank.errors import DeviceError
from prefixbank.runtime.device import (
    Device,
    check_memory,
    check_precision,
    check_text_states,
    choose_device,
    free_bytes,
    memory_errors,
    open_device,
)

SHAPE = EncoderShape(layers=2, heads=4, kv_heads=4, head_size=16, hidden_size=64)
PER_SLOT = 2 * 4 * 2 * 4 * 32 * 10
"""Scores and weights of 4 bytes in 2 layers and 4 heads, for 32 rows of 10 tokens."""


def recipe(length: int) -> PrefixRecipe:
    return PrefixRecipe(prefix=PrefixConfig(length=length), optim=OptimConfig(batch_size=32))


@pytest.mark.parametrize(
    ("fits", "fix"), [(1, "prefix.length=1,"), (9, "prefix.length=9,"), (500, "prefix.length=16,")]
)
def test_refused_prefix_is_told_the_longest_that_fits(fits, fix):
    with pytest.raises(DeviceError) as caught:
        check_memory(SHAPE, 10, recipe(fits + 1), PER_SLOT * (10 + fits))
    assert (
        caught.value.expected == f"prefix.length of at most {fits} at this batch size"
        and caught.value.fix.startswith(fix)
    )


def test_longest_prefix_that_fits_is_not_refused():
    assert check_memory(SHAPE, 10, recipe(9), PER_SLOT * 19) is None


@pytest.mark.parametrize("fits", [1, 9])
def test_soft_prompt_counts_as_tokens_of_every_text(fits):
    free = SHAPE.attention_bytes(rows=32, tokens=10 + fits, slots=0)
    soft, longer = (
        PrefixRecipe(
            prefix=PrefixConfig(kind="soft", length=length), optim=OptimConfig(batch_size=32)
        )
        for length in (fits, fits + 1)
    )
    assert check_memory(SHAPE, 10, soft, free) is None
    with pytest.raises(DeviceError) as caught:
        check_memory(SHAPE, 10, longer, free)
    assert caught.value.expected == f"prefix.length of at most {fits} at this batch size"


def test_texts_that_do_not_fit_alone_are_told_a_smaller_batch():
    with pytest.raises(DeviceError) as caught:
        check_memory(SHAPE, 10, recipe(1), PER_SLOT * 9)
    assert (
        "texts alone" in caught.value.expected
        and caught.value.fix == "optim.batch_size=8 optim.gradient_accumulation_steps=4"
    )


def test_free_memory_is_the_machines(monkeypatch):
    free = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    assert free_bytes("cpu") == free.available


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), None], ids=["device", "host"]
)
def test_failed_allocation_says_what_to_lower(error):
    with pytest.raises(DeviceError, match="memory ran out") as caught, memory_errors("lower this"):
        if error is not None:
            raise error
        torch.empty(2**60, dtype=torch.uint8)
    assert caught.value.fix == "lower this"


def test_other_errors_pass_as_they_are():
    with pytest.raises(RuntimeError, match="shape"), memory_errors("lower this"):
        raise RuntimeError("shape mismatch")


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", (3, 1024)), ("cuda", (0, 32_768)), ("mps", (0, 32_768))],
)
def test_cpu_embeds_a_batch_on_each_thread(device: str, expected: tuple[int, int]):
    opened = Device(name=device, threads=3)
    assert (opened.embed_workers, opened.embed_tokens) == expected


@pytest.mark.parametrize(
    ("present", "chosen"), [((True, True), "cuda"), ((False, True), "mps"), ((False, False), "cpu")]
)
def test_device_is_the_best_one_there(monkeypatch, present, chosen):
    for name, there in zip(
        ("torch.cuda.is_available", "torch.backends.mps.is_available"), present, strict=True
    ):
        monkeypatch.setattr(name, lambda there=there: there)
    assert choose_device("auto") == chosen


def test_device_that_is_missing_is_refused(monkeypatch):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(DeviceError, match="run.device=mps"):
        choose_device("mps")


def test_threads_are_set_when_the_device_is_opened():
    before = torch.get_num_threads()
    try:
        assert open_device(RunConfig(device="cpu")).threads == before
        assert open_device(RunConfig(device="cpu", threads=before + 1)).threads == before + 1
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("precision", "good"), [("fp32", True), ("bf16", True), ("fp16", False)])
def test_half_precision_needs_its_device(precision, good):
    if good:
        assert check_precision("cpu", precision, setting="precision") is None
    else:
        with pytest.raises(DeviceError, match="precision=fp16 on device cpu"):
            check_precision("cpu", precision, setting="precision")


STATES_GB = 1_000_000 * 2 * 2 * 4 * 16 * 4 / 1e9
"""Keys and values of a million tokens, in 2 layers and 4 heads of size 16, 4 bytes each."""


def test_states_of_texts_that_fit_exactly_are_let_pass():
    run = RunConfig(text_states_gb=STATES_GB, text_states_in="disk")
    assert check_text_states(SHAPE, 1_000_000, 4, run) is None
    assert check_text_states(SHAPE, 2_000_000, 2, run) is None


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_states_of_texts_beyond_the_limit_are_told_the_limit_they_need(place):
    run = RunConfig(text_states_gb=1.0, text_states_in=place)
    with pytest.raises(DeviceError) as caught:
        check_text_states(SHAPE, 3_000_000, 4, run)
    error = caught.value
    assert error.what.startswith("the states of 3,000,000 tokens need 3.1 GB, 1.0 GB are allowed")
    assert error.fix == "run.text_states_gb=4    or optim.text_states=recomputed"
    assert not any("\n" in line for line in (error.what, error.expected, error.fix))
    raised = RunConfig(text_states_gb=4.0, text_states_in="disk")
    assert check_text_states(SHAPE, 3_000_000, 4, raised) is None


def test_states_of_texts_beyond_the_free_memory_are_told_the_disk(monkeypatch):
    monkeypatch.setattr("prefixbank.runtime.device.free_bytes", lambda device: 10**9)
    with pytest.raises(DeviceError, match=r"need 3\.1 GB, 1\.0 GB are allowed or free") as caught:
        check_text_states(SHAPE, 3_000_000, 4, RunConfig())
    assert caught.value.fix == "run.text_states_in=disk    or optim.text_states=recomputed"
    assert check_text_states(SHAPE, 3_000_000, 4, RunConfig(text_states_in="disk")) is None


def test_read_outs_are_not_measured_by_their_slots():
    long = PrefixRecipe(prefix=PrefixConfig(kind="readout", length=4096))
    assert check_memory(SHAPE, 10, long, 1) is None


def test_checkpointed_layers_need_the_room_of_one():
    saved = OptimConfig(batch_size=32, gradient_checkpointing=True)
    asked = PrefixRecipe(prefix=PrefixConfig(length=9), optim=saved)
    assert check_memory(SHAPE, 10, asked, PER_SLOT * 19 // SHAPE.layers) is None
    with pytest.raises(DeviceError):
        check_memory(SHAPE, 10, asked, PER_SLOT * 18 // SHAPE.layers)
