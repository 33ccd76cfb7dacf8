"""What a unit of work says and does: hit, miss with its reason, done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefixbank.errors import DamagedError, TrainingError, UsageError
from prefixbank.runtime.events import Event, silent
from prefixbank.runtime.unit import NotMade, Planned, Unit, plan_unit, run_unit, why_missing
from prefixbank.store.key import JSON, document, key_of


def unit_of(
    *,
    name: str = "one",
    ref: bool = True,
    config: JSON | None = None,
    text: str = "made",
    **values: Any,
) -> Unit:
    def make(out: Path, work: Path) -> JSON:
        (out / "file").write_text(text, encoding="utf-8")
        return {"said": text}

    made_of = document(
        step="train_prefix",
        version=1,
        config={**(config or {"lr": 0.1, "seed": 0}), **values},
        inputs={},
    )
    return Unit(
        step="train-prefix",
        name=name,
        document=made_of,
        make=make,
        ref=("prefix", name) if ref else None,
        note=lambda entry: f"note on {entry.info['said']}",
    )


@pytest.fixture
def events() -> list[Event]:
    return []


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_run_makes_what_is_missing_and_says_so(store, events):
    entry = run_unit(store, unit_of(), events.append)
    assert (
        kinds(events) == ["miss", "done"]
        and entry.file("file").read_text(encoding="utf-8") == "made"
    )


def test_run_of_what_is_there_is_a_hit(store, events):
    first = run_unit(store, unit_of(), silent)
    second = run_unit(store, unit_of(text="other"), events.append)
    assert kinds(events) == ["hit"] and second.digest == first.digest


def test_last_event_has_key_size_note_and_time(store, events):
    entry = run_unit(store, unit_of(), events.append)
    last = events[-1]
    assert (last.key, last.size_bytes, last.text) == (
        entry.key,
        4,
        "note on made",
    ) and last.seconds > 0


@pytest.mark.parametrize("again", [False, True], ids=["made", "hit"])
def test_run_sets_the_ref(store, again):
    run_unit(store, unit_of(), silent)
    other = run_unit(store, unit_of(seed=1), silent)
    last = run_unit(store, unit_of(), silent) if again else other
    assert store.ref("prefix", "one").key == last.key


def test_ref_that_moves_is_told_with_both_keys(store, events):
    first = run_unit(store, unit_of(), events.append)
    second = run_unit(store, unit_of(seed=1), events.append)
    run_unit(store, unit_of(seed=1), events.append)
    assert [event.text for event in events if event.kind == "note"] == [
        f"prefix/one was {first.short_key}, now {second.short_key}"
    ]
    assert kinds(events) == ["miss", "done", "miss", "note", "done", "hit"]


def test_run_without_a_ref_sets_none(store):
    run_unit(store, unit_of(ref=False), silent)
    assert store.refs() == []


def test_name_that_no_ref_can_have_is_refused_before_any_work():
    with pytest.raises(UsageError, match="'a/b' cannot be used"):
        unit_of(name="a/b")


def test_force_makes_again_what_is_there(store, events):
    run_unit(store, unit_of(), silent)
    entry = run_unit(store, unit_of(text="other"), events.append, force=True)
    assert (
        kinds(events) == ["miss", "done"]
        and events[0].text == "--force"
        and entry.info["said"] == "other"
    )


def test_run_that_fails_publishes_nothing_and_leaves_the_ref(store):
    kept = run_unit(store, unit_of(), silent)

    def fail(out: Path, work: Path) -> JSON:
        raise TrainingError("a", expected="b", fix="c")

    broken = unit_of(seed=1)
    with pytest.raises(TrainingError):
        run_unit(
            store,
            Unit(
                step=broken.step,
                name="one",
                document=broken.document,
                make=fail,
                ref=("prefix", "one"),
            ),
            silent,
        )
    assert [entry.key for entry in store.entries()] == [kept.key] and store.ref(
        "prefix", "one"
    ).key == kept.key


def test_plan_makes_nothing(store, events):
    planned = plan_unit(store, unit_of(), events.append)
    assert planned == Planned(
        step="train-prefix", name="one", key=key_of(unit_of().document), made=None
    )
    assert kinds(events) == ["miss"] and not store.root.exists()


def test_planned_artifact_that_does_not_exist_has_no_entry(store):
    planned = plan_unit(store, unit_of(), silent)
    with pytest.raises(NotMade, match="train-prefix one is not made yet") as raised:
        planned.entry  # noqa: B018
    assert raised.value.planned is planned and not planned.is_made


def test_plan_of_a_hit_returns_it_and_leaves_the_ref(store, events):
    entry = run_unit(store, unit_of(), silent)
    run_unit(store, unit_of(seed=1), silent)
    moved = store.ref("prefix", "one").key
    assert plan_unit(store, unit_of(), events.append).entry.key == entry.key
    assert (kinds(events), store.ref("prefix", "one").key) == (["hit"], moved)


def test_plan_with_force_is_a_miss(store, events):
    run_unit(store, unit_of(), silent)
    planned = plan_unit(store, unit_of(), events.append, force=True)
    assert not planned.is_made and events[0].text == "--force"


def test_why_of_the_first_of_its_name_says_so(store):
    run_unit(store, unit_of(name="other"), silent)
    assert why_missing(store, unit_of(seed=1)) == "new"


def test_why_names_what_differs_from_the_most_similar_of_the_same_name(store):
    run_unit(store, unit_of(seed=5), silent)
    run_unit(store, unit_of(seed=1, lr=0.3), silent)
    run_unit(store, unit_of(name="other", seed=5, lr=0.2), silent)
    assert why_missing(store, unit_of(seed=5, lr=0.7)) == "lr 0.1 -> 0.7"


def test_why_compares_with_the_newest_of_several(store):
    for seed in (1, 2):
        run_unit(store, unit_of(seed=seed), silent)
    assert why_missing(store, unit_of(seed=3)) == "seed 2 -> 3"


def test_why_shows_three_reasons_and_counts_the_rest(store):
    run_unit(store, unit_of(config={name: 0 for name in "abcde"}), silent)
    assert (
        why_missing(store, unit_of(config={name: 1 for name in "abcde"}))
        == "a 0 -> 1, b 0 -> 1, c 0 -> 1 and 2 more"
    )


def test_damaged_artifact_is_no_miss(store, events):
    entry = run_unit(store, unit_of(), silent)
    (entry.path / "entry.json").write_text("{", encoding="utf-8")
    with pytest.raises(DamagedError):
        run_unit(store, unit_of(), events.append)
    assert events == [] and (entry.path / "file").exists()
