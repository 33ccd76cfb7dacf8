"""What the steps of one command share: tasks and encoders, each loaded once."""

from __future__ import annotations

from dataclasses import asdict, replace

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
from prefixbank.runtime import device as device_module
from prefixbank.runtime.events import Event
from prefixbank.runtime.session import Session
from prefixbank.store.store import Store

TINY = EncoderConfig(name="tiny", source="tiny")


@pytest.fixture
def session(prepared) -> Session:
    """Reads the prepared store; no test here writes."""
    return Session(Store(prepared.store), RunConfig(device="cpu"))


def counted(monkeypatch, module, name: str) -> list[object]:
    calls: list[object] = []
    function = getattr(module, name)

    def count(*args, **options):
        calls.append(args)
        return function(*args, **options)

    monkeypatch.setattr(module, name, count)
    return calls


def test_task_is_loaded_once_and_its_notes_are_emitted_once(session, prepared, monkeypatch):
    calls, events = counted(monkeypatch, load_module, "load_task"), list[Event]()
    session = replace(session, emit=events.append)
    config = TaskConfig(name="alpha", path=str(prepared.tasks / "alpha"), max_rows=10)
    first, second = session.task(config), session.task(config)
    assert first is second and len(calls) == 1 and [event.kind for event in events] == ["note"]


def test_task_without_a_name_is_called_after_its_folder(session, prepared):
    names = [
        session.task(TaskConfig(path=str(prepared.tasks / name))).name for name in ("alpha", "beta")
    ]
    assert names == ["alpha", "beta"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("supported", [True, False])
def test_emulated_precision_is_said_once(session, monkeypatch, precision, supported):
    monkeypatch.setattr(device_module, "multiplies_bf16", lambda: supported)
    events = list[Event]()
    session = replace(session, emit=events.append)
    for _ in range(2):
        assert session.open_device(precision, setting="optim.precision").name == "cpu"
    notes = [event.text for event in events]
    if precision == "bf16" and not supported:
        assert len(notes) == 1 and notes[0].startswith("optim.precision=bf16 on a CPU without")
    else:
        assert not notes


def test_precision_that_the_device_lacks_is_refused(session):
    with pytest.raises(DeviceError, match="precision=fp16 on device cpu"):
        session.open_device("fp16", setting="precision")


def test_encoder_is_loaded_once(session, monkeypatch):
    calls = counted(monkeypatch, encoder_module, "load_encoder")
    files = session.encoder_files(TINY)
    assert session.load(files) is session.load(files) and len(calls) == 1


def test_encoder_is_checked_for_soft_prompts_once_and_only_if_asked(session, monkeypatch):
    calls = counted(monkeypatch, prompts_module, "check_prompt")
    files = session.encoder_files(TINY)
    session.load(files)
    assert not calls
    assert session.load(files, kind="soft") is session.load(files, kind="soft") and len(calls) == 1


@pytest.mark.skipif(
    not packable(nn.Linear(1, 1), torch.float32), reason="linear layers are packed on x86 CPUs only"
)
def test_cpu_embeds_with_packed_layers_made_once_for_each_precision(session):
    files = session.encoder_files(TINY)
    models = [session.inference_model(files, precision) for precision in ("fp32", "bf16", "fp32")]
    assert models[0] is models[2] is not models[1]
    packed = [
        any(isinstance(module, PackedLinear) for module in model.modules()) for model in models
    ]
    assert packed == [True, multiplies_bf16(), True]
    assert not any(
        isinstance(module, PackedLinear) for module in session.load(files).model.modules()
    )


def test_tiny_encoder_of_a_dry_run_has_the_digest_of_a_run_and_is_not_kept(session, store):
    found = Session(store, RunConfig(), dry_run=True).encoder_files(TINY)
    assert found.digest == session.encoder_files(TINY).digest and not store.root.exists()


def test_encoder_of_a_bank_is_its_own(session):
    bank = session.store.resolve("bank", "demo")
    assert (
        session.encoder_of_bank(bank, EncoderConfig(source="bank")).digest
        == bank.document["inputs"]["encoder"]
    )


def test_encoder_of_a_bank_with_other_bytes_is_refused(session, starter_encoder_path):
    other = EncoderConfig(name="mine", source="folder", path=str(starter_encoder_path))
    with pytest.raises(EncoderError, match="was made with encoder tiny"):
        session.encoder_of_bank(session.store.resolve("bank", "demo"), other)


def test_encoder_with_other_layers_is_loaded_beside_the_whole_one(session):
    whole, cut = (
        session.load(session.encoder_files(config)) for config in (TINY, replace(TINY, layers=1))
    )
    assert (whole.shape.layers, cut.shape.layers) == (2, 1)
    assert session.load(whole.files) is whole and session.load(cut.files) is cut


def test_bank_is_read_with_the_layers_it_was_trained_with(session):
    bank = session.store.resolve("bank", "demo")
    with pytest.raises(EncoderError, match="was made with encoder tiny"):
        session.encoder_of_bank(bank, EncoderConfig(source="bank", layers=1))
    cut = replace(
        bank,
        info={"encoder": asdict(replace(TINY, layers=1))},
        document={"inputs": {"encoder": session.encoder_files(replace(TINY, layers=1)).digest}},
    )
    for config in (EncoderConfig(source="bank"), EncoderConfig(source="bank", layers=1)):
        assert session.encoder_of_bank(cut, config).origin.layers == 1
    with pytest.raises(EncoderError) as caught:
        session.encoder_of_bank(cut, TINY)
    assert caught.value.expected.endswith("were trained on, with encoder.layers=1")
