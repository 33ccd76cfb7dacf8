"""What signals and a second process do to a command, tested with processes."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from prefixbank.commands.invocation import Invocation
from prefixbank.runtime.events import Event
from prefixbank.store.artifact import Entry
from prefixbank.store.store import Store
from tests.cli import forks
from tests.cli.command import faults_in
from tests.commands import call
from tests.prepared import SMALL, contents, half_made

STEPS_OF_TEN = ("optim.epochs=2", "optim.batch_size=8", "run.checkpoint_every_s=0")
"""Five steps in each of two epochs, a checkpoint after each step and each epoch."""
TEXTS = ["the food was good", "a bad and noisy place", "warm", "a cold bath", "good"]


@pytest.fixture
def train(cli) -> tuple[str, ...]:
    return (
        "train-prefix",
        "task=folder",
        f"task.path={cli.tasks / 'gamma'}",
        *SMALL,
        *STEPS_OF_TEN,
    )


@pytest.fixture
def whole(cli, train, tmp_path) -> str:
    """Digest of the prefix of a training that nothing interrupts, in another store."""
    key = cli.done(*train, "--store", str(tmp_path / "whole")).result["key"]
    return Store(tmp_path / "whole").get(key).digest


def prefixes(cli) -> int:
    return len(Store(cli.store).entries("train_prefix"))


def resume(cli, train: tuple[str, ...]) -> tuple[str, list[int]]:
    """Run a training again; return the digest of its prefix and the steps that it did."""
    events: list[Event] = []
    entry = call(
        "train-prefix", *train[1:], invocation=Invocation(store=cli.store, emit=events.append)
    ).entry
    return entry.digest, [
        event.done for event in events if event.kind == "progress" and event.text.startswith("loss")
    ]


def test_interrupted_training_says_that_it_resumes(cli, train, tmp_path):
    child = forks.start(tmp_path / "child", cli.store, "interrupted_in_training", *train)
    code, before = child.end(), contents(cli.store)
    (fault,) = faults_in(child.err)
    assert (code, fault.what, child.out) == (
        130,
        "interrupted",
        "",
    ) and "training resumes" in fault.fix
    assert contents(cli.store) == before and prefixes(cli) == 2 and not half_made(cli.store)


@pytest.mark.parametrize("way", ["interrupted_in_training", "killed_in_training"])
def test_ended_training_resumes_to_the_same_bytes(cli, train, whole, tmp_path, way):
    code = forks.start(tmp_path / "child", cli.store, way, *train).end()
    digest, steps = resume(cli, train)
    assert code in (130, -signal.SIGKILL) and (digest, steps) == (whole, [7, 8, 9, 10])


def test_kill_while_a_checkpoint_is_written_resumes_from_the_one_before(
    cli, train, whole, tmp_path
):
    code = forks.start(tmp_path / "child", cli.store, "killed_in_a_checkpoint", *train).end()
    digest, steps = resume(cli, train)
    assert code == -signal.SIGKILL and (digest, steps) == (whole, [6, 7, 8, 9, 10])


def test_kill_in_training_publishes_nothing(cli, train, tmp_path):
    before = contents(cli.store)
    code = forks.start(tmp_path / "child", cli.store, "killed_in_training", *train).end()
    assert (code, contents(cli.store)) == (-signal.SIGKILL, before)


def test_kill_in_publishing_publishes_nothing_and_the_next_run_completes(
    cli, train, whole, tmp_path
):
    before = contents(cli.store)
    code = forks.start(tmp_path / "child", cli.store, "killed_in_publishing", *train).end()
    after = contents(cli.store)
    digest, steps = resume(cli, train)
    assert (code, after, digest, steps, half_made(cli.store)) == (
        -signal.SIGKILL,
        before,
        whole,
        [],
        [],
    )


def test_other_learning_rate_does_not_resume_from_a_checkpoint_of_another_key(cli, train, tmp_path):
    forks.start(tmp_path / "child", cli.store, "killed_in_training", *train).end()
    assert resume(cli, (*train, "optim.lr=0.5"))[1] == list(range(1, 11))


def corpus_of(folder: Path, texts: Sequence[str]) -> tuple[str, ...]:
    """The command that embeds texts in shards of two rows."""
    (folder / "corpus.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return ("embed", "bank=demo", f"corpus.path={folder / 'corpus.txt'}", "corpus.shard_rows=2")


def rows_in(entry: Entry) -> list[int]:
    return [
        row
        for path in sorted(entry.path.glob("*.parquet"))
        for row in parquet.read_table(path)["row"].to_pylist()
    ]


def test_kill_in_embedding_neither_loses_nor_doubles_a_row(cli, tmp_path):
    args = corpus_of(tmp_path, TEXTS)
    code = forks.start(tmp_path / "child", cli.store, "killed_in_embedding", *args).end()
    finished = [entry.info["name"] for entry in Store(cli.store).entries("embed")]
    events: list[Event] = []
    entry = call(
        "embed", *args[1:], invocation=Invocation(store=cli.store, emit=events.append)
    ).entry
    assert (code, finished, rows_in(entry)) == (
        -signal.SIGKILL,
        ["corpus@demo part-00000"],
        list(range(len(TEXTS))),
    )
    assert [event.text for event in events if event.kind == "note"] == [
        "3 shards: 1 hits, 2 to run"
    ]


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_embedding_killed_at_random_points_ends_in_the_same_bytes(cli, tmp_path, kills: int):
    args = corpus_of(tmp_path, [f"{text} {number}" for number in range(12) for text in TEXTS])
    shutil.copytree(cli.store, tmp_path / "other")
    whole = forks.start(tmp_path / "whole", tmp_path / "other", "to_its_end", *args)
    assert whole.end() == 0
    killed = []
    for number in range(kills):
        killed.append(forks.start(tmp_path / f"{number}", cli.store, "killed_at_random", *args))
        killed[-1].end()
    hits = [int(re.search(r"30 shards: (\d+) hits", child.err)[1]) for child in killed]
    assert (
        [child.end() for child in killed] == [-signal.SIGKILL] * kills
        and hits == sorted(hits)
        and hits[-1] > 0
    )
    last = forks.start(tmp_path / "last", cli.store, "to_its_end", *args)
    assert last.end() == 0
    expected, resumed = (
        Store(store).get(json.loads(child.out)["key"])
        for store, child in ((tmp_path / "other", whole), (cli.store, last))
    )
    assert (resumed.digest, rows_in(resumed)) == (expected.digest, list(range(12 * len(TEXTS))))


def test_second_process_waits_for_the_first_and_finds_its_prefix(cli, train, tmp_path):
    first = forks.start(tmp_path / "first", cli.store, "waiting_in_training", *train)
    first.wait_until((tmp_path / "first" / "started").exists)
    second = forks.start(tmp_path / "second", cli.store, "to_its_end", *train)
    second.wait_until(lambda: "another process is making this; waiting for it" in second.err)
    (tmp_path / "first" / "go").touch()
    assert (first.end(), second.end(), first.out) == (0, 0, second.out)
    assert (
        " done " in first.err
        and " hit " in second.err
        and " done " not in second.err
        and prefixes(cli) == 3
    )


def test_second_process_resumes_what_a_killed_first_one_began(cli, train, whole, tmp_path):
    first = forks.start(tmp_path / "first", cli.store, "waiting_in_training", *train)
    first.wait_until((tmp_path / "first" / "started").exists)
    second = forks.start(tmp_path / "second", cli.store, "to_its_end", *train)
    second.wait_until(lambda: "waiting for it" in second.err)
    first.process.kill()
    assert (first.end(), second.end()) == (-signal.SIGKILL, 0)
    assert (
        Store(cli.store).get(json.loads(second.out)["key"]).digest == whole
        and Path(json.loads(second.out)["path"]).is_dir()
    )
