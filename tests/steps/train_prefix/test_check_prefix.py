"""Settings of a prefix that contradict each other, or the tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from prefixbank.config.schema import PoolingConfig, PrefixConfig
from prefixbank.data.tasks.task import Examples, Task
from prefixbank.errors import Faults, PrefixbankError, UsageError
from prefixbank.steps.train_prefix.mixture import Mixture
from prefixbank.steps.train_prefix.step import check_prefix

ROWS = Examples(texts=("a", "b"), pairs=None, labels=np.array([0, 1]))
TASK = Task(
    name="alpha",
    kind="classification",
    metric="accuracy",
    labels=("no", "yes"),
    train=ROWS,
    validation=ROWS,
    test=ROWS,
    notes=(),
)
VALUES = replace(TASK, name="values", kind="regression", metric="pearson", labels=())
FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "gate of a soft prompt": (
        {"kind": "soft", "gate": "learned"},
        "prefix.gate=learned with prefix.kind=soft",
        "prefix.gate=none, or prefix.kind=deep",
    ),
    "gate of read-outs": (
        {"kind": "readout", "gate": "learned"},
        "prefix.gate=learned with prefix.kind=readout",
        "prefix.gate=none, or prefix.kind=deep",
    ),
    "network of a soft prompt": (
        {"kind": "soft", "projection": "mlp"},
        "prefix.projection=mlp with prefix.kind=soft",
        "prefix.projection=none, or prefix.kind=deep",
    ),
    "network of read-outs": (
        {"kind": "readout", "projection": "mlp"},
        "prefix.projection=mlp with prefix.kind=readout",
        "prefix.projection=none, or prefix.kind=deep",
    ),
    "words for a deep prefix": (
        {"init": "vocabulary"},
        "prefix.init=vocabulary with prefix.kind=deep",
        "prefix.init=random",
    ),
    "labels for a deep prefix": (
        {"init": "labels"},
        "prefix.init=labels with prefix.kind=deep",
        "prefix.init=random",
    ),
    "texts for a network": (
        {"projection": "mlp", "init": "texts"},
        "prefix.init=texts with prefix.projection=mlp",
        "prefix.projection=none    or prefix.init=random",
    ),
    "texts for a soft prompt": (
        {"kind": "soft", "init": "texts"},
        "prefix.init=texts with prefix.kind=soft",
        "prefix.init=vocabulary",
    ),
    "deep prefix of no slots": (
        {"length": 0},
        "prefix.length=0 with prefix.kind=deep",
        "prefix.length=16",
    ),
    "soft prompt of no vectors": (
        {"kind": "soft", "length": 0},
        "prefix.length=0 with prefix.kind=soft",
        "prefix.length=16",
    ),
    "side by side without a size": (
        {"kind": "readout", "summary": "concat"},
        "prefix.summary=concat without a projection",
        "prefix.size=48    or prefix.summary=mean",
    ),
}
ALLOWED: list[dict[str, Any]] = [
    {},
    {"init": "texts"},
    {"init": "texts", "gate": "learned"},
    {"gate": "learned", "projection": "mlp"},
    {"init": "some-prefix"},
    {"summary": "concat", "size": 3},
    {"kind": "soft", "init": "vocabulary"},
    {"kind": "soft", "init": "labels"},
    {"kind": "readout"},
    {"kind": "readout", "length": 0},
    {"kind": "readout", "length": 0, "init": "texts"},
    {"kind": "readout", "init": "labels"},
    {"kind": "readout", "init": "vocabulary", "readouts": 1},
    {"kind": "readout", "summary": "concat", "size": 3},
    {"kind": "readout", "size": 3},
]


def refusal(task: Task | Mixture = TASK, **settings: Any) -> PrefixbankError:
    with pytest.raises(PrefixbankError) as caught:
        check_prefix(Mixture.of(task), PrefixConfig(**settings), PoolingConfig())
    return caught.value


@pytest.mark.parametrize(("settings", "what", "fix"), FAULTS.values(), ids=FAULTS.keys())
def test_settings_that_contradict_each_other_are_refused_with_a_fix(
    settings: dict[str, Any], what: str, fix: str
):
    error = refusal(**settings)
    assert isinstance(error, UsageError) and (error.what, error.fix) == (what, fix)
    assert error.expected and not any("\n" in line for line in (error.what, error.expected))


@pytest.mark.parametrize("settings", ALLOWED, ids=str)
def test_settings_that_go_together_are_let_pass(settings: dict[str, Any]):
    assert check_prefix(Mixture.of(TASK), PrefixConfig(**settings), PoolingConfig()) is None


@pytest.mark.parametrize("kind", ["soft", "readout"])
def test_labels_of_a_task_without_names_are_refused(kind: Any):
    error = refusal(VALUES, kind=kind, init="labels")
    assert error.what == "prefix.init=labels for values, a regression task"
    assert error.fix == "prefix.init=vocabulary"


def test_tasks_of_two_kinds_are_refused_for_read_outs_too():
    error = refusal(Mixture(tasks=(TASK, VALUES)), kind="readout")
    assert error.what.startswith("task.mixture has tasks of 2 kinds")


def test_all_faults_are_told_at_once():
    error = refusal(kind="readout", gate="learned", projection="mlp", summary="concat")
    assert isinstance(error, Faults)
    assert [fault.what.split()[0] for fault in error.faults] == [
        "prefix.gate=learned",
        "prefix.projection=mlp",
        "prefix.summary=concat",
    ]
