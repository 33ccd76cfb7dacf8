"""What the machine does not give: memory, a device, room, a hub.

Exit 1, three lines, nothing lost.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from prefixbank.runtime import device as memory
from prefixbank.store.store import Store
from tests.cli.command import faults_in
from tests.prepared import SMALL, contents


@pytest.fixture
def train(cli) -> tuple[str, ...]:
    return ("train-prefix", "task=folder", f"task.path={cli.tasks / 'gamma'}", *SMALL)


def set_free_memory(monkeypatch, free_bytes: int) -> None:
    monkeypatch.setattr(
        memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=free_bytes)
    )


def test_prefix_beyond_memory_is_refused_with_the_longest_that_fits(cli, train, monkeypatch):
    set_free_memory(monkeypatch, 2**20)
    fault = cli.expect_fault(1, *train, "prefix.length=4096")
    longest = int(fault.expected.removeprefix("prefix.length of at most ").split()[0])
    assert "prefix.length=4096" in fault.what and cli(*train, f"prefix.length={longest}").code == 0
    assert cli(*train, f"prefix.length={longest + 1}").code == 1


def test_texts_beyond_memory_are_refused_with_a_smaller_batch(cli, train, monkeypatch):
    set_free_memory(monkeypatch, 1000)
    fault = cli.expect_fault(1, *train)
    assert "texts alone" in fault.expected and fault.fix.startswith("optim.batch_size=5 ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_device_that_is_missing_is_refused(cli, train):
    fault = cli.expect_fault(1, *train, "run.device=cuda")
    assert "finds no such device" in fault.what and fault.expected.startswith("one of auto, cpu")


@pytest.mark.parametrize("command", ["train", "embed"])
def test_half_precision_without_a_gpu_is_refused_with_its_own_setting(cli, train, lines, command):
    setting = {"train": "optim.precision", "embed": "precision"}[command]
    args = train if command == "train" else ("embed", "bank=demo", f"corpus.path={lines}")
    fault = cli.expect_fault(1, *args, f"{setting}=fp16", "run.device=cpu")
    assert (fault.what, fault.fix) == (f"{setting}=fp16 on device cpu", f"{setting}=fp32")


def test_loss_that_is_no_number_ends_training_with_the_step_and_what_to_lower(cli, train):
    fault = cli.expect_fault(1, *train, "optim.lr=1e30", "optim.head_lr=1e30", "optim.batch_size=4")
    assert "at step 2 (epoch 1)" in fault.what and fault.fix.startswith(
        "lower optim.lr (now 1e+30)"
    )


def test_failed_training_can_be_repeated_with_other_settings(cli, train):
    cli.expect_fault(1, *train, "optim.lr=1e30", "optim.head_lr=1e30", "optim.batch_size=4")
    assert cli(*train).code == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("train-prefix", "task=sst2", "encoder=tiny"), "nyu-mll/glue"),
        (("train-prefix", "task=polarity", "encoder=roberta_base"), "FacebookAI/roberta-base"),
        (("probe", "bank=demo", "task=sst2"), "nyu-mll/glue"),
        (
            ("embed", "bank=none", "encoder=roberta_base", "corpus.path=x.txt"),
            "FacebookAI/roberta-base",
        ),
    ],
    ids=["task", "encoder", "target", "plain encoder"],
)
def test_hub_out_of_reach_is_reported_with_the_way_to_go_offline(cli, args, message):
    fault = cli.expect_fault(1, *args)
    assert message in fault.what and any(
        word in fault.fix for word in ("offline", "HF_HUB_OFFLINE", "run.data_root", "task=folder")
    )


def test_hub_that_refuses_a_connection_is_reported_with_the_way_to_go_offline(cli):
    environ = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    code = "from prefixbank.cli.app import main; main()"
    args = ("train-prefix", "task=polarity", "encoder=roberta_base")
    ran = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        env=environ,
        timeout=100,
    )
    (fault,) = faults_in(ran.stderr)
    assert (
        (ran.returncode, ran.stdout) == (1, "")
        and "FacebookAI/roberta-base" in fault.what
        and "HF_HUB_OFFLINE=1" in fault.fix
    )


def test_starter_experiment_needs_no_network(cli, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    ran = cli.done("train-prefix", "task=topic", "task.max_rows=20", *SMALL)
    assert ran.result["task"] == "topic"


@pytest.mark.parametrize("below", ["file", "file/deeper"])
@pytest.mark.parametrize("command", ["train", "ls", "gc"])
def test_store_below_a_file_is_refused(cli, train, tmp_path, below, command):
    (tmp_path / "file").touch()
    args = {"train": train, "ls": ("cache", "ls"), "gc": ("cache", "gc", "--yes")}[command]
    ran = cli(*args, "--store", str(tmp_path / below))
    wrong = 2 if below == "file" else 1  # the path itself, or what is found on the way
    assert ran.code in ((wrong,) if command == "train" else (0, wrong))
    assert "Traceback" not in ran.err
    assert (tmp_path / "file").read_bytes() == b"" and (command != "train" or faults_in(ran.err))


def test_folder_of_something_else_is_no_store(cli, train, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    ran = cli(*train, "--store", str(tmp_path / "mine"))
    assert (ran.code, [path.name for path in (tmp_path / "mine").iterdir()]) == (2, ["thesis.tex"])


def test_store_of_a_newer_layout_is_refused(cli, train):
    (cli.store / "LAYOUT").write_text("99\n", encoding="utf-8")
    assert "has layout '99'" in cli.expect_fault(1, *train).what


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_store_that_cannot_be_written_is_reported_and_kept(cli, train, monkeypatch, code):
    mkdir = Path.mkdir

    def refuse(path: Path, *args: object, **options: object) -> None:
        if path.is_relative_to(cli.store) and not path.exists():
            raise OSError(code, os.strerror(code), str(path))
        mkdir(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", refuse)
    fault = cli.expect_fault(1, *train)
    assert f"the store at {cli.store} cannot be used" in fault.what and "--store" in fault.fix


def test_hit_needs_no_right_to_write(cli, monkeypatch):
    monkeypatch.setattr(
        Path,
        "mkdir",
        lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EROFS, "Read-only file system")),
    )
    assert cli("cache", "ls").code == cli("cache", "show", "bank/demo").code == 0


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("when", ["flush", "write"])
def test_full_disk_is_reported_and_loses_nothing(cli, train, monkeypatch, when):
    target = {"flush": (os, "fsync"), "write": (Path, "write_bytes")}[when]
    with monkeypatch.context() as patch:
        patch.setattr(*target, full_disk)
        fault = cli.expect_fault(1, *train)
    assert (
        "no room left for the store" in fault.what
        and "prefixbank cache gc" in fault.fix
        and cli(*train).code == 0
    )


def test_full_disk_while_saving_a_checkpoint_is_reported(cli, train, monkeypatch):
    replace = Path.replace

    def no_room(path: Path, target: Path) -> Path:
        return full_disk() if path.name == "training.new" else replace(path, target)

    monkeypatch.setattr(Path, "replace", no_room)
    assert "no room left" in cli.expect_fault(1, *train, "run.checkpoint_every_s=0").what


def test_full_disk_while_embedding_loses_nothing(cli, lines, monkeypatch):
    before = contents(cli.store)
    with monkeypatch.context() as patch:
        patch.setattr("prefixbank.artifacts.embeddings.parquet.write_table", full_disk)
        cli.expect_fault(1, "embed", "bank=demo", f"corpus.path={lines}")
    cli.done("embed", "bank=demo", f"corpus.path={lines}")
    assert (
        before.items() <= contents(cli.store).items()
        and len(Store(cli.store).entries("embed")) == 1
    )
