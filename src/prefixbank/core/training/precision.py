"""Mixed precision by torch.amp, and gradient checkpointing for a frozen encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prefixbank.choices import Precision
from prefixbank.core.embed import DTYPES
from prefixbank.errors import EncoderError


class MixedPrecision:
    """Autocast, loss scaling and gradient clipping of one training run.

    Only fp16 scales the loss: its smallest numbers are larger than many gradients.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self._device_type = device.type
        self._dtype = DTYPES[precision]
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def autocast(self) -> torch.autocast:
        """Return the context in which forward passes run."""
        return torch.autocast(
            self._device_type, dtype=self._dtype, enabled=self._dtype != torch.float32
        )

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`, times the loss scale."""
        torch.autograd.backward(self._scaler.scale(loss))

    def clip(self, optimizer: torch.optim.Optimizer, max_norm: float) -> None:
        """Divide the gradients by the loss scale, then clip their joint norm to `max_norm`."""
        self._scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(
            [one for group in optimizer.param_groups for one in group["params"]], max_norm
        )

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Update the parameters, then the loss scale.

        A step whose scaled gradients overflowed leaves the parameters as they are and lowers the
        scale.
        """
        self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        """Return the state of the loss scaler as JSON values; empty without one."""
        return dict(self._scaler.state_dict())

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._scaler.load_state_dict(state)


@contextmanager
def checkpointed_layers(model: nn.Module, *, enabled: bool) -> Iterator[None]:
    """Recompute each layer in the backward pass instead of keeping its activations.

    transformers checkpoints only layers in training mode, and drops a cache passed to them; our
    slots are another keyword. Only the layers' own flag is set, not their children's, so that
    dropout stays off. transformers would also make the embeddings' outputs require gradients,
    permanently; only reentrant checkpoints need that.
    """
    if not enabled:
        yield
        return
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise EncoderError(
            f"{type(model).__name__} has no gradient checkpointing",
            expected="an encoder that supports gradient checkpointing in transformers",
            fix=(
                "optim.gradient_checkpointing=false with a smaller optim.batch_size and more "
                "optim.gradient_accumulation_steps"
            ),
        )
    # Older releases of transformers have the name that newer ones deprecate.
    switch = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    getattr(model, f"{switch}_checkpointing_enable")({"use_reentrant": False})
    # torch types methods it does not know as tensors.
    model.disable_input_require_grads()  # type: ignore[operator]
    layers = [
        module for module in model.modules() if getattr(module, "gradient_checkpointing", False)
    ]
    # Some families call dropout in the layer itself, with a share that the layer holds.
    shares = [
        (layer, name, value)
        for layer in layers
        for name, value in vars(layer).items()
        if "dropout" in name and isinstance(value, float)
    ]
    for layer in layers:
        layer.training = True
    for layer, name, _ in shares:
        setattr(layer, name, 0.0)
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
        for layer, name, value in shares:
            setattr(layer, name, value)
        getattr(model, f"{switch}_checkpointing_disable")()
