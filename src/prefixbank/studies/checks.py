"""Check experiments and transfer maps before any work, and report all faults at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prefixbank.choices import UNTRAINED_INITS, BankRule
from prefixbank.config.commands import ExperimentConfig, TransferConfig
from prefixbank.config.schema import PoolingConfig, PrefixConfig, effective
from prefixbank.errors import UsageError, did_you_mean, raise_faults
from prefixbank.names import DESCRIPTION, is_name
from prefixbank.studies.representations import TITLES, whole_bank
from prefixbank.transfer.task_embeddings import START

FORM = ("kind", "gate")
"""Settings that must be the same for a prefix and the one that it starts from."""

Prefixes = Mapping[str, PrefixConfig]
"""Task to the settings of the prefix that is trained on it."""


def check_experiment(
    experiment: ExperimentConfig,
    rule: BankRule,
    starts: Iterable[str] = (),
    pooling: PoolingConfig | None = None,
    poolings: Sequence[PoolingConfig] = (),
) -> None:
    """Check what an experiment trains, probes and compares.

    Args:
        experiment: the experiment.
        rule: combination rule of its bank.
        starts: `prefix.init` of each source.
        pooling: of all that is not overridden; None: by default.
        poolings: of each source, as overridden.

    Raises:
        UsageError: one for each fault.
    """
    raise_faults(
        [
            *check_lists(experiment),
            *_representations(experiment, rule),
            *_update(experiment),
            *check_starts(experiment, starts),
            *_learned(experiment, pooling, poolings),
        ]
    )


def _learned(
    experiment: ExperimentConfig, pooling: PoolingConfig | None, poolings: Sequence[PoolingConfig]
) -> Iterator[UsageError]:
    """Yield faults of learned pooling: of the plain encoder, and of means that mean nothing."""
    refused = {
        "mean_prefixes": any(one.is_learned for one in poolings),
        "mean_vectors": any(one.size for one in poolings),
    }
    for name, is_refused in refused.items():
        if is_refused and name in experiment.representations:
            yield UsageError(
                f"representation {name} of sources with learned pooling",
                expected="concat_prefixes or concat_vectors: each source has a pooling of its own, "
                "of which there is no mean",
                fix=f"leave {name} out of experiment.representations",
            )
    if pooling is not None and pooling.is_learned:
        yield UsageError(
            "an experiment with learned pooling, which the plain encoder does not have",
            expected="fixed pooling, and learned pooling for what is trained",
            fix="'experiment.finetuned=[\"pooling.position=attention\"]'    or the same in "
            "experiment.overrides of every source",
        )


def check_lists(experiment: ExperimentConfig) -> Iterator[UsageError]:
    """Yield faults of lists: empty, with duplicates, or a task in two of them."""
    if (
        not experiment.sources
        or not experiment.seeds
        or not (experiment.targets or has_update(experiment))
    ):
        yield UsageError(
            "an experiment without sources, without seeds, or without targets and update",
            expected="sources and seeds, and targets or an update",
            fix="'experiment.sources=[polarity,topic]' 'experiment.targets=[emotion]'",
        )
    lists = {
        "sources": experiment.sources,
        "targets": experiment.targets,
        "seeds": experiment.seeds,
        "representations": experiment.representations,
    }
    for what, names in lists.items():
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            yield UsageError(
                f"experiment.{what} names {', '.join(twice)} twice",
                expected="each once",
                fix=f"drop one from experiment.{what}",
            )
    both = sorted(set(experiment.sources) & set(experiment.targets))
    if both:
        yield UsageError(
            f"{', '.join(both)} among both sources and targets",
            expected="targets that no prefix was trained on",
            fix="drop it from experiment.sources or from experiment.targets",
        )


def _representations(experiment: ExperimentConfig, rule: BankRule) -> Iterator[UsageError]:
    """Yield faults of representations: missing, or without one to compare with."""
    names = (*experiment.representations, *experiment.variants)
    yield from _variants(experiment)
    if (
        experiment.targets
        and not experiment.variants
        and not any(name in TITLES for name in experiment.representations)
    ):
        yield UsageError(
            "targets, but no representations to probe them under",
            expected=f"one or more of {', '.join(TITLES)}",
            fix="'experiment.representations=[plain,bank]'",
        )
    idle = [name for name in experiment.single_seed if name not in names]
    if idle:
        yield UsageError(
            f"experiment.single_seed names {', '.join(idle)}, which is not compared",
            expected=f"some of {', '.join(names)}",
            fix="add it to experiment.representations, or drop it from experiment.single_seed",
        )
    if "leave_one_out" in experiment.representations and whole_bank(experiment, rule) is None:
        yield UsageError(
            "leave_one_out without the bank of all sources to compare with",
            expected=f"bank or {rule} among experiment.representations",
            fix="add bank to experiment.representations",
        )
    if "leave_one_out" in experiment.representations and len(experiment.sources) == 1:
        yield _alone("leave_one_out")


def _variants(experiment: ExperimentConfig) -> Iterator[UsageError]:
    """Yield faults of variants: of nothing, or under a name that reports cannot use."""
    for name, variant in experiment.variants.items():
        if not variant or variant[0] not in TITLES:
            yield UsageError(
                f"experiment.variants.{name} begins with '{''.join(variant[:1])}', which is no "
                f"representation{did_you_mean(''.join(variant[:1]), TITLES)}",
                expected=f"one of {', '.join(TITLES)}, and the settings in which it differs",
                fix=f"'experiment.variants.{name}=[plain,vectors=binary]'",
            )
        if not is_name(name) or name in (*TITLES, *TITLES.values()):
            yield UsageError(
                f"experiment.variants has the name '{name}'",
                expected=f"{DESCRIPTION}, and not that of a representation",
                fix="'experiment.variants.bits=[plain,vectors=binary]'",
            )


def _update(experiment: ExperimentConfig) -> Iterator[UsageError]:
    """Yield faults of `experiment.update`: changes that the sources do not allow."""
    update = experiment.update
    if update.add and update.add in experiment.sources:
        yield UsageError(
            f"experiment.update.add={update.add} is already a source",
            expected="a task that is not among experiment.sources",
            fix="name another task, or experiment.update.refresh",
        )
    for change, name in (("refresh", update.refresh), ("remove", update.remove)):
        if name and name not in experiment.sources:
            yield UsageError(
                f"experiment.update.{change}={name} is not a source",
                expected=f"one of {', '.join(experiment.sources)}",
                fix=f"experiment.update.{change}={(*experiment.sources, 'NAME')[0]}",
            )
    if update.remove and len(experiment.sources) == 1:
        yield _alone("experiment.update.remove")


def check_starts(experiment: ExperimentConfig, starts: Iterable[str]) -> Iterator[UsageError]:
    """Yield a fault for each start that the experiment trains itself: its ref would move."""
    sources = [name for name in (*experiment.sources, experiment.update.add) if name]
    own = (
        {f"{name}-seed{seed}" for name in sources for seed in experiment.seeds}
        if len(experiment.seeds) > 1
        else set(sources)
    )
    for init in sorted(set(starts) - set(UNTRAINED_INITS)):
        if init.removeprefix("prefix/") in own:
            yield UsageError(
                f"prefix.init={init} is a prefix that this experiment trains",
                expected=(
                    "a prefix that was trained before, by its key or by a name that the experiment "
                    "does not use"
                ),
                fix=(
                    "prefix.init=KEY, from: prefixbank cache show "
                    f"prefix/{init.removeprefix('prefix/')}"
                ),
            )


def has_update(experiment: ExperimentConfig) -> bool:
    """Whether the experiment measures the cost of a change."""
    return bool(experiment.update.add or experiment.update.refresh or experiment.update.remove)


def _alone(what: str) -> UsageError:
    return UsageError(
        f"{what} with a single source leaves no prefix",
        expected="two sources or more",
        fix="add one to experiment.sources",
    )


def check_map(experiment: ExperimentConfig, sources: Prefixes, targets: Prefixes) -> None:
    """Check what a transfer map trains.

    Args:
        experiment: the experiment.
        sources: prefix settings of each source.
        targets: prefix settings of each target.

    Raises:
        UsageError: one for each fault.
    """
    starts = [prefix.init for prefix in sources.values()]
    raise_faults(
        [
            *check_lists(experiment),
            *check_starts(experiment, starts),
            *_retrievals(experiment.transfer, len(experiment.sources), len(experiment.targets)),
            *_cold_starts(targets),
            *_forms(sources, targets),
            *_comparisons(experiment.transfer, {**sources, **targets}),
        ]
    )


def _retrievals(transfer: TransferConfig, sources: int, targets: int) -> Iterator[UsageError]:
    """Yield faults of retrieval: nothing to compare, duplicates, or more sources than there are."""
    if not targets or not transfer.ks:
        yield UsageError(
            "a transfer map without targets, or without a retrieval to compare",
            expected="one or more of experiment.targets and of experiment.transfer.ks",
            fix="'experiment.targets=[emotion]' 'experiment.transfer.ks=[1,3]'",
        )
    allowed = sorted({min(k, sources) for k in transfer.ks})
    if sorted(transfer.ks) != allowed:
        yield UsageError(
            f"experiment.transfer.ks={list(transfer.ks)} with {sources} sources",
            expected=f"distinct numbers from 1 to {sources}",
            fix=f"'experiment.transfer.ks={allowed}'".replace(" ", ""),
        )
    if len(set(transfer.methods)) < len(transfer.methods):
        yield UsageError(
            f"experiment.transfer.methods names {', '.join(transfer.methods)}",
            expected="each once",
            fix=f"'experiment.transfer.methods=[{','.join(dict.fromkeys(transfer.methods))}]'",
        )


def _cold_starts(targets: Prefixes) -> Iterator[UsageError]:
    """Yield a fault for each target whose cold start is a prefix, or that has a projection.

    The parameters of a projection network cannot start from a prefix.
    """
    for name, prefix in targets.items():
        if prefix.init not in UNTRAINED_INITS:
            yield UsageError(
                f"prefix.init={prefix.init} for target {name}: a map compares starts from its "
                "sources with a cold one",
                expected=f"one of {', '.join(UNTRAINED_INITS)}",
                fix="drop it from experiment.transfer.overrides and experiment.overrides",
            )
        if prefix.projection != "none":
            yield UsageError(
                f"prefix.projection={prefix.projection} for target {name}",
                expected="none: the parameters of the network cannot start from a prefix",
                fix="'experiment.transfer.overrides=[prefix.projection=none]'",
            )


def _forms(sources: Prefixes, targets: Prefixes) -> Iterator[UsageError]:
    """Yield faults of targets that cannot start from a source, and of sources without a mean."""
    for name, prefix in targets.items():
        for source, start in sources.items():
            differences = [
                f"prefix.{key}={getattr(start, key)}, not {getattr(prefix, key)}"
                for key in FORM
                if _differs(start, prefix, key)
            ]
            if not _fits(start.length, prefix):
                differences.append(
                    f"prefix.length={start.length}, not {prefix.length} with "
                    f"prefix.init_fit={prefix.init_fit}"
                )
            if differences:
                yield UsageError(
                    f"target {name} cannot start from source {source}: it has "
                    f"{'; '.join(differences)}",
                    expected="prefixes of one form on sources and targets",
                    fix=(
                        "set these for the whole map, not in experiment.transfer.overrides or "
                        "experiment.overrides"
                    ),
                )
                break
    lengths = {prefix.length for prefix in sources.values()}
    if len(lengths) > 1:
        yield UsageError(
            f"sources of {len(lengths)} lengths: {', '.join(map(str, sorted(lengths)))}",
            expected="one length, so that sources have a mean and their values can be compared",
            fix="prefix.length=16 for the whole map",
        )


def _differs(start: PrefixConfig, prefix: PrefixConfig, key: str) -> bool:
    return bool(getattr(start, key) != getattr(prefix, key))


def _fits(have: int, prefix: PrefixConfig) -> bool:
    """Whether `init_fit` allows to start from a prefix of `have` slots."""
    return (
        have == prefix.length
        or prefix.init_fit == "tile"
        or (prefix.init_fit == "truncate" and have > prefix.length)
    )


def _comparisons(transfer: TransferConfig, prefixes: Prefixes) -> Iterator[UsageError]:
    """Yield faults of `compare`: unknown movement, or weights with different start values.

    Lengths are checked by `_forms`.
    """
    if transfer.compare == "weights":
        settled = [effective(prefix) for prefix in prefixes.values()]
        for key in [key for key in START if key not in ("kind", "length")]:
            values = sorted({str(getattr(prefix, key)) for prefix in settled})
            if len(values) > 1:
                yield UsageError(
                    f"experiment.transfer.compare=weights with prefix.{key} of "
                    f"{' and '.join(values)}",
                    expected=(
                        "the same start values on all sources and targets to compare weights"
                    ),
                    fix="experiment.transfer.compare=movement    or set it for the whole map",
                )
        return
    for name, prefix in prefixes.items():
        if (prefix.init, prefix.projection) != ("random", "none"):
            yield UsageError(
                f"experiment.transfer.compare=movement with prefix.init={prefix.init}, "
                f"prefix.projection={prefix.projection} for {name}",
                expected="random start values and no projection to compare movement",
                fix=(
                    "experiment.transfer.compare=weights    "
                    "or prefix.init=random prefix.projection=none"
                ),
            )
