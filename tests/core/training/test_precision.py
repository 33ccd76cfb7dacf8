"""Mixed precision and recomputed layers."""

from __future__ import annotations

import gc
import json
import weakref

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from transformers import BertModel

from prefixbank.choices import Precision
from prefixbank.core.training.precision import MixedPrecision, checkpointed_layers
from prefixbank.errors import EncoderError
from tests.core.toys import distance, inputs_of, new_albert, new_bert, new_prefix, run
from tests.core.training.fits import Killed, MemoryCheckpoint, everything, fit, losses_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_autocast_computes_in_the_precision_of_the_run(precision: Precision, dtype: torch.dtype):
    layer = torch.nn.Linear(4, 4)
    with MixedPrecision(precision, CPU).autocast():
        assert layer(torch.ones(2, 4)).dtype == dtype


def test_runs_of_two_precisions_stand_side_by_side():
    half, full = MixedPrecision("bf16", CPU), MixedPrecision("fp32", CPU)
    layer = torch.nn.Linear(4, 4)
    with half.autocast():
        assert layer(torch.ones(2, 4)).dtype == torch.bfloat16
    with full.autocast():
        assert layer(torch.ones(2, 4)).dtype == torch.float32


def test_training_leaves_the_state_of_accelerate_alone(bert: BertModel):
    """A program that trains with us may use accelerate itself."""
    theirs = Accelerator(mixed_precision="bf16", cpu=True)
    try:
        fit(bert, epochs=1)
        assert theirs.mixed_precision == "bf16"
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize(("precision", "scale"), [("fp32", 1.0), ("bf16", 1.0), ("fp16", 2**16)])
def test_only_fp16_scales_the_loss(precision: Precision, scale: float):
    mixed, parameter = MixedPrecision(precision, CPU), torch.nn.Parameter(torch.ones(3))
    mixed.backward((parameter * 2).sum())
    assert parameter.grad.tolist() == [2 * scale] * 3
    assert bool(mixed.state()) == (precision == "fp16")


def test_clip_scales_all_gradients_alike():
    parameters = [torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    MixedPrecision("fp32", CPU).clip(torch.optim.SGD(parameters), 1.0)
    assert [float(one.grad) for one in parameters] == pytest.approx([0.6, 0.8], rel=1e-4)


@pytest.mark.parametrize(("max_norm", "expected"), [(1.0, [0.6, 0.8]), (10.0, [3.0, 4.0])])
def test_fp16_clips_what_is_left_without_the_loss_scale(max_norm: float, expected: list[float]):
    mixed, parameter = MixedPrecision("fp16", CPU), torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    mixed.backward((parameter * torch.tensor([3.0, 4.0])).sum())
    mixed.clip(optimizer, max_norm)
    mixed.step(optimizer)
    assert (-parameter).tolist() == pytest.approx(expected, rel=1e-4)


def test_fp16_step_that_overflows_is_skipped_and_lowers_the_scale():
    mixed = MixedPrecision("fp16", CPU)
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    mixed.backward((parameter * torch.tensor([1.0, 3e38])).sum())
    mixed.clip(optimizer, 1.0)
    mixed.step(optimizer)
    assert parameter.tolist() == [0.0, 0.0] and mixed.state()["scale"] == 2**15


def test_fp16_scale_resumes_where_it_was():
    mixed, parameter = MixedPrecision("fp16", CPU), torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    mixed.backward(parameter.sum() * torch.tensor(3e38))
    mixed.clip(optimizer, 1.0)
    mixed.step(optimizer)
    resumed = MixedPrecision("fp16", CPU)
    resumed.restore(json.loads(json.dumps(mixed.state())))
    assert resumed.state() == mixed.state()
    again = torch.nn.Parameter(torch.zeros(1))
    resumed.backward(again.sum())
    assert again.grad.tolist() == [2**15]


def count_layer_calls(model: BertModel, *, enabled: bool) -> int:
    """How often a layer's attention projects its queries in one forward and backward pass."""
    calls: list[int] = []
    hooks = [
        layer.attention.self.query.register_forward_hook(lambda *_: calls.append(1))
        for layer in model.encoder.layer
    ]
    prefix = new_prefix()
    prefix.tensor.requires_grad_()
    with checkpointed_layers(model, enabled=enabled):
        model(
            **inputs_of((5, 3)), prefix_slots=prefix.slots(), attention_calls=[]
        ).last_hidden_state.sum().backward()
    for hook in hooks:
        hook.remove()
    return len(calls)


@pytest.mark.parametrize(("enabled", "times"), [(False, 1), (True, 2)], ids=["kept", "recomputed"])
def test_layers_are_recomputed_where_asked_for(enabled: bool, times: int):
    model = new_bert()
    assert count_layer_calls(model, enabled=enabled) == times * model.config.num_hidden_layers


def test_recomputing_starts_no_dropout(bert: BertModel):
    inputs, slots = inputs_of((5, 3)), new_prefix().slots()
    with checkpointed_layers(bert, enabled=True):
        inside = run(bert, inputs, slots)
    assert bert.config.hidden_dropout_prob > 0 and torch.equal(inside, run(bert, inputs, slots))


def test_layers_are_left_as_found_when_the_run_fails():
    model = new_bert()
    with pytest.raises(Killed), checkpointed_layers(model, enabled=True):
        raise Killed
    assert not any(
        module.training or getattr(module, "gradient_checkpointing", False)
        for module in model.modules()
    )


def test_recomputing_leaves_no_hook_on_the_embeddings():
    model = new_bert()
    with checkpointed_layers(model, enabled=True):
        inside = model(**inputs_of((5, 3)), attention_calls=[]).last_hidden_state
    after = model(**inputs_of((5, 3)), attention_calls=[]).last_hidden_state
    assert not inside.requires_grad and not after.requires_grad


def test_activations_of_recomputed_layers_are_not_kept(bert: BertModel):
    kept: list[weakref.ref[torch.Tensor]] = []
    hook = bert.encoder.layer[1].intermediate.register_forward_hook(
        lambda *call: kept.append(weakref.ref(call[-1]))
    )
    prefix = new_prefix()
    prefix.tensor.requires_grad_()
    with checkpointed_layers(bert, enabled=True):
        states = bert(
            **inputs_of((5, 3)), prefix_slots=prefix.slots(), attention_calls=[]
        ).last_hidden_state
    hook.remove()
    gc.collect()
    assert states.requires_grad and kept[0]() is None


def test_model_that_cannot_recompute_is_refused():
    with (
        pytest.raises(EncoderError, match="AlbertModel has no gradient checkpointing") as caught,
        checkpointed_layers(new_albert(), enabled=True),
    ):
        pass
    assert "optim.gradient_checkpointing=false" in caught.value.fix


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_gpu_run_stays_near_the_cpu(precision: Precision):
    on_cpu, on_gpu = (
        fit(new_bert(), epochs=1),
        fit(new_bert().to("cuda"), epochs=1, precision=precision),
    )
    assert losses_of(on_gpu) == pytest.approx(
        losses_of(on_cpu), abs=1e-3 if precision == "fp32" else 0.05
    )


FP16 = {"precision": "fp16", "dropout": 0.2, "gradient_accumulation_steps": 2, "batch_size": 4}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_run_in_half_precision_resumes_to_the_same_bytes(precision: Precision):
    settings = {**FP16, "precision": precision}
    checkpoint = MemoryCheckpoint(4)
    with pytest.raises(Killed):
        fit(new_bert(), checkpoint=checkpoint, **settings)
    assert checkpoint.state is not None
    assert bool(checkpoint.state[1]["scaler"]) == (precision == "fp16")
    resumed = fit(new_bert(), checkpoint=checkpoint, **settings)
    assert everything(resumed) == everything(fit(new_bert(), **settings))


@pytest.mark.gpu
def test_loss_scale_survives_a_kill_on_a_gpu():
    checkpoint = MemoryCheckpoint(4)
    with pytest.raises(Killed):
        fit(new_bert().to("cuda"), checkpoint=checkpoint, **FP16)
    assert checkpoint.state is not None and checkpoint.state[1]["scaler"]["scale"] > 1
    resumed, whole = (
        fit(new_bert().to("cuda"), checkpoint=checkpoint, **FP16),
        fit(new_bert().to("cuda"), **FP16),
    )
    assert distance(resumed.prefix.tensor, whole.prefix.tensor) < 1e-4 and losses_of(
        resumed
    ) == pytest.approx(losses_of(whole), abs=1e-3)
