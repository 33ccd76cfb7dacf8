"""`prefixbank combine`, and banks whose prefixes moved on."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from prefixbank.store.store import Store
from tests.prepared import SMALL


def prefix_key(cli, name: str) -> str:
    return Store(cli.store).ref("prefix", name).key


def other_encoder(cli, folder: Path) -> Path:
    """Save an encoder of the same shape and other weights."""
    from safetensors.numpy import save_file

    (entry,) = Store(cli.store).entries("tiny_encoder")
    shutil.copytree(entry.path, folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(
        {name: tensor * np.float32(0.9) for name, tensor in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    return folder


def test_bank_holds_copies_of_its_prefixes(cli):
    bank = load_file(
        Path(cli.done("combine", "prefixes=[alpha,beta]", "name=demo").result["path"])
        / "bank.safetensors"
    )
    prefixes = [
        load_file(Store(cli.store).resolve("prefix", name).path / "prefix.safetensors")["prefix"]
        for name in ("alpha", "beta")
    ]
    assert np.array_equal(bank["0.prefix"], prefixes[0]) and np.array_equal(
        bank["1.prefix"], prefixes[1]
    )


def test_bank_says_rule_weights_and_pooling(cli):
    ran = cli.done(
        "combine",
        "prefixes=[alpha,beta]",
        "name=demo",
        "combine=mean_vectors",
        "combine.weights=[1,3]",
        "pooling=cls",
    )
    described = json.loads((Path(ran.result["path"]) / "bank.json").read_text(encoding="utf-8"))
    assert (described["rule"], described["weights"], described["pooling"]["position"]) == (
        "mean_vectors",
        [1.0, 3.0],
        "cls",
    )


def test_weights_share_the_mass_of_one_prefix_by_default(cli):
    assert cli.done("combine", "prefixes=[alpha,beta]", "name=demo").result["weights"] == [0.5, 0.5]


def test_prefixes_may_be_named_by_ref_and_by_short_key(cli):
    ran = cli.done("combine", f"prefixes=[prefix/alpha,{prefix_key(cli, 'beta')[:8]}]", "name=demo")
    assert ran.steps == [("combine", "demo", "hit")]


def test_bank_by_another_name_is_the_same_artifact(cli):
    key = cli.done("combine", "prefixes=[alpha,beta]", "name=twin").result["key"]
    assert (
        Store(cli.store).ref("bank", "twin").key == Store(cli.store).ref("bank", "demo").key == key
    )


def test_bank_without_a_name_is_refused(cli):
    assert cli.expect_fault(2, "combine", "prefixes=[alpha,beta]").expected == "name=NAME"


def test_bank_without_prefixes_is_refused(cli):
    assert cli.expect_fault(2, "combine", "name=none").what == "no prefixes to combine"


def test_unknown_prefix_is_refused_with_a_similar_name(cli):
    fault = cli.expect_fault(2, "combine", "prefixes=[alpha,bta]", "name=new")
    assert (
        "'bta'" in fault.what
        and "did you mean 'beta'?" in fault.what
        and "prefix/alpha" in fault.expected
    )


def test_same_prefix_twice_is_refused(cli):
    fault = cli.expect_fault(
        2, "combine", f"prefixes=[alpha,{prefix_key(cli, 'alpha')}]", "name=new"
    )
    assert "'alpha'" in fault.what and fault.what.endswith("twice")


def test_prefix_of_another_encoder_is_refused_with_the_command_that_trains_it(cli, tmp_path):
    folder = other_encoder(cli, tmp_path / "other")
    cli.done(
        "train-prefix",
        "task=folder",
        f"task.path={cli.tasks / 'gamma'}",
        *SMALL,
        "encoder=folder",
        f"encoder.path={folder}",
    )
    fault = cli.expect_fault(2, "combine", "prefixes=[alpha,gamma]", "name=new")
    assert "'gamma' was trained on encoder folder" in fault.what and "'alpha' on tiny" in fault.what
    assert fault.fix.startswith("prefixbank train-prefix task=gamma encoder=tiny")


def test_faults_of_several_prefixes_come_together(cli, tmp_path):
    folder = other_encoder(cli, tmp_path / "other")
    cli.done(
        "train-prefix",
        "task=folder",
        f"task.path={cli.tasks / 'gamma'}",
        *SMALL,
        "encoder=folder",
        f"encoder.path={folder}",
    )
    first, second = cli.expect_refusal(
        2, "combine", f"prefixes=[alpha,{prefix_key(cli, 'alpha')},gamma]", "name=new"
    )
    assert (
        "twice" in first.what
        and "another encoder" not in first.what
        and "trained on encoder" in second.what
    )


def test_weights_of_another_number_are_refused(cli):
    fault = cli.expect_fault(
        2, "combine", "prefixes=[alpha,beta]", "name=new", "combine.weights=[1]"
    )
    assert "weight" in fault.what


def test_moved_prefix_makes_a_bank_stale(cli, lines):
    cli.train("alpha", "seed=1")
    fault = cli.expect_fault(2, "embed", "bank=demo", f"corpus.path={lines}")
    assert "bank/demo is stale: prefix/alpha was" in fault.what


@pytest.mark.parametrize(
    "command",
    [("embed", "corpus.path={lines}"), ("probe", "task=folder", "task.path={gamma}")],
    ids=["embed", "probe"],
)
def test_command_named_for_a_stale_bank_brings_it_up_to_date(cli, lines, command):
    cli.done(
        "combine",
        "prefixes=[alpha,beta]",
        "name=demo",
        "combine=mean_vectors",
        "combine.weights=[1,3]",
        "pooling=cls",
    )
    args = [part.format(lines=lines, gamma=cli.tasks / "gamma") for part in command]
    cli.train("alpha", "seed=1")
    fix = cli.expect_fault(2, args[0], "bank=demo", *args[1:]).fix.split("    or ")[0]
    made = cli.done(*shlex.split(fix)[1:]).result
    assert (made["name"], made["rule"], made["weights"]) == ("demo", "mean_vectors", [1.0, 3.0])
    assert cli(args[0], "bank=demo", *args[1:]).code == 0


def test_command_named_for_a_stale_bank_keeps_prefixes_named_by_key(cli, lines):
    cli.done("combine", f"prefixes=[alpha,{prefix_key(cli, 'beta')}]", "name=mixed", "pooling=cls")
    cli.train("alpha", "seed=1")
    fix = cli.expect_fault(2, "embed", "bank=mixed", f"corpus.path={lines}").fix.split("    or ")[0]
    assert cli.done(*shlex.split(fix)[1:]).result["prefixes"] == ["alpha", "beta"]


def test_command_named_for_a_stale_bank_names_this_bank_and_not_its_twin(cli, lines):
    cli.done("combine", "prefixes=[alpha,beta]", "name=twin")
    cli.train("alpha", "seed=1")
    fix = cli.expect_fault(2, "embed", "bank=twin", f"corpus.path={lines}").fix
    assert " name=twin " in fix


def test_stale_bank_can_be_used_by_its_key(cli, lines):
    key = Store(cli.store).ref("bank", "demo").key
    cli.train("alpha", "seed=1")
    assert cli.done("embed", f"bank={key}", f"corpus.path={lines}").result["rows"] == 3


def test_bank_is_not_stale_when_its_prefix_has_the_same_bytes_under_a_new_key(cli, lines):
    cli.train("alpha", "optim.early_stopping_patience=5")
    assert cli.done("embed", "bank=demo", f"corpus.path={lines}").result["rows"] == 3


@pytest.mark.parametrize("digits", [1, 4])
def test_prefix_whose_name_begins_its_key_is_still_followed(cli, lines, digits):
    name = cli.train("gamma").result["key"][:digits]
    cli.train("gamma", f"name={name}")
    cli.done("combine", f"prefixes=[{name}]", "name=short")
    cli.train("gamma", "seed=1", f"name={name}")
    assert "is stale" in cli.expect_fault(2, "embed", "bank=short", f"corpus.path={lines}").what


def test_each_name_of_one_bank_is_stale_for_what_it_was_combined_by(cli, lines):
    key = prefix_key(cli, "alpha")
    by_key = cli.done("combine", f"prefixes=[{key}]", "name=fixed").result["key"]
    assert cli.done("combine", "prefixes=[alpha]", "name=moving").result["key"] == by_key
    cli.train("alpha", "seed=9")
    fault = cli.expect_fault(2, "embed", "bank=moving", f"corpus.path={lines}")
    assert "bank/moving is stale: prefix/alpha was" in fault.what
    cli.done("embed", "bank=fixed", f"corpus.path={lines}")
    (row,) = [row for row in cli.done("cache", "ls", "combine").result if row["key"] in by_key]
    assert row["state"].count("stale") == 1 and "name=moving" in row["state"]


def test_unknown_bank_is_refused_with_a_similar_name(cli, lines):
    fault = cli.expect_fault(2, "embed", "bank=demi", f"corpus.path={lines}")
    assert "did you mean 'demo'?" in fault.what and "bank/demo" in fault.expected


def test_command_without_a_bank_is_refused(cli, lines):
    fault = cli.expect_fault(2, "embed", f"corpus.path={lines}")
    assert fault.what == "no bank given" and "bank=none" in fault.expected


def test_encoder_other_than_the_banks_own_is_refused(cli, tmp_path, lines):
    folder = other_encoder(cli, tmp_path / "other")
    fault = cli.expect_fault(
        2, "embed", "bank=demo", f"corpus.path={lines}", "encoder=folder", f"encoder.path={folder}"
    )
    assert "was made with encoder tiny" in fault.what


def test_encoder_that_is_the_banks_own_may_be_named(cli, lines):
    assert (
        cli.done("embed", "bank=demo", "encoder=tiny", f"corpus.path={lines}").result["rows"] == 3
    )
