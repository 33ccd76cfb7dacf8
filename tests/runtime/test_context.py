"""Which units a context plans, makes and reports."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prefixbank.config.running import RunConfig
from prefixbank.config.schema import TaskConfig
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event
from prefixbank.runtime.unit import Planned, Unit
from prefixbank.store import Store
from tests.runtime.test_unit import unit_of

PREFIX = Planned(step="train-prefix", name="alpha", key="0" * 64)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def context(store, events) -> Context:
    """With an empty store of its own."""
    return Context(store, RunConfig(device="cpu"), emit=events.append)


def build_from_missing() -> Unit:
    raise AssertionError(f"built from {PREFIX.entry}")


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_planning_context_shares_what_is_loaded_and_makes_nothing(prepared):
    context = Context(Store(prepared.store), RunConfig(device="cpu"))
    alpha = TaskConfig(name="alpha", path=str(prepared.tasks / "alpha"))
    loaded = context.task(alpha)
    twin = context.dry(context.emit)
    assert twin.task(alpha) is loaded
    assert (twin.dry_run, context.dry_run, twin.store) == (True, False, context.store)


def test_planned_unit_is_among_those_that_can_be_made(context, store, events):
    missing: list[Unit] = []
    unit = unit_of()
    assert not context.dry(events.append, missing).ensure(unit).is_made
    assert missing == [unit] and kinds(events) == ["miss"] and not store.root.exists()


def test_unit_whose_input_is_not_made_says_what_it_needs(context, events):
    planned = context.ensure_from("combine", "demo", build_from_missing)
    assert planned == Planned(step="combine", name="demo")
    assert (events[0].kind, events[0].text) == ("waits", "needs train-prefix alpha")


def test_unit_whose_inputs_are_made_is_made(context, events):
    first = context.ensure(unit_of(name="one"))
    second = context.ensure_from(
        "train-prefix", "two", lambda: unit_of(name="two", after=first.entry.key)
    )
    assert second.is_made and kinds(events) == ["miss", "done"] * 2


def test_restricted_context_makes_the_units_of_its_keys_alone(context, events):
    one, two = unit_of(name="one"), unit_of(name="two", seed=2)
    key = context.dry(events.append).ensure(two).key
    events.clear()
    restricted = context.restricted_to([key], events.append)
    made = [restricted.ensure(unit).is_made for unit in (one, two)]
    assert made == [False, True] and {event.name for event in events} == {"two"}


def test_restricted_context_does_not_say_what_units_of_others_need(context, events):
    restricted = context.restricted_to([], events.append)
    assert not restricted.ensure_from("combine", "demo", build_from_missing).key
    assert events == []


def test_forced_unit_is_made_once_by_one_command(context, events):
    context.ensure(unit_of())
    events.clear()
    forced = replace(context, force=True)
    forced.ensure(unit_of())
    forced.ensure(unit_of())
    assert kinds(events) == ["miss", "done"] and events[0].text == "--force"
