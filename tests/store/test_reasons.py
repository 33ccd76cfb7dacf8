"""Why an artifact is no hit, in words."""

from __future__ import annotations

from typing import Any

import pytest

from prefixbank.store.key import document
from prefixbank.store.reasons import FACT, Described, fact, named, reasons, words_in

TASK = Described(
    kind="task",
    name="tickets.csv",
    is_file=True,
    rows=8997,
    facts={"metric": "macro_f1"},
    origin={"max_rows": 0},
    content="a",
)


def changed(old: Described, **values: Any) -> Described:
    return Described(**{**vars(old), **values})


def inputs_of(*digests: str) -> dict[str, Any]:
    return {"examples": [digest * 64 for digest in digests]}


@pytest.fixture
def differ(put):
    """The reasons between an artifact and a document with these inputs and words."""

    def lines(
        old: dict[str, Any], was: Any, new: dict[str, Any], now: Any, step: str = "train_prefix"
    ) -> list[str]:
        def of(inputs: dict[str, Any]) -> dict[str, Any]:
            return document(step=step, version=1, config={}, inputs=inputs)

        return reasons(put(of(old), **fact(was)), of(new), now)

    return lines


@pytest.mark.parametrize(
    ("now", "line"),
    [
        (changed(TASK, facts={"metric": "accuracy"}), "task.metric macro_f1 -> accuracy"),
        (changed(TASK, rows=9120, content="b"), "tickets.csv changed, 8,997 -> 9,120 rows"),
        (changed(TASK, content="b"), "tickets.csv changed, 8,997 rows"),
        (changed(TASK, origin={"max_rows": 50}, content="b"), "task.max_rows 0 -> 50"),
        (
            changed(TASK, name="b.csv", rows=3, content="b"),
            "task tickets.csv -> b.csv, 8,997 -> 3 rows",
        ),
    ],
    ids=["metric", "rows", "content", "setting", "file"],
)
def test_reason_says_what_of_a_task_changed(differ, now, line):
    found = differ(inputs_of("a"), {"examples": [TASK]}, inputs_of("b"), {"examples": [now]})
    assert found == [line]


def test_metric_and_rows_that_both_changed_are_both_said(differ):
    now = changed(TASK, facts={"metric": "accuracy"}, rows=9, content="b")
    lines = differ(inputs_of("a"), {"examples": [TASK]}, inputs_of("b"), {"examples": [now]})
    assert lines == ["task.metric macro_f1 -> accuracy", "tickets.csv changed, 8,997 -> 9 rows"]


def encoder(name: str, layers: int = 0) -> list[Described]:
    return [Described(kind="encoder", name=name, origin={"layers": layers})]


@pytest.mark.parametrize(
    ("now", "line"),
    [
        (encoder("minilm"), "encoder tiny -> minilm"),
        (encoder("tiny", 6), "encoder.layers 0 -> 6"),
        (encoder("tiny"), "encoder tiny changed"),
    ],
)
def test_reason_names_encoders(differ, now, line):
    old, new = {"encoder": "a" * 64}, {"encoder": "b" * 64}
    assert differ(old, {"encoder": encoder("tiny")}, new, {"encoder": now}) == [line]


def prefixes(*names: str) -> dict[str, list[Described]]:
    return {"examples": [Described(kind="prefix", name=name) for name in names]}


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("ab", "abc", ["prefix c added"]),
        ("abc", "bc", ["prefix a removed"]),
        ("ab", "xb", ["prefix a -> x"]),
        ("ab", "ba", ["prefix b added", "prefix b removed"]),
    ],
)
def test_lists_are_aligned_by_what_they_hold(differ, old, new, lines):
    was, now = prefixes(*old), prefixes(*new)
    assert differ(inputs_of(*old), was, inputs_of(*new), now) == lines


def test_one_input_that_becomes_several_keeps_the_one(differ):
    lines = differ({"examples": "a" * 64}, prefixes("a"), inputs_of("a", "b"), prefixes("a", "b"))
    assert lines == ["prefix b added"]


def test_input_that_is_the_same_is_no_reason_whatever_it_is_called(differ):
    assert differ(inputs_of("a"), prefixes("a"), inputs_of("a"), prefixes("b")) == []


def test_input_without_words_has_its_name_and_no_digest(differ):
    old = {"heads": {"emotion": "a" * 64}, "encoder": "c" * 64}
    new = {"heads": {"emotion": "b" * 64, "topic": "a" * 64}}
    assert differ(old, {}, new, {}) == [
        "encoder removed",
        "heads.emotion changed",
        "heads.topic added",
    ]


def test_words_of_one_side_only_are_not_used(differ):
    assert differ(inputs_of("a"), {}, inputs_of("b"), prefixes("b")) == ["examples[0] changed"]


def test_settings_of_a_probe_have_their_group(put):
    old, new = (
        document(step="probe", version=1, config={"shots": shots}, inputs={}) for shots in (0, 8)
    )
    assert reasons(put(old), new, {}) == ["probe.shots 0 -> 8"]


def test_words_are_kept_beside_the_document(put):
    made = document(step="combine", version=1, config={}, inputs={})
    entry = put(made, **fact({"examples": [TASK]}))
    assert words_in(entry) == {"examples": [TASK]} and entry.document == made
    assert words_in(entry, "other") == {}


@pytest.mark.parametrize("odd", [3, {"a": 3}, {"a": [{"unknown": 1}]}])
def test_words_that_cannot_be_read_are_none(put, odd):
    entry = put(document(step="combine", version=1, config={}, inputs={}), **{FACT: odd})
    assert words_in(entry) == {}


def test_artifact_is_named_as_it_was_made(put):
    entry = put(document(step="combine", version=1, config={}, inputs={}), name="demo")
    assert named("bank", [entry]) == [Described(kind="bank", name="demo")]
