"""Bank artifacts: copies of the prefixes, with weights, rule and pooling.

A bank can be used without the artifacts of its prefixes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from prefixbank.artifacts.json_files import read_json, write_json
from prefixbank.artifacts.pooling import pooling_in, pooling_of
from prefixbank.artifacts.prefix import TENSORS, block_file
from prefixbank.artifacts.source_head import BANK, HEAD, HEADS
from prefixbank.artifacts.tensors import prefix_from, prefix_tensors, read_tensors, write_tensors
from prefixbank.config.schema import BankRecipe, PoolingConfig, effective, key_config
from prefixbank.core.blocks import BlockBank
from prefixbank.core.combine import Bank, default_weights
from prefixbank.core.pooling import Pooling, PoolingWeights
from prefixbank.core.prefix import AnyPrefix, Prefix
from prefixbank.core.prompt import SoftPrompt
from prefixbank.core.readout import Readout
from prefixbank.core.training.loop import under
from prefixbank.data.encoders.files import POOLING, EncoderFiles
from prefixbank.store.artifact import Entry


def write_bank(
    out: Path, entries: Sequence[Entry], recipe: BankRecipe, blocks: Sequence[str] = ()
) -> None:
    """Check that the prefixes can be combined under the rule, and write the bank.

    Args:
        out: the artifact's folder.
        entries: artifacts of the prefixes.
        recipe: rule, weights and pooling.
        blocks: the name of the block of each prefix, if the rule is `blocks`.
    """
    if recipe.combine.rule == "blocks":
        _write_blocks(out, entries, recipe, blocks)
        return
    if recipe.combine.rule == "auto":
        raise ValueError("the rule depends on the prefixes and has to be resolved before")
    prefixes = tuple(prefix_from(read_tensors(entry, TENSORS)) for entry in entries)
    weights = recipe.combine.weights or default_weights(
        len(prefixes), normalize=recipe.combine.normalize_weights
    )
    bank = Bank(
        prefixes=_in_slots(prefixes),
        weights=weights,
        rule=recipe.combine.rule,
        pooling=pooling_from(recipe.pooling),
        learned=tuple(one for entry in entries if (one := learned_pooling(entry)) is not None),
    )
    tensors: dict[str, Tensor] = {}
    for index, prefix in enumerate(bank.prefixes):
        tensors |= prefix_tensors(prefix, f"{index}.")
    for index, learned in enumerate(bank.learned):
        tensors |= {f"{index}.pooling.{name}": one for name, one in learned.tensors().items()}
    write_tensors(out / "bank.safetensors", tensors)
    described = {
        "weights": list(bank.weights),
        "rule": bank.rule,
        "pooling": key_config(recipe.pooling),
    }
    write_json(out / BANK, described)


def _write_blocks(
    out: Path, entries: Sequence[Entry], recipe: BankRecipe, names: Sequence[str]
) -> None:
    """Write a bank of blocks: the files of each prefix, with its number, and what its heads are."""
    blocks = []
    for index, (name, entry) in enumerate(zip(names, entries, strict=True)):
        shutil.copyfile(entry.file(TENSORS), out / block_file(index))
        head = HEADS if HEADS in entry.files else HEAD
        shutil.copyfile(entry.file(head), out / f"{index}.{head}")
        weight = next(one for one in read_tensors(entry, head).values() if one.dim() == 2)
        result = read_json(entry, "result.json")
        heads = [
            {fact: task[fact] for fact in ("kind", "labels", "metric", "pairs")}
            for task in result.get("tasks", [result])
        ]
        features = weight.shape[1] // (4 if heads[0]["pairs"] == "separate" else 1)
        blocks.append({"name": name, "features": features, "heads": heads})
    described = {
        "rule": "blocks",
        "weights": [],
        "pooling": key_config(recipe.pooling),
        "plain": recipe.combine.plain,
        "blocks": blocks,
    }
    write_json(out / BANK, described)


def read_bank(entry: Entry) -> Bank | BlockBank:
    """Return the bank in an artifact."""
    described = read_json(entry, BANK)
    pooling = pooling_from(pooling_in(described["pooling"]))
    if described["rule"] == "blocks":
        readouts = [
            read_readout(entry, block_file(index)) for index in range(len(described["blocks"]))
        ]
        plain = pooling if described["plain"] else None
        return BlockBank(readouts=tuple(readouts), plain=plain)
    tensors, weights = read_tensors(entry, "bank.safetensors"), tuple(described["weights"])
    prefixes = tuple(prefix_from(tensors, f"{index}.") for index in range(len(weights)))
    learned = tuple(
        PoolingWeights.of(under(f"{index}.pooling", tensors))
        for index in range(len(weights))
        if pooling.is_learned
    )
    return Bank(
        prefixes=_in_slots(prefixes),
        weights=weights,
        rule=described["rule"],
        pooling=pooling,
        learned=learned,
    )


def read_readout(entry: Entry, name: str) -> Readout:
    """Return the read-outs in a file of a prefix or of a bank of blocks."""
    prefix = prefix_from(read_tensors(entry, name))
    if not isinstance(prefix, Readout):
        raise ValueError(f"{name} of {entry.key} holds no read-outs")
    return prefix


def bank_of_one(entry: Entry) -> Bank | BlockBank:
    """Return the bank of a prefix alone, as it was in training."""
    prefix, learned = prefix_from(read_tensors(entry, TENSORS)), learned_pooling(entry)
    if isinstance(prefix, Readout):
        return BlockBank(readouts=(prefix,), plain=None)
    return Bank(
        prefixes=(prefix,),
        weights=(1.0,),
        rule="concat_prefixes",
        pooling=pooling_from(pooling_of(entry)),
        learned=() if learned is None else (learned,),
    )


def _in_slots(prefixes: Sequence[AnyPrefix]) -> tuple[Prefix | SoftPrompt, ...]:
    """Return the prefixes of a bank without blocks; `combine` has refused read-outs before."""
    return tuple(prefix for prefix in prefixes if not isinstance(prefix, Readout))


def plain_bank(pooling: PoolingConfig, files: EncoderFiles | None = None) -> Bank:
    """Return the bank without prefixes, which is the plain encoder.

    Args:
        pooling: how its states become a vector.
        files: the encoder, whose folder has what was learned of the pooling. It is needed only if
            something was.
    """
    learned = load_file(files.folder / POOLING) if files and pooling.is_learned else None
    return Bank(
        prefixes=(), weights=(), rule="concat_prefixes", pooling=pooling_from(pooling, learned)
    )


def pooling_from(config: PoolingConfig, learned: Mapping[str, Tensor] | None = None) -> Pooling:
    """Return pooling settings as `core` takes them.

    Args:
        config: the settings.
        learned: tensors of `PoolingWeights`; None: what is learned is still to come.
    """
    config = effective(config)
    if config.position == "auto":
        raise ValueError("effective settings have a position")
    return Pooling(
        position=config.position,
        layers=config.layers,
        last_k=config.last_k,
        layer=config.layer,
        norm=config.norm,
        heads=config.heads,
        size=config.size,
        skip_first=config.skip_first,
        binary=config.binary,
        weights=None if learned is None else PoolingWeights.of(learned),
    )


def learned_pooling(entry: Entry) -> PoolingWeights | None:
    """Return what the training of a prefix learned of its pooling; None if nothing was learned."""
    if POOLING not in entry.files:
        return None
    return PoolingWeights.of(read_tensors(entry, POOLING))
