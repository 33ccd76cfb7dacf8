"""From `conf/` and `KEY=VALUE` to one frozen config. The only importer of Hydra and OmegaConf.

Hydra does two things: it follows the defaults lists of the YAML files, and it reads the grammar of
a value. What it hands over are plain dicts, lists and scalars that hold what differs from the
schema; values of the command line are put on top, pydantic fills in the defaults and finds all
faults in one go. No OmegaConf type leaves this file.
"""

from __future__ import annotations

import itertools
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, overload

from hydra import compose as compose_with_hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Quote, QuotedString, ValueType
from hydra.core.override_parser.types import Override as HydraOverride
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from prefixbank.config import commands
from prefixbank.config.faults import (
    faults_at,
    no_option,
    no_values,
    unknown_option,
    unknown_source,
    unreadable_files,
)
from prefixbank.config.folders import conf_root, folders, groups, option_file
from prefixbank.config.mixture import mixture_faults
from prefixbank.config.overrides import Override, Request, sort_out
from prefixbank.config.schema import PrefixRecipe, TaskConfig, recipe_of
from prefixbank.config.settings import CONFIGS, Command, CommandConfig, names_at, typed_name
from prefixbank.config.validate import (
    OPEN,
    Node,
    assign,
    origin_in,
    plain_values,
    take_out_open,
    validate,
)
from prefixbank.errors import UsageError, raise_faults

__all__ = [
    "Command",
    "override_recipe",
    "compose",
    "compose_task",
    "conf_root",
    "expand_sweep",
    "groups",
    "resolve",
    "show",
]

_LOCK = threading.RLock()


@overload
def compose(
    command: Literal["train_prefix"], overrides: Sequence[str], *, conf_dir: Path | None = None
) -> commands.TrainPrefixConfig: ...
@overload
def compose(
    command: Literal["train_multitask"], overrides: Sequence[str], *, conf_dir: Path | None = None
) -> commands.TrainMultitaskConfig: ...
@overload
def compose(
    command: Literal["combine"], overrides: Sequence[str], *, conf_dir: Path | None = None
) -> commands.CombineCommandConfig: ...
@overload
def compose(
    command: Literal["embed"], overrides: Sequence[str], *, conf_dir: Path | None = None
) -> commands.EmbedConfig: ...
@overload
def compose(
    command: Literal["search"], overrides: Sequence[str], *, conf_dir: Path | None = None
) -> commands.SearchConfig: ...
@overload
def compose(
    command: Literal["probe"], overrides: Sequence[str], *, conf_dir: Path | None = None
) -> commands.ProbeCommandConfig: ...
@overload
def compose(
    command: Literal["run", "transfer_map"],
    overrides: Sequence[str],
    *,
    conf_dir: Path | None = None,
) -> commands.RunExperimentConfig: ...
@overload
def compose(
    command: Literal["transfer_similar"], overrides: Sequence[str], *, conf_dir: Path | None = None
) -> commands.TransferSimilarConfig: ...
@overload
def compose(
    command: Literal["transfer_retrieve"], overrides: Sequence[str], *, conf_dir: Path | None = None
) -> commands.TransferRetrieveConfig: ...
@overload
def compose(
    command: Command, overrides: Sequence[str], *, conf_dir: Path | None = None
) -> CommandConfig: ...
def compose(
    command: Command, overrides: Sequence[str], *, conf_dir: Path | None = None
) -> CommandConfig:
    """Return the config of one run of `command`.

    Args:
        command: which command, as a Python name.
        overrides: `KEY=VALUE` each; of two for one key the later counts.
        conf_dir: a user's folder of YAML files, searched besides prefixbank's own.

    Raises:
        UsageError: something was asked wrongly; with more than one fault a `Faults` that holds all
            of them.
    """
    request = sort_out(command, [_read(line) for line in overrides], groups(conf_dir))
    return resolve(command, request, conf_dir)


def compose_task(name: str, *, conf_dir: Path | None = None) -> TaskConfig:
    """Return the task that the YAML file `task/<name>.yaml` describes.

    Raises:
        UsageError: there is no such file, it has faults, or it is a mixture.
    """
    options = groups(conf_dir)["task"]
    if name not in options:
        raise unknown_option("train_prefix", "task", name, options, listed=True)
    config = resolve("probe", Request(choices={"task": name}), conf_dir)
    assert isinstance(config, commands.ProbeCommandConfig)
    return config.task


def override_recipe(recipe: PrefixRecipe, overrides: Sequence[str]) -> PrefixRecipe:
    """Return `recipe` with single settings overridden, as `experiment.overrides` asks.

    Args:
        recipe: what to start from; of a command's config only the recipe is taken.
        overrides: `KEY=VALUE` each, no groups.

    Raises:
        UsageError: a key or value is wrong; all faults at once.
    """
    request = sort_out("train_prefix", [_read(line) for line in overrides], {})
    node = plain_values(recipe_of(recipe, PrefixRecipe))
    assign(node, PrefixRecipe, request.values)
    changed, wrong = validate(PrefixRecipe, node, lambda path: None)
    raise_faults([*request.faults, *wrong])
    assert changed is not None
    return changed


def expand_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of every run of a sweep; the last key that varies varies fastest.

    Args:
        overrides: `KEY=VALUE` each, where VALUE may be `a,b,c`, `choice(a,b)` or
            `range(start,stop)`. Others are kept as they are.

    Raises:
        UsageError: a sweep has no list of values, or none at all.
    """
    faults: list[UsageError] = []
    axes = [_expand(line, faults) for line in overrides]
    raise_faults(faults)
    return [list(run) for run in itertools.product(*axes)]


def show(command: Command, overrides: Sequence[str], conf_dir: Path | None = None) -> str:
    """Return the composed config as YAML, with every default, below a comment with the command.

    Raises:
        UsageError: as `compose`, but what has to be chosen may still be open.
    """
    request = sort_out(command, [_read(line) for line in overrides], groups(conf_dir))
    must = _mandatory(command)
    still = f"# {must}=NAME is still to be chosen\n" if request.lacks(must) else ""
    config = resolve(command, request, conf_dir, complete=False)
    body = OmegaConf.to_yaml(OmegaConf.create(plain_values(config)))
    return f"# {shlex.join(['prefixbank', typed_name(command), *overrides])}\n{still}{body}"


def resolve(
    command: Command, request: Request, conf_dir: Path | None, *, complete: bool = True
) -> CommandConfig:
    """Return the config that a request comes to.

    Args:
        command: which command.
        request: choices and values.
        conf_dir: a user's folder of YAML files.
        complete: what the user has to choose must be chosen.

    Raises:
        UsageError: all that is wrong at once.
    """
    config_type, faults = CONFIGS[command], request.faults
    choices: dict[str, str | None] = {**request.choices}
    must = _mandatory(command)
    if must and must not in choices:
        choices[must] = None
        if complete and request.lacks(must) and must not in request.misnamed:
            faults.append(
                no_option(
                    command,
                    must,
                    groups(conf_dir)[must],
                    has_path=("task", "path") in request.values,
                )
            )
    try:
        node, files = _select(command, choices, conf_dir)
    except UsageError as fault:
        raise_faults([*faults, fault])
        raise
    assign(node, config_type, request.values)
    origin = origin_in(files, set(request.values), _load)
    opened, references = take_out_open(node, config_type, origin)
    config, wrong = validate(config_type, node, origin)
    faults += [*(opened if complete else []), *references, *wrong, *_change_faults(command, config)]
    # `check` tries each file with all
    faults += mixture_faults(command, config) if complete or command == "train_prefix" else []
    raise_faults(faults)
    assert config is not None
    return config


def _change_faults(command: Command, config: CommandConfig | None) -> list[UsageError]:
    """Return the faults of an experiment's changes, whose values are overrides themselves."""
    if not isinstance(config, commands.RunExperimentConfig):
        return []
    experiment = config.experiment
    trained = (*experiment.sources, *(experiment.targets if command == "transfer_map" else ()))
    found: list[UsageError] = []
    changes = {f"overrides.{name}": overrides for name, overrides in experiment.overrides.items()}
    for place, overrides in {
        **changes,
        "transfer.overrides": experiment.transfer.overrides,
    }.items():
        try:
            override_recipe(config, overrides)
        except UsageError as error:
            found += faults_at(f"experiment.{place}", error)
    return [
        *found,
        *(unknown_source(name, trained) for name in experiment.overrides if name not in trained),
    ]


def _read(line: str) -> Override:
    key, _, text = line.partition("=")
    key = key.strip().lstrip("+~")
    parsed = _parse(text)
    if (
        parsed is None
        or parsed.is_interval_sweep()
        or parsed.value_type is ValueType.GLOB_CHOICE_SWEEP
    ):
        return Override(line=line, key=key, text=text, form="unreadable")
    if parsed.is_sweep_override():
        return Override(line=line, key=key, text=text, form="several")
    return Override(line=line, key=key, text=text, form="value", value=parsed.value())


def _parse(text: str) -> HydraOverride | None:
    try:
        return OverridesParser.create().parse_override(f"value={text}")
    except HydraException:
        return None


def _expand(line: str, faults: list[UsageError]) -> list[str]:
    key, _, text = line.partition("=")
    parsed = _parse(text)
    if parsed is None or not parsed.is_sweep_override():
        return [line]
    value = parsed.value()
    listed = (
        parsed.is_discrete_sweep()
        and parsed.value_type is not ValueType.GLOB_CHOICE_SWEEP
        and not getattr(value, "shuffle", False)
    )
    if (
        isinstance(value, ChoiceSweep)
        and listed
        and not any(mark in text for mark in "[]{}()'\"\\")
    ):
        values = [part.strip() for part in text.split(",")]
    else:
        values = list(parsed.sweep_string_iterator()) if listed else []
    if not values:
        faults.append(no_values(line, key))
    return [f"{key}={item}" for item in values]


@cache
def _mandatory(command: Command) -> str | None:
    """Return the group that the command's primary file leaves to the user."""
    named = [
        item
        for item in _load(conf_root() / f"{command}.yaml")["defaults"]
        if isinstance(item, dict)
    ]
    return next((group for item in named for group, option in item.items() if option == OPEN), None)


def _select(
    command: Command, choices: dict[str, str | None], conf_dir: Path | None
) -> tuple[Node, list[Path]]:
    """Let Hydra merge the YAML files.

    Returns what they hold, and the files that may have given a value, the strongest first.
    """
    root, *user = folders(conf_dir)
    lines = [
        f"{group}={_quoted(option)}" if option else f"~{group}" for group, option in choices.items()
    ]
    lines += [f"hydra.searchpath=[{_quoted(f'file://{folder}')}]" for folder in user]
    try:
        with _hydra_of(root):
            composed = compose_with_hydra(command, lines, return_hydra_config=True)
        made = composed.hydra.runtime.choices
        node = OmegaConf.to_container(composed)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        chosen = [
            option_file(group, option, conf_dir) for group, option in choices.items() if option
        ]
        raise unreadable_files(error, [file for file in chosen if file], user or [root]) from error
    assert isinstance(node, dict)
    files = [
        option_file(group, made[group], conf_dir)
        for group in ["experiment", *names_at(CONFIGS[command], ())]
        if made.get(group)
    ]
    node.pop("hydra")
    return {str(name): value for name, value in node.items()}, [
        *filter(None, dict.fromkeys(files)),
        root / f"{command}.yaml",
    ]


def _load(file: Path) -> Any:
    return OmegaConf.to_container(OmegaConf.load(file))


def _quoted(text: str) -> str:
    return QuotedString(text=text, quote=Quote.single).with_quotes()


@contextmanager
def _hydra_of(folder: Path) -> Iterator[None]:
    """Hold Hydra's global state for one composition, then put back what was there before."""
    with _LOCK:
        shared, version = GlobalHydra.instance(), VersionBase.instance()
        hydra, base = shared.hydra, version.version_base
        shared.clear()
        try:
            with initialize_config_dir(str(folder), version_base="1.3"):
                yield
        finally:
            shared.hydra, version.version_base = hydra, base
            GlobalHydra.set_instance(shared)
