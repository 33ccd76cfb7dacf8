"""`--out` and `--sweep`, which every producing command has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from prefixbank.store.artifact import read_entry
from prefixbank.store.store import Store
from tests.cli.command import faults_in
from tests.prepared import SMALL, contents
from tests.unwritable import unwritable


def train_gamma(cli, *settings: str) -> tuple[str, ...]:
    return ("train-prefix", "task=folder", f"task.path={cli.tasks / 'gamma'}", *SMALL, *settings)


def test_out_is_a_copy_of_the_artifact(cli, tmp_path):
    entry = Store(cli.store).get(
        cli.done(*train_gamma(cli, "--out", str(tmp_path / "copy"))).result["key"]
    )
    copy = read_entry(tmp_path / "copy")
    assert copy.digest == entry.digest and [copy.fault_of(name) for name in copy.files] == [
        ""
    ] * len(entry.files)


def test_out_copies_a_hit_too(cli, tmp_path):
    cli.train("alpha", "--out", str(tmp_path / "new" / "copy"))
    assert read_entry(tmp_path / "new" / "copy").key == Store(cli.store).ref("prefix", "alpha").key


def test_out_may_be_an_empty_folder(cli, tmp_path):
    (tmp_path / "copy").mkdir()
    cli.train("alpha", "--out", str(tmp_path / "copy"))
    assert (tmp_path / "copy" / "prefix.safetensors").is_file()


def test_out_may_be_one_parquet_file(cli, tmp_path, lines):
    cli.done(
        "embed", "bank=demo", f"corpus.path={lines}", "--out", str(tmp_path / "vectors.parquet")
    )
    assert parquet.read_table(tmp_path / "vectors.parquet").num_rows == 3


def test_out_of_several_shards_is_one_file_if_its_name_says_so(cli, tmp_path, lines):
    out, settings = tmp_path / "vectors.parquet", (f"corpus.path={lines}", "corpus.shard_rows=2")
    ran = cli.done("embed", "bank=demo", *settings, "--out", str(out))
    parts = sorted(Path(ran.result["path"]).glob("part-*.parquet"))
    assert len(parts) == 2
    assert parquet.read_table(out).equals(pa.concat_tables(map(parquet.read_table, parts)))
    cli.done("embed", "bank=demo", *settings, "--out", str(out))  # the same again is no error


@pytest.mark.parametrize("name", ["file", "folder"])
def test_out_that_exists_is_refused_before_any_work(cli, tmp_path, name):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file", tmp_path / "folder" / "mine"):
        path.write_text("mine", encoding="utf-8")
    fault = cli.expect_fault(2, *train_gamma(cli, "--out", str(tmp_path / name)))
    assert (
        fault.what == f"--out {tmp_path / name} exists already"
        and (tmp_path / "file").read_text(encoding="utf-8") == "mine"
    )


def test_other_path_that_is_suggested_keeps_its_ending(cli, tmp_path, lines):
    out = tmp_path / "vectors.parquet"
    out.write_text("mine", encoding="utf-8")
    command = ("embed", "bank=demo", f"corpus.path={lines}")
    fault = cli.expect_fault(2, *command, f"--out={out}")
    suggested = Path(fault.fix.removeprefix("--out ").partition("    ")[0])
    assert suggested == tmp_path / "vectors-2.parquet"
    cli.done(*command, f"--out={suggested}")
    assert suggested.is_file() and out.read_text(encoding="utf-8") == "mine"


def test_out_below_a_file_is_refused_before_any_work(cli, tmp_path):
    (tmp_path / "file").touch()
    assert (
        "which is not a folder"
        in cli.expect_fault(2, *train_gamma(cli, "--out", str(tmp_path / "file" / "copy"))).what
    )


@pytest.mark.parametrize("target", ["vectors.parquet", "folder"])
@pytest.mark.parametrize("blocks", [False, True])
def test_out_of_a_hit_that_is_there_already_is_left(cli, tmp_path, lines, target, blocks):
    if blocks:
        for name in ("alpha", "beta"):
            cli.train(name, "prefix=readout", f"name={name}-read")
        cli.done("combine", "prefixes=[alpha-read,beta-read]", "name=demo")
    typed = ("embed", "bank=demo", f"corpus.path={lines}", "--out", str(tmp_path / target))
    key = cli.done(*typed).result["key"]
    before = contents(tmp_path / target) if target == "folder" else (tmp_path / target).read_bytes()
    again = cli.done(*typed)
    assert (again.result["key"], {kind for *_, kind in again.steps}) == (key, {"hit"})
    after = contents(tmp_path / target) if target == "folder" else (tmp_path / target).read_bytes()
    assert after == before
    lines.write_text("another text\n", encoding="utf-8")
    assert "exists already" in cli.expect_fault(2, *typed).what


@pytest.mark.parametrize("change", ["altered", "added", "removed"])
def test_out_that_differs_from_the_hit_is_refused(cli, tmp_path, change):
    typed = train_gamma(cli, "--out", str(tmp_path / "copy"))
    cli.done(*typed)
    match change:
        case "altered":
            (tmp_path / "copy" / "curve.jsonl").write_text("mine", encoding="utf-8")
        case "added":
            (tmp_path / "copy" / "mine").touch()
        case "removed":
            (tmp_path / "copy" / "curve.jsonl").unlink()
    assert "exists already" in cli.expect_fault(2, *typed).what


def test_out_made_anew_by_force_is_refused_if_it_exists(cli, tmp_path):
    typed = train_gamma(cli, "--out", str(tmp_path / "copy"))
    cli.done(*typed)
    assert "exists already" in cli.expect_fault(2, *typed, "--force").what


def test_out_that_cannot_be_written_is_refused_before_any_work(cli, tmp_path):
    (tmp_path / "closed").mkdir()
    with unwritable(tmp_path / "closed"):
        fault = cli.expect_fault(2, *train_gamma(cli, "--out", str(tmp_path / "closed" / "copy")))
    assert "cannot be written (Read-only file system" in fault.what


@pytest.mark.parametrize("rows", [2, 100], ids=["shards", "one"])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_out_of_predictions_is_one_file_of_their_format(cli, tmp_path, lines, form, rows):
    cli.done("probe", "bank=demo", "task=folder", f"task.path={cli.tasks / 'gamma'}", "name=g")
    out = tmp_path / f"labels.{form}"
    typed = ("predict", "bank=demo", "heads=[g]", f"corpus.path={lines}")
    settings = (f"corpus.shard_rows={rows}", f"predict.format={form}")
    made = Path(cli.done(*typed, *settings, "--out", str(out)).result["path"])
    shards = [path.read_text(encoding="utf-8").splitlines() for path in sorted(made.glob("part-*"))]
    header = shards[0][:1] if form == "csv" else []
    expected = header + [line for shard in shards for line in shard[len(header) :]]
    assert out.read_text(encoding="utf-8").splitlines() == expected
    assert len(expected) == len(header) + 3
    cli.done(*typed, *settings, "--out", str(out))


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        (("predict", "bank=demo", "heads=[x]"), "predict.format=csv    or --out labels.parquet"),
        (("embed", "bank=demo"), "--out labels.parquet"),
        (("combine", "prefixes=[alpha]", "name=x"), "--out labels"),
    ],
)
def test_out_with_the_ending_of_another_format_is_refused_before_any_work(cli, typed, fix):
    fault = cli.expect_fault(2, *typed, "--out", "labels.csv")
    assert "labels.csv names " in fault.what and fault.fix == fix


def test_out_of_a_dry_run_is_not_written(cli, tmp_path):
    cli.train("alpha", "--dry-run", "--out", str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


def test_out_that_cannot_be_written_is_reported_and_the_artifact_kept(cli, tmp_path, monkeypatch):
    def no_room(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("prefixbank.cli.out.shutil.copyfile", no_room)
    ran = cli(*train_gamma(cli, "--out", str(tmp_path / "copy")))
    (fault,) = faults_in(ran.err)
    assert (ran.code, "No space left" in fault.what) == (1, True) and Store(cli.store).ref(
        "prefix", "gamma"
    ) is not None


def test_sweep_runs_every_combination(cli):
    rows = cli.done(*train_gamma(cli, "--sweep", "seed=1,2", "prefix.length=1,3")).result
    assert [row["shape"][3] for row in rows] == [1, 3, 1, 3] and len(
        {row["key"] for row in rows}
    ) == 4


def test_sweep_keeps_the_best_on_validation_under_the_name(cli):
    ran = cli.done(*train_gamma(cli, "--sweep", "optim.lr=0.0001,0.3,0.00001", "optim.epochs=3"))
    scores = [row["validation"] for row in ran.result]
    best = scores.index(max(scores))
    assert Store(cli.store).ref("prefix", "gamma").key == ran.result[best]["key"]
    assert f" of 3 on validation, {max(scores):.3f}: optim.lr=" in ran.err.splitlines()[-1]


def test_sweep_whose_runs_validation_does_not_tell_apart_says_so(cli):
    settings = ("probe", "bank=demo", "task=folder", f"task.path={cli.tasks / 'gamma'}")
    swept = ("--sweep", "probe.threshold=default,f1", "probe.Cs=[1]", "name=tone")
    ran = cli.done(*settings, *swept)
    first = ran.result[0]["key"]
    assert Store(cli.store).ref("probe", "tone").key == first
    assert f"probe/tone is {first[:8]}, the first of 2 equally good ones of 2 on" in ran.err


def test_sweep_over_tasks_of_one_name_says_that_the_last_has_it(cli):
    paths = ",".join(str(cli.tasks / name) for name in ("alpha", "beta"))
    ran = cli.done(
        "train-prefix", "--sweep", "task=folder", f"task.path={paths}", "name=both", *SMALL
    )
    last = ran.result[-1]["key"]
    assert Store(cli.store).ref("prefix", "both").key == last
    assert f"2 results of one name: it is that of the last, {last[:8]}" in ran.err


def test_sweep_over_standard_input_is_refused_by_name(cli):
    typed = ("embed", "--sweep", "bank=demo", "corpus.path=-", "precision=fp32,bf16")
    fault = cli.expect_fault(2, *typed, input="a text\n")
    assert fault.what.startswith("corpus.path=- with a sweep of 2 runs")


def test_sweep_of_one_combination_is_a_list(cli):
    assert isinstance(cli.done(*train_gamma(cli, "--sweep")).result, list)


@pytest.mark.parametrize("flags", [(), ("--dry-run",), ("run.workers=2",)])
def test_sweep_with_a_wrong_setting_in_one_run_is_refused_before_any_run(cli, flags):
    before = contents(cli.store)
    swept = ("--sweep", "prefix.length=1,3", "optim.lr=0.1,-1", "task.missing=drop,drp", *flags)
    ran = cli(*train_gamma(cli, *swept))
    found = [fault.what for fault in faults_in(ran.err)]
    assert (ran.code, ran.out, len(found)) == (2, "", 2)
    assert "optim.lr" in " ".join(found) and "task.missing" in " ".join(found)
    assert contents(cli.store) == before


def test_sweep_over_an_unknown_setting_is_one_fault(cli):
    fault = cli.expect_fault(2, *train_gamma(cli, "--sweep", "prefix.lengthy=1,2,3"))
    assert fault.what == "unknown setting 'prefix.lengthy'; did you mean 'prefix.length'?"


def test_sweep_goes_on_after_a_run_that_fails(cli):
    ran = cli(
        "train-prefix",
        "--sweep",
        "task=folder",
        f"task.path={cli.tasks / 'gamma'},{cli.tasks / 'delta'},{cli.tasks / 'alpha'}",
        *SMALL,
    )
    assert (ran.code, [row["task"] for row in ran.result]) == (2, ["gamma", "alpha"])


def test_sweep_names_the_run_that_fails_at_the_end(cli):
    missing = cli.tasks / "delta"
    ran = cli(
        "train-prefix",
        "--sweep",
        "task=folder",
        f"task.path={missing},{cli.tasks / 'alpha'}",
        *SMALL,
    )
    *_, count, settings, what, expected, fix = ran.err.splitlines()
    assert (count, settings) == (
        "1 of 2 runs failed:",
        f"task=folder task.path={missing} {' '.join(SMALL)}",
    )
    assert str(missing) in what and faults_in("\n".join((what, expected, fix)))


def test_sweep_ends_with_the_worst_exit_code(cli):
    prefix = Store(cli.store).resolve("prefix", "alpha").path / "prefix.safetensors"
    prefix.write_bytes(prefix.read_bytes()[:-1] + b"\x00\x00")
    ran = cli("combine", "--sweep", "name=new", "prefixes=[alpha],[nobody],[beta]")
    assert (ran.code, [row["prefixes"] for row in ran.result]) == (3, [["beta"]])


def test_list_without_sweep_is_refused(cli):
    fault = cli.expect_fault(2, *train_gamma(cli, "seed=1,2"))
    assert "asks for several runs" in fault.what and "--sweep" in fault.fix


def test_sweep_without_values_is_refused(cli):
    assert (
        "gives no list of values"
        in cli.expect_fault(2, *train_gamma(cli, "--sweep", "seed=range(1,1)")).what
    )


def test_sweep_with_out_is_refused_before_any_work(cli, tmp_path):
    fault = cli.expect_fault(
        2, *train_gamma(cli, "--sweep", "seed=1,2", "--out", str(tmp_path / "copy"))
    )
    assert "--out with a sweep" in fault.what


def test_sweep_as_a_dry_run_makes_nothing(cli):
    before = contents(cli.store)
    ran = cli.done(*train_gamma(cli, "--sweep", "seed=1,2", "--dry-run"))
    assert (contents(cli.store), [kind for *_, kind in ran.steps]) == (before, ["MISS", "MISS"])


def test_copy_that_stops_half_way_leaves_nothing_at_its_target(cli, tmp_path, monkeypatch):
    copy, left = shutil.copyfile, [3]

    def copy_some(source: object, target: object, **options: object) -> object:
        left[0] -= 1
        if not left[0]:
            raise OSError("no space left on device")
        return copy(source, target, **options)

    monkeypatch.setattr(shutil, "copyfile", copy_some)
    out = tmp_path / "copy"
    assert cli(*train_gamma(cli, f"--out={out}")).code != 0
    assert not out.exists() and not list(tmp_path.glob(".prefixbank-*"))
    monkeypatch.undo()
    cli.done(*train_gamma(cli, f"--out={out}"))
    assert (out / "entry.json").is_file()
