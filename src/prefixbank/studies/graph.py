"""The graph of an experiment: prefixes, banks, multi-task encoders, vectors and probes.

Methods plan or run a unit, as the context says, and return a handle of its artifact. No unit is
planned or run twice in one graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, Protocol, assert_never

import numpy as np

from prefixbank.artifacts.embeddings import STEP as EMBED_STEP
from prefixbank.artifacts.embeddings import Join
from prefixbank.artifacts.encoder import encoder_of
from prefixbank.artifacts.pooling import pooling_of
from prefixbank.artifacts.source_head import all_block_names
from prefixbank.choices import UNTRAINED_INITS, BankRule
from prefixbank.config.commands import RunExperimentConfig, finetuned_recipe
from prefixbank.config.schema import (
    BankRecipe,
    CombineConfig,
    EmbedRecipe,
    MultitaskRecipe,
    OptimConfig,
    PoolingConfig,
    PrefixRecipe,
    SamplingConfig,
    StoredVectors,
    StudentRecipe,
    TaskConfig,
    Trained,
    effective,
    recipe_of,
)
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.tasks.task import Task
from prefixbank.runtime.context import Context
from prefixbank.runtime.unit import Planned, Unit
from prefixbank.steps import combine
from prefixbank.steps.embed import step as embed
from prefixbank.steps.embed.spec import specs_of
from prefixbank.steps.join import step as join
from prefixbank.steps.probe import step as probe
from prefixbank.steps.probe.splits import pairs_for, splits_of
from prefixbank.steps.probe.step import Probed
from prefixbank.steps.probe.texts import probe_parts
from prefixbank.steps.text_cost import step as text_cost
from prefixbank.steps.text_cost.passes import Pass
from prefixbank.steps.train_multitask import step as train_multitask
from prefixbank.steps.train_prefix import step as train_prefix
from prefixbank.steps.train_prefix.mixture import Mixture
from prefixbank.steps.train_student import step as train_student
from prefixbank.store.artifact import Entry
from prefixbank.store.key import key_of
from prefixbank.transfer.source_tasks import SIZE_CAP

Training = Literal["trained", "random", "shuffled", "deep"]

RANDOM_SEEDS = 1_000_003
"""Distance between the seeds of two untrained prefixes, which need different start values."""


class ChangeRecipe(Protocol):
    """Returns a recipe changed by settings."""

    def __call__(self, recipe: Trained, overrides: Sequence[str]) -> Trained:
        """Return `recipe` with `KEY=VALUE` settings changed."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment, with the look-ups that depend on the command's folders.

    Args:
        config: the composed configuration.
        find_task: returns the configuration of a task by name.
        change: returns a recipe changed by `KEY=VALUE` settings.
        vary: returns an experiment changed by `KEY=VALUE` settings.
    """

    config: RunExperimentConfig
    find_task: Callable[[str], TaskConfig]
    change: ChangeRecipe
    vary: Callable[[RunExperimentConfig, Sequence[str]], RunExperimentConfig]

    def variant(self, name: str) -> Experiment:
        """Return the experiment with the settings of one of its variants."""
        settings = self.config.experiment.variants[name][1:]
        return replace(self, config=self.vary(self.config, settings))

    def recipe_for(self, source: str) -> PrefixRecipe:
        """Return the recipe of a source task, with its overrides."""
        return self.change(
            recipe_of(self.config, PrefixRecipe), self.config.experiment.overrides.get(source, ())
        )

    def target_recipe_for(self, target: str) -> PrefixRecipe:
        """Return the recipe of training on a target, with its overrides."""
        experiment = self.config.experiment
        return self.change(
            recipe_of(self.config, PrefixRecipe),
            (*experiment.transfer.overrides, *experiment.overrides.get(target, ())),
        )


Embedder = Callable[[], tuple[Entry | None, EncoderFiles, PoolingConfig]]
"""Returns what a text passes through: bank, encoder, and pooling of the plain encoder. It raises
`NotMade` if one does not exist yet."""


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """Handles of a target's vectors.

    Args:
        embeddings: one, or the blocks of a bank, which lie side by side.
        passes: what a text passes through, one after the other.
        bank: the bank of the blocks.
        blocks: their names.
    """

    embeddings: tuple[Planned, ...]
    passes: tuple[Embedder, ...]
    bank: Planned | None = None
    blocks: tuple[str, ...] = ()

    def probed(self) -> Probed:
        """Return what a probe is fitted on; raises `NotMade` if it does not exist yet."""
        return Probed(
            embeddings=tuple(one.entry for one in self.embeddings),
            bank=None if self.bank is None else self.bank.entry,
            blocks=self.blocks,
        )


@dataclass(kw_only=True)
class Graph:
    """The units of one experiment, or of a variant of it.

    Args:
        context: plans or runs them.
        experiment: the experiment, with the settings of the variant.
        variant: its name; empty: the experiment itself. What a variant makes gets no ref.
        planned: what was planned, by key, or by step and name until the key is known.
    """

    context: Context
    experiment: Experiment
    variant: str = ""
    planned: dict[str, Planned] = field(default_factory=dict)

    def of_variant(self, name: str) -> Graph:
        """Return the units of a variant; what it shares with others is still made once."""
        return replace(self, experiment=self.experiment.variant(name), variant=name)

    @property
    def config(self) -> RunExperimentConfig:
        """The experiment's configuration."""
        return self.experiment.config

    @property
    def files(self) -> EncoderFiles:
        """The frozen encoder."""
        return self.context.encoder_files(self.config.encoder)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of training."""
        return self.config.experiment.seeds

    @property
    def rule(self) -> BankRule:
        """The rule of the bank of all sources."""
        return combine.rule_for(self.config.combine.rule, self.config.prefix.kind)

    @property
    def probe_pooling(self) -> PoolingConfig:
        """Pooling of the vectors that are probed; training uses `config.pooling`."""
        return probe_pooling(self.config)

    def deep_recipe(self, source: str) -> PrefixRecipe:
        """Return the recipe of a source's deep prefix in an experiment with others."""
        recipe = self.experiment.recipe_for(source)
        return self.experiment.change(recipe, ("prefix.kind=deep", *self.config.experiment.deep))

    @property
    def finetuned_recipe(self) -> MultitaskRecipe:
        """The recipe of fine-tuning an encoder."""
        return self.experiment.change(
            finetuned_recipe(self.config), self.config.experiment.finetuned
        )

    def named(self, text: str, seed: int) -> str:
        """Return a name with the variant, if it is one, and with the seed, if there are several."""
        seeded = [f"seed{seed}"] if len(self.seeds) > 1 else []
        return "-".join([text, *([self.variant] if self.variant else []), *seeded])

    def ensure(self, unit: Unit) -> Planned:
        """Plan or run a unit, once."""
        key = key_of(unit.document)
        if key not in self.planned:
            self.planned[key] = self.context.ensure(
                replace(unit, ref=None) if self.variant else unit
            )
        return self.planned[key]

    def ensure_from(self, step: str, name: str, build: Callable[[], Unit]) -> Planned:
        """Plan or run, once, a unit whose key depends on others: see `Context.ensure_from`."""
        label = f"{step} {self.variant} {name}"
        if label in self.planned:
            return self.planned[label]
        planned = self.context.ensure_from(step, name, build, self.ensure)
        if not planned.key:
            self.planned[label] = planned
        return planned

    def source(self, name: str) -> Task:
        """Return a source task, limited to the rows of the experiment."""
        return self.context.task(self.sized(name, self.config.experiment.source_rows))

    def target(self, name: str) -> Task:
        """Return a target task, limited to the rows of the experiment."""
        return self.context.task(self.sized(name, self.config.experiment.target_rows))

    def sized(self, name: str, rows: int) -> TaskConfig:
        """Return a task's configuration with at most `rows` train rows.

        The task's own limit applies if it is lower.
        """
        config = self.experiment.find_task(name)
        return replace(
            config,
            max_rows=_smaller(config.max_rows, rows),
            max_validation_rows=_smaller(
                config.max_validation_rows, self.config.experiment.validation_rows
            ),
        )

    def prefix(
        self, name: str, seed: int, training: Training = "trained", task: Task | None = None
    ) -> Planned:
        """Train the prefix of a source, or of other examples of it.

        Args:
            name: the source.
            seed: of training.
            training: `random` is untrained, with the start values of the recipe unless these are a
                trained prefix; `shuffled` is trained on shuffled labels, `deep` is a
                deep prefix in an experiment with others.
            task: other examples; None: those of the source.
        """
        return self.ensure(self._prefix_unit(name, seed, training, task))

    def _prefix_unit(
        self, name: str, seed: int, training: Training = "trained", task: Task | None = None
    ) -> Unit:
        examples = task or self.source(name)
        recipe = replace(self.experiment.recipe_for(name), seed=seed)
        if training == "trained":
            unit = train_prefix.unit(
                self.context, examples, self.files, recipe, self.named(name, seed)
            )
            return unit if task is None else replace(unit, ref=None)
        if training == "deep":
            recipe = replace(self.deep_recipe(name), seed=seed)
        elif training == "random":
            number = self.config.experiment.sources.index(name) + 1
            start = recipe.prefix
            if start.init not in UNTRAINED_INITS:
                start = replace(start, init="random")
            recipe = replace(
                recipe, prefix=start, optim=OptimConfig(epochs=0), seed=seed + RANDOM_SEEDS * number
            )
        elif training == "shuffled":
            examples = shuffled(examples, seed)
        else:
            assert_never(training)
        unit = train_prefix.unit(
            self.context, examples, self.files, recipe, f"{name}-{training}-seed{seed}"
        )
        return replace(unit, ref=None)

    def mixture_unit(self, names: Sequence[str], name: str, seed: int) -> Unit:
        """Return the unit that trains a prefix on several source tasks together.

        It uses the recipe of the experiment. A single task has the unit of its own prefix.
        """
        if len(names) == 1:
            return self._prefix_unit(names[0], seed)
        mixture = Mixture(tasks=tuple(self.source(one) for one in names), size_cap=SIZE_CAP)
        recipe = replace(recipe_of(self.config, PrefixRecipe), seed=seed)
        return replace(train_prefix.unit(self.context, mixture, self.files, recipe, name), ref=None)

    def prefixes(self, seed: int, training: Training = "trained") -> dict[str, Planned]:
        """Train the prefixes of all sources."""
        return {name: self.prefix(name, seed, training) for name in self.config.experiment.sources}

    def bank(
        self,
        prefixes: Mapping[str, Planned],
        name: str,
        combination: CombineConfig,
        refs: Sequence[str] = (),
    ) -> Planned:
        """Combine prefixes. Only a bank whose prefixes have refs gets one."""
        refs = () if self.variant else refs

        def build() -> Unit:
            made = [prefix.entry for prefix in prefixes.values()]
            pooling = self._pooling_of(next(iter(prefixes.values())))
            recipe = BankRecipe(combine=combination, pooling=pooling)
            unit = combine.unit(made, recipe, name, refs)
            return unit if refs else replace(unit, ref=None)

        return self.ensure_from(combine.STEP, name, build)

    def multitask(
        self, tasks: Sequence[Task], name: str, seed: int, *, published: bool = False
    ) -> Planned:
        """Fine-tune an encoder on tasks; it gets a ref only if it is published."""
        recipe = replace(self.finetuned_recipe, seed=seed)
        unit = train_multitask.unit(self.context, tasks, self.files, recipe, name)
        return self.ensure(unit if published else replace(unit, ref=None))

    def student(self, teacher: Planned, tasks: Sequence[Task], name: str, seed: int) -> Planned:
        """Distil a fine-tuned encoder on the tasks that it was trained on."""
        sampling = {
            one.name: getattr(self.config.multitask, one.name) for one in fields(SamplingConfig)
        }
        recipe = StudentRecipe(
            student=self.config.student,
            multitask=SamplingConfig(**sampling),
            optim=self.finetuned_recipe.optim,
            seed=seed,
        )

        def build() -> Unit:
            unit = train_student.unit(self.context, tasks, teacher.entry, recipe, name)
            return replace(unit, ref=None)

        return self.ensure_from(train_student.STEP, name, build)

    def vectors(self, target: str, bank: Planned | None, name: str) -> Vectors:
        """Embed a target's texts with a bank; None is the plain encoder."""
        return self._embedded(
            target,
            name,
            lambda: (bank.entry if bank else None, self.files, self.probe_pooling),
            bank,
        )

    def vectors_of_encoder(self, target: str, encoder: Planned, name: str) -> Vectors:
        """Embed a target's texts with a fine-tuned encoder."""
        return self._embedded(
            target, name, lambda: (None, encoder_of(encoder.entry), self._pooling_of(encoder))
        )

    def vectors_of_student(self, target: str, student: Planned, name: str) -> Vectors:
        """Embed a target's texts with a student, pooled as in training: it lacks other layers."""
        return self._embedded(
            target, name, lambda: (None, encoder_of(student.entry), pooling_of(student.entry))
        )

    def _pooling_of(self, trained: Planned) -> PoolingConfig:
        """Return how the vectors of something trained are pooled, to be probed.

        As it was trained, if that was learned with it.
        """
        own = pooling_of(trained.entry)
        return own if own.is_learned else self.probe_pooling

    def _embedded(
        self,
        target: str,
        name: str,
        embedder: Embedder,
        bank: Planned | None = None,
    ) -> Vectors:
        """Embed a target's texts, with all blocks of a bank in one pass."""
        name = f"{target} {name}"
        units: list[Unit] = []

        def build() -> Unit:
            units.extend(self._embed_units(target, *embedder(), name))
            return units[0]

        first = self.ensure_from(EMBED_STEP, name, build)
        made = (first, *(self.ensure(unit) for unit in units[1:]))
        if bank is None or not bank.is_made:
            return Vectors(embeddings=made, passes=(embedder,))
        blocks = tuple(all_block_names(bank.entry))
        return Vectors(
            embeddings=made, passes=(embedder,), bank=bank if blocks else None, blocks=blocks
        )

    def _embed_units(
        self,
        target: str,
        bank: Entry | None,
        files: EncoderFiles,
        pooling: PoolingConfig,
        name: str,
    ) -> list[Unit]:
        task = self.target(target)
        recipe = EmbedRecipe(
            max_length_tokens=self.config.max_length_tokens,
            precision=self.config.precision,
            pairs=pairs_for(self.config.pairs, task),
            **vars(self._stored),
        )
        parts = probe_parts(task, splits_of(self.config.probe), recipe)
        specs = specs_of(bank, files, recipe, pooling)
        sought = [embed.Sought(spec=spec) for spec in specs]
        return embed.units(self.context, sought, parts, name)

    def joined(self, vectors: Sequence[Vectors], rule: Join, name: str) -> Vectors:
        """Concatenate or average vectors."""
        every = [one for each in vectors for one in each.embeddings]
        joined = self.ensure_from(
            join.STEP, name, lambda: join.unit([one.entry for one in every], rule, name)
        )
        passes = tuple(one for each in vectors for one in each.passes)
        return Vectors(embeddings=(joined,), passes=passes)

    def text_cost(self, vectors: Vectors, name: str) -> Planned:
        """Count the operations of what a text passes through to become a vector."""
        return self.ensure_from(
            text_cost.STEP,
            name,
            lambda: text_cost.unit(
                self.context,
                [Pass(*embedder()) for embedder in vectors.passes],
                self.config.experiment.cost_tokens,
                self._stored,
                name,
            ),
        )

    @property
    def _stored(self) -> StoredVectors:
        """How vectors are stored."""
        return StoredVectors(
            **{one.name: getattr(self.config, one.name) for one in fields(StoredVectors)}
        )

    def probe(self, target: str, vectors: Vectors, name: str) -> Planned:
        """Probe a target's vectors."""
        name = f"{target} {name}"
        return self.ensure_from(
            probe.STEP,
            name,
            lambda: probe.unit(
                vectors.probed(),
                self.target(target),
                self.config.probe,
                name,
                choose_reading=self.config.pairs == "best",
            ),
        )


def probe_pooling(config: RunExperimentConfig) -> PoolingConfig:
    """Return the pooling of the vectors that an experiment probes."""
    layers = config.experiment.probe_last_layers
    return effective(
        replace(config.pooling, layers="concat_last", last_k=layers) if layers else config.pooling
    )


def _smaller(own: int, limit: int) -> int:
    """Return the smaller of two limits; 0 is no limit."""
    return min(own, limit) if own and limit else own or limit


def shuffled(task: Task, seed: int) -> Task:
    """Return the task with shuffled labels of train and validation rows.

    Only the frequencies of labels can be learned.
    """
    rng = np.random.default_rng(seed)
    train, validation = (
        replace(split, labels=rng.permutation(split.labels))
        for split in (task.train, task.validation)
    )
    return replace(task, train=train, validation=validation)
