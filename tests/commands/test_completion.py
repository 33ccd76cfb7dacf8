"""What `KEY=VALUE` words become when the tab key is pressed."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefixbank.choices import VectorType
from prefixbank.commands.completion import ENCODERS, PATHS, REFS, TASKS, Completion
from prefixbank.commands.table import COMMANDS, command_named
from prefixbank.config.folders import groups
from prefixbank.config.schema import PrefixRecipe
from prefixbank.config.settings import full_names
from prefixbank.store.key import document
from prefixbank.store.store import Store


@pytest.fixture
def complete(tmp_path: Path):
    """Completes a word of a command, with a store that has a few refs."""
    store = Store(tmp_path / "store")
    made = document(step="train_prefix", version=1, config={}, inputs={})
    entry, _ = store.build(made, lambda out, work: {})
    encoders = ("multitask/both", "student/small")
    for ref in ("prefix/polarity", "prefix/topic", "bank/two", "probe/tone@two", *encoders):
        store.set_ref(*ref.split("/"), entry.key)

    def words(command: str, word: str, conf_dir: Path | None = None) -> list[str]:
        completion = Completion(command=command_named(command), store=store, conf_dir=conf_dir)
        return completion.words(word)

    return words


def test_names_come_group_by_group(complete):
    assert complete("train-prefix", "t") == ["task=", "task."]
    assert complete("train-prefix", "task.columns.t") == [
        "task.columns.text=",
        "task.columns.text_pair=",
    ]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_setting_is_reached_by_its_first_letters(complete, command):
    for name in full_names(command.settings):
        found = complete(command.name, name)
        assert any(one.startswith(name) for one in found), name


def test_single_setting_comes_with_its_default(complete):
    default = PrefixRecipe().optim.weight_decay
    assert complete("train-prefix", "optim.weight_d") == [f"optim.weight_decay={default}"]


def test_choices_are_those_of_the_schema(complete):
    kinds = VectorType.__args__
    assert complete("embed", "vectors=") == [f"vectors={kind}" for kind in kinds]
    assert complete("embed", "reuse=t") == ["reuse=true"]


def test_group_has_the_choices_of_its_folder_and_of_the_users(complete, tmp_path):
    assert complete("run", "experiment=st") == ["experiment=starter", "experiment=starter_seeds"]
    (tmp_path / "own" / "task").mkdir(parents=True)
    (tmp_path / "own" / "task" / "mine.yaml").write_text("source: folder\n", encoding="utf-8")
    assert complete("train-prefix", "task=min", tmp_path / "own") == ["task=mine"]


@pytest.mark.parametrize(
    ("command", "word", "found"),
    [
        ("embed", "bank=", ["bank=two", "bank=none", "bank=multitask/both", "bank=student/small"]),
        ("train-student", "teacher=", ["teacher=multitask/both", "teacher=student/small"]),
        ("train-student", "tasks=[pola", ["tasks=[polarity"]),
        ("combine", "prefixes=[", ["prefixes=[polarity", "prefixes=[topic"]),
        ("combine", "prefixes=[polarity,t", ["prefixes=[polarity,topic"]),
        ("combine", "prefixes=", ["prefixes=[polarity", "prefixes=[topic"]),
        ("predict", "heads=[", ["heads=[tone@two"]),
        ("train-prefix", "prefix.init=prefix/t", ["prefix.init=prefix/topic"]),
        ("train-multitask", "tasks=[snli,pol", ["tasks=[snli,polarity"]),
        ("search", "embeddings=", []),
    ],
)
def test_names_of_artifacts_and_tasks_are_known(complete, command, word, found):
    assert complete(command, word) == found


def test_paths_are_those_of_the_folder(complete, tmp_path, monkeypatch):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "new.csv").touch()
    (tmp_path / "text.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert complete("embed", "corpus.path=tex") == ["corpus.path=text.txt", "corpus.path=texts/"]
    assert complete("embed", "corpus.path=texts/") == ["corpus.path=texts/new.csv"]
    assert complete("embed", "corpus.path=nowhere/") == []


def test_unknown_names_become_nothing(complete):
    assert complete("embed", "no_such") == [] and complete("embed", "no_such=a") == []


def test_settings_that_are_named_exist():
    known = {name for command in COMMANDS for name in full_names(command.settings)}
    assert {*REFS, *ENCODERS, *TASKS} <= known
    assert set(PATHS) <= {name.rpartition(".")[2] for name in known}
    assert "task" in groups()
