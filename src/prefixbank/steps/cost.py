"""Count and time what representations cost for each text and for N tasks; nothing is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from prefixbank.artifacts.encoder import FOLDER, is_encoder
from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.prefix import TENSORS
from prefixbank.config.commands import CostConfig
from prefixbank.config.schema import EncoderConfig, PoolingConfig
from prefixbank.config.settings import written
from prefixbank.core.break_even import break_even, head_operations, total
from prefixbank.core.cost import inputs_of
from prefixbank.core.embed import batch_encoder
from prefixbank.core.quantize import bytes_per_vector
from prefixbank.core.timing import in_turns
from prefixbank.data.encoders.files import POOLING, SINGLE_WEIGHTS
from prefixbank.errors import UsageError
from prefixbank.runtime.session import Session
from prefixbank.steps.embed.source import PLAIN, resolve_bank, resolve_bank_and_encoder
from prefixbank.steps.text_cost.make import LoadedPass, load_pass
from prefixbank.store.artifact import Entry
from prefixbank.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one representation costs.

    Args:
        name: as it was asked for.
        is_shared: whether it serves all tasks, not the single one that it was trained on.
        operations: of the encoder's passes over one text.
        seconds: for one text, in the middle round; None: not timed.
        features: F of the vector.
        trained_parameters: number of trained numbers behind it.
        training_operations: of their training; None: not known.
    """

    name: str
    is_shared: bool
    operations: int
    seconds: float | None
    features: int
    trained_parameters: int
    training_operations: int | None


def measure(session: Session, config: CostConfig) -> list[dict[str, Any]]:
    """Return a row for each representation.

    Raises:
        UsageError: none is named, one twice, or there is no such bank; or texts are longer than an
            encoder reads.
    """
    found = [_found(session, name, config) for name in config.of]
    _check_given(found, config)
    inputs = inputs_of(config.texts, config.tokens)
    seconds = _timed({one.name: one.runner(session, inputs) for one in found}, config)
    measured = [one.measure(config, seconds.get(one.name)) for one in found]
    shared = next((one for one in measured if one.is_shared), None)
    return [_row(one, shared, config) for one in measured]


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A representation: a bank on an encoder, and the artifact that it comes from, if any."""

    name: str
    entry: Entry | None
    loaded: LoadedPass
    store: Store

    def runner(self, session: Session, inputs: Mapping[str, Tensor]) -> Callable[[], object]:
        """Return a function that embeds a batch, as `embed` does."""
        model = session.inference_model(self.loaded.encoder.files, "fp32")
        device = next(model.parameters()).device
        moved = {name: tensor.to(device) for name, tensor in inputs.items()}
        encode = batch_encoder(self.loaded.bank, model, torch.float32)

        def run() -> None:
            with torch.inference_mode():
                encode(moved)
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        return run

    def measure(self, config: CostConfig, seconds: Sequence[float] | None) -> Measured:
        """Count one text, and put everything together."""
        operations, features = self.loaded.count(config.tokens)
        return Measured(
            name=self.name,
            is_shared=not _serves_one(self.entry),
            operations=operations,
            seconds=None if seconds is None else median(seconds) / config.texts,
            features=features,
            trained_parameters=_trained_parameters(self.entry),
            training_operations=_training_operations(self.store, self.entry),
        )


def _found(session: Session, name: str, config: CostConfig) -> _Found:
    """Find a representation; `encoder` and `pooling` are for those that have none of their own."""
    entry = None if name == PLAIN else resolve_bank(session.store, name)
    bank, files, pooling = resolve_bank_and_encoder(
        session,
        name,
        EncoderConfig(source="bank") if entry and is_encoder(entry) else config.encoder,
        config.pooling if entry is None else PoolingConfig(),
    )
    loaded = load_pass(session, bank, files, pooling)
    loaded.encoder.check_length(config.tokens)
    return _Found(name=name, entry=entry, loaded=loaded, store=session.store)


def _check_given(found: Sequence[_Found], config: CostConfig) -> None:
    """Refuse nothing at all, one thing under two names, and a number of tasks twice."""
    once: dict[str, str] = {}
    again = [
        one.name
        for one in found
        if once.setdefault(one.entry.key if one.entry else PLAIN, one.name) != one.name
        or config.of.count(one.name) > 1
    ]
    if again or not found:
        names = ",".join(once.values()) or "none,multitask/NAME,student/NAME"
        raise UsageError(
            f"of names {', '.join(dict.fromkeys(again))} twice"
            if found
            else "nothing to count the cost of",
            expected="each bank, multi-task encoder or student once; none is the plain encoder",
            fix=f"'of=[{names}]'",
        )
    if len(set(config.tasks)) < len(config.tasks):
        raise UsageError(
            f"tasks={written(config.tasks)} names a number twice",
            expected="each number of tasks once",
            fix=f"'tasks={written(tuple(dict.fromkeys(config.tasks)))}'",
        )


def _timed(
    functions: Mapping[str, Callable[[], object]], config: CostConfig
) -> dict[str, list[float]]:
    return in_turns(functions, config.rounds) if config.rounds else {}


def _serves_one(entry: Entry | None) -> bool:
    """Whether an encoder was fine-tuned for one task, which it then serves alone."""
    return entry is not None and is_encoder(entry) and len(entry.info["tasks"]) == 1


def _trained_parameters(entry: Entry | None) -> int:
    """Return the number of trained numbers that a representation is made of."""
    if entry is None:
        return 0
    if is_encoder(entry):
        names = [f"{FOLDER}/{SINGLE_WEIGHTS}", f"{FOLDER}/{POOLING}"]
    else:
        names = [name for name in entry.files if name.endswith((TENSORS, "bank.safetensors"))]
    return sum(
        int(np.prod(tensor.shape))
        for name in names
        if name in entry.files
        for tensor in load_file(entry.file(name)).values()
        if tensor.is_floating_point()
    )


def _training_operations(store: Store, entry: Entry | None) -> int | None:
    """Return the operations of the trainings behind a representation, if all are known."""
    if entry is None:
        return 0
    if is_encoder(entry):
        return _flops(entry)
    keys = list(entry.info.get("from", {}).values())
    members = [store.get(key) for key in keys]
    flops = [None if member is None else _flops(member) for member in members]
    complete = len(keys) == len(entry.info["tasks"])
    known = [one for one in flops if one is not None]
    return sum(known) if complete and len(known) == len(flops) else None


def _flops(entry: Entry) -> int | None:
    flops: int | None = read_json(entry, "result.json").get("training_flops")
    return flops


def _row(one: Measured, shared: Measured | None, config: CostConfig) -> dict[str, Any]:
    """Return the row of a representation; N* is that of the first shared one beside it."""
    head = head_operations(one.features, config.classes)
    row: dict[str, Any] = {
        "name": one.name,
        "serves": "all tasks" if one.is_shared else "one task",
        "tokens": config.tokens,
        "operations": one.operations,
        "head_operations": head,
        "milliseconds": None if one.seconds is None else round(1000 * one.seconds, 3),
        "features": one.features,
        "bytes": bytes_per_vector(config.vectors, one.features),
        "trained_parameters": one.trained_parameters,
        "training_operations": one.training_operations,
    }
    row |= {
        f"operations_{tasks}": int(total(one.operations, head, tasks, is_shared=one.is_shared))
        for tasks in config.tasks
    }
    if one.is_shared or shared is None:
        return {**row, "break_even": None, "break_even_seconds": None}
    shared_head = head_operations(shared.features, config.classes)
    by_operations = break_even(shared.operations, shared_head, one.operations, head)
    by_seconds = (
        None
        if one.seconds is None or shared.seconds is None
        else break_even(shared.seconds, 0.0, one.seconds, 0.0)
    )
    return {
        **row,
        "break_even": None if by_operations is None else round(by_operations, 2),
        "break_even_seconds": None if by_seconds is None else round(by_seconds, 2),
    }
