"""Wrong settings, options and flags: exit 2, three lines, nothing made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prefixbank.runtime import tracking
from tests.prepared import SMALL


def train(cli, *settings: str) -> tuple[str, ...]:
    return ("train-prefix", "task=folder", f"task.path={cli.tasks / 'gamma'}", *SMALL, *settings)


@pytest.mark.parametrize(
    ("setting", "suggestion"),
    [
        ("task=polrity", "polarity"),
        ("encoder=robert_base", "roberta_base"),
        ("prefix=gatd", "gated"),
        ("pooling=meann", "mean"),
        ("prefix.lenght=2", "prefix.length"),  # codespell:ignore lenght
        ("optm.lr=1", "optim.lr"),
        ("lr=1", "optim.lr"),
        ("optim.schedule=cosin", "cosine"),
    ],
)
def test_similar_name_is_suggested(cli, setting, suggestion):
    fault = cli.expect_fault(2, *train(cli, setting))
    assert suggestion in f"{fault.what} {fault.fix}"


@pytest.mark.parametrize(
    ("setting", "what", "expected"),
    [
        ("optim.lr=abc", "optim.lr = 'abc'", "a number greater than 0"),
        ("optim.lr=-1", "optim.lr = -1", "a number greater than 0"),
        (
            "prefix.length=-1",
            "prefix.length = -1",
            "a whole number of at least 0 and of at most 4096",
        ),
        (
            "prefix.length=1.5",
            "prefix.length = 1.5",
            "a whole number of at least 0 and of at most 4096",
        ),
        (
            "prefix.length=100000",
            "prefix.length = 100000",
            "a whole number of at least 0 and of at most 4096",
        ),
        ("run.device=gpu", "run.device = 'gpu'", "one of: auto, cpu, cuda, mps"),
        ("optim.gradient_checkpointing=1", "optim.gradient_checkpointing = 1", "true or false"),
    ],
)
def test_value_out_of_range_is_refused(cli, setting, what, expected):
    fault = cli.expect_fault(2, *train(cli, setting))
    assert (fault.what, fault.expected) == (what, expected)


def test_several_faults_are_reported_at_once(cli):
    faults = cli.expect_refusal(
        2, "train-prefix", "task=polrity", "optim.lr=abc", "prefix.length=-1", "sead=1"
    )
    assert len(faults) == 4 and all(
        any(text in fault.what for fault in faults)
        for text in ("polrity", "abc", "prefix.length", "sead")
    )


@pytest.mark.parametrize(
    "setting",
    ["+optim.lr=1", "++optim.lr=1", "~optim.lr", "optim.lr", "hydra.run.dir=x", "optim.lr=${seed}"],
)
def test_setting_that_is_no_key_and_value_is_refused(cli, setting):
    assert setting in cli.expect_fault(2, *train(cli, setting)).what


def test_command_without_a_task_is_refused_with_what_there_is(cli):
    fault = cli.expect_fault(2, "train-prefix", "encoder=tiny")
    assert (
        fault.what == "no task given"
        and "emotion" in fault.expected
        and fault.fix == "prefixbank train-prefix task=polarity"
    )


def test_experiment_that_is_not_named_is_refused(cli):
    assert "starter" in cli.expect_fault(2, "run").expected


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("train-prefix", "--forse"), "--force"),
        (("trian-prefix",), "train-prefix"),
        (("cache", "lst"), "lst"),
        (("train-prefix", "--format", "yaml"), "json"),
    ],
    ids=["flag", "command", "subcommand", "choice"],
)
def test_unknown_flag_or_command_ends_with_2(cli, args, message):
    ran = cli(*args)
    assert (ran.code, ran.out, message in ran.err) == (2, "", True)


def test_mistyped_flag_is_not_taken_for_a_setting(cli):
    ran = cli(*train(cli, "--dryrun"))
    assert ran.code == 2 and "--dry-run" in ran.err and ran.steps == []


def test_empty_store_flag_is_refused(cli):
    assert cli.expect_fault(2, *train(cli, "--store", "")).what == "--store is empty"


def test_conf_dir_that_is_no_folder_is_refused(cli, tmp_path):
    assert (
        "is not a folder"
        in cli.expect_fault(2, *train(cli, "--conf-dir", str(tmp_path / "none"))).what
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("train-prefix", "task=polarity", "encoder=tiny"),
        ("train-multitask", "tasks=[polarity]", "encoder=tiny"),
        ("train-student", "teacher=multitask/both"),
        ("combine", "prefixes=[alpha]"),
        ("embed", "bank=demo", "corpus.path=none.txt"),
        ("probe", "bank=demo", "task=polarity"),
        ("transfer", "combine", "task=polarity"),
        ("transfer", "retrieve", "task=polarity"),
    ],
    ids=" ".join,
)
def test_name_that_cannot_be_a_ref_is_refused_before_any_work(cli, arguments):
    fault = cli.expect_fault(2, *arguments, "name=a/b")
    assert fault.what == "name = 'a/b'" and fault.fix == "name=a-b"


def test_experiment_that_cannot_be_a_ref_is_refused_before_any_work(cli):
    fault = cli.expect_fault(2, "run", "experiment=smoke", "experiment.name=a b")
    assert fault.fix == "experiment.name=a-b"


def test_length_beyond_the_encoders_positions_is_refused(cli):
    fault = cli.expect_fault(2, *train(cli, "max_length_tokens=129"))
    assert (fault.expected.split(",")[0], fault.fix) == ("at most 128", "max_length_tokens=128")


def test_length_beyond_the_encoders_positions_is_refused_when_embedding(cli, lines):
    assert (
        cli.expect_fault(
            2, "embed", "bank=demo", f"corpus.path={lines}", "max_length_tokens=129"
        ).fix
        == "max_length_tokens=128"
    )


def test_tracker_whose_package_is_missing_is_refused(cli, monkeypatch):
    monkeypatch.setitem(tracking.MODULES, "wandb", "no_such_package")
    fault = cli.expect_fault(2, *train(cli, "run.tracker=wandb"))
    assert (
        "no_such_package is not installed" in fault.what
        and "pip install 'prefixbank[wandb]'" in fault.fix
    )


def test_folder_encoder_without_a_path_is_refused(cli):
    args = ("train-prefix", "task=polarity", "encoder=folder")
    assert "encoder.path" in cli.expect_fault(2, *args).what


def test_folder_without_an_encoder_is_refused(cli, tmp_path):
    fault = cli.expect_fault(
        2, "train-prefix", "task=polarity", "encoder=folder", f"encoder.path={tmp_path}"
    )
    assert fault.what == f"{tmp_path} has no config.json"


def test_bank_as_encoder_of_a_training_is_refused(cli):
    assert "encoder=bank" in cli.expect_fault(2, *train(cli, "encoder=bank")).what


def test_debug_adds_a_traceback(cli):
    ran = cli(*train(cli, "task=polrity", "--debug"))
    assert (
        ran.code == 2
        and ran.err.startswith("Traceback")
        and "\nerror: task has no option 'polrity'" in ran.err
    )


@pytest.fixture
def latin(tmp_path: Path) -> Path:
    """A folder with a name from an old disk, whose bytes are not UTF-8."""
    folder = tmp_path / os.fsdecode(b"\xe9t\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (folder / "lines.txt").write_text("good\n", encoding="utf-8")
    return folder


EMBED = ("embed", "bank=demo", "max_length_tokens=8")


@pytest.mark.parametrize(
    ("flag", "what"),
    [
        ("corpus.path={}/lines.txt", "a setting"),
        ("--out={}/out", "--out"),
        ("--conf-dir={}", "--conf-dir"),
        ("--store={}/store", "the path of the store"),
    ],
)
def test_path_that_is_not_utf8_is_refused_before_any_work(cli, latin, lines, flag, what):
    corpus = () if "corpus" in flag else (f"corpus.path={lines}",)
    fault = cli.expect_fault(2, *EMBED, *corpus, flag.format(latin))
    assert fault.what.startswith(f"{what} is not UTF-8") and "\\xe9t" in fault.what


def test_current_folder_that_is_not_utf8_is_refused_before_any_work(cli, latin, lines, monkeypatch):
    monkeypatch.chdir(latin)
    fault = cli.expect_fault(2, *EMBED, f"corpus.path={lines}")
    assert fault.what.startswith("the current folder is not UTF-8")
