"""Bank artifacts: copies of the prefixes, with weights, rule and pooling.

A bank can be used without the artifacts of its prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from prefixbank.artifacts.json_files import read_json, write_json
from prefixbank.artifacts.pooling import pooling_in
from prefixbank.artifacts.tensors import prefix_from, prefix_tensors, read_tensors, write_tensors
from prefixbank.config.schema import BankRecipe, PoolingConfig, effective
from prefixbank.core.combine import Bank, default_weights
from prefixbank.core.pooling import Pooling
from prefixbank.store.artifact import Entry


def write_bank(out: Path, entries: Sequence[Entry], recipe: BankRecipe) -> None:
    """Check that the prefixes can be combined under the rule, and write the bank."""
    prefixes = tuple(prefix_from(read_tensors(entry, "prefix.safetensors")) for entry in entries)
    weights = recipe.combine.weights or default_weights(
        len(prefixes), normalize=recipe.combine.normalize_weights
    )
    bank = Bank(
        prefixes=prefixes,
        weights=weights,
        rule=recipe.combine.rule,
        pooling=pooling_from(recipe.pooling),
    )
    tensors: dict[str, Tensor] = {}
    for index, prefix in enumerate(bank.prefixes):
        tensors |= prefix_tensors(prefix, f"{index}.")
    write_tensors(out / "bank.safetensors", tensors)
    pooling = bank.pooling
    described = {
        "position": pooling.position,
        "layers": pooling.layers,
        "last_k": pooling.last_k,
        "layer": pooling.layer,
    }
    write_json(
        out / "bank.json", {"weights": list(bank.weights), "rule": bank.rule, "pooling": described}
    )


def read_bank(entry: Entry) -> Bank:
    """Return the bank in an artifact."""
    described, tensors = read_json(entry, "bank.json"), read_tensors(entry, "bank.safetensors")
    weights = tuple(described["weights"])
    prefixes = tuple(prefix_from(tensors, f"{index}.") for index in range(len(weights)))
    return Bank(
        prefixes=prefixes,
        weights=weights,
        rule=described["rule"],
        pooling=pooling_from(pooling_in(described["pooling"])),
    )


def plain_bank(pooling: PoolingConfig) -> Bank:
    """Return the bank without prefixes, which is the plain encoder."""
    return Bank(
        prefixes=(), weights=(), rule="concat_prefixes", pooling=pooling_from(effective(pooling))
    )


def pooling_from(config: PoolingConfig) -> Pooling:
    """Return pooling settings as `core` takes them."""
    return Pooling(
        position=config.position, layers=config.layers, last_k=config.last_k, layer=config.layer
    )
