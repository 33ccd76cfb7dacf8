"""Describe the protocol of an experiment for its report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import assert_never

from prefixbank.artifacts.pooling import describe_pooling
from prefixbank.choices import ProbePairs
from prefixbank.config.schema import PoolingConfig, PrefixRecipe, ProbeConfig, effective
from prefixbank.config.settings import written
from prefixbank.data.tasks.task import Task
from prefixbank.reports.study import Facts
from prefixbank.studies.checks import has_update
from prefixbank.studies.graph import Graph
from prefixbank.studies.representations import TITLES, WITHOUT_PREFIXES, compared, representation_in

PAIRS: Mapping[ProbePairs, str] = {
    "joint": "both texts in one input",
    "separate": "each text alone to u and v, then u, v, |u - v| and u * v",
    "both": "both texts in one input, beside u, v, |u - v| and u * v of each text alone",
    "best": (
        "both texts in one input, or u, v, |u - v| and u * v of each text alone, or both; "
        "chosen by cross-validation on train"
    ),
}

TRAINING = (
    "prefix.kind",
    "prefix.readouts",
    "prefix.length",
    "prefix.pairs",
    "optim.epochs",
    "optim.batch_size",
    "optim.lr",
)
"""Settings of a training that reports state. Others, such as the patience, may leave the bytes of a
prefix and so its report as they are."""

SCALED = "scaled to mean 0 and variance 1"
"""What `pooling.norm=layer` does to each pooled layer."""


OTHERS = WITHOUT_PREFIXES - {"random", "shuffled"}
"""Representations without prefixes of the experiment's own settings."""


def study_facts(graph: Graph) -> Facts:
    """Return facts about an experiment for its report."""
    config, experiment = graph.config, graph.config.experiment
    encoders = graph.finetuned_recipe
    tuned = encoders.optim
    shown = {column.of for column in compared(graph)} | set(experiment.representations)
    protocol = [f"Train rows: {_rows(graph.source(name) for name in experiment.sources)}."]
    if has_update(experiment) or shown - OTHERS:
        prefixes = _trainings(experiment.sources, graph.experiment.recipe_for)
        protocol.append(
            f"Prefixes: {prefixes}; the epoch with the best validation score of the source task is "
            "kept."
        )
    if {"deep", "plain_and_deep"} & shown:
        deep = _trainings(experiment.sources, graph.deep_recipe)
        protocol.append(f"Deep prefixes: {deep}.")
    if {"multitask", "shared_student"} & shown or has_update(experiment):
        apart = ", pairs read apart" if encoders.multitask.pairs == "separate" else ""
        scaled = f", pooled states {SCALED}" if encoders.pooling.norm == "layer" else ""
        fit = (
            f"{_epochs(tuned.epochs)}, batches of {tuned.batch_size}, learning rate {tuned.lr:g}, "
            f"{encoders.multitask.sampling} sampling{apart}{scaled}{_learned(encoders.pooling)}"
        )
        protocol.append(
            f"Multi-task encoder: all weights, {fit}; the epoch with the best mean of the same "
            "validation scores is kept."
        )
    if {"student", "shared_student"} & shown:
        student = config.student
        protocol.append(
            f"Students: the lowest {student.layers} layers of their teacher, trained like it on "
            f"its outputs (weight {student.soft_weight:g}, temperature {student.temperature:g}) "
            "and on the labels."
        )
    if "finetuned" in shown and encoders.pooling.is_learned:
        protocol.append(
            f"Encoders fine-tuned on a target: all weights{_learned(encoders.pooling)}."
        )
    if experiment.targets:
        protocol.append(f"Target train rows for the probes: {_rows_of_probes(graph)}.")
        protocol += [f"Vectors: {_describe_vectors(graph)}.", *_describe_pairs(graph)]
        fitted = f"strength by {config.probe.folds}-fold cross-validation on train"
        decided = _describe_decision(config.probe)
        scored = _describe_score(config.probe)
        protocol.append(f"Probe: {config.probe.model}{decided}, {fitted}; {scored}.")
    for name, variant in experiment.variants.items():
        changes = ", ".join(f"`{line}`" for line in variant[1:]) or "no change"
        protocol.append(f"{name}: {TITLES[representation_in(variant)]} with {changes}.")
    return Facts(
        experiment=experiment.name,
        encoder=graph.files.label,
        sources=experiment.sources,
        seeds=experiment.seeds,
        protocol=tuple(protocol),
    )


def map_facts(graph: Graph) -> Facts:
    """Return facts about a transfer map for its report."""
    experiment = graph.config.experiment
    trainings: dict[str, list[str]] = {}
    for name in experiment.targets:
        trainings.setdefault(_training(graph.experiment.target_recipe_for(name)), []).append(name)
    protocol = (
        f"Train rows of sources: {_rows(graph.source(name) for name in experiment.sources)}.",
        f"Train rows of targets: {_rows(graph.target(name) for name in experiment.targets)}.",
        f"Prefixes of sources: {_trainings(experiment.sources, graph.experiment.recipe_for)}.",
        *(f"Prefixes of {', '.join(names)}: {training}." for training, names in trainings.items()),
        "The epoch with the best validation score is kept, and scored once on test.",
    )
    return Facts(
        experiment=experiment.name,
        encoder=graph.files.label,
        sources=experiment.sources,
        seeds=experiment.seeds,
        protocol=protocol,
    )


def _trainings(sources: Sequence[str], recipe_for: Callable[[str], PrefixRecipe]) -> str:
    """Describe how the prefixes of sources are trained: most of them, and where others differ."""
    recipes = {name: effective(recipe_for(name)) for name in sources}
    usual = max(recipes.values(), key=list(recipes.values()).count)
    described = [_training(usual)]
    for name, recipe in recipes.items():
        if differing := _differing(recipe, usual):
            described.append(f"{name} with {', '.join(differing)}")
    return "; ".join(described)


def _differing(recipe: PrefixRecipe, other: PrefixRecipe) -> list[str]:
    """Return the stated settings in which a recipe differs from another."""

    def value(of: PrefixRecipe, name: str) -> object:
        return reduce(getattr, name.split("."), of)

    differing = [
        f"{name}={written(value(recipe, name))}"
        for name in TRAINING
        if value(recipe, name) != value(other, name)
    ]
    if _learned(recipe.pooling) != _learned(other.pooling):
        differing.append(f"pooling {describe_pooling(recipe.pooling)}")
    return differing


def _learned(pooling: PoolingConfig) -> str:
    """Describe pooling that is learned; empty for any other, which is that of the vectors."""
    return f", pooling learned: {describe_pooling(pooling)}" if pooling.is_learned else ""


def _training(recipe: PrefixRecipe) -> str:
    """Describe how a prefix is trained."""
    prefix, optim = recipe.prefix, recipe.optim
    readouts = f"{prefix.readouts} read-outs with " if prefix.kind == "readout" else ""
    apart = ", pairs read apart" if prefix.pairs == "separate" else ""
    return (
        f"{readouts}{prefix.length} slots, {_epochs(optim.epochs)}, batches of "
        f"{optim.batch_size}, learning rate {optim.lr:g}{apart}{_learned(recipe.pooling)}"
    )


def _describe_decision(probe: ProbeConfig) -> str:
    """Describe class weights, calibration and thresholds; empty without any."""
    said = ""
    if probe.class_weight == "balanced":
        said += ", balanced class weights"
    if probe.calibration != "none":
        said += f", {probe.calibration} calibration on validation"
    if probe.threshold != "default":
        wanted = f" of {probe.precision:g}" if probe.threshold == "precision" else ""
        said += f", thresholds by {probe.threshold}{wanted} on validation"
    return said


def _rows_of_probes(graph: Graph) -> str:
    """Describe the rows that probes are fitted on."""
    probe = graph.config.probe
    if probe.protocol == "nested_cv":
        return "all rows of the three splits but those of one fold"
    if probe.shots:
        drawn = f", drawn {probe.few_shot_samples} times" if probe.few_shot_samples > 1 else ""
        return f"{probe.shots} of each class{drawn}"
    return _rows(graph.target(name) for name in graph.config.experiment.targets)


def _describe_score(probe: ProbeConfig) -> str:
    """Describe which rows are scored."""
    if probe.protocol == "nested_cv":
        return f"each row scored once, in {probe.outer_folds} outer folds over all rows"
    return f"scored once on {probe.score_on}"


def _describe_vectors(graph: Graph) -> str:
    """Describe the positions and layers that probes are fitted on, and what each probe chooses."""
    probe = graph.config.probe
    choices = {"position": probe.positions, "layer": probe.layers}
    chosen = " and ".join(name for name, choice in choices.items() if choice == "best")
    said = f"{_describe_positions(graph)} of {_describe_layers(graph)}"
    if graph.probe_pooling.norm == "layer":
        said += f", {SCALED}"
    return f"{said}; cross-validation on train chooses the {chosen}" if chosen else said


def _describe_positions(graph: Graph) -> str:
    """Describe the positions of the vectors that probes are fitted on."""
    position = graph.probe_pooling.position
    if isinstance(position, str):
        return f"{position} pooling"
    if graph.config.probe.positions == "best":
        return f"{_listed(position, 'or')} pooling"
    return f"{_listed(position, 'and')} pooling, side by side,"


def _describe_layers(graph: Graph) -> str:
    """Describe the layers of the vectors that probes are fitted on."""
    pooling, choice = graph.probe_pooling, graph.config.probe.layers
    kept = f"the last {pooling.last_k} layers"
    match pooling.layers:
        case tuple():
            numbers = f"layers {_listed(pooling.layers, 'and')}"
            of_list = {"joined": f"{numbers}, side by side", "last": f"layer {max(pooling.layers)}"}
            return of_list.get(choice, f"one of {numbers}")
        case "concat_last":
            of_last = {"joined": f"{kept}, side by side", "last": "the last layer"}
            return of_last.get(choice, f"one of {kept}")
        case "mean_last":
            return f"{kept}, averaged"
        case "single":
            return f"layer {pooling.layer}"
        case "last":
            return "the last layer"
        case "mix":
            return "a learned mix of all layers"
    assert_never(pooling.layers)


def _listed(values: Sequence[str | int], word: str) -> str:
    """Return `a, b and c`, with `and` or `or`."""
    *first, last = map(str, values)
    return f"{', '.join(first)} {word} {last}" if first else last


def _describe_pairs(graph: Graph) -> list[str]:
    """Describe how the texts of pairs are read, if a target has pairs."""
    targets = [graph.target(name) for name in graph.config.experiment.targets]
    paired = [task.name for task in targets if task.train.pairs is not None]
    return [f"Pairs ({', '.join(paired)}): {PAIRS[graph.config.pairs]}."] if paired else []


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def _rows(tasks: Iterable[Task]) -> str:
    return ", ".join(f"{task.name} {len(task.train)}" for task in tasks)
