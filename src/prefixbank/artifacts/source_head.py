"""The blocks of a bank, and the heads that their sources were trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefixbank.artifacts.json_files import read_json
from prefixbank.choices import Kind, Metric
from prefixbank.errors import UsageError
from prefixbank.store.artifact import Entry

if TYPE_CHECKING:
    import numpy as np

PLAIN_BLOCK = "plain"
"""Name of the plain vector among the blocks of a bank."""

BANK = "bank.json"
"""File of a bank's rule, weights and pooling."""

HEAD, HEADS = "head.safetensors", "heads.safetensors"
"""Files of the head of a prefix of one task, or of the heads of several."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceHead:
    """The head of one source task, a linear layer on its block.

    Args:
        task: name of the task.
        kind: what it predicts.
        metric: how its predictions were scored in training.
        labels: names of its C classes; empty for a regression.
        weight: float32 [C, F].
        bias: float32 [C].
    """

    task: str
    kind: Kind
    metric: Metric
    labels: tuple[str, ...]
    weight: np.ndarray
    bias: np.ndarray

    def predict(self, block: np.ndarray) -> np.ndarray:
        """Return classes int64 [N], flags uint8 [N, C] or values float64 [N].

        A class is an index into `labels`.

        Args:
            block: float32 [N, F], the block of this head's source.

        Raises:
            UsageError: it is not a block of this head's source.
        """
        import torch

        from prefixbank.core.training.heads import predictions_of

        return predictions_of(self.kind, torch.from_numpy(self.outputs(block)))

    def outputs(self, block: np.ndarray) -> np.ndarray:
        """Return logits, or values of a regression, float32 [N, C].

        Args:
            block: as for `predict`.

        Raises:
            UsageError: it is not a block of this head's source.
        """
        features = self.weight.shape[1]
        if block.ndim != 2 or block.shape[1] != features:
            raise UsageError(
                f"an array of shape {list(block.shape)} for the head of {self.task}",
                expected=f"the block of its source, [N, {features}]",
                fix="bank.blocks(texts)[NAME] with bank.heads[NAME]",
            )
        outputs: np.ndarray = block @ self.weight.T + self.bias
        return outputs


def has_blocks(bank: Entry) -> bool:
    """Whether a bank is one of blocks."""
    return bool(bank.document["config"]["combine"]["rule"] == "blocks")


def source_names(bank: Entry) -> list[str]:
    """Return the names of the blocks of a bank's sources, in order; empty without blocks."""
    names: list[str] = bank.document["config"].get("blocks", [])
    return names


def all_block_names(bank: Entry) -> list[str]:
    """Return the names of all blocks of a bank, in order; empty for a bank without blocks."""
    plain = has_blocks(bank) and bank.document["config"]["combine"]["plain"]
    return [PLAIN_BLOCK, *source_names(bank)] if plain else source_names(bank)


def block_sizes(bank: Entry) -> dict[str, int | None]:
    """Return the name of each block of a bank, in order, and its number of features.

    That of the plain vector is None: a bank does not know it.
    """
    sizes = {one["name"]: one["features"] for one in read_json(bank, BANK).get("blocks", [])}
    return {name: sizes.get(name) for name in all_block_names(bank)}


def read_heads(bank: Entry) -> dict[str, tuple[SourceHead, ...]]:
    """Return the heads of each source of a bank, by the name of its block."""
    from safetensors.numpy import load_file

    heads: dict[str, tuple[SourceHead, ...]] = {}
    for index, block in enumerate(read_json(bank, BANK).get("blocks", [])):
        single = f"{index}.{HEAD}" in bank.files
        tensors = load_file(bank.file(f"{index}.{HEAD if single else HEADS}"))
        heads[block["name"]] = tuple(
            SourceHead(
                task=bank.info["head_tasks"][index][number],
                kind=task["kind"],
                metric=task["metric"],
                labels=tuple(task["labels"]),
                weight=tensors["weight" if single else f"{number}.weight"],
                bias=tensors["bias" if single else f"{number}.bias"],
            )
            for number, task in enumerate(block["heads"])
        )
    return heads
