from __future__ import annotations

import enum
import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefixbank.errors import UsageError
from prefixbank.store.key import canonical_json, diff_documents, document, key_of

quick = settings(max_examples=60, deadline=None, database=None)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)

OLD = document(
    step="train_prefix",
    version=1,
    config={"optim": {"lr": 0.01, "schedule": "linear"}, "prefix": {}},
    inputs={"examples": "3f9c21ab" + "0" * 56, "prefixes": ["a" * 64, "b" * 64, "c" * 64]},
)


def changed(**parts: Any) -> dict[str, Any]:
    return {**OLD, **parts}


class Colour(enum.IntEnum):
    RED = 1


@quick
@given(values)
def test_canonical_json_reads_back_to_the_same_value(value):
    assert repr(json.loads(canonical_json(value))) == repr(
        json.loads(json.dumps(value, sort_keys=True))
    )


@quick
@given(st.dictionaries(texts, values, min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_canonical_json_ignores_the_order_of_names(value, random):
    names = list(value)
    random.shuffle(names)
    assert canonical_json({name: value[name] for name in names}) == canonical_json(value)


@quick
@given(values)
def test_canonical_json_is_a_fixed_point(value):
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text


def test_canonical_json_is_sorted_utf8_without_blanks():
    value = {"b": (1, 2.5), "a": {"é": None, "z": True}}
    assert canonical_json(value) == '{"a":{"z":true,"é":null},"b":[1,2.5]}'.encode()


def test_canonical_json_writes_a_tuple_as_a_list():
    assert canonical_json((1, (2,))) == canonical_json([1, [2]])


def test_canonical_json_tells_integer_float_and_boolean_apart():
    assert len({canonical_json(value) for value in (1, 1.0, True, "1")}) == 4


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), "\ud800", {"\udfff": 1}]
)
def test_canonical_json_refuses_values_without_a_json_form(value):
    with pytest.raises(ValueError, match=r"value"):
        canonical_json({"x": [value]})


@pytest.mark.parametrize(
    "value",
    [{1: 2}, {None: 1}, {True: 1}, b"x", {1, 2}, object(), Colour.RED, np.float64(1), np.int64(1)],
)
def test_canonical_json_refuses_other_types(value):
    with pytest.raises(TypeError):
        canonical_json({"x": value})


def test_canonical_json_says_where_the_bad_value_is():
    with pytest.raises(ValueError, match=r"value\.scores\[1\]\.pearson is nan"):
        canonical_json({"scores": [{}, {"pearson": float("nan")}]})


def test_key_is_the_hash_of_the_documented_text():
    text = (
        b'{"config":{"optim":{"lr":0.03},"seed":0},"inputs":{"encoder":"e0","examples":"e1"},'
        b'"schema":1,"step":"train_prefix","version":2}'
    )
    made = document(
        step="train_prefix",
        version=2,
        config={"seed": 0, "optim": {"lr": 0.03}},
        inputs={"examples": "e1", "encoder": "e0"},
    )
    assert key_of(made) == hashlib.sha256(text).hexdigest()[:32]


@pytest.mark.parametrize(
    ("step", "config", "inputs", "key"),
    [
        (
            "train_prefix",
            {"optim": {"lr": 0.03}, "seed": 0},
            {"encoder": "e0", "examples": "e1"},
            "f3c2928f158ca48eaf00f24dbe35c692",
        ),
        (
            "combine",
            {"rule": "concat_prefixes", "weights": (0.5, 0.5)},
            {"prefixes": ["p0", "p1"]},
            "67327cd3bc31fcde2b1ac27f696e54a7",
        ),
        (
            "probe",
            {"strengths": [1e-4, 10.0], "label": "größer", "shots": None, "early": False},
            {},
            "f1ec817395bc678ce6a3bc4b41753db5",
        ),
    ],
)
def test_key_never_changes_for_a_given_document(step, config, inputs, key):
    assert key_of(document(step=step, version=1, config=config, inputs=inputs)) == key


@pytest.mark.parametrize(
    "other",
    [
        changed(version=2),
        changed(step="combine"),
        changed(schema=2),
        changed(config={}),
        changed(inputs={}),
    ],
    ids=["version", "step", "schema", "config", "inputs"],
)
def test_key_depends_on_every_part_of_the_document(other):
    assert key_of(other) != key_of(OLD)


def test_key_ignores_the_order_of_names():
    assert key_of(dict(reversed(OLD.items()))) == key_of(OLD)


def test_document_equals_what_is_read_back():
    made = document(step="combine", version=1, config={"weights": (0.5, 1.0)}, inputs={})
    assert made == json.loads(json.dumps(made))


@pytest.mark.parametrize("step", ["", "../x", "a/b", ".hidden", "a b"])
def test_document_refuses_a_step_that_cannot_be_a_folder(step):
    with pytest.raises(UsageError):
        document(step=step, version=1, config={}, inputs={})


def test_diff_of_equal_documents_is_empty():
    assert diff_documents(OLD, json.loads(json.dumps(OLD))) == []


@pytest.mark.parametrize(
    ("new", "lines"),
    [
        (changed(version=2), ["version 1 -> 2"]),
        (changed(step="combine"), ["step train_prefix -> combine"]),
        (
            changed(config={"optim": {"lr": 0.005, "schedule": "linear"}, "prefix": {}}),
            ["optim.lr 0.01 -> 0.005"],
        ),
        (
            changed(config={"optim": {"lr": 0.01, "schedule": "cosine"}, "prefix": {}}),
            ["optim.schedule linear -> cosine"],
        ),
        (changed(config={**OLD["config"], "prefix": {"length": 8}}), ["prefix.length added 8"]),
        (changed(config={"optim": {"lr": 0.01}, "prefix": {}}), ["optim.schedule removed linear"]),
        (
            changed(config={**OLD["config"], "gate": {"init": 0.0, "kind": "learned"}}),
            ["gate.init added 0.0", "gate.kind added learned"],
        ),
        (
            changed(inputs={**OLD["inputs"], "examples": "77de0c19" + "0" * 56}),
            ["inputs.examples 3f9c21ab -> 77de0c19"],
        ),
    ],
)
def test_diff_has_one_line_for_each_difference(new, lines):
    assert diff_documents(OLD, new) == lines


def test_diff_aligns_lists_when_the_first_item_is_left_out():
    new = changed(inputs={**OLD["inputs"], "prefixes": ["b" * 64, "c" * 64]})
    assert diff_documents(OLD, new) == ["inputs.prefixes[0] removed aaaaaaaa"]


def test_diff_names_the_item_of_a_list_that_changed():
    new = changed(inputs={**OLD["inputs"], "prefixes": ["a" * 64, "d" * 64, "c" * 64]})
    assert diff_documents(OLD, new) == ["inputs.prefixes[1] bbbbbbbb -> dddddddd"]


def test_diff_names_the_item_that_was_added_to_a_list():
    new = changed(inputs={**OLD["inputs"], "prefixes": ["a" * 64, "b" * 64, "c" * 64, "d" * 64]})
    assert diff_documents(OLD, new) == ["inputs.prefixes[3] added dddddddd"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (1, 1.0, "x 1 -> 1.0"),
        (1, "1", 'x 1 -> "1"'),
        (1, True, "x 1 -> true"),
        ("", None, 'x "" -> null'),
    ],
)
def test_diff_shows_a_change_of_type(old, new, line):
    assert diff_documents(changed(config={"x": old}), changed(config={"x": new})) == [line]


def test_diff_shows_a_dict_that_became_a_value():
    assert diff_documents(changed(config={"x": {"y": 1}}), changed(config={"x": 2})) == [
        'x {"y": 1} -> 2'
    ]


def test_diff_lists_the_parts_in_the_order_of_the_document():
    new = changed(version=2, config={**OLD["config"], "seed": 1}, inputs={})
    assert [line.split()[0] for line in diff_documents(OLD, new)][:3] == [
        "version",
        "seed",
        "inputs.examples",
    ]
