"""Several columns of labels of one file: its texts are embedded once for all probes."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

QUICK = ("probe.bootstrap_samples=50", "probe.Cs=[1]", "encoder=tiny")
NEEDS_ANSWER = {"praise": "no", "blame": "yes", "question": "yes"}


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    """A file of 90 texts with two columns of labels, one of them with gaps."""
    path = tmp_path / "tickets.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["body", "kind", "answer", "gaps"])
        for row in range(90):
            kind = list(NEEDS_ANSWER)[row % 3]
            text = f"ticket {row} says {kind} " + "very " * (row % 7)
            rows.writerow([text, kind, NEEDS_ANSWER[kind], "" if row % 9 == 0 else kind])
    return path


def probe(cli, path: Path, label: str, *settings: str):
    return cli.done(
        "probe",
        f"task.path={path}",
        "task.columns.text=body",
        f"task.columns.label={label}",
        f"task.name={label}",
        "task.metric=accuracy",
        *QUICK,
        *settings,
    )


def embed_of(ran) -> str:
    return [outcome for step, _, outcome in ran.steps if step == "embed"][-1]


def test_second_column_of_labels_finds_the_vectors_of_the_first(cli, tickets: Path):
    kind, answer = (probe(cli, tickets, label, "bank=none") for label in ("kind", "answer"))
    assert (embed_of(kind), embed_of(answer)) == ("done", "hit")
    splits = [
        json.loads((Path(ran.result["path"]) / "probe.json").read_text(encoding="utf-8"))["test"]
        for ran in (kind, answer)
    ]
    assert [one["n"] for one in splits] == [kind.result["test_rows"], answer.result["test_rows"]]


def test_bank_is_read_once_for_two_columns(cli, tickets: Path):
    first, second = (probe(cli, tickets, label, "bank=demo") for label in ("answer", "kind"))
    assert (embed_of(first), embed_of(second)) == ("done", "hit")


def test_calibrated_vectors_are_those_of_each_split(cli, tickets: Path):
    settings = ("bank=none", "vectors=int8", "calibration_rows=20")
    found = [embed_of(probe(cli, tickets, label, *settings)) for label in ("kind", "answer")]
    assert found == ["done", "done"]


def test_column_with_gaps_copies_vectors_on_request(cli, tickets: Path):
    probe(cli, tickets, "kind", "bank=none", "reuse=true")
    ran = probe(cli, tickets, "gaps", "bank=none", "reuse=true", "task.missing=drop")
    assert embed_of(ran) == "done"
    assert "80 rows, 80 reused" in ran.err
    texts = tickets.parent / "new.txt"
    texts.write_text("ticket 3 says praise\nticket 1000 says blame\n", encoding="utf-8")
    predicted = cli.done(
        "predict",
        "bank=none",
        "encoder=tiny",
        "heads=[kind,gaps]",
        f"corpus.path={texts}",
        f"--out={tickets.parent / 'predictions'}",
    )
    done = Counter(step for step, _, outcome in predicted.steps if outcome == "done")
    assert done == {"embed": 1, "predict": 1}
