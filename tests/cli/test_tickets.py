"""The job of docs/how-to/tickets.md, command by command, with the tiny encoder."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from tests.source import ROOT

PAGE = (ROOT / "docs/how-to/tickets.md").read_text(encoding="utf-8")
SCRIPT = ROOT / "docs/examples/support_desk.py"
HEADS = ("intent", "product", "tone", "urgent", "queue")
READ_TONE = ("tone", "urgent")
QUICK = {
    "train-prefix": ("encoder=tiny", "optim.epochs=1", "prefix.readouts=1"),
    "probe": ("probe.bootstrap_samples=50", "probe.Cs=[1]"),
}


def commands() -> list[list[str]]:
    """The words of the page's commands behind `prefixbank`, in order."""
    blocks = "".join(re.findall(r"^```console\n(.*?)^```$", PAGE, flags=re.M | re.S))
    lines = blocks.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[2:] for line in lines if line.startswith("$ prefixbank ")]


def write_tickets(folder: Path, seed: int = 0) -> None:
    """Run the script that writes the tickets, with fewer rows."""
    asked = [str(folder), "--rows", "240", "--new", "60", "--seed", str(seed)]
    subprocess.run([sys.executable, SCRIPT, *asked], check=True)


def predicted(folder: Path) -> dict[str, list]:
    files = sorted(folder.glob("*.parquet"))
    return pa.concat_tables([parquet.read_table(file) for file in files]).to_pydict()


def test_tickets_are_the_same_for_the_same_seed_and_balanced(tmp_path: Path):
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        write_tickets(tmp_path / name, seed)
    texts = [(tmp_path / name / "tickets.csv").read_bytes() for name in ("one", "again", "other")]
    assert texts[0] == texts[1] != texts[2]
    with (tmp_path / "one/tickets.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 240
    for label in HEADS:
        values = {row[label] for row in rows}
        counts = [sum(row[label] == value for row in rows) for value in values]
        assert len(counts) > 1 and min(counts) > 12


def run(cli, words: list[list[str]]) -> None:
    for command, *settings in words:
        cli.done(command, *settings, *QUICK.get(command, ()))


@pytest.mark.slow
def test_job_of_the_page_predicts_the_same_from_the_exported_folder(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_tickets(tmp_path / "desk")
    monkeypatch.chdir(tmp_path / "desk")
    words = commands()
    steps = [command for command, *_ in words]
    assert steps == [
        *["train-prefix"] * 3,
        "combine",
        *["probe"] * 2,
        "predict",
        "export",
        "predict",
        *("train-prefix", "combine", "probe", "predict"),
    ]
    job, elsewhere, refresh = words[:8], words[8], words[9:]
    run(cli, job)
    here = predicted(Path("predictions"))
    assert here["id"] == [f"T{n:05d}" for n in range(1, 61)]
    for head in HEADS:
        classes = [name for name in here if name.startswith(f"{head}:")]
        shares = np.array([here[name] for name in classes]).T
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
        named = [classes[index].removeprefix(f"{head}:") for index in shares.argmax(axis=1)]
        assert named == here[head]

    run(cli, refresh)
    after = predicted(Path("predictions-2"))
    of_tone = {name for name in here if name.partition(":")[0].partition(".")[0] in READ_TONE}
    assert {name for name in here if after[name] != here[name]} <= of_tone
    assert after["tone.probability"] != here["tone.probability"]

    Path("predictions").rename("here")
    monkeypatch.setenv("PREFIXBANK_STORE", str(tmp_path / "empty"))
    cli.done(*elsewhere, "--store", str(tmp_path / "empty"))
    there = predicted(Path("predictions"))
    assert there.keys() == here.keys()
    for name, values in here.items():
        if isinstance(values[0], float):
            np.testing.assert_allclose(there[name], values, atol=1e-6)
        else:
            assert there[name] == values
