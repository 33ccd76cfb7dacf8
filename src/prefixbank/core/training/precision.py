"""Mixed precision and gradient checkpointing for a frozen encoder, through accelerate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from prefixbank.errors import EncoderError

Precision = Literal["fp32", "bf16", "fp16"]


class MixedPrecision:
    """Autocast, loss scaling and clipping of one training run."""

    def __init__(self, precision: Precision, device: torch.device) -> None:
        """Set up accelerate for this run.

        Its process-wide state is made anew, since it refuses a second precision.
        """
        AcceleratorState._reset_state(reset_partial_state=True)
        mixed = "no" if precision == "fp32" else precision
        self.accelerator = Accelerator(mixed_precision=mixed, cpu=device.type == "cpu")

    def prepare(self, optimizer: torch.optim.Optimizer) -> AcceleratedOptimizer:
        """Return the optimiser with loss scaling where fp16 needs it."""
        prepared: AcceleratedOptimizer = self.accelerator.prepare(optimizer)
        return prepared

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which forward passes run."""
        context: AbstractContextManager[None] = self.accelerator.autocast()
        return context

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`."""
        self.accelerator.backward(loss)

    def clip(self, parameters: Sequence[nn.Parameter], max_norm: float) -> None:
        """Scale all gradients down to a joint norm of at most `max_norm`."""
        self.accelerator.clip_grad_norm_(parameters, max_norm)

    def state(self) -> dict[str, Any]:
        """Return the loss scaler's state as JSON values."""
        scaler = self.accelerator.scaler
        return {} if scaler is None else dict(scaler.state_dict())

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a loss scaler's state."""
        if self.accelerator.scaler is not None and state:
            self.accelerator.scaler.load_state_dict(state)


@contextmanager
def checkpointed_layers(model: nn.Module, *, enabled: bool) -> Iterator[None]:
    """Recompute each layer in the backward pass instead of keeping its activations.

    transformers checkpoints only layers in training mode, and drops a cache handed to them. Our
    slots are a keyword that is handed through, and only the layers' own flag is set, not their
    children's, so that no dropout starts. transformers would also let the embeddings' outputs ask
    for gradients, for good; only reentrant checkpoints need that.
    """
    if not enabled:
        yield
        return
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise EncoderError(
            f"{type(model).__name__} has no gradient checkpointing",
            expected="an encoder whose layers can be recomputed",
            fix=(
                "optim.gradient_checkpointing=false with a smaller optim.batch_size and more "
                "optim.gradient_accumulation_steps"
            ),
        )
    # Releases of transformers before this name have the other one, which later ones deprecate.
    switch = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    getattr(model, f"{switch}_checkpointing_enable")({"use_reentrant": False})
    # torch types methods it does not know as tensors.
    model.disable_input_require_grads()  # type: ignore[operator]
    layers = [
        module for module in model.modules() if getattr(module, "gradient_checkpointing", False)
    ]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
        getattr(model, f"{switch}_checkpointing_disable")()
