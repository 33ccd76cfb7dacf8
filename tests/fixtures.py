"""Artifacts without an encoder, a prepared store with one, and settings that are composed once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from prefixbank.artifacts.json_files import write_json
from prefixbank.config import compose as compose_module
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document
from prefixbank.store.store import Store
from tests.prepared import Prepared, prepare


@pytest.fixture(autouse=True)
def quick_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: no test here pulls the plug."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def merge_once() -> Callable[..., DictConfig]:
    """Hydra's `compose`, which merges the same choices of prefixbank's own files once a session.

    A merge takes 40 ms. Those with a folder of the user's are not cached: its files may change.
    """
    compose = compose_module.compose_with_hydra

    @cache
    def merge(name: str, lines: tuple[str, ...]) -> DictConfig:
        merged = compose(name, list(lines), return_hydra_config=True)
        OmegaConf.set_readonly(merged, True)
        return merged

    def merge_or_look_up(name: str, lines: Sequence[str], **options: Any) -> DictConfig:
        if any(line.startswith("hydra.searchpath=") for line in lines):
            return compose(name, list(lines), **options)
        assert options == {"return_hydra_config": True}
        return merge(name, tuple(lines))

    return merge_or_look_up


@pytest.fixture(autouse=True)
def shared_settings(monkeypatch: pytest.MonkeyPatch, merge_once: Callable[..., DictConfig]) -> None:
    """Share what Hydra makes of the YAML files; values of the command line come on top as ever."""
    monkeypatch.setattr(compose_module, "compose_with_hydra", merge_once)


@pytest.fixture(scope="session")
def encoders_loaded_once() -> dict[str, Callable[..., Any]]:
    """Loading and packing of frozen encoders, done once for each as long as its files stay."""
    from prefixbank.core.packed import pack_linear_layers
    from prefixbank.data.encoders.encoder import load_encoder

    return {
        "prefixbank.data.encoders.encoder.load_encoder": lru_cache(8)(load_encoder),
        "prefixbank.core.packed.pack_linear_layers": lru_cache(8)(pack_linear_layers),
    }


@pytest.fixture(autouse=True)
def shared_encoders(
    monkeypatch: pytest.MonkeyPatch, encoders_loaded_once: dict[str, Callable[..., Any]]
) -> None:
    """Share loaded encoders between commands, each of which has a session of its own."""
    for name, function in encoders_loaded_once.items():
        monkeypatch.setattr(name, function)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.getbasetemp())


@pytest.fixture
def put(store: Store) -> Callable[..., Entry]:
    """Publish an artifact: JSON files by name, or a function that writes files of any kind."""

    def build(
        step: str,
        files: dict[str, Any] | Callable[[Path], None],
        *,
        config: JSON | None = None,
        inputs: JSON | None = None,
        **info: Any,
    ) -> Entry:
        def make(out: Path, work: Path) -> JSON:
            if callable(files):
                files(out)
            else:
                for name, value in files.items():
                    write_json(out / name, value)
            return info

        return store.build(
            document(step=step, version=1, config=config or {}, inputs=inputs or {}), make
        )[0]

    return build
