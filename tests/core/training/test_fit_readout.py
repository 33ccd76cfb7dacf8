"""Training read-outs: against a plain loop, from kept states of texts, and after kills."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel

from prefixbank.choices import OptimizerName
from prefixbank.core.attention.readout import TextStates
from prefixbank.core.prefix import (
    PROJECTION_SEED,
    VECTORS_SEED,
    normal_start,
    tensors_of,
    trainable,
)
from prefixbank.core.readout import Readout, encode_text, read_out
from prefixbank.core.shapes import Batch, ShapeError
from prefixbank.core.training.fit import embed_task, fit_prefix
from prefixbank.core.training.heads import new_head
from prefixbank.core.training.learners import EncodeText, ReadoutLearner
from prefixbank.core.training.settings import FitResult
from prefixbank.core.training.text_cache import TextCache, in_memory
from prefixbank.runtime.scratch import in_file
from tests.core.toys import (
    SETTINGS,
    SHAPE,
    START,
    batch_of,
    distance,
    epochs_of,
    new_prefix,
    new_readout,
    state_bytes,
)
from tests.core.training.fits import (
    TRAIN,
    TRAIN_CLASSES,
    VALIDATION,
    VALIDATION_CLASSES,
    Killed,
    MemoryCheckpoint,
    fit,
    labels_of,
    losses_of,
    script_scores,
    seed_global_state,
)

READ = replace(START, kind="readout", readouts=2)
TEXTS = [
    batch_of(texts, classes, range(start, min(start + 16, len(texts))))
    for texts, classes in ((TRAIN, TRAIN_CLASSES), (VALIDATION, VALIDATION_CLASSES))
    for start in range(0, len(texts), 16)
]
"""All texts of the toy task, once."""
FORMS: dict[str, dict[str, Any]] = {
    "mean": {},
    "no slots": {"length": 0},
    "projected": {"size": 5},
    "side by side": {"size": 5, "summary": "concat"},
    "normalised": {"normalised": True},
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
MODES = ["recomputed", "cached_fp32", "cached_fp16"]


def fit_read(model: BertModel, **changes: Any) -> FitResult:
    result = fit(model, prefix="readout", **{"readouts": 2, **changes})
    assert isinstance(result.prefix, Readout)
    return result


def bytes_of(result: FitResult) -> tuple[Any, ...]:
    tensors = {
        **tensors_of(result.prefix),
        **{f"early {name}": one for name, one in tensors_of(result.task_embedding).items()},
        **{f"head {place}": one for place, one in enumerate(result.heads[0])},
    }
    return (
        {name: tensor.numpy().tobytes() for name, tensor in tensors.items()},
        result.score,
        result.epoch,
        result.steps,
        result.task_embedding_step,
        result.curve,
    )


def kept(
    model: BertModel, dtype: torch.dtype = torch.float32, *, path: Path | None = None
) -> EncodeText:
    """States of texts, encoded once and kept in memory or in a file."""
    cache = TextCache(TEXTS, SHAPE, dtype, in_memory if path is None else in_file(path))
    with torch.no_grad():
        cache.fill(model)
    return lambda inputs: cache.states(inputs, torch.device("cpu"))


def encoder_of(mode: str, model: BertModel, path: Path | None = None) -> EncodeText | None:
    if mode == "recomputed":
        return None
    return kept(
        model, {"cached_fp32": torch.float32, "cached_fp16": torch.float16}[mode], path=path
    )


def start_of(model: BertModel, **changes: Any) -> Readout:
    found = trainable(model, SHAPE, replace(READ, **changes), 0).snapshot()
    assert isinstance(found, Readout)
    return found


def largest_difference(one: Any, other: Any) -> float:
    pairs = zip(tensors_of(one).values(), tensors_of(other).values(), strict=True)
    return max(distance(left, right) for left, right in pairs if left.numel())


@every_form
def test_fit_learns_a_task_that_can_be_learned(bert: BertModel, form: dict[str, Any]):
    result = fit_read(bert, epochs=14, head_lr=0.05, lr=0.1, **form)
    assert np.mean(losses_of(result)[-5:]) < 0.6 * np.mean(losses_of(result)[:5])


@every_form
@pytest.mark.parametrize("vector_lr", [0.0, 5e-3])
def test_fit_equals_a_plain_training_loop(
    bert: BertModel, monkeypatch: pytest.MonkeyPatch, form: dict[str, Any], vector_lr: float
):
    """Each text alone: its states, then the read-outs by transformers' layers, one batch a step."""
    script_scores(monkeypatch, 0.1, 0.2)
    result = fit_read(bert, schedule="constant", warmup_ratio=0.0, vector_lr=vector_lr, **form)
    begin = start_of(bert, **form)
    vectors, slots = nn.Parameter(begin.vectors.clone()), nn.Parameter(begin.slots.clone())
    last = [] if begin.weight is None else [nn.Parameter(begin.weight), nn.Parameter(begin.bias)]
    head = new_head(form.get("size", 32), 2, 1)
    everything = [vectors, slots, *last, *head.parameters()]
    optimizer = torch.optim.AdamW(
        [
            {"params": [vectors], "lr": vector_lr or 3e-2},
            {"params": [slots, *last], "lr": 3e-2},
            {"params": list(head.parameters()), "lr": 1e-2},
        ],
        weight_decay=0.0,
    )
    for batch in (
        batch for epoch in range(2) for batch in epochs_of(TRAIN, TRAIN_CLASSES, 8)(epoch)
    ):
        rows = []
        for ids, mask in zip(
            batch.inputs["input_ids"], batch.inputs["attention_mask"], strict=True
        ):
            text = ids[mask.bool()]
            states = last_states(bert, text, vectors, slots)
            summary = states.flatten() if form.get("summary") == "concat" else states.mean(dim=0)
            if form.get("normalised"):
                summary = functional.layer_norm(summary, summary.shape)
            rows.append(functional.linear(summary, *last) if last else summary)
        loss = functional.cross_entropy(head(torch.stack(rows)), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(everything, 1.0)
        optimizer.step()
    found = [result.prefix.vectors, result.prefix.slots, *result.heads[0]]
    assert all(
        distance(one, other) < 1e-4
        for one, other in zip(found, [vectors, slots, *head.parameters()], strict=True)
        if one.numel()
    )
    if last:
        assert distance(result.prefix.weight, last[0]) < 1e-4
        assert distance(result.prefix.bias, last[1]) < 1e-4
    assert losses_of(result)[-1] == pytest.approx(float(loss.detach()), abs=1e-4)


def last_states(model: BertModel, ids: Tensor, vectors: Tensor, slots: Tensor) -> Tensor:
    """Last states of read-outs behind one text, by BERT's formulas."""
    table, tokens = model.embeddings, len(ids)
    with torch.no_grad():
        text = model(input_ids=ids[None], output_hidden_states=True).hidden_states
    states = table.LayerNorm(
        vectors + table.position_embeddings.weight[tokens] + table.token_type_embeddings.weight[0]
    )

    def heads(flat: Tensor) -> Tensor:
        return flat.view(len(flat), SHAPE.heads, SHAPE.head_size).transpose(0, 1)

    for number, layer in enumerate(model.encoder.layer):
        own = layer.attention.self
        keys, values = (
            torch.cat(
                [heads(linear(text[number][0])), slots[number, part], heads(linear(states))], dim=1
            )
            for part, linear in enumerate((own.key, own.value))
        )
        logits = heads(own.query(states)) @ keys.transpose(1, 2) / SHAPE.head_size**0.5
        mixed = (logits.softmax(dim=-1) @ values).transpose(0, 1).flatten(1)
        after = layer.attention.output
        states = after.LayerNorm(after.dense(mixed) + states)
        wide = functional.gelu(layer.intermediate.dense(states))
        states = layer.output.LayerNorm(layer.output.dense(wide) + states)
    return states


@pytest.mark.parametrize("gradient_checkpointing", [False, True], ids=["kept", "recomputed"])
def test_training_leaves_encoder_bytes_unchanged(bert: BertModel, gradient_checkpointing: bool):
    before = state_bytes(bert)
    result = fit_read(bert, gradient_checkpointing=gradient_checkpointing)
    assert result.steps == 10 and state_bytes(bert) == before
    assert not any(
        parameter.requires_grad or parameter.grad is not None for parameter in bert.parameters()
    )


def test_recomputed_layers_give_the_same_read_outs(bert: BertModel):
    one, other = fit_read(bert), fit_read(bert, gradient_checkpointing=True)
    assert largest_difference(one.prefix, other.prefix) < 1e-5


def test_no_gradient_reaches_the_text(bert: BertModel):
    """Not even where the encoder's own weights ask for one."""
    states: list[TextStates] = []
    asking = deepcopy(bert).requires_grad_(True)

    def watched(inputs: Any) -> TextStates:
        states.append(encode_text(asking, inputs)[0])
        return states[-1]

    fit_read(bert, epochs=1, encode_text=watched)
    assert len(states) == 5 + 1
    assert not any(tensor.requires_grad for one in states for tensor in (*one.keys, *one.values))
    assert all(parameter.grad is None for parameter in asking.parameters())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kill_after", [1, 3, 6, 8, 12])
def test_killed_run_resumes_to_the_same_bytes(bert: BertModel, mode: str, kill_after: int):
    """The states of texts are computed again after a kill."""
    changes: dict[str, Any] = {
        "rows": 20,
        "batch_size": 4,
        "gradient_accumulation_steps": 2,
        "epochs": 3,
        "dropout": 0.2,
        "weight_decay": 0.01,
        "vector_lr": 1e-2,
        "size": 5,
        "text_states": mode,
    }
    checkpoint = MemoryCheckpoint(kill_after)
    with pytest.raises(Killed):
        fit_read(bert, checkpoint=checkpoint, encode_text=encoder_of(mode, bert), **changes)
    seed_global_state(kill_after)
    resumed = fit_read(bert, checkpoint=checkpoint, encode_text=encoder_of(mode, bert), **changes)
    whole = fit_read(bert, encode_text=encoder_of(mode, bert), **changes)
    assert bytes_of(resumed) == bytes_of(whole)


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize("form", [{"length": 0}, {"size": 3, "summary": "concat"}], ids=str)
def test_killed_run_of_another_form_resumes_to_the_same_bytes(
    bert: BertModel, optimizer: OptimizerName, form: dict[str, Any]
):
    changes = {"optimizer": optimizer, "rows": 20, "task_embedding_fraction": 0.5, **form}
    checkpoint = MemoryCheckpoint(4)
    with pytest.raises(Killed):
        fit_read(bert, checkpoint=checkpoint, **changes)
    assert bytes_of(fit_read(bert, checkpoint=checkpoint, **changes)) == bytes_of(
        fit_read(bert, **changes)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_states_kept_in_a_file_give_the_bytes_of_those_in_memory(
    bert: BertModel, tmp_path: Path, dtype: torch.dtype
):
    path = tmp_path / "states"
    on_disk = fit_read(bert, encode_text=kept(bert, dtype, path=path))
    assert bytes_of(on_disk) == bytes_of(fit_read(bert, encode_text=kept(bert, dtype)))
    assert not list(tmp_path.iterdir())


def test_kept_states_train_what_recomputed_ones_train(bert: BertModel):
    one, other = fit_read(bert), fit_read(bert, encode_text=kept(bert))
    assert losses_of(one) == pytest.approx(losses_of(other), abs=1e-4)
    assert largest_difference(one.prefix, other.prefix) < 1e-3


def test_states_kept_in_half_the_bytes_change_the_loss_by_little(bert: BertModel):
    one, half = fit_read(bert), fit_read(bert, encode_text=kept(bert, torch.float16))
    assert losses_of(one) == pytest.approx(losses_of(half), abs=0.01)
    assert losses_of(one) != losses_of(half)


def test_half_precision_trains_read_outs_kept_in_full(bert: BertModel):
    half, full = fit_read(bert, precision="bf16", size=5), fit_read(bert, size=5)
    assert {tensor.dtype for tensor in tensors_of(half.prefix).values()} == {torch.float32}
    assert losses_of(half)[0] == pytest.approx(losses_of(full)[0], rel=0.05)


@pytest.mark.parametrize("rate", [0.0, 1e-3])
def test_rate_of_vectors_reaches_the_vectors_only(bert: BertModel, rate: float):
    settings = replace(SETTINGS, start=replace(READ, size=5), vector_lr=rate)
    part = ReadoutLearner(bert, SHAPE, settings).parts["prefix"]
    names = {id(one): name for name, one in part.module.named_parameters()}
    rates = {names[id(one)]: group["rate"] for group in part.groups() for one in group["params"]}
    slow = rate or 3e-2
    assert rates == {"vectors": slow, "slots": 3e-2, "weight": 3e-2, "bias": 3e-2}


def test_first_step_moves_vectors_slots_and_head_by_their_own_rates(bert: BertModel):
    moves = {
        "schedule": "constant",
        "warmup_ratio": 0.0,
        "rows": 8,
        "lr": 1e-2,
        "vector_lr": 1e-3,
        "head_lr": 1e-4,
        "size": 5,
    }
    start, result = fit_read(bert, epochs=0, **moves), fit_read(bert, epochs=1, **moves)
    moved = {
        name: distance(one, tensors_of(result.prefix)[name])
        for name, one in tensors_of(start.prefix).items()
    }
    assert moved == pytest.approx(
        {"readouts": 1e-3, "slots": 1e-2, "projection.weight": 1e-2, "projection.bias": 1e-2},
        rel=1e-2,
    )
    assert distance(start.heads[0][0], result.heads[0][0]) == pytest.approx(1e-4, rel=1e-2)


def test_dropout_is_of_slots_alone_and_depends_on_the_seed_alone(bert: BertModel):
    seed_global_state(1)
    one = fit_read(bert, dropout=0.3)
    seed_global_state(2)
    assert bytes_of(fit_read(bert, dropout=0.3)) == bytes_of(one)
    assert largest_difference(one.prefix, fit_read(bert).prefix) > 1e-3
    bare, dropped = (fit_read(bert, length=0, dropout=share) for share in (0.0, 0.3))
    assert bytes_of(bare) == bytes_of(dropped)


@every_form
def test_no_epochs_keep_the_start_values(bert: BertModel, form: dict[str, Any]):
    result = fit_read(bert, epochs=0, **form)
    assert largest_difference(result.prefix, start_of(bert, **form)) == 0
    assert result.steps == result.task_embedding_step == 0
    assert largest_difference(result.prefix, result.task_embedding) == 0


def test_random_start_values_are_normal_and_come_from_the_seed(bert: BertModel):
    wide = replace(READ, readouts=60, length=100, init_scale=0.3, size=40, summary="concat")
    before = torch.get_rng_state()
    one, same, other = (
        tensors_of(trainable(bert, SHAPE, wide, seed).snapshot()) for seed in (3, 3, 4)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    scales = {"readouts": 0.3, "slots": 0.3, "projection.weight": (60 * 32) ** -0.5}
    for name, scale in scales.items():
        assert not torch.equal(one[name], other[name])
        assert float(one[name].std()) == pytest.approx(scale, rel=0.05)
    assert not one["projection.bias"].any()


def test_vectors_slots_and_projection_have_seeds_of_their_own(bert: BertModel):
    found = start_of(bert, size=32, init_scale=1.0)
    assert torch.equal(found.slots, normal_start(SHAPE.prefix_shape(4), 1.0, 0))
    assert torch.equal(found.vectors, normal_start((2, 32), 1.0, VECTORS_SEED))
    assert torch.equal(found.weight, normal_start((32, 32), 32**-0.5, PROJECTION_SEED))


def test_start_values_given_are_used(bert: BertModel):
    slots = new_prefix(5).tensor
    found = start_of(bert, words=(7, 11), slots=slots)
    assert torch.equal(found.slots, slots)
    assert torch.equal(found.vectors, bert.embeddings.word_embeddings.weight[[7, 11]])
    deep = trainable(bert, SHAPE, replace(START, slots=slots), 0).snapshot()
    assert torch.equal(deep.tensor, slots)


def test_slots_to_start_from_of_another_encoder_are_refused(bert: BertModel):
    with pytest.raises(ShapeError, match="a prefix to start from has a tensor of shape"):
        start_of(bert, slots=new_prefix(length=5).tensor)


@pytest.mark.parametrize(
    "initial",
    [new_readout(3, length=4), new_readout(3, length=4, size=5)],
    ids=["plain", "projected"],
)
def test_training_starts_from_trained_read_outs_and_leaves_them_as_they_are(
    bert: BertModel, initial: Readout
):
    before = {name: tensor.clone() for name, tensor in tensors_of(initial).items()}
    size = 0 if initial.weight is None else 5
    form = {"initial": initial, "size": size, "normalised": True}
    start = fit_read(bert, epochs=0, **form)
    assert largest_difference(start.prefix, initial) == 0
    trained = fit_read(bert, **form)
    assert largest_difference(trained.prefix, initial) > 1e-3
    assert all(torch.equal(before[name], one) for name, one in tensors_of(initial).items())


@pytest.mark.parametrize(
    ("initial", "changes"),
    [
        (new_prefix(), {}),
        (new_readout(count=3, length=4), {}),
        (new_readout(length=3), {}),
        (new_readout(length=4), {"size": 5}),
        (new_readout(length=4, size=5), {}),
        (new_readout(length=4, size=5), {"size": 6}),
        (new_readout(length=4, size=5, joined=True), {"size": 5}),
        (new_readout(length=4, vector_size=16), {}),
    ],
    ids=[
        "deep",
        "another count",
        "another length",
        "without a projection",
        "with a projection",
        "another size",
        "another summary",
        "another encoder",
    ],
)
def test_prefix_of_another_form_to_start_from_is_refused(
    bert: BertModel, initial: Any, changes: dict[str, Any]
):
    with pytest.raises(ShapeError, match="a prefix to start from"):
        fit_read(bert, initial=initial, epochs=0, **changes)


def test_read_outs_to_start_another_kind_from_are_refused(bert: BertModel):
    with pytest.raises(ShapeError, match="a prefix to start from"):
        fit(bert, initial=new_readout(length=4), epochs=0)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_short_run_gives_the_task_embedding_of_the_whole_training(bert: BertModel, share: float):
    changes: dict[str, Any] = {"task_embedding_fraction": share, "dropout": 0.2, "size": 5}
    whole = fit_read(bert, **changes)
    embedding, step = fit(bert, prefix="readout", readouts=2, by=embed_task, **changes)
    assert step == whole.task_embedding_step
    assert largest_difference(embedding, whole.task_embedding) == 0


def test_returned_read_outs_and_head_have_the_returned_score(bert: BertModel):
    result = fit_read(bert, epochs=8, lr=0.1, head_lr=0.05, size=6)
    batch = batch_of(VALIDATION, VALIDATION_CLASSES, range(len(VALIDATION)))
    with torch.no_grad():
        text, _ = encode_text(bert, batch.inputs)
        positions = batch.inputs["attention_mask"].sum(dim=1)
        (block,) = read_out(bert, text, positions, [result.prefix])
        outputs = functional.linear(block, *result.heads[0])
    right = outputs.argmax(dim=1).numpy() == VALIDATION_CLASSES
    assert result.score == pytest.approx(right.mean())


def two_tasks(epoch: int) -> list[Batch]:
    """The toy task, and the same one with its classes swapped."""
    swapped = epochs_of(TRAIN[:20], 1 - TRAIN_CLASSES, 5)(epoch)
    return [
        batch
        for pair in zip(
            epochs_of(TRAIN, TRAIN_CLASSES, 10)(epoch),
            [replace(batch, task=1) for batch in swapped],
            strict=True,
        )
        for batch in pair
    ]


@pytest.mark.parametrize("mode", ["recomputed", "cached_fp32"])
def test_tasks_share_read_outs_and_have_heads_of_their_own(bert: BertModel, mode: str):
    task = SETTINGS.tasks[0]
    settings = replace(SETTINGS, tasks=(task, task), start=replace(READ, size=5), epochs=6, lr=0.1)
    validation = [
        [batch_of(VALIDATION, labels, range(24))]
        for labels in (VALIDATION_CLASSES, 1 - VALIDATION_CLASSES)
    ]

    def trained(checkpoint: MemoryCheckpoint | None = None) -> FitResult:
        return fit_prefix(
            bert,
            SHAPE,
            two_tasks,
            validation,
            replace(settings, head_lr=0.05),
            checkpoint=checkpoint,
            encode_text=encoder_of(mode, bert),
        )

    whole = trained()
    assert whole.examples == (6 * 40, 6 * 20) and len(whole.heads) == len(whole.scores) == 2
    assert np.mean(losses_of(whole)[-6:]) < 0.8 * np.mean(losses_of(whole)[:6])
    checkpoint = MemoryCheckpoint(11)
    with pytest.raises(Killed):
        trained(checkpoint)
    assert bytes_of(trained(checkpoint)) == bytes_of(whole)


def test_values_are_predicted_in_label_units(bert: BertModel):
    changes = {"kind": "regression", "metric": "pearson", "num_outputs": 1}
    units = {"label_mean": 100.0, "label_scale": 20.0}
    result = fit_read(bert, epochs=14, lr=0.1, head_lr=0.05, **changes, **units)
    batch = batch_of(VALIDATION, labels_of("regression", VALIDATION_CLASSES), range(24))
    with torch.no_grad():
        text, _ = encode_text(bert, batch.inputs)
        positions = batch.inputs["attention_mask"].sum(dim=1)
        (block,) = read_out(bert, text, positions, [result.prefix])
        outputs = functional.linear(block, *result.heads[0])[:, 0].numpy()
    assert abs(outputs.mean() - 100) < 15 and np.corrcoef(outputs, batch.labels)[0, 1] > 0.4
