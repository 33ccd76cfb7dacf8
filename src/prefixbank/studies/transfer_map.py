"""Every source to every target.

Trainings on the targets from a cold start and from each source's prefix, and from what retrieval
picks.

Source: Vu et al. 2022 (2110.07904), sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from prefixbank.choices import Joint
from prefixbank.reports.transfer_map import step as map_report
from prefixbank.reports.transfer_map.study import Trained, TransferMap
from prefixbank.runtime.context import Context
from prefixbank.runtime.unit import Waiting
from prefixbank.runtime.waves import run_walk
from prefixbank.steps import average
from prefixbank.steps.score_prefix import step as score_prefix
from prefixbank.steps.train_prefix import step as train_prefix
from prefixbank.store.artifact import Entry
from prefixbank.studies.graph import Experiment, Graph, Outcome
from prefixbank.studies.map_checks import check_map
from prefixbank.studies.protocol import map_facts
from prefixbank.transfer.source_tasks import of_nearest_kind
from prefixbank.transfer.sources import Target, nearest
from prefixbank.transfer.task_embeddings import Comparison

COLD = "cold"


def run_map(context: Context, experiment: Experiment) -> Entry | Waiting:
    """Plan the map, say how much of it is there, then make the rest; return the report.

    A worker makes its share.

    Raises:
        UsageError: the map means nothing; see `map_checks`.
    """
    asked = experiment.config.experiment
    sources = {name: experiment.recipe_for(name).prefix for name in asked.sources}
    check_map(
        asked, sources, {name: experiment.target_recipe_for(name).prefix for name in asked.targets}
    )
    context.encoder_files(experiment.config.encoder)  # before the plan, which may make nothing
    return run_walk(
        context,
        asked.name,
        lambda walking: _Map(graph=Graph(context=walking, experiment=experiment)).walk(),
    )


@dataclass(kw_only=True)
class _Map:
    """The trainings of a map, by target, by what they start from, and by seed.

    Each with its score on test rows, or what that waits for.
    """

    graph: Graph
    cells: dict[str, dict[str, dict[int, Trained | Waiting]]] = field(default_factory=dict)

    @property
    def comparison(self) -> Comparison:
        """Return how sources are compared with targets."""
        asked = self.graph.config.experiment.transfer
        return Comparison(similarity=asked.similarity, compare=asked.compare)

    def walk(self) -> Outcome:
        """Go through all units in order; a planning context makes none of them."""
        graph, asked = self.graph, self.graph.config.experiment
        sources = {
            source: {seed: graph.prefix(source, seed) for seed in asked.seeds}
            for source in asked.sources
        }
        for seed in asked.seeds:
            by_seed = {source: prefixes[seed] for source, prefixes in sources.items()}
            for target in asked.targets:
                cold = self.train(target, COLD, None, seed)
                for source, prefix in by_seed.items():
                    self.train(target, source, prefix, seed)
                self.retrieve(target, cold, by_seed, seed)
        every = (
            cell
            for starts in self.cells.values()
            for seeds in starts.values()
            for cell in seeds.values()
        )
        waiting = next((cell for cell in every if isinstance(cell, Waiting)), None)
        if waiting is not None:
            return graph.waits(map_report.STEP, asked.name, waiting)
        return graph.ensure(
            map_report.unit(
                self.study(sources), bootstrap_samples=graph.config.probe.bootstrap_samples
            )
        )

    def train(self, target: str, start: str, prefix: Outcome | None, seed: int) -> Outcome:
        """Train on a target from a prefix, or cold, and return it with its score on test rows."""
        graph, config = self.graph, self.graph.config
        name = graph.named(f"{target}-from-{start.replace(' ', '-')}", seed)
        recipe = replace(graph.experiment.target_recipe_for(target), seed=seed)
        asked = Target(task=graph.target(target), files=graph.files, recipe=recipe)
        if isinstance(prefix, Waiting):
            trained: Outcome = graph.waits(train_prefix.STEP, name, prefix)
        else:
            trained = graph.ensure(asked.unit(graph.context, prefix, name))
        seeds = self.cells.setdefault(target, {}).setdefault(start, {})
        if isinstance(trained, Waiting):
            seeds[seed] = graph.waits(score_prefix.STEP, name, trained)
            return trained
        bootstrap_samples = config.probe.bootstrap_samples
        score = graph.ensure(
            score_prefix.unit(
                graph.context,
                trained,
                asked.task,
                asked.files,
                name,
                bootstrap_samples=bootstrap_samples,
            )
        )
        seeds[seed] = score if isinstance(score, Waiting) else Trained(prefix=trained, score=score)
        return trained

    def retrieve(
        self, target: str, cold: Outcome, sources: Mapping[str, Outcome], seed: int
    ) -> None:
        """Train on a target from what is made of its k most similar sources together.

        What is made of one is that source's prefix.
        """
        asked = self.graph.config.experiment.transfer
        for method in asked.methods:
            for k in asked.ks:
                if k > 1:
                    start = self.joined(method, k, f"{target}-{method}-{k}", cold, sources, seed)
                    self.train(target, f"{method} top-{k}", start, seed)

    def joined(
        self,
        method: Joint,
        k: int,
        name: str,
        cold: Outcome,
        sources: Mapping[str, Outcome],
        seed: int,
    ) -> Outcome:
        """Return what is made of the k sources that are most similar to a target.

        In the order of the experiment.
        """
        name = self.graph.named(name, seed)
        made = [one for one in (cold, *sources.values()) if isinstance(one, Entry)]
        if len(made) <= len(sources):
            missing = next(one for one in (cold, *sources.values()) if isinstance(one, Waiting))
            return self.graph.waits(
                train_prefix.STEP if method == "mixture" else average.STEP, name, missing
            )
        similar = self.comparison.of(made[0], made[1:])
        order = nearest(similar, len(sources))
        if method == "mixture":
            near = of_nearest_kind(order, [self.graph.source(source).kind for source in sources], k)
            return self.graph.mixture([list(sources)[place] for place in sorted(near)], name, seed)
        places = sorted(order[:k])
        return self.graph.ensure(
            average.unit_of_nearest([made[1 + place] for place in places], similar[places], name)
        )

    def study(self, sources: Mapping[str, Mapping[int, Outcome]]) -> TransferMap:
        """Return what the report is made of, now that all is made."""
        asked = self.graph.config.experiment
        made = {
            target: {start: _made(seeds) for start, seeds in starts.items()}
            for target, starts in self.cells.items()
        }
        joined = [
            start for start in next(iter(made.values())) if start not in (COLD, *asked.sources)
        ]
        return TransferMap(
            facts=map_facts(self.graph),
            comparison=self.comparison,
            ks=asked.transfer.ks,
            sources={
                name: {seed: one for seed, one in seeds.items() if isinstance(one, Entry)}
                for name, seeds in sources.items()
            },
            cold={target: starts[COLD] for target, starts in made.items()},
            warm={
                target: {source: starts[source] for source in asked.sources}
                for target, starts in made.items()
            },
            combined={
                start: {target: starts[start] for target, starts in made.items()}
                for start in joined
            },
        )


def _made(seeds: Mapping[int, Trained | Waiting]) -> dict[int, Trained]:
    return {seed: cell for seed, cell in seeds.items() if isinstance(cell, Trained)}
