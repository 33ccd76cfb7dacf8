"""Refuse a transfer map that means nothing, before any work: all of its faults at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prefixbank.config.commands import ExperimentConfig, TransferConfig
from prefixbank.config.schema import PrefixConfig, effective
from prefixbank.errors import UsageError, raise_faults
from prefixbank.steps.train_prefix.start import UNTRAINED_INITS
from prefixbank.studies.checks import check_lists, check_starts
from prefixbank.transfer.task_embeddings import START

FORM = ("kind", "gate")
"""Settings in which a prefix has to agree with the one that it starts from."""

Prefixes = Mapping[str, PrefixConfig]
"""What is trained on each task."""


def check_map(asked: ExperimentConfig, sources: Prefixes, targets: Prefixes) -> None:
    """Check what a transfer map trains.

    Args:
        asked: the experiment.
        sources: as they are trained on the sources.
        targets: on the targets.

    Raises:
        UsageError: one for each fault.
    """
    starts = [prefix.init for prefix in sources.values()]
    raise_faults(
        [
            *check_lists(asked),
            *check_starts(asked, starts),
            *_retrievals(asked.transfer, len(asked.sources), len(asked.targets)),
            *_cold_starts(targets),
            *_forms(sources, targets),
            *_readings(asked.transfer, {**sources, **targets}),
        ]
    )


def _retrievals(transfer: TransferConfig, sources: int, targets: int) -> Iterator[UsageError]:
    """Find retrievals of more sources than there are, and none to compare."""
    if not targets or not transfer.ks:
        yield UsageError(
            "a transfer map without targets, or without a retrieval to compare",
            expected="one or more of experiment.targets and of experiment.transfer.ks",
            fix="'experiment.targets=[emotion]' 'experiment.transfer.ks=[1,3]'",
        )
    right = sorted({min(k, sources) for k in transfer.ks})
    if sorted(transfer.ks) != right:
        yield UsageError(
            f"experiment.transfer.ks={list(transfer.ks)} with {sources} sources",
            expected=f"different numbers from 1 to {sources}",
            fix=f"'experiment.transfer.ks={right}'".replace(" ", ""),
        )
    if len(set(transfer.methods)) < len(transfer.methods):
        yield UsageError(
            f"experiment.transfer.methods names {', '.join(transfer.methods)}",
            expected="each once",
            fix=f"'experiment.transfer.methods=[{','.join(dict.fromkeys(transfer.methods))}]'",
        )


def _cold_starts(targets: Prefixes) -> Iterator[UsageError]:
    """Find targets whose cold start is another prefix, or parameters of a network.

    A network's parameters cannot start from a prefix.
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
    """Find targets that cannot start from a source, or sources that have no mean and no mixture."""
    for name, prefix in targets.items():
        for source, start in sources.items():
            other = [
                f"prefix.{key}={getattr(start, key)}, not {getattr(prefix, key)}"
                for key in FORM
                if _differs(start, prefix, key)
            ]
            if not _fits(start.length, prefix):
                other.append(
                    f"prefix.length={start.length}, not {prefix.length} with "
                    f"prefix.init_fit={prefix.init_fit}"
                )
            if other:
                yield UsageError(
                    f"target {name} cannot start from source {source}: it has {'; '.join(other)}",
                    expected="prefixes of one form, on sources and targets",
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
            expected="one, so that similar sources have a mean and values can be compared",
            fix="prefix.length=16 for the whole map",
        )


def _differs(start: PrefixConfig, prefix: PrefixConfig, key: str) -> bool:
    return bool(getattr(start, key) != getattr(prefix, key))


def _fits(have: int, prefix: PrefixConfig) -> bool:
    """Tell whether `init_fit` brings so many slots to the length wanted."""
    return (
        have == prefix.length
        or prefix.init_fit == "tile"
        or (prefix.init_fit == "truncate" and have > prefix.length)
    )


def _readings(transfer: TransferConfig, prefixes: Prefixes) -> Iterator[UsageError]:
    """Find prefixes whose movement is not known, or that started elsewhere than others.

    Lengths are checked apart.
    """
    if transfer.compare == "weights":
        settled = [effective(prefix) for prefix in prefixes.values()]
        for key in [key for key in START if key not in ("kind", "length")]:
            found = sorted({str(getattr(prefix, key)) for prefix in settled})
            if len(found) > 1:
                yield UsageError(
                    f"experiment.transfer.compare=weights with prefix.{key} of "
                    f"{' and '.join(found)}",
                    expected=(
                        "the same start values on all sources and targets where values are compared"
                    ),
                    fix="experiment.transfer.compare=movement    or set it for the whole map",
                )
        return
    for name, prefix in prefixes.items():
        if (prefix.init, prefix.projection) != ("random", "none"):
            yield UsageError(
                f"experiment.transfer.compare=movement with prefix.init={prefix.init}, "
                f"prefix.projection={prefix.projection} for {name}",
                expected="random start values and no network, where movement is read",
                fix=(
                    "experiment.transfer.compare=weights    "
                    "or prefix.init=random prefix.projection=none"
                ),
            )
