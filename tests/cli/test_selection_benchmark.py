"""`python -m benchmarks.selection`.

Banks of chosen members beside the full bank, with few labels.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from benchmarks import selection
from prefixbank.errors import UsageError
from tests.cli.command import CommandLine
from tests.prepared import ROWS, SMALL, rows_of, write_task


@pytest.fixture
def three(cli: CommandLine, tmp_path: Path) -> CommandLine:
    """A store with the prefixes alpha, beta and omega, and a task gamma of random numbers, on which
    no two banks score alike.
    """
    cli.train("omega")
    folder = write_task(tmp_path / "tasks" / "gamma")
    for split in ROWS:
        rows = {**rows_of("gamma", split), "label": np.random.default_rng(0).random(ROWS[split])}
        parquet.write_table(pa.table(rows), folder / f"{split}.parquet")
    (folder / "task.json").write_text(
        json.dumps({"kind": "regression", "metric": "pearson"}), encoding="utf-8"
    )
    return replace(cli, tasks=folder.parent)


def asked_of(cli: CommandLine, out: Path, *options: str) -> list[str]:
    where = ("--data-root", str(cli.tasks), "--store", str(cli.store), "--out", str(out))
    what = (
        "--targets",
        "gamma",
        "--sources",
        "alpha,beta,omega",
        "--prefix",
        "{source}",
        "--random-draws",
        "2",
    )
    return [*SMALL, *where, *what, *options]


def measured(cli: CommandLine, out: Path, *options: str) -> Any:
    selection.main(asked_of(cli, out, *options))
    return json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))


def probed(cli: CommandLine, bank: str) -> float:
    encoder = ("encoder=tiny",) if bank == "none" else ()
    return cli.done(
        "probe", f"bank={bank}", "task=folder", f"task.path={cli.tasks / 'gamma'}", *encoder
    ).result["score"]


def test_scores_with_all_labels_are_those_of_the_commands(three, tmp_path):
    (found,) = measured(three, tmp_path / "out", "--labels", "all", "--k", "2", "--weighted")[
        "draws_of"
    ]["all"]["gamma"]
    near = three.done(
        "transfer",
        "combine",
        "task=folder",
        f"task.path={three.tasks / 'gamma'}",
        *SMALL,
        "k=2",
        "name=near",
    ).result
    assert sorted(found["similar"]) == sorted(near["prefixes"])
    weights = dict(zip(near["prefixes"], near["weights"], strict=True))
    members = {"full": ["alpha", "beta", "omega"], "similar": sorted(weights)}
    members["leave_one_out"] = [name for name in members["full"] if name != found["left_out"]]
    for column, names in members.items():
        three.done("combine", f"prefixes=[{','.join(names)}]", f"name={column}")
        assert found["scores"][column] == pytest.approx(probed(three, column))
    shares = ",".join(str(weights[name]) for name in members["similar"])
    three.done(
        "combine",
        f"prefixes=[{','.join(members['similar'])}]",
        f"combine.weights=[{shares}]",
        "name=weighted",
    )
    assert found["scores"]["similar_weighted"] == pytest.approx(probed(three, "weighted"))
    assert found["scores"]["plain"] == pytest.approx(probed(three, "none"))
    assert (
        len(
            {
                found["scores"][column]
                for column in ("plain", "full", "similar", "random", "similar_weighted")
            }
        )
        == 5
    )


def test_banks_of_all_sources_are_one_however_they_were_chosen(three, tmp_path):
    draws = measured(three, tmp_path / "out", "--labels", "8", "--k", "3", "--draws", "2")[
        "draws_of"
    ]["8"]["gamma"]
    assert len(draws) == 2 and all(
        len({one["scores"][name] for name in ("full", "similar", "random")}) == 1 for one in draws
    )


def test_means_are_over_draws_and_so_are_differences_to_other_banks(three, tmp_path):
    result = measured(three, tmp_path / "out", "--labels", "8,16", "--k", "1", "--draws", "3")
    for labels, columns in result["means"].items():
        draws = [one["scores"] for one in result["draws_of"][labels]["gamma"]]
        for name, means in columns.items():
            assert means["score"][0] == pytest.approx(np.mean([one[name] for one in draws]))
            for other in ("full", "random"):
                assert means[f"to_{other}"][0] == pytest.approx(
                    np.mean([one[name] - one[other] for one in draws])
                )
    text = (tmp_path / "out.md").read_text(encoding="utf-8")
    assert f"| 16 | {result['means']['16']['plain']['score'][0]:.3f} " in text


def test_draws_are_of_different_rows_and_all_rows_are_one_draw(three, tmp_path):
    task = selection.study_of(selection.arguments(asked_of(three, tmp_path)), "gamma", 0).task
    draws = selection.draw_rows(task, "8", 3)
    assert [len(set(rows.tolist())) for rows in draws] == [8, 8, 8] and len(
        {tuple(rows) for rows in draws}
    ) == 3
    assert [len(rows) for rows in selection.draw_rows(task, "all", 3)] == [40]


def test_more_members_than_sources_are_refused(three, tmp_path):
    with pytest.raises(UsageError, match="k=4, but 3 prefixes can be compared with gamma"):
        measured(three, tmp_path / "out", "--labels", "8", "--k", "4")
    assert not list(tmp_path.glob("out.*"))
