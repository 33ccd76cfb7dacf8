"""Transfer maps: train each target from a cold start, from each source, and from retrieval.

Source: Vu et al. 2022 (2110.07904), sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from prefixbank.choices import Joint
from prefixbank.reports.transfer_map import step as map_report
from prefixbank.reports.transfer_map.study import Trained, TransferMap
from prefixbank.runtime.context import Context
from prefixbank.runtime.unit import Planned, Unit
from prefixbank.runtime.waves import plan_and_run
from prefixbank.steps import average
from prefixbank.steps.score_prefix import step as score_prefix
from prefixbank.steps.train_prefix import step as train_prefix
from prefixbank.studies.checks import check_map
from prefixbank.studies.graph import Experiment, Graph
from prefixbank.studies.protocol import map_facts
from prefixbank.transfer.source_tasks import of_nearest_kind
from prefixbank.transfer.sources import Target, nearest
from prefixbank.transfer.task_embeddings import Comparison

COLD = "cold"


def run_map(context: Context, experiment: Experiment) -> Planned:
    """Plan and run a transfer map; return its report.

    Raises:
        UsageError: the map has faults; see `check_map`.
    """
    settings = experiment.config.experiment
    sources = {name: experiment.recipe_for(name).prefix for name in settings.sources}
    check_map(
        settings,
        sources,
        {name: experiment.target_recipe_for(name).prefix for name in settings.targets},
    )
    context.encoder_files(experiment.config.encoder)  # a plan does not make the tiny encoder
    return plan_and_run(
        context,
        settings.name,
        lambda context: _Map(graph=Graph(context=context, experiment=experiment)).ensure_all(),
    )


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """One training run on a target, and its score on test rows."""

    prefix: Planned
    score: Planned

    @property
    def trained(self) -> Trained:
        """The artifacts of both."""
        return Trained(score=self.score.entry, prefix=self.prefix.entry)


@dataclass(kw_only=True)
class _Map:
    """The training runs of a map, by target, start and seed."""

    graph: Graph
    cells: dict[str, dict[str, dict[int, _Cell]]] = field(default_factory=dict)

    @property
    def comparison(self) -> Comparison:
        """Return how sources are compared with targets."""
        transfer = self.graph.config.experiment.transfer
        return Comparison(similarity=transfer.similarity, compare=transfer.compare)

    def ensure_all(self) -> Planned:
        """Plan or run all units in order; return the report."""
        graph, experiment = self.graph, self.graph.config.experiment
        sources = {
            source: {seed: graph.prefix(source, seed) for seed in experiment.seeds}
            for source in experiment.sources
        }
        for seed in experiment.seeds:
            by_seed = {source: prefixes[seed] for source, prefixes in sources.items()}
            for target in experiment.targets:
                cold = self.train(target, COLD, None, seed)
                for source, prefix in by_seed.items():
                    self.train(target, source, prefix, seed)
                self.retrieve(target, cold, by_seed, seed)
        bootstrap_samples = graph.config.probe.bootstrap_samples
        return graph.ensure_from(
            map_report.STEP,
            experiment.name,
            lambda: map_report.unit(self.study(sources), bootstrap_samples=bootstrap_samples),
        )

    def train(self, target: str, start: str, prefix: Planned | None, seed: int) -> Planned:
        """Train on a target from a prefix (None: a cold start), score it and return it."""
        graph, config = self.graph, self.graph.config
        name = graph.named(f"{target}-from-{start.replace(' ', '-')}", seed)
        recipe = replace(graph.experiment.target_recipe_for(target), seed=seed)
        setup = Target(task=graph.target(target), files=graph.files, recipe=recipe)
        trained = graph.ensure_from(
            train_prefix.STEP,
            name,
            lambda: setup.unit(graph.context, prefix.entry if prefix else None, name),
        )
        score = graph.ensure_from(
            score_prefix.STEP,
            name,
            lambda: score_prefix.unit(
                graph.context,
                trained.entry,
                setup.task,
                setup.files,
                name,
                bootstrap_samples=config.probe.bootstrap_samples,
            ),
        )
        seeds = self.cells.setdefault(target, {}).setdefault(start, {})
        seeds[seed] = _Cell(prefix=trained, score=score)
        return trained

    def retrieve(
        self, target: str, cold: Planned, sources: Mapping[str, Planned], seed: int
    ) -> None:
        """Train on a target from its k most similar sources joined, for each method and k > 1."""
        transfer = self.graph.config.experiment.transfer
        for method in transfer.methods:
            for k in transfer.ks:
                if k > 1:
                    start = self.joined(method, k, f"{target}-{method}-{k}", cold, sources, seed)
                    self.train(target, f"{method} top-{k}", start, seed)

    def joined(
        self,
        method: Joint,
        k: int,
        name: str,
        cold: Planned,
        sources: Mapping[str, Planned],
        seed: int,
    ) -> Planned:
        """Return the start made of the k sources most similar to a target, in their own order."""
        graph, name = self.graph, self.graph.named(name, seed)

        def build() -> Unit:
            target, entries = cold.entry, [prefix.entry for prefix in sources.values()]
            similar = self.comparison.of(target, entries)
            order = nearest(similar, len(sources))
            if method == "mixture":
                near = of_nearest_kind(order, [graph.source(source).kind for source in sources], k)
                return graph.mixture_unit([list(sources)[one] for one in sorted(near)], name, seed)
            chosen = sorted(order[:k])
            return average.unit_of_nearest([entries[one] for one in chosen], similar[chosen], name)

        step = train_prefix.STEP if method == "mixture" else average.STEP
        return graph.ensure_from(step, name, build)

    def study(self, sources: Mapping[str, Mapping[int, Planned]]) -> TransferMap:
        """Return the numbers of the report; raises `NotMade` if an artifact does not exist."""
        experiment = self.graph.config.experiment
        made = {
            target: {
                start: {seed: cell.trained for seed, cell in seeds.items()}
                for start, seeds in starts.items()
            }
            for target, starts in self.cells.items()
        }
        joined = [
            start for start in next(iter(made.values())) if start not in (COLD, *experiment.sources)
        ]
        return TransferMap(
            facts=map_facts(self.graph),
            comparison=self.comparison,
            ks=experiment.transfer.ks,
            sources={
                name: {seed: prefix.entry for seed, prefix in seeds.items()}
                for name, seeds in sources.items()
            },
            cold={target: starts[COLD] for target, starts in made.items()},
            warm={
                target: {source: starts[source] for source in experiment.sources}
                for target, starts in made.items()
            },
            combined={
                start: {target: starts[start] for target, starts in made.items()}
                for start in joined
            },
        )
