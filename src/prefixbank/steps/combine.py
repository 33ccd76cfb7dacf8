"""Step `combine`: put prefixes into a bank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from prefixbank.artifacts.prefix import TENSORS, setting_in
from prefixbank.config.schema import BankRecipe, effective
from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.runtime.unit import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

if TYPE_CHECKING:
    from prefixbank.core.combine import Bank


STEP = "combine"
VERSION = 1  # 1: first


def unit(
    prefixes: Sequence[Entry], recipe: BankRecipe, name: str, refs: Sequence[str] = ()
) -> Unit:
    """Return the unit that combines `prefixes`, in this order; ref `bank/<name>`.

    Args:
        prefixes: finished prefix artifacts of one encoder.
        recipe: rule, weights and pooling.
        name: of the bank.
        refs: the `prefix/...` ref of each prefix, empty if it was given by key. A bank is stale
            when one of them moves.
    """
    check_prefixes(prefixes)
    recipe = effective(recipe)

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.artifacts.bank import write_bank

        write_bank(out, prefixes, recipe)
        all_refs = refs or [""] * len(prefixes)
        keys = {ref: entry.key for ref, entry in zip(all_refs, prefixes, strict=True) if ref}
        named = [
            ref.removeprefix("prefix/") or entry.key
            for ref, entry in zip(all_refs, prefixes, strict=True)
        ]
        tasks = [entry.info["task"] for entry in prefixes]
        return {
            "encoder": prefixes[0].info["encoder"],
            "tasks": tasks,
            "from": keys,
            "named": named,
        }

    inputs = {
        "encoder": prefixes[0].document["inputs"]["encoder"],
        "prefixes": [entry.digest for entry in prefixes],
    }
    key_document = document(step="combine", version=VERSION, config=asdict(recipe), inputs=inputs)
    return Unit(
        step=STEP,
        name=name,
        document=key_document,
        make=make,
        ref=("bank", name),
        note=describe,
        cheap=True,
    )


def describe(entry: Entry) -> str:
    """Return a summary of a finished bank."""
    return (
        f"{len(entry.info['tasks'])} prefixes, {entry.document['config']['combine']['rule']}: "
        f"{', '.join(entry.info['tasks'])}"
    )


def check_prefixes(prefixes: Sequence[Entry]) -> None:
    """Refuse prefixes that cannot be combined, with all faults at once.

    Faults are no prefixes, another artifact, a duplicate, several encoders, and both kinds of
    prefix.

    Raises:
        UsageError: one for each fault.
    """
    faults: list[PrefixbankError] = []
    if not prefixes:
        raise UsageError(
            "no prefixes to combine",
            expected="one or more",
            fix="prefixbank combine 'prefixes=[sst2,snli]' name=demo",
        )
    raise_faults([_no_prefix(entry) for entry in prefixes if TENSORS not in entry.files])
    seen: dict[str, Entry] = {}
    for entry in prefixes:
        if entry.digest in seen:
            faults.append(
                UsageError(
                    f"prefix '{entry.info['task']}' {entry.short_key} is in the list twice",
                    expected="each prefix once (weights make one count more)",
                    fix="drop the second, or use combine.weights=[...]",
                )
            )
        seen[entry.digest] = entry
    first = prefixes[0]
    for entry in prefixes[1:]:
        if entry.document["inputs"]["encoder"] != first.document["inputs"]["encoder"]:
            faults.append(_other_encoder(first, entry))
        elif _kind(entry) != _kind(first):
            faults.append(_other_kind(first, entry))
    raise_faults(faults)


def _no_prefix(entry: Entry) -> UsageError:
    return UsageError(
        f"{entry.short_key} is the result of {entry.step.replace('_', '-')}, not a prefix",
        expected="the ref, name or key of a trained prefix",
        fix="prefixbank cache ls train-prefix    lists all prefixes",
    )


def _other_encoder(first: Entry, other: Entry) -> UsageError:
    names = [
        f"{entry.info['encoder']['name']} {entry.document['inputs']['encoder'][:8]}"
        for entry in (first, other)
    ]
    return UsageError(
        f"prefix '{other.info['task']}' was trained on encoder {names[1]}, prefix "
        f"'{first.info['task']}' on {names[0]}",
        expected="all prefixes of one bank share one encoder",
        fix=(
            f"prefixbank train-prefix {setting_in(other.info)} "
            f"encoder={first.info['encoder']['name']}    or leave it out"
        ),
    )


def _kind(prefix: Entry) -> str:
    """Return `deep` or `soft`."""
    kind: str = prefix.document["config"].get("prefix", {}).get("kind", "deep")
    return kind


def _other_kind(first: Entry, other: Entry) -> UsageError:
    return UsageError(
        f"prefix '{other.info['task']}' is {_kind(other)}, prefix '{first.info['task']}' is "
        f"{_kind(first)}",
        expected="all prefixes of one bank are of one kind",
        fix=(
            f"prefixbank train-prefix {setting_in(other.info)} prefix.kind={_kind(first)}    "
            "or leave it out"
        ),
    )


def load_bank(entry: Entry) -> Bank:
    """Return the bank in an artifact."""
    from prefixbank.artifacts.bank import read_bank

    return read_bank(entry)
