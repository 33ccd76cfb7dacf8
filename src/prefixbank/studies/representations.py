"""The representations that an experiment compares, and the vectors of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from prefixbank.choices import BankRule, Representation, SharedRepresentation
from prefixbank.config.commands import ExperimentConfig
from prefixbank.config.schema import CombineConfig
from prefixbank.data.tasks.task import Task
from prefixbank.runtime.unit import Planned
from prefixbank.studies.graph import Graph, Training, Vectors

PLAIN, BANK, MULTITASK = "plain encoder", "bank", "multi-task encoder"

TITLES: Mapping[SharedRepresentation, str] = {
    "plain": PLAIN,
    "bank": BANK,
    "concat_prefixes": "concat_prefixes",
    "concat_vectors": "concat_vectors",
    "mean_vectors": "mean_vectors",
    "mean_prefixes": "mean_prefixes",
    "plain_and_bank": "plain + bank",
    "blocks": "blocks alone",
    "deep": "deep bank",
    "plain_and_deep": "plain + deep bank",
    "multitask": MULTITASK,
    "finetuned": "fine-tuned on target",
    "student": "student for target",
    "shared_student": "student of multi-task encoder",
    "random": "random prefixes",
    "shuffled": "shuffled labels",
}


WITHOUT_PREFIXES = frozenset(
    {
        "plain",
        "multitask",
        "finetuned",
        "student",
        "shared_student",
        "random",
        "shuffled",
        "deep",
        "plain_and_deep",
    }
)
"""Representations that need no prefix trained on the labels of a source."""


OneBank = Literal[
    "bank", "concat_prefixes", "mean_prefixes", "blocks", "deep", "random", "shuffled"
]
"""Representations that are one bank of all sources."""


def passes(representation: SharedRepresentation, sources: int) -> int:
    """Return the forward passes for one text."""
    several = {
        "concat_vectors": sources,
        "mean_vectors": sources,
        "plain_and_bank": 2,
        "plain_and_deep": 2,
    }
    return several.get(representation, 1)


def whole_bank(experiment: ExperimentConfig, rule: BankRule) -> SharedRepresentation | None:
    """Return the representation that is the bank of all sources under the experiment's rule.

    None if it is not compared.
    """
    return next(
        (name for name in TITLES if name in ("bank", rule) and name in experiment.representations),
        None,
    )


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A representation that an experiment compares, or a variant of one.

    Args:
        graph: its units.
        of: the representation.
    """

    graph: Graph
    of: SharedRepresentation

    @property
    def title(self) -> str:
        """How reports name it."""
        return self.graph.variant or TITLES[self.of]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that it is made with."""
        return seeds_of(self.graph, self.of, self.graph.variant)

    @property
    def passes(self) -> int:
        """The forward passes for one text."""
        return passes(self.of, len(self.graph.config.experiment.sources))

    @property
    def is_shared(self) -> bool:
        """Whether one encoder serves all targets, not one for each."""
        return self.of not in ("finetuned", "student")

    def vectors(self, target: str, seed: int) -> Vectors:
        """Embed a target with one seed."""
        return vectors(self.graph, self.of, target, seed)


def compared(graph: Graph) -> list[Compared]:
    """Return what an experiment compares: representations in the order of `TITLES`, variants."""
    settings = graph.config.experiment
    return [
        *(Compared(graph=graph, of=name) for name in TITLES if name in settings.representations),
        *(
            Compared(graph=graph.of_variant(name), of=representation_in(variant))
            for name, variant in settings.variants.items()
        ),
    ]


def representation_in(variant: Sequence[str]) -> SharedRepresentation:
    """Return the representation that a variant is one of.

    Raises:
        LookupError: it names none.
    """
    return next(name for name in TITLES if name in variant[:1])


def seeds_of(graph: Graph, representation: Representation, variant: str = "") -> tuple[int, ...]:
    """Return the seeds of a representation, or of a variant of it.

    The plain encoder does not depend on the seed, and some representations use one seed only.
    """
    seeds, single_seed = graph.seeds, graph.config.experiment.single_seed
    is_single = representation == "plain" or (variant or representation) in single_seed
    return seeds[:1] if is_single else seeds


def vectors(graph: Graph, representation: SharedRepresentation, target: str, seed: int) -> Vectors:
    """Embed a target under one representation and one seed."""
    title = graph.named(TITLES[representation], seed)
    match representation:
        case "plain":
            return graph.vectors(target, None, _plain_title(graph))
        case "concat_vectors" | "mean_vectors":
            passes = [
                single(graph, source, target, seed) for source in graph.config.experiment.sources
            ]
            return graph.joined(
                passes,
                "concat" if representation == "concat_vectors" else "mean",
                f"{target} {title}",
            )
        case "plain_and_bank":
            return _beside_plain(graph, "bank", target, seed, title)
        case "plain_and_deep":
            return _beside_plain(graph, "deep", target, seed, title)
        case "multitask":
            return graph.vectors_of_encoder(target, multitask(graph, seed), title)
        case "finetuned":
            return graph.vectors_of_encoder(target, finetuned(graph, target, seed), title)
        case "student":
            name = graph.named(f"{target}-student", seed)
            student = graph.student(
                finetuned(graph, target, seed), [graph.target(target)], name, seed
            )
            return graph.vectors_of_student(target, student, title)
        case "shared_student":
            name = graph.named(f"{graph.config.experiment.name}-student", seed)
            student = graph.student(multitask(graph, seed), _sources(graph), name, seed)
            return graph.vectors_of_student(target, student, title)
        case _:
            return graph.vectors(target, _bank_of(graph, representation, seed), title)


def _beside_plain(
    graph: Graph, representation: SharedRepresentation, target: str, seed: int, title: str
) -> Vectors:
    """Embed with the plain encoder and under a representation, side by side."""
    plain = graph.vectors(target, None, _plain_title(graph))
    both = [plain, vectors(graph, representation, target, seed)]
    return graph.joined(both, "concat", f"{target} {title}")


def _bank_of(graph: Graph, representation: OneBank, seed: int) -> Planned:
    """Combine the bank of a representation that is one bank of all sources."""
    match representation:
        case "bank":
            return full_bank(graph, seed)
        case "concat_prefixes" | "mean_prefixes":
            return rule_bank(graph, representation, seed, "trained")
        case "blocks":
            name = f"{graph.config.experiment.name}-blocks-seed{seed}"
            combination = replace(graph.config.combine, plain=False)
            return graph.bank(graph.prefixes(seed), name, combination)
        case "deep":
            return deep_bank(graph, seed)
        case "random" | "shuffled":
            return rule_bank(graph, graph.rule, seed, representation)
    assert_never(representation)


def full_bank(graph: Graph, seed: int) -> Planned:
    """Combine all sources under the experiment's rule; this bank gets a ref."""
    refs = [f"prefix/{graph.named(source, seed)}" for source in graph.config.experiment.sources]
    return graph.bank(
        graph.prefixes(seed),
        graph.named(graph.config.experiment.name, seed),
        graph.config.combine,
        refs,
    )


def deep_bank(graph: Graph, seed: int) -> Planned:
    """Combine deep prefixes of all sources, in an experiment with read-outs."""
    name = f"{graph.config.experiment.name}-deep-seed{seed}"
    return graph.bank(graph.prefixes(seed, "deep"), name, CombineConfig())


def rule_bank(graph: Graph, rule: BankRule, seed: int, training: Training) -> Planned:
    """Combine all sources under another rule, or control prefixes under the same rule."""
    name = (
        f"{graph.config.experiment.name}-{rule if training == 'trained' else training}-seed{seed}"
    )
    combination = graph.config.combine if rule == graph.rule else CombineConfig(rule=rule)
    return graph.bank(graph.prefixes(seed, training), name, combination)


def multitask(graph: Graph, seed: int) -> Planned:
    """Fine-tune the encoder on all sources."""
    return graph.multitask(
        _sources(graph), graph.named(graph.config.experiment.name, seed), seed, published=True
    )


def finetuned(graph: Graph, target: str, seed: int) -> Planned:
    """Fine-tune the encoder on a target alone."""
    return graph.multitask([graph.target(target)], f"{target}-only-seed{seed}", seed)


def _sources(graph: Graph) -> list[Task]:
    return [graph.source(source) for source in graph.config.experiment.sources]


def _plain_title(graph: Graph) -> str:
    """Return the title of the plain encoder, which has no seed."""
    return f"{PLAIN}-{graph.variant}" if graph.variant else PLAIN


def single(graph: Graph, source: str, target: str, seed: int) -> Vectors:
    """Embed a target with the prefix of one source."""
    name = f"{graph.config.experiment.name}-only-{source}-seed{seed}"
    bank = graph.bank({source: graph.prefix(source, seed)}, name, CombineConfig())
    return graph.vectors(target, bank, graph.named(f"only {source}", seed))


def without(graph: Graph, source: str, target: str, seed: int) -> Vectors:
    """Embed a target with the bank of all sources but one; its weight is left out, too."""
    rest = {name: prefix for name, prefix in graph.prefixes(seed).items() if name != source}
    left_out = graph.config.experiment.sources.index(source)
    weights = tuple(
        weight for number, weight in enumerate(graph.config.combine.weights) if number != left_out
    )
    bank = graph.bank(
        rest,
        f"{graph.config.experiment.name}-without-{source}-seed{seed}",
        replace(graph.config.combine, weights=weights),
    )
    return graph.vectors(target, bank, graph.named(f"without {source}", seed))
