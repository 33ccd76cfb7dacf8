"""Step `combine`: put prefixes into a bank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prefixbank.artifacts.pooling import contradicts, describe_pooling, pooling_of
from prefixbank.artifacts.prefix import TENSORS, setting_in, warn_nothing_learned
from prefixbank.artifacts.source_head import PLAIN_BLOCK, block_sizes
from prefixbank.choices import BankRule, PrefixKind
from prefixbank.config.schema import WEIGHTED, BankRecipe, PoolingConfig, effective, key_config
from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.runtime.unit import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document
from prefixbank.store.reasons import named, words_in

if TYPE_CHECKING:
    from prefixbank.core.blocks import BlockBank
    from prefixbank.core.combine import Bank


STEP = "combine"
VERSION = 2  # 1: first; 2: banks of blocks


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
    recipe = _with_position(_with_learned(recipe, prefixes), prefixes[0])
    recipe = resolved(recipe, prefix_kind(prefixes[0]))
    all_refs = refs or [""] * len(prefixes)
    has_blocks = recipe.combine.rule == "blocks"
    blocks = block_names(prefixes, all_refs) if has_blocks else []

    # The same bank may be combined by other names, so its name keeps these, too.
    origin: JSON = {
        "from": {ref: entry.key for ref, entry in zip(all_refs, prefixes, strict=True) if ref},
        "named": [
            ref.removeprefix("prefix/") or entry.key
            for ref, entry in zip(all_refs, prefixes, strict=True)
        ],
    }

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.artifacts.bank import write_bank

        write_bank(out, prefixes, recipe, blocks)
        return {
            "encoder": prefixes[0].info["encoder"],
            "tasks": [entry.info["task"] for entry in prefixes],
            **(_of_heads(prefixes) if has_blocks else {}),
            **origin,
        }

    inputs = {
        "encoder": prefixes[0].document["inputs"]["encoder"],
        "prefixes": [entry.digest for entry in prefixes],
    }
    config = {**key_config(recipe), **({"blocks": blocks} if has_blocks else {})}
    key_document = document(step="combine", version=VERSION, config=config, inputs=inputs)
    return Unit(
        step=STEP,
        name=name,
        document=key_document,
        make=make,
        ref_facts=origin,
        ref=("bank", name),
        note=lambda entry: f"{describe(entry)}{warn_nothing_learned(prefixes)}",
        cheap=True,
        words={"prefixes": named("prefix", prefixes), **words_in(prefixes[0], "encoder")},
    )


def _with_learned(recipe: BankRecipe, prefixes: Sequence[Entry]) -> BankRecipe:
    """Return a recipe with the pooling that the prefixes were trained with, if it was learned.

    Raises:
        UsageError: some learned it and some did not, or not in the same way, or `pooling` says
            something else.
    """
    own = [pooling_of(entry) for entry in prefixes]
    if recipe.pooling.is_learned and effective(recipe.pooling) not in own:
        raise UsageError(
            f"combine with learned pooling, {describe_pooling(recipe.pooling)}, which no prefix of "
            "the bank was trained with",
            expected="prefixes that learned it, or fixed pooling",
            fix=f"prefixbank train-prefix {setting_in(prefixes[0].info)} pooling=...    or drop "
            "the pooling settings",
        )
    if not any(pooling.is_learned for pooling in own):
        return recipe
    first = f"prefix '{prefixes[0].info['task']}' with {describe_pooling(own[0])}"
    for entry, pooling in zip(prefixes, own, strict=True):
        if pooling != own[0]:
            raise UsageError(
                f"prefix '{entry.info['task']}' was trained with pooling "
                f"{describe_pooling(pooling)}, {first}",
                expected="where pooling is learned, the same settings in all prefixes of a bank",
                fix=f"prefixbank train-prefix {setting_in(entry.info)} pooling=...    or leave it "
                "out",
            )
    if contradicts(recipe.pooling, own[0]):
        raise UsageError(
            f"pooling {describe_pooling(recipe.pooling)} for prefixes that learned their own",
            expected=f"no pooling settings, or those of the prefixes: {describe_pooling(own[0])}",
            fix="drop the pooling settings    or train the prefixes with them",
        )
    return replace(recipe, pooling=own[0])


def _with_position(recipe: BankRecipe, prefix: Entry) -> BankRecipe:
    """Return a recipe with the position of a sentence-transformers folder for `auto`."""
    position = prefix.info.get("encoder_position")
    if position is None or recipe.pooling.position != "auto":
        return recipe
    position = tuple(position) if isinstance(position, list) else position
    return replace(recipe, pooling=replace(recipe.pooling, position=position))


def resolved(recipe: BankRecipe, kind: PrefixKind) -> BankRecipe:
    """Return a recipe with the rule for a kind of prefix, and defaults where nothing has an effect.

    Raises:
        UsageError: a rule that does not fit the kind, or weights of blocks.
    """
    combination = replace(recipe.combine, rule=rule_for(recipe.combine.rule, kind))
    if (combination.rule == "blocks") != (kind == "readout"):
        blocks = kind == "readout"
        raise UsageError(
            f"combine.rule={combination.rule} with prefixes of prefix.kind={kind}",
            expected="combine.rule=blocks: read-outs do not share an attention that could be "
            "weighted"
            if blocks
            else f"one of {', '.join(WEIGHTED)}: only read-outs have blocks",
            fix="drop combine.rule, which is then chosen by the kind",
        )
    if combination.rule == "blocks" and combination.weights:
        raise UsageError(
            f"combine.weights={list(combination.weights)} with combine.rule=blocks",
            expected="no weights: each source has a block of its own",
            fix="drop combine.weights",
        )
    recipe = effective(replace(recipe, combine=combination))
    if combination.rule == "blocks" and not combination.plain:
        return replace(recipe, pooling=effective(PoolingConfig()))
    return recipe


def rule_for(rule: BankRule, kind: PrefixKind) -> BankRule:
    """Return the rule of a bank; `auto` depends on the kind of its prefixes."""
    if rule != "auto":
        return rule
    return "blocks" if kind == "readout" else "concat_prefixes"


def block_names(prefixes: Sequence[Entry], refs: Sequence[str]) -> list[str]:
    """Return the names of the blocks of a bank: those of its prefixes.

    A prefix that is given by key has the name that it was trained under.

    Raises:
        UsageError: two of them have the same name, or one that of the plain vector.
    """
    names = [
        ref.removeprefix("prefix/") or str(entry.info.get("name", entry.short_key))
        for ref, entry in zip(refs, prefixes, strict=True)
    ]
    twice = [name for name, count in Counter(names).items() if count > 1]
    faults = [_name_taken(name, "another prefix of the bank has it, too") for name in twice]
    if PLAIN_BLOCK in names:
        faults.append(_name_taken(PLAIN_BLOCK, "the vector of the plain encoder is called so"))
    raise_faults(faults)
    return names


def _of_heads(prefixes: Sequence[Entry]) -> JSON:
    """Return of the heads of each source the names of tasks, and the tokens of a text read."""
    return {
        "head_tasks": [_tasks_of(entry) for entry in prefixes],
        "head_lengths": [entry.document["config"]["max_length_tokens"] for entry in prefixes],
    }


def _tasks_of(prefix: Entry) -> list[str]:
    """Return the names of the tasks of a prefix: of one, or of a mixture."""
    tasks: list[str] = prefix.info.get("tasks", [prefix.info["task"]])
    return tasks


def _name_taken(name: str, why: str) -> UsageError:
    return UsageError(
        f"a prefix named '{name}' in a bank of blocks: {why}",
        expected="another name for each block",
        fix=f"prefixbank train-prefix ... name={name}-2    gives a trained prefix one more name; "
        f"then combine prefix/{name}-2",
    )


def describe(entry: Entry) -> str:
    """Return a summary of a finished bank."""
    rule, sizes = entry.document["config"]["combine"]["rule"], block_sizes(entry)
    members = [name if size is None else f"{name} {size}" for name, size in sizes.items()]
    members = members or entry.info["tasks"]
    return f"{len(entry.info['tasks'])} prefixes, {rule}: {', '.join(members)}"


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
        elif prefix_kind(entry) != prefix_kind(first):
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


def prefix_kind(prefix: Entry) -> PrefixKind:
    """Return the kind of a prefix."""
    kind: PrefixKind = prefix.document["config"].get("prefix", {}).get("kind", "deep")
    return kind


def _other_kind(first: Entry, other: Entry) -> UsageError:
    return UsageError(
        f"prefix '{other.info['task']}' is {prefix_kind(other)}, prefix '{first.info['task']}' is "
        f"{prefix_kind(first)}",
        expected="all prefixes of one bank are of one kind",
        fix=(
            f"prefixbank train-prefix {setting_in(other.info)} prefix.kind={prefix_kind(first)}    "
            "or leave it out"
        ),
    )


def load_bank(entry: Entry) -> Bank | BlockBank:
    """Return the bank in an artifact."""
    from prefixbank.artifacts.bank import read_bank

    return read_bank(entry)
