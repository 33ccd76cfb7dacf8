"""Start values of a prefix: drawn, or from the trained prefix that `prefix.init` names.

Source: prompt transfer, Vu et al. 2022 (2110.07904), section 2.2. The task head, and what is
learned of the pooling, always start from new values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prefixbank.artifacts.prefix import TENSORS, label_of, length_of, ref_of, setting_in
from prefixbank.choices import TOKEN_INITS, UNTRAINED_INITS, InitFit
from prefixbank.config.schema import (
    OptimConfig,
    PoolingConfig,
    PrefixConfig,
    PrefixRecipe,
    effective,
)
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.errors import UsageError, did_you_mean, raise_faults
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON
from prefixbank.store.store import Store

if TYPE_CHECKING:
    from prefixbank.core.prefix import AnyPrefix


FROM_PREFIX = "prefix"
"""Value of `prefix.init` in a key document if it names a prefix: keys contain no names."""


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """A trained prefix to start from.

    Args:
        entry: its artifact.
        named: the ref that names it, or its key.
        length: slots of the new prefix.
    """

    entry: Entry
    named: str
    length: int

    @property
    def inputs(self) -> JSON:
        """Inputs for the key document: the digest of the tensors."""
        return {"init": self.entry.files[TENSORS].sha256}

    @property
    def facts(self) -> JSON:
        """Facts for the artifact."""
        return {
            "init": {"named": self.named, "key": self.entry.key, "task": self.entry.info["task"]}
        }

    def read(self) -> AnyPrefix:
        """Read the prefix, checked against its digest, and repeat or cut it to the length."""
        from prefixbank.artifacts.tensors import prefix_from, read_tensors

        return prefix_from(read_tensors(self.entry, TENSORS)).cycled(self.length)


def start_of(
    store: Store, files: EncoderFiles, recipe: PrefixRecipe, name: str
) -> tuple[PrefixRecipe, WarmStart | None]:
    """Return the recipe for the key document, and the prefix that `prefix.init` names.

    The prefix is None if start values are drawn.

    Args:
        store: has the prefix.
        files: the encoder to train on.
        recipe: recipe as the user wrote it.
        name: name of the new prefix.

    Raises:
        UsageError: there is no such prefix, it has the name of the new one, or training cannot
            start from it; all faults at once.
    """
    recipe = _with_effect(recipe)
    config = recipe.prefix
    if config.init in UNTRAINED_INITS:
        return effective(recipe), None
    entry = _named(store, config.init)
    if TENSORS not in entry.files:
        raise UsageError(
            f"prefix.init={config.init} is {entry.step.replace('_', '-')} {entry.short_key}, not a "
            "prefix",
            expected="the ref, name or key of a trained prefix",
            fix="prefixbank cache ls train-prefix    lists all prefixes",
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


def _with_effect(recipe: PrefixRecipe) -> PrefixRecipe:
    """Return the recipe with defaults in place of settings that the prefix's kind does not use."""
    if recipe.prefix.kind == "readout":
        return replace(recipe, pooling=PoolingConfig())
    unused, prefix = OptimConfig(), recipe.prefix
    optim = replace(recipe.optim, vector_lr=unused.vector_lr, text_states=unused.text_states)
    if prefix.init in TOKEN_INITS:  # nothing of a soft prompt is drawn then
        prefix = replace(prefix, init_scale=PrefixConfig().init_scale)
    return replace(recipe, prefix=prefix, optim=optim)


def _named(store: Store, init: str) -> Entry:
    """Find the prefix that `prefix.init` names; suggest a value if it is misspelt."""
    try:
        return store.resolve("prefix", init)
    except UsageError as error:
        suggestion = did_you_mean(init, UNTRAINED_INITS)
        raise UsageError(
            f"prefix.init={init}: {error.what}{suggestion}",
            expected=f"{', '.join(UNTRAINED_INITS)}, or {error.expected}",
            fix=error.fix,
        ) from None


def _fit_needed(length: int, have: int) -> InitFit:
    """Return the strictest `init_fit` that fits `have` slots to `length`, for the key document."""
    return "exact" if have == length else "truncate" if have > length else "tile"


def _own_name(named: str, name: str, entry: Entry) -> Iterator[UsageError]:
    """Yield a fault if the new prefix would move the ref that it starts from.

    Each run would then start from the previous one, and would never be a hit.
    """
    if named == f"prefix/{name}":
        yield UsageError(
            f"prefix.init={named} is the ref of the prefix to train",
            expected="another name for the new prefix, or the key of the old one",
            fix=f"name={name}-warm    or prefix.init={entry.short_key}",
        )


def _other_encoder(files: EncoderFiles, entry: Entry) -> Iterator[UsageError]:
    """Yield a fault if the prefix belongs to another encoder."""
    theirs, name = entry.document["inputs"]["encoder"], entry.info["encoder"]["name"]
    if theirs != files.digest:
        yield UsageError(
            f"{label_of(entry)} was trained on encoder {name} {theirs[:8]}, this one is for "
            f"{files.label} {files.digest[:8]}",
            expected="a prefix of the same encoder to start from",
            fix=(
                f"encoder={name}    or prefixbank train-prefix {setting_in(entry.info)} "
                f"encoder={files.origin.name} first"
            ),
        )


def _other_form(config: PrefixConfig, entry: Entry) -> Iterator[UsageError]:
    """Yield faults if projection, kind or gate do not allow the start."""
    if config.projection != "none":
        yield UsageError(
            f"prefix.projection={config.projection} with a prefix to start from, "
            f"prefix.init={config.init}",
            expected="none: the parameters of the network are not a prefix",
            fix="prefix.projection=none    or prefix.init=random",
        )
    # Prefixes of older versions have no kind: they are deep.
    kind = entry.document["config"]["prefix"].get("kind", "deep")
    if config.kind != kind:
        yield UsageError(
            f"{label_of(entry)} has prefix.kind={kind}, this one prefix.kind={config.kind}",
            expected="a prefix of the same kind to start from",
            fix=f"prefix.kind={kind}",
        )
    if config.kind == kind == "readout":
        for name in ("readouts", "summary", "norm", "size"):
            theirs, ours = entry.document["config"]["prefix"][name], getattr(config, name)
            if theirs != ours:
                yield UsageError(
                    f"{label_of(entry)} has prefix.{name}={theirs}, this one prefix.{name}={ours}",
                    expected="read-outs of the same form to start from",
                    fix=f"prefix.{name}={theirs}",
                )
    gate = entry.document["config"]["prefix"]["gate"]
    if config.gate != gate:
        yield UsageError(
            f"{label_of(entry)} has prefix.gate={gate}, this one prefix.gate={config.gate}",
            expected="a gate in both or in none",
            fix=f"prefix.gate={gate}",
        )


def _other_length(config: PrefixConfig, entry: Entry) -> Iterator[UsageError]:
    """Yield a fault if the lengths differ and `init_fit` does not allow that."""
    have, length = length_of(entry), config.length
    if (
        have == length
        or (config.init_fit == "tile" and have > 0)
        or (config.init_fit == "truncate" and have > length)
    ):
        return
    setting = (
        f"prefix.init_fit=truncate (its first {length})"
        if have > length
        else "prefix.init_fit=tile (repeats it)"
        if have
        else "another prefix: there is nothing to repeat"
    )
    yield UsageError(
        f"{label_of(entry)} has {have} slots, prefix.length={length} with "
        f"prefix.init_fit={config.init_fit}",
        expected="the same number of slots"
        if config.init_fit == "exact"
        else "one slot or more"
        if config.init_fit == "tile"
        else f"{length} slots or more",
        fix=f"prefix.length={have}    or {setting}",
    )
