"""The blocks of a bank, and the heads that their sources were trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefixbank.artifacts.json_files import read_json
from prefixbank.choices import Kind, Metric, SourcePairs
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
        pairs: `separate`: it was trained on u, v, |u - v| and u * v, the blocks of each text of a
            pair alone.
        weight: float32 [C, F], or [C, 4F] of `separate`.
        bias: float32 [C].
    """

    task: str
    kind: Kind
    metric: Metric
    labels: tuple[str, ...]
    pairs: SourcePairs
    weight: np.ndarray
    bias: np.ndarray

    def __repr__(self) -> str:
        """Return the task and its labels."""
        return f"SourceHead(task={self.task!r}, kind={self.kind!r}, labels={self.labels!r})"

    def predict(self, block: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
        """Return classes int64 [N], flags uint8 [N, C] or values float64 [N].

        A class is an index into `labels`.

        Args:
            block: float32 [N, F], the block of this head's source.
            second: that of the second texts, where `block` is that of the first texts alone; for a
                head with `pairs` as `separate`, and for no other.

        Raises:
            UsageError: it is not a block of this head's source, or `second` is missing, or there
                should be none.
        """
        import torch

        from prefixbank.core.training.heads import predictions_of

        return predictions_of(self.kind, torch.from_numpy(self.outputs(block, second)))

    def outputs(self, block: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
        """Return logits, or values of a regression, float32 [N, C].

        Args:
            block: as for `predict`.
            second: as for `predict`.

        Raises:
            UsageError: as for `predict`.
        """
        from prefixbank.core.pairs import pair_features

        if (second is None) != (self.pairs == "joint"):
            raise _other_pairs(self.pairs)
        parts = 1 if second is None else 4
        features = self.weight.shape[1] // parts
        if any(
            one.ndim != 2 or one.shape[1] != features for one in (block, second) if one is not None
        ):
            raise UsageError(
                f"an array of shape {list(block.shape)} for the head of {self.task}",
                expected=f"the block of its source, [N, {features}]",
                fix="bank.blocks(texts)[NAME] with bank.heads[NAME]",
            )
        if second is not None:
            block = pair_features(block, second)
        outputs: np.ndarray = block @ self.weight.T + self.bias
        return outputs


def _other_pairs(pairs: SourcePairs) -> UsageError:
    if pairs == "joint":
        return UsageError(
            "blocks of second texts for a head that reads pairs jointly",
            expected="one block, of texts or of joint pairs",
            fix="head.predict(block)",
        )
    return UsageError(
        "one block for a head of prefix.pairs=separate",
        expected="the blocks of the first and of the second texts, each embedded alone",
        fix="head.predict(first, second)",
    )


def has_blocks(bank: Entry) -> bool:
    """Whether a bank is one of blocks."""
    return bool(bank.document["config"].get("combine", {}).get("rule") == "blocks")


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
                pairs=task["pairs"],
                weight=tensors["weight" if single else f"{number}.weight"],
                bias=tensors["bias" if single else f"{number}.bias"],
            )
            for number, task in enumerate(block["heads"])
        )
    return heads
