"""Mixed precision and recomputed layers."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from transformers import BertModel

from prefixbank.core.training.precision import MixedPrecision, Precision, checkpointed_layers
from prefixbank.errors import EncoderError
from tests.core.toys import distance, inputs_of, new_albert, new_bert, new_prefix, run
from tests.core.training.fits import Killed, MemoryCheckpoint, fit, losses_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_autocast_computes_in_the_precision_asked_for(precision: Precision, dtype: torch.dtype):
    layer = torch.nn.Linear(4, 4)
    with MixedPrecision(precision, CPU).autocast():
        assert layer(torch.ones(2, 4)).dtype == dtype


def test_second_run_may_have_another_precision():
    MixedPrecision("bf16", CPU)
    with MixedPrecision("fp32", CPU).autocast():
        assert torch.nn.Linear(4, 4)(torch.ones(2, 4)).dtype == torch.float32


def test_no_loss_is_scaled_on_the_cpu():
    precision = MixedPrecision("bf16", CPU)
    parameter = torch.nn.Parameter(torch.ones(3))
    precision.backward((parameter * 2).sum())
    assert precision.state() == {} and parameter.grad.tolist() == [2.0, 2.0, 2.0]


def test_clip_scales_all_gradients_alike():
    parameters = [torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    MixedPrecision("fp32", CPU).clip(parameters, 1.0)
    assert [float(parameter.grad) for parameter in parameters] == pytest.approx(
        [0.6, 0.8], rel=1e-4
    )


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


@pytest.mark.gpu
def test_loss_scale_survives_a_kill_on_a_gpu():
    settings = {
        "precision": "fp16",
        "dropout": 0.2,
        "gradient_accumulation_steps": 2,
        "batch_size": 4,
    }
    checkpoint = MemoryCheckpoint(4)
    with pytest.raises(Killed):
        fit(new_bert().to("cuda"), checkpoint=checkpoint, **settings)
    assert checkpoint.state is not None and checkpoint.state[1]["scaler"]["scale"] > 1
    resumed, whole = (
        fit(new_bert().to("cuda"), checkpoint=checkpoint, **settings),
        fit(new_bert().to("cuda"), **settings),
    )
    assert distance(resumed.prefix.tensor, whole.prefix.tensor) < 1e-4 and losses_of(
        resumed
    ) == pytest.approx(losses_of(whole), abs=1e-3)
