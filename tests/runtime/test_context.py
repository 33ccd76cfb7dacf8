"""What the steps of one command share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EncoderConfig, TaskConfig
from prefixbank.core.packed import PackedLinear, multiplies_bf16, packable
from prefixbank.data.encoders import encoder as encoder_module
from prefixbank.data.encoders import prompts as prompts_module
from prefixbank.data.tasks import load as load_module
from prefixbank.errors import DeviceError, EncoderError
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event
from prefixbank.runtime.loaded import LruCache
from prefixbank.runtime.unit import Planned, Unit
from prefixbank.store import Store

TINY = EncoderConfig(name="tiny", source="tiny")


@pytest.fixture
def context(prepared) -> Context:
    """Reads the prepared store; no test here writes."""
    return Context(Store(prepared.store), RunConfig(device="cpu"))


def counted(monkeypatch, module, name: str) -> list[object]:
    calls: list[object] = []
    function = getattr(module, name)

    def count(*args, **options):
        calls.append(args)
        return function(*args, **options)

    monkeypatch.setattr(module, name, count)
    return calls


def test_task_is_loaded_once_and_its_notes_said_once(context, prepared, monkeypatch):
    calls, events = counted(monkeypatch, load_module, "load_task"), list[Event]()
    context.emit = events.append
    config = TaskConfig(name="alpha", path=str(prepared.tasks / "alpha"), max_rows=10)
    first, second = context.task(config), context.task(config)
    assert first is second and len(calls) == 1 and [event.kind for event in events] == ["note"]


def test_task_without_a_name_is_called_after_its_folder(context, prepared):
    names = [
        context.task(TaskConfig(path=str(prepared.tasks / name))).name for name in ("alpha", "beta")
    ]
    assert names == ["alpha", "beta"]


def test_encoder_is_loaded_once(context, monkeypatch):
    calls = counted(monkeypatch, encoder_module, "load_encoder")
    files = context.encoder_files(TINY)
    assert context.load(files) is context.load(files) and len(calls) == 1


def test_encoder_proves_that_it_reads_soft_prompts_once_and_only_when_asked(context, monkeypatch):
    calls = counted(monkeypatch, prompts_module, "check_prompt")
    files = context.encoder_files(TINY)
    context.load(files)
    assert not calls
    assert (
        context.load(files, prompts=True) is context.load(files, prompts=True) and len(calls) == 1
    )


def test_encoders_used_last_are_kept():
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name.upper()

    kept: LruCache[str] = LruCache(2)
    assert [kept.get(name, lambda name=name: make(name)) for name in "abacab"] == list("ABACAB")
    assert made == list("abcb")


@pytest.mark.parametrize(
    ("threads", "embed_tokens", "expected"), [(3, 0, (3, 1024)), (1, 77, (1, 77))]
)
def test_cpu_embeds_a_batch_on_each_core(
    store, threads: int, embed_tokens: int, expected: tuple[int, int]
):
    before = torch.get_num_threads()
    context = Context(store, RunConfig(device="cpu", threads=threads, embed_tokens=embed_tokens))
    try:
        assert (context.embed_workers(), context.embed_tokens()) == expected
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(
    not packable(nn.Linear(1, 1), torch.float32), reason="linear layers are packed on x86 CPUs only"
)
def test_cpu_reads_with_packed_layers_made_once_for_each_precision(context):
    files = context.encoder_files(TINY)
    readers = [context.inference_model(files, precision) for precision in ("fp32", "bf16", "fp32")]
    assert readers[0] is readers[2] is not readers[1]
    packed = [
        any(isinstance(module, PackedLinear) for module in reader.modules()) for reader in readers
    ]
    assert packed == [True, multiplies_bf16(), True]
    assert not any(
        isinstance(module, PackedLinear) for module in context.load(files).model.modules()
    )


def test_planning_context_shares_what_is_loaded_and_makes_nothing(context, prepared):
    alpha = TaskConfig(name="alpha", path=str(prepared.tasks / "alpha"))
    loaded = context.task(alpha)
    events: list[Event] = []
    twin = context.dry(events.append)
    assert twin.task(alpha) is loaded
    assert (twin.dry_run, context.dry_run, twin.store) == (True, False, context.store)


def test_tiny_encoder_of_a_dry_run_has_the_digest_of_a_run_and_is_not_kept(context, store):
    found = Context(store, RunConfig(), dry_run=True).encoder_files(TINY)
    assert found.digest == context.encoder_files(TINY).digest and not store.root.exists()


def test_unit_whose_input_is_not_made_says_what_it_needs(context):
    events: list[Event] = []
    context.emit = events.append
    prefix = Planned(step="train-prefix", name="alpha", key="0" * 64)

    def build() -> Unit:
        raise AssertionError(f"built from {prefix.entry}")

    assert context.ensure_from("combine", "demo", build) == Planned(step="combine", name="demo")
    assert (events[0].kind, events[0].text) == ("waits", "needs train-prefix alpha")


def test_encoder_of_a_bank_is_its_own(context):
    bank = context.store.resolve("bank", "demo")
    assert (
        context.encoder_of_bank(bank, EncoderConfig(source="bank")).digest
        == bank.document["inputs"]["encoder"]
    )


def test_encoder_of_a_bank_with_other_bytes_is_refused(context, starter_encoder_path):
    other = EncoderConfig(name="mine", source="folder", path=str(starter_encoder_path))
    with pytest.raises(EncoderError, match="was made with encoder tiny"):
        context.encoder_of_bank(context.store.resolve("bank", "demo"), other)


@pytest.mark.parametrize(
    ("present", "chosen"), [((True, True), "cuda"), ((False, True), "mps"), ((False, False), "cpu")]
)
def test_device_is_the_best_one_there(store, monkeypatch, present, chosen):
    for name, there in zip(
        ("torch.cuda.is_available", "torch.backends.mps.is_available"), present, strict=True
    ):
        monkeypatch.setattr(name, lambda there=there: there)
    assert Context(store, RunConfig()).device() == chosen


def test_device_that_is_missing_is_refused(store, monkeypatch):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(DeviceError, match="run.device=mps"):
        Context(store, RunConfig(device="mps")).device()


def test_threads_are_set_as_asked(store):
    before = torch.get_num_threads()
    try:
        Context(store, RunConfig(device="cpu", threads=before + 1)).device()
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
