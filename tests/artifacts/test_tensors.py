"""Tensors in artifacts, and a fit's checkpoints."""

from __future__ import annotations

import pytest
import torch

from prefixbank.artifacts.tensors import prefix_from, prefix_tensors, read_tensors, write_tensors
from prefixbank.core.prefix import Prefix
from prefixbank.runtime.checkpoint import FolderCheckpoint

TENSORS = {"b": torch.arange(6.0).reshape(2, 3).T, "a": torch.tensor([1, 2])}
STATE = ({"weight": torch.arange(4.0)}, {"step": 7, "name": "é", "curve": [{"loss": 0.5}]})


def test_tensors_are_read_as_written(store, put):
    entry = put("train_prefix", lambda out: write_tensors(out / "all.safetensors", TENSORS))
    found = read_tensors(entry, "all.safetensors")
    assert set(found) == {"a", "b"} and all(
        torch.equal(found[name], tensor) for name, tensor in TENSORS.items()
    )


def test_order_of_tensors_changes_no_byte(tmp_path):
    for name, tensors in (("one", TENSORS), ("other", dict(reversed(TENSORS.items())))):
        write_tensors(tmp_path / name, tensors)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize("gate", [None, torch.zeros(2, 4)], ids=["plain", "gated"])
def test_prefix_survives_being_taken_apart(gate):
    prefix = Prefix(tensor=torch.randn(2, 2, 4, 3, 8), log_gate=gate)
    found = prefix_from(
        {
            **prefix_tensors(prefix, "0."),
            **prefix_tensors(Prefix(tensor=torch.zeros(2, 2, 4, 1, 8)), "1."),
        },
        "0.",
    )
    assert torch.equal(found.tensor, prefix.tensor) and (found.log_gate is None) == (gate is None)


def test_checkpoint_gives_back_the_state(tmp_path):
    FolderCheckpoint(tmp_path, 0).save(STATE)
    tensors, facts = FolderCheckpoint(tmp_path, 0).load()
    assert torch.equal(tensors["weight"], STATE[0]["weight"]) and facts == STATE[1]


def test_checkpoint_of_an_empty_folder_is_none(tmp_path):
    assert FolderCheckpoint(tmp_path, 0).load() is None


def test_checkpoint_keeps_the_last_state_alone(tmp_path):
    checkpoint = FolderCheckpoint(tmp_path, 0)
    for step in (1, 2):
        checkpoint.save((STATE[0], {"step": step}))
    assert checkpoint.load()[1] == {"step": 2} and len(list(tmp_path.iterdir())) == 1


def test_checkpoint_that_is_cut_short_is_none(tmp_path):
    checkpoint = FolderCheckpoint(tmp_path, 0)
    checkpoint.save(STATE)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-4])
    assert checkpoint.load() is None


def test_checkpoint_is_due_after_its_seconds(tmp_path):
    now = [100.0]
    checkpoint = FolderCheckpoint(tmp_path, 30)
    checkpoint.clock, checkpoint.last = (lambda: now[0]), 100.0
    due = []
    for now[0] in (100.0, 129.9, 130.0):
        due.append(checkpoint.due())
    checkpoint.save(STATE)
    assert (due, checkpoint.due()) == ([False, False, True], False)


def test_checkpoint_of_no_seconds_is_always_due(tmp_path):
    checkpoint = FolderCheckpoint(tmp_path, 0)
    checkpoint.save(STATE)
    assert checkpoint.due()
