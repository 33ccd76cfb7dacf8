"""What choosing a bank's members is worth when a target has few labels.

Run: python -m benchmarks.selection --targets emotion,similarity --sources
polarity,topic,answer,entailment --prefix '{source}' --rows 200 or, after a study: python -m
benchmarks.selection --targets cr,subj --sources sst2,qqp,snli --data-root FOLDER

For each number of labels, and each of several stratified draws of so many train rows, probes are
fitted on the vectors of

* the plain encoder;
* the bank of all sources;
* the bank of the k sources whose task embeddings are nearest to the target's, after a short run on
  the rows of this draw alone;
* several banks of k random sources, the same for all draws, of which the mean counts;
* the bank that lacks one source: the one without which cross-validation on the rows of this draw
  scores best.

Members weigh equally in all banks (their weights sum to 1), so that banks differ in their members
only and each is embedded once; with --weighted there is also the bank of the k nearest as
`prefixbank transfer combine` weighs it. No choice reads other labels than those of the draw;
all probes are scored on test. Draws and seeds are averaged for each target, then targets; intervals
(95 %) are percentile bootstraps over the targets, and differences are paired.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.measure import RESULTS
from prefixbank.artifacts.json_files import read_json
from prefixbank.choices import Compare, Similarity
from prefixbank.commands.invocation import Invocation
from prefixbank.config.commands import TransferSimilarConfig
from prefixbank.config.compose import compose
from prefixbank.config.schema import (
    BankRecipe,
    CombineConfig,
    EmbedRecipe,
    PrefixRecipe,
    ProbeConfig,
    recipe_of,
)
from prefixbank.core.average import retrieval_weights
from prefixbank.core.probe.fit import fit_probe
from prefixbank.core.probe.model import ProbeModel
from prefixbank.core.stats.bootstrap import percentile_interval
from prefixbank.core.stats.metrics import score
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.tasks.splits import sample, strata_of
from prefixbank.data.tasks.task import SPLITS, Task
from prefixbank.runtime.context import Context
from prefixbank.steps import combine
from prefixbank.steps.embed import step as embed
from prefixbank.steps.embed.spec import EmbeddingSpec
from prefixbank.steps.probe.texts import probe_parts, read_splits
from prefixbank.steps.train_prefix import step as train_prefix
from prefixbank.store.artifact import Entry
from prefixbank.transfer.select import DIGITS
from prefixbank.transfer.sources import Source, check_k, nearest
from prefixbank.transfer.task_embeddings import Comparison

COLUMNS = ("plain", "full", "similar", "random", "leave_one_out")
WEIGHTED = "similar_weighted"
ALL = "all"
RESAMPLES = 10_000
PROBE = ProbeConfig()
Vectors = tuple[np.ndarray, np.ndarray]
"""Of the train rows and of the test rows."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is tried.

    Members of a chosen bank, numbers of labels, draws of rows, draws of random members.
    """

    k: int
    labels: tuple[str, ...]
    draws: int
    random_draws: int


@dataclass(kw_only=True)
class Study:
    """One target with the prefixes of one seed.

    Args:
        context: the store, and how to run.
        files: encoder.
        recipe: by which the sources were trained.
        task: the target.
        sources: the prefixes that banks are made of.
        comparison: how near a source is.
        embedding_steps: optimiser steps of the short run, however few its rows are: those of the
            sources' task embeddings.
    """

    context: Context
    files: EncoderFiles
    recipe: PrefixRecipe
    task: Task
    sources: Sequence[Source]
    comparison: Comparison
    embedding_steps: int
    seen: dict[str, Vectors] = field(default_factory=dict)

    def vectors(self, members: Sequence[int], weights: tuple[float, ...] = ()) -> Vectors:
        """Return the vectors of the target's rows with a bank of these sources.

        Of none, the plain encoder.
        """
        name = f"{self.task.name} {list(members)} {list(weights)}"
        if name not in self.seen:
            bank = self._bank(members, weights, name) if members else None
            recipe = EmbedRecipe(max_length_tokens=self.recipe.max_length_tokens)
            reading = EmbeddingSpec(
                bank=bank, files=self.files, recipe=recipe, pooling=self.recipe.pooling
            )
            parts = probe_parts(self.task, SPLITS, recipe)
            made = self.context.ensure(embed.unit(self.context, reading, parts, name))
            vectors = read_splits([made.entry], self.task, SPLITS)
            self.seen[name] = (vectors["train"], vectors["test"])
        return self.seen[name]

    def _bank(self, members: Sequence[int], weights: tuple[float, ...], name: str) -> Entry:
        recipe = BankRecipe(combine=CombineConfig(weights=weights), pooling=self.recipe.pooling)
        unit = combine.unit([self.sources[one].entry for one in members], recipe, "selection")
        made = self.context.ensure(replace(unit, name=name, ref=None))
        return made.entry

    def fit(self, vectors: Vectors, rows: np.ndarray) -> ProbeModel:
        """Fit a probe on some of the train rows."""
        task = self.task
        return fit_probe(
            vectors[0][rows],
            np.asarray(task.train.labels)[rows],
            kind=task.kind,
            metric=task.metric,
            num_outputs=task.num_outputs,
            Cs=PROBE.Cs,
            folds=PROBE.folds,
            seed=PROBE.seed,
        )

    def score(
        self, members: Sequence[int], rows: np.ndarray, weights: tuple[float, ...] = ()
    ) -> float:
        """Return the test score of a probe that was fitted on some of the train rows."""
        vectors = self.vectors(members, weights)
        predicted = self.fit(vectors, rows).predict(vectors[1])
        return score(
            self.task.metric, predicted, np.asarray(self.task.test.labels), self.task.num_outputs
        )

    def nearest(self, rows: np.ndarray, k: int) -> tuple[list[int], tuple[float, ...]]:
        """Return the k nearest sources, in their own order, and the weights of retrieval.

        The short run sees these rows only.
        """
        few = self.task.train.take(rows)
        task = replace(self.task, train=few, validation=few)
        made = self.context.ensure(
            train_prefix.task_embedding_unit(
                self.context, task, self.files, self.short_run(len(rows)), task.name
            )
        )
        similar = self.comparison.of(made.entry, [source.entry for source in self.sources])
        members = sorted(nearest(similar, k))
        return members, tuple(retrieval_weights(similar[members].round(DIGITS)).tolist())

    def short_run(self, rows: int) -> PrefixRecipe:
        """Return the sources' recipe, lengthened to enough steps on so few rows.

        What comes after them is not trained.
        """
        each_epoch = math.ceil(rows / self.recipe.optim.batch_size)
        epochs = max(self.recipe.optim.epochs, math.ceil(self.embedding_steps / each_epoch))
        share = self.embedding_steps / (epochs * each_epoch)
        recipe = self.recipe
        return replace(
            recipe,
            optim=replace(recipe.optim, epochs=epochs),
            prefix=replace(recipe.prefix, task_embedding_fraction=share),
        )

    def all_but_one(self, rows: np.ndarray) -> list[int]:
        """Return all sources but the one without which cross-validation on these rows scores best.

        The first where nothing can be told.
        """
        everything = range(len(self.sources))
        banks = [[other for other in everything if other != one] for one in everything]
        scores = [self.fit(self.vectors(bank), rows).cv_score for bank in banks]
        return banks[int(np.argmax([-np.inf if one is None else one for one in scores]))]


def draw_rows(task: Task, labels: str, draws: int) -> list[np.ndarray]:
    """Return stratified draws of so many train rows; of all rows there is one."""
    count = len(task.train)
    if labels == ALL or int(labels) >= count:
        return [np.arange(count)]
    strata, found = strata_of(np.asarray(task.train.labels), task.kind), []
    for draw in range(draws):
        order = np.random.default_rng([draw, int(labels)]).permutation(count)
        found.append(np.sort(order[sample(strata[order], int(labels))]))
    return found


def random_members(count: int, k: int, draws: int) -> list[list[int]]:
    """Return k of so many sources for each draw."""
    return [
        np.sort(np.random.default_rng(draw).permutation(count)[:k]).tolist()
        for draw in range(draws)
    ]


def scores_of(study: Study, sizes: Sizes, labels: str, *, weighted: bool) -> list[dict[str, Any]]:
    """Return, for each draw, the score of each column and which members were chosen."""
    everything, found = list(range(len(study.sources))), []
    chance = random_members(len(everything), sizes.k, sizes.random_draws)
    for rows in draw_rows(study.task, labels, sizes.draws):
        near, weights = study.nearest(rows, sizes.k)
        left = study.all_but_one(rows)
        scores = {
            "plain": study.score([], rows),
            "full": study.score(everything, rows),
            "similar": study.score(near, rows),
            "random": float(np.mean([study.score(one, rows) for one in chance])),
            "leave_one_out": study.score(left, rows),
        }
        if weighted:
            scores[WEIGHTED] = study.score(near, rows, weights)
        chosen = {"similar": [study.sources[one].named for one in near], "weights": list(weights)}
        (dropped,) = set(everything) - set(left)
        found.append({"scores": scores, **chosen, "left_out": study.sources[dropped].named})
    return found


def means_of(
    table: Mapping[str, Sequence[dict[str, Any]]], columns: Iterable[str]
) -> dict[str, dict[str, list[float]]]:
    """Return each column's mean over targets and its mean differences to the full and random banks.

    Each is a value with its low and high bounds.

    Args:
        table: what was found in each draw, by target.
        columns: names.
    """
    drawn = np.random.default_rng(0).integers(len(table), size=(RESAMPLES, len(table)))
    by_target = {
        column: np.array(
            [np.mean([one["scores"][column] for one in draws]) for draws in table.values()]
        )
        for column in columns
    }

    def summed(values: np.ndarray) -> list[float]:
        return [float(values.mean()), *percentile_interval(values[drawn].mean(axis=1))]

    return {
        column: {
            "score": summed(values),
            **{f"to_{other}": summed(values - by_target[other]) for other in ("full", "random")},
        }
        for column, values in by_target.items()
    }


def markdown(result: Mapping[str, Any]) -> str:
    """Return the means as a table: a row for each number of labels, a column for each bank."""
    columns = result["columns"]
    over = f"means over {len(result['targets'])} targets, k = {result['k']}"
    lines = [
        f"Test scores, {over}; below each row its differences to the full bank and to random ones.",
        "",
    ]
    lines += [
        "| labels | " + " | ".join(column.replace("_", " ") for column in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for labels, means in result["means"].items():
        for row, sign in (("score", ""), ("to_full", "+"), ("to_random", "+")):
            cells = [
                "{:{sign}.3f} [{:{sign}.3f}, {:{sign}.3f}]".format(*means[column][row], sign=sign)
                for column in columns
            ]
            lines.append(
                f"| {labels if row == 'score' else 'minus ' + row.removeprefix('to_')} | "
                + " | ".join(cells)
                + " |"
            )
    return "\n".join(lines) + "\n"


def config_of(asked: argparse.Namespace, target: str, seed: int) -> TransferSimilarConfig:
    """Return the settings by which `prefixbank transfer similar` compares with sources."""
    where = (
        ["task=folder", f"task.name={target}", f"run.data_root={asked.data_root}"]
        if asked.data_root
        else [f"task={target}"]
    )
    return compose(
        TransferSimilarConfig,
        [*where, f"task.max_rows={asked.rows}", *asked.settings, f"seed={seed}"],
    )


def study_of(asked: argparse.Namespace, target: str, seed: int) -> Study:
    """Return a target and the prefixes of all sources but itself."""
    config = config_of(asked, target, seed)
    context = Invocation(store=asked.store).context(config.run)
    names = [
        asked.prefix.format(source=source, seed=seed)
        for source in asked.sources
        if source != target
    ]
    check_k(asked.k, names, target)
    sources = [Source(named=name, entry=context.store.resolve("prefix", name)) for name in names]
    files = context.encoder_files(config.encoder)
    return Study(
        context=context,
        files=files,
        recipe=recipe_of(config, PrefixRecipe),
        task=context.task(config.task),
        sources=sources,
        comparison=Comparison(similarity=asked.similarity, compare=asked.compare),
        embedding_steps=max(
            read_json(source.entry, "result.json")["task_embedding_step"] for source in sources
        ),
    )


def words(text: str) -> list[str]:
    """Split `a,b`."""
    return [word for word in text.split(",") if word]


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "settings",
        nargs="*",
        help=(
            "KEY=VALUE by which the sources were trained, as for train-prefix: encoder=tiny "
            "optim.lr=0.01"
        ),
    )
    parser.add_argument("--targets", type=words, required=True)
    parser.add_argument(
        "--sources",
        type=words,
        required=True,
        help="a target that is among them is left out for itself",
    )
    parser.add_argument(
        "--prefix", default="{source}-seed{seed}", help="name of a source's prefix in the store"
    )
    parser.add_argument(
        "--seeds", type=words, default=["0"], help="of the prefixes, and of the short runs"
    )
    parser.add_argument("--k", type=int, default=3)
    parser.add_argument("--labels", type=words, default=["16", "64", "256", ALL])
    parser.add_argument("--draws", type=int, default=5, help="samples of so many labels")
    parser.add_argument("--random-draws", type=int, default=5, help="banks of k random sources")
    parser.add_argument("--rows", type=int, default=0, help="train rows of each target at most")
    parser.add_argument("--similarity", choices=get_args(Similarity), default="average_tokens")
    parser.add_argument("--compare", choices=get_args(Compare), default="weights")
    parser.add_argument(
        "--weighted", action="store_true", help="also weigh the nearest by similarity"
    )
    parser.add_argument("--data-root")
    parser.add_argument("--store")
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS / "selection",
        help="without suffix: .json and .md are added",
    )
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Parse the command line, or these words, measure, write."""
    asked = arguments(given)
    sizes = Sizes(
        k=asked.k, labels=tuple(asked.labels), draws=asked.draws, random_draws=asked.random_draws
    )
    columns = (*COLUMNS, WEIGHTED) if asked.weighted else COLUMNS
    table: dict[str, dict[str, list[dict[str, Any]]]] = {
        labels: {target: [] for target in asked.targets} for labels in sizes.labels
    }
    for target in asked.targets:
        for seed in asked.seeds:
            study = study_of(asked, target, int(seed))
            for labels in sizes.labels:
                found = scores_of(study, sizes, labels, weighted=asked.weighted)
                table[labels][target] += found
                means = {
                    column: np.mean([one["scores"][column] for one in found]) for column in columns
                }
                told = "  ".join(f"{column} {mean:.3f}" for column, mean in means.items())
                print(
                    f"{target}, seed {seed}, {labels} labels: {told}", file=sys.stderr, flush=True
                )
    summary = {labels: means_of(of_size, columns) for labels, of_size in table.items()}
    asked_for = {
        name: getattr(asked, name)
        for name in (
            "targets",
            "sources",
            "seeds",
            "k",
            "draws",
            "random_draws",
            "rows",
            "similarity",
            "compare",
            "settings",
        )
    }
    result = {**asked_for, "columns": columns, "means": summary, "draws_of": table}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    asked.out.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    print(markdown(result), end="")


if __name__ == "__main__":
    main()
