"""Artifacts that are no longer what was published.

Exit 3, the file named, nothing deleted and nothing made again in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prefixbank.store.store import Store
from tests.prepared import SMALL


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


DAMAGE = pytest.mark.parametrize(
    ("spoil", "message"),
    [(flip, "was altered"), (truncate, "bytes instead of"), (Path.unlink, "is missing")],
)


def path_of(cli, kind: str, name: str) -> Path:
    return Store(cli.store).resolve(kind, name).path


@DAMAGE
def test_damaged_prefix_is_not_combined(cli, spoil: Callable[[Path], None], message):
    folder = path_of(cli, "prefix", "alpha")
    spoil(folder / "prefix.safetensors")
    fault = cli.expect_fault(3, "combine", "prefixes=[alpha]", "name=new")
    assert (
        "prefix.safetensors" in fault.what
        and message in fault.what
        and str(folder) in fault.what
        and "--force" in fault.fix
    )


@DAMAGE
def test_damaged_bank_embeds_nothing(cli, lines, spoil: Callable[[Path], None], message):
    folder = path_of(cli, "bank", "demo")
    spoil(folder / "bank.safetensors")
    fault = cli.expect_fault(3, "embed", "bank=demo", f"corpus.path={lines}")
    assert "bank.safetensors" in fault.what and message in fault.what and str(folder) in fault.what


def test_damaged_result_of_a_hit_is_reported(cli):
    flip(path_of(cli, "prefix", "alpha") / "result.json")
    args = ("train-prefix", "task=folder", f"task.path={cli.tasks / 'alpha'}", *SMALL)
    assert "result.json was altered" in cli.expect_fault(3, *args).what


def test_force_replaces_a_damaged_artifact(cli):
    path = path_of(cli, "prefix", "alpha") / "prefix.safetensors"
    sound = path.read_bytes()
    flip(path)
    cli.train("alpha", "--force")
    assert path.read_bytes() == sound


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"key": 1}'], ids=["empty", "half", "list", "other"]
)
def test_damaged_entry_ends_with_3(cli, text):
    (path_of(cli, "bank", "demo") / "entry.json").write_text(text, encoding="utf-8")
    assert "entry.json cannot be read" in cli.expect_fault(3, "cache", "show", "bank/demo").what


def test_damaged_ref_ends_with_3(cli):
    (cli.store / "refs" / "bank" / "demo.json").write_text("{}", encoding="utf-8")
    assert "ref bank/demo is damaged" in cli.expect_fault(3, "cache", "show", "bank/demo").what


def test_ref_to_nothing_ends_with_3(cli, tmp_path):
    path_of(cli, "bank", "demo").rename(tmp_path / "gone")
    fault = cli.expect_fault(3, "cache", "show", "bank/demo")
    assert "which is not in the store" in fault.what


@DAMAGE
def test_verify_names_a_damaged_file(cli, spoil: Callable[[Path], None], message):
    folder = path_of(cli, "bank", "demo")
    spoil(folder / "bank.safetensors")
    ran = cli("cache", "verify")
    assert (ran.code, ran.out.splitlines()[-1]) == (3, "3 good, 1 damaged")
    assert (
        str(folder) in ran.err and f"bank.safetensors {message}".split(" bytes")[0][:16] in ran.err
    )


def test_verify_names_a_file_that_was_not_published(cli):
    (path_of(cli, "bank", "demo") / "extra").touch()
    ran = cli("cache", "verify", "bank/demo")
    assert ran.code == 3 and "extra was not published" in ran.err


def test_verify_of_one_artifact_leaves_the_others_unread(cli):
    flip(path_of(cli, "prefix", "alpha") / "prefix.safetensors")
    assert cli.done("cache", "verify", "bank/demo").out == "1 good, 0 damaged\n"


def test_list_shows_the_good_ones_and_reports_the_damaged_one(cli):
    (path_of(cli, "prefix", "alpha") / "entry.json").write_text("{", encoding="utf-8")
    ran = cli("cache", "ls")
    assert (ran.code, [row["step"] for row in ran.result]) == (
        3,
        ["tiny-encoder", "train-prefix", "combine"],
    ) and "entry.json" in ran.err


def test_gc_deletes_nothing_while_an_entry_cannot_be_read(cli):
    (path_of(cli, "prefix", "alpha") / "entry.json").write_text("{", encoding="utf-8")
    assert "entry.json" in cli.expect_fault(3, "cache", "gc", "--yes", "--grace-days", "0").what


def test_altered_predictions_are_neither_printed_nor_copied(cli, lines, tmp_path):
    gamma = ("task=folder", f"task.path={cli.tasks / 'gamma'}")
    cli.done("probe", "bank=demo", *gamma, "probe.bootstrap_samples=50", "name=tone")
    asked = ("predict", "bank=demo", "heads=[tone]", f"corpus.path={lines}", "predict.format=csv")
    flip(Path(cli.done(*asked).result["path"]) / "part-00000.csv")
    out = tmp_path / "labels.csv"
    assert "part-00000.csv was altered" in cli.expect_fault(3, *asked, f"--out={out}").what
    assert not out.exists()
