"""What is left of each source task, in one bank of all of them: an experiment's own tasks.

Run: python -m benchmarks.own_tasks experiment=families run.data_root=FOLDER --out FILE.json

The settings are those of `prefixbank run`, of an experiment whose prefixes are read-outs. Trainings
that it has are hits; the others are made. Each source is scored on its test rows, by

* `fine-tuned`: an encoder fine-tuned on this source alone, one pass for each source;
* `multi-task`: the encoder fine-tuned on all sources, with this source's head;
* `deep alone`: its deep prefix, one pass for each source;
* `deep bank`: its deep prefix's head on the vectors of the bank of all deep prefixes;
* `read-outs alone`: its read-outs, a bank of one;
* `read-out bank`: its read-outs' head on its block in the bank of all sources;
* `plain`: a probe on the plain encoder's vectors, with the experiment's choices, fitted on the
  same train rows;
* `plain, deep head`: the deep prefix's head on the vectors of the plain encoder.

The kept share of a way is the ratio of mean gains over sources, (way - plain) / (alone - plain),
with `plain, deep head` as plain, as in docs/results/transfer.md. Intervals (95 %) are percentile
bootstraps over test rows, the same rows for every way, and over seeds. It is null where a resample
has no gain alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from benchmarks.studies import run_study
from prefixbank.artifacts.bank import bank_of_one, pooling_from, read_bank
from prefixbank.artifacts.encoder import encoder_of, load_plain
from prefixbank.choices import SourcePairs
from prefixbank.config.schema import EmbedRecipe
from prefixbank.core.blocks import BlockBank
from prefixbank.core.combine import Bank
from prefixbank.core.pairs import side_by_side
from prefixbank.core.pooling import Pooling
from prefixbank.core.stats.bootstrap import draw_seeds, percentile_interval, resampled_scores
from prefixbank.core.stats.metrics import score
from prefixbank.core.training.heads import predictions_of
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.tasks.task import Task
from prefixbank.steps.embed.rows import embed_rows
from prefixbank.store.artifact import Entry
from prefixbank.studies.graph import Graph
from prefixbank.studies.representations import deep_bank, full_bank

PLAIN, ALONE = "plain, deep head", "deep alone"
KEPT = ("deep bank", "read-outs alone", "read-out bank")
RESAMPLES = 2000
DIGITS = 4

Head = tuple[np.ndarray, np.ndarray]
"""Weight [C, F] and bias [C]."""


@dataclass(frozen=True, kw_only=True)
class Ways:
    """The ways to score a source, made by one experiment.

    Args:
        graph: the experiment's units.
        once: seed of what is trained with one seed only.
    """

    graph: Graph
    once: int

    def predictions(self, source: str, seed: int) -> dict[str, np.ndarray]:
        """Return the predictions on the test rows of a source, by way.

        What is trained with one seed only is there for that seed.
        """
        graph, task = self.graph, self.graph.source(source)
        readouts, bank = graph.prefix(source, seed).entry, full_bank(graph, seed).entry
        index = list(graph.config.experiment.sources).index(source)
        blocks = read_bank(bank)
        if not isinstance(blocks, BlockBank):
            raise ValueError("the experiment's prefixes have to be read-outs")
        found = {
            "read-outs alone": self._by_prefix(readouts, source),
            "read-out bank": self._by_head(
                blocks, _head_of(readouts), source, block=index + (blocks.plain is not None)
            ),
        }
        if seed != self.once:
            return found
        deep = graph.prefix(source, seed, "deep").entry
        in_bank = read_bank(deep_bank(graph, seed).entry)
        if isinstance(in_bank, BlockBank):
            raise ValueError("a bank of deep prefixes has no blocks")
        tasks = [graph.source(name) for name in graph.config.experiment.sources]
        of_all = graph.multitask(tasks, graph.named(graph.config.experiment.name, seed), seed)
        of_one = graph.multitask([task], f"{source}-only-seed{seed}", seed)
        plain = Bank(prefixes=(), weights=(), rule="concat_prefixes", pooling=self.pooling)
        return {
            **found,
            ALONE: self._by_prefix(deep, source),
            "deep bank": self._by_head(
                replace(in_bank, pooling=self.pooling), _head_of(deep), source
            ),
            PLAIN: self._by_head(plain, _head_of(deep), source),
            "multi-task": self._by_encoder(of_all.entry, index, source),
            "fine-tuned": self._by_encoder(of_one.entry, 0, source),
            "plain": self._by_probe(source),
        }

    @property
    def pooling(self) -> Pooling:
        """How vectors were pooled in training."""
        return pooling_from(self.graph.config.pooling)

    def _by_head(
        self,
        bank: Bank | BlockBank,
        head: Head,
        source: str,
        *,
        block: int = 0,
        files: EncoderFiles | None = None,
        pairs: SourcePairs | None = None,
    ) -> np.ndarray:
        """Predict with a linear head from vectors of the test rows, read as in training."""
        graph, task = self.graph, self.graph.source(source)
        texts = Texts(texts=task.test.texts, pairs=task.test.pairs)
        read = pairs or graph.experiment.recipe_for(source).prefix.pairs
        apart = texts.pairs is not None and read == "separate"
        if apart:
            texts = Texts(texts=(*texts.texts, *(texts.pairs or ())))
        recipe = EmbedRecipe(max_length_tokens=graph.config.max_length_tokens)
        blocks, _ = embed_rows(graph.context, bank, files or graph.files, texts, recipe)
        vectors = torch.from_numpy(blocks[block])
        weight, bias = (torch.from_numpy(tensor) for tensor in head)
        return predictions_of(
            task.kind, (side_by_side(vectors) if apart else vectors) @ weight.T + bias
        )

    def _by_prefix(self, prefix: Entry, source: str) -> np.ndarray:
        """Predict with a prefix alone, as it was trained."""
        bank = bank_of_one(prefix)
        return self._by_head(bank, _head_of(prefix), source)

    def _by_encoder(self, multitask: Entry, index: int, source: str) -> np.ndarray:
        """Predict with a fine-tuned encoder and one of its heads, on pairs read as in training."""
        heads = load_file(multitask.file("heads.safetensors"))
        head, files = (heads[f"{index}.weight"], heads[f"{index}.bias"]), encoder_of(multitask)
        pairs = self.graph.finetuned_recipe.multitask.pairs
        return self._by_head(load_plain(multitask), head, source, files=files, pairs=pairs)

    def _by_probe(self, source: str) -> np.ndarray:
        """Predict with a probe on the plain encoder."""
        config = self.graph.config
        as_target = replace(config.experiment, target_rows=config.experiment.source_rows)
        experiment = replace(self.graph.experiment, config=replace(config, experiment=as_target))
        graph, name = Graph(context=self.graph.context, experiment=experiment), "plain, own task"
        probe = graph.probe(source, graph.vectors(source, None, name), name)
        return load_file(probe.entry.file("predictions.safetensors"))["0.predictions"]


def _head_of(prefix: Entry) -> Head:
    head = load_file(prefix.file("head.safetensors"))
    return head["weight"], head["bias"]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A mean score over seeds, and that of each resample [R] of test rows and seeds."""

    value: float
    samples: np.ndarray


def scores_of(task: Task, found: Sequence[np.ndarray], seeds: tuple[int, ...]) -> Drawn:
    """Return the scores of the predictions of each seed."""
    labels = np.asarray(task.test.labels)
    values = [score(task.metric, one, labels, task.num_outputs) for one in found]
    samples = resampled_scores(task.metric, tuple(found), labels, task.num_outputs, RESAMPLES, 0)
    shares = draw_seeds(seeds, RESAMPLES)
    return Drawn(value=float(np.mean(values)), samples=(shares * samples.T).sum(axis=1))


def mean_of(drawn: Sequence[Drawn]) -> Drawn:
    """Return the mean over sources."""
    return Drawn(
        value=float(np.mean([one.value for one in drawn])),
        samples=np.mean([one.samples for one in drawn], axis=0),
    )


def cell(value: float, samples: np.ndarray) -> dict[str, float]:
    """Return a number with its interval, as JSON."""
    low, high = percentile_interval(samples)
    return {
        "value": round(value, DIGITS),
        "low": round(low, DIGITS),
        "high": round(high, DIGITS),
    }


def measure(graph: Graph) -> dict[str, Any]:
    """Return the score of each source in each way, their means, and what is kept."""
    seeds = graph.seeds
    ways = Ways(graph=graph, once=seeds[0])
    by_source: dict[str, dict[str, Drawn]] = {}
    rows: dict[str, Any] = {}
    for source in graph.config.experiment.sources:
        task = graph.source(source)
        every = {seed: ways.predictions(source, seed) for seed in seeds}
        drawn = {
            way: scores_of(task, [every[seed][way] for seed in of_way], of_way)
            for way in every[seeds[0]]
            for of_way in [tuple(seed for seed in seeds if way in every[seed])]
        }
        by_source[source] = drawn
        rows[source] = {
            "metric": task.metric,
            "test_rows": len(task.test),
            **{way: cell(one.value, one.samples) for way, one in drawn.items()},
        }
    means = {way: mean_of([one[way] for one in by_source.values()]) for way in drawn}
    gain = {
        way: (one.value - means[PLAIN].value, one.samples - means[PLAIN].samples)
        for way, one in means.items()
    }
    alone, drawn_alone = gain[ALONE]
    kept = {
        way: cell(gain[way][0] / alone, gain[way][1] / drawn_alone) if drawn_alone.all() else None
        for way in KEPT
    }
    return {
        "experiment": graph.config.experiment.name,
        "encoder": graph.files.label,
        "seeds": list(seeds),
        "single_seed": [way for way in means if way not in ("read-outs alone", "read-out bank")],
        "sources": rows,
        "mean": {way: cell(one.value, one.samples) for way, one in means.items()},
        "kept_share": kept,
    }


if __name__ == "__main__":
    run_study(
        __doc__,
        lambda context, experiment: measure(Graph(context=context, experiment=experiment)),
    )
