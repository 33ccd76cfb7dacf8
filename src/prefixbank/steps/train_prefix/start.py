"""Where a prefix starts: from random values, or from the trained prefix that `prefix.init` names.

Source: prompt transfer, Vu et al. 2022 (2110.07904), section 2.2. The task head starts fresh either
way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from prefixbank.artifacts.prefix import TENSORS, label_of, length_of, ref_of, setting_in
from prefixbank.config.schema import PrefixConfig, PrefixRecipe, effective
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.errors import UsageError, did_you_mean, raise_faults
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON
from prefixbank.store.store import Store

if TYPE_CHECKING:
    from prefixbank.core.prefix import Prefix
    from prefixbank.core.prompt import SoftPrompt


TOKEN_INITS = ("vocabulary", "labels")
"""Values of `prefix.init` under which a soft prompt starts as input embeddings."""

UNTRAINED_INITS = ("random", *TOKEN_INITS)
"""Values of `prefix.init` that name no prefix."""

FROM_PREFIX = "prefix"
"""What `prefix.init` is in a key if it names a prefix: names reach no key."""


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """A trained prefix to start from.

    Args:
        entry: its artifact.
        named: the ref that it was named by, or its key.
        length: slots of the prefix to be.
    """

    entry: Entry
    named: str
    length: int

    @property
    def inputs(self) -> JSON:
        """What it adds to the inputs of a key: the digest of the tensors."""
        return {"init": self.entry.files[TENSORS].sha256}

    @property
    def facts(self) -> JSON:
        """What it adds to the facts of the artifact."""
        return {
            "init": {"named": self.named, "key": self.entry.key, "task": self.entry.info["task"]}
        }

    def read(self) -> Prefix | SoftPrompt:
        """Return the prefix, checked against its digest, with as many slots as wanted."""
        from prefixbank.artifacts.tensors import prefix_from, read_tensors

        return prefix_from(read_tensors(self.entry, TENSORS)).cycled(self.length)


def start_of(
    store: Store, files: EncoderFiles, recipe: PrefixRecipe, name: str
) -> tuple[PrefixRecipe, WarmStart | None]:
    """Return the recipe as a key has it, and the prefix that `prefix.init` names.

    The prefix is None where start values are drawn.

    Args:
        store: only read.
        files: the encoder to train on.
        recipe: as the user wrote it.
        name: of the prefix to be.

    Raises:
        UsageError: there is no such prefix, it has the name of the prefix to be, or it cannot be
            what this one starts from; all faults at once.
    """
    config = recipe.prefix
    if config.init in UNTRAINED_INITS:
        return effective(recipe), None
    entry = _named(store, config.init)
    if TENSORS not in entry.files:
        raise UsageError(
            f"prefix.init={config.init} is {entry.step.replace('_', '-')} {entry.short_key}, no "
            "prefix",
            expected="the ref, name or key of a trained prefix",
            fix="prefixbank cache ls train-prefix    lists the prefixes there are",
        )
    named = ref_of(store, "prefix", config.init)
    faults = [
        *_own_name(named, name, entry),
        *_other_encoder(files, entry),
        *_other_form(config, entry),
        *_other_length(config, entry),
    ]
    raise_faults(faults)
    settled = replace(
        config, init=FROM_PREFIX, init_fit=_fit_needed(config.length, length_of(entry))
    )
    warm = WarmStart(entry=entry, named=named or entry.key, length=config.length)
    return effective(replace(recipe, prefix=settled)), warm


def _named(store: Store, init: str) -> Entry:
    """Find the prefix that `prefix.init` names.

    A word that is none of `UNTRAINED_INITS` may be one of them, misspelt.
    """
    try:
        return store.resolve("prefix", init)
    except UsageError as error:
        near = did_you_mean(init, UNTRAINED_INITS)
        raise UsageError(
            f"prefix.init={init}: {error.what}{near}",
            expected=f"{', '.join(UNTRAINED_INITS)}, or {error.expected}",
            fix=error.fix,
        ) from None


def _fit_needed(length: int, have: int) -> Literal["exact", "truncate", "tile"]:
    """Return the `init_fit` that leads from `have` slots to `length`.

    Others that were allowed and do the same reach no key.
    """
    return "exact" if have == length else "truncate" if have > length else "tile"


def _own_name(named: str, name: str, entry: Entry) -> Iterator[UsageError]:
    """Find a ref that would move to what started from it.

    Each run would then go on from the one before, and none would be a hit.
    """
    if named == f"prefix/{name}":
        yield UsageError(
            f"prefix.init={named} is the ref of the prefix to be trained",
            expected="another name for what starts from it, or its key, which does not move",
            fix=f"name={name}-warm    or prefix.init={entry.short_key}",
        )


def _other_encoder(files: EncoderFiles, entry: Entry) -> Iterator[UsageError]:
    """Find a prefix of another encoder."""
    theirs, name = entry.document["inputs"]["encoder"], entry.info["encoder"]["name"]
    if theirs != files.digest:
        yield UsageError(
            f"{label_of(entry)} was trained on encoder {name} {theirs[:8]}, this one is for "
            f"{files.label} {files.digest[:8]}",
            expected="a prefix of the same encoder to start from",
            fix=(
                f"encoder={name}    or prefixbank train-prefix {setting_in(entry.info)} "
                f"encoder={files.source.name} first"
            ),
        )


def _other_form(config: PrefixConfig, entry: Entry) -> Iterator[UsageError]:
    """Find parameters that are no prefix, and a gate on one side only."""
    if config.projection != "none":
        yield UsageError(
            f"prefix.projection={config.projection} with a prefix to start from, "
            f"prefix.init={config.init}",
            expected="none: the parameters of the network are not a prefix",
            fix="prefix.projection=none    or prefix.init=random",
        )
    # Which prefixes of older versions do not say.
    kind = entry.document["config"]["prefix"].get("kind", "deep")
    if config.kind != kind:
        yield UsageError(
            f"{label_of(entry)} has prefix.kind={kind}, this one prefix.kind={config.kind}",
            expected="a prefix of the same kind to start from",
            fix=f"prefix.kind={kind}",
        )
    gate = entry.document["config"]["prefix"]["gate"]
    if config.gate != gate:
        yield UsageError(
            f"{label_of(entry)} has prefix.gate={gate}, this one prefix.gate={config.gate}",
            expected="a gate in both or in none",
            fix=f"prefix.gate={gate}",
        )


def _other_length(config: PrefixConfig, entry: Entry) -> Iterator[UsageError]:
    """Find a length that the prefix has not, and that `init_fit` does not bring it to."""
    have, length = length_of(entry), config.length
    if (
        have == length
        or config.init_fit == "tile"
        or (config.init_fit == "truncate" and have > length)
    ):
        return
    change = (
        f"prefix.init_fit=truncate (its first {length})"
        if have > length
        else "prefix.init_fit=tile (repeats it)"
    )
    yield UsageError(
        f"{label_of(entry)} has {have} slots, prefix.length={length} with "
        f"prefix.init_fit={config.init_fit}",
        expected="as many slots" if config.init_fit == "exact" else f"{length} slots or more",
        fix=f"prefix.length={have}    or {change}",
    )
