"""The reasons of misses that a user reads: what changed, by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prepared import SMALL

PROBE = ("probe.bootstrap_samples=20",)


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    """A task in one CSV file of 60 rows."""
    path = tmp_path / "tickets.csv"
    write(path, 60)
    return path


def write(path: Path, rows: int) -> None:
    lines = [f"{'good' if row % 2 else 'bad'} place {row},{row % 2}\n" for row in range(rows)]
    path.write_text("text,label\n" + "".join(lines), encoding="utf-8")


def reasons(err: str) -> dict[str, str]:
    """The reason of each miss, by its step."""
    lines = [line.split("MISS") for line in err.splitlines() if "MISS" in line]
    return {head.split()[0]: reason.strip() for head, reason in lines}


def probed(cli, tickets: Path, *settings: str) -> dict[str, str]:
    task = ("task=folder", f"task.path={tickets}")
    return reasons(cli.done("probe", "bank=demo", *task, *PROBE, *settings).err)


def test_probe_names_metric_file_and_rows(cli, tickets):
    assert probed(cli, tickets) == {"embed": "new", "probe": "new"}
    assert probed(cli, tickets, "task.metric=macro_f1") == {
        "probe": "task.metric accuracy -> macro_f1"
    }
    assert probed(cli, tickets, "probe.bootstrap_samples=30") == {
        "probe": "probe.bootstrap_samples 20 -> 30"
    }
    write(tickets, 72)
    assert probed(cli, tickets) == {
        "embed": "tickets.csv changed, 60 -> 72 rows",
        "probe": "embeddings tickets@demo changed, tickets.csv changed, 60 -> 72 rows",
    }


@pytest.mark.parametrize("shard_rows", [5, 100])
def test_embed_names_the_file_its_rows_and_the_bank(cli, lines, shard_rows):
    def embedded(*settings: str) -> str:
        corpus = (f"corpus.path={lines}", f"corpus.shard_rows={shard_rows}", "name=mine")
        return reasons(cli.done("embed", *corpus, *settings).err)["embed"]

    assert embedded("bank=demo") == "new"
    assert embedded("bank=none", "encoder=tiny", "--dry-run").startswith("bank demo -> none, ")
    lines.write_text("another text\n" * 7, encoding="utf-8")
    assert embedded("bank=demo") == "lines.txt changed, 3 -> 7 rows"
    lines.write_text("another text\n" * 3, encoding="utf-8")
    assert embedded("bank=demo") == "lines.txt changed, 7 -> 3 rows"


def test_training_names_the_encoder_and_the_task(cli, tickets):
    def planned(*settings: str) -> str:
        typed = ("train-prefix", "--dry-run", *SMALL, "name=alpha", *settings)
        return reasons(cli.done(*typed).err)["train-prefix"]

    task = ("task=folder", f"task.path={tickets}")
    assert planned(*task) == "task alpha -> tickets.csv, 72 -> 60 rows"
    alpha = ("task=folder", f"task.path={cli.tasks / 'alpha'}")
    assert planned(*alpha, "encoder.layers=1") == "encoder.layers 0 -> 1"
    assert planned(*alpha, "task.max_rows=9", "seed=1") == "task.max_rows 0 -> 9, seed 0 -> 1"


def test_why_names_prefixes(cli):
    made = cli.done("combine", "prefixes=[alpha]", "name=one").result["key"]
    assert cli.done("cache", "why", made, "bank/demo").out.splitlines()[1:] == [
        "  prefix beta removed"
    ]
