"""`prefixbank train-prefix prefix.init=...`.

A prefix that starts from another one, and the task embedding beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from prefixbank.commands.invocation import Invocation
from prefixbank.store.artifact import Entry
from prefixbank.store.store import Store
from tests.cli.command import CommandLine
from tests.commands import call
from tests.prepared import SMALL, copy_store
from tests.runtime.inline import Inline

NO_TRAINING = "optim.epochs=0"


def tensors(path: str | Path, file: str = "prefix") -> dict[str, np.ndarray]:
    return load_file(Path(path) / f"{file}.safetensors")


def entry_of(cli: CommandLine, name: str) -> Entry:
    return Store(cli.store).resolve("prefix", name)


def args_of(cli: CommandLine, *settings: str) -> tuple[str, ...]:
    return ("train-prefix", "task=folder", f"task.path={cli.tasks / 'gamma'}", *SMALL, *settings)


def steps(cli: CommandLine, *settings: str) -> list[str]:
    """What becomes of a prefix of gamma that starts from another one."""
    return [kind for *_, kind in cli.train("gamma", *settings).steps]


def test_without_training_the_prefix_is_the_one_that_it_starts_from(cli):
    made = cli.train("gamma", "prefix.init=prefix/alpha", NO_TRAINING).result["path"]
    source = tensors(entry_of(cli, "alpha").path)
    for file in ("prefix", "task_embedding"):
        assert tensors(made, file).keys() == {"prefix"} and np.array_equal(
            tensors(made, file)["prefix"], source["prefix"]
        )


def test_head_starts_fresh(cli):
    warm, random = (
        cli.train("gamma", f"prefix.init={init}", NO_TRAINING).result["path"]
        for init in ("alpha", "random")
    )
    assert np.array_equal(tensors(warm, "head")["weight"], tensors(random, "head")["weight"])
    assert not np.array_equal(
        tensors(warm, "head")["weight"], tensors(entry_of(cli, "alpha").path, "head")["weight"]
    )


def test_gate_starts_as_that_of_the_other_prefix(cli):
    cli.train("alpha", "prefix=gated", "name=gated")
    made = cli.train("gamma", "prefix=gated", "prefix.init=gated", NO_TRAINING).result["path"]
    gate = tensors(entry_of(cli, "gated").path)["log_gate"]
    assert np.array_equal(tensors(made)["log_gate"], gate) and np.abs(gate).max() > 0


def test_prefix_of_a_network_is_one_to_start_from(cli):
    cli.train("alpha", "prefix=mlp", "name=network")
    made = cli.train("gamma", "prefix.init=network", NO_TRAINING).result["path"]
    assert np.array_equal(tensors(made)["prefix"], tensors(entry_of(cli, "network").path)["prefix"])


@pytest.mark.parametrize(
    ("fit", "length", "slots"),
    [
        ("truncate", 1, [0]),
        ("tile", 1, [0]),
        ("tile", 3, [0, 1, 0]),
        ("tile", 5, [0, 1, 0, 1, 0]),
        ("truncate", 2, [0, 1]),
        ("tile", 2, [0, 1]),
    ],
)
def test_length_is_adapted_as_asked(cli, fit: str, length: int, slots: list[int]):
    settings = (
        f"prefix.length={length}",
        f"prefix.init_fit={fit}",
        "prefix.init=alpha",
        NO_TRAINING,
    )
    made = cli.train("gamma", *settings).result["path"]
    assert np.array_equal(
        tensors(made)["prefix"], tensors(entry_of(cli, "alpha").path)["prefix"][:, :, :, slots]
    )


def test_training_goes_on_from_there(cli):
    warm, cold = (
        cli.train("gamma", "seed=5", f"prefix.init={init}").result["path"]
        for init in ("alpha", "random")
    )
    start = tensors(entry_of(cli, "alpha").path)["prefix"]
    moved = [float(np.abs(tensors(path)["prefix"] - start).max()) for path in (warm, cold)]
    assert 0 < moved[0] < 0.1 < moved[1]


@pytest.mark.parametrize(
    ("settings", "what", "fix"),
    [
        (("encoder=minilm",), "was trained on encoder tiny", "encoder=tiny"),
        (
            ("prefix.length=1",),
            "has 2 slots, prefix.length=1 with prefix.init_fit=exact",
            "prefix.init_fit=truncate",
        ),
        (
            ("prefix.length=3",),
            "has 2 slots, prefix.length=3 with prefix.init_fit=exact",
            "prefix.init_fit=tile",
        ),
        (
            ("prefix.length=3", "prefix.init_fit=truncate"),
            "has 2 slots, prefix.length=3",
            "prefix.init_fit=tile",
        ),
        (
            ("prefix=gated",),
            "has prefix.gate=none, this one prefix.gate=learned",
            "prefix.gate=none",
        ),
        (("prefix=mlp",), "prefix.projection=mlp", "prefix.projection=none"),
        (("prefix.init=bank/demo",), "is not a prefix", "prefix/demo"),
        (("prefix.init=nothing",), "no prefix or key 'nothing'", "prefixbank cache ls"),
    ],
)
def test_what_a_prefix_cannot_start_from_is_refused(
    cli, settings: tuple[str, ...], what: str, fix: str
):
    fault = cli.expect_fault(2, *args_of(cli, "prefix.init=alpha", *settings))
    assert what in fault.what and fix in fault.fix


def test_gated_prefix_is_refused_for_one_without_a_gate(cli):
    cli.train("alpha", "prefix=gated", "name=gated")
    assert (
        "has prefix.gate=learned, this one prefix.gate=none"
        in cli.expect_fault(2, *args_of(cli, "prefix.init=gated")).what
    )


def test_key_of_a_bank_is_refused(cli):
    key = Store(cli.store).resolve("bank", "demo").short_key
    fault = cli.expect_fault(2, *args_of(cli, f"prefix.init={key}"))
    assert fault.what == f"prefix.init={key} is combine {key}, not a prefix"


def test_ref_that_the_training_itself_moves_is_refused(cli):
    fault = cli.expect_fault(2, *args_of(cli, "name=alpha", "prefix.init=alpha"))
    assert (
        fault.what == "prefix.init=prefix/alpha is the ref of the prefix to train"
        and "name=alpha-warm" in fault.fix
    )


def test_prefix_goes_on_from_the_one_of_its_name_by_the_key_of_that(cli):
    key = entry_of(cli, "alpha").short_key
    kinds = [cli.train("gamma", "name=alpha", f"prefix.init={key}").steps[-1][2] for _ in range(2)]
    assert kinds == ["done", "hit"] and entry_of(cli, "alpha").info["init"]["key"].startswith(key)


@pytest.mark.parametrize(
    "setting", ["prefix.init=prefix/gamma", 'experiment.overrides.beta=["prefix.init=gamma"]']
)
def test_experiment_is_refused_a_start_that_it_trains_itself(cli, setting: str):
    cli.train("gamma")
    study = (
        "run",
        "experiment=smoke",
        "experiment.sources=[gamma,beta]",
        "experiment.targets=[omega]",
        *SMALL,
    )
    assert (
        "is a prefix that this experiment trains"
        in cli.expect_fault(2, *study, f"run.data_root={cli.tasks}", setting).what
    )


def test_all_that_differs_is_reported_at_once(cli):
    faults = cli.expect_refusal(
        2, *args_of(cli, "prefix=gated", "prefix.init=alpha", "prefix.length=4", "encoder=minilm")
    )
    assert len(faults) == 3


def test_key_follows_the_bytes_and_not_the_name(cli):
    key = cli.train("gamma", "prefix.init=prefix/alpha").result["key"]
    cli.train("alpha", "name=other")
    source = entry_of(cli, "alpha")
    for named in ("alpha", "other", "prefix/other", source.key, source.short_key):
        ran = cli.train("gamma", f"prefix.init={named}")
        assert ([kind for *_, kind in ran.steps], ran.result["key"]) == (["hit"], key)


def test_other_artifact_with_the_same_tensors_is_a_hit(cli):
    cli.train("gamma", "prefix.init=alpha")
    before = entry_of(cli, "alpha").key
    cli.train("alpha", "prefix.task_embedding_fraction=1.0")
    assert entry_of(cli, "alpha").key != before and steps(cli, "prefix.init=alpha") == ["hit"]


def test_retrained_source_is_a_miss_that_says_why(cli):
    cli.train("gamma", "prefix.init=alpha")
    cli.train("alpha", "seed=1")
    assert "MISS  prefix.init alpha changed\n" in cli.train("gamma", "prefix.init=alpha").err


def test_warm_start_is_another_key_that_says_so(cli):
    cli.train("gamma")
    assert (
        "MISS  prefix.init alpha added, prefix.init random -> prefix"
        in cli.train("gamma", "prefix.init=alpha").err
    )


@pytest.mark.parametrize(
    "setting", ["prefix.init_scale=2.0", "prefix.init_fit=tile", "prefix.init_fit=truncate"]
)
def test_key_ignores_what_has_no_effect_with_a_prefix_to_start_from(cli, setting: str):
    cli.train("gamma", "prefix.init=alpha")
    assert steps(cli, "prefix.init=alpha", setting)[-1] == "hit"


def test_key_ignores_what_has_no_effect_without_one(cli):
    ran = cli.train("alpha", "prefix.init_fit=tile")
    assert [kind for *_, kind in ran.steps] == ["note", "hit"]
    assert "prefix.init_fit has no effect without prefix.init=prefix" in ran.err


def test_same_warm_start_again_has_the_same_digest(cli):
    cli.train("gamma", "prefix.init=alpha")
    before = entry_of(cli, "gamma").digest
    cli.train("gamma", "prefix.init=alpha", "--force")
    assert entry_of(cli, "gamma").digest == before


def test_show_tells_where_a_prefix_comes_from(cli):
    cli.train("gamma", "prefix.init=alpha")
    shown, source = cli.done("cache", "show", "prefix/gamma").result, entry_of(cli, "alpha")
    assert shown["info"]["init"] == {"named": "prefix/alpha", "key": source.key, "task": "alpha"}
    assert shown["document"]["inputs"]["init"] == source.files["prefix.safetensors"].sha256
    assert shown["document"]["config"]["prefix"]["init"] == "prefix" and "alpha" not in json.dumps(
        shown["document"]
    )


def test_prefix_named_by_its_key_is_shown_by_it(cli):
    source = entry_of(cli, "alpha")
    cli.train("gamma", f"prefix.init={source.short_key}")
    assert entry_of(cli, "gamma").info["init"]["named"] == source.key


def test_gc_keeps_the_source_as_long_as_what_started_from_it(cli):
    source = cli.train("gamma").result["key"]
    cli.train("omega", "prefix.init=gamma")
    cli.train("gamma", "seed=1")
    store = Store(cli.store)
    cli.done("cache", "gc", "--yes", "--grace-days", "0")
    assert store.get(source) is not None
    store.remove_ref("prefix", "omega")
    cli.done("cache", "gc", "--yes", "--grace-days", "0")
    assert store.get(source) is None


def test_worker_makes_the_same(cli, tmp_path, monkeypatch):
    settings: Any = (
        "task=folder",
        f"task.path={cli.tasks / 'gamma'}",
        *SMALL,
        "prefix.init=prefix/alpha",
    )
    here = call(
        "train-prefix",
        *settings,
        invocation=Invocation(store=copy_store(cli.store, tmp_path / "other")),
    ).entry
    driver = Inline().instead(monkeypatch)
    options = Invocation(store=cli.store)
    there = call("train-prefix", *settings, "run.driver=slurm", invocation=options).entry
    assert [job["groups"] for job in driver.jobs] == [((here.key,),)]
    assert (there.key, there.digest, there.info["init"]) == (
        here.key,
        here.digest,
        here.info["init"],
    )


def test_random_control_of_an_experiment_stays_random(cli):
    study = (
        "run",
        "experiment=smoke",
        "experiment.sources=[gamma]",
        "experiment.targets=[omega]",
        "probe.bootstrap_samples=50",
        *SMALL,
    )
    which = (
        "experiment.representations=[bank,random]",
        f"run.data_root={cli.tasks}",
        "prefix.init=prefix/alpha",
    )
    cli.done(*study, *which)
    made = {
        entry.info["name"]: entry.document["config"]["prefix"]["init"]
        for entry in Store(cli.store).entries("train_prefix")
    }
    assert (made["gamma"], made["gamma-random-seed0"]) == ("prefix", "random")


def test_task_embedding_is_kept_after_the_share_of_steps_that_is_set(cli):
    """Two steps in each of two epochs."""
    for share, step in ((0.1, 1), (0.5, 2), (0.75, 3), (1.0, 4)):
        path = Path(
            cli.train("gamma", "optim.epochs=2", f"prefix.task_embedding_fraction={share}").result[
                "path"
            ]
        )
        assert (
            json.loads((path / "result.json").read_text(encoding="utf-8"))["task_embedding_step"]
            == step
        )
        assert tensors(path, "task_embedding")["prefix"].shape == tensors(path)["prefix"].shape


def test_task_embedding_has_the_gate_too(cli):
    path = cli.train("gamma", "prefix=gated").result["path"]
    assert tensors(path, "task_embedding").keys() == tensors(path).keys() == {"prefix", "log_gate"}


@pytest.mark.parametrize("share", ["0", "-0.5", "1.5"])
def test_share_out_of_range_is_refused(cli, share: str):
    fault = cli.expect_fault(2, *args_of(cli, f"prefix.task_embedding_fraction={share}"))
    assert (
        fault.expected == "a number greater than 0 and of at most 1"
        and fault.fix == "prefix.task_embedding_fraction=0.1"
    )


@pytest.mark.parametrize(("length", "rows"), [(2, [0, 1]), (3, [0, 1, 0])])
def test_soft_prompt_starts_from_a_soft_prompt(cli, length: int, rows: list[int]):
    cli.train("alpha", "prefix.kind=soft", "name=prompt")
    settings = (
        "prefix.kind=soft",
        f"prefix.length={length}",
        "prefix.init=prompt",
        "prefix.init_fit=tile",
        NO_TRAINING,
    )
    made = cli.train("gamma", *settings).result["path"]
    source = tensors(entry_of(cli, "prompt").path)["prompt"]
    for file in ("prefix", "task_embedding"):
        assert np.array_equal(tensors(made, file)["prompt"], source[rows])


@pytest.mark.parametrize(("kind", "other"), [("soft", "deep"), ("deep", "soft")])
def test_prefix_of_the_other_kind_is_refused(cli, kind: str, other: str):
    cli.train("alpha", f"prefix.kind={other}", "name=source")
    fault = cli.expect_fault(2, *args_of(cli, f"prefix.kind={kind}", "prefix.init=source"))
    assert (
        f"has prefix.kind={other}, this one prefix.kind={kind}" in fault.what
        and fault.fix == f"prefix.kind={other}"
    )


def test_misspelt_start_value_is_recognised(cli):
    fault = cli.expect_fault(2, *args_of(cli, "prefix.kind=soft", "prefix.init=vocabulry"))
    assert "did you mean 'vocabulary'?" in fault.what and fault.expected.startswith(
        "random, vocabulary, labels, texts, or a ref"
    )
