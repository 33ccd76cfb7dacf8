"""Error messages about wrong settings."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from prefixbank.config.commands import (
    CombineCommandConfig,
    CommandConfig,
    EmbedConfig,
    ProbeCommandConfig,
    RunExperimentConfig,
    TrainPrefixConfig,
)
from prefixbank.config.compose import compose, conf_root
from prefixbank.errors import Faults, UsageError
from tests.config.conftest import Write


def faults(
    settings: type[CommandConfig], overrides: list[str], conf_dir: Path | None = None
) -> list[UsageError]:
    """The faults of a command line, which must have some."""
    with pytest.raises(UsageError) as caught:
        compose(settings, overrides, conf_dir=conf_dir)
    error = caught.value
    return (
        [fault for fault in error.faults if isinstance(fault, UsageError)]
        if isinstance(error, Faults)
        else [error]
    )


def only_fault(
    settings: type[CommandConfig], overrides: list[str], conf_dir: Path | None = None
) -> tuple[str, str, str]:
    """The three lines of the only fault."""
    (fault,) = faults(settings, overrides, conf_dir)
    return fault.what, fault.expected, fault.fix


@pytest.mark.parametrize(
    ("override", "lines"),
    [
        ("optim.lr=abc", ("optim.lr = 'abc'", "a number greater than 0", "optim.lr=0.03")),
        ("optim.lr=0", ("optim.lr = 0", "a number greater than 0", "optim.lr=0.03")),
        ("optim.lr=", ("optim.lr = ''", "a number greater than 0", "optim.lr=0.03")),
        ("optim.lr=null", ("optim.lr = null", "a number greater than 0", "optim.lr=0.03")),
        ("optim.lr=nan", ("optim.lr = nan", "a number greater than 0", "optim.lr=0.03")),
        ("optim.lr=inf", ("optim.lr = inf", "a number greater than 0", "optim.lr=0.03")),
        ("optim.lr=[1]", ("optim.lr = [1]", "a number greater than 0", "optim.lr=0.03")),
        (
            "optim.lr=1..2(",
            ("optim.lr cannot be read: 1..2(", "a number greater than 0", "optim.lr=0.03"),
        ),
        ("prefix.gate_init=x", ("prefix.gate_init = 'x'", "a number", "prefix.gate_init=0.0")),
        (
            "prefix.dropout=1",
            ("prefix.dropout = 1", "a number of at least 0 and less than 1", "prefix.dropout=0.0"),
        ),
        (
            "prefix.length=-1",
            (
                "prefix.length = -1",
                "a whole number of at least 0 and of at most 4096",
                "prefix.length=16",
            ),
        ),
        (
            "prefix.length=16.5",
            (
                "prefix.length = 16.5",
                "a whole number of at least 0 and of at most 4096",
                "prefix.length=16",
            ),
        ),
        (
            "prefix.length=true",
            (
                "prefix.length = true",
                "a whole number of at least 0 and of at most 4096",
                "prefix.length=16",
            ),
        ),
        ("seed=-1", ("seed = -1", "a whole number of at least 0", "seed=0")),
        (
            "optim.schedule=lineer",
            (
                "optim.schedule = 'lineer'",
                "one of: linear, cosine, constant",
                "optim.schedule=linear",
            ),
        ),
        (
            "optim.schedule=1",
            ("optim.schedule = 1", "one of: linear, cosine, constant", "optim.schedule=linear"),
        ),
        (
            "optim.gradient_checkpointing=yes",
            (
                "optim.gradient_checkpointing = 'yes'",
                "true or false",
                "optim.gradient_checkpointing=false",
            ),
        ),
        ("task.labels=x", ("task.labels = 'x'", "a list, each item text", "'task.labels=[x]'")),
        ("task.labels=[a,[b]]", ("task.labels[1] = [b]", "text", "'task.labels=[first,second]'")),
        (
            "task.splits=x",
            (
                "task.splits = 'x'",
                "settings of their own: train, validation, test",
                "task.splits.train=train",
            ),
        ),
        ("encoder.revision=null", ("encoder.revision = null", "text", "encoder.revision=main")),
        (
            "pooling.position=men",
            (
                "pooling.position = 'men'",
                "one of: auto, cls, mean, max, last, attention; "
                "or a list, each item one of: cls, mean, max, last, attention",
                "pooling.position=mean",
            ),
        ),
        (
            "pooling.position=[cls,men]",
            (
                "pooling.position[1] = 'men'",
                "one of: cls, mean, max, last, attention",
                "'pooling.position=[mean]'",
            ),
        ),
        (
            "pooling.layers=3",
            (
                "pooling.layers = 3",
                "one of: last, mean_last, concat_last, single, mix; or a list, each item a whole "
                "number of at least 0",
                "'pooling.layers=[3]'",
            ),
        ),
        (
            "pooling.layers=[3,-1]",
            ("pooling.layers[1] = -1", "a whole number of at least 0", "pooling.layers=last"),
        ),
        (
            "pooling.layers=[]",
            (
                "pooling.layers=[], an empty list",
                "one item or more",
                "leave pooling.layers out, or name one",
            ),
        ),
        (
            "pooling.position=[mean,cls,mean]",
            ("pooling.position names mean twice", "each once", "'pooling.position=[mean,cls]'"),
        ),
    ],
)
def test_wrong_value_is_reported_in_three_lines(
    conf_dir: Path, override: str, lines: tuple[str, str, str]
):
    assert only_fault(TrainPrefixConfig, ["task=sample", override], conf_dir) == lines


@pytest.mark.parametrize(
    ("override", "fix"),
    [
        ("experiment.seeds=3", "'experiment.seeds=[3]'"),
        ("experiment.seeds=x", "'experiment.seeds=[0]'"),
        ("experiment.representations=random", "'experiment.representations=[random]'"),
        ("experiment.representations=rondom", "'experiment.representations=[plain,bank]'"),
        ("experiment.representations=[rondom]", "'experiment.representations=[random]'"),
        ("combine.weights=x", "'combine.weights=[1,1]'"),
        ("combine.weights=0.5", "'combine.weights=[0.5]'"),
        (
            "experiment.overrides.polarity=optim.lr=1",
            "'experiment.overrides={sst2: [\"optim.lr=0.01\"]}'",
        ),
    ],
)
def test_value_instead_of_a_list_comes_with_a_list(override: str, fix: str):
    assert only_fault(RunExperimentConfig, ["experiment=smoke", override])[2] == fix


def test_faults_of_two_lists_are_told_together():
    found = faults(
        TrainPrefixConfig, ["task=polarity", "pooling.layers=[]", "pooling.position=[cls,cls]"]
    )
    assert [fault.what.split()[0] for fault in found] == ["pooling.position", "pooling.layers=[],"]


def test_bare_list_of_a_setting_that_takes_one_value_too_comes_with_both_ways():
    what, _, fix = only_fault(TrainPrefixConfig, ["task=polarity", "pooling.layers=1,2"])
    assert what == "pooling.layers=1,2 asks for several runs"
    assert "--sweep pooling.layers=1,2" in fix and "'pooling.layers=[1,2]'" in fix


def test_list_item_out_of_range_is_reported_with_its_position(conf_dir: Path):
    assert only_fault(ProbeCommandConfig, ["task=sample", "probe.Cs=[1,-2]"], conf_dir) == (
        "probe.Cs[1] = -2",
        "a number greater than 0",
        "'probe.Cs=[0.0001,0.001,0.01,0.1,1.0,10.0]'",
    )


@pytest.mark.parametrize(
    ("override", "suggestion", "expected", "fix"),
    [
        (
            "optim.lrr=1",
            "; did you mean 'optim.lr'?",
            "a setting of optim: lr, head_lr",
            "optim.lr=1",
        ),
        (
            "lr=1",
            "; did you mean 'optim.lr'?",
            "a setting of prefixbank train-prefix: prefix, optim",
            "optim.lr=1",
        ),
        (
            "max-length-tokens=1",
            "; did you mean 'max_length_tokens'?",
            "a setting of",
            "max_length_tokens=1",
        ),
        (
            "optim.lr.x=1",
            "; did you mean 'optim.lr'?",
            "optim.lr=a number greater than 0, which has no settings",
            "optim.lr=1",
        ),
        (
            "zzz=1",
            "",
            "a setting of prefixbank train-prefix: ",
            "leave 'zzz' out, or use one of these names",
        ),
        (
            "experiment=smoke",
            "",
            "a setting of prefixbank train-prefix: ",
            "leave 'experiment' out, or use one of these names",
        ),
    ],
)
def test_unknown_setting_is_reported_with_what_exists(
    conf_dir: Path, override: str, suggestion: str, expected: str, fix: str
):
    fault = only_fault(TrainPrefixConfig, ["task=sample", override], conf_dir)
    assert (fault[0], fault[1][: len(expected)], fault[2]) == (
        f"unknown setting '{override.partition('=')[0]}'{suggestion}",
        expected,
        fix,
    )


def test_unknown_setting_in_braces_is_reported_with_what_exists(conf_dir: Path):
    assert only_fault(
        TrainPrefixConfig, ["task=sample", "task.splits={training: a}"], conf_dir
    ) == (
        "unknown setting 'task.splits.training'; did you mean 'train'?",
        "a setting of task.splits: train, validation, test",
        "rename it to 'train'",
    )


@pytest.mark.parametrize(
    ("override", "lines"),
    [
        (
            "pooling=meen",
            (
                "pooling has no option 'meen'; did you mean 'mean'?",
                "one of: attention, auto, cls, last, max, mean",
                "pooling=mean",
            ),
        ),
        (
            "pooling=mean.yaml",
            (
                "pooling has no option 'mean.yaml'; did you mean 'mean'?",
                "one of: attention, auto, cls, last, max, mean",
                "pooling=mean",
            ),
        ),
        (
            "pooling=",
            (
                "pooling has no option ''",
                "one of: attention, auto, cls, last, max, mean",
                "pooling=attention",
            ),
        ),
        (
            "pooling=null",
            (
                "pooling has no option 'null'",
                "one of: attention, auto, cls, last, max, mean",
                "pooling=attention",
            ),
        ),
        (
            "pooling={position: cls}",
            (
                "pooling has no option '{position: cls}'",
                "one of: attention, auto, cls, last, max, mean",
                "set single values by their full name: pooling.position=auto",
            ),
        ),
    ],
)
def test_unknown_option_is_reported_with_what_exists(override: str, lines: tuple[str, str, str]):
    assert only_fault(CombineCommandConfig, [override]) == lines


@pytest.mark.parametrize(
    ("override", "what", "fix"),
    [
        ("+seed=1", "'+seed=1' begins with '+'", "seed=1"),
        ("++seed=1", "'++seed=1' begins with '+'", "seed=1"),
        ("~task", "'~task' begins with '~'", "leave '~task' out, or set a value: task=VALUE"),
        ("~seed=0", "'~seed=0' begins with '~'", "leave '~seed=0' out, or set a value: seed=VALUE"),
        ("hydra.run.dir=x", "'hydra.run.dir=x' is a setting of Hydra", "leave hydra.run.dir=x out"),
        (
            "hydra/launcher=x",
            "'hydra/launcher=x' is a setting of Hydra",
            "leave hydra/launcher=x out",
        ),
        ("hydra={}", "'hydra={}' is a setting of Hydra", "leave 'hydra={}' out"),
        (
            "optim@prefix=default",
            "'optim@prefix=default' moves a group to another place",
            "optim=default",
        ),
        (
            "name=${oc.env:HOME}",
            "'name=${oc.env:HOME}' refers to something else with '${'",
            "name=VALUE",
        ),
        ("name='${seed}'", "'name='${seed}'' refers to something else with '${'", "name=VALUE"),
        (
            "task.labels=[a,${seed}]",
            "'task.labels=[a,${seed}]' refers to something else with '${'",
            "task.labels=VALUE",
        ),
        ("seed", "'seed' is not KEY=VALUE", "seed=VALUE"),
        ("=5", "'=5' is not KEY=VALUE", "KEY=5"),
        ("", "'' is not KEY=VALUE", "KEY=VALUE"),
    ],
)
def test_line_that_breaks_a_rule_is_refused(conf_dir: Path, override: str, what: str, fix: str):
    fault = only_fault(TrainPrefixConfig, ["task=sample", override], conf_dir)
    assert (fault[0], fault[2]) == (what, fix)


@pytest.mark.parametrize(
    ("override", "what", "fix"),
    [
        (
            "seed=1,2,3",
            "seed=1,2,3 asks for several runs",
            "prefixbank train-prefix ... --sweep seed=1,2,3",
        ),
        (
            "seed=range(1,4)",
            "seed=range(1,4) asks for several runs",
            "prefixbank train-prefix ... --sweep 'seed=range(1,4)'",
        ),
        (
            "seed=choice(1,2)",
            "seed=choice(1,2) asks for several runs",
            "prefixbank train-prefix ... --sweep 'seed=choice(1,2)'",
        ),
        (
            "task=sst2,qqp",
            "task=sst2,qqp asks for several runs",
            "prefixbank train-prefix ... --sweep task=sst2,qqp",
        ),
        (
            "name=a,b",
            "name=a,b asks for several runs",
            "prefixbank train-prefix ... --sweep name=a,b    or, as one text: 'name=\"a,b\"'",
        ),
        ("task.labels=a,b", "task.labels=a,b is not a list", "'task.labels=[a,b]'"),
        (
            "task.labels=[a],[b]",
            "task.labels=[a],[b] asks for several runs",
            "prefixbank train-prefix ... --sweep 'task.labels=[a],[b]'",
        ),
    ],
)
def test_list_of_values_is_refused_without_sweep(
    conf_dir: Path, override: str, what: str, fix: str
):
    fault = only_fault(TrainPrefixConfig, ["task=sample", override], conf_dir)
    assert (fault[0], fault[2]) == (what, fix)


@pytest.mark.parametrize("text", ['"a', "'a", "[a", "été,b", '"a" b'])
def test_text_that_cannot_be_read_comes_with_the_quoting_to_use(text: str):
    escaped = text.replace('"', '\\"')
    fix = only_fault(EmbedConfig, [f"corpus.path={text}"])[2]
    assert shlex.split(fix) == [f'corpus.path="{escaped}"']


@pytest.mark.parametrize("text", ['"a', "'a", "[a", "été,b", '"a" b', "a, b"])
def test_quoting_to_use_gives_the_text(text: str):
    escaped = text.replace('"', '\\"')
    assert compose(EmbedConfig, [f'corpus.path="{escaped}"']).corpus.path == text


def test_all_faults_are_reported_at_once(conf_dir: Path):
    overrides = [
        "task=samples",
        "optim.lr=abc",
        "+a=1",
        "optim.lrr=2",
        "encoder=miniml",
        "seed=1,2",
        "prefix.length=-1",
        "hydra.x=1",
    ]
    found = [
        fault.what.partition(";")[0] for fault in faults(TrainPrefixConfig, overrides, conf_dir)
    ]
    assert found == [
        "task has no option 'samples'",
        "'+a=1' begins with '+'",
        "unknown setting 'optim.lrr'",
        "encoder has no option 'miniml'",
        "seed=1,2 asks for several runs",
        "'hydra.x=1' is a setting of Hydra",
        "prefix.length = -1",
        "optim.lr = 'abc'",
    ]


@pytest.mark.parametrize(
    ("settings", "what", "fix"),
    [
        (TrainPrefixConfig, "no task given", "prefixbank train-prefix task=polarity"),
        (ProbeCommandConfig, "no task given", "prefixbank probe task=polarity"),
        (RunExperimentConfig, "no experiment given", "prefixbank run experiment=starter"),
    ],
)
def test_choice_that_has_to_be_made_is_reported(settings: type[CommandConfig], what: str, fix: str):
    fault = only_fault(settings, [])
    assert (fault[0], fault[2]) == (what, fix)


def test_path_alone_is_that_of_a_folder_or_file():
    assert compose(TrainPrefixConfig, ["task.path=mine"]) == compose(
        TrainPrefixConfig, ["task=folder", "task.path=mine"]
    )


def test_file_given_as_a_task_is_suggested_as_its_path(tmp_path: Path):
    (tmp_path / "t.csv").touch()
    fix = only_fault(TrainPrefixConfig, [f"task={tmp_path / 't.csv'}"])[2]
    assert fix == f"task.path={tmp_path / 't.csv'}"


def test_experiments_are_listed_when_none_was_given():
    names = (
        "families, families_smoke, families_smollm2, recipe, scalable, scalable_smoke, smoke, "
        "starter, starter_seeds, transfer, transfer_map, transfer_map_smoke and 2 more "
        "(prefixbank config groups)"
    )
    assert only_fault(RunExperimentConfig, [])[1] == f"experiment=NAME, one of: {names}"


def test_long_list_of_tasks_is_cut(write: Write, conf_dir: Path):
    for number in range(20):
        write(f"task/000-{number:02}", "source: starter\n")
    rest = len(list((conf_root() / "task").glob("*.yaml"))) + 21 - 12
    names = ", ".join(f"000-{number:02}" for number in range(12))
    assert (
        only_fault(TrainPrefixConfig, [], conf_dir)[1]
        == f"task=NAME, one of: {names} and {rest} more (prefixbank config groups)"
    )


def test_value_that_a_file_leaves_open_is_reported(conf_dir: Path):
    fault = only_fault(TrainPrefixConfig, ["task=sample", "encoder=hub"], conf_dir)
    assert fault[0].startswith("encoder.hub_id is not given") and fault[2] == "encoder.hub_id=text"


def test_value_that_a_file_leaves_open_can_be_given(conf_dir: Path):
    config = compose(
        TrainPrefixConfig,
        ["task=sample", "encoder=folder", "encoder.path=models/mine"],
        conf_dir=conf_dir,
    )
    assert (config.encoder.source, config.encoder.path) == ("folder", "models/mine")


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        (
            "lr: abc\n",
            "optim.lr = 'abc' in {file}",
            "correct {file}, or override it: optim.lr=0.03",
        ),
        (
            "lrr: 1\n",
            "unknown setting 'optim.lrr' in {file}; did you mean 'lr'?",
            "rename it to 'lr' in {file}",
        ),
        (
            "_target_: os.system\n",
            "unknown setting 'optim._target_' in {file}",
            "remove '_target_' in {file}",
        ),
        (
            "lr: ${oc.env:HOME}\n",
            "optim.lr = ${{oc.env:HOME}} in {file}",
            "write the value in {file}",
        ),
        ("lr: ???\n", "optim.lr is not given, which {file} leaves open", "optim.lr=0.03"),
        (
            "# @package _global_\noptim:\n",
            "optim = null in {file}",
            "correct {file}, or override it: optim.lr=0.03",
        ),
    ],
)
def test_fault_in_a_file_names_the_file(
    write: Write, conf_dir: Path, text: str, what: str, fix: str
):
    file = write("optim/mine", text)
    fault = only_fault(TrainPrefixConfig, ["task=sample", "optim=mine"], conf_dir)
    assert (fault[0], fault[2]) == (what.format(file=file), fix.format(file=file))


def test_bare_yes_and_no_in_a_file_are_explained(write: Write, conf_dir: Path):
    file = write("task/boolean", "labels: [no]\n")
    assert only_fault(TrainPrefixConfig, ["task=boolean"], conf_dir) == (
        f"task.labels[0] = false in {file}",
        "text (without quotes YAML reads yes, no, on and off as true and false)",
        f"put it in quotes in {file}",
    )


def test_override_replaces_a_fault_in_a_file(write: Write, conf_dir: Path):
    write("optim/mine", "lr: abc\n")
    assert (
        compose(
            TrainPrefixConfig, ["task=sample", "optim=mine", "optim.lr=1"], conf_dir=conf_dir
        ).optim.lr
        == 1.0
    )


def test_fault_in_an_experiment_file_is_distinguished_from_its_group(write: Write, conf_dir: Path):
    file = write(
        "experiment/short",
        "# @package _global_\nexperiment: {sources: [sample]}\noptim: {epochs: none}\n",
    )
    assert (
        only_fault(RunExperimentConfig, ["experiment=short"], conf_dir)[0]
        == f"optim.epochs = 'none' in {file}"
    )


def test_experiment_file_without_package_line_is_explained(write: Write, conf_dir: Path):
    file = write("experiment/short", "experiment: {sources: [sample]}\n")
    assert (
        only_fault(RunExperimentConfig, ["experiment=short"], conf_dir)[2]
        == f"begin {file} with the line '# @package _global_'"
    )


@pytest.mark.parametrize(
    "text",
    [
        "lr: [1\n",
        "lr: 1\nlr: 2\n",
        "lr: 1\n---\nlr: 2\n",
        "lr: !!python/object:os.system 1\n",
        "defaults: 3\n",
        "defaults: [nothing]\n",
        "# @package\nlr: 1\n",
        "# @package _global_\n- a\n",
        "lr: ${\n",
    ],
)
def test_file_that_cannot_be_read_is_named(write: Write, conf_dir: Path, text: str):
    file = write("optim/mine", text)
    what, _, fix = only_fault(TrainPrefixConfig, ["task=sample", "optim=mine"], conf_dir)
    assert what.startswith("the YAML files cannot be read: ") and str(file) in fix


def test_other_faults_are_reported_beside_a_file_that_cannot_be_read(write: Write, conf_dir: Path):
    write("optim/mine", "lr: [1\n")
    found = faults(TrainPrefixConfig, ["task=sample", "optim=mine", "zzz=1"], conf_dir)
    assert [fault.what.partition(":")[0] for fault in found] == [
        "unknown setting 'zzz'",
        "the YAML files cannot be read",
    ]
