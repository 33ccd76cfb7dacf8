"""From `conf/` and `KEY=VALUE` to one frozen config. The only importer of Hydra and OmegaConf.

Hydra follows the defaults lists of the YAML files and parses values. It returns plain dicts, lists
and scalars with whatever differs from the schema. Values from the command line go on top. pydantic
fills in the defaults and reports all faults at once. No OmegaConf type leaves this file.
"""

from __future__ import annotations

import itertools
import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

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

from prefixbank.config.commands import (
    CommandConfig,
    EmbedConfig,
    ProbeCommandConfig,
    RunExperimentConfig,
    TrainMultitaskConfig,
    TrainPrefixConfig,
    TransferMapConfig,
    finetuned_recipe,
)
from prefixbank.config.faults import (
    faults_in,
    no_option,
    no_values,
    unknown_option,
    unknown_source,
    unreadable_files,
)
from prefixbank.config.folders import conf_root, folders, groups, option_file
from prefixbank.config.mixture import mixture_faults
from prefixbank.config.overrides import Override, Request, sort_overrides
from prefixbank.config.schema import (
    EncoderConfig,
    MultitaskRecipe,
    PrefixRecipe,
    TaskConfig,
    Trained,
    recipe_of,
)
from prefixbank.config.settings import names_at
from prefixbank.config.validate import (
    OPEN,
    Node,
    assign,
    holds,
    origin_in,
    plain_values,
    take_out_open,
    validate,
)
from prefixbank.errors import UsageError, did_you_mean, raise_faults
from prefixbank.names import as_name, check_utf8

__all__ = [
    "compose",
    "compose_encoder",
    "compose_task",
    "conf_root",
    "expand_sweep",
    "groups",
    "override_recipe",
    "resolve",
    "show",
    "vary_experiment",
]

C = TypeVar("C", bound=CommandConfig)
_LOCK = threading.RLock()
BANK, PLAIN = "bank", "none"
"""The encoder of a bank, and the bank that is none: the plain encoder."""
SAME_IN_VARIANTS = (
    "run.",
    "seed",
    *(
        f"experiment.{name}"
        for name in (
            "name",
            "targets",
            "seeds",
            "representations",
            "variants",
            "single_seed",
            "target_rows",
            "validation_rows",
            "cost_tokens",
            "update",
            "transfer",
        )
    ),
)
"""Settings, by how their names begin, that variants of an experiment cannot change."""
NO_DEFAULTS: Mapping[str, str] = MappingProxyType({})


def compose(
    settings: type[C],
    overrides: Sequence[str],
    *,
    conf_dir: Path | None = None,
    defaults: Mapping[str, str] = NO_DEFAULTS,
) -> C:
    """Return the settings of one run of a command.

    Args:
        settings: the command's settings class.
        overrides: `KEY=VALUE` each; of two for one key, the later one counts.
        conf_dir: a user's folder of YAML files, searched besides prefixbank's own.
        defaults: as in `resolve`.

    Raises:
        UsageError: a setting is wrong. If several are, a `Faults` with all of them.
    """
    for line in overrides:
        check_utf8("a setting", line)
    request = sort_overrides(settings, [_parsed(line) for line in overrides], groups(conf_dir))
    return resolve(settings, request, conf_dir, defaults=defaults)


def compose_task(name: str, *, conf_dir: Path | None = None) -> TaskConfig:
    """Return the task that the YAML file `task/<name>.yaml` describes.

    Raises:
        UsageError: there is no such file, it has faults, or it describes a mixture.
    """
    options = groups(conf_dir)["task"]
    if name not in options:
        raise unknown_option(TrainPrefixConfig, "task", name, options, listed=True)
    return resolve(ProbeCommandConfig, Request(choices={"task": name}), conf_dir).task


def compose_encoder(name: str, *, conf_dir: Path | None = None) -> EncoderConfig:
    """Return the encoder that the YAML file `encoder/<name>.yaml` describes.

    Raises:
        UsageError: there is no such file, or it has faults.
    """
    options = groups(conf_dir)["encoder"]
    if name not in options:
        raise unknown_option(EmbedConfig, "encoder", name, options)
    return resolve(EmbedConfig, Request(choices={"encoder": name}), conf_dir).encoder


def override_recipe(recipe: Trained, overrides: Sequence[str]) -> Trained:
    """Return `recipe` with single settings overridden, as `experiment.overrides` lists them.

    Args:
        recipe: what to start from, or a command's config that contains it.
        overrides: `KEY=VALUE` each, no groups.

    Raises:
        UsageError: a key or value is wrong; all faults at once.
    """
    if isinstance(recipe, MultitaskRecipe):
        changed = _overridden(MultitaskRecipe, TrainMultitaskConfig, recipe, overrides)
    else:
        changed = _overridden(PrefixRecipe, TrainPrefixConfig, recipe, overrides)
    found: Trained = changed
    return found


def vary_experiment(config: RunExperimentConfig, overrides: Sequence[str]) -> RunExperimentConfig:
    """Return an experiment with settings overridden, as one of `experiment.variants` lists them.

    Raises:
        UsageError: a key or value is wrong; all faults at once.
    """
    varied: RunExperimentConfig = _overridden(
        RunExperimentConfig, RunExperimentConfig, config, overrides
    )
    return varied


def _overridden(
    kind: Any, command: type[CommandConfig], recipe: Any, overrides: Sequence[str]
) -> Any:
    """Return a recipe of `kind` with settings overridden that are settings of a command."""
    request = sort_overrides(command, [_parsed(line) for line in overrides], {})
    node = plain_values(recipe_of(recipe, kind))
    assign(node, kind, request.values)
    changed, wrong = validate(kind, node, lambda path: None)
    raise_faults([*request.faults, *wrong])
    return changed


def expand_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of every run of a sweep. The last key varies fastest.

    Args:
        overrides: `KEY=VALUE` each, where VALUE may be `a,b,c`, `choice(a,b)` or
            `range(start,stop)`. Others are kept as they are.

    Raises:
        UsageError: a sweep whose values cannot be listed, or an empty one.
    """
    faults: list[UsageError] = []
    axes = [_expand(line, faults) for line in overrides]
    raise_faults(faults)
    return [list(run) for run in itertools.product(*axes)]


def show(
    settings: type[CommandConfig],
    overrides: Sequence[str],
    conf_dir: Path | None = None,
    defaults: Mapping[str, str] = NO_DEFAULTS,
) -> str:
    """Return the composed config as YAML, with every default, below a comment with the command.

    Args:
        settings: the command's settings class.
        overrides: `KEY=VALUE` each.
        conf_dir: a user's folder of YAML files.
        defaults: as in `resolve`.

    Raises:
        UsageError: as `compose`, except that a task or experiment need not be chosen.
    """
    request = sort_overrides(settings, [_parsed(line) for line in overrides], groups(conf_dir))
    must = _mandatory_group(_file_name(settings))
    still = f"# {must}=NAME is still to be chosen\n" if request.lacks(must) else ""
    config = resolve(settings, request, conf_dir, complete=False, defaults=defaults)
    body = OmegaConf.to_yaml(OmegaConf.create(plain_values(config)))
    typed = ["prefixbank", *settings.command.split(), *overrides]
    return f"# {shlex.join(typed)}\n{still}{body}"


def resolve(
    settings: type[C],
    request: Request,
    conf_dir: Path | None,
    *,
    complete: bool = True,
    defaults: Mapping[str, str] = NO_DEFAULTS,
) -> C:
    """Return the config for a request.

    Args:
        settings: the command's settings class.
        request: choices and values.
        conf_dir: a user's folder of YAML files.
        defaults: an encoder and settings by their full names, in place of what the YAML files of
            prefixbank and the schema say where neither the request nor an experiment says anything.
        complete: refuse a request without the task or experiment that the command needs.

    Raises:
        UsageError: all faults at once.
    """
    faults = request.faults
    choices: dict[str, str | None] = {**request.choices}
    must = _mandatory_group(_file_name(settings))
    if "task" in _command_choices(_file_name(settings)) and "task" not in choices:
        for setting, choice in (("path", "folder"), ("hub_id", "hub")):
            if request.values.get(("task", setting)):
                choices["task"] = choice
                break
    if must and must not in choices:
        choices[must] = None
        if complete and request.lacks(must) and must not in request.misnamed:
            faults.append(no_option(settings, must, groups(conf_dir)[must]))
    try:
        if encoder := _default_encoder(settings, request, conf_dir, defaults):
            choices["encoder"] = encoder
        node, files = _merge_files(settings, choices, conf_dir)
    except UsageError as fault:
        raise_faults([*faults, fault])
        raise
    chosen = _chosen_values(request, conf_dir)
    assign(node, settings, _unset(defaults, files) | chosen | request.values)
    origin = origin_in(files, set(request.values), _load)
    opened, references = take_out_open(node, settings, origin)
    config, wrong = validate(settings, node, origin)
    faults += [*(opened if complete else []), *references, *wrong, *_override_faults(config)]
    # `config check` composes every file of a group with every command, mixtures too.
    faults += mixture_faults(config) if complete or settings is TrainPrefixConfig else []
    raise_faults(faults)
    assert config is not None
    return config


def _default_encoder(
    settings: type[CommandConfig],
    request: Request,
    conf_dir: Path | None,
    defaults: Mapping[str, str],
) -> str:
    """Return the default encoder if a command needs one and nothing chooses one; else nothing.

    Raises:
        UsageError: there is no such encoder.
    """
    name = defaults.get("encoder", "")
    has_encoder = "encoder" in names_at(settings, ())
    if not name or not has_encoder or "encoder" in request.choices:
        return ""
    options = groups(conf_dir)["encoder"]
    if name not in options:
        raise UsageError(
            f"the project file sets encoder: {name}, which is none{did_you_mean(name, options)}",
            expected=f"one of: {', '.join(options)}",
            fix="correct prefixbank.yaml    or name another: encoder=NAME",
        )
    if _command_choices(_file_name(settings)).get("encoder") == BANK:
        return name if request.values.get(("bank",)) == PLAIN else ""
    experiment = request.choices.get("experiment")
    file = option_file("experiment", experiment, conf_dir) if experiment else None
    return "" if file is not None and _chooses_encoder(file, conf_dir) else name


def _chooses_encoder(experiment: Path, conf_dir: Path | None) -> bool:
    """Whether an experiment's file, or one that it extends, chooses an encoder."""
    content = _load(experiment)
    listed = content.get("defaults", []) if isinstance(content, dict) else []
    if any(isinstance(item, dict) and "override /encoder" in item for item in listed):
        return True
    above = [option_file("experiment", item, conf_dir) for item in listed if isinstance(item, str)]
    return any(_chooses_encoder(file, conf_dir) for file in above if file is not None)


def _chosen_values(request: Request, conf_dir: Path | None) -> dict[tuple[str, ...], Any]:
    """Return what the files of groups that the user chose beside an experiment set.

    An experiment's own values replace those of the groups that it is made of; what is asked for on
    the command line goes before both.
    """
    if "experiment" not in request.choices:
        return {}
    files = {
        group: option_file(group, option, conf_dir)
        for group, option in request.choices.items()
        if option and group not in ("task", "experiment")
    }
    return {
        (group, *path): value
        for group, file in files.items()
        if file is not None
        for path, value in _leaves(_load(file))
    }


def _leaves(values: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the settings of a group's file by their paths."""
    for name, value in (values or {}).items():
        if isinstance(value, dict):
            yield from (((str(name), *path), leaf) for path, leaf in _leaves(value))
        elif name != "defaults" and value != OPEN:
            yield (str(name),), value


def _unset(defaults: Mapping[str, str], files: Sequence[Path]) -> dict[tuple[str, ...], Any]:
    """Return the defaults of settings that none of the YAML files sets."""
    values = {tuple(name.split(".")): value for name, value in defaults.items() if "." in name}
    return {
        path: value
        for path, value in values.items()
        if not any(holds(file, _load(file), path) for file in files)
    }


def _override_faults(config: CommandConfig | None) -> list[UsageError]:
    """Return the faults in the overrides that an experiment lists for its tasks."""
    if not isinstance(config, RunExperimentConfig):
        return []
    experiment = config.experiment
    trains_targets = isinstance(config, TransferMapConfig)
    trained = (*experiment.sources, *(experiment.targets if trains_targets else ()))
    lists = {f"overrides.{name}": overrides for name, overrides in experiment.overrides.items()}
    lists |= {"transfer.overrides": experiment.transfer.overrides, "deep": experiment.deep}
    faults: list[UsageError] = []
    for setting, overrides in lists.items():
        faults += _faults_of(setting, config, overrides)
    faults += _faults_of("finetuned", finetuned_recipe(config), experiment.finetuned)
    for name, variant in experiment.variants.items():
        faults += _faults_of_variant(name, config, variant[1:])
    return [
        *faults,
        *(unknown_source(name, trained) for name in experiment.overrides if name not in trained),
    ]


def _faults_of(setting: str, recipe: Trained, overrides: Sequence[str]) -> list[UsageError]:
    """Return the faults in one list of overrides."""
    try:
        override_recipe(recipe, overrides)
    except UsageError as error:
        return faults_in(f"experiment.{setting}", error)
    return []


def _faults_of_variant(
    name: str, config: RunExperimentConfig, overrides: Sequence[str]
) -> list[UsageError]:
    """Return the faults in the settings of a variant, and in what these make of the experiment."""
    setting = f"experiment.variants.{name}"
    fixed = [line for line in overrides if line.partition("=")[0].startswith(SAME_IN_VARIANTS)]
    if fixed:
        return [
            UsageError(
                f"{setting} changes {', '.join(line.partition('=')[0] for line in fixed)}",
                expected="settings of what turns texts into vectors, or of probes; targets, seeds "
                "and what is compared are the same for the whole experiment",
                fix=f"leave {shlex.quote(fixed[0])} out",
            )
        ]
    try:
        varied = vary_experiment(config, overrides)
    except UsageError as error:
        return faults_in(setting, error)
    without = replace(varied, experiment=replace(varied.experiment, variants={}))
    return [one for fault in _override_faults(without) for one in faults_in(setting, fault)]


def _parsed(line: str) -> Override:
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


def _file_name(settings: type[CommandConfig]) -> str:
    """Return the name, without ending, of the YAML file with the command's defaults list."""
    return settings.command.replace("-", "_").replace(" ", "_")


def _mandatory_group(name: str) -> str | None:
    """Return the group that the YAML file of a command leaves to the user."""
    choices = _command_choices(name)
    return next((group for group, option in choices.items() if option == OPEN), None)


@cache
def _command_choices(name: str) -> dict[str, str | None]:
    """Return the option of each group that the YAML file of a command chooses; None: no option."""
    defaults = _load(conf_root() / f"{name}.yaml")["defaults"]
    return {
        group: option
        for item in defaults
        if isinstance(item, dict)
        for group, option in item.items()
    }


def _merge_files(
    settings: type[CommandConfig], choices: dict[str, str | None], conf_dir: Path | None
) -> tuple[Node, list[Path]]:
    """Let Hydra merge the YAML files.

    Returns their values, and the files that may have set one, those that override others first.
    """
    name = _file_name(settings)
    root, *user = folders(conf_dir)
    lines = [
        f"{group}={_quoted(option)}" if option else f"~{group}" for group, option in choices.items()
    ]
    lines += [f"hydra.searchpath=[{_quoted(f'file://{folder}')}]" for folder in user]
    try:
        with _hydra_of(root):
            composed = compose_with_hydra(name, lines, return_hydra_config=True)
        chosen_options = composed.hydra.runtime.choices
        node = OmegaConf.to_container(composed)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        chosen = [
            option_file(group, option, conf_dir) for group, option in choices.items() if option
        ]
        raise unreadable_files(error, [file for file in chosen if file], user or [root]) from error
    assert isinstance(node, dict)
    files = [
        option_file(group, chosen_options[group], conf_dir)
        for group in ["experiment", *names_at(settings, ())]
        if chosen_options.get(group)
    ]
    node.pop("hydra")
    values = {str(key): value for key, value in node.items()}
    _name_by_file(values, chosen_options, conf_dir)
    return values, [
        *filter(None, dict.fromkeys(files)),
        root / f"{name}.yaml",
    ]


def _name_by_file(node: Node, chosen: Mapping[str, str | None], conf_dir: Path | None) -> None:
    """Name a user's task or experiment like its file, if the file gives it no name.

    A task keeps a name from a file that it extends, by which its rows may be found; an experiment,
    whose reports would replace those of the other, does not.
    """
    for group in ("task", "experiment"):
        option = chosen.get(group)
        file = option_file(group, option, conf_dir) if option else None
        if option is None or file is None or file.is_relative_to(conf_root()):
            continue
        values = node[group] = node.get(group) or {}
        is_own = group == "task" or holds(file, _load(file), (group, "name"))
        if not (is_own and values.get("name")) and not values.get("mixture"):
            values["name"] = as_name(option, empty=group)


def _load(file: Path) -> Any:
    return OmegaConf.to_container(OmegaConf.load(file))


def _quoted(text: str) -> str:
    return QuotedString(text=text, quote=Quote.single).with_quotes()


@contextmanager
def _hydra_of(folder: Path) -> Iterator[None]:
    """Use Hydra's global state for one composition, then restore what was there before."""
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
