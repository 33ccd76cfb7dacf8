"""Read-outs as a step: their artifact and key, kept states of texts, start values, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from prefixbank.config.running import RunConfig
from prefixbank.config.schema import (
    EncoderConfig,
    OptimConfig,
    PoolingConfig,
    PrefixConfig,
    PrefixRecipe,
    TaskConfig,
)
from prefixbank.core.prefix import normal_start, tensors_of
from prefixbank.core.readout import encode_text
from prefixbank.core.training.settings import FitEvent, FitResult
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.encoders.prompts import prompt_words
from prefixbank.data.tasks.task import Task
from prefixbank.errors import DeviceError, UsageError
from prefixbank.runtime.context import Context
from prefixbank.steps.score_prefix import step as score_prefix
from prefixbank.steps.train_prefix import step as train_prefix
from prefixbank.steps.train_prefix.make import fit, fit_early, prepare
from prefixbank.steps.train_prefix.mixture import Mixture
from prefixbank.store.artifact import Entry
from prefixbank.store.key import key_of
from prefixbank.store.store import Store

READ = PrefixRecipe(
    prefix=PrefixConfig(kind="readout", length=2, readouts=2),
    optim=OptimConfig(epochs=2, batch_size=10),
)
CACHED = ["cached_fp32", "cached_fp16"]


@pytest.fixture
def context(prepared, store: Store) -> Context:
    return Context(store, RunConfig(device="cpu", data_root=str(prepared.tasks)))


@pytest.fixture
def files(context: Context) -> EncoderFiles:
    return context.encoder_files(EncoderConfig(source="tiny"))


@pytest.fixture
def task(context: Context) -> Task:
    return context.task(TaskConfig(name="alpha", max_rows=20))


def recipe(*, seed: int = 0, optim: dict[str, Any] | None = None, **prefix: Any) -> PrefixRecipe:
    return replace(
        READ,
        prefix=replace(READ.prefix, **prefix),
        optim=replace(READ.optim, **(optim or {})),
        seed=seed,
    )


def running(context: Context, **run: Any) -> Context:
    return replace(context, run=replace(context.run, **run))


def trained(
    context: Context, task: Task | Mixture, recipe: PrefixRecipe = READ, name: str = ""
) -> Entry:
    files = context.encoder_files(EncoderConfig(source="tiny"))
    return context.ensure(train_prefix.unit(context, task, files, recipe, name)).entry


def key(context: Context, task: Task, files: EncoderFiles, recipe: PrefixRecipe) -> str:
    return key_of(train_prefix.unit(context, task, files, recipe).document)


def fitted(
    context: Context, task: Task, files: EncoderFiles, recipe: PrefixRecipe, work: Path, **more: Any
) -> tuple[FitResult, dict[str, Any]]:
    work.mkdir(exist_ok=True)
    listener = more.pop("on_event", lambda event: None)
    return fit(context, Mixture.of(task), files, recipe, work, listener, **more)


def bytes_of(result: FitResult) -> tuple[Any, ...]:
    tensors = [*tensors_of(result.prefix).values(), *tensors_of(result.task_embedding).values()]
    return (
        [tensor.numpy().tobytes() for tensor in (*tensors, *result.heads[0])],
        result.score,
        result.curve,
    )


def losses_of(result: FitResult) -> list[float]:
    return [line["loss"] for line in result.curve if "loss" in line]


def test_artifact_holds_read_outs_slots_projection_and_head(context: Context, task: Task):
    entry = trained(context, task, recipe(size=5, summary="concat"))
    shapes = {
        name: list(tensor.shape)
        for name, tensor in load_file(entry.file("prefix.safetensors")).items()
    }
    shape = context.load(context.encoder_files(EncoderConfig(source="tiny"))).shape
    assert shapes == {
        "readouts": [2, shape.hidden_size],
        "slots": list(shape.prefix_shape(2)),
        "projection.weight": [5, 2 * shape.hidden_size],
        "projection.bias": [5],
    }
    early = load_file(entry.file("task_embedding.safetensors"))
    assert {name: list(tensor.shape) for name, tensor in early.items()} == shapes
    assert list(load_file(entry.file("head.safetensors"))["weight"].shape) == [2, 5]


def test_score_on_validation_is_the_one_that_training_found(
    context: Context, files: EncoderFiles, task: Task
):
    entry = trained(context, task, recipe(size=5, optim={"epochs": 4, "lr": 0.1}))
    unit = score_prefix.unit(
        context, entry, task, files, "x", bootstrap_samples=20, split="validation"
    )
    scored = context.ensure(unit).entry
    found = json.loads(scored.file("score.json").read_text(encoding="utf-8"))["score"]
    result = json.loads(entry.file("result.json").read_text(encoding="utf-8"))
    assert found == pytest.approx(result["validation"]) and result["training_flops"] > 0


def test_form_and_states_of_texts_are_in_the_key_and_their_place_is_not(
    context: Context, files: EncoderFiles, task: Task
):
    changed = [
        recipe(),
        recipe(readouts=3),
        recipe(length=0),
        recipe(size=4),
        recipe(size=4, summary="concat"),
        recipe(optim={"vector_lr": 0.5}),
        *(recipe(optim={"text_states": mode}) for mode in CACHED),
    ]
    assert len({key(context, task, files, one) for one in changed}) == len(changed)
    elsewhere = running(context, text_states_in="disk", text_states_gb=1.0)
    assert key(elsewhere, task, files, READ) == key(context, task, files, READ)


def test_pooling_of_the_text_counts_for_nothing(context: Context, files: EncoderFiles, task: Task):
    pooled = replace(READ, pooling=PoolingConfig(position="cls"))
    assert key(context, task, files, pooled) == key(context, task, files, READ)


@pytest.mark.parametrize("kind", ["deep", "soft"])
def test_settings_of_read_outs_count_for_nothing_in_other_kinds(
    context: Context, files: EncoderFiles, task: Task, kind: Any
):
    plain = recipe(kind=kind, readouts=4)
    given = recipe(
        kind=kind,
        readouts=7,
        size=3,
        summary="concat",
        optim={"vector_lr": 0.5, "text_states": "cached_fp32"},
    )
    assert key(context, task, files, given) == key(context, task, files, plain)


@pytest.mark.parametrize("init", ["vocabulary", "labels"])
def test_scale_of_slots_counts_where_vectors_are_words(
    context: Context, files: EncoderFiles, task: Task, init: str, tmp_path: Path
):
    """They are drawn, though the vectors are not. In a soft prompt nothing is."""
    small = recipe(init=init, init_scale=0.1, optim={"epochs": 0})
    tensors = load_file(trained(context, task, small).file("prefix.safetensors"))
    shape = context.load(files).shape
    assert torch.equal(tensors["slots"], normal_start(shape.prefix_shape(2), 0.1, 0))
    words, drawn = recipe(init=init), recipe(init=init, init_scale=0.1)
    assert key(context, task, files, words) != key(context, task, files, drawn)
    words, drawn = (replace(one, prefix=replace(one.prefix, kind="soft")) for one in (words, drawn))
    assert key(context, task, files, words) == key(context, task, files, drawn)


def test_gate_of_slots_that_are_tokens_has_its_start_value(context: Context, task: Task):
    gated = PrefixConfig(length=2, init="texts", gate="learned", gate_init=-1.5)
    entry = trained(context, task, PrefixRecipe(prefix=gated, optim=OptimConfig(epochs=0)))
    gate = load_file(entry.file("prefix.safetensors"))["log_gate"]
    assert torch.equal(gate, torch.full_like(gate, -1.5))


def test_kept_states_train_what_recomputed_ones_train(
    context: Context, files: EncoderFiles, task: Task, tmp_path: Path
):
    results = {
        mode: fitted(context, task, files, recipe(optim={"text_states": mode}), tmp_path / mode)[0]
        for mode in ("recomputed", *CACHED)
    }
    expected = losses_of(results["recomputed"])
    assert losses_of(results["cached_fp32"]) == pytest.approx(expected, abs=1e-4)
    assert losses_of(results["cached_fp16"]) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("mode", CACHED)
def test_place_of_kept_states_changes_no_byte_and_leaves_no_file(
    context: Context, files: EncoderFiles, task: Task, tmp_path: Path, mode: str
):
    changed = recipe(optim={"text_states": mode})
    in_memory, _ = fitted(context, task, files, changed, tmp_path / "memory")
    on_disk, _ = fitted(
        running(context, text_states_in="disk"), task, files, changed, tmp_path / "disk"
    )
    assert bytes_of(in_memory) == bytes_of(on_disk)
    assert not list((tmp_path / "disk").iterdir())


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("kill_at", [1, 3])
@pytest.mark.parametrize(
    ("mode", "place"),
    [
        ("recomputed", "memory"),
        ("cached_fp32", "memory"),
        ("cached_fp32", "disk"),
        ("cached_fp16", "memory"),
        ("cached_fp16", "disk"),
    ],
)
def test_killed_run_resumes_to_the_same_bytes(
    context: Context,
    files: EncoderFiles,
    task: Task,
    tmp_path: Path,
    mode: str,
    place: Any,
    kill_at: int,
):
    here = running(context, text_states_in=place, checkpoint_every_s=0.0)
    changed = recipe(optim={"text_states": mode}, dropout=0.2)

    def kill(event: FitEvent) -> None:
        if event.step == kill_at + 1:
            raise Killed

    with pytest.raises(Killed):
        fitted(here, task, files, changed, tmp_path / "killed", on_event=kill)
    assert (tmp_path / "killed" / "training.safetensors").is_file()
    resumed, facts = fitted(here, task, files, changed, tmp_path / "killed")
    whole, expected = fitted(here, task, files, changed, tmp_path / "whole")
    assert bytes_of(resumed) == bytes_of(whole) and facts == expected


def test_texts_that_are_kept_are_counted_once(
    context: Context, files: EncoderFiles, task: Task, tmp_path: Path
):
    counts = {
        (mode, epochs): fitted(
            context,
            task,
            files,
            recipe(optim={"text_states": mode, "epochs": epochs}),
            tmp_path / f"{mode}{epochs}",
        )[1]["training_flops"]
        for mode in ("recomputed", "cached_fp32")
        for epochs in (1, 2)
    }
    again = counts["recomputed", 2] - counts["recomputed", 1]
    kept = counts["cached_fp32", 2] - counts["cached_fp32", 1]
    assert 0 < kept < again


@pytest.mark.parametrize("form", [{}, {"size": 4, "summary": "concat"}], ids=str)
def test_read_outs_start_from_trained_ones(context: Context, task: Task, form: dict[str, Any]):
    first = trained(context, task, recipe(**form), "first")
    kept = trained(context, task, recipe(**form, init="first", optim={"epochs": 0}), "kept")
    one, other = (load_file(entry.file("prefix.safetensors")) for entry in (first, kept))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    warm = trained(context, task, recipe(**form, init="first"), "warm")
    result = json.loads(warm.file("result.json").read_text(encoding="utf-8"))
    assert (
        result["training_flops"]
        == json.loads(first.file("result.json").read_text(encoding="utf-8"))["training_flops"]
    )


@pytest.mark.parametrize(
    ("changes", "what", "fix"),
    [
        ({"kind": "deep"}, "prefix.kind=readout, this one prefix.kind=deep", "prefix.kind=readout"),
        ({"kind": "soft"}, "prefix.kind=readout, this one prefix.kind=soft", "prefix.kind=readout"),
        ({"readouts": 3}, "prefix.readouts=2, this one prefix.readouts=3", "prefix.readouts=2"),
        ({"size": 4}, "prefix.size=0, this one prefix.size=4", "prefix.size=0"),
        ({"length": 3}, "2 slots, prefix.length=3", "prefix.length=2"),
        ({"length": 1}, "2 slots, prefix.length=1", "prefix.init_fit=truncate"),
    ],
)
def test_start_from_read_outs_of_another_form_is_refused(
    context: Context, files: EncoderFiles, task: Task, changes: dict[str, Any], what: str, fix: str
):
    trained(context, task, recipe(optim={"epochs": 0}), "first")
    with pytest.raises(UsageError) as caught:
        train_prefix.unit(context, task, files, recipe(init="first", **changes), "second")
    assert what in caught.value.what and fix in caught.value.fix


def test_start_from_another_summary_is_refused(context: Context, files: EncoderFiles, task: Task):
    trained(context, task, recipe(size=4, optim={"epochs": 0}), "first")
    changed = recipe(init="first", size=4, summary="concat")
    with pytest.raises(UsageError, match=r"prefix\.summary=mean, this one prefix\.summary=concat"):
        train_prefix.unit(context, task, files, changed, "second")


def test_deep_prefix_is_no_start_for_read_outs(context: Context, files: EncoderFiles, task: Task):
    deep = PrefixRecipe(prefix=PrefixConfig(length=2), optim=OptimConfig(epochs=0))
    trained(context, task, deep, "first")
    with pytest.raises(UsageError, match=r"prefix\.kind=deep, this one prefix\.kind=readout"):
        train_prefix.unit(context, task, files, recipe(init="first"), "second")


@pytest.mark.parametrize(("length", "places"), [(0, []), (1, [0]), (5, [0, 1, 0, 1, 0])])
def test_slots_to_start_from_are_cut_or_repeated(
    context: Context, task: Task, length: int, places: list[int]
):
    first = trained(context, task, recipe(), "first")
    changed = recipe(init="first", init_fit="tile", length=length, optim={"epochs": 0})
    second = trained(context, task, changed, "second")
    one, other = (load_file(entry.file("prefix.safetensors")) for entry in (first, second))
    assert torch.equal(other["slots"], one["slots"][:, :, :, places])
    assert torch.equal(other["readouts"], one["readouts"])


@pytest.mark.parametrize("init_fit", ["exact", "truncate", "tile"])
def test_no_slots_cannot_be_repeated(
    context: Context, files: EncoderFiles, task: Task, init_fit: Any
):
    trained(context, task, recipe(length=0, optim={"epochs": 0}), "first")
    with pytest.raises(UsageError, match=r"has 0 slots, prefix\.length=2") as caught:
        train_prefix.unit(context, task, files, recipe(init="first", init_fit=init_fit), "second")
    assert caught.value.fix.startswith("prefix.length=0 ") and "tile" not in caught.value.fix


def states_of_all_tokens(context: Context, files: EncoderFiles, task: Task) -> Tensor:
    """Keys and values of every token of every train row, [N, L, 2, H, D]."""
    model, found = context.load(files).model, []
    tokenizer = context.load(files).tokenizer
    for text in task.train.texts:
        encoded = tokenizer([text], return_tensors="pt")
        inputs = {name: encoded[name] for name in tokenizer.model_input_names}
        with torch.no_grad():
            states, _ = encode_text(model, inputs)
        both = torch.stack([torch.stack(states.keys), torch.stack(states.values)], dim=1)
        found.append(both[:, :, 0].permute(3, 0, 1, 2, 4))
    return torch.cat(found)


def nearest(slots: Tensor, states: Tensor) -> list[float]:
    """For each slot, the largest difference from the token that is most like it."""
    return [
        float((states - slots[:, :, :, place]).abs().amax(dim=(1, 2, 3, 4)).min())
        for place in range(slots.shape[3])
    ]


@pytest.mark.parametrize("kind", ["deep", "readout"])
def test_slots_start_as_keys_and_values_of_tokens_of_the_texts(
    context: Context, files: EncoderFiles, task: Task, tmp_path: Path, kind: Any
):
    states = states_of_all_tokens(context, files, task)
    starts = []
    for seed in (0, 1):
        changed = recipe(kind=kind, length=6, init="texts", seed=seed)
        ready = prepare(context, Mixture.of(task), files, changed, None, tmp_path)
        starts.append(ready.settings.start)
        assert max(nearest(starts[-1].slots, states)) < 1e-5
    assert not torch.equal(starts[0].slots, starts[1].slots)
    again = prepare(
        context,
        Mixture.of(task),
        files,
        recipe(kind=kind, length=6, init="texts"),
        None,
        tmp_path,
    )
    assert torch.equal(again.settings.start.slots, starts[0].slots)
    made = trained(context, task, recipe(kind=kind, length=6, init="texts", optim={"epochs": 0}))
    tensors = load_file(made.file("prefix.safetensors"))
    assert torch.equal(tensors["prefix" if kind == "deep" else "slots"], starts[0].slots)


def test_slots_start_as_tokens_of_all_tasks_in_turn(
    context: Context, files: EncoderFiles, tmp_path: Path
):
    tasks = [context.task(TaskConfig(name=name, max_rows=10)) for name in ("alpha", "beta")]
    renamed = [
        replace(
            one,
            train=replace(one.train, texts=tuple(f"{number} {text}" for text in one.train.texts)),
        )
        for number, one in enumerate(tasks)
    ]
    mixture = Mixture(tasks=tuple(renamed))
    changed = recipe(length=5, init="texts")
    slots = prepare(context, mixture, files, changed, None, tmp_path).settings.start.slots
    for number, one in enumerate(renamed):
        states = states_of_all_tokens(context, files, one)
        assert max(nearest(slots[:, :, :, number::2], states)) < 1e-5


@pytest.mark.parametrize("length", [0, 3])
def test_read_outs_that_read_tokens_start_as_frequent_words(
    context: Context, files: EncoderFiles, task: Task, tmp_path: Path, length: int
):
    changed = recipe(length=length, readouts=3, init="texts")
    start = prepare(context, Mixture.of(task), files, changed, None, tmp_path).settings.start
    assert start.words == prompt_words(context.load(files), (), 3, 0)
    assert start.slots.shape == context.load(files).shape.prefix_shape(length)


@pytest.mark.parametrize(("init", "labels"), [("vocabulary", ()), ("labels", ("no", "yes"))])
def test_vectors_start_as_words(
    context: Context, files: EncoderFiles, task: Task, init: str, labels: tuple[str, ...]
):
    made = trained(context, task, recipe(readouts=5, init=init, optim={"epochs": 0}))
    encoder = context.load(files)
    words = prompt_words(encoder, labels, 5, 0)
    table = encoder.model.get_input_embeddings().weight
    found = load_file(made.file("prefix.safetensors"))["readouts"]
    assert torch.equal(found, table[list(words)])


def test_task_embedding_alone_is_that_of_the_whole_training(
    context: Context, files: EncoderFiles, task: Task, tmp_path: Path
):
    changed = recipe(optim={"text_states": "cached_fp16"}, task_embedding_fraction=0.5)
    whole, _ = fitted(context, task, files, changed, tmp_path / "whole")
    (tmp_path / "early").mkdir()
    early, step = fit_early(
        context, Mixture.of(task), files, changed, tmp_path / "early", lambda event: None
    )
    assert step == whole.task_embedding_step == 2
    for one, other in zip(
        tensors_of(early).values(), tensors_of(whole.task_embedding).values(), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("mode", ["recomputed", "cached_fp32"])
def test_mixture_of_tasks_has_a_head_on_the_block_for_each(context: Context, mode: str):
    tasks = [context.task(TaskConfig(name=name, max_rows=10)) for name in ("alpha", "beta")]
    made = trained(
        context, Mixture(tasks=tuple(tasks)), recipe(size=4, optim={"text_states": mode})
    )
    heads = load_file(made.file("heads.safetensors"))
    assert {name: list(one.shape) for name, one in heads.items()} == {
        "0.weight": [2, 4],
        "0.bias": [2],
        "1.weight": [2, 4],
        "1.bias": [2],
    }


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_states_that_need_more_than_is_allowed_are_refused_before_training(
    context: Context, files: EncoderFiles, task: Task, tmp_path: Path, place: Any
):
    small = running(context, text_states_gb=1e-6, text_states_in=place)
    with pytest.raises(DeviceError, match="the states of") as caught:
        fitted(small, task, files, recipe(optim={"text_states": "cached_fp16"}), tmp_path / "work")
    assert caught.value.fix == "run.text_states_gb=1    or optim.text_states=recomputed"
    assert fitted(small, task, files, READ, tmp_path / "work")[0].steps == 4


def test_rows_that_are_long_take_no_memory_that_grows_with_slots(
    context: Context, files: EncoderFiles, task: Task, tmp_path: Path, monkeypatch
):
    """Texts are not kept for the backward pass, so that no prefix is too long for them."""
    monkeypatch.setattr("prefixbank.steps.train_prefix.make.free_bytes", lambda device: 1)
    ready = prepare(context, Mixture.of(task), files, recipe(length=64), None, tmp_path)
    assert ready.settings.start.length == 64 and np.isfinite(ready.settings.lr)
