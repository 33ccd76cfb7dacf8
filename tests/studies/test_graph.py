"""What an experiment makes from tasks."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from prefixbank.artifacts.embeddings import read_stored, read_vectors
from prefixbank.artifacts.json_files import read_json
from prefixbank.config.commands import RunExperimentConfig
from prefixbank.config.compose import compose, override_recipe, vary_experiment
from prefixbank.config.schema import TaskConfig
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event
from prefixbank.runtime.unit import Planned
from prefixbank.steps.probe.texts import PART
from prefixbank.store.store import Store
from prefixbank.studies.graph import Experiment, Graph, shuffled
from prefixbank.studies.protocol import study_facts
from prefixbank.studies.representations import compared, seeds_of, vectors, without
from tests.prepared import SMALL, copy_store

SETTINGS = (
    "experiment=smoke",
    "experiment.sources=[alpha,beta]",
    "experiment.targets=[gamma]",
    "finetune.epochs=1",
    *SMALL,
)


@pytest.fixture
def graph(prepared, tmp_path):
    """A graph over the prepared tasks and a copy of the prepared store, and the events of its
    units.
    """
    store, events = Store(copy_store(prepared.store, tmp_path / "copy")), []

    def build(*settings: str, dry_run: bool = False) -> tuple[Graph, list[Event]]:
        config = compose(RunExperimentConfig, [*SETTINGS, *settings])
        experiment = Experiment(
            config=config,
            find_task=lambda name: TaskConfig(name=name, path=str(prepared.tasks / name)),
            change=override_recipe,
            vary=vary_experiment,
        )
        return Graph(
            context=Context(store, config.run, emit=events.append, dry_run=dry_run),
            experiment=experiment,
        ), events

    return build


def only(vectors) -> Planned:
    """The one artifact that vectors without blocks are."""
    (planned,) = vectors.embeddings
    return planned


def of_texts(vectors) -> np.ndarray:
    return of_part(vectors, PART)


def of_part(vectors, stem: str) -> np.ndarray:
    return np.hstack([read_vectors(one.entry, stem) for one in vectors.embeddings])


def test_rows_are_limited_apart_for_sources_and_targets(graph):
    made, _ = graph(
        "experiment.source_rows=10", "experiment.target_rows=20", "experiment.validation_rows=6"
    )
    tasks = (made.source("alpha"), made.target("gamma"))
    assert [(len(task.train), len(task.validation), len(task.test)) for task in tasks] == [
        (10, 6, 20),
        (20, 6, 20),
    ]


def test_same_unit_is_made_once(graph):
    made, events = graph()
    first, second = (only(vectors(made, "plain", "gamma", 0)) for _ in range(2))
    assert (
        first is second
        and Counter(event.kind for event in events if event.step == "embed")["done"] == 1
    )


def test_plain_and_bank_are_side_by_side(graph):
    made, _ = graph()
    plain, bank, both = (
        of_texts(vectors(made, name, "gamma", 0)) for name in ("plain", "bank", "plain_and_bank")
    )
    assert np.array_equal(both, np.hstack([plain, bank]))


def test_rules_of_one_pass_for_each_prefix_share_their_passes(graph):
    made, events = graph()
    joined, mean = (
        of_texts(vectors(made, name, "gamma", 0)) for name in ("concat_vectors", "mean_vectors")
    )
    halves = np.split(joined, 2, axis=1)
    np.testing.assert_allclose(mean, (halves[0] + halves[1]) / 2, atol=1e-6)
    assert Counter(event.kind for event in events if event.step == "embed")["done"] == 2


@pytest.mark.parametrize(
    ("representation", "settings"),
    [
        ("plain", ["vectors=binary", "transform=rotation", "transform_size=24"]),
        ("bank", ["prefix.length=3", "vectors=float16"]),
        ("multitask", ['experiment.finetuned=["pooling.layers=mix"]']),
        ("finetuned", ["finetune.lr=0.0003"]),
    ],
)
def test_variant_is_the_representation_of_an_experiment_with_its_settings(
    graph, representation, settings
):
    lines = ",".join(f"'{line}'" for line in settings)
    varied, _ = graph(f"experiment.variants.other=[{representation},{lines}]")
    other = next(one for one in compared(varied) if one.title == "other")
    itself = vectors(graph(*settings)[0], representation, "gamma", 0)
    assert only(other.vectors("gamma", 0)).key == only(itself).key


def test_variant_moves_no_ref_and_shares_what_its_settings_leave_as_it_is(graph):
    made, events = graph("experiment.variants.small=[bank,vectors=float16]")
    bank, small = compared(made)[1:]
    bank.vectors("gamma", 0)
    trained = Counter(event.kind for event in events if event.step == "train-prefix")
    before = made.context.store.refs()
    of_variant = made.of_variant("small")
    of_variant.prefix("alpha", 0)
    small.vectors("gamma", 0)
    of_variant.multitask([made.source("alpha")], "new", 0, published=True)
    assert made.context.store.refs() == before
    assert Counter(event.kind for event in events if event.step == "train-prefix") == trained


def test_student_of_a_target_learns_from_its_encoder_and_has_fewer_layers(graph):
    made, _ = graph("student.layers=1", "student.temperature=3")
    of_texts(vectors(made, "student", "gamma", 0))
    of_texts(vectors(made, "finetuned", "gamma", 0))
    (student,) = made.context.store.entries("train_student")
    (teacher,) = made.context.store.entries("train_multitask")
    assert student.document["inputs"]["teacher"] == teacher.digest
    assert student.document["config"]["student"]["temperature"] == 3
    assert student.document["config"]["optim"] == teacher.document["config"]["optim"]


def test_student_of_all_sources_learns_from_the_multitask_encoder(graph):
    made, _ = graph("student.layers=1")
    of_texts(vectors(made, "shared_student", "gamma", 0))
    (student,) = made.context.store.entries("train_student")
    assert student.info["tasks"] == ["alpha", "beta"]


def test_cost_of_vectors_is_the_sum_of_their_passes(graph):
    made, _ = graph("experiment.cost_tokens=9")
    costs = {
        name: read_json(made.text_cost(vectors(made, name, "gamma", 0), name).entry, "cost.json")
        for name in ("plain", "bank", "plain_and_bank", "student")
    }
    assert costs["plain_and_bank"]["operations"] == sum(
        costs[name]["operations"] for name in ("plain", "bank")
    )
    assert costs["plain"]["operations"] == costs["student"]["operations"]  # it has all layers
    assert costs["plain"]["bytes"] == 4 * costs["plain"]["features"]


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ([], 4 * 64),
        (["vectors=binary"], 8),
        (["vectors=binary", "transform=rotation", "transform_size=24"], 3),
        (["vectors=int8", "transform=pca", "transform_size=16"], 16),
    ],
)
def test_bytes_are_those_of_the_stored_vectors(graph, settings, size):
    made, _ = graph("experiment.cost_tokens=9", *settings)
    plain = vectors(made, "plain", "gamma", 0)
    stored = read_stored(only(plain).entry, PART if not settings else "test")
    cost = read_json(made.text_cost(plain, "plain").entry, "cost.json")
    assert cost["bytes"] == size == stored.shape[1] * stored.itemsize


def test_each_block_of_a_bank_has_a_transform_of_its_own_in_the_bytes(graph):
    bits = ("vectors=binary", "transform=rotation", "transform_size=24")
    made, _ = graph("experiment.cost_tokens=9", "prefix.kind=readout", "prefix.readouts=1", *bits)
    blocks = vectors(made, "blocks", "gamma", 0)
    widths = [read_stored(one.entry, "test").shape[1] for one in blocks.embeddings]
    cost = read_json(made.text_cost(blocks, "blocks").entry, "cost.json")
    assert (cost["bytes"], cost["features"]) == (sum(widths), 48) == (6, 48)


def test_bank_without_a_source_is_the_bank_of_the_others(graph):
    made, _ = graph()
    alone = vectors(graph("experiment.sources=[beta]")[0], "concat_vectors", "gamma", 0)
    assert np.array_equal(of_texts(without(made, "alpha", "gamma", 0)), of_texts(alone))


def test_fine_tuned_encoder_gives_other_vectors_than_the_plain_one(graph):
    made, _ = graph()
    plain, tuned = (of_texts(vectors(made, name, "gamma", 0)) for name in ("plain", "multitask"))
    assert plain.shape == tuned.shape and not np.allclose(plain, tuned, atol=1e-4)


def test_multitask_encoder_sees_as_many_examples_of_each_source_as_its_prefix(graph):
    made, _ = graph("experiment.source_rows=30")
    prefix = made.prefix("alpha", 0)
    vectors(made, "multitask", "gamma", 0)
    encoder = made.context.store.entries("train_multitask")[0]
    seen, of_all = (
        json.loads(entry.file("result.json").read_text(encoding="utf-8"))
        for entry in (prefix.entry, encoder)
    )
    assert (seen["examples"], [task["examples"] for task in of_all["tasks"]]) == (30, [30, 30])


def test_representations_made_once_have_the_first_seed(graph):
    made, _ = graph(
        "experiment.seeds=[3,4]",
        "experiment.representations=[plain,bank,multitask,random]",
        "experiment.single_seed=[random]",
    )
    assert {name: seeds_of(made, name) for name in made.config.experiment.representations} == {
        "plain": (3,),
        "bank": (3, 4),
        "multitask": (3, 4),
        "random": (3,),
    }


def test_plan_waits_for_the_encoder_that_is_still_to_be_trained(graph):
    made, events = graph(dry_run=True)
    assert not only(vectors(made, "multitask", "gamma", 0)).is_made
    assert [(event.kind, event.step) for event in events if event.kind != "note"] == [
        ("miss", "train-multitask"),
        ("waits", "embed"),
    ]


def test_shuffled_labels_are_the_same_labels_on_other_rows(graph):
    task = graph()[0].source("alpha")
    dealt = shuffled(task, 0)
    for before, after in ((task.train, dealt.train), (task.validation, dealt.validation)):
        assert (after.texts, sorted(after.labels)) == (before.texts, sorted(before.labels)) and (
            after.labels != before.labels
        ).any()
    assert dealt.test is task.test


def test_control_prefixes_get_no_ref(graph):
    made, _ = graph()
    before = {str(ref) for ref in made.context.store.refs()}
    vectors(made, "random", "gamma", 0)
    vectors(made, "shuffled", "gamma", 0)
    assert {str(ref) for ref in made.context.store.refs()} == before


def test_kept_layers_are_read_side_by_side_whatever_training_pools(graph):
    made, _ = graph("experiment.probe_last_layers=3")
    kept, trained = (
        of_texts(vectors(made, "bank", "gamma", 0)),
        of_texts(vectors(graph()[0], "bank", "gamma", 0)),
    )
    assert (
        np.array_equal(kept[:, -trained.shape[1] :], trained)
        and kept.shape[1] == 3 * trained.shape[1]
    )


def test_targets_vectors_are_stored_as_asked(graph):
    made, _ = graph("vectors=binary")
    planned = made.vectors("beta", None, "plain encoder")
    assert (
        set(np.unique(of_part(planned, "test"))) == {-1.0, 1.0}
        and (only(planned).entry.path / "calibration.safetensors").is_file()
    )


def test_mixture_of_one_source_is_its_own_prefix(graph):
    made, _ = graph('experiment.overrides.alpha=["optim.lr=0.01"]')
    alone = made.ensure(made.mixture_unit(["alpha"], "one", 0))
    both = made.ensure(made.mixture_unit(["alpha", "beta"], "both", 0)).entry
    assert alone.key == made.prefix("alpha", 0).key
    assert (
        both.info["tasks"] == ["alpha", "beta"] and both.document["config"]["optim"]["lr"] == 0.03
    )


READOUTS = (
    "prefix.kind=readout",
    "prefix.readouts=2",
    "prefix.length=2",
    "experiment.deep=[prefix.length=3]",
)


def test_bank_of_read_outs_is_the_plain_vector_and_a_block_of_each_source(graph):
    made, _ = graph(*READOUTS)
    plain, bank, blocks = (
        of_texts(vectors(made, name, "gamma", 3)) for name in ("plain", "bank", "blocks")
    )
    assert np.array_equal(bank, np.hstack([plain, blocks]))
    parts = vectors(made, "bank", "gamma", 3)
    assert parts.blocks == ("plain", "alpha", "beta")
    alone = vectors(graph(*READOUTS, "experiment.sources=[beta]")[0], "blocks", "gamma", 3)
    assert np.array_equal(of_texts(alone), of_texts(vectors(made, "bank", "gamma", 3))[:, -64:])


def test_source_that_changes_has_its_block_embedded_again_and_no_other(graph):
    made, _ = graph(*READOUTS)
    vectors(made, "bank", "gamma", 3)
    changed, events = graph(*READOUTS, 'experiment.overrides.alpha=["optim.lr=0.02"]')
    vectors(changed, "bank", "gamma", 3)
    found = {event.name: event.kind for event in events if event.step == "embed"}
    assert {name.rsplit(" ", 1)[1]: kind for name, kind in found.items()} == {
        "plain": "hit",
        "alpha": "done",
        "beta": "hit",
    }


def test_deep_bank_in_an_experiment_with_read_outs_has_deep_prefixes(graph):
    made, _ = graph(*READOUTS)
    prefix = made.prefix("alpha", 3, "deep").entry
    assert prefix.document["config"]["prefix"]["kind"] == "deep"
    assert prefix.document["config"]["prefix"]["length"] == 3
    assert only(vectors(made, "deep", "gamma", 3)).is_made


def test_fine_tuned_encoders_have_settings_of_their_own(graph):
    made, _ = graph('experiment.finetuned=["pooling.norm=layer","optim.lr=0.002"]')
    tasks = [made.source(name) for name in ("alpha", "beta")]
    config = made.multitask(tasks, "both", 3).entry.document["config"]
    assert (config["pooling"]["norm"], config["optim"]["lr"], config["seed"]) == ("layer", 0.002, 3)
    assert made.config.pooling.norm == "none"


def test_probe_of_blocks_names_them_and_their_bank(graph):
    made, _ = graph(*READOUTS)
    parts = vectors(made, "bank", "gamma", 3)
    entry = made.probe("gamma", parts, "bank").entry
    assert entry.info["blocks"] == ["plain", "alpha", "beta"]
    assert entry.info["bank"] == parts.bank.key


def test_protocol_says_how_each_kind_of_prefix_is_trained(graph):
    representations = "experiment.representations=[plain,bank,deep]"
    made, _ = graph(*READOUTS, representations, "experiment.single_seed=[]")
    text = " ".join(study_facts(made).protocol)
    assert "Prefixes: 2 read-outs with 2 slots" in text
    assert "Deep prefixes: 3 slots" in text


def test_protocol_names_no_prefixes_where_none_was_trained_and_the_rows_of_samples(graph):
    samples = ("probe.shots=2", "probe.few_shot_samples=3")
    made, _ = graph(*READOUTS, "experiment.representations=[plain]", *samples)
    protocol = study_facts(made).protocol
    assert not [line for line in protocol if line.startswith("Prefixes")]
    assert "Target train rows for the probes: 2 of each class, drawn 3 times." in protocol


def protocol_of(made, start: str) -> str:
    (line,) = [line for line in study_facts(made).protocol if line.startswith(start)]
    return line


def test_protocol_names_the_sources_that_were_trained_otherwise(graph):
    plain, _ = graph("optim.lr=0.03")
    made, _ = graph(
        "optim.lr=0.03",
        'experiment.overrides.beta=["optim.lr=0.02","prefix.length=5"]',
        'experiment.overrides.alpha=["optim.lr=0.03"]',
    )
    usual, rest = protocol_of(plain, "Prefixes: ").split(";")
    assert "learning rate 0.03" in usual
    changed = "beta with prefix.length=5, optim.lr=0.02"
    assert protocol_of(made, "Prefixes: ") == f"{usual}; {changed};{rest}"


def test_protocol_has_the_settings_of_most_sources(graph):
    made, _ = graph(
        "experiment.sources=[alpha,beta,gamma]",
        "experiment.targets=[]",
        "optim.lr=0.03",
        'experiment.overrides.alpha=["optim.lr=0.02"]',
        'experiment.overrides.gamma=["optim.lr=0.02"]',
    )
    line = protocol_of(made, "Prefixes: ")
    assert "learning rate 0.02" in line and "beta with optim.lr=0.03;" in line
