"""Refuse an experiment that means nothing, before any work: all of its faults at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prefixbank.choices import Rule
from prefixbank.config.commands import ExperimentConfig
from prefixbank.errors import UsageError, raise_faults
from prefixbank.steps.train_prefix.start import UNTRAINED_INITS
from prefixbank.studies.representations import TITLES, whole_bank


def check_experiment(asked: ExperimentConfig, rule: Rule, starts: Iterable[str] = ()) -> None:
    """Check what an experiment trains, probes and compares.

    Args:
        asked: the experiment.
        rule: of its bank.
        starts: each `prefix.init` of its sources.

    Raises:
        UsageError: one for each fault.
    """
    raise_faults(
        [
            *check_lists(asked),
            *_representations(asked, rule),
            *_update(asked),
            *check_starts(asked, starts),
        ]
    )


def check_lists(asked: ExperimentConfig) -> Iterator[UsageError]:
    """Find lists that are empty, name something twice, or share a task."""
    if not asked.sources or not asked.seeds or not (asked.targets or has_update(asked)):
        yield UsageError(
            "an experiment without sources, seeds, or anything to do with them: targets or an "
            "update",
            expected="one or more of each",
            fix="'experiment.sources=[polarity,topic]' 'experiment.targets=[emotion]'",
        )
    lists = {
        "sources": asked.sources,
        "targets": asked.targets,
        "seeds": asked.seeds,
        "representations": asked.representations,
    }
    for what, names in lists.items():
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            yield UsageError(
                f"experiment.{what} names {', '.join(twice)} twice",
                expected="each once",
                fix=f"drop one from experiment.{what}",
            )
    both = sorted(set(asked.sources) & set(asked.targets))
    if both:
        yield UsageError(
            f"{', '.join(both)} among both sources and targets",
            expected="targets that no prefix has seen",
            fix="drop it from experiment.sources or from experiment.targets",
        )


def _representations(asked: ExperimentConfig, rule: Rule) -> Iterator[UsageError]:
    """Find representations that are missing or have nothing to be compared with."""
    if asked.targets and not any(name in TITLES for name in asked.representations):
        yield UsageError(
            "targets, but no representations to probe them under",
            expected=f"one or more of {', '.join(TITLES)}",
            fix="'experiment.representations=[plain,bank]'",
        )
    idle = [name for name in asked.single_seed if name not in asked.representations]
    if idle:
        yield UsageError(
            f"experiment.single_seed names {', '.join(idle)}, which is not compared",
            expected="some of experiment.representations",
            fix="add it to experiment.representations, or drop it from experiment.single_seed",
        )
    if "leave_one_out" in asked.representations and whole_bank(asked, rule) is None:
        yield UsageError(
            "leave_one_out without the bank of all sources to compare with",
            expected=f"bank or {rule} among experiment.representations",
            fix="add bank to experiment.representations",
        )
    if "leave_one_out" in asked.representations and len(asked.sources) == 1:
        yield _alone("leave_one_out")


def _update(asked: ExperimentConfig) -> Iterator[UsageError]:
    """Find changes that the sources do not allow."""
    update = asked.update
    if update.add and update.add in asked.sources:
        yield UsageError(
            f"experiment.update.add={update.add} is a source already",
            expected="a task that is not among experiment.sources",
            fix="name another task, or experiment.update.refresh",
        )
    for change, name in (("refresh", update.refresh), ("remove", update.remove)):
        if name and name not in asked.sources:
            yield UsageError(
                f"experiment.update.{change}={name} is no source",
                expected=f"one of {', '.join(asked.sources)}",
                fix=f"experiment.update.{change}={(*asked.sources, 'NAME')[0]}",
            )
    if update.remove and len(asked.sources) == 1:
        yield _alone("experiment.update.remove")


def check_starts(asked: ExperimentConfig, starts: Iterable[str]) -> Iterator[UsageError]:
    """Find prefixes to start from that the experiment trains itself.

    Their refs move while it runs.
    """
    sources = [name for name in (*asked.sources, asked.update.add) if name]
    own = (
        {f"{name}-seed{seed}" for name in sources for seed in asked.seeds}
        if len(asked.seeds) > 1
        else set(sources)
    )
    for init in sorted(set(starts) - set(UNTRAINED_INITS)):
        if init.removeprefix("prefix/") in own:
            yield UsageError(
                f"prefix.init={init} is a prefix that this experiment trains",
                expected=(
                    "one that was trained before, by a name that the experiment does not use, or "
                    "by its key"
                ),
                fix=(
                    "prefix.init=KEY, from: prefixbank cache show "
                    f"prefix/{init.removeprefix('prefix/')}"
                ),
            )


def has_update(asked: ExperimentConfig) -> bool:
    """Say whether the cost of some change is asked for."""
    return bool(asked.update.add or asked.update.refresh or asked.update.remove)


def _alone(what: str) -> UsageError:
    return UsageError(
        f"{what} with a single source leaves no prefix",
        expected="two sources or more",
        fix="add one to experiment.sources",
    )
