"""Which prefixes are sources of a task, and how they are ranked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prefixbank.config.commands import TrainPrefixConfig
from prefixbank.config.compose import compose
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EncoderConfig, PrefixRecipe, TaskConfig, recipe_of
from prefixbank.errors import Faults, UsageError
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event
from prefixbank.store.artifact import Entry
from prefixbank.store.store import Store
from prefixbank.transfer.sources import Target, check_k, find_sources, nearest, ranked
from prefixbank.transfer.task_embeddings import Comparison
from tests.prepared import SMALL, copy_store


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def context(prepared, tmp_path, events) -> Context:
    """Plans with the prefixes alpha and beta in its store."""
    store = Store(copy_store(prepared.store, tmp_path / "copy"))
    run = RunConfig(device="cpu", data_root=str(prepared.tasks))
    return Context(store, run, emit=events.append, dry_run=True)


@pytest.fixture
def target(context):
    """Return a task with the recipe of the prepared prefixes."""
    recipe = recipe_of(compose(TrainPrefixConfig, ["task=folder", *SMALL]), PrefixRecipe)
    files = context.encoder_files(EncoderConfig(source="tiny"))

    def of(rows_of: str, **changes: object) -> Target:
        task = replace(context.task(TaskConfig(name=rows_of)), **changes)
        return Target(task=task, files=files, recipe=recipe)

    return of


def names(context: Context, target: Target, *given: str) -> list[str]:
    return [source.named for source in find_sources(context, target, given, "weights")]


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if event.step == "sources"]


def test_nearest_are_the_greatest_and_of_equal_ones_the_first():
    similar = np.array([0.2, 0.9, 0.5, 0.9])
    assert nearest(similar, 3) == [1, 3, 2]


def test_k_above_the_number_of_sources_is_refused():
    check_k(2, "ab", "gamma")
    with pytest.raises(UsageError, match="k=3, but 2 prefixes can be compared with gamma"):
        check_k(3, "ab", "gamma")


def test_every_prefix_with_a_ref_is_a_source(context, target, events):
    assert names(context, target("gamma")) == ["prefix/alpha", "prefix/beta"]
    assert notes(events) == []


def test_sources_can_be_named_by_name_ref_and_key(context, target):
    key = context.store.resolve("prefix", "beta").key
    assert names(context, target("gamma"), "alpha") == ["prefix/alpha"]
    assert names(context, target("gamma"), "prefix/alpha", key) == ["prefix/alpha", key]


def test_source_that_is_named_twice_is_compared_once(context, target):
    key = context.store.resolve("prefix", "alpha").key
    assert names(context, target("gamma"), "alpha", key) == ["prefix/alpha"]


@pytest.mark.parametrize(
    ("changes", "rows_of"),
    [({}, "alpha"), ({"name": "alpha"}, "gamma"), ({"name": "renamed"}, "alpha")],
    ids=["itself", "same name", "same rows"],
)
def test_prefix_of_the_task_itself_is_no_source(context, target, changes, rows_of):
    assert names(context, target(rows_of, **changes)) == ["prefix/beta"]
    with pytest.raises(UsageError, match="prefix/alpha was trained on"):
        names(context, target(rows_of, **changes), "alpha")


def test_unfit_prefix_is_left_out_with_a_note_and_refused_if_named(context, target, events):
    def unfit(entry: Entry) -> UsageError | None:
        fault = UsageError("unfit", expected="another", fix="none")
        return fault if entry.info["task"] == "beta" else None

    (source,) = find_sources(context, target("gamma"), (), "weights", unfit)
    assert source.named == "prefix/alpha"
    assert [text.split(":")[0] for text in notes(events)] == ["1 of 2 prefixes left out"]
    with pytest.raises(UsageError, match="unfit"):
        find_sources(context, target("gamma"), ("beta",), "weights", unfit)


def test_prefixes_with_other_start_values_are_refused_all_at_once(context, target):
    other = target("gamma")
    other = replace(other, recipe=replace(other.recipe, seed=5))
    with pytest.raises(Faults) as raised:
        names(context, other, "alpha", "beta")
    assert len(raised.value.faults) == 2
    with pytest.raises(UsageError, match="none of 2 prefixes in the store"):
        names(context, other)


def test_artifact_without_a_task_embedding_is_no_source(context, target):
    bank = context.store.resolve("bank", "demo")
    with pytest.raises(UsageError, match="is combine .* without a task embedding"):
        names(context, target("gamma"), bank.key)


def test_trained_task_has_its_embedding_in_its_prefix(context, target):
    assert target("alpha").embedding(context).entry == context.store.resolve("prefix", "alpha")


def test_untrained_task_needs_a_short_run(context, target, events):
    planned = target("gamma").embedding(context)
    assert (planned.step, planned.is_made) == ("task-embedding", False)
    assert [(event.kind, event.step) for event in events] == [("miss", "task-embedding")]


def test_rows_are_ranked_by_similarity(context, target):
    sources = find_sources(context, target("gamma"), (), "weights")
    comparison = Comparison(similarity="average_tokens", compare="weights")
    rows = ranked(context.store.resolve("prefix", "beta"), sources, comparison)
    assert [(row["rank"], row["source"], row["task"]) for row in rows] == [
        (1, "prefix/beta", "beta"),
        (2, "prefix/alpha", "alpha"),
    ]
    assert rows[0]["similarity"] == 1.0 > rows[1]["similarity"]
    assert rows[0]["by_layer"] == [1.0, 1.0] and rows[1]["key"] == sources[0].entry.key
