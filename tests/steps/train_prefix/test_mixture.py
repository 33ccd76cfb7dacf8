"""What the key of a prefix of several tasks follows, which rows it is shown, and what its artifact
holds.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from prefixbank.artifacts.prefix import setting_in
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import (
    EncoderConfig,
    OptimConfig,
    PrefixConfig,
    PrefixRecipe,
    TaskConfig,
    key_config,
)
from prefixbank.data.encoders.prompts import prompt_words
from prefixbank.data.tasks.task import Task
from prefixbank.errors import DeviceError, Faults, UsageError
from prefixbank.runtime.context import Context
from prefixbank.steps.score_prefix import step as score_prefix
from prefixbank.steps.train_prefix import make as fitting
from prefixbank.steps.train_prefix import step as train_prefix
from prefixbank.steps.train_prefix.make import prepare
from prefixbank.steps.train_prefix.mixture import Mixture
from prefixbank.store.artifact import Entry
from prefixbank.store.key import key_of
from prefixbank.store.store import Store

QUICK = PrefixRecipe(prefix=PrefixConfig(length=2), optim=OptimConfig(epochs=1, batch_size=4))


@pytest.fixture
def context(prepared, store: Store) -> Context:
    return Context(store, RunConfig(device="cpu", data_root=str(prepared.tasks)))


@pytest.fixture
def tasks(context: Context) -> dict[str, Task]:
    """alpha with all of its 40 train rows, beta with 10."""
    return {
        "alpha": context.task(TaskConfig(name="alpha")),
        "beta": context.task(TaskConfig(name="beta", max_rows=10)),
    }


def mixture_of(tasks: dict[str, Task], size_cap: int = 0, **changes: Task) -> Mixture:
    return Mixture(tasks=tuple({**tasks, **changes}.values()), size_cap=size_cap)


def document(context: Context, task: Task | Mixture, recipe: PrefixRecipe = QUICK) -> dict:
    return train_prefix.unit(
        context, task, context.encoder_files(EncoderConfig(source="tiny")), recipe
    ).document


def trained(context: Context, mixture: Mixture, recipe: PrefixRecipe = QUICK) -> Entry:
    files = context.encoder_files(EncoderConfig(source="tiny"))
    return context.ensure(train_prefix.unit(context, mixture, files, recipe)).entry


def regression(task: Task) -> Task:
    rows = {
        split: replace(
            task.split(split), labels=np.arange(len(task.split(split)), dtype=np.float64)
        )
        for split in ("train", "validation", "test")
    }
    return replace(task, name="values", kind="regression", metric="pearson", labels=(), **rows)


def settings_of(recipe: PrefixRecipe) -> dict[str, object]:
    """A recipe as it stands in a key document."""
    settings: dict[str, object] = json.loads(json.dumps(key_config(recipe)))
    return settings


def test_document_of_a_single_task_knows_of_no_mixture(context: Context, tasks: dict[str, Task]):
    found = document(context, tasks["alpha"])
    assert found == document(context, Mixture(tasks=(tasks["alpha"],), size_cap=5))
    assert found["config"] == settings_of(QUICK) and found["version"] == 6
    assert found["inputs"]["examples"] == tasks["alpha"].digest("train", "validation")


def test_document_of_a_mixture_lists_digests_in_the_order_given(
    context: Context, tasks: dict[str, Task]
):
    found, turned = (
        document(context, mixture_of(tasks)),
        document(context, Mixture(tasks=tuple(reversed(tasks.values())))),
    )
    assert found["inputs"]["examples"] == [
        task.digest("train", "validation") for task in tasks.values()
    ]
    assert found["inputs"]["examples"] == turned["inputs"]["examples"][::-1] and key_of(
        found
    ) != key_of(turned)
    assert found["config"] == {
        **settings_of(QUICK),
        "mixture": {"size_cap": 0},
    }


@pytest.mark.parametrize(("size_cap", "in_key"), [(0, 0), (40, 0), (2**19, 0), (39, 39), (5, 5)])
def test_cap_that_caps_nothing_is_not_in_the_key(
    context: Context, tasks: dict[str, Task], size_cap: int, in_key: int
):
    assert document(context, mixture_of(tasks, size_cap))["config"]["mixture"] == {
        "size_cap": in_key
    }


def test_names_are_not_in_the_key(context: Context, tasks: dict[str, Task]):
    renamed = replace(tasks["alpha"], name="other")
    assert document(context, mixture_of(tasks)) == document(
        context, mixture_of(tasks, alpha=renamed)
    )


@pytest.mark.parametrize(
    ("size_cap", "counts"), [(0, {0: 40, 1: 10}), (10, {0: 25, 1: 25}), (20, {0: 33, 1: 17})]
)
def test_epoch_shows_rows_in_proportion_to_capped_sizes(
    context: Context, tasks: dict[str, Task], size_cap: int, counts: dict[int, int], tmp_path: Path
):
    files = context.encoder_files(EncoderConfig(source="tiny"))
    ready = prepare(context, mixture_of(tasks, size_cap), files, QUICK, None, tmp_path)
    shown = Counter[int]()
    for batch in ready.batches(0):
        shown[batch.task] += len(batch.rows)
        labels = tuple(tasks.values())[batch.task].train.labels
        assert batch.labels is not None and np.array_equal(batch.labels.numpy(), labels[batch.rows])
    assert shown == counts
    assert [sum(len(batch.rows) for batch in batches) for batches in ready.validation] == [12, 12]


def test_memory_is_checked_for_the_longest_text_of_any_task(
    context: Context, tasks: dict[str, Task], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(fitting, "free_bytes", lambda device: 1)
    files, train = context.encoder_files(EncoderConfig(source="tiny")), tasks["beta"].train
    longer = replace(tasks["beta"], train=replace(train, texts=("good " * 60, *train.texts[1:])))
    with pytest.raises(DeviceError, match="x 62 tokens"):
        prepare(context, mixture_of(tasks, beta=longer), files, QUICK, None, tmp_path)


def test_labels_of_all_tasks_begin_a_soft_prompt(
    context: Context, tasks: dict[str, Task], tmp_path: Path
):
    files, recipe = (
        context.encoder_files(EncoderConfig(source="tiny")),
        replace(QUICK, prefix=PrefixConfig(kind="soft", init="labels")),
    )
    mixture = mixture_of(tasks, beta=replace(tasks["beta"], labels=("yes", "perhaps")))
    words = prompt_words(context.load(files), ("no", "yes", "perhaps"), 16, 0)
    assert prepare(context, mixture, files, recipe, None, tmp_path).settings.start.words == words


def test_artifact_has_a_head_for_each_task(context: Context, tasks: dict[str, Task]):
    entry = trained(context, mixture_of(tasks))
    assert set(entry.files) == {
        "prefix.safetensors",
        "task_embedding.safetensors",
        "heads.safetensors",
        "curve.jsonl",
        "result.json",
    }
    heads = load_file(entry.file("heads.safetensors"))
    assert (
        set(heads) == {"0.weight", "0.bias", "1.weight", "1.bias"}
        and heads["1.weight"].shape == heads["0.weight"].shape
    )
    assert (entry.info["task"], entry.info["tasks"]) == ("alpha+beta", ["alpha", "beta"])


def test_result_lists_the_tasks_without_their_names(context: Context, tasks: dict[str, Task]):
    entry = trained(context, mixture_of(tasks))
    result = json.loads(entry.file("result.json").read_text(encoding="utf-8"))
    assert [(task["train_rows"], task["examples"], task["labels"]) for task in result["tasks"]] == [
        (40, 40, ["no", "yes"]),
        (10, 10, ["no", "yes"]),
    ]
    assert result["validation"] == pytest.approx(
        np.mean([task["validation"] for task in result["tasks"]])
    )
    assert (result["train_rows"], result["examples"], result["steps"]) == (50, 50, 13) and result[
        "training_flops"
    ] > 0
    assert "alpha" not in json.dumps(result)
    each = ", ".join(
        f"{name} {task['validation']:.3f}"
        for name, task in zip(tasks, result["tasks"], strict=True)
    )
    described = train_prefix.describe(entry)
    assert described.startswith(f"validation mean {result['validation']:.3f}: {each}")


def test_truncation_is_that_of_all_tasks(context: Context, tasks: dict[str, Task]):
    entry = trained(context, mixture_of(tasks), replace(QUICK, max_length_tokens=6))
    assert ", 100.0% of rows truncated" in train_prefix.describe(entry)


def test_tasks_of_several_kinds_are_refused_by_name(context: Context, tasks: dict[str, Task]):
    with pytest.raises(UsageError) as caught:
        document(context, mixture_of(tasks, values=regression(tasks["beta"])))
    assert (
        caught.value.what
        == "task.mixture has tasks of 2 kinds: classification: alpha, beta; regression: values"
    )
    assert caught.value.fix == "prefixbank train-prefix 'task.mixture=[alpha,beta]'"


def test_values_can_be_trained_on_together(context: Context, tasks: dict[str, Task]):
    values = [regression(task) for task in tasks.values()]
    entry = trained(context, Mixture(tasks=tuple(values)))
    heads = load_file(entry.file("heads.safetensors"))
    # Means of 0..39 and of 0..9.
    assert heads["0.weight"].shape[0] == 1 and heads["0.bias"][0] - heads["1.bias"][0] > 10


def test_all_faults_are_told_at_once(context: Context, tasks: dict[str, Task]):
    recipe = replace(QUICK, prefix=PrefixConfig(kind="soft", init="labels", gate="learned"))
    with pytest.raises(Faults) as caught:
        document(context, mixture_of(tasks, values=regression(tasks["beta"])), recipe)
    assert [fault.what.split()[0] for fault in caught.value.faults] == [
        "task.mixture",
        "prefix.gate=learned",
        "prefix.init=labels",
    ]


def test_prefix_of_a_mixture_has_no_head_of_its_own_to_score(
    context: Context, tasks: dict[str, Task]
):
    entry = trained(context, mixture_of(tasks))
    with pytest.raises(UsageError, match="has a head for each of 2 tasks"):
        score_prefix.unit(
            context,
            entry,
            tasks["alpha"],
            context.encoder_files(EncoderConfig(source="tiny")),
            "x",
            bootstrap_samples=20,
        )


@pytest.mark.parametrize(
    ("facts", "setting"),
    [
        ({"task": "alpha"}, "task=alpha"),
        ({"task": "alpha+beta", "tasks": ["alpha", "beta"]}, "'task.mixture=[alpha,beta]'"),
        ({"tasks": ["alpha"]}, "task=alpha"),
        ({}, "task=NAME"),
    ],
)
def test_setting_asks_for_what_a_prefix_was_trained_on(facts: dict, setting: str):
    assert setting_in(facts) == setting
